# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Observations, in simulated time: pairing by stamps, frames and angles, history, vectors."""

import math
from pathlib import Path
from typing import Any

from conftest import random_policy
from control_kit import header, joints, PERIOD, robot_of, trunk, TWO_SOURCES, two_spec
from geometry_msgs.msg import Twist, Vector3
from hypothesis import given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
import numpy as np
from proxy_snn_control.control.cdr import read_vector, VectorReader, VectorWriter
from proxy_snn_control.control.messages import number_array
from proxy_snn_control.control.observation import Inputs
from proxy_snn_control.control.robot import Robot
from proxy_snn_control.policy import ObservationError, PolicySpec, UserError
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray
import yaml

# ---- pairing


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(robot_of(tmp_path, TWO_SOURCES, two_spec()[0]), period=PERIOD)


def play(
    inputs: Inputs, events: list[tuple[float, int, float]], stamped: bool = True
) -> list[Any]:
    """Deliver (time, source, step) in the order of time; the observations that are answered."""
    found = []
    for at, source, step in sorted(events):
        stamp = 100 + step * PERIOD if stamped else 0.0
        message = (joints, trunk)[source](stamp, step)
        if inputs.take(source, message, at):
            found.append(inputs.observation([0.0]).tolist())
    return found


def both(steps: range, lost: set[tuple[int, int]] = frozenset()) -> list[tuple[float, int, float]]:
    """Both sources each step; the second 1 ms behind the first."""
    return [
        (step * PERIOD + 0.001 * source, source, step)
        for step in steps
        for source in (0, 1)
        if (source, step) not in lost
    ]


@pytest.mark.parametrize('stamped', [True, False])
def test_a_lost_message_costs_one_step(inputs: Inputs, stamped: bool) -> None:
    lost = {(0, 5), (1, 11), (0, 17), (1, 17)}
    found = play(inputs, both(range(25), lost), stamped)
    assert found == [[s, s] for s in range(25) if s not in (5, 11, 17)]
    assert inputs.missed == (3 if stamped else 0)


def test_doubled_and_overtaken_messages_cost_nothing_more(inputs: Inputs) -> None:
    events = both(range(20))
    events += [(step * PERIOD + 0.004, 0, step) for step in range(0, 20, 3)]  # doubled
    events += [(9 * PERIOD + 0.005, 1, 7)]  # long overtaken
    assert play(inputs, events) == [[s, s] for s in range(20)]
    assert inputs.streams[0].dropped == {'repeated': 7}
    assert inputs.streams[1].dropped == {'late': 1}
    assert inputs.ignored == 8


@pytest.mark.parametrize('delay', [0.015, 0.035, 0.075])
def test_a_source_that_is_late_is_paired_with_its_own_time(inputs: Inputs, delay: float) -> None:
    events = [(step * PERIOD, 0, step) for step in range(30)]
    events += [(step * PERIOD + delay, 1, step) for step in range(30)]
    assert play(inputs, events) == [[s, s] for s in range(30)]
    (_, age, skew), (_, _, other) = inputs.timing(30 * PERIOD + delay)
    assert (skew, other) == (0.0, 0.0)
    assert age > delay


def test_jitter_of_less_than_half_a_period(inputs: Inputs) -> None:
    rng = np.random.default_rng(0)
    events = [
        (step * PERIOD + rng.uniform(0, 0.009), source, step)
        for step in range(200)
        for source in (0, 1)
    ]
    assert play(inputs, events) == [[s, s] for s in range(200)]


def test_a_quick_source_gives_what_it_published_at_the_slow_ones_time(inputs: Inputs) -> None:
    events = [(step * PERIOD + 0.003, 0, step) for step in range(20)]
    events += [(tick * PERIOD / 10, 1, tick / 10) for tick in range(200)]
    found = play(inputs, events)
    assert len(found) == 20
    assert all(abs(angle - height) <= 0.1 for angle, height in found)


def test_clocks_that_are_apart_are_reported(inputs: Inputs) -> None:
    for step in range(30):
        inputs.take(0, joints(100 + step * PERIOD, 1.0), step * PERIOD)
        inputs.take(1, trunk(103 + step * PERIOD, 1.0), step * PERIOD)
    assert not inputs.ready
    fault = inputs.fault(30 * PERIOD)
    assert (
        'topics joint_states and odometry: no messages with stamps within 0.01 s of each other'
        in fault
    )
    assert 'their last stamps are 3.000 s apart' in fault


def test_of_two_clocks_on_one_topic_the_first_counts(inputs: Inputs) -> None:
    """One that is skewed, steps back or is from the future. One that is set anew is followed."""
    for other in (5.0, 1e6, 99.0):
        inputs.forget(0.0)
        for step in range(20):
            now = step * PERIOD
            inputs.take(1, trunk(200 + now, 2.0), now)
            inputs.take(0, joints(200 + now, 1.0), now)
            assert not inputs.take(0, joints(other + now, 9.0), now + 0.002)
            assert inputs.observation([0.0]).tolist() == [1.0, 2.0]
    assert inputs.streams[0].dropped['of another clock'] == 60
    inputs.forget(0.0)
    inputs.take(0, joints(200, 1.0), 0.0)
    assert not inputs.take(0, joints(7.0, 3.0), 0.02)
    inputs.take(0, joints(7.02, 4.0), 0.04)
    assert inputs.streams[0].samples[-1].values[0] == 4.0, 'the next goes on from it: a clock set'


def test_beside_a_publisher_with_stamps_one_without_does_not_count(inputs: Inputs) -> None:
    for step in range(20):
        now = step * PERIOD
        inputs.take(1, trunk(200 + now, 2.0), now)
        inputs.take(0, joints(200 + now, 1.0), now)
        assert not inputs.take(0, joints(0.0, 9.0), now + 0.002)
        assert inputs.observation([0.0]).tolist() == [1.0, 2.0]
    samples = inputs.streams[0].samples
    assert samples[-1].values[0] == 1.0
    inputs.take(0, joints(0.0, 9.0), 20 * PERIOD + 10.0)
    assert samples[-1].values[0] == 9.0, 'the other one has been silent for a timeout'


def three_joints(folder: Path, of_b: str = 'position') -> Inputs:
    """Return joints a and b that are observed, and c, of which the command begins."""
    spec, _ = random_policy(2, 1, (8,), observation_names=('a', 'b'), action_names=('go',))
    content = {
        'sources': {'joints': {**TWO_SOURCES['sources']['joints'], 'timeout': 0.5}},
        'observation': {
            joint: {'source': 'joints', 'joint': joint, 'field': field}
            for joint, field in (('a', 'position'), ('b', of_b))
        },
        'command': {
            **TWO_SOURCES['command'],
            'interface': 'position',
            'outputs': [{'action': 'go', 'joint': 'c'}],
        },
    }
    return Inputs(robot_of(folder, content, spec), period=PERIOD)


def states(stamp: float, **positions: float) -> JointState:
    named = {'name': list(positions), 'position': list(positions.values())}
    return JointState(header=header(stamp), **named)


def test_of_a_message_only_the_joints_that_count_are_read(tmp_path: Path) -> None:
    """Two drivers publish b, each with another joint: the first one's b is read."""
    inputs = three_joints(tmp_path)
    for step in range(4):
        now = step * PERIOD
        inputs.take(0, states(10 + now, b=0.1 * step), now, b'first')
        inputs.take(0, states(10 + now, b=-9.0, a=1.0 + step), now, b'second')
        assert inputs.observation([0.0]).tolist() == [1.0 + step, 0.1 * step]


def test_nothing_of_a_message_that_is_refused_is_read(tmp_path: Path) -> None:
    """Also where what follows completes the joints that came before it."""
    inputs = three_joints(tmp_path, 'velocity')
    assert not inputs.take(0, states(10.0, a=1.0), 0.0)
    assert inputs.take(0, states(10.1, a=3.0, b=0.0), 0.1), 'it has no velocities'
    other = states(10.2, b=0.0)
    other.velocity = [2.0]
    inputs.take(0, other, 0.2)
    assert inputs.observation([0.0]).tolist() == [1.0, 2.0]


def test_where_a_joint_was_long_ago_is_not_where_it_is(tmp_path: Path) -> None:
    """Not after the timeout, nor after an activation, though others are published."""
    inputs = three_joints(tmp_path)
    inputs.take(0, states(10.0, a=0.0, b=0.0, c=0.7), 0.0)
    assert inputs.measured() == [0.7]
    for now, expected in ((0.4, [0.7]), (0.6, [None])):
        inputs.take(0, states(10 + now, a=0.0, b=0.0), now)
        assert inputs.measured() == expected
    inputs.take(0, states(11.0, a=0.0, b=0.0, c=0.3), 1.0)
    assert inputs.measured() == [0.3]
    inputs.forget(1.1)
    inputs.take(0, states(11.2, a=0.0, b=0.0), 1.2)
    assert inputs.measured() == [None]


def test_a_source_that_holds_is_not_waited_for(tmp_path: Path) -> None:
    content = yaml.safe_load(yaml.safe_dump(TWO_SOURCES))
    content['sources']['trunk'] |= {'hold': True, 'timeout': 2.0}
    inputs = Inputs(robot_of(tmp_path, content, two_spec()[0]), period=PERIOD)
    assert inputs.take(0, joints(1.0, 1.0), 0.0), 'there is news; but of the other nothing yet'
    assert not inputs.ready
    assert not inputs.take(1, trunk(0.5, 2.0), 0.01)
    for step in range(1, 50):
        assert inputs.take(0, joints(1 + step * PERIOD, step), step * PERIOD)
        assert inputs.observation([0.0]).tolist() == [step, 2.0]
    assert 'on topic odometry' in inputs.fault(2.1)


def test_at_a_rate_slow_sources_hold_and_others_belong_together(tmp_path: Path) -> None:
    robot = robot_of(tmp_path, TWO_SOURCES, two_spec()[0])
    inputs = Inputs(robot, period=PERIOD, freshest=True)
    for tick in range(100):
        now = tick * PERIOD
        inputs.take(0, joints(100 + now, tick), now)
        if tick % 8 == 0:
            inputs.take(1, trunk(100 + now, tick), now)
        inputs.pair(now + 0.001)
        if tick > 20:
            assert inputs.observation([0.0]).tolist() == [tick, tick - tick % 8]
    inputs.forget(3.0)
    for tick in range(40):
        now = 3.0 + tick * PERIOD
        if tick != 30:
            inputs.take(0, joints(200 + now, tick), now)
        inputs.take(1, trunk(200 + now, tick), now)
        inputs.pair(now + 0.001)
        if tick > 5:
            expected = tick if tick != 30 else 29
            assert inputs.observation([0.0]).tolist() == [expected, expected]


# ---- what a robot file can express

ANGLES = {
    'sources': {
        'odom': {'type': 'nav_msgs/Odometry', 'topic': 'odom'},
        'imu': {'type': 'sensor_msgs/Imu', 'topic': 'imu'},
    },
    'observation': {
        'vx': {'source': 'odom', 'field': 'twist.twist.linear.x', 'frame': 'world'},
        'vz': {'source': 'odom', 'field': 'twist.twist.linear.z', 'frame': 'world'},
        'gx': {'source': 'imu', 'field': 'orientation.gravity.x'},
        'gz': {'source': 'imu', 'field': 'orientation.gravity.z'},
        'pitch': {'source': 'imu', 'field': 'orientation.pitch', 'unwrap': True},
        'wy': {'source': 'imu', 'field': 'angular_velocity.y'},
    },
    'command': TWO_SOURCES['command'],
}


def angle_inputs(folder: Path) -> Inputs:
    names = tuple(ANGLES['observation'])
    spec = random_policy(6, 1, observation_names=names, action_names=('go',))[0]
    return Inputs(robot_of(folder, ANGLES, spec))


def turned(pitch: float, yaw: float = 0.0) -> tuple[Odometry, Imu]:
    """Return what a body sends that moves at 1 m/s along its own x axis."""
    c, s, cy, sy = (f(a / 2) for a in (pitch, yaw) for f in (math.cos, math.sin))
    quaternion = {'w': c * cy, 'x': -s * sy, 'y': s * cy, 'z': c * sy}
    odom, imu = Odometry(), Imu()
    odom.twist.twist.linear = Vector3(x=1.0)
    for name, value in quaternion.items():
        setattr(odom.pose.pose.orientation, name, value)
        setattr(imu.orientation, name, value)
    return odom, imu


def test_frames_gravity_and_angles_beyond_a_right_angle(tmp_path: Path) -> None:
    """Twice round and back, as MuJoCo's hinge has it; yaw changes nothing about pitch."""
    inputs = angle_inputs(tmp_path)
    pitches = np.concatenate([np.linspace(0, 13, 60), np.linspace(13, -4, 90)])
    for i, pitch in enumerate(pitches):
        yaw = 0.02 * i
        for source, message in enumerate(turned(pitch, yaw)):
            inputs.take(source, message, 0.0)
        expected = [
            *(math.cos(pitch) * math.cos(yaw), -math.sin(pitch)),
            *(math.sin(pitch), -math.cos(pitch), pitch, 0.0),
        ]
        np.testing.assert_allclose(inputs.observation([0.0]), expected, atol=1e-9)


@pytest.mark.parametrize(
    ('part', 'reported'),
    [('orientation', 'no orientation'), ('angular_velocity', 'no angular_velocity')],
)
def test_an_imu_without_an_estimate_is_reported(tmp_path: Path, part: str, reported: str) -> None:
    inputs = angle_inputs(tmp_path)
    odom, imu = turned(0.0)
    covariance = getattr(imu, f'{part}_covariance')
    covariance[0] = -1.0
    inputs.take(0, odom, 0.0)
    inputs.take(1, imu, 0.0)
    assert reported in inputs.fault(0.0)
    covariance[0] = 0.0
    inputs.take(1, imu, 0.0)
    assert inputs.fault(0.0) == ''


@pytest.mark.parametrize(
    ('entry', 'reported'),
    [
        ({'source': 'imu', 'field': 'orientation.x', 'frame': 'world'}, 'cannot be turned'),
        ({'source': 'odom', 'field': 'pose.pose.position.x', 'frame': 'map'}, "frame is 'map'"),
        ({'source': 'imu', 'field': 'orientation.gravity.w'}, 'is no number'),
        ({'source': 'imu', 'field': 'orientation.yaw', 'wrap': True, 'unwrap': True}, 'both true'),
        (
            {'source': 'imu', 'field': 'orientation.yaw', 'function': 'tan'},
            'expected one of sin, c',
        ),
    ],
)
def test_what_cannot_be_turned(tmp_path: Path, entry: dict[str, Any], reported: str) -> None:
    content = yaml.safe_load(yaml.safe_dump(ANGLES))
    content['observation']['vx'] = entry
    spec = random_policy(
        6, 1, observation_names=tuple(content['observation']), action_names=('go',)
    )[0]
    with pytest.raises(UserError, match=reported):
        Inputs(robot_of(tmp_path, content, spec))


def history_robot(folder: Path, spec: PolicySpec, **history: Any) -> Robot:
    content = {
        'sources': {
            'joints': {'type': 'sensor_msgs/JointState', 'topic': 'joint_states'},
            'order': {'type': 'geometry_msgs/Twist', 'topic': 'cmd_vel', 'hold': True},
        },
        'observation': {
            'joint.a': {'source': 'joints', 'joint': 'a', 'field': 'position'},
            'order.x': {'source': 'order', 'field': 'linear.x', 'scale': 2.0},
            'joint.did': {'previous_action': 'action[0]', 'raw': True},
        },
        'history': {'steps': 3, **history},
        'command': {**TWO_SOURCES['command'], 'outputs': [{'action': 'action[0]'}]},
    }
    return robot_of(folder, content, spec)


@pytest.mark.parametrize(
    ('history', 'expected'),
    [
        ({}, [1, 2, 10, 2, 2, 20, 3, 2, 30]),
        ({'newest': 'first'}, [3, 2, 30, 2, 2, 20, 1, 2, 10]),
        ({'by': 'group'}, [1, 10, 2, 20, 3, 30, 2, 2, 2]),
    ],
)
def test_history_in_the_orders_that_policies_have(
    tmp_path: Path, history: dict[str, str], expected: list[float]
) -> None:
    inputs = Inputs(history_robot(tmp_path, random_policy(9, 1)[0], **history))
    inputs.take(1, Twist(linear=Vector3(x=1.0)), 0.0)
    for step in (1, 2, 3):
        inputs.take(0, joints(0.0, float(step)), 0.0)
        found = inputs.observation([0.0], [10.0 * step])
        if step == 1:
            assert sorted(found) == sorted([1, 2, 10] * 3), 'the first stands for those before it'
    assert found.tolist() == expected


def test_history_with_names(tmp_path: Path) -> None:
    names = [f'{n}{s}' for s in ('', '[-1]', '[-2]') for n in ('joint.a', 'order.x', 'joint.did')]
    spec = random_policy(9, 1, observation_names=tuple(names))[0]
    robot = history_robot(tmp_path, spec)
    assert robot.layout == tuple((ago, i) for ago in range(3) for i in range(3))
    with pytest.raises(
        UserError, match=r'3 entries and 4 steps make 12 numbers, but the policy h'
    ):
        history_robot(tmp_path, spec, steps=4)
    with pytest.raises(UserError, match=r'steps is 1, expected a whole number from 2'):
        history_robot(tmp_path, spec, steps=1)


# ---- Float64MultiArray as bytes


def test_vectors_are_written_and_read_as_ros_does() -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 2, 17):
        writer = VectorWriter(size)
        for label in ('', 'a', 'ab', 'abc', 'abcd', 'observation 17', 'ü'):
            values = rng.normal(size=size)
            message = number_array(values, label)
            assert (
                deserialize_message(writer.write(values.tolist(), label), Float64MultiArray)
                == message
            )
            found, numbers = read_vector(serialize_message(message))
            assert found == label
            assert numbers.tolist() == values.tolist()
    reader = VectorReader()
    for size, label in [(2, ''), (2, ''), (3, ''), (2, 'a'), (2, 'a'), (2, 'b'), (0, ''), (2, '')]:
        values = rng.normal(size=size)
        found, numbers = reader.read(serialize_message(number_array(values, label)))
        assert (found, numbers.tolist()) == (label, values.tolist())
    several = Float64MultiArray(data=[1.0, 2.0])
    several.layout.dim = (
        number_array([1.0], 'rows').layout.dim + number_array([1.0], 'col').layout.dim
    )
    assert read_vector(serialize_message(several))[0] == 'rows'
    assert read_vector(serialize_message(several))[1].tolist() == [1.0, 2.0]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda b: b'\0\1\0\0' + b))
def test_bytes_that_are_no_vector_are_refused(data: bytes) -> None:
    reader = VectorReader()
    reader.read(VectorWriter(2).write([1.0, 2.0], ''))
    try:
        label, values = read_vector(data)
    except ObservationError:
        with pytest.raises(ObservationError):
            reader.read(data)
        return
    assert values.nbytes <= len(data)
    found, same = reader.read(data)
    assert (found, same.tobytes()) == (label, values.tobytes())
