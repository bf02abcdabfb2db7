"""Evaluation: whole episodes with the policy as it will be deployed, without noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import gymnasium
import numpy as np

from proxy_snn_control.learning.tasks import clip_action, episode_seed
from proxy_snn_control.policy.runtime import Policy


@dataclass
class Evaluation:
    """Returns and lengths (in actions) of the episodes, and spikes and operations over them all."""

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    spikes: int = 0
    synaptic_operations: int = 0

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
    result = Evaluation()
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
            result.spikes += policy.spike_count
            result.synaptic_operations += policy.synaptic_operations
        result.returns.append(total)
        result.lengths.append(length)
    return result
