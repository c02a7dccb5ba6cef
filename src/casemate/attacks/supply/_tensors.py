"""Formats that only hold numbers: safetensors, npy, GGUF. Their headers are checked to the byte."""

from __future__ import annotations

import ast
import json
import math
import re
import struct
from typing import Any

import numpy as np

from casemate.attacks.supply._finding import Data, Limits, Notebook, Severity

_HEADER = 100 << 20
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


def check_safetensors(data: Data, book: Notebook) -> None:
    """Size, JSON, duplicate keys, dtypes, shapes, and offsets that tile the buffer exactly."""
    length = int.from_bytes(data[:8], "little")
    if length > _HEADER or length + 8 > len(data):
        book.add(Severity.HIGH, 0, f"safetensors header of {length} bytes", "larger than the format or the file allows")
        return
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_no_duplicates)
        if not isinstance(header, dict):
            raise ValueError("the header is no object")
        _check_tiling(header, len(data) - 8 - length)
    except (ValueError, RecursionError) as error:
        book.add(Severity.HIGH, 8, f"safetensors header: {error}", "two readers may see two different models")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("duplicate key")
    return made


def _check_tiling(header: dict[str, Any], size: int) -> None:
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ is not a map of strings")
    spans = sorted(_span(name, entry) for name, entry in header.items() if name != "__metadata__")
    at = 0
    for begin, end, name in spans:
        if begin != at:
            raise ValueError(f"{name!r} {'overlaps' if begin < at else 'leaves a hole before'} byte {begin}")
        at = end
    if at != size:
        raise ValueError(f"the tensors end at byte {at} of {size}")


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name!r} is not described by dtype, shape and data_offsets")
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
    numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [None]
    if any(type(value) is not int or value < 0 for value in numbers) or len(offsets) != 2:
        raise ValueError(f"{name!r} has a shape or offsets that are not sizes")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"{name!r} has the unknown dtype {dtype!r}")
    if math.prod(shape) * _BITS[dtype] != 8 * (offsets[1] - offsets[0]):
        raise ValueError(f"{name!r} has a shape that its bytes do not fill")
    return offsets[0], offsets[1], name


def check_npy(data: Data, book: Notebook) -> int | None:
    """Check the header; the offset of the pickle when the array holds objects, else None."""
    try:
        wide = data[6] > 1
        start = 12 if wide else 10
        size = int.from_bytes(data[8:start], "little")
        if data[6] not in (1, 2, 3) or start + size > len(data) or size > 1 << 16:
            raise ValueError("unknown version or oversized header")
        header = ast.literal_eval(data[start : start + size].decode("utf-8" if data[6] == 3 else "latin1").strip())
        if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
            raise ValueError("unexpected keys")
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape = header["shape"]
        if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError("the shape is not made of sizes")
    except Exception as error:  # noqa: BLE001  numpy and ast raise many types on a crafted header
        book.add(Severity.HIGH, 0, f"npy header: {error}", "the header does not describe an array")
        return None
    if dtype.hasobject:
        reason = "numpy unpickles it when allow_pickle is set"
        book.add(Severity.LOW, 0, "object array", reason)
        return start + size
    if start + size + dtype.itemsize * math.prod(shape) != len(data):
        book.add(Severity.MEDIUM, start + size, "npy size mismatch", "bytes that the array does not account for")
    return None


_GGUF_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_TEMPLATE_ESCAPE = re.compile(rb"__\w+__|\battr\s*\(|cycler|lipsum|joiner|namespace\s*\.\s*__|\bimport\b|\\x5f|\\u005f")


def check_gguf(data: Data, book: Notebook, limits: Limits) -> None:
    """Read the key-value header; a chat template is a Jinja program that whoever serves the model renders."""
    try:
        version, tensors, pairs = struct.unpack_from("<IQQ", data, 4)
        if version not in (2, 3) or max(tensors, pairs) > limits.memo:
            raise ValueError(f"version {version}, {tensors} tensors, {pairs} keys")
        at, steps = 24, [0]
        for _ in range(pairs):
            start, end = _gguf_string(data, at)
            key = data[start:end]
            (kind,) = struct.unpack_from("<I", data, end)
            at = _gguf_value(data, kind, end + 4, steps, limits)
            if b"chat_template" in key:
                check_template(data[end + 4 : at], end + 4, book)
    except (struct.error, ValueError, RecursionError) as error:
        book.add(Severity.MEDIUM, None, f"GGUF header cannot be read: {error}", "the rest was not judged")


def check_template(template: bytes, offset: int | None, book: Notebook, *, told: bool = True) -> None:
    """Whether a Jinja template reaches out of its sandbox. `told`: it is said to be one, and worth a note by itself."""
    if _TEMPLATE_ESCAPE.search(template):
        reason = "it reaches for Python internals, which an unsandboxed renderer executes"
        book.add(Severity.HIGH, offset, "chat template with an escape", reason)
    elif told:
        book.add(Severity.LOW, offset, "chat template", "a Jinja program; render it in Jinja's sandbox")


def _gguf_string(data: Data, at: int) -> tuple[int, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    if at + 8 + length > len(data):
        raise ValueError("a string reaches past the end")
    return at + 8, at + 8 + length


def _gguf_value(data: Data, kind: int, at: int, steps: list[int], limits: Limits) -> int:
    steps[0] += 1
    if steps[0] > limits.opcodes:
        raise ValueError("too many values")
    if kind == 8:
        return _gguf_string(data, at)[1]
    if kind == 9:
        inner, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if inner in _GGUF_WIDTHS:
            at += _GGUF_WIDTHS[inner] * count
        else:
            for _ in range(count):
                at = _gguf_value(data, inner, at, steps, limits)
    elif kind in _GGUF_WIDTHS:
        at += _GGUF_WIDTHS[kind]
    else:
        raise ValueError(f"value type {kind}")
    if at > len(data):
        raise ValueError("a value reaches past the end")
    return at
