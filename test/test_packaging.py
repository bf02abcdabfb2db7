# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What pip installs: found where `ros2 run` and launch look, and runnable from there."""

import os
from pathlib import Path
import re
import subprocess
import sys
import sysconfig
import venv

import pytest

ROOT = Path(__file__).parents[1]
NODES = ('controller', 'guard', 'sim', 'train', 'neuromorphic', 'view', 'record')
PARTS = ('setup.py', 'setup.cfg', 'README.md', 'package.xml', 'resource', 'launch', 'config')


@pytest.fixture(scope='module')
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prefix with the package installed by pip, and this environment's libraries."""
    if not (ROOT / 'setup.py').exists():
        pytest.skip('needs the source tree')
    folder = tmp_path_factory.mktemp('install')
    source = folder / 'source'
    source.mkdir()
    for part in (*PARTS, 'proxy_snn_control'):
        subprocess.run(['cp', '-r', str(ROOT / part), str(source)], check=True)
    prefix = folder / 'prefix'
    venv.create(prefix, with_pip=False, symlinks=True)
    # Dependencies come from the environment of the tests: this is about our own files.
    site = sysconfig.get_path('purelib', vars={'base': str(prefix)})
    Path(site, 'borrowed.pth').write_text(sysconfig.get_path('purelib') + '\n')
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', 'install', '--no-deps']
    command += ['--no-build-isolation']
    command += ['--prefix', str(prefix), '--ignore-installed', '--quiet', str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return prefix


def run_installed(prefix: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run with this installation before all others, a sourced workspace's too."""
    site = sysconfig.get_path('purelib', vars={'base': str(prefix)})
    path = os.pathsep.join(filter(None, [site, os.environ.get('PYTHONPATH')]))
    environment = {**os.environ, 'PYTHONPATH': path, 'AMENT_PREFIX_PATH': str(prefix)}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        timeout=300,
        env=environment,
    )


def test_files_are_where_ros_looks(prefix: Path) -> None:
    share = prefix / 'share'
    assert (share / 'ament_index/resource_index/packages/proxy_snn_control').is_file()
    assert (share / 'proxy_snn_control/package.xml').is_file()
    for kind in ('config', 'launch'):
        expected = {p.name for p in (ROOT / kind).iterdir() if p.is_file()}
        assert expected <= {p.name for p in (share / 'proxy_snn_control' / kind).iterdir()}
    for node in NODES:
        assert os.access(prefix / 'lib/proxy_snn_control' / node, os.X_OK)
    assert os.access(prefix / 'bin/proxy-snn', os.X_OK)


@pytest.mark.parametrize('node', ['controller', 'sim'])
def test_installed_nodes_run(prefix: Path, tmp_path: Path, node: str) -> None:
    pytest.importorskip('rclpy')
    arguments = {'controller': ['-p', 'autostart:=true'], 'sim': ['-p', 'env:=Nothing-v0']}[node]
    command = [str(prefix / 'lib/proxy_snn_control' / node), '--ros-args', *arguments]
    for name in ('runpy', 'numpy', 'yaml', 'rclpy', 'proxy_snn_control'):
        (tmp_path / f'{name}.py').write_text(f"raise SystemExit('{name} of the current folder')")
    done = run_installed(prefix, tmp_path, *command)
    expected = {'controller': 'parameter policy is empty', 'sim': "'Nothing-v0' is not registered"}
    assert done.returncode == 1
    assert expected[node] in done.stdout + done.stderr
    assert 'Traceback' not in done.stderr


def test_the_installed_command_finds_its_files(prefix: Path, tmp_path: Path) -> None:
    code = "from proxy_snn_control.share import share_file; print(share_file('config/demo.yaml'))"
    done = run_installed(prefix, tmp_path, str(prefix / 'bin/python3'), '-c', code)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == prefix / 'share/proxy_snn_control/config/demo.yaml'


def test_versions_agree() -> None:
    import proxy_snn_control

    version = proxy_snn_control.__version__
    assert f"version='{version}'" in (ROOT / 'setup.py').read_text()
    assert f'<version>{version}</version>' in (ROOT / 'package.xml').read_text()
    assert f'\n{version} (' in (ROOT / 'CHANGELOG.rst').read_text()


def test_the_simulator_brings_what_its_tasks_import() -> None:
    """Gymnasium's MuJoCo tasks import packages that gymnasium alone does not install."""
    gymnasium = pytest.importorskip('gymnasium')
    folder = Path(gymnasium.__file__).parent / 'envs' / 'mujoco'
    imported = {
        name.split('.')[0]
        for path in folder.glob('*.py')
        for name in re.findall(r'(?m)^(?:import|from) (\w[\w.]*)', path.read_text())
    }
    (found,) = re.findall(r'(?m)^SIM = \[(.+)\]$', (ROOT / 'setup.py').read_text())
    brought = {*re.findall(r"'([\w-]+)'", found), 'numpy', 'glfw'}  # glfw is mujoco's
    assert imported - sys.stdlib_module_names <= brought


def test_no_address_of_a_package_host_is_written_down() -> None:
    text = (ROOT / 'constraints.txt').read_text() + (ROOT / 'Makefile').read_text()
    for sign in ('://', '--index', '--find-links', '--extra'):
        assert sign not in text


def test_what_is_not_installed_is_skipped_and_reported(tmp_path: Path) -> None:
    """A file whose imports fail otherwise, or for what is only half there, is an error."""
    files = {
        'no_torch': 'import proxy_snn_control.spiking.actor',
        'no_ros': 'from std_msgs.msg import Bool',
        'unknown': 'import nonsense',
        'installed': 'import matplotlib.nonsense',
    }
    for name, content in files.items():
        (tmp_path / f'test_{name}.py').write_text(f'{content}\n\n\ndef test_it():\n    pass\n')
    found = collect_without(tmp_path, '.', 'torch', 'rclpy', 'std_msgs')
    assert "SKIPPED [1] test_no_torch.py: could not import 'torch'" in found
    assert "SKIPPED [1] test_no_ros.py: could not import 'std_msgs'" in found
    assert 'ERROR test_unknown.py' in found
    assert 'ERROR test_installed.py' in found
    assert '2 skipped, 2 errors' in found
    assert 'ERROR test_no_ros.py' in collect_without(tmp_path, 'test_no_ros.py', 'std_msgs')


def collect_without(folder: Path, file: str, *hidden: str) -> str:
    """Return what pytest reports of tests where these modules are not."""
    code = f'import sys; sys.modules.update(dict.fromkeys({hidden})); import pytest; '
    code += "pytest.main(['-q', '-ra', '-p', 'conftest', '-p', 'no:cacheprovider', sys.argv[1]])"
    path = {'PYTHONPATH': os.path.dirname(__file__)}
    return subprocess.run(
        [sys.executable, '-c', code, file],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        timeout=300,
        env={**os.environ, **path},
    ).stdout
