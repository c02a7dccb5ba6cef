"""What is known of a tree: boxes, each with the answer its leaf gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._columns import Columns

Floats = NDArray[np.float64]
_CELLS = 1 << 21  # comparisons made at once


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes ``low < x <= high``, and of each category the levels that belong to them.

    Args:
        low, high: Ends ``(m, d)``, infinite where no face was found.
        level: For every level of every category, one after the other, whether it belongs ``(m, k)``.
        answer: Which answer ``(m,)``.
        volume: The logarithm of the share of the domain ``(m,)``.
        seed: A point of each that was asked ``(m, d)``.
    """

    low: Floats
    high: Floats
    level: NDArray[np.bool_]
    answer: NDArray[np.int64]
    volume: Floats
    seed: Floats

    def __len__(self) -> int:
        return len(self.answer)

    def and_(self, more: Boxes) -> Boxes:
        """Both, one after the other."""
        names = ("low", "high", "level", "answer", "volume", "seed")
        return Boxes(*(np.concatenate([getattr(self, n), getattr(more, n)]) for n in names))

    def place(self, columns: Columns, a: Floats) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The box of each point ``(n, d)``, and whether the point lies inside. Of several boxes the smallest, because leaves
        that answer alike run together into boxes that are too large; of none the one with the fewest columns amiss.
        """
        found, inside = np.empty(len(a), np.int64), np.empty(len(a), bool)
        order = np.argsort(self.volume, kind="stable")
        size = max(1, _CELLS // max(1, self.low.size))
        for start in range(0, len(a), size):
            part = a[start : start + size]
            amiss = self._amiss(columns, part, order)
            best = amiss.argmin(1)
            found[start : start + size] = order[best]
            inside[start : start + size] = amiss[np.arange(len(part)), best] == 0
        return found, inside

    def _amiss(self, columns: Columns, a: Floats, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many columns of each point lie outside each box ``(n, m)``."""
        number = columns.number
        x = a[:, None, number]
        out = (x <= self.low[order][:, number]) | (x > self.high[order][:, number])
        missed, first = out.sum(2), 0
        for place, known in enumerate(columns.levels):
            if known:
                code = a[:, place].astype(int)
                belongs = self.level[order][:, first + np.maximum(code, 0)].T | (code < 0)[:, None]
                missed = missed + ~belongs
                first += len(known)
        return np.asarray(missed)

    def ambiguous(self) -> int:
        """Boxes whose answer is that of another box too: leaves that cannot be told apart by what they say."""
        _, inverse, times = np.unique(self.answer, return_inverse=True, return_counts=True)
        return int((times[inverse] > 1).sum())


def boxes(
    columns: Columns, low: Floats, high: Floats, level: NDArray[np.bool_], answer: NDArray[np.int64], seed: Floats
) -> Boxes:  # fmt: skip
    """Boxes with their volumes."""
    number = columns.number
    span = np.where(columns.high > columns.low, columns.high - columns.low, 1.0)
    inside = np.minimum(high, columns.high) - np.maximum(low, columns.low)
    share = np.log(np.maximum(inside / span, 1e-15))[:, number].sum(1)
    first = 0
    for known in columns.levels:
        if known:
            share = share + np.log(np.maximum(level[:, first : first + len(known)].mean(1), 1e-15))
            first += len(known)
    return Boxes(low, high, level, answer, share, seed)
