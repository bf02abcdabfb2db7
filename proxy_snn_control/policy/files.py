# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Files of users: reading with bounds and without waiting; writing whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
import fcntl
import os
from pathlib import Path
import stat
from typing import BinaryIO

from .errors import UserError, WriteError


@contextmanager
def opened(
    kind: str, path: str | os.PathLike[str], limit: int, error: type[UserError] = UserError
) -> Iterator[tuple[BinaryIO, int]]:
    """Open a user's file for reading: only a regular one, of `limit` bytes or fewer.

    A pipe or a device is neither opened nor waited for, even if it replaces the file between check
    and opening. A network drive can still delay the reader, so no control loop reads a file.

    Args:
        kind: what the file is to the user, such as "config file"; messages begin with it.
        path: where it is.
        limit: the most bytes that it may have.
        error: what to raise.

    Returns:
        The file, and its size in bytes.

    Raises:
        UserError: no such file, no regular one, too large, or it cannot be read.
    """
    name = f'{kind} {os.fspath(path)}'
    if '\0' in os.fspath(path):
        raise error(f'{name}: is no name of a file')
    try:
        _check_regular(name, os.stat(path), error)
        with open(path, 'rb', opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            _check_regular(name, status, error)
            if status.st_size > limit:
                raise error(f'{name}: has {status.st_size} bytes, more than the {limit} it may')
            yield file, status.st_size
    except FileNotFoundError:
        raise error(f'{name}: no such file') from None
    except OSError as reason:
        raise error(f'{name}: cannot be read: {reason.strerror or reason}') from None


def read_file(
    kind: str, path: str | os.PathLike[str], limit: int, error: type[UserError] = UserError
) -> bytes:
    """Read a user's file whole. Arguments and errors are those of `opened`."""
    with opened(kind, path, limit, error) as (file, size):
        content = file.read(size)
        if len(content) < size:
            raise error(f'{kind} {os.fspath(path)}: became shorter while it was read')
        return content


def _check_regular(name: str, status: os.stat_result, error: type[UserError]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise error(f'{name}: is not a file but a {_kind_of(status.st_mode)}')


def _kind_of(mode: int) -> str:
    kinds = {stat.S_IFDIR: 'folder', stat.S_IFIFO: 'pipe', stat.S_IFSOCK: 'socket'}
    return kinds.get(stat.S_IFMT(mode), 'device')


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the name of an empty file beside `path`; flush it and rename it to `path` at the end.

    The file is new and has an unpredictable name. However it is written, it gets the mode of every
    new file of this process. If the block raises, it is removed and `path` is left as it was.

    Raises:
        UserError: there is a folder, a pipe, a device or a socket at `path`.
        WriteError: the file cannot be written (no such folder, no permission, disk full).
    """
    target = Path(path)
    check_target(target)
    temporary = target.with_name(f'.{os.urandom(8).hex()}.tmp')
    try:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(temporary, flags, 0o666)
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.close(descriptor)
            yield temporary
            descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW)
            try:
                os.fchmod(descriptor, mode)  # a library may have put a file of its own there
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            check_target(target)
            os.replace(temporary, target)
        except OSError as error:
            raise WriteError(f'{target}: cannot be written: {error.strerror or error}') from error
        _flush_folder(target.parent)
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_target(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written at `path`: there is nothing, or a regular file to replace.

    Raises:
        UserError: there is something else, such as a folder, a device or a pipe.
        WriteError: its folder does not exist, or cannot be read.
    """
    target = Path(path)
    if not target.name:
        raise UserError(f'{target}: is a folder, expected the name of a file')
    if '\0' in str(target):
        raise UserError(f'{target}: is no name of a file')
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError as error:
        if target.parent.is_dir():
            return
        raise WriteError(f'{target}: cannot be written: {error.strerror}') from None
    except OSError as error:
        raise WriteError(f'{target}: cannot be written: {error.strerror or error}') from None
    if not stat.S_ISREG(mode):
        raise UserError(f'{target}: cannot be written: it is a {_kind_of(mode)}, expected a file')


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the file at `path` by `content`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def remove(paths: Iterable[Path]) -> None:
    """Remove files that are no longer needed; one that cannot be removed stays."""
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
        raise UserError(f'{folder}: another process uses this folder') from None
    except OSError:  # a file system that cannot lock folders: there it is up to the user
        pass
    _claimed[folder.resolve()] = descriptor


def release(folder: Path) -> None:
    """Release a folder for other processes."""
    os.close(_claimed.pop(folder.resolve()))


def make_folder(path: Path) -> None:
    """Create a folder and its parents; a UserError with the reason where that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{path}: the folder cannot be made: {error.strerror}') from error
