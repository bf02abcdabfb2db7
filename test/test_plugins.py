# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Plugins: neurons, targets, critics and tasks from a module that is not of the package."""

from collections.abc import Iterator
import json
import os
from pathlib import Path
import subprocess
import sys

from conftest import random_policy
import numpy as np
from proxy_snn_control import cli
from proxy_snn_control.learning.population import Listener
from proxy_snn_control.policy import plugins, Policy, UserError, write_policy
from proxy_snn_control.policy.neurons import check_neuron
from proxy_snn_control.policy.plugins import NEURONS
import pytest
import torch
from training_kit import quick, start_all, timeless

EXAMPLES = Path(__file__).parents[1] / 'examples' / 'plugins'
sys.path.append(str(EXAMPLES))
SPIKING = [*(name for name in NEURONS if NEURONS[name].state), 'alif']


@pytest.fixture(autouse=True, scope='module')
def _example() -> Iterator[None]:
    """Provide the example's neuron, for the tests here alone."""
    plugins.load(['adaptive_lif'])
    yield
    NEURONS._registered.clear()


# What a stranger may write: a neuron, a target, a critic and a task, in one module.
STRANGER = """
import gymnasium
import numpy as np
import torch
from torch import nn
from adaptive_lif import AdaptiveLIF
from proxy_snn_control.learning.targets import ProxyTarget
from proxy_snn_control.policy.plugins import CRITICS, NEURONS, TARGETS, TASKS


@NEURONS.register("slow_alif")
class SlowALIF(AdaptiveLIF):
    constants = {**AdaptiveLIF.constants, "voltage_decay": 0.9}


@TARGETS.register("second_proxy")
class SecondProxy(ProxyTarget):
    pass


@CRITICS.register("gated")
class Gated(nn.Module):
    def __init__(self, observations, actions, hidden):
        super().__init__()
        width = observations + actions
        self.gate, self.value = nn.Linear(width, width), nn.Linear(width, hidden[0])
        self.last = nn.Linear(hidden[0], 1)

    def forward(self, x):
        return self.last(torch.tanh(self.value(x * torch.sigmoid(self.gate(x)))))


class Reach(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, goal):
        self.goal = goal

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = self.np_random.uniform(-1, 1), 0
        return np.array([self.place, self.goal]), {}

    def step(self, action):
        self.place += 0.1 * float(action[0])
        self.time += 1
        reward = -abs(self.place - self.goal)
        return np.array([self.place, self.goal]), reward, False, self.time == 20, {}


@TASKS.register("reach")
def make_reach(rest):
    return Reach(float(rest or 0))
"""


@pytest.mark.parametrize('neuron', SPIKING)
def test_the_derivative_of_every_neuron_is_that_of_its_equations(neuron: str) -> None:
    """By autograd and by finite differences, for the package's own and for plugins' alike."""
    kind = NEURONS[neuron]
    check_neuron(neuron, kind)
    rng = torch.Generator().manual_seed(0)
    constants = tuple(
        torch.tensor(value * 0.9 + 0.01, dtype=torch.float64) for value in kind.constants.values()
    )
    inputs = [
        torch.randn(50, generator=rng, dtype=torch.float64).requires_grad_()
        for _ in range(2 + len(kind.state))
    ]
    current, spike, *state = inputs
    after = kind.step(current, spike, tuple(state), constants)
    gradient = tuple(torch.randn(50, generator=rng, dtype=torch.float64) for _ in kind.state)
    expected = torch.autograd.grad(after, inputs, gradient, materialize_grads=True)
    to_current, to_spike, to_state = kind.pullback(spike, tuple(state), constants, gradient)
    for mine, theirs in zip((to_current, to_spike, *to_state), expected, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert theirs.abs().max() > 0


def flipped(place: int) -> type:
    """Return the example's neuron with one sign of its derivative flipped."""

    class Wrong(NEURONS['alif']):
        """One part of the gradient has the wrong sign."""

        @staticmethod
        def pullback(spike, state, constants, gradient):
            to_current, to_spike, to_state = NEURONS['alif'].pullback(
                spike, state, constants, gradient
            )
            found = [to_current, to_spike, *to_state]
            found[place] = -found[place]
            return found[0], found[1], tuple(found[2:])

    return Wrong


@pytest.mark.parametrize('place', range(4))
def test_a_sign_flipped_in_a_derivative_is_refused(place: int) -> None:
    with pytest.raises(UserError, match=r"neuron 'wrong': pullback gives .* the derivative of"):
        NEURONS.register('wrong')(flipped(place))
    assert 'wrong' not in NEURONS


@pytest.mark.parametrize(
    ('changes', 'reported'),
    [
        ({'state': ()}, 'has state .*, expected a tuple of 1 to 4 names'),
        ({'ranges': {}}, 'expected a range for every constant'),
        ({'constants': {'threshold': -1.0}, 'ranges': {'threshold': (0, 1)}}, 'threshold is -1.0'),
        ({'step': staticmethod(lambda current, spike, state, constants: 2 * current)}, 'number 2'),
    ],
)
def test_what_is_no_neuron_is_refused(changes: dict, reported: str) -> None:
    with pytest.raises(UserError, match=reported):
        check_neuron('mine', type('Mine', (NEURONS['alif'],), changes))


def test_names_that_are_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neuron 'lif' is registered already"):
        NEURONS.register('lif')(NEURONS['alif'])
    with pytest.raises(UserError, match="'alif' is registered already by plugin 'adaptive_lif'"):
        NEURONS.register('alif')(NEURONS['alif'])


@pytest.mark.parametrize(
    ('text', 'reported'),
    [
        ('import no_such_module_at_all', 'cannot be imported: ModuleNotFoundError: No module'),
        ('1 / 0', r'cannot be imported: ZeroDivisionError: division by zero .*:1\)'),
    ],
)
def test_a_plugin_that_fails_is_named(
    tmp_path: Path, monkeypatch, text: str, reported: str
) -> None:
    (tmp_path / 'failing.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=f"plugin 'failing' {reported}"):
        plugins.load(['failing'])
    with pytest.raises(UserError, match="plugin 'not_there': there is no such module"):
        plugins.load(['not_there'])
    with pytest.raises(UserError, match=r"plugin '\./x.py': expected the name of a module"):
        plugins.load(['./x.py'])


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch) -> dict[str, str]:
    """Return an environment for commands, in which the stranger's module can be found."""
    (tmp_path / 'stranger.py').write_text(STRANGER)
    path = os.pathsep.join([str(tmp_path), str(EXAMPLES)])
    return {**os.environ, 'PYTHONPATH': path, 'XDG_CACHE_HOME': str(tmp_path / 'cache')}


# Commands one after the other in one process, which has torch to load only once.
SEVERAL = (
    'import json, sys; from proxy_snn_control.cli import main; '
    'sys.exit(any([main(each) for each in json.loads(sys.argv[1])]))'
)


def command(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return python(environment, '-m', 'proxy_snn_control.cli', *map(str, arguments))


def python(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_everything_from_a_foreign_module(
    tmp_path: Path, stranger: dict[str, str], capsys
) -> None:
    """Trained by two processes, evaluated, inspected and drawn; without the plugin refused."""
    run = tmp_path / 'run'
    settings = [
        'neuron=slow_alif', 'target=second_proxy', 'critic=gated', 'env=reach:0.5', 'steps=40',
        'random_steps=40', 'eval_every=40', 'eval_episodes=1', 'checkpoint_every=40',
        'hidden=[16]', 'proxy_hidden=[16]', 'critic_hidden=[16]', 'batch_size=16',
    ]  # fmt: skip
    config = tmp_path / 'plugins.yaml'
    config.write_text('plugins: [adaptive_lif]\n')
    done = command(
        stranger, 'train', '--plugin', 'stranger', '--config', config, '--set', *settings,
        '--seed', 0, 1, '--out', run,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "critic 'gated' is a torch module: its gradient is autograd's" in done.stdout + (
        done.stderr
    )
    assert len(timeless(run / 'seed-1')) == 3
    policy = run / 'seed-0' / 'policy.safetensors'
    commands = [
        ['evaluate', policy, '--episodes', 1],
        ['inspect', policy],
        ['plot', run / 'seed-0', '--spikes', '--out', tmp_path / 'spikes.png'],
        ['export', policy, '--format', 'onnx', '--out', tmp_path / 'policy.onnx'],
    ]
    commands = [list(map(str, each)) for each in commands]
    for each in commands:
        assert cli.main(each) == 1
        stderr = capsys.readouterr().err
        assert stderr.count('\n') == 1
        assert "its neuron is of plugin 'stranger', which is not loaded" in stderr
    commands = [[*each, '--plugin', 'stranger'] for each in commands]
    # The report does without the plugin, so it comes before one is loaded.
    commands.insert(0, ['report', str(run), '--out', str(tmp_path / 'report')])
    done = python(stranger, '-c', SEVERAL, json.dumps(commands))
    assert done.returncode == 0, done.stderr
    more = command(stranger, 'train', '--resume', '--out', run, '--set', 'steps=80')
    assert more.returncode == 0, more.stderr
    assert len(timeless(run / 'seed-0')) == 4


def test_a_compiled_pass_has_the_plugins_equations(tmp_path: Path) -> None:
    """The child that compiles loads the plugin; its pass and NumPy's give the same spikes."""
    spec, tensors = random_policy(neuron='alif')
    compiled, plain = Policy(spec, tensors), Policy(spec, tensors, compiled=False)
    assert compiled.compiled
    rng = np.random.default_rng(0)
    for _ in range(50):
        observation = rng.normal(size=9)
        np.testing.assert_allclose(compiled.act(observation), plain.act(observation), atol=1e-6)
        for mine, theirs in zip(compiled.spikes, plain.spikes, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_module_critics_of_two_sizes_are_those_alone(tmp_path: Path) -> None:
    """A member's critics are the same in any company, and learn."""
    from proxy_snn_control.policy.plugins import CRITICS
    from torch import nn

    if 'plain' not in CRITICS:

        @CRITICS.register('plain')
        def make(observations: int, actions: int, hidden: tuple[int, ...]) -> nn.Module:
            inside = [nn.Linear(observations + actions, hidden[0]), nn.ReLU()]
            return nn.Sequential(*inside, nn.Linear(hidden[0], 1))

    tasks = ('InvertedDoublePendulum-v5', 'Hopper-v5')
    configs = [
        quick(critic='plain', env=env, seed=seed, eval_every=60, eval_episodes=1)
        for seed, env in enumerate(tasks)
    ]
    together = start_all(configs, tmp_path / 'together')
    alone = [start_all([config], tmp_path / 'alone') for config in configs]
    for population in (together, *alone):
        assert population.run(Listener())
        population.close()
    before = together.td3.critic.weights.flat
    assert before.abs().sum() > 0
    for m, single in enumerate(alone):
        mine, theirs = together.td3.tensors(m), single.td3.tensors(0)
        for name in theirs:
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-4, atol=1e-5)


def test_the_controller_loads_a_plugin_that_is_set(stage, tmp_path: Path) -> None:
    path = tmp_path / 'policy.safetensors'
    provenance = {'plugins': {'neuron': 'adaptive_lif'}}
    write_policy(path, *random_policy(neuron='alif', provenance=provenance))
    stage.environment['PYTHONPATH'] = str(EXAMPLES)
    without = stage.start('controller', policy=path, autostart='true')
    assert without.wait() == 1
    assert "its neuron is of plugin 'adaptive_lif', which is not loaded" in without.output
    given = stage.start('controller', policy=path, autostart='true', plugins="['adaptive_lif']")
    assert stage.until(lambda: 'active: commands go to' in given.output), given.output


def test_a_neuron_of_a_plugin_is_written_as_c(tmp_path: Path) -> None:
    from proxy_snn_control.policy import PolicyFile
    from proxy_snn_control.policy.c_export import export_c
    from test_c_export import answers, assert_same, compiled, observed, PLAIN, SANITIZED

    file = PolicyFile(*random_policy(neuron='alif', hidden=(40,)), '0' * 64)
    policy = Policy(*file)
    export_c(file, tmp_path)
    observations = observed(policy, 300)
    for flags in (SANITIZED, PLAIN):
        program = compiled(tmp_path, flags)
        assert_same(answers(program, file.spec, observations), policy, observations)
