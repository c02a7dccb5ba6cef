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
_REQUEST_KEYS = frozenset({"id", "inputs", "outputs", "parameters"})


class Malformed(CasemateError):
    """A body that cannot be read in exactly one way. The message holds nothing of the body."""


# A long list of nothing but numbers. Possessive, so that a hostile body cannot make it go back.
_NUMBERS = re.compile(rb"\[[-+0-9eE., \t\r\n]{64,}+\]")
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


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object, strictly: UTF-8 only, no key twice, no NaN."""
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
    because a list never has more elements than commas plus one. A list inside a string is no list: there the
    placeholder's quote ends the string early, the result is no JSON, and the body is read in full instead.
    """
    counted = _NUMBERS.sub(lambda m: b'{"%b":%d}' % (_MARK.encode(), m[0].count(b",") + 1), body)
    if counted is not body:
        try:
            return read_json(counted)
        except Malformed:
            pass
    return read_json(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Where the rows are in a request, and the label, scores and logits in an answer.

    An edited answer shows only the three fields and what `keep` names: a server that adds an output of its own does
    not leak it past a control that was to hide scores.

    Args:
        kind: ``v2`` (Open Inference Protocol: named outputs), ``json`` (named top-level columns), or ``raw`` (a
            request is one row and is not read; answers as in ``json``).
        rows: The key of the list of rows in a ``json`` request.
        also: Other keys a ``json`` request may have.
        label, scores, logits: Names of the outputs or columns.
        keep: Other top-level keys of an answer that are shown.
    """

    kind: Literal["v2", "json", "raw"] = "v2"
    rows: str = "instances"
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
        if len({self.label, self.scores, self.logits}) < 3 or {self.label, self.scores, self.logits} & set(self.keep):
            raise UsageError("label, scores, logits and keep must all be different names")

    def count(self, body: bytes) -> int:
        """Rows in a request, at least 1: an empty one is work for the server too."""
        if self.kind == "raw":
            return 1
        request = read_counts(body)
        if self.kind == "v2":
            return _tensor_rows(request)
        if request.keys() - {self.rows, *self.also}:
            raise Malformed(f"the request may have no keys but {', '.join((self.rows, *self.also))}")
        rows = request.get(self.rows)
        if not isinstance(rows, list | Flat):
            raise Malformed(f"{self.rows} must be a list of rows")
        return max(1, rows if isinstance(rows, Flat) else len(rows))

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


def _tensor_rows(request: dict[str, Any]) -> int:
    """Rows of a V2 request: the longest first dimension of its inputs, each shape checked against its data."""
    inputs = request.get("inputs")
    if request.keys() - _REQUEST_KEYS or not isinstance(inputs, list) or not inputs:
        raise Malformed("not a V2 inference request")
    rows = 1
    for tensor in inputs:
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        data = tensor.get("data") if isinstance(tensor, dict) else None
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise Malformed("an input needs a shape of whole numbers")
        if not isinstance(data, list | Flat):
            raise Malformed("an input needs its data as a JSON list; binary tensors are not read here")
        # The shape is the caller's word; the data is what the server will run on.
        if _leaves(data) != math.prod(shape):
            raise Malformed("an input's data does not fit its shape")
        rows = max(rows, shape[0] if shape else 1)
    return rows


def _leaves(data: Any) -> int:
    if isinstance(data, Flat):
        return data
    kinds = set(map(type, data))
    if kinds <= _LEAVES:
        return len(data)
    if kinds <= {list, Flat}:
        return sum(map(_leaves, data))
    raise Malformed("data mixes values and lists")


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
