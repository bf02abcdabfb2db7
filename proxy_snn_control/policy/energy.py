"""Energy of one inference, by the constants of Xu et al. 2025, Section 5.6.

A synaptic operation is one spike reaching one synapse. The decoder is left out, as in the paper.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .file import PolicySpec
from .runtime import Policy

SAMPLES = 1000


@dataclass(frozen=True)
class Costs:
    """Energy in joules of the operations of a neuromorphic chip and of an ordinary processor."""

    synaptic_operation: float = 77e-15
    multiply_accumulate: float = 3.97e-12


PAPER = Costs()


@dataclass(frozen=True)
class Activity:
    """Means over some inferences.

    Attributes:
        firing_rates: spikes per neuron and time step, for each layer from the encoder on.
        spikes: spikes per inference.
        synaptic_operations: synaptic operations per inference.
    """

    firing_rates: list[float]
    spikes: float
    synaptic_operations: float


def activity(policy: Policy, observations: Iterable[np.ndarray]) -> Activity:
    """Count what a policy does on observations, each [observation_size]."""
    counts, inferences = np.zeros(len(policy.spec.layer_sizes), np.int64), 0
    for observation in observations:
        policy.act(observation)
        counts += policy.spike_counts
        inferences += 1
    return activity_of(policy.spec, counts, inferences)


def activity_of(spec: PolicySpec, counts: np.ndarray, inferences: int) -> Activity:
    """Turn spikes per layer from the encoder on, over so many inferences, into means."""
    means = counts / inferences
    sizes = np.array(spec.layer_sizes)
    return Activity(
        firing_rates=(means / (spec.time_steps * sizes)).tolist() if spec.spiking else [],
        spikes=float(means.sum()),
        synaptic_operations=float(means[:-1] @ sizes[1:]),
    )


def typical_observations(policy: Policy) -> np.ndarray:
    """Draw observations [SAMPLES, observation_size] as training saw them, by the file's quantiles.

    Each dimension has the distribution it had in training, but independently of the others.
    """
    rng = np.random.default_rng(0)
    levels, size = policy.spec.observation_quantile_levels, policy.spec.observation_size
    drawn = rng.uniform(levels[0], levels[-1], (SAMPLES, size))
    for i in range(size):
        drawn[:, i] = np.interp(drawn[:, i], levels, policy.quantiles[:, i])
    return drawn


def inference_energy(spec: PolicySpec, operations: float, costs: Costs = PAPER) -> float:
    """Energy in joules of one inference of this policy that took so many synaptic operations.

    A policy that does not spike takes its multiply-accumulates instead, always the same.
    """
    return operations * costs.synaptic_operation if spec.spiking else equivalent_energy(spec, costs)


def possible_synaptic_operations(spec: PolicySpec) -> int:
    """Synaptic operations of one inference if every neuron fired at every time step."""
    if not spec.spiking:
        return 0
    sizes = spec.layer_sizes
    return spec.time_steps * sum(a * b for a, b in itertools.pairwise(sizes))


def equivalent_multiply_accumulates(spec: PolicySpec) -> int:
    """Multiply-accumulates of an ordinary network with the same hidden layers."""
    sizes = (spec.input_size, *spec.hidden, spec.action_size)
    return sum(a * b for a, b in itertools.pairwise(sizes))


def equivalent_energy(spec: PolicySpec, costs: Costs = PAPER) -> float:
    """Energy in joules of one inference of an ordinary network with the same hidden layers."""
    return equivalent_multiply_accumulates(spec) * costs.multiply_accumulate
