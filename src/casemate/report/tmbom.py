"""The threat model as a CycloneDX 2.0 document. Experimental: that version of the format is not final.

Written against `SPECIFICATION` below. A rule of the catalogue is a threat, a finding is a scenario that realises it and a
risk that it makes, a chain is an attack path, a control or a piece of advice is a control. Likelihood is left out: nobody
measured one. What the format has no field for is a property named `casemate:...`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from ..core.evidence import Status
from ..core.finding import Assessment, Chain, Finding
from ..threats.rules import Rule
from . import tmbom_system
from .cards import _NAMES as NAMES
from .machine import basis_of, dumps, money_of, named, references, rules_of, severity_of, titles, unique, unrooted
from .navigator import atlas
from .tmbom_system import Bag, properties, ref, short_name
from .words import clean, evidence_id, sentence

SPECIFICATION = "CycloneDX/specification 1363cc6190404ebcd8d236c2e02a188823da18a4"  # the commit it was written against
IMPACTS = ("negligible", "low", "moderate", "major", "catastrophic")
LEVELS = {"critical": "critical", "high": "high", "medium": "medium", "low": "low", "none": "info"}
_STRIDE = {"elevation": "elevation-of-privilege"}
_STRIDES = ("spoofing", "tampering", "repudiation", "information-disclosure", "denial-of-service", "elevation-of-privilege")
_MATURITY = {"feasible": "theoretical", "demonstrated": "proof-of-concept", "realized": "functional"}
_STRATEGY = {"fix": "reduce", "accept": "accept", "transfer": "transfer", "avoid": "avoid"}
_GOALS = ("integrity", "confidentiality", "availability", "privacy")
_EFFECTS = {"prevents": "preventive", "detects": "detective"}


@dataclass(slots=True)
class Book:
    """What the systems of one document share. Entries by their reference, each once."""

    threats: dict[str, Any] = field(default_factory=dict)
    patterns: dict[str, Any] = field(default_factory=dict)
    controls: dict[str, Any] = field(default_factory=dict)
    parties: dict[str, Any] = field(default_factory=dict)
    scenarios: list[Any] = field(default_factory=list)
    risks: list[Any] = field(default_factory=list)
    paths: list[Any] = field(default_factory=list)
    components: list[Any] = field(default_factory=list)
    blueprints: list[Any] = field(default_factory=list)


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """One document for all systems. It holds no rows, so there is nothing to redact."""
    book = Book()
    for number, a in enumerate(assessments, 1):
        _add(book, a, f"s{number}")
    digests = " ".join(a.digest() for a in assessments)
    head: dict[str, Any] = {"type": "application", "bom-ref": "subject", "name": titles(assessments)}
    if len(assessments) == 1 and assessments[0].system is not None:
        head |= _said(version=getattr(assessments[0].system, "version", ""))
        head |= _said(description=getattr(assessments[0].system, "description", ""))
    tool = {"type": "application", "name": "casemate", "version": __version__}
    marks = properties({"experimental": "yes: CycloneDX 2.0 is not final", "written against": SPECIFICATION, "digests": digests})
    return dumps(
        {
            "$schema": "https://cyclonedx.org/schema/2.0/cyclonedx-2.0.schema.json",
            "specFormat": "CycloneDX",
            "specVersion": "2.0",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, f'casemate {digests}')}",
            "version": 1,
            "metadata": {
                "tools": {"components": [tool]},
                "component": head | ({"parties": list(book.parties.values())} if book.parties else {}),
                "properties": marks,
            },
            "components": book.components,
            "blueprints": book.blueprints,
            "threats": {
                "methodologies": ["STRIDE", {"name": "casemate", "description": "Rules over a described system, then attacks."}],
                "threats": list(book.threats.values()),
                "scenarios": book.scenarios,
                "attackPatterns": list(book.patterns.values()),
                "attackPaths": book.paths,
            },
            "risks": {"risks": book.risks},
            "controls": list(book.controls.values()),
        }
    )


def _said(**texts: Any) -> dict[str, str]:
    return {key: clean(value) for key, value in texts.items() if value}


def _add(book: Book, a: Assessment, prefix: str) -> None:
    """One system: its graph, then its findings."""
    rules = rules_of(a)
    drawn = tmbom_system.drawn(a, prefix)
    book.components += drawn.components
    book.blueprints.append(drawn.blueprint)
    book.parties |= drawn.parties
    for control in drawn.controls:
        book.controls[control["bom-ref"]] = control
    for number, f in enumerate(a.findings):
        party = tmbom_system.party(f.principal or "somebody", "", prefix)
        book.parties.setdefault(party["bom-ref"], party)
        threat = _threat(book, f, rules)
        scenario = _scenario(f, a, prefix, number, threat, drawn.known)
        if f.status not in (Status.QUESTION, Status.NOT_APPLICABLE):
            risk = _risk(f, a, prefix, number, scenario)
            scenario["relatedRisks"] = [risk["bom-ref"]]
            book.risks.append(risk)
        book.scenarios.append(scenario)
    book.paths += [_path(chain, i, a, prefix, drawn.known, book.parties) for i, chain in enumerate(a.chains) if chain.steps]


def _threat(book: Book, f: Finding, rules: Mapping[str, Rule]) -> str:
    """The rule of a finding as a threat, with what it refers to. Returns its reference."""
    id, rule = ref("rule", f.rule), rules.get(f.rule)
    if id in book.threats:
        return id
    cited = references(f, rules)
    stride = _STRIDE.get(f.stride, f.stride) if rule is None else _STRIDE.get(rule.stride, rule.stride)
    category = stride.replace(" ", "-")
    cwe = unique(int(r.id.removeprefix("CWE-")) for r in cited if r.taxonomy == "cwe" and r.id.removeprefix("CWE-").isdecimal())
    others = [(NAMES[r.taxonomy], f"{r.id} {named(r)} ({r.release})") for r in cited if r.taxonomy not in ("atlas", "cwe")]
    patterns = [_pattern(book, r) for r in unique(r for r in cited if r.taxonomy == "atlas")]
    book.threats[id] = {
        "bom-ref": id,
        "name": short_name(rule.title if rule else f.title),
        **_said(description=rule.harm.text if rule else f.harm or f.explanation),
        "source": "the catalogue of casemate",
        "origin": "adversarial",
        **({"categories": [{"taxonomy": "STRIDE", "category": category}]} if category in _STRIDES else {}),
        **({"weaknesses": [{"cweId": number} for number in cwe if number > 0]} if cwe else {}),
        **({"attackPatterns": unique(patterns)} if patterns else {}),
        **_if("mitigations", _controls(book, f, rule)),
        "properties": properties(
            {"rule": f.rule, "maturity": rule.maturity if rule else f.maturity, "no technique fits": "" if patterns else "yes"}
        )
        + [property for name, value in others for property in properties({name: value})],
    }
    return id


def _if(key: str, values: Sequence[Any]) -> dict[str, Any]:
    return {key: list(values)} if values else {}


def _pattern(book: Book, reference: Any) -> str:
    """An ATLAS technique as an attack pattern."""
    _, techniques, tactics = atlas()
    id = ref("atlas", reference.id)
    tactic = [tactics[t] for t in techniques.get(reference.id, {}).get("tactics", ())]
    technique = {"id": reference.id, **_said(name=reference.name, tactic=", ".join(tactic))}
    book.patterns.setdefault(id, {"bom-ref": id, "name": short_name(named(reference) or reference.id), "techniques": [technique]})
    return id


def _controls(book: Book, f: Finding, rule: Rule | None) -> list[str]:
    """The controls that can be tried and the advice, as recommended controls. Returns their references."""
    found = []
    for name in rule.mitigations if rule else f.mitigations:
        id = ref("control", name)
        book.controls.setdefault(id, {"bom-ref": id, "name": short_name(name), "status": "recommended"})
        found.append(id)
    advice: Iterable[tuple[str, str]] = (
        ((a.do, a.effect) for a in rule.advice) if rule else ((str(a.get("do", "")), str(a.get("effect", ""))) for a in f.advice)
    )
    for number, (do, effect) in enumerate(advice, 1):
        id = ref("advice", f"{f.rule}/{number}")
        category: Any = _EFFECTS.get(effect) or {"name": short_name(effect.replace("_", " "))}
        book.controls.setdefault(
            id, {"bom-ref": id, "name": short_name(do), **_said(description=do), "category": category, "status": "recommended"}
        )
        found.append(id)
    return unique(found)


def _rating(f: Finding) -> dict[str, Any]:
    """Impact and, where there is one, the severity; the attacker's cost in words."""
    severity, (low, high, currency) = severity_of(f), money_of(f)
    rating: dict[str, Any] = {"impact": _impact(f)}
    if f.status is Status.BROKEN or f.risk is not None:
        method = {
            "name": "casemate",
            "description": "Impact against the attacker's cost; measured, or assumed where it says prior.",
        }
        rating["score"] = {"level": LEVELS[severity], "methodology": method}
    words = [f"cost basis: {basis_of(f)}"]
    words += [f"attacker's cost {low:g} to {high:g} {currency}".strip()] if low is not None and high is not None else []
    words += [f.risk.impact_because, *f.risk.terms] if f.risk else []
    return rating | {"rationale": clean("; ".join(word for word in words if word))}


def _impact(f: Finding) -> dict[str, Any]:
    return {"level": IMPACTS[min(4, max(0, f.impact))], "score": min(4, max(0, f.impact))}


def _scenario(f: Finding, a: Assessment, prefix: str, number: int, threat: str, known: Mapping[str, str]) -> dict[str, Any]:
    """A finding as the way a threat is realised."""
    ids = [evidence_id(e) for e in f.evidence]
    goal = f.cell.get("goal", "")
    measured = "functional" if f.status is Status.BROKEN else _MATURITY.get(f.maturity, "")
    held = {
        "threat": f.threat, "status": str(f.status), "severity": severity_of(f), "principal": f.principal,
        "evidence": ", ".join(ids), "tests": ", ".join(f.tests), "claimed": ", ".join(f.claimed),
        "disposition": f"{f.disposed.disposition.decision} ({f.disposed.state})" if f.disposed else "",
    }  # fmt: skip
    return {
        "bom-ref": f"{prefix}/scenario/{number + 1}",
        "name": short_name(f"{f.title}: {f.threat}"),
        "description": unrooted(sentence(f, a.system, ids[0] if ids else "")),
        "threats": [threat],
        "actor": tmbom_system.party(f.principal or "somebody", "", prefix)["bom-ref"],
        "impact": _impact(f),
        **({"exploitability": {"level": measured}} if measured else {}),
        **({"riskAttributes": [goal]} if goal in _GOALS else {}),
        **_if("affectedAssets", [known[f.element]] if f.element in known else []),
        "properties": properties(held),
    }


def _risk(f: Finding, a: Assessment, prefix: str, number: int, scenario: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as a risk, with what was decided about it."""
    decided, active = f.disposed.disposition if f.disposed else None, bool(f.disposed and f.disposed.state == "active")
    decision = decided.decision if decided and active else ""
    status = {"accept": "accepted", "transfer": "transferred", "false_positive": "retired"}.get(decision, "")
    held = Status.MITIGATED, Status.RESISTED, Status.CERTIFIED
    rating = "residualRisk" if f.status in held else "inherentRisk"
    risk: dict[str, Any] = {
        "bom-ref": f"{prefix}/risk/{number + 1}",
        "name": short_name(f"{f.title} at {f.element}"),
        "statement": scenario["description"],
        "domains": [{"type": "security"}],
        "relatedThreats": [scenario["bom-ref"]],
        rating: _rating(f),
        "status": status or ("mitigated" if f.status is Status.MITIGATED else "assessed" if f.evidence else "identified"),
        **_if("affects", scenario.get("affectedAssets", ())),
    }
    if f.disposed and decided:
        said = {"decision": decided.decision, "state": f.disposed.state, "why": f.disposed.why, "ticket": decided.ticket}
        risk["properties"] = properties(said | {"owner": decided.owner, "expires": decided.expires.isoformat()})
        risk["owner"] = {"roles": [{"role": "owner"}], "organization": {"name": clean(decided.owner)}}
        if decided.decision in _STRATEGY:
            until = {"targetDate": f"{decided.expires.isoformat()}T00:00:00Z"} if decided.decision == "fix" else {}
            name = f"{prefix}/response/{number + 1}"
            risk["responses"] = [
                {"bom-ref": name, "strategy": _STRATEGY[decided.decision], "description": clean(decided.reason), **until}
            ]
    return risk


def _path(
    chain: Chain, number: int, a: Assessment, prefix: str, known: Mapping[str, str], parties: Mapping[str, Any]
) -> dict[str, Any]:
    """A chain as an ordered way. Steps that are not among the findings keep their id as words."""
    by_id = {f.threat: f for f in a.findings}
    steps: list[Bag] = []
    for i, id in enumerate(chain.steps):
        f = by_id.get(id)
        gain = chain.gains[i] if i < len(chain.gains) else ""
        said = f"{f.title if f else 'Threat'} ({id})" + (f", which gives {gain}" if gain else "")
        there = {"destination": known[f.element]} if f and f.element in known else {}
        steps.append({"name": short_name(id), "description": clean(said), **there})
    actor = tmbom_system.party(chain.attacker, "", prefix)["bom-ref"]
    held = {"attacker": chain.attacker, "basis": chain.basis, "low": chain.low, "high": chain.high, "currency": chain.currency}
    return {
        "bom-ref": f"{prefix}/path/{number + 1}",
        "name": short_name(chain.title or chain.id),
        "objective": clean(chain.title),
        **({"actor": actor} if actor in parties else {}),
        "steps": steps,
        **_if("realizes", unique(ref("rule", by_id[id].rule) for id in chain.steps if id in by_id)),
        "properties": properties(held | {"impact": chain.impact}),
    }
