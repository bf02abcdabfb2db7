# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Actors of Stable-Baselines3 and CleanRL: files laid out as theirs, made here."""

import base64
import io
import itertools
import json
from pathlib import Path
import pickle
import subprocess
import sys
import zipfile

from conftest import TASK
import numpy as np
from proxy_snn_control.control.wiring import Wiring
from proxy_snn_control.learning.foreign import import_policy
from proxy_snn_control.policy import load_policy, UserError
import pytest
import torch
from torch import nn

LOW, HIGH = np.float32([-0.5, -2.0]), np.float32([1.5, 2.0])


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def prefixed(prefix: str, module: nn.Module) -> dict[str, torch.Tensor]:
    return {f'{prefix}.{name}': value for name, value in module.state_dict().items()}


def sequential(*sizes: int, unit: type = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), unit()]
    return nn.Sequential(*layers)


def sb3_zip(
    path: Path, state: dict[str, torch.Tensor], low=LOW, high=HIGH, **about: object
) -> Path:
    """As BaseAlgorithm.save writes it: data (JSON with pickles as text), policy.pth and others."""
    evil = base64.b64encode(pickle.dumps(Bomb(path.with_name('exploded')))).decode()
    space = {
        ':type:': "<class 'gymnasium.spaces.box.Box'>",
        ':serialized:': evil,
        'dtype': 'float32',
        '_shape': list(low.shape),
        'low': str(low),
        'high': str(high),
    }
    data = {
        'policy_class': {':type:': "<class 'abc.ABCMeta'>", ':serialized:': evil},
        'action_space': space,
        'use_sde': False,
        'policy_kwargs': {},
        **about,
    }
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('data', json.dumps(data))
        archive.writestr('policy.pth', saved(state))
        archive.writestr('pytorch_variables.pth', saved(None))
        archive.writestr('_stable_baselines3_version', '2.3.2')
    return path


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def td3_of_sb3(path: Path, **about: object) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    body = nn.Sequential(*sequential(5, 32, 24), nn.Linear(24, 2), nn.Tanh())
    critic = sequential(7, 16, 1)
    state = prefixed('actor.mu', body) | prefixed('critic.qf0', critic)
    return sb3_zip(path, state, **about), body


class CleanActor(nn.Module):
    """The Actor of td3_continuous_action.py; of SAC with another name and one more head."""

    def __init__(self, last: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 32), nn.Linear(32, 24)
        setattr(self, last, nn.Linear(24, 2))
        self.last = last
        if last == 'fc_mean':
            self.fc_logstd = nn.Linear(24, 2)
        self.register_buffer('action_scale', torch.tensor((HIGH - LOW) / 2))
        self.register_buffer('action_bias', torch.tensor((HIGH + LOW) / 2))

    def forward(self, x):
        x = torch.relu(self.fc2(torch.relu(self.fc1(x))))
        return torch.tanh(getattr(self, self.last)(x)) * self.action_scale + self.action_bias


def test_td3_and_sac_of_stable_baselines3(tmp_path: Path) -> None:
    path, body = td3_of_sb3(tmp_path / 'td3.zip')
    spec = import_policy(path, tmp_path / 'td3.safetensors')
    assert (spec.neuron, spec.hidden) == ('relu', (32, 24))
    assert spec.provenance['imported_from'] == 'Stable-Baselines3 TD3'
    latent, mu = sequential(5, 32, 24), nn.Linear(24, 2)
    state = prefixed('actor.latent_pi', latent) | prefixed('actor.mu', mu)
    state |= prefixed('actor.log_std', nn.Linear(24, 2))
    import_policy(sb3_zip(tmp_path / 'sac.zip', state), tmp_path / 'sac.safetensors')
    sac = nn.Sequential(latent, mu, nn.Tanh())
    for name, network in (('td3', body), ('sac', sac)):
        policy = load_policy(tmp_path / f'{name}.safetensors')
        for seed in range(20):
            x = np.random.default_rng(seed).normal(size=5)
            with torch.no_grad():
                squashed = network(torch.tensor(x, dtype=torch.float32)[None])[0].numpy()
            expected = LOW + 0.5 * (squashed + 1.0) * (HIGH - LOW)  # unscale_action
            np.testing.assert_allclose(policy.act(x), expected, atol=2e-6)
    assert not (tmp_path / 'exploded').exists()
    # Nothing is known of observations: nothing is out of their range.
    low, high = Wiring(policy)._range
    assert (low < -1e20).all()
    assert (high > 1e20).all()


@pytest.mark.parametrize('last', ['fc_mu', 'fc_mean'])
def test_td3_and_sac_of_cleanrl(tmp_path: Path, last: str) -> None:
    actor = CleanActor(last)
    critic = sequential(7, 16, 1)
    path, out = tmp_path / 'model.pt', tmp_path / 'policy.safetensors'
    for content in (actor.state_dict(), (actor.state_dict(), critic.state_dict())):
        torch.save(content, path)
        import_policy(path, out)
        policy = load_policy(out)
        np.testing.assert_allclose(policy.spec.action_low, LOW, atol=1e-6)
        for seed in range(20):
            x = np.random.default_rng(seed).normal(size=5)
            with torch.no_grad():
                expected = actor(torch.tensor(x, dtype=torch.float32)[None])[0].numpy()
            np.testing.assert_allclose(policy.act(x), expected, atol=2e-6)


def test_with_a_task_the_wiring_can_be_checked(tmp_path: Path) -> None:
    body = nn.Sequential(*sequential(9, 32, 24), nn.Linear(24, 1), nn.Tanh())
    state = prefixed('actor.mu', body)
    one = np.float32([1.0])
    path = sb3_zip(tmp_path / 'td3.zip', state, low=-one, high=one)
    out = tmp_path / 'policy.safetensors'
    import_policy(path, out, TASK)
    policy = load_policy(out)
    assert policy.spec.control_period == 0.05
    assert policy.spec.observation_names
    assert policy.whitening is not None
    assert (policy.quantiles[0] <= policy.quantiles[-1]).all()
    assert np.abs(policy.quantiles).max() < 1e4
    with pytest.raises(UserError, match=r'has 11 observations and 3 actions, .* is for 9 and 1'):
        import_policy(path, out, 'Hopper-v5')


@pytest.mark.parametrize(
    ('about', 'state', 'reported'),
    [
        ({'use_sde': True}, {}, 'trained with gSDE'),
        (
            {'policy_kwargs': {'activation_fn': "<class 'torch.nn.modules.activation.Tanh'>"}},
            {},
            'activation is .*Tanh.*, expected ReLU',
        ),
        (
            {'action_space': {'low': "__import__('os')", 'high': '[1.]'}},
            {},
            'has low .*, expected',
        ),
        ({}, {'actor.features_extractor.cnn.weight': torch.zeros(1)}, 'reads images'),
        ({}, {'actor.mu.0.weight': torch.zeros(32)}, 'actor.mu.0 is no dense layer'),
        ({}, {'actor.mu.2.weight': torch.zeros(24, 31)}, 'takes 31 numbers, expected 32'),
        ({}, {'actor.mu.0.weight': torch.full((32, 5), torch.nan)}, 'NaN'),
    ],
)
def test_what_cannot_be_taken_is_refused(
    tmp_path, about: dict, state: dict, reported: str
) -> None:
    body = nn.Sequential(*sequential(5, 32, 24), nn.Linear(24, 2), nn.Tanh())
    path = sb3_zip(tmp_path / 'td3.zip', prefixed('actor.mu', body) | state, **about)
    with pytest.raises(UserError, match=reported):
        import_policy(path, tmp_path / 'policy.safetensors')
    assert not (tmp_path / 'policy.safetensors').exists()


def test_no_pickle_is_executed(tmp_path: Path) -> None:
    out, exploded = tmp_path / 'policy.safetensors', tmp_path / 'exploded'
    path = tmp_path / 'model.pt'
    for content in (
        saved(Bomb(exploded)),
        pickle.dumps(Bomb(exploded)),
        b'',
        b'PK\x03\x04nothing',
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match='no torch file of weights alone'):
            import_policy(path, out)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('data', '{}')
        archive.writestr('policy.pth', saved(Bomb(exploded)))
    with pytest.raises(UserError, match=r'policy.pth: is no torch file of weights alone'):
        import_policy(path, out)
    path.write_bytes(saved({'mlp_extractor.policy_net.0.weight': torch.zeros(2, 2)}))
    with pytest.raises(UserError, match='has no actor of TD3 or SAC'):
        import_policy(path, out)
    assert not exploded.exists()


def test_the_command(tmp_path: Path) -> None:
    path, _ = td3_of_sb3(tmp_path / 'td3.zip')
    out = tmp_path / 'policy.safetensors'

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, '-m', 'proxy_snn_control.cli', *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    assert run('import', path, '--out', out).stdout == f'{out}\n'
    assert 'relu neurons, layers 5 -> 32 -> 24 -> 2' in run('inspect', out).stdout
    refused = run('convert', out)
    assert refused.returncode == 1
    assert 'is not converted' in refused.stderr
    assert refused.stderr.count('\n') == 1
