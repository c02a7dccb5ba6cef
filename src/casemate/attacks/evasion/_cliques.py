"""What no change within reach can do: a bound from leaves that fit together, tree by tree, pair by pair (Chen et al.).

Leaves of different trees can be reached together only where their boxes meet. Boxes of two trees are merged into those of
both, then pairs with pairs; after each level the largest margin is at most the sum of each group's best box. A box that cannot
reach the aim even beside the best of all other groups is left out, so that often all trees end up in one group, and the answer
is exact: there is nothing within reach, or here it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ...core.trees import Floats
from ._aims import Aim
from ._boxes import Ints, View
from ._leaves import Ground, ground


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Group:
    """Boxes of some trees: first and last cell on each axis ``(b, a)``, and what their leaves add up to ``(b, r)``."""

    first: Ints
    last: Ints
    value: Floats
    axes: Ints  # those on which some box has an end

    def only(self, keep: Ints) -> _Group:
        return _Group(first=self.first[keep], last=self.last[keep], value=self.value[keep], axes=self.axes)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reach:
    """What is known of the changes within a reach.

    Args:
        empty: It is proven that none of them reaches the aim.
        cell: One that does (the shortest that was seen): the cell of each axis ``(a,)``; None where nothing is known of one.
    """

    empty: bool
    cell: Ints | None = None


def within(view: View, aim: Aim, reach: float, levels: int, boxes: int) -> Reach:
    """What the changes of at most `reach` (as `View.cost` counts) can do.

    Args:
        levels: How many times groups are merged, at most.
        boxes: Pairs of boxes that are weighed in one merge, at most.
    """
    field = ground(view, aim, reach)
    groups = _groups(field)
    for level in range(levels + 1):
        left = _pruned(field, groups)
        if left is None:
            return Reach(empty=True)
        if len(left) <= 1:
            return Reach(empty=False, cell=_shortest(field, left))
        groups = left if level == levels else _merged(field, left, reach, boxes)
        if len(groups) == len(left):
            break
    return Reach(empty=False)


def closer(view: View, aim: Aim, size: float, levels: int, boxes: int) -> tuple[bool, Ints | None]:
    """Whether it is proven what the shortest change below `size` is, and its cells: None where there is none, or none known."""
    best = None
    while True:
        short = size * (1 - 1e-12) if view.norm != "l0" else np.ceil(size) - 0.5
        found = within(view, aim, short**2 if view.norm == "l2" else short, levels, boxes)
        if found.cell is None:
            return found.empty, best
        best, size = found.cell, float(view.size(view.cost[found.cell]))


def _shortest(field: Ground, groups: list[_Group]) -> Ints | None:
    """All trees are in one box each: the nearest box that reaches the aim."""
    if not groups:  # one leaf of each tree is all there is, and it reaches the aim
        return field.cell[field.home] if bool(field.aim.met(field.base)) else None
    group = groups[0]
    met = np.flatnonzero(field.aim.met(field.base + group.value))
    if not len(met):  # near-ties only
        return None
    cell = field.home.clip(group.first[met], group.last[met])
    cost = field.cost[cell]
    size = cost.max(1) if field.norm == "linf" else cost.sum(1)
    return np.asarray(field.cell[cell[size.argmin()]])


def _groups(field: Ground) -> list[_Group]:
    """One group for each tree."""
    axes = len(field.home)
    count = np.bincount(field.axis, minlength=axes)
    lowest = np.cumsum(count) - count
    size = len(field.tree)
    first, last = np.tile(lowest, (size, 1)), np.tile(lowest + count - 1, (size, 1))
    first[field.of, field.side], last[field.of, field.side] = field.first, field.last
    used = np.zeros((int(field.tree[-1]) + 1 if size else 0, axes), bool)
    used[field.tree[field.of], field.side] = True
    ends = np.searchsorted(field.tree, np.arange(len(used) + 1))
    return [
        _Group(first=first[a:b], last=last[a:b], value=field.values[a:b], axes=np.flatnonzero(used[tree]))
        for tree, (a, b) in enumerate(pairwise(ends))
    ]


def _pruned(field: Ground, groups: list[_Group]) -> list[_Group] | None:
    """Groups without the boxes that are of no use to the aim; None where it is out of reach."""
    if not all(len(group.value) for group in groups):  # some trees have no leaves that can be reached together
        return None
    tops = np.array([group.value.max(0) for group in groups]).reshape(len(groups), len(field.base))
    hope = field.base + tops.sum(0)
    if not bool(field.aim.possible(hope)):
        return None
    found = []
    for group, top in zip(groups, tops, strict=True):
        keep = np.flatnonzero(field.aim.possible(hope - top + group.value))
        found.append(group if len(keep) == len(group.value) else group.only(keep))
    return found


def _merged(field: Ground, groups: list[_Group], reach: float, boxes: int) -> list[_Group]:
    """Groups in pairs, those first that have the fewest boxes; what would be too large stays as it is."""
    order = sorted(range(len(groups)), key=lambda i: len(groups[i].value))
    found: list[_Group] = []
    while len(order) > 1:
        one = groups[order.pop(0)]
        # Of the next few, the one that looks at the most of the same columns: boxes that meet anywhere rule nothing out.
        near = order[:8]
        shared = [len(np.intersect1d(one.axes, groups[i].axes, assume_unique=True)) for i in near]
        other = groups[order[int(np.argmax(shared))]]
        if len(one.value) * len(other.value) > boxes:
            other = groups[order[0]]
        if len(one.value) * len(other.value) > boxes:
            return [*found, one, *(groups[i] for i in order)]
        order.remove(next(i for i in order if groups[i] is other))
        found.append(_meet(field, one, other, reach))
    return found + [groups[i] for i in order]


def _meet(field: Ground, one: _Group, other: _Group, reach: float) -> _Group:
    """The boxes that lie in a box of both."""
    axes = np.union1d(one.axes, other.axes)
    both = np.intersect1d(one.axes, other.axes, assume_unique=True)
    fits = np.ones((len(one.value), len(other.value)), bool)
    for axis in both:
        fits &= one.first[:, axis, None] <= other.last[None, :, axis]
        fits &= other.first[None, :, axis] <= one.last[:, axis, None]
    i, j = np.nonzero(fits)
    first, last = np.maximum(one.first[i], other.first[j]), np.minimum(one.last[i], other.last[j])
    found = _Group(first=first, last=last, value=one.value[i] + other.value[j], axes=axes)
    if field.norm == "linf":  # each change by itself is within reach already
        return found
    cost = field.cost[field.home[axes].clip(first[:, axes], last[:, axes])].sum(1)
    return found.only(np.flatnonzero(cost <= reach))
