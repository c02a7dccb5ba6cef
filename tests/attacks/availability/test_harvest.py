"""What a day of calls costs: known from the controls, whatever period they count in."""

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.availability.harvest import CostHarvest
from casemate.controls.service.query_budget import QueryBudget
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.availability import Bill, Harvest
from casemate.core.errors import BadInput, NotGranted
from casemate.core.evidence import Verdict
from casemate.judges import harvest
from casemate.judges.harvest import Day
from casemate.testing import check_attack

X = np.random.default_rng(0).normal(size=(20, 3))
TARGET = cm.wrap(lambda x: np.asarray(x).sum(1) > 0, output="labels", classes=2, name="paid")
CASE = Harvest(x=X, price=0.02, rows=300, currency="EUR")
SENDER = Adversary(name="sender", may=Need.SUBMIT)


def run(attack="availability.harvest", case=CASE, accounts=1, **options):
    return cm.run(attack, TARGET, case, adversary=SENDER, budget=Budget(accounts=accounts), **options)


def test_it_keeps_the_contract():
    check_attack("availability.harvest")


def test_with_no_control_the_bill_is_open():
    found = run()
    assert found.verdict is Verdict.BROKEN and not found.extra["bounded"]
    assert found.extra["accounts_for_the_line"] == 1 and found.spent["queries"] == 300 == found.extra["admitted"]
    assert "no control bounds" in found.reasons[0]


@pytest.mark.parametrize(("per", "rows", "day"), [
    ("day", 1000, 1000), ("hour", 50, 50 * 24), ("minute", 10, 14_400), ("second", 2, 172_800),
])  # fmt: skip
def test_a_day_costs_what_the_budget_lets_in_whatever_its_period(per, rows, day):
    found = run(controls=[QueryBudget(rows=rows, per=per)])
    # A row counts up to one part of a period longer than the period: the greedy pace is below the nominal one by that, and
    # the burst at the start comes on top.
    nominal = found.extra["rows_a_day"] / day
    assert 8 / 9 - 0.01 <= nominal <= 1.0 + rows / day
    assert found.extra["cost_a_day"] == pytest.approx(0.02 * found.extra["rows_a_day"])


def test_the_line_and_the_accounts_it_takes():
    budget = [QueryBudget(rows=1000, per="day")]
    held = run(controls=budget)
    assert held.verdict is Verdict.RESISTED and held.rate == pytest.approx(0.2)
    assert held.extra["accounts_for_the_line"] == 5  # 1000 rows at 0.02 are 20 a day, and the line is 100
    assert run(controls=budget, accounts=4).verdict is Verdict.RESISTED
    assert run(controls=budget, accounts=5).verdict is Verdict.BROKEN
    low = run(CostHarvest(line=20.0), controls=budget)
    assert low.verdict is Verdict.BROKEN and low.rate == pytest.approx(1.0)
    assert run(CostHarvest(line=20.01), controls=budget).verdict is Verdict.RESISTED


def test_a_cap_over_all_accounts_holds_whatever_number_there_is():
    found = run(controls=[QueryBudget(rows=1000, per="day", total=3000)], accounts=50)
    assert found.verdict is Verdict.RESISTED and found.extra["rows_a_day"] == 3000
    assert found.extra["accounts_for_the_line"] is None and "together" in found.reasons[0]


def test_more_accounts_than_anybody_counts_are_not_counted():
    found = run(CostHarvest(line=1e6), controls=[QueryBudget(rows=10, per="day")])
    assert found.verdict is Verdict.RESISTED and "more than 1,000 accounts" in found.reasons[0]


def test_what_the_attacker_pays_stands_beside():
    paying = Harvest(x=X, price=0.02, rows=100, fee=0.001, account=5.0)
    found = run(case=paying, controls=[QueryBudget(rows=1000, per="day")], accounts=2)
    assert found.extra["attacker_pays_a_day"] == pytest.approx(2000 * 0.001 + 10)


def test_no_query_no_verdict_and_no_grant_no_run():
    none = cm.run("availability.harvest", TARGET, CASE, adversary=SENDER, budget=Budget(queries=0))
    assert none.verdict is Verdict.INCONCLUSIVE and none.n == 0
    with pytest.raises(NotGranted):
        cm.run("availability.harvest", TARGET, CASE, adversary=Adversary(name="nobody"))


def test_a_claim_that_is_not_in_the_ledger_is_worth_nothing():
    from casemate.core.oracle import Meter

    meter = Meter(np.arange(10))
    meter.count("queries", 10)
    opinion = harvest.judge(CASE, Bill(sent=10, admitted=3), meter, day=lambda k: Day(1.0, False), accounts=1, line=1.0)
    assert not opinion.broken and "the ledger has 10 of 10" in opinion.why[0]


@pytest.mark.parametrize(("changes", "words"), [
    ({"x": X[:0]}, "no rows"), ({"price": 0.0}, "price=0.0"), ({"price": float("nan")}, "price=nan"), ({"rows": 0}, "rows=0"),
    ({"fee": -1.0}, "fee=-1.0"), ({"account": float("inf")}, "account=inf"),
])  # fmt: skip
def test_bad_cases_are_refused(changes, words):
    with pytest.raises(BadInput, match=words):
        run(case=Harvest(**{"x": X, "price": 0.02} | changes))


@pytest.mark.parametrize("bad", [{"line": 0.0}, {"line": float("nan")}, {"pack": 0}])
def test_bad_parameters_are_refused(bad):
    with pytest.raises(BadInput, match=r"availability\.harvest"):
        CostHarvest(**bad)


def test_it_repeats():
    assert run().digest() == run().digest()
