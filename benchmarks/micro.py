# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Exported C on a Cortex-M4F: its size by the cross compiler, and its spikes under QEMU.

    apt install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
    python benchmarks/micro.py benchmarks/policies/*.safetensors --table F.md

Every policy is exported with float32 and, where it can be, 8-bit weights, compiled for the
processor, linked with examples/micro's start of the MPS2 board, and run by QEMU on observations as
training saw them and on noise. It is held to the runtime, or in 8 bits to the chip in fixed point,
spike for spike. A small policy (64-64, the observations and actions of HalfCheetah, random
weights) shows what a small board needs, and the same with every neuron firing at every step what
an action takes at most. QEMU counts instructions, not cycles: it has no wait states, and every
instruction takes as long.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
import subprocess
import sys
import tempfile

import numpy as np
from page import finish, heading
from proxy_snn_control.neuromorphic.chip import Chip
from proxy_snn_control.neuromorphic.fixed import fixed_layers
from proxy_snn_control.neuromorphic.host import ChipPolicy
from proxy_snn_control.policy import Policy, PolicyFile, PolicySpec, read_policy
from proxy_snn_control.policy.c_export import export_c
from proxy_snn_control.policy.energy import typical_observations

EXAMPLE = Path(__file__).parents[1] / 'examples' / 'micro'
STRICT = ['-std=c99', '-Wall', '-Wextra', '-Werror', '-pedantic']
BOARD = ['-mcpu=cortex-m4', '-mthumb', '-mfloat-abi=hard', '-mfpu=fpv4-sp-d16', '-nostartfiles']
QEMU = [
    'qemu-system-arm',
    '-M',
    'mps2-an386',
    '-display',
    'none',
    '-monitor',
    'none',
    '-icount',
    'shift=0',
]
TICK = 40  # instructions in a tick of the board's 25 MHz, at a nanosecond each

# Answers an observation with instructions taken, operations, actions and spikes.
PROBE = """
#include "policy.h"
#include "uart.h"
#define TIMER ((volatile uint32_t *)0xE000E010u)
static void put(const void *data, unsigned size)
{
    const uint8_t *byte = data;
    while (size--)
        uart_write(*byte++);
}
int main(void)
{
    static policy_state state;
    static float observation[POLICY_OBSERVATIONS], action[POLICY_ACTIONS];
    policy_init(&state);
    TIMER[1] = 0xFFFFFF;
    TIMER[0] = 5;
    for (;;) {
        uint8_t *byte = (uint8_t *)observation;
        uint32_t began, ticks;
        unsigned i;
        for (i = 0; i < sizeof observation; i++)
            byte[i] = (uint8_t)uart_read();
        began = TIMER[2];
        policy_act(&state, observation, action);
        ticks = (began - TIMER[2]) & 0xFFFFFF;
        put(&ticks, 4);
        put(&state.operations, 4);
        put(action, sizeof action);
        put(state.trains, POLICY_NEURONS * sizeof(policy_train));
    }
}
"""


@dataclass
class Build:
    """A policy compiled for the board: the program, and bytes of flash and RAM."""

    elf: Path
    flash: int
    ram: int


def build(folder: Path, program: Path, flags: Sequence[str], libraries: Sequence[str]) -> Build:
    """Compile policy.c of a folder with a main program and the board's start."""
    elf = folder / f'{program.stem}.elf'
    command = ['arm-none-eabi-gcc', *STRICT, *BOARD, *flags, '-ffunction-sections']
    command += [f'-I{EXAMPLE}', f'-I{folder}', '-Wl,--gc-sections', '-T', str(EXAMPLE / 'mps2.ld')]
    sources = [str(program), str(EXAMPLE / 'mps2.c'), str(folder / 'policy.c')]
    subprocess.run([*command, '-o', str(elf), *sources, *libraries], check=True)
    output = subprocess.run(
        ['arm-none-eabi-size', elf], capture_output=True, text=True, check=True
    ).stdout
    text, data, bss = map(int, output.splitlines()[1].split()[:3])
    return Build(elf, text + data, data + bss)


def emulate(elf: Path, spec: PolicySpec, observations: np.ndarray) -> np.ndarray:
    """Ask the program for every observation; a structured array of its answers."""
    kind = np.dtype(
        [
            ('ticks', '<u4'),
            ('operations', '<u4'),
            ('action', '<f4', (spec.action_size,)),
            ('trains', np.min_scalar_type(2**spec.time_steps - 1), (sum(spec.layer_sizes),)),
        ]
    )
    command = [*QEMU, '-chardev', 'stdio,id=line,signal=off', '-serial', 'chardev:line']
    answers = []
    with subprocess.Popen(
        [*command, '-kernel', str(elf)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        try:
            for observation in observations:
                process.stdin.write(observation.astype('<f4').tobytes())
                process.stdin.flush()
                answers.append(process.stdout.read(kind.itemsize))
        finally:
            process.kill()
    return np.frombuffer(b''.join(answers), kind)


def observed(policy: Policy, count: int) -> np.ndarray:
    """Half as training saw them, half noise of scales from 0.1 to 10."""
    rng = np.random.default_rng(0)
    size = policy.spec.observation_size
    scales = 10 ** rng.uniform(-1, 1, (count // 2, 1))
    noise = rng.normal(0, 1, (count // 2, size)) * scales
    typical = np.tile(typical_observations(policy), (count // 1000 + 1, 1))
    typical = typical * rng.normal(1, 0.02, typical.shape)
    return np.concatenate([typical[: count - len(noise)], noise]).astype(np.float32)


def random_file(firing: bool) -> PolicyFile:
    """Return a 64-64 policy of HalfCheetah's sizes; `firing`: every neuron fires at every step."""
    spec, tensors, _ = read_policy(
        Path(__file__).parent / 'policies' / 'lif-HalfCheetah-v4.safetensors'
    )
    threshold = 1e-6 if firing else spec.encoder_threshold
    spec = PolicySpec(**{**vars(spec), 'hidden': (64, 64), 'encoder_threshold': threshold})
    rng = np.random.default_rng(0)
    for name, shape in spec.tensor_shapes.items():
        if name.startswith('layers.'):
            tensors[name] = rng.uniform(-0.2, 0.2, shape).astype(np.float32)
            if name.endswith('bias') and firing:
                tensors[name][:] = 1000
    if firing:
        tensors['encoder.sigma'] = np.full_like(tensors['encoder.sigma'], 10)
    tensors.pop('transition.whitening', None)
    return PolicyFile(spec, tensors, '0' * 64)


def row(name: str, file: PolicyFile, count: int, folder: Path, *, int8: bool) -> str:
    """Return a row of the table: sizes, what was the same, what an action took."""
    judge = Policy(*file)
    observations, layers = observed(judge, count), None
    if int8:
        layers = fixed_layers(file.spec, file.tensors, typical_observations(judge)[::4])
        judge = ChipPolicy(file.spec, file.tensors, Chip(layers, file.spec.time_steps))
        observations = observations[:: max(1, count // 1000)]
    report = export_c(file, folder, layers=layers)
    example = build(folder, EXAMPLE / 'loop.c', ['-Os'], ['-lm'])
    probe = folder / 'probe.c'
    probe.write_text(PROBE)
    answers = emulate(build(folder, probe, ['-O2'], ['-lm']).elf, file.spec, observations)
    same, worst = 0, 0.0
    for observation, answer in zip(observations, answers, strict=True):
        action = judge.act(observation)
        bits = 2 ** np.arange(file.spec.time_steps)
        trains = np.concatenate([bits @ layer.astype(np.int64) for layer in judge.spikes])
        same += bool((trains == answer['trains']).all())
        worst = max(worst, float(abs(action - answer['action']).max()))
    taken = answers['ticks'].astype(np.int64) * TICK
    return (
        f'| {name} | {report.precision} | {report.tables} | {example.flash} | {report.memory} '
        f'| {example.ram} | {same} of {len(observations)} | {worst:.1e} '
        f'| {np.median(taken) / 1e3:.0f} | {taken.max() / 1e3:.0f} | {report.cycles / 1e3:.0f} |'
    )


def main() -> int:
    """Compile, run, print, and write the page with --table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('policies', type=Path, nargs='+')
    parser.add_argument('--observations', type=int, default=10_000)
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    version = subprocess.run(
        ['arm-none-eabi-gcc', '--version'], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    emulator = subprocess.run(
        [QEMU[0], '--version'], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    lines = [
        *heading('A policy on a Cortex-M4F', 'QEMU and a compiler for ARM'),
        f'{version}; {emulator}, machine mps2-an386.',
        'Flash and RAM are those of the whole examples/micro program with the policy (-Os; RAM',
        'without stack); spikes and instructions are of the policy at -O2. Instructions are',
        "QEMU's count: a real board takes more cycles, by its flash's wait states above all.",
        '`most cycles` is what the export prints.',
        '',
        (
            "| policy | weights | tables, bytes | program's flash | state | program's RAM "
            '| same spikes in | actions differ by | instructions of an action, thousands, median '
            '| largest | most cycles, thousands |'
        ),
        '|---|---|---|---|---|---|---|---|---|---|---|',
    ]
    files = {path.stem: read_policy(path) for path in options.policies}
    files["lif 64-64, HalfCheetah's sizes"] = random_file(firing=False)
    files['the same, all firing always'] = random_file(firing=True)
    with tempfile.TemporaryDirectory() as folder:
        for name, file in files.items():
            for int8 in (False, True):
                if not int8 or (file.spec.neuron in ('lif', 'clif') and 'always' not in name):
                    lines.append(row(name, file, options.observations, Path(folder), int8=int8))
                    print(lines[-1], flush=True)
    finish(lines, options.table)
    return 0


if __name__ == '__main__':
    sys.exit(main())
