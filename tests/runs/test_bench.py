"""The user's functions: every failure names the key that led to it, in one line."""

import numpy as np
import pytest

import casemate as cm
from casemate.core.errors import CasemateError
from casemate.core.random import RowRandom
from casemate.runs.assess import assess, prepare
from casemate.runs.evade import Setting, baseline, random_change
from casemate.runs.watched import Watched, watched
from casemate.threats.load import load


@pytest.mark.parametrize(("code", "message"), [
    ("def holdout(): raise ValueError('boom')", "target.data.*boom"), ("def holdout(): return 3", "target.data.*Holdout"),
    ("def holdout(): return cm.Holdout(x=np.zeros((0, 8)), y=np.zeros(0))", "no rows"),
    ("def holdout(): return cm.Holdout(x=np.zeros((3, 8)), y=np.zeros(2))", "3 inputs and 2 labels"),
    ("def target(): import sys; sys.exit(3)", "target.factory.*SystemExit"), ("import no_such_module_here", "bind.py cannot be imported"),
    ("del target", "has no 'target'"), ("def target(): return 3", "cannot wrap a int"),
], ids=range(8))  # fmt: skip
def test_a_failure_of_the_users_code_names_its_key(toy, code, message):
    path = toy()
    bind = path.parent / "bind.py"
    bind.write_text(bind.read_text() + "\n" + code + "\n")
    with pytest.raises(CasemateError, match=message) as found:
        prepare(path, budget="quick")
    assert "\n" not in str(found.value)


def test_one_name_in_two_folders_is_two_modules(toy, tmp_path):
    one = prepare(toy(), budget="quick").benches["reader"]
    (tmp_path / "two").mkdir()
    for name in ("bind.py", "system.yaml"):
        (tmp_path / "two" / name).write_text((tmp_path / name).read_text().replace("default_rng(1)", "default_rng(5)"))
    two = prepare(tmp_path / "two" / "system.yaml", budget="quick").benches["reader"]
    assert not np.array_equal(one.data.x, two.data.x)


def test_a_system_in_hand_is_assessed_like_its_file(toy):
    path = toy()
    assert assess(load(path), budget="quick").digest() == assess(path, budget="quick").digest()


def test_services_follow_the_facts(toy):
    bench = prepare(toy(output="label", can="query, see_label", limit="rate_limit: {per: day, n: 7, key: account}"), budget="quick").benches["reader"]
    assert [s.info.id for s in bench.services] == ["service.query_budget", "service.labels_only"] and bench.services[0].rows == 7


def test_hiding_the_scores_raises_the_price(toy):
    def price(**facts):
        costs = [f.cost for f in assess(toy(radius=0.15, **facts), budget="quick").findings if f.rule.startswith("EV") and f.evidence]
        return min(np.inf if c.queries is None else c.queries for c in costs)

    shown, hidden = price(), price(output="label", can="query, see_label")
    assert shown <= hidden


def test_a_baseline_of_whole_numbers_is_no_smaller_regression():
    case = cm.Evade(np.zeros((5, 4), np.uint8), np.zeros(5), cm.Ball("linf", 0.4))
    change = random_change(case, RowRandom(0), 0)
    assert change.max() > 0.1 and case.within.check(change, case.x).all()


def test_a_baseline_says_how_often_it_tried():
    target = cm.wrap(lambda x: (np.asarray(x)[:, 0] > 0.5).astype(int), classes=2)
    case = cm.Evade(np.array([[0.45], [0.1], [0.9]]), [0, 0, 0], cm.Ball("linf", 0.2))
    part = baseline(case, Setting(target=target, adversary=cm.researcher()))
    assert part.rows["broken"].tolist() == [True, False, False] and part.rows["right"].tolist() == [True, True, False]
    assert part.spent["judge"] == 3 + 8 * 2


def test_a_target_that_hangs_is_cut_regression():
    def hangs(x):
        import time

        time.sleep(30)

    with pytest.raises(cm.TargetFailed, match="hangs"):
        Watched(cm.wrap(hangs, classes=2), 0.05).respond(np.zeros((2, 1)))
    once = watched(cm.wrap(hangs, classes=2))
    assert watched(once) is once


def test_a_target_that_hangs_before_the_run_is_cut_regression(toy, monkeypatch):
    import casemate.runs.watched as module

    path = toy()
    bind = path.parent / "bind.py"
    bind.write_text(bind.read_text() + "\nHOLDOUT = holdout()\ndef holdout(): return HOLDOUT\ndef target():\n    import time\n"
                    "    return cm.wrap(lambda x: time.sleep(60), classes=3, version='1')\n")  # fmt: skip
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with pytest.raises(CasemateError, match="hangs: no answer within"):
        prepare(path, budget="quick")


REMOTE = "url: 'http://127.0.0.1:1/p', protocol: json, query_cap: 5, pace_per_s: 1, shape: {label_path: label, "


def remote(toy, shape):
    path = toy()
    path.write_text(path.read_text().replace("factory: bind:target", (REMOTE + shape + "}").replace(", ", "\n      ", 3).replace(", shape", "\n      shape")))
    return path


@pytest.mark.parametrize("shape", ["count_file: /tmp/x", "clock: 1", "sleep: 1", "url: 'http://other/'", "label_pth: x"])
def test_a_description_sets_only_the_shape_of_a_url_regression(toy, shape):
    with pytest.raises(CasemateError, match=r"target.shape.\w+ of 'reader' cannot be set in a description"):
        prepare(remote(toy, shape), budget="quick", look=False)


def test_a_certificate_that_is_not_checked_is_a_loud_conflict_regression(toy):
    assert not prepare(remote(toy, "max_batch: 4"), budget="quick", look=False).conflicts
    (note,) = prepare(remote(toy, "verify: false"), budget="quick", look=False).conflicts
    assert note.startswith("reader: CONFLICT: shape.verify is false")
