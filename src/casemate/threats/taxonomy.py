"""The taxonomies of others, as shipped, and the check that the catalogue cites them correctly.

An id alone is not enough: releases rename and reuse them. So every citation stores id, name and release, and all
three must agree with the shipped table.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from casemate.core.errors import Problem
from casemate.threats.nodes import Node, read
from casemate.threats.rules import CATALOGUE, Reference, Rule, catalogue, read_packs

FOLDER = Path(__file__).parent / "taxonomies"
FILES = {
    "atlas": "atlas-5.6.0.json",
    "nist": "nist-ai-100-2e2025.json",
    "owasp_ml": "owasp-ml-2023.json",
    "cwe": "cwe-4.17.json",
    "aiexchange": "aiexchange-2026.json",
}


@functools.cache
def entries(taxonomy: str) -> tuple[str, dict[str, str]]:
    """The release of a taxonomy and its names by id."""
    data = json.loads((FOLDER / FILES[taxonomy]).read_text(encoding="utf-8"))
    if taxonomy == "atlas":
        listed = [*data["techniques"], *data["tactics"], *data["mitigations"], *data["case_studies"]]
        return data["data_version"], {entry["id"]: entry["name"] for entry in listed}
    return data["release"], {entry["id"]: entry["name"] for entry in data["entries"]}


def full_name(reference: Reference) -> str:
    """The name to print: an ATLAS sub-technique is called after its parent too, as "Model" alone says nothing."""
    names = entries(reference.taxonomy)[1]
    parent = reference.id.rpartition(".")[0]
    if reference.taxonomy == "atlas" and parent in names:
        return f"{names[parent]}: {reference.name}"
    return reference.name


def cited(reference: Reference) -> str:
    """A citation in words: id, name, release, and whether it is only the nearest there is."""
    near = "; nearest, no technique fits exactly" if reference.nearest else ""
    return f"{reference.id} {full_name(reference)} ({reference.release}{near})"


Tables = Mapping[str, tuple[str, dict[str, str]]]
_Places = Mapping[tuple[str, ...], tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is wrong with citations, and what is right and will not stay so (`notices`)."""

    problems: tuple[Problem, ...]
    notices: tuple[Problem, ...]


def check_mappings(rules: Iterable[Rule] | None = None) -> tuple[Problem, ...]:
    """Every citation whose id, name or release is not the shipped one. Empty when all are right."""
    return tuple(p for rule in (catalogue() if rules is None else rules) for p in _wrong(rule, {}, {}))


def check(packs: Iterable[str | Path] = (), tables: Tables | None = None) -> Checked:
    """Every citation of the catalogue and of more rules, each problem at the line that cites.

    Args:
        packs: Files or folders with rules of one's own.
        tables: Taxonomies to check against in place of the shipped ones: release and names by id.

    Raises:
        BadRule: A rule cannot be read; carries every problem.
    """
    folders = [Path(pack) for pack in packs]
    rules = (*catalogue(), *read_packs(folders, taken=catalogue()))
    places = _places([CATALOGUE, *folders])
    problems = [p for rule in rules for p in _wrong(rule, tables or {}, places)]
    notices = [p for rule in rules for p in _later(rule, places)] if not tables else []
    return Checked(problems=tuple(problems), notices=tuple(notices))


def cites(rule: Rule) -> tuple[Reference, ...]:
    """Every citation of a rule, those of its advice included."""
    return (*rule.mappings, *(a.reference for a in rule.advice if a.reference))


def _wrong(rule: Rule, tables: Tables, places: _Places) -> Iterator[Problem]:
    for named in cites(rule):
        release, names = tables.get(named.taxonomy) or entries(named.taxonomy)
        where = _where(rule, named, places)
        if named.id not in names:
            yield Problem(*where, f"{named.id} is not in release {release}", _instead(named, names))
        elif names[named.id] != named.name:
            known = " (an earlier name of it)" if same_name(named.name, names[named.id]) else ""
            message = f"{named.id} is called {names[named.id]!r}, not {named.name!r}{known}"
            yield Problem(*where, message, f"write name: {json.dumps(names[named.id])}")
        if named.release != release:
            yield Problem(*where, f"{named.id} cites release {named.release!r}; shipped is {release!r}")


def _where(rule: Rule, named: Reference, places: _Places) -> tuple[str, int, str]:
    file, line = places.get((rule.id, named.id, named.name, named.release), rule.place)
    return file, line, f"{rule.id}.mappings.{named.taxonomy}"


def _instead(named: Reference, names: Mapping[str, str]) -> str:
    """What to cite in place of an id that the release does not have: its successor, or where its name is now."""
    if named.taxonomy == "atlas":
        after = outlook()["retired"].get(named.id)
        if after:
            return f"retired; its successor is {after}"
        if named.id in outlook()["added_relevant"]:
            before = [old for old, new in outlook()["retired"].items() if new == named.id]
            return f"it is of a later release; before that: {', '.join(before) or 'nothing'}"
    found = [id for id, name in names.items() if same_name(named.name, name)]
    return f"this name is at {', '.join(found)}" if found and named.name else ""


def _later(rule: Rule, places: _Places) -> Iterator[Problem]:
    """Citations that the shipped release bears out, and a later one is said to have retired or renamed."""
    for named in cites(rule):
        if named.taxonomy != "atlas":
            continue
        where = _where(rule, named, places)
        if named.id in outlook()["retired"]:
            yield Problem(*where, f"{named.id} is retired in a later release", f"successor {outlook()['retired'][named.id]}")
        elif named.id in outlook()["renamed"]:
            yield Problem(*where, f"{named.id} is called {outlook()['renamed'][named.id]!r} in a later release")


@functools.cache
def outlook() -> dict[str, dict[str, str]]:
    """What is known of a release after the shipped one: `retired` (id to successor), `renamed`, `added_relevant`."""
    data = json.loads((FOLDER / FILES["atlas"]).read_text(encoding="utf-8"))
    later: dict[str, dict[str, str]] = next((value for key, value in sorted(data.items()) if key.startswith("overlay_")), {})
    return {key: later.get(key, {}) for key in ("retired", "renamed", "added_relevant")}


@functools.cache
def _aliases() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((FOLDER / "aliases.json").read_text(encoding="utf-8"))
    return found


def same_name(one: str, other: str) -> bool:
    """Whether two names are of one thing: equal but for known earlier names and words ("ML" is "AI" now)."""
    return _settled(one) == _settled(other)


def _settled(name: str) -> str:
    for old, new in _aliases()["words"].items():
        name = re.sub(rf"\b{re.escape(old)}\b", new, name)
    return _aliases()["names"].get(name, name).casefold()


def _places(folders: Iterable[Path]) -> dict[tuple[str, ...], tuple[str, int]]:
    """Where each rule file cites what: the first line that does, by rule, id, name and release."""
    found: dict[tuple[str, ...], tuple[str, int]] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else [folder]:
            root = read(file, file.name if folder == CATALOGUE else str(file))
            rule = root.get("id")
            for held in _citations(root) if rule is not None else ():
                named = tuple(held[key].text for key in ("id", "name", "release"))
                found.setdefault((rule.text if rule else "", *named), (held["id"].file, held["id"].line))
    return found


def _citations(node: Node) -> Iterator[dict[str, Node]]:
    """Everything that has an id, a name and a release."""
    held = node.entries or {}
    if {"id", "name", "release"} <= set(held):
        yield held
    for inner in (*held.values(), *(node.items or ())):
        yield from _citations(inner)
