"""Spiking neurons in torch. A new one is one class here, and its twin in policy/neurons.py.

Equation numbers are those of Xu et al., "Proxy Target", NeurIPS 2025 (arXiv 2505.24161v2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from proxy_snn_control.policy.neurons import NEURONS as RUNTIME_NEURONS


class LIFSteps(torch.autograd.Function):
    """T time steps of LIF neurons with their surrogate gradient.

    Forward (Eq. 4 and 5), with k = 1 - s the reset factor::

        V[t] = decay * V[t-1] * k[t-1] + I[t]
        s[t] = 1 where V[t] > threshold else 0

    Backward, with the rectangular surrogate (Eq. 14) h = ds/dV = 1 / (2 w) where
    |V - threshold| <= w else 0, and g = dL/ds::

        dL/dV[t] = g[t] * h[t] + dL/dV[t+1] * decay * (k[t] - V[t] * h[t])
        dL/dI[t] = dL/dV[t]

    The term V * h comes through the reset factor, which is not detached.
    """

    @staticmethod
    def forward(
        ctx: Any, current: Tensor, decay: float, threshold: float, window: float
    ) -> tuple[Tensor, Tensor]:
        """Turn input current [T, batch, neurons] into spikes and membrane potentials."""
        potentials, keep = current.clone(), torch.empty_like(current)
        # Comparisons write zeros and ones straight into float arrays: on a CPU, several times
        # quicker than through booleans.
        v, k = potentials.unbind(), keep.unbind()
        torch.le(v[0], threshold, out=k[0])
        for t in range(1, len(v)):
            v[t].addcmul_(v[t - 1], k[t - 1], value=decay)
            torch.le(v[t], threshold, out=k[t])
        ctx.save_for_backward(potentials, keep)
        ctx.constants = decay, threshold, window
        ctx.mark_non_differentiable(potentials)
        return 1 - keep, potentials

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Run the time steps backwards."""
        potentials, keep = ctx.saved_tensors
        decay, threshold, window = ctx.constants
        surrogate = (potentials - threshold).abs_().le_(window).mul_(1 / (2 * window))
        carry = keep.addcmul(potentials, surrogate, value=-1).mul_(decay)
        gradient = surrogate.mul_(gradients[0])
        dv, c = gradient.unbind(), carry.unbind()
        for t in range(len(dv) - 2, -1, -1):
            dv[t].addcmul_(dv[t + 1], c[t])
        return gradient, None, None, None


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons with hard reset to 0 (Eq. 4 and 5).

    One time step, input current I and spike of the step before s'::

        V = voltage_decay * V * (1 - s') + I
        s = 1 where V > threshold else 0

    V and s' start at 0.
    """

    def __init__(
        self, voltage_decay: float, threshold: float, surrogate_window: float = 0.5
    ) -> None:
        super().__init__()
        self.constants = voltage_decay, threshold, surrogate_window

    def forward(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Run T time steps.

        Args:
            current: [T, batch, neurons].

        Returns:
            spikes and membrane potentials (before the reset), both [T, batch, neurons]. Gradients
            flow through the spikes alone.
        """
        return LIFSteps.apply(current, *self.constants)


NEURONS: dict[str, type[nn.Module]] = {"lif": LIF}
assert NEURONS.keys() == RUNTIME_NEURONS.keys(), "a neuron that can be trained must be runnable"
