# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Learners side by side on the same tasks: which may be, the figures, and the caveats.

-v4 and -v5 of Gymnasium's MuJoCo tasks have other rewards: they never share a comparison.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
import re
from typing import Any

import numpy as np
from proxy_snn_control.learning.results import (
    Group,
    group_runs,
    LAST,
    learner_order,
    LEARNT_BEYOND,
    MACHINE_SETTINGS,
    Run,
    SCHEDULE_SETTINGS,
    seeds_text,
    settings_of,
    shown,
    TASK_SETTINGS,
    unlike_the_paper,
    ZERO_GRADIENT,
)
from proxy_snn_control.learning.seed_statistics import (
    improvement_over_tasks,
    Interval,
    iqm_over_tasks,
)

MUJOCO = {
    *('Ant', 'HalfCheetah', 'Hopper', 'Humanoid', 'HumanoidStandup', 'InvertedDoublePendulum'),
    *('InvertedPendulum', 'Pusher', 'Reacher', 'Swimmer', 'Walker2d'),
}
# Table 1 of Xu et al. 2025 (arXiv 2505.24161v2): mean and standard deviation of the maximum, five
# seeds, 1,000,000 training steps after 25,000 random ones; and the average performance gain in %.
PAPER_TASKS = ('InvertedDoublePendulum-v4', 'Ant-v4', 'HalfCheetah-v4', 'Hopper-v4', 'Walker2d-v4')
PAPER_STEPS = 1_025_000
PAPER: dict[tuple[str, str], tuple[str, tuple[tuple[int, int], ...], float]] = {
    ('relu', 'soft'): (
        'ANN (TD3)',
        ((7503, 3713), (4770, 1014), (10857, 475), (3410, 164), (4340, 383)),
        0.0,
    ),
    ('lif', 'soft'): (
        'vanilla LIF',
        ((9347, 1), (4294, 1170), (9404, 625), (3520, 94), (1862, 1450)),
        -10.54,
    ),
    ('clif', 'proxy'): (
        'PT-CLIF',
        ((9351, 1), (5014, 1074), (9663, 426), (3526, 112), (4564, 555)),
        5.46,
    ),
    ('dn', 'proxy'): (
        'PT-DN',
        ((9350, 1), (5400, 277), (9347, 666), (3507, 144), (4277, 650)),
        5.06,
    ),
    ('lif', 'proxy'): (
        'PT-LIF',
        ((9348, 1), (5383, 250), (10103, 607), (3385, 157), (4314, 423)),
        5.84,
    ),
}
# What may differ from the paper where its figures are shown beside ours, and is noted: the
# authors' own faster setting.
_FASTER = {'proxy_updates', 'proxy_learning_rate'}


@dataclass(frozen=True)
class Comparison:
    """Learners on tasks that may be compared in one table.

    Attributes:
        name: what its tasks have in common, such as "-v4"; empty where there is one comparison.
        groups: by task and learner; what was not run is not there.
    """

    name: str
    groups: dict[tuple[str, str], Group]

    @cached_property
    def tasks(self) -> list[str]:
        """Return the paper's tasks in its order, then the others."""
        order = {task: i for i, task in enumerate(PAPER_TASKS)}
        found = {task for task, _ in self.groups}
        return sorted(found, key=lambda task: (order.get(task, len(order)), task))

    @cached_property
    def learners(self) -> list[str]:
        """Their names, the baseline first."""
        names = learner_order(self.groups)
        return sorted(names, key=lambda name: name != self.baseline)

    @cached_property
    def runs(self) -> list[Run]:
        """All of them."""
        return [run for group in self.groups.values() for run in group.runs]

    @cached_property
    def ordinary(self) -> list[str]:
        """Return the learners that are plain TD3 of an ordinary actor, the baseline first.

        It is the one with the fewest settings other than the paper's, then with the most seeds.
        """
        ranked = []
        for learner in {learner for _, learner in self.groups}:
            runs = self.runs_of(learner)
            kinds = {(run.settings.get('neuron'), run.settings.get('target')) for run in runs}
            if kinds == {('relu', 'soft')}:
                changed = {name for run in runs for name in unlike_the_paper(run)}
                ranked.append((len(changed), -len(runs), learner))
        return [learner for *_, learner in sorted(ranked)]

    @property
    def baseline(self) -> str | None:
        """Return the learner that gains are relative to."""
        return self.ordinary[0] if self.ordinary else None

    def runs_of(self, learner: str) -> list[Run]:
        """All runs of a learner."""
        found = [group for (_, name), group in self.groups.items() if name == learner]
        return [run for group in found for run in group.runs]

    def group(self, task: str, learner: str | None) -> Group | None:
        """Return a learner on a task, if it has a run with an evaluation there."""
        group = self.groups.get((task, learner or ''))
        return group if group and group.counted else None

    def on(self, task: str) -> list[Group]:
        """All learners with an evaluation on a task."""
        found = (self.group(task, learner) for learner in self.learners)
        return [group for group in found if group]

    @cached_property
    def level(self) -> list[str]:
        """Return the tasks with equally many steps of all learners: only these are pooled."""
        return [task for task in self.tasks if len({g.length for g in self.on(task)}) == 1]

    def gain(self, learner: str, name: str) -> tuple[float, int] | None:
        """Average performance gain over the baseline: mean over tasks, and over how many.

        Relative to the baseline's mean; a task on which that is not above zero has no such gain.
        """
        gains = []
        for task in self.level:
            ours, theirs = self.group(task, learner), self.group(task, self.baseline)
            if ours and theirs and theirs.figures(name).mean() > 0:
                gains.append(ours.figures(name).mean() / theirs.figures(name).mean() - 1)
        return (float(np.mean(gains)), len(gains)) if gains else None

    @cached_property
    def scale(self) -> dict[str, tuple[float, float]]:
        """For each task that is pooled, the returns that are scores of 0 and 1.

        0 is the untrained policies' mean return, 1 the mean maximum of `scored_by`. A task for
        which `no_score` gives a reason is left out.
        """
        found = {}
        for task in self.level:
            group = self.scored_by(task)
            if group and not self.no_score(task):
                one = float(group.figures('maximum').mean())
                found[task] = (self._untrained(task), one)
        return found

    def scored_by(self, task: str) -> Group | None:
        """Return the learner whose mean maximum is a score of 1: the baseline, else the best."""
        if self.baseline:
            return self.group(task, self.baseline)
        return max(self.on(task), key=lambda g: g.figures('maximum').mean(), default=None)

    def no_score(self, task: str) -> str:
        """Why returns on a task have no scores, as the end of a sentence; "" if they have."""
        group = self.scored_by(task)
        if group is None:
            return f'there is no evaluation of {self.baseline}'
        if np.isnan(self._untrained(task)):
            return 'no policy was evaluated before training'
        if not group.learns or group.figures('maximum').mean() <= self._untrained(task):
            return f"{group.learner}'s returns do not rise beyond chance"
        return ''

    def _untrained(self, task: str) -> float:
        firsts = [g.untrained for g in self.on(task) if g.untrained is not None]
        return float(np.mean(firsts or [np.nan]))

    def iqm(self, learner: str, name: str) -> tuple[float, Interval | None, int] | None:
        """Interquartile mean of the normalised scores, its interval, and over how many tasks."""
        scores = []
        for task, (zero, one) in self.scale.items():
            if group := self.group(task, learner):
                scores.append((group.figures(name) - zero) / (one - zero))
        return (*iqm_over_tasks(scores), len(scores)) if scores else None

    def improvement(
        self, ours: str, theirs: str, name: str
    ) -> tuple[float, Interval | None, int] | None:
        """Probability that ours beats theirs on a task, its interval, and over how many tasks."""
        pairs = [(self.group(task, ours), self.group(task, theirs)) for task in self.level]
        both = [(a.figures(name), b.figures(name)) for a, b in pairs if a and b]
        if not both:
            return None
        return (*improvement_over_tasks(*zip(*both, strict=True)), len(both))

    def paper(self, learner: str) -> tuple[str, dict[str, tuple[int, int]], float] | None:
        """Return the paper's name of a learner, its figures on tasks here, and its average gain.

        None where the settings are not the paper's, its faster setting apart, or no task is.
        """
        runs = self.runs_of(learner)
        kinds = {(str(r.settings.get('neuron')), str(r.settings.get('target'))) for r in runs}
        changed = {name for run in runs for name in unlike_the_paper(run)}
        known = PAPER.get(next(iter(kinds))) if len(kinds) == 1 else None
        if known is None or not changed <= _FASTER:
            return None
        name, figures, gain = known
        here = {
            task: figure
            for task, figure in zip(PAPER_TASKS, figures, strict=True)
            if task in self.tasks
        }
        return (name, here, gain) if here else None


def compare(runs: Iterable[Run]) -> list[Comparison]:
    """Return the runs in as few comparisons as their tasks' versions allow.

    Two versions of one task, or of two of Gymnasium's MuJoCo tasks, are apart; what has none of
    these conflicts joins the only version there is, or is a version of its own.
    """
    groups = group_runs(runs)
    bases = defaultdict(set)
    for task, _ in groups:
        base, version = _versioned(task)
        bases['MuJoCo' if base in MUJOCO else base].add(version)
    parts: dict[str, dict[tuple[str, str], Group]] = defaultdict(dict)
    for (task, learner), group in groups.items():
        base, version = _versioned(task)
        bound = base in MUJOCO or len(bases[base]) > 1
        parts[version if bound else ''][task, learner] = group
    if len(parts) == 2 and '' in parts:
        parts = {'': {key: group for part in parts.values() for key, group in part.items()}}
    if len(parts) == 1:
        return [Comparison('', next(iter(parts.values())))]
    names = sorted(parts, key=lambda name: (not name, name))
    return [Comparison(name or 'other tasks', parts[name]) for name in names]


def _versioned(task: str) -> tuple[str, str]:
    """Return a task's id without and with nothing but its version: ("Hopper", "-v4")."""
    found = re.match(r'(.*?)(-v\d+)?(?: |$)', task)
    assert found
    return found[1], found[2] or ''


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader must know before comparing, one sentence or two each."""
    return [
        *_seed_notes(comparison),
        *_length_notes(comparison),
        *_pooling_notes(comparison),
        *_setting_notes(comparison),
        *_paper_notes(comparison),
    ]


def _seed_notes(comparison: Comparison) -> Iterable[str]:
    collapsed = {
        learner: sum(
            len(g.collapsed) for (_, name), g in comparison.groups.items() if name == learner
        )
        for learner in comparison.learners
    }
    if sum(collapsed.values()):
        listed = ', '.join(f'{learner} {count}' for learner, count in collapsed.items() if count)
        yield f'{sum(collapsed.values())} of {len(comparison.runs)} runs collapsed: {listed}.'
    found = defaultdict(list)  # what is to be noted, of which learners on which tasks
    for learner in comparison.learners:
        for task in comparison.tasks:
            for fact in _seed_facts(comparison, task, learner):
                found[fact].append((learner, task))
    for fact, places in found.items():
        tasks_of = defaultdict(list)
        for learner, task in places:
            tasks_of[learner].append(task)
        listed = '; '.join(
            learner + (f' on {", ".join(tasks)}' if len(comparison.tasks) > 1 else '')
            for learner, tasks in tasks_of.items()
        )
        yield f'{fact}: {listed}.'


def _seed_facts(comparison: Comparison, task: str, learner: str) -> Iterable[str]:
    group = comparison.groups.get((task, learner))
    if group is None:
        yield 'No run'
        return
    # What another learner was given in place of a collapsed seed, this one need not have.
    seeds = {run.seed for run in comparison.runs} - {run.begun_again for run in comparison.runs}
    if absent := seeds - {run.seed for run in group.runs}:
        yield f'No run of {seeds_text(absent)}, which others here have'
    if idle := [run.seed for run in group.runs if not len(run.steps)]:
        yield f'No evaluation yet of {seeds_text(idle)}'
    for run in group.short:
        if run.failure is not None and len(run.steps):
            yield (
                f'Seed {run.seed} was stopped by its task, so it is listed but enters no mean '
                f'({run.failure})'
            )
        elif len(run.steps):
            yield (
                f'Seed {run.seed} is at {run.length:,} steps, the longest at {group.length:,}, so '
                'it is listed but enters no mean'
            )
    if len(group.counted) == 1:
        yield 'One seed in the mean, so the spread over seeds is unknown'
    for run in group.counted:
        if run.begun_again is not None:
            yield (
                f'Seed {run.seed} collapsed, and seed {run.begun_again} was started in its place; '
                f'both are counted, the first with its evaluations up to step {run.length:,}'
            )
        elif run.stopped_by_collapse and run.length < max(group.length, run.planned):
            dead = ZERO_GRADIENT in (run.failure or '')
            why = 'for its collapse' if dead else 'for numbers that were not finite'
            yield (
                f'Seed {run.seed} was stopped {why}; it is counted with its evaluations up to '
                f'step {run.length:,}'
            )
        if run.missing:
            steps = ', '.join(f'{step:,}' for step in run.missing[:5])
            more = f' and {len(run.missing) - 5} more' if len(run.missing) > 5 else ''
            yield f'Seed {run.seed} lacks the evaluation at step {steps}{more}'
    if group.counted and group.untrained is not None and not group.learns:
        yield (
            'Returns do not rise beyond chance (the median maximum is less than '
            f'{LEARNT_BEYOND:g} standard errors of an evaluation above the untrained return)'
        )
    if few := [run.seed for run in group.counted if len(run.steps) < LAST]:
        yield (
            f"Fewer than {LAST} evaluations, the untrained policy's among them, so that the mean "
            f'of the last is over those there are ({seeds_text(few)})'
        )


def _length_notes(comparison: Comparison) -> Iterable[str]:
    for task in comparison.tasks:
        lengths = defaultdict(list)
        for group in comparison.on(task):
            lengths[group.length].append(group.learner)
        if len(lengths) > 1:
            listed = '; '.join(f'{", ".join(who)} {steps:,}' for steps, who in lengths.items())
            yield (
                f'{task}: learners have taken unequally many steps ({listed}), so their figures '
                'are of unequal training; the task is left out of all figures over tasks.'
            )
        for group in comparison.on(task):
            planned = max(run.planned for run in group.counted)
            if group.length < planned and not all(
                run.stopped_by_collapse for run in group.counted
            ):
                yield (
                    f'{group.learner} on {task}: unfinished, at {group.length:,} of {planned:,} '
                    'steps.'
                )


def _pooling_notes(comparison: Comparison) -> Iterable[str]:
    baseline, ordinary = comparison.baseline, comparison.ordinary
    if baseline is None:
        yield (
            'No ANN learner (neuron relu, target soft) is here: there is no performance gain, and '
            'scores are relative to the best learner of each task.'
        )
    elif len(ordinary) > 1:
        yield (
            f'{len(ordinary)} learners are ANNs ({", ".join(ordinary)}); gains are over '
            f"{baseline}, the one with the fewest settings other than the paper's, then with the "
            'most runs.'
        )
    for task in comparison.level:
        group = comparison.group(task, baseline)
        if group and group.figures('maximum').mean() <= 0:
            yield (
                f"{task}: {baseline}'s mean return is not above zero, so that there is no "
                'relative gain; the task is not in the average performance gain.'
            )
    for task in comparison.level:
        if why := comparison.no_score(task):
            yield f'{task}: left out of the interquartile mean, for {why}.'
    fewer = [
        learner
        for learner in comparison.learners
        if any(comparison.group(task, learner) is None for task in comparison.level)
    ]
    if fewer:
        yield (
            f'Figures over tasks are over fewer tasks for {", ".join(fewer)}, and do not compare '
            'with those of the others.'
        )
    sizes = {len(group.counted) for task in comparison.level for group in comparison.on(task)}
    if sizes and min(sizes) < 5:
        yield (
            f'Figures over tasks rest on {_span(sizes)} for each task and learner: a bootstrap '
            'over so few is narrower than it looks'
            + (', over one it has no width.' if 1 in sizes else '.')
        )
    if len(sizes) > 1:
        yield (
            'The interquartile mean pools unequally many seeds a task: tasks with more seeds '
            'weigh more in it.'
        )


def _span(sizes: set[int]) -> str:
    low, high = min(sizes), max(sizes)
    return f'{low} seed{"s" if low > 1 else ""}' if low == high else f'{low} to {high} seeds'


def _setting_notes(comparison: Comparison) -> Iterable[str]:
    for learner in comparison.learners:
        runs = comparison.runs_of(learner)
        for name, values in by_value(runs, settings_of).items():
            if len(values) < 2 or name in TASK_SETTINGS:
                continue
            inside = any(
                len({shown(settings_of(run).get(name)) for run in group.runs}) > 1
                for (_, other), group in comparison.groups.items()
                if other == learner
            )
            kind = 'two settings under one name' if inside else 'not the same on every task'
            if name in (*MACHINE_SETTINGS, *SCHEDULE_SETTINGS, 'precision'):
                kind = 'not the same in every run'
            yield f'{learner}: {kind}: {name} is {valued(values, runs)}.'
    physics = by_value(comparison.runs, settings_of).get('paper_physics', {})
    if len(physics) > 1:
        yield (
            'Runs differ in the contact margins of Hopper and Ant (paper_physics): '
            f'{valued(physics, comparison.runs)}.'
        )
    for name, values in by_value(comparison.runs, lambda run: run.recorded).items():
        if len(values) > 1:
            yield f'Runs differ in what was recorded: {name} is {valued(values, comparison.runs)}.'


def valued(values: dict[str, list[Run]], runs: Sequence[Run]) -> str:
    """Name which value which runs have; of many values only how many."""
    if len(values) == 1:
        return next(iter(values))
    if len(values) > 5:
        return f'one of {len(values)} values'
    return '; '.join(f'{value} ({whose(found, runs)})' for value, found in values.items())


def _paper_notes(comparison: Comparison) -> Iterable[str]:
    beside = [learner for learner in comparison.learners if comparison.paper(learner)]
    tasks = [task for task in comparison.tasks if task in PAPER_TASKS]
    if not tasks:
        ours = {_versioned(task)[0] for task in comparison.tasks}
        if near := [task for task in PAPER_TASKS if _versioned(task)[0] in ours]:
            yield (
                f"The paper's figures are of other versions of these tasks ({', '.join(near)}), "
                'whose rewards or physics differ; they are not shown here.'
            )
        return
    for learner in comparison.learners:
        runs = comparison.runs_of(learner)
        kind = (str(runs[0].settings.get('neuron')), str(runs[0].settings.get('target')))
        changed = sorted({name for run in runs for name in unlike_the_paper(run)})
        if learner not in beside and kind in PAPER and changed:
            yield (
                f'{learner}: no figures of the paper beside it, for its settings are not the '
                f"paper's ({', '.join(changed)})."
            )
        elif learner in beside and changed:
            values = '; '.join(
                f"{name} {shown(value)}, the paper's {shown(paper)}"
                for name, (value, paper) in unlike_the_paper(runs[0]).items()
            )
            yield f"{learner}: not the setting of the paper's table ({values})."
    if not beside:
        return
    lengths = {g.length for task in tasks for g in comparison.on(task) if g.learner in beside}
    if lengths - {PAPER_STEPS}:
        listed = ', '.join(f'{length:,}' for length in sorted(lengths))
        yield (
            f"The paper's figures are after {PAPER_STEPS:,} steps, the 25,000 random ones among "
            f'them; ours after {listed}.'
        )
    if {len(g.counted) for t in tasks for g in comparison.on(t) if g.learner in beside} - {5}:
        yield "The paper's figures are over five seeds; not all of ours are."
    moved = [
        task
        for task in ('Ant-v4', 'Hopper-v4')
        if task in tasks
        and any(
            not run.settings.get('paper_physics')
            for group in comparison.on(task)
            if group.learner in beside
            for run in group.runs
        )
    ]
    if moved:
        yield (
            f"{' and '.join(moved)}: the paper's were run with MuJoCo 2.3, whose contact margins "
            'for this task are half those of MuJoCo 3 and later (setting paper_physics).'
        )


def by_value(
    runs: Sequence[Run], read: Callable[[Run], dict[str, Any]]
) -> dict[str, dict[str, list[Run]]]:
    """For each name in what `read` gives of a run, the values as text and the runs with each."""
    tables = {run: read(run) for run in runs}
    names = dict.fromkeys(name for table in tables.values() for name in table)
    found: dict[str, dict[str, list[Run]]] = {}
    for name in names:
        values: dict[str, list[Run]] = defaultdict(list)
        for run, table in tables.items():
            values[shown(table[name]) if name in table else 'not there'].append(run)
        found[name] = dict(values)
    return found


def whose(some: Sequence[Run], runs: Sequence[Run]) -> str:
    """Name the runs, as shortly as can be."""
    parts = []
    chosen = set(some)
    learners = dict.fromkeys(run.learner for run in runs)
    for learner in learners:
        mine = [run for run in runs if run.learner == learner]
        name = learner if len(learners) > 1 else ''
        if set(mine) <= chosen:
            parts.append(name or 'all')
            continue
        seeds = {}  # on each task
        for task in dict.fromkeys(run.task for run in mine):
            here = [run for run in mine if run.task == task]
            if in_it := [run for run in here if run in chosen]:
                all_of_it = len(in_it) == len(here)
                seeds[task] = '' if all_of_it else f' {seeds_text(run.seed for run in in_it)}'
        if len(seeds) == len({run.task for run in mine}) and len(set(seeds.values())) == 1:
            parts.append((name + next(iter(seeds.values()))).strip())
        elif seeds:
            on = ', '.join(task + text for task, text in seeds.items())
            parts.append(f'{name} on {on}' if name else on)
    return ', '.join(parts)
