"""Spectral signatures: poison stands out along the first direction in which the rows of a class differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import UsageError
from ...core.target import Recipe, Target, to_numpy
from ._activations import representation
from ._filter import Flags, flagged_by, unsuspected
from ._sift import Fit, dropped, sifted


@control(
    "training.spectral_signatures",
    knows=("poisoning.adaptive_blend", "poisoning.badnets"),
    threats=("PO-03",),
    side_effects="training twice; 1.5 x epsilon of the rows are left out of every class, poisoned or not",
    trains=True,
)
class SpectralSignatures:
    """Leave out the rows of each class that lie furthest out along its first singular direction (Tran et al. 2018,
    arXiv:1811.00636).

    The representations of a class are *centred* first. Without that the first direction is the mean of the class, and the
    score says how typical a row is: as an offset of all representations grows, no poison is found. As many rows are left
    out of clean data as of poisoned.

    Args:
        epsilon: Poison expected in a class, as a share of it; 1.5 times as much is left out, as in the paper.
        layer: Where to look, as `named_modules` of a torch module names it; empty: in front of the last dense layer.
    """

    epsilon: float = 0.1
    layer: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < 0.5:
            raise UsageError(f"epsilon={self.epsilon!r} is not allowed; give a share above 0 and below 0.5")

    def kept(self, fit: Fit, x: Any, y: Any, seed: int) -> NDArray[np.bool_]:
        """Which rows stay ``(n,)``."""
        return unsuspected(self, fit, x, y, seed)

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same recipe on the rows that stay."""
        return sifted(self, recipe)

    def false_positives(self, recipe: Recipe, seed: int = 0) -> float:
        """Share of rows left out of data that are clean."""
        return dropped(self, recipe, seed)

    def flagged(self, recipe: Recipe, seed: int = 0) -> Flags:
        """What is suspected in the recipe's data, with the score of each row."""
        return flagged_by(self, recipe, seed)

    def flag(self, model: Target, x: Any, y: Any) -> Flags:
        """The suspects among training rows ``x, y`` of a model."""
        seen, labels = representation(model, x, self.layer), np.asarray(to_numpy(y))
        score, flagged = np.zeros(len(labels)), np.zeros(len(labels), bool)
        for label in np.unique(labels):
            rows = np.flatnonzero(labels == label)
            score[rows] = outlying(seen.values[rows])
            leave = int(1.5 * self.epsilon * len(rows))
            flagged[rows[np.argsort(-score[rows], kind="stable")[:leave]]] = True
        return Flags(flagged, score, seen.source)


def outlying(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared length of each row ``(n, f)`` along the first singular direction, the mean taken off first."""
    centred = values - values.mean(0)
    # The Gram matrix of the smaller side has the same singular values: a class of thousands of rows costs f x f.
    if centred.shape[0] < centred.shape[1]:
        size, left = np.linalg.eigh(centred @ centred.T)
        return np.asarray(max(size[-1], 0.0) * left[:, -1] ** 2)
    _, right = np.linalg.eigh(centred.T @ centred)
    return np.asarray((centred @ right[:, -1]) ** 2)
