"""From points inside leaves to the boxes of those leaves: every face is searched for along one column at a time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BudgetSpent, Refused
from ._boxes import Boxes, boxes
from ._columns import Columns

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Ask = Callable[[Floats], Ids]  # points (n, d) -> which answer each of them got (n,)


@dataclass(slots=True)
class Cuts:
    """Where columns are known to be split: pairs of neighbouring values that go different ways, in order."""

    pairs: list[list[tuple[float, float]]]
    values: list[list[float]] = field(default_factory=list)  # lists: on a handful of numbers bisect beats an array

    def add(self, column: int, pair: tuple[float, float]) -> tuple[float, float]:
        """Remember a pair; the one known before where they overlap (two searches that ran at the same time)."""
        for known in self.pairs[column]:
            if known[0] < pair[1] and pair[0] < known[1]:
                return known
        self.pairs[column].append(pair)
        for value in pair:
            insort(self.values[column], value)
        return pair

    def between(self, column: int, a: float, b: float) -> float | None:
        """The middle one of the known values strictly between `a` and `b`; None where there is none."""
        known = self.values[column]
        first, last = bisect_right(known, min(a, b)), bisect_left(known, max(a, b))
        return known[(first + last) // 2] if last > first else None


def no_cuts(columns: Columns) -> Cuts:
    d = len(columns.low)
    return Cuts([[] for _ in range(d)], [[] for _ in range(d)])


@dataclass(slots=True)
class _Rays:
    """One search each: from a point inside a leaf along a column to the end of the domain. All ``(r,)``."""

    point: Ids
    column: Ids
    same: Floats  # the farthest value known to be in the leaf
    other: Floats  # the nearest value known to be outside; the end of the domain where none is
    beyond: Ids  # the answer there; -1 where none is


@dataclass(frozen=True, slots=True)
class Found:
    """The boxes of some points, points in the leaves next to them with their answers, and what ended it early."""

    boxes: Boxes
    next: Floats
    answer: Ids
    ended: BudgetSpent | Refused | None


def search(columns: Columns, a: Floats, answer: Ids, cuts: Cuts, ask: Ask) -> Found:
    """The boxes around points ``(n, d)`` with known answers. Ends early with what is known where questions run out."""
    rays = _rays(columns, a)
    level = np.ones((len(a), sum(len(known) for known in columns.levels)), bool)
    beside, told = [np.zeros((0, a.shape[1]))], [np.zeros(0, np.int64)]
    ended: BudgetSpent | Refused | None = None
    try:
        _ends(a, answer, rays, ask)
        beside_levels, told_levels = _levels(columns, a, answer, level, ask)
        beside.append(beside_levels)
        told.append(told_levels)
        _halve(columns, a, answer, rays, cuts, ask)
    except (BudgetSpent, Refused) as error:
        ended = error
    low, high = np.full(a.shape, -np.inf), np.full(a.shape, np.inf)
    for r in np.flatnonzero(rays.beyond >= 0):
        p, c = int(rays.point[r]), int(rays.column[r])
        pair = (min(rays.same[r], rays.other[r]), max(rays.same[r], rays.other[r]))
        pair = cuts.add(c, pair) if ended is None else pair
        up = bool(rays.other[r] > rays.same[r])
        (high if up else low)[p, c] = (pair[0] + pair[1]) / 2
        rays.other[r] = max(rays.other[r], pair[1]) if up else min(rays.other[r], pair[0])
    known = rays.beyond >= 0
    beside.append(_moved(a, rays, np.flatnonzero(known), rays.other[known]))
    told.append(rays.beyond[known])
    return Found(boxes(columns, low, high, level, answer, a), np.concatenate(beside), np.concatenate(told), ended)


def _rays(columns: Columns, a: Floats) -> _Rays:
    n, number = len(a), np.flatnonzero(columns.number)
    point = np.repeat(np.arange(n), 2 * len(number))
    column = np.tile(np.repeat(number, 2), n)
    other = np.where(np.arange(len(column)) % 2 == 0, columns.low[column], columns.high[column])
    same = a[point, column]
    room = same != other
    return _Rays(point[room], column[room], same[room], other[room], np.full(int(room.sum()), -1))


def _moved(a: Floats, rays: _Rays, which: Ids, to: Floats) -> Floats:
    x = a[rays.point[which]]
    x[np.arange(len(which)), rays.column[which]] = to
    return x


def _ends(a: Floats, answer: Ids, rays: _Rays, ask: Ask) -> None:
    every = np.arange(len(rays.point))
    seen = ask(_moved(a, rays, every, rays.other))
    differs = seen != answer[rays.point]
    rays.beyond[differs] = seen[differs]


def _levels(columns: Columns, a: Floats, answer: Ids, level: NDArray[np.bool_], ask: Ask) -> tuple[Floats, Ids]:
    """Ask about every other level of every category; those answered otherwise are neighbours."""
    points, places = [], []
    first = 0
    for column, known in enumerate(columns.levels):
        for code in range(len(known)):
            others = np.flatnonzero(a[:, column] != code)
            moved = a[others]
            moved[:, column] = code
            points.append(moved)
            places += [(int(p), first + code) for p in others]
        first += len(known)
    if not places:
        return np.zeros((0, a.shape[1])), np.zeros(0, np.int64)
    x, at = np.concatenate(points), np.array(places)
    seen = ask(x)
    differs = seen != answer[at[:, 0]]
    level[at[differs, 0], at[differs, 1]] = False
    return x[differs], seen[differs]


def _halve(columns: Columns, a: Floats, answer: Ids, rays: _Rays, cuts: Cuts, ask: Ask) -> None:
    """Narrow every face down to neighbouring values. Cuts that are known are tried first: a tree has few, and many faces."""
    finest, whole = columns.finest[rays.column], columns.whole[rays.column]
    hope = np.ones(len(rays.point), bool)  # a ray with no known cut left inside never gets one again: none are added here
    for _ in range(200):  # each round halves an interval, or what is left of the known cuts inside it
        open_ = np.flatnonzero((rays.beyond >= 0) & (np.abs(rays.other - rays.same) > finest))
        if not len(open_):
            return
        middle = (rays.same[open_] + rays.other[open_]) / 2
        middle = np.where(whole[open_], np.floor(middle), middle)
        for place in np.flatnonzero(hope[open_]).tolist():
            r = open_[place]
            known = cuts.between(int(rays.column[r]), float(rays.same[r]), float(rays.other[r]))
            if known is None:
                hope[r] = False
            else:
                middle[place] = known
        seen = ask(_moved(a, rays, open_, middle))
        same = seen == answer[rays.point[open_]]
        rays.same[open_[same]] = middle[same]
        rays.other[open_[~same]], rays.beyond[open_[~same]] = middle[~same], seen[~same]


def repair(columns: Columns, of: Boxes, which: Ids, witness: Floats, cuts: Cuts, ask: Ask) -> tuple[Boxes, Floats, Ids]:
    """Make boxes smaller that hold a point which is answered otherwise: leaves that answer alike had run together.

    From the seed of a box to the witness one column after the other is changed; somewhere the answer turns, and there is a
    cut. Each repair takes one cut out of a box, so that there are no more of them than faces.

    Args:
        which: The boxes ``(w,)``, none twice; `witness` is a point inside each ``(w, d)``.

    Returns:
        All boxes, and the points behind the cuts with their answers.
    """
    seed, answer = of.seed[which], of.answer[which]
    last, own = _turn(seed, witness, answer, ask)
    point = np.where(np.arange(seed.shape[1]) < last[:, None], witness, seed)
    every = np.arange(len(which))
    rays = _Rays(every, last, seed[every, last].copy(), witness[every, last].copy(), own)
    number = columns.number[last]
    numeric = _Rays(*(getattr(rays, name)[number] for name in ("point", "column", "same", "other", "beyond")))
    _halve(columns, point, answer, numeric, cuts, ask)
    low, high, level = of.low.copy(), of.high.copy(), of.level.copy()
    for r, p in enumerate(numeric.point.tolist()):
        c, up = int(numeric.column[r]), bool(numeric.other[r] > numeric.same[r])
        pair = cuts.add(c, (min(numeric.same[r], numeric.other[r]), max(numeric.same[r], numeric.other[r])))
        (high if up else low)[which[p], c] = (pair[0] + pair[1]) / 2
        numeric.other[r] = max(numeric.other[r], pair[1]) if up else min(numeric.other[r], pair[0])
    first = np.cumsum([0, *(len(known) for known in columns.levels)])
    for p in np.flatnonzero(~number):
        level[which[p], first[last[p]] + int(witness[p, last[p]])] = False
    behind = _moved(point, rays, np.flatnonzero(~number), rays.other[~number])
    behind = np.concatenate([behind, _moved(point, numeric, np.arange(len(numeric.point)), numeric.other)])
    return boxes(columns, low, high, level, of.answer, of.seed), behind, np.concatenate([own[~number], numeric.beyond])


def _turn(seed: Floats, witness: Floats, answer: Ids, ask: Ask) -> tuple[Ids, Ids]:
    """The column at which the answer turns on the way from seed to witness ``(w,)``, and the answer behind it."""
    n, d = seed.shape
    low, high, behind = np.zeros(n, np.int64), np.full(n, d), ask(witness)
    while (high - low > 1).any():
        middle = np.where(high - low > 1, (low + high) // 2, low)
        seen = ask(np.where(np.arange(d) < middle[:, None], witness, seed))
        same = seen == answer
        moved = (high - low > 1) & ~same
        low, high = np.where(same, middle, low), np.where(moved, middle, high)
        behind = np.where(moved, seen, behind)
    return low, behind
