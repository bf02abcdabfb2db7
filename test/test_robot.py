# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Robot files: from messages to the observation, from the action to the command."""

import math
import os
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from conftest import random_policy
from geometry_msgs.msg import Pose, PoseStamped, Quaternion, Twist, TwistStamped, Vector3
from nav_msgs.msg import Odometry
import numpy as np
from proxy_snn_control.control.command import CommandMap
from proxy_snn_control.control.observation import Inputs
from proxy_snn_control.control.robot import load_robot, plain_robot, Robot, Vector
from proxy_snn_control.policy import PolicySpec, UserError
import pytest
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray, Header
import yaml

EXAMPLES = Path(__file__).parents[1] / 'config' / 'robots'
NO_ACTION = [0.0, 0.0]


def spec_of(observations: list[str], actions: list[str], **changes: Any) -> PolicySpec:
    given = {
        'observation_names': tuple(observations),
        'action_names': tuple(actions),
        **changes,
    }
    return random_policy(len(observations), len(actions), **given)[0]


SPEC = spec_of(['a', 'b', 'c'], ['left', 'right'])
GOOD: dict[str, Any] = {
    'sources': {'joints': {'type': 'sensor_msgs/JointState', 'topic': 'joint_states'}},
    'observation': {
        name: {'source': 'joints', 'joint': name, 'field': 'position'} for name in 'abc'
    },
    'command': {
        'type': 'std_msgs/Float64MultiArray',
        'topic': 'command',
        'outputs': [{'action': 'right'}, {'action': 'left', 'scale': -2.0, 'offset': 1.0}],
    },
}


def read(tmp_path: Path, content: Any, spec: PolicySpec = SPEC) -> Robot:
    path = tmp_path / 'robot.yaml'
    path.write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    return load_robot(str(path), spec, 0.5, False)


def changed(*path: Any, to: Any = None) -> dict[str, Any]:
    """GOOD with one place changed, or taken away."""
    content = yaml.safe_load(yaml.safe_dump(GOOD))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return content


@pytest.mark.parametrize(
    ('content', 'reported'),
    [
        ('- 1', "is [1], expected lines of 'name: value'"),
        ('a: [', 'is not valid YAML'),
        ('a: 1\na: 2', "'a' occurs twice"),
        (changed('command'), 'command is missing'),
        (changed('more', to=1), "'more' does not exist, expected any of sources"),
        (changed('sources', 'joints', 'topic'), 'sources: joints: topic is missing'),
        (changed('sources', 'joints', 'timeout', to=0), 'timeout is 0.0, expected seconds from'),
        (changed('sources', 'joints', 'timeout', to='no'), "timeout is 'no', expected a finite"),
        (changed('sources', 'joints', 'type', to='sensor_msgs/Jointstate'), 'did you mean sensor'),
        (changed('sources', 'x', to=GOOD['sources']['joints']), 'no entry uses the source x'),
        (changed('observation', 'b'), "observation: lacks the policy's observation b"),
        (
            changed('observation', 'd', to=GOOD['observation']['a']),
            'd is no observation of the policy, whose are a, b, c',
        ),
        (changed('observation', 'b', 'joint'), 'observation: b: joint is missing'),
        (changed('observation', 'b', 'field', to='positions'), 'expected one of position, vel'),
        (changed('observation', 'b', 'source', to='imu'), "source is 'imu', expected one of joi"),
        (changed('observation', 'b', 'index', to=1), "'index' does not exist"),
        (changed('observation', 'b', 'scale', to=float('nan')), 'scale is nan, expected a finite'),
        (
            changed('observation', 'b', 'wrap', to='yes please'),
            "wrap is 'yes please', expected tr",
        ),
        (changed('observation', 'b', 'function', to='tan'), "function is 'tan', expected one of"),
        (changed('observation', 'b', to={'previous_action': 'up'}), "previous_action is 'up'"),
        (changed('command', 'type', to='std_msgs/String'), "type is 'std_msgs/String', expected"),
        (changed('command', 'outputs', to=[]), 'outputs is [], expected a list'),
        (changed('command', 'outputs', 1), "outputs: lacks the policy's action left"),
        (changed('command', 'outputs', 1, 'action', to='right'), "lacks the policy's action left"),
        (changed('command', 'outputs', 1, 'action', to='up'), "action is 'up', expected one of"),
        (changed('command', 'outputs', 1, 'scale', to=0), 'scale is 0, expected another number'),
        (changed('command', 'outputs', 1, 'limits', to=[1]), 'limits is [1], expected 2 numbers'),
        (changed('command', 'outputs', 1, 'limits', to=[1, 0]), 'expected the lower limit first'),
        (changed('command', 'outputs', 1, 'joint', to='x'), "'joint' does not exist"),
        (
            changed('command', 'outputs', 1, 'limits', to=[50, 60]),
            'give -1.0 to 3.0',
        ),
        (
            changed('command', 'topic', to='joint_states'),
            'is source and command, too',
        ),
        (
            changed('command', 'topic', to='joint states'),
            "topic is 'joint states', expected names",
        ),
        (
            changed('observation', 'b', 'scale', to=1e300),
            'scale is 1e+300, expected a fin',
        ),
        (changed(1, to=2), 'has the name 1, expected text; quote it'),
        ('', 'is empty, expected lines of'),
        ('a: &a [x, x]\nb: &b [*a, *a]\nsources: [*b, *b, *b]', "'a' does not exist"),
        ('#' * 2**21, 'has 2097152 bytes, more than the 262144 it may'),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: Any, reported: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f'robot file {tmp_path}/robot.yaml: ')
    assert reported in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path, tmp_path / 'pipe'):
        with pytest.raises(UserError, match=r'is not a file but a (folder|pipe)'):
            load_robot(str(path), SPEC, 0.5, False)
    with pytest.raises(UserError, match=r'robot file /none.yaml: no such file'):
        load_robot('/none.yaml', SPEC, 0.5, False)


def test_policies_without_names_go_by_order(tmp_path: Path) -> None:
    spec = random_policy(3, 2)[0]
    content = changed('command', 'outputs', to=[{'action': 'action[1]'}, {'action': 'action[0]'}])
    robot = read(tmp_path, content, spec)
    assert [term.number for term in robot.terms] == [(name, 'position') for name in 'abc']
    assert [output.action for output in robot.command.outputs] == [1, 0]
    del content['observation']['b']
    with pytest.raises(UserError, match=r'has 2 entries, but the policy has 3 observations'):
        read(tmp_path, content, spec)


# ---- observations


def joint_state(names: str, *values: float, stamp: float = 0.0, **more: Any) -> JointState:
    nanoseconds = round(stamp * 1e9)
    header = Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9))
    return JointState(header=header, name=list(names), position=list(values), **more)


def test_joints_by_name_whatever_their_order(tmp_path: Path) -> None:
    inputs = Inputs(read(tmp_path, GOOD))
    for names, values in (('abc', (1, 2, 3)), ('xcab', (9, 3, 1, 2)), ('cba', (3, 2, 1))):
        assert inputs.take(0, joint_state(names, *map(float, values)), 0.0)
        assert inputs.observation(NO_ACTION).tolist() == [1, 2, 3]


def test_joints_spread_over_messages(tmp_path: Path) -> None:
    inputs = Inputs(read(tmp_path, GOOD))
    assert not inputs.take(0, joint_state('ab', 1.0, 2.0), 0.0)
    assert not inputs.ready
    assert inputs.take(0, joint_state('c', 3.0), 0.1)
    assert inputs.observation(NO_ACTION).tolist() == [1, 2, 3]
    assert not inputs.take(0, joint_state('ab', 1.0, 2.0), 0.2), 'c is not new'
    assert inputs.stale(0.7) == [
        'no observation for 0.70 s on topic joint_states (joint c not in it)'
    ]


def test_joints_of_two_drivers_on_one_topic(tmp_path: Path) -> None:
    """Each joint has a stamp of its own: the other driver's may be a little behind or the same."""
    inputs = Inputs(read(tmp_path, GOOD))
    for i in range(5):
        now = 10 + 0.02 * i
        assert not inputs.take(0, joint_state('ab', 1.0, 2.0, stamp=now), now)
        assert inputs.take(0, joint_state('c', 3.0, stamp=now - 0.001 * (i % 2)), now)
        assert not inputs.take(0, joint_state('c', 4.0, stamp=now - 0.002), now), 'late'
    assert inputs.observation(NO_ACTION).tolist() == [1, 2, 3]
    # What a driver published long ago is no part of an observation.
    assert not inputs.take(0, joint_state('ab', 1.0, 2.0, stamp=11.0), 11.0)
    assert not inputs.take(0, joint_state('c', 3.0, stamp=20.0), 20.0)
    assert inputs.take(0, joint_state('ab', 1.0, 2.0, stamp=20.1), 20.1)


def test_in_lockstep_what_is_published_again_counts(tmp_path: Path) -> None:
    inputs = Inputs(read(tmp_path, GOOD), repeats=True)
    for _ in range(2):
        assert inputs.take(0, joint_state('abc', 1.0, 1.0, 1.0, stamp=10.0), 0.0)
    assert not inputs.take(0, joint_state('abc', 1.0, 1.0, 1.0, stamp=9.9), 0.0)


@pytest.mark.parametrize(
    ('message', 'reported'),
    [
        (
            joint_state('abc', 1.0, 2.0),
            'topic joint_states: has 2 values of position for 3 joints',
        ),
        (joint_state('abc'), 'has 0 values of position'),
        (joint_state('abca', 1.0, 2.0, 3.0, 4.0), 'has a joint twice'),
    ],
)
def test_a_message_that_cannot_be_read(tmp_path: Path, message: Any, reported: str) -> None:
    inputs = Inputs(read(tmp_path, GOOD))
    assert inputs.take(0, message, 0.0), 'there is something to answer: with the safe command'
    assert reported in inputs.fault(0.0)
    assert inputs.take(0, joint_state('abc', 1.0, 2.0, 3.0), 0.1)
    assert inputs.fault(0.1) == '', 'a fault passes with its cause'


def test_duplicates_and_late_messages_are_left_out(tmp_path: Path) -> None:
    inputs = Inputs(read(tmp_path, GOOD))
    assert inputs.take(0, joint_state('abc', 1.0, 1.0, 1.0, stamp=10.0), 0.0)
    assert not inputs.take(0, joint_state('abc', 2.0, 2.0, 2.0, stamp=10.0), 0.1), 'the same again'
    assert not inputs.take(0, joint_state('abc', 3.0, 3.0, 3.0, stamp=9.8), 0.2), 'overtaken'
    assert inputs.observation(NO_ACTION).tolist() == [1, 1, 1]
    assert inputs.ignored == 2
    assert inputs.stale(0.6), 'what is left out is not fresh'
    assert inputs.take(0, joint_state('abc', 4.0, 4.0, 4.0, stamp=2.0), 0.7), 'the clock was set'
    assert inputs.take(0, joint_state('abc', 5.0, 5.0, 5.0, stamp=2.05), 0.8)
    assert not inputs.take(0, joint_state('abc', 6.0, 6.0, 6.0), 0.9), 'beside one with stamps'
    for _ in range(2):
        assert inputs.take(0, joint_state('abc', 6.0, 6.0, 6.0), 1.4), 'without a stamp, all count'


def test_every_source_must_be_fresh_and_new(tmp_path: Path) -> None:
    content = changed('sources', 'v', to={
        'type': 'std_msgs/msg/Float64MultiArray', 'topic': 'extra', 'timeout': 0.2,
    })  # fmt: skip
    content['observation']['b'] = {'source': 'v', 'index': 1, 'scale': '1e-1', 'offset': 3}
    inputs = Inputs(read(tmp_path, content))
    assert not inputs.take(0, joint_state('abc', 1.0, 2.0, 3.0), 0.0)
    assert not inputs.take(0, joint_state('abc', 4.0, 5.0, 6.0), 0.05)
    assert not inputs.ready
    assert inputs.take(1, Float64MultiArray(data=[7.0, 8.0]), 0.1)
    assert inputs.observation(NO_ACTION).tolist() == [4, 3.8, 6]
    assert inputs.newest == 0.1
    assert not inputs.take(1, Float64MultiArray(data=[7.0, 9.0]), 0.15), 'joints are not new'
    assert inputs.stale(0.36) == ['no observation for 0.21 s on topic extra']
    assert len(inputs.stale(0.6)) == 2
    inputs.take(1, Float64MultiArray(data=[7.0]), 0.6)
    assert inputs.fault(0.6) == 'topic extra: has 1 values, expected at least 2'
    inputs.forget(1.0)
    assert (inputs.ready, inputs.fault(1.0)) == (False, '')


def test_fields_angles_and_functions(tmp_path: Path) -> None:
    fields = {
        'imu': ('sensor_msgs/Imu', ['orientation.roll', 'orientation.pitch', 'orientation.yaw',
                'angular_velocity.x', 'linear_acceleration.z', 'orientation.w']),
        'odometry': ('nav_msgs/Odometry', ['pose.pose.position.z', 'twist.twist.linear.x']),
        'twist': ('geometry_msgs/Twist', ['angular.z']),
        'stamped': ('geometry_msgs/TwistStamped', ['twist.linear.y']),
        'pose': ('geometry_msgs/Pose', ['position.y', 'orientation.yaw']),
        'place': ('geometry_msgs/PoseStamped', ['pose.position.x']),
    }  # fmt: skip
    names = [f'{source}.{field}' for source, (_, all_) in fields.items() for field in all_]
    extra = {
        'wrapped': {'source': 'pose', 'field': 'position.x', 'wrap': True},
        'degrees': {'source': 'pose', 'field': 'position.z', 'scale': math.pi / 180,
                    'function': 'sin'},
        'before': {'previous_action': 'right', 'scale': 10, 'offset': 1},
        'cos': {'source': 'pose', 'field': 'position.z', 'scale': math.pi / 180,
                'function': 'cos'},
    }  # fmt: skip
    spec = spec_of([*names, *extra], ['left', 'right'])
    content = {**GOOD, 'sources': {n: {'type': t, 'topic': n} for n, (t, _) in fields.items()}}
    content['observation'] = {
        **{
            name: dict(zip(('source', 'field'), name.split('.', 1), strict=True)) for name in names
        },
        **extra,
    }
    inputs = Inputs(read(tmp_path, content, spec))
    angles = np.array([0.3, -0.4, 2.5])
    q = quaternion(*angles)
    messages = [
        Imu(orientation=q, angular_velocity=Vector3(x=1.0), linear_acceleration=Vector3(z=9.8)),
        Odometry(),
        Twist(angular=Vector3(z=2.0)),
        TwistStamped(twist=Twist(linear=Vector3(y=3.0))),
        Pose(orientation=q),
        PoseStamped(),
    ]
    messages[1].pose.pose.position.z, messages[1].twist.twist.linear.x = 4.0, 5.0
    messages[4].position.x, messages[4].position.y, messages[4].position.z = 4.0, 6.0, 30.0
    messages[5].pose.position.x = 7.0
    for i, message in enumerate(messages):
        assert inputs.take(i, message, 0.0) == (i == 5)
    np.testing.assert_allclose(
        inputs.observation([0.0, 0.5]),
        [*angles, 1, 9.8, q.w, 4, 5, 2, 3, 6, 2.5, 7,
         4 - 2 * math.pi, 0.5, 6, math.sqrt(3) / 2],
    )  # fmt: skip
    inputs.take(0, Imu(orientation=Quaternion(w=0.0)), 0.1)
    assert 'quaternion 0.0, 0.0, 0.0, 0.0, expected one of length 1' in inputs.fault(0.1)


def quaternion(roll: float, pitch: float, yaw: float) -> Quaternion:
    """Return turns about the fixed axes x, y, z in this order, as a product of quaternions."""
    product = np.array([1.0, 0.0, 0.0, 0.0])
    for axis, angle in enumerate((roll, pitch, yaw)):
        turn = np.zeros(4)
        turn[0], turn[1 + axis] = math.cos(angle / 2), math.sin(angle / 2)
        w, v, w2, v2 = turn[0], turn[1:], product[0], product[1:]
        product = np.array([w * w2 - v @ v2, *(w * v2 + w2 * v + np.cross(v, v2))])
    w, x, y, z = product.tolist()
    return Quaternion(w=w, x=x, y=y, z=z)


@pytest.mark.parametrize('field', ['orientation', 'orientation.v', 'header.frame_id', '', 'a..b'])
def test_a_field_that_is_no_number(tmp_path: Path, field: str) -> None:
    content = changed('sources', 'imu', to={'type': 'sensor_msgs/Imu', 'topic': 'imu'})
    content['observation']['b'] = {'source': 'imu', 'field': field or '.'}
    with pytest.raises(UserError, match=r'source imu: .* is no number in sensor_msgs/Imu'):
        Inputs(read(tmp_path, content))


def test_without_a_file_the_vector_is_the_observation() -> None:
    robot = plain_robot(SPEC, 0.5, True)
    inputs = Inputs(robot)
    assert inputs.take(0, Float64MultiArray(data=[1.0, 2.0, 3.0]), 0.0)
    assert inputs.observation(NO_ACTION).tolist() == [1, 2, 3]
    inputs.take(0, Float64MultiArray(data=[1.0, 2.0, 3.0, 4.0]), 0.0)
    assert inputs.fault(0.0) == 'topic observation: has 4 values, expected 3'


# ---- commands


def test_numbers_and_back(tmp_path: Path) -> None:
    commands = CommandMap(read(tmp_path, GOOD).command)
    assert commands.low == [-1, -1]
    assert commands.high == [1, 3]
    numbers = commands.numbers(np.array([0.5, -0.25], dtype=np.float32))
    assert numbers == [-0.25, 0.0]
    assert commands.action(numbers) == [0.5, -0.25]
    assert np.isnan(commands.numbers(np.array([np.nan, 0.0]))[1]), 'for the gate to see'
    content = changed('command', 'outputs', 1, 'limits', to=[-0.5, 0.5])
    commands = CommandMap(read(tmp_path, content).command)
    numbers = commands.numbers(np.array([-1.0, 1.0]))
    assert numbers == [1.0, 0.5], "clipped to the robot's limits"
    assert commands.action(numbers) == [0.25, 1.0], 'what it amounts to'


def test_every_kind_of_command(tmp_path: Path) -> None:
    stamp, numbers = Time(sec=5), [0.5, 0.75]
    message = CommandMap(read(tmp_path, GOOD).command).message(numbers, 'which', stamp)
    assert isinstance(message, Float64MultiArray)
    assert (message.data.tolist(), message.layout.dim[0].label) == ([0.5, 0.75], 'which')

    outputs = [{'action': 'right', 'joint': 'r'}, {'action': 'left', 'joint': 'l'}]
    trajectory = {'type': 'trajectory_msgs/JointTrajectory', 'topic': 't', 'outputs': outputs}
    content = {**GOOD, 'command': {**trajectory, 'time_from_start': 0.25, 'frame_id': 'base'}}
    message = CommandMap(read(tmp_path, content).command).message(numbers, '', stamp)
    assert message.joint_names == ['r', 'l']
    assert message.header.stamp == Time(), 'to start at once'
    assert message.points[0].positions.tolist() == [0.5, 0.75]
    assert message.points[0].time_from_start.nanosec == 250_000_000
    content['command']['field'] = 'velocities'
    message = CommandMap(read(tmp_path, content).command).message(numbers, '', stamp)
    assert message.points[0].velocities.tolist() == [0.5, 0.75]
    del content['command']['time_from_start']
    with pytest.raises(UserError, match='time_from_start is missing'):
        read(tmp_path, content)

    outputs = [{'action': 'right', 'field': 'linear.x'}, {'action': 'left', 'field': 'angular.z'}]
    content = {
        **GOOD,
        'command': {'type': 'geometry_msgs/Twist', 'topic': 't', 'outputs': outputs},
    }
    message = CommandMap(read(tmp_path, content).command).message(numbers, '', stamp)
    assert (message.linear.x, message.angular.z, message.linear.y) == (0.5, 0.75, 0.0)
    content['command'] |= {'type': 'geometry_msgs/TwistStamped', 'frame_id': 'base'}
    message = CommandMap(read(tmp_path, content).command).message(numbers, '', stamp)
    assert (message.twist.linear.x, message.twist.angular.z) == (0.5, 0.75)
    assert (message.header.stamp, message.header.frame_id) == (stamp, 'base')
    outputs[1]['field'] = 'angular'
    with pytest.raises(UserError, match=r"field is 'angular', expected one of linear.x, "):
        read(tmp_path, content)
    outputs[1]['field'] = 'linear.x'
    with pytest.raises(UserError, match=r'outputs has linear.x twice'):
        read(tmp_path, content)


@pytest.mark.parametrize('field', ['positions', 'velocities', 'effort'])
def test_trajectories_that_a_default_controller_takes(tmp_path: Path, field: str) -> None:
    """Positions in every point, at rest in the end, times that go up: what it checks."""
    outputs = [{'action': 'right', 'joint': 'b'}, {'action': 'left', 'joint': 'a'}]
    command = {'type': 'trajectory_msgs/JointTrajectory', 'topic': 't', 'outputs': outputs}
    content = {**GOOD, 'command': {**command, 'time_from_start': 0.25, 'field': field}}
    robot = read(tmp_path, content)
    inputs = Inputs(robot)
    inputs.take(0, joint_state('abc', 1.0, 2.0, 3.0), 0.0)
    assert inputs.measured() == [2.0, 1.0], "in the command's order"
    message = CommandMap(robot.command).message([0.5, 0.75], '', Time(), inputs.measured())
    times = [p.time_from_start.sec + p.time_from_start.nanosec * 1e-9 for p in message.points]
    assert times == sorted(set(times))
    assert all(len(point.positions) == 2 for point in message.points)
    assert not any(message.points[-1].velocities)
    expected = {'positions': [0.5, 0.75], 'velocities': [2.125, 1.1875], 'effort': [2.0, 1.0]}
    assert message.points[0].positions.tolist() == expected[field]
    assert getattr(message.points[0], field).tolist() == [0.5, 0.75]


# ---- the examples

POLICIES = {
    'half_cheetah': ('HalfCheetah-v5', None, None),
    'ros2_control': ('Hopper-v5', None, None),
    'diff_drive': (
        '',
        [
            *('goal.x', 'goal.y', 'heading.sin', 'heading.cos', 'speed', 'yaw_rate'),
            *('previous.forward', 'previous.turn'),
        ],
        ['forward', 'turn'],
    ),
}
# With a history, for a policy without names.
QUADRUPED = {'observations': 225, 'actions': 12, 'neuron': 'relu'}


@pytest.mark.parametrize('path', sorted(EXAMPLES.glob('*.yaml')), ids=lambda path: path.stem)
def test_the_examples_fit_their_policies(path: Path) -> None:
    task, observations, actions = POLICIES.get(path.stem, ('', None, None))
    if task:
        pytest.importorskip('mujoco')
        from proxy_snn_control.learning.tasks import describe, make_environment

        described = describe(make_environment(task))
        observations, actions = described.observation_names, described.action_names
    if path.stem == 'quadruped':
        spec = random_policy(**QUADRUPED)[0]
    else:
        spec = spec_of(list(observations or ()), list(actions or ()))
    robot = load_robot(str(path), spec, 0.5, False)
    Inputs(robot)
    commands = CommandMap(robot.command)
    action = np.linspace(-0.2, 0.2, spec.action_size)
    np.testing.assert_allclose(commands.action(commands.numbers(action)), action)
    commands.message(commands.numbers(action), '', Time())


def test_a_quadruped_with_an_ordinary_policy() -> None:
    """Isaac Lab's terms, from messages to joint positions."""
    from proxy_snn_control.policy import Policy

    policy = Policy(*random_policy(**QUADRUPED))
    robot = load_robot(str(EXAMPLES / 'quadruped.yaml'), policy.spec, 0.5, False)
    inputs, commands = Inputs(robot, period=0.02), CommandMap(robot.command)
    names = [output.joint for output in robot.command.outputs]
    default = [output.offset for output in robot.command.outputs]
    upright = Imu(orientation=Quaternion(w=1.0), angular_velocity=Vector3(z=4.0))
    raw = [0.0] * 12
    inputs.take(2, Twist(linear=Vector3(x=0.5), angular=Vector3(z=-1.0)), 0.0)
    for step in range(6):
        now = 0.02 * step
        stamp = Header(stamp=Time(sec=10, nanosec=round(now * 1e9)))
        upright.header = stamp
        moved = [value + 0.1 * step for value in default]
        velocity = [20.0] * 12
        state = JointState(header=stamp, name=names, position=moved, velocity=velocity)
        assert not inputs.take(0, state, now)
        assert inputs.take(1, upright, now)
        observation = inputs.observation(raw, raw)
        raw = policy.act(observation).astype(float).tolist()
    gravity, positions = observation[15:30], observation[45:105]
    assert observation[:15].tolist() == [0, 0, 1] * 5
    assert gravity.tolist() == [0, 0, -1] * 5
    assert observation[30:45].tolist() == [0.5, 0, -1] * 5
    np.testing.assert_allclose(
        positions.reshape(5, 12), np.outer([0.1, 0.2, 0.3, 0.4, 0.5], [1] * 12)
    )
    np.testing.assert_allclose(observation[105:165], 1.0)
    numbers = commands.numbers(np.array(raw, np.float32))
    np.testing.assert_allclose(
        numbers,
        np.clip(np.array(default) + 0.25 * np.array(raw), commands.low, commands.high),
        atol=1e-6,
    )
    assert inputs.measured() == moved, 'where a ramp begins'


def test_vectors_and_the_angles_that_turn_them(tmp_path: Path) -> None:
    """For the wiring check: a twist in other axes is found where the observation has the angle."""
    entries: dict[str, Any] = {
        'up': {'source': 'odom', 'field': 'twist.twist.linear.z', 'frame': 'world'},
        'ahead': {'source': 'odom', 'field': 'twist.twist.linear.x', 'frame': 'world'},
        'rate': {'source': 'imu', 'field': 'angular_velocity.y', 'scale': 2.0},
        'pitch': {'source': 'imu', 'field': 'orientation.pitch', 'scale': -1, 'offset': 0.1},
        'down': {'source': 'imu', 'field': 'orientation.gravity.z'},
        'w': {'source': 'imu', 'field': 'orientation.w'},
    }
    sources = {
        'odom': {'type': 'nav_msgs/Odometry', 'topic': 'odom'},
        'imu': {'type': 'sensor_msgs/Imu', 'topic': 'imu'},
    }
    content = {**GOOD, 'sources': sources, 'observation': entries}
    spec = spec_of(list(entries), ['left', 'right'])
    nowhere, pitch = (-1, 1.0, 0.0), (3, -1.0, 0.1)
    linear, angular = read(tmp_path, content, spec).vectors()
    axes = ((1, 1.0, 0.0), nowhere, (0, 1.0, 0.0))
    angles = (nowhere, pitch, nowhere)
    assert linear == Vector('topic odom: twist.twist.linear', 'world', axes, angles)
    axes = (nowhere, (2, 2.0, 0.0), nowhere)
    assert angular == Vector('topic imu: angular_velocity', '', axes, angles)
    entries['pitch']['function'] = 'sin'
    assert read(tmp_path, content, spec).vectors() == []
