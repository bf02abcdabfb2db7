# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The plain PyTorch idiom for the same method: what one would write from the paper, line by line.

A loop over the simulation steps with every layer inside it, autograd through a surrogate spike,
the two critics one after the other, the K labels one minibatch at a time. `training.py` measures
against it, and test/test_update.py holds the fast update to its numbers.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import nn, Tensor
import torch.nn.functional as F


class Fire(torch.autograd.Function):
    """Heaviside step; its gradient is the rectangle |V - threshold| <= 0.5 (Eq. 14)."""

    @staticmethod
    def forward(ctx, v: Tensor) -> Tensor:
        """Fire above 0.5."""
        ctx.save_for_backward(v)
        return (v > 0.5).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """Pass the gradient inside the window."""
        (v,) = ctx.saved_tensors
        return gradient * ((v - 0.5).abs() <= 0.5).float()


class EncoderFire(torch.autograd.Function):
    """Encoder spike; d spike / d potential is taken as 1 (Eq. 15)."""

    @staticmethod
    def forward(ctx, v: Tensor) -> Tensor:
        """Fire above 0.999."""
        return (v > 0.999).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        """Pass the gradient."""
        return gradient


class Actor(nn.Module):
    """The spiking actor of LIF neurons."""

    def __init__(self, observations: int, actions: int, hidden=(256, 256), steps: int = 5) -> None:
        super().__init__()
        self.steps, self.actions = steps, actions
        self.mu = nn.Parameter(torch.linspace(-1, 1, 10).repeat(observations, 1))
        self.sigma = nn.Parameter(torch.full((observations, 10), 0.05**0.5))
        sizes = (10 * observations, *hidden, 10 * actions)
        self.layers = nn.ModuleList(map(nn.Linear, sizes, sizes[1:]))
        self.decoder = nn.Conv1d(actions, actions, 10, groups=actions)

    def forward(self, s: Tensor) -> Tensor:
        """Return the action in (-1, 1)."""
        s = torch.tanh(s)[..., None]
        stimulation = torch.exp(-((s - self.mu) ** 2) / (2 * self.sigma**2)).flatten(1)
        encoder_v = torch.zeros_like(stimulation)
        v = [torch.zeros(len(s), layer.out_features) for layer in self.layers]
        o = [torch.zeros(len(s), layer.out_features) for layer in self.layers]
        counts = 0
        for _ in range(self.steps):
            encoder_v = encoder_v.detach() + stimulation
            spike = EncoderFire.apply(encoder_v)
            encoder_v = encoder_v - 0.999 * spike
            for i, layer in enumerate(self.layers):
                v[i] = 0.75 * v[i] * (1 - o[i]) + layer(spike)
                o[i] = spike = Fire.apply(v[i])
            counts = counts + spike
        rate = (counts / self.steps).unflatten(1, (self.actions, 10))
        return torch.tanh(self.decoder(rate)).squeeze(-1)


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Idiom:
    """Networks, optimisers and the update of Algorithm 3; actions are in [-1, 1]."""

    def __init__(self, observations: int, actions: int, *, lessons: int = 3, hidden=(256, 256),
                 proxy_hidden=(512, 512), critic_hidden=(256, 256), proxy_rate: float = 1e-3,
                 batch: int = 256, smoothing: float = 0.2) -> None:  # fmt: skip
        self.lessons, self.batch, self.smoothing = lessons, batch, smoothing
        self.actor = Actor(observations, actions, hidden)
        self.proxy = mlp(observations, *proxy_hidden, actions)
        self.q1 = mlp(observations + actions, *critic_hidden, 1)
        self.q2 = mlp(observations + actions, *critic_hidden, 1)
        self.soft_actor = copy.deepcopy(self.actor)
        self.soft_q1, self.soft_q2 = copy.deepcopy(self.q1), copy.deepcopy(self.q2)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), lr=3e-4)
        self.proxy_adam = torch.optim.Adam(self.proxy.parameters(), lr=proxy_rate)
        critics = [*self.q1.parameters(), *self.q2.parameters()]
        self.critic_adam = torch.optim.Adam(critics, lr=3e-4)
        self.updates = 0

    def update(self, sample) -> None:
        """One training step; `sample()` gives a minibatch. Without lessons the target is soft."""
        self.updates += 1
        for _ in range(self.lessons):
            s, a, r, next_s, terminal = sample()
            with torch.no_grad():
                answer = self.actor(s)
            loss = F.mse_loss(torch.tanh(self.proxy(s)), answer)
            self.proxy_adam.zero_grad()
            loss.backward()
            self.proxy_adam.step()
        if not self.lessons:
            s, a, r, next_s, terminal = sample()

        with torch.no_grad():
            noise = (torch.randn_like(a) * self.smoothing).clamp(-0.5, 0.5)
            following = torch.tanh(self.proxy(next_s)) if self.lessons else self.soft_actor(next_s)
            both = torch.cat((next_s, (following + noise).clamp(-1, 1)), 1)
            next_q = torch.min(self.soft_q1(both), self.soft_q2(both))
            goal = r + 0.99 * (1 - terminal) * next_q
        both = torch.cat((s, a), 1)
        loss = F.mse_loss(self.q1(both), goal) + F.mse_loss(self.q2(both), goal)
        self.critic_adam.zero_grad()
        loss.backward()
        self.critic_adam.step()

        if self.updates % 2 == 0:
            loss = -self.q1(torch.cat((s, self.actor(s)), 1)).mean()
            self.actor_adam.zero_grad()
            loss.backward()
            self.actor_adam.step()
            pairs = [(self.soft_q1, self.q1), (self.soft_q2, self.q2)]
            pairs += [] if self.lessons else [(self.soft_actor, self.actor)]
            with torch.no_grad():
                for soft, online in pairs:
                    for p, q in zip(soft.parameters(), online.parameters(), strict=True):
                        p.mul_(0.995).add_(0.005 * q)
