"""The one place that decides what goes out to the robot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
        ramp_in: seconds over which commands grow from the safe command to the policy's.
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
        low: np.ndarray,
        high: np.ndarray,
        period: float,
        stop: StopLatch,
        settings: SafetySettings,
    ) -> None:
        """Set the limits [outputs], the control period in seconds, the stop, and what is safe.

        Raises:
            UserError: a setting has the wrong length or a value that cannot be.
        """
        self._low, self._high = np.array(low, dtype=float), np.array(high, dtype=float)
        self._limits = list(zip(self._low.tolist(), self._high.tolist(), strict=True))
        self._period = period
        self._stop = stop
        self.change(settings)
        self.start(0.0)

    def change(self, settings: SafetySettings) -> None:
        """Take other settings; those that are wrong leave the present ones."""
        given = np.array(settings.safe_command, dtype=float)
        safe = given if given.size else np.clip(np.zeros_like(self._low), self._low, self._high)
        self._expect("safe_command", safe, self._low, self._high)
        slew = np.array(settings.slew_rate, dtype=float)
        if slew.size:
            self._expect("slew_rate", slew, np.full_like(slew, 1e-9), np.full_like(slew, np.inf))
        self._safe, self._hold, self._ramp = safe, settings.hold, settings.ramp_in
        self._slew = slew if slew.size else None

    def start(self, now: float) -> None:
        """Begin to command, now (seconds): the ramp starts, and from the safe command."""
        self._good: np.ndarray | None = None
        self._last, self._last_time = self._safe, now
        self._ramp_start = now

    @property
    def safe(self) -> np.ndarray:
        """The command for a fault now, float64 [outputs]."""
        return self._good if self._hold and self._good is not None else self._safe

    def check(self, command: np.ndarray | None, fault: str, now: float) -> tuple[np.ndarray, str]:
        """Decide what to send.

        Args:
            command: [outputs], whatever came of the policy; None if nothing did.
            fault: what was wrong on the way to it, "" if nothing.
            now: the time in seconds, on a clock that only goes forward.

        Returns:
            The command float64 [outputs], and what was wrong ("" if nothing). If anything was, the
            command is the safe one.
        """
        fault = self._fault(command, fault)
        if fault:
            sent = self.safe
        else:
            assert command is not None
            sent = self._good = self._gently(np.asarray(command, dtype=np.float64), now)
        self._last, self._last_time = sent, now
        return sent, fault

    def _fault(self, command: np.ndarray | None, fault: str) -> str:
        fault = self._stop.fault or fault
        if fault:
            return fault
        if command is None or command.shape != self._low.shape:
            found = None if command is None else command.shape
            return f"command has shape {found}, expected {self._low.shape}"
        # Of a handful of numbers plain Python makes shorter work than NumPy; NaN is within nothing.
        for number, (low, high) in zip(command.tolist(), self._limits, strict=True):
            if not low <= number <= high:
                what = "outside the limits" if math.isfinite(number) else "not finite"
                return f"command {command.tolist()} is {what}"
        return ""

    def _gently(self, command: np.ndarray, now: float) -> np.ndarray:
        elapsed = now - self._ramp_start
        if elapsed < self._ramp:
            command = self._safe + elapsed / self._ramp * (command - self._safe)
        if self._slew is not None:
            # A long silence is no licence for a leap.
            step = self._slew * min(now - self._last_time, self._period)
            command = np.clip(command, self._last - step, self._last + step)
        if elapsed < self._ramp or self._slew is not None:
            command = np.clip(command, self._low, self._high)
        return command

    def _expect(self, name: str, values: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        if values.shape != self._low.shape:
            raise UserError(f"parameter {name} has {values.size} values, expected {self._low.size}")
        if not (np.isfinite(values) & (values >= low) & (values <= high)).all():
            expected = (
                "numbers above 0"
                if np.isinf(high).all()
                else f"values within {low.tolist()} and {high.tolist()}"
            )
            raise UserError(f"parameter {name} is {values.tolist()}, expected {expected}")
