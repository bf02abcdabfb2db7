# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The `proxy-snn` command. Works with or without ROS; only `demo`, `view` and `replay` need it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import io
import os
from pathlib import Path
import sys

from proxy_snn_control.nodes import stopping

# Before NumPy and the rest load, which takes half a second: Ctrl-C is no traceback then.
stopping.install(early_status=1)

from proxy_snn_control import __version__, commands  # noqa: E402, I100
from proxy_snn_control.policy import energy as energy_count  # noqa: E402
from proxy_snn_control.policy import plugins, UserError  # noqa: E402
from proxy_snn_control.share import named  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 0 when done, 1 after a clear one-line error, 2 on wrong usage."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name or a ± that its encoding does not have
        sys.stdout.reconfigure(errors='backslashreplace')
    options = _parser().parse_args(arguments)
    try:
        plugins.load(getattr(options, 'plugin', []))
        status: int = options.run(options)
        if sys.stdout:
            sys.stdout.flush()
        stopping.finish()
    except UserError as error:
        print(f'proxy-snn: {error}', file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has ended; nothing may be flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f'proxy-snn: {error.filename or "output"}: {error.strerror}', file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith('proxy_snn_control'):
            raise
        print(
            f'proxy-snn: {options.command} needs the Python module {error.name!r}, which is not '
            f"installed: pip install 'proxy_snn_control[{options.extras}]'",
            file=sys.stderr,
        )
        return 1
    return status


def _add_plugins(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        '--plugin',
        action='append',
        default=[],
        metavar='MODULE',
        help='a Python module to import first, which registers neurons, targets, critics or tasks '
        '(docs/plugins.md); repeat the flag for several',
    )


def _path(text: str) -> Path:
    if not text:  # to Path it would be the current folder
        raise argparse.ArgumentTypeError('is empty, expected a path')
    return Path(text)


POLICY = (
    "a policy file, a run's folder for the best policy in it, or the name of a policy of the "
    'package, such as half_cheetah'
)
JSON = 'print one JSON object on stdout, and nothing else there'


def _config(text: str) -> Path:
    return named(str(_path(text)), 'config', '.yaml')


def _policy(text: str) -> Path:
    path = _path(text)
    if not path.is_dir():
        return path
    inside = sorted(path.glob('seed-*/policy.safetensors'))
    if inside and not (path / 'policy.safetensors').exists():
        raise argparse.ArgumentTypeError(
            f'{path} holds {len(inside)} runs, expected one, such as {inside[0].parent}'
        )
    return path / 'policy.safetensors'


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition('x')
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 2):
        raise argparse.ArgumentTypeError(f'is {text!r}, expected WIDTHxHEIGHT, such as 640x480')
    return int(width), int(height)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='proxy-snn',
        description='Train spiking policies with proxy targets, evaluate them and export them.',
        epilog='proxy-snn COMMAND --help lists its options. Exit status: 0 done, 1 an '
        'error, in one sentence on stderr, 2 wrong usage.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    train = subparsers.add_parser(
        'train',
        help='train a policy, or one for each of several seeds',
        description='Train a spiking policy with TD3 and a proxy target. A setting that is not '
        'given here comes from --set or --config, and by default from the paper, for the chosen '
        'neuron.',
        epilog='config/train.yaml lists every setting that --config and --set can change, with '
        "the paper's value and what it does; config/fast.yaml is the authors' faster setting. "
        'SIGINT (Ctrl-C) and SIGTERM end a run with a checkpoint; --resume continues from the '
        'last one, also after kill -9.',
    )
    train.add_argument(
        '--env',
        metavar='ID',
        help='Gymnasium task with bounded actions, ID or module:ID '
        "(HalfCheetah-v4); -v4 are the paper's tasks, -v5 differ in their rewards",
    )
    train.add_argument(
        '--neuron',
        help="the actor's neurons: lif (leaky integrate-and-fire, the default), clif (with a "
        'synaptic current), dn (dynamic neurons), or relu, the ordinary network to compare with',
    )
    train.add_argument(
        '--target',
        help="the target actor, which the critics' update uses: proxy (a smooth network "
        "that imitates it, the default) or soft (TD3's Polyak average of it)",
    )
    train.add_argument(
        '--steps',
        metavar='N',
        help='training steps after the random ones: environment steps with one update each '
        '(1000000; 1e6 is accepted too)',
    )
    train.add_argument(
        '--seed',
        type=int,
        nargs='+',
        metavar='N',
        help='seed of networks, noise, replay and task (0); on the same machine and with the same '
        'versions a seed gives the same run. Several are trained at once, each into RUN/seed-N',
    )
    train.add_argument(
        '--device', help='cpu, cuda, or auto (the default): cuda where torch finds a GPU'
    )
    train.add_argument(
        '--out',
        type=_path,
        required=True,
        metavar='RUN',
        help="the run's folder; must be new or empty, so that no run is overwritten by accident",
    )
    train.add_argument(
        '--config',
        type=_config,
        metavar='F.yaml',
        action='append',
        default=[],
        nargs='+',
        help="files of settings, as config/train.yaml, or names of the package's, such as fast; "
        'later ones override earlier ones',
    )
    train.add_argument(
        '--set',
        metavar='NAME=VALUE',
        action='append',
        default=[],
        nargs='+',
        help='settings, which override the files: --set tau=0.01 neuron_constants.threshold=0.4',
    )
    _add_plugins(train)
    train.add_argument(
        '--track',
        choices=('wandb', 'mlflow'),
        help='also log the rows of progress.csv to this service',
    )
    train.add_argument(
        '--resume',
        action='store_true',
        help="continue from the checkpoint in the run's folder, with the result of an "
        'uninterrupted run; of the settings only steps and device may be given with it',
    )
    train.set_defaults(run=commands.train, extras='train')

    sweep = subparsers.add_parser(
        'sweep',
        help='train every run of a grid: environments x learners x seeds',
        description='Train every run of a grid of environments, learners and seeds, each into '
        'DIR/ENV/LEARNER/seed-N. On a GPU runs of equal settings are one batch; on a CPU each is '
        'a process of one thread. Finished runs are skipped: the command may be stopped '
        '(Ctrl-C, SIGTERM, kill -9) and repeated.',
        epilog='docs/sweep.md describes the grid file; config/quick.yaml is a small one, '
        "config/table1.yaml the paper's.",
    )
    sweep.add_argument(
        'grid',
        type=_config,
        metavar='GRID.yaml',
        help="the grid file, or the name of one of the package's: quick, table1, ablation, ..",
    )
    sweep.add_argument(
        '--out',
        type=_path,
        required=True,
        metavar='DIR',
        help="the sweep's folder: new, empty, or one to continue",
    )
    where = sweep.add_mutually_exclusive_group()
    where.add_argument(
        '--shard',
        metavar='I/N',
        help='train only the I-th of N shares of the runs, I from 1 to N, as for a job array',
    )
    where.add_argument(
        '--ray',
        metavar='ADDRESS',
        help='train on a Ray cluster of which every computer has DIR under the same path: '
        'host:port, or auto on one of its computers',
    )
    sweep.add_argument(
        '--jobs',
        type=int,
        metavar='N',
        help='how many runs at once on a CPU (as many as there are cores); not with --ray',
    )
    sweep.add_argument(
        '--gpus-per-run',
        type=float,
        metavar='G',
        help='with --ray: the part of a GPU that a run gets; 0.25 puts four runs of equal '
        'settings on a GPU as one batch. 0 (the default): one CPU core each',
    )
    sweep.set_defaults(run=commands.sweep, extras='train')

    evaluate = subparsers.add_parser(
        'evaluate',
        help='run a policy on its task, without ROS',
        description='Run a policy on its task without exploration noise, and print the return and '
        'length of each episode, their mean and standard deviation, firing rates, and an estimate '
        'of the energy of an action.',
    )
    evaluate.add_argument('policy', type=_policy, metavar='POLICY', help=POLICY)
    evaluate.add_argument(
        '--env', metavar='ID', help='Gymnasium task, ID or module:ID (the one it was trained on)'
    )
    evaluate.add_argument(
        '--episodes', type=int, default=10, metavar='N', help='how many episodes (%(default)s)'
    )
    evaluate.add_argument(
        '--seed',
        type=int,
        default=0,
        metavar='N',
        help='episode i, from 0, starts from seed N + i (%(default)s)',
    )
    evaluate.add_argument('--json', action='store_true', help=JSON)
    evaluate.add_argument(
        '--video', type=_path, metavar='FILE', help='record the first episode as FILE.mp4 or .gif'
    )
    _add_plugins(evaluate)
    evaluate.add_argument(
        '--camera', metavar='NAME', help="with --video: a camera of a MuJoCo task (the task's own)"
    )
    evaluate.add_argument(
        '--size',
        type=_size,
        metavar='WxH',
        help="with --video: width and height of a MuJoCo task's frames in pixels (the task's own)",
    )
    _add_costs(evaluate)
    evaluate.set_defaults(run=commands.evaluate, extras='sim')

    inspect = subparsers.add_parser(
        'inspect',
        help='show what a policy file holds',
        description='Print the layers, provenance, control period, observations and actions by '
        'name with their ranges, and an estimate of the energy of an action. The first call on a '
        'computer also compiles the runtime for a neuron, which takes some seconds.',
    )
    inspect.add_argument('policy', type=_policy, metavar='POLICY', help=POLICY)
    inspect.add_argument('--json', action='store_true', help=JSON)
    _add_plugins(inspect)
    _add_costs(inspect)
    inspect.set_defaults(run=commands.inspect, extras='')

    shelve = subparsers.add_parser(
        'shelve',
        help='put a policy on the shelf, with a card',
        description='Evaluate a policy in its task and write it, by a name to find it by, and a '
        'card that describes it. What it lacks for the wiring check is measured.',
    )
    shelve.add_argument('policy', type=_policy, metavar='POLICY', help=POLICY)
    shelve.add_argument(
        '--name', required=True, help='its name: small letters, digits and _, such as hopper'
    )
    shelve.add_argument(
        '--shelf',
        type=_path,
        default=Path('policies'),
        metavar='DIR',
        help='the folder for NAME.safetensors and NAME.md (%(default)s)',
    )
    _add_plugins(shelve)
    shelve.set_defaults(run=commands.shelve, extras='train')

    export = subparsers.add_parser(
        'export',
        help='write a policy in another format',
        description='Write a policy as an ONNX model (the whole policy, observation in, action '
        "out), its spiking core as a NIR graph (encoder's spikes in, output population's spikes "
        'out), or C for microcontrollers. docs/exchange.md and docs/micro.md describe them.',
    )
    export.add_argument('policy', type=_policy, metavar='POLICY', help=POLICY)
    export.add_argument(
        '--format',
        required=True,
        choices=('nir', 'onnx', 'c'),
        help='nir: lif and clif; onnx: all neurons; c: all neurons that spike',
    )
    export.add_argument(
        '--out',
        type=_path,
        required=True,
        metavar='FILE',
        help='the file; for c the folder of policy.c and policy.h. Existing ones are overwritten',
    )
    export.add_argument(
        '--quantise',
        choices=('int8',),
        help='with c, lif and clif: 8-bit weights and neurons in integers (float32)',
    )
    _add_plugins(export)
    export.add_argument(
        '--no-math', action='store_true', help='with c: tables instead of the library math.h'
    )
    export.set_defaults(run=commands.export, extras='export')

    take = subparsers.add_parser(
        'import',
        help='make a policy file of a TD3 or SAC actor of Stable-Baselines3 or CleanRL',
        description='Make a policy file of an ordinary actor: a zip that Stable-Baselines3 saved '
        '(TD3, DDPG, SAC) or a model of CleanRL (td3_continuous_action, sac_continuous_action). '
        'Nothing in the file is executed.',
    )
    take.add_argument(
        'file', type=_path, metavar='SB3.zip|CLEANRL.pt', help='the file with the actor'
    )
    take.add_argument(
        '--out', type=_path, required=True, metavar='POLICY', help='the policy file to write'
    )
    take.add_argument(
        '--env',
        metavar='ID',
        help='the task it is for, from which the policy file gets names, control period and, from '
        "five episodes, what the controller's wiring check compares with (none of these)",
    )
    _add_plugins(take)
    take.set_defaults(run=commands.import_actor, extras='train')

    convert = subparsers.add_parser(
        'convert', help='always refused: an ordinary actor cannot be converted to a spiking one'
    )
    convert.add_argument('policy', type=_path, metavar='POLICY', help='a policy file')
    convert.set_defaults(run=commands.convert, extras='')

    report = subparsers.add_parser(
        'report',
        help='tables and curves over seeds, with statistics',
        description='Compare the learners of finished runs: table.md, table.tex and table.csv '
        'with mean and standard deviation over seeds of the maximum and of the last evaluations, '
        "statistics over tasks beside the paper's figures, curves.png and curves.pdf, and what to "
        'know before comparing. docs/report.md defines every figure.',
    )
    _add_runs(report)
    report.add_argument(
        '--out',
        type=_path,
        required=True,
        metavar='REPORT',
        help='folder; existing files are overwritten',
    )
    report.set_defaults(run=commands.report, extras='train')

    plot = subparsers.add_parser(
        'plot',
        help="draw learning curves, the course of a collapse, or a policy's spikes",
        description='Draw the evaluations of runs over environment steps: a panel for each task, '
        'a line for each learner, and a band for its seeds.',
    )
    _add_runs(plot)
    plot.add_argument(
        '--out',
        type=_path,
        required=True,
        metavar='FILE',
        help='the picture: FILE.png, FILE.pdf or FILE.svg',
    )
    instead = plot.add_mutually_exclusive_group()
    instead.add_argument(
        '--spikes',
        action='store_true',
        help="instead, a raster of every spike of one run's best policy, as it starts an episode",
    )
    instead.add_argument(
        '--health',
        action='store_true',
        help="instead, each run's return, value, gradient and potentials, to diagnose a collapse",
    )
    instead.add_argument(
        '--energy',
        action='store_true',
        help="instead, the return of each run's best policy against its energy (estimated) and "
        'latency, measured now on its task; FILE.csv holds the figures',
    )
    plot.add_argument('--env', help="with --spikes: the task; by default the run's own")
    _add_plugins(plot)
    plot.set_defaults(run=commands.plot, extras='train')

    replay = subparsers.add_parser(
        'replay',
        help="recompute a policy's commands on recorded messages",
        description='Recompute every command from the recorded sources, compare them with what '
        'was sent, and run the wiring check. docs/replay.md describes how to record.',
    )
    replay.add_argument('bag', metavar='BAG', help='of ros2 bag record, or of the node record')
    replay.add_argument('--policy', type=_policy, required=True, metavar='POLICY', help=POLICY)
    replay.add_argument(
        '--robot',
        default='',
        metavar='ROBOT.yaml',
        help="the robot file, or the name of one of the package's (none: topics observation and "
        'command)',
    )
    replay.add_argument(
        '--params',
        default='',
        metavar='FILE.yaml',
        help="the controller's parameter file (none: default parameters)",
    )
    replay.add_argument(
        '--namespace', default='/', help='of the controller when it was recorded (%(default)s)'
    )
    replay.add_argument(
        '--out', default='', metavar='FILE.csv', help='write a line for every command (no file)'
    )
    replay.add_argument('--json', action='store_true', help=JSON)
    _add_plugins(replay)
    replay.set_defaults(run=commands.replay, extras='ros,bags')

    view = subparsers.add_parser(
        'view',
        help='show a controller and its robot live, in a web page',
        description='Run the node view. Arguments NAME:=VALUE set its parameters, such '
        'as: proxy-snn view env:=HalfCheetah-v5 port:=9000. docs/view.md lists them.',
    )
    view.add_argument(
        'parameters', nargs='*', metavar='NAME:=VALUE', help='a parameter of the node view'
    )
    view.add_argument('--namespace', default='', help='of the controller (none)')
    view.set_defaults(run=commands.view, extras='ros,view')

    demo = subparsers.add_parser(
        'demo',
        help='train a small policy, then control over ROS topics',
        description='Train InvertedDoublePendulum-v5 from scratch, draw the learning curve, then '
        'run sim and controller as two processes over ROS topics for 10 episodes.',
    )
    demo.add_argument(
        '--out',
        type=_path,
        default=Path('demo'),
        metavar='RUN',
        help="the run's folder (%(default)s); if it is taken, RUN-2 and so on",
    )
    demo.add_argument(
        '--seed', type=int, default=0, metavar='N', help='seed of the training (%(default)s)'
    )
    demo.set_defaults(run=commands.demo, extras='train,ros')
    return parser


def _add_costs(command: argparse.ArgumentParser) -> None:
    paper = energy_count.PAPER
    command.add_argument(
        '--joules-per-synaptic-operation',
        type=float,
        default=paper.synaptic_operation,
        metavar='J',
        help='energy of one spike reaching one synapse on a neuromorphic chip (%(default)s)',
    )
    command.add_argument(
        '--joules-per-multiply-accumulate',
        type=float,
        default=paper.multiply_accumulate,
        metavar='J',
        help='energy of one multiply-accumulate of an ordinary network (%(default)s)',
    )


def _add_runs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        'runs',
        type=_path,
        nargs='+',
        metavar='DIR',
        help='folders of runs, of populations (RUN/seed-N) or of sweeps (DIR/ENV/LEARNER/seed-N)',
    )


if __name__ == '__main__':
    sys.exit(main())
