# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""From the sources' messages to the policy's observation: pairing by time, and timeouts.

Sources are paired by time. Once each has a sample, the oldest of their newest samples is the time
of the observation, and of every other source the sample nearest to that is taken, if it is within
half a control period. So a message that is lost, late or doubled affects its own steps only.
Sources with stamps are compared by these; for one without, the time of receipt is used. Of a
source that holds (a goal, a velocity command) the last sample is taken, within its timeout.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
import itertools
import math
from typing import Any

import numpy as np
from proxy_snn_control.control.history import History
from proxy_snn_control.control.messages import AT_STAMP
from proxy_snn_control.control.readers import make_reader, Sample
from proxy_snn_control.control.robot import Robot, Source
from proxy_snn_control.policy import ObservationError

# How many samples of a source are kept for another that is later.
KEPT = 128
# A source whose samples come this many control periods apart is slower than control is.
SLOW = 1.5
# The last samples of a source from which its interval is estimated.
INTERVALS = 5


class Stream:
    """A source at run time: its reader, its last samples, and how many messages were ignored.

    Attributes:
        samples: the last ones, the newest last.
        since: when it was last received, or from when its timeout counts, in seconds.
        fault: why its last message could not be read, or "".
        received: how many messages came.
        dropped: how many of them were left out, by reason.
    """

    def __init__(self, source: Source, robot: Robot, repeats: bool) -> None:
        self.source = source
        self.reader = make_reader(source, robot, repeats)
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self.since, self.fault = 0.0, ''
        self.received = 0
        self.dropped: Counter[str] = Counter()
        self.places = [i for i, term in enumerate(robot.terms) if term.source == source.name]

    def forget(self, now: float) -> None:
        """Discard earlier messages; the timeout counts from now (seconds)."""
        self.samples.clear()
        self.since, self.fault = now, ''
        self.reader.forget()

    def take(self, message: Any, now: float, publisher: bytes) -> tuple[Sample | None, bool]:
        """Read a message; what is new in it, and whether it could not be read."""
        self.received += 1
        try:
            refusal = self.reader.refusal(message, now, publisher)
            if refusal:
                self.dropped[refusal] += 1
                return None, False
            sample = self.reader.read(message, now)
        except ObservationError as error:
            self.fault = f'topic {self.source.topic}: {error}'
            self.dropped['unreadable'] += 1
            return None, True
        if sample is not None:
            self.fault = ''
            self.since = sample.received
            self.samples.append(sample)
        return sample, False

    def near(self, stamp: int, received: float) -> Sample:
        """Return the sample nearest to a stamp, or without one to a time of receipt."""
        best, distance = self.samples[-1], math.inf
        for sample in reversed(self.samples):
            away = abs(sample.stamp - stamp) * 1e-9 if stamp else abs(sample.received - received)
            if away > distance:
                break  # they are in order
            if away < distance:
                best, distance = sample, away
        return best

    def interval(self) -> float | None:
        """Return the median of the last intervals between samples [s], if there were enough."""
        begin = -1 - INTERVALS
        last = list(self.samples)[begin:]
        # A reset to time 0 leaves a single one without a stamp.
        times = [s.stamp * 1e-9 for s in last if s.stamp] or [s.received for s in last]
        if len(times) < 3:
            return None
        # Plain Python: of a handful of numbers it makes shorter work than NumPy.
        gaps = sorted(after - before for before, after in itertools.pairwise(times))
        half = len(gaps) // 2
        return (gaps[half] + gaps[-1 - half]) / 2


class Inputs:
    """The sources of the observation, and the samples that belong together.

    Attributes:
        period: the control period in seconds; infinite where nothing is to be paired by time.
    """

    def __init__(
        self,
        robot: Robot,
        repeats: bool = False,
        period: float = math.inf,
        freshest: bool = False,
    ) -> None:
        """Build the readers.

        Args:
            robot: whose sources and terms.
            repeats: whether a message with the stamp of the last one counts: a sim in lockstep
                publishes an observation again that was not answered.
            period: the control period in seconds.
            freshest: whether observations are made at a fixed rate: then sources that are slower
                than that hold.

        Raises:
            UserError: a message package is missing, or a field is none of its message's.
        """
        self.period, self._tolerance = period, period / 2
        self._freshest, self._repeats = freshest, repeats
        self.streams = [Stream(source, robot, repeats) for source in robot.sources]
        self._paired = [i for i, s in enumerate(robot.sources) if not s.hold]
        if not self._paired:
            self._paired = list(range(len(robot.sources)))
        self._only = self.streams[self._paired[0]] if len(self._paired) == 1 else None
        self._alone = self._only if len(self.streams) == 1 else None
        self._shortest = min(source.timeout for source in robot.sources)
        self._build_terms(robot)
        measured = [
            (i, joints) for i, s in enumerate(robot.sources) if (joints := robot.measured(s))
        ]
        self._measured = measured
        self._direct &= not measured  # what is measured comes behind the entries' values
        self.missed = 0
        self.forget(0.0)

    def _build_terms(self, robot: Robot) -> None:
        terms = robot.terms
        self._numbers = np.zeros(len(terms))
        own = [i for i, term in enumerate(terms) if term.source is None]
        self._previous: list[tuple[int, Any, bool]] = [
            (i, terms[i].number, terms[i].raw) for i in own
        ]
        self._scale = np.array([term.scale for term in terms])
        self._offset = np.array([term.offset for term in terms])
        self._linear = bool((self._scale != 1).any() or self._offset.any())
        self._unwrap = [i for i, term in enumerate(terms) if term.unwrap]
        self._wrap = [i for i, term in enumerate(terms) if term.wrap]
        functions = [
            (getattr(np, name), [i for i, term in enumerate(terms) if term.function == name])
            for name in ('sin', 'cos')
        ]
        self._functions = [(function, where) for function, where in functions if where]
        self._history = History(robot.layout) if robot.layout else None
        self._plain = not (self._linear or self._unwrap or self._wrap or self._functions)
        whole = self._alone is not None and self._alone.places == list(range(len(terms)))
        self._direct = whole and self._plain and self._history is None

    def forget(self, now: float) -> None:
        """Discard earlier messages; the timeouts count from now (seconds)."""
        for stream in self.streams:
            stream.forget(now)
        self._set: list[Sample] = []
        self._set_at = now
        self._turns: np.ndarray | None = None
        self.forget_history()

    def forget_history(self) -> None:
        """Fill a robot file's history with the next observation."""
        if self._history is not None:
            self._history.forget()

    def begin(self) -> None:
        """Begin an episode: the next observation does not depend on those before it."""
        self.forget_history()
        self._turns = None

    @property
    def remembers(self) -> bool:
        """Whether observations depend on those before them: the robot file has a history."""
        return self._history is not None

    @property
    def unwraps(self) -> bool:
        """Whether angles go on beyond a half turn, counted from the first message."""
        return bool(self._unwrap)

    def take(self, index: int, message: Any, now: float, publisher: bytes = b'') -> bool:
        """Read a message of a source.

        Args:
            index: the source's place in the robot's sources.
            message: the message; of a Float64MultiArray its bytes will do.
            now: when it was received, in seconds.
            publisher: who sent it, where that is known.

        Returns:
            Whether there is something to answer: samples that belong together and are all new, or
            a message that cannot be read.
        """
        stream = self.streams[index]
        sample, unreadable = stream.take(message, now, publisher)
        if sample is None:
            return unreadable
        if self._alone is not None:
            self._set, self._set_at = [sample], now
            return True
        if self._freshest:
            return True
        if index not in self._paired:
            return False
        return self._pair(now)

    def pair(self, now: float) -> None:
        """At a rate: take the newest samples that belong together."""
        if self._alone is None:
            self._pair(now)

    def _pair(self, now: float) -> bool:
        """Look for samples that belong together; whether they are all new."""
        newest = []
        for i in self._paired:
            samples = self.streams[i].samples
            if not samples:
                return False
            newest.append(samples[-1])
        held = self._slow(newest) if self._freshest else []
        followed = [s for i, s in zip(self._paired, newest, strict=True) if i not in held]
        stamped = [sample for sample in followed if sample.stamp]
        if stamped:
            pivot = min(stamped, key=lambda sample: sample.stamp)
        else:
            pivot = min(followed, key=lambda sample: sample.received)
        found = []
        for i, last in zip(self._paired, newest, strict=True):
            if i in held:
                found.append(last)
                continue
            by_stamp = last.stamp and pivot.stamp
            sample = self.streams[i].near(pivot.stamp if by_stamp else 0, pivot.received)
            if by_stamp:
                away = abs(sample.stamp - pivot.stamp) * 1e-9
            else:
                away = 0.0 if self._repeats else abs(sample.received - pivot.received)
            if away > self._tolerance:
                return False
            found.append(sample)
        if self._set:
            steps = [new.number - old.number for new, old in zip(found, self._set, strict=True)]
            if min(steps) <= 0 and not (self._freshest and max(steps) > 0):
                return False
            self._count_missed(found[0], self._set[0])
        self._set, self._set_at = found, now
        return True

    def _slow(self, newest: Sequence[Sample]) -> list[int]:
        """Return the sources that are slower than control is; never all of them."""
        latest = max(sample.received for sample in newest)
        slow = []
        for i, sample in zip(self._paired, newest, strict=True):
            interval = self.streams[i].interval()
            if interval is None:
                interval = latest - sample.received
            if interval > SLOW * self.period:
                slow.append(i)
        return slow if len(slow) < len(self._paired) else []

    def _count_missed(self, new: Sample, old: Sample) -> None:
        """Count the control periods that went by without an observation."""
        if self._repeats:
            return  # in lockstep none is missed: a gap is a reset of the sim
        gap = (new.stamp - old.stamp) * 1e-9 if new.stamp and old.stamp else 0.0
        if gap > SLOW * self.period:
            self.missed += min(round(gap / self.period), 1000) - 1

    # ---- what is wrong

    def fault(self, now: float) -> str:
        """Why the sources cannot be used, or "" if they can: one is unreadable or stale."""
        if self._alone is not None:
            stream = self._alone
            if now - stream.since <= self._shortest and not stream.fault:
                return ''  # nearly always
        for stream in self.streams:
            if stream.fault:
                return stream.fault
        return '; '.join(self.stale(now)) or self._apart(now)

    def stale(self, now: float) -> list[str]:
        """Return a sentence for every source that has not published within its timeout."""
        return [
            f'no observation for {now - stream.since:.2f} s on topic {stream.source.topic}'
            f'{stream.reader.missing()}'
            for stream in self.streams
            if now - stream.since > stream.source.timeout
        ]

    def _apart(self, now: float) -> str:
        """Whether all publish, but not of the same time, for longer than a timeout."""
        if len(self._paired) < 2:
            return ''
        since = [sample.received for sample in self._set] or [self._set_at] * len(self._paired)
        streams = [self.streams[i] for i in self._paired]
        if all(
            now - at <= stream.source.timeout for at, stream in zip(since, streams, strict=True)
        ):
            return ''
        topics = ' and '.join(stream.source.topic for stream in streams)
        away = ''
        stamps = [stream.samples[-1].stamp for stream in streams if stream.samples]
        if len(stamps) == len(streams) and all(stamps):
            away = f' (their last stamps are {(max(stamps) - min(stamps)) * 1e-9:.3f} s apart)'
        return (
            f'topics {topics}: no messages with stamps within {self._tolerance:.3g} s of each '
            f'other for {now - min(since):.2f} s{away}; a source whose last value stays valid '
            'needs hold: true'
        )

    def stamps(self) -> tuple[list[int], float]:
        """Of what is in use the stamps in nanoseconds, and the shortest interval in seconds.

        Without samples enough to tell, the interval is the control period.
        """
        intervals = [self.streams[i].interval() for i in self._paired]
        known = [interval for interval in intervals if interval]
        return [s.stamp for s in self._set if s.stamp], min([self.period, *known])

    @property
    def ready(self) -> bool:
        """Whether there are samples that belong together, and something of those that hold."""
        if self._alone is not None:
            return bool(self._set)
        return bool(self._set) and all(stream.samples for stream in self.streams)

    @property
    def expires(self) -> float:
        """When the observation becomes stale, in seconds, if no other comes."""
        return min(stream.since + stream.source.timeout for stream in self.streams)

    @property
    def newest(self) -> float:
        """When the newest part of the observation was received, in seconds."""
        return max(stream.since for stream in self.streams)

    @property
    def ignored(self) -> int:
        """How many messages were left out because of their stamps."""
        return sum(
            count
            for stream in self.streams
            for reason, count in stream.dropped.items()
            if reason != 'unreadable'
        )

    @property
    def label(self) -> str:
        """Return what names the last observation: a message's label, or in lockstep its stamp."""
        for stream in self.streams:
            if stream.reader.label:
                return stream.reader.label
        return AT_STAMP.format(stamp) if self._repeats and (stamp := self.stamp) else ''

    @property
    def moment(self) -> str:
        """Which observation this is: its label, or the stamps of what is in use; "" if unknown."""
        if label := self.label:
            return label
        stamps = [sample.stamp for sample in self._set]
        return ' '.join(map(str, stamps)) if stamps and all(stamps) else ''

    @property
    def stamp(self) -> int:
        """Return the earliest stamp of what is in use, in nanoseconds; 0 where nothing has one."""
        return min((sample.stamp for sample in self._set if sample.stamp), default=0)

    def timing(self, now: float) -> list[tuple[str, float, float]]:
        """Of each source its topic, the age and the skew of what is in use, in seconds.

        The skew is how far its stamp, or its receipt, is from the first paired source's.
        """
        found = []
        used = dict(zip(self._paired, self._set, strict=False))
        for i, stream in enumerate(self.streams):
            sample = used.get(i) or (stream.samples[-1] if stream.samples else None)
            if sample is None:
                continue
            skew = 0.0
            if self._set and sample.stamp and self._set[0].stamp:
                skew = (sample.stamp - self._set[0].stamp) * 1e-9
            elif self._set:
                skew = sample.received - self._set[0].received
            found.append((stream.source.topic, now - sample.received, skew))
        return found

    # ---- the observation

    def observation(
        self, previous_action: Sequence[float], raw_action: Sequence[float] = ()
    ) -> np.ndarray:
        """Return the observation as it is now, float64 [observations].

        Args:
            previous_action: [actions], what was sent last, in the policy's units.
            raw_action: [actions], what the policy wanted last.
        """
        if self._direct:
            return self._set[0].values
        numbers = self._numbers
        used = dict(zip(self._paired, self._set, strict=False))
        for i, stream in enumerate(self.streams):
            sample = used.get(i) or stream.samples[-1]
            numbers[stream.places] = sample.values[: len(stream.places)]
        for i, action, raw in self._previous:
            numbers[i] = raw_action[action] if raw else previous_action[action]
        values = numbers
        if not self._plain:
            values = self._transformed(numbers)
        if self._history is not None:
            return self._history.add(values)
        return values

    def _transformed(self, numbers: np.ndarray) -> np.ndarray:
        values = numbers.copy()
        if self._unwrap:
            angles = values[self._unwrap]
            if self._turns is not None:
                angles = self._turns + _wrapped(angles - self._turns)
            if np.isfinite(angles).all():
                self._turns = angles
            values[self._unwrap] = angles
        if self._linear:
            values = values * self._scale + self._offset
        if self._wrap:
            values[self._wrap] = _wrapped(values[self._wrap])
        for function, where in self._functions:
            values[where] = function(values[where])
        return values

    def measured(self) -> list[float | None]:
        """Measured positions of the joints that the command moves, [outputs]; None if nothing."""
        found: list[float | None] = []
        for i, joints in self._measured:
            samples = self.streams[i].samples
            if not samples:
                continue
            here = len(self.streams[i].places)
            values = iter(samples[-1].values[here:].tolist())
            measured = [next(values) if joint else None for joint in joints]
            measured = [None if v is None or not math.isfinite(v) else v for v in measured]
            found = (
                [a if a is not None else b for a, b in zip(found, measured, strict=True)]
                if found
                else measured
            )
        return found


def _wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles in radians, brought into [-pi, pi)."""
    return (angles + math.pi) % (2 * math.pi) - math.pi
