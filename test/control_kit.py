# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What the tests of control/ share: robots of two sources, messages, a loop in simulated time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from conftest import random_policy
from nav_msgs.msg import Odometry
import numpy as np
from proxy_snn_control.control.backend import Native
from proxy_snn_control.control.command import CommandMap
from proxy_snn_control.control.limits import JointLimit
from proxy_snn_control.control.loop import Loop
from proxy_snn_control.control.observation import Inputs
from proxy_snn_control.control.robot import load_robot, Robot
from proxy_snn_control.control.safety import SafetyGate, SafetySettings
from proxy_snn_control.control.spikes import labels_of, spikes_message, spikes_of
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.control.wiring import Wiring
from proxy_snn_control.neuromorphic.chip import Chip, float_layers
from proxy_snn_control.policy import Policy, PolicySpec
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
import yaml

PERIOD = 0.02
NAMES = ('angle', 'height')
TWO_SOURCES: dict[str, Any] = {
    'sources': {
        'joints': {'type': 'sensor_msgs/JointState', 'topic': 'joint_states', 'timeout': 0.2},
        'trunk': {'type': 'nav_msgs/Odometry', 'topic': 'odometry', 'timeout': 0.3},
    },
    'observation': {
        'angle': {'source': 'joints', 'joint': 'a', 'field': 'position'},
        'height': {'source': 'trunk', 'field': 'pose.pose.position.z'},
    },
    'command': {
        'type': 'std_msgs/Float64MultiArray',
        'topic': 'command',
        'outputs': [{'action': 'go', 'limits': [-0.8, 0.8]}],
    },
}


WHOLE: dict[str, Any] = {
    'sources': {'all': {'type': 'std_msgs/Float64MultiArray', 'topic': 'observation'}},
    'observation': {
        'observation[0]': {'source': 'all', 'index': 0},
        'observation[1]': {'source': 'all', 'index': 1},
    },
    'command': {
        'type': 'std_msgs/Float64MultiArray',
        'topic': 'command',
        'outputs': [{'action': 'action[0]'}],
    },
}


def two_spec() -> tuple[PolicySpec, dict[str, np.ndarray]]:
    return random_policy(
        2, 1, (8,), observation_names=NAMES, action_names=('go',), control_period=PERIOD
    )


def robot_of(folder: Path, content: dict[str, Any], spec: PolicySpec) -> Robot:
    path = folder / 'robot.yaml'
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_robot(str(path), spec, 0.5, False)


def header(stamp: float) -> Header:
    nanoseconds = round(stamp * 1e9)
    return Header(stamp=Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9))


def joints(stamp: float, value: float) -> JointState:
    return JointState(header=header(stamp), name=['a'], position=[value])


def trunk(stamp: float, value: float) -> Odometry:
    message = Odometry(header=header(stamp))
    message.pose.pose.position.z = value
    return message


def chip_answer(policy: Policy, request: Any) -> Any:
    """Return what the neuromorphic node answers, by the chip's arithmetic."""
    spec = policy.spec
    (spikes,) = spikes_of(request, spec.time_steps, spec.layer_sizes[:1])
    fired = Chip(float_layers(spec, policy._tensors), spec.time_steps).infer(spikes)
    return spikes_message(fired, *labels_of(request))


class World:
    """A loop in simulated time, and what left it."""

    def __init__(
        self,
        robot: Robot,
        policy: Policy,
        repeats: bool = False,
        at_rate: bool = False,
        joints: Sequence[JointLimit] = (),
    ) -> None:
        self.now = 0.0
        self.sent: list[tuple[float, list[float], str]] = []
        self.loses = False
        self.policy, self.robot, self.stop = policy, robot, StopLatch()
        commands = CommandMap(self.robot.command, joints)
        inputs = Inputs(self.robot, repeats, period=PERIOD, freshest=at_rate)
        settings = SafetySettings([0.5])
        interface = robot.command.interface
        self.gate = SafetyGate(
            commands.low, commands.high, PERIOD, self.stop, settings, interface, joints
        )
        self.loop = Loop(
            self.policy,
            '',
            self.robot,
            inputs,
            commands,
            self.gate,
            self.stop,
            Wiring(self.policy),
            Native(self.policy),
            PERIOD,
            lambda: self.now,
            self._send,
        )
        self.loop.watches_wiring = self.loop.checks_period = True
        self.loop.at_rate, self._answer_at = at_rate, 0.0
        self.deadline = float('inf')  # of a question to the neuromorphic node

    def _send(self, numbers: Sequence[float], label: str) -> bool:
        if not self.loses:
            self.sent.append((self.now, list(numbers), label))
        return not self.loses

    def take(self, source: int, message: Any) -> None:
        """As the node does."""
        if self.loop.take(source, message):
            self.loop.answer()
            self.loop.look()

    def wait(self, seconds: float) -> None:
        """Let time pass, with the timers that the node has."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + 0.01, end)
            if self.loop.at_rate and self.now >= self._answer_at - 1e-9:
                self._answer_at = self.now + PERIOD
                self.loop.answer()
                self.loop.look()
            if self.loop.question is not None and self.now >= self.deadline - 1e-9:
                self.loop.settle()
            self.loop.watch()
            if self.loop.faulty:
                self.loop.repeat()


def make_world(
    folder: Path, content: dict[str, Any], made: Any = None, repeats: bool = False
) -> World:
    spec, tensors = made or two_spec()
    return World(robot_of(folder, content, spec), Policy(spec, tensors), repeats)
