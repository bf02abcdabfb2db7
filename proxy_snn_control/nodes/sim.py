# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""The sim: a Gymnasium MuJoCo task behind ROS topics. Never imports torch."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
import functools
import json
import time
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
import numpy as np
from proxy_snn_control.control.counts import Latencies
from proxy_snn_control.control.messages import (
    AT_STAMP,
    ATTEMPTS,
    BEGINS,
    label_of,
    number_array,
)
from proxy_snn_control.learning.config import named_values
from proxy_snn_control.learning.tasks import (
    clip_action,
    describe,
    episode_seed,
    mujoco_failure,
    TaskSpec,
)
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.messages import (
    diagnostics,
    EPISODE_RETURNS,
    RELIABLE,
    SENSOR_DATA,
    values_of,
)
from proxy_snn_control.nodes.parameters import PLUGINS
from proxy_snn_control.nodes.process import (
    await_receipt,
    declare,
    Parameter,
    run,
    SPIN_SECONDS,
    STEADY,
    value_of,
)
from proxy_snn_control.nodes.publishing import publish
from proxy_snn_control.policy import plugins, UserError
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import Image, Imu, JointState
from std_msgs.msg import Float64, Float64MultiArray, Header
from std_srvs.srv import Trigger

try:
    import mujoco
    from proxy_snn_control.nodes.sensors import Base, Camera, find_base
except ModuleNotFoundError:
    raise
except Exception as error:
    raise UserError(mujoco_failure() or str(error)) from None

SEED_LIMIT = 2**31 - 1
PARAMETERS = (
    Parameter('env', 'InvertedDoublePendulum-v5', 'The Gymnasium task, a MuJoCo one.'),
    Parameter('env_kwargs', '', 'What the task is made with: NAME=VALUE NAME=VALUE ..'),
    Parameter(
        'paper_physics',
        False,
        "Hopper's and Ant's contact margins as in the MuJoCo of the paper (setting "
        'paper_physics).',
    ),
    Parameter(
        'mode',
        'lockstep',
        "lockstep: one step per command. realtime: at the task's own rate, holding the command. "
        'stepped: one step per call of ~/step, for training over ROS.',
    ),
    Parameter(
        'seed',
        0,
        'Episode i starts from seed + i, as in proxy-snn evaluate.',
        low=0,
        high=SEED_LIMIT,
    ),
    Parameter(
        'random_state',
        '',
        "The state of the task's random generator (JSON) from which the next reset draws, and "
        'afterwards the state that follows; if empty, resets are seeded by seed.',
        read_only=False,
    ),
    Parameter('episodes', 0, 'End after so many episodes; 0 never ends.', low=0, high=2**31 - 1),
    PLUGINS,
    Parameter(
        'publish_clock',
        True,
        'Publish /clock; of the sims that share one /clock at most one may.',
    ),
    Parameter('odom_frame', 'odom', 'The frame of the world, in which odometry gives the pose.'),
    Parameter('base_frame', 'base_link', "The frame of the base: odometry's twist and the IMU."),
    Parameter(
        'image_rate', 0.0, 'Images per second of simulated time; 0 draws none.', low=0.0, high=1e3
    ),
    Parameter('image_width', 320, 'Pixels.', low=1, high=4096),
    Parameter('image_height', 240, 'Pixels.', low=1, high=4096),
    Parameter('camera', '', "The model's camera to look through; the task's own view if empty."),
)
# In lockstep an observation is repeated this often until it is answered: the controller may not
# have been there, or not active, when it first went out.
REPEAT_SECONDS = 0.2
# A realtime sim that is late by less takes its steps sooner; what is more than this is lost. Busy
# computers make everybody that late, and a robot would not survive many steps without a command.
CATCH_UP_SECONDS = 0.1
# In lockstep the control periods from an episode's last observation to the first of the next. To
# messages that carry no label it shows as a leap in their stamps: a controller that has a memory
# begins an episode where more than two and a half periods are missing.
EPISODE_PERIODS = 3
COMPLAINT_SECONDS = 1.0


class Sim(Node):
    """Steps the task and publishes what it observes.

    One step, one stamp: all messages of a step carry the same simulated time, which only
    ever goes forward, and by one control period a step; in lockstep by more where an episode
    begins (EPISODE_PERIODS).

    In lockstep an answer counts if it carries the label of the present observation, or its stamp
    for one, or none: a second answer to a repeated observation cannot be taken for the answer to
    the next one.
    """

    def __init__(self) -> None:
        super().__init__('sim')
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        mode = self.get_parameter('mode').value
        if mode not in ('lockstep', 'realtime', 'stepped'):
            raise UserError(f'parameter mode is {mode!r}, expected lockstep, realtime or stepped')
        self._lockstep, self._stepped = mode == 'lockstep', mode == 'stepped'
        self._seed = self.get_parameter('seed').value
        self._episodes = self.get_parameter('episodes').value
        plugins.load(value_of(self, 'plugins'))
        env, kwargs = (self.get_parameter(name).value for name in ('env', 'env_kwargs'))
        kwargs = json.dumps(named_values('parameter env_kwargs', kwargs))
        task = TaskSpec(env, kwargs, self.get_parameter('paper_physics').value)
        self._environment = task.make()
        self._task = describe(self._environment)
        mujoco_task: Any = self._environment.unwrapped
        if not hasattr(mujoco_task, 'data') or self._task.control_period is None:
            raise UserError(f'task {self._task.env_id!r} is no MuJoCo task, expected one')
        self._period = self._task.control_period
        self._data, self._model = mujoco_task.data, mujoco_task.model
        self._find_joints()
        body = find_base(self._model)
        self._base = None if body is None else Base(self._model, body)

        self._observations = self.create_publisher(
            Float64MultiArray, 'observation', SENSOR_DATA if mode == 'realtime' else RELIABLE
        )
        self._joint_states = self.create_publisher(
            JointState, 'joint_states', QoSProfile(depth=10)
        )
        self._clock_topic: Any = None
        if self.get_parameter('publish_clock').value:
            self._clock_topic = self.create_publisher(ClockMessage, '/clock', QoSProfile(depth=1))
        if self._base:
            self._odometry = self.create_publisher(Odometry, 'odometry', QoSProfile(depth=10))
            self._imu = self.create_publisher(Imu, 'imu', QoSProfile(depth=10))
        self._camera: Camera | None = None
        self._image_rate = self.get_parameter('image_rate').value
        if self._image_rate:
            looks = [
                self.get_parameter(p).value for p in ('camera', 'image_width', 'image_height')
            ]
            self._camera = Camera(task, *looks)
            self._images = self.create_publisher(Image, 'image', QoSProfile(depth=1))
        self._episode_returns = self.create_publisher(Float64, '~/episode_return', EPISODE_RETURNS)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, '/diagnostics', QoSProfile(depth=10)
        )
        self.create_service(Trigger, '~/reset', self._on_reset)
        if self._stepped:
            self.create_service(Trigger, '~/step', self._on_step)
            self._rewards = self.create_publisher(Float64MultiArray, '~/reward', RELIABLE)
            self._offer_simulation_interfaces()
        self.create_subscription(Float64MultiArray, 'command', self._on_command, RELIABLE)

        self._sequence = self._steps = self._episode = self._refused = 0
        self._ticks = self._images_due = 0
        self._lost_seconds = self._complained = 0.0
        self._was_reset = False
        self._since_reset = 0  # steps
        self._fault = ''
        self._round_trips = Latencies()
        self._first_command = self._last_command = 0.0
        neutral = np.zeros(len(self._task.action_low))
        self._held = clip_action(self._environment, neutral)
        self._begin_episode()
        self._publish_state()

        self.create_timer(1.0, self._publish_diagnostics, clock=STEADY)
        if self._lockstep:
            self.create_timer(REPEAT_SECONDS / 2, self._repeat, clock=STEADY)
        self.get_logger().info(f'{self._task.env_id} in {mode}, seed {self._seed}')

    def work(self, spin: Callable[[float], None]) -> None:
        """Let ROS work until the end; in realtime, step whenever a control period has passed.

        A timer would wait its turn behind a flood of commands; this waits for one of them at most.
        """
        due = time.monotonic() + self._period
        while not stopping.requested() and self.exit_status is None:
            if self._lockstep or self._stepped:
                spin(SPIN_SECONDS)
                continue
            spin(min(max(due - time.monotonic(), 0.0), SPIN_SECONDS))
            late = time.monotonic() - due
            if late >= 0:
                lost = late if late > CATCH_UP_SECONDS else 0.0
                self._lost_seconds += lost
                due += self._period + lost
                self._step()

    def close(self) -> None:
        """End in order: the last diagnostics, the environment closed."""
        self._publish_diagnostics()
        await_receipt(self._diagnostics, self._episode_returns)
        if self._camera:
            self._camera.close()
        self._environment.close()

    def _find_joints(self) -> None:
        """Look up the hinge and slide joints: those that JointState can hold."""
        simple = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
        joints = [i for i in range(self._model.njnt) if int(self._model.jnt_type[i]) in simple]
        self._joint_names = [self._model.joint(i).name or f'joint{i}' for i in joints]
        self._qpos = self._model.jnt_qposadr[joints]
        self._qvel = self._model.jnt_dofadr[joints]

    def _begin_episode(self) -> None:
        state = self.get_parameter('random_state').value
        if state:
            self._begin_from(state)
        else:
            seed = episode_seed(self._seed, self._episode)
            self._observation, _ = self._environment.reset(seed=seed)
        self._return, self._begins = 0.0, True

    def _begin_from(self, text: str) -> None:
        """Reset from this state of the task's random generator, and set the parameter to the next.

        Raises:
            UserError: the text is no such state.
        """
        generator: Any = self._environment.unwrapped.np_random
        try:
            generator.bit_generator.state = json.loads(text)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f'parameter random_state is {text!r}, expected the state of a generator: {error}'
            ) from None
        self._observation, _ = self._environment.reset()
        state = json.dumps(generator.bit_generator.state)
        self.set_parameters([rclpy.Parameter('random_state', value=state)])

    def _publish_state(self) -> None:
        """Publish a new observation, and the other messages of the step."""
        if self._begins and self._lockstep and self._sequence:
            self._ticks += EPISODE_PERIODS - 1
        self._sequence += 1
        self._label = f'observation {self._sequence}{BEGINS if self._begins else ""}'
        self._begins = False
        self._stamp_label = AT_STAMP.format(_nanoseconds(self._ticks * self._period))
        self._publish()

    def _publish(self) -> None:
        """Publish the present state: the clock first, so that no stamp is from the future.

        The observation comes last: who has it has missed nothing of its step that came in time.
        """
        stamp = _time(self._ticks * self._period)
        if self._clock_topic and self._clock_topic.get_subscription_count():
            publish(self._clock_topic, ClockMessage(clock=stamp))
        if self._joint_states.get_subscription_count():
            publish(
                self._joint_states,
                JointState(
                    header=Header(stamp=stamp),
                    name=self._joint_names,
                    position=array('d', self._data.qpos[self._qpos]),
                    velocity=array('d', self._data.qvel[self._qvel]),
                    effort=array('d', self._data.qfrc_actuator[self._qvel]),
                ),
            )
        if self._base:
            self._publish_base(self._base, stamp)
        if self._camera:
            self._publish_image(self._camera, stamp)
        self._sent = time.monotonic()
        publish(self._observations, number_array(self._observation, self._label))

    def _publish_base(self, base: Base, stamp: Time) -> None:
        odometry_wanted = self._odometry.get_subscription_count()
        imu_wanted = self._imu.get_subscription_count()
        if not odometry_wanted and not imu_wanted:
            return
        base.follow(self._data)
        frame = self.get_parameter('base_frame').value
        if odometry_wanted:
            world = self.get_parameter('odom_frame').value
            odometry = base.odometry(Header(stamp=stamp, frame_id=world), frame)
            publish(self._odometry, odometry)
        if imu_wanted:
            publish(self._imu, base.imu(Header(stamp=stamp, frame_id=frame)))

    def _publish_image(self, camera: Camera, stamp: Time) -> None:
        """Have the present state drawn if an image is due and there is a subscriber."""
        due = int(self._ticks * self._period * self._image_rate + 1e-9) + 1
        if due == self._images_due or not self._images.get_subscription_count():
            return
        if camera.busy:
            return  # in realtime, which waits for no image
        self._images_due = due
        frame = self.get_parameter('camera').value or 'camera'
        send = functools.partial(publish, self._images)
        drawn = camera.draw(self._data, Header(stamp=stamp, frame_id=frame), send)
        if self._lockstep:
            drawn.result()

    def _repeat(self) -> None:
        """In lockstep, publish everything again: the controller may not have been there."""
        if time.monotonic() - self._sent > REPEAT_SECONDS and self.exit_status is None:
            self._publish()

    def _on_command(self, message: Float64MultiArray) -> None:
        received = time.monotonic()
        if self.exit_status is not None:
            return
        label = label_of(message)
        if self._lockstep and label not in ('', self._label, self._stamp_label):
            return  # a second answer to an earlier observation
        action = values_of(message)
        if action.shape != self._held.shape:
            self._refuse(f'command has {action.size} values, expected {self._held.size}')
            return
        if not np.isfinite(action).all():
            self._refuse(f'command {action.tolist()} is not finite')
            return
        self._fault = ''
        if not self._first_command and not (self._lockstep or self._stepped):
            # Steps before the first command are not part of the first episode.
            self._begin_episode()
            self._was_reset = True
        self._first_command = self._first_command or received
        self._last_command = received
        self._round_trips.add(received - self._sent)
        self._held = clip_action(self._environment, action)
        if self._lockstep:
            self._step()

    def _refuse(self, reason: str) -> None:
        self._refused += 1
        self._fault = f'topic command: {reason}'
        now = time.monotonic()  # rclpy's own throttle takes longer than all the rest of a command
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            self.get_logger().error(self._fault)

    def _step(self) -> None:
        """Let one control period pass; a requested reset takes up the whole of it."""
        self._ticks += 1
        if self._was_reset:
            self._was_reset = False
        else:
            self._step_task()
        if self.exit_status is None:
            self._publish_state()

    def _step_task(self) -> None:
        self._observation, reward, terminated, truncated, _ = self._environment.step(self._held)
        self._return += float(reward)
        self._steps += 1
        if self._stepped:  # when an episode ends is up to who steps
            message = number_array(
                [float(reward), float(terminated)], f'observation {self._sequence + 1}'
            )
            publish(self._rewards, message, ATTEMPTS)
            return
        if not (terminated or truncated):
            return
        if not self._first_command:
            self._begin_episode()
            return
        publish(self._episode_returns, Float64(data=self._return), ATTEMPTS)
        self._episode += 1
        self.get_logger().info(f'episode {self._episode}: return {self._return:.2f}')
        if self._episodes and self._episode >= self._episodes:
            self.exit_status = 0
        else:
            self._begin_episode()

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Start the episode over; in mode stepped the next one, if this one has had a step.

        In realtime it is published at the next tick.
        """
        try:
            self._reset()
        except UserError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, f'episode {self._episode} starts over'
        return response

    def _reset(self) -> None:
        self._held = clip_action(self._environment, np.zeros_like(self._held))
        if self._stepped and self._since_reset:
            publish(self._episode_returns, Float64(data=self._return), ATTEMPTS)
            self._episode += 1
        self._begin_episode()
        self._since_reset = 0
        self._was_reset = True
        if self._lockstep or self._stepped:
            self._step()

    def _on_step(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Let one control period pass with the last command."""
        self._since_reset += 1
        self._step()
        response.success, response.message = True, self._label
        return response

    def _offer_simulation_interfaces(self) -> None:
        """ROS 2 Simulation Interfaces, where that package is installed: reset, step and state.

        A step is a control period. The world only moves by steps: it is paused, and stays so.
        """
        try:
            from simulation_interfaces.msg import Result, SimulationState
            from simulation_interfaces.srv import (
                GetSimulationState,
                ResetSimulation,
                SetSimulationState,
                StepSimulation,
            )
        except ModuleNotFoundError:
            return

        def reset(request: Any, response: Any) -> Any:
            try:
                self._reset()
                response.result.result = Result.RESULT_OK
            except UserError as error:
                response.result.result = Result.RESULT_OPERATION_FAILED
                response.result.error_message = str(error)
            return response

        def step(request: Any, response: Any) -> Any:
            for _ in range(request.steps):
                self._since_reset += 1
                self._step()
            response.result.result = Result.RESULT_OK
            return response

        def change(request: Any, response: Any) -> Any:
            if request.state.state == SimulationState.STATE_PAUSED:
                response.result.result = response.ALREADY_IN_TARGET_STATE
            else:
                response.result.result = Result.RESULT_OPERATION_FAILED
                response.result.error_message = 'mode stepped is always paused'
            return response

        def state(request: Any, response: Any) -> Any:
            response.state.state = SimulationState.STATE_PAUSED
            response.result.result = Result.RESULT_OK
            return response

        for kind, name, callback in (
            (ResetSimulation, 'reset_simulation', reset),
            (StepSimulation, 'step_simulation', step),
            (SetSimulationState, 'set_simulation_state', change),
            (GetSimulationState, 'get_simulation_state', state),
        ):
            self.create_service(kind, f'~/{name}', callback)

    def _publish_diagnostics(self) -> None:
        elapsed = self._last_command - self._first_command
        values: dict[str, object] = {
            'env': self._task.env_id,
            'mode': self.get_parameter('mode').value,
            'episode': self._episode,
            'steps': self._steps,
            'commands': self._round_trips.count,
            'commands_refused': self._refused,
        }
        if not (self._lockstep or self._stepped):
            values['lost_seconds'] = f'{self._lost_seconds:.3f}'
        if elapsed > 0:
            values['commands_per_second'] = f'{(self._round_trips.count - 1) / elapsed:.1f}'
        values |= self._round_trips.milliseconds()
        publish(self._diagnostics, diagnostics(self, self._fault, values))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _time(seconds: float) -> Time:
    sec, nanosec = divmod(_nanoseconds(seconds), 10**9)
    return Time(sec=sec, nanosec=nanosec)


def main(arguments: Sequence[str]) -> int:
    """Run the sim node."""
    return run(Sim, arguments, work=Sim.work)
