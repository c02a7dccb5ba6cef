"""The findings as SARIF 2.1.0: one run for each system, one rule for each threat of the catalogue that occurs.

What the description alone says is `open`, what waits for a fact is `review`, what held is `pass`; only what was broken is
`fail` and has a level. Decisions are suppressions. Nothing here is a row of data, so there is nothing to redact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import __version__
from ..core.disposition import Disposed
from ..core.evidence import Status
from ..core.finding import SEVERITIES, Assessment, Chain, Finding
from ..threats.rules import Rule
from . import sarif_rules
from .machine import (
    BESIDE,
    ROOT,
    Place,
    basis_of,
    dumps,
    element_of,
    fingerprint,
    first_line,
    money_of,
    place,
    place_of,
    prints,
    questions_of,
    rules_of,
    severity_of,
    unique,
    unrooted,
)
from .sarif_baseline import Baseline, Before, read_baseline
from .sarif_rules import Taxa, message
from .words import clean, evidence_id, sentence

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
KINDS = {
    Status.BROKEN: "fail",
    Status.UNTESTED: "open",
    Status.CLAIMED: "open",
    Status.STALE: "open",
    Status.INCONCLUSIVE: "open",  # the attack was not healthy: not enough to decide
    Status.QUESTION: "review",
    Status.ERROR: "review",  # somebody has to look
    Status.RESISTED: "pass",
    Status.MITIGATED: "pass",
    Status.CERTIFIED: "pass",
    Status.NOT_APPLICABLE: "notApplicable",
}
LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "none": "note"}
RANKS = dict(zip(SEVERITIES, (100.0, 75.0, 50.0, 25.0, 0.0), strict=True))
_STANDS = {"active": "accepted", "expired": "underReview", "violated": "rejected"}


@dataclass(frozen=True, slots=True)
class Run:
    """What every result of one run looks up."""

    assessment: Assessment
    rules: Mapping[str, Rule]
    order: Mapping[str, int]
    taxa: Taxa
    before: Mapping[str, Before] | None
    kinds: Mapping[str, str]
    asked: Mapping[str, Sequence[str]]


def render(assessments: Sequence[Assessment], *, show_personal: bool = False, baseline: Baseline | None = None) -> str:
    """Every finding, as a log of one run for each assessment.

    Args:
        baseline: A report from before, SARIF or JSON, as parsed or as its path. Every result then says whether it is new,
            unchanged or updated, and what is no longer there is listed as absent.

    Raises:
        UsageError: The baseline is no such report.
    """
    return dumps(_log(assessments, baseline))


def render_alerts(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """Only what was broken and nobody has accepted: for viewers that show every result as a problem, whatever its kind."""
    log = _log(assessments, None)
    for run in log["runs"]:
        run["results"] = [r for r in run["results"] if r["kind"] == "fail" and not _accepted(r)]
        for result in run["results"]:
            result.pop("suppressions", None)
    return dumps(log)


def _accepted(result: Mapping[str, Any]) -> bool:
    return any(s["status"] == "accepted" for s in result.get("suppressions", ()))


def _log(assessments: Sequence[Assessment], baseline: Baseline | None) -> dict[str, Any]:
    before = None if baseline is None else read_baseline(baseline)
    names = [clean(a.name) or "unnamed" for a in assessments]
    ids = [f"casemate/{name.replace('/', '-')}{f'-{i}' if names.index(name) != i else ''}/" for i, name in enumerate(names)]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [_run(a, id, before) for a, id in zip(assessments, ids, strict=True)],
    }


def _run(a: Assessment, id: str, before: Mapping[str, Before] | None) -> dict[str, Any]:
    rules = rules_of(a)
    occurring = unique(f.rule for f in a.findings)
    taxa = Taxa(a.findings, rules)
    kinds = {c.id: c.kind or "component" for c in getattr(a.system, "components", ())}
    run = Run(a, rules, {rule: i for i, rule in enumerate(occurring)}, taxa, before, kinds, questions_of(a))
    results = [_result(f, run) for f in a.findings]
    if any(f.disposed for f in a.findings):  # all of a run have suppressions, or none has
        for result in results:
            result.setdefault("suppressions", [])
    results += _absent(run)
    driver = {
        "name": "casemate",
        "version": a.versions.get("casemate", __version__),
        "language": "en-US",
        "rules": [sarif_rules.rule(rule, [f for f in a.findings if f.rule == rule], rules, taxa) for rule in occurring],
        "supportedTaxonomies": taxa.supported(),
    }
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": id, "description": {"text": message(f"Threats to {a.name}")}},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            ROOT: {"description": {"text": "The folder that casemate was called in."}},
            BESIDE: {"description": {"text": "The folder that the description lies in."}},
        },
        "taxonomies": taxa.components(),
        "invocations": [_invocation(a)],
        "results": results,
        "properties": {
            "system": a.name,
            "digest": a.digest(),
            "seed": a.seed,
            "budget": a.budget,
            "chains": [chain.id for chain in a.chains],
            "hidden": [{"threat": h.threat, "by": h.by, "because": h.because} for h in a.hidden],
        },
    }


def _invocation(a: Assessment) -> dict[str, Any]:
    """Whether it all ran: errors of attacks, and what is odd about the description and its decisions."""
    errors = [f for f in a.findings if f.status is Status.ERROR]
    told = [{"level": "error", "message": {"text": message(f"{f.threat}: {f.reason}")}} for f in errors]
    odd = [{"level": "warning", "message": {"text": message(unrooted(text))}} for text in (*a.warnings, *a.conflicts)]
    return {"executionSuccessful": not errors, "toolExecutionNotifications": told, "toolConfigurationNotifications": odd}


def _result(f: Finding, run: Run) -> dict[str, Any]:
    a = run.assessment
    kind, severity = KINDS[f.status], severity_of(f)
    ids = [evidence_id(e) for e in f.evidence]
    mark = fingerprint(a.name, f.threat)
    result: dict[str, Any] = {
        "ruleId": f.rule,
        "ruleIndex": run.order[f.rule],
        "kind": kind,
        "level": LEVELS[severity] if kind == "fail" else "none",
        "message": {"text": message(unrooted(sentence(f, a.system, ids[0] if ids else "")))},
        "rank": RANKS[severity],
        "locations": [_location(f, run)],
        # The second is the one that code scanning of GitHub reads; without it the content of the line is used instead.
        "partialFingerprints": {"casemate/v1": mark, "primaryLocationLineHash": f"{mark[:16]}:1"},
        "taxa": run.taxa.cited_by(f),
        "properties": _properties(f, run, severity, ids),
    }
    flows = [_code_flow(c, run) for c in a.chains if c.steps and c.steps[-1] == f.threat]
    if flows:
        result["codeFlows"] = flows
    if f.disposed and f.disposed.disposition.decision != "fix":
        result["suppressions"] = [_suppression(f.disposed, a)]
    if run.before is not None:
        result["baselineState"] = _state(f, run, severity)
    return result


def _location(f: Finding, run: Run, said: str = "") -> dict[str, Any]:
    """The line of the component, and the component by name."""
    located = _at(f.element, place_of(f, run.assessment), run)
    return located | ({"message": {"text": message(said)}} if said else {})


def _at(element: str, at: Place | None, run: Run) -> dict[str, Any]:
    a = run.assessment
    name = clean(element) or clean(a.name) or "system"
    kind = run.kinds.get(element, "element")
    located: dict[str, Any] = {
        "logicalLocations": [{"name": name, "fullyQualifiedName": f"{clean(a.name)}.{name}", "kind": kind}]
    }
    return located | ({"physicalLocation": _physical(at)} if at else {})


def _physical(at: Place) -> dict[str, Any]:
    return {"artifactLocation": {"uri": at.uri, "uriBaseId": at.base}, "region": {"startLine": at.line}}


def _code_flow(chain: Chain, run: Run) -> dict[str, Any]:
    """A chain as a way through the description, one place for each step."""
    by_id = {f.threat: f for f in run.assessment.findings}
    steps = []
    for number, threat in enumerate(chain.steps):
        gain = chain.gains[number] if number < len(chain.gains) else ""
        said = f"{threat}" + (f", which gives {gain}" if gain else "")
        where = _location(by_id[threat], run, said) if threat in by_id else {"message": {"text": message(said)}}
        steps.append({"location": where, "executionOrder": number + 1})
    return {"message": {"text": message(f"{chain.attacker}: {chain.title}")}, "threadFlows": [{"locations": steps}]}


def _suppression(disposed: Disposed, a: Assessment) -> dict[str, Any]:
    d = disposed.disposition
    parts = [d.reason, f"decided: {d.decision.replace('_', ' ')}", f"owner: {d.owner}", f"expires: {d.expires.isoformat()}"]
    parts += [f"{disposed.state}: {disposed.why}"] if disposed.state != "active" else []
    found: dict[str, Any] = {
        "kind": "external",
        "status": _STANDS[disposed.state],
        "justification": clean("; ".join(part for part in parts if part)),
        "properties": {"decision": d.decision, "owner": d.owner, "expires": d.expires, "ticket": d.ticket},
    }
    if d.place[0]:
        found["location"] = {"physicalLocation": _physical(place(*d.place, a))}
    return found


def _properties(f: Finding, run: Run, severity: str, ids: list[str]) -> dict[str, Any]:
    low, high, currency = money_of(f)
    return {
        "threat": f.threat,
        "status": f.status,
        "severity": severity,
        "impact": f.impact,
        "basis": basis_of(f),
        "confidence": f.risk.confidence if f.risk else "",
        "cost": {"low": low, "high": high, "currency": currency, "queries": f.cost.queries if f.cost else None},
        "evidence": ids,
        "principal": f.principal,
        "disposition": f"{f.disposed.disposition.decision} ({f.disposed.state})" if f.disposed else "",
        "tests": f.tests,
        "mitigations": f.mitigations,
        "claimed": f.claimed,
        "questions": run.asked.get(f.threat, ()),
    }


def _state(f: Finding, run: Run, severity: str) -> str:
    """New, unchanged or updated against the baseline; a rule that was renamed is still the same."""
    marks = prints(run.assessment, f, run.rules)
    old = next((run.before[m] for m in marks if m in run.before), None) if run.before else None
    if old is None:
        return "new"
    return "unchanged" if (old.status, old.severity) == (str(f.status), severity) else "updated"


def _absent(run: Run) -> list[dict[str, Any]]:
    """What the baseline has of this system and this run has not."""
    if run.before is None:
        return []
    here = {mark for f in run.assessment.findings for mark in prints(run.assessment, f, run.rules)}
    name = clean(run.assessment.name)
    gone = [(mark, old) for mark, old in run.before.items() if clean(old.system) == name and mark not in here]
    suppressed: dict[str, Any] = {"suppressions": []} if any(f.disposed for f in run.assessment.findings) else {}
    return [
        {
            "ruleId": old.rule,
            "kind": "notApplicable",
            "level": "none",
            "baselineState": "absent",
            "message": {"text": message(f"{old.threat} is no longer derived.")},
            "locations": [_at(element_of(old.threat), first_line(run.assessment), run)],
            "partialFingerprints": {"casemate/v1": mark},
            "properties": {"threat": old.threat, "status": old.status, "severity": old.severity},
            **suppressed,
        }
        for mark, old in gone
    ]
