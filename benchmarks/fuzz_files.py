# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Hostile YAML files and run folders: the other families of `python benchmarks/fuzz.py`.

Whatever a config or robot file holds, reading it gives settings or a UserError that names the file
or the setting, in one printable line, soon. Whatever is done to a folder of a run, the commands
that take one end with status 0, or with 1 and one such line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import copy
import dataclasses
from dataclasses import dataclass
import io
import os
from pathlib import Path
import random
import re
import shutil
import signal
import tempfile
from typing import Any

from fuzz import (
    _change_tree,
    corruption,
    forgery,
    NotRefusedError,
    ODD,
    RAW,
    small_policy,
    unrelated,
)
from proxy_snn_control.learning.config import load_config, TrainConfig
from proxy_snn_control.policy import UserError, write_policy
import yaml

LONGEST_MESSAGE = 2000
CONFIG = """\
env: InvertedPendulum-v5
neuron: lif
threads: 1
device: cpu
steps: 10
random_steps: 20
eval_every: 10
eval_episodes: 1
checkpoint_every: 10
hidden: [4]
proxy_hidden: [4]
critic_hidden: [4]
neuron_constants: {voltage_decay: 0.75, threshold: 0.5}
batch_size: 4
replay_size: 100
"""
LAST_STEP = 30  # of that
ROBOT = """\
sources:
  joints: {type: sensor_msgs/JointState, topic: joint_states, timeout: 0.2}
observation:
  angle: {source: joints, joint: hinge, field: position, scale: 2.0, offset: 0.1}
  speed: {source: joints, joint: hinge, field: velocity}
command:
  type: std_msgs/Float64MultiArray
  topic: command
  outputs:
    - {action: motor, scale: 2.0, limits: [-1.5, 1.5]}
"""
ODD_VALUES = [each for each in ODD if not (isinstance(each, str) and each.startswith(RAW))]
# Text that stands for a value, or for a line of its own.
FRAGMENTS = [
    '*a', '&a', '&a [*a]', '!!python/object/apply:os.system [ls]', '!!python/name:os.system',
    "!!binary 'AAAA'", '!!set {a, b}', '!!omap [a: 1]', '!!timestamp 2020-01-01', '!!int x',
    '!!float x', '!x y', '2020-13-45', '0x' + 'f' * 9000, '0b' + '1' * 70_000, '1' + ':00' * 9000,
    '9' * 5000, '1e999', '-.inf', '.nan', '~', 'yes', '0o17', '017', '1_0', "'", '"', '"\\e[2J"',
    '[', ']', '{', '}', '[' * 5000, '{a: ' * 500, '- - - - -', '? a', ': b', '|', '>', '%YAML 9.9',
    '---', '...', '\t', '\0', '\x1b[2J', '\ufeff', '\u2028', '\u202e', '@', '`', '#',
    'a' * 100_000, '<<: *a',
    '<<: {a: 1}', '<<: [1]', 'a: 1\na: 1', '=', '!!map [a]', '!!seq {a: 1}', '!!str {}',
    '\n'.join(f'k{i}: {i}' for i in range(9000)),
]  # fmt: skip


def bomb(rng: random.Random) -> str:
    """Names of names of names: a file of some hundred bytes that stands for millions of values."""
    wide, high = rng.choice([2, 10, 50]), rng.choice([5, 10, 100])
    lines = ['x0: &x0 {a: 1}']
    for i in range(1, high):
        names = ', '.join([f'*x{i - 1}'] * wide)
        inside = rng.choice([f'[{names}]', f'{{<<: [{names}]}}', f'{{a: {{b: [{names}]}}}}'])
        lines.append(f'x{i}: &x{i} {inside}')
    return '\n'.join(lines) + '\n'


def hostile_yaml(text: str, rng: random.Random) -> bytes:
    """Return the text of a good file with something done to it."""
    operation = rng.randrange(6)
    if operation == 0:
        return corruption(text.encode(), rng).content
    if operation == 1:
        return unrelated(text.encode(), rng).content
    if operation == 2:
        lines = text.splitlines(keepends=True)
        lines.insert(rng.randrange(len(lines) + 1), bomb(rng))
        return ''.join(lines).encode()
    if operation == 3:
        places = [i for i, letter in enumerate(text) if letter in ':\n,[{ ']
        at = rng.choice(places) + 1
        return (text[:at] + ' ' + rng.choice(FRAGMENTS) + text[at:]).encode(errors='surrogatepass')
    if operation == 4:
        name, _, rest = text.partition(': ')
        return f'{name}: {rng.choice(FRAGMENTS)}\n{rest.partition(chr(10))[2]}'.encode()
    tree = yaml.safe_load(text)
    for _ in range(rng.choice([1, 1, 2, 5])):
        _change_tree(tree, rng)
    changed = yaml.safe_dump(copy.deepcopy(tree), sort_keys=False)
    return changed.encode(errors='surrogatepass')


def check_message(message: str) -> None:
    """Raise a NotRefusedError unless it is one line that can be printed, and not a long one."""
    if not message.isprintable() or not 10 < len(message) <= LONGEST_MESSAGE:
        raise NotRefusedError(f'bad message {message[:LONGEST_MESSAGE]!r}')


def read_config(path: Path) -> None:
    """As `train --config` does."""
    TrainConfig(**load_config(path))


def read_robot(path: Path) -> None:
    """As the controller does."""
    from proxy_snn_control.control.robot import load_robot

    spec = dataclasses.replace(small_policy()[0], action_names=('motor',))
    load_robot(str(path), spec, 0.5, False)


def yaml_outcome(kind: str, path: Path) -> str:
    """Read a file of that kind.

    Returns:
        The kind of reason it was refused for, or "valid".

    Raises:
        NotRefusedError: it raised something else, or its message is no good one.
    """
    read = {'config file': read_config, 'robot file': read_robot}[kind]
    try:
        with in_time():
            read(path)
    except UserError as error:
        message = str(error)
        check_message(message)
        if not message.startswith((f'{kind} {path}: ', 'setting ', 'settings ')):
            raise NotRefusedError(
                f'{kind}: names neither file nor setting: {message!r}'
            ) from error
        return f'{kind}: {_kind_of(message.removeprefix(f"{kind} {path}: "))}'
    except NotRefusedError:
        raise
    except BaseException as error:
        raise NotRefusedError(f'{kind}: {type(error).__name__}: {error}') from error
    return f'{kind}: valid'


def _kind_of(reason: str) -> str:
    reason = re.sub(r"'[^']*'|\"[^\"]*\"|\b\d+\b|\[.*\]", '...', reason)
    reason = re.sub(r'\bis (?!not valid YAML).*', 'is ...', reason)
    return re.sub(r'(setting|sources|observation|command)\b.*:', r'\1 ...:', reason)[:60]


@contextlib.contextmanager
def in_time(seconds: float = 30.0) -> Iterator[None]:
    """Raise a NotRefusedError in what takes longer, as reading from a pipe would."""

    def late(number: int, frame: Any) -> None:
        raise NotRefusedError(f'not done after {seconds} s')

    before = signal.signal(signal.SIGALRM, late)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


@dataclass(frozen=True)
class RunCase:
    """One file of a run's folder changed, and the command that then takes the folder."""

    name: str
    change: str
    command: str


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    'plot': lambda run: ['plot', str(run), '--out', str(run.parent / 'x.png')],
    'spikes': lambda run: ['plot', str(run), '--spikes', '--out', str(run.parent / 'x.png')],
    'evaluate': lambda run: ['evaluate', str(run / 'policy.safetensors'), '--episodes', '1'],
    'resume': lambda run: ['train', '--resume', '--out', str(run), '--steps', '10'],
}
CHANGES = ('gone', 'empty', 'corruption', 'unrelated', 'pipe', 'folder', 'loop', 'forged', 'other')
FILES = (
    'config.yaml',
    'progress.csv',
    'policy.safetensors',
    f'checkpoint/checkpoint-{LAST_STEP:010d}.safetensors',
    f'checkpoint/replay-{0:010d}-{LAST_STEP:010d}.safetensors',
)


def run_cases(rng: random.Random) -> Iterator[RunCase]:
    """Without end, every file with every change in turn, and the commands that read it."""
    readers = {'config.yaml': ['plot', 'spikes'], 'progress.csv': ['plot']}
    readers |= {
        'policy.safetensors': ['spikes', 'evaluate'],
        FILES[3]: ['resume'],
        FILES[4]: ['resume'],
    }
    while True:
        pairs = [(name, change) for name in FILES for change in CHANGES]
        rng.shuffle(pairs)
        for name, change in pairs:
            yield RunCase(name, change, rng.choice(readers[name]))


def make_run(folder: Path) -> Path:
    """Make a real run, of a few steps."""
    from proxy_snn_control import cli  # which takes the process's signals for itself

    (folder / 'config.yaml').write_text(CONFIG)
    run = folder / 'run'
    arguments = ['train', '--config', str(folder / 'config.yaml'), '--out', str(run)]
    with contextlib.redirect_stdout(io.StringIO()):
        if cli.main(arguments):
            raise SystemExit('the run to begin with failed')
    return run


def change_run(run: Path, case: RunCase, rng: random.Random) -> None:
    """Do to a file of the folder what the case asks for."""
    if case.change == 'none':
        return
    path = run / case.name
    whole = path.read_bytes()
    path.unlink()
    if case.change == 'pipe':
        os.mkfifo(path)
    elif case.change == 'folder':
        path.mkdir()
    elif case.change == 'loop':
        path.symlink_to(path.name)
    elif case.change == 'empty':
        path.write_bytes(b'')
    elif case.change == 'corruption':
        path.write_bytes(corruption(whole, rng).content)
    elif case.change == 'unrelated':
        path.write_bytes(unrelated(whole, rng).content)
    elif case.change == 'other':  # valid, and of something else
        if path.name == 'policy.safetensors':
            write_policy(path, *small_policy())
        else:
            path.write_bytes((run / FILES[(FILES.index(case.name) + 1) % 3]).read_bytes())
    elif case.change == 'forged':
        if path.suffix == '.yaml':
            path.write_bytes(hostile_yaml(whole.decode(), rng))
        elif path.name == 'policy.safetensors':
            path.write_bytes(forgery(whole, rng).content)
        else:
            odd = str(rng.choice(ODD_VALUES)).encode(errors='surrogatepass')
            places = [i for i, byte in enumerate(whole) if byte in b',\n']
            at = rng.choice(places) + 1
            path.write_bytes(whole[:at] + odd + whole[at:])


def run_outcome(original: Path, case: RunCase, rng: random.Random) -> str:
    """Change a copy of the run and let the command meet it.

    Returns:
        The case and the exit status.

    Raises:
        NotRefusedError: it raised, took too long, or printed something else than one sentence.
    """
    from proxy_snn_control import cli

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / 'run'
        shutil.copytree(original, run)
        change_run(run, case, rng)
        errors, printed = io.StringIO(), io.StringIO()
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            with (
                in_time(),
                contextlib.redirect_stderr(errors),
                contextlib.redirect_stdout(printed),
            ):
                status = cli.main(COMMANDS[case.command](run))
        except NotRefusedError as error:
            raise NotRefusedError(f'{case}: {error}') from error
        except BaseException as error:
            raise NotRefusedError(f'{case}: {type(error).__name__}: {error}') from error
        finally:
            signal.signal(signal.SIGINT, interrupt)  # a command that ends has it ignored
        errors = [
            line.removeprefix('proxy-snn: ')
            for line in errors.getvalue().splitlines()
            if line.startswith('proxy-snn: ') and not line.startswith('proxy-snn: warning')
        ]
        if status not in (0, 1) or len(errors) != status:
            raise NotRefusedError(f'{case}: status {status}, {errors.getvalue()!r}')
        for line in errors:
            check_message(line)
    return f'{case.command}, {case.name} {case.change}: {"refused" if status else "taken"}'
