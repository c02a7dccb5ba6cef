"""How costly inputs are made of honest ones: numbers, rows of tables, texts and files each mate and mutate in their own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.availability import Sponge
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.target import count, take, to_numpy

Floats = NDArray[np.float64]
RARE = "\x00\x7f\u00e9\u4e2d\U0001f600!"  # characters that few honest texts hold: what repeats up to them must be tried again


@dataclass(frozen=True, slots=True)
class Made:
    """One input of a search, and the position of the honest one it comes from."""

    value: Any
    origin: int


class Pool:
    """Inputs of one case, made by chance: arrays."""

    def __init__(self, case: Sponge, rng: np.random.Generator) -> None:
        self.case, self.rng = case, rng
        self.x: Any = to_numpy(case.x)

    def first(self, k: int) -> list[Made]:
        """Honest inputs, none twice, as many as there are up to `k`."""
        picked = self.rng.permutation(count(self.x))[:k]
        return [Made(self.at(int(i)), int(i)) for i in picked]

    def fresh(self) -> Made:
        """An input that comes of no other: honest, or anywhere in the domain of arrays."""
        if self.case.within is not None or type(self) is not Pool:
            return self.first(1)[0]
        low, high = bounds(self.case)
        i = int(self.rng.integers(count(self.x)))
        return Made(self.landed(self.rng.uniform(low, high, (1, *self.x.shape[1:])), np.array([i]))[0], i)

    def at(self, i: int) -> Any:
        return self.x[i]

    def joined(self, rows: list[Any]) -> Any:
        return np.stack(rows)

    def child(self, a: Made, b: Made) -> Made:
        """`a` with some of `b`, changed a little, and allowed; `a` itself where a change came out forbidden."""
        made = Made(self.mutated(self.mated(a.value, b.value), a), a.origin)
        within = self.case.within
        if within is None:
            return made
        ok = within.check(self.joined([made.value]), take(self.case.x, [a.origin]))[0]
        return made if ok else a

    def mated(self, a: Any, b: Any) -> Any:
        return np.where(self.rng.random(a.shape) < 0.5, a, b)

    def mutated(self, value: Any, of: Made) -> Any:
        low, high = bounds(self.case)
        size = value.shape
        touched = self.rng.random(size) < max(2 / max(value.size, 1), 0.05)
        ends = self.rng.choice([0.0, 1.0], size) * (high - low) + low
        far = np.where(self.rng.random(size) < 0.5, self.rng.uniform(low, high, size), ends)
        # At every scale: where work has ridges, the last of it is won by small steps.
        near = value + self.rng.normal(0, 0.3 * 10.0 ** -(3 * self.rng.random()), size) * (high - low)
        new = np.where(touched, np.where(self.rng.random(size) < 0.5, far, near), value).clip(low, high)
        return self.landed(new[None], np.array([of.origin]))[0]

    def landed(self, new: Any, origin: NDArray[np.int64]) -> Any:
        """Changed arrays ``(k, *shape)`` inside the domain and the constraint, in the precision of the inputs."""
        low, high = bounds(self.case)
        kind = self.x.dtype if self.x.dtype.kind == "f" else np.float64
        within: Any = self.case.within
        new = np.clip(new, low, high).astype(kind)
        if within is None:
            return np.clip(new, low, high)
        if not hasattr(within, "project"):
            raise BadInput(f"a {type(within).__name__} cannot be searched for costly inputs; give a Ball, a Table, or none")
        return within.project(new, self.x[origin].astype(kind))


class _Strings(Pool):
    """Texts and files."""

    def at(self, i: int) -> Any:
        return self.case.x[i]

    def joined(self, rows: list[Any]) -> Any:
        return rows

    def mated(self, a: Any, b: Any) -> Any:
        if self.case.within is not None or self.rng.random() < 0.5:
            return a
        return a[: self._place(a)] + b[self._place(b) :]

    def mutated(self, value: Any, of: Made) -> Any:
        within: Any = self.case.within
        if within is not None:
            return within.propose(value, self.at(of.origin), self.rng)
        way, room = int(self.rng.integers(4)), self.case.room
        start = self._place(value)
        end = min(len(value), start + 1 + int(self.rng.integers(8)))
        part = value[start:end]
        if way == 0 and part:  # one part over and over, up to the room there is
            times = 1 + int(self.rng.integers(max(1, (room - len(value)) // len(part) + 1)))
            value = value[:start] + part * times + value[end:]
        elif way == 1:
            value = value + self._rare(value)
        elif way == 2:
            value = value[:start] + value[end:] or value
        else:
            value = (value * 2)[:room]
        return value[:room]

    def _place(self, value: Any) -> int:
        return int(self.rng.integers(len(value) + 1))

    def _rare(self, value: Any) -> Any:
        pick = int(self.rng.integers(256 if isinstance(value, bytes) else len(RARE)))
        return bytes([pick]) if isinstance(value, bytes) else RARE[pick]


class _Rows(Pool):
    """Rows of a table, each a frame of one row: columns change sides, and a `Table` proposes what a form allows."""

    def at(self, i: int) -> Any:
        return take(self.case.x, [i])

    def joined(self, rows: list[Any]) -> Any:
        import pandas

        return pandas.concat(rows, ignore_index=True)

    def mated(self, a: Any, b: Any) -> Any:
        if self.case.within is not None:
            return a
        new = a.copy()
        for name in a.columns[self.rng.random(a.shape[1]) < 0.5]:
            new[name] = b[name].to_numpy()
        return new

    def mutated(self, value: Any, of: Made) -> Any:
        within: Any = self.case.within
        if within is not None:
            return within.propose(value, self.at(of.origin), self.rng)
        new, x = value.copy(), self.case.x
        name = x.columns[int(self.rng.integers(x.shape[1]))]
        new[name] = x[name].to_numpy()[[int(self.rng.integers(count(x)))]]
        return new


def pool_of(case: Sponge, rng: np.random.Generator) -> Pool:
    """What makes inputs for a case, by what its inputs are."""
    if hasattr(case.x, "iloc"):
        return _Rows(case, rng)
    if isinstance(case.x, list | tuple):
        return _Strings(case, rng)
    return Pool(case, rng)


def bounds(case: Sponge) -> tuple[Any, Any]:
    """The domain of arrays: as stated, of the ball, or the range of the honest inputs."""
    x, ball = to_numpy(case.x), case.within if isinstance(case.within, Ball) else None
    low = case.low if case.low is not None else ball.low if ball else x.min(0)
    high = case.high if case.high is not None else ball.high if ball else x.max(0)
    return np.asarray(to_numpy(low), np.float64), np.asarray(to_numpy(high), np.float64)
