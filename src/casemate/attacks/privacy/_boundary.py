"""How far records lie from the decision boundary, by labels alone, many records in one call."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.errors import Refused
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy

Floats = NDArray[np.float64]
HALVINGS = 10  # of a line: a thousandth of its length
PACK = 512  # rows of one call
REACH = 0.1  # probes lie this share of the distance from the boundary point


class Sizes(Protocol):
    """How much is asked."""

    @property
    def starts(self) -> int: ...
    @property
    def rounds(self) -> int: ...
    @property
    def probes(self) -> int: ...


class Search:
    """Distances to the boundary.

    Args:
        x: Candidates ``(n, *shape)``.
        label: ``(n,)`` how each is decided; None where that is not known. At least two decisions occur.
        sizes: How much is asked.
        rng: Of the probes.
    """

    def __init__(self, x: Any, label: NDArray[Any], sizes: Sizes, rng: RowRandom) -> None:
        array = np.asarray(to_numpy(x))
        self._shape, self._kind = array.shape[1:], array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)
        self._x, self._label = array.reshape(len(array), -1).astype(np.float64), label
        self._sizes, self._rng = sizes, rng
        self._known = np.flatnonzero(label != np.array(None))

    def run(self, oracle: Oracle, rows: NDArray[np.int64], into: Floats) -> None:
        """Measure `rows`; what is found goes into `into` at once, so that a budget that ends on the way leaves it."""
        x = self._x[rows]
        edge = self._nearest_line(oracle, rows)
        into[rows] = np.linalg.norm(edge - x, axis=1)
        probes, outside = np.zeros((len(rows), 0, x.shape[1])), np.zeros((len(rows), 0))
        for step in range(self._sizes.rounds):
            probe, out = self._probe(oracle, rows, edge, into[rows], step)
            # The points of earlier rounds lay near the same stretch of boundary: what they told still holds.
            probes, outside = np.concatenate([probes, probe], axis=1), np.concatenate([outside, out], axis=1)
            edge = self._along(oracle, rows, edge, slopes(probes, outside))
            into[rows] = np.linalg.norm(edge - x, axis=1)

    def _nearest_line(self, oracle: Oracle, rows: NDArray[np.int64]) -> Floats:
        """The nearest point decided otherwise on lines to the nearest candidates that are ``(m, d)``."""
        starts = np.stack([self._others(i) for i in rows])
        m, many, d = starts.shape
        own = np.repeat(self._x[rows], many, axis=0)
        far = self._halve(oracle, np.repeat(rows, many), own, starts.reshape(-1, d)).reshape(m, many, d)
        gap = np.linalg.norm(far - self._x[rows][:, None], axis=2)
        return np.asarray(far[np.arange(m), gap.argmin(1)])

    def _others(self, i: int) -> Floats:
        """The nearest candidates that are decided otherwise ``(starts, d)``; the last one again where there are fewer."""
        others = self._known[self._label[self._known] != self._label[i]]
        gap = ((self._x[others] - self._x[i]) ** 2).sum(1)
        near = others[np.argsort(gap, kind="stable")[: self._sizes.starts]]
        return np.asarray(self._x[np.pad(near, (0, self._sizes.starts - len(near)), mode="edge")])

    def _halve(self, oracle: Oracle, rows: NDArray[np.int64], near: Floats, far: Floats) -> Floats:
        """The end of each line that is decided otherwise, after halving it."""
        near, far = near.copy(), far.copy()
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            other = self._otherwise(oracle, middle, rows)
            far[other], near[~other] = middle[other], middle[~other]
        return far

    def _probe(
        self, oracle: Oracle, rows: NDArray[np.int64], edge: Floats, gap: Floats, step: int
    ) -> tuple[Floats, Floats]:
        """Random directions from each boundary point ``(m, probes, d)``, and whether each is decided otherwise, less the mean."""
        many, d = self._sizes.probes, edge.shape[1]
        probe = self._rng.normal(rows, (8, step), (many, d))
        probe /= np.maximum(np.linalg.norm(probe, axis=2, keepdims=True), 1e-300)
        points = edge[:, None] + probe * (REACH * gap)[:, None, None]
        out = self._otherwise(oracle, points.reshape(-1, d), np.repeat(rows, many)).reshape(-1, many).astype(float)
        return probe, out - out.mean(1, keepdims=True)

    def _along(self, oracle: Oracle, rows: NDArray[np.int64], edge: Floats, slope: Floats) -> Floats:
        """Go from each record along the slope to where the tangent is met, and halve where that is nearer than the edge."""
        x = self._x[rows]
        gap = np.linalg.norm(edge - x, axis=1, keepdims=True)
        # A little less than as far as the edge: what is decided otherwise there is nearer.
        goal = x + slope * 0.999 * gap
        better = self._otherwise(oracle, goal, rows)
        if not better.any():
            return edge
        moved = edge.copy()
        moved[better] = self._halve(oracle, rows[better], x[better], goal[better])
        return moved

    def _otherwise(self, oracle: Oracle, points: Floats, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which points are decided otherwise than the record they belong to."""
        shaped = points.reshape(-1, *self._shape).astype(self._kind)
        return np.asarray(decided(oracle, shaped, rows) != self._label[rows], bool)


def slopes(probe: Floats, out: Floats) -> Floats:
    """The unit direction that leads out fastest, from probes ``(m, p, d)`` and what they met ``(m, p)``; 0 where none did."""
    found = (out[:, :, None] * probe).sum(1)
    # A least-squares fit tells more than the mean, where there are probes enough for one.
    if probe.shape[1] >= 2 * probe.shape[2]:
        found = np.stack([np.linalg.lstsq(p, o, rcond=None)[0] for p, o in zip(probe, out, strict=True)])
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(np.divide(found, length, out=np.zeros_like(found), where=length > 0))


def decided(oracle: Oracle, x: Any, owner: NDArray[np.int64]) -> NDArray[Any]:
    """Labels of all of `x`, each charged to its owner.

    Raises:
        Refused: The endpoint refused some of it.
        BudgetSpent: The budget does not cover it; what came before it is spent.
    """
    parts = []
    for start in range(0, count(x), PACK):
        few = np.arange(start, min(start + PACK, count(x)))
        response, refused = oracle.ask(take(x, few), rows=owner[few])
        if response is None or refused.any():
            raise Refused(f"the endpoint refused {int(refused.sum())} of {len(few)} rows")
        parts.append(np.asarray(to_numpy(response.label)))
    return np.concatenate(parts)
