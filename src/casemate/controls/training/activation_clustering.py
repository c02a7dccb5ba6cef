"""Activation clustering: a class that holds poison falls into two parts, one of them small."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.control import control
from ...core.errors import UsageError, need
from ...core.target import Recipe, Target, to_numpy
from ._activations import representation
from ._filter import Flags, flagged_by, unsuspected
from ._sift import Fit, dropped, sifted

_LEAST = 8  # rows of a class: fewer fall into two parts by themselves


@control(
    "training.activation_clustering",
    knows=("poisoning.adaptive_blend", "poisoning.badnets"),
    threats=("PO-03",),
    side_effects="training twice; a class that is made of two kinds by nature loses the smaller one",
    trains=True,
)
class ActivationClustering:
    """Cluster the activations of each class in two, and leave out a part that is small and far from the other (Chen et al.
    2018, arXiv:1811.03728).

    The activations of a class are reduced by principal components and split by k-means. The paper takes independent ones, which
    are scaled alike: a small part that lies apart in one direction then weighs as little as any noise. `principal` off does so.
    The smaller part is flagged where it holds at most `share` of the class and the silhouette of the split
    is at least `apart`: the paper's two signs, both asked for, since any class can be cut in two.

    Args:
        components: Dimensions to reduce to.
        share: Most of a class that may be called poison.
        apart: Least silhouette of the split, from 0 (no split at all) to 1.
        principal: Reduce by principal components; otherwise by independent ones, where those converge.
        layer: Where to look, as `named_modules` of a torch module names it; empty: in front of the last dense layer.
    """

    detects: ClassVar[bool] = True  # finding nothing, it changes nothing

    components: int = 10
    share: float = 0.35
    apart: float = 0.15
    principal: bool = True
    layer: str = ""

    def __post_init__(self) -> None:
        if self.components < 1 or not 0 < self.share <= 0.5 or not 0 <= self.apart <= 1:
            raise UsageError(f"{self!r} is not allowed; give components from 1, share in (0, 0.5], apart in [0, 1]")

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
            if len(rows) < _LEAST or not np.ptp(seen.values[rows], axis=0).any():
                continue
            small, apart = self._split(seen.values[rows])
            score[rows] = np.where(small, apart, 0.0)
            flagged[rows] = small & (small.mean() <= self.share) & (apart >= self.apart)
        return Flags(flagged, score, seen.source)

    def _split(self, values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], float]:
        """Which rows are in the smaller of two parts, and how far apart they are (silhouette)."""
        need("sklearn", "sklearn", "activation clustering")
        from sklearn.cluster import KMeans
        from sklearn.metrics import silhouette_score

        low = self._reduced(values)
        part = KMeans(2, n_init=4, random_state=0).fit_predict(low)
        if len(np.unique(part)) < 2:
            return np.zeros(len(low), bool), 0.0
        small = part == (1 if (part == 1).sum() <= (part == 0).sum() else 0)
        return small, max(0.0, float(silhouette_score(low, part)))

    def _reduced(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        import warnings

        from sklearn.decomposition import PCA, FastICA
        from sklearn.exceptions import ConvergenceWarning

        size = min(self.components, *values.shape)
        size = min(size, int(np.linalg.matrix_rank(values - values.mean(0))))
        if not self.principal:
            with warnings.catch_warnings():
                warnings.simplefilter("error", ConvergenceWarning)
                try:
                    return np.asarray(FastICA(size, whiten="unit-variance", random_state=0, max_iter=500).fit_transform(values))
                except ConvergenceWarning:
                    pass  # principal components it is
        return np.asarray(PCA(size, random_state=0).fit_transform(values))
