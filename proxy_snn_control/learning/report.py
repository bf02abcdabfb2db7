# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A report on finished runs: tables and curves over seeds, with notes on their limits.

docs/report.md defines every figure. A report is a list of sections, written as Markdown and as
LaTeX.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
import csv
from dataclasses import dataclass
import io
from pathlib import Path

import numpy as np
from proxy_snn_control.learning.comparison import (
    by_value,
    compare,
    Comparison,
    notes,
    PAPER_TASKS,
    valued,
)
from proxy_snn_control.learning.plot import draw_curves, save
from proxy_snn_control.learning.results import (
    COLLAPSED_BELOW,
    Group,
    group_runs,
    LAST,
    LEARNT_BEYOND,
    read_runs,
    Run,
    settings_of,
    shown,
    unlike_the_paper,
)
from proxy_snn_control.learning.seed_statistics import Interval
from proxy_snn_control.policy import load_policy, PolicyFileError, UserError
from proxy_snn_control.policy.energy import (
    equivalent_energy,
    equivalent_footprint,
    equivalent_multiply_accumulates,
    inference_energy,
    LEFT_OUT,
    neurobench,
    typical_observations,
)
from proxy_snn_control.policy.files import make_folder, write_bytes

COUNTED = 200
MEASURES = {'maximum': 'maximum', 'last': f'mean of the last {LAST}'}
COLLAPSED, SHORT, NONE = '†', '‡', '\N{EN DASH}'
AGAIN = '\N{CLOCKWISE OPEN CIRCLE ARROW}'


@dataclass(frozen=True)
class Section:
    """A heading with a text, a table under it if it has columns, and points if there are any."""

    title: str
    text: str = ''
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    points: tuple[str, ...] = ()


def write_report(paths: Sequence[Path], out: Path) -> None:
    """Write tables and curves of all runs in and below some folders into the folder `out`.

    Files of an earlier report there are replaced, each whole.

    Raises:
        UserError: a folder holds no run, no run has an evaluation, or a file cannot be written.
    """
    runs = read_runs(paths)
    if not any(len(run.steps) for run in runs):
        raise UserError(
            f'{runs[0].folder}: no evaluation with a finite return yet, nor in another run'
        )
    comparisons = compare(runs)
    sections = [section for comparison in comparisons for section in _sections(comparison)]
    figure = draw_curves(group_runs(runs))
    make_folder(out)
    save(figure, out / 'curves.png')
    save(figure, out / 'curves.pdf')
    write_bytes(out / 'table.csv', _csv(_group_rows(comparisons)))
    write_bytes(out / 'seeds.csv', _csv(_seed_rows(comparisons)))
    write_bytes(out / 'statistics.csv', _csv(_statistic_rows(comparisons)))
    write_bytes(out / 'table.tex', latex(sections).encode())
    write_bytes(out / 'table.md', markdown(sections, 'curves.png').encode())


def _sections(comparison: Comparison) -> Iterable[Section]:
    suffix = f' ({comparison.name})' if comparison.name else ''
    yield _main_table(comparison, 'maximum', f'Maximum average return{suffix}')
    yield _main_table(comparison, 'last', f'Mean of the last {LAST} evaluations{suffix}')
    yield Section(f'What to know before comparing{suffix}', points=tuple(notes(comparison)))
    yield _over_tasks(comparison, f'Over all tasks{suffix}')
    if len(comparison.learners) > 1:
        yield _improvements(comparison, f'Probability of improvement{suffix}')
    yield _every_seed(comparison, f'Every seed{suffix}')
    yield _collapses(comparison, f'Collapsed seeds{suffix}')
    yield from _costs(comparison, f'Operations of an action{suffix}')
    yield Section(f'Learners{suffix}', points=tuple(_learner_points(comparison)))
    yield _what_ran(comparison, f'What ran{suffix}')


def _main_table(comparison: Comparison, name: str, title: str) -> Section:
    sizes = {len(group.counted) for task in comparison.tasks for group in comparison.on(task)}
    what = {
        'maximum': 'the best evaluation of a run',
        'last': f"the mean of a run's last {LAST} evaluations",
    }[name]
    text = f"Of {what}: mean ± standard deviation over seeds (divided by n, as the paper's are)"
    text += f', n = {min(sizes)}.' if len(sizes) == 1 else ', n in brackets.'
    if any(group.collapsed for group in comparison.groups.values()):
        text += f' {COLLAPSED}k: k of these seeds collapsed; they are counted.'
    if any(run.begun_again is not None for run in comparison.runs):
        text += (
            f' {AGAIN}k: in place of k collapsed seeds others were begun; both are counted, so '
            'that n is larger.'
        )
    gains = comparison.baseline is not None
    if gains:
        text += f' APG: average performance gain over {comparison.baseline}.'
    rows = []
    for learner in comparison.learners:
        cells = [_cell(comparison, task, learner, name, sizes) for task in comparison.tasks]
        rows.append((learner, *cells, *([_gain(comparison, learner, name)] if gains else [])))
        if name == 'maximum' and (paper := comparison.paper(learner)):
            paper_name, figures, gain = paper
            cells = [
                '{} ± {}'.format(*figures[t]) if t in figures else NONE for t in comparison.tasks
            ]
            whole = set(PAPER_TASKS) <= set(comparison.tasks)
            apg = [(f'{gain:+.2f}%' if gain else '0') if whole else NONE] if gains else []
            rows.append((f"paper's {paper_name}", *cells, *apg))
    columns = ('learner', *comparison.tasks, *(['APG'] if gains else []))
    return Section(title, text, columns, tuple(rows))


def _cell(comparison: Comparison, task: str, learner: str, name: str, sizes: set[int]) -> str:
    group = comparison.group(task, learner)
    if group is None:
        return NONE
    figures, digits = group.figures(name), _digits(comparison, task)
    text = f'{figures.mean():.{digits}f}'
    if len(figures) > 1:
        text += f' ± {figures.std():.{digits}f}'
    if len(sizes) > 1:
        text += f' ({len(figures)})'
    dead = sum(run.seed in group.collapsed for run in group.counted)
    again = sum(run.begun_again is not None for run in group.counted)
    text += f' {COLLAPSED}{dead}' if dead else ''
    return text + (f' {AGAIN}{again}' if again else '')


def _digits(comparison: Comparison, task: str) -> int:
    """Decimals for the returns of a task."""
    largest = max(abs(group.figures('maximum')).max() for group in comparison.on(task))
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2


def _gain(comparison: Comparison, learner: str, name: str) -> str:
    found = comparison.gain(learner, name)
    if found is None:
        return NONE
    if learner == comparison.baseline:
        return '0'
    value, tasks = found
    return f'{value:+.2%}{_of_tasks(tasks, comparison)}'


def _of_tasks(tasks: int, comparison: Comparison) -> str:
    """Name over how many tasks a figure is, if not over all."""
    if tasks == len(comparison.tasks):
        return ''
    return f' ({tasks} task{"s" if tasks > 1 else ""})'


def _over_tasks(comparison: Comparison, title: str) -> Section:
    baseline = comparison.baseline
    one = f"{baseline}'s mean maximum" if baseline else "the best learner's mean maximum"
    text = (
        "IQM: interquartile mean of the seeds' scores on all tasks, with the 95% interval of a "
        "bootstrap that draws each task's seeds anew. A score is 0 at the untrained policies' "
        f'mean return and 1 at {one} of the task.'
    )
    columns = ['learner', 'IQM, maximum', f'IQM, last {LAST}']
    if baseline:
        text += f' P: probability that a run beats one of {baseline} on a task.'
        columns += ['P, maximum', f'P, last {LAST}']
    rows = []
    for learner in comparison.learners:
        row = [learner]
        row += [_estimate(comparison.iqm(learner, name), comparison) for name in MEASURES]
        if baseline:
            for name in MEASURES:
                other = learner != baseline
                found = comparison.improvement(learner, baseline, name) if other else None
                row.append(_estimate(found, comparison))
        rows.append(tuple(row))
    return Section(title, text, tuple(columns), tuple(rows))


def _estimate(found: tuple[float, Interval | None, int] | None, comparison: Comparison) -> str:
    if found is None:
        return NONE
    value, interval, tasks = found
    text = f'{value:.2f}'
    text += ' [{:.2f}, {:.2f}]'.format(*interval) if interval else ''
    return text + _of_tasks(tasks, comparison)


def _improvements(comparison: Comparison, title: str) -> Section:
    text = (
        "That a run of the row's learner beats one of the column's on a task, mean over tasks: by "
        f'the maximum / by the mean of the last {LAST}. statistics.csv has the intervals.'
    )
    rows = []
    for ours in comparison.learners:
        row = [ours]
        for theirs in comparison.learners:
            found = [comparison.improvement(ours, theirs, name) for name in MEASURES]
            known = ours != theirs and all(found)
            row.append(' / '.join(f'{each[0]:.2f}' for each in found if each) if known else NONE)
        rows.append(tuple(row))
    return Section(title, text, ('learner', *comparison.learners), tuple(rows))


def _every_seed(comparison: Comparison, title: str) -> Section:
    text = (
        f'Maximum / mean of the last {LAST} evaluations of each seed. {COLLAPSED}: collapsed. '
        f'{SHORT}: shorter than the longest seed of its task and learner, in no mean. '
        f'{NONE}: no run or no evaluation. {AGAIN} S: seed S was started in its place.'
    )
    seeds = sorted({run.seed for run in comparison.runs})
    rows = []
    for task in comparison.tasks:
        for learner in comparison.learners:
            group = comparison.groups.get((task, learner))
            there = {run.seed: run for run in group.runs} if group else {}
            cells = [_seed_cell(comparison, group, there.get(seed)) for seed in seeds]
            length = f'{group.length:,}' if group else NONE
            rows.append((task, learner, length, *cells))
    columns = ('task', 'learner', 'steps', *(f'seed {seed}' for seed in seeds))
    return Section(title, text, columns, tuple(rows))


def _seed_cell(comparison: Comparison, group: Group | None, run: Run | None) -> str:
    if group is None or run is None or not len(run.steps):
        return NONE
    digits = _digits(comparison, run.task) if comparison.on(run.task) else 0
    text = f'{run.maximum:.{digits}f} / {run.last:.{digits}f}'
    text += f' {COLLAPSED}' if run.seed in group.collapsed else ''
    text += f' {AGAIN} {run.begun_again}' if run.begun_again is not None else ''
    return text + (f' {SHORT}' if run in group.short else '')


def _collapses(comparison: Comparison, title: str) -> Section:
    text = (
        'A seed has collapsed if it was stopped, by on_collapse or because its numbers were no '
        'longer finite; if the '
        "actor's gradient was exactly zero at every update of the last interval between "
        f'evaluations; or if the mean of its last {LAST} evaluations is below '
        f"{COLLAPSED_BELOW:.0%} of the way from the untrained policies' mean return to the "
        'median, over the seeds of its task and learner, of the maximum, and has risen from the '
        "seed's own untrained return by less than this part of the median rise. The last rule is "
        f'not applied where that median is less than {LEARNT_BEYOND:g} standard errors of an '
        'evaluation above the untrained return, for then what a seed has learnt is hard to tell '
        'from chance.'
    )
    points = [
        f'{group.learner} on {task}, seed {seed}: {reason}.'
        for task in comparison.tasks
        for learner in comparison.learners
        if (group := comparison.groups.get((task, learner)))
        for seed, reason in group.collapsed.items()
    ]
    unclear = [
        f'{group.learner} on {task}'
        for task in comparison.tasks
        for group in comparison.on(task)
        if not group.learns
    ]
    points = points or ['None.']
    if unclear:
        points.append(f'Not judged by the last rule: {", ".join(unclear)}.')
    return Section(title, text, points=tuple(points))


def _costs(comparison: Comparison, title: str) -> Iterable[Section]:
    """Yield what the best policies of the seeds cost; no section where there is no policy."""
    rows = []
    for (task, learner), group in comparison.groups.items():
        counted, joules, ordinary = [], [], []
        for run in group.counted:
            with suppress(PolicyFileError):  # none was written yet, or not by this version
                policy = load_policy(run.folder / 'policy.safetensors')
                drawn = typical_observations(policy)[:COUNTED]
                counted.append(neurobench(policy, drawn))
                joules.append(inference_energy(policy.spec, counted[-1].effective_acs))
                ordinary.append(
                    (
                        equivalent_multiply_accumulates(policy.spec),
                        equivalent_footprint(policy.spec),
                        equivalent_energy(policy.spec) * 1e9,
                    )
                )
        if counted:
            sparsity, macs, acs, bytes_ = (
                float(np.mean([getattr(each, name) for each in counted]))
                for name in ('activation_sparsity', 'effective_macs', 'effective_acs', 'footprint')
            )
            numbers = f'{sparsity:.0%}', f'{macs:.0f}', f'{acs:.0f}', f'{bytes_:.0f}'
            most, its_bytes, its_joules = np.mean(ordinary, axis=0)
            of_relu = f'{most:.0f}', f'{its_bytes:.0f}', f'{its_joules:.1f}'
            rows.append((task, learner, *numbers, f'{np.mean(joules) * 1e9:.1f}', *of_relu))
    text = (
        "As NeuroBench counts, and nJ by the paper's constants (spikes that reach a synapse times "
        "77 fJ, multiply-accumulates of an ordinary network times 3.97 pJ): means over the seeds' "
        f'best policies, on {COUNTED} observations drawn as training saw them. The ordinary '
        'network has the same hidden layers, of ReLUs; all its operations are counted; '
        f'{LEFT_OUT}.'
    )
    counts = 'activation sparsity', 'effective MACs', 'effective ACs', 'footprint, bytes', 'nJ'
    columns = 'task', 'learner', *counts, 'ordinary: MACs', 'bytes', 'nJ'
    if rows:
        yield Section(title, text, columns, tuple(rows))


def _learner_points(comparison: Comparison) -> Iterable[str]:
    for learner in comparison.learners:
        runs = comparison.runs_of(learner)
        values = by_value(runs, settings_of)
        names = [
            'neuron',
            'target',
            'proxy_updates',
            'proxy_learning_rate',
            'hidden',
            'time_steps',
        ]
        listed = [
            f'{"K" if name == "proxy_updates" else name} {valued(values[name], runs)}'
            for name in [*names, 'steps', 'random_steps', 'eval_every', 'eval_episodes']
            if name in values
        ]
        other = {
            f"{name} {shown(value)} (paper's {shown(paper)})"
            for run in runs
            for name, (value, paper) in unlike_the_paper(run).items()
        }
        same = "All but the number of steps and the precision is the paper's for this neuron."
        text = f'{learner}: {", ".join(listed)}. '
        yield text + (f"Not the paper's: {', '.join(sorted(other))}." if other else same)


def _what_ran(comparison: Comparison, title: str) -> Section:
    runs = comparison.runs
    points = [
        f'{name} (setting): {valued(values, runs)}'
        for name, values in by_value(runs, settings_of).items()
        if name in ('device', 'precision', 'threads', 'paper_physics')
    ]
    points += [
        f'{name}: {valued(values, runs)}'
        for name, values in by_value(runs, lambda run: run.recorded).items()
    ]
    if not any(run.recorded for run in runs):
        points.append('Versions, processor and resolved device and precision were not recorded.')
    return Section(title, "As the runs' config.yaml have it.", points=tuple(points))


def markdown(sections: Sequence[Section], picture: str) -> str:
    """Return the sections as GitHub's Markdown, after a picture."""
    lines = ['# Learners compared', '', f'![learning curves]({picture})', '']
    for section in sections:
        lines += [f'## {_markdown_text(section.title)}', '']
        if section.text:
            lines += [_markdown_text(section.text), '']
        if section.columns:
            table = [section.columns, ('---',) * len(section.columns), *section.rows]
            lines += ['| ' + ' | '.join(map(_markdown_text, row)) + ' |' for row in table] + ['']
        if section.points:
            lines += [f'- {_markdown_text(point)}' for point in section.points] + ['']
    return '\n'.join(lines)


def _markdown_text(text: str) -> str:
    return ''.join('\\' + c if c in '\\|*<`[]' else c for c in text.replace('\n', ' '))


_LATEX = {
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '\n': ' ',
    '<': '$<$',
    '>': '$>$',
    '|': '$|$',
    '"': "''",
    '[': '{[}',
    ']': '{]}',
    '±': r'$\pm$',
    COLLAPSED: r'$^{\dagger}$',
    SHORT: r'$^{\ddagger}$',
    AGAIN: r'$\hookrightarrow$',
    NONE: '--',
    **{character: '\\' + character for character in '&%$#_{}'},
}


def latex(sections: Sequence[Section]) -> str:
    r"""Return the sections as LaTeX to \input: tables as floats, the rest as paragraphs."""
    lines = [r'% \input this file; it needs \usepackage{booktabs,graphicx}']
    for section in sections:
        title, text = _latex_text(section.title), _latex_text(section.text)
        if section.columns:
            width = r'\ifdim\width>\linewidth\linewidth\else\width\fi'
            lines += [
                r'\begin{table}[htbp]',
                r'\centering',
                rf'\caption{{{title}. {text}}}',
                r'\smallskip',
                rf'\resizebox{{{width}}}{{!}}{{%',
                rf'\begin{{tabular}}{{l{"r" * (len(section.columns) - 1)}}}',
                r'\toprule',
                _latex_row(section.columns),
                r'\midrule',
                *map(_latex_row, section.rows),
                r'\bottomrule',
                r'\end{tabular}}',
                r'\end{table}',
            ]
        else:
            lines += [rf'\paragraph{{{title}.}} {text}']
        if section.points:
            items = [rf'\item {_latex_text(point)}' for point in section.points]
            lines += [r'\begin{itemize}', *items, r'\end{itemize}']
        lines.append('')
    return '\n'.join(lines)


def _latex_text(text: str) -> str:
    return ''.join(_LATEX.get(character, character) for character in text)


def _latex_row(cells: Sequence[str]) -> str:
    return ' & '.join(map(_latex_text, cells)) + r' \\'


def _csv(rows: Iterable[dict[str, object]]) -> bytes:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _group_rows(comparisons: Sequence[Comparison]) -> Iterable[dict[str, object]]:
    """table.csv: a line for each task and learner, seeds in columns of `seed:figure` pairs."""
    for comparison in comparisons:
        papers = {learner: comparison.paper(learner) for learner in comparison.learners}
        for task in comparison.tasks:
            for learner in comparison.learners:
                group = comparison.groups.get((task, learner))
                runs = [run for run in group.runs if len(run.steps)] if group else []
                row: dict[str, object] = {
                    'comparison': comparison.name,
                    'task': task,
                    'learner': learner,
                    'steps': group.length if group else '',
                    'seeds': ' '.join(str(run.seed) for run in group.runs) if group else '',
                    'counted': ' '.join(str(run.seed) for run in group.counted) if group else '',
                    'collapsed': ' '.join(map(str, group.collapsed)) if group else '',
                }
                for name, column in (('maximum', 'max'), ('last', 'last10')):
                    figures = group.figures(name) if group and group.counted else np.array([])
                    row[f'{column}_mean'] = figures.mean() if len(figures) else ''
                    row[f'{column}_std'] = figures.std() if len(figures) > 1 else ''
                    row[f'{column}_by_seed'] = ' '.join(
                        f'{run.seed}:{getattr(run, name):.6g}' for run in runs
                    )
                paper = papers[learner]
                mean, deviation = paper[1].get(task, ('', '')) if paper else ('', '')
                yield {**row, 'paper_max_mean': mean, 'paper_max_std': deviation}


def _seed_rows(comparisons: Sequence[Comparison]) -> Iterable[dict[str, object]]:
    """seeds.csv: a line for each run."""
    for comparison in comparisons:
        for task in comparison.tasks:
            for learner in comparison.learners:
                group = comparison.groups.get((task, learner))
                for run in group.runs if group else ():
                    assert group
                    there = len(run.steps) > 0
                    yield {
                        'comparison': comparison.name,
                        'task': task,
                        'learner': learner,
                        'seed': run.seed,
                        'maximum': run.maximum if there else '',
                        'maximum_at_step': run.steps[run.returns.argmax()] if there else '',
                        'last10': run.last if there else '',
                        'evaluations': len(run.steps),
                        'evaluations_missing': len(run.missing),
                        'last_step': run.steps[-1] if there else '',
                        'planned_steps': run.planned or '',
                        'counted': int(run in group.counted),
                        'collapsed': group.collapsed.get(run.seed, ''),
                        'folder': run.folder,
                    }


def _statistic_rows(comparisons: Sequence[Comparison]) -> Iterable[dict[str, object]]:
    """statistics.csv: a line for each figure over tasks."""
    for comparison in comparisons:
        for name, measure in MEASURES.items():
            for learner in comparison.learners:
                gain = comparison.gain(learner, name)
                found = [
                    (
                        'average performance gain',
                        comparison.baseline,
                        gain and (gain[0], None, gain[1]),
                    ),
                    ('interquartile mean', '', comparison.iqm(learner, name)),
                ]
                found += [
                    (
                        'probability of improvement',
                        other,
                        comparison.improvement(learner, other, name),
                    )
                    for other in comparison.learners
                    if other != learner
                ]
                for statistic, other, estimate in found:
                    if estimate is None:
                        continue
                    value, interval, tasks = estimate
                    low, high = interval or ('', '')
                    yield {
                        'comparison': comparison.name,
                        'statistic': statistic,
                        'measure': measure,
                        'learner': learner,
                        'over': other,
                        'value': value,
                        'low95': low,
                        'high95': high,
                        'tasks': tasks,
                    }
