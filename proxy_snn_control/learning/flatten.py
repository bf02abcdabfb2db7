# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Observations of any structure as one vector with names, in Gymnasium's order."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium
from gymnasium import spaces
import numpy as np
from proxy_snn_control.policy.errors import UserError


class Part(NamedTuple):
    """A space that holds numbers, and where in the observation it is."""

    path: tuple[Any, ...]
    space: gymnasium.Space[Any]

    @property
    def name(self) -> str:
        """Keys of dictionaries and places in tuples, joined by dots."""
        return '.'.join(map(str, self.path))


class Flattening:
    """How observations of a space become one vector.

    In the order of `gymnasium.spaces.flatten`: the entries of a Dict in the order of the space,
    the numbers of a Box row by row, Discrete and MultiDiscrete as one number for each value that
    they may have (one-hot). A number is named by where it is: `achieved_goal.0`.

    Attributes:
        parts: spaces in this order.
        size: how many numbers.
        names: of each number; None where there is but one part, whose numbers are nowhere named.
    """

    def __init__(self, task: str, space: Any) -> None:
        """Find the parts.

        Raises:
            UserError: there is a space of another kind in it.
        """
        self.parts = _parts(task, space, ())
        self.size = sum(spaces.flatdim(part.space) for part in self.parts)
        self.names: list[str] | None = None
        if all(part.path for part in self.parts):
            self.names = [name for part in self.parts for name in _names_of(part)]

    def __call__(self, observation: Any) -> np.ndarray:
        """Give the numbers of an observation, float64.

        Raises:
            ValueError: it is not of the space; names where.
        """
        found = [_numbers(part, observation) for part in self.parts]
        return np.concatenate(found) if found else np.zeros(0)


def _parts(task: str, space: Any, path: tuple[Any, ...]) -> list[Part]:
    if isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        return [Part(path, space)]
    inner: Any
    if isinstance(space, spaces.Dict):
        inner = space.spaces.items()
    elif isinstance(space, spaces.Tuple):
        inner = enumerate(space.spaces)
    else:
        where = f' in {Part(path, space).name!r}' if path else ''
        raise UserError(
            f'task {task!r} has observation space {type(space).__name__}{where}, expected a Box, '
            'or a Dict or Tuple of such'
        )
    return [part for key, each in inner for part in _parts(task, each, (*path, key))]


def _names_of(part: Part) -> list[str]:
    if part.space.shape == () and isinstance(part.space, spaces.Box):
        return [part.name]
    shape: Any = part.space.shape
    if isinstance(part.space, (spaces.Discrete, spaces.MultiDiscrete)):
        shape = (spaces.flatdim(part.space),)
    return ['.'.join([part.name, *map(str, place)]) for place in np.ndindex(*shape)]


def _numbers(part: Part, observation: Any) -> np.ndarray:
    value = observation
    for key in part.path:
        try:
            value = value[key]
        except (LookupError, TypeError):
            raise ValueError(f'it lacks {part.name!r}') from None
    where = f'{part.name!r} ' if part.path else ''
    if isinstance(part.space, spaces.Box):
        numbers = np.asarray(value, np.float64)
        if numbers.shape != part.space.shape:
            raise ValueError(
                f'{where}has shape {numbers.shape}, expected {part.space.shape} as its space has'
            )
        return numbers.ravel()
    if not part.space.contains(value):
        raise ValueError(f'{where}is {value!r:.60}, expected one of {part.space}')
    return np.asarray(spaces.flatten(part.space, value), np.float64)
