"""What the endpoint says about the candidates, and how an attack commits to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.case import Audit, Guesses, Infer
from ...core.errors import BadInput, NotGranted
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Response, count, take
from .._questions import replies
from .._shadows import beside, labels_of

Floats = NDArray[np.float64]
SMALLEST = 1e-300  # a score of 0 in double precision: smaller than any that is shown


@dataclass(slots=True)
class Told:
    """What is known of some records by now.

    Args:
        y: ``(n,)`` their labels.
        logits: ``(n, k)`` as shown, or the logarithm of the scores; zeros where nothing is known.
        asked: ``(n,)`` booleans.
        raw: The logits before saturated scores were given their worth.
        floor: The logarithm of the smallest score that can be told from 0; what a saturated score is worth.
        saturated: Records with a score of 0 for some class.
    """

    y: NDArray[np.int64]
    logits: Floats
    asked: NDArray[np.bool_]
    raw: Floats
    floor: float = float(np.log(SMALLEST))
    saturated: int = 0

    @property
    def confidence(self) -> Floats:
        """`confidence` of the logits."""
        return confidence(self.logits, self.y)


def confidence(logits: Any, y: NDArray[np.int64]) -> Floats:
    """The logit of the true class less the log of the sum over the others, ``(..., n, k) -> (..., n)``.

    That is ``log(p / (1 - p))`` of the probability p of the true class, and it stays exact where p rounds to 1.
    """
    z = np.asarray(logits, np.float64)
    rows = np.arange(len(y))
    true = z[..., rows, y]
    others = z.copy()
    others[..., rows, y] = -np.inf
    top = others.max(-1)
    return np.asarray(true - top - np.log(np.exp(others - top[..., None]).sum(-1)))


def chances(logits: Any) -> Floats:
    """The probabilities of logits, over the last axis."""
    z = np.asarray(logits, np.float64)
    raised = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(raised / raised.sum(-1, keepdims=True))


def interview(oracle: Oracle, case: Infer | Audit, rng: RowRandom, who: str) -> Iterator[Told]:
    """Ask about every candidate, in random order, so that a budget that ends early leaves members and others alike.

    Yields after every call. One query (or local call) a candidate.

    Raises:
        NotGranted: The endpoint shows labels only.
        BadInput: The labels are no classes of it.
    """
    y, n = labels_of(case, who), count(case.x)
    order = np.argsort(rng.uniform(np.arange(n), 0), kind="stable")
    yield from _ask(oracle, case.x, y, order, order, who)


def neighbours(oracle: Oracle, case: Infer | Audit, first: int, most: int, who: str) -> Iterator[Told]:
    """The same for up to `most` records of the population, with ledger ids from `first` on."""
    assert case.population is not None
    y = beside(case, who)
    few = np.arange(min(most, len(y)))
    yield from _ask(oracle, case.population.x, y, few, first + few, who)


def _ask(
    oracle: Oracle, x: Any, y: NDArray[np.int64], order: NDArray[np.int64], ids: NDArray[np.int64], who: str
) -> Iterator[Told]:
    told: Told | None = None
    for reply in replies(oracle, take(x, order), ids):
        shown = _shown(reply.response, y, who)
        if told is None:
            raw = np.zeros((len(y), shown.shape[1]))
            told = Told(y=y, logits=raw, asked=np.zeros(len(y), bool), raw=raw)
        places = order[reply.places]
        told.raw[places], told.asked[places] = shown, True
        if reply.response.logits is None:
            _raise_floor(told)
        yield told


def _shown(response: Response, y: NDArray[np.int64], who: str) -> Floats:
    """Logits, or the logarithm of the scores ``(m, k)``."""
    shown = response.scores if response.logits is None else response.logits
    if shown is None:
        raise NotGranted(
            f"{who} needs scores, and the endpoint shows labels only; privacy.label_only and the gap attack of "
            "privacy.loss_threshold work with labels"
        )
    if shown.ndim != 2 or shown.shape[1] < 2 or y.max() >= shown.shape[1]:
        raise BadInput(f"{who}: scores of shape {shown.shape} for labels 0 to {int(y.max())}; it needs one score for each class")
    values = np.asarray(shown, np.float64)
    return np.log(np.maximum(values, SMALLEST)) if response.logits is None else values


def _raise_floor(told: Told) -> None:
    """A score of 0 was rounded: it is worth half of the smallest score that was shown, not infinitely little."""
    seen = told.raw[told.asked]
    gone = seen <= np.log(SMALLEST) + 1e-9
    told.saturated = int(gone.any(1).sum())
    if told.saturated:
        told.floor = float(seen[~gone].min(initial=0.0) - np.log(2))
        told.logits = np.where(told.asked[:, None], np.maximum(told.raw, told.floor), 0.0)


def level(told: Told, values: Floats) -> Floats:
    """Confidences of shadows ``(N, n)`` as the endpoint could have shown them: no further out than a saturated score."""
    if not told.saturated:
        return values
    ends = told.confidence[told.asked]
    return np.clip(values, min(ends.min(), told.floor), max(ends.max(), -told.floor))


def guesses(score: Floats, told: Told, member: NDArray[np.bool_], detail: dict[str, Any]) -> Guesses:
    """Commit. Candidates not asked about get the median score and a no."""
    middle = float(np.median(score[told.asked])) if told.asked.any() else 0.0
    filled = np.where(told.asked, score, middle)
    said = {"asked": int(told.asked.sum())} | ({"saturated": told.saturated} if told.saturated else {}) | detail
    return Guesses(score=filled, member=told.asked & member, detail=said)
