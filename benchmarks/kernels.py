# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The kernels that a GPU would run, checked on a computer without one.

    python benchmarks/kernels.py

Needs torch's CUDA build, whose Triton comes with NVIDIA's assembler, and no card; takes a minute.
Torch writes the kernels of every `fused` function for an H100, Triton compiles them for it, and
its interpreter runs them on small arrays; the largest difference from plain torch is printed,
relative to the largest number. A description of the card replaces what torch would read from the
driver, by names that are torch's own: torch 2.11 and 2.14 have them, another version may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import importlib.util
import inspect
import io
import os
from pathlib import Path
import pickle
import re
import subprocess
import sys
import tempfile
from types import SimpleNamespace
from typing import Any

import numpy as np
from proxy_snn_control.learning import draws, targets
from proxy_snn_control.policy.neurons import NEURONS
from proxy_snn_control.spiking import neurons
import torch

H100 = SimpleNamespace(
    name='NVIDIA H100 80GB HBM3', major=9, minor=0, multi_processor_count=132, warp_size=32,
    total_memory=80 * 2**30, regs_per_multiprocessor=65536, max_threads_per_multi_processor=2048,
    max_threads_per_block=1024, shared_memory_per_block=49152, L2_cache_size=50 * 2**20,
    shared_memory_per_block_optin=232448, shared_memory_per_multiprocessor=233472, uuid='',
    gcnArchName='',
)  # fmt: skip
MEMBERS, STEPS, POPULATION = 2, 5, 4
KERNEL = re.compile(r"async_compile\.triton\('(\w+)', '''(.*?)''', device_str='cuda'\)", re.S)


def cases(batch: int, width: int) -> Iterator[tuple[str, Callable[..., Any], list[Any]]]:
    """Name, function and arguments of all that is compiled."""
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    for name in ('lif', 'clif', 'dn'):
        kind = NEURONS[name]
        about = neurons.About(kind, tuple(kind.constants.values()), 0.5, STEPS, 0.999)
        current, gradient = normal(2, MEMBERS, batch, STEPS, width)
        tail = torch.linspace(0, 0.25, MEMBERS)[:, None, None]
        yield f'run, {name}', neurons.run, [current, about]
        backward = [gradient, current, about]
        yield f'run_backward, {name}', neurons.run_backward, [*backward, None]
        yield f'run_backward, {name}, tails', neurons.run_backward, [*backward, tail]
    observation, mu = normal(MEMBERS, batch, 3), normal(MEMBERS, 3, POPULATION)
    receptive = [observation, mu, mu.abs() + 0.2]
    stimulation = neurons.stimulate(*receptive)
    yield 'stimulate', neurons.stimulate, receptive
    gradients = [normal(*stimulation.shape), stimulation, *receptive]
    yield 'stimulate_backward', neurons.stimulate_backward, gradients
    yield 'encode', neurons.encode, [stimulation, STEPS, 0.999]
    read_out, action = normal(2, MEMBERS, batch, 3)
    half = normal(MEMBERS, 1, 3).abs()
    distance = [read_out, action, -half, half, torch.tensor([3.0, 2.0])]
    yield 'distance of the proxy', targets._distance, distance
    key = draws.keys([1, 2], draws.SMOOTHING, torch.device('cpu'))
    place = torch.arange(batch * 3).view(1, batch, 3)
    for numbers in (draws.normal, draws.uniform, draws.as_they_are):
        arguments = [key, torch.tensor(12345), place, numbers]
        yield f'draw, {numbers.__name__}', draws.draw, arguments


def pretend() -> None:
    """Put an H100 in place of the driver."""
    from torch._dynamo.device_interface import CudaInterface
    import torch._inductor.runtime.triton_helpers as helpers
    import torch._subclasses.fake_tensor as fake
    import triton
    from triton.backends.compiler import GPUTarget

    def properties(device: Any = None) -> SimpleNamespace:
        return H100

    torch._C._ensureCUDADeviceGuardSet()
    for name, value in {
        'is_available': True, 'get_device_capability': (9, 0), 'current_device': 0,
        'device_count': 1, '_lazy_init': None, 'synchronize': None, '_exchange_device': 0,
        '_maybe_exchange_device': 0, 'get_rng_state': torch.zeros(16, dtype=torch.uint8),
        'set_rng_state': None, 'get_device_properties': H100,
    }.items():  # fmt: skip
        setattr(torch.cuda, name, lambda *_, value=value: value)
    CudaInterface.Worker.get_device_properties = staticmethod(properties)
    CudaInterface.get_device_properties = staticmethod(properties)
    fake.init_gpu_context = lambda device: None
    helpers.set_driver_to_gpu = lambda: None
    target = SimpleNamespace(
        get_current_target=lambda: GPUTarget('cuda', 90, 32),
        get_current_device=lambda: 0,
        get_current_stream=lambda device=0: 0,
        get_active_torch_device=lambda: torch.device('cuda', 0),
    )
    triton.runtime.driver.set_active(target)


def written(function: Callable[..., Any], arguments: list[Any]) -> str:
    """Return what torch writes for a function of tensors like these, on the card."""
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.graph import GraphLowering
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    found: list[str] = []
    codegen = GraphLowering.codegen

    def kept(graph: Any) -> Any:
        result = codegen(graph)
        found.append(result[0].value)
        return result

    def of_tensors(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rest = iter(tensors)
        given = [next(rest) if isinstance(a, torch.Tensor) else a for a in arguments]
        result = inspect.unwrap(function)(*given)
        return result if isinstance(result, tuple) else (result,)

    with FakeTensorMode():
        tensors = [
            torch.empty(a.shape, dtype=a.dtype, device='cuda')
            for a in arguments
            if isinstance(a, torch.Tensor)
        ]
        graph = make_fx(of_tensors, select_decomp_table())(*tensors)
        GraphLowering.codegen = kept
        try:  # it fails when it loads what it has compiled, without a driver
            with (
                contextlib.suppress(Exception),
                contextlib.redirect_stderr(io.StringIO()),
                config.patch(deterministic=True),
            ):
                compile_fx_inner(graph, tensors)
        finally:
            GraphLowering.codegen = codegen
    return found[0]


def module(name: str, text: str, folder: Path) -> Any:
    """Import a kernel's text; Triton needs it in a file."""
    path = folder / f'{name}_{abs(hash(text))}.py'
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def compiled(text: str, folder: Path) -> int:
    """Compile every kernel of a text, in every configuration that torch would try; how many."""
    count = 0
    for name, kernel in KERNEL.findall(text):
        tuner = getattr(module(name, kernel, folder), name)
        for configuration in tuner.configs:
            tuner._precompile_config(configuration)
            count += 1
    return count


def interpreted(text: str, arguments: list[Any], folder: Path) -> tuple[torch.Tensor, ...]:
    """Return what a text computes, by Triton's interpreter."""
    import triton
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    def elementwise(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of CUDA's own library, which the interpreter does not have."""
        return lambda x: tl.core.tensor(
            TensorHandle(function(x.handle.data), x.handle.dtype), x.type
        )

    library = SimpleNamespace(tanh=elementwise(np.tanh), exp=elementwise(np.exp))

    def launcher(name: str, kernel: str, device_str: str) -> Any:
        imports = (
            'import triton\nimport triton.language as tl\n'
            'from torch._inductor.runtime import triton_helpers\n'
            'from torch._inductor.runtime.triton_helpers import libdevice, math as tl_math\n'
        )
        begin = kernel.index('@triton.jit')
        made = module(name, imports + kernel[begin:], folder)
        made.libdevice = library
        function = getattr(made, name)
        parameters = list(inspect.signature(function.fn).parameters)

        def run(*given: Any, stream: int) -> None:
            numbers, blocks = dict(zip(parameters, given, strict=False)), {}
            grid = [1, 1, 1]
            for axis, letter in enumerate('xyz'):
                if f'{letter.upper()}BLOCK' in parameters:
                    blocks[f'{letter.upper()}BLOCK'] = 4
                    grid[axis] = -(-numbers[f'{letter}numel'] // 4)
            if 'R0_BLOCK' in parameters:
                blocks['R0_BLOCK'] = triton.next_power_of_2(numbers['r0_numel'])
            function[tuple(grid)](*given, **blocks)

        return SimpleNamespace(run=run)

    for old, new in {
        'async_compile = AsyncCompile()': 'async_compile = COMPILER',
        'empty_strided_cuda(': 'EMPTY(',
        'with torch.cuda._DeviceGuard(0):': 'if True:',
        'torch.cuda.set_device(0)': 'pass',
        'get_raw_stream(0)': '0',
    }.items():
        text = text.replace(old, new)
    names: dict[str, Any] = {
        '__name__': 'written',
        'COMPILER': SimpleNamespace(triton=launcher, wait=lambda names: None),
        'EMPTY': lambda size, stride, dtype: torch.empty_strided(size, stride, dtype=dtype),
    }
    exec(compile(text, 'written', 'exec'), names)
    result: tuple[torch.Tensor, ...] = names['call'](
        [a for a in arguments if isinstance(a, torch.Tensor)]
    )
    return result


def main() -> int:
    """Write and compile here, interpret in a second process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sys.argv[1:]:
            texts: dict[str, str] = pickle.loads(Path(sys.argv[1]).read_bytes())
            worst = 0.0
            for name, function, arguments in cases(6, 8):
                expected = function(*arguments)
                both = zip(
                    interpreted(texts[name], arguments, folder),
                    expected if isinstance(expected, tuple) else (expected,),
                    strict=True,
                )
                away = max(
                    float((a.double() - b.double()).abs().max() / b.double().abs().max())
                    for a, b in both
                )
                worst = max(worst, away)
                print(f'{name}: {away:.1e}')
            return int(not worst < 1e-5)
        pretend()
        os.environ['TORCHINDUCTOR_FORCE_DISABLE_CACHES'] = '1'
        found = {}
        for batch, width in ((6, 8), (256, 256)):
            for name, function, arguments in cases(batch, width):
                text = written(function, arguments)
                kernels = len(KERNEL.findall(text))
                count = compiled(text, folder)
                print(f'{name}, batch {batch}: {kernels} kernels, {count} compiled', flush=True)
                found.setdefault(name, text)
        texts_file = folder / 'texts'
        texts_file.write_bytes(pickle.dumps(found))
        environment = {**os.environ, 'TRITON_INTERPRET': '1'}
        command = [sys.executable, __file__, str(texts_file)]
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
