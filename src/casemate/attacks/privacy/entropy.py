"""Modified entropy: a sure and right answer is a member's, held against a threshold of its class."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._shadows import Shadows, shadows
from ._answers import Floats, chances, guesses, interview

TINY = 1e-300


@attack(
    "privacy.entropy",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    papers=("arXiv:2003.10595",),
    aka=("modified entropy", "Mentr", "Song-Mittal"),
    spends="1 query per candidate; `shadows` trainings of the attacker's own",
    modality=("array", "table", "bytes", "text"),
    static_cost=lambda a: 1,
)
class ModifiedEntropy:
    """Say "member" where the modified entropy of the answer is below the threshold of its class.

    The modified entropy is 0 for a sure and right answer and grows without bound towards a sure and wrong one:
    ``-(1 - p_y) ln p_y - sum of p_i ln(1 - p_i) over the others``. Thresholds are those that tell members from others best
    on shadow models, whose members are known; the membership of the candidates takes no part. The score is how far the logarithm
    of the entropy lies below the logarithm of the threshold.

    Args:
        shadows: Models to train, an even number.
        seed: Of the shadows; attacks with the same seed share them.
    """

    shadows: int = 64
    seed: int = 0

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        claim, models = None, None
        for told in interview(oracle, case, rng, "privacy.entropy"):
            if models is None:
                classes = told.logits.shape[1]
                models = shadows(oracle, case, classes=classes, many=self.shadows, seed=self.seed, who="privacy.entropy")
                cuts = thresholds(models, told.y)
            score = cuts[told.y] - log_entropy(told.logits, told.y)
            claim = guesses(score, told, score >= 0, {"thresholds": np.exp(cuts).tolist()} | models.detail)
            yield claim
        assert claim is not None  # replies raise where nothing at all comes back
        return claim


def log_entropy(logits: Floats, y: NDArray[np.int64]) -> Floats:
    """The logarithm of the modified entropy, ``(..., n, k) -> (..., n)``; it tells answers apart that all round to 0."""
    p = chances(logits)
    rows = np.arange(len(y))
    true = p[..., rows, y]
    others = p.copy()
    others[..., rows, y] = 0.0
    doubt = others.sum(-1)  # 1 - p_y, which a difference would lose
    own = -doubt * np.where(true > 0.5, np.log1p(-np.minimum(doubt, 0.5)), np.log(np.maximum(true, TINY)))
    # 1 - p_i of the others: all but p_i, of which p_y is the most where p_i is near 1.
    rest = np.maximum(p.sum(-1, keepdims=True) - others, TINY)
    rest = np.where(others > 0.5, np.maximum(true[..., None], rest), rest)
    wrong = -(others * np.where(others > 0.5, np.log(rest), np.log1p(-np.minimum(others, 0.5)))).sum(-1)
    return np.asarray(np.log(np.maximum(own + wrong, TINY)))


def thresholds(models: Shadows, y: NDArray[np.int64]) -> Floats:
    """For each class the log of the entropy up to which a record is called a member ``(k,)``: the best on the shadows."""
    value = log_entropy(models.logits, y)
    found = np.full(models.logits.shape[2], best_cut(value.ravel(), models.inside.ravel()))
    for c in np.unique(y):
        found[c] = best_cut(value[:, y == c].ravel(), models.inside[:, y == c].ravel())
    return found


def best_cut(value: Floats, inside: NDArray[np.bool_]) -> float:
    """The value up to which to say "member" so that true less false positives is largest."""
    order = np.argsort(value, kind="stable")
    ordered, member = value[order], inside[order]
    gained = np.cumsum(member) / max(1, int(member.sum())) - np.cumsum(~member) / max(1, int((~member).sum()))
    ends = np.r_[ordered[1:] > ordered[:-1], True]  # equal values fall on the same side
    return float(ordered[np.argmax(np.where(ends, gained, -np.inf))])
