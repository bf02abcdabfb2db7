# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Random numbers of a population: each is a function of a member's key, a counter and its place.

A member's numbers must depend on its own seed alone: not on who is trained beside it, on the
device or on where a run was interrupted. Generators with an inner state would need one launch a
member on a GPU. SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014) needs no state: its n-th number is a mix of key + n * GAMMA. All members'
numbers are a few elementwise operations on int64 tensors, whose products wrap around alike on
every device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import math

import numpy as np
from proxy_snn_control.spiking.neurons import fused
import torch
from torch import Tensor

# 2^64 / golden ratio, and the two factors of the finaliser, as signed 64-bit numbers.
GAMMA, FIRST, SECOND = (
    value - 2**64 for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
# Streams: what a member's numbers are drawn for.
REPLAY, SMOOTHING, EXPLORATION, RANDOM_ACTIONS = range(4)
# Between the numbers of two values of the counter: places are below it.
COUNTER_STRIDE = 2**24
# Numbers of a member that a CPU draws at once: a few take as long as some hundred.
AT_ONCE = 2**14


class Stream:
    """Numbers of every member for one purpose, others for each value of a counter."""

    def __init__(
        self,
        seeds: Sequence[int],
        purpose: int,
        place: Tensor,
        kind: Callable[[Tensor], Tensor],
    ) -> None:
        """Make the stream.

        Args:
            seeds: of each member.
            purpose: what the numbers are drawn for, of the streams above.
            place: int64 [members or 1, ...], the numbers' places, where they are drawn.
            kind: the function that makes numbers of random bits, such as `normal`.
        """
        self._key, self._place = keys(list(seeds), purpose, place.device), place
        self._kind = kind
        self._ahead = max(1, AT_ONCE // place[0].numel()) if place.device.type == 'cpu' else 1
        self._first: int | None = None
        self._block = place

    def at(self, counter: Tensor) -> Tensor:
        """Draw the numbers of a value of the counter, an int64 scalar: of the shape of `place`."""
        if self._place.device.type != 'cpu':
            return draw(self._key, counter, self._place, self._kind)
        now = int(counter)
        # A block begins at a multiple of its length, so that a resumed run draws the same blocks.
        first = now - now % self._ahead
        if first != self._first:
            shape = 1, self._ahead, *[1] * (self._place.dim() - 1)
            place = self._place[:, None] + torch.arange(self._ahead).view(shape) * COUNTER_STRIDE
            self._first, self._block = first, draw(self._key, first, place, self._kind)
        return self._block[:, now - first]


def keys(seeds: list[int], stream: int, device: torch.device) -> Tensor:
    """Derive a key for each member from its seed and the number of the stream, int64 [members]."""
    found = [np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64) for seed in seeds]
    return torch.from_numpy(np.concatenate(found).view(np.int64)).to(device)


@fused
def draw(
    key: Tensor, counter: Tensor | int, place: Tensor, kind: Callable[[Tensor], Tensor]
) -> Tensor:
    """Draw `bits` [members, ...], and make numbers of them by a function such as `normal`."""
    return kind(bits(key, counter, place))


def bits(key: Tensor, counter: Tensor | int, place: Tensor) -> Tensor:
    """Draw 64 random bits for each place below `COUNTER_STRIDE`.

    Args:
        key: int64 [members].
        counter: what is never the same in two calls with this key, a number or an int64 scalar.
        place: int64 [members or 1, ...], the numbers' places.

    Returns:
        int64 of the shape of `place`, with one row a member.
    """
    x = key.view(-1, *[1] * (place.dim() - 1)) + (counter * COUNTER_STRIDE + place) * GAMMA
    x = (x ^ _shifted(x, 30)) * FIRST
    x = (x ^ _shifted(x, 27)) * SECOND
    return x ^ _shifted(x, 31)


def as_they_are(bits: Tensor) -> Tensor:
    """Leave random bits what they are."""
    return bits


def below(bound: Tensor | int, drawn: Tensor) -> Tensor:
    """Turn random bits into whole numbers from 0 to below `bound`, at most 2^31, int64."""
    return (_shifted(drawn, 32) * bound) >> 32


def uniform(drawn: Tensor) -> Tensor:
    """Turn random bits into float32 numbers from 0 to below 1, of 24 bits each."""
    return _shifted(drawn, 40).to(torch.float32) * 2.0**-24


def normal(drawn: Tensor) -> Tensor:
    """Turn random bits into standard normal float32 numbers.

    Box and Muller, "A note on the generation of random normal deviates", 1958: 32 of the bits are
    the radius, the others the angle.
    """
    radius = (_shifted(drawn, 32) + 1).to(torch.float32) * 2.0**-32
    angle = (drawn & 0xFFFFFFFF).to(torch.float32) * (2 * math.pi * 2.0**-32)
    return torch.sqrt(-2 * torch.log(radius)) * torch.cos(angle)


def _shifted(x: Tensor, count: int) -> Tensor:
    """Shift right and fill up with zeros; torch's own shift repeats the sign."""
    return (x >> count) & ((1 << (64 - count)) - 1)
