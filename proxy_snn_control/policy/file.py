"""The policy file: one safetensors file that holds everything acting needs.

docs/policy_file.md describes the format. Reading one executes nothing from it: the header is JSON,
the rest is float32 numbers, and both are checked against each other before anything is computed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .errors import PolicyFileError
from .files import write_bytes
from .neurons import NEURONS

FORMAT = "proxy_snn_control.policy"
VERSION = 1
# The largest policy anybody has a use for is far smaller; a damaged size must not exhaust memory.
MAX_FILE_BYTES = 256 * 2**20
MAX_SIZE = 2**20
MAX_TIME_STEPS = 1000
# Numbers within these cannot overflow float32 on their way to an action.
SMALLEST, LARGEST = 1e-6, 1e6
PERIOD = (1e-4, 3600.0)

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class PolicySpec:
    """What a policy is, besides its weights. docs/policy_file.md says what each field means."""

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

    @property
    def spiking(self) -> bool:
        """Whether its neurons spike; the ordinary network to compare with does not."""
        return bool(NEURONS[self.neuron].state)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Neurons per layer: encoder population, hidden layers, output population."""
        return (
            self.observation_size * self.encoder_population,
            *self.hidden,
            self.action_size * self.decoder_population,
        )

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor in the file; all of them are float32."""
        sizes = self.layer_sizes
        shapes: dict[str, tuple[int, ...]] = {
            "observation.quantiles": (
                len(self.observation_quantile_levels),
                self.observation_size,
            ),
        }
        if self.spiking:
            shapes |= {
                "encoder.mu": (self.observation_size, self.encoder_population),
                "encoder.sigma": (self.observation_size, self.encoder_population),
                "decoder.weight": (self.action_size, self.decoder_population),
                "decoder.bias": (self.action_size,),
            }
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            shapes[f"layers.{i}.weight"] = (fan_out, fan_in)
            shapes[f"layers.{i}.bias"] = (fan_out,)
        return shapes


def check_size(path: str | os.PathLike[str], spec: PolicySpec) -> None:
    """Raise a PolicyFileError if the policy would be larger than a file may be."""
    numbers = sum(math.prod(shape) for shape in spec.tensor_shapes.values())
    if 4 * numbers > MAX_FILE_BYTES - 2**20:  # a MiB for the header
        raise _error(path, f"would have {4 * numbers} bytes, more than a policy file may")


def write_policy(path: str | os.PathLike[str], spec: PolicySpec, tensors: Tensors) -> None:
    """Write a policy file; the file at `path` is replaced whole or not at all.

    Args:
        path: where to write.
        spec: what the policy is.
        tensors: float32 arrays with the names and shapes of `spec.tensor_shapes`.

    Raises:
        PolicyFileError: spec and tensors do not make a valid policy (what could not be read back
            is never written).
        UserError: the file cannot be written.
    """
    check_size(path, spec)
    fields = dataclasses.asdict(spec)
    _check_tensors(path, _spec_from_fields(path, json.loads(json.dumps(fields))), tensors)
    header = {"format": FORMAT, "version": VERSION, **fields}
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    write_bytes(path, save(contiguous, metadata={"policy": json.dumps(header)}))


def read_policy(path: str | os.PathLike[str]) -> tuple[PolicySpec, Tensors]:
    """Read and validate a policy file.

    Returns:
        The specification, and the float32 arrays named in `spec.tensor_shapes`.

    Raises:
        PolicyFileError: the file is missing or is not a valid policy file; says which and why.
    """
    try:
        size = os.stat(path).st_size
        if not Path(path).is_file():
            raise _error(path, "is not a file")
        if size > MAX_FILE_BYTES:
            raise _error(path, f"has {size} bytes, more than the {MAX_FILE_BYTES} a policy may")
        with safe_open(path, framework="np") as file:
            spec = _spec_from_metadata(path, file.metadata())
            found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            # Shapes and types first: nothing is read into memory that the header does not announce.
            for name, part in found.items():
                if part.get_dtype() != "F32":
                    raise _error(path, f"tensor {name} is {part.get_dtype()}, expected F32")
            _check_shapes(path, spec, {n: tuple(part.get_shape()) for n, part in found.items()})
            tensors = {name: file.get_tensor(name) for name in found}
    except FileNotFoundError:
        raise _error(path, "no such file") from None
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise _error(path, f"is no safetensors file ({error})") from None
    _check_tensors(path, spec, tensors)
    return spec, tensors


def _error(path: str | os.PathLike[str], reason: str) -> PolicyFileError:
    return PolicyFileError(f"policy file {os.fspath(path)}: {reason}")


def _spec_from_metadata(
    path: str | os.PathLike[str], metadata: dict[str, str] | None
) -> PolicySpec:
    if not metadata or "policy" not in metadata:
        raise _error(path, "is a safetensors file without a policy header, expected one")
    try:
        header = json.loads(metadata["policy"])
    except (ValueError, RecursionError):
        raise _error(path, "has a policy header that is no JSON") from None
    if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
        raise _error(path, f"has a policy header whose format is not {FORMAT!r}")
    version = header.pop("version", None)
    if type(version) is not int or version != VERSION:
        raise _error(path, f"has format version {version!r}, this program reads {VERSION}")
    return _spec_from_fields(path, header)


def _spec_from_fields(path: str | os.PathLike[str], fields: dict[str, Any]) -> PolicySpec:
    """Check every field of the header: kind, range and agreement with the others."""

    def fail(name: str, expected: str) -> PolicyFileError:
        return _error(path, f"field {name} is {_short(fields[name])}, expected {expected}")

    def is_number(value: Any, low: float = -LARGEST, high: float = LARGEST) -> bool:
        return isinstance(value, (int, float)) and type(value) is not bool and low <= value <= high

    expected = {field.name for field in dataclasses.fields(PolicySpec)}
    if missing := sorted(expected - fields.keys()):
        raise _error(path, f"lacks the field {missing[0]}")
    if unknown := sorted(fields.keys() - expected):
        raise _error(path, f"has the unknown field {_short(unknown[0])}")

    for name in ("observation_size", "action_size", "encoder_population", "decoder_population"):
        if type(fields[name]) is not int or not 1 <= fields[name] <= MAX_SIZE:
            raise fail(name, f"a whole number from 1 to {MAX_SIZE}")
    if type(fields["time_steps"]) is not int or not 1 <= fields["time_steps"] <= MAX_TIME_STEPS:
        raise fail("time_steps", f"a whole number from 1 to {MAX_TIME_STEPS}")
    hidden = fields["hidden"]
    if not isinstance(hidden, list) or not all(
        type(n) is int and 1 <= n <= MAX_SIZE for n in hidden
    ):
        raise fail("hidden", f"a list of whole numbers from 1 to {MAX_SIZE}")
    if not isinstance(fields["neuron"], str) or fields["neuron"] not in NEURONS:
        raise fail("neuron", f"one of {', '.join(NEURONS)}")
    constants = fields["neuron_constants"]
    wanted = NEURONS[fields["neuron"]].constants
    if not isinstance(constants, dict) or constants.keys() != wanted.keys():
        raise fail("neuron_constants", f"an object with {', '.join(wanted)}")
    ranges = NEURONS[fields["neuron"]].ranges
    if not all(is_number(value, *ranges[name]) for name, value in constants.items()):
        raise fail("neuron_constants", f"numbers within {ranges}")
    if not is_number(fields["encoder_threshold"], SMALLEST):
        raise fail("encoder_threshold", f"a number from {SMALLEST} to {LARGEST}")
    if not NEURONS[fields["neuron"]].state:
        for name in ("time_steps", "encoder_population", "decoder_population"):
            if fields[name] != 1:
                raise fail(name, f"1, as {fields['neuron']} does not spike")
    period = fields["control_period"]
    if period is not None and not is_number(period, *PERIOD):
        raise fail("control_period", f"null or seconds from {PERIOD[0]} to {PERIOD[1]}")
    levels = fields["observation_quantile_levels"]
    if (
        not isinstance(levels, list)
        or not 2 <= len(levels) <= 1000
        or not all(is_number(q, 0, 1) for q in levels)
        or sorted(levels) != levels
    ):
        raise fail("observation_quantile_levels", "two or more ascending numbers from 0 to 1")
    for name in ("action_low", "action_high"):
        limits = fields[name]
        if (
            not isinstance(limits, list)
            or len(limits) != fields["action_size"]
            or not all(map(is_number, limits))
        ):
            raise fail(name, f"{fields['action_size']} finite numbers")
    for low, high in zip(fields["action_low"], fields["action_high"], strict=True):
        if not np.float32(low) < np.float32(high):
            raise _error(path, f"action_low {low} is not below action_high {high}")
    for name, size in (
        ("observation_names", fields["observation_size"]),
        ("action_names", fields["action_size"]),
    ):
        names = fields[name]
        if names is not None and (
            not isinstance(names, list)
            or len(names) != size
            or not all(isinstance(n, str) and n and n.isprintable() for n in names)
            or len(set(names)) != size
        ):
            raise fail(name, f"null or {size} different printable strings")
    if not isinstance(fields["provenance"], dict):
        raise fail("provenance", "an object")
    values: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return PolicySpec(**values)


def _check_shapes(
    path: str | os.PathLike[str], spec: PolicySpec, shapes: dict[str, tuple[int, ...]]
) -> None:
    expected = spec.tensor_shapes
    if missing := sorted(expected.keys() - shapes.keys()):
        raise _error(path, f"lacks the tensor {missing[0]}")
    if extra := sorted(shapes.keys() - expected.keys()):
        raise _error(path, f"has the unknown tensor {_short(extra[0])}")
    for name, shape in shapes.items():
        if shape != expected[name]:
            raise _error(path, f"tensor {name} has shape {shape}, expected {expected[name]}")


def _check_tensors(path: str | os.PathLike[str], spec: PolicySpec, tensors: Tensors) -> None:
    _check_shapes(path, spec, {name: array.shape for name, array in tensors.items()})
    for name, array in tensors.items():
        if array.dtype != np.float32:
            raise _error(path, f"tensor {name} is {array.dtype}, expected float32")
        if not np.isfinite(array).all():
            raise _error(path, f"tensor {name} holds a NaN or an infinity, expected finite numbers")
        # What was observed may be as large as it was; what is computed with may not.
        if name != "observation.quantiles" and np.abs(array).max() > LARGEST:
            raise _error(path, f"tensor {name} holds a number beyond {LARGEST}")
    if spec.spiking and np.abs(tensors["encoder.sigma"]).min() < SMALLEST:
        raise _error(path, "tensor encoder.sigma holds a zero, expected widths that are not")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
