# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Compiled code on disk: found again, mended, and not taken from others."""

import errno
import hashlib
import os
from pathlib import Path
import re
import subprocess

from proxy_snn_control import child
from proxy_snn_control.policy import cache
import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of the test's own, and a process that has warned of nothing yet."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    cache._warn.cache_clear()
    return tmp_path / 'proxy_snn_control'


def was_kept(sources: bytes = b'sources') -> bool:
    """Compile a function, or load it where it was kept; which of the two, once it gives 3."""

    @cache.compiled(sources, 'here', nogil=True)
    def add_one(number):
        return number + 1

    assert add_one(2) == 3
    return bool(add_one.stats.cache_hits)


def test_found_again(folder: Path) -> None:
    assert not was_kept()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    assert was_kept()
    assert file.read_bytes() == whole
    assert not was_kept(b'other sources')
    assert len(list(folder.iterdir())) == 2


def sealed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize(
    'damage',
    [
        lambda whole: b'',
        lambda whole: whole[:20],
        lambda whole: whole[:-100],
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:500] + b'x' + whole[501:],
        lambda whole: sealed(b''),
        lambda whole: sealed(b'no pickle'),
        lambda whole: sealed(b'\x80\x04K\x01.'),  # a pickle of the number 1
    ],
)
def test_what_is_damaged_is_compiled_anew(folder: Path, damage) -> None:
    assert not was_kept()
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert not was_kept()
    assert was_kept(), 'and kept again'


def test_what_is_no_file_is_not_waited_for(folder: Path, caplog) -> None:
    assert not was_kept()
    (file,) = folder.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert not was_kept()
    assert f'compiled code {file}: is not a file but a pipe; it is recompiled' in caplog.text
    assert f'{file}: cannot be written: it is a pipe' in caplog.text
    assert 'Traceback' not in caplog.text


def test_nothing_is_taken_that_others_could_have_written(
    folder: Path, caplog, monkeypatch
) -> None:
    assert not was_kept()
    (file,) = folder.iterdir()
    file.chmod(0o666)
    assert not was_kept()
    assert f'{file} belongs to another user or can be written by others' in caplog.text
    assert was_kept(), 'it was replaced'

    for mode in (0o777, 0o775, 0o703):
        folder.chmod(mode)
        assert not was_kept()
        assert cache.kept(file.name) is None
        cache.keep('new', b'content')
    folder.chmod(0o700)
    assert was_kept()
    assert f'{folder} belongs to another user or can be written by others' in caplog.text
    assert not (folder / 'new').exists()

    monkeypatch.setattr(os, 'geteuid', lambda: folder.stat().st_uid + 1)
    assert not was_kept()
    assert cache.kept(file.name) is None


def test_where_nothing_can_be_kept_all_goes_on(tmp_path: Path, caplog, monkeypatch) -> None:
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert not was_kept()
    assert not was_kept()
    (record,) = caplog.records
    assert record.message.startswith('compiled code is not kept for the next start: ')
    assert 'Not a directory' in record.message

    monkeypatch.setenv('XDG_CACHE_HOME', 'relative')
    monkeypatch.setenv('HOME', str(tmp_path / 'file'))
    assert not was_kept()


def test_a_full_disk_is_reported_and_done_without(folder: Path, caplog, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, 'fsync', full)
        assert not was_kept()
    (record,) = caplog.records
    assert record.message.startswith('compiled code is not kept for the next start: ')
    assert record.message.endswith('cannot be written: No space left on device')
    assert not list(folder.iterdir())
    assert not was_kept()
    assert was_kept()


def test_children_run_nothing_from_the_current_folder(tmp_path: Path) -> None:
    for name in ('runpy', 'importlib', 'signal', 'numpy', 'proxy_snn_control'):
        (tmp_path / f'{name}.py').write_text(f"raise SystemExit('{name} of the current folder')")
    command = child.command('proxy_snn_control.nodes', 'none', '--x')
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, '')
    assert 'usage: ' in done.stdout


def test_scripts_and_launch_files_start_python_the_same_way() -> None:
    root = Path(__file__).parents[1]
    run = child.RUN_MODULE
    for script in (root / 'resource' / 'bin').iterdir():
        assert run in script.read_text().replace('\\\n', ''), script
    launch = (root / 'launch' / 'control.launch.py').read_text()
    assert run in re.sub(r"""["']\n    ["']""", '', launch)
