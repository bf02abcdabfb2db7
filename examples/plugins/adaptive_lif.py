# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A plugin: a neuron of your own, for `--plugin adaptive_lif --neuron alif`.

With this folder in PYTHONPATH, or the module installed. The rules are those of the package's own
neurons (policy/neurons.py): plain arithmetic, no literal numbers, no branches; at most four
numbers of state. Registration compares `pullback` with central differences of `step`.
"""

from typing import ClassVar

from proxy_snn_control.policy.plugins import NEURONS


@NEURONS.register('alif')
class AdaptiveLIF:
    """LIF with an adaptation A that grows with every spike and is taken off the current.

    With input current I and the spike s of the step before::

        A = adaptation_decay * A + adaptation_jump * s
        V = voltage_decay * V * (1 - s) + I - A
    """

    constants: ClassVar[dict[str, float]] = {
        'voltage_decay': 0.75,
        'adaptation_decay': 0.9,
        'adaptation_jump': 0.1,
        'threshold': 0.5,
    }
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        'voltage_decay': (0.0, 1.0),
        'adaptation_decay': (0.0, 1.0),
        'adaptation_jump': (0.0, 1.0),
        'threshold': (1e-6, 1e6),
    }
    state: ClassVar[tuple[str, ...]] = ('membrane potential', 'adaptation')

    @staticmethod
    def step(current, spike, state, constants):
        """State after one simulation step."""
        (v, a), (voltage_decay, adaptation_decay, adaptation_jump, _) = state, constants
        a = adaptation_decay * a + adaptation_jump * spike
        return voltage_decay * (v - v * spike) + current - a, a

    @staticmethod
    def pullback(spike, state, constants, gradient):
        """Gradients of (current, spike, state before) from that of the state after the step."""
        (v, _), (dv, da) = state, gradient
        voltage_decay, adaptation_decay, adaptation_jump, _ = constants
        da = da - dv
        dspike = adaptation_jump * da - voltage_decay * v * dv
        return dv, dspike, (voltage_decay * (dv - dv * spike), adaptation_decay * da)
