"""How a population's spiking actors are: firing rates, and potentials that a gradient can reach."""

from __future__ import annotations

import torch

from proxy_snn_control.learning.targets import Actor
from proxy_snn_control.spiking.actor import SpikingActor


def names(layers: int) -> list[str]:
    """The names of what `activity` gives for so many layers after the encoder, which is layer 0."""
    rates = [f"firing_rate_{i}" for i in range(layers + 1)]
    return rates + [f"inside_window_{i}" for i in range(1, layers + 1)]


@torch.no_grad()
def activity(actor: Actor, observation: torch.Tensor) -> list[dict[str, float]]:
    """Firing rate per layer and fraction of potentials inside the surrogate window.

    Args:
        actor: of the population; an ordinary network has neither.
        observation: [members, batch, observations].

    Returns:
        For each member, the figures by name.
    """
    if not isinstance(actor, SpikingActor):
        return [{} for _ in actor.sizes]
    _, spikes, potentials = actor.trace(observation)
    threshold, window = actor.about.threshold, actor.about.surrogate_window
    found = []
    for member in range(len(actor.sizes)):
        own = actor.own_neurons(member)
        figures = [s[member, ..., :n].mean() for s, n in zip(spikes, own, strict=True)]
        for potential, n in zip(potentials, own[1:], strict=True):
            inside = (potential[member, ..., :n] - threshold).abs() <= window
            figures.append(inside.float().mean())
        values = torch.stack(figures).tolist()
        found.append(dict(zip(names(len(potentials)), values, strict=True)))
    return found
