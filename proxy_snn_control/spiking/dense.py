"""Dense layers of rectified linear units: all weights in one tensor, forward and backward by hand.

The products of a pass are nearly all of its arithmetic. Their factors and results can be bfloat16,
which takes half the time or less where the processor or GPU has units for it; sums inside a product
stay float32 there, and so do weights, gradients, optimisers and everything that is no product. So
does the last layer, a small one: of a Q in the hundreds bfloat16 would keep no decimal place.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Shapes = list[tuple[int, int, int]]


class ReLUNetwork(nn.Module):
    """Dense layers with rectified linear units between them.

    Several networks of the same sizes may lie side by side: a layer of them is one batched product.
    That all weights are one tensor makes one cast, one gradient and one step of Adam of them.

    Attributes:
        products: what products but the last layer's are computed in; None for the weights' own
            type.
    """

    def __init__(self, *sizes: int, networks: int = 1, products: torch.dtype | None = None) -> None:
        super().__init__()
        self.products = products
        self.several = networks > 1
        self.shapes: Shapes = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            self.shapes += [(networks, fan_out, fan_in), (networks, 1, fan_out)]
        self.flat = nn.Parameter(torch.empty(sum(map(math.prod, self.shapes))))
        with torch.no_grad():
            for i, part in enumerate(self.parts()):
                part.uniform_(-1, 1).mul_(sizes[i // 2] ** -0.5)  # as PyTorch's Linear starts

    def parts(self) -> list[Tensor]:
        """Weight [networks, outputs, inputs] and bias [networks, 1, outputs] of each layer."""
        return _split(self.flat, self.shapes, several=True)

    def forward(self, x: Tensor) -> Tensor:
        """Run x [batch, inputs] to [batch, outputs], or to [networks, batch, outputs]."""
        result: Tensor = _Layers.apply(x, self.flat, self.shapes, self.several, self.products)
        return result

    def first(self, x: Tensor) -> Tensor:
        """Run the first network alone; its weights get no gradient, x does."""
        result: Tensor = _Layers.apply(x, self.flat.detach(), self.shapes, False, self.products)
        return result

    @torch.no_grad()
    def run(self, x: Tensor) -> tuple[Tensor, Passed]:
        """Run x as `forward` does, aside from autograd; returns also what `pull` will ask for."""
        passed = Passed([], _weights(self.flat, self.shapes, self.several, self.products))
        return _run(x, passed), passed

    @torch.no_grad()
    def pull(self, passed: Passed, gradient: Tensor) -> None:
        """Set the weights' gradient from the `gradient` of what `run` returned."""
        self.flat.grad = torch.empty_like(self.flat)
        to = _split(self.flat.grad, self.shapes, self.several)
        _pull(gradient, passed, to, to_x=False)


class Passed(NamedTuple):
    """A pass: the input of each layer, and weight and bias of each in turn."""

    inputs: list[Tensor]
    weights: list[Tensor]


def linear(x: Tensor, layer: Any, kind: torch.dtype | None) -> Tensor:
    """Run an nn.Linear on [.., inputs], its product computed in `kind` (None: its own type)."""
    kind = kind or x.dtype
    return F.linear(x.to(kind), layer.weight.to(kind), layer.bias.to(kind)).to(x.dtype)


def _split(flat: Tensor, shapes: Shapes, several: bool) -> list[Tensor]:
    parts = flat.split([math.prod(shape) for shape in shapes])
    parts = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    return parts if several else [part[0] for part in parts]


def _weights(flat: Tensor, shapes: Shapes, several: bool, kind: torch.dtype | None) -> list[Tensor]:
    exact = _split(flat, shapes, several)
    return [*_split(flat.to(kind or flat.dtype), shapes, several)[:-2], *exact[-2:]]


def _run(x: Tensor, passed: Passed) -> Tensor:
    weights = passed.weights
    several = weights[0].dim() == 3
    add_product = torch.baddbmm if several else torch.addmm
    h = x.expand(len(weights[0]), *x.shape) if several else x
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        if passed.inputs:
            h.relu_()
        h = h.to(weight.dtype)
        passed.inputs.append(h)
        h = add_product(bias, h, weight.mT)
    return h


def _pull(gradient: Tensor, passed: Passed, to: list[Tensor], to_x: bool) -> Tensor | None:
    """Fill in `to`, laid out like `passed.weights`, unless it is empty; returns x's if asked."""
    g = gradient
    for i in range(len(passed.inputs) - 1, -1, -1):
        h, weight = passed.inputs[i], passed.weights[2 * i]
        g = g.to(weight.dtype)
        if to:
            to[2 * i].copy_(g.mT @ h)
            torch.sum(g, -2, keepdim=True, dtype=to[0].dtype, out=to[2 * i + 1])
        if i or to_x:
            g = g @ weight
        if i:  # the units that were silent pass nothing
            g = torch.ops.aten.threshold_backward(g, h, 0)
    return g if to_x else None


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, flat: Tensor, shapes: Shapes, several: bool, kind: torch.dtype | None
    ) -> Tensor:
        ctx.passed = Passed([], _weights(flat, shapes, several, kind))
        ctx.shapes, ctx.several, ctx.types = shapes, several, (x.dtype, flat.dtype)
        return _run(x, ctx.passed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_x, to_flat, *_ = ctx.needs_input_grad
        of_x, of_flat = ctx.types
        found, to = None, []
        if to_flat:
            found = gradients[0].new_empty(sum(map(math.prod, ctx.shapes)), dtype=of_flat)
            to = _split(found, ctx.shapes, ctx.several)
        g = _pull(gradients[0], ctx.passed, to, to_x)
        if g is not None:
            g = (g.sum(0) if ctx.several else g).to(of_x)
        return g, found, None, None, None
