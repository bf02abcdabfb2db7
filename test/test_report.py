# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What is reported of finished runs: tables, statistics and curves over seeds."""

import csv
from pathlib import Path
import re
import subprocess
import sys

from conftest import random_policy, TASK
import numpy as np
from proxy_snn_control.learning.comparison import (
    compare,
    Comparison,
    notes,
    PAPER,
    PAPER_TASKS,
)
from proxy_snn_control.learning.plot import draw_curves, over_seeds, plot_runs, plot_spikes
from proxy_snn_control.learning.report import latex, markdown, Section, write_report
from proxy_snn_control.learning.results import (
    group_runs,
    read_runs,
    seeds_text,
    unlike_the_paper,
)
from proxy_snn_control.learning.seed_statistics import (
    improvement_over_tasks,
    interquartile_mean,
    iqm_over_tasks,
    student_t,
)
from proxy_snn_control.policy import Policy, UserError, write_policy
from proxy_snn_control.policy.energy import activity, neurobench, typical_observations
import pytest
import yaml

pytest.importorskip('matplotlib')

CURVES = Path(__file__).parents[1] / 'docs' / 'results' / 'curves'
ANN = {'neuron': 'relu', 'target': 'soft'}
LIF = {'neuron': 'lif', 'target': 'soft'}
PT_LIF = {'neuron': 'lif', 'target': 'proxy'}
MAGIC = {'png': b'\x89PNG', 'pdf': b'%PDF', 'svg': b'<?xml'}


def write_run(folder, returns, *, every=5000, gradient=0.1, start=0, drop=(), **settings) -> Path:
    """Write a run's config.yaml and progress.csv: an evaluation every so many steps from 0."""
    folder.mkdir(parents=True)
    found = re.fullmatch(r'seed-(\d+)', folder.name)
    config = {
        'env': 'Hopper-v4',
        **PT_LIF,
        'seed': int(found[1]) if found else 0,
        'random_steps': 25_000,
        'steps': max(0, every * (len(returns) - 1) - 25_000),
        'eval_every': every,
        **settings,
    }
    (folder / 'config.yaml').write_text(yaml.safe_dump(config))
    with open(folder / 'progress.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['step', 'eval_return_mean', 'eval_return_std', 'actor_gradient_norm'])
        for i, value in enumerate(returns):
            if i not in drop:
                writer.writerow([start + i * every, value, 1.0, gradient if i > 1 else ''])
    return folder


def rising(top: float, evaluations: int = 20) -> list[float]:
    """From 0 to the top, where the last twelve evaluations are."""
    return [*np.linspace(0, top, evaluations - 12, endpoint=False), *[top] * 12]


def only(paths) -> Comparison:
    (comparison,) = compare(read_runs(paths))
    return comparison


def test_statistics_are_those_of_the_published_package() -> None:
    """The numbers are rliable 1.2.0's for these scores, 50,000 and 5,000 repetitions."""
    ours = np.array(
        [
            [1.02, 0.98, 1.00, 0.97, 1.03],
            [0.95, 1.05, 0.01, 1.15, 0.88],
            [1.1, 0.9, 1.2, 1.05, 1.0],
        ]
    )
    theirs = np.array(
        [
            [1.00, 0.99, 0.02, 1.01, 0.96],
            [0.9, 1.0, 0.85, 0.92, 0.97],
            [0.8, 0.95, 1.05, 0.02, 0.99],
        ]
    )
    value, interval = iqm_over_tasks(ours)
    assert value == pytest.approx(1.0055555555555555, abs=1e-12)
    assert interval == pytest.approx((0.95777778, 1.05111111), abs=0.006)
    value, interval = iqm_over_tasks(theirs)
    assert value == pytest.approx(0.9477777777777779, abs=1e-12)
    assert interval == pytest.approx((0.73222222, 0.98444444), abs=0.006)
    value, interval = improvement_over_tasks(ours, theirs)
    assert value == pytest.approx(0.6933333333333334, abs=1e-12)
    assert interval == pytest.approx((0.49333333, 0.87333333), abs=0.02)
    assert iqm_over_tasks([np.array([1.0]), np.array([2.0])]) == (1.5, None)
    assert interquartile_mean(np.array([100.0, 2, 3, -50])) == 2.5


def test_student_t_is_the_tables() -> None:
    for degrees, value in ((1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262)):
        assert student_t(degrees) == pytest.approx(value, abs=1e-3)


def test_gains_and_figures_are_the_papers_on_the_papers_own_table(tmp_path: Path) -> None:
    for (neuron, target), (name, figures, _) in PAPER.items():
        for task, (mean, _) in zip(PAPER_TASKS, figures, strict=True):
            folder = tmp_path / task / name / 'seed-0'
            write_run(folder, rising(mean), env=task, neuron=neuron, target=target)
    comparison = only([tmp_path])
    assert comparison.baseline == 'ANN (TD3)'
    assert comparison.tasks == [*PAPER_TASKS]
    for name, figures, gain in PAPER.values():
        value, tasks = comparison.gain(name, 'maximum')
        assert (100 * value, tasks) == (pytest.approx(gain, abs=0.011), 5)
        assert comparison.paper(name) == (name, dict(zip(PAPER_TASKS, figures, strict=True)), gain)
    text = ' '.join(notes(comparison))
    assert 'after 1,025,000 steps' in text
    assert 'ours after 95,000' in text
    assert "Ant-v4 and Hopper-v4: the paper's were run with MuJoCo 2.3" in text
    write_run(tmp_path / 'own' / 'Hopper-v4' / 'ann' / 'seed-0', rising(5), paper_physics=True)
    assert 'MuJoCo 2.3' not in '\n'.join(notes(only([tmp_path / 'own'])))


def test_tables_list_every_seed_with_mean_and_deviation(tmp_path: Path) -> None:
    """The paper's 7503 ± 3713 is four seeds near 9360 and one that failed."""
    for seed, top in enumerate([9360, 9360, 75, 9360, 9360]):
        write_run(tmp_path / 's' / 'Hopper-v4' / 'ann' / f'seed-{seed}', rising(top), **ANN)
    write_report([tmp_path / 's'], tmp_path / 'report')
    with open(tmp_path / 'report' / 'table.csv', newline='') as file:
        (row,) = csv.DictReader(file)
    assert float(row['max_mean']) == 7503
    assert float(row['max_std']) == pytest.approx(3713, abs=1.5)
    assert row['max_by_seed'] == '0:9360 1:9360 2:75 3:9360 4:9360'
    assert (row['seeds'], row['counted'], row['collapsed']) == ('0 1 2 3 4', '0 1 2 3 4', '2')
    text = (tmp_path / 'report' / 'table.md').read_text()
    assert '| ann | 7503 ± 3714 †1 | 0 |' in text
    assert '| Hopper-v4 | ann | 95,000 | 9360 / 9360 | 9360 / 9360 | 75 / 75 † |' in text
    assert "| paper's ANN \\(TD3)" not in text
    assert "| paper's ANN (TD3) | 3410 ± 164 |" in text
    with open(tmp_path / 'report' / 'seeds.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['maximum']) for row in rows] == [9360, 9360, 75, 9360, 9360]


def test_collapse_is_what_is_defined_and_nothing_else(tmp_path: Path) -> None:
    """Last evaluations of six seeds on Walker2d: the paper's settings, of which one collapsed."""
    for seed, last in enumerate((83, 4106, 3637, 3338, 4271, 1846)):
        write_run(tmp_path / 'a' / f'seed-{seed}', [*rising(last)[:-12], *[last] * 12])
    dead = write_run(tmp_path / 'b' / 'seed-6', rising(3000), gradient=0.0)
    gone = write_run(tmp_path / 'c' / 'seed-7', rising(3000)[:9], steps=90_000)
    nan = 'at step 43000 critic_loss is NaN or infinite; there is no checkpoint'
    (gone / 'failure.txt').write_text(f'{nan}\n')
    fell = write_run(tmp_path / 'd' / 'seed-8', [*rising(3000)[:-10], *[150.0] * 10])
    (group,) = group_runs(read_runs([tmp_path])).values()
    assert list(group.collapsed) == [0, 6, 7, 8]
    assert 'below' in group.collapsed[0]
    assert 'exactly zero' in group.collapsed[6]
    assert group.collapsed[7] == f'stopped: {nan}'
    assert {run.folder for run in group.runs if run.seed > 5} == {dead, gone, fell}
    assert len(group.counted) == 9, 'a failed seed is no reason to leave it out'


def test_a_seed_that_differs_by_chance_alone_has_not_collapsed(tmp_path: Path) -> None:
    """A task on which nobody learns: the last evaluations are never near the best one."""
    rng = np.random.default_rng(0)
    for seed in range(5):
        write_run(tmp_path / f'seed-{seed}', rng.normal(-12, 1 / 10**0.5, 100).tolist())
    comparison = only([tmp_path])
    (group,) = comparison.groups.values()
    assert not group.learns
    assert not group.collapsed
    write_report([tmp_path], tmp_path / 'report')
    text = (tmp_path / 'report' / 'table.md').read_text()
    assert '- None.\n- Not judged by the last rule: PT-LIF on Hopper-v4.' in text


def test_a_seed_of_harder_starts_has_not_collapsed(tmp_path: Path) -> None:
    """Each seed is evaluated from starts of its own: the last one's returns are all 5 lower."""
    for seed, lower in enumerate((0, 1, 5)):
        returns = np.array(rising(4)) - 12 - lower
        write_run(tmp_path / f'seed-{seed}', returns.tolist())
    write_run(tmp_path / 'dead' / 'seed-3', [-17.0] * 20)
    (group,) = only([tmp_path]).groups.values()
    assert group.learns
    assert [*group.collapsed] == [3]


def test_without_a_rise_beyond_chance_there_are_no_scores(tmp_path: Path) -> None:
    """An ANN that learns on Hopper, and on Reacher rises by less than four standard errors."""
    flat = [-10.0, -9.9, *[-10.0] * 18]
    for seed in (0, 1):
        for learner, settings in (('ann', ANN), ('pt-lif', PT_LIF)):
            for env, returns in (('Hopper-v4', rising(1000)), ('Reacher-v4', flat)):
                folder = tmp_path / env / learner / f'seed-{seed}'
                write_run(folder, returns, env=env, **settings)
    comparison = only([tmp_path])
    assert list(comparison.scale) == ['Hopper-v4']
    assert comparison.iqm('pt-lif', 'maximum') == (1.0, (1.0, 1.0), 1)
    text = notes(comparison)
    (left_out,) = [note for note in text if 'left out of the interquartile mean' in note]
    assert left_out.startswith('Reacher-v4: ')
    assert left_out.endswith("for ann's returns do not rise beyond chance.")
    assert any(
        'Returns do not rise beyond chance' in note
        and note.endswith(': ann on Reacher-v4; pt-lif on Reacher-v4.')
        for note in text
    )


def test_a_single_seed_that_was_stopped_is_reported(tmp_path: Path) -> None:
    run = write_run(tmp_path / 'run', rising(1000)[:9], steps=90_000)
    (run / 'failure.txt').write_text('at step 43000 critic_loss is NaN or infinite\n')
    text = ' '.join(notes(only([run])))
    assert 'Seed 0 was stopped for numbers that were not finite' in text
    assert 'up to step 40,000' in text


def test_a_task_that_failed_is_no_collapse(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / f'seed-{seed}', rising(1000))
    stopped = write_run(tmp_path / 'seed-2', rising(1000)[:9], steps=90_000)
    why = "at step 43000 task 'Hopper-v4' failed in step: OSError: no camera; no checkpoint"
    (stopped / 'failure.txt').write_text(f'{why}\n')
    comparison = only([tmp_path])
    (group,) = comparison.groups.values()
    assert not group.collapsed
    assert [run.seed for run in group.short] == [2]
    (note,) = (note for note in notes(comparison) if 'Seed 2' in note)
    assert 'was stopped by its task, so it is listed but enters no mean' in note
    assert 'no camera' in note


def test_seeds_of_unequal_length_are_listed_and_reported_and_in_no_mean(tmp_path: Path) -> None:
    sweep = tmp_path / 'Hopper-v4' / 'pt-lif'
    for seed, top in enumerate((1000, 2000, 3000)):
        write_run(sweep / f'seed-{seed}', rising(top))
    write_run(sweep / 'seed-3', rising(9000)[:12], steps=90_000)
    write_run(sweep / 'seed-4', rising(1000), drop=(4, 5))
    comparison = only([tmp_path])
    group = comparison.group('Hopper-v4', 'pt-lif')
    assert [run.seed for run in group.short] == [3]
    assert group.figures('maximum').tolist() == [1000, 2000, 3000, 1000]
    text = notes(comparison)
    assert any('Seed 3 is at 55,000 steps, the longest at 95,000' in note for note in text)
    assert any('Seed 4 lacks the evaluation at step 20,000, 25,000' in note for note in text)
    steps, mean, low, high, whole = over_seeds(group)
    assert mean[-1] == 1750
    half = 3.182 * np.std([1000, 2000, 3000, 1000], ddof=1) / 2
    assert (low[-1], high[-1]) == pytest.approx((1750 - half, 1750 + half), rel=1e-3)
    assert steps[~whole].tolist() == [20_000, 25_000]
    write_report([tmp_path], tmp_path / 'report')
    assert '9000 / 6638 ‡ |' in (tmp_path / 'report' / 'table.md').read_text()


def test_unequal_learners_missing_ones_and_single_seeds_are_reported(tmp_path: Path) -> None:
    for task in ('Hopper-v4', 'Walker2d-v4'):
        for seed in (0, 1):
            write_run(tmp_path / task / 'ann' / f'seed-{seed}', rising(1000), env=task, **ANN)
    write_run(tmp_path / 'Hopper-v4' / 'pt-lif' / 'seed-0', rising(1500))
    longer = rising(1500, 40)
    write_run(tmp_path / 'Hopper-v4' / 'lif' / 'seed-0', longer, **LIF)
    write_run(tmp_path / 'Walker2d-v4' / 'lif' / 'seed-0', rising(1100), env='Walker2d-v4', **LIF)
    comparison = only([tmp_path])
    text = '\n'.join(notes(comparison))
    assert 'No run: pt-lif on Walker2d-v4.' in text
    assert 'No run of seed 1, which others here have: lif on Hopper-v4, Walker2d-v4;' in text
    assert 'One seed in the mean' in text
    assert 'Hopper-v4: learners have taken unequally many steps' in text
    assert comparison.level == ['Walker2d-v4']
    assert comparison.gain('lif', 'maximum') == (pytest.approx(0.1), 1)
    assert comparison.gain('pt-lif', 'maximum') is None


def test_versions_of_mujoco_tasks_are_never_in_one_table(tmp_path: Path) -> None:
    for task in ('Hopper-v4', 'Walker2d-v5', 'Ant-v5', 'Pendulum-v1'):
        write_run(tmp_path / task / 'ann' / 'seed-0', rising(1000), env=task, **ANN)
    compared = compare(read_runs([tmp_path]))
    assert [(c.name, c.tasks) for c in compared] == [
        ('-v4', ['Hopper-v4']),
        ('-v5', ['Ant-v5', 'Walker2d-v5']),
        ('other tasks', ['Pendulum-v1']),
    ]
    newer = compared[1]
    assert newer.paper('ann') is None
    assert any('other versions of these tasks (Ant-v4, Walker2d-v4)' in n for n in notes(newer))
    write_report([tmp_path], tmp_path / 'report')
    for line in (tmp_path / 'report' / 'table.md').read_text().splitlines():
        assert not ('-v4' in line and '-v5' in line and line.startswith('|')), line
    both = compare(read_runs([tmp_path / 'Walker2d-v5', tmp_path / 'Pendulum-v1']))
    assert [c.tasks for c in both] == [['Pendulum-v1', 'Walker2d-v5']]


def test_learners_outside_sweeps_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    write_run(tmp_path / 'a', rising(1000), proxy_updates=1, device='cuda')
    write_run(tmp_path / 'b', rising(1000), proxy_updates=3, device='cpu', seed=1)
    write_run(tmp_path / 'c', rising(1000), env='Ant-v4', hidden=[64, 64], proxy_updates=1)
    write_run(tmp_path / 'd', rising(1000), **ANN, proxy_updates=1)
    write_run(tmp_path / 'e', rising(1000), **ANN, seed=1)
    named = {run.folder.name: run.learner for run in read_runs([tmp_path])}
    assert named == {
        'a': 'PT-LIF (K = 1)',
        'b': 'PT-LIF (K = 3)',
        'c': 'PT-LIF (K = 1)',
        'd': 'ANN (TD3)',  # it has no proxy for K to matter
        'e': 'ANN (TD3)',
    }
    text = '\n'.join(notes(only([tmp_path])))
    assert 'PT-LIF (K = 1): not the same on every task: hidden is ' in text
    assert '[64, 64] (Ant-v4)' in text


def test_two_settings_under_one_name_and_other_machines_are_reported(tmp_path: Path) -> None:
    first = {'from_step': 0, 'torch': '2.13.0', 'processor': 'one'}
    recorded, resumed = [first], [first, {**first, 'from_step': 500, 'processor': 'another'}]
    for seed, changes in enumerate(({}, {'tau': 0.01}, {'recorded': resumed})):
        write_run(
            tmp_path / 'Hopper-v4' / 'mine' / f'seed-{seed}',
            rising(1000),
            **{'recorded': recorded, **changes},
        )
    comparison = only([tmp_path])
    text = '\n'.join(notes(comparison))
    assert 'mine: two settings under one name: tau is 0.005 (seeds 0, 2); 0.01 (seed 1).' in text
    assert (
        'Runs differ in what was recorded: processor is one (seeds 0, 1); one, then another '
        '(seed 2).' in text
    )
    assert 'from_step' not in text
    assert (
        "mine: no figures of the paper beside it, for its settings are not the paper's (tau)"
        in text
    )
    assert comparison.paper('mine') is None
    assert unlike_the_paper(comparison.runs[0]) == {}
    write_report([tmp_path], tmp_path / 'report')
    assert '- torch: 2.13.0' in (tmp_path / 'report' / 'table.md').read_text()


def test_the_same_seed_twice_is_distinguished_or_refused(tmp_path: Path) -> None:
    for name in ('old', 'new'):
        write_run(tmp_path / name / 'Hopper-v4' / 'pt-lif' / 'seed-0', rising(1000))
    both = read_runs([tmp_path / 'old', tmp_path / 'new', tmp_path / 'old' / 'Hopper-v4'])
    assert sorted(run.learner for run in both) == ['pt-lif (new)', 'pt-lif (old)']
    for name in ('a/b', 'a/c', 'd'):
        write_run(tmp_path / 'more' / name, rising(1000))
    with pytest.raises(UserError, match='both are seed 0 of PT-LIF on Hopper-v4') as refused:
        read_runs([tmp_path / 'more'])
    assert '\n' not in str(refused.value)


def test_a_population_names_its_seeds_before_they_begin(tmp_path: Path) -> None:
    settings = {'env': 'Hopper-v4', **PT_LIF, 'seed': [0, 1, 2], 'steps': 90_000}
    population = tmp_path / 'population'
    for seed in (0, 2):
        write_run(population / f'seed-{seed}', rising(1000))
    (population / 'config.yaml').write_text(yaml.safe_dump(settings))
    comparison = only([population])
    assert [run.seed for run in comparison.runs] == [0, 1, 2]
    assert 'No evaluation yet of seed 1: PT-LIF.' in notes(comparison)
    write_report([population], tmp_path / 'report')
    plot_runs([population], tmp_path / 'curves.svg')
    (tmp_path / 'begun').mkdir()
    (tmp_path / 'begun' / 'config.yaml').write_text(yaml.safe_dump({**settings, 'seed': [4]}))
    for refuse in (plot_runs, write_report):
        with pytest.raises(UserError, match='begun: no evaluation with a finite return yet'):
            refuse([tmp_path / 'begun'], tmp_path / 'x.png')


@pytest.mark.parametrize(
    'text',
    [
        '',
        'garbage\n',
        'step,loss\n1,2\n',
        'step,eval_return_mean\nx,1\n',
        'step,eval_return_mean\n1\n',
        'step,eval_return_mean,eval_return_std\n0,1,2\n5,-9\n',
        'step,eval_return_mean\n0,1,2\n',
    ],
)
def test_a_damaged_progress_is_named(tmp_path: Path, text: str) -> None:
    run = write_run(tmp_path / 'run', rising(10))
    (run / 'progress.csv').write_text(text)
    if not text:
        assert not len(read_runs([run])[0].steps)
        return
    with pytest.raises(UserError, match=r'run/progress.csv: is not the progress of a run'):
        read_runs([tmp_path])


def test_a_return_that_is_no_number_is_a_missing_evaluation(tmp_path: Path) -> None:
    write_run(tmp_path / 'run', [0.0, 1.0, float('nan'), 2.0])
    (run,) = read_runs([tmp_path])
    assert run.missing == (10_000,)
    assert run.returns.tolist() == [0, 1, 2]


def test_stopping_at_the_return_that_is_set_is_no_shorter_run(tmp_path: Path) -> None:
    write_run(tmp_path / 'seed-0', rising(900), stop_at_return=1000)
    write_run(tmp_path / 'seed-1', rising(1000)[:15], steps=70_000, stop_at_return=1000)
    (group,) = group_runs(read_runs([tmp_path])).values()
    assert len(group.counted) == 2


def overlap(one, other) -> bool:
    return bool(
        one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1
    )


@pytest.mark.parametrize(('tasks', 'seeds'), [(1, 1), (2, 3), (5, 5)])
def test_curves_show_collapsed_seeds_and_the_legend_covers_nothing(
    tmp_path: Path, tasks: int, seeds: int
) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for task in PAPER_TASKS[:tasks]:
        for learner, settings in (('ann', ANN), ('a learner of a rather long name', PT_LIF)):
            for seed in range(seeds):
                run = tmp_path / task / learner / f'seed-{seed}'
                gradient = 0.0 if seed == 2 else 0.1
                write_run(run, rising(1000 + seed), env=task, gradient=gradient, **settings)
    figure = draw_curves(group_runs(read_runs([tmp_path])))
    FigureCanvasAgg(figure).draw()
    panels = [axis for axis in figure.axes if axis.lines]
    assert [panel.get_title('left').splitlines()[0] for panel in panels] == sorted(
        PAPER_TASKS[:tasks]
    )
    (legend,) = figure.legends
    for panel in panels:
        assert not overlap(legend.get_window_extent(), panel.get_tightbbox())
        assert 'environment steps (thousands)' in panel.get_xlabel()
        assert 'return' in panel.get_ylabel()
        dashed = [line for line in panel.lines if line.get_linestyle() == '--']
        assert len(dashed) == (2 if seeds > 2 else 0)
        title = panel.get_title('left').replace('\n', ' ')
        assert ('seeds 0-4' if seeds == 5 else 'seed') in title
        assert 'ann' in title
    labels = [text.get_text() for text in legend.get_texts()]
    assert ('collapsed seed' in labels) == (seeds > 2)
    band = '95% interval of the mean over seeds' if seeds > 2 else "over an evaluation's episodes"
    assert band in figure.get_suptitle().replace('\n', ' ')


def test_latex_and_markdown_hold_any_name() -> None:
    name = r'50% of_a {b} & c\d #1 $x ~^ <|> [z] † ±'
    section = Section(
        name, name, ('learner', name), ((name, '1 ± 2'), ('[x]', '\N{EN DASH}')), (name,)
    )
    text = latex([section])
    body = re.sub(r'\\[&%$#_{}]', '', text)
    assert body.count('{') == body.count('}')
    for line in body.splitlines():
        if line.endswith(r'\\'):
            assert line.count('&') == 1
            assert not re.search(r'(?<!\\)[#~^]', line.replace('^{', ''))
            assert '%' not in line
    # No package beside those that it names is needed: hookrightarrow is LaTeX's own.
    commands = set(
        re.findall(r'\\([a-zA-Z]+)', latex([Section('x', '†‡↻\N{EN DASH}±~^<>|\\"[]')]))
    )
    known = 'input usepackage paragraph dagger ddagger hookrightarrow pm textasciitilde'
    assert commands <= {*known.split(), 'textasciicircum', 'textbackslash'}
    page = markdown([section], 'curves.png')
    rows = [line for line in page.splitlines() if line.startswith('|')]
    assert len(rows) == 4
    assert all(len(re.findall(r'(?<!\\)\|', row)) == 3 for row in rows)


def test_the_documented_runs_have_a_report(tmp_path: Path) -> None:
    """Real runs of 200,000 steps."""
    write_report([CURVES], tmp_path)
    text = (tmp_path / 'table.md').read_text()
    assert 'ANN (TD3) | 9360 (1) | 6344 (1) | 1921 ± 1393 (2) †1 |' in text
    assert 'PT-LIF (precision float32)' in text
    for name in ('curves.png', 'curves.pdf', 'table.tex', 'statistics.csv'):
        assert (tmp_path / name).stat().st_size > 1000
    before = {path.name: path.read_bytes() for path in tmp_path.glob('*.[cmt]*')}
    write_report([CURVES], tmp_path)
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob('*.[cmt]*')}
    assert not list(tmp_path.glob('.*'))


def test_what_an_action_costs_is_counted_on_the_seeds_policies(tmp_path: Path) -> None:
    """Means over the seeds that have a policy; the ordinary network's numbers by hand."""
    counted, joules = [], []
    for seed in (0, 1):
        spec, tensors = random_policy(observations=3, hidden=(8, 5), actions=2, seed=seed)
        folder = write_run(tmp_path / 'spikes' / f'seed-{seed}', rising(100))
        write_policy(folder / 'policy.safetensors', spec, tensors)
        policy = Policy(spec, tensors)
        drawn = typical_observations(policy)[:200]
        counted.append(neurobench(policy, drawn))
        joules.append(activity(policy, drawn).synaptic_operations * 77e-15)
    write_run(tmp_path / 'spikes' / 'seed-2', rising(100))  # it has none yet
    folder = write_run(tmp_path / 'relu' / 'seed-0', rising(90), **ANN)
    changes = {'observations': 3, 'hidden': (8, 5), 'actions': 2}
    write_policy(folder / 'policy.safetensors', *random_policy(neuron='relu', **changes))
    write_report([tmp_path / 'spikes', tmp_path / 'relu'], tmp_path / 'report')
    text = (tmp_path / 'report' / 'table.md').read_text()
    section = text.partition('## Operations of an action')[2].partition('\n## ')[0]
    rows = [line.strip('| ').split(' | ') for line in section.splitlines() if 'Hopper' in line]
    found = {row[1]: row[2:] for row in rows}
    macs, bytes_ = 3 * 8 + 8 * 5 + 5 * 2, 4 * (3 * 8 + 8 + 8 * 5 + 5 + 5 * 2 + 2)
    ordinary = [str(macs), str(bytes_), f'{macs * 3.97e-3:.1f}']
    assert found['PT-LIF'] == [
        f'{np.mean([each.activation_sparsity for each in counted]):.0%}',
        f'{np.mean([each.effective_macs for each in counted]):.0f}',
        f'{np.mean([each.effective_acs for each in counted]):.0f}',
        f'{counted[0].footprint}',
        f'{np.mean(joules) * 1e9:.1f}',
        *ordinary,
    ]
    assert found['ANN (TD3)'][3:] == [str(bytes_), f'{macs * 3.97e-3:.1f}', *ordinary]
    assert 0 < int(found['ANN (TD3)'][1]) < macs and found['ANN (TD3)'][2] == '0'
    assert 'memory traffic' in section and 'static power' in section
    write_report([tmp_path / 'spikes' / 'seed-2'], tmp_path / 'without')
    assert 'Operations of an action' not in (tmp_path / 'without' / 'table.md').read_text()


def test_results_are_read_without_torch_or_tasks() -> None:
    code = (
        'import sys, pathlib\n'
        'from proxy_snn_control.learning.report import write_report\n'
        'from proxy_snn_control.learning.results import read_runs\n'
        f'read_runs([pathlib.Path({str(CURVES)!r})])\n'
        "assert not {'torch', 'gymnasium', 'mujoco'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code], check=True, timeout=300)


def test_seeds_as_text() -> None:
    assert [seeds_text(s) for s in ([3], [1, 0], [0, 1, 2, 5])] == [
        'seed 3',
        'seeds 0, 1',
        'seeds 0-2, 5',
    ]


def test_runs_that_were_trained_are_reported_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip('torch')
    config = tmp_path / 'c.yaml'
    config.write_text(
        f'env: {TASK}\nsteps: 60\nrandom_steps: 40\neval_every: 20\neval_episodes: 2\n'
        'hidden: [8]\nproxy_hidden: [8]\ncritic_hidden: [8]\nbatch_size: 8\nthreads: 1\n'
    )
    runs = tmp_path / 'runs'

    def command(*arguments) -> subprocess.CompletedProcess:
        line = [sys.executable, '-m', 'proxy_snn_control.cli', *map(str, arguments)]
        return subprocess.run(line, capture_output=True, text=True, timeout=300)

    for seed in (0, 1):
        out = runs / TASK / 'small' / f'seed-{seed}'
        done = command('train', '--config', config, '--seed', seed, '--out', out)
        assert done.returncode == 0, done.stderr
    report = command('report', runs, '--out', tmp_path / 'report')
    assert (report.returncode, report.stderr) == (0, '')
    text = (tmp_path / 'report' / 'table.md').read_text()
    assert report.stdout == f'{tmp_path / "report" / "table.md"}\n'
    assert re.search(r'\| small \| [-\d.]+ ± [\d.]+ \|', text)
    raster = command(
        'plot', runs / TASK / 'small' / 'seed-0', '--spikes', '--out', tmp_path / 's.pdf'
    )
    assert raster.returncode == 0, raster.stderr
    assert (tmp_path / 's.pdf').read_bytes().startswith(MAGIC['pdf'])
    for kind, magic in MAGIC.items():
        plot_runs([runs], tmp_path / f'curves.{kind}')
        assert (tmp_path / f'curves.{kind}').read_bytes().startswith(magic)
    with pytest.raises(UserError, match='holds 2 runs, expected one'):
        plot_spikes(runs, tmp_path / 'x.png')
    taken = command('report', runs, '--out', config)
    assert (taken.returncode, len(taken.stderr.splitlines())) == (1, 1)
