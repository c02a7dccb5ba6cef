"""The driver: finished rows cost nothing more, dialogues are packed in one order, and the last claim always stands."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks._rows import Rows
from casemate.controls.service.query_budget import QueryBudget
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.attack import Ask, AttackInfo, Claim
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BudgetSpent, Refused, RunError
from casemate.core.oracle import Meter, Oracle
from casemate.core.random import RowRandom
from casemate.runs.driver import drive_dialogue, drive_rows

torch.set_num_threads(1)
IDS = np.array([5, 2, 9, 0])
X = np.array([[0.1], [0.2], [0.3], [0.4]])


class Step:
    """Class 1 above a half, and a note of everything it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, x):
        self.calls.append(np.asarray(x)[:, 0].round(6).tolist())
        return (np.asarray(x)[:, 0] > 0.5).astype(int)


def door(budget=None, services=(), case=None):
    model = Step()
    case = case or cm.Evade(X, np.zeros(4, int), cm.Ball("linf", 1.0), row=IDS)
    budget = budget or Budget()
    endpoint = Endpoint(cm.wrap(model, classes=2), services, accounts=budget.accounts)
    meter = Meter(case.row)
    return Oracle(endpoint, Adversary(name="a", may=Need.LABEL, budget=budget), meter), case, model, meter


def rows_attack(steps, stride=0.1):
    def run(oracle, case, *, rng):
        at = Rows.begin(case)
        for _ in range(steps):
            at = at.at(at.x + stride)
            at = yield at.see(case, oracle.look(at.x, rows=at.row))
        return at

    return run


def talk(function):
    @dataclass(frozen=True)
    class Talk:
        info = AttackInfo(id="evasion.talk", needs=Need.LABEL, scope="dialogue", case="evade", summary="")

        def __call__(self, oracle, case, *, rng):
            return function(oracle, case)

    return Talk()


def test_a_row_that_is_done_costs_nothing_more_and_keeps_its_claim():
    oracle, case, model, meter = door()
    trace = drive_rows(rows_attack(4, 0.11), oracle, case, RowRandom(0))
    assert trace.believed.all() and [len(c) for c in model.calls] == [4, 3, 2, 1]
    assert trace.broke_at.tolist() == [4, 3, 2, 1] == meter.of("queries", IDS).tolist()
    np.testing.assert_allclose(np.asarray(trace.x)[:, 0], [0.54, 0.53, 0.52, 0.51])


def test_nearest_works_on_every_row_to_the_end():
    case = cm.Evade(X, np.zeros(4, int), cm.Ball("linf", 1.0), row=IDS, seek="nearest")
    oracle, case, model, _ = door(case=case)
    trace = drive_rows(rows_attack(5, 0.11), oracle, case, RowRandom(0))
    assert trace.believed.all() and [len(c) for c in model.calls] == [4] * 5
    assert trace.broke_at.tolist() == [4, 3, 2, 1]


def test_a_spent_budget_leaves_the_last_claim():
    oracle, case, _, meter = door(Budget(queries_per_row=2))
    trace = drive_rows(rows_attack(9, 0.11), oracle, case, RowRandom(0))
    assert trace.believed.tolist() == [False, False, True, True] and "budget" in trace.stopped
    assert meter.of("queries", IDS).max() == 2 and not trace.blocked.any()


def test_rows_that_were_refused_are_blocked():
    oracle, case, _, meter = door(services=(QueryBudget(rows=9),))
    trace = drive_rows(rows_attack(9, 0.11), oracle, case, RowRandom(0))
    assert trace.believed.tolist() == [False, True, True, True] and trace.blocked.tolist() == [True, False, False, False]
    assert "refused" in trace.stopped and meter.total["refused"] == 1


def test_an_attack_that_never_yields_leaves_the_inputs():
    def nothing(oracle, case, *, rng):
        oracle.look(case.x, rows=case.row)
        return
        yield

    oracle, case, _, _ = door(Budget(queries_per_row=0))
    trace = drive_rows(nothing, oracle, case, RowRandom(0))
    assert np.asarray(trace.x).tolist() == X.tolist() and not trace.believed.any()


@pytest.mark.parametrize(("rises", "found"), [([0, 1] + [1] * 18, False), (list(range(20)), True)])
def test_rows_still_improving_in_the_last_tenth_are_told(rises, found):
    def climb(oracle, case, *, rng):
        at = Rows.begin(case)
        for loss in rises:
            at = yield Rows(row=at.row, x=at.x, origin=at.origin, y=at.y, best=at.best, broken=at.broken,
                            loss=torch.full((len(at),), float(loss), dtype=at.x.dtype))  # fmt: skip
        return at

    oracle, case, _, _ = door()
    assert drive_rows(climb, oracle, case, RowRandom(0)).improving.tolist() == [found] * 4


def test_questions_are_packed_by_round_and_row_whatever_the_order_of_the_case():
    def ask(oracle, case):
        for i in range(2):
            yield Ask(np.full((2, 1), case.row[0] / 100 + i / 10))

    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        case = cm.Evade(X, np.zeros(4, int), cm.Ball("linf", 1.0), row=IDS).only(np.array(order))
        oracle, case, model, _ = door(case=case)
        drive_dialogue(talk(ask), oracle, case, RowRandom(0))
        rows = np.repeat(np.sort(IDS), 2) / 100
        assert model.calls == [rows.round(6).tolist(), (rows + 0.1).round(6).tolist()]


def test_a_dialogue_ends_with_its_claim_and_knows_what_it_cost():
    def ask(oracle, case):
        for i in range(1, 9):
            answer = yield Ask(case.x + 0.11 * i)
            if answer.met[0]:
                yield Claim(case.x + 0.11 * i, True)

    oracle, case, _, meter = door()
    trace = drive_dialogue(talk(ask), oracle, case, RowRandom(0))
    assert trace.believed.all() and trace.broke_at.tolist() == [4, 3, 2, 1] == meter.of("queries", IDS).tolist()


def test_a_dialogue_may_go_on_with_less_after_the_budget_said_no():
    seen = []

    def ask(oracle, case):
        try:
            yield Ask(np.repeat(case.x, 5, 0))
        except BudgetSpent:
            answer = yield Ask(np.repeat(case.x, 2, 0))
            seen.append((len(answer.met), answer.left))
        yield Ask(np.repeat(case.x, 99, 0))

    oracle, case, _, meter = door(Budget(queries_per_row=3))
    trace = drive_dialogue(talk(ask), oracle, case, RowRandom(0))
    assert seen == [(2, 1.0)] * 4 and meter.of("queries", IDS).tolist() == [2] * 4 and "99" in trace.stopped


def test_what_is_left_of_a_campaign_goes_to_the_first_rows_regression():
    def ask(oracle, case):
        answer = yield Ask(case.x + 0.9)
        yield Claim(case.x + 0.9, bool(answer.met[0]))

    oracle, case, _, meter = door(Budget(queries=3))
    trace = drive_dialogue(talk(ask), oracle, case, RowRandom(0))
    assert dict(zip(IDS.tolist(), trace.believed.tolist(), strict=True)) == {0: True, 2: True, 5: True, 9: False}
    assert meter.total["queries"] == 3


def test_a_refusal_blocks_the_row_unless_the_attack_handles_it():
    def ask(oracle, case):
        try:
            yield Ask(case.x)
        except Refused:
            if case.row[0] == 5:
                raise
            yield Claim(case.x, False)

    oracle, case, _, _ = door(services=(QueryBudget(rows=2),))
    trace = drive_dialogue(talk(ask), oracle, case, RowRandom(0))
    assert dict(zip(IDS.tolist(), trace.blocked.tolist(), strict=True)) == {0: False, 2: False, 5: True, 9: False}


def test_a_question_goes_through_the_account_it_names_regression():
    def ask(oracle, case):
        yield Ask(case.x, account=int(case.row[0] > 2))

    oracle, case, _, meter = door(Budget(accounts=2), (QueryBudget(rows=2),))
    drive_dialogue(talk(ask), oracle, case, RowRandom(0))
    assert meter.total["refused"] == 0
    oracle, case, _, meter = door(Budget(accounts=2), (QueryBudget(rows=1),))
    drive_dialogue(talk(ask), oracle, case, RowRandom(0))
    assert meter.of("refused", np.sort(IDS)).tolist() == [0, 1, 0, 1]


def test_a_claim_of_many_rows_would_shift_the_others_and_is_refused_regression():
    def ask(oracle, case):
        yield Claim(np.repeat(case.x, 2, 0), True)

    oracle, case, _, _ = door()
    with pytest.raises(RunError, match="got 2 rows"):
        drive_dialogue(talk(ask), oracle, case, RowRandom(0))


def test_the_record_of_losses_folds_to_what_a_full_one_says():
    """Only the last tenth of the steps is held: of 50,000 rows and 5,000 steps all of them were four gigabytes."""
    from casemate.runs.driver import _Book

    rng = np.random.default_rng(0)
    for _ in range(50):
        n, steps = int(rng.integers(1, 6)), int(rng.integers(10, 60))
        case = cm.Evade(np.zeros((n, 2)), np.zeros(n, int), cm.Ball("linf", 0.1))
        book, held = _Book(None, case), np.full((3, n), np.nan)  # an oracle is asked for costs alone
        full = []
        for _ in range(steps):
            places = np.flatnonzero(rng.random(n) < 0.8)
            loss = np.where(rng.random(len(places)) < 0.1, np.nan, rng.normal(size=len(places)).cumsum())
            full.append((places, loss))
            book._late.append((book._steps, places, loss))
            book._steps += 1
            book._fold()
            assert len(book._late) <= 0.1 * book._steps + 1
        for i, (places, loss) in enumerate(full):
            held[0, places] = np.where(np.isnan(held[0, places]), loss, held[0, places])
            held[2, places] = loss
            if i <= 0.9 * steps:
                held[1, places] = loss
        book._improving()
        np.testing.assert_array_equal(book._loss, held)
