# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What one inference costs: by the constants of a paper, and as NeuroBench counts.

Energy is that of Xu et al. 2025, Section 5.6: operations times a constant. A synaptic operation is
one spike reaching one synapse. The decoder is left out, as in the paper. What such a figure leaves
out is in `LEFT_OUT`. `Rapl` reads the energy counters of a processor that has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import itertools
import os
from pathlib import Path

import numpy as np

from .file import PolicySpec, Tensors
from .runtime import Policy

SAMPLES = 1000
LEFT_OUT = (
    "these figures count operations: memory traffic, static power, the encoder's and decoder's "
    "arithmetic and the neurons' updates are not in them"
)
POWERCAP = Path('/sys/class/powercap')


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
    """Count a policy's spikes and synaptic operations, as means over observations.

    Args:
        policy: it acts on each observation in turn.
        observations: one or more, each [observation_size] in the units of its task.

    Raises:
        ObservationError: an observation is not one for this policy.
    """
    counts, inferences = np.zeros(len(policy.spec.layer_sizes), np.int64), 0
    for observation in observations:
        policy.act(observation)
        counts += policy.spike_counts
        inferences += 1
    return activity_of(policy.spec, counts, inferences)


def activity_of(spec: PolicySpec, counts: np.ndarray, inferences: int) -> Activity:
    """Turn counts of spikes into means.

    Args:
        spec: what the policy is.
        counts: spikes of each layer from the encoder on, int64 [layers], over all inferences.
        inferences: how many those were, 1 or more.
    """
    means = counts / inferences
    sizes = np.array(spec.layer_sizes)
    return Activity(
        firing_rates=(means / (spec.time_steps * sizes)).tolist() if spec.spiking else [],
        spikes=float(means.sum()),
        synaptic_operations=float(means[:-1] @ sizes[1:]),
    )


@dataclass(frozen=True)
class NeuroBench:
    """NeuroBench's counts (Yik et al., Nature Communications 2025), means over some inferences.

    Attributes:
        activation_sparsity: the fraction of activations that are 0, over all time steps and all
            neurons, the encoder's among them; of a ReLU network over its hidden layers.
        effective_macs: multiplications of an activation with a weight, neither of which is 0; of a
            policy that spikes they are the decoder's.
        effective_acs: spikes that reach a weight that is not 0.
        dense: both, if no activation and no weight were 0.
        footprint: bytes of the parameters.
    """

    activation_sparsity: float
    effective_macs: float
    effective_acs: float
    dense: int
    footprint: int


def neurobench(policy: Policy, observations: Iterable[np.ndarray]) -> NeuroBench:
    """Count as NeuroBench does (Yik et al., Nature Communications 2025).

    Its own package, which needs torch, finds the same numbers: benchmarks/energy.py.

    Args:
        policy: it acts on each observation in turn.
        observations: one or more, each [observation_size] in the units of its task.

    Raises:
        ObservationError: an observation is not one for this policy.
    """
    spec, tensors = policy.spec, policy.tensors
    weights = [tensors[f'layers.{i}.weight'] for i in range(len(spec.hidden) + 1)]
    reached = [np.count_nonzero(weight, axis=0) for weight in weights]
    active = macs = acs = inferences = 0
    for observation in observations:
        policy.act(observation)
        inferences += 1
        if spec.spiking:
            counts = [layer.sum(axis=0) for layer in policy.spikes]
            active += sum(int(np.count_nonzero(layer)) for layer in policy.spikes)
            acs += sum(int(c @ r) for c, r in zip(counts, reached, strict=False))
            rates = counts[-1].reshape(tensors['decoder.weight'].shape)
            macs += int(np.count_nonzero(rates * tensors['decoder.weight']))
        else:
            signals = policy.activations
            active += sum(int(np.count_nonzero(signal)) for signal in signals[1:-1])
            macs += sum(
                int(r[signal != 0].sum()) for signal, r in zip(signals, reached, strict=False)
            )
    neurons = sum(spec.layer_sizes if spec.spiking else spec.hidden)
    dense = sum(weight.size for weight in weights)
    if spec.spiking:
        dense = spec.time_steps * dense + tensors['decoder.weight'].size
    return NeuroBench(
        activation_sparsity=1 - active / max(inferences * spec.time_steps * neurons, 1),
        effective_macs=macs / inferences,
        effective_acs=acs / inferences,
        dense=dense,
        footprint=footprint(tensors),
    )


def footprint(tensors: Tensors) -> int:
    """Bytes of the tensors that actions are computed with."""
    observed = 'observation.quantiles', 'transition.whitening'
    return sum(array.nbytes for name, array in tensors.items() if name not in observed)


def equivalent_footprint(spec: PolicySpec) -> int:
    """Bytes of the weights and biases of an ordinary network with the same hidden layers."""
    return 4 * (equivalent_multiply_accumulates(spec) + sum(spec.hidden) + spec.action_size)


class Rapl:
    """Energy counters of the processor (Intel's and AMD's RAPL, through Linux's powercap).

    They count the whole processor package, whatever runs on it. Mostly only root may read them.

    Attributes:
        packages: folders of the counters that can be read; empty where there are none.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        """Find the counters of all processor packages."""
        self.packages = []
        for zone in sorted(root.glob('intel-rapl:*')):
            if zone.name.count(':') == 1 and os.access(zone / 'energy_uj', os.R_OK):
                self.packages.append(zone)

    def read(self) -> list[int]:
        """Return the counters as they are, in microjoules."""
        return [int((zone / 'energy_uj').read_text()) for zone in self.packages]

    def joules(self, before: list[int], after: list[int]) -> float:
        """Joules between two readings, none of which may be more than one overflow apart."""
        total = 0
        for zone, begin, end in zip(self.packages, before, after, strict=True):
            limit = int((zone / 'max_energy_range_uj').read_text())
            total += end - begin if end >= begin else end - begin + limit
        return total / 1e6


def typical_observations(policy: Policy) -> np.ndarray:
    """Draw observations by the quantiles of training in the policy file.

    Each dimension has the distribution it had in training, but independently of the others.

    Returns:
        float64 [SAMPLES, observation_size], in the units of the task; always the same for a file.
    """
    rng = np.random.default_rng(0)
    levels, size = policy.spec.observation_quantile_levels, policy.spec.observation_size
    drawn = rng.uniform(levels[0], levels[-1], (SAMPLES, size))
    for i in range(size):
        drawn[:, i] = np.interp(drawn[:, i], levels, policy.quantiles[:, i])
    return drawn


def inference_energy(spec: PolicySpec, operations: float, costs: Costs = PAPER) -> float:
    """Energy in joules of one inference: operations times their cost (Xu et al., Section 5.6).

    Args:
        spec: what the policy is.
        operations: synaptic operations of the inference; not used for a policy that does not
            spike, whose multiply-accumulates are always the same.
        costs: energy of each operation.
    """
    return (
        operations * costs.synaptic_operation if spec.spiking else equivalent_energy(spec, costs)
    )


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
