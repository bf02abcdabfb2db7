# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Tasks as people have them: any structure of observations, what they are made with, and names."""

from collections.abc import Iterator
import copy
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.spaces import Box
import numpy as np
from proxy_snn_control.learning.config import load_config, set_values, TrainConfig
from proxy_snn_control.learning.normaliser import Normaliser
from proxy_snn_control.learning.plot import plot_spikes
from proxy_snn_control.learning.population import Listener
from proxy_snn_control.learning.tasks import describe, make_environment, task_of_policy, TaskSpec
from proxy_snn_control.learning.td3 import TD3
from proxy_snn_control.policy import load_policy, UserError
from proxy_snn_control.policy.errors import TaskError
from proxy_snn_control.spiking.actor import Sizes
import pytest
import torch
from training_kit import CPU, equal, filled_replay, flat, quick, start, Warnings

# A module of somebody's: a cart to be driven to a goal, told in a nested observation with a range
# of metres and one of encoder counts, and commanded by a matrix.
CARTS = """
import gymnasium
import numpy as np
from gymnasium import spaces


class Cart(gymnasium.Env):
    control_period = 0.05
    action_names = ["push"]

    def __init__(self, cost=0.1, far=10.0, **_):
        self.cost, self.far = cost, far
        self.observation_space = spaces.Dict({
            "state": spaces.Dict({"counts": spaces.Box(-np.inf, np.inf, (2,), np.float64)}),
            "achieved_goal": spaces.Box(-100, 100, (1,)),
            "gear": spaces.Discrete(2),
        })
        self.action_space = spaces.Box(-1, 1, (1, 1))

    def observe(self):
        counts = np.array([self.x, self.v]) * 1e4
        return {"gear": int(self.v > 0), "achieved_goal": np.float32([self.x - self.goal]),
                "state": {"counts": counts}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.v, self.t = 0.0, 0.0, 0
        self.goal = self.np_random.uniform(-self.far, self.far)
        return self.observe(), {}

    def step(self, action):
        assert action.shape == (1, 1)
        self.v += 0.1 * float(action[0, 0])
        self.x += 0.1 * self.v
        self.t += 1
        reward = -abs(self.x - self.goal) - self.cost * float(abs(action[0, 0]))
        return self.observe(), reward, False, self.t == 20, {}


gymnasium.register("Cart-v0", Cart)
gymnasium.register("Cart-v1", Cart, max_episode_steps=5)
"""
CART_NAMES = ('achieved_goal.0', 'gear.0', 'gear.1', 'state.counts.0', 'state.counts.1')


@pytest.fixture
def carts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder with the module `carts` in it, which Python finds."""
    (tmp_path / 'carts.py').write_text(CARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop('carts', None)
    for name in ('Cart-v0', 'Cart-v1'):
        gymnasium.registry.pop(name, None)


class Shaped(gymnasium.Env):
    """A task of any spaces, whose observations are samples."""

    def __init__(
        self, observation_space: Any, action_space: Any = None, **attributes: Any
    ) -> None:
        self.observation_space = observation_space
        self.action_space = action_space or Box(-1, 1, (1,))
        for name, value in attributes.items():
            setattr(self, name, value)

    def reset(self, **_: Any) -> Any:
        self.observation_space.seed(0)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.fixture
def shaped() -> Iterator[Any]:
    def register(*given: Any, wrappers: Any = (), **attributes: Any) -> str:
        def make(**_: Any) -> gymnasium.Env:
            made: gymnasium.Env = Shaped(*given, **attributes)
            for wrapper in wrappers:
                made = wrapper(made)
            return made

        gymnasium.register('Shaped-v0', make, disable_env_checker=True)
        return 'Shaped-v0'

    yield register
    gymnasium.registry.pop('Shaped-v0', None)


STRUCTURES: dict[str, tuple[Any, tuple[str, ...] | None]] = {
    'a matrix': (Box(-1, 1, (2, 3)), None),
    'a number': (Box(-1, 1, ()), None),
    'goals': (
        spaces.Dict({n: Box(-9, 9, (2,)) for n in ('observation', 'achieved_goal', 'desired')}),
        (
            'achieved_goal.0',
            'achieved_goal.1',
            'desired.0',
            'desired.1',
            'observation.0',
            'observation.1',
        ),
    ),
    'in the order of the space': (
        spaces.Dict([('z', Box(-1, 1, ())), ('a', Box(-1, 1, (1, 2)))]),
        ('z', 'a.0.0', 'a.0.1'),
    ),
    'a tuple': (
        spaces.Tuple([Box(-1, 1, (2,)), Box(0, 255, (1,), np.uint8)]),
        ('0.0', '0.1', '1.0'),
    ),
    'modes': (
        spaces.Dict(
            {
                'mode': spaces.Discrete(3, start=1),
                'on': spaces.MultiBinary(2),
                'two': spaces.MultiDiscrete([2, 2]),
            }
        ),
        ('mode.0', 'mode.1', 'mode.2', 'on.0', 'on.1', 'two.0', 'two.1', 'two.2', 'two.3'),
    ),
    'modes alone': (spaces.MultiDiscrete([2, 3]), None),
    'deep': (
        spaces.Dict({'a': spaces.Dict({'b': spaces.Tuple([Box(-1, 1, (1,))])})}),
        ('a.b.0.0',),
    ),
}


@pytest.mark.parametrize('name', STRUCTURES)
def test_observations_are_flattened_as_gymnasium_does(shaped: Any, name: str) -> None:
    space, names = STRUCTURES[name]
    environment = make_environment(shaped(copy.deepcopy(space)))
    about = describe(environment)
    assert about.observation_names == names
    observation, _ = environment.reset()
    space.seed(0)
    for _ in range(5):
        expected = spaces.flatten(space, space.sample())
        np.testing.assert_array_equal(observation, expected)
        assert about.observation_size == len(observation) == environment.observation_space.shape[0]
        observation = environment.step(np.zeros(1, np.float32))[0]


def test_a_vector_stays_as_it_is(shaped: Any) -> None:
    environment = make_environment(shaped(Box(-1, 1, (3,))))
    assert environment.flattening is None
    observation, _ = environment.reset()
    assert observation.dtype == np.float32


def test_actions_of_any_shape_are_given_in_that_shape(shaped: Any) -> None:
    limits = np.float32([[-1, -2], [-3, -4]])
    environment = make_environment(shaped(Box(-1, 1, (1,)), Box(limits, -limits)))
    about = describe(environment)
    assert (about.action_low, about.action_high) == ((-1, -2, -3, -4), (1, 2, 3, 4))
    environment.reset()
    environment.step(np.float32([1, 2, 3, 4]))  # which is asserted to be of the space


@pytest.mark.parametrize(
    ('given', 'reported'),
    [
        ((spaces.Sequence(Box(-1, 1, (1,))),), 'observation space Sequence, expected a Box, or'),
        ((spaces.Dict({'a': spaces.Text(3)}),), "observation space Text in 'a', expected a Box"),
        ((spaces.Dict({}),), 'has an empty observation space'),
        (
            (Box(-1, 1, (2,)), spaces.Discrete(3)),
            "has action space Discrete, expected a Box: a policy's actions are continuous numbers",
        ),
        ((Box(-1, 1, (2,)), spaces.MultiBinary(3)), 'action space MultiBinary, expected a Box'),
        ((Box(-1, 1, (2,)), spaces.Dict({'a': Box(-1, 1, (1,))})), 'action space Dict, expected'),
        (
            (Box(-1, 1, (2,)), Box(np.float32([-1, -np.inf]), np.float32([1, np.inf]))),
            r'has actions without limits \(action\[1\] from -inf to inf\), expected a bounded Box',
        ),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_refused_with_the_reason(
    shaped: Any, given: Any, reported: str
) -> None:
    with pytest.raises(UserError, match=reported):
        make_environment(shaped(*given))


class Lacks(Shaped):
    """Its observation lacks an entry of its space."""

    def reset(self, **_: Any) -> Any:
        return {'a': np.zeros(2)}, {}


class Wrong(Shaped):
    """Its observation has an entry of the wrong shape."""

    def reset(self, **_: Any) -> Any:
        return {'a': np.zeros(3), 'b': np.zeros(1)}, {}


@pytest.mark.parametrize(
    ('kind', 'reported'),
    [
        (Lacks, "the observation of task 'Bad-v0' is no array of numbers: it lacks 'b'"),
        (Wrong, r"'a' has shape \(3,\), expected \(2,\) as its space has"),
    ],
)
def test_an_observation_that_is_not_of_its_space_is_named(kind: Any, reported: str) -> None:
    space = spaces.Dict({'a': Box(-1, 1, (2,)), 'b': Box(-1, 1, (1,))})
    gymnasium.register('Bad-v0', lambda **_: kind(space), disable_env_checker=True)
    try:
        with pytest.raises(TaskError, match=reported):
            make_environment('Bad-v0').reset()
    finally:
        del gymnasium.registry['Bad-v0']


@pytest.mark.parametrize(
    ('wrapper', 'reported'),
    [
        (
            gymnasium.wrappers.NormalizeObservation,
            'the wrapper NormalizeObservation: .* set normalise_observations: true',
        ),
        (
            gymnasium.wrappers.NormalizeReward,
            "task 'Shaped-v0' has the wrapper NormalizeReward: ",
        ),
    ],
)
def test_wrappers_that_go_on_learning_are_refused(
    shaped: Any, wrapper: Any, reported: str
) -> None:
    task = shaped(Box(-1, 1, (2,)), wrappers=[wrapper, gymnasium.wrappers.OrderEnforcing])
    with pytest.raises(UserError, match=reported):
        make_environment(task)


def test_a_task_declares_names_and_control_period(shaped: Any) -> None:
    goals = STRUCTURES['goals'][0]
    declared = {'observation_names': list('abcdef'), 'action_names': ('push',)}
    task = shaped(goals, control_period=0.02, dt=0.5, **declared)
    about = describe(make_environment(task))
    assert about.observation_names == tuple('abcdef'), 'over those of the structure'
    assert about.action_names == ('push',)
    assert about.control_period == 0.02


@pytest.mark.parametrize(
    ('declared', 'reported'),
    [
        (
            {'observation_names': ['a']},
            "observation_names of task 'Shaped-v0' is ['a'], expected 2 dif",
        ),
        ({'observation_names': ['a', 'a']}, 'expected 2 different printable texts'),
        ({'observation_names': ['a', 1]}, 'expected 2 different printable texts'),
        ({'action_names': 'x'}, "action_names of task 'Shaped-v0' is 'x', expected 1 different"),
        ({'control_period': '50 Hz'}, "control_period of task 'Shaped-v0' is '50 Hz', expected"),
    ],
)
def test_what_is_declared_wrongly_is_named(shaped: Any, declared: Any, reported: str) -> None:
    with pytest.raises(TaskError) as caught:
        describe(make_environment(shaped(Box(-1, 1, (2,)), **declared)))
    assert reported in str(caught.value)


def test_what_a_task_is_made_with_reads_numbers_as_people_write_them() -> None:
    set_ = ['env_kwargs.cost=1e-3', 'env_kwargs.name=arm', 'env_kwargs.on=true']
    settings = set_values({'env_kwargs': {'cost': 5, 'far': [1, 2]}}, set_)
    config = TrainConfig(**settings)
    assert config.env_kwargs == {'cost': 0.001, 'far': [1, 2], 'name': 'arm', 'on': True}
    with pytest.raises(UserError, match=r'setting env_kwargs is .*nan.*, expected finite numbers'):
        TrainConfig(env_kwargs={'cost': float('nan')})
    with pytest.raises(
        UserError, match="setting env_kwargs is 3, expected lines of 'name: value'"
    ):
        TrainConfig(env_kwargs=3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"task 'HalfCheetah-v5' cannot be made: .*nonsense"):
        TaskSpec('HalfCheetah-v5', '{"nonsense": 1}').make()


def evaluate(*arguments: object, at: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'evaluate', *map(str, arguments)]
    path = os.pathsep.join([str(at), str(Path(__file__).parents[1])])
    environment = {**os.environ, 'PYTHONPATH': path}
    return subprocess.run(
        command, env=environment, cwd=at, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_users_task_from_training_to_evaluation(carts: Path) -> None:
    """Nested observations, large ranges, a module's task and what it is made with."""
    config = quick(
        env='carts:Cart-v0',
        env_kwargs={'cost': 0.5, 'far': 2},
        normalise_observations=True,
        history=2,
        previous_action=True,
        eval_every=60,
    )
    run = start(config, carts / 'run')
    listener = Warnings()
    assert run.run(listener) is True
    recorded = load_config(carts / 'run' / 'config.yaml')
    assert recorded['env'] == 'carts:Cart-v0'
    assert recorded['env_kwargs'] == {'cost': 0.5, 'far': 2}
    policy = load_policy(carts / 'run' / 'policy_last.safetensors')
    spec = policy.spec
    assert spec.observation_names == CART_NAMES
    assert (spec.action_names, spec.control_period) == (('push',), 0.05)
    assert (spec.observation_size, spec.input_size) == (5, 11)
    assert spec.provenance['env_kwargs'] == {'cost': 0.5, 'far': 2}

    # What was learnt of the observations is the mean and deviation of those in the replay buffer.
    rows = run.replay.every(0, 1)
    present = rows['observation'][:, 5:10].astype(float)
    mean, scale = (policy._tensors[f'normalise.{name}'] for name in ('mean', 'scale'))
    np.testing.assert_allclose(mean, present.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scale, 1 / np.sqrt(present.var(axis=0) + 1e-8), rtol=1e-5)
    # And what training read is what the policy reads: window, order and previous action.
    first = int(np.flatnonzero(rows['observation'][:, 10] == 0)[1])  # an episode begins
    policy.reset()
    for row in range(first, first + 15):
        policy._input.observe(rows['observation'][row, 5:10])
        raw = np.concatenate([mean, mean, [0]]), np.concatenate([scale, scale, [1]])
        read = ((rows['observation'][row] - raw[0].astype(np.float32)) * raw[1]).astype(np.float32)
        np.testing.assert_array_equal(policy._input.values, read)
        policy._input.acted(rows['action'][row])

    # No module is imported because a file names it; what to give is said.
    folder = carts / 'run'
    best = folder / 'policy.safetensors'
    done = evaluate(folder, at=carts)
    assert done.returncode == 1
    assert "it was trained on 'carts:Cart-v0'" in done.stderr
    assert 'give --env carts:Cart-v0' in done.stderr
    sys.modules.pop('carts')
    with pytest.raises(UserError) as caught:
        plot_spikes(folder, carts / 'spikes.png')
    assert str(caught.value).startswith(f'{folder}: policy file {best} names no usable task')
    plot_spikes(folder, carts / 'spikes.png', 'carts:Cart-v0')
    given = ('--env', 'carts:Cart-v0', '--seed', config.evaluation_seed, '--episodes', 2)
    report = json.loads(evaluate(folder, *given, '--json', at=carts).stdout)
    assert report['env_kwargs'] == {'cost': 0.5, 'far': 2}
    rows_of_best = load_policy(best).spec.provenance
    (row,) = [r for r in listener.rows[0] if r['step'] == rows_of_best['step']]
    assert report['mean'] == row['eval_return_mean'], 'made as in training'


def test_what_a_policy_of_another_task_was_made_with_does_not_count() -> None:
    from conftest import random_policy

    spec, _ = random_policy(provenance={'env': 'm:Cart-v0', 'env_kwargs': {'cost': 1}})
    assert task_of_policy(spec, 'p', 'Cart-v0') == TaskSpec('Cart-v0', '{"cost": 1}')
    assert task_of_policy(spec, 'p', 'other:Cart-v0').env == 'other:Cart-v0'
    paper, _ = random_policy(provenance={'env': 'Hopper-v4', 'paper_physics': True})
    assert task_of_policy(paper, 'p') == TaskSpec('Hopper-v4', '{}', True)
    assert task_of_policy(paper, 'p', 'Hopper-v5') == TaskSpec('Hopper-v5', '{}', False)
    assert task_of_policy(spec, 'p', 'Cart-v1') == TaskSpec('Cart-v1', '{}')
    with pytest.raises(UserError, match='policy file p names no usable task: it was trained on'):
        task_of_policy(spec, 'p')


def test_evaluations_of_a_policy_that_remembers_begin_anew(carts: Path) -> None:
    from proxy_snn_control.learning.evaluate import evaluate as run_episodes

    run = start(quick(env='carts:Cart-v0', history=3, previous_action=True), carts / 'run')
    run.run(Listener())
    policy = load_policy(carts / 'run' / 'policy.safetensors')
    environment = make_environment('carts:Cart-v0')
    together = run_episodes(policy, environment, 3, 7)
    alone = [run_episodes(policy, environment, 1, 7 + i) for i in range(3)]
    assert together and together.returns == [each.returns[0] for each in alone if each]


# ---- normalisation while training


def test_statistics_are_a_members_own_and_those_of_all_it_saw() -> None:
    """Of members of other sizes beside it, too: exactly what it would have alone."""
    sizes, history, actions, steps = [3, 5, 2], 2, 1, 400
    width = history * max(sizes) + actions
    rng = np.random.default_rng(0)
    seen = [rng.normal(1e3, (0.1, 5, 40, 1, 1)[:size], (steps, 2, size)) for size in sizes]
    seen = [each.astype(np.float32) for each in seen]

    def rows(members: list[int], step: int, wide: int) -> np.ndarray:
        made = np.zeros((len(members), 2, 2 * wide + 3), np.float32)
        for row, m in enumerate(members):
            size = sizes[m]
            end = 2 * size
            made[row, :, size:end] = seen[m][step]  # the present one is the last
            made[row, :, :size] = seen[m][max(0, step - 1)]
        return made

    together = Normaliser(sizes, history, width, CPU)
    alone = [Normaliser([s], history, history * s + actions, CPU) for s in sizes]
    np.testing.assert_array_equal(together.arrays(0)['normalise.scale'], np.ones(3))
    for step in range(steps):
        together.learn(rows([0, 1, 2], step, width))
        for m, size in enumerate(sizes):
            alone[m].learn(rows([m], step, history * size + actions))
    for m, size in enumerate(sizes):
        mine, own = together.arrays(m), alone[m].arrays(0)
        all_seen = seen[m].reshape(-1, size).astype(float)
        np.testing.assert_allclose(mine['normalise.mean'], all_seen.mean(axis=0), rtol=1e-6)
        expected = 1 / np.sqrt(all_seen.var(axis=0) + 1e-8)
        np.testing.assert_allclose(mine['normalise.scale'], expected, rtol=1e-6)
        for name in mine:
            np.testing.assert_array_equal(mine[name], own[name])
        read = torch.randn(3, 4, width, generator=torch.Generator().manual_seed(m))
        end = history * size + actions
        read[m, :, end:] = 0  # padding
        found = together(read)[m]
        part = found[:, :end]
        np.testing.assert_array_equal(part, alone[m](read[m, None, :, :end])[0])
        assert torch.equal(part[:, -1], read[m, :, history * size]), 'the previous action stays'
        assert not found[:, end:].any(), 'padding stays 0'


@pytest.mark.parametrize(
    'settings',
    [{}, {'target': 'soft', 'neuron': 'clif'}, {'neuron': 'relu'}, {'actor_norm': 'care_bn'}],
    ids=str,
)
def test_all_that_learns_and_acts_sees_normalised_observations(
    settings: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learner that normalises is, bit for bit, one that is given normalised transitions."""
    monkeypatch.setattr('proxy_snn_control.spiking.norm.RECALIBRATE_EVERY', 5)
    monkeypatch.setattr('proxy_snn_control.spiking.norm.RECALIBRATE_FROM', 3)
    configs, sizes = [quick(seed=s, **settings) for s in (0, 1)], [(5, 2), (3, 1)]
    raw = filled_replay(sizes, [0, 1])
    normaliser = Normaliser([5, 3], 1, 5, CPU)
    normaliser.learn(raw.rows[:, : len(raw)].numpy())
    given = filled_replay(sizes, [0, 1])
    for part in (0, 3):  # observation and next observation
        column = sum(raw.widths[:part])
        there = slice(column, column + 5)
        given.rows[:, :, there] = normaliser(raw.rows[:, :, there])
    limits = [Sizes(o, (-1.0,) * a, (1.0,) * a) for o, a in sizes]
    normalises = TD3(configs, limits, raw, CPU, normaliser)
    plain = TD3(configs, limits, given, CPU)
    for _ in range(12):
        normalises.update()
        plain.update()
    assert equal(flat(normalises), flat(plain))
    seen = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(3))
    seen[1, :, 3:] = 0
    action, _ = normalises.act(seen.numpy(), False)
    expected, _ = plain.act(normaliser(seen).numpy(), False)
    np.testing.assert_array_equal(action, expected)
