# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Angles, gravity and turned vectors of a quaternion (ROS REP 103: x forward, y left, z up)."""

from __future__ import annotations

import math
from typing import Any

from proxy_snn_control.policy import ObservationError

Numbers = tuple[float, float, float, float]


def unit(q: Any) -> Numbers:
    """x, y, z, w of a geometry_msgs/Quaternion, of length 1.

    Raises:
        ObservationError: its length is not 1, such as that of one whose fields were not set.
    """
    x, y, z, w = q.x, q.y, q.z, q.w
    norm = x * x + y * y + z * z + w * w
    if not 0.9 < norm < 1.1:
        raise ObservationError(f'has the quaternion {x}, {y}, {z}, {w}, expected one of length 1')
    norm = math.sqrt(norm)
    return x / norm, y / norm, z / norm, w / norm


def angle(q: Any, axis: int) -> float:
    """Roll, pitch or yaw about the fixed axes x, y, z, in radians; pitch within 90 degrees."""
    x, y, z, w = unit(q)
    if axis == 0:
        return math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    if axis == 1:
        return math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def full_pitch(q: Any) -> float:
    """Pitch on the full circle: where gravity is in the body's x-z plane, in radians.

    For what rolls over forwards, whose roll and yaw would jump by half a turn at 90 degrees.
    """
    x, y, z, w = unit(q)
    return math.atan2(2 * (w * y - z * x), 1 - 2 * (x * x + y * y))


def gravity(q: Any, axis: int) -> float:
    """One component of the unit vector along gravity, in the body's axes: upright 0, 0, -1."""
    x, y, z, w = unit(q)
    if axis == 0:
        return 2 * (w * y - z * x)
    if axis == 1:
        return -2 * (w * x + y * z)
    return 2 * (x * x + y * y) - 1


def to_world(q: Any, vector: Any, axis: int) -> float:
    """One component, along the world's axes, of a vector that is given along the body's."""
    x, y, z, w = unit(q)
    a, b, c = vector.x, vector.y, vector.z
    if axis == 0:
        return (1 - 2 * (y * y + z * z)) * a + 2 * (x * y - w * z) * b + 2 * (x * z + w * y) * c
    if axis == 1:
        return 2 * (x * y + w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z - w * x) * c
    return 2 * (x * z - w * y) * a + 2 * (y * z + w * x) * b + (1 - 2 * (x * x + y * y)) * c
