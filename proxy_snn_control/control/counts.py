# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Counts and durations of a node at work."""

from __future__ import annotations

import numpy as np

LATENCY_SAMPLES = 20_000


class Latencies:
    """Durations in seconds, of which the last ones are kept for the percentiles."""

    def __init__(self) -> None:
        self._samples = np.zeros(LATENCY_SAMPLES)
        self.count = 0

    def add(self, seconds: float) -> None:
        """Note a duration."""
        self._samples[self.count % LATENCY_SAMPLES] = seconds
        self.count += 1

    def milliseconds(self) -> dict[str, str]:
        """Median and 99th percentile as diagnostics show them; nothing before the first."""
        kept = self._samples[: self.count]
        if not len(kept):
            return {}
        median, high = np.percentile(kept, (50, 99)) * 1e3
        return {'latency_median_ms': f'{median:.3f}', 'latency_99_ms': f'{high:.3f}'}


class Statistics:
    """What a loop has done since it became active.

    Attributes:
        latencies: from the receipt of an observation's newest part to its command.
        spikes, operations: of all commands, spikes and synaptic operations.
        safe_commands: how often the safe command went out.
        missed: how many commands came later than they should.
        lost: how many commands the middleware did not take.
        out: whether the last command, or the safe one in its place, went out.
        fault: what was wrong with the last command, or "".
        last_fault: the last that there was.
    """

    def __init__(self) -> None:
        self.latencies = Latencies()
        self.spikes = self.operations = self.safe_commands = self.missed = self.lost = 0
        self.out = False
        self.fault = self.last_fault = ''
