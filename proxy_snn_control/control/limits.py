# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Limits of joints: read from a URDF, and kept as ros2_control's joint saturation limiter does.

What is wanted is clamped to position, velocity and acceleration in turn, and a joint that could
not stop any more before the end of its range brakes in time, and with it all others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
import math
from typing import Any

from proxy_snn_control.policy import UserError

# As in ros2_control: a smaller velocity or acceleration counts as none given.
ZERO = 1e-10
ROUNDING = 1e-9
MAX_BYTES = 2**24


@dataclass(frozen=True)
class JointLimit:
    """What a joint may do; infinite where no limit is given.

    Attributes:
        low, high: position.
        velocity, acceleration, deceleration, effort: the largest, either way.
    """

    low: float = -math.inf
    high: float = math.inf
    velocity: float = math.inf
    acceleration: float = math.inf
    deceleration: float = math.inf
    effort: float = math.inf


def saturate(
    limits: Sequence[JointLimit],
    seconds: float,
    position: Sequence[float],
    velocity: Sequence[float],
    wanted_position: Sequence[float] | None,
    wanted_velocity: Sequence[float] | None = None,
    wanted_acceleration: Sequence[float] | None = None,
) -> tuple[list[float], list[float], list[float], bool]:
    """Return what joints may get in place of what is wanted, all [joints].

    The algorithm of `joint_limits::JointSaturationLimiter::on_enforce` in ros2_control (2024).

    Args:
        limits: of each joint.
        seconds: until the next command, above 0.
        position: where the joints are.
        velocity: how they move.
        wanted_position: requested positions, or None if only velocities are.
        wanted_velocity: requested velocities; with positions they may be left out.
        wanted_acceleration: requested accelerations, if any.

    Returns:
        Position, velocity and acceleration to request, and whether anything was limited.
    """
    count = len(limits)
    want_p = list(wanted_position) if wanted_position is not None else [0.0] * count
    want_v = list(wanted_velocity) if wanted_velocity is not None else [0.0] * count
    want_a = list(wanted_acceleration) if wanted_acceleration is not None else [0.0] * count
    limited = brake = False
    for i, limit in enumerate(limits):
        now_p, now_v = position[i], velocity[i]
        p, v, a = want_p[i], want_v[i], want_a[i]
        if wanted_position is not None:
            clamped = min(max(p, limit.low), limit.high)
            limited |= clamped != p
            p = clamped
            if abs(p - now_p) > ZERO and abs(v) <= ZERO:
                v = (p - now_p) / seconds
        if abs(v) > limit.velocity:
            v = math.copysign(limit.velocity, v)
            limited = True
            if wanted_position is not None:
                p = now_p + v * seconds
            a = (v - now_v) / seconds
        if limit.acceleration < math.inf or limit.deceleration < math.inf:
            if abs(a) <= ZERO:
                a = (v - now_v) / seconds
            slows = (a < 0 < now_v) or (a > 0 > now_v)
            most = limit.acceleration
            if slows and limit.deceleration < math.inf:
                most = limit.deceleration
            if abs(a) > most:
                a = math.copysign(most, a)
                limited = True
                v = now_v + a * seconds
                if wanted_position is not None:
                    p = now_p + now_v * seconds + 0.5 * a * seconds * seconds
        if limit.low > -math.inf or limit.high < math.inf:
            if wanted_position is None:
                expected = now_p + v * seconds
                within = min(max(expected, limit.low), limit.high)
                if within != expected:
                    v = (within - now_p) / seconds
                    limited = True
            stop = limit.deceleration if limit.deceleration < math.inf else limit.acceleration
            distance = limit.high - now_p if v > 0 else now_p - limit.low
            # How far it goes in the time that braking takes; and where that is less, how far in
            # this step and while it brakes after it.
            ahead = max(v * v / stop, abs(v) * seconds + v * v / (2 * stop))
            if stop < math.inf and v and distance + ROUNDING < ahead:
                brake = limited = True
        want_p[i], want_v[i], want_a[i] = p, v, a
    if brake:
        for i, limit in enumerate(limits):
            a = -velocity[i] / seconds
            most = limit.deceleration if limit.deceleration < math.inf else limit.acceleration
            a = math.copysign(min(abs(a), most), a)
            want_a[i] = a
            want_v[i] = velocity[i] + a * seconds
            want_p[i] = position[i] + velocity[i] * seconds + 0.5 * a * seconds * seconds
    return want_p, want_v, want_a, limited


def read_urdf(text: str, path: str, joints: Collection[str]) -> dict[str, JointLimit]:
    """Return the limits that a URDF has for joints.

    Args:
        text: the file's content.
        path: its name, for errors.
        joints: those to return.

    Raises:
        UserError: it is no URDF, or one of the joints is not in it.
    """
    from xml.etree import ElementTree  # few robot files name a URDF

    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise UserError(f'urdf {path}: has a document type, expected a plain URDF')
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f'urdf {path}: is no XML ({error})') from None
    if root.tag != 'robot':
        raise UserError(f'urdf {path}: begins with <{root.tag}>, expected <robot>')
    found = {}
    for joint in root.findall('joint'):
        name = joint.get('name', '')
        if name not in joints:
            continue
        limit = joint.find('limit')
        kind = joint.get('type', '')
        if limit is None:
            if kind in ('revolute', 'prismatic'):
                raise UserError(f'urdf {path}: joint {name} is {kind} and has no limit')
            found[name] = JointLimit()
            continue

        def number(what: str, limit: Any = limit, name: str = name) -> float:
            try:
                value = float(limit.get(what, 'inf'))
            except ValueError:
                value = math.nan
            if math.isnan(value):
                raise UserError(
                    f'urdf {path}: joint {name}: {what} is {limit.get(what)!r}, expected a number'
                )
            return value

        low, high = -math.inf, math.inf
        if kind != 'continuous' and ('lower' in limit.attrib or 'upper' in limit.attrib):
            low = number('lower') if 'lower' in limit.attrib else 0.0  # URDF's default
            high = number('upper') if 'upper' in limit.attrib else 0.0
            if low > high:
                raise UserError(f'urdf {path}: joint {name}: lower {low} is above upper {high}')
            if low == math.inf or high == -math.inf:
                raise UserError(
                    f'urdf {path}: joint {name}: lower {low} and upper {high} are no range'
                )
        velocity, effort = abs(number('velocity')), abs(number('effort'))
        # A velocity or effort of 0 is how exporters write an unknown limit.
        found[name] = JointLimit(low, high, velocity or math.inf, effort=effort or math.inf)
    missing = [name for name in joints if name not in found]
    if missing:
        raise UserError(f'urdf {path}: has no joint {", ".join(missing)}')
    return found
