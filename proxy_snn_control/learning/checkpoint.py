# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of one run: everything it needs to go on as if it had never stopped.

checkpoint-STEP.safetensors holds weights, moments and the episodes under way as tensors; its
header holds counters, progress.csv and what the next line of it has gathered so far, as JSON. The
replay buffer is beside it, in files that are never changed once written,
replay-FIRST-LAST.safetensors: a checkpoint adds one with the transitions since the last
checkpoint, so that it is quick however many there are. The header lists those that belong to it,
and it is written last. The previous checkpoint stays until `prune`: whatever happens meanwhile,
one of the two is whole, and the members of a population can all go back to the same step. Each
file holds a checksum: a damaged one is not resumed from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import hashlib
import json
from pathlib import Path
import re
import sys
from typing import Any

import numpy as np
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import opened, remove, replacing
from safetensors import safe_open, SafetensorError
from safetensors.torch import save_file
import torch

VERSION = 7
# Files of transitions shorter than this are joined with the next, so that many checkpoints in a
# short time do not leave as many files.
JOINED = 10_000
Tensors = dict[str, torch.Tensor]
Spans = list[tuple[int, int]]


def path_of(folder: Path, step: int) -> Path:
    """Return the checkpoint's file."""
    return folder / f'checkpoint-{step:010d}.safetensors'


def steps(folder: Path) -> list[int]:
    """Return the steps of which there is a checkpoint, in order."""
    found = (re.fullmatch(r'checkpoint-(\d+)\.safetensors', p.name) for p in folder.glob('*'))
    return sorted(int(match[1]) for match in found if match)


def save(folder: Path, step: int, tensors: Tensors, state: dict[str, Any]) -> None:
    """Write a checkpoint, beside the one before.

    Raises:
        WriteError: it cannot be written.
    """
    _save(path_of(folder, step), tensors, json.dumps({'version': VERSION, **state}))


def save_transitions(
    folder: Path,
    spans: Spans,
    count: int,
    held: int,
    read: Callable[[int, int], dict[str, np.ndarray]],
) -> Spans:
    """Write the transitions since the last checkpoint.

    Args:
        folder: the checkpoint's.
        spans: the files there are, as this returned them the last time.
        count: transitions there ever were.
        held: how many of them, the last ones, are still in the replay buffer.
        read: gives transitions number `first` to `last` - 1.

    Returns:
        Which files now hold the replay buffer.
    """
    oldest = count - held
    spans = [(first, last) for first, last in spans if last > oldest]
    begin = max(spans[-1][1] if spans else 0, oldest)
    if begin == count:
        return spans
    if spans and spans[-1][1] - spans[-1][0] < JOINED and spans[-1][0] >= oldest:
        begin, _ = spans.pop()
    tensors = {name: torch.from_numpy(array) for name, array in read(begin, count).items()}
    _save(_transitions_path(folder, begin, count), tensors)
    return [*spans, (begin, count)]


def prune(folder: Path, step: int, spans: Spans) -> None:
    """Remove what the checkpoint of `step` does not need, or a kill -9 left half written."""
    kept = {path_of(folder, step), *(_transitions_path(folder, *span) for span in spans)}
    remove(path for path in folder.iterdir() if path not in kept)


def load(folder: Path, step: int) -> tuple[Tensors, dict[str, Any]]:
    """Read a checkpoint.

    Raises:
        UserError: it cannot be read, or is of another version.
    """
    path = path_of(folder, step)
    with reading(path):
        tensors, text = _load(path)
        state = json.loads(text)
        if state['version'] != VERSION:
            raise UserError(f'checkpoint {path} has version {state["version"]}, not {VERSION}')
        return tensors, state


def load_transitions(
    folder: Path,
    spans: Spans,
    write: Callable[[int, dict[str, np.ndarray]], None],
    shapes: Callable[[int], dict[str, tuple[int, int]]],
) -> None:
    """Read the replay buffer's files.

    Args:
        folder: the checkpoint's.
        spans: which.
        write: is given the number of a file's first transition, and its transitions.
        shapes: what their shapes should be, of so many transitions.

    Raises:
        UserError: a file cannot be read, or does not hold what it should by its name.
    """
    for first, last in spans:
        path = _transitions_path(folder, first, last)
        with reading(path):
            found = {name: tensor.numpy() for name, tensor in _load(path)[0].items()}
            if {name: array.shape for name, array in found.items()} != shapes(last - first):
                raise ValueError(f'it does not hold {last - first} transitions of this task')
            write(first, found)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what is wrong with a checkpoint's file into a sentence that names it."""
    try:
        yield
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = ' '.join(str(error).split())[:200]
        raise UserError(f'checkpoint {path} does not fit this run: {reason}') from None


def check_spans(spans: Spans, count: int, held: int) -> None:
    """Raise a ValueError unless the files hold, one after the other, the whole replay buffer."""
    ends = [last for _, last in spans]
    if [first for first, _ in spans][1:] != ends[:-1] or ends[-1:] != ([count] if count else []):
        raise ValueError(f'files of transitions {spans} are not those up to {count}')
    if spans and not (spans[0][0] <= count - held and all(a < b for a, b in spans)):
        raise ValueError(f'files of transitions {spans} lack some of the last {held}')


def _transitions_path(folder: Path, first: int, last: int) -> Path:
    return folder / f'replay-{first:010d}-{last:010d}.safetensors'


def _save(path: Path, tensors: Tensors, state: str = '') -> None:
    with replacing(path) as temporary:
        # Copies: safetensors takes no tensors that are views of one.
        whole = torch.contiguous_format
        copies = {k: t.detach().cpu().clone(memory_format=whole) for k, t in tensors.items()}
        metadata = {'state': state, 'sha256': _checksum(copies, state)}
        try:
            save_file(copies, temporary, metadata=metadata)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(str(error)) from None


def _load(path: Path) -> tuple[Tensors, str]:
    with opened('checkpoint', path, sys.maxsize), safe_open(path, 'pt') as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if 'sha256' not in metadata:
        raise ValueError('it has no checksum; an earlier version has written it')
    if metadata['sha256'] != _checksum(tensors, metadata['state']):
        raise ValueError('it is damaged: its checksum does not match its content')
    return tensors, metadata['state']


def _checksum(tensors: Tensors, state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f'{name} {tensor.dtype} {list(tensor.shape)}'.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
