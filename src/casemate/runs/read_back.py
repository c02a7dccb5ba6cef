"""Assessments out of the JSON that was written of them: a report file, or a run in the store.

What is read is data from elsewhere: every value is checked against the type of its field, and nothing is repaired. The
description, rows, samples and claims are not part of it, so a read-back assessment compares and gates, and cannot run.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from ..core.errors import UsageError
from ..core.finding import Assessment

FORMAT = "casemate.report/1"
_MOST_BYTES = 256_000_000
_LEFT = {"system", "samples", "rows", "claims"}  # not written, or not needed and large


class Misfit(UsageError):
    """JSON that is no report of casemate: where in it, and what was expected."""


def read_report(data: bytes, shown: str) -> tuple[Assessment, ...]:
    """The assessments of a report.json.

    Raises:
        Misfit: It is not JSON, not a report, of another format, or a value in it has the wrong type.
    """
    held = parsed(data, shown)
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        got = held.get("format") if isinstance(held, dict) else type(held).__name__
        raise Misfit(f"{shown}: expected a report of the format {FORMAT!r}; got {got!r}; casemate assess writes report.json")
    listed = held.get("assessments")
    if not isinstance(listed, list):
        raise Misfit(f"{shown}: assessments: expected a list; got {_short(listed)}")
    return tuple(assessment_of(one, f"{shown}: assessments[{index}]") for index, one in enumerate(listed))


def parsed(data: bytes, shown: str) -> Any:
    """Strict JSON. Raises `Misfit` for anything else."""
    if len(data) > _MOST_BYTES:
        raise Misfit(f"{shown}: is larger than {_MOST_BYTES:,} bytes")
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        what = "is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Misfit(f"{shown}: cannot be read as JSON: {what}") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def assessment_of(data: Any, shown: str = "assessment") -> Assessment:
    """One assessment from plain data; keys that this version does not know are left out."""
    found: Assessment = _record(Assessment, data, shown, system=None)
    return found


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _record(kind: type, data: Any, path: str, **given: Any) -> Any:
    if not isinstance(data, dict):
        raise Misfit(f"{path}: expected a mapping; got {_short(data)}")
    values = dict(given)
    for f in dataclasses.fields(kind):
        if f.name in given or f.name in _LEFT:
            continue
        if f.name in data:
            values[f.name] = _value(_hints(kind)[f.name], data[f.name], f"{path}.{f.name}")
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise Misfit(f"{path}: {f.name} is missing")
    return kind(**values)


def _value(hint: Any, data: Any, path: str) -> Any:
    """The data as its field wants it. Raises `Misfit` where it does not fit."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return data
    if origin in (Union, types.UnionType):
        return _one_of(args, data, path)
    if origin is Literal:
        if data not in args:
            raise Misfit(f"{path}: expected {', '.join(map(repr, args))}; got {_short(data)}")
        return data
    if origin is tuple:
        return _tuple(args, data, path)
    if origin is list:
        return list(_tuple((args[0], ...), data, path))
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            raise Misfit(f"{path}: expected a mapping; got {_short(data)}")
        return {key: _value(args[1], value, f"{path}.{key}") for key, value in data.items()}
    if dataclasses.is_dataclass(hint):
        return _record(typing.cast(type, hint), data, path)
    return _plain(hint, data, path)


def _one_of(args: tuple[Any, ...], data: Any, path: str) -> Any:
    if data is None and type(None) in args:
        return None
    errors = []
    for part in (a for a in args if a is not type(None)):
        try:
            return _value(part, data, path)
        except Misfit as error:
            errors.append(error)
    raise errors[0]


def _tuple(args: tuple[Any, ...], data: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise Misfit(f"{path}: expected a list; got {_short(data)}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_value(args[0], item, f"{path}[{index}]") for index, item in enumerate(data))
    if len(data) != len(args):
        raise Misfit(f"{path}: expected {len(args)} values; got {len(data)}")
    return tuple(_value(part, item, f"{path}[{index}]") for index, (part, item) in enumerate(zip(args, data, strict=True)))


def _plain(kind: Any, data: Any, path: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        if data not in [str(member) for member in kind]:
            raise Misfit(f"{path}: expected {', '.join(kind)}; got {_short(data)}")
        return kind(data)
    if kind is datetime.date and isinstance(data, str):
        try:
            return datetime.date.fromisoformat(data)
        except ValueError:
            raise Misfit(f"{path}: expected a day as YYYY-MM-DD; got {_short(data)}") from None
    if kind is float:
        return _number(data, path)
    # A bool is an int to Python, and to no reader of a report.
    if isinstance(data, kind) and (kind is bool or not isinstance(data, bool)):
        return data
    raise Misfit(f"{path}: expected {kind.__name__}; got {_short(data)}")


def _number(data: Any, path: str) -> float:
    """JSON has no infinity: it was written as a word."""
    if isinstance(data, str) and data in ("inf", "-inf", "nan"):
        return float(data)
    if isinstance(data, (int, float)) and not isinstance(data, bool):
        with_limits = data if isinstance(data, float) or abs(data) < 2**1000 else math.inf
        return float(with_limits)
    raise Misfit(f"{path}: expected a number; got {_short(data)}")


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 80 else f"{text[:77]}..."
