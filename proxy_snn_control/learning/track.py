# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""`train --track`: the rows of progress.csv also go to Weights & Biases or MLflow.

Where and as whom is set as these programs have it: WANDB_MODE, MLFLOW_TRACKING_URI and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener
from proxy_snn_control.policy.errors import UserError


def library_of(service: str) -> ModuleType:
    """Import a service's package, before anything of a run is written.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(service)
    except ModuleNotFoundError:
        raise UserError(
            f'--track {service}: the Python module {service!r} is not installed: pip install '
            f"'proxy_snn_control[{service}]'"
        ) from None


class Tracked(Listener):
    """Passes everything on to another listener, and evaluations also to a service."""

    def __init__(self, listener: Listener, library: ModuleType, members: Sequence[Member]) -> None:
        """Begin a run for each member.

        Args:
            listener: what everything is passed on to.
            library: of `library_of`.
            members: the runs.

        Raises:
            UserError: the service cannot begin a run.
        """
        self._listener, service = listener, library.__name__
        begin: Any = {'wandb': _Wandb, 'mlflow': _Mlflow}[service]
        try:
            self._runs = {member.folder: begin(library, member) for member in members}
        except Exception as error:  # whatever the service raises without a server or an account
            reason = ' '.join(str(error).split()).rstrip('.')
            raise UserError(
                f'--track {service}: no run can begin: {reason}; then continue with --resume'
            ) from error

    def should_stop(self) -> bool:
        """As the other listener has it."""
        return self._listener.should_stop()

    def is_paused(self) -> bool:
        """As the other listener has it."""
        return self._listener.is_paused()

    def on_step(self, step: int) -> None:
        """Pass it on."""
        self._listener.on_step(step)

    def on_episode(self, member: Member, step: int, episode_return: float) -> None:
        """Pass it on."""
        self._listener.on_episode(member, step, episode_return)

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Pass it on, and log the row's finite numbers."""
        self._listener.on_evaluation(member, row)
        numbers = {k: float(v) for k, v in row.items() if k != 'step' and math.isfinite(float(v))}
        self._runs[member.folder].log(numbers, int(row['step']))

    def on_warning(self, member: Member, text: str) -> None:
        """Pass it on."""
        self._listener.on_warning(member, text)

    def close(self) -> None:
        """End the runs."""
        for run in self._runs.values():
            run.close()


class _Wandb:
    """A run of Weights & Biases for each member."""

    def __init__(self, wandb: Any, member: Member) -> None:
        self._run = wandb.init(
            project='proxy_snn_control',
            name=_name(member.folder),
            dir=str(member.folder.parent),
            config=dataclasses.asdict(member.config),
            reinit='create_new',
        )

    def log(self, numbers: dict[str, float], step: int) -> None:
        self._run.log(numbers, step=step)

    def close(self) -> None:
        self._run.finish()


class _Mlflow:
    """A run of MLflow for each member."""

    def __init__(self, mlflow: Any, member: Member) -> None:
        self._client = mlflow.MlflowClient()
        name = 'proxy_snn_control'
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self._id = self._client.create_run(experiment, run_name=_name(member.folder)).info.run_id
        for key, value in dataclasses.asdict(member.config).items():
            self._client.log_param(self._id, key, value)

    def log(self, numbers: dict[str, float], step: int) -> None:
        for key, value in numbers.items():
            self._client.log_metric(self._id, key, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._id)


def _name(folder: Path) -> str:
    """Return a run's name, of a population with the population's."""
    return '-'.join(folder.absolute().parts[-2:])
