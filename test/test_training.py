"""Training on real MuJoCo: the algorithm's promises, the run's files, stopping and going on."""

import csv
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from conftest import TASK  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from proxy_snn_control.learning.config import TrainConfig, load_config, save_config  # noqa: E402
from proxy_snn_control.learning.evaluate import evaluate  # noqa: E402
from proxy_snn_control.learning.replay import Replay  # noqa: E402
from proxy_snn_control.learning.tasks import (  # noqa: E402
    describe,
    episode_seed,
    make_environment,
)
from proxy_snn_control.learning.td3 import TD3  # noqa: E402
from proxy_snn_control.learning.train import Listener, TrainingRun  # noqa: E402
from proxy_snn_control.policy import UserError, load_policy  # noqa: E402
from proxy_snn_control.share import share_file  # noqa: E402
from proxy_snn_control.spiking.actor import SpikingActor  # noqa: E402

QUICK = {
    "env": TASK,
    "steps": 60,
    "random_steps": 60,
    "eval_every": 40,
    "eval_episodes": 2,
    "checkpoint_every": 50,
    "hidden": (16, 16),
    "proxy_hidden": (16, 16),
    "critic_hidden": (16, 16),
    "batch_size": 16,
    "threads": 1,
}


def quick(**changes) -> TrainConfig:
    return TrainConfig(**{**QUICK, **changes})


class StopAt(Listener):
    def __init__(self, step: int) -> None:
        self.stop_at, self.step = step, 0

    def on_step(self, step: int) -> None:
        self.step = step

    def should_stop(self) -> bool:
        return self.step >= self.stop_at


def filled_replay(observations: int, actions: int) -> Replay:
    rng = np.random.default_rng(0)
    replay = Replay(500, observations, actions)
    for i in range(300):
        state, following = rng.normal(size=(2, observations))
        replay.add(state, rng.uniform(-1, 1, actions), rng.normal(), following, i % 5 == 0)
    return replay


def snapshot(module) -> dict:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(a: dict, b: dict) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_who_moves_when_in_algorithm_3() -> None:
    config = quick(tau=0.01, proxy_updates=3)
    td3 = TD3(SpikingActor(4, (-1.0,), (1.0,), hidden=(16,)), config, torch.device("cpu"))
    replay, rng = filled_replay(4, 1), np.random.default_rng(0)
    parts = {
        "actor": td3.actor,
        "proxy": td3.target,
        "critic": td3.critic,
        "target_critic": td3.target_critic,
    }
    for update in (1, 2, 3, 4):
        before = {name: snapshot(part) for name, part in parts.items()}
        td3.update(replay, rng)
        after = {name: snapshot(part) for name, part in parts.items()}
        moved = {name for name in parts if not equal(before[name], after[name])}
        if update % 2:
            assert moved == {"proxy", "critic"}
            continue
        assert moved == set(parts)
        for name, value in after["target_critic"].items():
            averaged = 0.99 * before["target_critic"][name] + 0.01 * after["critic"][name]
            torch.testing.assert_close(value, averaged)
    moments = td3.target.optimiser.state_dict()["state"][0]
    assert moments["step"] == 4 * 3, "K Adam steps of the proxy per training step"


def test_the_critic_goal_is_the_clipped_double_q_of_the_proxy() -> None:
    """One critic update against the textbook, with the target noise switched off."""
    config = quick(proxy_updates=1, target_noise=0.0, discount=0.9, critic_learning_rate=1e-12)
    td3 = TD3(SpikingActor(4, (-1.0,), (1.0,), hidden=(16,)), config, torch.device("cpu"))
    replay = filled_replay(4, 1)
    rng, same_rng = np.random.default_rng(5), np.random.default_rng(5)
    loss = td3.update(replay, rng)["critic_loss"]
    batch = replay.sample(config.batch_size, same_rng, torch.device("cpu"))
    with torch.no_grad():
        action = td3.target(batch.next_observation).clamp(-1, 1)
        lower = torch.minimum(*td3.target_critic(batch.next_observation, action))
        goal = torch.where(batch.terminal == 1, batch.reward, batch.reward + 0.9 * lower)
        now = td3.critic(batch.observation, batch.action)
        errors = [((q - goal) ** 2).mean() for q in now]
    torch.testing.assert_close(loss, sum(errors), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(td3.critic.q1(batch.observation, batch.action), now[0])


def test_the_proxy_learns_to_imitate() -> None:
    config = quick(proxy_hidden=(64, 64), proxy_learning_rate=3e-3)
    torch.manual_seed(0)
    td3 = TD3(SpikingActor(4, (-2.0,), (1.0,), hidden=(16,)), config, torch.device("cpu"))
    observations = torch.randn(512, 4)
    with torch.no_grad():
        answers = td3.actor(observations)
    losses = [float(td3.target.imitate(observations, answers)) for _ in range(200)]
    assert losses[-1] < losses[0] / 10
    assert losses[-1] < answers.var() / 2


def test_time_limits_are_not_terminal(tmp_path: Path) -> None:
    config = quick(env="Pendulum-v1", random_steps=450, steps=1, eval_every=1000, eval_episodes=1)
    run = TrainingRun(config, tmp_path / "run")
    run.run(Listener())
    ended = run.replay.arrays["terminal"][: len(run.replay)].sum()
    assert len(run.replay) == 451
    assert ended == 0, "Pendulum ends by its time limit alone, twice in these steps"


def test_a_run_and_its_files(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = TrainingRun(quick(), out)
    assert run.run(Listener()) is True
    assert run.step == 120
    names = {path.name for path in out.iterdir()}
    assert {
        "config.yaml",
        "progress.csv",
        "checkpoint",
        "policy.safetensors",
        "policy_last.safetensors",
    } <= names
    assert any(name.startswith("events.out.tfevents") for name in names), "TensorBoard events"
    with open(out / "progress.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "40", "80", "120"]
    assert float(rows[-1]["critic_loss"]) > 0
    assert float(rows[-1]["proxy_loss"]) > 0
    assert float(rows[-1]["steps_per_second"]) > 0
    assert TrainConfig(**load_config(out / "config.yaml")) == run.config

    best = load_policy(out / "policy.safetensors")
    means = {int(row["step"]): float(row["eval_return_mean"]) for row in rows[1:]}
    about = best.spec.provenance
    assert about["step"] == max(means, key=lambda step: means[step])
    assert about["evaluation"]["mean"] == max(means.values())
    again = evaluate(best, make_environment(TASK), 2, run.config.evaluation_seed)
    assert again is not None
    assert again.mean == about["evaluation"]["mean"], "the file acts as the actor in training did"

    assert best.spec.control_period == 0.05
    assert best.spec.observation_names is not None
    assert best.spec.observation_names[0] == "slider.position"
    last = load_policy(out / "policy_last.safetensors")
    seen = run.replay.observations()
    np.testing.assert_array_equal(last.quantiles[0], seen.min(axis=0))
    np.testing.assert_array_equal(last.quantiles[-1], seen.max(axis=0))
    middle = last.spec.observation_quantile_levels.index(0.5)
    np.testing.assert_allclose(last.quantiles[middle], np.median(seen, axis=0), atol=1e-6)


def test_same_seed_same_run(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> dict:
        run = TrainingRun(quick(seed=seed), tmp_path / name)
        run.run(Listener())
        return snapshot(run.actor)

    first = weights("a", 1)
    assert equal(first, weights("b", 1))
    assert not equal(first, weights("c", 2))


def test_stop_and_resume(tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = TrainingRun(quick(), out)
    assert run.run(StopAt(97)) is False
    stopped, count = snapshot(run.actor), run.replay.count
    assert run.step == 97
    run = TrainingRun(quick(), out, resume=True)
    assert run.step == 97
    assert run.replay.count == count == 97
    assert equal(snapshot(run.actor), stopped)
    assert run.td3.actor_optimiser.state_dict()["state"][0]["step"] == (97 - 60) // 2
    assert run.run(Listener()) is True
    with open(out / "progress.csv", newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["0", "40", "80", "120"]


def test_stopped_within_an_evaluation(tmp_path: Path) -> None:
    class StopInEvaluation(Listener):
        asked = 0

        def should_stop(self) -> bool:
            self.asked += 1
            return self.asked > 3

    out = tmp_path / "run"
    assert TrainingRun(quick(), out).run(StopInEvaluation()) is False
    run = TrainingRun(quick(), out, resume=True)
    assert run.rows == []
    assert run.run(Listener()) is True
    assert [row["step"] for row in run.rows] == [0, 40, 80, 120]


def test_early_stop_at_a_return(tmp_path: Path) -> None:
    run = TrainingRun(quick(stop_at_return=1.0), tmp_path / "run")
    assert run.run(Listener()) is True
    assert run.step == 40, "the first evaluation that leaves a policy"


def test_no_run_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(UserError, match="not an empty folder"):
        TrainingRun(quick(), tmp_path)
    with pytest.raises(UserError, match="not an empty folder"):
        TrainingRun(quick(), tmp_path / "precious")
    assert os.listdir(tmp_path) == ["precious"]


def test_two_processes_do_not_train_one_run(tmp_path: Path) -> None:
    def claims() -> bool:
        other = os.open(out, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with pytest.raises(UserError, match=f"{out}: another process is at work"):
                TrainingRun(quick(), out, resume=True)
        except BlockingIOError:
            return False
        finally:
            os.close(other)
        return True

    class Looks(Listener):
        def on_step(self, step: int) -> None:
            assert not claims()

    out = tmp_path / "run"
    TrainingRun(quick(), out).run(Looks())
    assert claims()
    assert TrainingRun(quick(), out, resume=True).run(Listener()) is True


def test_a_run_that_cannot_begin_can_begin_again(tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as context:
        context.setattr("proxy_snn_control.learning.train.save_config", fail)
        with pytest.raises(RuntimeError):
            TrainingRun(quick(), out)
    assert os.listdir(out) == []
    assert TrainingRun(quick(), out).step == 0


def test_resume_needs_a_whole_checkpoint_that_fits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run to resume"):
        TrainingRun(quick(), tmp_path, resume=True)
    out = tmp_path / "run"
    TrainingRun(quick(), out)
    again = TrainingRun(quick(), out, resume=True)  # killed before the first checkpoint
    assert again.step == 0
    again.run(StopAt(70))
    with pytest.raises(UserError, match="does not fit this run"):
        TrainingRun(quick(hidden=(8,)), out, resume=True)
    with pytest.raises(UserError, match="it was written with policy_delay 2, not 3"):
        TrainingRun(quick(policy_delay=3), out, resume=True)
    checkpoint = out / "checkpoint" / "checkpoint.safetensors"
    (transitions,) = checkpoint.parent.glob("replay-*")
    kept = transitions.read_bytes()
    for damage, says in (
        (lambda: transitions.write_bytes(kept[:-4]), r"replay-\S+ does not fit this run"),
        (transitions.unlink, r"replay-\S+: no such file"),
    ):
        damage()
        with pytest.raises(UserError, match=says):
            TrainingRun(quick(), out, resume=True)
    save_file({"observation": torch.zeros(70, 9)}, transitions)
    with pytest.raises(UserError, match="does not hold 70 transitions"):
        TrainingRun(quick(), out, resume=True)
    transitions.write_bytes(kept)
    whole = checkpoint.read_bytes()
    with safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
    for change in (
        lambda t: t.pop("actor.layers.0.bias"),
        lambda t: t.update({"target.network.flat": torch.zeros(3, 1)}),
        lambda t: [t.pop(name) for name in list(t) if name.startswith("actor_optimiser.")],
        lambda t: t.update({"critic_optimiser.0.exp_avg": torch.zeros(1)}),
        lambda t: t.update(surprise=torch.zeros(1)),
    ):
        checkpoint.write_bytes(whole)
        tensors = load_file(checkpoint)
        change(tensors)
        save_file(tensors, checkpoint, metadata)
        with pytest.raises(UserError, match="does not fit this run"):
            TrainingRun(quick(), out, resume=True)
    state = json.loads(metadata["state"])
    for field, value in (
        ("rows", 5),
        ("rows", [{"a": 1}]),
        ("step", "x"),
        ("settings", {}),
        ("rng", {}),
        ("episodes", []),
        ("replay", [[0, 60]]),
        ("replay", [[20, 70]]),
    ):
        changed = {"state": json.dumps({**state, field: value})}
        checkpoint.write_bytes(whole)
        save_file(load_file(checkpoint), checkpoint, changed)
        with pytest.raises(UserError, match="does not fit this run"):
            TrainingRun(quick(), out, resume=True)
    checkpoint.write_bytes(whole[:1000])
    with pytest.raises(UserError, match="does not fit this run"):
        TrainingRun(quick(), out, resume=True)


def timeless(out: Path) -> list[dict[str, str]]:
    """progress.csv without what the clock says."""
    with open(out / "progress.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "steps_per_second")} for row in rows
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"env": "HalfCheetah-v4", "neuron": "clif"},  # its episodes outlast the run
        {"neuron": "dn", "target": "soft", "replay_size": 30},
        {"neuron": "relu", "num_envs": 2, "checkpoint_every": 10},
    ],
    ids=["lif", "within an episode", "replay wrapped around", "two environments"],
)
def test_a_resumed_run_is_the_run_that_never_stopped(tmp_path: Path, changes: dict) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    straight = TrainingRun(quick(**changes), whole)
    straight.run(Listener())
    TrainingRun(quick(**changes), parted).run(StopAt(60))
    TrainingRun(quick(**changes), parted, resume=True).run(StopAt(97))
    resumed = TrainingRun(quick(**changes), parted, resume=True)
    assert not resumed.warnings
    resumed.run(Listener())
    assert timeless(parted) == timeless(whole)
    assert resumed.step == 120
    assert equal(snapshot(resumed.actor), snapshot(straight.actor))
    assert equal(snapshot(resumed.td3.target), snapshot(straight.td3.target))
    for name, array in straight.replay.arrays.items():
        np.testing.assert_array_equal(resumed.replay.arrays[name], array)


def test_a_task_that_does_not_repeat_itself_starts_a_new_episode(tmp_path: Path) -> None:
    out = tmp_path / "run"
    TrainingRun(quick(), out).run(StopAt(70))
    path = out / "checkpoint" / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["episode.0.observation"] += 1
    save_file(tensors, path, metadata)
    run = TrainingRun(quick(), out, resume=True)
    assert "does not repeat itself: the episode under way starts anew" in run.warnings[0]
    assert run.run(Listener()) is True


def test_many_checkpoints_leave_few_files(tmp_path: Path) -> None:
    run = TrainingRun(quick(checkpoint_every=1), tmp_path / "run")
    run.run(Listener())
    names = os.listdir(tmp_path / "run" / "checkpoint")
    assert sorted(names) == ["checkpoint.safetensors", "replay-0000000000-0000000120.safetensors"]


def poison(run: TrainingRun, step: int, observation: float = 0.0, reward: float = 0.0) -> None:
    """Make the task add these numbers to what it says at one step."""
    environment = run.episodes[0].environment.env
    play = environment.step

    def poisoned(action):
        seen, given, *rest = play(action)
        if run.step == step:
            seen, given = seen + observation, given + reward
        return seen, given, *rest

    environment.step = poisoned


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reward": np.nan}, "the reward of task .* is NaN or infinite"),
        ({"observation": np.inf}, r"observation\[0\] of task .* is NaN or infinite"),
        ({"reward": 1e38}, "_loss is NaN or infinite"),
    ],
)
def test_a_nan_stops_the_run_and_names_itself(tmp_path: Path, changes: dict, says: str) -> None:
    run = TrainingRun(quick(), tmp_path / "run")
    poison(run, 71, **changes)
    with pytest.raises(UserError, match=says) as caught:
        run.run(Listener())
    assert f"at step {run.step} " in str(caught.value)
    assert "last good checkpoint is " in str(caught.value)
    assert str(tmp_path / "run" / "checkpoint" / "checkpoint.safetensors") in str(caught.value)
    assert TrainingRun(quick(), tmp_path / "run", resume=True).step == 50


def fail(*_, **__):
    raise RuntimeError("motor is off")


@pytest.mark.parametrize(
    ("method", "evaluating", "change", "says"),
    [
        ("reset", False, lambda seen, about: (seen * np.nan, about), r"observation\[0\] of task"),
        (
            "reset",
            False,
            lambda seen, about: (seen[:1], about),
            r"has shape \(1,\), expected \(9,\)",
        ),
        ("reset", True, fail, r"failed in reset: RuntimeError: motor is off \(.*test_training.py:"),
        ("step", False, fail, r"failed in step: RuntimeError: motor is off \(.*test_training.py:"),
        ("step", False, lambda seen, given, *rest: (seen, given), "gives .*, expected 5 values: "),
        (
            "step",
            False,
            lambda seen, given, *rest: (seen, None, *rest),
            "reward of .* is None, expected a",
        ),
        ("step", False, lambda seen, *rest: (["x"] * 9, *rest), "is no array of numbers"),
        ("step", False, lambda seen, *rest: (seen * 1e300, *rest), r"observation\[0\] of task"),
        ("step", True, lambda seen, given, *rest: (seen, np.nan, *rest), "the reward of task"),
    ],
)
def test_a_task_that_fails_is_named(tmp_path: Path, method, evaluating, change, says) -> None:
    run = TrainingRun(quick(), tmp_path / "run")
    run.run(StopAt(50))
    wrapped = run.evaluation_environment if evaluating else run.episodes[0].environment
    play = getattr(wrapped.env, method)
    setattr(wrapped.env, method, lambda *action, **options: change(*play(*action, **options)))
    with pytest.raises(UserError, match=says) as caught:
        run.run(Listener())
    assert f"at step {run.step} " in str(caught.value)
    assert "; the last good checkpoint is " in str(caught.value)


def test_no_checkpoint_of_weights_that_are_no_numbers(tmp_path: Path) -> None:
    run = TrainingRun(quick(), tmp_path / "run")
    run.run(StopAt(70))
    with torch.no_grad():
        run.td3.critic.networks.flat[0] = torch.nan
    with pytest.raises(UserError, match=r"at step 70 critic.networks.flat is NaN or infinite"):
        run.checkpoint()
    assert TrainingRun(quick(), tmp_path / "run", resume=True).step == 70


FULL_DISK = """
import resource, sys
from pathlib import Path
from proxy_snn_control import cli
from proxy_snn_control.learning.train import TrainingRun
save = TrainingRun.checkpoint
def checkpoint(self):
    if self.step >= 100:  # from here on no file may grow beyond this: what a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    save(self)
TrainingRun.checkpoint = checkpoint
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    config, out = tmp_path / "quick.yaml", tmp_path / "run"
    save_config(config, quick())
    command = [sys.executable, "-c", FULL_DISK, "train", "--config", config, "--out", out]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{out}/checkpoint/replay-" in done.stderr
    assert "at step 100: " in done.stderr
    assert "cannot be written" in done.stderr
    assert f"the last good checkpoint is {out}/checkpoint/checkpoint.safetensors" in done.stderr
    run = TrainingRun(quick(), out, resume=True)
    assert run.step == 50
    assert run.run(Listener()) is True


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_full_of_tensorboard_is_told_once(tmp_path: Path, monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run = TrainingRun(quick(), tmp_path / "run")
    run.run(StopAt(70))
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    says = r"events\.out\.tfevents\.\*: cannot be written: No space left on device; the last good"
    with pytest.raises(UserError, match=says):
        run.run(Listener())


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """After kill -9, wherever it strikes, the run goes on and ends as if nothing had happened."""
    settings = quick(steps=300, checkpoint_every=20, eval_every=60)
    config, out = tmp_path / "quick.yaml", tmp_path / "run"
    save_config(config, settings)
    TrainingRun(settings, tmp_path / "whole").run(Listener())
    command = [sys.executable, "-m", "proxy_snn_control.cli", "train", "--out", str(out)]
    process = subprocess.Popen([*command, "--config", str(config)], stdout=subprocess.DEVNULL)
    kills, reached = 0, -1
    checkpoint = out / "checkpoint" / "checkpoint.safetensors"
    rng = np.random.default_rng(0)
    while True:
        began = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (
            not checkpoint.exists() or checkpoint.stat().st_mtime_ns == began
        ):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        with safe_open(checkpoint, framework="pt") as file:
            step = json.loads(file.metadata()["state"])["step"]
        assert step >= reached
        reached = step
        process = subprocess.Popen([*command, "--resume"], stdout=subprocess.DEVNULL)
        if kills == 5:
            process.wait(120)
            break
    assert process.returncode == 0
    assert kills >= 3
    assert timeless(out) == timeless(tmp_path / "whole")
    assert not list(out.rglob("*.tmp"))


class Hears(Listener):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_warning(self, text: str) -> None:
        self.heard.append(text)


def test_a_dead_gradient_is_told_on_the_spot(tmp_path: Path) -> None:
    run = TrainingRun(quick(), tmp_path / "run")
    with torch.no_grad():  # the output layer far above its threshold: firing, not learning
        run.actor.layers[-1].bias.fill_(50.0)
    listener = Hears()
    run.run(listener)
    assert len(listener.heard) == 1, "told once"
    assert "step 62: the actor's gradient is exactly zero" in listener.heard[0]
    assert "membrane potential is inside the surrogate window, or" in listener.heard[0]
    last = run.rows[-1]
    assert last["actor_gradient_norm"] == 0
    assert last["inside_window_3"] == 0
    assert last["firing_rate_3"] == 1


@pytest.mark.parametrize("neuron", ["lif", "relu"])
def test_actions_at_their_limits_are_a_dead_gradient_too(tmp_path: Path, neuron: str) -> None:
    run = TrainingRun(quick(neuron=neuron), tmp_path / "run")
    with torch.no_grad():
        last_bias = run.actor.decoder.bias if neuron == "lif" else run.actor.network.flat[-1:]
        last_bias.fill_(50.0)
    listener = Hears()
    run.run(listener)
    assert "or its actions are all at their limits" in listener.heard[0]
    assert ("surrogate window" in listener.heard[0]) == (neuron == "lif")


def test_a_living_gradient_is_not_mourned(tmp_path: Path) -> None:
    run = TrainingRun(quick(), tmp_path / "run")
    run.run(Listener())
    assert not run.warnings
    last = run.rows[-1]
    assert last["actor_gradient_norm"] > 0
    assert all(0 < last[f"inside_window_{i}"] < 1 for i in (1, 2, 3))
    assert all(0 < last[f"firing_rate_{i}"] < 1 for i in (0, 1, 2, 3))


@pytest.mark.parametrize("target", ["proxy", "soft"])
@pytest.mark.parametrize("neuron", ["lif", "clif", "dn", "relu"])
def test_every_learner_learns_and_acts(tmp_path: Path, neuron: str, target: str) -> None:
    """A few hundred steps of real MuJoCo for each combination in the paper."""
    config = quick(
        neuron=neuron, target=target, steps=300, random_steps=100, eval_every=200, env="Hopper-v4"
    )
    run = TrainingRun(config, tmp_path / "run")
    before = snapshot(run.actor)
    assert run.run(Listener()) is True
    assert all(not torch.equal(before[name], now) for name, now in snapshot(run.actor).items())
    policy = load_policy(tmp_path / "run" / "policy_last.safetensors")
    assert policy.spec.neuron == neuron
    observation = run.replay.observations()[:5]
    run.actor.products = None  # what was deployed computes in float32
    with torch.no_grad():
        expected = run.actor(torch.from_numpy(observation)).numpy()
    for row, action in zip(observation, expected, strict=True):
        np.testing.assert_allclose(policy.act(row), action, atol=1e-4)
    assert (policy.spike_count > 0) == (neuron != "relu")
    with open(tmp_path / "run" / "progress.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    assert bool(last["proxy_loss"]) == (target == "proxy")
    assert ("firing_rate_1" in last) == (neuron != "relu")


def test_settings_that_go_with_the_neuron() -> None:
    """METHOD: the proxy's width and rate per neuron, CLIF's exception, and all of it settable."""

    def proxy(**settings):
        config = TrainConfig(**settings)
        return config.proxy_hidden, config.proxy_learning_rate

    assert proxy(neuron="lif") == ((512, 512), 1e-3)
    assert proxy(neuron="dn") == ((512, 512), 3e-3)
    assert proxy(neuron="clif", env="HalfCheetah-v4") == ((800, 600), 3e-3)
    assert proxy(neuron="clif", env="InvertedDoublePendulum-v4") == ((512, 512), 3e-3)
    assert proxy(neuron="clif", proxy_hidden=[32], proxy_learning_rate=1e-4) == ((32,), 1e-4)
    fast = TrainConfig(**load_config(share_file("config/fast.yaml")))
    assert (fast.proxy_updates, fast.proxy_learning_rate) == (1, 3e-3)
    constants = TrainConfig(
        neuron="dn", neuron_constants={"recovery_rate": -0.529}
    ).neuron_constants
    assert constants["recovery_rate"] == -0.529
    assert constants["current_decay"] == 0.5


def test_environments_have_seeds_of_their_own(tmp_path: Path) -> None:
    run = TrainingRun(quick(num_envs=3, eval_every=60, checkpoint_every=60), tmp_path / "run")
    starts = [tuple(episode.observation) for episode in run.episodes]
    assert len(set(starts)) == 3
    run.run(Listener())
    assert run.step == run.replay.count == 120
    assert run.td3.updates == 60, "one update for each training step, however many environments"


def test_intervals_must_fit_the_environments() -> None:
    with pytest.raises(
        UserError, match="setting eval_every is 40, expected a multiple of num_envs"
    ):
        quick(num_envs=7, random_steps=70, steps=70)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_command_with_whole_files(
    tmp_path: Path, number: signal.Signals
) -> None:
    config, out = tmp_path / "quick.yaml", tmp_path / "run"
    save_config(config, quick(steps=10**6))
    command = [sys.executable, "-m", "proxy_snn_control.cli", "train"]
    command += ["--config", str(config), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "policy.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=20)
    assert time.monotonic() - began < 2
    assert process.returncode == 0
    assert "Traceback" not in stderr
    assert "--resume" in stdout
    load_policy(out / "policy.safetensors")
    run = TrainingRun(quick(steps=10**6), out, resume=True)
    assert run.step >= 40
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]


def test_every_setting_is_explained_in_train_yaml() -> None:
    path = share_file("config/train.yaml")
    settings = load_config(path)
    assert TrainConfig(**settings) == TrainConfig(), "train.yaml holds the defaults, the paper's"
    assert list(settings) == list(TrainConfig.__dataclass_fields__), "and all, in the same order"
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            assert "#" in line, f"no comment on: {line}"
    for name in ("demo", "fast"):
        TrainConfig(**load_config(share_file(f"config/{name}.yaml")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stepz: 3", "'stepz' does not exist; did you mean steps"),
        ("[1, 2]", "expected lines of"),
        ("a: b: c", "is no YAML"),
        ("seed: 3\ntau: 0.1\nseed: 4", "'seed' stands twice"),
        ("steps: many", "setting steps is 'many', expected a whole number"),
        ("steps: 1.5", "setting steps is 1.5"),
        ("steps: true", "setting steps is True"),
        ("steps: -1", "setting steps is -1"),
        ("env: 7", "setting env is 7, expected text"),
        ("hidden: 256", "setting hidden is 256, expected a list"),
        ("hidden: [256, x]", "setting hidden is 'x'"),
        ("tau: 2", "setting tau is 2"),
        ("neuron: izh", "setting neuron is 'izh', expected one of lif"),
        ("neuron_constants: 3", "setting neuron_constants is 3, expected lines of"),
        ("neuron_constants: {decay: 0.5}", "has 'decay'; those of lif: voltage_decay, threshold"),
        ("neuron_constants: {threshold: x}", "setting neuron_constants: threshold is 'x'"),
        ("neuron_constants: {voltage_decay: 2}", "voltage_decay is 2.0, expected 0.0 to 1.0"),
        ("precision: double", "setting precision is 'double', expected one of auto"),
        ("encoder_span: [1, -1]", "encoder_span"),
        ("encoder_span: [-1e39, 1]", "setting encoder_span is .*, expected -1000000.0 to"),
        ("discount: .nan", "setting discount is nan"),
        ("steps: " + "9" * 400, "setting steps is 999"),
        ("steps: 2020-13-45", "is no YAML"),
        ("steps: " + "[" * 5000, "is no YAML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        TrainConfig(**load_config(path))


def test_an_unknown_target_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="setting target is 'none', expected one of proxy"):
        TrainingRun(quick(target="none"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_yaml_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("steps: 1e6\nactor_learning_rate: 1e-3\nhidden: [64]")
    config = TrainConfig(**load_config(path))
    assert (config.steps, config.actor_learning_rate, config.hidden) == (10**6, 1e-3, (64,))


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("Nothing-v0", "'Nothing-v0' is not registered"),
        ("HalfCheeta-v5", "did you mean HalfCheetah-v5"),
        ("CartPole-v1", "action space Discrete, expected a Box"),
        ("FrozenLake-v1", "expected a Box"),
        ("CarRacing-v3", "CarRacing-v3"),
    ],
)
def test_tasks_that_do_not_fit(task: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make_environment(task)


class Small(gymnasium.Env):
    def __init__(self, observations: int, low: list[float]) -> None:
        self.observation_space = gymnasium.spaces.Box(-1, 1, (observations,))
        self.action_space = gymnasium.spaces.Box(np.float32(low), np.ones(len(low), np.float32))


@pytest.mark.parametrize(
    ("entry_point", "says"),
    [
        (fail, r"cannot be made: RuntimeError: motor is off \(.*test_training.py:"),
        (
            lambda **_: Path("/no/such.xml").read_text(),
            "'Small-v0' cannot be made: FileNotFoundError: ",
        ),
        (lambda **_: Small(0, [-1.0]), "empty observation space"),
        (lambda **_: Small(3, []), "empty action space"),
        (lambda **_: Small(3, [-1.0, 1.0]), r"action\[1\] from 1.0 to 1.0, expected a range"),
    ],
)
def test_a_task_that_is_no_good_is_named(entry_point, says: str) -> None:
    gymnasium.register("Small-v0", entry_point, disable_env_checker=True)
    try:
        with pytest.raises(UserError, match=says):
            make_environment("Small-v0")
    finally:
        del gymnasium.registry["Small-v0"]


@pytest.mark.parametrize(
    ("task", "first", "last", "action"),
    [
        ("HalfCheetah-v4", "rootz.position", "ffoot.velocity", "bthigh"),
        ("Hopper-v5", "rootz.position", "foot_joint.velocity", "thigh_joint"),
        ("Ant-v4", "root.z.position", "ankle_4.velocity", "hip_4"),
        (TASK, "slider.position", "slider.constraint_force", "slide"),
    ],
)
def test_names_of_observations(task: str, first: str, last: str, action: str) -> None:
    known = describe(make_environment(task))
    assert known.observation_names is not None
    assert known.action_names is not None
    assert len(known.observation_names) == known.observation_size
    assert (known.observation_names[0], known.observation_names[-1]) == (first, last)
    assert known.action_names[0] == action


def test_unrecognised_observations_have_no_names() -> None:
    assert describe(make_environment("Reacher-v5")).observation_names is None
    assert describe(make_environment("Pendulum-v1")).observation_names is None


def test_each_evaluation_episode_has_its_own_seed() -> None:
    assert len({episode_seed(7, i) for i in range(10)}) == 10
