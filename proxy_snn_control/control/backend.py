# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What computes the action: the runtime in this process, or the neuromorphic node, on request.

The controller never waits for that node for longer than a deadline, and for one that is not there
not at all: once an answer did not come in time, requests only sound out whether it is back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import os
from typing import Any

import numpy as np
from proxy_snn_control.control.spikes import labels_of, spikes_message, spikes_of
from proxy_snn_control.policy import ObservationError, Policy, PolicySpec, UserError
from proxy_snn_control.policy.file import Tensors

NO_ANSWER = 'the neuromorphic node does not answer'
# In seconds: a fallback that lasts longer is an error, and not a node that is being restarted.
PATIENCE = 5.0


class Native:
    """The runtime in this process."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def act(
        self, observation: np.ndarray, label: str, out: np.ndarray, now: float
    ) -> Policy | None:
        """Put the action for an observation in `out`, at once.

        Args:
            observation: [observations].
            label: the observation's.
            out: [actions].
            now: the time in seconds.

        Returns:
            The policy that acted; of another backend None if the answer is still to come.

        Raises:
            ObservationError: as `Policy.act`; of another backend also if there is no answer and
                no fallback.
        """
        self.policy.act(observation, out)
        return self.policy


@dataclass(frozen=True)
class Question:
    """What waits for an answer.

    Attributes:
        observation: [observations].
        label: the observation's, for the command.
        request: the request's label.
    """

    observation: np.ndarray
    label: str
    request: str


class Neuromorphic:
    """Requests a policy's spikes from the neuromorphic node; if it does not answer, falls back.

    Attributes:
        policy: encodes and decodes, and has the spikes of the last answer.
        question: what waits for an answer, if anything does.
        lost: whether the last answer that was waited for did not come in time.
        late: how many answers came after their deadline.
        fallbacks: how many actions were computed without the node.
    """

    def __init__(
        self,
        spec: PolicySpec,
        tensors: Tensors,
        checksum: str,
        fallback: Policy | None,
        send: Callable[[Any], object],
    ) -> None:
        """Prepare requests for a policy whose file has this SHA-256.

        Args:
            spec: of the policy.
            tensors: of the policy.
            checksum: of its file.
            fallback: acts if the node does not answer; None for no fallback.
            send: publishes a request.

        Raises:
            UserError: its neurons have no model on the chip.
        """
        from proxy_snn_control.neuromorphic.chip import NEURONS
        from proxy_snn_control.neuromorphic.host import ChipPolicy

        if spec.neuron not in NEURONS:
            raise UserError(
                f"parameter backend is 'lava', but the policy's neuron is {spec.neuron}, expected "
                f'{" or ".join(NEURONS)}'
            )
        self.policy = ChipPolicy(spec, tensors)
        self.question: Question | None = None
        self.lost, self.late, self.fallbacks = False, 0, 0
        # Others may ask the same node, and have asked: a controller before this one, of this name.
        self._name = os.urandom(4).hex()
        self._checksum, self._asked = checksum, 0
        self._fallback, self._send = fallback, send
        self._lost_since = 0.0

    def act(
        self, observation: np.ndarray, label: str, out: np.ndarray, now: float
    ) -> Policy | None:
        """Send a request to the node; do not wait for one that did not answer the last one."""
        spikes = self.policy.encode(observation)
        self._asked += 1
        request = f'{self._name} {self._asked}'
        self._send(spikes_message([spikes], request, self._checksum))
        if not self.lost:
            self.question = Question(observation.copy(), label, request)
            return None
        return self._fall_back(out)

    def give_up(self, out: np.ndarray, now: float) -> Policy:
        """Stop waiting for the answer, and for the next ones until one has come; fall back.

        Raises:
            ObservationError: there is no fallback.
        """
        assert self.question is not None
        self.question = None
        self.lost, self._lost_since = True, now
        return self._fall_back(out)

    def begin(self) -> None:
        """Begin or end to command: what was asked and not answered before does not matter."""
        self.forget()
        self.lost = False

    def forget(self) -> None:
        """Wait for nothing."""
        self.question = None

    def fault(self, now: float) -> str:
        """Return a fallback that lasts, or ""."""
        if not self.lost or now - self._lost_since < PATIENCE:
            return ''
        return (
            f'{NO_ANSWER} on neuromorphic/answer for {now - self._lost_since:.0f} s, '
            f'{self.fallbacks} commands without it; is it in this namespace?'
        )

    def answer(self, message: Any, out: np.ndarray) -> Question | None:
        """Take an answer; the action goes into `out`.

        Returns:
            What it answers, or None if nothing here waits for it.

        Raises:
            UserError: these are no spikes of this policy.
        """
        request, checksum = labels_of(message)
        if not request.startswith(f'{self._name} '):
            return None
        if checksum != self._checksum:
            raise UserError(f'an answer is of policy {checksum[:12]!r}, not {self._checksum[:12]}')
        spec = self.policy.spec
        spikes = spikes_of(message, spec.time_steps, spec.layer_sizes[1:])
        self.lost = False
        question = self.question
        if question is None or question.request != request:
            self.late += 1
            return None
        self.question = None
        out[:] = self.policy.decode(spikes)
        return question

    def _fall_back(self, out: np.ndarray) -> Policy:
        self.fallbacks += 1
        if self._fallback is None:
            raise ObservationError(NO_ANSWER)
        self._fallback.act_for(self.policy, out)  # the history of both is in `self.policy`
        return self._fallback
