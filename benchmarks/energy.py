# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What an action costs: NeuroBench's counts, by its own package too, and joules by RAPL.

    pip install -c constraints.txt '.[train,benchmarks]'
    pip install --no-deps neurobench==2.3.0     # what is used of it needs torch and snnTorch alone
    python benchmarks/energy.py benchmarks/policies/lif-*.safetensors --table F.md

The policy's network of LIF neurons and the ordinary network of its width (random weights,
PyTorch's initialisation) are given to the neurobench package as snnTorch and torch modules, and
counted by policy/energy.py from the runtime: the two must agree. Observations are drawn as
training saw them. Where /sys/class/powercap gives the processor's energy, both runtimes act for
some seconds each, and what they take beyond an idle processor is measured. Run nothing else
meanwhile.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import itertools
from pathlib import Path
import sys
import time

from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import SNNTorchModel, TorchModel
import numpy as np
from page import finish, heading, processor
from proxy_snn_control.policy import load_policy, Policy, PolicySpec, read_policy
from proxy_snn_control.policy.energy import (
    equivalent_energy,
    inference_energy,
    LEFT_OUT,
    NeuroBench,
    neurobench,
    Rapl,
    typical_observations,
)
import snntorch
import torch
from torch import nn, Tensor

OBSERVATIONS = 200


class Core(nn.Module):
    """The layers after the encoder in snnTorch; the encoder's spikes pass its first module."""

    def __init__(self, spec: PolicySpec, tensors: dict[str, np.ndarray]) -> None:
        super().__init__()
        modules: list[nn.Module] = [nn.Identity()]
        for i, sizes in enumerate(itertools.pairwise(spec.layer_sizes)):
            layer = nn.Linear(*sizes)
            layer.weight.data = torch.from_numpy(tensors[f'layers.{i}.weight'].copy())
            layer.bias.data = torch.from_numpy(tensors[f'layers.{i}.bias'].copy())
            constants = spec.neuron_constants
            neurons = snntorch.Leaky(
                beta=constants['voltage_decay'],
                threshold=constants['threshold'],
                reset_mechanism='zero',
                init_hidden=True,
            )
            modules += [layer, neurons]
        self.network = nn.Sequential(*modules)

    def forward(self, spikes: Tensor) -> tuple[Tensor, None]:
        """One time step."""
        return self.network(spikes), None


def by_the_package(model: SNNTorchModel | TorchModel, data: Tensor) -> tuple[float, float, float]:
    """Return NeuroBench's figures: activation sparsity, effective MACs and ACs of an inference."""
    model.register_hooks()
    with torch.no_grad():
        output = model(data)
    batch = data, None
    sparsity = ActivationSparsity()(model, output, batch)
    operations = SynapticOperations()(model, output, batch)
    model.cleanup_hooks()
    return sparsity, operations['Effective_MACs'], operations['Effective_ACs']


def relu_of(spec: PolicySpec) -> tuple[Policy, nn.Module]:
    """Return the ordinary network of a policy's width, in this runtime and in torch."""
    torch.manual_seed(0)
    fields = {'neuron': 'relu', 'neuron_constants': {}, 'time_steps': 1}
    populations = {'encoder_population': 1, 'decoder_population': 1}
    relu = PolicySpec(**{**vars(spec), **fields, **populations})
    linear = [nn.Linear(*sizes) for sizes in itertools.pairwise(relu.layer_sizes)]
    tensors = {
        f'layers.{i}.{name}': p.detach().numpy()
        for i, layer in enumerate(linear)
        for name, p in layer.named_parameters()
    }
    tensors['observation.quantiles'] = np.zeros(relu.tensor_shapes['observation.quantiles'])
    modules = [m for layer in linear[:-1] for m in (layer, nn.ReLU())]
    return Policy(relu, tensors), nn.Sequential(*modules, linear[-1], nn.Tanh())


def agreeing(ours: NeuroBench, theirs: tuple[float, float, float], decoder_macs: float) -> str:
    """Return a sentence on whether the package finds the same; end the program if it does not."""
    sparsity, macs, acs = theirs
    pairs = [
        (ours.activation_sparsity, sparsity),
        (ours.effective_macs - decoder_macs, macs),
        (ours.effective_acs, acs),
    ]
    if any(abs(a - b) > 1e-6 * max(1, abs(b)) for a, b in pairs):
        raise SystemExit(f'the neurobench package counts {theirs}, this program {ours}')
    return 'the same'


def measured(act: Callable[[np.ndarray], object], observations: np.ndarray, seconds: float) -> str:
    """Microjoules an action beyond an idle processor, by RAPL; '-' where there is none."""
    rapl = Rapl()
    if not rapl.packages:
        return '-'
    before = rapl.read()
    time.sleep(seconds)
    idle = rapl.joules(before, rapl.read()) / seconds
    began, actions, before = time.perf_counter(), 0, rapl.read()
    while time.perf_counter() - began < seconds:
        for observation in observations:
            act(observation)
        actions += len(observations)
    taken = rapl.joules(before, rapl.read()) - idle * (time.perf_counter() - began)
    return f'{taken / actions * 1e6:.1f}'


def rows(path: Path, seconds: float) -> list[str]:
    """Two rows of the table: a policy and its ordinary network."""
    spec, tensors, _ = read_policy(path)
    policy = load_policy(path)
    observations = typical_observations(policy)[:OBSERVATIONS]
    spikes = []
    for observation in observations:
        policy.act(observation)
        spikes.append(policy.spikes[0])
    model = SNNTorchModel(Core(spec, tensors))
    model.add_activation_module(nn.Identity)
    relu, network = relu_of(spec)
    plain = torch.from_numpy(observations.astype(np.float32))
    found = []
    for name, actor, theirs in (
        (path.stem, policy, by_the_package(model, torch.from_numpy(np.array(spikes)))),
        ('ReLU of its width', relu, by_the_package(TorchModel(network), plain)),
    ):
        counts = neurobench(actor, observations)
        decoder = counts.effective_macs if actor.spec.spiking else 0.0
        package = agreeing(counts, theirs, decoder)
        joules = (
            inference_energy(spec, counts.effective_acs)
            if actor.spec.spiking
            else equivalent_energy(spec)
        )
        found.append(
            f'| {name} | {counts.activation_sparsity:.1%} | {counts.effective_macs:.0f} '
            f'| {counts.effective_acs:.0f} | {counts.dense} | {counts.footprint} | {package} '
            f'| {joules * 1e9:.1f} | {measured(actor.act, observations, seconds)} |'
        )
    return found


def main() -> int:
    """Count, print, and write the page with --table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('policies', type=Path, nargs='+', help='policies of lif neurons')
    parser.add_argument('--seconds', type=float, default=5.0, help='of each measurement by RAPL')
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    lines = [
        *heading('What an action costs', 'the extra benchmarks'),
        f'{processor()}; processor packages with readable RAPL counters: {len(Rapl().packages)}.',
        f"{OBSERVATIONS} observations drawn as training saw them. Energy by the paper's",
        "constants: synaptic operations (NeuroBench's effective ACs) times 77 fJ,",
        f'multiply-accumulates of the ordinary network times 3.97 pJ; {LEFT_OUT}.',
        '',
        (
            '| network | activation sparsity | effective MACs | effective ACs | dense | '
            'footprint, bytes | by the neurobench package | nJ by constants '
            '| uJ measured by RAPL |'
        ),
        '|---|---|---|---|---|---|---|---|---|',
    ]
    for path in options.policies:
        lines += rows(path, options.seconds)
    lines += [
        '',
        "Effective MACs of a spiking policy are its decoder's, which the package is not given.",
        "The ordinary network's weights are random: its sparsity is that of a network before",
        'training.',
    ]
    finish(lines, options.table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
