# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Tasks that can be trained for, and the names of what they observe and command."""

from pathlib import Path
from types import SimpleNamespace

from conftest import TASK
import gymnasium
import numpy as np
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.tasks import (
    describe,
    episode_seed,
    make_environment,
    task_of_policy,
    TaskSpec,
)
from proxy_snn_control.policy import UserError
import pytest


def fail(*_, **__):
    raise RuntimeError('motor is off')


@pytest.mark.parametrize(
    ('task', 'reported'),
    [
        ('Nothing-v0', "'Nothing-v0' is not registered"),
        ('HalfCheeta-v5', 'did you mean HalfCheetah-v5'),
        ('CartPole-v1', 'action space Discrete, expected a Box'),
        ('FrozenLake-v1', 'expected a Box'),
        ('CarRacing-v3', 'CarRacing-v3'),
    ],
)
def test_tasks_that_do_not_fit(task: str, reported: str) -> None:
    with pytest.raises(UserError, match=reported):
        make_environment(task)


class Small(gymnasium.Env):
    """Spaces of these sizes, and no steps."""

    def __init__(self, observations: int, low: list[float]) -> None:
        self.observation_space = gymnasium.spaces.Box(-1, 1, (observations,))
        self.action_space = gymnasium.spaces.Box(np.float32(low), np.ones(len(low), np.float32))


@pytest.mark.parametrize(
    ('entry_point', 'reported'),
    [
        (fail, r'cannot be made: RuntimeError: motor is off \(.*test_task_names.py:'),
        (
            lambda **_: Path('/no/such.xml').read_text(),
            "'Small-v0' cannot be made: FileNotFoundError: ",
        ),
        (lambda **_: Small(0, [-1.0]), 'empty observation space'),
        (lambda **_: Small(3, []), 'empty action space'),
        (lambda **_: Small(3, [-1.0, 1.0]), r'action\[1\] from 1.0 to 1.0, expected a range'),
    ],
)
def test_a_task_that_is_no_good_is_named(entry_point, reported: str) -> None:
    gymnasium.register('Small-v0', entry_point, disable_env_checker=True)
    try:
        with pytest.raises(UserError, match=reported):
            make_environment('Small-v0')
    finally:
        del gymnasium.registry['Small-v0']


@pytest.mark.parametrize(
    ('task', 'first', 'last', 'action'),
    [
        ('HalfCheetah-v4', 'rootz.position', 'ffoot.velocity', 'bthigh'),
        ('Hopper-v5', 'rootz.position', 'foot_joint.velocity', 'thigh_joint'),
        ('Ant-v4', 'root.z.position', 'ankle_4.velocity', 'hip_4'),
        (TASK, 'slider.position', 'slider.constraint_force', 'slide'),
    ],
)
def test_names_of_observations(task: str, first: str, last: str, action: str) -> None:
    known = describe(make_environment(task))
    assert known.observation_names is not None
    assert known.action_names is not None
    assert len(known.observation_names) == known.observation_size
    assert (known.observation_names[0], known.observation_names[-1]) == (first, last)
    assert known.action_names[0] == action


def test_unrecognised_observations_have_no_names() -> None:
    assert describe(make_environment('Reacher-v5')).observation_names is None
    assert describe(make_environment('Pendulum-v1')).observation_names is None


def test_each_evaluation_episode_has_its_own_seed() -> None:
    assert len({episode_seed(7, i) for i in range(10)}) == 10


def test_runs_of_neighbouring_seeds_share_no_evaluation() -> None:
    firsts = [TrainConfig(seed=seed).evaluation_seed for seed in range(5)]
    seeds = [episode_seed(first, i) for first in firsts for i in range(100)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize('task', ['Hopper-v4', 'Ant-v5', 'HalfCheetah-v4'])
def test_the_paper_s_physics(task: str) -> None:
    """Where MuJoCo adds two geoms' margins, half of each gives what the larger of them was."""
    usual, paper = (TaskSpec(task, paper_physics=kind).make() for kind in (False, True))
    margins = usual.unwrapped.model.geom_margin
    parts = 1.0 if task.startswith('HalfCheetah') else 0.5
    np.testing.assert_array_equal(paper.unwrapped.model.geom_margin, parts * margins)
    assert (margins > 0).any() == (parts < 1)
    if parts < 1:  # and it makes a difference
        seen = []
        for environment in (usual, paper):
            environment.reset(seed=0)
            space = environment.action_space
            rng = np.random.default_rng(0)
            for _ in range(20):
                observation, *_ = environment.step(rng.uniform(space.low, space.high))
            seen.append(observation)
        assert np.abs(seen[0] - seen[1]).max() > 1e-4


def test_no_such_physics_elsewhere() -> None:
    with pytest.raises(
        UserError, match="paper_physics is true for task 'Reacher-v5', expected Ant"
    ):
        TaskSpec('Reacher-v5', paper_physics=True).make()


@pytest.mark.parametrize(
    ('env', 'expected'), [(None, True), ('Hopper-v4', True), ('Hopper-v5', False)]
)
def test_a_policy_is_tried_with_the_physics_it_was_trained_with(env, expected) -> None:
    spec = SimpleNamespace(provenance={'env': 'Hopper-v4', 'paper_physics': True})
    assert task_of_policy(spec, 'p.safetensors', env).paper_physics is expected
    usual = SimpleNamespace(provenance={'env': 'Hopper-v4'})
    assert task_of_policy(usual, 'p.safetensors', env).paper_physics is False
