# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A node's log for a thread that must not wait.

rclpy's own looks up the line of source that logs, by reading the file that it is in: 14 ms at
first and 0.3 ms from then on, and as long as the drive takes if that does not answer (rclpy 9.1).
"""

from __future__ import annotations

import sys
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.impl.rcutils_logger import RcutilsLogger


class Log(RcutilsLogger):
    """rclpy's logger; where a message comes from is read off the caller's frame alone."""

    def log(
        self,
        message: str,
        severity: int | LoggingSeverity,
        name: str | None = None,
        **filters: Any,
    ) -> bool:
        """Log a message, if the level is not set higher, or with filters as rclpy does."""
        if filters:
            return bool(super().log(message, severity, name, **filters))
        severity = LoggingSeverity(severity)
        if not self.is_enabled_for(severity):
            return False
        caller = sys._getframe(2)  # behind `info`, `error` ...
        code = caller.f_code
        rclpy_implementation.rclpy_logging_rcutils_log(
            severity, name or self.name, message, code.co_name, code.co_filename, caller.f_lineno
        )
        return True
