# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The `proxy-snn` command. Works with or without ROS; only `demo`, `view` and `replay` need it."""

# ruff: noqa: E402
from __future__ import annotations

from proxy_snn_control.nodes import stopping

stopping.install(early_status=1)  # before NumPy and the rest load: Ctrl-C is no traceback then

import argparse
import dataclasses
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy_snn_control import __version__
from proxy_snn_control.policy import (
    Policy,
    PolicySpec,
    UserError,
    load_policy,
    plugins,
    read_policy,
)
from proxy_snn_control.policy import energy as energy_count
from proxy_snn_control.share import named

if TYPE_CHECKING:
    from proxy_snn_control.learning.evaluate import Evaluation


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0 when done, 1 after a clear one-line error, 2 on wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name or a ± that its encoding does not have
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        plugins.load(getattr(options, "plugin", []))
        status: int = options.run(options)
        if sys.stdout:
            sys.stdout.flush()
        stopping.finish()
    except UserError as error:
        print(f"proxy-snn: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has seen enough; nothing may be flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"proxy-snn: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("proxy_snn_control"):
            raise
        print(
            f"proxy-snn: {options.command} needs the Python module {error.name!r}, which is not "
            f"installed: pip install 'proxy_snn_control[{options.extras}]'",
            file=sys.stderr,
        )
        return 1
    return status


def _add_plugins(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module to import first, which registers neurons, targets, critics or tasks; give "
        "it again for another",
    )


def _path(text: str) -> Path:
    if not text:  # to Path it would be the current folder
        raise argparse.ArgumentTypeError("is empty, expected a path")
    return Path(text)


POLICY = "a policy file, a run's folder for the best policy in it, or a name on the shelf"


def _config(text: str) -> Path:
    return named(str(_path(text)), "config", ".yaml")


def _policy(text: str) -> Path:
    path = _path(text)
    if not path.is_dir():
        return path
    inside = sorted(path.glob("seed-*/policy.safetensors"))
    if inside and not (path / "policy.safetensors").exists():
        raise argparse.ArgumentTypeError(
            f"{path} holds {len(inside)} runs, expected one, such as {inside[0].parent}"
        )
    return path / "policy.safetensors"


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 2):
        raise argparse.ArgumentTypeError(f"is {text!r}, expected WIDTHxHEIGHT, such as 640x480")
    return int(width), int(height)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="proxy-snn", description="Train spiking policies with proxy targets and try them out."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a policy, or one for each of several seeds",
        description="Train a spiking policy with TD3 and a proxy target. What is not given here "
        "comes from --set and --config, and what is not there either is the paper's, for the "
        "neuron chosen.",
        epilog="config/train.yaml lists every setting that --config and --set can change, with the "
        "paper's value and what it does; config/fast.yaml is the authors' faster setting. SIGINT "
        "(Ctrl-C) and SIGTERM end a run with a checkpoint; after kill -9, too, --resume goes on, "
        "from the last one.",
    )
    train.add_argument(
        "--env",
        metavar="ID",
        help="Gymnasium task with bounded actions, ID or module:ID "
        "(HalfCheetah-v4); -v4 are the paper's tasks, -v5 differ in their rewards",
    )
    train.add_argument(
        "--neuron",
        help="the actor's neurons: lif (leaky integrate-and-fire, the default), clif (with a "
        "synaptic current), dn (dynamic neurons), or relu, the ordinary network to compare with",
    )
    train.add_argument(
        "--target",
        help="what stands in for the actor when the critics look ahead: proxy (a smooth network "
        "that imitates it, the default) or soft (TD3's Polyak average of it)",
    )
    train.add_argument(
        "--steps",
        help="training steps, one update each, after the random ones (1000000; 1e6 will do)",
    )
    train.add_argument(
        "--seed",
        type=int,
        nargs="+",
        metavar="N",
        help="seed of networks, noise, replay and task (0); on the same machine and with the same "
        "versions a seed gives the same run. Several are trained at once, each into RUN/seed-N",
    )
    train.add_argument(
        "--device", help="cpu, cuda, or auto (the default): cuda where torch finds a GPU"
    )
    train.add_argument(
        "--out",
        type=_path,
        required=True,
        metavar="RUN",
        help="the run's folder; must be new or empty, so that no run is overwritten by accident",
    )
    train.add_argument(
        "--config",
        type=_config,
        metavar="F.yaml",
        action="append",
        default=[],
        nargs="+",
        help="files of settings, as config/train.yaml, or names of the package's, such as fast; "
        "later ones go over earlier ones",
    )
    train.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        nargs="+",
        help="settings, over those of the files: --set tau=0.01 neuron_constants.threshold=0.4",
    )
    _add_plugins(train)
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in the run's folder, as if it had never stopped; of the "
        "settings only steps and device may be given then",
    )
    train.set_defaults(run=_train, extras="train")

    sweep = commands.add_parser(
        "sweep",
        help="train every run of a grid: environments x learners x seeds",
        description="Train every run of a grid of environments, learners and seeds, each into "
        "DIR/ENV/LEARNER/seed-N. On a GPU runs of equal settings are one batch; on a CPU each is a "
        "process of one thread. What is done is not done again: the command may be stopped "
        "(Ctrl-C, SIGTERM, kill -9) and given again.",
        epilog="docs/sweep.md describes the grid file; config/quick.yaml is a small one, "
        "config/table1.yaml the paper's.",
    )
    sweep.add_argument("grid", type=_config, metavar="GRID.yaml")
    sweep.add_argument(
        "--out",
        type=_path,
        required=True,
        metavar="DIR",
        help="the sweep's folder: new, empty, or one to go on with",
    )
    where = sweep.add_mutually_exclusive_group()
    where.add_argument(
        "--shard",
        metavar="I/N",
        help="train only the I-th of N shares of the runs, I from 1 to N, as for a job array",
    )
    where.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="train on a Ray cluster of which every computer sees DIR under the same path: "
        "host:port, or auto on one of its computers",
    )
    sweep.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at once on a CPU (as many as there are cores); not with --ray",
    )
    sweep.add_argument(
        "--gpus-per-run",
        type=float,
        metavar="G",
        help="with --ray: the part of a GPU that a run gets; 0.25 puts four runs of equal settings "
        "on a GPU as one batch. 0 (the default): one CPU core each",
    )
    sweep.set_defaults(run=_sweep, extras="train")

    evaluate = commands.add_parser("evaluate", help="run a policy on its task, without ROS")
    evaluate.add_argument("policy", type=_policy, metavar="POLICY", help=POLICY)
    evaluate.add_argument("--env", help="Gymnasium task; by default the one it was trained on")
    evaluate.add_argument("--episodes", type=int, default=10)
    evaluate.add_argument("--seed", type=int, default=0, help="episode i starts from SEED + i")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.add_argument(
        "--video", type=_path, metavar="FILE", help="film the first episode, to .mp4 or .gif"
    )
    _add_plugins(evaluate)
    evaluate.add_argument(
        "--camera", metavar="NAME", help="with --video: the camera of a MuJoCo task (its own view)"
    )
    evaluate.add_argument(
        "--size", type=_size, metavar="WxH", help="with --video: pixels of a MuJoCo task's frames"
    )
    _add_costs(evaluate)
    evaluate.set_defaults(run=_evaluate, extras="sim")

    inspect = commands.add_parser("inspect", help="show what a policy file holds")
    inspect.add_argument("policy", type=_policy, metavar="POLICY", help=POLICY)
    inspect.add_argument("--json", action="store_true", help="print one JSON object")
    _add_plugins(inspect)
    _add_costs(inspect)
    inspect.set_defaults(run=_inspect, extras="")

    shelve = commands.add_parser(
        "shelve",
        help="put a policy on the shelf, with a card",
        description="Evaluate a policy in its task and write it, by a name to find it by, and a "
        "card that says what it is. What it lacks for the wiring check is measured.",
    )
    shelve.add_argument("policy", type=_policy, metavar="POLICY", help=POLICY)
    shelve.add_argument("--name", required=True)
    shelve.add_argument("--shelf", type=_path, default=Path("policies"), metavar="DIR")
    shelve.set_defaults(run=_shelve, extras="train")

    export = commands.add_parser(
        "export",
        help="write a policy in another format",
        description="Write a policy as an ONNX model (the whole policy, observation in, action "
        "out), its spiking core as a NIR graph (encoder's spikes in, output population's spikes "
        "out), or C for microcontrollers. docs/exchange.md and docs/micro.md describe them.",
    )
    export.add_argument("policy", type=_policy, metavar="POLICY", help=POLICY)
    export.add_argument("--format", required=True, choices=("nir", "onnx", "c"))
    export.add_argument(
        "--out", type=_path, required=True, metavar="FILE", help="for c a folder of two files"
    )
    export.add_argument(
        "--quantise", choices=("int8",), help="c: 8-bit weights and integer neurons"
    )
    _add_plugins(export)
    export.add_argument("--no-math", action="store_true", help="c: do without math.h, by a table")
    export.set_defaults(run=_export, extras="export")

    take = commands.add_parser(
        "import",
        help="make a policy file of a TD3 or SAC actor of Stable-Baselines3 or CleanRL",
        description="Make a policy file of an ordinary actor: a zip that Stable-Baselines3 saved "
        "(TD3, DDPG, SAC) or a model of CleanRL (td3_continuous_action, sac_continuous_action). "
        "Nothing in the file is executed.",
    )
    take.add_argument("file", type=_path, metavar="SB3.zip|CLEANRL.pt")
    take.add_argument("--out", type=_path, required=True, metavar="POLICY")
    take.add_argument(
        "--env",
        metavar="ID",
        help="the task it is for: names, control period and, from some episodes, what the "
        "controller's wiring check compares with",
    )
    _add_plugins(take)
    take.set_defaults(run=_import, extras="train")

    convert = commands.add_parser("convert", help="refused: an ordinary actor cannot be made spike")
    convert.add_argument("policy", type=_path)
    convert.set_defaults(run=_convert, extras="")

    report = commands.add_parser(
        "report",
        help="tables and curves over seeds, with statistics",
        description="Compare the learners of finished runs: table.md, table.tex and table.csv with "
        "mean and standard deviation over seeds of the maximum and of the last evaluations, "
        "statistics over tasks beside the paper's figures, curves.png and curves.pdf, and what to "
        "know before comparing. docs/report.md defines every figure.",
    )
    _add_runs(report)
    report.add_argument(
        "--out", type=_path, required=True, metavar="REPORT", help="folder, written again if there"
    )
    report.set_defaults(run=_report, extras="train")

    plot = commands.add_parser(
        "plot",
        help="draw the learning curves of runs, what they die of, or a policy's spikes",
        description="Draw the evaluations of runs over environment steps: a panel for each task, "
        "a line for each learner, and a band for its seeds.",
    )
    _add_runs(plot)
    plot.add_argument(
        "--out",
        type=_path,
        required=True,
        metavar="FILE",
        help="the picture: FILE.png, FILE.pdf or FILE.svg",
    )
    instead = plot.add_mutually_exclusive_group()
    instead.add_argument(
        "--spikes",
        action="store_true",
        help="instead, a raster of every spike of one run's best policy, as it starts an episode",
    )
    instead.add_argument(
        "--health",
        action="store_true",
        help="instead, each run's return, value, gradient and potentials: how it lives or dies",
    )
    instead.add_argument(
        "--energy",
        action="store_true",
        help="instead, the return of each run's best policy against its energy and latency, "
        "measured now on its task; FILE.csv holds the figures",
    )
    plot.add_argument("--env", help="with --spikes: the task; by default the run's own")
    _add_plugins(plot)
    plot.set_defaults(run=_plot, extras="train")

    replay = commands.add_parser(
        "replay",
        help="recompute a policy's commands on recorded messages",
        description="Recompute every command from the recorded sources, compare them with what "
        "was sent, and run the wiring check. docs/replay.md describes how to record.",
    )
    replay.add_argument("bag", metavar="BAG", help="of ros2 bag record, or of the node record")
    replay.add_argument("--policy", type=_policy, required=True, help=POLICY)
    replay.add_argument("--robot", default="", metavar="ROBOT.yaml", help="the robot file")
    replay.add_argument("--params", default="", metavar="FILE", help="the controller's parameters")
    replay.add_argument("--namespace", default="/", help="of the controller when it was recorded")
    replay.add_argument("--out", default="", metavar="FILE.csv", help="write every command to it")
    replay.add_argument("--json", action="store_true", help="print one JSON object")
    replay.set_defaults(run=_replay, extras="ros,bags")

    view = commands.add_parser(
        "view",
        help="show a controller and its robot live, in a web page",
        description="Run the node view. What is not a flag here is one of its parameters, such "
        "as: proxy-snn view env:=HalfCheetah-v5 port:=9000. docs/view.md lists them.",
    )
    view.add_argument("parameters", nargs="*", metavar="NAME:=VALUE")
    view.add_argument("--namespace", default="", help="of the controller")
    view.set_defaults(run=_view, extras="ros,view")

    demo = commands.add_parser(
        "demo",
        help="train a small policy, then control over ROS topics",
        description="Train InvertedDoublePendulum-v5 from scratch, draw the learning curve, then "
        "run sim and controller as two processes over ROS topics for 10 episodes.",
    )
    demo.add_argument("--out", type=_path, default=Path("demo"), metavar="RUN")
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo, extras="train,ros")
    return parser


def _train(options: argparse.Namespace) -> int:
    from proxy_snn_control.learning.members import gather_settings, new_members, resumed_members

    names = ("env", "neuron", "target", "steps", "seed", "device")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if len(given.get("seed", [])) == 1:
        (given["seed"],) = given["seed"]
    if options.plugin and not options.resume:
        given["plugins"] = options.plugin
    files = [file for several in options.config for file in several]
    assignments = [text for several in options.set for text in several]
    if options.resume:
        if files:
            raise UserError("--config does not go with --resume: the run has its own config.yaml")
        settings = gather_settings([], assignments, given)
        members = resumed_members(options.out, settings)
    else:
        members = new_members(gather_settings(files, assignments, given), options.out)
    finished = _run_training(members, options.resume)
    if not finished:
        print(f"stopped; go on with: proxy-snn train --resume --out {options.out}")
    return 0


def _run_training(members: Sequence[Any], resume: bool = False) -> bool:
    """Train with a progress bar and a line per evaluation; False if it was stopped."""
    from proxy_snn_control.learning.processes import make_training
    from proxy_snn_control.learning.progress import Progress

    training = make_training(members, resume=resume)
    stopping.ready()
    progress = Progress(members, training.step, stopping.requested)
    try:
        finished = training.run(progress)
    finally:
        progress.close()
        training.close()
    if failures := training.failures:
        raise UserError(f"{len(failures)} of {len(members)} runs failed: {'; '.join(failures)}")
    return finished


def _sweep(options: argparse.Namespace) -> int:
    from proxy_snn_control.learning import sweep
    from proxy_snn_control.learning.progress import SweepProgress
    from proxy_snn_control.learning.results import read_failure

    jobs, gpus = options.jobs, options.gpus_per_run
    if jobs is not None and options.ray:
        raise UserError(
            "--jobs does not go with --ray: the cluster's cores fix how many run at once"
        )
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs is {jobs}, expected 1 or more")
    if gpus is not None and not options.ray:
        raise UserError("--gpus-per-run goes with --ray alone")
    if gpus is not None and not 0 <= gpus <= 1:
        raise UserError(f"--gpus-per-run is {gpus:g}, expected 0 to 1")
    if options.ray:
        options.extras = "train,cluster"
    runs = sweep.open_sweep(options.grid, options.out)
    if options.shard:
        runs = sweep.share(runs, options.shard)
    first, runs = runs, sweep.restarted(runs)
    done = [run for run in runs if sweep.is_done(run)]
    reasons = {run.folder: read_failure(run.folder) for run in runs if run not in done}
    replaced = [run.folder for run in runs if sweep.is_replaced(run)]
    failed = {folder: why for folder, why in reasons.items() if why and folder not in replaced}
    todo = [run for run in runs if run not in done and not reasons[run.folder]]
    print(f"{len(runs)} runs: {len(done)} done, {len(failed)} failed, {len(todo)} to train")
    stopping.ready()
    again = "(earlier; without its failure.txt it would be tried again)"
    failures = [f"{folder} {why} {again}" for folder, why in failed.items()]
    finished = True
    while todo and finished:
        steps = {run.folder: sweep.steps_of(run) for run in todo}
        progress = SweepProgress(todo, steps, len(done), stopping.requested)
        try:
            finished, new = sweep.train_anywhere(
                todo, progress, progress.log, jobs=jobs, ray=options.ray, gpus_per_run=gpus or 0.0
            )
        finally:
            progress.close()
        before, runs = [run.folder for run in runs], sweep.restarted(first)
        todo = [run for run in runs if run.folder not in before]
        others = tuple(f"{run.folder} " for run in runs if sweep.is_replaced(run))
        failures += [why for why in new if not why.startswith(others)]
    done = [run for run in runs if sweep.is_done(run)]
    print(f"{len(done)} of {len(runs)} runs are done")
    for failure in failures:
        print(f"proxy-snn: failed: {failure}", file=sys.stderr)
    if not finished:
        print("stopped; the same command goes on")
    elif done:
        print(f"tables and figures: proxy-snn report {options.out} --out {options.out}-report")
    return 1 if failures else 0


def _evaluate(options: argparse.Namespace) -> int:
    from proxy_snn_control.learning.evaluate import evaluate
    from proxy_snn_control.learning.tasks import check_fit, task_of_policy
    from proxy_snn_control.learning.video import check_name, film

    if options.episodes < 1:
        raise UserError(f"--episodes is {options.episodes}, expected 1 or more")
    if options.seed < 0:
        raise UserError(f"--seed is {options.seed}, expected 0 or more")
    look = {"camera_name": options.camera} if options.camera else {}
    if options.size:
        look |= dict(zip(("width", "height"), options.size, strict=True))
    if options.video:
        check_name(options.video)
    elif look:
        raise UserError("--camera and --size go with --video alone")
    policy = load_policy(options.policy)
    task = task_of_policy(policy.spec, options.policy, options.env)
    stdout = _stdout_for_json() if options.json else None
    environment = task.make()
    check_fit(policy.spec, options.policy, environment)
    stopping.ready()
    with _Progress(options.episodes) as progress:
        result = evaluate(
            policy, environment, options.episodes, options.seed, stopping.requested, progress.update
        )
    if result is None:
        raise UserError("stopped before the last episode ended")
    if options.video:
        film(policy, task, options.seed, options.video, **look)
    activity = energy_count.activity_of(policy.spec, result.spike_counts, sum(result.lengths))
    report = {
        "env": task.env,
        "env_kwargs": json.loads(task.env_kwargs),
        "paper_physics": task.paper_physics,
        "seed": options.seed,
        "returns": result.returns,
        "lengths": result.lengths,
        "mean": result.mean,
        "std": result.std,
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
        text = f"episode {episode + 1} of {self._episodes}: {length} steps"
        print(f"\r{text}\033[K" if self._terminal else text, end="", file=sys.stderr)
        print("" if self._terminal else "\n", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._shown and self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


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
    rest = f"{line}\n".encode()
    while rest and descriptor is not None:
        rest = rest[os.write(descriptor, rest) :]


def _print_evaluation(spec: PolicySpec, result: Evaluation, report: dict[str, Any]) -> None:
    for episode, (value, length) in enumerate(zip(result.returns, result.lengths, strict=True)):
        print(f"episode {episode + 1}: return {value:.2f} in {length} steps")
    print(f"{report['env']}: mean {result.mean:.2f} ± {result.std:.2f}")
    _print_energy(spec, report)


def _add_costs(command: argparse.ArgumentParser) -> None:
    paper = energy_count.PAPER
    command.add_argument(
        "--joules-per-synaptic-operation",
        type=float,
        default=paper.synaptic_operation,
        metavar="J",
        help="energy of one spike reaching one synapse on a neuromorphic chip (%(default)s)",
    )
    command.add_argument(
        "--joules-per-multiply-accumulate",
        type=float,
        default=paper.multiply_accumulate,
        metavar="J",
        help="energy of one multiply-accumulate of an ordinary network (%(default)s)",
    )


def _costs(options: argparse.Namespace) -> energy_count.Costs:
    found = []
    for name in ("joules_per_synaptic_operation", "joules_per_multiply_accumulate"):
        value = getattr(options, name)
        if not 0 <= value < 1:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag} is {value}, expected joules from 0 to below 1")
        found.append(value)
    return energy_count.Costs(*found)


def _energy(
    spec: PolicySpec, activity: energy_count.Activity, costs: energy_count.Costs
) -> dict[str, Any]:
    """What one action costs, and what it would cost an ordinary network of this width."""
    operations = activity.synaptic_operations
    return {
        "firing_rates": activity.firing_rates,
        "spikes_per_action": activity.spikes,
        "synaptic_operations_per_action": operations,
        "possible_synaptic_operations": energy_count.possible_synaptic_operations(spec),
        "nanojoules_per_action": energy_count.inference_energy(spec, operations, costs) * 1e9,
        "equivalent_multiply_accumulates": energy_count.equivalent_multiply_accumulates(spec),
        "equivalent_nanojoules": energy_count.equivalent_energy(spec, costs) * 1e9,
    }


def _print_energy(spec: PolicySpec, energy: dict[str, Any]) -> None:
    ordinary = (
        f"{energy['equivalent_multiply_accumulates']} multiply-accumulates, "
        f"{energy['equivalent_nanojoules']:.2f} nJ"
    )
    if not spec.spiking:
        print(f"per action: {ordinary}")
        return
    rates = ", ".join(f"{rate:.0%}" for rate in energy["firing_rates"])
    operations, possible = (
        energy["synaptic_operations_per_action"],
        energy["possible_synaptic_operations"],
    )
    print(f"firing rate per layer, from the encoder on: {rates}")
    print(
        f"per action: {energy['spikes_per_action']:.0f} spikes, {operations:.0f} synaptic "
        f"operations ({operations / possible:.0%} of those possible), "
        f"{energy['nanojoules_per_action']:.2f} nJ; "
        f"an ordinary network of this width: {ordinary}"
    )


def _inspect(options: argparse.Namespace) -> int:
    policy = load_policy(options.policy)
    spec = policy.spec
    activity = energy_count.activity(policy, energy_count.typical_observations(policy))
    energy = _energy(spec, activity, _costs(options))
    counts = energy_count.neurobench(policy, energy_count.typical_observations(policy))
    energy["neurobench"] = dataclasses.asdict(counts)
    energy["equivalent_footprint"] = energy_count.equivalent_footprint(spec)
    if options.json:
        seen = {
            "observation_quantiles": policy.quantiles.tolist(),
            "compiled": policy.compiled,
            "knows_transitions": policy.whitening is not None,
            "wiring_can_be_checked": policy.whitening is not None,
            "normalises_observations": policy.normalises,
        }
        print(json.dumps({**dataclasses.asdict(spec), **seen, **energy}))
        return 0
    layers = " -> ".join(map(str, spec.layer_sizes))
    reads = f"the last {spec.history} observations" if spec.history > 1 else "an observation"
    reads += ", normalised" if policy.normalises else ""
    reads += ", and its previous action" if spec.previous_action else ""
    steps = f", T = {spec.time_steps}" if spec.spiking else ""
    print(f"{options.policy}: {spec.neuron} neurons{steps}, layers {layers}")
    for name, value in spec.provenance.items():
        print(f"  {name}: {value}")
    print(f"reads {reads}")
    period = f"{spec.control_period} s" if spec.control_period else "not known"
    print(f"control period: {period}")
    print("observations, with the range seen in training:")
    names = spec.observation_names or [""] * spec.observation_size
    for i, name in enumerate(names):
        low, high = policy.quantiles[0, i], policy.quantiles[-1, i]
        print(f"  {i:3} {name:32} {low:12.4g} {high:12.4g}")
    print("actions, with their limits:")
    names = spec.action_names or [""] * spec.action_size
    for i, name in enumerate(names):
        print(f"  {i:3} {name:32} {spec.action_low[i]:12.4g} {spec.action_high[i]:12.4g}")
    known = policy.whitening is not None
    coverage = "all of it" if known else "period and ranges alone"
    print(f"transitions of training: {'known' if known else 'not known'} (transition.whitening)")
    print(f"the controller's wiring check: {coverage}")
    if spec.spiking:
        print("on observations drawn by the quantiles of training:")
    _print_energy(spec, energy)
    print(
        f"as NeuroBench counts: activation sparsity {counts.activation_sparsity:.0%}, effective "
        f"MACs {counts.effective_macs:.0f}, effective ACs {counts.effective_acs:.0f}, of "
        f"{counts.dense} dense, footprint {counts.footprint} bytes; an ordinary network: "
        f"{energy['equivalent_multiply_accumulates']} MACs at most, "
        f"{energy['equivalent_footprint']} bytes"
    )
    print(energy_count.LEFT_OUT)
    return 0


def _shelve(options: argparse.Namespace) -> int:
    from proxy_snn_control.learning.shelve import check_name, shelve

    check_name(options.name)
    shelve(options.policy, options.name, options.shelf)
    print(options.shelf / f"{options.name}.md")
    return 0


def _export(options: argparse.Namespace) -> int:
    from proxy_snn_control.policy.exchange import export

    if options.out.exists() and options.out.samefile(options.policy):
        raise UserError(f"--out is {options.out}, the policy itself, expected another file")
    if options.format == "c":
        return _export_c(options)
    if options.quantise or options.no_math:
        raise UserError(f"--quantise and --no-math go with --format c, not {options.format}")
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
    print(options.out, *report.lines(), sep="\n")
    return 0


def _import(options: argparse.Namespace) -> int:
    from proxy_snn_control.learning.foreign import import_policy

    import_policy(options.file, options.out, options.env)
    print(options.out)
    return 0


def _convert(options: argparse.Namespace) -> int:
    raise UserError(
        f"{options.policy} is not converted: weights of rectified linear units put into spiking "
        "neurons give another policy, of unknown return; expected a spiking policy that was "
        "trained as one, by proxy-snn train"
    )


def _add_runs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "runs",
        type=_path,
        nargs="+",
        metavar="DIR",
        help="folders of runs, of populations (RUN/seed-N) or of sweeps (DIR/ENV/LEARNER/seed-N)",
    )


def _report(options: argparse.Namespace) -> int:
    from proxy_snn_control.learning.report import write_report

    stopping.ready()  # as for plot
    write_report(options.runs, options.out)
    print(options.out / "table.md")
    return 0


def _plot(options: argparse.Namespace) -> int:
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
        raise UserError(f"--spikes draws one run, but {len(options.runs)} are given")
    print(options.out)
    return 0


def _replay(options: argparse.Namespace) -> int:
    from proxy_snn_control.nodes.replay import replay, report

    result = replay(
        options.bag, str(options.policy), options.robot, options.params, options.namespace
    )
    print(report(result, options.json, options.out))
    return 0


def _view(options: argparse.Namespace) -> int:
    from proxy_snn_control.nodes.view import main as run_view

    given = [part for parameter in options.parameters for part in ("-p", parameter)]
    where = ["-r", f"__ns:={options.namespace}"] if options.namespace else []
    return run_view(["--ros-args", *given, *where] if given or where else [])


def _demo(options: argparse.Namespace) -> int:
    from proxy_snn_control.nodes.demo import run_demo

    return run_demo(options.out, options.seed, _run_training)


if __name__ == "__main__":
    sys.exit(main())
