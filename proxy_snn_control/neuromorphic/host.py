"""The host beside the chip: observations to spikes, and spikes to actions.

A chip is given spikes and gives spikes. Around them, on the processor beside it, are the encoder,
whose receptive fields are exponentials, and the decoder, which counts spikes and ends in a tanh.
Both are the runtime's to the last bit: with the same spikes the actions are the same.
"""

from __future__ import annotations

import ctypes
from typing import Protocol

import numpy as np

from proxy_snn_control.policy import Policy, PolicySpec
from proxy_snn_control.policy.file import Tensors
from proxy_snn_control.policy.runtime import SpikingNetwork, limits_of, scale

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

    `potentials` stay on the chip and are all zeros here.
    """

    def __init__(self, spec: PolicySpec, tensors: Tensors, layers: Layers) -> None:
        """Build a policy on `layers`, which are those of `spec` and `tensors`.

        Args:
            spec: what the policy is.
            tensors: its weights, of which encoder and decoder are used.
            layers: what runs the layers in between.
        """
        super().__init__(spec, tensors, compiled=False)
        self._network = _Host(spec, tensors, layers)
        self._observation, self._action = self._network.observation, self._network.action
        self._layers = layers

    def close(self) -> None:
        """End what runs the layers; the policy cannot act any more."""
        self._layers.close()


class _Host(SpikingNetwork):
    """The NumPy runtime with another's layers."""

    def __init__(self, spec: PolicySpec, tensors: Tensors, layers: Layers) -> None:
        super().__init__(spec, tensors, limits_of(spec))
        self._elsewhere = layers

    def fire(self) -> None:
        """Have the layers answer the encoder's spikes."""
        answers = self._elsewhere.infer(self.spikes[0].astype(bool))
        for spikes, answer in zip(self.spikes[1:], answers, strict=True):
            spikes[:] = answer

    def decode(self) -> None:
        """Fill in the action from the last layer's spikes, added up as the compiled pass does."""
        weight, total = self._tensors["decoder.weight"], self._tensors["decoder.bias"]
        rate = np.add.reduce(self.spikes[-1], axis=0) / self._time_steps
        for weights, rates in zip(weight.T, rate.reshape(weight.shape).T, strict=True):
            total = total + weights * rates
        scale(np.array([_tanh(value) for value in total], np.float32), self._limits, self.action)
