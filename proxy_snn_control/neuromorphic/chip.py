# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A policy's layers as a chip computes them, one time step after the other, in NumPy.

The arithmetic of synapses and neurons is here once: in floating point as the runtime computes
(policy/event.py), and in the fixed point of Loihi 2. network.py puts it into Lava's processes;
`Chip` runs it without Lava and gives the same spikes.

Spikes reach a layer by axons, as on the chip: one for every neuron of the layer before, and after
those some that are always on and carry the biases. An axon adds its weight to a neuron's current;
the bias that Lava's neurons have of their own is added to the voltage, which for CLIF is not the
same. The axons that are always on come from neurons that fire at every step, of which every layer
but the last has some.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from dataclasses import dataclass

import numpy as np
from proxy_snn_control.policy import PolicySpec, UserError
from proxy_snn_control.policy.file import Tensors
from proxy_snn_control.policy.native import TOGETHER
from proxy_snn_control.policy.neurons import DN, State

NEURONS = ('lif', 'clif', 'dn')
FIXED_NEURONS = ('lif', 'clif')  # up to their threshold they are linear
# Loihi 2, as Lava's bit-accurate models have it: bits of a decay, and of the states u and v with
# their sign; how far synaptic input and thresholds are shifted up to the states; the bias.
DECAY_BITS, STATE_BITS, SHIFT = 12, 24, 6
STATE_LIMIT = 1 << (STATE_BITS - 1)
BIAS_MANTISSA, BIAS_EXPONENT = 4095, 7


@dataclass(frozen=True)
class Layer:
    """A layer of a policy as a chip holds it, in either precision.

    Attributes:
        weights: [all neurons, axons], the last `always_on` axons for the biases. float32, or in
            fixed point int32: even numbers from -254 to 254, which is 8 bits and their unit of 2.
        neurons: how many neurons are the policy's; those after them are always on.
        always_on: how many axons are always on.
        decays: what remains of current and voltage after a step: fractions, or of 4096.
        threshold: a neuron fires where its voltage is above it; in fixed point, above 2^6 times
            it.
        exponent: in fixed point, synaptic input is multiplied by 2^exponent; shared by the layer.
        fixed: whether in fixed point.
        constants: of dynamic neurons, in the order of their class; none for LIF and CLIF.
    """

    weights: np.ndarray
    neurons: int
    always_on: int
    decays: tuple[float, float]
    threshold: float
    exponent: int = 0
    fixed: bool = False
    constants: tuple[float, ...] = ()

    @property
    def drive(self) -> np.ndarray:
        """Return the neurons' own bias: none for the policy's; the others always fire by theirs.

        float32 [all neurons], or int64 in fixed point, in units of 2^BIAS_EXPONENT.
        """
        drive = np.zeros(len(self.weights), np.int64 if self.fixed else np.float32)
        end = self.neurons
        drive[end:] = BIAS_MANTISSA if self.fixed else 2 * self.threshold
        return drive


def refuse_others(spec: PolicySpec, neurons: tuple[str, ...], where: str) -> None:
    """Raise a UserError unless the policy's neurons are among those there are."""
    if spec.neuron not in neurons:
        *first, last = map(repr, neurons)
        raise UserError(
            f"the policy's neuron is {spec.neuron!r}, expected {', '.join(first)} or {last}: "
            f'{where} has no other'
        )


def float_layers(spec: PolicySpec, tensors: Tensors) -> list[Layer]:
    """Return a policy's layers after the encoder, in floating point.

    Args:
        spec: what the policy is.
        tensors: its weights, by the names and shapes of `spec.tensor_shapes`.

    Raises:
        UserError: its neurons are none of `NEURONS`.
    """
    refuse_others(spec, NEURONS, 'the neuromorphic backend')
    constants = {'current_decay': 0.0, 'voltage_decay': 0.0, **spec.neuron_constants}
    dynamic: tuple[float, ...] = ()
    if spec.neuron == 'dn':
        dynamic = tuple(spec.neuron_constants[name] for name in DN.constants)
    return with_neurons_always_on(
        [
            Layer(
                np.column_stack([tensors[f'layers.{i}.weight'], tensors[f'layers.{i}.bias']]),
                neurons=size,
                always_on=1,
                decays=(constants['current_decay'], constants['voltage_decay']),
                threshold=constants['threshold'],
                constants=dynamic,
            )
            for i, size in enumerate(spec.layer_sizes[1:])
        ]
    )


def with_neurons_always_on(layers: Sequence[Layer]) -> list[Layer]:
    """Add to every layer the neurons that drive the next one's axons that are always on."""
    more = [following.always_on for following in layers[1:]] + [0]
    return [
        dataclasses.replace(layer, weights=np.pad(layer.weights, ((0, count), (0, 0))))
        for layer, count in zip(layers, more, strict=True)
    ]


class FloatSynapses:
    """Sums of weights in float32, added in the order of the compiled runtime.

    Axons bring 0 or 1, so only the order of additions matters: the bias, plus the sum of those
    weights of the first half that are reached, plus that of the second, each in ascending order.
    """

    def __init__(self, weights: np.ndarray) -> None:
        # Two columns at least: NumPy adds up the rows of a single one in another order.
        columns = np.pad(weights.T.astype(np.float32), ((0, 0), (0, 1)))
        axons = len(columns) - 1
        middle = axons if axons <= TOGETHER else (axons + 1) // 2
        self._parts = [columns[:middle].copy(), columns[middle:axons].copy()]
        self._middle, self._axons = middle, axons
        self._bias, self._none = columns[axons].copy(), np.zeros_like(columns[axons])

    def gather(self, spikes: np.ndarray) -> np.ndarray:
        """Synaptic input, float32 [neurons], of spikes, bool [axons]."""
        total = self._bias if spikes[self._axons] else self._none
        middle, end = self._middle, self._axons
        lower, upper = spikes[:middle], spikes[middle:end]
        for part, fired in zip(self._parts, (lower, upper), strict=True):
            if len(part):
                total = total + np.add.reduce(part[np.flatnonzero(fired)], axis=0)
        return total[:-1]


class FloatNeurons:
    """LIF and CLIF neurons (Eq. 4, 5, 17) in float32, as in policy/neurons.py.

    LIF is CLIF without memory of its current.
    """

    def __init__(self, drive: np.ndarray, decays: tuple[float, float], threshold: float) -> None:
        self._drive, self._threshold = drive.astype(np.float32), np.array(threshold, np.float32)
        self._decays = tuple(np.array(decay, np.float32) for decay in decays)
        self.current, self.voltage = np.zeros_like(self._drive), np.zeros_like(self._drive)

    def reset(self) -> None:
        """Set the state to 0."""
        self.current[:] = self.voltage[:] = 0

    def step(self, synaptic: np.ndarray) -> np.ndarray:
        """Step by synaptic input, float32 [neurons]; returns which fire, bool [neurons]."""
        current_decay, voltage_decay = self._decays
        self.current *= current_decay
        self.current += synaptic
        self.voltage *= voltage_decay
        self.voltage += self.current
        self.voltage += self._drive
        spikes = self.voltage > self._threshold
        self.voltage[spikes] = 0
        return spikes


class DynamicNeurons:
    """Dynamic neurons (Eq. 18 to 20) in float32, by the equations of policy/neurons.py.

    Those with a drive fire at every step. A constant input alone would not make a dynamic neuron
    do so, since its recovery grows.
    """

    def __init__(self, drive: np.ndarray, constants: tuple[float, ...]) -> None:
        self._always_on = np.asarray(drive) > 0
        self._constants = tuple(np.array(value, np.float32) for value in constants)
        self._threshold = self._constants[list(DN.constants).index('threshold')]
        self.reset()

    def reset(self) -> None:
        """Set the state to 0."""
        self._fired = np.zeros(len(self._always_on), np.float32)
        self._state: State = (self._fired,) * len(DN.state)

    def step(self, synaptic: np.ndarray) -> np.ndarray:
        """Step by synaptic input, float32 [neurons]; returns which fire, bool [neurons]."""
        with np.errstate(over='ignore', invalid='ignore'):  # a potential may diverge
            self._state = DN.step(synaptic, self._fired, self._state, self._constants)
            spikes: np.ndarray = self._state[0] > self._threshold
        self._fired = spikes.astype(np.float32)
        return spikes | self._always_on


class FixedSynapses:
    """Synapses of Loihi 2: 8-bit weights, a shared exponent, sums in integers."""

    def __init__(self, weights: np.ndarray, exponent: int) -> None:
        # Sums stay below 2^24, where float32 is exact; its matrix products are the fastest.
        self._columns = np.ascontiguousarray(weights.T, np.float32)
        self._exponent = exponent

    def gather(self, spikes: np.ndarray) -> np.ndarray:
        """Synaptic input, int64 [..., neurons], of spikes, bool [..., axons]."""
        total = (spikes @ self._columns).astype(np.int64)
        return total << self._exponent if self._exponent > 0 else total >> -self._exponent


class FixedNeurons:
    """Neurons of Loihi 2 with states of 24 bits, bit for bit as Lava's LIFReset in fixed point.

    A current that does not fit into 24 bits wraps around, which the conversion rules out; a
    voltage is clipped. Decayed states are rounded towards 0.
    """

    def __init__(self, drive: np.ndarray, decays: tuple[float, float], threshold: float) -> None:
        self._drive, self._decays = drive << BIAS_EXPONENT, decays
        self._threshold = int(threshold) << SHIFT
        self.reset()

    def reset(self) -> None:
        """Set the state to 0."""
        self.current = self.voltage = np.zeros_like(self._drive)

    def step(self, synaptic: np.ndarray) -> np.ndarray:
        """Step by synaptic input, int64 [..., neurons]; returns which fire, bool likewise."""
        current = _decayed(self.current, self._decays[0]) + (synaptic << SHIFT)
        wrapped = np.where(current > STATE_LIMIT, current - 2 * STATE_LIMIT, current)
        current = np.where(wrapped <= -STATE_LIMIT, current + 2 * STATE_LIMIT, wrapped)
        voltage = _decayed(self.voltage, self._decays[1]) + current + self._drive
        voltage = np.clip(voltage, 1 - STATE_LIMIT, STATE_LIMIT - 1)
        spikes = voltage > self._threshold
        voltage[spikes] = 0
        self.current, self.voltage = current, voltage
        return spikes


def _decayed(state: np.ndarray, decay: float) -> np.ndarray:
    product = state * int(decay)
    return np.sign(product) * np.right_shift(abs(product), DECAY_BITS)


class Chip:
    """All layers of a policy, stepped together as a chip steps them.

    A spike reaches the next layer one step later. So with L layers an inference takes T + L steps:
    the encoder's spikes go in during the first T; layer l, counted from 0, computes its T steps
    from step 2 + l on, counted from 1, and is reset right before.
    """

    def __init__(self, layers: Sequence[Layer], time_steps: int) -> None:
        self._layers, self._time_steps = layers, time_steps
        self._period, self._step = time_steps + len(layers), 0
        self._synapses: list[FloatSynapses | FixedSynapses] = []
        self._neurons: list[FloatNeurons | FixedNeurons | DynamicNeurons] = []
        for layer in layers:
            of_neurons = layer.drive, layer.decays, layer.threshold
            if layer.fixed:
                self._synapses.append(FixedSynapses(layer.weights, layer.exponent))
                self._neurons.append(FixedNeurons(*of_neurons))
            else:
                self._synapses.append(FloatSynapses(layer.weights))
                self._neurons.append(
                    DynamicNeurons(layer.drive, layer.constants)
                    if layer.constants
                    else FloatNeurons(*of_neurons)
                )
        self._arriving = [np.zeros_like(layer.drive) for layer in layers]

    def step(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Step by the encoder's spikes, bool [axons]; returns each layer's, bool [neurons]."""
        self._step += 1
        fired = []
        for i, (synapses, neurons) in enumerate(zip(self._synapses, self._neurons, strict=True)):
            if self._step % self._period == reset_offset(i, self._period):
                neurons.reset()
            fired.append(neurons.step(self._arriving[i]))
            self._arriving[i] = synapses.gather(spikes)
            spikes = fired[-1]
        return fired

    def infer(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Run one inference.

        Args:
            spikes: the encoder's, bool [T, neurons].

        Returns:
            Each layer's spikes, bool [T, neurons].
        """
        steps = [self.step(row) for row in with_axons(spikes, self._layers)]
        return answers([np.array(fired) for fired in zip(*steps, strict=True)], self._layers)

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def reset_offset(layer: int, period: int) -> int:
    """Which step of every `period` a layer, counted from 0, begins an inference with."""
    return (2 + layer) % period


def with_axons(spikes: np.ndarray, layers: Sequence[Layer]) -> np.ndarray:
    """Return the encoder's spikes, bool [T, neurons], as the first layer's input, [T + L, axons].

    The axons that are always on come last; the others have no spikes after T steps.
    """
    steps, neurons = spikes.shape
    axons = np.zeros((steps + len(layers), neurons + layers[0].always_on), bool)
    axons[:steps, :neurons] = spikes
    axons[:, neurons:] = True
    return axons


def answers(fired: Sequence[np.ndarray], layers: Sequence[Layer]) -> list[np.ndarray]:
    """Of each layer's spikes [T + L, all neurons] return those of its T steps and its neurons."""
    steps = len(fired[0]) - len(layers)
    return [
        spikes[i:][:steps, : layer.neurons]
        for i, (spikes, layer) in enumerate(zip(fired, layers, strict=True), 1)
    ]
