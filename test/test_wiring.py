# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Wiring mistakes on HalfCheetah: real MuJoCo, a trained policy, and one thing wrong."""

from collections.abc import Callable, Iterator
from pathlib import Path

from conftest import random_policy, rollout
import numpy as np
from proxy_snn_control.control import geometry
from proxy_snn_control.control.robot import Vector
from proxy_snn_control.control.wiring import _in_other_axes, ENOUGH, WINDOW, Wiring
from proxy_snn_control.learning.transitions import whitening
from proxy_snn_control.policy import load_policy, Policy
import pytest

pytest.importorskip('mujoco')

PERIOD = 0.05
JOINTS = ('bthigh', 'bshin', 'bfoot', 'fthigh', 'fshin', 'ffoot')
TWO_SECONDS = round(2 / PERIOD)
SEEDS = (1000, 1001, 1002)

Change = Callable[[np.ndarray], np.ndarray]


def exchange(*pairs: tuple[int, int]) -> Change:
    order = np.arange(17)
    for one, other in pairs:
        order[[one, other]] = order[[other, one]]
    return lambda values: values[order[: len(values)]]


def times(factor: float, *dimensions: int) -> Change:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[list(dimensions)] *= factor
        return values

    return change


# HalfCheetah's base as an Odometry: where x, y, z and roll, pitch, yaw are, of forward and upward
# speed and of the angle.
NOWHERE = (-1, 1.0, 0.0)
BASE = 'topic odom: twist.twist.linear'


def base_vector(frame: str) -> Vector:
    axes, angles = ((8, 1.0, 0.0), NOWHERE, (9, 1.0, 0.0)), (NOWHERE, (1, 1.0, 0.0), NOWHERE)
    return Vector(BASE, frame, axes, angles)


def turned(sign: int) -> Change:
    """Return a change that turns the base's speed: by 1 from the world's axes to the body's."""

    def change(values: np.ndarray) -> np.ndarray:
        x, z, pitch = values[8], values[9], sign * values[1]
        values = values.copy()
        values[8] = np.cos(pitch) * x - np.sin(pitch) * z
        values[9] = np.sin(pitch) * x + np.cos(pitch) * z
        return values

    return change


def findings(
    policy: Policy,
    seed: int = SEEDS[0],
    steps: int = TWO_SECONDS,
    seen: Change = np.array,
    done: Change = np.array,
    period: float = PERIOD,
    noise: float = 0.0,
    known: bool = True,
    frame: str = '',
    stamped: float = 0.0,
) -> list[str]:
    """Return what is found after so many steps.

    `known`: whether the actions are the policy's; `stamped`: seconds between stamps.
    """
    wiring = Wiring(policy, vectors=[base_vector(frame)])
    observations, actions, _ = rollout(policy, steps, seed, noise, seen, done)
    for i, (observation, action) in enumerate(zip(observations, actions, strict=True)):
        stamp = 5 + i * stamped if stamped else 0.0
        wiring.add(observation, action if known else None, 100 + i * period, stamp)
    return wiring.findings(check_period=True)


@pytest.fixture(scope='module')
def cheetah(cheetah_file: Path) -> Policy:
    return load_policy(cheetah_file)


@pytest.mark.parametrize('steps', [TWO_SECONDS, 400])
@pytest.mark.parametrize('noise', [0.0, np.inf])
def test_nothing_is_wrong_with_what_is_right(cheetah: Policy, steps: int, noise: float) -> None:
    for seed in SEEDS:
        assert findings(cheetah, seed, steps, noise=noise) == []
        assert findings(cheetah, seed, steps, noise=noise, known=False) == []


@pytest.mark.parametrize(
    ('one', 'other'), [(i, j) for j in range(6) for i in range(j)], ids=lambda i: JOINTS[i]
)
def test_exchanged_joints(cheetah: Policy, one: int, other: int) -> None:
    change = exchange((2 + one, 2 + other), (11 + one, 11 + other))
    reported = f'joint {JOINTS[one]} and joint {JOINTS[other]} look exchanged'
    for seed in SEEDS:
        (found,) = findings(cheetah, seed, seen=change)
        assert found.startswith(reported), 'the likeliest comes first'


@pytest.mark.parametrize('joint', range(6), ids=JOINTS)
def test_one_sign(cheetah: Policy, joint: int) -> None:
    name = JOINTS[joint]
    for change, what in (
        (times(-1, 2 + joint, 11 + joint), f'joint {name}'),
        (times(-1, 2 + joint), f'{name}.position'),
        (times(-1, 11 + joint), f'{name}.velocity'),
    ):
        for seed in SEEDS:
            assert findings(cheetah, seed, seen=change) == [f'{what} has the wrong sign']


@pytest.mark.parametrize('factor', [10.0, 0.1])
@pytest.mark.parametrize('dimension', [*range(2, 8), *range(9, 17)])
def test_one_scale(cheetah: Policy, factor: float, dimension: int) -> None:
    assert cheetah.spec.observation_names
    name = cheetah.spec.observation_names[dimension]
    for seed in SEEDS:
        (found,) = findings(cheetah, seed, seen=times(factor, dimension))
        assert found.startswith(f'{name} is ')
        found_factor = float(found.removeprefix(f'{name} is ').split()[0])
        assert found_factor == pytest.approx(factor, rel=0.3)


@pytest.mark.parametrize('joint', range(2), ids=JOINTS[:2])
def test_one_commands_sign(cheetah: Policy, joint: int) -> None:
    """Of the thighs and shins; a foot's sign could as well be that of its joint (see the docs)."""
    found = findings(cheetah, done=times(-1, joint))
    assert found == [f'command {JOINTS[joint]} has the wrong sign']


JOINT_DIMENSIONS = (*range(2, 8), *range(11, 17))


def test_all_joints_in_degrees(cheetah: Policy) -> None:
    for seed in SEEDS:
        first, *ranges = findings(cheetah, seed, seen=times(180 / np.pi, *JOINT_DIMENSIONS))
        assert first.endswith('most likely: all joints with a command look in degrees')
        assert any(finding.startswith('bthigh.position is') for finding in ranges)


def test_the_commands_of_both_legs_exchanged(cheetah: Policy) -> None:
    for seed in SEEDS:
        (found,) = findings(cheetah, seed, done=lambda action: action[[3, 4, 5, 0, 1, 2]])
        assert found.endswith('most likely: command b* and command f* look exchanged')


def test_several_mistakes_at_once(cheetah: Policy) -> None:
    degrees = times(180 / np.pi, *JOINT_DIMENSIONS)
    for seed in SEEDS:
        exchanged = findings(cheetah, seed, seen=degrees, done=lambda a: a[[3, 4, 5, 0, 1, 2]])
        assert 'all joints with a command look in degrees' in exchanged[0]
        assert 'b* and ' in exchanged[0]


@pytest.mark.parametrize(
    ('frame', 'sign', 'reported'),
    [
        (
            '',
            1,
            "looks as if it were along the body's axes, but in training along the world's axes",
        ),
        ('world', -1, "fits training as the topic has it, and not turned into the world's axes"),
    ],
)
def test_a_twist_in_other_axes(cheetah: Policy, frame: str, sign: int, reported: str) -> None:
    for seed in SEEDS:
        (found,) = findings(cheetah, seed, 100, seen=turned(sign), frame=frame)
        assert found.startswith(f'{BASE} {reported}')
        # What is right stays right, whatever the robot file says of the frame.
        assert findings(cheetah, seed, 100, frame=frame) == []
        assert findings(cheetah, seed, 100, frame=frame, noise=np.inf) == []


def test_a_twist_in_other_axes_hides_no_other_mistakes(cheetah: Policy) -> None:
    """Nor is it named itself: with its legs exchanged, HalfCheetah hardly gets anywhere."""
    degrees, body = times(180 / np.pi, *JOINT_DIMENSIONS), turned(1)
    for seed in SEEDS:
        found = findings(
            cheetah,
            seed,
            100,
            seen=lambda values: degrees(body(values)),
            done=lambda action: action[[3, 4, 5, 0, 1, 2]],
        )
        assert 'all joints with a command look in degrees' in found[0]
        assert 'b* and ' in found[0]


def test_what_repeats_itself_and_what_does_not_move() -> None:
    policy = Policy(*random_policy(3, 1, control_period=None))
    policy.quantiles[:] = [[-1] * 3, [0] * 3, [1] * 3]
    rng = np.random.default_rng(0)
    for noise, reported in (
        ([0.0, 0.0, 0.0], 'all observations repeat bit for bit'),
        ([0.0, 0.3, 0.3], 'topic joints repeats bit for bit'),
        ([1e-4, 1e-4, 1e-4], 'nothing moves although commands change'),
        ([0.3, 0.3, 0.3], ''),
    ):
        wiring = Wiring(policy, [('joints', [0]), ('imu', [1, 2])])
        for i in range(30):
            wiring.add(0.1 + rng.normal(size=3) * noise, rng.uniform(-1, 1, 1), float(i))
        assert '; '.join(wiring.findings(True)).startswith(reported)
        assert bool(wiring.findings(True)) == bool(reported)
        resting = Wiring(policy, [('joints', [0]), ('imu', [1, 2])])
        for i in range(30):
            resting.add(0.1 + rng.normal(size=3) * noise, [0.3], float(i))
        assert resting.findings(True) == [], 'nobody asks it to move'


def test_nothing_can_be_found_of_a_robot_at_rest(cheetah: Policy) -> None:
    assert findings(cheetah, done=times(0, *range(6)), steps=200, known=False) == []


@pytest.mark.parametrize('factor', [2.0, 0.5])
def test_another_rate(cheetah: Policy, factor: float) -> None:
    assert findings(cheetah, period=PERIOD * factor) == [
        f'a step every {50 * factor:.1f} ms, but the policy was trained with one every 50.0 ms'
    ]


@pytest.mark.parametrize('factor', [2.0, 0.5])
def test_a_simulator_of_another_speed_hides_no_mistake(cheetah: Policy, factor: float) -> None:
    """By their stamps its steps are those of training; and a clock that was set is no rate."""
    given = {'period': PERIOD * factor, 'stamped': PERIOD}
    assert findings(cheetah, **given) == []
    found = findings(cheetah, seen=exchange((2, 3), (11, 12)), **given)
    assert [each.split(' look')[0] for each in found] == ['joint bthigh and joint bshin']
    assert findings(cheetah, stamped=1000.0) == []
    late = findings(cheetah, period=PERIOD * factor, stamped=PERIOD * factor)
    assert late[0].startswith(f'a step every {50 * factor:.1f} ms')


def test_what_comes_during_a_search_does_not_change_it(cheetah: Policy) -> None:
    """Not even what makes it start over: a number beyond all bounds, in an observation."""
    wiring = Wiring(cheetah, vectors=[base_vector(''), base_vector('world')])
    observations, actions, _ = rollout(
        cheetah, TWO_SECONDS, SEEDS[0], 0.0, exchange((2, 3), (11, 12)), np.array
    )
    for i, (observation, action) in enumerate(zip(observations, actions, strict=True)):
        wiring.add(observation, action, 100 + i * PERIOD)
    expected = wiring.findings(check_period=True)
    assert expected
    search = wiring.search(check_period=True)
    next(search)
    wiring.add(np.full(17, 1e31), actions[0], 200.0)
    assert wiring.count == 0
    found: list[str] = []

    def follow() -> Iterator[None]:
        found.extend((yield from search))

    for _ in follow():
        pass
    assert found == expected


def test_without_transitions_what_is_far_outside_is_still_named() -> None:
    policy = Policy(*random_policy(3, 1, control_period=None, observation_names=('a', 'b', 'c')))
    policy.quantiles[:] = [[-1, -1, -1], [0, 0, 0], [1, 1, 1]]
    wiring = Wiring(policy)
    for i in range(ENOUGH - 1):
        wiring.add(np.array([0.5, 1.5, 2.5]), None, float(i))
    assert wiring.findings(True) == [], 'too little to decide'
    wiring.add(np.array([0.5, 1.5, 2.5]), None, 100.0)
    assert wiring.findings(True) == ['c is 2.5, training saw -1 to 1']
    wiring.forget()
    assert wiring.findings(True) == []
    for i in range(3 * WINDOW):
        wiring.add(np.array([0.5, 1.5, 2.5 if i < 2 * WINDOW else 0.5]), None, float(i))
    assert wiring.findings(True) == [], 'what was long ago no longer counts'


def test_whitening_makes_the_mean_square_the_length() -> None:
    rng = np.random.default_rng(0)
    x, a = rng.normal(3, 0.01, (5000, 4)), rng.uniform(-1, 1, (5000, 2))
    x[:, 3] = 7.0  # what never changes must not be divided by
    following = x + 0.1 * a @ rng.normal(size=(2, 4))
    w = whitening(x, a, following).astype(float)
    z = np.hstack([x, a, following, np.ones((5000, 1))])
    worth = np.sum((z @ w.T) ** 2, axis=1)
    assert np.isfinite(w).all()
    assert 0.5 * z.shape[1] < worth.mean() <= 1.01 * z.shape[1]


def test_axes_are_turned_as_ros_turns_them() -> None:
    pytest.importorskip('geometry_msgs')
    from geometry_msgs.msg import Quaternion, Vector3

    rng = np.random.default_rng(0)
    axes = ((3, 2.0, 0.5), (0, -1.0, 0.0), (5, 1.0, 0.0))
    angles = ((1, 1.0, 0.0), (4, -1.0, 0.1), (2, 1.0, 0.0))
    for _ in range(20):
        roll, pitch, yaw = rng.uniform(-1.5, 1.5, 3)
        half = [0.0, 0.0, 0.0, 1.0]
        for axis, angle in enumerate((roll, pitch, yaw)):  # about the fixed x, then y, then z
            x, y, z, w = half
            a = [0.0, 0.0, 0.0, np.cos(angle / 2)]
            a[axis] = np.sin(angle / 2)
            half = [
                a[3] * x + a[0] * w + a[1] * z - a[2] * y,
                a[3] * y - a[0] * z + a[1] * w + a[2] * x,
                a[3] * z + a[0] * y - a[1] * x + a[2] * w,
                a[3] * w - a[0] * x - a[1] * y - a[2] * z,
            ]
        q = Quaternion(**dict(zip('xyzw', map(float, half), strict=True)))
        assert [geometry.angle(q, i) for i in range(3)] == pytest.approx([roll, pitch, yaw])
        vector = rng.normal(size=3)
        row = np.zeros((1, 6))
        row[0, [3, 0, 5]] = 2.0 * vector[0] + 0.5, -vector[1], vector[2]
        row[0, [1, 4, 2]] = roll, 0.1 - pitch, yaw
        there = _in_other_axes(row, Vector('', '', axes, angles))
        given = Vector3(x=vector[0], y=vector[1], z=vector[2])
        world = [geometry.to_world(q, given, i) for i in range(3)]
        assert [(there[0, 3] - 0.5) / 2, -there[0, 0], there[0, 5]] == pytest.approx(world)
        assert _in_other_axes(there, Vector('', 'world', axes, angles)) == pytest.approx(row)
