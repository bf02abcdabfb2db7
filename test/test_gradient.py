# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Spikes and surrogate gradient, three times over.

The equations written out naively here, the step-by-step torch actor, and the compiled layers.
"""

import os
from pathlib import Path
import subprocess
import sys

from proxy_snn_control.policy.neurons import NEURONS
from proxy_snn_control.spiking import neurons
from proxy_snn_control.spiking.actor import Sizes, SpikingActor
from proxy_snn_control.spiking.neurons import (
    About,
    encode,
    run,
    run_backward,
    stimulate,
    stimulate_backward,
)
import pytest
import torch


def heaviside_with_surrogate(potential, threshold: float, window: float, tail: float):
    """Eq. 5 forward; Eq. 14 backward, through the slope of a clipped line, with a tail or without.

    The line rises from 0 to 1 over [threshold - w, threshold + w], so its slope is 1 / (2 w). At a
    distance d beyond it goes on by tail / 2 * (1 - w / d), whose slope is tail / (2 w) * (w /
    d)^2.
    """
    line = ((potential - threshold + window) / (2 * window)).clamp(0, 1)
    away = (potential - threshold).abs().clamp(min=window)
    line = line + tail / 2 * (1 - window / away) * (potential - threshold).sign()
    return (potential > threshold).to(potential.dtype) + line - line.detach()


def lif(state, spike, current):
    state['V'] = 0.75 * state['V'] * (1 - spike) + current


def clif(state, spike, current):
    state['C'] = 0.5 * state['C'] + current
    state['V'] = 0.75 * state['V'] * (1 - spike) + state['C']


def dn(state, spike, current):
    state['C'] = 0.5 * state['C'] + current
    v = state['V'] * (1 - spike) + 0.021 * spike
    u = state['U'] + 0.132 * spike
    state['V'] = v + (v**2 - v - u + state['C'])
    state['U'] = u + (-0.172 * v + 0.529 * u)


NAIVE = {'lif': lif, 'clif': clif, 'dn': dn}


def make_actor(observations: int, low, high, **settings) -> SpikingActor:
    actor = SpikingActor([Sizes(observations, low, high)], **settings)
    actor.start(0, torch.Generator().manual_seed(3))
    for name, part in parts(actor).items():
        if name.startswith('layers.') and name.endswith('weight'):
            part *= 2
    return actor


def parts(actor: SpikingActor) -> dict:
    """Return views of the first member's weights by name."""
    return actor.weights.of(0, actor.weights.flat[0])


def naive_action(actor: SpikingActor, leaves: dict, observation, neuron, time_steps, window, tail):
    """One observation at a time, one simulation step at a time, one layer after the other."""
    actions = []
    layers = [
        (leaves[f'layers.{i}.weight'], leaves[f'layers.{i}.bias']) for i in range(actor.depth)
    ]
    for row in observation:
        s = torch.tanh(row)
        stimulation = torch.exp(
            -((s[:, None] - leaves['encoder.mu']) ** 2) / (2 * leaves['encoder.sigma'] ** 2)
        ).reshape(-1)
        v_encoder = torch.zeros_like(stimulation).detach()
        zeros = [torch.zeros_like(bias).detach() for _, bias in layers]
        states = [{'V': zero, 'C': zero, 'U': zero} for zero in zeros]
        o = list(zeros)
        counts = zeros[-1]
        for _ in range(time_steps):
            v_encoder = v_encoder + stimulation.detach()
            fired = (v_encoder > 0.999).to(s.dtype)
            v_encoder = v_encoder - 0.999 * fired
            # Eq. 15: d spike / d A = 1 at every simulation step
            spike = fired + stimulation - stimulation.detach()
            for i, (weight, bias) in enumerate(layers):
                NAIVE[neuron](states[i], o[i], weight @ spike + bias)
                o[i] = heaviside_with_surrogate(states[i]['V'], 0.5, window, tail)
                spike = o[i]
            counts = counts + spike
        rate = (counts / time_steps).reshape(leaves['decoder.weight'].shape)
        squashed = torch.tanh((leaves['decoder.weight'] * rate).sum(1) + leaves['decoder.bias'])
        low, high = actor.limits.low[0, 0], actor.limits.high[0, 0]
        actions.append((high + low) / 2 + (high - low) / 2 * squashed)
    return torch.stack(actions)


@pytest.mark.parametrize('neuron', NAIVE)
@pytest.mark.parametrize(('window', 'tail'), [(0.5, 0.0), (0.3, 0.0), (0.5, 0.25), (0.2, 0.4)])
@pytest.mark.parametrize('time_steps', [2, 5])
def test_gradient_equals_the_naive_one(
    neuron: str, time_steps: int, window: float, tail: float
) -> None:
    torch.manual_seed(3)
    actor = make_actor(
        5,
        (-1.0, -0.5),
        (1.0, 2.0),
        hidden=(24, 16),
        neuron=neuron,
        time_steps=time_steps,
        surrogate_window=window,
        tails=[tail],
    )
    actor.to(dtype=torch.float64)
    flat = actor.weights.flat.requires_grad_()
    leaves = {name: part.clone().requires_grad_() for name, part in parts(actor).items()}
    observation = torch.randn(20, 5, dtype=torch.float64, requires_grad=True)
    (ours,) = actor(observation[None])
    theirs = naive_action(actor, leaves, observation, neuron, time_steps, window, tail)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    weights = torch.linspace(-1, 1, ours.numel(), dtype=ours.dtype).reshape(ours.shape)
    to_flat, to_observation = torch.autograd.grad((ours * weights).sum(), [flat, observation])
    mine = {**actor.weights.of(0, to_flat[0]), 'observation': to_observation}
    asked = [*leaves.values(), observation]
    expected = torch.autograd.grad((theirs * weights).sum(), asked)
    for name, b in zip(mine, expected, strict=True):
        assert b.abs().max() > 1e-3, f'no gradient reaches {name}: the test shows nothing'
        torch.testing.assert_close(
            mine[name], b, atol=1e-6, rtol=0, msg=lambda m, n=name: f'{n}: {m}'
        )


def gradients(actor: SpikingActor, action, observation) -> dict:
    weights = torch.linspace(-1, 1, action.numel(), dtype=action.dtype).reshape(action.shape)
    asked = [actor.weights.flat, observation]
    to_flat, to_observation = torch.autograd.grad((action * weights).sum(), asked)
    return {**actor.weights.of(0, to_flat[0]), 'observation': to_observation}


@pytest.mark.parametrize('neuron', NAIVE)
@pytest.mark.parametrize('tails', [(), (0.25,)])
@pytest.mark.parametrize(
    ('hidden', 'actions', 'time_steps', 'batch'),
    [((24, 16), 2, 5, 37), ((256, 256), 6, 5, 256), ((131, 7), 1, 2, 1), ((), 3, 1, 5)],
)
def test_compiled_layers_equal_the_steps(
    neuron: str,
    hidden: tuple[int, ...],
    actions: int,
    time_steps: int,
    batch: int,
    tails: tuple[float, ...],
) -> None:
    """Spikes exactly, gradients to float32's rounding; any size, also one that fills no block."""
    torch.manual_seed(1)
    low, high = (-1.0,) * actions, (0.5,) * actions
    settings = {'hidden': hidden, 'neuron': neuron, 'time_steps': time_steps, 'tails': tails}
    actor = make_actor(7, low, high, **settings)
    actor.weights.flat.requires_grad_()
    observation = torch.randn(1, batch, 7, requires_grad=True)
    compiled = actor(observation)
    steps, spikes, potentials = actor.trace(observation)
    nearest = min(float((potential.detach() - 0.5).abs().min()) for potential in potentials)
    assert nearest > 1e-7, 'a potential on the threshold: choose another seed'
    torch.testing.assert_close(compiled, steps, atol=1e-6, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(actor(observation), compiled, atol=0, rtol=0)
    assert batch < 30 or 0.02 < spikes[-1].mean() < 0.98
    mine, theirs = (gradients(actor, action, observation) for action in (compiled, steps))
    for name, b in theirs.items():
        scale = float(b.abs().max())
        torch.testing.assert_close(
            mine[name], b, atol=1e-5 * max(scale, 1e-3), rtol=0, msg=lambda m, n=name: f'{n}: {m}'
        )
    assert max(float(b.abs().max()) for b in theirs.values()) > 1e-3, 'no gradient'


def test_a_tail_is_each_members_own() -> None:
    """Members with and without one, by the compiled passes and by the steps."""
    sizes = [Sizes(4, (-1.0,), (1.0,))] * 2
    actors = [SpikingActor(sizes[:n], hidden=(16,), tails=t) for n, t in (
        (2, (0.0, 0.25)), (1, ()), (1, (0.25,)),
    )]  # fmt: skip
    observation = torch.randn(1, 64, 4, generator=torch.Generator().manual_seed(0))
    found = []
    for actor in actors:
        for member in range(len(actor.sizes)):
            actor.start(member, torch.Generator().manual_seed(5))
        flat = actor.weights.flat.mul_(3).requires_grad_()
        for action in (actor(observation.expand(len(actor.sizes), -1, -1)),
                       actor.trace(observation.expand(len(actor.sizes), -1, -1))[0]):  # fmt: skip
            found.append(torch.autograd.grad(action.sum(), flat)[0])
    assert (found[0][0] - found[0][1]).abs().max() > 1e-3, 'the tail makes no difference'
    for both, without, tailed in zip(found[:2], found[2:4], found[4:], strict=True):
        torch.testing.assert_close(both[:1], without, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(both[1:], tailed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('neuron', NAIVE)
def test_what_a_gpu_compiles_is_one_graph(neuron: str) -> None:
    """Torch's tracer, which is the same on every device, takes each function whole."""
    kind = NEURONS[neuron]
    about = About(kind, tuple(kind.constants.values()), 0.5, 5, 0.999)
    observation, mu = torch.randn(3, 4, 2), torch.randn(3, 2, 8)
    sigma, current = torch.rand(3, 2, 8) + 0.1, torch.randn(3, 4, 5, 16)
    stimulation = stimulate(observation, mu, sigma)
    for function, *arguments in (
        (stimulate, observation, mu, sigma),
        (stimulate_backward, torch.ones_like(stimulation), stimulation, observation, mu, sigma),
        (encode, stimulation, 5, 0.999),
        (run, current, about),
        (run_backward, torch.randn_like(current), current, about, None),
        (run_backward, torch.randn_like(current), current, about, torch.rand(3, 1, 1)),
    ):
        traced = torch.compile(function.__wrapped__, backend='eager', fullgraph=True)
        torch.testing.assert_close(traced(*arguments), function(*arguments))


def test_a_sweep_compiles_each_shape_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many neurons, widths and batches: torch alone gives up after eight."""
    compiled: list[str] = []
    torch_compile = torch.compile

    def counting(function, **options):
        def backend(graph, _, **__):
            compiled.append(function.__name__)
            return graph.forward

        return torch_compile(function, backend=backend, **options)

    monkeypatch.setattr(torch, 'compile', counting)
    monkeypatch.setattr(neurons, 'compiles', lambda tensor: True)
    expected: list[str] = []
    for batch in range(1, 10):
        actor = make_actor(3, (-1.0,), (1.0,), hidden=(), time_steps=1)
        flat = actor.weights.flat.requires_grad_()
        observation = torch.randn(1, batch, 3)
        # As it acts, as it learns, and with whatever else may require a gradient.
        with torch.no_grad():
            expected_action, *_ = actor.trace(observation)
        for again in (observation, observation.clone().requires_grad_()):
            action, *_ = actor.trace(again)
            torch.testing.assert_close(action, expected_action, atol=0, rtol=0)
            assert torch.autograd.grad(action.sum(), flat)[0].abs().max() > 0
        expected += ['encode', 'run', 'run_backward', 'stimulate', 'stimulate_backward']
    assert sorted(compiled) == sorted(expected)


def test_what_cannot_be_compiled_is_reported_and_computed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(graph, _, **__):
        raise RuntimeError('Failed to find C compiler.\nSee elsewhere.')

    torch_compile = torch.compile
    monkeypatch.setattr(
        torch, 'compile', lambda f, **options: torch_compile(f, backend=no_compiler, **options)
    )
    monkeypatch.setattr(neurons, 'compiles', lambda tensor: True)
    for batch in (2, 3):
        stimulation = torch.rand(batch, 4)
        torch.testing.assert_close(
            encode(stimulation, 2, 0.5), encode.__wrapped__(stimulation, 2, 0.5)
        )
    (text,) = [each.message for each in caplog.records if each.name == 'proxy_snn_control']
    assert 'cannot compile encode' in text and 'Failed to find C compiler' in text


def test_compiled_passes_are_found_again(tmp_path: Path) -> None:
    """A second process compiles nothing: what is on the disk stays as it is."""
    script = (
        'import torch\nfrom proxy_snn_control.spiking.actor import Sizes, SpikingActor\n'
        'actor = SpikingActor([Sizes(2, (-1.0,), (1.0,))], hidden=(8,))\n'
        'actor.weights.flat.requires_grad_()\n'
        'actor(torch.zeros(1, 3, 2)).sum().backward()'
    )
    found = []
    for _ in range(2):
        environment = {**os.environ, 'XDG_CACHE_HOME': str(tmp_path)}
        subprocess.run([sys.executable, '-c', script], env=environment, check=True)
        found.append({file.name: file.stat().st_mtime_ns for file in tmp_path.rglob('*.numba')})
    assert found[0]
    assert found[1] == found[0]
