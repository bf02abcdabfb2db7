# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Settings: the paper's, a user's, and those that are no good."""

from pathlib import Path

from proxy_snn_control.learning.config import load_config, TrainConfig
from proxy_snn_control.policy import UserError
from proxy_snn_control.share import share_file
import pytest
from training_kit import quick


def test_settings_that_go_with_the_neuron() -> None:
    """METHOD: the proxy's width and rate per neuron, CLIF's exception, and all of it settable."""

    def proxy(**settings):
        config = TrainConfig(**settings)
        return config.proxy_hidden, config.proxy_learning_rate

    assert proxy(neuron='lif') == ((512, 512), 1e-3)
    assert proxy(neuron='dn') == ((512, 512), 3e-3)
    assert proxy(neuron='clif', env='HalfCheetah-v4') == ((800, 600), 3e-3)
    assert proxy(neuron='clif', env='InvertedDoublePendulum-v4') == ((512, 512), 3e-3)
    assert proxy(neuron='clif', proxy_hidden=[32], proxy_learning_rate=1e-4) == ((32,), 1e-4)
    fast = TrainConfig(**load_config(share_file('config/fast.yaml')))
    assert (fast.proxy_updates, fast.proxy_learning_rate) == (1, 3e-3)
    constants = TrainConfig(
        neuron='dn', neuron_constants={'recovery_rate': -0.529}
    ).neuron_constants
    assert constants['recovery_rate'] == -0.529
    assert constants['current_decay'] == 0.5


def test_intervals_must_fit_the_environments() -> None:
    with pytest.raises(
        UserError, match='setting eval_every is 40, expected a multiple of num_envs'
    ):
        quick(num_envs=7, random_steps=70, steps=70)


def test_every_setting_is_explained_in_train_yaml() -> None:
    path = share_file('config/train.yaml')
    settings = load_config(path)
    assert TrainConfig(**settings) == TrainConfig(), "train.yaml holds the defaults, the paper's"
    assert list(settings) == list(TrainConfig.__dataclass_fields__), 'and all, in the same order'
    for line in path.read_text().splitlines():
        if line and not line.startswith('#'):
            assert '#' in line, f'no comment on: {line}'
    for name in ('demo', 'fast'):
        TrainConfig(**load_config(share_file(f'config/{name}.yaml')))


@pytest.mark.parametrize(
    ('text', 'reported'),
    [
        ('stepz: 3', "'stepz' does not exist; did you mean steps"),
        ('[1, 2]', 'expected lines of'),
        ('a: b: c', 'is not valid YAML'),
        ('seed: 3\ntau: 0.1\nseed: 4', "'seed' occurs twice"),
        ('steps: many', "setting steps is 'many', expected a whole number"),
        ('steps: 1.5', 'setting steps is 1.5'),
        ('steps: true', 'setting steps is True'),
        ('steps: -1', 'setting steps is -1'),
        ('env: 7', 'setting env is 7, expected text'),
        ('hidden: 256', 'setting hidden is 256, expected a list'),
        ('hidden: [256, x]', "setting hidden is 'x'"),
        ('tau: 2', 'setting tau is 2'),
        ('neuron: izh', "setting neuron is 'izh', expected one of lif"),
        ('neuron_constants: 3', 'setting neuron_constants is 3, expected lines of'),
        ('neuron_constants: {decay: 0.5}', "has 'decay'; those of lif: voltage_decay, threshold"),
        ('neuron_constants: {threshold: x}', "setting neuron_constants: threshold is 'x'"),
        ('neuron_constants: {voltage_decay: 2}', 'voltage_decay is 2.0, expected 0.0 to 1.0'),
        ('precision: double', "setting precision is 'double', expected one of auto"),
        ('encoder_span: [1, -1]', 'encoder_span'),
        ('encoder_span: [-1e39, 1]', 'setting encoder_span is .*, expected -1000000.0 to'),
        ('discount: .nan', 'setting discount is nan'),
        ('steps: ' + '9' * 400, 'setting steps is 999'),
        ('steps: 2020-13-45', 'is not valid YAML'),
        ('steps: ' + '[' * 5000, 'is not valid YAML'),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, reported: str) -> None:
    path = tmp_path / 'c.yaml'
    path.write_text(text)
    with pytest.raises(UserError, match=reported):
        TrainConfig(**load_config(path))


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(UserError, match="setting target is 'none', expected one of proxy"):
        quick(target='none')


def test_yaml_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / 'c.yaml'
    path.write_text('steps: 1e6\nactor_learning_rate: 1e-3\nhidden: [64]')
    config = TrainConfig(**load_config(path))
    assert (config.steps, config.actor_learning_rate, config.hidden) == (10**6, 1e-3, (64,))
