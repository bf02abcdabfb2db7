# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What is released: wheel, sdist, metadata, the community files, licences, and the changelog."""

import email
import os
from pathlib import Path
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import xml.etree.ElementTree as ElementTree
import zipfile

import proxy_snn_control
import pytest
import yaml

ROOT = Path(__file__).parents[1]
VERSION = proxy_snn_control.__version__
SPDX = (
    'SPDX-FileCopyrightText: 2026 proxy_snn_control developers',
    'SPDX-License-Identifier: Apache-2.0',
)
CODE = ('*.py', '*.c', '*.h', '*.ld', '*.sh', '*.sbatch', '*.Dockerfile', 'resource/bin/*')


def tracked(*patterns: str) -> list[Path]:
    command = ['git', '-C', str(ROOT), 'ls-files', '--cached', '--others', '--exclude-standard']
    done = subprocess.run([*command, *patterns], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip('needs the repository')
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp('release')
    source = folder / 'source'
    for path in tracked():
        target = source / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    dist = folder / 'dist'
    code = 'import sys; from setuptools import build_meta as b; print(b.build_sdist(sys.argv[1]))'
    command = [sys.executable, '-c', code, str(dist)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (sdist,) = dist.glob('*.tar.gz')
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / 'unpacked', filter='data')
    (unpacked,) = (folder / 'unpacked').iterdir()
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', 'wheel', '--no-deps']
    command += ['--no-build-isolation', '--quiet', '--wheel-dir', str(dist), str(unpacked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return dist


def test_the_metadata_of_the_wheel(built: Path) -> None:
    (wheel,) = built.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (about,) = [name for name in names if name.endswith('.dist-info/METADATA')]
        metadata = email.message_from_bytes(archive.read(about))
    assert metadata['Version'] == VERSION
    assert metadata['Description-Content-Type'] == 'text/markdown'
    assert '# proxy_snn_control' in str(metadata.get_payload())
    assert '](docs/' not in str(metadata.get_payload()), 'an index has no such files'
    assert len(metadata.get_all('Classifier')) > 5
    assert {url.split(',')[0] for url in metadata.get_all('Project-URL')} >= {
        'Source',
        'Changelog',
    }
    assert {'ros', 'train', 'view', 'bags'} <= set(metadata.get_all('Provides-Extra'))
    for wanted in ('config/fast.yaml', 'config/robots/quadruped.yaml', 'launch/view.launch.py'):
        assert any(name.endswith(f'share/proxy_snn_control/{wanted}') for name in names), wanted
    assert sum(name.endswith('.safetensors') for name in names) >= 3


def test_configurations_and_policies_by_name_after_pip_install(
    built: Path, tmp_path: Path
) -> None:
    """Out of the wheel, in a prefix of its own, with the libraries of this one."""
    (wheel,) = built.glob('*.whl')
    prefix = tmp_path / 'prefix'
    venv.create(prefix, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path('purelib', vars={'base': str(prefix)}))
    # As files, not as a .pth, so that the editable install of this environment stays out.
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', 'install', '--quiet']
    command += ['--no-deps', '--no-index', '--ignore-installed', '--prefix', str(prefix)]
    done = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    paths = os.pathsep.join([str(site), sysconfig.get_path('purelib')])
    environment = {**os.environ, 'PYTHONPATH': paths, 'AMENT_PREFIX_PATH': ''}
    for arguments, reported in (
        (['inspect', 'inverted_double_pendulum'], 'lif neurons, T = 5'),
        (['train', '--config', 'fast', '--env', 'Nothing-v0', '--out', 'run'], 'Nothing-v0'),
        (['train', '--config', 'nothing', '--out', 'run'], 'config file nothing: no such file'),
    ):
        done = subprocess.run(
            [prefix / 'bin/proxy-snn', *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=environment,
            timeout=300,
        )
        assert reported in done.stdout + done.stderr, done.stderr
        assert 'Traceback' not in done.stderr


def head(path: Path) -> tuple[str, ...]:
    """Return the first two lines of a file's comments, without what marks them as such."""
    lines = path.read_text().splitlines()
    begin = 1 if lines[0].startswith('#!') else 0
    return tuple(line.strip('#/* ') for line in lines[begin:][:2])


def test_every_file_of_code_names_its_licence() -> None:
    files = tracked(*CODE)
    assert len(files) > 200
    without = [str(path.relative_to(ROOT)) for path in files if head(path) != SPDX]
    assert not without, 'expected the two SPDX lines at the top'


def test_package_xml() -> None:
    root = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert root.get('format') == '3'
    assert root.findtext('version') == VERSION
    urls = {url.get('type'): url.text for url in root.findall('url')}
    assert urls.keys() >= {'repository', 'bugtracker'}
    assert f"URL = '{urls['repository']}'" in (ROOT / 'setup.py').read_text()
    assert f'repository-code: {urls["repository"]}\n' in (ROOT / 'CITATION.cff').read_text()
    order = [child.tag for child in root]
    # The order that the schema of format 3 asks for.
    asked = ['name', 'version', 'description', 'maintainer', 'license', 'url', 'exec_depend']
    assert [tag for i, tag in enumerate(order) if tag not in order[:i]][: len(asked)] == asked
    names = [child.text for child in root.findall('exec_depend')]
    assert len(names) == len(set(names))


def test_the_changelog_is_as_rep_132_has_it() -> None:
    lines = (ROOT / 'CHANGELOG.rst').read_text().splitlines()
    title = 'Changelog for package proxy_snn_control'
    assert lines[:3] == ['^' * len(title), title, '^' * len(title)]
    heads = [i for i, line in enumerate(lines) if re.fullmatch(r'-+', line)]
    versions = [re.fullmatch(r'(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)', lines[i - 1]) for i in heads]
    assert all(versions)
    assert next(version[1] for version in versions if version) == VERSION
    assert all(len(lines[i]) == len(lines[i - 1]) for i in heads)
    for line in lines[3:]:
        assert not line or line[0] in '*- 0123456789'


def test_community_files() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert (citation['cff-version'], citation['version']) == ('1.2.0', VERSION)
    assert {'message', 'title', 'authors'} <= citation.keys()
    for name in ('CONTRIBUTING', 'SECURITY', 'CODE_OF_CONDUCT', 'QUALITY_DECLARATION'):
        assert (ROOT / f'{name}.md').read_text().startswith('# ')
    workflow = yaml.safe_load((ROOT / '.github' / 'workflows' / 'ros.yaml').read_text())
    matrix = workflow['jobs']['colcon']['strategy']['matrix']
    assert matrix['distribution'] == ['humble', 'jazzy', 'kilted']


def test_what_the_dockerfiles_copy_and_start_is_there() -> None:
    for path in (ROOT / 'docker').glob('*.Dockerfile'):
        text = path.read_text()
        assert 'FROM ros:${DISTRIBUTION}-ros-' in text
        for extra in re.findall(r'/source\[([a-z,]+)\]', text):
            setup = (ROOT / 'setup.py').read_text()
            assert all(f"'{name}'" in setup for name in extra.split(','))
