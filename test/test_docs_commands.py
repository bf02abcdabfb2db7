# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Every command of the documentation, run in the order of its page, as CONTRIBUTING.md promises.

A page is typed in a folder with the files of a checkout, whose configurations are small ones. Four
tables have what is changed in a command before it runs, what another test runs, what a command may
need, and what must be there before a page.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
import itertools
import os
from pathlib import Path
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from typing import Any

from conftest import new_stage, NodeProcess, random_policy, Stage
import numpy as np
from proxy_snn_control import cli
from proxy_snn_control.control.robot import load_robot, robot_names
from proxy_snn_control.control.task import load_task
from proxy_snn_control.learning.config import load_config
from proxy_snn_control.learning.grid import read_grid
from proxy_snn_control.policy import PolicySpec
import pytest
from std_msgs.msg import Float64MultiArray
from test_import import CleanActor, prefixed, saved, sb3_zip, sequential
from torch import nn
import yaml

ROOT = Path(__file__).parents[1]
SMALL = {
    'steps': 40,
    'random_steps': 20,
    'eval_every': 30,
    'eval_episodes': 1,
    'hidden': [16, 16],
    'proxy_hidden': [16, 16],
    'critic_hidden': [16, 16],
    'batch_size': 8,
    'threads': 1,
    'device': 'cpu',
}
SET = ' '.join(f"'{name}={value}'" for name, value in SMALL.items())

# What is changed in a command before it runs: a pattern, and what is put in its place.
SHORTER = (
    (r'^proxy-snn train (?!--resume).*', rf'\g<0> --set {SET}'),
    (r'^proxy-snn evaluate .*', r'\g<0> --episodes 1'),
    (r'^proxy-snn view .*', r'\g<0> port:=$PORT'),
    (r'^make (demo|format)', r'make --assume-old=.venv/installed \1'),
    (r' -m venv ', ' -m venv --without-pip '),
    (r'animate\.py .*', r'\g<0> --steps 2 --skip 0'),
    (r'hostile\.py --seconds \d+', 'hostile.py --seconds 0.5'),
    (r'optuna_search\.py .*', r'\g<0> --steps 40 --trials 1'),
    (r'wiring\.py --seeds \d+', 'wiring.py --seeds 1'),
)
# What another test runs: of which commands, where, and by what that is found there.
ELSEWHERE = (
    (r'^make (test|lint)$', '.ci/run', 'make test'),
    (r'^make lava$', 'Makefile', 'test: lint $(LAVA)'),
    (r'^make docs$', 'test/test_docs.py', 'def test_the_site_builds_without_a_warning('),
    (r'^pip install ', 'test/test_release.py', 'def test_configurations_and_policies_by_name_'),
    (r' --video ', 'test/test_cli.py', 'def test_video('),
    (
        r'--out runs/hopper\b',
        'test/test_population.py',
        'def test_seeds_from_the_command_line_stop',
    ),
    (
        r'exactness\.py ',
        'test/test_runtime.py',
        'def test_a_short_run_of_the_exactness_benchmark(',
    ),
    (r'fuzz\.py ', 'test/test_policy_file.py', 'def test_fuzzing_with_a_fixed_seed('),
    (r' --ray ', 'test/test_sweep.py', 'def test_on_a_ray_cluster_a_lost_worker_is_no_lost_run('),
    (
        r'own_arm|ros:|runs/arm|arm\.safetensors',
        'test/test_own_robot.py',
        'def test_every_command_of_the_document',
    ),
    (r'^(cd examples/own_robot|export PYTHON)', 'test/test_own_robot.py', 'PYTHONPATH=$PWD'),
)
# What a command may need that a machine for tests has not, and which commands do.
NEEDS = {
    'a ROS installation': r'^(ros2|colcon|rosdep) |^security/secure_demo',
    'a GPU': r'\btable1\b|\bablation\b|\bspike_cost\b|population\.py',
    'a CUDA build of torch': r'kernels\.py',
    'a robot': r'^(ssh|scp) ',
    'an environment of its own': r'mujoco==|dm_control|gymnasium_robotics',
    'an idle computer': r'(checkpoint|closed_loop|demo_seeds|environments|ros_training|view)\.py',
    'Docker': r'^docker ',
    'Lava': r'^\.venv-lava/|backend:=lava|neuromorphic(\.py|\.host)',
    'MLflow': r'--track mlflow',
    'QEMU and a compiler for ARM': r'^arm-none-eabi|^qemu-|micro\.py|arm\.sh',
    'Slurm': r'^sbatch ',
    'the extra benchmarks': r'benchmarks/(energy|inference|training)\.py',
}


def own_plugin(folder: Path) -> None:
    """Write the module my_robot of the pages, with a neuron and a task by the names they use."""
    shutil.copy(ROOT / 'examples' / 'plugins' / 'adaptive_lif.py', folder)
    (folder / 'my_robot.py').write_text(
        'import adaptive_lif\n'
        'import gymnasium\n'
        'from proxy_snn_control.policy.plugins import TASKS\n'
        "pendulum = 'gymnasium.envs.classic_control:PendulumEnv'\n"
        "gymnasium.register('Reach-v0', pendulum, max_episode_steps=20)\n"
        "TASKS.register('reach')(lambda rest, **options: gymnasium.make('Reach-v0', **options))\n"
    )


def other_actors(folder: Path) -> None:
    """Write an actor for Hopper as Stable-Baselines3 saves it, and one as CleanRL does."""
    body = sequential(11, 32, 24, 3)
    body[-1] = nn.Tanh()
    high = np.ones(3, np.float32)
    sb3_zip(folder / 'td3_hopper.zip', prefixed('actor.mu', body), low=-high, high=high)
    content = saved(CleanActor('fc_mu').state_dict())
    (folder / 'td3_continuous_action.cleanrl_model').write_bytes(content)


# What must be there before a page: what its reader did before, or has of their own.
POLICY = 'cp policies/half_cheetah.safetensors'
NODE = 'python -m proxy_snn_control.nodes'
ACT = '--ros-args -p policy:=half_cheetah -p robot:=half_cheetah -p autostart:=true'
BEFORE: dict[str, list[str | Callable[[Path], None]]] = {
    'docs/arm.md': [f'{POLICY} POLICY'],
    'docs/exchange.md': [f'{POLICY} POLICY', other_actors],
    'docs/micro.md': [f'{POLICY} POLICY'],
    'docs/neuromorphic.md': [f'{POLICY} policy.safetensors'],
    'docs/plugins.md': [own_plugin],
    'docs/policy_file.md': [f'{POLICY} POLICY'],
    'docs/replay.md': [
        f'{POLICY} policy.safetensors',
        f'{POLICY} new.safetensors',
        f'{NODE} sim --ros-args -p env:=HalfCheetah-v4 -p mode:=realtime',
        f'{NODE} controller {ACT}',
    ],
    'docs/report.md': [
        'proxy-snn sweep quick --out runs/quick',
        'proxy-snn train --env HalfCheetah-v4 --seed 0 --out runs/cheetah',
        'cp -r docs/results/curves/lif-Hopper-v4-0 runs/hopper',
    ],
    'docs/robots.md': [
        f'{POLICY} policy.safetensors',
        'cp config/robots/half_cheetah.yaml robot.yaml',
    ],
    'docs/shelf.md': [
        'mkdir RUN',
        'cp policies/inverted_double_pendulum.safetensors RUN/policy.safetensors',
    ],
    'docs/sweep.md': [
        'proxy-snn sweep quick --out runs/quick',
        'cp -r runs/quick DIR',
        'cp config/quick.yaml GRID.yaml',
        'bash examples/sweeps/array.sbatch GRID.yaml DIR',
    ],
    'docs/tasks.md': [own_plugin],
}
PAGES = sorted(
    path
    for pattern in (
        '*.md',
        'docs/**/*.md',
        'policies/*.md',
        'config/**/*.yaml',
        'docker/*',
        'examples/**/*.*',
        'security/*.sh',
    )
    for path in ROOT.glob(pattern)
    if not {'_build', 'reference'} & set(path.parts) and path.stem != 'first_policy'
)
PROGRAMS = (
    r'(proxy-snn|python[\d.]*|pip|make|ros2|colcon|rosdep|docker|sbatch|rerun|ssh|mcap|git|curl'
    r'|apt|apt-get|cd|export|source|\S+\.sh|\.venv\S+) '
)
NAMES = r'(proxy-snn|pip|mcap|colcon|rosdep|ros2( [a-z]+)?) [a-z]+'  # a subcommand alone is a name
KINDS = ('sh', 'python', 'c', 'yaml')
READY = {
    'sim': ' in realtime, seed',
    'controller': 'active: commands go to',
    'guard': 'passes /command on to',
    'record': 'records /',
    'view': 'the view is on',
}


@dataclass(frozen=True)
class Item:
    """A command, or a block of other code."""

    kind: str
    text: str
    marks: frozenset[str] = frozenset()
    inline: bool = False

    @property
    def needs(self) -> set[str]:
        """Return what it needs, whatever it is marked with."""
        return {name for name, pattern in NEEDS.items() if re.search(pattern, self.text)}

    @property
    def elsewhere(self) -> bool:
        """Return whether another test runs it."""
        return any(re.search(pattern, self.text) for pattern, _, _ in ELSEWHERE)


def text_of(path: Path) -> str:
    """Return a page, or what stands at the head of another file."""
    text = path.read_text()
    if path.suffix == '.md':
        return text
    if path.suffix == '.py':
        return ast.get_docstring(ast.parse(text)) or ''
    lines = itertools.takewhile(lambda line: line.startswith('#'), text.splitlines())
    return '\n'.join(line[1:].removeprefix(' ') for line in lines)


def items_of(text: str) -> Iterator[Item]:
    """Yield the commands and other code of a page, in its order."""
    fence: str | None = None
    block: list[str] = []
    prose: list[str] = []
    before = ''
    for line in [*text.splitlines(), '']:
        if mark := re.match(r'\s*```(\S*)', line):
            if fence is None:
                fence = mark[1]
            else:
                yield from items_of_block(fence or 'sh', block)
                fence, block = None, []
        elif fence is not None:
            block.append(line)
        elif line.startswith('    ') and (block or not before or before.startswith('#')):
            block.append(line.strip())
        elif line or not block:
            if block:
                yield from items_of_block('sh', block)
                block = []
            if not line or line.startswith('|'):
                yield from items_of_prose(' '.join(prose))
                prose = []
            prose.append(line)
        else:
            block.append('')
        before = line
    yield from items_of_block('sh', block)
    yield from items_of_prose(' '.join(prose))


def items_of_block(kind: str, lines: list[str]) -> Iterator[Item]:
    if kind != 'sh':
        marks = re.findall(r'# needs (.+)', lines[0]) if lines else []
        yield Item(kind, '\n'.join(lines), frozenset(marks))
        return
    marks, text = frozenset[str](), ''
    for line in lines:
        text += line
        if text.endswith('\\'):
            text = text[:-1]
            continue
        if mark := re.fullmatch(r'# needs (.+)', text):
            marks |= {mark[1]}
        elif not text:
            marks = frozenset()
        else:
            yield Item(kind, re.split(r'\s+#\s', text)[0].strip(), marks)
        text = ''


def items_of_prose(paragraph: str) -> Iterator[Item]:
    marks = frozenset(name for name in NEEDS if f'needs {name}' in ' '.join(paragraph.split()))
    for span in re.findall(r'`([^`]+)`', paragraph):
        command = ' '.join(span.split())
        if re.match(PROGRAMS, command) and not re.fullmatch(NAMES, command):
            yield Item('sh', command, marks, inline=True)


ITEMS = {
    str(path.relative_to(ROOT)): found for path in PAGES if (found := [*items_of(text_of(path))])
}


@pytest.mark.parametrize('page', ITEMS)
def test_what_a_command_needs_is_marked_and_nothing_else_is(page: str) -> None:
    for item in ITEMS[page]:
        assert item.kind in (*KINDS, '{toctree}'), f'{page}: a block of {item.kind}'
        marked = item.marks & item.needs
        assert bool(marked) == bool(item.needs), f'{page}: {item.text}: not marked'
        assert item.inline or item.marks == marked, f'{page}: {item.text}: needs no {item.marks}'


def test_what_is_run_elsewhere_is_there() -> None:
    for pattern, path, text in ELSEWHERE:
        assert text in (ROOT / path).read_text(), pattern
        commands = [item.text for items in ITEMS.values() for item in items]
        assert any(re.search(pattern, command) for command in commands), pattern


def test_the_tables_have_no_entry_too_many() -> None:
    commands = [item.text for items in ITEMS.values() for item in items]
    commands += [each for page in BEFORE.values() for each in page if isinstance(each, str)]
    for pattern in [*(pattern for pattern, _ in SHORTER), *NEEDS.values()]:
        assert any(re.search(pattern, command) for command in commands), pattern
    assert BEFORE.keys() <= ITEMS.keys()


@pytest.mark.parametrize('page', ITEMS)
def test_what_a_command_that_is_not_run_names_is_there(page: str) -> None:
    for item in ITEMS[page]:
        if item.needs and item.kind == 'sh':
            check_names(shlex.split(item.text))
        elif item.text.startswith('pip install'):
            assert set(re.findall(r'-c (\S+)', item.text)) <= {'constraints.txt'}
            for extras in re.findall(r'\[([\w,]+)\]', item.text):
                assert {*extras.split(',')} <= {
                    *(metadata.metadata('proxy_snn_control').get_all('Provides-Extra') or [])
                }


def check_names(words: list[str]) -> None:
    """Check what a command names: parameters, arguments of launch files, files, flags."""
    if words[:2] == ['ros2', 'launch'] and words[2] != 'controller_manager':
        name = words[3] if words[2] == 'proxy_snn_control' else Path(words[2]).name
        (path,) = [*(ROOT / 'launch').glob(name), *(ROOT / 'examples').rglob(name)]
        constants = {
            each.value
            for each in ast.walk(ast.parse(path.read_text()))
            if isinstance(each, ast.Constant)
        }
        given = {word.split(':=')[0] for word in words if ':=' in word}
        assert given <= constants, f'{path.name} has no {given - constants}'
    elif words[:3] == ['ros2', 'run', 'proxy_snn_control'] or '-m' in words:
        nodes = ROOT / 'proxy_snn_control' / 'nodes'
        source = (nodes / f'{words[3]}.py').read_text() + (nodes / 'parameters.py').read_text()
        for flag, word in itertools.pairwise(words):
            if flag == '-p':
                assert f"'{word.split(':=')[0]}'" in source, f'{words[3]} has no parameter {word}'
    elif words[0] == 'proxy-snn':
        cli._parser().parse_args(words[1:])
    elif words[0] == 'python':
        source = (ROOT / words[1]).read_text()
        for word in words[2:]:
            if word.startswith('--'):
                assert f"'{word}'" in source, f'{words[1]} has no {word}'
    else:
        files = [
            word for word in words if re.match(r'(benchmarks|docker|examples|security)/', word)
        ]
        assert all([*ROOT.glob(name)] for name in files)


class Reader:
    """Types the commands of a page, in a folder of its own with the files of a checkout."""

    def __init__(self, stage: Stage, checkout: Path) -> None:
        self.stage, self._checkout = stage, checkout
        self._made: dict[str, Path] = {}  # by the command that made it
        self._nodes: list[NodeProcess] = []
        self.folder = checkout
        self.commands = stage.subscribe(Float64MultiArray, 'command')
        bins = Path(sys.executable).parent
        stage.environment |= {
            'PATH': f'{bins}:{os.environ["PATH"]}',
            'PYTHONPATH': f'{checkout}:.:{os.environ.get("PYTHONPATH", "")}',
            'PORT': str(free_port()),
            'SLURM_ARRAY_TASK_ID': '1',
            'SLURM_ARRAY_TASK_COUNT': '1',
        }

    def start(self, page: str) -> None:
        """Go to a new folder, with what must be there before a page."""
        self.folder = self._checkout.parent / 'pages' / page.replace('/', '-')
        self.folder.mkdir(parents=True)
        for each in self._checkout.iterdir():
            (self.folder / each.name).symlink_to(each)
        (self.folder / '.venv').symlink_to(sys.prefix)
        for before in BEFORE.get(page, []):
            if isinstance(before, str):
                self.enter(before)
            else:
                before(self.folder)

    def close(self) -> None:
        """Press Ctrl-C in every terminal."""
        nodes, self._nodes = self._nodes[::-1], []
        for recorder in (node for node in nodes if ' record ' in node.command[-1]):
            for topic in ('/joint_states', '/command'):
                first = f'topic {topic}: first message'
                assert self.stage.until(lambda f=first, r=recorder: f in r.output, 30)
            self.commands.clear()
            assert self.stage.until(lambda: len(self.commands) > 40, 30), self.stage.outputs()
        for node in nodes:
            assert node.end(signal.SIGINT) == 0, node.output
            assert 'Traceback' not in node.output, node.output

    def enter(self, command: str) -> None:
        """Run a command, shortened. What it made on an earlier page is copied from there."""
        out = re.search(r'(?:--out |out:=)(\S+)', command)
        made = self.folder / out[1] if out else self.folder
        if command in self._made and not command.startswith(('cp ', 'mkdir ')):
            before = self._made[command]
            if not made.exists():
                made.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if before.is_dir() else shutil.copy)(before, made)
            return
        self._made[command] = made
        short = command
        for pattern, replacement in SHORTER:
            short = re.sub(pattern, replacement, short)
        if node := re.search(r'nodes (\w+) |^proxy-snn (view) ', command):
            process = self.stage.launch(['bash', '-c', f'cd {self.folder} && exec {short}'])
            self._nodes.append(process)
            ready = READY[node[1] or node[2]]
            assert self.stage.until(lambda: ready in process.output, 40), process.output
            return
        self.close()
        self.run('bash', '-c', short)

    def read(self, page: str, item: Item) -> None:
        """Compile, run or load a block of other code."""
        if item.kind == 'python':
            python = ROOT / '.venv-lava/bin/python' if 'Lava' in item.marks else sys.executable
            self.run(python, '-', text=f'{item.text}\n{CALLS.get(page, "")}')
        elif item.kind == 'c':
            self.run('bash', '-c', 'cc -std=c99 -IDIR -x c - DIR/policy.c -lm', text=item.text)
            self.run('./a.out')
        elif item.kind == 'yaml':
            path = self.folder / 'block.yaml'
            path.write_text(item.text)
            LOADERS[page](path)

    def run(self, *words: str | Path, text: str = '') -> None:
        done = subprocess.run(
            words,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self.stage.environment,
            timeout=120,
        )
        assert done.returncode == 0, f'{words}\n{done.stdout}{done.stderr}'


# What calls the functions that a page's Python defines.
CALLS = {
    'docs/robots.md': """
import rclpy

rclpy.init()
subscribe(rclpy.create_node('driver'), print, print)
""",
}


def knee() -> PolicySpec:
    """Return a policy with the names of docs/robots.md."""
    names = ('knee.position', 'pitch.sin', 'last.knee')
    return random_policy(3, 1, observation_names=names, action_names=('knee',))[0]


def ros_task(path: Path) -> None:
    """Load a task file, beside a robot file and a module with the reward, as it says."""
    example = ROOT / 'examples' / 'own_robot'
    shutil.copy(example / 'robot.yaml', path.parent)
    (path.parent / 'my_robot.py').write_text((example / 'own_arm.py').read_text())
    load_task(str(path))


# What reads a page's YAML. A shortened robot file names no task that it is for.
LOADERS: dict[str, Callable[[Path], Any]] = {
    'docs/robots.md': lambda path: load_robot(str(path), knee(), 0.5, False),
    'docs/ros_training.md': ros_task,
    'docs/sweep.md': lambda path: read_grid(path, path.parent / 'out'),
    'docs/tasks.md': load_config,
    'docs/tutorials/own_robot.md': lambda path: robot_names(str(path)),
}


def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope='module')
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the source tree, whose configurations train for a moment."""
    folder = tmp_path_factory.mktemp('documentation') / 'checkout'
    made = (
        '_build',
        '__pycache__',
        '*.egg-info',
        'runs',
        'demo',
        'build',
        'dist',
        'install',
        'log',
    )
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns('.*', *made))
    for path in (folder / 'config').glob('*.yaml'):
        content = yaml.safe_load(path.read_text())
        if 'learners' in content:  # a grid: its first run
            content['settings'] |= SMALL
            content['environments'] = content['environments'][:1]
            content['learners'] = dict([*content['learners'].items()][:1])
            content['seeds'] = content['seeds'][:1]
            path.write_text(yaml.safe_dump(content))
        elif path.stem == 'demo':
            path.write_text(yaml.safe_dump({**content, **SMALL, 'stop_at_return': 0}))
    return folder


@pytest.fixture(scope='module')
def reader(checkout: Path) -> Iterator[Reader]:
    with new_stage(checkout.parent) as stage:
        yield Reader(stage, checkout)


@pytest.mark.parametrize('page', ITEMS)
def test_every_command_runs_as_it_is_typed(page: str, reader: Reader) -> None:
    if any(item.kind == 'c' for item in ITEMS[page]) and shutil.which('cc') is None:
        pytest.skip('there is no C compiler')
    reader.start(page)
    lava = (ROOT / '.venv-lava/bin/python').exists()
    for item in ITEMS[page]:
        if item.kind != 'sh':
            if not item.needs or (item.needs == {'Lava'} and lava):
                reader.read(page, item)
        elif not item.needs and not item.elsewhere:
            reader.enter(item.text)
    reader.close()
