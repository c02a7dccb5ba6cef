"""Where a joblib file keeps its raw array bytes.

joblib writes the bytes of an array into the middle of the pickle stream, right after the BUILD of a wrapper object.
To go on reading opcodes the walker must know exactly how many bytes joblib will skip; whatever it cannot know exactly
is refused, because being wrong by one byte lets two readers see two different programs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from casemate.attacks.supply._finding import Data
from casemate.attacks.supply._values import Kind, Sym

_CODE = re.compile(r"[biufcmMSUVO?]\d{0,9}\Z")
_REFCOUNT = 1
_MOST_FIELDS_DEEP = 8


class Unclear(Exception):
    """The extent of an array cannot be known from the stream."""


@dataclass(frozen=True, slots=True)
class Payload:
    """``end`` is the first byte after the raw bytes, or None when a nested pickle starts at ``start``."""

    start: int
    end: int | None


def payload(wrapper: Sym, data: Data, position: int, frame_end: int) -> Payload:
    """The extent of the array that follows the BUILD of ``wrapper`` at ``position``."""
    if frame_end > position:
        raise Unclear("a pickle frame reaches into the array bytes")
    if len(wrapper.states) != 1 or wrapper.states[0].kind is not Kind.DICT:
        raise Unclear("the array wrapper has no single plain state")
    fields = wrapper.states[0].fields or {}
    shape, dtype = fields.get("shape"), fields.get("dtype")
    if shape is None or shape.kind is not Kind.TUPLE or dtype is None:
        raise Unclear("the array wrapper lacks its shape or dtype")
    size, objects = _itemsize(dtype, 0)
    if objects:
        return Payload(position, None)
    count = 1
    for part in shape.items:
        length = part.whole()
        if length is None or length < 0:
            raise Unclear("the shape of an array is not made of plain integers")
        count *= length
    end = _after_padding(fields.get("numpy_array_alignment_bytes"), data, position) + count * size
    if end > len(data):
        raise Unclear("an array reaches past the end of the file")
    return Payload(position, end)


def _after_padding(alignment: Sym | None, data: Data, position: int) -> int:
    if alignment is None or alignment.is_none():
        return position
    if alignment.whole() is None or position >= len(data):
        raise Unclear("the alignment of an array is not a plain integer")
    return position + 1 + data[position]


def _itemsize(dtype: Sym, deep: int) -> tuple[int, bool]:
    """Bytes per element and whether elements are Python objects."""
    made = dtype.kind is Kind.MADE and dtype.value == ("numpy", "dtype") and dtype.items and len(dtype.states) <= 1
    code = dtype.items[0].text() if made else None
    if code is None or not _CODE.match(code) or deep > _MOST_FIELDS_DEEP:
        raise Unclear("the dtype of an array is not plain")
    size, objects = np.dtype(code).itemsize, code.startswith("O")
    if not dtype.states:
        return size, objects
    state = dtype.states[0].items
    if len(state) < 8 or state[0].whole() not in (3, 4):
        raise Unclear("the state of a dtype has an unknown form")
    given, flags = state[5].whole(), state[7].whole()
    if given is None or flags is None:
        raise Unclear("the state of a dtype is not plain")
    inner = _inner(state[2], state[4], deep)
    # numpy believes the flag, not the fields: a disagreement makes it treat raw bytes as pointers, or the reverse
    if bool(flags & _REFCOUNT) != (objects or inner):
        raise Unclear("a dtype contradicts itself about holding objects")
    return (size if given < 0 else given), objects or inner


def _inner(subarray: Sym, fields: Sym, deep: int) -> bool:
    objects = False
    if not subarray.is_none():
        if subarray.kind is not Kind.TUPLE or not subarray.items:
            raise Unclear("the subarray of a dtype is not plain")
        objects |= _itemsize(subarray.items[0], deep + 1)[1]
    if not fields.is_none():
        if fields.kind is not Kind.DICT or fields.odd_keys:
            raise Unclear("the fields of a dtype are not plain")
        for field in (fields.fields or {}).values():
            if field.kind is not Kind.TUPLE or not field.items:
                raise Unclear("a field of a dtype is not plain")
            objects |= _itemsize(field.items[0], deep + 1)[1]
    return objects
