# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Observations of several steps as one vector, for policies that were trained so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class History:
    """The last frames of an observation, in the order in which the policy has them."""

    def __init__(self, layout: Sequence[tuple[int, int]]) -> None:
        """Prepare.

        Args:
            layout: for each dimension of the policy's observation the number of the frame, 0 for
                the present one and 1 for the one before, and the place in it.
        """
        self._frame = np.array([ago for ago, _ in layout])
        self._place = np.array([place for _, place in layout])
        self._frames: np.ndarray | None = None

    def forget(self) -> None:
        """Start over: the next frame is repeated in the places of those before it."""
        self._frames = None

    def add(self, values: np.ndarray) -> np.ndarray:
        """Take the present frame; the vector, float64 [observations]."""
        if self._frames is None:
            self._frames = np.tile(values, (int(self._frame.max()) + 1, 1))
        else:
            self._frames[1:] = self._frames[:-1]
            self._frames[0] = values
        return self._frames[self._frame, self._place]
