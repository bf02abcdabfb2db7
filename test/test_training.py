# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Training on real MuJoCo: the algorithm's promises, the run's files, stopping and going on."""

import csv
import errno
import fcntl
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from conftest import TASK
import numpy as np
from proxy_snn_control.learning import checkpoint as checkpoints
from proxy_snn_control.learning.config import load_config, save_config, TrainConfig
from proxy_snn_control.learning.evaluate import evaluate
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.tasks import make_environment, TaskSpec
from proxy_snn_control.learning.td3 import twin_q
from proxy_snn_control.policy import load_policy, UserError
from proxy_snn_control.spiking.actor import ReLUActor
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
import torch
from training_kit import (
    equal,
    flat,
    learners,
    NORMALISED,
    quick,
    start,
    StopAt,
    timeless,
    Warnings,
)


def test_what_is_updated_when_in_algorithm_3() -> None:
    config = quick(tau=0.01, proxy_updates=3, hidden=(16,))
    td3 = learners([config], [(4, 1)])
    for update in (1, 2, 3, 4):
        before = flat(td3)
        td3.update()
        after = flat(td3)
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        if update % 2:
            assert moved == {'target', 'critic'}
            continue
        assert moved == set(before)
        averaged = 0.99 * before['target_critic'] + 0.01 * after['critic']
        torch.testing.assert_close(after['target_critic'], averaged)
    assert td3.target_adam is not None
    moments = td3.target_adam.moments(0)
    assert moments['step'] == 4 * 3, 'K Adam steps of the proxy per training step'


def test_the_critic_goal_is_the_clipped_double_q_of_the_proxy() -> None:
    """One critic update against the textbook, with the target noise switched off."""
    config = quick(
        proxy_updates=1, target_noise=0.0, discount=0.9, critic_learning_rate=1e-12, hidden=(16,)
    )
    td3 = learners([config], [(4, 1)])
    td3.update()
    loss = td3.sums['critic_loss'][0]
    batch = td3.replay.sample(torch.tensor(1), config.batch_size)
    with torch.no_grad():
        action = td3.target(batch.next_observation).clamp(-1, 1)
        first, second = twin_q(td3.target_critic, batch.next_observation, action)[0]
        lower = torch.minimum(first, second)
        reward, terminal = batch.reward[0], batch.terminal[0]
        goal = torch.where(terminal == 1, reward, reward + 0.9 * lower)
        now = twin_q(td3.critic, batch.observation, batch.action)[0]
        errors = [((q - goal) ** 2).mean() for q in now]
    assert 0 < terminal.mean() < 1
    torch.testing.assert_close(loss.float(), sum(errors), rtol=1e-4, atol=1e-6)


def test_the_proxy_learns_to_imitate() -> None:
    config = quick(proxy_hidden=(64, 64), proxy_learning_rate=3e-3, hidden=(16,))
    td3 = learners([config], [(4, 1)])
    assert td3.target_adam is not None
    torch.manual_seed(0)
    observations = torch.randn(1, 512, 4)
    with torch.no_grad():
        actions = td3.actor(observations)
    losses = []
    for _ in range(200):
        loss, slope = td3.target.imitation(observations, actions)
        td3.target_adam.step(slope)
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 10
    assert losses[-1] < actions.var() / 2


def test_time_limits_are_not_terminal(tmp_path: Path) -> None:
    config = quick(env='Pendulum-v1', random_steps=450, steps=1, eval_every=1000, eval_episodes=1)
    run = start(config, tmp_path / 'run')
    run.run(Listener())
    ended = run.replay.rows[0, : len(run.replay), -1].sum()
    assert len(run.replay) == 451
    assert ended == 0, 'Pendulum ends by its time limit alone, twice in these steps'


def test_a_run_and_its_files(tmp_path: Path) -> None:
    out = tmp_path / 'run'
    run = start(quick(), out)
    assert run.run(Listener()) is True
    assert run.step == 120
    names = {path.name for path in out.iterdir()}
    assert {
        'config.yaml',
        'progress.csv',
        'checkpoint',
        'policy.safetensors',
        'policy_last.safetensors',
    } <= names
    assert any(name.startswith('events.out.tfevents') for name in names), 'TensorBoard events'
    with open(out / 'progress.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['step'] for row in rows] == ['0', '40', '80', '120']
    assert float(rows[-1]['critic_loss']) > 0
    assert float(rows[-1]['proxy_loss']) > 0
    assert float(rows[-1]['steps_per_second']) > 0
    assert TrainConfig(**load_config(out / 'config.yaml')) == run.runs[0].config

    best = load_policy(out / 'policy.safetensors')
    means = {int(row['step']): float(row['eval_return_mean']) for row in rows[1:]}
    about = best.spec.provenance
    assert about['step'] == max(means, key=lambda step: means[step])
    assert about['evaluation']['mean'] == max(means.values())
    again = evaluate(best, make_environment(TASK), 2, run.runs[0].config.evaluation_seed)
    assert again is not None
    assert again.mean == about['evaluation']['mean'], 'the file acts as the actor in training did'

    assert best.spec.control_period == 0.05
    assert best.spec.observation_names is not None
    assert best.spec.observation_names[0] == 'slider.position'
    last = load_policy(out / 'policy_last.safetensors')
    seen = run.replay.every(0, 1)['observation']
    np.testing.assert_array_equal(last.quantiles[0], seen.min(axis=0))
    np.testing.assert_array_equal(last.quantiles[-1], seen.max(axis=0))
    middle = last.spec.observation_quantile_levels.index(0.5)
    np.testing.assert_allclose(last.quantiles[middle], np.median(seen, axis=0), atol=1e-6)


def test_same_seed_same_run(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> dict:
        run = start(quick(seed=seed), tmp_path / name)
        run.run(Listener())
        return flat(run.td3)

    first = weights('a', 1)
    assert equal(first, weights('b', 1))
    assert not equal(first, weights('c', 2))


def test_stop_and_resume(tmp_path: Path) -> None:
    out = tmp_path / 'run'
    run = start(quick(), out)
    assert run.run(StopAt(97)) is False
    stopped, count = flat(run.td3), run.replay.count
    assert run.step == 97
    run = start(quick(), out, resume=True)
    assert run.step == 97
    assert run.replay.count == count == 97
    assert equal(flat(run.td3), stopped)
    assert run.td3.actor_adam.moments(0)['step'] == (97 - 60) // 2
    assert run.run(Listener()) is True
    with open(out / 'progress.csv', newline='') as file:
        assert [row['step'] for row in csv.DictReader(file)] == ['0', '40', '80', '120']


def test_stopped_within_an_evaluation(tmp_path: Path) -> None:
    class StopInEvaluation(Listener):
        asked = 0

        def should_stop(self) -> bool:
            self.asked += 1
            return self.asked > 3

    out = tmp_path / 'run'
    assert start(quick(), out).run(StopInEvaluation()) is False
    run = start(quick(), out, resume=True)
    assert run.runs[0].rows == []
    assert run.run(Listener()) is True
    assert [row['step'] for row in run.runs[0].rows] == [0, 40, 80, 120]


def test_early_stop_at_a_return(tmp_path: Path) -> None:
    run = start(quick(stop_at_return=1.0), tmp_path / 'run')
    assert run.run(Listener()) is True
    assert run.step == 40, 'the first evaluation that leaves a policy'
    assert checkpoints.steps(tmp_path / 'run' / 'checkpoint') == [40]
    assert start(quick(stop_at_return=1.0), tmp_path / 'run', resume=True).run(Listener()) is True


def test_no_run_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / 'precious').write_text('x')
    with pytest.raises(UserError, match='not an empty folder'):
        start(quick(), tmp_path)
    with pytest.raises(UserError, match='not an empty folder'):
        start(quick(), tmp_path / 'precious')
    assert os.listdir(tmp_path) == ['precious']


def test_two_processes_do_not_train_one_run(tmp_path: Path) -> None:
    def claims() -> bool:
        other = os.open(out, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(UserError, match=f'{out}: another process uses this folder'):
                start(quick(), out, resume=True)
        except BlockingIOError:
            return False
        finally:
            os.close(other)
        return True

    class Looks(Listener):
        """Sees at every step that the folder is claimed."""

        def on_step(self, step: int) -> None:
            assert not claims()

    out = tmp_path / 'run'
    start(quick(), out).run(Looks())
    assert claims()
    assert start(quick(), out, resume=True).run(Listener()) is True


def test_a_run_that_cannot_begin_can_begin_again(tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / 'run'
    with monkeypatch.context() as context:
        context.setattr('proxy_snn_control.learning.run.save_config', fail)
        with pytest.raises(RuntimeError):
            start(quick(), out)
    assert os.listdir(out) == []
    assert start(quick(), out).step == 0


def test_resume_needs_a_whole_checkpoint_that_fits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no run to resume'):
        start(quick(), tmp_path, resume=True)
    out = tmp_path / 'run'
    start(quick(), out)
    again = start(quick(), out, resume=True)  # killed before the first checkpoint
    assert again.step == 0
    again.run(StopAt(70))
    with pytest.raises(UserError, match='does not fit this run'):
        start(quick(hidden=(8,)), out, resume=True)
    with pytest.raises(UserError, match='it was written with policy_delay 2, not 3'):
        start(quick(policy_delay=3), out, resume=True)
    checkpoint = checkpoints.path_of(out / 'checkpoint', 70)
    (transitions,) = checkpoint.parent.glob('replay-*')
    kept = transitions.read_bytes()
    for damage, reported in (
        (lambda: transitions.write_bytes(kept[:-4]), r'replay-\S+ does not fit this run'),
        (transitions.unlink, r'replay-\S+: no such file'),
    ):
        damage()
        with pytest.raises(UserError, match=reported):
            start(quick(), out, resume=True)
    for place in (len(kept) // 2, len(kept) - 1, len(kept) - 1000):
        damaged = bytearray(kept)
        damaged[place] ^= 1
        transitions.write_bytes(damaged)
        with pytest.raises(UserError, match=r'replay-\S+ does not fit this run: it is damaged'):
            start(quick(), out, resume=True)
    save_file({'observation': torch.zeros(70, 9)}, transitions)
    with pytest.raises(UserError, match='it has no checksum'):
        start(quick(), out, resume=True)
    checkpoints._save(transitions, {'observation': torch.zeros(70, 9)})
    with pytest.raises(UserError, match='does not hold 70 transitions'):
        start(quick(), out, resume=True)
    transitions.write_bytes(kept)
    whole = checkpoint.read_bytes()
    with safe_open(checkpoint, framework='pt') as file:
        metadata = file.metadata()
    for change in (
        lambda t: t.pop('actor.layers.0.bias'),
        lambda t: t.update({'target.layers.0.weight': torch.zeros(3, 1)}),
        lambda t: [t.pop(name) for name in list(t) if name.startswith('actor.adam.')],
        lambda t: t.update({'critic.1.adam.exp_avg.layers.0.weight': torch.zeros(1)}),
        lambda t: t.pop('episode.0.actions'),
        lambda t: t.update(surprise=torch.zeros(1)),
    ):
        checkpoint.write_bytes(whole)
        tensors = load_file(checkpoint)
        change(tensors)
        checkpoints._save(checkpoint, tensors, metadata['state'])
        with pytest.raises(UserError, match='does not fit this run'):
            start(quick(), out, resume=True)
    state = json.loads(metadata['state'])
    for field, value in (
        ('rows', 5),
        ('rows', [{'a': 1}]),
        ('step', 'x'),
        ('settings', {}),
        ('step', 60),
        ('updates', None),
        ('sums', {}),
        ('episodes', []),
        ('replay', [[0, 60]]),
        ('replay', [[20, 70]]),
    ):
        checkpoint.write_bytes(whole)
        changed = json.dumps({**state, field: value})
        checkpoints._save(checkpoint, load_file(checkpoint), changed)
        with pytest.raises(UserError, match='does not fit this run'):
            start(quick(), out, resume=True)
    checkpoint.write_bytes(whole[:1000])
    with pytest.raises(UserError, match='does not fit this run'):
        start(quick(), out, resume=True)
    rng = np.random.default_rng(0)
    for place in rng.integers(8, len(whole), 8):  # one bit of the header, or of a number
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        checkpoint.write_bytes(damaged)
        with pytest.raises(UserError, match=r'does not fit this run|has version'):
            start(quick(), out, resume=True)


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'env': 'HalfCheetah-v4', 'neuron': 'clif'},  # its episodes outlast the run
        {'neuron': 'dn', 'target': 'soft', 'replay_size': 30},
        {'neuron': 'relu', 'num_envs': 2, 'checkpoint_every': 10},
        {**NORMALISED, 'surrogate': 'tailed', 'spike_cost': 0.1},
        {**NORMALISED, 'neuron': 'relu'},
        {
            'env': 'HalfCheetah-v4',
            'normalise_observations': True,
            'history': 3,
            'previous_action': True,
        },
    ],
    ids=[
        'lif',
        'within an episode',
        'replay wrapped around',
        'two environments',
        'all settings',
        'normalised relu',
        'memory',
    ],
)
def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path: Path, changes: dict) -> None:
    whole, parted = tmp_path / 'whole', tmp_path / 'parted'
    straight = start(quick(**changes), whole)
    straight.run(Listener())
    start(quick(**changes), parted).run(StopAt(60))
    start(quick(**changes), parted, resume=True).run(StopAt(97))
    resumed = start(quick(**changes), parted, resume=True)
    assert not resumed.warnings
    resumed.run(Listener())
    assert timeless(parted) == timeless(whole)
    assert resumed.step == 120
    assert equal(flat(resumed.td3), flat(straight.td3))
    policies = [load_policy(each / 'policy_last.safetensors') for each in (whole, parted)]
    first, second = (policy._tensors for policy in policies)
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert resumed.replay.count == straight.replay.count
    assert torch.equal(resumed.replay.rows, straight.replay.rows)


def test_a_task_that_does_not_repeat_itself_starts_a_new_episode(tmp_path: Path) -> None:
    out = tmp_path / 'run'
    start(quick(), out).run(StopAt(70))
    path = checkpoints.path_of(out / 'checkpoint', 70)
    with safe_open(path, framework='pt') as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors['episode.0.observation'] += 1
    checkpoints._save(path, tensors, metadata['state'])
    run = start(quick(), out, resume=True)
    assert 'is not deterministic: the interrupted episode starts again' in run.warnings[0][1]
    assert run.run(Listener()) is True


def test_many_checkpoints_leave_few_files(tmp_path: Path) -> None:
    run = start(quick(checkpoint_every=1), tmp_path / 'run')
    run.run(Listener())
    names = os.listdir(tmp_path / 'run' / 'checkpoint')
    assert sorted(names) == [
        'checkpoint-0000000120.safetensors',
        'replay-0000000000-0000000120.safetensors',
    ]


def environment_of(run: Population):
    """Return the environment in which it gathers experience."""
    assert run.collector.stage is not None
    return run.collector.stage.episodes[0].environment


def poison(run: Population, step: int, observation: float = 0.0, reward: float = 0.0) -> None:
    """Make the task add these numbers to what it gives at one step."""
    environment = environment_of(run).env
    play = environment.step

    def poisoned(action):
        seen, given, *rest = play(action)
        if run.step + 1 == step:
            seen, given = seen + observation, given + reward
        return seen, given, *rest

    environment.step = poisoned


@pytest.mark.parametrize(
    ('changes', 'reported'),
    [
        ({'reward': np.nan}, 'the reward of task .* is NaN or infinite'),
        ({'observation': np.inf}, r'observation\[0\] of task .* is NaN or infinite'),
        ({'reward': 1e38}, '_loss is NaN or infinite'),
    ],
)
def test_a_nan_stops_the_run_and_is_named(tmp_path: Path, changes: dict, reported: str) -> None:
    run = start(quick(), tmp_path / 'run')
    poison(run, 71, **changes)
    with pytest.raises(UserError, match=reported) as caught:
        run.run(Listener())
    assert f'at step {run.step} ' in str(caught.value)
    assert 'last good checkpoint is ' in str(caught.value)
    path = checkpoints.path_of(tmp_path / 'run' / 'checkpoint', 50)
    assert str(path) in str(caught.value)
    assert (tmp_path / 'run' / 'failure.txt').read_text() == f'{caught.value}\n'
    again = start(quick(), tmp_path / 'run', resume=True)
    assert again.step == 50
    assert again.run(Listener()) is True
    assert not (tmp_path / 'run' / 'failure.txt').exists()


def fail(*_, **__):
    raise RuntimeError('motor is off')


@pytest.mark.parametrize(
    ('method', 'evaluating', 'change', 'reported'),
    [
        ('reset', False, lambda seen, about: (seen * np.nan, about), r'observation\[0\] of task'),
        (
            'reset',
            False,
            lambda seen, about: (seen[:1], about),
            r'has shape \(1,\), expected \(9,\)',
        ),
        (
            'reset',
            True,
            fail,
            r'failed in reset: RuntimeError: motor is off \(.*test_training.py:',
        ),
        ('step', False, fail, r'failed in step: RuntimeError: motor is off \(.*test_training.py:'),
        ('step', False, lambda seen, given, *rest: (seen, given), 'gives .*, expected 5 values: '),
        (
            'step',
            False,
            lambda seen, given, *rest: (seen, None, *rest),
            'reward of .* is None, expected a',
        ),
        ('step', False, lambda seen, *rest: (['x'] * 9, *rest), 'is no array of numbers'),
        ('step', False, lambda seen, *rest: (seen * 1e300, *rest), r'observation\[0\] of task'),
        ('step', True, lambda seen, given, *rest: (seen, np.nan, *rest), 'the reward of task'),
    ],
)
def test_a_task_that_fails_is_named(tmp_path: Path, method, evaluating, change, reported) -> None:
    run = start(quick(), tmp_path / 'run')
    run.run(StopAt(50))
    wrapped = run.evaluators.environments[TaskSpec(TASK)] if evaluating else environment_of(run)
    play = getattr(wrapped.env, method)
    setattr(wrapped.env, method, lambda *action, **options: change(*play(*action, **options)))
    with pytest.raises(UserError, match=reported) as caught:
        run.run(Listener())
    assert f'at step {run.step} ' in str(caught.value)
    assert '; the last good checkpoint is ' in str(caught.value)


def test_no_checkpoint_of_weights_that_are_no_numbers(tmp_path: Path) -> None:
    run = start(quick(), tmp_path / 'run')
    run.run(StopAt(70))
    with torch.no_grad():
        run.td3.critic.weights.flat[1, 0] = torch.nan
    reported = r'at step 70 critic\.1\.layers\.0\.weight is NaN or infinite'
    with pytest.raises(UserError, match=reported):
        run.checkpoint()
    assert start(quick(), tmp_path / 'run', resume=True).step == 70


FULL_DISK = """
import resource, sys
from pathlib import Path
from proxy_snn_control import cli
from proxy_snn_control.learning.population import Population
save = Population.checkpoint
def checkpoint(self):
    if self.step >= 100:  # from here on no file may grow beyond this: what a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    save(self)
Population.checkpoint = checkpoint
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    config, out = tmp_path / 'quick.yaml', tmp_path / 'run'
    save_config(config, quick())
    command = [sys.executable, '-c', FULL_DISK, 'train', '--config', config, '--out', out]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr
    assert f'{out}/checkpoint/replay-' in done.stderr
    assert 'at step 100: ' in done.stderr
    assert 'cannot be written' in done.stderr
    assert f'the last good checkpoint is {out}/checkpoint/checkpoint-0000000050' in done.stderr
    run = start(quick(), out, resume=True)
    assert run.step == 50
    assert run.run(Listener()) is True


@pytest.mark.filterwarnings('error::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_disk_full_of_tensorboard_is_reported_once(tmp_path: Path, monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = start(quick(), tmp_path / 'run')
    run.run(StopAt(70))
    monkeypatch.setattr('tensorboard.summary.writer.record_writer.RecordWriter.write', full)
    reported = (
        r'events\.out\.tfevents\.\*: cannot be written: No space left on device; the last good'
    )
    with pytest.raises(UserError, match=reported):
        run.run(Listener())


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """After kill -9, wherever it strikes, the run goes on and ends as if nothing had happened."""
    settings = quick(steps=300, checkpoint_every=20, eval_every=60)
    config, out = tmp_path / 'quick.yaml', tmp_path / 'run'
    save_config(config, settings)
    start(settings, tmp_path / 'whole').run(Listener())
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'train', '--out', str(out)]
    process = subprocess.Popen([*command, '--config', str(config)], stdout=subprocess.DEVNULL)
    kills, reached = 0, -1
    folder, rng = out / 'checkpoint', np.random.default_rng(0)
    while True:
        while process.poll() is None and (checkpoints.steps(folder) or [-1])[-1] <= reached:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        steps = checkpoints.steps(folder)
        assert steps[-1] > reached
        reached = steps[-1]
        process = subprocess.Popen([*command, '--resume'], stdout=subprocess.DEVNULL)
        if kills == 5:
            process.wait(120)
            break
    assert process.returncode == 0
    assert kills >= 3
    assert timeless(out) == timeless(tmp_path / 'whole')
    assert not list(out.rglob('*.tmp'))


def test_a_zero_gradient_is_reported_at_once(tmp_path: Path) -> None:
    run = start(quick(), tmp_path / 'run')
    with torch.no_grad():  # the output layer far above its threshold: firing, not learning
        weights = run.td3.actor.weights
        weights.of(0, weights.flat[0])['layers.2.bias'].fill_(50.0)
        weights.version += 1
    listener = Warnings()
    run.run(listener)
    assert len(listener.texts) == 1, 'reported once'
    assert "step 62: the actor's gradient is exactly zero" in listener.texts[0]
    assert 'membrane potential is inside the surrogate window, or' in listener.texts[0]
    last = run.runs[0].rows[-1]
    assert last['actor_gradient_norm'] == 0
    assert last['inside_window_3'] == 0
    assert last['firing_rate_3'] == 1


def test_an_intermittently_zero_gradient_is_reported_once_and_when_it_ends(tmp_path: Path) -> None:
    """Zero at step 100, 110 and 130, then no more: eval_every, 40 steps, later it has ended."""
    run = start(quick(), tmp_path / 'run')
    reported = {}
    for step in range(100, 300, 10):
        run.step = step
        watch = np.ones((1, 5), np.float32)
        watch[0, -1] = 0.0 if step in (100, 110, 130, 250) else 0.5
        run._check(watch)
        if run.warnings:
            ((_, reported[step]),) = run.warnings
            run.warnings.clear()
    assert list(reported) == [100, 170, 250, 290]
    assert "the actor's gradient is exactly zero" in reported[100]
    assert 'no longer zero: it was at some updates from step 100 to 130' in reported[170]
    assert 'exactly zero' in reported[250]
    run.close()


@pytest.mark.parametrize('neuron', ['lif', 'relu'])
def test_actions_at_their_limits_are_a_dead_gradient_too(tmp_path: Path, neuron: str) -> None:
    run = start(quick(neuron=neuron), tmp_path / 'run')
    with torch.no_grad():
        weights = run.td3.actor.weights
        last = 'decoder.bias' if neuron == 'lif' else 'layers.2.bias'
        weights.of(0, weights.flat[0])[last].fill_(50.0)
        weights.version += 1
    listener = Warnings()
    run.run(listener)
    assert 'or its actions are all at their limits' in listener.texts[0]
    assert ('surrogate window' in listener.texts[0]) == (neuron == 'lif')
    assert run.runs[0].rows[-1]['saturated_outputs'] == 1


def test_a_gradient_that_is_not_zero_is_not_reported(tmp_path: Path) -> None:
    run = start(quick(), tmp_path / 'run')
    run.run(Listener())
    assert not run.warnings
    last = run.runs[0].rows[-1]
    assert last['actor_gradient_norm'] > 0
    assert all(0 < last[f'inside_window_{i}'] < 1 for i in (1, 2, 3))
    assert all(0 < last[f'firing_rate_{i}'] < 1 for i in (0, 1, 2, 3))


def parts(run: Population) -> dict[str, torch.Tensor]:
    """Return the actor's weights by name."""
    weights = run.td3.actor.weights
    return {name: part.clone() for name, part in weights.of(0, weights.flat[0]).items()}


@pytest.mark.parametrize('target', ['proxy', 'soft'])
@pytest.mark.parametrize('neuron', ['lif', 'clif', 'dn', 'relu'])
def test_every_learner_learns_and_acts(tmp_path: Path, neuron: str, target: str) -> None:
    """A few hundred steps of real MuJoCo for each combination in the paper."""
    config = quick(
        neuron=neuron, target=target, steps=300, random_steps=100, eval_every=200, env='Hopper-v4'
    )
    run = start(config, tmp_path / 'run')
    before = parts(run)
    assert run.run(Listener()) is True
    assert all(not torch.equal(before[name], now) for name, now in parts(run).items())
    policy = load_policy(tmp_path / 'run' / 'policy_last.safetensors')
    assert policy.spec.neuron == neuron
    observation = run.replay.every(0, 1)['observation'][:5]
    if isinstance(run.td3.actor, ReLUActor):  # what is deployed computes in float32
        run.td3.actor.network.products = 'float32'
    with torch.no_grad():
        (expected,) = run.td3.actor(torch.from_numpy(observation)[None]).numpy()
    for row, action in zip(observation, expected, strict=True):
        np.testing.assert_allclose(policy.act(row), action, atol=1e-4)
    assert (policy.spike_count > 0) == (neuron != 'relu')
    with open(tmp_path / 'run' / 'progress.csv', newline='') as file:
        last = list(csv.DictReader(file))[-1]
    assert bool(last['proxy_loss']) == (target == 'proxy')
    assert ('firing_rate_1' in last) == (neuron != 'relu')


def test_training_evaluation_and_file_have_the_paper_s_physics(tmp_path: Path) -> None:
    run = start(quick(env='Hopper-v4', paper_physics=True), tmp_path / 'run')
    run.run(StopAt(1))  # with the evaluation at step 0
    environments = [
        run.collector.stage.episodes[0].environment,
        *run.evaluators.environments.values(),
    ]
    assert len(environments) == 2
    usual = make_environment('Hopper-v4').unwrapped.model.geom_margin
    for environment in environments:
        np.testing.assert_array_equal(environment.unwrapped.model.geom_margin, 0.5 * usual)
    assert run.runs[0].spec(0, {}).provenance['paper_physics'] is True
    assert 'paper_physics' not in start(quick(), tmp_path / 'b').runs[0].spec(0, {}).provenance
    run.close()


def test_environments_have_seeds_of_their_own(tmp_path: Path) -> None:
    run = start(quick(num_envs=3, eval_every=60, checkpoint_every=60), tmp_path / 'run')
    starts = [tuple(observation) for observation in run.collector.arrays.observation]
    assert len(set(starts)) == 3
    run.run(Listener())
    assert run.step == run.replay.count == 120
    assert run.td3.updates == 60, 'one update for each training step, however many environments'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_command_with_whole_files(
    tmp_path: Path, number: signal.Signals
) -> None:
    config, out = tmp_path / 'quick.yaml', tmp_path / 'run'
    save_config(config, quick(steps=10**6))
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'train']
    command += ['--config', str(config), '--out', str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (out / 'policy.safetensors').exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0
    assert 'Traceback' not in stderr
    assert '--resume' in stdout
    load_policy(out / 'policy.safetensors')
    run = start(quick(steps=10**6), out, resume=True)
    assert run.step >= 40
    assert not [path for path in out.rglob('*') if path.name.endswith('.tmp')]
