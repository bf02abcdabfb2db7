# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What decides, by itself and in simulated time: the stop, the loop, hostile sequences."""

import math
from pathlib import Path
from typing import Any

from conftest import CHEETAH, random_policy
from control_kit import (
    chip_answer,
    header,
    joints,
    make_world,
    NAMES,
    PERIOD,
    robot_of,
    trunk,
    TWO_SOURCES,
    WHOLE,
    World,
)
from hostile_kit import Hostile, Possessed, prepare_hostile
from hypothesis import HealthCheck, Phase, settings
import numpy as np
from proxy_snn_control.control.backend import Native, Neuromorphic, PATIENCE
from proxy_snn_control.control.command import CommandMap
from proxy_snn_control.control.loop import Loop
from proxy_snn_control.control.messages import BEGINS, number_array, UNASKED
from proxy_snn_control.control.observation import Inputs
from proxy_snn_control.control.robot import plain_robot
from proxy_snn_control.control.safety import SafetyGate, SafetySettings
from proxy_snn_control.control.stop import DIED, StopLatch
from proxy_snn_control.control.warm_up import WarmUp
from proxy_snn_control.control.wiring import Wiring
from proxy_snn_control.policy import load_policy, Policy, UserError
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState

# ---- the stop


def test_a_stop_is_per_publisher() -> None:
    stop = StopLatch()
    stop.press(True, b'a')
    for _ in range(10):
        stop.press(False, b'b')
        with pytest.raises(UserError, match='expected it to be released first'):
            stop.arm()
    stop.press(True, b'b')
    stop.press(False, b'a')
    with pytest.raises(UserError, match='released first'):
        stop.arm()
    stop.press(False, b'b')
    assert 'call ~/arm to continue' in stop.fault
    stop.arm()
    assert stop.fault == ''


def test_what_one_pressed_who_is_gone_another_may_release() -> None:
    stop = StopLatch()
    stop.press(True, b'a')
    stop.present([b'a', b'b'])
    stop.press(False, b'b')
    assert stop.pressed
    stop.present([b'b'])
    with pytest.raises(UserError, match='released first'):
        stop.arm()
    stop.press(False, b'b')
    stop.arm()
    assert stop.fault == ''


def test_a_heartbeat_that_is_relied_on() -> None:
    stop = StopLatch(0.5)
    stop.watch_from(0.0)
    assert stop.silent(0.4) == ''
    assert 'topic stop has not been published for more than 0.5 s' in stop.silent(0.6)
    with pytest.raises(UserError, match='expected a publisher that repeats false'):
        stop.arm(0.7)
    for now in (0.8, 1.2):
        stop.press(False, b'a', now)
        stop.press(False, b'b', now)
    stop.arm(1.3)
    stop.press(False, b'b', 1.65)
    assert 'a publisher of topic stop has not published' in stop.silent(1.8), 'one of two is'
    stop.arm(1.9)
    stop.press(False, b'b', 2.3)
    assert stop.silent(2.4) == '', 'armed without it: it is relied on no more'


def test_a_heartbeat_is_relied_on_from_the_activation_on(tmp_path: Path) -> None:
    """Not before; nor is one who has ended by then, and was replaced."""
    world = make_world(tmp_path, TWO_SOURCES)
    world.stop.heartbeat = 0.5
    world.wait(5.0)
    world.take(0, joints(world.now, 0.1))
    world.take(1, trunk(world.now, 0.1))
    assert world.stop.fault == ''
    world.stop.press(False, b'ended', world.now)
    world.wait(5.0)
    world.stop.press(False, b'there', world.now)
    world.loop.activate()
    for _ in range(4):
        world.wait(0.3)
        world.stop.press(False, b'there', world.now)
        assert world.stop.fault == ''
    world.wait(0.6)
    assert 'has not published for more than 0.5 s' in world.stop.fault


def test_latched_for_another_reason_only_arm_releases() -> None:
    stop = StopLatch()
    stop.latch(DIED)
    stop.press(False, b'a')
    assert stop.fault == DIED
    stop.arm()
    assert stop.fault == ''


# ---- the loop


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, TWO_SOURCES)


def test_from_messages_to_commands(world: World) -> None:
    world.loop.activate()
    world.wait(0.1)
    assert world.sent == [], 'nothing is asked yet, and nothing is stale'
    for step in range(5):
        world.wait(PERIOD)
        world.take(0, joints(1 + world.now, 0.1 * step))
        world.take(1, trunk(1 + world.now, 0.2 * step))
        action = float(np.clip(world.policy.act([0.1 * step, 0.2 * step])[0], -0.8, 0.8))
        assert world.sent[-1] == (world.now, [action], '')
    assert len(world.sent) == 5
    world.wait(0.25)
    assert [numbers for _, numbers, _ in world.sent[5:]] == [[0.5]] * (len(world.sent) - 5)
    assert len(world.sent) > 7, 'again and again as long as it lasts'
    count = len(world.sent)
    world.loop.deactivate('no longer active')
    assert world.sent[count:] == [(world.now, [0.5], UNASKED)]
    world.wait(1.0)
    assert len(world.sent) == count + 1


def test_rivals_stop_it_while_they_are_there(world: World) -> None:
    world.loop.activate()

    def step() -> list[float]:
        world.wait(PERIOD)
        world.take(0, joints(1 + world.now, 0.1))
        world.take(1, trunk(1 + world.now, 0.2))
        return world.sent[-1][1]

    free = step()
    world.loop.rivalry = 'topic command has other publishers: /other'
    assert step() == [0.5] != free
    assert 'other publishers' in world.loop.statistics.fault
    world.loop.rivalry = ''
    assert step() == free


@pytest.fixture
def remembering(tmp_path: Path) -> World:
    """Return a policy that normalises, and reads three observations and its previous action."""
    changes = {'history': 3, 'previous_action': True}
    named = {'observation_names': NAMES, 'action_names': ('go',), 'control_period': PERIOD}
    spec, tensors = random_policy(2, 1, (32,), **named, **changes)
    tensors['normalise.mean'] = np.float32([0.2, -0.1])
    tensors['normalise.scale'] = np.float32([3, 0.5])
    return make_world(tmp_path, TWO_SOURCES, (spec, tensors))


def see(world: World, value: float, after: float = PERIOD) -> float:
    """Give both sources' next message; the command that answers it."""
    world.wait(after)
    world.take(0, joints(1 + world.now, value))
    world.take(1, trunk(1 + world.now, 1 - value))
    return world.sent[-1][1][0]


def remembered(world: World, values: list[float]) -> list[float]:
    """Return the commands of a policy of its own that begins with the first of these."""
    policy = Policy(world.policy.spec, world.policy._tensors)
    return [float(np.clip(policy.act([v, 1 - v])[0], -0.8, 0.8)) for v in values]


VALUES = [0.1, 0.5, -0.7, 0.9, -0.2, 0.3, 0.8]


def test_the_controller_keeps_what_a_policy_remembers(remembering: World) -> None:
    remembering.loop.activate()
    commands = [see(remembering, value) for value in VALUES]
    assert commands == remembered(remembering, VALUES)
    plain = [remembered(remembering, [value])[0] for value in VALUES]
    assert commands[1:] != plain[1:], 'what came before makes a difference'


def test_a_warm_up_changes_nothing(remembering: World) -> None:
    """Neither commands nor what is counted, nor what the policy remembers."""
    loop, policy = remembering.loop, remembering.policy
    assert loop.warm_up() is None, 'it is not active'
    loop.activate()
    commands = []
    for value in VALUES:
        commands.append(see(remembering, value))
        before = policy.spike_counts, [each.tolist() for each in policy.spikes]
        sent = len(remembering.sent)
        assert loop.warm_up() == loop.warm_up() == [commands[-1]]
        assert (policy.spike_counts, [each.tolist() for each in policy.spikes]) == before
        assert len(remembering.sent) == sent
    assert commands == remembered(remembering, VALUES)
    observe_nan(remembering)
    assert loop.warm_up() is None, 'a fault lasts'


def test_a_warm_up_is_shortly_before_the_next_observation() -> None:
    warm_up = WarmUp()
    assert warm_up.after(5.0, 5.001) is None, 'an interval needs two'
    assert warm_up.after(5.02, 5.021) == pytest.approx(0.017)
    assert warm_up.after(5.04, 5.041) == pytest.approx(0.017)
    # One was lost, and its interval is nearly forgotten. The next comes early, and is believed.
    assert warm_up.after(5.08, 5.081) == pytest.approx(0.019)
    assert warm_up.after(5.095, 5.096) == pytest.approx(0.012)
    for tick in range(100):
        slower = warm_up.after(6.0 + 0.05 * tick, 6.001 + 0.05 * tick)
    assert slower == pytest.approx(0.047)
    warm_up.after(20.0, 20.0002)
    assert warm_up.after(20.001, 20.0012) is None, 'nothing has left the caches by then'


def activate_again(world: World) -> None:
    world.loop.deactivate('for a test')
    world.loop.activate()


def observe_nan(world: World) -> None:
    see(world, math.nan)
    assert world.sent[-1][1] == [0.5], 'the safe command'


def be_silent(world: World) -> None:
    world.wait(0.25)
    assert world.sent[-1][1] == [0.5], 'the safe command'


@pytest.mark.parametrize(
    ('happens', 'after'),
    [
        (activate_again, PERIOD),
        (observe_nan, PERIOD),
        (be_silent, PERIOD),
        (lambda world: None, 3 * PERIOD),  # a gap that is no fault yet
    ],
    ids=['activation', 'fault', 'timeout', 'gap'],
)
def test_after_these_a_policy_begins_anew(remembering: World, happens: Any, after: float) -> None:
    remembering.loop.activate()
    for value in VALUES[:4]:
        see(remembering, value)
    happens(remembering)
    found = [see(remembering, VALUES[4], after), *(see(remembering, v) for v in VALUES[5:])]
    assert found == remembered(remembering, VALUES[4:])


def test_one_lost_observation_costs_its_own_step(remembering: World) -> None:
    remembering.loop.activate()
    times = [PERIOD, PERIOD, PERIOD, 2 * PERIOD, PERIOD]
    found = [see(remembering, v, after) for v, after in zip(VALUES, times, strict=False)]
    assert found == remembered(remembering, VALUES[:5])


def test_a_command_that_was_not_published_is_none(world: World) -> None:
    """The next one begins where the robot was left; the last one is tried again."""
    world.gate.change(SafetySettings([0.5], slew_rate=[1.0]))
    world.loop.activate()
    world.loop.backend = Possessed(world.policy, 0.8)  # type: ignore[assignment]
    step = 1.0 * PERIOD
    first = see(world, 0.1)
    world.loses = True
    for value in (0.2, 0.3):
        assert see(world, value) == first
    world.loses = False
    assert see(world, 0.4) == pytest.approx(first + step), 'no leap over what was lost'
    statistics = world.loop.statistics
    assert (statistics.lost, statistics.latencies.count) == (2, 2)
    world.loses = True
    world.stop.press(True, b'a', world.now)
    world.loop.stopped()
    assert (statistics.safe_commands, statistics.out) == (0, False)
    world.wait(3 * PERIOD)
    world.loses = False
    before = len(world.sent)
    world.wait(2 * PERIOD)
    assert [numbers for _, numbers, _ in world.sent[before:]][:1] == [[0.5]], (
        'tried until it is out'
    )
    assert statistics.out
    world.loses, lost = True, statistics.lost
    world.loop.deactivate('no longer active')
    assert statistics.lost == lost + 1, 'that it ends without is counted'


def test_a_last_command_that_was_not_published_is_none(world: World) -> None:
    world.gate.change(SafetySettings([0.5], slew_rate=[1.0]))
    world.loop.activate()
    world.loop.backend = Possessed(world.policy, -0.8)  # type: ignore[assignment]
    left = see(world, 0.1)
    assert left != 0.5
    world.loses = True
    world.loop.deactivate('no longer active')
    world.loses = False
    world.loop.activate()
    assert see(world, 0.2) == pytest.approx(left - 1.0 * PERIOD), 'the robot never went to 0.5'


def test_what_the_policy_wanted_is_nothing_to_go_by_if_it_is_no_number(tmp_path: Path) -> None:
    """Not in the next observation, of which it is a part: that could never be used again."""
    observation = {**TWO_SOURCES['observation'], 'height': {'previous_action': 'go', 'raw': True}}
    sources = {'joints': TWO_SOURCES['sources']['joints']}
    world = make_world(tmp_path, {**TWO_SOURCES, 'sources': sources, 'observation': observation})
    world.loop.activate()
    policy = world.loop.backend
    commands = []
    for value in (0.1, math.nan, 0.1):
        possessed: Any = Possessed(world.policy, value)
        world.loop.backend = possessed if math.isnan(value) else policy
        world.wait(PERIOD)
        world.take(0, joints(1 + world.now, 0.1))
        commands.append(world.sent[-1][1][0])
    action = world.policy.act([0.1, 0.0])
    assert commands[:2] == [float(np.clip(action[0], -0.8, 0.8)), 0.5]
    assert commands[2] == float(np.clip(world.policy.act([0.1, action[0]])[0], -0.8, 0.8))
    assert world.loop.statistics.fault == ''


def test_in_lockstep_a_repeated_observation_is_not_a_new_one(tmp_path: Path) -> None:
    spec, tensors = random_policy(2, 1, (32,), history=2, previous_action=True)
    world = make_world(tmp_path, WHOLE, (spec, tensors))
    world.loop.checks_period = False
    world.loop.activate()
    seen = [[0.1, 0.2], [0.3, -0.5], [-0.4, 0.9], [0.2, 0.2]]
    for i, values in enumerate(seen):
        begins = BEGINS if i == 2 else ''
        for late in (PERIOD, PERIOD, 2.0):  # at last by more than the topic's timeout
            world.wait(late)
            world.take(0, number_array(values, f'observation {i}{begins}'))
    assert any(label == UNASKED for _, _, label in world.sent)
    policy = Policy(spec, tensors)
    first, second = policy.act(seen[0])[0], policy.act(seen[1])[0]
    policy.reset()
    third, fourth = policy.act(seen[2])[0], policy.act(seen[3])[0]
    commands = [numbers[0] for _, numbers, label in world.sent if label != UNASKED]
    assert commands == [float(a) for a in (first, second, third, fourth) for _ in range(3)]


@pytest.mark.parametrize('where', ['policy', 'robot file'])
def test_repeated_stamped_messages_are_not_new_either(tmp_path: Path, where: str) -> None:
    names = {'observation_names': NAMES, 'action_names': ('go',), 'control_period': PERIOD}
    if where == 'policy':
        made, content = random_policy(2, 1, (32,), history=2, **names), TWO_SOURCES
    else:  # of somewhere else, whose task has both steps in one observation
        names['observation_names'] = ('angle[-1]', 'height[-1]', *NAMES)
        made = random_policy(4, 1, (32,), **names)
        content = {**TWO_SOURCES, 'history': {'steps': 2}}
    world = make_world(tmp_path, content, made, repeats=True)
    world.loop.checks_period = False  # in lockstep
    world.loop.activate()
    for step in range(4):
        for _ in range(2):
            world.wait(PERIOD)
            world.take(0, joints(1 + step * PERIOD, VALUES[step]))
            world.take(1, trunk(1 + step * PERIOD, 1 - VALUES[step]))
    before = [VALUES[0], *VALUES]
    policy = Policy(*made)
    expected = []
    for earlier, value in zip(before, VALUES[:4], strict=False):
        older = [] if where == 'policy' else [earlier, 1 - earlier]
        expected.append(float(np.clip(policy.act([*older, value, 1 - value])[0], -0.8, 0.8)))
    commands = [numbers[0] for _, numbers, _ in world.sent]
    assert [c for i, c in enumerate(commands) if i == 0 or c != commands[i - 1]] == expected


def test_in_lockstep_stamps_that_jump_begin_an_episode(tmp_path: Path) -> None:
    """What came before is forgotten, and an angle that went round is counted from there."""
    content = {**TWO_SOURCES, 'observation': {**TWO_SOURCES['observation']}}
    content['observation']['angle'] = {**content['observation']['angle'], 'unwrap': True}
    names = {'observation_names': NAMES, 'action_names': ('go',), 'control_period': PERIOD}
    # Periods, angle.
    seen = [(91, 2.0), (92, 3.0), (93, -3.0), (96, -3.0), (97, -2.9), (1, 2.9), (2, 3.0)]
    for history in (1, 2):
        made = random_policy(2, 1, (32,), history=history, **names)
        world = make_world(tmp_path, content, made, repeats=True)
        world.loop.checks_period = False  # in lockstep
        world.loop.activate()
        commands, expected = [], []
        policy = Policy(*made)
        for i, (step, angle) in enumerate(seen):
            for _ in range(2):  # a world that was started anew is followed at its second message
                world.wait(PERIOD)
                world.take(0, joints(step * PERIOD, angle))
                world.take(1, trunk(step * PERIOD, 0.5))
            commands.append(world.sent[-1][1][0])
            assert world.sent[-1][2] == f'observation at {round(step * PERIOD * 1e9)} ns'
            if i in (3, 5):
                policy.reset()
            turned = angle + 2 * math.pi if i == 2 else angle
            expected.append(float(np.clip(policy.act([turned, 0.5])[0], -0.8, 0.8)))
        assert commands == expected


@pytest.mark.parametrize('at_rate', [False, True])
def test_nothing_leaves_that_must_not(tmp_path: Path, at_rate: bool) -> None:
    """A million of such sequences: benchmarks/hostile.py."""
    prepare_hostile(tmp_path).at_rate = at_rate
    Hostile.TestCase.settings = settings(
        max_examples=150,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    Hostile.TestCase('runTest').runTest()


# ---- a foreign simulator


def cheetah_return(folder: Path, seed: int, lost: float, late: float = 0.0) -> float:
    """Control HalfCheetah in real time, as two sources; the command is held where none comes.

    Args:
        folder: for the robot file.
        seed: of the episode, and of what is lost and late.
        lost: the share of messages that are lost.
        late: the share that comes after the next one of the other source.
    """
    from proxy_snn_control.learning.tasks import make_environment

    path = CHEETAH / 'lif-HalfCheetah-v4.safetensors'
    policy = load_policy(path)
    names = policy.spec.observation_names or ()
    sources = {'base': ['rootx', 'rootz', 'rooty']}
    sources['legs'] = list(policy.spec.action_names or ())
    where = {joint: source for source, joints in sources.items() for joint in joints}
    content = {
        'sources': {
            name: {'type': 'sensor_msgs/JointState', 'topic': name, 'timeout': 0.5}
            for name in sources
        },
        'observation': {
            name: {
                'source': where[name.partition('.')[0]],
                'joint': name.partition('.')[0],
                'field': name.partition('.')[2],
            }
            for name in names
        },
        'command': {
            'type': 'std_msgs/Float64MultiArray',
            'topic': 'command',
            'outputs': [{'action': name} for name in sources['legs']],
        },
    }
    now = 0.0
    held = np.zeros(6)
    robot = robot_of(folder, content, policy.spec)
    commands, stop, period = CommandMap(robot.command), StopLatch(), 0.05
    gate = SafetyGate(commands.low, commands.high, period, stop, SafetySettings())
    inputs = Inputs(robot, period=period)

    def hold(numbers: Any, label: str) -> bool:
        held[:] = numbers
        return True

    loop = Loop(
        *(policy, '', robot, inputs, commands, gate, stop, Wiring(policy), Native(policy)),
        *(period, lambda: now, hold),
    )
    loop.activate()
    environment = make_environment('HalfCheetah-v4')
    observation, _ = environment.reset(seed=seed)
    rng = np.random.default_rng(seed)
    total, waiting = 0.0, list[tuple[int, Any]]()
    for step in range(1000):
        now = step * period
        due, waiting = waiting, []
        values = dict(zip(names, observation, strict=True))
        for index, joints_ in enumerate(sources.values()):
            message = JointState(
                header=header(100 + now),
                name=joints_,
                position=[values.get(f'{joint}.position', 0.0) for joint in joints_],
                velocity=[values[f'{joint}.velocity'] for joint in joints_],
            )
            if rng.random() >= lost:
                (waiting if rng.random() < late else due).append((index, message))
        for index, message in due:
            if loop.take(index, message):
                loop.answer()
        observation, reward, *_ = environment.step(held.astype(np.float32))
        total += float(reward)
    return total


def test_messages_that_are_lost_cost_little_of_the_return(tmp_path: Path) -> None:
    """One in 300; before, each lost message made every later command of two different steps."""
    pytest.importorskip('mujoco')
    seeds = range(20, 28)
    whole = np.mean([cheetah_return(tmp_path, seed, 0.0) for seed in seeds])
    lossy = np.mean([cheetah_return(tmp_path, seed, 1 / 300) for seed in seeds])
    assert lossy > 0.98 * whole


def test_an_observation_that_is_repeated_is_requested_once() -> None:
    """As a sim in lockstep repeats it while the neuromorphic node computes."""
    spec, tensors = random_policy(2, 1, (8,), control_period=PERIOD)
    world = World(plain_robot(spec, 5.0, True), Policy(spec, tensors), repeats=True)
    requests: list[Any] = []
    backend = Neuromorphic(spec, tensors, 'sum', Policy(spec, tensors), requests.append)
    world.loop.backend = backend
    world.loop.activate()
    observation = np.zeros(spec.observation_size)
    for label, asked, fallbacks in (('1', 1, 0), ('1', 1, 0), ('2', 2, 2)):
        world.wait(0.2)
        world.take(0, serialize_message(number_array(observation, label)))
        assert (len(requests), backend.fallbacks) == (asked, fallbacks)
    assert [label for _, _, label in world.sent] == ['1', '2']


# ---- a question to the neuromorphic node


class Asking:
    """A loop whose policy runs on the neuromorphic node, and what it asks that node."""

    def __init__(self, folder: Path) -> None:
        self.world = make_world(folder, TWO_SOURCES)
        self.requests: list[Any] = []
        self.backend = self.another()
        self.world.loop.backend = self.backend
        self.world.loop.activate()

    def another(self) -> Neuromorphic:
        policy = self.world.policy
        spec, tensors = policy.spec, policy._tensors
        return Neuromorphic(spec, tensors, 'sum', Policy(spec, tensors), self.requests.append)

    def see(self, value: float) -> None:
        self.world.take(0, joints(1 + self.world.now, value))
        self.world.take(1, trunk(1 + self.world.now, value))

    def answer(self, request: Any) -> bool:
        return self.world.loop.answered(chip_answer(self.world.policy, request))


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


def test_a_question_is_answered(asking: Asking) -> None:
    asking.see(0.4)
    assert asking.world.sent == []
    assert asking.answer(asking.requests[0])
    action = float(np.clip(asking.world.policy.act([0.4, 0.4])[0], -0.8, 0.8))
    assert asking.world.sent == [(0.0, [action], '')]


def test_a_stop_ends_a_question(asking: Asking) -> None:
    """What was asked before it becomes no command after it, by the node or without it."""
    world = asking.world
    asking.see(0.4)
    world.stop.press(True, b'a', world.now)
    world.loop.stopped()
    world.stop.press(False, b'a', world.now)
    world.loop.arm()
    world.wait(0.005)
    assert not asking.answer(asking.requests[0])
    assert not world.loop.settle()
    assert [numbers for _, numbers, _ in world.sent] == [[0.5]]


@pytest.mark.parametrize('comes', ['the next observation', 'the answer', 'the deadline'])
def test_a_question_of_before_a_pause_becomes_no_command(asking: Asking, comes: str) -> None:
    """As of a process that was not run for a time: no timer has noticed yet."""
    world = asking.world
    asking.see(0.4)
    world.now += 0.25
    for i, message in enumerate((joints(1 + world.now, 0.1), trunk(1 + world.now, 0.1))):
        world.loop.inputs.take(i, message, world.now)
    if comes == 'the answer':
        assert asking.answer(asking.requests[0])
    elif comes == 'the deadline':
        assert world.loop.settle()
    else:
        world.loop.answer()
    assert [numbers for _, numbers, _ in world.sent][:1] == [[0.5]]
    assert 'stale by now' in world.loop.statistics.last_fault


def test_a_question_that_a_deactivation_ended_is_no_fault(asking: Asking) -> None:
    world = asking.world
    asking.see(0.4)
    world.loop.deactivate('no longer active')
    assert not world.loop.settle(), 'its deadline'
    world.now += 2 * PATIENCE
    assert asking.backend.fault(world.now) == ''
    asking.see(0.4)
    world.loop.activate()
    world.wait(PERIOD)
    asking.see(0.4)
    assert world.loop.settle()
    assert asking.backend.lost
    world.loop.deactivate('no longer active')
    world.now += 2 * PATIENCE
    assert asking.backend.fault(world.now) == '', 'nothing is asked while inactive'


def test_an_answer_to_somebody_else_is_none(asking: Asking) -> None:
    """Nor one to this controller before a reload, or before it was started again."""
    other = asking.another()
    other.act(np.array([-0.9, 0.9]), '', np.zeros(1, np.float32), 0.0)
    asking.see(0.4)
    assert not asking.answer(asking.requests[0])
    assert asking.backend.question is not None
    assert asking.answer(asking.requests[1])


def test_settling_a_question_takes_time_that_the_next_command_has(asking: Asking) -> None:
    """Otherwise that one goes the wrong way, as far as the time between them allows."""
    world = asking.world
    world.gate.change(SafetySettings([-0.8], slew_rate=[1.0]))
    asking.see(0.4)
    world.now += PERIOD
    ticks = iter(range(10**6))
    world.loop._clock = lambda: world.now + 1e-3 * next(ticks)
    asking.see(0.4)
    (_, (first,), _), (_, (second,), _) = world.sent
    assert -0.8 < first < second
