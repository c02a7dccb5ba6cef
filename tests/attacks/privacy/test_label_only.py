"""Distances to the boundary by labels alone, against the closed form of a linear model."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

import casemate as cm
from casemate.attacks.privacy.label_only import LabelOnly
from casemate.attacks.privacy.loss_threshold import LossThreshold
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Infer
from casemate.core.errors import BadInput

LABELS = Adversary(name="labels", may=Need.LABEL)


def linear(d, n=40, seed=0):
    rng = np.random.default_rng(seed)
    w, x = rng.normal(size=d), rng.normal(size=(n, d))
    target = cm.wrap(lambda x: np.stack([np.zeros(len(x)), x @ w + 0.3], 1), output="logits", classes=2, version="1")
    case = Infer(x=x, y=(x @ w + 0.3 > 0).astype(int), truth=np.arange(n) % 2 == 0)
    return target, case, np.abs(x @ w + 0.3) / np.linalg.norm(w)


@pytest.mark.parametrize(("d", "median", "most"), [(2, 1.01, 1.05), (5, 1.02, 1.06), (20, 1.08, 1.5)])
def test_of_a_linear_model_it_finds_the_distance(d, median, most):
    target, case, exact = linear(d)
    found = cm.run(LabelOnly(), target, case, adversary=LABELS)
    share = found.rows["score"] / exact
    assert share.min() > 1 - 1e-9  # a point decided otherwise is never nearer than the boundary
    assert np.median(share) < median
    assert share.max() < most
    assert found.spent["queries"] <= 40 * LabelOnly.info.static_cost(LabelOnly())


@pytest.fixture(scope="module")
def overfit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 4))
    y = (x[:, 0] + rng.normal(0, 1, 240) > 0).astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(x[:120], y[:120])
    return model, Infer(x=x, y=y, truth=np.arange(240) < 120)


@pytest.mark.parametrize("how", ["boundary", "votes"])
def test_on_a_network_it_finds_more_than_the_gap(baskets, how):
    gap = cm.run(LossThreshold(), baskets.target, baskets.case, adversary=LABELS).extra["auc"]
    found = cm.run(LabelOnly(how=how), baskets.target, baskets.case, adversary=LABELS)
    assert found.extra["auc"] > gap + 0.03


def test_what_is_decided_wrongly_is_no_member(overfit):
    model, case = overfit
    found = cm.run(LabelOnly(rounds=1, probes=5), model, case, adversary=LABELS)
    wrong = model.predict(case.x) != case.y
    assert (found.rows["score"][wrong] == -1).all()
    assert not found.rows["guess"][wrong].any()


@pytest.mark.parametrize("queries", [0, 100, 240, 1000])
def test_a_budget_that_ends_on_the_way_leaves_what_was_measured(overfit, queries):
    model, case = overfit
    found = cm.run(LabelOnly(), model, case, adversary=LABELS, budget=Budget(queries=queries))
    assert found.spent["queries"] <= queries
    if queries:
        assert found.extra["asked"] == min(queries, 240)
    if queries == 240:
        assert found.extra["measured"] == 0  # the gap attack is what stands
        assert found.rate > 0
    if queries == 1000:
        assert found.extra["measured"] > 0


def test_tables_are_judged_by_votes():
    rng = np.random.default_rng(1)
    n = 160
    frame = pd.DataFrame({"age": rng.integers(18, 80, n), "job": rng.choice(["cook", "clerk", "driver"], n)})
    y = ((frame["age"] > 45).to_numpy() ^ (rng.random(n) < 0.3)).astype(int)
    read = make_column_transformer((OneHotEncoder(), ["job"]), remainder="passthrough")
    model = make_pipeline(read, DecisionTreeClassifier(random_state=0)).fit(frame[:80], y[:80])
    case = Infer(x=frame, y=y, truth=np.arange(n) < 80)
    found = cm.run(LabelOnly(votes=10), model, case, adversary=LABELS)
    assert found.extra["how"] == "votes"
    assert found.extra["auc"] > 0.6
    with pytest.raises(BadInput, match="how='votes'"):
        cm.run(LabelOnly(how="boundary"), model, case, adversary=LABELS)


def test_a_model_with_one_answer_leaves_the_gap():
    x = np.random.default_rng(0).normal(size=(40, 2))
    same = cm.wrap(lambda x: np.tile([1.0, 0.0], (len(x), 1)), output="scores", classes=2, version="1")
    found = cm.run(LabelOnly(), same, Infer(x=x, y=np.arange(40) % 2, truth=np.arange(40) < 20), adversary=LABELS)
    assert found.spent["queries"] == 40
    assert found.rate == 0


def test_text_is_refused():
    case = Infer(x=["a"] * 10 + ["b"] * 10, y=np.arange(20) % 2, truth=np.arange(20) < 10)
    target = cm.wrap(lambda x: np.tile([0.6, 0.4], (len(x), 1)), output="scores", classes=2, version="1")
    with pytest.raises(BadInput, match=r"list is neither; use privacy\.loss_threshold"):
        cm.run(LabelOnly(), target, case, adversary=LABELS)
