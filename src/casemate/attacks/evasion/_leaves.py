"""Tuples of leaves, and moving from one to the next: every change of one value is weighed at once, exactly.

For each leaf a point knows how many of its constraints it breaks. A leaf that is broken by none is the one its tree
reaches; a leaf that is broken by one is reached by changing that one value, to anywhere between the two ends of the
constraint. So the outputs at every cell of every axis are sums of a few steps, however many trees one change moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.constraint import Norm
from ...core.trees import Floats
from ._aims import Aim
from ._boxes import Ints, View


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ground:
    """The cells within reach of one row, and the leaves that can be reached there. Trees with one such leaf are part of `base`.

    Args:
        cost, axis: Of each cell, ``(c,)``; `cell` is its number among all cells.
        start, count: The first cell of each axis, and how many it has, ``(a,)``.
        home: The cell of each axis that the row lies in, ``(a,)``.
        tree, values: Of each leaf: its tree ``(l,)``, from 0 and ascending, and what it adds to each row of the aim ``(l, r)``.
        base: What all begin with, ``(r,)``.
        hope: No point within reach has larger margins, ``(r,)``.
        of, side, first, last, by_axis, axis_start: Constraints, as `Cells` has them.
    """

    aim: Aim
    norm: Norm
    cost: Floats
    axis: Ints
    cell: Ints
    start: Ints
    count: Ints
    home: Ints
    tree: Ints
    values: Floats
    base: Floats
    hope: Floats
    of: Ints
    side: Ints
    first: Ints
    last: Ints
    by_axis: Ints
    axis_start: Ints


def ground(view: View, aim: Aim, most: float) -> Ground:
    """What is within reach where no single change may cost more than `most` (as `View.cost` counts)."""
    cells = view.cells
    near = (view.cost <= most) & np.isfinite(view.cost)
    index, count = np.flatnonzero(near), np.add.reduceat(near, cells.start[:-1], dtype=np.int64)
    number = np.cumsum(near) - 1
    end = np.cumsum(count)
    lowest, highest = index[end - count], index[end - 1]
    first = np.maximum(cells.first, lowest[cells.side])
    last = np.minimum(cells.last, highest[cells.side])
    there = np.ones(len(cells.tree), bool)
    there[cells.of[first > last]] = False
    trees = len(cells.ensemble)
    opened = np.bincount(cells.tree[there], minlength=trees) > 1
    leaf = there & opened[cells.tree]
    values = cells.value @ aim.weight.T
    base = aim.weight @ cells.ensemble.base / cells.ensemble.divisor - aim.offset + values[there & ~leaf].sum(0)
    # Nor is a constraint of use that nothing within reach breaks.
    keep = leaf[cells.of] & ((first > lowest[cells.side]) | (last < highest[cells.side]))
    by_axis = cells.by_axis[keep[cells.by_axis]]
    tree, values = (np.cumsum(opened) - 1)[cells.tree[leaf]], values[leaf]
    begins = np.flatnonzero(np.diff(tree, prepend=-1))
    hope = base + (np.maximum.reduceat(values, begins).sum(0) if len(begins) else 0.0)
    return Ground(
        aim=aim, norm=view.norm, cost=view.cost[index], axis=cells.axis[index], cell=index, start=end - count, count=count,
        home=number[view.home], tree=tree, values=values, base=base, hope=hope, of=(np.cumsum(leaf) - 1)[cells.of[keep]],
        side=cells.side[keep], first=number[first[keep]], last=number[last[keep]], by_axis=(np.cumsum(keep) - 1)[by_axis],
        axis_start=np.searchsorted(cells.side[by_axis], np.arange(len(cells.column) + 1)),
    )  # fmt: skip


class Point:
    """A place on a ground, as one cell of each axis, that is moved along one axis at a time."""

    __slots__ = ("broken", "cell", "cost", "ground", "squares", "sums")

    def __init__(self, ground: Ground, cell: Ints | None = None) -> None:
        self.ground = ground
        self.cell = (ground.home if cell is None else cell).copy()
        self.cost = ground.cost[self.cell]
        here = self.cell[ground.side]
        out = np.flatnonzero((here < ground.first) | (here > ground.last))
        of, size = ground.of[out], len(ground.tree)
        self.broken = np.bincount(of, minlength=size)
        # The sum of the numbers of the constraints that are broken: of a leaf with one, that one. And of their squares: of a
        # leaf with two, the two sums tell both.
        self.sums = np.bincount(of, weights=out, minlength=size).astype(np.int64)
        self.squares = np.bincount(of, weights=out.astype(np.float64) ** 2, minlength=size).astype(np.int64)

    def copy(self) -> Point:
        new = object.__new__(Point)
        new.ground = self.ground
        new.take(self)
        return new

    def take(self, other: Point) -> None:
        """Stand where another point of the same ground stands."""
        self.cell, self.cost = other.cell.copy(), other.cost.copy()
        self.broken, self.sums, self.squares = other.broken.copy(), other.sums.copy(), other.squares.copy()

    def move(self, to: int) -> None:
        """To another cell of its axis."""
        ground = self.ground
        axis = int(ground.axis[to])
        part = ground.by_axis[ground.axis_start[axis] : ground.axis_start[axis + 1]]
        first, last, was = ground.first[part], ground.last[part], self.cell[axis]
        change = ((to < first) | (to > last)).view(np.int8) - ((was < first) | (was > last)).view(np.int8)
        hit = np.flatnonzero(change)
        part, change = part[hit], change[hit].astype(np.int64)
        leaf = ground.of[part]  # once each: a leaf has one constraint for an axis
        self.broken[leaf] += change
        change *= part
        self.sums[leaf] += change
        self.squares[leaf] += change * part
        self.cell[axis], self.cost[axis] = to, ground.cost[to]

    def margin(self) -> Floats:
        """The aim's margins here, ``(r,)``."""
        return np.asarray(self.ground.base + self.ground.values[self.broken == 0].sum(0))

    def margins(self) -> Floats:
        """The aim's margins after moving to each cell of each axis, ``(c, r)``, all other values as they are."""
        ground, count = self.ground, len(self.ground.axis) + 1
        here = ground.values[self.broken == 0]  # one for each tree, in their order
        near = np.flatnonzero(self.broken == 1)
        constraint = self.sums[near]
        gain = ground.values[near] - here[ground.tree[near]]
        begin, end = ground.first[constraint], ground.last[constraint] + 1
        now = ground.base + here.sum(0)
        if gain.shape[1] == 1:
            step = np.bincount(begin, gain[:, 0], count) - np.bincount(end, gain[:, 0], count)
            return np.asarray((step.cumsum()[:-1] + now)[:, None])
        steps = [np.bincount(begin, g, count) - np.bincount(end, g, count) for g in gain.T]
        return np.asarray(np.stack([step.cumsum()[:-1] for step in steps], 1) + now)

    def sizes(self) -> Floats:
        """The length after moving to each cell of each axis, ``(c,)``; squared for ``l2``."""
        ground = self.ground
        if ground.norm != "linf":
            return np.asarray((self.cost.sum() - self.cost)[ground.axis] + ground.cost)
        top = int(self.cost.argmax())
        others = np.full(len(self.cost), self.cost[top])
        others[top] = np.partition(self.cost, -2)[-2] if len(self.cost) > 1 else 0.0
        return np.asarray(np.maximum(others[ground.axis], ground.cost))

    def size(self) -> float:
        """The length here; squared for ``l2``."""
        return float(self.cost.max(initial=0.0) if self.ground.norm == "linf" else self.cost.sum())
