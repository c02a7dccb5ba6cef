"""The interview: what the rules ask, put to a person, and each answer written into the description at once.

    for ask in asks(system, rules): ...      # the most consequential first
    text = answered(text, system, ask, "yes")

The description is the whole state. It can be left at any time and taken up again; what was answered with "unknown"
stands in it as unknown, and is asked again only after everything that nobody has been asked.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from casemate.core.entities import AssetKind, Zone
from casemate.core.errors import UsageError
from casemate.core.fact import Truth
from casemate.core.shape import choices, hints
from casemate.core.system import System
from casemate.imports.claims import field_hint, is_word
from casemate.imports.splice import Change, Leaf, Splicer, Tree
from casemate.threats.derive import derive
from casemate.threats.rules import Rule

_ROW = re.compile(r"access\(([^,]+), (.+)\): (\w+)\Z")
_ASSET = re.compile(r"assets\((\w+)\): (\w+)\Z")
_LIMIT = re.compile(r"(\d+)\s*(?:/|a|an|per)\s*(second|minute|hour|day)(?:\s+(?:for|per|by)\s+(?:an?\s+)?(account|ip|global))?\Z")
_WORTH = ("C", "I", "A", "P")
_TRUST = typing.cast(tuple[str, ...], next(typing.get_args(p) for p in choices(hints(Zone)["trust"])))
YES_NO = ("yes", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question of the rules.

    Args:
        path: The fact, as in `casemate.threats.derive.Question.path`.
        allowed: The answers, where they are few; `form` says in words what is wanted otherwise.
        asked: Whether the description says already that it is not known.
        why: Why it is asked, where no threat is named by it.
    """

    path: str
    text: str
    threats: tuple[str, ...]
    impact: int
    allowed: tuple[str, ...] = ()
    form: str = ""
    asked: bool = False
    why: str = ""


def asks(system: System, rules: Iterable[Rule] | None = None) -> tuple[Ask, ...]:
    """What the rules still have to know, the most consequential first; what was asked before comes last."""
    found = [_ask(system, q) for q in derive(system, rules).questions]
    return tuple(sorted(found, key=lambda ask: ask.asked))


def answered(text: str, system: System, ask: Ask, answer: str) -> str:
    """The description with the answer in it; every other byte stays. `unknown` is an answer too.

    Raises:
        UsageError: The answer is none that the fact can have; says which are.
    """
    return spliced(text, ask.path, _changes(system, ask, answer.strip()))


def spliced(text: str, path: str, changes: Sequence[Change]) -> str:
    """The text with an answer's changes in it; `UsageError` where a part that several places share would change."""
    splicer = Splicer(text)
    for change in changes:
        obstacle = splicer.obstacle(change.section, change.identity, _first_keys(change.tree))
        if obstacle:
            raise UsageError(f"{path} cannot be written: {obstacle}; write it by hand")
    return splicer.apply(changes)


def free_id(wanted: str, system: System, besides: Collection[str] = ()) -> str:
    """An id that names nothing yet: the wanted one, or with -2, -3 behind it."""
    sections = ("zones", "principals", "assets", "components", "flows", "controls")
    taken = {"system", *besides, *(element.id for section in sections for element in getattr(system, section))}
    names = (wanted, *(f"{wanted}-{index}" for index in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


# Questions -----------------------------------------------------------------------------------------------------------


def _ask(system: System, question: Any) -> Ask:
    allowed, form = _wanted(system, question.path)
    said = _said_unknown(system, question.path)
    return Ask(
        path=question.path, text=question.text, threats=question.threats, impact=question.impact, allowed=allowed, form=form,
        asked=said,
    )  # fmt: skip


def _said_unknown(system: System, path: str) -> bool:
    """Whether the file itself says that this is not known."""
    return not _ROW.match(path) and path in system.places


def _wanted(system: System, path: str) -> tuple[tuple[str, ...], str]:
    asset = _ASSET.match(path)
    if _ROW.match(path) or path.endswith(".crosses"):
        return YES_NO, ""
    if asset:
        return (("0", "1", "2", "3", "4"), "") if asset[2] in _WORTH else (YES_NO, "")
    if path.endswith(".zone"):
        known = tuple(zone.id for zone in system.zones)
        return tuple(dict.fromkeys((*known, *_TRUST))), ""
    if path.endswith(".endpoint.rate_limit"):
        return (), "none, or like `500 a day`, `10 a second per ip`"
    hint, refs = _hint(system, path)
    if refs:
        known = tuple(e.id for kind in refs for e in getattr(system, kind))
        return (), f"one or more of {', '.join(known)}, or none" if known else "there is none in the description yet"
    words = _words(hint)
    if path.endswith(".provenance.parent.public"):
        words = (*words, "none")
    return words, "" if words else _form(hint)


def _hint(system: System, path: str) -> tuple[Any, tuple[str, ...]]:
    first, *keys = path.split(".")
    return field_hint(System if first == "system" else type(system.element(first)), keys)


def _words(hint: Any) -> tuple[str, ...]:
    found: list[str] = []
    for part in choices(hint):
        if part is Truth:
            found += YES_NO
        elif typing.get_origin(part) is Literal:
            found += [str(arg) for arg in typing.get_args(part)]
    return tuple(found)


def _form(hint: Any) -> str:
    parts = choices(hint)
    if any(typing.get_origin(part) is tuple for part in parts):
        return "words, separated by commas, or none"
    return "a number" if int in parts or float in parts else "a few words"


# Answers -------------------------------------------------------------------------------------------------------------


def _changes(system: System, ask: Ask, answer: str) -> list[Change]:
    first, _, rest = ask.path.partition(".")
    return _zone(system, first, answer) if rest == "zone" else [_change(system, ask, answer)]


def _change(system: System, ask: Ask, answer: str) -> Change:
    if ask.allowed and answer != "unknown" and answer not in ask.allowed:
        raise UsageError(f"{answer!r} is no answer to that; allowed: {', '.join(ask.allowed)}, unknown")
    row, asset = _ROW.match(ask.path), _ASSET.match(ask.path)
    if row:
        return _access(system, row[1], row[2], row[3], answer)
    if asset:
        return _asset(system, asset[1], asset[2], answer)
    first, *keys = ask.path.split(".")
    if ask.path.endswith(".provenance.parent.public") and answer == "none":
        return _placed(system, first, ["provenance", "parent"], Leaf("none", word=True))
    if keys[-1] == "rate_limit":
        return _placed(system, first, keys, _limit(answer))
    return _placed(system, first, keys, _leaf(system, ask, answer))


def _leaf(system: System, ask: Ask, answer: str) -> Leaf:
    hint, _ = _hint(system, ask.path)
    listed = any(typing.get_origin(part) is tuple for part in choices(hint))
    if answer == "unknown":
        return Leaf(None) if listed else Leaf("unknown", word=True)
    if listed:
        words = [] if answer == "none" else [word.strip() for word in answer.split(",") if word.strip()]
        return Leaf(words)
    if is_word(hint):
        return Leaf(int(answer) if answer.isdigit() else answer, word=True)
    if int in choices(hint) or float in choices(hint):
        try:
            return Leaf(int(answer) if answer.isdigit() else float(answer))
        except ValueError:
            raise UsageError(f"{answer!r} is no number; give one, or unknown") from None
    return Leaf(answer)


def _limit(answer: str) -> Tree | Leaf:
    if answer in ("none", "unknown"):
        return Leaf(answer, word=True)
    found = _LIMIT.match(answer.lower())
    if not found:
        raise UsageError(f"{answer!r} is no limit; say none, unknown, or like `500 a day` or `10 a second per ip`")
    return {"per": Leaf(found[2], word=True), "n": Leaf(int(found[1])), "key": Leaf(found[3] or "account", word=True)}


def _placed(system: System, id: str, keys: list[str], value: Tree | Leaf) -> Change:
    """A value below an element. Records on the way are made; a word that stands for a missing record gives way to it."""
    tree: Tree = {keys[-1]: value}
    for key in reversed(keys[:-1]):
        tree = {key: tree}
    if id == "system":
        return Change(section="system", identity={}, tree=tree)
    section, identity = _home(system, id)
    return Change(section=section, identity=identity, tree=tree)


def _home(system: System, id: str) -> tuple[str, dict[str, str]]:
    """The section of an element, and how the file names it: a flow without an id of its own by its ends."""
    for section in ("zones", "principals", "assets", "components", "flows", "controls"):
        for element in getattr(system, section):
            if element.id == id:
                ends = section == "flows" and id == f"{element.from_}->{element.to}"
                return section, {"from": element.from_, "to": element.to} if ends else {"id": id}
    raise UsageError(f"there is nothing called {id!r} in the description")


def _access(system: System, who: str, on: str, capability: str, answer: str) -> Change:
    row = next((r for r in system.access if (r.principal, r.on) == (who, on)), None)
    can: list[str] = list(row.can if row else ())
    unsure: list[str] = list(row.unsure if row else ())
    unsure = [c for c in unsure if c != capability]
    (can if answer == "yes" else unsure if answer == "unknown" else []).append(capability)
    tree: Tree = {"can": Leaf(can, word=True)}
    if unsure or (row and row.unsure):
        tree["unsure"] = Leaf(unsure, word=True)
    return Change(section="access", identity={"principal": who, "on": on}, tree=tree)


def _asset(system: System, kind: str, key: str, answer: str) -> Change:
    """No asset of this kind is stated: the answer makes one, at stake wherever the rules ask."""
    if kind not in typing.get_args(AssetKind):
        raise UsageError(f"there is no kind of asset {kind!r}")
    # Not known: said in so many words, so that the fact has a place in the file and is not asked at once again.
    said = "unknown" if answer == "unknown" else int(answer) if key in _WORTH else answer
    value: Tree = {"value": {key: Leaf(said, word=True)}} if key in _WORTH else {key: Leaf(said, word=True)}
    name = free_id(kind.replace("_", "-"), system)
    return Change(section="assets", identity={"id": name}, tree={"kind": Leaf(kind, word=True), **value})


def _zone(system: System, id: str, answer: str) -> list[Change]:
    """An existing zone by its id, or by its trust where one is of that trust; else a new zone of that trust."""
    if answer == "unknown":
        return [_placed(system, id, ["zone"], Leaf(None))]
    known = [zone.id for zone in system.zones]
    if answer not in (*known, *_TRUST):
        raise UsageError(f"{answer!r} is no answer to that; allowed: {', '.join(dict.fromkeys((*known, *_TRUST)))}, unknown")
    zone = answer if answer in known else next((z.id for z in system.zones if z.trust == answer), "")
    if zone:
        return [_placed(system, id, ["zone"], Leaf(zone))]
    zone = free_id(answer.replace("_", "-"), system)
    new = Change(section="zones", identity={"id": zone}, tree={"trust": Leaf(answer, word=True)})
    return [new, _placed(system, id, ["zone"], Leaf(zone))]


def _first_keys(tree: Tree) -> list[str]:
    keys, at = [], tree
    while len(at) == 1:
        key, inner = next(iter(at.items()))
        keys.append(key)
        if not isinstance(inner, dict):
            break
        at = inner
    return keys


