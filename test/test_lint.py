# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The linters of ament, as `make lint` and `colcon test` run them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# As ament_pep257 has it by itself: what must have a docstring is left to the package.
UNWRITTEN = [f'D10{i}' for i in range(8)]


def test_flake8(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ament_flake8's own settings."""
    linter = pytest.importorskip('ament_flake8.main')
    monkeypatch.chdir(ROOT)
    assert linter.main_with_errors(argv=[]) == (0, [])


def test_pep257(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the convention of Google's docstrings, whose sections Sphinx reads."""
    linter = pytest.importorskip('ament_pep257.main')
    monkeypatch.chdir(ROOT)
    assert linter.main(['--convention', 'google', '--add-ignore', *UNWRITTEN, '--', '.']) == 0


def test_xmllint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ROS 2 has it installed: there are no wheels of it. It fetches package.xml's schema."""
    linter = pytest.importorskip('ament_xmllint.main')
    monkeypatch.chdir(ROOT)
    assert linter.main([]) == 0
