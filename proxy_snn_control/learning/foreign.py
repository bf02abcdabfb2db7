# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Ordinary TD3, DDPG and SAC actors of Stable-Baselines3 and CleanRL as policy files.

They are what the package calls `relu` neurons: dense layers with rectified linear units, tanh of
the last one, scaled to the action limits; of SAC the mean action. Nothing of a file is executed:
of a zip the JSON is read and the weights alone, of a torch file what `weights_only` lets through.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import hashlib
import io
import json
from pathlib import Path
import pickle
import re
from typing import Any, NamedTuple
import zipfile

import gymnasium
import numpy as np
from proxy_snn_control.learning.evaluate import check_length
from proxy_snn_control.learning.evaluators import QUANTILE_LEVELS
from proxy_snn_control.learning.tasks import (
    check_fit,
    clip_action,
    describe,
    episode_seed,
    make_environment,
)
from proxy_snn_control.learning.transitions import transition_model
from proxy_snn_control.policy import Policy, PolicySpec, UserError, write_policy
from proxy_snn_control.policy.file import check_spec, MAX_FILE_BYTES
from proxy_snn_control.policy.files import read_file
import torch

EPISODES = 5  # by which observations are known where the task is given
UNKNOWN = 1e30  # the range of observations of which nothing is known
# Critics, targets and optimisers are beside the actor: several times its size.
MAX_BYTES = 16 * MAX_FILE_BYTES


class Actor(NamedTuple):
    """An ordinary actor: weight and bias of each layer in turn, and its action limits."""

    kind: str
    layers: list[tuple[np.ndarray, np.ndarray]]
    low: np.ndarray
    high: np.ndarray


def import_policy(path: Path, out: Path, env: str | None = None) -> PolicySpec:
    """Write the actor in a file of another program as a policy file.

    Args:
        path: a zip of Stable-Baselines3, or a torch file of CleanRL.
        out: the policy file.
        env: the task that it is for: then names, control period and what observations look like,
            from some episodes with this policy, are in the file too.

    Raises:
        UserError: the file is none of these, or its actor is none that a policy file can hold.
    """
    content = read_file('file', path, MAX_BYTES)
    actor = _actor(path, content)
    sizes = [weight.shape[1] for weight, _ in actor.layers] + [actor.layers[-1][0].shape[0]]
    if len(actor.low) != sizes[-1]:
        raise UserError(
            f'file {path}: its actor has {sizes[-1]} outputs, expected {len(actor.low)}, one for '
            'each number of its action space'
        )
    provenance: dict[str, Any] = {
        'imported_from': actor.kind,
        'sha256_of_file': hashlib.sha256(content).hexdigest(),
    }
    spec = PolicySpec.ordinary(
        sizes[0],
        tuple(actor.low.tolist()),
        tuple(actor.high.tolist()),
        hidden=tuple(sizes[1:-1]),
        observation_quantile_levels=QUANTILE_LEVELS,
        provenance=provenance,
    )
    check_spec(path, spec)
    quantiles = np.full((len(QUANTILE_LEVELS), sizes[0]), UNKNOWN, np.float32)
    quantiles *= np.linspace(-1, 1, len(quantiles), dtype=np.float32)[:, None]
    tensors = {'observation.quantiles': quantiles}
    for i, (weight, bias) in enumerate(actor.layers):
        tensors |= {f'layers.{i}.weight': weight, f'layers.{i}.bias': bias}
    if env is not None:
        environment = make_environment(env)
        check_fit(spec, path, environment)
        task = describe(environment)
        spec = dataclasses.replace(
            spec,
            observation_names=task.observation_names,
            action_names=task.action_names,
            control_period=task.control_period,
            provenance={**provenance, 'env': env},
        )
        tensors |= _seen(Policy(spec, tensors), environment)
        environment.close()
    write_policy(out, spec, tensors)
    return spec


def _seen(policy: Policy, environment: gymnasium.Env) -> dict[str, np.ndarray]:
    """Return what observations look like while the policy acts, as training would note it."""
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for episode in range(EPISODES):
        observation, _ = environment.reset(seed=episode_seed(0, episode))
        ended, length = False, 0
        while not ended:
            action = clip_action(environment, policy.act(observation))
            following, _, terminated, truncated, _ = environment.step(action)
            rows.append((np.array(observation), action, np.array(following)))
            observation, length, ended = following, length + 1, terminated or truncated
            if not ended:
                check_length(environment, length)
    parts = [np.asarray(part, np.float32) for part in zip(*rows, strict=True)]
    quantiles = np.quantile(parts[0], QUANTILE_LEVELS, axis=0).astype(np.float32)
    return {'observation.quantiles': quantiles, **transition_model(*parts)}


def _actor(path: Path, content: bytes) -> Actor:
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            if {'data', 'policy.pth'} <= names:
                about = _json(path, _member(path, archive, 'data'))
                weights = _weights(f'{path}: policy.pth', _member(path, archive, 'policy.pth'))
                return _stable_baselines(path, about, weights)
    weights = _weights(str(path), content)
    return _clean_rl(path, weights)


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_BYTES:
        raise UserError(f'file {path}: its {name} is larger than {MAX_BYTES} bytes')
    try:
        with archive.open(name) as file:
            return file.read(MAX_BYTES)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(f'file {path}: its {name} cannot be read: {error}') from None


def _json(path: Path, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f'file {path}: its data is not valid JSON: {error}') from None
    if not isinstance(found, dict):
        raise UserError(f'file {path}: its data is not valid JSON object')
    return found


def _weights(where: str, content: bytes) -> Any:
    try:
        return torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        why = ' '.join(str(error).split())[:200]
        raise UserError(
            f'file {where}: is no torch file of weights alone, and nothing else is loaded: {why}'
        ) from None


# -- Stable-Baselines3


def _stable_baselines(path: Path, about: dict[str, Any], weights: Any) -> Actor:
    state = _state(path, weights)
    if any(name.startswith('actor.features_extractor.') for name in state):
        raise UserError(f'file {path}: its actor reads images or several inputs, expected numbers')
    if any(name.startswith('actor.mu.0.') for name in state):
        kind, names = 'Stable-Baselines3 TD3', _numbered(state, 'actor.mu.')
    elif any(name.startswith('actor.latent_pi.') for name in state):
        kind = 'Stable-Baselines3 SAC'
        names = [*_numbered(state, 'actor.latent_pi.'), 'actor.mu']
    else:
        raise UserError(
            f'file {path}: has no actor of TD3, DDPG or SAC (actor.mu or actor.latent_pi)'
        )
    if about.get('use_sde') or ('actor.mu.bias' not in state and kind.endswith('SAC')):
        raise UserError(f'file {path}: its actor was trained with gSDE, expected one without')
    options = about.get('policy_kwargs') or {}
    unit = str(options.get('activation_fn', 'ReLU')) if isinstance(options, dict) else ''
    if not re.search(r'\bReLU\b', unit):
        raise UserError(f'file {path}: its activation is {unit!r:.80}, expected ReLU')
    space = about.get('action_space')
    limits = [
        _numbers(path, name, space.get(name) if isinstance(space, dict) else None)
        for name in ('low', 'high')
    ]
    return Actor(kind, _layers(path, state, names), *limits)


def _numbered(state: Mapping[str, np.ndarray], prefix: str) -> list[str]:
    """Return the layers of a torch Sequential, in order."""
    places = {
        int(name.removeprefix(prefix).partition('.')[0])
        for name in state
        if name.startswith(prefix) and name.removeprefix(prefix)[0].isdigit()
    }
    return [f'{prefix}{place}' for place in sorted(places)]


def _numbers(path: Path, name: str, text: Any) -> np.ndarray:
    """Return the numbers of an array as NumPy prints it."""
    try:
        if not isinstance(text, str) or not re.fullmatch(r'[\[\]\s\d.e+-]+', text):
            raise ValueError
        return np.array([float(n) for n in text.replace('[', ' ').replace(']', ' ').split()])
    except ValueError:
        raise UserError(
            f'file {path}: its action_space has {name} {text!r:.80}, expected numbers'
        ) from None


# -- CleanRL


def _clean_rl(path: Path, weights: Any) -> Actor:
    if isinstance(weights, (tuple, list)) and weights:  # the actor's, and then the critics'
        weights = weights[0]
    state = _state(path, weights)
    last = next((name for name in ('fc_mu', 'fc_mean') if f'{name}.weight' in state), '')
    if not last or 'fc1.weight' not in state:
        raise UserError(
            f'file {path}: has no actor of TD3 or SAC (fc1, fc2, fc_mu or fc_mean), expected '
            'a zip of Stable-Baselines3 or a model of CleanRL'
        )
    hidden: list[str] = []
    while f'fc{len(hidden) + 1}.weight' in state:
        hidden.append(f'fc{len(hidden) + 1}')
    layers = _layers(path, state, [*hidden, last])
    limits = []
    for name in ('action_scale', 'action_bias'):
        if name not in state:
            raise UserError(f'file {path}: lacks {name}, without which its limits are not known')
        limits.append(np.broadcast_to(state[name].ravel(), layers[-1][1].shape).astype(float))
    scale, bias = limits
    kind = 'CleanRL TD3' if last == 'fc_mu' else 'CleanRL SAC'
    return Actor(kind, layers, bias - scale, bias + scale)


# -- both


def _state(path: Path, weights: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict, by name."""
    if not isinstance(weights, Mapping):
        raise UserError(f'file {path}: holds {type(weights).__name__}, expected weights by name')
    return {
        str(name): value.detach().float().numpy()
        for name, value in weights.items()
        if isinstance(value, torch.Tensor)
    }


def _layers(
    path: Path, state: Mapping[str, np.ndarray], names: list[str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each layer; each must fit the one before it."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for name in names:
        weight, bias = state.get(f'{name}.weight'), state.get(f'{name}.bias')
        if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise UserError(f'file {path}: {name} is no dense layer with a bias')
        if found and weight.shape[1] != len(found[-1][1]):
            raise UserError(
                f'file {path}: {name} takes {weight.shape[1]} numbers, expected '
                f'{len(found[-1][1])}, those of the layer before it'
            )
        found.append((np.ascontiguousarray(weight), np.ascontiguousarray(bias)))
    return found
