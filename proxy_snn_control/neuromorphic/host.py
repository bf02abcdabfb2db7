# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The host beside the chip: observations to spikes, and spikes to actions.

A chip receives spikes and sends spikes. The processor beside it computes the encoder, whose
receptive fields are exponentials, and the decoder, which counts spikes and ends in a tanh. Both
are the runtime's to the last bit: with the same spikes the actions are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
import ctypes
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from proxy_snn_control.policy import Policy, PolicySpec
from proxy_snn_control.policy.file import Tensors
from proxy_snn_control.policy.runtime import limits_of, scale, SpikingNetwork

# The compiled pass calls the C library's, to which NumPy's is not equal in the last places.
_tanh = ctypes.CDLL(None).tanhf
_tanh.argtypes, _tanh.restype = [ctypes.c_float], ctypes.c_float


class Layers(Protocol):
    """What runs a policy's layers after the encoder: `Chip`, or one of network.py's networks."""

    def infer(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Each layer's spikes, bool [T, neurons], of the encoder's, bool [T, neurons]."""

    def close(self) -> None:
        """End what runs."""


class ChipPolicy(Policy):
    """A policy whose layers run elsewhere than in this runtime; otherwise the same.

    `act` waits for them. A caller that must not wait calls `encode`, sends the spikes that it
    returns, and calls `decode` when the layers' spikes have arrived. `potentials` stay on the chip
    and are all zeros here.
    """

    def __init__(self, spec: PolicySpec, tensors: Tensors, layers: Layers | None = None) -> None:
        """Build a policy on `layers`, which are those of `spec` and `tensors`.

        Args:
            spec: what the policy is.
            tensors: its weights, of which encoder and decoder are used.
            layers: what runs the layers in between; None for `encode` and `decode` alone.
        """
        super().__init__(spec, tensors, compiled=False)
        self._use(_Host(spec, tensors, limits_of(spec)))
        self._layers = layers

    def act(self, observation: ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the action for one observation; arguments, result and errors as `Policy.act`.

        Raises:
            NetworkError: a process of the network has ended (processes.py).
        """
        assert self._layers, 'a policy without layers can only encode and decode'
        action = self.decode(self._layers.infer(self.encode(observation)))
        if out is None:
            return action
        out[...] = action
        return out

    def encode(self, observation: ArrayLike) -> np.ndarray:
        """Encode an observation [observation_size].

        Returns:
            The encoder's spikes, bool [T, neurons].

        Raises:
            ObservationError: as `Policy.act`.
        """
        self._run(observation)
        return self._network.spikes[0].astype(bool)

    def decode(self, spikes: Sequence[np.ndarray]) -> np.ndarray:
        """Compute the action from the layers' spikes for the observation of the last `encode`.

        Args:
            spikes: of each layer after the encoder, bool [T, neurons].

        Returns:
            The action, float32 [action_size], within [action_low, action_high].
        """
        self._network.answer(spikes)
        if self._input:
            self._input.acted(self._action)
        return self._action.copy()

    def close(self) -> None:
        """End what runs the layers; the policy cannot act any more."""
        if self._layers:
            self._layers.close()


class _Host(SpikingNetwork):
    """The NumPy runtime without what is done elsewhere: its `run` ends with the encoder."""

    def fire(self) -> None:
        """Done elsewhere."""

    def decode(self) -> None:
        """Not yet."""

    def answer(self, spikes: Sequence[np.ndarray]) -> None:
        """Take the layers' spikes and fill in the action, added up as the compiled pass does."""
        for kept, layer in zip(self.spikes[1:], spikes, strict=True):
            kept[:] = layer
        weight, total = self._tensors['decoder.weight'], self._tensors['decoder.bias']
        rate = np.add.reduce(self.spikes[-1], axis=0) / self._time_steps
        for weights, rates in zip(weight.T, rate.reshape(weight.shape).T, strict=True):
            total = total + weights * rates
        scale(np.array([_tanh(value) for value in total], np.float32), self._limits, self.action)
