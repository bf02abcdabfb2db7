# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The loop: from a message, or a time that has passed, to a command. The clock is passed in.

`take` receives a message. If it completes an observation, `answer` computes the observation, the
action and the command, in this order, and sends what the gate allows. The caller also calls
`watch` several times within the shortest timeout, and `repeat` at the control rate for as long as
`faulty`: no callback runs for a source that does not publish.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
from proxy_snn_control.control.backend import Native, Neuromorphic, Question
from proxy_snn_control.control.command import CommandMap
from proxy_snn_control.control.counts import Statistics
from proxy_snn_control.control.messages import ATTEMPTS, BEGINS, UNASKED
from proxy_snn_control.control.observation import Inputs
from proxy_snn_control.control.robot import Robot
from proxy_snn_control.control.safety import SafetyGate
from proxy_snn_control.control.stop import StopLatch
from proxy_snn_control.control.wiring import Wiring
from proxy_snn_control.policy import ObservationError, Policy

# A command this many control periods after the last one has missed its deadline.
LATE = 1.5
# What came before is forgotten when so many control periods bring no observation: two were lost in
# a row. A single one costs its own step alone.
GAP = 2.5
# Of a control period: what may be spent on looking for wiring mistakes after a command.
LOOKING = 0.05

Send = Callable[[Sequence[float], str], bool]


class Loop:
    """What the controller computes between configure and cleanup.

    Attributes:
        policy: the policy that acts; its counts are those of the last action.
        checksum: SHA-256 of its file.
        active: whether commands are sent.
        faulty: whether the safe command is to be repeated until the fault ends.
        rivalry: why other publishers on its topics forbid commands, or "".
        watches_wiring: whether it checks for wiring mistakes.
        requires_wiring: whether one that is found when the robot begins to move stops it.
        statistics: since it became active.
        on_action: called after a command with the policy that acted, the observation's label, the
            observation [observations] and the policy's action [actions].
    """

    def __init__(
        self,
        policy: Policy,
        checksum: str,
        robot: Robot,
        inputs: Inputs,
        commands: CommandMap,
        gate: SafetyGate,
        stop: StopLatch,
        wiring: Wiring,
        backend: Native | Neuromorphic,
        period: float,
        clock: Callable[[], float],
        send: Send,
    ) -> None:
        """Put the parts together; nothing acts before `activate`.

        Args:
            policy: the one that acts.
            checksum: SHA-256 of its file.
            robot: the robot file, or its equivalent for the topics observation and command.
            inputs: make observations.
            commands: make commands.
            gate: what may be sent.
            stop: the stop, which is kept beyond this loop.
            wiring: finds wiring mistakes.
            backend: computes actions.
            period: the control period in seconds.
            clock: the time in seconds; it only goes forward.
            send: sends a command [outputs], with the label of what it answers; returns whether
                it went out.
        """
        self.policy, self.checksum, self.robot = policy, checksum, robot
        self.inputs, self.commands, self.gate = inputs, commands, gate
        self.stop, self.wiring, self.backend, self.period = stop, wiring, backend, period
        self.active = self.faulty = False
        self.rivalry = ''
        self.watches_wiring = self.checks_period = self.shadows = False
        self.requires_wiring = self._verified = False
        self.at_rate = False
        self.statistics = Statistics()
        self.on_action: Callable[[Policy, str, np.ndarray, Sequence[float]], None] | None = None
        self._clock, self._emit = clock, send
        self._action = np.zeros(policy.spec.action_size, np.float32)
        self._sent = [0.0] * policy.spec.action_size
        self._raw = [0.0] * policy.spec.action_size
        self._measures = any(robot.measured(source) for source in robot.sources)
        self._lasting = ''
        self._sent_at = self._expires = 0.0
        self._search: Generator[None, None, list[str]] | None = None
        self._asked = self._answered = ''
        self._seen_at, self._seen_stamp = 0.0, 0

    # ---- lifecycle

    def activate(self) -> None:
        """Begin to command, from what was sent last; what came before is no longer fresh."""
        now = self._clock()
        self.statistics = Statistics()
        self.inputs.forget(now)
        self.gate.start(now)
        self.stop.watch_from(now)
        self._note_sent(self.gate.begin, '')
        self._raw = list(self._sent)
        self.wiring.forget()
        self.wiring.found = []
        self._search, self._lasting, self._sent_at = None, '', 0.0
        self._verified = False
        self._forget_past()
        if isinstance(self.backend, Neuromorphic):
            self.backend.begin()
        self.active, self.faulty = True, False

    def deactivate(self, why: str) -> None:
        """Stop commanding; the last command is the safe one."""
        if not self.active:
            return
        self.active = self.faulty = False
        self._measure()
        sent, _ = self.gate.check(None, why, self._clock())
        if len(sent):
            self._goes_out(sent, UNASKED, ATTEMPTS)
        if isinstance(self.backend, Neuromorphic):
            self.backend.begin()
        self.statistics.fault = self._lasting = ''

    def replace(self, other: Loop) -> None:
        """Continue with another loop's policy, which has the same names, limits and period."""
        self.settle()
        self.policy, self.checksum, self.wiring = other.policy, other.checksum, other.wiring
        self.backend = other.backend
        self._search, self._verified = None, False
        self._forget_past()

    def assumptions(self, warnings: bool = False) -> list[str]:
        """Return what is taken for granted of the sources, or what of it to warn of."""
        sources = self.robot.sources
        if warnings:
            return [
                f'topic {source.topic}: its timeout of {source.timeout:g} s is below the control '
                f'period of {self.period:g} s: the safe command goes out between observations'
                for source in sources
                if source.timeout < self.period
            ]
        if len(sources) < 2:
            return []
        return [
            f'topic {stream.source.topic} has no stamps: its messages are dated by their arrival'
            for stream in self.inputs.streams
            if not stream.reader.stamped
        ]

    # ---- what happens

    def take(self, index: int, message: Any, publisher: bytes = b'') -> bool:
        """Read a message of a source; whether there is something to answer now."""
        return self.inputs.take(index, message, self._clock(), publisher) and not self.at_rate

    def answer(self) -> None:
        """Command, or if inactive only look."""
        now = self._clock()
        inputs = self.inputs
        if self.at_rate:
            inputs.pair(now)
        fault = self.fault(now)
        if not (fault or inputs.ready):
            return
        if not self.active:
            if self.watches_wiring and not fault:
                seen = inputs.observation(self._sent, self._raw)
                self.wiring.add(seen, None, now, inputs.stamp * 1e-9)
            return
        if not fault and self._is_asked(inputs.label):
            return
        if self.settle():
            now = self._clock()
        observation = acted = None
        if not fault:
            try:
                if self._is_again():
                    acted = self.backend.policy  # its action is still there
                else:
                    observation = inputs.observation(self._sent, self._raw)
                    acted = self.backend.act(observation, inputs.label, self._action, now)
                if acted is None:
                    self._expires = inputs.expires
                    return  # and go on in `answered` or `settle`
            except ObservationError as error:
                topics = ', '.join(source.topic for source in self.robot.sources)
                fault = f'topic {topics}: {error}'
        self._finish(observation, inputs.label, acted, fault, now)

    @property
    def question(self) -> Question | None:
        """What waits for the neuromorphic node's answer, if anything does."""
        return self.backend.question if isinstance(self.backend, Neuromorphic) else None

    def _is_asked(self, label: str) -> bool:
        """Whether the neuromorphic node is at this very observation, which a sim has repeated."""
        question = self.question
        return question is not None and bool(label) and question.label == label

    def _is_again(self) -> bool:
        """Whether this same observation was answered already, for a policy with a history.

        Before the first observation of an episode, and after a gap, the history is reset.
        """
        inputs = self.inputs
        remembers = self.backend.policy.remembers or inputs.remembers
        if not (remembers or inputs.unwraps):
            return False
        if remembers:
            self._asked = inputs.moment
            if self._asked and self._asked == self._answered:
                return True
        seen_at, self._seen_at = self._seen_at, inputs.newest
        if self._begins():
            inputs.begin()
            self._forget_past()
        elif self.checks_period and self._seen_at - seen_at > GAP * self.period:
            self._forget_past()
        return False

    def _begins(self) -> bool:
        """Whether an episode begins: by its label, or in lockstep by a gap between stamps.

        No message is lost in lockstep, so that only a reset of the sim makes such a gap.
        """
        before, self._seen_stamp = self._seen_stamp, self.inputs.stamp
        if self.inputs.label.endswith(BEGINS):
            return True
        gap = abs(self._seen_stamp - before) * 1e-9 if before and self._seen_stamp else 0.0
        return not self.checks_period and gap > GAP * self.period

    def _forget_past(self) -> None:
        self.backend.policy.reset()
        self.inputs.forget_history()
        self._answered = ''
        if isinstance(self.backend, Neuromorphic):
            self.backend.forget()

    def warm_up(self) -> list[float] | None:
        """Compute the last action once more, to no effect, for the caches (warm_up.py).

        Returns:
            [outputs], what the command was; None if there is nothing to compute.
        """
        if not self.active or self.faulty or not isinstance(self.backend, Native):
            return None
        self.backend.policy.warm_up()
        return self.commands.numbers(self._action)

    def answered(self, message: Any) -> bool:
        """Take an answer of the neuromorphic node; whether it was waited for.

        Raises:
            UserError: it is no answer for this policy.
        """
        if not isinstance(self.backend, Neuromorphic):
            return False
        question = self.backend.answer(message, self._action)
        if question is None or not self.active:
            return False
        now = self._clock()
        acted = self.backend.policy
        fault = self._fault_by_now(now)
        self._finish(question.observation, question.label, acted, fault, now)
        return True

    def settle(self) -> bool:
        """If a question still waits for the neuromorphic node, answer it without.

        Returns:
            Whether one did.
        """
        backend = self.backend
        if not isinstance(backend, Neuromorphic) or backend.question is None:
            return False
        question, now, acted = backend.question, self._clock(), None
        fault = self._fault_by_now(now)
        try:
            acted = backend.give_up(self._action, now)
        except ObservationError as error:
            fault = fault or str(error)
        if self.active:
            self._finish(question.observation, question.label, acted, fault, now)
        return True

    def _fault_by_now(self, now: float) -> str:
        """Return why what was asked must not become a command, or ""."""
        # In lockstep the sim waits for it.
        stale = 'the neuromorphic node was asked about an observation that is stale by now'
        return self.fault(now) or (stale if now > self._expires and self.checks_period else '')

    def watch(self) -> None:
        """Check for faults that no callback detects, such as a source that does not publish."""
        now = self._clock()
        if self.active and not self.faulty:
            fault = self.fault(now)
            if fault:
                self._send_safe(fault, now)

    def repeat(self) -> None:
        """While a fault lasts and no message comes, send the safe command again."""
        now = self._clock()
        fault = self.fault(now) or self._lasting
        if not self.active or not fault:
            self.faulty = False
        elif now - self._sent_at > 0.9 * self.repeat_period:
            self._send_safe(fault, now)

    @property
    def repeat_period(self) -> float:
        """Seconds between two safe commands while a fault lasts."""
        return min(self.period, min(source.timeout for source in self.robot.sources))

    def stopped(self) -> None:
        """Send the safe command now: the topic stop is true."""
        if self.active:
            self._send_safe(self.stop.fault, self._clock())

    def arm(self) -> None:
        """Allow commands again after a stop, with a ramp.

        Raises:
            UserError: the topic stop is still true.
        """
        was_stopped = bool(self.stop.fault)
        now = self._clock()
        self.stop.arm(now)
        if was_stopped:
            self.gate.ramp()

    def fault(self, now: float) -> str:
        """Return why commands are forbidden, or ""."""
        if self.stop.heartbeat and self.active:
            self.stop.silent(now)
        return self.stop.fault or self.inputs.fault(now) or self.rivalry

    # ---- what is sent

    def _finish(
        self,
        observation: np.ndarray | None,
        label: str,
        acted: Policy | None,
        fault: str,
        now: float,
    ) -> None:
        """Send the action that was computed, or the safe command, and record it."""
        numbers = None
        if acted is not None and not fault:
            numbers = self.commands.numbers(self._action)
        sent, fault = self._send(numbers, fault, label, now)
        done = self._clock()
        if numbers is not None and not fault:
            self._answered = self._asked
            self._raw = self._action.tolist()
        self._note_sent(sent, fault)
        # A bad observation or command is no lasting fault of a source: it is kept here until the
        # next one.
        self._lasting = '' if fault and self.fault(now) else fault
        if fault or observation is None or acted is None or not len(sent):
            return
        statistics = self.statistics
        statistics.latencies.add(done - self.inputs.newest)
        if self.watches_wiring:
            action = None if self.shadows else self._sent
            self.wiring.add(observation, action, now, self.inputs.stamp * 1e-9)
        statistics.spikes += acted.spike_count
        statistics.operations += acted.synaptic_operations
        if self.on_action is not None:
            self.on_action(acted, label, observation, self._raw)

    def _send(
        self, numbers: list[float] | None, fault: str, label: str, now: float
    ) -> tuple[Sequence[float], str]:
        """Send what the gate allows, and count it.

        Returns:
            What was sent, [outputs] or empty, and what was wrong with the command.
        """
        self._measure()
        statistics = self.statistics
        sent, fault = self.gate.check(numbers, fault, now)
        lost = len(sent) > 0 and not self._goes_out(sent, label)
        if lost:
            sent = ()
        else:
            if self._sent_at and now - self._sent_at > LATE * self.period:
                statistics.missed += 1
            self._sent_at = now
        statistics.fault, statistics.out = fault, len(sent) > 0
        if fault:
            self.faulty = True
            statistics.last_fault = fault
            statistics.safe_commands += not lost
        return sent, fault

    def _goes_out(self, sent: Sequence[float], label: str, attempts: int = 1) -> bool:
        """Send a command of the gate's; whether it went out. The only place that sends.

        If not, the robot still has the command before it: the next one begins there.
        """
        if any(self._emit(sent, label) for _ in range(attempts)):
            return True
        self.gate.take_back()
        self.statistics.lost += 1
        return False

    def _send_safe(self, fault: str, now: float) -> None:
        """Send the safe command, not as an answer to an observation."""
        sent, _ = self._send(None, fault, UNASKED, now)
        if self.checks_period:  # in lockstep the sim makes no step of it
            self._note_sent(sent, fault)

    def _measure(self) -> None:
        if self._measures:
            self.gate.measure(self.inputs.measured())

    def _note_sent(self, sent: Sequence[float], fault: str) -> None:
        """Store what was sent; after a fault the next step is not one of the policy's."""
        if len(sent):
            self._sent = self.commands.action(sent)
        if fault:
            self.wiring.forget()
            self._search = None
            self._forget_past()

    def look(self) -> None:
        """Continue the search for wiring mistakes, for as long as the next command can wait.

        To be called after every answer, once the command has arrived: the search would take the
        processor from the subscriber that receives it.
        """
        if self._search is None:
            if not self.watches_wiring or not self.wiring.due():
                return
            self._search = self.wiring.search(self.checks_period)
        until = self._clock() + LOOKING * self.period
        try:
            while self._clock() < until:
                next(self._search)
        except StopIteration as end:
            self._search = None
            self.wiring.found = end.value
            self._require(end.value)

    def _require(self, found: Sequence[str]) -> None:
        """Stop if the first motion shows a mistake that a robot at rest did not."""
        if not self.requires_wiring or self.shadows or not self.active or self._verified:
            return
        # A busy computer's period is no mistake of wiring.
        wrong = [each for each in found if each != self.wiring.period_off]
        if wrong:
            self.stop.latch(f'wiring: {"; ".join(wrong)}; call ~/arm to continue')
        self._verified = self.wiring.judged and not wrong
