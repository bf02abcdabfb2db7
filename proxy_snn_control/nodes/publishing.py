# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Publishing where the middleware may fail: the message is lost, and the node goes on.

A reliable publisher of Fast DDS gives a message up if its history cannot take it within
`max_blocking_time` (100 ms), and rclpy raises RCLError ("cannot publish data"). On a machine that
has more to do than it can, that is no defect of the node. All nodes publish by this function.
"""

from __future__ import annotations

import time
from typing import Any

from proxy_snn_control.nodes.process import sentence
from rclpy.exceptions import InvalidHandle
from rclpy.logging import get_logger
from rclpy.publisher import Publisher

# Seconds between two errors in the log.
COMPLAINT_SECONDS = 1.0

_complained = -COMPLAINT_SECONDS


def publish(publisher: Publisher[Any], message: Any, attempts: int = 1) -> bool:
    """Publish a message; log an error, at most once a second, if the middleware does not take it.

    Args:
        publisher: of its topic.
        message: of the publisher's type, or serialized.
        attempts: how often to try; each may take 100 ms where it fails.

    Returns:
        Whether the middleware has taken it.

    Raises:
        InvalidHandle: the publisher is destroyed.
    """
    reason = ''
    for _ in range(attempts):
        try:
            publisher.publish(message)
            return True
        except InvalidHandle:
            raise
        except RuntimeError as error:  # RCLError, and what the middleware itself throws
            reason = sentence(error)
    global _complained
    now = time.monotonic()
    if now - _complained >= COMPLAINT_SECONDS:
        _complained = now
        get_logger(publisher.logger_name).error(
            f'topic {publisher.topic_name}: a message is lost, the middleware did not take it '
            f'({reason})'
        )
    return False
