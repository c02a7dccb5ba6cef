"""What is wrong with a system: everything at once, each with the path that says it."""

from __future__ import annotations

import difflib
import functools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from casemate.core.entities import Binding
from casemate.core.errors import Problem
from casemate.core.shape import COLLECTIONS, HEAD, NAMED, field_key, misfit

if TYPE_CHECKING:
    from casemate.core.system import System

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(->[A-Za-z_][A-Za-z0-9_-]*)?\Z")
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")


def problems(system: System) -> Iterator[Problem]:
    yield from _misfits(system, system, "")
    lists = [getattr(system, kind) for kind in (*COLLECTIONS, "access", "controls", "assumptions", "target")]
    if not all(isinstance(rows, tuple) and all(map(is_dataclass, rows)) for rows in lists):
        return  # already reported; nothing below can be told
    known = {kind: {e.id: None for e in getattr(system, kind) if isinstance(e.id, str)} for kind in COLLECTIONS}
    yield from _duplicates(system)
    for kind in (*COLLECTIONS, "access", "controls", "target"):
        for index, element in enumerate(getattr(system, kind)):
            yield from _dangling(system, element, _named(element, kind, index), known)
    for index, binding in enumerate(system.target):
        yield from _binding(system, binding, _named(binding, "target", index))


def _problem(system: System, path: str, message: str, hint: str = "") -> Problem:
    file, line = system.place(path)
    return Problem(file, line, path, message, hint)


def _named(element: Any, kind: str, index: int) -> str:
    if kind == "target":
        return f"system.target({element.component})"
    return getattr(element, "id", "") or f"{kind}[{index}]"


def _misfits(system: System, record: Any, path: str) -> Iterator[Problem]:
    """Values of the wrong type or outside their choices, all the way down."""
    kind: type = type(record)
    for f, usual in _checked(kind):
        value = getattr(record, f.name)
        if value is usual:  # most of what could be stated is not
            continue
        where = f"{path}.{field_key(f)}" if path else field_key(f)
        where = f"system.{where}" if record is system and f.name in HEAD else where
        wrong = misfit(value, type(record), f.name)
        if wrong:
            allowed = wrong.removeprefix("a list of: ").split(", ") if ", " in wrong else []
            strange = [str(v) for v in (value if isinstance(value, tuple) else (value,)) if v not in allowed]
            close = [c for v in strange for c in difflib.get_close_matches(v, allowed, n=1, cutoff=0.5)]
            hint = f"did you mean {', '.join(close)}?" if close else ""
            yield _problem(system, where, f"expected {wrong}; got {value!r}", hint)
        elif is_dataclass(value):
            yield from _misfits(system, value, where)
        elif isinstance(value, tuple):
            for index, item in enumerate(value):
                if is_dataclass(item):
                    yield from _misfits(system, item, _named(item, f.name, index))


@functools.cache
def _checked(kind: type) -> tuple[tuple[Field[Any], Any], ...]:
    """The fields of a record that are checked, each with its default where that needs no check."""
    listed = [f for f in fields(kind) if f.name not in ("sources", "places", "folder", "_found")]
    return tuple((f, MISSING if misfit(f.default, kind, f.name) else f.default) for f in listed)


def _duplicates(system: System) -> Iterator[Problem]:
    seen: dict[str, str] = {"system": "system"}
    rows = [(kind, i, e) for kind in NAMED for i, e in enumerate(getattr(system, kind)) if e.id or kind != "controls"]
    for kind, index, element in rows:
        id = element.id
        where = _named(element, kind, index)
        if not isinstance(id, str) or not _ID.match(id):
            message = f"needs an id of letters, digits, - and _; got {id!r}" if id else "has no id"
            yield _problem(system, where, message)
        elif id in seen:
            yield _problem(system, where, f"the id {id!r} names something in {seen[id]} and in {kind}", "rename one")
        else:
            seen[id] = kind
    for kind in ("access", "controls", "target"):
        counts = Counter(_named(e, kind, i) for i, e in enumerate(getattr(system, kind)))
        for id in sorted(id for id, count in counts.items() if count > 1):
            yield _problem(system, id, f"appears {counts[id]} times in {kind}", "merge them into one")


def _dangling(system: System, record: Any, where: str, known: Mapping[str, Mapping[str, None]]) -> Iterator[Problem]:
    for f in fields(record):
        value = getattr(record, f.name)
        if is_dataclass(value):
            yield from _dangling(system, value, f"{where}.{field_key(f)}", known)
        kinds = f.metadata.get("refs", ())
        must = f.name in ("from_", "to", "principal", "on", "component")
        if kinds and must and not value:
            yield _problem(system, where, f"says nothing for {field_key(f)!r}", f"name one of {', '.join(kinds)}")
        for id in (value if isinstance(value, tuple) else (value,)) if kinds and value else ():
            if not isinstance(id, str) or not any(id in known[kind] for kind in kinds):
                allowed = [id for kind in kinds for id in known[kind]]
                close = difflib.get_close_matches(str(id), allowed, n=1, cutoff=0.5)
                hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(allowed) or 'none'}"
                message = f"{id!r} is not one of the {' or '.join(kinds)}"
                yield _problem(system, f"{where}.{field_key(f)}", message, hint)


def _binding(system: System, binding: Binding, where: str) -> Iterator[Problem]:
    for name in ("factory", "data", "recipe", "parent"):
        value = getattr(binding, name)
        if isinstance(value, str) and not _FUNCTION.match(value):
            yield _problem(system, f"{where}.{name}", f"expected module:function; got {value!r}")
    if binding.url is not None:
        for name in ("protocol", "query_cap", "pace_per_s"):
            if getattr(binding, name) is None:
                yield _problem(system, where, f"names a url, so {name!r} must be stated", "nothing is sent without it")
        if not binding.url.startswith(("http://", "https://")):
            yield _problem(system, f"{where}.url", f"expected http:// or https://; got {binding.url!r}")
    if binding.url is not None and binding.factory is not None:
        yield _problem(system, where, "has both a url and a factory", "keep one")
    for attack, options in binding.attacks.items() if isinstance(binding.attacks, Mapping) else ():
        if not isinstance(options, Mapping):
            yield _problem(system, f"{where}.attacks.{attack}", "expected a mapping of options")
