# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A recorder for machines without rosbag2: writes a bag (MCAP) that `ros2 bag` reads too.

It records what `proxy-snn replay` needs: the sources and the command of a robot file, the stop,
diagnostics, and of the controller observations, actions and spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
import time
from typing import Any

from proxy_snn_control.control.messages import message_class
from proxy_snn_control.nodes.process import declare, Parameter, run, STEADY, value_of
from proxy_snn_control.policy import UserError
from proxy_snn_control.share import robot_file
from proxy_snn_control.yaml_file import read_yaml
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

PARAMETERS = (
    Parameter('out', '', 'The bag: a folder that does not exist yet.'),
    Parameter('robot', '', 'A robot file: its sources and its command topic are recorded.'),
    Parameter(
        'topics',
        '',
        'The topics to record, separated by spaces; if empty those of the robot file, or '
        'observation and command, and what the controller publishes.',
    ),
    Parameter('controller', 'controller', "The controller's name, as topics begin with it."),
)
DEPTH = 1000


class Recorder(Node):
    """Subscribes to topics as they appear, with the QoS of their publishers, and writes them."""

    def __init__(self) -> None:
        super().__init__('record')
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer
            from rosbags.typesys import get_typestore, Stores
        except ModuleNotFoundError as error:
            raise UserError(
                "the Python module 'rosbags' is not installed: pip install "
                "'proxy_snn_control[bags]'; ros2 bag record does the same"
            ) from error
        out = value_of(self, 'out')
        if not out or Path(out).exists():
            raise UserError(f'parameter out is {out!r}, expected a folder that does not exist yet')
        self._types = get_typestore(Stores.ROS2_KILTED)
        self._wanted = {self.resolve_topic_name(name) for name in self._topics()}
        self._counts: dict[str, int] = {}
        self._writer: Any = Writer(Path(out), version=9, storage_plugin=StoragePlugin.MCAP)
        self._open = False

    def start(self) -> None:
        """Begin the bag: from here on it must be finished, whatever ends the node."""
        out = value_of(self, 'out')
        try:
            self._writer.open()
        except OSError as error:
            raise UserError(f'{out}: cannot be written: {error.strerror or error}') from error
        self._open = True
        self.create_timer(0.2, self._on_look, clock=STEADY)
        self.get_logger().info(f'records {", ".join(sorted(self._wanted))} to {out}')

    def close(self) -> None:
        """Finish the bag."""
        if self._open:
            self._writer.close()
            counts = ', '.join(f'{n} of {topic}' for topic, n in sorted(self._counts.items()))
            self.get_logger().info(f'recorded {counts or "no message"}')

    def _topics(self) -> list[str]:
        topics: str = value_of(self, 'topics')
        if topics:
            return topics.split()
        sources = ['observation', 'command']
        path = value_of(self, 'robot')
        if path:
            content = read_yaml('robot file', path := robot_file(path))
            try:
                sources = [each['topic'] for each in content['sources'].values()]
                sources.append(content['command']['topic'])
            except (TypeError, KeyError, AttributeError):
                raise UserError(
                    f'robot file {path}: expected a topic in each of sources and in command'
                ) from None
        name = value_of(self, 'controller')
        published = (f'{name}/{each}' for each in ('observation', 'action', 'spikes'))
        return [*sources, 'stop', '/diagnostics', *published]

    def _on_look(self) -> None:
        """Subscribe to the topics that have appeared."""
        for topic in sorted(self._wanted - self._counts.keys()):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._begin(topic, publishers)

    def _begin(self, topic: str, publishers: Sequence[Any]) -> None:
        from rosbags import interfaces

        self._counts[topic] = 0
        kind = publishers[0].topic_type
        if kind not in self._types.types:
            self.get_logger().error(f'topic {topic}: type {kind} is not known here, not recorded')
            return
        reliable = all(
            each.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE for each in publishers
        )
        kept = all(
            each.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
            for each in publishers
        )
        reliability, durability = interfaces.QosReliability, interfaces.QosDurability
        never = interfaces.QosTime(0x7FFFFFFF, 0xFFFFFFFF)
        offered = interfaces.Qos(
            interfaces.QosHistory.KEEP_LAST,
            1,
            reliability.RELIABLE if reliable else reliability.BEST_EFFORT,
            durability.TRANSIENT_LOCAL if kept else durability.VOLATILE,
            never,
            never,
            interfaces.QosLiveliness.AUTOMATIC,
            never,
            False,
        )
        connection = self._writer.add_connection(
            topic, kind, typestore=self._types, offered_qos_profiles=[offered]
        )
        qos = QoSProfile(depth=DEPTH)
        if not reliable:
            qos.reliability = QoSReliabilityPolicy.BEST_EFFORT
        if kept:
            qos.durability = QoSDurabilityPolicy.TRANSIENT_LOCAL

        def write(message: bytes) -> None:
            if not self._counts[topic]:
                self.get_logger().info(f'topic {topic}: first message')
            self._counts[topic] += 1
            self._writer.write(connection, time.time_ns(), message)

        self.create_subscription(
            message_class(kind.replace('/msg/', '/')), topic, write, qos, raw=True
        )


def main(arguments: Sequence[str]) -> int:
    """Run the record node."""
    return run(Recorder, arguments, Recorder.start)
