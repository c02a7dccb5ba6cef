"""Triggers as values: each marks inputs ``(n, *shape)`` or a frame, always in the same way, and never writes into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput
from ...core.target import to_numpy
from .._features import levels

Corner = Literal["upper left", "upper right", "lower left", "lower right"]
CORNERS = ("upper left", "upper right", "lower left", "lower right")
_CHANNELS = (1, 3, 4)


def axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Which axes of a batch of this shape are the rows and columns of a picture; None where it holds no pictures."""
    if len(shape) == 3:
        return 1, 2
    if len(shape) == 4 and shape[1] in _CHANNELS:
        return 2, 3
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return 1, 2
    return None


def numbers(x: Any, id: str) -> NDArray[Any]:
    """Inputs as an array of numbers. Raises `BadInput` for anything else, naming the attack."""
    array = None if hasattr(x, "iloc") else np.asarray(to_numpy(x))
    if array is None or array.dtype.kind not in "fiub" or array.ndim < 2:
        kind = "a table" if array is None else f"{array.dtype} of shape {array.shape}"
        raise BadInput(f"{id} marks arrays of numbers (n, ...); got {kind}; poisoning.badnets marks tables")
    return array


def like(marked: NDArray[np.float64], x: Any) -> Any:
    """Marked inputs in the type of those they were made of; whole numbers are rounded."""
    array = np.asarray(to_numpy(x))
    values = np.rint(marked) if array.dtype.kind in "iub" else marked
    values = values.astype(array.dtype)
    if not hasattr(x, "detach"):
        return values
    import torch

    return torch.as_tensor(values).to(x)


@dataclass(frozen=True, slots=True)
class Patch:
    """A square of one value in a corner of pictures."""

    size: int
    corner: str
    value: float

    def __call__(self, x: Any) -> Any:
        array = np.array(to_numpy(x))
        place = axes(array.shape)
        if place is None:
            raise BadInput(f"a patch needs pictures (n, h, w), (n, c, h, w) or (n, h, w, c); got shape {array.shape}")
        upper, left = self.corner.startswith("upper"), self.corner.endswith("left")
        cut: list[Any] = [slice(None)] * array.ndim
        for axis, first in zip(place, (upper, left), strict=True):
            cut[axis] = slice(0, self.size) if first else slice(array.shape[axis] - self.size, None)
        array[tuple(cut)] = self.value
        return like(array, x)


@dataclass(frozen=True, slots=True)
class Values:
    """Fixed values in a few columns of vectors (by index) or of a table (by name)."""

    columns: tuple[tuple[Any, Any], ...]

    def __call__(self, x: Any) -> Any:
        if hasattr(x, "iloc"):
            import pandas

            marked = x.copy()
            for name, value in self.columns:
                marked[name] = pandas.Series([value] * len(x), index=x.index).astype(x[name].dtype)
            return marked
        array = np.array(to_numpy(x))
        flat = array.reshape(len(array), -1)
        for place, value in self.columns:
            flat[:, place] = value
        return like(array, x)


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """A pattern ``(*shape)`` mixed into inputs: ``(1 - alpha) x + alpha pattern``, where `where` ``(n, *shape)`` or
    ``(*shape)`` is 1."""

    pattern: NDArray[np.float64]
    alpha: float
    where: NDArray[np.float64] | None = None

    def __call__(self, x: Any) -> Any:
        array = np.asarray(to_numpy(x)).astype(np.float64)
        share = self.alpha * (1.0 if self.where is None else self.where)
        return like(array + share * (self.pattern - array), x)


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """Pictures bent along a field ``(h, w, 2)`` of shifts in pixels, linear between pixels; edges go on as they end."""

    field: NDArray[np.float64]

    def __call__(self, x: Any) -> Any:
        from scipy.ndimage import map_coordinates

        array = np.asarray(to_numpy(x)).astype(np.float64)
        place = axes(array.shape)
        if place is None:
            raise BadInput(f"a warp needs pictures (n, h, w), (n, c, h, w) or (n, h, w, c); got shape {array.shape}")
        last = np.moveaxis(array, place, (-2, -1))
        grid = np.stack(np.meshgrid(*(np.arange(s) for s in last.shape[-2:]), indexing="ij"), 0) + np.moveaxis(self.field, -1, 0)
        planes = last.reshape(-1, *last.shape[-2:])
        bent = np.stack([map_coordinates(plane, grid, order=1, mode="nearest") for plane in planes])
        return like(np.moveaxis(bent.reshape(last.shape), (-2, -1), place), x)


def mark(x: Any, size: int, corner: str, columns: int, value: float | None = None) -> Patch | Values:
    """The plainest mark for inputs like `x`: a square in a corner of pictures, unusual values in vectors and tables.

    Args:
        size, corner, value: Of the square; the highest value of `x` where none is given.
        columns: How many columns of a vector or table are marked.
    """
    if corner not in CORNERS:
        raise BadInput(f"corner={corner!r} is not known; allowed: {', '.join(CORNERS)}")
    if columns < 1:
        raise BadInput(f"columns={columns} is not allowed; mark at least one")
    if isinstance(x, list | tuple):
        raise BadInput("pictures, vectors and tables can be marked; got a list of text or bytes")
    array = None if hasattr(x, "iloc") else np.asarray(to_numpy(x))
    place = None if array is None else axes(array.shape)
    if array is None or place is None:
        return unusual(x, columns)
    side = min(array.shape[axis] for axis in place)
    if not 1 <= size < side:
        raise BadInput(f"size={size} does not fit pictures of side {side}; give 1 to {side - 1}")
    return Patch(size, corner, float(array.max()) if value is None else value)


def unusual(x: Any, count: int) -> Values:
    """The values that stand furthest out, in as many columns: the rarest level of a category, the end of a number's range.

    In a table that is measured in standard deviations, so that categories (as one-hot) and numbers compare. In vectors the
    distance in their own units counts as much: a model that does not scale its inputs sees nothing else. Columns of one value
    are left out, unless there are no others.
    """
    if hasattr(x, "iloc"):
        found = [(*_furthest(x[name]), name) for name in x.columns]
        rank = np.array([one[0] for one in found])
    else:
        flat = numbers(x, "poisoning.badnets").reshape(len(x), -1)
        found = [(*_end(flat[:, i]), i) for i in range(flat.shape[1])]
        sigmas = np.array([one[0] for one in found])
        gaps = sigmas * flat.std(0)
        rank = np.argsort(np.argsort(sigmas, kind="stable")) + np.argsort(np.argsort(gaps, kind="stable")) + 1.0
    order = [i for i in np.argsort(-rank, kind="stable").tolist() if found[i][0] > 0][:count]
    if order:
        return Values(tuple((found[i][2], found[i][1]) for i in order))
    # Nothing varies in what is seen, as where that is one record: its own values are the mark.
    if hasattr(x, "iloc"):
        return Values(tuple((name, x[name].iloc[0]) for name in x.columns[:count]))
    return Values(tuple((i, flat[0, i].item()) for i in range(min(count, flat.shape[1]))))


def _furthest(column: Any) -> tuple[float, Any]:
    known = levels(column)
    if not known:
        return _end(column.to_numpy())
    values = column.to_numpy().astype(object)
    shares = [(float(np.mean([v == level for v in values])), level) for level in known]
    shares = [(share, level) for share, level in shares if share > 0]
    if len(shares) < 2:
        return 0.0, None
    share, level = min(shares, key=lambda one: one[0])
    return float(np.sqrt((1 - share) / share)), level


def _end(values: NDArray[Any]) -> tuple[float, Any]:
    array = values.astype(np.float64)
    if not np.isfinite(array).all() or not np.ptp(array):
        return 0.0, None
    low, high, spread = array.min(), array.max(), array.std()
    below, above = array.mean() - low, high - array.mean()
    return (float(above / spread), high.item()) if above >= below else (float(below / spread), low.item())
