# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Progress on a terminal: one line for all members or runs, and one for each evaluation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
import sys

from proxy_snn_control.learning.members import Member
from proxy_snn_control.learning.population import Listener
from tqdm import tqdm


class Progress(Listener):
    """A bar of the slowest member's steps, followed by the members' last evaluations.

    On a terminal the bar redraws itself; elsewhere only the evaluations' lines are printed.
    """

    def __init__(
        self, members: Sequence[Member], step: int, should_stop: Callable[[], bool]
    ) -> None:
        """Begin at a step; `should_stop` is called now and then."""
        self._several = len(members) > 1
        self._stop = should_stop
        self._last: dict[Path, float] = {}
        total = max(member.config.total_steps for member in members)
        self._bar = tqdm(total=total, initial=step, unit='step', disable=None, smoothing=0.05)

    def should_stop(self) -> bool:
        """Return what the function of the constructor does."""
        return self._stop()

    def on_step(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(step - self._bar.n)

    def on_episode(self, member: Member, step: int, episode_return: float) -> None:
        """Show the return of the last episode, of a run alone."""
        if not self._several:
            self._bar.set_postfix_str(f'last return {episode_return:.0f}', refresh=False)

    def on_warning(self, member: Member, text: str) -> None:
        """Print a line."""
        who = f'{member.folder.name}: ' if self._several else ''
        tqdm.write(f'proxy-snn: warning: {who}{text}', file=sys.stderr)

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Print a line, and show the lowest, mean and best of the members' last evaluations."""
        who = f'{member.folder.name:>10}  ' if self._several else ''
        _write_evaluation(who, row)
        self._last[member.folder] = row['eval_return_mean']
        if self._several:
            self._bar.set_postfix_str(_spread(self._last.values()), refresh=False)

    def close(self) -> None:
        """End the bar's line."""
        self._bar.close()


class SweepProgress(Listener):
    """A bar of all runs' steps, followed by what is done and the slowest run."""

    def __init__(
        self,
        members: Sequence[Member],
        steps: dict[Path, int],
        done: int,
        should_stop: Callable[[], bool],
    ) -> None:
        """Begin.

        Args:
            members: the runs to train.
            steps: how far each is.
            done: runs of the sweep that are done beside these.
            should_stop: called now and then.
        """
        self._stop = should_stop
        self._steps, self._done, self._number = dict(steps), done, done + len(members)
        self._goals = {folder: config.total_steps for config, folder in members}
        self._one_task = len({config.env for config, _ in members}) == 1
        self._last: dict[Path, float] = {}
        self._bar = tqdm(
            total=sum(self._goals.values()),
            initial=sum(steps.values()),
            unit='step',
            disable=None,
            smoothing=0.05,
        )
        self._show()

    def should_stop(self) -> bool:
        """Return what the function of the constructor does."""
        return self._stop()

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Print a line, and move the bar."""
        config, folder = member
        mean, step = row['eval_return_mean'], int(row['step'])
        _write_evaluation(f'{run_name(folder)}  ', row)
        self._last[folder] = mean
        goal = config.stop_at_return
        if step >= config.total_steps or (goal is not None and step > 0 and mean >= goal):
            self._done += 1
            step = self._goals[folder]  # what a goal saves is done too
        self._bar.update(max(0, step - self._steps[folder]))
        self._steps[folder] = max(step, self._steps[folder])
        self._show()

    def on_warning(self, member: Member, text: str) -> None:
        """Print a line."""
        tqdm.write(f'proxy-snn: warning: {run_name(member.folder)}: {text}', file=sys.stderr)

    def log(self, text: str) -> None:
        """Print a line about the sweep."""
        tqdm.write(text)
        sys.stdout.flush()

    def close(self) -> None:
        """End the bar's line."""
        self._bar.close()

    def _show(self) -> None:
        slowest = min(self._steps.values())
        text = f'{self._done} of {self._number} runs done, slowest at step {slowest}'
        if self._one_task and self._last:  # returns of different tasks have nothing in common
            text += f', {_spread(self._last.values())}'
        self._bar.set_postfix_str(text)


def run_name(folder: Path) -> str:
    """ENV/LEARNER/seed-N of a sweep's run."""
    return '/'.join(folder.parts[-3:])


def _write_evaluation(who: str, row: dict[str, float]) -> None:
    tqdm.write(
        f'{who}step {row["step"]:>8}  evaluation {row["eval_return_mean"]:9.1f} '
        f'± {row["eval_return_std"]:7.1f}  {row["steps_per_second"]:6.0f} steps/s'
    )
    sys.stdout.flush()


def _spread(returns: Collection[float]) -> str:
    mean = sum(returns) / len(returns)
    return f'returns: lowest {min(returns):.0f}, mean {mean:.0f}, best {max(returns):.0f}'
