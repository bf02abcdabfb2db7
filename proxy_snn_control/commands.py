# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What each command of `proxy-snn` does with its options; each returns the exit status."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import dataclasses
import json
import os
import sys
import time
from typing import Any, TYPE_CHECKING

from proxy_snn_control.nodes import stopping
from proxy_snn_control.policy import energy as energy_count
from proxy_snn_control.policy import (
    load_policy,
    Policy,
    PolicySpec,
    read_policy,
    UserError,
)

if TYPE_CHECKING:
    from proxy_snn_control.learning.evaluate import Evaluation


def train(options: argparse.Namespace) -> int:
    """Train a run, or one for each of several seeds; 0 when all are done."""
    from proxy_snn_control.learning.members import gather_settings, new_members, resumed_members

    names = ('env', 'neuron', 'target', 'steps', 'seed', 'device')
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if len(given.get('seed', [])) == 1:
        (given['seed'],) = given['seed']
    if options.plugin and not options.resume:
        given['plugins'] = options.plugin
    files = [file for several in options.config for file in several]
    assignments = [text for several in options.set for text in several]
    if options.resume:
        if files:
            raise UserError('--config does not go with --resume: the run has its own config.yaml')
        settings = gather_settings([], assignments, given)
        members = resumed_members(options.out, settings)
    else:
        members = new_members(gather_settings(files, assignments, given), options.out)
    finished = _run_training(members, options.resume, options.track)
    if not finished:
        print(f'stopped; resume with: proxy-snn train --resume --out {options.out}')
    elif len(members) == 1:
        print(f'done; best policy: {members[0].folder / "policy.safetensors"}')
    else:
        print(f'done; {len(members)} runs in {options.out}')
    return 0


def _run_training(members: Sequence[Any], resume: bool = False, track: str | None = None) -> bool:
    """Train with a progress bar and a line per evaluation; False if it was stopped."""
    from proxy_snn_control.learning.processes import make_training
    from proxy_snn_control.learning.progress import Progress
    from proxy_snn_control.learning.track import library_of, Tracked

    library = library_of(track) if track else None
    training = make_training(members, resume=resume)
    stopping.ready()
    progress = Progress(members, training.step, stopping.requested)
    tracked = None
    try:
        if library:
            tracked = Tracked(progress, library, members)
        finished = training.run(tracked or progress)
    finally:
        if tracked:
            tracked.close()
        progress.close()
        training.close()
    if failures := training.failures:
        raise UserError(f'{len(failures)} of {len(members)} runs failed: {"; ".join(failures)}')
    return finished


def sweep(options: argparse.Namespace) -> int:
    """Train the runs of a grid that are not done yet."""
    from proxy_snn_control.learning import grid
    from proxy_snn_control.learning.results import read_failure

    jobs, gpus = options.jobs, options.gpus_per_run
    if jobs is not None and options.ray:
        raise UserError(
            "--jobs does not go with --ray: the cluster's cores fix how many run at once"
        )
    if jobs is not None and jobs < 1:
        raise UserError(f'--jobs is {jobs}, expected 1 or more')
    if gpus is not None and not options.ray:
        raise UserError('--gpus-per-run goes with --ray alone')
    if gpus is not None and not 0 <= gpus <= 1:
        raise UserError(f'--gpus-per-run is {gpus:g}, expected 0 to 1')
    if options.ray:
        options.extras = 'train,cluster'
    runs = grid.open_sweep(options.grid, options.out)
    if options.shard:
        runs = grid.share(runs, options.shard)
    first, runs = runs, grid.restarted(runs)
    done = [run for run in runs if grid.is_done(run)]
    reasons = {run.folder: read_failure(run.folder) for run in runs if run not in done}
    replaced = [run.folder for run in runs if grid.is_replaced(run)]
    failed = {folder: why for folder, why in reasons.items() if why and folder not in replaced}
    todo = [run for run in runs if run not in done and not reasons[run.folder]]
    print(f'{len(runs)} runs: {len(done)} done, {len(failed)} failed, {len(todo)} to train')
    stopping.ready()
    again = '(in an earlier call; remove its failure.txt to train it again)'
    failures = [f'{folder} {why} {again}' for folder, why in failed.items()]
    finished = True
    if todo:  # else nothing needs torch
        from proxy_snn_control.learning.progress import SweepProgress
        from proxy_snn_control.learning.sweep import train_anywhere
    while todo and finished:
        steps = {run.folder: grid.steps_of(run) for run in todo}
        progress = SweepProgress(todo, steps, len(done), stopping.requested)
        try:
            finished, new = train_anywhere(
                todo, progress, progress.log, jobs=jobs, ray=options.ray, gpus_per_run=gpus or 0.0
            )
        finally:
            progress.close()
        before, runs = [run.folder for run in runs], grid.restarted(first)
        todo = [run for run in runs if run.folder not in before]
        others = tuple(f'{run.folder} ' for run in runs if grid.is_replaced(run))
        failures += [why for why in new if not why.startswith(others)]
    done = [run for run in runs if grid.is_done(run)]
    print(f'{len(done)} of {len(runs)} runs are done')
    for failure in failures:
        print(f'proxy-snn: failed: {failure}', file=sys.stderr)
    if not finished:
        print('stopped; repeat the command to continue')
    elif done:
        print(f'tables and figures: proxy-snn report {options.out} --out {options.out}-report')
    return 1 if failures else 0


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate a policy in its task."""
    from proxy_snn_control.learning.evaluate import evaluate
    from proxy_snn_control.learning.tasks import check_fit, task_of_policy
    from proxy_snn_control.learning.video import check_name, film

    if options.episodes < 1:
        raise UserError(f'--episodes is {options.episodes}, expected 1 or more')
    if options.seed < 0:
        raise UserError(f'--seed is {options.seed}, expected 0 or more')
    look = {'camera_name': options.camera} if options.camera else {}
    if options.size:
        look |= dict(zip(('width', 'height'), options.size, strict=True))
    if options.video:
        check_name(options.video)
    elif look:
        raise UserError('--camera and --size go with --video alone')
    policy = load_policy(options.policy)
    task = task_of_policy(policy.spec, options.policy, options.env)
    stdout = _stdout_for_json() if options.json else None
    environment = task.make()
    check_fit(policy.spec, options.policy, environment)
    stopping.ready()
    with _Progress(options.episodes) as progress:
        result = evaluate(
            policy,
            environment,
            options.episodes,
            options.seed,
            stopping.requested,
            progress.update,
        )
    if result is None:
        raise UserError('stopped before the last episode ended')
    if options.video:
        film(policy, task, options.seed, options.video, **look)
    activity = energy_count.activity_of(policy.spec, result.spike_counts, sum(result.lengths))
    report = {
        'env': task.env,
        'env_kwargs': json.loads(task.env_kwargs),
        'paper_physics': task.paper_physics,
        'seed': options.seed,
        'returns': result.returns,
        'lengths': result.lengths,
        'mean': result.mean,
        'std': result.std,
        **_energy(policy.spec, activity, _costs(options)),
    }
    if options.json:
        _write(stdout, json.dumps(report))
    else:
        _print_evaluation(policy.spec, result, report)
    environment.close()  # last: what it may still raise is not about the results
    return 0


class _Progress:
    """Prints an evaluation's progress to stderr, on a terminal at once, elsewhere every 10 s."""

    def __init__(self, episodes: int) -> None:
        self._episodes, self._shown = episodes, False
        self._terminal = bool(sys.stderr and sys.stderr.isatty())
        self._every = 0.2 if self._terminal else 10.0
        self._next = time.monotonic() + self._every

    def __enter__(self) -> _Progress:
        return self

    def update(self, episode: int, length: int) -> None:
        """Note the step of an episode, and print it if it is time to."""
        now = time.monotonic()
        if now < self._next or not sys.stderr:
            return
        self._next, self._shown = now + self._every, True
        text = f'episode {episode + 1} of {self._episodes}: {length} steps'
        print(f'\r{text}\033[K' if self._terminal else text, end='', file=sys.stderr)
        print('' if self._terminal else '\n', end='', file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._shown and self._terminal:
            print('\r\033[K', end='', file=sys.stderr, flush=True)


def _stdout_for_json() -> int | None:
    """Keep stdout for the JSON alone: what a task prints, until it is gone, goes to stderr.

    Returns:
        The descriptor to write the JSON to; None where stdout is closed.
    """
    if not sys.stdout:
        return None
    sys.stdout.flush()
    own = os.dup(sys.stdout.fileno())
    other = sys.stderr.fileno() if sys.stderr else os.open(os.devnull, os.O_WRONLY)
    os.dup2(other, sys.stdout.fileno())  # what libraries in C print goes there too
    return own


def _write(descriptor: int | None, line: str) -> None:
    rest = f'{line}\n'.encode()
    while rest and descriptor is not None:
        written = os.write(descriptor, rest)
        rest = rest[written:]


def _print_evaluation(spec: PolicySpec, result: Evaluation, report: dict[str, Any]) -> None:
    for episode, (value, length) in enumerate(zip(result.returns, result.lengths, strict=True)):
        print(f'episode {episode + 1}: return {value:.2f} in {length} steps')
    print(f'{report["env"]}: mean {result.mean:.2f} ± {result.std:.2f}')
    _print_energy(spec, report)


def _costs(options: argparse.Namespace) -> energy_count.Costs:
    found = []
    for name in ('joules_per_synaptic_operation', 'joules_per_multiply_accumulate'):
        value = getattr(options, name)
        if not 0 <= value < 1:
            flag = '--' + name.replace('_', '-')
            raise UserError(f'{flag} is {value}, expected joules from 0 to below 1')
        found.append(value)
    return energy_count.Costs(*found)


def _energy(
    spec: PolicySpec, activity: energy_count.Activity, costs: energy_count.Costs
) -> dict[str, Any]:
    """Return what one action costs, and what it would cost an ordinary network of this width."""
    operations = activity.synaptic_operations
    return {
        'firing_rates': activity.firing_rates,
        'spikes_per_action': activity.spikes,
        'synaptic_operations_per_action': operations,
        'possible_synaptic_operations': energy_count.possible_synaptic_operations(spec),
        'nanojoules_per_action': energy_count.inference_energy(spec, operations, costs) * 1e9,
        'equivalent_multiply_accumulates': energy_count.equivalent_multiply_accumulates(spec),
        'equivalent_nanojoules': energy_count.equivalent_energy(spec, costs) * 1e9,
    }


def _print_energy(spec: PolicySpec, energy: dict[str, Any]) -> None:
    ordinary = (
        f'{energy["equivalent_multiply_accumulates"]} multiply-accumulates, '
        f'{energy["equivalent_nanojoules"]:.2f} nJ'
    )
    if not spec.spiking:
        print(f'per action: {ordinary}')
        return
    rates = ', '.join(f'{rate:.0%}' for rate in energy['firing_rates'])
    operations, possible = (
        energy['synaptic_operations_per_action'],
        energy['possible_synaptic_operations'],
    )
    print(f'firing rate per layer, from the encoder on: {rates}')
    print(
        f'per action: {energy["spikes_per_action"]:.0f} spikes, {operations:.0f} synaptic '
        f'operations ({operations / possible:.0%} of those possible), '
        f'{energy["nanojoules_per_action"]:.2f} nJ; '
        f'an ordinary network of this width: {ordinary}'
    )


def inspect(options: argparse.Namespace) -> int:
    """Print what a policy file holds."""
    policy = load_policy(options.policy)
    spec = policy.spec
    observations = energy_count.typical_observations(policy)
    energy = _energy(spec, energy_count.activity(policy, observations), _costs(options))
    counts = energy_count.neurobench(policy, observations)
    energy['neurobench'] = dataclasses.asdict(counts)
    energy['equivalent_footprint'] = energy_count.equivalent_footprint(spec)
    if options.json:
        seen = {
            'observation_quantiles': policy.quantiles.tolist(),
            'compiled': policy.compiled,
            'knows_transitions': policy.whitening is not None,
            'wiring_can_be_checked': policy.whitening is not None,
            'normalises_observations': policy.normalises,
        }
        print(json.dumps({**dataclasses.asdict(spec), **seen, **energy}))
        return 0
    layers = ' -> '.join(map(str, spec.layer_sizes))
    reads = f'the last {spec.history} observations' if spec.history > 1 else 'an observation'
    reads += ', normalised' if policy.normalises else ''
    reads += ', and its previous action' if spec.previous_action else ''
    steps = f', T = {spec.time_steps}' if spec.spiking else ''
    print(f'{options.policy}: {spec.neuron} neurons{steps}, layers {layers}')
    for name, value in spec.provenance.items():
        print(f'  {name}: {value}')
    print(f'reads {reads}')
    period = f'{spec.control_period} s' if spec.control_period else 'not known'
    print(f'control period: {period}')
    print('observations, with the range seen in training:')
    names = spec.observation_names or [''] * spec.observation_size
    for i, name in enumerate(names):
        low, high = policy.quantiles[0, i], policy.quantiles[-1, i]
        print(f'  {i:3} {name:32} {low:12.4g} {high:12.4g}')
    print('actions, with their limits:')
    names = spec.action_names or [''] * spec.action_size
    for i, name in enumerate(names):
        print(f'  {i:3} {name:32} {spec.action_low[i]:12.4g} {spec.action_high[i]:12.4g}')
    known = policy.whitening is not None
    coverage = 'all of it' if known else 'control period and ranges only'
    print(f'transitions of training: {"known" if known else "not known"} (transition.whitening)')
    print(f"the controller's wiring check: {coverage}")
    if spec.spiking:
        print('on observations drawn from the quantiles of training:')
    _print_energy(spec, energy)
    print(
        f'as NeuroBench counts: activation sparsity {counts.activation_sparsity:.0%}, effective '
        f'MACs {counts.effective_macs:.0f}, effective ACs {counts.effective_acs:.0f}, of '
        f'{counts.dense} dense, footprint {counts.footprint} bytes; an ordinary network: '
        f'{energy["equivalent_multiply_accumulates"]} MACs at most, '
        f'{energy["equivalent_footprint"]} bytes'
    )
    print(energy_count.LEFT_OUT)
    return 0


def shelve(options: argparse.Namespace) -> int:
    """Put a policy on the shelf, with its card."""
    from proxy_snn_control.learning.shelving import check_name, shelve

    check_name(options.name)
    shelve(options.policy, options.name, options.shelf)
    print(options.shelf / f'{options.name}.md')
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a policy in another format."""
    from proxy_snn_control.policy.exchange import export

    if options.out.exists() and options.out.samefile(options.policy):
        raise UserError(f'--out is {options.out}, the policy itself, expected another file')
    if options.format == 'c':
        return _export_c(options)
    if options.quantise or options.no_math:
        raise UserError(f'--quantise and --no-math go with --format c, not {options.format}')
    export(options.policy, options.format, options.out)
    print(options.out)
    return 0


def _export_c(options: argparse.Namespace) -> int:
    from proxy_snn_control.neuromorphic.fixed import fixed_layers
    from proxy_snn_control.policy.c_export import export_c

    file = read_policy(options.policy)
    layers = None
    if options.quantise:
        drawn = energy_count.typical_observations(Policy(*file))
        layers = fixed_layers(file.spec, file.tensors, drawn)
    report = export_c(file, options.out, layers=layers, math_library=not options.no_math)
    print(options.out, *report.lines(), sep='\n')
    return 0


def import_actor(options: argparse.Namespace) -> int:
    """Make a policy file of an ordinary actor."""
    from proxy_snn_control.learning.foreign import import_policy

    import_policy(options.file, options.out, options.env)
    print(options.out)
    return 0


def convert(options: argparse.Namespace) -> int:
    """Refuse to make an ordinary actor spike."""
    raise UserError(
        f'{options.policy} is not converted: weights of rectified linear units put into spiking '
        'neurons give another policy, of unknown return; expected a spiking policy that was '
        'trained as one, by proxy-snn train'
    )


def report(options: argparse.Namespace) -> int:
    """Write the tables and pictures of runs."""
    from proxy_snn_control.learning.report import write_report

    stopping.ready()  # as for plot
    write_report(options.runs, options.out)
    print(options.out / 'table.md')
    return 0


def plot(options: argparse.Namespace) -> int:
    """Draw runs."""
    from proxy_snn_control.learning.plot import plot_energy, plot_health, plot_runs, plot_spikes

    stopping.ready()  # drawing takes a moment: finish it rather than leave half a file
    if options.health:
        plot_health(options.runs, options.out)
    elif options.energy:
        plot_energy(options.runs, options.out)
    elif not options.spikes:
        plot_runs(options.runs, options.out)
    elif len(options.runs) == 1:
        plot_spikes(options.runs[0], options.out, options.env)
    else:
        raise UserError(f'--spikes draws one run, but {len(options.runs)} are given')
    print(options.out)
    return 0


def replay(options: argparse.Namespace) -> int:
    """Compute the commands of a recorded run again."""
    from proxy_snn_control.nodes.replay import replay, report

    result = replay(
        options.bag, str(options.policy), options.robot, options.params, options.namespace
    )
    print(report(result, options.json, options.out))
    return 0


def view(options: argparse.Namespace) -> int:
    """Run the node view."""
    from proxy_snn_control.nodes.view import main as run_view

    given = [part for parameter in options.parameters for part in ('-p', parameter)]
    where = ['-r', f'__ns:={options.namespace}'] if options.namespace else []
    return run_view(['--ros-args', *given, *where] if given or where else [])


def demo(options: argparse.Namespace) -> int:
    """Train a small policy and control a sim over topics."""
    from proxy_snn_control.nodes.demo import run_demo

    return run_demo(options.out, options.seed, _run_training)
