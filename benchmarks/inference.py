# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""One action, timed: this runtime, the ordinary network it replaces, and other spiking simulators.

    pip install -c constraints.txt '.[train,benchmarks]'
    python benchmarks/inference.py benchmarks/policies/lif-*.safetensors --table F.md

Everything runs on one core with one thread, in one run: the contenders take turns, and each
figure is from all turns of one. The ordinary network is of the policy's width, with random
weights (its time does not depend on them), by ONNX Runtime and by PyTorch. SpikingJelly and
snnTorch run the policy's own spiking network with its weights; that they fire the same spikes is
checked first. The policy as C (proxy-snn export) is compiled by cc at -O2 alone and called from
Python like the others; its time by a clock in C is reported beside. What takes as long and does
nothing but count shows the tail that is the machine's. Starting is timed in fresh processes, which
take turns too. Run nothing else meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import ctypes
import functools
import gc
import itertools
import json
import math
import os
from pathlib import Path
import platform
import subprocess
import sys
import tempfile
import time

from exactness import rollouts, torch_actor
import numba
import numpy as np
import onnxruntime
from page import finish, heading, processor
from proxy_snn_control.policy import load_policy, Policy, PolicyFile, PolicySpec, read_policy
from proxy_snn_control.policy.c_export import export_c
from proxy_snn_control.policy.energy import (
    activity,
    equivalent_energy,
    inference_energy,
    possible_synaptic_operations,
)
from proxy_snn_control.policy.exchange import onnx_model
from proxy_snn_control.spiking.actor import SpikingActor
import snntorch
from spikingjelly.activation_based import functional, neuron
import torch
from torch import nn, Tensor

Act = Callable[[np.ndarray], object]
OBSERVATIONS = 2000
LATE = 15.0  # us over the median
HERE = Path(__file__).parent


class Parts(nn.Module):
    """What of a policy is not neurons, as torch modules."""

    def __init__(self, spec: PolicySpec, tensors: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.spec = spec
        given = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
        self.layers = nn.ModuleList()
        for i, sizes in enumerate(itertools.pairwise(spec.layer_sizes)):
            layer = nn.Linear(*sizes)
            layer.weight.data = given[f'layers.{i}.weight']
            layer.bias.data = given[f'layers.{i}.bias']
            self.layers.append(layer)
        self.mu = given['encoder.mu'].double()
        self.width = -2 * given['encoder.sigma'].double() ** 2
        self.weight, self.bias = given['decoder.weight'], given['decoder.bias']
        self.low, self.high = torch.tensor(spec.action_low), torch.tensor(spec.action_high)

    def encoder(self, observation: Tensor) -> Tensor:
        """Spikes [T, batch, neurons] of observations [batch, observations]."""
        distance = torch.tanh(observation.double())[:, :, None] - self.mu
        stimulation = torch.exp(distance * distance / self.width).float().flatten(1)
        potential, spikes = torch.zeros_like(stimulation), []
        for _ in range(self.spec.time_steps):
            potential = potential + stimulation
            spikes.append((potential > self.spec.encoder_threshold).float())
            potential = potential - spikes[-1] * self.spec.encoder_threshold
        return torch.stack(spikes)

    def decoder(self, rate: Tensor) -> Tensor:
        """Actions [batch, actions] of the output population's rates [batch, neurons]."""
        read_out = (rate.view(-1, *self.weight.shape) * self.weight).sum(-1) + self.bias
        return self.low + (torch.tanh(read_out) + 1) * (self.high - self.low) / 2


class OthersNetwork(nn.Module):
    """The policy's network with another library's neurons: a loop over the simulation steps."""

    def __init__(self, actor: Parts, neurons: list[nn.Module]) -> None:
        super().__init__()
        self.actor, self.neurons = actor, nn.ModuleList(neurons)

    def rest(self) -> None:
        """Put every neuron to rest."""
        raise NotImplementedError

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the action, and the output population's spike count."""
        self.rest()
        count = torch.zeros(1)
        for spikes in self.actor.encoder(observation):
            for layer, each in zip(self.actor.layers, self.neurons, strict=True):
                output = each(layer(spikes))
                spikes = output[0] if isinstance(output, tuple) else output
            count = count + spikes
        return self.actor.decoder(count / self.actor.spec.time_steps), count


class InSnnTorch(OthersNetwork):
    """With snnTorch's Leaky neurons."""

    def __init__(self, actor: Parts, spec: PolicySpec) -> None:
        constants = spec.neuron_constants
        super().__init__(
            actor,
            [
                snntorch.Leaky(
                    beta=constants['voltage_decay'],
                    threshold=constants['threshold'],
                    reset_mechanism='zero',
                    init_hidden=True,
                )
                for _ in actor.layers
            ],
        )

    def rest(self) -> None:
        """Put every neuron to rest."""
        for each in self.neurons:
            each.reset_mem()


class InSpikingJelly(OthersNetwork):
    """With SpikingJelly's LIF nodes, one simulation step at a time."""

    step_mode = 's'

    def __init__(self, actor: Parts, spec: PolicySpec) -> None:
        constants = spec.neuron_constants
        super().__init__(
            actor,
            [
                neuron.LIFNode(
                    tau=1 / (1 - constants['voltage_decay']),
                    decay_input=False,
                    v_threshold=constants['threshold'],
                    v_reset=0.0,
                    step_mode=self.step_mode,
                )
                for _ in actor.layers
            ],
        )

    def rest(self) -> None:
        """Put every neuron to rest."""
        functional.reset_net(self)


class InSpikingJellyAllSteps(InSpikingJelly):
    """With SpikingJelly's LIF nodes in its multi-step mode: a layer runs all its steps at once."""

    step_mode = 'm'

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the action, and the output population's spike count."""
        self.rest()
        spikes = self.actor.encoder(observation)
        for layer, each in zip(self.actor.layers, self.neurons, strict=True):
            spikes = each(layer(spikes))
        count = spikes.sum(0)
        return self.actor.decoder(count / self.actor.spec.time_steps), count


def by_actor(actor: SpikingActor) -> Act:
    """Call this package's spiking actor, of one member, with one observation."""

    def act(observation: np.ndarray) -> object:
        with torch.inference_mode():
            return actor(torch.from_numpy(observation)[None, None])

    return act


def in_torch(network: nn.Module) -> Act:
    """Call a torch network with one observation."""

    def act(observation: np.ndarray) -> object:
        with torch.inference_mode():
            return network(torch.from_numpy(observation)[None])

    return act


def ordinary(spec: PolicySpec) -> tuple[Act, Act, bytes]:
    """Return the ReLU actor of the same width: by ONNX Runtime, by torch, and as an ONNX model."""
    torch.manual_seed(0)
    sizes = (spec.observation_size, *spec.hidden, spec.action_size)
    linear = [nn.Linear(*each) for each in itertools.pairwise(sizes)]
    tensors = {
        f'layers.{i}.{name}': p.detach().numpy()
        for i, layer in enumerate(linear)
        for name, p in layer.named_parameters()
    }
    activations = [*(nn.ReLU() for _ in spec.hidden), nn.Tanh()]
    pairs = zip(linear, activations, strict=True)
    actor = nn.Sequential(*(module for pair in pairs for module in pair))
    fields = {
        **vars(spec),
        'neuron': 'relu',
        'neuron_constants': {},
        'time_steps': 1,
        'encoder_population': 1,
        'decoder_population': 1,
    }
    relu = PolicySpec(**fields)
    model = onnx_model(relu, tensors).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])

    def act(observation: np.ndarray) -> object:
        return session.run(None, {'observation': observation[None]})

    return act, in_torch(actor), model


# The policy as C with a clock around it.
CLOCK = """
#define _POSIX_C_SOURCE 199309L
#include <stdlib.h>
#include <time.h>
#include "policy.h"
policy_state *make_state(void)
{
    policy_state *state = malloc(sizeof *state);
    policy_init(state);
    return state;
}
void time_actions(policy_state *state, const float *observations, int count, double *microseconds)
{
    float action[POLICY_ACTIONS];
    int i;
    for (i = 0; i < count; i++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        policy_act(state, observations + (long)i * POLICY_OBSERVATIONS, action);
        clock_gettime(CLOCK_MONOTONIC, &b);
        microseconds[i] = (double)(b.tv_sec - a.tv_sec) * 1e6;
        microseconds[i] += (double)(b.tv_nsec - a.tv_nsec) / 1e3;
    }
}
"""


def in_c(file: PolicyFile, folder: str) -> tuple[Act, Callable[[np.ndarray], np.ndarray]]:
    """Return the policy as C, called from Python; and the times of actions by a clock in C."""
    export_c(file, folder)
    (Path(folder) / 'clock.c').write_text(CLOCK)
    sources = [f'{folder}/policy.c', f'{folder}/clock.c']
    flags = ['-std=c99', '-Wall', '-Wextra', '-Werror', '-pedantic', '-O2', '-shared', '-fPIC']
    subprocess.run(['cc', *flags, '-o', f'{folder}/policy.so', *sources, '-lm'], check=True)
    library = ctypes.PyDLL(f'{folder}/policy.so')
    library.make_state.restype = ctypes.c_void_p
    state = ctypes.c_void_p(library.make_state())
    given = np.zeros(file.spec.observation_size, np.float32)
    action = np.zeros(file.spec.action_size, np.float32)
    call = functools.partial(
        library.policy_act,
        state,
        ctypes.c_void_p(given.ctypes.data),
        ctypes.c_void_p(action.ctypes.data),
    )

    def act(observation: np.ndarray) -> object:
        given[...] = observation
        call()
        return action

    def clocked(observations: np.ndarray) -> np.ndarray:
        many, times = np.ascontiguousarray(observations, np.float32), np.zeros(len(observations))
        library.time_actions(
            state, ctypes.c_void_p(many.ctypes.data), len(many), ctypes.c_void_p(times.ctypes.data)
        )
        return times

    return act, clocked


def same_spikes(policy: Policy, network: OthersNetwork, observations: np.ndarray) -> None:
    """Raise unless another library's network fires as the policy does."""
    differing = 0
    for observation in observations:
        policy.act(observation)
        _, count = in_torch(network)(observation)  # type: ignore[misc]
        differing += bool((policy.spikes[-1].sum(0) != count.numpy()[0]).any())
    if differing > 1:  # one at its threshold may be
        raise SystemExit(f'{type(network).__name__} does not run the same network')


@numba.njit(cache=False)
def count_up(steps: int, observation: np.ndarray) -> int:
    """Do nothing for a while, without touching memory."""
    x = steps
    for _ in range(steps):
        x ^= (x << 1) + 1
    return x


@numba.njit(fastmath=True, cache=False)
def sum_up(numbers: np.ndarray, times: int) -> float:
    """Read an array from one end to the other, so many times."""
    total = np.float32(0)
    for _ in range(times):
        for i in range(numbers.size):
            total += numbers[i]
        numbers[0] = total * np.float32(0)
    return total


def bandwidth(count: int) -> float:
    """Bytes a second at which this core reads an array of so many bytes again and again."""
    numbers, times = np.ones(count // 4, np.float32), 200
    sum_up(numbers, 1)
    best = math.inf
    for _ in range(20):
        began = time.perf_counter()
        sum_up(numbers, times)
        best = min(best, time.perf_counter() - began)
    return numbers.nbytes * times / best


def touched_bytes(policy: Policy, observations: np.ndarray) -> tuple[float, float]:
    """Bytes of weights one action touches, and reads, on average: rows of neurons that fire."""
    once = every = 0.0
    for observation in observations:
        policy.act(observation)
        for spikes, wide in zip(policy.spikes[:-1], policy.spec.layer_sizes[1:], strict=True):
            once += spikes.any(axis=0).sum() * wide * 4
            every += spikes.sum() * wide * 4
    return once / len(observations), every / len(observations)


def turn(act: Act, observations: np.ndarray, seconds: float) -> np.ndarray:
    """Time calls one by one, in microseconds."""
    for observation in observations[:50]:
        act(observation)
    clock, found, i = time.perf_counter_ns, [], 0
    end = clock() + seconds * 1e9
    now = clock()
    while now < end:
        observation = observations[i % len(observations)]
        began = clock()
        act(observation)
        now = clock()
        found.append(now - began)
        i += 1
    return np.array(found) / 1e3


def time_policy(path: Path, rounds: int, seconds: float) -> tuple[list[str], bytes]:
    """Return a table for one policy; and its ordinary network as an ONNX model."""
    file = read_policy(path)
    spec, tensors, _ = file
    policy, numpy_alone = load_policy(path), Policy(spec, tensors, compiled=False)
    if not policy.compiled:
        raise SystemExit('the compiled pass is not to be had here')
    observations = np.concatenate(list(rollouts(policy, OBSERVATIONS, 0)))
    actor, parts = torch_actor(spec, tensors), Parts(spec, tensors)
    by_onnxruntime, by_torch, model = ordinary(spec)
    in_snntorch, one_step, all_steps = (
        kind(parts, spec) for kind in (InSnnTorch, InSpikingJelly, InSpikingJellyAllSteps)
    )
    for network in (in_snntorch, one_step, all_steps):
        same_spikes(policy, network, observations[:200])
    with tempfile.TemporaryDirectory() as folder:
        by_c, clocked = in_c(file, folder)
    for observation in observations:
        if abs(by_c(observation) - policy.act(observation)).max() > 1e-6:  # type: ignore[operator]
            raise SystemExit('the policy as C does not take the same actions')
    counted = activity(policy, observations)
    once, every = touched_bytes(policy, observations)

    contenders: dict[str, Act] = {
        'this runtime, spiking': policy.act,
        'the policy as C, cc -O2, spiking': by_c,
        'this runtime with NumPy alone, spiking': numpy_alone.act,
        'ONNX Runtime, ReLU': by_onnxruntime,
        'PyTorch, ReLU': by_torch,
        "PyTorch, this package's spiking actor": by_actor(actor),
        'SpikingJelly, step by step': in_torch(one_step),
        'SpikingJelly, multi-step': in_torch(all_steps),
        'snnTorch': in_torch(in_snntorch),
    }
    steps, goal = 1000, np.median(turn(policy.act, observations, 0.2))
    for _ in range(5):  # as long as an action takes
        taken = np.median(turn(functools.partial(count_up, steps), observations, 0.1))
        steps = round(steps * goal / taken)
    contenders['counting for as long'] = functools.partial(count_up, steps)
    gc.collect()
    times: dict[str, list[np.ndarray]] = {name: [] for name in contenders}
    in_c_alone = []
    for _ in range(rounds):
        for name, act in contenders.items():
            times[name].append(turn(act, observations, seconds))
        in_c_alone.append(np.concatenate([clocked(observations) for _ in range(5)]))
    found = {name: np.concatenate(each) for name, each in times.items()}
    median = {name: float(np.median(each)) for name, each in found.items()}
    ours = median['this runtime, spiking']
    speed = bandwidth(int(once))
    rates = ', '.join(f'{rate:.0%}' for rate in counted.firing_rates)
    lines = [
        f'## {spec.provenance["env"]}',
        '',
        (
            f'`{path.name}`: {spec.neuron}, layers {" -> ".join(map(str, spec.layer_sizes))}, '
            f'T = {spec.time_steps}; trained for {spec.provenance["step"]} steps to a return of '
            f'{spec.provenance["evaluation"]["mean"]:.0f}. {len(observations)} observations of '
            'its rollouts.'
        ),
        '',
        (
            '| one action by | median, us | 99th, us | 99.9th, us | 99.9th over median '
            "| median over this runtime's | calls |"
        ),
        '|---|---|---|---|---|---|---|',
    ]
    for name, each in found.items():
        lines.append(
            f'| {name} | {median[name]:.1f} | {np.percentile(each, 99):.1f} | '
            f'{np.percentile(each, 99.9):.1f} | {tail(each):.1f} | {median[name] / ours:.2f} | '
            f'{len(each)} |'
        )
    clock = float(np.median(np.concatenate(in_c_alone)))
    c = median['the policy as C, cc -O2, spiking']
    mine, idle = found['this runtime, spiking'], found['counting for as long']
    asked = {
        '': ours / median['ONNX Runtime, ReLU'],
        'c': c / median['ONNX Runtime, ReLU'],
        'runtime': c / ours,
        'clock': clock / median['ONNX Runtime, ReLU'],
        'step': median['SpikingJelly, step by step'] / ours,
        'multi': median['SpikingJelly, multi-step'] / ours,
        'snnTorch': median['snnTorch'] / ours,
    }
    operations, possible = counted.synaptic_operations, possible_synaptic_operations(spec)
    lines += f"""
- Median latency **{asked['']:.2f} times** ONNX Runtime's for the ReLU actor of the same width
  (aim: 1 or below).
- As C **{asked['c']:.2f} times** ONNX Runtime's (0.6 is aimed at) and {asked['runtime']:.2f} times
  this runtime's (aim: 1 or below), all called from Python. By a clock in C an action
  takes {clock:.1f} us, {asked['clock']:.2f} times ONNX Runtime's called from Python.
- SpikingJelly's forward of the same network takes **{asked['step']:.0f} times** as long step by
  step and **{asked['multi']:.0f} times** in its multi-step mode (40);
  snnTorch's **{asked['snnTorch']:.0f} times** (100).
- The 99.9th percentile is {tail(mine):.1f} times the median (3). For counting that takes as long
  it is {tail(idle):.1f} times: {late(idle):.2%} of those calls took {LATE:g} us or more over their
  median, and {late(mine):.2%} of this runtime's.
- Firing rate per layer, from the encoder on: {rates};
  {operations:.0f} synaptic operations, {operations / possible:.0%} of those
  possible; {inference_energy(spec, operations) * 1e9:.2f} nJ by the paper's constants, the
  ordinary network {equivalent_energy(spec) * 1e9:.2f} nJ.
- Floor: an action touches {once / 1024:.0f} KiB of weights, which this core reads from its caches
  at {speed / 1e9:.0f} GB/s in **{once / speed * 1e6:.1f} us** (rows of neurons that fire more than
  once are read again: {every / 1024:.0f} KiB in all).
""".splitlines()
    lines.append('')
    return lines, model


def tail(times: np.ndarray) -> float:
    """Return the 99.9th percentile over the median."""
    return float(np.percentile(times, 99.9) / np.median(times))


def late(times: np.ndarray) -> float:
    """Return the fraction of calls that something interrupted."""
    return float((times > np.median(times) + LATE).mean())


ACT = """
from proxy_snn_control.policy import load_policy
policy = load_policy(FILE)
assert policy.compiled
policy.act(OBSERVATION)
"""
STARTS = {
    'nothing': '',
    'this runtime': ACT,
    'this runtime with NumPy alone': """
from proxy_snn_control.policy import Policy, read_policy
Policy(*read_policy(FILE), compiled=False).act(OBSERVATION)
""",
    'this runtime, compiling': ACT,
    'ONNX Runtime, ReLU': """
import onnxruntime
session = onnxruntime.InferenceSession(ONNX, providers=["CPUExecutionProvider"])
session.run(None, {"observation": OBSERVATION[None]})
""",
    'importing Numba': 'import numba',
    'importing PyTorch': 'import torch',
}
START = """
import json, sys, time
import numpy as np
FILE, ONNX, CODE, SIZE = sys.argv[1:]
OBSERVATION = np.zeros(int(SIZE), np.float32)
def kilobytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))
before, began = kilobytes("VmRSS:"), time.perf_counter()
exec(CODE)
seconds = time.perf_counter() - began
print(json.dumps([seconds, (kilobytes("VmRSS:") - before) / 1024]))
"""


def time_starts(path: Path, model: bytes, rounds: int) -> list[str]:
    """From file to first action in fresh processes, and what memory stays taken."""
    size = load_policy(path).spec.observation_size
    found: dict[str, list[list[float]]] = {name: [] for name in STARTS}
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / 'relu.onnx'
        onnx_file.write_bytes(model)
        for i in range(rounds):
            for name, code in STARTS.items():
                environment = {**os.environ, 'PYTHONPATH': str(HERE.parent)}
                if name == 'this runtime, compiling':
                    environment['XDG_CACHE_HOME'] = f'{folder}/{i}'
                command = [sys.executable, '-c', START, path, onnx_file, code, str(size)]
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, check=True
                )
                found[name].append(json.loads(done.stdout))
    lines = [
        '## Starting',
        '',
        (
            'From nothing but an interpreter with NumPy to the first action, in fresh processes '
            f"(medians of {rounds}, the files in the disk's cache):"
        ),
        '',
        '| | s | MB of resident memory more |',
        '|---|---|---|',
    ]
    for name, values in found.items():
        seconds, megabytes = np.median(values, axis=0)
        lines.append(f'| {name} | {seconds:.3f} | {megabytes:.1f} |')
    return [
        *lines,
        '',
        'The compiled pass is made at first use on a computer, in a process of its own, and kept:',
        '`compiling` is that first time, with an empty cache.',
    ]


def stay_on_one_core() -> None:
    """Run the program anew on one core: NumPy asks the environment for threads when it loads."""
    if len(os.sched_getaffinity(0)) > 1 or os.environ.get('OPENBLAS_NUM_THREADS') != '1':
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.environ['OPENBLAS_NUM_THREADS'] = '1'
        os.execv(sys.executable, sys.orig_argv)


def main() -> int:
    """Measure, print, and write the page with --table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('policies', type=Path, nargs='+', help='policies of lif neurons')
    parser.add_argument('--seconds', type=float, default=1.0, help='of each turn')
    parser.add_argument('--rounds', type=int, default=8)
    parser.add_argument('--starts', type=int, default=7)
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    stay_on_one_core()
    torch.set_num_threads(1)
    lines = [
        *heading('One action', 'the extra benchmarks'),
        (
            f'{platform.machine()}, {processor()}, one core; Python {platform.python_version()}, '
            f'NumPy {np.__version__}, ONNX Runtime {onnxruntime.__version__}, '
            f'torch {torch.__version__}, snnTorch {snntorch.__version__}. '
            f'The contenders take turns of {options.seconds:g} s, {options.rounds} rounds.'
        ),
        '',
    ]
    models = []
    for path in options.policies:
        table, model = time_policy(path, options.rounds, options.seconds)
        lines += table
        models.append(model)
    lines += time_starts(options.policies[0], models[0], options.starts)
    lines += ['', f'Load average at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.']
    finish(lines, options.table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
