# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Gymnasium tasks: making one, checking that it fits, and naming what it observes and commands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from ctypes.util import find_library
from dataclasses import dataclass
import difflib
import importlib.util
import json
import numbers
import os
import re
import reprlib
import shlex
import sys
import traceback
from typing import Any, NamedTuple
import warnings

import gymnasium
import numpy as np
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.flatten import Flattening
from proxy_snn_control.learning.results import NOT_FINITE
from proxy_snn_control.policy import file as policy_file
from proxy_snn_control.policy.errors import Interrupted, TaskError, UserError
from proxy_snn_control.policy.file import PolicySpec
from proxy_snn_control.policy.plugins import not_loaded, TASKS

PAPER_TASKS = ('Ant', 'HalfCheetah', 'Hopper', 'InvertedDoublePendulum', 'Walker2d')
LARGEST = float(np.finfo(np.float32).max)
# Gymnasium's wrappers that keep updating statistics while the environment is used.
LEARNING_WRAPPERS = {
    gymnasium.wrappers.NormalizeObservation: 'training and evaluation would get different '
    'statistics, and the robot none; leave it out and set normalise_observations: true',
    gymnasium.wrappers.NormalizeReward: 'training and evaluation would get different statistics, '
    'and evaluations no returns that could be compared; leave it out',
}


class TaskSpec(NamedTuple):
    """What a task is made of, as something to compare and to send to other processes.

    Attributes:
        env: its id.
        env_kwargs: what it is made with, as JSON.
        paper_physics: whether its contacts are those of the MuJoCo that the paper's authors ran.
    """

    env: str
    env_kwargs: str = '{}'
    paper_physics: bool = False

    @classmethod
    def of(cls, config: TrainConfig) -> TaskSpec:
        """Return the task of these settings."""
        kwargs = json.dumps(config.env_kwargs, sort_keys=True)
        return cls(config.env, kwargs, config.paper_physics)

    @property
    def words(self) -> str:
        """Return what it is made with as the sim's parameter has it: NAME=VALUE NAME=VALUE."""
        return shlex.join(f'{k}={json.dumps(v)}' for k, v in json.loads(self.env_kwargs).items())

    def make(self, **options: Any) -> Checked:
        """Make it; `options` go over its own. Raises as `make_environment`."""
        options = {**json.loads(self.env_kwargs), **options}
        return make_environment(self.env, paper_physics=self.paper_physics, **options)


@dataclass(frozen=True)
class Task:
    """What a policy file records of a task.

    Attributes:
        env_id: the Gymnasium id, such as "HalfCheetah-v5".
        action_low, action_high: the action limits, one per action dimension.
        control_period: seconds of simulated time per action, where the task has it.
        observation_names, action_names: the names, where the task has them.
        one_world: whether training and evaluation share what cannot be had twice, a simulator on
            the other side of ROS: then evaluations wait for the end of an episode.
        real_time: whether time passes there while nobody steps.
    """

    env_id: str
    observation_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    control_period: float | None
    observation_names: tuple[str, ...] | None
    action_names: tuple[str, ...] | None
    one_world: bool = False
    real_time: bool = False


def make_environment(task_id: str, *, paper_physics: bool = False, **options: Any) -> Checked:
    """Make a task that a policy can be trained for; every step of it is checked.

    Args:
        task_id: its Gymnasium id, or "module:id" for one that this module registers.
        paper_physics: whether its contacts are those of the MuJoCo that the paper's authors ran.
        options: what it is made with (env_kwargs, render_mode).

    Raises:
        UserError: there is no such task; its observations cannot be one vector of numbers, or its
            actions are no bounded Box; it brings statistics of its own; or it cannot be made, or
            has no such physics.
    """
    kind, _, rest = task_id.partition(':')
    try:
        if kind in TASKS:
            environment = TASKS[kind](rest, **options)
            environment.unwrapped.registered_name = task_id
            return Checked(task_id, environment)
        with warnings.catch_warnings():
            # A -v4 task is a choice (the paper's), not an oversight.
            warnings.simplefilter('ignore', DeprecationWarning)
            environment = gymnasium.make(task_id, **options)
    except gymnasium.error.UnregisteredEnv:
        near = difflib.get_close_matches(task_id, gymnasium.registry, n=1)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise UserError(f'task {task_id!r} is not registered with Gymnasium{hint}') from None
    except UserError:
        raise
    except Exception as error:  # a task, and its module, are a user's code
        usual = gymnasium.error.Error, ImportError, ValueError, TypeError, AttributeError
        reason = _first_line(error) if isinstance(error, usual) else _reason(error)
        if 'mujoco' in ''.join(traceback.format_exception(error)).lower():
            reason = mujoco_failure() or reason
        raise UserError(f'task {task_id!r} cannot be made: {reason}') from error
    try:
        if paper_physics:
            _use_paper_physics(environment)
        _refuse_learning_wrappers(task_id, environment)
        return Checked(task_id, environment)
    except UserError:
        with suppress(Exception):
            environment.close()
        raise


def mujoco_failure() -> str:
    """Why MuJoCo, which loads its graphics with itself, cannot be imported.

    Returns:
        "" if it can, or is not installed.
    """
    if importlib.util.find_spec('mujoco') is None:
        return ''
    try:
        import mujoco  # noqa: F401  (whether it can be imported)
    except Exception as error:  # whatever the graphics libraries raise where there are none
        through = os.environ.get('MUJOCO_GL', '')
        why = _first_line(error)
        if through == 'osmesa' and not find_library('OSMesa'):
            why = 'the library OSMesa is not installed; Debian and Ubuntu have it as libosmesa6'
        return (
            f'MuJoCo cannot be loaded ({why}); the environment variable MUJOCO_GL is {through!r}, '
            'expected egl, osmesa or glfw, or none where nothing is drawn'
        )
    return ''


def _refuse_learning_wrappers(task_id: str, environment: gymnasium.Env) -> None:
    while isinstance(environment, gymnasium.Wrapper):
        for kind, why in LEARNING_WRAPPERS.items():
            if isinstance(environment, kind):
                raise UserError(f'task {task_id!r} has the wrapper {kind.__name__}: {why}')
        environment = environment.env


def _use_paper_physics(environment: gymnasium.Env) -> None:
    """Halve the contact margins where MuJoCo's are twice those of the paper's authors.

    MuJoCo 3 adds the margins of the two geoms in contact where 2.3, which the authors ran, took
    the larger. The other tasks of the paper have no margins.
    """
    named = task_id(environment)
    name = re.sub(r'-v\d+$', '', named)
    if name not in PAPER_TASKS:
        expected = ', '.join(PAPER_TASKS)
        raise UserError(f'setting paper_physics is true for task {named!r}, expected {expected}')
    import mujoco

    if name in ('Ant', 'Hopper') and int(mujoco.__version__.split('.')[0]) >= 3:
        environment.unwrapped.model.geom_margin *= 0.5  # type: ignore[attr-defined]


def _check_actions(task_id: str, space: Any) -> None:
    if not isinstance(space, gymnasium.spaces.Box):
        found = type(space).__name__
        raise UserError(
            f"task {task_id!r} has action space {found}, expected a Box: a policy's actions are "
            'continuous numbers'
        )
    if not np.prod(space.shape):
        raise UserError(f'task {task_id!r} has an empty action space, expected a number or more')
    low, high = space.low.ravel(), space.high.ravel()
    for i in np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)))[:1]:
        raise UserError(
            f'task {task_id!r} has actions without limits (action[{i}] from {low[i]} to '
            f"{high[i]}), expected a bounded Box: a policy's actions and its exploration are "
            'scaled to the limits'
        )
    _check_limits(task_id, low, high)


def _check_limits(task_id: str, low: np.ndarray, high: np.ndarray) -> None:
    """Limits must be what a policy file can hold, and apart also as float32."""
    largest = policy_file.LARGEST
    apart = low.astype(np.float32) < high.astype(np.float32)
    for i in np.flatnonzero(~apart | (low < -largest) | (high > largest))[:1]:
        expected = f'limits within {-largest:g} to {largest:g}' if apart[i] else 'a range'
        raise UserError(
            f'task {task_id!r} has action[{i}] from {low[i]} to {high[i]}, expected {expected}'
        )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _reason(error: Exception) -> str:
    """Return an error of a user's code, in one line, with file and line."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    line = ' '.join(str(error).split())
    return f'{type(error).__name__}: {line} ({where.filename}:{where.lineno})'


class Checked(gymnasium.Wrapper):
    """A task of vectors, of which every step and reset is checked: what is wrong names itself.

    Whatever the structure of its observations and the shape of its actions, here both are vectors.

    Attributes:
        flattening: how they become that; None where observations are vectors.

    Raises:
        TaskError: the task raised, an observation is not of the task's shape, an observation or a
            reward is no number or none that float32 holds, or an end is neither true nor false.
    """

    def __init__(self, name: str, environment: gymnasium.Env) -> None:
        """Wrap the task of this name.

        Raises:
            UserError: its spaces are none that a policy can be trained for.
        """
        super().__init__(environment)
        observations: Any = _attribute(environment, 'observation_space', environment)
        actions: Any = _attribute(environment, 'action_space', environment)
        flattening = Flattening(name, observations)
        is_vector = isinstance(observations, gymnasium.spaces.Box) and len(observations.shape) == 1
        self.flattening = None if is_vector else flattening
        if not is_vector:
            self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (flattening.size,))
        if not self.observation_space.shape[0]:  # type: ignore[index]
            raise UserError(
                f'task {name!r} has an empty observation space, expected a number or more'
            )
        _check_actions(name, actions)
        self._action_shape = actions.shape
        if len(actions.shape) != 1:
            self.action_space = gymnasium.spaces.flatten_space(actions)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        try:
            given = self.env.reset(**options)
        except Interrupted:
            raise
        except Exception as error:  # a task is a user's code
            raise self._failure('reset', error) from error
        observation, about = self._all_of('reset', given, ('observation', 'info'))
        return self._vector(observation), about

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act."""
        try:
            given: Any = self.env.step(np.reshape(action, self._action_shape))
        except Interrupted:
            raise
        except Exception as error:
            raise self._failure('step', error) from error
        names = ('observation', 'reward', 'terminated', 'truncated', 'info')
        observation, reward, *ends, about = self._all_of('step', given, names)
        observation = self._vector(observation)
        for name, end in zip(names[2:], ends, strict=False):
            if not isinstance(end, (bool, np.bool_)):
                raise TaskError(
                    f'{name} of task {self.env_id!r} is {reprlib.repr(end)}, expected True or '
                    'False'
                )
        return observation, self._number(reward), bool(ends[0]), bool(ends[1]), about

    def close(self) -> None:
        """End the task."""
        try:
            self.env.close()
        except Exception as error:
            raise self._failure('close', error) from error

    @property
    def env_id(self) -> str:
        """Return the Gymnasium id, or the name of the task's class where it has none."""
        return task_id(self)

    def _all_of(self, method: str, given: Any, names: Sequence[str]) -> Any:
        if not isinstance(given, tuple) or len(given) != len(names):
            raise TaskError(
                f'{method} of task {self.env_id!r} gives {reprlib.repr(given)}, expected '
                f'{len(names)} values: {", ".join(names)}'
            )
        return given

    def _number(self, reward: Any) -> float:
        try:
            found = np.asarray(reward)
        except Exception:  # it may be any object
            found = np.asarray(None)
        if found.dtype.kind not in 'biuf' or found.size != 1:
            raise TaskError(
                f'the reward of task {self.env_id!r} is {reprlib.repr(reward)}, expected a number'
            )
        number = float(found.reshape(()))
        if not abs(number) <= LARGEST:
            raise TaskError(f'the reward of task {self.env_id!r} {NOT_FINITE}')
        return number

    def _vector(self, observation: Any) -> Any:
        """Return the observation as a vector, of numbers that float32 holds."""
        try:
            if self.flattening:
                observation = self.flattening(observation)
            numbers = np.asarray(observation, np.float64)
        except (TypeError, ValueError) as error:
            raise TaskError(
                f'the observation of task {self.env_id!r} is no array of numbers: {error}'
            ) from None
        if numbers.shape != self.observation_space.shape:
            raise TaskError(
                f'the observation of task {self.env_id!r} has shape {numbers.shape}, expected '
                f'{self.observation_space.shape} as its space has'
            )
        wrong = ~(np.abs(numbers) <= LARGEST)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise TaskError(f'observation[{i}] of task {self.env_id!r} {NOT_FINITE}')
        return observation

    def _failure(self, method: str, error: Exception) -> TaskError:
        return TaskError(f'task {self.env_id!r} failed in {method}: {_reason(error)}')


def task_id(environment: gymnasium.Env) -> str:
    """Return the Gymnasium id or registered name, or the task's class where it has none."""
    if name := getattr(environment.unwrapped, 'registered_name', ''):
        return str(name)
    return environment.spec.id if environment.spec else type(environment.unwrapped).__name__


def _attribute(environment: gymnasium.Env, name: str, of: Any = None) -> Any:
    """Return an attribute of a user's task, of any type; None where there is none.

    Of the task itself, or of what wraps it if that is given as `of`.
    """
    try:
        return getattr(of or environment.unwrapped, name, None)
    except Exception as error:  # a property is a user's code too
        raise TaskError(
            f'the attribute {name} of task {task_id(environment)!r} cannot be read: '
            f'{_reason(error)}'
        ) from error


def task_of_policy(spec: PolicySpec, path: Any, env: str | None = None) -> TaskSpec:
    """Return the task to try a policy on.

    Args:
        spec: of the policy.
        path: of its file.
        env: the task that the user names; None for the one it was trained on. What that was made
            with is taken from the file if this is the same task.

    Raises:
        UserError: none is named and the file names none, or one that a module registers.
    """
    recorded, kwargs = spec.provenance.get('env'), spec.provenance.get('env_kwargs')
    if env is None:
        if not isinstance(recorded, str):
            raise UserError(f'policy file {path} names no usable task, expected --env ID')
        plugin = TASKS.plugin(recorded.partition(':')[0])
        if lacks := not_loaded(TASKS, spec.provenance):
            raise UserError(f'policy file {path}: {lacks}')
        # A module that is there already is not imported any more.
        there = recorded.rpartition(':')[0] in sys.modules
        if ':' in recorded and not (plugin or there):
            raise UserError(
                f'policy file {path} names no usable task: it was trained on {recorded!r}, and no '
                f'module is imported because a file names it; give --env {recorded} to have it so'
            )
        env = recorded
    is_same = isinstance(recorded, str) and env.rpartition(':')[2] == recorded.rpartition(':')[2]
    known = kwargs if is_same and isinstance(kwargs, dict) else {}
    physics = is_same and spec.provenance.get('paper_physics') is True
    return TaskSpec(env, json.dumps(known, sort_keys=True), physics)


def check_fit(spec: PolicySpec, path: Any, environment: gymnasium.Env) -> None:
    """Raise a UserError that names both unless the policy of the file is for this task's sizes."""
    observations: Any = environment.observation_space
    actions: Any = environment.action_space
    found = observations.shape[0], actions.shape[0]
    expected = spec.observation_size, spec.action_size
    if found != expected:
        raise UserError(
            f'task {task_id(environment)!r} has {found[0]} observations and {found[1]} actions, '
            f'policy file {path} is for {expected[0]} and {expected[1]}'
        )


def describe(environment: gymnasium.Env) -> Task:
    """Read off a task what goes into the policy file.

    Raises:
        TaskError: the task fails, or what it declares is none that a policy file can hold.
    """
    actions: Any = environment.action_space
    return Task(
        env_id=task_id(environment),
        observation_size=environment.observation_space.shape[0],  # type: ignore[index]
        action_low=tuple(map(float, actions.low)),
        action_high=tuple(map(float, actions.high)),
        control_period=_control_period(environment),
        observation_names=_declared_names(environment, 'observation')
        or _structure_names(environment)
        or _observation_names(environment),
        action_names=_declared_names(environment, 'action') or _action_names(environment),
        one_world=bool(_attribute(environment, 'one_world')),
        real_time=bool(_attribute(environment, 'real_time')),
    )


def _declared_names(environment: gymnasium.Env, kind: str) -> tuple[str, ...] | None:
    """Return what the task declares as its attribute `observation_names` or `action_names`."""
    given = _attribute(environment, f'{kind}_names')
    if given is None:
        return None
    space: Any = (
        environment.observation_space if kind == 'observation' else environment.action_space
    )
    names = None
    if isinstance(given, (list, tuple, np.ndarray)) and all(isinstance(n, str) for n in given):
        names = _all_different(list(map(str, given)), space.shape[0])
    if names is None:
        raise TaskError(
            f'the attribute {kind}_names of task {task_id(environment)!r} is '
            f'{reprlib.repr(given)}, expected {space.shape[0]} different printable texts, or None'
        )
    return names


def _structure_names(environment: gymnasium.Env) -> tuple[str, ...] | None:
    """Names by the place in a Dict or Tuple."""
    if not isinstance(environment, Checked) or not environment.flattening:
        return None
    names = environment.flattening.names
    return _all_different(names, len(names)) if names else None


def clip_action(environment: gymnasium.Env, action: Sequence[float] | np.ndarray) -> np.ndarray:
    """Turn numbers [actions] into an action of the task: its dtype, within its limits."""
    space: Any = environment.action_space
    # Clip first: what is too large for the task's dtype is just another number beyond the limit.
    return np.clip(np.asarray(action, dtype=np.float64), space.low, space.high).astype(space.dtype)


def episode_seed(seed: int, episode: int) -> int:
    """Seed of an evaluation episode: each has its own, so that one can be repeated alone."""
    return seed + episode


def _control_period(environment: gymnasium.Env) -> float | None:
    """Seconds of simulated time per action: declared as `control_period`, in MuJoCo tasks `dt`."""
    name, given = 'control_period', _attribute(environment, 'control_period')
    if given is None:
        name, given = 'dt', _attribute(environment, 'dt')
    if given is None:
        return None
    low, high = policy_file.PERIOD
    is_number = isinstance(given, numbers.Real) and not isinstance(given, bool)
    if not is_number or not low <= given <= high:
        raise TaskError(
            f'the attribute {name} of task {task_id(environment)!r} is {reprlib.repr(given)}, '
            f'expected the seconds of an action, from {low} to {high}, or None'
        )
    return float(given)


def _mujoco(environment: gymnasium.Env) -> tuple[Any, Any] | None:
    """Return MuJoCo's model and data, if the task has them; others may call something else so."""
    model, data = _attribute(environment, 'model'), _attribute(environment, 'data')
    if model is None or data is None:
        return None
    try:
        import mujoco
    except ImportError:
        return None
    is_mujoco = isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)
    return (model, data) if is_mujoco else None


def _action_names(environment: gymnasium.Env) -> tuple[str, ...] | None:
    if not (found := _mujoco(environment)):
        return None
    import mujoco

    joints = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
    model, names = found[0], []
    for i in range(model.nu):
        name = model.actuator(i).name
        if not name and int(model.actuator_trntype[i]) in joints:
            name = model.joint(model.actuator_trnid[i, 0]).name
        names.append(name)
    return _all_different(names, environment.action_space.shape[0])  # type: ignore[index]


def _observation_names(environment: gymnasium.Env) -> tuple[str, ...] | None:
    """Name the dimensions of a MuJoCo task whose observation we recognise.

    Gymnasium does not name them. A candidate layout counts only if it reproduces the observation
    number by number in states the task goes through, so a name can be missing but never wrong.
    """
    if not (found := _mujoco(environment)):
        return None
    environment.reset(seed=0)
    layouts = None
    rng = np.random.default_rng(0)
    space: Any = environment.action_space
    for _ in range(5):
        observation, _, terminated, _, _ = environment.step(rng.uniform(space.low, space.high))
        size = len(observation)
        matching = {
            tuple(names[:size])
            for names, values in _layouts(*found)
            if len(values) >= size and np.allclose(values[:size], observation, atol=1e-9)
        }
        layouts = matching if layouts is None else layouts & matching
        if terminated:
            environment.reset(seed=1)
    if not layouts or len(layouts) > 1:
        return None
    return _all_different(list(layouts.pop()), size)


def _layouts(model: Any, data: Any) -> list[tuple[list[str], np.ndarray]]:
    """Candidate observations of Gymnasium's MuJoCo tasks: names and present values."""
    positions, velocities = _coordinate_names(model)
    qpos = np.asarray(data.qpos)
    qvel = np.asarray(data.qvel)
    layouts = []
    contact = [
        f'{model.body(b).name or b}.contact_{axis}'
        for b in range(1, model.nbody)
        for axis in ('torque_x', 'torque_y', 'torque_z', 'force_x', 'force_y', 'force_z')
    ]
    for limit in (np.inf, 10.0):
        for skip in range(3):
            names = [f'{n}.position' for n in positions[skip:]]
            names += [f'{n}.velocity' for n in velocities]
            values = np.concatenate([qpos[skip:], np.clip(qvel, -limit, limit)])
            layouts.append((names, values))
            forces = np.clip(data.cfrc_ext[1:], -1, 1).ravel()
            layouts.append((names + contact, np.concatenate([values, forces])))
    if len(positions) == 3 and model.nv == 3:  # InvertedDoublePendulum: cart and two poles
        cart, *poles = positions
        names = [f'{cart}.position']
        names += [f'{pole}.{part}' for part in ('sin', 'cos') for pole in poles]
        names += [f'{n}.velocity' for n in velocities]
        names += [f'{n}.constraint_force' for n in positions]
        values = np.concatenate(
            [
                qpos[:1],
                np.sin(qpos[1:]),
                np.cos(qpos[1:]),
                np.clip(qvel, -10, 10),
                np.clip(data.qfrc_constraint, -10, 10),
            ]
        )
        layouts.append((names, values))
    return layouts


def _coordinate_names(model: Any) -> tuple[list[str], list[str]]:
    """Name every entry of qpos and of qvel by its joint."""
    import mujoco

    free, ball = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)
    positions, velocities = [], []
    for i in range(model.njnt):
        name, kind = model.joint(i).name or f'joint{i}', int(model.jnt_type[i])
        if kind == free:
            positions += [f'{name}.{c}' for c in ('x', 'y', 'z', 'qw', 'qx', 'qy', 'qz')]
            velocities += [f'{name}.{c}' for c in ('x', 'y', 'z', 'wx', 'wy', 'wz')]
        elif kind == ball:
            positions += [f'{name}.{c}' for c in ('qw', 'qx', 'qy', 'qz')]
            velocities += [f'{name}.{c}' for c in ('wx', 'wy', 'wz')]
        else:
            positions.append(name)
            velocities.append(name)
    return positions, velocities


def _all_different(names: list[str], size: int) -> tuple[str, ...] | None:
    usable = len(names) == len(set(names)) == size and all(n and n.isprintable() for n in names)
    return tuple(names) if usable else None
