"""What gradient poisoning of linear models has in common: where the poison begins, how it climbs, what is handed in."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.case import Poison, Records
from ...core.errors import BadInput, NotGranted
from ...core.oracle import Oracle
from ...core.poison import numeric
from ...core.random import RowRandom
from ...core.target import Recipe, count, take, to_numpy
from ._linear import Family, Model, fitted, ones, targets
from ._records import Canvas, affordable, handed_in, joined, one_class, shuffled

Floats = NDArray[np.float64]


def problem(
    who: str, oracle: Oracle, case: Poison, rng: RowRandom, family: Family, strength: float, quiet: float | None
) -> Problem:
    """The case as a surrogate sees it, from the data the attacker reads."""
    if quiet is not None and not 0 < quiet <= 1:
        raise BadInput(f"{who}: quiet={quiet!r} is not allowed; give a quantile above 0 up to 1, or None")
    x, labels = oracle.data
    y = np.asarray(to_numpy(labels))
    if family == "svm" and len(np.unique(y)) != 2:
        raise BadInput(f"{who} is for two classes; the labels have {len(np.unique(y))}")
    canvas = Canvas.of(x, case, who)
    classes = np.zeros(0) if numeric(y) else one_class(y, who)
    t = y[:, None].astype(float) if not len(classes) else targets(family, _seats(y, classes), len(classes))
    a = canvas(x)
    honest = fitted(family, strength, a, t)
    own = _own(affordable(oracle, case), case, canvas, honest, classes, quiet is not None, rng)
    loudest = np.inf if quiet is None else float(np.quantile(honest.losses(a, t), quiet))
    # Where all of the data is read, what the attacker replaces is not trained on any more.
    rest = np.setdiff1d(np.arange(len(y)), own) if len(y) == count(case.recipe.x) else np.arange(len(y))
    return Problem(case, canvas, honest, strength, a, t, rest, own, classes, loudest)


def hand_in(
    problem: Problem, oracle: Oracle, steps: int, stride: float, rng: RowRandom
) -> Generator[Records, None, Records]:
    """Climb, choose, and write bit by bit."""
    start = problem.began()
    end = problem.climbed(start, steps, stride)
    claims = [problem.claim(point) for point in ((start, end) if problem.better(start, end) else (end,))]
    best = claims[-1] if len(claims) == 1 else _chosen(oracle, problem, claims, rng)
    return (yield from handed_in(oracle, problem.case, best))


def _seats(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    return np.searchsorted(classes, y).clip(0, len(classes) - 1)


def _own(
    most: int, case: Poison, canvas: Canvas, model: Model, classes: NDArray[Any], quiet: bool, rng: RowRandom
) -> NDArray[np.int64]:
    """Which records are written: those decided most clearly; random ones where labels stay or there are none to turn."""
    n = count(case.recipe.x)
    if (not case.labels or not len(classes)) and not quiet:
        return shuffled(n, rng)[:most]
    y, a = np.asarray(to_numpy(case.recipe.y)), canvas(case.recipe.x)
    if not len(classes):
        return np.argsort(model.losses(a, y[:, None].astype(float)), kind="stable")[:most]
    clear = _margins(ones(a) @ model.theta.T, targets(model.family, _seats(y, classes), len(classes)))
    return np.argsort(-clear, kind="stable")[:most]


@dataclass(frozen=True, slots=True)
class Point:
    """Where the poison stands: scaled numbers ``(m, d)``, targets ``(m, k)``, the model, its loss and share of errors."""

    a: Floats
    t: Floats
    model: Model
    loss: float
    error: float


@dataclass(frozen=True, slots=True)
class Problem:
    """The records that can be read ``a (n, d)``, ``t (n, k)``, which of them stay, and the rows ``own (m,)`` that do not."""

    case: Poison
    canvas: Canvas
    honest: Model
    strength: float
    a: Floats
    t: Floats
    rest: NDArray[np.int64]
    own: NDArray[np.int64]
    classes: NDArray[Any]
    loudest: float

    def _at(self, a: Floats, t: Floats, start: Model | None = None) -> Point:
        """The surrogate trained with poison there."""
        a = self.canvas.allowed(a, take(self.case.recipe.x, self.own))
        both = np.concatenate([self.a[self.rest], a]), np.concatenate([self.t[self.rest], t])
        model = fitted(self.honest.family, self.strength, *both, start)
        wrong = _margins(ones(self.a) @ model.theta.T, self.t) < 0 if len(self.classes) else np.zeros(1)
        return Point(a, t, model, model.loss(self.a, self.t), float(wrong.mean()))

    def began(self) -> Point:
        """The attacker's own records, under the labels the clean model likes least."""
        origin, y = take(self.case.recipe.x, self.own), np.asarray(to_numpy(self.case.recipe.y))[self.own]
        a = self.canvas(origin)
        if not self.case.labels or np.isfinite(self.loudest):
            return self._at(a, self._targets(y))
        return self._at(a, self._worst(ones(a) @ self.honest.theta.T))

    def _worst(self, z: Floats) -> Floats:
        """Targets furthest from what the clean model answers."""
        if not len(self.classes):
            low, high = self.t.min(), self.t.max()
            return np.asarray(np.where(z > (low + high) / 2, low, high))
        seat = (z[:, 0] <= 0).astype(int) if len(self.classes) == 2 else z.argmin(1)
        return targets(self.honest.family, seat, len(self.classes))

    def _targets(self, y: NDArray[Any]) -> Floats:
        if not len(self.classes):
            return y[:, None].astype(float)
        return targets(self.honest.family, _seats(y, self.classes), len(self.classes))

    def climbed(self, at: Point, steps: int, stride: float) -> Point:
        """Follow the slope; a step that does not climb is halved. Of all points, the one with the most errors."""
        best = at
        for _ in range(steps):
            moved, retold = at.model.slopes(at.a, at.t, (self.a, self.t))
            while stride > 1e-3:
                new = self._at(*self._moved(at, moved, retold, stride), at.model)
                if new.loss > at.loss * (1 + 1e-6):
                    break
                stride /= 2
            else:
                break
            at = new
            if (at.error, at.loss) >= (best.error, best.loss):
                best = at
        return best

    def _moved(self, at: Point, moved: Floats, retold: Floats, stride: float) -> tuple[Floats, Floats]:
        """A step whose longest part is `stride` of the range; of numbers to be learned, the targets move too."""
        uphill = moved * self.canvas.width  # in shares of the range
        longest = np.abs(uphill).max(1, keepdims=True)
        a = at.a + stride * self.canvas.width * np.divide(uphill, longest, out=np.zeros_like(uphill), where=longest > 0)
        a, t = self.canvas.allowed(a, take(self.case.recipe.x, self.own)), at.t
        if not len(self.classes) and self.case.labels:
            low, high = self.t.min(), self.t.max()
            t = (at.t + stride * (high - low) * np.sign(retold)).clip(low, high)
        loud = (self.honest.losses(a, t) > self.loudest)[:, None]
        return np.where(loud, at.a, a), np.where(loud, at.t, t)

    def better(self, start: Point, end: Point) -> bool:
        """Whether there are two different points to choose from."""
        return bool((start.a != end.a).any() or (start.t != end.t).any())

    def claim(self, at: Point) -> Records:
        case, recipe = self.case, self.case.recipe
        y = np.asarray(to_numpy(recipe.y))
        x = self.canvas.inputs(at.a, take(recipe.x, self.own))
        if not case.labels:
            return Records(index=self.own, x=x, y=y[self.own])
        if not len(self.classes):
            return Records(index=self.own, x=x, y=at.t[:, 0].astype(y.dtype))
        seat = (at.t[:, 0] > 0.5).astype(int) if len(self.classes) == 2 else at.t.argmax(1)
        return Records(index=self.own, x=x, y=self.classes[seat])


def _margins(z: Floats, t: Floats) -> Floats:
    """How clearly each honest record is decided as it should be."""
    if z.shape[1] == 1:
        return np.asarray(np.where(t[:, 0] > 0.5, z[:, 0], -z[:, 0]))
    rows, seat = np.arange(len(z)), t.argmax(1)
    rest = z.copy()
    rest[rows, seat] = -np.inf
    return np.asarray(z[rows, seat] - rest.max(1))


def _chosen(oracle: Oracle, problem: Problem, claims: list[Records], rng: RowRandom) -> Records:
    """The claim the recipe itself does worst with on the records as they were, where the recipe is known; else the last."""
    try:
        recipe = oracle.recipe
    except NotGranted:
        return claims[-1]
    x, labels = oracle.data
    y = np.asarray(to_numpy(labels))
    errors = [_error(recipe, x, y, problem.rest, claim, rng.seed & 0x7FFFFFFF) for claim in claims]
    return claims[int(np.argmax(errors))]


def _error(recipe: Recipe, x: Any, y: NDArray[Any], rest: NDArray[np.int64], claim: Records, seed: int) -> float:
    """What the recipe, trained on what stays and the poison, gets wrong on all that was read."""
    model = recipe.fit(joined(take(x, rest), claim.x), np.concatenate([y[rest], claim.y]), seed)
    own = np.asarray(to_numpy(model.respond(x).label))
    if numeric(y):
        return float(((own - y) ** 2).mean())
    values = np.asarray(getattr(getattr(model, "model", None), "values", ()) or np.unique(y))
    if y.dtype.kind in "iufb" and not len(getattr(getattr(model, "model", None), "values", ())):
        return float((own != y).mean())
    return float((values[own.clip(0, len(values) - 1)].astype(str) != y.astype(str)).mean())
