# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A task that is stepped for experience, whose place in its episode can be saved and restored."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from proxy_snn_control.policy.errors import TaskError
from proxy_snn_control.policy.input import Input
from proxy_snn_control.policy.runtime import limits_within


class Remembering(gymnasium.Wrapper):
    """A task whose observations are what a policy's network reads, but not normalised."""

    def __init__(self, environment: gymnasium.Env, history: int, previous_action: bool) -> None:
        super().__init__(environment)
        actions: Any = environment.action_space
        limits = limits_within(tuple(map(float, actions.low)), tuple(map(float, actions.high)))
        size = environment.observation_space.shape[0]  # type: ignore[index]
        self._input = Input(size, history, limits if previous_action else None)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, about = self.env.reset(**options)
        self._input.reset()
        return self._read(observation), about

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Act."""
        observation, *rest = self.env.step(action)
        self._input.acted(np.asarray(action, np.float32))
        return (self._read(observation), *rest)  # type: ignore[return-value]

    def _read(self, observation: Any) -> np.ndarray:
        self._input.observe(observation)
        return self._input.values.copy()


def remembering(environment: gymnasium.Env, history: int, previous_action: bool) -> gymnasium.Env:
    """Return the task as it is, unless its policies read more than the present observation."""
    if history == 1 and not previous_action:
        return environment
    return Remembering(environment, history, previous_action)


class Episode:
    """One environment and the episode under way in it.

    A simulator's inner state cannot be kept in general, but its past can: the random generator as
    it was when the episode began, and every action since. Taking those again leads to the same
    place, to the last bit, in any task that repeats itself, as MuJoCo's do.

    Attributes:
        observation: the present one.
        total: the return so far.
    """

    def __init__(self, environment: gymnasium.Env, seed: int) -> None:
        self.environment = environment
        self.environment.reset(seed=seed)
        self.begin()

    def begin(self) -> None:
        """Start the next episode."""
        self._random = self._generator_state()
        self._actions: list[np.ndarray] = []
        self.observation, _ = self.environment.reset()
        self.total = 0.0

    @property
    def random(self) -> dict[str, Any] | None:
        """Return the task's random generator as it was when the episode began."""
        return self._random

    def begin_again(self, random: dict[str, Any] | None) -> None:
        """Start an episode from where the random generator was."""
        if random is not None:
            generator: Any = self.environment.unwrapped.np_random
            generator.bit_generator.state = random
        self.begin()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Act; returns the following observation [numbers], the reward, terminal and truncated.

        When the episode ends, `begin` the next one.
        """
        following, given, terminal, truncated, _ = self.environment.step(action)
        reward = float(given)
        self._actions.append(action)
        self.observation = following
        self.total += reward
        return following, reward, terminal, truncated

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what `restore` needs: something for JSON, and actions [steps, actions] so far."""
        space: Any = self.environment.action_space
        actions = np.array(self._actions, space.dtype).reshape(-1, *space.shape)
        arrays = {'actions': actions, 'observation': np.asarray(self.observation)}
        return {'random': self._random, 'total': self.total}, arrays

    def restore(self, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> bool:
        """Go to where `state` was read off; False if the task does not repeat itself.

        A new episode begins then, from the present state of the task's random generator.
        """
        total = float(state['total'])
        try:
            if state['random'] is None:
                raise ValueError
            generator: Any = self.environment.unwrapped.np_random
            generator.bit_generator.state = state['random']
            self.begin()
            for action in arrays['actions']:
                self.step(action)
        except (AttributeError, TypeError, ValueError, TaskError):
            self.begin()
            return False
        if np.array_equal(self.observation, arrays['observation']) and self.total == total:
            return True
        self.begin()
        return False

    def _generator_state(self) -> dict[str, Any] | None:
        generator = getattr(self.environment.unwrapped, 'np_random', None)
        if not isinstance(generator, np.random.Generator):
            return None
        return dict(generator.bit_generator.state)
