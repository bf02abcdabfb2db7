# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""When to warm up the processor's caches: shortly before the next observation is expected.

Between two observations other programs fill the caches. The next answer then waits for its weights
and its code to come from memory, ten times as long as it computes. If the last action was computed
once more just before (`Loop.warm_up`), the caches hold them.
"""

from __future__ import annotations

# A warm-up begins this long before the next answer, in seconds: enough for it to end (0.1 to
# 0.4 ms) though the timer is late (by 0.3 ms usually, by 1 ms at times), and little enough for the
# caches to keep what it has read.
AHEAD = 2e-3
# So soon after an answer, in seconds, the caches still hold what it has read.
FRESH = 2e-3
# How fast an expected interval grows that was too short, in intervals per answer. One that was too
# long is corrected at once: a warm-up that comes after the observation is of no use.
GROWTH = 0.05


class WarmUp:
    """Expects the next answer by the intervals between those before."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._interval = float('inf')

    def after(self, began: float, ended: float) -> float | None:
        """Find how long to wait, in seconds, until the warm-up is due.

        Args:
            began: when the last answer began, in seconds.
            ended: when it ended, which is now.

        Returns:
            None if the next answer is not expected, or so soon that a warm-up gains nothing.
        """
        before, self._began = self._began, began
        if before is None:
            return None
        interval = began - before
        self._interval = min(interval, self._interval + GROWTH * interval)
        wait = began + self._interval - AHEAD - ended
        return wait if wait > FRESH else None
