# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""How long a checkpoint keeps a run waiting, with a million transitions in the replay buffer.

python benchmarks/checkpoint.py --env HalfCheetah-v4
"""

from __future__ import annotations

import argparse
from pathlib import Path
import resource
import tempfile
import time

import numpy as np
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Population
import torch


def memory() -> float:
    """Greatest resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Fill the buffer, then time checkpoints as a run would write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--env', default='HalfCheetah-v4')
    parser.add_argument('--transitions', type=int, default=1_000_000)
    parser.add_argument('--every', type=int, default=25_000, help='steps between checkpoints')
    parser.add_argument('--folder', type=Path, help='where to write; a temporary one by default')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        config = TrainConfig(env=options.env, replay_size=options.transitions, threads=1)
        member = Member(config, Path(folder) / 'run')
        run = Population([member])
        before = memory()
        rng = np.random.default_rng(0)
        waits = []
        for _ in range(options.transitions // options.every + 4):
            new = rng.normal(size=(1, options.every, run.replay.rows.shape[2]))
            run.replay.add(torch.from_numpy(new.astype(np.float32)))
            run.step = run.replay.count
            began = time.perf_counter()
            run.checkpoint()
            waits.append(time.perf_counter() - began)
        size = run.replay.rows.nbytes / 1e6
        first_full = options.transitions // options.every
        full = waits[first_full:]
        on_disk = sum(p.stat().st_size for p in (Path(folder) / 'run' / 'checkpoint').iterdir())
        print(f'{options.env}, {options.transitions} transitions: {size:.0f} MB of arrays')
        print(f'memory of the process: {before:.0f} MB before, {memory():.0f} MB with them')
        print(f'checkpoint: {on_disk / 1e6:.0f} MB on disk')
        print(
            f'a checkpoint every {options.every} steps waits {np.median(full):.2f} s (full '
            f'buffer, median of {len(full)}), {max(waits):.2f} s at most'
        )
        began = time.perf_counter()
        Population([member], resume=True)
        print(f'resuming takes {time.perf_counter() - began:.1f} s')


if __name__ == '__main__':
    main()
