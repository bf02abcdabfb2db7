"""Layers of rectified linear units, forward and backward in one step of autograd.

The products of a pass are nearly all of its arithmetic. Their factors and results can be bfloat16,
which takes half the time or less where the processor or GPU has units for it; sums inside a product
stay float32 there, and so do weights, gradients, optimisers and everything that is no product.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def relu_layers(x: Tensor, parameters: list[Any], kind: torch.dtype | None) -> Tensor:
    """Run dense layers with rectified linear units between them.

    Args:
        x: [batch, inputs].
        parameters: weight [outputs, inputs] and bias [outputs] of each layer; or of two networks
            side by side, [2, outputs, inputs] and [2, 1, outputs].
        kind: what products are computed in; None for the weights' own.

    Returns:
        [batch, outputs], or [2, batch, outputs], of the type of `x`.
    """
    result: Tensor = _ReLULayers.apply(x, kind or x.dtype, *parameters)
    return result


def linear(x: Tensor, layer: Any, kind: torch.dtype | None) -> Tensor:
    """Run one dense layer [.., inputs] to [.., outputs]; `kind` as in `relu_layers`."""
    kind = kind or x.dtype
    return F.linear(x.to(kind), layer.weight.to(kind), layer.bias.to(kind)).to(x.dtype)


class _ReLULayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kind: torch.dtype, *parameters: Tensor) -> Tensor:
        weights = [weight.to(kind) for weight in parameters[::2]]
        biases = [bias.to(kind) for bias in parameters[1::2]]
        h = x.to(kind)
        several = weights[0].dim() == 3
        if several:
            h = h.expand(len(weights[0]), *h.shape)
        add_product = torch.baddbmm if several else torch.addmm
        ctx.inputs, ctx.weights, ctx.types = [], weights, (x.dtype, parameters[0].dtype)
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            ctx.inputs.append(h.relu_() if i else h)
            h = add_product(bias, h, weight.mT)
        return h.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_x, _, *to_parameters = ctx.needs_input_grad
        of_x, of_weights = ctx.types
        found: list[Tensor | None] = [None] * len(to_parameters)
        g = gradients[0].to(ctx.weights[0].dtype)
        for i in range(len(ctx.weights) - 1, -1, -1):
            h, weight = ctx.inputs[i], ctx.weights[i]
            if to_parameters[2 * i]:
                found[2 * i] = (g.mT @ h).to(of_weights)
            if to_parameters[2 * i + 1]:
                found[2 * i + 1] = g.sum(-2, keepdim=g.dim() == 3).to(of_weights)
            if i or to_x:
                g = g @ weight
            if i:  # the units that were silent pass nothing
                g = torch.ops.aten.threshold_backward(g, h, 0)
        if not to_x:
            return None, None, *found
        return (g.sum(0) if g.dim() == 3 else g).to(of_x), None, *found
