# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""On a GPU: updates recorded as CUDA graphs, draws, acting and a whole population."""

from collections.abc import Iterator
import gc
from pathlib import Path

import numpy as np
from proxy_snn_control.learning import sweep
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.grid import is_done
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.sweep import replay_bytes, train_here
from proxy_snn_control.policy import load_policy
import pytest
import torch
from training_kit import equal, flat, learners, NORMALISED, QUICK, timeless

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU that torch can use')
GPU = torch.device('cuda')


@pytest.fixture(autouse=True)
def _compiled(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every kernel can be compiled here; what cannot would be computed all the same."""
    yield
    assert not [r for r in caplog.get_records('call') if 'cannot compile' in r.message]


def configs(**changes) -> list[TrainConfig]:
    return [
        TrainConfig(**{**QUICK, 'precision': 'float32', 'seed': seed, **changes})
        for seed in (0, 1, 2)
    ]


@pytest.mark.parametrize(
    'settings',
    [{}, {'critic_norm': 'layer', 'surrogate': 'tailed'}, {'normalise_observations': True}],
    ids=['', 'robust', 'observations'],
)
@pytest.mark.parametrize('target', ['proxy', 'soft'])
@pytest.mark.parametrize('neuron', ['lif', 'clif', 'dn', 'relu'])
def test_recorded_updates_equal_those_of_the_cpu(neuron: str, target: str, settings: dict) -> None:
    """Draws are the same numbers on both; sums differ by rounding."""
    both = []
    for device in (torch.device('cpu'), GPU):
        own = configs(neuron=neuron, target=target, **settings)
        td3 = learners(own, [(5, 2), (3, 1), (5, 2)], device)
        for _ in range(20):
            td3.update()
        both.append(td3)
    cpu, gpu = both
    for name, sums in cpu.sums.items():
        np.testing.assert_allclose(gpu.sums[name].cpu(), sums, rtol=0.02, err_msg=name)
    for name, weights in flat(cpu).items():
        away = (flat(gpu)[name].cpu() - weights).abs()
        assert float((away > 1e-3).float().mean()) < 0.01, name


@pytest.mark.parametrize('precision', ['float32', 'tf32', 'bfloat16'])
def test_spikes_are_those_of_exact_products(precision: str) -> None:
    td3 = learners(configs(precision=precision), [(5, 2)] * 3, GPU)
    alone = learners(configs(), [(5, 2)] * 3)
    observation = torch.randn(3, 200, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, spikes, _ = td3.actor.trace(observation.to(GPU))
        _, expected, _ = alone.actor.trace(observation)
    for mine, theirs in zip(spikes, expected, strict=True):
        assert float((mine.cpu() != theirs).float().mean()) < 1e-3


@pytest.mark.parametrize(
    'settings',
    [
        {},
        {**NORMALISED, 'surrogate': 'tailed', 'spike_cost': 0.1},
        {'normalise_observations': True, 'history': 2, 'previous_action': True},
    ],
    ids=['', 'all', 'observations'],
)
def test_a_population_on_a_gpu_and_its_files(tmp_path: Path, settings: dict) -> None:
    """Workers for environments and evaluations; stopped and resumed as the whole one."""

    class StopAt(Listener):
        stop_at = 10**9
        step = 0

        def on_step(self, step: int) -> None:
            self.step = step

        def should_stop(self) -> bool:
            return self.step >= self.stop_at

    def train(folder: Path, stop_at: int, resume: bool) -> Population:
        own = configs(device='cuda', **settings)
        members = [Member(config, folder / str(config.seed)) for config in own]
        population = Population(members, resume=resume)
        listener = StopAt()
        listener.stop_at = stop_at
        population.run(listener)
        population.close()
        return population

    whole = train(tmp_path / 'whole', 10**9, resume=False)
    train(tmp_path / 'parted', 97, resume=False)
    parted = train(tmp_path / 'parted', 10**9, resume=True)
    assert equal(flat(whole.td3), flat(parted.td3))
    for seed in ('0', '1', '2'):
        assert timeless(tmp_path / 'parted' / seed) == timeless(tmp_path / 'whole' / seed)
        load_policy(tmp_path / 'parted' / seed / 'policy.safetensors')


def test_a_sweep_is_batches(tmp_path: Path) -> None:
    """What agrees goes together, one batch after the other, and from where it was stopped."""

    class Stops(Listener):
        """Stops the training after 70 steps."""

        def __init__(self) -> None:
            self.step = 0

        def on_step(self, step: int) -> None:
            self.step = step

        def should_stop(self) -> bool:
            return self.step >= 70

    members = [
        Member(config, tmp_path / name / f'seed-{config.seed}')
        for name, changes in {'a': {}, 'b': {'hidden': (20, 20)}}.items()
        for config in configs(**changes)
    ]
    messages: list[str] = []
    assert train_here(members, Stops(), messages.append) == (False, [])
    assert 'batch 1 of 2 on the GPU' in messages[0] and 'and 2 more' in messages[0]
    assert [member.is_begun for member in members] == [True] * 3 + [False] * 3
    assert train_here(members, Listener(), messages.append) == (True, [])
    assert all(is_done(member) for member in members)


def test_a_batch_larger_than_the_card_goes_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    monkeypatch.setattr(sweep, 'FOR_REPLAY', 2.0)  # no part of the batch is put off beforehand
    (example, *_) = configs()
    row = replay_bytes([Member(example, tmp_path)]) / example.replay_size
    members = [
        Member(config, tmp_path / f'seed-{config.seed}')
        for config in configs(replay_size=int(0.45 * free / row))
    ]
    messages: list[str] = []
    assert train_here(members, Listener(), messages.append) == (True, [])
    assert 'too large for the memory' in messages[1] and len(messages) == 2
    assert all(is_done(member) for member in members)
