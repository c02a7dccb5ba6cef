"""Poison that is drafted, tried on the trainer as it is deployed, and drafted again: what a draft is, and how it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.case import Poison, Records
from ...core.poison import numeric
from ...core.target import Recipe, Target, take, to_numpy
from ._climb import Problem
from ._linear import fitted, ones
from ._records import Canvas, joined

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
SOFT = 0.3  # weight of how sure the model is beside what it decides: errors alone move in steps, and hide the way uphill


@dataclass(frozen=True, slots=True)
class Draft:
    """Records to write.

    Args:
        place: Rows of the training data whose places they take ``(m,)``.
        like: Rows they are copies of, but for the numbers that move ``(m,)``.
        a: Those numbers, scaled ``(m, d)``; None where inputs are not read as numbers.
        y: Their labels ``(m,)``.
    """

    place: Rows
    like: Rows
    a: Floats | None
    y: NDArray[Any]

    def records(self, case: Poison, canvas: Canvas | None) -> Records:
        x = take(case.recipe.x, self.like)
        if canvas is not None and self.a is not None:
            x = canvas.inputs(canvas.allowed(self.a, take(case.recipe.x, self.place)), x)
        return Records(index=self.place, x=x, y=self.y)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Train as the owner does, with the draft in the data, and see how wrong the model is.

    Of the rows that are read, `held (n,)` are trained on in no rehearsal, and records whose `bench (n',)` says so are left out
    with them, so that the share of poison stays. Measured is on all rows but those whose places are taken: a model that learns
    rows by heart would answer those as they were written, and has nothing to learn from that.

    Args:
        whole: Whether the rows that are read are those of the recipe, so that what is replaced is not trained on.
    """

    recipe: Recipe
    case: Poison
    canvas: Canvas | None
    x: Any
    y: NDArray[Any]
    held: NDArray[np.bool_]
    bench: NDArray[np.bool_]
    whole: bool
    seed: int

    def tried(self, draft: Draft | None) -> tuple[float, Target]:
        """The harm, and the model that was made. None: without poison."""
        free = np.ones(len(self.y), bool)
        if draft is not None and self.whole:
            free[draft.place] = False
        rows = np.flatnonzero(free & ~self.held)
        x, y = take(self.x, rows), self.y[rows]
        if draft is not None:
            claim, shown = draft.records(self.case, self.canvas), np.flatnonzero(~self.bench[draft.place])
            x, y = joined(x, take(claim.x, shown)), np.concatenate([y, claim.y[shown]])
        model = self.recipe.fit(x, y, self.seed)
        measured = np.flatnonzero(free)
        return float(wrongness(model, take(self.x, measured), self.y[measured], self.y).mean()), model

    def loudness(self, model: Target, draft: Draft) -> Floats:
        """How badly the model fits each record of a draft ``(m,)``."""
        return wrongness(model, draft.records(self.case, self.canvas).x, draft.y, self.y)


def wrongness(model: Target, x: Any, y: NDArray[Any], known: NDArray[Any]) -> Floats:
    """How wrong a model is about each row ``(n,)``: of numbers, the squared error; of classes, whether and how surely."""
    answer = model.respond(x)
    own = np.asarray(to_numpy(answer.label))
    if numeric(known):
        return np.asarray((own.astype(float) - y.astype(float)) ** 2)
    values = np.asarray(getattr(getattr(model, "model", None), "values", ()))
    names = values if len(values) else np.unique(known)
    plain = known.dtype.kind in "iufb" and not len(values)
    told = own if plain else names[own.astype(np.int64).clip(0, len(names) - 1)]
    wrong = (told.astype(str) != y.astype(str)).astype(float)
    right = scores_of(answer, names, len(y))
    if right is None:
        return np.asarray(wrong)
    seat = (names.astype(str)[None] == y.astype(str)[:, None]).argmax(1)
    return np.asarray((1 - SOFT) * wrong + SOFT * (1 - right[np.arange(len(y)), seat]))


def scores_of(answer: Any, names: NDArray[Any], rows: int) -> Floats | None:
    """Scores that sum to one, one for each class ``(n, k)``; None where the model shows none."""
    shown = answer.scores if answer.scores is not None else answer.logits
    if shown is None or np.shape(to_numpy(shown)) != (rows, len(names)):
        return None
    scores = np.asarray(to_numpy(shown), np.float64)
    if answer.scores is None:
        scores = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(scores / np.maximum(scores.sum(1, keepdims=True), 1e-300))


@dataclass(frozen=True, slots=True)
class Moves:
    """Ways to change a draft: each a draft and a random generator in, a draft out.

    Args:
        problem: The case as a linear surrogate sees it; None where inputs are not numbers.
        names: The classes; empty for numbers.
        free: Whether a record may become a copy of another, label and all.
    """

    problem: Problem | None
    names: NDArray[Any]
    free: bool

    def all(self) -> tuple[Callable[..., Draft], ...]:
        some: tuple[Callable[..., Draft], ...] = (self.hushed, self.crossed, self.copied) if self.free else ()
        return some if self.problem is None else (*some, self.pulled, self.pushed, self.gathered, self.shifted)

    def hushed(self, at: Draft, rng: np.random.Generator, loud: Floats, others: list[Draft], size: float) -> Draft:
        """What the model fits worst becomes copies of what it fits better."""
        order = np.argsort(loud, kind="stable")
        few = max(1, int(rng.uniform(0.1, 0.6) * len(order)))
        calm = order[:-few] if len(order) > few else order
        return _copied(at, order[-few:], at, rng.choice(calm, few))

    def crossed(self, at: Draft, rng: np.random.Generator, loud: Floats, others: list[Draft], size: float) -> Draft:
        """Half of the records become those of another good draft."""
        other = others[int(rng.integers(len(others)))]
        some = np.flatnonzero(rng.random(min(len(at.place), len(other.place))) < 0.5)
        return _copied(at, some, other, some)

    def copied(self, at: Draft, rng: np.random.Generator, loud: Floats, others: list[Draft], size: float) -> Draft:
        """Half of the records become copies of those of one label: they support each other."""
        group = self._groups(at.y)
        own = np.flatnonzero(group == rng.choice(group))
        some = np.flatnonzero(rng.random(len(at.place)) < 0.5)
        return _copied(at, some, at, rng.choice(own, len(some)))

    def pulled(self, at: Draft, rng: np.random.Generator, loud: Floats, others: list[Draft], size: float) -> Draft:
        """Back towards honest records of the same label."""
        return self._along(at, float(rng.uniform(0.02, 0.5)) * size)

    def pushed(self, at: Draft, rng: np.random.Generator, loud: Floats, others: list[Draft], size: float) -> Draft:
        """Further from them."""
        return self._along(at, -float(rng.uniform(0.02, 0.5)) * size)

    def shifted(self, at: Draft, rng: np.random.Generator, loud: Floats, others: list[Draft], size: float) -> Draft:
        """All of them the same way."""
        assert self.problem is not None and at.a is not None
        way = rng.normal(size=at.a.shape[1]) * self.problem.canvas.width
        return replace(at, a=at.a + 0.15 * size * rng.random() * way)

    def gathered(self, at: Draft, rng: np.random.Generator, loud: Floats, others: list[Draft], size: float) -> Draft:
        """Records of a label closer together."""
        assert at.a is not None
        a, y, share = at.a.copy(), at.y.copy(), float(rng.uniform(0.1, 1.0))
        group = self._groups(y)
        for one in np.unique(group):
            own = group == one
            a[own] += share * (a[own].mean(0) - a[own])
            if not len(self.names) and self._told:
                y[own] += share * (y[own].mean() - y[own])
        return replace(at, a=a, y=y)

    @property
    def _told(self) -> bool:
        return self.problem is not None and self.problem.case.labels

    def _groups(self, y: NDArray[Any]) -> NDArray[Any]:
        return y if len(self.names) else y > np.median(y)

    def _along(self, at: Draft, share: float) -> Draft:
        """A share of the way to the honest: to the mean of the label; of numbers to the mean of all, and to the honest answer."""
        problem = self.problem
        assert problem is not None and at.a is not None
        if not len(self.names):
            a = at.a + share * (problem.a.mean(0) - at.a)
            if not self._told:
                return replace(at, a=a)
            answer = (ones(a) @ problem.honest.theta.T)[:, 0]
            y = at.y + share * (answer - at.y)
            return replace(at, a=a, y=y.clip(problem.t.min(), problem.t.max()).astype(at.y.dtype))
        a, known = at.a.copy(), self._labels()
        for label in np.unique(at.y):
            own, honest = at.y == label, known == label
            if honest.any():
                a[own] += share * (problem.a[honest].mean(0) - a[own])
        return replace(at, a=a)

    def _labels(self) -> NDArray[Any]:
        """The labels of the records that are read, back from the surrogate's targets."""
        assert self.problem is not None
        t = self.problem.t
        return np.asarray(self.names[(t[:, 0] > 0.5).astype(int) if len(self.names) == 2 else t.argmax(1)])


def _copied(at: Draft, into: Rows, other: Draft, of: Rows) -> Draft:
    """Records `into` of a draft become records `of` of another one; their places stay."""
    like, y = at.like.copy(), at.y.copy()
    like[into], y[into] = other.like[of], other.y[of]
    if at.a is None or other.a is None:
        return replace(at, like=like, y=y)
    a = at.a.copy()
    a[into] = other.a[of]
    return replace(at, like=like, a=a, y=y)


def outlasting(problem: Problem, a: Floats, t: Floats, share: float, steps: int, stride: float) -> tuple[Floats, Floats]:
    """Climb against a surrogate that leaves out, as it trains, the `share` of rows with the largest losses (Jagielski et al.).

    What is left out follows its nearest record that is not. Of all steps, the one that hurts the surrogate most.
    """
    honest = (problem.a[problem.rest], problem.t[problem.rest])
    origin = take(problem.case.recipe.x, problem.own)
    best, most, model = (a, t), -np.inf, problem.honest
    for _ in range(steps):
        x, goals = np.concatenate([honest[0], a]), np.concatenate([honest[1], t])
        kept = np.arange(len(x))
        for _ in range(3):
            model = fitted(problem.honest.family, problem.strength, x[kept], goals[kept], model)
            kept = np.argsort(model.losses(x, goals), kind="stable")[: len(x) - int(share * len(x))]
        if (harm := model.loss(problem.a, problem.t)) > most:
            best, most = (a, t), harm
        alive = np.isin(len(honest[0]) + np.arange(len(a)), kept)
        a, t = _followed(problem, model, a, t, alive, stride)
        a, stride = problem.canvas.allowed(a, origin), max(0.02, 0.93 * stride)
    return best


def _followed(
    problem: Problem, model: Any, a: Floats, t: Floats, alive: NDArray[np.bool_], stride: float
) -> tuple[Floats, Floats]:
    """One step uphill; records that were left out go half of the way to the nearest one of theirs that was not."""
    moved, retold = model.slopes(a, t, (problem.a, problem.t))
    uphill = moved * problem.canvas.width
    longest = np.abs(uphill).max(1, keepdims=True)
    a_next = a + stride * problem.canvas.width * np.divide(uphill, longest, out=np.zeros_like(uphill), where=longest > 0)
    t_next = t.copy()
    if not len(problem.classes) and problem.case.labels:
        low, high = problem.t.min(), problem.t.max()
        t_next = (t + stride * (high - low) * np.sign(retold)).clip(low, high)
    for i in np.flatnonzero(~alive):
        same = np.flatnonzero(alive & (t == t[i]).all(1)) if len(problem.classes) else np.flatnonzero(alive)
        if len(same):
            near = same[np.argmin(((a[same] - a[i]) ** 2).sum(1))]
            a_next[i] = (a[i] + a[near]) / 2
            if not len(problem.classes) and problem.case.labels:
                t_next[i] = (t[i] + t[near]) / 2
        else:
            honest = (problem.t == t[i]).all(1) if len(problem.classes) else np.ones(len(problem.t), bool)
            a_next[i] = a[i] + 0.3 * (problem.a[honest].mean(0) - a[i])
    return a_next, t_next


def started(case: Poison, index: Rows, y: NDArray[Any], canvas: Canvas | None) -> Draft:
    """Records that stay as they are, under other labels."""
    index = np.asarray(index)
    return Draft(index, index, None if canvas is None else canvas(take(case.recipe.x, index)), np.asarray(y))
