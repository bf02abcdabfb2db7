# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A simulator that knows nothing of this package: MuJoCo, rclpy and standard messages alone.

A cart on a rail with a two-joint arm. JointState in another order every time, Odometry of the
cart, efforts in Nm. Every physics step is published with its time; `world/advance`
(std_srvs/Empty) lets ten of them pass, `world/restart` (std_srvs/SetBool) resets. With `realtime`
time passes by itself; with `clock` as well, half as quickly as ours, with /clock, from 20 s; a
reset sets it back to 0. With `late` the last message of `world/advance` comes after its answer.
"""

import random
import sys
import time

import mujoco
from nav_msgs.msg import Odometry
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Empty, SetBool

MODEL = """
<mujoco>
  <option timestep="0.004" integrator="implicitfast"/>
  <worldbody>
    <body name="cart"><joint name="rail" type="slide" axis="1 0 0" damping="2"/>
      <geom type="box" size=".1 .05 .05" mass="1"/>
      <body pos="0 0 .05"><joint name="shoulder" type="hinge" axis="0 1 0" damping=".2"/>
        <geom type="capsule" fromto="0 0 0 0 0 .3" size=".02" mass=".2"/>
        <body pos="0 0 .3"><joint name="elbow" type="hinge" axis="0 1 0" damping=".2"/>
          <geom type="capsule" fromto="0 0 0 0 0 .2" size=".02" mass=".1"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator><motor joint="shoulder"/><motor joint="elbow"/><motor joint="rail"/></actuator>
</mujoco>
"""
STEPS = 10
LATE_SECONDS = 0.15


def main(realtime: bool, clock: bool, late: bool) -> None:
    model = mujoco.MjModel.from_xml_string(MODEL)
    data = mujoco.MjData(model)
    rclpy.init()
    node = rclpy.create_node('world')
    states = node.create_publisher(JointState, 'arm/joint_states', 50)
    odometry = node.create_publisher(Odometry, 'odom', 50)
    clocks = node.create_publisher(Clock, '/clock', 1) if clock else None
    rng, ticks = random.Random(0), 5000 if clock else 0

    def publish() -> None:
        nanoseconds = round(ticks * model.opt.timestep * 1e9)
        joints = ['shoulder', 'elbow', 'gripper']
        rng.shuffle(joints)
        message = JointState(name=joints)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, 10**9)
        values = {n: (data.joint(n).qpos[0], data.joint(n).qvel[0]) for n in ('shoulder', 'elbow')}
        values['gripper'] = (0.0, 0.0)
        message.position = [values[n][0] for n in joints]
        message.velocity = [values[n][1] for n in joints]
        states.publish(message)
        base = Odometry()
        base.header.stamp = message.header.stamp
        base.pose.pose.position.x = data.joint('rail').qpos[0]
        base.twist.twist.linear.x = data.joint('rail').qvel[0]
        odometry.publish(base)

    def physics() -> None:
        nonlocal ticks
        mujoco.mj_step(model, data)
        ticks += 1
        if clocks:
            message = Clock()
            nanoseconds = round(ticks * model.opt.timestep * 1e9)
            message.clock.sec, message.clock.nanosec = divmod(nanoseconds, 10**9)
            clocks.publish(message)

    def on_efforts(message: Float64MultiArray) -> None:
        data.ctrl[:] = message.data

    def advance(request: Empty.Request, response: Empty.Response) -> Empty.Response:
        for step in range(STEPS):
            physics()
            if late and step == STEPS - 1:
                timer.reset()
            else:
                publish()
        return response

    def publish_late() -> None:
        timer.cancel()
        publish()

    timer = node.create_timer(LATE_SECONDS, publish_late)
    timer.cancel()

    def restart(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        nonlocal ticks
        mujoco.mj_resetData(model, data)
        data.joint('shoulder').qpos[0] = 0.1 if request.data else 0.0
        ticks = ticks if realtime and not clock else 0
        mujoco.mj_forward(model, data)
        publish()
        response.success = True
        return response

    node.create_subscription(Float64MultiArray, 'arm/efforts', on_efforts, 10)
    node.create_service(SetBool, 'world/restart', restart)
    node.create_service(Empty, 'world/advance', advance)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    due = time.monotonic()
    while True:
        if not realtime:
            executor.spin_once()
            continue
        for _ in range(STEPS):
            # One that was late is not quicker afterwards.
            due = max(due, time.monotonic() - 0.001) + model.opt.timestep * (2 if clock else 1)
            while (left := due - time.monotonic()) > 0:
                executor.spin_once(timeout_sec=left)
            physics()
        publish()


if __name__ == '__main__':
    main('realtime' in sys.argv, 'clock' in sys.argv, 'late' in sys.argv)
