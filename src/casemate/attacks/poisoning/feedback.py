"""Poison in rounds: send records, see what the model trained on them answers, choose the next."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.poison import numeric
from ...core.random import RowRandom
from ...core.target import take, to_numpy
from ._records import affordable, labels_there, one_class, rows_known

NAME = "poisoning.feedback"
LEDGER = 4096  # rows of the ledger its questions are spread over, so that a budget for each row is one for each record


@attack(
    "poisoning.feedback",
    needs=Need.CONTRIBUTE | Need.LABEL,
    scope="set",
    papers=("arXiv:1804.00308",),
    aka=("feedback poisoning", "online poisoning", "stream poisoning", "model skewing"),
    spends="floor(fraction x n) records, and rounds x (records + probes) queries",
    modality=("array", "table", "bytes", "text"),
    static_cost=lambda a: a.rounds + 1,
)
class Feedback:
    """Feed a model that learns from feedback: in each round a few records under labels that pull it, then a look at its answers.

    The attacker contributes a random share of the records and may label them. It wants one class crowded out: in each round it
    asks the model trained on what it sent so far about its records, and labels those that the model still decides for the
    crowded class, and so the ones that still teach something, as another. Where none is left it goes on with the rest. Which
    class is crowded out is tried for in the first rounds, one class a round: the one whose first records changed most answers
    goes on. No scores and no training data of others are needed. What it reports on the way are shares of its own probes that
    are answered otherwise than at the beginning.

    Args:
        rounds: How often the owner trains again before the budget is spent; at least as many as there are classes to try.
        probes: Of its own records, how many it asks about in each round besides those it may send; no more than the case lets
            it know (`beside`).
    """

    rounds: int = 5
    probes: int = 50

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if self.rounds < 1 or self.probes < 0:
            raise BadInput(f"{NAME}: rounds={self.rounds!r}, probes={self.probes!r}: give at least one round")
        if not case.labels:
            raise BadInput(f"{NAME} writes labels, and the case asks for clean ones")
        classes, most = labels_there(case), affordable(oracle, case)
        if numeric(classes):
            raise BadInput(f"{NAME} is for classes, and the labels are numbers; poisoning.gradient is for those")
        rows = rows_known(oracle, case, rng, most)[: most + self.probes]
        loop = _Loop(oracle, case, one_class(classes, NAME), rows, min(most, len(rows)))
        return (yield from loop.run(self.rounds))


class _Loop:
    """The attacker's records (the first `most` of `rows`), what was sent of them, and what the model answers about all."""

    def __init__(self, oracle: Oracle, case: Poison, classes: NDArray[Any], rows: NDArray[np.int64], most: int) -> None:
        self.oracle, self.case, self.classes, self.rows, self.most = oracle, case, classes, rows, most
        self.y = np.asarray(to_numpy(take(case.recipe.y, rows)))
        self.sent: list[int] = []
        self.told: list[Any] = []
        self.before: NDArray[Any] = np.zeros(0)

    def run(self, rounds: int) -> Generator[Records, None, Records]:
        self.before = now = self._answers(self.oracle)
        size, gains = -(-self.most // rounds), np.full(len(self.classes), -1.0)
        for _ in range(rounds):
            few = min(size, self.most - len(self.sent))
            if not few:
                break
            out = self._next(now, gains)
            self._send(few, out, now)
            after = self._answers(self.oracle.retrained(self._claim()))
            gains[out] = max(gains[out], float((after != now).mean()))
            now = after
            yield self._claim()
        return self._claim()

    def _next(self, now: NDArray[Any], gains: NDArray[np.float64]) -> int:
        """Which class to crowd out: the commonest that was not tried, then the one that moved most."""
        common = np.array([(self.y == c).sum() for c in self.classes])
        fresh = np.flatnonzero((gains < 0) & (common > 0))
        tried = gains >= 0
        if len(fresh) and (tried.sum() < 2 or gains[tried].max() <= 0):
            return int(fresh[np.argmax(common[fresh])])
        return int(np.argmax(gains))

    def _send(self, few: int, out: int, now: NDArray[Any]) -> None:
        """Records of that class first, and of those the ones that are still decided as they were at the beginning."""
        left = np.setdiff1d(np.arange(self.most), self.sent)
        worth = 2 * (self.y[left] == self.classes[out]) + (now[left] == self.before[left])
        for place in left[np.argsort(-worth, kind="stable")[:few]].tolist():
            seat = int(np.searchsorted(self.classes, self.y[place]))
            # Records of other classes are given the crowded one: then that name means nothing any more.
            self.sent.append(place)
            self.told.append(self.classes[(out + 1) % len(self.classes) if seat == out else out])

    def _claim(self) -> Records:
        index = self.rows[np.array(self.sent, np.int64)]
        return Records(index=index, x=take(self.case.recipe.x, index), y=np.array(self.told, self.y.dtype))

    def _answers(self, oracle: Oracle) -> NDArray[Any]:
        x = take(self.case.recipe.x, self.rows)
        return np.asarray(to_numpy(oracle.labels(x, rows=np.arange(len(self.rows)) % LEDGER)))
