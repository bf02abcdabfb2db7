# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""All T simulation steps of a layer in plain torch, forward and backward, on any device.

On a GPU torch compiles each function into one kernel (by Triton, which comes with torch's CUDA
builds); without Triton the operations run as they stand. The CPU has passes of its own in
fused.py.

The neuron's equations and their derivative are those of policy/neurons.py. Equation numbers are
those of Xu et al., "Proxy Target", NeurIPS 2025 (arXiv 2505.24161v2).
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import importlib.util
import logging
import types
from typing import Any, NamedTuple

from proxy_snn_control.spiking.dense import factor_type, rounded
import torch
from torch import Tensor

_TRITON = importlib.util.find_spec('triton') is not None
_log = logging.getLogger('proxy_snn_control')


class About(NamedTuple):
    """What the spiking layers are, besides their parameters.

    Attributes:
        neuron: a class of `plugins.NEURONS` that spikes.
        neuron_constants: its constants, in its order.
        surrogate_window: w of Eq. 14.
        time_steps: T, simulation steps for one action.
        encoder_threshold: threshold of the encoder's neurons (Eq. 11).
    """

    neuron: Any
    neuron_constants: tuple[float, ...]
    surrogate_window: float
    time_steps: int
    encoder_threshold: float

    @property
    def threshold(self) -> float:
        """Return the threshold among the neuron's constants."""
        return self.neuron_constants[list(self.neuron.constants).index('threshold')]


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function of tensors compiled where its first tensor is on a GPU.

    Recorded functions never change their shapes, so each signature gets kernels of its own, for
    these shapes alone. A function that cannot be compiled (there is no C compiler, or torch cannot
    trace a plugin's neuron) is logged once and runs uncompiled.
    """
    ready: dict[Any, Callable[..., Any]] = {}

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        if not compiles(arguments[0]):
            return function(*arguments)
        # Gradients are computed below; torch would compile again for tensors that require one.
        plain = [each.detach() if isinstance(each, Tensor) else each for each in arguments]
        signature = tuple(map(_signature, plain))
        if signature not in ready:
            try:
                ready[signature] = _compiled(function)
                return ready[signature](*plain)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # of torch, Triton, a C compiler or a plugin
                ready[signature] = function
                reason = ' '.join(str(error).split())[:200]
                _warn(
                    f'torch cannot compile {function.__name__} for this GPU; its operations run '
                    f'one by one, which is slower: {reason}'
                )
        return ready[signature](*plain)

    return call


def compiles(tensor: Tensor) -> bool:
    """Whether a function of this tensor is compiled."""
    return _TRITON and tensor.is_cuda


def _signature(argument: Any) -> Any:
    if not isinstance(argument, Tensor):
        return argument
    return argument.shape, argument.stride(), argument.dtype, argument.device


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a copy: torch counts compilations by code object, and gives up after eight."""
    from torch._inductor import config

    copy = types.FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    # Else a timing may choose the order of a sum, and a resumed run another than the unbroken one.
    options: dict[str, Any] = {'deterministic': True} if hasattr(config, 'deterministic') else {}
    return torch.compile(copy, fullgraph=True, dynamic=False, options=options)


@functools.cache
def _warn(text: str) -> None:
    """Log a warning once."""
    _log.warning('%s', text)


@fused
def stimulate(observation: Tensor, mu: Tensor, sigma: Tensor) -> Tensor:
    """Stimulate the encoder's Gaussian receptive fields (Eq. 10) by tanh of the observation.

    In float64: rounded to float32, its exp and tanh are the same in every library. Otherwise a
    neuron at its threshold could fire here and not on the robot.

    Args:
        observation: [members, batch, observations].
        mu: [members, observations, population], centres.
        sigma: likewise, widths.

    Returns:
        [members, batch, observations * population], in the type of mu.
    """
    squashed = torch.tanh(observation.double())[..., None]
    distance = squashed - mu.double()[:, None]
    stimulation = torch.exp(-(distance**2) / (2 * sigma.double()[:, None] ** 2))
    return stimulation.flatten(2).to(mu.dtype)


@fused
def stimulate_backward(
    gradient: Tensor, stimulation: Tensor, observation: Tensor, mu: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of observation, mu and sigma, each of its shape, from that of the stimulation."""
    squashed = torch.tanh(observation)[..., None]
    distance = squashed - mu[:, None]
    slope = (gradient * stimulation).unflatten(2, mu.shape[1:]) * distance / sigma[:, None] ** 2
    to_sigma = (slope * distance).sum(1) / sigma
    to_observation = -(slope * (1 - squashed * squashed)).sum(-1)
    return to_observation, slope.sum(1), to_sigma


@fused
def encode(stimulation: Tensor, time_steps: int, threshold: float) -> Tensor:
    """Fire soft-reset integrate-and-fire neurons under constant stimulation A (Eq. 11).

    Each time step: ``V += A; spike = V > threshold; V -= threshold * spike``.

    Returns:
        Spikes [..., T, neurons] of stimulation [..., neurons].
    """
    potential = torch.zeros_like(stimulation)
    spikes = []
    for _ in range(time_steps):
        potential = potential + stimulation
        spike = (potential > threshold).to(stimulation.dtype)
        potential = potential - threshold * spike
        spikes.append(spike)
    return torch.stack(spikes, -2)


def steps(current: Tensor, about: About) -> list[tuple[Tensor, tuple[Tensor, ...]]]:
    """Run all T simulation steps of a layer of neurons with currents [..., T, neurons].

    Returns:
        For each step the spikes and the state, whose first is the membrane potential before the
        reset; all [..., neurons].
    """
    neuron, constants, threshold = about.neuron, about.neuron_constants, about.threshold
    spike = torch.zeros_like(current[..., 0, :])
    state = (spike,) * len(neuron.state)
    found = []
    for t in range(current.shape[-2]):
        state = neuron.step(current[..., t, :], spike, state, constants)
        spike = (state[0] > threshold).to(current.dtype)
        found.append((spike, state))
    return found


@fused
def run(current: Tensor, about: About) -> Tensor:
    """Compute the spikes of a layer of neurons, of the shape of its currents."""
    return torch.stack([spike for spike, _ in steps(current, about)], -2)


def potentials(current: Tensor, about: About) -> Tensor:
    """Compute membrane potentials before the reset, of the shape of the currents."""
    return torch.stack([state[0] for _, state in steps(current, about)], -2)


@fused
def run_backward(gradient: Tensor, current: Tensor, about: About, tail: Tensor | None) -> Tensor:
    """Turn the gradient of the spikes [members, batch, T, neurons] into that of the currents.

    The spike's derivative is the rectangle of Eq. 14: 1 / (2 w) where d = |V - threshold| <= w,
    else 0, or with a tail that times tail (w / d)^2. The reset, which is part of the equations, is
    part of the gradient too. The steps are run again: that takes less time than to read states
    from memory, where the forward pass would have had to write them.

    Args:
        gradient: of the spikes.
        current: as `run` took it.
        about: the neuron, its constants and w.
        tail: [members, 1, 1], each member's; None if no member has one.
    """
    neuron, constants, threshold = about.neuron, about.neuron_constants, about.threshold
    window = about.surrogate_window
    at_rest = torch.zeros_like(gradient[..., 0, :])
    resting = (at_rest,) * len(neuron.state)
    passed = [(at_rest, resting), *steps(current, about)]
    to_state, to_spike = resting, at_rest
    found = []
    for t in range(gradient.shape[-2] - 1, -1, -1):
        (fired, before), (_, after) = passed[t], passed[t + 1]
        distance = (after[0] - threshold).abs()
        height = (distance <= window).to(gradient.dtype)
        if tail is not None:
            height = torch.where(distance <= window, height, tail * (window / distance) ** 2)
        slope = height / (2 * window)
        to_potential = to_state[0] + slope * (gradient[..., t, :] + to_spike)
        to_current, to_spike, to_state = neuron.pullback(
            fired, before, constants, (to_potential, *to_state[1:])
        )
        found.append(to_current)
    return torch.stack(found[::-1], -2)


class Stimulation(torch.autograd.Function):
    """`stimulate`, with its gradient; `mask` [members, 1, neurons] is 0 for padding neurons."""

    @staticmethod
    def forward(
        ctx: Any, observation: Tensor, mu: Tensor, sigma: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Compute the stimulation."""
        stimulation = stimulate(observation, mu, sigma)
        if mask is not None:
            stimulation = stimulation * mask
        ctx.save_for_backward(stimulation, observation, mu, sigma)
        return stimulation

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Pass the gradient; the stimulation's own zeros are its mask."""
        return *stimulate_backward(gradients[0], *ctx.saved_tensors), None


class EncoderSpikes(torch.autograd.Function):
    """`encode`, whose gradient takes d spike / d A as 1 at every simulation step (Eq. 15)."""

    @staticmethod
    def forward(ctx: Any, stimulation: Tensor, time_steps: int, threshold: float) -> Tensor:
        """Fire."""
        return encode(stimulation, time_steps, threshold)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Sum over the simulation steps."""
        return gradients[0].sum(-2), None, None


class SpikingLayer(torch.autograd.Function):
    """A layer of neurons behind its weights, all T simulation steps.

    Its spikes are those of exact products: a deployed policy must fire alike. The products of the
    backward pass may be rounded.
    """

    @staticmethod
    def forward(
        ctx: Any,
        spikes: Tensor,
        weight: Tensor,
        bias: Tensor,
        about: About,
        tail: Tensor | None,
        products: str,
    ) -> tuple[Tensor, Tensor]:
        """Compute spikes and currents [members, batch, T, outputs].

        Args:
            ctx: for `backward`.
            spikes: [members, batch, T, inputs].
            weight: [members, outputs, inputs].
            bias: [members, outputs].
            about: the neuron and its constants.
            tail: of the surrogate gradient, as `run_backward` takes it.
            products: what the products of the backward pass are computed in (dense.py).
        """
        rows = spikes.flatten(1, 2)
        current = torch.baddbmm(bias[:, None], rows, weight.mT).unflatten(1, spikes.shape[1:3])
        ctx.save_for_backward(rows, current, weight)
        ctx.about, ctx.tail, ctx.products = about, tail, products
        ctx.mark_non_differentiable(current)
        return run(current, about), current

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run the simulation steps backwards."""
        rows, current, weight = ctx.saved_tensors
        to_current = run_backward(gradients[0], current, ctx.about, ctx.tail).flatten(1, 2)
        kind = factor_type(ctx.products, weight.dtype)
        factor = to_current.to(kind)
        with rounded(ctx.products):
            to_weight = (factor.mT @ rows.to(kind)).to(weight.dtype)
            to_rows = (factor @ weight.to(kind)).to(weight.dtype)
        to_spikes = to_rows.unflatten(1, gradients[0].shape[1:3])
        return to_spikes, to_weight, to_current.sum(1), None, None, None
