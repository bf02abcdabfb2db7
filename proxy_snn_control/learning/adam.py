# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Adam for a population: a row of weights each, and a learning rate of its own."""

from __future__ import annotations

from collections.abc import Sequence

from proxy_snn_control.spiking.weights import empty_aligned, Weights
import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam with its defaults (Kingma and Ba, ICLR 2015), by torch's fused function.

    Rows of equal learning rate are one launch on a GPU. `torch.optim.Adam` calls the same
    function, after bookkeeping that takes three times as long as the arithmetic of such networks.
    """

    def __init__(self, weights: Weights, rates: Sequence[float]) -> None:
        """Optimise weights in place, those of network i at learning rate `rates[i]`."""
        self._weights = weights
        flat = weights.flat.detach()
        self._steps = torch.zeros(len(flat), device=flat.device)
        self._first, self._second = (empty_aligned(flat).zero_() for _ in range(2))
        # Of each learning rate: its rows, and of each row what is changed in place.
        self._groups: list[tuple[float, list[int], list[list[Tensor]]]] = []
        for rate in dict.fromkeys(rates):
            rows = [row for row, its in enumerate(rates) if its == rate]
            tensors = (flat, self._first, self._second, self._steps)
            self._groups.append((rate, rows, [[each[row] for row in rows] for each in tensors]))

    def step(self, gradient: Tensor) -> None:
        """Take a step down the gradient [rows, numbers]."""
        by_row = gradient.unbind()
        with torch.no_grad():
            for rate, rows, (numbers, first, second, steps) in self._groups:
                adam(
                    numbers,
                    [by_row[row] for row in rows],
                    first,
                    second,
                    [],
                    steps,
                    fused=True,
                    amsgrad=False,
                    beta1=0.9,
                    beta2=0.999,
                    lr=rate,
                    weight_decay=0.0,
                    eps=1e-8,
                    maximize=False,
                )
        self._weights.version += 1

    def moments(self, row: int) -> dict[str, Tensor]:
        """Return a row's `step`, and `exp_avg` and `exp_avg_sq` [numbers]; empty before a step."""
        if not self._steps[row]:
            return {}
        return {
            'step': self._steps[row],
            'exp_avg': self._first[row],
            'exp_avg_sq': self._second[row],
        }

    def restore(self, row: int, moments: dict[str, Tensor]) -> None:
        """Put moments back that `moments` gave."""
        self._steps[row] = moments['step']
        self._first[row] = moments['exp_avg']
        self._second[row] = moments['exp_avg_sq']
