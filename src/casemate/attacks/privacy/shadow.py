"""The shadow attack: a model that learned, from models of one's own, what answers about members look like."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer
from ...core.errors import BadInput, need
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._shadows import Shadows, shadows
from ._answers import Floats, confidence, guesses, interview

ROWS = 10_000  # answers the attack model is trained on, at most; more move nothing but the clock


@attack(
    "privacy.shadow",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    papers=("arXiv:1610.05820",),
    aka=("Shokri", "shadow models", "attack model"),
    spends="1 query per candidate; `shadows` trainings and one of an attack model, the attacker's own",
    modality=("array", "table", "bytes", "text"),
    static_cost=lambda a: 1,
)
class ShadowModel:
    """Train an attack model on answers of shadow models to records they were trained on and to others.

    It sees the logarithms of the highest scores in order, the confidence in the true label, and the label; the paper trains one
    network for each class, here boosted trees take the class as one more input, which needs fewer answers for each. The score
    is the log of the odds it gives for a member, and even odds or better are called so.

    Args:
        shadows: Models to train, an even number.
        highest: How many of the highest scores it sees.
        trees: Of the attack model.
        seed: Of the shadows; attacks with the same seed share them.
    """

    shadows: int = 64
    highest: int = 3
    trees: int = 50
    seed: int = 0

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        need("sklearn", "sklearn", "privacy.shadow trains an attack model and")
        if self.highest < 1 or self.trees < 1:
            raise BadInput(f"privacy.shadow: highest and trees count from 1 up; got {self.highest}, {self.trees}")
        claim, judge = None, None
        for told in interview(oracle, case, rng, "privacy.shadow"):
            if judge is None:
                classes = told.logits.shape[1]
                models = shadows(oracle, case, classes=classes, many=self.shadows, seed=self.seed, who="privacy.shadow")
                judge = self.train(models, told.y, rng)
            score = judge(self.features(told.logits, told.y, told.confidence))
            claim = guesses(score, told, score >= 0, models.detail)
            yield claim
        assert claim is not None  # replies raise where nothing at all comes back
        return claim

    def features(self, logits: Floats, y: NDArray[np.int64], sure: Floats) -> Floats:
        """What the attack model sees of each answer, ``(n, min(highest, k) + 2)``."""
        z = np.asarray(logits, np.float64)
        top = z.max(-1, keepdims=True)
        logs = z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))
        high = -np.sort(-logs, axis=-1)[..., : self.highest]
        return np.concatenate([high, sure[..., None], y[..., None].astype(float)], axis=-1)

    def train(self, models: Shadows, y: NDArray[np.int64], rng: RowRandom) -> Callable[[Floats], Floats]:
        """The attack model: features to the log of the odds for a member."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits

        many, n = models.inside.shape
        each = np.arange(many * n)
        few = np.sort(np.argsort(rng.uniform(each, 4), kind="stable")[:ROWS])
        model, place = few // n, few % n
        logits, labels = models.logits[model, place], y[place]
        rows = self.features(logits, labels, confidence(logits, labels))
        fitted = HistGradientBoostingClassifier(
            max_iter=self.trees, max_leaf_nodes=15, learning_rate=0.05, early_stopping=False, random_state=rng.seed & 0x7FFFFFFF
        )
        with threadpool_limits(1):
            fitted.fit(rows, models.inside[model, place])

        def odds(seen: Floats) -> Floats:
            with threadpool_limits(1):
                return np.asarray(logit(np.clip(fitted.predict_proba(seen)[:, 1], 1e-12, 1 - 1e-12)))

        return odds
