"""A training's progress on a terminal: one line for all members, and one for each evaluation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm

from proxy_snn_control.learning.population import Listener
from proxy_snn_control.learning.run import Member


class Progress(Listener):
    """A bar of the slowest member's steps, with the members' last evaluations behind it.

    On a terminal the bar redraws itself; elsewhere only the evaluations' lines are printed.
    """

    def __init__(
        self, members: Sequence[Member], step: int, should_stop: Callable[[], bool]
    ) -> None:
        """Begin at a step; `should_stop` is asked now and then."""
        self._several = len(members) > 1
        self._stop = should_stop
        self._last: dict[Path, float] = {}
        total = max(member.config.total_steps for member in members)
        self._bar = tqdm(total=total, initial=step, unit="step", disable=None, smoothing=0.05)

    def should_stop(self) -> bool:
        """Ask on."""
        return self._stop()

    def on_step(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(step - self._bar.n)

    def on_episode(self, member: Member, step: int, episode_return: float) -> None:
        """Show the return of the last episode, of a run alone."""
        if not self._several:
            self._bar.set_postfix_str(f"last return {episode_return:.0f}", refresh=False)

    def on_warning(self, member: Member, text: str) -> None:
        """Print a line."""
        who = f"{member.folder.name}: " if self._several else ""
        tqdm.write(f"proxy-snn: warning: {who}{text}", file=sys.stderr)

    def on_evaluation(self, member: Member, row: dict[str, float]) -> None:
        """Print a line, and show the lowest, mean and best of the members' last evaluations."""
        who = f"{member.folder.name:>10}  " if self._several else ""
        tqdm.write(
            f"{who}step {row['step']:>8}  evaluation {row['eval_return_mean']:9.1f} "
            f"± {row['eval_return_std']:7.1f}  {row['steps_per_second']:6.0f} steps/s"
        )
        sys.stdout.flush()
        self._last[member.folder] = row["eval_return_mean"]
        if self._several:
            values = list(self._last.values())
            mean = sum(values) / len(values)
            self._bar.set_postfix_str(
                f"returns: lowest {min(values):.0f}, mean {mean:.0f}, best {max(values):.0f}",
                refresh=False,
            )

    def close(self) -> None:
        """End the bar's line."""
        self._bar.close()
