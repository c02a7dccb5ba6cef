"""A content hash of a fitted object, without pickling it.

Objects are walked: parameters and fitted attributes, arrays by their bytes, functions by their source and what they
close over. What hides its state (a lock, a handle into a C library) cannot be hashed, and is said so.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import os
import re
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

# An address that text vectorisers keep beside their stop words: different in every process, and no part of the model.
_ADDRESSES = frozenset({"_stop_words_id"})
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class _Opaque(Exception):
    """Something that cannot be hashed."""


def digest(value: Any, *, strict: bool = True) -> str | None:
    """Hash an object by content.

    Args:
        value: Anything made of numbers, arrays, frames, containers, functions and objects with attributes.
        strict: None where some part cannot be hashed. Otherwise that part counts by the name of its type, so the hash
            is always there but may miss a change.
    """
    try:
        return _Walk(strict).of(value).hex()
    except _Opaque:
        return None


class _Walk:
    """One walk through an object: remembers what it has seen, so that shared parts cost once and cycles end."""

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._seen: dict[int, bytes] = {}
        self._alive: list[Any] = []  # an id means nothing once its object is gone

    def of(self, value: Any) -> bytes:
        if isinstance(value, _PLAIN) and type(value).__module__ == "builtins":
            return _hash(type(value).__name__, repr(value).encode())
        if id(value) in self._seen:
            return self._seen[id(value)]
        self._alive.append(value)
        self._seen[id(value)] = b"cycle"
        found = self._seen[id(value)] = self._part(value)
        return found

    def _part(self, value: Any) -> bytes:
        if isinstance(value, np.ndarray | np.generic):
            return self._array(np.asarray(value))
        if hasattr(value, "detach") and hasattr(value, "cpu"):
            return _hash("tensor", self._array(value.detach().cpu().numpy()))
        if isinstance(value, dict | types.MappingProxyType):
            items = [self.of(k) + self.of(v) for k, v in value.items() if not (isinstance(k, str) and k in _ADDRESSES)]
            return _hash("dict", *sorted(items))
        if isinstance(value, set | frozenset):
            return _hash("set", *sorted(map(self.of, value)))
        if isinstance(value, list | tuple):
            return _hash(type(value).__name__, *map(self.of, value))
        if isinstance(value, bytearray | memoryview):
            return _hash("bytes", bytes(value))
        if isinstance(value, type | np.dtype | re.Pattern | os.PathLike | enum.Enum | slice | range | types.ModuleType):
            name = f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else str(value)
            return _hash(
                "name",
                getattr(value, "__name__", name).encode() if isinstance(value, types.ModuleType) else name.encode(),
            )
        if isinstance(value, np.random.RandomState):
            return _hash("random", self.of(value.get_state(legacy=False)))
        if isinstance(value, np.random.Generator):
            return _hash("random", self.of(value.bit_generator.state))
        if hasattr(value, "tocsr"):
            rows = value.tocsr()
            return _hash("sparse", *map(self.of, (rows.shape, rows.data, rows.indices, rows.indptr)))
        if hasattr(value, "iloc") or (hasattr(value, "to_numpy") and hasattr(value, "names")):
            return self._frame(value)
        return self._callable(value) if callable(value) and not _stateful(value) else self._object(value)

    def _array(self, array: Any) -> bytes:
        head = f"{array.dtype.str}{array.shape}".encode()
        if array.dtype == object:
            return _hash("array", head, *map(self.of, array.ravel().tolist()))
        if array.dtype.names:  # field by field: the padding between fields is whatever was in memory
            return _hash("array", head, *(n.encode() + self._array(array[n]) for n in array.dtype.names))
        return _hash("array", head, np.ascontiguousarray(array).tobytes())

    def _frame(self, frame: Any) -> bytes:
        if not hasattr(frame, "columns"):
            return _hash("column", str(frame.dtype).encode(), self.of(frame.to_numpy()))
        columns = [self.of(name) + self.of(frame[name]) for name in frame.columns]
        return _hash("frame", self.of(frame.index.to_numpy()), *columns)

    def _callable(self, value: Any) -> bytes:
        if isinstance(value, functools.partial):
            return _hash("partial", *map(self.of, (value.func, value.args, value.keywords)))
        if isinstance(value, types.MethodType):
            return _hash("method", self.of(value.__func__), self.of(value.__self__))
        own = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        name = f"{getattr(value, '__module__', '')}.{own}".encode()
        if not isinstance(value, types.FunctionType):  # builtins and ufuncs: their name is all there is
            owner = getattr(value, "__self__", None)
            return _hash("builtin", name, b"" if isinstance(owner, types.ModuleType) else self.of(owner))
        cells = [self.of(_content(cell)) for cell in value.__closure__ or ()]
        return _hash(
            "function", name, self._body(value), self.of(value.__defaults__), self.of(value.__kwdefaults__), *cells
        )

    def _body(self, function: types.FunctionType) -> bytes:
        try:
            return inspect.getsource(function).encode()
        except (OSError, TypeError):  # typed at a prompt: the compiled code stands for the source
            return _code(function.__code__)

    def _object(self, value: Any) -> bytes:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}".encode()
        try:
            return _hash("object", name, self.of(_state(value)))
        except _Opaque:
            if self._strict:
                raise
            return _hash("opaque", name)


_COUNTING = ("sklearn.neighbors._kd_tree", "sklearn.neighbors._ball_tree")


def _state(value: Any) -> Any:
    """All that an object holds, as it would hand it to a copy of itself; the interpreter says where C hides a part."""
    kind: Any = type(value)
    try:
        if kind.__getstate__ is not object.__getstate__:
            state = value.__getstate__()
            if kind.__module__ in _COUNTING and isinstance(state, tuple) and len(state) == 13:
                return (*state[:7], *state[11:])  # without its four counts of what it was asked: looking is no change
            return state
        parts = value.__reduce_ex__(2)
    except Exception as error:
        raise _Opaque(kind.__qualname__) from error
    return parts if isinstance(parts, str) else [list(p) if isinstance(p, Iterator) else p for p in parts]


def _stateful(value: Any) -> bool:
    """A callable that is an object of a class of its own, not a function."""
    functions = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial, np.ufunc)
    return not isinstance(value, functions)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return None


def _code(code: types.CodeType) -> bytes:
    inner = [_code(c) if isinstance(c, types.CodeType) else repr(c).encode() for c in code.co_consts]
    return _hash("code", code.co_code, repr(code.co_names).encode(), *inner)


def _hash(kind: str, *parts: bytes) -> bytes:
    found = hashlib.sha256(kind.encode())
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.digest()
