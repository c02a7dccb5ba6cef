"""What one release of ATLAS has differently from another, and which rules that touches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from casemate.core.errors import BadSystem, Problem
from casemate.threats.rules import Rule
from casemate.threats.taxonomy import FILES, FOLDER, cites, outlook, same_name

Kind = Literal["added", "removed", "renamed", "moved"]
KINDS: tuple[Kind, ...] = ("added", "removed", "renamed", "moved")
_LISTS = ("tactics", "techniques", "mitigations", "case_studies")
_MOST_BYTES = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One object that is not as it was. `moved`: a technique under other tactics. `note`: a successor, a known rename."""

    kind: Kind
    id: str
    before: str
    after: str
    note: str = ""

    def __str__(self) -> str:
        body = f"{self.before} -> {self.after}" if self.before and self.after else self.before or self.after
        return f"{self.id} {body}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """One citation of a rule that the new release does not bear out, or whose tactics it changed.

    Args:
        why: What is different.
        do: What to cite instead; "" where the citation stays right.
    """

    rule: str
    id: str
    why: str
    do: str
    place: tuple[str, int]


def shipped() -> dict[str, Any]:
    """The table of the release that the catalogue cites."""
    found: dict[str, Any] = json.loads((FOLDER / FILES["atlas"]).read_text(encoding="utf-8"))
    return found


def read_table(path: str | Path) -> dict[str, Any]:
    """A table that `casemate taxonomy import` wrote.

    Raises:
        BadSystem: It cannot be read, or has another shape.
    """
    shown = str(path)
    try:
        with Path(path).open("rb") as file:
            data = json.loads(file.read(_MOST_BYTES + 1))
    except OSError as error:
        raise BadSystem([Problem(shown, 0, "file", f"cannot be read: {error.strerror}")]) from None
    except (ValueError, RecursionError):
        raise BadSystem([Problem(shown, 0, "file", "is no JSON", "casemate taxonomy import writes such a table")]) from None
    right = isinstance(data, dict) and isinstance(data.get("data_version"), str)
    if not right or not all(_is_list(data.get(key)) for key in _LISTS):
        raise BadSystem([Problem(shown, 0, "file", "is no table of ATLAS", "casemate taxonomy import writes one")])
    found: dict[str, Any] = data
    return found


def _is_list(held: Any) -> bool:
    return isinstance(held, list) and all(
        isinstance(one, dict) and isinstance(one.get("id"), str) and isinstance(one.get("name"), str) for one in held
    )


def names(table: Mapping[str, Any]) -> dict[str, str]:
    """Names by id, of everything in a table."""
    return {one["id"]: one["name"] for key in _LISTS for one in table[key]}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Added, removed, renamed, and techniques under other tactics; by kind and id."""
    old, new = names(before), names(after)
    found = [Difference(kind="added", id=id, before="", after=new[id]) for id in new if id not in old]
    for id, name in old.items():
        if id not in new:
            found.append(Difference(kind="removed", id=id, before=name, after="", note=_successor(id, name, new)))
        elif name != new[id]:
            known = "a known rename" if same_name(name, new[id]) or outlook()["renamed"].get(id) == new[id] else ""
            found.append(Difference(kind="renamed", id=id, before=name, after=new[id], note=known))
    under = [{t["id"]: t.get("tactics") or [] for t in table["techniques"]} for table in (before, after)]
    for id in under[0].keys() & under[1].keys():
        was, now = set(under[0][id]), set(under[1][id])
        if was != now:
            words = [", ".join(sorted(part)) or "none" for part in (was, now)]
            found.append(Difference(kind="moved", id=id, before=words[0], after=words[1], note=new[id]))
    return tuple(sorted(found, key=lambda d: (KINDS.index(d.kind), d.id)))


def _successor(id: str, name: str, new: Mapping[str, str]) -> str:
    known = outlook()["retired"].get(id)
    if known:
        return f"successor {known}" + ("" if known in new else ", which is not there either")
    same = [other for other, called in new.items() if same_name(name, called)]
    return f"this name is at {', '.join(same)} now" if same else ""


def touched(rules: Iterable[Rule], before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Touched, ...]:
    """Every citation of ATLAS that is different in the new release, by id and by name."""
    new = names(after)
    moved = {d.id: d for d in differences(before, after) if d.kind == "moved"}
    found = []
    for rule in rules:
        for named in cites(rule):
            if named.taxonomy != "atlas":
                continue
            if named.id not in new:
                note = _successor(named.id, named.name, new)
                why, do = f"{named.id} {named.name} is not in it", note or "choose another technique"
            elif new[named.id] != named.name:
                known = same_name(named.name, new[named.id]) or outlook()["renamed"].get(named.id) == new[named.id]
                same = "the same under a known new name" if known else "look whether it still means the same"
                why = f"{named.id} is called {new[named.id]!r} there, not {named.name!r}"
                do = f"write name: {json.dumps(new[named.id])}; {same}"
            elif named.id in moved:
                why, do = f"{named.id} has other tactics: {moved[named.id].before} -> {moved[named.id].after}", ""
            else:
                continue
            found.append(Touched(rule=rule.id, id=named.id, why=why, do=do, place=rule.place))
    return tuple(found)
