"""What was looked at and what was not: by cell of the papers' taxonomy, and by framework, with the gaps named.

A threat counts as tested where there is evidence for it, whatever it said. What no rule of the catalogue speaks of is a gap
of ours, and is named as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..core.evidence import Status
from ..core.finding import Assessment, Finding
from ..threats.rules import TAXONOMIES, Rule, catalogue, rules_for
from ..threats.taxonomy import entries, full_name

NAMES = {
    "atlas": "MITRE ATLAS", "nist": "NIST AI 100-2", "owasp_ml": "OWASP ML Top 10", "cwe": "CWE",
    "aiexchange": "OWASP AI Exchange",
}  # fmt: skip
# Tables of which only what the catalogue cites is shipped: that they hold more is no gap that could be named.
_PARTIAL = ("cwe", "aiexchange")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a coverage table: how many rules speak of it, and how many threats were derived, tested, broken."""

    name: str
    rules: int
    derived: int
    tested: int
    broken: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """One framework: its entries that a rule cites, and what is missing.

    Args:
        uncovered: Entries that no rule cites; None where the table that is shipped does not hold them all.
        untested: Entries under which something was derived here and nothing tested it.
    """

    id: str
    name: str
    release: str
    rows: tuple[Row, ...]
    uncovered: tuple[str, ...] | None
    untested: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    cells: tuple[Row, ...]
    frameworks: tuple[Framework, ...]
    unmapped: tuple[str, ...]  # threats derived here of which their rule says that no ATLAS technique fits


def coverage(assessments: Sequence[Assessment]) -> Coverage:
    """The coverage of one or several assessments together."""
    rules = {rule.id: rule for a in assessments for rule in (rules_for(a.system) if a.system else catalogue())}
    findings = [f for a in assessments for f in a.findings if f.status not in (Status.QUESTION, Status.NOT_APPLICABLE)]
    cells = sorted({_cell(rule) for rule in rules.values()})
    return Coverage(
        cells=tuple(_row(cell, [r for r in rules.values() if _cell(r) == cell], findings) for cell in cells),
        frameworks=tuple(_framework(id, rules, findings) for id in TAXONOMIES),
        unmapped=tuple(sorted(f.threat for f in findings if f.rule in rules and "atlas" in rules[f.rule].unmapped)),
    )


def uncovered(held: Sequence[Coverage]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """By framework with its release, the entries that no rule in any of them speaks of; those with none are left out."""
    missing: dict[str, list[str]] = {}
    for place, one in enumerate(held):
        for framework in one.frameworks:
            name, entries_ = f"{framework.name} ({framework.release})", framework.uncovered or ()
            kept = missing.get(name, []) if place else list(entries_)
            missing[name] = [entry for entry in kept if entry in entries_]
    return tuple((name, tuple(left)) for name, left in missing.items() if left)


def _cell(rule: Rule) -> str:
    return ", ".join(rule.cell[part] for part in ("phase", "goal", "capability"))


def _row(name: str, rules: Iterable[Rule], findings: Sequence[Finding]) -> Row:
    ids = {rule.id for rule in rules}
    own = [f for f in findings if f.rule in ids]
    tested, broken = sum(bool(f.evidence) for f in own), sum(f.status is Status.BROKEN for f in own)
    return Row(name=name, rules=len(ids), derived=len(own), tested=tested, broken=broken)


def _framework(id: str, rules: dict[str, Rule], findings: Sequence[Finding]) -> Framework:
    release, names = entries(id)
    cited: dict[str, list[Rule]] = {}
    called: dict[str, str] = {}
    for rule in rules.values():
        for reference in rule.mappings:
            if reference.taxonomy == id:
                cited.setdefault(reference.id, []).append(rule)
                called[reference.id] = f"{reference.id} {full_name(reference)}"
    rows = tuple(_row(called[key], cited[key], findings) for key in sorted(cited))
    known = {key for key in names if _is_threat(id, key)}
    covered = {other for key in cited for other in (key, key.rpartition(".")[0] if id == "atlas" else key)}
    missing = tuple(f"{key} {names[key]}" for key in sorted(known - covered))
    return Framework(
        id=id, name=NAMES[id], release=release, rows=rows, uncovered=None if id in _PARTIAL else missing,
        untested=tuple(row.name for row in rows if row.derived and not row.tested),
    )  # fmt: skip


def _is_threat(taxonomy: str, key: str) -> bool:
    """ATLAS ids name tactics, mitigations and cases too; only techniques are something a rule can speak of."""
    return taxonomy != "atlas" or key.startswith("AML.T0")
