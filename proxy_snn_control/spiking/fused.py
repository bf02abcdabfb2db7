"""The spiking layers on a CPU: all T simulation steps of a layer in one compiled pass.

Spikes are bits. Their product with a weight matrix needs no multiplication, and four bits have
only 16 values: what each of those adds to every neuron's current is tabled once (`tabulate`), and a
current is then a sum of table rows, one for every four neurons of the layer before (`forward`).
That is a quarter of the additions of a dense product, in float32, at any firing rate.

Work goes by blocks of rows and neurons that fit the processor's cache: the currents of a block
become membrane potentials and spike bits before the next block's are computed. The gradient runs
the steps backwards in the same way (`backward`).

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
ROWS_AT_ONCE = 32
ZERO, ONE = np.float32(0), np.float32(1)
# Eight bytes of 0 or 1, read as one number (the first is the lowest), times this: its highest byte
# has them as its bits, in order.
GATHER = np.uint64(0x0102040810204080)


class Passes(NamedTuple):
    """The compiled passes over a minibatch; the first argument shares the rows out to threads."""

    encode: Callable[..., None]
    unpack: Callable[..., None]
    forward: Callable[..., None]
    backward: Callable[..., None]


@functools.cache
def passes(neuron: Any, threaded: bool) -> Passes:
    """Compile the passes with a neuron's equations in them, for one thread or several.

    For one thread they start none: idle ones would spin beside another run's work. What does the
    work is compiled apart from the loop over threads, in which it takes several times longer.

    Numba keeps compiled passes on disk under the values of the variables they close over. So the
    equations' text is one of those: a pass is compiled anew when they change.
    """
    key = inspect.getsource(neurons), threaded
    members = len(neuron.state)
    load, store = LOADS[members - 1], STORES[members - 1]
    step, pullback = register_jitable(neuron.step), register_jitable(neuron.pullback)
    compiled = numba.njit(cache=True, nogil=True, parallel=threaded)

    @register_jitable
    def encode_rows(stimulation: np.ndarray, threshold: Any, bits: np.ndarray) -> None:
        rows, count = stimulation.shape
        potential = np.empty(count, np.float32)
        fired = np.zeros(8 * bits.shape[2], np.uint8)
        for r in range(rows):
            potential[:] = ZERO
            for t in range(bits.shape[1]):
                for j in range(count):
                    v = potential[j] + stimulation[r, j]
                    fired[j] = v > threshold
                    potential[j] = v - threshold * (ONE if v > threshold else ZERO)
                _pack(fired, bits[r, t])

    @compiled
    def encode(parts: int, stimulation: np.ndarray, threshold: Any, bits: np.ndarray) -> None:
        """Fill in spike bits of the soft-reset encoder (Eq. 11), stimulation [batch, neurons]."""
        assert key
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(bits))
            encode_rows(stimulation[mine], threshold, bits[mine])

    @compiled
    def unpack(parts: int, bits: np.ndarray, spikes: np.ndarray) -> None:
        """Fill in spikes as float32 [batch, T, neurons] of zeros and ones."""
        assert key
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(bits))
            _unpack_rows(bits[mine], spikes[mine])

    @register_jitable
    def forward_rows(
        bits: np.ndarray,
        table: np.ndarray,
        bias: np.ndarray,
        constants: Any,
        threshold: Any,
        bits_out: np.ndarray,
        counts: np.ndarray,
        states: np.ndarray,
    ) -> None:
        rows, time_steps, columns = bits.shape
        blocks, _, _, width = table.shape
        count = counts.shape[1]
        row_blocks = (rows + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
        current = np.empty((ROWS_AT_ONCE * time_steps, width), np.float32)
        state = np.empty((members, width), np.float32)
        spike = np.empty(width, np.float32)
        fired = np.empty(width, np.uint8)
        total = np.empty(width, np.float32)
        for unit in range(blocks * row_blocks):
            block, first = unit // row_blocks, (unit % row_blocks) * ROWS_AT_ONCE
            last = min(first + ROWS_AT_ONCE, rows)
            start = block * width
            real = min(width, count - start)
            current[:] = ZERO
            for row in range((last - first) * time_steps):
                for j in range(real):
                    current[row, j] = bias[start + j]
            for pair in range(columns // 2):
                sums = table[block, 4 * pair : 4 * pair + 4]
                row = 0
                for r in range(first, last):
                    for t in range(time_steps):
                        low, high = bits[r, t, 2 * pair], bits[r, t, 2 * pair + 1]
                        a, b = sums[0, np.uint64(low & 15)], sums[1, np.uint64(low >> 4)]
                        c, d = sums[2, np.uint64(high & 15)], sums[3, np.uint64(high >> 4)]
                        mine = current[row]
                        for j in range(width):
                            mine[j] += (a[j] + b[j]) + (c[j] + d[j])
                        row += 1
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
                    for k in range(states.shape[2]):
                        for j in range(real):
                            states[r, t, k, start + j] = state[k, j]
                    for j in range(width):
                        fired[j] = spike[j] > ZERO
                    _pack(fired, bits_out[r, t, start // 8 : (start + real + 7) // 8])
                    row += 1
                for j in range(real):
                    counts[r, start + j] = total[j]

    @register_jitable
    def backward_rows(
        states: np.ndarray, gradient: np.ndarray, constants: Any, threshold: Any, window: Any
    ) -> None:
        rows, time_steps, _, count = states.shape
        slope = ONE / (window + window)
        state_gradient = np.empty((members, count), np.float32)
        spike_gradient = np.empty(count, np.float32)
        at_rest = np.zeros((members, count), np.float32)
        for r in range(rows):
            state_gradient[:] = ZERO
            spike_gradient[:] = ZERO
            for t in range(time_steps - 1, -1, -1):
                before = states[r, t - 1] if t else at_rest
                for j in range(count):
                    inside = slope if abs(states[r, t, 0, j] - threshold) <= window else ZERO
                    state_gradient[0, j] += inside * (gradient[r, t, j] + spike_gradient[j])
                    earlier = load(before, j)
                    fired = ONE if earlier[0] > threshold else ZERO
                    to_current, to_spike, to_state = pullback(
                        fired, earlier, constants, load(state_gradient, j)
                    )
                    gradient[r, t, j] = to_current
                    spike_gradient[j] = to_spike
                    store(state_gradient, j, to_state)

    @compiled
    def forward(
        parts: int,
        bits: np.ndarray,
        table: np.ndarray,
        bias: np.ndarray,
        constants: Any,
        threshold: Any,
        bits_out: np.ndarray,
        counts: np.ndarray,
        states: np.ndarray,
    ) -> None:
        """Run a layer.

        Fills bits_out, spike counts [batch, neurons] and, unless it has no members, the trace of
        states [batch, T, members, neurons].
        """
        assert key
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(bits))
            forward_rows(
                bits[mine], table, bias, constants, threshold,
                bits_out[mine], counts[mine], states[mine],
            )  # fmt: skip

    @compiled
    def backward(
        parts: int,
        states: np.ndarray,
        gradient: np.ndarray,
        constants: Any,
        threshold: Any,
        window: Any,
    ) -> None:
        """Turn the gradient of the spikes [batch, T, neurons] into that of the currents, in place.

        The surrogate gradient is the rectangle of Eq. 14: 1 / (2 w) where |V - threshold| <= w.
        """
        assert key
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(states))
            backward_rows(states[mine], gradient[mine], constants, threshold, window)

    return Passes(encode, unpack, forward, backward)


@numba.njit(cache=True, nogil=True)
def tabulate(weight: np.ndarray, table: np.ndarray) -> None:
    """Fill in what each value of each four bits adds to the currents.

    The table is [blocks, groups of four, 16, width] of zeros; weight is [fan_out, fan_in].
    """
    fan_out, fan_in = weight.shape
    blocks, _, _, width = table.shape
    for block in range(blocks):
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


def _table(weight: np.ndarray) -> np.ndarray:
    blocks = -(-len(weight) // NEURONS_AT_ONCE)
    width = 8 * -(-len(weight) // (8 * blocks))
    table = np.zeros((blocks, 2 * _bytes(weight.shape[1]), 16, width), np.float32)
    tabulate(weight, table)
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


@register_jitable
def _mine(part: int, parts: int, rows: int) -> slice:
    return slice(rows * part // parts, rows * (part + 1) // parts)


@register_jitable
def _pack(fired: np.ndarray, bits: np.ndarray) -> None:
    """Pack ones and zeros, uint8 [8 x bytes or more], into bits."""
    eight = fired.view(np.uint64)
    for byte in range(len(bits)):
        bits[byte] = (eight[byte] * GATHER) >> np.uint64(56)


@register_jitable
def _unpack_rows(bits: np.ndarray, spikes: np.ndarray) -> None:
    rows, time_steps, count = spikes.shape
    for r in range(rows):
        for t in range(time_steps):
            for j in range(count):
                spikes[r, t, j] = (bits[r, t, j >> 3] >> (j & 7)) & 1


def _bytes(count: int) -> int:
    return 2 * -(-count // 16)


class SpikingLayers(torch.autograd.Function):
    """Encoder spikes and spiking layers, from stimulation to the output population's firing rate.

    Backward goes through the surrogate gradient (Eq. 14) and takes d spike / d stimulation of the
    encoder as 1 at every simulation step (Eq. 15).
    """

    @staticmethod
    def forward(
        ctx: Any, stimulation: Tensor, about: About, keep: bool, *parameters: Tensor
    ) -> Tensor:
        """Compute the firing rate [batch, neurons] under stimulation [batch, encoder neurons].

        `parameters` are weight and bias of each layer; `keep` says whether a gradient will follow.
        """
        steps, threshold = about.time_steps, np.float32(about.threshold)
        constants = tuple(map(np.float32, about.neuron_constants))
        rows, members = len(stimulation), len(about.neuron.state) if keep else 0
        stimulated = stimulation.numpy(force=True)
        weights = [p.numpy(force=True) for p in parameters[::2]]
        biases = [p.numpy(force=True) for p in parameters[1::2]]
        counts = [len(weight) for weight in weights]
        tables = [_table(weight) for weight in weights]
        bits = [
            np.zeros((rows, steps, _bytes(n)), np.uint8) for n in (weights[0].shape[1], *counts)
        ]
        fired = [np.empty((rows, n), np.float32) for n in counts]
        states = [np.empty((rows, steps, members, n), np.float32) for n in counts]
        parts = torch.get_num_threads()
        do = passes(about.neuron, parts > 1)
        do.encode(parts, stimulated, np.float32(about.encoder_threshold), bits[0])
        for i, (table, bias) in enumerate(zip(tables, biases, strict=True)):
            do.forward(
                parts, bits[i], table, bias, constants, threshold,
                bits[i + 1], fired[i], states[i],
            )  # fmt: skip
        ctx.about, ctx.bits, ctx.states = about, bits, states
        ctx.save_for_backward(*parameters[::2])
        return torch.from_numpy(fired[-1]).div_(steps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run layers and simulation steps backwards."""
        about, steps = ctx.about, ctx.about.time_steps
        constants = tuple(map(np.float32, about.neuron_constants))
        threshold = np.float32(about.threshold)
        window = np.float32(about.surrogate_window)
        parts = torch.get_num_threads()
        do = passes(about.neuron, parts > 1)
        rate_gradient = gradients[0].div(steps)
        gradient = rate_gradient.unsqueeze(1).repeat(1, steps, 1)
        found: list[Tensor] = []
        for i in range(len(ctx.states) - 1, -1, -1):
            weight, states, bits = ctx.saved_tensors[i], ctx.states[i], ctx.bits[i]
            currents = gradient.numpy()
            spikes = np.empty((*bits.shape[:2], weight.shape[1]), np.float32)
            do.backward(parts, states, currents, constants, threshold, window)
            do.unpack(parts, bits, spikes)
            rows = gradient.flatten(0, 1)
            before = torch.from_numpy(spikes).flatten(0, 1)
            # float(): products may have been asked for in bfloat16.
            found = [(rows.T @ before).float(), rows.sum(0), *found]
            if i:
                gradient = (rows @ weight).float().unflatten(0, (-1, steps))
        to_stimulation = (gradient.sum(1) @ ctx.saved_tensors[0]).float()
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
