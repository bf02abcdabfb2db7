# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A population on a CPU: a process of one thread a member, as many at once as there are cores.

Batches save nothing where a processor computes: members side by side do. Each process runs a
population of one, so a member's run is the same, to the last bit, as with its seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import multiprocessing
from multiprocessing.connection import Connection, wait
import os
import time
from typing import Any

from proxy_snn_control.learning.collect import end_with_parent, safe_path
from proxy_snn_control.learning.hardware import resolved
from proxy_snn_control.learning.members import discard_population, Member, record_population
from proxy_snn_control.learning.population import Listener, Population
from proxy_snn_control.learning.tasks import TaskSpec
from proxy_snn_control.policy import plugins
from proxy_snn_control.policy.errors import UserError

POLL_SECONDS = 0.05
REPORT_SECONDS = 0.1  # between two reports of a process's step


class Processes:
    """Members in processes of their own, with the calls of a `Population`.

    Attributes:
        members: all of them.
        step: environment steps that the slowest has taken.
    """

    def __init__(
        self, members: Sequence[Member], *, resume: bool = False, jobs: int | None = None
    ) -> None:
        """Prepare; no process is started before `run`.

        Args:
            members: the members, all for a CPU.
            resume: whether to take up again the runs that have begun.
            jobs: processes at once; None for as many as there are cores.

        Raises:
            UserError: a task cannot be made.
        """
        for task in {TaskSpec.of(config) for config, _ in members}:
            task.make().close()  # an error now is better than one later
        self.members = [
            Member(replace(config, threads=config.threads or 1), folder)
            for config, folder in members
        ]
        self._resume, self._jobs = resume, jobs or len(os.sched_getaffinity(0))
        self._steps = [0] * len(members)
        self._connections: dict[int, Connection] = {}
        self._failed: dict[int, str] = {}

    @property
    def failures(self) -> list[str]:
        """Why members were stopped, a sentence each."""
        return [f'{self.members[m].folder} {why}' for m, why in self._failed.items()]

    @property
    def step(self) -> int:
        """Environment steps that the slowest member has taken."""
        return min(self._steps)

    def run(self, listener: Listener) -> bool:
        """Train until done or stopped, as `Population.run`.

        Raises:
            UserError: every member was stopped; names why.
        """
        context = multiprocessing.get_context('spawn')
        waiting = list(range(len(self.members)))
        processes: dict[int, Any] = {}
        finished: dict[int, bool] = {}
        stopping = paused = False
        try:
            while waiting or processes:
                if not stopping and listener.should_stop():
                    stopping = True
                    waiting = []
                    self._send('stop')
                if paused != listener.is_paused():
                    paused = not paused
                    self._send('pause' if paused else 'go on')
                while waiting and len(processes) < self._jobs and not paused:
                    m = waiting.pop(0)
                    ours, theirs = context.Pipe()
                    arguments = (theirs, self.members[m], self._resume)
                    process = context.Process(target=_train, args=arguments)
                    with safe_path():
                        process.start()
                    theirs.close()
                    self._connections[m], processes[m] = ours, process
                for connection in wait(list(self._connections.values()), POLL_SECONDS):
                    m = next(m for m, ours in self._connections.items() if ours is connection)
                    try:
                        message = self._connections[m].recv()
                    except EOFError:
                        message = ('failed', 'its process ended without an error message')
                    ended = self._receive(m, message, listener)
                    if ended is not None:
                        finished[m] = ended
                        processes.pop(m).join()
                        self._connections.pop(m).close()
        finally:
            for process in processes.values():
                process.kill()
        if len(self._failed) == len(self.members):
            if not self._resume:
                discard_population(self.members)
            raise UserError('; '.join(self.failures))
        return not stopping and all(finished.values())

    def checkpoint(self) -> None:
        """Have the members under way write checkpoints at their next step."""
        self._send('checkpoint')

    def close(self) -> None:
        """Nothing is left open after `run`."""

    def _send(self, request: str) -> None:
        for connection in self._connections.values():
            try:
                connection.send(request)
            except OSError:  # it has just ended
                continue

    def _receive(self, m: int, message: tuple[str, Any], listener: Listener) -> bool | None:
        """Pass a message on; once the member has ended, whether it is done."""
        kind, what = message
        member = self.members[m]
        if kind == 'step':
            self._steps[m] = what
            listener.on_step(self.step)
        elif kind == 'episode':
            listener.on_episode(member, *what)
        elif kind == 'evaluation':
            listener.on_evaluation(member, what)
        elif kind == 'warning':
            listener.on_warning(member, what)
        elif kind == 'failed':
            self._failed[m] = what
            self._steps[m] = member.config.total_steps  # it is not waited for
            if len(self.members) > len(self._failed):
                listener.on_warning(member, f'stopped {what}')
            return True
        else:
            return bool(what)
        return None


def make_training(
    members: Sequence[Member], *, resume: bool = False, jobs: int | None = None
) -> Population | Processes:
    """Make what trains these members: one population, or on a CPU a process for each of several.

    Raises:
        UserError: as of `Population`.
    """
    if len(members) == 1:
        return Population(members, resume=resume)
    if not resume:
        record_population(members)
    try:
        if resolved(members[0].config).device == 'cpu':
            return Processes(members, resume=resume, jobs=jobs)
        return Population(members, resume=resume)
    except BaseException:
        if not resume:
            discard_population(members)
        raise


class _Reporter(Listener):
    """Passes events to the parent, and receives its request to stop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stop = self._paused = False
        self._reported_at = 0.0
        self.population: Population | None = None

    def should_stop(self) -> bool:
        while self._connection.poll():
            request = self._connection.recv()
            self._stop |= request == 'stop'
            if request in ('pause', 'go on'):
                self._paused = request == 'pause'
            if request == 'checkpoint' and self.population:
                self.population.checkpoint()
        return self._stop

    def is_paused(self) -> bool:
        return self._paused

    def on_step(self, step: int) -> None:
        if time.monotonic() - self._reported_at > REPORT_SECONDS:
            self._reported_at = time.monotonic()
            self._connection.send(('step', step))

    def on_episode(self, member: Member, step: int, episode_return: float) -> None:
        self._connection.send(('episode', (step, episode_return)))

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        self._connection.send(('evaluation', row))

    def on_warning(self, member: Member, text: str) -> None:
        self._connection.send(('warning', text))


def _train(connection: Connection, member: Member, resume: bool) -> None:
    """Train a member in a process of its own."""
    end_with_parent()
    plugins.load(member.config.plugins)
    reporter = _Reporter(connection)
    try:
        reporter.population = Population([member], resume=resume and member.is_begun)
        connection.send(('step', reporter.population.step))
        done = reporter.population.run(reporter)
        connection.send(('step', reporter.population.step))
    except UserError as error:
        connection.send(('failed', str(error)))
    else:
        connection.send(('ended', done))
