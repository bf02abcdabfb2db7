"""The launch files with a real `ros2 launch`; runs where a ROS 2 installation is sourced."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from conftest import TASK, NodeProcess, Stage

if shutil.which("ros2") is None:
    pytest.skip("no ros2 command: launch is not part of the wheels", allow_module_level=True)
pytest.importorskip("launch_ros")

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Float64, Float64MultiArray

from proxy_snn_control.nodes.messages import EPISODE_RETURNS, RELIABLE, SENSOR_DATA

FILES = ("train", "control", "sim", "demo")


def launch(stage: Stage, name: str, *arguments: str) -> NodeProcess:
    return stage.launch(["ros2", "launch", "proxy_snn_control", f"{name}.launch.py", *arguments])


def ends_cleanly(process: NodeProcess) -> None:
    """Ctrl-C as a terminal sends it: to the whole process group."""
    os.killpg(process.process.pid, signal.SIGINT)
    process.wait(20)
    assert "process has died" not in process.output, process.output
    assert "Traceback" not in process.output, process.output
    assert process.survivors() == []


@pytest.mark.parametrize("name", FILES)
def test_arguments_are_described(stage: Stage, name: str) -> None:
    process = launch(stage, name, "--show-args")
    assert process.wait(30) == 0, process.output
    assert "No description given" not in process.output
    for argument in ("namespace", "use_sim_time"):
        assert f"'{argument}'" in process.output


def test_sim_in_a_namespace(stage: Stage) -> None:
    heard = stage.hear(Float64MultiArray, "/left/observation", SENSOR_DATA)
    process = launch(stage, "sim", f"env:={TASK}", "namespace:=left")
    assert stage.until(lambda: len(heard) > 5), process.output
    ends_cleanly(process)


def test_control_autostarts_and_reads_its_config(stage: Stage, policy_file: Path) -> None:
    config = policy_file.with_name("c.yaml")
    config.write_text("/**:\n  ros__parameters:\n    safe_command: [0.5]\n")
    commands = stage.hear(Float64MultiArray, "/right/command", RELIABLE)
    process = launch(
        stage, "control", f"policy:={policy_file}", f"config:={config}", "namespace:=right"
    )
    assert stage.until(lambda: bool(commands)), process.output  # stale at once: nobody observes
    assert commands[0].data.tolist() == [0.5]
    assert stage.state("/right/controller") == "active"
    ends_cleanly(process)


def test_control_says_why_it_cannot_start(stage: Stage) -> None:
    process = launch(stage, "control", "policy:=/nowhere/p.safetensors")
    assert stage.until(lambda: "policy file /nowhere/p.safetensors: no such file" in process.output)
    process.wait(20)
    assert "Traceback" not in process.output


@pytest.mark.parametrize("mode", ["lockstep", "realtime"])
def test_demo(stage: Stage, policy_file: Path, mode: str) -> None:
    returns = stage.hear(Float64, "sim/episode_return", EPISODE_RETURNS)
    arguments = ["use_sim_time:=true"] if mode == "realtime" else []
    process = launch(
        stage, "demo", f"policy:={policy_file}", "episodes:=0", f"mode:={mode}", *arguments
    )
    assert stage.until(lambda: len(returns) > 2, 40), process.output
    ends_cleanly(process)


def test_demo_ends_with_its_episodes(stage: Stage, policy_file: Path) -> None:
    process = launch(stage, "demo", f"policy:={policy_file}", "episodes:=3")
    assert process.wait(40) == 0, process.output
    assert "episode 3: return" in process.output
    assert process.output.count("process has finished cleanly") == 2
    assert "Caught exception" not in process.output
    assert process.survivors() == []


def test_train(stage: Stage, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    heard = stage.hear(DiagnosticArray, "/diagnostics")
    out = tmp_path / "run"
    process = launch(stage, "train", f"env:={TASK}", "steps:=1000", f"out:={out}")
    assert stage.until(lambda: bool(heard), 60), process.output
    ends_cleanly(process)
    assert (out / "checkpoint" / "checkpoint.safetensors").is_file()
