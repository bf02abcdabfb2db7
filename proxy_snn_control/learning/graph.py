"""A computation recorded once on a GPU and replayed as a whole.

An update is about a thousand small operations; launching them one by one takes longer than doing
them does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# What is made at first use (the optimisers' moments, workspaces) must be there before recording.
BEFORE_RECORDING = 3


class Recorded:
    """A function of tensors on a GPU, called as it is a few times and then replayed.

    It must do the same operations on every call, on inputs of the same shapes, and may change
    tensors of its own in place, as an optimiser does.
    """

    def __init__(self, function: Callable[..., dict[str, Tensor]]) -> None:
        self._function = function
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._outputs: dict[str, Tensor] = {}

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Compute the function."""
        if self._calls < BEFORE_RECORDING:
            self._calls += 1
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                outputs = self._function(*inputs)
            torch.cuda.current_stream().wait_stream(aside)
            return outputs
        if self._graph is None:
            self._inputs = [each.clone() for each in inputs]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._outputs = self._function(*self._inputs)
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._graph.replay()
        return {name: value.clone() for name, value in self._outputs.items()}
