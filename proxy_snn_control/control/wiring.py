# SPDX-FileCopyrightText: 2026 proxy_snn_control developers
# SPDX-License-Identifier: Apache-2.0
"""Find wiring mistakes: compare observations, and how they follow each other, with training.

The policy file holds the range of every observation dimension and, as `transition.whitening`, how
an observation follows from the one before and the action between them. With z = (observation,
action, next observation, 1) of a training step, the file's W makes the mean of |W z|^2 equal to
the length of z. A joint that is exchanged with another, has the wrong sign, scale or offset, or a
command that does, breaks the correlations between these numbers: |W z|^2 grows a hundredfold, and
falls back once the mistake is undone in the numbers. So every possible mistake is undone in turn,
and the one that explains the data is named.

The measure is the log-likelihood of a zero-mean Gaussian with the precision matrix W^T W, in nats
per step; to undo a scale s changes the volume, which costs log |s| a number (change of variables).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
import itertools
import math

import numpy as np
from proxy_snn_control.control.robot import action_names, observation_names, Vector
from proxy_snn_control.policy import Policy

# Two seconds at 20 Hz; half of them are enough for a finding.
WINDOW = 40
ENOUGH = 18
# The share of steps that is used, those that fit best: an episode that starts over, or a contact,
# is one step that does not.
SHARE = 0.75
# In nats per step. A mistake must explain the data better by this much: with correct wiring on
# HalfCheetah none does by more than 1.2; a wrong sign does by 25, a scale of 0.1 by 7.5 and more.
MISTAKE = 5.0
# A robot at rest is compatible with any mistake, so nothing is reported: its observations change
# by less than this share (of the mean square) of what they did in training. Nor is a number
# thousands of times too large by mistake.
AT_REST = 0.1
SCALES = (1e-3, 1.1e3)
# A vector that is given in other axes is named where it explains less: with the right axes to turn
# them explains nothing (0.0 and less on HalfCheetah), and with the wrong ones 4.4 and more.
OTHER_AXES = 3.0
# What is seen so much worse than training is odd, and a mistake must explain so much of that.
ODD = 12.0
EXPLAINS = 0.6
# Exchanged parts always make it this much worse; they take longest to try.
EXCHANGED = 3.0
# A second explanation this close to the best is named too.
CLOSE = 6.0
# A number is far outside once it is beyond training's range by half that range.
OUTSIDE = 0.5
# Several mistakes at once are undone one after the other, so many at most.
MOST_MISTAKES = 12
# If nothing explains it, the parts that fit worst are named, so many at most.
MOST_NAMED = 4
# Commands change if one does by this share of its range (standard deviation); then nothing moves
# if the observations change by less than this share (of the mean square) of what they did in
# training.
COMMANDED = 0.05
STILL = 1e-3
DEGREES = 180 / math.pi
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


Undo = Callable[[np.ndarray], np.ndarray]


class Wiring:
    """Compares observations and actions with training, and names what is wired otherwise.

    Attributes:
        has_model: whether the policy file holds how observations follow each other.
        scope: what can be found with it, in a sentence.
        found: what the last search has found, a sentence each.
        period_off: the sentence among these about the control period, or "".
        judged: whether that search saw a whole window of a robot that moved.
    """

    def __init__(
        self,
        policy: Policy,
        sources: Sequence[tuple[str, Sequence[int]]] = (),
        vectors: Sequence[Vector] = (),
    ) -> None:
        """Prepare.

        Args:
            policy: whose training is compared with.
            sources: topics, each with the dimensions of the observation that it gives.
            vectors: of the observation, with the angles that turn them.
        """
        spec = policy.spec
        self._observations, self._actions = spec.observation_size, spec.action_size
        self._names = observation_names(spec)
        low, high = policy.quantiles[0].astype(float), policy.quantiles[-1].astype(float)
        margin = OUTSIDE * np.maximum(high - low, 1e-3)
        self._range = low, high
        self._low, self._high = low - margin, high + margin
        self._period = spec.control_period
        self._reach = np.array(spec.action_high) - np.array(spec.action_low)
        self._sources = [(topic, list(places)) for topic, places in sources if places]
        self._vectors = list(vectors)
        parts = _parts(self._names, action_names(spec))
        self._models, self._changes = _models(
            policy.whitening, parts, self._observations, self._actions
        )
        self.has_model = bool(self._models)
        if self.has_model:
            self.scope = (
                'compares the control period, the ranges and the transitions of observations: '
                'exchanged joints and commands, signs, scales and offsets; not of a robot at rest'
            )
        else:
            self.scope = (
                'this policy file has no transition model (transition.whitening): '
                'joints or commands that are exchanged, and signs, cannot '
                "be named, only the control period and what is far outside training's range"
            )
        self.found: list[str] = []
        self.period_off = ''
        self.judged = False
        self.forget()

    def objections(self, check_period: bool) -> list[str]:
        """Why the robot must not move yet, a sentence each."""
        if self._count < ENOUGH:
            return [f'{self._count} observations were seen, expected {ENOUGH} first']
        return self.findings(check_period)

    def forget(self) -> None:
        """Start over: what follows is not the next step of what was."""
        self._rows = np.zeros((WINDOW + 1, self._observations + self._actions))
        self._acted = np.zeros(WINDOW + 1, dtype=bool)
        self._times = np.zeros((WINDOW + 1, 2))
        self._count = self._looked = 0

    @property
    def count(self) -> int:
        """How many observations were seen since `forget`."""
        return self._count

    def add(
        self,
        observation: np.ndarray,
        action: Sequence[float] | None,
        now: float,
        stamp: float = 0.0,
    ) -> None:
        """Note a step.

        Args:
            observation: [observations].
            action: [actions], what was sent; None if nothing was, or not by this policy.
            now: the time in seconds.
            stamp: when the observation was made by its messages, in seconds; 0 if they do not say.
        """
        if not np.abs(observation).max() < LARGEST:
            self.forget()  # NaN among them; the observation is refused elsewhere
            return
        row = self._count % (WINDOW + 1)
        end = self._observations
        self._rows[row, :end] = observation
        self._acted[row] = action is not None
        if action is not None:
            self._rows[row, end:] = action
        self._times[row] = now, stamp
        self._count += 1

    def due(self) -> bool:
        """Whether there is enough, and enough that is new, to look again."""
        return self._count >= ENOUGH and self._count - self._looked >= ENOUGH // 2

    def findings(self, check_period: bool) -> list[str]:
        """Return what is wrong, a sentence each; nothing while there are too few steps.

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
        """Compute `findings`, a little at a time, for a control loop cannot wait."""
        self._looked = self._count
        self.judged = False
        if self._count < ENOUGH:
            return []
        order = np.arange(max(0, self._count - WINDOW - 1), self._count) % (WINDOW + 1)
        period = self._off(self._times[order]) if check_period else ''
        self.period_off = period
        outside = self._outside(self._rows[order, : self._observations])
        stuck = self._stuck(order)
        if period or stuck:
            return [period] * bool(period) + stuck + outside
        found, certain = yield from self._mistakes(order)
        return found if certain else found + outside

    def _off(self, times: np.ndarray) -> str:
        """Whether steps come at another rate than in training.

        A simulator that is slower than time is none: by its stamps its steps are as in training,
        and so is what can be seen in them of other mistakes.
        """
        if self._period is None:
            return ''
        means = (times[-1] - times[0]) / (len(times) - 1)
        known = means if times[:, 1].all() else means[:1]
        if (abs(known / self._period - 1) <= PERIOD).any():
            return ''
        mean = means[0]
        return (
            f'a step every {mean * 1e3:.1f} ms, but the policy was trained with one every '
            f'{self._period * 1e3:.1f} ms'
        )

    def _outside(self, seen: np.ndarray) -> list[str]:
        """Dimensions that are far outside what training saw, in a tenth of the steps at least."""
        outside = (seen < self._low) | (seen > self._high)
        return [
            f'{self._names[i]} is {seen[outside[:, i], i][-1]:.4g}, training saw '
            f'{self._range[0][i]:.4g} to {self._range[1][i]:.4g}'
            for i in np.nonzero(outside.mean(axis=0) >= 0.1)[0]
        ]

    def _stuck(self, order: np.ndarray) -> list[str]:
        """Return what does not change at all, or does not move, although commands do."""
        rows, acted = self._rows[order], self._acted[order]
        if not acted.all() or len(rows) < ENOUGH:
            return []
        seen, actions = np.split(rows, [self._observations], axis=1)
        if not (actions.std(axis=0) > COMMANDED * self._reach).any():
            return []
        frozen = (seen == seen[0]).all(axis=0)
        if frozen.all():
            return ['all observations repeat bit for bit, although commands change']
        found = [
            f'topic {topic} repeats bit for bit, although commands change'
            for topic, places in self._sources
            if frozen[places].all()
        ]
        span = np.maximum(self._range[1] - self._range[0], 1e-9)
        usual = self._changes if self.has_model else (0.1 * span) ** 2
        moved = np.minimum(np.diff(seen, axis=0) ** 2 / usual, 1.0).mean()
        if not found and moved < STILL:
            found = ['nothing moves although commands change: does anything execute them?']
        return found

    def _mistakes(self, order: np.ndarray) -> Generator[None, None, tuple[list[str], bool]]:
        """Find what is wired wrongly, and whether that explains what is seen."""
        if not self._models:
            return [], False
        rows, acted = self._rows.copy(), self._acted.copy()  # steps are added meanwhile
        parts, precision, z = self._transitions(order, rows, acted)
        change = np.diff(rows[order, : self._observations], axis=0) ** 2
        if np.minimum(change / self._changes, 1.0).mean() < AT_REST:
            return [], False
        self.judged = len(order) > WINDOW
        best = _best(precision, z)
        moments = _moments(z[best])
        excess = _excess(precision, moments)
        explained, others = [], []
        for vector in self._vectors:
            turned = self._transitions(order, _in_other_axes(rows, vector), acted)[2]
            there = _moments(turned[_best(precision, turned)])
            sentence = _names_axes(vector)
            explained.append((excess - _excess(precision, there), sentence))
            others.append((sentence, _moments(turned[best])))
            yield
        for gain, sentence, _ in _explanations(parts, precision, moments, excess > EXCHANGED):
            explained.append((gain, sentence))
            yield
        explained.sort(reverse=True)
        gain, sentence = explained[0]
        least = OTHER_AXES if sentence in dict(others) else MISTAKE
        if gain >= max(least, EXPLAINS * excess):
            close = [other for value, other in explained[1:3] if gain - value < CLOSE]
            return [' or '.join([sentence, *close])], True
        if excess <= ODD:
            return [], False
        return (yield from self._several(parts, precision, moments, others)), False

    def _several(
        self,
        parts: Sequence[Part],
        precision: np.ndarray,
        moments: np.ndarray,
        others: Sequence[tuple[str, np.ndarray]],
    ) -> Generator[None, None, list[str]]:
        """Mistakes that together explain what is seen, or the parts that fit worst.

        Args:
            parts: of z.
            precision: of z in training.
            moments: of z as it is seen.
            others: for every vector that may be in other axes how that is reported, and the
                moments of z with the axes turned.
        """
        first = excess = _excess(precision, moments)
        undone, found = moments, []
        for _ in range(MOST_MISTAKES):
            best: tuple[float, str, Undo | None] = (0.0, '', None)
            for candidates in (
                _group_explanations(parts, precision, undone),
                _explanations(parts, precision, undone, True),
            ):
                for each in candidates:
                    if each[0] > best[0]:
                        best = each
                    yield
            gain, sentence, undo = best
            if undo is None or gain < MISTAKE:
                break
            undone = undo(undone)
            others = [(other, undo(there)) for other, there in others]
            excess -= gain
            found.append(sentence)
        for sentence, there in others:
            left = _excess(precision, undone)
            gain = left - _excess(precision, there)
            if gain >= max(OTHER_AXES, EXPLAINS * left):
                excess -= gain
                found.append(sentence)
            yield
        if found and first - excess >= EXPLAINS * first:
            return [f'several mistakes together, most likely: {", and ".join(found)}']
        # How much worse than in training each dimension fits, with all that it is tied to.
        misfit = 0.5 * (np.sum(precision * moments, axis=1) - 1)
        n, m = self._observations, self._actions
        acts = len(precision) == 2 * n + m + 1
        names = [*self._names, *(f'command {i}' for i in range(m if acts else 0)), *self._names]
        per_name: dict[str, float] = {}
        for name, value in zip(names, misfit[:-1], strict=True):
            per_name[name] = per_name.get(name, 0.0) + float(value)
        worst = sorted(per_name, key=per_name.__getitem__, reverse=True)[:MOST_NAMED]
        odd = 'observations change otherwise than in training, by no single wiring mistake'
        return [f'{odd}; most of it in {", ".join(worst)}']

    def _transitions(
        self, order: np.ndarray, rows: np.ndarray, acted: np.ndarray
    ) -> tuple[list[Part], np.ndarray, np.ndarray]:
        """Return the steps in `order` of `rows` as z; the parts of z, and its precision matrix."""
        n, known = self._observations, bool(acted[order[:-1]].all())
        before, following = rows[order[:-1]], rows[order[1:], :n]
        z = np.hstack([before if known else before[:, :n], following, np.ones((len(before), 1))])
        return *self._models[known], z


def _models(
    whitening: np.ndarray | None, parts: list[Part], n: int, m: int
) -> tuple[dict[bool, tuple[list[Part], np.ndarray]], np.ndarray]:
    """Parts and precision matrix of z: with the actions, and without where they are not known.

    Without, it is the Gaussian's marginal. Nothing if the policy file has none, or no usable one.
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
    parts = [Part(name, ('dimension',), (i, i + n + m)) for i, name in enumerate(observations)]
    joints: dict[str, dict[str, int]] = {}
    for i, name in enumerate(observations):
        joint, _, what = name.rpartition('.')
        joints.setdefault(joint, {})[what] = i
    for joint, dimensions in joints.items():
        if joint and len(dimensions) > 1:
            here = tuple(dimensions.values())
            places = (*here, *(i + n + m for i in here))
            parts.append(Part(f'joint {joint}', ('joint', *dimensions), places))
    return parts + [
        Part(f'command {name}', ('command',), (n + i,)) for i, name in enumerate(actions)
    ]


def _best(precision: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Which steps fit best."""
    worth = np.sum(z @ precision * z, axis=1)
    return np.argsort(worth)[: max(1, int(SHARE * len(z)))]


def _moments(z: np.ndarray) -> np.ndarray:
    moments: np.ndarray = z.T @ z / len(z)
    return moments


def _names_axes(vector: Vector) -> str:
    if vector.frame:  # and whether the topic has the world's axes already, or training the body's
        return (
            f"{vector.label} fits training as the topic has it, and not turned into the world's "
            'axes (leave out frame: world)'
        )
    return (
        f"{vector.label} looks as if it were along the body's axes, but in training along the "
        "world's axes (set frame: world)"
    )


def _in_other_axes(rows: np.ndarray, vector: Vector) -> np.ndarray:
    """Rows in which a vector of the observation is along the world's axes, or no longer.

    What the observation does not have, of vector and angles, counts as zero.
    """
    columns = [rows[:, place] if place >= 0 else np.zeros(len(rows)) for place, *_ in vector.axes]
    x, y, z = ((c - b) / a for c, (_, a, b) in zip(columns, vector.axes, strict=True))
    roll, pitch, yaw = (
        (rows[:, place] - offset) / scale if place >= 0 else np.zeros(len(rows))
        for place, scale, offset in vector.angles
    )
    turns = [((1, 2), roll), ((2, 0), pitch), ((0, 1), yaw)]
    numbers = [x, y, z]
    for (i, j), angle in reversed(turns) if vector.frame else turns:
        cos, sin = np.cos(angle), np.sin(-angle if vector.frame else angle)
        numbers[i], numbers[j] = (
            cos * numbers[i] - sin * numbers[j],
            sin * numbers[i] + cos * numbers[j],
        )
    other = rows.copy()
    for number, (place, scale, offset) in zip(numbers, vector.axes, strict=True):
        if place >= 0:
            other[:, place] = scale * number + offset
    return other


def _excess(precision: np.ndarray, moments: np.ndarray) -> float:
    """By how many nats per step it is worse than training."""
    return 0.5 * float(np.sum(precision * moments)) - 0.5 * len(precision)


def _group_explanations(
    parts: Sequence[Part], precision: np.ndarray, moments: np.ndarray
) -> Iterator[tuple[float, str, Undo]]:
    """Mistakes that are made with many parts at once: degrees, and one side for the other."""
    before = _excess(precision, moments)
    whats: dict[str, list[int]] = {}
    for part in parts:
        if part.kind == ('dimension',):
            whats.setdefault(part.name.rpartition('.')[2], []).extend(part.places)
    groups = [(f'all of .{what}', places) for what, places in whats.items() if len(places) > 2]
    driven = {part.name.removeprefix('command ') for part in parts if part.kind == ('command',)}
    joints = [
        place
        for part in parts
        if part.kind == ('dimension',) and part.name.rpartition('.')[0] in driven
        for place in part.places
    ]
    if joints:
        groups.append(('all joints with a command', joints))
    for name, places in groups:
        for factor, unit in ((DEGREES, 'in degrees'), (1 / DEGREES, 'in radians, not degrees')):
            undo = _undo_scale(places, 1 / factor)
            gain = before - _excess(precision, undo(moments)) - len(places) * math.log(factor)
            yield gain, f'{name} look {unit}', undo
    for kind in {part.kind for part in parts}:
        alike = {part.name: part for part in parts if part.kind == kind}
        for one, other, pairs in _sides(alike):
            order = np.arange(len(precision))
            for a, b in pairs:
                here = [*alike[a].places, *alike[b].places]
                order[here] = [*alike[b].places, *alike[a].places]
            undo = _undo_exchange(order)
            gain = before - _excess(precision, undo(moments))
            yield gain, f'{one} and {other} look exchanged', undo


def _sides(names: Collection[str]) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Names that differ in their beginning alone, several of them alike: left_*, right_*."""
    stems: dict[str, dict[str, str]] = {}
    first, last = min(names), max(names)
    common = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        len(first),
    )
    for name in names:
        for end in range(common + 1, len(name)):
            stems.setdefault(name[:end], {})[name[end:]] = name
    tried = set()
    for one, other in itertools.combinations(sorted(stems, key=len), 2):
        if len(one) > common + 8 or len(other) > common + 8:
            continue
        both = sorted(stems[one].keys() & stems[other].keys())
        pairs = [(stems[one][rest], stems[other][rest]) for rest in both]
        if len(pairs) > 1 and frozenset(pairs) not in tried:
            tried.add(frozenset(pairs))
            yield f'{one}*', f'{other}*', pairs


def _undo_scale(places: list[int], factor: float) -> Undo:
    def undo(moments: np.ndarray) -> np.ndarray:
        undone = moments.copy()
        undone[places] *= factor
        undone[:, places] *= factor
        return undone

    return undo


def _undo_shift(places: list[int], offset: float) -> Undo:
    def undo(moments: np.ndarray) -> np.ndarray:
        undone = moments.copy()
        undone[places] += offset * undone[-1]
        undone[:, places] += offset * undone[:, -1:]
        return undone

    return undo


def _undo_exchange(order: np.ndarray) -> Undo:
    return lambda moments: moments[order][:, order]


def _explanations(
    parts: Sequence[Part], precision: np.ndarray, moments: np.ndarray, exchanges: bool
) -> Iterator[tuple[float, str, Undo]]:
    """Every mistake, undone: the gain in nats per step, the sentence that names it, and how."""
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
            sentence = f'{one.name} and {other.name} look exchanged'
            yield -0.5 * lost, sentence, _undo_exchange(order)


def _rescaled(part: Part, weighted: np.ndarray, places: list[int]) -> tuple[float, str, Undo]:
    """Return the likeliest factor to undo a scale: u maximises k log|u| - (a u^2 + 2 b u) / 2."""
    k = len(places)
    own = float(weighted[np.ix_(places, places)].sum())
    cross = float(weighted[places].sum()) - own
    before = -0.5 * (own + 2 * cross)
    best: tuple[float, str, Undo] = (-math.inf, '', _undo_scale(places, 1.0))
    for sign in (1, -1):
        root = math.sqrt(cross * cross + 4 * own * k)
        u = (-cross + sign * root) / (2 * own) if own > 0 else 1.0
        if u == 0:
            continue
        gain = k * math.log(abs(u)) - 0.5 * (own * u * u + 2 * cross * u) - before
        size = abs(1 / u)
        if not SCALES[0] < size < SCALES[1]:
            continue
        faults = []
        if u < 0:
            faults.append('has the wrong sign')
        if not 0.67 < size < 1.5:
            # The action in z is the one that was sent: what is undone is what became of it.
            command = part.kind == ('command',)
            faults.append(
                f'acts {1 / size:.2g} times as strongly as in training'
                if command
                else f'is {size:.2g} times what it was in training'
            )
        if faults and gain > best[0]:
            best = (gain, f'{part.name} {" and ".join(faults)}', _undo_scale(places, u))
    return best


def _shifted(
    part: Part, precision: np.ndarray, moments: np.ndarray, places: list[int]
) -> tuple[float, str, Undo]:
    """Return the likeliest offset; the last number of z is 1, so its moments are the means."""
    slope = float(precision[places] @ moments[:, -1] @ np.ones(len(places)))
    curvature = float(precision[np.ix_(places, places)].sum())
    if curvature <= 0 or len(places) > 2:
        return -math.inf, '', _undo_shift(places, 0.0)
    offset = slope / curvature
    gain, sentence = 0.5 * slope * slope / curvature, f'{part.name} is off by {offset:.3g}'
    return gain, sentence, _undo_shift(places, -offset)
