# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""One member's run: a folder with its settings, progress, policies and checkpoint.

RUN holds config.yaml, progress.csv, TensorBoard events, checkpoint/, policy.safetensors (the best
so far by evaluation) and policy_last.safetensors; failure.txt holds why a run was stopped.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
import csv
from datetime import datetime, timezone
import functools
import io
from typing import Any

import numpy as np
from proxy_snn_control.learning import activity, checkpoint, hardware
from proxy_snn_control.learning.config import (
    fixed_settings,
    load_record,
    save_config,
)
from proxy_snn_control.learning.evaluators import Evaluated, QUANTILE_LEVELS
from proxy_snn_control.learning.members import check_free, Member
from proxy_snn_control.learning.replay import Replay
from proxy_snn_control.learning.results import read_failure, read_progress
from proxy_snn_control.learning.tasks import Task
from proxy_snn_control.learning.td3 import MEASURED
from proxy_snn_control.policy import PolicySpec, UserError, write_policy
from proxy_snn_control.policy.file import check_spec
from proxy_snn_control.policy.files import (
    claim,
    make_folder,
    remove,
    write_bytes,
)
from proxy_snn_control.policy.plugins import CRITICS, NEURONS, TARGETS, TASKS


class Run:
    """A run's folder, and what its next files will hold.

    Attributes:
        config, folder: of the member.
        task: what the policy file records of the task.
        rows: progress.csv, line by line.
        best: the best mean evaluation return of a policy file so far.
        evaluated: the step of the last evaluation; -1 before the first.
        seconds: of training up to the last evaluation.
        updates_counted: updates that the lines of progress.csv cover.
        returns: sum and number of the training episodes' returns since the last evaluation.
        failure: why the member was stopped; None while it is well.
        done: whether it reached its goal before the others.
    """

    def __init__(self, member: Member, task: Task) -> None:
        self.config, self.folder = member
        self.task = task
        self.rows: list[dict[str, float]] = []
        self.best = -np.inf
        self.evaluated, self.seconds, self.updates_counted = -1, 0.0, 0
        self.returns = [0.0, 0]
        self.failure: str | None = None
        self.done = False
        self._spans: checkpoint.Spans = []
        self._checkpoints = self.folder / 'checkpoint'
        self._record = hardware.record(self.config)
        check_spec(self.folder / 'policy.safetensors', self.spec(0, {}))

    @property
    def member(self) -> Member:
        """Return settings and folder."""
        return Member(self.config, self.folder)

    # -- the folder

    def claim(self, resume: bool) -> None:
        """Make the folder this process's own.

        Raises:
            UserError: it already holds a run (or, to resume, holds none), or another process is at
                work on it.
        """
        if resume and not self.member.is_begun:
            raise UserError(f'there is no run to resume in {self.folder}: it has no config.yaml')
        if not resume:
            check_free(self.folder)
        make_folder(self.folder)
        claim(self.folder)  # two at once would remove each other's files

    def begin(self, step: int) -> None:
        """Write config.yaml; the run continues, or begins, at this step."""
        remove(self.folder.glob('.*.tmp'))  # what a kill -9 left half written
        remove([self.folder / 'failure.txt'])
        path = self.folder / 'config.yaml'
        record = load_record(path) if path.is_file() else []
        now = {'from_step': step, **self._record}
        if not record or {**record[-1], 'from_step': step} != now:
            record.append(now)
        # First: a folder with anything else in it could be neither resumed nor restarted.
        save_config(path, self.config, record)
        make_folder(self._checkpoints)
        if self.rows:  # what was evaluated after the checkpoint will be evaluated again
            self.write_progress()

    def fail(self, why: str) -> str:
        """Stop the member; returns the sentence that the folder's failure.txt then holds."""
        self.failure = f'{why}; {self.last_good()}'
        write_bytes(self.folder / 'failure.txt', f'{self.failure}\n'.encode())
        return self.failure

    def see_end(self) -> None:
        """Find from the folder whether the member was stopped, or reached its goal."""
        self.failure = read_failure(self.folder)
        if self.failure is None and self.config.stop_at_return is not None:
            means = read_progress(self.folder)['eval_return_mean'][1:]
            self.done = bool((means >= self.config.stop_at_return).any())

    def last_good(self) -> str:
        """Which checkpoint there is."""
        steps = checkpoint.steps(self._checkpoints)
        if not steps:
            return 'there is no checkpoint'
        return f'the last good checkpoint is {checkpoint.path_of(self._checkpoints, steps[-1])}'

    # -- evaluations

    def add_row(self, row: dict[str, float]) -> None:
        """Add a line to progress.csv."""
        self.rows.append(row)
        self.write_progress()

    def keep_policies(self, evaluated: Evaluated) -> None:
        """Write the policy that was evaluated, and also as the best if it is."""
        evaluation = evaluated.evaluation
        about = {
            'episodes': len(evaluation.returns),
            'mean': evaluation.mean,
            'std': evaluation.std,
        }
        names = ['policy_last.safetensors']
        if evaluation.mean > self.best:
            self.best = evaluation.mean
            names.append('policy.safetensors')
        spec = self.spec(evaluated.step, about)
        for name in names:
            write_policy(self.folder / name, spec, evaluated.tensors)

    def keep_last(self, step: int, tensors: dict[str, np.ndarray]) -> None:
        """Write a policy that was not evaluated."""
        write_policy(self.folder / 'policy_last.safetensors', self.spec(step, {}), tensors)

    def good_enough(self, step: int) -> bool:
        """Whether the last evaluation, at this step, reached the goal of the settings."""
        goal = self.config.stop_at_return
        return goal is not None and self.evaluated == step and self.best >= goal

    def write_progress(self) -> None:
        """Write progress.csv."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns(), restval='', lineterminator='\n')
        writer.writeheader()
        writer.writerows(self.rows)
        write_bytes(self.folder / 'progress.csv', text.getvalue().encode())

    def _columns(self) -> list[str]:
        columns = ['step', 'eval_return_mean', 'eval_return_std', 'train_return']
        columns += ['steps_per_second', 'seconds', *MEASURED]
        spiking = bool(NEURONS[self.config.neuron].state)
        return columns + activity.names(len(self.config.hidden) + 1 if spiking else 0)

    def spec(self, step: int, evaluation: dict[str, float]) -> PolicySpec:
        """Return the policy file's description of a policy of this run."""
        config, task = self.config, self.task
        spiking = bool(NEURONS[config.neuron].state)
        versions = {k: v for k, v in self._record.items() if k not in hardware.MACHINE}
        machine = {k: v for k, v in self._record.items() if k in hardware.MACHINE}
        return PolicySpec(
            observation_size=task.observation_size,
            action_size=len(task.action_low),
            hidden=config.hidden,
            time_steps=config.time_steps if spiking else 1,
            neuron=config.neuron,
            neuron_constants=config.neuron_constants,
            encoder_population=config.encoder_population if spiking else 1,
            encoder_threshold=config.encoder_threshold,
            decoder_population=config.decoder_population if spiking else 1,
            action_low=task.action_low,
            action_high=task.action_high,
            observation_names=task.observation_names,
            action_names=task.action_names,
            control_period=task.control_period,
            observation_quantile_levels=QUANTILE_LEVELS,
            history=config.history,
            previous_action=config.previous_action,
            provenance={
                'env': config.env,
                **self._plugins(),
                **({'env_kwargs': config.env_kwargs} if config.env_kwargs else {}),
                'target': config.target,
                **({'paper_physics': True} if config.paper_physics else {}),
                'seed': config.seed,
                'step': step,
                'evaluation': evaluation,
                'created': datetime.now(timezone.utc).isoformat(timespec='seconds'),
                'device': config.device,
                'precision': config.precision,
                **machine,
                'versions': versions,
            },
        )

    def _plugins(self) -> dict[str, Any]:
        """Which plugins a policy of this run needs, and which its training did, by kind."""
        named = {
            'neuron': NEURONS.plugin(self.config.neuron),
            'target': TARGETS.plugin(self.config.target),
            'critic': CRITICS.plugin(self.config.critic),
            'task': TASKS.plugin(self.config.env.partition(':')[0]),
        }
        found = {kind: module for kind, module in named.items() if module}
        return {'plugins': found} if found else {}

    # -- checkpoints

    def checkpoints(self) -> list[int]:
        """Return the steps of which there is a checkpoint."""
        return checkpoint.steps(self._checkpoints)

    def save(
        self, state: dict[str, Any], tensors: checkpoint.Tensors, replay: Replay, member: int
    ) -> None:
        """Write a checkpoint, beside the one before; `prune` removes that.

        Args:
            state: what JSON can hold, "step" among it.
            tensors: weights, moments and episodes.
            replay: of all members.
            member: which one this is.
        """
        read = functools.partial(replay.read, member)
        spans = checkpoint.save_transitions(
            self._checkpoints, self._spans, replay.count, len(replay), read
        )
        mine = {
            'settings': fixed_settings(self.config),
            'evaluated': self.evaluated,
            'seconds': self.seconds,
            'best': None if self.best == -np.inf else self.best,
            'updates_counted': self.updates_counted,
            'returns': self.returns,
            'rows': self.rows,
            'replay': spans,
            'replay_count': replay.count,
        }
        checkpoint.save(self._checkpoints, state['step'], tensors, {**state, **mine})
        self._spans, self._saved = spans, state['step']

    def prune(self) -> None:
        """Remove every checkpoint but the last."""
        checkpoint.prune(self._checkpoints, self._saved, self._spans)

    def load(self, step: int) -> tuple[checkpoint.Tensors, dict[str, Any]]:
        """Go back to a checkpoint; gives the tensors and the state that `save` was given.

        Raises:
            UserError: it is damaged, or of other settings.
        """
        tensors, state = checkpoint.load(self._checkpoints, step)
        with self.reading(step):
            for name, value in fixed_settings(self.config).items():
                if state['settings'][name] != value:
                    raise ValueError(
                        f'it was written with {name} {state["settings"][name]!r}, not {value!r}'
                    )
            known = set(self._columns())
            for row in state['rows']:
                fits = (
                    isinstance(row, dict) and {'step', 'eval_return_mean'} <= row.keys() <= known
                )
                if not (fits and all(type(value) in (int, float) for value in row.values())):
                    raise ValueError('rows are no lines of progress.csv')
            for name in (
                'step',
                'evaluated',
                'updates',
                'acted',
                'updates_counted',
                'replay_count',
            ):
                if type(state[name]) is not int:
                    raise ValueError(f'{name} is {state[name]!r}, expected a whole number')
            if state['step'] != step:
                raise ValueError(f'it is of step {state["step"]}')
            self.evaluated, self.seconds = state['evaluated'], float(state['seconds'])
            self.best = -np.inf if state['best'] is None else float(state['best'])
            self.updates_counted = state['updates_counted']
            total, number = state['returns']
            self.returns = [float(total), int(number)]
            self.rows = state['rows']
            self._spans = [(int(first), int(last)) for first, last in state['replay']]
            held = min(state['replay_count'], self.config.replay_size)
            checkpoint.check_spans(self._spans, state['replay_count'], held)
        return tensors, state

    def load_transitions(self, replay: Replay, member: int) -> None:
        """Read the replay buffer's files."""
        write = functools.partial(replay.write, member)
        shapes = functools.partial(replay.shapes, member)
        checkpoint.load_transitions(self._checkpoints, self._spans, write, shapes)

    def reading(self, step: int) -> AbstractContextManager[None]:
        """Within it, what is wrong with the checkpoint of this step becomes a UserError."""
        return checkpoint.reading(checkpoint.path_of(self._checkpoints, step))
