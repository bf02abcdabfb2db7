# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Sweeps on real MuJoCo: a grid's runs, stopping and going on, shares, failures, a Ray cluster."""

import csv
import os
from pathlib import Path
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from conftest import TASK
from proxy_snn_control.learning import checkpoint as checkpoints
from proxy_snn_control.learning import sweep
from proxy_snn_control.learning.config import load_config, TrainConfig
from proxy_snn_control.learning.grid import is_done, open_sweep, read_grid, share
from proxy_snn_control.learning.members import Member, new_members
from proxy_snn_control.learning.plot import plot_energy, plot_health
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.report import write_report
from proxy_snn_control.learning.results import read_progress
from proxy_snn_control.learning.td3 import TD3
from proxy_snn_control.policy import UserError
from proxy_snn_control.share import share_file
import pytest
import torch
from training_kit import StopAt
import yaml

pytest.importorskip('torch')

SETTINGS = {
    'steps': 60,
    'random_steps': 60,
    'eval_every': 40,
    'eval_episodes': 2,
    'checkpoint_every': 50,
    'hidden': [16, 16],
    'proxy_hidden': [16, 16],
    'critic_hidden': [16, 16],
    'batch_size': 16,
}
ANN = {'neuron': 'relu', 'target': 'soft'}
GRID = {
    'settings': SETTINGS,
    'environments': [TASK],
    'learners': {'ann': ANN, 'pt-lif': {'neuron': 'lif'}},
    'seeds': [0, 1],
}
# A task that gives NaN after a few steps, as a module of the user's.
NAN_TASK = """
import gymnasium
from gymnasium.envs.mujoco.inverted_double_pendulum_v5 import InvertedDoublePendulumEnv

class Broken(InvertedDoublePendulumEnv):
    taken = 0

    def step(self, action):
        self.taken += 1
        seen, reward, *rest = super().step(action)
        return seen, float("nan") if self.taken > 70 else reward, *rest

gymnasium.register("Broken-v0", entry_point=Broken, max_episode_steps=1000)
"""


def write_grid(path: Path, **changes) -> Path:
    path.write_text(yaml.safe_dump({**GRID, **changes}, sort_keys=False))
    return path


def write_curve(folder: Path) -> Path:
    """Write a run's folder with one evaluation."""
    folder.mkdir(parents=True)
    settings = {'env': TASK, 'neuron': 'lif', 'target': 'proxy', 'seed': int(folder.name[5:])}
    (folder / 'config.yaml').write_text(yaml.safe_dump(settings))
    (folder / 'progress.csv').write_text('step,eval_return_mean,eval_return_std\n0,1.0,0.0\n')
    return folder


def command(grid: Path, out: Path, *more: object) -> list[str]:
    arguments = ['sweep', grid, '--out', out, *more]
    return [sys.executable, '-m', 'proxy_snn_control.cli', *map(str, arguments)]


def run(grid: Path, out: Path, *more: object, modules: Path | None = None):
    path = os.pathsep.join(map(str, filter(None, [Path(__file__).parents[1], modules])))
    return subprocess.run(
        command(grid, out, *more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, 'PYTHONPATH': path},
    )


def rows(folder: Path) -> list[dict[str, str]]:
    """Return a run's progress.csv without the clock's columns."""
    with open(folder / 'progress.csv', newline='') as file:
        found = list(csv.DictReader(file))
    for row in found:
        del row['seconds'], row['steps_per_second']
    return found


def steps(folder: Path) -> list[int]:
    return [int(row['step']) for row in rows(folder)]


def test_the_runs_of_a_grid(tmp_path: Path) -> None:
    grid = write_grid(
        tmp_path / 'g.yaml',
        environments=['HalfCheetah-v4', 'robots.arm:Reach-v1'],
        learners={'base': None, 'fast_2.0': {'proxy_updates': 1, 'steps': '1e3'}},
    )
    members = read_grid(grid, tmp_path / 'out')
    names = [str(member.folder.relative_to(tmp_path / 'out')) for member in members]
    assert names == [
        f'{env}/{learner}/seed-{seed}'
        for learner in ('base', 'fast_2.0')
        for env in ('HalfCheetah-v4', 'robots.arm_Reach-v1')
        for seed in (0, 1)
    ]
    assert members[3].config == TrainConfig(**SETTINGS, env='robots.arm:Reach-v1', seed=1)
    assert members[4].config.proxy_updates == 1
    assert members[4].config.steps == 1000, "a learner's settings go over the shared ones"


@pytest.mark.parametrize(
    ('changes', 'reported'),
    [
        ({'environment': [TASK]}, "no block 'environment'; did you mean environments?"),
        ({'environments': TASK}, "environments is 'Inv.*expected a list of task ids"),
        ({'environments': []}, r'environments is \[\]'),
        ({'environments': [TASK, TASK]}, 'environments has .* twice'),
        ({'environments': ['a:B-v0', 'a_B-v0']}, 'two of the environments'),
        ({'environments': ['../B-v0']}, 'which gives no folder name'),
        ({'seeds': 5}, 'seeds is 5, expected a list of whole numbers'),
        ({'seeds': [0, 1.5]}, 'seeds has 1.5'),
        ({'seeds': [-1]}, f'{TASK}/ann/seed--1: setting seed is -1'),
        ({'learners': {}}, 'learners is {}, expected names of settings'),
        ({'learners': {'../ann': ANN}}, r"learner '../ann' names a folder"),
        ({'learners': {'ann': 'relu'}}, "learner ann: 'relu', expected lines"),
        ({'learners': {'ann': {'nuron': 'relu'}}}, "learner ann: .*'nuron'.*mean neuron"),
        ({'learners': {'ann': {'seed': 3}}}, "learner ann: setting 'seed' has a block .* seeds"),
        ({'settings': {'env': TASK}}, "settings: setting 'env' has a block .* environments"),
        ({'settings': {'tau': 7}}, f'{TASK}/ann/seed-0: setting tau is 7.0, expected'),
    ],
)
def test_what_is_wrong_in_a_grid_is_named(tmp_path: Path, changes: dict, reported: str) -> None:
    grid = write_grid(tmp_path / 'g.yaml', **changes)
    with pytest.raises(UserError, match=f'^grid file {grid}: .*{reported}'):
        read_grid(grid, tmp_path / 'out')


def test_the_paper_s_grid() -> None:
    """Robust learners have config/robust.yaml's settings; all else is the paper's."""
    members = read_grid(share_file('config/table1.yaml'), Path('out'))
    assert len(members) == 5 * 7 * 5
    fast, robust = (load_config(share_file(f'config/{name}.yaml')) for name in ('fast', 'robust'))
    for config, folder in members:
        learner = folder.parent.name
        assert config.total_steps == 1_025_000 and config.precision == 'float32'
        expected = {'env': config.env, 'neuron': config.neuron, 'target': config.target}
        if learner.endswith('pt-lif'):
            expected |= fast
        if learner == 'robust-pt-lif':
            expected |= robust
        if learner == 'robust-ann':
            expected['critic_norm'] = robust['critic_norm']
        expected |= {'seed': config.seed, 'precision': 'float32', 'paper_physics': True}
        assert config == TrainConfig(**expected)
    # One batch for each learner, but clif's proxy is another on the pendulum.
    sizes = [len(batch) for batch in sweep.batches(members)]
    assert sizes == [25, 25, 25, 25, 25, 25, 5, 20]


@pytest.mark.parametrize(
    ('grid', 'runs', 'sizes'),
    [
        ('ablation', 54, [12, 12, 12, 12, 6]),
        ('spike_cost', 20, [20]),
        ('collapse', 12, [6, 6]),
    ],
)
def test_the_other_grids(grid: str, runs: int, sizes: list[int]) -> None:
    members = read_grid(share_file(f'config/{grid}.yaml'), Path('out'))
    assert len(members) == runs
    assert [len(batch) for batch in sweep.batches(members)] == sizes


def test_a_collapsed_run_is_begun_again_and_stays(tmp_path: Path) -> None:
    """A window that no potential is in: every seed dies at once, and the last one stays failed."""
    dead = {'neuron': 'lif', 'surrogate_window': 1e-6, 'on_collapse': 'restart'}
    learners = {'dead': dead, 'well': {'neuron': 'lif', 'on_collapse': 'restart'}}
    grid = write_grid(tmp_path / 'g.yaml', learners=learners, seeds=[3])
    out = tmp_path / 'out'
    first = run(grid, out, '--jobs', 2)
    assert first.returncode == 1
    assert 'Traceback' not in first.stderr
    folders = [out / TASK / 'dead' / f'seed-{seed}' for seed in (3, 100_003, 200_003, 300_003)]
    for folder, other in zip(folders, [*folders[1:], None], strict=True):
        failure = (folder / 'failure.txt').read_text()
        assert "collapsed: the actor's gradient was exactly zero at every update" in failure
        assert failure.count('started again') == (other is not None)
        if other:
            assert f'started again with {other.name.replace("-", " ")}' in failure
    assert not (out / TASK / 'well' / 'seed-100003').exists()
    assert steps(out / TASK / 'well' / 'seed-3') == [0, 40, 80, 120]
    assert first.stderr.count('proxy-snn: failed: ') == 1
    assert f'failed: {folders[-1]} at step' in first.stderr
    again = run(grid, out)
    assert '5 runs: 1 done, 1 failed, 0 to train' in again.stdout
    write_report([out], tmp_path / 'report')
    table = (tmp_path / 'report' / 'table.md').read_text()
    row = next(line for line in table.splitlines() if line.startswith('| dead |'))
    assert row.endswith(' (4) †4 ↻3 |')
    assert 'Seed 3 collapsed, and seed 100003 was started in its place; both are counted' in table
    assert 'No run of seed' not in table
    plot_health([out], tmp_path / 'health.svg')
    picture = (tmp_path / 'health.svg').read_text()
    assert picture.startswith('<?xml')
    for text in ('dead, seed 3', 'gradient exactly zero', 'output layer: inside the window'):
        assert text in picture
    plot_energy([out / TASK / 'well'], tmp_path / 'energy.png')
    with open(tmp_path / 'energy.csv', newline='') as file:
        (measured,) = csv.DictReader(file)
    assert measured['task'] == TASK and measured['learner'] == 'well'
    operations = float(measured['synaptic_operations_per_action'])
    possible = 5 * (90 * 16 + 16 * 16 + 16 * 10)
    assert 0 < operations < possible
    assert float(measured['nanojoules_per_action']) == pytest.approx(operations * 77e-6)
    best = max(float(row['eval_return_mean']) for row in rows(out / TASK / 'well' / 'seed-3'))
    assert float(measured['return_mean']) == pytest.approx(best, rel=0.5)
    with pytest.raises(UserError, match='--health draws 6 runs at most, but 7 are given'):
        plot_health(
            [write_curve(tmp_path / f'many/seed-{i}') for i in range(7)], tmp_path / 'h.png'
        )


@pytest.mark.parametrize('kind', ['warn', 'stop'])
def test_a_collapse_alone(tmp_path: Path, kind: str) -> None:
    config = TrainConfig(
        env=TASK, **{**SETTINGS, 'surrogate_window': 1e-6, 'on_collapse': kind, 'threads': 1}
    )
    population = Population([Member(config, tmp_path / 'run')])
    if kind == 'warn':
        assert population.run(Listener()) is True
        assert population.runs[0].rows[-1]['actor_gradient_norm'] == 0
        return
    with pytest.raises(UserError, match="at step 80 collapsed: the actor's gradient"):
        population.run(Listener())
    assert (tmp_path / 'run' / 'failure.txt').exists()
    assert steps(tmp_path / 'run') == [0, 40, 80], 'the evaluation that shows it is kept'


def test_a_restart_is_for_sweeps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="on_collapse is 'restart', expected warn or stop outside"):
        new_members({'on_collapse': 'restart'}, tmp_path / 'run')


@pytest.mark.parametrize('shares', [1, 2, 3, 4, 7])
def test_shares_are_the_whole_grid_once(tmp_path: Path, shares: int) -> None:
    members = read_grid(write_grid(tmp_path / 'g.yaml'), tmp_path)
    parts = [share(members, f'{i}/{shares}') for i in range(1, shares + 1)]
    assert [member for part in parts for member in part] == members
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize('text', ['0/2', '3/2', '1', '1/0', 'a/b', '1/2/3', '-1/2'])
def test_a_share_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match=f'--shard {text}: expected I/N'):
        share([], text)


def test_batches_are_of_equal_settings_and_one_step(tmp_path: Path) -> None:
    """Populations of several, as on a GPU, which a processor computes too."""
    grid = write_grid(
        tmp_path / 'g.yaml',
        settings={**SETTINGS, 'device': 'cpu', 'threads': 1, 'precision': 'float32'},
        environments=[TASK, 'InvertedPendulum-v5'],
        learners={'ann': ANN, 'slow': {**ANN, 'tau': 0.001}, 'wide': {**ANN, 'hidden': [20, 20]}},
        seeds=[0],
    )
    members = read_grid(grid, tmp_path / 'out')
    first, second = sweep.batches(members)
    assert first == members[:4], 'tasks and scalars may differ within a batch'
    assert second == members[4:], 'shapes may not'
    assert [len(part) for part in sweep.batches(members, most=3)] == [2, 2, 2]

    trio, late = first[:3], first[3]
    assert sweep.train_batch(trio, StopAt(70), print) == (False, [])
    assert sweep.batches(first) == [trio, [late]], 'what has not begun cannot join'
    # Killed while it wrote checkpoints: some members have the new one, the others not.
    newest = trio[0].folder / 'checkpoint' / 'checkpoint-0000000090.safetensors'
    shutil.copy(newest.with_name('checkpoint-0000000070.safetensors'), newest)
    assert sweep.batches(first) == [trio, [late]]
    newest.unlink()
    for batch in sweep.batches(first):
        assert sweep.train_batch(batch, Listener(), print) == (True, [])
    for member in first:
        assert is_done(member)
        assert steps(member.folder) == [0, 40, 80, 120]


def test_a_batch_that_was_killed_while_it_began(tmp_path: Path) -> None:
    settings = {**SETTINGS, 'device': 'cpu', 'threads': 1, 'precision': 'float32'}
    grid = write_grid(tmp_path / 'g.yaml', settings=settings, learners={'ann': ANN})
    first, second = open_sweep(grid, tmp_path / 'out')
    assert sweep.train_batch([first, second], StopAt(0), print) == (False, [])
    shutil.rmtree(second.folder)
    again = open_sweep(grid, tmp_path / 'out')
    assert first.is_begun and not second.is_begun
    assert sweep.batches(again) == [again]
    assert sweep.train_batch(again, Listener(), print) == (True, [])
    assert all(is_done(member) for member in again)


def test_memory_decides_the_size_of_a_batch(tmp_path: Path) -> None:
    grid = write_grid(
        tmp_path / 'g.yaml',
        settings={**SETTINGS, 'replay_size': 1000, 'device': 'cpu'},
        environments=[TASK, 'InvertedPendulum-v5'],
        learners={'ann': ANN},
    )
    members = read_grid(grid, tmp_path / 'out')
    population = Population(members)
    size = population.replay.rows.nbytes
    population.close()
    assert sweep.replay_bytes(members) == size
    assert sweep.fit(members, size) == [members]
    assert sweep.fit(members, size - 1) == [members[:2], members[2:]]
    assert sweep.fit(members, 0) == [[member] for member in members]


def test_a_batch_that_the_memory_does_not_hold_goes_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU it is the first update that needs more than there is."""
    update = TD3.update

    def little_memory(td3: TD3) -> None:
        if len(td3.actor.sizes) > 1:
            raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')
        update(td3)

    monkeypatch.setattr(TD3, 'update', little_memory)
    settings = {**SETTINGS, 'device': 'cpu', 'threads': 1, 'precision': 'float32'}
    grid = write_grid(tmp_path / 'g.yaml', settings=settings, learners={'ann': ANN})
    members, messages = read_grid(grid, tmp_path / 'out'), list[str]()
    assert sweep.train_batch(members, Listener(), messages.append) == (True, [])
    assert all(is_done(member) for member in members)
    (message,) = messages
    assert 'too large for the memory' in message
    monkeypatch.setattr(TD3, 'update', lambda td3: torch.empty(2**60))
    last = read_grid(grid, tmp_path / 'one')[:1]
    finished, (failure,) = sweep.train_batch(last, Listener(), print)
    assert finished and 'at step 60: the memory does not hold 1 learner with' in failure


def test_failures_end_one_run_and_what_is_done_stays(tmp_path: Path) -> None:
    (tmp_path / 'broken_task.py').write_text(NAN_TASK)
    out = tmp_path / 'out'
    grid = write_grid(
        tmp_path / 'g.yaml', environments=['broken_task:Broken-v0', TASK], learners={'ann': ANN}
    )
    first = run(grid, out, '--jobs', 2, modules=tmp_path)
    assert first.returncode == 1
    assert 'Traceback' not in first.stderr
    assert (out / 'grid.yaml').read_bytes() == grid.read_bytes()
    broken = [out / 'broken_task_Broken-v0' / 'ann' / f'seed-{seed}' for seed in (0, 1)]
    well = [out / TASK / 'ann' / f'seed-{seed}' for seed in (0, 1)]
    for folder in broken:
        assert f'failed: {folder} at step 7' in first.stderr
        assert "the reward of task 'Broken-v0' is NaN" in (folder / 'failure.txt').read_text()
    assert '4 runs: 0 done, 0 failed, 4 to train' in first.stdout
    assert '2 of 4 runs are done' in first.stdout
    assert f'proxy-snn report {out} --out' in first.stdout
    for folder in well:
        assert steps(folder) == [0, 40, 80, 120]
        assert f'{TASK}/ann/{folder.name}  step      120  evaluation' in first.stdout
    plot_energy(well, tmp_path / 'energy.svg')
    assert 'hollow: in NumPy, not compiled' in (tmp_path / 'energy.svg').read_text()

    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in out.rglob('*')}

    before = stamps()
    again = run(grid, out, modules=tmp_path)
    assert again.returncode == 1
    assert '4 runs: 2 done, 2 failed, 0 to train' in again.stdout
    assert f'failed: {broken[0]} at step 7' in again.stderr
    assert stamps() == before, 'neither what is done nor what failed is touched'
    for folder in broken:
        (folder / 'failure.txt').unlink()
    assert len(share(read_grid(grid, out), '2/2')) == 2
    part = run(grid, out, '--shard', '2/2', modules=tmp_path)
    assert part.returncode == 0, part.stderr
    assert '2 runs: 2 done, 0 failed, 0 to train' in part.stdout


def test_another_grid_in_the_same_folder(tmp_path: Path) -> None:
    out = tmp_path / 'out'
    grid = write_grid(tmp_path / 'g.yaml', learners={'ann': ANN}, seeds=[0])
    other = tmp_path / 'other.yaml'
    # Of a sweep of which no run could begin, everything can be changed.
    open_sweep(write_grid(other, learners={'ann': {**ANN, 'replay_size': 10**9}}, seeds=[0]), out)
    (member,) = open_sweep(grid, out)
    assert sweep.train_here([member], Listener(), print).finished
    assert is_done(member)
    write_grid(other, learners={'ann': {**ANN, 'tau': 0.5}}, seeds=[0])
    for _ in range(2):
        with pytest.raises(UserError, match=r'setting tau is 0\.5, .* 0\.005'):
            open_sweep(other, out)
        shutil.copy(other, out / 'grid.yaml')  # the run's own folder has it too
    shutil.copy(grid, out / 'grid.yaml')
    # More runs, and longer ones, are welcome.
    longer = {**SETTINGS, 'steps': 100}
    write_grid(other, settings=longer, learners={'ann': ANN}, seeds=[0, 1])
    members = open_sweep(other, out)
    assert [is_done(member) for member in members] == [False, False]
    assert sweep.train_here(members[:1], Listener(), print) == (True, [])
    assert steps(member.folder) == [0, 40, 80, 120, 160]
    with pytest.raises(UserError, match='it is of no sweep'):
        open_sweep(other, tmp_path)
    with pytest.raises(UserError, match="'Nothing-v0' is not registered"):
        open_sweep(write_grid(other, environments=['Nothing-v0']), tmp_path / 'new')
    assert not (tmp_path / 'new').exists()


def test_a_goal_that_is_reached_is_the_end(tmp_path: Path) -> None:
    grid = write_grid(tmp_path / 'g.yaml', settings={**SETTINGS, 'stop_at_return': 1.0})
    member = open_sweep(grid, tmp_path / 'out')[0]
    assert not is_done(member)
    assert sweep.train_here([member], Listener(), print).finished
    assert steps(member.folder) == [0, 40]
    assert is_done(member)


def until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_stopped_killed_and_given_again(tmp_path: Path) -> None:
    """SIGINT, then kill -9, then to the end: the runs are those that were never stopped."""
    long = {**SETTINGS, 'steps': 1500, 'eval_every': 200, 'threads': 1}
    grid = write_grid(tmp_path / 'g.yaml', settings=long, learners={'ann': ANN})
    out = tmp_path / 'out'
    whole = open_sweep(grid, tmp_path / 'whole')[0]
    assert sweep.train_here([whole], Listener(), print) == (True, [])
    folders = [out / TASK / 'ann' / f'seed-{seed}' for seed in (0, 1)]

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(grid, out, '--jobs', 2), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip

    def further(than: int) -> bool:
        return any(f.is_dir() and read_progress(f)['step'].max(initial=0) > than for f in folders)

    process = begin()
    until(lambda: further(0))
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert 'stopped; repeat the command to continue' in output
    for folder in folders:
        if (folder / 'config.yaml').exists():
            assert list((folder / 'checkpoint').glob('checkpoint-*'))
    assert not (folders[0] / 'progress.csv').exists() or steps(folders[0])[-1] < 1560

    process = begin()
    reached = max((steps(f)[-1] for f in folders if (f / 'progress.csv').exists()), default=0)
    until(lambda: further(reached))
    process.kill()
    process.communicate(timeout=300)
    last = run(grid, out, '--jobs', 2)
    assert last.returncode == 0, last.stdout + last.stderr
    assert '2 of 2 runs are done' in last.stdout
    assert rows(folders[0]) == rows(whole.folder)
    assert steps(folders[1]) == steps(whole.folder)


@pytest.mark.parametrize(
    ('flags', 'reported'),
    [
        (['--jobs', 0], '--jobs is 0, expected 1 or more'),
        (['--gpus-per-run', 0.5], '--gpus-per-run goes with --ray alone'),
        (['--ray', '127.0.0.1:1'], '--ray 127.0.0.1:1: no Ray cluster answers'),
    ],
)
def test_flags_that_do_not_go(tmp_path: Path, flags: list, reported: str) -> None:
    pytest.importorskip('ray')
    done = run(write_grid(tmp_path / 'g.yaml'), tmp_path / 'out', *flags)
    assert done.returncode == 1
    assert done.stderr.count('\n') == 1
    assert done.stderr.startswith(f'proxy-snn: {reported}')


def test_a_world_over_ros_stays_on_this_computer(tmp_path: Path) -> None:
    member = Member(TrainConfig(env='ros:task.yaml'), tmp_path / 'run')
    with pytest.raises(UserError, match=r'task ros:task.yaml of .*run does not go with --ray'):
        sweep.train_anywhere([member], Listener(), print, ray='127.0.0.1:1')


# A task of a plugin: Gymnasium's of the name behind the colon.
PLUGIN = """
import gymnasium
from proxy_snn_control.policy.plugins import TASKS

TASKS.register("plugged")(lambda rest: gymnasium.make(rest))
"""
# Starts a Ray cluster of two workers, in a network of its own where that can be made: it binds to
# every address of the machine. Then runs the command it is given, and stops the cluster.
CLUSTER = """
ip link set lo up 2>/dev/null
"$RAY" start --head --num-cpus=2 --node-ip-address=127.0.0.1 --port=$PORT --block \\
  --include-dashboard=false --object-store-memory=80000000 --temp-dir="$TEMPORARY" \\
  > "$TEMPORARY/start.log" 2>&1 &
cluster=$!
trap 'kill $cluster; wait $cluster' EXIT
for i in $(seq 200); do
  grep -q "Ray runtime started" "$TEMPORARY/start.log" && break
  sleep 0.2
done
"$@"
"""


def processes_at(folder: Path) -> list[int]:
    """Return the processes that have a folder open, as one has that is at work on a run."""
    found = []
    for link in Path('/proc').glob('[0-9]*/fd/*'):
        try:
            if os.readlink(link) == str(folder):
                found.append(int(link.parts[2]))
        except OSError:  # it has ended, or closed it
            continue
    return found


def test_on_a_ray_cluster_a_lost_worker_is_no_lost_run(tmp_path: Path) -> None:
    pytest.importorskip('ray')
    """And the workers load the plugin that the task is of."""
    (tmp_path / 'plugged.py').write_text(PLUGIN)
    long = {**SETTINGS, 'steps': 900, 'eval_every': 100, 'plugins': ['plugged']}
    env, out = f'plugged:{TASK}', tmp_path / 'out'
    grid = write_grid(
        tmp_path / 'g.yaml', settings=long, environments=[env], learners={'ann': ANN}
    )
    task = env.replace(':', '_')
    folders = [out / task / 'ann' / f'seed-{seed}' for seed in (0, 1)]
    alone = ['unshare', '--net'] if os.geteuid() == 0 else ['unshare', '--map-root-user', '--net']
    if subprocess.run([*alone, 'true'], capture_output=True, check=False).returncode:
        alone = []  # then it is bound to 127.0.0.1
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = str(server.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix='ray') as temporary:  # a short path, for its sockets
        sweeping = subprocess.Popen(
            [
                *alone,
                *['bash', '-c', CLUSTER, 'cluster'],
                *command(grid, out, '--ray', f'127.0.0.1:{port}'),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={
                **os.environ,
                'PYTHONPATH': f'{Path(__file__).parents[1]}:{tmp_path}',
                'RAY': str(Path(sys.executable).with_name('ray')),
                'RAY_AUTH_MODE': 'disabled',
                'RAY_USAGE_STATS_ENABLED': '0',
                'TEMPORARY': temporary,
                'PORT': port,
            },
        )
        try:
            until(lambda: (folders[0] / 'progress.csv').exists() or sweeping.poll() is not None)
            until(lambda: (checkpoints.steps(folders[0] / 'checkpoint') or [0])[-1] >= 300)
            (worker,) = processes_at(folders[0])
            os.kill(worker, signal.SIGKILL)
            output, _ = sweeping.communicate(timeout=300)
        finally:
            if sweeping.poll() is None:
                os.killpg(sweeping.pid, signal.SIGTERM)
    assert sweeping.returncode == 0, output
    assert f'{task}/ann/seed-0: its worker was lost; it resumes from its checkpoint' in output
    assert 'seed-1: its worker was lost' not in output
    assert '2 of 2 runs are done' in output
    for folder in folders:
        assert steps(folder) == [*range(0, 961, 100), 960]
        assert f'{task}/ann/{folder.name}  step      960  evaluation' in output
