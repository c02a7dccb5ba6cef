"""Driving attacks one after the other: each only on the rows that the ones before it left standing.

One oracle and one ledger serve the whole cascade, so a budget caps it as it caps a single attack. Every stage draws its
randomness from a fork of its own; what stage k does to a row depends on the row and on nothing that happened to others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.attack import parameters
from ..core.case import Evade
from ..core.errors import BadInput, NotGranted
from ..core.oracle import Oracle
from ..core.random import RowRandom
from ..core.target import take, to_numpy
from .driver import LATE, Progress, Trace, drive_dialogue, drive_rows, drive_set, over, spending

SAME = 1e-6  # of a distance: two stages that reach the radius differ by rounding only, and the first keeps the row
KINDS = ("queries", "local", "gradients", "backwards", "parent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one attack of a cascade did.

    Args:
        tried, fell: Rows it was given, and of them those believed broken (or, under ``nearest``, brought nearer).
        spent: What it was charged, by kind.
        stopped: Why it ended early or was not run at all; empty where it ran to its end.
    """

    attack: str
    params: dict[str, Any]
    tried: int
    fell: int
    spent: dict[str, int]
    took_seconds: float
    stopped: str = ""


def drive(
    attack: Any, oracle: Oracle, case: Evade, rng: RowRandom, progress: Progress | None = None, until: float | None = None,
) -> Trace:  # fmt: skip
    """The driver for the attack's scope.

    Args:
        until: `time.monotonic` after which the attack is ended where it stands.
    """
    drivers = {"cascade": drive_cascade, "set": drive_whole, "dialogue": drive_dialogue, "rows": drive_rows}
    return drivers[attack.info.scope](attack, oracle, case, rng, progress, until)


def drive_whole(
    attack: Any, oracle: Oracle, case: Evade, rng: RowRandom, progress: Progress | None = None, until: float | None = None,
) -> Trace:  # fmt: skip
    """Run an attack that makes one change for all rows together and yields `Inputs`; the last of them stand.

    No row is ever taken out: what is good for all of them depends on all of them.
    """
    nothing = np.zeros(len(case), bool)
    claim, stopped = drive_set(attack, oracle, case, rng, progress, until)
    if claim is None:
        return Trace(
            x=case.x, believed=nothing, broke_at=np.full(len(case), np.nan), blocked=nothing | stopped.startswith("refused"),
            improving=nothing, measured=nothing, stopped=stopped,
        )  # fmt: skip
    believed = np.asarray(to_numpy(claim.broken), bool)
    return Trace(
        x=claim.x, believed=believed, broke_at=np.where(believed, spending(oracle, case.row), np.nan),
        blocked=~believed & stopped.startswith("refused"), improving=nothing, measured=~nothing, stopped=stopped,
    )  # fmt: skip


def drive_cascade(
    attack: Any, oracle: Oracle, case: Evade, rng: RowRandom, progress: Progress | None = None, until: float | None = None,
) -> Trace:  # fmt: skip
    """Run the stages that `attack` names.

    Args:
        attack: Has ``stages(oracle, case) -> Sequence[attack]``, and ``share`` (bool) where a stage may begin at the points
            the one before it arrived at.
        until: `time.monotonic` after which nothing goes on; what was left out is in the stages' ``stopped``.
    """
    stages = tuple(attack.stages(oracle, case))
    book, refused = _Book(case), None
    for place, stage in enumerate(stages):
        rows = book.open()
        if not len(rows) or over(until):
            book.skip(stage, "no row was left standing" if not len(rows) else f"{LATE}: {len(rows)} rows not tried")
            continue
        inner = replace(case.only(rows), start=book.start(rows) if getattr(attack, "share", False) else case.only(rows).start)
        before, began = _charged(oracle, inner.row), time.perf_counter()
        try:
            found = drive(stage, oracle, inner, rng.fork(place), _part(progress, place, len(stages)), until)
        except (BadInput, NotGranted) as refusal:  # it does not fit this case; the others may
            book.skip(stage, f"does not apply: {refusal}")
            refused = refused or refusal
            continue
        after = _charged(oracle, inner.row)
        spent = {kind: after[kind] - before[kind] for kind in KINDS}
        book.note(place, stage, rows, found, spent, time.perf_counter() - began)
    if refused and not book.worked:  # nothing could be run at all: that is no result
        raise BadInput(f"{attack.info.id}: no stage can work within this {type(case.within).__name__}: {refused}") from refused
    return book.trace(oracle.random)


def _part(progress: Progress | None, place: int, stages: int) -> Progress | None:
    """The progress of one stage as progress of the whole."""
    if progress is None:
        return None
    whole = progress
    return lambda done: whole((place + done) / stages)


def _charged(oracle: Oracle, rows: NDArray[Any]) -> dict[str, int]:
    return {kind: int(oracle.spent(kind, rows).sum()) for kind in KINDS}


class _Book:
    """What the whole cascade knows of each row, by position in the case."""

    def __init__(self, case: Evade) -> None:
        n = len(case)
        self._case, self._parts = case, [take(case.x, [i]) for i in range(n)] if not _dense(case.x) else None
        self._x = np.array(to_numpy(case.x)) if self._parts is None else None
        self._believed, self._blocked = np.zeros(n, bool), np.zeros(n, bool)
        self._broke_at, self._size = np.full(n, np.nan), np.full(n, np.inf)
        self._improving, self._measured = np.zeros(n, bool), np.zeros(n, bool)
        self._by, self._stages = np.full(n, -1), list[Stage]()
        self._at: Any = None  # where the stages of unbroken rows arrived, for the next to begin at

    def open(self) -> NDArray[np.int64]:
        """Rows the next stage works on."""
        return np.flatnonzero(~self._believed) if self._case.seek == "any" else np.arange(len(self._case))

    @property
    def worked(self) -> bool:
        """Whether any stage ran."""
        return any(stage.tried for stage in self._stages)

    def start(self, rows: NDArray[np.int64]) -> Any:
        """Where the rows stand by now; None before anything was tried."""
        return None if self._at is None else self._at[rows]

    def skip(self, stage: Any, why: str) -> None:
        self._stages.append(_stage(stage, 0, 0, dict.fromkeys(KINDS, 0), 0.0, why))

    def note(
        self, place: int, stage: Any, rows: NDArray[np.int64], found: Trace, spent: dict[str, int], seconds: float
    ) -> None:
        """Take in what a stage claims: the first success of a row, under ``nearest`` the smallest."""
        x = to_numpy(found.x)
        size = np.where(found.believed, self._case.within.measure(x, to_numpy(take(self._case.x, rows))), np.inf)
        better = found.believed & (size < self._size[rows] * (1 - SAME))
        won = rows[better]
        self._put(won, x, np.flatnonzero(better))
        fresh = found.believed & ~self._believed[rows]
        self._broke_at[rows[fresh]] = found.broke_at[fresh]
        self._by[won], self._size[won] = place, size[better]
        self._believed[rows] |= found.believed
        self._blocked[rows] = found.blocked & ~self._believed[rows]
        # Whether more work would help is a question to the last who worked on it and could tell.
        told = rows[found.measured]
        self._improving[told], self._measured[told] = found.improving[found.measured], True
        if self._x is not None:
            self._at = np.array(self._x) if self._at is None else self._at
            self._at[rows] = x
        self._stages.append(_stage(stage, len(rows), int(better.sum()), spent, seconds, found.stopped))

    def _put(self, places: NDArray[np.int64], x: Any, which: NDArray[np.int64]) -> None:
        if self._parts is None and self._x is not None:
            if self._x.dtype != x.dtype:
                self._x = self._x.astype(np.result_type(self._x.dtype, x.dtype))
            self._x[places] = x[which]
        elif self._parts is not None:
            for place, i in zip(places, which, strict=True):
                self._parts[place] = take(x, [i])

    def trace(self, random: bool) -> Trace:
        x = self._x if self._parts is None else _joined(self._parts, self._case.x)
        if random and x is not None and self._at is not None:  # the best of a row that chance alone decides: the judge votes
            x = np.where(self._believed.reshape(-1, *([1] * (x.ndim - 1))), x, self._at)
        return Trace(
            x=x, believed=self._believed, broke_at=self._broke_at, blocked=self._blocked & ~self._believed,
            improving=self._improving & ~self._believed, measured=self._measured,
            stopped=next((s.stopped for s in reversed(self._stages) if s.tried and s.stopped), ""),
            by=self._by, stages=tuple(self._stages),
        )  # fmt: skip


def _dense(x: Any) -> bool:
    return hasattr(x, "shape") and not hasattr(x, "iloc")


def _joined(parts: list[Any], like: Any) -> Any:
    if hasattr(like, "iloc"):
        import pandas

        return pandas.concat(parts) if parts else like
    return type(like)(item for part in parts for item in part)


def _stage(attack: Any, tried: int, fell: int, spent: dict[str, int], seconds: float, stopped: str) -> Stage:
    return Stage(
        attack=attack.info.id, params=parameters(attack), tried=tried, fell=fell, spent=spent, took_seconds=seconds,
        stopped=stopped,
    )  # fmt: skip
