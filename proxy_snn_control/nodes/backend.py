"""The controller's side of the neuromorphic node: what was asked, and whether it answers.

The controller never waits for longer than a deadline, and for a node that is not there not at all:
once an answer did not come in time, requests only sound out whether the node is back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from std_msgs.msg import UInt8MultiArray

from proxy_snn_control.neuromorphic.chip import NEURONS
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.nodes.spikes import labels_of, spikes_message, spikes_of
from proxy_snn_control.policy import PolicySpec, UserError
from proxy_snn_control.policy.file import Tensors


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


class Backend:
    """Asks the neuromorphic node for a policy's spikes.

    Attributes:
        policy: encodes and decodes, and has the spikes of the last answer.
        question: what waits for an answer, if anything does.
        lost: whether the last answer that was waited for did not come in time.
        late: how many answers came when nobody waited for them any more.
    """

    def __init__(self, spec: PolicySpec, tensors: Tensors, checksum: str) -> None:
        """Prepare to ask for a policy whose file has this SHA-256.

        Raises:
            UserError: its neurons have no model on the chip.
        """
        if spec.neuron not in NEURONS:
            raise UserError(
                f"parameter backend is 'lava', but the policy's neuron is {spec.neuron}, expected "
                f"{' or '.join(NEURONS)}"
            )
        self.policy = ChipPolicy(spec, tensors)
        self.question: Question | None = None
        self.lost, self.late = False, 0
        self._checksum, self._asked = checksum, 0

    def ask(self, observation: np.ndarray, label: str) -> UInt8MultiArray:
        """Make a request; if the node answers in time, `question` waits for it from now on.

        Raises:
            ObservationError: as `Policy.act`.
        """
        spikes = self.policy.ask(observation)
        self._asked += 1
        request = str(self._asked)
        self.question = None if self.lost else Question(observation.copy(), label, request)
        return spikes_message([spikes], request, self._checksum)

    def give_up(self) -> None:
        """Wait no longer for the answer, nor for the next ones until one has come."""
        self.question, self.lost = None, True

    def answer(self, message: UInt8MultiArray) -> np.ndarray | None:
        """Take an answer.

        Returns:
            The action, float32 [actions], or None if it answers nothing that waits.

        Raises:
            UserError: these are no spikes of this policy.
        """
        request, checksum = labels_of(message)
        if checksum != self._checksum:
            raise UserError(f"an answer is of policy {checksum[:12]!r}, not {self._checksum[:12]}")
        spec = self.policy.spec
        spikes = spikes_of(message, spec.time_steps, spec.layer_sizes[1:])
        self.lost = False
        if self.question is None or self.question.request != request:
            self.late += 1
            return None
        self.question = None
        return self.policy.answer(spikes)
