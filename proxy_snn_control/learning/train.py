"""One training run: collect, learn, evaluate, keep. TD3 itself is in td3.py.

A run lives in a folder: config.yaml, progress.csv, TensorBoard events, checkpoint/,
policy.safetensors (the best so far by evaluation) and policy_last.safetensors.
"""

from __future__ import annotations

import csv
import ctypes
import io
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import torch

import proxy_snn_control
from proxy_snn_control.learning.checkpoint import NAME as CHECKPOINT
from proxy_snn_control.learning.checkpoint import load_checkpoint, save_checkpoint
from proxy_snn_control.learning.config import TrainConfig, save_config
from proxy_snn_control.learning.episode import Episode
from proxy_snn_control.learning.evaluate import evaluate
from proxy_snn_control.learning.replay import Replay
from proxy_snn_control.learning.targets import Actor
from proxy_snn_control.learning.tasks import (
    Task,
    clip_action,
    describe,
    make_environment,
)
from proxy_snn_control.learning.td3 import TD3
from proxy_snn_control.learning.transitions import transition_model, why_left_out
from proxy_snn_control.policy import Policy, PolicySpec, UserError, write_policy
from proxy_snn_control.policy.errors import TaskError, WriteError
from proxy_snn_control.policy.file import check_spec
from proxy_snn_control.policy.files import (
    claim,
    is_taken,
    make_folder,
    release,
    remove,
    write_bytes,
)
from proxy_snn_control.policy.neurons import NEURONS
from proxy_snn_control.spiking.actor import ReLUActor, SpikingActor

QUANTILE_LEVELS = (0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0)
SAMPLES = 25_000
# Options of glibc's mallopt.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MEASURED = ("critic_loss", "actor_loss", "proxy_loss", "actor_gradient_norm")


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

    def on_warning(self, text: str) -> None:
        """Told of what the user should know at once."""


class TrainingRun:
    """A training run and everything that changes in it.

    Attributes:
        step: environment steps so far, the random ones among them.
        best: the best mean evaluation return of a policy file so far.
        rows: progress.csv, line by line.
        interval: what the next line of progress.csv has gathered so far.
        warnings: what the user should be told at the next opportunity.
    """

    def __init__(self, config: TrainConfig, out: Path, *, resume: bool = False) -> None:
        """Start a run in the folder `out`, or take it up again where its checkpoint is.

        Raises:
            UserError: the task or a setting is no good, `out` already holds a run (or, to resume,
                holds none), or another process is at work on it.
        """
        self.config, self.out = config, out
        environments = [make_environment(config.env) for _ in range(config.num_envs)]
        self.evaluation_environment = make_environment(config.env)
        self.task = describe(self.evaluation_environment)
        device = _device(config.device)
        use_processor(config.threads)

        self.step = 0
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        check_spec(out / "policy.safetensors", self._spec({}))
        self.actor = _make_actor(config, self.task)
        try:
            self.td3 = TD3(self.actor, config, device)
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise UserError(
                f"settings critic_hidden {config.critic_hidden} and proxy_hidden "
                f"{config.proxy_hidden} make networks larger than the memory"
            ) from None
        self.td3.compile()
        sizes = self.task.observation_size, len(self.task.action_low)
        try:
            self.replay = Replay(config.replay_size, *sizes)
        except MemoryError:
            raise UserError(
                f"setting replay_size is {config.replay_size}, more than the memory holds"
            ) from None
        self.replay_files: list[tuple[int, int]] = []
        self.evaluated = -1
        self.seconds = 0.0
        self.best = -np.inf
        self.rows: list[dict[str, float]] = []
        self.interval: dict[str, list[float]] = {}
        self.warnings = [sentence] if (sentence := why_left_out(self._spec({}))) else []
        self._dead = False

        self._checkpoint = out / "checkpoint"
        if resume and not (out / "config.yaml").is_file():
            raise UserError(f"there is no run to resume in {out}: it has no config.yaml")
        if not resume and is_taken(out):
            raise UserError(
                f"run folder {out} is not an empty folder; resume that run or choose another"
            )
        make_folder(out)
        claim(out)  # two at once would remove each other's files
        # The first has the run's seed; the others' are drawn, so that runs of neighbouring seeds
        # share none.
        more = np.random.SeedSequence(config.seed).generate_state(config.num_envs).tolist()
        seeds = [config.seed, *more[1:]]
        self.episodes = [Episode(*each) for each in zip(environments, seeds, strict=True)]
        # Without a checkpoint it ended before the first: start again.
        if resume and (self._checkpoint / CHECKPOINT).exists():
            load_checkpoint(self._checkpoint, self)
        remove(out.glob(".*.tmp"))  # what a kill -9 left half written
        # First: a folder with anything else in it could be neither resumed nor begun anew.
        save_config(out / "config.yaml", config)
        make_folder(self._checkpoint)
        if self.rows:  # what was evaluated after the checkpoint will be evaluated again
            self._write_progress()

        # The runtime that will be deployed collects the experience too.
        self._weights = {
            name: tensor.numpy(force=True) for name, tensor in self.actor.tensors().items()
        }
        quantiles = np.zeros((len(QUANTILE_LEVELS), self.task.observation_size), np.float32)
        self.policy = Policy(self._spec({}), {**self._weights, "observation.quantiles": quantiles})

    def run(self, listener: Listener) -> bool:
        """Train until done or told to stop; keeps a checkpoint either way.

        Returns:
            True if all steps were taken or `stop_at_return` was reached, False if stopped before.

        Raises:
            UserError: the task fails, a number of it or of the networks is no longer finite, or a
                file cannot be written; says which, where, and which checkpoint stays.
        """
        claim(self.out)
        # TensorBoard's thread hands its error on to this one, but would print it first.
        hook = threading.excepthook
        threading.excepthook = lambda thread: (
            None if isinstance(thread.exc_value, OSError) else hook(thread)
        )
        try:
            return self._train(listener)
        except TaskError as error:
            raise UserError(f"at step {self.step} {error}; {self._last_good()}") from error
        except WriteError as error:
            raise UserError(f"at step {self.step}: {error}; {self._last_good()}") from error
        except OSError as error:
            path = error.filename or self.out / "events.out.tfevents.*"
            raise UserError(
                f"at step {self.step}: {path}: cannot be written: {error.strerror}; "
                f"{self._last_good()}"
            ) from error
        finally:
            threading.excepthook = hook
            release(self.out)

    def _train(self, listener: Listener) -> bool:
        from torch.utils.tensorboard import SummaryWriter

        config = self.config
        with SummaryWriter(str(self.out), purge_step=self.step) as board:
            self._clock = time.perf_counter(), self.step
            while True:
                while self.warnings:
                    listener.on_warning(self.warnings.pop(0))
                if self._evaluation_is_due():
                    row = self._evaluate(listener)
                    if row is None:
                        break
                    for name, value in row.items():
                        board.add_scalar(name, value, self.step)
                    listener.on_evaluation(row)
                    self._clock = time.perf_counter(), self.step
                done = self.step >= config.total_steps or self._good_enough()
                if done or self.step % config.checkpoint_every == 0:
                    self.checkpoint()
                if done:
                    return True
                if listener.should_stop():
                    break

                for episode in self.episodes:
                    self._collect(episode, listener)
                if self.step > config.random_steps:
                    for _ in self.episodes:
                        self._learn()
                listener.on_step(self.step)
        self.checkpoint()
        return False

    def checkpoint(self) -> None:
        """Keep everything the run needs to go on, and the policy as it is now."""
        save_checkpoint(self._checkpoint, self)
        if len(self.replay) and self.evaluated != self.step:
            self._write_policy(["policy_last.safetensors"], {})

    def not_finite(self, name: str) -> UserError:
        """The error to raise where numbers are no longer numbers."""
        return UserError(f"at step {self.step} {name} is NaN or infinite; {self._last_good()}")

    def _last_good(self) -> str:
        path = self._checkpoint / CHECKPOINT
        return f"the last good checkpoint is {path}" if path.exists() else "there is no checkpoint"

    def _collect(self, episode: Episode, listener: Listener) -> None:
        """One environment step into the replay buffer."""
        space: Any = episode.environment.action_space
        if self.step < self.config.random_steps:
            action = self.rng.uniform(space.low, space.high)
        else:
            limit = (space.high - space.low) / 2
            noise = self.rng.normal(0.0, self.config.exploration_noise, size=limit.shape) * limit
            action = self.policy.act(episode.observation) + noise
        action = clip_action(episode.environment, action)
        observation = episode.observation
        self.step += 1
        following, reward, terminal, truncated = episode.step(action)
        self.replay.add(observation, action, reward, following, terminal)
        if terminal or truncated:
            self._gather("train_return", episode.total)
            listener.on_episode(self.step, episode.total)
            episode.begin()

    def _learn(self) -> None:
        found = self.td3.update(self.replay, self.rng)
        measured = dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))
        if "actor_loss" in measured:
            self._refresh()
        for name, value in measured.items():
            if not np.isfinite(value):
                raise self.not_finite(name)
            self._gather(name, value)
        dead = measured.get("actor_gradient_norm", not self._dead) == 0
        if dead and not self._dead:
            why = "no output neuron's membrane potential is inside the surrogate window"
            if not NEURONS[self.config.neuron].state:
                why = "the units of a layer are all at zero"
            self.warnings.append(
                f"step {self.step}: the actor's gradient is exactly zero, so it no longer learns: "
                f"{why}, or its actions are all at their limits"
            )
        self._dead = dead

    def _gather(self, name: str, value: float) -> None:
        """Count a number in for the mean that the next line of progress.csv will tell."""
        total, count = self.interval.get(name, (0.0, 0))
        self.interval[name] = [total + value, count + 1]

    def _evaluation_is_due(self) -> bool:
        last = self.step == self.config.total_steps
        return self.evaluated != self.step and (last or self.step % self.config.eval_every == 0)

    def _evaluate(self, listener: Listener) -> dict[str, float] | None:
        """Evaluate, and keep a policy that is the best so far; None if stopped meanwhile."""
        began, from_step = self._clock
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
        self.seconds += elapsed
        means = {name: total / count for name, (total, count) in self.interval.items()}
        row = {
            "step": self.step,
            "eval_return_mean": result.mean,
            "eval_return_std": result.std,
            "steps_per_second": (self.step - from_step) / elapsed,
            "seconds": self.seconds,
            **means,
            **(self.td3.activity(self.replay) if self.step > self.config.random_steps else {}),
        }
        self.interval = {}
        self.evaluated = self.step
        self.rows.append(row)
        self._write_progress()
        if len(self.replay):
            about = {"episodes": len(result.returns), "mean": result.mean, "std": result.std}
            names = ["policy_last.safetensors"]
            if result.mean > self.best:
                self.best = result.mean
                names.append("policy.safetensors")
            self._write_policy(names, about)
        return row

    def _write_progress(self) -> None:
        columns = ["step", "eval_return_mean", "eval_return_std", "train_return"]
        columns += ["steps_per_second", "seconds", *MEASURED, *self.td3.activity_names]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_bytes(self.out / "progress.csv", text.getvalue().encode())

    def _good_enough(self) -> bool:
        goal = self.config.stop_at_return
        return goal is not None and self.evaluated == self.step and self.best >= goal

    def _write_policy(self, names: list[str], evaluation: dict[str, float]) -> None:
        seen = self.replay.observations()
        sample = self.replay.read_every(-(-len(seen) // SAMPLES))
        quantiles = np.quantile(sample["observation"], QUANTILE_LEVELS, axis=0)
        quantiles[0], quantiles[-1] = seen.min(axis=0), seen.max(axis=0)
        tensors = {
            **self._weights,
            "observation.quantiles": quantiles.astype(np.float32),
            **transition_model(sample["observation"], sample["action"], sample["next_observation"]),
        }
        for name in names:
            write_policy(self.out / name, self._spec(evaluation), tensors)

    def _spec(self, evaluation: dict[str, float]) -> PolicySpec:
        config, task = self.config, self.task
        spiking = bool(NEURONS[config.neuron].state)
        return PolicySpec(
            observation_size=task.observation_size,
            action_size=len(task.action_low),
            hidden=config.hidden,
            time_steps=config.time_steps if spiking else 1,
            neuron=config.neuron,
            neuron_constants=config.neuron_constants,
            encoder_population=config.encoder_population if spiking else 1,
            encoder_threshold=config.encoder_threshold,
            decoder_population=config.decoder_population if spiking else 1,
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
        """Bring the acting policy up to date; on a CPU `_weights` are the actor's own memory."""
        if self.td3.device.type != "cpu":
            for name, tensor in self.actor.tensors().items():
                self._weights[name][...] = tensor.numpy(force=True)
        self.policy.refresh()


def _make_actor(config: TrainConfig, task: Task) -> Actor:
    sizes = task.observation_size, task.action_low, task.action_high
    if not NEURONS[config.neuron].state:
        return ReLUActor(*sizes, hidden=config.hidden)
    return SpikingActor(
        *sizes,
        hidden=config.hidden,
        neuron=config.neuron,
        neuron_constants=config.neuron_constants,
        surrogate_window=config.surrogate_window,
        time_steps=config.time_steps,
        encoder_population=config.encoder_population,
        encoder_threshold=config.encoder_threshold,
        encoder_span=(config.encoder_span[0], config.encoder_span[1]),
        encoder_sigma=config.encoder_sigma,
        decoder_population=config.decoder_population,
    )


def use_processor(threads: int) -> None:
    """Take that many threads (0: what torch thinks best), and do away with two hidden costs.

    By default the C library gives each freed array back to the system and an update's arrays are
    then paged in anew, which takes a tenth of the time. And Adam's moments of weights that no
    longer get a gradient fade into denormal numbers, with which the processor is slow: they become
    zero instead.
    """
    torch.set_flush_denormal(True)
    if threads:
        torch.set_num_threads(threads)
    if hasattr(mallopt := ctypes.CDLL(None), "mallopt"):
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            mallopt.mallopt(option, 2**30)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("setting device is 'cuda', but torch finds no usable GPU")
    return torch.device(name)
