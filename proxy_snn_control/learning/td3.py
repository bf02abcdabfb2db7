# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""TD3 with a proxy target: Algorithm 3 of Xu et al. 2025 (arXiv 2505.24161v2), whole.

TD3 itself is Fujimoto, van Hoof and Meger, "Addressing Function Approximation Error in
Actor-Critic Methods", ICML 2018.

Everything has a leading axis of members, each a learner of its own: with its weights, moments,
transitions and random numbers, and if need be with rates, noise and a task of its own. What is
summed over members is only ever a loss, of which each member's weights get their own gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import copy
import functools

import numpy as np
from proxy_snn_control.learning import draws
from proxy_snn_control.learning.adam import Adam
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.critics import Critics, make_critics
from proxy_snn_control.learning.graph import Recorded
from proxy_snn_control.learning.hardware import staging
from proxy_snn_control.learning.normaliser import Normaliser
from proxy_snn_control.learning.replay import Batch, Replay
from proxy_snn_control.learning.targets import Actor, average, Target
from proxy_snn_control.policy.plugins import NEURONS, TARGETS
from proxy_snn_control.spiking import norm
from proxy_snn_control.spiking.actor import ReLUActor, Sizes, SpikingActor
from proxy_snn_control.spiking.norm import MovingStatistics
from proxy_snn_control.spiking.weights import Weights
import torch
from torch import Tensor

MEASURED = ('critic_loss', 'actor_loss', 'proxy_loss', 'actor_gradient_norm')


class TD3:
    """The networks of all members, their optimisers and one update of them all.

    Attributes:
        updates: how many were made.
        acted: how often `act` was called.
        sums: [members] for each name in `MEASURED`, what was measured since `take_sums`.
        gradient_norm: [members], of the last actor update.
    """

    def __init__(
        self,
        configs: Sequence[TrainConfig],
        sizes: Sequence[Sizes],
        replay: Replay,
        device: torch.device,
        normaliser: Normaliser | None = None,
    ) -> None:
        """Draw each member's initial weights by its seed.

        The members' settings may differ in seed, task, rates, noise, discount and tau; what else
        they set is taken from the first.
        """
        self.config, self.replay, self.device = configs[0], replay, device
        self._normaliser = normaliser
        products = self.config.precision
        self.actor = make_actor(configs, sizes, products)
        self.target: Target = TARGETS[self.config.target](self.actor, self.config, products)
        self.critic = make_critics(self.config, sizes, products)
        for member, config in enumerate(configs):
            rng = torch.Generator().manual_seed(config.seed)
            self.actor.start(member, rng)
            self.target.start(member, rng)
            self.critic.start(2 * member, rng)
            self.critic.start(2 * member + 1, rng)
        self.target.follow(self.actor, 1.0)
        self.actor.to(device)
        self.target.to(device)
        self.critic.weights.to(device)
        self.target_critic = copy.deepcopy(self.critic)
        for learnt in (self.actor, self.target, self.critic):
            learnt.weights.flat.requires_grad_()
        self.actor_adam = Adam(self.actor.weights, [c.actor_learning_rate for c in configs])
        rates = [c.critic_learning_rate for c in configs for _ in range(2)]
        self.critic_adam = Adam(self.critic.weights, rates)
        rates = [c.proxy_learning_rate or 0.0 for c in configs]
        self.target_adam = Adam(self.target.weights, rates) if self.target.imitations else None

        def own(name: str) -> Tensor:
            values = [float(getattr(config, name)) for config in configs]
            return torch.tensor(values, device=device)[:, None, None]

        self.discount, self.exploration = own('discount'), own('exploration_noise')
        self.noise, self.noise_clip = own('target_noise'), own('target_noise_clip')
        self.tau = own('tau')[:, 0]
        costs = own('spike_cost')[:, 0, 0]
        self.spike_cost = costs if any(config.spike_cost for config in configs) else None
        self.tau_of_critics = self.tau.repeat_interleave(2, 0)

        def stream(purpose: int, n: int, kind: Callable[[Tensor], Tensor]) -> draws.Stream:
            place = _places(n, [len(each.low) for each in sizes], device)
            return draws.Stream([config.seed for config in configs], purpose, place, kind)

        n, acting = self.config.batch_size, self.config.num_envs
        self.smoothing = stream(draws.SMOOTHING, n, draws.normal)
        self.exploring = stream(draws.EXPLORATION, acting, draws.normal)
        self.at_random = stream(draws.RANDOM_ACTIONS, acting, draws.uniform)
        # The decoder's own gradient needs no surrogate and would hide that the rest is zero.
        decoder = 2 if isinstance(self.actor, SpikingActor) else 0
        sizes_of_parts = self.actor.weights.sizes
        self._undecoded = sum(sizes_of_parts[: len(sizes_of_parts) - decoder])
        self.updates = self.acted = 0
        # The same numbers on the device, for what is recorded.
        self._clock = torch.zeros(2, dtype=torch.int64, device=device)
        self._updates, self._acted = self._clock.unbind()
        shape = len(configs), len(MEASURED) + 1
        self._watched = torch.zeros(shape, dtype=torch.float64, device=device)
        *sums, self.gradient_norm = self._watched.unbind(1)
        self.sums = dict(zip(MEASURED, sums, strict=True))
        self.gradient_norm.fill_(1)
        seen = len(configs), self.config.num_envs, replay.widths[0]
        self._staging, self._seen = staging(*seen, device=device), torch.zeros(seen, device=device)
        # An update of the critics alone, and one of the actor too.
        kinds = [functools.partial(self._learn, due) for due in (False, True)]
        self._learn_kinds = [Recorded(kind, device) for kind in kinds]
        self._act_kinds = [Recorded(kind, device) for kind in (self._explore, self._act_at_random)]

    def compile_passes(self) -> None:
        """Have the actor's passes compiled now rather than within the first update.

        Those of a GPU are compiled for each shape, as it is met.
        """
        if self.device.type != 'cpu':
            return
        width = self.replay.widths[0]
        nothing = torch.zeros(len(self.actor.sizes), 1, width, device=self.device)
        gradient(self.actor(nothing).sum((1, 2)), self.actor.weights.flat)

    def update(self) -> None:
        """One training step of every member; nothing of it is waited for."""
        self.updates += 1
        self._learn_kinds[self.updates % self.config.policy_delay == 0]()
        if self.actor.statistics and self.updates % norm.RECALIBRATE_EVERY == 0:
            self._recalibrate(self.actor.statistics)

    @torch.no_grad()
    def _recalibrate(self, statistics: MovingStatistics) -> None:
        found = []
        for i in range(norm.RECALIBRATE_FROM):
            # Below 0, where no update's counter is.
            before = -(self.updates * norm.RECALIBRATE_FROM + i)
            counter = torch.tensor(before, device=self.device)
            drawn = self._sample(counter, self.config.batch_size)
            found.append(self.actor.learn(drawn.observation, False).moments)
        statistics.recalibrate(found)

    def _learn(self, actor_is_due: bool) -> None:
        n, limits = self.config.batch_size, self.actor.limits
        self._updates += 1
        drawn = self._sample(self._updates, max(1, self.target.imitations) * n)
        s, a, reward, next_s, terminal = (part[:, -n:] for part in drawn)

        # 1. The proxy imitates the actor, on one fresh minibatch after the other. The actor does
        #    not change meanwhile, so its actions are computed at once; those on the last minibatch
        #    keep their graph, as step 3 differentiates them. With normalisation they are not the
        #    same: step 3 takes the minibatch's statistics, the imitation the moving ones.
        if actor_is_due:
            own, operations, moments = self.actor.learn(s, self.spike_cost is not None)
            if self.actor.statistics:
                self.actor.statistics.follow(moments)
        shared = actor_is_due and not self.actor.statistics
        if self.target_adam:
            with torch.no_grad():
                earlier = drawn.observation[:, : -n if shared else None]
                actions = self.actor(earlier) if earlier.numel() else drawn.action[:, :0]
            if shared:
                actions = torch.cat((actions, own.detach()), dim=1)
            states = drawn.observation.split(n, dim=1)
            for state, action in zip(states, actions.split(n, dim=1), strict=True):
                proxy_loss, slope = self.target.imitation(state, action)
                self.target_adam.step(slope)
            self.sums['proxy_loss'] += proxy_loss

        # 2. The critics learn from the target's smoothed action and the lower of two target Qs.
        with torch.no_grad():
            noise = self.smoothing.at(self._updates) * self.noise
            noise = noise.clamp(-self.noise_clip, self.noise_clip) * limits.half
            next_a = torch.clamp(self.target(next_s) + noise, limits.low, limits.high)
            next_q = twin_q(self.target_critic, next_s, next_a).amin(dim=1)
            goal = reward + self.discount * (1 - terminal) * next_q
            q, pullback = self.critic.with_pullback(for_both(s, a))
            error = q.unflatten(0, (-1, 2)) - goal[:, None]
            critic_loss = (error * error).mean((2, 3)).sum(1)  # of both critics
            self.critic_adam.step(pullback(error.flatten(0, 1) * (2 / n)))
        self.sums['critic_loss'] += critic_loss

        # 3. Every d-th time the actor ascends Q1 through the surrogate gradient, and the targets
        #    follow by Polyak averaging.
        if actor_is_due:
            first_critics = self.critic.weights.flat.detach()[::2]
            actor_loss = -self.critic(torch.cat((s, own), dim=2), first_critics).mean((1, 2))
            if self.spike_cost is not None and operations is not None:
                actor_loss = actor_loss + self.spike_cost * operations
            slope = gradient(actor_loss, self.actor.weights.flat)
            self.actor_adam.step(slope)
            average(self.target_critic.weights, self.critic.weights, self.tau_of_critics)
            self.target.follow(self.actor, self.tau)
            self.gradient_norm.copy_(torch.linalg.vector_norm(slope[:, : self._undecoded], dim=1))
            self.sums['actor_loss'] += actor_loss.detach()
            self.sums['actor_gradient_norm'] += self.gradient_norm

    def normalised(self, observation: Tensor) -> Tensor:
        """Return what the networks read of observations [members, batch, observations]."""
        return self._normaliser(observation) if self._normaliser else observation

    def _sample(self, counter: Tensor, size: int) -> Batch:
        """Draw transitions, their observations as the networks read them."""
        drawn = self.replay.sample(counter, size)
        return drawn._replace(
            observation=self.normalised(drawn.observation),
            next_observation=self.normalised(drawn.next_observation),
        )

    def act(self, observation: np.ndarray, at_random: bool) -> tuple[np.ndarray, np.ndarray]:
        """Choose actions with exploration noise, or uniformly at random. Waits for the device.

        Args:
            observation: float32 [members, environments, observations].
            at_random: whether to choose uniformly at random.

        Returns:
            actions, float32 [members, environments, actions], and `watch`.
        """
        self.acted += 1
        self._staging.copy_(torch.from_numpy(observation))
        self._seen.copy_(self._staging, non_blocking=True)
        both = self._act_kinds[at_random]().cpu().numpy()
        watched = len(MEASURED) + 1
        return both[:, :-watched].reshape(*observation.shape[:2], -1), both[:, -watched:]

    def _explore(self) -> Tensor:
        limits = self.actor.limits
        with torch.no_grad():
            seen = self.normalised(self._seen)
            noise = self.exploring.at(self._acted) * self.exploration * limits.half
            action = torch.clamp(self.actor.act(seen) + noise, limits.low, limits.high)
        return self._with_watch(action)

    def _act_at_random(self) -> Tensor:
        limits = self.actor.limits
        return self._with_watch(
            limits.low + self.at_random.at(self._acted) * (limits.high - limits.low)
        )

    def _with_watch(self, action: Tensor) -> Tensor:
        self._acted += 1
        return torch.cat((action.flatten(1), self._watched.float()), dim=1)  # one transfer

    def watch(self) -> np.ndarray:
        """Wait for what shows whether a member is well: [members, `sums` and gradient norm]."""
        return self._watched.float().cpu().numpy()

    def tensors(self, member: int) -> dict[str, Tensor]:
        """Return a member's weights and moments by name, in its own shapes."""
        found: dict[str, Tensor] = {}
        for name, weights, row, adam in self._parts(member):
            found |= _under(name, weights.of(row, weights.flat[row]))
            moments = dict(adam.moments(row)) if adam else {}
            if moments:
                found[f'{name}.adam.step'] = moments.pop('step')
            for moment, numbers in moments.items():
                found |= _under(f'{name}.adam.{moment}', weights.of(row, numbers))
        return found

    def put(self, member: int, tensors: dict[str, Tensor]) -> None:
        """Put a member's weights and moments back.

        Raises:
            ValueError: a tensor is missing, is not known or has another shape.
        """
        expected: dict[str, Tensor] = {}
        for name, weights, row, adam in self._parts(member):
            own = weights.of(row, weights.flat[row])
            expected |= _under(name, own)
            steps = self.updates // (self.config.policy_delay if name == 'actor' else 1)
            if adam and steps:  # an optimiser has moments once it took a step
                expected[f'{name}.adam.step'] = torch.zeros(())
                expected |= _under(f'{name}.adam.exp_avg', own)
                expected |= _under(f'{name}.adam.exp_avg_sq', own)
        for name in sorted(expected.keys() | tensors.keys()):
            shapes = [tuple(t[name].shape) if name in t else None for t in (tensors, expected)]
            if shapes[0] != shapes[1]:
                raise ValueError(f'tensor {name} has shape {shapes[0]}, expected {shapes[1]}')
        for name, weights, row, adam in self._parts(member):
            weights.put(row, weights.flat[row], _within(name, tensors))
            if not adam or f'{name}.adam.step' not in tensors:
                continue
            moments = {}
            for moment in ('exp_avg', 'exp_avg_sq'):
                moments[moment] = torch.zeros_like(weights.flat[row].detach())
                weights.put(row, moments[moment], _within(f'{name}.adam.{moment}', tensors))
            step = tensors[f'{name}.adam.step'].to(self.device, copy=True)
            adam.restore(row, {'step': step, **moments})

    def _parts(self, member: int) -> list[tuple[str, Weights, int, Adam | None]]:
        """Return what a member has: name, weights or statistics, its row, and their optimiser."""
        actor, target, critic = self.actor.weights, self.target.weights, self.critic.weights
        soft, row = self.target_critic.weights, 2 * member
        statistics = {
            'actor.statistics': self.actor.statistics,
            'target.statistics': self.target.statistics,
        }
        return [
            ('actor', actor, member, self.actor_adam),
            ('target', target, member, self.target_adam),
            ('critic.0', critic, row, self.critic_adam),
            ('critic.1', critic, row + 1, self.critic_adam),
            ('target_critic.0', soft, row, None),
            ('target_critic.1', soft, row + 1, None),
            *((name, each.weights, member, None) for name, each in statistics.items() if each),
        ]

    def restore(self, updates: int, acted: int) -> None:
        """Set how many updates and actions there were; random numbers go on from there."""
        self.updates, self.acted = updates, acted
        self._clock.copy_(torch.tensor([updates, acted]))


def gradient(losses: Tensor, flat: Tensor) -> Tensor:
    """Return the gradient of each member's loss [members] by its weights, the rows of `flat`."""
    (found,) = torch.autograd.grad(losses.sum(), flat)
    return found


def for_both(observation: Tensor, action: Tensor) -> Tensor:
    """Observations and actions, twice for each member: [2 members, batch, both together]."""
    both = torch.cat((observation, action), dim=2)
    members, n, width = both.shape
    return both[:, None].expand(members, 2, n, width).reshape(members * 2, n, width)


def twin_q(critic: Critics, observation: Tensor, action: Tensor) -> Tensor:
    """Both Q values of observations and actions [members, batch, ..]: [members, 2, batch, 1]."""
    return critic(for_both(observation, action)).unflatten(0, (-1, 2))


def make_actor(configs: Sequence[TrainConfig], sizes: Sequence[Sizes], products: str) -> Actor:
    """Make the actors of the settings, with zeros for weights."""
    config = configs[0]
    normalised = config.actor_norm == 'care_bn'
    if not NEURONS[config.neuron].state:
        return ReLUActor(sizes, hidden=config.hidden, normalised=normalised, products=products)
    return SpikingActor(
        sizes,
        hidden=config.hidden,
        neuron=config.neuron,
        neuron_constants=config.neuron_constants,
        surrogate_window=config.surrogate_window,
        time_steps=config.time_steps,
        encoder_population=config.encoder_population,
        encoder_threshold=config.encoder_threshold,
        encoder_span=(config.encoder_span[0], config.encoder_span[1]),
        encoder_sigma=config.encoder_sigma,
        decoder_population=config.decoder_population,
        tails=[c.surrogate_tail if c.surrogate == 'tailed' else 0.0 for c in configs],
        normalised=normalised,
        products=products,
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f'{prefix}.{name}': tensor for name, tensor in tensors.items()}


def _within(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f'{prefix}.'
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _places(n: int, actions: Sequence[int], device: torch.device) -> Tensor:
    """Return a place for each random number of n actions, the same whatever padding there is."""
    own = torch.tensor(actions)[:, None, None]
    places = torch.arange(n)[None, :, None] * own + torch.arange(max(actions))
    return places.to(device)
