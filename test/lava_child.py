# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What test_neuromorphic.py has done in Lava's environment; the last line it prints is JSON.

Not a test module: python lava_child.py COMMAND POLICY ...
"""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
from proxy_snn_control.neuromorphic.chip import Chip, float_layers
from proxy_snn_control.neuromorphic.fixed import fixed_layers
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.neuromorphic.network import Quick, Several, Straightforward
from proxy_snn_control.neuromorphic.processes import NetworkError
from proxy_snn_control.policy import load_policy, Policy, read_policy

PATIENCE = 10  # seconds


def compare(path: str, observations: str, kind: str, precision: str) -> dict[str, Any]:
    """Count where a network's spikes and actions are not those expected.

    In floating point the runtime's are expected, in fixed point those of the arithmetic in NumPy.
    """
    spec, tensors, _ = read_policy(path)
    rows = np.load(observations)
    expected: Policy = load_policy(path)
    assert expected.compiled
    if precision == 'fixed':
        layers = fixed_layers(spec, tensors, rows[:300])
        expected = ChipPolicy(spec, tensors, Chip(layers, spec.time_steps))
    else:
        layers = float_layers(spec, tensors)
    network: Any
    if kind == 'quick':
        network = Quick(layers, spec.time_steps)
    else:
        network = Straightforward(layers, spec.time_steps, every_layer=True)
    policy = ChipPolicy(spec, tensors, network)
    spikes = actions = fired = 0
    for row in rows:
        action, wanted = policy.act(row), expected.act(row)
        actions += int((action != wanted).any())
        for ours, theirs in zip(policy.spikes, expected.spikes, strict=True):
            spikes += int(np.count_nonzero(ours != theirs))
        fired += policy.spike_count
    network.close()
    return {'inferences': len(rows), 'spikes': spikes, 'actions': actions, 'fired': fired}


def several(folder: str, *paths: str) -> dict[str, Any]:
    """Ask several policies on one runtime in a random order; count as `compare` does.

    Their observations are in the folder, by the names of their files.
    """
    files = [read_policy(path)[:2] for path in paths]
    layers = [(float_layers(*file), file[0].time_steps) for file in files]
    alone = Quick(*layers[0])
    processes_of_one = len(children())
    alone.close()
    together = Several(layers)
    processes = len(children())
    pairs = [
        (ChipPolicy(*file, together.policy(i)), Policy(*file)) for i, file in enumerate(files)
    ]
    assert all(theirs.compiled for _, theirs in pairs)
    rows = [np.load(Path(folder) / f'{Path(path).stem}.npy') for path in paths]
    spikes, actions, fired = 0, 0, [0 for _ in pairs]
    order = np.repeat(range(len(pairs)), [len(given) for given in rows])
    nexts = [iter(given) for given in rows]
    for which in np.random.default_rng(0).permutation(order):
        (ours, theirs), row = pairs[which], next(nexts[which])
        actions += int((ours.act(row) != theirs.act(row)).any())
        for one, other in zip(ours.spikes, theirs.spikes, strict=True):
            spikes += int(np.count_nonzero(one != other))
        fired[which] += theirs.spike_count
    together.close()
    return {
        'inferences': len(order),
        'spikes': spikes,
        'actions': actions,
        'fired': fired,
        'processes': processes,
        'processes_of_one': processes_of_one,
    }


def cycle(path: str, count: str) -> dict[str, Any]:
    """Start and stop a network again and again; what is left afterwards."""
    spec, tensors, _ = read_policy(path)
    layers, left = float_layers(spec, tensors), []
    for _ in range(int(count)):
        network = Quick(layers, spec.time_steps)
        ChipPolicy(spec, tensors, network).act(np.zeros(spec.observation_size))
        network.close()
        time.sleep(0.01)  # its threads see it
        left.append(
            {
                'children': len(children()),
                'threads': threading.active_count(),
                'files': len(os.listdir('/proc/self/fd')),
            }
        )
    return {'first': left[0], 'last': left[-1]}


def lose_one(path: str) -> dict[str, Any]:
    """Kill each process of a network in turn, of a new one each time; seconds until an error."""
    spec, tensors, _ = read_policy(path)
    layers, seconds = float_layers(spec, tensors), []
    for index in range(2):
        network = Quick(layers, spec.time_steps)
        policy = ChipPolicy(spec, tensors, network)
        policy.act(np.zeros(spec.observation_size))
        os.kill(children()[index], signal.SIGKILL)
        began = time.monotonic()
        try:
            while time.monotonic() - began < PATIENCE:
                policy.act(np.zeros(spec.observation_size))
        except NetworkError:
            seconds.append(time.monotonic() - began)
        network.close()
    return {'seconds': seconds, 'children': len(children())}


def hold(path: str, kind: str) -> dict[str, Any]:
    """Infer until killed; prints which processes there are once it has begun."""
    spec, tensors, _ = read_policy(path)
    network = (Quick if kind == 'quick' else Straightforward)(
        float_layers(spec, tensors), spec.time_steps
    )
    policy = ChipPolicy(spec, tensors, network)
    policy.act(np.zeros(spec.observation_size))
    print(json.dumps({'children': children()}), flush=True)
    while True:
        policy.act(np.zeros(spec.observation_size))


def children() -> list[int]:
    """Our child processes, the oldest first."""
    multiprocessing.active_children()  # takes leave of those that ended
    own = Path('/proc/self/task')
    return sorted(int(pid) for task in own.glob('*/children') for pid in task.read_text().split())


if __name__ == '__main__':
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
