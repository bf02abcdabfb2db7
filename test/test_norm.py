# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""CaRe-BN: against batch normalisation written out, and folded against unfolded."""

import itertools

from proxy_snn_control.policy.neurons import NEURONS
from proxy_snn_control.spiking import norm
from proxy_snn_control.spiking.actor import ReLUActor, Sizes, SpikingActor
import pytest
import torch

SIZES = [Sizes(5, (-1.0, -0.5), (1.0, 2.0)), Sizes(3, (-1.0,), (1.0,))]
SPIKING = [name for name, neuron in NEURONS.items() if neuron.state]


def spiking(neuron: str, sizes=SIZES, seeds=(3, 4), hidden=(24, 16), **settings) -> SpikingActor:
    return started(
        SpikingActor(sizes, hidden=hidden, neuron=neuron, normalised=True, **settings), seeds
    )


def started(actor, seeds):
    for member, seed in enumerate(seeds):
        actor.start(member, torch.Generator().manual_seed(seed))
    return actor


def observations(n: int = 40, dtype=torch.float64) -> torch.Tensor:
    seen = torch.randn(2, n, 5, generator=torch.Generator().manual_seed(0), dtype=dtype)
    seen[1, :, 3:] = 0
    return seen


def batch_norm(current: torch.Tensor, gamma: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
    """Compute the equation as it stands, over minibatch and simulation steps."""
    n = current.shape[-1]
    rows = current.reshape(-1, n)
    done = (rows - rows.mean(0)) / torch.sqrt(rows.var(0, correction=0) + 1e-5)
    return (gamma * done + beta).reshape(current.shape)


class Rectangle(torch.autograd.Function):
    """A threshold at 0.5 with a rectangle as surrogate gradient."""

    @staticmethod
    def forward(ctx, potential):
        ctx.save_for_backward(potential)
        return (potential > 0.5).to(potential.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (potential,) = ctx.saved_tensors
        return gradient * ((potential - 0.5).abs() <= 0.5)


def test_the_spiking_actors_gradient_is_that_of_batch_normalisation() -> None:
    """Member by member, LIF neurons, float64: through the batch's statistics too."""
    actor = spiking('lif')
    actor.to(dtype=torch.float64)
    flat = actor.weights.flat.requires_grad_()
    seen = observations()
    action, _, moments = actor.learn(seen, False)
    weights = torch.linspace(-1, 1, action[0].numel(), dtype=action.dtype).view(action[0].shape)
    mine = torch.autograd.grad((action * weights).sum(), flat)[0]
    for member, size in enumerate(SIZES):
        own = actor.weights.of(member, flat[member])
        leaves = {name: part.clone().requires_grad_() for name, part in own.items()}
        s = torch.tanh(seen[member, :, : size.observations])
        away = (s[..., None] - leaves['encoder.mu']) ** 2
        stimulation = torch.exp(-away / (2 * leaves['encoder.sigma'] ** 2)).flatten(1)
        v, fired = torch.zeros_like(stimulation).detach(), []
        for _ in range(5):
            v = v + stimulation.detach()
            spike = (v > 0.999).to(v.dtype)
            v = v - 0.999 * spike
            fired.append(spike + stimulation - stimulation.detach())
        spikes = torch.stack(fired, 1)
        for i in range(3):
            current = spikes @ leaves[f'layers.{i}.weight'].T + leaves[f'layers.{i}.bias']
            rows = current.detach().flatten(0, 1)
            n = rows.shape[1]
            torch.testing.assert_close(moments[i].mean[member, :n], rows.mean(0))
            torch.testing.assert_close(moments[i].variance[member, :n], rows.var(0, correction=0))
            current = batch_norm(current, leaves[f'norm.{i}.gamma'], leaves[f'norm.{i}.beta'])
            v, spike, fired = torch.zeros_like(current[:, 0]), torch.zeros_like(current[:, 0]), []
            for t in range(5):
                v = 0.75 * v * (1 - spike) + current[:, t]
                spike = Rectangle.apply(v)
                fired.append(spike)
            spikes = torch.stack(fired, 1)
        rate = spikes.mean(1).unflatten(1, leaves['decoder.weight'].shape)
        read_out = (rate * leaves['decoder.weight']).sum(-1) + leaves['decoder.bias']
        low, high = (torch.tensor(limit, dtype=torch.float64) for limit in size[1:])
        theirs = low + (torch.tanh(read_out) + 1) * (high - low) / 2
        actions = len(size.low)
        torch.testing.assert_close(action[member, :, :actions], theirs, atol=1e-10, rtol=0)
        loss = (theirs * weights[:, :actions]).sum()
        expected = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        for (name, part), other in zip(
            actor.weights.of(member, mine[member]).items(), expected, strict=True
        ):
            if name.startswith('layers.') and name.endswith('bias'):  # subtracted with the mean
                assert part.abs().max() == 0
                assert other.abs().max() < 1e-9
                continue
            assert other.abs().max() > 1e-4, f'no gradient reaches {name}: the test shows nothing'
            torch.testing.assert_close(
                part, other, atol=1e-8, rtol=1e-6, msg=lambda m, n=name: f'{n}: {m}'
            )


def test_the_ordinary_actors_gradient_is_that_of_batch_normalisation() -> None:
    actor = started(ReLUActor(SIZES, hidden=(12, 9), normalised=True), (3, 4))
    actor.to(dtype=torch.float64)
    flat = actor.weights.flat.requires_grad_()
    action, _, _ = actor.learn(observations(), False)
    mine = torch.autograd.grad(action.pow(2).sum(), flat)[0]
    h, named = observations(), actor.weights.named(flat)
    parts = []
    for member in range(2):
        h = observations()[member]
        for i in range(2):
            h = h @ named[f'layers.{i}.weight'][member].T + named[f'layers.{i}.bias'][member]
            gamma, beta = (named[f'norm.{i}.{kind}'][member] for kind in ('gamma', 'beta'))
            h = torch.relu(batch_norm(h, gamma, beta))
        h = h @ named['layers.2.weight'][member].T + named['layers.2.bias'][member]
        parts.append(torch.tanh(h))
    theirs = actor.limits.scale(torch.stack(parts))
    torch.testing.assert_close(action, theirs)
    expected = torch.autograd.grad(theirs.pow(2).sum(), flat)[0]
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(mine, expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize('neuron', SPIKING)
def test_folded_spikes_are_the_unfolded_ones(neuron: str) -> None:
    """With the moving statistics at the batch's own; those at the threshold aside."""
    actor = spiking(neuron, hidden=(64, 64))
    seen = observations(200, torch.float32)
    for _ in range(40):  # each layer's statistics are of those before it
        actor.statistics.follow(actor.learn(seen, False).moments)
    actor.statistics.recalibrate([actor.learn(seen, False).moments])
    with torch.no_grad():
        action, spikes, _ = actor.trace(seen)
        unfolded, unfolded_spikes, potentials = actor._trace(seen, [])
        compiled = actor(seen)
    torch.testing.assert_close(compiled, action, atol=1e-6, rtol=0)
    sure = torch.ones(2, 200, dtype=torch.bool)  # no neuron so far was at its threshold
    for fired, other, potential in zip(spikes[1:], unfolded_spikes[1:], potentials, strict=True):
        sure &= ((potential - 0.5).abs() > 1e-4).flatten(2).all(2)
        assert torch.equal(fired[sure], other[sure])
    assert sure.float().mean() > 0.2, 'too few are compared'
    assert 0.02 < spikes[-1].mean() < 0.98
    torch.testing.assert_close(action[sure], unfolded[sure], atol=1e-6, rtol=0)


def test_deployed_weights_act_alike_in_the_runtime() -> None:
    """What goes into the policy file, against the actor, for a narrow member beside a wide one."""
    from proxy_snn_control.policy import PolicySpec
    from proxy_snn_control.policy.runtime import Policy

    actor = spiking('lif')
    seen = observations(30, torch.float32)
    for _ in range(5):
        actor.statistics.follow(actor.learn(seen, False).moments)
    with torch.no_grad():
        actions = actor(seen)
    for member, size in enumerate(SIZES):
        spec = PolicySpec(
            observation_size=size.observations, action_size=len(size.low), hidden=(24, 16),
            time_steps=5, neuron='lif', neuron_constants=dict(NEURONS['lif'].constants),
            encoder_population=10, encoder_threshold=0.999, decoder_population=10,
            action_low=size.low, action_high=size.high, observation_names=None, action_names=None,
            control_period=None, observation_quantile_levels=(0.0, 1.0), provenance={},
        )  # fmt: skip
        tensors = {name: part.numpy() for name, part in actor.deployed(member).items()}
        tensors['observation.quantiles'] = torch.zeros(2, size.observations).numpy()
        policy = Policy(spec, tensors)
        for row, action in zip(seen[member], actions[member], strict=True):
            mine = torch.from_numpy(policy.act(row[: size.observations].numpy()))
            torch.testing.assert_close(mine, action[: len(size.low)], atol=1e-5, rtol=0)


def test_a_narrow_members_statistics_are_those_it_has_alone() -> None:
    both, alone = spiking('lif'), spiking('lif', SIZES[1:], (4,))
    seen = observations(64, torch.float32)
    for _ in range(3):
        both.statistics.follow(both.learn(seen, False).moments)
        alone.statistics.follow(alone.learn(seen[1:, :, :3], False).moments)
    mine = both.statistics.weights.of(1, both.statistics.weights.flat[1])
    for name, part in alone.statistics.weights.of(0, alone.statistics.weights.flat[0]).items():
        torch.testing.assert_close(mine[name], part, msg=lambda m, n=name: f'{n}: {m}')
    assert torch.isfinite(both.statistics.weights.flat).all()


def test_statistics_follow_as_far_as_a_minibatch_can_be_trusted() -> None:
    """Three corrections by hand; then the pooled statistics of two minibatches."""
    moving = norm.MovingStatistics([(1,)])
    mean, variance, p_mean, p_variance = 0.0, 1.0, 0.0, 0.0
    for found, spread in ((2.0, 0.5), (2.2, 0.4), (1.9, 0.6)):
        layer = norm.Moments(torch.tensor([[found]]), torch.tensor([[spread]]), 11)
        moving.follow([layer])
        p_mean = 0.8 * p_mean + 0.2 * (found - mean) ** 2
        mean += p_mean / (p_mean + spread / 10) * (found - mean)
        p_variance = 0.8 * p_variance + 0.2 * (spread - variance) ** 2
        variance += p_variance / (p_variance + 2 * spread**2 / 10) * (spread - variance)
    named = moving.weights.named(moving.weights.flat)
    assert float(named['norm.0.mean']) == pytest.approx(mean)
    assert float(named['norm.0.variance']) == pytest.approx(variance)
    rows = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)) + torch.tensor([[0], [3]])
    batches = [
        [norm.Moments(r.mean().view(1, 1), r.var(correction=0).view(1, 1), 8)] for r in rows
    ]
    moving.recalibrate(batches)
    assert float(named['norm.0.mean']) == pytest.approx(float(rows.mean()))
    assert float(named['norm.0.variance']) == pytest.approx(float(rows.var(correction=0)))


@pytest.mark.parametrize('normalised', [False, True])
def test_operations_are_those_of_the_runtime_and_have_a_gradient(normalised: bool) -> None:
    """Counted as energy.py does, over those possible, with a gradient down to the encoder."""
    settings = {'hidden': (24, 16), 'normalised': normalised}
    actor = started(SpikingActor(SIZES, **settings), (3, 4))
    actor.to(dtype=torch.float64)
    flat = actor.weights.flat.requires_grad_()
    seen = observations()
    _, operations, _ = actor.learn(seen, True)
    with torch.no_grad():
        _, spikes, _ = actor._trace(seen, [])
    found = operations.tolist()
    for member, size in enumerate(SIZES):
        widths = (size.observations * 10, 24, 16, len(size.low) * 10)
        per_action = [float(layer[member].sum((1, 2)).mean()) for layer in spikes]
        done = sum(count * n for count, n in zip(per_action, widths[1:], strict=False))
        possible = 5 * sum(a * b for a, b in itertools.pairwise(widths))
        assert found[member] == pytest.approx(done / possible, rel=1e-6)
    (slope,) = torch.autograd.grad(operations.sum(), flat)
    for member in range(2):
        own = actor.weights.of(member, slope[member])
        for name in ('encoder.mu', 'layers.0.weight', 'layers.1.weight'):
            assert own[name].abs().max() > 1e-6, f'no gradient reaches {name}'
        # Spikes of the output layer reach the decoder alone, which is not counted.
        assert own['layers.2.weight'].abs().max() == 0
    before = float(operations.sum())
    with torch.no_grad():
        flat -= 0.5 * slope / slope.norm()
    assert float(actor.learn(seen, True).operations.sum()) < before


def test_statistics_are_computed_anew_from_the_replay_buffer(monkeypatch) -> None:
    """Every so many updates, from a hundred minibatches: near those of all transitions."""
    from training_kit import learners, quick

    monkeypatch.setattr(norm, 'RECALIBRATE_EVERY', 3)
    td3 = learners([quick(seed=1, actor_norm='care_bn', batch_size=64)], [(5, 2)])
    statistics = td3.actor.statistics.weights
    td3.update()
    td3.update()
    statistics.flat[:] = 7.0
    td3.update()
    everything = td3.replay.rows[:, : len(td3.replay), :5]
    (first, *_) = td3.actor.learn(everything, False).moments
    named = statistics.named(statistics.flat)
    assert float((named['norm.0.mean'] - first.mean).abs().max()) < 0.03
    assert float((named['norm.0.variance'] / first.variance - 1).abs().max()) < 0.1
    statistics.flat[:] = 7.0
    td3.update()
    assert float((named['norm.2.variance'] - 7).abs().max()) > 0, (
        "the actor's update corrects them"
    )
    statistics.flat[:] = 7.0
    td3.update()
    assert (statistics.flat == 7).all(), 'an update of the critics alone leaves them'
