# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Policies in others' formats, run by others' programs: the same spikes, the same actions."""

import json
from pathlib import Path
import subprocess
import sys

from conftest import random_policy
import numpy as np
from proxy_snn_control.policy import load_policy, Policy, UserError, write_policy
from proxy_snn_control.policy.exchange import export, NIR_STEP
from proxy_snn_control.policy.neurons import NEURONS
import pytest
from test_cli import run

NEAR = 1e-5
OBSERVATIONS = np.random.default_rng(0).normal(0, 1, (300, 9)).astype(np.float32)
SHAPES = {'lif': {}, 'clif': {'hidden': (33, 24), 'actions': 3}}


def policy_in(folder: Path, **changes: object) -> tuple[Path, Policy]:
    """Return a policy file, and its policy in NumPy alone, to be the judge."""
    spec, tensors = random_policy(**changes)
    path = folder / 'policy.safetensors'
    write_policy(path, spec, tensors)
    return path, Policy(spec, tensors, compiled=False)


def by_snntorch(file: Path, inputs: np.ndarray, layers: int) -> list[np.ndarray]:
    """Spikes per layer [T, batch, neurons] for the encoder's spikes [T, batch, neurons]."""
    import nir
    from snntorch.import_nir import import_from_nir
    import torch

    return recorded(import_from_nir(nir.read(str(file))), torch.from_numpy(inputs), layers)


def by_norse(file: Path, inputs: np.ndarray, layers: int) -> list[np.ndarray]:
    import nir
    import norse.torch
    import torch

    network = norse.torch.from_nir(nir.read(str(file)), dt=NIR_STEP)
    return recorded(network, torch.from_numpy(inputs), layers)


def recorded(network, inputs, layers: int) -> list[np.ndarray]:
    """Run a simulator's network on every time step, and record its neurons' output."""
    import torch

    found: list[list[np.ndarray]] = [[] for _ in range(layers)]

    def note(layer: int):
        def hook(module, given, output):
            found[layer].append(
                (output[0] if isinstance(output, tuple) else output).numpy().copy()
            )

        return hook

    for layer in range(layers):
        getattr(network, f'neurons_{layer}').register_forward_hook(note(layer))
    state = None
    with torch.no_grad():
        for now in inputs:
            output = network(now) if state is None else network(now, state)
            state = output[1] if isinstance(output, tuple) else None
    return [np.stack(layer) for layer in found]


@pytest.mark.parametrize('simulator', [by_snntorch, by_norse])
@pytest.mark.parametrize('neuron', ['lif', 'clif'])
def test_other_simulators_fire_the_same_spikes(tmp_path: Path, neuron: str, simulator) -> None:
    for module in ('torch', 'nir', simulator.__name__.replace('by_', '')):
        pytest.importorskip(module)
    path, policy = policy_in(tmp_path, neuron=neuron, **SHAPES[neuron])
    export(path, 'nir', tmp_path / 'policy.nir')
    ours, potentials = [], []
    for observation in OBSERVATIONS:
        policy.act(observation)
        ours.append([layer.copy() for layer in policy.spikes])
        potentials.append(policy.potentials)
    encoder, *expected = (np.stack(layer, axis=1) for layer in zip(*ours, strict=True))
    found = simulator(tmp_path / 'policy.nir', encoder, len(expected))
    assert [layer.shape for layer in found] == [layer.shape for layer in expected]
    rates = [layer.mean() for layer in expected]
    assert all(0.02 < rate < 0.98 for rate in rates), f'a layer that shows nothing: {rates}'
    differs = np.zeros(len(OBSERVATIONS), bool)
    threshold = policy.spec.neuron_constants['threshold']
    for i, (layer, theirs) in enumerate(zip(expected, found, strict=True)):
        # Where the layers before agree, spikes may differ only within rounding of the threshold.
        per_step = (layer != theirs).any(axis=2)
        first = per_step & (np.cumsum(per_step, axis=0) == 1) & ~differs
        begun = (layer != theirs) & first[:, :, None]
        potential = np.stack([each[i] for each in potentials], axis=1)
        assert abs(potential[begun] - threshold).max(initial=0) < NEAR
        differs |= per_step.any(axis=0)
    assert differs.sum() <= 1


@pytest.mark.parametrize(
    ('changes', 'reported'),
    [
        ({'neuron': 'dn'}, 'a policy of dn neurons cannot be written as NIR'),
        ({'neuron': 'relu'}, 'a policy of relu neurons cannot be written as NIR'),
        (
            {'neuron_constants': {'voltage_decay': 1.0, 'threshold': 0.5}},
            'a policy with voltage_decay 1 cannot be written as NIR',
        ),
    ],
)
def test_what_nir_cannot_express_is_refused(tmp_path: Path, changes: dict, reported: str) -> None:
    pytest.importorskip('nir')
    path, _ = policy_in(tmp_path, **changes)
    with pytest.raises(UserError, match=reported):
        export(path, 'nir', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_nir_holds_time_step_and_all_that_is_not_in_the_graph(tmp_path: Path) -> None:
    nir = pytest.importorskip('nir')
    path, policy = policy_in(tmp_path, observation_names=tuple('abcdefghi'))
    export(path, 'nir', tmp_path / 'policy.nir')
    metadata = nir.read(str(tmp_path / 'policy.nir')).metadata
    assert metadata['time_step'] == NIR_STEP
    assert metadata['time_steps'] == policy.spec.time_steps
    header = json.loads(metadata['policy'])
    assert header['observation_names'] == list('abcdefghi')
    assert header['encoder_threshold'] == policy.spec.encoder_threshold
    assert np.float32(metadata['decoder.weight']).shape == (1, 10)
    np.testing.assert_array_equal(metadata['encoder.mu'], policy._network._tensors['encoder.mu'])


@pytest.mark.parametrize('neuron', NEURONS)
def test_onnx_runtime_takes_the_same_actions(tmp_path: Path, neuron: str) -> None:
    onnxruntime = pytest.importorskip('onnxruntime')
    path, policy = policy_in(
        tmp_path,
        neuron=neuron,
        actions=2,
        action_low=(-0.4, -1.0),
        action_high=(0.4, 3.0),
        action_names=('x', 'y'),
    )
    export(path, 'onnx', tmp_path / 'policy.onnx')
    session = onnxruntime.InferenceSession(
        tmp_path / 'policy.onnx', providers=['CPUExecutionProvider']
    )
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ('observation', ['batch', 9], 'tensor(float)')
    assert (output.name, output.shape, output.type) == ('action', ['batch', 2], 'tensor(float)')
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata['policy'])['action_names'] == ['x', 'y']
    many = OBSERVATIONS.copy()
    many[::7] *= 100
    (found,) = session.run(['action'], {'observation': many})
    expected = np.array([policy.act(observation) for observation in many])
    far = abs(found - expected).max(axis=1) > NEAR
    assert far.sum() <= 1, 'a potential at its threshold is rare'
    assert found.std(axis=0).min() > 0.01, 'actions that show nothing'
    (one,) = session.run(None, {'observation': many[:1]})
    np.testing.assert_allclose(one[0], expected[0], atol=NEAR)


def test_export_as_a_user_calls_it(tmp_path: Path, policy_file: Path) -> None:
    pytest.importorskip('onnx')
    pytest.importorskip('nir')
    for kind in ('onnx', 'nir'):
        out = tmp_path / f'policy.{kind}'
        done = run('export', policy_file, '--format', kind, '--out', out)
        assert (done.returncode, done.stdout) == (0, f'{out}\n'), done.stderr
        first = out.stat().st_size
        assert first > 1000
        failed = run('export', tmp_path / 'none', '--format', kind, '--out', out)
        assert (failed.returncode, len(failed.stderr.splitlines())) == (1, 1)
        assert out.stat().st_size == first, 'what was there stays'
        for out in (tmp_path, tmp_path / 'no/x'):
            done = run('export', policy_file, '--format', kind, '--out', out)
            assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
            assert f'{out}: cannot be written' in done.stderr
    dn = tmp_path / 'dn.safetensors'
    write_policy(dn, *random_policy(neuron='dn'))
    done = run('export', dn, '--format', 'nir', '--out', tmp_path / 'dn.nir')
    assert done.returncode == 1
    assert done.stderr.startswith('proxy-snn: a policy of dn neurons cannot be written as NIR')
    assert run('export', dn, '--format', 'hdf5', '--out', tmp_path / 'x').returncode == 2


@pytest.mark.parametrize('kind', ['nir', 'onnx'])
def test_a_format_without_its_package(policy_file: Path, tmp_path: Path, kind: str) -> None:
    code = (
        f'import sys; sys.modules[{kind!r}] = None\n'
        'from proxy_snn_control.cli import main\n'
        f"sys.exit(main(['export', {str(policy_file)!r}, '--format', {kind!r}, '--out', 'x']))"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert f"export needs the Python module '{kind}'" in done.stderr
    assert "pip install 'proxy_snn_control[export]'" in done.stderr
    assert load_policy(policy_file)
