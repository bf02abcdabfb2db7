# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Stopping on a signal: the handler only notes it, the work stops at its next safe place.

Imports nothing heavy, so that it can be in place before anything else is loaded.
"""

from __future__ import annotations

import os
from pathlib import Path
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

_ready = False
_requested = False
_early_status = 0


def install(early_status: int = 0) -> None:
    """Take SIGINT and SIGTERM, and SIGHUP (a closed terminal) and SIGQUIT unless they are ignored.

    Until `ready()` there is nothing to put in order, and a signal ends the process on the spot
    with `early_status`: loading torch or MuJoCo takes seconds, in which an exception raised from
    here might be lost in a callback of a library.
    """
    global _early_status
    _early_status = early_status
    for number in SIGNALS:
        if number in SIGNALS[:2] or signal.getsignal(number) != signal.SIG_IGN:  # as by nohup
            signal.signal(number, _on_signal)


def ready() -> None:
    """From now on a signal only sets a flag; `requested()` returns it."""
    global _ready
    _ready = True


def requested() -> bool:
    """Whether a signal has requested a stop."""
    return _requested


def finish() -> None:
    """Ignore further signals: everything is in order, and the interpreter is about to end.

    Otherwise one that comes while Python winds down ends the process with a signal's status;
    launch and a terminal's Ctrl-C often both send one.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _requested
    _requested = True
    if _ready:
        return
    # Some modules look for their libraries in a child process while they load: it ends with us.
    for children in Path('/proc/self/task').glob('*/children'):
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
    if _early_status:
        os.write(2, b'stopped\n')
    os._exit(_early_status)
