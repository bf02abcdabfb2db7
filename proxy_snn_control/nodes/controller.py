"""The controller: a lifecycle node that answers observations with commands while it is active.

Imports neither torch nor gymnasium nor mujoco: it runs on the robot.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from std_msgs.msg import Bool, Float64MultiArray, UInt8MultiArray
from std_srvs.srv import Trigger

from proxy_snn_control.nodes.backend import Backend
from proxy_snn_control.nodes.command import CommandMap
from proxy_snn_control.nodes.messages import (
    RELIABLE,
    SENSOR_DATA,
    UNASKED,
    Latencies,
    diagnostics,
    label_of,
    raster,
)
from proxy_snn_control.nodes.observation import Inputs, message_class
from proxy_snn_control.nodes.process import Parameter, declare, run, value_of
from proxy_snn_control.nodes.robot import Robot, load_robot, plain_robot
from proxy_snn_control.nodes.safety import SafetyGate, SafetySettings, StopLatch
from proxy_snn_control.nodes.wiring import ENOUGH, Wiring
from proxy_snn_control.policy import ObservationError, Policy, UserError, read_policy
from proxy_snn_control.policy.energy import inference_energy

# Unless said otherwise a change counts from the next configure.
PARAMETERS = (
    Parameter(
        "policy",
        "",
        "The policy file; a change counts from the next configure or ~/reload.",
        read_only=False,
    ),
    Parameter(
        "robot",
        "",
        "The robot file (YAML): topics of the observation and of the command. Empty: "
        "Float64MultiArray on the topics observation and command.",
        read_only=False,
    ),
    Parameter(
        "safe_command",
        [],
        "The command sent on any fault and last of all, one value per number of the command and "
        "in its units; zeros if empty. A change counts at once.",
        read_only=False,
    ),
    Parameter(
        "safe_hold",
        False,
        "As the safe command, repeat the last one that was in order, once there is one. A change "
        "counts at once.",
        read_only=False,
    ),
    Parameter(
        "slew_rate",
        [],
        "How far each number of the command may change in a second; no limit if empty. The safe "
        "command goes out without it. A change counts at once.",
        read_only=False,
    ),
    Parameter(
        "ramp_in",
        0.0,
        "Seconds after activation, and after a stop, over which commands grow from the safe "
        "command to the policy's. A change counts from the next of these on.",
        read_only=False,
        low=0.0,
        high=3600.0,
    ),
    Parameter(
        "observation_timeout",
        0.5,
        "Seconds without a message of a source after which the safe command is sent; a source in "
        "the robot file may have its own.",
        read_only=False,
        low=0.001,
        high=3600.0,
    ),
    Parameter(
        "rate",
        0.0,
        "Commands a second, each from the freshest observation; 0 answers every observation.",
        read_only=False,
        low=0.0,
        high=10_000.0,
    ),
    Parameter(
        "lockstep",
        False,
        "A sim waits for every command: ask for reliable delivery of observations, and do not "
        "compare their period with the policy's.",
        read_only=False,
    ),
    Parameter(
        "shadow",
        False,
        "Publish to ~/shadow_command instead of the command topic.",
        read_only=False,
    ),
    Parameter(
        "wiring",
        "warn",
        "Compare what arrives with what the policy was trained on. warn: tell of differences; "
        "require: also do not activate before all is well; none: do not look.",
        read_only=False,
        choices=("warn", "require", "none"),
    ),
    Parameter(
        "command_deadline",
        0.0,
        "The deadline in seconds that the command topic offers (QoS); 0 offers none.",
        read_only=False,
        low=0.0,
        high=3600.0,
    ),
    Parameter(
        "command_lease",
        0.0,
        "The liveliness lease in seconds that the command topic offers (QoS); 0 offers none.",
        read_only=False,
        low=0.0,
        high=3600.0,
    ),
    Parameter(
        "backend",
        "native",
        "What runs the spiking layers: this process, or the neuromorphic node (lava).",
        read_only=False,
        choices=("native", "lava"),
    ),
    Parameter(
        "backend_deadline",
        0.0,
        "Seconds to wait for the neuromorphic node's answer; 0: half a control period.",
        read_only=False,
        low=0.0,
        high=3600.0,
    ),
    Parameter(
        "backend_fallback",
        "native",
        "What commands if it does not answer in time: the native runtime, or the safe command.",
        read_only=False,
        choices=("native", "safe"),
    ),
    Parameter("autostart", False, "Configure and activate at start; end if that fails."),
)
# How often commands go out if neither the rate nor the policy tells.
DEFAULT_PERIOD = 0.02
GOODBYE_SECONDS = 0.5
# Of a source's timeout: how often it is looked at.
WATCH = 0.1
# An observation that comes this soon, in seconds, after an answer ended waited for that end.
CROWDED = 30e-6
# A command this many control periods after the last one has missed its deadline.
LATE = 1.5
# Deep, so that a short press is not lost between two looks.
STOP = (
    QoSProfile(depth=100),
    QoSProfile(depth=100, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL),
    QoSProfile(depth=100, reliability=QoSReliabilityPolicy.BEST_EFFORT),
)
# Of a control period: what may be spent on looking for wiring mistakes after a command.
LOOKING = 0.05


@dataclass
class Loop:
    """What is at work between configure and cleanup.

    Attributes:
        period: the control period in seconds.
        action: float32 [actions], where the policy puts its action.
        sent: [actions], what was sent last, in the policy's units.
        label: of the observation that was received last.
        backend: asks the neuromorphic node, if that is to run the layers.
    """

    policy: Policy
    checksum: str
    robot: Robot
    inputs: Inputs
    commands: CommandMap
    gate: SafetyGate
    wiring: Wiring
    period: float
    action: np.ndarray
    sent: list[float]
    backend: Backend | None
    label: str = ""


class Controller(LifecycleNode):
    """Loads a policy, and while active turns observations into commands.

    Whatever goes wrong on the way, the safety gate sends the safe command instead, and the fault is
    logged and shown in the diagnostics. Leaving the active state, for any reason, ends with the
    safe command.
    """

    def __init__(self) -> None:
        super().__init__("controller")
        self.exit_status: int | None = None
        self.failure: Exception | None = None
        declare(self, PARAMETERS)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._loop: Loop | None = None
        self._publisher: Any = None
        self._entities: list[Callable[[], Any]] = []
        self._is_active = self._starting = self._spikes_wanted = False
        self._check_wiring = self._require_wiring = False
        self._search: Generator[None, None, list[str]] | None = None
        self._told = ""
        self._task: Any = None
        self._answered_at = 0.0
        self._sent_at = self._logged_at = 0.0
        self._forget_statistics()
        # Time on this node stands still for nobody: a simulation that does is a stale source too.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=10)
        )
        self._spike_topic = self.create_publisher(UInt8MultiArray, "~/spikes", SENSOR_DATA)
        self.create_timer(1.0, self._on_second, clock=self._steady)
        self.create_service(Trigger, "~/reload", self._on_reload)
        self.create_service(Trigger, "~/arm", self._on_arm)
        self._stop = StopLatch()
        # A stop must be heard whatever its publisher's QoS, and one that was published before we
        # came too, if it was kept: no one subscription does all that. To hear one thrice does no
        # harm, and that not every subscription fits every publisher is nothing to warn of.
        ignore = SubscriptionEventCallbacks(incompatible_qos=lambda event: None)
        for qos in STOP:
            self.create_subscription(Bool, "stop", self._on_stop, qos, event_callbacks=ignore)

    def start(self) -> None:
        """Configure and activate, if the parameter autostart says so; end if that fails."""
        if not self._parameter("autostart"):
            return
        succeeded = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != succeeded:
            self.exit_status = 1
        elif self._require_wiring:
            self._starting = True  # once enough was seen: _on_second
        elif self.trigger_activate() != succeeded:
            self.exit_status = 1

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and check everything; a bad policy file or parameter leaves the node as it was."""
        try:
            self._configure()
        except UserError as error:
            self._release()
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            # rclpy goes to on_error without a word when a transition raises, so speak here.
            self.get_logger().fatal(f"configure failed: {type(error).__name__}: {error}")
            raise
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start to command, if the wiring is as it is required to be."""
        assert self._loop is not None
        loop = self._loop
        if self._require_wiring:
            waiting = f"{loop.wiring.count} observations were seen, expected {ENOUGH} first"
            wrong = [waiting]
            if loop.wiring.count >= ENOUGH:
                wrong = loop.wiring.findings(self._check_period)
            if wrong:
                self.get_logger().error(f"wiring: {'; '.join(wrong)}; not activated")
                return TransitionCallbackReturn.FAILURE
        # Whatever was made up to now stays: without this a collection takes 30 ms in the loop.
        gc.collect()
        gc.freeze()
        self._forget_statistics()
        now = time.monotonic()
        loop.inputs.forget(now)  # what came while nobody commanded is no longer fresh
        loop.gate.start(now)
        self._note_sent(loop, loop.gate.safe, "")
        loop.wiring.forget()
        self._search, self._told = None, ""
        self._starting = False
        if loop.backend is not None:
            loop.backend.question = None
        result = super().on_activate(state)
        self._is_active = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop commanding; the last command is the safe one."""
        self._send_last_command()
        self._starting = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the policy and the topics."""
        self._starting = False
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop for good; the last command is the safe one."""
        self._send_last_command()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an exception in a transition: safe command, and back to unconfigured."""
        self._send_last_command()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """End the process in order: safe command if active, then the last diagnostics."""
        self._send_last_command()
        self._publish_diagnostics()
        self._diagnostics.wait_for_all_acked(Duration(seconds=GOODBYE_SECONDS))

    # ---- configure and reload

    def _configure(self) -> None:
        loop = self._load()
        spec, parameter = loop.policy.spec, self._parameter
        qos = QoSProfile(depth=1)
        if parameter("command_deadline") > 0:
            qos.deadline = Duration(seconds=parameter("command_deadline"))
        if parameter("command_lease") > 0:
            qos.liveliness_lease_duration = Duration(seconds=parameter("command_lease"))
        topic = "~/shadow_command" if parameter("shadow") else loop.robot.command.topic
        self._publisher = self.create_lifecycle_publisher(loop.commands.message_type, topic, qos)
        self._entities = [lambda: self.destroy_lifecycle_publisher(self._publisher)]
        for index, source in enumerate(loop.robot.sources):
            subscription = self.create_subscription(
                message_class(source.type),
                source.topic,
                functools.partial(self._on_message, index),
                RELIABLE if source.reliable else SENSOR_DATA,
            )
            self._entities.append(functools.partial(self.destroy_subscription, subscription))
        shortest = min(source.timeout for source in loop.robot.sources)
        self._every(shortest * WATCH, self._on_watch)
        self._repeat_period = min(loop.period, shortest)
        self._repeating = self._every(self._repeat_period, self._on_repeat)
        self._repeating.cancel()  # until there is a fault
        self._fixed_rate = parameter("rate") > 0
        if self._fixed_rate:
            self._every(loop.period, self._on_timer)
        if loop.backend is not None:
            self._requests = self.create_publisher(
                UInt8MultiArray, "neuromorphic/request", RELIABLE
            )
            self._entities.append(lambda: self.destroy_publisher(self._requests))
            answers = self.create_subscription(
                UInt8MultiArray, "neuromorphic/answer", self._on_answer, RELIABLE
            )
            self._entities.append(lambda: self.destroy_subscription(answers))
            deadline = parameter("backend_deadline") or loop.period / 2
            self._deadline = self._every(deadline, self._on_deadline)
            self._deadline.cancel()  # until there is a question
            self._fall_back = parameter("backend_fallback") == "native"
        self._shadow = parameter("shadow")
        self._check_wiring = parameter("wiring") != "none"
        self._require_wiring = parameter("wiring") == "require"
        self._check_period = not parameter("lockstep")
        self._search, self._told = None, ""
        self._loop = loop
        self.get_logger().info(
            f"policy {parameter('policy')} ({loop.checksum[:12]}): {spec.observation_size} "
            f"observations, {spec.action_size} actions, trained on "
            f"{spec.provenance.get('env', 'an unnamed task')}"
        )

    def _load(self, neuron: str | None = None) -> Loop:
        """Read and check the files and parameters; nothing of the node is changed.

        Args:
            neuron: what the policy's must be, if that matters.
        """
        parameter = self._parameter
        path = parameter("policy")
        if not path:
            raise UserError("parameter policy is empty, expected the path of a policy file")
        _check_choices({each.name: parameter(each.name) for each in PARAMETERS})
        if 0 < parameter("rate") < 1e-3:
            raise UserError(f"parameter rate is {parameter('rate')}, expected 0 or 0.001 and more")
        spec, tensors, checksum = read_policy(path)
        if neuron not in (None, spec.neuron):
            # Its code would have to be compiled, which can take seconds.
            raise UserError(
                f"policy file {path}: its neuron is {spec.neuron}, expected {neuron} as at work; "
                "cleanup and configure take another"
            )
        policy = Policy(spec, tensors)
        timeout, lockstep = parameter("observation_timeout"), parameter("lockstep")
        if parameter("robot"):
            robot = load_robot(parameter("robot"), spec, timeout, lockstep)
        else:
            robot = plain_robot(spec, timeout, lockstep)
        commands = CommandMap(robot.command)
        rate = parameter("rate")
        period = 1 / rate if rate > 0 else spec.control_period or DEFAULT_PERIOD
        return Loop(
            policy=policy,
            checksum=checksum,
            robot=robot,
            inputs=Inputs(robot, repeats=lockstep),
            commands=commands,
            gate=SafetyGate(commands.low, commands.high, period, self._stop, self._settings({})),
            wiring=Wiring(policy),
            period=period,
            action=np.zeros(spec.action_size, np.float32),
            sent=[0.0] * spec.action_size,
            backend=Backend(spec, tensors, checksum) if parameter("backend") == "lava" else None,
        )

    def _settings(self, changed: dict[str, Any]) -> SafetySettings:
        """The safety settings of the parameters, with some of them changed."""
        names = ("safe_command", "safe_hold", "slew_rate", "ramp_in")
        return SafetySettings(*(changed.get(name, self._parameter(name)) for name in names))

    def _every(self, seconds: float, callback: Callable[[], None]) -> Any:
        timer = self.create_timer(seconds, callback, clock=self._steady)
        self._entities.append(functools.partial(self.destroy_timer, timer))
        return timer

    def _release(self) -> None:
        for destroy in reversed(self._entities):
            destroy()
        self._entities = []
        self._loop = self._publisher = None
        gc.unfreeze()

    def _on_set_parameters(self, parameters: list[rclpy.Parameter]) -> SetParametersResult:
        changed = {each.name: each.value for each in parameters}
        try:
            _check_choices(changed)
            if self._loop is not None:
                self._loop.gate.change(self._settings(changed))
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_reload(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Swap the policy between two commands; a bad file leaves the old one at work."""
        try:
            if self._loop is None:
                raise UserError("there is no policy to replace: the controller is not configured")
            old = self._loop
            new = self._load(old.policy.spec.neuron)
            specs = new.policy.spec, old.policy.spec
            sizes = [(spec.observation_size, spec.action_size) for spec in specs]
            if sizes[0] != sizes[1]:
                raise UserError(
                    f"policy file {self._parameter('policy')}: has {sizes[0][0]} observations and "
                    f"{sizes[0][1]} actions, expected {sizes[1][0]} and {sizes[1][1]}"
                )
            if (new.robot, new.period) != (old.robot, old.period):
                raise UserError(
                    f"policy file {self._parameter('policy')}: its names, limits or control period "
                    "are not those of the policy at work (or other parameters were changed), "
                    "expected the same; cleanup and configure take them"
                )
            self._settle(old)
            old.policy, old.checksum, old.wiring = new.policy, new.checksum, new.wiring
            old.backend = new.backend
            self._search = None
            response.success, response.message = True, f"policy {new.checksum[:12]} loaded"
        except UserError as error:
            self.get_logger().error(f"reload: {error}")
            response.success, response.message = False, str(error)
        return response

    # ---- the loop

    def _on_message(self, index: int, message: Any) -> None:
        now = time.monotonic()
        loop = self._loop
        if loop is None:
            return
        if isinstance(message, Float64MultiArray):
            loop.label = label_of(message)
        if not loop.inputs.take(index, message, now) or self._fixed_rate or self._task is not None:
            return
        if now - self._answered_at > CROWDED or self.executor is None:
            self._step(loop, now)
            self._answered_at = time.monotonic()
        else:
            # Observations come faster than they can be answered. Events are served in order: a stop
            # that waits behind this one goes first, and the freshest observation is answered.
            self._task = self.executor.create_task(self._on_task)

    def _on_task(self) -> None:
        self._task = None
        try:
            if self._loop is not None:
                self._step(self._loop, time.monotonic())
                self._answered_at = time.monotonic()
        except Exception as error:
            # rclpy's executor does not survive an exception in a task: `run` raises it for us.
            self.failure = error

    def _on_timer(self) -> None:
        """At a fixed rate, answer the freshest observation."""
        if self._loop is not None:
            self._step(self._loop, time.monotonic())

    def _on_watch(self) -> None:
        """Look whether a source has become stale: nobody else would notice."""
        now, loop = time.monotonic(), self._loop
        if self._is_active and loop is not None and self._repeating.is_canceled():
            fault = loop.inputs.fault(now)
            if fault:
                self._send_safe(loop, fault, now)

    def _on_repeat(self) -> None:
        """While a fault lasts and nothing else makes us, send the safe command again and again."""
        now, loop = time.monotonic(), self._loop
        fault = loop.inputs.fault(now) if loop is not None else ""
        fault = self._stop.fault or fault or self._lasting
        if not self._is_active or loop is None or not fault:
            self._repeating.cancel()
        elif now - self._sent_at > 0.9 * self._repeat_period:
            self._send_safe(loop, fault, now)

    def _step(self, loop: Loop, now: float) -> None:
        """Command, or if inactive only look."""
        fault = loop.inputs.fault(now)
        if not (fault or loop.inputs.ready):
            return
        if not self._is_active:
            if self._check_wiring and not fault:
                loop.wiring.add(loop.inputs.observation(loop.sent), None, now)
                self._look(loop)
            return
        if loop.backend is not None:
            self._settle(loop)
        observation = None
        if not fault:
            observation = loop.inputs.observation(loop.sent)
            try:
                if loop.backend is None:
                    loop.policy.act(observation, loop.action)
                elif self._ask(loop, loop.backend, observation):
                    return  # and go on in _on_answer or _on_deadline
            except ObservationError as error:
                fault = f"topic {', '.join(s.topic for s in loop.robot.sources)}: {error}"
        self._finish(loop, observation, loop.label, loop.policy, fault, now)

    def _finish(
        self,
        loop: Loop,
        observation: np.ndarray | None,
        label: str,
        acted: Policy,
        fault: str,
        now: float,
    ) -> None:
        """Send the action that was found, or the safe command, and take note of it."""
        numbers = None if fault else loop.commands.numbers(loop.action)
        sent, fault = self._send(loop, numbers, fault, label, now)
        done = time.monotonic()
        self._note_sent(loop, sent, fault)
        # Of an observation or a command that was no good nobody is reminded but by the next one.
        self._lasting = "" if self._stop.fault or loop.inputs.fault(now) else fault
        if fault or observation is None:
            return
        self._latencies.add(done - loop.inputs.newest)
        if self._check_wiring:
            loop.wiring.add(observation, None if self._shadow else loop.sent, now)
            self._look(loop)
        self._spikes += acted.spike_count
        self._operations += acted.synaptic_operations
        if self._spikes_wanted:
            self._spike_topic.publish(raster(acted.spikes, label))

    # ---- the neuromorphic node

    def _ask(self, loop: Loop, backend: Backend, observation: np.ndarray) -> bool:
        """Ask the node; whether its answer is waited for. If not, the fallback has acted."""
        self._requests.publish(backend.ask(observation, loop.label))
        if backend.question is not None:
            self._deadline.reset()
            return True
        self._fallbacks += 1
        if not self._fall_back:
            raise ObservationError("the neuromorphic node does not answer")
        loop.policy.act(observation, loop.action)
        return False

    def _on_answer(self, message: UInt8MultiArray) -> None:
        loop = self._loop
        if loop is None or loop.backend is None:
            return
        question = loop.backend.question
        try:
            action = loop.backend.answer(message)
        except UserError as error:
            self.get_logger().error(f"topic neuromorphic/answer: {error}")
            return
        if action is None or question is None or not self._is_active:
            return
        self._deadline.cancel()
        loop.action[:] = action
        now = time.monotonic()
        fault = loop.inputs.fault(now)
        acted = loop.backend.policy
        self._finish(loop, question.observation, question.label, acted, fault, now)

    def _on_deadline(self) -> None:
        self._deadline.cancel()
        if self._loop is not None:
            self._settle(self._loop)

    def _settle(self, loop: Loop) -> None:
        """If a question still waits, answer it without the node: none goes without a command."""
        question = loop.backend.question if loop.backend is not None else None
        if loop.backend is None or question is None:
            return
        self._deadline.cancel()
        loop.backend.give_up()
        if not self._is_active:
            return
        self._fallbacks += 1
        self.get_logger().warning("the neuromorphic node did not answer in time")
        now = time.monotonic()
        fault = loop.inputs.fault(now)
        if self._fall_back:
            loop.policy.act(question.observation, loop.action)
        else:
            fault = fault or "the neuromorphic node did not answer in time"
        self._finish(loop, question.observation, question.label, loop.policy, fault, now)

    def _send(
        self, loop: Loop, numbers: list[float] | None, fault: str, label: str, now: float
    ) -> tuple[Sequence[float], str]:
        """Send what the gate lets through."""
        sent, fault = loop.gate.check(numbers, fault, now)
        self._publish(loop, sent, label)
        if self._sent_at and now - self._sent_at > LATE * loop.period:
            self._missed += 1
        self._sent_at, self._fault = now, fault
        if fault:
            if self._repeating.is_canceled():
                self._repeating.reset()
            self._last_fault = fault
            self._safe_commands += 1
            # Not rclpy's own throttle: it takes longer than all the rest of a command.
            if now - self._logged_at > 1.0:
                self._logged_at = now
                self.get_logger().error(f"{fault}; sent the safe command")
        return sent, fault

    def _send_safe(self, loop: Loop, fault: str, now: float) -> None:
        """Send the safe command without having been asked."""
        self._note_sent(loop, self._send(loop, None, fault, UNASKED, now)[0], fault)

    def _publish(self, loop: Loop, numbers: Sequence[float], label: str) -> None:
        """The one place where commands leave this node; what leaves comes from the gate."""
        stamp = self.get_clock().now().to_msg() if loop.commands.stamped else None
        self._publisher.publish(loop.commands.message(numbers, label, stamp))

    def _note_sent(self, loop: Loop, sent: Sequence[float], fault: str) -> None:
        """Remember what the robot got; after a fault the next step is not one of the policy's."""
        loop.sent = loop.commands.action(sent)
        if fault:
            loop.wiring.forget()
            self._search = None

    def _look(self, loop: Loop) -> None:
        """Go on looking for wiring mistakes, for as long as the next command can wait."""
        if self._search is None:
            if not loop.wiring.due():
                return
            self._search = loop.wiring.search(self._check_period)
        until = time.monotonic() + LOOKING * loop.period
        try:
            while time.monotonic() < until:
                next(self._search)
        except StopIteration as end:
            self._search = None
            told, self._told = self._told, "; ".join(end.value)
            if self._told and self._told != told:
                self.get_logger().warning(f"wiring: {self._told}")

    def _send_last_command(self) -> None:
        if not self._is_active or self._loop is None:
            return
        self._is_active = False
        self._repeating.cancel()
        sent, _ = self._loop.gate.check(None, "no longer active", time.monotonic())
        self._publish(self._loop, sent, UNASKED)
        self._fault = self._lasting = ""
        self._publisher.wait_for_all_acked(Duration(seconds=GOODBYE_SECONDS))

    def _on_stop(self, message: Bool) -> None:
        fault = self._stop.fault
        self._stop.press(message.data)
        if self._stop.fault != fault:
            self.get_logger().warning(self._stop.fault)
            if self._is_active and self._loop is not None:
                self._send_safe(self._loop, self._stop.fault, time.monotonic())

    def _on_arm(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Let commands go out again after a stop."""
        try:
            was_stopped = bool(self._stop.fault)
            self._stop.arm()
            if was_stopped and self._loop is not None:
                self._loop.gate.ramp(time.monotonic())
            response.success, response.message = True, "armed"
        except UserError as error:
            response.success, response.message = False, str(error)
        return response

    # ---- what others see of it

    def _forget_statistics(self) -> None:
        self._latencies = Latencies()
        self._spikes = self._operations = self._safe_commands = self._missed = 0
        self._fallbacks = 0
        self._fault = self._last_fault = self._lasting = ""
        self._sent_at = self._logged_at = 0.0
        self._counted, self._counted_at = 0, time.monotonic()

    def _on_second(self) -> None:
        self._spikes_wanted = self._spike_topic.get_subscription_count() > 0
        if self._starting and self._loop is not None and not self._is_active:
            self._starting = self.trigger_activate() != TransitionCallbackReturn.SUCCESS
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        values: dict[str, object] = {
            "state": self._state_machine.current_state[1],
            "policy": self._parameter("policy"),
            "robot": self._parameter("robot"),
        }
        loop, now = self._loop, time.monotonic()
        count = self._latencies.count
        rate = (count - self._counted) / max(now - self._counted_at, 1e-3)
        self._counted, self._counted_at = count, now
        values |= {
            "commands": count,
            "commands_per_second": f"{rate:.1f}",
            "safe_commands": self._safe_commands,
            "last_fault": self._last_fault,
            "missed_deadlines": self._missed,
        }
        values |= self._latencies.milliseconds()
        if loop is not None:
            values |= {
                "policy_sha256": loop.checksum,
                "stale_sources": "; ".join(loop.inputs.stale(now)),
                "ignored_messages": loop.inputs.ignored,
                "wiring": self._told,
            }
            if loop.backend is not None:
                values |= {
                    "backend": "fallback" if loop.backend.lost else "lava",
                    "backend_fallbacks": self._fallbacks,
                    "backend_late_answers": loop.backend.late,
                }
            if count:
                joules = inference_energy(loop.policy.spec, self._operations / count)
                values |= {
                    "spikes_per_command": f"{self._spikes / count:.1f}",
                    "synaptic_operations_per_command": f"{self._operations / count:.0f}",
                    "nanojoules_per_command": f"{joules * 1e9:.3f}",
                }
        warning = self._stop.fault or (f"wiring: {self._told}" if self._told else "")
        state = str(values["state"])
        self._diagnostics.publish(diagnostics(self, self._fault, values, warning, state))

    def _parameter(self, name: str) -> Any:
        return value_of(self, name)


def _check_choices(values: dict[str, Any]) -> None:
    for parameter in PARAMETERS:
        value = values.get(parameter.name)
        if parameter.choices and value is not None and value not in parameter.choices:
            expected = ", ".join(parameter.choices)
            raise UserError(f"parameter {parameter.name} is {value!r}, expected one of {expected}")


def main(arguments: Sequence[str]) -> int:
    """Run the controller node."""
    return run(Controller, arguments, Controller.start)
