"""The ATLAS layer: valid, true to the shipped release, and honest about what no technique fits."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from casemate.core.evidence import Status
from casemate.core.finding import Assessment
from casemate.report import navigator
from casemate.threats.rules import catalogue
from casemate.threats.taxonomy import FILES, FOLDER

from . import machine_cases as cases

SCHEMA = json.loads((cases.HERE / "tests/schemas/navigator-layer-4.3.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft202012Validator(SCHEMA)
ATLAS = json.loads((FOLDER / FILES["atlas"]).read_text(encoding="utf-8"))


def layer(*assessments: Assessment) -> dict[str, Any]:
    data = json.loads(navigator.render(assessments))
    assert [e.message for e in VALID.iter_errors(data)] == []
    pairs = [(t["techniqueID"], t.get("tactic")) for t in data["techniques"]]
    assert len(pairs) == len(set(pairs)), "a technique is said twice under one tactic"
    return data


def test_the_schema_can_fail() -> None:
    data = json.loads(navigator.render([cases.full()]))
    for broken in ({**data, "domain": "enterprise-attack"}, {**data, "techniques": [{"techniqueID": "T1"}]}, {**data, "more": 1}):
        assert list(VALID.iter_errors(broken))


@pytest.mark.parametrize("path", cases.EXAMPLES)
def test_every_example_is_valid_and_true_to_the_release(path: str) -> None:
    a = cases.example(path)
    data = layer(a)
    techniques = {t["id"]: t for t in ATLAS["techniques"]}
    slugs = {t["id"]: t["name"].lower().replace(" ", "-") for t in ATLAS["tactics"]}
    for entry in data["techniques"]:
        known = techniques[entry["techniqueID"]]
        if "tactic" in entry:
            assert entry["tactic"] in {slugs[tactic] for tactic in known["tactics"]}
        for row in entry.get("metadata", ()):
            if row["name"] == "technique":
                assert row["value"].split(": ")[-1] == known["name"]
    # Every technique that the catalogue cites for what was derived is there, under each of its tactics.
    rules = {rule.id: rule for rule in catalogue()}
    cited = {r.id for f in a.findings for r in rules[f.rule].mappings if r.taxonomy == "atlas"}
    assert cited == {t["techniqueID"] for t in data["techniques"] if "score" in t}
    for id in cited:
        if not techniques[id]["parent"]:
            under = {t["tactic"] for t in data["techniques"] if t["techniqueID"] == id}
            assert under == {slugs[tactic] for tactic in techniques[id]["tactics"]}
        else:
            opened = [t for t in data["techniques"] if t["techniqueID"] == techniques[id]["parent"]]
            assert opened and all(t["showSubtechniques"] for t in opened)
    assert {"name": "atlas_data_version", "value": "5.6.0"} in data["metadata"]
    assert "5.6.0" in data["description"]


def test_a_technique_has_its_worst_status_and_its_threats() -> None:
    data = layer(cases.assessment(cases.finding(Status.RESISTED, "EV-02"), cases.finding(Status.BROKEN, "EV-01")))
    by_id = {t["techniqueID"]: t for t in data["techniques"] if "score" in t}
    assert by_id["AML.T0015"]["score"] == 100  # cited by both
    assert by_id["AML.T0015"]["comment"].splitlines() == [
        "shop: EV-02@api#customer resisted within budget",
        "shop: EV-01@api#customer broken, high",
    ]
    assert by_id["AML.T0043.001"]["score"] == 10
    assert by_id["AML.T0043.000"]["score"] == 100
    assert by_id["AML.T0015"]["color"] != by_id["AML.T0043.001"]["color"]
    assert [item["label"] for item in data["legendItems"]] == ["broken", "resisted within budget"]


def test_what_no_technique_fits_is_named() -> None:
    unfit = cases.finding(Status.UNTESTED, "SY-07", mappings={})  # its rule says so, by an empty list
    mine = cases.finding(Status.UNTESTED, "ACME-01", mappings={"nist": ["NISTAML.022 Evasion (AI 100-2e2025)"]})
    data = layer(cases.assessment(unfit, mine, cases.finding(Status.UNTESTED)))
    assert "No technique fits: SY-07@api#customer. No mapping is stated: ACME-01@api#customer." in data["description"]
    assert {"name": "no technique fits", "value": "SY-07@api#customer"} in data["metadata"]
    assert {"name": "no mapping is stated", "value": "ACME-01@api#customer"} in data["metadata"]
    assert "No technique fits" not in layer(cases.assessment(cases.finding(Status.UNTESTED)))["description"]


def test_a_nearest_technique_is_said_to_be_no_fit() -> None:
    mine = cases.finding(
        Status.UNTESTED, "ACME-01", mappings={"atlas": ["AML.T0015 Evade AI Model (5.6.0; nearest, no technique fits exactly)"]}
    )
    (entry,) = {t["comment"] for t in layer(cases.assessment(mine))["techniques"] if "comment" in t}
    assert entry.endswith("nearest, no technique fits exactly")


def test_a_technique_of_another_release_is_there_and_said_to_be_unknown() -> None:
    mine = cases.finding(Status.UNTESTED, "ACME-01", mappings={"atlas": ["AML.T9999 New (2027.01)"]})
    (entry,) = layer(cases.assessment(mine))["techniques"]
    assert entry["metadata"][0]["value"] == "not in the shipped release: New"


def test_systems_share_one_layer() -> None:
    data = layer(*(cases.example(path) for path in cases.EXAMPLES[1:3]))
    assert data["name"] == "casemate: cheques-server, cheques-scores"
    assert {line.split(": ")[0] for t in data["techniques"] for line in t.get("comment", "").splitlines()} == {
        "cheques-server", "cheques-scores",
    }  # fmt: skip


@pytest.mark.parametrize("text", cases.HOSTILE, ids=range(len(cases.HOSTILE)))
def test_hostile_names(text: str) -> None:
    layer(cases.hostile(text))
    assert navigator.render([cases.hostile(text)]).isascii()
    assert "\\u001b" not in navigator.render([cases.hostile(text)])


def test_everything_and_nothing() -> None:
    assert {t.get("score") for t in layer(cases.full())["techniques"]} >= {100}
    assert layer()["techniques"] == []
