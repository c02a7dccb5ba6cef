"""The plan: fixed shards, keys of all that decides an outcome and of nothing else, budgets divided without a remainder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import casemate as cm
from casemate.core.adversary import Budget
from casemate.core.errors import UsageError
from casemate.runs.assess import assess, prepare
from casemate.runs.plan import plan, share, spans
from casemate.runs.profiles import profile


@given(st.integers(0, 300), st.integers(1, 80))
def test_spans_cover_every_row_once(total, size):
    rows = [row for start, end in spans(total, size) for row in range(start, end)]
    assert rows == list(range(total)) and all(end - start <= size for start, end in spans(total, size))


@given(st.integers(0, 1000), st.integers(1, 300), st.integers(1, 80))
def test_shares_add_up_to_the_campaign(queries, rows, size):
    assert sum(share(queries, span, rows) for span in spans(rows, size)) == queries


@pytest.mark.parametrize(("budget", "name", "seconds"), [("quick", "quick", None), ("standard", "standard", None), ("0.5", "quick", 30), ("5", "standard", 300)])
def test_profiles(budget, name, seconds):
    assert (profile(budget)[0].name, profile(budget)[1]) == (name, seconds)


@pytest.mark.parametrize("budget", ["fast", "0", "-1", "nan", "inf", ""])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(UsageError, match="quick, standard, or a number"):
        profile(budget)


def keys(ready, change=lambda bench: bench, seed=0, threats=lambda t: t):
    bench = change(ready.benches["reader"])
    chosen, _ = profile("quick")
    return {c.label: c.key for c in plan(bench, [threats(t) for t in ready.derivation.threats if t.target == "reader"], chosen, seed).cells}


CHANGES = {
    "seed": {"seed": 1},
    "goal": {"change": lambda b: replace(b, goal=cm.Becomes(1))},
    "within": {"change": lambda b: replace(b, within=cm.Ball("linf", 0.2))},
    "service": {"change": lambda b: replace(b, services=(cm.control and _rounds(),))},
    "applied": {"change": lambda b: replace(b, applied=("x",))},
    "code": {"change": lambda b: replace(b, code="x")},
    "data": {"change": lambda b: replace(b, data=cm.Holdout(x=b.data.x, y=1 - np.asarray(b.data.y)))},
    "budget": {"threats": lambda t: replace(t, adversary=replace(t.adversary, budget=replace(t.adversary.budget, queries=700)))},
    "days": {"threats": lambda t: replace(t, adversary=replace(t.adversary, budget=replace(t.adversary.budget, days=9.0)))},
    "accounts": {"threats": lambda t: replace(t, adversary=replace(t.adversary, budget=replace(t.adversary.budget, accounts=3)))},
}


def _rounds():
    from casemate.core.control import controls

    return controls.get("service.round_scores")(digits=1)


@pytest.mark.parametrize("what", CHANGES)
def test_a_key_differs_when_what_decides_the_outcome_differs(toy, what):
    ready = prepare(toy(), budget="quick")
    before, after = keys(ready), keys(ready, **CHANGES[what])
    attacked = [label for label in before if "baseline" not in label]
    shared = [label for label in attacked if label in after]
    assert shared and all(before[label] != after[label] for label in shared)


def test_keys_are_equal_when_nothing_does(toy):
    one, two = prepare(toy(), budget="quick"), prepare(toy(), budget="quick")
    assert keys(one) == keys(two) and None not in keys(one).values()
    renamed = keys(one, threats=lambda t: replace(t, adversary=replace(t.adversary, knowledge=("x",))))
    assert renamed == keys(one)


def test_edited_code_is_run_and_keyed_anew_in_the_same_process_regression(toy):
    path = toy()
    first = prepare(path, budget="quick")
    bind = path.parent / "bind.py"
    bind.write_text(bind.read_text().replace("default_rng(1)", "default_rng(2)"))
    second = prepare(path, budget="quick")
    assert not np.array_equal(first.benches["reader"].data.x, second.benches["reader"].data.x)
    assert not set(keys(first).values()) & set(keys(second).values())


def test_a_target_that_nobody_can_verify_is_never_resumed(toy):
    path = toy()
    bind = path.parent / "bind.py"
    bind.write_text(bind.read_text() + "\ndef target():\n    net = _net()\n    return cm.wrap(lambda x: net(torch.as_tensor(x)).detach().numpy(), output='logits', classes=3)\n"
                    .replace("def holdout", "def unused"))  # fmt: skip
    text = bind.read_text().replace("target().respond(x).label.numpy()", "np.asarray(target().respond(x).label)")
    bind.write_text(text)
    assert set(keys(prepare(path, budget="quick")).values()) == {None}


def test_an_unverifiable_parent_makes_the_bench_unverifiable_regression(toy):
    bench = prepare(toy(), budget="quick").benches["reader"]
    assert bench.identity() and replace(bench, parent=cm.wrap(lambda x: np.zeros(len(x), int), classes=3)).identity() is None


def test_one_name_with_another_reach_is_another_cell_regression(toy):
    ready = prepare(toy(), budget="quick")
    threats = [t for t in ready.derivation.threats if t.rule.startswith("EV")][:1]
    other = replace(threats[0], id="EV-99@reader", adversary=replace(threats[0].adversary, budget=Budget(accounts=5)))
    found = plan(ready.benches["reader"], [*threats, other], profile("quick")[0], 0)
    attacked = [c for c in found.cells if c.threats]
    assert {c.threats for c in attacked} == {(threats[0].id,), ("EV-99@reader",)}
    assert len({c.group for c in attacked}) == 2 * len({(c.attack, c.scale) for c in attacked})


def test_a_campaign_smaller_than_the_rows_is_kept_over_all_cells_regression(toy):
    ready = prepare(toy(more="seeds: {quick: 1}"), budget="quick")
    threats = [replace(t, adversary=replace(t.adversary, budget=replace(t.adversary.budget, queries=5))) for t in ready.derivation.threats]
    found = plan(ready.benches["reader"], threats, profile("quick")[0], 0)
    for group in {c.group for c in found.cells if c.case == "evade" and c.threats}:
        assert sum(c.share for c in found.cells if c.group == group) <= 5


def test_a_deadline_leaves_whole_cells_untested(toy):
    ready = replace(prepare(toy(), budget="quick"), deadline_s=-1.0)
    result = assess(toy(), budget="quick", prepared=ready)
    assert not any(f.evidence for f in result.findings) and all(f.status == "untested" for f in result.findings if f.status != "question")
    assert any("time ran out" in u["reason"] for u in result.untested)


@pytest.mark.parametrize(("more", "message"), [("rowz: {quick: 3}", "rowz"), ("evasion.pgd: {stepz: 3}", "stepz")])
def test_a_slip_in_the_wishes_is_named(toy, more, message):
    # A mapping with one key twice is refused by the reader: the wish of the toy itself goes.
    path = toy(more=more, can="query, see_label, see_score, read_binary")
    path.write_text(path.read_text().replace("evasion.pgd: {steps: 5},", "") if "pgd" in more else path.read_text())
    with pytest.raises(UsageError, match=message):
        prepare(path, budget="quick")


def test_a_model_folder_and_the_facts_of_a_check_are_part_of_the_key_regression(toy):
    from casemate.core.case import Smuggle
    from casemate.runs.bench import supply_facts

    bench = prepare(toy(), budget="quick").benches["reader"]
    exposed = replace(bench, system=bench.system.replace_fact("reader.endpoint.auth", "none", "asserted"))
    adversary = cm.researcher()
    assert supply_facts(bench, adversary) != supply_facts(exposed, adversary)
    assert Smuggle(artifact=Path("x")).kind == "smuggle"
