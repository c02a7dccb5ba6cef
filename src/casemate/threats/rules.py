"""The catalogue: one file per threat, and the packs of others. Anything wrong with a rule file is fatal when it is read."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from casemate.core.errors import BadSystem, Problem
from casemate.core.system import System
from casemate.threats.expressions import BadRule
from casemate.threats.nodes import read, told
from casemate.threats.rule import (
    CATALOGUE,
    Advice,
    Gives,
    Harm,
    Outcome,
    Prior,
    Reference,
    Rule,
    Ruling,
    common_questions,
    instances,
    places_of,
)
from casemate.threats.rule_reader import EFFECTS, TAXONOMIES, read_rule

__all__ = [
    "CATALOGUE",
    "EFFECTS",
    "TAXONOMIES",
    "Advice",
    "Gives",
    "Harm",
    "Outcome",
    "Prior",
    "Reference",
    "Rule",
    "Ruling",
    "catalogue",
    "common_questions",
    "instances",
    "places_of",
    "read_packs",
    "read_rules",
    "rules_for",
]

GROUP = "casemate.threats"  # entry points: each names a folder of rules, or a function that returns one


@functools.cache
def catalogue() -> tuple[Rule, ...]:
    """The shipped rules and those of installed packs, by id. Read once per process."""
    files = _files(CATALOGUE)
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda e: e.name):
        files += _files(_pack(entry))
    return read_rules(files)


def _pack(entry: metadata.EntryPoint) -> Path:
    """The folder that an installed pack names. Its code is not ours: whatever it does, even to leave, is a problem."""
    try:
        found = entry.load()
        folder = Path(found() if callable(found) else found)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        why = f"the rule pack {entry.name!r} cannot be opened: {type(error).__name__}: {told(str(error))}"
        raise BadRule([Problem(entry.value, 0, entry.name, why, "mend or uninstall the package it comes with")]) from error
    if not folder.is_dir():
        raise BadRule([Problem(str(folder), 0, entry.name, f"the rule pack {entry.name!r} names no folder")])
    return folder


def rules_for(system: System, more: Iterable[str | Path] = ()) -> tuple[Rule, ...]:
    """The catalogue with the rules that the description names, and more files or folders.

    Raises:
        BadRule: with every problem of every file, a missing one included.
    """
    paths = [Path(system.folder, path) for path in system.rules] + [Path(path) for path in more]
    return catalogue() + read_packs(paths, taken=catalogue()) if paths else catalogue()


def read_packs(paths: Iterable[Path], taken: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Rules from files and folders; `taken` are the rules that are there already, whose ids are not free."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise BadRule([Problem(str(path), 0, "rules", "there is no such file or folder")])
        files += _files(path) if path.is_dir() else [path]
    once = {file.resolve(): file for file in reversed(files)}  # a pack that is named twice is read once
    return read_rules(sorted(once.values()), taken)


def _files(folder: Path) -> list[Path]:
    """The rule files of a folder. One that holds none was meant to hold some."""
    found = sorted(file for file in folder.iterdir() if file.suffix in (".yaml", ".yml") and file.stem != "questions")
    if not found:
        raise BadRule([Problem(str(folder), 0, "rules", "holds no rules", "a rule is a .yaml file, directly in the folder")])
    return found


def read_rules(files: Iterable[Path], taken: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Rules from files.

    Raises:
        BadRule: with every problem of every file. No rule is ever skipped.
    """
    rules: dict[str, Rule] = {}
    known = {rule.id: rule for rule in taken}
    problems: list[Problem] = []
    for file in files:
        try:
            rule = read_rule(read(file, file.name if file.parent == CATALOGUE else str(file)))
        except BadSystem as error:
            problems += error.problems
            continue
        if rule.id in rules or rule.id in known:
            other = rules.get(rule.id) or known[rule.id]
            where = other.place[0] if rule.id in rules or "/" in other.place[0] else f"the shipped {other.place[0]}"
            problems.append(Problem(*rule.place, rule.id, f"is also defined in {where}", "choose another id"))
        rules[rule.id] = rule
    for rule in rules.values():
        for id in rule.dominated_by:
            if id not in rules and id not in known:
                problems.append(Problem(*rule.place, "dominated_by", f"there is no rule {id}"))
        if rule.id in _over(rule, {**known, **rules}):
            problems.append(Problem(*rule.place, "dominated_by", f"{rule.id} would be hidden by itself, by way of others"))
    if problems:
        raise BadRule(problems)
    return tuple(rules[id] for id in sorted(rules))


def _over(rule: Rule, rules: Mapping[str, Rule]) -> set[str]:
    """The rules that can hide this one, directly or by way of others."""
    found: set[str] = set()
    queue = list(rule.dominated_by)
    while queue:
        id = queue.pop()
        if id not in found:
            found.add(id)
            queue += rules[id].dominated_by if id in rules else ()
    return found
