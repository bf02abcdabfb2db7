"""The sim as a process of its own, over real ROS topics on a domain of its own."""

import signal
import time

import numpy as np
import pytest
from conftest import TASK, Stage

pytest.importorskip("rclpy")
pytest.importorskip("mujoco")

from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from proxy_snn_control.nodes.messages import RELIABLE, SENSOR_DATA, label_of, number_array


def test_sim_in_real_time(stage: Stage) -> None:
    observations = stage.hear(Float64MultiArray, "observation", SENSOR_DATA)
    joints = stage.hear(JointState, "joint_states", 10)
    clock = stage.hear(Clock, "/clock", 10)
    sim = stage.start("sim", env="HalfCheetah-v5", mode="realtime")
    assert stage.until(lambda: len(observations) > 5 and len(joints) > 5 and len(clock) > 5)
    before, began = len(observations), time.monotonic()
    assert stage.until(lambda: len(observations) >= before + 30), "nobody has to command it"
    assert time.monotonic() - began > 30 / 22, "HalfCheetah's control period is 0.05 s"
    assert len(observations[-1].data) == 17
    message = joints[-1]
    assert message.name[3:] == ["bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"]
    assert len(message.position) == len(message.velocity) == len(message.effort) == 9
    times = [c.clock.sec + c.clock.nanosec * 1e-9 for c in clock]
    np.testing.assert_allclose(np.diff(times), 0.05, atol=1e-6)
    assert sim.end(signal.SIGTERM)[0] == 0


def test_sim_refuses_bad_commands(stage: Stage) -> None:
    observations = stage.hear(Float64MultiArray, "observation", RELIABLE)
    sim = stage.start("sim", env=TASK)
    commands = stage.node.create_publisher(Float64MultiArray, "command", RELIABLE)
    assert stage.until(lambda: bool(observations) and commands.get_subscription_count() > 0)
    present = label_of(observations[-1])
    for bad, says in (
        ([0.0, 0.0], "topic command: command has 2 values, expected 1"),
        ([], "command has 0 values"),
        ([np.nan], "is not finite"),
        ([np.inf], "is not finite"),
    ):
        commands.publish(number_array(np.array(bad), ""))
        assert stage.until(lambda says=says: says in sim.output, 5), sim.output
        stage.spin(1.1)
    assert label_of(observations[-1]) == present, "none of them was a step"
    commands.publish(number_array(np.array([1e9]), ""))
    assert stage.until(lambda: label_of(observations[-1]) != present), "clipped, and a step"
    assert len(observations[-1].data) == 9


def test_sim_reset(stage: Stage) -> None:
    observations = stage.hear(Float64MultiArray, "observation", RELIABLE)
    stage.start("sim", env=TASK, seed=4)
    commands = stage.node.create_publisher(Float64MultiArray, "command", RELIABLE)
    assert stage.until(lambda: bool(observations) and commands.get_subscription_count() > 0)
    first = observations[0].data.tolist()
    for _ in range(3):
        present = label_of(observations[-1])
        commands.publish(number_array(np.array([0.5]), present))
        assert stage.until(lambda p=present: label_of(observations[-1]) != p)
    assert observations[-1].data.tolist() != first
    assert stage.call(Trigger, "sim/reset").success
    assert stage.until(lambda: observations[-1].data.tolist() == first), "the episode starts over"


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"env": "Nothing-v0"}, "task 'Nothing-v0' is not registered"),
        ({"env": "CartPole-v1"}, "action space Discrete, expected a Box"),
        ({"env": "Pendulum-v1"}, "task 'Pendulum-v1' is no MuJoCo task"),
        ({"mode": "warp"}, "parameter mode is 'warp', expected lockstep or realtime"),
        ({"seed": -1}, "seed"),
        ({"episodes": "many"}, "episodes"),
    ],
)
def test_sim_says_what_is_wrong(stage: Stage, parameters: dict, says: str) -> None:
    sim = stage.start("sim", **parameters)
    assert sim.wait(20) == 1
    assert says in sim.output
    assert "Traceback" not in sim.output
