# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""How a population's actors are: firing rates, and where a gradient can reach."""

from __future__ import annotations

import math

from proxy_snn_control.learning.targets import Actor
from proxy_snn_control.spiking.actor import SpikingActor
import torch

SATURATED = math.tanh(2.0)  # of an action within (-1, 1): beyond it little gradient passes


def names(layers: int) -> list[str]:
    """Return the names of what `activity` gives; layer 0 is the encoder."""
    if not layers:
        return ['saturated_outputs']
    rates = [f'firing_rate_{i}' for i in range(layers + 1)]
    return ['saturated_outputs', *rates, *(f'inside_window_{i}' for i in range(1, layers + 1))]


@torch.no_grad()
def activity(actor: Actor, observation: torch.Tensor) -> list[dict[str, float]]:
    """Fraction of outputs beyond 2 before tanh; firing rates and potentials inside the window.

    Args:
        actor: of the population; an ordinary network has the first alone.
        observation: [members, batch, observations].

    Returns:
        For each member, the figures by name.
    """
    if isinstance(actor, SpikingActor):
        action, spikes, potentials = actor.trace(observation)
    else:
        action, spikes, potentials = actor(observation), [], []
    beyond = (action - actor.limits.low - actor.limits.half).abs() > SATURATED * actor.limits.half
    found = []
    for member, size in enumerate(actor.sizes):
        figures = [beyond[member, :, : len(size.low)].float().mean()]
        if not isinstance(actor, SpikingActor):
            found.append(dict(zip(names(0), [float(figures[0])], strict=True)))
            continue
        own = actor.own_neurons(member)
        threshold, window = actor.about.threshold, actor.about.surrogate_window
        figures += [s[member, ..., :n].mean() for s, n in zip(spikes, own, strict=True)]
        for potential, n in zip(potentials, own[1:], strict=True):
            inside = (potential[member, ..., :n] - threshold).abs() <= window
            figures.append(inside.float().mean())
        values = torch.stack(figures).tolist()
        found.append(dict(zip(names(len(potentials)), values, strict=True)))
    return found
