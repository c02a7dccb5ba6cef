"""Assessments for the machine-readable outputs: every example, every status, decisions, chains, hostile names. No torch."""

from __future__ import annotations

import datetime
import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from casemate.core.disposition import Disposed, Disposition
from casemate.core.evidence import Cost, Evidence, Interval, Status, Verdict
from casemate.core.finding import Assessment, Chain, Finding, Hidden
from casemate.core.risk import Risk
from casemate.runs.derived import derived
from casemate.threats.load import loads

HERE = Path(__file__).resolve().parents[2]
EXAMPLES = tuple(
    re.findall(
        r"examples/\S+\.yaml", (HERE / "Makefile").read_text(encoding="utf-8").split("EXAMPLES :=", 1)[1].split("\n\n", 1)[0]
    )
)
HOSTILE = (
    "</script><script>alert(1)</script>", "'\"><img src=x>", "\x1b[31mred\x1b]0;title\x07", "[click](javascript:alert(1)) {0} {1}",
    "\u202egnp.exe\u2066\u0000", "=cmd|' /C calc'!A0", "line\nbreak\r\n,;", "\ud800", "x" * 20_000, "urn:cdx:", "../../etc/passwd", "%00",
)  # fmt: skip
TEXT = """\
casemate: 1
system: {name: shop, version: "2"}
zones: [{id: internet, trust: public}, {id: inside, trust: prod}]
principals: [{id: customer, kind: customer, zone: internet}]
components:
  - {id: gate, kind: sensor, zone: internet}
  - {id: api, kind: server, zone: inside}
flows:
  - {from: customer, to: gate, channel: physical}
  - {from: gate, to: api, channel: https, confidentiality: yes}
controls: [{id: limit, type: service.query_budget, on: api, state: active}]
"""
TODAY = datetime.date(2026, 3, 1)


@functools.cache
def example(path: str) -> Assessment:
    """One example of the Makefile, from its description alone."""
    return derived(HERE / path)[1]


def evidence(verdict: Verdict = Verdict.BROKEN, **changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "attack": "evasion.square", "params": {}, "adversary": "customer", "may": ("submit", "score"), "budget": "queries_per_row=1000",
        "target": "api", "fingerprint": None, "case": "evade", "seed": 0, "measure": "rows broken", "rate": 0.9,
        "interval": Interval(0.8, 0.95), "n": 100, "verdict": verdict, "cost": Cost(80.0, 1000.0), "reasons": ("because",),
    }  # fmt: skip
    return Evidence(**fields | changes)


def finding(status: Status, rule: str = "EV-02", element: str = "api", **changes: Any) -> Finding:
    verdicts = {Status.BROKEN: Verdict.BROKEN, Status.RESISTED: Verdict.RESISTED, Status.INCONCLUSIVE: Verdict.INCONCLUSIVE}
    verdicts |= {Status.ERROR: Verdict.ERROR, Status.CERTIFIED: Verdict.CERTIFIED, Status.MITIGATED: Verdict.RESISTED}
    fields: dict[str, Any] = {
        "threat": f"{rule}@{element}#customer", "rule": rule, "title": "A threat", "element": element, "principal": "customer",
        "explanation": "it is so", "impact": 3, "status": status, "severity": "high" if status is Status.BROKEN else "none",
        "evidence": (evidence(verdicts[status]),) if status in verdicts else (), "cost": Cost(80.0) if status is Status.BROKEN else None,
        "reason": "", "file": "shop/system.yaml", "line": 7, "cell": {"goal": "integrity"}, "maturity": "realized", "stride": "tampering",
    }  # fmt: skip
    return Finding(**fields | changes)


def disposed(decision: str = "accept", state: str = "active", **changes: Any) -> Disposed:
    fields: dict[str, Any] = {
        "threat": "EV-0*", "decision": decision, "reason": "the loss is insured", "owner": "risk team", "made": TODAY,
        "expires": TODAY + datetime.timedelta(days=90), "place": ("shop/dispositions.yaml", 4), "ticket": "R-7",
    }  # fmt: skip
    return Disposed(disposition=Disposition(**fields | changes), state=state, why="" if state == "active" else "too long ago")  # type: ignore[arg-type]


def assessment(*findings: Finding, **changes: Any) -> Assessment:
    fields: dict[str, Any] = {
        "name": "shop", "path": "shop/system.yaml", "system": loads(TEXT), "findings": findings,
        "versions": {"casemate": "0.1.0"}, "reproduce": "casemate threats shop/system.yaml",
    }  # fmt: skip
    return Assessment(**fields | changes)


def full() -> Assessment:
    """Every status once, every decision in every state, a chain, something hidden, a risk with a prior."""
    found = [finding(status, element=f"part{i}") for i, status in enumerate(Status)]
    decisions = ("fix", "accept", "transfer", "avoid", "false_positive")
    states = ("active", "expired", "violated")
    pairs = [(decision, state) for decision in decisions for state in states]
    found += [
        finding(Status.BROKEN, element=f"held{i}", disposed=disposed(decision, state))
        for i, (decision, state) in enumerate(pairs)
    ]
    prior = Risk(
        impact=4,
        impact_because="the decision is final",
        low=100.0,
        high=5000.0,
        currency="EUR",
        basis="prior",
        severity="critical",
    )
    found.append(
        finding(Status.UNTESTED, "SY-01", "gate", risk=prior, threat="SY-01@gate#supplier@gate", principal="supplier@gate")
    )
    broken = finding(Status.BROKEN, "EV-01", "api")
    chain = Chain(
        steps=("SY-01@gate#supplier@gate", broken.threat, "GONE-01@nowhere"), gains=("read_weights on api", "", ""), attacker="customer",
        title="From the supplier to the decision", impact=4, low=100.0, high=5000.0, currency="EUR",
    )  # fmt: skip
    return assessment(
        *found, broken, chains=(chain, replace(chain, steps=chain.steps[:2])), warnings=("a rule without a technique",),
        hidden=(Hidden(threat="EV-03@api#customer", title="Label-only", by="EV-01@api#customer", because="cheaper"),),
        questions=({"field": "api.model.output", "text": "What does api answer?", "threats": [found[6].threat], "impact": 3},),
        conflicts=("api: the description says label, the target shows scores",),
    )  # fmt: skip


def hostile(text: str) -> Assessment:
    """Every free text is the same attack on a reader."""
    bad = evidence(measure=text, budget=text, target=text, adversary=text)
    one = finding(
        Status.BROKEN, text, text, threat=text, title=text, principal=text, explanation=text, reason=text, file=text, stride=text,
        harm=text, maturity=text, evidence=(bad,), disposed=disposed(reason=text, owner=text, ticket=text, place=(text, 1)),
        mitigations=(text,), tests=(text,), claimed=(text,), cell={"goal": text, text: text}, advice=({"do": text, "effect": text},),
        mappings={"atlas": [text], "nist": [{"id": text, "name": text}], "cwe": text, text: [text]},
    )  # fmt: skip
    known = finding(Status.QUESTION, "EV-02", "api", reason=text)
    chain = Chain(steps=(text, text), gains=(text,), attacker=text, title=text, impact=1)
    return assessment(
        one, known, name=text, path=text, warnings=(text,), conflicts=(text,), chains=(chain,), versions={"casemate": text},
        questions=({"field": text, "text": text, "threats": [text]},), hidden=(Hidden(threat=text, title=text, by=text, because=text),),
    )  # fmt: skip
