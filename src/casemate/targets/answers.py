"""What a model of any kind answers, as a `Response`; or a clear word on why it cannot be one.

Shared by the adapters that read foreign answers: callables, ONNX models, scikit-learn estimators, remote endpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput, TargetFailed
from ..core.target import REJECT, Response

Output = Literal["labels", "scores", "logits"]


def class_values(classes: int | Sequence[Any] | None) -> tuple[int | None, tuple[Any, ...]]:
    """How many classes there are, and their values in index order where they were named.

    Raises:
        BadInput: Fewer than two classes, or one named twice.
    """
    if classes is None:
        return None, ()
    if isinstance(classes, int | np.integer):
        size, values = int(classes), ()
    else:
        values = tuple(np.asarray(classes).tolist() if hasattr(classes, "dtype") else classes)
        size = len(values)
    if size < 2 or len(set(values)) != len(values):
        raise BadInput(
            f"classes={classes!r} is not allowed; give a number of at least 2, or at least two different values"
        )
    return size, values


def indices(name: str, answers: Any, classes: int | None, values: tuple[Any, ...]) -> NDArray[Any]:
    """Labels ``(n,)`` as class indices, int64; -1 for a decision that was not made (None, or -1 itself).

    Numbers that are not whole stay as they are, float64: those of a regression.

    Raises:
        TargetFailed: A label that is no class of the target, or is not finite.
        BadInput: The labels are words, and nobody said which classes there are.
    """
    labels = _column(name, answers)
    if values:
        place: dict[Any, int] = {value: i for i, value in enumerate(values)} | {None: REJECT}
        if all(isinstance(value, str) for value in values):  # then a number can only be an index
            place |= {i: i for i in range(REJECT, len(values))}
        try:
            return np.array([place[label] for label in labels.tolist()], np.int64)
        except (KeyError, TypeError):
            strange = next(v for v in labels.tolist() if not isinstance(v, str | int | float | None) or v not in place)
            raise TargetFailed(f"{name} answered {strange!r}, which is none of its classes {values[:10]}") from None
    if labels.dtype == object and all(label is None or isinstance(label, int) for label in labels):
        labels = np.array([REJECT if label is None else label for label in labels], np.int64)
    if labels.dtype.kind not in "iubf":
        raise BadInput(f"{name} answers {labels.dtype} labels such as {labels[:1].tolist()}; name them: classes=[...]")
    if labels.dtype.kind == "f":
        _finite(name, labels)
        if classes is None or (labels != np.floor(labels)).any():
            return labels.astype(np.float64)
    labels = labels.astype(np.int64)
    if len(labels) and (labels.min() < REJECT or (classes is not None and labels.max() >= classes)):
        allowed = "0, 1, ..." if classes is None else f"0..{classes - 1}"
        raise TargetFailed(
            f"{name} answered labels {labels.min()}..{labels.max()}; allowed are {allowed} and {REJECT} (reject)"
        )
    return labels


def numbers(name: str, answers: Any, classes: int | None) -> NDArray[Any]:
    """Scores or logits ``(n, k)`` as an array, in their own precision; one number a row becomes ``(n, 1)``.

    Raises:
        TargetFailed: Not numbers, not finite, ragged, or not one for each class.
    """
    try:
        array = np.asarray(answers.detach().cpu() if hasattr(answers, "detach") else answers)
        array = array if array.dtype.kind == "f" else array.astype(np.float64)
    except (ValueError, TypeError):
        raise TargetFailed(f"{name} answered something else than one row of numbers for each input row") from None
    array = array.reshape(-1, 1) if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[1] == 0:
        raise TargetFailed(f"{name} answered shape {array.shape}; expected (n, classes) or (n,)")
    if classes is not None and array.shape[1] not in (classes, 1 if classes == 2 else classes):
        raise TargetFailed(f"{name} answered {array.shape[1]} numbers a row; it has {classes} classes")
    _finite(name, array)
    return array


def scored(name: str, answers: Any, output: Output, classes: int | None, label: NDArray[Any] | None = None) -> Response:
    """A response out of scores or logits; the label is the best of them unless it is given.

    One score a row is that of class 1 of two. One logit a row is a regression, unless `classes` is 2.
    """
    array = numbers(name, answers, classes)
    if array.shape[1] == 1:
        if output == "logits" and classes != 2:
            return Response(array[:, 0] if label is None else label, None, array)
        array = np.hstack([1 - array if output == "scores" else np.zeros_like(array), array])
    label = array.argmax(1) if label is None else label
    return Response(label, array, None) if output == "scores" else Response(label, softmax(array), array)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Scores ``(n, k)`` that sum to one, in the precision of the logits."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def words(values: tuple[Any, ...], labels: Any) -> NDArray[Any]:
    """Class values ``(n,)`` of labels ``(n,)``; None for a reject."""
    return np.array([None if i < 0 else values[i] for i in np.asarray(labels).tolist()], dtype=object)


def same_length(name: str, rows: int, *parts: Any) -> None:
    """Refuse an answer that is longer or shorter than the question."""
    for part in parts:
        if part is not None and len(part) != rows:
            raise TargetFailed(f"{name}: {rows} rows went in and {len(part)} answers came out")


def brief(error: BaseException, limit: int = 200) -> str:
    """An exception in one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:limit]}{'...' if len(text) > limit else ''}"


def _column(name: str, answers: Any) -> NDArray[Any]:
    if hasattr(answers, "detach"):
        answers = answers.detach().cpu()
    labels = np.asarray(answers)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise TargetFailed(f"{name} answered labels of shape {labels.shape}; expected one label a row, (n,)")
    return labels


def _finite(name: str, array: NDArray[Any]) -> None:
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
    if len(bad):
        raise TargetFailed(
            f"{name} answered numbers that are not finite in {len(bad)} of {len(array)} rows (first: row {bad[0]})"
        )
