"""Many logistic regressions at once, each to its optimum, by Newton's method.

All models see the same inputs and differ in which rows count, in their labels, or both. Then the part of a Newton step that
costs something, the sum over rows of a weight times the products of every two columns, is one matrix product for all models:
the products of columns are made once and never again. Where there are many coefficients (`LARGE`) that sum is dear and its matrix
large: there models of like rows are solved by what they share (`nearby`), and others, or those that it leaves, each on its own
rows by conjugate gradients that never make the matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from . import nearby
from .learners import Softmax

Floats = NDArray[np.float64]
WORK_BYTES = 1 << 27  # of weights of rows at once: models are solved in groups that fit
PAIR_BYTES = 1 << 27  # of products of columns kept; more are made anew in each step
HALVINGS = 40
# Coefficients above which no model's matrix is made. One of the digits' 65 x 10 took 230 ms by its matrix, 83 ms by conjugate
# gradients among others, 36 ms by them alone, and 10 ms as one of 32 near one another.
LARGE = 100
# And of three classes or more above which models of like rows are solved by what they share: 32 of ten classes took 37 ms so at
# 30 coefficients and 57 at 60, by their matrices 545 and 629; of three classes 31 at 39, where their matrices took 34.
NEAR = 25
FOLD = 2  # times that all rows are trained on by all models, from which on a model on all of them pays
ROUNDS = 200  # of conjugate gradients at most; a direction found by fewer still leads down


def fit(
    learner: Softmax, x: NDArray[Any], y: NDArray[Any], weights: NDArray[Any], classes: int
) -> tuple[Floats, list[str]]:
    """Solve N regressions.

    Two classes have one vector of coefficients and one sigmoid, as in scikit-learn; more have one vector for each class. A
    class that a model's rows lack takes no part in its fit, and gets the logit of half a row among its rows (see `answers`).

    Args:
        learner: The penalty and when to stop.
        x: Inputs ``(n, d)``; columns that never change are harmless.
        y: Labels ``(n,)`` or ``(N, n)``.
        weights: How much each row counts ``(N, n)``, from 0 up.
        classes: How many classes there are.

    Returns:
        Coefficients ``(N, d + 2, classes)``, for `answers`: the slopes, the intercept, and of a class that the model's rows
        lack the logarithm of its share (0 for the others). And for each model what went wrong, "" where nothing did.
    """
    columns = 1 if classes == 2 else classes
    size = (x.shape[1] + 1) * columns
    if y.ndim == 1 and size > (LARGE if classes == 2 else NEAR) and np.count_nonzero(weights) >= FOLD * len(x):
        return _by_likeness(learner, x, y, weights, classes)
    if size > LARGE:
        return _one_by_one(learner, x, y, weights, classes)
    table = _Table(x)
    group = max(1, WORK_BYTES // (8 * len(x) * (columns * (columns + 1) // 2 + 2 * columns)))
    found, why = np.zeros((len(weights), table.wide + 1, classes)), [""] * len(weights)
    for start in range(0, len(weights), group):
        some = slice(start, min(start + group, len(weights)))
        solved = _Group(learner, table, y if y.ndim == 1 else y[some], weights[some], classes).solve()
        found[some], why[some] = solved
    return found, why


def _by_likeness(
    learner: Softmax, x: NDArray[Any], y: NDArray[Any], weights: NDArray[Any], classes: int
) -> tuple[Floats, list[str]]:
    """What they share first; then whoever that leaves one by one."""
    made, done = nearby.solve(learner, x, y, weights, classes)
    if classes == 2:
        made = np.concatenate([-made / 2, made / 2], 2)
    else:
        made[:, -1] -= made[:, -1].mean(1, keepdims=True)  # all intercepts may rise together; theirs add up to 0
    found, why = np.concatenate([made, np.zeros((len(made), 1, classes))], 1), [""] * len(weights)
    left = np.flatnonzero(~done)
    found[left], said = _one_by_one(learner, x, y, weights[left], classes)
    for i, each in zip(left, said, strict=True):
        why[i] = each
    return found, why


def _one_by_one(
    learner: Softmax, x: NDArray[Any], y: NDArray[Any], weights: NDArray[Any], classes: int
) -> tuple[Floats, list[str]]:
    """The same on each model's own rows: what a step touches stays in the processor's own memory."""
    found, why = np.zeros((len(weights), x.shape[1] + 2, classes)), [""] * len(weights)
    for i, weight in enumerate(weights):
        own = weight > 0
        labels = (y if y.ndim == 1 else y[i])[own]
        made, said = _Group(learner, _Table(x[own]), labels, weight[None, own], classes).solve()
        found[i], why[i] = made[0], said[0]
    return found, why


def answers(found: Floats, x: NDArray[Any]) -> Floats:
    """The logits ``(N, n, classes)`` on inputs ``(n, d)``."""
    ended = np.concatenate([np.asarray(x, np.float64), np.ones((len(x), 1))], 1)
    logits = np.asarray(ended @ found[:, :-1])
    for model, absent in enumerate(found[:, -1] < 0):
        if absent.any():
            here = logits[model][:, ~absent]
            top = here.max(1, keepdims=True)
            logits[model][:, absent] = np.log(np.exp(here - top).sum(1, keepdims=True)) + top + found[model, -1, absent]
    return logits


class _Table:
    """The inputs with a column of ones, and the products of every two columns."""

    def __init__(self, x: NDArray[Any]) -> None:
        self.x = np.concatenate([np.asarray(x, np.float64), np.ones((len(x), 1))], 1)
        self.wide = self.x.shape[1]
        self.left, self.right = np.triu_indices(self.wide)
        self._rows = max(1, PAIR_BYTES // (8 * len(self.left)))
        self._kept: Floats | None = None  # made when first asked for, where they fit
        self.square = np.square(self.x)

    def _pairs(self, start: int) -> Floats:
        part = self.x[start : start + self._rows]
        return np.asarray(part[:, self.left] * part[:, self.right])

    def moments(self, weight: Floats) -> Floats:
        """``sum over rows of weight * x x'`` for weights ``(n, m)``: ``(m, d + 1, d + 1)``."""
        if self._kept is None and len(self.x) <= self._rows:
            self._kept = self._pairs(0)
        if self._kept is not None:
            flat = weight.T @ self._kept
        else:
            flat = np.zeros((weight.shape[1], len(self.left)))
            for start in range(0, len(self.x), self._rows):
                flat += weight[start : start + self._rows].T @ self._pairs(start)
        full = np.empty((len(flat), self.wide, self.wide))
        full[:, self.left, self.right] = flat
        full[:, self.right, self.left] = flat
        return full


@dataclass(slots=True)
class _Point:
    """Where a group of models stands: coefficients ``(d + 1, columns, m)``, their logits ``(n, columns, m)``, loss ``(m,)``."""

    at: Floats
    logits: Floats
    loss: Floats

    def only(self, keep: Any) -> _Point:
        return _Point(self.at[..., keep], self.logits[..., keep], self.loss[keep])


class _Group:
    """As many models as fit into memory, the model on the last axis so that all arithmetic over classes runs along it."""

    def __init__(self, learner: Softmax, table: _Table, y: NDArray[Any], weights: NDArray[Any], classes: int) -> None:
        self._learner, self._table, self._classes = learner, table, classes
        self._weights = np.ascontiguousarray(weights.T, np.float64)  # (n, m)
        each = np.broadcast_to(y[:, None] if y.ndim == 1 else y.T, self._weights.shape)
        names = np.arange(1, 2) if classes == 2 else np.arange(classes)
        self._truth = (each[:, None, :] == names[None, :, None]).astype(np.float64)  # (n, columns, m)
        self._total = self._weights.sum(0)
        held = np.stack([(self._weights * (each == c)).sum(0) for c in range(classes)])  # (classes, m)
        self._present = held > 0
        self._absent = np.zeros((1, weights.shape[0]), bool) if classes == 2 else ~self._present

    def solve(self) -> tuple[Floats, list[str]]:
        """Newton steps on all that are not done; who is done is left alone, so that none depends on another's steps."""
        members = self._weights.shape[1]
        found = np.zeros((self._table.wide, self._truth.shape[1], members))
        one = self._present.sum(0) < 2
        why = ["its training rows hold a single class" if lone else "" for lone in one]
        work = np.flatnonzero(~one)
        if not len(work):
            return self._finished(found), why
        point = self._measure(found[..., work], work)
        for _ in range(self._learner.steps):
            slope, share = self._slope(point, work)
            found[..., work] = point.at
            limit = self._learner.tol * self._total[work]
            open_ = np.abs(slope).max((0, 1)) > limit
            work, point, slope, share = work[open_], point.only(open_), slope[..., open_], share[..., open_]
            if not len(work):
                break
            direction = self._direction if slope[..., 0].size <= LARGE else self._conjugate
            point, moved = self._step(point, work, direction(slope, share, work))
            for i in work[~moved]:  # no way down that floats can tell: as good as solved, or hopeless
                near = np.abs(slope[..., work == i]).max() <= 1e-6 * self._total[i]
                why[i] = "" if near else "its slope does not vanish; bring the columns to a like scale"
            work, point = work[moved], point.only(moved)
        else:
            found[..., work] = point.at
            for i in work:
                why[i] = f"it did not converge in {self._learner.steps} Newton steps"
        return self._finished(found), why

    def _measure(self, at: Floats, work: NDArray[np.intp]) -> _Point:
        wide, columns, members = at.shape
        logits = (self._table.x @ at.reshape(wide, -1)).reshape(-1, columns, members)
        truth = self._truth[..., work]
        if self._classes == 2:
            loss = np.logaddexp(0.0, logits[:, 0]) - logits[:, 0] * truth[:, 0]
        else:
            logits[:, self._absent[:, work]] = -np.inf
            top = logits.max(1)
            own = np.where(truth > 0, logits, 0.0).sum(1)
            loss = np.log(np.exp(logits - top[:, None]).sum(1)) + top - own
        weight = self._weights[:, work]
        # A row that does not count may have an infinite loss under classes its model lacks.
        total = (weight * np.where(weight > 0, loss, 0.0)).sum(0) + 0.5 * self._learner.l2 * np.square(at[:-1]).sum((0, 1))
        return _Point(at, logits, total)

    def _slope(self, point: _Point, work: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """The gradient ``(d + 1, columns, m)`` and the share of each class ``(n, columns, m)``."""
        if self._classes == 2:
            share = 0.5 * (1 + np.tanh(0.5 * point.logits))
        else:
            share = np.exp(point.logits - point.logits.max(1, keepdims=True))
            share /= share.sum(1, keepdims=True)
        over = (share - self._truth[..., work]) * self._weights[:, None, work]
        slope = (self._table.x.T @ over.reshape(len(over), -1)).reshape(point.at.shape)
        slope[:-1] += self._learner.l2 * point.at[:-1]
        slope[:, self._absent[:, work]] = 0.0
        return slope, share

    def _direction(self, slope: Floats, share: Floats, work: NDArray[np.intp]) -> Floats:
        wide, columns, members = slope.shape
        square = np.empty((members, columns, wide, columns, wide))
        weight = self._weights[:, work]
        for a in range(columns):
            for b in range(a + 1):
                both = share[:, a] * ((1.0 if a == b else 0.0) - share[:, b])
                square[:, a, :, b] = square[:, b, :, a] = self._table.moments(weight * both)
        each = np.arange(wide)
        for a in range(columns):
            square[:, a, each[:-1], a, each[:-1]] += self._learner.l2
            # A class that is absent has no curvature of its own; any will do, as its slope is nothing.
            square[:, a, -1, a, -1] += self._absent[a, work]
        if columns > 1:
            # All intercepts may rise together and nothing changes. The slope has no such part: this curvature moves nothing.
            here = (~self._absent[:, work]).T * 1.0
            square[:, :, -1, :, -1] += here[:, :, None] * here[:, None, :]
        flat = square.reshape(members, columns * wide, columns * wide)
        sides = slope.transpose(2, 1, 0).reshape(members, -1)
        steps = np.stack([_solved(matrix, side) for matrix, side in zip(flat, sides, strict=True)])
        return np.asarray(-steps.reshape(members, columns, wide).transpose(2, 1, 0))

    def _conjugate(self, slope: Floats, share: Floats, work: NDArray[np.intp]) -> Floats:
        """The same direction by conjugate gradients, scaled by the diagonal; the nearer the optimum, the more exactly.

        Each model has its own lengths and its own end, so that none depends on another.
        """
        weight, penalty = self._weights[:, None, work], np.full((len(slope), 1, 1), self._learner.l2)
        penalty[-1] = 0.0
        curved = weight * share * (1 - share)
        diagonal = (self._table.square.T @ curved.reshape(len(curved), -1)).reshape(slope.shape) + penalty
        inverse = 1 / np.maximum(diagonal, 1e-12)

        def curvature(way: Floats) -> Floats:
            seen = (self._table.x @ way.reshape(len(way), -1)).reshape(share.shape)
            # One sigmoid is a softmax whose other logit is fixed at 0: the same sum over classes serves both.
            over = weight * share * (seen - (share * seen).sum(1, keepdims=True))
            back = (self._table.x.T @ over.reshape(len(over), -1)).reshape(way.shape) + penalty * way
            return np.asarray(back)

        return _conjugated(curvature, slope, inverse, self._total[work])

    def _step(self, point: _Point, work: NDArray[np.intp], way: Floats) -> tuple[_Point, NDArray[np.bool_]]:
        """As far along `way` as the loss falls, halving; and who moved."""
        after = _Point(point.at.copy(), point.logits.copy(), point.loss.copy())
        trying, size = np.arange(len(work)), 1.0
        for _ in range(HALVINGS):
            tried = self._measure(point.at[..., trying] + size * way[..., trying], work[trying])
            good = tried.loss < point.loss[trying]
            took = trying[good]
            after.at[..., took], after.logits[..., took] = tried.at[..., good], tried.logits[..., good]
            after.loss[took] = tried.loss[good]
            trying, size = trying[~good], size / 2
            if not len(trying):
                break
        moved = np.ones(len(work), bool)
        moved[trying] = False
        return after, moved

    def _finished(self, found: Floats) -> Floats:
        """``(m, d + 1, classes)``; two classes share their difference, an absent class gets half a row's chance."""
        share = np.log(0.5 / (self._total + 0.5)) * self._absent  # (classes, m); one row for two classes, all 0
        if self._classes == 2:
            both = np.stack([-found[:, 0].T / 2, found[:, 0].T / 2], 2)
        else:
            here = ~self._absent
            middle = (found[-1] * here).sum(0) / here.sum(0).clip(1)
            found[-1] -= middle * here  # all intercepts may rise together; theirs add up to 0
            both = found.transpose(2, 0, 1)
        return np.concatenate([both, np.broadcast_to(share.T[:, None], (len(both), 1, both.shape[2]))], 1)


def _solved(matrix: Floats, side: Floats) -> Floats:
    try:
        return np.asarray(cho_solve(cho_factor(matrix, lower=True, check_finite=False), side, check_finite=False))
    except LinAlgError:  # rounding made a curvature of nearly nothing negative
        return np.asarray(np.linalg.lstsq(matrix, side, rcond=None)[0])


def _conjugated(curvature: Callable[[Floats], Floats], slope: Floats, inverse: Floats, total: Floats) -> Floats:
    """Minus the solution of ``curvature(way) = slope`` for each model on the last axis."""

    def dot(a: Floats, b: Floats) -> Floats:
        return np.asarray(np.einsum("dkm,dkm->m", a, b))

    way, left = np.zeros_like(slope), -slope
    length = np.sqrt(dot(slope, slope))
    goal = length * np.minimum(0.1, np.sqrt(length / total))  # superlinear: Nocedal and Wright, Numerical Optimization, 7.1
    scaled = inverse * left
    search, angle = scaled.copy(), dot(left, scaled)
    open_ = length > 0
    for _ in range(ROUNDS):
        bent = curvature(search)
        bend = dot(search, bent)
        open_ &= bend > 0
        size = np.where(open_, angle / np.where(bend > 0, bend, 1.0), 0.0)
        way += size * search
        left -= size * bent
        open_ &= np.sqrt(dot(left, left)) > goal
        if not open_.any():
            break
        scaled = inverse * left
        before, angle = angle, dot(left, scaled)
        search = scaled + np.where(open_, angle / np.where(before > 0, before, 1.0), 0.0) * search
    return way
