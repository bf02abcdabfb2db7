# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""From observations to what the network reads: normalised, with those before and the last action.

docs/policy_file.md gives the formulas. Training assembles its inputs here too
(learning/episode.py), so that a policy reads on the robot what it read then.
"""

from __future__ import annotations

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


class Input:
    """The network's input, with the earlier observations and the action that it includes.

    The last `history` observations, the oldest first, each normalised as float32
    `(observation - mean) * scale`; then, if set, the previous action as float32
    `(action - low) / half - 1` with half = (high - low) / 2, which is in [-1, 1]. After `reset`
    the first observation is repeated in all places, and the previous action is 0 in these units.

    Attributes:
        values: float32 [input_size], as of the last `observe`.
    """

    def __init__(
        self,
        observation_size: int,
        history: int = 1,
        limits: Pair | None = None,
        normalisation: Pair | None = None,
    ) -> None:
        """Start without observations.

        Args:
            observation_size: numbers of one observation.
            history: how many observations the input holds.
            limits: float32 [actions] each, of the action; None for an input without it.
            normalisation: mean and scale, float32 [observation_size] each; None for observations
                as they are.
        """
        frames = history * observation_size
        self.values = np.zeros(frames + (len(limits[0]) if limits else 0), np.float32)
        self._frames = self.values[:frames].reshape(history, observation_size)
        self._previous = self.values[frames:]
        self._limits, self._normalisation = limits, normalisation
        self._new = np.zeros(observation_size, np.float32)
        self._empty = True

    def reset(self) -> None:
        """Discard earlier observations and the previous action."""
        self._empty = True
        self._previous[:] = 0

    def observe(self, observation: np.ndarray) -> int:
        """Add an observation [observation_size], in the units of the task.

        Returns:
            Which number of it is not finite once it is normalised, or -1 if all are. With one that
            is not, nothing has changed.
        """
        new = self._new
        with np.errstate(over='ignore', invalid='ignore'):
            new[:] = observation
            if self._normalisation:
                mean, scale = self._normalisation
                new -= mean
                new *= scale
        finite = np.isfinite(new)
        if not finite.all():
            return int(np.argmin(finite))
        if self._empty:
            self._frames[:] = new
            self._empty = False
        else:
            self._frames[:-1] = self._frames[1:]
            self._frames[-1] = new
        return -1

    def acted(self, action: np.ndarray) -> None:
        """Store the action that was taken, float32 [actions], within the limits."""
        if self._limits:
            low, high = self._limits
            self._previous[:] = (action - low) / ((high - low) / 2) - 1
