# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The demo: train a small policy, then let it control a sim over real ROS topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import signal
import subprocess
import time
from typing import Any

from proxy_snn_control import child
from proxy_snn_control.nodes import stopping
from proxy_snn_control.policy import load_policy, UserError
from proxy_snn_control.policy.files import is_taken

EPISODES = 10
CLOSED_LOOP_SECONDS = 300.0
STOP_SECONDS = 5.0
_FIGURES = {'commands_per_second', 'latency_median_ms', 'nanojoules_per_command'}


def run_demo(out: Path, seed: int, run_training: Callable[[Any], bool]) -> int:
    """Train, plot, and run 10 episodes in closed loop; print what came of it.

    Returns:
        0 if the policy reached its goal and the closed loop gave the same returns as an
        evaluation without ROS, else 1.
    """
    from proxy_snn_control.learning.config import load_config, TrainConfig
    from proxy_snn_control.learning.evaluate import evaluate
    from proxy_snn_control.learning.members import Member
    from proxy_snn_control.learning.plot import plot_runs
    from proxy_snn_control.learning.tasks import make_environment

    # A missing module is better reported now than after minutes of training.
    from proxy_snn_control.nodes.sim import SEED_LIMIT
    from proxy_snn_control.share import share_file

    config = TrainConfig(**{**load_config(share_file('config/demo.yaml')), 'seed': seed})
    if config.evaluation_seed > SEED_LIMIT:
        most = SEED_LIMIT - (config.evaluation_seed - seed)
        raise UserError(f'--seed is {seed}, expected at most {most}')
    out = _free_folder(out)
    print(f'Training {config.env} from scratch (seed {seed}) into {out}/ ...', flush=True)
    started = time.perf_counter()
    if not run_training([Member(config, out)]):
        raise UserError('stopped while training')
    seconds = time.perf_counter() - started
    policy_file = out / 'policy.safetensors'
    policy = load_policy(policy_file)
    about = policy.spec.provenance
    reached, goal = about['evaluation']['mean'], config.stop_at_return or 0.0
    print(f'Trained for {about["step"]} steps in {seconds:.0f} s: mean return {reached:.1f}.')
    plot_runs([out], out / 'learning_curve.png')
    print(f'Learning curve: {out / "learning_curve.png"}   Policy: {policy_file}')
    if reached < goal:
        print(f'The goal, a mean return of {goal:.0f}, was not reached.')
        return 1

    first_seed = config.evaluation_seed
    print(
        f'\nClosed loop over ROS topics: sim and controller as two processes, the {EPISODES} '
        f'evaluation episodes (seed {first_seed} on) ...',
        flush=True,
    )
    returns, diagnostics = closed_loop(policy_file, config.env, first_seed, EPISODES)
    alone = evaluate(policy, make_environment(config.env), EPISODES, first_seed)
    assert alone is not None
    print('returns: ' + '  '.join(f'{value:.2f}' for value in returns))
    print(f'mean return: {sum(returns) / len(returns):.2f}')
    same = returns == alone.returns
    print(f'exactly those of proxy-snn evaluate: {"yes" if same else "NO"}')
    sim, controller = diagnostics['sim'], diagnostics['controller']
    print(f'commands per second:                 {sim["commands_per_second"]}')
    for where, values in (
        ('observation to command, seen by the sim', sim),
        ('receipt to publish, in the controller', controller),
    ):
        print(
            f'{where}: median {values["latency_median_ms"]} ms, '
            f'99th percentile {values["latency_99_ms"]} ms'
        )
    print(
        f'per command: {controller["spikes_per_command"]} spikes, '
        f'{controller["synaptic_operations_per_command"]} synaptic operations, '
        f'{controller["nanojoules_per_command"]} nJ'
    )
    return 0 if same else 1


def closed_loop(
    policy_file: Path, env: str, seed: int, episodes: int
) -> tuple[list[float], dict[str, dict[str, str]]]:
    """Run sim in lockstep and controller as processes until the sim has run its episodes.

    Returns:
        The return of each episode, and the last diagnostics of "sim" and of "controller".

    Raises:
        UserError: a node ended with an error, or the episodes took too long.
    """
    stay_on_loopback()  # a demo has no business with robots on the network, nor they with it

    from diagnostic_msgs.msg import DiagnosticArray
    from proxy_snn_control.nodes.messages import EPISODE_RETURNS
    import rclpy
    from rclpy.qos import QoSProfile
    from std_msgs.msg import Float64

    # A namespace of its own: what else runs on this domain is no part of the demo.
    namespace = f'/demo_{os.getpid()}'
    returns: list[float] = []
    diagnostics: dict[str, dict[str, str]] = {}

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            if not status.name.startswith(f'{namespace}/'):
                continue  # another node on the same domain
            values = {pair.key: pair.value for pair in status.values}
            diagnostics[status.name.rsplit('/', 1)[-1]] = values

    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node('demo', namespace=namespace)
        node.create_subscription(
            Float64, 'sim/episode_return', lambda m: returns.append(m.data), EPISODE_RETURNS
        )
        node.create_subscription(
            DiagnosticArray, '/diagnostics', on_diagnostics, QoSProfile(depth=100)
        )
        sim_parameters = {'env': env, 'mode': 'lockstep', 'seed': seed, 'episodes': episodes}
        controller_parameters = {
            'policy': policy_file.absolute(),
            'autostart': 'true',
            'lockstep': 'true',
            'observation_timeout': 10.0,  # the sim may take a while to start
        }
        deadline = time.monotonic() + CLOSED_LOOP_SECONDS

        def spin(*processes: subprocess.Popen[bytes]) -> None:
            rclpy.spin_once(node, timeout_sec=0.1)
            if stopping.requested():
                raise UserError('stopped before the last episode ended')
            for process in processes:
                if process.poll() is not None:
                    raise UserError(f'a node ended with status {process.returncode}')
            if time.monotonic() > deadline:
                raise UserError(f'the sim did not finish in {CLOSED_LOOP_SECONDS:.0f} s')

        with node_process('sim', namespace, sim_parameters) as sim:
            # DDS may take seconds until the sim's messages arrive; the episodes can wait for that.
            while 'sim' not in diagnostics:
                spin(sim)
            with node_process('controller', namespace, controller_parameters) as controller:
                # A short run may end before DDS has found the controller's diagnostics.
                while sim.poll() is None or 'controller' not in diagnostics:
                    spin(controller)
                stop_process(controller)
                settle = time.monotonic() + 1.0
                while time.monotonic() < settle:
                    rclpy.spin_once(node, timeout_sec=0.1)
        if sim.returncode or controller.returncode:
            raise UserError(
                f'status of sim {sim.returncode}, of controller {controller.returncode}'
            )
        if (
            len(returns) != episodes
            or not {*diagnostics['sim'], *diagnostics.get('controller', {})} >= _FIGURES
        ):
            raise UserError("a node's last figures were lost on their way; run the demo again")
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return returns, diagnostics


def stay_on_loopback() -> None:
    """Keep this process, and those it starts, from ROS nodes on other computers."""
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    if os.environ.get('ROS_DISTRO') == 'humble':
        os.environ['ROS_LOCALHOST_ONLY'] = '1'


def node_command(name: str, namespace: str, parameters: dict[str, Any]) -> list[str]:
    """Return the command line that runs a node of this package with these parameters."""
    command = child.command('proxy_snn_control.nodes', name, '--ros-args')
    if namespace:
        command += ['-r', f'__ns:={namespace}']
    for key, value in parameters.items():
        command += ['-p', f'{key}:={value}']
    return command


@contextmanager
def node_process(
    name: str, namespace: str, parameters: dict[str, Any]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a node of this package as a process of its own; stop it at the end, whatever happens."""
    command = node_command(name, namespace, parameters)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        stop_process(process)


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to stop as Ctrl-C would, and end it if it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_folder(wanted: Path) -> Path:
    """Return the folder wanted, or the first of wanted-2, wanted-3, ... that is not taken."""
    if not wanted.name:
        raise UserError(f'--out is {wanted}, expected the name of a folder to make')
    folder, number = wanted, 1
    while is_taken(folder):
        number += 1
        folder = wanted.with_name(f'{wanted.name}-{number}')
    return folder
