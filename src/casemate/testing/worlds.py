"""Data made from a seed, of which it is known what leaks: for tests and benchmarks of attacks on privacy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Infer
from ..core.errors import BadInput
from ..core.identity import hash_data, hash_of
from ..core.target import Recipe, Target, to_numpy
from ..trainers import MLP

Floats = NDArray[np.float64]
NET = MLP(hidden=(64,), epochs=60, optimiser="adam", rate=0.01)


def purchases(
    n: int, *, classes: int = 20, bits: int = 100, flip: float = 0.3, seed: int = 0
) -> tuple[Floats, NDArray[np.int64]]:
    """Shopping baskets: each class is a random row of bits, each record its class's row with a share of the bits turned over.

    Returns:
        ``(n, bits)`` of 0 and 1, and the classes ``(n,)``.
    """
    if not 0 <= flip <= 1 or min(n, classes, bits) < 1:
        raise BadInput(f"n={n}, classes={classes}, bits={bits}, flip={flip}: counts from 1 up, and a share of bits from 0 to 1")
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 2, (classes, bits))
    y = rng.integers(0, classes, n)
    turned = rng.random((n, bits)) < flip
    return np.where(turned, 1 - rows[y], rows[y]).astype(np.float64), y


def digits(noise: float = 0.0, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """The digits of scikit-learn on [0, 1], in random order, with a share of the labels replaced by another class."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    x, y = x[order] / 16.0, y[order].astype(np.int64)
    wrong = rng.random(len(y)) < noise
    return x, np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y)


@dataclass(frozen=True, slots=True)
class Leaky:
    """A model and everybody it might have been trained on.

    Args:
        recipe: How it was trained, on its members.
        target: The model.
        case: Members and others, in random order.
    """

    recipe: Recipe
    target: Target
    case: Infer


def leaky(x: Floats, y: NDArray[np.int64], *, learner: MLP | None = None, seed: int = 0) -> Leaky:
    """Train a network on half of the records; the other half are the others."""
    learner = learner or NET
    truth = np.zeros(len(y), bool)
    truth[np.random.default_rng(seed + 1000).permutation(len(y))[: len(y) // 2]] = True
    recipe = Recipe(NetFit(learner, int(y.max()) + 1), x[truth], y[truth], "1", stack=learner)
    return Leaky(recipe, recipe.fit(recipe.x, recipe.y, seed), Infer(x=x, y=y, truth=truth))


@dataclass(frozen=True, slots=True)
class Net:
    """A trained network, as a function of inputs."""

    weights: NDArray[Any]
    learner: MLP
    classes: int

    def __call__(self, x: Any) -> NDArray[Any]:
        from ..trainers import stacked

        return np.asarray(stacked.answers(self.weights, self.learner, flat(x), self.classes)[0])


@dataclass(frozen=True, slots=True)
class NetFit:
    """Train one network: a recipe's `fit` whose `stack` is `learner`."""

    learner: MLP
    classes: int

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        from ..targets.wrap import wrap
        from ..trainers import stacked

        rows = [np.arange(len(y))]
        weights = stacked.train(self.learner, flat(x), np.asarray(y, np.int64), rows, [seed], self.classes)
        mark = hash_of(hash_data(weights), repr(self.learner))
        return wrap(Net(weights, self.learner, self.classes), output="logits", classes=self.classes, version=mark, name="network")


def flat(x: Any) -> Floats:
    """Inputs as a matrix."""
    array = np.asarray(to_numpy(x), np.float64)
    return array.reshape(len(array), -1)
