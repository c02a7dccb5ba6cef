"""Many regressions of many coefficients that lie near one another: those on parts of the same labelled rows.

One model is trained roughly on all rows. The curvature there, factored once, is nearly that of each part by its share of the
rows. So each model begins at that point and goes on in that metric by L-BFGS: on the digits 10 looks at its rows where a cold
start takes 31, and 32 where it takes 130. No model's steps depend on another's: only the product with the shared inverse is
made for all at once, which is what keeps it cheap. Where a slope of `LOOSE` or more will do, float32 tells it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import dpotrf, dpotri, dtrtrs

from .learners import Softmax

Floats = NDArray[np.float64]
ROWS_BYTES = 1 << 22  # of rows copied at once: models are solved in groups that fit
MEMORY = 20  # steps remembered, up to twice as many
ROUGH = 3e-4  # slope of the mean loss at which the model on all rows is near enough
STEPS = 400  # at most; a model that needs more is left to Newton's method
SHORTER = 12  # times that one step is made shorter
# The whole curvature is factored for up to WIDEST coefficients and a `tol` below LOOSE, otherwise each class's own. 32 models of
# the digits took 138 ms by the whole and 102 by each class's own at 1e-4, 213 and 252 at 1e-6, 327 and 504 at 1e-9.
WIDEST, LOOSE = 1500, 3e-5
FLOOR = 1e-5  # of the mean curvature, added: it is summed in float32


def solve(
    learner: Softmax, x: NDArray[Any], y: NDArray[Any], weights: NDArray[Any], classes: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Solve N regressions on parts of the same labelled rows.

    Args:
        learner: The penalty and when to stop.
        x: Inputs ``(n, d)``.
        y: Labels ``(n,)``.
        weights: How much each row counts ``(N, n)``, from 0 up.
        classes: How many classes there are.

    Returns:
        Coefficients ``(N, d + 1, columns)``, one column for two classes; and which models are solved ``(N,)``. The others are
        those that lack a class, and those that such steps do not bring to their optimum.
    """
    columns = 1 if classes == 2 else classes
    found, done = np.zeros((len(weights), x.shape[1] + 1, columns)), np.zeros(len(weights), bool)
    held = np.stack([weights[:, y == c].sum(1) > 0 for c in range(classes)], 1)
    work = np.flatnonzero(held.all(1))
    if not len(work):
        return found, done
    # A share is that of a model's own rows, rounded: none depends on another, and most have the same.
    share = 2.0 ** np.round(np.log2(weights[work].sum(1) / len(x)))
    with np.errstate(over="ignore", invalid="ignore"), suppress(LinAlgError):  # a model lost so is not done
        rows = _All(x, y, columns, learner.l2, np.float32 if learner.tol >= LOOSE else np.float64)
        at, curvature = rows.middle(learner.tol)
        for each in np.unique(share):
            metric = _Metric(curvature, each, learner.l2, rows.wide)
            for group in _groups(work[share == each], weights, rows.wide):
                models = [rows.part(weights[i], at, learner.tol) for i in group]
                _run(models, metric)
                found[group] = [model.at.reshape(columns, -1).T for model in models]
                done[group] = [model.done for model in models]
    return found, done


def _groups(models: NDArray[np.intp], weights: NDArray[Any], wide: int) -> list[NDArray[np.intp]]:
    mean = (weights[models] > 0).sum() / len(models)
    most = max(1, int(ROWS_BYTES / (8 * wide * mean)))
    return [models[start : start + most] for start in range(0, len(models), most)]


class _Metric:
    """The inverse of ``share * curvature + penalty``, as one matrix or as one for each class: what a slope is multiplied with.

    Args:
        curvature: ``(1, d + 1, d + 1)``, the same for all classes; ``(columns, d + 1, d + 1)``; or one of all coefficients.
        share: Of the rows it was summed over.
        l2: The penalty on what is no intercept.
        wide: d + 1.

    Raises:
        LinAlgError: It has no inverse that floats can tell.
    """

    def __init__(self, curvature: Floats, share: float, l2: float, wide: int) -> None:
        self._inverse = share * curvature
        each = np.arange(curvature.shape[1])
        ends = each[wide - 1 :: wide]
        for place, matrix in enumerate(self._inverse):
            matrix[each, each] += np.where(each % wide < wide - 1, l2, 0.0) + FLOOR * matrix[each, each].mean()
            if len(ends) > 1:
                # All intercepts may rise together and nothing changes: no slope has such a part, any curvature will do for it.
                matrix[np.ix_(ends, ends)] += matrix[ends, ends].mean()
            lower, bad = dpotrf(matrix, lower=1)
            half, worse = dpotri(lower, lower=1)  # its lower half, the upper one is 0
            if bad or worse or not np.isfinite(half).all():
                raise LinAlgError
            self._inverse[place] = half + half.T
            self._inverse[place, each, each] /= 2

    def __call__(self, slopes: Floats) -> Floats:
        """Slopes ``(m, coefficients)`` in this metric."""
        parts = slopes.reshape(len(slopes), -1, self._inverse.shape[1]).transpose(1, 0, 2)
        return np.ascontiguousarray((parts @ self._inverse).transpose(1, 0, 2)).reshape(slopes.shape)


class _Rows:
    """The rows of one model, inputs ``(d + 1, rows)``, and the loss on them."""

    def __init__(self, x: NDArray[Any], y: NDArray[np.intp], weight: NDArray[Any], columns: int, l2: float) -> None:
        self._x, self._y, self._columns, self._l2 = x, y, columns, l2
        self._weight = None if (weight == 1).all() else weight.astype(x.dtype)
        self.fine = 1e-12 if x.dtype == np.float64 else 1e-6  # of a loss, what rounding may hide
        self._each = np.arange(len(y))

    def shares(self, at: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
        """The share of each column ``(columns, rows)`` and the loss of each row."""
        logits = at.astype(self._x.dtype, copy=False) @ self._x
        if self._columns == 1:
            return 0.5 * (1 + np.tanh(0.5 * logits)), np.logaddexp(0.0, logits[0]) - logits[0] * self._y
        logits -= logits.max(0)
        own = logits[self._y, self._each]
        np.exp(logits, out=logits)
        total = logits.sum(0)
        logits /= total
        return logits, np.log(total) - own

    def look(self, flat: Floats) -> tuple[float, Floats]:
        """The loss and its slope at these coefficients ``(columns * (d + 1),)``."""
        at = flat.reshape(self._columns, -1)
        over, each = self.shares(at)
        if self._columns == 1:
            over[0] -= self._y
        else:
            over[self._y, self._each] -= 1
        if self._weight is not None:
            over *= self._weight
            each *= self._weight
        slope = (over @ self._x.T).astype(np.float64, copy=False)
        slope[:, :-1] += self._l2 * at[:, :-1]
        paid = 0.5 * self._l2 * float(flat @ flat - at[:, -1] @ at[:, -1])
        return float(each.sum(dtype=np.float64)) + paid, slope.ravel()


@dataclass(slots=True)
class _Model:
    """One model on its way: where it stands ``(coefficients,)``, the slope there, and the steps it remembers.

    The inverse curvature is that of the metric, corrected by the steps in compact form (Byrd, Nocedal and Schnabel, 1994): all
    it needs of the metric is its product with each slope, which is made for all models at once.
    """

    rows: _Rows
    at: Floats
    limit: float  # of the slope, where it is done
    done: bool = False
    lost: bool = False
    slope: Floats = field(init=False)
    _loss: float = field(init=False)
    _before: tuple[Floats, Floats, Floats] | None = None  # where it stood, the slope there, and that in the metric
    _kept: int = 0
    _steps: Floats = field(init=False)  # (2 * MEMORY, coefficients), of which the first are in use
    _turns: Floats = field(init=False)  # changes of slope in the metric
    _ahead: Floats = field(init=False)  # step i times change of slope j, for i up to j
    _among: Floats = field(init=False)  # change i times change j in the metric

    def __post_init__(self) -> None:
        self._steps, self._turns = np.empty((2, 2 * MEMORY, len(self.at)))
        self._ahead, self._among = np.zeros((2, 2 * MEMORY, 2 * MEMORY))
        self._stand(self.at, *self.rows.look(self.at))

    def _stand(self, at: Floats, loss: float, slope: Floats) -> None:
        self.at, self._loss, self.slope = at, loss, slope
        steep = float(np.abs(slope).max())
        self.done, self.lost = steep <= self.limit, not np.isfinite(steep)

    def step(self, turned: Floats) -> None:
        """One step, given the slope in the metric."""
        if self._before is not None:
            at, slope, was = self._before
            self._remember(self.at - at, self.slope - slope, turned - was)
        self._before = (self.at, self.slope, turned)
        way = -self._direction(turned)
        fall = float(way @ self.slope)
        self.lost = not (fall < 0 and self._along(way, fall))

    def _along(self, way: Floats, fall: float) -> bool:
        """Go along `way` until the loss has fallen, or, where rounding hides that, until the slope along it says so."""
        size, fine = 1.0, self.rows.fine * abs(self._loss)
        for _ in range(SHORTER):
            at = self.at + size * way
            loss, slope = self.rows.look(at)
            rise = float(way @ slope)
            if loss <= self._loss + 1e-4 * size * fall or (loss <= self._loss + fine and rise <= -0.8 * fall):
                self._stand(at, loss, slope)
                return not self.lost
            size *= min(0.5, max(0.1, fall / (fall - rise))) if rise > fall else 0.1
        return False

    def _direction(self, turned: Floats) -> Floats:
        if not self._kept:
            return turned
        k = slice(self._kept)
        ahead = self._ahead[k, k]
        along, across = self._steps[k] @ self.slope, self._turns[k] @ self.slope
        back = dtrtrs(ahead, along)[0]
        left = ahead.diagonal() * back + self._among[k, k] @ back - across
        return np.asarray(turned + dtrtrs(ahead, left, trans=1)[0] @ self._steps[k] - back @ self._turns[k])

    def _remember(self, step: Floats, change: Floats, turn: Floats) -> None:
        bend, swing = float(step @ change), float(turn @ change)
        if not (bend > 1e-12 * np.sqrt(float(step @ step) * float(change @ change)) and swing > 0):
            return
        if self._kept == 2 * MEMORY:  # the older half is forgotten
            for held in (self._steps, self._turns):
                held[:MEMORY] = held[MEMORY:]
            for held in (self._ahead, self._among):
                held[:MEMORY, :MEMORY] = held[MEMORY:, MEMORY:]
            self._kept = MEMORY
        i, k = self._kept, slice(self._kept)
        self._steps[i], self._turns[i] = step, turn
        self._ahead[k, i] = self._steps[k] @ change
        self._among[k, i] = self._among[i, k] = self._turns[k] @ change
        self._ahead[i, i], self._among[i, i] = bend, swing
        self._kept += 1


def _run(models: Sequence[_Model], metric: _Metric) -> None:
    """Step by step until each is done or lost."""
    for _ in range(STEPS):
        models = [model for model in models if not (model.done or model.lost)]
        if not models:
            return
        for model, turned in zip(models, metric(np.stack([model.slope for model in models])), strict=True):
            model.step(turned)


class _All:
    """All rows ``(d + 1, n)``, the last a row of ones."""

    def __init__(self, x: NDArray[Any], y: NDArray[Any], columns: int, l2: float, kind: Any) -> None:
        self._x = np.concatenate([np.asarray(x, kind).T, np.ones((1, len(x)), kind)])
        self._y, self._columns, self._l2 = y.astype(np.intp), columns, l2
        self.wide = len(self._x)

    def part(self, weight: NDArray[Any], at: Floats, tol: float) -> _Model:
        """The model on the rows that count."""
        own = weight > 0
        rows = _Rows(self._x.compress(own, 1), self._y[own], weight[own], self._columns, self._l2)
        return _Model(rows, at, tol * float(weight.sum()))

    def middle(self, tol: float) -> tuple[Floats, Floats]:
        """The coefficients of a model on all rows, roughly, and the curvature there."""
        columns = self._columns
        even = 0.25 if columns == 1 else (columns - 1) / columns**2
        start = _Metric((self._x @ self._x.T)[None].astype(np.float64) * even, 1.0, self._l2, self.wide)
        model = self.part(np.ones(self._x.shape[1]), np.zeros(columns * self.wide), max(tol, ROUGH))
        _run([model], start)
        share = model.rows.shares(model.at.reshape(columns, -1))[0]
        return model.at, self._curvature(share.astype(np.float32, copy=False), tol < LOOSE and columns * self.wide <= WIDEST)

    def _curvature(self, share: NDArray[np.float32], whole: bool) -> Floats:
        """Under these shares ``(columns, n)``: of all coefficients at once, or of each class's own."""
        x, wide, columns = self._x.T.astype(np.float32, copy=False), self.wide, self._columns
        if columns == 1 or not whole:
            return np.stack([(x * (each * (1 - each))[:, None]).T @ x for each in share]).astype(np.float64)
        both = (share.T[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        made = -(both.T @ both).astype(np.float64)
        for c in range(columns):
            own = slice(c * wide, (c + 1) * wide)
            made[own, own] += both[:, own].T @ x
        return made[None]
