# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The event-driven pass: from observation to action with work in proportion to spikes.

This is what acts on the robot. `python -m proxy_snn_control.policy.event lif [PLUGIN ..]` compiles
it, with a neuron's equations in it, to an object file; native.py keeps that and loads it without
the compiler.

A spike adds the row of weights of the neuron that fired to the currents of the layer after it;
nothing is computed for neurons that do not fire. `WIDTH` neurons of a layer run all their T
simulation steps before the next ones do: their columns of the weights then stay in the processor's
first cache, and their currents in its registers.

The additions come in the order in which torch's matrix product was found to add on x86-64 (MKL: in
parts of at most `TOGETHER` terms, equal in length). Nothing but rounding depends on it; with it
there is hardly a potential so near its threshold that it fires here and not in training.

The caller allocates all memory: flat arrays, which appear here as pointers with an offset. With L
layers after the encoder, n[0] encoder neurons, n[i] neurons in layer i, p[i] that number rounded
up to a multiple of `WIDTH` and `most` the largest p[i], they are:

    sizes        int64    T, observations, encoder population, actions, decoder population, most,
                          L, n[0], ..., n[L]
    observation  float64  [observations]
    encoder      float64  each [n[0]]: mu, 2 sigma^2, scratch
    rows         float32  per layer [p[i] / WIDTH, n[i - 1] + 1, WIDTH], the last row zeros
    biases       float32  per layer [p[i]]
    constants    float32  the neuron's, in order, and then the encoder's threshold
    decoder      float32  weight [actions, decoder population], then each [actions]: bias, lower
                          limit, half the range, upper limit
    spikes       uint8    per layer from the encoder on [T, p[i]]
    potentials   float32  per layer after the encoder [T, p[i]]
    events       uint32   [T, 2, most + SPARE]: how many entries both lists have, then which
                          neurons of the layer's first part fire, ascending; likewise its second
    scratch      float32  [2 most + SPARE * WIDTH]
    counts       int64    [L + 1]: how many spikes each layer fired
    action       float32  [actions]
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import math
import sys
from typing import Any

from llvmlite import ir
import llvmlite.binding
import numba
from numba import types
from numba.extending import intrinsic, register_jitable
import numpy as np
from proxy_snn_control.policy import plugins
from proxy_snn_control.policy.native import SPARE, TOGETHER, WIDTH
from proxy_snn_control.policy.plugins import NEURONS

ZERO, ONE = np.float32(0), np.float32(1)
# exp of less than this is 0 in float32.
SMALLEST_EXPONENT = -700.0
# log 2 in two parts: a whole number times the first is exact.
LOG2_HIGH, LOG2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
FACTORS = tuple(1.0 / n for n in range(13, 0, -1))
# For every byte the places of the bits that are set, a byte each.
BITS_SET = [
    int.from_bytes([bit for bit in range(8) if byte >> bit & 1], 'little') for byte in range(256)
]
WHOLE, SINGLE, DOUBLE = (
    types.CPointer(kind) for kind in (types.int64, types.float32, types.float64)
)
BYTE, INDEX = types.CPointer(types.uint8), types.CPointer(types.uint32)
SIGNATURE = types.int64(
    WHOLE, DOUBLE, DOUBLE, SINGLE, SINGLE, SINGLE, SINGLE,
    BYTE, SINGLE, INDEX, SINGLE, WHOLE, SINGLE,
)  # fmt: skip


# From Python, Numba makes code that keeps the sums in memory, and that copies numbers one by one
# where two arrays might overlap. So these functions are written in LLVM's instructions.


def adder(lists: int) -> Any:
    """Make the function that adds up the rows of one list or two, each in a sum of its own."""

    @intrinsic
    def add_rows(
        typing_context: Any,
        rows: Any,
        at_row: Any,
        events: Any,
        at: Any,
        stride: Any,
        count: Any,
        biases: Any,
        at_bias: Any,
        current: Any,
    ) -> Any:
        """Set current [WIDTH] to the biases and those rows [.., WIDTH] of weights `events` names.

        Every list has `count` entries; they are `stride` apart.
        """

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
            rows, at_row, events, at, stride, count, biases, at_bias, current = arguments
            vector, index = ir.VectorType(ir.FloatType(), WIDTH), ir.IntType(64)
            before = builder.basic_block
            loop, after = builder.append_basic_block('loop'), builder.append_basic_block('after')

            def load(base: Any, offset: Any) -> Any:
                place = builder.bitcast(builder.gep(base, [offset]), vector.as_pointer())
                return builder.load(place, align=4)

            bias, nothing = load(biases, at_bias), ir.Constant(vector, None)
            builder.cbranch(builder.icmp_signed('>', count, index(0)), loop, after)

            builder.position_at_end(loop)
            event, sums = builder.phi(index), [builder.phi(vector) for _ in range(lists)]
            totals, place = [], builder.add(at, event)
            for running in sums:
                which = builder.zext(builder.load(builder.gep(events, [place])), index)
                row = builder.add(at_row, builder.mul(which, index(WIDTH)))
                totals.append(builder.fadd(running, load(rows, row)))
                place = builder.add(place, stride)
            following = builder.add(event, index(1))
            event.add_incoming(index(0), before)
            event.add_incoming(following, loop)
            builder.cbranch(builder.icmp_signed('<', following, count), loop, after)

            builder.position_at_end(after)
            results = [builder.phi(vector) for _ in sums]
            for running, total, result in zip(sums, totals, results, strict=True):
                for value, origin in ((nothing, before), (total, loop)):
                    running.add_incoming(value, origin)
                    result.add_incoming(value, origin)
            place = builder.bitcast(current, vector.as_pointer())
            builder.store(functools.reduce(builder.fadd, results, bias), place, align=4)
            return context.get_dummy_value()

        whole = types.int64
        return types.void(
            SINGLE, whole, INDEX, whole, whole, whole, SINGLE, whole, SINGLE
        ), generate

    return add_rows


add_rows_of_one, add_rows_of_two = adder(1), adder(2)


@intrinsic
def list_eight(
    typing_context: Any, spikes: Any, at: Any, mask: Any, first: Any, events: Any, at_event: Any
) -> Any:
    """List which of eight neurons fire, numbered from `first` on; returns how many do.

    Neurons whose bit is not in `mask` are left out. A table has the bits that are set in each
    byte. Always writes eight entries.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        spikes, at, mask, first, events, at_event = arguments
        word, whole = ir.IntType(64), ir.IntType(32)
        bytes_, numbers = ir.VectorType(ir.IntType(8), 8), ir.VectorType(whole, 8)
        table = builder.module.globals.get('bits_set')
        if table is None:
            table = ir.GlobalVariable(builder.module, ir.ArrayType(word, 256), 'bits_set')
            table.linkage, table.global_constant = 'internal', True
            table.initializer = ir.Constant(table.value_type, BITS_SET)
        place = builder.bitcast(builder.gep(spikes, [at]), word.as_pointer())
        # The product gathers the lowest bit of every byte in the highest byte.
        gathered = builder.mul(builder.load(place, align=1), word(0x0102040810204080))
        bits = builder.and_(builder.lshr(gathered, word(56)), mask)
        found = builder.bitcast(builder.load(builder.gep(table, [word(0), bits])), bytes_)
        base = builder.insert_element(ir.Constant(numbers, ir.Undefined), first, whole(0))
        base = builder.shuffle_vector(base, base, ir.Constant(numbers, [0] * 8))
        place = builder.bitcast(builder.gep(events, [at_event]), numbers.as_pointer())
        builder.store(builder.add(builder.zext(found, numbers), base), place, align=4)
        return builder.ctpop(bits)

    whole = types.int64
    return whole(BYTE, whole, whole, types.uint32, INDEX, whole), generate


@intrinsic
def from_bits(typing_context: Any, bits: Any) -> Any:
    """Take the bits of an int64 for a float64."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@register_jitable
def exponential(x: Any) -> Any:
    """exp(x) for x <= 0 in float64, to its last place but one.

    As plain arithmetic, for a library's exp is called for one number at a time. By x = k log 2 + r
    it is 2^k times the Taylor series of exp(r), |r| < 0.35.
    """
    x = max(x, SMALLEST_EXPONENT)
    k = math.floor(x * (1 / math.log(2)) + 0.5)
    r = x - k * LOG2_HIGH - k * LOG2_LOW
    total = 1.0
    for factor in FACTORS:
        total = 1.0 + total * r * factor
    exponent = np.int64(k) + np.int64(1023)
    power: float = from_bits(exponent << np.int64(52))  # type: ignore[call-arg]
    return total * power


@register_jitable
def encode(
    observation: Any,
    observations: int,
    population: int,
    encoder: Any,
    threshold: Any,
    time_steps: int,
    padded: int,
    scratch: Any,
    spikes: Any,
) -> None:
    """Fill in the encoder's spikes [T, padded] (Eq. 10 and 11)."""
    count = observations * population
    for i in range(observations):
        squashed = math.tanh(np.float64(np.float32(observation[i])))
        for j in range(i * population, (i + 1) * population):
            encoder[2 * count + j] = squashed
    for j in range(count):
        distance = encoder[2 * count + j] - encoder[j]
        scratch[j] = np.float32(exponential(-(distance * distance) / encoder[count + j]))
        scratch[count + j] = ZERO
    for t in range(time_steps):
        for j in range(count):
            v = scratch[count + j] + scratch[j]
            spike = v > threshold
            spikes[t * padded + j] = spike
            scratch[count + j] = v - threshold * (ONE if spike else ZERO)


@register_jitable
def list_events(spikes: Any, at: int, first: int, last: int, events: Any, at_event: int) -> int:
    """List which neurons from `first` to before `last` fire; returns how many do."""
    fired, j = 0, first
    while last - j >= 8:
        fired += list_eight(  # type: ignore[call-arg]
            spikes, at + j, 255, np.uint32(j), events, at_event + fired
        )
        j += 8
    if j < last:
        fired += list_eight(  # type: ignore[call-arg]
            spikes, at + j, (1 << (last - j)) - 1, np.uint32(j), events, at_event + fired
        )
    return fired


@register_jitable
def find_events(spikes: Any, at: int, count: int, events: Any, at_event: int, stride: int) -> int:
    """List which of `count` neurons fire, in two lists `stride` apart; returns how many do.

    The entry before the first list is the length of both: the shorter one is filled up with the
    number of a padding neuron, whose weights are zeros.
    """
    middle = count if count <= TOGETHER else (count + 1) // 2
    one, other = at_event + 1, at_event + 1 + stride
    lower = list_events(spikes, at, 0, middle, events, one)
    upper = list_events(spikes, at, middle, count, events, other)
    for k in range(lower, upper):
        events[one + k] = count
    for k in range(upper, lower):
        events[other + k] = count
    events[at_event] = max(lower, upper)
    return lower + upper


@register_jitable
def decode(
    spikes: Any,
    at: int,
    padded: int,
    time_steps: int,
    decoder: Any,
    actions: int,
    population: int,
    action: Any,
) -> int:
    """Fill in the action from the last layer's spikes (Eq. 12); returns how many those are."""
    bias = actions * population
    low, half, high = bias + actions, bias + 2 * actions, bias + 3 * actions
    fired = 0
    for i in range(actions):
        total = decoder[bias + i]
        for j in range(i * population, (i + 1) * population):
            count = 0
            for t in range(time_steps):
                count += spikes[at + t * padded + j]
            fired += count
            total += decoder[j] * (np.float32(count) / np.float32(time_steps))
        scaled = decoder[low + i] + (np.float32(math.tanh(total)) + ONE) * decoder[half + i]
        # Rounding may exceed a limit by one unit in the last place.
        action[i] = min(max(scaled, decoder[low + i]), decoder[high + i])
    return fired


def members_of(count: int) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Compiled functions to read `count` numbers, `stride` apart, as a tuple and to write them.

    A neuron's state and constants are tuples, whose length the compiler must know.
    """
    if count == 0:
        return (
            register_jitable(lambda numbers, at, stride: ()),
            register_jitable(lambda numbers, at, stride, new: None),
        )
    read_others, write_others = members_of(count - 1)
    last = count - 1

    @register_jitable
    def read(numbers: Any, at: int, stride: int) -> Any:
        return (*read_others(numbers, at, stride), numbers[at + last * stride])

    @register_jitable
    def write(numbers: Any, at: int, stride: int, new: Any) -> None:
        write_others(numbers, at, stride, new)
        numbers[at + last * stride] = new[last]

    return read, write


def make(neuron: Any) -> Callable[..., int]:
    """Put a neuron's equations into the pass; the result is for Numba to compile."""
    step = register_jitable(neuron.step)
    members = len(neuron.state)
    read_state, write_state = members_of(members)
    read_constants, _ = members_of(len(neuron.constants))
    threshold_at, encoder_threshold_at = (
        list(neuron.constants).index('threshold'),
        len(neuron.constants),
    )

    @register_jitable
    def layer(
        time_steps: int,
        rows: Any,
        at_row: int,
        fan_in: int,
        biases: Any,
        at_neuron: int,
        padded: int,
        constants: Any,
        spikes: Any,
        at_spike: int,
        potentials: Any,
        events: Any,
        event_stride: int,
        scratch: Any,
    ) -> None:
        """Run a layer on events, two lists of them for each of T steps."""
        threshold = constants[threshold_at]
        fired, state = WIDTH, 2 * WIDTH  # in scratch, after the currents
        for first in range(0, padded, WIDTH):
            for j in range(fired, state + members * WIDTH):
                scratch[j] = ZERO
            for t in range(time_steps):
                at_event = t * 2 * event_stride
                place, count = at_row + first * (fan_in + 1), np.int64(events[at_event])
                if fan_in <= TOGETHER:
                    add_rows_of_one(
                        rows, place, events, at_event + 1, event_stride, count,
                        biases, at_neuron + first, scratch,
                    )  # fmt: skip
                else:
                    add_rows_of_two(
                        rows, place, events, at_event + 1, event_stride, count,
                        biases, at_neuron + first, scratch,
                    )  # fmt: skip
                to = t * padded + first
                for j in range(WIDTH):
                    before = read_state(scratch, state + j, WIDTH)
                    after = step(scratch[j], scratch[fired + j], before, constants)
                    write_state(scratch, state + j, WIDTH, after)
                    spike = after[0] > threshold
                    scratch[fired + j] = ONE if spike else ZERO
                    potentials[time_steps * at_neuron + to + j] = after[0]
                    spikes[at_spike + to + j] = spike

    def act(
        sizes: Any,
        observation: Any,
        encoder: Any,
        rows: Any,
        biases: Any,
        constants: Any,
        decoder: Any,
        spikes: Any,
        potentials: Any,
        events: Any,
        scratch: Any,
        counts: Any,
        action: Any,
    ) -> int:
        """Compute the action; returns which observation is not finite, or -1 if all are."""
        time_steps, observations, population = sizes[0], sizes[1], sizes[2]
        actions, decoder_population, most, layers = sizes[3], sizes[4], sizes[5], sizes[6]
        for i in range(observations):
            if not math.isfinite(np.float32(observation[i])):
                return i
        padded = -(-sizes[7] // WIDTH) * WIDTH
        encode(
            observation, observations, population, encoder, constants[encoder_threshold_at],
            time_steps, padded, scratch, spikes,
        )  # fmt: skip
        stride = most + SPARE
        at_row = at_neuron = at_spike = 0
        for i in range(layers):
            fan_in = sizes[7 + i]
            fired = 0
            for t in range(time_steps):
                at_event = t * 2 * stride
                fired += find_events(
                    spikes, at_spike + t * padded, fan_in, events, at_event, stride
                )
            counts[i] = fired
            at_spike += time_steps * padded
            padded = -(-sizes[8 + i] // WIDTH) * WIDTH
            layer(
                time_steps, rows, at_row, fan_in, biases, at_neuron, padded,
                read_constants(constants, 0, 1), spikes, at_spike, potentials, events, stride,
                scratch,
            )  # fmt: skip
            at_row += padded * (fan_in + 1)
            at_neuron += padded
        counts[layers] = decode(
            spikes, at_spike, padded, time_steps, decoder, actions, decoder_population, action
        )
        return -1

    return act


def compile_object(neuron: Any) -> bytes:
    """Compile the pass for this processor to an object file with one function, `act`.

    `int64 act(void* memory[])` takes the arguments of the pass above by their addresses, and gives
    its result.
    """
    njit: Any = numba.njit  # its annotations leave out some of what it takes
    compiled = njit(
        SIGNATURE,
        error_model='numpy',
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        _nrt=False,
    )(make(neuron))
    (overload,) = compiled.overloads.values()
    binding = llvmlite.binding
    module = binding.parse_assembly(compiled.inspect_llvm(overload.signature.args))
    places = range(len(SIGNATURE.args))
    pointers = ', '.join(f'ptr %pointer{i}' for i in places)
    name = f'@"{overload.fndesc.llvm_func_name}"'
    loads = ''.join(
        f'%place{i} = getelementptr ptr, ptr %memory, i64 {i}\n'
        f'%pointer{i} = load ptr, ptr %place{i}\n'
        for i in places
    )
    entry = binding.parse_assembly(
        f"""
        target triple = "{module.triple}"
        target datalayout = "{module.data_layout}"
        declare i32 {name}(ptr, ptr, {', '.join('ptr' for _ in places)})
        define i64 @act(ptr %memory) {{
            %result = alloca i64
            %error = alloca ptr
            {loads}
            call i32 {name}(ptr %result, ptr %error, {pointers})
            %answer = load i64, ptr %result
            ret i64 %answer
        }}
        """
    )
    module.link_in(entry)
    target = binding.Target.from_triple(module.triple)
    machine = target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        codemodel='large',  # all that machine_code.py can load
        jit=True,
    )
    emitted: bytes = machine.emit_object(module)
    return emitted


if __name__ == '__main__':
    plugins.load(sys.argv[2:])
    sys.stdout.buffer.write(compile_object(NEURONS[sys.argv[1]]))
