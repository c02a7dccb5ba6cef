"""The input that takes the longest way through all trees at once, found by bounds and not by luck."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.availability import Heavy, Sponge
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import take
from ...core.trees import Ensemble
from ._inputs import bounds

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Tree:
    """The leaves of one tree as boxes of cells, first and last ``(l, d)``, and the splits above each ``(l,)``, deepest first."""

    first: Ints
    last: Ints
    depth: Ints


@dataclass(frozen=True, slots=True)
class _Node:
    """A choice of leaves in some trees: their common box, the splits so far, and which leaves of the others still fit."""

    first: Ints
    last: Ints
    depth: int
    left: tuple[tuple[int, Ints], ...]  # tree, positions of its leaves
    bound: int


@attack(
    "availability.deep_paths",
    needs=Need.SUBMIT | Need.STRUCTURE,
    scope="set",
    case="sponge",
    aka=("longest path", "worst-case inference of trees"),
    spends="no query: it reads the trees",
    modality=("array", "table"),
)
class DeepPaths:
    """Choose a deep leaf in every tree so that one input reaches them all.

    Branch and bound over leaves: a box that some chosen leaves leave open cannot cost more than they do and, of every other
    tree, its deepest leaf that still meets the box. The choice with the best bound is looked at first, so the first one that
    is complete is the costliest input there is. Ended early, the best bound left is what nothing can exceed. Of a single tree
    that is its deepest leaf within the domain.

    Args:
        nodes: Choices weighed, at most (a few more, for the last are weighed together).
    """

    nodes: int = 4000

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise BadInput(f"availability.deep_paths: nodes={self.nodes!r} is not allowed; give 1 or more")

    def __call__(self, oracle: Oracle, case: Sponge, *, rng: RowRandom) -> Generator[Heavy, None, Heavy]:
        ensemble: Ensemble = oracle.structure()
        if case.within is not None:
            kind = type(case.within).__name__
            raise BadInput(
                f"availability.deep_paths takes any input of a domain, not one within a {kind}; use availability.sponge"
            )
        field = _Field(ensemble, *_ends(case, ensemble.width))
        best, bound, seen = field.start, field.most, 0
        for best, bound, seen in field.searched(self.nodes):
            yield self._claim(field, case, best, bound, seen)
        return self._claim(field, case, best, bound, seen)

    def _claim(self, field: _Field, case: Sponge, best: _Node, bound: int, seen: int) -> Heavy:
        x: Any = field.point(best)[None]
        if hasattr(case.x, "iloc"):
            frame = take(case.x, [0]).astype(np.float64)
            frame.iloc[:, :] = x
            x = frame
        detail = {"choices": seen, "exact": best.depth == bound}
        return Heavy(x=x, origin=np.zeros(1, np.int64), bound=float(bound), detail=detail)


def _ends(case: Sponge, width: int) -> tuple[Floats, Floats]:
    x = case.x
    if hasattr(x, "iloc"):
        odd = [str(name) for name in x.columns if x[name].dtype.kind not in "fiub"]
        if odd:
            raise BadInput(f"availability.deep_paths takes columns of numbers; {', '.join(odd[:5])} hold something else")
        x = x.to_numpy(np.float64)
        low, high = (x.min(0) if case.low is None else case.low), (x.max(0) if case.high is None else case.high)
    else:
        low, high = bounds(case)
    shape = tuple(x.shape[1:])
    if shape != (width,):
        raise BadInput(f"the trees look at {width} columns; the honest inputs have shape {shape}")
    return np.broadcast_to(np.asarray(low, np.float64), (width,)), np.broadcast_to(np.asarray(high, np.float64), (width,))


class _Field:
    """The axes cut into cells at every split, and the trees on them. Cell i of an axis holds what is above cut i - 1, up to i."""

    def __init__(self, ensemble: Ensemble, low: Floats, high: Floats) -> None:
        inner = ensemble.feature >= 0
        self._low, self._high, self._made = low, high, 0
        self._cuts = [np.unique(ensemble.cut[inner & (ensemble.feature == f)]) for f in range(ensemble.width)]
        first = np.array([np.searchsorted(cuts, end) for cuts, end in zip(self._cuts, low, strict=True)])
        last = np.array([np.searchsorted(cuts, end) for cuts, end in zip(self._cuts, high, strict=True)])
        self._trees = [self._leaves(ensemble, int(root), first, last) for root in ensemble.root]
        left = tuple((i, np.arange(len(tree.depth))) for i, tree in enumerate(self._trees))
        self.most = int(sum(tree.depth[0] for tree in self._trees))
        self._root = _Node(first, last, 0, left, self.most)
        self.start = self._dive(self._root)

    def _leaves(self, ensemble: Ensemble, root: int, first: Ints, last: Ints) -> _Tree:
        """The leaves that some input of the domain reaches."""
        found: list[tuple[int, Ints, Ints]] = []
        open_ = [(root, 0, first, last)]
        while open_:
            node, depth, first, last = open_.pop()
            f = int(ensemble.feature[node])
            if f < 0:
                found.append((depth, first, last))
                continue
            cell = int(np.searchsorted(self._cuts[f], ensemble.cut[node]))
            if first[f] <= cell:
                open_.append((int(ensemble.left[node]), depth + 1, first, _put(last, f, min(int(last[f]), cell))))
            if last[f] > cell:
                open_.append((int(ensemble.right[node]), depth + 1, _put(first, f, max(int(first[f]), cell + 1)), last))
        found.sort(key=lambda leaf: -leaf[0])
        return _Tree(np.stack([a for _, a, _ in found]), np.stack([b for _, _, b in found]), np.array([d for d, _, _ in found]))

    def searched(self, nodes: int) -> Generator[tuple[_Node, int, int], None, None]:
        """The best complete choice so far, what nothing can exceed, and the choices looked at."""
        best, serial = self.start, itertools.count()
        heap = [(-self._root.bound, len(self._root.left), next(serial), self._root)]
        for turn in itertools.count():
            if self._made >= nodes:
                yield best, max(best.depth, -heap[0][0]), self._made
                return
            _, _, _, node = heapq.heappop(heap)
            if not node.left or node.bound <= best.depth:
                best = node if not node.left and node.depth > best.depth else best
                yield best, best.depth, self._made
                return
            for child in self._children(node):
                if child.bound > best.depth:
                    heapq.heappush(heap, (-child.bound, len(child.left), next(serial), child))
            dived = self._dive(node) if turn % 16 == 0 else best
            best = dived if dived.depth > best.depth else best
            if not heap or -heap[0][0] <= best.depth:
                yield best, best.depth, self._made
                return
            if turn % 64 == 63:
                yield best, -heap[0][0], self._made

    def _children(self, node: _Node) -> list[_Node]:
        """Each leaf that is left of the tree with the fewest."""
        place = min(range(len(node.left)), key=lambda i: len(node.left[i][1]))
        tree, leaves = node.left[place]
        rest = node.left[:place] + node.left[place + 1 :]
        return [self._child(node, tree, int(leaf), rest) for leaf in leaves]

    def _child(self, node: _Node, tree: int, leaf: int, rest: tuple[tuple[int, Ints], ...]) -> _Node:
        own = self._trees[tree]
        first, last = np.maximum(node.first, own.first[leaf]), np.minimum(node.last, own.last[leaf])
        self._made += 1
        depth, left, bound = node.depth + int(own.depth[leaf]), [], 0
        for other, leaves in rest:
            that = self._trees[other]
            fits = leaves[((that.first[leaves] <= last) & (that.last[leaves] >= first)).all(1)]
            left.append((other, fits))
            bound += int(that.depth[fits[0]])  # the deepest stands first; one always fits, for the trees cover the box
        return _Node(first, last, depth, tuple(left), depth + bound)

    def _dive(self, node: _Node) -> _Node:
        """A complete choice: of one tree after the other the leaf that leaves the best bound."""
        while node.left:
            tree, leaves = node.left[0]
            few = [self._child(node, tree, int(leaf), node.left[1:]) for leaf in leaves[:8]]
            node = max(few, key=lambda child: child.bound)
        return node

    def point(self, node: _Node) -> Floats:
        """An input in the box of a choice: on each axis the upper end of its first cell."""
        found = np.empty(len(self._cuts))
        for f, cuts in enumerate(self._cuts):
            cell = int(node.first[f])
            found[f] = self._high[f] if cell >= len(cuts) else max(self._low[f], min(float(cuts[cell]), self._high[f]))
        return found


def _put(values: Ints, place: int, value: int) -> Ints:
    new = values.copy()
    new[place] = value
    return new
