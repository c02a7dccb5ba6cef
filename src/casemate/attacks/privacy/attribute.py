"""Attribute inference: try every value of a hidden column and see which one the model recognises."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Attribute, Values
from ...core.disclosure import filled
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Response, count, take, to_numpy
from .._questions import replies
from ._imputation import Reading, best_kind, chances, codes, column_of, joined, left_out
from .loss_threshold import kind_of_loss, losses

Floats = NDArray[np.float64]
HOW = ("bayes", "csmia", "learned")
HEAVY = 5.0  # the largest weight of an answer against imputation
MOST = 0.45  # how often a model that shows labels only is taken to be wrong, at most


@attack(
    "privacy.attribute",
    needs=Need.LABEL,
    scope="set",
    case="attribute",
    papers=("doi:10.1145/2810103.2813677", "arXiv:2201.09370"),
    aka=("attribute inference", "CSMIA", "model inversion of an attribute"),
    spends="1 query per candidate and value; learned, the same for `reference` records of the population",
    modality=("array", "table"),
)
class AttributeInference:
    """Fill in each value in turn, and say the one under which the model is surest of the true label.

    Differs from the first paper, which multiplies by the share of each value in the population: here the chance of each value
    is learned from the rest of the record, so that nothing an imputation knows is given away. Where labels only are shown, the
    model is taken to be wrong as often as no value at all makes it right. Questions go out record by record, in random order;
    a record not asked about gets what imputation says.

    Args:
        how: "bayes": the chance of a value by the rest of the record, times what the model gives the true label under it.
            "csmia": by confidence alone: of the values under which the model is right, the one it is surest of; where it is
            never right, the one it is least sure of.
            "learned": imputation and answers, these with the weight (not below 0) that fits the population best, which must
            be there. Its people are no members: what a model only remembers weighs too little.
        column: Which column is looked for, where a description names several as sensitive; None: the first.
        reference: Most records of the population asked about where the reading is learned.
    """

    how: str = "bayes"
    column: str | int | None = None
    reference: int = 300

    def __post_init__(self) -> None:
        if self.how not in HOW or self.reference < 0:
            raise BadInput(f"privacy.attribute: how={self.how!r}, reference={self.reference}; give one of {HOW}, and 0 or more")

    def __call__(self, oracle: Oracle, case: Attribute, *, rng: RowRandom) -> Generator[Values, None, Values]:
        if self.column is not None and str(self.column) != str(case.column):
            raise BadInput(f"privacy.attribute looks for {self.column!r}, and the case hides {case.column!r}; name the same")
        n, k = count(case.x), len(case.values)
        order = np.argsort(rng.uniform(np.arange(n), 0), kind="stable")
        seen = _Seen.empty(n, k, np.asarray(to_numpy(case.y)))
        guess = _Guess(self.how, case)
        for reply in replies(oracle, _tried(case.x, case, order), (order[:, None] * k + np.arange(k)).ravel()):
            seen.note(order[reply.places // k], reply.places % k, reply.response)
            claim = guess(seen)
            yield claim
        if self.how == "learned":
            yield from self._compare(oracle, case, guess, n * k)
            claim = guess(seen)
        yield claim
        return claim

    def _compare(self, oracle: Oracle, case: Attribute, guess: _Guess, first: int) -> Generator[Values, None, None]:
        """Ask about people whose value is known: how the answers are to be read."""
        assert case.population is not None and guess.held is not None
        k = len(case.values)
        code = codes(column_of(case.population.x, case.column), case.values)
        few = np.flatnonzero(code >= 0)[: self.reference]
        if not len(few):
            return
        x, y = take(case.population.x, few), np.asarray(to_numpy(case.population.y))[few]
        seen = _Seen.empty(len(few), k, y)
        ids = first + np.arange(len(few) * k)
        for reply in replies(oracle, _tried(x, case, np.arange(len(few))), ids):
            seen.note(reply.places // k, reply.places % k, reply.response)
            guess.reference = seen, code[few]
        yield from ()


def _tried(x: Any, case: Attribute, order: NDArray[np.int64]) -> Any:
    """Every record with every value, record by record in `order`."""
    x, k = take(x, order), len(case.values)
    whole = filled(x, case.column, case.values[0])
    for value in case.values[1:]:
        whole = joined(whole, filled(x, case.column, value))
    n = count(x)
    return take(whole, np.arange(n * k).reshape(k, n).T.ravel())


@dataclass(slots=True)
class _Seen:
    """What the model said of some records under every value.

    Args:
        y: ``(n,)`` true labels.
        loss: ``(n, k)`` of the true label.
        right: ``(n, k)`` whether the decision was the true label.
        top: ``(n, k)`` the largest score.
        asked: ``(n, k)`` booleans.
        how: Which loss it is, as in `loss_threshold`.
    """

    y: NDArray[Any]
    loss: Floats
    right: NDArray[np.bool_]
    top: Floats
    asked: NDArray[np.bool_]
    how: str = field(default="gap")

    @staticmethod
    def empty(n: int, k: int, y: NDArray[Any]) -> _Seen:
        return _Seen(y, np.zeros((n, k)), np.zeros((n, k), bool), np.ones((n, k)), np.zeros((n, k), bool))

    def note(self, rows: NDArray[np.int64], value: NDArray[np.int64], response: Response) -> None:
        self.how = kind_of_loss(response, self.y)
        self.loss[rows, value] = losses(response, self.y[rows], self.how)
        self.right[rows, value] = np.asarray(response.label) == self.y[rows]
        if response.scores is not None:
            self.top[rows, value] = response.scores.max(1)
        self.asked[rows, value] = True

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Records asked about under every value ``(n,)``."""
        return np.asarray(self.asked.all(1))

    def worth(self) -> Floats:
        """The log-likelihood of the true label under each value ``(n, k)``, up to what all values of a record share."""
        if self.how == "log" or not self.whole.any():
            return -self.loss
        if self.how == "gap":
            never = np.asarray(~self.right[self.whole].any(1))
            slip = min(float((never.sum() + 1) / (len(never) + 2)), MOST)
            wrong = slip / max(len(np.unique(self.y)) - 1, 1)
            return np.asarray(np.where(self.right, np.log(1 - slip), np.log(wrong)))
        least = float(np.median(self.loss[self.whole].min(1)))
        return -self.loss / (2 * max(least, 1e-12))


class _Guess:
    """From answers to values."""

    def __init__(self, how: str, case: Attribute) -> None:
        self.how, self.case, self.reference = how, case, (None, None)  # type: tuple[str, Attribute, Any]
        # The model's answer speaks of the label given the record: only the learned reading may use the label twice.
        self.held = Reading.of(case, label=how == "learned")
        if how == "learned" and self.held is None:
            raise BadInput("privacy.attribute(how='learned') learns from people whose value is known; give population=")
        n, k = count(case.x), len(case.values)
        self.kind, self.prior = "", np.full((n, k), 1.0 / k)
        if self.held is not None:
            self.kind = best_kind(self.held)
            self.prior = chances(self.kind, self.held.known, self.held.code, self.held.asked, k)

    def __call__(self, seen: _Seen) -> Values:
        score = np.log(self.prior)
        if self.how == "csmia":
            answer = np.where(seen.right, 2 + seen.top, 1 - seen.top) + 1e-6 * self.prior.mean(0)
            score = np.where(seen.whole[:, None], answer, score)
        elif self.how == "learned" and self.reference[0] is not None:
            score = np.where(seen.whole[:, None], self._learned(seen), score)
        elif self.how == "bayes":
            score = score + np.where(seen.whole[:, None], seen.worth(), 0.0)
        ranked = np.sort(score, axis=1)
        detail = {"how": self.how, "answers": seen.how, "asked": int(seen.whole.sum()), "imputed_by": self.kind or "nothing"}
        value = np.asarray(self.case.values)[score.argmax(1)]
        return Values(value=value, sure=ranked[:, -1] - ranked[:, -2], detail=detail | {"column": str(self.case.column)})

    def _learned(self, seen: _Seen) -> Floats:
        """What imputation says and what the model answers, weighed against each other as fits the population best."""
        known, code = self.reference
        assert self.held is not None
        whole = known.whole
        # The records asked about are the first of the population, in its order.
        beside, worth = np.log(left_out(self.kind, self.held))[: len(code)][whole], _centred(known.worth())[whole]
        own, due = np.arange(int(whole.sum())), code[whole]

        def lost(weight: float) -> float:
            said = beside + weight * worth
            top = said.max(1)
            return float((np.log(np.exp(said - top[:, None]).sum(1)) + top - said[own, due]).mean())

        weight = float(minimize_scalar(lost, bounds=(0.0, HEAVY), method="bounded").x) if len(own) else 1.0
        return np.asarray(np.log(self.prior) + weight * _centred(seen.worth()))


def _centred(worth: Floats) -> Floats:
    """What tells the values of a record apart, bounded: a model can be certain and wrong."""
    return np.asarray(np.clip(worth - worth.mean(1, keepdims=True), -20.0, 20.0))
