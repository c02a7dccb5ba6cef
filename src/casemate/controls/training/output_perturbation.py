"""Solve a regularised logistic regression exactly, then add noise to its coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from ...core.control import control
from ...core.errors import BadInput
from ...core.identity import hash_data, hash_of
from ...core.target import Recipe, Target
from ...trainers import Softmax
from ._network import fitting, labels_of, matrix, no_classes, share

Floats = NDArray[np.float64]
NEAR = 1e-5  # how far from the optimum the solver may stop; both neighbours' share of it is hidden by noise as well


@control(
    "training.output_perturbation",
    changes=(("training.dp", "<epsilon>, 0"),),
    knows=("privacy.lira", "privacy.canary"),
    threats=("PR-01", "PR-02"),
    side_effects="clean accuracy falls with the number of columns and classes, and with every bit less of penalty",
    trains=True,
)
class OutputPerturbation:
    """Chaudhuri, Monteleoni and Sarwate 2011 (arXiv:0912.0071): epsilon exactly, delta 0.

    The optimum of a regression on rows no longer than 1, with penalty ``l2 / 2 * |w|^2`` on the summed loss, moves by at most
    2 / l2 where one record is another (two classes; their 2 / (n lambda) with n lambda = l2). For k classes the slope of a
    record is longer by sqrt(2), and so is the move. Noise with a density falling as ``exp(-epsilon * |b| / move)`` hides it.

    We differ in the intercept, which is a column like any other: unpenalised it could move without bound.

    Args:
        epsilon: Spent on each record.
        l2: The penalty; None: that of the recipe's `stack`. A larger one means less noise and a coarser model.
        radius: Rows longer than this are shortened to it, and all are divided by it. It must not be read off the data. None:
            the square root of the number of columns, right where values lie from -1 to 1.
    """

    epsilon: float = 8.0
    l2: float | None = None
    radius: float | None = None

    def __post_init__(self) -> None:
        share("epsilon", self.epsilon, 0, float("inf"))
        for name in ("l2", "radius"):
            if getattr(self, name) is not None:
                share(name, getattr(self, name), 0, float("inf"))

    def facts(self) -> tuple[tuple[str, Any], ...]:
        return (("training.dp.eps", float(self.epsilon)), ("training.dp.delta", 0.0))

    def fits(self, recipe: Recipe) -> str:
        """Why it cannot be used with that recipe; empty where it can."""
        if not isinstance(recipe.stack, Softmax):
            return "the recipe has no stack of kind Softmax"
        return no_classes(recipe)

    def harden_recipe(self, recipe: Recipe) -> Recipe:
        """The same regression with noise.

        Raises:
            UsageError: The recipe's stack is no regression, or its labels are no classes.
        """
        fitting(self, recipe)
        labels = labels_of(recipe)
        assert labels is not None
        fit = Perturbed(self, float(self.l2 or recipe.stack.l2), int(labels.max()) + 1)
        return replace(recipe, fit=fit, stack=None, version=f"{recipe.version}+{self!r}")


@dataclass(frozen=True, slots=True)
class Linear:
    """Logits of rows brought to length: ``short(x) @ w``."""

    weights: Floats
    radius: float

    def __call__(self, x: Any) -> Floats:
        out = np.asarray(short(matrix(x), self.radius) @ self.weights)
        return np.concatenate([np.zeros_like(out), out], 1) if out.shape[1] == 1 else out


@dataclass(frozen=True, slots=True)
class Perturbed:
    """The private training. A value, for worker processes."""

    control: OutputPerturbation
    l2: float
    classes: int

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        from ...targets.wrap import wrap

        rows = matrix(x)
        radius = self.control.radius or math.sqrt(rows.shape[1])
        best = optimum(short(rows, radius), np.asarray(y, np.int64), self.classes, self.l2)
        rng = np.random.default_rng([seed, 0xC4A0])
        weights = best + noise(best.shape, move(self.l2, self.classes) / self.control.epsilon, rng)
        mark = hash_of(hash_data(weights), radius)
        name = f"regression with epsilon {self.control.epsilon:g}"
        return wrap(Linear(weights, radius), output="logits", classes=self.classes, version=mark, name=name)


def short(x: Floats, radius: float) -> Floats:
    """Rows over `radius`, no longer than 1, with a column of ones; the whole no longer than 1."""
    length = np.sqrt(np.square(x).sum(1, keepdims=True))
    inside = x / np.maximum(length, radius)
    return np.concatenate([inside, np.ones((len(x), 1))], 1) / math.sqrt(2)


def move(l2: float, classes: int) -> float:
    """How far what the solver finds goes at most where one record is another."""
    return (2.0 if classes == 2 else 2 * math.sqrt(2)) / l2 + 2 * NEAR


def noise(shape: tuple[int, ...], scale: float, rng: np.random.Generator) -> Floats:
    """A vector with density falling as ``exp(-length / scale)``: its length is Gamma, its direction any."""
    way = rng.normal(size=shape)
    length = rng.gamma(int(np.prod(shape)), scale)
    return np.asarray(way * (length / np.linalg.norm(way)))


def optimum(x: Floats, y: NDArray[np.int64], classes: int, l2: float) -> Floats:
    """The coefficients ``(d, 1)`` of two classes, ``(d, k)`` of more, with least summed loss and penalty."""
    outputs = 1 if classes == 2 else classes
    hit = (y[:, None] == np.arange(classes)).astype(float)

    def cost(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(x.shape[1], outputs)
        out = x @ w
        logits = np.concatenate([np.zeros_like(out), out], 1) if outputs == 1 else out
        total = logsumexp(logits, axis=1)
        back = (np.exp(logits - total[:, None]) - hit)[:, -outputs:]
        value = float((total - (logits * hit).sum(1)).sum() + l2 / 2 * (w * w).sum())
        return value, (x.T @ back + l2 * w).ravel()

    start = np.zeros(x.shape[1] * outputs)
    found = minimize(cost, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-12, "ftol": 0.0, "maxiter": 5000})
    slope = float(np.linalg.norm(cost(found.x)[1]))
    if slope > NEAR * l2:  # strongly convex: the distance to the optimum is at most slope / l2
        raise BadInput(f"it stopped before its optimum (slope {slope:.1e}), where no epsilon is known; give a larger l2")
    return np.asarray(found.x.reshape(x.shape[1], outputs))
