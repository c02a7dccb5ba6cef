"""Which records carry a backdoor furthest: those that resist it most, of every class in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.case import Poison
from ...core.errors import BadInput
from ...core.target import take
from .._features import Features
from ._plant import Ground

Order = Literal["hardest", "random"]


def ordered(order: str, case: Poison, at: Ground, index: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows `index` in the order in which they are poisoned: one class after the other in turn, and within a class those
    that resist most (``hardest``) or as they come (``random``).

    How much a record resists is read off a ridge regression of the attacker's own on the data it sees: by how much the
    record is decided for another class than the one wanted. A mark that turns those turns the others too.
    """
    if order not in ("hardest", "random"):
        raise BadInput(f"order={order!r} is not known; allowed: 'hardest', 'random'")
    if order == "hardest" and len(index) and len(np.unique(at.y[at.own])) > 1:
        index = index[np.argsort(-resistance(case, at, take(case.recipe.x, index)), kind="stable")]
    return in_turn(index, at.y)


def in_turn(index: NDArray[np.int64], y: NDArray[Any]) -> NDArray[np.int64]:
    """The same rows, one class after the other: the first of each class, then the second of each, and so on."""
    labels = y[index]
    place = np.empty(len(index), np.int64)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        place[mine] = np.arange(len(mine))
    return index[np.argsort(place, kind="stable")]


def resistance(case: Poison, at: Ground, x: Any) -> NDArray[np.float64]:
    """By how much each input is decided for another class than the one wanted ``(n,)``, by a ridge regression."""
    surrogate = ridge(case, at)
    score, wanted = surrogate.score(x), surrogate.classes == at.label
    if not wanted.any():  # the class wanted is not among the attacker's own records
        return np.asarray(score.max(1))
    return np.asarray(score[:, ~wanted].max(1) - score[:, wanted][:, 0])


@dataclass(frozen=True, slots=True)
class Ridge:
    """A linear surrogate: weights ``(d + 1, k)`` on features with a constant, and its classes."""

    weights: NDArray[np.float64]
    read: Features
    classes: NDArray[Any]

    def score(self, x: Any) -> NDArray[np.float64]:
        """How strongly each input is decided for each class ``(n, k)``."""
        return np.asarray(_constant(self.read(x)) @ self.weights)

    def doubt(self, y: NDArray[Any]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        """The slope of the best other score above that of `y`, for arrays ``(n, *shape)``."""
        seat, rows = np.searchsorted(self.classes, y), np.arange(len(y))

        def slope(x: NDArray[np.float64]) -> NDArray[np.float64]:
            score = self.score(x)
            score[rows, seat] = -np.inf
            away = self.weights[:-1, score.argmax(1)] - self.weights[:-1, seat]
            return np.asarray((away.T / self.read.scale).reshape(x.shape))

        return slope


def ridge(case: Poison, at: Ground) -> Ridge:
    """Ridge regression on one number for each class, on the records the attacker reads."""
    own = np.sort(at.own)
    known, y = take(case.recipe.x, own), at.y[own]
    read, classes = Features.of(known), np.unique(y)
    a = _constant(read(known))
    goals = (y[:, None] == classes[None]) * 2.0 - 1.0
    weights = np.linalg.solve(a.T @ a + np.eye(a.shape[1]) * max(1.0, 1e-3 * len(a)), a.T @ goals)
    return Ridge(np.asarray(weights), read, classes)


def _constant(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([a, np.ones((len(a), 1))], axis=1)
