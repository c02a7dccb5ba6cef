"""What users of pytm, Threagile and Threat Dragon complained about, and our answer to each, by the real commands.

Each test is named after the issue it answers.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from casemate.app import main as app
from casemate.report.write import FORMATS
from casemate.threats.derive import derive
from casemate.threats.load import load
from casemate.threats.rules import CATALOGUE, catalogue

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "tests" / "imports" / "documents"
TODAY = "2026-06-01"

SHOP = """\
casemate: 1
system: {name: shop, task: binary, modality: tabular, decision: {automated: yes, reversible: yes, human_review: none}}
zones: [{id: outside, trust: public}, {id: inside, trust: prod}]
principals: [{id: customer, kind: customer, zone: outside}]
assets: [{id: verdict, kind: decision, value: {I: 3}}]
components:
  - {id: fraud, kind: server, zone: inside, holds: [verdict], model: {output: score}, endpoint: {auth: key, rate_limit: none}}
  - {id: rooms, kind: server, zone: inside, holds: [verdict], model: {output: score}, endpoint: {auth: key, rate_limit: none}}
flows:
  - {from: customer, to: fraud, channel: https}
access:
  - {principal: customer, on: fraud, can: [query, see_score]}
  - {principal: customer, on: rooms, can: [query, see_score]}
"""
OVERRIDE = """\
casemate: 1
dispositions:
  - {threat: EV-02@rooms#customer, decision: false_positive, reason: rooms only sorts pictures, owner: ann@example.org,
     made: 2026-05-01, expires: 2026-09-01}
"""
PACK = """\
id: ACME-01
title: Customers see scores
each: endpoint
applies_when:
  all:
    - {path: $p.kind, is: customer}
    - {sees: score, who: $p, on: $c}
explain: "{p} sees scores of {c}."
fixtures:
  fires:
    expect: ACME-01@api#eve
    given: {components: [{id: api, model: {output: score}}], access: [{principal: eve, on: api, can: [query, see_score]}]}
  silent:
    given: {components: [{id: api, model: {output: label}}], access: [{principal: eve, on: api, can: [query, see_score]}]}
  asks:
    expect: "access(eve, api): see_score"
    given: {components: [{id: api, model: {output: score}}], access: [{principal: eve, on: api, can: [query], unsure: [see_score]}]}
"""


@dataclass(frozen=True)
class Ran:
    """What a command did: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture
def casemate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line, in a folder of its own that holds the shop as system.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system.yaml").write_text(SHOP)

    def run(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["casemate", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            app.main()
        text = capsys.readouterr()
        assert "Traceback" not in text.out + text.err
        assert isinstance(end.value.code, int)
        return Ran(end.value.code, text.out, text.err)

    return run


def findings(ran: Ran, status: str = "") -> dict[str, dict[str, Any]]:
    """The findings of all systems by threat id; of one status, or all."""
    listed = [f for a in ran.json["assessments"] for f in a["findings"]]
    return {f["threat"]: f for f in listed if f["status"] == status or not status}


def test_pytm_244_irrelevant_threats_do_not_flood_and_one_element_can_be_excluded(casemate: Command) -> None:
    """Threats that do not apply flood the list, and none can be excluded for one element.

    https://github.com/OWASP/pytm/issues/244, https://github.com/OWASP/pytm/issues/261
    """
    alone = findings(casemate("threats", "system.yaml", "--json"))
    fired = {id for id, found in alone.items() if found["status"] != "question"}
    assert fired == {f"{rule}@{at}#customer" for rule in ("AV-01", "EV-02", "EV-05") for at in ("fraud", "rooms")}
    said = casemate("threats", "system.yaml", "--why-not", "EV-08@rooms#customer")  # no camera, no sensor: and it says so
    assert "EV-08@rooms#customer: does not apply" in said.out and "control_sensor = no" in said.out
    Path("dispositions.yaml").write_text(OVERRIDE)
    decided = findings(casemate("threats", "system.yaml", "--json", "--today", TODAY))
    assert {id for id, found in decided.items() if found["disposed"]} == {"EV-02@rooms#customer"}
    assert decided["EV-02@rooms#customer"]["disposed"]["disposition"]["reason"] == "rooms only sorts pictures"


def test_pytm_244_what_was_excluded_passes_the_gate_and_its_twin_does_not(casemate: Command) -> None:
    """The same, where it counts: the build goes on for the element that was excluded, and for no other.

    https://github.com/OWASP/pytm/issues/244
    """
    Path("before.yaml").write_text(re.sub(r", can: \[query, see_score\]", ", can: [query]", SHOP))
    Path("dispositions.yaml").write_text(OVERRIDE)
    ran = casemate("gate", "system.yaml", "--baseline", "before.yaml", "--today", TODAY, "--json")
    named = {o["what"] for o in ran.json["objections"] if o["rule"] == "new_without_disposition"}
    assert ran.code == 1
    assert "EV-02@fraud#customer" in named and "EV-02@rooms#customer" not in named


def test_pytm_222_an_override_lives_outside_the_model_and_removes_nothing_from_the_picture(casemate: Command) -> None:
    """An override did not remove the finding, and ended up in the data-flow diagram.

    https://github.com/OWASP/pytm/issues/222
    """
    pictures = ("svg", "mermaid", "dot")
    casemate("threats", "system.yaml", "--out", "before", "--format", "sarif,svg,mermaid,dot", "--today", TODAY)
    Path("dispositions.yaml").write_text(OVERRIDE)
    casemate("threats", "system.yaml", "--out", "after", "--format", "sarif,svg,mermaid,dot", "--today", TODAY)
    for name in pictures:
        assert Path("before", FORMATS[name][0]).read_bytes() == Path("after", FORMATS[name][0]).read_bytes()
    assert Path("system.yaml").read_text() == SHOP
    results = json.loads(Path("after", "report.sarif").read_text())["runs"][0]["results"]
    suppressed = [r for r in results if r.get("suppressions")]
    assert [(r["ruleId"], r["suppressions"][0]["status"]) for r in suppressed] == [("EV-02", "accepted")]
    assert len(results) == len(json.loads(Path("before", "report.sarif").read_text())["runs"][0]["results"])


def test_pytm_222_an_override_that_fits_nothing_or_ended_is_told(casemate: Command) -> None:
    """The same, later: the threat an override was for is renamed, or the reason no longer holds.

    https://github.com/OWASP/pytm/issues/222
    """
    Path("dispositions.yaml").write_text(OVERRIDE.replace("@rooms#", "@room#"))
    ran = casemate("threats", "system.yaml", "--json", "--today", TODAY)
    told = [w for a in ran.json["assessments"] for w in a["warnings"]]
    (warning,) = [w for w in told if "no trainer" not in w]  # of the training of rooms nothing is said, and that is told too
    assert re.search(r"dispositions\.yaml:3: .*EV-02@room#customer fits no threat; nearest: .*EV-02@rooms#customer", warning)
    Path("dispositions.yaml").write_text(OVERRIDE)
    late = casemate("gate", "system.yaml", "--today", "2026-09-02", "--json")
    assert late.code == 1
    assert [o["what"] for o in late.json["objections"] if o["then"] == "fail"] == ["EV-02@rooms#customer"]


def test_pytm_152_applicability_and_mitigation_are_separate(casemate: Command) -> None:
    """One condition mixed whether a threat applies with whether something is done about it.

    https://github.com/OWASP/pytm/issues/152, https://github.com/OWASP/pytm/pull/178
    """
    bare = findings(casemate("threats", "system.yaml", "--json"))
    Path("system.yaml").write_text(SHOP + "controls: [{id: cap, type: service.query_budget, on: fraud, state: active}]\n")
    claimed = findings(casemate("threats", "system.yaml", "--json"))
    assert set(claimed) == set(bare)  # a control makes no threat inapplicable
    changed = {id for id in bare if bare[id]["status"] != claimed[id]["status"]}
    assert changed == {"AV-01@fraud#customer", "EV-02@fraud#customer", "EV-05@fraud#customer"}
    assert {claimed[id]["status"] for id in changed} == {"claimed"}  # nor resisted: nobody has attacked it
    assert {tuple(claimed[id]["claimed"]) for id in changed} == {("cap",)}
    assert casemate("threats", "system.yaml").code == 1
    for rule in catalogue():
        words = (CATALOGUE / f"{rule.id}.yaml").read_text(encoding="utf-8")
        condition = words.partition("applies_when:")[2].partition("\nexplain:")[0]
        assert rule.id == "EV-10" or not re.search(r"service\.|training\.adversarial|pipeline\.", condition)


def test_pytm_233_every_id_has_a_legend(casemate: Command) -> None:
    """Threat ids (INP01, AC03) stood in reports with nothing that said what they mean.

    https://github.com/OWASP/pytm/issues/233
    """
    page = (ROOT / "docs" / "reference" / "threats.md").read_text(encoding="utf-8")
    anchors = set(re.findall(r"^## (.+)$", page, flags=re.MULTILINE))
    linked = dict(re.findall(r"^\| \[([A-Z]+-\d+)\]\(#([a-z]+-\d+)\) \|", page, flags=re.MULTILINE))
    for rule in catalogue():
        assert rule.id in anchors and linked[rule.id] == rule.id.lower()
        section = page.partition(f"\n## {rule.id}\n")[2].partition("\n## ")[0]
        assert rule.title in section and rule.explain in section and rule.harm.text in section
    out = casemate("threats", "system.yaml", "--out", "out", "--format", "html,csv,sarif").out
    for text in (out, Path("out", "report.html").read_text(), Path("out", "threats.csv").read_text()):
        assert "EV-02@fraud#customer" in text and "Score-based black-box evasion" in text  # never an id alone
    driver = json.loads(Path("out", "report.sarif").read_text())["runs"][0]["tool"]["driver"]
    assert {"EV-02": "Score-based black-box evasion"}.items() <= {
        rule["id"]: rule["shortDescription"]["text"] for rule in driver["rules"]
    }.items()


def test_pytm_314_no_heavy_typing(casemate: Command) -> None:
    """Describing a system is much typing; a template to fill in was asked for.

    https://github.com/OWASP/pytm/pull/314
    """
    sources = [part for name in ("openapi.yaml", "README.md", "compose.yaml") for part in ("--from", DOCUMENTS / name)]
    ran = casemate("init", "typed.yaml", *sources, "--no-ask")
    assert ran.code == 0 and re.search(r"added: triton\.kind = server \(\S*compose\.yaml: line 14", ran.out)  # and where it says so
    system = load("typed.yaml")  # nothing was typed, and it is a whole description
    assert {"old-models", "triton", "mlflow"} <= {c.id for c in system.components}
    where = {path: system.fact(path).source for path in ("mlflow.kind", "old-models.endpoint.admin_exposed", "system.modality")}
    assert set(where.values()) == {"imported"}
    assert any(t.id == "SY-05@old-models" for t in derive(system).threats)
    again = casemate("init", "typed.yaml", *sources, "--no-ask")  # and going on with it loses nothing
    assert "added:" not in again.out and {c.id for c in load("typed.yaml").components} == {c.id for c in system.components}


def test_threagile_52_rules_are_data_with_tests(casemate: Command) -> None:
    """Rules were compiled into the binary; one's own needed a build, and few were tested.

    https://github.com/Threagile/threagile/issues/52
    """
    Path("acme.yaml").write_text(PACK)
    assert casemate("threats", "test", "acme.yaml") == Ran(0, "1 rules, 3 fixtures: all passed\n", "")
    listed = findings(casemate("threats", "system.yaml", "--rules", "acme.yaml", "--json"))
    assert {"ACME-01@fraud#customer", "ACME-01@rooms#customer"} <= set(listed)
    Path("acme.yaml").write_text(PACK.replace("{path: $p.kind, is: customer}", "{path: $p.kind, is: partner}"))
    broken = casemate("threats", "test", "acme.yaml")
    line = PACK[: PACK.index("  fires:")].count("\n") + 2
    assert broken.code == 1 and f"acme.yaml:{line}: ACME-01 fires: expected to fire as ACME-01@api#eve; got silence" in broken.out
    Path("acme.yaml").write_text(PACK.partition("fixtures:")[0])
    assert "has no fixture in which it asks" in casemate("threats", "test", "acme.yaml").out


def test_threagile_102_a_wrong_link_says_where_and_what_was_meant(casemate: Command) -> None:
    """A valid link was reported missing, by a message that did not say where.

    https://github.com/Threagile/threagile/issues/102
    """
    assert casemate("threats", "system.yaml").err == ""
    Path("system.yaml").write_text(SHOP.replace("to: fraud, channel: https", "to: fruad, channel: htps"))
    ran = casemate("threats", "system.yaml")
    line = SHOP[: SHOP.index("  - {from: customer")].count("\n") + 1
    assert ran.code == 2 and ran.out == ""
    assert f"system.yaml:{line}: customer->fruad.to: 'fruad' is not one of the components (did you mean 'fraud'?)" in ran.err
    assert re.search(rf"system\.yaml:{line}: \S*channel: .*'htps' \(did you mean https\?\)", ran.err)  # all at once


def test_threagile_102_a_link_to_what_another_file_defines_is_valid(casemate: Command) -> None:
    """The same, for what an overlay links to: the file it extends defines it.

    https://github.com/Threagile/threagile/issues/102
    """
    overlay = "extends: system.yaml\ncasemate: 1\nflows: [{from: customer, to: rooms, channel: https}]\n"
    Path("variant.yaml").write_text(overlay)
    assert {f.to for f in load("variant.yaml").flows} == {"fraud", "rooms"}
    Path("variant.yaml").write_text(overlay.replace("to: rooms", "to: room"))
    ran = casemate("threats", "variant.yaml")
    assert ran.code == 2 and re.search(r"variant\.yaml:3: .*'room' is not .*did you mean 'rooms'", ran.err)


def test_threagile_1007_a_long_title_aborts_no_report(casemate: Command) -> None:
    """A long title made the writer of the PDF fail, and no report came out at all.

    https://github.com/inno-devops-labs/DevSecOps-Intro/pull/1007
    """
    title = "Everything that can go wrong (and more) " * 40
    Path("acme.yaml").write_text(PACK.replace("Customers see scores", title.strip()))
    long = SHOP.replace("name: shop,", f"name: {'n' * 300}, description: {'d ' * 900},").replace("rooms", "r" * 90)
    Path("system.yaml").write_text(long)
    formats = [name for name in FORMATS if name != "parquet"]
    ran = casemate("threats", "system.yaml", "--rules", "acme.yaml", "--out", "out", "--format", ",".join(formats))
    assert (ran.code, ran.err) == (1, "")
    assert {path.name for path in Path("out").iterdir()} == {FORMATS[name][0] for name in formats}
    assert title.strip() in Path("out", "report.json").read_text()


def test_threagile_1031_one_report_that_fails_stops_no_other(casemate: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """One output that failed took all the others with it.

    https://github.com/inno-devops-labs/DevSecOps-Intro/pull/1031
    """

    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("the title is too long")

    monkeypatch.setitem(FORMATS, "html", ("report.html", broken))
    ran = casemate("threats", "system.yaml", "--out", "out", "--format", "html,json,sarif,csv,svg")
    assert ran.code == 2 and "html" in ran.err and "the title is too long" in ran.err
    written = {path.name for path in Path("out").iterdir()}
    assert written == {"report.json", "report.sarif", "threats.csv", "dataflow.svg"}
    assert json.loads(Path("out", "report.json").read_text())["assessments"]


def test_risk_diff_is_built_in(casemate: Command) -> None:
    """Everybody compared the risks of two versions by hand, with jq.

    https://github.com/inno-devops-labs/DevSecOps-Intro/pull/1007, https://github.com/inno-devops-labs/DevSecOps-Intro/pull/1031
    """
    Path("next.yaml").write_text(
        SHOP.replace("can: [query, see_score]}\n  - {principal: customer, on: rooms, can: [query, see_score]}",
                     "can: [query, see_label]}\n  - {principal: customer, on: rooms, can: [query, see_score]}")
    )  # fmt: skip
    ran = casemate("diff", "system.yaml", "next.yaml", "--json")
    (system,) = ran.json["systems"]
    changes = {c["threat"]: c["category"] for c in system["changes"]}
    assert changes["EV-02@fraud#customer"] == "fixed" and changes["EV-03@fraud#customer"] == "replaced"
    assert not any("rooms" in threat for threat in changes)
    assert "EV-02@rooms#customer" in system["unchanged"]
    assert ran.code == 0  # a harder way in place of an easier one
    assert casemate("diff", "next.yaml", "system.yaml").code == 1
    assert casemate("diff", "system.yaml", "system.yaml").code == 0
    casemate("diff", "system.yaml", "next.yaml", "--sarif", "next.sarif")
    results = json.loads(Path("next.sarif").read_text())["runs"][0]["results"]
    states = {(r["ruleId"], r["baselineState"]) for r in results if r["ruleId"] in ("EV-02", "EV-03")}
    assert {("EV-02", "absent"), ("EV-02", "unchanged"), ("EV-03", "new")} <= states


def test_dragon_691_a_report_is_one_command_and_exports_agree(casemate: Command) -> None:
    """A report meant copying by hand, and there was nothing that other tools could read.

    https://github.com/OWASP/threat-dragon/issues/691, https://github.com/OWASP/threat-dragon-core/issues/76
    """
    listed = findings(casemate("threats", "system.yaml", "--json", "--out", "out", "--format", "html,json,md,csv,sarif,tmbom"))
    rows = list(csv.DictReader(io.StringIO(Path("out", "threats.csv").read_text(encoding="utf-8-sig"))))
    assert {row["threat"] for row in rows} == set(listed)
    assert all(row["file"] == "system.yaml" and int(row["line"]) in (7, 8) for row in rows)
    run = json.loads(Path("out", "report.sarif").read_text())["runs"][0]
    assert sorted(r["ruleId"] for r in run["results"]) == sorted(id.partition("@")[0] for id in listed)
    bom = Path("out", "threats.cdx.json").read_text()
    assert all(f"{id}" in bom for id, found in listed.items() if found["status"] != "question")
    assert "EV-02@fraud#customer" in Path("out", "report.html").read_text() and Path("out", "report.md").stat().st_size > 500


def test_dragon_220_a_library_of_threats_serves_many_models(casemate: Command) -> None:
    """Threats that are the same everywhere had to be entered into every model again.

    https://github.com/OWASP/threat-dragon/issues/220
    """
    Path("library").mkdir()
    Path("library", "acme.yaml").write_text(PACK)
    for name in ("one", "two"):  # two descriptions that name it, and share their body
        Path(f"{name}.yaml").write_text(f"extends: system.yaml\ncasemate: 1\nsystem: {{name: {name}, rules: [library]}}\n")
    ran = casemate("threats", "one.yaml", "two.yaml", "--json")
    by_system = {a["name"]: {f["threat"] for f in a["findings"]} for a in ran.json["assessments"]}
    assert set(by_system) == {"one", "two"}
    assert all("ACME-01@fraud#customer" in threats for threats in by_system.values())
    assert "ACME-01@fraud#customer" not in findings(casemate("threats", "system.yaml", "--json"))


def cites(citation: str) -> str:
    """The pack with one citation of ATLAS."""
    return PACK.replace("fixtures:", f"mappings:\n  atlas:\n    - {citation}\nfixtures:")


@pytest.mark.parametrize(
    ("id", "name", "told"),
    [
        ("AML.T0015", "Poison Training Data", "AML.T0015 is called 'Evade AI Model'"),  # the name of another
        ("AML.T9999", "Evade AI Model", "AML.T9999 is not in release 5.6.0"),
    ],
)
def test_crosswalk_93_ids_are_checked_by_id_and_name(casemate: Command, id: str, name: str, told: str) -> None:
    """81 of 117 rows of a public table put an id beside the name of another technique; looking at ids alone found none.

    https://github.com/GenAI-Security-Project/crosswalk/issues/93, https://github.com/cosai-oasis/ws2-defenders/issues/137
    """
    Path("acme.yaml").write_text(cites('{id: "AML.T0015", name: "Evade AI Model", release: "5.6.0"}'))
    assert casemate("taxonomy", "check", "acme.yaml").code == 0
    Path("acme.yaml").write_text(cites(f'{{id: "{id}", name: "{name}", release: "5.6.0"}}'))
    ran = casemate("taxonomy", "check", "acme.yaml")
    line = next(n for n, text in enumerate(Path("acme.yaml").read_text().splitlines(), 1) if id in text)
    assert ran.code == 1 and told in ran.out and f"acme.yaml:{line}" in ran.out


def test_agent_threat_rules_543_a_name_with_a_colon_is_no_mapping(casemate: Command) -> None:
    """An unquoted name with a colon was read as a mapping, and nobody noticed.

    https://github.com/Agent-Threat-Rule/agent-threat-rules/pull/543
    """
    Path("acme.yaml").write_text(cites('id: "AML.T0015"\n      release: "5.6.0"\n      name:\n        Evade: AI Model'))
    ran = casemate("taxonomy", "check", "acme.yaml")
    assert ran.code == 2 and re.search(r"acme\.yaml:\d+: atlas\.name: expected a text; got \{'Evade': 'AI Model'\} \(quote it\)", ran.err)


def test_navigator_data_2_nothing_hangs_on_ids_that_change_with_each_export(casemate: Command) -> None:
    """The UUIDs of ATLAS in STIX changed between releases, and broke whoever had keyed on them.

    https://github.com/mitre-atlas/atlas-navigator-data/issues/2
    """
    casemate("threats", "system.yaml", "--out", "out", "--format", "navigator,sarif")
    uuid = re.compile(r"(attack-pattern|x-mitre)[a-z-]*--[0-9a-f]{8}")
    layer = Path("out", "atlas-layer.json").read_text()
    assert json.loads(layer)["techniques"]
    assert all(re.fullmatch(r"AML\.T\d{4}(\.\d{3})?", t["techniqueID"]) for t in json.loads(layer)["techniques"])
    assert not uuid.search(layer) and not uuid.search(Path("out", "report.sarif").read_text())


def test_pytm_defaults_what_is_not_stated_is_asked_and_no_weakness(casemate: Command) -> None:
    """pytm's attributes default to False, so that whatever is not stated counts as a missing control.

    https://github.com/OWASP/pytm/issues/244
    """
    silent = SHOP.replace(", endpoint: {auth: key, rate_limit: none}", ", endpoint: {}").replace("model: {output: score}", "model: {}")
    silent = silent.partition("access:")[0].replace("flows:\n  - {from: customer, to: fraud, channel: https}\n", "")
    Path("system.yaml").write_text(silent)
    ran = casemate("threats", "system.yaml", "--json")
    assert ran.code == 2  # neither found nor clean: it could not tell
    assert {found["status"] for found in findings(ran).values()} == {"question"}
    asked = {q["field"] for a in ran.json["assessments"] for q in a["questions"]}
    assert {"fraud.endpoint.auth", "fraud.decision.on_error", "fraud.provenance.parent"} <= asked
    Path("system.yaml").write_text(silent.replace("endpoint: {}", "endpoint: {auth: none}", 1))
    assert "SY-05@fraud" in findings(casemate("threats", "system.yaml", "--json"), "untested")


def test_pytm_apply_a_rule_that_cannot_be_evaluated_is_an_error(casemate: Command) -> None:
    """pytm evaluates a condition inside `except Exception: return False`: a slip in a rule is a threat silently passed.

    https://github.com/OWASP/pytm/blob/master/pytm/threat.py
    """
    Path("acme.yaml").write_text(PACK.replace("$p.kind", "$p.knid"))
    line = PACK[: PACK.index("    - {path: $p.kind")].count("\n") + 1
    for args in (("threats", "system.yaml", "--rules", "acme.yaml"), ("threats", "test", "acme.yaml")):
        ran = casemate(*args)
        assert ran.code == 2 and ran.out == ""  # not even the other rules pass for an answer
        assert re.search(rf"acme\.yaml:{line}: .*knid", ran.err) and "kind" in ran.err


def test_pytm_apply_an_exception_inside_a_rule_is_never_a_no(casemate: Command) -> None:
    """The same, for what no check of the rule could foresee.

    https://github.com/OWASP/pytm/blob/master/pytm/threat.py
    """

    @dataclass(frozen=True)
    class Slip:
        def judge(self, scene: object) -> Any:
            raise ZeroDivisionError("a slip")

    rules = [replace(rule, applies_when=Slip()) if rule.id == "EV-02" else rule for rule in catalogue()]
    with pytest.raises(ZeroDivisionError, match="a slip"):
        derive(load("system.yaml"), rules)
