# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A policy as C for microcontrollers: one .c and one .h, C99, without allocation.

The C computes what event.py does, with work in proportion to spikes and sums in the same order. A
neuron's own equations write its C, so whatever neuron the package has can be exported. The
stimulation of an encoder neuron decides its spikes by the interval it is in; where the intervals
end is found here, to the last bit of float32, and the C compares instead of computing
exponentials. docs/micro.md describes how to use the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
import inspect
import itertools
import math
import os
from pathlib import Path
import textwrap
from typing import Any, Protocol

import numpy as np

from . import c_text
from .errors import UserError
from .file import PolicyFile, PolicySpec, Tensors
from .files import make_folder, write_bytes
from .native import TOGETHER
from .neurons import NEURONS
from .runtime import limits_of

BLOCK = 16  # columns of weights that lie together
MORE_TRAINS = 63  # written beyond the last layer's
MOST_TIME_STEPS = 64  # an encoder neuron's spikes are bits of one number
LINE = 8  # numbers on a line
STACK = 500
COLUMNS = 8  # neurons computed together where there are no vectors
# Cycles of a Cortex-M4F, by its Technical Reference Manual, with memory without wait states: a
# synaptic operation is a load (1, pipelined) and an addition (1), and an eighth of the loop around
# them; in int8 a quarter of a load and half an addition, and a sixteenth of the loop. The others
# were counted in the instructions of compiled code.
CYCLES = {
    'synaptic operation': 4,
    'int8 synaptic operation': 2,
    "neuron's step": 40,
    "int8 neuron's step": 60,
    'neuron listed': 12,
    'encoder neuron': 700,
    "encoder neuron's step": 15,
    'tanh': 4000,
    "action's read-out": 30,
}


class FixedLayer(Protocol):
    """A layer in the fixed point of Loihi 2; `Layer` in neuromorphic/chip.py documents it."""

    @property
    def weights(self) -> np.ndarray: ...  # noqa: D102
    @property
    def neurons(self) -> int: ...  # noqa: D102
    @property
    def always_on(self) -> int: ...  # noqa: D102
    @property
    def decays(self) -> tuple[float, float]: ...  # noqa: D102
    @property
    def threshold(self) -> float: ...  # noqa: D102
    @property
    def exponent(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Report:
    """What an exported policy takes.

    Attributes:
        tables: bytes of its constant tables, in flash.
        memory: bytes of its state, in RAM.
        stack: bytes of stack that `policy_act` takes beside it, or somewhat less.
        synaptic_operations: of an action in which every neuron fires at every time step.
        neuron_steps: updates of neurons in an action: neurons after the encoder times T.
        cycles: at most, of such an action, on a Cortex-M4F, by `CYCLES`.
        precision: of the weights.
        error: bound of tanh by the table of exp, absolute; None where exp is math.h's.
    """

    tables: int
    memory: int
    stack: int
    synaptic_operations: int
    neuron_steps: int
    cycles: int
    precision: str
    error: float | None

    def lines(self) -> list[str]:
        """Return the report for a person."""
        found = [
            f'flash: {self.tables} bytes of tables, {self.precision} weights, some 2 kB of code',
            f'RAM: {self.memory} bytes of state, and some {self.stack} of stack',
            (
                f'operations of an action at most: {self.synaptic_operations} synaptic '
                f'operations, if every neuron fires at every step, and {self.neuron_steps} steps '
                'of neurons'
            ),
            (
                f'cycles of an action at most: {self.cycles}, counted for a Cortex-M4F without '
                f'wait states: {self.cycles / 168e3:.1f} ms at 168 MHz'
            ),
        ]
        if self.error is not None:
            found.append(f'tanh by table: its error is at most {self.error:.1g}; no math.h')
        return found


def export_c(
    policy: PolicyFile,
    out: str | os.PathLike[str],
    *,
    layers: Sequence[FixedLayer] | None = None,
    math_library: bool = True,
) -> Report:
    """Write policy.c and policy.h into a folder, which is made if it is not there.

    Args:
        policy: what `read_policy` found.
        out: the folder.
        layers: the policy's layers in fixed point (neuromorphic/fixed.py), for 8-bit weights; None
            for float32.
        math_library: whether the C may call math.h's exp and tanhf; otherwise it has a table.

    Returns:
        Memory in bytes, and operations and cycles of an action.

    Raises:
        UserError: this policy cannot be written as C, or the files cannot be written.
    """
    header, source, report = c_files(policy, layers=layers, math_library=math_library)
    folder = Path(out)
    make_folder(folder)
    write_bytes(folder / 'policy.h', header.encode())
    write_bytes(folder / 'policy.c', source.encode())
    return report


def c_files(
    policy: PolicyFile,
    *,
    layers: Sequence[FixedLayer] | None = None,
    math_library: bool = True,
) -> tuple[str, str, Report]:
    """Make the text of policy.h and policy.c; arguments and errors are those of `export_c`."""
    spec, tensors, digest = policy
    if not spec.spiking:
        raise UserError(
            f'a policy of {spec.neuron} neurons cannot be written as C, which is for neurons that '
            'spike; ONNX takes it'
        )
    if spec.time_steps > MOST_TIME_STEPS:
        raise UserError(
            f"the policy's time_steps is {spec.time_steps}, expected at most {MOST_TIME_STEPS} to "
            'be written as C'
        )
    tables = _Tables()
    encoder = _encoder(tables, spec, tensors)
    if layers is None:
        rows = _float_layers(tables, spec, tensors)
        base, fields, kernels = c_text.FLOAT_BASE, '', _float_kernels(spec)
    else:
        rows = _fixed_layers(tables, spec, layers)
        base = c_text.INT8_BASE
        current_decay, voltage_decay = (str(int(decay)) for decay in layers[0].decays)
        kernels = _fill(
            c_text.INT8_ADD + c_text.INT8_FIRE + c_text.RUN,
            CURRENT_DECAY=current_decay,
            VOLTAGE_DECAY=voltage_decay,
            S='',
        )
        kernels += '#define RUN_LAYER run_layer\n'
        fields = '\n    int32_t threshold;\n    int exponent;'
    reading = _input(tables, spec, tensors)
    low, high = limits_of(spec)
    tables.add('decoder_weight', tensors['decoder.weight'])
    tables.add('decoder_bias', tensors['decoder.bias'])
    counts = np.arange(spec.time_steps + 1, dtype=np.float32)
    tables.add('rates', counts / np.float32(spec.time_steps))
    tables.add('low', low)
    tables.add('half_range', (high - low) / 2)
    tables.add('high', high)
    exp, error = 'exp(-y)', None
    if not math_library:
        exp, error = _exp_by_table(tables), TANH_ERROR
    tables.text.append(f'static const layer layers[] = {{\n{rows}}};\n')
    report = _report(spec, tables.bytes, layers is not None, error)
    title = f'A policy of {spec.neuron} neurons, layers {" -> ".join(map(str, spec.layer_sizes))}'
    constants = '\n'.join(
        f'#define {name} {value}'
        for name, value in {
            'POPULATION': spec.encoder_population,
            'ENCODER_NEURONS': spec.layer_sizes[0],
            'ENCODER_THRESHOLD': _number(np.float32(spec.encoder_threshold)),
            'READ_OUT': spec.decoder_population,
            'NEWEST': '((POLICY_HISTORY - 1) * POLICY_OBSERVATIONS)',
        }.items()
    )
    includes = '#include <float.h>\n' + ('#include <math.h>\n' if math_library else '')
    source = '\n'.join(
        [
            _fill(c_text.BEGIN, TITLE=title, INCLUDES=includes),
            constants,
            '',
            base,
            _fill(
                c_text.LAYER,
                FIELDS=fields,
                TABLES='\n'.join(tables.text),
                BITS_SET=_bits_set(),
            ),
            kernels,
            _fill(c_text.ENCODE, EXP=exp, ERROR=f'{TANH_ERROR:.1g}', **encoder),
            _fill(
                c_text.ACT,
                WORD='32' if spec.time_steps <= 32 else '64',
                TANHF='tanhf(total)' if math_library else '(float)squash(total)',
                **reading,
            ),
        ]
    )
    header = _fill(
        c_text.HEADER,
        TITLE=title,
        MATH_IS='no library but math.h' if math_library else 'no library at all',
        REPORT=''.join(f' *\n{_wrapped(line)}' for line in report.lines()),
        DEFINES='\n'.join(_defines(spec, digest, report)),
    )
    return header, source, report


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f'@{name}@', value)
    return text


def _wrapped(line: str) -> str:
    return ''.join(f' * {part}\n' for part in textwrap.wrap(line, 90, subsequent_indent='  '))


def _defines(spec: PolicySpec, digest: str, report: Report) -> Iterable[str]:
    """Yield the header's facts."""
    sizes = spec.layer_sizes
    facts: dict[str, Any] = {
        'POLICY_OBSERVATIONS': spec.observation_size,
        'POLICY_HISTORY': spec.history,
        'POLICY_INPUTS': spec.input_size,
        'POLICY_REMEMBERS': int(spec.history > 1 or spec.previous_action),
        'POLICY_ACTIONS': spec.action_size,
        'POLICY_TIME_STEPS': spec.time_steps,
        'POLICY_LAYERS': len(sizes),
        'POLICY_LAYER_SIZES': f'{{{", ".join(map(str, sizes))}}}',
        'POLICY_NEURONS': sum(sizes),
        'POLICY_WIDEST': max(sizes[:-1]),
        'POLICY_FLASH_BYTES': report.tables,
        'POLICY_RAM_BYTES': report.memory,
        'POLICY_MOST_SYNAPTIC_OPERATIONS': report.synaptic_operations,
        'POLICY_NEURON_STEPS': report.neuron_steps,
        'POLICY_MOST_CYCLES': report.cycles,
        'POLICY_ACTION_LOW': _braces(limits_of(spec)[0]),
        'POLICY_ACTION_HIGH': _braces(limits_of(spec)[1]),
        'POLICY_SHA256': f'"{digest}"',
    }
    if spec.control_period:
        facts['POLICY_CONTROL_PERIOD'] = repr(float(spec.control_period))
    for name, names in (
        ('POLICY_OBSERVATION_NAMES', spec.observation_names),
        ('POLICY_ACTION_NAMES', spec.action_names),
    ):
        if names:
            facts[name] = f'{{{", ".join(map(_string, names))}}}'
    for name, value in facts.items():
        yield f'#define {name} {value}'
    yield f'typedef uint{8 * _event_bytes(spec)}_t policy_event;'
    yield f'typedef uint{8 * _train_bytes(spec)}_t policy_train;'


def _event_bytes(spec: PolicySpec) -> int:
    """Bytes of the smallest type for a neuron's number, or for one more than there are."""
    widest = max(spec.layer_sizes[:-1])
    return 1 if widest <= 2**8 else 2 if widest <= 2**16 else 4


def _string(text: str) -> str:
    """Return a C string of UTF-8, without what a compiler could take for something else."""
    plain = (
        chr(byte)
        if chr(byte).isascii() and chr(byte) not in '"\\?' and byte >= 32
        else f'\\{byte:03o}'
        for byte in text.encode()
    )
    return f'"{"".join(plain)}"'


def _number(value: Any) -> str:
    """Return a number as C reads it back to the last bit."""
    if isinstance(value, np.float32):
        text = f'{float(value):.9g}'
        return text + ('f' if set(text) & set('.en') else '.0f')
    if isinstance(value, (float, np.float64)):
        return repr(float(value))
    return f'{int(value)}{"u" if isinstance(value, np.unsignedinteger) else ""}'


def _braces(values: np.ndarray) -> str:
    return f'{{{", ".join(map(_number, values))}}}'


def _bits_set() -> str:
    """For every byte the places of the bits that are set, filled up with zeros."""
    rows = []
    for byte in range(256):
        places = [bit for bit in range(8) if byte >> bit & 1]
        rows.append(f'{{{", ".join(map(str, places + [0] * (8 - len(places))))}}}')
    return ''.join(f'    {", ".join(rows[i:][:3])},\n' for i in range(0, 256, 3))


class _Tables:
    """Constant arrays as C, and how many bytes they take."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.bytes = 0

    def add(self, name: str, values: np.ndarray, kind: str = '') -> None:
        """Add an array; `kind` is its C type, by default that of its numbers."""
        kinds = {'float32': 'float', 'float64': 'double'}
        flat = np.asarray(values).ravel()
        aligned = ' ALIGNED' if kind in ('weight', 'number') else ''
        rows = [
            '    ' + ', '.join(map(_number, flat[i:][:LINE])) + ',\n'
            for i in range(0, len(flat), LINE)
        ]
        self.text.append(
            f'static const {kind or kinds[flat.dtype.name]} {name}[{len(flat)}]{aligned} = {{\n'
            f'{"".join(rows)}}};\n'
        )
        self.bytes += flat.nbytes


def _blocks(weights: np.ndarray) -> np.ndarray:
    """Weights [neurons, axons] as [blocks, axons, BLOCK], filled up with zeros."""
    neurons, axons = weights.shape
    padded = np.pad(weights, ((0, -neurons % BLOCK), (0, 0)))
    return padded.reshape(-1, BLOCK, axons).transpose(0, 2, 1)


def _biases(biases: np.ndarray) -> np.ndarray:
    return np.pad(biases, (0, -len(biases) % (2 * BLOCK)))


def _middle(fan_in: int) -> int:
    """Where the sum over a layer's neurons is parted in two."""
    return fan_in if fan_in <= TOGETHER else (fan_in + 1) // 2


def _float_layers(tables: _Tables, spec: PolicySpec, tensors: Tensors) -> str:
    rows = []
    for i, (fan_in, neurons) in enumerate(itertools.pairwise(spec.layer_sizes)):
        tables.add(f'weights_{i}', _blocks(tensors[f'layers.{i}.weight']), 'weight')
        tables.add(f'biases_{i}', _biases(tensors[f'layers.{i}.bias']), 'number')
        rows.append(f'    {{weights_{i}, biases_{i}, {fan_in}, {neurons}, {_middle(fan_in)}}},\n')
    return ''.join(rows)


def _fixed_layers(tables: _Tables, spec: PolicySpec, layers: Sequence[FixedLayer]) -> str:
    rows = []
    for i, (layer, fan_in) in enumerate(zip(layers, spec.layer_sizes, strict=False)):
        weights, biases = np.split(layer.weights[: layer.neurons], [-layer.always_on], axis=1)
        # Four bytes are one number, so that the order of bytes is the same on every processor.
        four = (_blocks(weights // 2) + 128).astype(np.uint32).reshape(-1, 4)
        tables.add(f'weights_{i}', four @ (2 ** np.arange(0, 32, 8, dtype=np.uint32)), 'weight')
        tables.add(f'biases_{i}', _biases(biases.sum(axis=1).astype(np.int32)), 'number')
        threshold = int(layer.threshold) << 6
        rows.append(
            f'    {{weights_{i}, biases_{i}, {fan_in}, {layer.neurons}, {_middle(fan_in)}, '
            f'{threshold}, {layer.exponent}}},\n'
        )
    return ''.join(rows)


class _Expression:
    """A value in C; arithmetic with it writes lines. So a neuron's own equations write its C."""

    def __init__(self, lines: list[str], name: str) -> None:
        self._lines, self.name = lines, name

    def _with(self, sign: str, other: _Expression) -> _Expression:
        name = f'x{len(self._lines)}'
        self._lines.append(f'const lanes@S@ {name} = {self.name} {sign} {other.name};')
        return _Expression(self._lines, name)

    def __add__(self, other: _Expression) -> _Expression:
        return self._with('+', other)

    def __sub__(self, other: _Expression) -> _Expression:
        return self._with('-', other)

    def __mul__(self, other: _Expression) -> _Expression:
        return self._with('*', other)

    def __truediv__(self, other: _Expression) -> _Expression:
        return self._with('/', other)


def _float_fire(spec: PolicySpec) -> tuple[str, str]:
    """About the policy's neurons, and the C of their time steps.

    Raises:
        UserError: their equations are not plain arithmetic.
    """
    lines: list[str] = []
    neuron = NEURONS[spec.neuron]
    constants = tuple(_Expression(lines, name.upper()) for name in neuron.constants)
    names = [f'state_{_c_name(name)}' for name in neuron.state]
    lines += [f'const lanes@S@ before_{i} = {name};' for i, name in enumerate(names)]
    try:
        after = neuron.step(
            _Expression(lines, 'input'),
            _Expression(lines, 'fired'),
            tuple(_Expression(lines, f'before_{i}') for i in range(len(names))),
            constants,
        )
    except (TypeError, AttributeError) as error:
        raise UserError(
            f'a policy of {spec.neuron} neurons cannot be written as C: their equations are more '
            f'than +, -, * and / of state, input and constants ({error})'
        ) from None
    lines += [f'{name} = {new.name};' for name, new in zip(names, after, strict=True)]
    lines.append(f'fired = ABOVE({after[0].name}, THRESHOLD);')
    lines.append(f'train |= BIT({after[0].name}, THRESHOLD, t);')
    about = inspect.getdoc(neuron) or ''
    about = '\n'.join(f' * {line}'.rstrip() for line in about.replace('*/', '* /').splitlines())
    text = _fill(
        c_text.NEURON,
        ABOUT=about,
        CONSTANTS='\n'.join(
            f'#define {name.upper()} {_number(np.float32(spec.neuron_constants[name]))}'
            for name in neuron.constants
        ),
    )
    fire = _fill(
        c_text.FLOAT_FIRE,
        STATE=', '.join(f'{name} = NONE' for name in names),
        LINES=''.join(f'            {line}\n' for line in lines),
    )
    return text, fire


def _float_kernels(spec: PolicySpec) -> str:
    """Return what runs a layer, for the vectors of several processors and for none."""
    text, fire = _float_fire(spec)

    def lanes(count: int, columns: int) -> str:
        each = ' '.join(f'DO({k})' for k in range(columns // count))
        return _fill(c_text.FLOAT_LANES, LANES=str(count), COLUMNS=str(columns), EACH=each)

    def find(wide: int) -> str:
        return _fill(c_text.LEVELS, WIDE=str(wide))

    kernel = c_text.FLOAT_ADD + fire + c_text.RUN
    wide = _fill(lanes(16, 64) + fire + c_text.WIDE + find(8), S='_avx512')
    avx2 = _fill(lanes(8, 32) + kernel + find(4), S='_avx2')
    four = f'#ifdef VECTORS\n{lanes(4, 16)}{find(2)}#else\n{c_text.SCALAR_LANES}#endif\n'
    more = {'UNDEFINE': c_text.UNDEFINE}
    return '\n'.join(
        [
            text,
            _fill(c_text.AVX512, CODE=wide, **more),
            _fill(c_text.AVX2, CODE=avx2, **more),
            _fill(four + kernel, S=''),
            c_text.CHOOSE,
        ]
    )


def _c_name(name: str) -> str:
    return ''.join(letter if letter.isalnum() and letter.isascii() else '_' for letter in name)


def _input(tables: _Tables, spec: PolicySpec, tensors: Tensors) -> dict[str, str]:
    """Add what observations are normalised by; what is to be filled into the C of the input."""
    now, acted = 'observation[i]', ''
    if 'normalise.mean' in tensors:
        tables.add('mean', tensors['normalise.mean'])
        tables.add('scale', tensors['normalise.scale'])
        now = '(observation[i] - mean[i]) * scale[i]'
    if spec.previous_action:
        acted = c_text.ACTED
    return {
        'NOW': now,
        'ACTED': acted,
        'AND_ACTION': ', and the last\n * action from -1 to 1' if acted else '',
    }


def _encoder(tables: _Tables, spec: PolicySpec, tensors: Tensors) -> dict[str, str]:
    """Add the encoder's tables; what is to be filled into its C."""
    levels, trains = stimulation_levels(spec.encoder_threshold, spec.time_steps)
    # Between a level and the float32 before it, what is rounded to it begins half way.
    before = np.nextafter(levels[1:], np.float32(0)).astype(np.float64)
    bounds = -np.log((before + levels[1:].astype(np.float64)) / 2)
    bits = len(bounds).bit_length()
    padded = np.full(max(2**bits - 1, 1), -1.0)
    padded[: len(bounds)] = bounds
    steps = np.arange(spec.time_steps, dtype=np.uint64)
    tables.text.append(f'#define BOUNDS {len(bounds)}\n')
    tables.add('bounds', padded)
    tables.add('near_bounds', padded.astype(np.float32))
    near = tables.text.pop()  # where it is used alone
    whole = (trains.astype(np.uint64) << steps).sum(axis=1)
    tables.add('fires', whole.astype(f'uint{8 * _train_bytes(spec)}'), 'policy_train')
    tables.add('centres', tensors['encoder.mu'])
    tables.add('sharpness', 1 / (2 * tensors['encoder.sigma'].astype(np.float64) ** 2))
    lines = [
        f'level += (z < table[level + {2**bit - 1}]) << {bit}' for bit in reversed(range(bits))
    ]
    return {'NEAR': near, 'SEARCH': '; \\\n    '.join(lines or ['(void)(z), (void)(table)'])}


def _train_bytes(spec: PolicySpec) -> int:
    """Bytes of the smallest type with a bit for every time step."""
    return next(size for size in (1, 2, 4, 8) if spec.time_steps <= 8 * size)


def stimulation_levels(threshold: float, time_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where, by stimulation, the spikes of an encoder neuron change; and its spikes there.

    Stimulation is the same at all time steps, so its spikes are a function of it, and one that
    changes at few places: up to the first step at which two stimulations differ their neurons have
    spent as much, and rounding keeps order, so there the stronger one fires and the weaker does
    not.

    Returns:
        float32 [levels], the smallest stimulation of each interval of [0, 1], ascending; and
        spikes, bool [levels, T].
    """
    limit = np.float32(threshold)

    def fires(bits: np.ndarray) -> np.ndarray:
        """Spikes, bool [numbers, T], of stimulations by the bits of their float32."""
        stimulation = bits.astype(np.uint32).view(np.float32)
        v, found = np.zeros_like(stimulation), []
        for _ in range(time_steps):
            v = v + stimulation
            found.append(v > limit)
            v = v - limit * found[-1].astype(np.float32)
        return np.array(found).T

    # Positive float32 are in the order of their bits: halve all that is not the same at its ends.
    ends = np.array([[0, np.float32(1).view(np.uint32)]], np.int64)
    found = [0]
    while len(ends):
        low, high = ends.T
        middle = (low + high) // 2
        ends = np.concatenate([np.column_stack([low, middle]), np.column_stack([middle, high])])
        ends = ends[(fires(ends[:, 0]) != fires(ends[:, 1])).any(axis=1)]
        next_to = ends[:, 1] - ends[:, 0] == 1
        found += ends[next_to, 1].tolist()
        ends = ends[~next_to]
    levels = np.array(sorted(found), np.uint32)
    return levels.view(np.float32), fires(levels)


# exp(-y) = exp(-i) exp(-j / 16) exp(-r) with whole i and j, and r below 1/16 by its Taylor series.
TANH_END, TANH_PARTS, TANH_TERMS = 20, 16, 8
# What the series leaves out, and eight roundings of float64 in what is at most 1, doubled.
TANH_ERROR = 2 * (
    (1 / TANH_PARTS) ** (TANH_TERMS + 1) / math.factorial(TANH_TERMS + 1) + 8 * 2**-53
)


def _exp_by_table(tables: _Tables) -> str:
    whole = np.exp(-np.arange(2 * TANH_END, dtype=np.longdouble)).astype(np.float64)
    parts = np.exp(-np.arange(TANH_PARTS, dtype=np.longdouble) / TANH_PARTS).astype(np.float64)
    tables.add('exp_whole', whole)
    tables.add('exp_parts', parts)
    series = '1.0'
    for n in range(TANH_TERMS, 0, -1):
        series = f'1.0 - rest * {1 / n!r} * ({series})'
    return _fill(
        c_text.EXP_BY_TABLE,
        END=str(2 * TANH_END),
        PARTS=str(TANH_PARTS),
        SERIES=series,
    )


def _after(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment


def _report(spec: PolicySpec, tables: int, fixed: bool, error: float | None) -> Report:
    sizes, steps = spec.layer_sizes, spec.time_steps
    synapses = steps * sum(a * b for a, b in itertools.pairwise(sizes))
    padded = steps * sum(a * (-(-b // BLOCK) * BLOCK) for a, b in itertools.pairwise(sizes))
    neuron_steps = steps * sum(sizes[1:])
    memory = 4 * (spec.action_size + spec.input_size + 3 + len(sizes))
    events, trains = steps * max(sizes[:-1]), sum(sizes) + MORE_TRAINS
    memory = _after(memory, _event_bytes(spec)) + events * _event_bytes(spec)
    memory = _after(memory, _train_bytes(spec)) + trains * _train_bytes(spec)
    kind = 'int8 ' if fixed else ''
    cycles = (
        padded * CYCLES[f'{kind}synaptic operation']
        + neuron_steps * CYCLES[f"{kind}neuron's step"]
        + steps * sum(sizes[:-1]) * CYCLES['neuron listed']
        + sizes[0] * (CYCLES['encoder neuron'] + steps * CYCLES["encoder neuron's step"])
        + (spec.input_size + spec.action_size) * CYCLES['tanh']
        + steps * sizes[-1] * CYCLES["action's read-out"]
    )
    layers = len(sizes) - 1
    return Report(
        tables=tables + layers * (28 if fixed else 20),
        memory=_after(memory, max(4, _train_bytes(spec))),
        stack=STACK + (8 + 4 * COLUMNS) * steps,
        synaptic_operations=synapses,
        neuron_steps=neuron_steps,
        cycles=cycles,
        precision='int8' if fixed else 'float32',
        error=error,
    )
