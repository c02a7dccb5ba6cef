"""`run`: any input kind, hard budgets whatever the shards, a ledger that adds up, and a price that is not flattered."""

import numpy as np
import pandas
import pytest
import torch

import casemate as cm
from casemate.attacks._rows import Rows
from casemate.controls.service.query_budget import QueryBudget
from casemate.core.attack import AttackInfo
from casemate.core.evidence import Cost

torch.set_num_threads(1)


class Net(torch.nn.Module):
    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.line, self.rows = torch.nn.Linear(4, 3).to(dtype), []
        with torch.no_grad():
            rng = np.random.default_rng(0)
            for p in self.parameters():
                p.copy_(torch.as_tensor(rng.normal(size=p.shape)))
            self.line.bias.copy_(-self.line.weight.sum(1) / 2)  # the classes meet in the middle of the domain

    def forward(self, x):
        self.rows.append(len(x))
        return self.line(x)


X = np.random.default_rng(1).random((23, 4))


def net(**options):
    return Net(**options).eval()


def truth(model, x):
    return cm.wrap(model).respond(x).label.numpy()


def evade(model, x=X, **options):
    return cm.Evade(x, truth(model, np.asarray(x)), cm.Ball("linf", options.pop("radius", 0.3)), **options)


@pytest.mark.parametrize("attack", ["evasion.pgd", "evasion.square", "evasion.hopskipjump", "evasion.noise"])
def test_the_ledger_counts_every_row_the_model_saw_regression(attack):
    model = net()
    case = evade(model, radius=0.05)
    model.rows.clear()
    evidence = cm.run(attack, model, case, budget=cm.Budget(queries_per_row=40), shard=10)
    spent = evidence.spent
    rows = spent["queries"] + spent["local"] + spent["gradients"] - spent["refused"] + spent["judge"] + spent["health"]
    assert rows == sum(model.rows)


@pytest.mark.parametrize("shard", [5, 23, 100])
def test_a_campaign_budget_holds_over_all_shards_regression(shard):
    evidence = cm.run("evasion.noise", net(), evade(net(), radius=0.01), budget=cm.Budget(queries=50), shard=shard)
    assert 0 < evidence.spent["queries"] <= 50


@pytest.mark.parametrize("attack", ["evasion.pgd", "evasion.square", "evasion.hopskipjump"])
def test_shards_and_the_order_of_rows_do_not_matter(attack):
    model, order = net(), np.random.default_rng(3).permutation(23)
    case, budget = evade(model), cm.Budget(queries_per_row=60)
    one = cm.run(attack, model, case, budget=budget, shard=100)
    two = cm.run(attack, model, case.only(order), budget=budget, shard=7)
    for name in ("row", "broken", "queries", "broke_at"):
        np.testing.assert_array_equal(one.rows[name], two.rows[name])
    np.testing.assert_allclose(one.claims.x[order], two.claims.x, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(one.claims.broken)[order], two.claims.broken)  # beside its claim, whatever the order


@pytest.mark.parametrize("make", [
    lambda x: x.astype(np.float32), lambda x: torch.as_tensor(x), lambda x: torch.as_tensor(x, dtype=torch.float32),
    lambda x: x.tolist(), lambda x: (x > 0.5).astype(np.uint8), lambda x: (x > 0.5).astype(np.int64),
], ids=["float32", "tensor64", "tensor32", "lists", "uint8", "int64"])  # fmt: skip
@pytest.mark.parametrize("attack", ["evasion.pgd", "evasion.hopskipjump", "evasion.noise"])
def test_inputs_of_any_number_type_are_attacked(make, attack):
    model = net()
    case = evade(model, make(X), radius=0.6)
    evidence = cm.run(attack, model, case, budget=cm.Budget(queries_per_row=60))
    assert evidence.rate > 0.5 and len(evidence.claims.x) == 23 and evidence.baseline is not None


@pytest.mark.parametrize("make", [list, torch.as_tensor, pandas.Series, lambda y: y.astype(np.int32)], ids=["list", "tensor", "series", "int32"])
@pytest.mark.parametrize("attack", ["evasion.pgd", "evasion.hopskipjump"])
def test_labels_of_any_kind_give_one_evidence(make, attack):
    model = net()
    y, budget = truth(model, X), cm.Budget(queries_per_row=40)
    want = cm.run(attack, model, cm.Evade(X, y, cm.Ball("linf", 0.3)), budget=budget)
    found = cm.run(attack, model, cm.Evade(X, make(y), cm.Ball("linf", 0.3)), budget=budget)
    np.testing.assert_array_equal(want.rows["broken"], found.rows["broken"])


@pytest.mark.parametrize(("x", "y", "message"), [
    (X, np.zeros((23, 1)), "one label"), (X, np.zeros(22), "one label"), (X[:0], np.zeros(0), "no rows"),
    (np.where(X[3, 2] == X, np.nan, X), np.zeros(23), "row 3"), (X * 255, np.zeros(23), "outside the domain"),
    ((X * 255).astype(np.uint8), np.zeros(23), "outside the domain"),
], ids=range(6))  # fmt: skip
def test_data_that_cannot_be_attacked_is_refused_at_once(x, y, message):
    model = net()
    with pytest.raises(cm.BadInput, match=message):
        cm.run("evasion.pgd", model, cm.Evade(x, y, cm.Ball("linf", 0.1)))
    assert not model.rows


@pytest.mark.parametrize("row", [[0, 0], [-1, 2], [0.5, 1.5], [0], [[0, 1]]], ids=str)
def test_row_ids_are_keys_regression(row):
    with pytest.raises(cm.BadInput, match="row ids"):
        cm.Evade(X[:2], [0, 1], cm.Ball("linf", 0.1), row=row)


def test_one_row_and_no_row_that_was_right():
    model = net()
    assert cm.run("evasion.pgd", model, evade(model, X[:1], radius=1.0)).n == 1
    wrong = cm.Evade(X, (truth(model, X) + 1) % 3, cm.Ball("linf", 0.3))
    for attack in ("evasion.pgd", "evasion.hopskipjump"):
        evidence = cm.run(attack, model, wrong)
        assert evidence.n == 0 and evidence.verdict == "inconclusive" and evidence.spent["queries"] == 0
        np.testing.assert_array_equal(evidence.rows["label_after"], evidence.rows["label_before"])


def test_a_decision_after_is_that_of_before_where_nothing_was_tried_regression():
    model = net()
    y = truth(model, X)
    y[:5] = (y[:5] + 1) % 3
    rows = cm.run("evasion.noise", model, cm.Evade(X, y, cm.Ball("linf", 0.01))).rows
    np.testing.assert_array_equal(rows["label_after"][:5], rows["label_before"][:5])


class Blind:
    """Walks blindly to the far corner and never looks."""

    info = AttackInfo(id="evasion.blind", needs=cm.Need.LABEL, scope="rows", case="evade", summary="")
    __dataclass_fields__: dict = {}

    def __call__(self, oracle, case, *, rng):
        at = Rows.begin(case)
        for _ in range(7):
            oracle.look(at.x, rows=at.row)
        far = case.within.project(1 - at.x.round(), at.origin)
        yield Rows(row=at.row, x=far, origin=at.origin, y=at.y, best=far, loss=at.loss, broken=at.broken)


def test_a_row_broken_unawares_cost_all_it_spent_regression():
    model = net()
    evidence = cm.run(Blind(), model, evade(model, radius=1.0))
    assert evidence.rate > 0.5 and evidence.cost.queries == 7


def test_a_refused_row_stays_at_risk_regression():
    # Ten of 23 rows are let in once, six of those break: that is not half of the rows.
    model = net()
    evidence = cm.run("evasion.noise", model, evade(model, radius=1.0), controls=(QueryBudget(rows=30),))
    assert evidence.rate < 0.9 and evidence.extra["blocked"] + round(evidence.rate * evidence.n) == evidence.n
    last = evidence.curves["queries"][-1] if evidence.curves["queries"] else (0, 0, 0, 0)
    assert last[1] == pytest.approx(evidence.rate)  # the curve ends where the rate stands
    assert (evidence.cost.queries is None) == (evidence.rate < 0.5)


def test_a_copy_that_does_not_break_shows_no_price():
    model = net()
    cost = cm.run("evasion.pgd", model, evade(model, radius=0.0)).cost
    assert cost == Cost(None, None, 1, None, gradients=None) and str(cost) == "not shown"


def test_a_target_that_raises_is_told_as_such_regression():
    def fails(x):
        raise ValueError("boom\nboom")

    with pytest.raises(cm.TargetFailed, match="boom"):
        cm.run("evasion.noise", cm.wrap(fails, classes=2), cm.Evade(X, np.zeros(23), cm.Ball("linf", 0.1)))


def test_an_attack_needs_a_target_and_its_grants_and_a_case_of_its_kind():
    case = cm.Evade(X, np.zeros(23, int), cm.Ball("linf", 0.1))
    with pytest.raises(cm.BadInput, match="needs a target"):
        cm.run("evasion.pgd", None, case)
    with pytest.raises(cm.NotGranted, match="gradient"):
        cm.run("evasion.pgd", net(), case, adversary=cm.Adversary(name="a", may=cm.Need.LABEL))
    with pytest.raises(cm.BadInput, match="kind"):
        cm.run("availability.flood", net(), case)


def test_a_regression_is_shifted():
    line = torch.nn.Linear(4, 1).double().eval()
    y = line(torch.as_tensor(X)).detach().numpy()[:, 0]
    evidence = cm.run("evasion.square", line, cm.Evade(X, y, cm.Ball("linf", 0.3), goal=cm.Shift(0.05)), budget=cm.Budget(queries_per_row=80))
    assert evidence.n == 23 and evidence.rate > 0.3


def test_frames_come_back_in_order_whatever_their_index_regression():
    frame = pandas.DataFrame({"a": [0.1, 0.9, 0.2, 0.8], "b": [1, 2, 3, 4]}, index=[7, 7, 2, 0])
    within = cm.Table(columns={"a": cm.Column(kind="real", low=0, high=1)})
    target = cm.wrap(lambda x: (x["a"].to_numpy() > 0.5).astype(int), classes=2)
    evidence = cm.run("evasion.edits", target, cm.Evade(frame, [0, 1, 0, 0], within), budget=cm.Budget(queries_per_row=30))
    claims = evidence.claims.x
    assert claims["b"].tolist() == [1, 2, 3, 4] and claims.index.tolist() == [7, 7, 2, 0] and evidence.n == 3
    assert ((claims["a"] > 0.5) == [True, False, True, True]).all() and claims["a"].iloc[3] == 0.8


def test_a_network_with_one_logit_is_told_what_to_do_instead():
    net = torch.nn.Linear(3, 1)
    x = torch.rand(8, 3)
    found = cm.run("evasion.pgd", net, cm.Evade(x, (net(x)[:, 0] > 0).long(), cm.Ball("linf", 0.2)))
    assert found.verdict == "inconclusive"
    assert "two logits" in " ".join(found.reasons)
