"""The train node: a training run with its progress on topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

from proxy_snn_control.learning.config import TrainConfig, load_config, resumed_config
from proxy_snn_control.learning.train import Listener, TrainingRun
from proxy_snn_control.nodes import stopping
from proxy_snn_control.nodes.messages import diagnostics
from proxy_snn_control.nodes.process import SPIN_SECONDS, Parameter, declare, run
from proxy_snn_control.policy import UserError

FROM_CONFIG = "; if left out, as in the config file"
PARAMETERS = (
    Parameter("config", "", "YAML file of settings; the paper's if empty."),
    Parameter("env", "", f"The Gymnasium task{FROM_CONFIG}."),
    Parameter("neuron", "", f"The spiking neuron{FROM_CONFIG}."),
    Parameter("target", "", f"The target actor{FROM_CONFIG}."),
    Parameter("device", "", f"auto, cpu or cuda{FROM_CONFIG}."),
    Parameter(
        "steps", -1, f"Training steps after the random ones{FROM_CONFIG}.", low=-1, high=10**9
    ),
    Parameter("seed", -1, f"Seed{FROM_CONFIG}.", low=-1, high=2**31 - 1),
    Parameter("out", "", "The run's folder, which must be new or empty unless resume is set."),
    Parameter("resume", False, "Go on from the checkpoint in the run's folder."),
)
# Between two environment steps ROS gets to work this often; steps take milliseconds.
POLL_SECONDS = 0.02


class Train(Node, Listener):
    """Runs the learning in the main thread; ROS works between two environment steps."""

    def __init__(self) -> None:
        super().__init__("train")
        self.exit_status: int | None = None
        declare(self, PARAMETERS)
        self._run = _make_run({p.name: self.get_parameter(p.name).value for p in PARAMETERS})
        self._steps = self.create_publisher(Float64, "~/step", QoSProfile(depth=10))
        self._episodes = self.create_publisher(Float64, "~/episode_return", QoSProfile(depth=10))
        self._evaluations = self.create_publisher(Float64, "~/eval_return", QoSProfile(depth=10))
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=10)
        )
        for name, callback in (
            ("checkpoint", self._on_checkpoint),
            ("pause", self._on_pause),
            ("resume", self._on_resume),
        ):
            self.create_service(Trigger, f"~/{name}", callback)
        self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._spin: Callable[[float], None] = lambda seconds: None
        self._paused = False
        self._polled = self._reported = time.monotonic()
        self._reported_step = self._run.step
        self._row: dict[str, float] = {}

    def work(self, spin: Callable[[float], None]) -> None:
        """Train until done or stopped."""
        self._spin = spin
        config = self._run.config
        self.get_logger().info(
            f"{config.env}, {config.neuron} with {config.target} target, seed {config.seed}, "
            f"into {self._run.out}"
        )
        finished = self._run.run(self)
        where = f"step {self._run.step}; checkpoint and policy are in {self._run.out}"
        self.get_logger().info(f"{'done at' if finished else 'stopped at'} {where}")

    def should_stop(self) -> bool:
        """Let ROS work now and then; wait here while paused."""
        while True:
            now = time.monotonic()
            if self._paused or now - self._polled > POLL_SECONDS:
                self._polled = now
                self._spin(SPIN_SECONDS if self._paused else 0.0)
            if stopping.requested():
                return True
            if not self._paused:
                return False

    def on_episode(self, step: int, episode_return: float) -> None:
        """Publish the return of a training episode."""
        self._episodes.publish(Float64(data=episode_return))

    def on_evaluation(self, row: dict[str, float]) -> None:
        """Publish and log an evaluation."""
        self._row = row
        self._evaluations.publish(Float64(data=row["eval_return_mean"]))
        self.get_logger().info(
            f"step {row['step']:.0f}: evaluation {row['eval_return_mean']:.1f} "
            f"± {row['eval_return_std']:.1f}, {row['steps_per_second']:.0f} steps/s"
        )

    def on_warning(self, text: str) -> None:
        """Log what the user should know at once."""
        self.get_logger().warning(text)

    def close(self) -> None:
        """Publish the last state; the run has put its own files in order."""
        self._report()

    def _report(self) -> None:
        step, now = self._run.step, time.monotonic()
        rate = (step - self._reported_step) / max(now - self._reported, 1e-9)
        self._reported, self._reported_step = now, step
        self._steps.publish(Float64(data=float(step)))
        values = {
            "env": self._run.config.env,
            "out": self._run.out,
            "state": "paused" if self._paused else "training",
            "steps_per_second": f"{rate:.1f}",
            "total_steps": self._run.config.total_steps,
            **self._row,
            "step": step,
        }
        self._diagnostics.publish(diagnostics(self, "", values))

    def _on_checkpoint(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        try:
            self._run.checkpoint()
            response.success, response.message = True, f"checkpoint at step {self._run.step}"
        except UserError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_pause(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._paused = True
        response.success, response.message = True, f"paused at step {self._run.step}"
        return response

    def _on_resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._paused = False
        response.success, response.message = True, f"resumed at step {self._run.step}"
        return response


def _make_run(parameters: dict[str, Any]) -> TrainingRun:
    out, resume = Path(parameters["out"]), parameters["resume"]
    if not parameters["out"]:
        raise UserError("parameter out is empty, expected the folder for the run")
    given = {
        name: parameters[name]
        for name in ("env", "neuron", "target", "device", "steps", "seed")
        if parameters[name] not in ("", -1)
    }
    config_file = parameters["config"]
    if resume and config_file:
        raise UserError("parameter config does not go with resume: the run has its own config.yaml")
    if resume:
        return TrainingRun(resumed_config(out, given), out, resume=True)
    settings = load_config(config_file) if config_file else {}
    return TrainingRun(TrainConfig(**{**settings, **given}), out)


def main(arguments: Sequence[str]) -> int:
    """Run the train node."""
    return run(Train, arguments, work=lambda node, spin: node.work(spin))
