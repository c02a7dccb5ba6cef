"""ONNX, read with a protobuf reader of our own: no schema compiler, no native code, nothing executed.

What can hurt in an ONNX file is where it points (external tensor data) and what it asks the runtime to load
(operators outside the standard, which live in native libraries or in Python).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from casemate.attacks.supply._finding import Data, Limits, Notebook, Severity

SCANNER = "onnx reader"

# message -> field number -> (message inside, or "" for a leaf that is read here)
_SCHEMA: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function", 20: "training", 8: "opset"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_STANDARD = {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "ai.onnx.preview"}
_IN_PYTHON = {"PyOp", "PythonOp", "PyCustomOp"}
_DEEPEST = 64
_MOST_AT_TOP = 1_000_000  # fields of a ModelProto: its functions and notes are far fewer

Field = tuple[int, int, int, int]  # number, wire type, start (or value), end


def fields(data: Data, start: int, end: int) -> Iterator[Field]:
    """The fields of one message. Raises ValueError on anything that is not well formed."""
    while start < end:
        key, start = _varint(data, start, end)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire == 0:
            value, start = _varint(data, start, end)
            yield number, wire, value, start
        elif wire == 2:
            length, start = _varint(data, start, end)
            if start + length > end:
                raise ValueError("a field reaches past its message")
            yield number, wire, start, start + length
            start += length
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            if start + width > end:
                raise ValueError("a field reaches past its message")
            yield number, wire, start, start + width
            start += width
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: Data, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("an integer is not ended")


def looks_like_onnx(data: Data) -> bool:
    """Top-level fields only: an ir_version, and a graph or functions, and nothing that a ModelProto has not."""
    seen: dict[int, int] = {}
    version = 0
    try:
        for steps, (number, wire, start, _) in enumerate(fields(data, 0, len(data))):
            if steps > _MOST_AT_TOP:
                return False
            seen[number] = wire
            version = start if number == 1 and wire == 0 else version
    except ValueError:
        return False
    known = set(seen) <= {1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
    return known and 0 < version < 100 and seen.get(1) == 0 and 2 in (seen.get(7), seen.get(25))


def check_onnx(data: Data, book: Notebook, limits: Limits, folder: Path | None, external: set[Path]) -> None:
    """Walk every message that can hold a tensor or a node, wherever it is nested.

    Files beside the model that hold its tensors are added to ``external``.
    """
    steps = 0
    todo: list[tuple[str, int, int, int]] = [("model", 0, len(data), 0)]
    try:
        local = _local_functions(data)
        while todo:
            message, start, end, deep = todo.pop()
            if deep > _DEEPEST:
                raise ValueError("messages nested too deep")
            for number, wire, a, b in fields(data, start, end):
                steps += 1
                if steps > limits.opcodes:
                    raise ValueError(f"more than {limits.opcodes} fields")
                inner = _SCHEMA[message].get(number)
                if inner in _SCHEMA and wire == 2:
                    todo.append((inner, a, b, deep + 1))
                elif inner == "entry" and wire == 2:
                    _check_entry(data, a, b, book, folder, external)
            if message == "node":
                _check_operator(data, start, end, book, local)
    except ValueError as error:
        book.add(Severity.MEDIUM, None, f"ONNX cannot be read to its end: {error}", "the rest was not judged")


def _strings(data: Data, start: int, end: int) -> dict[int, str]:
    """The last value of every length-delimited field, which is the one protobuf keeps."""
    return {n: data[a:b][:4096].decode("utf-8", "replace") for n, wire, a, b in fields(data, start, end) if wire == 2}


def _local_functions(data: Data) -> set[tuple[str, str]]:
    """(domain, name) of functions that the model itself defines: their bodies are walked like any other graph."""
    bodies = (_strings(data, a, b) for n, wire, a, b in fields(data, 0, len(data)) if (n, wire) == (25, 2))
    return {(body.get(10, ""), body.get(1, "")) for body in bodies}


def _check_operator(data: Data, start: int, end: int, book: Notebook, local: set[tuple[str, str]]) -> None:
    strings = _strings(data, start, end)
    domain, name = strings.get(7, ""), strings.get(4, "")
    if (domain, name) in local:
        return
    if name in _IN_PYTHON:
        book.add(Severity.HIGH, start, f"operator {domain}.{name}", "it runs Python code that the model names")
    elif domain.startswith("com.microsoft"):
        book.add(Severity.LOW, start, f"operator domain {domain}", "ONNX Runtime's own contributed operators")
    elif domain not in _STANDARD:
        reason = "a custom operator is native code that the model asks the runtime to load"
        book.add(Severity.MEDIUM, start, f"operator {domain}.{name}", reason)


def _check_entry(data: Data, start: int, end: int, book: Notebook, folder: Path | None, external: set[Path]) -> None:
    strings = _strings(data, start, end)
    if strings.get(1) == "location":
        target = check_location(strings.get(2, ""), start, book, folder)
        if target is not None:
            external.add(target)


def check_location(location: str, offset: int, book: Notebook, folder: Path | None) -> Path | None:
    """An external data file must lie beside the model, and must not be a link to somewhere else."""
    windows = PureWindowsPath(location)
    escapes = windows.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\x00" in location
    what = f"external data at {location!r}"
    if escapes or not location:
        book.add(Severity.HIGH, offset, what, "loading the model reads a file outside its directory")
        return None
    if folder is None:
        book.add(Severity.MEDIUM, offset, what, "the file lies outside what was scanned")
        return None
    target = (folder / location.replace("\\", "/")).resolve()
    if not target.is_relative_to(folder.resolve()):
        book.add(Severity.HIGH, offset, what, "a link leads outside the directory of the model")
    elif not target.is_file():
        book.add(Severity.MEDIUM, offset, what, "the file is missing, so that what will be loaded is not known")
    else:
        book.add(Severity.LOW, offset, what, "raw tensor bytes beside the model; pin their digest too")
        return target
    return None
