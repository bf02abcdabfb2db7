"""Actors of a population: the spiking one, and the ordinary network to compare with.

Parameters carry the names that the policy file gives them. Equation numbers are those of Xu et al.
2025 (arXiv 2505.24161v2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from proxy_snn_control.policy.plugins import NEURONS
from proxy_snn_control.spiking import fused
from proxy_snn_control.spiking.dense import ReLUNetwork, layer_layout
from proxy_snn_control.spiking.neurons import About, EncoderSpikes, SpikingLayer, Stimulation
from proxy_snn_control.spiking.weights import Weights, start_linear


class Sizes(NamedTuple):
    """What one member observes and commands: a number of observations, and action limits."""

    observations: int
    low: tuple[float, ...]
    high: tuple[float, ...]


class Limits:
    """The members' action limits, [members, 1, actions]; both are 0 for actions that are padding.

    So is then every action, its noise and its gradient.
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
        return self.low + (squashed + 1) * self.half


class SpikingActor:
    """Observation [members, batch, observations] to action [members, batch, actions].

    A population encoder (Eq. 10, 11), spiking layers (Eq. 4, 5) and a linear read-out of each
    action's own output population (Eq. 12), tanh, and the action limits. Every layer's T inputs are
    known once the layer before it has run its T simulation steps, so the layers run one after the
    other: the same spikes as stepping them together, in fewer operations.

    Attributes:
        sizes: of every member.
        weights: encoder.mu, encoder.sigma, layers.I.weight, layers.I.bias, decoder.weight and
            decoder.bias of every member; those of the decoder are the last.
        products: what the products of the backward pass are computed in (dense.py).
    """

    def __init__(
        self,
        sizes: Sequence[Sizes],
        *,
        hidden: Sequence[int] = (256, 256),
        neuron: str = "lif",
        neuron_constants: dict[str, float] | None = None,
        surrogate_window: float = 0.5,
        time_steps: int = 5,
        encoder_population: int = 10,
        encoder_threshold: float = 0.999,
        encoder_span: tuple[float, float] = (-1.0, 1.0),
        encoder_sigma: float = 0.05**0.5,
        decoder_population: int = 10,
        products: str = "float32",
    ) -> None:
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
        layouts = []
        for observations, low, _ in sizes:
            actions = len(low)
            widths = (observations * encoder_population, *hidden, actions * decoder_population)
            layouts.append(
                {
                    "encoder.mu": (observations, encoder_population),
                    "encoder.sigma": (observations, encoder_population),
                    **layer_layout(widths),
                    "decoder.weight": (actions, decoder_population),
                    "decoder.bias": (actions,),
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

    def start(self, member: int, rng: torch.Generator) -> None:
        """Give a member its initial weights.

        Centres mu are evenly spaced over the span, widths sigma alike everywhere; the rest is drawn
        as PyTorch's Linear does.
        """
        own = self.weights.of(member, self.weights.flat[member])
        values = {name: torch.empty(tensor.shape) for name, tensor in own.items()}
        values["encoder.mu"][:] = torch.linspace(*self._span, values["encoder.mu"].shape[1])
        values["encoder.sigma"].fill_(self._sigma)
        for part in (*(f"layers.{i}" for i in range(self.depth)), "decoder"):
            weight = values[f"{part}.weight"]
            start_linear(weight, values[f"{part}.bias"], weight.shape[1], rng)
        self.weights.put(member, self.weights.flat[member], values)

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Move or convert all tensors."""
        self.weights.to(device, dtype)
        self.limits = Limits(self.sizes, device)
        if self._mask is not None:
            self._mask = self._mask.to(device=device, dtype=dtype)

    def __call__(self, observation: Tensor) -> Tensor:
        """Compute actions [members, batch, actions] for [members, batch, observations]."""
        flat = self.weights.flat
        if flat.device.type != "cpu" or flat.dtype != torch.float32:
            return self.trace(observation)[0]
        named = self.weights.named(flat)
        kinds = ("weight", "bias")
        parts = [named[f"layers.{i}.{kind}"] for i in range(self.depth) for kind in kinds]
        tables = [
            table.of([weight[row] for weight in parts[::2]], self.weights.version)
            for row, table in enumerate(self._tables)
        ]
        rate = fused.SpikingLayers.apply(
            self._stimulation(observation, named),
            self.about,
            tables,
            torch.is_grad_enabled(),
            self.products,
            *parts,
        )
        return self._decode(rate, named)

    def act(self, observation: Tensor) -> Tensor:
        """Compute actions as they will be deployed: its spikes are always those."""
        return self(observation)

    def trace(self, observation: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Compute the action in plain torch, and show how.

        Returns:
            action [members, batch, actions]; spikes per layer from the encoder on and membrane
            potentials per layer after it, each [members, batch, T, neurons].
        """
        named, about = self.weights.named(self.weights.flat), self.about
        stimulation = self._stimulation(observation, named)
        spikes = EncoderSpikes.apply(stimulation, about.time_steps, about.encoder_threshold)
        all_spikes, all_potentials = [spikes], []
        for i in range(self.depth):
            weight, bias = named[f"layers.{i}.weight"], named[f"layers.{i}.bias"]
            spikes, potentials = SpikingLayer.apply(spikes, weight, bias, about, self.products)
            all_spikes.append(spikes)
            all_potentials.append(potentials)
        return self._decode(spikes.mean(-2), named), all_spikes, all_potentials

    def own_neurons(self, member: int) -> list[int]:
        """How many neurons of each layer, from the encoder on, are the member's and no padding."""
        named = self.weights.of(member, self.weights.flat[member])
        first = math.prod(named["encoder.mu"].shape)
        return [first, *(len(named[f"layers.{i}.bias"]) for i in range(self.depth))]

    def _stimulation(self, observation: Tensor, named: dict[str, Tensor]) -> Tensor:
        mu, sigma = named["encoder.mu"], named["encoder.sigma"]
        if self._mask is not None:  # padding has no width to divide by
            sigma = sigma + (1 - self._mask[:, 0].unflatten(1, sigma.shape[1:]))
        stimulation: Tensor = Stimulation.apply(observation, mu, sigma, self._mask)
        return stimulation

    def _decode(self, rate: Tensor, named: dict[str, Tensor]) -> Tensor:
        weight, bias = named["decoder.weight"], named["decoder.bias"]
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
        products: str = "float32",
    ) -> None:
        self.sizes, self.limits = list(sizes), Limits(sizes)
        shapes = [(each.observations, *hidden, len(each.low)) for each in sizes]
        self.network = ReLUNetwork(shapes, products)
        self.weights = self.network.weights

    def start(self, member: int, rng: torch.Generator) -> None:
        """Give a member its initial weights."""
        self.network.start(member, rng)

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Move or convert all tensors."""
        self.weights.to(device, dtype)
        self.limits = Limits(self.sizes, device)

    def __call__(self, observation: Tensor) -> Tensor:
        """Compute actions [members, batch, actions] for [members, batch, observations]."""
        return self.limits.scale(torch.tanh(self.network(observation)))

    def act(self, observation: Tensor) -> Tensor:
        """Compute actions as they will be deployed, from exact products."""
        read_out = self.network(observation, products="float32")
        return self.limits.scale(torch.tanh(read_out))
