# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Train the runs of a grid (grid.py): batches on a GPU, processes on a CPU, or a Ray cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
import functools
import gc
import itertools
from typing import NamedTuple

from proxy_snn_control.learning import checkpoint
from proxy_snn_control.learning.config import (
    shared_settings,
)
from proxy_snn_control.learning.grid import as_begun, is_done
from proxy_snn_control.learning.hardware import resolved
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.processes import Processes
from proxy_snn_control.learning.results import read_failure
from proxy_snn_control.learning.tasks import describe, TaskSpec
from proxy_snn_control.policy.errors import OutOfMemory, UserError
import torch

# Of a GPU's free memory, for replay buffers; the rest is for networks, graphs and evaluations.
FOR_REPLAY = 0.8


class Result(NamedTuple):
    """What came of training some runs.

    Attributes:
        finished: False if it was stopped before the end.
        failures: why runs were stopped, a sentence each that begins with the run's folder.
    """

    finished: bool
    failures: list[str]


def batches(members: Sequence[Member], most: int | None = None) -> list[list[Member]]:
    """Split runs into what can be one population: equal settings, and a step that all can go from.

    Args:
        members: the runs.
        most: runs in a batch; None for any number.
    """
    alike: dict[tuple[tuple[str, str], ...], list[Member]] = {}
    for member in members:
        alike.setdefault(shared_settings(member.config), []).append(member)
    found = []
    for group in alike.values():
        steps = {m.folder: checkpoint.steps(m.folder / 'checkpoint') or [0] for m in group}
        while group:
            # What was killed while it wrote checkpoints has some members at two steps.
            held = Counter(step for member in group for step in steps[member.folder])
            step = max(held, key=lambda step: (held[step], step))
            found.append([m for m in group if step in steps[m.folder]])
            group = [m for m in group if step not in steps[m.folder]]
    return [
        part for batch in found for part in _parts(batch, -(-len(batch) // (most or len(batch))))
    ]


def train_here(
    members: Sequence[Member],
    listener: Listener,
    log: Callable[[str], None],
    jobs: int | None = None,
) -> Result:
    """Train runs on this computer: on a GPU batch after batch, on a CPU a process for each.

    Args:
        members: the runs; those that are done, or have failed, are passed over.
        listener: called for every event, and for whether to stop.
        log: takes lines on how the runs were put together.
        jobs: processes at once on a CPU; None for as many as there are cores.

    Raises:
        UserError: a device that is set is not there.
    """
    failures = [
        f'{member.folder} {why}' for member in members if (why := read_failure(member.folder))
    ]
    todo = [as_begun(m) for m in members if not (is_done(m) or read_failure(m.folder))]
    here = [Member(resolved(config), folder) for config, folder in todo]
    on_cpu = [
        Member(replace(config, threads=config.threads or 1), folder)
        for config, folder in here
        if config.device == 'cpu'
    ]
    on_gpu = batches([member for member in here if member.config.device != 'cpu'])
    if on_gpu:
        free, _ = torch.cuda.mem_get_info()
        on_gpu = [part for batch in on_gpu for part in fit(batch, int(FOR_REPLAY * free))]
        for i, batch in enumerate(on_gpu):
            log(
                f'batch {i + 1} of {len(on_gpu)} on the GPU: {_names(batch)}; replay buffers of '
                f'{replay_bytes(batch) / 1e9:.1f} GB, {free / 1e9:.1f} GB are free'
            )
    alone = [on_cpu] if len(on_cpu) == 1 else []
    for batch in [*on_gpu, *alone]:
        if listener.should_stop():
            return Result(False, failures)
        result = train_batch(batch, listener, log)
        failures += result.failures
        if not result.finished:
            return Result(False, failures)
    if len(on_cpu) < 2:
        return Result(True, failures)
    processes = _guarded(on_cpu, lambda: Processes(on_cpu, resume=True, jobs=jobs), listener)
    assert processes is not None  # each of them has one run alone
    return Result(processes.finished, failures + processes.failures)


def train_batch(batch: Sequence[Member], listener: Listener, log: Callable[[str], None]) -> Result:
    """Train what `batches` put together as one population, from where its members are.

    In halves, one after the other, if the memory does not hold it.
    """
    resume = any(member.is_begun for member in batch)
    result = _guarded(batch, lambda: Population(batch, resume=resume), listener)
    if result is not None:
        return result
    log(f'{_names(batch)}: too large for the memory; in two halves instead')
    failures: list[str] = []
    for half in _parts(list(batch), 2):
        result = train_batch(half, listener, log)
        failures += result.failures
        if not result.finished:
            return Result(False, failures)
    return Result(True, failures)


def fit(batch: list[Member], memory: int) -> list[list[Member]]:
    """Split a batch into the fewest equal parts whose replay buffers fit into `memory` bytes."""
    for count in range(1, len(batch)):
        parts = _parts(batch, count)
        if all(replay_bytes(part) <= memory for part in parts):
            return parts
    return [[member] for member in batch]


def replay_bytes(batch: Sequence[Member]) -> int:
    """Memory of a population's replay buffers: float32 rows, all as wide as the widest task's."""
    configs = [member.config for member in batch]
    sizes = [_sizes(task) for task in {TaskSpec.of(config) for config in configs}]
    observations = max(configs[0].input_size(*each) for each in sizes)
    actions = max(each[1] for each in sizes)
    return len(batch) * batch[0].config.replay_size * (2 * observations + actions + 2) * 4


@functools.cache
def _sizes(spec: TaskSpec) -> tuple[int, int]:
    """Numbers of a task's observation and action."""
    environment = spec.make()
    task = describe(environment)
    environment.close()
    return task.observation_size, len(task.action_low)


def _guarded(
    batch: Sequence[Member], make: Callable[[], Population | Processes], listener: Listener
) -> Result | None:
    """Train; what ends this training ends no other. None if less of it may go."""
    training = None
    try:
        training = make()
        return Result(training.run(listener), training.failures)
    except UserError as error:
        if isinstance(error, OutOfMemory) and len(batch) > 1:
            return None
        failures = training.failures if training else []
        if len(failures) < len(batch):  # what stopped the others is reported nowhere else
            failures.append(f'{_names(batch)}: {error}')
        return Result(True, failures)
    finally:
        if training:
            training.close()
        del training
        if torch.cuda.is_initialized():  # the next batch needs the memory
            gc.collect()
            torch.cuda.empty_cache()


def _parts(batch: list[Member], count: int) -> list[list[Member]]:
    """Split a batch into so many parts, whose sizes differ by at most one."""
    ends = [i * len(batch) // count for i in range(count + 1)]
    return [batch[begin:end] for begin, end in itertools.pairwise(ends)]


def _names(batch: Sequence[Member]) -> str:
    first = str(batch[0].folder)
    return first if len(batch) == 1 else f'{first} and {len(batch) - 1} more'


def train_anywhere(
    members: Sequence[Member],
    listener: Listener,
    log: Callable[[str], None],
    *,
    jobs: int | None = None,
    ray: str | None = None,
    gpus_per_run: float = 0.0,
) -> Result:
    """Train runs here, or where an address of a Ray cluster is given on that.

    A task of the cluster is one run, or with GPUs as many as their fractions make a whole of.

    Args:
        members: the runs; those that are done, or have failed, are passed over.
        listener: called for every event, and for whether to stop.
        log: takes lines on how the runs were put together.
        jobs: processes at once on this computer's CPU; None for as many as there are cores.
        ray: the cluster's address; None to train here.
        gpus_per_run: the part of a GPU that a run gets on a cluster; 0: it computes on a CPU.

    Raises:
        UserError: a setting does not go with this, or there is no cluster.
    """
    if ray is None:
        return train_here(members, listener, log, jobs)
    for config, folder in members:
        if config.env.startswith('ros:'):
            raise UserError(f'task {config.env} of {folder} does not go with --ray: train it here')
    from proxy_snn_control.learning.cluster import train_on_cluster

    wanted = 'cuda' if gpus_per_run else 'cpu'
    placed = []
    for config, folder in members:
        if config.device not in ('auto', wanted):
            raise UserError(
                f'setting device of {folder} is {config.device!r}, which does not go with '
                f'--gpus-per-run {gpus_per_run:g}'
            )
        placed.append(Member(replace(config, device=wanted), folder.resolve()))
    most = max(1, int(1 / gpus_per_run + 1e-9)) if gpus_per_run else 1
    finished, failures = train_on_cluster(
        batches(placed, most), train_here, listener, log, address=ray, gpus_per_run=gpus_per_run
    )
    return Result(finished, failures)
