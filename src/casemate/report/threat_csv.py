"""One row for each finding, for a spreadsheet. No cell can become a formula, and none breaks its row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from ..core.finding import Assessment, Finding
from ..threats.rules import TAXONOMIES, Rule
from .machine import basis_of, money_of, named, place_of, questions_of, references, rules_of, severity_of, unrooted
from .words import clean

HEAD = (
    "system", "threat", "title", "element", "principal", "status", "severity", "basis", "impact", "cost_low", "cost_high",
    "currency", "confidence", "disposition", "owner", "expires", "file", "line", *TAXONOMIES, "tests", "mitigations",
    "advice", "question",
)  # fmt: skip
# What a spreadsheet would run, in half and in full width; white space and quotes before it are no protection.
_RUNS = tuple("=+-@|%＝＋－＠")


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """The table under one head, every system in it. It holds no rows of data, so there is nothing to redact."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(HEAD)
    for a in assessments:
        rules, asked = rules_of(a), questions_of(a)
        writer.writerows([_cell(value) for value in _row(f, a, rules, asked.get(f.threat, ()))] for f in a.findings)
    return out.getvalue()


def _row(f: Finding, a: Assessment, rules: Mapping[str, Rule], asked: Sequence[str]) -> tuple[Any, ...]:
    low, high, currency = money_of(f)
    decided = f.disposed.disposition if f.disposed else None
    at = place_of(f, a)
    cited = _cited(f, rules)
    state = f"{decided.decision} ({f.disposed.state})" if decided and f.disposed else ""
    return (
        a.name, f.threat, f.title, f.element, f.principal, str(f.status), severity_of(f), basis_of(f), f.impact, low, high,
        currency, f.risk.confidence if f.risk else "", state,
        decided.owner if decided else "", decided.expires.isoformat() if decided else "",
        unquote(at.uri) if at else "", at.line if at else None, *(_joined(cited.get(taxonomy, ())) for taxonomy in TAXONOMIES),
        _joined(f.tests), _joined(f.mitigations), _joined(_advice(f, rules)), unrooted(_joined(asked)),
    )  # fmt: skip


def _cited(f: Finding, rules: Mapping[str, Rule]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for r in references(f, rules):
        release = f" ({r.release}{'; nearest' if r.nearest else ''})" if r.release else ""
        found.setdefault(r.taxonomy, []).append(f"{r.id} {named(r)}{release}")
    return found


def _advice(f: Finding, rules: Mapping[str, Rule]) -> list[str]:
    rule = rules.get(f.rule)
    said = [a.do for a in rule.advice] if rule else [str(a.get("do", "")) for a in f.advice]
    return [text.rstrip(".") for text in said]


def _joined(items: Iterable[Any]) -> str:
    return "; ".join(clean(item) for item in items)


def _cell(value: Any) -> Any:
    """A number as it is; text on one line, with a leading quote where a spreadsheet would take it for a formula."""
    if isinstance(value, int | float):
        return value
    text = " ".join(clean("" if value is None else value).split())
    return f"'{text}" if text.lstrip("'\"\u00a0").startswith(_RUNS) else text
