"""Writing files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError, WriteError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of a temporary file beside `path`; flush and rename it to `path` at the end.

    If the block raises, the temporary file is removed and whatever stood at `path` stays.

    Raises:
        WriteError: the file cannot be written (no such folder, no permission, disk full).
    """
    target = Path(path)
    if not target.name:
        raise UserError(f"{target}: is a folder, expected the name of a file")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            raise WriteError(f"{target}: cannot be written: {error.strerror or error}") from error
        _flush_folder(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the file at `path` by `content`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove(paths: Iterable[Path]) -> None:
    """Remove files that nobody needs; one that cannot be removed stays."""
    for path in list(paths):
        with suppress(OSError):
            path.unlink()


def _flush_folder(folder: Path) -> None:
    # A rename is durable only once its folder is flushed too.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_taken(path: Path) -> bool:
    """Whether something is there that a new folder must not be mixed with."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


_claimed: dict[Path, int] = {}


def claim(folder: Path) -> None:
    """Make a folder this process's own until `release`, or until it ends, however it ends.

    Raises:
        UserError: another process has it.
    """
    if folder.resolve() in _claimed:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(f"{folder}: another process is at work in this folder") from None
    except OSError:  # a file system that cannot lock folders: there it is up to the user
        pass
    _claimed[folder.resolve()] = descriptor


def release(folder: Path) -> None:
    """Give a folder free for other processes."""
    os.close(_claimed.pop(folder.resolve()))


def make_folder(path: Path) -> None:
    """Create a folder and its parents; a UserError says why where that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: the folder cannot be made: {error.strerror}") from error
