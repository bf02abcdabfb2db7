"""The spiking actor network: population encoder, spiking layers, decoder.

Parameters carry the names that the policy file gives them, so `state_dict()` is the policy's
weights. Equation numbers are those of Xu et al. 2025 (arXiv 2505.24161v2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from proxy_snn_control.policy.neurons import NEURONS
from proxy_snn_control.spiking import fused
from proxy_snn_control.spiking.dense import ReLUNetwork, linear
from proxy_snn_control.spiking.neurons import run


class EncoderSpikes(torch.autograd.Function):
    """Soft-reset integrate-and-fire neurons under constant stimulation A (Eq. 11).

    Each time step: ``V += A; spike = V > threshold; V -= threshold * spike``.
    Backward: d spike / d A is 1 at every time step (Eq. 15).
    """

    @staticmethod
    def forward(ctx: Any, stimulation: Tensor, time_steps: int, threshold: float) -> Tensor:
        """Turn stimulation [batch, neurons] into spikes [T, batch, neurons]."""
        potential = torch.zeros_like(stimulation)
        spikes = stimulation.new_empty((time_steps, *stimulation.shape))
        for spike in spikes.unbind():
            potential += stimulation
            torch.gt(potential, threshold, out=spike)
            potential.sub_(spike, alpha=threshold)
        return spikes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Sum over the time steps."""
        return gradients[0].sum(0), None, None


class PopulationEncoder(nn.Module):
    """Gaussian receptive fields per observation dimension (Eq. 10), firing at a steady rate.

    Centres mu start evenly spaced over `span`, widths sigma at the same value everywhere; both are
    trained. The observation is squashed by tanh first (Appendix A.4.6).
    """

    def __init__(
        self,
        observations: int,
        population: int,
        time_steps: int,
        threshold: float,
        span: tuple[float, float],
        sigma: float,
    ) -> None:
        super().__init__()
        self.time_steps, self.threshold = time_steps, threshold
        self.mu = nn.Parameter(torch.linspace(*span, population).repeat(observations, 1))
        self.sigma = nn.Parameter(torch.full((observations, population), sigma))

    def stimulation(self, observation: Tensor) -> Tensor:
        """Stimulate the encoder's neurons by observation [batch, observations] (Eq. 10).

        In float64, for rounded to float32 its exp and tanh are the same in every library; a neuron
        at its threshold would otherwise fire here and not on the robot.
        """
        squashed = torch.tanh(observation.double()).unsqueeze(-1)
        distance = squashed - self.mu.double()
        stimulation = torch.exp(-(distance**2) / (2 * self.sigma.double() ** 2))
        return stimulation.flatten(1).to(observation.dtype)

    def forward(self, observation: Tensor) -> Tensor:
        """Encode observation [batch, observations] as spikes [T, batch, neurons]."""
        return EncoderSpikes.apply(self.stimulation(observation), self.time_steps, self.threshold)


class PopulationDecoder(nn.Module):
    """A linear read-out per action of the mean spike count of its own population (Eq. 12)."""

    def __init__(self, actions: int, population: int) -> None:
        super().__init__()
        bound = population**-0.5  # as PyTorch's Linear starts, with `population` inputs
        self.weight = nn.Parameter(torch.empty(actions, population).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(actions).uniform_(-bound, bound))

    def forward(self, rate: Tensor) -> Tensor:
        """Read firing rates [batch, neurons] out as actions in (-1, 1), [batch, actions]."""
        grouped = rate.unflatten(-1, self.weight.shape)
        return torch.tanh((grouped * self.weight).sum(-1) + self.bias)


class SpikingActor(nn.Module):
    """Observation [batch, observations] to action [batch, actions] within the limits.

    Every layer's T inputs are known once the layer before it has run its T simulation steps, so the
    layers run one after the other: the same spikes as stepping them together, in fewer operations.

    Attributes:
        products: what dense products are computed in (dense.py); None for the weights' own.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        observations: int,
        action_low: Sequence[float],
        action_high: Sequence[float],
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
    ) -> None:
        super().__init__()
        self.observations = observations
        self.products: torch.dtype | None = None
        kind = NEURONS[neuron]
        constants = {**kind.constants, **(neuron_constants or {})}
        self.about = fused.About(
            kind,
            tuple(constants[name] for name in kind.constants),
            surrogate_window,
            time_steps,
            encoder_threshold,
        )
        self.encoder = PopulationEncoder(
            observations,
            encoder_population,
            time_steps,
            encoder_threshold,
            encoder_span,
            encoder_sigma,
        )
        sizes = (
            observations * encoder_population,
            *hidden,
            len(action_low) * decoder_population,
        )
        self.layers = nn.ModuleList(map(nn.Linear, sizes, sizes[1:]))
        self._tables = fused.Tables()
        self.decoder = PopulationDecoder(len(action_low), decoder_population)
        self.register_buffer("low", torch.tensor(action_low), persistent=False)
        self.register_buffer("high", torch.tensor(action_high), persistent=False)

    def forward(self, observation: Tensor) -> Tensor:
        """Compute actions [batch, actions] for observations [batch, observations]."""
        if observation.device.type != "cpu" or observation.dtype != torch.float32:
            return self._steps(observation, self.products)[0]
        parameters = list(self.layers.parameters())  # weight and bias of each in turn
        rate = fused.SpikingLayers.apply(
            self.encoder.stimulation(observation),
            self.about,
            self._tables.of(parameters[::2]),
            torch.is_grad_enabled(),
            self.products,
            *parameters,
        )
        return scaled(self.decoder(rate), self.low, self.high)

    def tensors(self) -> dict[str, Tensor]:
        """The policy's weights by their names in a policy file; the same memory."""
        return dict(self.state_dict())

    def trace(self, observation: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Compute the action step by step in plain torch, and show how.

        Returns:
            action [batch, actions]; spikes per layer from the encoder on and membrane potentials
            per layer after it, each [T, batch, neurons].
        """
        return self._steps(observation, None)

    def _steps(
        self, observation: Tensor, products: torch.dtype | None
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        spikes = self.encoder(observation)
        all_spikes, all_potentials = [spikes], []
        neuron, constants, window, *_ = self.about
        for layer in self.layers:
            current = linear(spikes, layer, products)
            spikes, potentials = run(neuron, constants, window, current)
            all_spikes.append(spikes)
            all_potentials.append(potentials)
        action = scaled(self.decoder(spikes.mean(0)), self.low, self.high)
        return action, all_spikes, all_potentials


class ReLUActor(nn.Module):
    """The ordinary network to compare with: raw observation, ReLU layers, tanh.

    Same call as the spiking actor's.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        observations: int,
        action_low: Sequence[float],
        action_high: Sequence[float],
        *,
        hidden: Sequence[int] = (256, 256),
    ) -> None:
        super().__init__()
        self.observations = observations
        self.network = ReLUNetwork(observations, *hidden, len(action_low))
        self.register_buffer("low", torch.tensor(action_low), persistent=False)
        self.register_buffer("high", torch.tensor(action_high), persistent=False)

    @property
    def products(self) -> torch.dtype | None:
        """What dense products are computed in; None for the weights' own type."""
        return self.network.products

    @products.setter
    def products(self, kind: torch.dtype | None) -> None:
        self.network.products = kind

    def forward(self, observation: Tensor) -> Tensor:
        """Compute actions [batch, actions] for observations [batch, observations]."""
        return scaled(torch.tanh(self.network(observation)), self.low, self.high)

    def tensors(self) -> dict[str, Tensor]:
        """The policy's weights by their names in a policy file; the same memory."""
        parts = [part.detach()[0] for part in self.network.parts()]
        found: dict[str, Tensor] = {}
        for i, (weight, bias) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            found |= {f"layers.{i}.weight": weight, f"layers.{i}.bias": bias[0]}
        return found


def scaled(squashed: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale (-1, 1) to the action limits."""
    return low + (squashed + 1) * ((high - low) / 2)
