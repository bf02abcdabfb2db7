# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Named weights of many networks of one kind, a row of one tensor each.

That all weights of a network are one row makes one cast, one gradient and one step of Adam of
them. The networks may be of tasks with different widths: an axis is then as long as the longest,
and what a network does not have stays zero. A width is in segments where an input is made of
several parts (observation, then action), each as long as the longest of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math

import numpy as np
import torch
from torch import Tensor

Axis = int | tuple[int, ...]
Layout = Mapping[str, tuple[Axis, ...]]
# Rows begin at multiples of so many numbers, 128 bytes of float32.
ALIGNMENT = 32


class Weights:
    """Weights by name, for every network.

    Attributes:
        flat: [networks, numbers], everything, laid out as `aligned` does; replaced by `to`.
        shapes: by name, each with all axes at their longest.
        sizes, matrices: of each shape in turn, how many numbers, and the shape with two axes.
        version: increase it after changing numbers in place; it shows whether tables that were
            computed from them are still valid.
    """

    def __init__(self, layouts: Sequence[Layout]) -> None:
        """Lay out zeros; `layouts` gives every network's own shapes, of the same names."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: list[dict[str, tuple[np.ndarray, ...] | None]] = [{} for _ in layouts]
        for name, axes in layouts[0].items():
            all_axes = [
                [_segments(layout[name][i]) for layout in layouts] for i in range(len(axes))
            ]
            longest = [tuple(map(max, zip(*axis, strict=True))) for axis in all_axes]
            self.shapes[name] = tuple(map(sum, longest))
            for row, places in enumerate(self._places):
                mine = [axis[row] for axis in all_axes]
                whole = mine == longest
                places[name] = None if whole else np.ix_(*map(_indices, mine, longest))
        self.sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.matrices = [
            shape if len(shape) > 1 else (1, *shape) for shape in self.shapes.values()
        ]
        self.flat = aligned(torch.zeros(len(layouts), sum(self.sizes)))
        self.version = 0

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Move or convert all weights."""
        self.flat = aligned(self.flat.to(device=device, dtype=dtype))
        self.version += 1

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Return views of `flat` [networks, numbers] by name, in the shapes of the weights."""
        parts = flat.split(self.sizes, dim=1)
        return {
            name: part.view(len(flat), *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def of(self, row: int, numbers: Tensor) -> dict[str, Tensor]:
        """Name the numbers of one network, [numbers] laid out as its row, in its own shapes.

        They are views where no padding is left out.
        """
        return {
            name: part[0] if (where := self._places[row][name]) is None else part[0][where]
            for name, part in self.named(numbers.detach()[None]).items()
        }

    def put(self, row: int, numbers: Tensor, values: Mapping[str, Tensor]) -> None:
        """Set the numbers of one network, [numbers], from tensors in its own shapes."""
        self.version += 1
        with torch.no_grad():
            for name, part in self.named(numbers.detach()[None]).items():
                value, where = (
                    values[name].to(numbers.device, numbers.dtype),
                    self._places[row][name],
                )
                part[0][... if where is None else where] = value


def aligned(numbers: Tensor) -> Tensor:
    """Copy [networks, numbers] so that each row begins where a GPU multiplies quickest from."""
    found = empty_aligned(numbers)
    return found.copy_(numbers)


def empty_aligned(like: Tensor) -> Tensor:
    """Make a tensor of this kind and shape [networks, numbers] as `aligned` lays it out."""
    networks, numbers = like.shape
    stride = -(-numbers // ALIGNMENT) * ALIGNMENT
    return torch.empty_strided(
        (networks, numbers), (stride, 1), dtype=like.dtype, device=like.device
    )


def start_linear(weight: Tensor, bias: Tensor, fan_in: int, rng: torch.Generator) -> None:
    """Draw a layer's weight and bias as PyTorch's Linear starts, uniform within fan_in^-1/2."""
    for part in (weight, bias):
        part.uniform_(-1, 1, generator=rng).mul_(fan_in**-0.5)


def _segments(axis: Axis) -> tuple[int, ...]:
    return axis if isinstance(axis, tuple) else (axis,)


def _indices(mine: tuple[int, ...], longest: tuple[int, ...]) -> np.ndarray:
    starts = np.cumsum((0, *longest[:-1]))
    return np.concatenate(
        [start + np.arange(own) for start, own in zip(starts, mine, strict=True)]
    )
