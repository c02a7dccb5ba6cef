"""A flood meets nothing, or a limit: the ledger says which."""

from types import SimpleNamespace

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.availability.flood import Flood
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Load, Stall
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.oracle import Meter
from casemate.judges import stall

SENDER = Adversary(name="sender", may=Need.SUBMIT)


class Limit:
    """A service control of a few lines: so many rows in all of the first `window` seconds, as many in the next, ..."""

    info = SimpleNamespace(id="service.limit")
    start = 0

    def __init__(self, rows, window=3600.0):
        self.rows, self.window = rows, window

    def admit(self, state, account, rows, now):
        inside = max(0, min(len(rows), self.rows * (1 + int(now // self.window)) - state))
        return state + inside, np.arange(len(rows)) < inside

    def answer(self, state, response):
        return response

    def wait(self, state, account, now):
        return self.window - now % self.window


@pytest.fixture
def target():
    return cm.wrap(lambda x: np.stack([x[:, 0], 1 - x[:, 0]], axis=1), version="1", output="scores")


@pytest.fixture
def case():
    return Stall(x=np.linspace(0, 1, 10)[:, None], rows=1000, within_s=60)


def test_nothing_limits_an_endpoint_without_controls(target, case):
    evidence = cm.run(Flood(), target, case, adversary=SENDER)
    assert evidence.verdict is Verdict.BROKEN
    assert (evidence.rate, evidence.n) == (1.0, 1000)
    assert evidence.claims == Load(sent=1000, admitted=1000)
    assert evidence.extra["admitted_row_seconds"] > 0
    assert evidence.interval is None


def test_a_limit_refuses_and_the_flood_is_resisted(target, case):
    evidence = cm.run(Flood(), target, case, adversary=SENDER, controls=[Limit(100)])
    assert evidence.verdict is Verdict.RESISTED
    assert evidence.rate == 0.1
    assert evidence.spent["refused"] == 900
    assert "refused 900" in evidence.reasons[0]


@pytest.mark.parametrize(
    ("admitted", "verdict"),
    [(0, "resisted"), (500, "resisted"), (501, "inconclusive"), (985, "inconclusive"), (990, "broken"), (1000, "broken")],
)
def test_a_flood_resists_where_at_most_half_got_through(target, case, admitted, verdict):
    evidence = cm.run(Flood(), target, case, adversary=SENDER, controls=[Limit(admitted)])
    assert (evidence.verdict, evidence.extra["admitted"]) == (verdict, admitted)
    if verdict == "inconclusive":
        assert f"{admitted} of 1000 rows admitted" in evidence.reasons[0]
        assert "more than half, less than nearly all" in evidence.reasons[1]


def test_the_flood_waits_within_its_stretch_of_time_and_no_longer(target, case):
    patient = Adversary(name="patient", may=Need.SUBMIT, budget=Budget(days=30))
    evidence = cm.run(Flood(), target, case, adversary=patient, controls=[Limit(100, window=20.0)])
    assert evidence.extra["admitted"] == 400  # at 0, 20, 40 and 60 seconds


def test_the_budget_bounds_what_is_sent(target, case):
    evidence = cm.run(Flood(), target, case, adversary=SENDER, budget=Budget(queries=300))
    assert evidence.spent["queries"] == 300
    assert any(check.number == 35 and check.ok is False for check in evidence.health)


def test_measured_time_stays_out_of_the_digest(target, case):
    first, again = (cm.run(Flood(), target, case, adversary=SENDER) for _ in range(2))
    assert first.extra["admitted_row_seconds"] != again.extra["admitted_row_seconds"]
    assert first.digest() == again.digest()


def test_a_claim_that_differs_from_the_ledger_counts_for_nothing(case):
    meter = Meter(np.arange(10))
    meter.add("queries", np.arange(10))
    opinion = stall.judge(case, Load(sent=10, admitted=3), meter)
    assert not opinion.broken
    assert opinion.checks[0].ok is False


def test_an_empty_case_is_refused(target):
    with pytest.raises(BadInput, match="no rows"):
        cm.run(Flood(), target, Stall(x=np.zeros((0, 1))), adversary=SENDER)
