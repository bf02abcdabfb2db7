# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Which part may know which: read off the sources, and off what a fresh interpreter loads."""

import ast
from pathlib import Path
import subprocess
import sys

import proxy_snn_control
import pytest

PACKAGE = Path(proxy_snn_control.__file__).parent
HEAVY = {'torch', 'gymnasium', 'mujoco'}
# A part may import those above it in this list, never those below.
PARTS = ['policy', 'spiking', 'learning', 'neuromorphic', 'control', 'nodes', 'cli']
MAY_NOT_IMPORT = {
    'policy': {*HEAVY, 'rclpy'},
    'spiking': {'rclpy'},
    'learning': {'rclpy'},
    'neuromorphic': HEAVY,
    'control': {*HEAVY, 'rclpy'},
    'nodes/controller.py': HEAVY,
    'nodes/guard.py': HEAVY,
    'nodes/neuromorphic.py': HEAVY,
    'nodes/sim.py': {'torch'},
}


def imports_of(path: Path) -> set[str]:
    """Every module a file imports, inside functions too; relative ones made absolute."""
    found = set()
    package = ('proxy_snn_control', *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(package[: len(package) - node.level + 1]) if node.level else ''
            module = '.'.join(filter(None, [base, node.module]))
            found |= {module} | {f'{module}.{alias.name}' for alias in node.names}
    return found


def sources(part: str) -> list[Path]:
    path = PACKAGE / part
    return [path] if path.suffix else sorted(path.rglob('*.py'))


@pytest.mark.parametrize('part', MAY_NOT_IMPORT)
def test_no_part_imports_what_it_may_not(part: str) -> None:
    for path in sources(part):
        if path.exists():
            roots = {name.split('.')[0] for name in imports_of(path)}
            assert not roots & MAY_NOT_IMPORT[part], path


@pytest.mark.parametrize('index', range(len(PARTS)), ids=PARTS)
def test_no_part_imports_one_below_it(index: int) -> None:
    first = index + 1
    below = {f'proxy_snn_control.{name}' for name in PARTS[first:]}
    paths = sources(PARTS[index]) if PARTS[index] != 'cli' else sources('cli.py')
    for path in paths:
        for name in imports_of(path):
            assert not any(name == b or name.startswith(f'{b}.') for b in below), (path, name)


# Whoever may open files, and which: a user's files are read by files.py alone.
OPENS = {
    'policy/files.py': 'what users name',
    'policy/energy.py': 'counters in /sys',
    'policy/native.py': "the package's own modules, /proc/cpuinfo",
    'policy/plugins.py': 'modules that Python has imported',
    'learning/foreign.py': 'bytes that were read',
    'learning/hardware.py': '/proc/cpuinfo',
    'learning/video.py': 'the file that it writes',
    'nodes/stopping.py': '/proc/self',
}


def opens_files(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ('open', 'io.open', 'np.load', 'np.fromfile', 'torch.load', 'json.load'):
                return True
            if name.endswith(('.read_text', '.read_bytes')):
                return True
    return False


def test_nodes_publish_by_one_function() -> None:
    """A publisher's own method raises where the middleware fails, which would end the node."""
    for path in sources('nodes'):
        found = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute) and node.attr == 'publish'
        }
        expected = {
            'publishing.py': {'publisher.publish'},
            'controller.py': {'self._telemetry.publish'},
        }
        assert found == expected.get(path.name, set()), path


def test_files_of_users_are_read_in_one_place() -> None:
    """Only there nothing is waited for, and nothing is read that is too large or no file."""
    found = {str(path.relative_to(PACKAGE)) for path in sources('.') if opens_files(path)}
    assert found == set(OPENS)


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, timeout=300
    )
    return set(done.stdout.split())


def test_acting_loads_numpy_alone(policy_file: Path) -> None:
    loaded = loaded_by(
        'from proxy_snn_control.policy import load_policy\n'
        f'policy = load_policy({str(policy_file)!r})\n'
        'policy.act([0.1] * 9)\n'
        'assert policy.compiled'
    )
    assert 'numpy' in loaded
    assert not loaded & {*HEAVY, 'rclpy', 'yaml', 'safetensors', 'numba', 'llvmlite'}


def test_what_decides_loads_no_ros_and_nothing_heavy() -> None:
    """Message classes are looked up by name, when a robot file asks for them."""
    modules = sorted(path.stem for path in (PACKAGE / 'control').glob('*.py'))
    code = '\n'.join(f'import proxy_snn_control.control.{name}' for name in modules)
    loaded = loaded_by(code.replace('.__init__', ''))
    assert not loaded & {*HEAVY, 'rclpy', 'std_msgs', 'sensor_msgs', 'builtin_interfaces'}


@pytest.mark.parametrize(('node', 'may_not'), [('controller', HEAVY), ('sim', {'torch'})])
def test_nodes_load_no_more_than_they_need(node: str, may_not: set[str]) -> None:
    pytest.importorskip('rclpy')
    loaded = loaded_by(f'import proxy_snn_control.nodes.{node}')
    assert 'rclpy' in loaded
    assert not loaded & may_not
