"""From the policy's action to the robot's command message."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from proxy_snn_control.nodes.messages import number_array
from proxy_snn_control.nodes.observation import message_class
from proxy_snn_control.nodes.robot import TRAJECTORY, VECTOR, CommandTopic


class CommandMap:
    """Turns actions into the numbers of a command, and those into messages.

    Attributes:
        low, high: the limits of the numbers, [outputs].
        message_type: the class of the messages.
        stamped: whether they carry the time.
    """

    def __init__(self, topic: CommandTopic) -> None:
        """Prepare the message.

        Raises:
            UserError: the message's package is missing.
        """
        outputs = topic.outputs
        self._outputs = [(o.action, o.scale, o.offset, o.low, o.high) for o in outputs]
        self.low = [output.low for output in outputs]
        self.high = [output.high for output in outputs]
        self._topic = topic
        self._vector = number_array([], "")
        self.message_type = message_class(topic.type)
        self.stamped = topic.type == "geometry_msgs/TwistStamped"

    def numbers(self, action: np.ndarray) -> list[float]:
        """The command's numbers [outputs] for an action [actions], within the limits.

        NaN stays NaN. Plain Python: of a handful of numbers it makes shorter work than NumPy.
        """
        values = action.tolist()
        return [
            min(max(scale * values[i] + offset, low), high)
            for i, scale, offset, low, high in self._outputs
        ]

    def action(self, numbers: Sequence[float]) -> list[float]:
        """The action [actions] that numbers [outputs] amount to, in the policy's units."""
        action = [0.0] * len(numbers)
        for number, (i, scale, offset, _, _) in zip(numbers, self._outputs, strict=True):
            action[i] = (number - offset) / scale
        return action

    def message(self, numbers: Sequence[float], label: str, stamp: Any) -> Any:
        """Make the message.

        Args:
            numbers: [outputs].
            label: which observation is answered; a Float64MultiArray carries it.
            stamp: the time, for messages that are stamped.
        """
        topic = self._topic
        if topic.type == VECTOR and label:
            return number_array(numbers, label)
        if topic.type == VECTOR:
            # The one that was sent last: to make a message takes longer than to fill it.
            self._vector.data = array("d", numbers)
            return self._vector
        message = self.message_type()
        if topic.type == TRAJECTORY:
            return self._trajectory(message, numbers)
        if self.stamped:
            message.header.stamp = stamp
            message.header.frame_id = topic.frame_id
        twist = message.twist if self.stamped else message
        for output, value in zip(topic.outputs, numbers, strict=True):
            parent, _, last = output.place.rpartition(".")
            setattr(getattr(twist, parent), last, value)
        return message

    def _trajectory(self, message: Any, numbers: Sequence[float]) -> Any:
        """One point, from now on: a stamp of zero says so, whatever the clocks say."""
        topic = self._topic
        point = message_class("trajectory_msgs/JointTrajectoryPoint")()
        setattr(point, topic.field, array("d", numbers))
        seconds, nanoseconds = divmod(round(topic.time_from_start * 1e9), 10**9)
        point.time_from_start.sec, point.time_from_start.nanosec = seconds, nanoseconds
        message.header.frame_id = topic.frame_id
        message.joint_names = [output.place for output in topic.outputs]
        message.points = [point]
        return message
