# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The documentation: that it builds, its links, its pictures and its notebook.

Its commands are run by test_docs_commands.py.
"""

import argparse
import json
from pathlib import Path
import re
import shutil
import subprocess
import sys

from proxy_snn_control import cli
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob('*.md'),
    *(p for p in (ROOT / 'docs').rglob('*.md') if not {'_build', 'reference'} & set(p.parts)),
]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_flags_in_running_text_are_the_parsers(page: Path) -> None:
    """Of commands between backticks, which may be shortened to what they are about."""
    text = re.sub(r'(?s)```.*?```', '', page.read_text())
    (commands,) = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for inline in re.findall(r'(?s)`(proxy-snn [a-z][^`]*)`', text):
        name, *words = inline.split()[1:]
        assert name in commands.choices, inline
        known = commands.choices[name]._option_string_actions
        assert {word for word in words if word.startswith('--')} <= known.keys(), inline


def anchors(page: Path) -> set[str]:
    """Return those of its headings, as GitHub and MyST make them."""
    text = re.sub(r'(?s)```.*?```', '', page.read_text())
    headings = re.findall(r'(?m)^#+ (.+)$', text)
    return {re.sub(r'[^\w\s-]', '', each).lower().replace(' ', '-') for each in headings}


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
            if '://' not in target:
                name, _, anchor = target.partition('#')
                path = page.parent / name if name else page
                generated = path.parent.name == 'reference' or path.stem == 'first_policy'
                there = path.exists() and (not anchor or anchor in anchors(path))
                if not there and not generated:
                    broken.append(f'{page.relative_to(ROOT)}: {target}')
    assert not broken


def test_pictures_are_small_enough_for_a_page() -> None:
    for path in (ROOT / 'docs' / 'images').iterdir():
        assert path.stat().st_size < 3e6, path


def test_the_notebook_runs() -> None:
    cells = json.loads((ROOT / 'docs/tutorials/first_policy.ipynb').read_text())['cells']
    code = '\n\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'code')
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert 'steps, return' in done.stdout


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip('sphinx')
    source = tmp_path / 'source'
    # A copy: what is generated stays out of the source tree. Its neighbours are linked to.
    shutil.copytree(ROOT / 'docs', source / 'docs', ignore=shutil.ignore_patterns('_build'))
    for name in ('config', 'proxy_snn_control', 'launch', 'LICENSE'):
        (source / name).symlink_to(ROOT / name)
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b', 'html']
    done = subprocess.run(
        [*command, 'docs', 'html'],
        capture_output=True,
        text=True,
        check=False,
        cwd=source,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    built = source / 'html'
    parameters = (built / 'reference' / 'parameters.html').read_text()
    assert 'stop_heartbeat' in parameters
    assert 'proxy-snn replay' in (built / 'reference' / 'cli.html').read_text()
    assert 'critic_norm' in (built / 'reference' / 'settings.html').read_text()
    assert 'load_policy' in (built / 'reference' / 'api.html').read_text()
