# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Timers, subscriptions and publishers that are created and destroyed together."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import Any

from proxy_snn_control.nodes.process import STEADY
from rclpy.lifecycle import LifecycleNode


class Entities:
    """What a node has from one transition to another.

    After `destroy` none of the callbacks is called. rclpy's EventsExecutor alone does not ensure
    that: of a timer that expires while another callback destroys it, the callback is still called
    (rclpy 9.1), and whatever it then calls of the timer raises InvalidHandle.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._destroy: list[Callable[[], Any]] = []
        self._alive = True

    def timer(self, seconds: float, callback: Callable[[], None]) -> Any:
        """Return a timer on the steady clock."""
        timer = self._node.create_timer(seconds, self._while_alive(callback), clock=STEADY)
        self._destroy.append(functools.partial(self._node.destroy_timer, timer))
        return timer

    def subscription(
        self, kind: Any, topic: str, callback: Callable[..., None], qos: Any, raw: bool = False
    ) -> Any:
        """Return a subscription."""
        node = self._node
        made = node.create_subscription(kind, topic, self._while_alive(callback), qos, raw=raw)
        self._destroy.append(functools.partial(node.destroy_subscription, made))
        return made

    def publisher(self, kind: Any, topic: str, qos: Any) -> Any:
        """Return a publisher."""
        made = self._node.create_publisher(kind, topic, qos)
        self._destroy.append(functools.partial(self._node.destroy_publisher, made))
        return made

    def lifecycle_publisher(self, kind: Any, topic: str, qos: Any) -> Any:
        """Return a publisher that publishes while the node is active."""
        made = self._node.create_lifecycle_publisher(kind, topic, qos)
        self._destroy.append(functools.partial(self._node.destroy_lifecycle_publisher, made))
        return made

    def destroy(self) -> None:
        """Destroy all, the last created first."""
        self._alive = False
        while self._destroy:
            self._destroy.pop()()

    def _while_alive(self, callback: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(callback)  # rclpy reads a callback's arguments off its signature
        def call(*received: Any) -> None:
            if self._alive:
                callback(*received)

        return call
