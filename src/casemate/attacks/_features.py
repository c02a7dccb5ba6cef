"""Inputs as a matrix of numbers, for surrogates of the attacker's own: arrays flattened, tables one-hot and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput
from ..core.target import count, to_numpy


@dataclass(frozen=True, slots=True)
class Features:
    """How to read inputs as numbers, learned from some of them.

    Args:
        columns: Of a frame: (name, levels); no levels for a number. Empty for arrays.
        centre, scale: Mean and spread of each feature ``(d,)``.
    """

    columns: tuple[tuple[str, tuple[Any, ...]], ...]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]

    @staticmethod
    def of(x: Any) -> Features:
        """Learn levels, centres and scales from `x`: an array ``(n, *shape)`` or a frame."""
        columns: tuple[tuple[str, tuple[Any, ...]], ...] = ()
        if hasattr(x, "iloc"):
            columns = tuple((name, levels(x[name])) for name in x.columns)
        raw = _matrix(x, columns)
        spread = raw.std(0)
        return Features(columns, raw.mean(0), np.where(spread > 0, spread, 1.0))

    def __call__(self, x: Any) -> NDArray[np.float64]:
        """The features ``(n, d)``, centred and scaled."""
        return np.asarray((_matrix(x, self.columns) - self.centre) / self.scale)


def levels(column: Any) -> tuple[Any, ...]:
    """The values of a category, in order of appearance where no order is declared; none for a number."""
    if hasattr(column, "cat"):
        return tuple(column.cat.categories.tolist())
    if column.dtype.kind in "iuf":
        return ()
    return tuple(dict.fromkeys(column.tolist()))


def _matrix(x: Any, columns: tuple[tuple[str, tuple[Any, ...]], ...]) -> NDArray[np.float64]:
    if not columns:
        array = np.asarray(to_numpy(x))
        if array.dtype.kind not in "fiub":
            raise BadInput(f"a surrogate needs numbers or a table, and the inputs are {array.dtype}")
        return array.reshape(len(array), -1).astype(np.float64)
    parts: list[NDArray[np.float64]] = []
    for name, known in columns:
        values = x[name].to_numpy()
        if known:
            parts.append(np.array([[v == level for level in known] for v in values.tolist()], np.float64))
        else:
            parts.append(values.astype(np.float64).reshape(-1, 1))
    return np.concatenate(parts, axis=1) if count(x) else np.zeros((0, 0))
