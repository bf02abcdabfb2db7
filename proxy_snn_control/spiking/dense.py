"""Dense layers of rectified linear units: all weights in one tensor, forward and backward by hand.

The products of a pass are nearly all of its arithmetic. Their factors and results can be bfloat16,
which takes half the time or less where the processor or GPU has units for it; sums inside a product
stay float32 there, and so do weights, gradients, optimisers and everything that is no product.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shapes = list[tuple[int, int, int]]


class ReLUNetwork(nn.Module):
    """Dense layers with rectified linear units between them.

    Several networks of the same sizes may lie side by side: a layer of them is one batched product.
    That all weights are one tensor makes one cast, one gradient and one step of Adam of them.

    Attributes:
        products: what products are computed in; None for the weights' own type.
    """

    def __init__(self, *sizes: int, networks: int = 1, products: torch.dtype | None = None) -> None:
        super().__init__()
        self.products = products
        self.shapes: Shapes = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            self.shapes += [(networks, fan_out, fan_in), (networks, 1, fan_out)]
        self.flat = nn.Parameter(torch.empty(sum(map(math.prod, self.shapes))))
        with torch.no_grad():
            for i, part in enumerate(self.parts()):
                part.uniform_(-1, 1).mul_(sizes[i // 2] ** -0.5)  # as PyTorch's Linear starts

    def parts(self) -> list[Tensor]:
        """Weight [networks, outputs, inputs] and bias [networks, 1, outputs] of each layer."""
        return _parts(self.flat, self.shapes)

    def forward(self, x: Tensor) -> Tensor:
        """Run x [batch, inputs] to [batch, outputs], or to [networks, batch, outputs]."""
        several = self.shapes[0][0] > 1
        result: Tensor = _Layers.apply(x, self.flat, self.shapes, several, self.products)
        return result

    def first(self, x: Tensor) -> Tensor:
        """Run the first network alone; its weights get no gradient, x does."""
        result: Tensor = _Layers.apply(x, self.flat.detach(), self.shapes, False, self.products)
        return result


def linear(x: Tensor, layer: Any, kind: torch.dtype | None) -> Tensor:
    """Run an nn.Linear on [.., inputs], its product computed in `kind` (None: its own type)."""
    kind = kind or x.dtype
    return F.linear(x.to(kind), layer.weight.to(kind), layer.bias.to(kind)).to(x.dtype)


def _parts(flat: Tensor, shapes: Shapes) -> list[Tensor]:
    parts = flat.split([math.prod(shape) for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, flat: Tensor, shapes: Shapes, several: bool, kind: torch.dtype | None
    ) -> Tensor:
        parts = _parts(flat.to(kind or flat.dtype), shapes)
        if not several:
            parts = [part[0] for part in parts]
        h = x.to(parts[0].dtype)
        if several:
            h = h.expand(len(parts[0]), *h.shape)
        add_product = torch.baddbmm if several else torch.addmm
        ctx.inputs, ctx.weights = [], parts[::2]
        ctx.shapes, ctx.types = shapes, (x.dtype, flat.dtype)
        for weight, bias in zip(parts[::2], parts[1::2], strict=True):
            if ctx.inputs:
                h.relu_()
            ctx.inputs.append(h)
            h = add_product(bias, h, weight.mT)
        return h.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_x, to_flat, *_ = ctx.needs_input_grad
        of_x, of_flat = ctx.types
        g = gradients[0].to(ctx.weights[0].dtype)
        several = g.dim() == 3
        found, parts = None, []
        if to_flat:
            found = g.new_empty(sum(map(math.prod, ctx.shapes)))
            parts = [part if several else part[0] for part in _parts(found, ctx.shapes)]
        for i in range(len(ctx.weights) - 1, -1, -1):
            h, weight = ctx.inputs[i], ctx.weights[i]
            if to_flat:
                torch.matmul(g.mT, h, out=parts[2 * i])
                torch.sum(g, -2, keepdim=True, out=parts[2 * i + 1])
            if i or to_x:
                g = g @ weight
            if i:  # the units that were silent pass nothing
                g = torch.ops.aten.threshold_backward(g, h, 0)
        to_inputs = (g.sum(0) if several else g).to(of_x) if to_x else None
        return to_inputs, None if found is None else found.to(of_flat), None, None, None
