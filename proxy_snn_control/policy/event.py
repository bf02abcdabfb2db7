"""The event-driven pass: from observation to action with work in proportion to spikes.

This is what acts on the robot. `python -m proxy_snn_control.policy.event lif` compiles it, with a
neuron's equations in it, to an object file; native.py keeps that and loads it without the compiler.

A spike adds the row of weights of the neuron that fired to the currents of the layer after it;
nothing is done for neurons that are silent. `WIDTH` neurons of a layer run all their T simulation
steps before the next ones do: their columns of the weights then stay in the processor's first
cache, and their currents in its registers.

Memory is the caller's and no other is taken: flat arrays, which appear here as pointers with an
offset. With L layers after the encoder, n[0] encoder neurons, n[i] neurons in layer i, p[i] that
number rounded up to a multiple of `WIDTH` and `most` the largest p[i], they are:

    sizes        int64    T, observations, encoder population, actions, decoder population, most,
                          L, n[0], ..., n[L]
    observation  float64  [observations]
    encoder      float64  mu [n[0]] and 2 sigma^2 [n[0]]
    rows         float32  per layer [p[i] / WIDTH, n[i - 1] + 1, WIDTH], the last row zeros
    biases       float32  per layer [p[i]]
    constants    float32  the neuron's, in order, and then the encoder's threshold
    decoder      float32  weight [actions, decoder population], then each [actions]: bias, lower
                          limit, half the range, upper limit
    spikes       uint8    per layer from the encoder on [T, p[i]]
    potentials   float32  per layer after the encoder [T, p[i]]
    events       uint32   [T, most + SPARE]: how many neurons fire and which, ascending
    scratch      float32  [2 most + SPARE * WIDTH]
    counts       int64    [L + 1]: how many spikes each layer fired
    action       float32  [actions]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, register_jitable

from proxy_snn_control.policy.native import SPARE, WIDTH
from proxy_snn_control.policy.neurons import NEURONS

LANES = 8  # numbers in a register; a processor with smaller ones takes several for them
AT_ONCE = 2  # events; each list of them is padded to a multiple of this
ZERO, ONE = np.float32(0), np.float32(1)
WHOLE, SINGLE, DOUBLE = (
    types.CPointer(kind) for kind in (types.int64, types.float32, types.float64)
)
BYTE, INDEX = types.CPointer(types.uint8), types.CPointer(types.uint32)
SIGNATURE = types.int64(
    WHOLE, DOUBLE, DOUBLE, SINGLE, SINGLE, SINGLE, SINGLE,
    BYTE, SINGLE, INDEX, SINGLE, WHOLE, SINGLE,
)  # fmt: skip


@intrinsic
def add_rows(
    typing_context: Any, rows: Any, at_row: Any, events: Any, at: Any, count: Any, current: Any
) -> Any:
    """Add those rows [.., WIDTH] of weights that `events` names to current [WIDTH].

    In LLVM's words: the compiler would keep the sums in memory, where here they are in registers.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        rows, at_row, events, at, count, current = arguments
        vector, index = ir.VectorType(ir.FloatType(), LANES), ir.IntType(64)
        parts = range(WIDTH // LANES)
        before = builder.basic_block
        loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")

        def address(base: Any, offset: Any, part: int) -> Any:
            lane = builder.add(offset, index(LANES * part))
            return builder.bitcast(builder.gep(base, [lane]), vector.as_pointer())

        start = [builder.load(address(current, index(0), part), align=4) for part in parts]
        builder.cbranch(builder.icmp_signed(">", count, index(0)), loop, after)

        builder.position_at_end(loop)
        event, sums = builder.phi(index), [builder.phi(vector) for _ in parts]
        totals: list[Any] = sums
        for k in range(AT_ONCE):
            place = builder.add(builder.add(at, event), index(k))
            which = builder.zext(builder.load(builder.gep(events, [place])), index)
            row = builder.add(at_row, builder.mul(which, index(WIDTH)))
            weights = [builder.load(address(rows, row, part), align=4) for part in parts]
            totals = [builder.fadd(*pair) for pair in zip(totals, weights, strict=True)]
        following = builder.add(event, index(AT_ONCE))
        event.add_incoming(index(0), before)
        event.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)

        builder.position_at_end(after)
        results = [builder.phi(vector) for _ in parts]
        for part in parts:
            sums[part].add_incoming(start[part], before)
            sums[part].add_incoming(totals[part], loop)
            results[part].add_incoming(start[part], before)
            results[part].add_incoming(totals[part], loop)
        for part in parts:
            builder.store(results[part], address(current, index(0), part), align=4)
        return context.get_dummy_value()

    return types.void(SINGLE, types.int64, INDEX, types.int64, types.int64, SINGLE), generate


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
            distance = squashed - encoder[j]
            scratch[j] = np.float32(math.exp(-(distance * distance) / encoder[count + j]))
            scratch[count + j] = ZERO
    for t in range(time_steps):
        for j in range(count):
            v = scratch[count + j] + scratch[j]
            spike = v > threshold
            spikes[t * padded + j] = spike
            scratch[count + j] = v - threshold * (ONE if spike else ZERO)


@register_jitable
def find_events(spikes: Any, at: int, count: int, events: Any, at_event: int) -> int:
    """List which of `count` neurons fire; the list's first entry, and the result, is how many do.

    It is padded with the number of a neuron that is not there, whose weights are zeros.
    """
    fired = 0
    for j in range(count):
        events[at_event + 1 + fired] = j
        fired += spikes[at + j]
    for k in range(AT_ONCE):
        events[at_event + 1 + fired + k] = count
    events[at_event] = fired
    return fired


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
        # Rounding may step over a limit by one unit in the last place: a limit is a limit.
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
        list(neuron.constants).index("threshold"),
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
        """Run a layer on events, T lists of them."""
        threshold = constants[threshold_at]
        fired, state = WIDTH, 2 * WIDTH  # in scratch, after the currents
        for first in range(0, padded, WIDTH):
            for j in range(fired, state + members * WIDTH):
                scratch[j] = ZERO
            for t in range(time_steps):
                for j in range(WIDTH):
                    scratch[j] = biases[at_neuron + first + j]
                at_event = t * event_stride
                add_rows(  # type: ignore[call-arg]  # the typing context is the compiler's own
                    rows,
                    at_row + first * (fan_in + 1),
                    events,
                    at_event + 1,
                    np.int64(events[at_event]),
                    scratch,
                )
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
                fired += find_events(spikes, at_spike + t * padded, fan_in, events, t * stride)
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


def compile_object(neuron: Any) -> tuple[str, bytes]:
    """Compile the pass for this processor: the function's name in an object file, and that file.

    The function is `int32 f(int64* result, void** error, ...)`, then the arguments of `act`.
    """
    njit: Any = numba.njit  # its annotations leave out some of what it takes
    compiled = njit(
        SIGNATURE,
        error_model="numpy",
        no_cpython_wrapper=True,
        no_cfunc_wrapper=True,
        _nrt=False,
    )(make(neuron))
    (overload,) = compiled.overloads.values()
    binding = llvmlite.binding
    module = binding.parse_assembly(compiled.inspect_llvm(overload.signature.args))
    target = binding.Target.from_triple(module.triple)
    machine = target.create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )
    return overload.fndesc.llvm_func_name, machine.emit_object(module)


if __name__ == "__main__":
    name, content = compile_object(NEURONS[sys.argv[1]])
    sys.stdout.buffer.write(name.encode() + b"\n" + content)
