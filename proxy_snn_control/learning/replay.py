# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Replay buffers of all members: their last transitions, where the learner is (host or GPU)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from proxy_snn_control.learning import draws
import torch
from torch import Tensor


class Batch(NamedTuple):
    """Transitions of every member: [members, batch, observations], then actions, 1, .., 1."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminal: Tensor


class Replay:
    """The last `capacity` transitions of each member, drawn uniformly with replacement.

    A transition is one row: observation, action, reward, next observation and 1 where the episode
    ended there (a time limit does not count). A member's observation and action may be narrower
    than the widest; the rest of their columns is zero.

    Attributes:
        rows: float32 [members, capacity, numbers].
        count: transitions that each member was ever given.
    """

    def __init__(
        self,
        capacity: int,
        sizes: Sequence[tuple[int, int]],
        seeds: Sequence[int],
        device: torch.device,
    ) -> None:
        """Make empty buffers.

        Args:
            capacity: transitions of each member.
            sizes: numbers of each member's observation and action.
            seeds: of each member's draws.
            device: where the transitions lie.
        """
        self._sizes = list(sizes)
        observation, action = (max(each) for each in zip(*sizes, strict=True))
        self.widths = (observation, action, 1, observation, 1)
        # zeros, not empty: the system hands out zeroed pages only as they are written.
        self.rows = torch.zeros(len(sizes), capacity, sum(self.widths), device=device)
        self.capacity, self.count = capacity, 0
        self._held = torch.zeros((), dtype=torch.int64, device=device)
        self._seeds, self._streams = list(seeds), dict[int, draws.Stream]()
        self._first = torch.arange(len(sizes), device=device)[:, None] * capacity

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(self, rows: Tensor) -> None:
        """Add transitions [members, n, numbers], over the oldest when full."""
        n = rows.shape[1]
        at = self.count % self.capacity
        now = min(n, self.capacity - at)
        end = at + now
        self.rows[:, at:end].copy_(rows[:, :now], non_blocking=True)
        self.count += now
        self._held.fill_(len(self))
        if now < n:
            self.add(rows[:, now:])

    def sample(self, counter: Tensor, size: int) -> Batch:
        """Draw [members, size] transitions; `counter`, an int64 scalar, must not repeat."""
        if size not in self._streams:
            place = torch.arange(size, device=self.rows.device)[None]
            stream = draws.Stream(self._seeds, draws.REPLAY, place, draws.as_they_are)
            self._streams[size] = stream
        drawn = draws.below(self._held, self._streams[size].at(counter))
        found = self.rows.flatten(0, 1).index_select(0, (drawn + self._first).flatten())
        return Batch(*found.unflatten(0, (-1, size)).split(self.widths, dim=-1))

    def spread(self, size: int) -> Batch:
        """Give `size` transitions of each member, spread evenly over those held."""
        at = torch.linspace(0, len(self) - 1, size).long().to(self.rows.device)
        return Batch(*self.rows[:, at].split(self.widths, dim=-1))

    def every(self, member: int, stride: int) -> dict[str, np.ndarray]:
        """Every so many-th of a member's transitions, [n, numbers] by the names of `Batch`."""
        held = len(self)
        return self._named(member, self.rows[member, :held:stride])

    def extremes(self, member: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest of a member's observations, each [observations]."""
        seen = self.rows[member, : len(self), : self._sizes[member][0]]
        low, high = torch.aminmax(seen, dim=0)
        return low.cpu().numpy(), high.cpu().numpy()

    def read(self, member: int, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return a member's transitions `start` to `stop` - 1, still held, as `every` does."""
        at = torch.arange(start, stop, device=self.rows.device) % self.capacity
        return self._named(member, self.rows[member, at])

    def write(self, member: int, start: int, transitions: dict[str, np.ndarray]) -> None:
        """Put transitions that `read` gave back where they were, as number `start` and on."""
        n = len(transitions['reward'])
        at = torch.arange(start, start + n, device=self.rows.device) % self.capacity
        rows = self.rows.new_zeros(n, sum(self.widths))
        for name, part in zip(Batch._fields, rows.split(self.widths, dim=1), strict=True):
            values = torch.from_numpy(transitions[name]).to(rows.device)
            part[:, : values.shape[1]] = values
        self.rows[member, at] = rows

    def restore(self, count: int) -> None:
        """Set how many transitions each member was given."""
        self.count = count
        self._held.fill_(len(self))

    def shapes(self, member: int, count: int) -> dict[str, tuple[int, int]]:
        """Return the shapes of `count` transitions of a member, by name."""
        observation, action = self._sizes[member]
        widths = (observation, action, 1, observation, 1)
        return {name: (count, w) for name, w in zip(Batch._fields, widths, strict=True)}

    def _named(self, member: int, rows: Tensor) -> dict[str, np.ndarray]:
        parts = rows.cpu().split(self.widths, dim=-1)
        shapes = self.shapes(member, len(rows))
        return {
            name: part[:, : shapes[name][1]].contiguous().numpy()
            for name, part in zip(Batch._fields, parts, strict=True)
        }
