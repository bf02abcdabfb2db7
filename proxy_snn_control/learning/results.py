# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Results of runs: their folders found, read, named and compared.

Needs neither torch nor the tasks, so that results can be read where nothing can be trained.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
import csv
import dataclasses
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
import os
from pathlib import Path
import re
from typing import Any

import numpy as np
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import read_file
from proxy_snn_control.yaml_file import read_yaml

_MAX_PROGRESS_BYTES, _MAX_FAILURE_BYTES = 2**26, 2**16
LAST = 10  # evaluations whose mean is the steadier figure
# A seed has collapsed whose last evaluations lie below this share of the way from the untrained
# policy's return to the median, over the seeds, of the best evaluation.
COLLAPSED_BELOW = 0.25
# Only where learning shows: the median is so many standard errors of an evaluation above the
# untrained return. Of 200 evaluations that differ by chance alone, the best is about three above.
LEARNT_BEYOND = 4.0

# Settings that make no other learner: what is learnt, where, for how long, and how it is measured.
TASK_SETTINGS = ('env', 'env_kwargs', 'seed')
MACHINE_SETTINGS = ('device', 'threads', 'checkpoint_every', 'paper_physics')
SCHEDULE_SETTINGS = ('steps', 'eval_every', 'eval_episodes', 'stop_at_return', 'on_collapse')
ASIDE = (*TASK_SETTINGS, *MACHINE_SETTINGS, *SCHEDULE_SETTINGS)
_SPIKING_ALONE = (
    'time_steps',
    'surrogate',
    'encoder_',
    'decoder_',
    'neuron_constants',
    'spike_cost',
)
# Why a run is stopped, or counted among the collapsed.
ZERO_GRADIENT = (
    "the actor's gradient was exactly zero at every update of an interval between evaluations"
)
NOT_FINITE = 'is NaN or infinite'
_AGAIN = 'started again with seed '  # in the failure.txt of a run that another seed replaced
_SEED_FOLDER = re.compile(r'seed-(\d+)')


@dataclass(frozen=True, eq=False)
class Run:
    """One seed of one learner on one task.

    Attributes:
        folder: where it is.
        task: the task's id, with what its environment was given if anything was.
        learner: its name: the sweep's, or one made of its settings.
        seed: its seed.
        settings: config.yaml, without what follows.
        recorded: versions, device and the like as config.yaml has them, names joined by a point.
        steps: [evaluations] environment steps of each evaluation that has a finite return.
        returns: [evaluations] mean return over the evaluation's episodes.
        deviations: [evaluations] standard deviation over them.
        gradient: mean norm of the actor's gradient over the last interval; NaN where not known.
        missing: steps at which an evaluation was due and none is there.
        failure: why the run was stopped, if it was.
    """

    folder: Path
    task: str
    learner: str
    seed: int
    settings: dict[str, Any]
    recorded: dict[str, Any]
    steps: np.ndarray
    returns: np.ndarray
    deviations: np.ndarray
    gradient: float
    missing: tuple[int, ...]
    failure: str | None

    @property
    def begun_again(self) -> int | None:
        """Return the seed that a sweep began in place of this one after a collapse."""
        found = re.search(f'{_AGAIN}(\\d+)', self.failure or '')
        return int(found[1]) if found else None

    @property
    def stopped_by_collapse(self) -> bool:
        """Whether it was stopped for what it learnt, and not because its task failed."""
        return any(reason in (self.failure or '') for reason in (ZERO_GRADIENT, NOT_FINITE))

    @property
    def maximum(self) -> float:
        """Return the best evaluation."""
        return float(self.returns.max())

    @property
    def last(self) -> float:
        """Mean of the last evaluations, ten or as many as there are."""
        return float(self.returns[-LAST:].mean())

    @property
    def episodes(self) -> int:
        """Episodes of an evaluation; the paper's ten where its settings have none."""
        given = self.settings.get('eval_episodes')
        return given if isinstance(given, int) and given > 0 else 10

    @property
    def planned(self) -> int:
        """Environment steps the run was to take; 0 where its settings have none."""
        numbers = [self.settings.get(name) for name in ('random_steps', 'steps')]
        try:
            return int(sum(float(number) for number in numbers if number is not None))
        except (TypeError, ValueError):
            return 0

    @property
    def length(self) -> int:
        """Environment steps at its end; those planned if it ended at its `stop_at_return`."""
        if not len(self.steps):
            return 0
        goal = self.settings.get('stop_at_return')
        reached = isinstance(goal, (int, float)) and self.maximum >= goal
        return max(int(self.steps[-1]), self.planned if reached else 0)


@dataclass(frozen=True, eq=False)
class Group:
    """All seeds of one learner on one task, in order."""

    task: str
    learner: str
    runs: tuple[Run, ...]

    @cached_property
    def length(self) -> int:
        """Environment steps of the longest seed."""
        return max(run.length for run in self.runs)

    @cached_property
    def counted(self) -> tuple[Run, ...]:
        """Return the seeds that enter means: the longest, and those stopped by collapse."""
        return tuple(
            run
            for run in self.runs
            if len(run.steps) and (run.length >= self.length or run.stopped_by_collapse)
        )

    @cached_property
    def short(self) -> tuple[Run, ...]:
        """Return the seeds that ended, or are, before the longest: they enter no mean."""
        return tuple(run for run in self.runs if run not in self.counted)

    @cached_property
    def untrained(self) -> float | None:
        """Mean return before training, over the seeds; None where it was not evaluated."""
        first = [run.returns[0] for run in self.runs if len(run.steps) and run.steps[0] == 0]
        return float(np.mean(first)) if first else None

    @cached_property
    def reference(self) -> float:
        """Return the median, over the seeds, of the best evaluation; NaN without one."""
        return float(np.median([run.maximum for run in self.counted] or [np.nan]))

    @cached_property
    def rise(self) -> float:
        """Return the median, over the seeds, of the best evaluation less the untrained one."""
        rises = [run.maximum - run.returns[0] for run in self.counted if run.steps[0] == 0]
        return float(np.median(rises or [np.nan]))

    @cached_property
    def learns(self) -> bool:
        """Whether the seeds' returns rise so far that a seed whose do not has collapsed."""
        if self.untrained is None:
            return False
        errors = np.concatenate([run.deviations / run.episodes**0.5 for run in self.counted])
        known = errors[np.isfinite(errors)]
        error = float(np.median(known)) if len(known) else 0.0
        return self.reference - self.untrained > LEARNT_BEYOND * error

    @cached_property
    def collapsed(self) -> dict[int, str]:
        """Return the seeds that collapsed, each with the reason."""
        found, reference = {}, self.reference
        for run in self.runs:
            if run.stopped_by_collapse:
                found[run.seed] = f'stopped: {run.failure}'
            elif run.gradient == 0:
                found[run.seed] = ZERO_GRADIENT
            elif run in self.counted and len(run.steps) >= LAST and self.learns:
                assert self.untrained is not None
                bound = self.untrained + COLLAPSED_BELOW * (reference - self.untrained)
                # Its evaluations have starts of their own, which may be harder than the others'.
                risen = run.last - run.returns[0] if run.steps[0] == 0 else 0.0
                if run.last < bound and risen < COLLAPSED_BELOW * self.rise:
                    found[run.seed] = (
                        f'the mean of its last ten evaluations, {run.last:.4g}, is below '
                        f'{bound:.4g}: {COLLAPSED_BELOW:.0%} of the way from the untrained '
                        f"return, {self.untrained:.4g}, to the median of the seeds' maxima, "
                        f'{reference:.4g}'
                    )
        return found

    def figures(self, name: str) -> np.ndarray:
        """Return each one's `maximum` or `last`, [counted seeds]."""
        return np.array([getattr(run, name) for run in self.counted])


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read every run in and below the given folders: runs, populations, sweeps.

    A seed that a population is to train and that has not begun is among them, without evaluations.

    Raises:
        UserError: a folder holds no run, a file of a run is damaged, or the same seed of the same
            learner is in two folders that cannot be distinguished.
    """
    found: dict[Path, Run] = {}
    for path in paths:
        if not path.is_dir():
            reason = 'is not a folder' if path.exists() else 'No such file or directory'
            raise UserError(f'{path}: {reason}, expected the folder of a run, population or sweep')
        below = _find(path, set())
        if not below:
            raise UserError(f'{path}: holds no run, neither itself nor below: no progress.csv')
        for folder, settings in below:
            if folder.resolve() not in found:
                found[folder.resolve()] = _read(folder, settings)
    return _tell_apart(_name(list(found.values())))


def group_runs(runs: Iterable[Run]) -> dict[tuple[str, str], Group]:
    """Return the runs by task and learner, seeds in order."""
    gathered = defaultdict(list)
    for run in runs:
        gathered[run.task, run.learner].append(run)
    return {
        key: Group(*key, tuple(sorted(members, key=lambda run: run.seed)))
        for key, members in gathered.items()
    }


def learner_order(groups: dict[tuple[str, str], Group]) -> list[str]:
    """Names of the learners: ordinary networks, spiking ones, those with a proxy."""
    ranks = {}
    for (_, learner), group in groups.items():
        settings = group.runs[0].settings
        spiking, proxy = settings.get('neuron') != 'relu', settings.get('target') != 'soft'
        ranks[learner] = (spiking, proxy, learner)
    return sorted(ranks, key=lambda learner: ranks[learner])


def seeds_text(seeds: Iterable[int]) -> str:
    """Seeds as text: "seed 3", "seeds 0-2, 5"."""
    ordered = sorted(seeds)
    runs: list[list[int]] = []
    for seed in ordered:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    parts = [f'{run[0]}-{run[-1]}' if len(run) > 2 else ', '.join(map(str, run)) for run in runs]
    return f'seed{"s" if len(ordered) > 1 else ""} {", ".join(parts)}'


def settings_of(run: Run) -> dict[str, Any]:
    """Return the settings that have an effect, those left out at their default values."""
    settings = {**_defaults(run.settings), **run.settings}
    without: tuple[str, ...] = ()
    if settings.get('target') == 'soft':
        without += ('proxy_',)
    if settings.get('neuron') == 'relu':
        without += _SPIKING_ALONE
    if settings.get('surrogate') != 'tailed':
        without += ('surrogate_tail',)
    return {
        name: _plain(value)
        for name, value in settings.items()
        if not name.startswith(without or '\n')
    }


def unlike_the_paper(run: Run) -> dict[str, tuple[Any, Any]]:
    """Return the settings that are not the paper's for its neuron: name, (value, paper's)."""
    paper = settings_of(replace(run, settings=_defaults(run.settings)))
    return {
        name: (value, paper[name])
        for name, value in settings_of(run).items()
        if name in paper and value != paper[name] and name not in (*ASIDE, 'precision')
    }


def _find(path: Path, seen: set[Path]) -> list[tuple[Path, dict[str, Any] | None]]:
    """Folders of runs, with the settings of the population above those that have none yet."""
    if path.resolve() in seen:  # a link to a folder above it
        return []
    seen.add(path.resolve())
    if (path / 'progress.csv').exists():
        return [(path, None)]
    settings = _settings(path) if (path / 'config.yaml').exists() else {}
    seeds = settings.get('seed')
    below = []
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.name.startswith('.'):
            below += _find(child, seen)
    if isinstance(seeds, list) and len(seeds) > 1:
        begun = {folder.name for folder, _ in below}
        below += [
            (path / f'seed-{seed}', {**settings, 'seed': seed})
            for seed in seeds
            if f'seed-{seed}' not in begun
        ]
    return below or ([(path, None)] if 'seed' in settings else [])


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / 'config.yaml'
    settings = read_yaml('config file', path)
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise UserError(f"config file {path}: expected lines of 'setting: value'")
    return settings


def _read(folder: Path, inherited: dict[str, Any] | None) -> Run:
    """Read one run's files; its learner's name is only the sweep's, or empty."""
    own = (folder / 'config.yaml').exists() or inherited is None
    settings = dict(_settings(folder) if own else inherited or {})
    recorded = settings.pop('recorded', None)
    seed = settings.get('seed', 0)
    seed = seed[0] if isinstance(seed, list) and len(seed) == 1 else seed
    if not isinstance(seed, int) or isinstance(seed, bool):
        path = folder / 'config.yaml'
        raise UserError(f'config file {path}: setting seed is {seed!r}, expected a whole number')
    task = str(settings.get('env'))
    if 'env' not in settings:
        raise UserError(f'config file {folder / "config.yaml"}: has no setting env')
    if settings.get('env_kwargs'):
        task += f' {shown(_plain(settings["env_kwargs"]))}'
    columns = read_progress(folder)
    kept = np.isfinite(columns['eval_return_mean'])
    steps = columns['step'].astype(int)
    gradients = columns['actor_gradient_norm']
    return Run(
        folder=folder,
        task=task,
        learner=_sweep_learner(folder.resolve(), str(settings.get('env'))),
        seed=seed,
        settings=settings,
        recorded=_recorded(recorded),
        steps=steps[kept],
        returns=columns['eval_return_mean'][kept],
        deviations=columns['eval_return_std'][kept],
        gradient=float(gradients[-1]) if len(gradients) else float('nan'),
        missing=_missing(settings.get('eval_every'), steps, steps[kept]),
        failure=read_failure(folder),
    )


def read_failure(folder: Path) -> str | None:
    """Why a run was stopped, by its failure.txt; None if it was not."""
    path = folder / 'failure.txt'
    if not path.exists():
        return None
    return ' '.join(
        read_file('failure', path, _MAX_FAILURE_BYTES).decode('utf-8', 'replace').split()
    )


def begun_again(failure: str, seed: int) -> str:
    """Return a failure's sentence with the seed that was started in its place."""
    return f'{failure}; {_AGAIN}{seed}'


def read_progress(folder: Path, more: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Columns of a run's progress.csv by step, empty where there is none yet; a blank is NaN.

    Args:
        folder: the run's.
        more: columns beside those that every tool reads; NaN where the file has none.

    Raises:
        UserError: the file is no progress of a run.
    """
    path = folder / 'progress.csv'
    names = ('step', 'eval_return_mean', 'eval_return_std', 'actor_gradient_norm', *more)
    rows: dict[float, list[float]] = {}
    content = read_file('progress of a run', path, _MAX_PROGRESS_BYTES) if path.exists() else b''
    try:
        lines = csv.DictReader(content.decode('utf-8').splitlines())
        if content and not {'step', 'eval_return_mean'} <= set(lines.fieldnames or ()):
            raise ValueError('it has no columns step and eval_return_mean')
        for row in lines:
            numbers = [float(row.get(name) or 'nan') for name in names]
            if None in row or None in row.values() or not numbers[0] >= 0:
                raise ValueError(f'line {lines.line_num} is damaged')
            rows[numbers[0]] = numbers  # where a step occurs twice the later line counts
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f'{path}: is not the progress of a run: {error}') from None
    table = np.array([rows[step] for step in sorted(rows)]).reshape(-1, len(names))
    return dict(zip(names, table.T, strict=True))


def _missing(every: Any, steps: np.ndarray, evaluated: np.ndarray) -> tuple[int, ...]:
    """Return the steps up to the last line that should have a finite return and have none."""
    if not len(steps):
        return ()
    due = set(steps.tolist())
    if isinstance(every, int) and every > 0:
        due |= set(range(0, int(steps[-1]) + 1, every))
    return tuple(sorted(due - set(evaluated.tolist())))


def _sweep_learner(folder: Path, task: str) -> str:
    """LEARNER if the folder is DIR/ENV/LEARNER/seed-N of that task, else nothing."""
    if not _SEED_FOLDER.fullmatch(folder.name) or len(folder.parents) < 2:
        return ''
    names = {task, re.split('[:/]', task)[-1]}
    names |= {re.sub(r'-v\d+$', '', name) for name in names}
    parent = _letters(folder.parents[1].name)
    return folder.parent.name if parent in map(_letters, names) else ''


def _letters(name: str) -> str:
    return re.sub('[^a-z0-9]', '', name.lower())


def _name(runs: list[Run]) -> list[Run]:
    """Name the learners outside sweeps: the paper's name, and the settings that differ."""
    unnamed = defaultdict(list)
    for run in runs:
        if not run.learner:
            unnamed[_kind(run.settings)].append(run)
    names = {}
    for kind, members in unnamed.items():
        values = defaultdict(
            set
        )  # a setting that only differs between tasks makes no other learner
        for run in members:
            for setting, value in settings_of(run).items():
                values[run.task, setting].add(shown(value))
        differing = {setting for (_, setting), seen in values.items() if len(seen) > 1} - {*ASIDE}
        for run in members:
            listed = [
                f'K = {value}' if setting == 'proxy_updates' else f'{setting} {shown(value)}'
                for setting, value in settings_of(run).items()
                if setting in differing
            ]
            names[run.folder] = f'{kind} ({", ".join(listed)})' if listed else kind
    return [replace(run, learner=run.learner or names[run.folder]) for run in runs]


def _kind(settings: dict[str, Any]) -> str:
    """Return what the paper calls a learner of this neuron and target."""
    neuron, target = str(settings.get('neuron')), str(settings.get('target'))
    if neuron == 'relu':
        return {'soft': 'ANN (TD3)', 'proxy': 'ANN with proxy'}.get(target, f'ANN, {target}')
    named = {'proxy': 'PT-{}', 'soft': 'vanilla {}'}.get(target, '{}, ' + target)
    return named.format(neuron.upper())


def _tell_apart(runs: list[Run]) -> list[Run]:
    """Where a learner has a seed twice on a task, add to its name where each run came from."""
    by_seed = defaultdict(list)
    for run in runs:
        by_seed[run.task, run.learner, run.seed].append(run)
    twice = {key[1] for key, members in by_seed.items() if len(members) > 1}
    names = {}
    for learner in twice:
        folders = [run.folder.resolve() for run in runs if run.learner == learner]
        above = Path(os.path.commonpath(folders))
        for folder in folders:
            names[folder] = f'{learner} ({folder.relative_to(above).parts[0]})'
    found: dict[tuple[str, str, int], Run] = {}
    for run in runs:
        named = replace(run, learner=names.get(run.folder.resolve(), run.learner))
        other = found.setdefault((named.task, named.learner, named.seed), named)
        if other is not named:
            raise UserError(
                f'{other.folder} and {run.folder}: both are seed {run.seed} of {run.learner} on '
                f'{run.task}, expected one of them'
            )
    return list(found.values())


def _defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """Every setting at its default, the paper's, for this task, neuron and target."""
    return _defaults_of(*(str(settings.get(name)) for name in ('env', 'neuron', 'target')))


@lru_cache
def _defaults_of(env: str, neuron: str, target: str) -> dict[str, Any]:
    from proxy_snn_control.learning.config import TrainConfig

    try:
        return dataclasses.asdict(TrainConfig(env=env, neuron=neuron, target=target))
    except UserError:  # a neuron that is not here: a plugin's, or another version's
        return {}


def _plain(value: Any) -> Any:
    """Make lists and tuples alike, whole numbers and others alike."""
    if isinstance(value, (list, tuple)):
        return tuple(_plain(item) for item in value)
    if isinstance(value, dict):
        return {str(name): _plain(value[name]) for name in sorted(value, key=str)}
    return value


def shown(value: Any) -> str:
    """Return a setting's value as text."""
    if isinstance(value, dict):
        return '{' + ', '.join(f'{name}: {shown(item)}' for name, item in value.items()) + '}'
    if isinstance(value, tuple):
        return '[' + ', '.join(map(shown, value)) + ']'
    return f'{value:.6g}' if isinstance(value, float) else str(value)


def _recorded(given: Any) -> dict[str, Any]:
    """Return what a run recorded, by name; of what was another when it was resumed, both."""
    found: dict[str, list[Any]] = {}
    for part in given if isinstance(given, list) else [given]:
        for name, value in _flat('', part):
            values = found.setdefault(name, [])
            if value not in values:
                values.append(value)
    found.pop('from_step', None)
    return {
        name: values[0] if len(values) == 1 else ', then '.join(map(shown, values))
        for name, values in found.items()
    }


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    """Yield what a mapping of mappings holds, names joined by a point."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f'{name}.{key}' if name else str(key), item)
    elif name:
        yield name, _plain(value)
