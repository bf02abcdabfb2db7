# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Training over ROS, against simulators in processes of their own."""

import importlib.util
import json
from pathlib import Path
import signal
import sys
import time

from conftest import NodeProcess, PATIENCE, Stage, TASK
import gymnasium
import numpy as np
from proxy_snn_control import child
from proxy_snn_control.control.task import load_task
from proxy_snn_control.learning.config import load_config
from proxy_snn_control.policy import read_policy, UserError
import pytest
from safetensors.numpy import load_file
from training_kit import QUICK, timeless

pytest.importorskip('torch')
pytest.importorskip('rclpy')

HERE = Path(__file__).parent
SETTINGS = {name: value for name, value in QUICK.items() if name != 'env'}

PENDULUM_ROBOT = """
sources:
  all: {type: std_msgs/Float64MultiArray, topic: observation}
observation:
  cart: {source: all, index: 0}
  sin1: {source: all, index: 1}
  sin2: {source: all, index: 2}
  cos1: {source: all, index: 3}
  cos2: {source: all, index: 4}
  cart_speed: {source: all, index: 5}
  speed1: {source: all, index: 6}
  speed2: {source: all, index: 7}
  force: {source: all, index: 8}
command:
  type: std_msgs/Float64MultiArray
  topic: command
  outputs: [{action: slide}]
"""
PENDULUM_TASK = """
robot: robot.yaml
control_period: 0.05
episode_steps: 1000
reward: {topic: sim/reward}
reset: {service: sim/reset, type: std_srvs/srv/Trigger}
step: {service: sim/step, type: std_srvs/srv/Trigger}
random_state: sim
"""
INTEGRATOR_ROBOT = """
sources:
  all: {type: std_msgs/Float64MultiArray, topic: place}
observation:
  x: {source: all, index: 0}
  one: {source: all, index: 1}
command:
  type: std_msgs/Float64MultiArray
  topic: speed
  outputs: [{action: speed, limits: [-0.5, 1.0]}]
"""
INTEGRATOR_TASK = """
robot: robot.yaml
control_period: 0.1
episode_steps: 10
reward: goal:reward
reset: {service: again, type: std_srvs/srv/Empty}
step: {service: advance, type: std_srvs/srv/Trigger}
timeout: 2.0
"""
GOAL = """
def reward(observation, action, following):
    assert abs(action["speed"]) <= 1
    return -abs(following["x"]), abs(following["x"]) > 3
"""
ARM_ROBOT = """
sources:
  joints: {type: sensor_msgs/JointState, topic: arm/joint_states}
  base: {type: nav_msgs/Odometry, topic: odom}
observation:
  rail.position: {source: base, field: pose.pose.position.x}
  shoulder.position: {source: joints, joint: shoulder, field: position}
  elbow.position: {source: joints, joint: elbow, field: position}
  rail.velocity: {source: base, field: twist.twist.linear.x}
  shoulder.velocity: {source: joints, joint: shoulder, field: velocity}
  elbow.velocity: {source: joints, joint: elbow, field: velocity}
command:
  type: std_msgs/Float64MultiArray
  topic: arm/efforts
  outputs:
    - {action: shoulder, scale: 2.0}
    - {action: elbow}
    - {action: rail, scale: 5.0, limits: [-4.0, 4.0]}
"""
ARM_TASK = """
robot: robot.yaml
control_period: 0.04
episode_steps: 25
actions: {rail: [-1, 1], shoulder: [-1, 1], elbow: [-1, 1]}
reward: upright:reward
reset: {service: world/restart, type: std_srvs/srv/SetBool, request: {data: true}}
step: {service: world/advance, type: std_srvs/srv/Empty}
safety: {slew_rate: [20.0, 20.0, 40.0]}
"""
UPRIGHT = """
def reward(observation, action, following):
    return 1 - following["shoulder.position"] ** 2, abs(following["shoulder.position"]) > 2
"""


def write(folder: Path, **files: str) -> Path:
    """Write files of these names, and give the task file."""
    for name, text in files.items():
        path = folder / (name if '.' in name else f'{name}.yaml')
        path.write_text(text)
    return folder / 'task.yaml'


def sets(**changes: object) -> list[str]:
    settings = {**SETTINGS, **changes}
    return ['--set', *(f'{name}={json.dumps(value)}' for name, value in settings.items())]


def command(stage: Stage, *arguments: object) -> NodeProcess:
    return stage.launch(child.command('proxy_snn_control.cli', *map(str, arguments)))


def finished(process: NodeProcess, seconds: float = 2 * PATIENCE) -> str:
    assert process.wait(seconds) == 0, process.output
    return process.output


def several_resets(environment: gymnasium.Env) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        environment.reset()


def one_step(environment: gymnasium.Env) -> None:
    environment.reset()
    environment.step(np.zeros(1, np.float32))


# A simulator that is killed counts as gone after two seconds, not after DDS's twenty.
SHORT_LEASE = """
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <participant profile_name="mortal" is_default_profile="true"><rtps><builtin><discovery_config>
    <leaseDuration><sec>2</sec></leaseDuration>
    <leaseAnnouncement><sec>0</sec><nanosec>500000000</nanosec></leaseAnnouncement>
  </discovery_config></builtin></rtps></participant>
</profiles>
"""


def python(stage: Stage, file: str, *arguments: str) -> NodeProcess:
    return stage.launch([sys.executable, str(HERE / file), *arguments])


def same_numbers(a: Path, b: Path) -> None:
    """Check for the same progress, clocks aside, and the same weights."""
    assert timeless(a) == timeless(b)
    for name in ('policy.safetensors', 'policy_last.safetensors'):
        mine, theirs = read_policy(a / name), read_policy(b / name)
        assert mine.tensors.keys() == theirs.tensors.keys()
        for tensor, values in mine.tensors.items():
            np.testing.assert_array_equal(values, theirs.tensors[tensor], err_msg=tensor)


def test_training_over_ros_is_training_in_process(stage: Stage, tmp_path: Path) -> None:
    """Stopped in the middle of an episode and taken up again, too."""
    task = write(tmp_path, robot=PENDULUM_ROBOT, task=PENDULUM_TASK)
    stage.start('sim', env=TASK, mode='stepped')
    here, there, halves = (tmp_path / name for name in ('here', 'there', 'halves'))
    local = command(stage, 'train', '--env', TASK, *sets(), '--out', here)
    over = command(stage, 'train', '--env', f'ros:{task}', *sets(), '--out', there)
    finished(local)
    finished(over)
    assert len(timeless(here)) > 3
    same_numbers(here, there)
    spec = read_policy(there / 'policy.safetensors').spec
    assert spec.observation_names and spec.observation_names[0] == 'cart'
    assert (spec.action_names, spec.control_period) == (('slide',), 0.05)
    assert spec.provenance['env'] == f'ros:{task}'
    first = command(stage, 'train', '--env', f'ros:{task}', *sets(steps=30), '--out', halves)
    finished(first)
    finished(command(stage, 'train', '--resume', '--set', 'steps=60', '--out', halves))
    for name in ('checkpoint-0000000120', 'replay-'):
        mine, theirs = (
            load_file(next((run / 'checkpoint').rglob(f'{name}*.safetensors')))
            for run in (here, halves)
        )
        for tensor in mine:
            np.testing.assert_array_equal(mine[tensor], theirs[tensor], err_msg=tensor)
    # Evaluated over ROS, it gets the returns of an evaluation in process.
    policy = there / 'policy.safetensors'
    reports = []
    for env in (TASK, f'ros:{task}'):
        done = command(
            stage, 'evaluate', policy, '--env', env, '--episodes', 2, '--seed', 5, '--json'
        )
        reports.append(json.loads(finished(done).splitlines()[-1]))
    assert reports[0]['returns'] == reports[1]['returns']
    asked = command(stage, 'evaluate', policy)
    assert asked.wait(60) == 1
    assert 'no module is imported because a file names it; give --env ros:' in asked.output


def test_a_foreign_simulator_trains_and_is_then_controlled(stage: Stage, tmp_path: Path) -> None:
    task = write(tmp_path, robot=ARM_ROBOT, task=ARM_TASK, **{'upright.py': UPRIGHT})
    world = python(stage, 'foreign_sim.py')
    run, again = tmp_path / 'run', tmp_path / 'again'
    finished(command(stage, 'train', '--env', f'ros:{task}', *sets(), '--out', run))
    finished(command(stage, 'train', '--env', f'ros:{task}', *sets(), '--out', again))
    same_numbers(run, again)  # nothing depends on when a message came
    policy = read_policy(run / 'policy.safetensors')
    assert policy.spec.action_names == ('rail', 'shoulder', 'elbow')
    low, high = policy.tensors['observation.quantiles'][[0, -1]]
    assert (low < high).all(), 'every number moved'
    world.end(signal.SIGKILL)
    # The same robot file deploys it, in real time.
    python(stage, 'foreign_sim.py', 'realtime')
    from std_msgs.msg import Float64MultiArray

    efforts = stage.subscribe(Float64MultiArray, 'arm/efforts')
    controller = stage.start(
        'controller',
        policy=run / 'policy.safetensors',
        robot=tmp_path / 'robot.yaml',
        autostart='true',
    )
    # Until the world is there, it gets the safe command.
    assert stage.until(lambda: len(efforts) > 20 and any(any(each.data) for each in efforts)), (
        controller.output
    )
    assert 'active: commands go to /arm/efforts' in controller.output
    numbers = np.array([list(message.data) for message in efforts])
    assert (np.abs(numbers) <= [2.0, 1.0, 4.0]).all()


def test_the_end_of_a_step_is_waited_for(stage: Stage, tmp_path: Path, monkeypatch) -> None:
    """By its stamps, after a reset to time 0 too, whose messages have none."""
    from proxy_snn_control.nodes import ros_task

    monkeypatch.setenv('ROS_DOMAIN_ID', stage.environment['ROS_DOMAIN_ID'])
    task = write(tmp_path, robot=ARM_ROBOT, task=ARM_TASK, **{'upright.py': UPRIGHT})
    python(stage, 'foreign_sim.py', 'late')
    environment = ros_task.make(str(task))
    for _ in range(2):
        environment.reset(seed=0)
        for step in (1, 2, 3):
            environment.step(np.zeros(3, np.float32))
            assert environment._inputs.stamp == step * 40_000_000
    environment.close()


def test_a_simulator_that_ends_and_comes_back(stage: Stage, tmp_path: Path) -> None:
    """The run waits, and of the gap it learns nothing; the gate's limits hold in every step."""
    task = write(tmp_path, robot=INTEGRATOR_ROBOT, task=INTEGRATOR_TASK, **{'goal.py': GOAL})
    profiles = tmp_path / 'profiles.xml'
    profiles.write_text(SHORT_LEASE)
    for name in ('FASTDDS', 'FASTRTPS'):
        stage.environment[f'{name}_DEFAULT_PROFILES_FILE'] = str(profiles)
    world, run = python(stage, 'integrator_sim.py'), tmp_path / 'run'
    settings = sets(steps=50, eval_every=200, checkpoint_every=200, random_steps=150)
    train = command(stage, 'train', '--env', f'ros:{task}', *settings, '--out', run)
    assert stage.until(lambda: (run / 'progress.csv').is_file()), train.output
    stage.spin(0.5)
    world.end(signal.SIGKILL)
    given_up = 'the episode is discarded; waiting'
    assert stage.until(lambda: given_up in train.output), train.output
    # It may die at any moment of a step.
    missed = (
        'no answer of service',
        'there is no service',
        'a command on topic',
        'observation on',
    )
    assert any(each in train.output for each in missed), train.output
    python(stage, 'integrator_sim.py')
    finished(train)
    assert 'the task answers again, a new episode begins' in train.output
    (file,) = (run / 'checkpoint').rglob('replay-*.safetensors')
    rows = load_file(file)
    x, following = rows['observation'][:, 0], rows['next_observation'][:, 0]
    moved = 0.1 * np.clip(rows['action'][:, 0], -0.5, 1.0)
    assert len(moved) == 200
    np.testing.assert_allclose(following - x, moved, atol=1e-5)
    assert (np.abs(moved) > 0.01).sum() > 150


def test_a_simulator_for_each_member(stage: Stage, tmp_path: Path) -> None:
    """Two seeds at once, each with the simulator of its namespace."""
    text = INTEGRATOR_TASK + 'namespace: robot_{seed}\n'
    task = write(tmp_path, robot=INTEGRATOR_ROBOT, task=text, **{'goal.py': GOAL})
    for seed in (3, 4):
        python(stage, 'integrator_sim.py', f'/robot_{seed}')
    run = tmp_path / 'run'
    train = command(stage, 'train', '--env', f'ros:{task}', *sets(), '--seed', 3, 4, '--out', run)
    finished(train)
    lines = [timeless(run / f'seed-{seed}') for seed in (3, 4)]
    assert len(lines[0]) == len(lines[1]) == 4
    assert lines[0] != lines[1]


def test_real_time(stage: Stage, tmp_path: Path) -> None:
    """Time passes by itself: a step takes a control period, and the learner computes meanwhile."""
    import csv

    text = ARM_TASK.replace(
        'step: {service: world/advance, type: std_srvs/srv/Empty}', 'settle: 2'
    )
    task = write(tmp_path, robot=ARM_ROBOT, task=text, **{'upright.py': UPRIGHT})
    python(stage, 'foreign_sim.py', 'realtime')
    from std_msgs.msg import Float64MultiArray

    efforts = stage.subscribe(Float64MultiArray, 'arm/efforts')
    run = tmp_path / 'run'
    settings = sets(random_steps=40, steps=40, eval_every=80, eval_episodes=1, checkpoint_every=80)
    train = command(stage, 'train', '--env', f'ros:{task}', *settings, '--out', run)
    assert stage.until(lambda: train.process.poll() is not None), train.output
    assert train.process.returncode == 0, train.output
    assert len(efforts) > 80
    left = stage.until(lambda: list(efforts[-1].data) == [0.0, 0.0, 0.0])
    assert left, f'the last command is {efforts[-1].data}, expected the safe one'
    with open(run / 'progress.csv', newline='') as file:
        last = list(csv.DictReader(file))[-1]
    assert last['step'] == '80'
    assert float(last['steps_per_second']) < 25.5  # 1 / 0.04 s


def test_the_time_of_the_simulator(stage: Stage, tmp_path: Path, monkeypatch) -> None:
    """With `clock: sim` a step is a control period of /clock, which a reset sets back."""
    from proxy_snn_control.nodes import ros_task
    from proxy_snn_control.policy.errors import Interrupted

    monkeypatch.setenv('ROS_DOMAIN_ID', stage.environment['ROS_DOMAIN_ID'])
    text = ARM_TASK.replace('step: {service: world/advance, type: std_srvs/srv/Empty}', '')
    text += 'clock: sim\nsettle: 1\ntimeout: 2.0\n'
    task = write(tmp_path, robot=ARM_ROBOT, task=text, **{'upright.py': UPRIGHT})
    world = python(stage, 'foreign_sim.py', 'realtime', 'clock')
    environment = ros_task.make(str(task))
    action = np.zeros(3, np.float32)
    for _ in range(3):
        began = time.monotonic()
        environment.reset(seed=0)
        assert time.monotonic() - began < 20, 'the time before the reset, 20 s, counts no more'
        began = time.monotonic()
        for _ in range(10):
            environment.step(action)
        assert time.monotonic() - began > 0.9 * 0.8, 'it is half as quick as ours'
    world.end(signal.SIGKILL)
    with pytest.raises(Interrupted, match='no message on topic /clock for 2 s'):
        environment.step(action)
    environment.close()


def test_who_is_not_there_is_named(stage: Stage, tmp_path: Path, monkeypatch) -> None:
    from proxy_snn_control.nodes import ros_task
    from proxy_snn_control.policy.errors import Interrupted

    monkeypatch.setenv('ROS_DOMAIN_ID', stage.environment['ROS_DOMAIN_ID'])
    monkeypatch.setattr(ros_task, 'CONNECT_SECONDS', 2.0)
    task = write(tmp_path, robot=INTEGRATOR_ROBOT, task=INTEGRATOR_TASK, **{'goal.py': GOAL})
    with pytest.raises(Interrupted, match='topic /place has no publisher for 2 s'):
        ros_task.make(str(task)).reset()
    python(stage, 'integrator_sim.py')
    monkeypatch.setattr(ros_task, 'CONNECT_SECONDS', 10.0)
    first, second = ros_task.make(str(task)), ros_task.make(str(task), seed=1)
    first.reset()
    monkeypatch.setattr(ros_task, 'CONNECT_SECONDS', 4.0)
    with pytest.raises(Interrupted, match='/speed is commanded by another training, too'):
        several_resets(second)  # on a busy computer DDS may know the first only by a later one
    second.close()
    first.close()
    for old, new, reported in (
        ('service: advance,', 'service: advances,', 'there is no service /advances'),
        ('goal:reward', '{topic: praise}', 'topic /praise has no publisher'),
    ):
        wrong = tmp_path / 'wrong.yaml'
        wrong.write_text(INTEGRATOR_TASK.replace(old, new))
        environment = ros_task.make(str(wrong))
        with pytest.raises(Interrupted, match=reported):
            one_step(environment)
        environment.close()
    monkeypatch.setattr(ros_task, 'CONNECT_SECONDS', 10.0)
    for old, new, reported in (
        ('std_srvs/srv/Empty', 'no_such_srvs/srv/Empty', 'it is not installed'),
        ('std_srvs/srv/Empty}', 'std_srvs/srv/SetBool, request: {flag: 1}}', "no field 'flag'"),
        ('std_srvs/srv/Empty}', 'std_srvs/srv/SetBool, request: {data: x}}', "data is 'x'"),
    ):
        wrong.write_text(INTEGRATOR_TASK.replace(old, new))
        environment = ros_task.make(str(wrong))
        with pytest.raises(UserError, match=reported):
            environment.reset()
        environment.close()


@pytest.mark.parametrize(
    ('old', 'new', 'reported'),
    [
        ('control_period: 0.1', '', 'control_period is missing'),
        ('control_period: 0.1', 'control_period: -1', 'control_period is -1.0'),
        ('episode_steps: 10', 'episode_steps: 0', 'episode_steps is 0, expected a whole number'),
        ('robot: robot.yaml', 'robot: none.yaml', 'robot file .*none.yaml'),
        ('goal:reward', 'goal', 'expected module:function, or topic'),
        ('goal:reward', 'goal:praise', 'there is no such function'),
        ('goal:reward', 'no_such_module_here:f', 'cannot be imported: No module named'),
        ('std_srvs/srv/Empty', 'Empty', 'expected one such as std_srvs/srv/Trigger'),
        ('timeout: 2.0', 'timeouts: 2.0', "'timeouts' does not exist"),
        ('timeout: 2.0', 'clock: sim', 'clock goes with real time'),
        ('timeout: 2.0', 'actions: {speed: [1, -1]}', 'expected the lower limit first'),
        ('timeout: 2.0', 'actions: {spee: [-1, 1]}', "'spee' does not exist"),
        ('timeout: 2.0', 'namespace: robot_{member}', 'expected names with / between them'),
        ('timeout: 2.0', 'safety: {slew_rate: 3}', 'slew_rate is 3, expected a list'),
    ],
)
def test_task_files_that_are_wrong(tmp_path: Path, old: str, new: str, reported: str) -> None:
    text = INTEGRATOR_TASK.replace(old, new)
    task = write(tmp_path, robot=INTEGRATOR_ROBOT, task=text, **{'goal.py': GOAL})
    with pytest.raises(UserError, match=reported) as caught:
        load_task(str(task))
    assert 'file' in str(caught.value)


def test_presets_of_simulation_interfaces(tmp_path: Path) -> None:
    text = INTEGRATOR_TASK.replace('std_srvs/srv/Empty', 'ResetSimulation').replace(
        'std_srvs/srv/Trigger', 'StepSimulation, request: {steps: 20}'
    )
    text += 'start: {service: s, type: SetSimulationState, request: {state: {state: 2}}}\n'
    task = load_task(str(write(tmp_path, robot=INTEGRATOR_ROBOT, task=text, **{'goal.py': GOAL})))
    assert task.step is not None
    assert (task.step.type_name, task.step.request) == (
        'simulation_interfaces/srv/StepSimulation',
        {'steps': 20},
    )
    assert task.reset[0].request == {'scope': 0}
    assert task.start[0].request == {'state': {'state': 2}}


@pytest.mark.skipif(
    importlib.util.find_spec('simulation_interfaces') is None,
    reason='the message package simulation_interfaces is not installed',
)
def test_a_world_with_simulation_interfaces(stage: Stage, tmp_path: Path, monkeypatch) -> None:
    from proxy_snn_control.nodes import ros_task
    from proxy_snn_control.policy.errors import Interrupted

    monkeypatch.setenv('ROS_DOMAIN_ID', stage.environment['ROS_DOMAIN_ID'])
    text = INTEGRATOR_TASK.replace(
        '{service: again, type: std_srvs/srv/Empty}',
        '{service: world/reset_simulation, type: ResetSimulation}',
    ).replace(
        '{service: advance, type: std_srvs/srv/Trigger}',
        '{service: world/step_simulation, type: StepSimulation, request: {steps: 100}}',
    )
    task = write(tmp_path, robot=INTEGRATOR_ROBOT, task=text, **{'goal.py': GOAL})
    python(stage, 'integrator_sim.py')
    environment = ros_task.make(str(task))
    with pytest.raises(Interrupted, match='reports: result 3 the world is not paused'):
        one_step(environment)
    environment.close()
    task.write_text(
        text + 'start: {service: world/set_simulation_state, type: SetSimulationState,\n'
        '        request: {state: {state: 2}}}\n'
    )
    for _ in range(2):  # the second time it is paused already
        environment = ros_task.make(str(task))
        assert environment.reset()[0].tolist() == [0.5, 1.0]
        assert environment.step(np.ones(1, np.float32))[0] == pytest.approx([0.6, 1.0])
        environment.close()


def test_config_of_a_run_over_ros_is_read_again(tmp_path: Path) -> None:
    """The name with its colon stays what it was."""
    from proxy_snn_control.learning.config import save_config, TrainConfig

    save_config(tmp_path / 'config.yaml', TrainConfig(env='ros:task.yaml'))
    assert load_config(tmp_path / 'config.yaml')['env'] == 'ros:task.yaml'


def test_a_sim_in_steps_refuses_what_is_no_random_state(stage: Stage) -> None:
    """And goes on: what it was told is put right by the next."""
    from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
    from rcl_interfaces.srv import SetParameters
    from std_srvs.srv import Trigger

    stage.start('sim', env=TASK, mode='stepped')
    generator = np.random.default_rng(5).bit_generator.state
    for text, succeeds in (('{}', False), ('no JSON', False), (json.dumps(generator), True)):
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        request = SetParameters.Request(parameters=[Parameter(name='random_state', value=value)])
        (result,) = stage.call(SetParameters, 'sim/set_parameters', request).results
        assert result.successful
        answer = stage.call(Trigger, 'sim/reset')
        assert answer.success == succeeds, answer.message
        if not succeeds:
            assert 'expected the state of a generator' in answer.message
    assert stage.call(Trigger, 'sim/step').success
