"""Learning curves of runs as a PNG."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from proxy_snn_control.learning.config import TrainConfig, load_config
from proxy_snn_control.policy.errors import UserError
from proxy_snn_control.policy.files import replacing


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


def _read_progress(run: Path) -> tuple[list[float], list[float], list[float]]:
    path = run / "progress.csv"
    columns = ("step", "eval_return_mean", "eval_return_std")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [[float(row[name]) for name in columns] for row in csv.DictReader(file)]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected the progress of a run") from None
    except (KeyError, ValueError, TypeError):
        raise UserError(f"{path}: is not the progress of a run") from None
    if not rows:
        raise UserError(f"{path}: holds no evaluation yet")
    steps, means, deviations = map(list, zip(*rows, strict=True))
    return steps, means, deviations
