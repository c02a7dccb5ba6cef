"""Linear models with exact second derivatives, and how their optimum moves when a training record moves.

The training objective is ``sum_i loss(T a_i, t_i) + penalty(W)`` with ``T = [W, b]`` of shape ``(k, d + 1)``, rows ``a_i``
with a one appended, and the penalty on ``W`` alone. At the optimum the gradient is zero, and stays zero when a record moves:
``dT = -H^-1 d(gradient)``. So the slope of any loss V of the model in a training record is ``-(dgradient/drecord)^T H^-1 dV/dT``
(Mei and Zhu 2015), exact, for all records at once from a single Cholesky factor of H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit, softmax

from ...core.errors import BadInput

Floats = NDArray[np.float64]
Family = Literal["logistic", "ridge", "lasso", "svm"]
MOST = 4000  # numbers in a model of which the second derivatives still fit


class Model(Protocol):
    """A fitted linear model that can be differentiated through its training."""

    @property
    def family(self) -> Family: ...
    @property
    def theta(self) -> Floats:
        """``(k, d + 1)``, the intercept last."""
        ...

    def loss(self, a: Floats, t: Floats) -> float: ...
    def losses(self, a: Floats, t: Floats) -> Floats: ...
    def slopes(self, a: Floats, t: Floats, val: tuple[Floats, Floats]) -> tuple[Floats, Floats]: ...


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted model.

    Args:
        family: Its loss and penalty.
        theta: ``(k, d + 1)``, the intercept last.
        factor: Cholesky factor of the second derivatives of the training objective at `theta`: one for all outputs where they
            do not mix (ridge, two classes), of ``(k (d + 1),)`` parameters for softmax, one for each output for lasso.
        active: For lasso, which parameters are not held at 0 ``(k, d + 1)``.
    """

    family: Family
    theta: Floats
    factor: Any
    active: NDArray[np.bool_] | None = None

    def loss(self, a: Floats, t: Floats) -> float:
        """Mean loss on other records, without the penalty."""
        return float(self.losses(a, t).mean())

    def losses(self, a: Floats, t: Floats) -> Floats:
        """The loss of each record ``(n,)``."""
        z = ones(a) @ self.theta.T
        if self.family != "logistic":
            return np.asarray(0.5 * ((z - t) ** 2).sum(1))
        whole = np.logaddexp(0, z[:, 0]) if z.shape[1] == 1 else np.logaddexp.reduce(z, axis=1)
        return np.asarray(whole - (t * z).sum(1))

    def slopes(self, a: Floats, t: Floats, val: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """How the mean loss on `val` changes with training records ``a (m, d)`` and with their targets ``t (m, k)``."""
        b = ones(val[0])
        goal = _residual(self.family, b @ self.theta.T, val[1]).T @ b / len(b)
        v = self._solved(goal)
        own = ones(a)
        z = own @ self.theta.T
        along = own @ v.T  # (m, k)
        moved = _residual(self.family, z, t) @ v[:, :-1] + _curved(self.family, z, along) @ self.theta[:, :-1]
        return -moved, along

    def _solved(self, goal: Floats) -> Floats:
        if self.family == "lasso":
            assert self.active is not None
            v = np.zeros_like(goal)
            for j, (factor, free) in enumerate(zip(self.factor, self.active, strict=True)):
                v[j, free] = cho_solve(factor, goal[j, free])
            return v
        if self.family == "ridge":
            found: Floats = np.asarray(cho_solve(self.factor, goal.T))
            return found.T
        return _solve(self.factor, goal)


def fitted(family: Family, strength: float, a: Floats, t: Floats, start: Any = None) -> Model:
    """Train to the optimum.

    Args:
        strength: Of the penalty: ``strength / 2 |W|^2`` on the summed loss (scikit-learn's ``1 / C``; its ``alpha`` for ridge),
            for lasso ``strength n |W|_1`` (its ``alpha``), for a support vector machine ``1 / C``.
        a: Records ``(n, d)``.
        t: Targets ``(n, k)``: numbers, for classes what `targets` gives.
        start: A model of nearly the same records: to begin at its optimum saves most of the work.
    """
    if family == "svm":
        from ._machine import machine

        return machine(1 / strength, a, t[:, 0], start)
    if family == "ridge":
        return _ridge(strength, a, t)
    if family == "lasso":
        return _lasso(strength, a, t, start)
    size = t.shape[1] * (a.shape[1] + 1)
    if size > MOST:
        raise BadInput(f"a softmax of {size} numbers has too many second derivatives; at most {MOST}, or family='ridge'")
    return _logistic(strength, a, t, start)


def targets(family: Family, seat: NDArray[np.int64], classes: int) -> Floats:
    """What a family is trained to give for classes counted from 0: ``(n, k)``, 0/1, or -1/1 where errors are squared."""
    hot: Floats = (seat[:, None] == np.arange(classes)).astype(float)
    if classes == 2:
        hot = hot[:, 1:]
    return hot if family == "logistic" else np.asarray(2 * hot - 1)


def ones(a: Floats) -> Floats:
    return np.concatenate([a, np.ones((len(a), 1))], axis=1)


def _residual(family: Family, z: Floats, t: Floats) -> Floats:
    """The slope of each record's loss in its outputs ``(n, k)``."""
    if family != "logistic":
        return z - t
    return np.asarray((expit(z) if z.shape[1] == 1 else softmax(z, axis=1)) - t)


def _curved(family: Family, z: Floats, u: Floats) -> Floats:
    """The second derivative of each record's loss in its outputs, times `u`."""
    if family != "logistic":
        return u
    if z.shape[1] == 1:
        p = expit(z)
        return np.asarray(p * (1 - p) * u)
    p = softmax(z, axis=1)
    return np.asarray(p * u - p * (p * u).sum(1, keepdims=True))


def _penalty(strength: float, d: int) -> Floats:
    """On the weights; a trace on the intercept, which keeps H invertible and moves nothing anybody sees."""
    return np.append(np.full(d, strength), 1e-10)


def _ridge(strength: float, a: Floats, t: Floats) -> Linear:
    b = ones(a)
    factor = cho_factor(b.T @ b + np.diag(_penalty(max(strength, 1e-10), a.shape[1])))
    return Linear("ridge", cho_solve(factor, b.T @ t).T, factor)


def _logistic(strength: float, a: Floats, t: Floats, start: Linear | None) -> Linear:
    """Newton's method, with the second derivatives of a step before as long as they still serve: they are what costs."""
    b, k = ones(a), t.shape[1]
    shrink = _penalty(strength, a.shape[1])
    theta = np.zeros((k, b.shape[1])) if start is None else start.theta
    factor: Any = None if start is None else start.factor
    slope = _slope(b, t, theta, shrink)
    tol, fresh = 1e-10 * max(1.0, len(a)), False
    for _ in range(300):
        if (steep := np.abs(slope).max()) < tol:
            break
        if factor is None:
            factor, fresh = cho_factor(_hessian(b, b @ theta.T, shrink)), True
        move = _solve(factor, slope)
        if fresh:
            move *= _length(b, t, theta, shrink, move, slope)
        after = _slope(b, t, theta - move, shrink)
        if not fresh and np.abs(after).max() > 0.5 * steep:
            factor = None  # it no longer serves
            continue
        theta, slope = theta - move, after
        if fresh and np.abs(slope).max() > 0.1 * steep:
            factor = None
        fresh = False
    return Linear("logistic", theta, cho_factor(_hessian(b, b @ theta.T, shrink)))


def _slope(b: Floats, t: Floats, theta: Floats, shrink: Floats) -> Floats:
    return np.asarray(_residual("logistic", b @ theta.T, t).T @ b + shrink * theta)


def _solve(factor: Any, goal: Floats) -> Floats:
    return np.asarray(cho_solve(factor, goal.ravel()).reshape(goal.shape))


def _length(b: Floats, t: Floats, theta: Floats, shrink: Floats, move: Floats, slope: Floats) -> float:
    """How much of a Newton step falls far enough."""
    value, fall, length = _value(b, t, theta, shrink), float((move * slope).sum()), 1.0
    while length > 1e-6 and _value(b, t, theta - length * move, shrink) > value - 1e-4 * length * fall + 1e-12 * abs(value):
        length /= 2
    return length


def _value(b: Floats, t: Floats, theta: Floats, shrink: Floats) -> float:
    z = b @ theta.T
    loss = np.logaddexp(0, z).sum() if z.shape[1] == 1 else np.logaddexp.reduce(z, axis=1).sum()
    return float(loss - (t * z).sum() + 0.5 * (shrink * theta**2).sum())


def _hessian(b: Floats, z: Floats, shrink: Floats) -> Floats:
    d, k = b.shape[1], z.shape[1]
    if k == 1:
        p = expit(z)
        return np.asarray((b * (p * (1 - p))).T @ b + np.diag(shrink))
    p = softmax(z, axis=1)
    parts = (p[:, :, None] * b[:, None, :]).reshape(len(b), k * d)
    h = -(parts.T @ parts).reshape(k, d, k, d)
    for i in range(k):
        h[i, :, i, :] += (b * p[:, i, None]).T @ b
    # All intercepts may rise together and nothing changes: that direction is filled in, and no slope points along it.
    h[:, -1, :, -1] += 1.0 / k
    return np.asarray(h.reshape(k * d, k * d) + np.diag(np.tile(shrink, k)))


def _lasso(strength: float, a: Floats, t: Floats, start: Linear | None) -> Linear:
    """Coordinate descent, then the exact optimum on the parameters that are not 0."""
    b, n = ones(a), len(a)
    gram, cross = b.T @ b, b.T @ t
    theta = np.zeros((t.shape[1], b.shape[1])) if start is None else start.theta.copy()
    active, factors = np.zeros(theta.shape, bool), []
    for j in range(len(theta)):
        w = theta[j]
        _descend(gram, cross[:, j], w, n * strength)
        free = w != 0
        free[-1] = True
        factor = cho_factor(gram[np.ix_(free, free)] + 1e-10 * np.eye(int(free.sum())))
        sign = np.sign(w[free])
        sign[-1] = 0.0
        w[free] = cho_solve(factor, cross[free, j] - n * strength * sign)
        active[j] = free
        factors.append(factor)
    return Linear("lasso", theta, factors, active)


def _descend(gram: Floats, cross: Floats, w: Floats, force: float) -> None:
    """Minimise ``w G w / 2 - c w + force |w|_1`` with the last entry free, in place."""
    slope = gram @ w - cross
    for _ in range(2000):
        far = 0.0
        for i in range(len(w)):
            if gram[i, i] <= 0:
                continue
            pull = w[i] * gram[i, i] - slope[i]
            new = pull / gram[i, i] if i == len(w) - 1 else np.sign(pull) * max(abs(pull) - force, 0.0) / gram[i, i]
            if new != w[i]:
                slope += gram[:, i] * (new - w[i])
                far, w[i] = max(far, abs(new - w[i]) * gram[i, i] ** 0.5), new
        if far < 1e-10 * max(1.0, float(np.abs(w).max())):
            return
