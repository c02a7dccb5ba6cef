"""From a copy's scores to the decisions of the endpoint: its names for classes, its cut-off, its threshold for rejecting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.target import REJECT


@dataclass(frozen=True, slots=True)
class Decision:
    """How scores become labels.

    Args:
        names: The endpoint's label for each column of the scores ``(k,)``.
        cut: Of two classes, the score of the second from which it is decided; None for the best score.
        reject: The best score below which nothing is decided; None where everything is.
    """

    names: NDArray[Any]
    cut: float | None = None
    reject: float | None = None

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[Any]:
        """Labels ``(n,)`` for scores ``(n, k)``."""
        place = scores.argmax(1) if self.cut is None else (scores[:, 1] >= self.cut).astype(int)
        labels = self.names[place]
        if self.reject is not None:
            labels = np.where(scores.max(1) < self.reject, np.asarray(REJECT, dtype=labels.dtype), labels)
        return np.asarray(labels)


def decision_of(scores: NDArray[np.float64], labels: NDArray[Any]) -> Decision:
    """Learn the rule from answers: scores ``(n, k)`` with the labels ``(n,)`` that came with them.

    A cut-off or a threshold is known only to lie between two answers; the middle is taken.
    """
    top, best = scores.argmax(1), scores.max(1)
    numeric = labels.dtype.kind in "iuf"
    rejected = labels == REJECT if numeric else np.zeros(len(labels), bool)
    kept = np.flatnonzero(~rejected)
    reject = None
    if rejected.any() and len(kept):
        reject = float((best[rejected].max() + best[kept].min()) / 2)
    if numeric and np.array_equal(labels[kept], top[kept]):
        return Decision(np.arange(scores.shape[1]), None, reject)  # numbered as its scores are, and the best of them wins
    names: NDArray[Any] = np.arange(scores.shape[1]) if numeric else np.array([str(i) for i in range(scores.shape[1])], object)
    for column in range(scores.shape[1]):
        seen, times = np.unique(labels[kept][top[kept] == column], return_counts=True)
        if len(seen):
            names[column] = seen[times.argmax()]
    cut = None
    if scores.shape[1] == 2 and len(kept) and names[0] != names[1]:
        positive = labels[kept] == names[1]
        if (positive != (top[kept] == 1)).any() and positive.any() and (~positive).any():
            cut = float((scores[kept, 1][~positive].max() + scores[kept, 1][positive].min()) / 2)
    return Decision(names, cut, reject)
