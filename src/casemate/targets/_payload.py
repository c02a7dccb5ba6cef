"""What goes over the wire and back: the Open Inference Protocol V2, and one JSON shape that is configured."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput, TargetFailed
from ..core.target import count

_TYPES = {
    "f8": "FP64", "f4": "FP32", "f2": "FP16", "i8": "INT64", "i4": "INT32", "i2": "INT16", "i1": "INT8", "u8": "UINT64",
    "u4": "UINT32", "u2": "UINT16", "u1": "UINT8", "b1": "BOOL",
}  # fmt: skip
_DTYPES = {name: np.dtype(code) for code, name in _TYPES.items()}


class Payload(Protocol):
    """A way to write rows down, and to read labels and numbers out of an answer."""

    @property
    def path(self) -> str:
        """Below the URL."""
        ...

    def pack(self, x: Any) -> bytes: ...
    def unpack(self, name: str, content: bytes, rows: int) -> tuple[Any, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class V2:
    """Open Inference Protocol V2. A frame sends one input ``(n, 1)`` for each column.

    Args:
        path: Below the URL: ``/v2/models/MODEL[/versions/VERSION]/infer``.
        input: Name of the input tensor.
        datatype: Sent as; by default the rows' own.
        label, numbers: Names of the output tensors; by default the first without floats, and the first of floats.
    """

    path: str
    input: str = "input"
    datatype: str | None = None
    label: str | None = None
    numbers: str | None = None

    def pack(self, x: Any) -> bytes:
        if hasattr(x, "iloc"):
            tensors = [self._tensor(str(column), x[column].to_numpy().reshape(-1, 1)) for column in x.columns]
        else:
            tensors = [self._tensor(self.input, _text(x) if isinstance(x, list | tuple) else np.asarray(x))]
        outputs = [{"name": name} for name in (self.label, self.numbers) if name]
        return _written({"inputs": tensors} | ({"outputs": outputs} if outputs else {}))

    def _tensor(self, name: str, x: NDArray[Any]) -> dict[str, Any]:
        kind = self.datatype or _TYPES.get(x.dtype.str[1:], "BYTES")
        if kind in _DTYPES and x.dtype.kind in "fiub":
            x = x.astype(_DTYPES[kind], copy=False)
        return {"name": name, "shape": list(x.shape), "datatype": kind, "data": x.ravel().tolist()}

    def unpack(self, name: str, content: bytes, rows: int) -> tuple[Any, Any]:
        document = _read(name, content)
        tensors = document.get("outputs") if isinstance(document, dict) else None
        if not isinstance(tensors, list) or not all(isinstance(t, dict) and "data" in t for t in tensors):
            raise TargetFailed(f"{name}: the answer has no 'outputs' with data, as the V2 protocol wants")
        found = {str(tensor.get("name", i)): tensor for i, tensor in enumerate(tensors)}
        floats = [key for key, tensor in found.items() if str(tensor.get("datatype", "")).startswith("FP")]
        label = self.label or next((key for key in found if key not in floats), None)
        numbers = self.numbers or next(iter(floats), None)
        for wanted in (self.label, self.numbers):
            if wanted is not None and wanted not in found:
                raise TargetFailed(f"{name}: the answer has no output {wanted!r}; it has: {', '.join(found)}")
        return tuple(None if key is None else _tensor_of(name, found[key]) for key in (label, numbers))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Json:
    """One JSON shape: rows under a key, labels and numbers at paths.

    A path is keys joined by dots; ``*`` takes every item of a list, a number one of them.

    Args:
        input_key: Where the rows go: ``inputs``, or ``data.rows``. An empty key sends the rows bare.
        label, numbers: Paths to the labels and to the scores; a mapping of class to score is read by class.
        batched: Whether rows go as a list, with a list of answers. Otherwise one row at a time, with one answer.
        body: What every request carries besides.
        values: The class values in index order, for scores given by class.
    """

    path: str = ""
    input_key: str = "inputs"
    label: str | None = None
    numbers: str | None = None
    batched: bool = True
    body: Mapping[str, Any] = field(default_factory=dict)
    values: tuple[Any, ...] = ()

    def pack(self, x: Any) -> bytes:
        rows = x.to_dict("records") if hasattr(x, "iloc") else list(x) if isinstance(x, list | tuple) else x.tolist()
        rows = [base64.b64encode(row).decode() if isinstance(row, bytes) else row for row in rows]
        document: Any = rows if self.batched else rows[0]
        for key in reversed(self.input_key.split(".") if self.input_key else []):
            document = {key: document}
        return _written({**self.body, **document} if isinstance(document, dict) and self.input_key else document)

    def unpack(self, name: str, content: bytes, rows: int) -> tuple[Any, Any]:
        document = _read(name, content)
        label, numbers = (None if path is None else _at(name, document, path) for path in (self.label, self.numbers))
        if not self.batched:
            label, numbers = (None if found is None else [found] for found in (label, numbers))
        if isinstance(numbers, list) and any(isinstance(row, dict) for row in numbers):
            numbers = [_by_class(name, row, self.values) for row in numbers]
        return label, numbers


def _by_class(name: str, row: Any, values: tuple[Any, ...]) -> list[Any]:
    """Scores given by class, in index order. A class that is not shown (top-k) counts as 0."""
    if not values:
        raise TargetFailed(f"{name} gives scores by class; say which classes there are: classes=[...]")
    strange = [key for key in row if key not in {str(value) for value in values}]
    if strange:
        raise TargetFailed(f"{name} gives a score for {strange[0]!r}, which is none of its classes {values[:10]}")
    return [row.get(str(value), 0.0) for value in values]


def _at(name: str, document: Any, path: str) -> Any:
    found = document
    keys = path.split(".") if path else []
    for i, key in enumerate(keys):
        if key == "*" and isinstance(found, list):
            return [_at(name, item, ".".join(keys[i + 1 :])) for item in found]
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, TypeError, ValueError):
            there = f"keys {list(found)[:10]}" if isinstance(found, dict) else f"a {type(found).__name__}"
            raise TargetFailed(f"{name}: the answer has no {path!r}; at {key!r} it has {there}") from None
    return found


def _tensor_of(name: str, tensor: Mapping[str, Any]) -> Any:
    if tensor.get("datatype") == "BYTES":
        return tensor["data"]
    try:
        return np.asarray(tensor["data"]).reshape(tensor.get("shape", -1))
    except (ValueError, TypeError):
        raise TargetFailed(f"{name}: output {tensor.get('name')!r} does not have the shape it states") from None


def _text(rows: Any) -> NDArray[Any]:
    return np.array([base64.b64encode(row).decode() if isinstance(row, bytes) else row for row in rows], dtype=object)


def _written(document: Any) -> bytes:
    try:
        return json.dumps(document, allow_nan=False, default=lambda value: value.item()).encode()
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"the rows cannot be written as JSON: {error}") from None


def _read(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise TargetFailed(f"{name} answered {len(content)} bytes that are not JSON") from None


def rows_of(x: Any, start: int, stop: int) -> Any:
    """Some rows of whatever carries them."""
    return x.iloc[start:stop] if hasattr(x, "iloc") else x[start : min(stop, count(x))]
