# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Tasks by strangers: whatever is wrong with one is named, with the task and the part of it."""

from collections.abc import Iterator
import json
import os
from pathlib import Path
import subprocess
import sys
from typing import Any

from conftest import random_policy
import gymnasium
import numpy as np
from proxy_snn_control.learning import evaluate as evaluation
from proxy_snn_control.learning.evaluate import evaluate
from proxy_snn_control.learning.tasks import describe, make_environment
from proxy_snn_control.policy import Policy, UserError, write_policy
from proxy_snn_control.policy.errors import TaskError
import pytest


class Strange(gymnasium.Env):
    """A task of one observation and one action; `strange` is what is odd about it."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, strange: dict[str, Any], **_: Any) -> None:
        self.strange = strange
        for name, value in strange.items():
            if not hasattr(type(self), name) or name.endswith('space'):
                setattr(self, name, value)
        self.count = 0

    def answer(self, name: str, usual: Any) -> Any:
        value = self.strange.get(name, usual)
        if isinstance(value, Exception):
            raise value
        return value

    def reset(self, **_: Any) -> Any:
        self.count = 0
        return self.answer('reset', (np.zeros(1, np.float32), {}))

    def step(self, action: Any) -> Any:
        self.count += 1
        seen = self.answer('seen', np.zeros(1, np.float32))
        usual = (
            seen,
            self.answer('reward', 1.0),
            self.answer('terminated', self.count == 5),
            self.answer('truncated', False),
            {},
        )
        return self.answer('step', usual)

    def close(self) -> None:
        self.answer('close', None)


@pytest.fixture
def task() -> Iterator[Any]:
    def register(**strange: Any) -> str:
        gymnasium.register('Strange-v0', lambda **_: Strange(strange), disable_env_checker=True)
        return 'Strange-v0'

    yield register
    gymnasium.registry.pop('Strange-v0', None)


def one_action() -> Policy:
    return Policy(*random_policy(1, 1), compiled=False)


BOX = gymnasium.spaces.Box


@pytest.mark.parametrize(
    ('strange', 'reported'),
    [
        ({'dt': lambda: 0.05}, "the attribute dt of task 'Strange-v0' is <function"),
        ({'dt': '0.05'}, "the attribute dt of task 'Strange-v0' is '0.05', expected the seconds"),
        ({'dt': np.array([0.05, 1])}, "the attribute dt of task 'Strange-v0' is array"),
        ({'dt': -0.05}, "dt of task 'Strange-v0' is -0.05, expected the seconds of an action, "),
        ({'dt': 0.0}, "dt of task 'Strange-v0' is 0.0"),
        ({'dt': float('nan')}, "dt of task 'Strange-v0' is nan"),
        ({'dt': float('inf')}, "dt of task 'Strange-v0' is inf"),
        ({'dt': 1e9}, "dt of task 'Strange-v0' is 1000000000.0, expected the seconds"),
        ({'dt': True}, "dt of task 'Strange-v0' is True"),
        ({'action_space': BOX(-1e7, 1, (1,))}, r"'Strange-v0' has action[0] from -10000000.0 to"),
        (
            {'action_space': BOX(1, 1 + 1e-12, (1,), np.float64)},
            'to 1.000000000001, expected a range',
        ),
        ({'observation_space': lambda: 1}, "'Strange-v0' has observation space function"),
        ({'observation_space': 'Box'}, "'Strange-v0' has observation space str, expected a Box"),
    ],
)
def test_what_a_policy_could_not_hold_is_refused_at_once(
    task: Any, strange: Any, reported: str
) -> None:
    with pytest.raises(UserError) as caught:
        describe(make_environment(task(**strange)))
    assert reported in str(caught.value)


@pytest.mark.parametrize('value', [lambda: 1, 'text', np.zeros(3), 7, object()])
def test_a_model_that_is_not_mujocos_gives_no_names(task: Any, value: Any) -> None:
    about = describe(make_environment(task(model=value, data=value)))
    assert (about.observation_names, about.action_names) == (None, None)


@pytest.mark.parametrize('name', ['dt', 'model', 'data'])
def test_an_attribute_that_raises(task: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fails(self: Any) -> None:
        raise ZeroDivisionError('by\n\x1b[2Jnothing')

    monkeypatch.setattr(Strange, name, property(fails), raising=False)
    with pytest.raises(TaskError) as caught:
        describe(make_environment(task(other=1)))
    reported = f"the attribute {name} of task 'Strange-v0' cannot be read: ZeroDivisionError: by"
    assert str(caught.value).startswith(reported)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ('strange', 'reported'),
    [
        ({'terminated': None}, "terminated of task 'Strange-v0' is None, expected True or False"),
        ({'terminated': 'yes'}, "terminated of task 'Strange-v0' is 'yes'"),
        ({'terminated': 1}, "terminated of task 'Strange-v0' is 1"),
        ({'truncated': np.array([True, False])}, "truncated of task 'Strange-v0' is array"),
        ({'reward': '1.0'}, "the reward of task 'Strange-v0' is '1.0', expected a number"),
        ({'reward': None}, "the reward of task 'Strange-v0' is None, expected a number"),
        ({'reward': [1.0, 2.0]}, "the reward of task 'Strange-v0' is [1.0, 2.0], expected a"),
        ({'reward': float('nan')}, "the reward of task 'Strange-v0' is NaN or infinite"),
        ({'reward': 10**400}, "the reward of task 'Strange-v0' is 1000"),
        ({'seen': 'text'}, "the observation of task 'Strange-v0' is no array of numbers"),
        ({'seen': np.zeros(2)}, "the observation of task 'Strange-v0' has shape (2,)"),
        ({'seen': [np.inf]}, "observation[0] of task 'Strange-v0' is NaN or infinite"),
        ({'step': (1, 2)}, "step of task 'Strange-v0' gives (1, 2), expected 5 values: observ"),
        ({'step': None}, "step of task 'Strange-v0' gives None, expected 5 values"),
        ({'step': ValueError('no')}, "task 'Strange-v0' failed in step: ValueError: no ("),
        ({'reset': np.zeros(1)}, "reset of task 'Strange-v0' gives array([0.]), expected 2"),
        ({'reset': RuntimeError('no')}, "task 'Strange-v0' failed in reset: RuntimeError: no ("),
    ],
)
def test_what_a_task_gives_is_checked(task: Any, strange: Any, reported: str) -> None:
    environment = make_environment(task(**strange))
    with pytest.raises(TaskError) as caught:
        evaluate(one_action(), environment, 1, 0)
    assert reported in str(caught.value)


@pytest.mark.parametrize('end', [True, np.True_, np.bool_(1)])
@pytest.mark.parametrize('reward', [1, 1.0, np.float32(1), np.array(1.0), np.array([1]), True])
def test_what_is_as_good_as_a_boolean_or_a_number(task: Any, end: Any, reward: Any) -> None:
    environment = make_environment(task(terminated=end, reward=reward))
    result = evaluate(one_action(), environment, 2, 0)
    assert result
    assert (result.returns, result.lengths) == ([1.0, 1.0], [1, 1])


def test_an_end_that_raises(task: Any) -> None:
    environment = make_environment(task(close=OSError('gone')))
    with pytest.raises(TaskError, match="task 'Strange-v0' failed in close: OSError: gone"):
        environment.close()


def test_an_episode_that_never_ends(task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, 'LONGEST', 50)
    calls: list[tuple[int, int]] = []
    environment = make_environment(task(terminated=False))
    with pytest.raises(TaskError, match="of task 'Strange-v0' has not ended after 50 steps"):
        evaluate(one_action(), environment, 3, 0, progress=lambda *at: calls.append(at))
    assert calls == [(0, i + 1) for i in range(50)]
    monkeypatch.setattr(evaluation, 'LONGEST', 5)
    assert evaluate(one_action(), make_environment(task(other=1)), 3, 0), (
        '5 steps are not too long'
    )


TALKATIVE = """
import atexit, os, sys
import gymnasium, numpy as np

class Talkative(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, **_):
        print("made")
        self.count = 0

    def reset(self, **_):
        os.write(1, b"reset by a library in C\\n")
        return np.zeros(1, np.float32), {}

    def step(self, action):
        print("step")
        self.count += 1
        return np.zeros(1, np.float32), 1.0, self.count % 3 == 0, False, {}

    def close(self):
        print("close")
        if os.environ.get("FAIL"):
            raise OSError("gone")

gymnasium.register("Talkative-v0", Talkative)
atexit.register(print, "at the end")
"""


@pytest.mark.parametrize('fails', ['', '1'])
def test_what_a_task_prints_is_not_among_the_json(tmp_path: Path, fails: str) -> None:
    (tmp_path / 'talkative.py').write_text(TALKATIVE)
    write_policy(tmp_path / 'p', *random_policy(1, 1))
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'evaluate', 'p', '--json']
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [*command, '--env', 'talkative:Talkative-v0', '--episodes', '2'],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': path, 'FAIL': fails},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert json.loads(done.stdout)['returns'] == [3.0, 3.0]
    assert len(done.stdout.splitlines()) == 1
    for line in ('made', 'reset by a library in C', 'step', 'close', 'at the end'):
        assert line in done.stderr.splitlines()
    reported = "proxy-snn: task 'Talkative-v0' failed in close: OSError: gone"
    assert (done.returncode, reported in done.stderr) == ((1, True) if fails else (0, False))
    assert 'Traceback' not in done.stderr
