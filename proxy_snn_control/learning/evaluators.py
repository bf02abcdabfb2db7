# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Where evaluations run: here, or beside training in worker processes.

Either way what is evaluated is a snapshot, by the runtime that will be deployed, and its result is
the same however long it takes. With it come the policy file's statistics of observations in
training, for that takes a moment too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
import functools
import multiprocessing
from typing import NamedTuple

import gymnasium
import numpy as np
from proxy_snn_control.learning.collect import end_with_parent, safe_path
from proxy_snn_control.learning.evaluate import evaluate, Evaluation
from proxy_snn_control.learning.tasks import TaskSpec
from proxy_snn_control.learning.transitions import transition_model
from proxy_snn_control.policy import plugins
from proxy_snn_control.policy.errors import TaskError, UserError
from proxy_snn_control.policy.file import PolicySpec
from proxy_snn_control.policy.runtime import Policy

QUANTILE_LEVELS = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
SAMPLES = 25_000


class Sample(NamedTuple):
    """What training saw: some transitions, and the range of all observations.

    Attributes:
        observation, action, next_observation: float32 [n, numbers].
        low, high: float32 [observations], the smallest and largest of all.
    """

    observation: np.ndarray
    action: np.ndarray
    next_observation: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Snapshot(NamedTuple):
    """A policy at one step, to be evaluated.

    Attributes:
        step: of training.
        spec: what the policy is.
        weights: by their names in a policy file.
        sample: what training saw up to then; None before its first step.
    """

    step: int
    spec: PolicySpec
    weights: dict[str, np.ndarray]
    sample: Sample | None


class Evaluated(NamedTuple):
    """A snapshot's evaluation, and its tensors as a policy file has them."""

    step: int
    evaluation: Evaluation
    tensors: dict[str, np.ndarray]


class Job(NamedTuple):
    """What to evaluate a snapshot by."""

    task: TaskSpec
    episodes: int
    seed: int


def complete(snapshot: Snapshot) -> dict[str, np.ndarray]:
    """Return the snapshot's tensors as a policy file has them."""
    sample = snapshot.sample
    if sample is None:
        size = snapshot.spec.observation_size
        quantiles = np.zeros((len(QUANTILE_LEVELS), size), np.float32)
        return {**snapshot.weights, 'observation.quantiles': quantiles}
    quantiles = np.quantile(sample.observation, QUANTILE_LEVELS, axis=0)
    quantiles[0], quantiles[-1] = sample.low, sample.high
    return {
        **snapshot.weights,
        'observation.quantiles': quantiles.astype(np.float32),
        **transition_model(sample.observation, sample.action, sample.next_observation),
    }


def evaluate_snapshot(
    snapshot: Snapshot, job: Job, environment: gymnasium.Env, should_stop: Callable[[], bool]
) -> Evaluated | None:
    """Evaluate a snapshot; None if `should_stop` was true meanwhile.

    Raises:
        TaskError: the task fails.
    """
    tensors = complete(snapshot)
    policy = Policy(snapshot.spec, tensors)
    result = evaluate(policy, environment, job.episodes, job.seed, should_stop)
    return None if result is None else Evaluated(snapshot.step, result, tensors)


class Evaluators:
    """Processes that evaluate beside training; without any, evaluations run in this process.

    Evaluations come back as futures. One that ran here is done at once; its result is None if
    `should_stop` was true meanwhile.

    Attributes:
        environments: by task, for evaluations that run here.
    """

    def __init__(self, workers: int) -> None:
        self.environments: dict[TaskSpec, gymnasium.Env] = {}
        self._pool = None
        if workers:
            context = multiprocessing.get_context('spawn')
            about = (plugins.loaded(),)
            self._pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=about)

    def submit(
        self, snapshot: Snapshot, job: Job, should_stop: Callable[[], bool]
    ) -> Future[Evaluated | None]:
        """Have a snapshot evaluated.

        Raises:
            UserError: a process has ended.
        """
        if self._pool:
            with safe_path(), _pool_whole():  # it starts its processes when it is given work
                return self._pool.submit(_evaluate_in_process, snapshot, job)
        if job.task not in self.environments:
            self.environments[job.task] = job.task.make()
        done: Future[Evaluated | None] = Future()
        try:
            environment = self.environments[job.task]
            done.set_result(evaluate_snapshot(snapshot, job, environment, should_stop))
        except TaskError as error:
            done.set_exception(error)
        return done

    def close(self) -> None:
        """End the processes; evaluations under way are lost."""
        for environment in self.environments.values():
            environment.close()
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)


def outcome(future: Future[Evaluated | None]) -> Evaluated | None:
    """Wait for an evaluation.

    Raises:
        TaskError: the task fails.
        UserError: the process has ended.
    """
    with _pool_whole():
        return future.result()


@contextmanager
def _pool_whole() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise UserError('a process of evaluations was killed; is memory short?') from None


def _begin(modules: tuple[str, ...]) -> None:
    end_with_parent()
    plugins.load(modules)


@functools.cache
def _environment(task: TaskSpec) -> gymnasium.Env:
    return task.make()


def _evaluate_in_process(snapshot: Snapshot, job: Job) -> Evaluated | None:
    """Call `evaluate_snapshot` in a process of its own, with an environment that it keeps."""
    return evaluate_snapshot(snapshot, job, _environment(job.task), lambda: False)
