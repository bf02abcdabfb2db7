# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Training speed on HalfCheetah-v4: the plain PyTorch idiom, Stable-Baselines3, this package.

    pip install -c constraints.txt '.[train,benchmarks]'
    python benchmarks/training.py --table docs/results/training_speed.md
    python benchmarks/training.py --beside OLDER_CHECKOUT    # this and an earlier version

All take turns within one run, a few seconds each, environment steps and updates together; the
ratios are those of the medians over the rounds. Then: where the time of one step goes, and the
floor, which is the dense products of a step at the rate this machine multiplies matrices. Run
nothing else meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import itertools
import json
import os
from pathlib import Path
import platform
import subprocess
import sys
import tempfile
import time

from idiom import Idiom
import numpy as np
from page import finish, heading, processor
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.hardware import has_bfloat16_units, use_processor
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.tasks import make_environment
import torch

TASK, BATCH, FILLED = 'HalfCheetah-v4', 256, 2000
Steps = Callable[[int], None]
# What two versions are compared by.
LEARNERS: dict[str, dict[str, object]] = {
    'PT-LIF, K = 3': {},
    'ANN TD3': {'neuron': 'relu', 'target': 'soft'},
}
# A version in a process of its own: for each line that it reads, one turn of so many seconds.
TURNS = """
import json, pathlib, sys, tempfile, time
import training
threads, settings = json.loads(sys.argv[1])
training.use_processor(threads)
with tempfile.TemporaryDirectory() as folder:
    steps, _ = training.this(pathlib.Path(folder) / 'run', **settings)
    steps(20)
    print('ready', flush=True)
    for seconds in sys.stdin:
        began, at_work, done = time.perf_counter(), time.process_time(), 0
        while (elapsed := time.perf_counter() - began) < float(seconds):
            steps(10)
            done += 10
        print(done / elapsed, done / (time.process_time() - at_work), flush=True)
"""


def plain_idiom(lessons: int) -> Steps:
    """Return the loop over T, separate critics, autograd; NumPy arrays as replay buffer."""
    environment = make_environment(TASK)
    observation, _ = environment.reset(seed=0)
    learner = Idiom(17, 6, lessons=lessons)
    sizes, rng = (17, 6, 1, 17, 1), np.random.default_rng(0)
    replay = [np.zeros((100_000, size), np.float32) for size in sizes]
    count = 0

    def step(update: bool) -> None:
        nonlocal observation, count
        with torch.no_grad():
            action = learner.actor(torch.as_tensor(observation, dtype=torch.float32)[None])[0]
        action = np.clip(action.numpy() + rng.normal(0, 0.1, 6), -1, 1).astype(np.float32)
        following, reward, terminal, truncated, _ = environment.step(action)
        row = observation, action, reward, following, terminal
        for array, value in zip(replay, row, strict=True):
            array[count % len(array)] = value
        count += 1
        observation = environment.reset()[0] if terminal or truncated else following
        if update:
            learner.update(sample)

    def sample() -> list[torch.Tensor]:
        rows = rng.integers(min(count, 100_000), size=BATCH)
        return [torch.from_numpy(array[rows]) for array in replay]

    for _ in range(FILLED):
        step(update=False)

    def steps(count: int) -> None:
        for _ in range(count):
            step(update=True)

    return steps


def stable_baselines3() -> Steps:
    """TD3 with ordinary networks of 256-256, in the settings of the paper's ANN baseline."""
    from stable_baselines3 import TD3
    from stable_baselines3.common.noise import NormalActionNoise

    model = TD3(
        'MlpPolicy',
        make_environment(TASK),
        learning_rate=3e-4,
        buffer_size=100_000,
        learning_starts=FILLED,
        batch_size=BATCH,
        action_noise=NormalActionNoise(np.zeros(6), np.full(6, 0.1)),
        policy_kwargs={'net_arch': [256, 256]},
        seed=0,
        device='cpu',
    )
    model.learn(FILLED)

    def steps(count: int) -> None:
        model.learn(count, reset_num_timesteps=False)

    return steps


def this(folder: Path, **settings: object) -> tuple[Steps, Population]:
    """Return this package's training run, without its evaluations."""
    config = TrainConfig(
        **{  # type: ignore[arg-type]
            'env': TASK,
            'random_steps': FILLED,
            'steps': 0,
            'eval_every': 10**6,
            'eval_episodes': 1,
            'replay_size': 100_000,
            **settings,
        }
    )
    run = Population([Member(config, folder)])
    listener = Listener()

    def steps(count: int) -> None:
        for _ in range(count):
            run._one_step(listener)

    steps(FILLED)
    return steps, run


def rate(steps: Steps, seconds: float) -> float:
    """Return the steps a second."""
    began, done, chunk = time.perf_counter(), 0, 10
    while (elapsed := time.perf_counter() - began) < seconds:
        steps(chunk)
        done += chunk
    return done / elapsed


def products(sizes: tuple[int, ...]) -> int:
    """Multiply-accumulates of a pass through dense layers of these sizes."""
    return sum(a * b for a, b in itertools.pairwise(sizes))


def operations(lessons: int) -> tuple[float, float]:
    """GFLOP of one step of PT-LIF: of the ordinary networks, and of the spiking actor.

    A backward pass to weights costs as much as a forward pass, and as much again to inputs.
    """
    proxy, critic = products((17, 512, 512, 6)), products((23, 256, 256, 1))
    proxy_inputs = proxy - 17 * 512
    dense = lessons * (2 * proxy + proxy_inputs) + proxy  # imitation; action of the target
    dense += 2 * (critic + 3 * critic - 23 * 256)  # target critics; critics
    dense += critic  # every second step, through Q1 forward and back to the action
    actor = 5 * products((170, 256, 256, 60))
    spiking = lessons * actor + (2 * actor - 5 * 170 * 256 + 170 * 256) / 2
    return 2 * BATCH * dense / 1e9, 2 * BATCH * spiking / 1e9


def multiplication_rate(kind: torch.dtype) -> float:
    """GFLOP a second of this machine on a product like those of an update."""
    a, b = torch.randn(BATCH, 512).to(kind), torch.randn(512, 512).to(kind)
    best = float('inf')
    for _ in range(200 if kind == torch.float32 else 20):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * BATCH * 512 * 512 / best / 1e9


def where_time_goes(run: Population, count: int = 60) -> dict[str, float]:
    """Milliseconds of one step by kind of work."""
    arrays = run.collector.arrays
    observation = arrays.observation[:, None]
    began = time.perf_counter()
    for _ in range(count):
        actions, _ = run.td3.act(observation, at_random=False)
        run.collector.begin(actions[:, 0])
        run.collector.end()
    collecting = (time.perf_counter() - began) / count * 1e3
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(count):
            run.td3.update()
    parts = dict.fromkeys(
        ('dense products', 'spiking layers', 'optimisers', 'everything else of an update'), 0.0
    )
    for event in profile.key_averages():
        kind = 'everything else of an update'
        if event.key in ('aten::mm', 'aten::addmm', 'aten::bmm', 'aten::baddbmm'):
            kind = 'dense products'
        elif event.key.startswith('SpikingLayers'):
            kind = 'spiking layers'
        elif 'Adam' in event.key or event.key == 'aten::_fused_adam_':
            kind = 'optimisers'
        parts[kind] += event.self_cpu_time_total / count / 1e3
    return {'environment step and acting': collecting, **parts}


class Version:
    """A learner of a checkout's version of this package, in a process of its own."""

    def __init__(self, checkout: Path, threads: int, settings: dict[str, object]) -> None:
        folder = checkout / 'benchmarks'
        self._process = subprocess.Popen(
            [sys.executable, '-c', TURNS, json.dumps([threads, settings])],
            env={**os.environ, 'PYTHONPATH': f'{checkout}{os.pathsep}{folder}'},
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout
        self._ask, self._told = self._process.stdin, self._process.stdout
        if self._told.readline() != 'ready\n':
            sys.exit(f'{checkout}: its benchmarks/training.py cannot be used, see above')

    def turn(self, seconds: float) -> tuple[float, float]:
        """Return the steps a second by the clock, and a second of processor time."""
        print(seconds, file=self._ask, flush=True)
        by_clock, by_processor = map(float, self._told.readline().split())
        return by_clock, by_processor

    def close(self) -> None:
        """End the process."""
        self._ask.close()
        self._process.wait()


def beside(older: Path, options: argparse.Namespace) -> list[str]:
    """Return a table of this and an earlier version, whose turns follow each other."""
    checkouts = older.resolve(), Path(__file__).resolve().parents[1]
    lines = [
        '| learner | a second: earlier | this | ratio | CPU second: earlier | this | ratio |',
        '|---|---|---|---|---|---|---|',
    ]
    for name, settings in LEARNERS.items():
        versions = [Version(each, options.threads, settings) for each in checkouts]
        turns = [[each.turn(options.seconds) for each in versions] for _ in range(options.rounds)]
        for each in versions:
            each.close()
        # [versions, by clock and by processor]
        medians = np.median(np.array(turns), axis=0)
        cells = [
            f'{before:.1f} | {now:.1f} | {now / before:.3f}' for before, now in medians.T.tolist()
        ]
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return lines


def main() -> int:
    """Measure, print, and write the page with --table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=8.0, help='of each turn')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--threads', type=int, default=0)
    parser.add_argument('--table', type=Path)
    parser.add_argument('--beside', type=Path, metavar='OLDER_CHECKOUT')
    options = parser.parse_args()
    if options.beside:
        about = (
            f'{platform.machine()}, {processor()}, {os.cpu_count()} cores, torch '
            f'{torch.__version__}; {TASK}, batch {BATCH}, precision auto, {options.rounds} rounds '
            f'of {options.seconds:g} s for each version in turn, medians. Processor time is what '
            'other programs on the computer disturb least.'
        )
        title = heading('Training speed beside an earlier version')
        finish([*title, about, '', *beside(options.beside, options)], options.table)
        return 0
    use_processor(options.threads)
    torch.manual_seed(0)

    with tempfile.TemporaryDirectory() as folder:
        ours, run = this(Path(folder) / 'a', precision='auto')
        contenders: dict[str, Steps] = {
            'PT-LIF, K = 3, plain idiom': plain_idiom(3),
            'PT-LIF, K = 3, this': ours,
            'PT-LIF, K = 1, plain idiom': plain_idiom(1),
            'PT-LIF, K = 1, this': this(Path(folder) / 'b', proxy_updates=1)[0],
            'vanilla LIF, plain idiom': plain_idiom(0),
            'vanilla LIF, this': this(Path(folder) / 'c', target='soft')[0],
            'ANN TD3, Stable-Baselines3': stable_baselines3(),
            'ANN TD3, this': this(Path(folder) / 'd', neuron='relu', target='soft')[0],
        }
        if run.config.precision != 'float32':
            contenders['PT-LIF, K = 3, this, float32'] = this(
                Path(folder) / 'e', precision='float32'
            )[0]
        for steps in contenders.values():
            steps(20)
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, steps in contenders.items():
                rates[name].append(rate(steps, options.seconds))
                print(f'{name}: {rates[name][-1]:.1f}', file=sys.stderr, flush=True)
        parts = where_time_goes(run)

    median = {name: float(np.median(values)) for name, values in rates.items()}
    fast = median['PT-LIF, K = 3, this']
    dense, spiking = operations(3)
    speed = multiplication_rate(torch.float32)
    over_idiom = fast / median['PT-LIF, K = 3, plain idiom']
    over_sb3 = fast / median['ANN TD3, Stable-Baselines3']
    machine = (
        f'{platform.machine()}, {processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} '
        f'threads, bfloat16 units: {"yes" if has_bfloat16_units() else "no"}, torch '
        f'{torch.__version__}, Python {platform.python_version()}. {TASK}, batch {BATCH}, '
        f'{options.rounds} rounds of {options.seconds:g} s.'
    )
    floor = (
        f'(With the profiler on.) Its ordinary networks are {dense:.2f} GFLOP of dense products, '
        f'its spiking actor would be {spiking:.2f} more. This machine multiplies float32 matrices '
        f'at {speed:.0f} GFLOP/s: the ordinary networks alone take {dense / speed * 1e3:.1f} ms, '
        f'which is {speed / dense:.0f} steps a second if all else were free; all products, '
        f'{(dense + spiking) / speed * 1e3:.1f} ms.'
    )
    if has_bfloat16_units():
        speed = multiplication_rate(torch.bfloat16)
        floor += (
            f' In bfloat16, at {speed:.0f} GFLOP/s, {dense / speed * 1e3:.1f} ms and '
            f'{(dense + spiking) / speed * 1e3:.1f} ms: {speed / (dense + spiking):.0f} steps a '
            f'second, {speed / (dense + spiking) / median["PT-LIF, K = 3, plain idiom"]:.1f} '
            'times the plain idiom.'
        )
    lines = [
        *heading('Training speed', 'the extra benchmarks'),
        machine,
        '',
        '| learner | steps a second, median | least to most |',
        '|---|---|---|',
        *(
            f'| {name} | {median[name]:.1f} | {min(values):.1f} to {max(values):.1f} |'
            for name, values in rates.items()
        ),
        '',
        f'- PT-LIF, K = 3: **{over_idiom:.2f} times** the plain idiom.',
        f"- PT-LIF, K = 3: **{over_sb3:.2f} times** Stable-Baselines3's TD3, ordinary networks.",
        f'- The dense products of this run were computed in {run.config.precision}.',
        '',
        f'A step of PT-LIF with K = 3 takes {1e3 / fast:.1f} ms:',
        '',
        '| | ms |',
        '|---|---|',
        *(f'| {name} | {value:.2f} |' for name, value in parts.items()),
        '',
        floor,
    ]
    finish(lines, options.table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
