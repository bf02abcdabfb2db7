# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Faults of a real robot, on real processes: other publishers, killed processes."""

import itertools
import os
from pathlib import Path
import signal
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
from conftest import NodeProcess, PATIENCE, random_policy, Stage
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
import numpy as np
from proxy_snn_control.control.messages import number_array
from proxy_snn_control.nodes.memory import ACTIVE, Memory, STOPPED
from proxy_snn_control.nodes.messages import RELIABLE, SENSOR_DATA
from proxy_snn_control.policy import load_policy, write_policy
import pytest
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray, Header
from std_srvs.srv import Trigger
from test_faults import GOOD, Judge, SAFE, set_parameters, start
from trajectory_msgs.msg import JointTrajectory
import yaml

WARN = DiagnosticStatus.WARN
NAMES = {'observation_names': ('angle',), 'action_names': ('go',), 'control_period': 0.02}


@pytest.fixture
def judge(stage: Stage, policy_file: Path) -> Judge:
    return Judge(stage, load_policy(policy_file))


class Diagnostics:
    """A node's diagnostics as they come."""

    def __init__(self, stage: Stage, node: str = 'controller') -> None:
        self.node = node
        self.stage, self.last = stage, DiagnosticStatus()
        self.all: list[DiagnosticStatus] = []
        stage.node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 100)

    def _take(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(f'/{self.node}'):
                self.last = status
                self.all.append(status)

    def __getitem__(self, key: str) -> str:
        return {pair.key: pair.value for pair in self.last.values}.get(key, '')

    def reports(self, text: str, level: bytes | None = None, seconds: float = PATIENCE) -> bool:
        return self.stage.until(
            lambda: text in self.last.message and level in (None, self.last.level), seconds
        )


def meet_stop(stage: Stage, stop: Any) -> None:
    assert stage.until(lambda: stop.get_subscription_count() >= 2)
    stage.introduce('controller')


def press(stage: Stage, stop: Any, controller: NodeProcess) -> None:
    """Press the stop, and wait until the controller has received that."""
    before = controller.output.count('topic stop is true')
    stop.publish(Bool(data=True))
    assert stage.until(lambda: controller.output.count('topic stop is true') > before)


# ---- the stop


def test_two_who_can_stop(stage: Stage, judge: Judge, policy_file: Path) -> None:
    """One presses, the other publishes false ten times a second: that is no release."""
    controller = start(stage, policy_file)
    a, b = (stage.node.create_publisher(Bool, 'stop', QoSProfile(depth=10)) for _ in 'ab')
    meet_stop(stage, a)
    meet_stop(stage, b)
    stage.node.create_timer(0.1, lambda: b.publish(Bool(data=False)))
    judge.moving()
    press(stage, a, controller)
    refused = stage.call(Trigger, 'controller/arm')
    assert (refused.success, 'released first' in refused.message) == (False, True)
    judge.safe_only(20)
    a.publish(Bool(data=False))
    assert stage.until(lambda: stage.call(Trigger, 'controller/arm').success)
    judge.moving()
    # Who pressed it is gone for good: then whoever is there may release it.
    press(stage, a, controller)
    judge.safe_only()
    stage.node.destroy_publisher(a)
    assert stage.until(lambda: stage.call(Trigger, 'controller/arm').success)
    judge.moving()
    judge.verdict()


def test_a_stop_outlasts_the_controllers_process(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    stop = stage.node.create_publisher(Bool, 'stop', QoSProfile(depth=10))
    controller = start(stage, policy_file, resume_after_crash='true')
    judge.moving()
    meet_stop(stage, stop)
    press(stage, stop, controller)
    judge.safe_only()
    for number in (signal.SIGKILL, signal.SIGTERM):
        controller.end(number)
        before = len(judge.commands)
        controller = start(stage, policy_file, resume_after_crash='true')
        judge.safe_from_the_start(before)
        assert 'stopped before this controller was started' in controller.output
    assert stage.call(Trigger, 'controller/arm').success
    judge.moving()
    controller.end(signal.SIGTERM)
    start(stage, policy_file)
    judge.moving()
    judge.verdict()


def test_after_a_crash_it_waits_for_arm(stage: Stage, judge: Judge, policy_file: Path) -> None:
    diagnostics = Diagnostics(stage)
    controller = start(stage, policy_file)
    judge.moving()
    controller.end(signal.SIGKILL)
    before = len(judge.commands)
    controller = start(stage, policy_file)
    judge.safe_from_the_start(before)
    assert diagnostics.reports('was active and did not shut down in order; call ~/arm to continue')
    assert stage.call(Trigger, 'controller/arm').success
    judge.moving()
    assert controller.end(signal.SIGINT) == 0
    start(stage, policy_file)
    judge.moving()
    judge.verdict()


def test_what_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_HOME', str(tmp_path / 'home'))
    assert Memory(5, '/arm/controller').recall() == ''
    for state in (ACTIVE, STOPPED, ''):
        Memory(5, '/arm/controller').keep(state, 10.0)
        assert Memory(5, '/arm/controller').recall() == state
        assert Memory(6, '/arm/controller').recall() == ''
        assert Memory(5, '/leg/controller').recall() == ''
    long = '/cell' * 40
    Memory(5, f'{long}/a/controller').keep(STOPPED, 10.0)
    assert Memory(5, f'{long}/a/controller').recall() == STOPPED
    assert Memory(5, f'{long}/b/controller').recall() == ''
    (path,) = (tmp_path / 'home').iterdir()
    os.mkfifo(path / '5.arm.controller')
    assert Memory(5, '/arm/controller').recall() == STOPPED, 'what cannot be read is no permission'
    monkeypatch.setenv('ROS_HOME', str(path / '5.arm.controller'))
    memory = Memory(5, '/arm/controller')
    memory.keep(ACTIVE, 10.0)
    assert 'a stop would be unknown' in memory.trouble


def test_a_heartbeat_of_the_stop(stage: Stage, judge: Judge, policy_file: Path) -> None:
    controller = start(stage, policy_file, stop_heartbeat=2.0)
    stop = stage.node.create_publisher(Bool, 'stop', QoSProfile(depth=10))
    meet_stop(stage, stop)
    assert stage.until(lambda: 'not been published for more than 2 s' in controller.output)
    judge.safe_only()
    refused = stage.call(Trigger, 'controller/arm')
    assert 'expected a publisher that repeats false' in refused.message
    timer = stage.node.create_timer(0.1, lambda: stop.publish(Bool(data=False)))
    assert stage.until(lambda: stage.call(Trigger, 'controller/arm').success)
    judge.moving()
    timer.cancel()  # its publisher stops, without a last message
    silent = 'a publisher of topic stop has not published for more than 2 s'
    assert stage.until(lambda: silent in controller.output)
    judge.safe_only(20)
    judge.verdict()


# ---- other publishers


def test_other_publishers_are_named(stage: Stage, judge: Judge, policy_file: Path) -> None:
    diagnostics = Diagnostics(stage)
    controller = start(stage, policy_file)
    judge.moving()
    other = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    assert diagnostics.reports(
        'topic /command has other publishers: /observer', DiagnosticStatus.WARN
    )
    judge.moving()
    assert set_parameters(stage, rivals='stop')[0].successful
    assert diagnostics.reports('other publishers: /observer', DiagnosticStatus.ERROR)
    judge.safe_only(20)
    stage.node.destroy_publisher(other)
    stage.spin(1.5)
    judge.moving()
    namesake = start(stage, policy_file)
    assert diagnostics.reports('other publishers: /controller (another node of that name)')
    namesake.end(signal.SIGTERM)
    second = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    assert diagnostics.reports('topic /observation has 2 publishers: /observer, /observer')
    stage.node.destroy_publisher(second)
    # Each is a warning once; what stops the robot is an error, at most once a second.
    lines = [each for each in controller.output.splitlines() if 'has other publishers' in each]
    warnings = [each.partition('has other publishers')[2] for each in lines if '[WARN]' in each]
    assert sorted(warnings) == sorted({*warnings}), 'and not once a second'
    times = [float(each.split('[')[2].partition(']')[0]) for each in lines if '[ERROR]' in each]
    assert times
    assert all(later - earlier > 0.99 for earlier, later in itertools.pairwise(times))
    judge.verdict()


def test_who_else_commands_is_known_before_the_first_command(
    stage: Stage, policy_file: Path
) -> None:
    other = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    given = {'rivals': 'stop', 'safe_command': str(SAFE)}
    controller = stage.start('controller', policy=policy_file, **given)
    commands = stage.subscribe(Float64MultiArray, 'command')
    observations = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    stage.introduce('controller')
    stage.node.create_timer(0.01, lambda: observations.publish(number_array(GOOD, '')))
    for _ in range(3):  # the lookup of every second may come in between once
        for label in ('configure', 'activate'):
            assert stage.transition(label), controller.output
        assert stage.until(lambda: bool(commands)), controller.output
        for label in ('deactivate', 'cleanup'):
            assert stage.transition(label), controller.output
        assert {tuple(each.data) for each in commands} == {tuple(SAFE)}
        commands.clear()
    stage.node.destroy_publisher(other)


def fail_to_publish(stage: Stage, topic: str) -> None:
    """Have Fast DDS refuse all messages of a topic: they are larger than its history's memory."""
    profiles = stage.folder / 'profiles.xml'
    profiles.write_text(
        '<dds xmlns="http://www.eprosima.com"><profiles>'
        f'<data_writer profile_name="{topic}">'
        '<historyMemoryPolicy>PREALLOCATED</historyMemoryPolicy>'
        '</data_writer></profiles></dds>'
    )
    stage.environment['FASTDDS_DEFAULT_PROFILES_FILE'] = str(profiles)
    stage.environment['RMW_FASTRTPS_USE_QOS_FROM_XML'] = '1'


def test_a_publish_that_fails_ends_no_controller(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    diagnostics = Diagnostics(stage)
    fail_to_publish(stage, '/command')
    controller = start(stage, policy_file)
    assert diagnostics.reports('that the middleware did not take', DiagnosticStatus.WARN)
    assert (int(diagnostics['lost_commands']) > 0, int(diagnostics['commands'])) == (True, 0)
    assert 'topic /command: a message is lost' in controller.output
    assert stage.transition('deactivate'), controller.output
    assert stage.transition('activate'), controller.output
    assert controller.end(signal.SIGTERM) == 0, controller.output
    assert not judge.commands
    assert 'Traceback' not in controller.output


@pytest.mark.parametrize(
    ('service', 'reported'),
    [('arm', 'an answer or an event is lost'), ('reload', 'an answer is lost')],
)
def test_an_answer_that_is_not_sent_ends_no_controller(
    stage: Stage, judge: Judge, policy_file: Path, service: str, reported: str
) -> None:
    fail_to_publish(stage, f'rr/controller/{service}Reply')
    controller = start(stage, policy_file)
    judge.moving()
    client = stage.node.create_client(Trigger, f'controller/{service}')
    assert stage.until(client.service_is_ready)
    stage.spin(0.5)
    client.call_async(Trigger.Request())
    assert stage.until(lambda: reported in controller.output)
    judge.moving()
    assert controller.end(signal.SIGTERM) == 0, controller.output
    judge.verdict()


@pytest.mark.parametrize('topic', ['/observation', '/diagnostics'])
def test_a_publish_that_fails_ends_no_sim(stage: Stage, policy_file: Path, topic: str) -> None:
    fail_to_publish(stage, topic)
    sim = stage.start('sim', env='InvertedDoublePendulum-v5', mode='realtime', episodes='2')
    commands = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    stage.node.create_timer(0.02, lambda: commands.publish(Float64MultiArray(data=[1.0])))
    assert stage.until(lambda: sim.process.poll() is not None), sim.output
    assert sim.process.returncode == 0, sim.output
    assert f'topic {topic}: a message is lost' in sim.output
    assert 'episode 2: return' in sim.output


def joint_robot(path: Path, source: dict[str, Any] | None = None, **command: Any) -> Path:
    joints = {'type': 'sensor_msgs/JointState', 'topic': 'joint_states', **(source or {})}
    content = {
        'sources': {'joints': joints},
        'observation': {'angle': {'source': 'joints', 'joint': 'arm', 'field': 'position'}},
        'command': {
            'type': 'std_msgs/Float64MultiArray',
            'topic': 'command',
            'outputs': [{'action': 'go'}],
            **command,
        },
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


class Joint:
    """A robot's driver: where its joint is, at 50 Hz."""

    def __init__(self, stage: Stage, position: float, name: str = 'arm') -> None:
        self.position, self.stamp, self.name = position, 0.0, name
        self.twice = False
        self._publisher = stage.node.create_publisher(JointState, 'joint_states', SENSOR_DATA)
        self.timer = stage.node.create_timer(0.02, self._publish)

    def _publish(self) -> None:
        self.stamp += 0.02
        nanoseconds = round(self.stamp * 1e9) + 10**9
        stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        message = JointState(
            header=Header(stamp=stamp), name=[self.name], position=[self.position]
        )
        self._publisher.publish(message)
        if self.twice:
            time.sleep(0.005)  # at once, the second would take the first one's place in the queue
            self._publisher.publish(message)


def small_policy(folder: Path) -> Path:
    path = folder / 'small.safetensors'
    write_policy(path, *random_policy(1, 1, (8,), **NAMES))
    return path


def test_two_drivers_of_one_joint_and_messages_that_are_left_out(
    stage: Stage, tmp_path: Path
) -> None:
    diagnostics = Diagnostics(stage)
    robot = joint_robot(tmp_path / 'robot.yaml')
    path = small_policy(tmp_path)
    commands = stage.subscribe(Float64MultiArray, 'command', QoSProfile(depth=100))
    start(stage, path, robot=robot)
    joint = Joint(stage, 0.5)
    Joint(stage, 0.0, 'leg')  # another driver on the same topic, of another joint: as it may be
    assert stage.until(lambda: int(diagnostics['commands'] or 0) > 50)
    assert 'is published by' not in diagnostics.last.message
    joint.twice = True
    assert diagnostics.reports('% of its messages were left out (so far')
    assert int(diagnostics['joint_states: repeated']) > 2
    assert float(diagnostics['joint_states: age_ms']) < 200
    joint.twice = False
    Joint(stage, 0.0)
    assert diagnostics.reports(
        'topic /joint_states: joint arm is published by /observer, /observer'
    )
    commands.clear()
    assert stage.until(lambda: len(commands) > 40)
    expected = load_policy(path).act([0.5]).astype(float).tolist()
    others = [each.data.tolist() for each in commands if each.data.tolist() != expected]
    assert all(each == [0.0] for each in others), 'the first is read, or on a busy computer none'
    assert len(others) < 20
    assert int(diagnostics['joint_states: of another publisher']) > 0


def test_an_incompatible_qos_is_named(stage: Stage, tmp_path: Path) -> None:
    diagnostics = Diagnostics(stage)
    robot = joint_robot(tmp_path / 'robot.yaml', source={'reliable': True})
    Joint(stage, 0.5)  # best effort
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    commands = stage.subscribe(Float64MultiArray, 'command', latched)
    start(stage, small_policy(tmp_path), robot=robot)
    assert diagnostics.reports('no observation for', DiagnosticStatus.ERROR)
    for who in ('joint_states is published', 'command is subscribed to'):
        expected = f'topic /{who} by /observer with an incompatible QoS, so nothing is received: '
        assert stage.until(lambda expected=expected: expected in stage.outputs())
        assert diagnostics.reports(expected, DiagnosticStatus.ERROR)
    assert commands == []


def test_a_clock_that_never_comes_is_reported(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    diagnostics = Diagnostics(stage)
    start(stage, policy_file, wiring='none', use_sim_time='true')
    judge.moving()
    assert diagnostics.reports('nothing was received on /clock', WARN)
    clock = stage.node.create_publisher(Clock, '/clock', 1)
    stage.node.create_timer(0.1, lambda: clock.publish(Clock(clock=Time(sec=5))))
    assert diagnostics.reports('active', DiagnosticStatus.OK)
    judge.verdict()


def test_faults_between_two_reports_are_reported(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    diagnostics = Diagnostics(stage)
    start(stage, policy_file, wiring='none', observation_timeout=3600.0)
    judge.moving()

    def reported() -> bool:
        judge.send([np.nan] * 9)
        return diagnostics.reports('safe commands since the last report: ', WARN, 1.2)

    assert any(reported() for _ in range(10))
    assert '; topic observation: ' in diagnostics.last.message
    assert diagnostics.reports('active', DiagnosticStatus.OK)
    judge.verdict()


def test_two_drivers_that_publish_at_the_same_moment(stage: Stage, tmp_path: Path) -> None:
    """Each half of the joints on one topic: neither takes the other's place."""
    names = ('a.position', 'b.position')
    path, robot = tmp_path / 'two.safetensors', tmp_path / 'robot.yaml'
    write_policy(path, *random_policy(2, 1, (8,), **{**NAMES, 'observation_names': names}))
    content = yaml.safe_load(joint_robot(robot).read_text())
    content['observation'] = {
        f'{joint}.position': {'source': 'joints', 'joint': joint, 'field': 'position'}
        for joint in 'ab'
    }
    robot.write_text(yaml.safe_dump(content, sort_keys=False))
    commands = stage.subscribe(Float64MultiArray, 'command', QoSProfile(depth=100))
    drivers = [stage.node.create_publisher(JointState, 'joint_states', SENSOR_DATA) for _ in 'ab']
    moments = 0

    def publish() -> None:
        nonlocal moments
        moments += 1
        stamp = Time(sec=moments // 20, nanosec=moments % 20 * 50_000_000)
        for driver, joint in zip(drivers, 'ab', strict=True):
            driver.publish(JointState(header=Header(stamp=stamp), name=[joint], position=[0.1]))

    stage.node.create_timer(0.05, publish)
    start(stage, path, robot=robot, observation_timeout=60.0)
    assert stage.until(lambda: len(commands) > 5)
    begin = moments - len(commands)
    assert stage.until(lambda: moments - begin >= 50)
    assert len(commands) > 40, 'of 50'


OF_ANOTHER_TYPE = """
import rclpy
from std_msgs.msg import Bool

rclpy.init()
node = rclpy.create_node("stranger")
publisher = node.create_publisher(Bool, "joint_states", 10)
rclpy.spin(node)
"""


def test_a_topic_of_another_type_is_a_sentence(
    stage: Stage, policy_file: Path, tmp_path: Path
) -> None:
    robot = joint_robot(tmp_path / 'robot.yaml', topic='stop')
    path = small_policy(tmp_path)
    controller = stage.start('controller', policy=path, robot=robot, autostart='true')
    assert controller.wait() == 1
    assert 'topic stop: cannot be created as std_msgs/Float64MultiArray' in controller.output
    assert 'Traceback' not in controller.output
    # Not by the stage's node: Fast DDS was once seen to crash where such a publisher was
    # destroyed.
    stage.launch([sys.executable, '-c', OF_ANOTHER_TYPE])
    start(stage, path, robot=joint_robot(tmp_path / 'right.yaml'))
    expected = (
        'topic /joint_states is published by /stranger as std_msgs/Bool, expected sensor_msgs/'
    )
    assert stage.until(lambda: expected in stage.outputs())


def test_one_topic_for_what_comes_and_what_goes_is_refused(
    stage: Stage, policy_file: Path
) -> None:
    given = {'policy': policy_file, 'autostart': 'true'}
    controller = stage.start('controller', '-r', 'command:=observation', **given)
    guard = stage.start('guard', '-r', 'guarded_command:=command', safe_command='[0.0]')
    assert (controller.wait(), guard.wait()) == (1, 1)
    assert 'topic /observation is source and command, too' in controller.output
    assert 'guarded_command are both /command, expected two topics' in guard.output
    assert 'Traceback' not in stage.outputs()


# ---- positions


@pytest.mark.parametrize(
    'command',
    [
        {'interface': 'position', 'outputs': [{'action': 'go', 'joint': 'arm'}]},
        {
            'type': 'trajectory_msgs/JointTrajectory',
            'time_from_start': 0.1,
            'outputs': [{'action': 'go', 'joint': 'arm'}],
        },
    ],
)
def test_a_position_begins_where_the_robot_stands(
    stage: Stage, tmp_path: Path, command: dict[str, Any]
) -> None:
    """The first command to a robot at 1 rad is 1, and then it moves slowly."""
    path = tmp_path / 'high.safetensors'
    write_policy(path, *random_policy(1, 1, (8,), **NAMES, action_low=(-2.0,), action_high=(2.0,)))
    robot = joint_robot(tmp_path / 'robot.yaml', **command)
    received: list[float] = []
    if 'type' in command:
        stage.node.create_subscription(
            JointTrajectory,
            'command',
            lambda m: received.append(m.points[0].positions[0]),
            QoSProfile(depth=100),
        )
    else:
        stage.node.create_subscription(
            Float64MultiArray,
            'command',
            lambda m: received.append(m.data[0]),
            QoSProfile(depth=100),
        )
    given = {'policy': path, 'robot': robot, 'slew_rate': '[0.5]'}
    controller = stage.start('controller', **given, observation_timeout=0.3)
    assert stage.transition('configure')
    stage.meet('command')
    assert stage.transition('activate')
    assert stage.until(lambda: 'nothing is sent' in controller.output)
    stage.spin(0.3)
    assert received == [], 'stale, and no position is known to be safe'
    joint = Joint(stage, 1.0)
    assert stage.until(lambda: len(received) > 20)
    assert abs(received[0] - 1.0) <= 0.5 * 0.02 + 1e-9
    assert np.abs(np.diff(received)).max() <= 0.5 * 0.02 + 1e-9
    joint.timer.cancel()
    count = len(received)
    assert stage.until(lambda: len(received) > count + 5 and len(set(received[-5:])) == 1), (
        'it stays at its last command'
    )
    # Moved by hand while nobody commanded: from there, and not from what was sent last.
    assert stage.transition('deactivate')
    joint.position = -1.0
    joint.timer.reset()
    stage.spin(0.2)
    stage.introduce('controller')
    count = len(received)
    assert stage.transition('activate')
    assert stage.until(lambda: len(received) > count + 10)
    assert received[count] == pytest.approx(-1.0, abs=0.5 * 0.02 + 1e-9)


# ---- wiring that cannot be checked


def test_wiring_that_cannot_be_checked_is_reported(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    diagnostics = Diagnostics(stage)
    refused = stage.start('controller', policy=policy_file, wiring='require', autostart='true')
    assert refused.wait() == 1
    assert (
        "parameter wiring is 'require', but this policy file has no transition" in refused.output
    )
    controller = start(stage, policy_file)
    assert stage.until(lambda: 'transition.whitening' in controller.output), controller.output
    judge.moving()
    assert stage.until(lambda: 'cannot be named' in diagnostics['wiring_checks'])


def test_what_stands_still_is_reported(stage: Stage, policy_file: Path, judge: Judge) -> None:
    """A sensor that repeats itself while commands change, with and without subscribers."""
    diagnostics = Diagnostics(stage)
    start(stage, policy_file, ramp_in=4.0, safe_command='[0.9]')
    judge.feeding = False
    stage.node.create_timer(0.05, lambda: judge.send(GOOD))
    reported = 'all observations repeat bit for bit, although commands change'

    def reported_once_more() -> bool:
        """Commands change while they grow: on a busy machine that may be over unseen."""
        return diagnostics.reports(reported, None, 8) or not (
            stage.transition('deactivate') and stage.transition('activate')
        )

    assert any(reported_once_more() and reported in diagnostics.last.message for _ in range(4))


# ---- lifecycle, lock and parameters


def test_transitions_that_cannot_be_are_answered(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    controller = start(stage, policy_file)
    judge.moving()
    for number, label in (
        (1, ''),
        (99, ''),
        (0, 'configure'),
        (0, 'nonsense'),
        (0, 'transition_error'),
    ):
        request = ChangeState.Request()
        request.transition.id, request.transition.label = number, label
        assert not stage.call(ChangeState, 'controller/change_state', request).success
    judge.moving()
    assert stage.state() == 'active'
    assert controller.process.poll() is None
    judge.verdict()


BROKEN = """
import sys
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.controller import Controller
from proxy_snn_control.nodes.process import run

class Broken(Controller):
    def _configure(self):
        raise RuntimeError("a defect in configure")

stopping.install()
sys.exit(run(Broken, sys.argv[1:], Broken.start))
"""


def test_an_exception_in_a_transition_is_logged_whole(stage: Stage, policy_file: Path) -> None:
    command = [sys.executable, '-c', BROKEN, '--ros-args', '-p', f'policy:={policy_file}']
    controller = stage.launch(command)
    assert not stage.transition('configure')
    assert stage.until(lambda: 'a defect in configure' in controller.output)
    assert 'raise RuntimeError("a defect' in controller.output or '_configure' in controller.output
    assert 'Traceback' in controller.output
    assert stage.state() == 'unconfigured'


SUBSCRIBER = """
import rclpy
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray
rclpy.init()
node = rclpy.create_node("subscriber")
received = lambda message: print("received", flush=True)
node.create_subscription(Float64MultiArray, "command", received, QoSProfile(depth=1))
rclpy.spin(node)
"""


def test_a_subscriber_that_hangs_is_not_waited_for(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    """A stopped process acknowledges nothing; the others receive the last command at once."""
    subscriber = stage.launch([sys.executable, '-c', SUBSCRIBER])
    start(stage, policy_file)
    assert stage.until(lambda: 'received' in subscriber.output)
    subscriber.process.send_signal(signal.SIGSTOP)
    judge.moving()
    assert stage.transition('deactivate')
    assert stage.until(lambda: judge.commands[-1] == SAFE)
    for label in ('cleanup', 'configure', 'activate'):
        assert stage.transition(label)
    judge.moving()
    judge.verdict()


def test_lock(stage: Stage, judge: Judge, policy_file: Path) -> None:
    start(stage, policy_file, lock='true')
    judge.moving()
    for name, value in (
        ('policy', '/x'),
        ('robot', '/x'),
        ('safe_command', [0.0]),
        ('lock', False),
    ):
        assert not set_parameters(stage, **{name: value})[0].successful
    for service in ('reload', 'arm'):
        answer = stage.call(Trigger, f'controller/{service}')
        assert (answer.success, 'locked' in answer.message) == (False, True)
    assert stage.transition('deactivate')
    assert stage.transition('cleanup')
    assert not set_parameters(stage, policy='/x')[0].successful, 'nor by a way round'
    judge.verdict()


def test_a_locked_controller_that_was_stopped_is_armed_before_configure(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    controller = start(stage, policy_file, lock='true')
    stop = stage.node.create_publisher(Bool, 'stop', QoSProfile(depth=10))
    judge.moving()
    meet_stop(stage, stop)
    press(stage, stop, controller)
    stop.publish(Bool(data=False))
    refused = stage.call(Trigger, 'controller/arm').message
    assert 'start it again with autostart false and call ~/arm before configure' in refused
    controller.end(signal.SIGTERM)
    stage.start('controller', policy=policy_file, safe_command=str(SAFE), lock='true')
    assert stage.call(Trigger, 'controller/arm').success
    assert stage.transition('configure')
    assert stage.transition('activate')
    judge.moving()
    judge.verdict()


def test_a_policy_that_is_set_but_not_loaded_does_not_act(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    diagnostics = Diagnostics(stage)
    start(stage, policy_file)
    judge.moving()
    other = policy_file.with_name('other.safetensors')
    write_policy(other, *random_policy(seed=1))
    assert set_parameters(stage, policy=str(other))[0].successful
    reports = len(diagnostics.all)
    assert stage.until(lambda: len(diagnostics.all) > reports + 1)
    assert diagnostics['policy'] == str(policy_file)
    judge.policies.append(load_policy(other))
    assert stage.call(Trigger, 'controller/reload').success
    assert stage.until(lambda: diagnostics['policy'] == str(other))
    judge.verdict()


def test_a_reload_does_not_exchange_what_computes(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    """For that there are topics and timers to make; the next configure does."""
    controller = start(stage, policy_file)
    judge.moving()
    assert set_parameters(stage, backend='lava')[0].successful
    answer = stage.call(Trigger, 'controller/reload')
    assert not answer.success
    assert 'other parameters or the robot file were changed since configure' in answer.message
    judge.moving()
    assert controller.end(signal.SIGTERM) == 0, controller.output
    judge.verdict()


def test_a_fallback_that_lasts_is_an_error(stage: Stage, judge: Judge, policy_file: Path) -> None:
    """Nobody is there to answer, as when launch puts the neuromorphic node elsewhere."""
    diagnostics = Diagnostics(stage)
    start(stage, policy_file, backend='lava')
    judge.moving()
    assert diagnostics.reports('does not answer on neuromorphic/answer', DiagnosticStatus.ERROR)
    judge.verdict()


def test_without_autostart_it_reports_what_it_waits_for(stage: Stage, policy_file: Path) -> None:
    controller = stage.start('controller', policy=policy_file)
    assert stage.until(lambda: 'waits to be configured and activated' in controller.output)


# ---- the robot's side


def test_the_guard_after_the_controller_was_killed(
    stage: Stage, judge: Judge, policy_file: Path
) -> None:
    """What a forward_command_controller receives, which keeps the last command."""
    received: list[list[float]] = []
    stage.node.create_subscription(
        Float64MultiArray, 'guarded_command', lambda m: received.append(m.data.tolist()), RELIABLE
    )
    diagnostics = Diagnostics(stage, 'guard')
    guard = stage.start('guard', safe_command='[0.75]', timeout=0.3)
    controller = start(stage, policy_file)
    judge.moving()
    assert stage.until(lambda: len(received) > 20)
    assert [0.75] not in received[-10:]
    controller.end(signal.SIGKILL)
    assert stage.until(lambda: received[-5:] == [[0.75]] * 5), guard.output
    stray = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    stage.introduce('guard')
    for bad in ([np.nan], [], [0.1, 0.2]):
        stray.publish(number_array(bad, ''))
    assert diagnostics.reports('since the last report that are not 1 finite values')
    assert received[-1] == [0.75]
    start(stage, policy_file, resume_after_crash='true')
    assert stage.until(lambda: [0.75] not in received[-10:])
    assert guard.end(signal.SIGTERM) == 0
    assert stage.until(lambda: received[-1] == [0.75])
    refused = stage.start('guard')
    assert refused.wait() == 1
    assert 'parameter safe_command is [], expected a finite value' in refused.output
