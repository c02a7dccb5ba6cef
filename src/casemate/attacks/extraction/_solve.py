"""Solving for the weights of a linear model from its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ...core.errors import NotGranted
from ...core.target import Response
from ._decision import Decision, decision_of

Matrix = NDArray[np.float64]
_FLAT = 1e-5  # a score nearer 0 or 1 than this has lost five digits or more


@dataclass(frozen=True, slots=True)
class Answers:
    """What the endpoint answered.

    Args:
        mode: ``scores``, ``logits`` (raw scores of two or more classes) or ``values`` (one number a row).
        shown: The numbers themselves ``(n, k)``.
        linear: What is affine in a linear model ``(n, k - 1)``, or ``(n, 1)`` for values.
        usable: Entries of `linear` that are numbers.
        weight: One over the standard error of each entry of `linear`, up to a factor.
        label: ``(n,)``.
        single: Whether the numbers came in single precision.
    """

    mode: str
    shown: Matrix
    linear: Matrix
    usable: NDArray[np.bool_]
    weight: Matrix
    label: NDArray[Any]
    single: bool

    @property
    def precision(self) -> NDArray[np.float64]:
        """How well each answer is known ``(n,)``: its smallest weight, 0 where it has no logarithm at all."""
        return np.asarray(np.where(self.usable, self.weight, 0.0).min(1))

    @property
    def precise(self) -> NDArray[np.bool_]:
        """Answers worth solving with ``(n,)``.

        Of two scores one is often computed as 1 minus the other: where that is tiny, so are its digits.
        """
        return self.precision > (_FLAT if self.mode == "scores" and self.shown.shape[1] == 2 else 0.0)


def read(response: Response) -> Answers:
    """The finest numbers of a response. Scores come first: what is called logits may be anything."""
    label, scores, logits = np.asarray(response.label), response.scores, response.logits
    if scores is not None and scores.ndim == 2 and scores.shape[1] >= 2:
        shown = scores.astype(np.float64)
        single = scores.dtype.itemsize < 8
        if logits is not None and logits.shape == scores.shape:
            raw = _read_logits(np.asarray(logits), label)
            if (np.abs(raw.shown - shown) <= 1e-6 + 1e-5 * shown).all():
                return raw
        good = (shown > 0) & (shown < 1) & np.isfinite(shown)
        logs = np.log(np.where(good, shown, 1.0))
        # A score s with error e gives log s with error e / s: the smaller score of the two decides.
        weight = 1.0 / (1.0 / np.where(good, shown, 1.0)[:, 1:] + 1.0 / np.where(good, shown, 1.0)[:, :1])
        return Answers("scores", shown, logs[:, 1:] - logs[:, :1], good[:, 1:] & good[:, :1], weight, label, single)
    if logits is not None and logits.ndim == 2 and logits.shape[1] >= 2:
        return _read_logits(np.asarray(logits), label)
    if label.dtype.kind == "f":
        value = label.astype(np.float64).reshape(-1, 1)
        return Answers("values", value, value, np.isfinite(value), np.ones_like(value), label, label.dtype.itemsize < 8)
    raise NotGranted("scores are granted, but the endpoint shows labels only; extraction.learning works on labels")


def _read_logits(logits: NDArray[Any], label: NDArray[Any]) -> Answers:
    wide = logits.astype(np.float64)
    linear = wide[:, 1:] - wide[:, :1]
    single = logits.dtype.itemsize < 8
    return Answers("logits", softmax(wide, axis=1), linear, np.isfinite(linear), np.ones_like(linear), label, single)


def join(a: Answers, b: Answers) -> Answers:
    """Both, one after the other."""
    names = ("shown", "linear", "usable", "weight", "label")
    both: dict[str, Any] = {name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in names}
    return Answers(mode=a.mode, single=a.single or b.single, **both)


@dataclass(frozen=True, slots=True)
class Solution:
    """An affine model of the log-ratios (or values): ``linear = features @ weights + intercept``."""

    mode: str
    weights: Matrix
    intercept: Matrix
    digits: int | None
    tolerance: float

    def shown(self, features: Matrix) -> Matrix:
        """What the copy shows for features ``(n, d)``: scores ``(n, k)``, or values ``(n, 1)``."""
        linear = features @ self.weights + self.intercept
        if self.mode == "values":
            return linear
        return np.asarray(softmax(np.concatenate([np.zeros((len(linear), 1)), linear], axis=1), axis=1))

    def rule(self, features: Matrix, answers: Answers) -> Decision | None:
        """How scores become labels; None for values, which are the decision."""
        return None if self.mode == "values" else decision_of(answers.shown, answers.label)


def solve(features: Matrix, answers: Answers) -> Solution:
    """Least squares for each class against the first, every answer weighted by how well its logarithm is known."""
    a = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    over = len(a) > a.shape[1]
    found = _least_squares(a, answers, over)
    digits = decimals(answers.shown, answers.single) if answers.mode != "values" else None
    if digits is not None and over and answers.mode == "scores":
        # Least squares in the logarithms is best with many digits, and fails where answers of 0 and 1 drop out.
        found = min((found, _likeliest(a, answers.shown, found)), key=lambda w: _misfit(a, answers.shown, w))
    size = 1.0 if answers.mode != "values" else max(1.0, float(np.abs(answers.shown).max()))
    tolerance = 10.0 ** (1 - digits) if digits is not None else (1e-4 if answers.single else 1e-7) * size
    return Solution(answers.mode, found[:-1], found[-1], digits, tolerance)


def _least_squares(a: Matrix, answers: Answers, over: bool) -> Matrix:
    """Weights ``(d + 1, c)``; of the smallest norm where answers are too few."""
    linear, usable = answers.linear, answers.usable
    full = usable.all(1)
    if full.all() or full.sum() >= a.shape[1]:
        # An exact system needs no weights, and they would only cost digits.
        weight = answers.weight[full].min(1, keepdims=True) if over else 1.0
        return np.asarray(np.linalg.lstsq(a[full] * weight, linear[full] * weight)[0])
    found = np.zeros((a.shape[1], linear.shape[1]))
    for column in range(linear.shape[1]):
        use = usable[:, column]
        if use.any():
            weight = answers.weight[use, column] if over else np.ones(int(use.sum()))
            found[:, column] = np.linalg.lstsq(a[use] * weight[:, None], linear[use, column] * weight)[0]
    return found


def decimals(shown: Matrix, single: bool = False, most: int = 6) -> int | None:
    """After how many decimals scores were rounded; None where no rounding shows."""
    found = None
    for digits in range(most, -1, -1):  # what is rounded to few digits is rounded to many: the first no ends it
        scaled = shown * 10.0**digits
        if not np.abs(scaled - np.round(scaled)).max() < (1e-7 if single else 1e-9) * 10.0**digits:
            break
        found = digits
    return found


def _misfit(a: Matrix, shown: Matrix, weights: Matrix) -> float:
    linear = a @ weights
    own = softmax(np.concatenate([np.zeros((len(a), 1)), linear], axis=1), axis=1)
    return float(((own - shown) ** 2).sum())


def _likeliest(a: Matrix, shown: Matrix, start: Matrix) -> Matrix:
    """Weights whose scores are nearest the rounded ones (cross-entropy), so that answers of 0 and 1 count too."""
    goal = shown / np.maximum(shown.sum(1, keepdims=True), 1e-12)
    shape = start.shape

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        linear = a @ flat.reshape(shape)
        logs = log_softmax(np.concatenate([np.zeros((len(a), 1)), linear], axis=1), axis=1)
        # A breath of ridge: answers of exactly 0 and 1 alone would send the weights to infinity.
        ridge = np.concatenate([flat.reshape(shape)[:-1], np.zeros((1, shape[1]))])
        value = -(goal * logs).sum() + 0.5e-4 * (ridge**2).sum()
        slope = a.T @ (np.exp(logs) - goal)[:, 1:] + 1e-4 * ridge
        return float(value), slope.reshape(-1)

    best = minimize(loss, start.reshape(-1), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(best.x).reshape(shape)
