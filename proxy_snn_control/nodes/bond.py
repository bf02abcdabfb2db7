# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The bond with Nav2's lifecycle_manager: heartbeats while the controller is active.

Where the message package `bond` (ros/bond_core) is installed. A node and its manager publish their
heartbeats on the same topic, and identify each other by the id, which is the node's name. As
Nav2's own nodes do, the controller continues when its manager does not publish: only the manager
checks the bond. These heartbeats come from the control loop's thread: if it hangs, they stop.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from proxy_snn_control.nodes.entities import Entities
from proxy_snn_control.nodes.publishing import publish
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

TOPIC = 'bond'
# As bondcpp and Nav2: seconds between heartbeats, and seconds without one that break the bond.
PERIOD, TIMEOUT = 0.1, 4.0
# How long it waits at most, in seconds, until the manager has received that the bond ends.
GOODBYE = 0.1
INSTALLED = importlib.util.find_spec('bond') is not None


class Bond:
    """One side of a bond, from when it is made until `destroy`."""

    def __init__(self, node: LifecycleNode) -> None:
        """Begin to publish that the node is alive.

        Args:
            node: whose name is the bond's id.
        """
        import uuid

        from bond.msg import Status

        self._node, self._status = node, Status
        self._instance = str(uuid.uuid4())
        self._entities = Entities(node)
        self._publisher = self._entities.publisher(Status, TOPIC, QoSProfile(depth=5))
        self._entities.subscription(Status, TOPIC, self._on_status, QoSProfile(depth=100))
        self._timer = self._entities.timer(PERIOD, lambda: self._say(True))
        self._say(True)

    def destroy(self) -> None:
        """Break the bond: publish that it ends, unless the other side did."""
        if not self._timer.is_canceled():
            self._say(False)
            self._publisher.wait_for_all_acked(Duration(seconds=GOODBYE))
        self._entities.destroy()

    def _on_status(self, message: Any) -> None:
        of_manager = message.id == self._node.get_name() and message.instance_id != self._instance
        if of_manager and not message.active and not self._timer.is_canceled():
            self._timer.cancel()
            self._say(False)  # the answer that the other side waits for

    def _say(self, active: bool) -> None:
        message = self._status(id=self._node.get_name(), instance_id=self._instance)
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.active = active
        message.heartbeat_period, message.heartbeat_timeout = PERIOD, TIMEOUT
        publish(self._publisher, message)
