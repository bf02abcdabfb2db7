# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Which wiring mistakes the controller finds on HalfCheetah, and which it cannot.

    python benchmarks/wiring.py --seeds 5 --out docs/results/wiring.md

A trained policy acts for two seconds, 40 steps, in a task with one thing wired wrongly; what
control/wiring.py finds is held against what is wrong. The policy kept in benchmarks/policies does
not know how observations follow each other; random, exploring and wild steps stand for its
training's.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
import itertools
from pathlib import Path
import sys

import numpy as np
from page import heading, write
from proxy_snn_control.control.wiring import Wiring
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.learning.transitions import whitening
from proxy_snn_control.policy import Policy, read_policy

POLICY = Path(__file__).parent / 'policies' / 'lif-HalfCheetah-v4.safetensors'
PERIOD = 0.05
STEPS = 40
OUTCOMES = ('named', 'named among others', 'odd, not named', 'not seen', 'another named')
Change = Callable[[np.ndarray], np.ndarray]


class Task:
    """HalfCheetah, seen and moved through what may be wired wrongly."""

    def __init__(self) -> None:
        self._environment = make_environment('HalfCheetah-v4')

    def run(
        self,
        policy: Policy,
        steps: int,
        seed: int,
        noise: float = 0.0,
        seen: Change = np.array,
        done: Change = np.array,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observations, actions and next observations; infinite noise makes random actions."""
        rng = np.random.default_rng(seed)
        observation, _ = self._environment.reset(seed=seed)
        rows = []
        for _ in range(steps):
            before = seen(observation)
            action = rng.uniform(-1, 1, policy.spec.action_size)
            if np.isfinite(noise):
                action = np.clip(policy.act(before) + noise * rng.normal(size=len(action)), -1, 1)
            observation = self._environment.step(done(action).astype(np.float32))[0]
            rows.append((before, action, seen(observation)))
        first, second, third = (np.array(column) for column in zip(*rows, strict=True))
        return first, second, third


def scaled(dimensions: list[int], factor: float, offset: float = 0.0) -> Change:
    """Multiply some numbers, and add to them."""

    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[dimensions] = values[dimensions] * factor + offset
        return values

    return change


def exchanged(one: list[int], other: list[int]) -> Change:
    """Exchange some numbers with others."""

    def change(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[[*one, *other]] = values[[*other, *one]]
        return values

    return change


def mistakes(
    observations: tuple[str, ...], actions: tuple[str, ...]
) -> Iterator[tuple[str, str, Change, Change]]:
    """Kind of mistake, what a finding that names it begins with, and the mistake itself."""
    right: Change = np.array
    joints = {
        name: [i for i, each in enumerate(observations) if each.rpartition('.')[0] == name]
        for name in actions
    }
    yield 'nothing', '', right, right
    for one, other in itertools.combinations(actions, 2):
        expected = f'joint {one} and joint {other} look'
        yield 'two joints exchanged', expected, exchanged(joints[one], joints[other]), right
        expected = f'command {one} and command {other} look'
        places = [actions.index(one)], [actions.index(other)]
        yield 'two commands exchanged', expected, right, exchanged(*places)
    for name, places in joints.items():
        yield "a joint's sign", f'joint {name} has the wrong sign', scaled(places, -1), right
        yield 'a joint in degrees', f'joint {name} is', scaled(places, 180 / np.pi), right
    for i, name in enumerate(observations):
        yield "one observation's sign", f'{name} has the wrong sign', scaled([i], -1), right
        yield 'one observation x 10', f'{name} is ', scaled([i], 10), right
        yield 'one observation x 0.1', f'{name} is ', scaled([i], 0.1), right
        if name.endswith('position'):
            yield 'one position off by 0.5', f'{name} is off', scaled([i], 1, 0.5), right
    for i, name in enumerate(actions):
        yield "a command's sign", f'command {name} has the wrong sign', right, scaled([i], -1)
        yield 'a command x 0.1', f'command {name} acts', right, scaled([i], 0.1)


def judge(found: list[str], expected: str) -> str:
    """How well the findings name what is wrong."""
    if not expected:
        return 'not seen' if not found else 'another named'
    explanations = [each for finding in found for each in finding.split(' or ')]
    if not explanations:
        return 'not seen'
    if explanations[0].startswith(expected):
        return 'named'
    if any(each.startswith(expected) for each in explanations):
        return 'named among others'
    return 'odd, not named' if 'no one wiring mistake' in found[0] else 'another named'


def main() -> int:
    """Try every mistake with every seed, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    spec, tensors, _ = read_policy(POLICY)
    task, plain = Task(), Policy(spec, tensors)
    noises = [np.inf, 0.1, 0.6] * 8
    parts = [task.run(plain, 1000, i, noise) for i, noise in enumerate(noises)]
    seen = [np.concatenate(column) for column in zip(*parts, strict=True)]
    policy = Policy(spec, {**tensors, 'transition.whitening': whitening(*seen)})

    table: dict[str, Counter[str]] = {}
    missed: list[str] = []
    assert spec.observation_names
    assert spec.action_names
    for kind, expected, see, do in mistakes(spec.observation_names, spec.action_names):
        for seed in range(1000, 1000 + options.seeds):
            wiring = Wiring(policy)
            observations, actions, _ = task.run(policy, STEPS, seed, seen=see, done=do)
            for i, (observation, action) in enumerate(zip(observations, actions, strict=True)):
                wiring.add(observation, action, i * PERIOD)
            outcome = judge(wiring.findings(check_period=True), expected)
            table.setdefault(kind, Counter())[outcome] += 1
            if expected and outcome not in OUTCOMES[:2]:
                missed.append(f'{kind}: {expected.removesuffix(" ")}')
    lines = [
        *heading('Wiring mistakes on HalfCheetah-v4'),
        f'After two seconds, {STEPS} steps; {options.seeds} starts of each case.',
        '',
        f'| what is wrong | {" | ".join(OUTCOMES)} |',
        f'|---|{"---|" * len(OUTCOMES)}',
        *(
            f'| {kind} | {" | ".join(str(counts[outcome]) for outcome in OUTCOMES)} |'
            for kind, counts in table.items()
        ),
        '',
        'Not named, and in how many of the starts:',
        '',
        *(f'- {what}: {count}' for what, count in Counter(missed).items()),
    ]
    write(options.out, lines)
    return 0


if __name__ == '__main__':
    sys.exit(main())
