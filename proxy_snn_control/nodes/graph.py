# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Other publishers of the controller's topics, by node, and who sent a message."""

from __future__ import annotations

from collections.abc import Callable
import inspect
from typing import Any

from proxy_snn_control.control.loop import Loop
from proxy_snn_control.control.readers import JointStates
from proxy_snn_control.nodes.messages import source_qos
from rclpy.node import Node
from rclpy.qos import qos_check_compatible, QoSCompatibility

# Within which two publishers of the same joint count as publishing at the same time.
TOGETHER_SECONDS = 2.0
# By a topic's full name, what ROS has about each of its publishers.
Publishers = dict[str, list[Any]]


def with_publisher(callback: Callable[[Any, bytes], None]) -> Callable[..., None]:
    """Return a subscription's callback that also gets the publisher, where ROS provides it.

    rclpy gives the information about a message as a second argument, its EventsExecutor both as
    one (rclpy 9.1); which of the callbacks want it, it reads off their signature.
    """

    def call(*received: Any) -> None:
        message, info = received if len(received) == 2 else received[0]
        gid = info.get('publisher_gid')  # since Jazzy
        callback(message, bytes(gid['data']) if gid else b'')

    def two(message: Any, info: Any) -> None: ...

    call.__signature__ = inspect.signature(two)  # type: ignore[attr-defined]
    return call


def publishers(node: Node, loop: Loop, command_topic: str) -> Publishers:
    """Return who publishes the loop's topics now; `command_topic` is a full name."""
    sources = [node.resolve_topic_name(source.topic) for source in loop.robot.sources]
    return {topic: node.get_publishers_info_by_topic(topic) for topic in {command_topic, *sources}}


def rivals(node: Node, loop: Loop, command_topic: str, there: Publishers, now: float) -> list[str]:
    """Return a sentence for every topic that has a publisher which it should not have.

    Args:
        node: the controller.
        loop: at work.
        command_topic: the full name of the topic on which it commands.
        there: who publishes.
        now: the time in seconds, of the loop's clock.
    """
    found = []
    own = node.get_fully_qualified_name()
    commanding = sorted(_name(info) for info in there[command_topic])
    if own in commanding:
        commanding.remove(own)
    if commanding:
        another = f'{own} (another node of that name)'
        commanding = [another if each == own else each for each in commanding]
        found.append(f'topic {command_topic} has other publishers: {", ".join(commanding)}')
    for stream in loop.inputs.streams:
        topic, expected = node.resolve_topic_name(stream.source.topic), stream.source.type_name
        kinds = [(info, info.topic_type.replace('/msg/', '/')) for info in there[topic]]
        wrong = [f'{_name(info)} as {kind}' for info, kind in kinds if kind != expected]
        if wrong:
            found.append(f'topic {topic} is published by {", ".join(wrong)}, expected {expected}')
        publishing = [
            (_name(info), bytes(info.endpoint_gid)) for info, kind in kinds if kind == expected
        ]
        if len(publishing) < 2:
            continue
        names = ', '.join(sorted(name for name, _ in publishing))
        if not isinstance(stream.reader, JointStates):
            found.append(f'topic {topic} has {len(publishing)} publishers: {names}')
            continue
        twice = stream.reader.published_twice(now, TOGETHER_SECONDS)
        if twice:
            known = {gid: name for name, gid in publishing}
            gids = sorted({gid for each in twice.values() for gid in each})
            who = ', '.join(known.get(gid, 'one that is gone') for gid in gids)
            found.append(f'topic {topic}: joint {", ".join(sorted(twice))} is published by {who}')
    return found


def incompatible(node: Node, loop: Loop, command_topic: str, there: Publishers) -> list[str]:
    """Return a sentence for everyone whose QoS lets no message through from or to the controller.

    Args:
        node: the controller.
        loop: at work.
        command_topic: the full name of the topic on which it commands.
        there: who publishes.
    """
    pairs = []
    for source in loop.robot.sources:
        topic = node.resolve_topic_name(source.topic)
        requested = source_qos(source)
        for info in there[topic]:
            pairs.append((topic, 'published', info, info.qos_profile, requested))
    # What is offered by default, such as no deadline, the middleware alone fills in.
    own = node.get_fully_qualified_name()
    ours = [info.qos_profile for info in there[command_topic] if _name(info) == own]
    for info in node.get_subscriptions_info_by_topic(command_topic) if ours else ():
        pairs.append((command_topic, 'subscribed to', info, ours[0], info.qos_profile))
    found = []
    for topic, how, info, offered, requested in pairs:
        compatibility, reason = qos_check_compatible(offered, requested)
        if compatibility == QoSCompatibility.ERROR:
            reason = ' '.join(reason.replace('ERROR:', '').split()).rstrip(';')
            found.append(
                f'topic {topic} is {how} by {_name(info)} with an incompatible QoS, so nothing '
                f'is received: {reason}'
            )
    return found


def _name(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'
