"""Bad input of every kind: one clear message, exit code 2, no traceback. Systems that fail are findings, not crashes."""

from __future__ import annotations

import json
import pickle
import sys

import pytest

from casemate.app import main as app

from . import toy


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`casemate ...` in this process: exit code, what it printed, what it complained about."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["casemate", *map(str, arguments)])
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as ended:
            app.main()
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return ended.value.code, out.out, out.err.strip()

    def assess(system=toy.SYSTEM, bind=toy.BIND):
        path = toy.write(tmp_path / "toy", system, bind)
        return call("assess", path, "--budget", "quick", "--quiet", "--json", "--store", tmp_path / "e.db", "--out", tmp_path / "out")

    call.assess = assess
    return call


def refused(result, *words):
    """Exit code 2 and one message that has these words."""
    code, _, err = result
    assert code == 2, err
    assert len(err.splitlines()) == 1, err
    assert err.startswith("casemate: ")
    for word in words:
        assert word in err, err


FACTORY = "\n\ndef other():\n    {}\n"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("return cm.wrap('no/such/model.onnx')", ["no/such/model.onnx"]),
        ("return cm.wrap('model.pkl')", ["model.pkl", ".onnx"]),
        ("return torch.load('model.pt', weights_only=True)", ["model.pt"]),
        ("return 7", ["cannot wrap a int"]),
        ("raise ValueError('no disk mounted')", ["no disk mounted", "other"]),
        ("import sys; sys.exit(3)", ["SystemExit", "other"]),
    ],
)
def test_a_model_that_is_not_there(run, changed, words):
    refused(run.assess(toy.SYSTEM.replace("bind:target", "bind:other"), toy.BIND + FACTORY.format(changed)), *words)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("return np.zeros((4, 1, 5, 5), np.float32), np.arange(4) % 2", ["toy", "25"]),
        ("return inputs() * np.nan, np.arange(120) % 3", ["not finite"]),
        ("return inputs()[:0], np.zeros(0, int)", ["no rows"]),
        ("return inputs(), np.zeros(7, int)", ["120 inputs and 7 labels"]),
        ("return inputs() * 255, np.arange(120) % 3", ["outside the domain"]),
        ("return None", ["target.data", "NoneType"]),
        ("return inputs()", ["target.data", "ndarray"]),
    ],
)
def test_data_that_cannot_be_attacked(run, changed, words):
    refused(run.assess(toy.SYSTEM.replace("bind:holdout", "bind:other"), toy.BIND + FACTORY.format(changed)), *words)


def test_data_of_one_class_is_attacked_and_said(run):
    system = toy.SYSTEM.replace("bind:holdout", "bind:other")
    _, out, _ = run.assess(system, toy.BIND + FACTORY.format("return inputs(), np.full(120, 2)"))
    assert "one class only (2)" in out


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("name: toy", "nmae: toy", ["nmae", "name", "system.yaml:3"]),
        ("on: reader, can", "on: raeder, can", ["raeder", "reader"]),
        ("factory: bind:target", "factory: bind:targte", ["targte"]),
        ("factory: bind:target", "factory: nowhere:target", ["nowhere.py"]),
        ("radius: 0.08", "radius: -1", ["radius"]),
        ("norm: linf", "norm: l7", ["l7"]),
        ("kind: wrong", "kind: wrogn", ["wrogn", "wrong"]),
        ("casemate: 1", "casemate: 99", ["casemate: 1"]),
        ("rows: {quick: 120}", "rosw: {quick: 120}", ["rosw"]),
    ],
)
def test_a_description_that_is_wrong(run, old, new, words):
    assert old in toy.SYSTEM
    code, _, err = run.assess(toy.SYSTEM.replace(old, new))
    assert code == 2
    for word in words:
        assert word in err, err


def test_all_problems_of_a_description_come_at_once(run):
    code, _, err = run.assess(toy.SYSTEM.replace("name: toy", "nmae: toy").replace("on: reader, can", "on: raeder, can"))
    assert code == 2
    assert "nmae" in err
    assert "raeder" in err


def test_an_alias_bomb_is_refused_at_once(run):
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    code, _, err = run.assess(bomb + toy.SYSTEM)
    assert code == 2
    assert len(err) < 2000


def test_a_tag_that_would_build_an_object_is_refused(run):
    code, _, err = run.assess(toy.SYSTEM.replace("name: toy", "name: !!python/object/apply:os.system ['touch canary']"))
    assert code == 2
    assert "canary" not in err or "not" in err


def test_a_file_that_is_no_description(run, tmp_path):
    (tmp_path / "noise.yaml").write_bytes(bytes(range(256)))
    refused(run("assess", tmp_path / "noise.yaml"), "noise.yaml")
    refused(run("assess", tmp_path / "missing.yaml"), "missing.yaml")
    refused(run("assess", tmp_path / "noise.yaml", "--budget", "a while"), "")


class Canary:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_looked_into_and_never_loaded(run, tmp_path):
    canary = tmp_path / "canary"
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Canary(str(canary))))
    code, out, err = run("scan", tmp_path / "model.pkl")
    assert code == 1, out + err
    assert not canary.exists()
    system = toy.SYSTEM.replace("      factory: bind:target", "      artifact: ../model.pkl\n      factory: bind:target")
    code, out, err = run.assess(system)
    assert not canary.exists(), "the artifact was loaded"
    assert code in (1, 2)
    refused(run.assess(toy.SYSTEM.replace("bind:target", "bind:other"), toy.BIND + FACTORY.format("return cm.wrap('../model.pkl')")), "model.pkl")
    assert not canary.exists()


LATER = """

class Later:
    def __call__(self, x):
        if not np.isin(x, inputs()).all():  # well as long as nobody attacks it
            {}
        return (x.reshape(len(x), -1).mean(1) > 0.5).astype(int)


def other():
    return cm.wrap(Later(), classes=2, version="1", timeout_s=0.3, name="later")


def some():
    x = inputs()
    return x, (x.reshape(len(x), -1).mean(1) > 0.5).astype(int)
"""


@pytest.mark.parametrize(
    ("trouble", "words"), [("raise OSError('the model server went away')", "went away"), ("import time; time.sleep(5)", "hung")]
)
def test_a_target_that_fails_in_the_middle_is_a_finding(run, trouble, words):
    system = toy.SYSTEM.replace("bind:target", "bind:other").replace("bind:holdout", "bind:some")
    code, out, err = run.assess(system.replace("quick: 120", "quick: 10").replace("output: score", "output: label"), toy.BIND + LATER.format(trouble))
    assert code == 2, err
    findings = json.loads(out)["assessments"][0]["findings"]
    failed = [f for f in findings if f["status"] == "error"]
    assert failed, [(f["threat"], f["status"], f["reason"]) for f in findings]
    assert words in failed[0]["reason"]


def test_a_target_that_always_fails_is_one_message(run):
    always = "\n\ndef other():\n    def broken(x):\n        raise OSError('refused')\n    return cm.wrap(broken, classes=2, version='1', name='mine')\n"
    refused(run.assess(toy.SYSTEM.replace("bind:target", "bind:other"), toy.BIND + always), "mine", "refused")
