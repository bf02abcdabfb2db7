"""The controller: a lifecycle node that answers observations with commands while it is active.

Imports neither torch nor gymnasium nor mujoco: it runs on the robot.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from proxy_snn_control.nodes.messages import (
    RELIABLE,
    SENSOR_DATA,
    UNASKED,
    Latencies,
    diagnostics,
    label_of,
    number_array,
    values_of,
)
from proxy_snn_control.nodes.process import Parameter, declare, run, value_of
from proxy_snn_control.nodes.safety import SafetyGate
from proxy_snn_control.policy import ObservationError, Policy, UserError, load_policy
from proxy_snn_control.policy.energy import inference_energy

PARAMETERS = (
    Parameter(
        "policy",
        "",
        "The policy file; a change counts from the next configure or ~/reload.",
        read_only=False,
    ),
    Parameter(
        "safe_command",
        [],
        "The command sent on any fault and last of all, one value per action; zeros if empty.",
    ),
    Parameter(
        "observation_timeout",
        0.5,
        "Seconds without an observation after which the safe command is sent.",
        low=0.001,
        high=3600.0,
    ),
    Parameter(
        "rate",
        0.0,
        "Commands a second, each from the freshest observation; 0 answers every observation.",
        low=0.0,
        high=10_000.0,
    ),
    Parameter(
        "reliable_observations",
        False,
        "Ask for reliable delivery of observations; needed for a sim in lockstep.",
    ),
    Parameter("autostart", False, "Configure and activate at start; end if that fails."),
)
# While observations are stale: how often the safe command is repeated if the policy does not know
# its own control period.
DEFAULT_PERIOD = 0.02
GOODBYE_SECONDS = 0.5


class Controller(LifecycleNode):
    """Loads a policy, and while active turns observations into commands.

    Whatever goes wrong with an observation, the safe command is sent instead and the fault is
    logged and shown in the diagnostics. Leaving the active state, for any reason, ends with the
    safe command.
    """

    def __init__(self) -> None:
        super().__init__("controller")
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        self._policy: Policy | None = None
        self._gate: SafetyGate | None = None
        self._commands: Any = None
        self._entities: list[Callable[[], Any]] = []
        self._is_active = False
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=10)
        )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        self.create_service(Trigger, "~/reload", self._on_reload)
        self._forget_statistics()
        self._latest: tuple[Float64MultiArray, float] | None = None
        self._received = 0.0

    def start(self) -> None:
        """Configure and activate, if the parameter autostart says so; end if that fails."""
        if self._parameter("autostart"):
            succeeded = TransitionCallbackReturn.SUCCESS
            if self.trigger_configure() != succeeded or self.trigger_activate() != succeeded:
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
        """Start to command."""
        self._forget_statistics()
        self._latest = None  # what came while nobody commanded is no longer fresh
        self._received = time.monotonic()
        result = super().on_activate(state)
        self._is_active = result == TransitionCallbackReturn.SUCCESS
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop commanding; the last command is the safe one."""
        self._send_last_command()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the policy and the topics."""
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

    def _configure(self) -> None:
        policy, checksum = self._load()
        gate = SafetyGate(
            policy.spec.action_low, policy.spec.action_high, self._parameter("safe_command")
        )
        self._policy, self._checksum, self._gate = policy, checksum, gate
        self._commands = self.create_lifecycle_publisher(Float64MultiArray, "command", RELIABLE)
        self._entities = [lambda: self.destroy_lifecycle_publisher(self._commands)]
        observations = self.create_subscription(
            Float64MultiArray,
            "observation",
            self._on_observation,
            RELIABLE if self._parameter("reliable_observations") else SENSOR_DATA,
        )
        self._entities.append(lambda: self.destroy_subscription(observations))
        rate = self._parameter("rate")
        self._fixed_rate = rate > 0
        # On the steady clock: a simulation that stands still is a stale source too.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timeout = self._parameter("observation_timeout")
        period = min(policy.spec.control_period or DEFAULT_PERIOD, self._timeout / 4)
        watch = self.create_timer(period, self._on_watch, clock=steady)
        self._entities.append(lambda: self.destroy_timer(watch))
        if self._fixed_rate:
            timer = self.create_timer(1 / rate, self._on_timer, clock=steady)
            self._entities.append(lambda: self.destroy_timer(timer))
        self.get_logger().info(
            f"policy {self._parameter('policy')} ({checksum[:12]}): {policy.spec.observation_size} "
            f"observations, {policy.spec.action_size} actions, trained on "
            f"{policy.spec.provenance.get('env', 'an unnamed task')}"
        )

    def _load(self) -> tuple[Policy, str]:
        path = self._parameter("policy")
        if not path:
            raise UserError("parameter policy is empty, expected the path of a policy file")
        policy = load_policy(path)
        return policy, hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def _release(self) -> None:
        for destroy in reversed(self._entities):
            destroy()
        self._entities = []
        self._policy = self._gate = self._commands = None

    def _on_reload(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Swap the policy between two commands; a bad file leaves the old one at work."""
        try:
            if self._policy is None or self._gate is None:
                raise UserError("there is no policy to replace: the controller is not configured")
            policy, checksum = self._load()
            old, new = self._policy.spec, policy.spec
            if (old.observation_size, old.action_size) != (new.observation_size, new.action_size):
                raise UserError(
                    f"policy file {self._parameter('policy')}: has {new.observation_size} "
                    f"observations and {new.action_size} actions, expected {old.observation_size} "
                    f"and {old.action_size}"
                )
            gate = SafetyGate(new.action_low, new.action_high, self._parameter("safe_command"))
            self._policy, self._checksum, self._gate = policy, checksum, gate
            response.success, response.message = True, f"policy {checksum[:12]} loaded"
        except UserError as error:
            self.get_logger().error(f"reload: {error}")
            response.success, response.message = False, str(error)
        return response

    def _on_observation(self, message: Float64MultiArray) -> None:
        received = time.monotonic()
        self._received = received
        self._latest = message, received
        if self._is_active and not self._fixed_rate:
            self._answer(message, received)

    def _on_watch(self) -> None:
        """While observations stay away, send the safe command again and again."""
        silent = time.monotonic() - self._received
        if self._is_active and silent > self._timeout:
            self._fault = f"no observation for {silent:.2f} s on topic observation"
            self._send_safe(UNASKED)

    def _on_timer(self) -> None:
        """At a fixed rate, answer the freshest observation while it is fresh."""
        fresh = time.monotonic() - self._received <= self._timeout
        if self._is_active and fresh and self._latest is not None:
            self._answer(*self._latest)

    def _answer(self, message: Float64MultiArray, received: float) -> None:
        """Answer one observation: with the policy's command if all is well, else the safe one."""
        assert self._policy is not None and self._gate is not None
        label = label_of(message)
        try:
            action = self._policy.act(values_of(message))
        except ObservationError as error:
            self._fault = f"topic observation: {error}"
            self._send_safe(label)
            return
        command, self._fault = self._gate.check(action)
        if self._fault:
            self._send_safe(label)
            return
        self._commands.publish(number_array(command, label))
        self._latencies.add(time.monotonic() - received)
        self._spikes += self._policy.spike_count
        self._operations += self._policy.synaptic_operations

    def _send_safe(self, label: str) -> None:
        assert self._gate is not None
        self._commands.publish(number_array(self._gate.safe, label))
        self._safe_commands += 1
        self.get_logger().error(f"{self._fault}; sent the safe command", throttle_duration_sec=1.0)

    def _send_last_command(self) -> None:
        if not self._is_active:
            return
        assert self._gate is not None
        self._is_active = False
        self._fault = ""
        self._commands.publish(number_array(self._gate.safe, UNASKED))
        self._commands.wait_for_all_acked(Duration(seconds=GOODBYE_SECONDS))

    def _forget_statistics(self) -> None:
        self._latencies = Latencies()
        self._spikes = self._operations = self._safe_commands = 0
        self._fault = ""

    def _publish_diagnostics(self) -> None:
        values: dict[str, object] = {
            "state": self._state_machine.current_state[1],
            "policy": self._parameter("policy"),
        }
        if self._policy is not None:
            values["policy_sha256"] = self._checksum
        count = self._latencies.count
        values |= {"commands": count, "safe_commands": self._safe_commands}
        values |= self._latencies.milliseconds()
        if count and self._policy is not None:
            joules = inference_energy(self._policy.spec, self._operations / count)
            values |= {
                "spikes_per_command": f"{self._spikes / count:.1f}",
                "synaptic_operations_per_command": f"{self._operations / count:.0f}",
                "nanojoules_per_command": f"{joules * 1e9:.3f}",
            }
        self._diagnostics.publish(diagnostics(self, self._fault, values))

    def _parameter(self, name: str) -> Any:
        return value_of(self, name)


def main(arguments: Sequence[str]) -> int:
    """Run the controller node."""
    return run(Controller, arguments, Controller.start)
