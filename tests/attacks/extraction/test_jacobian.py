"""Copies that ask where they are unsure: by their own slopes, or by choice among candidates."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.attacks.extraction.jacobian import JacobianAugmentation
from casemate.attacks.extraction.learning import LearningExtraction, _spread
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Copy, Holdout
from casemate.core.errors import BadInput

LABELS = Adversary(name="labels", may=Need.LABEL)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x = x / 16
    model = LogisticRegression(max_iter=200).fit(x[:800], y[:800])
    case = Copy(pool=x[800:1200], low=np.zeros(64), high=np.ones(64), queries=900, truth=Holdout(x=x[1200:], y=y[1200:]))
    return model, case


def test_every_question_is_counted_the_augmenting_ones_too(digits):
    model, case = digits
    attack = JacobianAugmentation(seeds=50, rounds=4, doubling=2, reservoir=80, epochs=20)
    evidence = cm.run(attack, model, case, adversary=LABELS)
    assert [point[0] for point in evidence.curves["agreement"]] == [50, 100, 200, 280, 360]
    assert evidence.spent["queries"] == 360
    assert evidence.curves["agreement"][-1][1] > evidence.curves["agreement"][0][1]
    assert evidence.rate > 0.8


def test_questions_stay_inside_the_stated_domain_and_the_plan(digits):
    model, case = digits
    seen = []

    def noted(x):
        seen.append(x)
        return model.predict(x)

    case = replace(case, queries=130)
    evidence = cm.run(JacobianAugmentation(epochs=5), cm.wrap(noted, classes=10, version="1"), case, adversary=LABELS)
    assert evidence.spent["queries"] == 130
    assert min(x.min() for x in seen) >= 0
    assert max(x.max() for x in seen) <= 1


def test_decimal_answers_and_tables_are_refused(digits):
    _, case = digits
    with pytest.raises(BadInput, match="decimal numbers"):
        cm.run(JacobianAugmentation(), cm.wrap(lambda x: x.sum(1), version="1"), case, adversary=LABELS)
    with pytest.raises(BadInput, match="real numbers"):
        cm.run(JacobianAugmentation(), digits[0], replace(case, pool=np.zeros((9, 64), int)), adversary=LABELS)


@pytest.mark.parametrize("strategy", ["uncertainty", "kcenter", "both"])
def test_chosen_questions_are_never_asked_twice_and_end_with_the_plan(digits, strategy):
    model, case = digits
    asked = []

    def noted(x):
        asked.append(x)
        return model.predict(x)

    target = cm.wrap(noted, classes=10, version="1")
    attack = LearningExtraction(strategy=strategy, rounds=3, candidates=3, learners=("logistic",))
    evidence = cm.run(attack, target, replace(case, queries=120), adversary=LABELS, budget=Budget(queries=200))
    assert evidence.spent["queries"] == 120
    assert evidence.extra["copy"]["strategy"] == strategy
    assert [point[0] for point in evidence.curves["agreement"]] == [30, 60, 90, 120]
    assert len(np.unique(np.concatenate([x for x in asked if len(x) == 30]), axis=0)) == 120
    assert evidence.rate > 0.7


def test_k_center_takes_the_farthest_each_time():
    points = np.array([[0.0], [1.0], [5.0], [9.0]])
    assert _spread(points, np.array([[0.0]]), 3).tolist() == [3, 2, 1]


def test_an_unknown_strategy_is_refused_with_the_known_ones(digits):
    with pytest.raises(BadInput, match="kcenter"):
        cm.run(LearningExtraction(strategy="best"), *digits, adversary=LABELS)
