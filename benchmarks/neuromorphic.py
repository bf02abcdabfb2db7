# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What a policy loses in the fixed point of Loihi 2, and how quick its Lava networks are.

    python benchmarks/neuromorphic.py POLICY.safetensors ... --table docs/results/neuromorphic.md

Observations are recorded in rollouts of the policy on its task: the conversion sees one half,
spikes and actions are compared on the other. Returns are of whole episodes in the task, with the
fixed-point arithmetic in NumPy, which test/test_neuromorphic.py holds to Lava's bit-accurate
models. Times are taken in Lava's environment (`make lava`), both networks in turns.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

from exactness import rollouts
import numpy as np
from page import heading, processor, write
from proxy_snn_control.learning.evaluate import evaluate
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.neuromorphic.chip import Chip, FIXED_NEURONS
from proxy_snn_control.neuromorphic.fixed import fixed_layers
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.policy import load_policy, Policy, read_policy
from proxy_snn_control.policy.energy import typical_observations

ROOT = Path(__file__).parents[1]
RECORDED = 2000
QUICK_MILLISECONDS, KEPT_RETURN = 4.0, 0.95


def agreement(fixed: Policy, policy: Policy, rows: np.ndarray) -> tuple[list[float], np.ndarray]:
    """Return the fraction of spikes and silences that stay, by layer; how far actions move."""
    spec = policy.spec
    same, distances = np.zeros(len(spec.layer_sizes)), []
    span = np.array(spec.action_high) - np.array(spec.action_low)
    for row in rows:
        distances.append(np.abs(fixed.act(row) - policy.act(row)) / span)
        pairs = zip(fixed.spikes, policy.spikes, strict=True)
        same += [np.mean(ours == theirs) for ours, theirs in pairs]
    return (same[1:] / len(rows)).tolist(), np.array(distances)


def in_lava(python: Path, path: Path, rows: np.ndarray) -> dict[str, Any]:
    """Run lava_speed.py in Lava's environment."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        np.save(f'{folder}/observations.npy', rows)
        script = Path(__file__).with_name('lava_speed.py')
        done = subprocess.run(
            [python, script, path, f'{folder}/observations.npy'],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def section(path: Path, options: argparse.Namespace) -> tuple[list[str], bool]:
    """One policy's part of the page, and whether the promises are kept."""
    policy, (spec, tensors, _) = load_policy(path), read_policy(path)
    task = spec.provenance['env']
    rows = np.concatenate(list(rollouts(policy, RECORDED, seed=1)))
    sources = {}
    if spec.neuron in FIXED_NEURONS:
        sources = {
            'recorded rollouts': rows[::2],
            'the quantiles in the file': typical_observations(policy),
        }
    environment = make_environment(task)
    returns = evaluate(policy, environment, options.episodes, options.seed)
    assert returns
    lines = [
        f'## {path.stem}',
        '',
        f'{spec.neuron}, layers {" -> ".join(map(str, spec.layer_sizes))}, T = {spec.time_steps}.',
        '',
        (
            '| | spikes and silences that stay, by layer | action off by, mean | 99th percentile '
            f"| return, {options.episodes} episodes | lowest | median | of floating point's |"
        ),
        '|---|---|---|---|---|---|---|---|',
        (
            f'| floating point | | | | {returns.mean:.1f} ± {returns.std:.1f} '
            f'| {min(returns.returns):.1f} | {np.median(returns.returns):.1f} | |'
        ),
    ]
    kept = True
    for name, source in sources.items():
        layers = fixed_layers(spec, tensors, source)
        fixed = ChipPolicy(spec, tensors, Chip(layers, spec.time_steps))
        stay, distances = agreement(fixed, policy, rows[1::2])
        found = evaluate(fixed, environment, options.episodes, options.seed)
        assert found
        # A return below 0 is no less of one: by how much the mean moved, of its size.
        ratio = 1 + (found.mean - returns.mean) / abs(returns.mean)
        kept &= ratio >= KEPT_RETURN
        lines.append(
            f'| fixed, from {name} | {", ".join(f"{value:.2%}" for value in stay)} '
            f'| {distances.mean():.2%} | {np.percentile(distances, 99):.1%} '
            f'| {found.mean:.1f} ± {found.std:.1f} | {min(found.returns):.1f} '
            f'| {np.median(found.returns):.1f} | {ratio:.1%} |'
        )
        print(lines[-1], file=sys.stderr, flush=True)
    environment.close()

    lava = in_lava(options.lava_python, path, rows)
    ends = lava['starts']
    lines += [
        '',
        (
            '| one action, ms | straightforward, median | 99th | quick, median | 99th '
            '| times as quick | the arithmetic alone, median |'
        ),
        '|---|---|---|---|---|---|---|',
    ]
    for precision in ('float', 'fixed') if sources else ('float',):
        found = lava[precision]
        slow, quick = found['straightforward'], found['quick']
        kept &= quick[0] < QUICK_MILLISECONDS and found['differ'] == 0
        lines.append(
            f'| {precision} | {slow[0]:.2f} | {slow[1]:.2f} | {quick[0]:.2f} | {quick[1]:.2f} '
            f'| {slow[0] / quick[0]:.1f} | {found["numpy"][0]:.2f} |'
        )
    kept &= lava['unequal'] == 0 and ends['segments'] == 0 and ends['processes'] == 0
    lines += [
        '',
        (
            f'Actions that differ between the two networks: {lava["float"]["differ"]} in '
            f'floating, {lava["fixed"]["differ"] if sources else "none"} in fixed point; from '
            f"the runtime's: {lava['unequal']}."
        ),
        (
            f'{ends["count"]} starts with one action ({ends["start"]:.2f} s) and stops '
            f'({ends["stop"]:.3f} s) left {ends["processes"]} processes and '
            f'{ends["segments"]} shared memory segments.'
        ),
        '',
    ]
    return lines, kept


def main() -> int:
    """Measure, print, write the page with --table; 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('policies', type=Path, nargs='+')
    parser.add_argument('--episodes', type=int, default=30)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--lava-python', type=Path, default=ROOT / '.venv-lava/bin/python')
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    lines = [
        *heading('A policy on the simulated chip', 'Lava'),
        f'{processor()}, {os.cpu_count()} cores, Lava 0.10. Fixed point is that of Loihi 2: 8-bit',
        'weights with an exponent for each layer, 12-bit decays, 24-bit states. How far actions',
        "are off is of the action's range. More in [neuromorphic.md](../neuromorphic.md).",
        '',
    ]
    kept = True
    for path in options.policies:
        more, fine = section(path, options)
        lines, kept = lines + more, kept and fine
        load = f'Load average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.'
        if options.table:
            write(options.table, [*lines, load])
    print('\n'.join([*lines, load]))
    return 0 if kept else 1


if __name__ == '__main__':
    sys.exit(main())
