# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The stop: latched when a publisher sends true, until all have sent false and it is re-armed."""

from __future__ import annotations

from collections.abc import Collection

from proxy_snn_control.policy import UserError

STOP_PRESSED = 'topic stop is true'
NOT_ARMED = 'stopped; topic stop was released; call ~/arm to continue'
# What a controller finds that is started after another of its name.
LATCHED = 'stopped before this controller was started; call ~/arm to continue'
DIED = (
    'a controller of this name was active and did not shut down in order; call ~/arm to continue'
)
# The publisher, where it is not known.
SOMEBODY = b''


class StopLatch:
    """The last message of every publisher of the stop topic, and whether commands may be sent.

    Attributes:
        fault: why only the safe command may be sent, or "".
    """

    def __init__(self, heartbeat: float = 0.0) -> None:
        """Begin armed.

        Args:
            heartbeat: seconds within which every known publisher must publish again,
                and there must be at least one; 0 for no check.
        """
        self.fault = ''
        self.heartbeat = heartbeat
        self._pressing: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._received: dict[bytes, float] = {}
        self._since = 0.0

    @property
    def pressed(self) -> bool:
        """Whether a publisher's last message is true."""
        return bool(self._pressing)

    def latch(self, fault: str) -> None:
        """Stop for another reason than the topic, until `arm`."""
        self.fault = fault

    def watch_from(self, now: float) -> None:
        """Begin to rely on a heartbeat, now (seconds): on those who publish it now."""
        self._since = now
        self._received = {w: now for w, t in self._received.items() if now - t <= self.heartbeat}

    def press(self, pressed: bool, publisher: bytes = SOMEBODY, now: float = 0.0) -> None:
        """Process a message of a publisher of the stop topic, now (seconds)."""
        self._received[publisher] = now
        if pressed:
            self._pressing.add(publisher)
            self._gone.discard(publisher)
            self.fault = STOP_PRESSED
            return
        # A stop of a publisher that is gone may be released by any other.
        self._pressing -= {publisher, *self._gone}
        self._gone.clear()
        if self.fault == STOP_PRESSED and not self._pressing:
            self.fault = NOT_ARMED

    def present(self, publishers: Collection[bytes]) -> None:
        """Set which publishers the stop topic has now."""
        self._gone = {who for who in self._pressing if who and who not in publishers}

    def silent(self, now: float) -> str:
        """Latch if a publisher has not published within the heartbeat; returns why, or ""."""
        if not self.heartbeat:
            return ''
        last = min(self._received.values(), default=self._since)
        if now - last <= self.heartbeat:
            return ''
        who = 'a publisher of topic stop has not' if self._received else 'topic stop has not been'
        reason = f'{who} published for more than {self.heartbeat:g} s; call ~/arm to continue'
        if not self.fault:
            self.fault = reason
        return reason

    def arm(self, now: float = 0.0) -> None:
        """Allow commands again.

        Raises:
            UserError: a publisher's last message is true, or the heartbeat is missing.
        """
        if self._pressing:
            count = len(self._pressing)
            by = f' by {count} publishers' if count > 1 else ''
            raise UserError(f'{STOP_PRESSED}{by}, expected it to be released first')
        if self.heartbeat:
            # Publishers that have gone do not count any more; there must be another one.
            self._received = {w: t for w, t in self._received.items() if now - t <= self.heartbeat}
            if not self._received:
                raise UserError(
                    f'topic stop has not been published for more than {self.heartbeat:g} s '
                    '(parameter stop_heartbeat), expected a publisher that repeats false'
                )
        self.fault = ''
