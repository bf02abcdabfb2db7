# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What a node destroys does not call it back, whatever was waiting in the executor."""

from collections.abc import Callable, Iterator
import time

from conftest import Stage
from proxy_snn_control.nodes.entities import Entities
from proxy_snn_control.nodes.process import Executor
import pytest
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Bool

Spin = Callable[[Callable[[], bool], float], bool]


@pytest.fixture
def node(stage: Stage) -> Iterator[LifecycleNode]:
    node = LifecycleNode('entities', context=stage.node.context)
    yield node
    node.destroy_node()


@pytest.fixture
def spin(node: LifecycleNode) -> Iterator[Spin]:
    executor = Executor(context=node.context)
    executor.add_node(node)

    def spin(condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.02)
        return condition()

    yield spin
    executor.remove_node(node)
    executor.shutdown()


def test_a_destroyed_timer_that_has_expired_is_not_called(node: LifecycleNode, spin: Spin) -> None:
    entities, called = Entities(node), []

    def on_timer() -> None:
        called.append(True)
        entities.destroy()

    for _ in range(3):
        entities.timer(0.01, on_timer)
    spin(lambda: False, 0.0)
    time.sleep(0.1)  # all three have expired when the first is called
    assert spin(lambda: bool(called), 10)
    spin(lambda: False, 0.2)
    assert len(called) == 1


def test_a_destroyed_subscription_gets_no_message_that_has_arrived(
    node: LifecycleNode, spin: Spin
) -> None:
    entities, called = Entities(node), []

    def on_message(message: Bool) -> None:
        called.append(message.data)
        entities.destroy()

    for _ in range(3):
        entities.subscription(Bool, 'topic', on_message, 10)
    publisher = entities.publisher(Bool, 'topic', 10)
    assert spin(lambda: publisher.get_subscription_count() == 3, 10)
    for _ in range(2):
        publisher.publish(Bool(data=True))
    time.sleep(0.1)
    assert spin(lambda: bool(called), 10)
    spin(lambda: False, 0.2)
    assert called == [True]
    assert node.count_publishers('topic') == node.count_subscribers('topic') == 0
