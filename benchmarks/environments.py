# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Environments in processes: this package's shared memory beside gymnasium's AsyncVectorEnv.

    python benchmarks/environments.py --members 25 --workers 5 --table docs/results/environments.md

The five tasks of the paper, a share of the members each, take random actions. One step of all is
timed, with nothing else going on: both in turns, in one run. AsyncVectorEnv has a process for each
environment and one task only, so it is timed with the task that costs most (Ant-v4) beside the
same task here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import os
from pathlib import Path
import sys
import time

import gymnasium
import numpy as np
from page import finish, heading, processor
from proxy_snn_control.learning.collect import Collector, Place
from proxy_snn_control.learning.tasks import make_environment, TaskSpec

TASKS = ('InvertedDoublePendulum-v4', 'Ant-v4', 'HalfCheetah-v4', 'Hopper-v4', 'Walker2d-v4')
Step = Callable[[], None]


def ours(tasks: list[str], workers: int) -> tuple[Step, Collector]:
    """Return a step of this package's collector."""
    shapes = []
    for task in set(tasks):
        environment = make_environment(task)
        shapes.append((environment.observation_space.shape[0], environment.action_space.shape[0]))
        environment.close()
    observation, action = (max(each) for each in zip(*shapes, strict=True))
    widths = (observation, action, 1, observation, 1)
    places = [Place(i, TaskSpec(task), i) for i, task in enumerate(tasks)]
    collector = Collector(places, widths, workers)
    rng = np.random.default_rng(0)

    def step() -> None:
        collector.begin(rng.uniform(-1, 1, (len(tasks), action)).astype(np.float32))
        collector.end()

    return step, collector


def asynchronous(task: str, count: int) -> tuple[Step, gymnasium.vector.AsyncVectorEnv]:
    """Return a step of gymnasium's, with its own shared memory for observations."""
    vector = gymnasium.vector.AsyncVectorEnv(
        [lambda: make_environment(task) for _ in range(count)], context='spawn'
    )
    vector.reset(seed=0)
    rng = np.random.default_rng(0)
    shape = vector.action_space.shape

    def step() -> None:
        vector.step(rng.uniform(-1, 1, shape).astype(np.float32))

    return step, vector


def main() -> int:
    """Measure, print, and write the page with --table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--members', type=int, default=25)
    parser.add_argument('--workers', type=int, default=max(1, (os.cpu_count() or 2) // 3))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--steps', type=int, default=200, help='of a round')
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    mixed = [TASKS[i % len(TASKS)] for i in range(options.members)]
    ant = ['Ant-v4'] * options.members
    made = {
        'the five tasks, in this process': ours(mixed, 0),
        'the five tasks, here': ours(mixed, options.workers),
        'Ant-v4, in this process': ours(ant, 0),
        'Ant-v4, here': ours(ant, options.workers),
        'Ant-v4, AsyncVectorEnv': asynchronous('Ant-v4', options.members),
    }
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(options.rounds):
        for name, (step, _) in made.items():
            for _ in range(10):
                step()
            began = time.perf_counter()
            for _ in range(options.steps):
                step()
            seconds[name].append((time.perf_counter() - began) / options.steps)
    for _, each in made.values():
        each.close()
    median = {name: float(np.median(values)) * 1e3 for name, values in seconds.items()}
    ratio = median['Ant-v4, AsyncVectorEnv'] / median['Ant-v4, here']
    about = (
        f'{processor()}, {os.cpu_count()} cores. {options.members} environments, '
        f'{options.workers} worker processes here, one for each environment with AsyncVectorEnv; '
        f'{options.rounds} rounds of {options.steps} steps.'
    )
    lines = [
        *heading('Environments in worker processes', 'an idle computer'),
        about,
        '',
        '| | ms a step of all, median | least to most |',
        '|---|---|---|',
        *(
            f'| {name} | {median[name]:.2f} | {min(v) * 1e3:.2f} to {max(v) * 1e3:.2f} |'
            for name, v in seconds.items()
        ),
        '',
        f"- AsyncVectorEnv takes **{ratio:.2f} times** as long as this package's workers.",
    ]
    finish(lines, options.table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
