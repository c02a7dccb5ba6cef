"""The shape of the description's records, for everything that walks them: reader, schema, rules, checks."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from casemate.core.errors import UnknownName
from casemate.core.fact import Truth

# The fields of the `system:` block of a description; the others are its top-level lists.
HEAD = ("name", "version", "description", "owner", "task", "modality", "decision", "target", "prices", "rules")
COLLECTIONS = ("zones", "principals", "assets", "components", "flows")
NAMED = (*COLLECTIONS, "controls")  # of these a control may go without an id


def field_key(f: dataclasses.Field[Any]) -> str:
    """The key of a field in a description."""
    return str(f.metadata.get("key", f.name))


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """Resolved annotations of a record, by field name."""
    return typing.get_type_hints(kind)


def choices(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the hint alone; None is left out, because absent means unknown."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, Union) else (hint,)
    return tuple(part for part in parts if part is not type(None))


@functools.cache
def record_in(hint: Any) -> type | None:
    """The record type inside a hint such as `Parent | Literal["none"] | None`."""
    return next((part for part in choices(hint) if dataclasses.is_dataclass(part) and isinstance(part, type)), None)


@functools.cache
def _fields_of(kind: type) -> dict[str, tuple[str, type | None]]:
    return {field_key(f): (f.name, record_in(hints(kind)[f.name])) for f in dataclasses.fields(kind)}


def field_named(kind: type, key: str) -> tuple[str, type | None]:
    """The attribute behind a key, and the record type below it if there is one."""
    try:
        return _fields_of(kind)[key]
    except KeyError:
        raise UnknownName(f"field of {kind.__name__.lower()}", key, _fields_of(kind)) from None


def misfit(value: Any, kind: type, name: str) -> str:
    """What a field would accept, when it does not accept this value; else nothing."""
    hint = hints(kind)[name]
    signed = bool(kind.__dataclass_fields__[name].metadata.get("signed"))  # type: ignore[attr-defined]
    return "" if fits(value, hint) and (signed or not _negative(value)) else _wanted(hint)


def _negative(value: Any) -> bool:
    return isinstance(value, (int, float)) and value < 0


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type. A flag is no number, and a number is finite."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, Union):
        return any(fits(value, part) for part in args)
    if origin is Literal:  # True == 1, so the type counts too
        return any(value == arg and type(value) is type(arg) for arg in args)
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, args[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if hint in (int, float):
        number = isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
        return number and math.isfinite(value)
    return isinstance(value, hint)


def _wanted(hint: Any) -> str:
    """The accepted values in words, choices separated by ", "."""
    words: list[str] = []
    for part in choices(hint):
        if typing.get_origin(part) is Literal:
            words += [str(arg) for arg in typing.get_args(part)]
        elif part is Truth:
            words += ["yes", "no", "unknown"]
        elif typing.get_origin(part) is tuple:
            words.append(f"a list of: {_wanted(typing.get_args(part)[0])}")
        elif part in (int, float):
            words.append("a whole number from 0" if part is int else "a number from 0")
        else:
            words.append({str: "a text"}.get(part, "a mapping"))
    return ", ".join(words)
