"""The greedy search over leaf tuples: forward to a point that reaches the aim, back to the nearest one that still does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.random import RowRandom
from ...core.trees import Floats
from ._aims import Aim
from ._boxes import Ints, View
from ._leaves import Ground, Point, ground

AT_ONCE = 6  # axes that are moved together on the way forward, where costs do not count
GUESSES = 6  # pairs of changes that are tried, the most promising first
SWAPS = 12  # values that are brought home in turn
SPREAD = (1.25, 1.6, 2.0, 2.8)  # shares of the length that one change may have, as divisors
SCALES = 8  # halvings of the domain that are looked at for a first reach
HALVINGS = 4  # of the last of them
SHORTER = 1 - 1e-12


def nearest(view: View, aim: Aim, most: float, starts: int, tries: int, rng: RowRandom, row: int) -> tuple[Ints | None, float]:
    """A short change that reaches the aim: the cell of each axis ``(a,)`` and its length, or None and infinity.

    Args:
        most: Longer ones are of no use.
        starts: Ways forward at random beside the planned ones.
        tries: How many values are moved to make up for one that is brought home.
    """
    unit = most**2 if view.norm == "l2" else most
    best: Point | None = None
    reach = unit
    for point in _starts(view, aim, unit, starts, rng, row):
        descend(point, tries)
        if point.size() <= reach:
            best, reach = point, point.size() * SHORTER
    if best is None:
        return None, np.inf
    return best.ground.cell[best.cell], float(best.size() ** 0.5 if view.norm == "l2" else best.size())


def _starts(view: View, aim: Aim, most: float, starts: int, rng: RowRandom, row: int) -> Iterator[Point]:
    """Points that reach the aim, each by another way: the largest gain for its cost, no change above a cap, at random."""
    top = float(view.cost[np.isfinite(view.cost)].max(initial=0.0))
    most = min(most, top) if view.norm == "linf" else most
    field, reach = None, most
    if view.norm != "linf":
        field = ground(view, aim, min(most, top))
        point = Point(field)
        if forward(point, most * (1 + 1e-9)):
            yield point
            reach = point.size()
    if view.norm != "l0":
        for point in _capped(view, aim, reach, min(reach, top)):
            yield point
            field, reach = point.ground, min(reach, point.size())
        # Between the few large changes that gain most for their cost and the many small ones under the smallest cap.
        for share in () if view.norm == "linf" else SPREAD:
            assert field is not None  # of these norms the first way has made one
            cap, point = reach / share ** (2 if view.norm == "l2" else 1), Point(field)
            if forward(point, reach * SHORTER, cap=cap):
                yield point
                reach = min(reach, point.size())
    if field is None:
        return
    for k in range(starts):
        point = Point(field)
        weight = -np.log(rng.uniform(np.array([row]), (7, k), (len(field.home),))[0])
        if forward(point, reach * SHORTER, weight=weight):
            yield point
            reach = min(reach, point.size())


def _capped(view: View, aim: Aim, limit: float, top: float) -> Iterator[Point]:
    """Ways forward under a cap on each single change: a small one first, then between the last that failed and it."""
    low, field, found = 0.0, None, None
    for k in range(SCALES, -1, -1):
        cap = top / 2**k
        field = ground(view, aim, cap)
        if not bool(aim.met(field.hope)):
            low = cap
            continue
        found = Point(field)
        if forward(found, np.inf, cap=cap, costly=False):
            break
        low, found = cap, None
    if found is None or field is None:
        return
    high = float(found.cost.max())
    if view.norm != "linf":
        yield found.copy()
    for _ in range(HALVINGS):
        cap = (low + high) / 2
        point = Point(field)
        if forward(point, np.inf, cap=cap, costly=False):
            high, found = float(point.cost.max()), point
        else:
            low = cap
    yield found


def forward(point: Point, limit: float, cap: float = np.inf, weight: Floats | None = None, costly: bool = True) -> bool:
    """Move, one value at a time, to where the margin grows most for what it costs, until the aim is reached.

    Args:
        limit: No point that is as far away (by `Point.size`).
        cap: No single change that costs more.
        weight: What gains count for on each axis, ``(a,)``: another weight, another way.
        costly: Whether what a change costs counts against its gain; for ``linf`` it never does.
    """
    field, costly = point.ground, costly and point.ground.norm != "linf"
    if not bool(field.aim.met(field.hope)):
        return False
    least = 1e-6 * float(field.cost.max(initial=0.0))
    for _ in range(4 * len(point.cell) + 8):
        margin, sizes = point.margins(), point.sizes()
        allowed = (sizes < limit) & (field.cost <= cap)
        met = allowed & field.aim.met(margin)
        if met.any():
            point.move(int(np.flatnonzero(met)[sizes[met].argmin()]))
            return True
        score = field.aim.score(margin)
        gain = score - score[point.cell[0]]
        gain[~allowed | (gain <= field.aim.noise)] = -np.inf  # rounding is no gain, or this would never end
        if weight is not None:
            gain = gain * weight[field.axis]
        if costly:
            gain = gain / np.maximum(sizes - point.size(), least)
        to = int(gain.argmax())
        if gain[to] > 0:
            if costly or not _many(point, gain, float(score[to])):
                point.move(to)
        elif not pair(point, margin, limit, cap):
            return False
    return False


def _many(point: Point, gain: Floats, least: float) -> bool:
    """Move several axes at once, each to its best cell: where they get in each other's way it is not done.

    Args:
        least: The score that the best of them has alone.
    """
    field = point.ground
    best = np.maximum.reduceat(gain, field.start)
    axes = np.argsort(-best, kind="stable")[:AT_ONCE]
    axes = axes[best[axes] > 0]
    if len(axes) < 2:
        return False
    trial = point.copy()
    for axis in axes:
        begin, end = field.start[axis], field.start[axis] + field.count[axis]
        trial.move(int(begin + gain[begin:end].argmax()))
    if float(field.aim.score(trial.margin())) <= least + field.aim.noise:
        return False
    point.take(trial)
    return True


def pair(point: Point, margin: Floats, limit: float, cap: float) -> bool:
    """Change two values at once, for a leaf that breaks two constraints: where no single change is of use.

    Args:
        margin: What `Point.margins` says here.
    """
    field = point.ground
    leaf = np.flatnonzero(point.broken == 2)
    if not len(leaf):
        return False
    total = point.sums[leaf]
    apart = np.sqrt((2 * point.squares[leaf] - total**2).astype(np.float64)).round().astype(np.int64)
    both = np.stack([(total + apart) // 2, (total - apart) // 2], 1)
    axis = field.side[both]
    to = field.home[axis].clip(field.first[both], field.last[both])
    cost = field.cost[to]
    sizes = np.maximum(cost.max(1), point.size()) if field.norm == "linf" else point.size() + (cost - point.cost[axis]).sum(1)
    now, here = margin[point.cell[0]], field.values[point.broken == 0]
    guess = field.aim.score(now + field.values[leaf] - here[field.tree[leaf]] + (margin[to] - now).sum(1))
    guess = np.where((sizes < limit) & (cost.max(1) <= cap), guess, -np.inf)
    before = float(field.aim.score(now))
    for best in np.argsort(-guess, kind="stable")[:GUESSES]:
        if not np.isfinite(guess[best]):
            return False
        trial = point.copy()
        trial.move(int(to[best, 0]))
        trial.move(int(to[best, 1]))
        if float(field.aim.score(trial.margin())) > before + field.aim.noise:
            point.take(trial)
            return True
    return False


def descend(point: Point, tries: int) -> None:
    """Shorter and shorter changes that reach the aim, from one that does: the point ends at the shortest."""
    while retreat(point) or swap(point, tries):
        pass


def retreat(point: Point) -> bool:
    """Bring one value nearer to home, as far as the aim allows."""
    sizes, margin = point.sizes(), point.margins()
    better = (sizes < point.size() * SHORTER) & point.ground.aim.met(margin)
    if not better.any():
        return False
    found = np.flatnonzero(better)
    near = found[sizes[found] <= sizes[found].min() / SHORTER]
    point.move(int(near[point.ground.aim.score(margin[near]).argmax()]))
    return True


def swap(point: Point, tries: int) -> bool:
    """Bring a value home that is needed, and move others for it, so that the change is shorter and reaches the aim."""
    size = point.size()
    if point.ground.norm == "linf":
        trial = point.copy()
        for axis in np.flatnonzero(point.cost >= size * SHORTER):
            _inwards(trial, int(axis), size)
        return _repaired(point, trial, size, 4 * tries)
    moved = np.flatnonzero(point.cost > 0)
    home = point.ground.home[moved]
    # Those first that leave the least to make up for.
    for to in home[np.argsort(-point.ground.aim.score(point.margins()[home]), kind="stable")[:SWAPS]]:
        trial = point.copy()
        trial.move(int(to))
        if _repaired(point, trial, size, tries):
            return True
    return False


def _inwards(point: Point, axis: int, size: float) -> None:
    """To the best cell of an axis that is nearer than `size`."""
    field: Ground = point.ground
    part = np.flatnonzero((field.axis == axis) & (field.cost < size * SHORTER))
    point.move(int(part[field.aim.score(point.margins()[part]).argmax()]))


def _repaired(point: Point, trial: Point, size: float, tries: int) -> bool:
    """Reach the aim again from `trial` by a change shorter than `size`; then `point` stands there."""
    field = point.ground
    for _ in range(tries):
        margin, sizes = trial.margins(), trial.sizes()
        allowed = sizes < size * SHORTER
        met = allowed & field.aim.met(margin)
        if met.any():
            trial.move(int(np.flatnonzero(met)[sizes[met].argmin()]))
            point.take(trial)
            return True
        score = np.where(allowed, field.aim.score(margin), -np.inf)
        to = int(score.argmax())
        if score[to] > float(field.aim.score(margin[trial.cell[0]])) + field.aim.noise:
            trial.move(to)
        elif not pair(trial, margin, size * SHORTER, np.inf):
            return False
    return False
