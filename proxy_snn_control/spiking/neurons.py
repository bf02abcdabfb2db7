"""Spiking neurons in torch, step by step: the equations as they stand, on any device and precision.

Equation numbers are those of Xu et al., "Proxy Target", NeurIPS 2025 (arXiv 2505.24161v2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Spike(torch.autograd.Function):
    """1 where the membrane potential is above the threshold, else 0, with a surrogate gradient.

    The gradient is the rectangle of Eq. 14: 1 / (2 w) where |V - threshold| <= w, else 0.
    """

    @staticmethod
    def forward(ctx: Any, potential: Tensor, threshold: float, window: float) -> Tensor:
        """Fire or not."""
        ctx.save_for_backward(potential)
        ctx.threshold, ctx.window = threshold, window
        return torch.gt(potential, threshold).to(potential.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Pass the gradient inside the window."""
        (potential,) = ctx.saved_tensors
        inside = (potential - ctx.threshold).abs() <= ctx.window
        return gradients[0] * inside * (1 / (2 * ctx.window)), None, None


def run(
    neuron: Any, constants: tuple[float, ...], window: float, current: Tensor
) -> tuple[Tensor, Tensor]:
    """Run all T simulation steps of a layer of neurons (a class of policy/neurons.py).

    The reset, which is part of the equations, is part of the gradient too.

    Args:
        neuron: the neuron's class.
        constants: its constants, in the order of `neuron.constants`.
        window: w, half the width of the surrogate gradient.
        current: [T, batch, neurons].

    Returns:
        spikes and membrane potentials (before the reset), both [T, batch, neurons].
    """
    threshold = constants[list(neuron.constants).index("threshold")]
    spike = torch.zeros_like(current[0])
    state = (spike,) * len(neuron.state)
    spikes, potentials = [], []
    for now in current.unbind():
        state = neuron.step(now, spike, state, constants)
        spike = Spike.apply(state[0], threshold, window)
        spikes.append(spike)
        potentials.append(state[0])
    return torch.stack(spikes), torch.stack(potentials)
