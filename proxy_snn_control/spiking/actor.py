# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Actors of a population: the spiking one, and the ordinary network to compare with.

Parameters carry the names that the policy file gives them. Equation numbers are those of Xu et al.
2025 (arXiv 2505.24161v2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import itertools
import math
from typing import NamedTuple

from proxy_snn_control.policy.plugins import NEURONS
from proxy_snn_control.spiking import fused, norm
from proxy_snn_control.spiking.dense import layer_layout, ReLUNetwork
from proxy_snn_control.spiking.neurons import (
    About,
    EncoderSpikes,
    potentials,
    SpikingLayer,
    Stimulation,
)
from proxy_snn_control.spiking.norm import Moments, MovingStatistics
from proxy_snn_control.spiking.weights import Layout, start_linear, Weights
import torch
from torch import Tensor


class Sizes(NamedTuple):
    """What one member observes and commands: a number of observations, and action limits."""

    observations: int
    low: tuple[float, ...]
    high: tuple[float, ...]


class Limits:
    """The members' action limits, [members, 1, actions], in the units of the task.

    Both are 0 for actions that are padding, and so are the action, its noise and its gradient.
    """

    def __init__(self, sizes: Sequence[Sizes], device: torch.device | None = None) -> None:
        width = max(len(each.low) for each in sizes)
        both = torch.zeros(2, len(sizes), 1, width)
        for row, each in enumerate(sizes):
            both[:, row, 0, : len(each.low)] = torch.tensor([each.low, each.high])
        self.low, self.high = both.to(device)
        self.half = (self.high - self.low) / 2

    def scale(self, squashed: Tensor) -> Tensor:
        """Scale (-1, 1) to the action limits."""
        return scale(squashed, self.low, self.half)


def scale(squashed: Tensor, low: Tensor, half: Tensor) -> Tensor:
    """Scale (-1, 1) to limits from `low` on, `half` of the range on either side of the middle."""
    return low + (squashed + 1) * half


class Learning(NamedTuple):
    """A pass that a gradient will follow.

    Attributes:
        action: [members, batch, actions].
        operations: [members], mean synaptic operations an action, relative to those possible; None
            where they were not counted.
        moments: of each normalised layer's currents over the batch.
    """

    action: Tensor
    operations: Tensor | None
    moments: list[Moments]


class SpikingActor:
    """Observation [members, batch, observations] to action [members, batch, actions].

    A population encoder (Eq. 10, 11), spiking layers (Eq. 4, 5) and a linear read-out of each
    action's own output population (Eq. 12), tanh, and the action limits. Every layer's T inputs
    are known once the layer before it has run its T simulation steps, so the layers run one after
    the other: the same spikes as stepping them together, in fewer operations.

    Attributes:
        sizes: of every member.
        weights: encoder.mu, encoder.sigma, layers.I.weight, layers.I.bias, what normalisation
            learns, decoder.weight and decoder.bias of every member; those of the decoder are the
            last.
        products: what the products of the backward pass are computed in (dense.py).
        statistics: of the currents, where they are normalised (norm.py); else None.
    """

    def __init__(
        self,
        sizes: Sequence[Sizes],
        *,
        hidden: Sequence[int] = (256, 256),
        neuron: str = 'lif',
        neuron_constants: dict[str, float] | None = None,
        surrogate_window: float = 0.5,
        time_steps: int = 5,
        encoder_population: int = 10,
        encoder_threshold: float = 0.999,
        encoder_span: tuple[float, float] = (-1.0, 1.0),
        encoder_sigma: float = 0.05**0.5,
        decoder_population: int = 10,
        tails: Sequence[float] = (),
        normalised: bool = False,
        products: str = 'float32',
    ) -> None:
        """Lay out actors with zeros.

        Args:
            sizes: what each member observes and commands.
            hidden: neurons of each hidden layer.
            neuron: a name in `plugins.NEURONS`, of neurons that spike.
            neuron_constants: by name, instead of the neuron's own.
            surrogate_window: w of Eq. 14, half the width of the rectangle.
            time_steps: T, simulation steps for one action.
            encoder_population: encoder neurons for each observation dimension.
            encoder_threshold: of the encoder's neurons (Eq. 11).
            encoder_span: the first and the last centre mu at the start, after tanh.
            encoder_sigma: the width sigma at the start.
            decoder_population: output neurons for each action dimension.
            tails: each member's tail of the surrogate gradient (`neurons.run_backward`), 0 for
                none; empty if no member has one.
            normalised: whether currents are batch-normalised (norm.py).
            products: precision of the backward pass's products, one of `dense.PRECISIONS`.
        """
        kind = NEURONS[neuron]
        constants = {**kind.constants, **(neuron_constants or {})}
        self.about = About(
            kind,
            tuple(constants[name] for name in kind.constants),
            surrogate_window,
            time_steps,
            encoder_threshold,
        )
        self.sizes, self.products = list(sizes), products
        self.limits = Limits(sizes)
        self._span, self._sigma = encoder_span, encoder_sigma
        layouts: list[Layout] = []
        self._widths: list[tuple[int, ...]] = []
        for observations, low, _ in sizes:
            actions = len(low)
            widths = (observations * encoder_population, *hidden, actions * decoder_population)
            self._widths.append(widths)
            layouts.append(
                {
                    'encoder.mu': (observations, encoder_population),
                    'encoder.sigma': (observations, encoder_population),
                    **layer_layout(widths),
                    **(norm.layout(widths[1:]) if normalised else {}),
                    'decoder.weight': (actions, decoder_population),
                    'decoder.bias': (actions,),
                }
            )
        self.weights = Weights(layouts)
        self.depth = len(hidden) + 1
        width = max(each.observations for each in sizes)
        self._mask: Tensor | None = None  # of encoder neurons, where members' numbers differ
        if any(each.observations < width for each in sizes):
            here = torch.arange(width) < torch.tensor([[each.observations] for each in sizes])
            self._mask = here.repeat_interleave(encoder_population, 1)[:, None].float()
        self._tables = [fused.Tables() for _ in sizes]
        self.statistics: MovingStatistics | None = None
        if normalised:
            self.statistics = MovingStatistics([widths[1:] for widths in self._widths])
        # Of all synapses of a member at all simulation steps, those that a layer's spike reaches.
        synapses = [sum(a * b for a, b in itertools.pairwise(own)) for own in self._widths]
        self._share = torch.tensor(
            [
                [n / (total * time_steps) for n in own[1:]]
                for own, total in zip(self._widths, synapses, strict=True)
            ]
        ).T
        self._tails = list(tails) or [0.0] * len(sizes)
        self._tail = torch.tensor(self._tails)[:, None, None] if any(self._tails) else None

    def start(self, member: int, rng: torch.Generator) -> None:
        """Give a member its initial weights.

        Centres mu are evenly spaced over the span, widths sigma alike everywhere; the rest is
        drawn as PyTorch's Linear does. Normalised currents start inside the surrogate window.
        """
        own = self.weights.of(member, self.weights.flat[member])
        values = {name: torch.empty(tensor.shape) for name, tensor in own.items()}
        values['encoder.mu'][:] = torch.linspace(*self._span, values['encoder.mu'].shape[1])
        values['encoder.sigma'].fill_(self._sigma)
        for part in (*(f'layers.{i}' for i in range(self.depth)), 'decoder'):
            weight = values[f'{part}.weight']
            start_linear(weight, values[f'{part}.bias'], weight.shape[1], rng)
        if self.statistics:
            for i in range(self.depth):
                values[f'layers.{i}.bias'].zero_()
                for kind in ('gamma', 'beta'):
                    values[f'norm.{i}.{kind}'].fill_(self.about.threshold / 2)
        self.weights.put(member, self.weights.flat[member], values)

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Move or convert all tensors."""
        self.weights.to(device, dtype)
        self.limits = Limits(self.sizes, device)
        if self._mask is not None:
            self._mask = self._mask.to(device=device, dtype=dtype)
        self._share = self._share.to(device=device, dtype=dtype)
        if self._tail is not None:
            self._tail = self._tail.to(device=device, dtype=dtype)
        if self.statistics:
            self.statistics.weights.to(device, dtype)

    def __call__(self, observation: Tensor) -> Tensor:
        """Compute actions [members, batch, actions] for [members, batch, observations]."""
        flat = self.weights.flat
        if flat.device.type != 'cpu' or flat.dtype != torch.float32:
            return self._trace(observation, None)[0]
        named = self.weights.named(flat)
        parts = [part for layer in self._layers(named) for part in layer]
        version = self.weights.version
        if self.statistics:  # both versions only grow, and so does their sum
            version += self.statistics.weights.version
        tables = [
            table.of([weight[row] for weight in parts[::2]], version)
            for row, table in enumerate(self._tables)
        ]
        rate = fused.SpikingLayers.apply(
            self._stimulation(observation, named),
            self.about,
            tables,
            torch.is_grad_enabled(),
            self._tails,
            self.products,
            *parts,
        )
        return self._decode(rate, named)

    def act(self, observation: Tensor) -> Tensor:
        """Compute actions as they will be deployed: its spikes are always those."""
        return self(observation)

    def learn(self, observation: Tensor, count_operations: bool) -> Learning:
        """Compute actions for the actor's update: with the batch's own statistics of currents.

        Args:
            observation: [members, batch, observations].
            count_operations: whether to count synaptic operations.
        """
        if not (self.statistics or count_operations):
            return Learning(self(observation), None, [])
        moments: list[Moments] = []
        action, spikes, _ = self._trace(observation, moments)
        operations = self._operations(spikes) if count_operations else None
        return Learning(action, operations, moments)

    def deployed(self, member: int) -> dict[str, Tensor]:
        """Return a copy of a member's weights by name, with normalisation folded into them."""
        numbers = self.weights.flat.detach()
        named = self.weights.named(numbers)
        if self.statistics:
            numbers = numbers.clone()
            folded = self.weights.named(numbers)
            for i, (weight, bias) in enumerate(self._layers(named)):
                folded[f'layers.{i}.weight'].copy_(weight)
                folded[f'layers.{i}.bias'].copy_(bias)
        own = self.weights.of(member, numbers[member].to('cpu', copy=True))
        return {name: part for name, part in own.items() if not name.startswith('norm.')}

    def trace(self, observation: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Compute the action in plain torch as it will be deployed, with spikes and potentials.

        Args:
            observation: [members, batch, observations], in the units of the task.

        Returns:
            action [members, batch, actions]; spikes per layer from the encoder on and membrane
            potentials per layer after it, each [members, batch, T, neurons].
        """
        action, spikes, currents = self._trace(observation, None)
        return action, spikes, [potentials(current, self.about) for current in currents]

    def _trace(
        self, observation: Tensor, moments: list[Moments] | None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """As `trace`, with currents for potentials.

        With a list for their moments, currents are normalised as they are in this batch.
        """
        named, about = self.weights.named(self.weights.flat), self.about
        stimulation = self._stimulation(observation, named)
        spikes = EncoderSpikes.apply(stimulation, about.time_steps, about.encoder_threshold)
        all_spikes, all_currents = [spikes], []
        learning = moments is not None
        for i, (weight, bias) in enumerate(self._layers(named, folded=not learning)):
            if self.statistics and moments is not None:
                gamma, beta = named[f'norm.{i}.gamma'], named[f'norm.{i}.beta']
                rows = spikes.flatten(1, 2)
                weight, bias, found = norm.normalise(rows, weight, gamma, beta)
                moments.append(found)
            spikes, current = SpikingLayer.apply(
                spikes, weight, bias, about, self._tail, self.products
            )
            all_spikes.append(spikes)
            all_currents.append(current)
        return self._decode(spikes.mean(-2), named), all_spikes, all_currents

    def _layers(
        self, named: dict[str, Tensor], folded: bool = True
    ) -> Iterable[tuple[Tensor, Tensor]]:
        """Weight and bias of each layer, as they act or as they are learnt."""
        if self.statistics and folded:
            return self.statistics.fold(named)
        return (
            (named[f'layers.{i}.weight'], named[f'layers.{i}.bias']) for i in range(self.depth)
        )

    def _operations(self, spikes: list[Tensor]) -> Tensor:
        """Synaptic operations relative to those possible, [members], of spikes per layer.

        Each spike reaches every neuron of the next layer; the decoder is left out, as in the
        paper.
        """
        done = [fired.sum((2, 3)).mean(1) for fired in spikes[:-1]]
        return (torch.stack(done) * self._share).sum(0)

    def own_neurons(self, member: int) -> list[int]:
        """How many neurons of each layer, from the encoder on, are the member's and no padding."""
        named = self.weights.of(member, self.weights.flat[member])
        first = math.prod(named['encoder.mu'].shape)
        return [first, *(len(named[f'layers.{i}.bias']) for i in range(self.depth))]

    def _stimulation(self, observation: Tensor, named: dict[str, Tensor]) -> Tensor:
        mu, sigma = named['encoder.mu'], named['encoder.sigma']
        if self._mask is not None:  # padding has no width to divide by
            sigma = sigma + (1 - self._mask[:, 0].unflatten(1, sigma.shape[1:]))
        stimulation: Tensor = Stimulation.apply(observation, mu, sigma, self._mask)
        return stimulation

    def _decode(self, rate: Tensor, named: dict[str, Tensor]) -> Tensor:
        weight, bias = named['decoder.weight'], named['decoder.bias']
        grouped = rate.unflatten(-1, weight.shape[1:])
        return self.limits.scale(torch.tanh((grouped * weight[:, None]).sum(-1) + bias[:, None]))


class ReLUActor:
    """The ordinary network to compare with: raw observation, ReLU layers, tanh.

    Same calls as the spiking actor's.
    """

    def __init__(
        self,
        sizes: Sequence[Sizes],
        *,
        hidden: Sequence[int] = (256, 256),
        normalised: bool = False,
        products: str = 'float32',
    ) -> None:
        self.sizes, self.limits = list(sizes), Limits(sizes)
        shapes = [(each.observations, *hidden, len(each.low)) for each in sizes]
        self.network = ReLUNetwork(shapes, products)
        self.weights = self.network.weights
        self.statistics: MovingStatistics | None = None
        if normalised:
            own = [{**layer_layout(each), **norm.layout(each[1:-1])} for each in shapes]
            self.weights = Weights(own)
            self.statistics = MovingStatistics([each[1:-1] for each in shapes])

    def start(self, member: int, rng: torch.Generator) -> None:
        """Give a member its initial weights; normalised layers begin with mean 0, variance 1."""
        self.network.start(member, rng)
        if self.statistics:
            drawn = self.network.weights.of(member, self.network.weights.flat[member])
            own = self.weights.of(member, self.weights.flat[member])
            for i in range(self.statistics.depth):
                drawn[f'layers.{i}.bias'].zero_()
                own[f'norm.{i}.gamma'].fill_(1)
            self.weights.put(member, self.weights.flat[member], {**own, **drawn})

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Move or convert all tensors."""
        self.weights.to(device, dtype)
        self.limits = Limits(self.sizes, device)
        if self.statistics:
            self.statistics.weights.to(device, dtype)

    def __call__(self, observation: Tensor) -> Tensor:
        """Compute actions [members, batch, actions] for [members, batch, observations]."""
        return self.limits.scale(torch.tanh(self.network(observation, self._folded())))

    def act(self, observation: Tensor) -> Tensor:
        """Compute actions as they will be deployed, from exact products."""
        read_out = self.network(observation, self._folded(), products='float32')
        return self.limits.scale(torch.tanh(read_out))

    def learn(self, observation: Tensor, count_operations: bool) -> Learning:
        """As the spiking actor's, without synaptic operations."""
        if not self.statistics:
            return Learning(self(observation), None, [])
        named, moments, h = self.weights.named(self.weights.flat), list[Moments](), observation
        for i in range(self.statistics.depth):
            parts = [named[f'{n}.{i}.{k}'] for n, k in _OF_A_LAYER]
            weight, bias, found = norm.normalise(h, *parts)
            moments.append(found)
            h = torch.relu(torch.baddbmm(bias[:, None], h, weight.mT))
        i = self.statistics.depth
        weight, bias = named[f'layers.{i}.weight'], named[f'layers.{i}.bias']
        read_out = torch.baddbmm(bias[:, None], h, weight.mT)
        return Learning(self.limits.scale(torch.tanh(read_out)), None, moments)

    def deployed(self, member: int) -> dict[str, Tensor]:
        """Return a copy of a member's weights by name, with normalisation folded into them."""
        folded = self._folded()
        numbers = (self.weights.flat if folded is None else folded)[member].detach()
        return self.network.weights.of(member, numbers.to('cpu', copy=True))

    def _folded(self) -> Tensor | None:
        """Return the networks' weights as they act; None if they are as they are learnt."""
        if not self.statistics:
            return None
        named = self.weights.named(self.weights.flat)
        parts = [part for layer in self.statistics.fold(named) for part in layer]
        i = self.statistics.depth
        parts += [named[f'layers.{i}.{kind}'] for kind in ('weight', 'bias')]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


_OF_A_LAYER = (('layers', 'weight'), ('norm', 'gamma'), ('norm', 'beta'))
