# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The task file: a task on a robot, simulated or real, whose topics are on ROS.

docs/ros_training.md describes the YAML. The robot is in its own robot file, the one that deploys
the policy; the task file has what training needs besides: reward, length of an episode, and the
services that reset and step the simulator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import functools
import importlib
import importlib.util
from pathlib import Path
import re
import reprlib
import sys
from typing import Any

from proxy_snn_control.control.robot import load_robot, Robot, robot_names
from proxy_snn_control.control.safety import SafetySettings
from proxy_snn_control.control.section import Section
from proxy_snn_control.policy import PolicySpec, UserError
from proxy_snn_control.policy.file import PERIOD
from proxy_snn_control.yaml_file import read_yaml

# ROS 2 Simulation Interfaces, as Gazebo, Isaac Sim and O3DE offer them: type and usual request.
PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    'ResetSimulation': ('simulation_interfaces/srv/ResetSimulation', {'scope': 0}),
    'StepSimulation': ('simulation_interfaces/srv/StepSimulation', {'steps': 1}),
    'SetSimulationState': ('simulation_interfaces/srv/SetSimulationState', {}),
}
SEED = '$seed'
CLOCKS = ('wall', 'sim')
LONGEST = 10**9
_TYPE = re.compile(r'[a-z][a-z0-9_]*/(srv/)?[A-Z][A-Za-z0-9]*')

# Names and numbers of an observation, an action and the next observation to a reward, or to a
# reward and whether the episode ends with it.
Numbers = Mapping[str, float]
Reward = Callable[[Numbers, Numbers, Numbers], Any]


@dataclass(frozen=True)
class Call:
    """A service to be called.

    Attributes:
        service: its name.
        type_name: such as "std_srvs/srv/Trigger".
        request: fields by name, mappings for messages in it; the text "$seed" is a number drawn by
            the run's seed.
    """

    service: str
    type_name: str
    request: Mapping[str, Any]


@dataclass(frozen=True)
class TaskFile:
    """A task file, read and checked.

    Attributes:
        robot: the robot file's, for a policy with the names and limits below.
        observation_names, action_names: in the policy's order.
        action_low, action_high: the limits, [actions].
        control_period: seconds an action.
        episode_steps: actions after which an episode is cut off.
        reward: the function, or None where a topic publishes the reward.
        reward_topic: that topic, or "".
        start: services to call before the first reset, and when the simulator answers again.
        reset: services that begin an episode.
        step: the service that lets one control period pass; None in real time.
        clock: what real time is measured by, "wall" or "sim" (/clock).
        settle: control periods with the safe command between a reset and the first observation.
        random_state: a node that keeps its random generator in the parameter random_state, or "".
        namespace: of the simulator, with {seed} and {env} for those of the run.
        timeout: seconds to wait for a message or an answer.
        safety: what the gate keeps to besides the limits.
    """

    path: str
    robot: Robot
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    control_period: float
    episode_steps: int
    reward: Reward | None
    reward_topic: str
    start: tuple[Call, ...]
    reset: tuple[Call, ...]
    step: Call | None
    clock: str
    settle: int
    random_state: str
    namespace: str
    timeout: float
    safety: SafetySettings


KNOWN = (
    'robot',
    'control_period',
    'episode_steps',
    'actions',
    'reward',
    'start',
    'reset',
    'step',
    'clock',
    'settle',
    'random_state',
    'namespace',
    'timeout',
    'safety',
)
SAFETY = {
    'safe_command': 'safe_command',
    'safe_hold': 'hold',
    'slew_rate': 'slew_rate',
    'acceleration': 'acceleration',
    'start_command': 'start_command',
    'ramp_in': 'ramp_in',
}


def load_task(path: str) -> TaskFile:
    """Read a task file, the robot file that it names, and the function that rewards.

    Raises:
        UserError: a file is missing, or something in it is not as expected; names it.
    """
    where = f'task file {path}'
    content = Section(where, read_yaml('task file', path), KNOWN)
    folder = Path(path).parent
    robot_path = str(folder / content.text('robot'))
    observations, actions = robot_names(robot_path)
    limits = _limits(content, actions)
    timeout = content.seconds('timeout', 5.0)
    # What a robot file is checked against: a policy of these names and limits.
    spec = PolicySpec.ordinary(
        len(observations),
        tuple(low for low, _ in limits.values()),
        tuple(high for _, high in limits.values()),
        observation_names=observations,
        action_names=tuple(limits),
    )
    robot = load_robot(robot_path, spec, timeout, reliable=False)
    period = content.number('control_period')
    if not PERIOD[0] <= period <= PERIOD[1]:
        raise UserError(f'{where}: control_period is {period}, expected seconds from {PERIOD[0]}')
    step = _call(content.section('step')) if 'step' in content else None
    if step and 'clock' in content:
        raise UserError(f'{where}: clock goes with real time, but step is given, too')
    reward, topic = _reward(content, folder)
    return TaskFile(
        path=path,
        robot=robot,
        observation_names=observations,
        action_names=tuple(limits),
        action_low=spec.action_low,
        action_high=spec.action_high,
        control_period=period,
        episode_steps=_whole(content, 'episode_steps', 1),
        reward=reward,
        reward_topic=topic,
        start=_calls(content, 'start'),
        reset=_calls(content, 'reset'),
        step=step,
        clock=content.text('clock', CLOCKS, 'wall'),
        settle=_whole(content, 'settle', 0) if 'settle' in content else 0,
        random_state=content.text('random_state', default=''),
        namespace=_namespace(content),
        timeout=timeout,
        safety=_safety(content),
    )


def _limits(content: Section, outputs: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Return the policy's actions in their order, each with its limits: -1 to 1 if not given."""
    if 'actions' not in content:
        return dict.fromkeys(outputs, (-1.0, 1.0))
    section = content.section('actions', outputs)
    if lacking := [name for name in outputs if name not in section]:
        raise UserError(f'{section.where}: lacks {lacking[0]}, an action of the robot file')
    found = {}
    for name in section.names:
        low, high = section.numbers(name, 2)
        if not low < high:
            raise UserError(
                f'{section.where}: {name} is [{low}, {high}], expected the lower limit first'
            )
        found[name] = (low, high)
    return found


def _whole(content: Section, name: str, least: int) -> int:
    value = content.number(name)
    if value != int(value) or not least <= value <= LONGEST:
        raise UserError(
            f'{content.where}: {name} is {value:g}, expected a whole number from {least}'
        )
    return int(value)


def _calls(content: Section, name: str) -> tuple[Call, ...]:
    """Return a service, or a list of them."""
    if name not in content:
        return ()
    given = content.get(name)
    several = given if isinstance(given, list) else [given]
    return tuple(
        _call(Section(f'{content.where}: {name}[{i}]', each)) for i, each in enumerate(several)
    )


def _call(section: Section) -> Call:
    section.only('service', 'type', 'request')
    kind: str = section.text('type')
    request: dict[str, Any] = {}
    if kind in PRESETS:
        kind, request = PRESETS[kind]
    elif not _TYPE.fullmatch(kind):
        raise UserError(
            f'{section.where}: type is {kind!r}, expected one such as std_srvs/srv/Trigger, or '
            f'any of {", ".join(PRESETS)}'
        )
    if 'request' in section and section.get('request'):
        given = section.section('request')
        request = {**request, **{name: given.get(name) for name in given.names}}
    return Call(section.text('service'), kind, request)


def _namespace(content: Section) -> str:
    value = content.text('namespace', default='')
    try:
        plain = value.format(seed=0, env=0)
    except (KeyError, IndexError, ValueError):
        plain = '?'
    if plain and not re.fullmatch(r'(/?[A-Za-z_][A-Za-z0-9_]*)+', plain):
        raise UserError(
            f'{content.where}: namespace is {value!r}, expected names with / between them, and '
            '{seed} or {env} in them for those of the run'
        )
    return value


def _reward(content: Section, folder: Path) -> tuple[Reward | None, str]:
    if isinstance(content.get('reward'), dict):
        section = content.section('reward', ('topic',))
        return None, section.topic()
    text = content.text('reward')
    module, colon, name = text.partition(':')
    where = f'{content.where}: reward is {text!r}'
    if not colon or not all(part.isidentifier() for part in [*module.split('.'), name]):
        raise UserError(f'{where}, expected module:function, or topic: NAME')
    try:
        function = getattr(_module(module, folder / f'{module}.py'), name, None)
    except Exception as error:  # a user's code may raise anything
        raise UserError(f'{where}, which cannot be imported: {error}') from error
    if not callable(function):
        raise UserError(f'{where}, but there is no such function in that module')
    return function, ''


def _module(name: str, beside: Path) -> Any:
    """Return the module of a file beside the task file, or of Python's path; executed once."""
    known = sys.modules.get(name)
    if not beside.is_file() or (
        known and getattr(known, '__file__', '') == str(beside.absolute())
    ):
        return importlib.import_module(name)
    return _from_file(name, beside.absolute())


@functools.cache
def _from_file(name: str, path: Path) -> Any:
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules.setdefault(name, module)
    try:
        found.loader.exec_module(module)
    except BaseException:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        raise
    return module


def _safety(content: Section) -> SafetySettings:
    if 'safety' not in content:
        return SafetySettings()
    section = content.section('safety', SAFETY)
    given: dict[str, Any] = {}
    for name in section.names:
        value = section.get(name)
        if name == 'safe_hold':
            value = section.flag(name)
        elif name == 'ramp_in':
            value = section.number(name)
        elif not isinstance(value, list):
            found = reprlib.repr(value)
            raise UserError(f'{section.where}: {name} is {found}, expected a list of numbers')
        else:
            value = section.numbers(name, len(value))
        given[SAFETY[name]] = value
    return SafetySettings(**given)
