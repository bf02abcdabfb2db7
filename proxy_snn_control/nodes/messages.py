"""Messages that sim and controller share: number arrays with a label, and diagnostics."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
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
# Label of a command that answers no observation.
UNASKED = "unasked"
LATENCY_SAMPLES = 20_000


def number_array(values: Sequence[float] | np.ndarray, label: str) -> Float64MultiArray:
    """Make a Float64MultiArray of values [n].

    The label of its one dimension says which observation this is, or which one it answers: a sim
    in lockstep tells a late or repeated answer by it. Other readers may ignore it; without a label
    there is no dimension, as most publishers have it.
    """
    message = Float64MultiArray(data=array("d", values))
    if label:
        size = len(values)
        message.layout.dim = [MultiArrayDimension(label=label, size=size, stride=size)]
    return message


def label_of(message: Float64MultiArray) -> str:
    """The label `number_array` gave a message, or "" if it has none."""
    dimensions = message.layout.dim
    return dimensions[0].label if dimensions else ""


def values_of(message: Float64MultiArray) -> np.ndarray:
    """The numbers of a message, float64 [n]."""
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
        MultiArrayDimension(label=f"{i} {label}".strip(), size=layer.shape[1], stride=layer.size)
        for i, layer in enumerate(spikes)
    ]
    flat = [np.asarray(layer).astype(np.uint8).ravel() for layer in spikes]
    message.data = array("B", np.concatenate(flat).tobytes())
    return message


class Latencies:
    """Durations in seconds, of which the last ones are kept for the percentiles."""

    def __init__(self) -> None:
        self._samples = np.zeros(LATENCY_SAMPLES)
        self.count = 0

    def add(self, seconds: float) -> None:
        """Note a duration."""
        self._samples[self.count % LATENCY_SAMPLES] = seconds
        self.count += 1

    def milliseconds(self) -> dict[str, str]:
        """Median and 99th percentile as diagnostics show them; nothing before the first."""
        kept = self._samples[: self.count]
        if not len(kept):
            return {}
        median, high = np.percentile(kept, (50, 99)) * 1e3
        return {"latency_median_ms": f"{median:.3f}", "latency_99_ms": f"{high:.3f}"}


def diagnostics(
    node: Node,
    fault: str,
    values: Mapping[str, object],
    warning: str = "",
    otherwise: str = "running",
) -> DiagnosticArray:
    """Make a node's diagnostics: ERROR with a fault, WARN with a warning, or OK otherwise."""
    level = DiagnosticStatus.WARN if warning else DiagnosticStatus.OK
    message = DiagnosticArray()
    message.header.stamp = node.get_clock().now().to_msg()
    message.status = [
        DiagnosticStatus(
            level=DiagnosticStatus.ERROR if fault else level,
            name=node.get_fully_qualified_name(),
            message=fault or warning or otherwise,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
    ]
    return message
