"""Energy of one inference, by the constants of Xu et al. 2025, Section 5.6.

A synaptic operation is one spike reaching one synapse. The decoder is left out, as in the paper.
"""

from __future__ import annotations

import itertools

from .file import PolicySpec

JOULES_PER_SYNAPTIC_OPERATION = 77e-15
JOULES_PER_MULTIPLY_ACCUMULATE = 3.97e-12


def synaptic_energy(operations: float) -> float:
    """Energy in joules of that many synaptic operations on a neuromorphic chip."""
    return operations * JOULES_PER_SYNAPTIC_OPERATION


def inference_energy(spec: PolicySpec, operations: float) -> float:
    """Energy in joules of one inference of this policy that took so many synaptic operations.

    A policy that does not spike takes its multiply-accumulates instead, always the same.
    """
    return synaptic_energy(operations) if spec.spiking else equivalent_energy(spec)


def possible_synaptic_operations(spec: PolicySpec) -> int:
    """Synaptic operations of one inference if every neuron fired at every time step."""
    if not spec.spiking:
        return 0
    sizes = spec.layer_sizes
    return spec.time_steps * sum(a * b for a, b in itertools.pairwise(sizes))


def equivalent_multiply_accumulates(spec: PolicySpec) -> int:
    """Multiply-accumulates of an ordinary network with the same hidden layers."""
    sizes = (spec.observation_size, *spec.hidden, spec.action_size)
    return sum(a * b for a, b in itertools.pairwise(sizes))


def equivalent_energy(spec: PolicySpec) -> float:
    """Energy in joules of one inference of an ordinary network with the same hidden layers."""
    return equivalent_multiply_accumulates(spec) * JOULES_PER_MULTIPLY_ACCUMULATE
