# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What neuromorphic.py measures in Lava's environment: lava_speed.py POLICY OBSERVATIONS.npy.

Prints one JSON object on its last line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np
from proxy_snn_control.neuromorphic.chip import Chip, FIXED_NEURONS, float_layers, Layer
from proxy_snn_control.neuromorphic.fixed import fixed_layers
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.neuromorphic.network import Quick, Straightforward
from proxy_snn_control.policy import load_policy, read_policy
from proxy_snn_control.policy.file import PolicySpec, Tensors

ROUNDS, PER_ROUND, STARTS = 6, 200, 100


def speed(
    spec: PolicySpec, tensors: Tensors, layers: list[Layer], rows: np.ndarray
) -> dict[str, Any]:
    """Time an action by both networks, in turns, and by the runtime; both stay started."""
    policies = {
        'straightforward': ChipPolicy(spec, tensors, Straightforward(layers, spec.time_steps)),
        'quick': ChipPolicy(spec, tensors, Quick(layers, spec.time_steps)),
        'numpy': ChipPolicy(spec, tensors, Chip(layers, spec.time_steps)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in policies}
    differ = 0
    for begin in range(0, ROUNDS * PER_ROUND, PER_ROUND):
        actions, end = {}, begin + PER_ROUND
        for name, policy in policies.items():
            actions[name] = []
            for row in rows[begin:end]:
                began = time.perf_counter()
                actions[name].append(policy.act(row))
                seconds[name].append(time.perf_counter() - began)
        differ += int(np.count_nonzero(np.array(actions['quick']) != actions['straightforward']))
        differ += int(np.count_nonzero(np.array(actions['quick']) != actions['numpy']))
    for policy in policies.values():
        policy.close()
    found: dict[str, Any] = {
        name: [float(value) for value in np.percentile(each, (50, 99)) * 1e3]
        for name, each in seconds.items()
    }
    return {**found, 'differ': differ}


def starts(spec: PolicySpec, tensors: Tensors, layers: list[Layer]) -> dict[str, Any]:
    """Start and stop the quick network again and again; seconds, and what is left of it."""
    before, up, down = set(os.listdir('/dev/shm')), [], []
    for _ in range(STARTS):
        began = time.perf_counter()
        policy = ChipPolicy(spec, tensors, Quick(layers, spec.time_steps))
        policy.act(np.zeros(spec.observation_size))
        between = time.perf_counter()
        policy.close()
        up.append(between - began)
        down.append(time.perf_counter() - between)
    left = {name for name in set(os.listdir('/dev/shm')) - before if 'fastdds' not in name}
    children = ' '.join(path.read_text() for path in Path('/proc/self/task').glob('*/children'))
    return {
        'count': STARTS,
        'start': float(np.median(up)),
        'stop': float(np.median(down)),
        'segments': len(left),
        'processes': len(children.split()),
    }


def main() -> None:
    """Measure, print."""
    path, observations = sys.argv[1:]
    spec, tensors, _ = read_policy(path)
    policy, rows = load_policy(path), np.load(observations)
    layers = float_layers(spec, tensors)
    runtime = ChipPolicy(spec, tensors, Chip(layers, spec.time_steps))
    unequal = sum(int((runtime.act(row) != policy.act(row)).any()) for row in rows)
    found = {
        'unequal': unequal,
        'float': speed(spec, tensors, layers, rows),
        'starts': starts(spec, tensors, layers),
    }
    if spec.neuron in FIXED_NEURONS:
        found['fixed'] = speed(spec, tensors, fixed_layers(spec, tensors, rows), rows)
    print(json.dumps(found))


if __name__ == '__main__':
    main()
