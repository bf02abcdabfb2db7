# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Run the demo on several seeds, one after the other, and collect its figures in a table.

    python benchmarks/demo_seeds.py --seeds 0 1 2 --out runs/demo --table docs/results/demo.md

Beside each policy's ten evaluation episodes, which ended its training, the table shows how it does
from 100 starts that it was not chosen by. Run nothing else meanwhile: there are timings in it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import platform
import re
import subprocess
import sys

from page import heading, processor, write
from proxy_snn_control.learning.evaluate import evaluate
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.policy import load_policy

FIGURES = {
    'steps': r'Trained for (\d+) steps',
    'training, s': r'steps in (\d+) s',
    'evaluation, mean of 10': r'mean return (\d+\.\d)\.',
    'over ROS, mean of 10': r'mean return: (\S+)',
    'equal': r'proxy-snn evaluate: (\S+)',
    'commands/s': r'commands per second: +(\S+)',
    'latency, median, ms': r'seen by the sim: median (\S+) ms',
    'latency, 99th, ms': r'seen by the sim: .*percentile (\S+) ms',
    'spikes': r'per command: (\S+) spikes',
    'nJ': r'(\S+) nJ',
}
OTHER_STARTS, OTHER_SEED, STANDS = 100, 10_000, 9000.0


def main() -> int:
    """Run, and write the table; 1 if a demo failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--table', type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        out = options.out / f'seed{seed}'
        command = [sys.executable, '-m', 'proxy_snn_control.cli', 'demo']
        command += ['--seed', str(seed), '--out', str(out)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        if done.returncode:
            return 1
        row = {'seed': str(seed)}
        for name, pattern in FIGURES.items():
            found = re.search(pattern, done.stdout)
            row[name] = found.group(1) if found else '?'
        policy = load_policy(out / 'policy.safetensors')
        task = make_environment(policy.spec.provenance['env'])
        others = evaluate(policy, task, OTHER_STARTS, OTHER_SEED)
        assert others is not None
        standing = sum(value >= STANDS for value in others.returns)
        row['stands from other starts'] = f'{standing} of {OTHER_STARTS}'
        rows.append(row)
    lines = [
        *heading('What `make demo` gave', 'an idle computer'),
        f'{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}.',
        '',
        '| ' + ' | '.join(rows[0]) + ' |',
        '|' + '---|' * len(rows[0]),
        *('| ' + ' | '.join(row.values()) + ' |' for row in rows),
        '',
        "Latency is from the sim's publishing an observation to its receiving the command,",
        'between two processes. Equal: the ten returns over ROS are exactly those of',
        '`proxy-snn evaluate`. Training stops at the first evaluation with a mean of 9,000, so a',
        'policy may still fall from a start that it has not seen.',
    ]
    write(options.table, lines)
    return 0


if __name__ == '__main__':
    sys.exit(main())
