"""Poison that makes others' records leak: wrong copies of a record turn it into an outlier that a model must learn by heart."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer, Records
from ...core.errors import BadInput, BudgetSpent
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import take
from .._shadows import Extra, labels_of, shadows
from ._answers import guesses, interview
from .lira import FEW, Laws

ADDED = 1 << 40  # an index that no training set reaches: the record is added at its end


@attack(
    "privacy.truth_serum",
    needs=Need.LABEL | Need.SCORE | Need.CONTRIBUTE,
    scope="set",
    papers=("arXiv:2204.00032",),
    aka=("Truth Serum", "poison-amplified membership inference"),
    spends="`copies` records for each of up to `targets` candidates; 1 query per candidate; `shadows` trainings of one's own",
    modality=("array", "table", "bytes", "text"),
    static_cost=lambda a: 1,
)
class TruthSerum:
    """Write copies of candidates with one wrong label each, let the owner train again, then infer membership as LiRA does.

    It takes two powers at once, and neither alone does it: to write training records, and to see scores. The shadows are
    trained with the same poison. Candidates that are not poisoned are judged by the same shadows; `targets` in the evidence
    names the poisoned ones.

    Args:
        copies: Records written for each poisoned candidate. The paper writes 8 into fifty thousand; into a few hundred, fewer
            copies of more candidates tell more.
        targets: Most candidates poisoned, chosen at random.
        share: Most records written, as a share of the number of candidates: too many spoil the model, and are noticed.
        shadows: Models to train, an even number; each record is in half of them.
        seed: Of the shadows.
    """

    copies: int = 4
    targets: int = 250
    share: float = 0.25
    shadows: int = 64
    seed: int = 0

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        if self.copies < 1 or self.targets < 1 or not self.share > 0:
            allowed = "copies and targets count from 1 up, share is above 0"
            raise BadInput(f"privacy.truth_serum: {allowed}; got {self.copies}, {self.targets}, {self.share}")
        y = labels_of(case, "privacy.truth_serum")
        chosen = self._chosen(len(y), oracle.adversary.budget.records, rng)
        wrong = np.repeat(other_labels(y, chosen, rng), self.copies)
        poison = take(case.x, np.repeat(chosen, self.copies))
        after = oracle.retrained(Records(index=ADDED + np.arange(len(wrong)), x=poison, y=wrong))
        claim, laws = None, None
        for told in interview(after, case, rng, "privacy.truth_serum"):
            if laws is None:
                extra = Extra(x=poison, y=wrong)
                models = shadows(
                    oracle, case, classes=told.logits.shape[1], many=self.shadows, seed=self.seed, extra=extra,
                    who="privacy.truth_serum",
                )  # fmt: skip
                laws = Laws(models, told.y, pooled=len(models) < FEW)
            score = laws.score(told)
            detail: dict[str, Any] = {"targets": chosen.tolist(), "records": len(wrong), "copies": self.copies}
            claim = guesses(score, told, score > 0, detail | models.detail)
            yield claim
        assert claim is not None  # replies raise where nothing at all comes back
        return claim

    def _chosen(self, n: int, cap: int | None, rng: RowRandom) -> NDArray[np.int64]:
        """Who is poisoned, as many as the records suffice for."""
        if cap is not None and cap < self.copies:
            raise BudgetSpent(f"{cap} records are fewer than the {self.copies} copies of one candidate")
        most = max(1, min(self.targets, n, int(self.share * n) // self.copies))
        many = most if cap is None else min(most, cap // self.copies)
        return np.sort(np.argsort(rng.uniform(np.arange(n), 1), kind="stable")[:many])


def other_labels(y: NDArray[np.int64], chosen: NDArray[np.int64], rng: RowRandom) -> NDArray[np.int64]:
    """One wrong label for each chosen record, among those that occur."""
    classes = np.unique(y)
    step = 1 + rng.integers(chosen, 2, len(classes) - 1)
    return np.asarray(classes[(np.searchsorted(classes, y[chosen]) + step) % len(classes)])
