# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The controller under a lifecycle manager that asks what Nav2's lifecycle_manager asks."""

from pathlib import Path
import signal
from typing import Any
import uuid

from conftest import Stage
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
import numpy as np
from proxy_snn_control.control.messages import number_array
from proxy_snn_control.nodes.messages import SENSOR_DATA
from proxy_snn_control.policy import load_policy
import pytest
from rcl_interfaces.msg import Log
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from std_msgs.msg import Float64MultiArray
from test_faults import Judge, SAFE, set_parameters
from test_robot_side import Diagnostics, fail_to_publish

# Each transition with the state that the manager then asks for: LifecycleManager's own table.
STATES = {
    Transition.TRANSITION_CONFIGURE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_ACTIVATE: State.PRIMARY_STATE_ACTIVE,
    Transition.TRANSITION_DEACTIVATE: State.PRIMARY_STATE_INACTIVE,
    Transition.TRANSITION_CLEANUP: State.PRIMARY_STATE_UNCONFIGURED,
    Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: State.PRIMARY_STATE_FINALIZED,
}


class Manager:
    """Changes a node's state by transition numbers, and asks for the state after each."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._change = stage.node.create_client(ChangeState, 'controller/change_state')
        self._state = stage.node.create_client(GetState, 'controller/get_state')
        services = (self._change, self._state)
        assert stage.until(lambda: all(each.service_is_ready() for each in services))
        stage.introduce('controller')

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        assert self.stage.until(future.done), self.stage.outputs()
        return future.result()

    def state(self) -> int:
        return int(self._call(self._state, GetState.Request()).current_state.id)

    def change(self, transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self._call(self._change, request).success)

    def bring(self, *transitions: int) -> None:
        for transition in transitions:
            assert self.change(transition), self.stage.outputs()
            assert self.state() == STATES[transition]


def test_startup_pause_reset_and_shutdown(stage: Stage, policy_file: Path) -> None:
    judge = Judge(stage, load_policy(policy_file))
    controller = stage.start('controller', policy=policy_file, safe_command=str(SAFE))
    manager = Manager(stage)
    configure, activate, deactivate, cleanup, shutdown = STATES

    def refuses(*transitions: int) -> None:
        """Check that what cannot be now is answered with no, and changes nothing."""
        state = manager.state()
        for transition in transitions:
            assert not manager.change(transition)
        assert manager.state() == state

    refuses(activate, deactivate, cleanup)
    manager.bring(configure, activate)
    judge.moving()
    refuses(configure, activate, cleanup, shutdown, Transition.TRANSITION_INACTIVE_SHUTDOWN)
    judge.moving()
    manager.bring(deactivate)  # pause
    assert stage.until(lambda: judge.commands[-1] == SAFE)
    count = len(judge.commands)
    refuses(configure, deactivate, shutdown, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert len(judge.commands) == count
    manager.bring(activate)  # resume
    judge.moving()
    manager.bring(deactivate, cleanup)  # reset
    refuses(activate, deactivate, cleanup)
    manager.bring(configure, activate)
    judge.moving()
    manager.bring(deactivate, cleanup, shutdown)
    refuses(configure, activate, deactivate, cleanup, shutdown)
    assert stage.until(lambda: judge.commands[-1] == SAFE)
    assert controller.end(signal.SIGTERM) == 0
    assert 'Traceback' not in controller.output
    judge.verdict()


def test_what_cannot_be_configured_is_reported_to_the_manager(
    stage: Stage, policy_file: Path
) -> None:
    whole = policy_file.read_bytes()
    policy_file.write_bytes(whole[:-1])
    controller = stage.start('controller', policy=policy_file)
    manager = Manager(stage)
    assert not manager.change(Transition.TRANSITION_CONFIGURE)
    assert manager.state() == State.PRIMARY_STATE_UNCONFIGURED
    assert 'is truncated' in controller.output
    policy_file.write_bytes(whole)
    manager.bring(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


def test_a_transition_whose_event_is_not_sent_ends_it(stage: Stage, policy_file: Path) -> None:
    """Rclpy leaves it in the middle, for good: an active controller would go on to command."""
    fail_to_publish(stage, '/controller/transition_event')
    controller = stage.start('controller', policy=policy_file)
    client = stage.node.create_client(ChangeState, 'controller/change_state')
    assert stage.until(client.service_is_ready)
    stage.introduce('controller')
    request = ChangeState.Request()
    request.transition.label = 'configure'
    client.call_async(request)
    assert controller.wait() == 1
    assert 'in state configuring, which it cannot leave' in controller.output
    assert 'Traceback' not in controller.output


def test_hold_and_slew_go_on_through_the_lifecycle(stage: Stage, policy_file: Path) -> None:
    """What was sent last is where the next command begins, whatever the node did meanwhile."""
    given = {'safe_hold': 'true', 'slew_rate': '[0.5]', 'observation_timeout': 0.3}
    stage.start('controller', policy=policy_file, **given)
    manager = Manager(stage)
    received: list[float] = []
    stage.node.create_subscription(
        Float64MultiArray, 'command', lambda m: received.append(m.data[0]), QoSProfile(depth=100)
    )
    publisher = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    policy, rng = load_policy(policy_file), np.random.default_rng(0)
    candidates = list(rng.normal(size=(200, 9)))
    candidates.sort(key=lambda each: float(policy.act(each)[0]))
    target = {'observation': candidates[-1]}
    far = float(policy.act(candidates[-1])[0]) - float(policy.act(candidates[0])[0])
    assert far > 0.5
    timer = stage.node.create_timer(
        0.05, lambda: publisher.publish(number_array(target['observation'], ''))
    )
    configure, activate, deactivate, cleanup, _ = STATES
    manager.bring(configure, activate)
    for round_trip in ((deactivate, activate), (deactivate, cleanup, configure, activate)):
        count = len(received)
        assert stage.until(lambda since=count: len(received) > since + 12)
        timer.cancel()  # the source will be late when it becomes active again
        manager.bring(*round_trip)
        held = received[-1]
        assert held != 0.0
        target['observation'] = candidates[0]
        stage.spin(0.6)
        assert set(received[-3:]) == {held}, 'no zeros, also where no observation is there yet'
        timer.reset()
        count = len(received)
        assert stage.until(lambda since=count: len(set(received[since:])) > 3)
    assert np.abs(np.diff(received)).max() <= 0.5 * 0.05 + 1e-9
    assert max(received) - min(received) > 3 * 0.025


def test_what_its_shadow_did_is_nothing_that_the_robot_has(
    stage: Stage, policy_file: Path
) -> None:
    """Commands begin where the command topic was left, here at zeros, with other limits, too."""
    given = {'safe_hold': 'true', 'slew_rate': '[0.5]', 'shadow': 'true'}
    stage.start('controller', policy=policy_file, observation_timeout=0.3, **given)
    manager, diagnostics = Manager(stage), Diagnostics(stage)
    shadow = stage.subscribe(Float64MultiArray, 'controller/shadow_command')
    commands = stage.subscribe(Float64MultiArray, 'command')
    publisher = stage.node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    policy, rng = load_policy(policy_file), np.random.default_rng(0)
    largest = max(rng.normal(size=(200, 9)), key=lambda each: abs(float(policy.act(each)[0])))
    timer = stage.node.create_timer(0.05, lambda: publisher.publish(number_array(largest, '')))
    configure, activate, deactivate, cleanup, _ = STATES
    manager.bring(configure, activate)
    assert stage.until(lambda: bool(shadow) and abs(shadow[-1].data[0]) > 0.2), stage.outputs()
    timer.cancel()
    assert stage.until(lambda: int(diagnostics['safe_commands'] or 0) > 1)
    manager.bring(deactivate, cleanup)
    assert set_parameters(stage, shadow=False)[0].successful
    manager.bring(configure)
    reports = len(diagnostics.all)
    assert stage.until(lambda: len(diagnostics.all) > reports + 1)
    assert {each.message for each in diagnostics.all[reports:]} == {'inactive'}
    manager.bring(activate)
    timer.reset()
    assert stage.until(lambda: bool(commands) and abs(commands[-1].data[0]) > 0.2)
    moved = [message.data[0] for message in commands]
    assert np.abs(np.diff([0.0, *moved])).max() <= 0.5 * 0.05 + 1e-9


class Sister:
    """The manager's side of a bond, as bondcpp: heartbeats, sent and received."""

    def __init__(self, stage: Stage) -> None:
        from bond.msg import Status

        self.stage, self.status = stage, Status
        self.instance, self.received, self.others = str(uuid.uuid4()), 0, set[str]()
        self.alive = self.broken = False
        qos = QoSProfile(depth=5)
        self.publisher = stage.node.create_publisher(Status, 'bond', qos)
        self.subscription = stage.node.create_subscription(Status, 'bond', self.take, 100)
        self.timer = stage.node.create_timer(0.1, lambda: self.send(True))

    def send(self, active: bool) -> None:
        message = self.status(id='controller', instance_id=self.instance, active=active)
        message.heartbeat_timeout, message.heartbeat_period = 4.0, 0.1
        self.publisher.publish(message)

    def take(self, message: Any) -> None:
        if message.id != 'controller' or message.instance_id == self.instance:
            return
        self.others.add(message.instance_id)
        self.received += 1
        self.alive = message.active
        self.broken = self.broken or not message.active

    def beats(self) -> None:
        before = self.received
        assert self.stage.until(lambda: self.received > before + 5), self.stage.outputs()
        assert self.alive

    def silent(self) -> None:
        self.stage.spin(0.5)
        before = self.received
        self.stage.spin(1.0)
        assert self.received == before

    def close(self) -> None:
        self.timer.cancel()
        self.stage.node.destroy_publisher(self.publisher)
        self.stage.node.destroy_subscription(self.subscription)


def test_a_bond_where_bond_is_installed(stage: Stage, policy_file: Path) -> None:
    pytest.importorskip('bond.msg', reason='the message package bond is not installed')
    judge = Judge(stage, load_policy(policy_file))
    sister = Sister(stage)
    controller = stage.start('controller', policy=policy_file, safe_command=str(SAFE))
    manager = Manager(stage)
    configure, activate, deactivate, *_ = STATES
    manager.bring(configure)
    assert sister.received == 0, 'a node that is not active has no bond'
    manager.bring(activate)
    sister.beats()
    manager.bring(deactivate)
    assert stage.until(lambda: sister.broken)
    sister.silent()
    sister.close()

    # The manager breaks it: that is answered, the controller goes on commanding.
    sister = Sister(stage)
    manager.bring(activate)
    sister.beats()
    sister.timer.cancel()
    sister.send(False)
    assert stage.until(lambda: sister.broken)
    sister.silent()
    judge.moving()
    manager.bring(deactivate)
    sister.close()

    # The manager is gone without a word, and another comes.
    sister = Sister(stage)
    manager.bring(activate)
    sister.beats()
    assert len(sister.others) == 1, 'one instance per bond'
    sister.close()
    sister = Sister(stage)
    sister.beats()
    # A loop that hangs or is dead sends nothing; one that ends in order breaks the bond.
    controller.process.send_signal(signal.SIGSTOP)
    sister.silent()
    controller.process.send_signal(signal.SIGCONT)
    sister.beats()
    assert not sister.broken
    assert controller.end(signal.SIGTERM) == 0
    assert stage.until(lambda: sister.broken)
    judge.verdict()


def test_the_log_names_the_line_that_logs(stage: Stage) -> None:
    kept = QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    logged = stage.subscribe(Log, '/rosout', kept)
    stage.start('controller')
    assert stage.until(lambda: any('waits to be configured' in each.msg for each in logged))
    (found,) = [each for each in logged if 'waits to be configured' in each.msg]
    assert (Path(found.file).name, found.function) == ('controller.py', 'start')
    assert found.line > 0
    assert found.name == 'controller'
