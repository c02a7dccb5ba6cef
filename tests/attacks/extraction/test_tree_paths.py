"""Trees recovered leaf by leaf."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import casemate as cm
from casemate.attacks.extraction.tree_paths import TreePaths
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Copy, Holdout
from casemate.core.errors import NotGranted

SCORES = Adversary(name="scores", may=Need.LABEL | Need.SCORE)
RNG = np.random.default_rng(0)


def case_of(x, y, queries=50_000):
    half = len(x) // 2
    return Copy(pool=x[:half], queries=queries, truth=Holdout(x=x[half:], y=y[half:]))


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_a_regression_tree_is_recovered_leaf_for_leaf(depth):
    x, y = load_diabetes(return_X_y=True)
    y = y + RNG.normal(0, 1e-3, len(y))  # no two leaves alike
    model = DecisionTreeRegressor(max_depth=depth, random_state=0).fit(x[:221], y[:221])
    evidence = cm.run(TreePaths(), model, case_of(x, y), adversary=SCORES)
    found = evidence.extra["copy"]
    assert (found["leaves"], found["ambiguous"], found["complete"]) == (model.get_n_leaves(), 0, True)
    assert evidence.rate == 1.0
    fresh = RNG.uniform(x.min(0), x.max(0), (5000, 10))
    assert np.array_equal(evidence.claims.labels(fresh), model.predict(fresh))
    assert evidence.spent["queries"] < 100 * model.get_n_leaves() + 600


def test_a_classifier_of_depth_8_whose_leaves_show_different_scores():
    x = RNG.normal(size=(1000, 6))
    y = (np.sin(3 * x[:, 0]) + x[:, 1] + RNG.normal(0, 1, 1000) > 0).astype(int)
    model = DecisionTreeClassifier(max_depth=8, min_samples_leaf=5, random_state=0)
    model.fit(x[:500], y[:500], sample_weight=RNG.uniform(0.5, 1.5, 500))
    alike = model.get_n_leaves() - len(np.unique(model.tree_.value[model.tree_.feature < 0][:, 0, 0].round(12)))
    evidence = cm.run(TreePaths(), model, case_of(x, y), adversary=SCORES)
    found = evidence.extra["copy"]
    assert evidence.rate > 0.995
    assert abs(found["leaves"] - model.get_n_leaves()) <= alike
    assert (found["ambiguous"] > 0) == (alike > 0)


def test_leaves_that_answer_alike_are_counted_and_hardly_hurt():
    x, y = load_breast_cancer(return_X_y=True)
    model = DecisionTreeClassifier(max_depth=8, random_state=0).fit(x[:284], y[:284])
    evidence = cm.run(TreePaths(), model, case_of(x, y), adversary=SCORES)
    assert evidence.extra["copy"]["ambiguous"] >= 8  # pure leaves, all of them [1, 0] or [0, 1]
    assert evidence.rate > 0.99


def test_categories_and_whole_numbers_of_a_table():
    n = 400
    frame = pd.DataFrame(
        {
            "age": RNG.integers(18, 80, n),
            "income": RNG.normal(30, 8, n),
            "job": RNG.choice(["none", "skilled", "manager", "retired"], n),
        }
    )
    y = frame["income"] * (frame["job"] == "manager") - frame["age"] * (frame["job"] != "none") + RNG.normal(0, 5, n)
    columns = ColumnTransformer([("c", OneHotEncoder(), ["job"])], remainder="passthrough")
    model = make_pipeline(columns, DecisionTreeRegressor(max_depth=4, random_state=0)).fit(frame[:200], y[:200])
    evidence = cm.run(TreePaths(), model, case_of(frame, y), adversary=SCORES)
    assert evidence.rate == 1.0
    assert evidence.extra["copy"]["leaves"] == model[-1].get_n_leaves()
    assert evidence.extra["copy"]["ambiguous"] == 0


def test_a_budget_that_ends_leaves_the_leaves_known_by_then():
    x, y = load_diabetes(return_X_y=True)
    model = DecisionTreeRegressor(max_depth=8, random_state=0).fit(x[:221], y[:221])
    evidence = cm.run(TreePaths(), model, case_of(x, y), adversary=SCORES, budget=Budget(queries=2500))
    found = evidence.extra["copy"]
    assert evidence.spent["queries"] <= 2500
    assert 0 < found["leaves"] < model.get_n_leaves()
    assert "beyond" in found["gave_up"]
    assert "budget" in evidence.extra["stopped"]
    assert 0.1 < evidence.rate < 1


def test_what_is_no_tree_ends_with_the_plan():
    x = RNG.normal(size=(100, 3))
    model = cm.wrap(lambda x: np.stack([1 - (p := 1 / (1 + np.exp(-x.sum(1)))), p], 1), output="scores", version="1")
    evidence = cm.run(TreePaths(), model, case_of(x, np.zeros(100, int), queries=3000), adversary=SCORES)
    assert evidence.spent["queries"] <= 3000
    assert evidence.extra["copy"]["complete"] is False


def test_labels_alone_are_refused_by_name():
    x = RNG.normal(size=(100, 3))
    model = cm.wrap(lambda x: (x[:, 0] > 0).astype(int), classes=2, version="1")
    with pytest.raises(NotGranted, match="scores"):
        cm.run(TreePaths(), model, replace(case_of(x, np.zeros(100, int)), low=np.full(3, -2), high=np.full(3, 2)), adversary=SCORES)
