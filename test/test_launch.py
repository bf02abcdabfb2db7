# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The launch files: with a real `ros2 launch` where there is one, and what reading them shows."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
import os
from pathlib import Path
import shutil
import signal
import subprocess
import time
from typing import Any

from conftest import NodeProcess, random_policy, Stage, TASK
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from proxy_snn_control.control.messages import message_class
from proxy_snn_control.control.robot import JOINT_STATE, load_robot, Robot
from proxy_snn_control.nodes.messages import EPISODE_RETURNS, RELIABLE, SENSOR_DATA
from proxy_snn_control.policy import load_policy, write_policy
import pytest
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from std_msgs.msg import Float64, Float64MultiArray
from std_srvs.srv import Trigger
import yaml

FILES = ('train', 'control', 'sim', 'demo', 'view')
FOLDER = Path(__file__).parents[1] / 'launch'
ROBOTS = [
    *sorted((FOLDER.parent / 'config' / 'robots').glob('*.yaml')),
    FOLDER.parent / 'examples' / 'own_robot' / 'robot.yaml',
]


def passed_parameters(name: str) -> Iterator[tuple[str, str, str | None]]:
    """Node, parameter and, where the file gives it, type of what a launch file passes on."""
    tree = ast.parse((FOLDER / f'{name}.launch.py').read_text())
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            node = ast.unparse(statement.targets[0]).lower()
            for parameter, (_, kind, _) in ast_items(statement.value):
                yield node, parameter, ast.unparse(kind)
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        keywords = {each.arg: each.value for each in call.keywords}
        if 'executable' in keywords:
            for each in ast.walk(keywords['parameters']):
                for key in each.keys if isinstance(each, ast.Dict) else ():
                    yield ast.literal_eval(keywords['executable']), ast.literal_eval(key), None


def ast_items(table: ast.Dict) -> Iterator[tuple[str, list[ast.expr]]]:
    for key, value in zip(table.keys, table.values, strict=True):
        yield ast.literal_eval(key), value.elts


@pytest.mark.parametrize('name', FILES)
def test_parameters_are_those_of_the_node(name: str) -> None:
    """ROS takes no notice of a parameter that a node does not declare, so nobody else would."""
    passed = set(passed_parameters(name))
    assert len(passed) > 3
    for node, parameter, kind in passed:
        module = pytest.importorskip(f'proxy_snn_control.nodes.{node}', exc_type=ImportError)
        declared = {each.name: type(each.default).__name__ for each in module.PARAMETERS}
        declared['use_sim_time'] = 'bool'
        assert parameter in declared
        dynamic = any(each.name == parameter and each.dynamic for each in module.PARAMETERS)
        # A parameter of several types, or a list, is given as the type that its text is.
        by_text = dynamic or declared[parameter] == 'list'
        expected = ('None',) if by_text else (None, declared[parameter])
        assert kind in expected, parameter


@pytest.mark.skipif(shutil.which('setpriv') is None, reason='no setpriv command')
@pytest.mark.parametrize('node', ['controller', 'sim', 'train'])
def test_a_node_stops_when_what_started_it_is_gone(tmp_path: Path, node: str) -> None:
    stand_in = tmp_path / 'python3'
    stand_in.write_text('#!/bin/sh\nexec sleep 60\n')
    stand_in.chmod(0o755)
    wrapper = FOLDER.parent / 'resource' / 'bin' / node
    parent = subprocess.Popen(
        ['sh', '-c', f"'{wrapper}' & wait"],
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
        start_new_session=True,
    )
    command = ['ps', '-o', 'args=', '--sid', str(parent.pid)]

    def is_seen(expected: bool) -> bool:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            if ('sleep 60' in output) == expected:
                return True
            time.sleep(0.02)
        return False

    assert is_seen(True)
    parent.kill()
    parent.wait()
    assert is_seen(False)


@pytest.fixture
def stage(stage: Stage) -> Stage:
    """As in conftest, where a ROS 2 installation is sourced: launch is not among the wheels."""
    if shutil.which('ros2') is None:
        pytest.skip('no ros2 command')
    return stage


def launch(stage: Stage, name: str, *arguments: str) -> NodeProcess:
    return stage.launch(['ros2', 'launch', 'proxy_snn_control', f'{name}.launch.py', *arguments])


def ends_cleanly(process: NodeProcess) -> None:
    """Ctrl-C as a terminal sends it: to the whole process group."""
    os.killpg(process.process.pid, signal.SIGINT)
    process.wait()
    assert 'process has died' not in process.output, process.output
    assert 'Traceback' not in process.output, process.output
    assert process.survivors() == []


def parameters(stage: Stage, node: str, *names: str) -> list[Any]:
    request = GetParameters.Request(names=names)
    values = stage.call(GetParameters, f'{node}/get_parameters', request).values
    return [parameter_value_to_python(value) for value in values]


def process_of(launched: NodeProcess, node: str) -> int:
    """Return the process of a node that was launched."""
    command = ['ps', '-ww', '-o', 'pid=,args=', '--sid', str(launched.process.pid)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (found,) = [line for line in lines if f'proxy_snn_control.nodes {node} --ros-args' in line]
    return int(found.split()[0])


def commands_of(messages: list[Any]) -> list[float]:
    return [number for message in messages for number in message.data]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a parameter file with a safe command that the policy does not give by itself."""
    path = tmp_path / 'controller.yaml'
    path.write_text('/**:\n  ros__parameters:\n    safe_command: [0.5]\n')
    return path


@pytest.mark.parametrize('name', FILES)
def test_arguments_are_described(stage: Stage, name: str) -> None:
    process = launch(stage, name, '--show-args')
    assert process.wait() == 0, process.output
    assert 'No description given' not in process.output
    for argument in ('namespace', 'use_sim_time'):
        assert f"'{argument}'" in process.output


def test_sim_in_a_namespace_with_a_parameter_file(stage: Stage, tmp_path: Path) -> None:
    config = tmp_path / 'sim.yaml'
    config.write_text(
        f'/**:\n  ros__parameters: {{env: {TASK}, seed: 1}}\n'
        '/left/sim:\n  ros__parameters: {seed: 7, episodes: 1000}\n'
    )
    received = stage.subscribe(Float64MultiArray, '/left/observation', SENSOR_DATA)
    process = launch(
        stage,
        'sim',
        f'config:={config}',
        'namespace:=left',
        'episodes:=2000',
        'use_sim_time:=true',
    )
    assert stage.until(lambda: len(received) > 5), process.output
    names = ('env', 'mode', 'seed', 'episodes', 'use_sim_time')
    assert parameters(stage, '/left/sim', *names) == [TASK, 'realtime', 7, 2000, True]
    ends_cleanly(process)


def test_control_autostarts_and_reads_its_config(
    stage: Stage, policy_file: Path, config: Path
) -> None:
    commands = stage.subscribe(Float64MultiArray, '/right/command', RELIABLE)
    process = launch(
        stage, 'control', f'policy:={policy_file}', f'config:={config}', 'namespace:=right'
    )
    assert stage.until(lambda: bool(commands)), process.output  # stale at once: nobody observes
    assert commands[0].data.tolist() == [0.5]
    assert stage.state('/right/controller') == 'active'
    ends_cleanly(process)


NAMES = ('policy', 'rate', 'shadow', 'observation_timeout', 'use_sim_time')


def sections(policy_file: Path, first: str = 'every') -> Path:
    """Return a parameter file with values for every node, and other values for one."""
    every = (
        f'/**:\n  ros__parameters:\n    policy: {policy_file}\n    rate: 10.0\n'
        '    observation_timeout: 0.25\n    use_sim_time: true\n'
    )
    one = '/arm/controller:\n  ros__parameters: {rate: 20.0, shadow: true}\n'
    path = policy_file.with_name('sections.yaml')
    path.write_text(every + one if first == 'every' else one + every)
    return path


def test_arguments_left_out_come_from_the_parameter_file(stage: Stage, policy_file: Path) -> None:
    config = sections(policy_file)
    process = launch(stage, 'control', f'config:={config}', 'namespace:=arm')
    values = parameters(stage, '/arm/controller', *NAMES)
    assert values == [str(policy_file), 20.0, True, 0.25, True], process.output
    ends_cleanly(process)


@pytest.mark.parametrize('first', ['every', 'one'])
def test_arguments_go_over_the_parameter_file(stage: Stage, policy_file: Path, first: str) -> None:
    config = sections(policy_file, first)
    given = ('rate:=50', 'shadow:=False', 'use_sim_time:=false', 'log_level:=error')
    process = launch(stage, 'control', f'config:={config}', 'namespace:=arm', *given)
    values = parameters(stage, '/arm/controller', *NAMES)
    assert values == [str(policy_file), 50.0, False, 0.25, False], process.output
    assert 'trained on' not in process.output  # what the controller logs of a policy, an INFO
    ends_cleanly(process)


@pytest.mark.parametrize('name', ['control', 'sim'])
def test_a_missing_parameter_file_is_named(stage: Stage, name: str) -> None:
    """Launch itself would only warn, and the node start without the file's values."""
    process = launch(stage, name, 'config:=/nowhere/c.yaml')
    assert process.wait() == 1
    assert 'parameter file /nowhere/c.yaml: no such file' in process.output
    assert 'process started' not in process.output


LAVA = Path(__file__).parents[1] / '.venv-lava/bin/python'


@pytest.mark.skipif(not LAVA.exists(), reason='there is no .venv-lava; `make lava` makes it')
def test_control_with_lava(stage: Stage, policy_file: Path) -> None:
    """Launch starts the neuromorphic node, and again when it was killed."""
    diagnostics = stage.subscribe(DiagnosticArray, '/diagnostics')
    observations = stage.node.create_publisher(Float64MultiArray, '/left/observation', SENSOR_DATA)
    stage.node.create_timer(0.05, lambda: observations.publish(Float64MultiArray(data=[0.1] * 9)))
    arguments = [f'policy:={policy_file}', 'backend:=lava', f'lava_python:={LAVA}']
    process = launch(stage, 'control', *arguments, 'namespace:=left')

    def backend() -> str:
        for message in reversed(diagnostics):
            for status in message.status:
                if status.name == '/left/controller':
                    return {p.key: p.value for p in status.values}.get('backend', '')
        return ''

    for _ in range(2):
        assert stage.until(lambda: backend() == 'lava'), process.output
        found = subprocess.run(
            ['pgrep', '--session', str(process.process.pid), '-f', 'nodes neuromorphic'],
            capture_output=True,
            text=True,
            check=True,
        )
        os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
        assert stage.until(lambda: backend() == 'fallback'), process.output
    os.killpg(process.process.pid, signal.SIGINT)
    process.wait()
    assert 'Traceback' not in process.output, process.output
    assert process.survivors() == []


@pytest.mark.skipif(not LAVA.exists(), reason='there is no .venv-lava; `make lava` makes it')
def test_lava_in_a_group_with_a_namespace(stage: Stage, policy_file: Path) -> None:
    bringup = policy_file.with_name('group.launch.py')
    bringup.write_text(
        f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import PushRosNamespace
from launch_ros.substitutions import FindPackageShare

CONTROL = PathJoinSubstitution(
    [FindPackageShare("proxy_snn_control"), "launch", "control.launch.py"]
)


def generate_launch_description():
    given = dict(policy={str(policy_file)!r}, backend="lava", lava_python={str(LAVA)!r})
    return LaunchDescription([GroupAction([
        PushRosNamespace("robot"),
        IncludeLaunchDescription(CONTROL, launch_arguments=given.items()),
    ])])
"""
    )
    diagnostics = stage.subscribe(DiagnosticArray, '/diagnostics')
    topic = '/robot/observation'
    observations = stage.node.create_publisher(Float64MultiArray, topic, SENSOR_DATA)
    stage.node.create_timer(0.05, lambda: observations.publish(Float64MultiArray(data=[0.1] * 9)))
    process = stage.launch(['ros2', 'launch', str(bringup)])

    def backends() -> set[str]:
        statuses = [status for message in diagnostics for status in message.status]
        return {
            pair.value
            for status in statuses
            if status.name == '/robot/controller'
            for pair in status.values
            if pair.key == 'backend'
        }

    assert stage.until(lambda: 'lava' in backends()), process.output
    os.killpg(process.process.pid, signal.SIGINT)
    process.wait()


def test_control_reports_why_it_cannot_start(stage: Stage) -> None:
    process = launch(stage, 'control', 'policy:=/nowhere/p.safetensors')
    assert stage.until(
        lambda: 'policy file /nowhere/p.safetensors: no such file' in process.output
    )
    process.wait()
    assert 'Traceback' not in process.output


def test_control_without_autostart_waits_for_its_transitions(
    stage: Stage, policy_file: Path, config: Path
) -> None:
    commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
    process = launch(
        stage, 'control', f'policy:={policy_file}', f'config:={config}', 'autostart:=false'
    )
    assert stage.state() == 'unconfigured'
    assert stage.transition('configure')
    assert stage.state() == 'inactive'
    stage.spin(1)  # twice the time after which a silent source is stale
    assert commands == []
    assert stage.transition('activate')
    assert stage.until(lambda: bool(commands)), process.output
    assert stage.transition('deactivate')
    assert stage.transition('cleanup')
    assert stage.state() == 'unconfigured'
    ends_cleanly(process)


def test_in_a_launch_file_of_the_users(stage: Stage, policy_file: Path) -> None:
    """What an including file sets with the usual actions holds for the nodes: see README.md."""
    bringup = policy_file.with_name('bringup.launch.py')
    bringup.write_text(
        f"""
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import PushRosNamespace, SetParameter, SetRemap
from launch_ros.substitutions import FindPackageShare


def ours(name, **arguments):
    path = PathJoinSubstitution([FindPackageShare("proxy_snn_control"), "launch", name])
    return IncludeLaunchDescription(path, launch_arguments=arguments.items())


def generate_launch_description():
    return LaunchDescription([
        GroupAction([
            PushRosNamespace("robot"),
            SetRemap("command", "effort_controller/commands"),
            SetRemap("observation", "/sensors/observation"),
            SetParameter("use_sim_time", True),
            ours("control.launch.py", policy={str(policy_file)!r}, namespace="arm"),
        ]),
        GroupAction([
            PushRosNamespace("world"),
            SetRemap("command", "/robot/arm/effort_controller/commands"),
            SetRemap("observation", "/sensors/observation"),
            ours("sim.launch.py", env="{TASK}"),
        ]),
    ])
"""
    )
    commands = stage.subscribe(
        Float64MultiArray, '/robot/arm/effort_controller/commands', RELIABLE
    )
    returns = stage.subscribe(Float64, '/world/sim/episode_return', EPISODE_RETURNS)
    process = stage.launch(['ros2', 'launch', str(bringup)])
    assert stage.until(lambda: len(commands) > 20 and len(returns) > 1), process.output
    assert any(commands_of(commands)), 'no command but the safe one'
    assert parameters(stage, '/robot/arm/controller', 'use_sim_time') == [True]
    assert parameters(stage, '/world/sim', 'use_sim_time') == [False]
    ends_cleanly(process)


def control_and_sim(
    stage: Stage, policy_file: Path, config: Path, *arguments: str
) -> tuple[NodeProcess, list[Any]]:
    """Launch the controller on a sim of its own; return what the recorder receives."""
    commands = stage.subscribe(Float64MultiArray, 'command', RELIABLE)
    stage.start('sim', env=TASK, mode='realtime')
    process = launch(stage, 'control', f'policy:={policy_file}', f'config:={config}', *arguments)
    assert stage.until(lambda: len(set(commands_of(commands))) > 10), stage.outputs()
    return process, commands


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('whom', ['group', 'launch'])
def test_the_last_command_is_the_safe_one(
    stage: Stage, policy_file: Path, config: Path, number: signal.Signals, whom: str
) -> None:
    process, commands = control_and_sim(stage, policy_file, config)
    if whom == 'group':
        os.killpg(process.process.pid, number)
    else:
        process.process.send_signal(number)
    assert stage.until(lambda: process.process.poll() is not None), process.output
    assert stage.until(lambda: process.survivors() == []), process.output
    stage.spin(0.5)
    assert commands_of(commands)[-1] == 0.5
    assert 'Traceback' not in process.output, process.output


def test_nothing_commands_after_launch_was_killed(
    stage: Stage, policy_file: Path, config: Path
) -> None:
    process, commands = control_and_sim(stage, policy_file, config)
    process.process.kill()
    assert stage.until(lambda: process.survivors() == []), process.output
    stage.spin(0.5)
    assert commands_of(commands)[-1] == 0.5


def test_respawn(stage: Stage, policy_file: Path, config: Path) -> None:
    arguments = ('respawn:=true', 'resume_after_crash:=true')
    process, commands = control_and_sim(stage, policy_file, config, *arguments)
    for times in (1, 2):
        killed = process_of(process, 'controller')
        os.kill(killed, signal.SIGKILL)
        assert stage.until(lambda n=times: process.output.count('process has died') == n)
        stage.spin(0.3)  # what it published before has arrived
        received = len(commands)
        assert stage.until(lambda n=received: len(set(commands_of(commands[n:]))) > 10), (
            process.output
        )
        assert process_of(process, 'controller') != killed
        assert stage.state() == 'active'
    spec = load_policy(policy_file).spec
    low, high = float(spec.action_low[0]), float(spec.action_high[0])
    assert all(low <= command <= high for command in commands_of(commands))

    os.kill(process_of(process, 'controller'), signal.SIGKILL)
    stage.spin(0.3)
    os.killpg(process.process.pid, signal.SIGINT)  # while launch waits before it respawns
    process.wait()
    assert process.survivors() == []


def test_a_respawned_controller_waits_for_arm(
    stage: Stage, policy_file: Path, config: Path
) -> None:
    process, commands = control_and_sim(stage, policy_file, config, 'respawn:=true')
    os.kill(process_of(process, 'controller'), signal.SIGKILL)
    assert stage.until(
        lambda: 'did not shut down in order; call ~/arm to continue' in process.output
    )
    stage.spin(1.0)
    received = len(commands)
    assert stage.until(lambda: len(commands) > received + 10), process.output
    assert set(commands_of(commands[received:])) == {0.5}
    assert stage.call(Trigger, 'controller/arm').success
    assert stage.until(lambda: len(set(commands_of(commands[received:]))) > 10), process.output
    os.killpg(process.process.pid, signal.SIGINT)
    process.wait()
    assert process.survivors() == []


def policy_for(robot: Path, folder: Path) -> tuple[Path, Robot]:
    """Return a policy of random weights with a robot file's names; and the robot."""
    content = yaml.safe_load(robot.read_text())
    observations, actions = list(content['observation']), content['command']['outputs']
    names = [output['action'] for output in actions]
    named = {'observation_names': tuple(observations), 'action_names': tuple(names)}
    size = len(observations)
    if 'history' in content:
        size, named = size * content['history']['steps'], {}
    spec, tensors = random_policy(size, len(names), control_period=0.02, **named)
    write_policy(folder / 'policy.safetensors', spec, tensors)
    return folder / 'policy.safetensors', load_robot(str(robot), spec, 0.5, False)


def messages_for(robot: Robot, stage: Stage) -> Any:
    """Return a function that publishes of every source what a robot at rest would."""
    publishers = []
    for source in robot.sources:
        message = message_class(source.type_name)()
        if source.type_name == JOINT_STATE:
            joints = {term.number[0] for term in robot.terms if term.source == source.name}
            joints |= {output.joint for output in robot.command.outputs if output.joint}
            message.name = sorted(joints)
            message.position = message.velocity = [0.0] * len(joints)
        for path in ('orientation', 'pose.orientation', 'pose.pose.orientation'):
            with suppress(AttributeError):
                attrgetter(path)(message).w = 1.0
        qos = RELIABLE if source.reliable else SENSOR_DATA
        publishers.append((stage.node.create_publisher(type(message), source.topic, qos), message))

    def publish() -> None:
        now = stage.node.get_clock().now().to_msg()
        for publisher, message in publishers:
            if hasattr(message, 'header'):
                message.header.stamp = now
            publisher.publish(message)

    return publish


@pytest.mark.parametrize('robot', ROBOTS, ids=lambda path: path.stem)
def test_every_robot_file_that_is_shipped(stage: Stage, tmp_path: Path, robot: Path) -> None:
    policy, parts = policy_for(robot, tmp_path)
    kind = message_class(parts.command.type_name)
    commands = stage.subscribe(kind, parts.command.topic, RELIABLE)
    diagnostics = stage.subscribe(DiagnosticArray, '/diagnostics')
    stage.node.create_timer(0.02, messages_for(parts, stage))
    process = launch(stage, 'control', f'policy:={policy}', f'robot:={robot}')

    def levels() -> list[tuple[bytes, str]]:
        statuses = [status for message in diagnostics for status in message.status]
        counts = [{pair.key: pair.value for pair in status.values} for status in statuses]
        return [
            (status.level, status.message)
            for status, count in zip(statuses, counts, strict=True)
            if int(count.get('commands', 0)) > 20
        ]

    assert stage.until(lambda: bool(levels())), process.output
    assert levels()[-1][0] != DiagnosticStatus.ERROR, levels()[-1]
    assert len(commands) > 20
    ends_cleanly(process)


def test_arguments_reach_the_controller(stage: Stage, policy_file: Path) -> None:
    given = ('lockstep:=true', 'wiring:=none', 'rivals:=stop', 'ramp_in:=2', 'lock:=true')
    given = (*given, 'plugins:=[adaptive_lif]')
    examples = str(FOLDER.parent / 'examples' / 'plugins')
    path = os.pathsep.join(filter(None, [os.environ.get('PYTHONPATH'), examples]))
    stage.environment['PYTHONPATH'] = path
    process = launch(stage, 'control', f'policy:={policy_file}', *given)
    values = parameters(stage, 'controller', *(argument.split(':=')[0] for argument in given))
    assert values == [True, 'none', 'stop', 2.0, True, ['adaptive_lif']], process.output
    ends_cleanly(process)


def test_demo_takes_the_policys_task(stage: Stage, tmp_path: Path) -> None:
    policy = tmp_path / 'hopper.safetensors'
    about = {'env': 'Hopper-v5', 'env_kwargs': {'frame_skip': 8, 'xml_file': 'hopper.xml'}}
    write_policy(policy, *random_policy(11, 3, provenance=about))
    process = launch(stage, 'demo', f'policy:={policy}', 'episodes:=0')
    made = parameters(stage, 'sim', 'env', 'env_kwargs')
    assert made == ['Hopper-v5', 'frame_skip=8 \'xml_file="hopper.xml"\'']
    assert stage.until(lambda: 'episode 2: return' in process.output), process.output
    ends_cleanly(process)


@pytest.mark.parametrize('mode', ['lockstep', 'realtime'])
def test_demo(stage: Stage, policy_file: Path, mode: str) -> None:
    returns = stage.subscribe(Float64, '/pair/sim/episode_return', EPISODE_RETURNS)
    arguments = [f'use_sim_time:={str(mode == "realtime").lower()}', 'namespace:=pair']
    process = launch(
        stage, 'demo', f'policy:={policy_file}', 'episodes:=0', f'mode:={mode}', *arguments
    )
    assert stage.until(lambda: len(returns) > 2), process.output
    values = parameters(stage, '/pair/controller', 'lockstep', 'use_sim_time')
    assert values == [mode == 'lockstep', mode == 'realtime']
    ends_cleanly(process)


def test_demo_ends_with_its_episodes(stage: Stage, policy_file: Path) -> None:
    process = launch(stage, 'demo', f'policy:={policy_file}', 'episodes:=3')
    assert process.wait() == 0, process.output
    assert 'episode 3: return' in process.output
    assert process.output.count('process has finished cleanly') == 2
    assert 'Caught exception' not in process.output
    assert process.survivors() == []


def test_train(stage: Stage, tmp_path: Path) -> None:
    pytest.importorskip('torch')
    received = stage.subscribe(DiagnosticArray, '/diagnostics')
    out = tmp_path / 'run'
    arguments = ('namespace:=lab', 'use_sim_time:=true')
    process = launch(stage, 'train', f'env:={TASK}', 'steps:=1000', f'out:={out}', *arguments)
    assert stage.until(lambda: bool(received)), process.output
    values = parameters(stage, '/lab/train', 'steps', 'resume', 'use_sim_time')
    assert values == [1000, False, True]
    ends_cleanly(process)
    assert [*(out / 'checkpoint').glob('checkpoint-*.safetensors')]
