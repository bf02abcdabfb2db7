# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A population: members are learners of their own, whoever is trained beside them."""

import dataclasses
from pathlib import Path
import signal
import subprocess
import sys
import time

from conftest import TASK
import numpy as np
from proxy_snn_control.learning import checkpoint as checkpoints
from proxy_snn_control.learning import draws
from proxy_snn_control.learning.collect import Collector, Place
from proxy_snn_control.learning.config import load_config, save_config
from proxy_snn_control.learning.evaluators import Evaluators
from proxy_snn_control.learning.members import (
    Member,
    new_members,
    resumed_members,
)
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.processes import make_training, Processes
from proxy_snn_control.learning.tasks import TaskSpec
from proxy_snn_control.learning.td3 import MEASURED, TD3
from proxy_snn_control.policy import load_policy, UserError
import pytest
import torch
from training_kit import (
    CPU,
    equal,
    flat,
    learners,
    NORMALISED,
    quick,
    start,
    start_all,
    StopAt,
    timeless,
    Warnings,
)
import yaml

LEARNERS = [
    ('lif', 'proxy'),
    ('lif', 'soft'),
    ('clif', 'proxy'),
    ('dn', 'proxy'),
    ('dn', 'soft'),
    ('relu', 'proxy'),
    ('relu', 'soft'),
]


def own(td3: TD3, member: int) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in td3.tensors(member).items()}


def assert_near(mine: dict, theirs: dict, before: dict) -> None:
    """Equal to rounding, after some steps of Adam.

    Where a gradient is all but zero, rounding decides the sign of Adam's first steps.
    """
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        if '.adam.' in name:
            continue
        moved = float((value - before[name]).abs().max())
        away = (mine[name] - value).abs()
        assert float((away > 0.01 * moved + 1e-7).float().mean()) < 0.01, name


@pytest.mark.parametrize('settings', [{}, NORMALISED], ids=['', 'normalised'])
@pytest.mark.parametrize(('neuron', 'target'), LEARNERS)
def test_a_member_learns_as_it_would_alone(neuron: str, target: str, settings: dict) -> None:
    """Of different seeds, rates and tasks; narrower tasks are padded. Noise included."""
    changes = {'neuron': neuron, 'target': target, 'precision': 'float32', **settings}
    own_settings = {'surrogate': 'tailed'}
    if neuron != 'relu':
        own_settings['spike_cost'] = 3.0
    configs = [
        quick(seed=3, **changes, **own_settings),
        quick(seed=4, actor_learning_rate=1e-3, discount=0.9, exploration_noise=0.3, **changes),
        quick(seed=5, tau=0.02, target_noise=0.4, proxy_learning_rate=5e-3, **changes),
    ]
    sizes = [(7, 3), (4, 1), (7, 2)]
    together = learners(configs, sizes)
    for member, (config, size) in enumerate(zip(configs, sizes, strict=True)):
        alone = learners([config], [size])
        before = own(alone, 0)
        for name, tensor in own(learners(configs, sizes), member).items():
            torch.testing.assert_close(tensor, before[name], atol=0, rtol=0)
        for _ in range(4):
            alone.update()
        if member == 0:
            for _ in range(4):
                together.update()
        assert_near(own(together, member), own(alone, 0), before)
        for name in MEASURED:
            torch.testing.assert_close(
                together.sums[name][member], alone.sums[name][0], rtol=1e-4, atol=1e-6
            )
        # Actions, with noise and at random, are the same numbers too.
        observation = np.random.default_rng(0).normal(size=(1, 1, size[0])).astype(np.float32)
        wide = np.zeros((3, 1, 7), np.float32)
        wide[member, :, : size[0]] = observation[0]
        for at_random in (True, False):
            together.restore(4, 0)
            alone.restore(4, 0)
            (action,), _ = alone.act(observation, at_random)
            both, _ = together.act(wide, at_random)
            own_actions = size[1]
            np.testing.assert_allclose(both[member][:, :own_actions], action, atol=1e-5)
            assert not both[member][:, own_actions:].any(), 'padding has no action'


@pytest.mark.parametrize(('neuron', 'target'), LEARNERS)
def test_members_never_influence_each_other(neuron: str, target: str) -> None:
    """With one member's rewards poisoned, the others are the same to the last bit."""
    configs = [quick(seed=seed, neuron=neuron, target=target) for seed in (0, 1, 2)]
    found = []
    for poison in (0.0, 1e6, np.nan):
        td3 = learners(configs, [(5, 2)] * 3)
        td3.replay.rows[1, :, 7] += poison
        for _ in range(6):
            td3.update()
        found.append(td3)
    clean, *poisoned = found
    for td3 in poisoned:
        for member in (0, 2):
            assert equal(own(clean, member), own(td3, member))
        assert not equal(own(clean, 1), own(td3, 1))
    assert not torch.isfinite(poisoned[1].sums['critic_loss'][1])
    assert torch.isfinite(poisoned[1].sums['critic_loss'][[0, 2]]).all()


@pytest.mark.parametrize('kind', [draws.normal, draws.uniform, draws.as_they_are])
def test_draws_are_one_kernel_on_a_gpu(kind) -> None:
    """Torch's tracer takes them whole, and the counter as a number that changes."""
    place = torch.arange(24).view(1, 4, 6)
    key = draws.keys([0, 1], draws.SMOOTHING, CPU)
    traced = torch.compile(draws.draw.__wrapped__, backend='eager', fullgraph=True, dynamic=False)
    for counter in (torch.tensor(3), torch.tensor(-4)):
        expected = draws.draw(key, counter, place, kind)
        torch.testing.assert_close(traced(key, counter, place, kind), expected)


def test_draws_are_uniform_and_normal_and_never_the_same() -> None:
    key = draws.keys([0, 1], draws.REPLAY, CPU)
    place = torch.arange(50_000)[None]
    bits = draws.bits(key, 7, place)
    assert len(bits.unique()) == bits.numel()
    assert not len(np.intersect1d(bits[0], draws.bits(key, 8, place)[0]))
    other = draws.keys([0, 1], draws.SMOOTHING, CPU)
    assert not (draws.bits(other, 7, place) == bits).any()
    uniform, normal = draws.uniform(bits), draws.normal(bits)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(normal.mean()) == pytest.approx(0, abs=0.02)
    assert float(normal.std()) == pytest.approx(1, abs=0.02)
    assert float((normal.abs() > 1.96).float().mean()) == pytest.approx(0.05, abs=0.005)
    correlation = np.corrcoef(normal[0, :-1], normal[0, 1:])[0, 1]
    assert abs(correlation) < 0.02
    counts = torch.bincount(draws.below(10, bits[0]), minlength=10)
    assert len(counts) == 10
    assert (counts - 5000).abs().max() < 350


def test_splitmix64_has_the_published_numbers() -> None:
    """The first numbers of seed 1234567, from the reference program of SplitMix64."""
    drawn = draws.bits(torch.tensor([1234567]), 0, torch.arange(1, 4)[None])[0]
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [value % 2**64 for value in drawn.tolist()] == expected


def test_runs_of_a_population_and_their_files(tmp_path: Path) -> None:
    """Two tasks and two seeds in one batch: each folder is a run as it would be alone."""
    configs = [quick(seed=seed, env=env) for seed in (0, 1) for env in (TASK, 'Hopper-v4')]
    members = [Member(c, tmp_path / c.env / f'seed-{c.seed}') for c in configs]
    listener = Warnings()
    population = Population(members)
    assert population.run(listener) is True
    assert not listener.texts
    for member in members:
        alone = tmp_path / 'alone' / member.config.env / str(member.config.seed)
        start(member.config, alone).run(Listener())
        mine, theirs = timeless(member.folder), timeless(alone)
        assert [row.keys() for row in mine] == [row.keys() for row in theirs]
        for row, expected in zip(mine, theirs, strict=True):
            for name, value in expected.items():
                assert (row[name] == '') == (value == ''), name
                if value:
                    assert float(row[name]) == pytest.approx(float(value), rel=1e-2, abs=1e-4), (
                        name
                    )
        policy = load_policy(member.folder / 'policy_last.safetensors')
        expected = load_policy(alone / 'policy_last.safetensors')
        assert policy.spec.observation_size == expected.spec.observation_size
        np.testing.assert_allclose(policy.quantiles, expected.quantiles, rtol=1e-3, atol=1e-3)
        again = start(member.config, member.folder, resume=True)  # an ordinary run
        assert again.step == 120


def poison(population: Population, place: int, step: int) -> None:
    assert population.collector.stage is not None
    environment = population.collector.stage.episodes[place].environment.env
    play = environment.step

    def poisoned(action):
        seen, given, *rest = play(action)
        return seen, given + (1e38 if population.step + 1 == step else 0.0), *rest

    environment.step = poisoned


def test_a_member_that_is_not_finite_is_stopped_alone(tmp_path: Path) -> None:
    configs = [quick(seed=seed, steps=200) for seed in (0, 1, 2)]
    clean = start_all(configs, tmp_path / 'clean')
    clean.run(Listener())
    population = start_all(configs, tmp_path / 'poisoned')
    poison(population, 1, 71)
    listener = Warnings()
    assert population.run(listener) is True
    assert population.step == 260
    (received,) = listener.texts
    assert received.startswith('seed 1: stopped at step ')
    assert '_loss is NaN or infinite; the last good checkpoint is ' in received
    (failure,) = population.failures
    assert failure.startswith(f'{tmp_path / "poisoned" / "seed-1"} at step ')
    assert (tmp_path / 'poisoned' / 'seed-1' / 'failure.txt').read_text().strip() in received
    for seed in (0, 2):
        assert timeless(tmp_path / 'poisoned' / f'seed-{seed}') == timeless(
            tmp_path / 'clean' / f'seed-{seed}'
        )
        for name in ('actor', 'critic'):
            of = tmp_path / 'poisoned' / f'seed-{seed}'
            assert not (of / 'failure.txt').exists(), name
    # Resumed, it stays as it is, and can be taken up alone.
    again = start_all(configs, tmp_path / 'poisoned', resume=True)
    assert [run.failure is not None for run in again.runs] == [False, True, False]
    assert again.run(Listener()) is True
    alone = start(configs[1], tmp_path / 'poisoned' / 'seed-1', resume=True)
    assert alone.step == 50
    assert alone.run(Listener()) is True


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'neuron': 'dn', 'target': 'soft', 'num_envs': 2},
        {**NORMALISED, 'target': 'soft'},
        {'normalise_observations': True, 'history': 2, 'num_envs': 2},
    ],
)
def test_a_resumed_population_is_the_one_that_never_stopped(tmp_path: Path, changes: dict) -> None:
    changes = {'env': 'HalfCheetah-v4', 'checkpoint_every': 20, **changes}
    configs = [quick(seed=seed, **changes) for seed in (0, 1)]
    whole = start_all(configs, tmp_path / 'whole')
    whole.run(Listener())
    start_all(configs, tmp_path / 'parted').run(StopAt(60))
    start_all(configs, tmp_path / 'parted', resume=True).run(StopAt(96))
    resumed = start_all(configs, tmp_path / 'parted', resume=True)
    assert not resumed.warnings
    resumed.run(Listener())
    assert equal(flat(resumed.td3), flat(whole.td3))
    assert torch.equal(resumed.replay.rows, whole.replay.rows)
    for seed in (0, 1):
        parted, one = tmp_path / 'parted' / f'seed-{seed}', tmp_path / 'whole' / f'seed-{seed}'
        assert timeless(parted) == timeless(one)
        paths = [folder / 'policy_last.safetensors' for folder in (parted, one)]
        first, second = map(load_policy, paths)
        np.testing.assert_array_equal(first.quantiles, second.quantiles)


def test_members_go_back_to_a_step_that_all_have(tmp_path: Path) -> None:
    """Killed between two members' checkpoints: the one that is ahead goes back."""
    configs = [quick(seed=seed, checkpoint_every=20) for seed in (0, 1)]
    whole = start_all(configs, tmp_path / 'whole')
    whole.run(Listener())
    population = start_all(configs, tmp_path / 'parted')
    saved = []
    save = checkpoints.save

    def killed(folder: Path, step: int, *rest) -> None:
        if step == 100 and saved and saved[-1] == 100:
            raise KeyboardInterrupt
        saved.append(step)
        save(folder, step, *rest)

    checkpoints.save = killed
    try:
        with pytest.raises(KeyboardInterrupt):
            population.run(Listener())
    finally:
        checkpoints.save = save
    folders = [tmp_path / 'parted' / f'seed-{seed}' / 'checkpoint' for seed in (0, 1)]
    assert [checkpoints.steps(folder) for folder in folders] == [[80, 100], [80]]
    again = start_all(configs, tmp_path / 'parted', resume=True)
    assert again.step == 80
    again.run(Listener())
    assert equal(flat(again.td3), flat(whole.td3))
    checkpoints.path_of(folders[0], 120).unlink()
    with pytest.raises(UserError, match=r'no checkpoint of the same step .*none.* 120'):
        start_all(configs, tmp_path / 'parted', resume=True)


def test_a_population_killed_while_it_began_begins_again(tmp_path: Path) -> None:
    configs = [quick(seed=seed) for seed in (0, 1)]
    start(configs[0], tmp_path / 'seed-0')
    again = start_all(configs, tmp_path, resume=True)
    assert again.step == 0
    assert again.run(Listener()) is True


def test_members_that_reach_their_goal_end_alone(tmp_path: Path) -> None:
    """Seed 1 starts above 50, seed 0 below; the goal of the one is no news for the other."""
    configs = [quick(seed=seed, stop_at_return=55.0) for seed in (0, 1)]
    population = start_all(configs, tmp_path)
    assert population.run(Listener()) is True
    steps = [int(timeless(tmp_path / f'seed-{seed}')[-1]['step']) for seed in (0, 1)]
    assert steps == [120, 40]
    assert checkpoints.steps(tmp_path / 'seed-1' / 'checkpoint') == [40]
    again = start_all(configs, tmp_path, resume=True)
    assert again.step == 120
    assert again.run(Listener()) is True


def test_members_must_agree_in_what_they_share(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='setting batch_size is 16 and 32 in one population'):
        start_all([quick(seed=0), quick(seed=1, batch_size=32)], tmp_path)


def test_worker_processes_step_as_this_one_does() -> None:
    """The same transitions from environments here and in processes, through a restore too."""
    widths = (11, 3, 1, 11, 1)
    tasks = [TaskSpec(env) for env in ('Hopper-v4', TASK, 'Hopper-v4')]
    places = [Place(m, task, 5 + m) for m, task in enumerate(tasks)]
    here, aside = Collector(places, widths, 0), Collector(places, widths, 2)
    rng = np.random.default_rng(0)
    ended = 0
    for step in range(150):
        assert np.array_equal(here.arrays.observation, aside.arrays.observation)
        actions = rng.uniform(-1, 1, (3, 3)).astype(np.float32)
        found = []
        for collector in (here, aside):
            collector.begin(actions)
            found.append(collector.end())
        assert np.array_equal(found[0].rows, found[1].rows)
        assert found[0].ended == found[1].ended
        ended += len(found[0].ended)
        if step == 100:
            states = aside.states()
            astray = aside.restore(states)
            assert astray == []
    assert ended > 5
    aside.close()
    here.close()


def test_a_worker_that_ends_is_named() -> None:
    collector = Collector([Place(0, TaskSpec(TASK), 0)], (9, 1, 1, 9, 1), 1)
    collector._workers[0].process.kill()
    collector.begin(np.zeros((1, 1), np.float32))
    with pytest.raises(UserError, match=r'a process of environments .* exit status -9'):
        collector.end()
    collector.close()


def test_a_task_that_workers_cannot_make_is_named() -> None:
    with pytest.raises(UserError, match="'Nothing-v0' is not registered"):
        Collector([Place(0, TaskSpec('Nothing-v0'), 0)], (9, 1, 1, 9, 1), 1)


def test_evaluations_beside_training_give_the_same(tmp_path: Path, monkeypatch) -> None:
    """With environments and evaluations in worker processes, as beside a GPU."""
    configs = [quick(seed=seed) for seed in (0, 1)]
    start_all(configs, tmp_path / 'here').run(Listener())
    monkeypatch.setattr(Population, '_processes', lambda self: (2, 2))
    monkeypatch.setattr('proxy_snn_control.learning.population.MOST_WAITING', 0)
    population = start_all(configs, tmp_path / 'aside')
    assert isinstance(population.evaluators, Evaluators)

    class NoneWaits(Listener):
        """Sees at every step that no evaluation waits."""

        def on_step(self, step: int) -> None:
            assert not population._pending

    assert population.run(NoneWaits()) is True
    population.close()
    for seed in (0, 1):
        aside, here = (tmp_path / name / f'seed-{seed}' for name in ('aside', 'here'))
        assert timeless(aside) == timeless(here)
        about = [load_policy(f / 'policy.safetensors').spec.provenance for f in (aside, here)]
        assert about[0]['step'] == about[1]['step']
        assert about[0]['evaluation'] == about[1]['evaluation']


def test_a_process_of_evaluations_that_ends_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Population, '_processes', lambda self: (0, 1))
    population = start_all([quick()], tmp_path)

    class Kills(Listener):
        """Kills the processes of evaluations once."""

        def on_step(self, step: int) -> None:
            if step == 45:
                for process in population.evaluators._pool._processes.values():
                    process.kill()

    with pytest.raises(UserError, match='a process of evaluations was killed'):
        population.run(Kills())
    population.close()


def test_processes_on_a_cpu_train_as_runs_alone(tmp_path: Path) -> None:
    settings = {**dataclasses.asdict(quick()), 'seed': [0, 1, 2]}
    members = new_members(settings, tmp_path / 'run')
    assert [member.folder.name for member in members] == ['seed-0', 'seed-1', 'seed-2']
    training = make_training(members, jobs=2)
    assert isinstance(training, Processes)
    listener = Warnings()
    assert training.run(listener) is True
    assert training.step == 120
    assert sorted(listener.rows) == [0, 1, 2]
    for seed in (0, 2):
        start(quick(seed=seed), tmp_path / 'alone' / str(seed)).run(Listener())
        assert timeless(tmp_path / 'run' / f'seed-{seed}') == timeless(
            tmp_path / 'alone' / str(seed)
        )
    again = resumed_members(tmp_path / 'run', {'steps': 70})
    assert [member.config.steps for member in again] == [70] * 3


def test_a_process_that_fails_leaves_the_others(tmp_path: Path) -> None:
    members = new_members({**dataclasses.asdict(quick()), 'seed': [0, 1]}, tmp_path / 'run')
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'seed-1').write_text('in the way')
    listener = Warnings()
    training = make_training(members)
    assert training.run(listener) is True
    assert 'seed-1 ' in training.failures[0]
    assert 'is not an empty folder' in training.failures[0]
    assert len(timeless(tmp_path / 'run' / 'seed-0')) == 4


def command(out: Path, *arguments: str) -> list[str]:
    return [sys.executable, '-m', 'proxy_snn_control.cli', 'train', '--out', str(out), *arguments]


def test_seeds_from_the_command_line_stop_and_go_on(tmp_path: Path) -> None:
    config, out = tmp_path / 'quick.yaml', tmp_path / 'run'
    save_config(config, quick(steps=10**6))
    arguments = ['--config', str(config), '--seed', '0', '1', '--set', 'tau=0.01', 'batch_size=8']
    process = subprocess.Popen(
        command(out, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    policies = [out / f'seed-{seed}' / 'policy.safetensors' for seed in (0, 1)]
    deadline = time.monotonic() + 300
    while not all(map(Path.exists, policies)) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert f'--resume --out {out}' in stdout
    assert 'Traceback' not in stderr
    recorded = load_config(out / 'seed-1' / 'config.yaml')
    assert (recorded['seed'], recorded['tau'], recorded['batch_size']) == (1, 0.01, 8)
    steps = [checkpoints.steps(out / f'seed-{seed}' / 'checkpoint')[-1] for seed in (0, 1)]
    again = command(out, '--resume', '--steps', str(max(steps) - 60 + 40))
    done = subprocess.run(again, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        last = timeless(out / f'seed-{seed}')[-1]['step']
        assert int(last) == max(steps) + 40
    refused = subprocess.run(
        command(out, '--resume', '--seed', '5'), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert 'setting seed is 5, but the runs in' in refused.stderr


def test_killed_at_any_moment_a_population_goes_on(tmp_path: Path) -> None:
    config, out = tmp_path / 'quick.yaml', tmp_path / 'run'
    settings = quick(steps=200, checkpoint_every=20, eval_every=60)
    save_config(config, settings)
    for seed in (0, 1):
        alone = tmp_path / 'alone' / str(seed)
        start(dataclasses.replace(settings, seed=seed), alone).run(Listener())
    arguments = ['--config', str(config), '--seed', '0', '1']
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen(
            command(out, *arguments), stdout=subprocess.DEVNULL, start_new_session=True
        )
        began = time.monotonic()
        wait = rng.uniform(0.5, 8.0)
        while process.poll() is None and time.monotonic() - began < wait:
            time.sleep(0.01)
        process.kill()
        process.wait()
        if (out / 'config.yaml').exists():
            arguments = ['--resume']
    done = subprocess.run(
        command(out, *arguments), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        assert timeless(out / f'seed-{seed}') == timeless(tmp_path / 'alone' / str(seed))
    assert not list(out.rglob('*.tmp'))


@pytest.mark.parametrize('seed', [0, [0, 1]], ids=['one', 'two'])
@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        ({'env': 'NoSuchTask-v0'}, 'NoSuchTask-v0'),
        ({'replay_size': 10**9, 'history': 1000}, 'replay_size is 1000000000, more than'),
    ],
    ids=['task', 'memory'],
)
def test_what_cannot_begin_leaves_nothing(
    tmp_path: Path, changes: dict, why: str, seed: int | list[int]
) -> None:
    out = tmp_path / 'run'
    members = new_members({**dataclasses.asdict(quick()), **changes, 'seed': seed}, out)
    with pytest.raises(UserError, match=why):
        make_training(members).run(Listener())
    assert not out.exists()


def test_what_ran_is_recorded(tmp_path: Path) -> None:
    start(quick(env='InvertedDoublePendulum', precision='auto'), tmp_path / 'run').run(Listener())
    recorded = yaml.safe_load((tmp_path / 'run' / 'config.yaml').read_text())
    assert recorded['env'] == 'InvertedDoublePendulum-v5'
    assert recorded['device'] == 'cpu'
    assert recorded['precision'] in ('float32', 'bfloat16')
    (record,) = recorded['recorded']
    for name in ('proxy_snn_control', 'torch', 'gymnasium', 'mujoco', 'numpy', 'processor'):
        assert record[name]
    assert record['from_step'] == 0
    about = load_policy(tmp_path / 'run' / 'policy.safetensors').spec.provenance
    assert about['env'] == 'InvertedDoublePendulum-v5'
    assert about['precision'] == recorded['precision']
    assert about['versions']['torch'] == record['torch']
    # The same command with --resume goes on; another task does not.
    (member,) = resumed_members(tmp_path / 'run', {'env': 'InvertedDoublePendulum'})
    assert member.config.env == 'InvertedDoublePendulum-v5'
    with pytest.raises(UserError, match="setting env is 'Hopper'"):
        resumed_members(tmp_path / 'run', {'env': 'Hopper'})


STARTS_ONE = """
import multiprocessing, os, time
from proxy_snn_control.learning.collect import end_with_parent

def child(ready):
    ready.wait()
    end_with_parent()
    time.sleep(600)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=child, args=(ready,), daemon=True)
    process.start()
    print(process.pid, flush=True)
    ready.set()
    os.kill(os.getpid(), 9)
"""


def test_a_process_whose_parent_was_killed_while_it_started_ends(tmp_path: Path) -> None:
    (tmp_path / 'starts_one.py').write_text(STARTS_ONE)
    started = subprocess.run(
        [sys.executable, str(tmp_path / 'starts_one.py')],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300, check=False,
    )  # fmt: skip
    process = Path(f'/proc/{int(started.stdout)}/status')
    deadline = time.monotonic() + 300
    while process.exists() and '(zombie)' not in process.read_text():
        assert time.monotonic() < deadline, 'the process goes on without its parent'
        time.sleep(0.05)
