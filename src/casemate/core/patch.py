"""A sticker on a picture: everything may change inside one small rectangle, and nothing outside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .constraint import Ball
from .errors import BadInput
from .random import Draw, RowRandom
from .target import to_numpy


@dataclass(frozen=True, slots=True)
class Patch:
    """All changed values of a picture lie in one upright rectangle, somewhere, of at most `share` of its area.

    Pictures are ``(n, c, h, w)`` or ``(n, h, w)``. `check` measures the smallest rectangle around what changed.

    Args:
        share: Largest area, as a share of the picture's; in [0, 1].
        low, high: The domain of every value.
    """

    share: float = 0.05
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        for name in ("share", "low", "high"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise BadInput(f"{name}={value!r} is not a number")
        if not 0 <= self.share <= 1:
            raise BadInput(f"share={self.share!r} is not allowed; give a share of the picture's area in [0, 1]")
        if not self.low < self.high or not math.isfinite(self.high - self.low):
            raise BadInput(f"low={self.low!r}, high={self.high!r}: give a finite domain with low below high")

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        told, source = _planes(claim), _planes(origin)
        if told.shape != source.shape:
            return np.zeros(len(source), bool)
        # A value that was left alone is no change, wherever it lies.
        fits = (np.isfinite(told) & (told >= self.low) & (told <= self.high)) | (told == source)
        return np.asarray(fits.reshape(len(told), -1).all(1) & (self.measure(claim, origin) <= self.share * (1 + 1e-9)))

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        """The area of the smallest rectangle around all that changed, as a share of the picture's, ``(n,)``."""
        changed = (_planes(claim) != _planes(origin)).any(1)
        height, width = changed.shape[1:]
        sides = [_extent(changed.any(axis)) for axis in (2, 1)]
        return np.asarray(sides[0] * sides[1] / max(1, height * width))

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """A largest patch for a picture, as near to a square as fits: rows and columns of pixels."""
        area = math.floor(self.share * height * width * (1 + 1e-9))
        rows = min(height, math.isqrt(area))
        columns = min(width, area // max(1, rows))
        return min(height, area // max(1, columns)), columns

    def box(self, x: Any) -> Any:
        """`x` with every value brought into the domain, in its own precision."""
        return Ball("linf", math.inf, self.low, self.high).box(x)

    def sample(self, origin: Any, rng: RowRandom, rows: Any, draw: Draw) -> NDArray[np.float64]:
        """A patch of uniform noise, somewhere on each picture, float64."""
        x = np.array(to_numpy(origin), np.float64)
        pictures = _planes(x)  # of the same memory
        height, width = self.sides(*pictures.shape[2:])
        words = draw if isinstance(draw, tuple) else (draw,)
        content = self.low + (self.high - self.low) * rng.uniform(rows, words, (pictures.shape[1], height, width))
        top = rng.integers(rows, (*words, 1), pictures.shape[2] - height + 1)
        left = rng.integers(rows, (*words, 2), pictures.shape[3] - width + 1)
        for i in range(len(pictures)):
            pictures[i, :, top[i] : top[i] + height, left[i] : left[i] + width] = content[i]
        return x

    def project(self, x: Any, origin: Any) -> Any:
        """`x` where it is a patch already; elsewhere what it changes inside the best place for the largest one, boxed.

        Numpy or torch; what comes back is of the same library and precision, and passes `check`.
        """
        told, source = _planes(x), _planes(origin)
        height, width = self.sides(*told.shape[2:])
        size = np.abs(told - source).sum(1)
        keep = np.zeros(size.shape, bool)
        whole = self.measure(told, source) <= self.share * (1 + 1e-9)
        for i, (top, left) in enumerate(places(size, height, width, 1)[:, 0]):
            keep[i, top : top + height, left : left + width] = True
        keep |= whole[:, None, None]
        moved = (told != source) & keep[:, None]
        if hasattr(x, "new_tensor"):
            return self.box(x).where(x.new_tensor(moved).bool().reshape(x.shape), origin)
        return np.where(moved.reshape(np.shape(x)), self.box(x), origin)


def places(weight: Any, height: int, width: int, count: int) -> NDArray[np.int64]:
    """Where a rectangle covers the most weight: `count` corners (top, left) for each row, ``(n, count, 2)``.

    The first is the best of all, the others are the best of those that lie half a side apart. Where there are fewer, the
    last repeat the first.

    Args:
        weight: What is to be covered ``(n, h, w)``, at least 0.
    """
    weight = np.asarray(weight, np.float64)
    total = np.pad(weight.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    tall, wide = weight.shape[1] - height + 1, weight.shape[2] - width + 1
    inside = total[:, height:, width:] - total[:, :tall, width:] - total[:, height:, :wide] + total[:, :tall, :wide]
    # Rounded to a share of the most: sums in another order must not choose another place.
    inside = np.round(inside / np.maximum(inside.max((1, 2), keepdims=True, initial=0.0), 1e-300), 9)
    first = inside.reshape(len(weight), -1).argmax(1)
    found = np.repeat(np.stack(np.divmod(first, wide), -1)[:, None], count, axis=1)
    apart = (max(1, height // 2), max(1, width // 2))
    few = inside[:, :: apart[0], :: apart[1]]
    rest = np.argsort(-few.reshape(len(weight), -1), axis=1, kind="stable")[:, : count - 1]
    found[:, 1 : 1 + rest.shape[1]] = np.stack(np.divmod(rest, few.shape[2]), -1) * apart
    return found


def _extent(changed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many places lie from the first to the last that changed ``(n, k)``, ``(n,)``."""
    if not changed.shape[1]:
        return np.zeros(len(changed), np.int64)
    first, last = changed.argmax(1), changed.shape[1] - 1 - changed[:, ::-1].argmax(1)
    return np.where(changed.any(1), last - first + 1, 0)


def _planes(x: Any) -> NDArray[np.float64]:
    """Pictures as ``(n, c, h, w)`` in float64."""
    array = np.asarray(to_numpy(x), np.float64)
    if array.ndim == 3:
        return array[:, None]
    if array.ndim != 4:
        raise BadInput(f"a Patch is put on pictures (n, c, h, w) or (n, h, w); got shape {array.shape}")
    return array
