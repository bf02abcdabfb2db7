# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The nodes as processes of their own, over real ROS topics on a domain of their own."""

import csv
import json
from pathlib import Path
import signal
import subprocess
import sys
import time

from conftest import NodeProcess, random_policy, Stage, TASK
from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
from proxy_snn_control.control.messages import label_of, number_array
from proxy_snn_control.nodes.messages import EPISODE_RETURNS, RELIABLE, SENSOR_DATA
from proxy_snn_control.policy import load_policy, write_policy
import pytest
from std_msgs.msg import Float64, Float64MultiArray
from std_srvs.srv import Trigger

pytest.importorskip('mujoco')

FAULT_SECONDS = 0.3


def expect(node: NodeProcess, text: str, stage: Stage) -> None:
    assert stage.until(lambda: text in node.output), node.output


def active_controller(stage: Stage, policy_file: Path, **parameters: object) -> NodeProcess:
    given = {'policy': policy_file, 'autostart': 'true', **parameters}
    controller = stage.start('controller', **given)
    expect(controller, 'trained on', stage)
    assert stage.state() == 'active'
    return controller


def libraries(node: NodeProcess) -> set[str]:
    """Which of the heavy libraries a running process has mapped."""
    maps = Path(f'/proc/{node.process.pid}/maps').read_text()
    return {name for name in ('torch', 'mujoco') if f'lib{name}' in maps}


class Robot:
    """Sends observations and keeps every command: the judge of what leaves the controller."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
        self._publisher = stage.node.create_publisher(
            Float64MultiArray, 'observation', SENSOR_DATA
        )
        self._count = 0

    def meet(self) -> None:
        """Wait until controller and robot have found each other, both ways."""
        assert self.stage.until(lambda: self._publisher.get_subscription_count() > 0)
        self.stage.meet('command')

    def send(self, values: object) -> str:
        self._count += 1
        label = f'robot {self._count}'
        self._publisher.publish(number_array(np.asarray(values, dtype=float), label))
        return label

    def ask(self, values: object) -> list[float]:
        """Send an observation; the command that answers it."""
        label = self.send(values)
        answers: list[list[float]] = []

        def answered() -> bool:
            answers.extend(c.data.tolist() for c in self.commands if label_of(c) == label)
            return bool(answers)

        assert self.stage.until(answered), f'no answer: {self.stage.outputs()}'
        return answers[0]


def evaluated(policy_file: Path, seed: int, episodes: int) -> list[float]:
    """Return the returns of `proxy-snn evaluate`."""
    command = [sys.executable, '-m', 'proxy_snn_control.cli', 'evaluate', str(policy_file)]
    command += ['--seed', str(seed), '--episodes', str(episodes), '--json']
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return list(json.loads(done.stdout)['returns'])


# ---- sim and controller together


@pytest.mark.parametrize(
    ('task', 'memory'),
    [
        (TASK, {}),
        ('HalfCheetah-v5', {}),
        (TASK, {'history': 3, 'previous_action': True}),
    ],
)
def test_lockstep_gives_the_returns_of_evaluate(
    stage: Stage, tmp_path: Path, task: str, memory: dict
) -> None:
    path = tmp_path / 'p.safetensors'
    sizes = {TASK: (9, 1), 'HalfCheetah-v5': (17, 6)}[task]
    spec, tensors = random_policy(*sizes, provenance={'env': task}, **memory)
    if memory:
        tensors['normalise.mean'] = np.linspace(-0.1, 0.1, 9, dtype=np.float32)
        tensors['normalise.scale'] = np.linspace(0.5, 4, 9, dtype=np.float32)
    write_policy(path, spec, tensors)
    episodes = 8 if task == TASK else 1
    returns = stage.subscribe(Float64, 'sim/episode_return', EPISODE_RETURNS)
    sim = stage.start('sim', env=task, seed=11, episodes=episodes)
    # The controller comes late on purpose: what the sim published meanwhile had no subscriber.
    stage.meet('sim/episode_return')
    controller = active_controller(stage, path, lockstep='true')
    assert not libraries(controller) & {'torch', 'mujoco'}
    assert stage.until(lambda: sim.process.poll() is not None), sim.output
    assert sim.process.returncode == 0, sim.output
    assert stage.until(lambda: len(returns) == episodes)
    assert [message.data for message in returns] == evaluated(path, 11, episodes)


def test_lockstep_through_a_robot_file(stage: Stage, tmp_path: Path) -> None:
    """Joint states by name instead of one vector: the same numbers, so the same returns.

    The policy remembers: an episode that begins is known by the stamps.
    """
    from proxy_snn_control.learning.tasks import describe, make_environment

    task = describe(make_environment('HalfCheetah-v5'))
    names = {'observation_names': task.observation_names, 'action_names': task.action_names}
    names |= {'history': 2, 'previous_action': True}
    path = tmp_path / 'p.safetensors'
    write_policy(path, *random_policy(17, 6, provenance={'env': task.env_id}, **names))
    returns = stage.subscribe(Float64, 'sim/episode_return', EPISODE_RETURNS)
    sim = stage.start('sim', env=task.env_id, seed=11, episodes=2)
    stage.meet('sim/episode_return')
    robot = Path(__file__).parents[1] / 'config' / 'robots' / 'half_cheetah.yaml'
    active_controller(stage, path, lockstep='true', robot=robot)
    assert stage.until(lambda: sim.process.poll() is not None), stage.outputs()
    assert stage.until(lambda: len(returns) == 2)
    assert [message.data for message in returns] == evaluated(path, 11, 2)


def test_lockstep_survives_a_controller_that_is_replaced(stage: Stage, policy_file: Path) -> None:
    """A killed controller, stray commands and late answers: not one step too many or too few."""
    returns = stage.subscribe(Float64, 'sim/episode_return', EPISODE_RETURNS)
    sim = stage.start('sim', env=TASK, seed=3, episodes=400)
    stray = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    stage.meet('sim/episode_return')
    controller = {'policy': policy_file, 'autostart': 'true', 'lockstep': 'true'}
    first = stage.start('controller', **controller)
    assert stage.until(lambda: len(returns) >= 3)
    first.end(signal.SIGKILL)
    for label in ('observation 1', 'unasked', 'robot 5'):
        stray.publish(number_array(np.array([0.9]), label))
    stage.spin(0.3)
    assert sim.process.poll() is None, 'there is something left to do for the second one'
    second = stage.start('controller', **controller, resume_after_crash='true')
    assert stage.until(lambda: sim.process.poll() is not None), second.output
    assert stage.until(lambda: len(returns) == 400)
    assert [message.data for message in returns] == evaluated(policy_file, 3, 400)


# ---- the controller


def test_answers_are_the_policys(stage: Stage, policy_file: Path) -> None:
    robot = Robot(stage)
    active_controller(stage, policy_file, observation_timeout=60.0)
    robot.meet()
    alone = load_policy(policy_file)
    for observation in np.random.default_rng(0).normal(0, 2, (50, 9)):
        assert robot.ask(observation) == alone.act(observation).astype(float).tolist()
    assert len(robot.commands) == 50, 'one command per observation, none besides'


def test_silent_unless_active(stage: Stage, policy_file: Path) -> None:
    robot = Robot(stage)
    controller = stage.start('controller', policy=policy_file, observation_timeout=FAULT_SECONDS)

    def nothing_is_said() -> None:
        before = len(robot.commands)
        for _ in range(10):
            robot.send(np.zeros(9))
            stage.spin(0.1)
        assert len(robot.commands) == before

    assert stage.state() == 'unconfigured'
    nothing_is_said()
    assert stage.transition('configure')
    nothing_is_said()
    for _ in range(3):
        assert stage.transition('activate')
        robot.meet()
        assert robot.ask(np.full(9, 0.3)) != [0.0]
        assert stage.transition('deactivate')
        assert stage.until(lambda: robot.commands[-1].data.tolist() == [0.0]), (
            'the last command is the safe one'
        )
        nothing_is_said()
        assert stage.transition('cleanup')
        nothing_is_said()
        assert stage.transition('configure')
    assert stage.transition('shutdown')
    nothing_is_said()
    assert controller.end(signal.SIGINT) == 0


def test_bad_observations_get_the_safe_command(stage: Stage, policy_file: Path) -> None:
    robot = Robot(stage)
    controller = active_controller(
        stage, policy_file, safe_command='[0.25]', observation_timeout=60.0
    )
    robot.meet()
    good = np.full(9, 0.3)
    answer = robot.ask(good)
    assert answer != [0.25]
    nan = good.copy()
    nan[4] = np.nan
    for bad, reported in (
        (nan, 'topic observation: observation[4] is nan'),
        (np.zeros(8), 'topic observation: has 8 values, expected 9'),
        (np.zeros(0), 'has 0 values'),
        (np.full(9, np.inf), 'observation[0] is inf'),
    ):
        assert robot.ask(bad) == [0.25]
        expect(controller, reported, stage)
        assert robot.ask(good) == answer, 'a fault passes with its cause'
        stage.spin(1.1)  # the log repeats a fault at most once a second
    assert 'Traceback' not in controller.output


def test_stale_observations_get_the_safe_command(stage: Stage, policy_file: Path) -> None:
    robot = Robot(stage)
    diagnostics = stage.subscribe(DiagnosticArray, '/diagnostics')
    controller = active_controller(
        stage, policy_file, safe_command='[-0.5]', observation_timeout=FAULT_SECONDS
    )
    robot.meet()
    answer = robot.ask(np.full(9, 0.3))
    before = len(robot.commands)
    # Repeated at the control rate while the fault lasts.
    assert stage.until(lambda: len(robot.commands) > before + 20)
    assert all(command.data.tolist() == [-0.5] for command in robot.commands[before:])
    expect(controller, 'on topic observation; sent the safe command', stage)

    def is_reported() -> bool:
        messages = [status.message for array in diagnostics for status in array.status]
        return any(message.startswith('no observation for') for message in messages)

    assert stage.until(is_reported)
    assert robot.ask(np.full(9, 0.3)) == answer


@pytest.mark.parametrize('rate', [0.0, 0.01])
def test_stale_is_noticed_at_any_rate(stage: Stage, tmp_path: Path, rate: float) -> None:
    """Neither a slow policy nor a slow rate delays the safe command beyond the timeout."""
    path = tmp_path / 'slow.safetensors'
    write_policy(path, *random_policy(control_period=100.0))
    robot = Robot(stage)
    active_controller(stage, path, rate=rate, safe_command='[0.25]', observation_timeout=0.5)
    robot.meet()
    robot.send(np.full(9, 0.3))
    stage.spin(1.0)  # its answer, if there is one, has come; safe commands may have come before it
    before = len(robot.commands)
    assert stage.until(lambda: len(robot.commands) >= before + 3), 'sooner than at its period'
    assert all(command.data.tolist() == [0.25] for command in robot.commands[before:])


def test_full_command_at_limits_that_are_no_float32(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / 'saturated.safetensors'
    spec, tensors = random_policy(action_low=(-0.3,), action_high=(0.3,))
    tensors['decoder.bias'] = np.array([1e4], dtype=np.float32)
    write_policy(path, spec, tensors)
    robot = Robot(stage)
    active_controller(stage, path, observation_timeout=60.0)
    robot.meet()
    assert robot.ask(np.zeros(9)) == [pytest.approx(0.3)], 'and not the safe command'


def test_fixed_rate(stage: Stage, policy_file: Path) -> None:
    robot = Robot(stage)
    active_controller(stage, policy_file, rate=50.0, observation_timeout=60.0)
    robot.meet()
    stage.spin(0.5)
    assert robot.commands == [], 'no command before the first observation'
    robot.ask(np.full(9, 0.3))
    expected = load_policy(policy_file).act(np.full(9, 0.3)).astype(float).tolist()
    before, began = len(robot.commands), time.monotonic()
    assert stage.until(lambda: len(robot.commands) >= before + 50), 'they go on by themselves'
    assert time.monotonic() - began > 50 / 55, 'and no faster than the rate'
    assert all(command.data.tolist() == expected for command in robot.commands)
    assert stage.transition('deactivate')
    assert stage.until(lambda: robot.commands[-1].data.tolist() == [0.0])
    before = len(robot.commands)
    robot.send(np.full(9, 0.7))
    assert stage.transition('activate')
    stage.spin(0.5)
    assert len(robot.commands) == before, 'what came while inactive is not acted on later'


@pytest.mark.parametrize(
    ('number', 'safe'),
    [
        (signal.SIGINT, []),
        (signal.SIGINT, [0.75]),
        (signal.SIGTERM, [0.75]),
        (signal.SIGHUP, [0.75]),
        (signal.SIGQUIT, [0.75]),
    ],
)
def test_the_last_command_before_the_end_is_safe(
    stage: Stage, policy_file: Path, number: signal.Signals, safe: list[float]
) -> None:
    robot = Robot(stage)
    parameters = {'safe_command': str(safe)} if safe else {}
    controller = active_controller(stage, policy_file, observation_timeout=60.0, **parameters)
    robot.meet()
    for _ in range(20):  # in the middle of work
        robot.send(np.full(9, 0.3))
        stage.spin(0.01)
    assert stage.until(lambda: bool(robot.commands))
    robot.send(np.full(9, 0.3))
    assert controller.end(number) == 0, controller.output
    assert stage.until(lambda: robot.commands[-1].data.tolist() == (safe or [0.0]))
    assert robot.commands[0].data.tolist() != (safe or [0.0])
    assert controller.survivors() == []
    assert 'Traceback' not in controller.output


BROKEN = """
import sys
from proxy_snn_control.control.loop import Loop
from proxy_snn_control.nodes import controller, stopping
from proxy_snn_control.nodes.controller import Controller
from proxy_snn_control.nodes.process import run

answer = Loop.answer

def broken(loop):
    if loop.inputs.ready and loop.inputs.observation([0.0])[0] > 1:
        raise RuntimeError("a defect in the loop")
    answer(loop)

Loop.answer = broken
stopping.install()
sys.exit(run(Controller, sys.argv[1:], Controller.start))
"""


COUNTED = """
import sys
from proxy_snn_control.control.loop import Loop
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.controller import Controller
from proxy_snn_control.nodes.process import run

warm_up = Loop.warm_up

def noted(loop):
    print("warm-up", flush=True)
    return warm_up(loop)

Loop.warm_up = noted
stopping.install()
sys.exit(run(Controller, sys.argv[1:], Controller.start))
"""


def test_the_caches_are_warmed_up_once_before_each_observation(
    stage: Stage, policy_file: Path
) -> None:
    """At 20 a second, and no command goes out by it."""
    robot = Robot(stage)
    command = [sys.executable, '-c', COUNTED, '--ros-args', '-p', f'policy:={policy_file}']
    controller = stage.launch([*command, '-p', 'autostart:=true'])
    expect(controller, 'trained on', stage)
    robot.meet()
    sent, before = len(robot.commands), controller.output.count('warm-up')
    asked = warm_ups = 0
    while asked < 20 or (warm_ups < 5 and asked < 400):  # on a busy machine none is expected
        robot.ask(np.full(9, 0.3))
        stage.spin(0.05)
        asked += 1
        warm_ups = controller.output.count('warm-up') - before
    assert 5 <= warm_ups <= asked + 1, warm_ups
    assert len(robot.commands) == sent + asked


@pytest.mark.parametrize('crowded', ['', 'controller.CROWDED = 60'])
def test_a_defect_in_the_loop_ends_with_the_safe_command(
    stage: Stage, policy_file: Path, crowded: str
) -> None:
    """Also where observations come so fast that a task answers them."""
    robot = Robot(stage)
    code = BROKEN.replace('stopping.install()', f'{crowded}\nstopping.install()')
    command = [sys.executable, '-c', code, '--ros-args', '-p', f'policy:={policy_file}']
    command += ['-p', 'safe_command:=[0.25]', '-p', 'autostart:=true']
    controller = stage.launch([*command, '-p', 'observation_timeout:=60.0'])
    expect(controller, 'trained on', stage)
    assert stage.state() == 'active'
    robot.meet()
    assert robot.ask(np.full(9, 0.3)) != [0.25]
    robot.send(np.full(9, 2.0))
    assert stage.until(lambda: controller.process.poll() is not None), controller.output
    assert controller.process.returncode == 1
    assert 'a defect in the loop' in controller.output
    assert stage.until(lambda: robot.commands[-1].data.tolist() == [0.25])


@pytest.mark.parametrize(
    ('policy', 'parameters', 'reported'),
    [
        ('', {}, 'parameter policy is empty'),
        ('/nowhere/p', {}, 'policy file /nowhere/p: no such file'),
        ('TEXT', {}, 'is no safetensors file'),
        (
            'GOOD',
            {'safe_command': '[0.0, 0.0]'},
            'parameter safe_command has 2 values, expected 1',
        ),
        ('GOOD', {'safe_command': '[7.0]'}, 'parameter safe_command is [7.0], expected values'),
    ],
)
def test_what_cannot_be_configured_reports_why(
    stage: Stage, tmp_path: Path, policy_file: Path, policy: str, parameters: dict, reported: str
) -> None:
    text = tmp_path / 'text'
    text.write_text('no policy at all' * 100)
    path = {'TEXT': text, 'GOOD': policy_file}.get(policy, policy)
    given = {'policy': path, **parameters} if path else parameters
    controller = stage.start('controller', **given)
    assert not stage.transition('configure')
    assert stage.state() == 'unconfigured'
    expect(controller, reported, stage)
    assert controller.end(signal.SIGINT) == 0
    # With nobody to manage it, a controller that cannot start ends with status 1.
    alone = stage.start('controller', autostart='true', **given)
    assert alone.wait() == 1
    assert reported in alone.output
    assert 'Traceback' not in controller.output + alone.output


def test_reload(stage: Stage, tmp_path: Path, policy_file: Path) -> None:
    robot = Robot(stage)
    active_controller(stage, policy_file, observation_timeout=60.0)
    robot.meet()
    observation = np.full(9, 0.3)
    old = robot.ask(observation)
    good = policy_file.read_bytes()
    policy_file.write_bytes(good[:-1])
    refused = stage.call(Trigger, 'controller/reload')
    assert not refused.success
    assert str(policy_file) in refused.message
    assert robot.ask(observation) == old, 'a bad file leaves the old policy at work'
    write_policy(policy_file, *random_policy(observations=8))
    refused = stage.call(Trigger, 'controller/reload')
    assert not refused.success
    assert 'has 8 observations and 1 actions, expected 9 and 1' in refused.message
    write_policy(policy_file, *random_policy(seed=1))
    assert stage.call(Trigger, 'controller/reload').success
    expected = load_policy(policy_file).act(observation).astype(float).tolist()
    assert robot.ask(observation) == expected != old


def test_diagnostics(stage: Stage, policy_file: Path) -> None:
    robot = Robot(stage)
    received = stage.subscribe(DiagnosticArray, '/diagnostics')
    active_controller(stage, policy_file, observation_timeout=60.0)
    robot.meet()
    alone = load_policy(policy_file)
    operations = 0
    for observation in np.random.default_rng(0).normal(0, 1, (20, 9)):
        robot.ask(observation)
        alone.act(observation)
        operations += alone.synaptic_operations

    def values() -> dict[str, str]:
        return {pair.key: pair.value for pair in received[-1].status[0].values} if received else {}

    assert stage.until(lambda: values().get('commands') == '20')
    shown = values()
    assert shown['state'] == 'active'
    assert shown['policy'] == str(policy_file)
    assert float(shown['synaptic_operations_per_command']) == round(operations / 20)
    assert float(shown['nanojoules_per_command']) == pytest.approx(
        operations / 20 * 77e-6, abs=1e-3
    )
    assert 0 < float(shown['latency_median_ms']) <= float(shown['latency_99_ms'])
    last = len(received) - 1
    assert stage.until(lambda: len(received) > last + 3)
    stamps = [each.header.stamp for each in received[last:]]
    seconds = [stamp.sec + stamp.nanosec * 1e-9 for stamp in stamps]
    assert seconds[3] - seconds[0] > 2.5, '1 Hz'


# ---- the trainer


def quick_config(tmp_path: Path) -> Path:
    path = tmp_path / 'quick.yaml'
    path.write_text(
        f'env: {TASK}\nrandom_steps: 50\nsteps: 1000000\neval_every: 100\neval_episodes: 2\n'
        'hidden: [8]\nproxy_hidden: [8]\ncritic_hidden: [8]\nbatch_size: 8\nthreads: 1\n'
    )
    return path


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_train_node(stage: Stage, tmp_path: Path, number: signal.Signals) -> None:
    pytest.importorskip('torch')
    out = tmp_path / 'run'
    steps = stage.subscribe(Float64, 'train/step')
    episodes = stage.subscribe(Float64, 'train/episode_return')
    evaluations = stage.subscribe(Float64, 'train/eval_return')
    train = stage.start('train', config=quick_config(tmp_path), out=out, seed=5)
    assert stage.until(lambda: steps and episodes and len(evaluations) > 1), train.output

    paused = stage.call(Trigger, 'train/pause')
    assert paused.success
    told = stage.call(Trigger, 'train/checkpoint').message
    stage.spin(1.5)
    assert stage.call(Trigger, 'train/checkpoint').message == told, 'paused means no step'
    at = int(told.removeprefix('checkpoint at step '))
    assert stage.until(lambda: steps[-1].data == at)
    written = sorted((out / 'checkpoint').glob('checkpoint-*'))
    assert [path.name for path in written] == [f'checkpoint-{at:010.0f}.safetensors']
    assert stage.call(Trigger, 'train/resume').success
    assert stage.until(lambda: steps[-1].data > at)

    assert train.end(number) == 0, train.output
    assert train.survivors() == []
    assert 'Traceback' not in train.output
    assert 'stopped at step' in train.output
    (last,) = (out / 'checkpoint').glob('checkpoint-*')
    assert last > written[0], 'the end has a checkpoint of its own'
    assert load_policy(out / 'policy_last.safetensors').spec.provenance['seed'] == 5
    with open(out / 'progress.csv', newline='') as file:
        returns = [float(row['eval_return_mean']) for row in csv.DictReader(file)]
    assert stage.until(lambda: evaluations[-1].data == returns[-1]), 'in the queue still'
    # The first may be over before the two have found each other.
    count = len(evaluations)
    assert [message.data for message in evaluations] == returns[-count:]
    assert not [path for path in out.rglob('*') if path.name.endswith('.tmp')]

    again = stage.start('train', out=out, resume='true', steps=0)
    assert again.wait() == 0, again.output
    assert 'done at step' in again.output


def test_train_node_with_several_seeds(stage: Stage, tmp_path: Path) -> None:
    """A run for each seed, in processes of their own here; topics and diagnostics of each."""
    pytest.importorskip('torch')
    out = tmp_path / 'run'
    returns = {seed: stage.subscribe(Float64, f'train/seed_{seed}/eval_return') for seed in (3, 4)}
    states = stage.subscribe(DiagnosticArray, '/diagnostics')
    steps = stage.subscribe(Float64, 'train/step')
    train = stage.start('train', config=quick_config(tmp_path), out=out, seed='[3, 4]')
    assert stage.until(lambda: all(len(each) > 1 for each in returns.values())), (
        f'{returns} {len(states)} {len(steps)}: {train.output}'
    )
    assert stage.call(Trigger, 'train/pause').success

    def shown() -> dict[str, str]:
        """Return what was reported last of each seed."""
        last = {status.name: status.message for state in states for status in state.status}
        return {name.rpartition('seed ')[2]: message for name, message in last.items()}

    assert stage.until(lambda: shown() == {'3': 'paused', '4': 'paused'}), shown()
    stage.spin(1.0)
    at = steps[-1].data
    stage.spin(1.5)
    assert steps[-1].data == at, 'paused means no step'
    assert stage.call(Trigger, 'train/resume').success
    assert stage.until(lambda: steps[-1].data > at)
    assert train.end(signal.SIGINT) == 0, train.output
    assert train.survivors() == []
    assert 'Traceback' not in train.output
    for seed in (3, 4):
        about = load_policy(out / f'seed-{seed}' / 'policy_last.safetensors').spec.provenance
        assert about['seed'] == seed


@pytest.mark.parametrize(
    ('parameters', 'reported'),
    [
        ({}, 'parameter out is empty'),
        ({'out': 'RUN', 'seed': 'x'}, "parameter seed is 'x', expected whole numbers"),
        ({'out': 'RUN', 'env': 'Nothing-v0'}, "task 'Nothing-v0' is not registered"),
        ({'out': 'RUN', 'neuron': 'izh'}, "setting neuron is 'izh'"),
        ({'out': 'RUN', 'config': '/none.yaml'}, 'config file /none.yaml'),
        ({'out': 'RUN', 'resume': 'true'}, 'config.yaml'),
        ({'out': 'RUN', 'resume': 'true', 'config': '/x.yaml'}, 'config does not go with resume'),
    ],
)
def test_train_reports_what_is_wrong(
    stage: Stage, tmp_path: Path, parameters: dict, reported: str
) -> None:
    pytest.importorskip('torch')
    given = {key: tmp_path / 'run' if v == 'RUN' else v for key, v in parameters.items()}
    train = stage.start('train', **given)
    assert train.wait() == 1
    assert reported in train.output
    assert 'Traceback' not in train.output
    assert not (tmp_path / 'run').exists()


# ---- all of them


@pytest.mark.parametrize('node', ['controller', 'sim', 'train'])
@pytest.mark.parametrize('delay', [0.3, 0.8, 1.6, 3.0])
def test_a_signal_while_starting(stage: Stage, tmp_path: Path, node: str, delay: float) -> None:
    out = {'out': tmp_path / 'run', 'env': TASK} if node == 'train' else {}
    process = stage.start(node, **out)
    time.sleep(delay)
    assert process.end(signal.SIGINT) == 0, process.output
    assert process.survivors() == []
    assert 'Traceback' not in process.output


@pytest.mark.parametrize(
    'arguments', [['--ros-args', '-p', 'seed'], ['--ros-args', '--params-file', '/no']]
)
def test_unreadable_ros_arguments(stage: Stage, arguments: list[str]) -> None:
    command = [sys.executable, '-m', 'proxy_snn_control.nodes', 'sim', *arguments]
    process = stage.launch(command)
    assert process.wait() == 1
    assert 'ROS arguments' in process.output
    assert 'Traceback' not in process.output
