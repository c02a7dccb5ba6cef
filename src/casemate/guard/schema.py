"""How requests carry rows and answers carry scores, as JSON.

Everything here reads what a hostile caller wrote, and a server behind it will read the same bytes. So whatever two
readers could understand differently (a key twice, a shape that does not fit its data, keys nobody named) is
`Malformed`.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

from ..core.errors import CasemateError, UsageError
from ..core.target import Response

_LEAVES = {int, float, bool, str}
_DIMENSIONS = 32  # of a tensor. More would let a caller have huge numbers multiplied
# Characters of a number that is not read: with an exponent below 100, and without one, it is not infinite as a float.
_LONGEST, _LONGEST_PLAIN = 200, 300
_REQUEST_KEYS = frozenset({"id", "inputs", "outputs", "parameters"})


class Malformed(CasemateError):
    """A body that cannot be read in exactly one way. The message holds nothing of the body."""


# A long list of nothing but numbers. Possessive, so that a hostile body cannot make it go back.
_NUMBERS = re.compile(rb"\[[-+0-9eE., \t\r\n]{64,}+\]")
_FAR = re.compile(rb"[eE]\+?\d{3}")  # an exponent that may be too large for a float
_MARK = secrets.token_hex(8)  # a caller cannot forge a placeholder that it cannot guess


class Flat(int):
    """How many numbers stood in a list that was counted but not read."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Flat:
    if pairs and pairs[0][0] == _MARK:
        return Flat(pairs[0][1])
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a key is there twice")
    return found


def _constant(_: str) -> NoReturn:
    raise Malformed("NaN and Infinity are not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # one reader sees infinity, another stops
        raise Malformed("a number is too large: it would be read as infinite")
    return value


def _whole(text: str) -> int:
    if len(text) > 300:  # 1e308 is the largest float
        _finite(text)
    return int(text)


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite, parse_int=_whole)
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object, strictly: UTF-8 only, no key twice, no NaN, no number that is infinite as a float."""
    try:
        found = _decoder.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed("not JSON in UTF-8, or nested too deeply") from error
    if not isinstance(found, dict):
        raise Malformed("not a JSON object")
    return found


def read_counts(body: bytes) -> dict[str, Any]:
    """Like `read_json`, but a long list of numbers becomes a `Flat`: who only counts rows need not read every pixel.

    Four fifths of the time of a request go there otherwise. It is safe to be lax about how a number is written,
    because a list never has more elements than commas plus one. A list that could hold an infinite number is read. A
    list inside a string is no list: there the placeholder's quote ends the string early, the result is no JSON, and
    the body is read in full instead.
    """
    counted = _NUMBERS.sub(_flat, body)
    if counted is not body:
        try:
            return read_json(counted)
        except Malformed:
            pass
    return read_json(body)


_MARKED = f'{{"{_MARK}":%d}}'.encode()


def _flat(found: re.Match[bytes]) -> bytes:
    """The placeholder of a list, or the list itself if a number in it may be too large for a float."""
    text = found[0]
    plain = b"e" not in text and b"E" not in text
    if not plain and _FAR.search(text):
        return text
    at, longest = 0, _LONGEST_PLAIN if plain else _LONGEST
    last, seek = len(text) - longest, text.rfind
    while at < last:  # from comma to comma, as far as one number may reach
        at = seek(b",", at + 1, at + longest)
        if at < 0:
            return text
    return _MARKED % (text.count(b",") + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Where the rows are in a request, and the label, scores and logits in an answer.

    An edited answer shows only the three fields and what `keep` names: a server that adds an output of its own does
    not leak it past a control that was to hide scores.

    Args:
        kind: ``v2`` (Open Inference Protocol: named outputs), ``json`` (named top-level columns), or ``raw`` (a
            request is one row and is not read; answers as in ``json``).
        rows: The key of the list of rows in a ``json`` request.
        row_shape: Sizes of one row; ``()`` if a row is one value. A request of any other shape is malformed, and every
            dimension before it counts. Left out, only the first dimension (``v2``) or the outer list (``json``)
            counts, which is right only behind a server that holds to the shape it is sent.
        also: Other keys a ``json`` request may have.
        label, scores, logits: Names of the outputs or columns.
        keep: Other top-level keys of an answer that are shown.
    """

    kind: Literal["v2", "json", "raw"] = "v2"
    rows: str = "instances"
    row_shape: tuple[int, ...] | None = None
    also: tuple[str, ...] = ()
    label: str = "label"
    scores: str = "scores"
    logits: str = "logits"
    keep: tuple[str, ...] = ("id", "model_name", "model_version")

    def __post_init__(self) -> None:
        if self.kind not in ("v2", "json", "raw"):
            raise UsageError(f"kind={self.kind!r} is not a schema known here; allowed: v2, json, raw")
        for name in ("rows", "label", "scores", "logits"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise UsageError(f"{name}={getattr(self, name)!r} is not allowed; give the name of a field")
        for name in ("also", "keep"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or not all(isinstance(key, str) for key in value):
                raise UsageError(f"{name}={value!r} is not allowed; give a list of names")
        self._check_row_shape()
        if len({self.label, self.scores, self.logits}) < 3 or {self.label, self.scores, self.logits} & set(self.keep):
            raise UsageError("label, scores, logits and keep must all be different names")

    def _check_row_shape(self) -> None:
        shape = self.row_shape
        if shape is None:
            return
        if self.kind == "raw":
            raise UsageError("row_shape is not allowed with kind raw: a raw request is one row and is not read")
        whole = isinstance(shape, tuple) and all(type(size) is int and size >= 1 for size in shape)
        if not whole or len(shape) >= _DIMENSIONS:
            raise UsageError(f"row_shape={shape!r} is not allowed; give a list of whole numbers from 1")

    def count(self, body: bytes) -> int:
        """Rows in a request, at least 1: an empty one is work for the server too."""
        if self.kind == "raw":
            return 1
        request = read_counts(body)
        if self.kind == "v2":
            return _tensor_rows(request, self.row_shape)
        if request.keys() - {self.rows, *self.also}:
            raise Malformed(f"the request may have no keys but {', '.join((self.rows, *self.also))}")
        rows = request.get(self.rows)
        if not isinstance(rows, list | Flat):
            raise Malformed(f"{self.rows} must be a list of rows")
        if self.row_shape is not None and not _nests(rows, (_length(rows), *self.row_shape)):
            raise Malformed(f"a row must have the shape {list(self.row_shape)}")
        return max(1, _length(rows))

    def edit(self, body: bytes, answer: Callable[[Response], Response]) -> bytes:
        """An answer as the controls let it out.

        Raises:
            Malformed: It cannot be read, or nothing would be left to show.
        """
        reply = read_json(body)
        named = _outputs(reply) if self.kind == "v2" else reply
        shown = {key: reply[key] for key in self.keep if key in reply}
        fields = {field: named.get(getattr(self, field)) for field in ("label", "scores", "logits")}
        before = Response(*(_array(value, exact=field == "label") for field, value in fields.items()))
        after = answer(before)
        columns: dict[str, Any] = {}
        for field, value in fields.items():
            old, new = getattr(before, field), getattr(after, field)
            if new is not None:
                columns[getattr(self, field)] = _written(value, None if new is old else np.asarray(new))
        if not columns:
            raise Malformed("the answer has nothing that may be shown")
        shown |= {"outputs": list(columns.values())} if self.kind == "v2" else columns
        return _encode(shown).encode()


def _tensor_rows(request: dict[str, Any], row: tuple[int, ...] | None) -> int:
    """Rows of a V2 request, each shape checked against its data.

    Without a shape of a row, the longest first dimension. With it, all that comes before it, alike in every input.
    """
    inputs = request.get("inputs")
    if request.keys() - _REQUEST_KEYS or not isinstance(inputs, list) or not inputs:
        raise Malformed("not a V2 inference request")
    counts = {_rows_of(_shape_of(tensor), row) for tensor in inputs}
    if row is not None and len(counts) > 1:
        raise Malformed("the inputs have different numbers of rows")
    return max(counts)


def _shape_of(tensor: Any) -> list[int]:
    """The shape of an input. It is the caller's word; the data is what the server will run on, so both must agree."""
    if not isinstance(tensor, dict):
        raise Malformed("an input is not a JSON object")
    shape, data = tensor.get("shape"), tensor.get("data")
    whole = isinstance(shape, list) and all(type(size) is int and size >= 1 for size in shape)
    if not isinstance(shape, list) or not whole or len(shape) > _DIMENSIONS:
        raise Malformed(f"an input needs a shape of at most {_DIMENSIONS} whole numbers from 1")
    if not isinstance(data, list | Flat):
        raise Malformed("an input needs its data as a JSON list; binary tensors are not read here")
    if not _nests(data, (math.prod(shape),)) and not _nests(data, tuple(shape)):
        raise Malformed("an input's data does not fit its shape")
    return shape


def _rows_of(shape: list[int], row: tuple[int, ...] | None) -> int:
    if row is None:
        return shape[0] if shape else 1
    leading = len(shape) - len(row)
    if leading < 0 or tuple(shape[leading:]) != row:
        raise Malformed(f"an input's shape must end in {list(row)}")
    return math.prod(shape[:leading])


def _length(data: list[Any] | Flat) -> int:
    return int(data) if isinstance(data, Flat) else len(data)


def _nests(data: Any, shape: tuple[int, ...]) -> bool:
    """Whether `data` is lists in lists of exactly these sizes, with plain values inside."""
    if not shape:
        return type(data) in _LEAVES
    if not isinstance(data, list | Flat) or _length(data) != shape[0]:
        return False
    if len(shape) == 1:
        return isinstance(data, Flat) or set(map(type, data)) <= _LEAVES
    return not isinstance(data, Flat) and all(_nests(inner, shape[1:]) for inner in data)


def _outputs(reply: dict[str, Any]) -> dict[str, Any]:
    outputs = reply.get("outputs")
    if not isinstance(outputs, list) or not all(isinstance(o, dict) and type(o.get("name")) is str for o in outputs):
        raise Malformed("not a V2 inference answer")
    named = {output["name"]: output for output in outputs}
    if len(named) != len(outputs):
        raise Malformed("an output is there twice")
    return named


def _array(value: Any, *, exact: bool) -> Any:
    """A column as an array: float64 for scores; labels as they are, one for each row."""
    if value is None:
        return None
    dtype = None if exact else np.float64
    try:
        if not isinstance(value, dict):
            array = np.asarray(value, dtype)
        else:
            array = np.asarray(value["data"], dtype).reshape(value["shape"])
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise Malformed("a field of the answer is not a rectangular array") from error
    if array.dtype == object or (exact and array.ndim and array.size != len(array)):
        raise Malformed("a label of the answer is not one plain value")
    return array


def _written(old: Any, new: Any) -> Any:
    """A column with new values, or with its own where `new` is None."""
    if not isinstance(old, dict):
        return old if new is None else new.tolist()
    # `parameters` and the like do not survive: they may describe the values that were hidden.
    kept = {key: old[key] for key in ("name", "datatype", "shape", "data") if key in old}
    return kept if new is None else {**kept, "shape": list(new.shape), "data": new.reshape(-1).tolist()}


def chained(steps: tuple[Callable[[Response], Response], ...]) -> Callable[[Response], Response]:
    """Several `answer` steps as one, in order."""

    def answer(response: Response) -> Response:
        for step in steps:
            response = step(response)
        return response

    return answer
