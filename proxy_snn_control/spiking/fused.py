# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The spiking layers on a CPU: all T simulation steps of a layer in one compiled pass.

Spikes are bits. Their product with a weight matrix needs no multiplication, and four bits have
only 16 values: what each of those adds to every neuron's current is tabled once (`tabulate`), and
a current is then a sum of table rows, one for every four neurons of the layer before (`forward`).
That is a quarter of the additions of a dense product, in float32, at any firing rate.

Work goes by tiles of `ROWS` rows and `WIDTH` neurons whose currents, with the tables of a word of
32 spikes, fit the processor's first cache: they become membrane potentials and spike bits before
the next tile's are computed. The gradient runs the steps backwards (`backward`).

The neuron's equations are those of policy/neurons.py, compiled into the loops; nothing here
depends on them. Bits are uint32 [batch, T, words], neuron 0 in the lowest bit of word 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
import inspect
import sys
from typing import Any, NamedTuple

from llvmlite import ir
import numba
from numba import types
from numba.extending import intrinsic, register_jitable
import numpy as np
from proxy_snn_control.policy import cache, neurons, plugins
from proxy_snn_control.spiking.dense import factor_type
from proxy_snn_control.spiking.neurons import About
import torch
from torch import Tensor

WIDTH = 32  # neurons of a tile, and spikes of a word
ROWS = 16  # rows of a tile
LANES = 16  # numbers in a register; a processor with smaller ones takes several for them
GROUPS = 8  # of four spikes in a word
WORD_TABLE = GROUPS * 16 * WIDTH
ZERO, ONE = np.float32(0), np.float32(1)
# What a spike is in memory that a product reads: 1 as float32, and the bits of 1 as bfloat16.
SPIKE = {torch.float32: ONE, torch.bfloat16: np.uint16(0x3F80)}


@intrinsic
def _add_word(typing_context: Any, table: Any, at: Any, word: Any, current: Any, to: Any) -> Any:
    """Add the currents of a word of spikes to current[to : to + WIDTH]; tables at table[at].

    Written in LLVM's instructions: from Python, Numba would not keep the sums in registers.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        table, at, word, current, to = arguments
        index, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), LANES)

        def numbers(array: Any, argument: int, offset: Any, part: int) -> Any:
            data = context.make_array(signature.args[argument])(context, builder, array).data
            lane = builder.add(offset, index(LANES * part))
            return builder.bitcast(builder.gep(data, [lane]), vector.as_pointer())

        rows = []
        for group in range(GROUPS):
            four = builder.and_(builder.lshr(word, word.type(4 * group)), word.type(15))
            row = builder.mul(builder.zext(four, index), index(WIDTH))
            rows.append(builder.add(builder.add(at, row), index(16 * WIDTH * group)))
        for part in range(WIDTH // LANES):
            sums = [builder.load(numbers(table, 0, row, part), align=4) for row in rows]
            while len(sums) > 1:
                sums = [builder.fadd(*two) for two in zip(sums[::2], sums[1::2], strict=True)]
            place = numbers(current, 3, to, part)
            builder.store(builder.fadd(builder.load(place, align=4), sums[0]), place, align=4)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.uint32, current, types.int64), generate


@intrinsic
def _fired(typing_context: Any, potential: Any, at: Any, threshold: Any) -> Any:
    """Find which of potential[at : at + WIDTH] are above the threshold, as the bits of a word."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        potential, at, threshold = arguments
        vector = ir.VectorType(ir.FloatType(), WIDTH)
        data = context.make_array(signature.args[0])(context, builder, potential).data
        values = builder.load(
            builder.bitcast(builder.gep(data, [at]), vector.as_pointer()), align=4
        )
        level = ir.Constant(vector, ir.Undefined)
        for lane in range(WIDTH):
            level = builder.insert_element(level, threshold, ir.IntType(32)(lane))
        above = builder.fcmp_ordered('>', values, level)
        return builder.bitcast(above, ir.IntType(WIDTH))

    return types.uint32(potential, types.int64, types.float32), generate


def _sources(neuron: Any = neurons.LIF) -> bytes:
    """Return the source of the compiled passes, which is part of their key in the cache."""
    return plugins.source_of(neuron) + inspect.getsource(sys.modules[__name__]).encode()


class Passes(NamedTuple):
    """The compiled passes over a minibatch; the first argument is the number of threads."""

    encode: Callable[..., None]
    unpack: Callable[..., None]
    forward: Callable[..., None]
    backward: Callable[..., None]


@functools.cache
def passes(neuron: Any, threaded: bool, tailed: bool) -> Passes:
    """Compile the passes with a neuron's equations in them, for one thread or several.

    `tailed`: whether the surrogate gradient has a tail, which costs a division for each potential.

    For one thread they start none: idle ones would spin beside another run's work. What does the
    work is compiled apart from the loop over threads, in which it takes several times longer.
    """
    members = len(neuron.state)
    load, store = LOADS[members - 1], STORES[members - 1]
    step, pullback = register_jitable(neuron.step), register_jitable(neuron.pullback)
    compiled = cache.compiled(_sources(neuron), neuron.__name__, nogil=True, parallel=threaded)
    # The others are the same with and without a tail, and are found again on the disk.
    with_tail = ('tail',) if tailed else ()
    compiled_backward = cache.compiled(
        _sources(neuron), neuron.__name__, *with_tail, nogil=True, parallel=threaded
    )

    @register_jitable
    def encode_rows(stimulation: np.ndarray, threshold: Any, bits: np.ndarray) -> None:
        rows, count = stimulation.shape
        potential = np.zeros(WIDTH * bits.shape[2], np.float32)
        for r in range(rows):
            potential[:] = ZERO
            for t in range(bits.shape[1]):
                for j in range(count):
                    v = potential[j]
                    potential[j] = v - threshold * (ONE if v > threshold else ZERO)
                for j in range(count):
                    potential[j] += stimulation[r, j]
                for word in range(bits.shape[2]):
                    bits[r, t, word] = _fired(  # type: ignore[call-arg]
                        potential, word * WIDTH, threshold
                    )

    @compiled
    def encode(parts: int, stimulation: np.ndarray, threshold: Any, bits: np.ndarray) -> None:
        """Fill in spike bits of the soft-reset encoder (Eq. 11), stimulation [batch, neurons]."""
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(bits))
            encode_rows(stimulation[mine], threshold, bits[mine])

    @compiled
    def unpack(parts: int, bits: np.ndarray, one: Any, spikes: np.ndarray) -> None:
        """Fill in spikes as [batch, T, neurons] of zeros and `one`s."""
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(bits))
            _unpack_rows(bits[mine], one, spikes[mine])

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
        rows, time_steps, words = bits.shape
        count = counts.shape[1]
        tile = ROWS * WIDTH
        current = np.empty((time_steps, tile), np.float32)
        flat_current = current.reshape(-1)
        state = np.empty((members, tile), np.float32)
        spike, total = np.empty(tile, np.float32), np.empty(tile, np.float32)
        for block in range(bits_out.shape[2]):
            start = block * WIDTH
            real = min(WIDTH, count - start)
            stop = start + real
            for first in range(0, rows, ROWS):
                here = min(ROWS, rows - first)
                for r in range(here):
                    for j in range(WIDTH):
                        total[r * WIDTH + j] = bias[start + j] if j < real else ZERO
                for t in range(time_steps):
                    current[t] = total
                for word in range(words):
                    at = (block * words + word) * WORD_TABLE
                    for r in range(here):
                        for t in range(time_steps):
                            to = t * tile + r * WIDTH
                            _add_word(  # type: ignore[call-arg]
                                table, at, bits[first + r, t, word], flat_current, to
                            )
                state[:] = ZERO
                spike[:] = ZERO
                total[:] = ZERO
                for t in range(time_steps):
                    for j in range(tile):
                        after = step(current[t, j], spike[j], load(state, j), constants)
                        store(state, j, after)
                        spike[j] = ONE if after[0] > threshold else ZERO
                        total[j] += spike[j]
                    for r in range(here):
                        bits_out[first + r, t, block] = _fired(  # type: ignore[call-arg]
                            state[0], r * WIDTH, threshold
                        )
                    for k in range(states.shape[2]):
                        for r in range(here):
                            begin, end = r * WIDTH, r * WIDTH + real
                            to_states = states[first + r, t, k, start:stop]
                            to_states[:] = state[k, begin:end]
                for r in range(here):
                    begin, end = r * WIDTH, r * WIDTH + real
                    counts[first + r, start:stop] = total[begin:end]

    @register_jitable(error_model='numpy')
    def backward_rows(
        states: np.ndarray,
        gradient: np.ndarray,
        constants: Any,
        threshold: Any,
        window: Any,
        tail: Any,
    ) -> None:
        rows, time_steps, _, count = states.shape
        slope = ONE / (window + window)
        far = tail * window * window * slope
        state_gradient = np.empty((members, count), np.float32)
        spike_gradient = np.empty(count, np.float32)
        at_rest = np.zeros((members, count), np.float32)
        for r in range(rows):
            state_gradient[:] = ZERO
            spike_gradient[:] = ZERO
            for t in range(time_steps - 1, -1, -1):
                before = states[r, t - 1] if t else at_rest
                for j in range(count):
                    distance = abs(states[r, t, 0, j] - threshold)
                    if tailed:
                        height = slope if distance <= window else far / (distance * distance)
                    else:
                        height = slope if distance <= window else ZERO
                    state_gradient[0, j] += height * (gradient[r, t, j] + spike_gradient[j])
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
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(bits))
            forward_rows(
                bits[mine], table, bias, constants, threshold,
                bits_out[mine], counts[mine], states[mine],
            )  # fmt: skip

    @compiled_backward
    def backward(
        parts: int,
        states: np.ndarray,
        gradient: np.ndarray,
        constants: Any,
        threshold: Any,
        window: Any,
        tail: Any,
    ) -> None:
        """Turn the gradient of the spikes [batch, T, neurons] into that of the currents, in place.

        The surrogate gradient is that of `run_backward` in spiking/neurons.py.
        """
        for part in numba.prange(parts):
            mine = _mine(part, parts, len(states))
            backward_rows(states[mine], gradient[mine], constants, threshold, window, tail)

    return Passes(encode, unpack, forward, backward)


@cache.compiled(_sources(), nogil=True)
def tabulate(weight: np.ndarray, table: np.ndarray) -> None:
    """Fill in what each value of each four bits adds to the currents.

    weight is float32 [fan_out, fan_in]; the table is float32 [blocks, words, GROUPS, 16, WIDTH],
    with zeros for padding neurons.
    """
    fan_out, fan_in = weight.shape
    blocks, words = table.shape[:2]
    for block in range(blocks):
        first = block * WIDTH
        real = min(WIDTH, fan_out - first)
        for group in range(words * GROUPS):
            sums = table[block, group // GROUPS, group % GROUPS]
            sums[0] = ZERO
            for k in range(4):
                neuron = 4 * group + k
                sums[1 << k] = ZERO
                if neuron < fan_in:
                    for j in range(real):
                        sums[1 << k, j] = weight[first + j, neuron]
            for value in range(3, 16):
                lowest = value & -value
                if lowest != value:
                    for j in range(WIDTH):
                        sums[value, j] = sums[value - lowest, j] + sums[lowest, j]


class Tables:
    """The layers' tables, made anew when a weight has changed."""

    def __init__(self) -> None:
        self._version = -1
        self._tables: list[np.ndarray] = []

    def of(self, weights: Sequence[Tensor], version: int) -> list[np.ndarray]:
        """Give each layer's table, flat; `version` is another one after every change."""
        if self._version != version:
            self._version, self._tables = version, []
            for weight in weights:
                fan_out, fan_in = weight.shape
                table = _empty(_words(fan_out), _words(fan_in), GROUPS, 16, WIDTH)
                tabulate(weight.numpy(force=True), table)
                self._tables.append(table.reshape(-1))
        return self._tables


def _empty(*shape: int) -> np.ndarray:
    # torch's memory begins at a cache line; of rows that do not, each number of a register's width
    # is read from two.
    array: np.ndarray = torch.empty(shape, dtype=torch.float32).numpy()
    return array


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
def _load4(states: Any, j: Any) -> Any:
    return states[0, j], states[1, j], states[2, j], states[3, j]


@register_jitable
def _store1(states: Any, j: Any, new: Any) -> None:
    states[0, j] = new[0]


@register_jitable
def _store2(states: Any, j: Any, new: Any) -> None:
    states[0, j], states[1, j] = new


@register_jitable
def _store3(states: Any, j: Any, new: Any) -> None:
    states[0, j], states[1, j], states[2, j] = new


@register_jitable
def _store4(states: Any, j: Any, new: Any) -> None:
    states[0, j], states[1, j], states[2, j], states[3, j] = new


LOADS = (_load1, _load2, _load3, _load4)  # as many as neurons.MOST_STATES
STORES = (_store1, _store2, _store3, _store4)


@register_jitable
def _mine(part: int, parts: int, rows: int) -> slice:
    return slice(rows * part // parts, rows * (part + 1) // parts)


@register_jitable
def _unpack_rows(bits: np.ndarray, one: Any, spikes: np.ndarray) -> None:
    rows, time_steps, count = spikes.shape
    for r in range(rows):
        for t in range(time_steps):
            for word in range(bits.shape[2]):
                fired = bits[r, t, word]
                begin, end = word * WIDTH, min(count, (word + 1) * WIDTH)
                mine = spikes[r, t, begin:end]
                for j in range(len(mine)):
                    mine[j] = one * ((fired >> np.uint32(j)) & np.uint32(1))


def _words(count: int) -> int:
    return -(-count // WIDTH)


class SpikingLayers(torch.autograd.Function):
    """Encoder spikes and spiking layers, from stimulation to the output population's firing rate.

    Backward goes through the surrogate gradient (Eq. 14) and takes d spike / d stimulation of the
    encoder as 1 at every simulation step (Eq. 15).
    """

    @staticmethod
    def forward(
        ctx: Any,
        stimulation: Tensor,
        about: About,
        tables: list[list[np.ndarray]],
        keep: bool,
        tails: Sequence[float],
        products: str,
        *parameters: Tensor,
    ) -> Tensor:
        """Compute firing rates [members, batch, neurons].

        Args:
            ctx: for `backward`.
            stimulation: of the encoder, [members, batch, encoder neurons].
            about: the neuron and its constants.
            tables: of each member, of the weights of each layer.
            keep: whether a gradient will follow.
            tails: of each member's surrogate gradient; 0 for none.
            products: what its products are computed in (dense.py); spikes are exact either way.
            parameters: weight [members, outputs, inputs] and bias [members, outputs] of each
            layer.
        """
        steps, threshold = about.time_steps, np.float32(about.threshold)
        constants = tuple(map(np.float32, about.neuron_constants))
        state_size = len(about.neuron.state) if keep else 0
        parts = torch.get_num_threads()
        do = passes(about.neuron, parts > 1, any(tails))
        rates, kept = [], []
        for member, stimulated in enumerate(stimulation.numpy(force=True)):
            rows = len(stimulated)
            biases = [p[member].numpy(force=True) for p in parameters[1::2]]
            counts = [len(bias) for bias in biases]
            bits = [
                np.empty((rows, steps, _words(n)), np.uint32)
                for n in (stimulated.shape[1], *counts)
            ]
            fired = [_empty(rows, n) for n in counts]
            states = [_empty(rows, steps, state_size, n) for n in counts]
            do.encode(parts, stimulated, np.float32(about.encoder_threshold), bits[0])
            for i, (table, bias) in enumerate(zip(tables[member], biases, strict=True)):
                do.forward(
                    parts, bits[i], table, bias, constants, threshold,
                    bits[i + 1], fired[i], states[i],
                )  # fmt: skip
            rates.append(torch.from_numpy(fired[-1]).div_(steps))
            kept.append((bits, states))
        ctx.about, ctx.kept, ctx.tails, ctx.products = about, kept, tails, products
        ctx.save_for_backward(*parameters[::2])
        return rates[0].unsqueeze(0) if len(rates) == 1 else torch.stack(rates)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run layers and simulation steps backwards."""
        found = [
            _pull(
                gradient,
                bits,
                states,
                [weight[member] for weight in ctx.saved_tensors],
                ctx,
                ctx.tails[member],
            )
            for member, (gradient, (bits, states)) in enumerate(
                zip(gradients[0], ctx.kept, strict=True)
            )
        ]
        if len(found) == 1:
            to_stimulation, *of_parameters = (part.unsqueeze(0) for part in found[0])
        else:
            to_stimulation, *of_parameters = map(torch.stack, zip(*found, strict=True))
        return to_stimulation, None, None, None, None, None, *of_parameters


def _pull(
    rate_gradient: Tensor,
    bits: list[np.ndarray],
    states: list[np.ndarray],
    weights: list[Tensor],
    ctx: Any,
    tail: float,
) -> list[Tensor]:
    """One member's gradients: of the stimulation, and of weight and bias of each layer in turn."""
    about, steps, kind = ctx.about, ctx.about.time_steps, factor_type(ctx.products, torch.float32)
    constants = tuple(map(np.float32, about.neuron_constants))
    threshold, window = np.float32(about.threshold), np.float32(about.surrogate_window)
    parts = torch.get_num_threads()
    do = passes(about.neuron, parts > 1, any(ctx.tails))
    gradient = rate_gradient.div(steps).unsqueeze(1).repeat(1, steps, 1)
    found: list[Tensor] = []
    for i in range(len(states) - 1, -1, -1):
        currents = gradient.numpy()
        one = SPIKE[kind]
        spikes = np.empty((*bits[i].shape[:2], weights[i].shape[1]), type(one))
        do.backward(parts, states[i], currents, constants, threshold, window, np.float32(tail))
        do.unpack(parts, bits[i], one, spikes)
        rows = gradient.flatten(0, 1)
        factor = rows.to(kind)
        before = torch.from_numpy(spikes).view(kind).flatten(0, 1)
        found = [(factor.T @ before).float(), rows.sum(0), *found]
        if i:
            gradient = (factor @ weights[i].to(kind)).float().unflatten(0, (-1, steps))
    to_stimulation = gradient.sum(1).to(kind) @ weights[0].to(kind)
    return [to_stimulation.float(), *found]
