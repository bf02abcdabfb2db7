# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Readers: from a source's messages to the numbers that its entries of a robot file read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import functools
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from proxy_snn_control.control import geometry
from proxy_snn_control.control.cdr import VectorReader
from proxy_snn_control.control.messages import label_of, message_class
from proxy_snn_control.control.robot import (
    ANGLES,
    AXES,
    JOINT_STATE,
    Robot,
    Source,
    Term,
    VECTOR,
)
from proxy_snn_control.policy import ObservationError, UserError

# A field of joint states, where its numbers go, and where they are in it.
Part = tuple[str, list[int], list[int]]

GRAVITY = 'gravity'
WORLD = 'world'
# REP 145: a driver that has no such estimate puts -1 in the covariance's first place.
NO_ESTIMATE = -1.0


class Sample(NamedTuple):
    """What a source published of one time.

    Attributes:
        number: counts the source's samples.
        received: when the oldest part of it was received, in seconds.
        stamp: of the oldest part, in nanoseconds; 0 without one.
        values: one for each of the source's entries.
    """

    number: int
    received: float
    stamp: int
    values: np.ndarray


class Stamps:
    """Whether a message is new, by its stamp.

    A stamp must be later than the last one. One that is further from it than the source's timeout
    is of another clock: it counts if the source had been silent for as long, or if the next
    message goes on from it. So a clock that is set anew is followed, and of two publishers whose
    clocks differ only the first one counts.
    """

    def __init__(self, timeout: float, repeats: bool) -> None:
        self._timeout, self._repeats = timeout, repeats
        self._span = round(timeout * 1e9)
        self._last: dict[str, tuple[int, float]] = {}
        self._other: dict[str, int] = {}

    def forget(self) -> None:
        """Start over."""
        self._last.clear()
        self._other.clear()

    def refusal(self, part: str, stamp: int, now: float) -> str:
        """Why a stamp (nanoseconds) of a part of the source does not count; "" if it does."""
        last = self._last.get(part)
        if last is not None and (stamp or (last[0] and not self._repeats)):
            ahead = stamp - last[0]
            if ahead == 0 and not self._repeats:
                return 'repeated'
            if -self._span <= ahead < 0:
                return 'late'
            if not 0 <= ahead <= self._span and now - last[1] <= self._timeout:
                on = stamp - self._other.get(part, stamp + 1)
                if not (0 if self._repeats else 1) <= on <= self._span:
                    self._other[part] = stamp
                    return 'of another clock'
        self._last[part] = (stamp, now)
        if self._other:
            self._other.pop(part, None)
        return ''


class Reader:
    """Reads the messages of one source.

    Attributes:
        label: what the last message that was read had for a label.
        stamped: whether its messages have a header.
    """

    def __init__(self, source: Source, repeats: bool) -> None:
        self.label = ''
        self.stamped = hasattr(message_class(source.type_name)(), 'header')
        self._source, self._timeout = source, source.timeout
        self._stamps = Stamps(source.timeout, repeats)
        self._count = 0

    def refusal(self, message: Any, now: float, publisher: bytes) -> str:
        """Why a message has nothing new, by its stamp; "" if it does or has none."""
        return self._stamps.refusal('', nanoseconds(message), now) if self.stamped else ''

    def read(self, message: Any, now: float) -> Sample | None:
        """Read a message that was received now, in seconds.

        Returns:
            The source's new sample, or None if something is still to come.

        Raises:
            ObservationError: the message has not what it should have.
        """
        values = self._values(message)
        self._count += 1
        return Sample(self._count, now, nanoseconds(message) if self.stamped else 0, values)

    def missing(self) -> str:
        """Return what is still to come, as the end of a sentence."""
        return ''

    def forget(self) -> None:
        """Start over."""
        self._stamps.forget()

    def _values(self, message: Any) -> np.ndarray:
        raise NotImplementedError


def nanoseconds(message: Any) -> int:
    """Return a message's stamp."""
    stamp = message.header.stamp
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


class Vector(Reader):
    """Numbers of a Float64MultiArray, by index."""

    def __init__(self, source: Source, wanted: Sequence[int], repeats: bool) -> None:
        super().__init__(source, repeats)
        self._size = source.size
        self._least = max(wanted) + 1
        self._indices = list(wanted)
        self._whole = self._indices == list(range(len(wanted)))
        self._bytes = VectorReader()

    def _values(self, message: Any) -> np.ndarray:
        if isinstance(message, bytes):
            self.label, values = self._bytes.read(message)
        else:
            self.label, values = label_of(message), np.frombuffer(message.data)
        if len(values) != (self._size or len(values)) or len(values) < self._least:
            expected = self._size or f'at least {self._least}'
            raise ObservationError(f'has {len(values)} values, expected {expected}')
        return values[: self._least] if self._whole else values[self._indices]


class JointStates(Reader):
    """Positions, velocities and efforts by joint, in whatever order a message has them.

    Some drivers publish only some joints in each message; a sample is whole once every joint
    was in one, the oldest within the timeout. Joints that are only measured (for the command to
    begin from) may be missing; where one is for the timeout, its position is not known.
    """

    def __init__(
        self,
        source: Source,
        wanted: Sequence[tuple[str, str]],
        measured: Sequence[str],
        repeats: bool,
    ) -> None:
        super().__init__(source, repeats)
        self._wanted = [*wanted, *((joint, 'position') for joint in measured)]
        self._joints = {joint for joint, _ in wanted}
        self._names: list[str] | None = None
        self._here: list[str] = []
        self._parts: list[Part] = []
        self._only_measured = [
            (place, joint)
            for place, (joint, _) in enumerate(self._wanted)
            if joint not in self._joints
        ]
        self._measured_at: dict[str, float] = {}
        # Of the message at hand the joints that count, and what is read of them.
        self._new: tuple[list[str], list[Part]] = [], []
        self._seen: dict[str, tuple[float, int]] = {}
        # Of each joint who published it, first and last; and whose is read, and when that came.
        self._publishers: dict[str, dict[bytes, tuple[float, float]]] = {}
        self._read: dict[str, tuple[bytes, float]] = {}
        self._numbers = np.full(len(self._wanted), np.nan)

    def forget(self) -> None:
        """Start over."""
        super().forget()
        self._seen.clear()
        self._read.clear()
        self._numbers[:] = np.nan

    def refusal(self, message: Any, now: float, publisher: bytes) -> str:
        """Refuse a message of which no joint is newer: several drivers may share a topic.

        Of several who publish the same joint the first is read, until it is silent for a timeout.
        """
        if message.name != self._names:
            self._find(message.name)
        stamp, this = nanoseconds(message), (publisher, now)
        refusals = []
        for joint in self._here:
            if publisher:
                there = self._publishers.setdefault(joint, {})
                there[publisher] = (there.get(publisher, (now,))[0], now)
            first, read_at = self._read.get(joint, this)
            if first != publisher and now - read_at <= self._timeout:
                refusal = 'of another publisher'
            else:
                refusal = self._stamps.refusal(joint, stamp, now)
            if not refusal:
                self._read[joint] = this
            refusals.append(refusal)
        self._new = self._here, self._parts
        if any(refusals):
            refused = {j for j, why in zip(self._here, refusals, strict=True) if why}
            names = [name if name not in refused else None for name in message.name]
            self._new = [j for j in self._here if j not in refused], self._parts_of(names)
        return '' if '' in refusals or not refusals else refusals[0]

    def read(self, message: Any, now: float) -> Sample | None:
        """As `Reader.read`."""
        if len(set(message.name)) != len(message.name):
            raise ObservationError(f'has a joint twice in {", ".join(message.name)}')
        here, parts = self._new
        for field, _, _ in parts:
            count = len(getattr(message, field))
            if count != len(message.name):
                raise ObservationError(
                    f'has {count} values of {field} for {len(message.name)} joints'
                )
        for field, places, indices in parts:
            self._numbers[places] = np.frombuffer(getattr(message, field))[indices]
        for place, joint in self._only_measured:
            if joint in message.name:
                self._measured_at[joint] = now
            elif now - self._measured_at.get(joint, now) > self._timeout:
                self._numbers[place] = np.nan
        this = (now, nanoseconds(message))
        seen = {j: t for j, t in self._seen.items() if now - t[0] <= self._timeout}
        seen.update(dict.fromkeys(here, this))
        self._seen = seen
        if len(seen) < len(self._joints):
            return None
        self._seen = {}
        received, stamp = min(seen.values())
        self._count += 1
        return Sample(self._count, received, stamp, self._numbers.copy())

    def missing(self) -> str:
        """Return the joints that were in no message."""
        lacking = self._joints.difference(self._seen, self._names or self._joints)
        return f' (joint {", ".join(sorted(lacking))} not in it)' if lacking else ''

    def published_twice(self, now: float, seconds: float) -> dict[str, list[bytes]]:
        """Joints that several publishers published in turns in the last seconds, with those."""
        found = {}
        for joint, publishers in self._publishers.items():
            for publisher in [p for p, (_, last) in publishers.items() if now - last > seconds]:
                del publishers[publisher]
            if len(publishers) > 1:
                firsts, lasts = zip(*publishers.values(), strict=True)
                if max(firsts) < min(lasts):  # and not one after the other
                    found[joint] = sorted(publishers)
        return found

    def _find(self, names: Sequence[str]) -> None:
        """Look up the joints; drivers keep to one order, so this is done once."""
        self._names = list(names)
        self._here = [joint for joint in dict.fromkeys(names) if joint in self._joints]
        self._parts = self._parts_of(names)

    def _parts_of(self, names: Sequence[str | None]) -> list[Part]:
        """Return what is read of a message with these joints, in this order."""
        here = {name: i for i, name in enumerate(names)}
        parts = []
        for field in sorted({field for _, field in self._wanted}):
            found = [
                (place, here[joint])
                for place, (joint, its) in enumerate(self._wanted)
                if its == field and joint in here
            ]
            if found:
                parts.append((field, [p for p, _ in found], [i for _, i in found]))
        return parts


class Fields(Reader):
    """Numbers of a message by the paths of its fields."""

    def __init__(self, source: Source, wanted: Sequence[Term], repeats: bool) -> None:
        super().__init__(source, repeats)
        kind = message_class(source.type_name)
        self._getters = [_getter(kind, term, source.name) for term in wanted]
        paths = [str(term.number) for term in wanted]
        if any(term.frame for term in wanted):
            paths.append('orientation')
        # What an IMU may have no estimate of: the first number of these is -1 then.
        self._estimates = [
            (part, attrgetter(f'{part}_covariance'))
            for part in ('orientation', 'angular_velocity', 'linear_acceleration')
            if source.type_name == 'sensor_msgs/Imu'
            and any(path.startswith(part) for path in paths)
        ]

    def _values(self, message: Any) -> np.ndarray:
        for part, covariance in self._estimates:
            if covariance(message)[0] == NO_ESTIMATE:
                raise ObservationError(f'has no {part} ({part}_covariance[0] is -1, REP 145)')
        return np.array([get(message) for get in self._getters])


def make_reader(source: Source, robot: Robot, repeats: bool) -> Reader:
    """Return the reader of a source.

    Raises:
        UserError: its message's package is missing, or a field is none of its message's.
    """
    terms = [term for term in robot.terms if term.source == source.name]
    if source.type_name == VECTOR:
        return Vector(source, [term.number for term in terms], repeats)  # type: ignore[misc]
    if source.type_name == JOINT_STATE:
        wanted = [term.number for term in terms]
        measured = [joint for joint in robot.measured(source) if joint]
        return JointStates(source, wanted, measured, repeats)  # type: ignore[arg-type]
    return Fields(source, terms, repeats)


def _getter(kind: Any, term: Term, source: str) -> Callable[[Any], float]:
    """Make a function that reads a number: at a path, or of a quaternion there."""
    path = str(term.number)
    parent, _, last = path.rpartition('.')
    try:
        empty = kind()
        if last in ANGLES and hasattr(attrgetter(parent)(empty), 'w'):
            return functools.partial(_angle, attrgetter(parent), ANGLES.index(last), term.unwrap)
        if last in AXES and parent.endswith(f'.{GRAVITY}'):
            quaternion = attrgetter(parent.removesuffix(f'.{GRAVITY}'))
            if hasattr(quaternion(empty), 'w'):
                return functools.partial(_gravity, quaternion, AXES.index(last))
        value = attrgetter(path)(empty)
    except (AttributeError, ValueError):
        value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(
            f'source {source}: {path!r} is no number in {kind.__module__.split(".")[0]}/'
            f'{kind.__name__}, expected a path such as those of ros2 topic echo --field'
        )
    if term.frame == WORLD:
        turn = _orientation(empty)
        vector = attrgetter(parent) if parent else None
        if turn is None or vector is None or last not in AXES or hasattr(vector(empty), 'w'):
            raise UserError(
                f'source {source}: {path!r} cannot be turned into world axes, expected a vector '
                "of an Odometry's twist or of an Imu"
            )
        return functools.partial(_turned, turn, vector, AXES.index(last))
    return attrgetter(path)


def _orientation(message: Any) -> Callable[[Any], Any] | None:
    """Where a message has the orientation of the body along whose axes its vectors are."""
    if hasattr(message, 'orientation'):
        return attrgetter('orientation')
    if hasattr(message, 'pose') and hasattr(message, 'twist'):
        return attrgetter('pose.pose.orientation')
    return None


def _angle(get: Callable[[Any], Any], axis: int, full: bool, message: Any) -> float:
    q = get(message)
    return geometry.full_pitch(q) if full and axis == 1 else geometry.angle(q, axis)


def _gravity(get: Callable[[Any], Any], axis: int, message: Any) -> float:
    return geometry.gravity(get(message), axis)


def _turned(
    orientation: Callable[[Any], Any], vector: Callable[[Any], Any], axis: int, message: Any
) -> float:
    return geometry.to_world(orientation(message), vector(message), axis)
