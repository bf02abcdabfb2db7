# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: whole episodes with the policy as it will be deployed, without noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np
from proxy_snn_control.learning.tasks import clip_action, episode_seed, task_id
from proxy_snn_control.policy.errors import TaskError
from proxy_snn_control.policy.runtime import Policy

# Actions. An episode that is longer is taken for one without an end: half an hour at 50 Hz.
LONGEST = 100_000


@dataclass
class Evaluation:
    """Returns and lengths (in actions) of the episodes, and spikes per layer over them all."""

    returns: list[float]
    lengths: list[int]
    spike_counts: np.ndarray

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Return the standard deviation of the returns over the episodes, a whole population."""
        return float(np.std(self.returns))


def evaluate(
    policy: Policy,
    environment: gymnasium.Env,
    episodes: int,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda episode, length: None,
) -> Evaluation | None:
    """Run episodes; episode i starts from `episode_seed(seed, i)`, so two calls agree exactly.

    Args:
        policy: what acts.
        environment: the task.
        episodes: how many.
        seed: of the first.
        should_stop: called before every action.
        progress: called after every action with the episode's number, from 0, and its length.

    Returns:
        The evaluation, or None if `should_stop` was true before the last episode ended.

    Raises:
        ObservationError: the task's observation does not fit the policy.
        TaskError: an episode does not end within `LONGEST` actions.
    """
    result = Evaluation([], [], np.zeros(len(policy.spec.layer_sizes), np.int64))
    for episode in range(episodes):
        observation, _ = environment.reset(seed=episode_seed(seed, episode))
        policy.reset()
        total, length, ended = 0.0, 0, False
        while not ended:
            if should_stop():
                return None
            action = clip_action(environment, policy.act(observation))
            observation, reward, terminated, truncated, _ = environment.step(action)
            total += float(reward)
            length += 1
            progress(episode, length)
            ended = terminated or truncated
            if not ended:
                check_length(environment, length)
            result.spike_counts += policy.spike_counts
        result.returns.append(total)
        result.lengths.append(length)
    return result


def check_length(environment: gymnasium.Env, length: int) -> None:
    """Raise a TaskError if an episode of this task is too long."""
    if length >= LONGEST:
        raise TaskError(
            f'an episode of task {task_id(environment)!r} has not ended after {length} steps, '
            'expected an end; max_episode_steps sets one where the task is registered'
        )
