# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Give readers of files damaged and hostile ones, for as long as one likes.

    python benchmarks/fuzz.py --seconds 180 --seed 1

Whatever a file holds, `read_policy` raises a PolicyFileError that names it, soon and in little
memory. Half of the files carry a checksum that fits, so that the checks behind it are reached;
those alone may load, and then they must be policies that act, and that the safetensors library
reads too. fuzz_files.py does so with YAML files and the folders of runs. test/test_policy_file.py
and test/test_files.py use the same mutations with a fixed seed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
import copy
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path
import pickle
import random
import re
import resource
import sys
import tempfile
import time
from typing import Any

import numpy as np
from proxy_snn_control.policy import Policy, PolicyFileError, PolicySpec, read_policy, write_policy
from proxy_snn_control.policy.file import MAX_FILE_BYTES, NORMALISATION
from proxy_snn_control.policy.neurons import NEURONS
import safetensors.numpy

CHECKSUM_KEY = b'"sha256":"'
MEMORY_LIMIT, SECONDS_LIMIT = 100e6, 5.0
# Where one of these stands for a value, the text after it goes into the JSON as it is.
RAW = 'RAW:'
ODD: list[Any] = [
    None, True, False, 0, 1, 2, 3, 4, -1, 1.0, 0.5, -0.0, 1e-300, 1e300, float('nan'),
    float('inf'), 2**31, 2**32, 2**53, 2**63, 2**64 - 1, -(2**63), 10**400, '', '1', 'F32', 'F64',
    'BF16', 'F16', 'I32', 'U8', 'f32', 'lif', 'relu', 'dn', '\ud800', '\0', '\x1b[2J', 'é',
    'a' * 5000, [], [0], [-1], [1, 2], [2, 2], [0, 4], [[2, 2]], [None], {}, {'a': 1},
    {'': {'': {}}}, RAW + '1e999', RAW + '-1e999', RAW + '-Infinity', RAW + '-0', RAW + '01',
    RAW + '9' * 5000, RAW + '0.' + '1' * 9000, RAW + '[' * 50_000, RAW + '[' * 900 + ']' * 900,
    RAW + '{"":' * 300 + '1' + '}' * 300, RAW + '{"a":1,"a":1}', RAW + '"\\ud800"', RAW + 'tru',
    RAW + '[0,]', RAW + "'x'", RAW + '/**/1', RAW + '\ufeff1', RAW + '"\t"', RAW + '\\u0031',
]  # fmt: skip
DTYPES = {'F64': 8, 'F16': 2, 'BF16': 2, 'I32': 4, 'I64': 8, 'U8': 1, 'BOOL': 1, 'F8_E4M3': 1}


def small_policy(
    neuron: str = 'lif', seed: int = 0, memory: bool = False
) -> tuple[PolicySpec, dict[str, np.ndarray]]:
    """Return a policy of so few numbers that every byte of its file can be changed in turn.

    With `memory` it normalises, and reads two observations and its previous action.
    """
    kind = NEURONS[neuron]
    population = 2 if kind.state else 1
    spec = PolicySpec(
        observation_size=2,
        action_size=1,
        hidden=(2, 3),
        time_steps=3 if kind.state else 1,
        neuron=neuron,
        neuron_constants=dict(kind.constants),
        encoder_population=population,
        encoder_threshold=0.999,
        decoder_population=population,
        action_low=(-1.0,),
        action_high=(0.5,),
        observation_names=('angle', 'speed'),
        action_names=None,
        control_period=0.05,
        observation_quantile_levels=(0.0, 1.0),
        provenance={'env': 'Pendulum', 'evaluation': {'mean': 1.5, 'returns': [1, 2]}},
        history=2 if memory else 1,
        previous_action=memory,
    )
    rng = np.random.default_rng(seed)
    shapes = spec.tensor_shapes
    if memory:
        shapes |= {name: spec.optional_shapes[name] for name in NORMALISATION}
    return spec, {name: rng.uniform(0.1, 1, shapes[name]).astype(np.float32) for name in shapes}


@dataclass
class Parts:
    """A policy file taken apart: policy header, metadata beside it, tensors' entries, numbers."""

    fields: Any
    metadata: Any
    entries: dict[str, Any]
    data: bytes

    @classmethod
    def of(cls, content: bytes) -> Parts:
        """Take a valid file apart."""
        end = 8 + int.from_bytes(content[:8], 'little')
        entries = json.loads(content[8:end])
        metadata = entries.pop('__metadata__')
        return cls(json.loads(metadata.pop('policy')), metadata, entries, content[end:])

    def text(self) -> bytes:
        """Return the header, whatever was done to it."""
        metadata = self.metadata
        if isinstance(metadata, dict):
            metadata = {'policy': _dump(self.fields), **metadata}
        text = _dump({'__metadata__': metadata, **self.entries}).encode(errors='surrogatepass')
        return text + b' ' * (-len(text) % 8)

    def sealed(self) -> bytes:
        """Return the file, with a checksum that fits."""
        return seal(self.text(), self.data)


def _dump(value: Any) -> str:
    text = json.dumps(value, separators=(',', ':'))
    return re.sub(f'"{RAW}((?:[^"\\\\]|\\\\.)*)"', lambda m: json.loads(f'"{m[1]}"'), text)


def seal(text: bytes, data: bytes) -> bytes:
    """Return the file of this header and these numbers; its checksum fits, if it has one."""
    head, place = len(text).to_bytes(8, 'little'), text.find(CHECKSUM_KEY) + len(CHECKSUM_KEY)
    end = place + 64
    before, after = text[:place], text[end:]
    digest = hashlib.sha256(head + before + b'0' * 64 + after + data).hexdigest().encode()
    return head + (before + digest + after if CHECKSUM_KEY in text else text) + data


@dataclass(frozen=True)
class Mutant:
    """A file to refuse.

    Attributes:
        kind: what was done.
        content: its bytes.
        size: its length where that is not the length of `content`; zeros without disk space.
        sealed: its checksum was made to fit, so it may turn out to be valid.
    """

    kind: str
    content: bytes
    size: int | None = None
    sealed: bool = False


def truncations(content: bytes) -> Iterator[Mutant]:
    """Yield the file cut off at every length."""
    for length in range(len(content)):
        yield Mutant('truncated', content[:length])


def flips(content: bytes) -> Iterator[Mutant]:
    """Every byte changed: lowest bit, highest bit, all bits, replaced by a digit and a quote."""
    for i, byte in enumerate(content):
        for value in {byte ^ 1, byte ^ 128, byte ^ 255, ord('0'), ord('"')} - {byte}:
            changed = bytearray(content)
            changed[i] = value
            yield Mutant('one byte', bytes(changed))


def corruption(content: bytes, rng: random.Random) -> Mutant:
    """Do what disks, networks and other programs do to a file: its checksum stays as it was."""
    i, j = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    junk = rng.randbytes(rng.choice([1, 2, 8, 100]))
    covered = i + len(junk)
    kind = rng.choice(['cut', 'cut out', 'inserted', 'overwritten', 'zeroed', 'repeated', 'bits'])
    changed = {
        'cut': content[:i],
        'cut out': content[:i] + content[j:],
        'inserted': content[:i] + junk + content[i:],
        'overwritten': content[:i] + junk + content[covered:],
        'zeroed': content[:i] + bytes(j - i) + content[j:],
        'repeated': content[:j] + content[i:],
        'bits': b'',
    }[kind]
    if kind == 'bits':
        bits = bytearray(content)
        for _ in range(rng.choice([1, 2, 10])):
            bits[rng.randrange(len(bits))] ^= 1 << rng.randrange(8)
        changed = bytes(bits)
    return Mutant(f'corruption: {kind}', changed)


def unrelated(content: bytes, rng: random.Random) -> Mutant:
    """Return what was never a policy file."""
    length = rng.choice([0, 1, 7, 8, 9, 100, 5000])
    announced = rng.choice([0, 1, 2, 2**18 - 8, 2**18 + 1, 2**32, 2**63, 2**64 - 1])
    head = announced.to_bytes(8, 'little')
    kind, changed = rng.choice(
        [
            ('random bytes', rng.randbytes(length)),
            ('zeros', bytes(length)),
            ('text', b'# README\n' * length),
            ('pickle', pickle.dumps({'policy': list(range(length))})),
            ('length of header', head + content[8:]),
            ('length and blanks', head + b' ' * min(announced, 2**18) + b'{}'),
            ('length and braces', head + b'{"":' * (min(announced, 2**18) // 4)),
            ('empty header', (2).to_bytes(8, 'little') + b'{}' + rng.randbytes(length)),
        ]
    )
    return Mutant(f'unrelated: {kind}', changed)


def sparse(content: bytes, rng: random.Random) -> Mutant:
    """Followed by a hole: of the size that is just allowed, or up to some gigabytes."""
    size = rng.choice([2**20, MAX_FILE_BYTES, MAX_FILE_BYTES + 1, 2**31, 10 * 2**30])
    return Mutant('sparse', content, size - rng.randrange(2))


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    found = [(tree, key) for key in keys]
    for key in keys:
        if isinstance(tree[key], (dict, list)):
            found += _places(tree[key])
    return found


def _change_tree(tree: Any, rng: random.Random) -> None:
    """Replace, remove, add or swap something anywhere in a JSON value."""
    if not (places := _places(tree)):
        return
    container, key = rng.choice(places)
    value, operation = container[key], rng.randrange(8)
    if operation == 0:
        del container[key]
    elif operation == 1:
        other, other_key = rng.choice(places)
        container[key], other[other_key] = copy.deepcopy(other[other_key]), copy.deepcopy(value)
    elif operation == 2 and isinstance(container, dict):
        container[rng.choice(['', 'extra', 'dtype', 'sha256', 'x"sha256', 'policy', '\ud800'])] = (
            value
        )
    elif operation == 3 and isinstance(container, list):
        container.insert(key, copy.deepcopy(value))
    elif operation <= 5 and isinstance(value, (int, float)):
        whole = min(max(value, -(2**53)), 2**53)  # no float is as large as 10**400
        container[key] = rng.choice(
            [value + 1, value - 1, value + 4, -value, value * 2, float(whole)]
        )
    else:
        container[key] = copy.deepcopy(rng.choice(ODD))


def change_fields(parts: Parts, rng: random.Random) -> None:
    """Change the policy header."""
    _change_tree(parts.fields, rng)


def change_metadata(parts: Parts, rng: random.Random) -> None:
    """Change what stands beside the policy header."""
    _change_tree(parts.metadata, rng)


def change_entries(parts: Parts, rng: random.Random) -> None:
    """Change the tensors' entries."""
    _change_tree(parts.entries, rng)


def change_dtype(parts: Parts, rng: random.Random) -> None:
    """Another type, sometimes with as many bytes as it takes: what follows moves along."""
    entry = parts.entries[rng.choice(list(parts.entries))]
    entry['dtype'], size = rng.choice(list(DTYPES.items()))
    if rng.random() < 0.5:
        begin, end = entry['data_offsets']
        resize(parts, entry, (end - begin) * size // 4)


def resize(parts: Parts, entry: dict[str, Any], size: int) -> None:
    """Give a tensor another number of bytes; those behind it move."""
    begin, end = entry['data_offsets']
    parts.data = parts.data[:begin] + bytes(size) + parts.data[end:]
    entry['data_offsets'] = [begin, begin + size]
    for other in parts.entries.values():
        if other is not entry and other['data_offsets'][0] >= end:
            other['data_offsets'] = [n + size - (end - begin) for n in other['data_offsets']]


def change_shape(parts: Parts, rng: random.Random) -> None:
    """Shapes whose product overflows, has the right size by another route, or is nothing."""
    entry = parts.entries[rng.choice(list(parts.entries))]
    shape = entry['shape']
    entry['shape'] = rng.choice(
        [
            [2**62, 4], [2**32, 2**32], [2**63 - 1], [-n for n in shape], shape[::-1], [*shape, 1],
            [1, *shape], [0, *shape], [], shape[1:], [shape], [float(n) for n in shape],
            [str(n) for n in shape], [2**31, *shape], [10**300, *shape], {'0': shape}, '2,2',
        ]
    )  # fmt: skip


def change_offsets(parts: Parts, rng: random.Random) -> None:
    """Gaps, overlaps, ends before beginnings, places outside of the file."""
    first, second = (parts.entries[name] for name in rng.sample(list(parts.entries), 2))
    begin, end = first['data_offsets']
    first['data_offsets'] = rng.choice(
        [
            second['data_offsets'], [begin + 4, end + 4], [begin - 4, end - 4], [begin, end + 4],
            [end, begin], [begin, begin], [begin + 1, end + 1], [-end, -begin], [begin, 2**63],
            [begin + 2**64, end + 2**64], [begin, 2**64 + end], [2**40, 2**40 + end - begin],
            [begin], [begin, end, end], [float(begin), float(end)], [[begin], [end]], [None, None],
            [str(begin), str(end)], [False, end], {'0': begin, '1': end}, begin,
        ]
    )  # fmt: skip
    if rng.random() < 0.3:  # both moved: still the right sizes in all, or the other's numbers
        second['data_offsets'] = [begin, end]


def change_tensors(parts: Parts, rng: random.Random) -> None:
    """Leave one out, add one, rename one; with its numbers, without them, empty."""
    name = rng.choice(list(parts.entries))
    operation = rng.randrange(4)
    if operation == 0:
        resize(parts, parts.entries.pop(name), 0)
    elif operation == 1:
        parts.entries[rng.choice(['extra', 'layers.9.weight', '__metadata', ''])] = {
            'dtype': 'F32',
            'shape': [2],
            'data_offsets': [len(parts.data), len(parts.data) + 8],
        }
        parts.data += bytes(8)
    elif operation == 2:
        parts.entries['empty'] = {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}
    else:
        parts.entries[name.upper()] = parts.entries.pop(name)


def change_numbers(parts: Parts, rng: random.Random) -> None:
    """NaN, infinities, numbers too large, zeros, denormals, the other byte order, random bits."""
    begin, end = parts.entries[rng.choice(list(parts.entries))]['data_offsets']
    numbers = np.frombuffer(parts.data[begin:end], '<f4').copy()
    operation = rng.randrange(4)
    if operation == 0:
        numbers = numbers.byteswap()
    elif operation == 1:
        numbers = np.frombuffer(rng.randbytes(end - begin), '<f4')
    else:
        values = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1.1e6, -1.1e6, 1e-40, 0, -0.0]
        numbers[rng.randrange(len(numbers))] = rng.choice(values)
    parts.data = parts.data[:begin] + numbers.tobytes() + parts.data[end:]


def change_length(parts: Parts, rng: random.Random) -> None:
    """Numbers left over or missing."""
    count = rng.choice([1, 3, 4, 8, 1000])
    parts.data = rng.choice([parts.data + bytes(count), parts.data[:-count], bytes(count)])


STRUCTURED: list[Callable[[Parts, random.Random], None]] = [
    change_fields,
    change_metadata,
    change_entries,
    change_dtype,
    change_shape,
    change_offsets,
    change_tensors,
    change_numbers,
    change_length,
]


def forgery(content: bytes, rng: random.Random) -> Mutant:
    """Something changed on purpose, and the checksum made to fit."""
    parts = Parts.of(content)
    change = rng.choice(STRUCTURED)
    change(parts, rng)
    while rng.random() < 0.3:
        change_fields(parts, rng)
    return Mutant(f'forged: {change.__name__}', parts.sealed(), sealed=True)


def forged_text(content: bytes, rng: random.Random) -> Mutant:
    """Change the header's text anyhow, and make the checksum fit."""
    length = int.from_bytes(content[:8], 'little')
    end = 8 + length
    text, data = content[8:end], content[end:]
    i, j = sorted(rng.randrange(length) for _ in range(2))
    next_to_i = i + 1
    again = b'"sha256":"' + b'0' * 64 + b'",'
    changed = rng.choice(
        [
            text[:i] + text[j:],
            text[:i] + rng.choice([b'"', b'{', b'}', b'[', b',', b':', b'\\', b'0']) + text[i:],
            text[:i] + bytes([rng.randrange(256)]) + text[next_to_i:],
            text[:i] + rng.randbytes(3) + text[i:],
            text[:j] + text[i:],
            b'\xef\xbb\xbf' + text,
            text.decode().encode('utf-16'),
            b' \n' * rng.randrange(100) + text,
            text + b' ' * rng.choice([1, 7, 1000, 2**18]),
            text + b'\0',
            text.replace(b':', b': '),
            text.replace(b'"__metadata__":{', b'"__metadata__":{' + again),
            text.replace(b'"__metadata__"', rng.choice([b'"metadata"', b'"\\u005f_metadata__"'])),
            text.replace(
                b'"sha256"', rng.choice([b'"SHA256"', b'"sha25\\u0036"', b'"x\\"sha256"'])
            ),
            text.replace(b'"F32"', b'"F32","dtype":"F32"', 1),
            text.replace(b'\\"version\\":2', b'\\"version\\":2,\\"version\\":2'),
        ]
    )
    return Mutant('forged: text', seal(changed, data), sealed=True)


def mutants(contents: list[bytes], rng: random.Random, sparse_share: float) -> Iterator[Mutant]:
    """Mutants of these files without end; large ones are slow, `sparse_share` is their share."""
    while True:
        content = rng.choice(contents)
        if rng.random() < sparse_share:
            yield sparse(content, rng)
        kinds = [corruption, corruption, unrelated, forgery, forgery, forged_text]
        mutant = rng.choice(kinds)(content, rng)
        if mutant.content != content:
            yield mutant


class NotRefusedError(Exception):
    """A file that came through, or that raised something else than a PolicyFileError."""


def outcome(mutant: Mutant, path: Path) -> str:
    """Write the mutant to `path` and read it.

    Returns:
        The kind of reason it was refused for, or "valid" for one that may be.

    Raises:
        NotRefusedError: anything else happened.
    """
    # Not by "wb": some file systems write a file to disk when it was emptied and filled again.
    with open(path, 'r+b' if path.exists() else 'wb') as file:
        file.truncate(file.write(mutant.content))
        if mutant.size is not None:
            file.truncate(mutant.size)
    try:
        spec, tensors, _ = read_policy(path)
    except PolicyFileError as error:
        before, _, reason = str(error).partition(f'policy file {path}: ')
        if before or not reason or '\n' in reason or len(reason) > 500:
            raise NotRefusedError(f'{mutant.kind}: bad message {error!r}') from error
        return reason_of(reason)
    except BaseException as error:
        raise NotRefusedError(f'{mutant.kind}: {type(error).__name__}: {error}') from error
    if not mutant.sealed:
        raise NotRefusedError(f'{mutant.kind}: it loads')
    try:
        _must_be_valid(mutant.content, spec, tensors, path)
    except Exception as error:
        raise NotRefusedError(f'{mutant.kind}: it loads, but {error!r}') from error
    return 'valid'


def _must_be_valid(
    content: bytes, spec: PolicySpec, tensors: dict[str, np.ndarray], path: Path
) -> None:
    by_library = safetensors.numpy.load(content)
    if by_library.keys() != tensors.keys():
        raise ValueError('the safetensors library finds other tensors')
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, by_library[name], strict=True)
    # With NumPy: compiling would take more time and memory than all that is measured here.
    action = Policy(spec, tensors, compiled=False).act(np.full(spec.observation_size, 0.5))
    if not ((spec.action_low <= action) & (action <= spec.action_high)).all():
        raise ValueError(f'its action is {action}')
    write_policy(path, spec, tensors)
    if read_policy(path)[0] != spec:
        raise ValueError('it is another one when written and read again')


def reason_of(reason: str) -> str:
    """Return a reason without what it names, to count its kind by."""
    reason = re.sub(r'((?:field|tensor) )\S+( \w+) .*', r'\1...\2 ...', reason)
    reason = re.sub(r'((?:lacks|unknown) (?:the )?\w+) .*', r'\1 ...', reason)
    return re.sub(r'\b\d+\b|\(.*\)|(?<=version ).*;', '...', reason)


def main() -> int:
    """Run, and print what came of it; 1 if a file was not refused as it should."""
    import fuzz_files

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('fuzz_failure'))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    reasons: Counter[str] = Counter()
    slowest = 0.0, ''
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, original = folder / 'policy.safetensors', fuzz_files.make_run(folder)
        contents = []
        for neuron in NEURONS:
            write_policy(path, *small_policy(neuron, memory=neuron == 'clif'))
            contents.append(path.read_bytes())
        source, cases = mutants(contents, rng, sparse_share=1e-3), fuzz_files.run_cases(rng)
        texts = {'config file': fuzz_files.CONFIG, 'robot file': fuzz_files.ROBOT}
        for kind, text in texts.items():
            (folder / kind).write_text(text)
            fuzz_files.yaml_outcome(kind, folder / kind)
        outcome(next(source), path)
        memory, began = _peak_bytes(), time.monotonic()
        while time.monotonic() - began < options.seconds:
            start = time.process_time()  # of this process: others may keep it waiting
            try:
                draw, content = rng.random(), b''
                if draw < 0.003:  # a run's folder takes a hundred times as long as a policy file
                    kind = "a run's folder"
                    reasons[fuzz_files.run_outcome(original, next(cases), rng)] += 1
                    memory = max(memory, _peak_bytes())  # of torch and matplotlib
                elif draw < 0.3:
                    kind = rng.choice(list(texts))
                    content = fuzz_files.hostile_yaml(texts[kind], rng)
                    (folder / kind).write_bytes(content)
                    reasons[fuzz_files.yaml_outcome(kind, folder / kind)] += 1
                else:
                    mutant = next(source)
                    kind, content = mutant.kind, mutant.content
                    reasons[outcome(mutant, path)] += 1
                seconds = time.process_time() - start
                if seconds > SECONDS_LIMIT:
                    raise NotRefusedError(f'{kind}: took {seconds:.1f} s')
                if _peak_bytes() - memory > MEMORY_LIMIT:
                    raise NotRefusedError(f'{kind}: took {_peak_bytes() - memory} bytes')
            except NotRefusedError as error:
                options.out.write_bytes(content)
                print(f'{error}\nits bytes are in {options.out}', file=sys.stderr)
                return 1
            slowest = max(slowest, (seconds, kind))
        ran = time.monotonic() - began
    print(f'ran {ran:.0f} s with seed {options.seed}: {reasons.total()} files and folders')
    for reason, count in reasons.most_common():
        print(f'{count:9} {reason}')
    print(f'slowest: {slowest[0]:.3f} s ({slowest[1]}), its writing and checks included')
    print(f'peak memory: {_peak_bytes() / 1e6:.0f} MB')
    return 0


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == '__main__':
    import fuzz  # fuzz_files.py knows this module by its name

    sys.exit(fuzz.main())
