# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Environments of all members, in this process or in worker processes; one call a step.

A step is begun and ended: between the two, the environments in worker processes step while the
learner does something else. Numbers pass through arrays that the processes share. gymnasium's
AsyncVectorEnv sends each of them through pipes instead (benchmarks/environments.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
import ctypes
from dataclasses import dataclass
import logging
import multiprocessing
from multiprocessing.connection import Connection
import os
import signal
import time
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from proxy_snn_control.learning.episode import Episode, Remembering, remembering
from proxy_snn_control.learning.tasks import clip_action, TaskSpec
from proxy_snn_control.policy import plugins
from proxy_snn_control.policy.errors import Interrupted, TaskError, UserError

ALIVE_SECONDS = 1.0  # between two checks that a worker that is waited for still runs
PR_SET_PDEATHSIG = 1
RETRY_SECONDS = 0.5
CLOSE_SECONDS = 3.0
STOP = ('stop', ())
_log = logging.getLogger('proxy_snn_control')


class Place(NamedTuple):
    """An environment of a member.

    Attributes:
        member: whose.
        task: which.
        seed: of its first episode.
        history: how many observations the policy reads.
        previous_action: whether it reads its previous action too.
        number: which of the member's environments it is.
        one_world: whether the task is given for which seed and environment it is made, as one on
            the other side of ROS is.
    """

    member: int
    task: TaskSpec
    seed: int
    history: int = 1
    previous_action: bool = False
    number: int = 0
    one_world: bool = False
    run_seed: int = 0

    def make(self) -> gymnasium.Env:
        """Make the environment."""
        own = {'seed': self.run_seed, 'number': self.number} if self.one_world else {}
        return remembering(self.task.make(**own), self.history, self.previous_action)


class Steps(NamedTuple):
    """What came of a step in each place.

    Attributes:
        rows: float32 [places, numbers], transitions as replay.py lays them out.
        ended: (place, return) of each episode that ended.
        failed: (place, why) of each environment that failed; its row is of no use.
        void: whether the step was given up, because of a stop while a simulator did not answer.
    """

    rows: np.ndarray
    ended: list[tuple[int, float]]
    failed: list[tuple[int, str]]
    void: bool = False


class Arrays:
    """Numbers of all places, in the layouts of the learner and of the environments.

    Attributes:
        action: float32 [places, actions], to be taken.
        observation: float32 [places, observations], to act on next.
        rows: float32 [places, numbers], the last transitions.
        ended: float64 [places], the return of an episode that just ended, else NaN.
        status: int64 [places], one of `RUNNING`, `FAILED`, `IDLE` and `VOID`.
    """

    RUNNING, FAILED, IDLE, VOID = range(4)

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
        context = multiprocessing.get_context('spawn')
        return [
            context.RawArray(ctypes.c_char, max(1, int(np.prod(shape)) * np.dtype(kind).itemsize))
            for shape, kind in cls.shapes(places, widths)
        ]


class Stage:
    """Some of the places, in this process: environments that read and write the arrays."""

    def __init__(
        self, arrays: Arrays, places: dict[int, Place], should_stop: Callable[[], bool]
    ) -> None:
        self.arrays, self.failures = arrays, dict[int, str]()
        self._should_stop = should_stop
        self.episodes = {i: Episode(place.make(), place.seed) for i, place in places.items()}
        for i in self.episodes:
            self._observe(i)

    def step(self) -> None:
        """Take the actions."""
        for i, episode in self.episodes.items():
            if self.arrays.status[i] != Arrays.RUNNING:
                continue
            try:
                while True:
                    try:
                        self._step(i, episode)
                        break
                    except Interrupted as error:
                        # The action is as good in the episode that begins then as in this one.
                        if not self._wait(i, error):
                            self.arrays.status[i] = Arrays.VOID
                            break
            except TaskError as error:
                self.arrays.status[i] = Arrays.FAILED
                self.failures[i] = str(error)
            else:
                self._observe(i)

    def _step(self, i: int, episode: Episode) -> None:
        arrays = self.arrays
        observations, actions = arrays.widths[:2]
        space: Any = episode.environment.action_space
        own = len(episode.observation)
        row = arrays.rows[i]
        row[:own] = episode.observation
        action = clip_action(episode.environment, arrays.action[i, : len(space.low)])
        end = observations + len(action)
        row[observations:end] = action
        following, reward, terminal, truncated = episode.step(action)
        row[observations + actions] = reward
        begin = observations + actions + 1
        end = begin + own
        row[begin:end] = following
        row[-1] = terminal
        arrays.ended[i] = np.nan
        if terminal or truncated:
            arrays.ended[i] = episode.total
            try:
                episode.begin()
            except Interrupted as error:
                self._wait(i, error)

    def _wait(self, i: int, error: Interrupted) -> bool:
        """Wait until the simulator of an interrupted episode answers, and begin another.

        Returns:
            False if it was stopped meanwhile.
        """
        _log.warning('%s; the episode is discarded; waiting', error)
        while not self._should_stop():
            try:
                self.episodes[i].begin()
            except Interrupted:
                time.sleep(RETRY_SECONDS)
                continue
            _log.warning('the task answers again, a new episode begins')
            return True
        return False

    def apply(
        self, i: int, work: Callable[[gymnasium.Env, Callable[[], bool]], Any], last: bool
    ) -> tuple[Any, str]:
        """Do something else in a place's simulator, and begin its present episode again.

        Args:
            i: the place.
            work: is called with the environment, and a function that returns whether to stop.
            last: whether no step follows: the episode stays where it is, for a checkpoint.

        Returns:
            What came of it, and if the task fails why.
        """
        episode = self.episodes[i]
        environment = episode.environment
        if isinstance(environment, Remembering):
            environment = environment.env
        found, why = None, ''
        random = episode.random
        while True:
            try:
                found = work(environment, self._should_stop)
                if not last:
                    episode.begin_again(random)
            except Interrupted as error:
                if self._wait(i, error):
                    continue
            except TaskError as error:
                why = str(error)
            break
        if not last:
            self._observe(i)
        return found, why

    def states(self) -> dict[int, Any]:
        """Return what `restore` needs to go back to where each episode is."""
        return {i: episode.state() for i, episode in self.episodes.items()}

    def restore(self, states: dict[int, Any]) -> list[int]:
        """Go to where the states were read off; the places whose task does not repeat itself."""
        restarted = []
        for i, state in states.items():
            if not self.episodes[i].restore(*state):
                restarted.append(i)
            self._observe(i)
        return restarted

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
        should_stop: called while a simulator is waited for, or used for something else.
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
        self.should_stop: Callable[[], bool] = lambda: False
        # A robot is left with its safe command, a simulation as it is.
        self._in_order = any(place.one_world for place in places)
        memory = Arrays.memory(len(places), widths)
        self.arrays = Arrays(len(places), widths, memory)
        self._workers: list[_Worker] = []
        self.stage: Stage | None = None
        numbered = dict(enumerate(places))
        workers = min(workers, len(places))
        if not workers:
            self.stage = Stage(self.arrays, numbered, lambda: self.should_stop())
            return
        context = multiprocessing.get_context('spawn')
        for first in range(workers):
            mine = {i: numbered[i] for i in range(first, len(places), workers)}
            ours, theirs = context.Pipe()
            go, done = context.Semaphore(0), context.Semaphore(0)
            about = (memory, len(places), tuple(widths), mine, plugins.loaded())
            arguments = (theirs, go, done, *about)
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
            while not worker.done.acquire(timeout=ALIVE_SECONDS):
                self._check(worker)
                if self.should_stop():
                    worker.connection.send(STOP)
        running = self.arrays.status == Arrays.RUNNING
        over = np.flatnonzero(running & ~np.isnan(self.arrays.ended))
        failed = []
        for i in np.flatnonzero(self.arrays.status == Arrays.FAILED).tolist():
            failed.append((i, self._failure(i)))
            self.arrays.status[i] = Arrays.IDLE
        void = np.flatnonzero(self.arrays.status == Arrays.VOID)
        self.arrays.status[void] = Arrays.RUNNING
        ended = [(int(i), float(self.arrays.ended[i])) for i in over]
        return Steps(self.arrays.rows, ended, failed, bool(len(void)))

    def apply(self, place: int, work: Callable[..., Any], last: bool) -> tuple[Any, str]:
        """As `Stage.apply`; not between `begin` and `end`."""
        if self.stage:
            return self.stage.apply(place, work, last)
        (worker,) = (each for each in self._workers if place in each.places)
        found: tuple[Any, str] = self._ask(worker, 'apply', place, work, last)
        return found

    def idle(self, places: Sequence[int]) -> None:
        """Step these no longer."""
        self.arrays.status[list(places)] = Arrays.IDLE

    def states(self) -> dict[int, Any]:
        """Return what `restore` needs, for each place; not between `begin` and `end`."""
        if self.stage:
            return self.stage.states()
        found: dict[int, Any] = {}
        for worker in self._workers:
            found |= self._ask(worker, 'states')
        return found

    def restore(self, states: dict[int, Any]) -> list[int]:
        """Go to where `states` were read off.

        Returns:
            The places whose task does not repeat itself: new episodes begin there.
        """
        if self.stage:
            return self.stage.restore(states)
        restarted: list[int] = []
        for worker in self._workers:
            mine = {i: states[i] for i in worker.places if i in states}
            restarted += self._ask(worker, 'restore', mine)
        return sorted(restarted)

    def close(self) -> None:
        """End the worker processes."""
        if self.stage:
            self.stage.close()
        for worker in self._workers:
            if self._in_order:
                with suppress(OSError):
                    worker.connection.send(('close', ()))
                    worker.go.release()
                    worker.process.join(CLOSE_SECONDS)
            worker.process.kill()
            worker.process.join()
            worker.connection.close()
        self._workers = []

    def _failure(self, i: int) -> str:
        if self.stage:
            return self.stage.failures[i]
        (worker,) = (each for each in self._workers if i in each.places)
        failures: dict[int, str] = self._ask(worker, 'failures')
        return failures[i]

    def _ask(self, worker: _Worker, name: str, *arguments: Any) -> Any:
        worker.connection.send((name, arguments))
        worker.go.release()
        return self._answer(worker)

    def _answer(self, worker: _Worker) -> Any:
        while not worker.connection.poll(ALIVE_SECONDS):
            self._check(worker)
            if self.should_stop():
                worker.connection.send(STOP)
        try:
            error, answer = worker.connection.recv()
        except EOFError:
            worker.process.join(ALIVE_SECONDS)
            self._check(worker)
            raise UserError('a process of environments closed its pipe') from None
        if error:
            raise UserError(error)
        return answer

    def _check(self, worker: _Worker) -> None:
        if not worker.process.is_alive():
            raise UserError(
                f'a process of environments (pid {worker.process.pid}) ended with exit status '
                f'{worker.process.exitcode}'
            )


class safe_path:
    """While children are started, keep modules of the current folder out of theirs."""

    def __enter__(self) -> None:
        self._before = os.environ.get('PYTHONSAFEPATH')
        os.environ['PYTHONSAFEPATH'] = '1'

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ['PYTHONSAFEPATH']
        else:
            os.environ['PYTHONSAFEPATH'] = self._before


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends, however it ends (Linux)."""
    if hasattr(prctl := ctypes.CDLL(None), 'prctl'):
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
    modules: tuple[str, ...],
) -> None:
    end_with_parent()
    try:
        plugins.load(modules)
        # Whatever comes while it steps is the request to stop.
        stage = Stage(Arrays(count, widths, memory), places, connection.poll)
    except UserError as error:
        connection.send((str(error), None))
        return
    connection.send((None, None))
    while True:
        go.acquire()
        while connection.poll():
            message = connection.recv()
            if message == STOP:  # what it was about is over
                continue
            name, arguments = message
            if name == 'close':
                stage.close()
                return
            answer = stage.failures if name == 'failures' else getattr(stage, name)(*arguments)
            connection.send((None, answer))
            break
        else:
            stage.step()
            done.release()
