# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A computation recorded once on a GPU and replayed as a whole.

An update is hundreds of small operations; launching them one by one takes longer than doing them
does.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import gc
from typing import Any

import torch

# What is made at first use (the optimisers' moments, workspaces, compiled kernels) must be there
# before recording.
BEFORE_RECORDING = 3


class Recorded:
    """A function without arguments, on a GPU called as it is a few times and then replayed.

    It must do the same operations on every call, on the same tensors, and may change tensors in
    place, as an optimiser does. What it returns is overwritten by the next call. On a CPU it is
    called as it is.
    """

    def __init__(self, function: Callable[[], Any], device: torch.device) -> None:
        self._function, self._on_gpu = function, device.type == 'cuda'
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._output: Any = None

    def __call__(self) -> Any:
        """Compute the function."""
        if not self._on_gpu:
            return self._function()
        if self._graph is None and self._calls < BEFORE_RECORDING:
            self._calls += 1
            aside = _aside()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                output = self._function()
            torch.cuda.current_stream().wait_stream(aside)
            return output
        if self._graph is None:
            gc.collect()  # what is freed while recording may do what cannot be recorded
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._output = self._function()
        self._graph.replay()
        return self._output


@functools.cache
def _aside() -> torch.cuda.Stream:
    """Return the stream of what is not recorded yet: one for all, for each keeps memory."""
    return torch.cuda.Stream()
