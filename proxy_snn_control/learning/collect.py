# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Environments of all members, in this process or in worker processes; one call a step.

A step is begun and ended: between the two, the environments in worker processes step while the
learner does something else. Numbers pass through arrays that the processes share. gymnasium's
AsyncVectorEnv sends each of them through pipes instead (benchmarks/environments.py).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from proxy_snn_control.learning.episode import Episode, remembering
from proxy_snn_control.learning.tasks import TaskSpec, clip_action
from proxy_snn_control.policy.errors import TaskError, UserError

PATIENCE = 1.0  # seconds between two looks at whether a worker that is waited for is alive
PR_SET_PDEATHSIG = 1


class Place(NamedTuple):
    """An environment of a member.

    Attributes:
        member: whose.
        task: which.
        seed: of its first episode.
        history: how many observations the policy reads.
        previous_action: whether it reads its previous action too.
    """

    member: int
    task: TaskSpec
    seed: int
    history: int = 1
    previous_action: bool = False


class Steps(NamedTuple):
    """What came of a step in each place.

    Attributes:
        rows: float32 [places, numbers], transitions as replay.py lays them out.
        ended: (place, return) of each episode that ended.
        failed: (place, why) of each environment that failed; its row is of no use.
    """

    rows: np.ndarray
    ended: list[tuple[int, float]]
    failed: list[tuple[int, str]]


class Arrays:
    """Numbers of all places, as the learner and the environments see them.

    Attributes:
        action: float32 [places, actions], to be taken.
        observation: float32 [places, observations], to act on next.
        rows: float32 [places, numbers], the last transitions.
        ended: float64 [places], the return of an episode that just ended, else NaN.
        status: int64 [places], one of `RUNNING`, `FAILED` and `IDLE`.
    """

    RUNNING, FAILED, IDLE = range(3)

    def __init__(self, places: int, widths: Sequence[int], memory: Sequence[Any]) -> None:
        self.widths = tuple(widths)
        shapes = self.shapes(places, widths)
        views = [
            np.frombuffer(block, kind, int(np.prod(shape))).reshape(shape)
            for block, (shape, kind) in zip(memory, shapes, strict=True)
        ]
        self.action, self.observation, self.rows, self.ended, self.status = views

    @staticmethod
    def shapes(places: int, widths: Sequence[int]) -> list[tuple[tuple[int, ...], Any]]:
        """Shape and type of each array in turn."""
        observation, action = widths[:2]
        numbers = [(action, np.float32), (observation, np.float32), (sum(widths), np.float32)]
        shapes: list[tuple[tuple[int, ...], Any]] = [((places, n), kind) for n, kind in numbers]
        return [*shapes, ((places,), np.float64), ((places,), np.int64)]

    @classmethod
    def memory(cls, places: int, widths: Sequence[int]) -> list[Any]:
        """Zeroed memory for them that processes started from here can share."""
        context = multiprocessing.get_context("spawn")
        return [
            context.RawArray(ctypes.c_char, max(1, int(np.prod(shape)) * np.dtype(kind).itemsize))
            for shape, kind in cls.shapes(places, widths)
        ]


class Stage:
    """Some of the places, in this process: environments that read and write the arrays."""

    def __init__(self, arrays: Arrays, places: dict[int, Place]) -> None:
        self.arrays, self.failures = arrays, dict[int, str]()
        self.episodes = {
            i: Episode(remembering(p.task.make(), p.history, p.previous_action), p.seed)
            for i, p in places.items()
        }
        for i in self.episodes:
            self._observe(i)

    def step(self) -> None:
        """Take the actions."""
        arrays = self.arrays
        observations, actions = arrays.widths[:2]
        for i, episode in self.episodes.items():
            if arrays.status[i] != Arrays.RUNNING:
                continue
            space: Any = episode.environment.action_space
            own = len(episode.observation)
            row = arrays.rows[i]
            row[:own] = episode.observation
            action = clip_action(episode.environment, arrays.action[i, : len(space.low)])
            row[observations : observations + len(action)] = action
            try:
                following, reward, terminal, truncated = episode.step(action)
                end = observations + actions
                row[end] = reward
                row[end + 1 : end + 1 + own] = following
                row[-1] = terminal
                arrays.ended[i] = np.nan
                if terminal or truncated:
                    arrays.ended[i] = episode.total
                    episode.begin()
            except TaskError as error:
                arrays.status[i] = Arrays.FAILED
                self.failures[i] = str(error)
            else:
                self._observe(i)

    def states(self) -> dict[int, Any]:
        """What `restore` needs to go back to where each episode is."""
        return {i: episode.state() for i, episode in self.episodes.items()}

    def restore(self, states: dict[int, Any]) -> list[int]:
        """Go to where the states were read off; the places whose task does not repeat itself."""
        astray = []
        for i, state in states.items():
            if not self.episodes[i].restore(*state):
                astray.append(i)
            self._observe(i)
        return astray

    def close(self) -> None:
        """Close the environments."""
        for episode in self.episodes.values():
            episode.environment.close()

    def _observe(self, i: int) -> None:
        observation = self.episodes[i].observation
        self.arrays.observation[i, : len(observation)] = observation


@dataclass
class _Worker:
    process: Any
    connection: Connection
    go: Any
    done: Any
    places: list[int]


class Collector:
    """The environments of all members.

    Attributes:
        arrays: the numbers of all places; `arrays.observation` is what to act on next.
        stage: the environments, where they are in this process.
    """

    def __init__(self, places: Sequence[Place], widths: Sequence[int], workers: int) -> None:
        """Make the environments and begin an episode in each.

        Args:
            places: in the order of the arrays.
            widths: of a transition's parts, as `Replay.widths`.
            workers: processes to spread them over; 0 for none but this one.

        Raises:
            UserError: a task cannot be made.
        """
        memory = Arrays.memory(len(places), widths)
        self.arrays = Arrays(len(places), widths, memory)
        self._workers: list[_Worker] = []
        self.stage: Stage | None = None
        numbered = dict(enumerate(places))
        workers = min(workers, len(places))
        if not workers:
            self.stage = Stage(self.arrays, numbered)
            return
        context = multiprocessing.get_context("spawn")
        for first in range(workers):
            mine = {i: numbered[i] for i in range(first, len(places), workers)}
            ours, theirs = context.Pipe()
            go, done = context.Semaphore(0), context.Semaphore(0)
            arguments = (theirs, go, done, memory, len(places), tuple(widths), mine)
            process = context.Process(target=_work, args=arguments, daemon=True)
            with safe_path():
                process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours, go, done, list(mine)))
        try:
            for worker in self._workers:
                self._answer(worker)
        except Exception:
            self.close()
            raise

    def begin(self, actions: np.ndarray) -> None:
        """Begin a step with actions float32 [places, actions]."""
        self.arrays.action[:] = actions
        for worker in self._workers:
            worker.go.release()
        if self.stage:
            self.stage.step()

    def end(self) -> Steps:
        """Wait for the step; the arrays it gives are overwritten by the next one."""
        for worker in self._workers:
            while not worker.done.acquire(timeout=PATIENCE):
                self._check(worker)
        running = self.arrays.status == Arrays.RUNNING
        over = np.flatnonzero(running & ~np.isnan(self.arrays.ended))
        failed = []
        for i in np.flatnonzero(self.arrays.status == Arrays.FAILED).tolist():
            failed.append((i, self._failure(i)))
            self.arrays.status[i] = Arrays.IDLE
        return Steps(
            self.arrays.rows, [(int(i), float(self.arrays.ended[i])) for i in over], failed
        )

    def idle(self, places: Sequence[int]) -> None:
        """Step these no longer."""
        self.arrays.status[list(places)] = Arrays.IDLE

    def states(self) -> dict[int, Any]:
        """What `restore` needs, for each place; not between `begin` and `end`."""
        if self.stage:
            return self.stage.states()
        found: dict[int, Any] = {}
        for worker in self._workers:
            found |= self._ask(worker, "states")
        return found

    def restore(self, states: dict[int, Any]) -> list[int]:
        """Go to where `states` were read off.

        Returns:
            The places whose task does not repeat itself: their episodes start anew.
        """
        if self.stage:
            return self.stage.restore(states)
        astray: list[int] = []
        for worker in self._workers:
            mine = {i: states[i] for i in worker.places if i in states}
            astray += self._ask(worker, "restore", mine)
        return sorted(astray)

    def close(self) -> None:
        """End the worker processes."""
        if self.stage:
            self.stage.close()
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def _failure(self, i: int) -> str:
        if self.stage:
            return self.stage.failures[i]
        (worker,) = (each for each in self._workers if i in each.places)
        failures: dict[int, str] = self._ask(worker, "failures")
        return failures[i]

    def _ask(self, worker: _Worker, name: str, *arguments: Any) -> Any:
        worker.connection.send((name, arguments))
        worker.go.release()
        return self._answer(worker)

    def _answer(self, worker: _Worker) -> Any:
        while not worker.connection.poll(PATIENCE):
            self._check(worker)
        try:
            error, answer = worker.connection.recv()
        except EOFError:
            worker.process.join(PATIENCE)
            self._check(worker)
            raise UserError("a process of environments closed its pipe") from None
        if error:
            raise UserError(error)
        return answer

    def _check(self, worker: _Worker) -> None:
        if not worker.process.is_alive():
            raise UserError(
                f"a process of environments (pid {worker.process.pid}) ended with exit status "
                f"{worker.process.exitcode}"
            )


class safe_path:
    """While children are started, keep modules of the current folder out of theirs."""

    def __enter__(self) -> None:
        self._before = os.environ.get("PYTHONSAFEPATH")
        os.environ["PYTHONSAFEPATH"] = "1"

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = self._before


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends, however it ends (Linux)."""
    if hasattr(prctl := ctypes.CDLL(None), "prctl"):
        prctl.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent and not parent.is_alive():  # killed while this process was starting
        os._exit(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it is up to the parent, which puts things in order


def _work(
    connection: Connection,
    go: Any,
    done: Any,
    memory: list[Any],
    count: int,
    widths: tuple[int, ...],
    places: dict[int, Place],
) -> None:
    end_with_parent()
    try:
        stage = Stage(Arrays(count, widths, memory), places)
    except UserError as error:
        connection.send((str(error), None))
        return
    connection.send((None, None))
    while True:
        go.acquire()
        if not connection.poll():
            stage.step()
            done.release()
            continue
        name, arguments = connection.recv()
        answer = stage.failures if name == "failures" else getattr(stage, name)(*arguments)
        connection.send((None, answer))
