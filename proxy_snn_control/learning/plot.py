# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Pictures: learning curves of runs, and the spikes of a policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
import csv
import io
from pathlib import Path
import textwrap
import time
from typing import Any

import numpy as np
from proxy_snn_control.learning.results import (
    Group,
    group_runs,
    learner_order,
    read_progress,
    read_runs,
    Run,
    seeds_text,
)
from proxy_snn_control.learning.seed_statistics import student_t
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import replacing, write_bytes

RASTER_ACTIONS = 40
COLUMNS = 6  # runs in a picture of their health
ENERGY_EPISODES = 5
POLICY = 'policy.safetensors'
FORMATS = ('png', 'pdf', 'svg')
# Okabe and Ito's colours, which colour-blind readers distinguish, without the yellow; with eight
# markers no two of the first 56 learners look the same.
_COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
_MARKERS = 'os^DvPp*'
_END: dict[str, Any] = {'marker': 'X', 'markersize': 8, 'markeredgecolor': 'black'}
_PANEL = (4.3, 2.9)  # inches, without title
_LETTERS = 58  # in a line over a panel


def plot_runs(paths: Sequence[Path], out: Path) -> None:
    """Draw the evaluations of runs over environment steps: a panel a task, a line a learner.

    Args:
        paths: folders of runs, populations or sweeps.
        out: the picture; its suffix is the format.

    Raises:
        UserError: a folder holds no run or none with an evaluation, the format is unknown, or the
            picture cannot be written.
    """
    check_format(out)
    groups = group_runs(read_runs(paths))
    if not any(group.counted for group in groups.values()):
        folder = next(iter(groups.values())).runs[0].folder
        raise UserError(f'{folder}: no evaluation with a finite return yet, nor in another run')
    save(draw_curves(groups), out)


def check_format(out: Path) -> str:
    """Return the format of a picture, by its name.

    Raises:
        UserError: it is none of those that can be written.
    """
    suffix = out.suffix.lower().removeprefix('.')
    if out.name and suffix not in FORMATS:
        expected = ', '.join(f'.{name}' for name in FORMATS)
        raise UserError(f'{out}: its suffix is {out.suffix!r}, expected one of {expected}')
    return suffix


def save(figure: Any, out: Path) -> None:
    """Write a figure in the format of the file's suffix, whole or not at all."""
    import matplotlib

    kind = check_format(out)
    # Fonts as outlines that printers and journals take; PostScript's Type 3 many refuse.
    with replacing(out) as temporary, matplotlib.rc_context({'pdf.fonttype': 42}):
        figure.savefig(temporary, dpi=150, format=kind)


def draw_curves(groups: dict[tuple[str, str], Group]) -> Any:
    """Return the figure of learning curves.

    One line a learner, the mean over its seeds; a thin line for each seed, dashed if it collapsed.
    The band is the 95% interval of the mean by Student's t; of two seeds it is their range, for
    which that interval means nothing. Where no learner has a second seed, it is the standard
    deviation over the evaluation's episodes. The mean is dotted where a seed that counts has
    ended.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    drawn = {key: group for key, group in groups.items() if any(len(r.steps) for r in group.runs)}
    tasks = sorted({task for task, _ in drawn})
    learners = learner_order(drawn)
    single = all(len(group.runs) == 1 for group in drawn.values())
    across = len(tasks) if len(tasks) < 4 else -(-len(tasks) // 2)
    across = min(across, 3)
    down = -(-len(tasks) // across)
    width, height = (_PANEL[0] * across, _PANEL[1] * down) if len(tasks) > 1 else (6.6, 4.0)
    longest = max(int(run.steps[-1]) for g in drawn.values() for run in g.runs if len(run.steps))
    unit, unit_name = _unit(longest)
    figure = Figure(layout='constrained')
    panels = figure.subplots(down, across, squeeze=False)
    titles = {task: _panel_title(task, learners, drawn) for task in tasks}
    looks = _looks(learners)
    for i, look in enumerate(looks.values()):  # shares of the axis, no two alike
        look |= {'markersize': 4, 'markevery': ((0.3 + i) / len(learners) / 8, 1 / 8)}
    used: set[str] = set()
    for panel, task in zip(panels.flat, tasks, strict=False):
        limits: list[float] = []
        for learner in learners:
            if (task, learner) in drawn:
                group = drawn[task, learner]
                used |= _draw_group(panel, group, looks[learner], unit, single, limits)
        low, high = min(limits), max(limits)
        margin = 0.25 * (high - low)  # a band of few seeds may be far wider than all that was seen
        below, above = panel.get_ylim()
        if high > low:
            panel.set_ylim(max(below, low - margin), min(above, high + margin))
        panel.set_title(titles[task], loc='left', fontsize='small')
        panel.set_xlabel(f'environment steps{unit_name}')
        panel.set_ylabel('evaluation return\n(sum of rewards of an episode)')
        panel.grid(alpha=0.25, linewidth=0.5)
        panel.spines[['top', 'right']].set_visible(False)
    for i in range(len(tasks), panels.size):
        panels.flat[i].set_axis_off()
    handles = [Line2D([], [], label=learner, **look) for learner, look in looks.items()]
    styles: dict[str, dict[str, Any]] = {
        'one seed': {'linewidth': 0.8},
        'collapsed seed': {'linewidth': 1.2, 'linestyle': '--', **_END},
        'mean without a seed that has ended': {'linestyle': ':'},
    }
    handles += [
        Line2D([], [], color='grey', label=label, **style)
        for label, style in styles.items()
        if label in used
    ]
    letters = max(len(str(handle.get_label())) for handle in handles) + 7
    columns = max(1, min(len(handles), int(width * 13 / letters)))
    heights = [titles[task].count('\n') + 1 for task in tasks]
    lines = sum(max(heights[i:][:across]) for i in range(0, len(tasks), across))
    lines += 2 - (-len(handles) // columns)  # what the bands are, and the legend
    figure.set_size_inches(width, height + 0.21 * lines)
    figure.legend(
        handles=handles, loc='outside lower center', ncols=columns, fontsize='small', frameon=False
    )
    figure.suptitle(textwrap.fill(_band_text(drawn, single), int(width * 13)), fontsize='small')
    return figure


def _looks(learners: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of each learner."""
    return {
        learner: {'color': _COLOURS[i % len(_COLOURS)], 'marker': _MARKERS[i % len(_MARKERS)]}
        for i, learner in enumerate(learners)
    }


def _draw_group(
    panel: Any, group: Group, look: dict[str, Any], unit: int, single: bool, limits: list[float]
) -> set[str]:
    """Draw one learner on one task; adds to `limits` what was drawn, returns the styles used."""
    used = set()
    colour = look['color']
    alone = len(group.runs) == 1
    for run in group.runs:
        if not len(run.steps):
            continue
        limits += run.returns.tolist()
        x = run.steps / unit
        collapsed = run.seed in group.collapsed
        if collapsed:
            panel.plot(x, run.returns, '--', color=colour, linewidth=1.2, zorder=4)
            panel.plot(x[-1:], run.returns[-1:], color=colour, zorder=5, **_END)
            used.add('collapsed seed')
        elif not alone:
            panel.plot(x, run.returns, color=colour, linewidth=0.6, alpha=0.35, zorder=1.5)
            used.add('one seed')
        if single:
            low, high = run.returns - run.deviations, run.returns + run.deviations
            panel.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            limits += [*low[np.isfinite(low)].tolist(), *high[np.isfinite(high)].tolist()]
    if not group.counted or (alone and group.collapsed):
        return used
    steps, mean, low, high, whole = over_seeds(group)
    if not whole.all():
        panel.plot(steps / unit, mean, ':', color=colour, linewidth=1.6, zorder=3)
        used.add('mean without a seed that has ended')
    panel.plot(steps / unit, np.where(whole, mean, np.nan), linewidth=1.6, zorder=3, **look)
    panel.fill_between(steps / unit, low, high, color=colour, alpha=0.13, linewidth=0)
    return used


def over_seeds(group: Group) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean and 95% interval over the seeds that count.

    Returns:
        [evaluations] each: steps; mean; lower and upper bound, NaN with one seed and the range
        with two; whether all the seeds are in it.
    """
    steps = np.unique(np.concatenate([run.steps for run in group.counted]))
    returns = np.full((len(group.counted), len(steps)), np.nan)
    for row, run in zip(returns, group.counted, strict=True):
        row[np.searchsorted(steps, run.steps)] = run.returns
    counts = np.isfinite(returns).sum(axis=0)
    mean = np.nanmean(returns, axis=0)
    low, high = np.full((2, len(steps)), np.nan)
    for count in np.unique(counts[counts > 1]):
        here = returns[:, counts == count]
        if count == 2:
            low[counts == count], high[counts == count] = np.nanmin(here, 0), np.nanmax(here, 0)
            continue
        half = student_t(int(count) - 1) * np.nanstd(here, axis=0, ddof=1) / count**0.5
        low[counts == count] = mean[counts == count] - half
        high[counts == count] = mean[counts == count] + half
    return steps, mean, low, high, counts == len(group.counted)


def _panel_title(task: str, learners: list[str], groups: dict[tuple[str, str], Group]) -> str:
    """Return the task, and each learner's seeds; learners of the same seeds are one entry."""
    listed = defaultdict(list)
    for learner in learners:
        if (task, learner) not in groups:
            listed['no run'].append(learner)
            continue
        group = groups[task, learner]
        text = seeds_text(run.seed for run in group.runs)
        if group.short:
            text += f' ({seeds_text(run.seed for run in group.short)} shorter, not in the mean)'
        listed[text].append(learner)
    lines = [task]
    kept = '\N{NO-BREAK SPACE}'  # for the wrapping alone
    for text, names in listed.items():
        who = ', '.join(names)
        if len(who) > _LETTERS and len(listed) == 1:  # the legend names them
            who = f'all {len(names)} learners'
        lines.append(f'{who}: {text.replace(" ", kept, 1)}')
    return '\n'.join(textwrap.fill(line, _LETTERS) for line in lines).replace(kept, ' ')


def _band_text(groups: dict[tuple[str, str], Group], single: bool) -> str:
    if single:
        return "Lines: evaluations. Bands: standard deviation over an evaluation's episodes."
    sizes = {len(group.counted) for group in groups.values()}
    text = 'Lines: mean over seeds, thin: each seed.'
    if max(sizes) > 2:
        text += " Bands: 95% interval of the mean over seeds (Student's t)"
        text += ', with two seeds their range.' if 2 in sizes else '.'
    elif 2 in sizes:
        text += ' Bands: range of the two seeds.'
    return text + (' One seed: no band.' if 1 in sizes else '')


def _unit(longest: int) -> tuple[int, str]:
    """Return what the steps are counted in, and its name for the axis."""
    if longest >= 1_000_000:
        return 1_000_000, ' (millions)'
    return (1000, ' (thousands)') if longest >= 10_000 else (1, '')


def plot_health(paths: Sequence[Path], out: Path) -> None:
    """Draw a column for each run, to diagnose a collapse: return, value, gradient, potentials.

    Everything is out of progress.csv; what an older one lacks stays blank.

    Raises:
        UserError: a folder holds no run, there are more than `COLUMNS`, or the picture cannot be
            written.
    """
    from matplotlib.figure import Figure

    check_format(out)
    runs = read_runs(paths)
    if len(runs) > COLUMNS:
        raise UserError(f'--health draws {COLUMNS} runs at most, but {len(runs)} are given')
    layers = range(1, 1 + max(len(run.settings.get('hidden', (0, 0))) for run in runs) + 1)
    windows = [f'inside_window_{i}' for i in layers]
    rows = [
        read_progress(run.folder, ['actor_loss', 'saturated_outputs', *windows]) for run in runs
    ]
    longest = max(float(each['step'].max(initial=0)) for each in rows)
    unit, unit_name = _unit(int(longest))
    figure = Figure((max(6.6, 3.6 * len(runs)), 9.0), layout='constrained')
    panels = figure.subplots(4, len(runs), squeeze=False, sharex=True, sharey='row')
    for column, run, each in zip(panels.T, runs, rows, strict=True):
        steps = each['step'] / unit
        column[0].plot(steps, each['eval_return_mean'], '.-', color=_COLOURS[0])
        column[1].plot(steps, -each['actor_loss'], '.-', color=_COLOURS[0])
        gradient = each['actor_gradient_norm']
        column[2].plot(steps, np.where(gradient > 0, gradient, np.nan), '.-', color=_COLOURS[0])
        dead = steps[gradient == 0]
        bottom = column[2].get_xaxis_transform()  # a logarithmic axis has no zero
        (crosses,) = column[2].plot(
            dead, np.zeros(len(dead)), 'X', color=_COLOURS[1], transform=bottom, clip_on=False
        )
        crosses.set_in_layout(False)
        column[2].set_yscale('log')
        for i, name in zip(layers, windows, strict=True):
            where = 'output layer' if i == layers[-1] else f'hidden layer {i}'
            colour = _COLOURS[(i + 1) % len(_COLOURS)]
            column[3].plot(
                steps, each[name], '.-', color=colour, label=f'{where}: inside the window'
            )
        saturated = each['saturated_outputs']
        column[3].plot(steps, saturated, '.--', color=_COLOURS[1], label='outputs saturated')
        column[3].set_ylim(-0.03, 1.03)
        column[0].set_title(f'{run.task}, {run.learner}, seed {run.seed}', fontsize='small')
        column[3].set_xlabel(f'environment steps{unit_name}')
    # Before it learns there is nothing to draw.
    learnt = [each['step'][np.isfinite(each['actor_gradient_norm'])] for each in rows]
    first = min((float(steps[0]) for steps in learnt if len(steps)), default=0.0)
    if longest > first:
        margin = 0.03 * (longest - first)
        panels[0, 0].set_xlim((first - margin) / unit, (longest + margin) / unit)
    names = ('evaluation return', "Q of the actor's actions", "actor's gradient norm", 'fraction')
    for panel, name in zip(panels[:, 0], names, strict=True):
        panel.set_ylabel(name)
    for panel in panels.flat:
        panel.grid(alpha=0.25, linewidth=0.5)
        panel.spines[['top', 'right']].set_visible(False)
    handles, labels = panels[3, 0].get_legend_handles_labels()
    figure.legend(
        [*handles, crosses],
        [*labels, 'gradient exactly zero'],
        loc='outside lower center',
        ncols=3,
        fontsize='small',
        frameon=False,
    )
    save(figure, out)


def plot_energy(paths: Sequence[Path], out: Path) -> None:
    """Draw return against energy and against the runtime's latency, a row a task, a point a run.

    Each run's best policy acts in `ENERGY_EPISODES` evaluation episodes; figures are their means,
    the energy that of policy/energy.py, latencies medians. They are written beside the picture, as
    CSV. Policies that the runtime computes in NumPy are hollow in the latencies, which do not
    compare with those of compiled ones.

    Raises:
        UserError: a folder holds no run, or one has no policy yet; or a file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    check_format(out)
    runs = read_runs(paths)
    rows = [_measured(run) for run in runs]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    tasks = sorted({row['task'] for row in rows})
    hollow = not all(row['compiled'] for row in rows)
    axes = {
        'nanojoules_per_action': 'nJ an action, estimated from operations',
        'latency_microseconds': 'median latency of an action (\N{MICRO SIGN}s)'
        + ('\nhollow: in NumPy, not compiled' if hollow else ''),
    }
    looks = _looks(learner_order(group_runs(runs)))
    figure = Figure((9.0, 3.6 * len(tasks) + 0.4), layout='constrained')
    panels = figure.subplots(len(tasks), 2, squeeze=False, sharey='row')
    for pair, task in zip(panels, tasks, strict=True):
        for panel, (column, label) in zip(pair, axes.items(), strict=True):
            for row in (row for row in rows if row['task'] == task):
                filled = row['compiled'] or column != 'latency_microseconds'
                panel.errorbar(
                    row[column], row['return_mean'], row['return_std'], **looks[row['learner']],
                    fillstyle='full' if filled else 'none', capsize=2, linewidth=0.8,
                )  # fmt: skip
            panel.set_xlabel(label)
            panel.set_title(task, loc='left', fontsize='small')
            panel.grid(alpha=0.25, linewidth=0.5)
            panel.spines[['top', 'right']].set_visible(False)
        pair[0].set_ylabel('return')
    figure.legend(
        handles=[Line2D([], [], label=each, linestyle='', **look) for each, look in looks.items()],
        loc='outside lower center',
        ncols=4,
        fontsize='small',
        frameon=False,
    )
    save(figure, out)
    write_bytes(out.with_suffix('.csv'), text.getvalue().encode())


def _measured(run: Run) -> dict[str, Any]:
    """Return, energy and latency of a run's best policy, over some episodes of its task."""
    from proxy_snn_control.learning.config import load_config, TrainConfig
    from proxy_snn_control.learning.evaluate import evaluate
    from proxy_snn_control.learning.tasks import check_fit, TaskSpec
    from proxy_snn_control.policy import energy
    from proxy_snn_control.policy.runtime import load_policy

    path = run.folder / 'policy.safetensors'
    policy = load_policy(path)
    config = TrainConfig(**load_config(run.folder / 'config.yaml'))
    environment = TaskSpec.of(config).make()
    check_fit(policy.spec, path, environment)
    result = evaluate(policy, environment, ENERGY_EPISODES, config.evaluation_seed)
    assert result is not None
    environment.close()
    activity = energy.activity_of(policy.spec, result.spike_counts, sum(result.lengths))
    joules = energy.inference_energy(policy.spec, activity.synaptic_operations)
    seconds = []
    for observation in energy.typical_observations(policy):
        began = time.perf_counter()
        policy.act(observation)
        seconds.append(time.perf_counter() - began)
    return {
        'task': run.task,
        'learner': run.learner,
        'seed': run.seed,
        'spike_cost': config.spike_cost,
        'return_mean': result.mean,
        'return_std': result.std,
        'synaptic_operations_per_action': activity.synaptic_operations,
        'nanojoules_per_action': joules * 1e9,
        'latency_microseconds': float(np.median(seconds)) * 1e6,
        'compiled': policy.compiled,
    }


def plot_spikes(path: Path, out: Path, env: str | None = None) -> None:
    """Draw every spike of a run's best policy over the first actions of an evaluation episode.

    Args:
        path: the run's folder.
        out: the picture.
        env: the task; None for the run's own.

    Raises:
        UserError: the folder holds not one run but several, the run has no policy yet or one that
            does not spike, its task cannot be made, or the picture cannot be written.
    """
    from matplotlib.figure import Figure
    from proxy_snn_control.learning.config import load_config, TrainConfig
    from proxy_snn_control.learning.tasks import (
        check_fit,
        clip_action,
        episode_seed,
        task_of_policy,
    )
    from proxy_snn_control.policy.runtime import load_policy

    check_format(out)
    runs = read_runs([path])
    if len(runs) > 1:
        raise UserError(f'{path}: holds {len(runs)} runs, expected one, such as {runs[0].folder}')
    run = runs[0]
    policy = load_policy(run.folder / POLICY)
    if not policy.spec.spiking:
        neuron = policy.spec.neuron
        raise UserError(f'{run.folder}: its policy is of {neuron} neurons, which do not spike')
    try:
        config = TrainConfig(**load_config(run.folder / 'config.yaml'))
        environment = task_of_policy(policy.spec, run.folder / POLICY, env).make()
    except UserError as error:
        raise UserError(f'{run.folder}: {error}') from None
    check_fit(policy.spec, run.folder / POLICY, environment)
    observation, _ = environment.reset(seed=episode_seed(config.evaluation_seed, 0))
    spikes: list[list[np.ndarray]] = []
    actions = []
    for _ in range(RASTER_ACTIONS):
        action = policy.act(observation)
        spikes.append(policy.spikes)
        actions.append(action)
        observation, _, terminated, truncated, _ = environment.step(
            clip_action(environment, action)
        )
        if terminated or truncated:
            break
    environment.close()
    layers = [np.concatenate(layer) for layer in zip(*spikes, strict=True)]
    names = ['encoder', *(f'hidden {i + 1}' for i in range(len(layers) - 2)), 'output']
    heights = [max(layer.shape[1] ** 0.5, 6) for layer in layers] + [8]
    figure = Figure(figsize=(9, 9), layout='constrained')
    axes = figure.subplots(len(layers) + 1, sharex=True, height_ratios=heights)
    for axis, layer, name in zip(axes, layers, names, strict=False):
        axis.imshow(layer.T, aspect='auto', cmap='Greys', interpolation='nearest', vmin=0, vmax=1)
        axis.set_ylabel('neuron')
        axis.set_title(f'{name}: firing rate {layer.mean():.2f}', fontsize='small', loc='left')
    axes[-1].step(np.arange(len(actions)) * policy.spec.time_steps, actions, where='post')
    axes[-1].set_ylabel('action')
    axes[-1].set_xlabel(f'simulation steps, {policy.spec.time_steps} for each action')
    figure.suptitle(f'{run.task}, {run.learner}, seed {run.seed}: spikes of the best policy')
    save(figure, out)
