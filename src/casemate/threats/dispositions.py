"""What was decided about threats, read from a file of its own beside the description.

    casemate: 1
    dispositions:
      - threat: EV-02@api#customer
        decision: accept
        reason: losses are insured up to 50,000
        owner: risk@example.org
        made: 2026-03-01
        expires: 2026-08-01
        conditions: {queries_floor: 500}

A decision is no part of the model: it hides nothing and changes no status. It names a threat, or several with `*` (any
text) and `?` (one character); it ends, and it can state under which measurement it no longer stands.
`python -m casemate.threats.dispositions` writes the shipped JSON Schema.
"""

from __future__ import annotations

import datetime
import difflib
import json
import typing
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from casemate.core.disposition import Decided, Disposition
from casemate.core.errors import BadSystem, Problem
from casemate.threats.forms import Form
from casemate.threats.nodes import Node, compose, read

VERSION = 1
MAX_DAYS = 180
NAME = "dispositions.yaml"
SHIPPED = Path(__file__).parent / "dispositions.schema.json"
DECISIONS = typing.get_args(Decided)
_CONDITIONS = ("cost_floor", "queries_floor", "rate_ceiling")
_KEYS = tuple(f.name for f in fields(Disposition) if f.name not in ("place", *_CONDITIONS)) + ("conditions",)
_MUST = ("threat", "decision", "reason", "owner", "expires")
_TOP = ("casemate", "max_days", "dispositions")
_LONGEST = 3650


def beside(description: str | Path) -> Path | None:
    """The dispositions file in the folder of a description, if there is one."""
    path = Path(description)
    found = (path if path.is_dir() else path.parent) / NAME
    return found if found.is_file() else None


def read_dispositions(path: str | Path, today: datetime.date) -> tuple[Disposition, ...]:
    """The entries of a file, in its order.

    Args:
        today: The day it is read on: entries without `made` may run for `max_days` from here, and nothing was decided later.

    Raises:
        BadSystem: with every problem of the file, each with its line.
    """
    return _read(read(Path(path), str(path)), today)


def dispositions_of(text: str | bytes, today: datetime.date, *, name: str = "<text>") -> tuple[Disposition, ...]:
    """`read_dispositions`, for text that is already in memory."""
    return _read(compose(text.encode() if isinstance(text, str) else text, name), today)


def _read(root: Node, today: datetime.date) -> tuple[Disposition, ...]:
    form = Form()
    top = form.entries(root, "", _TOP, must=("casemate", "dispositions"))
    form.version(top, VERSION)
    longest = form.number(top, "max_days", "file", 1, _LONGEST)
    days = MAX_DAYS if longest is None else int(longest)
    listed = top.get("dispositions")
    if listed is not None and listed.items is None and (not listed.scalar or listed.word is not None):
        form.wrong(listed, "dispositions", f"expected a list; got {listed.said}")
    found = [_entry(form, node, index, days, today) for index, node in enumerate((listed.items or ()) if listed else ())]
    kept = [one for one in found if one is not None]
    first: dict[str, Disposition] = {}
    for one in kept:
        if one.threat in first:
            message = f"is decided twice; first on line {first[one.threat].place[1]}"
            form.problems.append(Problem(*one.place, one.threat, message, "keep one entry"))
        first.setdefault(one.threat, one)
    form.done()
    return tuple(kept)


def _entry(form: Form, node: Node, index: int, days: int, today: datetime.date) -> Disposition | None:
    named = node.get("threat")
    path = named.text if named is not None and named.scalar and named.text else f"dispositions[{index}]"
    before = len(form.problems)
    entries = form.entries(node, path, _KEYS, must=_MUST)
    texts: dict[str, Any] = {key: form.text(entries, key, path) for key in ("threat", "reason", "owner", "approved_by", "ticket")}
    decision = form.choice(entries, "decision", path, DECISIONS)
    made, expires = (form.day(entries, key, path) for key in ("made", "expires"))
    if expires is not None:
        _limits(form, entries["expires"], path, made, expires, days, today)
    if any(character.isspace() for character in texts["threat"]):
        form.wrong(entries["threat"], f"{path}.threat", "a threat id has no spaces", "write it as EV-02@api#customer")
    at = _conditions(form, entries.get("conditions"), path)
    if len(form.problems) > before or expires is None:
        return None
    return Disposition(
        **texts, decision=typing.cast(Decided, decision), made=made, expires=expires, **at, place=(node.file, node.line)
    )


def _limits(
    form: Form, node: Node, path: str, made: datetime.date | None, expires: datetime.date, days: int, today: datetime.date
) -> None:
    if made is not None and made > today:
        form.wrong(node, f"{path}.made", f"{made} has not come yet (today is {today})")
    if made is not None and expires < made:
        form.wrong(node, f"{path}.expires", f"{expires} is before it was made ({made})")
    start, word = (made, "made") if made is not None else (today, "today")
    if (expires - start).days > days:
        # A date near the end of the calendar has no day so many days later.
        last = start + datetime.timedelta(days) if (datetime.date.max - start).days > days else datetime.date.max
        message = f"{expires} is more than {days} days after {word} ({start})"
        form.wrong(node, f"{path}.expires", message, f"at the latest {last}; max_days changes it for the whole file")


def _conditions(form: Form, node: Node | None, path: str) -> dict[str, Any]:
    if node is None:
        return {}
    path = f"{path}.conditions"
    entries = form.entries(node, path, _CONDITIONS)
    return {key: form.number(entries, key, path, 0, 1 if key == "rate_ceiling" else float("inf")) for key in _CONDITIONS}


# Which entry is for which threat ------------------------------------------------------------------------------------------


def fits(pattern: str, id: str, *, inside: bool = False) -> bool:
    """Whether a pattern matches a whole id: `*` is any text, `?` one character, all else itself.

    Args:
        inside: `id` is a pattern too, and the question is whether everything it matches is matched by `pattern`.
    """
    at = mark = held = 0
    star = -1
    while at < len(id):
        here = pattern[mark] if mark < len(pattern) else ""
        if here == "*":
            star, held, mark = mark, at, mark + 1
        elif here and here in (id[at], "?") and not (inside and id[at] == "*"):
            at, mark = at + 1, mark + 1
        elif star >= 0:  # let the last star take one more character
            held += 1
            at, mark = held, star + 1
        else:
            return False
    return not pattern[mark:].strip("*")


def is_pattern(threat: str) -> bool:
    """Whether it stands for several threats."""
    return "*" in threat or "?" in threat


def chosen(dispositions: Iterable[Disposition], ids: Iterable[str]) -> dict[str, Disposition]:
    """The disposition of each threat id that has one: its own, else the pattern that lies inside all others that fit.

    Raises:
        BadSystem: Two patterns fit a threat and neither lies inside the other; one problem for each such pair.
    """
    exact = {one.threat: one for one in dispositions if not is_pattern(one.threat)}
    patterns = [one for one in dispositions if is_pattern(one.threat)]
    found: dict[str, Disposition] = {}
    clashes: dict[tuple[str, str], Problem] = {}
    for id in ids:
        if id in exact:
            found[id] = exact[id]
            continue
        fitting = [one for one in patterns if fits(one.threat, id)]
        inner = [one for one in fitting if all(fits(other.threat, one.threat, inside=True) for other in fitting)]
        if inner:
            found[id] = inner[0]
        elif fitting:
            a, b = _clash(fitting)
            where = f"{b.place[0]}:{b.place[1]}"
            message = f"fits {id}, and so does {b.threat} ({where}); neither is the more specific one"
            clashes.setdefault((a.threat, b.threat), Problem(*a.place, a.threat, message, f"add an entry for {id} itself"))
    if clashes:
        raise BadSystem(clashes.values())
    return found


def _clash(fitting: list[Disposition]) -> tuple[Disposition, Disposition]:
    """The first two of which neither lies inside the other; there are some, or one would lie inside all."""
    return next(
        (a, b)
        for index, a in enumerate(fitting)
        for b in fitting[index + 1 :]
        if not fits(a.threat, b.threat, inside=True) and not fits(b.threat, a.threat, inside=True)
    )


def orphans(dispositions: Iterable[Disposition], ids: Iterable[str]) -> dict[Disposition, tuple[str, ...]]:
    """The dispositions that fit none of the ids, each with the ids nearest to it."""
    ids = tuple(ids)
    held = set(ids)
    lost: dict[Disposition, tuple[str, ...]] = {}
    for one in dispositions:
        pattern = is_pattern(one.threat)
        if (one.threat not in held) if not pattern else not any(fits(one.threat, id) for id in ids):
            lost[one] = tuple(difflib.get_close_matches(one.threat, ids, n=3, cutoff=0.5))
    return lost


# The JSON Schema ---------------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The schema of a file, from the same record that it is read into."""
    text = {"type": "string", "minLength": 1, "maxLength": 2000}
    day = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$", "format": "date"}
    floor = {"type": "number", "minimum": 0}
    conditions = {"cost_floor": floor, "queries_floor": floor, "rate_ceiling": {**floor, "maximum": 1}}
    special: dict[str, Any] = {
        "decision": {"enum": list(DECISIONS)}, "made": day, "expires": day,
        "conditions": {"type": "object", "additionalProperties": False, "properties": conditions},
        "threat": {**text, "pattern": r"^\S+$"},
    }  # fmt: skip
    entry = {
        "type": "object", "additionalProperties": False, "required": list(_MUST),
        "properties": {key: special.get(key, text) for key in _KEYS},
    }  # fmt: skip
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "casemate dispositions",
        "type": "object",
        "additionalProperties": False,
        "required": ["casemate", "dispositions"],
        "properties": {
            "casemate": {"const": VERSION, "description": "version of this language"},
            "max_days": {"type": "number", "minimum": 1, "maximum": _LONGEST, "description": f"left out: {MAX_DAYS}"},
            "dispositions": {"anyOf": [{"type": "array", "items": entry}, {"type": "null"}]},
        },
    }


def schema_text() -> str:
    """The shipped file, byte for byte."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    SHIPPED.write_text(schema_text(), encoding="utf-8")
