"""The command line: every command, JSON everywhere, exit codes 0, 1 and 2, and never a traceback."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from casemate.app import main as app

BIND = """
import numpy as np
import casemate as cm

def rule(x):
    return (np.asarray(x)[:, 0] > 0.5).astype(int)

def target():
    return cm.wrap(rule, classes=2, version="1", name="rule")

def holdout():
    x = np.linspace(0.05, 0.95, 10).reshape(-1, 1)
    return cm.Holdout(x=x, y=rule(x))
"""
YAML = """
casemate: 1
system:
  name: rule
  task: binary
  modality: tabular
  target:
    - component: api
      factory: bind:target
      data: bind:holdout
      within: {kind: ball, norm: linf, radius: 0.2, low: 0.0, high: 1.0}
      attacks: {rows: {quick: 10}, evasion.hopskipjump: {steps: 2}, asks: {quick: 20}, flood: {quick: 20}}
zones: [{id: outside, trust: public}, {id: inside, trust: prod}]
principals: [{id: customer, kind: customer, zone: outside}]
assets: [{id: verdict, kind: decision, value: {I: 4}}]
components:
  - {id: api, kind: server, zone: inside, holds: [verdict], model: {output: label}, endpoint: {auth: key, rate_limit: none}}
flows: [{from: customer, to: api, data: [verdict], channel: https}]
access: [{principal: customer, on: api, can: [query, see_label]}]
"""


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """Run the command line in this process: its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bind.py").write_text(BIND)
    (tmp_path / "system.yaml").write_text(YAML)

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["casemate", *map(str, args)])
        with pytest.raises(SystemExit) as end:
            app.main()
        out = capsys.readouterr()
        return end.value.code, out.out, out.err

    return run


def test_the_help_names_every_command(cli):
    code, out, _ = cli("--help")
    assert code == 0 and all(name in out for name in app._COMMANDS) and "Exit codes" in out
    for name in app._COMMANDS:
        code, out, _ = cli(name, "--help")
        assert code == 0 and "Usage" in out


def test_assess_report_and_again(cli, tmp_path):
    code, out, err = cli("assess", "system.yaml", "--budget", "quick", "--rows", "csv")
    assert code == 1 and "Report:" in out and "Traceback" not in err and (tmp_path / "assessment").is_dir()
    code, out, err = cli("assess", "system.yaml", "--budget", "quick", "--json")
    assert code == 1 and err == "" and json.loads(out)
    code, out, _ = cli("report", "--json")
    assert code == 0 and [run["system"] for run in json.loads(out)] == ["rule"]
    assert cli("report", "system.yaml", "--budget", "quick")[0] == 1


def test_a_plan_sends_nothing_and_says_what_it_would(cli, tmp_path):
    code, out, _ = cli("assess", "system.yaml", "--budget", "quick", "--plan", "--json")
    data = json.loads(out)[0]
    assert code == 0 and data["cells"] and data["queries_by_host"]["in process"] > 0 and not (tmp_path / ".casemate").exists()
    text = cli("assess", "system.yaml", "--budget", "quick", "--plan")[1]
    assert "queries to in process" in text
    assert "s on one worker, without trainings" in text, "0 s would read as if trainings took no time"


def test_a_host_is_told_all_that_is_sent_to_it_regression(cli, tmp_path):
    from casemate.app.assess import hosts
    from casemate.runs.assess import prepare

    cli("--help")
    ready = prepare("system.yaml", budget="quick")
    from dataclasses import replace

    def remote(cap):
        binding = replace(ready.system.target[0], factory=None, url="http://h:1/x", query_cap=cap, pace_per_s=1.0, protocol="json")
        return replace(ready, system=replace(ready.system, target=(binding,)))

    plan = ready.plans["api"]
    assert hosts(ready) == {"in process": plan.queries} and plan.sent > plan.queries
    assert hosts(remote(plan.sent + 1)) == {"h:1": plan.sent}
    assert hosts(remote(9)) == {"h:1": 9}  # no more than the cap is ever sent


def test_threats_harden_and_lists(cli):
    code, out, _ = cli("threats", "system.yaml")
    assert code == 1 and "can be tested here" in out and "own budget" not in out
    assert "own budget not stated" in cli("threats", "system.yaml", "--all")[1]
    assert json.loads(cli("threats", "system.yaml", "--json")[1])["assessments"][0]["findings"]
    code, out, err = cli("harden", "system.yaml", "--budget", "quick", "--quiet")
    assert code == 1 and "Traceback" not in err
    assert "evasion.pgd" in cli("attacks")[1] and json.loads(cli("attacks", "PGD", "--json")[1])[0]["id"] == "evasion.pgd"
    assert "service.labels_only" in cli("controls")[1] and cli("controls", "service.query_budget")[0] == 0


def test_init_writes_what_can_be_read(cli, tmp_path):
    assert cli("init", "new.yaml", "--defaults")[0] == 0 and cli("threats", "new.yaml")[0] in (0, 1, 2)
    code, _, err = cli("init", "new.yaml", "--defaults")
    assert code == 2 and "--force" in err


def test_scan(cli, tmp_path):
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    Path("m.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + b"\0" * 4)
    Path("m.bin").write_bytes(bytes(range(1, 255)))
    assert cli("scan", "m.safetensors")[0] == 0 and json.loads(cli("scan", "m.safetensors", "--json")[1])["verdict"] == "safe"
    assert cli("scan", "m.bin")[0] in (1, 2)


@pytest.mark.parametrize("args", [
    ("asses",), ("assess", "nowhere.yaml"), ("assess", "system.yaml", "--budget", "fast"), ("assess", "system.yaml", "--store", "."),
    ("harden", "system.yaml", "--control", "service.nothing"), ("attacks", "evasion.nothing"), ("scan", "nowhere"), ("report",),
    ("report", "--store", "sqlite:///no/such/folder/e.db"), ("assess", "system.yaml", "--store", "nosuch://x"),
], ids=" ".join)  # fmt: skip
def test_an_error_is_one_line_and_exit_code_2(cli, args):
    code, out, err = cli(*args)
    assert code == 2 and len(err.strip().splitlines()) == 1 and err.startswith("casemate: ") and not out


def test_a_report_of_no_store_makes_none_regression(cli, tmp_path):
    assert cli("report", "--store", "typo.db")[0] == 2 and not (tmp_path / "typo.db").exists()


def test_click_errors_and_surprises_end_with_2_and_no_traceback(cli, monkeypatch):
    assert cli("assess", "system.yaml", "--workers", "0")[0] == 2
    monkeypatch.delenv("CASEMATE_DEBUG", raising=False)
    monkeypatch.setattr(app.cli, "main", lambda **_: 1 / 0)
    code, _, err = cli("attacks")
    assert code == 2 and "ZeroDivisionError" in err and "Traceback" not in err


def test_an_interruption_is_told(cli, monkeypatch):
    def stop(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(app.cli, "main", stop)
    code, _, err = cli("attacks")
    assert code == 2 and "interrupted" in err


def test_the_installed_command_runs():
    done = subprocess.run([sys.executable, "-c", "from casemate.app.main import main; main()", "--version"], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0 and "casemate" in done.stdout


EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b1m"


def test_no_name_steers_the_terminal_regression(cli, tmp_path):
    import zipfile

    (tmp_path / "evil.yaml").write_text(YAML.replace("name: rule", f"name: {json.dumps(EVIL)}"), encoding="utf-8")
    with zipfile.ZipFile("m.zip", "w") as file:
        file.writestr(f"{EVIL}.txt", "cos\nsystem\n(S'true'\ntR.")
    for args in (
        ("threats", "evil.yaml"), ("assess", "evil.yaml", "--budget", "quick"), ("assess", "evil.yaml", "--plan"), ("scan", "m.zip"),
        (EVIL,), ("scan", f"--{EVIL}"), ("scan", EVIL), ("attacks", EVIL),
    ):  # fmt: skip
        _, out, err = cli(*args)
        assert not set("\x1b\x07\x9b") & set(out + err) and "\\x1b" in out + err, args
    (tmp_path / "turned.yaml").write_text(YAML.replace("name: rule", 'name: "a\u202eb"'), encoding="utf-8")
    for args in (("threats", "turned.yaml"), ("assess", "turned.yaml", "--budget", "quick"), ("report",)):
        _, out, err = cli(*args)
        assert "\u202e" not in out + err and "\\u{202e}" in out + err, args


def test_an_exception_of_the_target_does_not_steer_the_terminal_regression(cli, tmp_path):
    (tmp_path / "bind.py").write_text(BIND.replace("    return cm.wrap", f"    raise ValueError({EVIL!r})\n    return cm.wrap"))
    code, out, err = cli("assess", "system.yaml")
    assert code == 2 and "\\x1b" in err and "\x1b" not in out + err


def test_printable_keeps_lines_and_words():
    from casemate.app.echo import printable

    assert printable("a\n\tb é ✕") == "a\n\tb é ✕" and printable("a\rb\u202ec") == "a\\x0db\\u{202e}c"


def test_a_parameter_of_the_wrong_type_is_named_regression(cli, tmp_path):
    (tmp_path / "system.yaml").write_text(YAML.replace("steps: 2", "steps: x"))
    code, _, err = cli("assess", "system.yaml")
    assert code == 2 and "evasion.hopskipjump: steps='x' does not fit; give int" in err and "internal" not in err
    (tmp_path / "system.yaml").write_text(YAML.replace("{quick: 10}", "{quick: many, standard: many}"))
    assert "rows='many' does not fit" in cli("assess", "system.yaml")[2]


def test_a_report_for_another_budget_says_what_the_store_holds_regression(cli):
    cli("assess", "system.yaml", "--budget", "quick", "--seed", "3")
    code, out, err = cli("report", "system.yaml")
    assert code == 2 and not out
    assert "the store holds nothing for --budget standard --seed 0; it holds --budget quick --seed 3" in err
    assert cli("report", "system.yaml", "--budget", "quick", "--seed", "3")[0] in (0, 1, 2)


def test_a_file_that_cannot_be_written_is_said_as_such_regression(cli):
    code, _, err = cli("init", "nowhere/new.yaml", "--defaults")
    assert code == 2 and "cannot be written" in err and "measured" not in err


def test_an_unknown_verb_is_met_with_the_nearest_regression(cli, tmp_path):
    (tmp_path / "system.yaml").write_text(YAML.replace("[query, see_label]", "[qery, see_label]"))
    code, _, err = cli("threats", "system.yaml")
    assert code == 2 and "(did you mean query?)" in err


def test_a_description_of_two_components_without_a_target_is_reported_regression(cli, tmp_path):
    text = YAML.replace("components:\n", "components:\n  - {id: log, kind: log_store, zone: inside}\n")
    start, end = text.index("  target:"), text.index("zones:")
    (tmp_path / "system.yaml").write_text(text[:start] + text[end:])
    code, out, err = cli("assess", "system.yaml", "--quiet", "--json")
    assert code == 2 and err == ""
    untested = [f for f in json.loads(out)["assessments"][0]["findings"] if f["status"] == "untested"]
    assert untested and {f["reason"] for f in untested} <= {"no system.target is bound", "nothing runs this threat yet"}


def test_why_says_what_the_attacker_knows_and_how_much_it_writes(cli):
    loans = Path(__file__).resolve().parents[2] / "examples" / "loans" / "system.yaml"
    out = cli("threats", str(loans), "--why", "PO-01@scoring#partner")[1]
    assert "influence: writes 3.4% of the training data" in out  # 35 records beside 1,000
    device = loans.parents[1] / "cheques" / "device.yaml"
    assert "knows: weights, parent" in cli("threats", str(device), "--why", "EV-01@reader")[1]
