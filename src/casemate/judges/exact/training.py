"""What training data do to a model, in closed form: noise that cannot be learned through, one row more or less, one update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput

Floats = NDArray[np.float64]


def noise_floor(beta: float) -> float:
    """The error no learner gets below when a share `beta` of records is malicious: beta / (1 - beta) (Kearns, Li 1993)."""
    if not 0 <= beta < 1:
        raise BadInput(f"beta={beta:g} is not allowed; give a share from 0 to below 1")
    return min(beta / (1 - beta), 0.5)


def noise_limit(error: float) -> float:
    """The share of malicious records from which no learner reaches `error`: error / (1 + error)."""
    if error <= 0:
        raise BadInput(f"error={error:g} is not allowed; give one above 0")
    return error / (1 + error)


def two_targets(error: float) -> tuple[Floats, Floats]:
    """The law of records ``(point, label)`` under each of two targets that differ on a point of probability `error`, when an
    adversary with the share `noise_limit(error)` sends that point with the wrong label. The two are the same: (2, 2) each.
    """
    beta = noise_limit(error)
    clean = [np.array([[0.0, error], [1 - error, 0.0]]), np.array([[error, 0.0], [1 - error, 0.0]])]
    sent = [np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])]
    first, second = ((1 - beta) * c + beta * s for c, s in zip(clean, sent, strict=True))
    return first, second


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """A linear fit and what it would be without each row.

    Args:
        weights: ``(d,)`` of all rows.
        without: ``(n, d)`` of all rows but each.
        residual: ``(n,)`` error of each row under the fit that never saw it.
        leverage: ``(n,)`` diagonal of the hat matrix.
        cook: ``(n,)`` Cook's distance; only ridge = 0 gives it its usual meaning.
    """

    weights: Floats
    without: Floats
    residual: Floats
    leverage: Floats
    cook: Floats


def leave_one_out(x: Any, y: Any, ridge: float = 0.0) -> LeaveOneOut:
    """Least squares ``|y - x w|^2 + ridge |w|^2`` with every row left out once, from a single fit in O(n d^2).

    There is no intercept; add a column of ones, which the ridge then shrinks too.

    Raises:
        BadInput: A row decides the fit alone (leverage 1), or the columns are dependent and ridge is 0.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    n, d = a.shape
    gram = a.T @ a + ridge * np.eye(d)
    if np.linalg.matrix_rank(gram) < d:
        raise BadInput("the columns of x are dependent, and no single fit is best; drop some, or give ridge > 0")
    back = np.linalg.solve(gram, a.T)  # (d, n)
    weights = back @ b
    leverage = np.einsum("nd,dn->n", a, back)
    if (leverage > 1 - 1e-12).any():
        raise BadInput(f"row {int(np.argmax(leverage))} decides the fit alone (leverage 1); without it there is none")
    error = b - a @ weights
    residual = error / (1 - leverage)
    spread = float(error @ error) / max(n - d, 1)
    cook = error**2 * leverage / (d * spread * (1 - leverage) ** 2) if spread > 0 else np.zeros(n)
    return LeaveOneOut(weights, weights - back.T * residual[:, None], residual, leverage, cook)


def leaked_input(weight_gradient: Any, bias_gradient: Any) -> Floats:
    """The input of a dense layer ``(d,)`` from its gradients on one record, ``(k, d)`` and ``(k,)``: dW_i / db_i.

    The unit with the largest bias gradient is used. With several records the result is their mean, weighted by the gradients.
    """
    w, b = np.asarray(weight_gradient, float), np.asarray(bias_gradient, float)
    active = int(np.argmax(np.abs(b)))
    if b[active] == 0:
        raise BadInput("every bias gradient is 0: no unit was active, and nothing leaks")
    return np.asarray(w[active] / b[active])


def leaked_label(bias_gradient: Any) -> int:
    """The label of one record from the bias gradient of the last layer under cross-entropy: the only negative entry."""
    b = np.asarray(bias_gradient, float)
    if (b < 0).sum() != 1:
        raise BadInput(f"{int((b < 0).sum())} entries are negative; under cross-entropy on one record exactly one is")
    return int(np.argmin(b))


def mean_shift(beta: float, reach: float, mean_size: float = 0.0) -> float:
    """The most a mean moves when a share `beta` of its rows becomes anything of size up to `reach`: beta (reach + |mean|).

    `mean_size` is the length of the mean of the rows that are kept.
    """
    return beta * (reach + mean_size)


def trimmed_mean(values: Any, trim: float) -> Floats:
    """The mean of each column of ``(n, d)`` without its ``floor(trim n)`` smallest and largest values.

    While fewer than that many rows are poisoned it stays between the smallest and the largest honest value of each column.
    """
    rows = np.sort(np.asarray(values, float), axis=0)
    cut = int(np.floor(trim * len(rows) + 1e-9))
    if not 0 <= trim < 0.5 or 2 * cut >= len(rows):
        raise BadInput(f"trim={trim:g} leaves none of {len(rows)} rows; give a share from 0 to below one half")
    return np.asarray(rows[cut : len(rows) - cut].mean(0))


def replacing_update(wanted: Any, current: Any, others: Any, weights: Any = None) -> Floats:
    """The model one client sends so that the federated average is exactly `wanted` ``(p,)`` (Bagdasaryan et al. 2020).

    Args:
        current: The global model ``(p,)`` that every client starts from.
        others: Models ``(k, p)`` of the honest clients, or ``(0, p)`` where the attacker guesses they stay at `current`.
        weights: Shares ``(k + 1,)`` of the average, the attacker's first, summing to 1; equal by default. Shares that the
            rows of `others` do not use up count as clients that stay at `current`.
    """
    goal, now = np.asarray(wanted, float), np.asarray(current, float)
    honest = np.asarray(others, float).reshape(-1, len(goal))
    share = np.full(len(honest) + 1, 1 / (len(honest) + 1)) if weights is None else np.asarray(weights, float)
    if share[0] <= 0 or len(share) < len(honest) + 1:
        raise BadInput("give one share for the attacker, above 0, and one for each honest client")
    moved = share[1 : len(honest) + 1] @ (honest - now)
    return np.asarray(now + (goal - now - moved) / share[0])
