"""TD3 with a proxy target: Algorithm 3 of Xu et al. 2025 (arXiv 2505.24161v2), whole.

TD3 itself is Fujimoto, van Hoof and Meger, "Addressing Function Approximation Error in Actor-Critic
Methods", ICML 2018.
"""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch
from torch import Tensor, nn

from proxy_snn_control.learning.config import TrainConfig, one_of
from proxy_snn_control.learning.graph import Recorded
from proxy_snn_control.learning.precision import resolve
from proxy_snn_control.learning.replay import Batch, Replay
from proxy_snn_control.learning.targets import TARGETS, Actor, Target, adam, average
from proxy_snn_control.spiking.actor import SpikingActor
from proxy_snn_control.spiking.dense import ReLUNetwork


class TwinCritic(nn.Module):
    """Two Q functions of raw observation and action, each a ReLU network of its own."""

    def __init__(
        self,
        observations: int,
        actions: int,
        hidden: tuple[int, ...],
        products: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = (observations + actions, *hidden, 1)
        self.networks = ReLUNetwork(*sizes, networks=2, products=products)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Compute both Q values, [2, batch, 1]."""
        both: Tensor = self.networks(torch.cat((observation, action), dim=1))
        return both

    def q1(self, observation: Tensor, action: Tensor) -> Tensor:
        """Compute the first Q value alone, [batch, 1], for an actor to climb: no weight learns."""
        return self.networks.first(torch.cat((observation, action), dim=1))


class TD3:
    """The networks, their optimisers and one update of them all."""

    def __init__(self, actor: Actor, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.precision = resolve(config.precision, device)
        one_of("target", config.target, TARGETS)
        self.actor = actor.to(device)
        self.actor.products = kind = torch.bfloat16 if self.precision == "bfloat16" else None
        self.target: Target = TARGETS[config.target](actor, config)
        self.critic = TwinCritic(actor.observations, len(actor.low), config.critic_hidden, kind)
        self.critic.to(device)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.actor_optimiser = adam(actor.parameters(), config.actor_learning_rate)
        self.critic_optimiser = adam(self.critic.parameters(), config.critic_learning_rate)
        decoder = list(actor.decoder.parameters()) if isinstance(actor, SpikingActor) else []
        self._undecoded = len(list(actor.parameters())) - len(decoder)
        self.updates = 0
        # An update of the critics alone, and one of the actor too.
        kinds = [functools.partial(self._learn, due) for due in (False, True)]
        self._kinds = [Recorded(kind) if device.type == "cuda" else kind for kind in kinds]

    def compile(self) -> None:
        """Have the actor's passes compiled now rather than within the first update."""
        state = torch.get_rng_state()
        self.actor(torch.zeros(1, self.actor.observations, device=self.device)).sum().backward()
        self.actor.zero_grad()
        torch.set_rng_state(state)

    def update(self, replay: Replay, rng: np.random.Generator) -> dict[str, Tensor]:
        """One training step; returns what it measured, still on the device.

        These are `critic_loss` and, each if it was updated, `proxy_loss`, `actor_loss` and
        `actor_gradient_norm`.
        """
        self.updates += 1
        drawn = max(1, self.target.lessons) * self.config.batch_size
        batches = replay.sample(drawn, rng, self.device)
        return self._kinds[self.updates % self.config.policy_delay == 0](*batches)

    @property
    def activity_names(self) -> list[str]:
        """Names of what `activity` tells: layer 0 is the encoder."""
        if not isinstance(self.actor, SpikingActor):
            return []
        layers = range(len(self.actor.layers) + 1)
        rates = [f"firing_rate_{i}" for i in layers]
        return rates + [f"inside_window_{i}" for i in layers[1:]]

    def activity(self, replay: Replay) -> dict[str, float]:
        """Firing rate per layer and fraction of potentials inside the surrogate window.

        Measured on one minibatch spread evenly over the replay buffer.
        """
        if not isinstance(self.actor, SpikingActor):
            return {}
        rows = np.linspace(0, len(replay) - 1, self.config.batch_size).astype(np.int64)
        with torch.no_grad():
            observation = torch.from_numpy(replay.observations()[rows]).to(self.device)
            _, spikes, potentials = self.actor.trace(observation)
        fractions = [float(layer.mean()) for layer in spikes]
        threshold, window = self.actor.about.threshold, self.config.surrogate_window
        for potential in potentials:
            inside = (potential - threshold).abs() <= window
            fractions.append(float(inside.float().mean()))
        return dict(zip(self.activity_names, fractions, strict=True))

    def _learn(self, actor_is_due: bool, *minibatches: Tensor) -> dict[str, Tensor]:
        drawn = Batch(*minibatches)
        c, low, high = self.config, self.actor.low, self.actor.high
        limit, n = (high - low) / 2, c.batch_size
        s, a, reward, next_s, terminal = (part[-n:] for part in drawn)
        measured = {}

        # 1. The proxy imitates the actor, on one fresh minibatch after the other. The actor does
        #    not change meanwhile, so its answers are computed at once; those on the last minibatch
        #    keep their graph, for the actor climbs on the same answers in 3.
        if self.target.lessons:
            with torch.no_grad():
                others = [self.actor(drawn.observation[:-n])] if len(drawn.observation) > n else []
            with torch.set_grad_enabled(actor_is_due):
                own = self.actor(s)
            answers = torch.cat((*others, own.detach()))
            for state, answer in zip(drawn.observation.split(n), answers.split(n), strict=True):
                measured["proxy_loss"] = self.target.imitate(state, answer)
        elif actor_is_due:
            own = self.actor(s)

        # 2. The critics learn from the target's smoothed action and the lower of two target Qs.
        with torch.no_grad():
            noise = torch.randn_like(a) * c.target_noise
            noise = noise.clamp(-c.target_noise_clip, c.target_noise_clip) * limit
            next_a = torch.clamp(self.target(next_s) + noise, low, high)
            next_q = self.target_critic(next_s, next_a).amin(dim=0)
            goal = reward + c.discount * (1 - terminal) * next_q
            q, passed = self.critic.networks.run(torch.cat((s, a), dim=1))
            error = q - goal
            measured["critic_loss"] = (error * error).sum() / n  # the sum of both critics' means
            self.critic.networks.pull(passed, error * (2 / n))
        self.critic_optimiser.step()

        # 3. Every d-th time the actor climbs Q1 through the surrogate gradient, and the targets
        #    follow by Polyak averaging.
        if actor_is_due:
            actor_loss = -self.critic.q1(s, own).mean()
            parameters = list(self.actor.parameters())
            self.actor_optimiser.zero_grad()
            actor_loss.backward(inputs=parameters)
            self.actor_optimiser.step()
            # The decoder's own gradient needs no surrogate and would hide that the rest has died.
            gradients = [p.grad for p in parameters[: self._undecoded] if p.grad is not None]
            norms = torch._foreach_norm(gradients)
            measured["actor_loss"] = actor_loss.detach()
            measured["actor_gradient_norm"] = torch.linalg.vector_norm(torch.stack(norms))
            average(self.target_critic, self.critic, c.tau)
            self.target.follow(self.actor)
        return measured
