"""Checkpoints: everything a run needs to go on as if it had never stopped.

checkpoint.safetensors holds the networks, the optimisers' moments, the episodes under way and
torch's random generator as tensors; its header holds, as JSON, counters, NumPy's random generator,
progress.csv and what the next line of it has gathered so far. The replay buffer lies beside it in
files that are never changed once written, replay-FIRST-LAST.safetensors: a checkpoint adds one with
the transitions since the last checkpoint, so that it is quick however many there are. The header
lists those that belong to it, and it is written last: whatever happens meanwhile, the checkpoint
before stays whole until the new one is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from proxy_snn_control.learning.config import RESUMABLE, plain
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import opened, remove, replacing

if TYPE_CHECKING:
    from proxy_snn_control.learning.train import TrainingRun

VERSION = 4
NAME = "checkpoint.safetensors"
# Files of transitions shorter than this are joined with the next, so that many checkpoints in a
# short time do not leave as many files.
JOINED = 10_000
Tensors = dict[str, torch.Tensor]


def save_checkpoint(folder: Path, run: TrainingRun) -> None:
    """Write the checkpoint; the one before stays until the new one is whole.

    Raises:
        UserError: a number in it is not finite, or it cannot be written; the one before is
            untouched.
    """
    tensors: Tensors = {"torch_rng": torch.get_rng_state()}
    if run.td3.device.type == "cuda":
        tensors["cuda_rng"] = torch.cuda.get_rng_state(run.td3.device)
    for name, module in _modules(run).items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimiser in _optimisers(run).items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise run.not_finite(name)
    episodes = []
    for i, episode in enumerate(run.episodes):
        about, arrays = episode.state()
        episodes.append(about)
        for name, array in arrays.items():
            tensors[f"episode.{i}.{name}"] = torch.tensor(array)
    files = _save_new_transitions(folder, run)
    state = {
        "version": VERSION,
        "settings": _fixed_settings(run),
        "step": run.step,
        "evaluated": run.evaluated,
        "seconds": run.seconds,
        "best": None if run.best == -np.inf else run.best,
        "updates": run.td3.updates,
        "replay": files,
        "replay_count": run.replay.count,
        "rng": run.rng.bit_generator.state,
        "episodes": episodes,
        "rows": run.rows,
        "interval": run.interval,
    }
    _save(folder / NAME, tensors, {"state": json.dumps(state)})
    run.replay_files = files
    kept = {folder / NAME, *(_transitions_path(folder, *span) for span in files)}
    # What no checkpoint needs any more, or a kill -9 left half written.
    remove(path for path in folder.iterdir() if path not in kept)


def load_checkpoint(folder: Path, run: TrainingRun) -> None:
    """Bring a freshly built run to where the checkpoint was written.

    Raises:
        UserError: it cannot be read, is damaged, or it is of another configuration.
    """
    path = folder / NAME
    try:
        with opened("checkpoint", path, sys.maxsize), safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            if state["version"] != VERSION:
                raise UserError(f"checkpoint {path} has version {state['version']}, not {VERSION}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _restore(run, state, tensors)
        for first, last in state["replay"]:
            path = _transitions_path(folder, first, last)
            with opened("checkpoint", path, sys.maxsize), safe_open(path, framework="np") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = {name: (last - first, a.shape[1]) for name, a in run.replay.arrays.items()}
            if {name: array.shape for name, array in found.items()} != expected:
                raise ValueError(f"it does not hold {last - first} transitions of this task")
            run.replay.write(first, found)
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"checkpoint {path} does not fit this run: {reason}") from None


def _save_new_transitions(folder: Path, run: TrainingRun) -> list[tuple[int, int]]:
    """Write the transitions since the last checkpoint; which files now hold the replay buffer."""
    replay = run.replay
    oldest = replay.count - len(replay)
    files = [(first, last) for first, last in run.replay_files if last > oldest]
    begin = max(files[-1][1] if files else 0, oldest)
    if begin == replay.count:
        return files
    if files and files[-1][1] - files[-1][0] < JOINED and files[-1][0] >= oldest:
        begin, _ = files.pop()
    arrays = replay.read(begin, replay.count)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    _save(_transitions_path(folder, begin, replay.count), tensors)
    return [*files, (begin, replay.count)]


def _transitions_path(folder: Path, first: int, last: int) -> Path:
    return folder / f"replay-{first:010d}-{last:010d}.safetensors"


def _save(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    with replacing(path) as temporary:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            save_file(contiguous, temporary, metadata=metadata)
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(str(error)) from None


def _fixed_settings(run: TrainingRun) -> dict[str, Any]:
    """All settings but those that a resumed run may change."""
    return {name: value for name, value in plain(run.config).items() if name not in RESUMABLE}


def _restore(run: TrainingRun, state: dict[str, Any], tensors: Tensors) -> None:
    for name, value in _fixed_settings(run).items():
        if state["settings"][name] != value:
            raise ValueError(
                f"it was written with {name} {state['settings'][name]!r}, not {value!r}"
            )
    for name in ("step", "evaluated", "updates", "replay_count"):
        if type(state[name]) is not int:
            raise ValueError(f"{name} is {state[name]!r}, expected a whole number")
    if not all(isinstance(row, dict) and "step" in row for row in state["rows"]):
        raise ValueError("rows are no lines of progress.csv")
    run.td3.updates = state["updates"]
    run.replay.count = state["replay_count"]
    run.replay_files = [(int(first), int(last)) for first, last in state["replay"]]
    _check_spans(run.replay_files, run.replay.count, len(run.replay))
    _check_names_and_shapes(run, {name: tensor.shape for name, tensor in tensors.items()})

    for name, module in _modules(run).items():
        module.load_state_dict(_under(f"{name}.", tensors))
    for name, optimiser in _optimisers(run).items():
        moments: dict[int, Tensors] = {}
        for key, tensor in _under(f"{name}.", tensors).items():
            index, _, moment = key.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    run.step, run.evaluated, run.seconds = state["step"], state["evaluated"], state["seconds"]
    run.best = -np.inf if state["best"] is None else float(state["best"])
    run.rows, run.interval = state["rows"], state["interval"]
    run.rng.bit_generator.state = state["rng"]
    if len(state["episodes"]) != len(run.episodes):
        raise ValueError(f"{len(state['episodes'])} episodes, expected {len(run.episodes)}")
    for i, (episode, about) in enumerate(zip(run.episodes, state["episodes"], strict=True)):
        arrays = {k: tensor.numpy() for k, tensor in _under(f"episode.{i}.", tensors).items()}
        if not episode.restore(about, arrays):
            run.warnings.append(
                f"task {run.task.id!r} does not repeat itself: the episode under way starts anew"
            )
    torch.set_rng_state(tensors["torch_rng"])
    if "cuda_rng" in tensors and run.td3.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda_rng"], run.td3.device)


def _under(prefix: str, tensors: Tensors) -> Tensors:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _check_spans(files: list[tuple[int, int]], count: int, held: int) -> None:
    """The files must hold, one after the other, all that the replay buffer held."""
    ends = [last for _, last in files]
    if [first for first, _ in files][1:] != ends[:-1] or ends[-1:] != ([count] if count else []):
        raise ValueError(f"files of transitions {files} are not those up to {count}")
    if files and not (files[0][0] <= count - held and all(a < b for a, b in files)):
        raise ValueError(f"files of transitions {files} lack some of the last {held}")


def _check_names_and_shapes(run: TrainingRun, found: dict[str, torch.Size]) -> None:
    """A missing or misshapen tensor must not pass for a fresh one."""
    expected = {"torch_rng": torch.get_rng_state().shape}
    for name, module in _modules(run).items():
        expected |= {f"{name}.{key}": value.shape for key, value in module.state_dict().items()}
    steps = {"actor_optimiser": run.td3.updates // run.config.policy_delay}
    for name, optimiser in _optimisers(run).items():
        if steps.get(name, run.td3.updates):  # an optimiser has moments once it took a step
            parameters = optimiser.param_groups[0]["params"]
            for i, parameter in enumerate(parameters):
                expected[f"{name}.{i}.step"] = torch.Size()
                expected[f"{name}.{i}.exp_avg"] = parameter.shape
                expected[f"{name}.{i}.exp_avg_sq"] = parameter.shape
    for i in range(len(run.episodes)):
        for name in ("actions", "observation"):  # as long as the episode was
            expected[f"episode.{i}.{name}"] = found.get(f"episode.{i}.{name}", torch.Size())
    for name in sorted(expected.keys() | found.keys() - {"cuda_rng"}):
        if found.get(name) != expected.get(name):
            raise ValueError(
                f"tensor {name} has shape {found.get(name)}, expected {expected.get(name)}"
            )


def _modules(run: TrainingRun) -> dict[str, torch.nn.Module]:
    td3 = run.td3
    return {
        "actor": td3.actor,
        "target": td3.target,
        "critic": td3.critic,
        "target_critic": td3.target_critic,
    }


def _optimisers(run: TrainingRun) -> dict[str, torch.optim.Optimizer]:
    td3 = run.td3
    optimisers: dict[str, torch.optim.Optimizer] = {
        "actor_optimiser": td3.actor_optimiser,
        "critic_optimiser": td3.critic_optimiser,
    }
    if td3.target.optimiser:
        optimisers["target_optimiser"] = td3.target.optimiser
    return optimisers
