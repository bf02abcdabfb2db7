# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Training over ROS beside training in process: steps a second, and where a step's time goes.

    python benchmarks/ros_training.py --out docs/results/ros_training.md

The package's sim, in steps and in a process of its own, against the same task in process: the
environment alone, and the whole training. A step over ROS is a command and its acknowledgement, a
service call in which the sim steps, and the observation; each is timed.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
import statistics
import tempfile
import time
from typing import Any

import numpy as np
from page import heading, processor, write
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.nodes.demo import node_process, stay_on_loopback
from proxy_snn_control.nodes.ros_task import RosTask
import rclpy  # noqa: F401  (first: its wheels start the interpreter again)

RANDOM, WARM = 300, 50
TASKS = ('InvertedDoublePendulum-v5', 'HalfCheetah-v5')


def write_task(folder: Path, env: str) -> str:
    """Write a robot file of the task's whole observation, and a task file."""
    environment = make_environment(env)
    observations = environment.observation_space.shape[0]
    space: Any = environment.action_space
    period = environment.unwrapped.dt
    environment.close()
    robot = ['sources: {all: {type: std_msgs/Float64MultiArray, topic: observation}}']
    robot += [
        'observation:',
        *(f'  o{i}: {{source: all, index: {i}}}' for i in range(observations)),
    ]
    robot += ['command:', '  type: std_msgs/Float64MultiArray', '  topic: command', '  outputs:']
    robot += [f'    - {{action: a{i}}}' for i in range(len(space.low))]
    (folder / 'robot.yaml').write_text('\n'.join(robot))
    limits = ', '.join(
        f'a{i}: [{low}, {high}]'
        for i, (low, high) in enumerate(zip(space.low.tolist(), space.high.tolist(), strict=True))
    )
    (folder / 'task.yaml').write_text(
        f'robot: robot.yaml\ncontrol_period: {period}\nepisode_steps: 1000\n'
        f'actions: {{{limits}}}\nreward: {{topic: sim/reward}}\n'
        'reset: {service: sim/reset, type: std_srvs/srv/Trigger}\n'
        'step: {service: sim/step, type: std_srvs/srv/Trigger}\nrandom_state: sim\n'
    )
    return f'ros:{folder / "task.yaml"}'


def environment_steps(env: str, steps: int) -> tuple[float, dict[str, float]]:
    """Return random steps a second; over ROS also the median milliseconds of each part."""
    environment = make_environment(env)
    inner: Any = environment.unwrapped
    spent: dict[str, list[float]] = {}
    if isinstance(inner, RosTask):
        environment.reset(seed=0)
        for name, owner, method in (
            ('command, until acknowledged', inner._publisher, 'wait_for_all_acked'),
            ('service call, the step in it', inner, '_call'),
            ('rest of the observation', inner, '_observe'),
        ):
            setattr(owner, method, timed(getattr(owner, method), spent.setdefault(name, [])))
    rng, space = np.random.default_rng(0), environment.action_space
    environment.reset(seed=0)
    began = time.perf_counter()
    for _ in range(steps):
        _, _, terminated, truncated, _ = environment.step(
            rng.uniform(space.low, space.high).astype(np.float32)  # type: ignore[attr-defined]
        )
        if terminated or truncated:
            environment.reset()
    rate = steps / (time.perf_counter() - began)
    environment.close()
    return rate, {name: 1e3 * statistics.median(times) for name, times in spent.items()}


def timed(function: Any, times: list[float]) -> Any:
    """Return the function made to note the seconds that it takes."""

    def call(*given: Any, **more: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*given, **more)
        finally:
            times.append(time.perf_counter() - began)

    return call


def training_steps(env: str, steps: int, folder: Path) -> float:
    """Return the steps a second of a training, after its random steps and the first updates."""
    first, last = RANDOM + WARM, RANDOM + WARM + steps
    config = TrainConfig(
        env=env,
        random_steps=RANDOM,
        steps=WARM + steps,
        eval_every=last,
        eval_episodes=1,
        checkpoint_every=10**6,
    )

    class Clock(Listener):
        began = ended = 0.0

        def on_step(self, step: int) -> None:
            if step == first:
                self.began = time.perf_counter()
            elif step == last:
                self.ended = time.perf_counter()

    clock = Clock()
    population = Population([Member(config, folder)])
    population.run(clock)
    population.close()
    return steps / (clock.ended - clock.began)


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--steps', type=int, default=2000)
    parser.add_argument('--out', type=Path, default=Path('docs/results/ros_training.md'))
    options = parser.parse_args()
    stay_on_loopback()
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    lines = [
        *heading('Training over ROS: steps a second', 'an idle computer'),
        f'On {processor()}. The sim runs in steps, in a process of its own on the same computer.',
        '',
        (
            '| task | environment in process | environment over ROS '
            '| training in process | over ROS |'
        ),
        '|---|---|---|---|---|',
    ]
    parts = ['', 'Median milliseconds of a step over ROS:', '']
    for env in TASKS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            over = write_task(folder, env)
            with node_process('sim', '', {'env': env, 'mode': 'stepped'}):
                alone, _ = environment_steps(env, options.steps)
                ros, spent = environment_steps(over, options.steps)
                here = training_steps(env, options.steps // 3, folder / 'here')
                there = training_steps(over, options.steps // 3, folder / 'there')
        lines.append(f'| {env} | {alone:.0f} | {ros:.0f} | {here:.0f} | {there:.0f} |')
        listed = ', '.join(f'{part} {value:.2f}' for part, value in spent.items())
        parts.append(f'- {env}: whole {1e3 / ros:.2f}; {listed}')
    write(options.out, [*lines, *parts])
    print(options.out.read_text())


if __name__ == '__main__':
    main()
