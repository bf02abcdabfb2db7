# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A million random sequences of messages, faults and times against the controller's loop.

    python benchmarks/hostile.py --seconds 220 --seed 1 --jobs 2

The promise: nothing leaves that is NaN, out of limits, stale or unasked, and nothing leaps. What
can happen and what is checked are those of `Hostile` in test/hostile_kit.py; there Hypothesis
chooses, which finds short failures but takes ten times as long as the loop. Here a seeded
generator does. A failure is printed with its sequence, and comes again with the same seed and
number.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
import math
import multiprocessing
from pathlib import Path
import random
import sys
import tempfile
import time
import traceback
from typing import Any

from proxy_snn_control.control.messages import UNASKED

# The tests are no package: what they share is found by its folder.
sys.path.insert(0, str(Path(__file__).parents[1] / 'test'))

from control_kit import PERIOD  # noqa: E402, I100
from hostile_kit import ANSWERS, Hostile, INTERFACES, prepare_hostile  # noqa: E402

STEPS = 20
ODD_NUMBERS = (math.nan, math.inf, -math.inf, 1e300, 1e30)
ODD_STAMPS = (0.0, PERIOD, -PERIOD, 0.01, -0.21, -0.35, 5.0, -50.0, 1e6)


def number(rng: random.Random) -> float:
    """Return what a source publishes, or a policy wants."""
    return rng.uniform(-3, 3) if rng.random() < 0.7 else rng.choice(ODD_NUMBERS)


def stamp(rng: random.Random) -> float:
    """How far a stamp is from the time, in seconds."""
    return rng.uniform(-0.1, 0.1) if rng.random() < 0.4 else rng.choice(ODD_STAMPS)


def truth(rng: random.Random) -> bool:
    """Yes or no."""
    return rng.random() < 0.5


# What can happen, how often, and with what.
EVENTS: dict[str, tuple[int, Callable[[random.Random], dict[str, Any]]]] = {
    'message': (4, lambda r: {'source': r.randrange(2), 'stamp': stamp(r), 'value': number(r),
                              'times': r.randint(1, 3)}),
    'broken_joints': (1, lambda r: {'names': r.choice([['a', 'a'], ['b'], [], ['a', 'b']]),
                                    'count': r.randrange(4)}),
    'in_order': (5, lambda r: {'steps': r.randint(1, 12),
                               'values': (r.uniform(-1, 1), r.uniform(-1, 1))}),
    'pass_time': (2, lambda r: {
        'seconds': r.choice([0.001, 0.01, PERIOD, 0.05, 0.19, 0.21, 0.35, 2.0])}),
    'one_long_before_the_other': (1, lambda r: {'source': r.randrange(2),
                                                'seconds': r.choice([0.1, 0.25, 0.35])}),
    'set_the_clock': (1, lambda r: {'jump': r.choice([-50.0, -0.3, 0.3, 1e5])}),
    'sleep': (1, lambda r: {'seconds': r.choice([0.01, 0.21, 2.0])}),
    'warm_up': (1, lambda r: {}),
    'middleware': (1, lambda r: {'loses': r.random() < 0.3}),
    'answer': (1, lambda r: {'back': r.randrange(3)}),  # of the neuromorphic node, if there is one
    'node': (1, lambda r: {'answers': r.choice(ANSWERS)}),
    'reload': (1, lambda r: {'which': r.randrange(2)}),
    'rival': (1, lambda r: {'there': r.random() < 0.3}),
    'possess': (1, lambda r: {'value': number(r)}),
    'press': (1, lambda r: {'pressed': truth(r), 'who': r.choice([b'a', b'b'])}),
    'arm': (2, lambda r: {}),
    'turn': (1, lambda r: {}),  # activate or deactivate, whichever it is not
    'change': (1, lambda r: {'slew': truth(r), 'ramp': r.choice([0.0, 0.3]), 'hold': truth(r),
                             'acceleration': truth(r), 'safe': r.choice([0.5, 0.0])}),
}  # fmt: skip
NAMES = list(EVENTS)
WEIGHTS = [weight for weight, _ in EVENTS.values()]


def run_sequence(rng: random.Random, done: list[str]) -> Hostile:
    """Let things happen, and check after each; `done` gets what happened.

    Raises:
        AssertionError: something left that must not.
    """
    Hostile.at_rate = truth(rng)
    machine = Hostile()
    begin = {'interface': rng.choice(INTERFACES), 'asks': truth(rng)}
    done.append(f'at_rate={Hostile.at_rate} {begin}')
    machine.begin(**begin)
    for name in rng.choices(NAMES, WEIGHTS, k=STEPS):
        given = EVENTS[name][1](rng)
        if name == 'turn':
            name = 'deactivate' if machine.active else 'activate'
            given = {} if machine.active else {'heartbeat': rng.choice([0.0, 0.5])}
        if name == 'answer' and not machine.asks:
            continue
        done.append(f'{name} {given}')
        getattr(machine, name)(**given)
        machine.check()
    return machine


def work(seed: int, first: int, stride: int, seconds: float) -> Counter[str]:
    """Run sequence number `first`, and every one that is `stride` further, for so long."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        prepare_hostile(Path(folder))
        end, i = time.monotonic() + seconds, first
        while time.monotonic() < end:
            done: list[str] = []
            try:
                machine = run_sequence(random.Random(f'{seed} {i}'), done)
            except Exception:
                counts['failures'] += 1
                print(f'seed {seed}, sequence {i}:', *done, traceback.format_exc(), sep='\n  ')
                if counts['failures'] > 2:
                    break
            else:
                sent = machine.world.sent
                counts['sequences'] += 1
                counts['commands'] += len(sent)
                counts['answers to an observation, no fault'] += (
                    machine.world.loop.statistics.latencies.count
                )
                counts['unasked'] += sum(label == UNASKED for _, _, label in sent)
                counts['simulated seconds'] += round(machine.world.now)
            i += stride
    return counts


def main() -> int:
    """Run, and print what was seen; 1 after a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=1)
    options = parser.parse_args()
    with multiprocessing.get_context('fork').Pool(options.jobs) as pool:
        tasks = [(options.seed, i, options.jobs, options.seconds) for i in range(options.jobs)]
        counts = sum(pool.starmap(work, tasks), Counter[str]())
    print(f'seed {options.seed}, {options.jobs} processes of {options.seconds:g} s:')
    for name, count in counts.items():
        print(f'{count:12,} {name}')
    print(f'{counts["failures"]:12,} failures')
    return int(counts['failures'] > 0)


if __name__ == '__main__':
    sys.exit(main())
