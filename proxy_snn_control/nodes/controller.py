# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The controller: a lifecycle node around the loop of `control/`, which decides.

Here are transitions, parameters, services, publishing and subscribing. Imports neither torch nor
gymnasium nor mujoco: it runs on the robot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import concurrent.futures
import functools
import gc
import time
import traceback
from typing import Any

from lifecycle_msgs.msg import State
from proxy_snn_control.control.backend import Neuromorphic
from proxy_snn_control.control.loop import Loop
from proxy_snn_control.control.messages import message_class, UNASKED
from proxy_snn_control.control.robot import CommandTopic, JOINT_STATE, VECTOR
from proxy_snn_control.control.stop import DIED, LATCHED, StopLatch
from proxy_snn_control.control.warm_up import WarmUp
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.aside import Aside, LateService, SLOW
from proxy_snn_control.nodes.bond import Bond, INSTALLED
from proxy_snn_control.nodes.entities import Entities
from proxy_snn_control.nodes.graph import (
    incompatible,
    Publishers,
    publishers,
    rivals,
    with_publisher,
)
from proxy_snn_control.nodes.loading import differences, load_loop
from proxy_snn_control.nodes.log import Log
from proxy_snn_control.nodes.memory import ACTIVE, Memory, STOPPED
from proxy_snn_control.nodes.messages import RELIABLE, source_qos
from proxy_snn_control.nodes.parameters import check_choices, PARAMETERS, SAFETY, safety_settings
from proxy_snn_control.nodes.process import (
    await_receipt,
    check_text,
    declare,
    run,
    STEADY,
    value_of,
)
from proxy_snn_control.nodes.publishing import publish
from proxy_snn_control.nodes.telemetry import Telemetry
from proxy_snn_control.policy import UserError
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from std_msgs.msg import Bool, UInt8MultiArray
from std_srvs.srv import Trigger

# Of a source's timeout: how often it is looked at.
WATCH = 0.1
# An observation that comes this soon, in seconds, after an answer ended waited for that end.
CROWDED = 30e-6
# What can wait is done so long after an answer, in seconds: by then the command has arrived.
ARRIVAL = 1e-3
# The diagnostics that are due within so many control periods are published now, in the gap between
# two answers: at their own time they could delay one, and at 50 observations a second every 50th.
REPORT_AHEAD = 2
# How long it waits at most, in seconds, until it is kept that commands go out, and at its end what
# there is to keep; and that the stop is pressed, of which it has sent the safe command already.
KEEP_SECONDS = 0.5
STOP_SECONDS = 0.05
# How often a transition that waits for files looks whether a signal has come, in seconds.
SIGNAL_SECONDS = 0.05
# What a subscriber that does not answer may delay a transition by, in seconds.
RELEASE_SECONDS = 0.1
# Deep, so that a short press is not lost between two looks.
STOP = (
    QoSProfile(depth=100),
    QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL),
    QoSProfile(depth=100, reliability=QoSReliabilityPolicy.BEST_EFFORT),
)
NO_CLOCK = 'use_sim_time is true, but nothing was received on /clock: stamps are 0'
Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition) -> Transition:
    """Log what a transition raises: rclpy goes to on_error and logs nothing."""

    @functools.wraps(transition)
    def call(self: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception:
            self.get_logger().fatal(f'{transition.__name__} failed: {traceback.format_exc()}')
            raise

    return call


class Controller(LifecycleNode):
    """Loads a policy, and while active turns observations into commands.

    Whatever goes wrong on the way, the safety gate sends the safe command instead, and the fault
    is logged and shown in the diagnostics. Leaving the active state, for any reason, ends with the
    safe command.
    """

    def __init__(self) -> None:
        super().__init__('controller')
        self.exit_status: int | None = None
        self.failure: Exception | None = None
        declare(self, PARAMETERS)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._loop: Loop | None = None
        self._policy_path = ''
        self._publisher: Any = None
        self._requests: Any = None
        self._entities = Entities(self)
        self._bond: Bond | None = None
        self._starting = self._locked = False
        self._objection = ''
        self._task: Any = None
        self._answered_at = self._warm_up_at = 0.0
        self._idle = False
        # What was sent last, by topic and meaning: it outlives a round through the lifecycle.
        self._last: dict[tuple[object, ...], Sequence[float]] = {}
        self._telemetry = Telemetry(self)
        self._stop = StopLatch()
        self._memory = Memory(self.context.get_domain_id(), self.get_fully_qualified_name())
        self._remember()
        self._second = self.create_timer(1.0, self._on_second, clock=STEADY)
        self._reload = LateService(
            self, Trigger, '~/reload', self._begin_reload, self._end_reload, self._on_defect
        )
        self.create_service(Trigger, '~/arm', self._on_arm)
        # A stop must be received whatever its publisher's QoS, and one that was published before
        # we came too, if it was kept: no one subscription does all that. To receive one thrice
        # does no harm, and that not every subscription fits every publisher is nothing to warn of.
        ignore = SubscriptionEventCallbacks(incompatible_qos=lambda event: None)
        on_stop = with_publisher(self._on_stop)
        for qos in STOP:
            self.create_subscription(Bool, 'stop', on_stop, qos, event_callbacks=ignore)

    def get_logger(self) -> Log:
        """Return a log that this thread need not wait for."""
        return Log(super().get_logger().name)

    def start(self) -> None:
        """Configure and activate, if the parameter autostart is true; end if that fails."""
        if not self._parameter('autostart'):
            name = self.get_fully_qualified_name()
            self.get_logger().info(
                'waits to be configured and activated: ros2 lifecycle set '
                f'{name} configure, then activate; with autostart:=true it does so by itself'
            )
            return
        succeeded = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != succeeded:
            self.exit_status = 0 if stopping.requested() else 1
        elif self._parameter('wiring') == 'require':
            self._starting = True  # once enough was seen: _on_second
        elif self.trigger_activate() != succeeded:
            self.exit_status = 1

    # ---- lifecycle

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and check everything; a bad policy file or parameter leaves the node as it was."""
        try:
            self._configure()
        except UserError as error:
            self._release()
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self._locked = self._parameter('lock')
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to command, if the wiring is as it is required to be."""
        assert self._loop is not None
        loop = self._loop
        if loop.requires_wiring:
            wrong = loop.wiring.objections(loop.checks_period)
            if wrong:
                wrong = [*wrong, *loop.inputs.stale(time.monotonic())]
                self._objection = f'wiring: {"; ".join(wrong)}; not activated'
                if not self._starting:  # which tries again, and reports it with the diagnostics
                    self.get_logger().error(self._objection)
                return TransitionCallbackReturn.FAILURE
        # Whatever was made up to now stays: without this a collection takes 30 ms in the loop.
        gc.collect()
        gc.freeze()
        result = super().on_activate(state)
        if result == TransitionCallbackReturn.SUCCESS:
            self._starting = False
            self._bond = Bond(self) if INSTALLED else None
            topic = self._publisher.topic_name
            self._see_rivals(loop, publishers(self, loop, topic))
            loop.activate()
            self._telemetry.forget(loop)
            self._keep(KEEP_SECONDS)
            held = f', but {self._stop.fault}' if self._stop.fault else ''
            self.get_logger().info(f'active: commands go to {topic}{held}')
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop commanding; the last command is the safe one."""
        self._send_last_command()
        self._starting = False
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the policy and the topics."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop for good; the last command is the safe one."""
        self._send_last_command()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    @logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an exception in a transition: safe command, and back to unconfigured."""
        self._send_last_command()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End the process in order: safe command if active, then the last diagnostics."""
        if self._loop is not None and self._loop.active:
            self._send_last_command()
            await_receipt(self._publisher)
        self._reload.drop('the controller ends')
        self._keep(KEEP_SECONDS)
        self._publish_diagnostics()
        self._telemetry.close()

    # ---- configure and reload

    def _configure(self) -> None:
        parameter = self._parameter
        values = self._values()
        self._stop.heartbeat = values['stop_heartbeat']
        loop = self._wait_for(self._loading(values))
        spec = loop.policy.spec
        qos = QoSProfile(depth=1)
        if parameter('command_deadline') > 0:
            qos.deadline = Duration(seconds=parameter('command_deadline'))
        if parameter('command_lease') > 0:
            qos.liveliness_lease_duration = Duration(seconds=parameter('command_lease'))
        loop.shadows = parameter('shadow')
        topic = _topic(loop.robot.command, loop.shadows)
        kind = loop.robot.command.type_name
        entities = self._entities
        self._publisher = self._endpoint(
            topic, kind, entities.lifecycle_publisher, loop.commands.message_type, topic, qos
        )
        for index, source in enumerate(loop.robot.sources):
            if self.resolve_topic_name(source.topic) == self._publisher.topic_name:
                raise UserError(
                    f'topic {self._publisher.topic_name} is source and command, too, expected two '
                    'topics; is one remapped to the other?'
                )
            on_message: Any = functools.partial(self._on_message, loop, index)
            if source.type_name == JOINT_STATE:
                on_message = with_publisher(on_message)
            self._endpoint(
                source.topic,
                source.type_name,
                entities.subscription,
                message_class(source.type_name),
                source.topic,
                on_message,
                source_qos(source),
                raw=source.type_name == VECTOR,
            )
        shortest = min(source.timeout for source in loop.robot.sources)
        entities.timer(shortest * WATCH, lambda: self._on_watch(loop))
        self._repeating = entities.timer(loop.repeat_period, lambda: self._on_repeat(loop))
        self._repeating.cancel()  # until there is a fault
        self._warm_up = WarmUp()
        self._gap = entities.timer(1.0, lambda: self._on_gap(loop))
        self._gap.cancel()  # until there is an answer
        if loop.at_rate:
            entities.timer(loop.period, lambda: self._answer(loop))
        if isinstance(loop.backend, Neuromorphic):
            self._requests = entities.publisher(UInt8MultiArray, 'neuromorphic/request', RELIABLE)
            on_answer = functools.partial(self._on_answer, loop)
            entities.subscription(UInt8MultiArray, 'neuromorphic/answer', on_answer, RELIABLE)
            deadline = parameter('backend_deadline') or loop.period / 2
            self._deadline = entities.timer(deadline, lambda: self._on_deadline(loop))
            self._deadline.cancel()  # until there is a question
        self._loop, self._policy_path = loop, parameter('policy')
        self._telemetry.forget(loop)
        log = self.get_logger()
        log.info(
            f'policy {parameter("policy")} ({loop.checksum[:12]}): {spec.observation_size} '
            f'observations, {spec.action_size} actions, trained on '
            f'{spec.provenance.get("env", "an unnamed task")}'
        )
        if loop.watches_wiring:
            log.info(f'wiring: {loop.wiring.scope}')
        for sentence in loop.assumptions():
            log.info(sentence)

    def _loading(self, values: dict[str, Any]) -> Callable[[], Loop]:
        """Return what reads and checks the files; it may be done in another thread."""
        last, shadows = dict(self._last), values['shadow']
        return functools.partial(
            load_loop,
            values,
            self._stop,
            self._publish,
            lambda message: publish(self._requests, message),
            lambda command: last.get((_topic(command, shadows), *command.meaning)),
        )

    def _wait_for(self, loading: Callable[[], Loop]) -> Loop:
        """Load in another thread, so that a signal is taken meanwhile; nothing acts yet."""
        aside = Aside()
        future = aside.do(loading)
        aside.leave()
        warn_at = time.monotonic() + SLOW
        while not future.done():
            concurrent.futures.wait([future], SIGNAL_SECONDS)
            if stopping.requested():
                raise UserError('stopped while the files were read')
            if time.monotonic() > warn_at:
                warn_at = float('inf')
                self.get_logger().warning(f'{self._being_read(SLOW)}; the transition waits')
        return future.result()

    def _being_read(self, seconds: float) -> str:
        return (
            f'policy file {self._parameter("policy")}, or the robot file, has been read for '
            f'{seconds:.0f} s: does the drive respond?'
        )

    def _endpoint(
        self, topic: str, kind: str, make: Callable[..., Any], *given: Any, **more: Any
    ) -> Any:
        """Make a publisher or subscription; what ROS refuses is the robot file's mistake."""
        try:
            return make(*given, **more)
        except UserError:
            raise
        except Exception as error:
            # rclpy raises private types for topics of two types, and for names.
            reason = ' '.join(str(error).split())
            raise UserError(
                f'topic {topic}: cannot be created as {kind}: {reason}; is it in use with '
                'another type?'
            ) from error

    def _release(self) -> None:
        if self._publisher is not None:
            self._publisher.wait_for_all_acked(Duration(seconds=RELEASE_SECONDS))
        self._reload.drop('the policy was unloaded while the file was read')
        self._entities.destroy()
        self._entities = Entities(self)
        loop = self._loop
        if loop is not None and loop.gate.last is not None:
            command = loop.robot.command
            self._last[(_topic(command, loop.shadows), *command.meaning)] = loop.gate.last
        self._loop = self._publisher = None
        self._starting = False
        gc.unfreeze()

    def _on_set_parameters(self, parameters: list[rclpy.Parameter]) -> SetParametersResult:
        # rclpy asks us first and `declare`'s check after; what acts at once must be the last word.
        checked = check_text(parameters)
        if not checked.successful:
            return checked
        changed = {each.name: each.value for each in parameters}
        try:
            if self._locked:
                raise UserError(
                    'the controller is locked (parameter lock): no changes are accepted'
                )
            check_choices(changed)
            if self._loop is not None and not changed.keys().isdisjoint(SAFETY):
                self._loop.gate.change(safety_settings({**self._values(), **changed}))
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _begin_reload(self) -> Callable[[], tuple[str, Loop]]:
        """Return what is done in another thread to swap the policy."""
        if self._locked:
            raise UserError('the controller is locked (parameter lock)')
        if self._loop is None:
            raise UserError('there is no policy to replace: the controller is not configured')
        values = self._values()
        loading = self._loading(values)
        return lambda: (values['policy'], loading())

    def _end_reload(self, found: tuple[str, Loop]) -> str:
        """Swap the policy between two commands; a bad file leaves the old one at work."""
        path, new = found
        assert self._loop is not None  # `_release` has dropped the others
        wrong = differences(new, self._loop)
        if wrong:
            raise UserError(f'policy file {path}: {wrong}')
        self._loop.replace(new)
        self._policy_path = path
        self.get_logger().info(f'policy {path} ({new.checksum[:12]}) loaded')
        return f'policy {new.checksum[:12]} loaded'

    def _on_defect(self, error: Exception) -> None:
        self.failure = error

    # ---- the loop: what gets it as an argument is called only while it is at work (entities.py)

    def _on_message(self, loop: Loop, index: int, message: Any, publisher: bytes = b'') -> None:
        if not loop.take(index, message, publisher) or self._task is not None:
            return
        now = time.monotonic()
        if now - self._answered_at > CROWDED or self.executor is None:
            self._answer(loop)
        else:
            # Observations come faster than they can be answered. Events are served in order: a
            # stop that waits behind this one goes first, and the freshest observation is answered.
            self._task = self.executor.create_task(self._on_task)

    def _on_task(self) -> None:
        self._task = None
        try:
            if self._loop is not None:
                self._answer(self._loop)
        except Exception as error:
            # rclpy's executor does not survive an exception in a task: `run` raises it for us.
            self.failure = error

    def _answer(self, loop: Loop) -> None:
        began = time.monotonic()
        waiting = loop.question
        loop.answer()
        if loop.faulty:
            self._on_fault(loop)
        if loop.question is not None and loop.question is not waiting:
            self._deadline.reset()
        self._answered_at = time.monotonic()
        wait = self._warm_up.after(began, self._answered_at)
        if wait is not None:
            self._warm_up_at, self._idle = self._answered_at + wait, True
            self._wake_in(ARRIVAL)
        elif loop.question is None:
            loop.look()

    def _wake_in(self, seconds: float) -> None:
        self._gap.timer_period_ns = max(int(seconds * 1e9), 1)
        self._gap.reset()

    def _on_gap(self, loop: Loop) -> None:
        """Between two answers: first what can wait, then the warm-up for the next."""
        self._gap.cancel()
        if self._idle:
            self._idle = False
            if loop.question is None:
                loop.look()
            self._wake_in(self._warm_up_at - time.monotonic())
            if (self._second.time_until_next_call() or 0) < REPORT_AHEAD * loop.period * 1e9:
                self._second.reset()
                self._on_second()
        elif (numbers := loop.warm_up()) is not None:
            self._payload(loop, numbers, UNASKED)

    def _on_watch(self, loop: Loop) -> None:
        loop.watch()
        if loop.faulty:
            self._on_fault(loop)

    def _on_repeat(self, loop: Loop) -> None:
        loop.repeat()
        if not loop.faulty:
            self._repeating.cancel()

    def _on_fault(self, loop: Loop) -> None:
        if self._repeating.is_canceled():
            self._repeating.reset()
        if loop.statistics.fault:
            self._telemetry.log_fault(loop.statistics.fault, loop.statistics.out)
            if self._stop.fault:
                self._keep()

    def _publish(self, numbers: Sequence[float], label: str) -> bool:
        """Publish a command, here alone; what leaves comes from the gate."""
        loop = self._loop
        assert loop is not None
        return publish(self._publisher, self._payload(loop, numbers, label))

    def _payload(self, loop: Loop, numbers: Sequence[float], label: str) -> Any:
        stamp = self.get_clock().now().to_msg() if loop.commands.stamped else None
        return loop.commands.payload(numbers, label, stamp, loop.gate.measured)

    def _send_last_command(self) -> None:
        if self._loop is not None and self._loop.active:
            self._repeating.cancel()
            self._loop.deactivate('no longer active')
        self._keep()
        if self._bond is not None:
            self._bond.destroy()
            self._bond = None

    def _on_answer(self, loop: Loop, message: UInt8MultiArray) -> None:
        try:
            if loop.answered(message):
                self._deadline.cancel()
                loop.look()
        except UserError as error:
            self.get_logger().error(f'topic neuromorphic/answer: {error}')
        if loop.faulty:
            self._on_fault(loop)

    def _on_deadline(self, loop: Loop) -> None:
        self._deadline.cancel()
        if loop.settle():
            self.get_logger().warning('the neuromorphic node did not answer in time')
            loop.look()
            if loop.faulty:
                self._on_fault(loop)

    # ---- the stop

    def _remember(self) -> None:
        """Take over what the last controller of this name has left."""
        state = self._memory.recall()
        if state == STOPPED:
            self._stop.latch(LATCHED)
        elif state == ACTIVE and not self._parameter('resume_after_crash'):
            self._stop.latch(DIED)
        if self._stop.fault:
            self.get_logger().warning(self._stop.fault)
            self._keep()

    def _keep(self, seconds: float = 0.0) -> None:
        """Keep what a controller that is started after us must know; wait so long at most."""
        active = self._loop is not None and self._loop.active
        self._memory.keep(STOPPED if self._stop.fault else ACTIVE if active else '', seconds)
        if self._memory.trouble:
            self._telemetry.log_once(self._memory.trouble)

    def _on_stop(self, message: Bool, publisher: bytes) -> None:
        fault = self._stop.fault
        self._stop.press(message.data, publisher, time.monotonic())
        if self._stop.fault != fault:
            if self._loop is not None:
                self._loop.stopped()
                if self._loop.faulty:
                    self._on_fault(self._loop)
            self.get_logger().warning(self._stop.fault)
            self._keep(STOP_SECONDS)

    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Let commands go out again after a stop."""
        try:
            if self._locked:
                raise UserError(
                    'the controller is locked (parameter lock); start it again with autostart '
                    'false and call ~/arm before configure'
                )
            self._see_who_stops()
            was = self._stop.fault
            if self._loop is not None:
                self._loop.arm()
            else:
                self._stop.arm(time.monotonic())
            self._keep()
            response.success, response.message = True, 'armed'
            self.get_logger().info(f'armed{f" (was: {was})" if was else ""}')
        except UserError as error:
            self.get_logger().warning(f'not armed: {error}')
            response.success, response.message = False, str(error)
        return response

    def _see_who_stops(self) -> None:
        there = self.get_publishers_info_by_topic(self.resolve_topic_name('stop'))
        self._stop.present([bytes(info.endpoint_gid) for info in there])

    # ---- every second

    def _on_second(self) -> None:
        loop, (number, state) = self._loop, self._state_machine.current_state
        if number >= State.TRANSITION_STATE_CONFIGURING:  # the first of those of a transition
            # rclpy went on although the event was not sent, but without the transition's callback.
            self.get_logger().fatal(
                f'in state {state}, which it cannot leave: the middleware did not take a '
                'transition event; is the machine overloaded? The controller ends'
            )
            self.exit_status = 1
            return
        if loop is not None:
            loop.on_action = self._telemetry.show if self._telemetry.wanted() else None
            if self._starting and not loop.active:
                self._starting = self.trigger_activate() != TransitionCallbackReturn.SUCCESS
        if self._stop.pressed:
            self._see_who_stops()
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        loop = self._loop
        state = self._state_machine.current_state[1]
        values: dict[str, object] = {'state': state, 'robot': self._parameter('robot')}
        if loop is None:
            values['policy'] = self._parameter('policy')
            warnings = [self._stop.fault] if self._stop.fault else []
            self._telemetry.publish(state, '', warnings, values)
            return
        values |= self._telemetry.values(loop, self._policy_path)
        topic = self._publisher.topic_name
        there = publishers(self, loop, topic)
        others = self._see_rivals(loop, there)
        warnings = [
            *loop.assumptions(warnings=True),
            *(f'wiring: {each}' for each in loop.wiring.found),
            *others,
            *self._telemetry.dropped(loop),
            *incompatible(self, loop, topic, there),
        ]
        if self._starting and self._objection:
            warnings.append(self._objection)
        if self._parameter('use_sim_time') and not self.get_clock().now().nanoseconds:
            warnings.append(NO_CLOCK)
        if loop.active and not self._publisher.get_subscription_count():
            warnings.append(f'topic {topic} has no subscriber')
        if self._memory.trouble:
            warnings.append(self._memory.trouble)
        reading = self._reload.waiting(time.monotonic())
        if reading > SLOW:
            warnings.append(f'reload: {self._being_read(reading)}')
        for sentence in warnings:
            self._telemetry.log_once(sentence)
        fault = loop.statistics.fault
        if isinstance(loop.backend, Neuromorphic) and not fault:
            fault = loop.backend.fault(time.monotonic())
        lately = self._telemetry.lately(loop)
        if not fault:
            warnings = [*filter(None, (lately, self._stop.fault)), *warnings]
        warnings = [each for each in warnings if each not in fault]  # such as of rivals
        self._telemetry.publish(state, fault, warnings, values)

    def _see_rivals(self, loop: Loop, there: Publishers) -> list[str]:
        """Return who else publishes, and let the loop command or not."""
        others = rivals(self, loop, self._publisher.topic_name, there, time.monotonic())
        loop.rivalry = '; '.join(others) if self._parameter('rivals') == 'stop' else ''
        return others

    def _values(self) -> dict[str, Any]:
        return {each.name: self._parameter(each.name) for each in PARAMETERS}

    def _parameter(self, name: str) -> Any:
        return value_of(self, name)


def _topic(command: CommandTopic, shadows: bool) -> str:
    """Return where commands go."""
    return '~/shadow_command' if shadows else command.topic


def main(arguments: Sequence[str]) -> int:
    """Run the controller node."""
    return run(Controller, arguments, Controller.start)
