# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Dense layers of rectified linear units, many networks side by side; backward by hand.

The products of a pass are nearly all of its arithmetic. Their factors and results can be bfloat16,
or on a GPU rounded to TF32, which takes half the time or less where there are units for it. Sums
inside a product stay float32 there, and so do weights, gradients, optimisers and everything that
is no product. So does the last layer, a small one: of a Q in the hundreds bfloat16 would keep no
decimal place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
import itertools
from typing import Any, NamedTuple

from proxy_snn_control.spiking.weights import Axis, empty_aligned, start_linear, Weights
import torch
from torch import Tensor

PRECISIONS = ('float32', 'tf32', 'bfloat16')
EPSILON = 1e-5  # added to a variance before it divides


class ReLUNetwork:
    """Dense layers with rectified linear units between them, for many networks at once.

    A layer of all networks is one batched product. The weights are named `layers.I.weight`
    [outputs, inputs] and `layers.I.bias` [outputs].

    Attributes:
        weights: of every network, `weights.flat` [networks, numbers] among them.
        products: what products but the last layer's are computed in, one of `PRECISIONS`.
        norm: whether each hidden product is normalised over its layer's units before the rectifier
            (Ba, Kiros and Hinton, "Layer normalization", 2016), without gain and bias.
    """

    def __init__(
        self, sizes: Sequence[Sequence[Axis]], products: str = 'float32', norm: bool = False
    ) -> None:
        """Lay out networks with zeros; `sizes` gives each one's inputs, hidden layers, outputs.

        Raises:
            ValueError: layers that are to be normalised differ in width, so that the statistics of
                the narrower would be of padding too.
        """
        if norm and len({tuple(each[1:-1]) for each in sizes}) > 1:
            raise ValueError('networks with layer normalisation differ in their hidden layers')
        self.products, self.norm = products, norm
        self.weights = Weights([layer_layout(each) for each in sizes])

    def start(self, row: int, rng: torch.Generator) -> None:
        """Draw one network's initial weights, within (inputs)^-1/2, as PyTorch's Linear does."""
        values = {
            k: torch.empty(v.shape) for k, v in self.weights.of(row, self._flat[row]).items()
        }
        parts = list(values.values())
        for weight, bias in zip(parts[::2], parts[1::2], strict=True):
            start_linear(weight, bias, weight.shape[1], rng)
        self.weights.put(row, self._flat[row], values)

    def __call__(
        self, x: Tensor, flat: Tensor | None = None, products: str | None = None
    ) -> Tensor:
        """Run x [networks, batch, inputs] to [networks, batch, outputs].

        Args:
            x: the inputs.
            flat: weights to take instead of the networks' own, laid out alike.
            products: what products are computed in, if not as the networks' are.
        """
        flat, products = self._flat if flat is None else flat, products or self.products
        if not torch.is_grad_enabled():
            return _run(x, flat, self.weights, products, self.norm)[0]
        result: Tensor = _Layers.apply(x, flat, self.weights, products, self.norm)
        return result

    @torch.no_grad()
    def with_pullback(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Run x, and give the function from the result's gradient to that of the weights.

        It is the vector-Jacobian product that autograd would compute, without its bookkeeping,
        which on a CPU takes a tenth of the time of such networks.

        Args:
            x: [networks, batch, inputs].

        Returns:
            [networks, batch, outputs]; and a function of a gradient of that shape that returns the
            weights' gradient [networks, numbers].
        """
        result, passed = _run(x, self._flat, self.weights, self.products, self.norm)

        @torch.no_grad()
        def pullback(gradient: Tensor) -> Tensor:
            found = empty_aligned(self._flat)
            _pull(gradient, passed, self.products, _parts(found, self.weights), to_x=False)
            return found

        return result, pullback

    @property
    def _flat(self) -> Tensor:
        return self.weights.flat


class _Passed(NamedTuple):
    """A pass: the input of each layer, weight and bias of each in turn, and the normalisations.

    Of a normalisation: what was normalised, its mean and the reciprocal of its deviation.
    """

    inputs: list[Tensor]
    weights: list[Tensor]
    normalised: list[tuple[Tensor, Tensor, Tensor]]


@contextmanager
def _tf32() -> Iterator[None]:
    settings = torch.backends.cuda.matmul
    before, settings.allow_tf32 = settings.allow_tf32, True
    try:
        yield
    finally:
        settings.allow_tf32 = before


def rounded(precision: str) -> AbstractContextManager[None]:
    """Let a GPU round the factors of float32 products to TF32 meanwhile, where that is set."""
    return _tf32() if precision == 'tf32' else _AS_THEY_ARE


_AS_THEY_ARE = nullcontext()


def factor_type(precision: str, own: torch.dtype) -> torch.dtype:
    """Return what the factors of a product are converted to; `own` is theirs."""
    return torch.bfloat16 if precision == 'bfloat16' else own


def layer_layout(sizes: Sequence[Axis]) -> dict[str, tuple[Axis, ...]]:
    """Name weight and bias of layers of these sizes, as weights.py lays them out."""
    found: dict[str, tuple[Axis, ...]] = {}
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        found |= {f'layers.{i}.weight': (fan_out, fan_in), f'layers.{i}.bias': (fan_out,)}
    return found


def _parts(flat: Tensor, weights: Weights) -> list[Tensor]:
    """Weight [networks, outputs, inputs] and bias [networks, 1, outputs] of each layer in turn.

    Of one network without the first axis: a plain product is quicker than a batch of one.
    """
    networks = flat.shape[0]
    if networks == 1:
        parts = flat[0].split_with_sizes(weights.sizes)
        return [part.view(shape) for part, shape in zip(parts, weights.matrices, strict=True)]
    parts = flat.split_with_sizes(weights.sizes, dim=1)
    return [
        part.view(networks, *shape) for part, shape in zip(parts, weights.matrices, strict=True)
    ]


def _run(
    x: Tensor, flat: Tensor, weights: Weights, products: str, norm: bool
) -> tuple[Tensor, _Passed]:
    exact = _parts(flat, weights)
    kind, one = factor_type(products, flat.dtype), flat.shape[0] == 1
    if kind == flat.dtype:
        factors = exact
    elif one:
        factors = _parts(flat.to(kind), weights)
    else:  # a CPU is slower with batches whose matrices do not follow each other
        factors = [part.to(kind) for part in exact[:-2]] + exact[-2:]
    passed = _Passed([], [*factors[:-2], *exact[-2:]], [])
    h = x[0] if one else x
    add_product = torch.addmm if one else torch.baddbmm
    for i in range(0, len(passed.weights), 2):
        weight, bias = passed.weights[i], passed.weights[i + 1]
        if i:
            if norm:
                product = h
                h, mean, scale = torch.native_layer_norm(h, h.shape[-1:], None, None, EPSILON)
                passed.normalised.append((product, mean, scale))
            h.relu_()
        h = h.to(weight.dtype)
        passed.inputs.append(h)
        with rounded('float32' if i == len(passed.weights) - 2 else products):
            h = add_product(bias, h, weight.mT)
    return (h.unsqueeze(0) if one else h), passed


def _pull(
    gradient: Tensor, passed: _Passed, products: str, to: list[Tensor], to_x: bool
) -> Tensor | None:
    """Fill in the weights' gradient, laid out as by `_parts`, unless `to` is empty; give x's."""
    one = passed.inputs[0].dim() == 2
    g = gradient[0] if one else gradient
    last = len(passed.inputs) - 1
    for i in range(last, -1, -1):
        h, weight = passed.inputs[i], passed.weights[2 * i]
        g = g.to(weight.dtype)
        with rounded('float32' if i == last else products):
            if to:
                if g.dtype == to[2 * i].dtype:
                    torch.matmul(g.mT, h, out=to[2 * i])
                else:
                    to[2 * i].copy_(g.mT @ h)
                torch.sum(g, -2, keepdim=True, dtype=to[0].dtype, out=to[2 * i + 1])
            if i or to_x:
                g = g @ weight
        if i:  # the gradient of a unit at 0 is 0
            g = torch.ops.aten.threshold_backward(g, h, 0)
            if passed.normalised:
                product, mean, scale = passed.normalised[i - 1]
                g, _, _ = torch.ops.aten.native_layer_norm_backward(
                    g.to(product.dtype), product, product.shape[-1:], mean, scale, None, None,
                    [True, False, False],
                )  # fmt: skip
    if not to_x:
        return None
    return g.unsqueeze(0) if one else g


class _Layers(torch.autograd.Function):
    """All layers as one operation of autograd."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, flat: Tensor, weights: Weights, products: str, norm: bool
    ) -> Tensor:
        result, ctx.passed = _run(x, flat, weights, products, norm)
        ctx.weights, ctx.products, ctx.flat, ctx.x_type = weights, products, flat.detach(), x.dtype
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        to_x, to_flat, *_ = ctx.needs_input_grad
        found = empty_aligned(ctx.flat) if to_flat else None
        to = _parts(found, ctx.weights) if found is not None else []
        g = _pull(gradients[0], ctx.passed, ctx.products, to, to_x)
        return (None if g is None else g.to(ctx.x_type)), found, None, None, None
