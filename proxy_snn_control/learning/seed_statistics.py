# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Means and intervals over few seeds, as papers on reinforcement learning report them.

Interquartile mean, stratified bootstrap and probability of improvement follow Agarwal et al.,
"Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021; the test
holds them to the numbers of the authors' package, rliable 1.2.0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import math

import numpy as np

REPETITIONS = 10_000  # of the bootstrap
_BOUNDS = (2.5, 97.5)  # percent, of a 95% interval

Interval = tuple[float, float]
Scores = Sequence[np.ndarray]  # one array of [seeds] for each task


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean over the last axis of [..., seeds] without lowest and highest quarter, rounded down."""
    begin = scores.shape[-1] // 4
    end = scores.shape[-1] - begin
    return np.sort(scores, axis=-1)[..., begin:end].mean(axis=-1)


def improvement(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How often one of ours is the greater of a pair, an equal one counting as half.

    Args:
        ours: [..., seeds], of one task.
        theirs: [..., other seeds], of the same task.
    """
    ours, theirs = ours[..., :, None], theirs[..., None, :]
    return ((ours > theirs) + 0.5 * (ours == theirs)).mean(axis=(-2, -1))


def iqm_over_tasks(scores: Scores) -> tuple[float, Interval | None]:
    """Interquartile mean over all seeds of all tasks, and its 95% interval.

    Args:
        scores: one array of [seeds] a task, normalised so that tasks can be pooled.

    Returns:
        The mean, and the interval; None where no task has a second seed.
    """
    value = float(interquartile_mean(np.concatenate(list(scores))))
    return value, _bootstrap(
        scores, lambda drawn: interquartile_mean(np.concatenate(drawn, axis=-1))
    )


def improvement_over_tasks(ours: Scores, theirs: Scores) -> tuple[float, Interval | None]:
    """Probability that a run of ours beats one of theirs on the same task, mean over tasks.

    Args:
        ours: one array of [seeds] a task.
        theirs: the same tasks, in the same order.

    Returns:
        The probability, and its 95% interval; None where no task has a second seed.
    """
    tasks = len(ours)

    def probability(drawn: Scores) -> np.ndarray:
        pairs = zip(drawn[:tasks], drawn[tasks:], strict=True)
        return np.mean([improvement(*pair) for pair in pairs], axis=0)

    return float(probability([*ours, *theirs])), _bootstrap([*ours, *theirs], probability)


def _bootstrap(
    scores: Scores, statistic: Callable[[list[np.ndarray]], np.ndarray]
) -> Interval | None:
    """Return the 95% percentile interval of bootstrap samples of each task's seeds."""
    if all(len(task) < 2 for task in scores):
        return None
    rng = np.random.default_rng(0)  # the same runs make the same report
    drawn = [task[rng.integers(len(task), size=(REPETITIONS, len(task)))] for task in scores]
    low, high = np.percentile(statistic(drawn), _BOUNDS)
    return float(low), float(high)


def student_t(degrees: int) -> float:
    """Return what a variable of Student's t exceeds in either direction in 5% of cases."""
    t = np.linspace(0, 13, 130_001)
    logarithm = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    density = math.exp(logarithm) / math.sqrt(degrees * math.pi)
    heights = density * (1 + t**2 / degrees) ** (-(degrees + 1) / 2)
    area = np.concatenate([[0], np.cumsum((heights[1:] + heights[:-1]) / 2)]) * t[1]
    return float(np.interp(0.475, area, t))
