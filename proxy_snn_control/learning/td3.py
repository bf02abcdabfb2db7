"""TD3 with a proxy target: Algorithm 3 of Xu et al. 2025 (arXiv 2505.24161v2), whole.

TD3 itself is Fujimoto, van Hoof and Meger, "Addressing Function Approximation Error in Actor-Critic
Methods", ICML 2018.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from proxy_snn_control.learning.config import TrainConfig, one_of
from proxy_snn_control.learning.replay import Replay
from proxy_snn_control.learning.targets import TARGETS, relu_network
from proxy_snn_control.spiking.actor import SpikingActor


class Critic(nn.Module):
    """Two Q functions of raw observation and action; each is a ReLU network of its own."""

    def __init__(self, observations: int, actions: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.q1 = relu_network((observations + actions, *hidden, 1))
        self.q2 = relu_network((observations + actions, *hidden, 1))

    def forward(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both Q values, each [batch, 1]."""
        both = torch.cat((observation, action), dim=1)
        return self.q1(both), self.q2(both)


class TD3:
    """The networks, their optimisers and one update of them all."""

    def __init__(self, actor: SpikingActor, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.actor = actor
        one_of("target", config.target, TARGETS)
        self.target = TARGETS[config.target](actor, config)
        self.critic = Critic(actor.observations, len(actor.low), config.critic_hidden)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        for network in (self.actor, self.target, self.critic, self.target_critic):
            network.to(device)
        self.actor_optimiser = torch.optim.Adam(
            actor.parameters(), lr=config.actor_learning_rate, fused=True
        )
        self.critic_optimiser = torch.optim.Adam(
            self.critic.parameters(), lr=config.critic_learning_rate, fused=True
        )
        self.updates = 0

    def update(self, replay: Replay, rng: np.random.Generator) -> dict[str, Tensor]:
        """One training step; returns the losses of what it updated, still on the device."""
        c, low, high = self.config, self.actor.low, self.actor.high
        limit = (high - low) / 2
        self.updates += 1

        # 1. The proxy imitates the actor, K times on fresh minibatches. The actor does not change
        #    meanwhile, so its K answers are computed at once.
        batches = replay.sample(c.proxy_updates * c.batch_size, rng, self.device)
        with torch.no_grad():
            answers = self.actor(batches.observation)
        for observation, action in zip(
            batches.observation.split(c.batch_size), answers.split(c.batch_size), strict=True
        ):
            losses = {"proxy_loss": self.target.imitate(observation, action)}

        # 2. The critics learn from the proxy's smoothed action and the lower of two target Qs.
        s, a, reward, next_s, terminal = (part[-c.batch_size :] for part in batches)
        with torch.no_grad():
            noise = torch.randn_like(a) * c.target_noise
            noise = noise.clamp(-c.target_noise_clip, c.target_noise_clip) * limit
            next_a = torch.clamp(self.target(next_s) + noise, low, high)
            next_q = torch.min(*self.target_critic(next_s, next_a))
            goal = reward + c.discount * (1 - terminal) * next_q
        q1, q2 = self.critic(s, a)
        critic_loss = F.mse_loss(q1, goal) + F.mse_loss(q2, goal)
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        self.critic_optimiser.step()
        losses["critic_loss"] = critic_loss.detach()

        # 3. Every d-th time the actor climbs Q1 through the surrogate gradient, and the target
        #    critics follow by Polyak averaging.
        if self.updates % c.policy_delay == 0:
            actor_loss = -self.critic.q1(torch.cat((s, self.actor(s)), dim=1)).mean()
            self.actor_optimiser.zero_grad()
            actor_loss.backward(inputs=list(self.actor.parameters()))
            self.actor_optimiser.step()
            losses["actor_loss"] = actor_loss.detach()
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.target_critic.parameters()), list(self.critic.parameters()), c.tau
                )
        return losses
