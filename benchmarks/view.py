# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The controller's latency with and without the live view, in turns.

    pip install -c constraints.txt '.[ros,sim,view]'
    python benchmarks/view.py --out docs/results/view.md

A driver publishes observations at a fixed rate; the latency is what the controller's diagnostics
report, from the receipt of an observation to its command. Without the view nobody subscribes to
observations, actions and spikes; with it all three are published, and the view draws them.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
import os
from pathlib import Path
import subprocess
import time

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from page import heading, processor, write
from proxy_snn_control.control.messages import number_array
from proxy_snn_control.nodes.demo import node_command, stay_on_loopback, stop_process
from proxy_snn_control.nodes.messages import SENSOR_DATA
from proxy_snn_control.policy import load_policy
import rclpy
from std_msgs.msg import Float64MultiArray

POLICY = Path(__file__).parent / 'policies' / 'lif-HalfCheetah-v4.safetensors'
KEYS = ('commands', 'latency_median_ms', 'latency_99_ms', 'missed_deadlines')


def turn(node: rclpy.node.Node, attached: bool, rate: float, seconds: float) -> list[str]:
    """One controller, driven for so long; the last figures of its diagnostics."""
    values: dict[str, str] = {}

    def take(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith('/controller'):
                values.update({pair.key: pair.value for pair in status.values})

    subscription = node.create_subscription(DiagnosticArray, '/diagnostics', take, 10)
    publisher = node.create_publisher(Float64MultiArray, 'observation', SENSOR_DATA)
    rng, size = np.random.default_rng(0), load_policy(POLICY).spec.observation_size
    with ExitStack() as stack:
        starts = [('controller', {'policy': str(POLICY), 'autostart': 'true', 'wiring': 'none'})]
        if attached:
            starts.append(('view', {'port': '9870'}))
        for name, parameters in starts:
            quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
            process = subprocess.Popen(node_command(name, '', parameters), **quiet)
            stack.callback(stop_process, process)
        deadline = time.monotonic() + seconds + 8
        following = time.monotonic()
        while time.monotonic() < deadline:
            publisher.publish(number_array(rng.normal(0, 0.3, size), ''))
            following += 1 / rate
            while (left := following - time.monotonic()) > 0:
                rclpy.spin_once(node, timeout_sec=left)
    node.destroy_subscription(subscription)
    node.destroy_publisher(publisher)
    return [values.get(key, '-') for key in KEYS]


def main() -> None:
    """Take turns, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rate', type=float, default=100.0)
    parser.add_argument('--seconds', type=float, default=15.0)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    stay_on_loopback()
    os.environ.setdefault('ROS_DOMAIN_ID', '87')
    rclpy.init()
    node = rclpy.create_node('driver')
    load = f'{processor()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}.'
    lines = [*heading("The live view's cost", 'an idle computer'), load, '']
    lines += [f'{options.rate:g} observations a second, {options.seconds:g} s a turn.', '']
    lines += ['| round | view | commands | median, ms | 99th, ms | missed |']
    lines += ['|---|---|---|---|---|---|']
    for i in range(options.rounds):
        for attached in (False, True):
            figures = turn(node, attached, options.rate, options.seconds)
            lines.append(
                f'| {i + 1} | {"attached" if attached else "no"} | {" | ".join(figures)} |'
            )
            print(lines[-1], flush=True)
    node.destroy_node()
    rclpy.shutdown()
    write(options.out, lines)


if __name__ == '__main__':
    main()
