"""Learning a copy from answers: growing with the questions, with labels or with scores."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import casemate as cm
from casemate.attacks.extraction._axes import draw
from casemate.attacks.extraction.learning import LearningExtraction
from casemate.controls.service.query_budget import QueryBudget
from casemate.core.adversary import Adversary, Budget, Need, researcher
from casemate.core.case import Copy, Holdout
from casemate.core.evidence import Verdict
from casemate.core.random import RowRandom

LABELS = Adversary(name="labels", may=Need.LABEL)


@pytest.fixture(scope="module")
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    return model, Copy(pool=x[:300], queries=400, truth=Holdout(x=x[300:], y=y[300:]))


def test_labels_alone_are_enough_to_copy_a_simple_model(cancer):
    model, case = cancer
    evidence = cm.run(LearningExtraction(), model, case, adversary=LABELS)
    assert evidence.verdict is Verdict.BROKEN
    assert evidence.rate > 0.95
    assert [point[0] for point in evidence.curves["agreement"]] == [100, 200, 400]
    assert evidence.extra["copy"]["soft"] is False
    assert evidence.baseline.name == "majority class"
    assert evidence.spent["judge"] >= 269  # its own inputs, and others all over and near the boundary
    assert evidence.extra["fidelity_uniform"][0] > 0.8
    assert evidence.extra["fidelity_boundary"][0] > 0.8


def test_scores_are_learned_as_soft_labels(cancer):
    model, case = cancer
    evidence = cm.run(LearningExtraction(), model, case)
    assert evidence.extra["copy"]["soft"] is True
    assert evidence.rate > 0.97


def test_the_budget_is_a_hard_cap(cancer):
    model, case = cancer
    evidence = cm.run(LearningExtraction(), model, case, adversary=LABELS, budget=Budget(queries=50))
    assert evidence.spent["queries"] == 50


def test_a_rate_limit_ends_it_and_leaves_the_last_copy(cancer):
    model, case = cancer
    limit = QueryBudget(rows=150, per="day")
    evidence = cm.run(LearningExtraction(), model, case, adversary=LABELS, controls=[limit])
    assert evidence.spent["queries"] - evidence.spent["refused"] == 150
    assert "refused" in evidence.extra["stopped"]
    assert evidence.claims is not None


def test_the_outcome_repeats(cancer):
    model, case = cancer
    first, again = (cm.run(LearningExtraction(), model, case, adversary=LABELS, seed=3) for _ in range(2))
    assert first.digest() == again.digest()


def test_a_pool_too_small_is_filled_with_mixes_not_repeats():
    frame = pd.DataFrame({"n": np.arange(20), "c": list("abcde") * 4})
    found = draw(Copy(pool=frame), RowRandom(0), 60, 0)
    assert len(found) == 60
    assert list(found.dtypes) == list(frame.dtypes)
    assert set(found["c"]) == set("abcde")
    assert len(found.drop_duplicates()) > 30
    pool = np.random.default_rng(0).random((10, 3)).astype(np.float32)
    array = draw(Copy(pool=pool), RowRandom(0), 30, 0)
    assert array.dtype == np.float32
    assert len(np.unique(array, axis=0)) == 30
    assert array.min() >= pool.min()
    assert array.max() <= pool.max()


def test_one_class_gives_a_constant_copy():
    x = np.random.default_rng(0).random((100, 2))
    constant = cm.wrap(lambda x: np.tile([0.9, 0.1], (len(x), 1)), output="scores")
    case = Copy(pool=x[:50], queries=50, truth=Holdout(x=x[50:], y=np.zeros(50, int)))
    evidence = cm.run(LearningExtraction(), constant, case, adversary=replace(researcher(), may=Need.LABEL))
    assert evidence.extra["copy"]["model"] == "constant"
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "no better than the majority class" in evidence.reasons[-1]


def test_a_second_class_among_the_last_answers_only_is_learned_from_all_of_them():
    x = np.arange(5.0)[:, None]
    truth = Holdout(x=x, y=np.zeros(5, int))
    for last in range(5):  # in one of these orders the odd one is kept aside, and the rest is of one class
        target = cm.wrap(lambda new, last=last: (new[:, 0] == last).astype(int), classes=2)
        evidence = cm.run(LearningExtraction(), target, Copy(pool=x, queries=5, truth=truth), adversary=LABELS)
        assert evidence.spent["queries"] == 5
        assert evidence.extra["copy"]["model"] != "constant"
