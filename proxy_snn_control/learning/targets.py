"""Target actors: what stands in for the actor when the critics look one step ahead.

A new target is one class here: a torch module that maps observations to actions and is shown the
actor's actions on every minibatch by `imitate`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.spiking.actor import SpikingActor


def relu_network(sizes: Sequence[int]) -> nn.Sequential:
    """Stack linear layers of these sizes with ReLU between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class ProxyTarget(nn.Module):
    """A smooth network that imitates the spiking actor's output (Xu et al. 2025, Section 4.2).

    It starts at random, never copies the actor's weights and is never averaged. It reads raw
    observations, without the actor's tanh.
    """

    low: Tensor
    high: Tensor

    def __init__(self, actor: SpikingActor, config: TrainConfig) -> None:
        super().__init__()
        sizes = (actor.observations, *config.proxy_hidden, len(actor.low))
        self.network = relu_network(sizes)
        self.register_buffer("low", actor.low.clone(), persistent=False)
        self.register_buffer("high", actor.high.clone(), persistent=False)
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
            self.parameters(), lr=config.proxy_learning_rate, fused=True
        )

    def forward(self, observation: Tensor) -> Tensor:
        """Compute actions [batch, actions] for observations [batch, observations]."""
        squashed = torch.tanh(self.network(observation))
        return self.low + (squashed + 1) * ((self.high - self.low) / 2)

    def imitate(self, observation: Tensor, action: Tensor) -> Tensor:
        """One Adam step towards the actor's `action` [batch, actions]; returns the loss (Eq. 9)."""
        loss = F.mse_loss(self(observation), action)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.detach()


TARGETS = {"proxy": ProxyTarget}
