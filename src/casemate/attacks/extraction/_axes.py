"""The inputs of a model as the numbers it may be affine in, and questions that move along one of them at a time."""

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


@dataclass(frozen=True, slots=True)
class Axes:
    """An anchor and the ways to step away from it.

    Args:
        anchor: One row, as the endpoint takes it.
        names: One name for each axis ``(d,)``: a column, or ``column=level``.
        step: How far a numeric axis is moved ``(d,)``, in input units; 1 for a level, 0 for an axis that cannot move.
        moves: Of a frame, (column, level) for each axis, level None for a number. Empty for arrays.
    """

    anchor: Any
    names: tuple[str, ...]
    step: NDArray[np.float64]
    moves: tuple[tuple[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def features(self, x: Any) -> NDArray[np.float64]:
        """Steps away from the anchor along each axis ``(n, d)``: numbers in units of `step`, levels as 0 or 1."""
        scale = np.where(self.step != 0, self.step, 1.0)
        if not self.moves:
            away = _flat(x) - _flat(self.anchor)
        else:
            away = np.stack([self._column(x, name, level) for name, level in self.moves], axis=1)
        return np.asarray(away / scale)

    def _column(self, x: Any, name: str, level: Any) -> NDArray[np.float64]:
        if level is None:
            return np.asarray(x[name].to_numpy(np.float64) - float(self.anchor[name].iloc[0]))
        return np.array([value == level for value in x[name].tolist()], np.float64)

    def questions(self, axes: NDArray[np.int64], shrink: float = 1.0) -> Any:
        """One question for each of `axes`: the anchor moved along it by `shrink` of its step (a level moves whole)."""
        if not self.moves:
            flat = np.repeat(_flat(self.anchor), len(axes), axis=0)
            flat[np.arange(len(axes)), axes] += self.step[axes] * shrink
            return flat.reshape(len(axes), *self.anchor.shape[1:]).astype(self.anchor.dtype)
        frame = take(self.anchor, np.zeros(len(axes), int)).reset_index(drop=True)
        for name in dict.fromkeys(self.moves[a][0] for a in axes):
            column = frame[name].to_numpy(copy=True)
            for place, axis in enumerate(axes):
                if self.moves[axis][0] == name:
                    level = self.moves[axis][1]
                    column[place] = column[place] + self._amount(axis, shrink) if level is None else level
            frame[name] = column
        return frame.astype(self.anchor.dtypes)

    def _amount(self, axis: int, shrink: float) -> float:
        whole = self.anchor[self.moves[axis][0]].dtype.kind in "iu"
        step = self.step[axis] * shrink
        return float(np.sign(step) * max(1, round(abs(step)))) if whole and step else float(step)


def axes_of(case: Copy, anchor: Any = None) -> Axes:
    """The axes of a case, from its pool or its domain.

    The anchor of an array is the middle of the pool (or of the domain), where a classifier is least sure; of a frame or of
    whole numbers it is the first row of the pool, because a mean of categories is nothing. A step is one standard deviation
    of the pool, or a quarter of the domain.
    """
    if case.pool is not None and not count(case.pool):
        raise BadInput("the pool has no rows; give at least one input to start from, or low and high")
    if hasattr(case.pool, "iloc"):
        return _frame_axes(case, take(case.pool, [0]) if anchor is None else anchor)
    if case.pool is None and (case.low is None or case.high is None):
        raise BadInput("extraction needs inputs to ask about: give a pool, or low and high of the domain")
    if case.pool is None:
        low, high = np.atleast_1d(np.asarray(case.low, float)), np.atleast_1d(np.asarray(case.high, float))
        start, step = ((low + high) / 2)[None], (high - low).reshape(-1) / 4
    else:
        pool = np.asarray(to_numpy(case.pool))
        if pool.dtype.kind not in "fiub":
            raise BadInput(f"equation solving moves numbers or categories, and the inputs are {pool.dtype}")
        start = pool.mean(0, keepdims=True).astype(pool.dtype) if pool.dtype.kind == "f" else pool[:1]
        step = _flat(pool).std(0)
    start = start if anchor is None else np.asarray(to_numpy(anchor))
    step = _inside(np.where(step > 0, step, np.median(step[step > 0]) if (step > 0).any() else 1.0), start, case)
    if start.dtype.kind in "iu":
        step = np.sign(step) * np.maximum(1, np.round(np.abs(step)))
    return Axes(start, tuple(f"x{i}" for i in range(len(step))), step)


def _inside(step: NDArray[np.float64], start: Any, case: Copy) -> NDArray[np.float64]:
    """Steps turned round, or cut short, where they would leave a stated domain."""
    if case.low is None or case.high is None:
        return step
    at = _flat(start)[0]
    low, high = (np.broadcast_to(np.asarray(v, float).reshape(-1), at.shape) for v in (case.low, case.high))
    up, down = np.maximum(high - at, 0), np.maximum(at - low, 0)
    return np.asarray(np.where(up >= step, step, np.where(down >= step, -step, np.where(up >= down, up, -down))))


def _frame_axes(case: Copy, anchor: Any) -> Axes:
    names, steps, moves = [], [], []
    for name in case.pool.columns:
        known = levels(case.pool[name])
        if known:
            others = [level for level in known if level != anchor[name].iloc[0]]
            names += [f"{name}={level}" for level in others]
            moves += [(name, level) for level in others]
            steps += [1.0] * len(others)
            continue
        values, at = case.pool[name].to_numpy(np.float64), float(anchor[name].iloc[0])
        step = values.std() if at + values.std() <= values.max() else -values.std()
        if case.pool[name].dtype.kind in "iu" and step:
            step = np.sign(step) * max(1.0, round(abs(step)))
        names.append(str(name))
        moves.append((name, None))
        steps.append(float(step))
    return Axes(anchor, tuple(names), np.array(steps), tuple(moves))


def draw(case: Copy, rng: RowRandom, size: int, word: int) -> Any:
    """`size` inputs to ask about: each row of the pool once, then mixes of two; or uniform points of the domain."""
    if case.pool is not None:
        n = count(case.pool)
        own = np.argsort(rng.uniform(np.arange(n), (word, 0)), kind="stable")[:size]
        return take(case.pool, own) if size <= n else _with_mixes(case.pool, own, rng, size, word)
    if case.low is None or case.high is None:
        raise BadInput("extraction needs inputs to ask about: give a pool, or low and high of the domain")
    low, high = np.atleast_1d(np.asarray(case.low, float)), np.atleast_1d(np.asarray(case.high, float))
    return low + (high - low) * rng.uniform(np.arange(size), (word,), low.shape)


def _with_mixes(pool: Any, own: NDArray[np.int64], rng: RowRandom, size: int, word: int) -> Any:
    """The pool, and as many mixes as are missing: asking the same twice teaches nothing.

    Real numbers are mixed by weight, each row with a weight of its own; of whole numbers and categories each column comes
    from one parent or the other, so that every value is one that occurs.
    """
    ids = np.arange(size - len(own))
    a = rng.integers(ids, (word, 1), len(own))
    b = (a + 1 + rng.integers(ids, (word, 3), max(1, len(own) - 1))) % len(own)
    if hasattr(pool, "iloc"):
        import pandas

        from_a = rng.uniform(ids, (word, 2), (pool.shape[1],)) < 0.5
        one, two = (take(pool, p).reset_index(drop=True) for p in (a, b))
        frame = pandas.DataFrame({n: one[n].where(from_a[:, i], two[n]) for i, n in enumerate(pool.columns)})
        return pandas.concat([take(pool, own), frame.astype(pool.dtypes)], ignore_index=True)
    rows = np.asarray(to_numpy(pool))
    if rows.dtype.kind == "f":
        share = rng.uniform(ids, (word, 2)).reshape(-1, *([1] * (rows.ndim - 1)))
        mixed = (share * rows[a] + (1 - share) * rows[b]).astype(rows.dtype)
    else:
        mixed = np.where(rng.uniform(ids, (word, 2), rows.shape[1:]) < 0.5, rows[a], rows[b])
    return np.concatenate([rows[own], mixed])


def _flat(x: Any) -> NDArray[np.float64]:
    array = np.asarray(to_numpy(x))
    return array.reshape(len(array), -1).astype(np.float64)
