# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""From the policy's action to the robot's command message."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from proxy_snn_control.control.cdr import VectorWriter
from proxy_snn_control.control.limits import JointLimit
from proxy_snn_control.control.messages import message_class, number_array
from proxy_snn_control.control.robot import CommandTopic, TRAJECTORY, VECTOR


class CommandMap:
    """Turns actions into the numbers of a command, and those into messages.

    Attributes:
        low, high: the limits of the numbers, [outputs].
        message_type: the class of the messages.
        stamped: whether they carry the time.
    """

    def __init__(self, topic: CommandTopic, joints: Sequence[JointLimit] = ()) -> None:
        """Prepare the message.

        Args:
            topic: the command of the robot file.
            joints: what the joints may do, [outputs], where that is known.

        Raises:
            UserError: the message's package is missing.
        """
        outputs = topic.outputs
        self.low, self.high = [], []
        for output, joint in zip(outputs, joints or [JointLimit()] * len(outputs), strict=True):
            low, high = {
                'position': (joint.low, joint.high),
                'velocity': (-joint.velocity, joint.velocity),
                'effort': (-joint.effort, joint.effort),
            }.get(topic.interface, (output.low, output.high))
            # Where the two have nothing in common the nearest end is all that is left.
            self.low.append(min(max(output.low, low), high))
            self.high.append(max(min(output.high, high), low))
        self._outputs = [
            (o.action, o.scale, o.offset, low, high)
            for o, low, high in zip(outputs, self.low, self.high, strict=True)
        ]
        self._topic = topic
        self._writer = VectorWriter(len(outputs)) if topic.type_name == VECTOR else None
        self.message_type = message_class(topic.type_name)
        self.stamped = topic.type_name == 'geometry_msgs/TwistStamped'

    def numbers(self, action: np.ndarray) -> list[float]:
        """Return the command's numbers [outputs] for an action [actions], within the limits.

        NaN stays NaN. Plain Python: of a handful of numbers it makes shorter work than NumPy.
        """
        values = action.tolist()
        return [
            low if (value := scale * values[i] + offset) < low else high if value > high else value
            for i, scale, offset, low, high in self._outputs
        ]

    def action(self, numbers: Sequence[float]) -> list[float]:
        """Return the action [actions] that numbers [outputs] amount to, in the policy's units."""
        action = [0.0] * len(numbers)
        for number, (i, scale, offset, _, _) in zip(numbers, self._outputs, strict=True):
            action[i] = (number - offset) / scale
        return action

    def payload(
        self,
        numbers: Sequence[float],
        label: str,
        stamp: Any,
        measured: Sequence[float | None] = (),
    ) -> Any:
        """As `message`; of a Float64MultiArray its bytes, which take less time to make."""
        if self._writer is not None:
            return self._writer.write(numbers, label)
        return self.message(numbers, label, stamp, measured)

    def message(
        self,
        numbers: Sequence[float],
        label: str,
        stamp: Any,
        measured: Sequence[float | None] = (),
    ) -> Any:
        """Make the message.

        Args:
            numbers: [outputs].
            label: which observation is answered; a Float64MultiArray carries it.
            stamp: the time, for messages that are stamped.
            measured: where the joints are, [outputs]; a trajectory of velocities begins there.
        """
        topic = self._topic
        if topic.type_name == VECTOR:
            return number_array(numbers, label)
        message = self.message_type()
        if topic.type_name == TRAJECTORY:
            return self._trajectory(message, numbers, measured)
        if self.stamped:
            message.header.stamp = stamp
            message.header.frame_id = topic.frame_id
        twist = message.twist if self.stamped else message
        for output, value in zip(topic.outputs, numbers, strict=True):
            parent, _, last = output.place.rpartition('.')
            setattr(getattr(twist, parent), last, value)
        return message

    def _trajectory(
        self, message: Any, numbers: Sequence[float], measured: Sequence[float | None]
    ) -> Any:
        """From now on: a stamp of zero means so, on any clock.

        A joint_trajectory_controller as it is by default takes no point without positions, and no
        trajectory that ends in motion. So velocities and efforts go with the positions that they
        lead to from where the joints are, and velocities come to rest in a second point.
        """
        topic, seconds = self._topic, self._topic.time_from_start
        message.header.frame_id = topic.frame_id
        message.joint_names = [output.place for output in topic.outputs]
        there = [value for value in measured if value is not None]
        known = len(there) == len(numbers)
        first = self._point(seconds)
        message.points = [first]
        setattr(first, topic.field, array('d', numbers))
        if topic.field == 'effort' and known:
            first.positions = array('d', there)
        if topic.field == 'velocities':
            rest = self._point(2 * seconds)
            rest.velocities = array('d', [0.0] * len(numbers))
            if known:
                moved = [p + v * seconds for p, v in zip(there, numbers, strict=True)]
                first.positions = array('d', moved)
                halves = [p + v * seconds / 2 for p, v in zip(moved, numbers, strict=True)]
                rest.positions = array('d', halves)
            message.points.append(rest)
        return message

    def _point(self, seconds: float) -> Any:
        point = message_class('trajectory_msgs/JointTrajectoryPoint')()
        whole, nanoseconds = divmod(round(seconds * 1e9), 10**9)
        point.time_from_start.sec, point.time_from_start.nanosec = whole, nanoseconds
        return point
