"""Spikes and surrogate gradient, three times over.

The equations written out naively here, the step-by-step torch actor, and the compiled layers.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from proxy_snn_control.spiking.actor import SpikingActor  # noqa: E402


def heaviside_with_rectangle(potential, threshold: float, window: float):
    """Eq. 5 forward; Eq. 14 backward, through the slope of a clipped line.

    The line rises from 0 to 1 over [threshold - w, threshold + w], so its slope is 1 / (2 w).
    """
    line = ((potential - threshold + window) / (2 * window)).clamp(0, 1)
    return (potential > threshold).to(potential.dtype) + line - line.detach()


def lif(state, spike, current):
    state["V"] = 0.75 * state["V"] * (1 - spike) + current


def clif(state, spike, current):
    state["C"] = 0.5 * state["C"] + current
    state["V"] = 0.75 * state["V"] * (1 - spike) + state["C"]


def dn(state, spike, current):
    state["C"] = 0.5 * state["C"] + current
    v = state["V"] * (1 - spike) + 0.021 * spike
    u = state["U"] + 0.132 * spike
    state["V"] = v + (v**2 - v - u + state["C"])
    state["U"] = u + (-0.172 * v + 0.529 * u)


NAIVE = {"lif": lif, "clif": clif, "dn": dn}


def naive_action(actor: SpikingActor, observation, neuron: str, time_steps: int, window: float):
    """One observation at a time, one simulation step at a time, one layer after the other."""
    actions = []
    for row in observation:
        s = torch.tanh(row)
        stimulation = torch.exp(
            -((s[:, None] - actor.encoder.mu) ** 2) / (2 * actor.encoder.sigma**2)
        ).reshape(-1)
        v_encoder = torch.zeros_like(stimulation).detach()
        zeros = [torch.zeros_like(layer.bias).detach() for layer in actor.layers]
        states = [{"V": zero, "C": zero, "U": zero} for zero in zeros]
        o = list(zeros)
        counts = zeros[-1]
        for _ in range(time_steps):
            v_encoder = v_encoder + stimulation.detach()
            fired = (v_encoder > 0.999).to(s.dtype)
            v_encoder = v_encoder - 0.999 * fired
            # Eq. 15: d spike / d A = 1 at every simulation step
            spike = fired + stimulation - stimulation.detach()
            for i, layer in enumerate(actor.layers):
                NAIVE[neuron](states[i], o[i], layer.weight @ spike + layer.bias)
                o[i] = heaviside_with_rectangle(states[i]["V"], 0.5, window)
                spike = o[i]
            counts = counts + spike
        rate = (counts / time_steps).reshape(actor.decoder.weight.shape)
        squashed = torch.tanh((actor.decoder.weight * rate).sum(1) + actor.decoder.bias)
        middle, half = (actor.high + actor.low) / 2, (actor.high - actor.low) / 2
        actions.append(middle + half * squashed)
    return torch.stack(actions)


def gradients(actor: SpikingActor, action, observation):
    weights = torch.linspace(-1, 1, action.numel(), dtype=action.dtype).reshape(action.shape)
    return torch.autograd.grad((action * weights).sum(), [*actor.parameters(), observation])


@pytest.mark.parametrize("neuron", NAIVE)
@pytest.mark.parametrize("window", [0.5, 0.3])
@pytest.mark.parametrize("time_steps", [2, 5])
def test_gradient_equals_the_naive_one(neuron: str, time_steps: int, window: float) -> None:
    torch.manual_seed(3)
    actor = SpikingActor(
        5,
        (-1.0, -0.5),
        (1.0, 2.0),
        hidden=(24, 16),
        neuron=neuron,
        time_steps=time_steps,
        surrogate_window=window,
    ).double()
    with torch.no_grad():
        for layer in actor.layers:
            layer.weight *= 2
    observation = torch.randn(20, 5, dtype=torch.float64, requires_grad=True)
    ours = actor(observation)
    theirs = naive_action(actor, observation, neuron, time_steps, window)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    names = [*(name for name, _ in actor.named_parameters()), "observation"]
    both = gradients(actor, ours, observation), gradients(actor, theirs, observation)
    for name, a, b in zip(names, *both, strict=True):
        assert b.abs().max() > 1e-3, f"no gradient reaches {name}: the test shows nothing"
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("neuron", NAIVE)
@pytest.mark.parametrize(
    ("hidden", "actions", "time_steps", "batch"),
    [((24, 16), 2, 5, 37), ((256, 256), 6, 5, 256), ((131, 7), 1, 2, 1), ((), 3, 1, 5)],
)
def test_compiled_layers_equal_the_steps(
    neuron: str, hidden: tuple[int, ...], actions: int, time_steps: int, batch: int
) -> None:
    """Spikes exactly, gradients to float32's rounding; any size, also one that fills no block."""
    torch.manual_seed(1)
    actor = SpikingActor(
        7, (-1.0,) * actions, (0.5,) * actions, hidden=hidden, neuron=neuron, time_steps=time_steps
    )
    with torch.no_grad():
        for layer in actor.layers:
            layer.weight *= 2
    observation = torch.randn(batch, 7, requires_grad=True)
    compiled = actor(observation)
    steps, spikes, potentials = actor.trace(observation)
    nearest = min(float((potential.detach() - 0.5).abs().min()) for potential in potentials)
    assert nearest > 1e-7, "a potential on the threshold: choose another seed"
    torch.testing.assert_close(compiled, steps, atol=1e-6, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(actor(observation), compiled, atol=0, rtol=0)
    assert batch < 30 or 0.02 < spikes[-1].mean() < 0.98
    names = [*(name for name, _ in actor.named_parameters()), "observation"]
    both = gradients(actor, compiled, observation), gradients(actor, steps, observation)
    for name, a, b in zip(names, *both, strict=True):
        scale = float(b.abs().max())
        torch.testing.assert_close(
            a, b, atol=1e-5 * max(scale, 1e-3), rtol=0, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert max(float(b.abs().max()) for b in both[1]) > 1e-3, "no gradient: the test shows nothing"


def test_compiled_passes_are_found_again(tmp_path: Path) -> None:
    """A second process compiles nothing: what is on the disk stays as it is."""
    script = (
        "import torch\nfrom proxy_snn_control.spiking.actor import SpikingActor\n"
        "SpikingActor(2, [-1.0], [1.0], hidden=(8,))(torch.zeros(3, 2)).sum().backward()"
    )
    found = []
    for _ in range(2):
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        found.append({file.name: file.stat().st_mtime_ns for file in tmp_path.rglob("*.numba")})
    assert found[0]
    assert found[1] == found[0]
