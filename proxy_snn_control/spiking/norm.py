# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""CaRe-BN: batch normalisation of an actor's currents, folded away wherever it acts.

Xu et al., "Precise Moving Statistics for Stabilizing Spiking Neural Networks in Reinforcement
Learning", ICLR 2026 (arXiv 2509.23791). The input current x of a layer becomes

    y = gamma * (x - mean) / sqrt(variance + 1e-5) + beta

In the actor's update mean and variance are those of the minibatch and all simulation steps, and
they are part of the gradient. Everywhere else they are moving statistics, which `fold` puts into
the layer's weights and biases: that ordinary layer acts, is imitated, evaluated and exported. A
normalised layer's own bias would be subtracted with the mean: it stays 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from proxy_snn_control.spiking.dense import EPSILON
from proxy_snn_control.spiking.weights import Layout, Weights
import torch
from torch import Tensor

MOMENTUM = 0.2  # of the variance that a moving statistic's own error is taken to have
# Parameter updates between two computations of the moving statistics from the replay buffer, and
# the minibatches that each is from.
RECALIBRATE_EVERY, RECALIBRATE_FROM = 5_000, 100
KINDS = ('mean', 'variance')


class Moments(NamedTuple):
    """Of one layer's currents over a minibatch: [members, neurons] each, and of how many rows."""

    mean: Tensor
    variance: Tensor
    rows: int


def layout(widths: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Name the learnt parameters of normalised layers of these widths, for weights.py."""
    return {f'norm.{i}.{kind}': (n,) for i, n in enumerate(widths) for kind in ('gamma', 'beta')}


def normalise(
    rows: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor
) -> tuple[Tensor, Tensor, Moments]:
    """Fold the statistics that a layer's currents have over `rows` into a weight and a bias.

    Args:
        rows: [members, rows, inputs], what the layer reads.
        weight: [members, outputs, inputs].
        gamma: [members, outputs].
        beta: [members, outputs].

    Returns:
        weight and bias to go on with, differentiable by everything above, and the statistics.
    """
    current = rows @ weight.mT
    variance, mean = torch.var_mean(current, dim=1, correction=0)
    moments = Moments(mean.detach(), variance.detach(), rows.shape[1])
    return *_folded(weight, gamma, beta, mean, variance), moments


def _folded(
    weight: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    scale = gamma / torch.sqrt(variance + EPSILON)
    return weight * scale[..., None], beta - scale * mean


class MovingStatistics:
    """Mean and variance of each normalised layer's currents, for every member.

    Attributes:
        weights: by name, "norm.I.mean", "norm.I.variance" and for each the mean square of its last
            corrections, "norm.I.mean_error" and "norm.I.variance_error".
    """

    def __init__(self, widths: Sequence[Sequence[int]]) -> None:
        """Begin with mean 0 and variance 1; `widths` gives each member's normalised layers."""
        layouts: list[Layout] = [
            {
                f'norm.{i}.{kind}{what}': (n,)
                for i, n in enumerate(own)
                for kind in KINDS
                for what in ('', '_error')
            }
            for own in widths
        ]
        self.weights, self.depth = Weights(layouts), len(widths[0])
        for i in range(self.depth):
            self._named()[f'norm.{i}.variance'].fill_(1)

    def _named(self) -> dict[str, Tensor]:
        return self.weights.named(self.weights.flat)

    def fold(self, named: dict[str, Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Weight and bias of each normalised layer as they act; `named` has what is learnt."""
        statistics = self._named()
        for i in range(self.depth):
            yield _folded(
                named[f'layers.{i}.weight'],
                *(named[f'norm.{i}.{kind}'] for kind in ('gamma', 'beta')),
                *(statistics[f'norm.{i}.{kind}'] for kind in KINDS),
            )

    @torch.no_grad()
    def follow(self, layers: Sequence[Moments]) -> None:
        """Correct the statistics by those of a minibatch, each with a Kalman filter's gain.

        With the correction d = batch - moving and its moving mean square p, and with the variance
        v of the minibatch's own statistic, the gain is p / (p + v) (Xu et al., ICLR 2026).
        """
        statistics = self._named()
        for i, (mean, variance, rows) in enumerate(layers):
            noise = variance / (rows - 1), 2 * variance**2 / (rows - 1)
            for kind, found, v in zip(KINDS, (mean, variance), noise, strict=True):
                moving, error = (statistics[f'norm.{i}.{kind}{w}'] for w in ('', '_error'))
                correction = found - moving
                error.lerp_(correction**2, MOMENTUM)
                gain = error / (error + v + torch.finfo(error.dtype).tiny)
                moving += gain * correction
        self.weights.version += 1

    @torch.no_grad()
    def recalibrate(self, minibatches: Sequence[Sequence[Moments]]) -> None:
        """Take the statistics of all minibatches together, which are equally large."""
        statistics = self._named()
        for i, of_layer in enumerate(zip(*minibatches, strict=True)):
            means = torch.stack([each.mean for each in of_layer])
            spread, mean = torch.var_mean(means, dim=0, correction=0)
            statistics[f'norm.{i}.mean'].copy_(mean)
            within = torch.stack([each.variance for each in of_layer]).mean(0)
            statistics[f'norm.{i}.variance'].copy_(within + spread)
        self.weights.version += 1
