"""Canaries: records planted by coin flips, so that what a model remembers of them bounds its privacy."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Audit, Guesses
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._shadows import shadows
from ._answers import guesses, interview
from .lira import FEW, Laws


@attack(
    "privacy.canary",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    case="audit",
    papers=("arXiv:2305.08846", "arXiv:1802.08232"),
    aka=("one-run audit", "canary exposure", "DP audit"),
    spends="1 query per canary; `shadows` trainings of the attacker's own",
    modality=("array", "table", "bytes", "text"),
    static_cost=lambda a: 1,
)
class Canary:
    """Score each canary by how confident the model is of the (wrong) label it carries; the upper half are called members.

    Only the order of the scores matters: from it the judge derives how private training was at most, and how exposed each canary
    is. With shadows the score is the likelihood ratio of `privacy.lira`, which also knows how hard each canary is to learn.

    Args:
        shadows: Models to train, an even number; 0 trains none.
        seed: Of the shadows.
    """

    shadows: int = 0
    seed: int = 0

    def __call__(self, oracle: Oracle, case: Audit, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        claim: Guesses | None = None
        laws, detail = None, dict[str, Any]()
        for told in interview(oracle, case, rng, "privacy.canary"):
            if self.shadows and laws is None:
                classes = told.logits.shape[1]
                models = shadows(oracle, case, classes=classes, many=self.shadows, seed=self.seed, who="privacy.canary")
                laws, detail = Laws(models, told.y, pooled=len(models) < FEW), models.detail
            score = told.confidence if laws is None else laws.score(told)
            claim = guesses(score, told, score > float(np.median(score[told.asked])), detail)
            yield claim
        assert claim is not None  # replies raise where nothing at all comes back
        return claim
