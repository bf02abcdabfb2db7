# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A population of learners, trained together: collect, learn, evaluate, keep.

Every member is a run of its own, with its own folder (run.py); one seed is a population of one.
The update of all members at once is in td3.py.

The update of a step draws from the transitions before that step, so that environments in worker
processes step while it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
import functools
import os
import threading
import time
from typing import Any, NamedTuple

import numpy as np
from proxy_snn_control.learning.activity import activity
from proxy_snn_control.learning.collect import Collector, Place
from proxy_snn_control.learning.config import check_alike
from proxy_snn_control.learning.critics import how_learnt
from proxy_snn_control.learning.evaluators import (
    complete,
    evaluate_snapshot,
    Evaluated,
    Evaluators,
    Job,
    outcome,
    Sample,
    SAMPLES,
    Snapshot,
)
from proxy_snn_control.learning.hardware import (
    is_out_of_memory,
    resolved,
    staging,
    use_processor,
)
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.normaliser import Normaliser
from proxy_snn_control.learning.replay import Replay
from proxy_snn_control.learning.results import NOT_FINITE, ZERO_GRADIENT
from proxy_snn_control.learning.run import Run
from proxy_snn_control.learning.tasks import describe, TaskSpec
from proxy_snn_control.learning.td3 import MEASURED, TD3
from proxy_snn_control.learning.transitions import why_left_out
from proxy_snn_control.policy.errors import OutOfMemory, TaskError, UserError, WriteError
from proxy_snn_control.policy.files import claim, release
from proxy_snn_control.policy.plugins import NEURONS, TASKS
from proxy_snn_control.spiking.actor import Sizes
import torch

PAUSE_SECONDS = 0.01  # between two checks whether a pause is over
# Evaluations of a member that may wait for a process; each holds a sample of its transitions.
MOST_WAITING = 4


class Listener:
    """Callbacks of a training. Override what is of interest."""

    def should_stop(self) -> bool:
        """Return True to end the training with a checkpoint; called at least once a step."""
        return False

    def is_paused(self) -> bool:
        """Return True to pause the training until it is False; called before every step."""
        return False

    def on_step(self, step: int) -> None:
        """Handle the end of a step; all members have taken so many."""

    def on_episode(self, member: Member, step: int, episode_return: float) -> None:
        """Handle the end of a training episode."""

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Handle an evaluation; `row` is the new line of the member's progress.csv."""

    def on_warning(self, member: Member, text: str) -> None:
        """Handle a message that needs the user's attention."""


class Pending(NamedTuple):
    """An evaluation that may not be over: the rest of its line, and its result to come."""

    run: Run
    row: dict[str, float]
    future: Future[Evaluated | None]


class Held(NamedTuple):
    """An evaluation that waits for the end of an episode, as it uses the simulator of training."""

    member: int
    snapshot: Snapshot
    job: Job
    future: Future[Evaluated | None]


class Population:
    """The members, and everything that changes in them.

    Attributes:
        runs: the members' folders, in the order of every leading axis.
        step: environment steps of each member so far, the random ones among them.
        td3, replay, collector: what learns, what it draws from, and what fills that.
        warnings: sentences for the user about a run, to be passed on.
    """

    def __init__(self, members: Sequence[Member], *, resume: bool = False) -> None:
        """Start the members' runs, or take them up again where their checkpoints are.

        Raises:
            UserError: a task or a setting is no good, the members cannot be one population, a
                folder already holds a run (or, to resume, holds none), or another process is at
                work on it.
        """
        members = [Member(resolved(config), folder) for config, folder in members]
        self.config = config = members[0].config
        check_alike([member.config for member in members])
        tasks = {}
        for spec in {TaskSpec.of(member.config) for member in members}:
            environment = spec.make()
            tasks[spec] = describe(environment)
            environment.close()
        use_processor(config.threads)
        self.device = torch.device(config.device)
        self.runs = [
            Run(Member(replace(member.config, env=named), member.folder), task)
            for member in members
            for task in [tasks[TaskSpec.of(member.config)]]
            for named in [_full_name(member.config.env, task.env_id)]
        ]
        sizes = [
            Sizes(
                config.input_size(run.task.observation_size, len(run.task.action_low)),
                run.task.action_low,
                run.task.action_high,
            )
            for run in self.runs
        ]
        configs = [run.config for run in self.runs]
        try:
            self.replay = Replay(
                config.replay_size,
                [(each.observations, len(each.low)) for each in sizes],
                [each.seed for each in configs],
                self.device,
            )
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f'setting replay_size is {config.replay_size}, more than the memory holds'
            ) from None
        self.normaliser: Normaliser | None = None
        if config.normalise_observations:
            self.normaliser = Normaliser(
                [run.task.observation_size for run in self.runs],
                config.history,
                self.replay.widths[0],
                self.device,
            )
        try:
            self.td3 = TD3(configs, sizes, self.replay, self.device, self.normaliser)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(
                f'settings critic_hidden {config.critic_hidden} and proxy_hidden '
                f'{config.proxy_hidden} make networks larger than the memory'
            ) from None
        self._rows = staging(
            len(self.runs), config.num_envs, sum(self.replay.widths), device=self.device
        )
        self.td3.compile_passes()
        workers, evaluators = self._processes()
        self.collector = Collector(_places(self.runs), self.replay.widths, workers)
        self.evaluators = Evaluators(evaluators)
        self.warnings = [
            (run, sentence) for run in self.runs if (sentence := why_left_out(run.spec(0, {})))
        ]
        self.warnings += [(run, text) for run in self.runs if (text := how_learnt(run.config))]
        self.step, self._evaluated_at = 0, -1
        self._pending: list[Pending] = []
        self._held: list[Held] = []
        self._between = [True] * len(members)  # episodes, where nothing has been done yet
        self._checkpoint_due = False
        # Of each member, the steps at which its gradient was first and last seen to be zero, since
        # it was reported; -1 while there is nothing to report.
        self._zero = np.full((len(members), 2), -1)
        for run in self.runs:
            # Killed while it began, a population may lack some of its runs.
            run.claim(resume and (run.member.is_begun or len(self.runs) == 1))
        if resume:
            self._resume()
            self._between = [self.step == 0] * len(members)
        for run in self.runs:
            if run.failure is None:
                run.begin(self.step)

    @property
    def active(self) -> list[int]:
        """Return the members that are neither stopped nor done."""
        return [m for m, run in enumerate(self.runs) if not (run.failure or run.done)]

    @property
    def failures(self) -> list[str]:
        """Why members were stopped, a sentence each."""
        return [f'{run.folder} {run.failure}' for run in self.runs if run.failure]

    def run(self, listener: Listener) -> bool:
        """Train until done or stopped; keeps a checkpoint either way.

        Members whose numbers are no longer finite, or whose task fails, are stopped alone.

        Returns:
            True if every member that was not stopped is done, False if stopped before.

        Raises:
            UserError: no member is left, or a file cannot be written; names why, where, and which
                checkpoint stays.
        """
        # TensorBoard's thread passes its error to this one, but would print it first.
        hook = threading.excepthook
        threading.excepthook = lambda thread: (
            None if isinstance(thread.exc_value, OSError) else hook(thread)
        )
        for run in self.runs:
            claim(run.folder)
        self.collector.should_stop = listener.should_stop
        try:
            return self._train(listener)
        except WriteError as error:
            raise UserError(f'at step {self.step}: {error}; {self._last_good()}') from error
        except OSError as error:
            path = error.filename or self.runs[0].folder / 'events.out.tfevents.*'
            raise UserError(
                f'at step {self.step}: {path}: cannot be written: {error.strerror}; '
                f'{self._last_good()}'
            ) from error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            count, sizes = len(self.runs), self.config
            raise OutOfMemory(
                f'at step {self.step}: the memory does not hold {count} learner{"s"[: count > 1]} '
                f'with replay_size {sizes.replay_size} and batch_size {sizes.batch_size}; '
                f'{self._last_good()}'
            ) from error
        finally:
            threading.excepthook = hook
            for run in self.runs:
                release(run.folder)

    def close(self) -> None:
        """End worker processes and close environments."""
        self.collector.close()
        self.evaluators.close()

    def checkpoint(self) -> None:
        """Keep everything the members need to go on, and the policies as they are now."""
        self._check(self.td3.watch())
        states = self.collector.states()
        for m in self.active:
            run, tensors, episodes = self.runs[m], self.td3.tensors(m), []
            if self.normaliser:
                tensors |= self.normaliser.tensors(m)
            if wrong := [name for name, t in tensors.items() if not torch.isfinite(t).all()]:
                self._fail(m, f'{wrong[0]} {NOT_FINITE}')
                continue
            for e, place in enumerate(self._places_of(m)):
                about, arrays = states[place]
                episodes.append(about)
                for name, array in arrays.items():
                    tensors[f'episode.{e}.{name}'] = torch.from_numpy(np.array(array))
            state = {
                'step': self.step,
                'updates': self.td3.updates,
                'acted': self.td3.acted,
                'sums': {name: float(total[m]) for name, total in self.td3.sums.items()},
                'zero_gradient': self._zero[m].tolist(),
                'episodes': episodes,
            }
            run.save(state, tensors, self.replay, m)
        # Only now: until every member has its new checkpoint, all can go back to the one before.
        for m in self.active:
            self.runs[m].prune()
            if len(self.replay) and self.runs[m].evaluated != self.step:
                self.runs[m].keep_last(self.step, complete(self._snapshot(m)))

    # -- the loop

    def _train(self, listener: Listener) -> bool:
        from torch.utils.tensorboard import SummaryWriter

        with ExitStack() as stack:
            self._boards = {
                run.folder: stack.enter_context(
                    SummaryWriter(str(run.folder), purge_step=self.step)
                )
                for run in self.runs
            }
            self._clock = time.perf_counter(), self.step
            while True:
                self._pass_on(listener)
                if self._evaluation_is_due() and not self._evaluate(listener):
                    break
                last = self.step >= self.config.total_steps
                if not self._evaluate_held(listener, at_once=last):
                    break
                self._checkpoint_due |= self.step % self.config.checkpoint_every == 0
                due = self._checkpoint_due and not self._held
                behind = len(self._pending) - len(self._held) > MOST_WAITING * len(self.runs)
                self._finish(listener, wait=due or behind)
                done = last or not self.active
                if done:
                    self._finish(listener, wait=True)
                if done or due:
                    self._checkpoint_due = False
                    self.checkpoint()
                if done:
                    self._pass_on(listener)
                    return True
                stop = listener.should_stop()
                while not stop and listener.is_paused():
                    time.sleep(PAUSE_SECONDS)
                    stop = listener.should_stop()
                if stop:
                    break
                self._one_step(listener)
            self._drop_held()
            self._finish(listener, wait=True)
            self.checkpoint()
            self._pass_on(listener)
        return False

    def _one_step(self, listener: Listener) -> None:
        """Take an environment step of every member, and make their updates beside it."""
        arrays, config = self.collector.arrays, self.config
        shape = len(self.runs), config.num_envs
        observation = arrays.observation.reshape(*shape, -1)
        learns = self.step >= config.random_steps
        actions, watch = self.td3.act(observation, at_random=not learns)
        self._check(watch)
        self.collector.begin(np.nan_to_num(actions).reshape(arrays.action.shape))
        if learns:
            for _ in range(config.num_envs):
                self.td3.update()
        taken = self.collector.end()
        if taken.void:  # stopped while a simulator did not answer: there was no step
            self.td3.restore(self.td3.updates, self.td3.acted - 1)
            return
        self._rows.copy_(torch.from_numpy(taken.rows).view(*shape, -1))
        self.replay.add(self._rows)
        if self.normaliser:
            self.normaliser.learn(taken.rows.reshape(*shape, -1))
        self.step += config.num_envs
        self._between = [False] * len(self.runs)
        for place, total in taken.ended:
            m, number = divmod(place, config.num_envs)
            run = self.runs[m]
            self._between[m] |= number == 0
            run.returns = [run.returns[0] + total, run.returns[1] + 1]
            listener.on_episode(run.member, self.step, total)
        for place, why in taken.failed:
            self._fail(place // config.num_envs, why)
        listener.on_step(self.step)

    def _check(self, watch: np.ndarray) -> None:
        """Check the members after their last update; nearly always there is nothing to report."""
        finite, zero = np.isfinite(watch[:, :-1]), watch[:, -1] == 0
        if finite.all() and not zero.any() and (self._zero < 0).all():
            return
        for m in self.active:
            if not finite[m].all():
                self._fail(m, f'{MEASURED[int(np.argmin(finite[m]))]} {NOT_FINITE}')
            elif zero[m]:
                if self._zero[m, 0] < 0:
                    self._warn_of_gradient(self.runs[m])
                    self._zero[m, 0] = self.step
                self._zero[m, 1] = self.step
            # At single updates only: what is zero again within an interval has not ended.
            elif 0 <= self._zero[m, 1] <= self.step - self.config.eval_every:
                first, last = self._zero[m].tolist()
                text = (
                    f"step {self.step}: the actor's gradient is no longer zero: it was at some "
                    f'updates from step {first} to {last}'
                )
                self.warnings.append((self.runs[m], text))
                self._zero[m] = -1

    def _warn_of_gradient(self, run: Run) -> None:
        why = "no output neuron's membrane potential is inside the surrogate window"
        if not NEURONS[self.config.neuron].state:
            why = 'the units of a layer are all at zero'
        text = (
            f"step {self.step}: the actor's gradient is exactly zero, so it no longer learns: "
            f'{why}, or its actions are all at their limits'
        )
        self.warnings.append((run, text))

    def _fail(self, m: int, why: str) -> None:
        """Stop a member; the others go on.

        Raises:
            UserError: there are no others.
        """
        run = self.runs[m]
        if run.failure:
            return
        failure = run.fail(f'at step {self.step} {why}')
        self.collector.idle(self._places_of(m))
        if not any(each.failure is None for each in self.runs):
            raise UserError(failure)
        self.warnings.append((run, f'stopped {failure}'))

    def _pass_on(self, listener: Listener) -> None:
        while self.warnings:
            run, text = self.warnings.pop(0)
            listener.on_warning(run.member, text)

    def _last_good(self) -> str:
        return self.runs[0].last_good()

    def _places_of(self, m: int) -> range:
        return range(m * self.config.num_envs, (m + 1) * self.config.num_envs)

    def _processes(self) -> tuple[int, int]:
        """How many worker processes for environments, and how many for evaluations.

        A CPU learns itself; beside a GPU one processor core feeds it, a third of the others step
        environments, and the rest evaluate, which at the paper's schedule takes twice the steps.
        """
        if any(run.task.one_world for run in self.runs):
            # Time passes there while the learner computes, here or on a GPU.
            apart = self.device.type != 'cpu' or any(run.task.real_time for run in self.runs)
            return (len(self.runs) * self.config.num_envs if apart else 0), 0
        if self.device.type == 'cpu':
            return 0, 0
        others = max(2, len(os.sched_getaffinity(0)) - 1)
        return max(1, others // 3), max(1, others - others // 3)

    # -- evaluations

    def _evaluation_is_due(self) -> bool:
        last = self.step == self.config.total_steps
        return self._evaluated_at != self.step and (
            last or self.step % self.config.eval_every == 0
        )

    def _evaluate(self, listener: Listener) -> bool:
        """Begin an evaluation of every member; False if stopped meanwhile."""
        began, from_step = self._clock
        elapsed = time.perf_counter() - began
        self._check(self.td3.watch())
        begun = []
        for m in self.active:
            run = self.runs[m]
            task = TaskSpec.of(run.config)
            job = Job(task, run.config.eval_episodes, run.config.evaluation_seed)
            if run.task.one_world:
                future: Future[Evaluated | None] = Future()
                self._held.append(Held(m, self._snapshot(m), job, future))
            else:
                future = self.evaluators.submit(self._snapshot(m), job, listener.should_stop)
            if future.done() and not future.exception() and future.result() is None:
                return False
            begun.append((m, future))
        learnt = self.step > self.config.random_steps
        figures: list[dict[str, float]] = [{} for _ in self.runs]
        if learnt:
            observation = self.replay.spread(self.config.batch_size).observation
            figures = activity(self.td3.actor, self.td3.normalised(observation))
        for m, future in begun:
            run = self.runs[m]
            run.seconds += elapsed
            row = {
                'step': self.step,
                'steps_per_second': (self.step - from_step) / elapsed,
                'seconds': run.seconds,
                **self._means(m),
                **figures[m],
            }
            self._pending.append(Pending(run, row, future))
        for total in self.td3.sums.values():
            total.zero_()
        self._evaluated_at = self.step
        # A goal must be seen when it is reached, however long an evaluation takes.
        self._finish(listener, wait=self.config.stop_at_return is not None)
        self._clock = time.perf_counter(), self.step
        return True

    def _evaluate_held(self, listener: Listener, at_once: bool) -> bool:
        """Evaluate in the simulators of training, between two episodes; False if stopped.

        What is evaluated is the snapshot of the step at which that was due.

        Args:
            listener: its `should_stop` ends the wait.
            at_once: whether no episode is under way.
        """
        began = time.perf_counter()
        for each in [h for h in self._held if at_once or self._between[h.member]]:
            work = functools.partial(evaluate_snapshot, each.snapshot, each.job)
            place = each.member * self.config.num_envs
            evaluated, why = self.collector.apply(place, work, at_once)
            if evaluated is None and not why:
                return False
            self._held.remove(each)
            if why:
                each.future.set_exception(TaskError(why))
            else:
                each.future.set_result(evaluated)
        since, step = self._clock
        self._clock = since + time.perf_counter() - began, step  # no time of training
        return True

    def _drop_held(self) -> None:
        """On a stop, evaluations that still wait for an episode's end are left out."""
        for each in self._held:
            run = self.runs[each.member]
            at = each.snapshot.step
            text = f'the evaluation of step {at} is skipped: its episode has not ended'
            self.warnings.append((run, text))
            self._pending = [p for p in self._pending if p.future is not each.future]
        self._held = []

    def _means(self, m: int) -> dict[str, float]:
        """Means since the last evaluation; what did not happen is left out."""
        run, updates, delay = self.runs[m], self.td3.updates, self.config.policy_delay
        of_critics = updates - run.updates_counted
        of_actors = updates // delay - run.updates_counted // delay
        counts = {'actor_loss': of_actors, 'actor_gradient_norm': of_actors}
        if not self.td3.target_adam:
            counts['proxy_loss'] = 0
        means = {
            name: float(total[m]) / counts.get(name, of_critics)
            for name, total in self.td3.sums.items()
            if counts.get(name, of_critics)
        }
        total, episodes = run.returns
        if episodes:
            means['train_return'] = total / episodes
        run.returns, run.updates_counted = [0.0, 0], updates
        return means

    def _finish(self, listener: Listener, wait: bool) -> None:
        """Keep the results of evaluations that are over, each member's in their order."""
        if not wait and not any(each.future.done() for each in self._pending):
            return
        waiting: list[Pending] = []
        for each in self._pending:
            run = each.run
            ready = each.future.done() and all(other.run is not run for other in waiting)
            held = any(each.future is h.future for h in self._held)
            if held or not (wait or ready):
                waiting.append(each)
                continue
            if run.failure:
                continue
            try:
                evaluated = outcome(each.future)
            except TaskError as error:
                self._fail(self.runs.index(run), str(error))
                continue
            assert evaluated is not None
            evaluation = evaluated.evaluation
            row = {
                **each.row,
                'eval_return_mean': evaluation.mean,
                'eval_return_std': evaluation.std,
            }
            run.evaluated = evaluated.step
            if evaluated.step:
                run.keep_policies(evaluated)
            run.add_row(row)  # last: with this line a run is known to be so far
            for name, value in row.items():
                self._boards[run.folder].add_scalar(name, value, evaluated.step)
            listener.on_evaluation(run.member, row)
            if run.config.on_collapse != 'warn' and row.get('actor_gradient_norm') == 0:
                self._fail(self.runs.index(run), f'collapsed: {ZERO_GRADIENT}')
                continue
            if run.good_enough(evaluated.step):
                self._end(self.runs.index(run))
        self._pending = waiting

    def _end(self, m: int) -> None:
        """End a member before the last step."""
        self.checkpoint()
        self.collector.idle(self._places_of(m))
        self.runs[m].done = True

    def _snapshot(self, m: int) -> Snapshot:
        run = self.runs[m]
        arrays = {
            name: np.ascontiguousarray(tensor.numpy())
            for name, tensor in self.td3.actor.deployed(m).items()
        }
        sample = None
        if len(self.replay):
            held = self.replay.every(m, -(-len(self.replay) // SAMPLES))
            # Of what was read at once, the present observation.
            present = self._present(m)
            low, high = self.replay.extremes(m)
            sample = Sample(
                held['observation'][:, present],
                held['action'],
                held['next_observation'][:, present],
                low[present],
                high[present],
            )
        if self.normaliser:
            arrays |= self.normaliser.arrays(m)
        return Snapshot(self.step, run.spec(self.step, {}), arrays, sample)

    def _present(self, m: int) -> slice:
        """Where in what a member's networks read the present observation is."""
        size, history = self.runs[m].task.observation_size, self.config.history
        return slice((history - 1) * size, history * size)

    # -- going on

    def _resume(self) -> None:
        """Bring all members that are not over to the last step of which each has a checkpoint."""
        if len(self.runs) > 1:
            for run in self.runs:
                run.see_end()
        going = self.active
        self.collector.idle([p for m in range(len(self.runs)) if m not in going
                             for p in self._places_of(m)])  # fmt: skip
        if not going:
            self.step = self._evaluated_at = self.config.total_steps
            return
        steps = {self.runs[m].folder: set(self.runs[m].checkpoints()) for m in going}
        common = set.intersection(*steps.values())
        if not common and any(each - {0} for each in steps.values()):
            found = ', '.join(f'{f}: {max(each, default="none")}' for f, each in steps.items())
            raise UserError(
                f'the runs have no checkpoint of the same step ({found}); resume each alone up to '
                'the same step'
            )
        if not common:  # it ended before the first was whole
            return
        self.step = max(common)
        states: dict[int, Any] = {}
        for m in going:
            states |= self._load(m)
        for place in self.collector.restore(states):
            run = self.runs[place // self.config.num_envs]
            task = run.config.env
            text = f'task {task!r} is not deterministic: the interrupted episode starts again'
            self.warnings.append((run, text))
        self._evaluated_at = self.runs[going[0]].evaluated
        for m in going:
            self.runs[m].done = self.runs[m].good_enough(self.step)

    def _load(self, m: int) -> dict[int, Any]:
        """Load a member's checkpoint; gives the states of its environments, by place."""
        run, states = self.runs[m], {}
        tensors, state = run.load(self.step)
        with run.reading(self.step):
            self.td3.restore(state['updates'], state['acted'])
            self.replay.restore(state['replay_count'])
            if len(state['episodes']) != self.config.num_envs:
                found = len(state['episodes'])
                raise ValueError(f'{found} episodes, expected {self.config.num_envs}')
            for e, (place, about) in enumerate(
                zip(self._places_of(m), state['episodes'], strict=True)
            ):
                arrays = {
                    name: tensors.pop(f'episode.{e}.{name}').numpy()
                    for name in ('actions', 'observation')
                }
                states[place] = about, arrays
            if self.normaliser:
                self.normaliser.take(m, tensors)
            self.td3.put(m, tensors)
            for name, total in self.td3.sums.items():
                total[m] = float(state['sums'][name])
            self._zero[m] = [int(step) for step in state['zero_gradient']]
        run.load_transitions(self.replay, m)
        return states


def _full_name(given: str, resolved: str) -> str:
    """Return a task's id with the version that Gymnasium took, and the module to register it."""
    if given.partition(':')[0] in TASKS:
        return given
    module, colon, _ = given.rpartition(':')
    return module + colon + resolved


def _places(runs: Sequence[Run]) -> list[Place]:
    """Every environment of every member.

    A member's first has the run's seed; the others' are drawn, so that runs of neighbouring seeds
    share none.
    """
    places = []
    for m, run in enumerate(runs):
        config = run.config
        more = np.random.SeedSequence(config.seed).generate_state(config.num_envs).tolist()
        places += [
            Place(
                m,
                TaskSpec.of(config),
                seed,
                config.history,
                config.previous_action,
                number,
                run.task.one_world,
                config.seed,
            )
            for number, seed in enumerate((config.seed, *more[1:]))
        ]
    return places
