# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""An arm of two joints that is to stay upright: a task of one's own, outside the package.

This module is the plugin (`--plugin own_arm`), and `reward` is also what the task over ROS uses.
"""

from collections.abc import Mapping
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
from proxy_snn_control.policy.plugins import TASKS

JOINTS = ('shoulder', 'elbow')
PHYSICS_STEPS = 8


def reward(
    observation: Mapping[str, float], action: Mapping[str, float], following: Mapping[str, float]
) -> tuple[float, bool]:
    """Reward of a step, by names, and whether the episode ends with it."""
    upright = sum(following[f'{joint}.position'] ** 2 for joint in JOINTS)
    effort = sum(action[joint] ** 2 for joint in JOINTS)
    return 1.0 - upright - 0.01 * effort, abs(following['shoulder.position']) > 2.0


class OwnArm(gymnasium.Env):
    """The arm in MuJoCo.

    What the package reads of a task, where it has them: observation_names, action_names,
    control_period; `model` and `data` let the sim node publish joint states.
    """

    observation_names = tuple(f'{j}.{what}' for what in ('position', 'velocity') for j in JOINTS)
    action_names = JOINTS
    control_period = 0.04

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(Path(__file__).with_name('arm.xml')))
        self.data = mujoco.MjData(self.model)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        """Start near upright."""
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.np_random.uniform(-0.3, 0.3, 2)
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        return self._observation(), {}

    def step(self, action):
        """Apply motor commands for a control period."""
        before = dict(zip(self.observation_names, self._observation(), strict=True))
        self.data.ctrl[:] = action
        mujoco.mj_step(self.model, self.data, PHYSICS_STEPS)
        self._steps += 1
        observation = self._observation()
        after = dict(zip(self.observation_names, observation, strict=True))
        value, fallen = reward(before, dict(zip(JOINTS, action, strict=True)), after)
        return observation, float(value), bool(fallen), self._steps >= 200, {}

    def _observation(self) -> np.ndarray:
        return np.concatenate([self.data.qpos, self.data.qvel])


@TASKS.register('own_arm')
def make(rest: str, **options) -> gymnasium.Env:
    """Make the task."""
    return OwnArm(**options)
