"""Stopping on SIGINT and SIGTERM: the handler only notes it, the work stops at its next safe place.

Imports nothing heavy, so that it can be in place before anything else is loaded.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ready = False
_requested = False


def install() -> None:
    """Take SIGINT and SIGTERM. Until `ready()` there is nothing to put in order: exit status 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)


def ready() -> None:
    """From now on a signal is only noted; ask `requested()`."""
    global _ready
    _ready = True
    if _requested:
        raise SystemExit(0)


def requested() -> bool:
    """Whether a signal has asked to stop."""
    return _requested


@contextmanager
def starting() -> Iterator[None]:
    """While modules load: whatever they make of a signal in their midst is a clean exit."""
    try:
        yield
    except BaseException:
        if _requested and not _ready:
            raise SystemExit(0) from None
        raise


def finish() -> None:
    """Ignore further signals: everything is in order, and the interpreter is about to end.

    Otherwise one that comes while Python winds down ends the process with a signal's status; launch
    and a terminal's Ctrl-C often both send one.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _requested
    already, _requested = _requested, True
    if not (_ready or already):
        raise SystemExit(0)
