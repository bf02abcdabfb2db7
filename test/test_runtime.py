# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The runtime, compiled and in NumPy alone: equal to the torch actor, and well behaved."""

import itertools
import os
from pathlib import Path
import subprocess
import sys
import threading
import tracemalloc

from conftest import random_policy
from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
from proxy_snn_control.policy import (
    load_policy,
    machine_code,
    native,
    ObservationError,
    Policy,
    read_policy,
)
from proxy_snn_control.policy.energy import (
    equivalent_footprint,
    equivalent_multiply_accumulates,
    inference_energy,
    neurobench,
    possible_synaptic_operations,
    Rapl,
)
from proxy_snn_control.policy.neurons import NEURONS, run
import pytest

NEAR = 1e-5
both_ways = pytest.mark.parametrize('compiled', [True, False], ids=['compiled', 'numpy'])


@pytest.fixture(params=[True, False], ids=['compiled', 'numpy'])
def policy(request) -> Policy:
    return Policy(*random_policy(), compiled=request.param)


def first_difference(
    runtime: Policy, observation: np.ndarray, spikes: list, potentials: list, row: int
) -> float | None:
    """Largest distance from the threshold where spikes first differ, by cause and effect.

    Later differences may follow from the first; None if there is none.
    """
    threshold = runtime.spec.neuron_constants['threshold']
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
    tensors = runtime._network._tensors
    mu, sigma = tensors['encoder.mu'].astype(float), tensors['encoder.sigma'].astype(float)
    squashed = np.tanh(observation.astype(float))[:, None]
    stimulation = np.exp(-((squashed - mu) ** 2) / (2 * sigma**2)).ravel()
    potential = np.zeros_like(stimulation)
    for step in range(t + 1):
        potential += stimulation
        if step < t:
            potential -= 0.999 * runtime.spikes[0][step]
    return potential


@pytest.mark.parametrize(
    ('neuron', 'observations', 'actions', 'hidden'),
    [
        ('lif', 17, 6, (256, 256)),
        ('lif', 9, 1, (64, 64)),
        ('lif', 3, 2, ()),
        ('clif', 9, 1, (64, 64)),
        ('dn', 9, 1, (64, 64)),
        ('clif', 2, 3, (33, 31, 65)),
    ],
)
@both_ways
def test_same_spikes_as_the_torch_actor(
    neuron: str, observations: int, actions: int, hidden: tuple, compiled: bool
) -> None:
    torch = pytest.importorskip('torch')
    from proxy_snn_control.spiking.actor import Sizes, SpikingActor

    low, high = (-1.0,) * actions, (0.5,) * actions
    actor = SpikingActor([Sizes(observations, low, high)], hidden=hidden, neuron=neuron)
    actor.start(0, torch.Generator().manual_seed(0))
    weights = actor.weights.of(0, actor.weights.flat[0])
    for name, part in weights.items():  # wider than they start, so that neurons fire at all rates
        if name.startswith('layers.') and name.endswith('weight'):
            part *= 2
    tensors = {name: part.numpy() for name, part in weights.items()}
    spec, random = random_policy(
        observations,
        actions,
        hidden=hidden,
        neuron=neuron,
        neuron_constants=NEURONS[neuron].constants,
        action_low=low,
        action_high=high,
    )
    tensors['observation.quantiles'] = random['observation.quantiles']
    runtime = Policy(spec, tensors, compiled=compiled)
    assert runtime.compiled == compiled

    rng = np.random.default_rng(1)
    count = 5_000 if compiled else 2_000
    many = rng.normal(0, 1, (count, observations)).astype(np.float32)
    many[::7] *= 100  # far outside the encoder's span
    with torch.no_grad():
        (action,), *traces = actor.trace(torch.from_numpy(many)[None])
    action = action.numpy()
    spikes, potentials = ([part[0].transpose(0, 1).numpy() for part in each] for each in traces)
    rates = [layer.mean() for layer in spikes]
    assert all(0.02 < rate < 0.98 for rate in rates), f'a layer that shows nothing: {rates}'

    differing = 0
    for row in range(count):
        ours = runtime.act(many[row])
        distance = first_difference(runtime, many[row], spikes, potentials, row)
        if distance is None:
            np.testing.assert_allclose(ours, action[row], atol=NEAR, rtol=0)
        else:
            differing += 1
            assert distance < NEAR
    assert differing < count / 1000


@both_ways
def test_encoder_spikes_differ_only_at_the_threshold(compiled: bool) -> None:
    """The encoder against float64 counting: V after t steps is t * A less what it spent."""
    spec, tensors = random_policy(observations=4, time_steps=20)
    runtime = Policy(spec, tensors, compiled=compiled)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        observation = rng.normal(0, 1, 4).astype(np.float32)
        runtime.act(observation)
        mu = tensors['encoder.mu'].astype(float)
        sigma = tensors['encoder.sigma'].astype(float)
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


def test_the_compiled_exponential_rounds_as_numpys() -> None:
    numba = pytest.importorskip('numba')
    from proxy_snn_control.policy.event import exponential

    compiled = numba.vectorize(['float64(float64)'])(exponential)
    x = -(np.random.default_rng(0).uniform(0, 1, 1_000_000) ** 2) * 110
    expected = np.exp(x)
    np.testing.assert_allclose(compiled(x), expected, rtol=5e-16, atol=0)
    np.testing.assert_array_equal(compiled(x).astype(np.float32), expected.astype(np.float32))
    np.testing.assert_array_equal(compiled(np.array([0.0, -1e-300])), 1)
    assert (compiled(np.array([-700, -1e24, -np.inf])).astype(np.float32) == 0).all()


def test_lif_by_hand() -> None:
    current = np.array([[0.4, 0.6], [0.3, 0.4], [0.1, 0.4]], dtype=np.float32)
    spikes, potentials = np.empty_like(current), np.empty_like(current)
    run(NEURONS['lif'], (np.float32(0.75), np.float32(0.5)), current, spikes, potentials)
    # Neuron 0: 0.4; 0.3 + 0.3 = 0.6 fires; reset, 0.1. Neuron 1: 0.6 fires; 0.4; 0.3 + 0.4 fires.
    np.testing.assert_array_equal(spikes, [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_allclose(potentials, [[0.4, 0.6], [0.6, 0.4], [0.1, 0.7]], rtol=1e-6)


@both_ways
def test_actions_keep_their_limits(compiled: bool) -> None:
    spec, tensors = random_policy(actions=3, action_low=(-0.1,) * 3, action_high=(0.3,) * 3)
    tensors['decoder.bias'] = np.array([1e4, -1e4, 0], dtype=np.float32)
    runtime = Policy(spec, tensors, compiled=compiled)
    for observation in np.random.default_rng(0).normal(0, 3, (200, 9)):
        action = runtime.act(observation)
        assert action.dtype == np.float32
        assert action.shape == (3,)
        assert all(-0.1 <= float(value) <= 0.3 for value in action), 'neither is a float32'
    spec, tensors = random_policy(actions=3, action_low=(0.1,) * 3, action_high=(0.7,) * 3)
    tensors['decoder.bias'] = np.array([1e4, -1e4, 0], dtype=np.float32)
    action = Policy(spec, tensors, compiled=compiled).act(np.zeros(9))
    assert all(0.1 <= float(value) <= 0.7 for value in action)
    np.testing.assert_allclose(action[:2], (0.7, 0.1), rtol=1e-6)


@pytest.mark.parametrize(
    ('observation', 'reported'),
    [
        (np.zeros(8), r'shape \(8,\), expected \(9,\)'),
        (np.zeros((1, 9)), r'shape \(1, 9\), expected \(9,\)'),
        (0.0, r'shape \(\)'),
        ([0] * 4 + [np.nan] + [0] * 4, r'observation\[4\] is nan'),
        ([np.inf] + [0] * 8, r'observation\[0\] is inf'),
        ([1e300] + [0] * 8, r'observation\[0\] is inf'),
        (['x'] * 9, 'no array of numbers'),
        (np.array(['x'] * 9), 'no array of numbers'),
        (np.ones(9, complex), 'no array of numbers'),
        (np.ones(9, object), 'no array of numbers'),
        ([10**400] * 9, 'no array of numbers'),
        (None, r'shape \(\)'),
        ([[1], [1, 2]], 'no array of numbers'),
    ],
)
def test_bad_observations_leave_the_policy_usable(
    policy: Policy, observation, reported: str
) -> None:
    before = policy.act(np.ones(9))
    with pytest.raises(ObservationError, match=reported):
        policy.act(observation)
    np.testing.assert_array_equal(policy.act(np.ones(9)), before)


def test_the_name_of_a_bad_observation_is_reported() -> None:
    names = tuple('abcdefghi')
    runtime = Policy(*random_policy(observation_names=names))
    with pytest.raises(ObservationError, match=r'observation\[2\] \(c\) is nan'):
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
    torch = pytest.importorskip('torch')
    from proxy_snn_control.spiking.actor import ReLUActor, Sizes

    spec, tensors = random_policy(neuron='relu', actions=2, action_high=(2.0, 0.5))
    actor = ReLUActor([Sizes(9, spec.action_low, spec.action_high)], hidden=spec.hidden)
    weights = {name: torch.from_numpy(array) for name, array in tensors.items()}
    actor.weights.put(0, actor.weights.flat[0], weights)
    runtime = Policy(spec, tensors)
    many = np.random.default_rng(0).normal(0, 3, (200, 9)).astype(np.float32)
    with torch.no_grad():
        (expected,) = actor(torch.from_numpy(many)[None]).numpy()
    for row, action in zip(many, expected, strict=True):
        np.testing.assert_allclose(runtime.act(row), action, atol=NEAR, rtol=0)
    assert runtime.spike_count == runtime.synaptic_operations == 0
    assert possible_synaptic_operations(spec) == 0
    assert inference_energy(spec, 0) == pytest.approx((9 * 32 + 32 * 24 + 24 * 2) * 3.97e-12)


@both_ways
def test_a_neuron_that_runs_away_still_gives_an_action(compiled: bool) -> None:
    """The DN's recovery grows without bound over many steps; the action must not notice."""
    constants = {**NEURONS['dn'].constants, 'recovery_rate': 1.0}
    spec, tensors = random_policy(neuron='dn', neuron_constants=constants, time_steps=1000)
    tensors['layers.0.weight'] *= 1e4
    action = Policy(spec, tensors, compiled=compiled).act(np.linspace(-1, 1, 9))
    assert np.isfinite(action).all()


finite = {'allow_nan': False, 'allow_infinity': False, 'width': 32}


@st.composite
def policies(draw) -> tuple:
    """Policies of all shapes, with weights of all sizes and constants over most of their range."""
    neuron = draw(st.sampled_from(['lif', 'clif', 'dn']))
    kind = NEURONS[neuron]
    constants = dict(kind.constants)
    for name in constants:
        low, high = (0.0625, 5.0) if name == 'threshold' else (0.0, 1.0)
        if draw(st.booleans()):
            constants[name] = draw(st.floats(low, high, **finite))
    spec, tensors = random_policy(
        observations=draw(st.integers(1, 40)),
        actions=draw(st.integers(1, 7)),
        hidden=tuple(draw(st.lists(st.integers(1, 80), max_size=3))),
        seed=draw(st.integers(0, 2**32 - 1)),
        time_steps=draw(st.integers(1, 12)),
        neuron=neuron,
        neuron_constants=constants,
        encoder_population=draw(st.integers(1, 12)),
        decoder_population=draw(st.integers(1, 12)),
        encoder_threshold=draw(st.floats(0.0625, 2.0, **finite)),
    )
    scale = np.float32(draw(st.sampled_from([0.1, 1.0, 5.0])))
    return spec, {k: v * scale if k.startswith('layers') else v for k, v in tensors.items()}


@given(policies(), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_compiled_numpy_and_torch_agree_on_any_policy(made: tuple, seed: int) -> None:
    torch = pytest.importorskip('torch')
    from exactness import torch_actor

    spec, tensors = made
    rng = np.random.default_rng(seed)
    many = rng.normal(0, 1, (5, spec.observation_size)).astype(np.float32)
    with torch.no_grad():
        (actions,), *traced = torch_actor(spec, tensors).trace(torch.from_numpy(many)[None])
    spikes, potentials = ([layer[0].transpose(0, 1).numpy() for layer in each] for each in traced)
    for compiled in (True, False):
        policy = Policy(spec, tensors, compiled=compiled)
        for row, observation in enumerate(many):
            action = policy.act(observation)
            distance = first_difference(policy, observation, spikes, potentials, row)
            if distance is None:
                np.testing.assert_allclose(action, actions[row], atol=NEAR, rtol=0)
            else:  # rounding is as large as what is rounded
                largest = max(np.nanmax(abs(layer)) for layer in policy.potentials)
                assert distance < NEAR * max(1, largest)
            assert policy.spike_counts == [int(layer.sum()) for layer in policy.spikes]
            assert (spec.action_low <= action).all() and (action <= spec.action_high).all()


def test_a_short_run_of_the_exactness_benchmark(policy_file: Path) -> None:
    """`python benchmarks/exactness.py` does it with trained policies, a million observations."""
    pytest.importorskip('torch')
    pytest.importorskip('gymnasium')
    from exactness import compare, noise, rollouts, torch_actor

    policy = load_policy(policy_file)
    chunks = itertools.chain(rollouts(policy, 2000, 0), noise(policy, 2000, 0))
    found = compare(policy, torch_actor(*read_policy(policy_file)[:2]), chunks)
    assert (found.observations, found.spikes) == (4000, 4000 * 5 * (90 + 32 + 24 + 10))
    assert found.begun <= 1
    assert found.farthest < NEAR
    assert 0 < found.action < 1e-4
    # With a weight changed the same comparison does find something.
    spec, tensors, _ = read_policy(policy_file)
    tensors['layers.1.weight'][0] += np.float32(0.01)
    found = compare(policy, torch_actor(spec, tensors), noise(policy, 500, 0))
    assert found.begun > 10
    assert found.farthest > 1e-3


def test_an_action_allocates_nothing() -> None:
    runtime = Policy(*random_policy(hidden=(256, 256)))
    assert runtime.compiled
    observation, action = np.linspace(-1, 1, 9), np.empty(1, np.float32)
    assert runtime.act(observation, action) is action
    tracemalloc.start()
    try:
        runtime.act(observation, action)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            runtime.act(observation, action)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Nothing stays; the arguments of one call come and go. A layer's T steps would be 5 KiB.
    assert after - before < 200
    assert peak - before < 2000
    np.testing.assert_array_equal(runtime.act(observation), action)


def test_a_policy_that_would_take_far_more_memory_than_its_file() -> None:
    shape = {'observations': 1, 'encoder_population': 1, 'time_steps': 1}
    runtime = Policy(*random_policy(hidden=(2**20, 1), **shape))
    assert not runtime.compiled, 'its 4 MB of weights to one neuron would be filled up to 134 MB'
    assert np.isfinite(runtime.act([0.5])).all()
    assert Policy(*random_policy(hidden=(2**15, 32), **shape)).compiled


def test_actions_are_the_callers_own(policy: Policy) -> None:
    first = policy.act(np.full(9, 0.1))
    kept = first.copy()
    second = policy.act(np.full(9, 0.9))
    np.testing.assert_array_equal(first, kept)
    assert (first != second).any()


def test_weights_changed_in_place_count_after_refresh() -> None:
    spec, tensors = random_policy()
    for compiled in (True, False):
        runtime = Policy(spec, tensors, compiled=compiled)
        for name in ('encoder.mu', 'layers.1.weight', 'layers.0.bias', 'decoder.weight'):
            before = runtime.act(np.full(9, 0.3)), runtime.spike_counts
            tensors[name] += np.float32(0.3)
            runtime.refresh()
            after = runtime.act(np.full(9, 0.3)), runtime.spike_counts
            assert before != after
            fresh = Policy(spec, tensors, compiled=compiled)
            np.testing.assert_array_equal(fresh.act(np.full(9, 0.3)), after[0])


def test_many_threads_build_and_act_at_once(policy_file: Path) -> None:
    observations = np.random.default_rng(0).normal(0, 1, (200, 9))
    alone = load_policy(policy_file)
    expected = np.array([alone.act(o) for o in observations])
    found: list[np.ndarray] = []
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        own = load_policy(policy_file)
        found.append(np.array([own.act(o) for o in observations]))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for actions in found:
        np.testing.assert_array_equal(actions, expected)


def act_in_a_fresh_process(
    policy_file: Path, cache: Path, before: str = '', folder: Path | None = None
) -> tuple[str, str]:
    """Load and act in a process with its own cache; its stdout and stderr."""
    code = (
        f'import sys; {before}\n'
        'from proxy_snn_control.policy import load_policy\n'
        f'policy = load_policy({str(policy_file)!r})\n'
        'print(policy.compiled, policy.act([0.1] * 9)[0])\n'
        "assert sys.modules.get('numba') is None"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'XDG_CACHE_HOME': str(cache)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout, done.stderr


def test_compiled_once_kept_and_mended(policy_file: Path, tmp_path: Path) -> None:
    cache = tmp_path / 'cache'
    (tmp_path / 'numba.py').write_text("raise SystemExit('this is not Numba')")
    first, output = act_in_a_fresh_process(policy_file, cache, folder=tmp_path)
    assert first.startswith('True')
    assert 'compiling' in output
    (kept,) = (cache / 'proxy_snn_control').iterdir()
    whole = kept.read_bytes()
    again, output = act_in_a_fresh_process(policy_file, cache)
    assert (again, output) == (first, '')

    kept.write_bytes(whole[:-100])  # half a file is compiled anew, not run
    again, output = act_in_a_fresh_process(policy_file, cache)
    assert again == first
    assert 'compiling' in output
    assert kept.read_bytes() == whole or len(kept.read_bytes()) > 100

    code = whole[32:]  # behind the checksum
    machine_code.load(code, 'act')
    for length in range(0, len(code), 501):
        with pytest.raises(ValueError, match=r'no whole object file|no ELF file'):
            machine_code.load(code[:length], 'act')
    with pytest.raises(ValueError, match='no function main'):
        machine_code.load(code, 'main')


def test_nothing_is_run_that_others_could_have_written(policy_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'proxy_snn_control'
    folder.mkdir()
    folder.chmod(0o777)
    output = act_in_a_fresh_process(policy_file, tmp_path)
    assert output[0].startswith('True')
    assert 'can be written by others' in output[1]
    assert not list(folder.iterdir())


@pytest.mark.parametrize('missing', ['llvmlite', 'numba'])
def test_numpy_alone_is_enough(policy_file: Path, tmp_path: Path, missing: str) -> None:
    output, errors = act_in_a_fresh_process(
        policy_file, tmp_path, f'sys.modules.update({{{missing!r}: None}})'
    )
    expected = Policy(*random_policy(), compiled=False).act([0.1] * 9)[0]
    assert output.split() == ['False', str(expected)]
    assert not errors


def test_a_compiler_that_fails_is_reported_and_done_without(
    policy_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(native, '_loaded', {})
    monkeypatch.setattr(sys, 'executable', '/bin/false')
    runtime = load_policy(policy_file)
    assert not runtime.compiled
    assert 'cannot be compiled, NumPy is used instead' in caplog.text
    assert np.isfinite(runtime.act([0.1] * 9)).all()


def test_neurobench_counts_of_a_small_network_by_hand() -> None:
    spec, tensors = random_policy(observations=2, hidden=(3,), time_steps=2, encoder_population=1)
    tensors['layers.0.weight'][1, 0] = 0  # one synapse fewer for the encoder's first neuron
    tensors['decoder.weight'][0, 4] = 0
    runtime = Policy(spec, tensors)
    observations = np.array([[-1.5, 0.2], [0.3, 2.0], [-2.0, -2.0]])
    active = acs = macs = 0
    for observation in observations:
        runtime.act(observation)
        encoder, hidden, output = (layer.sum(axis=0) for layer in runtime.spikes)
        active += encoder.sum() + hidden.sum() + output.sum()
        acs += 2 * encoder[0] + 3 * encoder[1] + 10 * hidden.sum()
        macs += np.count_nonzero(np.delete(output, 4))
    assert active and acs
    found = neurobench(runtime, observations)
    assert found.activation_sparsity == pytest.approx(1 - active / (3 * 2 * (2 + 3 + 10)))
    assert found.effective_acs == pytest.approx(acs / 3)
    assert found.effective_macs == pytest.approx(macs / 3)
    assert found.dense == 2 * (2 * 3 + 3 * 10) + 10
    assert found.footprint == 4 * (2 * 2 + 6 + 3 + 30 + 10 + 10 + 1)
    assert equivalent_footprint(spec) == 4 * (2 * 3 + 3 + 3 * 1 + 1)


def test_neurobench_counts_of_a_relu_network_by_hand() -> None:
    spec, tensors = random_policy(neuron='relu', observations=2, hidden=(3,))
    tensors['layers.0.weight'][:] = [[1, 0], [-1, 0], [1, 1]]
    tensors['layers.0.bias'][:] = tensors['layers.1.bias'][:] = 0
    runtime = Policy(spec, tensors)
    found = neurobench(runtime, np.array([[2.0, 0.0], [2.0, 5.0]]))
    assert [layer.tolist() for layer in runtime.activations[:2]] == [[2, 5], [2, 0, 7]]
    assert found.activation_sparsity == pytest.approx(1 / 3)
    # The first observation's 0 reaches nothing; one weight of four is not 0 for the second.
    assert found.effective_macs == ((3 + 2) + (3 + 1 + 2)) / 2
    assert (found.effective_acs, found.dense) == (0, 2 * 3 + 3)


def test_rapl_counts_packages_alone_and_over_an_overflow(tmp_path: Path) -> None:
    for name, energy in (('intel-rapl:0', 900), ('intel-rapl:1', 5), ('intel-rapl:0:0', 7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'energy_uj').write_text(f'{energy}\n')
        (tmp_path / name / 'max_energy_range_uj').write_text('1000\n')
    rapl = Rapl(tmp_path)
    before = rapl.read()
    assert before == [900, 5]
    (tmp_path / 'intel-rapl:0' / 'energy_uj').write_text('100\n')
    (tmp_path / 'intel-rapl:1' / 'energy_uj').write_text('25\n')
    assert rapl.joules(before, rapl.read()) == pytest.approx(220e-6)
    assert Rapl(tmp_path / 'none').packages == []
