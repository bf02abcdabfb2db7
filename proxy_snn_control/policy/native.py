# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The event-driven pass as machine code: compiled once, kept on disk, loaded without the compiler.

event.py holds the pass. At first use on a computer a process of its own compiles it with
Numba, which takes some seconds and some 150 MB; the object file is kept (cache.py), one per neuron
and processor. From then on it is loaded without any of that (machine_code.py). Where Numba is not
installed, and on other systems than Linux on 64-bit x86 or ARM, there is no compiled pass, and
runtime.py acts with NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import ctypes
import functools
import hashlib
import importlib.util
import itertools
import logging
import os
from pathlib import Path
import threading
from typing import Any

import numpy as np
from proxy_snn_control import child

from . import cache, machine_code, plugins
from .file import MAX_FILE_BYTES, PolicySpec, Tensors
from .plugins import NEURONS

WIDTH = 32  # neurons of a layer at once
SPARE = 16  # more entries of a list of events, and more WIDTHs of scratch, than neurons need
# Terms added together in order; a longer sum is that of its first half and that of its second.
TOGETHER = 192
CACHE_LINE = 64  # bytes
COMPILE_SECONDS = 300
SOURCES = ('event.py', 'native.py', 'neurons.py')
# Lines of /proc/cpuinfo, on x86 and on ARM; others hold clock rates.
PROCESSOR = ('vendor_id', 'cpu family', 'model', 'stepping', 'flags', 'CPU ', 'Features')

_loaded: dict[str, tuple[Any, Callable[..., int]] | None] = {}
_lock = threading.Lock()
_log = logging.getLogger('proxy_snn_control')


def fits(spec: PolicySpec) -> bool:
    """Whether a policy's weights, laid out for the pass, take little more memory than its file.

    A layer of few neurons after one of very many takes more: it is padded to `WIDTH` neurons.
    """
    sizes = spec.layer_sizes
    rows = sum(
        -(-wide // WIDTH) * WIDTH * (fan_in + 1) for fan_in, wide in itertools.pairwise(sizes)
    )
    return rows * 4 <= MAX_FILE_BYTES * 1.25


def compiled_pass(neuron: str) -> Callable[..., int] | None:
    """Load the compiled pass for a neuron of `NEURONS`; compile it if it is not in the cache.

    Returns:
        The function `act` of event.py's object file. None if it is not in the cache and Numba is
        not installed, or, after a warning in the log, if it cannot be compiled or loaded.
    """
    with _lock:
        if neuron not in _loaded:
            _loaded[neuron] = _load(neuron)
        found = _loaded[neuron]
    return found and found[1]


def _load(neuron: str) -> tuple[Any, Callable[..., int]] | None:
    key = hashlib.sha256(_processor())
    for source in SOURCES:
        key.update(Path(__file__).with_name(source).read_bytes())
    if NEURONS.plugin(neuron):
        key.update(plugins.source_of(NEURONS[neuron]))
    name = f'{neuron}-{key.hexdigest()[:24]}.o'
    content = cache.kept(name)
    if content is None:
        content = _compile(neuron)
        if content is None:
            return None
        cache.keep(name, content)
    try:
        memory, address = machine_code.load(content, 'act')
    except (OSError, ValueError, AttributeError) as error:  # of a system without memfd_create
        _log.warning('the compiled pass cannot be loaded, NumPy acts instead: %s', error)
        return None
    # Keep the interpreter's lock: the pass takes less time than getting the lock back.
    kind = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
    return memory, kind(address)


def _processor() -> bytes:
    """Return what distinguishes this processor: code made for another may not run on it."""
    about = [os.uname().machine]
    with suppress(OSError), open('/proc/cpuinfo', encoding='utf-8', errors='replace') as file:
        for line in itertools.takewhile(str.strip, file):  # of the first core
            about += [line] if line.startswith(PROCESSOR) else []
    return ''.join(about).encode()


def _compile(neuron: str) -> bytes | None:
    if not all(map(importlib.util.find_spec, ('numba', 'llvmlite'))):
        return None
    import subprocess

    _log.warning("compiling the %s policy's pass, once for this computer: some seconds", neuron)
    command = child.command(f'{__package__}.event', neuron, *plugins.loaded())
    path = plugins.child_path(str(Path(__file__).parents[2]))
    environment = {**os.environ, 'PYTHONPATH': path}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMPILE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, 'stderr', None) or b''
        reason = output.decode(errors='replace').strip().rpartition('\n')[2] or error
        _log.warning('the pass cannot be compiled, NumPy is used instead: %s', reason)
        return None
    return done.stdout


class CompiledNetwork:
    """A spiking policy's network in memory laid out for the compiled pass.

    Attributes:
        observation: float64 [input_size], what `run` reads.
        action: float32 [actions], what it computed.
        counts: int64 [layers], spikes per layer from the encoder on.
    """

    def __init__(
        self,
        spec: PolicySpec,
        tensors: Tensors,
        limits: tuple[np.ndarray, np.ndarray],
        function: Callable[..., int],
    ) -> None:
        self._spec, self._tensors, self._limits = spec, tensors, limits
        neuron, sizes, steps = NEURONS[spec.neuron], spec.layer_sizes, spec.time_steps
        padded = [-(-size // WIDTH) * WIDTH for size in sizes]
        whole = [steps, spec.input_size, spec.encoder_population]
        whole += [spec.action_size, spec.decoder_population, max(padded), len(sizes) - 1, *sizes]
        constants = [spec.neuron_constants[name] for name in neuron.constants]
        self.observation = np.zeros(spec.input_size)
        self.action = np.zeros(spec.action_size, np.float32)
        self.counts = np.zeros(len(sizes), np.int64)
        self._encoder = np.zeros((3, sizes[0]))
        self._rows = [
            np.zeros((wide // WIDTH, fan_in + 1, WIDTH), np.float32)
            for wide, fan_in in zip(padded[1:], sizes, strict=False)
        ]
        all_rows, self._rows = _flat(self._rows)
        biases, self._biases = _flat([np.zeros(wide, np.float32) for wide in padded[1:]])
        spikes, self._spikes = _flat([np.zeros((steps, wide), np.uint8) for wide in padded])
        potentials, self._potentials = _flat(
            [np.zeros((steps, wide), np.float32) for wide in padded[1:]]
        )
        decoder, (self._decoder_weight, self._decoder) = _flat(
            [
                np.zeros((spec.action_size, spec.decoder_population), np.float32),
                np.zeros((4, spec.action_size), np.float32),
            ]
        )
        self._memory = (
            np.array(whole, np.int64),
            self.observation,
            self._encoder,
            all_rows,
            biases,
            np.array([*constants, spec.encoder_threshold], np.float32),
            decoder,
            spikes,
            potentials,
            np.zeros((steps, 2, max(padded) + SPARE), np.uint32),
            np.zeros(2 * max(padded) + SPARE * WIDTH, np.float32),
            self.counts,
            self.action,
        )
        self._addresses = np.array([array.ctypes.data for array in self._memory], np.uintp)
        self._function = functools.partial(function, ctypes.c_void_p(self._addresses.ctypes.data))
        self.refresh()

    def refresh(self) -> None:
        """Copy the weights as they are now."""
        tensors, (low, high) = self._tensors, self._limits
        self._encoder[0] = tensors['encoder.mu'].ravel()
        self._encoder[1] = 2 * tensors['encoder.sigma'].ravel().astype(np.float64) ** 2
        for i, (rows, bias) in enumerate(zip(self._rows, self._biases, strict=True)):
            weight = tensors[f'layers.{i}.weight']
            bias[: len(weight)] = tensors[f'layers.{i}.bias']
            for block, of_block in enumerate(rows):
                begin, end = block * WIDTH, (block + 1) * WIDTH
                part = weight[begin:end]
                of_block[:-1, : len(part)] = part.T
        self._decoder_weight[:] = tensors['decoder.weight']
        self._decoder[:] = tensors['decoder.bias'], low, (high - low) / 2, high

    def run(self) -> int:
        """Compute the action; returns which observation is not finite, or -1 if all are."""
        return self._function()

    @property
    def spikes(self) -> list[np.ndarray]:
        """Per layer from the encoder on, float32 [T, neurons] of zeros and ones."""
        layers = zip(self._spikes, self._spec.layer_sizes, strict=True)
        return [layer[:, :size].astype(np.float32) for layer, size in layers]

    @property
    def potentials(self) -> list[np.ndarray]:
        """Potentials before the reset, per layer after the encoder, float32 [T, neurons]."""
        layers = zip(self._potentials, self._spec.layer_sizes[1:], strict=True)
        return [layer[:, :size].copy() for layer, size in layers]


def _flat(arrays: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """One array that holds them all, one after the other, and the same arrays as views of it.

    It begins with a cache line, so that none of the vectors in it lies across two.
    """
    ends = np.cumsum([array.size for array in arrays])
    memory = np.empty(arrays[0].itemsize * ends[-1] + CACHE_LINE, np.uint8)
    begin = -memory.ctypes.data % CACHE_LINE
    end = begin + memory.size - CACHE_LINE
    whole = memory[begin:end].view(arrays[0].dtype)
    np.concatenate([array.ravel() for array in arrays], out=whole)
    parts = np.split(whole, ends[:-1])
    return whole, [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]
