"""Replay buffer: the last transitions, in preallocated float32 arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Batch(NamedTuple):
    """Transitions as tensors: observations [n, obs], actions [n, act], the rest [n, 1]."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminal: Tensor


class Replay:
    """The last `capacity` transitions, sampled uniformly with replacement.

    `arrays` holds them by name and `count` says how many were ever added: together the state.
    """

    def __init__(self, capacity: int, observations: int, actions: int) -> None:
        widths = (observations, actions, 1, observations, 1)
        # zeros, not empty: the system hands out zeroed pages only as they are written.
        self.arrays = {
            name: np.zeros((capacity, width), dtype=np.float32)
            for name, width in zip(Batch._fields, widths, strict=True)
        }
        self.capacity = capacity
        self.count = 0

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: float,
        next_observation: np.ndarray,
        terminal: bool,
    ) -> None:
        """Add one transition, over the oldest when full. `terminal` is not time-limit truncation.

        Each array may be one dimension of numbers; see `Batch` for the order.
        """
        row = self.count % self.capacity
        values: tuple[Any, ...] = (observation, action, reward, next_observation, float(terminal))
        for array, value in zip(self.arrays.values(), values, strict=True):
            array[row] = value
        self.count += 1

    def sample(self, size: int, rng: np.random.Generator, device: torch.device) -> Batch:
        """Draw `size` transitions uniformly."""
        rows = rng.integers(len(self), size=size)
        return Batch(
            *(torch.from_numpy(array.take(rows, 0)).to(device) for array in self.arrays.values())
        )

    def observations(self) -> np.ndarray:
        """Every observation held, float32 [n, obs]; a view."""
        return self.arrays["observation"][: len(self)]

    def read_every(self, stride: int) -> dict[str, np.ndarray]:
        """Every so many-th of the transitions held; views."""
        return {name: array[: len(self) : stride] for name, array in self.arrays.items()}

    def read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The transitions added as number `start` to `stop` - 1; they must still be held."""
        rows = np.arange(start, stop) % self.capacity
        return {name: array[rows] for name, array in self.arrays.items()}

    def write(self, start: int, transitions: dict[str, np.ndarray]) -> None:
        """Put transitions back where they were as number `start` and on."""
        for name, array in self.arrays.items():
            rows = np.arange(start, start + len(transitions[name])) % self.capacity
            array[rows] = transitions[name]
