"""What imports say, made comparable: one element each, one `$model`, one path for each fact."""

from __future__ import annotations

import typing
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from casemate.core import entities
from casemate.core.errors import UnknownName
from casemate.core.fact import Truth
from casemate.core.shape import HEAD, choices, field_named, fits, hints
from casemate.core.system import System
from casemate.imports.found import Import
from casemate.imports.gather import MODEL
from casemate.threats.load import CONTROL

SECTIONS: Mapping[str, type] = {
    "zones": entities.Zone,
    "principals": entities.Principal,
    "assets": entities.Asset,
    "components": entities.Component,
    "flows": entities.Flow,
    "access": entities.Access,
    "controls": entities.DeclaredControl,
    "assumptions": entities.Assumption,
}
# The keys that name an element. They carry no source of their own.
IDENTITY = {"flows": ("from", "to"), "access": ("principal", "on"), "assumptions": ("text",)}
SERVES = ("server", "edge_runtime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One fact that one file states, with its path in the description.

    Args:
        value: Plain data, as in `Found`.
        file, because: The file, and where in it.
    """

    path: str
    value: Any
    file: str
    because: str

    def same(self, other: Any) -> bool:
        """Whether another plain value says the same; the order of a list says nothing."""
        return bool(comparable(self.value) == comparable(other))


@dataclass(frozen=True, slots=True)
class Proposed:
    """An element that an import proposes, and the file."""

    section: str
    identity: Mapping[str, str]
    stated: Mapping[str, Any]
    file: str

    @property
    def id(self) -> str:
        """The name under which facts speak of it; "" for what has none (access, assumptions)."""
        if self.section == "flows":
            return f"{self.identity['from']}->{self.identity['to']}"
        return self.identity.get("id", "")


def comparable(value: Any) -> Any:
    if isinstance(value, Truth):
        return value.value
    if isinstance(value, (list, tuple)):
        return frozenset(map(str, value))
    return value


def plain(value: Any) -> Any:
    """A value of a System as it stands in YAML."""
    if isinstance(value, Truth):
        return value.value
    return list(value) if isinstance(value, tuple) else value


# Elements ------------------------------------------------------------------------------------------------------------


def proposed(found: Import) -> Iterator[Proposed]:
    """The elements of an import that have all the keys that name them."""
    for section, rows in found.elements.items():
        keys = IDENTITY.get(section, ("id",))
        for row in rows if section in SECTIONS else ():
            identity = {key: str(row[key]) for key in keys if row.get(key)}
            if len(identity) == len(keys):
                yield Proposed(section, identity, {k: v for k, v in row.items() if k not in keys}, found.file)


def one_line(found: Import) -> Import:
    """The import with values that a description can hold: line ends and control characters in a name become blanks."""
    facts = tuple(replace(fact, value=_cleaned(fact.value)) for fact in found.facts)
    return replace(found, facts=facts, elements={section: _cleaned(rows) for section, rows in found.elements.items()})


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(" " if unicodedata.category(c) in CONTROL else c for c in value)
    if isinstance(value, Mapping):
        return {key: _cleaned(inner) for key, inner in value.items()}
    return type(value)(map(_cleaned, value)) if isinstance(value, (list, tuple)) else value


def without_clashes(imports: Sequence[Import], system: System | None) -> tuple[tuple[Import, ...], tuple[str, ...]]:
    """The imports with ids that name one thing each: a component `customer` beside a principal `customer` is renamed.

    Returns:
        The imports, and a note for each new name.
    """
    taken = {id: kind for kind in SECTIONS for id in _ids(system, kind)}
    taken["system"] = "the description"
    out, notes = [], []
    for found in imports:
        renamed: dict[str, str] = {}
        for element in proposed(found):
            id = element.identity.get("id", "")
            if not id:
                continue
            new, index = id, 1
            while taken.get(new, element.section) != element.section:
                index += 1
                new = f"{id}_{index}"
            taken[new] = element.section
            if new != id:
                renamed[id] = new
                notes.append(f"{found.file}: {id} is in {taken[id]} already, so this one is {new}")
        out.append(_renamed(found, renamed) if renamed else found)
    return tuple(out), tuple(notes)


def _ids(system: System | None, section: str) -> list[str]:
    return [e.id for e in getattr(system, section)] if system and section not in ("access", "assumptions") else []


def _renamed(found: Import, names: Mapping[str, str]) -> Import:
    def value(inner: Any) -> Any:
        if isinstance(inner, (list, tuple)):
            return [names.get(item, item) if isinstance(item, str) else item for item in inner]
        return names.get(inner, inner) if isinstance(inner, str) else inner

    def path(old: str) -> str:
        owner, dot, rest = old.partition(".")
        return "->".join(names.get(part, part) for part in owner.split("->")) + dot + rest

    references = ("id", "zone", "from", "to", "principal", "on", "holds", "data", "sources")
    elements = {
        section: tuple({key: value(inner) if key in references else inner for key, inner in row.items()} for row in rows)
        for section, rows in found.elements.items()
    }
    facts = tuple(
        replace(fact, path=path(fact.path), value=value(fact.value) if fact.path.endswith((".holds", ".zone")) else fact.value)
        for fact in found.facts
    )
    return replace(found, facts=facts, elements=elements)


# `$model` ------------------------------------------------------------------------------------------------------------


def model_component(imports: Sequence[Import], system: System | None, chosen: str | None) -> tuple[str, str]:
    """The component that `$model` is, and why there is none: exactly one of the two is empty.

    The one that was chosen, else the one that the description binds, else the only one that serves, in the description
    and then in what the imports propose. Where none serves anywhere it is a new one.
    """
    offered = {e.id for found in imports for e in proposed(found) if e.section == "components"}
    mine = [c.id for c in system.components] if system else []
    if chosen is not None:
        if chosen not in mine and chosen not in offered:
            raise UnknownName("component", chosen, [*mine, *offered])
        return chosen, ""
    told = [binding.component for binding in system.target] if system else []
    serving = [c.id for c in system.components if c.model is not None or c.kind in SERVES] if system else []
    proposing = sorted(offered & _serving(imports))
    for candidates in (told, serving, proposing):
        if len(candidates) == 1:
            return candidates[0], ""
        if candidates:
            return "", f"several components may serve the model ({', '.join(candidates)}); choose one with --component"
    return _free("api", {*mine, *offered, *(id for kind in SECTIONS for id in _ids(system, kind))}), ""


def _serving(imports: Sequence[Import]) -> set[str]:
    """The ids that imports call servers, or of whose model they know something."""
    ids = {e.id for found in imports for e in proposed(found) if e.stated.get("kind") in SERVES}
    for fact in (fact for found in imports for fact in found.facts):
        owner, _, rest = fact.path.partition(".")
        if rest.startswith("model.") or (rest == "kind" and fact.value in SERVES):
            ids.add(owner)
    return ids


def _free(wanted: str, taken: set[str]) -> str:
    names = (wanted, *(f"{wanted}-{n}" for n in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


# Facts ---------------------------------------------------------------------------------------------------------------


def claims(imports: Sequence[Import], model: str) -> Iterator[Claim]:
    """Every fact of every import, and what it says inside of the elements that it proposes."""
    for found in imports:
        for fact in found.facts:
            path = fact.path
            if path.startswith(f"{MODEL}."):
                if not model:
                    yield Claim(path=path, value=fact.value, file=found.file, because=fact.because)
                    continue
                path = model + path.removeprefix(MODEL)
            yield Claim(path=path, value=fact.value, file=found.file, because=fact.because)
        for element in proposed(found):
            if element.id:
                because = f"proposed with {element.section} {element.id}"
                for path, value in _leaves(element.stated, element.id):
                    yield Claim(path=path, value=value, file=found.file, because=because)


def _leaves(stated: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in stated.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.{key}")
        else:
            yield f"{path}.{key}", value


def field_hint(kind: type, keys: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """The type of a fact and the kinds of element that it names, if it names any.

    Raises:
        UnknownName: for a path that the language does not have.
    """
    at: type | None = kind
    hint: Any = None
    refs: tuple[str, ...] = ()
    for key in keys:
        if at is None:
            raise UnknownName("fact", ".".join(keys), [])
        if at is System and key not in HEAD:
            raise UnknownName("fact", key, HEAD)
        name, inner = field_named(at, key)
        hint, refs = hints(at)[name], at.__dataclass_fields__[name].metadata.get("refs", ())  # type: ignore[attr-defined]
        at = inner
    return hint, refs


def misfit(value: Any, hint: Any) -> bool:
    """Whether plain data is no value of a fact. A record is none: its parts are facts of their own."""
    if isinstance(value, (list, tuple)):
        return not fits(tuple(value), hint)
    if any(part is Truth for part in choices(hint)) and value in ("yes", "no"):
        return False
    return isinstance(value, Mapping) or not fits(value, hint)


def is_word(hint: Any) -> bool:
    """Whether a value of this type is a word of the language, which needs no quotes."""
    return any(part is Truth or typing.get_origin(part) is Literal for part in choices(hint))
