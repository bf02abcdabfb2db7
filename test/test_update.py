"""One update against the plain idiom that benchmarks/idiom.py spells out.

Also what each precision of the dense products means.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from idiom import Idiom  # noqa: E402

from proxy_snn_control.learning import precision  # noqa: E402
from proxy_snn_control.learning.config import TrainConfig  # noqa: E402
from proxy_snn_control.learning.replay import Replay  # noqa: E402
from proxy_snn_control.learning.td3 import TD3  # noqa: E402
from proxy_snn_control.spiking.actor import SpikingActor  # noqa: E402
from proxy_snn_control.spiking.dense import ReLUNetwork  # noqa: E402

OBSERVATIONS, ACTIONS = 7, 3
CPU = torch.device("cpu")


def filled_replay(count: int = 2000) -> Replay:
    rng = np.random.default_rng(0)
    replay = Replay(count, OBSERVATIONS, ACTIONS)
    for _ in range(count):
        state, following = rng.normal(0, 2, (2, OBSERVATIONS))
        replay.add(state, rng.uniform(-1, 1, ACTIONS), rng.normal(), following, rng.random() < 0.1)
    return replay


def twins(lessons: int, **changes) -> tuple[TD3, Idiom]:
    """Ours and the idiom, from the same weights."""
    torch.manual_seed(0)
    idiom = Idiom(
        OBSERVATIONS, ACTIONS, lessons=lessons, hidden=(48, 40), proxy_hidden=(64, 32),
        critic_hidden=(32, 24), batch=64,
    )  # fmt: skip
    config = TrainConfig(
        target="proxy" if lessons else "soft", proxy_updates=max(lessons, 1), hidden=(48, 40),
        proxy_hidden=(64, 32), critic_hidden=(32, 24), batch_size=64,
        **{"precision": "float32", **changes},
    )  # fmt: skip
    limits = (-1.0,) * ACTIONS, (1.0,) * ACTIONS
    ours = TD3(SpikingActor(OBSERVATIONS, *limits, hidden=(48, 40)), config, CPU)
    with torch.no_grad():
        for layer in idiom.actor.layers:
            layer.weight.mul_(2)
    idiom.soft_actor.load_state_dict(idiom.actor.state_dict())
    copy_weights(idiom, ours)
    return ours, idiom


def copy_weights(idiom: Idiom, ours: TD3) -> None:
    """From the idiom to ours; both keep what they keep in shapes of their own."""
    ours.actor.load_state_dict(actor_weights(idiom.actor))
    if ours.config.target == "proxy":
        fill(ours.target.network, proxy_weights(idiom.proxy))
    else:
        ours.target.network.load_state_dict(ours.actor.state_dict())
    fill(ours.critic.networks, critic_weights(idiom.q1, idiom.q2))
    ours.target_critic.load_state_dict(ours.critic.state_dict())


def fill(network: ReLUNetwork, weights: dict) -> None:
    with torch.no_grad():
        for part, value in zip(network.parts(), weights.values(), strict=True):
            part.copy_(value)


def named(module, names) -> dict:
    """A module's weights by name; ordinary networks keep theirs in one tensor."""
    networks = [each for each in module.modules() if isinstance(each, ReLUNetwork)]
    parts = [part.detach() for network in networks for part in network.parts()]
    return dict(zip(names, parts, strict=True)) if parts else module.state_dict()


def actor_weights(actor) -> dict:
    return {
        "encoder.mu": actor.mu,
        "encoder.sigma": actor.sigma,
        **{f"layers.{k}": v for k, v in actor.layers.state_dict().items()},
        "decoder.weight": actor.decoder.weight[:, 0, :],  # depthwise: one output per group
        "decoder.bias": actor.decoder.bias,
    }


def proxy_weights(proxy) -> dict:
    return {
        name: p[None] if p.dim() == 2 else p[None, None] for name, p in proxy.named_parameters()
    }


def critic_weights(q1, q2) -> dict:
    found = {}
    for i, (a, b) in enumerate(zip(q1[::2], q2[::2], strict=True)):
        found[f"weight {i}"] = torch.stack((a.weight, b.weight))
        found[f"bias {i}"] = torch.stack((a.bias, b.bias)).unsqueeze(1)
    return found


@pytest.mark.parametrize("lessons", [3, 1, 0])
def test_updates_equal_the_plain_idiom(lessons: int) -> None:
    """Four updates, two of them of the actor, from equal weights on equal minibatches and noise."""
    ours, idiom = twins(lessons)
    replay = filled_replay()
    for update in range(4):
        rng = np.random.default_rng(update)
        torch.manual_seed(update)
        ours.update(replay, rng)
        # The fast path draws all K minibatches at once: the same numbers, in the same order.
        rng = np.random.default_rng(update)
        drawn = replay.sample(64 * max(lessons, 1), rng, CPU)
        minibatches = zip(*(part.split(64) for part in drawn), strict=True)
        torch.manual_seed(update)
        idiom.update(lambda minibatches=minibatches: next(minibatches))
    expected = {
        "actor": (ours.actor, actor_weights(idiom.actor)),
        "critic": (ours.critic, critic_weights(idiom.q1, idiom.q2)),
        "target critic": (ours.target_critic, critic_weights(idiom.soft_q1, idiom.soft_q2)),
    }
    if lessons:
        expected["proxy"] = (ours.target, proxy_weights(idiom.proxy))
    else:
        expected["soft target"] = (ours.target.network, actor_weights(idiom.soft_actor))
    fresh, _ = twins(lessons)
    untouched = {
        "actor": fresh.actor,
        "critic": fresh.critic,
        "target critic": fresh.target_critic,
        "proxy": fresh.target,
        "soft target": getattr(fresh.target, "network", None),
    }
    for name, (module, weights) in expected.items():
        before = named(untouched[name], weights)
        for key, value in named(module, weights).items():
            moved = float((value - before[key]).abs().max())
            assert moved > 1e-7, f"{name} {key} has not moved: the test shows nothing"
            # Adam's first steps have the size of the learning rate, whatever the gradient's: where
            # a gradient is all but zero, rounding decides its sign.
            away = (value - weights[key]).detach().abs()
            assert float(away.max()) <= 2 * moved, f"{name} {key}"
            assert float((away > 0.02 * moved + 3e-7).float().mean()) < 0.01, f"{name} {key}"


@pytest.mark.parametrize("networks", [1, 2])
def test_dense_layers_equal_autograd(networks: int) -> None:
    """Forward and backward of the layers by hand against torch's own, in float64."""
    torch.manual_seed(0)
    x = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    network = ReLUNetwork(5, 8, 7, 3, networks=networks).double()
    parameters = [part if networks == 2 else part[0] for part in network.parts()]
    h = x
    for i in range(0, len(parameters), 2):
        h = (torch.relu(h) if i else h) @ parameters[i].mT + parameters[i + 1]
    ours = network(x)
    torch.testing.assert_close(ours, h)
    weighted = torch.randn_like(h)
    theirs = torch.autograd.grad((h * weighted).sum(), [x, network.flat])
    mine = torch.autograd.grad((ours * weighted).sum(), [x, network.flat])
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)
    first = network.first(x)
    torch.testing.assert_close(first, h[0] if networks == 2 else h)
    (to_x,) = torch.autograd.grad(first.sum(), [x])
    (expected,) = torch.autograd.grad((network(x)[0] if networks == 2 else network(x)).sum(), [x])
    torch.testing.assert_close(to_x, expected)


def test_bfloat16_rounds_all_but_the_last_layer() -> None:
    torch.manual_seed(0)
    network = ReLUNetwork(30, 20, 4, products=torch.bfloat16)
    w, b, last, last_b = (part.detach()[0] for part in network.parts())
    x = torch.randn(40, 30)
    ours = network(x)
    hidden = torch.addmm(b.bfloat16(), x.bfloat16(), w.bfloat16().T).relu().float()
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, torch.addmm(last_b, hidden, last.T))
    assert not torch.allclose(ours, torch.addmm(last_b, torch.addmm(b, x, w.T).relu(), last.T))


def test_bfloat16_updates_are_near_float32_ones() -> None:
    exact, _ = twins(3)
    rounded, _ = twins(3, precision="bfloat16")
    replay = filled_replay()
    measured = []
    for td3 in (exact, rounded):
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        td3.update(replay, rng)
        measured.append({name: float(value) for name, value in td3.update(replay, rng).items()})
    assert measured[0].keys() == measured[1].keys()
    for name, value in measured[0].items():
        assert measured[1][name] == pytest.approx(value, rel=0.1)
        assert measured[1][name] != value, "bfloat16 must show"


def test_precision_is_chosen_by_the_processor() -> None:
    expected = "bfloat16" if precision.has_bfloat16_units() else "float32"
    assert precision.resolve("auto", CPU) == expected
    assert precision.resolve("float32", CPU) == "float32"
