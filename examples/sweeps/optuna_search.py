# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""A search over settings with Optuna: each trial is one run, and may be ended early.

    pip install -c constraints.txt '.[train,optuna]'
    python examples/sweeps/optuna_search.py --env InvertedPendulum-v5 --steps 20000 --out search

Trials are in OUT/trial-N, as ordinary run folders; OUT/study.db keeps the study, so the same
command continues it, and several processes may work on one study.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import optuna
from proxy_snn_control.learning.config import TrainConfig
from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener, Population


class Report(Listener):
    """Passes evaluations to the trial, and stops the run when the pruner decides so."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.best, self.pruned = trial, float('-inf'), False

    def should_stop(self) -> bool:
        """Whether the trial was pruned."""
        return self.pruned

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Report the mean return."""
        self.best = max(self.best, row['eval_return_mean'])
        self.trial.report(row['eval_return_mean'], int(row['step']))
        self.pruned = self.trial.should_prune()


def main() -> None:
    """Search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--env', required=True)
    parser.add_argument('--steps', type=int, required=True)
    parser.add_argument('--trials', type=int, default=20)
    parser.add_argument('--out', type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    def objective(trial: optuna.Trial) -> float:
        config = TrainConfig(
            env=options.env,
            steps=options.steps,
            random_steps=min(1000, options.steps // 4),
            eval_every=max(1, options.steps // 8),
            proxy_updates=trial.suggest_int('proxy_updates', 1, 3),
            actor_learning_rate=trial.suggest_float('actor_learning_rate', 1e-4, 1e-3, log=True),
            tau=trial.suggest_float('tau', 1e-3, 2e-2, log=True),
            hidden=(trial.suggest_categorical('width', [64, 128, 256]),) * 2,
            threads=1,
        )
        report = Report(trial)
        Population([Member(config, options.out / f'trial-{trial.number}')]).run(report)
        if report.pruned:
            raise optuna.TrialPruned
        return report.best

    study = optuna.create_study(
        study_name='search',
        storage=f'sqlite:///{options.out / "study.db"}',
        direction='maximize',
        load_if_exists=True,
    )
    study.optimize(objective, n_trials=options.trials)
    print(study.best_trial.params, study.best_value)


if __name__ == '__main__':
    main()
