"""Equation solving: a linear model with scores is as many unknowns, and as many questions find them all."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Copy, Replica
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count, take
from .._questions import replies
from ._axes import Axes, axes_of, draw
from ._decision import Decision
from ._solve import Answers, Solution, join, read, solve


@attack(
    "extraction.equation",
    needs=Need.LABEL | Need.SCORE,
    scope="set",
    papers=("arXiv:1609.02943",),
    aka=("equation solving", "Tramer"),
    spends="d + 1 queries, `checks` more to see whether the copy holds, `oversample` times as many where scores are rounded",
    modality=("array", "table"),
)
class EquationSolving:
    """Ask at an anchor and one step along each axis; the log-ratios of the scores are affine in a linear model.

    Finds logistic and softmax regression (up to the shift that no score shows), models that return raw scores, and linear
    regression. Of a table, an axis is a number or a level of a category, which covers one-hot encoding, scaling and a linear
    model. A score of exactly 0 or 1 has no logarithm: that answer is dropped and the question asked again closer by. Rounded
    scores are met with more questions and a fit in the scores themselves.

    `checks` further answers tell whether the copy is right. If it is not, the model is not linear in its inputs:
    ``detail["linear"]`` says so, and the copy is handed in all the same.

    Args:
        checks: Answers kept out of the fit, to test it.
        oversample: Queries for each unknown where scores are rounded or answers are missing.
        closer: How often a saturated question is asked again, each time at a quarter of the step.
    """

    checks: int = 8
    oversample: int = 4
    closer: int = 3

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        talk = _Talk(oracle, case)
        axes = axes_of(case)
        book = yield from self._anchor(talk, case, axes, rng)
        axes, claim = book.axes, book.replica(None)
        missing, shrink = np.flatnonzero(axes.step != 0), 1.0
        for _ in range(1 + self.closer):  # the first pass asks all axes, the others only what was saturated
            if not len(missing):
                break
            for questions, answers in talk.ask(axes.questions(missing, shrink)):
                book = book.add(questions, answers)
                claim = book.replica(None)
                yield claim
            missing, shrink = book.missing(missing), shrink / 4
        if book.solution.digits is not None or len(missing):
            for questions, answers in talk.ask(draw(case, rng, (self.oversample - 1) * (len(axes) + 1), 1)):
                book = book.add(questions, answers)
                claim = book.replica(None)
                yield claim  # at once: a budget that ends here must not cost the answers it paid for
        held: list[float] = []
        for questions, answers in talk.ask(draw(case, rng, self.checks, 2)):
            held += list(book.errors(questions, answers))
        claim = book.replica(max(held) if held else None)
        yield claim
        return claim

    def _anchor(self, talk: _Talk, case: Copy, axes: Axes, rng: RowRandom) -> Generator[Replica, None, _Book]:
        """The first answer whose logarithm is well known: at the anchor, else the best of a few inputs drawn."""
        best: _Book | None = None
        for attempt in range(1 + self.closer):
            if attempt:
                axes = axes_of(case, draw(case, rng, 1, 100 + attempt))
            for questions, answers in talk.ask(axes.anchor):
                book = _Book(axes, axes.features(questions), answers)
                if best is None or answers.precision.min() > best.answers.precision.min():
                    best = book
                yield best.replica(None)
            if best is not None and best.answers.precise.all():
                break
        assert best is not None  # ask raises where nothing comes back
        return best


class _Talk:
    """The questions of one extraction: each with a ledger id of its own, and no more than the case plans."""

    def __init__(self, oracle: Oracle, case: Copy) -> None:
        self._oracle, self._left, self._next = oracle, case.queries, 0

    def ask(self, x: Any) -> Generator[tuple[Any, Answers], None, None]:
        """Questions that were answered, with their answers. Stops where the plan of the case ends."""
        size = min(count(x), self._left)
        ids = self._next + np.arange(size)
        self._left, self._next = self._left - size, self._next + size
        for reply in replies(self._oracle, take(x, np.arange(size)), ids):
            yield take(x, reply.places), read(reply.response)


@dataclass(frozen=True)
class _Book:
    """Questions as features ``(n, d)``, with their answers. What follows from them is worked out once."""

    axes: Axes
    features: NDArray[np.float64]
    answers: Answers

    def add(self, questions: Any, answers: Answers) -> _Book:
        features = np.concatenate([self.features, self.axes.features(questions)])
        return replace(self, features=features, answers=join(self.answers, answers))

    def missing(self, asked: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of the axes just asked, numeric ones with no precise answer: they can be asked closer by."""
        good = (self.features[self.answers.precise] != 0).any(0)
        numeric = np.array([not self.axes.moves or self.axes.moves[a][1] is None for a in asked], bool)
        return np.asarray(asked[~good[asked] & numeric])

    @cached_property
    def solution(self) -> Solution:
        return solve(self.features, self.answers)

    @cached_property
    def rule(self) -> Decision | None:
        return self.solution.rule(self.features, self.answers)

    def errors(self, questions: Any, answers: Answers) -> NDArray[np.float64]:
        """How far the copy's scores (or values) are from answers it was not fitted to, the worst of each row."""
        own = self.solution.shown(self.axes.features(questions))
        return np.asarray(np.abs(own - answers.shown).max(1))

    def replica(self, error: float | None) -> Replica:
        """The copy as it stands; `error` is the largest one on answers kept out of the fit."""
        axes, found, rule = self.axes, self.solution, self.rule

        def scores(x: Any) -> NDArray[np.float64]:
            return found.shown(axes.features(x))

        def labels(x: Any) -> NDArray[Any]:
            return scores(x)[:, 0] if rule is None else rule(scores(x))

        detail = {
            "mode": self.answers.mode, "digits": found.digits, "unknowns": (len(axes) + 1) * found.weights.shape[1],
            "answers": len(self.features), "saturated": int((~self.answers.usable).any(1).sum()),
            "largest_error": error, "linear": None if error is None else bool(error <= found.tolerance),
        }  # fmt: skip
        return Replica(labels=labels, scores=None if rule is None else scores, parameters=_parameters(axes, found), detail=detail)


def _parameters(axes: Axes, found: Solution) -> dict[str, Any]:
    """Weights ``(d, c)`` and intercepts ``(c,)`` in input units; of classes, relative to the first one."""
    weights = found.weights / np.where(axes.step != 0, axes.step, 1.0)[:, None]
    intercept = found.intercept
    if not axes.moves:
        intercept = intercept - np.asarray(axes.anchor, np.float64).reshape(-1) @ weights
    names = {} if not axes.moves else {"axes": list(axes.names)}
    return {"weights": weights, "intercept": intercept, **names}
