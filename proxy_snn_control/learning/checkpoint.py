"""Checkpoints: all of a run in one safetensors file, so that it is whole or not there.

Tensors are the networks, the optimisers' moments, the replay buffer and torch's random generator;
the header holds counters, NumPy's random generator and progress.csv as JSON. The environment's
place in its episode is not kept: a resumed run starts a new episode.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import replacing

if TYPE_CHECKING:
    from proxy_snn_control.learning.train import TrainingRun

VERSION = 1


def save_checkpoint(path: Path, run: TrainingRun) -> None:
    """Write the checkpoint; the one before stays until the new one is whole.

    Raises:
        UserError: it cannot be written; the one before is untouched.
    """
    tensors = {"torch_rng": torch.get_rng_state()}
    for name, module in _modules(run).items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimiser in _optimisers(run).items():
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
    for name, array in run.replay.arrays.items():
        tensors[f"replay.{name}"] = torch.from_numpy(array[: len(run.replay)])
    state = {
        "version": VERSION,
        "step": run.step,
        "evaluated": run.evaluated,
        "seconds": run.seconds,
        "best": None if run.best == -np.inf else run.best,
        "updates": run.td3.updates,
        "replay_count": run.replay.count,
        "rng": run.rng.bit_generator.state,
        "rows": run.rows,
    }
    with replacing(path) as temporary:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            save_file(contiguous, temporary, metadata={"state": json.dumps(state)})
        except SafetensorError as error:  # what safetensors makes of a full disk
            raise OSError(str(error)) from None


def load_checkpoint(path: Path, run: TrainingRun) -> None:
    """Bring a freshly built run to where the checkpoint was written.

    Raises:
        UserError: it cannot be read, is damaged, or it is of another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            if state["version"] != VERSION:
                raise UserError(f"checkpoint {path} has version {state['version']}, not {VERSION}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _restore(run, state, tensors)
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"checkpoint {path} does not fit this run: {reason}") from None


def _restore(run: TrainingRun, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    for name in ("step", "evaluated", "updates", "replay_count"):
        if type(state[name]) is not int:
            raise ValueError(f"{name} is {state[name]!r}, expected a whole number")
    if not all(isinstance(row, dict) and "step" in row for row in state["rows"]):
        raise ValueError("rows are no lines of progress.csv")
    run.replay.count = state["replay_count"]
    run.td3.updates = state["updates"]
    _check_names_and_shapes(run, {name: tensor.shape for name, tensor in tensors.items()})

    for name, module in _modules(run).items():
        module.load_state_dict(under(f"{name}."))
    for name, optimiser in _optimisers(run).items():
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in under(f"{name}.").items():
            index, _, moment = key.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    for name, array in run.replay.arrays.items():
        array[: len(run.replay)] = tensors[f"replay.{name}"].numpy()
    run.step, run.evaluated, run.seconds = state["step"], state["evaluated"], state["seconds"]
    run.best = -np.inf if state["best"] is None else float(state["best"])
    run.rows = state["rows"]
    run.rng.bit_generator.state = state["rng"]
    torch.set_rng_state(tensors["torch_rng"])


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
    for name, array in run.replay.arrays.items():
        expected[f"replay.{name}"] = torch.Size((len(run.replay), array.shape[1]))
    for name in sorted(expected.keys() | found.keys()):
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
    return {
        "actor_optimiser": td3.actor_optimiser,
        "critic_optimiser": td3.critic_optimiser,
        "target_optimiser": td3.target.optimiser,
    }
