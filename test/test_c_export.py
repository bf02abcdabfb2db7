# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A policy as C, compiled by this computer's cc and held to the runtime spike for spike."""

from dataclasses import dataclass
import itertools
from pathlib import Path
import shutil
import struct
import subprocess

from conftest import CHEETAH, random_policy
import numpy as np
from proxy_snn_control.neuromorphic.chip import Chip
from proxy_snn_control.neuromorphic.fixed import fixed_layers
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.policy import (
    ObservationError,
    Policy,
    PolicyFile,
    PolicySpec,
    read_policy,
    UserError,
    write_policy,
)
from proxy_snn_control.policy.c_export import c_files, export_c, stimulation_levels
from proxy_snn_control.policy.energy import typical_observations
import pytest
from test_cli import run

STRICT = ['-std=c99', '-Wall', '-Wextra', '-Werror', '-pedantic']
PLAIN = [*STRICT, '-O2', '-DPOLICY_PLAIN']  # without GNU C's vectors, as on a microcontroller
AVX2 = [*STRICT, '-O2', '-DPOLICY_AVX2']  # without what AVX-512 alone has
NARROW = [*STRICT, '-O2', '-DPOLICY_NARROW']  # and with vectors that every x86-64 has
SANITIZED = [*STRICT, '-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all']
EXAMPLE = Path(__file__).parents[1] / 'examples' / 'micro'

# Reads observations, answers each with all there is to know.
PROBE = """
#include <stdio.h>
#include <stdlib.h>
#include "policy.h"
int main(void)
{
    static const int sizes[] = POLICY_LAYER_SIZES;
    policy_state *state = malloc(sizeof *state);
    float *observation = malloc(sizeof(float) * POLICY_OBSERVATIONS);
    float *action = malloc(sizeof(float) * POLICY_ACTIONS);
    policy_init(state);
    while (fread(observation, sizeof(float), POLICY_OBSERVATIONS, stdin) == POLICY_OBSERVATIONS) {
        int32_t status = policy_act(state, observation, action);
        int layer, step, neuron;
        fwrite(&status, 4, 1, stdout);
        fwrite(&state->wrong, 4, 1, stdout);
        fwrite(&state->operations, 4, 1, stdout);
        fwrite(state->counts, 4, POLICY_LAYERS, stdout);
        fwrite(action, 4, POLICY_ACTIONS, stdout);
        for (layer = 0; layer < POLICY_LAYERS; layer++)
            for (step = 0; step < POLICY_TIME_STEPS; step++)
                for (neuron = 0; neuron < sizes[layer]; neuron++)
                    putchar(policy_spike(state, layer, step, neuron));
    }
    free(state), free(observation), free(action);
    return 0;
}
"""


def compiled(
    folder: Path,
    flags: list[str],
    program: str = PROBE,
    *,
    sources: tuple[str | Path, ...] = ('policy.c',),
    math: bool = True,
) -> Path:
    """Compile a program beside policy.c of a folder; skips where there is no compiler."""
    if not shutil.which('cc'):
        pytest.skip('no C compiler: cc is not on the path')
    (folder / 'program.c').write_text(program)
    out = folder / 'program'
    command = ['cc', *flags, f'-I{folder}', '-o', out]
    command += [folder / name for name in ('program.c', *sources)]
    done = subprocess.run(
        [*command, *(['-lm'] if math else [])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


@dataclass
class Answers:
    status: np.ndarray
    wrong: np.ndarray
    operations: np.ndarray
    counts: np.ndarray
    actions: np.ndarray
    spikes: np.ndarray


def answers(program: Path, spec: PolicySpec, observations: np.ndarray) -> Answers:
    done = subprocess.run(
        [program],
        input=observations.astype(np.float32).tobytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    layers, spikes = len(spec.layer_sizes), spec.time_steps * sum(spec.layer_sizes)
    kind = np.dtype(
        [
            ('status', '<i4'),
            ('wrong', '<i4'),
            ('operations', '<u4'),
            ('counts', '<u4', (layers,)),
            ('actions', '<f4', (spec.action_size,)),
            ('spikes', 'u1', (spikes,)),
        ]
    )
    found = np.frombuffer(done.stdout, kind)
    assert len(found) == len(observations)
    return Answers(*(found[name] for name in kind.names))


def observed(policy: Policy, count: int) -> np.ndarray:
    """Observations as training saw them, and some far outside."""
    rng = np.random.default_rng(1)
    size = policy.spec.observation_size
    noise = rng.normal(0, 1, (count // 2, size)) * 10 ** rng.uniform(-2, 2, (count // 2, 1))
    typical = np.tile(typical_observations(policy), (count // 1000 + 1, 1))[: count - len(noise)]
    typical = typical * (1 + 0.05 * rng.normal(size=typical.shape))
    return np.concatenate([typical, noise]).astype(np.float32)


def assert_same(found: Answers, policy: Policy, observations: np.ndarray) -> None:
    """Check for the same spikes, counts, and actions within 1e-6 of the limits' unit."""
    policy.reset()
    for i, observation in enumerate(observations):
        action = policy.act(observation)
        spikes = np.concatenate([layer.ravel() for layer in policy.spikes])
        assert (found.spikes[i] == spikes).all(), f'observation {i}'
        assert found.counts[i].tolist() == policy.spike_counts
        assert found.operations[i] == policy.synaptic_operations
        scale = np.maximum(1, np.abs([policy.spec.action_low, policy.spec.action_high]).max(0))
        assert (abs(found.actions[i] - action) <= 1e-6 * scale).all(), f'observation {i}'
    assert (found.status == 0).all() and (found.wrong == -1).all()


def policy_of(**changes: object) -> PolicyFile:
    """Return a random policy; one that reads several observations normalises them too."""
    spec, tensors = random_policy(**changes)
    if spec.history > 1:
        rng = np.random.default_rng(4)
        for name in ('normalise.mean', 'normalise.scale'):
            tensors[name] = rng.uniform(0.3, 2, spec.observation_size).astype(np.float32)
    return PolicyFile(spec, tensors, '0' * 64)


SHAPES = {
    'two lists of events, and a last block alone': {'hidden': (200, 33), 'actions': 3},
    'events of 16 bits': {'observations': 30, 'hidden': (17,)},
    'one neuron': {'observations': 1, 'hidden': (1,), 'decoder_population': 1},
    'no hidden layer': {'hidden': ()},
    'one step': {'time_steps': 1},
    'an encoder that never fires': {'encoder_threshold': 7.0, 'hidden': (8,)},
    'many steps': {'time_steps': 40, 'hidden': (16,)},
    'the most steps': {'time_steps': 64, 'hidden': (5,), 'encoder_threshold': 0.31},
    'limits': {
        'actions': 3,
        'action_low': (-0.4, 0.5, -3.0),
        'action_high': (0.4, 7.0, -2.5),
        'encoder_threshold': 2.5,
    },
    'history': {'history': 3, 'hidden': (40,)},
    'history and previous action': {
        'observations': 4,
        'history': 2,
        'previous_action': True,
        'actions': 2,
        'action_low': (-0.4, 0.5),
        'action_high': (0.4, 7.0),
    },
    'previous action': {'previous_action': True, 'hidden': (40,)},
}


# Every shape with one neuron and one more way to compile; every way with every neuron.
WAYS = {'plain': PLAIN, 'avx2': AVX2, 'narrow': NARROW}
CASES = list(
    zip(SHAPES, itertools.cycle(['lif', 'clif', 'dn']), itertools.cycle([*WAYS]), strict=False)
)
CASES += [('limits', neuron, way) for neuron, way in (('lif', 'avx2'), ('dn', 'plain'))]
CASES += [('previous action', neuron, way) for neuron, way in (('clif', 'plain'), ('dn', 'avx2'))]
CASES += [('one step', neuron, 'narrow') for neuron in ('lif', 'clif')]


@pytest.mark.parametrize(('shape', 'neuron', 'way'), CASES)
def test_the_same_spikes_whatever_the_shape(
    tmp_path: Path, shape: str, neuron: str, way: str
) -> None:
    file = policy_of(neuron=neuron, **SHAPES[shape])
    policy = Policy(*file)
    math = shape != 'limits'
    report = export_c(file, tmp_path, math_library=math)
    assert (report.error is None) == math
    observations = observed(policy, 400)
    for flags in (SANITIZED, WAYS[way]):
        program = compiled(tmp_path, flags, math=math)
        assert_same(answers(program, file.spec, observations), policy, observations)
    low, high = np.float32(file.spec.action_low), np.float32(file.spec.action_high)
    found = answers(program, file.spec, observations).actions
    assert (low <= found).all() and (found <= high).all()


SHELF = ['lif-HalfCheetah-v4', 'clif-HalfCheetah-v4', 'dn-HalfCheetah-v4', 'lif-Ant-v4']


@pytest.mark.parametrize('name', [*SHELF, 'lif-InvertedDoublePendulum-v5'])
def test_trained_policies_on_ten_thousand_observations(tmp_path: Path, name: str) -> None:
    file = read_policy(CHEETAH / f'{name}.safetensors')
    policy = Policy(*file)
    export_c(file, tmp_path)
    observations = observed(policy, 10_000)
    program = compiled(tmp_path, [*STRICT, '-O2'])
    found = answers(program, file.spec, observations)
    assert_same(found, policy, observations)
    rates = found.spikes.mean()
    assert 0.01 < rates < 0.9, 'spikes that show nothing'


@pytest.mark.parametrize(
    ('neuron', 'flags', 'math'), [('lif', SANITIZED, True), ('clif', PLAIN, False)]
)
def test_int8_fires_as_the_chip_in_fixed_point(
    tmp_path: Path, neuron: str, flags: list[str], math: bool
) -> None:
    file = read_policy(CHEETAH / f'{neuron}-HalfCheetah-v4.safetensors')
    drawn = typical_observations(Policy(*file))[::8]
    layers = fixed_layers(file.spec, file.tensors, drawn)
    chip = ChipPolicy(file.spec, file.tensors, Chip(layers, file.spec.time_steps))
    observations = observed(chip, 300)
    whole = export_c(file, tmp_path / 'whole')
    report = export_c(file, tmp_path / 'int8', layers=layers, math_library=math)
    program = compiled(tmp_path / 'int8', flags, math=math)
    assert_same(answers(program, file.spec, observations), chip, observations)
    assert report.precision == 'int8' and report.tables < 0.3 * whole.tables


def test_int8_adds_more_rows_than_a_sum_of_16_bits_holds(tmp_path: Path) -> None:
    file = policy_of(hidden=(600,))
    file.tensors['layers.0.bias'] += 5  # all fire
    file.tensors['layers.1.weight'][0] = file.tensors['layers.1.weight'].max()
    file.tensors['layers.1.weight'][1] = -file.tensors['layers.1.weight'].max()
    layers = fixed_layers(file.spec, file.tensors, typical_observations(Policy(*file))[::50])
    chip = ChipPolicy(file.spec, file.tensors, Chip(layers, file.spec.time_steps))
    export_c(file, tmp_path, layers=layers)
    observations = observed(chip, 20)
    found = answers(compiled(tmp_path, PLAIN), file.spec, observations)
    assert (found.counts[:, 1] == 600 * file.spec.time_steps).all()
    assert_same(found, chip, observations)


def test_the_encoder_s_floats_decide_nothing_that_doubles_would_not(tmp_path: Path) -> None:
    file = policy_of()
    export_c(file, tmp_path)
    text = """
        #include <stdio.h>
        #include "policy.c"
        int main(void)
        {
            static const double apart[] = {0, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-2};
            int i, j, k, sign, wrong = 0;
            for (j = 0; j < ENCODER_NEURONS; j++)
                for (i = 0; i < BOUNDS; i++)
                    for (k = 0; k < 7; k++)
                        for (sign = 0; sign < 4; sign++) {
                            double far = sqrt(bounds[i] / sharpness[j]) * (sign & 1 ? 1 : -1);
                            double at = centres[j] + far * (1 + (sign & 2 ? 1 : -1) * apart[k]);
                            double z = (at - centres[j]) * (at - centres[j]) * sharpness[j];
                            int level = 0;
                            COUNT_ABOVE(level, z, bounds);
                            wrong += level != level_of(at, j);
                        }
            printf("%d\\n", wrong);
            return 0;
        }
    """
    program = compiled(tmp_path, PLAIN, text, sources=())
    assert subprocess.run([program], capture_output=True, check=True).stdout == b'0\n'


@pytest.mark.filterwarnings('ignore:invalid value')  # NumPy of a NaN that signals
@pytest.mark.parametrize('flags', [SANITIZED, PLAIN], ids=['vectors', 'plain'])
def test_what_is_no_observation_gives_the_last_action(tmp_path: Path, flags: list[str]) -> None:
    changes = {'actions': 2, 'action_low': (0.5, -1.0), 'action_high': (2.0, 1.0)}
    file = policy_of(**changes, previous_action=True)
    policy, spec = Policy(*file), file.spec
    export_c(file, tmp_path)
    rng = np.random.default_rng(3)
    observations = observed(policy, 2000)
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0], np.float32)
    for row in observations[rng.random(2000) < 0.5]:
        row[rng.integers(0, 9, 3)] = rng.choice(odd, 3)
    rows = rng.random(2000) < 0.5
    observations[rows, rng.integers(0, 9, rows.sum())] = rng.choice(odd, rows.sum())
    noise = rng.integers(0, 2**32, (500, 9), dtype=np.uint32).view(np.float32)
    first = np.full((1, 9), np.nan, np.float32)
    observations = np.concatenate([first, observations, noise])
    found = answers(compiled(tmp_path, flags), spec, observations)
    policy.reset()
    last, refused = np.array([0.5, 0.0], np.float32), 0
    for i, observation in enumerate(observations):
        if np.isfinite(observation).all():
            last = policy.act(observation)
            assert (found.status[i], found.wrong[i]) == (0, -1)
        else:
            refused += 1
            assert found.status[i] == 1
            wrong = rf'observation\[{found.wrong[i]}\] '
            with pytest.raises(ObservationError, match=wrong):
                policy.act(observation)
        np.testing.assert_allclose(found.actions[i], last, atol=1e-6)
    assert 300 < refused < len(observations) - 1000


def test_sizes_and_counts_of_a_small_network_by_hand(tmp_path: Path) -> None:
    """2 observations of 3 neurons, layers 6 -> 4 -> 20, 2 actions of 10, T = 2."""
    file = policy_of(
        observations=2, hidden=(4,), actions=2, time_steps=2, encoder_population=3,
        observation_names=('a"b\\??=*/', 'ü'), action_names=('x', 'y'), control_period=0.01,
    )  # fmt: skip
    report = export_c(file, tmp_path)
    assert report.synaptic_operations == 2 * (6 * 4 + 4 * 20) == 208
    assert report.neuron_steps == 2 * (4 + 20) == 48
    # An encoder neuron of threshold 0.999 fires at step 2 from 0.5 on, at step 1 from 1 on: two
    # bounds are searched in a table of three, and there are three trains of spikes.
    encoder = 3 * 8 + 3 * 4 + 3 * 1 + 6 * 4 + 6 * 8  # the bounds in double, and in float
    rows = (6 * 16 + 4 * 32) * 4  # blocks of 16 columns
    biases = (32 + 32) * 4
    decoder = (20 + 2) * 4 + 3 * 4 + 3 * 2 * 4  # weights, biases; rates of 0 to 2 spikes; limits
    assert report.tables == encoder + rows + biases + decoder + 2 * 20
    # Action, input, seen, wrong, operations, counts of three layers; events, 2 steps of at most 6;
    # a byte of spikes for each neuron, 63 more, and one to be a whole number of words.
    assert report.memory == 4 * (2 + 2 + 3 + 3) + 2 * 6 + (30 + 63) + 3
    program = compiled(
        tmp_path,
        PLAIN,
        """
        #include <stdio.h>
        #include "policy.h"
        int main(void)
        {
            static const char *const names[] = POLICY_OBSERVATION_NAMES;
            static const float high[] = POLICY_ACTION_HIGH;
            printf("%s %s %d %d %d %g %g\\n", names[0], names[1], (int)sizeof(policy_state),
                   POLICY_RAM_BYTES, POLICY_FLASH_BYTES, high[1], POLICY_CONTROL_PERIOD);
            return sizeof POLICY_SHA256 != 65;
        }
        """,
    )
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    memory = report.memory
    assert done.stdout == f'a"b\\??=*/ ü {memory} {memory} {report.tables} 1 0.01\n'
    text = (tmp_path / 'policy.h').read_text()
    for line in report.lines():
        assert line.split(':')[0] in text
    sizes = subprocess.run(
        ['nm', '-S', '--defined-only', program], capture_output=True, text=True, check=True
    ).stdout
    rows_of_four = [row.split() for row in sizes.splitlines() if row.count(' ') == 3]
    symbols = {name: int(size, 16) for _, size, _, name in rows_of_four}
    tables = sum(
        symbols[name]
        for name in (
            'bounds',
            'near_bounds',
            'fires',
            'centres',
            'sharpness',
            'weights_0',
            'weights_1',
        )
    )
    assert tables == encoder + rows


@pytest.mark.parametrize(('threshold', 'steps'), [(0.999, 5), (0.31, 64), (1e-6, 3), (7.5, 20)])
def test_the_encoder_changes_where_the_table_does(threshold: float, steps: int) -> None:
    levels, trains = stimulation_levels(threshold, steps)
    assert levels[0] == 0 and (np.diff(levels) > 0).all() and len(levels) == len(trains)
    rng = np.random.default_rng(0)
    edges = np.concatenate([levels, np.nextafter(levels[1:], np.float32(0))])
    many = np.concatenate([edges, rng.uniform(0, 1, 20_000)]).astype(np.float32)
    v, limit = np.zeros_like(many), np.float32(threshold)
    expected = []
    for _ in range(steps):
        v = v + many
        expected.append(v > limit)
        v = v - limit * (v > limit)
    place = np.searchsorted(levels, many, side='right') - 1
    assert (trains[place] == np.array(expected).T).all()
    assert (trains[1:] != trains[:-1]).any(axis=1).all()


def test_tanh_by_table_is_within_the_error_that_is_printed(tmp_path: Path) -> None:
    file = policy_of()
    report = export_c(file, tmp_path, math_library=False)
    assert report.error and report.error < 1e-14
    assert 'math.h>' not in (tmp_path / 'policy.c').read_text()
    text = """
        #include <stdio.h>
        #include "policy.c"
        int main(void)
        {
            double x;
            while (fread(&x, 8, 1, stdin)) {
                x = squash(x);
                fwrite(&x, 8, 1, stdout);
            }
            return 0;
        }
    """
    program = compiled(tmp_path, PLAIN, text, sources=(), math=False)
    rng = np.random.default_rng(0)
    special = [0, 20, -20, 1e30, -1e300]
    x = np.concatenate([rng.uniform(-22, 22, 100_000), rng.normal(0, 0.1, 20_000), special])
    done = subprocess.run([program], input=x.tobytes(), capture_output=True, check=True)
    error = abs(np.frombuffer(done.stdout) - np.tanh(x.astype(np.longdouble)))
    assert error.max() <= report.error


def fletcher(content: bytes) -> bytes:
    low = high = 0
    for byte in content:
        low = (low + byte) % 255
        high = (high + low) % 255
    return bytes([low, high])


def test_the_example_answers_over_a_serial_line(tmp_path: Path) -> None:
    file = policy_of(actions=2)
    policy = Policy(*file)
    export_c(file, tmp_path)
    sources = (EXAMPLE / 'host.c', 'policy.c')
    flags = [*SANITIZED, f'-I{EXAMPLE}']
    program = compiled(tmp_path, flags, (EXAMPLE / 'loop.c').read_text(), sources=sources)
    observations = observed(policy, 50)
    observations[7, 3] = np.nan
    sent, expected, last = b'\x00\x5a noise', [], None
    for i, observation in enumerate(observations):
        content = observation.astype('<f4').tobytes()
        check = fletcher(content)
        if i == 20:
            check = bytes([check[0] ^ 1, check[1]])
        sent += b'\xa5' + content + check
        status = 1 if i == 7 else 2 if i == 20 else 0
        last = policy.act(observation) if status == 0 else last
        expected.append((status, last))
    sent += b'\xa5 cut off'
    done = subprocess.run([program], input=sent, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    frames = list(struct.iter_unpack('<BB2f2s', done.stdout))
    assert len(frames) == len(expected)
    for (begin, status, *action, check), (wanted, wanted_action) in zip(
        frames, expected, strict=True
    ):
        assert (begin, status) == (0x5A, wanted)
        np.testing.assert_allclose(action, wanted_action, atol=1e-6)
        assert check == fletcher(struct.pack('<B2f', status, *action))


def test_export_as_a_user_calls_it(tmp_path: Path, policy_file: Path) -> None:
    out = tmp_path / 'micro'
    done = run('export', policy_file, '--format', 'c', '--out', out)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == str(out)
    for begin in ('flash: ', 'RAM: ', 'operations of an action at most: ', 'cycles of an action'):
        assert any(line.startswith(begin) for line in lines), begin
    assert sorted(path.name for path in out.iterdir()) == ['policy.c', 'policy.h']
    for more in (['--quantise', 'int8', '--no-math'], ['--no-math'], []):
        done = run('export', policy_file, '--format', 'c', '--out', out, *more)
        assert done.returncode == 0, done.stderr
        assert ('int8 weights' in done.stdout) == ('int8' in more)
        assert ('tanh by table' in done.stdout) == ('--no-math' in more)
        compiled(out, [*STRICT, '-O2'], math='--no-math' not in more)
    taken = tmp_path / 'taken'
    taken.write_text('mine')
    refused = [
        (['--format', 'c', '--out', taken], 'the folder cannot be made'),
        (['--format', 'onnx', '--out', taken, '--no-math'], '--no-math go with --format c'),
    ]
    for neuron, more in (('relu', []), ('dn', ['--quantise', 'int8'])):
        path = tmp_path / f'{neuron}.safetensors'
        write_policy(path, *random_policy(neuron=neuron))
        done = run('export', path, '--format', 'c', '--out', tmp_path / 'x', *more)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert neuron in done.stderr and not (tmp_path / 'x').exists()
    for arguments, reported in refused:
        done = run('export', policy_file, *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert reported in done.stderr
    assert taken.read_text() == 'mine'


def test_more_steps_than_bits_are_refused() -> None:
    with pytest.raises(UserError, match='time_steps is 65, expected at most 64'):
        c_files(policy_of(time_steps=65))


def test_a_cortex_m4_holds_a_small_policy(tmp_path: Path) -> None:
    """64-64 on HalfCheetah: under 100 kB of flash and 8 kB of RAM, by the board's own compiler."""
    if not shutil.which('arm-none-eabi-gcc'):
        pytest.skip('no compiler for Cortex-M: arm-none-eabi-gcc is not on the path')
    file = policy_of(observations=17, actions=6, hidden=(64, 64))
    report = export_c(file, tmp_path)
    board = ['-mcpu=cortex-m4', '-mthumb', '-mfloat-abi=hard', '-mfpu=fpv4-sp-d16']
    flags = [*STRICT, *board, '-Os', '-ffunction-sections', '-nostartfiles', '-Wl,--gc-sections']
    sources = [EXAMPLE / 'loop.c', EXAMPLE / 'mps2.c', tmp_path / 'policy.c']
    paths = [f'-I{EXAMPLE}', f'-I{tmp_path}', '-T', EXAMPLE / 'mps2.ld']
    elf = tmp_path / 'program.elf'
    command = ['arm-none-eabi-gcc', *flags, *paths, '-o', elf, *sources, '-lm']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(['arm-none-eabi-size', elf], capture_output=True, text=True, check=True)
    text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
    assert report.tables < text + data < 100_000
    assert report.memory < data + bss < 8000
