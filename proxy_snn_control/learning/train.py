"""One training run: collect, learn, evaluate, keep. TD3 itself is in td3.py.

A run lives in a folder: config.yaml, progress.csv, TensorBoard events, checkpoint/,
policy.safetensors (the best so far by evaluation) and policy_last.safetensors.
"""

from __future__ import annotations

import csv
import io
import time
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch

import proxy_snn_control
from proxy_snn_control.learning.checkpoint import load_checkpoint, save_checkpoint
from proxy_snn_control.learning.config import TrainConfig, save_config
from proxy_snn_control.learning.evaluate import evaluate
from proxy_snn_control.learning.replay import Replay
from proxy_snn_control.learning.tasks import clip_action, describe, make_environment
from proxy_snn_control.learning.td3 import TD3
from proxy_snn_control.policy import Policy, PolicySpec, UserError, write_policy
from proxy_snn_control.policy.file import check_size
from proxy_snn_control.policy.files import is_taken, make_folder, write_bytes
from proxy_snn_control.policy.neurons import NEURONS
from proxy_snn_control.spiking.actor import SpikingActor

QUANTILE_LEVELS = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
QUANTILE_SAMPLES = 100_000
COLUMNS = (
    "step",
    "eval_return_mean",
    "eval_return_std",
    "train_return",
    "steps_per_second",
    "seconds",
    "critic_loss",
    "actor_loss",
    "proxy_loss",
)


class Listener:
    """What a run tells and asks while it goes on. Override what is of interest."""

    def should_stop(self) -> bool:
        """Asked before every environment step; True ends the run with a checkpoint."""
        return False

    def on_step(self, step: int) -> None:
        """Told after every training step."""

    def on_episode(self, step: int, episode_return: float) -> None:
        """Told when a training episode ends."""

    def on_evaluation(self, row: dict[str, float]) -> None:
        """Told after every evaluation; `row` is the new line of progress.csv."""


class TrainingRun:
    """A training run and everything that changes in it.

    Attributes:
        step: environment steps so far, the random ones among them.
        best: the best mean evaluation return of a policy file so far.
        rows: progress.csv, line by line.
    """

    def __init__(self, config: TrainConfig, out: Path, *, resume: bool = False) -> None:
        """Start a run in the folder `out`, or take it up again where its checkpoint is.

        Raises:
            UserError: the task or a setting is no good, `out` already holds a run (or, to resume,
                holds none).
        """
        self.config, self.out = config, out
        self.environment = make_environment(config.env)
        self.evaluation_environment = make_environment(config.env)
        self.task = describe(self.evaluation_environment)
        device = _device(config.device)
        if config.threads:
            torch.set_num_threads(config.threads)

        self.step = 0
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.actor = SpikingActor(
            self.task.observation_size,
            self.task.action_low,
            self.task.action_high,
            hidden=config.hidden,
            neuron=config.neuron,
            neuron_constants=_neuron_constants(config),
            surrogate_window=config.surrogate_window,
            time_steps=config.time_steps,
            encoder_population=config.encoder_population,
            encoder_threshold=config.encoder_threshold,
            encoder_span=(config.encoder_span[0], config.encoder_span[1]),
            encoder_sigma=config.encoder_sigma,
            decoder_population=config.decoder_population,
        )
        check_size(out / "policy.safetensors", self._spec({}))
        self.td3 = TD3(self.actor, config, device)
        sizes = self.task.observation_size, len(self.task.action_low)
        try:
            self.replay = Replay(config.replay_size, *sizes)
        except MemoryError:
            raise UserError(
                f"setting replay_size is {config.replay_size}, more than the memory holds"
            ) from None
        self.evaluated = -1
        self.seconds = 0.0
        self.best = -np.inf
        self.rows: list[dict[str, float]] = []

        checkpoint = out / "checkpoint" / "checkpoint.safetensors"
        if resume and not (out / "config.yaml").is_file():
            raise UserError(f"there is no run to resume in {out}: it has no config.yaml")
        if not resume and is_taken(out):
            raise UserError(
                f"run folder {out} is not an empty folder; resume that run or choose another"
            )
        if resume and checkpoint.exists():  # without one it ended before the first: start again
            load_checkpoint(checkpoint, self)
        first_seed = config.seed
        if self.step:
            first_seed = int(self.rng.integers(2**31))  # the episode under way starts anew
        make_folder(checkpoint.parent)
        save_config(out / "config.yaml", config)
        self.observation, _ = self.environment.reset(seed=first_seed)
        self.episode_return = 0.0

        # The runtime that will be deployed collects the experience too. On a CPU it shares the
        # actor's memory and so always acts with the newest weights.
        self._weights = {
            name: tensor.numpy(force=True) for name, tensor in self.actor.state_dict().items()
        }
        quantiles = np.zeros((len(QUANTILE_LEVELS), self.task.observation_size), np.float32)
        self.policy = Policy(self._spec({}), {**self._weights, "observation.quantiles": quantiles})

    def run(self, listener: Listener) -> bool:
        """Train until done or told to stop; keeps a checkpoint either way.

        Returns:
            True if all steps were taken or `stop_at_return` was reached, False if stopped before.

        Raises:
            UserError: the losses or the task's numbers are no longer finite, or a file cannot be
                written; the last checkpoint stays.
        """
        from torch.utils.tensorboard import SummaryWriter

        config = self.config
        with SummaryWriter(str(self.out), purge_step=self.step) as board:
            self._begin_interval()
            while True:
                if self._evaluation_is_due():
                    row = self._evaluate(listener)
                    if row is None:
                        break
                    for name, value in row.items():
                        board.add_scalar(name, value, self.step)
                    listener.on_evaluation(row)
                    self._begin_interval()
                done = self.step >= config.total_steps or self._good_enough()
                if done or self.step % config.checkpoint_every == 0:
                    self.checkpoint()
                if done:
                    return True
                if listener.should_stop():
                    break

                episode_return = self._collect()
                if episode_return is not None:
                    self._returns.append(episode_return)
                    listener.on_episode(self.step, episode_return)
                if self.step > config.random_steps:
                    for name, loss in self.td3.update(self.replay, self.rng).items():
                        self._losses[name].append(float(loss))
                    self._refresh()
                listener.on_step(self.step)
        self.checkpoint()
        return False

    def checkpoint(self) -> None:
        """Keep everything the run needs to go on, and the policy as it is now."""
        if len(self.replay) and self.evaluated != self.step:
            self._write_policy(["policy_last.safetensors"], {})
        save_checkpoint(self.out / "checkpoint" / "checkpoint.safetensors", self)

    def _collect(self) -> float | None:
        """One environment step; the return of the episode if it ended."""
        space: Any = self.environment.action_space
        if self.step < self.config.random_steps:
            action = self.rng.uniform(space.low, space.high)
        else:
            limit = (space.high - space.low) / 2
            noise = self.rng.normal(0.0, self.config.exploration_noise, size=limit.shape) * limit
            action = self.policy.act(self.observation) + noise
        action = clip_action(self.environment, action)
        following, given, terminal, truncated, _ = self.environment.step(action)
        reward = float(given)
        self.step += 1
        self.episode_return += reward
        if not (np.isfinite(following).all() and np.isfinite(reward)):
            raise UserError(
                f"task {self.task.id!r} gave a NaN or an infinity at step {self.step}; the last "
                f"good checkpoint is in {self.out / 'checkpoint'}"
            )
        self.replay.add(self.observation, action, reward, following, terminal)
        self.observation = following
        if not (terminal or truncated):
            return None
        finished, self.episode_return = self.episode_return, 0.0
        self.observation, _ = self.environment.reset()
        return finished

    def _begin_interval(self) -> None:
        """Start to count what the next line of progress.csv will tell."""
        self._losses: dict[str, list[float]] = defaultdict(list)
        self._returns: list[float] = []
        self._interval = time.perf_counter(), self.step

    def _evaluation_is_due(self) -> bool:
        last = self.step == self.config.total_steps
        return self.evaluated != self.step and (last or self.step % self.config.eval_every == 0)

    def _evaluate(self, listener: Listener) -> dict[str, float] | None:
        """Evaluate, and keep a policy that is the best so far; None if stopped meanwhile."""
        began, from_step = self._interval
        elapsed = time.perf_counter() - began
        result = evaluate(
            self.policy,
            self.evaluation_environment,
            self.config.eval_episodes,
            self.config.evaluation_seed,
            listener.should_stop,
        )
        if result is None:
            return None
        losses = {name: float(np.mean(values)) for name, values in self._losses.items()}
        if not np.isfinite(list(losses.values())).all():
            raise UserError(
                f"a loss became NaN or infinite before step {self.step}; the last good checkpoint "
                f"is in {self.out / 'checkpoint'}"
            )
        self.seconds += elapsed
        row = {
            "step": self.step,
            "eval_return_mean": result.mean,
            "eval_return_std": result.std,
            "train_return": float(np.mean(self._returns)) if self._returns else np.nan,
            "steps_per_second": (self.step - from_step) / elapsed,
            "seconds": self.seconds,
            **losses,
        }
        self.evaluated = self.step
        self.rows.append(row)
        write_bytes(self.out / "progress.csv", _as_csv(self.rows))
        if len(self.replay):
            about = {"episodes": len(result.returns), "mean": result.mean, "std": result.std}
            names = ["policy_last.safetensors"]
            if result.mean > self.best:
                self.best = result.mean
                names.append("policy.safetensors")
            self._write_policy(names, about)
        return row

    def _good_enough(self) -> bool:
        goal = self.config.stop_at_return
        return goal is not None and self.evaluated == self.step and self.best >= goal

    def _write_policy(self, names: list[str], evaluation: dict[str, float]) -> None:
        seen = self.replay.observations()
        sample = seen[:: -(-len(seen) // QUANTILE_SAMPLES)]
        quantiles = np.quantile(sample, QUANTILE_LEVELS, axis=0)
        quantiles[0], quantiles[-1] = seen.min(axis=0), seen.max(axis=0)
        tensors = {**self._weights, "observation.quantiles": quantiles.astype(np.float32)}
        for name in names:
            write_policy(self.out / name, self._spec(evaluation), tensors)

    def _spec(self, evaluation: dict[str, float]) -> PolicySpec:
        config, task = self.config, self.task
        return PolicySpec(
            observation_size=task.observation_size,
            action_size=len(task.action_low),
            hidden=config.hidden,
            time_steps=config.time_steps,
            neuron=config.neuron,
            neuron_constants=_neuron_constants(config),
            encoder_population=config.encoder_population,
            encoder_threshold=config.encoder_threshold,
            decoder_population=config.decoder_population,
            action_low=task.action_low,
            action_high=task.action_high,
            observation_names=task.observation_names,
            action_names=task.action_names,
            control_period=task.control_period,
            observation_quantile_levels=QUANTILE_LEVELS,
            provenance={
                "env": task.id,
                "target": config.target,
                "seed": config.seed,
                "step": self.step,
                "evaluation": evaluation,
                "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "versions": {
                    "proxy_snn_control": proxy_snn_control.__version__,
                    "torch": torch.__version__,
                    "gymnasium": gymnasium.__version__,
                    "mujoco": mujoco.__version__,
                },
            },
        )

    def _refresh(self) -> None:
        """Bring the acting policy's weights up to date where they cannot share memory."""
        if self.td3.device.type != "cpu":
            for name, tensor in self.actor.state_dict().items():
                self._weights[name][...] = tensor.numpy(force=True)


def _neuron_constants(config: TrainConfig) -> dict[str, float]:
    return {name: getattr(config, name) for name in NEURONS[config.neuron].constants}


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("setting device is 'cuda', but torch finds no usable GPU")
    return torch.device(name)


def _as_csv(rows: list[dict[str, float]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
