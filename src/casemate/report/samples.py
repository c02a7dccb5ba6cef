"""Original and changed input side by side: pictures, bytes, text and table rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.target import REJECT, count, take, to_numpy
from . import png
from .words import clean, short

_CELLS = 12  # changed cells of one row
_LINE = 8  # bytes on a line: two dumps fit side by side
_WINDOW = 10 * _LINE
_CONTEXT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One changed input. Which of the last three groups is filled depends on `kind`."""

    kind: str  # image, bytes, text, table
    row: str
    decision: str
    broken: bool
    note: str
    images: tuple[str, ...] = ()  # data URIs: before, after, difference
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cells: tuple[tuple[str, str, str], ...] = ()  # column, before, after


def samples(held: Mapping[str, Any], most: int) -> tuple[Sample, ...]:
    """Up to `most` samples of a finding. A shape that nobody knows how to show gives none."""
    before, after = held.get("before"), held.get("after")
    if before is None or after is None:
        return ()
    found = []
    for i in _worth_seeing(held, min(count(before), count(after)))[:most]:
        head: dict[str, Any] = {
            "row": _at(held, "row", i),
            "decision": _decision(held, i),
            "broken": _at(held, "broken", i) not in ("False", "0"),
        }
        shown = _one(_row(before, i), _row(after, i), held.get("columns"))
        if shown:
            found.append(Sample(**head, **shown))
    return tuple(found)


def _worth_seeing(held: Mapping[str, Any], n: int) -> list[int]:
    """The broken rows; where there are none, two that were tried."""
    if held.get("broken") is None:
        return list(range(n))
    broken = [i for i in range(n) if bool(held["broken"][i])]
    return broken or list(range(min(n, 2)))


def _row(x: Any, i: int) -> Any:
    if hasattr(x, "iloc"):
        return take(x, [i]).iloc[0].to_dict()
    return x[i] if isinstance(x, list | tuple) else to_numpy(x)[i]


def _at(held: Mapping[str, Any], name: str, i: int) -> str:
    values = held.get(name)
    return "" if values is None or i >= len(values) else _label(values[i])


def _label(value: Any) -> str:
    if hasattr(value, "item"):
        value = value.item()
    return "rejected" if value == REJECT and not isinstance(value, bool) else clean(value)


def _decision(held: Mapping[str, Any], i: int) -> str:
    first = _at(held, "label_before", i) or _at(held, "truth", i)
    last = _at(held, "label_after", i)
    return f"{first or '?'} → {last or '?'}" if first or last else ""


def _one(before: Any, after: Any, columns: Any) -> dict[str, Any]:
    if isinstance(before, bytes | bytearray) and isinstance(after, bytes | bytearray):
        return _bytes(bytes(before), bytes(after))
    if isinstance(before, str) and isinstance(after, str):
        return _text(before, after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return _cells(list(before), list(before.values()), [after.get(k) for k in before])
    a, b = np.asarray(before), np.asarray(after)
    if a.shape != b.shape or not a.size:
        return {}
    picture = _pixels(a)
    if picture is not None:
        return _image(a, picture, _pixels(b))
    if a.ndim == 1:
        names = (
            [str(c) for c in columns]
            if columns is not None and len(columns) == len(a)
            else [f"column {i}" for i in range(len(a))]
        )
        return _cells(names, a.tolist(), b.tolist())
    return {}


def _pixels(x: NDArray[Any]) -> NDArray[np.float64] | None:
    """``(h, w)`` or ``(h, w, 3)``, or None where it is no picture."""
    if x.dtype.kind not in "fiu" or x.ndim not in (2, 3):
        return None
    if x.ndim == 3:
        if x.shape[0] in (1, 3) and x.shape[2] not in (1, 3):
            x = np.moveaxis(x, 0, -1)
        if x.shape[2] not in (1, 3):
            return None
        x = x[..., 0] if x.shape[2] == 1 else x
    return np.nan_to_num(x.astype(float)) if min(x.shape[:2]) >= 4 else None


def _image(raw: NDArray[Any], before: NDArray[np.float64], after: NDArray[np.float64] | None) -> dict[str, Any]:
    if after is None:
        return {}
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    low, high = (0.0, 255.0) if raw.dtype == np.uint8 else (min(0.0, low), max(1.0, high))
    change = (after - before) / (high - low)
    largest = float(np.abs(change).max())
    factor = 1.0 if largest == 0 else max(1.0, 0.5 / largest)
    difference = np.clip(0.5 + factor * change, 0, 1)  # mid grey: unchanged
    shown = [_eight_bit((p - low) / (high - low)) for p in (before, after)] + [_eight_bit(difference)]
    changed = float((np.abs(change) > 1e-6).mean())
    note = f"difference x{factor:.1f}, grey is unchanged; largest {largest:.3f} of the range"
    note += f"; {100 * changed:.0f}% of values differ"
    return {"kind": "image", "note": note, "images": tuple(png.data_uri(png.resize(p)) for p in shown)}


def _eight_bit(x: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)


def _bytes(before: bytes, after: bytes) -> dict[str, Any]:
    start, tail = _common(before, after)
    moved = max(len(before), len(after)) - start - tail
    note = f"{len(before):,} → {len(after):,} bytes; first change at offset {start:,}; {moved:,} bytes changed or moved"
    begin = max(0, start - _CONTEXT) // _LINE * _LINE
    shown = [_hex(x[begin : begin + _WINDOW], begin, len(x) - begin - _WINDOW) for x in (before, after)]
    return {"kind": "bytes", "note": note, "before": shown[0], "after": shown[1]}


def _common(before: Sequence[Any], after: Sequence[Any]) -> tuple[int, int]:
    """Length of the common start and of the common end behind it."""
    least = min(len(before), len(after))
    start = next((i for i in range(least) if before[i] != after[i]), least)
    tail = next((i for i in range(least - start) if before[-1 - i] != after[-1 - i]), least - start)
    return start, tail


def _hex(data: bytes, begin: int, left: int) -> tuple[str, ...]:
    lines = []
    for at in range(0, len(data), _LINE):
        part = data[at : at + _LINE]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in part)
        lines.append(f"{begin + at:06x}  {part.hex(' '):<23}  {text}")
    return (*lines, *([f"… {left:,} more bytes"] if left > 0 else []))


def _text(before: str, after: str) -> dict[str, Any]:
    start, tail = _common(before, after)
    begin = max(0, start - 60)
    shown = [f"{'…' if begin else ''}{short(x[begin : len(x) - max(0, tail - 60)], 320)}" for x in (before, after)]
    note = f"{len(before):,} → {len(after):,} characters; first change at {start:,}"
    return {"kind": "text", "note": note, "before": (shown[0],), "after": (shown[1],)}


def _cells(names: Sequence[Any], before: Sequence[Any], after: Sequence[Any]) -> dict[str, Any]:
    changed = [(str(n), _value(a), _value(b)) for n, a, b in zip(names, before, after, strict=True) if not _same(a, b)]
    left = len(changed) - _CELLS
    note = f"{len(changed)} of {len(names)} columns changed" + (f"; {left} not shown" if left > 0 else "")
    return {"kind": "table", "note": note, "cells": tuple(changed[:_CELLS])}


def _same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else short(value, 60)
