"""How each model does on its own training rows, and whether that is better than having learned nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cache import Own

PACK_NUMBERS = 1 << 22  # logits looked at together
NOTHING = "it is no better on its own training rows than always naming their commonest class"


def judged(
    answer: Callable[[int, int], NDArray[Any]], y: NDArray[Any], weights: NDArray[Any], classes: int, why: list[str]
) -> list[Own]:
    """One verdict for each of m models.

    A model has learned nothing where its loss is no smaller than that of the best constant answer, the entropy of its own
    labels, and it is right no more often than the commonest of them.

    Args:
        answer: Logits ``(m, rows, classes)`` of the rows from a start to an end.
        y: Labels ``(n,)`` or ``(m, n)``.
        weights: ``(m, n)``.
        classes: How many.
        why: What went wrong before; such a model keeps its reason.
    """
    members, n = weights.shape
    right, loss, held = np.zeros(members), np.zeros(members), np.zeros((members, classes))
    pack = max(1, PACK_NUMBERS // (members * classes))
    for start in range(0, n, pack):
        some = slice(start, min(start + pack, n))
        truth = np.broadcast_to(y[..., some], (members, some.stop - start))
        weight = np.asarray(weights[:, some], float)
        with np.errstate(invalid="ignore", over="ignore"):
            hit, cost = compared(np.asarray(answer(start, some.stop), float), truth)
        # A row that does not count may cost anything, also what is not a number.
        right += (weight * np.where(weight > 0, hit, 0.0)).sum(1)
        loss += (weight * np.where(weight > 0, cost, 0.0)).sum(1)
        for c in range(classes):
            held[:, c] += (weight * (truth == c)).sum(1)
    return [_verdict(*each) for each in zip(right, loss, held, why, strict=True)]


def compared(logits: NDArray[Any], truth: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Whether each answer is right, and its cross-entropy in nats; not a number where an answer is none: ``(m, rows)``."""
    top = logits.max(2)
    own = np.take_along_axis(logits, truth[..., None].astype(np.intp), 2)[..., 0]
    cost = np.log(np.exp(logits - top[..., None]).sum(2)) + top - own
    return np.where(np.isnan(cost), np.nan, logits.argmax(2) == truth), cost


def _verdict(right: float, loss: float, held: NDArray[Any], why: str) -> Own:
    total = float(held.sum())
    if not total:
        return Own(np.nan, np.nan, why or "it has no training rows")
    accuracy, mean, share = float(right / total), float(loss / total), held[held > 0] / total
    if not np.isfinite(mean):
        return Own(np.nan, np.nan, why or "its answers are not finite numbers")
    idle = mean >= -(share * np.log(share)).sum() * (1 - 1e-6) and accuracy <= share.max() + 1e-12
    return Own(accuracy, mean, why or (NOTHING if idle else ""))
