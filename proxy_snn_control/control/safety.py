# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The one place that decides what is sent to the robot."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from dataclasses import dataclass
import math

from proxy_snn_control.control.limits import JointLimit, saturate
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.policy import UserError

# After so many control periods without a command a joint stands where the last one sent it.
PAUSE = 2.5


@dataclass(frozen=True)
class SafetySettings:
    """What is safe.

    Attributes:
        safe_command: the command sent on any fault, [outputs]; if empty zeros, or for positions
            the last command.
        hold: send the last command instead, once there is one.
        slew_rate: how far a number may change in a second, [outputs]; no limit if empty.
        ramp_in: seconds over which commands grow from where they begin to the policy's; counts
            from the next ramp on.
        acceleration: how far that change may change in a second, [outputs]; no limit if empty.
        start_command: where commands begin if the robot's state and a last command are unknown,
            [outputs]; the safe command if empty.
    """

    safe_command: Sequence[float] = ()
    hold: bool = False
    slew_rate: Sequence[float] = ()
    ramp_in: float = 0.0
    acceleration: Sequence[float] = ()
    start_command: Sequence[float] = ()


class SafetyGate:
    """From the policy's command to the command that is sent.

    Every number that is sent comes from `check`. Its order is: the stop topic, a fault found
    before (stale, unreadable or not finite), finite, within the limits, ramp-in, slew rate,
    acceleration and the joints' own limits. The safe command is sent at once, without the last
    four. The gate keeps what was sent last through all states of the node.

    Attributes:
        last: what was sent last, [outputs], in the command's units; None if nothing was.
        measured: positions of the joints, [outputs], as far as they are known.
    """

    def __init__(
        self,
        low: Sequence[float],
        high: Sequence[float],
        period: float,
        stop: StopLatch,
        settings: SafetySettings,
        interface: str = '',
        joints: Sequence[JointLimit] = (),
        last: Sequence[float] | None = None,
    ) -> None:
        """Set the limits [outputs], the control period in seconds, the stop, and what is safe.

        Args:
            low: the least, [outputs].
            high: the most, [outputs].
            period: the control period in seconds.
            stop: the stop.
            settings: what is safe.
            interface: "position", "velocity" or "effort", where that is known.
            joints: what the joints may do, [outputs], where that is known.
            last: what was sent last, [outputs], if anything was.

        Raises:
            UserError: a setting has the wrong length or a value that cannot be.
        """
        # Plain lists: of a handful of numbers Python makes shorter work than NumPy.
        self._limits = list(zip(map(float, low), map(float, high), strict=True))
        self._period = period
        self._stop = stop
        self._interface, self._joints = interface, list(joints)
        self._moves = interface == 'velocity' and bool(joints)
        fits = last is not None and len(last) == len(self._limits)
        # The limits may be others than those it was sent within.
        self.last: Sequence[float] | None = self._within(last) if last and fits else None
        self._zeros = [0.0] * len(self._limits)
        self._velocity: Sequence[float] = self._zeros
        self.measured: Sequence[float | None] = ()
        self._measurable = False
        self._joint_limits: list[JointLimit] = []
        self.change(settings)
        self.start(0.0)

    def change(self, settings: SafetySettings) -> None:
        """Take other settings; those that are wrong leave the present ones."""
        zeros = self._within([0.0] * len(self._limits))
        safe = [float(value) for value in settings.safe_command] or zeros
        self._expect('safe_command', safe, self._limits)
        begin = [float(value) for value in settings.start_command] or safe
        self._expect('start_command', begin, self._limits)
        positive = [(1e-9, 1e300)] * len(self._limits)
        slew = [float(value) for value in settings.slew_rate]
        if slew:
            self._expect('slew_rate', slew, positive)
        acceleration = [float(value) for value in settings.acceleration]
        if acceleration:
            self._expect('acceleration', acceleration, positive)
        combined = self._combined(slew, acceleration)
        position = self._interface == 'position'
        if position and not settings.safe_command:
            safe = begin
        self._safe, self._begin = safe, begin
        # Zeros are a place for a position: unless configured otherwise it stays where it is.
        self._hold = settings.hold or (position and not settings.safe_command)
        self._nowhere = position and not settings.safe_command and not settings.start_command
        self._slew, self._next_ramp = slew, settings.ramp_in
        if not self._joint_limits:
            self._velocity = self._zeros  # it was not kept up to now
        self._joint_limits = combined

    def _combined(self, slew: list[float], acceleration: list[float]) -> list[JointLimit]:
        """Return the joints' limits with slew rate and acceleration; nothing if slew is all."""
        if not (acceleration or self._joints):
            return []
        infinite = [math.inf] * len(self._limits)
        moves = self._moves
        if moves and acceleration:
            raise UserError(
                f"parameter acceleration is {acceleration}, but the command's numbers are "
                'velocities with limits from a URDF: for these slew_rate is the acceleration'
            )
        found = []
        for joint, (low, high), rate, change in zip(
            self._joints or [JointLimit()] * len(self._limits),
            self._limits,
            slew or infinite,
            acceleration or infinite,
            strict=True,
        ):
            if moves:  # the number is a velocity: what slews it is an acceleration
                found.append(
                    dataclasses.replace(joint, acceleration=min(rate, joint.acceleration))
                )
                continue
            position = self._interface == 'position'
            found.append(
                JointLimit(
                    max(low, joint.low) if position else low,
                    min(high, joint.high) if position else high,
                    min(rate, joint.velocity) if position else rate,
                    min(change, joint.acceleration) if position else change,
                )
            )
        return found

    def start(self, now: float) -> None:
        """Begin to command, now (seconds): with a ramp from what was sent last."""
        self._fresh, self._last_time = True, now
        self.measured = ()
        self._velocity = self._zeros
        self.ramp()

    def measure(self, positions: Sequence[float | None]) -> None:
        """Take where the joints are, [outputs]: commands for positions begin there.

        To be called before each `check` if they can be measured; with nothing if they were not
        yet.
        """
        self.measured, self._measurable = positions, True

    def ramp(self) -> None:
        """Begin a ramp with the next command, from what was sent last then."""
        self._ramp, self._ramp_start = self._next_ramp, 0.0
        self._ramp_from: Sequence[float] | None = None

    @property
    def safe(self) -> Sequence[float]:
        """Return the command for a fault now, [outputs]; empty if none is safer than any other."""
        self._settle()
        if self._hold and self.last is not None:
            # Since the last activation ended the joints may have been moved by others.
            unknown = self._fresh and self._measurable and self._interface == 'position'
            return () if unknown else self.last
        return () if self._nowhere else self._safe

    @property
    def begin(self) -> Sequence[float]:
        """Where commands begin, [outputs]."""
        self._settle()
        return self._begin if self.last is None else self.last

    def _settle(self) -> None:
        """After a start begin where the robot is, if that is known and a position is commanded."""
        if not self._fresh or self._interface != 'position' or not self.measured:
            return
        if all(position is None for position in self.measured):
            return
        there = self.last if self.last is not None else self._begin
        if self.last is None and self._nowhere and None in self.measured:
            return
        found = [there[i] if m is None else m for i, m in enumerate(self.measured)]
        self.last = self._within(found)
        self._fresh = False

    def check(
        self, command: Sequence[float] | None, fault: str, now: float
    ) -> tuple[Sequence[float], str]:
        """Decide what to send.

        Args:
            command: [outputs], from the policy's action; None if there is none.
            fault: what was wrong before, "" if nothing.
            now: the time in seconds, on a clock that only goes forward.

        Returns:
            The command [outputs], and what was wrong ("" if nothing). If anything was, the command
            is the safe one. It is empty if nothing may be sent: for positions, as long as no safe
            one is known.
        """
        ramp = self._ramp, self._ramp_start, self._ramp_from
        self._before = self.last, self._last_time, self._velocity, self._fresh, ramp
        fault = self._stop.fault or fault or self._fault(command)
        if fault or command is None:
            sent = self.safe
            self._velocity = self._zeros
            self._ramp_from = None  # a ramp at work begins again, from here
        else:
            sent = self._gently(command, now)
        if len(sent):
            self.last, self._last_time, self._fresh = sent, now, False
        return sent, fault

    def take_back(self) -> None:
        """Forget the command of the last `check`: it did not go out."""
        self.last, self._last_time, self._velocity, self._fresh, ramp = self._before
        self._ramp, self._ramp_start, self._ramp_from = ramp

    def _fault(self, command: Sequence[float] | None) -> str:
        if command is None or len(command) != len(self._limits):
            found = 'no' if command is None else len(command)
            return f'command has {found} values, expected {len(self._limits)}'
        for value, (low, high) in zip(command, self._limits, strict=True):
            if not low <= value <= high:  # also true for NaN
                what = 'outside the limits' if math.isfinite(value) else 'not finite'
                return f'command {list(command)} is {what}'
        return ''

    def _gently(self, command: Sequence[float], now: float) -> Sequence[float]:
        if not (self._ramp or self._slew or self._joint_limits):
            return command
        begin = self.begin
        gentle = list(command)
        if self._ramp:
            gentle = self._ramped(gentle, begin, now)
        pause = now - self._last_time
        if pause > PAUSE * self._period:
            self._velocity = self._zeros
        # After a pause the command may change no further than in one period.
        seconds = min(pause, self._period)
        if self._joint_limits:
            return self._saturated(gentle, begin, seconds)
        if self._slew:
            gentle = self._within(
                [
                    min(max(value, last - rate * seconds), last + rate * seconds)
                    for value, last, rate in zip(gentle, begin, self._slew, strict=True)
                ]
            )
        return gentle

    def _ramped(self, wanted: list[float], begin: Sequence[float], now: float) -> list[float]:
        """As far from where the ramp began as its time has come."""
        if self._ramp_from is None:
            self._ramp_from, self._ramp_start = list(begin), now
        share = (now - self._ramp_start) / self._ramp
        if share >= 1:
            self._ramp = 0.0
            return wanted
        pairs = zip(wanted, self._ramp_from, strict=True)
        return self._within([first + share * (value - first) for value, first in pairs])

    def _saturated(
        self, wanted: list[float], last: Sequence[float], seconds: float
    ) -> Sequence[float]:
        """Within what the joints may do, from what was sent last."""
        if seconds <= 0:
            return list(last)
        if self._moves:
            # A joint whose position is not known has no end of a range to brake before; one that
            # is beyond an end may not go further, and comes back as it is told to.
            measured = self.measured or [None] * len(wanted)
            pairs = list(zip(self._joint_limits, measured, strict=True))
            limits = [
                dataclasses.replace(j, low=-math.inf, high=math.inf) if m is None else j
                for j, m in pairs
            ]
            where = [0.0 if m is None else min(max(m, j.low), j.high) for j, m in pairs]
            return self._within(saturate(limits, seconds, where, last, None, wanted)[1])
        position, velocity, _, _ = saturate(
            self._joint_limits, seconds, last, self._velocity, wanted
        )
        self._velocity = velocity
        return self._within(position)

    def _within(self, values: Sequence[float]) -> list[float]:
        """Values moved into the limits."""
        return [
            min(max(value, low), high)
            for value, (low, high) in zip(values, self._limits, strict=True)
        ]

    def _expect(
        self, name: str, values: Sequence[float], limits: Sequence[tuple[float, float]]
    ) -> None:
        if len(values) != len(limits):
            raise UserError(f'parameter {name} has {len(values)} values, expected {len(limits)}')
        for value, (low, high) in zip(values, limits, strict=True):
            if not low <= value <= high:
                expected = 'numbers above 0'
                if limits is self._limits:
                    lows, highs = zip(*limits, strict=True)
                    expected = f'values within {list(lows)} and {list(highs)}'
                raise UserError(f'parameter {name} is {list(values)}, expected {expected}')
