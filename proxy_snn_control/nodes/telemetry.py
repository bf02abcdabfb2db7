# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What the controller reports: diagnostics once a second, spikes, faults in the log."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
import re
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from proxy_snn_control.control.backend import Neuromorphic
from proxy_snn_control.control.loop import Loop
from proxy_snn_control.control.robot import action_names, observation_names
from proxy_snn_control.nodes.messages import diagnostics, raster, SENSOR_DATA
from proxy_snn_control.nodes.process import await_receipt
from proxy_snn_control.nodes.publishing import publish
from proxy_snn_control.policy import Policy
from proxy_snn_control.policy.energy import inference_energy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import UInt8MultiArray

# Of the messages of a source that come within a second: how many may be left out.
DROPPED_SHARE = 0.05
# So many at least: one doubled message of three is no share.
DROPPED_LEAST = 3
_NUMBER = re.compile(r'-?\d+(\.\d+)?(e[-+]?\d+)?')


class Telemetry:
    """Publishes diagnostics and spikes, and logs faults."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._diagnostics = node.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        self._spikes = node.create_publisher(UInt8MultiArray, '~/spikes', SENSOR_DATA)
        self._observations = node.create_publisher(JointState, '~/observation', SENSOR_DATA)
        self._actions = node.create_publisher(JointState, '~/action', SENSOR_DATA)
        self._shown = [False] * 3
        self._counted, self._counted_at = 0, time.monotonic()
        self._before: dict[str, tuple[int, int]] = {}
        self._safe_before = self._lost_before = 0
        self._logged: set[str] = set()
        self._faults_logged_at = 0.0

    def wanted(self) -> bool:
        """Whether somebody subscribes to spikes, observations or actions now."""
        self._shown = [
            publisher.get_subscription_count() > 0
            for publisher in (self._spikes, self._observations, self._actions)
        ]
        return any(self._shown)

    def show(
        self, policy: Policy, label: str, observation: np.ndarray, action: Sequence[float]
    ) -> None:
        """Publish an action's spikes, observation and numbers, as far as they have subscribers.

        The command is already out; what this takes delays nothing but the next observation.
        """
        spikes, observations, actions = self._shown
        if spikes:
            publish(self._spikes, raster(policy.spikes, label))
        stamp = self._node.get_clock().now().to_msg() if observations or actions else None
        for shown, publisher, names, numbers in (
            (observations, self._observations, observation_names, observation),
            (actions, self._actions, action_names, action),
        ):
            if shown:
                message = JointState(name=names(policy.spec), position=array('d', numbers))
                message.header.stamp, message.header.frame_id = stamp, label
                publish(publisher, message)

    def forget(self, loop: Loop) -> None:
        """Start counting and logging anew, from what the loop has counted up to now."""
        statistics = loop.statistics
        self._counted, self._counted_at = statistics.latencies.count, time.monotonic()
        self._before.clear()
        self.dropped(loop)
        self._safe_before, self._lost_before = statistics.safe_commands, statistics.lost
        self._logged.clear()

    def log_fault(self, fault: str, sent: bool) -> None:
        """Log a fault, at most once a second.

        Not by rclpy's own throttle: it takes longer than all the rest of a command.
        """
        now = time.monotonic()
        if now - self._faults_logged_at > 1.0:
            self._faults_logged_at = now
            what = 'sent the safe command' if sent else 'nothing is sent'
            self._node.get_logger().error(f'{fault}; {what}')

    def log_once(self, sentence: str) -> None:
        """Log a warning, unless the same was logged, but for its numbers."""
        key = _NUMBER.sub('#', sentence)
        if key not in self._logged:
            self._logged.add(key)
            self._node.get_logger().warning(sentence)

    def dropped(self, loop: Loop) -> list[str]:
        """Return a sentence for every source of which too many messages were left out lately."""
        found = []
        for stream in loop.inputs.streams:
            topic, total = stream.source.topic, sum(stream.dropped.values())
            received, before = self._before.get(topic, (0, 0))
            self._before[topic] = (stream.received, total)
            share = (total - before) / max(stream.received - received, 1)
            if total - before >= DROPPED_LEAST and share > DROPPED_SHARE:
                reasons = ', '.join(f'{n} {reason}' for reason, n in stream.dropped.items())
                found.append(
                    f'topic {topic}: {share:.0%} of its messages were left out (so far {reasons})'
                )
        return found

    def lately(self, loop: Loop) -> str:
        """Return a sentence about safe and lost commands since the last call, or ""."""
        statistics, found = loop.statistics, []
        if safe := statistics.safe_commands - self._safe_before:
            found.append(f'safe commands since the last report: {safe}; {statistics.last_fault}')
        if lost := statistics.lost - self._lost_before:
            found.append(
                f'commands since the last report that the middleware did not take: {lost}; is the '
                'machine overloaded?'
            )
        self._safe_before, self._lost_before = statistics.safe_commands, statistics.lost
        return '; '.join(found)

    def values(self, loop: Loop, policy: str) -> dict[str, object]:
        """Return what the diagnostics show of a loop."""
        now, statistics, inputs = time.monotonic(), loop.statistics, loop.inputs
        count = statistics.latencies.count
        rate = (count - self._counted) / max(now - self._counted_at, 1e-3)
        self._counted, self._counted_at = count, now
        values: dict[str, object] = {
            'policy': policy,
            'policy_sha256': loop.checksum,
            'commands': count,
            'commands_per_second': f'{rate:.1f}',
            'safe_commands': statistics.safe_commands,
            'last_fault': statistics.last_fault,
            'missed_deadlines': statistics.missed,
            'lost_commands': statistics.lost,
            **statistics.latencies.milliseconds(),
            'stale_sources': '; '.join(inputs.stale(now)),
            'ignored_messages': inputs.ignored,
            'missed_observations': inputs.missed,
            'wiring': '; '.join(loop.wiring.found),
            'wiring_checks': loop.wiring.scope,
        }
        for topic, age, skew in inputs.timing(now):
            values[f'{topic}: age_ms'] = f'{age * 1e3:.1f}'
            values[f'{topic}: skew_ms'] = f'{skew * 1e3:.1f}'
        for stream in inputs.streams:
            for reason, number in stream.dropped.items():
                values[f'{stream.source.topic}: {reason}'] = number
        if isinstance(loop.backend, Neuromorphic):
            values |= {
                'backend': 'fallback' if loop.backend.lost else 'lava',
                'backend_fallbacks': loop.backend.fallbacks,
                'backend_late_answers': loop.backend.late,
            }
        if count:
            operations, spikes = statistics.operations / count, statistics.spikes / count
            joules = inference_energy(loop.policy.spec, operations)
            values |= {
                'spikes_per_command': f'{spikes:.1f}',
                'synaptic_operations_per_command': f'{operations:.0f}',
                'nanojoules_per_command': f'{joules * 1e9:.3f}',
            }
        return values

    def publish(
        self, state: str, fault: str, warnings: list[str], values: Mapping[str, object]
    ) -> None:
        """Publish the diagnostics."""
        message: Any = diagnostics(self._node, fault, values, '; '.join(warnings), state)
        publish(self._diagnostics, message)

    def close(self) -> None:
        """Wait until the last diagnostics have arrived."""
        await_receipt(self._diagnostics)
