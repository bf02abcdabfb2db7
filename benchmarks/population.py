# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Learners as one batch on a GPU, everything included, beside what bounds them.

    python benchmarks/population.py --table F.md
    python benchmarks/population.py --sketch ANOTHER_PROGRAM.py --table F.md

Needs a CUDA card of compute capability 7.5 or more with 20 GB, torch built for it (with Triton,
which comes with it, and a C compiler, which Triton needs), gymnasium and mujoco. Takes at most
eight minutes: what then is still to do is left out and named. The page is written anew after every
case, so that a failure leaves what was measured. Rehearsed without a card by
`--device cpu --precision float32 --seconds 5 --cases 4`.

Each population trains for `--seconds` in a temporary folder as `proxy-snn train` would, with
environments and evaluations every 5,000 steps in worker processes, but without checkpoints; its
rate is learner-steps a second between the recording of its graphs and its end. Then the parts of
a step are timed alone, and its floor is what its bytes and operations would take at the rates that
this card copies memory and multiplies matrices of these shapes with. `--sketch` names another
program that trains a batch of learners, to run in the same sitting for comparison: it takes
--task, --arms, --seeds, --seconds and --out; the last lines that it prints are shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import gc
import itertools
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
import traceback
from typing import Any, NamedTuple

from page import finish, heading, processor, write
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.spiking.dense import rounded
import torch

TASKS = ('InvertedDoublePendulum-v4', 'Ant-v4', 'HalfCheetah-v4', 'Hopper-v4', 'Walker2d-v4')
FAST = {'proxy_updates': 1, 'proxy_learning_rate': 3e-3}


class Case(NamedTuple):
    """A population to measure: its name, tasks, seeds of each, settings and the rate to reach."""

    name: str
    tasks: tuple[str, ...]
    seeds: int
    settings: dict[str, object]
    aim: float


CASES = (
    Case('25 PT-LIF learners, K = 1', TASKS, 5, FAST, 20_000),
    Case('25 PT-LIF learners, K = 3', TASKS, 5, {}, 12_000),
    Case('one PT-LIF learner, K = 3', ('HalfCheetah-v4',), 1, {}, 900),
    Case(
        'one ANN TD3 learner', ('HalfCheetah-v4',), 1, {'neuron': 'relu', 'target': 'soft'}, 1_500
    ),
)
RANDOM_STEPS = 5_000
WARM_UP = 50  # steps after the random ones, in which kernels are compiled and graphs recorded
MINUTES = 8.0  # that it may take
AROUND = 60.0  # seconds that a case takes besides learning: workers, compiling, timing of parts


class Clock(Listener):
    """Stops a population after so many seconds of learning.

    Attributes:
        rate: steps a second of each member until then.
        evaluations: that came back meanwhile.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.begun, self.from_step, self.step = seconds, 0.0, 0, 0
        self.rate, self.evaluations = 0.0, 0

    def on_step(self, step: int) -> None:
        """Start the clock once everything is recorded."""
        self.step = step
        if step == RANDOM_STEPS + WARM_UP:
            self.begun, self.from_step = time.perf_counter(), step

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Count them."""
        self.evaluations += not self.rate

    def should_stop(self) -> bool:
        """Stop when the time is up; what comes after that, a checkpoint too, does not count."""
        elapsed = time.perf_counter() - self.begun
        if self.begun and not self.rate and elapsed > self.seconds:
            self.rate = (self.step - self.from_step) / elapsed
        return bool(self.rate)


class Figures(NamedTuple):
    """What came of a case: learner-steps a second, and milliseconds of a step and its parts."""

    rate: float
    evaluations: int
    step: float
    parts: dict[str, float]
    gigaflop: float
    gigabytes: float
    memory: float  # GB of the card's, at most


def measure(case: Case, folder: Path, options: argparse.Namespace) -> Figures:
    """Train a population for a while, then time its parts alone."""
    settings: dict[str, Any] = {
        'random_steps': RANDOM_STEPS,
        'checkpoint_every': 10**9,
        'precision': options.precision,
        'device': options.device,
        'replay_size': options.replay_size,
        **case.settings,
    }
    if options.device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    members = [
        Member(TrainConfig(env=task, seed=seed, **settings), folder / task / str(seed))
        for task, seed in itertools.product(case.tasks, range(case.seeds))
    ]
    population = Population(members)
    try:
        clock = Clock(options.seconds)
        population.run(clock)
        parts = {
            'update of the critics alone': timed(lambda: population.td3._learn_kinds[False]()),
            'update of the actor too': timed(lambda: population.td3._learn_kinds[True]()),
            'acting, with its wait': timed(lambda: act(population)),
            'a step of all environments': timed(lambda: step(population), 100),
        }
    finally:
        population.close()
    return Figures(
        clock.rate * len(members),
        clock.evaluations,
        1e3 / clock.rate,
        parts,
        operations(population) / 1e9,
        traffic(population) / 1e9,
        torch.cuda.max_memory_reserved() / 1e9 if options.device == 'cuda' else 0.0,
    )


def act(population: Population) -> None:
    """Actions for what is observed now."""
    arrays, config = population.collector.arrays, population.config
    shape = len(population.runs), config.num_envs, -1
    population.td3.act(arrays.observation.reshape(shape), at_random=False)


def step(population: Population) -> None:
    """Step every environment, and do nothing beside it."""
    population.collector.begin(population.collector.arrays.action.copy())
    population.collector.end()


def timed(function: Callable[[], object], count: int = 200) -> float:
    """Milliseconds of a call."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    for _ in range(10):
        function()
    wait()
    began = time.perf_counter()
    for _ in range(count):
        function()
    wait()
    return (time.perf_counter() - began) / count * 1e3


def products(sizes: tuple[int, ...]) -> int:
    """Multiply-accumulates of a pass through dense layers of these sizes."""
    return sum(a * b for a, b in itertools.pairwise(sizes))


def operations(population: Population) -> float:
    """Floating-point operations of the dense products of a step of all members, padding included.

    A backward pass to weights costs as much as a forward pass, and as much again to inputs.
    """
    config, (o, a, *_) = population.config, population.replay.widths
    critic = products((o + a, *config.critic_hidden, 1))
    first = (o + a) * config.critic_hidden[0]
    dense = 2 * (critic + 3 * critic - first) + 1.5 * critic
    t, out = 1, a
    widths: tuple[int, ...] = (o, *config.hidden, a)
    if config.neuron != 'relu':
        t, out = config.time_steps, a * config.decoder_population
        widths = (o * config.encoder_population, *config.hidden, out)
    actor = t * products(widths)
    acts = 1 / config.batch_size
    if config.target == 'proxy':
        assert config.proxy_hidden is not None
        proxy = products((o, *config.proxy_hidden, a))
        dense += config.proxy_updates * (3 * proxy - o * config.proxy_hidden[0]) + proxy
        spiking = config.proxy_updates * actor + actor
    else:
        spiking = actor + 0.5 * 3 * actor
    return 2 * config.batch_size * len(population.runs) * (dense + spiking + acts * actor)


def traffic(population: Population) -> float:
    """Bytes of weights and moments that a step reads and writes, and of spikes and currents."""
    td3, config = population.td3, population.config
    adam = 7 * 4  # gradient, weight and two moments in; weight and moments out
    numbers = td3.critic.weights.flat.numel() * (adam + 12) + td3.actor.weights.flat.numel() * (
        adam / 2
    )
    if td3.target_adam:
        numbers += td3.target.weights.flat.numel() * adam * config.proxy_updates
    if config.neuron != 'relu':
        o, a, *_ = population.replay.widths
        neurons = (
            o * config.encoder_population + sum(config.hidden) + a * config.decoder_population
        )
        passes = max(1, config.proxy_updates if td3.target_adam else 1) + 1.0
        rows = len(population.runs) * config.batch_size * config.time_steps
        numbers += passes * rows * neurons * 3 * 4  # currents in, spikes and states out
    return numbers


def copy_rate(device: torch.device) -> float:
    """GB a second that memory is read and written at."""
    a = torch.empty(2**28 if device.type == 'cuda' else 2**24, device=device)
    b = torch.empty_like(a)
    return 2 * a.numel() * 4 / timed(lambda: b.copy_(a), 20) / 1e6


def product_rate(device: torch.device, precision: str, members: int) -> float:
    """GFLOP a second of batched products as large as a proxy's."""
    kind = torch.bfloat16 if precision == 'bfloat16' else torch.float32
    a, b = (torch.randn(members, rows, 512, device=device, dtype=kind) for rows in (256, 512))
    with rounded(precision):
        milliseconds = timed(lambda: torch.bmm(a, b), 50)
    return 2 * members * 256 * 512 * 512 / milliseconds / 1e6


def run_for(command: list[str], seconds: float) -> str:
    """Return what a program prints within so many seconds."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        try:
            return program.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            program.kill()
            return f'{program.communicate()[0]}\nended after {seconds:.0f} s'


def main() -> int:
    """Measure, print, and write the page with --table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=30.0, help='of learning, for each case')
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    parser.add_argument('--precision', default='tf32', choices=('float32', 'tf32', 'bfloat16'))
    parser.add_argument('--replay-size', type=int, default=1_000_000)
    parser.add_argument('--cases', type=int, nargs='+', choices=range(1, 5), default=[1, 2, 3, 4])
    parser.add_argument('--sketch', type=Path, help='a program to run in the same sitting')
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    began = time.perf_counter()
    if options.device == 'cuda' and not torch.cuda.is_available():
        print('population.py: torch finds no CUDA card, which this needs', file=sys.stderr)
        return 1
    device = torch.device(options.device)
    card = torch.cuda.get_device_name() if device.type == 'cuda' else 'no card'
    cores = len(os.sched_getaffinity(0))
    lines = [
        *heading('A population on a GPU', 'a GPU'),
        f'{card}; {processor()}, {cores} cores; torch {torch.__version__}; products of critics,',
        f'proxy and backward passes in {options.precision}, spikes exact. {options.seconds:g} s',
        'of learning each.',
        '',
        '| population | learner-steps a second | aim | ms a step | evaluations meanwhile |',
        '|---|---|---|---|---|',
    ]
    details: list[str] = []
    failed = False
    copies = copy_rate(device)
    for number in options.cases:
        case = CASES[number - 1]
        if time.perf_counter() - began + options.seconds + AROUND > 60 * MINUTES:
            lines.append(f'| {case.name} | left out: {MINUTES:g} minutes are over | | | |')
            print(lines[-1], flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = measure(case, Path(folder), options)
            except Exception as error:  # the other cases are of use without it
                if not isinstance(error, UserError):
                    traceback.print_exc()
                failed = True
                reason = ' '.join(str(error).split())[:300]
                lines.append(f'| {case.name} | failed: {reason} | | | |')
                print(lines[-1], flush=True)
                continue
            finally:
                gc.collect()  # the card's memory is for the next
                if device.type == 'cuda':
                    torch.cuda.empty_cache()
        lines.append(
            f'| {case.name} | **{found.rate:,.0f}** | {case.aim:,.0f} | {found.step:.2f} | '
            f'{found.evaluations} |'
        )
        print(lines[-1], flush=True)
        speed = product_rate(device, options.precision, len(case.tasks) * case.seeds)
        details += [
            '',
            f'{case.name}: {found.memory:.1f} GB of the card; a step takes {found.step:.2f} ms;',
            'alone,',
            '',
            '| | ms |',
            '|---|---|',
            *(f'| {name} | {value:.3f} |' for name, value in found.parts.items()),
            '',
            f'Its floor: {found.gigaflop:.1f} GFLOP of products at {speed / 1e3:.1f} TFLOP/s,',
            f'{found.gigaflop / speed * 1e3:.3f} ms, and {found.gigabytes:.2f} GB at',
            f'{copies:.0f} GB/s, {found.gigabytes / copies * 1e3:.3f} ms.',
        ]
        if options.table:
            write(options.table, [*lines, *details])
    left = 60 * MINUTES - (time.perf_counter() - began)
    if options.sketch and left < options.seconds + AROUND:
        details += ['', f'{options.sketch.name} was left out: {MINUTES:g} minutes are over.']
    elif options.sketch:
        command = [
            sys.executable, str(options.sketch), '--task', 'Walker2d-v4', '--arms', '{"base":{}}',
            '--seeds', '25', '--seconds', f'{options.seconds:g}',
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            printed = run_for([*command, '--out', folder], left)
        details += ['', f'{options.sketch.name}, in the same sitting:', '', '```']
        details += [*printed.strip().splitlines()[-8:], '```']
    lines += details
    finish(lines, options.table)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
