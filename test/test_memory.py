# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Policies that normalise what they observe and remember it: the same wherever they act."""

import hashlib
import json
from pathlib import Path
from typing import Any

from conftest import random_policy
import numpy as np
from proxy_snn_control.control.backend import Neuromorphic
from proxy_snn_control.control.spikes import labels_of, spikes_message
from proxy_snn_control.neuromorphic.chip import Chip, float_layers
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.policy import (
    load_policy,
    Policy,
    PolicyFileError,
    read_policy,
    write_policy,
)
from proxy_snn_control.policy.errors import ObservationError
from proxy_snn_control.policy.exchange import export, nir_graph
from proxy_snn_control.policy.runtime import limits_of
import pytest

ACTIONS = {'actions': 2, 'action_low': (-0.4, -1.0), 'action_high': (0.4, 3.0)}
KINDS: dict[str, dict[str, Any]] = {
    'normalised': {},
    'history': {'history': 4},
    'previous action': {'previous_action': True},
    'all': {'history': 3, 'previous_action': True},
}
# Small numbers, a lidar's range and an encoder's count: after tanh all but the first would be 1.
MEAN = np.float32([0.01, 5, 1e4, 0, -3])
SCALE = np.float32([10, 0.3, 1e-3, 1, 1e4])


def made(kind: str, neuron: str = 'lif', normalised: bool = True) -> tuple[Any, Any]:
    spec, tensors = random_policy(5, neuron=neuron, **ACTIONS, **KINDS[kind])
    if normalised:
        tensors |= {'normalise.mean': MEAN, 'normalise.scale': SCALE}
    return spec, tensors


def episode(count: int = 60, seed: int = 1) -> np.ndarray:
    """Observations, in order, of the sizes that they have in training."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (count, 5)) / SCALE.astype(float) + MEAN


def inputs_by_hand(spec: Any, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return what the network reads at each step, written out from docs/policy_file.md."""
    rows = []
    low, high = limits_of(spec)
    for step in range(len(observations)):
        steps = [max(0, step - ago) for ago in reversed(range(spec.history))]
        seen = [(np.float32(observations[each]) - MEAN) * SCALE for each in steps]
        if spec.previous_action and step == 0:
            seen.append(np.zeros(2, np.float32))
        elif spec.previous_action:
            seen.append((actions[step - 1] - low) / ((high - low) / 2) - 1)
        rows.append(np.concatenate(seen))
    return np.float32(rows)


def act_all(policy: Policy, observations: np.ndarray) -> np.ndarray:
    return np.array([policy.act(observation) for observation in observations])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('neuron', ['lif', 'clif', 'dn', 'relu'])
def test_native_numpy_and_the_chips_host_are_the_same(kind: str, neuron: str) -> None:
    spec, tensors = made(kind, neuron)
    observations = episode()
    policy = Policy(spec, tensors)
    assert policy.compiled == spec.spiking
    actions = act_all(policy, observations)
    assert actions.std(axis=0).min() > 0.01, 'actions that show nothing'
    # A policy that reads these numbers as its observation, without any memory, acts alike.
    read = inputs_by_hand(spec, observations, actions)
    plain_spec, _ = random_policy(spec.input_size, neuron=neuron, **ACTIONS)
    plain = {k: v for k, v in tensors.items() if not k.startswith('normalise')}
    plain['observation.quantiles'] = np.zeros((3, spec.input_size), np.float32)
    np.testing.assert_array_equal(act_all(Policy(plain_spec, plain), read), actions)
    others = [Policy(spec, tensors, compiled=False)]
    if neuron in ('lif', 'clif'):
        others.append(
            ChipPolicy(spec, tensors, Chip(float_layers(spec, tensors), spec.time_steps))
        )
    for other in others:
        near = 0 if isinstance(other, ChipPolicy) or not spec.spiking else 1e-5
        np.testing.assert_allclose(act_all(other, observations), actions, atol=near, rtol=0)
        other.reset()
        np.testing.assert_allclose(act_all(other, observations), actions, atol=near, rtol=0)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('neuron', ['lif', 'clif', 'dn', 'relu'])
def test_onnx_reads_the_window_and_the_previous_action(
    tmp_path: Path, kind: str, neuron: str
) -> None:
    onnxruntime = pytest.importorskip('onnxruntime')
    spec, tensors = made(kind, neuron)
    write_policy(tmp_path / 'p', spec, tensors)
    export(tmp_path / 'p', 'onnx', tmp_path / 'p.onnx')
    session = onnxruntime.InferenceSession(tmp_path / 'p.onnx', providers=['CPUExecutionProvider'])
    observations = episode()
    actions = act_all(Policy(spec, tensors), observations)
    steps = np.arange(len(observations))
    window = [observations[np.maximum(0, steps - ago)] for ago in reversed(range(spec.history))]
    given = {'observation': np.float32(np.hstack(window))}
    if spec.previous_action:
        given['previous_action'] = inputs_by_hand(spec, observations, actions)[:, -2:]
    assert {each.name: each.shape[1] for each in session.get_inputs()} == {
        name: array.shape[1] for name, array in given.items()
    }
    (found,) = session.run(['action'], given)
    far = abs(found - actions).max(axis=1) > 1e-4
    assert far.sum() <= 1, 'a potential at its threshold is rare'
    header = json.loads(session.get_modelmeta().custom_metadata_map['policy'])
    assert header.get('history', 1) == spec.history


def test_nir_holds_what_its_encoder_must_do_first() -> None:
    pytest.importorskip('nir')
    metadata = nir_graph(*made('all')).metadata
    np.testing.assert_array_equal(metadata['normalise.mean'], MEAN)
    np.testing.assert_array_equal(metadata['normalise.scale'], SCALE)
    header = json.loads(metadata['policy'])
    assert (header['history'], header['previous_action']) == (3, True)


def test_a_bad_observation_is_not_remembered() -> None:
    spec, tensors = made('all')
    policy, other = Policy(spec, tensors), Policy(spec, tensors)
    observations = episode(6)
    for i, observation in enumerate(observations):
        if i == 3:
            for bad, reported in (
                (np.nan, 'is nan, expected a finite number'),
                (np.inf, 'is inf'),
                (3e38, 'expected a finite number also when it is normalised'),
            ):
                wrong = observation.copy()
                wrong[4] = bad
                with pytest.raises(ObservationError, match=reported) as caught:
                    policy.act(wrong)
                assert str(caught.value).startswith('observation[4]')
        np.testing.assert_array_equal(policy.act(observation), other.act(observation))


def test_a_fallback_acts_on_what_was_sent_to_the_chip_and_both_keep_state() -> None:
    spec, tensors = made('all')
    expected = act_all(Policy(spec, tensors), episode())
    chip = Chip(float_layers(spec, tensors), spec.time_steps)
    requests: list[Any] = []
    backend = Neuromorphic(spec, tensors, 'sum', Policy(spec, tensors), requests.append)
    out = np.zeros(2, np.float32)
    for i, observation in enumerate(episode()):
        assert backend.act(observation, str(i), out, 0.0) is None or backend.lost
        if i % 7 < 4 and not backend.lost:  # the node answers
            fired = chip.infer(backend.policy._network.spikes[0].astype(bool))
            backend.answer(spikes_message(fired, *labels_of(requests[-1])), out)
        elif not backend.lost:
            backend.give_up(out, 0.0)
            backend.lost = False  # as if it were back at once
        np.testing.assert_array_equal(out, expected[i])


@pytest.mark.parametrize(
    ('neuron', 'digest'),
    [
        ('lif', '7951bbbbfd8458af32f4db3427a8f90d7860da3ca32bf3fd9b74d9ab00e8a914'),
        ('relu', '86d952af5f45735279216e4161fc4ad472d333934db72fc414ac0f8d6393fa10'),
    ],
)
def test_the_file_of_a_plain_policy_has_the_bytes_it_always_had(
    tmp_path: Path, neuron: str, digest: str
) -> None:
    write_policy(
        tmp_path / 'p', *random_policy(neuron=neuron, observation_names=tuple('abcdefghi'))
    )
    assert hashlib.sha256((tmp_path / 'p').read_bytes()).hexdigest() == digest


def test_files_report_it(tmp_path: Path) -> None:
    spec, tensors = made('all')
    write_policy(tmp_path / 'p', spec, tensors)
    read = read_policy(tmp_path / 'p')
    assert read.spec == spec
    assert (spec.observation_size, spec.input_size) == (5, 17)
    np.testing.assert_array_equal(read.tensors['normalise.mean'], MEAN)
    policy = load_policy(tmp_path / 'p')
    np.testing.assert_array_equal(
        act_all(policy, episode(5)), act_all(Policy(spec, tensors), episode(5))
    )


@pytest.mark.parametrize(
    ('changes', 'tensors', 'reported'),
    [
        ({'history': 0}, {}, 'field history is 0, expected a whole number from 1 to'),
        ({'history': 2.0}, {}, 'field history is 2.0'),
        ({'history': 10**7}, {}, 'time_steps times the neurons of all layers is'),
        ({'previous_action': 1}, {}, 'field previous_action is 1, expected true or false'),
        ({}, {'normalise.scale': None}, 'lacks the tensor normalise.scale'),
        ({}, {'normalise.mean': None}, 'lacks the tensor normalise.mean'),
        (
            {},
            {'normalise.scale': SCALE * 0},
            'normalise.scale holds 0.0, expected numbers above 0',
        ),
        ({}, {'normalise.scale': SCALE * np.float32(1e4)}, 'holds a number beyond'),
        ({}, {'normalise.mean': MEAN[:4]}, r'normalise.mean has shape \[4\], expected \[5\]'),
        ({}, {'normalise.mean': MEAN * np.float32(np.nan)}, 'normalise.mean holds a NaN'),
        ({}, {'normalise.mean': MEAN + np.float32(1e38)}, 'normalise.mean is beyond float32 once'),
    ],
)
def test_what_a_file_may_not_hold(
    tmp_path: Path, changes: dict[str, Any], tensors: dict[str, Any], reported: str
) -> None:
    spec, good = made('normalised')
    object.__setattr__(spec, 'history', changes.get('history', 1))
    object.__setattr__(spec, 'previous_action', changes.get('previous_action', False))
    given = {k: v for k, v in {**good, **tensors}.items() if v is not None}
    with pytest.raises(PolicyFileError, match=reported):
        write_policy(tmp_path / 'p', spec, given)
