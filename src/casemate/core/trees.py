"""Trees as a value: what a decision tree, a forest or a boosted ensemble computes, whoever trained it.

Libraries differ in how they split: at ``x <= t`` or ``x < t``, in float64, or after rounding the input to float32. Here every
split is ``x <= cut`` on float64, and `cut` is the largest float64 number that the library itself sends to the left. Then
nothing else of the difference is left, and the leaf that is reached is the library's own, on the threshold and one ulp past it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput

Floats = NDArray[np.float64]
CHUNK = 1 << 20  # most places (rows times trees) followed at once


@dataclass(frozen=True, eq=False, kw_only=True)
class Ensemble:
    """Trees whose leaves are added up: the nodes of all of them, one after the other. Compared by identity.

    Args:
        feature: Column a node looks at, ``(m,)``; -1 for a leaf.
        cut: The largest float64 number that goes left, ``(m,)``; minus infinity where nothing does.
        left, right: Children by position, ``(m,)``.
        missing_left: Where NaN goes, ``(m,)`` booleans.
        value: What a leaf adds to each of the k outputs, ``(m, k)``.
        root: The first node of each tree, ``(t,)``.
        width: Columns of an input.
        base: Where the sums begin, ``(k,)``.
        divisor: What the sums are divided by: the number of trees where a forest takes the mean.
        classes: Decisions, with as many outputs; 0 for a regression, which has one output.
        ties_up: Of two classes that come out equal, class 1 is decided. Otherwise the first of equal ones.
        single: Sums are taken in float32, as the library does.
        link: Of a regression: what is done to the sum.
    """

    feature: NDArray[np.int64]
    cut: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    value: Floats
    root: NDArray[np.int64]
    width: int
    base: Floats
    divisor: float = 1.0
    classes: int = 0
    ties_up: bool = False
    single: bool = False
    link: Literal["identity", "exp"] = "identity"

    def __post_init__(self) -> None:
        m, k = self.value.shape
        if not all(part.shape == (m,) for part in (self.feature, self.cut, self.left, self.right, self.missing_left)):
            raise BadInput(f"{m} leaf values; give feature, cut, left, right and missing_left for each of the nodes")
        if k != (self.classes or 1) or self.base.shape != (k,):
            raise BadInput(f"{k} outputs and base {self.base.shape} for classes={self.classes}; give one for each class")
        if len(self.root) == 0 or self.feature.max(initial=-1) >= self.width or np.isnan(self.cut).any():
            raise BadInput("an ensemble has at least one tree, looks at columns below its width, and has no NaN for a cut")
        inner = self.feature >= 0
        own = np.arange(m)[inner]
        for child in (self.left[inner], self.right[inner]):
            if (child <= own).any() or (child >= m).any():
                raise BadInput("a child stands after its parent; these nodes are no trees in that order")

    def __len__(self) -> int:
        return len(self.root)

    @cached_property
    def leaf(self) -> NDArray[np.int64]:
        """Positions of all leaves that some input can reach by the order of nodes, ``(l,)``, tree by tree."""
        return np.flatnonzero(self.feature < 0)

    @cached_property
    def _steps(self) -> tuple[Any, ...]:
        """Nodes made for following: a leaf leads to itself, so that all rows take as many steps as the deepest."""
        own, leaf = np.arange(len(self.feature)), self.feature < 0
        left, right = np.where(leaf, own, self.left), np.where(leaf, own, self.right)
        feature, depth = np.where(leaf, 0, self.feature), np.zeros(len(own), np.int64)
        for node in own[::-1][~leaf[::-1]]:
            depth[node] = 1 + max(depth[left[node]], depth[right[node]])
        return feature, left, right, int(depth.max())

    def leaves(self, x: Any) -> NDArray[np.int64]:
        """Which leaf each input ``(n, width)`` reaches in each tree: positions ``(n, t)``."""
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != self.width:
            raise BadInput(f"the trees look at {self.width} columns; expected shape (n, {self.width}), got {x.shape}")
        size = max(1, CHUNK // len(self.root))
        parts = [self._follow(x[start : start + size]) for start in range(0, max(1, len(x)), size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _follow(self, x: Floats) -> NDArray[np.int64]:
        feature, left, right, depth = self._steps
        node = np.tile(self.root, (len(x), 1))
        start = (np.arange(len(x)) * self.width)[:, None]
        flat, missing = np.ascontiguousarray(x).reshape(-1), bool(np.isnan(x).any())
        for _ in range(depth):
            seen = flat.take(start + feature.take(node)) if len(x) else np.zeros(node.shape)
            goes = seen <= self.cut.take(node)
            if missing:
                goes = np.where(np.isnan(seen), self.missing_left.take(node), goes)
            node = np.where(goes, left.take(node), right.take(node))
        return node

    def raw(self, x: Any) -> Floats:
        """The outputs ``(n, k)`` before any link, added up tree by tree in the library's own precision."""
        return self.total(self.leaves(x))

    def total(self, leaves: NDArray[np.int64]) -> Floats:
        """The outputs ``(n, k)`` of leaves ``(n, t)``."""
        kind = np.float32 if self.single else np.float64
        value = self.value.astype(kind, copy=False)
        found = np.tile(self.base.astype(kind), (len(leaves), 1))
        for tree in range(leaves.shape[1]):  # in order: another order of adding is another last digit
            found += value[leaves[:, tree]]
        return np.asarray(found / kind(self.divisor) if self.divisor != 1 else found, np.float64)

    def decide(self, x: Any) -> NDArray[Any]:
        """The decisions ``(n,)``: classes, or the numbers of a regression."""
        return self.decided(self.raw(x))

    def decided(self, raw: Floats) -> NDArray[Any]:
        """The decisions ``(n,)`` of outputs ``(n, k)``."""
        if not self.classes:
            return np.asarray(np.exp(raw[:, 0]) if self.link == "exp" else raw[:, 0])
        if self.ties_up:
            return np.asarray((raw[:, 1] >= raw[:, 0]).astype(np.int64))
        return np.asarray(raw.argmax(1))

    def reordered(self, order: Sequence[int]) -> Ensemble:
        """The same trees with their classes named otherwise: class i stands for what was ``order[i]``."""
        index = np.asarray(order)
        if sorted(index.tolist()) != list(range(self.classes)):
            raise BadInput(f"order={index.tolist()} is no order of {self.classes} classes")
        turned = bool(self.classes == 2 and index[0] == 1)
        return replace(self, value=self.value[:, index], base=self.base[index], ties_up=self.ties_up ^ turned)


def largest_left(threshold: Any, *, strict: bool = False, single: bool = False) -> Floats:
    """The largest float64 numbers ``(m,)`` for which a split goes left.

    Args:
        threshold: Thresholds ``(m,)`` as the library holds them.
        strict: It goes left at ``x < threshold``, not at ``x <= threshold``.
        single: It rounds x to float32 before it compares.
    """
    found: Floats = np.array(threshold, np.float64)
    if not single:
        return np.asarray(np.nextafter(found, -np.inf)) if strict else found
    with np.errstate(over="ignore"):
        near = found.astype(np.float32)
    low = np.float32(-np.inf)
    past = near.astype(np.float64) >= found if strict else near.astype(np.float64) > found
    near = np.where(past, np.nextafter(near, low), near)  # the largest float32 that goes left
    # What rounds to it: up to halfway to the next one, the middle itself where that is the even one of the two.
    wide, after = near.astype(np.float64), np.nextafter(near, np.float32(np.inf)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        middle = wide + (after - wide) / 2
    with np.errstate(over="ignore"):
        down = middle.astype(np.float32) <= near
    edge = np.where(down, middle, np.nextafter(middle, -np.inf))
    return np.asarray(np.where(np.isfinite(wide) & np.isfinite(after), edge, found))


def pulled_back(cut: Floats, feature: NDArray[np.int64], width: int, forward: Callable[[Floats], Floats]) -> Floats:
    """Cuts on what `forward` makes of the input, as cuts on the input itself, ``(m,)``.

    Args:
        forward: ``(r, width) -> (r, width)``, each column by itself and never falling. It is asked for every bit of the cuts,
            so that its own rounding is in them.
    """
    order = np.argsort(feature, kind="stable")
    place = np.arange(len(order)) - np.searchsorted(feature[order], feature[order])  # the how-manieth cut of its column
    goal = np.full((int(place.max(initial=-1)) + 1, width), -np.inf)
    goal[place, feature[order]] = cut[order]
    low, high = np.full(goal.shape, _key(-1e100)), np.full(goal.shape, _key(1e100))
    with np.errstate(all="ignore"):
        for _ in range(65):  # one bit of a float64 each
            middle = (low >> 1) + (high >> 1) + (low & high & 1)
            left = forward(_number(middle)) <= goal
            low, high = np.where(left, middle, low), np.where(left, high, middle)
    found = np.empty(len(order))
    found[order] = _number(low)[place, feature[order]]
    found[found >= _number(np.array(_key(1e100)) - 1)] = np.inf
    found[found <= -1e100] = -np.inf
    return found


def _key(value: float) -> int:
    """A whole number for a float64, in the order of the floats."""
    bits = int(np.float64(value).view(np.int64))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFFFFFFFFFF)


def _number(key: NDArray[np.int64]) -> Floats:
    magnitude = np.abs(key).view(np.float64)
    return np.asarray(np.where(key < 0, -magnitude, magnitude))
