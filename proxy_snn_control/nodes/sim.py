"""The sim: a Gymnasium MuJoCo task behind ROS topics. Never imports torch."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64, Float64MultiArray, Header
from std_srvs.srv import Trigger

from proxy_snn_control.learning.tasks import (
    clip_action,
    describe,
    episode_seed,
    make_environment,
)
from proxy_snn_control.nodes.messages import (
    EPISODE_RETURNS,
    RELIABLE,
    SENSOR_DATA,
    Latencies,
    diagnostics,
    label_of,
    number_array,
    values_of,
)
from proxy_snn_control.nodes.process import Parameter, declare, run
from proxy_snn_control.policy import UserError

SEED_LIMIT = 2**31 - 1
PARAMETERS = (
    Parameter("env", "InvertedDoublePendulum-v5", "The Gymnasium task, a MuJoCo one."),
    Parameter(
        "mode",
        "lockstep",
        "lockstep: one step per command. realtime: at the task's own rate, holding the command.",
    ),
    Parameter(
        "seed",
        0,
        "Episode i starts from seed + i, as in proxy-snn evaluate.",
        low=0,
        high=SEED_LIMIT,
    ),
    Parameter("episodes", 0, "End after so many episodes; 0 never ends.", low=0, high=2**31 - 1),
)
# In lockstep an observation is repeated this often until it is answered: the controller may not
# have been there, or not active, when it first went out.
REPEAT_SECONDS = 0.2
GOODBYE_SECONDS = 0.5


class Sim(Node):
    """Steps the task and publishes what it observes.

    In lockstep an answer counts if it carries the label of the present observation, or none: a
    second answer to a repeated observation cannot be taken for the answer to the next one.
    """

    def __init__(self) -> None:
        super().__init__("sim")
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        mode = self.get_parameter("mode").value
        if mode not in ("lockstep", "realtime"):
            raise UserError(f"parameter mode is {mode!r}, expected lockstep or realtime")
        self._lockstep = mode == "lockstep"
        self._seed = self.get_parameter("seed").value
        self._episodes = self.get_parameter("episodes").value
        self._environment = make_environment(self.get_parameter("env").value)
        self._task = describe(self._environment)
        base: Any = self._environment.unwrapped
        if not hasattr(base, "data") or self._task.control_period is None:
            raise UserError(f"task {self._task.id!r} is no MuJoCo task, expected one")
        self._data, self._model = base.data, base.model
        self._find_joints()

        self._observations = self.create_publisher(
            Float64MultiArray, "observation", RELIABLE if self._lockstep else SENSOR_DATA
        )
        self._joint_states = self.create_publisher(JointState, "joint_states", QoSProfile(depth=10))
        self._clock_topic = self.create_publisher(ClockMessage, "/clock", QoSProfile(depth=1))
        self._episode_returns = self.create_publisher(Float64, "~/episode_return", EPISODE_RETURNS)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=10)
        )
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_subscription(Float64MultiArray, "command", self._on_command, RELIABLE)

        self._sequence = self._steps = self._episode = self._refused = 0
        self._sim_time = 0.0
        self._fault = ""
        self._round_trips = Latencies()
        self._first_command = self._last_command = 0.0
        neutral = np.zeros(len(self._task.action_low))
        self._held = clip_action(self._environment, neutral)
        self._begin_episode()

        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._publish_diagnostics, clock=steady)
        if self._lockstep:
            self.create_timer(REPEAT_SECONDS / 2, self._repeat, clock=steady)
        else:
            self.create_timer(self._task.control_period, self._on_tick, clock=steady)
        self.get_logger().info(f"{self._task.id} in {mode}, seed {self._seed}")

    def close(self) -> None:
        """End in order: the last diagnostics, the environment closed."""
        self._publish_diagnostics()
        for publisher in (self._diagnostics, self._episode_returns):
            publisher.wait_for_all_acked(Duration(seconds=GOODBYE_SECONDS))
        self._environment.close()

    def _find_joints(self) -> None:
        """Look up the hinge and slide joints: those that JointState can speak of."""
        simple = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        joints = [i for i in range(self._model.njnt) if int(self._model.jnt_type[i]) in simple]
        self._joint_names = [self._model.joint(i).name or f"joint{i}" for i in joints]
        self._qpos = self._model.jnt_qposadr[joints]
        self._qvel = self._model.jnt_dofadr[joints]

    def _begin_episode(self) -> None:
        seed = episode_seed(self._seed, self._episode)
        self._observation, _ = self._environment.reset(seed=seed)
        self._return = 0.0
        self._publish_state()

    def _publish_state(self) -> None:
        """Publish the present observation, and joint states and clock to those who listen."""
        self._sequence += 1
        self._label = f"observation {self._sequence}"
        if self._joint_states.get_subscription_count():
            self._joint_states.publish(
                JointState(
                    header=_header(self._sim_time),
                    name=self._joint_names,
                    position=array("d", self._data.qpos[self._qpos]),
                    velocity=array("d", self._data.qvel[self._qvel]),
                    effort=array("d", self._data.qfrc_actuator[self._qvel]),
                )
            )
        if self._clock_topic.get_subscription_count():
            self._clock_topic.publish(ClockMessage(clock=_time(self._sim_time)))
        self._publish_observation()

    def _publish_observation(self) -> None:
        self._sent = time.monotonic()
        self._observations.publish(number_array(self._observation, self._label))

    def _repeat(self) -> None:
        if time.monotonic() - self._sent > REPEAT_SECONDS and self.exit_status is None:
            self._publish_observation()

    def _on_command(self, message: Float64MultiArray) -> None:
        received = time.monotonic()
        if self.exit_status is not None:
            return
        label = label_of(message)
        if self._lockstep and label not in ("", self._label):
            return  # a second answer to an earlier observation
        action = values_of(message)
        if action.shape != self._held.shape:
            self._refuse(f"command has {action.size} values, expected {self._held.size}")
            return
        if not np.isfinite(action).all():
            self._refuse(f"command {action.tolist()} is not finite")
            return
        self._fault = ""
        self._first_command = self._first_command or received
        self._last_command = received
        self._round_trips.add(received - self._sent)
        self._held = clip_action(self._environment, action)
        if self._lockstep:
            self._step()

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        self._fault = f"topic command: {reason}"
        self.get_logger().error(self._fault, throttle_duration_sec=1.0)

    def _on_tick(self) -> None:
        if self.exit_status is None:
            self._step()

    def _step(self) -> None:
        self._observation, reward, terminated, truncated, _ = self._environment.step(self._held)
        self._return += float(reward)
        self._steps += 1
        self._sim_time += self._task.control_period or 0.0
        if not (terminated or truncated):
            self._publish_state()
            return
        self._episode_returns.publish(Float64(data=self._return))
        self._episode += 1
        self.get_logger().info(f"episode {self._episode}: return {self._return:.2f}")
        if self._episodes and self._episode >= self._episodes:
            self.exit_status = 0
        else:
            self._begin_episode()

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Start the present episode over."""
        self._held = clip_action(self._environment, np.zeros_like(self._held))
        self._begin_episode()
        response.success, response.message = True, f"episode {self._episode} starts over"
        return response

    def _publish_diagnostics(self) -> None:
        elapsed = self._last_command - self._first_command
        values: dict[str, object] = {
            "env": self._task.id,
            "mode": "lockstep" if self._lockstep else "realtime",
            "episode": self._episode,
            "steps": self._steps,
            "commands": self._round_trips.count,
            "commands_refused": self._refused,
        }
        if elapsed > 0:
            values["commands_per_second"] = f"{(self._round_trips.count - 1) / elapsed:.1f}"
        values |= self._round_trips.milliseconds()
        self._diagnostics.publish(diagnostics(self, self._fault, values))


def _time(seconds: float) -> Time:
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def _header(seconds: float) -> Header:
    return Header(stamp=_time(seconds))


def main(arguments: Sequence[str]) -> int:
    """Run the sim node."""
    return run(Sim, arguments)
