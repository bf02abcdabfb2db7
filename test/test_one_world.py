# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Tasks whose world cannot be had twice: evaluations wait for the end of an episode."""

from pathlib import Path

from conftest import TASK
import gymnasium
import numpy as np
from proxy_snn_control.learning.population import Listener
from proxy_snn_control.policy.errors import Interrupted
from proxy_snn_control.policy.plugins import TASKS
import pytest
from training_kit import equal, flat, quick, start, StopAt, timeless, Warnings


class Watched(gymnasium.Wrapper):
    """Notes every reset with a seed, as evaluations make them, and after how many steps."""

    def __init__(self, environment: gymnasium.Env) -> None:
        super().__init__(environment)
        environment.unwrapped.one_world = True
        self.steps, self.ended = 0, True

    def reset(self, **options):
        if options.get('seed') is not None and self.steps and not self.ended:
            CUT_OFF.append(self.steps)
        self.steps, self.ended = 0, False
        return super().reset(**options)

    def step(self, action):
        self.steps += 1
        result = super().step(action)
        self.ended = result[2] or result[3]
        return result


class Counted(gymnasium.Env):
    """Episodes of twenty steps; step 25 of each process is interrupted, and one reset after it."""

    one_world = True
    observation_space = gymnasium.spaces.Box(-1e3, 1e3, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self) -> None:
        self.all_steps, self.away = 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.away:
            self.away -= 1
            raise Interrupted('the world is away')
        self.x, self.steps = 0.0, 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.all_steps += 1
        if self.all_steps == 25 and INTERRUPTS:
            self.x, self.away = 500.0, 1
            raise Interrupted('the world is gone')
        self.x += float(action[0])
        self.steps += 1
        return np.array([self.x], np.float32), -abs(self.x), False, self.steps == 20, {}


CUT_OFF: list[int] = []
INTERRUPTS: list[bool] = []


@pytest.fixture(autouse=True, scope='module')
def _tasks():
    """Two tasks, for the tests here alone."""
    TASKS.register('watched')(lambda rest, seed=0, number=0: Watched(gymnasium.make(rest)))
    TASKS.register('counted')(lambda rest, seed=0, number=0: Counted())
    yield
    TASKS._registered.clear()


def test_the_run_is_that_of_a_task_with_a_world_for_evaluations(tmp_path: Path) -> None:
    CUT_OFF.clear()
    found = []
    for env in (TASK, f'watched:{TASK}'):
        population = start(quick(env=env, steps=100, eval_every=20), tmp_path / env)
        assert population.run(Listener())
        population.close()
        found.append(flat(population.td3))
    assert equal(*found)
    assert timeless(tmp_path / TASK) == timeless(tmp_path / f'watched:{TASK}')
    assert len(CUT_OFF) <= 1, 'but for the last evaluation, after which nothing goes on'


def test_an_evaluation_that_still_waits_when_it_is_stopped(tmp_path: Path) -> None:
    class Both(StopAt, Warnings):
        """Stops at a step, and collects warnings."""

        def __init__(self, step: int) -> None:
            StopAt.__init__(self, step)
            Warnings.__init__(self)

    INTERRUPTS.clear()
    config = quick(env='counted:', eval_every=30, eval_episodes=1)
    population, listener = start(config, tmp_path / 'run'), Both(33)
    assert not population.run(listener)
    population.close()
    assert [row['step'] for row in listener.rows[0]] == [0]
    assert 'the evaluation of step 30 is skipped: its episode has not ended' in listener.texts[-1]
    population, listener = start(config, tmp_path / 'run', resume=True), Both(10_000)
    assert population.run(listener)
    population.close()
    assert [row['step'] for row in listener.rows[0]] == [60, 90, 120]


def test_of_an_interruption_nothing_is_learnt(tmp_path: Path, monkeypatch, caplog) -> None:
    from proxy_snn_control.learning import collect

    monkeypatch.setattr(collect, 'RETRY_SECONDS', 0.0)
    INTERRUPTS[:] = [True]
    config = quick(env='counted:', eval_every=120, eval_episodes=1, checkpoint_every=120)
    population = start(config, tmp_path / 'run')
    assert population.run(Listener())
    population.close()
    rows = population.replay.every(0, 1)
    assert len(rows['observation']) == 120
    moved = rows['next_observation'] - rows['observation']
    np.testing.assert_allclose(moved, rows['action'], atol=1e-5)
    assert 'the world is gone; the episode is discarded; waiting' in caplog.text
    assert 'the task answers again, a new episode begins' in caplog.text
