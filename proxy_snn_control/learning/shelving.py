# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Make a trained policy one of the package's: measure it in its task, and write its card."""

from __future__ import annotations

from pathlib import Path
import time
from typing import Any

import gymnasium
import numpy as np
from proxy_snn_control.learning.comparison import PAPER, PAPER_TASKS
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.evaluate import evaluate, Evaluation
from proxy_snn_control.learning.tasks import check_fit, clip_action, task_of_policy, TaskSpec
from proxy_snn_control.learning.transitions import transition_model
from proxy_snn_control.policy import (
    energy,
    Policy,
    PolicySpec,
    read_policy,
    UserError,
    write_policy,
)
from proxy_snn_control.policy.files import make_folder, write_bytes

EPISODES, SEED = 20, 10_000_000
# What a controller finds wiring mistakes by must have seen more than a policy that does well: by
# turns random actions, and the policy's with noise of these parts of half the action range.
NOISES, TRANSITIONS = (np.inf, 0.1, 0.6), 24_000
SPAN = 1_000


def shelve(path: Path, name: str, folder: Path) -> None:
    """Write `folder`/NAME.safetensors and its card, NAME.md.

    What the file knows about transitions of training it keeps; if it knows nothing, transitions of
    its task are measured now, so that a controller can check its wiring, and the card records it.

    Raises:
        UserError: the policy file is no good or names no task, or a file cannot be written.
    """
    spec, tensors, _ = read_policy(path)
    task = task_of_policy(spec, path)
    environment = task.make()
    check_fit(spec, path, environment)
    policy = Policy(spec, tensors)
    result = evaluate(policy, environment, EPISODES, SEED)
    assert result is not None
    origin = spec.provenance.get('transitions', 'of training')
    if policy.whitening is None:
        model = transition_model(*explore(policy, environment))
        tensors = {**tensors, **model}
        origin = 'measured after training' if model else 'not known: too many numbers'
        spec.provenance['transitions'] = origin
    environment.close()
    make_folder(folder)
    write_policy(folder / f'{name}.safetensors', spec, tensors)
    text = card(name, spec, task, result, latency(policy), origin)
    write_bytes(folder / f'{name}.md', text.encode())


def explore(
    policy: Policy, environment: gymnasium.Env
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, actions and next observations of a policy's task, [TRANSITIONS, numbers] each.

    Episodes of at most `SPAN` steps with each of `NOISES` in turn.
    """
    rng = np.random.default_rng(SEED)
    low, high = (np.array(limit) for limit in (policy.spec.action_low, policy.spec.action_high))
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    observation, length, span, noise = np.empty(0), 0, -1, 0.0
    while len(rows) < TRANSITIONS:
        if not length:
            observation, _ = environment.reset(seed=SEED + len(rows))
            policy.reset()
        if len(rows) // SPAN > span:
            span = len(rows) // SPAN
            noise = NOISES[span % len(NOISES)]
        action = rng.uniform(low, high)
        if np.isfinite(noise):
            action = policy.act(observation) + noise * (high - low) / 2 * rng.normal(size=len(low))
        action = clip_action(environment, action)
        following, _, terminal, truncated, _ = environment.step(action)
        rows.append((observation, action, following))
        length = 0 if terminal or truncated or length >= SPAN else length + 1
        observation = following
    first, second, third = (np.array(column) for column in zip(*rows, strict=True))
    return first, second, third


def latency(policy: Policy) -> float:
    """Median seconds of an action here."""
    seconds = []
    for observation in energy.typical_observations(policy):
        began = time.perf_counter()
        policy.act(observation)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))


def card(
    name: str, spec: PolicySpec, task: TaskSpec, result: Evaluation, seconds: float, origin: str
) -> str:
    """Return the card's text."""
    about = spec.provenance
    activity = energy.activity_of(spec, result.spike_counts, sum(result.lengths))
    operations = activity.synaptic_operations
    possible = energy.possible_synaptic_operations(spec)
    nanojoules = energy.inference_energy(spec, operations) * 1e9
    rates = ', '.join(f'{rate:.0%}' for rate in activity.firing_rates)
    step, whole = int(about.get('step', 0)), TrainConfig().total_steps
    physics = ", contacts as in the paper's MuJoCo" if task.paper_physics else ''
    versions = about.get('versions', {})
    made = [f'{each} {versions[each]}' for each in ('gymnasium', 'mujoco') if each in versions]
    rows = {
        'task': f'{task.env}{physics}',
        'learner': f'{spec.neuron} neurons, {about.get("target")} target, hidden layers '
        + ' and '.join(map(str, spec.hidden)),
        'seed': f'{about.get("seed")}, one run',
        'trained for': f"{step:,} environment steps, {step / whole:.0%} of the paper's",
        'trained with': ', '.join(made) or 'not recorded',
        'return': f'{result.mean:.0f} ± {result.std:.0f}, lowest {min(result.returns):.0f}, over '
        f'{EPISODES} episodes from seed {SEED} on',
        "paper's": _paper(spec, task),
        'energy': f"{nanojoules:.2f} nJ an action by the paper's constants ({operations:.0f} "
        f'synaptic operations, {operations / possible:.0%} of those possible)'
        if possible
        else f"{nanojoules:.2f} nJ an action by the paper's constants",
        'firing rates': f'{rates}, from the encoder on' if rates else 'none: it does not spike',
        'an action takes': f'{seconds * 1e6:.0f} \N{MICRO SIGN}s where this card was made',
        'control period': f'{spec.control_period} s' if spec.control_period else 'not known',
        'wiring check': 'none: it has no transition model'
        if origin.startswith('not known')
        else f'all of it; transitions {origin}',
    }
    launch = f'ros2 launch proxy_snn_control control.launch.py policy:={name}'
    lines = [
        f'# {name}',
        '',
        f'`proxy-snn evaluate {name}` runs it on its task. On topics (needs a ROS installation):',
        f'`{launch}`. Made by `proxy-snn shelve`.',
        '',
        '| | |',
        '|---|---|',
        *(f'| {what} | {value} |' for what, value in rows.items()),
        '',
        '## Limits',
        '',
        *(f'- {limit}' for limit in _limits(spec, task, result, step / whole, origin)),
        '',
    ]
    return '\n'.join(lines)


def _paper(spec: PolicySpec, task: TaskSpec) -> str:
    learner = PAPER.get((spec.neuron, str(spec.provenance.get('target'))))
    if learner is None or task.env not in PAPER_TASKS:
        return 'none for this task and learner'
    name, figures, _ = learner
    mean, deviation = figures[PAPER_TASKS.index(task.env)]
    return f'{name} {mean} ± {deviation}: best evaluations of five seeds after 1,025,000 steps'


def _limits(
    spec: PolicySpec, task: TaskSpec, result: Evaluation, part: float, origin: str
) -> list[str]:
    limits = [
        (
            'Trained in simulation alone, on one physics without variation: no policy for a real '
            'robot.'
        )
    ]
    if part < 0.9:
        limits.append(f"Trained for {part:.0%} of the paper's steps, with one seed.")
    known = _known(spec, task)
    if known is not None and result.mean < 0.5 * known:
        limits.append(
            f"A weak policy: {result.mean / known:.0%} of the paper's return. For trying out, "
            'not for figures of returns or firing rates.'
        )
    if 'after training' in origin:
        limits.append(
            'The transition model was measured after training, on random and on noisy actions: '
            'the wiring check may report states that occurred only in training.'
        )
    return limits


def _known(spec: PolicySpec, task: TaskSpec) -> float | None:
    """Return the paper's return for this learner and task, if it has one."""
    learner: Any = PAPER.get((spec.neuron, str(spec.provenance.get('target'))))
    if learner is None or task.env not in PAPER_TASKS:
        return None
    return float(learner[1][PAPER_TASKS.index(task.env)][0])


def check_name(name: str) -> None:
    """Raise a UserError unless a policy on the shelf can have this name."""
    if not name.isascii() or not name.replace('_', '').isalnum() or name != name.lower():
        raise UserError(f'--name is {name!r}, expected small letters, digits and _')
