"""Membership from labels alone: members lie further from the boundary than others."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer
from ...core.errors import BadInput, BudgetSpent
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from .._questions import replies
from .._shadows import labels_of
from ._boundary import PACK, Search, decided

Floats = NDArray[np.float64]
WHO = "privacy.label_only"


@attack(
    "privacy.label_only",
    needs=Need.LABEL,
    scope="set",
    papers=("arXiv:2007.14321", "arXiv:2007.15528"),
    aka=("label-only", "decision boundary distance", "augmentation votes"),
    spends="1 + 10 starts + rounds (probes + 11) queries per candidate that is decided rightly, or 1 + votes",
    modality=("array", "table"),
    static_cost=lambda a: 1 + (a.votes if a.how == "votes" else 10 * a.starts + a.rounds * (a.probes + 11)),
)
class LabelOnly:
    """Rank candidates by how firmly their label stands, asking for labels only; what is decided wrongly is no member.

    ``boundary`` looks for the nearest point that is decided otherwise (l2, in units of the inputs): it halves the line to the
    nearest candidates of another decision, feels out the slope of the boundary there with random probes, and goes along it;
    for a linear model that ends at ``abs(w x + b) / |w|``. ``votes`` asks about changed copies, with noise on numbers and with
    one column redrawn from other candidates in tables, and counts how many keep the label. The first claim is the gap attack.
    Candidates are gone through in random order, so that a budget that ends early leaves members and others alike.

    Args:
        how: ``boundary``, ``votes``, or ``auto``: the boundary of arrays, votes for tables.
        starts: Candidates of another decision that lines are halved to.
        rounds: How often the slope is felt out.
        probes: Random points for each round.
        votes: Changed copies of each candidate.
        noise: Standard deviation of the noise on them, as a share of that of each input value.
        threshold: The distance (or share of votes) from which a candidate is called a member. None: the median of what was
            found, which calls about half of the candidates members.
    """

    how: Literal["auto", "boundary", "votes"] = "auto"
    starts: int = 3
    rounds: int = 3
    probes: int = 40
    votes: int = 30
    noise: float = 0.3
    threshold: float | None = None

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        how = self._how(case)
        y, n = labels_of(case, WHO, least=2), count(case.x)
        book = _Book(y, np.argsort(rng.uniform(np.arange(n), 0), kind="stable"), self.threshold, how)
        for reply in replies(oracle, take(case.x, book.order), book.order):
            book.label[book.order[reply.places]] = reply.response.label
            yield book.claim()
        if how == "boundary" and not book.both:
            return book.claim()  # every candidate is decided alike: no boundary lies between them, and the gap stands
        search = Search(case.x, book.label, self, rng) if how == "boundary" else None
        each = self.static(how)
        for rows in book.packs(max(1, PACK // max(self.probes, self.votes))):
            if oracle.affordable < 1:
                raise BudgetSpent(f"{len(book.open())} candidates were not measured: the queries are spent")
            rows = rows[: max(1, int(min(len(rows), oracle.affordable / each)))]
            if search is not None:
                search.run(oracle, rows, book.value)
            else:
                book.value[rows] = self._votes(oracle, case.x, y, rows, rng)
            yield book.claim()
        return book.claim()

    def static(self, how: str) -> int:
        """Queries for one candidate after its label is known."""
        return self.votes if how == "votes" else 10 * self.starts + self.rounds * (self.probes + 11)

    def _how(self, case: Infer) -> str:
        counts = (self.starts, self.rounds, self.probes, self.votes)
        if self.how not in ("auto", "boundary", "votes") or min(counts) < 1 or not self.noise > 0:
            raise BadInput(
                f"{WHO}: how is auto, boundary or votes, noise is above 0, starts, rounds, probes and votes count from 1 up; got "
                f"how={self.how!r}, noise={self.noise}, {counts}"
            )
        table = hasattr(case.x, "iloc")
        numeric = not table and hasattr(case.x, "shape") and np.asarray(to_numpy(case.x)).dtype.kind in "fiub"
        if not table and not numeric:
            kind = type(case.x).__name__
            raise BadInput(f"{WHO} changes arrays of numbers and tables, and {kind} is neither; use privacy.loss_threshold")
        if table and self.how == "boundary":
            raise BadInput(f"{WHO}: tables have no straight line between two rows; give how='votes'")
        return ("votes" if table else "boundary") if self.how == "auto" else self.how

    def _votes(self, oracle: Oracle, x: Any, y: NDArray[np.int64], rows: NDArray[np.int64], rng: RowRandom) -> Floats:
        """The share of changed copies that keep the label, for each of `rows`."""
        changed, owner = self._changed(x, rows, rng), np.repeat(rows, self.votes)
        kept = decided(oracle, changed, owner) == y[owner]
        return np.asarray(kept.reshape(len(rows), self.votes).mean(1))

    def _changed(self, x: Any, rows: NDArray[np.int64], rng: RowRandom) -> Any:
        """`votes` changed copies of each of `rows`, one after the other."""
        many, n = self.votes, count(x)
        if not hasattr(x, "iloc"):
            array = np.asarray(to_numpy(x))
            blur = rng.normal(rows, 5, (many, *array.shape[1:])) * (self.noise * array.std(0))
            moved = array[rows][:, None] + blur
            return moved.reshape(-1, *array.shape[1:]).astype(array.dtype if array.dtype.kind == "f" else np.float64)
        copies = take(x, np.repeat(rows, many)).reset_index(drop=True)
        column = rng.integers(rows, 6, x.shape[1], (many,)).ravel()
        donor = rng.integers(rows, 7, n, (many,)).ravel()
        for place in range(x.shape[1]):
            here = np.flatnonzero(column == place)
            values = copies.iloc[:, place].copy()
            values.iloc[here] = x.iloc[donor[here], place].to_numpy()
            copies[copies.columns[place]] = values
        return copies


class _Book:
    """What is known by now: labels, and how firmly they stand."""

    def __init__(self, y: NDArray[np.int64], order: NDArray[np.int64], threshold: float | None, how: str) -> None:
        self.y, self.order, self.label = y, order, np.full(len(y), None, object)
        self.value = np.full(len(y), np.nan)
        self._threshold, self._how = threshold, how

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.label == self.y, bool)

    @property
    def both(self) -> bool:
        """Whether two candidates are decided otherwise than each other."""
        return len({str(label) for label in self.label if label is not None}) > 1

    def open(self) -> NDArray[np.int64]:
        """Candidates that are decided rightly and not measured yet, in random order."""
        return np.asarray(self.order[(self.right & np.isnan(self.value))[self.order]])

    def packs(self, size: int) -> Generator[NDArray[np.int64], None, None]:
        """The open ones, some at a time; a pack that was cut short comes back for the rest."""
        while len(rows := self.open()):
            yield rows[:size]

    def claim(self) -> Guesses:
        """Guesses from what is known: wrong ones below all others, those not measured at the median."""
        asked, right = self.label != np.array(None), self.right
        measured = self.value[~np.isnan(self.value)]
        middle = float(np.median(measured)) if len(measured) else 1.0
        firm = np.where(np.isnan(self.value), middle, self.value)
        score = np.where(right, firm, np.where(asked, -1.0, middle))
        cut = self._threshold
        if cut is None:
            cut = float(np.median(np.where(right, firm, 0.0)[asked])) if len(measured) and asked.any() else 0.0
        detail = {"how": self._how, "asked": int(asked.sum()), "measured": len(measured), "threshold": cut}
        return Guesses(score=score, member=right & (firm >= cut), detail=detail)
