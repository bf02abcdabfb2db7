"""The one place that decides what goes out to the robot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from proxy_snn_control.policy import UserError

STOP_PRESSED = "topic stop is true"
NOT_ARMED = "stopped; topic stop was released, ~/arm lets go on"


@dataclass(frozen=True)
class SafetySettings:
    """What is safe.

    Attributes:
        safe_command: the command sent on any fault, [outputs]; zeros if empty.
        hold: send the last command that was in order instead, once there is one.
        slew_rate: how far a number may change in a second, [outputs]; no limit if empty.
        ramp_in: seconds over which commands grow from the safe command to the policy's; counts
            from the next ramp on.
    """

    safe_command: Sequence[float] = ()
    hold: bool = False
    slew_rate: Sequence[float] = ()
    ramp_in: float = 0.0


class StopLatch:
    """The stop: latched once pressed, until it is released and then re-armed.

    Attributes:
        pressed: what the stop topic said last.
        fault: why nothing may go out, or "".
    """

    def __init__(self) -> None:
        self.pressed = False
        self.fault = ""

    def press(self, pressed: bool) -> None:
        """Take what the stop topic says."""
        self.pressed = pressed
        if pressed:
            self.fault = STOP_PRESSED
        elif self.fault:
            self.fault = NOT_ARMED

    def arm(self) -> None:
        """Let commands go out again.

        Raises:
            UserError: the stop is still pressed.
        """
        if self.pressed:
            raise UserError(f"{STOP_PRESSED}, expected it to be released first")
        self.fault = ""


class SafetyGate:
    """Turns what the policy wants into what the robot may get.

    Every number that is sent comes from `check`. In its order: the stop topic, the fault that was
    found on the way (stale, unreadable or not finite), finite, within the limits, ramp-in, slew
    rate. The safe command goes out at once, without slew.
    """

    def __init__(
        self,
        low: Sequence[float],
        high: Sequence[float],
        period: float,
        stop: StopLatch,
        settings: SafetySettings,
    ) -> None:
        """Set the limits [outputs], the control period in seconds, the stop, and what is safe.

        Raises:
            UserError: a setting has the wrong length or a value that cannot be.
        """
        # Plain lists: of a handful of numbers Python makes shorter work than NumPy.
        self._limits = list(zip(map(float, low), map(float, high), strict=True))
        self._period = period
        self._stop = stop
        self._last: Sequence[float] = []
        self.change(settings)
        self.start(0.0)

    def change(self, settings: SafetySettings) -> None:
        """Take other settings; those that are wrong leave the present ones."""
        safe = [float(value) for value in settings.safe_command] or self._within(
            [0.0] * len(self._limits)
        )
        self._expect("safe_command", safe, self._limits)
        slew = [float(value) for value in settings.slew_rate]
        if slew:
            self._expect("slew_rate", slew, [(1e-9, 1e300)] * len(self._limits))
        self._safe, self._hold, self._slew = safe, settings.hold, slew
        self._next_ramp = settings.ramp_in

    def start(self, now: float) -> None:
        """Begin to command, now (seconds): with a ramp from the safe command."""
        self._good: Sequence[float] | None = None
        self._last, self._last_time = self._safe, now
        self.ramp(now)

    def ramp(self, now: float) -> None:
        """Begin a ramp from what was sent last."""
        self._ramp, self._ramp_start, self._ramp_from = self._next_ramp, now, self._last

    @property
    def safe(self) -> Sequence[float]:
        """The command for a fault now, [outputs]."""
        return self._good if self._hold and self._good is not None else self._safe

    def check(
        self, command: Sequence[float] | None, fault: str, now: float
    ) -> tuple[Sequence[float], str]:
        """Decide what to send.

        Args:
            command: [outputs], whatever came of the policy; None if nothing did.
            fault: what was wrong on the way to it, "" if nothing.
            now: the time in seconds, on a clock that only goes forward.

        Returns:
            The command [outputs], and what was wrong ("" if nothing). If anything was, the command
            is the safe one.
        """
        fault = self._stop.fault or fault or self._fault(command)
        if fault or command is None:
            sent = self.safe
        else:
            sent = self._good = self._gently(command, now)
        self._last, self._last_time = sent, now
        return sent, fault

    def _fault(self, command: Sequence[float] | None) -> str:
        if command is None or len(command) != len(self._limits):
            found = "no" if command is None else len(command)
            return f"command has {found} values, expected {len(self._limits)}"
        for value, (low, high) in zip(command, self._limits, strict=True):
            if not low <= value <= high:  # NaN is within nothing
                what = "outside the limits" if math.isfinite(value) else "not finite"
                return f"command {list(command)} is {what}"
        return ""

    def _gently(self, command: Sequence[float], now: float) -> Sequence[float]:
        elapsed = now - self._ramp_start
        if elapsed >= self._ramp and not self._slew:
            return command
        gentle = list(command)
        if elapsed < self._ramp:
            share = elapsed / self._ramp
            pairs = zip(gentle, self._ramp_from, strict=True)
            gentle = self._within([begin + share * (value - begin) for value, begin in pairs])
        if self._slew:
            # A long silence is no licence for a leap.
            seconds = min(now - self._last_time, self._period)
            gentle = self._within(
                [
                    min(max(value, last - rate * seconds), last + rate * seconds)
                    for value, last, rate in zip(gentle, self._last, self._slew, strict=True)
                ]
            )
        return gentle

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
            raise UserError(f"parameter {name} has {len(values)} values, expected {len(limits)}")
        for value, (low, high) in zip(values, limits, strict=True):
            if not low <= value <= high:
                expected = "numbers above 0"
                if limits is self._limits:
                    lows, highs = zip(*limits, strict=True)
                    expected = f"values within {list(lows)} and {list(highs)}"
                raise UserError(f"parameter {name} is {list(values)}, expected {expected}")
