"""The fixtures of a rule: at least one system on which it fires, one on which it is silent, one on which it asks.

    fixtures:
      fires: {expect: ACME-01@api#eve, given: {access: [{principal: eve, on: api, can: [query]}]}}
      silent: {given: {}}
      asks: {expect: api.endpoint.auth, given: {components: [{id: api, endpoint: {auth: unknown}}]}}

`given` is laid over the shop of `catalogue/fixtures/shop.yaml`, as an overlay is over what it extends; with `system:`
it stands for itself. More cases of a kind have longer names: `fires_when_public`. They stand in the rule's file, or in
`fixtures/<id>.yaml` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casemate.core.errors import BadSystem, CasemateError, Problem
from casemate.core.system import System
from casemate.threats.derive import Derivation, derive
from casemate.threats.load import loads
from casemate.threats.nodes import Node, read
from casemate.threats.rules import CATALOGUE, Rule

KINDS = ("fires", "silent", "asks")
_BASE = CATALOGUE / "fixtures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fixture. `problem` says why it cannot be read."""

    rule: str
    name: str
    kind: str
    expect: str
    system: System | None
    problem: str = ""
    place: tuple[str, int] = ("", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a fixture; `problem` is empty where it did as it should."""

    case: Case
    problem: str


def cases(rule: Rule, folder: Path) -> tuple[Case, ...]:
    """The fixtures of a rule whose file lies in `folder`; a kind that has none is a case with a problem."""
    node = rule.fixtures
    beside = folder / "fixtures" / f"{rule.id}.yaml"
    if node is None and beside.is_file():
        node = read(beside, f"fixtures/{beside.name}")
    found = [_case(rule, name, inner) for name, inner in ((node.entries or {}) if node else {}).items()]
    for kind in KINDS:
        if not any(case.kind == kind for case in found):
            missing = f"has no fixture in which it {'is silent' if kind == 'silent' else kind}"
            found.append(Case(rule=rule.id, name=kind, kind=kind, expect="", system=None, problem=missing, place=rule.place))
    return tuple(found)


def _case(rule: Rule, name: str, node: Node) -> Case:
    kind = name.partition("_")[0]
    expect, given = node.get("expect"), node.get("given")
    base = Case(
        rule=rule.id, name=name, kind=kind, expect=expect.text if expect else "", system=None, place=(node.file, node.line)
    )
    if kind not in KINDS:
        return _failed(base, f"the name of a fixture starts with {', '.join(KINDS)}; got {name!r}")
    if given is None:
        return _failed(base, "has no 'given'")
    plain: Any = given.plain() or {}
    try:
        whole = "system" in plain and "casemate" in plain
        text = json.dumps(plain if whole else {"extends": "shop.yaml", **plain})
        return Case(**{**_fields(base), "system": loads(text, name=f"{rule.id}.{name}", folder=str(_BASE))})
    except BadSystem as error:
        return _failed(base, str(error))


def _fields(case: Case) -> dict[str, Any]:
    return {name: getattr(case, name) for name in Case.__slots__}


def _failed(case: Case, problem: str) -> Case:
    return Case(**{**_fields(case), "problem": problem})


def run(rule: Rule, found: tuple[Case, ...]) -> Iterator[Outcome]:
    """Each fixture derived with this rule alone, and what was wrong with it."""
    for case in found:
        yield Outcome(case=case, problem=case.problem or _verdict(rule, case))


def _verdict(rule: Rule, case: Case) -> str:
    assert case.system is not None
    try:
        derived = derive(case.system, [rule])
    except CasemateError as error:
        return str(error)
    threats, paths = [t.id for t in derived.threats], [q.path for q in derived.questions]
    because = "" if threats or paths else _silence(derived, case)
    if case.kind == "fires":
        wanted = [case.expect] if case.expect else threats
        return "" if threats and threats == wanted and not paths else _said(case, threats, paths, because)
    if case.kind == "asks":
        wanted = [case.expect] if case.expect else paths
        return "" if paths and paths == wanted and not threats else _said(case, threats, paths, because)
    return "" if not threats and not paths else _said(case, threats, paths, because)


def _silence(derived: Derivation, case: Case) -> str:
    """Why nothing came of it, in the words of --why-not."""
    id = case.expect if case.kind == "fires" and case.expect else next((s.id for s in derived.silent), "")
    reason = derived.why_not(id) if id else "no component is of the kind that the rule is asked of"
    return f" ({id}: {reason})" if id and reason else f" ({reason})" if reason else ""


def _said(case: Case, threats: list[str], paths: list[str], because: str) -> str:
    wanted = {"fires": f"to fire as {case.expect}", "silent": "silence", "asks": f"to ask for {case.expect}"}[case.kind]
    got = "; ".join([*(f"fires {t}" for t in threats), *(f"asks for {p}" for p in paths)]) or f"silence{because}"
    return f"expected {wanted}; got {got}"


def problems(outcomes: Iterator[Outcome]) -> tuple[Problem, ...]:
    """The failures, located."""
    return tuple(Problem(*o.case.place, f"{o.case.rule}.{o.case.name}", o.problem) for o in outcomes if o.problem)
