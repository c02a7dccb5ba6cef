"""Learning-based extraction: ask, train on the answers, and hand in whatever agrees best."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Copy, Replica
from ...core.errors import BadInput, BudgetSpent, Refused, need
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take
from .._features import Features
from .._questions import replies
from ._axes import draw

_GOOD = 0.99  # held-out agreement from which no further candidate is tried
_LEAST = 0.05  # a class less likely than this teaches nothing and costs a training row


@attack(
    "extraction.learning",
    needs=Need.LABEL,
    scope="set",
    papers=("arXiv:1812.02766", "arXiv:1609.02943"),
    aka=("Knockoff", "surrogate", "model stealing"),
    spends="case.queries queries",
    modality=("array", "table"),
)
class LearningExtraction:
    """Query the rows of the pool, then mixes of them (or points of the domain), and train surrogates on the answers.

    Candidates are a logistic regression and, of few features, gradient boosting, of many, a small network; the one that
    agrees best with a fifth of the answers kept aside is trained on all of them. Scores are learned as soft labels where
    they are shown. Yields a copy at each of `marks` query counts, each twice the one before.

    Args:
        marks: How many copies on the way.
        width: From how many features on a network takes the place of gradient boosting.
        hidden: Units of the network's one hidden layer.
    """

    marks: int = 3
    width: int = 64
    hidden: int = 64

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        need("sklearn", "sklearn", "extraction.learning trains surrogates and")
        size = int(min(case.queries, max(oracle.affordable, 0)))
        if size < 2:
            raise BudgetSpent(f"{size} queries are too few to learn from")
        x = draw(case, rng, size, 0)
        if not hasattr(x, "iloc") and np.asarray(take(x, [0])).dtype.kind not in "fiub":
            raise BadInput("extraction.learning reads arrays of numbers and tables")
        ends = sorted({max(2, size >> shift) for shift in range(self.marks)})
        places, labels = np.zeros(0, int), list[NDArray[Any]]()
        scores: list[NDArray[Any] | None] = []
        start, claim, early = 0, None, None
        for end in ends:
            before = len(places)
            try:
                for reply in replies(oracle, take(x, np.arange(start, end)), np.arange(start, end)):
                    places = np.concatenate([places, start + reply.places])
                    labels.append(reply.response.label)
                    scores.append(reply.response.scores)
            except (BudgetSpent, Refused) as stopped:
                early = stopped
            start = end
            if len(places) > before:
                shown = [s for s in scores if s is not None]
                soft = np.concatenate(shown) if len(shown) == len(scores) else None
                claim = self.train(take(x, places), np.concatenate(labels), soft, rng.seed & 0x7FFFFFFF)
                yield claim
            if early is not None:
                raise early
        assert claim is not None  # replies raises where nothing at all comes back
        return claim

    def train(self, x: Any, labels: NDArray[Any], scores: NDArray[Any] | None, seed: int) -> Replica:
        """The surrogate that agrees best with held-out answers, trained on all of them."""
        from threadpoolctl import threadpool_limits

        read = Features.of(x)
        a = read(x)
        names, codes = np.unique(labels, return_inverse=True)
        if len(names) < 2:
            return Replica(labels=lambda x: np.repeat(names, count(x)), detail={"model": "constant", "answers": len(labels)})
        soft = _soft(scores, labels, names, codes)
        cut = max(1, len(a) - len(a) // 5)
        agreement: dict[str, float] = {}
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a surrogate that has not converged is judged by its agreement
            kinds = ("logistic", "network" if a.shape[1] > self.width else "boosting")
            for kind in kinds if cut < len(a) and len(np.unique(codes[:cut])) > 1 else kinds[:1]:
                part = None if soft is None else soft[:cut]
                found = _fit(kind, self._model(kind, seed, a.shape[1]), a[:cut], codes[:cut], part)
                agreement[kind] = float((found.predict(a[cut:]) == codes[cut:]).mean()) if cut < len(a) else 0.0
                if agreement[kind] >= _GOOD:
                    break
            best = max(agreement, key=lambda kind: agreement[kind])
            model = _fit(best, self._model(best, seed, a.shape[1]), a, codes, soft)

        def classify(x: Any) -> NDArray[Any]:
            with threadpool_limits(1):
                return np.asarray(names[model.predict(read(x))])

        detail = {"model": best, "held_out_agreement": agreement, "answers": len(a), "soft": soft is not None}
        return Replica(labels=classify, detail=detail)

    def _model(self, kind: str, seed: int, features: int) -> Any:
        if kind == "logistic":
            from sklearn.linear_model import LogisticRegression

            # Of many features the last digits cost minutes and change no label.
            return LogisticRegression(C=10.0, max_iter=300 if features <= self.width else 60)
        if kind == "boosting":
            from sklearn.ensemble import HistGradientBoostingClassifier

            return HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, min_samples_leaf=5, random_state=seed)
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier((self.hidden,), max_iter=60, learning_rate_init=0.003, alpha=1e-3, random_state=seed)


def _soft(scores: Any, labels: NDArray[Any], names: NDArray[Any], codes: NDArray[Any]) -> NDArray[np.float64] | None:
    """Scores as soft labels over the classes seen ``(n, k)``, where the decision is the best score; else None."""
    if scores is None or scores.ndim != 2 or labels.dtype.kind not in "iu":
        return None
    if names.min() < 0 or names.max() >= scores.shape[1] or (scores.argmax(1) != labels).any():
        return None
    seen = np.clip(scores[:, names].astype(np.float64), 0, 1)
    total = seen.sum(1, keepdims=True)
    return np.asarray(np.where(total > 0, seen / np.maximum(total, 1e-12), np.eye(len(names))[codes]))


def _fit(kind: str, model: Any, a: NDArray[np.float64], codes: NDArray[Any], soft: NDArray[np.float64] | None) -> Any:
    """Train on hard labels, or on each row once for every class it may be, weighted by how likely that is."""
    if soft is None or kind == "boosting":  # on equal rows with different labels boosting takes ten times as long
        return model.fit(a, codes)
    row, column = np.nonzero((soft >= _LEAST) | (np.arange(soft.shape[1]) == codes[:, None]))
    weight = np.maximum(soft[row, column], _LEAST)
    return model.fit(a[row], column, sample_weight=weight)
