# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What arm.sh measures: python arm.py FOLDER COUNT POLICY ... [--table F.md].

Observations are drawn as training saw them, and noise. Here and on the emulated processor each
action is recorded with a checksum of all spikes, by the compiled pass and by NumPy alone; the C is
compiled for ARM and run too. `arm.py --record` is what runs there. A record that is in FOLDER,
of the same policy, observations and sources, is used again: what was stopped goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path
import subprocess
import sys
import zlib

import numpy as np

HERE = Path(__file__).resolve().parent
# Where it is emulated nothing is installed: the package is the one beside this folder.
sys.path.insert(0, str(HERE.parent))

from proxy_snn_control.policy import Policy, read_policy  # noqa: E402

C_PROGRAM = """
#include <stdio.h>
#include "policy.h"
static policy_state state;
int main(void)
{
    static float observation[POLICY_OBSERVATIONS], action[POLICY_ACTIONS];
    policy_init(&state);
    while (fread(observation, sizeof observation, 1, stdin)) {
        policy_act(&state, observation, action);
        fwrite(action, sizeof action, 1, stdout);
        fwrite(state.trains, sizeof(policy_train), POLICY_NEURONS, stdout);
    }
    return 0;
}
"""
Record = tuple[np.ndarray, np.ndarray]
# Ways of acting: whether compiled, and what they are made of.
WAYS = {
    'NumPy': (False, ('runtime.py', 'neurons.py')),
    'compiled': (True, ('event.py', 'native.py', 'neurons.py')),
}


def record(policy: Policy, observations: np.ndarray) -> Record:
    """Actions [count, actions] and checksums of all spikes [count]."""
    actions, sums = [], []
    for observation in observations:
        actions.append(policy.act(observation))
        spikes = np.concatenate([layer.ravel() for layer in policy.spikes]).astype(np.uint8)
        sums.append(zlib.crc32(spikes.tobytes()))
    return np.array(actions), np.array(sums)


def record_to(out: Path, paths: list[Path], observations: Path) -> None:
    """Record all policies, by both ways of acting, into a folder; what is there already stays."""
    out.mkdir(exist_ok=True)
    with np.load(observations) as given:
        for way, (compiled, sources) in WAYS.items():
            for path in paths:
                kept = out / piece(path, way, given[path.stem], sources)
                if kept.exists():
                    continue
                policy = Policy(*read_policy(path), compiled=compiled)
                if policy.compiled != compiled:
                    raise SystemExit('the compiled pass is not to be had here')
                actions, sums = record(policy, given[path.stem])
                whole = kept.with_suffix('.part.npz')
                np.savez(whole, actions=actions, sums=sums)
                whole.rename(kept)
                print(path.stem, way, file=sys.stderr, flush=True)


def recorded(folder: Path, path: Path, way: str, observations: np.ndarray) -> Record:
    """Return what `record_to` kept."""
    with np.load(folder / piece(path, way, observations, WAYS[way][1])) as found:
        return found['actions'], found['sums']


def piece(path: Path, way: str, observations: np.ndarray, sources: tuple[str, ...]) -> str:
    """Return the name of a record: another one if policy, observations or what acts is another."""
    key = hashlib.sha256(path.read_bytes() + observations.tobytes())
    for source in sources:
        key.update((HERE.parent / 'proxy_snn_control' / 'policy' / source).read_bytes())
    return f'{path.stem}-{way}-{key.hexdigest()[:16]}.npz'


def by_c(path: Path, folder: Path, observations: np.ndarray) -> Record:
    """Return the exported C, compiled for 64-bit ARM and emulated."""
    from proxy_snn_control.policy.c_export import export_c

    file = read_policy(path)
    export_c(file, folder / 'c')
    (folder / 'c' / 'main.c').write_text(C_PROGRAM)
    sources = [folder / 'c' / name for name in ('main.c', 'policy.c')]
    flags = ['-std=c99', '-Wall', '-Wextra', '-Werror', '-pedantic', '-O2', '-static']
    program = folder / 'c' / 'main'
    command = ['aarch64-linux-gnu-gcc', *flags, '-o', program, *sources, '-lm']
    subprocess.run(command, check=True)
    output = subprocess.run(
        ['qemu-aarch64-static', program],
        input=observations.tobytes(),
        capture_output=True,
        check=True,
    ).stdout
    spec = file.spec
    train = np.min_scalar_type(2**spec.time_steps - 1)
    kind = np.dtype(
        [('action', '<f4', (spec.action_size,)), ('trains', train, (sum(spec.layer_sizes),))]
    )
    answers = np.frombuffer(output, kind)
    ends = np.cumsum(spec.layer_sizes)[:-1]
    sums = []
    for trains in answers['trains']:
        spikes = [
            layer >> step & 1
            for layer in np.split(trains, ends)
            for step in range(spec.time_steps)
        ]
        sums.append(zlib.crc32(np.concatenate(spikes).astype(np.uint8).tobytes()))
    return answers['action'], np.array(sums)


def drawn(path: Path, count: int) -> np.ndarray:
    """Observations, float32 [count, observations]: as training saw them, and a quarter noise."""
    from proxy_snn_control.policy.energy import typical_observations

    policy, rng = Policy(*read_policy(path)), np.random.default_rng(0)
    typical = np.tile(typical_observations(policy), (count // 1000 + 1, 1))[:count]
    typical = typical * rng.normal(1, 0.02, typical.shape)
    noise = rng.normal(0, 1, typical.shape) * 10 ** rng.uniform(-1, 1, (count, 1))
    return np.where(rng.random((count, 1)) < 0.25, noise, typical).astype(np.float32)


def main() -> int:
    """Record here, record there, compare, print; 1 if a compiled spike differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('count', type=int)
    parser.add_argument('policies', type=Path, nargs='+')
    parser.add_argument('--table', type=Path)
    options = parser.parse_args()
    folder, count = options.folder.resolve(), options.count
    paths = [path.resolve() for path in options.policies]
    given = {path.stem: drawn(path, count) for path in paths}
    np.savez(folder / 'observations.npz', **given)
    record_to(folder / 'here', paths, folder / 'observations.npz')
    # A program of its own, for the runtime starts its compiler by the name of the interpreter.
    interpreter = folder / 'python'
    root = folder / 'root'
    interpreter.write_text(
        f'#!/bin/sh\nexec qemu-aarch64-static -L "{root}" "{root}/usr/bin/python3.11" "$@"\n'
    )
    interpreter.chmod(0o755)
    environment = {
        'PATH': '/usr/bin:/bin',
        'PYTHONPATH': str(folder / 'site'),
        'XDG_CACHE_HOME': str(folder / 'cache'),
        'INTERPRETER': str(interpreter),
    }
    command = [interpreter, HERE / 'arm.py', '--record', folder / 'there']
    subprocess.run([*command, folder / 'observations.npz', *paths], check=True, env=environment)
    lines = [
        '| policy | by | observations | with other spikes than here | actions differ by at most |',
        '|---|---|---|---|---|',
    ]
    wrong = 0
    for path in paths:
        there = {way: recorded(folder / 'there', path, way, given[path.stem]) for way in WAYS}
        there['C'] = by_c(path, folder, given[path.stem])
        for way, (actions, sums) in there.items():
            base = 'NumPy' if way == 'NumPy' else 'compiled'
            actions_here, sums_here = recorded(folder / 'here', path, base, given[path.stem])
            same = sums == sums_here
            apart = abs(actions - actions_here)[same].max()
            wrong += int((~same).sum()) * (way != 'NumPy')
            lines.append(f'| {path.stem} | {way} | {count} | {(~same).sum()} | {apart:.1e} |')
    print('\n'.join(lines))
    if options.table:
        title = '# On 64-bit ARM, emulated'
        command = f'`benchmarks/arm.sh FOLDER {count} benchmarks/policies/*.safetensors`'
        about = (
            "Debian's arm64 Python 3.11 with the aarch64 wheels of NumPy and Numba under\n"
            'qemu-aarch64-static, beside this computer (x86-64). Actions are compared where all '
            'spikes agree.\n'
            'NumPy alone adds in the order of its matrix product, which is another on another '
            'processor.'
        )
        page = [title, '', command, '', about, '', *lines]
        options.table.write_text('\n'.join(page) + '\n')
    return int(wrong > 0)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--record']:
        sys.executable = os.environ['INTERPRETER']
        out, observed, *policies = map(Path, sys.argv[2:])
        record_to(out, policies, observed)
        sys.exit(0)
    sys.exit(main())
