# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The policy file: one safetensors file that holds everything acting needs.

docs/policy_file.md describes the format. Reading one executes nothing from it: the header is JSON,
the rest is float32 numbers, and both are checked against each other before anything is computed.
It needs the standard library and NumPy; the safetensors library reads and writes the same files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
import dataclasses
from dataclasses import dataclass
import hashlib
import io
import itertools
import json
import math
import os
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from . import shelf
from .errors import PolicyFileError
from .files import opened, write_bytes
from .plugins import NEURONS, not_loaded

FORMAT = 'proxy_snn_control.policy'
VERSION = 2
# Far more than a useful policy needs; a hostile file must not exhaust memory. A header's JSON may
# take forty times its length once parsed: file and header stay below 100 MB.
MAX_FILE_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 2**18
SPARE_HEADER_BYTES = 2**10  # for the evaluation's entry, whose length is not known before training
MAX_NESTING = 20
MAX_SIZE = 2**20
MAX_LAYERS = 100
MAX_TIME_STEPS = 1000
# The runtime keeps the spikes and potentials of every neuron at every time step of an action.
MAX_NEURON_STEPS = 2**22
# The transition model takes the square of the numbers of a transition: beyond these it is left
# out, for it would outgrow the weights, and a controller could not compute with it between two
# commands.
MAX_TRANSITION = 1024
# Numbers within these cannot overflow float32 on their way to an action.
SMALLEST, LARGEST = 1e-6, 1e6
PERIOD = (1e-4, 3600.0)
# What precedes the checksum's digits. These bytes can only be a key and the beginning of its
# string: inside a JSON string the quotes would be escaped.
CHECKSUM_KEY = b'"sha256":"'
ZEROS = b'0' * 64

# Tensors in the units of the observations, which may be large.
OBSERVED = ('observation.quantiles', 'transition.whitening', 'normalise.mean')
NORMALISATION = ('normalise.mean', 'normalise.scale')
# Fields that a header leaves out at these values.
OMITTED = {'history': 1, 'previous_action': False}

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class PolicySpec:
    """What a policy is, besides its weights; docs/policy_file.md has the range of each field.

    Attributes:
        observation_size: numbers in one observation.
        action_size: numbers in one action.
        hidden: neurons of each hidden layer.
        time_steps: T, simulation steps for one action; 1 for relu.
        neuron: name of the neuron model in `plugins.NEURONS`.
        neuron_constants: constants of the neuron by name, without units (policy/neurons.py).
        encoder_population: encoder neurons for each number that the network reads.
        encoder_threshold: threshold of the encoder's neurons (Eq. 11).
        decoder_population: output neurons for each number of the action.
        action_low: lower limit of each number of the action, in the units of the task.
        action_high: upper limit of each, likewise.
        observation_names: a name for each number of the observation, or None.
        action_names: a name for each number of the action, or None.
        control_period: seconds for one action in training, or None.
        observation_quantile_levels: ascending, from 0 to 1; the rows of `observation.quantiles`.
        provenance: task, learner, seed, versions and evaluation, as JSON values.
        history: how many observations the network reads at once.
        previous_action: whether the network also reads the previous action.
    """

    observation_size: int
    action_size: int
    hidden: tuple[int, ...]
    time_steps: int
    neuron: str
    neuron_constants: dict[str, float]
    encoder_population: int
    encoder_threshold: float
    decoder_population: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    observation_names: tuple[str, ...] | None
    action_names: tuple[str, ...] | None
    control_period: float | None
    observation_quantile_levels: tuple[float, ...]
    provenance: dict[str, Any]
    history: int = 1
    previous_action: bool = False

    @classmethod
    def ordinary(
        cls,
        observation_size: int,
        action_low: tuple[float, ...],
        action_high: tuple[float, ...],
        **others: Any,
    ) -> PolicySpec:
        """Specify an ordinary network (relu): nothing spikes, and what spiking needs is 1.

        Args:
            observation_size: how many numbers it reads.
            action_low: the lower limit of each action.
            action_high: the upper ones.
            others: more fields; without them it has no hidden layers, no names, no control period,
                the range of observations alone, and no provenance.
        """
        fields: dict[str, Any] = {
            'hidden': (),
            'observation_names': None,
            'action_names': None,
            'control_period': None,
            'observation_quantile_levels': (0.0, 1.0),
            'provenance': {},
            **others,
        }
        return cls(
            observation_size=observation_size,
            action_size=len(action_low),
            time_steps=1,
            neuron='relu',
            neuron_constants={},
            encoder_population=1,
            encoder_threshold=1.0,
            decoder_population=1,
            action_low=action_low,
            action_high=action_high,
            **fields,
        )

    @property
    def header(self) -> dict[str, Any]:
        """Return the fields as a file's header has them."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if k not in OMITTED or v != OMITTED[k]}

    @property
    def input_size(self) -> int:
        """Numbers that the network reads: `history` observations, and perhaps the last action."""
        return self.history * self.observation_size + self.previous_action * self.action_size

    @property
    def spiking(self) -> bool:
        """Whether its neurons spike; the ordinary network to compare with does not."""
        return bool(NEURONS[self.neuron].state)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Neurons per layer: encoder population, hidden layers, output population."""
        return (
            self.input_size * self.encoder_population,
            *self.hidden,
            self.action_size * self.decoder_population,
        )

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor that must be in the file; all are float32."""
        sizes = self.layer_sizes
        shapes: dict[str, tuple[int, ...]] = {
            'observation.quantiles': (
                len(self.observation_quantile_levels),
                self.observation_size,
            ),
        }
        if self.spiking:
            shapes |= {
                'encoder.mu': (self.input_size, self.encoder_population),
                'encoder.sigma': (self.input_size, self.encoder_population),
                'decoder.weight': (self.action_size, self.decoder_population),
                'decoder.bias': (self.action_size,),
            }
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            shapes[f'layers.{i}.weight'] = (fan_out, fan_in)
            shapes[f'layers.{i}.bias'] = (fan_out,)
        return shapes

    @property
    def optional_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the tensors that a file may lack."""
        return {
            'transition.whitening': (self.transition_size, self.transition_size),
            **dict.fromkeys(NORMALISATION, (self.observation_size,)),
        }

    @property
    def transition_size(self) -> int:
        """How many numbers a transition is: observation, action, next observation, 1."""
        return 2 * self.observation_size + self.action_size + 1


class PolicyFile(NamedTuple):
    """What `read_policy` found.

    Attributes:
        spec: what the policy is.
        tensors: the float32 arrays named in `spec.tensor_shapes`, and those of
            `spec.optional_shapes` that the file has.
        digest: SHA-256 of the bytes that were read, 64 hex digits. Nodes report this one as the
            policy that acts, since the file may be replaced afterwards.
    """

    spec: PolicySpec
    tensors: Tensors
    digest: str


def check_spec(path: str | os.PathLike[str], spec: PolicySpec) -> None:
    """Check, before training, that the policy file that training will write is a valid one.

    Args:
        path: of the file, for the message.
        spec: what the policy will be.

    Raises:
        PolicyFileError: the file would be larger than a policy may be, or a field is out of range.
    """
    shapes = {**spec.tensor_shapes, **spec.optional_shapes}
    if spec.transition_size > MAX_TRANSITION:
        del shapes['transition.whitening']
    _check_size(path, spec, shapes)
    fields = json.loads(json.dumps(dataclasses.asdict(spec)))
    _spec_from_fields(path, fields)
    length = len(_header(spec, shapes)) + SPARE_HEADER_BYTES
    if length > MAX_HEADER_BYTES:
        raise _error(
            path,
            f'would have {length} bytes of header, expected at most {MAX_HEADER_BYTES}; the names '
            'of observations and actions are in it',
        )


def _check_size(
    path: str | os.PathLike[str], spec: PolicySpec, shapes: dict[str, tuple[int, ...]]
) -> None:
    numbers = sum(map(math.prod, shapes.values()))
    if 4 * numbers > MAX_FILE_BYTES - MAX_HEADER_BYTES:
        raise _error(path, f'would have {4 * numbers} bytes, more than a policy file may')
    steps = spec.time_steps * sum(spec.layer_sizes)
    if steps > MAX_NEURON_STEPS:
        raise _error(
            path,
            f'time_steps times the neurons of all layers is {steps}, '
            f'expected at most {MAX_NEURON_STEPS}',
        )


def write_policy(path: str | os.PathLike[str], spec: PolicySpec, tensors: Tensors) -> None:
    """Write a policy file; the file at `path` is replaced whole or not at all.

    The same specification and tensors make the same bytes.

    Args:
        path: where to write.
        spec: what the policy is.
        tensors: float32 arrays with the names and shapes of `spec.tensor_shapes`, and any of
            `spec.optional_shapes`.

    Raises:
        PolicyFileError: spec and tensors do not make a valid policy (what could not be read back
            is never written).
        UserError: the file cannot be written.
    """
    shapes = {name: array.shape for name, array in tensors.items()}
    _check_size(path, spec, shapes)
    data = bytearray()
    for name, array in sorted(tensors.items()):
        if array.dtype != np.float32:
            raise _error(path, f'tensor {name} is {array.dtype}, expected float32')
        data += array.astype('<f4').tobytes()
    text = _header(spec, shapes)
    text = text.replace(CHECKSUM_KEY + ZEROS, CHECKSUM_KEY + _checksum(text, data).encode())
    content = len(text).to_bytes(8, 'little') + text + data
    _decode(path, io.BytesIO(content), len(content))
    write_bytes(path, content)


def _header(spec: PolicySpec, shapes: dict[str, tuple[int, ...]]) -> bytes:
    """Return the header of a file with these tensors by name; zeros for the checksum."""
    policy = {'format': FORMAT, 'version': VERSION, **spec.header}
    header: dict[str, Any] = {
        '__metadata__': {'policy': json.dumps(policy), 'sha256': ZEROS.decode()}
    }
    end = 0
    for name, shape in sorted(shapes.items()):
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {'dtype': 'F32', 'shape': list(shape), 'data_offsets': [begin, end]}
    text = json.dumps(header, separators=(',', ':')).encode()
    return text + b' ' * (-len(text) % 8)  # as the safetensors library does, to align the numbers


def read_policy(path: str | os.PathLike[str]) -> PolicyFile:
    """Read and validate a policy file, given by its path or its name on the shelf (shelf.py).

    Takes less than 100 MB of memory whatever the file holds, and does not wait for a pipe.

    Args:
        path: of the file, or a name on the shelf such as "half_cheetah".

    Raises:
        PolicyFileError: the file is missing or is not a valid policy file; names which and why.
    """
    path = shelf.find(path)
    with opened('policy file', path, MAX_FILE_BYTES, PolicyFileError) as (file, size):
        return _decode(path, file, size)


def _decode(path: str | os.PathLike[str], file: BinaryIO, size: int) -> PolicyFile:
    """Read `size` bytes, once, and make a policy of them or raise a PolicyFileError.

    The order of the checks gives the most specific reason: first truncation and version, then the
    checksum, which finds all accidental damage, then the content.
    """
    if size < 8:
        raise _error(path, f'is no safetensors file: it has only {size} bytes')
    begin = file.read(8)
    length = int.from_bytes(begin, 'little')
    if length > MAX_HEADER_BYTES:
        raise _error(
            path,
            f'is no safetensors file of a policy: its header would have {length} bytes, '
            f'expected at most {MAX_HEADER_BYTES}',
        )
    if 8 + length > size:
        raise _error(path, f'is truncated: it has {size} bytes, its header alone {8 + length}')
    # A bytearray would be filled with zeros, for which Python's other threads would have to wait.
    text, data = file.read(length), np.empty(size - 8 - length, np.uint8).data
    if len(text) < length or file.readinto(data) < len(data):  # type: ignore[attr-defined]
        raise _error(path, 'became shorter while it was read')

    header = _object(path, 'is no safetensors file, or a damaged one: its header', text)
    metadata = header.pop('__metadata__', None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get('policy'), str):
        raise _error(path, 'is a safetensors file without a policy header, expected one')
    fields = _object(path, 'has a policy header that', metadata['policy'])
    if fields.pop('format', None) != FORMAT:
        raise _error(path, f'has a policy header whose format is not {FORMAT!r}')
    version = fields.pop('version', None)
    if type(version) is not int or version != VERSION:
        older = ', which was never released' if version == 1 else ''
        raise _error(
            path, f'has format version {_short(version)}{older}; this program reads {VERSION}'
        )

    with suppress(LookupError, TypeError, ValueError):  # what is no entry at all is named below
        announced = max(entry['data_offsets'][1] for entry in header.values())
        if announced > len(data):
            raise _error(
                path,
                f'is truncated: it has {len(data)} bytes of tensors, '
                f'its header announces {_short(announced)}',
            )
    _check_checksum(path, metadata.get('sha256'), text, data)
    if unknown := sorted(metadata.keys() - {'policy', 'sha256'}):
        raise _error(path, f'has the unknown metadata {_short(unknown[0])}')
    spec = _spec_from_fields(path, fields)
    _check_size(path, spec, spec.tensor_shapes)
    tensors = _tensors(path, spec, header, data)
    _check_numbers(path, spec, tensors)
    digest = hashlib.sha256(begin + text)
    digest.update(data)
    return PolicyFile(spec, tensors, digest.hexdigest())


def _object(path: str | os.PathLike[str], what: str, text: str | bytes) -> dict[str, Any]:
    """Parse a JSON object strictly: no key twice, only finite numbers, nesting bounded."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError('a key twice in one object')
        return found

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f'{_short(number)} is no finite number')
        return value

    try:
        if isinstance(text, bytes):
            text = text.decode()  # json.loads would take other encodings too
        value = json.loads(
            text, object_pairs_hook=unique, parse_constant=finite, parse_float=finite
        )
        # Later code recurses into the value: a bound on nesting keeps it from a stack overflow.
        level, depth = [value], 0
        while level := [each for each in level if isinstance(each, (dict, list))]:
            depth += 1
            if depth > MAX_NESTING:
                raise ValueError(f'nested more than {MAX_NESTING} deep')
            insides = (each.values() if isinstance(each, dict) else each for each in level)
            level = list(itertools.chain.from_iterable(insides))
    except (ValueError, RecursionError) as error:
        raise _error(path, f'{what} is not valid JSON ({error})') from None
    if not isinstance(value, dict):
        raise _error(path, f'{what} is not valid JSON object')
    return value


def _checksum(text: bytes, data: bytearray | memoryview) -> str:
    """SHA-256 of a file with this header and these numbers, its own 64 digits taken as zeros."""
    begin = text.find(CHECKSUM_KEY) + len(CHECKSUM_KEY)
    end = begin + len(ZEROS)
    digest = hashlib.sha256(len(text).to_bytes(8, 'little'))
    digest.update(text[:begin] + ZEROS + text[end:])
    digest.update(data)
    return digest.hexdigest()


def _check_checksum(
    path: str | os.PathLike[str], stored: Any, text: bytes, data: memoryview
) -> None:
    begin = text.find(CHECKSUM_KEY) + len(CHECKSUM_KEY)
    end = begin + len(ZEROS)
    digits = text[begin:end].decode('latin-1')
    if text.count(CHECKSUM_KEY) != 1 or stored != digits:
        raise _error(
            path,
            'has no checksum, expected the metadata "sha256":"..." with 64 digits, without spaces',
        )
    if digits != _checksum(text, data):
        raise _error(path, 'is damaged: its checksum does not match its content')


def _tensors(
    path: str | os.PathLike[str], spec: PolicySpec, entries: dict[str, Any], data: memoryview
) -> Tensors:
    """Return the arrays, views of `data`; together they must cover it exactly."""
    optional = {name: shape for name, shape in spec.optional_shapes.items() if name in entries}
    if optional.keys() & set(NORMALISATION):
        optional |= {name: spec.optional_shapes[name] for name in NORMALISATION}
    expected = {**spec.tensor_shapes, **optional}
    if missing := sorted(expected.keys() - entries.keys()):
        raise _error(path, f'lacks the tensor {missing[0]}')
    if extra := sorted(entries.keys() - expected.keys()):
        raise _error(path, f'has the unknown tensor {_short(extra[0])}')
    places = []
    for name, shape in expected.items():
        entry, size = entries[name], 4 * math.prod(shape)
        if not isinstance(entry, dict) or entry.keys() != {'dtype', 'shape', 'data_offsets'}:
            raise _error(
                path, f'tensor {name} is {_short(entry)}, expected dtype, shape and data_offsets'
            )
        if entry['dtype'] != 'F32':
            raise _error(path, f"tensor {name} is {_short(entry['dtype'])}, expected 'F32'")
        if not _is_whole(entry['shape']) or entry['shape'] != list(shape):
            raise _error(
                path, f'tensor {name} has shape {_short(entry["shape"])}, expected {list(shape)}'
            )
        offsets = entry['data_offsets']
        if not _is_whole(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != size:
            raise _error(
                path, f'tensor {name} has data_offsets {_short(offsets)}, expected {size} bytes'
            )
        places.append((offsets[0], name))
    tensors, end = {}, 0
    for begin, name in sorted(places):
        if begin != end:
            raise _error(path, f'tensor {name} begins at byte {_short(begin)}, expected {end}')
        shape = expected[name]
        array = np.frombuffer(data, '<f4', math.prod(shape), begin).reshape(shape)
        tensors[name] = array.astype(np.float32, copy=False)
        end += array.nbytes
    if end != len(data):
        raise _error(path, f'has {len(data)} bytes of tensors, expected {end}')
    return tensors


def _is_whole(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int for value in values)


def _check_numbers(path: str | os.PathLike[str], spec: PolicySpec, tensors: Tensors) -> None:
    for name, array in tensors.items():
        with np.errstate(invalid='ignore'):  # both are NaN if one number is
            low, high = array.min(), array.max()
        if not np.isfinite(low) or not np.isfinite(high):
            raise _error(
                path, f'tensor {name} holds a NaN or an infinity, expected finite numbers'
            )
        # Observed values may be large; numbers that actions are computed with may not.
        if name not in OBSERVED and max(-low, high) > LARGEST:
            raise _error(path, f'tensor {name} holds a number beyond {LARGEST}')
        if name == 'normalise.scale' and low <= 0:
            raise _error(path, f'tensor {name} holds {low}, expected numbers above 0')
    if NORMALISATION[0] in tensors:
        mean, scale = (tensors[name] for name in NORMALISATION)
        with np.errstate(over='ignore'):
            if not np.isfinite(mean * scale).all():
                raise _error(path, 'tensor normalise.mean is beyond float32 once it is scaled')
    if spec.spiking:
        widths = tensors['encoder.sigma'].ravel()
        for begin in range(0, widths.size, 2**20):  # in parts: each takes memory once more
            end = begin + 2**20
            if np.abs(widths[begin:end]).min() < SMALLEST:
                raise _error(
                    path, f'tensor encoder.sigma holds a zero, expected {SMALLEST} or more'
                )


def _error(path: str | os.PathLike[str], reason: str) -> PolicyFileError:
    return PolicyFileError(f'policy file {os.fspath(path)}: {reason}')


def _spec_from_fields(path: str | os.PathLike[str], fields: dict[str, Any]) -> PolicySpec:
    """Check every field of the header: kind, range and agreement with the others."""

    def fail(name: str, expected: str) -> PolicyFileError:
        return _error(path, f'field {name} is {_short(fields[name])}, expected {expected}')

    def is_number(value: Any, low: float = -LARGEST, high: float = LARGEST) -> bool:
        return isinstance(value, (int, float)) and type(value) is not bool and low <= value <= high

    fields = {**OMITTED, **fields}
    expected = {field.name for field in dataclasses.fields(PolicySpec)}
    if missing := sorted(expected - fields.keys()):
        raise _error(path, f'lacks the field {missing[0]}')
    if unknown := sorted(fields.keys() - expected):
        raise _error(path, f'has the unknown field {_short(unknown[0])}')

    for name in ('observation_size', 'action_size', 'encoder_population', 'decoder_population'):
        if type(fields[name]) is not int or not 1 <= fields[name] <= MAX_SIZE:
            raise fail(name, f'a whole number from 1 to {MAX_SIZE}')
    most = MAX_SIZE // fields['observation_size']
    if type(fields['history']) is not int or not 1 <= fields['history'] <= most:
        raise fail('history', f'a whole number from 1 to {most}')
    if type(fields['previous_action']) is not bool:
        raise fail('previous_action', 'true or false')
    if type(fields['time_steps']) is not int or not 1 <= fields['time_steps'] <= MAX_TIME_STEPS:
        raise fail('time_steps', f'a whole number from 1 to {MAX_TIME_STEPS}')
    hidden = fields['hidden']
    if (
        not _is_whole(hidden)
        or len(hidden) > MAX_LAYERS
        or not all(1 <= n <= MAX_SIZE for n in hidden)
    ):
        raise fail('hidden', f'at most {MAX_LAYERS} whole numbers from 1 to {MAX_SIZE}')
    neuron = fields['neuron']
    if not isinstance(neuron, str) or neuron not in NEURONS:
        if lacks := not_loaded(NEURONS, fields['provenance']):
            raise _error(path, lacks)
        raise fail('neuron', f'one of {", ".join(NEURONS)}')
    constants = fields['neuron_constants']
    wanted = NEURONS[fields['neuron']].constants
    if not isinstance(constants, dict) or constants.keys() != wanted.keys():
        raise fail('neuron_constants', f'an object with {", ".join(wanted)}')
    ranges = NEURONS[fields['neuron']].ranges
    if not all(is_number(value, *ranges[name]) for name, value in constants.items()):
        raise fail('neuron_constants', f'numbers within {ranges}')
    if not is_number(fields['encoder_threshold'], SMALLEST):
        raise fail('encoder_threshold', f'a number from {SMALLEST} to {LARGEST}')
    if not NEURONS[fields['neuron']].state:
        for name in ('time_steps', 'encoder_population', 'decoder_population'):
            if fields[name] != 1:
                raise fail(name, f'1, as {fields["neuron"]} does not spike')
    period = fields['control_period']
    if period is not None and not is_number(period, *PERIOD):
        raise fail('control_period', f'null or seconds from {PERIOD[0]} to {PERIOD[1]}')
    levels = fields['observation_quantile_levels']
    if (
        not isinstance(levels, list)
        or not 2 <= len(levels) <= 1000
        or not all(is_number(q, 0, 1) for q in levels)
        or sorted(levels) != levels
    ):
        raise fail('observation_quantile_levels', 'two or more ascending numbers from 0 to 1')
    for name in ('action_low', 'action_high'):
        limits = fields[name]
        if (
            not isinstance(limits, list)
            or len(limits) != fields['action_size']
            or not all(map(is_number, limits))
        ):
            raise fail(name, f'{fields["action_size"]} finite numbers')
    for low, high in zip(fields['action_low'], fields['action_high'], strict=True):
        if not np.float32(low) < np.float32(high):
            raise _error(path, f'action_low {low} is not below action_high {high}')
    for name, size in (
        ('observation_names', fields['observation_size']),
        ('action_names', fields['action_size']),
    ):
        names = fields[name]
        if names is not None and (
            not isinstance(names, list)
            or len(names) != size
            or not all(isinstance(n, str) and n and n.isprintable() for n in names)
            or len(set(names)) != size
        ):
            raise fail(name, f'null or {size} different printable strings')
    provenance = fields['provenance']
    if not isinstance(provenance, dict) or not all(map(str.isprintable, _strings(provenance))):
        raise fail('provenance', 'an object with printable strings')
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return PolicySpec(**values)


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, keys among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + '...'
