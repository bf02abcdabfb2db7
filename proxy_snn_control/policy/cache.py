# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Compiled code that is kept on disk for the next start, where no other user can write.

The folder is `$XDG_CACHE_HOME/proxy_snn_control` or `~/.cache/proxy_snn_control`. Whoever can
write there can have code run here. So the folder and every file in it must be this user's, and
writable by no other user. A file begins with the SHA-256 of the rest: one that is truncated or
damaged is recompiled. Where nothing can be kept, everything is compiled at every start; a warning
gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import hashlib
import logging
import os
from pathlib import Path
import pickle
import stat
import sys
from typing import Any

from .errors import UserError
from .files import opened, write_bytes

MAX_BYTES = 2**26
_DIGEST_BYTES = 32
_log = logging.getLogger('proxy_snn_control')


def kept(name: str) -> bytes | None:
    """Return what was kept under this name; None if there is none, or others could write it."""
    if not (folder := _folder()) or not os.path.lexists(folder / name):
        return None
    try:
        with opened('compiled code', folder / name, MAX_BYTES) as (file, size):
            if not _is_ours(os.fstat(file.fileno())):
                _warn(
                    f'{folder / name} belongs to another user or can be written by others: '
                    'compiled code is not taken from there'
                )
                return None
            content = file.read(size)
    except UserError as error:
        _warn(f'{error}; it is recompiled')
        return None
    digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


def keep(name: str, content: bytes) -> None:
    """Keep bytes under this name for the next start, if that is possible."""
    if not (folder := _folder()):
        return
    try:
        write_bytes(folder / name, hashlib.sha256(content).digest() + content)
    except (OSError, UserError) as error:
        _warn(f'compiled code is not kept for the next start: {error}')


def _folder() -> Path | None:
    """Where compiled code is kept; None where other users could write code for us to run."""
    try:
        base = Path(os.environ.get('XDG_CACHE_HOME', ''))
        if not base.is_absolute():  # as in the XDG specification: then it does not count
            base = Path.home() / '.cache'
        folder = base / 'proxy_snn_control'
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ours = _is_ours(folder.stat())
    except (OSError, RuntimeError, ValueError) as error:
        _warn(f'compiled code is not kept for the next start: {error}')
        return None
    if not ours:
        _warn(
            f'{folder} belongs to another user or can be written by others: compiled code is '
            'neither taken from there nor kept there'
        )
        return None
    return folder


def _is_ours(about: os.stat_result) -> bool:
    others = stat.S_IWGRP | stat.S_IWOTH
    return about.st_uid == os.geteuid() and not about.st_mode & others


@functools.cache
def _warn(sentence: str) -> None:
    """Log a sentence once in a process: it would be the same for every compiled function."""
    _log.warning('%s', sentence)


def compiled(sources: bytes, *about: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's njit, as a decorator, with its compiled code kept as above.

    Numba's own cache fails at every start where its files are damaged or its folder cannot be
    written, and takes whatever lies there.

    Args:
        sources: bytes that change with the function, such as the text of its module: what was kept
            for others is not taken.
        about: what else distinguishes the function from others of its name.
        options: those of njit.
    """
    import numba

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        try:
            which = repr((function.__qualname__, about, sorted(options.items())))
            dispatcher._cache = _cache_class()(sources + which.encode(), function.__name__)
        except (ImportError, AttributeError, TypeError) as error:  # another Numba than we know
            _warn(f'compiled code is not kept for the next start: Numba: {error}')
        return dispatcher

    return decorate


@functools.cache
def _cache_class() -> Any:
    """Return the class whose instances stand in for Numba's own cache of one function."""
    import numba
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.serialize import dumps

    class Cache(NullCache):
        """Compiled functions as files of this package."""

        def __init__(self, function: bytes, name: str) -> None:
            self._function, self._name = function, name

        def load_overload(self, signature: Any, target_context: Any) -> Any:
            target_context.refresh()
            content = kept(self._file(signature, target_context.codegen()))
            if content is None:
                return None
            try:
                return CompileResult._rebuild(target_context, *pickle.loads(content))
            except Exception as error:  # whole, but of libraries that are others by now
                _warn(f'cached code is recompiled: {type(error).__name__}: {error}')
                return None

        def save_overload(self, signature: Any, result: Any) -> None:
            if result.library.has_dynamic_globals or any(not x.can_cache for x in result.lifted):
                return
            keep(self._file(signature, result.codegen), dumps(result._reduce()))

        def _file(self, signature: Any, codegen: Any) -> str:
            versions = numba.__version__, sys.implementation.cache_tag
            about = repr((versions, signature, codegen.magic_tuple()))
            digest = hashlib.sha256(self._function + about.encode()).hexdigest()
            return f'{self._name}-{digest[:24]}.numba'

    return Cache
