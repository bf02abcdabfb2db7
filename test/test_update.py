# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""One update against the plain idiom that benchmarks/idiom.py spells out.

Also what each precision of the dense products means.
"""

from idiom import Idiom
import numpy as np
from proxy_snn_control.learning import hardware
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.hardware import resolved
from proxy_snn_control.learning.normaliser import Normaliser
from proxy_snn_control.learning.replay import Replay
from proxy_snn_control.learning.td3 import TD3
from proxy_snn_control.policy import UserError
from proxy_snn_control.spiking import norm
from proxy_snn_control.spiking.actor import Sizes
from proxy_snn_control.spiking.dense import ReLUNetwork
from proxy_snn_control.spiking.weights import Weights
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_kit import CPU, learners, NORMALISED, quick

OBSERVATIONS, ACTIONS, BATCH = 7, 3, 64


def filled_replay(count: int = 2000) -> Replay:
    rng = np.random.default_rng(0)
    replay = Replay(count, [(OBSERVATIONS, ACTIONS)], [0], CPU)
    rows = np.hstack(
        [
            rng.normal(0, 2, (count, OBSERVATIONS)),
            rng.uniform(-1, 1, (count, ACTIONS)),
            rng.normal(size=(count, 1)),
            rng.normal(0, 2, (count, OBSERVATIONS)),
            rng.random((count, 1)) < 0.1,
        ]
    )
    replay.add(torch.from_numpy(rows).float()[None])
    return replay


def twins(lessons: int, **changes) -> tuple[TD3, Idiom]:
    """Ours and the idiom, from the same weights; without smoothing noise, each having its own."""
    torch.manual_seed(0)
    idiom = Idiom(
        OBSERVATIONS, ACTIONS, lessons=lessons, hidden=(48, 40), proxy_hidden=(64, 32),
        critic_hidden=(32, 24), batch=BATCH, smoothing=0.0,
    )  # fmt: skip
    config = TrainConfig(
        target='proxy' if lessons else 'soft', proxy_updates=max(lessons, 1), hidden=(48, 40),
        proxy_hidden=(64, 32), critic_hidden=(32, 24), batch_size=BATCH, target_noise=0.0,
        **{'precision': 'float32', **changes},
    )  # fmt: skip
    limits = Sizes(OBSERVATIONS, (-1.0,) * ACTIONS, (1.0,) * ACTIONS)
    ours = TD3([config], [limits], filled_replay(), CPU)
    with torch.no_grad():
        for layer in idiom.actor.layers:
            layer.weight.mul_(2)
    idiom.soft_actor.load_state_dict(idiom.actor.state_dict())
    put(ours.actor.weights, 0, actor_weights(idiom.actor))
    if ours.target_adam:
        put(ours.target.weights, 0, layers(idiom.proxy))
    else:
        put(ours.target.weights, 0, actor_weights(idiom.actor))
    for row, (q, soft_q) in enumerate(((idiom.q1, idiom.soft_q1), (idiom.q2, idiom.soft_q2))):
        put(ours.critic.weights, row, layers(q))
        put(ours.target_critic.weights, row, layers(soft_q))
    return ours, idiom


def put(weights: Weights, row: int, values: dict) -> None:
    weights.put(row, weights.flat[row], values)


def own(weights: Weights, row: int = 0) -> dict:
    return {name: part.clone() for name, part in weights.of(row, weights.flat[row]).items()}


def layers(network) -> dict:
    """Return the weights of a torch.nn.Sequential of linear layers, as ours are named."""
    return {
        f'layers.{i // 2}.{kind}': part.detach()
        for i, layer in enumerate(network)
        for kind, part in layer.named_parameters()
    }


def actor_weights(actor) -> dict:
    return {
        'encoder.mu': actor.mu,
        'encoder.sigma': actor.sigma,
        **{f'layers.{k}': v for k, v in actor.layers.state_dict().items()},
        'decoder.weight': actor.decoder.weight[:, 0, :],  # depthwise: one output per group
        'decoder.bias': actor.decoder.bias,
    }


@pytest.mark.parametrize('lessons', [3, 1, 0])
def test_updates_equal_the_plain_idiom(lessons: int) -> None:
    """Four updates, two of them of the actor, from equal weights on equal minibatches."""
    ours, idiom = twins(lessons)
    fresh, _ = twins(lessons)
    for update in range(1, 5):
        ours.update()
        # All K minibatches are drawn at once: the same numbers, in the same order.
        drawn = ours.replay.sample(torch.tensor(update), BATCH * max(lessons, 1))
        minibatches = zip(*(part[0].split(BATCH) for part in drawn), strict=True)
        idiom.update(lambda minibatches=minibatches: next(minibatches))
    expected = {
        'actor': (own(ours.actor.weights), own(fresh.actor.weights), actor_weights(idiom.actor)),
    }
    target = layers(idiom.proxy) if lessons else actor_weights(idiom.soft_actor)
    expected['target'] = own(ours.target.weights), own(fresh.target.weights), target
    for row, (q, soft) in enumerate(((idiom.q1, idiom.soft_q1), (idiom.q2, idiom.soft_q2))):
        mine, before = own(ours.critic.weights, row), own(fresh.critic.weights, row)
        expected[f'critic {row}'] = mine, before, layers(q)
        mine, before = own(ours.target_critic.weights, row), own(fresh.target_critic.weights, row)
        expected[f'target critic {row}'] = mine, before, layers(soft)
    for name, (mine, before, theirs) in expected.items():
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            moved = float((value - before[key]).abs().max())
            assert moved > 1e-7, f'{name} {key} has not moved: the test shows nothing'
            # Adam's first steps have the size of the learning rate, whatever the gradient's: where
            # a gradient is all but zero, rounding decides its sign.
            away = (value - theirs[key]).detach().abs()
            assert float(away.max()) <= 2 * moved, f'{name} {key}'
            assert float((away > 0.02 * moved + 3e-7).float().mean()) < 0.01, f'{name} {key}'


def test_the_imitation_gradient_is_autograds() -> None:
    """Of the proxy's mean squared error (Eq. 9), for members of different widths and limits."""
    configs = [quick(seed=seed, precision='float32') for seed in (0, 1)]
    sizes = [Sizes(5, (-1.0, -2.0, 0.0), (1.0, 3.0, 0.5)), Sizes(4, (-1.0,), (0.5,))]
    replay = filled_replay()
    td3 = TD3(configs, sizes, replay, CPU)
    td3.target.weights.flat.data.mul_(3)
    generator = torch.Generator().manual_seed(0)
    observation = torch.randn(2, 9, 5, generator=generator)
    action = torch.randn(2, 9, 3, generator=generator)
    observation[1, :, 4:], action[1, :, 1:] = 0, 0
    loss, slope = td3.target.imitation(observation, action)
    error = td3.target(observation) - action
    expected = torch.stack([(error[0] ** 2).mean(), (error[1, :, :1] ** 2).mean()])
    torch.testing.assert_close(loss, expected)
    (autograds,) = torch.autograd.grad(expected.sum(), td3.target.weights.flat)
    assert autograds.abs().max() > 1e-2
    torch.testing.assert_close(slope, autograds, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('norm', [False, True])
@pytest.mark.parametrize('networks', [1, 3])
def test_dense_layers_equal_autograd(networks: int, norm: bool) -> None:
    """Forward and backward of the layers by hand against torch's own, in float64."""
    torch.manual_seed(0)
    x = torch.randn(networks, 9, 5, dtype=torch.float64, requires_grad=True)
    network = ReLUNetwork([(5, 8, 7, 3)] * networks, norm=norm)
    for row in range(networks):
        network.start(row, torch.Generator().manual_seed(row))
    network.weights.to(dtype=torch.float64)
    leaf = network.weights.flat.requires_grad_()
    parameters = list(network.weights.named(leaf).values())
    h = x
    for i in range(0, len(parameters), 2):
        if i and norm:
            deviation = torch.sqrt(h.var(-1, keepdim=True, correction=0) + 1e-5)
            h = (h - h.mean(-1, keepdim=True)) / deviation
        h = (torch.relu(h) if i else h) @ parameters[i].mT + parameters[i + 1][:, None]
    ours = network(x)
    torch.testing.assert_close(ours, h)
    weighted = torch.randn_like(h)
    theirs = torch.autograd.grad((h * weighted).sum(), [x, leaf])
    mine = torch.autograd.grad((ours * weighted).sum(), [x, leaf])
    for one, other in zip(mine, theirs, strict=True):
        assert other.abs().max() > 1e-3, 'no gradient: the test shows nothing'
        torch.testing.assert_close(one, other)
    again, pullback = network.with_pullback(x)
    torch.testing.assert_close(again, h)
    torch.testing.assert_close(pullback(weighted), theirs[1])
    first = network(x[:1], leaf.detach()[:1])
    torch.testing.assert_close(first, h[:1])
    (to_x,) = torch.autograd.grad(first.sum(), [x])
    (expected,) = torch.autograd.grad(network(x)[:1].sum(), [x])
    torch.testing.assert_close(to_x, expected)


def test_bfloat16_rounds_all_but_the_last_layer() -> None:
    network = ReLUNetwork([(30, 20, 4)], products='bfloat16')
    network.start(0, torch.Generator().manual_seed(0))
    w, b, last, last_b = own(network.weights).values()
    x = torch.randn(1, 40, 30, generator=torch.Generator().manual_seed(0))
    (ours,) = network(x)
    hidden = torch.addmm(b.bfloat16(), x[0].bfloat16(), w.bfloat16().T).relu().float()
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, torch.addmm(last_b, hidden, last.T))
    assert not torch.allclose(ours, torch.addmm(last_b, torch.addmm(b, x[0], w.T).relu(), last.T))


def test_bfloat16_updates_are_near_float32_ones() -> None:
    exact, _ = twins(3)
    rounded, _ = twins(3, precision='bfloat16')
    measured = []
    for td3 in (exact, rounded):
        td3.update()
        td3.update()
        measured.append({name: float(value) for name, value in td3.sums.items()})
    for name, value in measured[0].items():
        assert measured[1][name] == pytest.approx(value, rel=0.1)
        assert measured[1][name] != value, 'bfloat16 must show'


def test_precision_is_chosen_by_the_processor() -> None:
    expected = 'bfloat16' if hardware.has_bfloat16_units() else 'float32'
    assert resolved(TrainConfig(device='cpu')).precision == expected
    assert resolved(TrainConfig(device='cpu', precision='float32')).precision == 'float32'
    with pytest.raises(UserError, match="precision is 'tf32', which only a GPU has"):
        resolved(TrainConfig(device='cpu', precision='tf32'))


# Torch's device without numbers: everything goes the way of a GPU, and what would read numbers
# back raises an error.
META = torch.device('meta')


class OnDeviceAlone(TorchDispatchMode):
    """What a CUDA graph holds: operations on tensors of the device, and no others."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for each in tree_leaves((args, kwargs, found)):
            if isinstance(each, torch.Tensor):
                assert each.device == META, f'{function} has a tensor on the {each.device}'
        self.count += 1
        return found


ROBUST = {**NORMALISED, 'surrogate': 'tailed', 'spike_cost': 0.1, 'precision': 'tf32'}


@pytest.mark.parametrize(
    ('neuron', 'target', 'settings'),
    [
        ('lif', 'proxy', {}),
        ('lif', 'proxy', ROBUST),
        ('lif', 'proxy', {'normalise_observations': True, 'history': 2, 'previous_action': True}),
        ('lif', 'soft', {'policy_delay': 1, 'num_envs': 2, 'precision': 'bfloat16'}),
        ('clif', 'proxy', {'proxy_updates': 1}),
        ('dn', 'soft', ROBUST),
        ('relu', 'proxy', NORMALISED),
        ('relu', 'soft', {}),
    ],
    ids=lambda value: '' if isinstance(value, dict) else value,
)
def test_what_a_gpu_records_stays_there(neuron: str, target: str, settings: dict) -> None:
    """Nothing is read back or brought from the processor, also with a padded member."""
    settings = {'precision': 'float32', **settings}
    configs = [quick(neuron=neuron, target=target, seed=s, **settings) for s in range(3)]
    history = configs[0].history
    sizes = [
        Sizes(configs[0].input_size(o, a), (-1.0,) * a, (1.0,) * a)
        for o, a in ((5, 2), (3, 1), (5, 2))
    ]
    replay = Replay(100, [(each.observations, len(each.low)) for each in sizes], [0, 1, 2], META)
    normaliser = None
    if configs[0].normalise_observations:
        normaliser = Normaliser([5, 3, 5], history, replay.widths[0], META)
    td3 = TD3(configs, sizes, replay, META, normaliser)
    recorded = (
        lambda: td3._learn(False), lambda: td3._learn(True), td3._explore, td3._act_at_random,
    )  # fmt: skip
    for function in recorded:
        function()  # draws its keys
        with OnDeviceAlone() as watch:
            function()
        assert watch.count


def tensors_of(thing, path: str = '') -> dict[str, int]:
    """Where in memory is each tensor that an object of the package holds, by its name there."""
    if isinstance(thing, torch.Tensor):
        return {path: thing.data_ptr()}
    if isinstance(thing, dict):
        parts = thing
    elif isinstance(thing, (list, tuple)):
        parts = dict(enumerate(thing))
    elif type(thing).__module__.startswith('proxy_snn_control'):
        parts = vars(thing)
    else:
        return {}
    found: dict[str, int] = {}
    for name, part in parts.items():
        if name not in ('_block', '_tables'):  # made ahead on a CPU alone
            found |= tensors_of(part, f'{path}.{name}')
    return found


@pytest.mark.parametrize('settings', [{}, {**NORMALISED, 'target': 'soft'}], ids=['', 'all'])
def test_tensors_change_where_they_are(settings: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded update reads and writes the same memory after a checkpoint has been loaded."""
    monkeypatch.setattr(norm, 'RECALIBRATE_FROM', 2)
    configs = [quick(seed=s, normalise_observations=True, **settings) for s in range(2)]
    td3 = learners(configs, [(5, 2), (3, 1)])
    td3.update()
    td3.update()
    before = tensors_of(td3)
    assert {'.critic.weights.flat', '._normaliser._pair', '.replay.rows'} < before.keys()
    td3.restore(td3.updates, td3.acted)
    td3.replay.restore(td3.replay.count)
    for member in range(2):
        td3.put(member, td3.tensors(member))
        td3._normaliser.take(member, td3._normaliser.tensors(member))
        td3.replay.write(member, 0, td3.replay.read(member, 0, 7))
    td3.replay.add(torch.zeros(2, 1, sum(td3.replay.widths)))
    td3.act(np.zeros((2, 1, 5), np.float32), at_random=False)
    if td3.actor.statistics:
        td3._recalibrate(td3.actor.statistics)
    td3.update()
    assert tensors_of(td3) == before
