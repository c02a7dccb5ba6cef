"""diff, gate and taxonomy on the command line: exit codes, JSON, files beside a description, stored runs, no traceback."""

import json
import sys

import pytest

from casemate.app import main as app
from casemate.core.evidence import Cost, Evidence, Status, Verdict
from casemate.core.finding import Assessment, Finding
from casemate.report.as_json import render
from casemate.store.cells import Store

YAML = """
casemate: 1
system: {name: shop, task: binary, modality: tabular, decision: {automated: yes, reversible: no}}
zones: [{id: outside, trust: public}, {id: inside, trust: prod}]
principals: [{id: customer, kind: customer, zone: outside}]
assets: [{id: verdict, kind: decision, value: {I: 4}}]
components:
  - {id: api, kind: server, zone: inside, holds: [verdict], model: {output: label}, endpoint: {auth: key, rate_limit: none}}
flows: [{from: customer, to: api, data: [verdict], channel: https}]
access: [{principal: customer, on: api, can: [query, see_label]}]
"""
OVERLAY = """
extends: system.yaml
system: {name: shop-scores}
components: [{id: api, model: {output: score}}]
access: [{principal: customer, on: api, can: [query, see_label, see_score]}]
"""
QUIET = "casemate: 1\ngate: {taxonomy: ignore, unknown_in_critical: ignore, prior_severity_at_least: ignore}\n"


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CASEMATE_TODAY", raising=False)
    (tmp_path / "system.yaml").write_text(YAML)
    (tmp_path / "scores.yaml").write_text(OVERLAY)
    (tmp_path / "gate.yaml").write_text(QUIET)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["casemate", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            app.main()
        out = capsys.readouterr()
        assert "Traceback" not in out.out + out.err and "internal error" not in out.err
        return end.value.code, out.out, out.err

    return run


def made(status, name="shop", queries=40.0, threat="EV-03@api#customer"):
    run = Evidence(
        attack="evasion.square", params={}, adversary="", may=(), budget="", target="", fingerprint=None, case="evade", seed=0, measure="m",
        rate=0.0, interval=None, n=9, verdict=Verdict.RESISTED,
    )  # fmt: skip
    finding = Finding(
        evidence=(run,) if status is Status.RESISTED else (),
        threat=threat, rule="EV-03", title="Label-only evasion", element="api", principal="customer", explanation="", impact=4, status=status,
        severity="critical" if status is Status.BROKEN else "none", cost=Cost(queries=queries) if status is Status.BROKEN else None,
    )  # fmt: skip
    return Assessment(name=name, path="system.yaml", system=None, findings=(finding,))


@pytest.fixture
def reports(tmp_path):
    for name, status in (("broken", Status.BROKEN), ("held", Status.RESISTED), ("alone", Status.UNTESTED)):
        (tmp_path / f"{name}.json").write_text(render([made(status)]))
    return tmp_path


# diff ---------------------------------------------------------------------------------------------------------------------


def test_diff_of_two_descriptions(cli):
    code, out, err = cli("diff", "system.yaml", "scores.yaml")
    assert code == 1 and err == "" and "shop -> shop-scores: worse" in out
    assert "EV-02@api#customer" in out and "api.model.output: label -> score (scores.yaml:4)" in out
    assert cli("diff", "system.yaml", "system.yaml")[0] == 0


@pytest.mark.parametrize(("before", "after", "code"), [("held", "broken", 1), ("broken", "held", 0), ("broken", "alone", 2), ("held", "held", 0)])
@pytest.mark.usefixtures("reports")
def test_diff_of_two_reports(cli, before, after, code):
    assert cli("diff", f"{before}.json", f"{after}.json")[0] == code
    got, out, _ = cli("diff", f"{before}.json", f"{after}.json", "--json")
    data = json.loads(out)
    assert got == data["code"] == code and data["format"] == "casemate.diff/1" and data["systems"][0]["facts"] is None


def test_diff_with_a_stored_run(cli, reports):
    store = Store(reports / "evidence.db")
    for status in (Status.RESISTED, Status.BROKEN):
        one = made(status)
        store.add_run(one.digest(), one.name, json.dumps(one.to_dict()))
    first, second = (made(s).digest() for s in (Status.RESISTED, Status.BROKEN))
    code, out, _ = cli("diff", first[:12], second, "--store", "evidence.db")
    assert code == 1 and "was resisted (m 0 by evasion.square" in out
    code, _, err = cli("diff", "0" * 12, second, "--store", "evidence.db")
    assert code == 2 and "names no run in evidence.db" in err
    code, _, err = cli("diff", first[:12], second)
    assert code == 2 and "there is no store at" in err and not (reports / ".casemate").exists()


@pytest.mark.parametrize("text", ["nothing.yaml", "system", "{}", "\x1b[31m"])
def test_diff_of_nothing(cli, text):
    code, _, err = cli("diff", text, "system.yaml")
    assert code == 2 and "is no file, no folder, and no digest" in err and "\x1b" not in err


@pytest.mark.parametrize("data", ["{", "{}", '{"format": "casemate.report/1"}', '{"format": "x"}', '{"casemate": 1}'])
def test_diff_of_a_strange_file(cli, tmp_path, data):
    (tmp_path / "odd.json").write_text(data)
    code, out, err = cli("diff", "system.yaml", "odd.json")
    assert code == 2 and out == "" and "odd.json" in err


def test_a_description_in_json_is_a_description(cli, tmp_path):
    from casemate.threats.nodes import compose

    (tmp_path / "system.json").write_text(json.dumps(compose(YAML.encode(), "x").plain()))
    code, out, _ = cli("diff", "system.yaml", "system.json")
    assert code == 0, out


def test_hostile_names_do_not_reach_the_terminal(cli, tmp_path):
    (tmp_path / "odd.json").write_text(render([made(Status.BROKEN, name="\x1b[2J\u202eevil", threat="EV-03@\x1b]0;x\x07")]))
    for command in (("diff", "system.yaml", "odd.json"), ("gate", "odd.json", "--policy", "gate.yaml")):
        _, out, err = cli(*command)
        assert "\x1b" not in out + err and "\u202e" not in out + err and "\x07" not in out + err


# gate ---------------------------------------------------------------------------------------------------------------------

ENTRY = "casemate: 1\ndispositions:\n  - {threat: EV-03@api#customer, decision: accept, reason: r, owner: o, made: 2026-05-01, expires: 2026-09-01%s}\n"


@pytest.mark.usefixtures("reports")
def test_gate_fails_until_somebody_decides(cli, tmp_path):
    code, out, _ = cli("gate", "broken.json", "--policy", "gate.yaml", "--today", "2026-06-01")
    assert code == 1 and "fail: severity_at_least: EV-03@api#customer" in out and "dispositions: none" in out
    stub = out[out.index("casemate: 1\n") :]
    (tmp_path / "dispositions.yaml").write_text(stub)
    code, _, err = cli("gate", "broken.json", "--policy", "gate.yaml", "--today", "2026-06-01")
    assert code == 2 and "must be filled in" in err and "dispositions.yaml:5" in err
    (tmp_path / "dispositions.yaml").write_text(stub.replace("reason:", "reason: known").replace("owner:", "owner: sam"))
    code, out, _ = cli("gate", "broken.json", "--policy", "gate.yaml", "--today", "2026-06-01")
    assert code == 0 and "dispositions: dispositions.yaml" in out
    code, out, _ = cli("gate", "broken.json", "--policy", "gate.yaml", "--today", "2026-08-31")
    assert code == 1 and "fail: expired: EV-03@api#customer" in out


@pytest.mark.usefixtures("reports")
def test_gate_on_conditions_orphans_and_the_day(cli, tmp_path, monkeypatch):
    (tmp_path / "d.yaml").write_text(ENTRY % ", conditions: {queries_floor: 41}")
    code, out, _ = cli("gate", "broken.json", "--policy", "gate.yaml", "--dispositions", "d.yaml", "--today", "2026-06-01", "--json")
    data = json.loads(out)
    assert code == data["code"] == 1 and {o["rule"] for o in data["objections"]} == {"violated", "severity_at_least"}
    assert data["today"] == "2026-06-01" and data["format"] == "casemate.gate/1"
    (tmp_path / "d.yaml").write_text((ENTRY % "").replace("EV-03@api", "EV-03@apj"))
    code, out, _ = cli("gate", "held.json", "--policy", "gate.yaml", "--dispositions", "d.yaml", "--today", "2026-06-01")
    assert code == 0 and "warn: orphaned: EV-03@apj#customer (d.yaml:3)" in out and "nearest: EV-03@api#customer" in out
    monkeypatch.setenv("CASEMATE_TODAY", "2026-09-02")
    (tmp_path / "d.yaml").write_text(ENTRY % "")
    assert "fail: expired" in cli("gate", "held.json", "--policy", "gate.yaml", "--dispositions", "d.yaml")[1]
    code, _, err = cli("gate", "held.json", "--today", "tomorrow")
    assert code == 2 and "expected a day as YYYY-MM-DD; got 'tomorrow'" in err


@pytest.mark.usefixtures("reports")
def test_gate_with_a_baseline(cli, tmp_path):
    (tmp_path / "strict.yaml").write_text(QUIET.replace("}", ", regressed: fail, severity_at_least: ignore}"))
    assert cli("gate", "broken.json", "--policy", "strict.yaml")[0] == 2
    assert cli("gate", "broken.json", "--policy", "strict.yaml", "--baseline", "held.json")[0] == 1
    assert cli("gate", "held.json", "--policy", "strict.yaml", "--baseline", "broken.json")[0] == 0
    code, out, _ = cli("gate", "scores.yaml", "--policy", "gate.yaml", "--baseline", "system.yaml")
    assert code == 1 and "fail: new_without_disposition: EV-02@api#customer [shop-scores] (scores.yaml:4)" in out


def test_gate_knows_how_long_a_break_is_open(cli, reports):
    one = made(Status.BROKEN)
    Store(reports / "evidence.db").add_run(one.digest(), one.name, json.dumps(one.to_dict()))
    (reports / "p.yaml").write_text(QUIET.replace("}", ", severity_at_least: ignore, max_open_days: 90}"))
    assert cli("gate", "broken.json", "--policy", "p.yaml")[0] == 2
    assert cli("gate", "broken.json", "--policy", "p.yaml", "--store", "evidence.db")[0] == 0
    code, out, _ = cli("gate", "broken.json", "--policy", "p.yaml", "--store", "evidence.db", "--today", "2099-01-01")
    assert code == 1 and "max_open_days: EV-03@api#customer" in out


@pytest.mark.usefixtures("reports")
def test_evidence_is_stale_where_the_description_says_something_else(cli):
    code, out, _ = cli("gate", "held.json", "--policy", "gate.yaml", "--description", "scores.yaml")
    assert code == 2 and "same_system: --description is of shop-scores, not of shop" in out and "stale_evidence" not in out
    code, out, _ = cli("gate", "held.json", "--policy", "gate.yaml", "--description", "system.yaml")
    assert code == 0 and "warn: stale_evidence" in out and "the evidence does not know it" in out


def test_a_policy_with_a_slip(cli, tmp_path):
    (tmp_path / "gate.yaml").write_text("casemate: 1\ngate:\n  expird: fail\n")
    code, out, err = cli("gate", "system.yaml", "--policy", "gate.yaml")
    assert code == 2 and out == "" and "gate.yaml:3: gate.expird: unknown key (did you mean 'expired'?)" in err


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ('{"format": "casemate.report/1", "assessments": []}', "nothing_judged: there is no system in it"),
        (render([Assessment(name="shop", path="system.yaml", system=None, findings=())]), "nothing_judged: shop has no threat"),
        (render([made(Status.ERROR)]), "undecided: EV-03@api#customer: error"),
        (render([made(Status.INCONCLUSIVE)]), "undecided: EV-03@api#customer: inconclusive"),
    ],
)
def test_what_cannot_be_told_is_no_pass(cli, tmp_path, target, told):
    (tmp_path / "odd.json").write_text(target)
    code, out, _ = cli("gate", "odd.json", "--policy", "gate.yaml")
    assert code == 2 and told in out and out.startswith("gate: could not tell")


@pytest.mark.usefixtures("reports")
def test_a_baseline_that_cannot_be_compared_is_no_pass(cli, tmp_path):
    (tmp_path / "other.json").write_text(render([made(Status.RESISTED, name="web")]))
    (tmp_path / "both.json").write_text(render([made(Status.RESISTED), made(Status.RESISTED, name="web")]))
    (tmp_path / "old.json").write_text(render([made(Status.RESISTED)]).replace("casemate.report/1", "casemate.report/0"))
    assert cli("gate", "held.json", "--policy", "gate.yaml", "--baseline", "held.json")[0] == 0
    code, out, _ = cli("gate", "held.json", "--policy", "gate.yaml", "--baseline", "other.json")
    assert code == 2 and "same_system: the baseline is of web, not of shop" in out
    code, out, _ = cli("gate", "held.json", "--policy", "gate.yaml", "--baseline", "both.json")
    assert code == 2 and "same_system: the baseline has web; what is judged does not" in out
    code, _, err = cli("gate", "held.json", "--policy", "gate.yaml", "--baseline", "old.json")
    assert code == 2 and "expected a report of the format 'casemate.report/1'; got 'casemate.report/0'" in err


@pytest.mark.parametrize("option", ["--policy", "--baseline", "--dispositions", "--description", "--store"])
@pytest.mark.usefixtures("reports")
def test_a_file_that_is_not_there_is_no_pass(cli, option):
    code, out, err = cli("gate", "held.json", option, "none.file")
    assert code == 2 and out == "" and "none.file" in err


@pytest.mark.parametrize("option", ["--policy", "--baseline", "--dispositions", "--description", "--store", "--today"])
@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.usefixtures("reports")
def test_an_option_of_an_unset_variable_is_no_pass(cli, option, value):
    code, out, err = cli("gate", "held.json", option, value)
    assert code == 2 and out == "" and f"{option} is empty; give a value, or leave the option out" in err and err.count("\n") == 1


@pytest.mark.parametrize("given", [("", "held.json"), ("held.json", ""), ("held.json", "held.json", "--store", ""), ("held.json", "held.json", "--sarif", "")])
@pytest.mark.usefixtures("reports")
def test_diff_with_an_unset_variable_is_no_pass(cli, given):
    code, out, err = cli("diff", *given)
    assert code == 2 and out == "" and "is empty; give a value" in err
    assert cli("gate", "")[0] == 2 and "TARGET is empty" in cli("gate", "")[2]


def test_diff_with_a_system_that_is_gone(cli, tmp_path):
    for folder in ("two", "one"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.yaml").write_text(YAML)
    (tmp_path / "two" / "b.yaml").write_text(YAML.replace("name: shop", "name: web"))
    code, out, _ = cli("diff", "two", "one")
    assert code == 2 and "web: could not tell" in out and "web is not there any more" in out and "improved" not in out
    assert "shop: no worse" in out
    assert cli("diff", "one", "two")[0] == 1


@pytest.mark.usefixtures("reports")
def test_a_break_that_a_report_leaves_out(cli, tmp_path):
    both = made(Status.BROKEN).findings + made(Status.RESISTED, threat="EV-02@api#customer").findings
    rest = Assessment(name="shop", path="system.yaml", system=None, findings=both[1:])
    (tmp_path / "both.json").write_text(render([Assessment(name="shop", path="system.yaml", system=None, findings=both)]))
    (tmp_path / "rest.json").write_text(render([rest]))
    code, out, _ = cli("diff", "both.json", "rest.json")
    assert code == 2 and "the report does not have it" in out
    assert cli("gate", "rest.json", "--policy", "gate.yaml", "--baseline", "both.json")[0] == 2


@pytest.mark.usefixtures("reports")
def test_what_a_decision_uncovers(cli, tmp_path):
    weights = YAML.replace("can: [query, see_label]", "can: [query, see_label, read_weights]").replace("{output: label}", "{output: label, differentiable: yes, family: nn}")
    (tmp_path / "weights.yaml").write_text(weights)
    hides = [h["threat"] for h in json.loads(cli("threats", "weights.yaml", "--json")[1])["assessments"][0]["hidden"] if h["by"].startswith("EV-01")]
    assert hides
    (tmp_path / "d.yaml").write_text((ENTRY % "").replace("EV-03@", "EV-01@").replace("decision: accept", "decision: false_positive"))
    code, out, _ = cli("gate", "weights.yaml", "--policy", "gate.yaml", "--dispositions", "d.yaml", "--today", "2026-06-01")
    assert code == 2 and all(f"undecided: {id}: was hidden by EV-01@api#customer" in out for id in hides)


@pytest.mark.usefixtures("reports")
def test_policies_that_say_nothing(cli, tmp_path):
    (tmp_path / "gate.yaml").write_text("casemate: 1\ngate: {}\n")
    assert cli("gate", "broken.json", "--policy", "gate.yaml")[0] == 1
    (tmp_path / "gate.yaml").write_text("casemate: 1\ngate: {nothing: fail}\n")
    code, out, err = cli("gate", "broken.json", "--policy", "gate.yaml")
    assert code == 2 and out == "" and "gate.nothing: unknown key" in err
    (tmp_path / "gate.yaml").write_text("")
    assert cli("gate", "broken.json", "--policy", "gate.yaml")[0] == 2


@pytest.mark.usefixtures("reports")
def test_the_day_before_a_decision_was_made_and_its_last_day(cli, tmp_path):
    (tmp_path / "d.yaml").write_text(ENTRY % "")
    given = ("gate", "broken.json", "--policy", "gate.yaml", "--dispositions", "d.yaml", "--today")
    code, out, err = cli(*given, "2026-04-30")
    assert code == 2 and out == "" and "2026-05-01 has not come yet (today is 2026-04-30)" in err
    assert [cli(*given, day)[0] for day in ("2026-05-01", "2026-09-01", "2026-09-02")] == [0, 0, 1]


UNKNOWN = YAML.replace("model: {output: label}, endpoint: {auth: key, rate_limit: none}", "model: {}")


def test_an_undecided_threat_is_called_undecided(cli, tmp_path):
    (tmp_path / "system.yaml").write_text(UNKNOWN.replace("can: [query, see_label]", "unsure: [query]"))
    code, out, _ = cli("gate", "system.yaml", "--policy", "gate.yaml")
    judged = out.splitlines()[1]
    assert "undecided" in judged and "question" not in judged, out
    (tmp_path / "known.yaml").write_text(YAML)
    code, out, _ = cli("diff", "known.yaml", "system.yaml")
    assert code == 2 and "undecided" in out.splitlines()[0] and "asked" not in out.splitlines()[0]


def test_questions_that_nobody_answered_are_not_called_closed(cli, tmp_path):
    (tmp_path / "before.yaml").write_text(UNKNOWN)
    (tmp_path / "answered.yaml").write_text(YAML)
    (tmp_path / "gone.yaml").write_text(UNKNOWN.replace("kind: server", "kind: log_store").replace(", model: {}", ""))
    out = cli("diff", "before.yaml", "answered.yaml")[1]
    answered = out.partition("Questions answered")[2].partition("Questions no longer asked")[0]
    assert "api.endpoint.rate_limit" in answered and "closed" not in out
    out = cli("diff", "before.yaml", "gone.yaml")[1]
    assert "api.endpoint.rate_limit" in out.partition("Questions no longer asked")[2] and "Questions answered" not in out


def test_a_hardened_variant_passes_and_the_way_back_does_not(cli):
    code, out, _ = cli("gate", "system.yaml", "--policy", "gate.yaml", "--baseline", "scores.yaml")
    assert code == 0 and "warn: replaced: EV-03@api#customer" in out and "in place of EV-02@api#customer, which is gone" in out
    assert cli("gate", "scores.yaml", "--policy", "gate.yaml", "--baseline", "system.yaml")[0] == 1
    assert cli("diff", "scores.yaml", "system.yaml")[0] == 0


# Folders ------------------------------------------------------------------------------------------------------------------

RULE = 'id: ACME-01\ntitle: T\neach: model\napplies_when: {path: $c.model.output, is: label}\nexplain: "casemate: x"\n'
BASE = YAML[: YAML.index("access:")].replace("name: shop", "name: base")


def test_a_folder_with_everything_in_it_that_is_no_description(cli, tmp_path):
    (tmp_path / "dispositions.yaml").write_text(ENTRY % "")
    (tmp_path / "guard.yaml").write_text("guard: 1  # casemate: 1\napp: server:app\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "ACME-01.yaml").write_text(RULE)
    (tmp_path / "people.yaml").write_text("casemate: 1\nprincipals: [{id: eve, kind: anonymous, zone: outside}]\n")
    (tmp_path / "more.yaml").write_text(YAML.replace("name: shop", "name: more").replace("casemate: 1", "casemate: 1\nincludes: [people.yaml]"))
    (tmp_path / "api.yaml").write_text("openapi: 3.0.0\ninfo: {title: x}\npaths: {}\ncomponents: {schemas: {}}\n")
    (tmp_path / "chart.yaml").write_text("{{ if .Values.system }}\nsystem: x\n")
    (tmp_path / ".hidden.yaml").write_text("casemate: 1\nsystem: 3\n")
    code, out, err = cli("threats", ".", "--json", "--today", "2026-06-01")
    assert code == 1 and err == "" and [a["name"] for a in json.loads(out)["assessments"]] == ["more", "shop-scores", "shop"]
    code, out, err = cli("gate", ".", "--policy", "gate.yaml", "--today", "2026-06-01")
    assert err == "" and code == 0 and "dispositions: dispositions.yaml" in out
    code, out, err = cli("diff", ".", ".")
    assert (code, err) == (0, "") and out.count("no worse") == 3
    assert "Traceback" not in cli("assess", ".", "--plan")[2]
    assert "there is no store" in cli("report", ".")[2]


def test_a_base_is_no_system_of_its_own_and_one_that_nobody_extends_is(cli, tmp_path):
    (tmp_path / "scores.yaml").write_text(OVERLAY.replace("system.yaml", "base.yaml"))
    (tmp_path / "base.yaml").write_text(BASE)
    names = [a["name"] for a in json.loads(cli("threats", ".", "--json")[1])["assessments"]]
    assert names == ["shop-scores", "shop"]
    (tmp_path / "scores.yaml").unlink()
    names = [a["name"] for a in json.loads(cli("threats", ".", "--json")[1])["assessments"]]
    assert names == ["base", "shop"]


@pytest.mark.parametrize(
    "text",
    [
        "casemate: 1\nsystem: 3\n",
        "casemate: 1\nsytem: {name: x}\n",
        "casemate: 1\ncomponents: [{id: a}]\n",
        "system: {name: x}\ncomponents: [{id: a}]\n",
        "casemate: 1\nsystem: {name: x\n",
        "\ufeffcasemate: 1\nsystem: [\n",
        "casemate: 1\nextends: none.yaml\n",
        "casemate: 1\ngate: {}\nsystem: {name: x}\n",
        '{"casemate": 1, "system": {}, "components": 3}',
        YAML.encode("utf-16"),
        YAML.encode("utf-16-be"),
        b"casemate: 1\nsystem: {name: \xff}\n",
        "casemate: 1\nsystem: {name: a}\n---\ncasemate: 1\n",
        "casemate: 1\nsystem: {name: x}\n#" + "x" * 5_000_000,
    ],
    ids=range(14),
)
@pytest.mark.parametrize("command", ["threats", "gate", "assess"])
def test_a_broken_description_in_a_folder_is_never_skipped(cli, tmp_path, text, command):
    (tmp_path / "odd.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = cli(command, ".")
    assert code == 2 and "odd.yaml:" in err and out == ""


def test_a_folder_without_a_description(cli, tmp_path):
    for name in ("system.yaml", "scores.yaml"):
        (tmp_path / name).unlink()
    (tmp_path / "dispositions.yaml").write_text(ENTRY % "")
    for command in (("threats", "."), ("gate", "."), ("diff", ".", "."), ("assess", ".")):
        code, out, err = cli(*command)
        assert code == 2 and out == "" and err.count("\n") == 1 and "no description in '.'" in err


# taxonomy -----------------------------------------------------------------------------------------------------------------

ATLAS = """format-version: 6.0.0
collection: {version: 2026.10}
tactics: {AML.TA0003: {name: Resource Development}}
techniques: {AML.T0020: {name: Training Data Poisoning}}
relationships: {AML.T0020: {achieves: [{source: AML.T0020, target: AML.TA0003, relationship-type: achieves}]}}
"""


def test_taxonomy_check(cli, tmp_path):
    assert cli("taxonomy", "check")[:2] == (0, cli("taxonomy", "check")[1])
    code, out, _ = cli("taxonomy", "check", "--json")
    assert code == 0 and json.loads(out)["problems"] == []
    (tmp_path / "ACME-01.yaml").write_text(
        "id: ACME-01\ntitle: T\neach: model\napplies_when: {path: $c.model.output, is: label}\nexplain: x\n"
        'mappings:\n  atlas:\n    - {id: "AML.T9999", name: "X", release: "5.6.0"}\n'
    )
    code, out, _ = cli("taxonomy", "check", "ACME-01.yaml")
    assert code == 1 and "ACME-01.yaml:8: ACME-01.mappings.atlas: AML.T9999 is not in release 5.6.0" in out
    assert out.endswith("1 citation is wrong\n")
    code, _, err = cli("taxonomy", "check", "none")
    assert code == 2 and "there is no such file or folder" in err


def test_taxonomy_import_then_check_against_it(cli, tmp_path):
    (tmp_path / "ATLAS-2026.10.yaml").write_text(ATLAS)
    (tmp_path / "latest.yaml").write_text("ATLAS-2026.10.yaml\n")
    code, out, _ = cli("taxonomy", "import", "latest.yaml", "--to", "out.json")
    assert code == 1 and "ATLAS 2026.10 (format 6.0.0): 1 tactics, 1 techniques" in out
    assert "AML.T0020 Poison Training Data -> Training Data Poisoning (a known rename)" in out
    assert "AML.T0019 Publish Poisoned Datasets (successor AML.T0115.000, which is not there either)" in out
    assert 'write name: "Training Data Poisoning"; the same under a known new name' in out
    assert json.loads((tmp_path / "out.json").read_text())["via"] == ["latest.yaml", "ATLAS-2026.10.yaml"]
    code, out, _ = cli("taxonomy", "import", "latest.yaml", "--to", "out.json", "--json")
    assert code == 1 and json.loads(out)["release"] == "2026.10"
    code, out, _ = cli("taxonomy", "check", "--against", "out.json")
    assert code == 1 and "AML.T0020 is called 'Training Data Poisoning', not 'Poison Training Data' (an earlier name of it)" in out
    code, _, err = cli("taxonomy", "check", "--against", "latest.yaml")
    assert code == 2 and "is no JSON" in err
    code, _, err = cli("taxonomy", "import", "system.yaml", "--to", "no.json")
    assert code == 2 and "is no ATLAS data" in err and not (tmp_path / "no.json").exists()
