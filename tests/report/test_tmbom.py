"""The threat-model BOM: valid by our reading of the format, every reference resolves, and it says that it is experimental."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from casemate.core.evidence import Status
from casemate.core.finding import Assessment
from casemate.report import tmbom

from . import machine_cases as cases

SCHEMA = json.loads((cases.HERE / "tests/schemas/cyclonedx-2.0-subset.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)
_REFERENCES = (
    "actor", "threats", "attackPatterns", "mitigations", "affectedAssets", "relatedRisks", "relatedThreats", "affects", "appliesTo",
    "realizes", "destination", "source", "componentRef", "zone", "party",
)  # fmt: skip


def document(*assessments: Assessment) -> dict[str, Any]:
    data = json.loads(tmbom.render(assessments))
    assert [f"{list(e.absolute_path)}: {e.message}" for e in VALID.iter_errors(data)] == []
    ids = list(_ids(data))
    assert len(ids) == len(set(ids)), "a reference names two things"
    assert set(_references(data)) <= set(ids)
    return data


def _ids(value: Any) -> Iterator[str]:
    for inner in _inside(value):
        if "bom-ref" in inner:
            yield inner["bom-ref"]


def _references(value: Any) -> Iterator[str]:
    for inner in _inside(value):
        for key in _REFERENCES:
            held = inner.get(key)
            if isinstance(held, str) and (key != "source" or "destination" in inner):  # a threat's source is words
                yield held
            elif isinstance(held, list):
                yield from (item for item in held if isinstance(item, str))


def _inside(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _inside(inner)


def test_the_schema_can_fail() -> None:
    data = json.loads(tmbom.render([cases.full()]))
    for change in (
        {"specFormat": "SPDX"},
        {"bomFormat": "CycloneDX"},
        {"serialNumber": "x"},
        {"threats": {"threats": [{"name": "x"}]}},
    ):
        assert list(VALID.iter_errors(data | change))


@pytest.mark.parametrize("path", cases.EXAMPLES)
def test_every_example_is_valid(path: str) -> None:
    a = cases.example(path)
    data = document(a)
    assert len(data["threats"]["scenarios"]) == len(a.findings)
    assert len(data["components"]) == len(a.system.components)
    assert len(data["blueprints"][0]["flows"]) == len(a.system.flows)
    asking = sum(f.status is Status.QUESTION for f in a.findings)
    assert len(data["risks"]["risks"]) == len(a.findings) - asking


def test_it_says_that_it_is_experimental() -> None:
    held = {p["name"]: p["value"] for p in document(cases.full())["metadata"]["properties"]}
    assert held["casemate:experimental"].startswith("yes")
    assert held["casemate:written against"] == "CycloneDX/specification 1363cc6190404ebcd8d236c2e02a188823da18a4"


def test_known_answers() -> None:
    data = document(cases.full())
    threats = {t["bom-ref"]: t for t in data["threats"]["threats"]}
    threat = threats["rule/EV-02"]
    assert threat["name"] == "Score-based black-box evasion"
    assert threat["weaknesses"] == [{"cweId": 1039}]
    assert threat["categories"] == [{"taxonomy": "STRIDE", "category": "tampering"}]
    assert "atlas/AML.T0043.001" in threat["attackPatterns"]
    pattern = next(p for p in data["threats"]["attackPatterns"] if p["bom-ref"] == "atlas/AML.T0043.001")
    assert pattern["techniques"] == [{"id": "AML.T0043.001", "name": "Black-Box Optimization", "tactic": "ai-attack-staging"}]
    risks = {r["name"]: r for r in data["risks"]["risks"]}
    assert risks["A threat at part0"]["inherentRisk"]["impact"] == {"level": "major", "score": 3}
    assert risks["A threat at part0"]["inherentRisk"]["score"]["level"] == "high"
    prior = risks["A threat at gate"]["inherentRisk"]
    assert prior["score"]["level"] == "critical"
    assert "cost basis: prior" in prior["rationale"] and "100 to 5000 EUR" in prior["rationale"]
    path = data["threats"]["attackPaths"][0]
    assert [step["destination"] for step in path["steps"][:2]] == ["s1/component/gate", "s1/component/api"]
    assert "read_weights on api" in path["steps"][0]["description"]
    assert path["actor"] == "s1/party/customer"
    flow = next(f for f in data["blueprints"][0]["flows"] if f["type"] == "data")
    assert flow["encrypted"] is True and flow["protocols"] == ["https"]
    (declared,) = [c for c in data["controls"] if c["bom-ref"].startswith("s1/declared")]
    assert declared["status"] == "implemented" and declared["appliesTo"] == ["s1/component/api"]


@pytest.mark.parametrize(
    ("decision", "state", "status", "strategy"),
    [
        ("accept", "active", "accepted", "accept"), ("accept", "expired", "assessed", "accept"), ("transfer", "active", "transferred", "transfer"),
        ("fix", "active", "assessed", "reduce"), ("avoid", "active", "assessed", "avoid"), ("false_positive", "active", "retired", None),
    ],
)  # fmt: skip
def test_a_decision_is_a_response(decision: str, state: str, status: str, strategy: str | None) -> None:
    (risk,) = document(cases.assessment(cases.finding(Status.BROKEN, disposed=cases.disposed(decision, state))))["risks"]["risks"]
    assert risk["status"] == status
    assert [r["strategy"] for r in risk.get("responses", ())] == ([strategy] if strategy else [])
    assert risk["owner"]["organization"]["name"] == "risk team"
    assert [r.get("targetDate") for r in risk.get("responses", ())] == (
        ["2026-05-30T00:00:00Z"] if decision == "fix" else [None] * bool(strategy)
    )


def test_several_systems_in_one_document_keep_apart() -> None:
    data = document(*(cases.example(path) for path in cases.EXAMPLES))
    assert len(data["blueprints"]) == len(cases.EXAMPLES)
    assert tmbom.render([cases.full()]) == tmbom.render([cases.full()])


@pytest.mark.parametrize("text", cases.HOSTILE, ids=range(len(cases.HOSTILE)))
def test_hostile_names(text: str) -> None:
    document(cases.hostile(text))
    assert tmbom.render([cases.hostile(text)]).isascii()


def test_nothing_at_all() -> None:
    assert document()["threats"]["threats"] == []
    assert document(Assessment(name="", path="", system=None, findings=()))["components"] == []
