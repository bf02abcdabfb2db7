# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A task over ROS: a Gymnasium environment on the topics of a simulator or a robot.

`--env ros:TASK.yaml`. Robot file, observation, command and safety gate are those of the controller
(control/), so that what is trained is what is deployed. Each environment has a node, a context and
an executor of its own, which work only while it resets or steps: everything that happens in it
happens in the order of the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import functools
import importlib
import json
import logging
import time
from typing import Any

import gymnasium
import numpy as np
from proxy_snn_control.control.command import CommandMap
from proxy_snn_control.control.messages import ATTEMPTS, message_class
from proxy_snn_control.control.observation import Inputs
from proxy_snn_control.control.safety import SafetyGate
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.control.task import Call, load_task, SEED, TaskFile
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.loading import joint_limits
from proxy_snn_control.nodes.messages import RELIABLE
from proxy_snn_control.nodes.process import Executor, sentence
from proxy_snn_control.nodes.publishing import publish
from proxy_snn_control.policy import ObservationError, UserError
from proxy_snn_control.policy.errors import Interrupted
import rclpy
from rclpy.duration import Duration
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray

NODE = 'training_task'
PROMPT_SECONDS = 1.0  # after which a wait ends when a signal asks to stop
CONNECT_SECONDS = 20.0  # DDS discovery may take seconds
# A service is discovered before its server has discovered us; an answer sent in between is lost.
ACQUAINTANCE_SECONDS = 0.5
SPIN_SECONDS = 0.1
DEPTH = 200  # messages of a source that may come while the learner computes
# After the first message of an episode, for the others of that moment: so many waits of so many
# seconds in a row must bring none. On a busy machine a single one could end before this process
# had its turn to receive any.
QUIET_WAITS, QUIET_SECONDS = 5, 0.01
# Of a source's interval: how far the last message of a step may be from the step's end.
NEAR_END = 0.75
# Results of simulation_interfaces: done, and of a state that it is that already.
SIMULATION_OK = (1, 101)
# Of a control period: a command that comes so long after its observation is late. And of an
# episode's steps: more late ones are warned of.
LATE, LATE_SHARE = 0.25, 0.05
_log = logging.getLogger('proxy_snn_control')


def make(path: str, *, seed: int = 0, number: int = 0, **others: Any) -> RosTask:
    """Make the task of a task file.

    Args:
        path: of the task file.
        seed: of the run, for the namespace of its simulator.
        number: which of the run's environments, likewise.
        others: what other tasks may be made with (env_kwargs, a video's).

    Raises:
        UserError: a file is no good, or `others` are given.
    """
    if others:
        raise UserError(
            f'task ros:{path}: is made with {", ".join(others)}, expected none: a task over ROS '
            'is what its simulator makes it, and is not rendered here'
        )
    if not path:
        raise UserError("task 'ros:' names no file, expected ros:TASK.yaml")
    return RosTask(load_task(path), seed, number)


class RosTask(gymnasium.Env):
    """A robot, real or simulated, on its topics.

    Nothing is connected before the first reset.

    Attributes:
        one_world: that training and evaluation share one simulator.
        real_time: whether time passes without steps.
        control_period, observation_names, action_names: for the policy file.

    Raises:
        Interrupted: of `reset` and `step`: a service or a topic does not answer in time.
    """

    one_world = True

    def __init__(self, task: TaskFile, seed: int, number: int) -> None:
        self.task = task
        self.real_time = task.step is None
        self.control_period = task.control_period
        self.observation_names, self.action_names = task.observation_names, task.action_names
        self.observation_space = gymnasium.spaces.Box(
            -np.inf, np.inf, (len(task.observation_names),), np.float64
        )
        self.action_space = gymnasium.spaces.Box(
            np.array(task.action_low, np.float32), np.array(task.action_high, np.float32)
        )
        self._namespace = task.namespace.format(seed=seed, env=number)
        joints = joint_limits(task.robot.command)
        self._commands = CommandMap(task.robot.command, joints)
        self._inputs = Inputs(task.robot, period=task.control_period, freshest=self.real_time)
        self._gate = SafetyGate(
            self._commands.low,
            self._commands.high,
            task.control_period,
            StopLatch(),
            task.safety,
            task.robot.command.interface,
            joints,
        )
        self._measures = any(task.robot.measured(source) for source in task.robot.sources)
        self._ticks = 0  # never fewer: the clock of a simulator in steps
        self._node: Node | None = None
        self._started = self._complete = False
        self._clock = self._due = 0.0
        self._set_back = False
        self._heard = 0  # messages

    # -- Gymnasium's calls

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset the simulator and wait for the first observation."""
        super().reset(seed=seed)
        if self._node is None:
            self._connect()
        self._wait(
            self._is_alone,
            f'topic {self._publisher.topic_name} is commanded by another training, too (several '
            'seeds or num_envs need a simulator each, as by namespace: robot_{seed})',
            CONNECT_SECONDS,
        )
        if not self._started:
            for call in self.task.start:
                self._call(call)
            self._send(None, '')
            self._await_receipt()
            self._started = True
        if self.task.random_state:
            self._send_random_state()
        self._begin()  # a simulator in steps publishes what it is reset to
        for call in self.task.reset:
            self._call(call)
        if self.task.random_state:
            self._take_random_state()
        if self.real_time:
            self._drain()
            self._begin()  # what came up to now may be from before
        self._steps = self._late = 0
        for _ in range(self.task.settle):
            self._send(None, '')
            self._advance()
        if not self.task.settle:
            self._observe()
        self._gate.start(self._taken())
        self._sent = self._raw = self._commands.action(self._gate.begin)
        self._observation = self._look()
        return self._observation, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Command, let one control period pass, and observe."""
        before = self._observation
        if self.real_time:
            self._drain()
        numbers = self._commands.numbers(np.asarray(action, np.float32))
        if self._measures:
            self._gate.measure(self._inputs.measured())
        sent = self._send(numbers, '')
        if len(sent):
            self._sent = self._commands.action(sent)
        self._raw = np.asarray(action).tolist()
        self._advance()
        if self._set_back and self._steps:  # in the first step it is the reset's doing
            self._started = False
            raise Interrupted(f'task ros:{self.task.path}: the time on topic /clock went back')
        self._set_back = False
        self._observation = self._look()
        reward, terminated = self._reward(before, action)
        self._steps += 1
        truncated = self._steps >= self.task.episode_steps and not terminated
        if terminated or truncated:
            self._end()
        return self._observation, reward, terminated, truncated, {}

    def close(self) -> None:
        """Leave the robot with the safe command, and ROS."""
        if self._node is None:
            return
        self._send(None, 'the task ends')
        self._publisher.wait_for_all_acked(Duration(seconds=ACQUAINTANCE_SECONDS))
        self._node.destroy_node()
        self._node = None
        self._executor.shutdown()
        self._context.try_shutdown()

    # -- the connection

    def _connect(self) -> None:
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(
            NODE,
            namespace=self._namespace or None,
            context=self._context,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor: Any = Executor(context=self._context)
        self._executor.add_node(node)
        self._node = node
        self._clients: dict[str, Any] = {}
        command = self.task.robot.command
        self._publisher = node.create_publisher(
            self._commands.message_type, command.topic, RELIABLE
        )
        try:
            for i, source in enumerate(self.task.robot.sources):
                self._subscribe(
                    message_class(source.type_name),
                    source.topic,
                    functools.partial(self._on_message, i),
                    source.reliable,
                )
            self._rewards: list[tuple[float, bool]] = []
            if self.task.reward_topic:
                self._subscribe(Float64MultiArray, self.task.reward_topic, self._on_reward, True)
            if self.real_time and self.task.clock == 'sim':
                self._subscribe(
                    message_class('rosgraph_msgs/Clock'), '/clock', self._on_clock, False
                )
            self._wait(
                lambda: self._publisher.get_subscription_count() > 0,
                f'topic {self._publisher.topic_name} has no subscriber',
                CONNECT_SECONDS,
            )
            self._idle(ACQUAINTANCE_SECONDS)  # who else commands the robot is known by then
        except BaseException:
            self.close()
            raise

    def _subscribe(
        self, kind: Any, topic: str, callback: Callable[[Any], None], reliable: bool
    ) -> None:
        """Subscribe once there is a publisher: reliably if it is, so that no message is lost."""
        node = self._node
        assert node is not None
        name = node.resolve_topic_name(topic)
        self._wait(
            lambda: node.count_publishers(name) > 0,
            f'topic {name} has no publisher',
            CONNECT_SECONDS,
        )
        offered = [p.qos_profile.reliability for p in node.get_publishers_info_by_topic(name)]
        reliable |= all(each == QoSReliabilityPolicy.RELIABLE for each in offered)
        qos = QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=QoSReliabilityPolicy.RELIABLE
            if reliable
            else QoSReliabilityPolicy.BEST_EFFORT,
        )
        subscription = node.create_subscription(kind, topic, callback, qos)
        self._wait(
            lambda: subscription.get_publisher_count() > 0,
            f'topic {name}: its publisher does not match (other QoS?)',
            CONNECT_SECONDS,
        )

    def _is_alone(self) -> bool:
        """Whether no other training, of another member or process, commands this robot."""
        assert self._node is not None
        there = self._node.get_publishers_info_by_topic(self._publisher.topic_name)
        return sum(info.node_name == NODE for info in there) < 2

    def _wait(self, condition: Callable[[], bool], why: str, seconds: float) -> None:
        """Let ROS work until the condition holds.

        Raises:
            Interrupted: it does not for so many seconds.
        """
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            left = seconds - waited
            if left <= 0 or (waited > PROMPT_SECONDS and stopping.requested()):
                self._started = False
                raise Interrupted(f'task ros:{self.task.path}: {why} for {waited:.0f} s')
            self._executor.spin_once(timeout_sec=min(left, SPIN_SECONDS))

    def _client(self, name: str, kind: Any) -> Any:
        assert self._node is not None
        seconds = self.task.timeout
        if name not in self._clients:
            self._clients[name] = self._node.create_client(kind, name)
            seconds = CONNECT_SECONDS
        client = self._clients[name]
        if not client.service_is_ready():
            service = self._node.resolve_service_name(name)
            self._wait(client.service_is_ready, f'there is no service {service}', seconds)
            self._idle(ACQUAINTANCE_SECONDS)
        return client

    def _idle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def _ask(self, name: str, kind: Any, request: Any) -> Any:
        """Call a service and wait for its answer."""
        client = self._client(name, kind)
        try:
            future = client.call_async(request)
        except rclpy_implementation.RCLError as error:  # as `publish`, on an overloaded machine
            raise Interrupted(
                f'service {client.srv_name}: not called: {sentence(error)}'
            ) from error
        try:
            self._wait(future.done, f'no answer of service {client.srv_name}', self.task.timeout)
        except Interrupted:
            client.remove_pending_request(future)
            raise
        return future.result()

    def _call(self, call: Call) -> None:
        """Call a service of the task file.

        Raises:
            Interrupted: it does not answer, or reports that it failed.
        """
        kind = service_class(call.type_name)
        values = {**call.request}
        request = fill(kind.Request(), values, call, lambda: int(self.np_random.integers(2**31)))
        answer = self._ask(call.service, kind, request)
        why = ''
        if getattr(answer, 'success', True) is not True:
            why = getattr(answer, 'message', '') or 'success is false'
        result: Any = getattr(answer, 'result', None)
        if hasattr(result, 'result') and result.result not in SIMULATION_OK:
            why = f'result {result.result} {result.error_message}'
        if why:
            self._started = False
            raise Interrupted(f'task ros:{self.task.path}: service {call.service} reports: {why}')

    # -- the simulator's random generator

    def _send_random_state(self) -> None:
        from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
        from rcl_interfaces.srv import SetParameters

        text = json.dumps(self.np_random.bit_generator.state)
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        request = SetParameters.Request(parameters=[Parameter(name='random_state', value=value)])
        node = self.task.random_state
        (result,) = self._ask(f'{node}/set_parameters', SetParameters, request).results
        if not result.successful:
            raise UserError(
                f'task file {self.task.path}: random_state is {node!r}, whose parameter '
                f'random_state cannot be set: {result.reason}'
            )

    def _take_random_state(self) -> None:
        from rcl_interfaces.srv import GetParameters

        request = GetParameters.Request(names=['random_state'])
        name = f'{self.task.random_state}/get_parameters'
        (value,) = self._ask(name, GetParameters, request).values
        self.np_random.bit_generator.state = json.loads(value.string_value)

    # -- time

    def _now(self) -> float:
        """Seconds; a simulator that is stepped stands still while the learner computes."""
        return time.monotonic() if self.real_time else self._taken()

    def _taken(self) -> float:
        """Seconds of all steps, for the gate: a step is a control period, whatever our clock."""
        return self._ticks * self.task.control_period

    def _begin(self) -> None:
        """Take no earlier message for this episode's."""
        self._inputs.forget(self._now())
        self._gate.last = None
        self._gate.start(self._taken())
        self._sent = self._raw = self._commands.action(self._gate.begin)
        self._complete, self._end_stamp, self._from_zero = False, 0, False
        self._due = self._clock_now()

    def _advance(self) -> None:
        """Let one control period pass, until what was observed at its end is here."""
        self._ticks += 1
        self._rewards = []
        if self.task.step is None:
            self._pass_time()
            return
        self._complete = False
        if self._end_stamp or self._from_zero:
            self._end_stamp += round(self.task.control_period * 1e9)
        self._await_receipt()
        self._call(self.task.step)
        self._observe()

    def _await_receipt(self) -> None:
        """Wait until every subscriber has the command.

        Raises:
            Interrupted: one does not get it, such as one that has ended, until DDS removes it.
        """
        if not self._publisher.wait_for_all_acked(Duration(seconds=self.task.timeout)):
            self._started = False
            raise Interrupted(
                f'task ros:{self.task.path}: a command on topic {self._publisher.topic_name} was '
                f'not received for {self.task.timeout:g} s'
            )

    def _pass_time(self) -> None:
        """Wait for the next tick, or of a command that came late for a control period from now."""
        started = self._clock_now()
        if started - self._due > LATE * self.task.control_period:
            self._late += 1
            self._due = started
        self._due += self.task.control_period
        while (left := self._due - self._clock_now()) > 0:
            if self.task.clock == 'sim':
                self._wait(
                    functools.partial(self._clock_moved, self._clock),
                    'no message on topic /clock',
                    self.task.timeout,
                )
            else:
                self._executor.spin_once(timeout_sec=min(left, SPIN_SECONDS))
        self._drain()
        self._observe()

    def _clock_moved(self, since: float) -> bool:
        return self._clock != since

    def _drain(self) -> None:
        """Read what has arrived while the learner computed."""
        for _ in range(DEPTH):
            before = self._heard
            self._executor.spin_once(timeout_sec=0.0)
            if self._heard == before:
                return

    def _clock_now(self) -> float:
        return self._clock if self.task.clock == 'sim' else time.monotonic()

    # -- what is received

    def _on_message(self, index: int, message: Any) -> None:
        self._heard += 1
        self._complete |= self._inputs.take(index, message, self._now())

    def _on_reward(self, message: Float64MultiArray) -> None:
        self._heard += 1
        if len(message.data) == 2:
            self._rewards.append((float(message.data[0]), bool(message.data[1])))

    def _on_clock(self, message: Any) -> None:
        self._heard += 1
        before, self._clock = self._clock, message.clock.sec + message.clock.nanosec * 1e-9
        if self._clock < before:  # a reset set it back, or the simulator was restarted
            self._inputs.forget(self._now())
            self._set_back = True
        if self._clock < before or not before:
            self._due += self._clock - before

    def _observe(self) -> None:
        """Wait for an observation of now, and for its reward where a topic has that."""
        topics = ', '.join(source.topic for source in self.task.robot.sources)
        try:
            self._wait(self._observed, f'no complete observation on {topics}', self.task.timeout)
        except Interrupted as error:
            now = self._now() + (0 if self.real_time else self.task.timeout)
            if fault := self._inputs.fault(now):
                raise Interrupted(f'task ros:{self.task.path}: {fault}') from None
            raise error from None
        if self.real_time:
            return
        stamp, was_zero = self._inputs.stamp, self._from_zero
        # A reset to time 0 leaves its messages without a stamp, as there are also some that do not
        # set any.
        self._from_zero = not stamp and (was_zero or not self._end_stamp)
        if stamp and (not self._end_stamp or (was_zero and stamp > self._end_stamp)):
            self._await_quiet()  # a simulator may publish several messages within a step
            self._end_stamp = self._inputs.stamp

    def _await_quiet(self) -> None:
        deadline = time.monotonic() + self.task.timeout
        silent = 0
        while silent < QUIET_WAITS and (now := time.monotonic()) < deadline:
            heard = self._heard
            self._executor.spin_once(timeout_sec=QUIET_SECONDS)
            if self._heard != heard:
                silent = 0
            elif time.monotonic() - now >= QUIET_SECONDS:
                silent += 1

    def _observed(self) -> bool:
        inputs = self._inputs
        if self.real_time:
            inputs.pair(self._now())
            return inputs.ready and not inputs.fault(self._now())
        if not (self._complete and inputs.ready):
            return False
        stamps, slack = inputs.stamps()
        if not stamps or not self._end_stamp:
            return True
        return min(stamps) + NEAR_END * slack * 1e9 > self._end_stamp

    def _look(self) -> np.ndarray:
        """Return the present observation, float64 [observations]."""
        found = np.array(self._inputs.observation(self._sent, self._raw))
        if not np.isfinite(found).all():
            i = int(np.flatnonzero(~np.isfinite(found))[0])
            raise ObservationError(f'{self.observation_names[i]} is NaN or infinite')
        return found

    def _reward(self, before: np.ndarray, action: np.ndarray) -> tuple[float, bool]:
        if self.task.reward is None:
            topic = self.task.reward_topic
            self._wait(
                lambda: bool(self._rewards), f'no reward on topic {topic}', self.task.timeout
            )
            return self._rewards[-1]
        given = self.task.reward(
            dict(zip(self.observation_names, before.tolist(), strict=True)),
            dict(zip(self.action_names, np.asarray(action).tolist(), strict=True)),
            dict(zip(self.observation_names, self._observation.tolist(), strict=True)),
        )
        if isinstance(given, tuple):
            if len(given) != 2:
                raise UserError(f'its reward gives {len(given)} values, expected 2')
            return float(given[0]), bool(given[1])
        return float(given), False

    # -- what is sent

    def _send(self, numbers: Sequence[float] | None, why: str) -> Sequence[float]:
        """Publish what the gate allows; return what went out, [outputs], or empty."""
        assert self._node is not None
        sent, _ = self._gate.check(numbers, why, self._taken())
        if not len(sent):
            return ()
        stamp = self._node.get_clock().now().to_msg()
        if (stamps := self._inputs.stamps()[0]) and (not self.real_time or self._clock):
            stamp.sec, stamp.nanosec = divmod(max(stamps), 10**9)  # simulated time
        measured = self._inputs.measured() if self._measures else ()
        message = self._commands.message(sent, '', stamp, measured)
        # In lockstep the robot waits for it; in real time the next one is due.
        if publish(self._publisher, message, 1 if self.real_time else ATTEMPTS):
            return sent
        self._gate.take_back()  # the robot still has the command before it
        return ()

    def _end(self) -> None:
        """End an episode: the robot gets the safe command until the next one."""
        self._send(None, 'the episode is over')
        if self.real_time and self._late > LATE_SHARE * self._steps:
            _log.warning(
                'task ros:%s: %d of %d steps were late: the learner takes longer than the control '
                'period',
                self.task.path,
                self._late,
                self._steps,
            )


@functools.cache
def service_class(kind: str) -> Any:
    """Return the class of a service type such as "std_srvs/srv/Trigger".

    Raises:
        UserError: its package is not installed, or has no such service.
    """
    package, name = kind.split('/')[0], kind.rpartition('/')[2]
    try:
        return getattr(importlib.import_module(f'{package}.srv'), name)
    except (ModuleNotFoundError, AttributeError):
        raise UserError(
            f'service type {kind}: it is not installed; expected a ROS 2 installation that has '
            f'the package {package}'
        ) from None


def fill(message: Any, values: Mapping[str, Any], call: Call, seed: Callable[[], int]) -> Any:
    """Set the fields of a message from plain data; `SEED` becomes a number drawn by `seed`.

    Raises:
        UserError: there is no such field, or it is of another type.
    """
    where = f'service {call.service} ({call.type_name})'
    fields = message.get_fields_and_field_types()
    message._check_fields = True  # since Kilted rclpy's messages take anything otherwise
    for name, value in values.items():
        if name not in fields:
            raise UserError(
                f'{where}: its request has no field {name!r}, expected any of {", ".join(fields)}'
            )
        if isinstance(value, dict):
            fill(getattr(message, name), value, call, seed)
            continue
        if value == SEED:
            value = seed()
        if isinstance(value, int) and fields[name] in ('double', 'float'):
            value = float(value)
        try:
            setattr(message, name, value)
        except (AssertionError, TypeError, ValueError) as error:
            raise UserError(
                f'{where}: field {name} is {value!r}, expected {fields[name]}: {error}'
            ) from None
    return message
