# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The documentation: that it builds, its links, its notebook, and every command in it.

A command is run where a machine without a ROS installation, a GPU and a day of time can; else it
is held to what it names: the parser's flags, a launch file's arguments, a node's parameters, a
script.
"""

import argparse
import ast
import itertools
import json
from pathlib import Path
import re
import shlex
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
CHEETAH = ROOT / 'benchmarks' / 'policies' / 'lif-HalfCheetah-v4.safetensors'
LAUNCH = ROOT / 'launch'


def commands_of(page: Path) -> list[str]:
    """Commands in the blocks of a page: indented, or fenced without a language or as a shell's."""
    found, fence, text = [], None, ''
    for line in page.read_text().splitlines():
        mark = re.match(r'\s*```(\S*)', line)
        if mark:
            fence = None if fence is not None else mark[1]
            continue
        if fence not in (None, '', 'sh', 'bash', 'text'):
            continue
        if fence is None and not line.startswith('    '):
            text = ''
            continue
        text += line.strip()
        if text.endswith('\\'):
            text = text[:-1]
            continue
        if re.match(r'(proxy-snn|python|ros2|pip|make|\S*bin/python|rerun|docker) ', text):
            found.append(re.split(r'\s+#\s', text)[0].strip())
        text = ''
    return found


COMMANDS = sorted({(c, str(p.relative_to(ROOT))) for p in PAGES for c in commands_of(p)})


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 60
    assert {command.split()[0] for command, _ in COMMANDS} >= {
        'proxy-snn',
        'python',
        'ros2',
        'make',
    }


@pytest.mark.parametrize(('command', 'page'), COMMANDS)
def test_what_a_command_names_is_there(command: str, page: str) -> None:
    words = [word for word in shlex.split(command) if word != '...']
    program = Path(words[0]).name
    if program == 'proxy-snn':
        check_flags(words[1:])
    elif words[0].startswith('.venv-lava/'):  # nothing else runs there: it has no torch
        assert words[1:4] == ['-m', 'proxy_snn_control.nodes', 'neuromorphic']
        check_parameters(words[3], words[4:])
    elif program == 'python' and words[1:3] == ['-m', 'proxy_snn_control.nodes']:
        check_parameters(words[3], words[4:])
    elif program == 'python' and words[1].endswith('.py'):
        check_script(words)
    elif words[:2] == ['ros2', 'launch'] and words[2].endswith('.launch.py'):
        assert list((ROOT / 'examples').rglob(Path(words[2]).name))  # test_own_robot.py reads it
    elif words[:2] == ['ros2', 'launch']:
        if words[2] == 'proxy_snn_control':
            check_launch(LAUNCH / words[3], words[4:])
        else:  # by its path: one of the examples
            (path,) = (ROOT / 'examples').rglob(Path(words[2]).name)
            check_launch(path, words[3:])
    elif words[:3] == ['ros2', 'run', 'proxy_snn_control']:
        check_parameters(words[3], words[4:])
    elif program == 'make':
        targets = re.findall(r'(?m)^([\w./-]+):', (ROOT / 'Makefile').read_text())
        assert words[1] in targets
    elif program == 'pip':
        for extras in re.findall(r'\[([\w,]+)\]', command):
            setup = (ROOT / 'setup.py').read_text()
            assert all(f"'{extra}': " in setup for extra in extras.split(','))


def check_flags(words: list[str]) -> None:
    """By the parser itself; a file that is not there is no mistake of the page's."""
    if set('|[') & set(''.join(words)) or words[0].startswith('-'):
        return  # the usage, not a command
    parsed = [
        word.replace('$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT', '1/2') for word in words
    ]
    if 'train' in words[:1] and '--out' not in words:
        parsed += ['--out', 'run']
    cli._parser().parse_args(parsed)


def check_parameters(node: str, words: list[str]) -> None:
    source = (ROOT / 'proxy_snn_control' / 'nodes' / f'{node}.py').read_text()
    source += (ROOT / 'proxy_snn_control' / 'nodes' / 'parameters.py').read_text()
    for flag, value in itertools.pairwise(words):
        if flag == '-p':
            name = value.split(':=')[0]
            assert f"'{name}'" in source, f'{node} has no parameter {name}'


def check_launch(path: Path, words: list[str]) -> None:
    source = path.read_text()
    names = {each.value for each in ast.walk(ast.parse(source)) if isinstance(each, ast.Constant)}
    for word in words:
        assert word.split(':=')[0] in names, f'{path.name} has no argument {word}'


def check_script(words: list[str]) -> None:
    source = (ROOT / words[1]).read_text()
    for word in words[2:]:
        if word.startswith('--') and word != '--help':
            assert f"'{word.partition('=')[0]}'" in source, f'{words[1]} has no {word}'


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


@pytest.fixture(scope='module')
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what README's commands begin from: a short run, and a policy."""
    folder = tmp_path_factory.mktemp('readme')
    shutil.copy(CHEETAH, folder / 'policy.safetensors')
    arguments = ['train', '--env', 'HalfCheetah-v4', '--seed', '0', '--out', 'runs/cheetah']
    quick = ['--steps', '60', '--set', 'random_steps=40', 'eval_every=30', 'eval_episodes=1']
    run(
        [*arguments, *quick, 'hidden=[32, 32]', 'batch_size=32', 'threads=1', 'device=cpu'], folder
    )
    return folder


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, '-m', 'proxy_snn_control.cli', *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# README's commands that end by themselves within seconds; `train` is in the workplace, shortened.
QUICK = ('train --resume', 'evaluate', 'plot', 'inspect', 'export')
README = [c for c in commands_of(ROOT / 'README.md') if c.startswith('proxy-snn')]
RUN = [c for c in README if c.removeprefix('proxy-snn ').startswith(QUICK) and '--video' not in c]


@pytest.mark.parametrize('command', RUN)
def test_the_readmes_commands_run(command: str, workplace: Path) -> None:
    words = shlex.split(command)[1:]
    if words[0] == 'evaluate':
        words += ['--episodes', '1']
    run(words, workplace)


def test_the_readme_has_commands_that_run() -> None:
    assert len(RUN) >= 6


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
            if '://' not in target and not target.startswith('#'):
                path = page.parent / target.split('#')[0]
                generated = path.parent.name == 'reference' or path.stem == 'first_policy'
                if not path.exists() and not generated:
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
