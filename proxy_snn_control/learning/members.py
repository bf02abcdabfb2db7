# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""From settings and a folder to the members of a population: one run, or one for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
import os
from pathlib import Path
from typing import Any, NamedTuple

from proxy_snn_control.learning.config import (
    configs_of,
    load_config,
    load_plugins,
    plain,
    resumed_config,
    set_values,
    TrainConfig,
)
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import is_taken, make_folder, remove, write_bytes
import yaml


class Member(NamedTuple):
    """One learner of a population: its settings, and the folder of its run."""

    config: TrainConfig
    folder: Path

    @property
    def is_begun(self) -> bool:
        """Whether there is a run in the folder to go on from."""
        return (self.folder / 'config.yaml').is_file()


def gather_settings(
    files: Sequence[Path], assignments: Sequence[str], given: dict[str, Any]
) -> dict[str, Any]:
    """Return settings from files, each over those before it, then assignments, then what is given.

    The plugins among them are loaded.

    Raises:
        UserError: a file cannot be read, a setting does not exist, or a plugin cannot be loaded.
    """
    settings: dict[str, Any] = {}
    for file in files:
        settings |= load_config(file)
    settings = set_values(settings, assignments)
    load_plugins(settings)
    if 'plugins' in given:  # beside those of the files
        given = {**given, 'plugins': [*(settings.get('plugins') or []), *given['plugins']]}
    settings = {**settings, **given}
    load_plugins(settings)
    return settings


def new_members(settings: dict[str, Any], out: Path) -> list[Member]:
    """Return the members to train into `out`: a run's folder, or one of a seed-N for each seed.

    Raises:
        UserError: a setting is no good, or `out` already holds something.
    """
    configs = configs_of(settings)
    if configs[0].on_collapse == 'restart':
        raise UserError("setting on_collapse is 'restart', expected warn or stop outside a sweep")
    if len(configs) == 1:
        check_free(out)
        return [Member(configs[0], out)]
    # With config.yaml alone it is of a population that was killed before it began.
    if not (out.is_dir() and os.listdir(out) == ['config.yaml']):
        check_free(out)
    return [_member(config, out) for config in configs]


def record_population(members: Sequence[Member]) -> None:
    """Write the config.yaml that `resumed_members` finds the members of `new_members` by.

    It is written before they begin, so that a population that is killed meanwhile can be resumed.

    Raises:
        UserError: it cannot be written.
    """
    out = members[0].folder.parent
    make_folder(out)
    whole = {**plain(members[0].config), 'seed': [config.seed for config, _ in members]}
    write_bytes(out / 'config.yaml', yaml.safe_dump(whole, sort_keys=False).encode())


def discard_population(members: Sequence[Member]) -> None:
    """Remove what `record_population` wrote, unless a member has begun."""
    if any(member.is_begun for member in members):
        return
    out = members[0].folder.parent
    remove([out / 'config.yaml'])
    for folder in (*(member.folder for member in members), out):
        with suppress(OSError):  # what is not empty holds something else
            folder.rmdir()


def resumed_members(out: Path, given: dict[str, Any]) -> list[Member]:
    """Return the members of a run, or of a population, to go on with.

    Args:
        out: the folder that `new_members` was given.
        given: the settings of this call.

    Raises:
        UserError: the folder holds no run, or a setting is to be changed that cannot be.
    """
    path = out / 'config.yaml'
    if not path.is_file():
        raise UserError(f'there is no run to resume in {out}: it has no config.yaml')
    settings = load_config(path)
    load_plugins(settings)
    if not isinstance(settings.get('seed'), list):
        return [Member(resumed_config(out, given), out)]
    seeds = given.pop('seed', settings['seed'])
    if seeds != settings['seed']:
        raise UserError(
            f'setting seed is {seeds}, but the runs in {out} have {settings["seed"]}; to resume, '
            'it cannot be changed'
        )
    members = []
    for config in configs_of(settings):
        member = _member(config, out)
        if member.is_begun:
            member = Member(resumed_config(member.folder, given), member.folder)
        elif given:
            changed = {**settings, **given, 'seed': config.seed}
            member = Member(TrainConfig(**changed), member.folder)
        members.append(member)
    return members


def check_free(folder: Path) -> None:
    """Check that a run can begin in a folder.

    Raises:
        UserError: something is there.
    """
    if is_taken(folder):
        raise UserError(
            f'run folder {folder} is not an empty folder; resume that run or choose another'
        )


def _member(config: TrainConfig, out: Path) -> Member:
    return Member(config, out / f'seed-{config.seed}')
