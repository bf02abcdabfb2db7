"""Pictures as PNG: learning curves of runs, and the spikes of a policy."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from proxy_snn_control.learning.config import TrainConfig, load_config
from proxy_snn_control.learning.tasks import check_fit, clip_action, episode_seed, make_environment
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import read_file, replacing
from proxy_snn_control.policy.runtime import load_policy

RASTER_ACTIONS = 40
MAX_PROGRESS_BYTES = 2**26


def plot_runs(runs: Sequence[Path], out: Path) -> None:
    """Draw each run's evaluations, mean and one standard deviation, over environment steps.

    Raises:
        UserError: a folder holds no run, or the picture cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for run in runs:
        steps, means, deviations = _read_progress(run)
        config = TrainConfig(**load_config(run / "config.yaml"))
        label = f"{run.name}: {config.neuron} + {config.target}, {config.env}"
        (line,) = axes.plot(steps, means, label=label)
        low = [m - d for m, d in zip(means, deviations, strict=True)]
        high = [m + d for m, d in zip(means, deviations, strict=True)]
        axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.2)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("evaluation return")
    axes.legend(loc="upper left")
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    pyplot.close(figure)


def plot_spikes(run: Path, out: Path) -> None:
    """Draw every spike of the run's best policy over the first actions of an evaluation episode.

    Raises:
        UserError: the run has no policy yet or one that does not spike, or the picture cannot be
            written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    policy = load_policy(run / "policy.safetensors")
    if not policy.spec.spiking:
        raise UserError(f"{run}: its policy is of {policy.spec.neuron} neurons, which do not spike")
    config = TrainConfig(**load_config(run / "config.yaml"))
    environment = make_environment(config.env)
    check_fit(policy.spec, run / "policy.safetensors", environment)
    observation, _ = environment.reset(seed=episode_seed(config.evaluation_seed, 0))
    spikes: list[list[np.ndarray]] = []
    actions = []
    for _ in range(RASTER_ACTIONS):
        action = policy.act(observation)
        spikes.append(policy.spikes)
        actions.append(action)
        observation, _, terminated, truncated, _ = environment.step(
            clip_action(environment, action)
        )
        if terminated or truncated:
            break
    environment.close()
    layers = [np.concatenate(layer) for layer in zip(*spikes, strict=True)]
    names = ["encoder", *(f"hidden {i + 1}" for i in range(len(layers) - 2)), "output"]
    heights = [max(layer.shape[1] ** 0.5, 6) for layer in layers] + [8]
    figure, axes = pyplot.subplots(
        len(layers) + 1, sharex=True, figsize=(9, 9), layout="constrained", height_ratios=heights
    )
    for axis, layer, name in zip(axes, layers, names, strict=False):
        axis.imshow(layer.T, aspect="auto", cmap="Greys", interpolation="nearest", vmin=0, vmax=1)
        axis.set_ylabel("neuron")
        axis.set_title(f"{name}: firing rate {layer.mean():.2f}", fontsize="small", loc="left")
    axes[-1].step(np.arange(len(actions)) * policy.spec.time_steps, actions, where="post")
    axes[-1].set_ylabel("action")
    axes[-1].set_xlabel(f"simulation steps, {policy.spec.time_steps} for each action")
    figure.suptitle(f"{run.name}: {config.neuron} + {config.target}, {config.env}")
    with replacing(out) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    pyplot.close(figure)


def _read_progress(run: Path) -> tuple[list[float], list[float], list[float]]:
    path = run / "progress.csv"
    columns = ("step", "eval_return_mean", "eval_return_std")
    content = read_file("progress of a run", path, MAX_PROGRESS_BYTES)
    try:
        lines = content.decode("utf-8").splitlines()
        rows = [[float(row[name]) for name in columns] for row in csv.DictReader(lines)]
    except (KeyError, ValueError, TypeError, csv.Error):
        raise UserError(f"{path}: is not the progress of a run") from None
    if not rows:
        raise UserError(f"{path}: holds no evaluation yet")
    steps, means, deviations = map(list, zip(*rows, strict=True))
    return steps, means, deviations
