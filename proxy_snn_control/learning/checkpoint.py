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
        UserError: there is no checkpoint, it is damaged, or it is of another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            if state["version"] != VERSION:
                raise UserError(f"checkpoint {path} has version {state['version']}, not {VERSION}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _restore(run, state, tensors)
    except FileNotFoundError:
        raise UserError(f"there is no run to resume: {path} does not exist") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"checkpoint {path} does not fit this run: {reason}") from None


def _restore(run: TrainingRun, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix)
        }

    for name, module in _modules(run).items():
        module.load_state_dict(under(f"{name}."))
    for name, optimiser in _optimisers(run).items():
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in under(f"{name}.").items():
            index, _, moment = key.partition(".")
            moments.setdefault(int(index), {})[moment] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    run.replay.count = state["replay_count"]
    for name, tensor in under("replay.").items():
        run.replay.arrays[name][: len(run.replay)] = tensor.numpy()
    run.step, run.evaluated, run.seconds = state["step"], state["evaluated"], state["seconds"]
    run.best = -np.inf if state["best"] is None else state["best"]
    run.td3.updates = state["updates"]
    run.rows = state["rows"]
    run.rng.bit_generator.state = state["rng"]
    torch.set_rng_state(tensors["torch_rng"])


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
