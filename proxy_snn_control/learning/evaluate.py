"""Evaluation: whole episodes with the policy as it will be deployed, without noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium
import numpy as np

from proxy_snn_control.learning.tasks import clip_action, episode_seed
from proxy_snn_control.policy.runtime import Policy


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
        """Standard deviation of the returns, over the episodes as a whole population."""
        return float(np.std(self.returns))


def evaluate(
    policy: Policy,
    environment: gymnasium.Env,
    episodes: int,
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Run episodes; episode i starts from `episode_seed(seed, i)`, so two calls agree exactly.

    Returns:
        The evaluation, or None if `should_stop` said so before the last episode ended.

    Raises:
        ObservationError: the task's observation does not fit the policy.
    """
    result = Evaluation([], [], np.zeros(len(policy.spec.layer_sizes), np.int64))
    for episode in range(episodes):
        observation, _ = environment.reset(seed=episode_seed(seed, episode))
        total, length, ended = 0.0, 0, False
        while not ended:
            if should_stop():
                return None
            action = clip_action(environment, policy.act(observation))
            observation, reward, terminated, truncated, _ = environment.step(action)
            total += float(reward)
            length += 1
            ended = terminated or truncated
            result.spike_counts += policy.spike_counts
        result.returns.append(total)
        result.lengths.append(length)
    return result
