"""Beside the numbers: who attacks, on which facts, and what others call the threat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from ..core.fact import Truth
from ..core.finding import Finding
from ..core.shape import field_key
from ..threats.rules import Rule
from .attacker import abilities, budget
from .words import clean, said

_NAMES = {
    "atlas": "MITRE ATLAS",
    "nist": "NIST AI 100-2",
    "owasp_ml": "OWASP ML Top 10",
    "cwe": "CWE",
    "aiexchange": "OWASP AI Exchange",
}


_EFFECTS = {
    "prevents": "prevents it", "raises_cost": "raises the cost", "limits_impact": "limits the harm", "detects": "detects it",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Advised:
    """What somebody can do that casemate cannot: the sentence, what it brings, and the mitigation of ATLAS it is."""

    do: str
    effect: str
    reference: str


def advised(finding: Finding) -> tuple[Advised, ...]:
    """The advice of the rule, cleaned."""
    rows = []
    for one in finding.advice:
        effect = clean(one.get("effect") or "")
        rows.append(Advised(clean(one.get("do") or ""), _EFFECTS.get(effect, effect), clean(one.get("reference") or "")))
    return tuple(rows)


def card(finding: Finding, system: Any = None) -> tuple[tuple[str, str], ...]:
    """Who attacks, as label and text."""
    held = dict(finding.adversary)
    who = str(held.pop("principal", "") or finding.principal)
    rows = [("Principal", clean(who))]
    may, spends = held.pop("may", None), held.pop("budget", None)
    if may is not None:
        rows.append(("May", abilities(system, who, finding.element, may)))
    if spends is not None:
        rows.append(("Budget", budget(system, who, finding.element, str(spends), may or ())))
    known = {"capabilities": "May", "goal": "Goal", "derived_from": "Derived from", "access": "Derived from"}
    for elsewhere in ("name", "facts", "knowledge"):  # what is known is among what it may
        held.pop(elsewhere, None)
    for key, label in known.items():
        if held.get(key):
            value = held.pop(key)
            rows.append((label, "; ".join(map(said, value)) if isinstance(value, list | tuple) else said(value)))
    rows += [(clean(k).replace("_", " ").capitalize(), said(v)) for k, v in held.items() if v not in (None, "", [], ())]
    lead = finding.evidence[0] if finding.evidence else None
    if lead and not any(label == "May" for label, _ in rows):
        rows.append(("May", abilities(system, who, finding.element, lead.may)))
    if lead and not any(label == "Budget" for label, _ in rows):
        rows.append(("Budget", clean(lead.budget)))
    return tuple(rows)


def _fired_on(finding: Finding) -> tuple[tuple[str, str, str], ...]:
    """The facts the rule fired on, as it recorded them: "path = value (source)"."""
    rows = []
    for fact in finding.adversary.get("facts", ()):
        path, _, rest = clean(fact).partition(" = ")
        value, _, source = rest.rpartition(" (")
        rows.append((path, value, source.rstrip(")")) if value else (path, rest, ""))
    return tuple(rows)


def facts(system: Any, finding: Finding, most: int = 14) -> tuple[tuple[str, str, str], ...]:
    """The facts the rule fired on; where it recorded none, what the description states about the element.

    Measured facts first: they decided what was attacked. What nobody stated is not listed.
    """
    fired, element = _fired_on(finding), finding.element
    if fired:
        return fired
    found = next((c for c in getattr(system, "components", ()) if c.id == element), None)
    if found is None:
        found = next((f for f in getattr(system, "flows", ()) if f.id == element), None)
    if found is None:
        return ()
    stated = [(path, value) for path, value in _stated(found, element) if path.split(".", 1)[1] not in ("id", "zone", "kind")]
    rows = [(clean(path), value, system.sources.get(path, "asserted")) for path, value in stated]
    rows.sort(key=lambda row: ("measured", "imported", "asserted").index(row[2]))
    return tuple(rows[:most])


def _stated(record: Any, path: str) -> Iterator[tuple[str, str]]:
    for f in fields(record):
        value = getattr(record, f.name)
        if value is None or value is Truth.UNKNOWN or value in ("", ()):
            continue
        if is_dataclass(value):
            yield from _stated(value, f"{path}.{field_key(f)}")
        else:
            yield f"{path}.{field_key(f)}", said(value)


def references(mappings: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Ids with names by framework, however they were handed over."""
    rows = []
    for framework, entries in mappings.items():
        listed = entries if isinstance(entries, list | tuple) else [entries]
        texts = tuple(_entry(entry) for entry in listed if entry)
        if texts:
            rows.append((_NAMES.get(framework, clean(framework)), texts))
    return tuple(rows)


def unmapped(finding: Finding, rules: Mapping[str, Rule], framework: str = "atlas") -> str:
    """What to say where no technique is cited: that none fits, as the rule states, or that nobody said. Else empty."""
    if finding.mappings.get(framework):
        return ""
    rule = rules.get(finding.rule)
    name = {"atlas": "ATLAS"}.get(framework, framework)
    if rule is not None and framework in rule.unmapped:
        return f"no {name} technique fits this threat"
    return "" if rule is not None and any(r.taxonomy == framework for r in rule.mappings) else f"no mapping to {name} is stated"


def _entry(entry: Any) -> str:
    if isinstance(entry, Mapping):
        id, name, release = (clean(entry.get(key, "")) for key in ("id", "name", "release"))
    else:
        id, name, release = (clean(getattr(entry, key, "")) for key in ("id", "name", "release"))
        if not id:
            return said(entry)
    return " ".join(part for part in (id, name) if part) + (f" ({release})" if release else "")


def unchanged(clean_numbers: Mapping[str, float]) -> list[str]:
    """What each component does on unchanged inputs, a line each: beside every attack stands what it attacks."""
    lines: dict[str, list[str]] = {}
    for key, value in sorted(clean_numbers.items()):
        component, _, name = clean(key).rpartition(".")
        share = name in ("accuracy", "rejected") and 0 <= value <= 1
        text = (
            f"n = {value:g}"
            if name == "rows"
            else f"{name.replace('_', ' ')} {f'{100 * value:.1f}%' if share else f'{value:.4g}'}"
        )
        lines.setdefault(component, []).append(text)
    return [f"{component or 'target'} on unchanged inputs: {', '.join(parts)}" for component, parts in lines.items()]
