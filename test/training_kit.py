# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What the tests of training share: quick settings, and populations of them."""

from __future__ import annotations

import csv
from pathlib import Path

from conftest import TASK
import numpy as np
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.normaliser import Normaliser
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.replay import Replay
from proxy_snn_control.learning.td3 import TD3
from proxy_snn_control.spiking.actor import Sizes
import torch

QUICK = {
    'env': TASK,
    'steps': 60,
    'random_steps': 60,
    'eval_every': 40,
    'eval_episodes': 2,
    'checkpoint_every': 50,
    'hidden': (16, 16),
    'proxy_hidden': (16, 16),
    'critic_hidden': (16, 16),
    'batch_size': 16,
    'replay_size': 20_000,
    'threads': 1,
}
NORMALISED = {'actor_norm': 'care_bn', 'critic_norm': 'layer'}
CPU = torch.device('cpu')


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{**QUICK, **changes})


def start(config: TrainConfig, folder: Path, *, resume: bool = False) -> Population:
    """Start a population of one."""
    return Population([Member(config, folder)], resume=resume)


def start_all(configs, folder: Path, *, resume: bool = False) -> Population:
    members = [Member(config, folder / f'seed-{config.seed}') for config in configs]
    return Population(members, resume=resume)


class StopAt(Listener):
    """Stops the training at a step."""

    def __init__(self, step: int) -> None:
        self.stop_at, self.step = step, 0

    def on_step(self, step: int) -> None:
        self.step = step

    def should_stop(self) -> bool:
        return self.step >= self.stop_at


class Warnings(Listener):
    """Collects the texts of warnings and the rows of evaluations."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rows: dict[int, list[dict[str, float]]] = {}

    def on_warning(self, member: Member, text: str) -> None:
        self.texts.append(f'seed {member.config.seed}: {text}')

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        self.rows.setdefault(member.config.seed, []).append(row)


def filled_replay(sizes: list[tuple[int, int]], seeds: list[int], count: int = 300) -> Replay:
    """Transitions that the seeds decide; a narrow member's are those it would have alone."""
    replay = Replay(500, sizes, seeds, CPU)
    wide = replay.widths
    rows = torch.zeros(len(sizes), count, sum(wide))
    for member, (observations, actions) in enumerate(sizes):
        rng = np.random.default_rng(seeds[member])
        parts = rows[member].split(wide, dim=1)
        for part, width in ((parts[0], observations), (parts[3], observations)):
            part[:, :width] = torch.from_numpy(rng.normal(0, 2, (count, width)))
        parts[1][:, :actions] = torch.from_numpy(rng.uniform(-1, 1, (count, actions)))
        parts[2][:, 0] = torch.from_numpy(rng.normal(size=count))
        parts[4][:, 0] = torch.from_numpy(rng.random(count) < 0.2)
    replay.add(rows)
    return replay


def learners(
    configs: list[TrainConfig], sizes: list[tuple[int, int]], device: torch.device = CPU
) -> TD3:
    """Learners of tasks of these sizes, with transitions to learn from.

    With the setting normalise_observations, by the statistics of these transitions.
    """
    normaliser = None
    replay = filled_replay(sizes, [config.seed for config in configs])
    if device.type != 'cpu':
        there = Replay(500, sizes, [config.seed for config in configs], device)
        there.add(replay.rows[:, : len(replay)].to(device))
        replay = there
    if configs[0].normalise_observations:
        normaliser = Normaliser([o for o, _ in sizes], 1, replay.widths[0], device)
        normaliser.learn(replay.rows[:, : len(replay)].cpu().numpy())
    limits = [Sizes(o, (-1.0,) * a, (1.0,) * a) for o, a in sizes]
    return TD3(configs, limits, replay, device, normaliser)


def flat(td3: TD3) -> dict[str, torch.Tensor]:
    """All weights by network."""
    return {
        name: weights.flat.detach().clone()
        for name, weights in (
            ('actor', td3.actor.weights),
            ('target', td3.target.weights),
            ('critic', td3.critic.weights),
            ('target_critic', td3.target_critic.weights),
        )
    }


def equal(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def timeless(out: Path) -> list[dict[str, str]]:
    """progress.csv without the columns of time."""
    with open(out / 'progress.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    return [
        {k: v for k, v in row.items() if k not in ('seconds', 'steps_per_second')} for row in rows
    ]
