"""Train on what a sieve leaves of the data: what TRIM, Sever and RONI have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput, UsageError
from ...core.poison import numeric
from ...core.target import Recipe, Target, count, take, to_numpy

Fit = Callable[..., Target]
Floats = NDArray[np.float64]


class Sieve(Protocol):
    """A control that decides which training rows stay."""

    def kept(self, fit: Fit, x: Any, y: Any, seed: int) -> NDArray[np.bool_]: ...


@dataclass(frozen=True, slots=True)
class Sifted:
    """A `fit` on the rows a sieve keeps. A value, not a closure, so that worker processes can be handed it."""

    fit: Fit
    control: Sieve

    def __call__(self, x: Any, y: Any, seed: int) -> Target:
        kept = np.flatnonzero(self.control.kept(self.fit, x, y, seed))
        return self.fit(take(x, kept), take(y, kept), seed)


def sifted(control: Sieve, recipe: Recipe) -> Recipe:
    """The recipe on what the control keeps.

    Raises:
        UsageError: It is no recipe.
    """
    if not callable(getattr(recipe, "fit", None)):
        raise UsageError(f"cannot harden a {type(recipe).__name__}; give a Recipe")
    return replace(recipe, fit=Sifted(recipe.fit, control), version=f"{recipe.version}+{control!r}", stack=None)


def dropped(control: Sieve, recipe: Recipe, seed: int = 0) -> float:
    """Share of the recipe's own rows that the control leaves out: of clean data, the rate of false positives."""
    return float(1 - control.kept(recipe.fit, recipe.x, recipe.y, seed).mean())


def of_every_class(kept: NDArray[np.bool_], y: Any, badness: Floats) -> NDArray[np.bool_]:
    """`kept`, with the least bad row of a class that would vanish: a model must know all classes."""
    labels, kept = np.asarray(to_numpy(y)), kept.copy()
    if numeric(labels):
        return kept
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if not kept[own].any():
            kept[own[np.argmin(badness[own])]] = True
    return kept


def seats(y: Any) -> NDArray[np.int64]:
    """Labels as places in sorted order ``(n,)``, which is how models answer names."""
    labels = np.asarray(to_numpy(y))
    classes = np.unique(labels if labels.dtype.kind in "iufb" else labels.astype(str))
    return np.asarray(np.searchsorted(classes, labels if labels.dtype.kind in "iufb" else labels.astype(str)))


def errors(model: Target, x: Any, y: Any, who: str) -> Floats:
    """The slope of each row's loss in the outputs ``(n, k)``: scores less one-hot labels; of numbers, the residual.

    Raises:
        BadInput: The model answers labels alone.
    """
    answer = model.respond(x)
    if numeric(y):
        own = np.asarray(to_numpy(answer.label), float) - np.asarray(to_numpy(y), float)
        return np.asarray(own.reshape(-1, 1))
    scores = _scores(answer, count(x), who)
    seat = seats(y)
    if scores.shape[1] <= int(seat.max(initial=0)):
        raise BadInput(f"{who}: the model answers {scores.shape[1]} classes, and the labels have {int(seat.max()) + 1}")
    return np.asarray(scores - (seat[:, None] == np.arange(scores.shape[1])))


def losses(model: Target, x: Any, y: Any, who: str) -> Floats:
    """Cross-entropy of each row ``(n,)``; of numbers, the squared residual."""
    if numeric(y):
        return np.asarray(errors(model, x, y, who)[:, 0] ** 2)
    scores = _scores(model.respond(x), count(x), who)
    return np.asarray(-np.log(np.maximum(scores[np.arange(len(scores)), seats(y)], 1e-300)))


def _scores(answer: Any, rows: int, who: str) -> Floats:
    if answer.logits is not None:
        logits = np.asarray(to_numpy(answer.logits), float).reshape(rows, -1)
        if logits.shape[1] > 1:
            shifted = np.exp(logits - logits.max(1, keepdims=True))
            return np.asarray(shifted / shifted.sum(1, keepdims=True))
    if answer.scores is None:
        raise BadInput(f"{who} compares losses, and the model the recipe makes answers labels alone; let it answer scores")
    return np.asarray(to_numpy(answer.scores), float).reshape(rows, -1)
