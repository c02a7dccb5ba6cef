"""Records of any kind as a matrix of numbers, for a judge that looks at them without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.target import to_numpy

LEVELS = 32  # of a category; a name that has more is told by its place in the order of names too
WIDE = 1024  # columns of an array; of more, neighbours are averaged
CHUNK = 256  # rows averaged at a time
BUCKETS = 256  # into which pairs of neighbouring bytes of a text are counted

Floats = NDArray[np.float64]


def numbers(x: Any, y: NDArray[Any]) -> Floats:
    """Inputs and labels as features ``(n, d)``, all finite.

    Arrays are flattened; of a table, categories become columns of 0 and 1, times become numbers, and a value that is missing
    is said by a column of its own; of texts and bytes, the length and the pairs of neighbouring bytes are counted. Names of
    many kinds (dates as text, postal codes, numbers of customers) also count by their place in sorted order, read from the
    left and from the right, and by their length.

    Args:
        x: ``(n, ...)``: an array, a frame, or a list of texts, bytes or anything else.
        y: ``(n,)`` labels: classes or numbers.
    """
    return np.concatenate([*_inputs(x), *_column(y, classes=y.dtype.kind != "f")], axis=1)


def _inputs(x: Any) -> Sequence[Floats]:
    if hasattr(x, "iloc"):
        return [part for place in range(x.shape[1]) for part in _column(_values(x.iloc[:, place]))]
    array = np.asarray(to_numpy(x)) if hasattr(x, "shape") else None
    if array is None or (array.dtype.kind not in "biufMm" and array.ndim == 1):
        return [_texts(list(x) if array is None else array.tolist())]
    if array.dtype.kind not in "biuf":
        flat = array.reshape(len(array), -1)
        return [part for i in range(flat.shape[1]) for part in _column(flat[:, i])]
    return _finite(_narrow(array.reshape(len(array), -1)))


def _values(series: Any) -> NDArray[Any]:
    """A column of a frame, with None for whatever that kind of column has for missing."""
    values = np.asarray(series.to_numpy())
    if values.dtype.kind != "O":
        return values
    found = values.copy()
    found[series.isna().to_numpy()] = None
    return found


def _narrow(flat: NDArray[Any]) -> Floats:
    """At most `WIDE` columns: beyond that, means of as many neighbours as it takes."""
    n, d = flat.shape
    if d <= WIDE:
        return np.asarray(flat, np.float64)
    starts = np.arange(0, d, -(-d // WIDE))
    size = np.diff(np.append(starts, d))
    with np.errstate(over="ignore", invalid="ignore"):  # a sum too large for a number is told as a value that is missing
        parts = [np.add.reduceat(flat[i : i + CHUNK].astype(np.float64), starts, axis=1) / size for i in range(0, n, CHUNK)]
    return np.concatenate(parts)


def _column(values: NDArray[Any], classes: bool = False) -> Sequence[Floats]:
    """One column of a table, or the labels."""
    if values.dtype.kind in "Mm":
        gone = np.isnat(values)
        return [np.where(gone, 0, values.astype("int64")).astype(np.float64)[:, None], *_flag(gone[:, None])]
    if values.dtype.kind == "O":
        values = _plain(values)
    if values.dtype.kind in "biuf" and not classes:
        return _finite(values.astype(np.float64)[:, None])
    names = [value if isinstance(value, str) else str(value) for value in values.tolist()]
    level, many = _places(names)
    few = np.argsort(-many, kind="stable")[:LEVELS]
    if len(many) <= LEVELS:
        return [np.equal.outer(level, few).astype(np.float64)]
    few = few[many[few] > 1]  # who alone has a name is told by its place
    order = np.unique(values, return_inverse=True)[1] if values.dtype.kind in "biuf" else level
    ends, length = _places([name[::-1] for name in names])[0], [len(name) for name in names]
    return [np.equal.outer(level, few).astype(np.float64), np.stack([order, ends, length], axis=1).astype(np.float64)]


def _places(names: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The place of each name among all in sorted order ``(n,)``, and how many have each."""
    place = {name: i for i, name in enumerate(sorted(set(names)))}
    found = np.array([place[name] for name in names], np.int64)
    return found, np.bincount(found)


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Objects as numbers where all of them are numbers or times, None as missing; else as they are."""
    try:
        return np.array([_number(value) for value in values.tolist()])
    except (TypeError, ValueError, OverflowError):
        return values


def _number(value: Any) -> float:
    if hasattr(value, "timestamp"):
        return float(value.timestamp())
    if hasattr(value, "ordinal"):  # a period of a calendar, of pandas
        return float(value.ordinal)
    if isinstance(value, str | bytes):
        raise TypeError("a name, even where it consists of digits")
    return float("nan") if value is None else float(value.toordinal() if hasattr(value, "toordinal") else value)


def _finite(values: Floats) -> Sequence[Floats]:
    """The values with 0 for what is missing, and which of them are."""
    gone = ~np.isfinite(values)
    return [np.where(gone, 0.0, values), *_flag(gone)]


def _flag(gone: NDArray[np.bool_]) -> Sequence[Floats]:
    some = gone.any(0)
    return [gone[:, some].astype(np.float64)] if some.any() else []


def _texts(values: Sequence[Any]) -> Floats:
    found = np.zeros((len(values), BUCKETS + 1))
    for row, value in enumerate(values):
        raw = value if isinstance(value, bytes) else str(value).encode()
        data = np.frombuffer(raw, np.uint8).astype(np.int64)
        found[row, BUCKETS] = len(data)
        if len(data) > 1:
            pairs = (data[:-1] * 257 + data[1:]) % BUCKETS
            found[row, :BUCKETS] = np.bincount(pairs, minlength=BUCKETS)
    return found
