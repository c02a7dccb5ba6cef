"""Learning-based extraction: ask, train on the answers, and hand in whatever agrees best."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal

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

STRATEGIES = ("random", "uncertainty", "kcenter", "both")
KINDS = ("logistic", "boosting", "forest", "network")
_GOOD = 0.99  # held-out agreement from which no further candidate is tried
_LEAST = 0.05  # a class less likely than this teaches nothing and costs a training row


@attack(
    "extraction.learning",
    needs=Need.LABEL,
    scope="set",
    papers=("arXiv:1812.02766", "arXiv:1609.02943", "arXiv:1905.09165"),
    aka=("Knockoff", "ActiveThief", "CopyCat", "surrogate", "model stealing"),
    spends="case.queries queries",
    modality=("array", "table"),
)
class LearningExtraction:
    """Query the rows of the pool, then mixes of them (or points of the domain), and train surrogates on the answers.

    Candidates are a logistic regression and, of few features, gradient boosting, of many, a small network; the one that
    agrees best with a fifth of the answers kept aside is trained on all of them. Scores are learned as soft labels where
    they are shown. Yields a copy at each of `marks` query counts, each twice the one before.

    With another strategy than ``random`` the first block is random, and each of `rounds` further ones is chosen by the copy so
    far from `candidates` times as many inputs: those it is least sure of (``uncertainty``), those farthest from all others in
    what it says of them (``kcenter``), or the second among the first (``both``, as ActiveThief, arXiv:1905.09165). Random
    questions are the baseline, and hard to beat: run both.

    Args:
        strategy: How questions are chosen.
        rounds: Blocks after the first, where questions are chosen.
        candidates: How many times as many inputs a block is chosen from.
        learners: What is trained, of ``logistic``, ``boosting``, ``forest`` and ``network``; none: as said above.
        marks: How many copies on the way.
        width: From how many features on a network takes the place of gradient boosting.
        hidden: Units of the network's one hidden layer.
    """

    strategy: Literal["random", "uncertainty", "kcenter", "both"] = "random"
    rounds: int = 8
    candidates: int = 5
    learners: tuple[str, ...] = ()
    marks: int = 3
    width: int = 64
    hidden: int = 64

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        need("sklearn", "sklearn", "extraction.learning trains surrogates and")
        size = int(min(case.queries, max(oracle.affordable, 0)))
        if size < 2:
            raise BudgetSpent(f"{size} queries are too few to learn from")
        wrong = [kind for kind in self.learners if kind not in KINDS]
        if wrong or self.strategy not in STRATEGIES:
            raise BadInput(f"strategy={self.strategy!r}, learners={wrong}: give one of {STRATEGIES}, and of {KINDS}")
        x = draw(case, rng, size if self.strategy == "random" else size * self.candidates, 0)
        if not hasattr(x, "iloc") and np.asarray(take(x, [0])).dtype.kind not in "fiub":
            raise BadInput("extraction.learning reads arrays of numbers and tables")
        book, waiting, claim, early = _Book(), np.arange(count(x)), None, None
        for end in self._ends(size):
            chosen = self._chosen(claim, x, waiting, end - book.asked)
            waiting = np.setdiff1d(waiting, chosen, assume_unique=True)
            before = len(book.places)
            try:
                book.ask(oracle, x, chosen)
            except (BudgetSpent, Refused) as stopped:
                early = stopped
            if len(book.places) > before:
                claim = self._trained(take(x, book.places), *book.answers(), rng.seed & 0x7FFFFFFF)
                yield claim.copy
            if early is not None:
                raise early
        assert claim is not None  # replies raises where nothing at all comes back
        return claim.copy

    def _ends(self, size: int) -> list[int]:
        """How many questions have been asked after each block."""
        if self.strategy == "random":
            return sorted({max(2, size >> shift) for shift in range(self.marks)})
        return sorted({max(2, int(end)) for end in np.linspace(size / (self.rounds + 1), size, self.rounds + 1)})

    def _chosen(self, learned: _Learned | None, x: Any, waiting: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """The next questions, of those `waiting`, which are in random order."""
        if learned is None or self.strategy == "random" or learned.says is None:
            return waiting[:size]
        says = learned.says(take(x, waiting))
        order = np.argsort((says * np.log(np.maximum(says, 1e-12))).sum(1), kind="stable")  # the least sure first
        if self.strategy == "uncertainty":
            return waiting[order[:size]]
        known = learned.says(learned.x)
        if self.strategy == "kcenter":
            return waiting[_spread(says, known, size)]
        few = order[: 3 * size]
        return waiting[few[_spread(says[few], known, size)]]

    def train(self, x: Any, labels: NDArray[Any], scores: NDArray[Any] | None, seed: int) -> Replica:
        """A copy from answers alone: the surrogate that agrees best with some kept aside, trained on all of them."""
        return self._trained(x, labels, scores, seed).copy

    def _trained(self, x: Any, labels: NDArray[Any], scores: NDArray[Any] | None, seed: int) -> _Learned:
        """The surrogate that agrees best with held-out answers, trained on all of them."""
        from threadpoolctl import threadpool_limits

        read = Features.of(x)
        a = read(x)
        names, codes = np.unique(labels, return_inverse=True)
        if len(names) < 2:
            constant = {"model": "constant", "answers": len(labels)}
            return _Learned(Replica(labels=lambda x: np.repeat(names, count(x)), detail=constant), None, x)
        soft = _soft(scores, labels, names, codes)
        cut = max(1, len(a) - len(a) // 5)
        agreement: dict[str, float] = {}
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a surrogate that has not converged is judged by its agreement
            kinds = self.learners or ("logistic", "network" if a.shape[1] > self.width else "boosting")
            for kind in kinds if cut < len(a) else kinds[:1]:
                if len(np.unique(codes[:cut])) < 2:  # of one class there is nothing to choose a learner by
                    agreement[kind] = 0.0
                    break
                part = None if soft is None else soft[:cut]
                found = _fit(kind, self._model(kind, seed, a.shape[1]), a[:cut], codes[:cut], part)
                agreement[kind] = float((found.predict(a[cut:]) == codes[cut:]).mean()) if cut < len(a) else 0.0
                if agreement[kind] >= _GOOD:
                    break
            best = max(agreement, key=lambda kind: agreement[kind])
            model = _fit(best, self._model(best, seed, a.shape[1]), a, codes, soft)

        def says(x: Any) -> NDArray[np.float64]:
            with threadpool_limits(1):
                return np.asarray(model.predict_proba(read(x)), np.float64)

        def classify(x: Any) -> NDArray[Any]:
            with threadpool_limits(1):
                return np.asarray(names[model.predict(read(x))])

        detail = {
            "model": best, "held_out_agreement": agreement, "answers": len(a), "soft": soft is not None,
            "strategy": self.strategy,
        }  # fmt: skip
        plain = labels.dtype.kind in "iu" and np.array_equal(names, np.arange(len(names)))
        return _Learned(Replica(labels=classify, scores=says if plain else None, detail=detail), says, x)

    def _model(self, kind: str, seed: int, features: int) -> Any:
        if kind == "logistic":
            from sklearn.linear_model import LogisticRegression

            # Of many features the last digits cost minutes and change no label.
            return LogisticRegression(C=10.0, max_iter=300 if features <= self.width else 60)
        if kind == "boosting":
            from sklearn.ensemble import HistGradientBoostingClassifier

            return HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, min_samples_leaf=5, random_state=seed)
        if kind == "forest":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(100, random_state=seed)
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier((self.hidden,), max_iter=60, learning_rate_init=0.003, alpha=1e-3, random_state=seed)


@dataclass(frozen=True, slots=True)
class _Learned:
    """A copy, what it says of inputs (shares of classes ``(n, k)``; None of a constant), and what it was trained on."""

    copy: Replica
    says: Any
    x: Any


class _Book:
    """Questions asked and answers got."""

    def __init__(self) -> None:
        self.asked, self.places = 0, np.zeros(0, np.int64)
        self._labels: list[NDArray[Any]] = []
        self._scores: list[NDArray[Any] | None] = []

    def ask(self, oracle: Oracle, x: Any, chosen: NDArray[np.int64]) -> None:
        """Ask about the rows `chosen` of `x`. What is answered stays, whatever ends it."""
        ids, self.asked = self.asked + np.arange(len(chosen)), self.asked + len(chosen)
        for reply in replies(oracle, take(x, chosen), ids):
            self.places = np.concatenate([self.places, chosen[reply.places]])
            self._labels.append(reply.response.label)
            self._scores.append(reply.response.scores)

    def answers(self) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Labels ``(n,)``, and scores ``(n, k)`` where all answers show them."""
        shown = [s for s in self._scores if s is not None]
        return np.concatenate(self._labels), np.concatenate(shown) if len(shown) == len(self._scores) else None


def _spread(points: NDArray[np.float64], known: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Greedy k-center: each time the point ``(n, k)`` farthest from all `known` and chosen ones."""
    nearest = np.full(len(points), np.inf)
    for center in known:
        nearest = np.minimum(nearest, ((points - center) ** 2).sum(1))
    chosen = []
    for _ in range(min(size, len(points))):
        best = int(nearest.argmax())
        chosen.append(best)
        nearest = np.minimum(nearest, ((points - points[best]) ** 2).sum(1))
        nearest[best] = -1.0
    return np.array(chosen, np.int64)


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
