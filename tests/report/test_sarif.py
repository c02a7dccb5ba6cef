"""SARIF: valid, complete, stable from run to run, and without a folder of this machine."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import UsageError
from casemate.core.evidence import Status
from casemate.core.finding import Assessment, Finding
from casemate.report import as_json, sarif
from casemate.report.machine import fingerprint
from casemate.threats.rules import catalogue
from casemate.threats.taxonomy import entries

from . import machine_cases as cases

SCHEMA = json.loads((cases.HERE / "tests/schemas/sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
VALID = jsonschema.Draft4Validator(SCHEMA)


def log(*assessments: Assessment, **options: Any) -> dict[str, Any]:
    """The log, once it is known to be valid and consistent in what a schema cannot say."""
    data = json.loads(sarif.render(assessments, **options))
    check(data)
    return data


def check(data: dict[str, Any]) -> None:
    assert [e.message for e in VALID.iter_errors(data)] == []
    for run in data["runs"]:
        rules, taxonomies = run["tool"]["driver"]["rules"], run["taxonomies"]
        for result in run["results"]:
            assert (result["level"] == "none") == (result["kind"] != "fail")
            if result.get("baselineState") != "absent":
                assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
            for taxon in result.get("taxa", ()):
                component = taxonomies[taxon["toolComponent"]["index"]]
                assert component["name"] == taxon["toolComponent"]["name"]
                assert component["taxa"][taxon["index"]]["id"] == taxon["id"]
            for where in result.get("locations", ()):
                address = where.get("physicalLocation", {}).get("artifactLocation", {})
                assert not re.match(r"/|\w+:|\.\.", address.get("uri", "")), address
                assert address.get("uriBaseId", "%SRCROOT%") in run["originalUriBaseIds"]
        # The format asks for both or neither of all results of a run.
        for key in ("suppressions", "baselineState"):
            assert len({key in result for result in run["results"]}) <= 1
        assert all("uri" not in base for base in run["originalUriBaseIds"].values())


def results(data: dict[str, Any], run: int = 0) -> dict[str, dict[str, Any]]:
    return {r["properties"]["threat"]: r for r in data["runs"][run]["results"]}


def test_the_checks_can_fail() -> None:
    data = json.loads(sarif.render([cases.full()]))
    data["runs"][0]["results"][0]["kind"] = "maybe"
    with pytest.raises(AssertionError):
        check(data)
    data = json.loads(sarif.render([cases.full()]))
    del data["runs"][0]["results"][0]["suppressions"]
    with pytest.raises(AssertionError):
        check(data)


@pytest.mark.parametrize("path", cases.EXAMPLES)
def test_every_example_is_valid(path: str) -> None:
    a = cases.example(path)
    data = log(a)
    assert len(data["runs"][0]["results"]) == len(a.findings) > 0
    assert {r["kind"] for r in data["runs"][0]["results"]} <= {"open", "review"}
    rules = {rule.id: rule for rule in catalogue()}
    for written in data["runs"][0]["tool"]["driver"]["rules"]:
        assert written["shortDescription"]["text"] == rules[written["id"]].title
        assert "{" not in written["fullDescription"]["text"]
        assert "security-severity" not in written["properties"], "nothing was broken"


def test_several_systems_are_runs_with_ids_of_their_own() -> None:
    same = cases.example(cases.EXAMPLES[1])
    data = log(same, cases.example(cases.EXAMPLES[2]), same)
    ids = [run["automationDetails"]["id"] for run in data["runs"]]
    assert ids == ["casemate/cheques-server/", "casemate/cheques-scores/", "casemate/cheques-server-2/"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.BROKEN, "fail"), (Status.UNTESTED, "open"), (Status.QUESTION, "review"), (Status.RESISTED, "pass"),
        (Status.MITIGATED, "pass"), (Status.CERTIFIED, "pass"), (Status.NOT_APPLICABLE, "notApplicable"),
        (Status.INCONCLUSIVE, "open"), (Status.ERROR, "review"), (Status.CLAIMED, "open"), (Status.STALE, "open"),
    ],
)  # fmt: skip
def test_a_status_has_its_kind(status: Status, kind: str) -> None:
    (result,) = log(cases.assessment(cases.finding(status)))["runs"][0]["results"]
    assert result["kind"] == kind
    assert result["properties"]["status"] == status


@pytest.mark.parametrize(
    ("severity", "level", "rank", "security"),
    [
        ("critical", "error", 100, "9.5"),
        ("high", "error", 75, "8.0"),
        ("medium", "warning", 50, "5.5"),
        ("low", "note", 25, "2.0"),
    ],
)
def test_a_severity_has_its_level(severity: str, level: str, rank: float, security: str) -> None:
    data = log(cases.assessment(cases.finding(Status.BROKEN, severity=severity), cases.finding(Status.UNTESTED, element="gate")))
    result = data["runs"][0]["results"][0]
    assert (result["level"], result["rank"]) == (level, rank)
    assert data["runs"][0]["tool"]["driver"]["rules"][0]["properties"]["security-severity"] == security


def test_a_rule_has_the_worst_severity_of_what_broke() -> None:
    low, high = (cases.finding(Status.BROKEN, element=e, severity=s) for e, s in (("gate", "low"), ("api", "critical")))
    (rule,) = log(cases.assessment(low, high))["runs"][0]["tool"]["driver"]["rules"]
    assert rule["properties"]["security-severity"] == "9.5"


def test_everything_at_once() -> None:
    data = log(cases.full())
    run, found = data["runs"][0], results(data)
    assert run["invocations"][0]["executionSuccessful"] is False
    assert any("part4" in n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"])
    assert run["invocations"][0]["toolConfigurationNotifications"][0]["message"]["text"] == "a rule without a technique"
    prior = found["SY-01@gate#supplier@gate"]["properties"]
    assert (prior["basis"], prior["severity"]) == ("prior", "critical")
    assert prior["cost"] == {"low": 100.0, "high": 5000.0, "currency": "EUR", "queries": None}
    broken = found["EV-01@api#customer"]
    assert re.fullmatch(r"E[0-9a-f]{10}", broken["properties"]["evidence"][0])
    assert broken["properties"]["evidence"][0] in broken["message"]["text"]
    assert broken["locations"][0]["physicalLocation"]["region"]["startLine"] == 7
    assert broken["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "shop.api", "kind": "server", "name": "api"}]
    (flow,) = broken["codeFlows"]
    assert [step["executionOrder"] for step in flow["threadFlows"][0]["locations"]] == [1, 2]


def test_mappings_are_those_of_the_catalogue() -> None:
    (result,) = log(cases.assessment(cases.finding(Status.UNTESTED)))["runs"][0]["results"]
    rule = next(rule for rule in catalogue() if rule.id == "EV-02")
    assert [t["id"] for t in result["taxa"]] == [r.id for r in rule.mappings]
    run = log(cases.example(cases.EXAMPLES[0]))["runs"][0]
    kinds = {
        "MITRE ATLAS": "atlas",
        "CWE": "cwe",
        "NIST AI 100-2": "nist",
        "OWASP ML Top 10": "owasp_ml",
        "OWASP AI Exchange": "aiexchange",
    }
    for component in run["taxonomies"]:
        release, names = entries(kinds[component["name"]])
        assert component["version"] == release
        for taxon in component["taxa"]:
            assert taxon["name"].split(": ")[-1] == names[taxon["id"]].split(": ")[-1]


def test_a_rule_says_what_helps() -> None:
    (rule,) = log(cases.assessment(cases.finding(Status.UNTESTED)))["runs"][0]["tool"]["driver"]["rules"]
    known = next(rule for rule in catalogue() if rule.id == "EV-02")
    assert known.mitigations and known.advice
    assert all(f"`{id}`" in rule["help"]["markdown"] and id in rule["help"]["text"] for id in known.mitigations)
    assert all(advice.do.rstrip(".") in rule["help"]["text"] for advice in known.advice)
    assert rule["properties"]["stride"] == "tampering" and "external/cwe/cwe-1039" in rule["properties"]["tags"]


def test_a_rule_that_is_not_in_the_catalogue_is_read_from_the_finding() -> None:
    mine = cases.finding(
        Status.UNTESTED,
        "ACME-01",
        title="Mine",
        mappings={"atlas": ["AML.T0015 Evade AI Model (5.6.0; nearest, no technique fits exactly)"]},
    )
    run = log(cases.assessment(mine))["runs"][0]
    assert run["tool"]["driver"]["rules"][0]["shortDescription"]["text"] == "Mine"
    assert (run["taxonomies"][0]["version"], run["taxonomies"][0]["taxa"][0]["name"]) == ("5.6.0", "Evade AI Model")
    assert run["results"][0]["taxa"][0]["properties"] == {"fit": "nearest"}


@pytest.mark.parametrize("decision", ["accept", "transfer", "avoid", "false_positive"])
@pytest.mark.parametrize(("state", "status"), [("active", "accepted"), ("expired", "underReview"), ("violated", "rejected")])
def test_a_decision_is_a_suppression(decision: str, state: str, status: str) -> None:
    held = cases.finding(Status.BROKEN, disposed=cases.disposed(decision, state))
    a, b = log(cases.assessment(held, cases.finding(Status.UNTESTED, "EV-01")))["runs"][0]["results"]
    (suppression,) = a["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", status)
    for part in ("the loss is insured", "owner: risk team", "expires: 2026-05-30"):
        assert part in suppression["justification"]
    assert ("too long ago" in suppression["justification"]) == (state != "active")
    assert suppression["location"]["physicalLocation"]["region"]["startLine"] == 4
    assert b["suppressions"] == []


def test_a_fix_is_no_suppression() -> None:
    held = cases.finding(Status.BROKEN, disposed=cases.disposed("fix"))
    (result,) = log(cases.assessment(held))["runs"][0]["results"]
    assert result["suppressions"] == []
    assert result["properties"]["disposition"] == "fix (active)"


def test_alerts_are_what_is_broken_and_not_accepted() -> None:
    data = json.loads(sarif.render_alerts([cases.full()]))
    check(data)
    left = data["runs"][0]["results"]
    assert {r["kind"] for r in left} == {"fail"}
    # One broken of each status, the chain's, `fix` in three states, and four decisions in the two states that do not stand.
    assert len(left) == 1 + 1 + 3 + 4 * 2


def test_fingerprints_hold_when_lines_files_and_wording_move() -> None:
    a = cases.finding(Status.UNTESTED)
    moved = replace(
        a, line=99, file="elsewhere/other.yaml", title="Another", explanation="x", status=Status.BROKEN, severity="low"
    )
    (one,), (two,) = (log(cases.assessment(f))["runs"][0]["results"] for f in (a, moved))
    assert one["partialFingerprints"] == two["partialFingerprints"]
    (other,) = log(cases.assessment(a, name="another"))["runs"][0]["results"]
    (principal,) = log(cases.assessment(replace(a, threat="EV-02@api#partner")))["runs"][0]["results"]
    marks = {r["partialFingerprints"]["casemate/v1"] for r in (one, other, principal)}
    assert len(marks) == 3
    assert fingerprint("shop", "EV-02@api#customer") == "9a6dcc2e44e71755f204b6f5dbeb75f5"


def test_the_same_bytes_twice() -> None:
    assert sarif.render([cases.full()]) == sarif.render([cases.full()])


@pytest.mark.parametrize("kind", ["sarif", "json", "file"])
def test_against_a_baseline(kind: str, tmp_path: Path) -> None:
    same, worse, gone, new = (cases.finding(Status.UNTESTED, rule) for rule in ("EV-01", "EV-02", "EV-03", "EV-04"))
    before = cases.assessment(same, worse, gone)
    text = as_json.render([before]) if kind == "json" else sarif.render([before])
    (tmp_path / "old.sarif").write_text(text)
    base = tmp_path / "old.sarif" if kind == "file" else json.loads(text)
    data = log(cases.assessment(same, replace(worse, status=Status.BROKEN, severity="high"), new), baseline=base)
    states = {threat[:5]: r["baselineState"] for threat, r in results(data).items()}
    assert states == {"EV-01": "unchanged", "EV-02": "updated", "EV-03": "absent", "EV-04": "new"}
    absent = next(r for r in data["runs"][0]["results"] if r["baselineState"] == "absent")
    assert absent["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "shop.api"
    assert absent["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "shop/system.yaml"
    again = log(cases.assessment(same), baseline=data)
    assert "EV-03" not in {threat[:5] for threat in results(again)}, "what was absent then is not missed again"


def test_another_system_in_the_baseline_is_not_missed() -> None:
    base = json.loads(sarif.render([cases.assessment(cases.finding(Status.UNTESTED), name="another")]))
    states = [
        r["baselineState"] for r in log(cases.assessment(cases.finding(Status.UNTESTED)), baseline=base)["runs"][0]["results"]
    ]
    assert states == ["new"]


def test_a_renamed_rule_is_the_same_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = replace(next(rule for rule in catalogue() if rule.id == "EV-02"), deprecated_ids=("OLD-07",))
    old = json.loads(sarif.render([cases.assessment(cases.finding(Status.UNTESTED, "OLD-07"))]))
    monkeypatch.setattr(sarif, "rules_of", lambda _: {"EV-02": renamed})
    data = log(cases.assessment(cases.finding(Status.UNTESTED, "EV-02")), baseline=old)
    assert [r["baselineState"] for r in data["runs"][0]["results"]] == ["unchanged"]
    assert data["runs"][0]["tool"]["driver"]["rules"][0]["deprecatedIds"] == ["OLD-07"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": "2.1.0", "runs": [3]}', '{"format": "casemate.report/1"}'])
def test_what_is_no_baseline_is_one_clear_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(text)
    with pytest.raises(UsageError, match="hand in a report"):
        sarif.render([cases.full()], baseline=tmp_path / "old.json")
    with pytest.raises(UsageError, match="cannot be read"):
        sarif.render([cases.full()], baseline=tmp_path / "missing.json")


def test_no_folder_of_this_machine_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def where(file: str, folder: str = "") -> dict[str, Any]:
        a = cases.assessment(cases.finding(Status.UNTESTED, file=file, reason=f"cannot read {tmp_path}/secret/model.pkl"))
        data = log(
            replace(
                a,
                system=replace(a.system, folder=folder),
                path=f"{tmp_path}/secret/system.yaml",
                conflicts=(str(tmp_path / "x"),),
            )
        )
        assert str(tmp_path) not in json.dumps(data)
        assert "secret" not in json.dumps(data)
        return data["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert where(f"{work}/a b/sys%.yaml") == {"uri": "a%20b/sys%25.yaml", "uriBaseId": "%SRCROOT%"}
    assert where("a/../b/system.yaml") == {"uri": "b/system.yaml", "uriBaseId": "%SRCROOT%"}
    assert where("../other/system.yaml", "../other") == {"uri": "system.yaml", "uriBaseId": "%DESCRIPTION%"}
    assert where(f"{tmp_path}/secret/system.yaml") == {"uri": "system.yaml", "uriBaseId": "%DESCRIPTION%"}
    os.chdir("/")
    assert where(f"{tmp_path}/secret/system.yaml") == {"uri": "system.yaml", "uriBaseId": "%DESCRIPTION%"}


def test_a_question_points_at_its_component() -> None:
    a = cases.example(next(path for path in cases.EXAMPLES if "attachments" in str(path)))
    asking = [f for f in a.findings if f.status is Status.QUESTION]
    assert asking
    found = results(log(a))
    for f in asking:
        at = found[f.threat]["locations"][0]["physicalLocation"]
        lines = (cases.HERE / at["artifactLocation"]["uri"]).read_text().splitlines()
        assert f.element in lines[at["region"]["startLine"] - 1]


@pytest.mark.parametrize("text", cases.HOSTILE, ids=range(len(cases.HOSTILE)))
def test_hostile_names(text: str) -> None:
    data = log(cases.hostile(text))
    assert all(ord(c) < 127 for c in sarif.render([cases.hostile(text)]))
    _harmless(data)
    check(json.loads(sarif.render_alerts([cases.hostile(text)])))


def _harmless(value: Any) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _harmless(key)
            _harmless(inner)
    elif isinstance(value, list):
        for inner in value:
            _harmless(inner)
    elif isinstance(value, str):
        assert not [c for c in value if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"]


def test_a_name_is_neither_a_link_nor_a_placeholder() -> None:
    (result,) = log(cases.assessment(cases.finding(Status.UNTESTED, title="[x](javascript:1) {0}")))["runs"][0]["results"]
    assert "](" not in result["message"]["text"]
    assert "{{0}}" in result["message"]["text"]


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_valid(text: str) -> None:
    _harmless(log(cases.hostile(text)))


def test_nothing_at_all() -> None:
    assert log()["runs"] == []
    assert log(cases.assessment())["runs"][0]["results"] == []
    assert (
        log(Assessment(name="", path="", system=None, findings=(Finding(**_bare()),)))["runs"][0]["results"][0]["ruleId"]
        == "X-01"
    )


def _bare() -> dict[str, Any]:
    return {
        "threat": "X-01@y", "rule": "X-01", "title": "T", "element": "y", "principal": "", "explanation": "", "impact": 0,
        "status": Status.UNTESTED,
    }  # fmt: skip
