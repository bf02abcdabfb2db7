# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A policy in the fixed point of Loihi 2.

With S units of a neuron's state to 1, a weight w is a whole number of steps of 2^(7 + exponent)
units, threshold and biases are scaled by the same S, and nothing else changes: up to their
threshold LIF and CLIF neurons are linear. S and the exponent are each layer's own.

- The exponent is the largest with which no input can make a current wrap around: synaptic input
  fits into 16 bits and the current into 24 even if every axon brings a spike.
- The largest weights need not be representable: those beyond a limit are clipped to it, and all
  others are resolved more finely. Of a few limits the one is taken that leaves most spikes of
  recorded rollouts as they were.
- When a weight is rounded, the weights after it compensate the error, as far as their axons fire
  together in the recorded rollouts (Frantar et al., GPTQ, ICLR 2023, Eq. 2 and 3; there for
  activations, here for spikes).
- Biases are the weights of axons that are always on, as many as the largest bias needs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from proxy_snn_control.policy import Policy, PolicySpec, UserError
from proxy_snn_control.policy.file import Tensors

from .chip import (
    BIAS_EXPONENT,
    BIAS_MANTISSA,
    DECAY_BITS,
    FIXED_NEURONS,
    FixedNeurons,
    FixedSynapses,
    Layer,
    refuse_others,
    SHIFT,
    STATE_LIMIT,
    with_neurons_always_on,
)

LARGEST_WEIGHT = 127  # in steps: 8 bits, and the same on both sides of 0
INPUT_LIMIT = 1 << 15  # synaptic input has 16 bits with its sign
EXPONENTS = range(7, -9, -1)
LARGEST_THRESHOLD = (BIAS_MANTISSA << BIAS_EXPONENT >> SHIFT) - 1  # what is always on is above
MOST_ALWAYS_ON = 8
LIMITS = (1.0, 0.8, 0.6, 0.5, 0.4)  # of the largest weight
DAMPING = 0.01  # of the mean firing rate, so that axons that never fire have an inverse


def fixed_layers(
    spec: PolicySpec, tensors: Tensors, observations: Iterable[np.ndarray]
) -> list[Layer]:
    """Convert a policy's layers after the encoder to fixed point.

    Args:
        spec: what the policy is.
        tensors: its weights, by the names and shapes of `spec.tensor_shapes`.
        observations: of recorded rollouts, each [observation_size] in the units of the task; a
            thousand are enough.

    Raises:
        UserError: its neurons are neither LIF nor CLIF, or a layer's weights are too large for its
            threshold to be represented beside them.
    """
    refuse_others(spec, FIXED_NEURONS, 'fixed point')
    recorded = _spikes_of(Policy(spec, tensors), observations)
    layers = []
    for i in range(len(spec.hidden) + 1):
        weights = np.column_stack([tensors[f'layers.{i}.weight'], tensors[f'layers.{i}.bias']])
        before, after = recorded[i], recorded[i + 1]
        upper = _inverse_root(before)
        candidates = [_convert(spec, i, weights, upper, limit) for limit in LIMITS]
        lost = [np.count_nonzero(_replay(each, before) != after) for each in candidates]
        layers.append(candidates[int(np.argmin(lost))])
    return with_neurons_always_on(layers)


def _spikes_of(policy: Policy, observations: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Spikes of each layer from the encoder on, bool [T, observations, neurons]."""
    recorded: list[list[np.ndarray]] = [[] for _ in policy.spec.layer_sizes]
    for observation in observations:
        policy.act(observation)
        for layer, spikes in zip(recorded, policy.spikes, strict=True):
            layer.append(spikes.astype(bool))
    return [np.array(layer).transpose(1, 0, 2) for layer in recorded]


def _with_bias(spikes: np.ndarray, always_on: int) -> np.ndarray:
    return np.concatenate([spikes, np.ones((*spikes.shape[:-1], always_on), bool)], axis=-1)


def _inverse_root(spikes: np.ndarray) -> np.ndarray:
    """Return the upper Cholesky factor of the inverse of how often axons fire together, bias last.

    Its row i gives how the error of weight i, once those before it are rounded, changes each
    weight after it.
    """
    rows = _with_bias(spikes, 1).reshape(-1, spikes.shape[-1] + 1).astype(np.float64)
    together = rows.T @ rows / len(rows)
    together += np.eye(len(together)) * DAMPING * together.diagonal().mean()
    return np.linalg.cholesky(np.linalg.inv(together)).T


def _convert(
    spec: PolicySpec, index: int, weights: np.ndarray, upper: np.ndarray, limit: float
) -> Layer:
    """One layer, of weights [neurons, axons + 1], clipped at `limit` of the largest."""
    constants = {'current_decay': 0.0, **spec.neuron_constants}
    current_decay, voltage_decay, threshold = (
        constants[name] for name in ('current_decay', 'voltage_decay', 'threshold')
    )
    largest = max(
        limit * abs(weights[:, :-1]).max(),
        abs(weights[:, -1]).max() / (MOST_ALWAYS_ON - 1),  # rounding may make it larger
        threshold * LARGEST_WEIGHT * 2.0 ** (1 + EXPONENTS[-1]) / LARGEST_THRESHOLD,
    )
    step = largest / LARGEST_WEIGHT
    steps = _rounded(weights / step, upper)
    bias, parts = steps[:, -1], []
    for _ in range(max(1, int(np.ceil(abs(bias).max() / LARGEST_WEIGHT)))):
        parts.append(np.clip(bias, -LARGEST_WEIGHT, LARGEST_WEIGHT))
        bias = bias - parts[-1]
    whole = 2 * np.column_stack([steps[:, :-1], *parts]).astype(np.int32)

    most = int(abs(whole).sum(axis=1).max())
    memory = sum(current_decay**t for t in range(spec.time_steps))
    for exponent in EXPONENTS:
        units = 2.0 ** (1 + SHIFT + exponent) / step
        fits = most * 2.0**exponent < INPUT_LIMIT
        fits &= most * 2.0 ** (exponent + SHIFT) * memory < STATE_LIMIT
        whole_threshold = round(threshold * units / 2**SHIFT)
        if fits and whole_threshold <= LARGEST_THRESHOLD:
            break
    else:
        raise UserError(
            f'layer {index} of the policy has a weighted sum of up to {most * step / 2:.3g}, '
            'more than fixed point can hold'
        )
    if whole_threshold == 0:
        raise UserError(
            f'layer {index} of the policy has the threshold {threshold:.3g} and weights up to '
            f'{largest:.3g}, which fixed point cannot hold together'
        )
    one = 1 << DECAY_BITS
    return Layer(
        whole,
        neurons=len(whole),
        always_on=len(parts),
        # The chip's current decays by at least one of 4096, and not all of its voltage.
        decays=(min(round(current_decay * one), one - 1), max(round(voltage_decay * one), 1)),
        threshold=whole_threshold,
        exponent=exponent,
        fixed=True,
    )


def _rounded(weights: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Round weights [neurons, axons + 1], in steps; the bias, last, has no limit."""
    left, rounded = weights.astype(np.float64), np.empty_like(weights, np.float64)
    bias = weights.shape[1] - 1
    for i in range(bias + 1):
        rounded[:, i] = np.round(left[:, i])
        if i < bias:
            rounded[:, i].clip(-LARGEST_WEIGHT, LARGEST_WEIGHT, out=rounded[:, i])
        lost = (left[:, i] - rounded[:, i]) / upper[i, i]
        after = i + 1
        left[:, after:] -= np.outer(lost, upper[i, after:])
    return rounded


def _replay(layer: Layer, spikes: np.ndarray) -> np.ndarray:
    """Return a layer's spikes from those of the layer before, bool [T, observations, neurons]."""
    synapses = FixedSynapses(layer.weights, layer.exponent)
    neurons = FixedNeurons(layer.drive, layer.decays, layer.threshold)
    currents = synapses.gather(_with_bias(spikes, layer.always_on))
    return np.array([neurons.step(current) for current in currents])
