"""Randomness that belongs to the row.

A draw depends on (seed, row, draw) and on nothing else: not on the batch the row travels in, not on the worker,
not on how many rows fell before it. That is what makes one worker or many, killed or not, give identical evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Draw = int | tuple[int, ...]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROWS = np.uint64(0xD1B54A32D192ED03)
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _mix(z: Any) -> Any:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection of 64 bits that avalanches."""
    z = (z ^ (z >> np.uint64(30))) * _A
    z = (z ^ (z >> np.uint64(27))) * _B
    return z ^ (z >> np.uint64(31))


def _absorb(key: Any, word: Any) -> Any:
    with np.errstate(over="ignore"):
        return _mix((key ^ _mix(np.asarray(word).astype(np.uint64) + _GOLDEN)) + _GOLDEN)


@dataclass(frozen=True, slots=True)
class RowRandom:
    """A counter-based generator. `draw` names the draw: reuse one and the numbers repeat, on purpose."""

    seed: int = 0

    def fork(self, *path: int) -> RowRandom:
        """An independent stream, for a restart or a stage of a cascade."""
        key = _absorb(np.uint64(0x5EED), self.seed & 0xFFFFFFFFFFFFFFFF)
        for step in path:
            key = _absorb(key, step)
        return RowRandom(int(key))

    def bits(self, rows: Any, draw: Draw, count: int) -> NDArray[np.uint64]:
        """64 random bits for each of `count` values of each row: ``(n, count)``."""
        # The mark keeps rows apart from the path of a fork: without it `fork(1)` at row 2 would be `fork(1, 2)`.
        key = _absorb(_absorb(np.uint64(self.seed & 0xFFFFFFFFFFFFFFFF), _ROWS), np.asarray(rows, np.int64).reshape(-1, 1))
        for word in draw if isinstance(draw, tuple) else (draw,):
            key = _absorb(key, word)
        with np.errstate(over="ignore"):
            out: NDArray[np.uint64] = _mix(key + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)
        return out

    def uniform(self, rows: Any, draw: Draw, shape: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Uniform on the open interval (0, 1): ``(n, *shape)``."""
        count = int(np.prod(shape, dtype=np.int64))
        bits = self.bits(rows, draw, count) >> np.uint64(12)
        return ((bits.astype(np.float64) + 0.5) * 2.0**-52).reshape(len(bits), *shape)

    def normal(self, rows: Any, draw: Draw, shape: tuple[int, ...] = ()) -> NDArray[np.float64]:
        """Standard normal: ``(n, *shape)``."""
        return np.asarray(ndtri(self.uniform(rows, draw, shape)))

    def integers(self, rows: Any, draw: Draw, high: int, shape: tuple[int, ...] = ()) -> NDArray[np.int64]:
        """Integers in ``[0, high)``: ``(n, *shape)``."""
        return np.minimum((self.uniform(rows, draw, shape) * high).astype(np.int64), high - 1)

    def generator(self, row: int) -> np.random.Generator:
        """The row's own sequential generator, for an attack written as a dialogue of one row."""
        key = self.bits(np.array([row]), (0x0D1A,), 2)[0]
        return np.random.Generator(np.random.Philox(key=key))
