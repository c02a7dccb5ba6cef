"""What two descriptions say differently: one line for each fact, with both values, where they come from and where they stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from ..core.fact import Truth
from ..core.shape import HEAD, field_key
from ..core.system import System

_OUTSIDE = ("sources", "places", "folder", "_found")
_SHORT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFact:
    """One fact that differs. A value that is not stated is ""; `source` is asserted, imported or measured.

    Args:
        path: As everywhere: `api.model.output`, `access(customer, api).can`.
        place: File and line in the later description, or in the earlier one where it was taken out.
        whole: The value is the kind of an element that only one description has.
    """

    path: str
    before: str
    after: str
    source_before: str
    source_after: str
    place: tuple[str, int]
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return f"{self.path}: {self.after or self.before} {'added' if self.after else 'taken out'}"
        sides = [self._side(self.before, self.source_before), self._side(self.after, self.source_after)]
        return f"{self.path}: {sides[0]} -> {sides[1]}"

    def _side(self, value: str, source: str) -> str:
        if not value:
            return "not stated"
        return value if source == "asserted" else f"{value} ({source})"


def changed_facts(before: System, after: System) -> tuple[ChangedFact, ...]:
    """Every difference of fact, by path. An element that only one has is one difference, not one for each of its facts."""
    old, new = dict(_facts(before)), dict(_facts(after))
    lost, gained = (_elements(a) - _elements(b) for a, b in ((before, after), (after, before)))
    found = []
    for path in sorted({*old, *new}):
        was, now = old.get(path, ""), new.get(path, "")
        alone = _owner(path, lost | gained)
        sources = before.sources.get(path, "asserted") if was else "", after.sources.get(path, "asserted") if now else ""
        if (was, *sources[:1]) == (now, *sources[1:]) or (alone and alone != path):
            continue
        place = (after if now else before).place(path)
        found.append(
            ChangedFact(
                path=path, before=_short(was), after=_short(now), source_before=sources[0], source_after=sources[1],
                place=place, whole=alone == path,
            )
        )  # fmt: skip
    return tuple(found)


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."


def _owner(path: str, elements: set[str]) -> str:
    """The element that a path is inside of, if it is one of these."""
    if path in elements:
        return path
    return next((e for e in _starts(path) if e in elements), "")


def _starts(path: str) -> Iterator[str]:
    for index, character in enumerate(path):
        if character == ".":
            yield path[:index]


def _lists(system: System) -> Iterator[tuple[str, str, Any]]:
    """Every listed element with the name of its list and its own."""
    for f in fields(system):
        value = getattr(system, f.name)
        if f.name in _OUTSIDE or not isinstance(value, tuple):
            continue
        for index, item in enumerate(value):
            if is_dataclass(item):
                yield f.name, _named(f.name, item, index), item


def _named(kind: str, item: Any, index: int) -> str:
    if kind == "access":
        return f"access({item.principal}, {item.on})"
    if kind == "target":
        return f"system.target({item.component})"
    if kind == "assumptions":
        return f"assumptions({item.text})"
    return str(getattr(item, "id", "") or f"{kind}[{index}]")


def _elements(system: System) -> set[str]:
    return {name for _, name, _ in _lists(system)}


def _facts(system: System) -> Iterator[tuple[str, str]]:
    for kind, name, item in _lists(system):
        yield name, kind.rstrip("s") if kind != "access" else "access row"
        yield from _inside(item, name)
    for f in fields(system):
        value = getattr(system, f.name)
        if f.name in _OUTSIDE or (isinstance(value, tuple) and any(map(is_dataclass, value))):
            continue
        path = f"system.{f.name}" if f.name in HEAD else f.name
        yield from _inside(value, path) if is_dataclass(value) else _stated(path, value)


def _inside(record: Any, path: str) -> Iterator[tuple[str, str]]:
    for f in fields(record):
        value, where = getattr(record, f.name), f"{path}.{field_key(f)}"
        if f.name == "id":
            continue
        if is_dataclass(value) and not isinstance(value, type):
            yield from _inside(value, where)
        elif isinstance(value, tuple) and any(map(is_dataclass, value)):
            for index, item in enumerate(value):
                yield from _inside(item, f"{where}[{getattr(item, 'id', '') or index}]")
        else:
            yield from _stated(where, value)


def _stated(path: str, value: Any) -> Iterator[tuple[str, str]]:
    text = _words(value)
    if text:
        yield path, text


def _words(value: Any) -> str:
    """A value as one reads it; "" for what is not stated."""
    if value is None or value == () or value is Truth.UNKNOWN:
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_words(inner)}" for key, inner in sorted(value.items(), key=lambda kv: str(kv[0])))
    return str(getattr(value, "value", value))
