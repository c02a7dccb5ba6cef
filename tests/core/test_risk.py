"""Prices, bands, the matrix and the margin: known answers worked out by hand."""

import math
from itertools import pairwise

import pytest

from casemate.core.entities import Prices, Principal
from casemate.core.evidence import Cost, Status
from casemate.core.finding import SEVERITIES, severity
from casemate.core.risk import MONEY_BANDS, Paid, Spent, by_matrix, margin, middle, money_band, priced


@pytest.mark.parametrize(("money", "band"), [
    (0, "trivial"), (99.99, "trivial"), (100, "cheap"), (9_999, "cheap"), (10_000, "costly"), (999_999, "costly"), (1e6, "prohibitive"),
    (math.inf, "prohibitive"), (None, "not shown"),
])  # fmt: skip
def test_bands_of_money(money, band):
    assert money_band(money) == band


@pytest.mark.parametrize(("impact", "row"), [
    (4, "critical critical high medium"), (3, "high high medium low"), (2, "medium medium low low"), (1, "low low low low"), (0, "low low low low"),
])  # fmt: skip
def test_the_matrix(impact, row):
    assert " ".join(by_matrix(impact, band) for band in MONEY_BANDS) == row


@pytest.mark.parametrize("impact", range(5))
@pytest.mark.parametrize("queries", [5.0, 500.0, 5_000.0])
def test_the_matrix_agrees_with_the_bands_of_queries_where_no_price_is_stated(impact, queries):
    band = {5.0: "trivial", 500.0: "cheap", 5_000.0: "costly"}[queries]
    assert by_matrix(impact, band) == severity(impact, Status.BROKEN, Cost(queries))


def test_dearer_is_never_graver_and_worse_never_milder():
    order = [[SEVERITIES.index(by_matrix(impact, band)) for band in MONEY_BANDS] for impact in range(5)]
    assert all(row == sorted(row) for row in order)
    assert all(a >= b for low, high in pairwise(order) for a, b in zip(low, high, strict=True))


def test_every_term_has_its_price():
    prices = Prices(per_1000_queries=0.5, per_account=3, per_record=0.1, per_cpu_hour=2, per_human_hour=60)
    who = Principal(id="p", access_cost=50, sybil_cost=2)
    paid = priced(Spent(1200, 100, 31, 1.5, 8), prices, who)
    assert paid.total == pytest.approx(0.6 + 10 + 50 + 60 + 3 + 480) and not paid.unstated
    assert paid.terms == (
        "1 access at 50.00", "30 further accounts at 2.00", "100 records at 0.10", "8 hours of work at 60.00",
        "1,200 queries at 0.50 per 1,000", "1.5 processor hours at 2.00",
    )  # fmt: skip


def test_a_price_that_is_not_stated_is_named_and_not_guessed():
    paid = priced(Spent(1200, 100, 3), Prices(per_record=1), None)
    assert paid.total == 100 and paid.unstated == ("per_account", "per_1000_queries")
    nothing = priced(Spent(1200), None, None)
    assert nothing.total is None and nothing.unstated == ("per_1000_queries",)


def test_accounts_cost_what_the_market_asks_where_the_principal_does_not_say():
    assert priced(Spent(accounts=3), Prices(per_account=2), Principal(id="p")).total == 6
    assert priced(Spent(accounts=3), Prices(per_account=2), Principal(id="p", access_cost=10)).total == 14
    assert priced(Spent(accounts=3), Prices(per_account=2), Principal(id="p", sybil_cost=1)).total == 4


def test_no_query_is_free_and_known():
    assert priced(Spent(0.0), Prices(per_1000_queries=5), None).total == 0


@pytest.mark.parametrize(("gain", "chance", "wanted", "once", "each", "found"), [
    (100, 0.5, 10, 40, 0, "profitable"), (100, 0.5, 10, 50, 0, "marginal"), (100, 0.5, 10, 500, 0, "marginal"), (100, 0.5, 10, 501, 0, "uneconomic"),
    (100, 0.5, 10, 0, 51, "uneconomic"), (100, 0.5, None, 4, 0, "profitable"), (1, 1, 1, 0, 0, "profitable"), (None, 1, 1, 1, 0, ""),
])  # fmt: skip
def test_margin(gain, chance, wanted, once, each, found):
    assert margin(gain, chance, wanted, Paid(once, each, ("x",))) == found


def test_without_a_price_there_is_no_margin():
    assert margin(100, 1, 1, Paid(0, 0, ())) == ""


def test_what_is_paid_for_each_success_is_told_apart():
    paid = priced(Spent(1000, accounts=2, each=True), Prices(per_1000_queries=4, per_account=3), None)
    assert (paid.once, paid.each, paid.total) == (6, 4, 10)


def test_the_middle_of_an_interval():
    assert middle(100, 10_000) == pytest.approx(1000) and middle(0, 0) == 1 and middle(0, 1e6) == pytest.approx(1000)
