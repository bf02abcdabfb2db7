# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What the nodes share: quality of service, spike rasters and diagnostics."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import numpy as np
from proxy_snn_control.control.robot import JOINT_STATE, Source
from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from std_msgs.msg import Float64MultiArray, MultiArrayDimension, UInt8MultiArray

RELIABLE = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.RELIABLE
)
SENSOR_DATA = QoSProfile(
    history=QoSHistoryPolicy.KEEP_LAST, depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT
)
# Kept for those who come late: a return is news once an episode, and a run's score in the end.
EPISODE_RETURNS = QoSProfile(depth=1000, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)

# Several drivers may publish joint states at the same moment, each of its own joints: with a depth
# of 1 the last of them would take the others' place.
DRIVERS = 5


def source_qos(source: Source) -> QoSProfile:
    """Return how the controller subscribes to a source."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=DRIVERS if source.type_name == JOINT_STATE else 1,
        reliability=(RELIABLE if source.reliable else SENSOR_DATA).reliability,
    )


def values_of(message: Float64MultiArray) -> np.ndarray:
    """Return the numbers of a message, float64 [n]."""
    return np.asarray(message.data, dtype=np.float64)


def raster(spikes: Sequence[np.ndarray], label: str) -> UInt8MultiArray:
    """Make a message of the spikes of an action.

    Args:
        spikes: per layer from the encoder on, [T, neurons].
        label: which observation they answer.

    Returns:
        The layers one after the other, each time step by time step, 1 where a neuron fired. One
        dimension a layer: its size is the neurons, its stride T times that, and its label the
        layer's number; the first one's label has the observation's behind it.
    """
    message = UInt8MultiArray()
    message.layout.dim = [
        MultiArrayDimension(label=f'{i} {label}'.strip(), size=layer.shape[1], stride=layer.size)
        for i, layer in enumerate(spikes)
    ]
    flat = [np.asarray(layer).astype(np.uint8).ravel() for layer in spikes]
    message.data = array('B', np.concatenate(flat).tobytes())
    return message


def diagnostics(
    node: Node,
    fault: str,
    values: Mapping[str, object],
    warning: str = '',
    otherwise: str = 'running',
) -> DiagnosticArray:
    """Make a node's diagnostics: ERROR with a fault, WARN with a warning, or OK otherwise.

    The message of a fault has the warnings behind it: one of them may be the reason.
    """
    level = DiagnosticStatus.WARN if warning else DiagnosticStatus.OK
    message = DiagnosticArray()
    message.header.stamp = node.get_clock().now().to_msg()
    message.status = [
        DiagnosticStatus(
            level=DiagnosticStatus.ERROR if fault else level,
            name=node.get_fully_qualified_name(),
            message='; '.join(filter(None, (fault, warning))) or otherwise,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
    ]
    return message
