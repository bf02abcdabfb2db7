# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The sim as a process of its own, over real ROS topics on a domain of its own."""

from collections.abc import Sequence
import signal
import time
from typing import Any

from conftest import NodeProcess, Stage, TASK
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
import numpy as np
from proxy_snn_control.control.messages import label_of, number_array
from proxy_snn_control.learning.tasks import make_environment
from proxy_snn_control.nodes.messages import RELIABLE, SENSOR_DATA
from proxy_snn_control.nodes.sensors import find_base
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

pytest.importorskip('mujoco')


class Player:
    """Commands a sim in lockstep, one answered observation after the other."""

    def __init__(self, stage: Stage, namespace: str = '') -> None:
        self.stage = stage
        self.observations = stage.subscribe(Float64MultiArray, f'{namespace}observation', RELIABLE)
        self.commands = stage.node.create_publisher(
            Float64MultiArray, f'{namespace}command', RELIABLE
        )

    def meet(self) -> None:
        ready = self.commands.get_subscription_count
        assert self.stage.until(lambda: bool(self.observations) and ready() > 0)

    @property
    def label(self) -> str:
        return label_of(self.observations[-1])

    def answer(self, command: Sequence[float]) -> np.ndarray:
        """Take one step; the observation after it."""
        label = self.label
        self.commands.publish(number_array(np.array(command, dtype=float), label))
        assert self.stage.until(lambda: self.label != label), self.stage.outputs()
        return np.array(self.observations[-1].data)


def seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec * 1e-9)


def stamps(messages: list[Any]) -> list[float]:
    return [seconds(m.clock if isinstance(m, Clock) else m.header.stamp) for m in messages]


def has_period(clock: list[Any], period: float) -> bool:
    """Whether a clock goes on by steps of this period; a step of several is a lost message."""
    steps = np.diff(stamps(clock)) / period
    whole = np.round(steps)
    return bool(np.allclose(steps, whole, rtol=0, atol=1e-6 / period) and whole.min() == 1)


def numbers(vector: Any) -> np.ndarray:
    return np.array([vector.x, vector.y, vector.z])


def rotation(q: Any) -> np.ndarray:
    """Return the matrix that turns a vector of the base into one of the world."""
    w, (x, y, z) = q.w, numbers(q)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def draws(stage: Stage, sim: NodeProcess) -> None:
    """Wait until a sim runs; skip the test if this machine cannot draw."""
    assert stage.until(lambda: 'seed' in sim.output or sim.process.poll() is not None)
    if 'cannot be drawn' in sim.output:
        pytest.skip(sim.output)


def test_sim_in_real_time(stage: Stage) -> None:
    observations = stage.subscribe(Float64MultiArray, 'observation', SENSOR_DATA)
    joints = stage.subscribe(JointState, 'joint_states', 10)
    clock = stage.subscribe(Clock, '/clock', 10)
    sim = stage.start('sim', env='HalfCheetah-v5', mode='realtime')
    assert stage.until(lambda: len(observations) > 5 and len(joints) > 5 and len(clock) > 5)
    before, began = len(observations), time.monotonic()
    assert stage.until(lambda: len(observations) >= before + 30), 'nobody has to command it'
    # One may have waited here, and of two the sim may have been late.
    assert time.monotonic() - began > 27 * 0.049, "HalfCheetah's control period is 0.05 s"
    assert len(observations[-1].data) == 17
    message = joints[-1]
    assert message.name[3:] == ['bthigh', 'bshin', 'bfoot', 'fthigh', 'fshin', 'ffoot']
    assert len(message.position) == len(message.velocity) == len(message.effort) == 9
    assert has_period(clock, 0.05)
    assert sim.end(signal.SIGTERM) == 0


def test_a_sim_of_a_task_with_arguments(stage: Stage) -> None:
    observations = stage.subscribe(Float64MultiArray, 'observation', SENSOR_DATA)
    clock = stage.subscribe(Clock, '/clock', 10)
    given = 'frame_skip=2 exclude_current_positions_from_observation=false'
    stage.start('sim', env='HalfCheetah-v5', mode='realtime', env_kwargs=given)
    assert stage.until(lambda: len(observations) > 2 and len(clock) > 5)
    assert len(observations[-1].data) == 18
    assert has_period(clock, 0.02)


def test_sim_refuses_bad_commands(stage: Stage) -> None:
    observations = stage.subscribe(Float64MultiArray, 'observation', RELIABLE)
    sim = stage.start('sim', env=TASK)
    commands = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    assert stage.until(lambda: bool(observations) and commands.get_subscription_count() > 0)
    present = label_of(observations[-1])
    for bad, reported in (
        ([0.0, 0.0], 'topic command: command has 2 values, expected 1'),
        ([], 'command has 0 values'),
        ([np.nan], 'is not finite'),
        ([np.inf], 'is not finite'),
    ):
        commands.publish(number_array(np.array(bad), ''))
        assert stage.until(lambda reported=reported: reported in sim.output), sim.output
        stage.spin(1.1)
    assert label_of(observations[-1]) == present, 'none of them was a step'
    commands.publish(number_array(np.array([1e9]), ''))
    assert stage.until(lambda: label_of(observations[-1]) != present), 'clipped, and a step'
    assert len(observations[-1].data) == 9


def test_sim_reset(stage: Stage) -> None:
    observations = stage.subscribe(Float64MultiArray, 'observation', RELIABLE)
    stage.start('sim', env=TASK, seed=4)
    commands = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    assert stage.until(lambda: bool(observations) and commands.get_subscription_count() > 0)
    first = observations[0].data.tolist()
    for _ in range(3):
        present = label_of(observations[-1])
        commands.publish(number_array(np.array([0.5]), present))
        assert stage.until(lambda p=present: label_of(observations[-1]) != p)
    assert observations[-1].data.tolist() != first
    assert stage.call(Trigger, 'sim/reset').success
    assert stage.until(lambda: observations[-1].data.tolist() == first), 'the episode starts over'


@pytest.mark.parametrize(
    ('parameters', 'reported'),
    [
        ({'env': 'Nothing-v0'}, "task 'Nothing-v0' is not registered"),
        ({'env': 'CartPole-v1'}, 'action space Discrete, expected a Box'),
        ({'env': 'Pendulum-v1'}, "task 'Pendulum-v1' is no MuJoCo task"),
        ({'env_kwargs': 'nonsense=1'}, 'cannot be made: '),
        ({'env_kwargs': 'a=1 b'}, "parameter env_kwargs is 'a=1 b', expected NAME=VALUE"),
        ({'mode': 'warp'}, "parameter mode is 'warp', expected lockstep, realtime or stepped"),
        ({'seed': -1}, 'seed'),
        ({'episodes': 'many'}, 'episodes'),
    ],
)
def test_sim_names_what_is_wrong(stage: Stage, parameters: dict, reported: str) -> None:
    sim = stage.start('sim', **parameters)
    assert sim.wait() == 1
    assert reported in sim.output
    assert 'Traceback' not in sim.output


@pytest.mark.parametrize(
    ('task', 'base'),
    [
        ('Ant-v5', 'torso'),
        ('Humanoid-v5', 'torso'),
        ('HalfCheetah-v5', 'torso'),
        ('Hopper-v5', 'torso'),
        ('Walker2d-v5', 'torso'),
        ('Swimmer-v5', 'torso'),
        ('InvertedPendulum-v5', None),
        (TASK, None),
        ('Reacher-v5', None),
        ('Pusher-v5', None),
    ],
)
def test_what_a_base_is(task: str, base: str | None) -> None:
    model: Any = make_environment(task).unwrapped.model  # type: ignore[attr-defined]
    body = find_base(model)
    assert (None if body is None else model.body(body).name) == base


@pytest.mark.parametrize('task', ['Ant-v5', 'HalfCheetah-v5'])
def test_the_base_tells_what_the_observation_does(stage: Stage, task: str) -> None:
    player = Player(stage)
    joints = stage.subscribe(JointState, 'joint_states', 1000)
    odometry, imus = stage.subscribe(Odometry, 'odometry', 1000), stage.subscribe(Imu, 'imu', 1000)
    stage.start('sim', env=task, seed=1, base_frame='trunk')
    player.meet()
    # What is repeated until the first answer shows that all four topics are matched.
    assert stage.until(lambda: bool(joints and odometry and imus))
    actions = {'Ant-v5': 8, 'HalfCheetah-v5': 6}[task]
    rng = np.random.default_rng(0)
    alone = make_environment(task)
    alone.reset(seed=1)
    for step in range(1, 21):
        action = rng.uniform(-1, 1, actions).astype(np.float32)
        seen = player.answer(action)
        assert seen.tolist() == alone.step(action)[0].tolist(), 'to be watched changes nothing'
        expected_stamp = pytest.approx(step * 0.05)
        for topic in (joints, odometry, imus):
            assert stage.until(lambda h=topic, e=expected_stamp: stamps(h)[-1] == e)
        pose, twist, imu = odometry[-1].pose.pose, odometry[-1].twist.twist, imus[-1]
        to_world = rotation(pose.orientation)
        velocity = to_world @ numbers(twist.linear)
        if task == 'Ant-v5':
            assert pose.position.z == pytest.approx(seen[0], abs=1e-12)
            q = pose.orientation
            np.testing.assert_allclose([q.w, q.x, q.y, q.z], seen[1:5], atol=1e-9)
            np.testing.assert_allclose(joints[-1].position, seen[5:13], atol=1e-12)
            np.testing.assert_allclose(velocity, seen[13:16], atol=1e-9)
            np.testing.assert_allclose(numbers(twist.angular), seen[16:19], atol=1e-9)
        else:
            pitch = seen[1]
            expected = [[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0]]
            np.testing.assert_allclose(to_world[:2], expected, atol=1e-9)
            np.testing.assert_allclose(velocity, [seen[8], 0, seen[9]], atol=1e-9)
            np.testing.assert_allclose(numbers(twist.angular), [0, seen[10], 0], atol=1e-9)
        assert imu.angular_velocity == twist.angular
        assert imu.orientation == pose.orientation
    frames = odometry[-1].header.frame_id, odometry[-1].child_frame_id, imus[-1].header.frame_id
    assert frames == ('odom', 'trunk', 'trunk')
    for unknown in (odometry[-1].pose.covariance, imus[-1].linear_acceleration_covariance):
        assert not np.any(unknown)


@pytest.mark.parametrize(('task', 'actions'), [('Ant-v5', 8), ('HalfCheetah-v5', 6)])
def test_an_imu_at_rest_feels_gravity_upwards(stage: Stage, task: str, actions: int) -> None:
    player = Player(stage)
    imus = stage.subscribe(Imu, 'imu', 1000)
    stage.start('sim', env=task, seed=1)
    player.meet()
    for _ in range(120):
        player.answer([0.0] * actions)
    before = len(imus)
    assert stage.until(lambda: len(imus) > before), 'a repeated one at least'
    up = rotation(imus[-1].orientation) @ numbers(imus[-1].linear_acceleration)
    np.testing.assert_allclose(up, [0, 0, 9.81], atol=0.02)
    np.testing.assert_allclose(numbers(imus[-1].angular_velocity), 0, atol=0.02)


def test_no_base_no_odometry_and_no_images_unless_set(stage: Stage) -> None:
    stage.start('sim', env=TASK)
    stage.meet('joint_states')
    for topic in ('odometry', 'imu', 'image'):
        assert stage.node.count_publishers(topic) == 0


def test_images(stage: Stage) -> None:
    player = Player(stage)
    images = stage.subscribe(Image, 'image', 100)
    parameters = {'image_width': 48, 'image_height': 32, 'camera': 'track'}
    sim = stage.start('sim', env='HalfCheetah-v5', image_rate=10.0, **parameters)
    draws(stage, sim)
    player.meet()
    assert stage.until(lambda: bool(images))
    for _ in range(10):
        player.answer([0.0] * 6)
    assert stage.until(lambda: stamps(images)[-1] >= 0.5)
    np.testing.assert_allclose(np.array(stamps(images)) * 10 % 1, 0, atol=1e-6)
    image = images[-1]
    assert (image.width, image.height, image.step, image.encoding) == (48, 32, 3 * 48, 'rgb8')
    pixels = np.array(image.data, dtype=np.uint8).reshape(32, 48, 3)
    assert pixels.std() > 5, 'something is to be seen'
    assert image.header.frame_id == 'track'


def test_an_unknown_camera(stage: Stage) -> None:
    sim = stage.start('sim', env='Hopper-v5', image_rate=1.0, camera='front')
    draws(stage, sim)
    assert sim.wait() == 1
    assert (
        "parameter camera is 'front', expected a camera of task 'Hopper-v5' (track)" in sim.output
    )


@pytest.mark.parametrize(
    ('environment', 'reported'),
    [
        ({'MUJOCO_EGL_DEVICE_ID': '99'}, 'cannot be drawn on this machine through'),
        ({'MUJOCO_GL': 'nonsense'}, "the environment variable MUJOCO_GL is 'nonsense'"),
    ],
)
def test_a_machine_that_cannot_draw(
    stage: Stage, environment: dict[str, str], reported: str
) -> None:
    for name in ('DISPLAY', 'MUJOCO_GL'):
        stage.environment.pop(name, None)
    stage.environment |= environment
    sim = stage.start('sim', env='Hopper-v5', image_rate=1.0)
    assert sim.wait() == 1
    assert reported in sim.output
    assert 'Traceback' not in sim.output


def test_realtime_under_a_flood(stage: Stage) -> None:
    clock = stage.subscribe(Clock, '/clock', 1000)
    received = stage.subscribe(DiagnosticArray, '/diagnostics', 100)
    sim = stage.start('sim', env='Hopper-v5', mode='realtime')
    commands = stage.node.create_publisher(Float64MultiArray, 'command', RELIABLE)
    met = commands.get_subscription_count
    assert stage.until(lambda: len(clock) > 5 and met() > 0 and bool(received))
    flood = [
        number_array(np.array(values, dtype=float), '')
        for values in ([0.1, 0.2, 0.3], [np.nan] * 3, [1e300] * 3, [], [0.0] * 1000)
    ]
    began, sent = time.monotonic(), 0
    clock.clear()
    received.clear()

    def counted(message: DiagnosticArray) -> np.ndarray:
        """Return the time, and what the sim had counted by then."""
        values = {pair.key: float(pair.value) for pair in message.status[0].values[2:]}
        names = ('steps', 'commands', 'commands_refused', 'lost_seconds')
        return np.array([seconds(message.header.stamp), *(values[name] for name in names)])

    def pour() -> bool:
        nonlocal sent
        elapsed = time.monotonic() - began
        # A machine that is too slow for so many takes turns with the spinning.
        for _ in range(min(int(10_000 * elapsed) - sent, 500)):
            commands.publish(flood[sent % len(flood)])
            sent += 1
        return elapsed > 4 and len(received) > 2

    assert stage.until(pour)
    published = stamps(clock)
    assert (np.diff(published) > 0).all()
    assert sim.process.poll() is None
    passed, steps, taken, refused, lost = counted(received[-1]) - counted(received[0])
    assert taken > 0
    assert refused > 0
    # The task's rate is held to the promille where nothing else runs. A machine that is too busy
    # for that loses time, which is counted; but no more commands come between two steps than are
    # published in a control period.
    assert steps * 0.008 + lost == pytest.approx(passed, abs=0.3)
    assert taken + refused < 2 * 10_000 * 0.008 * steps
    assert sim.end(signal.SIGINT) == 0
    complaints = [line for line in sim.output.splitlines() if 'topic command' in line]
    times = [float(line.split('[')[2].partition(']')[0]) for line in complaints]
    assert len(times) - 1 < times[-1] - times[0] + 0.5, 'one complaint a second'


def test_lockstep_under_a_flood(stage: Stage) -> None:
    """However often it is answered: one observation, one step."""
    player = Player(stage)
    sim = stage.start('sim', env=TASK)
    player.meet()
    for step in range(2, 6):
        present = player.label
        for _ in range(2000):
            player.commands.publish(number_array(np.array([0.1]), present))
        assert stage.until(lambda p=present: player.label != p), sim.output
        stage.spin(0.5)
        assert player.label == f'observation {step}'


def test_the_clock_goes_forward_through_resets(stage: Stage) -> None:
    clock = stage.subscribe(Clock, '/clock', 1000)
    joints = stage.subscribe(JointState, 'joint_states', 1000)
    stage.start('sim', env='Hopper-v5', mode='realtime')
    assert stage.until(lambda: len(clock) > 5 and len(joints) > 5)
    for _ in range(3):
        before = stamps(joints)[-1]
        assert stage.call(Trigger, 'sim/reset').success
        assert stage.until(lambda b=before: stamps(joints)[-1] > b)
    for published in (np.diff(stamps(clock)), np.diff(stamps(joints))):
        periods = published / 0.008
        assert (periods > 0.5).all(), 'nothing is published twice, nothing of the past'
        np.testing.assert_allclose(periods, np.round(periods), atol=1e-4)


def test_in_lockstep_the_time_jumps_where_an_episode_begins(stage: Stage) -> None:
    """By which a controller finds it that reads messages without labels."""
    player = Player(stage)
    clock = stage.subscribe(Clock, '/clock', 1000)
    joints = stage.subscribe(JointState, 'joint_states', 1000)
    stage.start('sim', env=TASK)
    player.meet()
    assert stage.until(lambda: bool(clock and joints))
    player.answer([0.5])
    present = player.label
    assert stage.call(Trigger, 'sim/reset').success
    assert stage.until(lambda: player.label != present)
    for topic in (clock, joints):
        assert stage.until(lambda h=topic: stamps(h)[-1] == pytest.approx(0.2))
        assert set(np.round(stamps(topic), 6)) <= {0.0, 0.05, 0.2}
        assert (np.diff(stamps(topic)) >= 0).all()


def test_many_sims_side_by_side(stage: Stage) -> None:
    left, right, third = (Player(stage, f'/{name}/') for name in ('left', 'right', 'third'))
    stage.start('sim', '-r', '__ns:=/left', env=TASK, seed=1)
    stage.start('sim', '-r', '__ns:=/right', env='Reacher-v5', seed=2, publish_clock='false')
    stage.start('sim', '-r', '__ns:=/third', '-r', '/clock:=clock', env=TASK)
    for player in (left, right, third):
        player.meet()
    still = right.label
    for _ in range(5):
        left.answer([0.1])
    assert left.label == 'observation 6'
    assert right.label == still
    assert len(right.observations[-1].data) == 10
    for topic in ('/clock', '/third/clock', '/left/joint_states', '/right/joint_states'):
        assert stage.until(lambda t=topic: stage.node.count_publishers(t) == 1), topic
    assert stage.call(Trigger, '/right/sim/reset').success
    assert stage.until(lambda: right.label != still)
    assert left.label == 'observation 6'
