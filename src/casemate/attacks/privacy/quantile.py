"""Quantile regression: how confident would a model be of a record like this one that it never saw?"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer
from ...core.errors import BadInput, BudgetSpent, need
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take
from .._features import Features
from .._shadows import labels_of
from ._answers import Floats, Told, guesses, interview, neighbours

ENOUGH = 40  # records of the population: half teach the quantile, half say how far it is off


@attack(
    "privacy.quantile",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    papers=("arXiv:2307.03694",),
    aka=("quantile regression", "QMIA"),
    spends="1 query per candidate and at most `reference` more for the population",
    modality=("array", "table"),
    static_cost=lambda a: 2,
)
class QuantileRegression:
    """Say "member" where the confidence lies above the quantile that records never trained on keep below.

    On half of the population boosted trees learn the ``1 - alpha`` quantile of the confidence from the record and its label.
    On the other half the quantile is moved up or down until a share `alpha` lies above it, so that the false-positive rate is
    what it was asked to be. No model is trained to imitate the deployed one, and nothing about it need be known. The score is
    how far the confidence lies above the quantile.

    Args:
        alpha: The share of others that may be called members.
        reference: Most records of the population asked about.
        trees: Of the regression.
    """

    alpha: float = 0.1
    reference: int = 2000
    trees: int = 100

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        need("sklearn", "sklearn", "privacy.quantile learns a quantile and")
        if not 0 < self.alpha < 1 or self.trees < 1:
            raise BadInput(f"privacy.quantile: alpha lies between 0 and 1, trees from 1 up; got {self.alpha}, {self.trees}")
        size = 0 if case.population is None else min(count(case.population.x), self.reference)
        least = max(ENOUGH, int(np.ceil(2 / self.alpha)))
        if case.population is None or size < least:
            raise BadInput(
                f"privacy.quantile learns from records known not to be members, and there are {size}; give Infer(population=...) "
                f"with at least {least} (of which half must be enough for a share of {self.alpha:g})"
            )
        if oracle.affordable <= size:
            raise BudgetSpent(f"{oracle.affordable:.0f} queries do not cover the {size} records a quantile is learned from")
        others = list(neighbours(oracle, case, count(case.x), size, "privacy.quantile"))[-1]
        read = Features.of(case.population.x)
        known = np.flatnonzero(others.asked)
        fitted = self.fit(_rows(read, take(case.population.x, known), others.y[known]), others.confidence[known], rng)
        claim = None
        own = fitted(_rows(read, case.x, labels_of(case, "privacy.quantile")))
        for told in interview(oracle, case, rng, "privacy.quantile"):
            claim = self._decide(told, own, len(known))
            yield claim
        assert claim is not None
        return claim

    def _decide(self, told: Told, quantile: Floats, known: int) -> Guesses:
        score = told.confidence - quantile
        return guesses(score, told, score > 0, {"alpha": self.alpha, "population": known})

    def fit(self, rows: Floats, value: Floats, rng: RowRandom) -> Any:
        """A function from rows to the calibrated quantile of `value`.

        The correction is the quantile of the residuals of the half that was kept aside, rounded up, so that of as many others
        as were kept aside no more than the share `alpha` is expected above it.
        """
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        order = np.argsort(rng.uniform(np.arange(len(rows)), 3), kind="stable")
        learn, keep = order[: len(rows) // 2], order[len(rows) // 2 :]
        model = HistGradientBoostingRegressor(
            loss="quantile", quantile=1 - self.alpha, max_iter=self.trees, max_leaf_nodes=8, learning_rate=0.05,
            min_samples_leaf=max(5, int(1 / self.alpha)), early_stopping=False, random_state=rng.seed & 0x7FFFFFFF,
        )  # fmt: skip
        with threadpool_limits(1):
            model.fit(rows[learn], value[learn])
            off = np.sort(value[keep] - model.predict(rows[keep]))
        place = min(len(off), int(np.ceil((1 - self.alpha) * (len(off) + 1)))) - 1
        shift = float(off[place])

        def quantile(x: Floats) -> Floats:
            with threadpool_limits(1):
                return np.asarray(model.predict(x) + shift)

        return quantile


def _rows(read: Features, x: Any, y: NDArray[np.int64]) -> Floats:
    """Features and label of each record."""
    return np.concatenate([read(x), y[:, None].astype(float)], axis=1)
