# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""What a simulated robot measures besides its joints: odometry, IMU, camera."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from geometry_msgs.msg import Point, Quaternion, Vector3
import mujoco
from nav_msgs.msg import Odometry
import numpy as np
from proxy_snn_control.learning.tasks import TaskSpec
from proxy_snn_control.learning.video import make_drawable
from sensor_msgs.msg import Image, Imu
from std_msgs.msg import Header

# The body's own frame, not the one along its axes of inertia; and vectors given in that frame.
BODY_FRAME, LOCAL = mujoco.mjtObj.mjOBJ_XBODY, 1
ALL_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


def find_base(model: mujoco.MjModel) -> int | None:
    """Return the body that carries a robot through the world; None if it is fixed to its place.

    That is the first body with joints, if it has a free joint or slides in two directions or more
    (a planar robot such as HalfCheetah). A cart on a rail and an arm on a table have no base.
    """
    body = next((i for i in range(model.nbody) if model.body_jntnum[i]), None)
    if body is None:
        return None
    first = int(model.body_jntadr[body])
    end = first + int(model.body_jntnum[body])
    kinds = model.jnt_type[first:end].tolist()
    free, slide = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_SLIDE)
    return body if free in kinds or kinds.count(slide) >= 2 else None


class Base:
    """What a robot's base would measure of itself, noiseless.

    All covariances are zero, which both messages define as "unknown".
    """

    def __init__(self, model: mujoco.MjModel, body: int) -> None:
        self._model, self._body = model, body
        self._data = mujoco.MjData(model)
        self._state = np.zeros(mujoco.mj_stateSize(model, ALL_STATE))

    def follow(self, data: mujoco.MjData) -> None:
        """Take over the state of `data`, and work out positions and accelerations from it.

        In `data` itself they are one physics step older than the joints, and to renew them there
        would change what the task does next.
        """
        mujoco.mj_getState(self._model, data, self._state, ALL_STATE)
        mujoco.mj_setState(self._model, self._data, self._state, ALL_STATE)
        mujoco.mj_forward(self._model, self._data)
        mujoco.mj_rnePostConstraint(self._model, self._data)

    def odometry(self, header: Header, child_frame: str) -> Odometry:
        """Return the pose in the world [m], the twist in the base's own frame [m/s, rad/s]."""
        message = Odometry(header=header, child_frame_id=child_frame)
        x, y, z = self._data.xpos[self._body].tolist()
        message.pose.pose.position = Point(x=x, y=y, z=z)
        message.pose.pose.orientation = self._orientation()
        angular, linear = self._velocity()
        message.twist.twist.linear, message.twist.twist.angular = linear, angular
        return message

    def imu(self, header: Header) -> Imu:
        """Return orientation in the world; turn rates [rad/s], acceleration [m/s^2] in the base.

        The acceleration is what an accelerometer measures: at rest, gravity's 9.81 upwards.
        """
        rotation_and_translation = np.zeros(6)
        mujoco.mj_objectAcceleration(
            self._model, self._data, BODY_FRAME, self._body, rotation_and_translation, LOCAL
        )
        return Imu(
            header=header,
            orientation=self._orientation(),
            angular_velocity=self._velocity()[0],
            linear_acceleration=_vector(rotation_and_translation[3:]),
        )

    def _orientation(self) -> Quaternion:
        w, x, y, z = self._data.xquat[self._body].tolist()
        return Quaternion(x=x, y=y, z=z, w=w)

    def _velocity(self) -> tuple[Vector3, Vector3]:
        """Angular and linear velocity in the base's frame."""
        rotation_and_translation = np.zeros(6)
        mujoco.mj_objectVelocity(
            self._model, self._data, BODY_FRAME, self._body, rotation_and_translation, LOCAL
        )
        return _vector(rotation_and_translation[:3]), _vector(rotation_and_translation[3:])


class Camera:
    """Draws states of a task in a thread of its own: without a graphics card that takes long.

    It has an environment of its own, too: the graphics belong to the thread that made them, and
    the state that is being drawn must not move.
    """

    def __init__(self, task: TaskSpec, name: str, width: int, height: int) -> None:
        """Make the camera of that name, or for "" one with the task's own view.

        Raises:
            UserError: this machine cannot draw the task, or the task has no such camera.
        """
        self._thread = ThreadPoolExecutor(1)
        options = {'width': width, 'height': height, 'camera_name': name or None}
        made = self._thread.submit(make_drawable, task, 'parameter camera', **options)
        self._environment: Any = made.result().unwrapped
        self._last: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether the last image is still being drawn."""
        return self._last is not None and not self._last.done()

    def draw(
        self, data: mujoco.MjData, header: Header, publish: Callable[[Image], object]
    ) -> Future[None]:
        """Draw the present state of `data`, and publish the image from the camera's thread."""
        if self._last is not None:
            self._last.result()  # raises what went wrong there
        model = self._environment.model
        state = np.zeros(mujoco.mj_stateSize(model, ALL_STATE))
        mujoco.mj_getState(model, data, state, ALL_STATE)
        self._last = self._thread.submit(self._draw, state, header, publish)
        return self._last

    def close(self) -> None:
        """Wait for the last image and give the graphics back."""
        self._thread.submit(self._environment.close).result()
        self._thread.shutdown()

    def _draw(self, state: np.ndarray, header: Header, publish: Callable[[Image], object]) -> None:
        task = self._environment
        mujoco.mj_setState(task.model, task.data, state, ALL_STATE)
        mujoco.mj_forward(task.model, task.data)
        pixels = task.render()
        height, width, _ = pixels.shape
        image = Image(header=header, height=height, width=width, encoding='rgb8', step=3 * width)
        image.data = array('B', pixels.tobytes())
        publish(image)


def _vector(values: np.ndarray) -> Vector3:
    x, y, z = values.tolist()
    return Vector3(x=x, y=y, z=z)
