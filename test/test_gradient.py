"""The surrogate gradient against a second, deliberately naive implementation of the equations."""

import pytest

torch = pytest.importorskip("torch")

from proxy_snn_control.spiking.actor import SpikingActor  # noqa: E402


def heaviside_with_rectangle(potential, threshold: float, window: float):
    """Eq. 5 forward; Eq. 14 backward, through the slope of a clipped line.

    The line rises from 0 to 1 over [threshold - w, threshold + w], so its slope is 1 / (2 w).
    """
    line = ((potential - threshold + window) / (2 * window)).clamp(0, 1)
    return (potential > threshold).to(potential.dtype) + line - line.detach()


def naive_action(actor: SpikingActor, observation, time_steps: int, window: float):
    """One observation at a time, one simulation step at a time, one layer after the other."""
    actions = []
    for row in observation:
        s = torch.tanh(row)
        stimulation = torch.exp(
            -((s[:, None] - actor.encoder.mu) ** 2) / (2 * actor.encoder.sigma**2)
        ).reshape(-1)
        v_encoder = torch.zeros_like(stimulation).detach()
        v = [torch.zeros_like(layer.bias).detach() for layer in actor.layers]
        o = [torch.zeros_like(layer.bias).detach() for layer in actor.layers]
        counts = torch.zeros_like(actor.layers[-1].bias).detach()
        for _ in range(time_steps):
            v_encoder = v_encoder + stimulation.detach()
            fired = (v_encoder > 0.999).to(s.dtype)
            v_encoder = v_encoder - 0.999 * fired
            # Eq. 15: d spike / d A = 1 at every simulation step
            spike = fired + stimulation - stimulation.detach()
            for i, layer in enumerate(actor.layers):
                current = layer.weight @ spike + layer.bias
                v[i] = 0.75 * v[i] * (1 - o[i]) + current
                o[i] = heaviside_with_rectangle(v[i], 0.5, window)
                spike = o[i]
            counts = counts + spike
        rate = (counts / time_steps).reshape(actor.decoder.weight.shape)
        squashed = torch.tanh((actor.decoder.weight * rate).sum(1) + actor.decoder.bias)
        middle, half = (actor.high + actor.low) / 2, (actor.high - actor.low) / 2
        actions.append(middle + half * squashed)
    return torch.stack(actions)


@pytest.mark.parametrize("window", [0.5, 0.3])
@pytest.mark.parametrize("time_steps", [2, 5])
def test_gradient_equals_the_naive_one(time_steps: int, window: float) -> None:
    torch.manual_seed(3)
    actor = SpikingActor(
        5,
        (-1.0, -0.5),
        (1.0, 2.0),
        hidden=(24, 16),
        time_steps=time_steps,
        surrogate_window=window,
    ).double()
    with torch.no_grad():
        for layer in actor.layers:
            layer.weight *= 2
    observation = torch.randn(20, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(20, 2, dtype=torch.float64)

    def gradients(action):
        inputs = [*actor.parameters(), observation]
        return torch.autograd.grad((action * weights).sum(), inputs)

    ours, theirs = actor(observation), naive_action(actor, observation, time_steps, window)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    names = [*(name for name, _ in actor.named_parameters()), "observation"]
    for name, a, b in zip(names, gradients(ours), gradients(theirs), strict=True):
        assert b.abs().max() > 1e-3, f"no gradient reaches {name}: the test shows nothing"
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
