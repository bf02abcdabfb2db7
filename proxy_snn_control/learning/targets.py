"""Target actors: what stands in for the actor when the critics look one step ahead.

A new target is one class here: a torch module that maps observations to actions, and is shown what
the actor does (`imitate`) and what has become of it (`follow`).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.spiking.actor import ReLUActor, SpikingActor, scaled
from proxy_snn_control.spiking.dense import ReLUNetwork

Actor = SpikingActor | ReLUActor


def adam(parameters: Any, learning_rate: float) -> torch.optim.Adam:
    """Adam with its defaults, one operation for all parameters; on a GPU, one a graph can hold."""
    parameters = list(parameters)
    return torch.optim.Adam(
        parameters, lr=learning_rate, fused=True, capturable=parameters[0].is_cuda
    )


def average(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Polyak averaging of all parameters: target = (1 - tau) * target + tau * online."""
    with torch.no_grad():
        torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)


class Target(nn.Module):
    """What a target is asked for, besides the action.

    Attributes:
        lessons: minibatches on which it is shown the actor's actions before each critic update.
        optimiser: its own, if it has one.
    """

    lessons: int
    optimiser: torch.optim.Optimizer | None

    def imitate(self, observation: Tensor, action: Tensor) -> Tensor:
        """Learn from the actor's `action` [batch, actions]; returns the loss."""
        raise NotImplementedError

    def follow(self, actor: Actor) -> None:
        """See the actor after one of its updates."""


class ProxyTarget(Target):
    """A smooth network that imitates the actor's output (Xu et al. 2025, Section 4.2).

    It starts at random, never copies the actor's weights and is never averaged. It reads raw
    observations, without the actor's tanh.
    """

    low: Tensor
    high: Tensor

    def __init__(self, actor: Actor, config: TrainConfig) -> None:
        super().__init__()
        assert config.proxy_hidden is not None
        assert config.proxy_learning_rate is not None
        sizes = (actor.observations, *config.proxy_hidden, len(actor.low))
        self.network = ReLUNetwork(*sizes, products=actor.products)
        self.register_buffer("low", actor.low.clone(), persistent=False)
        self.register_buffer("high", actor.high.clone(), persistent=False)
        self.to(actor.low.device)
        self.lessons = config.proxy_updates
        self.optimiser = adam(self.parameters(), config.proxy_learning_rate)

    def forward(self, observation: Tensor) -> Tensor:
        """Compute actions [batch, actions] for observations [batch, observations]."""
        return scaled(torch.tanh(self.network(observation)), self.low, self.high)

    def imitate(self, observation: Tensor, action: Tensor) -> Tensor:
        """One Adam step towards the actor's `action` [batch, actions]; returns the loss (Eq. 9)."""
        assert self.optimiser is not None
        read_out, passed = self.network.run(observation)
        squashed = torch.tanh(read_out)
        error = scaled(squashed, self.low, self.high) - action
        # The derivatives of the mean square, of the scaling and of tanh, by hand: autograd takes as
        # long as one of the three large products.
        slope = (self.high - self.low) / error.numel()
        self.network.pull(passed, error * slope * (1 - squashed * squashed))
        self.optimiser.step()
        return (error * error).mean()


class SoftTarget(Target):
    """TD3's own: a copy of the actor that follows it by Polyak averaging of the weights."""

    lessons = 0

    def __init__(self, actor: Actor, config: TrainConfig) -> None:
        super().__init__()
        self.network = copy.deepcopy(actor).requires_grad_(False)
        self.tau = config.tau
        self.optimiser = None

    def forward(self, observation: Tensor) -> Tensor:
        """Compute actions [batch, actions] for observations [batch, observations]."""
        action: Tensor = self.network(observation)
        return action

    def follow(self, actor: Actor) -> None:
        """Move towards the actor's weights."""
        average(self.network, actor, self.tau)


TARGETS: dict[str, Any] = {"proxy": ProxyTarget, "soft": SoftTarget}
