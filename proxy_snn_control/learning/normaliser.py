# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Running mean and variance of every member's observations, to normalise its networks' inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from proxy_snn_control.learning.hardware import staging
from proxy_snn_control.policy.file import NORMALISATION
import torch
from torch import Tensor

# Added to the variance: what never changed must not be divided by.
EPSILON = 1e-8


class Normaliser:
    """What each member's observations were so far, by Welford's method in float64.

    Welford, "Note on a method for calculating corrected sums of squares and products",
    Technometrics 4, 1962. Of each transition the observation that was acted on is learnt. What
    follows from it, float32 mean and scale = 1 / sqrt(variance + EPSILON), lies where the learner
    is, and changes in place: a recorded update reads it there.
    """

    def __init__(
        self, sizes: Sequence[int], history: int, width: int, device: torch.device
    ) -> None:
        """Start without observations: they are not changed at first.

        Args:
            sizes: numbers of each member's observation.
            history: how many observations the networks read at once, the oldest first.
            width: numbers that the networks of the widest member read.
            device: where the learner is.
        """
        members, widest = len(sizes), max(sizes)
        # Where in what is read each number of the present observation is, and which number of an
        # observation each number is that is read; the previous action and padding are none.
        self._present = np.zeros((members, widest), np.int64)
        self._number = np.full((members, width), -1)
        for m, size in enumerate(sizes):
            self._present[m, :size] = (history - 1) * size + np.arange(size)
            self._number[m, : history * size] = np.tile(np.arange(size), history)
        self._sizes, self._is_observed = list(sizes), self._number >= 0
        self._number[~self._is_observed] = 0
        self._count = np.zeros(members)
        self._mean, self._squares = np.zeros((2, members, widest))
        self._staged = staging(2, members, 1, width, device=device)
        self._pair = torch.zeros(2, members, 1, width, device=device)
        self._publish()

    def learn(self, rows: np.ndarray) -> None:
        """Learn from transitions [members, n, numbers], as replay.py lays them out."""
        for at in range(rows.shape[1]):  # in turn: sums do not depend on who is trained beside
            seen = np.take_along_axis(rows[:, at], self._present, 1).astype(np.float64)
            self._count += 1
            away = seen - self._mean
            self._mean += away / self._count[:, None]
            self._squares += away * (seen - self._mean)
        self._publish()

    def __call__(self, observation: Tensor) -> Tensor:
        """Normalise what is read, float32 [members, batch, width], as the policy will."""
        mean, scale = self._pair
        return (observation - mean) * scale

    def arrays(self, member: int) -> dict[str, np.ndarray]:
        """Return a member's mean and scale as a policy file has them."""
        size = self._sizes[member]
        return {
            name: array[member, :size].copy()
            for name, array in zip(NORMALISATION, self._now(), strict=True)
        }

    def tensors(self, member: int) -> dict[str, Tensor]:
        """Return what `take` needs to go on from here, by name."""
        size = self._sizes[member]
        return {
            'normaliser.count': torch.tensor(self._count[member]),
            'normaliser.mean': torch.from_numpy(self._mean[member, :size].copy()),
            'normaliser.squares': torch.from_numpy(self._squares[member, :size].copy()),
        }

    def take(self, member: int, tensors: dict[str, Tensor]) -> None:
        """Take a member's out of a checkpoint's tensors.

        Raises:
            ValueError: one is missing or has another shape.
        """
        for name, own in self.tensors(member).items():
            if name not in tensors or tensors[name].shape != own.shape:
                raise ValueError(f'it lacks tensor {name} of shape {tuple(own.shape)}')
        size = self._sizes[member]
        self._count[member] = float(tensors.pop('normaliser.count'))
        self._mean[member, :size] = tensors.pop('normaliser.mean').numpy()
        self._squares[member, :size] = tensors.pop('normaliser.squares').numpy()
        self._publish()

    def _now(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and scale, float32 [members, numbers of the widest observation]."""
        count = self._count[:, None]
        variance = self._squares / np.maximum(count, 1)
        scale = np.where(count > 0, 1 / np.sqrt(variance + EPSILON), 1)
        return self._mean.astype(np.float32), scale.astype(np.float32)

    def _publish(self) -> None:
        for values, now, other in zip(self._staged.numpy(), self._now(), (0, 1), strict=True):
            found = np.take_along_axis(now, self._number, 1)
            values[:, 0] = np.where(self._is_observed, found, other)
        self._pair.copy_(self._staged, non_blocking=True)
