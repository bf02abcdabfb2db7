"""The spiking layers on a CPU: all T simulation steps of a layer in one compiled pass.

Spikes are bits. Their product with a weight matrix needs no multiplication, and four bits have only
16 values: what each of those adds to every neuron's current is tabled once (`tabulate`), and a current
is then a sum of table rows, one for every four neurons of the layer before (`forward`). That is a
quarter of the additions of a dense product, in float32, at any firing rate.

Work goes by blocks of rows and neurons that fit the processor's cache: the currents of a block
become membrane potentials and spike bits before the next block's are computed. The gradient runs the
steps backwards in the same way (`backward`).

The neuron's equations are those of policy/neurons.py, compiled into the loops; nothing here knows
what they say. Bits are uint8 [batch, T, bytes], neuron 0 in the lowest bit of byte 0, bytes even.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numba.extending import register_jitable
from torch import Tensor

from proxy_snn_control.policy import neurons

NEURONS_AT_ONCE = 128
ROWS_AT_ONCE = 16
_COMPILE: dict[str, Any] = {"cache": True, "parallel": True, "nogil": True}
ZERO, ONE = np.float32(0), np.float32(1)


def _bytes(count: int) -> int:
    return 2 * -(-count // 16)


@register_jitable
def _pack(spike: np.ndarray, bits: np.ndarray) -> None:
    for byte in range(len(bits)):
        packed = 0
        for k in range(8):
            packed |= (spike[8 * byte + k] > ZERO) << k
        bits[byte] = packed


@numba.njit(**_COMPILE)
def encode(stimulation: np.ndarray, time_steps: int, threshold: Any) -> np.ndarray:
    """Spike bits of the soft-reset encoder (Eq. 11) under stimulation float32 [batch, neurons]."""
    rows, count = stimulation.shape
    bits = np.zeros((rows, time_steps, 2 * ((count + 15) // 16)), np.uint8)
    for r in numba.prange(rows):
        potential = np.zeros(count, np.float32)
        spike = np.zeros(8 * bits.shape[2], np.float32)
        for t in range(time_steps):
            for j in range(count):
                v = potential[j] + stimulation[r, j]
                spike[j] = ONE if v > threshold else ZERO
                potential[j] = v - threshold * spike[j]
            _pack(spike, bits[r, t])
    return bits


@numba.njit(**_COMPILE)
def unpack(bits: np.ndarray, count: int) -> np.ndarray:
    """Spikes as float32 [batch, T, count] of zeros and ones."""
    rows, time_steps, _ = bits.shape
    spikes = np.empty((rows, time_steps, count), np.float32)
    for r in numba.prange(rows):
        for t in range(time_steps):
            for j in range(count):
                spikes[r, t, j] = (bits[r, t, j >> 3] >> (j & 7)) & 1
    return spikes


@numba.njit(**_COMPILE)
def tabulate(weight: np.ndarray, blocks: int, width: int, groups: int) -> np.ndarray:
    """What each value of each four input bits adds to the currents, [blocks, groups, 16, width]."""
    fan_out, fan_in = weight.shape
    table = np.zeros((blocks, groups, 16, width), np.float32)
    for block in numba.prange(blocks):
        first = block * width
        for group in range((fan_in + 3) // 4):
            sums = table[block, group]
            for k in range(min(4, fan_in - 4 * group)):
                for j in range(min(width, fan_out - first)):
                    sums[1 << k, j] = weight[first + j, 4 * group + k]
            for value in range(3, 16):
                lowest = value & -value
                for j in range(width):
                    if lowest != value:
                        sums[value, j] = sums[value - lowest, j] + sums[lowest, j]
    return table


# A neuron's state is a tuple, whose length the compiler must know.
@register_jitable
def _load1(states: Any, j: Any) -> Any:
    return (states[0, j],)


@register_jitable
def _load2(states: Any, j: Any) -> Any:
    return states[0, j], states[1, j]


@register_jitable
def _load3(states: Any, j: Any) -> Any:
    return states[0, j], states[1, j], states[2, j]


@register_jitable
def _store1(states: Any, j: Any, new: Any) -> None:
    states[0, j] = new[0]


@register_jitable
def _store2(states: Any, j: Any, new: Any) -> None:
    states[0, j], states[1, j] = new


@register_jitable
def _store3(states: Any, j: Any, new: Any) -> None:
    states[0, j], states[1, j], states[2, j] = new


LOADS, STORES = (_load1, _load2, _load3), (_store1, _store2, _store3)


class Kernels(NamedTuple):
    """A neuron's compiled passes."""

    forward: Callable[..., np.ndarray]
    backward: Callable[..., None]


@functools.cache
def kernels(neuron: Any) -> Kernels:
    """Compile a neuron's equations into the passes over a layer.

    Numba keeps compiled passes on disk under the values of the variables they close over, so the
    equations' text is one of those: a pass is compiled anew when they change.
    """
    text = inspect.getsource(neurons)
    members = len(neuron.state)
    load, store = LOADS[members - 1], STORES[members - 1]
    step, pullback = register_jitable(neuron.step), register_jitable(neuron.pullback)

    @numba.njit(**_COMPILE)
    def forward(
        bits: np.ndarray,
        table: np.ndarray,
        bias: np.ndarray,
        constants: Any,
        threshold: Any,
        bits_out: np.ndarray,
        counts: np.ndarray,
        states: np.ndarray,
    ) -> None:
        """Run a layer; fills bits_out, spike counts [batch, neurons] and, unless it is empty,
        the trace of states [members, batch, T, neurons].
        """
        assert text
        rows, time_steps, columns = bits.shape
        blocks, _, _, width = table.shape
        count = counts.shape[1]
        row_blocks = (rows + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
        for unit in numba.prange(blocks * row_blocks):
            block, first = unit // row_blocks, (unit % row_blocks) * ROWS_AT_ONCE
            last = min(first + ROWS_AT_ONCE, rows)
            start = block * width
            real = min(width, count - start)
            current = np.zeros((ROWS_AT_ONCE * time_steps, width), np.float32)
            for row in range((last - first) * time_steps):
                for j in range(real):
                    current[row, j] = bias[start + j]
            for pair in range(columns // 2):
                sums = table[block, 4 * pair : 4 * pair + 4]
                row = 0
                for r in range(first, last):
                    for t in range(time_steps):
                        low, high = bits[r, t, 2 * pair], bits[r, t, 2 * pair + 1]
                        a, b = np.uint64(low & 15), np.uint64(low >> 4)
                        c, d = np.uint64(high & 15), np.uint64(high >> 4)
                        for j in range(width):
                            current[row, j] += (sums[0, a, j] + sums[1, b, j]) + (
                                sums[2, c, j] + sums[3, d, j]
                            )
                        row += 1
            state = np.empty((members, width), np.float32)
            spike = np.empty(width, np.float32)
            total = np.empty(width, np.float32)
            row = 0
            for r in range(first, last):
                state[:] = ZERO
                spike[:] = ZERO
                total[:] = ZERO
                for t in range(time_steps):
                    for j in range(width):
                        after = step(current[row, j], spike[j], load(state, j), constants)
                        store(state, j, after)
                        spike[j] = ONE if after[0] > threshold else ZERO
                        total[j] += spike[j]
                    for k in range(len(states)):
                        for j in range(real):
                            states[k, r, t, start + j] = state[k, j]
                    _pack(spike, bits_out[r, t, start // 8 : (start + real + 7) // 8])
                    row += 1
                for j in range(real):
                    counts[r, start + j] = total[j]

    @numba.njit(**_COMPILE)
    def backward(
        states: np.ndarray, gradient: np.ndarray, constants: Any, threshold: Any, window: Any
    ) -> None:
        """Turn the gradient of the spikes [batch, T, neurons] into that of the currents, in place.

        The surrogate gradient is the rectangle of Eq. 14: 1 / (2 w) where |V - threshold| <= w.
        """
        assert text
        _, rows, time_steps, count = states.shape
        slope = ONE / (window + window)
        for r in numba.prange(rows):
            state_gradient = np.zeros((members, count), np.float32)
            spike_gradient = np.zeros(count, np.float32)
            at_rest = np.zeros((members, count), np.float32)
            for t in range(time_steps - 1, -1, -1):
                before = states[:, r, t - 1] if t else at_rest
                for j in range(count):
                    inside = slope if abs(states[0, r, t, j] - threshold) <= window else ZERO
                    state_gradient[0, j] += inside * (gradient[r, t, j] + spike_gradient[j])
                    earlier = load(before, j)
                    fired = ONE if earlier[0] > threshold else ZERO
                    to_current, to_spike, to_state = pullback(
                        fired, earlier, constants, load(state_gradient, j)
                    )
                    gradient[r, t, j] = to_current
                    spike_gradient[j] = to_spike
                    store(state_gradient, j, to_state)

    return Kernels(forward, backward)


def use_threads(count: int) -> None:
    """Start no more than this many threads; idle ones would spin beside another run's work."""
    numba.config.NUMBA_NUM_THREADS = min(count, numba.config.NUMBA_NUM_THREADS)


class SpikingLayers(torch.autograd.Function):
    """Encoder spikes and spiking layers, from stimulation to the output population's firing rate.

    Backward goes through the surrogate gradient (Eq. 14) and takes d spike / d stimulation of the
    encoder as 1 at every simulation step (Eq. 15).
    """

    @staticmethod
    def forward(ctx: Any, stimulation: Tensor, about: About, keep: bool, *parameters: Tensor) -> Tensor:
        """Compute the firing rate [batch, neurons] under stimulation [batch, encoder neurons].

        `parameters` are weight and bias of each layer; `keep` says whether a gradient will follow.
        """
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        steps, threshold = about.time_steps, np.float32(about.threshold)
        constants = tuple(map(np.float32, about.neuron_constants))
        bits = encode(stimulation.numpy(force=True), steps, np.float32(about.encoder_threshold))
        rows = len(stimulation)
        all_bits, all_states = [bits], []
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            count = len(weight)
            blocks = -(-count // NEURONS_AT_ONCE)
            width = 8 * -(-count // (8 * blocks))
            table = tabulate(weight.numpy(force=True), blocks, width, 2 * bits.shape[2])
            counts = np.empty((rows, count), np.float32)
            members = len(about.neuron.state) if keep else 0
            states = np.empty((members, rows, steps, count), np.float32)
            following = np.zeros((rows, steps, _bytes(count)), np.uint8)
            kernels(about.neuron).forward(
                bits, table, bias.numpy(force=True), constants, threshold, following, counts, states
            )
            bits = following
            all_bits.append(bits)
            all_states.append(states)
        ctx.about, ctx.bits, ctx.states = about, all_bits, all_states
        ctx.save_for_backward(*parameters[::2])
        return torch.from_numpy(counts).div_(steps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run layers and simulation steps backwards."""
        about, steps = ctx.about, ctx.about.time_steps
        constants = tuple(map(np.float32, about.neuron_constants))
        threshold = np.float32(about.threshold)
        window = np.float32(about.surrogate_window)
        rate_gradient = gradients[0].div(steps)
        gradient = rate_gradient.unsqueeze(1).repeat(1, steps, 1)
        found: list[Tensor] = []
        for i in range(len(ctx.states) - 1, -1, -1):
            weight, states = ctx.saved_tensors[i], ctx.states[i]
            kernels(about.neuron).backward(
                states, gradient.numpy(), constants, threshold, window
            )
            rows = gradient.flatten(0, 1)
            spikes = torch.from_numpy(unpack(ctx.bits[i], weight.shape[1])).flatten(0, 1)
            found = [rows.T @ spikes, rows.sum(0), *found]
            if i:
                gradient = (rows @ weight).unflatten(0, (-1, steps))
        to_stimulation = gradient.sum(1) @ ctx.saved_tensors[0]
        return to_stimulation, None, None, *found


class About(NamedTuple):
    """What the spiking layers are, besides their parameters."""

    neuron: Any
    neuron_constants: tuple[float, ...]
    surrogate_window: float
    time_steps: int
    encoder_threshold: float

    @property
    def threshold(self) -> float:
        """The threshold among the neuron's constants."""
        return self.neuron_constants[list(self.neuron.constants).index("threshold")]
