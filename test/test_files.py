# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Files of users: what is read is a file, no larger than it may be; what is written is whole."""

from collections import Counter
import os
from pathlib import Path
import random
import socket
import stat
import subprocess
import sys
import time

import fuzz_files
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import opened, read_file, replacing, write_bytes
from proxy_snn_control.yaml_file import MAX_BYTES, read_yaml
import pytest


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / 'f'
    path.write_bytes(b'12345')
    assert read_file('file', path, 5) == b'12345'
    (tmp_path / 'link').symlink_to(path)
    assert read_file('file', tmp_path / 'link', 5) == b'12345'
    with pytest.raises(UserError, match=rf'^bag {path}: has 5 bytes, more than the 4 it may$'):
        read_file('bag', path, 4)


def test_what_is_no_regular_file_is_neither_opened_nor_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'link').symlink_to(tmp_path / 'pipe')
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / 'socket'))
        for path, reported in (
            (tmp_path, 'is not a file but a folder'),
            (tmp_path / 'pipe', 'is not a file but a pipe'),
            (tmp_path / 'link', 'is not a file but a pipe'),
            (tmp_path / 'socket', 'is not a file but a socket'),
            ('/dev/zero', 'is not a file but a device'),
            (tmp_path / 'none', 'no such file'),
            ('', 'no such file'),
            (tmp_path / 'pipe' / 'x', 'cannot be read: Not a directory'),
            ('a\0b', 'is no name of a file'),
            ('a' * 5000, 'cannot be read: File name too long'),
        ):
            with pytest.raises(UserError) as caught:
                read_file('robot file', path, 100)
            assert reported in str(caught.value)
            assert str(caught.value).startswith('robot file ')


def test_a_pipe_that_takes_the_files_place_just_now(tmp_path: Path, monkeypatch) -> None:
    path, pipe = tmp_path / 'f', tmp_path / 'pipe'
    path.write_bytes(b'12345')
    os.mkfifo(pipe)
    look = os.stat

    def look_and_exchange(name, **options):
        found = look(name, **options)
        os.replace(pipe, path)
        return found

    monkeypatch.setattr(os, 'stat', look_and_exchange)
    with (
        pytest.raises(UserError, match='is not a file but a pipe'),
        opened('file', path, 100),
    ):
        pass


def test_only_a_regular_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'to a pipe').symlink_to('pipe')
    (tmp_path / 'to nothing').symlink_to('nothing')
    (tmp_path / 'loop').symlink_to('loop')
    before = sorted(os.listdir(tmp_path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / 'socket'))
        for name, reported in (
            ('pipe', 'is a pipe, expected a file'),
            ('to a pipe', 'is a pipe, expected a file'),
            ('socket', 'is a socket, expected a file'),
            ('.', 'is a folder, expected'),
            ('loop', 'cannot be written: Too many levels of symbolic links'),
            ('none/x', 'cannot be written: No such file or directory'),
            ('pipe/x', 'cannot be written: Not a directory'),
            ('a\0b', 'is no name of a file'),
            ('a' * 300, 'cannot be written: File name too long'),
        ):
            with pytest.raises(UserError) as caught:
                write_bytes(tmp_path / name, b'new')
            assert reported in str(caught.value), name
    os.unlink(tmp_path / 'socket')
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / 'pipe').is_fifo()
    write_bytes(tmp_path / 'to nothing', b'new')
    assert (tmp_path / 'to nothing').read_bytes() == b'new'
    assert not (tmp_path / 'nothing').exists(), 'a link is replaced, not followed'


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    device = tmp_path / 'null'
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip('device nodes are for root to make')
    with pytest.raises(UserError, match='is a device, expected a file'):
        write_bytes(device, b'new')
    assert device.is_char_device()


def test_temporary_files_are_new_and_their_names_are_not_known_before(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with replacing(tmp_path / 'f') as temporary:
            names.add(temporary.name)
            assert temporary.parent == tmp_path
            assert temporary.read_bytes() == b''
    assert len(names) == 2
    assert os.listdir(tmp_path) == ['f']


@pytest.mark.parametrize('umask', [0o022, 0o077, 0o002])
def test_all_files_have_the_mode_of_new_ones(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / 'a', b'1')
        with replacing(tmp_path / 'b') as temporary:
            own = tmp_path / 'of a library'
            own.touch(0o600)
            own.replace(temporary)
    finally:
        os.umask(before)
    for name in 'ab':
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


def test_a_message_is_one_line_that_can_be_printed() -> None:
    error = UserError('f\x1b[2J\n\u202e\udcff: no such file')
    assert str(error) == r'f\x1b[2J\n\u202e\udcff: no such file'
    long = str(UserError('a' * 5000 + ' end'))
    assert len(long) < 2000
    assert long.endswith(' end')


def bomb(separator: str, first: str) -> str:
    """Ten names of ten of the name before, ten times over."""
    lines = [f'x0: &x0 {first}']
    for i in range(1, 10):
        lines.append(f'x{i}: &x{i} ' + separator.replace('*', ', '.join([f'*x{i - 1}'] * 10)))
    return '\n'.join(lines)


@pytest.mark.parametrize(
    ('text', 'reported'),
    [
        (bomb('[*]', '[a, b]'), 'values, aliases written out'),
        (bomb('{<<: [*], a: 1}', '{b: 1}'), 'values, aliases written out'),
        ('a: &a [*a]', 'contains itself'),
        ('a: &a {b: {c: *a}}', 'contains itself'),
        (
            'a0: &a0 [1]\n' + '\n'.join(f'a{i}: &a{i} [*a{i - 1}]' for i in range(1, 100)),
            'nested more than',
        ),
        ('[' * 60 + ']' * 60, 'nested more than'),
        ('[' * 100_000, 'is not valid YAML'),
        ('a: 0x' + 'f' * 10_000, 'the number in line 1 has more than'),
        ('a: 0b' + '1' * 100_000, 'the number in line 1 has more than'),
        ('a: 1' + ':00' * 50_000, 'the number in line 1 has more than'),
        ('a: ' + '9' * 5000, 'is not valid YAML'),
        ('\n'.join(f'k{i}: 1' for i in range(MAX_BYTES // 12)) + '\nk0: 1', "'k0' occurs twice"),
        ('? [a, b]\n: 1', 'is not valid YAML'),
        ('!!set x', 'is not valid YAML'),
        ('!!timestamp x', 'is not valid YAML'),
        ('!!bool x', 'is not valid YAML'),
        ("!!int ''", 'is not valid YAML'),
        ('a: ["\\uD800"]', 'contains an unpaired surrogate'),
        ('"\\uDFFF": 1', 'contains an unpaired surrogate'),
        ('a: !!map [b]', 'is not valid YAML'),
        ('!!python/object/apply:os.system [ls]', 'is not valid YAML'),
        ('a: \x00', 'is not valid YAML'),
        ('\ufffe', 'is not valid YAML'),
        ('#' * MAX_BYTES + '\n', 'more than the'),
    ],
)
def test_yaml_is_never_larger_than_its_file(tmp_path: Path, text: str, reported: str) -> None:
    path = tmp_path / 'f.yaml'
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        read_yaml('config file', path)
    assert time.process_time() - began < 20
    assert str(caught.value).startswith(f'config file {path}: ')
    assert reported in str(caught.value)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize('kind', ['config file', 'robot file'])
def test_fuzzing_yaml_with_a_fixed_seed(tmp_path: Path, kind: str) -> None:
    """`python benchmarks/fuzz.py` goes on with this for as long as one likes."""
    if kind == 'robot file':
        pytest.importorskip('rclpy')
    text = {'config file': fuzz_files.CONFIG, 'robot file': fuzz_files.ROBOT}[kind]
    rng, path, reasons = random.Random(0), tmp_path / 'f.yaml', Counter()
    path.write_text(text)
    assert fuzz_files.yaml_outcome(kind, path) == f'{kind}: valid'
    for _ in range(150):
        path.write_bytes(fuzz_files.hostile_yaml(text, rng))
        reasons[fuzz_files.yaml_outcome(kind, path)] += 1
    assert reasons[f'{kind}: valid'] < 75
    assert len(reasons) > 20, reasons


FUZZ_RUNS = """
import itertools, random, sys
from pathlib import Path
import fuzz_files
original = fuzz_files.make_run(Path(sys.argv[1]))
for command in fuzz_files.COMMANDS:
    case = fuzz_files.RunCase("progress.csv", "none", command)
    print(fuzz_files.run_outcome(original, case, random.Random(0)))
rng = random.Random(0)
for case in itertools.islice(fuzz_files.run_cases(rng), 12):
    print(fuzz_files.run_outcome(original, case, rng))
"""


def test_fuzzing_folders_of_runs_with_a_fixed_seed(tmp_path: Path) -> None:
    for module in ('torch', 'mujoco', 'matplotlib'):
        pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, '-c', FUZZ_RUNS, str(tmp_path)],
        env={**os.environ, 'PYTHONPATH': str(Path(fuzz_files.__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    outcomes = done.stdout.splitlines()
    assert [each for each in outcomes[:4] if not each.endswith('progress.csv none: taken')] == []
    assert sum(each.endswith(': refused') for each in outcomes[4:]) > 6, outcomes


def test_aliases_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / 'f.yaml'
    path.write_text('a: &a {x: 1}\nb: {<<: *a, y: [*a, *a]}\n')
    assert read_yaml('config file', path) == {
        'a': {'x': 1},
        'b': {'x': 1, 'y': [{'x': 1}, {'x': 1}]},
    }
