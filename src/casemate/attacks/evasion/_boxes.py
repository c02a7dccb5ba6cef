"""Leaves as boxes of cells: between two neighbouring cuts of a column nothing that a tree does can change.

A cell is a closed interval of numbers of the inputs' own precision, so that strict and non-strict splits, float32 and float64,
are all the same here, and the nearest point of a cell is a number that can be handed in.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.constraint import Ball, Norm
from ...core.trees import Ensemble, Floats

Ints = NDArray[np.int64]
_MADE: weakref.WeakKeyDictionary[Ensemble, dict[bool, Cells]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cells:
    """The cells of every column that some tree looks at, one column (axis) after the other, and the leaves as boxes of them.

    Args:
        column: Column of each axis, ``(a,)``.
        start: First cell of each axis, and their number, ``(a + 1,)``.
        axis: Axis of each cell, ``(c,)``; `low` and `high` are its ends.
        node, tree, value: Of each leaf: its position in the ensemble, its tree ``(l,)``, and what it adds to the outputs
            ``(l, k)``.
        of, side: Of each constraint: its leaf and its axis, ``(b,)``, ordered by leaf; `first` and `last` are the cells it
            allows. A leaf has one constraint for each axis that its path looks at.
        by_axis: Constraints in the order of axes, and `axis_start` where each begins there, ``(a + 1,)``.
    """

    ensemble: Ensemble
    single: bool
    column: Ints
    start: Ints
    axis: Ints
    low: Floats
    high: Floats
    node: Ints
    tree: Ints
    value: Floats
    of: Ints
    side: Ints
    first: Ints
    last: Ints
    by_axis: Ints
    axis_start: Ints

    def home(self, x: Floats) -> Ints:
        """The cell of each axis that inputs ``(n, width)`` lie in, ``(n, a)``."""
        found = np.empty((len(x), len(self.column)), np.int64)
        for i, column in enumerate(self.column):
            ends = self.high[self.start[i] : self.start[i + 1] - 1]
            found[:, i] = self.start[i] + np.searchsorted(ends, x[:, column], side="left")
        return found


def cells_of(ensemble: Ensemble, single: bool = False) -> Cells:
    """The cells of an ensemble, made once.

    Args:
        single: Inputs are float32: cells end at float32 numbers.
    """
    made = _MADE.setdefault(ensemble, {})
    if single not in made:
        made[single] = _made(ensemble, single)
    return made[single]


def _made(ensemble: Ensemble, single: bool) -> Cells:
    leaves, of, column, lower, upper = _constraints(ensemble, single)
    inner = ensemble.feature >= 0
    # All cuts, ordered by column and then by number; nothing lies beyond infinity.
    cuts = np.unique(np.stack([ensemble.feature[inner].astype(np.float64), _floor(ensemble.cut[inner], single)]), axis=1)
    cuts = cuts[:, np.isfinite(cuts[1])]
    used, begin = np.unique(cuts[0].astype(np.int64), return_index=True)
    ends = np.append(begin, cuts.shape[1])
    start = ends + np.arange(len(ends))  # one cell more than cuts on each axis
    axis = np.repeat(np.arange(len(used)), np.diff(start))
    low, high = np.full(len(axis), -np.inf), np.full(len(axis), np.inf)
    place = np.arange(cuts.shape[1]) + np.repeat(np.arange(len(used)), np.diff(ends))
    high[place], low[place + 1] = cuts[1], _after(cuts[1], single)
    keep = np.isin(column, used)
    of, side = of[keep], np.searchsorted(used, column[keep])
    first, last = _numbered(side, lower[keep], upper[keep], cuts[1], ends, start)
    dead = np.unique(of[first > last])  # of leaves that no input reaches
    keep, there = ~np.isin(of, dead), np.delete(np.arange(len(leaves)), dead)
    of, side, first, last = np.searchsorted(there, of[keep]), side[keep], first[keep], last[keep]
    by_axis = np.argsort(side, kind="stable")
    return Cells(
        ensemble=ensemble, single=single, column=used, start=start, axis=axis, low=low, high=high, node=leaves[there],
        tree=np.searchsorted(ensemble.root, leaves[there], side="right") - 1,
        value=ensemble.value[leaves[there]] / ensemble.divisor, of=of, side=side, first=first, last=last, by_axis=by_axis,
        axis_start=np.searchsorted(side[by_axis], np.arange(len(used) + 1)),
    )  # fmt: skip


def _numbered(side: Ints, lower: Floats, upper: Floats, cuts: Floats, ends: Ints, start: Ints) -> tuple[Ints, Ints]:
    """The first and last cell of each constraint ``lower < x <= upper``; the last before the first where none is inside."""
    first, last = np.empty(len(side), np.int64), np.empty(len(side), np.int64)
    for i in range(len(start) - 1):
        mine, own = np.flatnonzero(side == i), cuts[ends[i] : ends[i + 1]]
        # Cell 0 lies below the first cut. An upper end stops at its cut, a lower one begins one cell past it.
        first[mine] = start[i] + np.searchsorted(own, lower[mine], side="right")
        last[mine] = start[i] + np.where(upper[mine] == -np.inf, -1, np.searchsorted(own, upper[mine]))
        first[mine[lower[mine] == np.inf]] = start[i + 1]
    return first, last


def _constraints(ensemble: Ensemble, single: bool) -> tuple[Ints, Ints, Ints, Floats, Floats]:
    """Leaves, and for each leaf and column of its path the cuts it lies between: ``lower < x <= upper``."""
    inner = np.flatnonzero(ensemble.feature >= 0)
    parent = np.full(len(ensemble.feature), -1)
    parent[ensemble.left[inner]] = parent[ensemble.right[inner]] = inner
    lefty = np.zeros(len(parent), bool)
    lefty[ensemble.left[inner]] = True
    leaves = ensemble.leaf
    node, leaf = leaves, np.arange(len(leaves))
    parts = []
    while len(node):
        up = parent[node]
        node, leaf, up = node[up >= 0], leaf[up >= 0], up[up >= 0]
        parts.append((leaf, ensemble.feature[up], lefty[node], _floor(ensemble.cut[up], single)))
        node = up
    of, column, left, cut = (np.concatenate(column) for column in zip(*parts, strict=True))
    key = of * ensemble.width + column
    key, place = np.unique(key, return_inverse=True)
    lower, upper = np.full(len(key), -np.inf), np.full(len(key), np.inf)
    np.maximum.at(lower, place[~left], cut[~left])
    np.minimum.at(upper, place[left], cut[left])
    return leaves, key // ensemble.width, key % ensemble.width, lower, upper


def _floor(cut: Floats, single: bool) -> Floats:
    """The largest numbers of the precision that are not above the cuts."""
    if not single:
        return cut
    with np.errstate(over="ignore"):
        near = cut.astype(np.float32)
    return np.asarray(np.where(near > cut, np.nextafter(near, np.float32(-np.inf)), near), np.float64)


def _after(cut: Floats, single: bool) -> Floats:
    kind = np.float32 if single else np.float64
    return np.asarray(np.nextafter(cut.astype(kind), kind(np.inf)), np.float64)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class View:
    """The cells as one row sees them.

    Args:
        x: The row ``(width,)``, float64.
        home: The cell it lies in on each axis, ``(a,)``.
        place: The nearest number of each cell inside the domain, ``(c,)``.
        cost: How far that is, ``(c,)``: 0 at home, infinite for a cell outside the domain. For ``l2`` its square, for ``l0`` 1.
    """

    cells: Cells
    norm: Norm
    x: Floats
    home: Ints
    place: Floats
    cost: Floats

    def point(self, cell: Ints) -> Floats:
        """The nearest input ``(width,)`` that lies in the given cell of each axis."""
        found = self.x.copy()
        moved = cell != self.home
        found[self.cells.column[moved]] = self.place[cell[moved]]
        return found

    def size(self, cost: Floats) -> Floats:
        """The length of changes with those costs on each axis, ``(..., a) -> (...)``."""
        if cost.shape[-1] == 0:
            return np.zeros(cost.shape[:-1])
        if self.norm == "linf":
            return np.asarray(cost.max(-1))
        return np.asarray(np.sqrt(cost.sum(-1)) if self.norm == "l2" else cost.sum(-1))


def view(cells: Cells, x: Floats, ball: Ball) -> View:
    """How far each cell is from a row ``(width,)``, in the ball's norm and domain."""
    low, high = ball.box(np.array([-np.inf, np.inf], np.float32 if cells.single else np.float64)).astype(np.float64)
    home = cells.home(x[None])[0]
    here = x[cells.column][cells.axis]
    place = here.clip(np.maximum(cells.low, low), np.minimum(cells.high, high))
    gap = np.abs(place - here)
    cost = gap if ball.norm in ("linf", "l1") else gap**2 if ball.norm == "l2" else (gap > 0).astype(np.float64)
    cost[(cells.low > high) | (cells.high < low)] = np.inf
    cost[home], place[home] = 0.0, x[cells.column]
    return View(cells=cells, norm=ball.norm, x=x, home=home, place=place, cost=cost)


def leaf_alone(view: View, met: NDArray[np.bool_]) -> tuple[Ints | None, float]:
    """Of a single tree, the nearest leaf among those that are `met` ``(l,)``: the cell of each axis and how far it is.

    Exact: every leaf is weighed.
    """
    cells, index = view.cells, np.arange(len(view.cost))
    there = np.isfinite(view.cost)
    lowest = np.minimum.reduceat(np.where(there, index, len(index)), cells.start[:-1])
    highest = np.maximum.reduceat(np.where(there, index, -1), cells.start[:-1])
    home = view.home[cells.side]
    first, last = np.maximum(cells.first, lowest[cells.side]), np.minimum(cells.last, highest[cells.side])
    to = np.where((cells.first <= home) & (home <= cells.last), home, np.minimum(home.clip(first, None), last))
    reach = np.array(met)
    reach[cells.of[(to != home) & (first > last)]] = False
    size = np.zeros(len(reach))
    (np.maximum if view.norm == "linf" else np.add).at(size, cells.of, view.cost[to])
    size = np.where(reach, size, np.inf)
    best = int(size.argmin())
    if not np.isfinite(size[best]):
        return None, np.inf
    cell = view.home.copy()
    mine = cells.of == best
    cell[cells.side[mine]] = to[mine]
    return cell, float(np.sqrt(size[best]) if view.norm == "l2" else size[best])
