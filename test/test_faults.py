# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Faults, each tried on real processes; a recorder of the command topic is the judge."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import signal
import time
from typing import Any

from builtin_interfaces.msg import Time
from conftest import NodeProcess, PATIENCE, random_policy, Stage, TASK
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped
import numpy as np
from proxy_snn_control.control.messages import number_array
from proxy_snn_control.nodes.graph import with_publisher
from proxy_snn_control.nodes.messages import EPISODE_RETURNS, RELIABLE, SENSOR_DATA
from proxy_snn_control.policy import load_policy, Policy, write_policy
import pytest
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
import rclpy
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray, Header, UInt8MultiArray
from std_srvs.srv import Trigger

SAFE = [0.25]
GOOD = np.full(9, 0.3)


class Judge:
    """Feeds a controller at 50 Hz and holds every command against what may go out.

    A command is either the safe one or the policy's answer to an observation that was sent.

    Attributes:
        commands: all that were received.
        publishers: who published each of them.
        sent: the observations.
    """

    def __init__(self, stage: Stage, policy: Policy, qos: QoSProfile = RELIABLE) -> None:
        self.stage, self.policies, self.safe = stage, [policy], SAFE
        self.commands: list[list[float]] = []
        self.publishers: list[bytes] = []
        stage.node.create_subscription(
            Float64MultiArray, 'command', with_publisher(self._take), qos
        )
        self.publisher = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
        self.sent: list[np.ndarray] = []
        self.feeding = True
        self._rng = np.random.default_rng(0)
        stage.node.create_timer(0.02, self._feed)

    def _take(self, message: Float64MultiArray, publisher: bytes) -> None:
        self.commands.append(message.data.tolist())
        self.publishers.append(publisher)

    def _feed(self) -> None:
        if self.feeding:
            self.send(self._rng.normal(0, 1, 9))

    def send(self, values: Any) -> None:
        self.sent.append(np.asarray(values, dtype=float))
        self.publisher.publish(number_array(self.sent[-1], ''))

    def moving(self) -> None:
        """Wait until the policy's commands go out, and then some."""
        begin = len(self.commands)
        assert self.stage.until(lambda: self._moves(begin) >= 5), self.stage.outputs()

    def safe_only(self, commands: int = 5) -> None:
        """Wait for so many safe commands in a row; no other answers what is sent from now on.

        What was on its way here before is none of them.
        """
        sent, begin = len(self.sent), len(self.commands)
        assert self.stage.until(
            lambda: self.commands[begin:][-commands:] == [self.safe] * commands
        ), self.stage.outputs()
        before = self._answers(self.sent[:sent])
        late = [each for each in self.commands[begin:] if tuple(each) not in before]
        assert all(command == self.safe for command in late), late

    def safe_from_the_start(self, since: int, commands: int = 20) -> None:
        """Wait for so many commands of a controller that was started after `since` commands.

        All of them must be safe.
        """
        earlier = {*self.publishers[:since]}

        def new() -> list[list[float]]:
            pairs = zip(self.publishers[since:], self.commands[since:], strict=True)
            # Before Jazzy ROS does not say who publishes.
            return [command for who, command in pairs if not who or who not in earlier]

        assert self.stage.until(lambda: len(new()) >= commands), self.stage.outputs()
        assert all(command == self.safe for command in new())

    def _moves(self, since: int) -> int:
        return sum(command != self.safe for command in self.commands[since:])

    def _answers(self, observations: list[np.ndarray]) -> set[tuple[float, ...]]:
        """Return the policies' answers."""
        return {
            tuple(policy.act(observation).astype(float).tolist())
            for policy in self.policies
            for observation in observations
            if len(observation) == 9 and (np.abs(observation) < 1e38).all()
        }

    def verdict(self) -> None:
        """Not one bad command."""
        allowed = self._answers(self.sent) | {tuple(self.safe)}
        assert self.commands
        bad = [command for command in self.commands if tuple(command) not in allowed]
        assert bad == []


@pytest.fixture
def judge(stage: Stage, policy_file: Path) -> Iterator[Judge]:
    judge = Judge(stage, load_policy(policy_file))
    yield judge
    judge.verdict()


def start(stage: Stage, policy_file: Path, **parameters: Any) -> NodeProcess:
    given = {'policy': policy_file, 'autostart': 'true', 'safe_command': str(SAFE), **parameters}
    controller = stage.start('controller', **given)
    assert stage.until(lambda: 'trained on' in controller.output), controller.output
    return controller


def set_parameters(stage: Stage, **values: Any) -> list[Any]:
    request = SetParameters.Request()
    for name, value in values.items():
        message: ParameterMessage = rclpy.Parameter(name, value=value).to_parameter_msg()
        request.parameters.append(message)
    return list(stage.call(SetParameters, 'controller/set_parameters', request).results)


# ---- observations that are not as they should be


def test_bad_observations_at_50_hz(stage: Stage, judge: Judge, policy_file: Path) -> None:
    start(stage, policy_file)
    judge.moving()
    for bad in ([np.nan] * 9, [np.inf] * 9, [1e300] * 9, [0.0] * 8, [0.0] * 10, []):
        judge.feeding = False
        stage.spin(0.1)
        judge.send(bad)
        judge.safe_only()  # as long as nothing good comes
        judge.feeding = True
        judge.moving()


def test_a_flood_of_observations(stage: Stage, judge: Judge, policy_file: Path) -> None:
    """10,000 a second, several times what one controller can answer."""
    controller = start(stage, policy_file)
    judge.moving()
    message = number_array(GOOD, '')
    judge.sent.append(GOOD)

    def flood(seconds: float, condition: Callable[[], bool]) -> None:
        """Publish for so long, and until the condition holds."""
        began, count = time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < seconds or not condition():
            assert elapsed < PATIENCE, controller.output
            # A machine that is too slow for so many takes turns with the spinning.
            for _ in range(min(int(10_000 * elapsed) - count, 500)):
                judge.publisher.publish(message)
                count += 1
            stage.spin(0.0002)

    flood(1, lambda: True)
    before, since = memory(controller), len(judge.commands)
    flood(3, lambda: len(judge.commands) > since + 100)
    assert memory(controller) < before + 5e6
    stop = stage.node.create_publisher(Bool, 'stop', RELIABLE)
    assert stage.until(lambda: stop.get_subscription_count() > 0)
    stop.publish(Bool(data=True))
    flood(1, lambda: judge.commands[-1] == SAFE)  # the stop arrives in the middle of it
    since = len(judge.commands)
    assert stage.until(lambda: len(judge.commands) >= since + 5)
    assert all(command == SAFE for command in judge.commands[since:])


def memory(process: NodeProcess) -> float:
    status = Path(f'/proc/{process.process.pid}/status').read_text()
    return 1e3 * int(status.split('VmRSS:')[1].split()[0])


def test_sources_going_stale_one_at_a_time(stage: Stage, tmp_path: Path) -> None:
    """Joint states and an IMU in, a stamped twist out: another robot than Gymnasium's."""
    policy_file, robot = tmp_path / 'p.safetensors', tmp_path / 'robot.yaml'
    names = {'observation_names': ('angle', 'rate', 'tilt'), 'action_names': ('forward', 'turn')}
    write_policy(policy_file, *random_policy(3, 2, **names))
    robot.write_text(
        'sources:\n'
        '  joints: {type: sensor_msgs/JointState, topic: joint_states, timeout: 0.4}\n'
        '  imu: {type: sensor_msgs/Imu, topic: imu, timeout: 0.2}\n'
        'observation:\n'
        '  angle: {source: joints, joint: arm, field: position}\n'
        '  tilt: {source: imu, field: orientation.pitch}\n'
        '  rate: {source: joints, joint: arm, field: velocity}\n'
        'command:\n'
        '  type: geometry_msgs/TwistStamped\n'
        '  topic: cmd_vel\n'
        '  outputs:\n'
        '    - {action: forward, field: linear.x, scale: 2.0}\n'
        '    - {action: turn, field: angular.z, limits: [-0.1, 0.1]}\n'
    )
    received: list[tuple[float, float]] = []
    stage.node.create_subscription(
        TwistStamped,
        'cmd_vel',
        lambda m: received.append((m.twist.linear.x, m.twist.angular.z)),
        RELIABLE,
    )
    joints = stage.node.create_publisher(JointState, 'joint_states', SENSOR_DATA)
    imu = stage.node.create_publisher(Imu, 'imu', SENSOR_DATA)
    silent: set[str] = set()
    upright = Imu()
    upright.orientation.w = 1.0
    state = JointState(name=['other', 'arm'], position=[9.0, 0.5], velocity=[9.0, -0.5])

    def feed() -> None:
        if 'joint_states' not in silent:
            joints.publish(state)
        if 'imu' not in silent:
            imu.publish(upright)

    stage.node.create_timer(0.02, feed)
    safe = [0.5, 0.05]
    controller = start(stage, policy_file, robot=robot, safe_command=str(safe))
    action = load_policy(policy_file).act([0.5, -0.5, 0.0])
    expected = (2 * float(action[0]), float(np.clip(action[1], -0.1, 0.1)))
    for topic in ('joint_states', 'imu', 'joint_states'):
        assert stage.until(lambda: received[-3:] == [pytest.approx(expected)] * 3), (
            controller.output
        )
        silent.add(topic)
        assert stage.until(lambda: received[-3:] == [tuple(safe)] * 3)
        assert stage.until(lambda t=topic: f'on topic {t}; sent the safe' in controller.output)
        silent.clear()
    # A clock that was set back is a new start; a message that was overtaken is none.
    assert stage.until(lambda: received[-3:] == [pytest.approx(expected)] * 3)
    for seconds in (1000, 5, 2000):
        state.header = Header(stamp=Time(sec=seconds))
        silent.add('joint_states')
        assert stage.until(lambda: received[-1] == tuple(safe))
        count = len(received)
        silent.clear()
        # Always the same stamp: the first one counts, the others are duplicates.
        assert stage.until(lambda n=count: any(c != tuple(safe) for c in received[n:]))
        assert stage.until(lambda: received[-10:] == [tuple(safe)] * 10)
    assert {*received} <= {tuple(safe), *[c for c in received if c == pytest.approx(expected)]}


# ---- others that die, clocks that jump


def test_the_sim_is_killed_and_restarted(stage: Stage, policy_file: Path) -> None:
    pytest.importorskip('mujoco')
    commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
    returns = stage.subscribe(Float64, 'sim/episode_return', EPISODE_RETURNS)
    start(stage, policy_file, observation_timeout=0.3)

    def moves_in(some: list[Any]) -> int:
        return sum(c.data.tolist() != SAFE for c in some)

    for _ in range(2):
        begin, ended = len(commands), len(returns)
        sim = stage.start('sim', env=TASK, mode='realtime')
        assert stage.until(lambda n=begin: moves_in(commands[n:]) > 10), stage.outputs()
        assert stage.until(lambda n=ended: len(returns) > n)
        sim.end(signal.SIGKILL)
        begin = len(commands)
        assert stage.until(lambda n=begin: len(commands) > n + 5 and not moves_in(commands[-5:]))
        begin = len(commands)
        assert stage.until(lambda since=begin: len(commands) > since + 5)
        assert not moves_in(commands[begin:])
    assert all(np.isfinite(c.data).all() and abs(c.data[0]) <= 1 for c in commands)


def test_the_clock_jumps(stage: Stage, judge: Judge, policy_file: Path) -> None:
    clock = stage.node.create_publisher(Clock, '/clock', 10)
    # A busy computer may delay the observations for long; no clock may.
    controller = start(stage, policy_file, use_sim_time='true', observation_timeout=3600.0)
    stage.introduce('controller')
    judge.moving()
    since = len(judge.commands)
    for seconds in (0, 100, 5, 10**6, 0, 3):
        clock.publish(Clock(clock=Time(sec=seconds)))
        stage.spin(0.3)
        judge.moving()
    assert SAFE not in judge.commands[since:]
    for label in ('deactivate', 'cleanup'):
        assert stage.transition(label)
    assert set_parameters(stage, observation_timeout=0.5)[0].successful
    for label in ('configure', 'activate'):
        assert stage.transition(label)
    judge.moving()
    judge.feeding = False
    judge.safe_only()  # it stands still, and stale is stale
    assert controller.end(signal.SIGTERM) == 0


def test_killed_and_the_robot_notices(stage: Stage, judge: Judge, policy_file: Path) -> None:
    """Deadline and liveliness of the command topic, as in docs/robots.md."""
    events: list[str] = []
    qos = QoSProfile(depth=1, deadline=Duration(seconds=0.5))
    qos.liveliness_lease_duration = Duration(seconds=1.0)
    stage.node.create_subscription(
        Float64MultiArray,
        'command',
        lambda message: events.append('command'),
        qos,
        event_callbacks=SubscriptionEventCallbacks(
            deadline=lambda event: events.append('deadline'),
            liveliness=lambda event: events.append(f'alive {event.alive_count}'),
        ),
    )
    controller = start(stage, policy_file, command_deadline=0.5, command_lease=1.0)
    judge.moving()
    assert stage.until(lambda: events[-5:] == ['command'] * 5)
    assert 'alive 1' in events
    controller.end(signal.SIGKILL)
    assert stage.until(lambda: 'deadline' in events)
    assert stage.until(lambda: 'alive 0' in events)
    given = {'command_deadline': 0.5, 'command_lease': 1.0, 'resume_after_crash': 'true'}
    assert start(stage, policy_file, **given)
    judge.moving()


# ---- reload, stop, signals


def test_reload_at_50_hz(stage: Stage, judge: Judge, policy_file: Path) -> None:
    # A busy computer may delay the observations for long; only a fault of a reload counts here.
    controller = start(stage, policy_file, observation_timeout=3600.0)
    judge.moving()
    good = policy_file.read_bytes()
    for bad in (b'', good[:-7], good[:100] + b'x' + good[101:], b'\0' * 100_000):
        policy_file.write_bytes(bad)
        refused = stage.call(Trigger, 'controller/reload')
        assert not refused.success
        assert str(policy_file) in refused.message
        judge.moving()
    write_policy(policy_file, *random_policy(seed=1))
    judge.policies.append(load_policy(policy_file))
    assert stage.call(Trigger, 'controller/reload').success
    judge.moving()
    write_policy(policy_file, *random_policy(seed=1, action_high=(0.5,)))
    refused = stage.call(Trigger, 'controller/reload')
    assert 'its limits are not those of the active policy' in refused.message
    judge.moving()
    assert SAFE not in judge.commands, 'not one command was lost to a fault'
    assert 'Traceback' not in controller.output


def test_stop_during_a_reload(stage: Stage, judge: Judge, policy_file: Path) -> None:
    controller = start(stage, policy_file, ramp_in=0.0)
    stop = stage.node.create_publisher(Bool, 'stop', RELIABLE)
    reload, arm = (
        stage.node.create_client(Trigger, f'controller/{name}') for name in ('reload', 'arm')
    )
    assert stage.until(lambda: reload.service_is_ready() and arm.service_is_ready())
    assert stage.until(lambda: stop.get_subscription_count() > 0)
    stage.introduce('controller')
    judge.moving()
    futures = [reload.call_async(Trigger.Request())]
    stop.publish(Bool(data=True))
    futures += [reload.call_async(Trigger.Request()) for _ in range(3)]
    assert stage.until(lambda: all(future.done() for future in futures))
    assert all(future.result().success for future in futures)
    assert stage.until(lambda: 'topic stop is true' in controller.output)
    judge.safe_only(20)
    refused = stage.call(Trigger, 'controller/arm')
    assert (refused.success, 'released first' in refused.message) == (False, True)
    stop.publish(Bool(data=False))
    stage.spin(0.5)
    judge.safe_only(20)
    # Nor does a round through the lifecycle let it go.
    for label in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert stage.transition(label)
    judge.safe_only(20)
    assert stage.call(Trigger, 'controller/arm').success
    judge.moving()


def test_a_stop_that_was_there_before(stage: Stage, judge: Judge, policy_file: Path) -> None:
    kept = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    stop = stage.node.create_publisher(Bool, 'stop', kept)
    stop.publish(Bool(data=True))
    start(stage, policy_file)
    # Until DDS has made them known to each other, nobody can know of it.
    assert stage.until(lambda: judge.commands[-5:] == [SAFE] * 5)
    judge.safe_only(20)
    stop.publish(Bool(data=False))
    assert stage.until(lambda: stage.call(Trigger, 'controller/arm').success)
    judge.moving()


@pytest.mark.parametrize('reliable', [True, False])
def test_a_short_press_of_the_stop(
    stage: Stage, judge: Judge, policy_file: Path, reliable: bool
) -> None:
    qos = QoSProfile(depth=10)
    if not reliable:
        qos.reliability = QoSReliabilityPolicy.BEST_EFFORT
    stop = stage.node.create_publisher(Bool, 'stop', qos)
    controller = start(stage, policy_file)
    judge.moving()
    assert stage.until(lambda: stop.get_subscription_count() > 0)
    stage.introduce('controller')
    for pressed in range(1, 6):
        stop.publish(Bool(data=True))
        stop.publish(Bool(data=False))
        assert stage.until(
            lambda n=pressed: controller.output.count('topic stop was released') >= n
        )
        judge.safe_only(10)
        assert stage.call(Trigger, 'controller/arm').success
        judge.moving()


def test_nan_lasts_until_something_better_comes(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    start(stage, policy_file, observation_timeout=60.0)
    judge.moving()
    judge.feeding = False
    stage.spin(0.2)
    judge.send([np.nan] * 9)
    judge.safe_only(20)
    judge.feeding = True
    judge.moving()


@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'active', 'finalized'])
def test_sigterm_in_each_state(stage: Stage, judge: Judge, policy_file: Path, state: str) -> None:
    given = {'policy': policy_file, 'safe_command': str(SAFE)}
    controller = stage.start('controller', **given)
    labels = {
        'unconfigured': [],
        'inactive': ['configure'],
        'active': ['configure', 'activate'],
        'finalized': ['configure', 'activate', 'deactivate', 'shutdown'],
    }[state]
    for label in labels:
        assert stage.transition(label)
        if label == 'activate':
            judge.moving()
    assert stage.state() == state
    stage.spin(0.3)
    before = len(judge.commands)
    assert controller.end(signal.SIGTERM) == 0
    if state == 'active':
        assert stage.until(lambda: judge.commands[-1] == SAFE)
    else:
        stage.spin(0.5)
        assert len(judge.commands) == before, 'without commands there is no last one'
    assert controller.survivors() == []
    assert 'Traceback' not in controller.output
    judge.commands.append(SAFE)  # for the verdict, where nothing was to be published


def test_a_hundred_rounds_through_the_lifecycle(stage: Stage, policy_file: Path) -> None:
    # Fast DDS may hang where a publisher is removed to which a reliable subscriber is matched, if
    # one of its timers is due at that moment (eProsima/Fast-DDS#6502): here a hundred are removed.
    judge = Judge(stage, load_policy(policy_file), SENSOR_DATA)
    controller = start(stage, policy_file)
    judge.moving()
    change = lifecycle(stage)

    def use() -> tuple[float, int]:
        return memory(controller), len(os.listdir(f'/proc/{controller.process.pid}/fd'))

    def rounds(count: int) -> None:
        for _ in range(count):
            for label in ('deactivate', 'cleanup', 'configure', 'activate'):
                assert change(label), controller.output

    rounds(20)
    bytes_before, files_before = use()
    rounds(80)
    bytes_after, files_after = use()
    assert files_after <= files_before
    assert bytes_after < bytes_before + 3e6
    assert stage.node.count_publishers('command') == 1
    judge.moving()
    judge.verdict()


def lifecycle(stage: Stage) -> Callable[[str], bool]:
    """Return a way to trigger transitions that does not look for the service every time."""
    from lifecycle_msgs.srv import ChangeState

    client = stage.node.create_client(ChangeState, 'controller/change_state')
    assert stage.until(client.service_is_ready)
    stage.introduce('controller')

    def change(label: str) -> bool:
        request = ChangeState.Request()
        request.transition.label = label
        future = client.call_async(request)
        assert stage.until(future.done), f'{label}: {stage.outputs()}'
        return bool(future.result().success)

    return change


# ---- parameters and what is seen of it


def test_parameters_that_change_while_it_runs(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    start(stage, policy_file)
    judge.moving()
    for name, value, reported in (
        ('safe_command', [0.0, 0.0], 'parameter safe_command has 2 values, expected 1'),
        ('safe_command', [7.0], 'parameter safe_command is [7.0], expected values within'),
        ('slew_rate', [-1.0], 'expected numbers above 0'),
        ('wiring', 'maybe', "parameter wiring is 'maybe', expected one of warn, require, none"),
        ('autostart', False, 'read-only'),
        ('ramp_in', -1.0, 'ramp_in'),
    ):
        (result,) = set_parameters(stage, **{name: value})
        assert not result.successful
        assert reported in result.reason
    # Of several that are set at once and of which one is refused, none acts.
    together = SetParametersAtomically.Request()
    for name, value in (('safe_command', [0.9]), ('policy', 'two\nlines')):
        together.parameters.append(rclpy.Parameter(name, value=value).to_parameter_msg())
    service = 'controller/set_parameters_atomically'
    result = stage.call(SetParametersAtomically, service, together).result
    assert (result.successful, 'expected printable text' in result.reason) == (False, True)
    judge.feeding = False
    judge.safe_only()
    judge.feeding = True
    judge.moving()
    judge.verdict()
    (result,) = set_parameters(stage, slew_rate=[0.5])
    assert result.successful
    stage.spin(0.5)
    since = len(judge.commands)
    assert stage.until(lambda: len(judge.commands) > since + 30)
    steps = np.diff([command[0] for command in judge.commands[since:]])
    assert np.abs(steps).max() <= 0.5 * 0.05 + 1e-9, "the policy's control period is 0.05 s"
    judge.commands = [SAFE]  # slewed commands are no answers of the policy


def test_shadow(stage: Stage, policy_file: Path) -> None:
    commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
    shadow = stage.subscribe(Float64MultiArray, 'controller/shadow_command', RELIABLE)
    observations = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    stage.node.create_timer(0.02, lambda: observations.publish(number_array(GOOD, '')))
    controller = start(stage, policy_file, shadow='true')
    expected = load_policy(policy_file).act(GOOD).astype(float).tolist()
    assert stage.until(lambda: len(shadow) > 10)
    assert {tuple(c.data) for c in shadow} <= {tuple(expected), tuple(SAFE)}
    assert controller.end(signal.SIGINT) == 0
    assert stage.until(lambda: shadow[-1].data.tolist() == SAFE)
    assert commands == []
    assert stage.node.count_publishers('command') == 0


def test_spikes(stage: Stage, judge: Judge, policy_file: Path) -> None:
    judge.feeding = False
    rasters = stage.subscribe(UInt8MultiArray, 'controller/spikes', SENSOR_DATA)
    start(stage, policy_file)
    policy = load_policy(policy_file)

    def shown() -> bool:
        judge.send(GOOD)
        stage.spin(0.05)
        return bool(rasters)

    assert stage.until(shown)
    policy.act(GOOD)
    sizes = [dim.size for dim in rasters[0].layout.dim]
    assert sizes == list(policy.spec.layer_sizes)
    begin = 0
    for dim, layer in zip(rasters[0].layout.dim, policy.spikes, strict=True):
        end = begin + dim.stride
        data = np.array(rasters[0].data[begin:end]).reshape(-1, dim.size)
        assert (data == layer).all()
        begin = end
    assert begin == len(rasters[0].data)


# ---- wiring

SWAPPED = {'bthigh': 'bshin', 'bshin': 'bthigh'}
CASES = {
    'right': (lambda joint, what: {}, {}, ''),
    'two joints swapped': (
        lambda joint, what: {'joint': SWAPPED.get(joint, joint)},
        {},
        'joint bthigh and joint bshin look exchanged',
    ),
    'one sign flipped': (
        lambda joint, what: {'scale': -1} if joint == 'fshin' else {},
        {},
        'joint fshin has the wrong sign',
    ),
    'one scale off': (
        lambda joint, what: {'scale': 10} if (joint, what) == ('bfoot', 'velocity') else {},
        {},
        'bfoot.velocity is ',
    ),
    'half the rate': (
        lambda joint, what: {},
        {'rate': 10.0},
        'ms, but the policy was trained with one every 50.0 ms',
    ),
}


def cheetah_robot(path: Path, change: Callable[[str, str], dict[str, Any]]) -> Path:
    """Return a robot file for HalfCheetah in the sim, with something wrong."""
    import yaml

    example = Path(__file__).parents[1] / 'config' / 'robots' / 'half_cheetah.yaml'
    content = yaml.safe_load(example.read_text())
    for name, entry in content['observation'].items():
        joint, _, what = name.partition('.')
        entry |= change(joint, what)
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize('case', CASES)
def test_wiring_mistakes_are_named(
    stage: Stage, tmp_path: Path, cheetah_file: Path, case: str
) -> None:
    change, parameters, reported = CASES[case]
    robot = cheetah_robot(tmp_path / 'robot.yaml', change)
    diagnostics = stage.subscribe(DiagnosticArray, '/diagnostics')

    def findings() -> list[tuple[int, str]]:
        """Return what was reported, each with the number of commands before it."""
        all_ = [status for array in diagnostics for status in array.status]
        values = [
            {pair.key: pair.value for pair in status.values}
            for status in all_
            if status.name == '/controller'
        ]
        return [(int(value['commands']), value['wiring']) for value in values if 'wiring' in value]

    def is_late(found: str) -> bool:
        """Whether the machine is too busy for the control period: that hides all else."""
        return found.startswith('a step every') and 'rate' not in parameters

    # In commands: four seconds' worth, of which two are a window.
    enough = int(4 * parameters.get('rate', 20.0))

    def judged() -> bool:
        found = [(count, each) for count, each in findings() if not is_late(each)]
        named = bool(reported) and any(reported in each for _, each in found)
        return named or any(count >= enough for count, _ in found)

    stage.start('sim', env='HalfCheetah-v4', mode='realtime')
    start(stage, cheetah_file, robot=robot, safe_command=str([0.0] * 6), **parameters)
    assert stage.until(judged), stage.outputs()
    if reported:
        assert any(reported in each for _, each in findings()), findings()
    else:
        assert all(not each or is_late(each) for _, each in findings()), findings()


def test_what_no_robot_at_rest_shows_stops_it_when_it_moves(
    stage: Stage, cheetah_file: Path
) -> None:
    """With two joints exchanged; until the first command the robot stands still."""
    from proxy_snn_control.learning.tasks import make_environment

    environment = make_environment('HalfCheetah-v4')
    there, _ = environment.reset(seed=0)
    publisher = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
    seen = np.arange(17)
    seen[[2, 3, 11, 12]] = 3, 2, 12, 11

    def step() -> None:
        nonlocal there
        if commands:
            there = environment.step(np.array(commands[-1].data, np.float32))[0]
        publisher.publish(Float64MultiArray(data=there[seen].tolist()))

    timer = stage.node.create_timer(0.05, step)
    controller = start(stage, cheetah_file, wiring='require', safe_command=str([0.0] * 6))
    expected = 'wiring: joint bthigh and joint bshin look exchanged; call ~/arm to continue'
    assert stage.until(lambda: expected in controller.output), controller.output
    assert any(any(command.data) for command in commands)

    def last(count: int) -> bool:
        return len(commands) > count and not any(any(each.data) for each in commands[-count:])

    assert stage.until(lambda: last(3)), 'what was on its way has come'
    commands.clear()
    assert stage.until(lambda: len(commands) > 10)
    assert not any(any(command.data) for command in commands), 'the safe command alone'
    stage.node.destroy_timer(timer)
    assert controller.end(signal.SIGTERM) == 0
    again = start(stage, cheetah_file, wiring='require', safe_command=str([0.0] * 6))
    assert 'stopped before this controller was started' in again.output


def test_wiring_keeps_it_from_going_active(
    stage: Stage, tmp_path: Path, cheetah_file: Path
) -> None:
    """With a wrong scale it checks, names it, and does not move."""
    wrong = cheetah_robot(tmp_path / 'wrong.yaml', CASES['one scale off'][0])
    right = cheetah_robot(tmp_path / 'right.yaml', CASES['right'][0])
    commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
    observations = stage.subscribe(Float64MultiArray, 'observation', SENSOR_DATA)
    stage.start('sim', env='HalfCheetah-v4', mode='realtime')
    # Somebody else moves it: of a robot at rest little can be checked.
    drive = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    rng = np.random.default_rng(0)
    timer = stage.node.create_timer(
        0.05, lambda: drive.publish(Float64MultiArray(data=rng.uniform(-1, 1, 6).tolist()))
    )
    assert stage.until(lambda: bool(observations) and np.abs(observations[-1].data[8:]).max() > 1)
    given = {'robot': wrong, 'wiring': 'require', 'safe_command': str([0.0] * 6)}
    controller = start(stage, cheetah_file, **given)
    assert stage.until(lambda: 'bfoot.velocity is' in controller.output), controller.output
    assert stage.state() == 'inactive'
    stage.node.destroy_timer(timer)
    stage.node.destroy_publisher(drive)
    assert stage.transition('cleanup')
    assert set_parameters(stage, robot=str(right))[0].successful
    commands.clear()
    assert stage.transition('configure')
    stage.spin(1.5)
    assert stage.state() == 'inactive', 'whoever took over from autostart decides'
    assert stage.until(lambda: stage.transition('activate')), controller.output
    assert stage.until(lambda: len(commands) > 5)
