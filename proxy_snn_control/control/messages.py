# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Message classes by name, and number arrays that carry a label. No rclpy."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
import functools
import importlib
from typing import Any

import numpy as np
from proxy_snn_control.policy import UserError

# How often to try to send what nothing replaces: an episode's return, the last safe command.
ATTEMPTS = 5
# Label of a command that answers no observation.
UNASKED = 'unasked'
# How the label of an episode's first observation ends: it follows from nothing that came before.
BEGINS = ', an episode begins'
# What an observation of messages with this stamp, in nanoseconds, is called in lockstep.
AT_STAMP = 'observation at {} ns'


@functools.cache
def message_class(kind: str) -> Any:
    """Return the class of a message type such as "sensor_msgs/JointState".

    Raises:
        UserError: its package is not installed.
    """
    package, _, name = kind.partition('/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except ModuleNotFoundError:
        raise UserError(
            f'message type {kind}: the package {package} is not installed; source a ROS 2 that '
            f"has it, or pip install 'proxy_snn_control[ros]'"
        ) from None


def number_array(values: Sequence[float] | np.ndarray, label: str) -> Any:
    """Make a Float64MultiArray of values [n].

    The label of its one dimension is the number of the observation, or of the one answered: a sim
    in lockstep finds a late or repeated answer by it. Other readers may ignore it; without a label
    there is no dimension, as most publishers have it.
    """
    message = message_class('std_msgs/Float64MultiArray')(data=array('d', values))
    if label:
        size = len(values)
        dimension = message_class('std_msgs/MultiArrayDimension')
        message.layout.dim = [dimension(label=label, size=size, stride=size)]
    return message


def label_of(message: Any) -> str:
    """Return the label `number_array` gave a message, or "" if it has none."""
    dimensions = message.layout.dim
    return dimensions[0].label if dimensions else ''
