# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Neuron models: the state of a neuron from its input current, one simulation step at a time.

A neuron is one class, here or in a plugin: its constants and their ranges, the names of its state,
its equations (`step`) and the derivative of those (`pullback`). Both are plain arithmetic, so that
the same lines run on NumPy arrays on the robot, on torch tensors, and compiled, in training. So
neither may contain literal numbers, which would change the precision of the operation (V * (1 - s)
is written v - v * s), or branches.

Input current, spike and each member of a state are arrays of one shape, [..., neurons], without
units; constants are scalars, in the order of `constants`. State is a tuple whose first member is
the membrane potential V. State and spike s are 0 at the start of every inference; a neuron fires
where V > threshold. Equation numbers are those of Xu et al., "Proxy Target", NeurIPS 2025 (arXiv
2505.24161v2).
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any, ClassVar

import numpy as np

from .errors import UserError
from .plugins import NEURONS

__all__ = ['CLIF', 'DN', 'LIF', 'NEURONS', 'ReLU', 'check_neuron', 'run']

State = tuple[Any, ...]
MOST_STATES = 4  # numbers that a neuron keeps
_FRACTION = (0.0, 1.0)
_THRESHOLD = (1e-6, 1e6)


class LIF:
    """Leaky integrate-and-fire neurons with hard reset to 0 (Eq. 4 and 5).

    With input current I and the spike s of the step before::

        V = voltage_decay * V * (1 - s) + I
    """

    constants: ClassVar[dict[str, float]] = {'voltage_decay': 0.75, 'threshold': 0.5}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'voltage_decay': _FRACTION,
        'threshold': _THRESHOLD,
    }
    state: ClassVar[tuple[str, ...]] = ('membrane potential',)

    @staticmethod
    def step(current: Any, spike: Any, state: State, constants: State) -> State:
        """State after one simulation step."""
        (v,), (voltage_decay, _) = state, constants
        return (voltage_decay * (v - v * spike) + current,)

    @staticmethod
    def pullback(spike: Any, state: State, constants: State, gradient: State) -> State:
        """Gradients of (current, spike, state before) from that of the state after the step."""
        (v,), (voltage_decay, _), (dv,) = state, constants, gradient
        return dv, -(voltage_decay * v * dv), (voltage_decay * (dv - dv * spike),)


class CLIF:
    """Leaky integrate-and-fire neurons behind a leaky synaptic current C (Eq. 17).

    With input current I and the spike s of the step before::

        C = current_decay * C + I
        V = voltage_decay * V * (1 - s) + C
    """

    constants: ClassVar[dict[str, float]] = {
        'current_decay': 0.5,
        'voltage_decay': 0.75,
        'threshold': 0.5,
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'current_decay': _FRACTION,
        'voltage_decay': _FRACTION,
        'threshold': _THRESHOLD,
    }
    state: ClassVar[tuple[str, ...]] = ('membrane potential', 'synaptic current')

    @staticmethod
    def step(current: Any, spike: Any, state: State, constants: State) -> State:
        """State after one simulation step."""
        (v, c), (current_decay, voltage_decay, _) = state, constants
        c = current_decay * c + current
        return voltage_decay * (v - v * spike) + c, c

    @staticmethod
    def pullback(spike: Any, state: State, constants: State, gradient: State) -> State:
        """Gradients of (current, spike, state before) from that of the state after the step."""
        (v, _), (current_decay, voltage_decay, _), (dv, dc) = state, constants, gradient
        dc = dc + dv
        dv_before = voltage_decay * (dv - dv * spike)
        return dc, -(voltage_decay * v * dv), (dv_before, current_decay * dc)


class DN:
    """Dynamic neurons: second-order membrane dynamics with a recovery U (Eq. 18 to 20).

    With input current I and the spike s of the step before::

        C = current_decay * C + I
        V = V * (1 - s) + reset_potential * s;  U = U + recovery_jump * s
        dV = V^2 - V - U + C;  dU = -recovery_coupling * V + recovery_rate * U
        V = V + dV;  U = U + dU

    The sign of the recovery rate is that of the program that produced the paper's tables. Eq. 19
    and 20 as printed, MDC-SAN's paper and ILC-SAN's program have a minus there: a `recovery_rate`
    of -0.529.
    """

    constants: ClassVar[dict[str, float]] = {
        'current_decay': 0.5,
        'reset_potential': 0.021,
        'recovery_jump': 0.132,
        'recovery_coupling': 0.172,
        'recovery_rate': 0.529,
        'threshold': 0.5,
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'current_decay': _FRACTION,
        'reset_potential': (-1.0, 1.0),
        'recovery_jump': (-1.0, 1.0),
        'recovery_coupling': (-1.0, 1.0),
        'recovery_rate': (-1.0, 1.0),
        'threshold': _THRESHOLD,
    }
    state: ClassVar[tuple[str, ...]] = ('membrane potential', 'recovery', 'synaptic current')

    @staticmethod
    def step(current: Any, spike: Any, state: State, constants: State) -> State:
        """State after one simulation step."""
        v, u, c = state
        current_decay, reset_potential, recovery_jump, coupling, rate, _ = constants
        c = current_decay * c + current
        v = v - v * spike + reset_potential * spike
        u = u + recovery_jump * spike
        return v * v - u + c, u - coupling * v + rate * u, c

    @staticmethod
    def pullback(spike: Any, state: State, constants: State, gradient: State) -> State:
        """Gradients of (current, spike, state before) from that of the state after the step."""
        (v, _, _), (dv_after, du_after, dc) = state, gradient
        current_decay, reset_potential, recovery_jump, coupling, rate, _ = constants
        dc = dc + dv_after
        v_reset = v - v * spike + reset_potential * spike
        dv = (v_reset + v_reset) * dv_after - coupling * du_after
        du = du_after + rate * du_after - dv_after
        dspike = (reset_potential - v) * dv + recovery_jump * du
        return dc, dspike, (dv - dv * spike, du, current_decay * dc)


class ReLU:
    """No spikes: rectified linear units, the ordinary network to compare with.

    Such a policy has no populations and no time: its layers read the observation as it is, and
    tanh of the last one is the action.
    """

    constants: ClassVar[dict[str, float]] = {}
    ranges: ClassVar[dict[str, tuple[float, float]]] = {}
    state: ClassVar[tuple[str, ...]] = ()


def check_neuron(name: str, neuron: Any) -> None:
    """Check a neuron that is to be registered: what it has, and its derivative.

    `pullback` is held to central differences of `step` in float64, at random states and constants.

    Raises:
        UserError: something is missing or has the wrong form, or the derivative is not that of the
            equations.
    """
    where = f'neuron {name!r}'
    for part in ('constants', 'ranges', 'state', 'step', 'pullback'):
        if not hasattr(neuron, part):
            raise UserError(f'{where} has no {part}, expected those of policy/neurons.py')
    if not isinstance(neuron.state, tuple) or not 1 <= len(neuron.state) <= MOST_STATES:
        raise UserError(
            f'{where} has state {neuron.state!r}, expected a tuple of 1 to {MOST_STATES} names'
        )
    for part in ('step', 'pullback'):
        for number in _numbers_in(getattr(neuron, part)):
            raise UserError(
                f'{where}: {part} contains the literal number {number}, which changes the '
                'precision of the operation: expected it among the constants'
            )
    if 'threshold' not in neuron.constants or neuron.ranges.keys() != neuron.constants.keys():
        raise UserError(
            f'{where}: expected a range for every constant, and the constant threshold'
        )
    for constant, value in neuron.constants.items():
        low, high = neuron.ranges[constant]
        if not low <= value <= high:
            raise UserError(f'{where}: constant {constant} is {value}, expected {low} to {high}')
    rng, size = np.random.default_rng(0), 64
    names = ['current', 'spike', *neuron.state]
    for _ in range(4):
        constants = tuple(
            np.float64(rng.uniform(max(low, -2.0), min(high, 2.0)))
            for low, high in (neuron.ranges[constant] for constant in neuron.constants)
        )
        inputs = [rng.normal(size=size) for _ in names]
        gradient = tuple(rng.normal(size=size) for _ in neuron.state)

        def scalar(
            at: list[np.ndarray],
            constants: State = constants,
            gradient: State = gradient,
        ) -> np.ndarray:
            after = neuron.step(at[0], at[1], tuple(at[2:]), constants)
            if len(after) != len(gradient):
                raise UserError(f'{where}: step gives {len(after)} of {len(gradient)} states')
            return np.sum([g * a for g, a in zip(gradient, after, strict=True)], axis=0)

        try:
            current, spike, before = neuron.pullback(
                inputs[1], tuple(inputs[2:]), constants, gradient
            )
            found = [current, spike, *before]
            for i, (part, mine) in enumerate(zip(names, found, strict=True)):
                ends = []
                for step in (1e-6, -1e-6):
                    moved = list(inputs)
                    moved[i] = moved[i] + step
                    ends.append(scalar(moved))
                slope = (ends[0] - ends[1]) / 2e-6
                if not np.allclose(mine, slope, rtol=1e-5, atol=1e-6):
                    worst = int(np.argmax(np.abs(mine - slope)))
                    raise UserError(
                        f'{where}: pullback gives {np.broadcast_to(mine, size)[worst]:.4g} for '
                        f'the gradient of the {part}, expected {slope[worst]:.4g}, the derivative '
                        'of step'
                    )
        except (TypeError, ValueError) as error:
            raise UserError(f'{where}: step or pullback fails: {error}') from None


def _numbers_in(function: Any) -> list[Any]:
    """Return the literal numbers in a function's source, except those that index."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError):  # it has no source, or it is one of many on a line
        return []
    indices = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        for inner in ast.walk(node.slice)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and id(node) not in indices
    ]


def run(
    neuron: Any,
    constants: State,
    current: np.ndarray,
    spikes: np.ndarray,
    potentials: Any,
) -> None:
    """Run all T simulation steps of a layer.

    No layer feeds back into an earlier one, so a whole layer may run its T steps before the next
    layer starts: the spikes are the same as stepping all layers together.

    Args:
        neuron: a class of `NEURONS` that spikes.
        constants: its constants, in the order of `neuron.constants`.
        current: float32 [T, neurons].
        spikes: float32 [T, neurons], to be filled with zeros and ones.
        potentials: float32 [T, neurons], or a list of T such arrays, to be filled with membrane
            potentials before the reset.
    """
    threshold = constants[list(neuron.constants).index('threshold')]
    spike = np.zeros_like(current[0])
    state = (spike,) * len(neuron.state)
    for t, now in enumerate(current):
        state = neuron.step(now, spike, state, constants)
        potentials[t] = state[0]
        # A comparison with a float32 output array is far slower.
        spikes[t] = spike = (state[0] > threshold).astype(np.float32)
