"""The one place that decides what goes out to the robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proxy_snn_control.policy import UserError


class SafetyGate:
    """Turns what the policy wants into what the robot may get.

    Attributes:
        safe: the safe command, float64 [actions].
    """

    def __init__(
        self, low: Sequence[float], high: Sequence[float], safe_command: Sequence[float]
    ) -> None:
        """Set the limits and the safe command (all zeros, moved into the limits, if empty).

        Raises:
            UserError: the safe command has the wrong length or is outside the limits.
        """
        self._low, self._high = np.array(low, dtype=float), np.array(high, dtype=float)
        if not len(safe_command):
            self.safe = np.clip(np.zeros_like(self._low), self._low, self._high)
            return
        self.safe = np.array(safe_command, dtype=float)
        if self.safe.shape != self._low.shape:
            raise UserError(
                f"parameter safe_command has {self.safe.size} values, expected {self._low.size}"
            )
        if not (
            np.isfinite(self.safe) & (self.safe >= self._low) & (self.safe <= self._high)
        ).all():
            raise UserError(
                f"parameter safe_command is {self.safe.tolist()}, expected values within "
                f"{self._low.tolist()} and {self._high.tolist()}"
            )

    def check(self, action: np.ndarray) -> tuple[np.ndarray, str]:
        """Decide on an action.

        Args:
            action: [actions], whatever came out of the policy.

        Returns:
            The command float64 [actions], and what was wrong ("" if nothing). If anything was, the
            command is the safe one.
        """
        command = np.asarray(action, dtype=np.float64)
        if command.shape != self.safe.shape:
            return self.safe, f"action has shape {command.shape}, expected {self.safe.shape}"
        if not np.isfinite(command).all():
            return self.safe, f"action {command.tolist()} is not finite"
        if (command < self._low).any() or (command > self._high).any():
            return self.safe, f"action {command.tolist()} is outside the limits"
        return command, ""
