"""Learning curves of PT-LIF, vanilla LIF and ANN TD3 on the paper's tasks.

    python benchmarks/curves.py --runs runs/curves --seeds 0 1 --jobs 2 --out docs/results/curves

Trains, then makes the page. Runs that are there go on from their checkpoints, so the command may be
stopped and given again; `--page-only` makes the page of what there is. What the page rests on is
copied beside it: every run's config.yaml and progress.csv. A run that is whole there is not trained
again, so that several machines can share the work.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from page import heading, write

TASKS = ("HalfCheetah-v4", "InvertedDoublePendulum-v4", "Hopper-v4")
METHODS = {
    "pt-lif": ("PT-LIF", {"neuron": "lif", "target": "proxy"}),
    "lif": ("vanilla LIF", {"neuron": "lif", "target": "soft"}),
    "ann": ("ANN (TD3)", {"neuron": "relu", "target": "soft"}),
}
# All products are computed in bfloat16 but those of this run, which shows what that costs.
FLOAT32 = ("pt-lif", "InvertedDoublePendulum-v4", 0)
# Table 1 of Xu et al. 2025: max average return after 1,000,000 training steps, five seeds.
PAPER = {
    "pt-lif": ("10103 ± 607", "9348 ± 1", "3385 ± 157"),
    "lif": ("9404 ± 625", "9347 ± 1", "3520 ± 94"),
    "ann": ("10857 ± 475", "7503 ± 3713", "3410 ± 164"),
}
LAST = 10
RANDOM_STEPS = 25_000


def train(out: Path, settings: dict[str, object]) -> None:
    """Train one run to its end, from where it is."""
    command = [sys.executable, "-m", "proxy_snn_control.cli", "train", "--out", str(out)]
    if (out / "config.yaml").exists():
        command += ["--resume", "--steps", str(settings["steps"])]
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        config = out.parent / f"{out.name}.yaml"
        config.write_text(yaml.safe_dump(settings, sort_keys=False))
        command += ["--config", str(config)]
    with open(out.parent / f"{out.name}.log", "ab") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True)


def read(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Steps and mean evaluation returns of a run."""
    with open(run / "progress.csv", newline="") as file:
        rows = [(int(r["step"]), float(r["eval_return_mean"])) for r in csv.DictReader(file)]
    steps, returns = zip(*rows, strict=True)
    return np.array(steps), np.array(returns)


def steps_of(run: Path) -> int:
    """How many steps a run has taken, as its progress.csv has it."""
    return int(read(run)[0][-1]) if (run / "progress.csv").exists() else 0


def main() -> int:
    """Train what is asked for, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, required=True, help="where the runs are")
    parser.add_argument("--out", type=Path, required=True, help="folder of the page")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=200_000, help="after the 25,000 random ones")
    parser.add_argument("--proxy-updates", type=int, default=1, choices=(1, 3), help="K")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--page-only", action="store_true")
    options = parser.parse_args()
    common = {"steps": options.steps, "threads": 1, "checkpoint_every": 5000}
    fast = {"proxy_updates": 1, "proxy_learning_rate": 3e-3} if options.proxy_updates == 1 else {}
    wanted = [(n, t, s, "bfloat16") for s, t, n in itertools.product(options.seeds, TASKS, METHODS)]
    runs = {}
    for name, task, seed, precision in [*wanted, (*FLOAT32, "float32")]:
        suffix = "" if precision == "bfloat16" else f"-{precision}"
        runs[name, task, seed, precision] = options.runs / f"{name}-{task}-{seed}{suffix}"
    if not options.page_only:
        with ThreadPoolExecutor(options.jobs) as pool:
            for (name, task, seed, precision), out in runs.items():
                if steps_of(options.out / out.name) == RANDOM_STEPS + options.steps:
                    continue
                settings = {"env": task, "seed": seed, **METHODS[name][1], **common}
                settings |= {"precision": precision, **(fast if name == "pt-lif" else {})}
                pool.submit(train, out, settings)
    there = {}
    for key, run in runs.items():
        furthest = max(options.out / run.name, run, key=steps_of)
        if steps_of(furthest) > 0:
            there[key] = furthest
    write_page(there, [run.name for key, run in runs.items() if key not in there], options.out)
    return 0


def write_page(runs: dict[tuple[str, str, int, str], Path], missing: list[str], out: Path) -> None:
    """Copy the runs' figures, draw them, and put the numbers beside the paper's."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for (name, task, seed, precision), run in runs.items():
        kept = out / run.name
        kept.mkdir(exist_ok=True)
        for file in ("config.yaml", "progress.csv") if kept != run else ():
            shutil.copy(run / file, kept / file)
        steps, returns = read(run)
        learnt = max(0, int(steps[-1]) - RANDOM_STEPS)
        paper = PAPER[name][TASKS.index(task)]
        settings = yaml.safe_load((run / "config.yaml").read_text())
        assert settings["random_steps"] == RANDOM_STEPS
        assert settings["precision"] == precision
        method = METHODS[name][0]
        if settings["target"] == "proxy":
            method += f", K = {settings['proxy_updates']}"
        rows.append(
            f"| {task} | {method} | {precision} | {seed} | {learnt} | {returns.max():.0f} | "
            f"{returns[-LAST:].mean():.0f} | {paper} |"
        )
    draw(runs, out / "curves.png")
    lines = [
        *heading("Learning curves"),
        "![learning curves](curves.png)",
        "",
        "Evaluated every 5,000 steps over 10 episodes without noise. The maximum picks the best",
        f"of all evaluations; the mean of the last {LAST} is the steadier figure. The paper's are",
        "maxima after 1,000,000 training steps over five seeds: where a curve should be going.",
        "",
        "| task | method | products | seed | training steps | maximum | last 10 | paper, at 1e6 |",
        "|---|---|---|---|---|---|---|---|",
        *sorted(rows),
        "",
        "Beside this page lie each run's config.yaml and progress.csv, with losses, the actor's",
        "gradient norm, and per layer the firing rate and the fraction of membrane potentials",
        "inside the surrogate window.",
    ]
    if missing:
        lines += ["", "Not run yet: " + ", ".join(missing) + "."]
    write(out / "README.md", lines)


def draw(runs: dict[tuple[str, str, int, str], Path], path: Path) -> None:
    """One panel a task, one colour a method, one thin line a seed and their mean.

    What was computed in float32 is dashed and does not enter the mean.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(TASKS), figsize=(14, 4), layout="constrained")
    for panel, task in zip(panels, TASKS, strict=True):
        for i, (name, (label, _)) in enumerate(METHODS.items()):
            mine = {key: run for key, run in runs.items() if key[:2] == (name, task)}
            for (*_, precision), run in mine.items():
                style = "-" if precision == "bfloat16" else "--"
                panel.plot(*read(run), style, color=f"C{i}", linewidth=0.8, alpha=0.5)
            curves = [read(run) for key, run in mine.items() if key[3] == "bfloat16"]
            if curves:
                shortest = min(len(steps) for steps, _ in curves)
                mean = np.mean([returns[:shortest] for _, returns in curves], axis=0)
                panel.plot(curves[0][0][:shortest], mean, color=f"C{i}", label=label)
        panel.set_title(task)
        panel.set_xlabel("environment steps")
        if panel.lines:
            panel.legend(loc="upper left", fontsize="small")
    panels[0].set_ylabel("evaluation return")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
