# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The command line as a person meets it: real processes, exit statuses, one-line errors."""

from ctypes.util import find_library
import json
import os
from pathlib import Path
import subprocess
import sys

from conftest import random_policy, TASK
import numpy as np
from proxy_snn_control.policy import load_policy, UserError, write_policy
import pytest


def run(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'proxy_snn_control.cli', *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        check=False,
        env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[1]), **environment},
    )


@pytest.fixture
def long_names(tmp_path: Path) -> Path:
    path = tmp_path / 'named.safetensors'
    names = tuple(f'joint{i}' for i in range(9))
    write_policy(path, *random_policy(observation_names=names, action_names=('motor',)))
    return path


def test_evaluate_is_repeatable(policy_file: Path) -> None:
    pytest.importorskip('gymnasium')
    first = run('evaluate', policy_file, '--episodes', 3, '--seed', 5, '--json')
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert len(report['returns']) == len(report['lengths']) == 3
    assert report['env'] == TASK
    assert report['nanojoules_per_action'] == pytest.approx(
        report['synaptic_operations_per_action'] * 77e-6
    )
    assert report['synaptic_operations_per_action'] > 0
    assert json.loads(run(*first.args[3:]).stdout) == report
    one = run('evaluate', policy_file, '--episodes', 1, '--seed', 7, '--json')
    assert json.loads(one.stdout)['returns'] == report['returns'][2:], (
        'episode 2 alone, seed 5 + 2'
    )
    text = run('evaluate', policy_file, '--episodes', 3, '--seed', 5).stdout
    assert f'mean {report["mean"]:.2f}' in text


def test_inspect(long_names: Path) -> None:
    shown = run('inspect', long_names)
    assert shown.returncode == 0, shown.stderr
    for part in ('joint3', 'motor', 'control period: 0.05 s', '90 -> 32 -> 24 -> 10', TASK):
        assert part in shown.stdout
    report = json.loads(run('inspect', long_names, '--json').stdout)
    assert report['observation_names'][8] == 'joint8'
    assert report['possible_synaptic_operations'] == 5 * (90 * 32 + 32 * 24 + 24 * 10)
    assert len(report['observation_quantiles']) == 3


def test_inspect_counts_energy(policy_file: Path, tmp_path: Path) -> None:
    report = json.loads(run('inspect', policy_file, '--json').stdout)
    rates, operations = report['firing_rates'], report['synaptic_operations_per_action']
    assert len(rates) == 4
    assert all(0 < rate < 1 for rate in rates)
    spikes = [5 * rate * size for rate, size in zip(rates, (90, 32, 24, 10), strict=True)]
    assert report['spikes_per_action'] == pytest.approx(sum(spikes))
    assert operations == pytest.approx(spikes[0] * 32 + spikes[1] * 24 + spikes[2] * 10)
    assert report['nanojoules_per_action'] == pytest.approx(operations * 77e-6)
    assert report['equivalent_multiply_accumulates'] == 9 * 32 + 32 * 24 + 24
    assert report['equivalent_nanojoules'] == pytest.approx(1080 * 3.97e-3)
    counts = report['neurobench']
    assert counts['effective_acs'] == pytest.approx(operations)  # no weight of it is 0
    assert counts['dense'] == report['possible_synaptic_operations'] + 10
    costs = ('--joules-per-synaptic-operation', 1e-12, '--joules-per-multiply-accumulate', 2e-12)
    other = json.loads(run('inspect', policy_file, '--json', *costs).stdout)
    assert other['nanojoules_per_action'] == pytest.approx(operations * 1e-3)
    assert other['equivalent_nanojoules'] == pytest.approx(1080 * 2e-3)
    text = run('inspect', policy_file).stdout
    assert ', '.join(f'{rate:.0%}' for rate in rates) in text
    assert f'{operations:.0f} synaptic operations' in text
    assert f'{report["nanojoules_per_action"]:.2f} nJ' in text
    assert 'an ordinary network of this width: 1080 multiply-accumulates, 4.29 nJ' in text
    assert f'effective ACs {operations:.0f}, of {counts["dense"]} dense' in text
    assert 'memory traffic, static power' in text
    for value in ('-1', 'nan', '1e3'):
        refused = run('inspect', policy_file, '--joules-per-synaptic-operation', value)
        assert refused.returncode == 1
        assert f'--joules-per-synaptic-operation is {float(value)}' in refused.stderr


def test_train_plot_evaluate(tmp_path: Path) -> None:
    pytest.importorskip('torch')
    config = tmp_path / 'c.yaml'
    config.write_text(
        f'env: {TASK}\nrandom_steps: 40\neval_every: 40\neval_episodes: 1\n'
        'hidden: [8]\nproxy_hidden: [8]\ncritic_hidden: [8]\nbatch_size: 8\n'
    )
    out, png = tmp_path / 'run', tmp_path / 'curve.png'
    train = ('train', '--config', config, '--steps', 50, '--seed', 3, '--out', out)
    trained = run(*train)
    assert trained.returncode == 0, trained.stderr
    assert 'evaluation' in trained.stdout
    provenance = load_policy(out / 'policy.safetensors').spec.provenance
    assert provenance['seed'] == 3
    assert load_policy(out / 'policy_last.safetensors').spec.provenance['step'] == 90
    again = run(*train)
    assert again.returncode == 1
    assert 'not an empty folder' in again.stderr
    other = run('train', '--resume', '--seed', 4, '--out', out)
    assert other.returncode == 1
    assert 'setting seed is 4, but the run' in other.stderr
    more = run('train', '--resume', '--steps', 70, '--out', out)
    assert more.returncode == 0, more.stderr
    assert 'steps: 70' in (out / 'config.yaml').read_text()
    assert load_policy(out / 'policy_last.safetensors').spec.provenance['step'] == 110
    plotted = run('plot', out, '--out', png)
    assert plotted.returncode == 0, plotted.stderr
    for target, reported in (('.', 'is a folder'), (png / 'x.png', 'Not a directory')):
        refused = run('plot', out, '--out', target)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1), refused.stderr
        assert reported in refused.stderr
    assert png.read_bytes().startswith(b'\x89PNG')
    evaluated = run('evaluate', out / 'policy.safetensors', '--episodes', 1)
    assert evaluated.returncode == 0, evaluated.stderr

    raster = tmp_path / 'spikes.png'
    drawn = run('plot', out, '--spikes', '--out', raster)
    assert drawn.returncode == 0, drawn.stderr
    assert raster.read_bytes().startswith(b'\x89PNG')
    assert raster.read_bytes() != png.read_bytes()
    twice = run('plot', out, out, '--spikes', '--out', raster)
    assert twice.returncode == 1
    assert '--spikes draws one run, but 2 are given' in twice.stderr
    write_policy(out / 'policy.safetensors', *random_policy(3, 2))
    foreign = run('plot', out, '--spikes', '--out', raster)
    assert foreign.returncode == 1
    assert f'policy file {out / "policy.safetensors"} is for 3 and 2' in foreign.stderr
    assert f'task {TASK!r} has ' in foreign.stderr


@pytest.mark.parametrize(
    ('arguments', 'reported'),
    [
        (('evaluate', 'missing'), 'policy file missing: no such file'),
        (('evaluate', 'README.md'), 'is no safetensors file'),
        (('inspect', '/'), 'policy file /policy.safetensors: no such file'),
        (('evaluate', 'POLICY', '--env', 'Nothing-v1'), "task 'Nothing-v1' is not registered"),
        (('evaluate', 'POLICY', '--env', 'CartPole-v1'), 'action space Discrete, expected a Box'),
        (('evaluate', 'POLICY', '--env', 'Hopper-v5'), '11 observations and 3 actions'),
        (('evaluate', 'POLICY', '--episodes', '0'), '--episodes is 0'),
        (('evaluate', 'POLICY', '--seed', '-1'), '--seed is -1'),
        (('train', '--env', 'Nothing-v1', '--out', 'RUN'), "'Nothing-v1' is not registered"),
        (('train', '--env', 'CartPole-v1', '--out', 'RUN'), 'expected a Box'),
        (('train', '--neuron', 'izh', '--out', 'RUN'), "setting neuron is 'izh'"),
        (('train', '--steps', '-5', '--out', 'RUN'), 'setting steps is -5'),
        (
            ('train', '--config', 'none.yaml', '--out', 'RUN'),
            'config file none.yaml: no such file',
        ),
        (('train', '--resume', '--out', 'RUN'), 'config.yaml'),
        (('train', '--env', TASK, '--out', 'README.md'), 'is not an empty folder'),
        (('evaluate', 'POLICY', '--env', 'a:b:c'), "task 'a:b:c' cannot be made"),
        (('evaluate', 'POLICY', '--env', ''), "task '' cannot be made"),
        (('evaluate', 'IMPORTS'), 'names no usable task'),
        (('export', 'POLICY', '--format', 'onnx', '--out', 'POLICY'), 'the policy itself'),
        (('plot', '.', '--out', 'x.png'), 'progress.csv'),
        (('plot', 'RUN', '--out', 'x.png'), 'RUN: No such file or directory'),
        (
            ('plot', '.', '--out', 'x.jpg'),
            "x.jpg: its suffix is '.jpg', expected one of .png, .pdf",
        ),
        (('report', '.', '--out', 'REPORT'), 'holds no run'),
    ],
)
def test_a_mistake_gets_one_sentence(
    tmp_path: Path, policy_file: Path, arguments: tuple[str, ...], reported: str
) -> None:
    pytest.importorskip('torch')
    (tmp_path / 'README.md').write_text('not a policy, but long enough to have a header\n' * 9)
    imports = tmp_path / 'imports.safetensors'
    write_policy(imports, *random_policy(provenance={'env': 'this:X-v0'}))
    named = {'POLICY': str(policy_file), 'IMPORTS': str(imports)}
    given = [named.get(argument, argument) for argument in arguments]
    done = run(*given, cwd=tmp_path)
    assert done.returncode == 1
    assert reported in done.stderr
    assert done.stderr.startswith('proxy-snn: ')
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stdout == ''
    assert not (tmp_path / 'RUN').exists()


@pytest.mark.parametrize(
    'arguments',
    [
        (),
        ('fly',),
        ('train',),
        ('evaluate',),
        ('plot', 'x'),
        ('train', '--out', ''),
        ('train', '--config', '', '--out', 'RUN'),
        ('evaluate', ''),
        ('plot', '', '--out', 'x.png'),
        ('demo', '--out', ''),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert 'usage:' in done.stderr


def test_another_encoding_than_utf_8(policy_file: Path) -> None:
    pytest.importorskip('gymnasium')
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'evaluate', str(policy_file)]
    done = subprocess.run(
        [*command, '--episodes', '1'],
        env={**os.environ, 'PYTHONIOENCODING': 'ascii'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert r' \xb1 0.00' in done.stdout


def test_help_explains_every_option() -> None:
    text = run('train', '--help').stdout
    for option in ('--env', '--neuron', '--target', '--steps', '--seed', '--out', '--resume'):
        assert option in text


def test_an_ordinary_policy_is_counted_in_multiply_accumulates(tmp_path: Path) -> None:
    pytest.importorskip('gymnasium')
    path = tmp_path / 'relu.safetensors'
    write_policy(path, *random_policy(neuron='relu'))
    report = json.loads(run('evaluate', path, '--episodes', 1, '--json').stdout)
    assert report['spikes_per_action'] == report['synaptic_operations_per_action'] == 0
    assert report['nanojoules_per_action'] == pytest.approx((9 * 32 + 32 * 24 + 24) * 3.97e-3)
    assert 'multiply-accumulates' in run('evaluate', path, '--episodes', 1).stdout
    assert 'relu neurons, layers 9 -> 32 -> 24 -> 1' in run('inspect', path).stdout


@pytest.mark.parametrize('ending', ['mp4', 'gif'])
def test_video(policy_file: Path, tmp_path: Path, ending: str) -> None:
    """A film of the whole episode; where the machine cannot draw, a sentence that names it."""
    imageio = pytest.importorskip('imageio.v2')
    film = tmp_path / f'film.{ending}'
    done = run('evaluate', policy_file, '--episodes', 1, '--json', '--video', film)
    if done.returncode:
        assert 'cannot be drawn on this machine' in done.stderr
        assert 'Traceback' not in done.stderr
        assert not film.exists()
        return
    (length,) = json.loads(done.stdout)['lengths']
    frames = imageio.mimread(film, memtest=False)
    # Frames that look the same may be joined in a GIF.
    assert len(frames) == length + 1 or (ending == 'gif' and 1 < len(frames) <= length + 1)
    assert any((frame != frames[0]).any() for frame in frames), 'something moves'


@pytest.mark.parametrize('rate', [5, 30, 67, 125])
def test_a_gif_shows_its_frames_at_their_times(tmp_path: Path, rate: float) -> None:
    """Few colours, one of them on a third of all frames; players show no more than 50 a second."""
    video = pytest.importorskip('proxy_snn_control.learning.video')
    image = pytest.importorskip('PIL.Image')
    frames = np.full((24, 40, 60, 3), 255, np.uint8)
    for i, frame in enumerate(frames):
        begin, end = 2 * i, 2 * i + 9
        frame[5:15, begin:end] = (200, 30, 30)
        frame[20:30, 40:50] = (0, 0, 255) if i % 3 else (0, 90, 0)
    with video._writer(tmp_path / 'film.gif', '.gif', frames[0], rate) as append:
        for frame in frames:
            append(frame)
    film = image.open(tmp_path / 'film.gif')
    shown = frames[:: -(-rate // 50)]
    assert film.n_frames == len(shown)
    begins = 0
    for i, frame in enumerate(shown):
        film.seek(i)
        np.testing.assert_array_equal(np.asarray(film.convert('RGB')), frame)
        assert begins == pytest.approx(1000 * i * -(-rate // 50) / rate, abs=5)
        assert film.info['duration'] >= 20
        begins += film.info['duration']


def test_a_video_through_another_camera_and_of_another_size(
    policy_file: Path, tmp_path: Path
) -> None:
    imageio = pytest.importorskip('imageio.v2')
    film = tmp_path / 'film.gif'
    command = ['evaluate', policy_file, '--episodes', 1, '--video', film]
    done = run(*command, '--size', '96x62')
    if done.returncode:
        assert 'cannot be drawn on this machine' in done.stderr
        return
    assert imageio.mimread(film, memtest=False)[0].shape[:2] == (62, 96)
    refused = run(*command, '--camera', 'behind')
    assert refused.returncode == 1
    assert refused.stderr.startswith("proxy-snn: --camera is 'behind', expected a camera of task")


@pytest.mark.parametrize(
    ('arguments', 'status', 'reported'),
    [
        (('--size', '64x64'), 1, '--camera and --size go with --video alone'),
        (('--size', '64'), 2, "is '64', expected WIDTHxHEIGHT, such as 640x480"),
    ],
)
def test_what_a_video_cannot_be(
    policy_file: Path, arguments: tuple, status: int, reported: str
) -> None:
    pytest.importorskip('gymnasium')
    done = run('evaluate', policy_file, *arguments)
    assert done.returncode == status
    assert reported in done.stderr


def test_graphics_that_are_not_installed_are_named(policy_file: Path) -> None:
    pytest.importorskip('mujoco')
    done = run('evaluate', policy_file, '--episodes', 1, MUJOCO_GL='osmesa')
    if find_library('OSMesa'):
        assert done.returncode == 0, done.stderr
        return
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'proxy-snn: task {TASK!r} cannot be made: MuJoCo cannot be loaded')
    assert 'the library OSMesa is not installed' in line
    assert "MUJOCO_GL is 'osmesa', expected egl, osmesa or glfw" in line


def test_a_runs_folder_stands_for_its_best_policy(policy_file: Path, tmp_path: Path) -> None:
    pytest.importorskip('gymnasium')
    for name in ('run', 'seeds/seed-0', 'seeds/seed-4'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'policy.safetensors').write_bytes(policy_file.read_bytes())
    arguments = ('--episodes', 1, '--json')
    of_run = run('evaluate', tmp_path / 'run', *arguments)
    assert of_run.stdout == run('evaluate', policy_file, *arguments).stdout
    assert 'transitions of training: not known' in run('inspect', tmp_path / 'run').stdout
    several = run('evaluate', tmp_path / 'seeds')
    assert several.returncode == 2
    assert f'holds 2 runs, expected one, such as {tmp_path / "seeds" / "seed-0"}' in several.stderr
    (tmp_path / 'empty').mkdir()
    empty = run('inspect', tmp_path / 'empty')
    assert (empty.returncode, len(empty.stderr.splitlines())) == (1, 1)
    assert f'{tmp_path / "empty" / "policy.safetensors"}: ' in empty.stderr


def test_a_video_of_another_kind_is_refused_at_once(policy_file: Path) -> None:
    pytest.importorskip('gymnasium')
    done = run('evaluate', policy_file, '--video', 'film.avi')
    assert done.returncode == 1
    assert "video file film.avi: ends in '.avi', expected .mp4 or .gif" in done.stderr


@pytest.mark.parametrize('ending', ['mp4', 'gif'])
def test_a_video_that_cannot_be_written_is_named(
    policy_file: Path, tmp_path: Path, ending: str
) -> None:
    pytest.importorskip('imageio.v2')
    film = tmp_path / 'none' / f'film.{ending}'
    done = run('evaluate', policy_file, '--episodes', 1, '--video', film)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'cannot be drawn' in line or f'{film}: cannot be written: No such file' in line


@pytest.mark.parametrize(
    ('drawing', 'reported'),
    [
        (None, 'draws NoneType of shape'),
        (np.zeros((8, 8), np.uint8), r'draws uint8 of shape \(8, 8\), expected uint8 \[height, '),
        (np.zeros((8, 8, 3)), 'draws float64 of shape'),
        (NotImplementedError(), r"'Canvas-v0' cannot be drawn \(NotImplementedError\)"),
    ],
)
def test_a_task_that_draws_no_image_is_named(drawing: object, reported: str) -> None:
    gymnasium = pytest.importorskip('gymnasium')
    video = pytest.importorskip('proxy_snn_control.learning.video')
    from proxy_snn_control.learning.tasks import TaskSpec

    class Canvas(gymnasium.Env):
        metadata = {'render_modes': ['rgb_array']}  # noqa: RUF012
        observation_space = action_space = gymnasium.spaces.Box(-1, 1, (1,))
        render_mode = 'rgb_array'

        def reset(self, **_):
            return np.zeros(1, np.float32), {}

        def render(self):
            if isinstance(drawing, Exception):
                raise drawing
            return drawing

    gymnasium.register('Canvas-v0', lambda **_: Canvas(), disable_env_checker=True)
    try:
        with pytest.raises(UserError, match=reported):
            video.make_drawable(TaskSpec('Canvas-v0'))
    finally:
        del gymnasium.registry['Canvas-v0']
