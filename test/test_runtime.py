"""The NumPy runtime: equal to the torch actor, and well behaved on its own."""

import numpy as np
import pytest
from conftest import random_policy

from proxy_snn_control.policy import ObservationError, Policy
from proxy_snn_control.policy.energy import (
    equivalent_multiply_accumulates,
    inference_energy,
    possible_synaptic_operations,
)
from proxy_snn_control.policy.neurons import NEURONS, run

NEAR = 1e-5


def first_difference(
    runtime: Policy, observation: np.ndarray, spikes: list, potentials: list, row: int
) -> float | None:
    """Largest distance from the threshold where spikes first differ, by cause and effect.

    Later differences may follow from the first; None if there is none.
    """
    threshold = runtime.spec.neuron_constants["threshold"]
    for layer, ours in enumerate(runtime.spikes):
        differs = ours != spikes[layer][:, row]
        if not differs.any():
            continue
        t = np.flatnonzero(differs.any(axis=1))[0]
        which = np.flatnonzero(differs[t])
        if layer == 0:  # its potentials are not kept: count them again, exactly, up to there
            return float(abs(encoder_potential(runtime, observation, t)[which] - 0.999).max())
        both = np.stack([runtime.potentials[layer - 1][t], potentials[layer - 1][t, row]])
        return float(abs(both[:, which] - threshold).max())
    return None


def encoder_potential(runtime: Policy, observation: np.ndarray, t: int) -> np.ndarray:
    """Membrane potential of the encoder's neurons at time step t in float64, before the reset."""
    mu, sigma = runtime._mu.astype(float), runtime._sigma.astype(float)
    squashed = np.tanh(observation.astype(float))[:, None]
    stimulation = np.exp(-((squashed - mu) ** 2) / (2 * sigma**2)).ravel()
    potential = np.zeros_like(stimulation)
    for step in range(t + 1):
        potential += stimulation
        if step < t:
            potential -= 0.999 * runtime.spikes[0][step]
    return potential


@pytest.mark.parametrize(
    ("neuron", "observations", "actions", "hidden"),
    [
        ("lif", 17, 6, (256, 256)),
        ("lif", 9, 1, (64, 64)),
        ("lif", 3, 2, ()),
        ("clif", 9, 1, (64, 64)),
        ("dn", 9, 1, (64, 64)),
    ],
)
def test_same_spikes_as_the_torch_actor(
    neuron: str, observations: int, actions: int, hidden: tuple
) -> None:
    torch = pytest.importorskip("torch")
    from proxy_snn_control.spiking.actor import SpikingActor

    torch.manual_seed(0)
    low, high = (-1.0,) * actions, (0.5,) * actions
    actor = SpikingActor(observations, low, high, hidden=hidden, neuron=neuron)
    with torch.no_grad():  # wider than they start, so that neurons fire at all rates
        for layer in actor.layers:
            layer.weight *= 2
    tensors = {name: tensor.numpy() for name, tensor in actor.state_dict().items()}
    spec, random = random_policy(
        observations,
        actions,
        hidden=hidden,
        neuron=neuron,
        neuron_constants=NEURONS[neuron].constants,
        action_low=low,
        action_high=high,
    )
    tensors["observation.quantiles"] = random["observation.quantiles"]
    runtime = Policy(spec, tensors)

    rng = np.random.default_rng(1)
    count = 10_000
    many = rng.normal(0, 1, (count, observations)).astype(np.float32)
    many[::7] *= 100  # far outside the encoder's span
    with torch.no_grad():
        action, spikes, potentials = actor.trace(torch.from_numpy(many))
    action = action.numpy()
    spikes, potentials = [s.numpy() for s in spikes], [p.numpy() for p in potentials]
    rates = [layer.mean() for layer in spikes]
    assert all(0.02 < rate < 0.98 for rate in rates), f"a layer that shows nothing: {rates}"

    differing = 0
    for row in range(count):
        ours = runtime.act(many[row])
        distance = first_difference(runtime, many[row], spikes, potentials, row)
        if distance is None:
            np.testing.assert_allclose(ours, action[row], atol=NEAR, rtol=0)
        else:
            differing += 1
            assert distance < NEAR
    assert differing < count / 100


def test_encoder_spikes_differ_only_at_the_threshold() -> None:
    """The encoder against float64 counting: V after t steps is t * A less what it spent."""
    spec, tensors = random_policy(observations=4, time_steps=20)
    runtime = Policy(spec, tensors)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        observation = rng.normal(0, 1, 4).astype(np.float32)
        runtime.act(observation)
        mu = tensors["encoder.mu"].astype(float)
        sigma = tensors["encoder.sigma"].astype(float)
        squashed = np.tanh(observation.astype(float))[:, None]
        stimulation = np.exp(-((squashed - mu) ** 2) / (2 * sigma**2)).ravel()
        potential = np.zeros_like(stimulation)
        certain = np.ones_like(stimulation, dtype=bool)
        for t in range(spec.time_steps):
            potential += stimulation
            certain &= abs(potential - 0.999) > NEAR
            spike = potential > 0.999
            np.testing.assert_array_equal(runtime.spikes[0][t][certain], spike[certain])
            potential -= 0.999 * spike


def test_lif_by_hand() -> None:
    current = np.array([[0.4, 0.6], [0.3, 0.4], [0.1, 0.4]], dtype=np.float32)
    spikes, potentials = run(NEURONS["lif"], (np.float32(0.75), np.float32(0.5)), current)
    # Neuron 0: 0.4; 0.3 + 0.3 = 0.6 fires; reset, 0.1. Neuron 1: 0.6 fires; 0.4; 0.3 + 0.4 fires.
    np.testing.assert_array_equal(spikes, [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_allclose(potentials, [[0.4, 0.6], [0.6, 0.4], [0.1, 0.7]], rtol=1e-6)


def test_actions_keep_their_limits() -> None:
    spec, tensors = random_policy(actions=3, action_low=(-0.1,) * 3, action_high=(0.3,) * 3)
    tensors["decoder.bias"] = np.array([1e4, -1e4, 0], dtype=np.float32)
    runtime = Policy(spec, tensors)
    for observation in np.random.default_rng(0).normal(0, 3, (200, 9)):
        action = runtime.act(observation)
        assert action.dtype == np.float32
        assert action.shape == (3,)
        assert all(-0.1 <= float(value) <= 0.3 for value in action), "neither is a float32"
    spec, tensors = random_policy(actions=3, action_low=(0.1,) * 3, action_high=(0.7,) * 3)
    tensors["decoder.bias"] = np.array([1e4, -1e4, 0], dtype=np.float32)
    action = Policy(spec, tensors).act(np.zeros(9))
    assert all(0.1 <= float(value) <= 0.7 for value in action)
    np.testing.assert_allclose(action[:2], (0.7, 0.1), rtol=1e-6)


@pytest.mark.parametrize(
    ("observation", "says"),
    [
        (np.zeros(8), r"shape \(8,\), expected \(9,\)"),
        (np.zeros((1, 9)), r"shape \(1, 9\), expected \(9,\)"),
        (0.0, r"shape \(\)"),
        ([0] * 4 + [np.nan] + [0] * 4, r"observation\[4\] is nan"),
        ([np.inf] + [0] * 8, r"observation\[0\] is inf"),
        ([1e300] + [0] * 8, r"observation\[0\] is inf"),
        (["x"] * 9, "no array of numbers"),
        ([[1], [1, 2]], "no array of numbers"),
    ],
)
def test_bad_observations_leave_the_policy_usable(policy: Policy, observation, says: str) -> None:
    before = policy.act(np.ones(9))
    with pytest.raises(ObservationError, match=says):
        policy.act(observation)
    np.testing.assert_array_equal(policy.act(np.ones(9)), before)


def test_the_name_of_a_bad_observation_is_told() -> None:
    names = tuple("abcdefghi")
    runtime = Policy(*random_policy(observation_names=names))
    with pytest.raises(ObservationError, match=r"observation\[2\] \(c\) is nan"):
        runtime.act([0, 0, np.nan, 0, 0, 0, 0, 0, 0])


def test_synaptic_operations_are_spikes_times_fan_out(policy: Policy) -> None:
    policy.act(np.linspace(-1, 1, 9))
    encoder, first, second, output = (int(s.sum()) for s in policy.spikes)
    assert encoder
    assert first
    assert policy.synaptic_operations == encoder * 32 + first * 24 + second * 10
    assert policy.spike_count == encoder + first + second + output


def test_operation_counts_of_the_paper() -> None:
    """Xu et al. 2025, Section 5.6, for two of its tasks."""
    pendulum, _ = random_policy(observations=11, actions=1, hidden=(256, 256))
    cheetah, _ = random_policy(observations=17, actions=6, hidden=(256, 256))
    assert possible_synaptic_operations(pendulum) == 481_280
    assert possible_synaptic_operations(cheetah) == 622_080
    assert equivalent_multiply_accumulates(pendulum) == 68_608
    assert equivalent_multiply_accumulates(cheetah) == 71_424


def test_relu_policy_equals_the_torch_actor() -> None:
    torch = pytest.importorskip("torch")
    from proxy_snn_control.spiking.actor import ReLUActor

    spec, tensors = random_policy(neuron="relu", actions=2, action_high=(2.0, 0.5))
    actor = ReLUActor(9, spec.action_low, spec.action_high, hidden=spec.hidden)
    state = {k: torch.from_numpy(v) for k, v in tensors.items() if k.startswith("layers")}
    actor.load_state_dict(state)
    runtime = Policy(spec, tensors)
    many = np.random.default_rng(0).normal(0, 3, (200, 9)).astype(np.float32)
    with torch.no_grad():
        expected = actor(torch.from_numpy(many)).numpy()
    for row, action in zip(many, expected, strict=True):
        np.testing.assert_allclose(runtime.act(row), action, atol=NEAR, rtol=0)
    assert runtime.spike_count == runtime.synaptic_operations == 0
    assert possible_synaptic_operations(spec) == 0
    assert inference_energy(spec, 0) == pytest.approx((9 * 32 + 32 * 24 + 24 * 2) * 3.97e-12)


def test_a_neuron_that_runs_away_still_gives_an_action() -> None:
    """The DN's recovery grows without bound over many steps; the action must not notice."""
    constants = {**NEURONS["dn"].constants, "recovery_rate": 1.0}
    spec, tensors = random_policy(neuron="dn", neuron_constants=constants, time_steps=1000)
    tensors["layers.0.weight"] *= 1e4
    action = Policy(spec, tensors).act(np.linspace(-1, 1, 9))
    assert np.isfinite(action).all()
