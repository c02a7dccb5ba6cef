"""The door: every grant and refusal by name, every call charged before it is made, no budget overrun by one."""

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.controls.service.labels_only import LabelsOnly
from casemate.controls.service.query_budget import QueryBudget
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.endpoint import DAY, Endpoint
from casemate.core.errors import BadInput, BudgetSpent, NotGranted, Refused
from casemate.core.oracle import Known, Meter, Oracle
from casemate.core.random import RowRandom
from casemate.core.target import Recipe, to_numpy

X, ROWS = np.random.default_rng(0).random((6, 3)), np.array([4, 9, 2, 0, 7, 5])


class Counting(torch.nn.Module):
    """Counts the rows it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(3, 3).double()
        self.rows: list[int] = []

    def forward(self, x):
        self.rows.append(len(x))
        return self.line(x)


def door(may=Need.LABEL, budget=None, services=(), model=None, known=None, **stages):
    model = model or Counting().eval()
    adversary = Adversary(name="eve", may=may, budget=budget or Budget())
    endpoint = Endpoint(cm.wrap(model, **stages), services, accounts=adversary.budget.accounts, days=adversary.budget.days)
    meter = Meter(ROWS)
    return Oracle(endpoint, adversary, meter, known), meter, model


def loss(logits, y):
    return logits.sum(1)


CALLS = {
    "label": lambda o: o.look(X, rows=ROWS),
    "score": lambda o: o.scores(X, rows=ROWS),
    "gradient": lambda o: o.gradient(X, y=np.zeros(6, int), rows=ROWS, loss=loss),
    "submit": lambda o: o.submit(X, rows=ROWS),
    "parent": lambda o: o.parent(),
    "data": lambda o: o.data,
    "recipe": lambda o: o.recipe,
    "contribute": lambda o: o.contribute(1),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_held_is_refused_by_name_and_costs_nothing(name):
    oracle, meter, model = door(Need.NONE)
    with pytest.raises(NotGranted, match=f"eve does not hold '{name}'.*nothing"):
        CALLS[name](oracle)
    assert not model.rows and not any(meter.total.values())


@pytest.mark.parametrize("name", CALLS)
def test_what_is_held_is_granted(name):
    parent = cm.wrap(Counting().eval())
    known = Known(data=(X, ROWS), parent=parent, recipe=Recipe(lambda x, y, seed: parent, X, ROWS))
    oracle, _, _ = door(Need[name.upper()] | Need.LABEL, known=known)
    CALLS[name](oracle)


@pytest.mark.parametrize("name", ["parent", "data", "recipe"])
def test_what_is_held_but_bound_to_nothing_says_so(name):
    with pytest.raises(NotGranted, match=r"bound|binds"):
        CALLS[name](door(Need[name.upper()])[0])


def test_an_answer_shows_what_is_granted_and_no_more():
    assert door(Need.LABEL)[0].look(X, rows=ROWS).scores is None
    shown = door(Need.LABEL | Need.SCORE)[0].look(X, rows=ROWS)
    assert shown.scores is not None and shown.logits is None
    slope = door(Need.LABEL | Need.GRADIENT)[0].gradient(X, y=np.zeros(6, int), rows=ROWS, loss=loss)
    assert slope.response.scores is None and slope.response.logits is None


def test_scores_that_the_endpoint_hides_are_not_granted_by_holding_them():
    with pytest.raises(NotGranted, match="shows none"):
        door(Need.LABEL | Need.SCORE, services=(LabelsOnly(),))[0].scores(X, rows=ROWS)


def test_a_row_budget_is_hard_to_the_row():
    oracle, meter, model = door(budget=Budget(queries_per_row=2))
    oracle.look(X, rows=ROWS)
    with pytest.raises(BudgetSpent, match="2 for a row"):  # one row twice in one call
        oracle.look(X[:3], rows=ROWS[[0, 1, 1]])
    oracle.look(X[:1], rows=ROWS[:1])
    assert oracle.left(ROWS).tolist() == [0, 1, 1, 1, 1, 1]
    with pytest.raises(BudgetSpent):
        oracle.look(X, rows=ROWS)
    assert sum(model.rows) == meter.total["queries"] == 7


def test_the_campaign_budget_is_hard_to_the_row():
    oracle, meter, model = door(budget=Budget(queries=8))
    oracle.look(X, rows=ROWS)
    assert oracle.affordable == 2
    with pytest.raises(BudgetSpent, match="campaign's 8"):
        oracle.look(X[:3], rows=ROWS[:3])
    oracle.look(X[:2], rows=ROWS[:2])
    assert meter.total["queries"] == sum(model.rows) == 8


def test_gradients_and_records_have_budgets_of_their_own():
    oracle, meter, model = door(Need.GRADIENT | Need.CONTRIBUTE | Need.LABEL, Budget(gradients_per_row=3, records=2))
    oracle.gradient(X, y=np.zeros(6, int), rows=ROWS, loss=loss, draws=3)
    with pytest.raises(BudgetSpent, match="gradients"):
        oracle.gradient(X[:1], y=np.zeros(1, int), rows=ROWS[:1], loss=loss)
    oracle.contribute(2)
    with pytest.raises(BudgetSpent, match="records"):
        oracle.contribute(1)
    with pytest.raises(BadInput):
        oracle.contribute(-1)
    assert meter.total["gradients"] == sum(model.rows) == 18


def test_rows_that_nobody_is_charged_for_are_not_answered_regression():
    oracle, meter, model = door(Need.LABEL | Need.GRADIENT | Need.SUBMIT)
    for call in (lambda: oracle.look(X, rows=ROWS[:1]), lambda: oracle.submit(X, rows=ROWS[:2]),
                 lambda: oracle.gradient(X, y=np.zeros(6, int), rows=ROWS[:1], loss=loss)):  # fmt: skip
        with pytest.raises(BadInput, match="row ids"):
            call()
    assert not model.rows and not any(meter.total.values())


def test_a_copy_answers_for_compute_and_no_query_and_shows_what_the_endpoint_hides():
    oracle, meter, model = door(Need.ARTIFACT | Need.LABEL | Need.SCORE, Budget(queries=0, queries_per_row=0), (LabelsOnly(),))
    assert oracle.look(X, rows=ROWS).scores is not None
    assert meter.total["local"] == sum(model.rows) == 6 and meter.total["queries"] == 0
    assert np.isinf(oracle.left(ROWS)).all() and np.isinf(oracle.affordable)


def test_a_limit_refuses_and_a_refusal_is_charged():
    oracle, meter, model = door(services=(QueryBudget(rows=4),))
    response, refused = oracle.ask(X, rows=ROWS)
    assert refused.tolist() == [False] * 4 + [True] * 2 and len(response.label) == 4
    with pytest.raises(Refused, match="6 of 6"):
        oracle.look(X, rows=ROWS)
    assert (meter.total["queries"], meter.total["refused"], sum(model.rows)) == (12, 8, 4)
    assert meter.of("refused", ROWS).tolist() == [1, 1, 1, 1, 2, 2]


def test_accounts_take_turns():
    oracle, _meter, _ = door(budget=Budget(accounts=2), services=(QueryBudget(rows=4),))
    assert oracle.ask(X, rows=ROWS)[1].sum() == 0
    assert oracle.ask(X, rows=ROWS)[1].sum() == 4
    one, _, _ = door(budget=Budget(accounts=2), services=(QueryBudget(rows=4),))
    assert one.ask(X, rows=ROWS, account=1)[1].sum() == 2
    assert one.ask(X, rows=ROWS, account=0)[1].sum() == 2


@pytest.mark.parametrize("account", [-1, 2])
def test_an_account_that_was_not_opened_is_refused_by_name_regression(account):
    with pytest.raises(NotGranted, match=f"account {account}"):
        door(budget=Budget(accounts=2), services=(QueryBudget(rows=4),))[0].ask(X, rows=ROWS, account=account)


def test_a_patient_attacker_waits_until_the_days_are_over():
    endpoint = Endpoint(cm.wrap(Counting().eval()), (QueryBudget(rows=4),), days=2.5)
    let_in = sum(int(endpoint.admit(6).sum()) for _ in range(10))
    assert 8 <= let_in <= 12 and 0 < endpoint.now <= 2.5 * DAY
    hasty = Endpoint(cm.wrap(Counting().eval()), (QueryBudget(rows=4),))
    assert sum(int(hasty.admit(6).sum()) for _ in range(10)) == 4 and hasty.now == 0


def test_admission_does_not_depend_on_how_questions_are_packed():
    whole = Endpoint(cm.wrap(Counting().eval()), (QueryBudget(rows=5),), accounts=2, days=1.5)
    parts = Endpoint(cm.wrap(Counting().eval()), (QueryBudget(rows=5),), accounts=2, days=1.5)
    assert whole.admit(30).sum() == sum(int(parts.admit(k).sum()) for k in (1, 9, 3, 17))


def noise(x, rows, draw):
    return x + torch.as_tensor(RowRandom(1).normal(rows, draw, tuple(x.shape[1:])))


NOISY = {"stages": (cm.Stage(name="noise", forward=noise, random=True),)}


def test_the_noise_of_a_row_does_not_depend_on_its_batch_regression():
    # Rows with different numbers of calls behind them used to share the largest number.
    model = Counting().eval()
    together, _, _ = door(Need.LABEL | Need.SCORE, model=model, **NOISY)
    together.look(X[:1], rows=ROWS[:1])
    both = to_numpy(together.look(X[:2], rows=ROWS[:2]).scores)
    apart, _, _ = door(Need.LABEL | Need.SCORE, model=model, **NOISY)
    apart.look(X[:1], rows=ROWS[:1])
    alone = [to_numpy(apart.look(X[[i]], rows=ROWS[[i]]).scores)[0] for i in (0, 1)]
    np.testing.assert_allclose(both, alone)


def test_no_two_calls_of_a_row_share_their_noise():
    oracle, _, _ = door(Need.LABEL | Need.SCORE | Need.GRADIENT | Need.LOGIT, **NOISY)
    same = X[[0, 0, 0]]
    seen = [to_numpy(oracle.look(same, rows=ROWS[[0, 0, 0]]).logits)]
    slope = oracle.gradient(X[:1], y=np.zeros(1, int), rows=ROWS[:1], loss=loss, draws=2)
    seen += [to_numpy(slope.response.logits), to_numpy(oracle.look(X[:1], rows=ROWS[:1]).logits)]
    assert len(np.unique(np.concatenate(seen), axis=0)) == 5


def test_the_parent_is_free_of_queries_and_counted_apart():
    parent = Counting().eval()
    oracle, meter, model = door(Need.PARENT | Need.LABEL, Budget(queries=0), known=Known(parent=cm.wrap(parent)))
    mine = oracle.parent()
    mine.look(X, rows=ROWS)
    mine.gradient(X, y=np.zeros(6, int), rows=ROWS, loss=loss)
    assert meter.total["parent"] == sum(parent.rows) == 12 and meter.total["queries"] == 0 and not model.rows


def writer(records=None, services=(), days=None, retrain=None):
    adversary = Adversary(name="eve", may=Need.LABEL | Need.CONTRIBUTE, budget=Budget(records=records, days=days))
    model = cm.wrap(Counting().eval())
    endpoint = Endpoint(model, services, days=days, retrain=retrain or (lambda records: model))
    meter = Meter(ROWS)
    return Oracle(endpoint, adversary, meter), meter, endpoint


def written(index, shift=0.0, label=0):
    return cm.Records(index=np.asarray(index), x=X[: len(index)] + shift, y=np.full(len(index), label))


def test_records_that_are_exchanged_for_others_between_trainings_are_paid_for():
    oracle, meter, _ = writer()
    oracle.retrained(written([0, 1]))
    oracle.retrained(written([0, 1, 2]))
    assert meter.total["records"] == 3  # the first two stayed written
    oracle.retrained(written([0, 1], shift=1.0))  # other content in the same places
    oracle.retrained(written([0, 1], label=1))  # and other labels
    assert meter.total["records"] == 7
    oracle.retrained(written([0, 1]))
    assert meter.total["records"] == 7


def test_copies_of_one_record_are_paid_for_one_by_one_and_what_was_contributed_before_counts():
    oracle, meter, _ = writer()
    oracle.contribute(2)
    same = cm.Records(index=np.full(3, 99), x=np.repeat(X[:1], 3, axis=0), y=np.zeros(3, int))
    oracle.retrained(same)
    assert meter.total["records"] == 3


def test_a_budget_of_records_holds_over_all_trainings():
    oracle, meter, _ = writer(records=3)
    oracle.retrained(written([0, 1]))
    with pytest.raises(BudgetSpent, match="budget of 3"):
        oracle.retrained(written([0, 1], shift=1.0))
    assert meter.total["records"] == 2


def test_time_that_passes_at_an_endpoint_trained_again_passes_for_the_campaign():
    oracle, _, endpoint = writer(services=(QueryBudget(rows=6, per="day"),), days=2.5)
    oracle.look(X, rows=ROWS)
    oracle.retrained(written([0])).look(X, rows=ROWS)  # waits a day
    assert endpoint.now >= DAY
    oracle.retrained(written([0])).look(X, rows=ROWS)
    last = oracle.retrained(written([0]))  # no training turns the clock back
    with pytest.raises(Refused):
        last.look(X, rows=ROWS)
