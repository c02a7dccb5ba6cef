"""The report as JSON: everything that was measured, the same bytes for the same assessments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..core.evidence import Evidence, plain
from ..core.finding import Assessment
from .hardening import hardening
from .machine import local
from .personal import hidden, redact_extra, redact_rows
from .view import Decision, Limits, view
from .weighed import is_assumed, price
from .words import evidence_id, sentence, tally
from .worst import worst_case

FORMAT = "casemate.report/1"
_ALL = Limits(samples=0, sampled=0, decisions=1_000_000)


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """Strict JSON with sorted keys; ASCII, so that nothing in a name reaches a terminal. Inputs are never part of it."""
    assessments = [local(a) for a in assessments]
    data = {"format": FORMAT, "assessments": [_assessment(a, hidden(a, show_personal)) for a in assessments]}
    return json.dumps(data, sort_keys=True, indent=1, allow_nan=False) + "\n"


def _assessment(assessment: Assessment, hide: bool) -> dict[str, Any]:
    data = assessment.to_dict()
    findings = []
    for finding, written in zip(assessment.findings, data["findings"], strict=True):
        ids = [evidence_id(e) for e in finding.evidence]
        written["evidence"] = [_evidence(e, id, hide) for e, id in zip(finding.evidence, ids, strict=True)]
        lead = ids[0] if ids else ""
        said = {"sentence": sentence(finding, assessment.system, lead), "price": price(finding), "assumed": is_assumed(finding)}
        said |= {"worst_case": plain(worst_case(finding.evidence))}
        findings.append({**written, **said})
    # The rows of the hardening table as given may hold records; the table is there too, as it is printed.
    head, rows = hardening(assessment.hardening)
    table = [dict(zip(head, row, strict=True)) for row in rows]
    more: dict[str, Any] = {"counts": tally(assessment.findings), "redacted": hide, "hardening_table": table}
    told = view(assessment, "s1", limits=_ALL)
    more |= {"coverage": plain(told.coverage), "decisions": [_decision(d) for d in told.decisions]}
    return {**data, "findings": findings, **more}


def _decision(one: Decision) -> dict[str, Any]:
    data = {name: plain(getattr(one, name)) for name in ("verb", "what", "threats", "severity", "assumed", "cost", "next")}
    return {**data, "evidence": one.id}


def _evidence(evidence: Evidence, id: str, hide: bool) -> dict[str, Any]:
    shown = {"rows": plain(redact_rows(evidence.rows, hide)), "extra": plain(redact_extra(evidence.extra, hide))}
    return {**evidence.to_dict(), "id": id, **shown}
