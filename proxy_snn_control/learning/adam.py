"""Adam for a population: a row of weights each, and a learning rate of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from proxy_snn_control.spiking.weights import Weights


class Adam:
    """Adam with its defaults (Kingma and Ba, ICLR 2015), by torch's fused implementation.

    Rows of equal learning rate are one launch on a GPU.

    Attributes:
        rows: the parameters, the rows of `weights.flat`.
        optimiser: torch's, which keeps the moments of each.
    """

    def __init__(self, weights: Weights, rates: Sequence[float]) -> None:
        """Optimise weights in place, those of network i at learning rate `rates[i]`."""
        self._weights = weights
        self.rows = [torch.nn.Parameter(row) for row in weights.flat.detach()]
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for row, rate in zip(self.rows, rates, strict=True):
            groups.setdefault(rate, []).append(row)
        self.optimiser = torch.optim.Adam(
            [{"params": rows, "lr": rate} for rate, rows in groups.items()],
            fused=True,
            capturable=weights.flat.is_cuda,
        )

    def step(self, gradient: Tensor) -> None:
        """Take a step down the gradient [rows, numbers]."""
        for row, its in zip(self.rows, gradient, strict=True):
            row.grad = its
        self.optimiser.step()
        self._weights.version += 1

    def moments(self, row: int) -> dict[str, Tensor]:
        """A row's `step`, `exp_avg` and `exp_avg_sq`; empty before its first step."""
        return dict(self.optimiser.state[self.rows[row]])

    def restore(self, row: int, moments: dict[str, Tensor]) -> None:
        """Put moments back that `moments` gave."""
        self.optimiser.state[self.rows[row]] = moments
