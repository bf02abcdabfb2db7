# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The guard: on the robot's side, between the controller and what drives the motors.

It republishes commands, and publishes the safe command when none comes in time: a controller that
was killed, or whose computer failed, cannot, and ros2_control's forward_command_controller goes on
with the last command for ever. It holds no policy and decides nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
import math
import time

from diagnostic_msgs.msg import DiagnosticArray
from proxy_snn_control.control.messages import ATTEMPTS
from proxy_snn_control.nodes.messages import diagnostics, RELIABLE
from proxy_snn_control.nodes.process import (
    await_receipt,
    declare,
    Parameter,
    run,
    STEADY,
    value_of,
)
from proxy_snn_control.nodes.publishing import publish
from proxy_snn_control.policy import UserError
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64MultiArray

PARAMETERS = (
    Parameter(
        'safe_command',
        [],
        'What is sent when no command comes: one value for each number of the command.',
    ),
    Parameter(
        'timeout',
        0.1,
        'Seconds without a command after which the safe command is sent.',
        low=0.001,
        high=60.0,
    ),
)


class Guard(Node):
    """Republishes `command` as `guarded_command`, and watches over it.

    A command of another length than the safe one's, or with a number that is not finite, is none.
    Before the first command it publishes nothing.
    """

    def __init__(self) -> None:
        super().__init__('guard')
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        safe = [float(value) for value in value_of(self, 'safe_command')]
        if not safe or not all(map(math.isfinite, safe)):
            raise UserError(
                f'parameter safe_command is {safe}, expected a finite value for each number of '
                'the command'
            )
        self._safe, self._timeout = safe, value_of(self, 'timeout')
        self._received_at: float | None = None
        self._fault = ''
        self._passed = self._refused = self._safe_commands = self._refused_before = 0
        self._diagnostics = self.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        self._commands = self.create_publisher(Float64MultiArray, 'guarded_command', RELIABLE)
        if self._commands.topic_name == self.resolve_topic_name('command'):
            raise UserError(
                f'topics command and guarded_command are both {self._commands.topic_name}, '
                'expected two topics: the guard would receive its own messages'
            )
        self.create_subscription(Float64MultiArray, 'command', self._on_command, RELIABLE)
        self.create_timer(self._timeout / 4, self._on_watch, clock=STEADY)
        self.create_timer(1.0, self._publish_diagnostics, clock=STEADY)
        self.get_logger().info(
            f'passes {self.resolve_topic_name("command")} on to {self._commands.topic_name}; '
            f'{safe} after {self._timeout:g} s without'
        )

    def close(self) -> None:
        """End with the safe command, if any command went out."""
        if self._received_at is not None:
            self._send_safe('the guard ends', ATTEMPTS)
            await_receipt(self._commands)
        self._publish_diagnostics()

    def _on_command(self, message: Float64MultiArray) -> None:
        if len(message.data) != len(self._safe) or not all(map(math.isfinite, message.data)):
            self._refused += 1
            self.get_logger().error(
                f'topic command: {message.data.tolist()}, expected {len(self._safe)} finite '
                'values',
                throttle_duration_sec=1.0,
            )
            return
        if self._fault:
            self.get_logger().info('commands are received again')
        self._received_at, self._fault = time.monotonic(), ''
        self._passed += 1
        publish(self._commands, message)

    def _on_watch(self) -> None:
        if self._received_at is not None and time.monotonic() - self._received_at > self._timeout:
            self._send_safe(f'no command for more than {self._timeout:g} s on topic command')

    def _send_safe(self, fault: str, attempts: int = 1) -> None:
        if not self._fault:
            self.get_logger().error(f'{fault}; sent the safe command')
        self._fault = fault
        self._safe_commands += 1
        publish(self._commands, Float64MultiArray(data=array('d', self._safe)), attempts)

    def _publish_diagnostics(self) -> None:
        values = {
            'commands': self._passed,
            'commands_refused': self._refused,
            'safe_commands': self._safe_commands,
        }
        refused, self._refused_before = self._refused - self._refused_before, self._refused
        warning = (
            f'topic command: {refused} messages since the last report that are not '
            f'{len(self._safe)} finite values'
            if refused
            else ''
        )
        publish(self._diagnostics, diagnostics(self, self._fault, values, warning))


def main(arguments: Sequence[str]) -> int:
    """Run the guard node."""
    return run(Guard, arguments)
