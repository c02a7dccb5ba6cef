"""What leaving a training row out does to a linear fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput

Floats = NDArray[np.float64]
FULL = 1e-10  # a leverage nearer to 1 than this: the row alone decides a direction, and without it there is no fit
AT_REST = 1e-3  # mean slope of the loss, by the scale of the inputs, up to which a fit is taken for the optimum on these rows


def ridge_effects(x_train: Any, y_train: Any, x: Any, ridge: float = 0.0, intercept: bool = True) -> Floats:
    """How the prediction at each of `x` changes when each training row is left out ``(m, n)``: exactly what a refit gives.

    Minimises ``sum of squared errors + ridge * |coefficients|^2``; the intercept is not penalised. `ridge` 0 is least squares.

    Raises:
        BadInput: Shapes do not fit, the fit is not unique, or some row alone decides a direction of it.
    """
    rows, y, asked = _matrices(x_train, y_train, x)
    rows, asked, solved = _ridge(rows, asked, ridge, intercept)
    leverage = (rows * solved.T).sum(1)
    if (1 - leverage < FULL).any():
        raise BadInput(f"row {int(leverage.argmax())} alone decides a direction of the fit; give ridge above 0")
    residual = y - rows @ (solved @ y)
    return np.asarray(-(asked @ solved) * (residual / (1 - leverage)))


def ridge_off(x_train: Any, y_train: Any, coefficients: Any, bias: Any, ridge: float = 0.0, intercept: bool = True) -> float:
    """How far a fit ``(d,)`` and its bias are from the closed form on these rows: of their predictions, in the labels' spread."""
    rows, y, _ = _matrices(x_train, y_train, x_train)
    theta = np.ravel(np.asarray(coefficients, float))
    if theta.shape != (rows.shape[1],) or np.size(bias) != 1:
        shape = np.shape(coefficients)
        raise BadInput(f"coefficients of shape {shape} for rows of {rows.shape[1]} numbers; one output is understood")
    said = rows @ theta + float(np.ravel(bias)[0])
    ended, _, solved = _ridge(rows, rows, ridge, intercept)
    spread = float(np.abs(y - y.mean() if intercept else y).max()) + 1e-9 * float(np.abs(y).max())
    return float(np.abs(said - ended @ (solved @ y)).max()) / max(spread, 1e-300)


def _ridge(rows: Floats, asked: Floats, ridge: float, intercept: bool) -> tuple[Floats, Floats, Floats]:
    """Rows and questions as the fit sees them, and what makes its coefficients of labels ``(d, n)``."""
    if not ridge >= 0:
        raise BadInput(f"ridge={ridge!r} is not allowed; give a number from 0 up")
    if intercept:  # the middle of the rows is the intercept's to know: without it, columns far from 0 cost digits
        middle = rows.mean(0)
        rows, asked = _ended(rows - middle), _ended(asked - middle)
    penalty = np.full(rows.shape[1], float(ridge))
    if intercept:
        penalty[-1] = 0.0
    square = rows.T @ rows + np.diag(penalty)
    if np.linalg.matrix_rank(square) < len(square):
        raise BadInput("the fit is not unique: some columns follow from others; leave them out, or give ridge above 0")
    return rows, asked, np.asarray(np.linalg.solve(square, rows.T), np.float64)


def logistic_effects(
    x_train: Any, y_train: Any, x: Any, *, coefficients: Any, intercept: Any, l2: float, free: bool = True
) -> Floats:
    """How the logits at each of `x` change when each training row is left out ``(m, n, k)``: one Newton step from the optimum.

    The step uses the curvature without the row (its leverage), so that it is exact to second order, where an influence
    function is to first.

    Args:
        y_train: Classes from 0 to k - 1; with one vector of coefficients, 0 and 1.
        coefficients, intercept: Of the fit, ``(k, d)`` and ``(k,)``; ``(1, d)`` for two classes with one sigmoid.
        l2: Of ``sum of cross-entropies + l2 / 2 * |coefficients|^2``; scikit-learn's ``1 / C``.
        free: Whether an intercept was fitted.

    Raises:
        BadInput: Shapes do not fit, or the fit is not the optimum on these rows: they are not what it was trained on.
    """
    rows, labels, asked = _matrices(x_train, y_train, x)
    theta = np.concatenate([np.atleast_2d(np.asarray(coefficients, float)), np.atleast_1d(intercept)[:, None]], 1)
    rows, asked = _ended(rows), _ended(asked)
    k, wide = theta.shape
    if wide != rows.shape[1]:
        raise BadInput(f"coefficients of shape {theta[:, :-1].shape} for rows of {rows.shape[1] - 1} numbers")
    chance = _chances(rows @ theta.T)
    one_hot = labels[:, None] == np.arange(k) if k > 1 else labels[:, None] == 1
    error = np.asarray(chance - one_hot, np.float64)
    penalty = np.full((k, wide), float(l2))
    penalty[:, -1] = 0.0
    slope = error.T @ rows + penalty * theta
    _at_rest(slope if free else slope[:, :-1], rows)
    if not free:
        rows, asked = rows[:, :-1], asked[:, :-1]
        penalty = penalty[:, :-1]
    inverse: Any = np.linalg.pinv(_curvature(rows, chance) + np.diag(penalty.ravel()), hermitian=True)
    return _steps(rows, asked, chance, error, inverse)


def _steps(rows: Floats, asked: Floats, chance: Floats, error: Floats, inverse: Floats) -> Floats:
    """The Newton step of every row, seen from every question ``(m, n, k)``."""
    n, k, d = len(rows), chance.shape[1], rows.shape[1]
    blocks = inverse.reshape(k, d, k, d)
    found = np.zeros((len(asked), n, k))
    for i in range(n):
        side = np.einsum("adbe,e->adb", blocks, rows[i])  # H^-1 U
        own = np.einsum("adb,d->ab", side, rows[i])  # U^T H^-1 U
        weight = _weight(chance[i])
        step = side @ np.linalg.solve(np.eye(k) - weight @ own, error[i])
        found[:, i] = asked @ step.T
    return found


def _weight(chance: Floats) -> Floats:
    """The curvature of the cross-entropy in the logits of one row ``(k, k)``."""
    return np.diag(chance) - np.outer(chance, chance)


def _curvature(rows: Floats, chance: Floats) -> Floats:
    """The curvature of the summed cross-entropy ``(k d, k d)``."""
    k, d = chance.shape[1], rows.shape[1]
    found = np.zeros((k, d, k, d))
    for a in range(k):
        for b in range(k):
            weight = chance[:, a] * ((a == b) - chance[:, b])
            found[a, :, b] = (rows * weight[:, None]).T @ rows
    return found.reshape(k * d, k * d)


def _at_rest(slope: Floats, rows: Floats) -> None:
    mean = float(np.abs(slope).max() / len(rows))
    scale = max(float(np.abs(rows).mean()), 1e-300)
    if not mean <= AT_REST * scale:
        raise BadInput(
            f"the model is not the optimum on these rows (mean slope {mean:.2g}): they are not all that it was trained on, it "
            "weighs them, or its penalty is another one"
        )


def _chances(logits: Floats) -> Floats:
    """Probabilities ``(n, k)``; of one logit, that of class 1 ``(n, 1)``."""
    if logits.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))))
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def _ended(x: Floats) -> Floats:
    return np.concatenate([x, np.ones((len(x), 1))], 1)


def _matrices(x_train: Any, y_train: Any, x: Any) -> tuple[Floats, Floats, Floats]:
    try:
        rows, y, asked = np.asarray(x_train, float), np.asarray(y_train, float), np.asarray(x, float)
    except (ValueError, TypeError) as error:
        raise BadInput(f"training rows, labels and questions must be numbers: {error}") from None
    asked = asked[None] if asked.ndim == 1 else asked
    if rows.ndim != 2 or y.shape != (len(rows),) or asked.ndim != 2 or asked.shape[1] != rows.shape[1] or len(rows) < 2:
        raise BadInput(f"training rows {rows.shape}, labels {y.shape}, questions {asked.shape}: give (n, d), (n,), (m, d), n > 1")
    if not (np.isfinite(rows).all() and np.isfinite(y).all() and np.isfinite(asked).all()):
        raise BadInput("training rows, labels or questions hold NaN or infinity; leave those rows out")
    return rows, y, asked
