# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What a run runs on: device, precision and threads as they resolve here, and what is recorded."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
from pathlib import Path
import platform
import subprocess
from typing import Any

import gymnasium
import mujoco
import numpy
import proxy_snn_control
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.policy.errors import UserError
import torch

# Of what `record` gives, the entries that are no versions.
MACHINE = ('processor', 'threads', 'gpu', 'commit')
# What torch's errors contain when memory is short; not "illegal memory access".
OUT_OF_MEMORY = (
    'out of memory',
    "can't allocate memory",
    'not enough memory',
    'ALLOC_FAILED',
    'Storage size calculation overflowed',
)
# Options of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def has_bfloat16_units() -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than float32 ones.

    With AMX up to eight times faster, with AVX-512's bfloat16 instructions twice.
    """
    able = torch.cpu.get_capabilities()
    return bool(able.get('amx_bf16') or able.get('avx512_bf16'))


def resolved(config: TrainConfig) -> TrainConfig:
    """Return the settings with device and precision as "auto" resolves them on this machine.

    A GPU is taken where torch finds one. Products are bfloat16 where the processor has units for
    it, TF32 on a GPU, else float32.

    Raises:
        UserError: the device does not exist, or does not support the precision.
    """
    device, precision = config.device, config.precision
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device == 'cuda' and not torch.cuda.is_available():
        raise UserError("setting device is 'cuda', but torch finds no usable GPU")
    if precision == 'auto':
        on_cpu = 'bfloat16' if has_bfloat16_units() else 'float32'
        precision = 'tf32' if device == 'cuda' else on_cpu
    if precision == 'tf32' and device == 'cpu':
        raise UserError("setting precision is 'tf32', which only a GPU has, but device is 'cpu'")
    return dataclasses.replace(config, device=device, precision=precision)


def record(config: TrainConfig) -> dict[str, Any]:
    """Return what else determines the result of these settings: versions and hardware."""
    found: dict[str, Any] = {
        'proxy_snn_control': proxy_snn_control.__version__,
        'torch': str(torch.__version__),
        'gymnasium': gymnasium.__version__,
        'mujoco': mujoco.__version__,
        'numpy': numpy.__version__,
        'python': platform.python_version(),
        'processor': _processor(),
        'threads': torch.get_num_threads(),
    }
    if config.device == 'cuda':
        found['gpu'] = torch.cuda.get_device_name()
    if commit := _commit():
        found['commit'] = commit
    return found


def use_processor(threads: int) -> None:
    """Take that many threads (0: torch's default), and avoid two hidden costs.

    By default the C library gives each freed array back to the system and an update's arrays are
    then paged in anew, which takes a tenth of the time. And Adam's moments of weights that no
    longer get a gradient fade into denormal numbers, with which the processor is slow: they become
    zero instead.
    """
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)
    if hasattr(mallopt := ctypes.CDLL(None), 'mallopt'):
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt.mallopt(option, 2**30)


def staging(*shape: int, device: torch.device) -> torch.Tensor:
    """Zeros in this computer's memory, from which a GPU can copy by itself."""
    return torch.zeros(*shape, pin_memory=device.type == 'cuda')


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or its cause, reports that memory is short.

    Torch has no class for it on a processor, and one that breaks off a recording hides behind the
    error that the recording is broken.
    """
    while error is not None:
        if isinstance(error, MemoryError) or any(each in str(error) for each in OUT_OF_MEMORY):
            return True
        error = error.__cause__ or error.__context__
    return False


@functools.cache
def _processor() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def _commit() -> str | None:
    """Return the git commit of a package that runs from its repository, with "+" if changed."""
    root = Path(proxy_snn_control.__file__).parents[1]
    if not (root / '.git').exists():
        return None
    git = ['git', '-C', str(root)]
    try:
        commit = subprocess.run(
            [*git, 'rev-parse', 'HEAD'], capture_output=True, text=True, check=True, timeout=10
        )
        changed = subprocess.run(
            [*git, 'status', '--porcelain', '--untracked-files=no'],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ('+' if changed.stdout.strip() else '')
