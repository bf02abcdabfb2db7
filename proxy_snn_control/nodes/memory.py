# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What is kept beyond the controller's process: that it was stopped, or that it was active.

A file in ROS's own folder ($ROS_HOME, or ~/.ros), named by the domain and the node. It exists
while a stop holds and while the controller commands; so if a new controller finds one, the last
was stopped, or ended without a shutdown.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
from pathlib import Path
import time
from typing import Any

from proxy_snn_control.nodes.aside import Aside, SLOW
from proxy_snn_control.policy import UserError
from proxy_snn_control.policy.files import read_file

FOLDER = 'proxy_snn_control'
STOPPED, ACTIVE = 'stopped', 'active'
_MAX_NAME = 200
_MAX_BYTES = 64


class Memory:
    """The file of one controller; it is written beside the control loop's thread."""

    def __init__(self, domain: int, node: str) -> None:
        """Prepare.

        Args:
            domain: the ROS domain.
            node: the node's fully qualified name.
        """
        home = os.environ.get('ROS_HOME') or Path.home() / '.ros'
        name = f'{domain}{node.replace("/", ".")}'
        if len(name) > _MAX_NAME:  # two that begin alike must not share a file
            name = f'{name[:_MAX_NAME]}.{hashlib.sha256(name.encode()).hexdigest()[:16]}'
        self._path = Path(home) / FOLDER / name
        self._aside = Aside()
        self._state: str | None = None
        self._writing: concurrent.futures.Future[Any] | None = None
        self._began = 0.0

    def recall(self) -> str:
        """Return how the last controller of this name ended: STOPPED, ACTIVE, or "" if in order.

        What cannot be read counts as STOPPED.
        """
        if not os.path.lexists(self._path):
            self._state = ''
            return ''
        try:
            content = read_file('state file', self._path, _MAX_BYTES)
        except UserError:
            content = b''
        self._state = ACTIVE if content == ACTIVE.encode() else STOPPED
        return self._state

    def keep(self, state: str, seconds: float = 0.0) -> None:
        """Write down a state, and wait for that so long at most; "" removes the file."""
        if state != self._state or self._failure is not None:
            self._state, self._began = state, time.monotonic()
            self._writing = self._aside.do(lambda: self._write(state))
        if self._writing is not None and seconds:
            concurrent.futures.wait([self._writing], seconds)

    @property
    def _failure(self) -> BaseException | None:
        done = self._writing is not None and self._writing.done()
        return self._writing.exception() if self._writing and done else None

    @property
    def trouble(self) -> str:
        """Why what was to be kept last could not be, or ""."""
        reason, error = '', self._failure
        if error is not None:
            reason = str(getattr(error, 'strerror', None) or error)
        elif self._writing is not None and not self._writing.done():
            seconds = time.monotonic() - self._began
            reason = (
                f'written for {seconds:.0f} s: does the drive respond?' if seconds > SLOW else ''
            )
        if not reason:
            return ''
        return (
            f'{self._path}: cannot be written ({reason}); a stop would be unknown to a '
            'controller that is started again'
        )

    def _write(self, state: str) -> None:
        if state:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Not replaced whole, for that could wait for the disk: what is written outlives this
            # process at once, and what is not counts as STOPPED.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o666)
            try:
                os.write(descriptor, state.encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        else:
            self._path.unlink(missing_ok=True)
