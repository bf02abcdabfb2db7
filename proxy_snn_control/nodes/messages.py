"""Messages that sim and controller share: number arrays with a label, and diagnostics."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from std_msgs.msg import Float64MultiArray, MultiArrayDimension

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


def number_array(values: np.ndarray, label: str) -> Float64MultiArray:
    """Make a Float64MultiArray of values [n].

    The label of its one dimension says which observation this is, or which one it answers: a sim
    in lockstep tells a late or repeated answer by it. Other readers may ignore it.
    """
    message = Float64MultiArray()
    message.layout.dim = [
        MultiArrayDimension(label=label, size=values.size, stride=values.size),
    ]
    message.data = array("d", np.asarray(values, dtype=np.float64).tobytes())
    return message


def label_of(message: Float64MultiArray) -> str:
    """The label `number_array` gave a message, or "" if it has none."""
    dimensions = message.layout.dim
    return dimensions[0].label if dimensions else ""


def values_of(message: Float64MultiArray) -> np.ndarray:
    """The numbers of a message, float64 [n]."""
    return np.asarray(message.data, dtype=np.float64)


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


def diagnostics(node: Node, fault: str, values: Mapping[str, object]) -> DiagnosticArray:
    """Make a node's diagnostics: OK, or ERROR with the fault as its message."""
    message = DiagnosticArray()
    message.header.stamp = node.get_clock().now().to_msg()
    message.status = [
        DiagnosticStatus(
            level=DiagnosticStatus.ERROR if fault else DiagnosticStatus.OK,
            name=node.get_fully_qualified_name(),
            message=fault or "running",
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
    ]
    return message
