# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The policy file: what goes in comes out, and nothing else comes in."""

from collections import Counter
from collections.abc import Callable
import dataclasses
import hashlib
import itertools
import json
import math
import os
from pathlib import Path
import pickle
import random
import subprocess
import sys
import time
import tracemalloc

from conftest import random_policy
from fuzz import (
    flips,
    Mutant,
    mutants,
    outcome,
    Parts,
    seal,
    small_policy,
    STRUCTURED,
    truncations,
)
import numpy as np
from proxy_snn_control.learning.transitions import transition_model, why_left_out
from proxy_snn_control.policy import (
    load_policy,
    PolicyFileError,
    read_policy,
    UserError,
    write_policy,
)
from proxy_snn_control.policy.file import (
    check_spec,
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    MAX_TRANSITION,
)
from proxy_snn_control.policy.neurons import NEURONS
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save


def header_of(path: Path) -> dict:
    return Parts.of(path.read_bytes()).fields


def rewrite(path: Path, header: dict | str | None, tensors: dict | None = None) -> None:
    """Replace header and tensors by means of the safetensors library, and put the checksum in."""
    text = header if isinstance(header, str) else json.dumps(header)
    metadata = None if header is None else {'policy': text, 'sha256': '0' * 64}
    content = save(load_file(path) if tensors is None else tensors, metadata)
    end = 8 + int.from_bytes(content[:8], 'little')
    path.write_bytes(seal(content[8:end], content[end:]))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / 'p.safetensors'
    spec, tensors = random_policy(
        observations=3,
        actions=2,
        action_low=(-0.4, -1.0),
        action_high=(0.4, 3.0),
        observation_names=('a', 'b', 'c'),
        action_names=('x', 'y'),
        provenance={'env': 'T', 'nested': {'n': [1, 2]}},
    )
    write_policy(path, spec, tensors)
    read_spec, read_tensors, _ = read_policy(path)
    assert read_spec == spec
    assert read_tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read_tensors[name], tensor)
    assert os.listdir(tmp_path) == ['p.safetensors']


def test_equal_policies_make_equal_files(tmp_path: Path, policy_file: Path) -> None:
    spec, tensors = random_policy()
    backwards = {name: np.asfortranarray(tensors[name]) for name in reversed(tensors)}
    write_policy(tmp_path / 'again', spec, backwards)
    assert (tmp_path / 'again').read_bytes() == policy_file.read_bytes()


@pytest.mark.parametrize('neuron', NEURONS)
def test_the_safetensors_library_reads_and_writes_the_same_format(
    tmp_path: Path, neuron: str
) -> None:
    path = tmp_path / 'p'
    spec, tensors = random_policy(neuron=neuron)
    write_policy(path, spec, tensors)
    by_library = load_file(path)
    assert by_library.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(by_library[name], tensor, strict=True)
    with safe_open(path, framework='np') as file:
        assert file.metadata().keys() == {'policy', 'sha256'}
    rewrite(path, header_of(path))  # by the library: other order of metadata and tensors
    read_spec, read_tensors, _ = read_policy(path)
    assert read_spec == spec
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read_tensors[name], tensor, strict=True)


@pytest.mark.parametrize(
    ('field', 'value', 'reported'),
    [
        ('observation_size', 0, 'observation_size is 0'),
        ('observation_size', 9.0, 'observation_size is 9.0'),
        ('observation_size', True, 'observation_size is True'),
        ('observation_size', 2**40, 'observation_size'),
        ('time_steps', 10**9, 'time_steps'),
        ('hidden', 'wide', 'hidden'),
        ('hidden', [32, -1], 'hidden'),
        ('hidden', [16, 24], 'shape'),
        ('neuron', 'quantum', "neuron is 'quantum', expected one of lif"),
        ('neuron_constants', {'voltage_decay': 0.75}, 'neuron_constants'),
        ('neuron_constants', {'voltage_decay': 0.75, 'threshold': 'high'}, 'neuron_constants'),
        ('neuron', ['lif'], 'neuron is'),
        ('neuron_constants', {'voltage_decay': 1.5, 'threshold': 0.5}, 'neuron_constants'),
        ('encoder_threshold', 0, 'encoder_threshold'),
        ('encoder_threshold', 10**400, 'encoder_threshold'),
        ('encoder_threshold', 1e300, 'encoder_threshold'),
        ('control_period', 1e12, 'control_period'),
        ('control_period', 1e-12, 'control_period'),
        ('action_high', [10**400], 'action_high'),
        ('action_high', [1e300], 'action_high'),
        ('action_high', [-1.0 + 1e-60], 'not below'),
        ('observation_names', ['bad\nname', *'abcdefgh'], 'observation_names'),
        ('observation_names', ['\ud800', *'abcdefgh'], 'observation_names'),
        ('version', True, 'version True'),
        ('encoder_threshold', float('nan'), "not valid JSON .*'NaN' is no finite number"),
        ('hidden', [2] * 101, 'hidden'),
        ('hidden', [2**20] * 100, 'more than a policy file may'),
        ('control_period', -1, 'control_period'),
        ('action_low', [2.0], 'not below'),
        ('action_low', [-1.0, -1.0], 'action_low'),
        ('action_high', [float('inf')], "'Infinity' is no finite number"),
        ('observation_names', ['one'], 'observation_names'),
        ('observation_names', ['same'] * 9, 'observation_names'),
        ('observation_quantile_levels', [0.5], 'observation_quantile_levels'),
        ('observation_quantile_levels', [0.0, 1.0, 0.5], 'observation_quantile_levels'),
        ('provenance', [], 'provenance'),
        ('provenance', {'env': '\x1b[2J'}, 'provenance'),
        ('provenance', {'deep': [{'\ud800': 1}]}, 'provenance'),
        ('version', 1, 'version 1, which was never released; this program reads 2'),
        ('version', 3, 'version 3; this program reads 2'),
        ('format', 'other', 'format'),
    ],
)
def test_a_wrong_header_is_refused(
    policy_file: Path, field: str, value: object, reported: str
) -> None:
    rewrite(policy_file, {**header_of(policy_file), field: value})
    with pytest.raises(PolicyFileError, match=reported) as error:
        load_policy(policy_file)
    assert str(policy_file) in str(error.value)


@pytest.mark.parametrize(
    ('header', 'reported'),
    [(None, 'without a policy header'), ('{', 'not valid JSON'), ('[1]', 'format')],
)
def test_no_header(policy_file: Path, header: str | None, reported: str) -> None:
    rewrite(policy_file, header)
    with pytest.raises(PolicyFileError, match=reported):
        load_policy(policy_file)


def test_missing_and_unknown_fields(policy_file: Path) -> None:
    header = header_of(policy_file)
    without = {key: value for key, value in header.items() if key != 'time_steps'}
    rewrite(policy_file, without)
    with pytest.raises(PolicyFileError, match='lacks the field time_steps'):
        load_policy(policy_file)
    rewrite(policy_file, {**header, '__reduce__': 'os.system'})
    with pytest.raises(PolicyFileError, match="unknown field '__reduce__'"):
        load_policy(policy_file)


@pytest.mark.parametrize(
    ('change', 'reported'),
    [
        (lambda t: t.pop('decoder.bias'), 'lacks the tensor decoder.bias'),
        (lambda t: t.update(extra=np.zeros(1, np.float32)), "unknown tensor 'extra'"),
        (lambda t: t.update({'decoder.bias': np.zeros(1, np.float64)}), "'F64', expected 'F32'"),
        (
            lambda t: t.update({'decoder.bias': np.zeros(2, np.float32)}),
            r'shape \[2\], expected \[1\]',
        ),
        (lambda t: t['layers.0.weight'].fill(np.nan), 'layers.0.weight holds a NaN'),
        (lambda t: t['layers.1.bias'].fill(np.inf), 'layers.1.bias holds a NaN'),
        (lambda t: t['encoder.sigma'].fill(0), 'encoder.sigma holds a zero'),
        (lambda t: t['layers.1.weight'].fill(1e38), 'layers.1.weight holds a number beyond'),
    ],
)
def test_wrong_tensors_are_refused(policy_file: Path, change, reported: str) -> None:
    tensors = {name: array.copy() for name, array in load_file(policy_file).items()}
    change(tensors)
    rewrite(policy_file, header_of(policy_file), tensors)
    with pytest.raises(PolicyFileError, match=reported):
        load_policy(policy_file)


def test_files_that_are_no_policy(tmp_path: Path, policy_file: Path) -> None:
    path = tmp_path / 'other'
    with pytest.raises(PolicyFileError, match='no such file'):
        load_policy(path)
    whole = policy_file.read_bytes()
    for content, reported in (
        (b'', 'is no safetensors file: it has only 0 bytes'),
        (b'hello', 'is no safetensors file: it has only 5 bytes'),
        (b'# a readme\n', 'is no safetensors file'),
        (bytes(1000), 'is no safetensors file'),
        (whole[:7], 'is no safetensors file: it has only 7 bytes'),
        (whole[:100], 'is truncated'),
        (whole[:-1], 'is truncated'),
        (whole + b'x', 'is damaged: its checksum does not match its content'),
        (whole[:-1] + b'x', 'is damaged: its checksum does not match its content'),
        (whole.replace(b'"sha256":"', b'"sha-56":"'), 'has no checksum'),
    ):
        path.write_bytes(content)
        with pytest.raises(PolicyFileError, match=reported):
            load_policy(path)


def test_only_regular_files_are_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    for path in (tmp_path, tmp_path / 'pipe', '/dev/zero'):
        with pytest.raises(PolicyFileError, match='is not a file'):
            read_policy(path)


def test_a_file_that_changes_its_size_meanwhile(policy_file: Path, monkeypatch) -> None:
    whole, status = policy_file.read_bytes(), os.stat(policy_file)
    policy_file.write_bytes(whole + bytes(1000))
    with monkeypatch.context() as patch:
        patch.setattr(os, 'fstat', lambda _: status)
        # Only what was there at first is read, and that is what the digest is of.
        assert read_policy(policy_file).digest == hashlib.sha256(whole).hexdigest()
        policy_file.write_bytes(whole[:-100])
        with pytest.raises(PolicyFileError, match='became shorter'):
            read_policy(policy_file)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    class Trap:
        """Makes a folder where it is unpickled."""

        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / 'sprung'),))

    path = tmp_path / 'policy.safetensors'
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(PolicyFileError):
        load_policy(path)
    assert not (tmp_path / 'sprung').exists()


def test_nothing_invalid_is_written(tmp_path: Path) -> None:
    spec, tensors = random_policy()
    path = tmp_path / 'p'
    with pytest.raises(PolicyFileError, match='action_low'):
        write_policy(path, dataclasses.replace(spec, action_low=(1.0,)), tensors)
    with pytest.raises(PolicyFileError, match='NaN'):
        write_policy(path, spec, {**tensors, 'decoder.bias': np.full(1, np.nan, np.float32)})
    assert not path.exists()


def test_what_is_too_large_to_read_is_not_written(tmp_path: Path) -> None:
    spec, tensors = random_policy()
    with pytest.raises(PolicyFileError, match='more than a policy file may'):
        write_policy(tmp_path / 'p', dataclasses.replace(spec, hidden=(8192, 8192)), tensors)
    wide = dataclasses.replace(spec, time_steps=1000, hidden=(1, 4200, 1))
    with pytest.raises(PolicyFileError, match='time_steps times the neurons of all layers is 4'):
        write_policy(tmp_path / 'p', wide, tensors)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ('change', 'reported'),
    [
        ({'action_high': (2e6,)}, 'field action_high is [2000000.0], expected 1 finite numbers'),
        ({'action_low': (float('nan'),)}, 'field action_low is [nan]'),
        ({'control_period': -0.05}, 'field control_period is -0.05, expected null or seconds'),
        ({'control_period': float('nan')}, 'field control_period is nan'),
        ({'hidden': (4000, 4000, 600)}, 'more than a policy file may'),
        ({'hidden': (8,) * 200}, 'field hidden is'),
        ({'time_steps': 1000, 'hidden': (4200,)}, 'time_steps times the neurons of all layers is'),
        ({'provenance': {'env': 'a\x1bb'}}, 'field provenance is'),
        (
            {
                'observation_size': 9000,
                'observation_names': tuple(f'joint{i:025}' for i in range(9000)),
            },
            'bytes of header, expected at most 262144; the names of observations and actions',
        ),
    ],
)
def test_what_no_file_could_hold_is_refused_before_training(
    tmp_path: Path, change: dict, reported: str
) -> None:
    spec, _ = random_policy()
    check_spec(tmp_path / 'p', spec)
    with pytest.raises(PolicyFileError) as caught:
        check_spec(tmp_path / 'p', dataclasses.replace(spec, **change))
    assert reported in str(caught.value)


def test_whatever_passes_before_training_can_be_written(tmp_path: Path) -> None:
    """Up to the last byte: the transition model and the names are counted in."""
    path = tmp_path / 'p'
    spec, _ = random_policy(observations=511, actions=1)
    assert spec.transition_size == MAX_TRANSITION
    room = MAX_FILE_BYTES - MAX_HEADER_BYTES
    numbers = sum(map(math.prod, (spec.tensor_shapes | spec.optional_shapes).values()))
    wide = spec.hidden[0] + (room // 4 - numbers) // (spec.layer_sizes[0] + spec.hidden[1] + 1)
    largest = dataclasses.replace(spec, hidden=(wide, *spec.hidden[1:]))
    check_spec(path, largest)
    with pytest.raises(PolicyFileError, match='more than a policy file may'):
        check_spec(path, dataclasses.replace(largest, hidden=(wide + 1, *spec.hidden[1:])))
    shapes = largest.tensor_shapes | largest.optional_shapes
    write_policy(
        path, largest, {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    )
    assert MAX_FILE_BYTES * 0.98 < path.stat().st_size < MAX_FILE_BYTES


def test_transitions_of_many_numbers_are_left_out(tmp_path: Path) -> None:
    """A file grows with the observation, not with its square; older ones are still read."""
    path, rng = tmp_path / 'p', np.random.default_rng(0)
    sizes = []
    for observations in (600, 1200, 2400):
        spec, tensors = random_policy(observations, 1)
        check_spec(path, spec)
        seen, acted = rng.normal(size=(20, observations)), rng.normal(size=(20, 1))
        write_policy(path, spec, tensors | transition_model(seen, acted, seen))
        assert load_policy(path).whitening is None
        assert f'a transition has {spec.transition_size} numbers' in why_left_out(spec)
        sizes.append(path.stat().st_size)
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.01)

    spec, tensors = random_policy(520, 1)
    old = {'transition.whitening': np.eye(spec.transition_size, dtype=np.float32)}
    write_policy(path, spec, tensors | old)
    assert load_policy(path).whitening is not None

    spec, tensors = random_policy(3, 1)
    assert not why_left_out(spec)
    seen, acted = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))
    write_policy(path, spec, tensors | transition_model(seen, acted, seen))
    assert load_policy(path).whitening is not None


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, policy_file: Path) -> None:
    spec, tensors = random_policy()
    with pytest.raises(UserError, match='cannot be written'):
        write_policy(tmp_path / 'missing' / 'p', spec, tensors)
    before = policy_file.read_bytes()
    with pytest.raises(PolicyFileError):
        write_policy(policy_file, spec, {})
    assert policy_file.read_bytes() == before
    assert os.listdir(tmp_path) == [policy_file.name]


@pytest.fixture
def small_files(tmp_path: Path) -> list[bytes]:
    """Return the bytes of a tiny policy of every kind of neuron; lif first."""
    path = tmp_path / 'small'
    contents = []
    for neuron in NEURONS:
        write_policy(path, *small_policy(neuron, memory=neuron == 'clif'))
        contents.append(path.read_bytes())
    return contents


def test_every_truncation_and_every_changed_byte(tmp_path: Path, small_files: list[bytes]) -> None:
    path = tmp_path / 'p'
    for mutant in truncations(small_files[0]):
        reason = outcome(mutant, path)
        few = len(mutant.content) < 8
        assert reason.startswith('is no safetensors file' if few else 'is truncated'), mutant
    reasons = Counter(outcome(mutant, path) for mutant in flips(small_files[-1]))
    assert reasons['is damaged: its checksum does not match its content'] > 0
    assert 'valid' not in reasons


def test_fuzzing_with_a_fixed_seed(tmp_path: Path, small_files: list[bytes]) -> None:
    """`python benchmarks/fuzz.py` goes on with this for as long as one likes."""
    path, slowest = tmp_path / 'p', 0.0
    reasons: Counter[str] = Counter()
    tracemalloc.start()
    try:
        for mutant in itertools.islice(mutants(small_files, random.Random(0), 0.0), 800):
            began = time.process_time()
            reasons[outcome(mutant, path)] += 1
            slowest = max(slowest, time.process_time() - began)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < reasons.pop('valid') < reasons.total() / 4
    assert len(reasons) > 20, reasons  # it gets to nearly every check
    assert peak < 50e6
    assert slowest < 2


@pytest.mark.parametrize('change', STRUCTURED, ids=lambda change: change.__name__)
def test_what_is_changed_on_purpose(tmp_path: Path, small_files: list[bytes], change) -> None:
    rng, reasons = random.Random(1), Counter()
    for content in small_files * 25:
        parts = Parts.of(content)
        change(parts, rng)
        reasons[outcome(Mutant(change.__name__, parts.sealed(), sealed=True), tmp_path / 'p')] += 1
    assert reasons.total() > reasons['valid']
    assert not any(reason.startswith('is damaged') for reason in reasons)


def _moved(parts: Parts, name: str, by: int) -> None:
    entry = parts.entries[name]
    entry['data_offsets'] = [offset + by for offset in entry['data_offsets']]


def _byteswapped(parts: Parts) -> None:
    parts.data = np.frombuffer(parts.data, '<f4').byteswap().tobytes()


@pytest.mark.parametrize(
    ('change', 'reported'),
    [
        (lambda p: _moved(p, 'decoder.weight', -4), 'begins at byte'),
        (lambda p: _moved(p, 'layers.2.weight', -4), 'begins at byte'),
        (lambda p: _moved(p, 'decoder.bias', -4), 'begins at byte -4, expected 0'),
        (lambda p: _moved(p, 'decoder.bias', 2**70), 'is truncated'),
        (lambda p: _moved(p, 'decoder.bias', -(2**70)), 'begins at byte -1180591620717411303424'),
        (lambda p: p.entries['decoder.bias'].update(data_offsets=[0, 8]), 'expected 4 bytes'),
        (lambda p: p.entries['decoder.bias'].update(data_offsets=[0.0, 4.0]), 'data_offsets'),
        (lambda p: p.entries['decoder.bias'].update(data_offsets=[False, 4]), 'data_offsets'),
        (lambda p: p.entries['decoder.bias'].update(shape=[2**62, 4]), 'shape'),
        (lambda p: p.entries['decoder.bias'].update(shape=[-1]), 'shape'),
        (lambda p: p.entries['decoder.bias'].update(shape=[True]), 'shape'),
        (lambda p: p.entries['decoder.bias'].update(shape=[[1]]), 'shape'),
        (lambda p: p.entries['decoder.bias'].update(dtype='BF16'), "'BF16', expected 'F32'"),
        (lambda p: p.entries['decoder.bias'].update(dtype='I32'), "'I32', expected 'F32'"),
        (lambda p: p.entries['decoder.bias'].update(more=1), 'expected dtype, shape and'),
        (lambda p: p.entries.update({'decoder.bias': []}), 'expected dtype, shape and'),
        (lambda p: setattr(p, 'data', p.data + bytes(4)), 'bytes of tensors, expected'),
        (lambda p: setattr(p, 'data', p.data[:-4]), 'is truncated'),
        (_byteswapped, 'holds a'),
        (lambda p: p.metadata.update(more='x'), "unknown metadata 'more'"),
        (lambda p: p.metadata.update(sha256=1), 'has no checksum'),
        (lambda p: p.metadata.pop('sha256'), 'has no checksum'),
        (lambda p: p.metadata.update({'"sha256': '0' * 64}), 'has no checksum'),
        (lambda p: p.entries.update(x='RAW:' + '9' * 200_000), 'not valid JSON'),
        (lambda p: p.entries.update(x='RAW:0.' + '1' * 200_000), "unknown tensor 'x'"),
        (lambda p: p.entries.update(x='RAW:' + '[' * 200_000), 'not valid JSON'),
        (lambda p: p.entries.update(x='RAW:' + '[' * 21 + ']' * 21), 'nested more than 20'),
        (lambda p: p.entries.update(x='RAW:' + '{"":' * 400 + '0' + '}' * 400), 'nested more'),
        (lambda p: p.entries.update(x='RAW:{"a":1,"a":1}'), 'a key twice'),
        (
            lambda p: p.fields.update(provenance='RAW:{"a":1,"a":1}'),
            'policy header that is not valid JSON .a key twice',
        ),
        (lambda p: p.fields.update(provenance={'mean': 'RAW:1e999'}), 'no finite number'),
        (lambda p: p.fields.update(hidden=[1] * 40_000), 'hidden'),
        (lambda p: p.fields.update(provenance={'a': 'b' * MAX_HEADER_BYTES}), 'header would have'),
    ],
)
def test_what_a_good_checksum_does_not_help(
    tmp_path: Path, small_files: list[bytes], change: Callable[[Parts], None], reported: str
) -> None:
    parts = Parts.of(small_files[0])
    change(parts)
    path = tmp_path / 'p'
    path.write_bytes(parts.sealed())
    began = time.process_time()
    with pytest.raises(PolicyFileError, match=reported):
        read_policy(path)
    assert time.process_time() - began < 1


READ_WITHIN_100_MB = """
import resource, sys
from proxy_snn_control.policy import PolicyFileError, read_policy
with open("/proc/self/statm") as file:
    had = int(file.read().split()[0]) * resource.getpagesize()
for path in sys.argv[1:]:
    resource.setrlimit(resource.RLIMIT_AS, (had + 100_000_000, resource.RLIM_INFINITY))
    try:
        read = read_policy(path)
        print("valid")
    except PolicyFileError as error:
        print(error)
    read = None
"""


def test_the_largest_files_are_read_within_100_mb(
    tmp_path: Path, small_files: list[bytes], monkeypatch
) -> None:
    monkeypatch.setattr(os, 'fsync', lambda _: None)  # of 66 MB: slow, and not the point here
    spec, _ = small_policy()
    spec = dataclasses.replace(spec, hidden=(4000, 4100))
    write_policy(
        tmp_path / 'p', spec, {n: np.ones(s, np.float32) for n, s in spec.tensor_shapes.items()}
    )
    large = Parts.of((tmp_path / 'p').read_bytes())
    # JSON that takes forty times its length: objects in objects, as deep as the parser goes.
    deep = 'RAW:[' + ','.join(['{"":' * 900 + '0' + '}' * 900] * 50) + ']'
    flat = 'RAW:[' + ','.join(['{"":{}}'] * 22_000) + ']'
    full = dataclasses.replace(large, fields={**large.fields, 'provenance': {'': flat}}).sealed()
    large.entries['x'] = deep
    reported = {'full': 'valid', 'deep': 'nested more than 20 deep'}
    for name, content in zip(reported, (full, large.sealed()), strict=True):
        assert MAX_FILE_BYTES * 0.97 < len(content) <= MAX_FILE_BYTES
        (tmp_path / name).write_bytes(content)
    reported |= {'hole': 'is damaged', 'larger hole': 'has 10737418240 bytes, more than'}
    for name, size in {'hole': MAX_FILE_BYTES, 'larger hole': 10 * 2**30}.items():
        (tmp_path / name).write_bytes(small_files[0])
        os.truncate(tmp_path / name, size)
    command = [
        sys.executable,
        '-c',
        READ_WITHIN_100_MB,
        *(str(tmp_path / name) for name in reported),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    for line, (name, reason) in zip(done.stdout.splitlines(), reported.items(), strict=True):
        assert reason in line, name
