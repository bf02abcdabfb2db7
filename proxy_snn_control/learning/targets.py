# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Target actors: they give the actions for the critics' target, one step ahead.

A new target is one class, here or in a plugin: a function from observations to actions, which
learns from what the actor does (`imitation`, whose loss td3.py minimises) or follows its weights
(`follow`).
"""

from __future__ import annotations

import copy

from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.spiking.actor import Limits, ReLUActor, scale, SpikingActor
from proxy_snn_control.spiking.dense import ReLUNetwork
from proxy_snn_control.spiking.neurons import fused
from proxy_snn_control.spiking.norm import MovingStatistics
from proxy_snn_control.spiking.weights import Weights
import torch
from torch import Tensor

Actor = SpikingActor | ReLUActor


def average(target: Weights, online: Weights, tau: Tensor | float) -> None:
    """Polyak averaging of all weights: target = (1 - tau) * target + tau * online.

    `tau` is a number, or [rows, 1] with one for each row of weights.
    """
    with torch.no_grad():
        target.flat.lerp_(online.flat, tau)
    target.version += 1


class Target:
    """The interface of a target.

    Attributes:
        weights: its own.
        imitations: minibatches on which it imitates the actor before each critic update, K.
        statistics: of its currents, if it normalises any.
    """

    weights: Weights
    imitations = 0
    statistics: MovingStatistics | None = None

    def start(self, member: int, rng: torch.Generator) -> None:
        """Give a member its initial weights, if they are drawn."""

    def to(self, device: torch.device) -> None:
        """Move all tensors."""
        raise NotImplementedError

    def __call__(self, observation: Tensor) -> Tensor:
        """Compute actions [members, batch, actions] for [members, batch, observations]."""
        raise NotImplementedError

    def imitation(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """How far it is from the actor's `action`: a loss, and its gradient by the weights.

        Args:
            observation: [members, batch, observations].
            action: [members, batch, actions].

        Returns:
            [members] and [members, numbers].
        """
        raise NotImplementedError

    def follow(self, actor: Actor, tau: Tensor | float) -> None:
        """Follow the actor after one of its updates."""


class ProxyTarget(Target):
    """A smooth network that imitates the actor's output (Xu et al. 2025, Section 4.2).

    It starts at random, never copies the actor's weights and is never averaged. It reads raw
    observations, without the actor's tanh.
    """

    def __init__(self, actor: Actor, config: TrainConfig, products: str) -> None:
        assert config.proxy_hidden is not None
        sizes = [(s.observations, *config.proxy_hidden, len(s.low)) for s in actor.sizes]
        self.network = ReLUNetwork(sizes, products)
        self.weights = self.network.weights
        self.imitations = config.proxy_updates
        self._sizes, self._limits = actor.sizes, Limits(actor.sizes)
        self._actions = torch.tensor([float(len(s.low)) for s in actor.sizes])

    def start(self, member: int, rng: torch.Generator) -> None:
        """Give a member its initial weights."""
        self.network.start(member, rng)

    def to(self, device: torch.device) -> None:
        """Move all tensors."""
        self.weights.to(device)
        self._actions = self._actions.to(device)
        self._limits = Limits(self._sizes, device)

    def __call__(self, observation: Tensor) -> Tensor:
        """Compute actions [members, batch, actions] for [members, batch, observations]."""
        return self._limits.scale(torch.tanh(self.network(observation)))

    def imitation(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared distance from the actor's `action` (Eq. 9), and its gradient."""
        read_out, pullback = self.network.with_pullback(observation)
        loss, slope = _distance(
            read_out, action, self._limits.low, self._limits.half, self._actions
        )
        return loss, pullback(slope)


@fused
def _distance(
    read_out: Tensor, action: Tensor, low: Tensor, half: Tensor, actions: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean squared distance of tanh(read_out), scaled to the limits, and its gradient.

    Actions that are padding have no error, and `actions` [members] does not count them.
    """
    squashed = torch.tanh(read_out)
    error = scale(squashed, low, half) - action
    each = 1 / (actions * error.shape[1])
    loss = (error * error).sum((1, 2)) * each
    # d tanh(z) = 1 - tanh(z)^2, and the limits' half range stretches it.
    slope = error * (1 - squashed * squashed) * (2 * each[:, None, None] * half)
    return loss, slope


class SoftTarget(Target):
    """TD3's own: a copy of the actor that follows it by Polyak averaging of the weights."""

    def __init__(self, actor: Actor, config: TrainConfig, products: str) -> None:
        self.network = copy.deepcopy(actor)
        self.weights, self.statistics = self.network.weights, self.network.statistics

    def to(self, device: torch.device) -> None:
        """Move all tensors."""
        self.network.to(device)

    def __call__(self, observation: Tensor) -> Tensor:
        """Compute actions [members, batch, actions] for [members, batch, observations]."""
        return self.network(observation)

    def follow(self, actor: Actor, tau: Tensor | float) -> None:
        """Move towards the actor's weights; all the way with tau 1."""
        average(self.weights, actor.weights, tau)
        if self.statistics and actor.statistics:
            average(self.statistics.weights, actor.statistics.weights, tau)
