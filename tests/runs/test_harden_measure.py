"""What harden measures: rates on the same rows, one set of attacks on both sides, costs as used, timings in turns."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.report import cases

from casemate.app.harden import table
from casemate.core.control import controls
from casemate.core.endpoint import DAY, Endpoint
from casemate.core.evidence import Cost, Interval, Status
from casemate.core.finding import Finding
from casemate.report.hardening import change_words, hardening
from casemate.report.words import cost_words
from casemate.runs import harden as module
from casemate.runs.api import _cost
from casemate.runs.applied import applicable, apply, apply_all, make, named, suited
from casemate.runs.assess import prepare
from casemate.runs.bench import Bench
from casemate.runs.comparison import changes, compared, exact_binomial, paid, vars_of
from casemate.runs.findings import _fitting
from casemate.runs.harden import _together, harden, latency
from casemate.runs.part import Part
from casemate.store.cells import Store

BUDGET = "service.query_budget"


def _stored(path):
    with sqlite3.connect(path) as link:
        return [row[0] for row in link.execute("select assessment from runs")]


def evidence(broken, *, attack="evasion.square", cost=None):
    rows = {"row": np.arange(len(broken)), "right": np.ones(len(broken), bool), "broken": np.asarray(broken, bool)}
    rate = float(np.mean(broken))
    cost = cost or Cost(None, 150.0)
    return replace(cases.made(attack), rows=rows, rate=rate, n=len(broken), interval=Interval(rate - 0.1, rate + 0.1), cost=cost)


def finding(lead, status=Status.BROKEN):
    return Finding(threat="EV-02@r#c", rule="EV-02", title="t", element="r", principal="c", explanation="", impact=3,
                   status=status, cost=lead.cost, evidence=(lead,))  # fmt: skip


def test_a_rate_that_falls_is_shown_though_status_and_cost_agree_regression():
    was, now = finding(evidence([True] * 47 + [False] * 53)), finding(evidence([True] * 7 + [False] * 93))
    (change,) = changes({"EV-02@r#c": was}, {"EV-02@r#c": now}, [make("service.labels_only")])
    assert (change.rate_before, change.rate_after) == (0.47, 0.07) and change.interval_before == (pytest.approx(0.37), pytest.approx(0.57))
    assert change.difference.startswith("fewer rows fall (40 rows fell before only, 0 after only, of the same 100")
    assert "47% [37, 57]" in change_words(vars_of(change)) and "7% [-3, 17]" in change_words(vars_of(change))


def test_no_difference_is_said_and_told_on_the_same_rows():
    assert exact_binomial(0, 0) == 1.0 and exact_binomial(5, 0) == pytest.approx(2 / 32) and exact_binomial(3, 3) == 1.0
    assert compared(evidence([1, 0, 1, 0]), evidence([0, 1, 1, 0])).startswith("no difference beyond the interval (1 rows")
    bare = [replace(evidence([1]), rows={}, rate=r, interval=Interval(r - 0.1, r + 0.1), measure="agreement") for r in (0.2, 0.3, 0.9)]
    assert compared(bare[0], bare[1]) == "no difference beyond the interval"
    assert compared(bare[0], bare[2]) == "higher, and the intervals do not meet"


def test_both_sides_meet_the_same_attacks_and_accounts_regression(toy, monkeypatch):
    seen = []
    real = module.assess

    def spy(*args, **kwargs):
        seen.append(kwargs["prepared"])
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "assess", spy)
    harden(toy(limit="rate_limit: none"), only=(controls.get(BUDGET)(rows=30),), budget="quick")
    _, was, now = seen
    ran = [{(c.attack, c.adversary.budget.accounts) for c in s.plans["reader"].cells if c.case == "evade" and c.threats} for s in (was, now)]
    ran[0].discard(("evasion.transfer_surrogate", module.SYBILS))  # its threat needs a thousand queries, and is gone
    assert ran[0] == ran[1] and ("evasion.hopskipjump", module.SYBILS) in ran[0]


def test_a_pin_moves_its_facts_regression(toy, tmp_path):
    file = tmp_path / "model.bin"
    file.write_bytes(b"weights")
    bench = replace(prepare(toy(), budget="quick").benches["reader"], artifact=file)
    control = suited("pipeline.digest_pin", bench)
    assert control.sha256 and dict(control.facts())["artifact.digest_verified_at_load"] is True
    assert named([make("pipeline.digest_pin")], bench)[0][1][0] == ("sha256", control.sha256)


def test_the_clock_and_the_accounts_are_counted_as_used():
    target = SimpleNamespace(random=False)
    limit = controls.get(BUDGET)(rows=10)
    endpoint = Endpoint(target, (limit,), accounts=5, days=30)
    endpoint.admit(25)
    assert endpoint.used == {"0", "1", "2"} and endpoint.now == 0
    endpoint.admit(50)
    assert len(endpoint.used) == 5 and 1 <= endpoint.now / DAY < 2
    free = Endpoint(target, (), accounts=5)
    assert not free.used
    free.admit(3)
    assert free.used == {"0"}


def test_a_cost_says_time_and_accounts_and_what_blocked_it_regression():
    assert str(Cost(146.0, 200.0, 5, 800.2)) == "146 queries over 800 days, 5 accounts"
    assert str(Cost(None, 63.0, blocked=True, share=0.12)) == "blocked after 63 queries, 12 % broken"
    assert str(Cost(0.0, 0.0, records=12)) == "12 records" and str(Cost(None, 0.0)) == "not shown"
    assert cost_words(Cost(146.0, 200.0, 5, 1.0)) == "half of the rows within 146 queries each over 1 day, 5 accounts"
    assert "blocked by the endpoint after 63 queries each" in cost_words(Cost(None, 63.0, blocked=True, share=0.12))
    rows = {"right": np.ones(10, bool), "broken": np.arange(10) < 1, "blocked": np.arange(10) >= 1}
    cost = _cost(rows, np.full(10, 63.0), False, [Part(facts={"days": 2.0, "accounts": 3})])
    assert cost.blocked and cost.share == 0.1 and (cost.days, cost.accounts) == (2.0, 3)


def test_a_set_attack_without_queries_names_none_regression():
    lead = replace(evidence([1]), case="smuggle", cost=Cost(None, 0.0))
    assert paid(lead) == "" and paid(replace(lead, cost=Cost(0.0, 0.0, records=3))) == "3 records"
    assert "queries" not in replace(finding(lead), evidence=(replace(lead, case="poison"),)).sentence()


def test_controls_around_an_endpoint_are_no_answer_to_a_copy_regression():
    wished = ("training.adversarial", "service.labels_only", "inference.transport_quantise")
    own = replace(evidence([1]), cost=Cost(0.0, None, gradients=9.0))
    assert _fitting(wished, [own]) == ("training.adversarial", "inference.transport_quantise")
    assert _fitting(wished, [evidence([1])]) == wished


def test_timings_are_taken_in_turns_and_no_difference_is_said_regression(toy, monkeypatch):
    bench = prepare(toy(), budget="quick").benches["reader"]
    calls = []
    monkeypatch.setattr(module, "_timed", lambda b, rows: calls.append(b is bench) or 0.001 + 0.0001 * (len(calls) % 3 - 1))
    same = latency(bench, replace(bench))
    assert same["latency_same"] and sum(calls[4:]) == module.PAIRS >= 9 and calls[4:8] == [True, False, False, True]
    monkeypatch.setattr(module, "_timed", lambda b, rows: 0.001 if b is bench else 0.002)
    assert not latency(bench, replace(bench))["latency_same"]
    head, cells = hardening([{"control": "x", "note": "", **same}])
    assert cells[0][head.index("latency ms")].startswith("no difference")


def test_workers_build_the_hardened_bench_and_it_is_kept_under_its_own_name_regression(toy, tmp_path, monkeypatch):
    path, applied = toy(), []
    real = module.assess
    monkeypatch.setattr(module, "assess", lambda *a, **k: applied.append((k["workers"], k["prepared"].applied)) or real(*a, **k))
    store = Store(tmp_path / "e.db")
    result = harden(path, only=("service.labels_only",), budget="quick", workers=2, store=store)
    assert applied[-1] == (2, (("service.labels_only", ()),))
    kept = {one["name"]: one for one in (json.loads(text) for text in _stored(tmp_path / "e.db"))}
    assert set(kept) == {"toy", "toy with service.labels_only"}
    assert "casemate harden" in kept["toy with service.labels_only"]["reproduce"] and kept["toy with service.labels_only"]["clean"]
    one = harden(path, only=("service.labels_only",), budget="quick")
    strip = [[{k: v for k, v in row.items() if "latency" not in k} for row in r.hardening] for r in (result, one)]
    assert strip[0] == strip[1] and "casemate harden" in result.reproduce


def test_a_worker_makes_the_very_same_bench(toy):
    bench = prepare(toy(), budget="quick").benches["reader"]
    tried = [controls.get(BUDGET)(rows=7), make("service.labels_only")]
    hard: Bench = bench
    for control in tried:
        hard = apply(hard, control)
    assert apply_all(bench, named(tried, bench)).identity() == hard.identity()
    assert apply_all(bench, named(tried, bench)).system == hard.system


def test_what_was_not_tried_is_listed_with_the_reason(toy):
    bench = prepare(toy(limit="rate_limit: {per: day, n: 500, key: account}"), budget="quick").benches["reader"]
    _, left = applicable(bench, [], False)
    reasons = dict(left)
    assert set(reasons) == set(controls) and reasons[BUDGET] == "it is in place already"
    assert reasons["training.adversarial"] == "no recipe is bound" and reasons["pipeline.digest_pin"] == "no artifact is bound"
    assert reasons["service.labels_only"] == "nothing was attacked"


def test_nothing_attacked_is_not_nothing_broken_regression():
    result = SimpleNamespace(
        name="x", findings=(), hardening=(), untested=({"what": "EV", "reason": "no target is bound to the description"},),
        system=SimpleNamespace(target=()),
    )  # fmt: skip
    assert "nothing was attacked" in table(result) and "no target is bound" in table(result)


def test_attacks_that_measure_different_things_are_not_set_against_each_other_regression():
    def told(measure, rate, attack, interval):
        return replace(cases.made(attack), measure=measure, rate=rate, interval=interval, rows={}, n=100)

    def advantage(rate, attack):
        return told("membership advantage", rate, attack, Interval(rate - 0.02, rate + 0.02))

    audited = told("audited epsilon, lower bound", 3.5, "privacy.canary", None)
    lira, loss = (advantage(0.45, "privacy.lira"), advantage(0.1, "privacy.loss_threshold"))
    old = replace(finding(audited), evidence=(audited, lira, advantage(0.3, "privacy.entropy")))
    (change,) = changes({"T": old}, {"T": finding(loss)}, [])
    assert "audited epsilon, lower bound: not measured any more" in change.difference
    assert "membership advantage: 0.45 by privacy.lira → 0.1 by privacy.loss_threshold" in change.difference
    words = change_words(vars_of(change))
    assert "audited epsilon, lower bound 3.5" in words and "→ broken membership advantage 0.1" in words
    (same,) = changes({"T": old}, {"T": replace(finding(audited), evidence=(audited, loss))}, [])
    assert "not measured" not in same.difference


def test_a_cell_is_run_again_only_where_the_control_can_meet_it(toy, tmp_path):
    bench = prepare(toy(), budget="quick").benches["reader"]
    file = tmp_path / "model.bin"
    file.write_bytes(b"model")
    pinned = apply(replace(bench, artifact=file), make("pipeline.digest_pin"))
    plain = replace(bench, artifact=file)
    assert pinned.identity() != plain.identity() and pinned.identity(pin=False) == plain.identity(pin=False)
    rounded = apply(plain, make("service.round_scores"))
    assert rounded.identity(pin=False) != plain.identity(pin=False)
    assert rounded.identity(pin=False, around=False) == plain.identity(pin=False, around=False)
    squeezed = apply(plain, make("inference.transport_quantise"))
    assert squeezed.identity(pin=False, around=False) != plain.identity(pin=False, around=False)


def test_several_ways_to_train_are_no_whole():
    labels, trim, sever = make("service.labels_only"), make("training.trim"), make("training.sever")
    assert _together([labels, trim]) == [labels, trim] and _together([labels, trim, sever]) == [labels]


def test_cells_share_a_key_where_a_control_cannot_meet_them(toy):
    from casemate.runs.plan import _Marks

    bench = prepare(toy(), budget="quick").benches["reader"]
    rounded = apply(bench, make("service.round_scores"))
    cells = {name: SimpleNamespace(case=case, attack=name) for name, case in (
        ("poisoning.label_flip", "poison"), ("poisoning.feedback", "poison"), ("privacy.lira", "infer"))}  # fmt: skip
    same = {name: _Marks(bench).of(cell) == _Marks(rounded).of(cell) for name, cell in cells.items()}
    assert same == {"poisoning.label_flip": True, "poisoning.feedback": False, "privacy.lira": False}


def test_what_would_train_for_nothing_is_not_offered(toy):
    bench = prepare(toy(), budget="quick").benches["reader"]
    if bench.recipe is None:
        bench = replace(bench, recipe=SimpleNamespace(fit=lambda x, y, seed: None, x=bench.data.x, y=bench.data.y, stack=None))
    _, left = applicable(bench, [finding(evidence([True] * 3))], False)
    assert dict(left)["training.trim"] == "nothing was broken that it answers"


def test_tables_are_taken_by_controls_that_only_choose_rows_or_labels():
    taken = {id for id in controls if "table" in getattr(controls.get(id), "modality", ())}
    assert taken >= {f"training.{name}" for name in ("trim", "sever", "roni", "partition", "pate", "randomised_response")}


def test_no_change_is_cut_off_and_the_long_cells_stand_last_regression():
    change = vars_of(changes({"T": finding(evidence([True] * 9))}, {"T": finding(evidence([False] * 9))}, [])[0])
    rows = [{"control": "a", "changes": [{**change, "threat": f"PO-{i:02}@r#c"} for i in range(30)], "accuracy": 0.5}]
    head, lines = hardening(rows)
    assert head[-1] == "changes" and lines[0][-1].count("PO-") == 30
    html = (Path(module.__file__).parents[1] / "report" / "templates" / "system.html.j2").read_text(encoding="utf-8")
    assert "cell | short(8000)" in html and len(lines[0][-1]) < 8000
