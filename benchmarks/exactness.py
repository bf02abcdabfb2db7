# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Hold the runtime to the torch actor in float32, spike for spike, on observations by the million.

    python benchmarks/exactness.py benchmarks/policies/*.safetensors --table F.md

Half of the observations come from real rollouts of the policy on its task, with the exploration
noise of training and, every fourth episode, random actions; half are noise, some of it far outside
of what training saw. Where the two do not add in the same order, a potential within rounding of
the threshold may fire on one side only. Such a spike then reaches others: distinguished
here are a disagreement that begins (all spikes before it, in its layer and those before, are the
same) and those that may follow from it. test/test_runtime.py does this in short.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
import sys
import time

import numpy as np
from page import heading, write
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.policy import load_policy, Policy, PolicySpec, read_policy
from proxy_snn_control.spiking.actor import Sizes, SpikingActor
import torch

CHUNK = 500
THRESHOLD_DISTANCE, ACTION_DISTANCE = 1e-5, 1e-4


@dataclass
class Agreement:
    """What came of comparing runtime and torch actor.

    Attributes:
        observations: how many were compared.
        spikes: neurons times simulation steps, over all observations.
        begun: disagreements whose causes agree.
        following: disagreements that may follow from those.
        farthest: largest distance of a potential from the threshold where one begins.
        action: largest difference of actions where all spikes agree.
    """

    observations: int = 0
    spikes: int = 0
    begun: int = 0
    following: int = 0
    farthest: float = 0.0
    action: float = 0.0


def torch_actor(spec: PolicySpec, tensors: dict[str, np.ndarray]) -> SpikingActor:
    """Return the actor that training would have, with these weights."""
    actor = SpikingActor(
        [Sizes(spec.observation_size, spec.action_low, spec.action_high)],
        hidden=spec.hidden,
        neuron=spec.neuron,
        neuron_constants=spec.neuron_constants,
        time_steps=spec.time_steps,
        encoder_population=spec.encoder_population,
        encoder_threshold=spec.encoder_threshold,
        decoder_population=spec.decoder_population,
    )
    weights = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    actor.weights.put(0, actor.weights.flat[0], weights)
    return actor


def compare(policy: Policy, actor: SpikingActor, chunks: Iterator[np.ndarray]) -> Agreement:
    """Compare a policy with the torch actor on chunks of float32 [CHUNK, observations]."""
    spec, found = policy.spec, Agreement()
    threshold = spec.neuron_constants['threshold']
    sizes, steps = spec.layer_sizes, spec.time_steps
    ours = [np.zeros((steps, CHUNK, size), np.float32) for size in sizes]
    action = np.zeros((CHUNK, spec.action_size), np.float32)
    for chunk in chunks:
        count = len(chunk)
        for i, observation in enumerate(chunk):
            policy.act(observation, action[i])
            for layer, spikes in zip(ours, policy.spikes, strict=True):
                layer[:, i] = spikes
        with torch.no_grad():
            (expected,), *traces = actor.trace(torch.from_numpy(chunk)[None])
        spikes, potentials = ([part[0].transpose(0, 1) for part in each] for each in traces)
        agree = np.ones(count, bool)
        for i, layer in enumerate(ours):
            differs = layer[:, :count] != spikes[i].numpy()
            if not differs.any():
                continue
            # Where earlier layers agree a layer's disagreements begin at the first step with one.
            per_step = differs.any(axis=2)
            first = per_step & (np.cumsum(per_step, axis=0) == 1) & agree
            begun = differs & first[:, :, None]
            found.begun += int(begun.sum())
            found.following += int((differs & ~begun).sum())
            if i:
                near = abs(potentials[i - 1].numpy()[begun] - threshold)
                found.farthest = max(found.farthest, near.max(initial=0.0))
            elif begun.any():
                found.farthest = np.inf  # the encoder rounds alike everywhere
            agree &= ~per_step.any(axis=0)
        difference = abs(action[:count] - expected.numpy())[agree]
        found.action = max(found.action, difference.max(initial=0.0))
        found.observations += count
        found.spikes += count * steps * sum(sizes)
    return found


def rollouts(policy: Policy, count: int, seed: int) -> Iterator[np.ndarray]:
    """Observations of the policy's own task, float32 [CHUNK, observations] at a time."""
    spec, rng = policy.spec, np.random.default_rng(seed)
    environment = make_environment(spec.provenance['env'])
    low, high = np.array(spec.action_low), np.array(spec.action_high)
    gathered: list[np.ndarray] = []
    episode = 0
    while count:
        observation, _ = environment.reset(seed=seed + episode)
        ended = False
        while not ended and count:
            gathered.append(observation.astype(np.float32))
            if len(gathered) == min(CHUNK, count):
                count -= len(gathered)
                yield np.array(gathered)
                gathered = []
            if episode % 4 == 3:
                action = rng.uniform(low, high)
            else:
                noise = rng.normal(0, 0.1, spec.action_size) * (high - low) / 2
                action = np.clip(policy.act(observation) + noise, low, high)
            observation, _, terminal, truncated, _ = environment.step(action.astype(np.float32))
            ended = terminal or truncated
        episode += 1
    environment.close()


def noise(policy: Policy, count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield normal observations of scales from 0.1 to 100."""
    rng = np.random.default_rng(seed)
    for begin in range(0, count, CHUNK):
        size = min(CHUNK, count - begin)
        scale = 10 ** rng.uniform(-1, 2, (size, 1))
        yield (rng.normal(0, 1, (size, policy.spec.observation_size)) * scale).astype(np.float32)


def main() -> int:
    """Compare, print, write the page with --table; 1 if something differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('policies', type=Path, nargs='+')
    parser.add_argument('--observations', type=int, default=1_000_000, help='of each policy')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        *heading('Runtime and torch actor, spike for spike'),
        f'Compiled runtime and float32 torch actor ({torch.__version__}). Half of the',
        'observations are from rollouts, half noise. Begun: the causes agree. All: those that',
        'follow, too.',
        '',
        (
            '| policy | neuron | observations | spikes or silences | begun | following '
            '| begun, in 10 million | all, in 10 million | farthest from the threshold '
            '| actions differ where spikes agree by at most | s |'
        ),
        '|---|---|---|---|---|---|---|---|---|---|---|',
    ]
    kept = True
    for path in options.policies:
        policy = load_policy(path)
        if not policy.spec.spiking:
            continue
        actor, began = torch_actor(*read_policy(path)[:2]), time.monotonic()
        half = options.observations // 2

        def both(policy: Policy = policy, half: int = half) -> Iterator[np.ndarray]:
            yield from rollouts(policy, half, options.seed)
            yield from noise(policy, options.observations - half, options.seed)

        found = compare(policy, actor, both())
        begun = found.begun / found.spikes * 1e7
        every = (found.begun + found.following) / found.spikes * 1e7
        kept &= (
            policy.compiled
            and begun < 1
            and found.farthest <= THRESHOLD_DISTANCE
            and found.action <= ACTION_DISTANCE
        )
        lines.append(
            f'| {path.name} | {policy.spec.neuron} | {found.observations} | {found.spikes} | '
            f'{found.begun} | {found.following} | {begun:.3f} | {every:.3f} | '
            f'{found.farthest:.1e} | {found.action:.1e} | {time.monotonic() - began:.0f} |'
        )
        print(lines[-1], file=sys.stderr, flush=True)
        if options.table:  # after each policy: this takes minutes
            write(options.table, lines)
    print('\n'.join(lines))
    return 0 if kept else 1


if __name__ == '__main__':
    sys.exit(main())
