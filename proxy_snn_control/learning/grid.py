# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The runs of a grid: environments x learners x seeds, each in DIR/ENV/LEARNER/seed-N.

What is done, begun or failed is read off the runs' folders alone, so that a sweep can be stopped
at any moment, shared between computers, and given again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import difflib
from pathlib import Path
import re
from typing import Any

import numpy as np
from proxy_snn_control.learning.config import (
    check_name,
    load_plugins,
    plain,
    RESUMABLE,
    resumed_config,
    TrainConfig,
)
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.results import (
    begun_again,
    read_failure,
    read_progress,
    ZERO_GRADIENT,
)
from proxy_snn_control.learning.tasks import TaskSpec
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import make_folder, read_file, write_bytes
from proxy_snn_control.yaml_file import MAX_BYTES, parse_yaml

COPY = 'grid.yaml'  # in the sweep's folder: the grid it was last given
PARTS = ('settings', 'environments', 'learners', 'seeds')
# Collapsed runs are begun again with their seed and so many times this, at most so often.
RESTART_STRIDE, RESTARTS = 100_000, 3
_FOLDER = re.compile(r'[A-Za-z0-9][A-Za-z0-9._+-]*')


# -- the grid


def read_grid(path: Path, out: Path) -> list[Member]:
    """Return the runs of a grid file: by learner, in each by task, in each by seed.

    Args:
        path: the file, of `settings`, `environments`, `learners` and `seeds`.
        out: the sweep's folder.

    Raises:
        UserError: no such file, or something in it is not as expected; names it.
    """
    return _members(path, read_file('grid file', path, MAX_BYTES), out)


def _members(path: Path, content: bytes, out: Path) -> list[Member]:
    where = f'grid file {path}'
    grid = parse_yaml('grid file', path, content)
    if not isinstance(grid, dict):
        raise UserError(f'{where}: expected a block for each of {", ".join(PARTS)}')
    for name in grid:
        if name not in PARTS:
            near = difflib.get_close_matches(str(name), PARTS, n=1)
            hint = f'; did you mean {near[0]}?' if near else f', expected {", ".join(PARTS)}'
            raise UserError(f'{where}: there is no block {name!r}{hint}')
    shared = _settings(f'{where}: settings', grid.get('settings'))
    environments = {_folder_of(where, env): env for env in _several(where, grid, 'environments')}
    if len(environments) < len(grid['environments']):
        raise UserError(f'{where}: two of the environments would have the same folder')
    learners = grid.get('learners')
    if not isinstance(learners, dict) or not learners:
        raise UserError(f'{where}: learners is {learners!r:.60}, expected names of settings')
    members = []
    for learner, own in learners.items():
        if not isinstance(learner, str) or not _FOLDER.fullmatch(learner):
            raise UserError(
                f'{where}: learner {learner!r} names a folder: expected letters, digits and '
                'any of . _ + -, a letter or digit first'
            )
        settings = {**shared, **_settings(f'{where}: learner {learner}', own)}
        load_plugins(settings)
        for folder, env in environments.items():
            for seed in _several(where, grid, 'seeds'):
                run = f'{folder}/{learner}/seed-{seed}'
                try:
                    config = TrainConfig(**{**settings, 'env': env, 'seed': seed})
                except UserError as error:
                    raise UserError(f'{where}: {run}: {error}') from None
                members.append(Member(config, out / run))
    return members


def open_sweep(grid: Path, out: Path) -> list[Member]:
    """Make the sweep's folder, or find it, and keep a copy of the grid in it.

    Returns:
        The grid's runs; those that have begun with the settings that they have.

    Raises:
        UserError: the folder holds something else, or runs of the same name with other settings;
            or a task cannot be made.
    """
    content = read_file('grid file', grid, MAX_BYTES)
    members = _members(grid, content, out)
    copy, kept = out / COPY, b''
    if copy.is_file():
        kept = read_file('grid file', copy, MAX_BYTES)
        earlier = _members(copy, kept, out)
        before = {folder: config for config, folder in earlier}
        if any(member.is_begun for member in earlier):
            for config, folder in members:
                _compare(grid, folder, config, before.get(folder, config))
    elif out.exists() and not (out.is_dir() and all(p.name[0] == '.' for p in out.iterdir())):
        raise UserError(f'folder {out} is not empty, and it holds no {COPY}: it is of no sweep')
    for task in {TaskSpec.of(member.config) for member in members}:
        task.make().close()  # an error now is better than one later
    try:
        begun = [as_begun(member) for member in members]
    except UserError as error:
        raise UserError(f'grid file {grid}: {error}') from None
    make_folder(out)
    if kept != content:
        write_bytes(copy, content)
    return begun


def share(members: Sequence[Member], text: str) -> list[Member]:
    """Return the I-th of N shares of the runs, for "I/N" with I from 1 to N.

    Shares are neighbours in the grid's order, so that runs that can be one batch stay together;
    their sizes differ by at most one.

    Raises:
        UserError: the text is no such share.
    """
    match = re.fullmatch(r'(\d{1,9})/(\d{1,9})', text)
    i, n = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= i <= n:
        raise UserError(f'--shard {text}: expected I/N with I from 1 to N, such as 1/4')
    begin, end = (i - 1) * len(members) // n, i * len(members) // n
    return list(members[begin:end])


def _settings(where: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise UserError(f"{where}: {given!r:.60}, expected lines of 'setting: value'")
    for name in given:
        if name in ('env', 'seed'):
            block = {'env': 'environments', 'seed': 'seeds'}[name]
            raise UserError(f'{where}: setting {name!r} has a block of its own, {block}')
        check_name(where, name)
    return given


def _several(where: str, grid: dict[str, Any], name: str) -> list[Any]:
    kind, expected = {'environments': (str, 'task ids'), 'seeds': (int, 'whole numbers')}[name]
    values = grid.get(name)
    if not isinstance(values, list) or not values:
        raise UserError(f'{where}: {name} is {values!r:.60}, expected a list of {expected}')
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f'{where}: {name} has {value!r:.60}, expected {expected}')
        if values.count(value) > 1:
            raise UserError(f'{where}: {name} has {value!r} twice')
    return values


def _folder_of(where: str, env: str) -> str:
    """Return a task's folder: its id, with `_` for what no folder's name has, such as : and /."""
    folder = re.sub(r'[^A-Za-z0-9._+-]', '_', env)
    if not _FOLDER.fullmatch(folder):
        raise UserError(f'{where}: environments has {env!r}, which gives no folder name')
    return folder


def _compare(grid: Path, folder: Path, config: TrainConfig, before: TrainConfig) -> None:
    kept = plain(before)
    for name, value in plain(config).items():
        if name not in RESUMABLE and value != kept[name]:
            raise UserError(
                f'grid file {grid}: {folder}: setting {name} is {value!r}, but this sweep was '
                f'begun with {kept[name]!r}; give the learner another name, or the sweep another '
                'folder'
            )


def as_begun(member: Member) -> Member:
    """Return the run with the settings that it recorded, such as what the precision "auto" was."""
    if not member.is_begun:
        return member
    given = plain(member.config)
    if not member.config.threads:  # then it is what each computer finds best
        del given['threads']
    return Member(resumed_config(member.folder, given), member.folder)


# -- what the folders hold


def is_done(member: Member) -> bool:
    """Whether the run was evaluated at its last step, or reached its goal."""
    config, folder = member
    progress = read_progress(folder)
    steps, means = progress['step'], progress['eval_return_mean']
    goal = np.inf if config.stop_at_return is None else config.stop_at_return
    return bool(((steps >= config.total_steps) | ((steps > 0) & (means >= goal))).any())


def steps_of(member: Member) -> int:
    """How far the run is, by its last evaluation."""
    steps = read_progress(member.folder)['step']
    return int(min(steps.max(initial=0), member.config.total_steps))


def restarted(members: Sequence[Member]) -> list[Member]:
    """Return the runs, and those that are begun with another seed in place of collapsed ones.

    A collapsed run whose settings are to restart it stays as it is, but for its failure.txt, which
    names the seed that takes its place, in a folder beside it. After `RESTARTS` of them the last
    one stays failed.
    """
    found = list(members)
    for member in members:
        first, last = member.config.seed, member
        for attempt in range(1, RESTARTS + 1):
            failure = read_failure(last.folder) or ''
            if last.config.on_collapse != 'restart' or ZERO_GRADIENT not in failure:
                break
            seed = (first + attempt * RESTART_STRIDE) % 2**32
            again = Member(
                replace(member.config, seed=seed), member.folder.with_name(f'seed-{seed}')
            )
            if begun_again('', seed) not in failure:
                text = begun_again(failure, seed)
                write_bytes(last.folder / 'failure.txt', f'{text}\n'.encode())
            last = as_begun(again)
            found.append(last)
    return found


def is_replaced(member: Member) -> bool:
    """Whether the run collapsed, and another was started in its place."""
    return begun_again('', 0)[:-1] in (read_failure(member.folder) or '')
