"""Wiring mistakes: does what arrives look and move like what the policy was trained on?

The policy file holds the range of every observation dimension and, as `transition.whitening`, how
an observation follows from the one before and the action between them. With z = (observation,
action, next observation, 1) of a training step, the file's W makes the mean of |W z|^2 equal to the
length of z. A joint that is exchanged with another, has the wrong sign, scale or offset, or a
command that does, breaks the ties between these numbers: |W z|^2 grows a hundredfold, and falls
back once the mistake is undone in the numbers. So every mistake that could be made is undone in
turn, and the one that explains what is seen is named.

The measure is the log-likelihood of a zero-mean Gaussian with the precision matrix W^T W, in nats
per step; to undo a scale s changes the volume, which costs log |s| a number (change of variables).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from proxy_snn_control.nodes.robot import action_names, observation_names
from proxy_snn_control.policy import Policy

# Two seconds at 20 Hz; half of them are enough to speak.
WINDOW = 40
ENOUGH = 18
# The share of steps that is looked at, those that fit best: an episode that starts over, or a
# contact, is one step that does not.
SHARE = 0.75
# In nats per step. By this much a mistake must explain better what is seen: with correct wiring on
# HalfCheetah none does by more than 1.2; a wrong sign does by 25, a scale of 0.1 by 7.5 and more.
MISTAKE = 5.0
# A robot at rest looks like anything, and nothing can be told of it: its observations change by
# less than this share (of the mean square) of what they did in training. Nor is a number thousands
# of times too large by mistake.
AT_REST = 0.1
SCALES = (1e-3, 1.1e3)
# What is seen so much worse than training is odd, and a mistake must explain so much of that.
ODD = 12.0
EXPLAINS = 0.6
# Exchanged parts always make it this much worse; they take longest to try.
EXCHANGED = 3.0
# A second explanation this close to the best is named too.
CLOSE = 6.0
# A number is far outside once it is beyond training's range by half that range.
OUTSIDE = 0.5
# Beyond this nothing is computed with.
LARGEST = 1e30
# Of the control period: how far the mean period of observations or commands may be off.
PERIOD = 0.2
# Of more parts of a kind than this, no two are exchanged: there would be too many.
MOST_PAIRS = 64


@dataclass(frozen=True)
class Part:
    """Numbers of z that one mistake changes together: a dimension, a joint, or a command.

    Parts of the same kind could be exchanged with each other.
    """

    name: str
    kind: tuple[str, ...]
    places: tuple[int, ...]


class Wiring:
    """Watches observations and actions, and says what is wired otherwise than in training."""

    def __init__(self, policy: Policy) -> None:
        spec = policy.spec
        self._observations, self._actions = spec.observation_size, spec.action_size
        self._names = observation_names(spec)
        low, high = policy.quantiles[0].astype(float), policy.quantiles[-1].astype(float)
        margin = OUTSIDE * np.maximum(high - low, 1e-3)
        self._range = low, high
        self._low, self._high = low - margin, high + margin
        self._period = spec.control_period
        parts = _parts(self._names, action_names(spec))
        self._models, self._changes = _models(
            policy.whitening, parts, self._observations, self._actions
        )
        self.forget()

    def forget(self) -> None:
        """Start over: what follows is not the next step of what was."""
        self._rows = np.zeros((WINDOW + 1, self._observations + self._actions))
        self._acted = np.zeros(WINDOW + 1, dtype=bool)
        self._times = np.zeros(WINDOW + 1)
        self._count = self._looked = 0

    @property
    def count(self) -> int:
        """How many observations were seen since `forget`."""
        return self._count

    def add(self, observation: np.ndarray, action: Sequence[float] | None, now: float) -> None:
        """Note a step.

        Args:
            observation: [observations].
            action: [actions], what was sent; None if nothing was, or not by this policy.
            now: the time in seconds.
        """
        if not np.abs(observation).max() < LARGEST:
            self.forget()  # NaN among them; the observation is refused elsewhere
            return
        row = self._count % (WINDOW + 1)
        self._rows[row, : self._observations] = observation
        self._acted[row] = action is not None
        if action is not None:
            self._rows[row, self._observations :] = action
        self._times[row] = now
        self._count += 1

    def due(self) -> bool:
        """Whether there is enough, and enough that is new, to look again."""
        return self._count >= ENOUGH and self._count - self._looked >= ENOUGH // 2

    def findings(self, check_period: bool) -> list[str]:
        """What is wrong, a sentence each; nothing while there is too little to tell by.

        Args:
            check_period: whether the times of the steps mean anything.
        """
        search = self.search(check_period)
        while True:
            try:
                next(search)
            except StopIteration as end:
                found: list[str] = end.value
                return found

    def search(self, check_period: bool) -> Generator[None, None, list[str]]:
        """Look for what `findings` tells, a little at a time, for a control loop cannot wait."""
        self._looked = self._count
        if self._count < ENOUGH:
            return []
        order = np.arange(max(0, self._count - WINDOW - 1), self._count) % (WINDOW + 1)
        period = self._period_off(self._times[order]) if check_period else ""
        outside = self._outside(self._rows[order, : self._observations])
        mistakes = [period] if period else (yield from self._mistakes(order))
        return mistakes or outside

    def _period_off(self, times: np.ndarray) -> str:
        """Whether steps come at another rate than in training."""
        if self._period is None:
            return ""
        mean = (times[-1] - times[0]) / (len(times) - 1)
        if abs(mean / self._period - 1) <= PERIOD:
            return ""
        return (
            f"a step every {mean * 1e3:.1f} ms, but the policy was trained with one every "
            f"{self._period * 1e3:.1f} ms"
        )

    def _outside(self, seen: np.ndarray) -> list[str]:
        """Dimensions that are far outside what training saw, in a tenth of the steps at least."""
        outside = (seen < self._low) | (seen > self._high)
        return [
            f"{self._names[i]} is {seen[outside[:, i], i][-1]:.4g}, training saw "
            f"{self._range[0][i]:.4g} to {self._range[1][i]:.4g}"
            for i in np.nonzero(outside.mean(axis=0) >= 0.1)[0]
        ]

    def _mistakes(self, order: np.ndarray) -> Generator[None, None, list[str]]:
        if not self._models:
            return []
        parts, precision, z = self._transitions(order)
        change = np.diff(self._rows[order, : self._observations], axis=0) ** 2
        if np.minimum(change / self._changes, 1.0).mean() < AT_REST:
            return []
        worth = np.sum(z @ precision * z, axis=1)
        best = np.argsort(worth)[: max(1, int(SHARE * len(z)))]
        moments = z[best].T @ z[best] / len(best)
        as_wired = -0.5 * float(np.sum(precision * moments))
        excess = -0.5 * len(precision) - as_wired
        explained = []
        for explanation in _explanations(parts, precision, moments, excess > EXCHANGED):
            explained.append(explanation)
            yield
        explained.sort(reverse=True)
        gain, sentence = explained[0]
        if gain < max(MISTAKE, EXPLAINS * excess):
            odd = "what is observed moves otherwise than in training, by no one wiring mistake"
            return [odd] if excess > ODD else []
        others = [other for value, other in explained[1:3] if gain - value < CLOSE]
        return [" or ".join([sentence, *others])]

    def _transitions(self, order: np.ndarray) -> tuple[list[Part], np.ndarray, np.ndarray]:
        """The steps in `order` as rows z, with the parts of z and its precision matrix."""
        n, known = self._observations, bool(self._acted[order[:-1]].all())
        before, following = self._rows[order[:-1]], self._rows[order[1:], :n]
        z = np.hstack([before if known else before[:, :n], following, np.ones((len(before), 1))])
        return *self._models[known], z


def _models(
    whitening: np.ndarray | None, parts: list[Part], n: int, m: int
) -> tuple[dict[bool, tuple[list[Part], np.ndarray]], np.ndarray]:
    """Parts and precision matrix of z: with the actions, and without where they are not known.

    Without, it is the Gaussian's marginal. Nothing if the policy does not tell, or nothing usable.
    And the mean square by which each observation changed in a step of training.
    """
    if whitening is None:
        return {}, np.ones(n)
    precision = whitening.astype(np.float64).T @ whitening
    kept = np.delete(np.arange(len(precision)), np.arange(n, n + m))
    try:
        moments = np.linalg.inv(precision)
        marginal = np.linalg.inv(moments[np.ix_(kept, kept)])
    except np.linalg.LinAlgError:
        return {}, np.ones(n)
    now, then = np.arange(n), np.arange(n + m, n + m + n)
    changes = moments[now, now] + moments[then, then] - 2 * moments[now, then]
    place = {old: new for new, old in enumerate(kept.tolist())}
    without = [
        Part(part.name, part.kind, tuple(place[i] for i in part.places))
        for part in parts
        if set(part.places) <= set(place)
    ]
    return {True: (parts, precision), False: (without, marginal)}, np.maximum(changes, 1e-12)


def _parts(observations: Sequence[str], actions: Sequence[str]) -> list[Part]:
    """Dimensions by themselves, joints of which there are several dimensions, and commands."""
    n, m = len(observations), len(actions)
    parts = [Part(name, ("dimension",), (i, i + n + m)) for i, name in enumerate(observations)]
    joints: dict[str, dict[str, int]] = {}
    for i, name in enumerate(observations):
        joint, _, what = name.rpartition(".")
        joints.setdefault(joint, {})[what] = i
    for joint, dimensions in joints.items():
        if joint and len(dimensions) > 1:
            here = tuple(dimensions.values())
            places = (*here, *(i + n + m for i in here))
            parts.append(Part(f"joint {joint}", ("joint", *dimensions), places))
    return parts + [
        Part(f"command {name}", ("command",), (n + i,)) for i, name in enumerate(actions)
    ]


def _explanations(
    parts: Sequence[Part], precision: np.ndarray, moments: np.ndarray, exchanges: bool
) -> Iterator[tuple[float, str]]:
    """Every mistake, undone: the gain in nats per step, and the sentence that tells of it."""
    weighted = precision * moments
    for part in parts:
        places = list(part.places)
        yield _rescaled(part, weighted, places)
        yield _shifted(part, precision, moments, places)
    if not exchanges:
        return
    kinds: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        kinds.setdefault(part.kind, []).append(part)
    for alike in kinds.values():
        if len(alike) > MOST_PAIRS:
            continue
        for one, other in itertools.combinations(alike, 2):
            here, there = [*one.places, *other.places], [*other.places, *one.places]
            order = np.arange(len(precision))
            order[here] = there
            # Only the rows and columns of these change; what stands in both is counted once.
            rows = precision[here] * (moments[there][:, order] - moments[here])
            lost = 2 * float(rows.sum()) - float(rows[:, here].sum())
            yield -0.5 * lost, f"{one.name} and {other.name} look exchanged"


def _rescaled(part: Part, weighted: np.ndarray, places: list[int]) -> tuple[float, str]:
    """The likeliest factor u that undoes a scale: it maximises k log|u| - (a u^2 + 2 b u) / 2."""
    k = len(places)
    own = float(weighted[np.ix_(places, places)].sum())
    cross = float(weighted[places].sum()) - own
    before = -0.5 * (own + 2 * cross)
    best = (-math.inf, "")
    for sign in (1, -1):
        root = math.sqrt(cross * cross + 4 * own * k)
        u = (-cross + sign * root) / (2 * own) if own > 0 else 1.0
        if u == 0:
            continue
        gain = k * math.log(abs(u)) - 0.5 * (own * u * u + 2 * cross * u) - before
        size = abs(1 / u)
        if not SCALES[0] < size < SCALES[1]:
            continue
        said = []
        if u < 0:
            said.append("has the wrong sign")
        if not 0.67 < size < 1.5:
            # The action in z is the one that was sent: what is undone is what became of it.
            command = part.kind == ("command",)
            said.append(
                f"acts {1 / size:.2g} times as strongly as in training"
                if command
                else f"is {size:.2g} times what it was in training"
            )
        if said:
            best = max(best, (gain, f"{part.name} {' and '.join(said)}"))
    return best


def _shifted(
    part: Part, precision: np.ndarray, moments: np.ndarray, places: list[int]
) -> tuple[float, str]:
    """The likeliest offset; the last number of z is 1, so its moments are the means."""
    slope = float(precision[places] @ moments[:, -1] @ np.ones(len(places)))
    curvature = float(precision[np.ix_(places, places)].sum())
    if curvature <= 0 or len(places) > 2:
        return -math.inf, ""
    offset = slope / curvature
    return 0.5 * slope * slope / curvature, f"{part.name} is off by {offset:.3g}"
