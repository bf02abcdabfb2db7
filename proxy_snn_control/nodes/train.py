# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The train node: a training run with its progress on topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from proxy_snn_control.control.messages import ATTEMPTS
from proxy_snn_control.learning.members import (
    gather_settings,
    Member,
    new_members,
    resumed_members,
)
from proxy_snn_control.learning.population import Listener
from proxy_snn_control.learning.processes import make_training
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.messages import diagnostics
from proxy_snn_control.nodes.parameters import PLUGINS
from proxy_snn_control.nodes.process import (
    await_receipt,
    declare,
    Parameter,
    run,
    SPIN_SECONDS,
    STEADY,
    value_of,
)
from proxy_snn_control.nodes.publishing import publish
from proxy_snn_control.policy import plugins, UserError
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

FROM_CONFIG = '; if left out, as in the config file'
PARAMETERS = (
    Parameter('config', '', "YAML file of settings; the paper's if empty."),
    Parameter('env', '', f'The Gymnasium task{FROM_CONFIG}.'),
    Parameter('neuron', '', f'The spiking neuron{FROM_CONFIG}.'),
    Parameter('target', '', f'The target actor{FROM_CONFIG}.'),
    Parameter('device', '', f'auto, cpu or cuda{FROM_CONFIG}.'),
    Parameter(
        'steps', -1, f'Training steps after the random ones{FROM_CONFIG}.', low=-1, high=10**9
    ),
    Parameter(
        'seed',
        -1,
        'A seed, or several ([0, 1, 2]) to be trained at once, each into out/seed-N'
        + FROM_CONFIG
        + '.',
        dynamic=True,
    ),
    Parameter('out', '', "The run's folder, which must be new or empty unless resume is set."),
    PLUGINS,
    Parameter('resume', False, "Resume from the checkpoint in the run's folder."),
)
# Between two environment steps ROS gets to work this often; steps take milliseconds.
POLL_SECONDS = 0.02


class Train(Node, Listener):
    """Runs the learning in the main thread; ROS works between two environment steps.

    With several seeds, topics of seed N are ~/seed_N/episode_return and ~/seed_N/eval_return.
    """

    def __init__(self) -> None:
        super().__init__('train')
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        parameters = {p.name: value_of(self, p.name) for p in PARAMETERS}
        self._members = _members(parameters)
        self._out = parameters['out']
        self._training = make_training(self._members, resume=parameters['resume'])
        self._steps = self.create_publisher(Float64, '~/step', QoSProfile(depth=10))
        self._episodes = self._topics('episode_return')
        self._evaluations = self._topics('eval_return')
        self._diagnostics = self.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        for name, callback in (
            ('checkpoint', self._on_checkpoint),
            ('pause', self._on_pause),
            ('resume', self._on_resume),
        ):
            self.create_service(Trigger, f'~/{name}', callback)
        self.create_timer(1.0, self._report, clock=STEADY)
        self._spin: Callable[[float], None] = lambda seconds: None
        self._paused = False
        self._polled = self._reported = time.monotonic()
        self._reported_step = self._training.step
        self._rows: dict[Path, dict[str, float]] = {}

    def work(self, spin: Callable[[float], None]) -> None:
        """Train until done or stopped."""
        self._spin = spin
        config = self._members[0].config
        seeds = ', '.join(str(member.config.seed) for member in self._members)
        self.get_logger().info(
            f'{config.env}, {config.neuron} with {config.target} target, seed {seeds}, '
            f'into {self._out}'
        )
        finished = self._training.run(self)
        where = f'step {self._training.step}; checkpoint and policy are in {self._out}'
        self.get_logger().info(f'{"done at" if finished else "stopped at"} {where}')
        if failures := self._training.failures:
            raise UserError(
                f'{len(failures)} of {len(self._members)} runs failed: {"; ".join(failures)}'
            )

    def should_stop(self) -> bool:
        """Let ROS work now and then."""
        now = time.monotonic()
        if self._paused or now - self._polled > POLL_SECONDS:
            self._polled = now
            self._spin(SPIN_SECONDS if self._paused else 0.0)
        return stopping.requested()

    def is_paused(self) -> bool:
        """Whether ~/pause was called, and ~/resume not since."""
        return self._paused

    def on_episode(self, member: Member, step: int, episode_return: float) -> None:
        """Publish the return of a training episode."""
        publish(self._episodes[member.folder], Float64(data=episode_return), ATTEMPTS)

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Publish and log an evaluation."""
        self._rows[member.folder] = row
        mean = Float64(data=row['eval_return_mean'])
        publish(self._evaluations[member.folder], mean, ATTEMPTS)
        self.get_logger().info(
            f'{self._who(member)}step {row["step"]:.0f}: evaluation {row["eval_return_mean"]:.1f} '
            f'± {row["eval_return_std"]:.1f}, {row["steps_per_second"]:.0f} steps/s'
        )

    def on_warning(self, member: Member, text: str) -> None:
        """Log what needs the user's attention."""
        self.get_logger().warning(f'{self._who(member)}{text}')

    def close(self) -> None:
        """Publish the last state; the runs have put their own files in order."""
        self._report()
        self._training.close()
        await_receipt(*self._episodes.values(), *self._evaluations.values())

    def _who(self, member: Member) -> str:
        return f'seed {member.config.seed}, ' if len(self._members) > 1 else ''

    def _topics(self, name: str) -> dict[Path, Publisher]:
        several = len(self._members) > 1
        return {
            folder: self.create_publisher(
                Float64, f'~/seed_{config.seed}/{name}' if several else f'~/{name}',
                QoSProfile(depth=10),
            )
            for config, folder in self._members
        }  # fmt: skip

    def _report(self) -> None:
        step, now = self._training.step, time.monotonic()
        rate = (step - self._reported_step) / max(now - self._reported, 1e-9)
        self._reported, self._reported_step = now, step
        publish(self._steps, Float64(data=float(step)))
        state = 'paused' if self._paused else 'training'
        for config, folder in self._members:
            values = {
                'env': config.env,
                'seed': config.seed,
                'out': folder,
                'state': state,
                'steps_per_second': f'{rate:.1f}',
                'total_steps': config.total_steps,
                **self._rows.get(folder, {}),
                'step': step,
            }
            message = diagnostics(self, '', values, otherwise=state)
            if len(self._members) > 1:
                message.status[0].name += f': seed {config.seed}'
            publish(self._diagnostics, message)

    def _on_checkpoint(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        try:
            self._training.checkpoint()
            response.success = True
            response.message = f'checkpoint at step {self._training.step}'
        except UserError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_pause(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._paused = True
        response.success, response.message = True, f'paused at step {self._training.step}'
        return response

    def _on_resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._paused = False
        response.success, response.message = True, f'resumed at step {self._training.step}'
        return response


def _members(parameters: dict[str, Any]) -> list[Member]:
    out, resume = Path(parameters['out']), parameters['resume']
    if not parameters['out']:
        raise UserError('parameter out is empty, expected the folder for the run')
    given = {
        name: parameters[name]
        for name in ('env', 'neuron', 'target', 'device', 'steps')
        if parameters[name] not in ('', -1)
    }
    if (seeds := _seeds(parameters['seed'])) is not None:
        given['seed'] = seeds
    if parameters['plugins'] and not resume:
        given['plugins'] = parameters['plugins']
    config_file = parameters['config']
    if resume and config_file:
        raise UserError(
            'parameter config does not go with resume: the run has its own config.yaml'
        )
    plugins.load(parameters['plugins'])
    if resume:
        return resumed_members(out, given)
    return new_members(gather_settings([Path(config_file)] if config_file else [], [], given), out)


def _seeds(value: Any) -> int | list[int] | None:
    """Return the seeds of the parameter seed; it may be a number, numbers, or numbers as text."""
    try:
        seeds = [int(each) for each in (value.split() if isinstance(value, str) else value)]
    except TypeError:
        seeds = [value] if type(value) is int else []
    except ValueError:
        seeds = []
    if not seeds and value != '':
        raise UserError(f'parameter seed is {value!r}, expected whole numbers')
    if seeds in ([], [-1]):
        return None
    return seeds[0] if len(seeds) == 1 else seeds


def main(arguments: Sequence[str]) -> int:
    """Run the train node."""
    return run(Train, arguments, work=lambda node, spin: node.work(spin))
