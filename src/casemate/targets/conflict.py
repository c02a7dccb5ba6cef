"""What a target really shows, against what its description says. Where they differ, the measured fact wins, loudly."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput
from ..core.target import Response, count, take, to_numpy

Level = Literal["label", "topk", "score", "logits"]
Says = Literal["label", "topk", "score", "logits", "none", "embedding", "explanation", "unknown"]
FULL = 15  # digits: not rounded, as far as floating point shows
_LEVELS = ("label", "topk", "score", "logits")
_WORDS = {"label": "labels only", "topk": "the top scores", "score": "scores", "logits": "logits"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a few rows showed.

    Args:
        level: The finest thing shown.
        digits: Decimals of the scores (or logits); `FULL` where they are not rounded; None with labels only, or where
            every score was 0 or 1 and nothing can be told.
        classes: How many scores a row; None with labels only.
        rejects: Whether a row was not decided (label -1).
        repeats: Whether the same rows got the same answers twice.
        latency_s: Seconds for one row alone, median; 0 where no row was timed.
        rows: Rows this measurement sent.
    """

    level: Level
    digits: int | None
    classes: int | None
    rejects: bool
    repeats: bool
    latency_s: float
    rows: int

    def facts(self) -> tuple[tuple[str, Any], ...]:
        """The facts this measures, by their names in a description."""
        digits = () if self.digits is None else (("model.precision_digits", self.digits),)
        return (("model.output", self.level), *digits)


def shown(target: Any, sample: Any, *, singles: int = 3) -> Shown:
    """Ask a target a handful of rows and say what it shows.

    Sends ``2 * n + singles`` rows, singles being at most n: all rows twice, then some alone for the latency.

    Args:
        target: A `Target`, or the endpoint in front of it (anything with ``decide``): then what its controls let out.
        sample: Inputs ``(n, *shape)``, a frame or a list; 8 to 32 rows of different classes tell most.
        singles: Rows to time one by one.

    Raises:
        BadInput: There are no rows. TargetFailed: it does not answer them.
    """
    size = count(sample)
    if not size:
        raise BadInput("what a target shows needs at least one row to ask it")
    ask = getattr(target, "decide", None) or target.respond
    rows = np.arange(size)
    first, again = _plain(ask(sample, rows=rows)), _plain(ask(sample, rows=rows))
    times = []
    for i in range(min(singles, size)):
        began = time.perf_counter()
        ask(take(sample, [i]), rows=rows[i : i + 1])
        times.append(time.perf_counter() - began)
    finest = first.logits if first.logits is not None else first.scores
    return Shown(
        level=_level(first), digits=None if finest is None else decimals(finest),
        classes=None if finest is None else finest.shape[1], rejects=bool((first.label == -1).any()),
        repeats=_same(first, again), latency_s=float(np.median(times)) if times else 0.0, rows=2 * size + len(times),
    )  # fmt: skip


def conflicts(system_says: Says, digits: int | None, measured: Shown) -> list[str]:
    """Where description and measurement differ, in words; empty where they agree or nothing was said.

    Args:
        system_says: The stated output of the component.
        digits: The stated decimals of its scores, None where nothing is stated.
        measured: What it showed.
    """
    found = []
    said = {"embedding": "score", "explanation": "score"}.get(system_says, system_says)
    if said == "none" or (said in _LEVELS and said != measured.level):
        stated = "nothing" if said == "none" else _WORDS[said]
        real = _WORDS[measured.level]
        real += "" if measured.classes is None else f" for {measured.classes} classes"
        finer = said == "none" or _LEVELS.index(measured.level) > _LEVELS.index(said)
        hint = "adversaries are given what it shows" if finer else "adversaries are given no more than it shows"
        found.append(
            f"CONFLICT: the description says {stated}, but the target shows {real}; the measured fact wins: {hint}"
        )
    if (
        digits is not None
        and measured.digits is not None
        and digits != measured.digits
        and not _both_full(digits, measured)
    ):
        real = "unrounded scores" if measured.digits == FULL else f"{measured.digits} digits"
        found.append(
            f"CONFLICT: the description says {digits} digits, but the target shows {real}; the measured fact wins"
        )
    return found


def decimals(scores: NDArray[Any]) -> int | None:
    """Decimals that scores ``(n, k)`` are rounded to: the fewest that reproduce them, `FULL` where none does.

    None where every number is whole: scores of 0 and 1 look rounded to any precision.
    """
    values = np.unique(np.asarray(scores))
    values = values[np.isfinite(values)]
    values = values[values != np.round(values)]
    if not len(values):
        return None
    exact = values.astype(np.float64)
    room = 2 * np.finfo(values.dtype).eps * np.maximum(1.0, np.abs(exact))
    # With fewer digits than these the rounding is far coarser than the number format, so a match is no accident.
    for places in range(1, 6 if values.dtype.itemsize <= 4 else 13):
        if (np.abs(exact.round(places) - exact) <= room).all():
            return places
    return FULL


def _both_full(digits: int, measured: Shown) -> bool:
    return measured.digits == FULL and digits >= 6  # six digits are all that single precision carries


def _plain(response: Response) -> Response:
    label, scores, logits = (
        None if part is None else np.asarray(to_numpy(part))
        for part in (response.label, response.scores, response.logits)
    )
    assert label is not None
    return Response(label, scores, logits)


def _level(response: Response) -> Level:
    if response.logits is not None and response.label.dtype.kind != "f":
        return "logits"
    if response.scores is None:
        return "label"  # a regression's number is its decision
    scores = response.scores
    kept = (scores != 0).sum(1)
    # A softmax that underflows has zeros too, but what is left of it still sums to one.
    hidden = scores.shape[1] > 2 and (kept < scores.shape[1]).all() and (scores.sum(1) < 1 - 1e-3).any()
    return "topk" if hidden else "score"


def _same(first: Response, again: Response) -> bool:
    pairs = ((first.label, again.label), (first.scores, again.scores), (first.logits, again.logits))
    return all(np.array_equal(a, b) for a, b in pairs if a is not None and b is not None)
