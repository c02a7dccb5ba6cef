"""What was given to train on, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput
from ..core.target import count, to_numpy
from .learners import MLP, Fits, Learner, Softmax


@dataclass(frozen=True, slots=True)
class Given:
    """Checked: inputs, labels ``(n,)`` or ``(N, n)``, weights ``(N, n)``, seeds, what is asked, classes, device."""

    learner: Learner
    x: Any
    y: NDArray[Any]
    weights: NDArray[Any]
    seeds: list[int]
    asked: list[Any]
    classes: int
    device: str

    def labels(self, models: Any) -> NDArray[Any]:
        """Labels of those models: ``(n,)`` where all share them."""
        return self.y if self.y.ndim == 1 else self.y[models]

    def rows(self, model: int) -> NDArray[np.intp]:
        """The rows that model trains on, with repeats."""
        return np.repeat(np.arange(self.weights.shape[1]), self.weights[model].astype(np.intp))


def given(
    learner: Learner, x: Any, y: Any, weights: Any, seeds: Sequence[int], ask: Any, classes: int | None, device: str
) -> Given:
    """Check all of it, or say what is wrong."""
    if not isinstance(learner, MLP | Softmax | Fits):
        raise BadInput(f"a learner is MLP(...), Softmax(...) or Fits(fit); got {type(learner).__name__}")
    asked = list(ask) if isinstance(ask, list | tuple) else [ask]
    labels, counts, seeds = np.asarray(to_numpy(y)), np.asarray(to_numpy(weights)), [int(seed) for seed in seeds]
    if not isinstance(learner, Fits):
        kind = np.float64 if isinstance(learner, Softmax) or learner.double else np.float32
        x = _matrix(x, "x", kind)
        asked = [_matrix(each, "ask", kind) for each in asked]
        for each in asked:
            if each.shape[1] != x.shape[1]:
                raise BadInput(f"the models train on rows of {x.shape[1]} numbers and are asked about rows of {each.shape[1]}")
    n = count(x)
    _check_weights(learner, counts, n, len(seeds))
    k = _check_labels(labels, counts.shape, classes)
    if min(seeds) < 0:
        raise BadInput(f"seeds are whole numbers from 0 up; got {min(seeds)}")
    return Given(learner, x, labels.astype(np.int64), counts, seeds, asked, k, device)


def _matrix(x: Any, name: str, kind: Any) -> NDArray[Any]:
    try:
        array = np.asarray(to_numpy(x), kind)
    except (TypeError, ValueError) as error:
        text = f"MLP and Softmax train on arrays of numbers; {name} is {type(x).__name__}: encode its columns, or use Fits"
        raise BadInput(text) from error
    if array.ndim < 2 or (not array[:1].size and len(array)):
        raise BadInput(f"{name} has one row for each example, (n, ...); got shape {array.shape}")
    if not np.isfinite(array).all():
        raise BadInput(f"{name} holds values that are not finite; fill or drop them first")
    return array.reshape(len(array), -1) if len(array) else array.reshape(0, int(np.prod(array.shape[1:])))


def _check_weights(learner: Learner, weights: NDArray[Any], n: int, models: int) -> None:
    if not models:
        raise BadInput("no models to train: seeds is empty")
    if weights.shape != (models, n):
        raise BadInput(f"weights say which rows each model trains on, ({models} seeds, {n} rows); got shape {weights.shape}")
    if weights.dtype.kind not in "biuf" or not np.isfinite(weights).all() or (weights < 0).any():
        raise BadInput("weights are finite numbers from 0 up")
    if not isinstance(learner, Softmax) and (weights != np.round(weights)).any():
        raise BadInput(f"weights of {type(learner).__name__} are whole numbers, how often a row is there; Softmax takes any")


def _check_labels(y: NDArray[Any], shape: tuple[int, ...], classes: int | None) -> int:
    if y.shape not in ((shape[1],), shape):
        raise BadInput(f"y is ({shape[1]},), or {shape} where models see unlike labels; got shape {y.shape}")
    if y.dtype.kind not in "biu" or (y.dtype.kind == "i" and (y < 0).any()):
        raise BadInput(f"y numbers the classes from 0 up in whole numbers; got {y.dtype}, such as {y.reshape(-1)[:3].tolist()}")
    k = int(y.max()) + 1 if classes is None else int(classes)
    if k < 2 or y.max() >= k:
        raise BadInput(f"y holds labels up to {y.max()}, and classes={classes}; at least 2 classes, and room for each label")
    return k
