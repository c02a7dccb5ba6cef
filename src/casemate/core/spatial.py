"""Pictures that were turned and moved: what a camera held askew does, as a constraint.

The allowed changes are a grid of transforms, so that they can be counted and the worst of them found for certain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput
from .random import Draw, RowRandom
from .target import to_numpy

Padding = Literal["low", "edge", "reflect"]
ROUNDING = 2.0**-20  # of the domain: what single precision may have made of a claim on the way


@dataclass(frozen=True, slots=True, kw_only=True)
class Spatial:
    """All turns and moves on a grid: rotation about the middle of the picture, then translation; bilinear in between.

    Pictures are ``(n, c, h, w)`` or ``(n, h, w)``. A claim is allowed if it is one of the grid's transforms of its origin:
    `check` makes them again and compares. Of a grid of 775 that takes milliseconds a row.

    Args:
        degrees: Largest turn either way.
        pixels: Largest move along each axis, in pixels; fractions are allowed.
        angles: How many turns from ``-degrees`` to ``degrees``, odd so that no turn is one of them.
        shifts: How many moves along each axis, odd too.
        padding: What lies beyond the border: ``low`` (the dark end of the domain), ``edge`` (its last pixel) or ``reflect``.
        low, high: The domain of every value.
    """

    degrees: float = 30.0
    pixels: float = 3.0
    angles: int = 31
    shifts: int = 5
    padding: Padding = "low"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        for name in ("angles", "shifts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1 or value % 2 == 0:
                raise BadInput(f"{name}={value!r} is not allowed; give an odd number, so that standing still is one of them")
        for name in ("degrees", "pixels"):
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and 0 <= value < math.inf):
                raise BadInput(f"{name}={value!r} is not allowed; give a finite number of at least 0")
        if self.padding not in get_args(Padding):
            raise BadInput(f"padding={self.padding!r} is not known; allowed: {', '.join(map(repr, get_args(Padding)))}")
        if not self.low < self.high or not math.isfinite(self.high - self.low):
            raise BadInput(f"low={self.low!r}, high={self.high!r}: give a finite domain with low below high")

    def grid(self, height: int, width: int) -> NDArray[np.float64]:
        """All transforms ``(k, 3)``: degrees, pixels down, pixels right; the smallest first, standing still at the head.

        Size is `size`; of equal ones the smaller turn comes first.
        """
        turns = np.linspace(-self.degrees, self.degrees, self.angles) if self.degrees and self.angles > 1 else np.zeros(1)
        moves = np.linspace(-self.pixels, self.pixels, self.shifts) if self.pixels and self.shifts > 1 else np.zeros(1)
        every = np.stack(np.meshgrid(turns, moves, moves, indexing="ij"), -1).reshape(-1, 3)
        # Rounded, so that mirror images tie and stand in one order on every machine.
        size = np.round(self.size(every, height, width), 9)
        return np.asarray(every[np.lexsort((every[:, 2], every[:, 1], every[:, 0], np.abs(every[:, 0]), size))])

    def size(self, how: Any, height: int, width: int) -> NDArray[np.float64]:
        """How far each transform ``(k, 3)`` moves a pixel, in pixels: root mean square over the picture, ``(k,)``."""
        how = np.asarray(how, np.float64)
        about = (height**2 + width**2 - 2) / 12  # mean square distance of a pixel from the middle
        turned = (2 * np.sin(np.radians(how[:, 0]) / 2)) ** 2 * about
        return np.asarray(np.sqrt(turned + how[:, 1] ** 2 + how[:, 2] ** 2))

    def transform(self, x: Any, how: Any) -> NDArray[np.float64]:
        """All pictures ``(n, c, h, w)`` or ``(n, h, w)`` under one transform ``(3,)``, in float64."""
        pictures = _planes(x)
        height, width = pictures.shape[2:]
        if not np.any(how):
            return np.array(to_numpy(x), np.float64)
        flat = pictures.reshape(-1, height * width)
        found = self.low + (self._weights(np.asarray(how, np.float64), height, width) @ (flat - self.low).T).T
        # Weights add up to one only up to rounding.
        return np.asarray(found.clip(self.low, self.high).reshape(np.shape(to_numpy(x))))

    def _weights(self, how: NDArray[np.float64], height: int, width: int) -> Any:
        """What each pixel of the result takes from each pixel of the picture: a sparse ``(h w, h w)``, four in a row."""
        from scipy.sparse import csr_array

        # From each place of the result back to where its value comes from: undo the move, then the turn.
        y = np.arange(height)[:, None] - (height - 1) / 2 - how[1]
        z = np.arange(width)[None, :] - (width - 1) / 2 - how[2]
        cos, sin = np.cos(np.radians(how[0])), np.sin(np.radians(how[0]))
        rows, columns = (cos * y + sin * z + (height - 1) / 2).ravel(), (-sin * y + cos * z + (width - 1) / 2).ravel()
        top, left = np.floor(rows), np.floor(columns)
        weight, index = [], []
        for r, share_r in ((top, top + 1 - rows), (top + 1, rows - top)):
            for c, share_c in ((left, left + 1 - columns), (left + 1, columns - left)):
                i, inside_r = self._index(r, height)
                j, inside_c = self._index(c, width)
                weight.append(share_r * share_c * (inside_r & inside_c))
                index.append(i * width + j)
        size = height * width
        start = np.arange(0, 4 * size + 1, 4)
        return csr_array((np.stack(weight, 1).ravel(), np.stack(index, 1).ravel(), start), shape=(size, size))

    def _index(self, place: NDArray[np.float64], size: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Which pixel of a line answers for each place, and whether the picture has one there."""
        at = place.astype(np.int64)
        if self.padding == "reflect":  # the edge is repeated: d c b a | a b c d | d c b a
            at = at % (2 * size)
            at = np.where(at < size, at, 2 * size - 1 - at)
        inside = (at >= 0) & (at < size) | (self.padding == "edge")
        return at.clip(0, size - 1), np.asarray(inside)

    def nearest(self, claim: Any, origin: Any) -> NDArray[np.int64]:
        """Which transform of `grid` each claim is, ``(n,)``: the smallest that fits, -1 where none does."""
        told, source = _planes(claim), _planes(origin)
        found = np.full(len(source), -1)
        if told.shape != source.shape:
            return found
        room = ROUNDING * max(self.high - self.low, abs(self.low), abs(self.high))
        for place, how in enumerate(self.grid(*source.shape[2:])):
            open_ = np.flatnonzero(found < 0)
            if not len(open_):
                break
            gap = np.abs(self.transform(source[open_], how) - told[open_]).reshape(len(open_), -1)
            found[open_[gap.max(1, initial=0.0) <= room]] = place  # a gap that is no number is no fit
        return found

    def check(self, claim: Any, origin: Any) -> NDArray[np.bool_]:
        return np.asarray(self.nearest(claim, origin) >= 0)

    def measure(self, claim: Any, origin: Any) -> NDArray[np.float64]:
        """How far the transform moves a pixel, in pixels (root mean square); infinite where it is none of the grid's."""
        place = self.nearest(claim, origin)
        height, width = np.shape(to_numpy(origin))[-2:]
        sizes = np.append(self.size(self.grid(height, width), height, width), np.inf)
        return np.asarray(sizes[place])

    def sample(self, origin: Any, rng: RowRandom, rows: Any, draw: Draw) -> NDArray[np.float64]:
        """Each picture under a transform drawn from the grid, float64."""
        x = np.asarray(to_numpy(origin), np.float64)
        grid = self.grid(*x.shape[-2:])
        lot = rng.integers(rows, draw, len(grid))
        return np.concatenate([self.transform(x[i : i + 1], grid[place]) for i, place in enumerate(lot)])

    def project(self, x: Any, origin: Any) -> Any:
        """`x` where it is allowed as it is, and the origin elsewhere: between transforms there is nothing to project on."""
        ok = self.check(to_numpy(x), to_numpy(origin)).reshape(-1, *([1] * (len(np.shape(x)) - 1)))
        if hasattr(x, "new_tensor"):
            return x.where(x.new_tensor(ok).bool(), origin)
        return np.where(ok, x, origin)


def _planes(x: Any) -> NDArray[np.float64]:
    """Pictures as ``(n, c, h, w)`` in float64."""
    array = np.asarray(to_numpy(x), np.float64)
    if array.ndim == 3:
        return array[:, None]
    if array.ndim != 4:
        raise BadInput(f"Spatial turns pictures (n, c, h, w) or (n, h, w); got shape {array.shape}")
    return array
