"""The rows behind a decision of trees: whose labels the leaves average, and how much each of them counts.

A tree answers with the mean of the training rows in a leaf, a forest with the mean of its trees. So what it answers is a
weighted mean of training labels, and the weights are had from the leaves (Lin and Jeon 2006: random forests as adaptive nearest
neighbours). Bootstrap counts are read from the forest itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput

Floats = NDArray[np.float64]
CLOSE = 1e-6  # trees keep their thresholds and inputs in float32


def leaf_weights(model: Any, x_train: Any, y: NDArray[Any], x: Any) -> Floats:
    """How much of the answer on `x` ``(1, d)`` each training row makes up, ``(n,)``: not below 0, 1 in all.

    Raises:
        BadInput: The weighted labels are not what the model answers: it was trained on other rows, or with weights of its own.
    """
    trees = list(getattr(model, "estimators_", [model]))
    n, weight = len(x_train), np.zeros(len(x_train))
    drawn = model.estimators_samples_ if getattr(model, "bootstrap", False) else [np.arange(n)] * len(trees)
    for tree, rows in zip(trees, drawn, strict=True):
        if len(rows) and int(rows.max()) >= n:
            raise BadInput(f"the trees drew from {int(rows.max()) + 1} rows and more, and {n} were given; {_GIVE}")
        often = np.bincount(rows, minlength=n)
        same = often * (tree.apply(x_train) == tree.apply(x)[0])
        if not same.sum():
            raise BadInput(f"a leaf of {type(model).__name__} holds none of the rows given; {_GIVE}")
        weight += same / same.sum() / len(trees)
    _agrees(model, weight, y, x)
    return weight


_GIVE = "give all that it was trained on, in the same order"


def _agrees(model: Any, weight: Floats, y: NDArray[Any], x: Any) -> None:
    if hasattr(model, "classes_"):
        due = np.ravel(model.predict_proba(x))
        found = np.array([weight[y == value].sum() for value in model.classes_])
    else:
        due, found = np.ravel(model.predict(x)), np.array([float(weight @ y.astype(float))])
    off = float(np.abs(found - due).max())
    if off > CLOSE * max(1.0, float(np.abs(due).max())):
        raise BadInput(
            f"the labels in the leaves make {np.round(found, 4).tolist()} and the model answers {np.round(due, 4).tolist()}: "
            f"other rows, other labels, or weights by class or row; {_GIVE}, or take `refitted`"
        )
