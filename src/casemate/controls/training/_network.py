"""The network a recipe's `stack` describes, trained alone: from a learner to a Target."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput, UsageError
from ...core.target import Recipe, Target, to_numpy
from ...trainers import MLP


def train(learner: MLP, x: Any, y: Any, seed: int, classes: int, name: str) -> Target:
    """One network of `learner` on all rows, as a Target that can be differentiated."""
    from ...targets.wrap import wrap
    from ...trainers import stacked

    labels, rows = np.asarray(to_numpy(y), np.int64), matrix(x)
    weights = stacked.train(learner, rows, labels, [np.arange(len(labels))], [seed], classes)
    return wrap(module(weights[0], (rows.shape[1], *learner.hidden, classes)), name=name)


def module(weights: NDArray[Any], sizes: tuple[int, ...]) -> Any:
    """The torch module of one network of a stack, from its weights ``(weights of one,)``; inputs ``(n, ...)`` are flattened."""
    import torch

    from ...trainers.stacked import Stack

    stack = Stack.of(torch.as_tensor(np.array(weights))[None], sizes)
    parts: list[torch.nn.Module] = [torch.nn.Flatten()]
    for place, (weight, bias) in enumerate(stack.layers):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[2], dtype=weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight[0].T)
            layer.bias.copy_(bias[0, 0])
        parts += [layer] if place + 1 == len(stack.layers) else [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*parts).eval()


def matrix(x: Any) -> NDArray[np.float64]:
    """Inputs as rows of finite numbers ``(n, d)``, or `BadInput`."""
    try:
        array = np.asarray(to_numpy(x), np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"a stack trains on arrays of numbers; x is {type(x).__name__}: encode its columns first") from error
    if not np.isfinite(array).all():
        raise BadInput("x holds values that are not finite; fill or drop them first")
    return array.reshape(len(array), -1)


def labels_of(recipe: Recipe) -> NDArray[np.int64] | None:
    """Training labels as classes from 0; None where they are none."""
    y = np.asarray(to_numpy(recipe.y))
    if y.ndim != 1 or not len(y) or y.dtype.kind not in "iub" or y.min() < 0:
        return None
    return y.astype(np.int64)


def no_classes(recipe: Recipe) -> str:
    """Why a control that works on classes cannot be used with that recipe; empty where it can."""
    labels = labels_of(recipe)
    if labels is None:
        return "the training labels are no classes counted from 0"
    return "" if labels.max() > 0 else "the training labels are all of one class"


def keywords(fit: Callable[..., Any]) -> set[str]:
    """What arguments a `fit` takes."""
    try:
        return set(inspect.signature(fit).parameters)
    except (TypeError, ValueError):  # a function of another language shows none
        return set()


def fitting(control: Any, recipe: Recipe) -> None:
    """Raise what `fits` says."""
    if not isinstance(recipe, Recipe):
        raise UsageError(f"cannot harden with {control.info.id}: a {type(recipe).__name__} is no casemate.Recipe")
    why = control.fits(recipe)
    if why:
        raise UsageError(f"cannot harden with {control.info.id}: {why}")


def share(name: str, value: Any, low: float, high: float) -> None:
    """Refuse a parameter that is not a number between, ends left out."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
        allowed = f"above {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise UsageError(f"{name}={value!r} is not allowed; give a number {allowed}")


def whole(name: str, value: Any, low: int) -> None:
    """Refuse a parameter that is not a whole number from `low` on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UsageError(f"{name}={value!r} is not allowed; give a whole number from {low}")
