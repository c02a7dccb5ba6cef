"""The greedy search over leaf tuples: forward to a point that reaches the aim, back to the nearest one that still does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.random import RowRandom
from ...core.trees import Floats
from ._aims import Aim
from ._boxes import Ints, View
from ._walk import Ground, Walk, ground

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
    best: Walk | None = None
    reach = unit
    for walk in _starts(view, aim, unit, starts, rng, row):
        descend(walk, tries)
        if walk.size() <= reach:
            best, reach = walk, walk.size() * SHORTER
    if best is None:
        return None, np.inf
    return best.ground.cell[best.cell], float(best.size() ** 0.5 if view.norm == "l2" else best.size())


def _starts(view: View, aim: Aim, most: float, starts: int, rng: RowRandom, row: int) -> Iterator[Walk]:
    """Points that reach the aim, each by another way: the largest gain for its cost, no change above a cap, at random."""
    top = float(view.cost[np.isfinite(view.cost)].max(initial=0.0))
    most = min(most, top) if view.norm == "linf" else most
    field, reach = None, most
    if view.norm != "linf":
        field = ground(view, aim, min(most, top))
        walk = Walk(field)
        if forward(walk, most * (1 + 1e-9)):
            yield walk
            reach = walk.size()
    if view.norm != "l0":
        for walk in _capped(view, aim, reach, min(reach, top)):
            yield walk
            field, reach = walk.ground, min(reach, walk.size())
        # Between the few large changes that gain most for their cost and the many small ones under the smallest cap.
        for share in () if view.norm == "linf" else SPREAD:
            assert field is not None  # of these norms the first way has made one
            cap, walk = reach / share ** (2 if view.norm == "l2" else 1), Walk(field)
            if forward(walk, reach * SHORTER, cap=cap):
                yield walk
                reach = min(reach, walk.size())
    if field is None:
        return
    for k in range(starts):
        walk = Walk(field)
        weight = -np.log(rng.uniform(np.array([row]), (7, k), (len(field.home),))[0])
        if forward(walk, reach * SHORTER, weight=weight):
            yield walk
            reach = min(reach, walk.size())


def _capped(view: View, aim: Aim, limit: float, top: float) -> Iterator[Walk]:
    """Ways forward under a cap on each single change: a small one first, then between the last that failed and it."""
    low, field, found = 0.0, None, None
    for k in range(SCALES, -1, -1):
        cap = top / 2**k
        field = ground(view, aim, cap)
        if not bool(aim.met(field.hope)):
            low = cap
            continue
        found = Walk(field)
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
        walk = Walk(field)
        if forward(walk, np.inf, cap=cap, costly=False):
            high, found = float(walk.cost.max()), walk
        else:
            low = cap
    yield found


def forward(walk: Walk, limit: float, cap: float = np.inf, weight: Floats | None = None, costly: bool = True) -> bool:
    """Move, one value at a time, to where the margin grows most for what it costs, until the aim is reached.

    Args:
        limit: No point that is as far away (by `Walk.size`).
        cap: No single change that costs more.
        weight: What gains count for on each axis, ``(a,)``: another weight, another way.
        costly: Whether what a change costs counts against its gain; for ``linf`` it never does.
    """
    field, costly = walk.ground, costly and walk.ground.norm != "linf"
    if not bool(field.aim.met(field.hope)):
        return False
    least = 1e-6 * float(field.cost.max(initial=0.0))
    for _ in range(4 * len(walk.cell) + 8):
        margin, sizes = walk.margins(), walk.sizes()
        allowed = (sizes < limit) & (field.cost <= cap)
        met = allowed & field.aim.met(margin)
        if met.any():
            walk.move(int(np.flatnonzero(met)[sizes[met].argmin()]))
            return True
        score = field.aim.score(margin)
        gain = score - score[walk.cell[0]]
        gain[~allowed | (gain <= field.aim.noise)] = -np.inf  # rounding is no gain, or this would never end
        if weight is not None:
            gain = gain * weight[field.axis]
        if costly:
            gain = gain / np.maximum(sizes - walk.size(), least)
        to = int(gain.argmax())
        if gain[to] > 0:
            if costly or not _many(walk, gain, float(score[to])):
                walk.move(to)
        elif not pair(walk, margin, limit, cap):
            return False
    return False


def _many(walk: Walk, gain: Floats, least: float) -> bool:
    """Move several axes at once, each to its best cell: where they get in each other's way it is not done.

    Args:
        least: The score that the best of them has alone.
    """
    field = walk.ground
    best = np.maximum.reduceat(gain, field.start)
    axes = np.argsort(-best, kind="stable")[:AT_ONCE]
    axes = axes[best[axes] > 0]
    if len(axes) < 2:
        return False
    trial = walk.copy()
    for axis in axes:
        begin, end = field.start[axis], field.start[axis] + field.count[axis]
        trial.move(int(begin + gain[begin:end].argmax()))
    if float(field.aim.score(trial.margin())) <= least + field.aim.noise:
        return False
    walk.take(trial)
    return True


def pair(walk: Walk, margin: Floats, limit: float, cap: float) -> bool:
    """Change two values at once, for a leaf that breaks two constraints: where no single change is of use.

    Args:
        margin: What `Walk.margins` says here.
    """
    field = walk.ground
    leaf = np.flatnonzero(walk.broken == 2)
    if not len(leaf):
        return False
    total = walk.sums[leaf]
    apart = np.sqrt((2 * walk.squares[leaf] - total**2).astype(np.float64)).round().astype(np.int64)
    both = np.stack([(total + apart) // 2, (total - apart) // 2], 1)
    axis = field.side[both]
    to = field.home[axis].clip(field.first[both], field.last[both])
    cost = field.cost[to]
    sizes = np.maximum(cost.max(1), walk.size()) if field.norm == "linf" else walk.size() + (cost - walk.cost[axis]).sum(1)
    now, here = margin[walk.cell[0]], field.values[walk.broken == 0]
    guess = field.aim.score(now + field.values[leaf] - here[field.tree[leaf]] + (margin[to] - now).sum(1))
    guess = np.where((sizes < limit) & (cost.max(1) <= cap), guess, -np.inf)
    before = float(field.aim.score(now))
    for best in np.argsort(-guess, kind="stable")[:GUESSES]:
        if not np.isfinite(guess[best]):
            return False
        trial = walk.copy()
        trial.move(int(to[best, 0]))
        trial.move(int(to[best, 1]))
        if float(field.aim.score(trial.margin())) > before + field.aim.noise:
            walk.take(trial)
            return True
    return False


def descend(walk: Walk, tries: int) -> None:
    """Shorter and shorter changes that reach the aim, from one that does: the walk ends at the shortest."""
    while retreat(walk) or swap(walk, tries):
        pass


def retreat(walk: Walk) -> bool:
    """Bring one value nearer to home, as far as the aim allows."""
    sizes, margin = walk.sizes(), walk.margins()
    better = (sizes < walk.size() * SHORTER) & walk.ground.aim.met(margin)
    if not better.any():
        return False
    found = np.flatnonzero(better)
    near = found[sizes[found] <= sizes[found].min() / SHORTER]
    walk.move(int(near[walk.ground.aim.score(margin[near]).argmax()]))
    return True


def swap(walk: Walk, tries: int) -> bool:
    """Bring a value home that is needed, and move others for it, so that the change is shorter and reaches the aim."""
    size = walk.size()
    if walk.ground.norm == "linf":
        trial = walk.copy()
        for axis in np.flatnonzero(walk.cost >= size * SHORTER):
            _inwards(trial, int(axis), size)
        return _repaired(walk, trial, size, 4 * tries)
    moved = np.flatnonzero(walk.cost > 0)
    home = walk.ground.home[moved]
    # Those first that leave the least to make up for.
    for to in home[np.argsort(-walk.ground.aim.score(walk.margins()[home]), kind="stable")[:SWAPS]]:
        trial = walk.copy()
        trial.move(int(to))
        if _repaired(walk, trial, size, tries):
            return True
    return False


def _inwards(walk: Walk, axis: int, size: float) -> None:
    """To the best cell of an axis that is nearer than `size`."""
    field: Ground = walk.ground
    part = np.flatnonzero((field.axis == axis) & (field.cost < size * SHORTER))
    walk.move(int(part[field.aim.score(walk.margins()[part]).argmax()]))


def _repaired(walk: Walk, trial: Walk, size: float, tries: int) -> bool:
    """Reach the aim again from `trial` by a change shorter than `size`; then `walk` stands there."""
    field = walk.ground
    for _ in range(tries):
        margin, sizes = trial.margins(), trial.sizes()
        allowed = sizes < size * SHORTER
        met = allowed & field.aim.met(margin)
        if met.any():
            trial.move(int(np.flatnonzero(met)[sizes[met].argmin()]))
            walk.take(trial)
            return True
        score = np.where(allowed, field.aim.score(margin), -np.inf)
        to = int(score.argmax())
        if score[to] > float(field.aim.score(margin[trial.cell[0]])) + field.aim.noise:
            trial.move(to)
        elif not pair(trial, margin, size * SHORTER, np.inf):
            return False
    return False
