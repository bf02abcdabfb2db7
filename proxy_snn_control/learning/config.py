# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Settings of a training run: one dataclass, read from YAML, checked field by field."""

from __future__ import annotations

from collections.abc import Collection, Sequence
import dataclasses
from dataclasses import dataclass, field
import difflib
import json
import math
import os
from pathlib import Path
import re
import shlex
from typing import Any

from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import write_bytes
from proxy_snn_control.policy.plugins import CRITICS, load, loaded, NEURONS, TARGETS
from proxy_snn_control.yaml_file import read_yaml
import yaml

# Beside the settings, config.yaml holds under this name what the run ran on.
RECORD = 'recorded'
# Between the first evaluation episodes of runs of neighbouring seeds.
EPISODES_APART = 1000
# Layers and learning rate of the proxy that the paper uses for each neuron; on
# InvertedDoublePendulum CLIF's is as wide as LIF's. A neuron that is not here gets LIF's.
PROXIES: dict[str, tuple[tuple[int, ...], float]] = {
    'lif': ((512, 512), 1e-3),
    'clif': ((800, 600), 3e-3),
    'dn': ((512, 512), 3e-3),
}


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of a training run; the defaults are the paper's (config/train.yaml explains).

    Raises:
        UserError: a value is of the wrong kind or out of its range; names the setting.
    """

    env: str = 'HalfCheetah-v4'
    paper_physics: bool = False
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    normalise_observations: bool = False
    history: int = 1
    previous_action: bool = False
    neuron: str = 'lif'
    target: str = 'proxy'
    critic: str = 'dense'
    plugins: tuple[str, ...] = ()
    seed: int = 0
    device: str = 'auto'
    threads: int = 0
    precision: str = 'auto'

    steps: int = 1_000_000
    random_steps: int = 25_000
    eval_every: int = 5_000
    eval_episodes: int = 10
    stop_at_return: float | None = None
    on_collapse: str = 'warn'
    checkpoint_every: int = 25_000
    num_envs: int = 1

    hidden: tuple[int, ...] = (256, 256)
    time_steps: int = 5
    neuron_constants: dict[str, float] = field(default_factory=dict)
    surrogate: str = 'rectangle'
    surrogate_window: float = 0.5
    surrogate_tail: float = 0.25
    actor_norm: str = 'none'
    spike_cost: float = 0.0
    encoder_population: int = 10
    encoder_threshold: float = 0.999
    encoder_span: tuple[float, ...] = (-1.0, 1.0)
    encoder_sigma: float = 0.05**0.5
    decoder_population: int = 10

    proxy_hidden: tuple[int, ...] | None = None
    proxy_learning_rate: float | None = None
    proxy_updates: int = 3

    critic_hidden: tuple[int, ...] = (256, 256)
    critic_norm: str = 'none'
    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    batch_size: int = 256
    replay_size: int = 1_000_000
    discount: float = 0.99
    tau: float = 0.005
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    policy_delay: int = 2

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            object.__setattr__(self, each.name, _convert(each, getattr(self, each.name)))
        for registry in (NEURONS, TARGETS, CRITICS):
            if (name := getattr(self, registry.kind)) not in registry:
                lacks = [p for p in self.plugins if p not in loaded()]
                hint = f'; plugin {lacks[0]!r} is not loaded: --plugin {lacks[0]}' if lacks else ''
                raise UserError(
                    f'setting {registry.kind} is {name!r}, expected one of '
                    f'{", ".join(registry)}{hint}'
                )
        one_of('device', self.device, ('auto', 'cpu', 'cuda'))
        one_of('precision', self.precision, ('auto', 'float32', 'tf32', 'bfloat16'))
        one_of('surrogate', self.surrogate, ('rectangle', 'tailed'))
        one_of('actor_norm', self.actor_norm, ('none', 'care_bn'))
        one_of('critic_norm', self.critic_norm, ('none', 'layer'))
        if self.spike_cost and not NEURONS[self.neuron].state:
            raise UserError(
                f'setting spike_cost is {self.spike_cost}, expected 0 for {self.neuron} neurons, '
                'which do not spike'
            )
        one_of('on_collapse', self.on_collapse, ('warn', 'stop', 'restart'))
        self._fill_in()
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not low <= number <= high:
                    raise UserError(f'setting {name} is {value}, expected {low} to {high}')
        if len(self.encoder_span) != 2 or not self.encoder_span[0] < self.encoder_span[1]:
            raise UserError(f'setting encoder_span is {self.encoder_span}, expected [low, high]')
        for name in ('steps', 'random_steps', 'eval_every', 'checkpoint_every'):
            if getattr(self, name) % self.num_envs:
                raise UserError(
                    f'setting {name} is {getattr(self, name)}, expected a multiple of num_envs, '
                    f'{self.num_envs}'
                )
        for name, value in self.neuron_constants.items():
            low, high = NEURONS[self.neuron].ranges[name]
            if not low <= value <= high:
                raise UserError(
                    f'setting neuron_constants: {name} is {value}, expected {low} to {high}'
                )

    def _fill_in(self) -> None:
        """Fill in what is left open with the paper's values for this neuron and task."""
        proxy_hidden, proxy_learning_rate = PROXIES.get(self.neuron, PROXIES['lif'])
        if self.neuron == 'clif' and self.env.startswith('InvertedDoublePendulum'):
            proxy_hidden = PROXIES['lif'][0]
        if self.proxy_hidden is None:
            object.__setattr__(self, 'proxy_hidden', proxy_hidden)
        if self.proxy_learning_rate is None:
            object.__setattr__(self, 'proxy_learning_rate', proxy_learning_rate)
        constants = NEURONS[self.neuron].constants
        for name in self.neuron_constants:
            if name not in constants:
                known = ', '.join(constants) or 'none'
                raise UserError(
                    f'setting neuron_constants has {name!r}; those of {self.neuron}: {known}'
                )
        object.__setattr__(self, 'neuron_constants', {**constants, **self.neuron_constants})

    @property
    def evaluation_seed(self) -> int:
        """Seed of the first evaluation episode, which no other run's evaluations have.

        So it is for neighbouring seeds up to `EPISODES_APART` episodes.
        """
        return (self.seed + 1) * EPISODES_APART

    def input_size(self, observations: int, actions: int) -> int:
        """Numbers that the networks read in a task of so many observations and actions."""
        return self.history * observations + self.previous_action * actions

    @property
    def total_steps(self) -> int:
        """Environment steps of the whole run, the random ones among them."""
        return self.random_steps + self.steps


RESUMABLE = ('steps', 'device', 'on_collapse')  # what may change when a run is resumed
# What may differ between the members of a population; the rest must be equal.
OWN = (
    'env',
    'env_kwargs',
    'seed',
    'paper_physics',
    'surrogate',
    'surrogate_tail',
    'spike_cost',
    'proxy_learning_rate',
    'actor_learning_rate',
    'critic_learning_rate',
    'discount',
    'tau',
    'exploration_noise',
    'target_noise',
    'target_noise_clip',
)
_SIZE = (1, 2**16)
_RATE = (1e-12, 1.0)
_RANGES: dict[str, tuple[float, float]] = {
    'seed': (0, 2**32 - 1),
    'threads': (0, 1024),
    'steps': (0, 10**9),
    'random_steps': (1, 10**9),
    'eval_every': (1, 10**9),
    'eval_episodes': (1, 10**6),
    'checkpoint_every': (1, 10**9),
    'num_envs': (1, 1024),
    'history': (1, 1000),
    'hidden': _SIZE,
    'time_steps': (1, 1000),
    'surrogate_window': (1e-6, 1e6),
    'surrogate_tail': (0.0, 1.0),
    'spike_cost': (0.0, 1e6),
    'encoder_population': (2, 1000),
    'encoder_threshold': (1e-6, 1e6),
    'encoder_span': (-1e6, 1e6),
    'encoder_sigma': (1e-6, 1e6),
    'decoder_population': (1, 1000),
    'proxy_hidden': _SIZE,
    'proxy_learning_rate': _RATE,
    'proxy_updates': (1, 1000),
    'critic_hidden': _SIZE,
    'actor_learning_rate': _RATE,
    'critic_learning_rate': _RATE,
    'batch_size': _SIZE,
    'replay_size': (1, 10**9),
    'discount': (0.0, 1.0),
    'tau': (0.0, 1.0),
    'exploration_noise': (0.0, 10.0),
    'target_noise': (0.0, 10.0),
    'target_noise_clip': (0.0, 10.0),
    'policy_delay': (1, 1000),
}


def load_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read settings from a YAML file, checking names only; TrainConfig(**settings) checks values.

    What a run recorded beside its settings is left out: see `load_record`.

    Raises:
        UserError: no such file, no YAML, or a setting that does not exist.
    """
    settings = _read(path)
    settings.pop(RECORD, None)
    for name in settings:
        check_name(f'config file {path}', name)
    return settings


def load_plugins(settings: dict[str, Any]) -> None:
    """Import the plugins that settings name, before anything that they register is looked up.

    Raises:
        UserError: the setting is no list of names, or a plugin cannot be loaded.
    """
    names = settings.get('plugins') or []
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f'setting plugins is {names!r:.60}, expected a list of modules')
    load(names)


def load_record(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return what a run recorded in its config.yaml: versions and hardware, from which step on.

    Raises:
        UserError: the file cannot be read, or what it recorded is no list.
    """
    record = _read(path).get(RECORD, [])
    if not isinstance(record, list) or not all(isinstance(each, dict) for each in record):
        raise UserError(f'config file {path}: {RECORD} is {record!r:.60}, expected a list')
    return record


def check_name(where: str, name: Any) -> None:
    """Raise a UserError unless there is a setting of this name."""
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise UserError(f'{where}: setting {name!r} does not exist{hint}')


def set_values(settings: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply texts such as "tau=0.01" or "neuron_constants.threshold=0.4" over settings.

    Raises:
        UserError: a text is no assignment, or there is no such setting.
    """
    settings = dict(settings)
    for text in assignments:
        name, equals, value = text.partition('=')
        name, _, entry = name.strip().partition('.')
        if not equals or not name:
            raise UserError(f'--set {text}: expected NAME=VALUE')
        check_name(f'--set {text}', name)
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f'--set {text}: {value!r} is no value of YAML') from None
        if not entry:
            settings[name] = parsed
            continue
        before = settings.get(name) or {}
        if not isinstance(before, dict):
            raise UserError(f'--set {text}: setting {name} has no entries')
        settings[name] = {**before, entry: parsed}
    return settings


def configs_of(settings: dict[str, Any]) -> list[TrainConfig]:
    """Return the settings of every member: of one, or where `seed` is a list of one for each seed.

    Raises:
        UserError: a value is of the wrong kind or out of its range, or a seed occurs twice.
    """
    seeds = settings.get('seed', 0)
    if not isinstance(seeds, (list, tuple)):
        return [TrainConfig(**settings)]
    if not seeds:
        raise UserError('setting seed is an empty list, expected a seed or more')
    configs = [TrainConfig(**{**settings, 'seed': seed}) for seed in seeds]
    numbers = [config.seed for config in configs]
    for seed in numbers:
        if numbers.count(seed) > 1:
            raise UserError(f'setting seed is {list(seeds)}: {seed} is given twice')
    return configs


def check_alike(configs: Sequence[TrainConfig]) -> None:
    """Raise a UserError that names a setting in which these cannot be one population."""
    first = dataclasses.asdict(configs[0])
    for config in configs[1:]:
        for name, value in dataclasses.asdict(config).items():
            if name not in OWN and value != first[name]:
                raise UserError(
                    f'setting {name} is {first[name]} and {value} in one population, expected to '
                    'be equal'
                )


def shared_settings(config: TrainConfig) -> tuple[tuple[str, str], ...]:
    """Return the settings in which members of a population must agree, to compare them by."""
    return tuple((k, repr(v)) for k, v in dataclasses.asdict(config).items() if k not in OWN)


def resumed_config(run: Path, given: dict[str, Any]) -> TrainConfig:
    """Return the settings of a run to go on with; only its length and hardware can be changed.

    Args:
        run: the run's folder.
        given: the settings of this call.

    Raises:
        UserError: the folder holds no run, or another setting is to be changed.
    """
    settings = load_config(run / 'config.yaml')
    for name, value in given.items():
        if name not in RESUMABLE and not _same(name, value, settings.get(name)):
            raise UserError(
                f'setting {name} is {value!r}, but the run in {run} has {settings.get(name)!r}; '
                f'to resume, only {", ".join(RESUMABLE)} can be changed'
            )
    changed = {name: given[name] for name in RESUMABLE if name in given}
    return TrainConfig(**{**settings, **changed})


def _same(name: str, given: Any, recorded: Any) -> bool:
    """Whether a setting is what a run recorded, which is what the setting resolved to."""
    if name == 'env' and isinstance(recorded, str) and isinstance(given, str):
        return recorded == given or re.fullmatch(re.escape(given) + r'-v\d+', recorded) is not None
    return bool(given == recorded or (name == 'precision' and given == 'auto'))


def save_config(
    path: str | os.PathLike[str], config: TrainConfig, record: Sequence[dict[str, Any]] = ()
) -> None:
    """Write every setting to a YAML file that `load_config` reads back.

    Args:
        path: the file.
        config: the settings.
        record: what `load_record` is to give back.
    """
    settings = plain(config)
    if record:
        settings[RECORD] = list(record)
    write_bytes(path, yaml.safe_dump(settings, sort_keys=False).encode())


def plain(config: TrainConfig) -> dict[str, Any]:
    """Every setting as YAML and JSON have it: lists, no tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(config).items()
    }


def fixed_settings(config: TrainConfig) -> dict[str, Any]:
    """All settings but those that a resumed run may change."""
    return {name: value for name, value in plain(config).items() if name not in RESUMABLE}


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    settings = read_yaml('config file', path)
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"config file {path}: expected lines of 'setting: value'")
    return settings


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raise a UserError that names the setting and what it may be, unless it is that."""
    if value not in allowed:
        raise UserError(f'setting {name} is {value!r}, expected one of {", ".join(allowed)}')


def _convert(field: dataclasses.Field[Any], value: Any) -> Any:
    """Check a value against its field's type; YAML reads 1e-3 as text and 1e6 as neither."""
    kind = str(field.type)
    if kind.endswith('| None'):
        if value is None:
            return None
        kind = kind.removesuffix('| None').strip()
    if kind == 'dict[str, Any]':
        return plain_values(f'setting {field.name}', value)
    if kind.startswith('dict'):
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise UserError(f"setting {field.name} is {value!r}, expected lines of 'name: number'")
        return {name: _number(f'{field.name}: {name}', item, True) for name, item in value.items()}
    if kind == 'tuple[str, ...]':
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise UserError(f'setting {field.name} is {value!r}, expected a list of names')
        return tuple(value)
    if kind.startswith('tuple'):
        if not isinstance(value, (list, tuple)):
            raise UserError(f'setting {field.name} is {value!r}, expected a list of numbers')
        return tuple(_number(field.name, item, 'float' in kind) for item in value)
    if kind == 'bool':
        if not isinstance(value, bool):
            raise UserError(f'setting {field.name} is {value!r:.60}, expected true or false')
        return value
    if kind == 'str':
        if not isinstance(value, str):
            raise UserError(f'setting {field.name} is {value!r}, expected text')
        return value
    return _number(field.name, value, kind == 'float')


def named_values(name: str, text: str) -> dict[str, Any]:
    """Names with values out of a text such as "far=2 on=true"; quotes keep spaces together.

    Raises:
        UserError: it is something else.
    """
    try:
        pairs = [word.partition('=') for word in shlex.split(text)]
        if all(key and equals for key, equals, _ in pairs):
            return plain_values(name, {key: yaml.safe_load(value) for key, _, value in pairs})
    except (ValueError, yaml.YAMLError):
        pass
    raise UserError(f'{name} is {text!r:.60}, expected NAME=VALUE NAME=VALUE ...')


def plain_values(name: str, value: Any) -> dict[str, Any]:
    """Names with values that YAML and JSON both hold, of the setting called `name`.

    Raises:
        UserError: it has others.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UserError(f"{name} is {value!r:.60}, expected lines of 'name: value'")
    value = {key: _with_numbers(item) for key, item in value.items()}
    try:
        plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        plain = {}
    if plain != value or not json.dumps(value, ensure_ascii=False).isprintable():
        raise UserError(
            f'{name} is {value!r:.60}, expected finite numbers, printable text, true, '
            'false, null, lists and names with such'
        )
    return plain


def _with_numbers(value: Any) -> Any:
    """Return what YAML took for text and is a number, such as 1e-3, as a number."""
    if isinstance(value, str) and re.fullmatch(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+', value):
        return float(value)
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    return value


def _number(name: str, value: Any, fractional: bool) -> int | float:
    expected = 'a number' if fractional else 'a whole number'
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if not math.isfinite(number) or not (fractional or number.is_integer()):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        shown = repr(value)[:60]
        raise UserError(f'setting {name} is {shown}, expected {expected}') from None
    return number if fractional else int(number)
