"""The linear support vector machine, solved exactly, and how it moves when a training record moves.

``min |w|^2 / 2 + C sum_i max(0, 1 - t_i (w a_i + b))``. At the optimum every record is outside the margin (its multiplier is
0), inside (C), or on it. As long as that does not change, w and b solve a linear system, and so do their derivatives
(Biggio, Nelson and Laskov 2012). A record that moves a little is followed by solving that system again and letting records
change sides one by one; only where that does not end is the machine trained from the beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import need
from ._linear import Family, Floats, ones

ROUNDS = 60  # changes of side that are followed before training from the beginning
TOL = 1e-9


@dataclass(frozen=True, slots=True)
class Machine:
    """A trained machine.

    Args:
        theta: ``(1, d + 1)``, the intercept last.
        side: Of each training record ``(n,)``: 0 outside, 1 on the margin, 2 inside.
        beta: Multiplier times label of each ``(n,)``.
        rows: The training records ``(n, d)``, and `t` their labels, -1 or 1 ``(n,)``.
        cost: C.
    """

    theta: Floats
    side: NDArray[np.int8]
    beta: Floats
    rows: Floats
    t: Floats
    cost: float
    family: Family = "svm"

    def loss(self, a: Floats, t: Floats) -> float:
        """Mean hinge loss on other records."""
        return float(self.losses(a, t).mean())

    def losses(self, a: Floats, t: Floats) -> Floats:
        return np.asarray(np.maximum(0.0, 1 - t[:, 0] * (ones(a) @ self.theta[0])))

    def slopes(self, a: Floats, t: Floats, val: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """How the mean hinge loss on `val` changes with the last ``m`` training records ``a (m, d)``; labels do not move."""
        b, goal = ones(val[0]), val[1][:, 0]
        short = 1 - goal * (b @ self.theta[0]) > 0
        slope = -(goal[short] @ b[short]) / len(b)
        on = np.flatnonzero(self.side == 1)
        margin = self.rows[on]
        q = _solved(margin, np.append(margin @ slope[:-1], slope[-1]))
        u = slope[:-1] - margin.T @ q[:-1]
        first = len(self.rows) - len(a)
        own = np.zeros(len(self.rows))
        own[on] = q[:-1]
        return self.beta[first:, None] * u - own[first:, None] * self.theta[0, :-1], np.zeros_like(t)


def machine(cost: float, a: Floats, t: Floats, start: Machine | None = None) -> Machine:
    """Train on records ``a (n, d)`` with labels ``t (n,)`` of -1 and 1; `start` is one of as many, nearly the same records."""
    if start is not None and len(start.rows) == len(a) and (start.t == t).all():
        found = _followed(cost, a, t, start.side.copy())
        if found is not None:
            return found
    return _trained(cost, a, t)


def _followed(cost: float, a: Floats, t: Floats, side: NDArray[np.int8]) -> Machine | None:
    """Solve with these sides, and let the record that fits its side least change it, until all fit; None where that fails."""
    for _ in range(ROUNDS):
        theta, beta = _with(cost, a, t, side)
        if theta is None:
            return None
        alpha, gap = beta * t, t * (a @ theta[:-1] + theta[-1]) - 1
        wrong = np.select([side == 0, side == 2], [-gap, gap], np.maximum(-alpha, alpha - cost) / cost)
        worst = int(np.argmax(wrong))
        if wrong[worst] <= TOL:
            return Machine(theta[None], side, beta, a, t, cost)
        side[worst] = 1 if side[worst] != 1 else 0 if alpha[worst] < 0 else 2
    return None


def _with(cost: float, a: Floats, t: Floats, side: NDArray[np.int8]) -> tuple[Any, Floats]:
    """The machine that these sides make: ``(d + 1,)`` and multipliers times labels ``(n,)``; None where they make none."""
    on = np.flatnonzero(side == 1)
    beta = np.where(side == 2, cost * t, 0.0)
    if not len(on) or len(on) > a.shape[1] + 1:
        return None, beta
    fixed, margin = beta @ a, a[on]
    found = _solved(margin, np.append(t[on] - margin @ fixed, -beta.sum()))
    if not np.isfinite(found).all():
        return None, beta
    beta[on] = found[:-1]
    return np.append(fixed + found[:-1] @ margin, found[-1]), beta


def _solved(margin: Floats, goal: Floats) -> Floats:
    """Solve ``[[K, 1], [1, 0]] z = goal`` for the records on the margin; not a number where they depend on one another."""
    size = len(margin)
    left = np.ones((size + 1, size + 1))
    left[:size, :size] = margin @ margin.T
    left[size, size] = 0.0
    try:
        return np.asarray(np.linalg.solve(left, goal))
    except np.linalg.LinAlgError:
        return np.full(size + 1, np.nan)


def _trained(cost: float, a: Floats, t: Floats) -> Machine:
    """From the beginning, then made exact with the sides that came out."""
    svm = need("sklearn.svm", "sklearn", "a support vector machine")
    made = svm.SVC(C=cost, kernel="linear", tol=1e-6).fit(a, t)
    beta = np.zeros(len(a))
    beta[made.support_] = made.dual_coef_[0]
    alpha = np.abs(beta)
    side = np.where(alpha > cost * (1 - 1e-6), 2, np.where(alpha > cost * 1e-6, 1, 0)).astype(np.int8)
    exact = _followed(cost, a, t, side.copy())
    if exact is not None:
        return exact
    theta = np.append(made.coef_[0], made.intercept_[0])
    # Records on the margin that depend on one another: one of many solutions. Its slopes are taken without them.
    return Machine(theta[None], np.where(side == 1, 0, side).astype(np.int8), beta, a, t, cost)
