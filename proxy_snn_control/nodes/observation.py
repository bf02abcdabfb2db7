"""From the robot's messages to the policy's observation."""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from proxy_snn_control.nodes.robot import JOINT_STATE, VECTOR, Robot, Source, Term
from proxy_snn_control.policy import ObservationError, UserError

ANGLES = ("roll", "pitch", "yaw")


def message_class(kind: str) -> Any:
    """The class of a message type such as "sensor_msgs/JointState".

    Raises:
        UserError: its package is not installed.
    """
    package, _, name = kind.partition("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ModuleNotFoundError:
        raise UserError(
            f"message type {kind}: the package {package} is not installed; source a ROS 2 that "
            f"has it, or pip install 'proxy_snn_control[ros]'"
        ) from None


class Inputs:
    """The sources of the observation: what each said last, when, and whether that can be used.

    A message that says nothing new is left out: one with the stamp of the last, or with an earlier
    one. If the stamps went back by more than the source's timeout, its clock was set anew (a
    simulation restarted) and they count again.
    """

    def __init__(self, robot: Robot, repeats: bool = False) -> None:
        """Build the readers.

        Args:
            robot: whose sources and terms.
            repeats: whether a message with the stamp of the last one counts: a sim in lockstep says
                again what nobody answered.

        Raises:
            UserError: a message package is missing, or a field is none of its message's.
        """
        self.ignored = 0
        self._repeats = repeats
        self._sources = robot.sources
        self._shortest = min(source.timeout for source in robot.sources)
        self._numbers = np.zeros(len(robot.terms))
        self._readers = [_reader(source, robot.terms, self._numbers) for source in robot.sources]
        self._previous: list[tuple[int, Any]] = [
            (i, term.number) for i, term in enumerate(robot.terms) if term.source is None
        ]
        self._scale = np.array([term.scale for term in robot.terms])
        self._offset = np.array([term.offset for term in robot.terms])
        self._linear = bool((self._scale != 1).any() or self._offset.any())
        self._wrap = [i for i, term in enumerate(robot.terms) if term.wrap]
        self._functions = [
            (getattr(np, name), [i for i, term in enumerate(robot.terms) if term.function == name])
            for name in ("sin", "cos")
        ]
        self._functions = [(function, where) for function, where in self._functions if where]
        self.forget(0.0)

    def forget(self, now: float) -> None:
        """Take nothing that was said so far for fresh; silence counts from now (seconds)."""
        self._received = [now] * len(self._sources)
        self._heard = [False] * len(self._sources)
        self._new = [False] * len(self._sources)
        self._faults = [""] * len(self._sources)
        for reader in self._readers:
            reader.forget()

    def take(self, index: int, message: Any, now: float) -> bool:
        """Read a message of a source.

        Args:
            index: the source's place in the robot's sources.
            message: the message.
            now: when it was received, in seconds.

        Returns:
            Whether there is something to answer: news from every source since this was so last,
            or a message that cannot be read.
        """
        reader = self._readers[index]
        if reader.stamped and not reader.is_new(message, self._repeats):
            self.ignored += 1
            return False
        try:
            since = reader.read(message, now)
        except ObservationError as error:
            self._faults[index] = f"topic {self._sources[index].topic}: {error}"
            return True
        if since is not None:
            self._faults[index] = ""
            self._received[index] = since
            self._heard[index] = self._new[index] = True
        if not all(self._new):
            return False
        self._new = [False] * len(self._new)
        return True

    def fault(self, now: float) -> str:
        """Why the sources cannot be used, or "" if they can: one is unreadable or stale."""
        if now - min(self._received) <= self._shortest and not any(self._faults):
            return ""  # nearly always
        for fault in self._faults:
            if fault:
                return fault
        return "; ".join(self.stale(now))

    def stale(self, now: float) -> list[str]:
        """A sentence for every source that has been silent for longer than its timeout."""
        return [
            f"no observation for {now - received:.2f} s on topic {source.topic}{reader.missing()}"
            for source, received, reader in zip(
                self._sources, self._received, self._readers, strict=True
            )
            if now - received > source.timeout
        ]

    @property
    def ready(self) -> bool:
        """Whether every source has been heard."""
        return all(self._heard)

    @property
    def newest(self) -> float:
        """When the newest part of the observation was received, in seconds."""
        return max(self._received)

    def observation(self, previous_action: Sequence[float]) -> np.ndarray:
        """The observation as it is now, float64 [observations].

        Args:
            previous_action: [actions], what was sent last, in the policy's units.
        """
        for i, action in self._previous:
            self._numbers[i] = previous_action[action]
        values = self._numbers
        if self._linear:
            values = values * self._scale + self._offset
        if self._wrap:
            values = values.copy() if values is self._numbers else values
            values[self._wrap] = (values[self._wrap] + math.pi) % (2 * math.pi) - math.pi
        for function, where in self._functions:
            values = values.copy() if values is self._numbers else values
            values[where] = function(values[where])
        return values


class _Reader:
    """Reads what one source says into the observation's numbers.

    Attributes:
        stamped: whether its messages have a header.
    """

    def __init__(self, source: Source, numbers: np.ndarray) -> None:
        self.stamped = hasattr(message_class(source.type)(), "header")
        self._timeout, self._numbers = source.timeout, numbers
        self._stamps: dict[str, int] = {}

    def is_new(self, message: Any, repeats: bool) -> bool:
        """Whether a message is newer than what was read, by its stamp; one without always is."""
        return self._is_new_for("", _nanoseconds(message), repeats)

    def read(self, message: Any, now: float) -> float | None:
        """Read a message that was received now, in seconds.

        Returns:
            When the oldest part of what the source has now said anew was received; None if
            something is still to come.

        Raises:
            ObservationError: the message has not what it should have.
        """
        raise NotImplementedError

    def missing(self) -> str:
        """What has not been said, to go on with a sentence."""
        return ""

    def forget(self) -> None:
        """Start over."""
        self._stamps.clear()

    def _is_new_for(self, part: str, stamp: int, repeats: bool) -> bool:
        """Compare with the last stamp of a part of the source, and keep this one if it is newer."""
        behind = self._stamps.get(part, 0) - stamp
        if stamp and (1 if repeats else 0) <= behind <= self._timeout * 1e9:
            return False
        self._stamps[part] = stamp
        return True


def _nanoseconds(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


class _Vector(_Reader):
    """Numbers of a Float64MultiArray, by index."""

    def __init__(self, source: Source, wanted: dict[int, int], numbers: np.ndarray) -> None:
        super().__init__(source, numbers)
        self._size = source.size
        self._least = max(wanted.values()) + 1
        self._places, self._indices = list(wanted), list(wanted.values())
        self._whole = self._places == self._indices == list(range(len(numbers)))

    def read(self, message: Any, now: float) -> float | None:
        data = message.data
        if len(data) != (self._size or len(data)) or len(data) < self._least:
            expected = self._size or f"at least {self._least}"
            raise ObservationError(f"has {len(data)} values, expected {expected}")
        values = np.frombuffer(data)
        if self._whole:
            self._numbers[:] = values[: self._least]
        else:
            self._numbers[self._places] = values[self._indices]
        return now


class _JointState(_Reader):
    """Positions, velocities and efforts by joint, in whatever order a message has them.

    Some drivers say something of some joints only in each message; all is said once every joint
    was in one, the oldest within the timeout.
    """

    def __init__(
        self, source: Source, wanted: dict[int, tuple[str, str]], numbers: np.ndarray
    ) -> None:
        super().__init__(source, numbers)
        self._wanted = wanted
        self._joints = {joint for joint, _ in wanted.values()}
        self._names: list[str] | None = None
        self._here: list[str] = []
        self._parts: list[tuple[str, list[int], list[int]]] = []
        self._said: dict[str, float] = {}

    def forget(self) -> None:
        super().forget()
        self._said.clear()

    def is_new(self, message: Any, repeats: bool) -> bool:
        """A message counts if any of its joints is newer: several drivers may share a topic."""
        if message.name != self._names:
            self._find(message.name)
        stamp = _nanoseconds(message)
        newer = [self._is_new_for(joint, stamp, repeats) for joint in self._here]
        return any(newer) or not newer

    def read(self, message: Any, now: float) -> float | None:
        if len(set(message.name)) != len(message.name):
            raise ObservationError(f"has a joint twice in {', '.join(message.name)}")
        for field, places, indices in self._parts:
            data = getattr(message, field)
            if len(data) != len(message.name):
                raise ObservationError(
                    f"has {len(data)} values of {field} for {len(message.name)} joints"
                )
            self._numbers[places] = np.frombuffer(data)[indices]
        said = {j: t for j, t in self._said.items() if now - t <= self._timeout}
        said.update(dict.fromkeys(self._here, now))
        self._said = said
        if len(said) < len(self._joints):
            return None
        self._said = {}
        return min(said.values())

    def missing(self) -> str:
        lacking = self._joints.difference(self._said, self._names or self._joints)
        return f" (joint {', '.join(sorted(lacking))} not in it)" if lacking else ""

    def _find(self, names: Sequence[str]) -> None:
        """Look up the joints; drivers keep to one order, so this is done once."""
        self._names = list(names)
        here = {name: i for i, name in enumerate(names)}
        self._here = [joint for joint in here if joint in self._joints]
        self._parts = []
        for field in sorted({field for _, field in self._wanted.values()}):
            found = [
                (place, here[joint])
                for place, (joint, its) in self._wanted.items()
                if its == field and joint in here
            ]
            if found:
                self._parts.append((field, [p for p, _ in found], [i for _, i in found]))


class _Fields(_Reader):
    """Numbers of a message by the paths of its fields."""

    def __init__(self, source: Source, wanted: dict[int, str], numbers: np.ndarray) -> None:
        super().__init__(source, numbers)
        kind = message_class(source.type)
        self._parts = [(place, _field(kind, path, source.name)) for place, path in wanted.items()]

    def read(self, message: Any, now: float) -> float | None:
        for place, get in self._parts:
            self._numbers[place] = get(message)
        return now


def _reader(source: Source, terms: Sequence[Term], numbers: np.ndarray) -> _Reader:
    wanted: dict[int, Any] = {
        i: term.number for i, term in enumerate(terms) if term.source == source.name
    }
    if source.type == VECTOR:
        return _Vector(source, wanted, numbers)
    if source.type == JOINT_STATE:
        return _JointState(source, wanted, numbers)
    return _Fields(source, wanted, numbers)


def _field(kind: Any, path: str, source: str) -> Callable[[Any], float]:
    """Make a function that reads the number at a path; roll, pitch and yaw of a quaternion too."""
    parent, _, last = path.rpartition(".")
    try:
        if last in ANGLES and hasattr(attrgetter(parent)(kind()), "w"):
            return functools.partial(_angle, attrgetter(parent), ANGLES.index(last))
        value = attrgetter(path)(kind())
    except (AttributeError, ValueError):
        value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(
            f"source {source}: {path!r} is no number in {kind.__module__.split('.')[0]}/"
            f"{kind.__name__}, expected a path such as those of ros2 topic echo --field"
        )
    return attrgetter(path)


def _angle(get: Callable[[Any], Any], axis: int, message: Any) -> float:
    """Roll, pitch or yaw (ROS REP 103: fixed axes x, y, z) of a quaternion, in radians."""
    q = get(message)
    x, y, z, w = q.x, q.y, q.z, q.w
    norm = x * x + y * y + z * z + w * w
    if not 0.9 < norm < 1.1:
        raise ObservationError(f"has the quaternion {x}, {y}, {z}, {w}, expected one of length 1")
    if axis == 0:
        return math.atan2(2 * (w * x + y * z), norm - 2 * (x * x + y * y))
    if axis == 1:
        return math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x) / norm)))
    return math.atan2(2 * (w * z + x * y), norm - 2 * (y * y + z * z))
