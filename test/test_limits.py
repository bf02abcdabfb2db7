# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Limits of joints: the assertions of ros2_control's own tests, and reading a URDF.

The cases of the first part are those of joint_limits/test/test_joint_saturation_limiter.cpp in
ros2_control (Apache-2.0, Stogl Robotics Consulting, 2024), for one joint with position within 5,
velocity within 2, acceleration within 5 and deceleration within 7.5.
"""

import itertools
import math

from proxy_snn_control.control.limits import JointLimit, read_urdf, saturate
from proxy_snn_control.control.safety import SafetyGate, SafetySettings
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.policy import UserError
import pytest

JOINT = JointLimit(-5.0, 5.0, 2.0, 5.0, 7.5)
NO_DECELERATION = JointLimit(-5.0, 5.0, 2.0, 5.0)


def enforce(
    seconds: float,
    now: tuple[float, float],
    position: float | None,
    velocity: float | None,
    acceleration: float = 0.0,
    joint: JointLimit = JOINT,
) -> tuple[float, float, float, bool]:
    p, v, a, limited = saturate(
        [joint],
        seconds,
        [now[0]],
        [now[1]],
        None if position is None else [position],
        None if velocity is None else [velocity],
        [acceleration],
    )
    return p[0], v[0], a[0], limited


@pytest.mark.parametrize(
    ('velocity', 'acceleration', 'expected'), [(1.0, 0.0, 1.0), (1.5, 2.9, 2.9)]
)
def test_within_limits_nothing_is_limited(
    velocity: float, acceleration: float, expected: float
) -> None:
    found = enforce(1.0, (0.0, 0.0), 1.0, velocity, acceleration)
    assert found == (1.0, velocity, expected, False)


@pytest.mark.parametrize('sign', [1, -1])
def test_position_and_velocity_that_are_too_fast(sign: int) -> None:
    assert enforce(1.0, (-2.0 * sign, 0.0), 1.0 * sign, 3.0 * sign) == (
        0.0,
        2.0 * sign,
        2.0 * sign,
        True,
    )


@pytest.mark.parametrize('sign', [1, -1])
def test_a_position_that_is_too_fast(sign: int) -> None:
    p, _, a, limited = enforce(1.0, (0.0, 1.9 * sign), 4.0 * sign, None)
    assert (p, limited) == (2.0 * sign, True)
    assert a == pytest.approx(0.1 * sign)


@pytest.mark.parametrize('sign', [1, -1])
def test_a_velocity_that_is_too_fast(sign: int) -> None:
    _, v, a, limited = enforce(1.0, (-2.0 * sign, 1.9 * sign), None, 3.0 * sign)
    assert (v, limited) == (2.0 * sign, True)
    assert a == pytest.approx(0.1 * sign)


def test_a_position_beyond_the_range() -> None:
    p, _, a, limited = enforce(1.0, (5.0, 0.0), 20.0, None)
    assert (p, a, limited) == (5.0, 0.0, True)


def test_close_to_the_end_of_the_range_it_decelerates() -> None:
    """0.15 are needed to stop, and 0.2 seconds: four cycles of 0.05."""
    where, speed = 4.851, 1.5
    position, velocity = 4.926, 1.5
    for expected in (True, True, True, False):
        asked = velocity
        position, velocity, acceleration, limited = enforce(
            0.05, (where, speed), position, velocity
        )
        assert limited == expected
        assert velocity <= asked
        assert position < 5.0 + 1e-6
        assert acceleration <= 0.0
        where += velocity * 0.05 + 0.5 * acceleration * 0.05**2
        speed += acceleration * 0.05
        assert where < 5.0


@pytest.mark.parametrize('velocity', [0.5, None])
def test_an_acceleration_that_is_too_high(velocity: float | None) -> None:
    p, v, a, limited = enforce(0.05, (0.1, 0.1), 0.125, velocity)
    assert limited
    assert (p, v, a) == pytest.approx((0.11125, 0.35, 5.0))


def test_a_velocity_alone_that_accelerates_too_much() -> None:
    _, v, a, limited = enforce(0.05, (0.1, 0.1), None, 0.5)
    assert limited
    assert (v, a) == pytest.approx((0.35, 5.0))


@pytest.mark.parametrize(
    ('joint', 'now', 'asked', 'expected'),
    [
        (JOINT, (0.3, 0.5), (0.305, 0.1), (0.315625, 0.125, -7.5)),
        (NO_DECELERATION, (1.0, 1.0), (1.025, 0.5), (1.04375, 0.75, -5.0)),
    ],
)
def test_a_deceleration_that_is_too_high(
    joint: JointLimit,
    now: tuple[float, float],
    asked: tuple[float, float],
    expected: tuple[float, float, float],
) -> None:
    *found, limited = enforce(0.05, now, *asked, joint=joint)
    assert limited
    assert found == pytest.approx(expected)


# ---- in the gate


def gate(interface: str, joint: JointLimit, **settings: object) -> SafetyGate:
    given = SafetySettings(**settings)
    return SafetyGate([-9.0], [9.0], 0.05, StopLatch(), given, interface, [joint])


def test_positions_that_are_requested_at_once_come_within_all_limits() -> None:
    """However a policy jumps: never faster, never harder, never beyond the range."""
    limits = JointLimit(-1.0, 1.0, 2.0)
    under_test = gate('position', limits, acceleration=[8.0], safe_command=[0.0])
    under_test.start(0.0)
    sent = [0.0]
    for i in range(1, 400):
        wanted = [9.0, -9.0, 0.3][i // 40 % 3]
        sent.append(under_test.check([wanted], '', 0.05 * i)[0][0])
    speeds = [(b - a) / 0.05 for a, b in itertools.pairwise(sent)]
    changes = [(b - a) / 0.05 for a, b in itertools.pairwise(speeds)]
    assert max(map(abs, sent)) <= 1.0
    assert max(map(abs, speeds)) <= 2.0 + 1e-6
    # In the one step in which it reaches its velocity limit it averages differently.
    assert max(map(abs, changes)) <= 1.5 * 8.0 + 1e-6
    assert sorted(map(abs, changes))[-20] <= 8.0 + 1e-6
    assert max(sent) > 0.9
    assert min(sent) < -0.9


def test_velocities_brake_before_the_end_of_the_range() -> None:
    under_test = gate('velocity', JointLimit(-1.0, 1.0, 2.0), slew_rate=[8.0])
    under_test.start(0.0)
    where = 0.0
    for i in range(1, 200):
        under_test.measure([where])
        (speed,), fault = under_test.check([9.0], '', 0.05 * i)
        assert not fault
        assert abs(speed) <= 2.0
        where += 0.05 * speed
        assert where <= 1.0 + 1e-9
    assert where > 0.9
    with pytest.raises(UserError, match='slew_rate is the acceleration'):
        gate('velocity', JOINT, acceleration=[1.0])


def test_after_a_pause_a_position_starts_from_rest() -> None:
    """Also where what limits it was off for a time, and after commands that were lost."""
    limited = SafetySettings(acceleration=[8.0])
    step = 8.0 * 0.05 * 0.05

    def moving() -> tuple[SafetyGate, float]:
        under_test = SafetyGate([-9.0], [9.0], 0.05, StopLatch(), limited)
        under_test.start(0.0)
        for i in range(1, 11):
            (last,), _ = under_test.check([9.0], '', 0.05 * i)
        assert last > 20 * step
        return under_test, last

    under_test, last = moving()
    assert 1.5 * step < under_test.check([9.0], '', 0.6)[0][0] - last, 'a single one is lost'
    under_test, last = moving()
    assert under_test.check([9.0], '', 1.0)[0][0] - last <= step
    under_test, last = moving()
    for i in range(11, 15):
        under_test.check([9.0], '', 0.05 * i)
        under_test.take_back()
    assert under_test.check([9.0], '', 0.75)[0][0] - last <= step
    under_test, last = moving()
    under_test.change(SafetySettings())
    for i in range(11, 15):
        (last,), _ = under_test.check([last - 0.1], '', 0.05 * i)
    under_test.change(limited)
    assert -step <= under_test.check([-9.0], '', 0.75)[0][0] - last <= 0, 'not the old way'


def test_a_joint_that_stands_beyond_its_range_does_not_leap_back() -> None:
    limits = JointLimit(-1.0, 1.0, 2.0)
    for wanted, expected in ((0.0, 0.0), (9.0, 0.0), (-9.0, -8.0 * 0.05)):
        under_test = gate('velocity', limits, slew_rate=[8.0])
        under_test.start(0.0)
        under_test.measure([1.3])
        assert under_test.check([wanted], '', 0.05)[0] == pytest.approx([expected])


def test_a_joint_whose_position_is_not_known_takes_no_limit_from_others() -> None:
    settings, joints = SafetySettings(slew_rate=[8.0, 8.0]), [JointLimit(-1.0, 1.0, 2.0)] * 2
    under_test = SafetyGate(
        [-9.0, -9.0], [9.0, 9.0], 0.05, StopLatch(), settings, 'velocity', joints
    )
    under_test.start(0.0)
    where = 0.0
    for i in range(1, 100):
        under_test.measure([where, None])
        (speed, _), _ = under_test.check([9.0, 0.0], '', 0.05 * i)
        where += 0.05 * speed
    assert 0.9 < where <= 1.0 + 1e-9


def test_a_position_from_before_the_activation_is_not_held() -> None:
    """Others may have moved the robot: nothing is sent until it is known where it is."""
    for settings in ({}, {'hold': True}, {'start_command': [0.1]}):
        under_test = gate('position', JointLimit(), **settings)
        under_test.start(0.0)
        under_test.measure([0.6])
        assert list(under_test.check(None, 'no longer active', 0.0)[0]) == [0.6]
        under_test.start(9.0)
        for unknown in ([], [None]):
            under_test.measure(unknown)
            assert list(under_test.check(None, 'stale', 9.5)[0]) == []
        under_test.measure([-0.5])
        assert list(under_test.check(None, 'stale', 9.6)[0]) == [-0.5]


def test_once_something_was_sent_it_goes_on_from_there() -> None:
    """And not from where the joint is on its way there, when that becomes known."""
    for now, hold in enumerate((False, True)):
        under_test = gate('position', JointLimit(), hold=hold, safe_command=[0.5])
        under_test.start(now)
        under_test.measure([])
        assert list(under_test.check(None, 'stale', now + 0.1)[0]) == [0.5]
        under_test.measure([1.5])
        assert list(under_test.check(None, 'stale', now + 0.2)[0]) == [0.5]
        under_test.change(SafetySettings([0.5], slew_rate=[1.0]))
        assert under_test.check([-1.0], '', now + 0.25)[0] == pytest.approx([0.45])


def test_a_position_begins_where_the_robot_stands() -> None:
    for settings in ({'ramp_in': 1.0}, {'slew_rate': [0.5]}):
        under_test = gate('position', JointLimit(), **settings)
        under_test.start(0.0)
        assert list(under_test.check(None, 'stale', 0.0)[0]) == [], 'no place is safer than others'
        under_test.measure([1.0])
        assert list(under_test.check(None, 'stale', 0.0)[0]) == [1.0]
        (first,), _ = under_test.check([0.0], '', 0.05)
        assert 0.95 <= first <= 1.0
    configured = gate('position', JointLimit(), start_command=[0.7])
    assert list(configured.check(None, 'stale', 0.0)[0]) == [0.7]
    there = gate('position', JointLimit(), safe_command=[0.2])
    there.measure([1.0])
    assert list(there.check(None, 'stale', 0.0)[0]) == [0.2], 'an explicit safe command is taken'


def test_what_was_sent_last_is_where_it_goes_on() -> None:
    """Through deactivate and activate, and through cleanup and configure."""
    first = SafetyGate([-1.0], [1.0], 0.05, StopLatch(), SafetySettings(hold=True))
    first.start(0.0)
    assert list(first.check([0.593], '', 0.1)[0]) == [0.593]
    assert list(first.check(None, 'no longer active', 0.2)[0]) == [0.593]
    slewed = SafetySettings(hold=True, slew_rate=[0.5])
    again = SafetyGate([-1.0], [1.0], 0.05, StopLatch(), slewed, last=first.last)
    for under_test in (first, again):
        under_test.change(slewed)
        under_test.start(5.0)
        assert list(under_test.check(None, 'late', 5.0)[0]) == [0.593], 'a late source: held'
        assert list(under_test.check([0.204], '', 5.05)[0]) == pytest.approx([0.568])


# ---- URDF

URDF = """<?xml version="1.0"?>
<robot name="leg">
  <joint name="knee" type="revolute">
    <limit lower="-2" upper="0.5" velocity="7" effort="30"/>
  </joint>
  <joint name="wheel" type="continuous"><limit velocity="3" effort="0"/></joint>
  <joint name="rail" type="prismatic"><limit upper="0.2" velocity="1" effort="5"/></joint>
  <joint name="bare" type="continuous"/>
  <joint name="broken" type="revolute"/>
  <joint name="text" type="revolute"><limit lower="low" upper="1" velocity="1" effort="1"/></joint>
  <joint name="turned" type="revolute"><limit lower="1" upper="0" velocity="1" effort="1"/></joint>
</robot>
"""


def test_a_urdf() -> None:
    found = read_urdf(URDF, 'leg.urdf', ['wheel', 'knee', 'rail', 'bare'])
    infinite = math.inf
    assert found == {
        'knee': JointLimit(-2.0, 0.5, 7.0, effort=30.0),
        'wheel': JointLimit(velocity=3.0, effort=infinite),
        'rail': JointLimit(0.0, 0.2, 1.0, effort=5.0),
        'bare': JointLimit(),
    }


@pytest.mark.parametrize(
    ('text', 'joint', 'reported'),
    [
        (URDF, 'hip', 'urdf leg.urdf: has no joint hip'),
        (URDF, 'broken', 'joint broken is revolute and has no limit'),
        (URDF, 'text', "joint text: lower is 'low', expected a number"),
        (URDF, 'turned', 'joint turned: lower 1.0 is above upper 0.0'),
        (URDF.replace('"0.5"', '"inf"').replace('"-2"', '"inf"'), 'knee', 'lower inf'),
        ('<robot', 'knee', 'urdf leg.urdf: is no XML'),
        ('<mujoco/>', 'knee', 'begins with <mujoco>, expected <robot>'),
        ('<!DOCTYPE r [<!ENTITY a "b">]><robot/>', 'knee', 'has a document type'),
    ],
)
def test_a_urdf_without_limits(text: str, joint: str, reported: str) -> None:
    with pytest.raises(UserError, match=reported):
        read_urdf(text, 'leg.urdf', [joint])
