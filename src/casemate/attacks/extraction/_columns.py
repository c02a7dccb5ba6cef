"""Inputs as columns that are searched one by one: real numbers, whole numbers and categories, and back again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.case import Copy
from ...core.errors import BadInput
from ...core.random import RowRandom
from ...core.target import count, take, to_numpy
from .._features import levels
from ._talk import numbers

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """How to read inputs as a matrix of numbers, where a category is the place of its level.

    Args:
        like: One row, as the endpoint takes it.
        low, high: Where to search each column ``(d,)``.
        finest: Width below which an interval of a column is not halved ``(d,)``; 1 for whole numbers.
        whole: Columns of whole numbers ``(d,)``.
        levels: The values of each category; empty for a number.
    """

    like: Any
    low: Floats
    high: Floats
    finest: Floats
    whole: NDArray[np.bool_]
    levels: tuple[tuple[Any, ...], ...]

    @property
    def number(self) -> NDArray[np.bool_]:
        """Columns that are numbers ``(d,)``."""
        return np.array([not known for known in self.levels], bool)

    def read(self, x: Any) -> Floats:
        """Inputs as numbers ``(n, d)``; a level nobody knew is -1."""
        if not hasattr(self.like, "iloc"):
            return np.asarray(to_numpy(x), np.float64).reshape(count(x), -1)
        parts = []
        for name, known in zip(self.like.columns, self.levels, strict=True):
            places = {level: place for place, level in enumerate(known)}
            values = x[name].tolist() if known else x[name].to_numpy(np.float64)
            parts.append(np.array([places.get(v, -1) for v in values], np.float64) if known else values)
        return np.stack(parts, axis=1) if len(parts) else np.zeros((count(x), 0))

    def write(self, a: Floats) -> Any:
        """Numbers ``(n, d)`` as inputs."""
        if not hasattr(self.like, "iloc"):
            kind, shape = self.like.dtype, self.like.shape[1:]
            return (np.round(a) if kind.kind in "iub" else a).astype(kind).reshape(len(a), *shape)
        frame = take(self.like, np.zeros(len(a), int)).reset_index(drop=True)
        for place, (name, known) in enumerate(zip(self.like.columns, self.levels, strict=True)):
            values = a[:, place]
            frame[name] = [known[int(v)] for v in values] if known else np.round(values) if self.whole[place] else values
        return frame.astype(self.like.dtypes)

    def sample(self, rng: RowRandom, size: int, word: tuple[int, ...], low: Floats, high: Floats) -> Floats:
        """`size` points ``(size, d)`` of the box from `low` to `high` ``(size, d)`` (or ``(d,)``), levels any of theirs."""
        drawn = rng.uniform(np.arange(size), word, (len(self.low),))
        found = low + (high - low) * drawn
        found = np.where(self.whole, np.clip(np.round(found), np.ceil(low), np.floor(high)), found)
        for place, known in enumerate(self.levels):
            if known:
                found[:, place] = np.floor(drawn[:, place] * len(known))
        return np.asarray(found, np.float64)


def columns_of(case: Copy, precision: float, wider: float) -> Columns:
    """The columns of a case: its stated domain, or the range of its pool and `wider` times as much on each side."""
    if not hasattr(case.pool, "iloc"):
        return _of_array(case, precision, wider)
    if not count(case.pool):
        raise BadInput("the pool has no rows; give at least one input to start from, or low and high")
    known = tuple(levels(case.pool[name]) for name in case.pool.columns)
    whole = np.array([case.pool[n].dtype.kind in "iu" for n in case.pool.columns], bool)
    like = take(case.pool, [0])
    draft = Columns(like, np.zeros(len(known)), np.zeros(len(known)), np.zeros(len(known)), whole, known)
    return _ranged(draft, draft.read(case.pool), case, precision, wider, np.float64)


def _of_array(case: Copy, precision: float, wider: float) -> Columns:
    whole = case.pool is not None and np.asarray(to_numpy(case.pool)).dtype.kind in "iu"
    pool = np.asarray(to_numpy(case.pool)) if whole else numbers(case, "extraction.tree_paths")
    like = np.atleast_1d(np.asarray(case.low, float))[None] if pool is None else np.asarray(pool)[:1]
    d = like.reshape(1, -1).shape[1]
    draft = Columns(like, np.zeros(d), np.zeros(d), np.zeros(d), np.full(d, whole), ((),) * d)
    return _ranged(draft, None if pool is None else draft.read(pool), case, precision, wider, like.dtype)


def _ranged(draft: Columns, seen: Floats | None, case: Copy, precision: float, wider: float, kind: Any) -> Columns:
    d = len(draft.low)
    if case.low is not None and case.high is not None:
        low, high = (np.array(np.broadcast_to(np.asarray(v, float).reshape(-1), (d,))) for v in (case.low, case.high))
        if seen is not None:
            low, high = np.fmin(low, np.nanmin(seen, 0)), np.fmax(high, np.nanmax(seen, 0))
    else:
        assert seen is not None  # refused before: neither pool nor domain
        if np.isnan(seen).all(0).any():
            raise BadInput("a column of the pool is missing throughout; leave it out, or give some values")
        low, high = np.nanmin(seen, 0), np.nanmax(seen, 0)
        span = np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
        low, high = low - wider * span, high + wider * span
    low, high = np.where(draft.whole, np.floor(low), low), np.where(draft.whole, np.ceil(high), high)
    size = np.maximum(np.abs(low), np.abs(high))
    finest = np.maximum(precision * (high - low), 4 * size * (np.finfo(kind).eps if np.dtype(kind).kind == "f" else 1e-16))
    return Columns(draft.like, low, high, np.where(draft.whole, 1.0, finest), draft.whole, draft.levels)
