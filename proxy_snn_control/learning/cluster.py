# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Runs of a sweep as tasks of a Ray cluster that is there; the extra `cluster` brings Ray.

Every computer of the cluster has the sweep's folder under the same path. A task whose worker is
lost is tried again by Ray, on whatever computer is free, and goes on from the runs' checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
import logging
import re
import signal
import socket
import time
from typing import Any

from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener
from proxy_snn_control.policy import plugins
from proxy_snn_control.policy.errors import UserError

POLL_SECONDS = 0.3  # between two reads of the tasks' messages
STOP_SECONDS = 1.0  # between two requests of a task whether to stop
CONNECT_SECONDS = 10.0
RETRIES = 10  # of a task whose worker was lost


class Mailbox:
    """An actor for messages of tasks to the command, and for the command's request to stop."""

    def __init__(self) -> None:
        self._messages: list[tuple[str, Member | None, Any]] = []
        self._stopping = False
        self._begun: set[int] = set()

    def begin(self, task: int) -> bool:
        """Note that a task begins; whether it had begun before."""
        again = task in self._begun
        self._begun.add(task)
        return again

    def post(self, kind: str, member: Member | None, what: Any) -> None:
        """Leave a message."""
        self._messages.append((kind, member, what))

    def take(self) -> list[tuple[str, Member | None, Any]]:
        """Take the messages."""
        messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        """Have the tasks stop."""
        self._stopping = True

    def stopping(self) -> bool:
        """Whether they should."""
        return self._stopping


class _Reporter(Listener):
    """A task's listener: passes everything on to the mailbox."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox, self._polled, self._stop = mailbox, -STOP_SECONDS, False

    def should_stop(self) -> bool:
        import ray

        now = time.monotonic()
        if now - self._polled > STOP_SECONDS:
            self._polled = now
            self._stop = ray.get(self._mailbox.stopping.remote())
        return self._stop

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        self._mailbox.post.remote('evaluation', member, row)

    def on_warning(self, member: Member, text: str) -> None:
        self._mailbox.post.remote('warning', member, text)

    def log(self, text: str) -> None:
        self._mailbox.post.remote('log', None, text)


# Trains runs, calls the listener for every event and logs how they were put together; gives
# whether all came to their end, and why some were stopped.
Train = Callable[[Sequence[Member], Listener, Callable[[str], None]], tuple[bool, list[str]]]


def train_on_cluster(
    batches: Sequence[Sequence[Member]],
    train: Train,
    listener: Listener,
    log: Callable[[str], None],
    *,
    address: str,
    gpus_per_run: float,
) -> tuple[bool, list[str]]:
    """Train each batch as a task, on one processor core and `gpus_per_run` GPUs for each run.

    Args:
        batches: runs that go together, in folders that every computer can access.
        train: what a task does with its runs.
        listener: called for every event; `should_stop` ends the training.
        log: takes the lines that tasks log.
        address: of the cluster: host:port, or "auto" on one of its computers.
        gpus_per_run: 0 for none.

    Returns:
        False if it was stopped before the end; and why runs were stopped.

    Raises:
        UserError: there is no cluster, or it is lost.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    with _connected(address):
        has = ray.cluster_resources()
        log(f'a cluster of {has.get("CPU", 0):.0f} CPU cores and {has.get("GPU", 0):.0f} GPUs')
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor = ray.remote(num_cpus=0)(Mailbox)
        mailbox: Any = actor.options(scheduling_strategy=here).remote()
        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_train_task)
        tasks = {
            task.options(num_gpus=round(gpus_per_run * len(batch), 4)).remote(
                i, list(batch), train, mailbox
            ): batch
            for i, batch in enumerate(batches)
        }
        finished, failures, stopping = True, list[str](), False
        while tasks:
            if not stopping and listener.should_stop():
                stopping = True
                mailbox.stop.remote()
            ready, _ = ray.wait(list(tasks), num_returns=1, timeout=POLL_SECONDS)
            for kind, member, what in ray.get(mailbox.take.remote()):
                if kind == 'log':
                    log(what)
                elif kind == 'evaluation':
                    listener.on_evaluation(member, what)
                else:
                    listener.on_warning(member, what)
            for each in ready:
                batch = tasks.pop(each)
                try:
                    done, why = ray.get(each)
                except ray.exceptions.RayError as error:
                    done, why = True, [f'{batch[0].folder}: its task failed: {_first_line(error)}']
                finished &= done
                failures += why
        return finished, failures


def _train_task(
    number: int, members: Sequence[Member], train: Train, mailbox: Any
) -> tuple[bool, list[str]]:
    """Train the members of a Ray task; return whether all came to their end, or why not."""
    import ray

    for member in members:
        plugins.load(member.config.plugins)
    reporter = _Reporter(mailbox)
    if reporter.should_stop():
        return False, []
    if ray.get(mailbox.begin.remote(number)):
        for member in members:
            reporter.on_warning(member, 'its worker was lost; it resumes from its checkpoint')
    result = train(members, reporter, reporter.log)
    ray.get(mailbox.stopping.remote())  # calls are served in turn: now all messages are there
    return result


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Be a driver of the cluster."""
    import ray

    place = re.fullmatch(r'(?:ray://)?(.+):(\d+)', address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if place:  # Ray would try for minutes
            socket.create_connection((place[1], int(place[2])), CONNECT_SECONDS).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise UserError(f'--ray {address}: no Ray cluster answers: {_first_line(error)}') from None
    for number, handler in handlers.items():  # Ray sets its own, which end the process
        signal.signal(number, handler)
    try:
        yield
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise UserError(
            f'--ray {address}: the cluster is lost: {_first_line(error)}; repeat the command '
            'to continue'
        ) from None
    finally:
        ray.shutdown()


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].split('. ')[0][:300]
