"""Weight ratios from decisions alone."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import casemate as cm
from casemate.attacks.extraction.lowd_meek import LowdMeek, _halved, _Pair
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Copy, Holdout
from casemate.core.errors import BadInput, Refused
from casemate.core.target import Response
from casemate.judges.copy import linear_parameters

LABELS = Adversary(name="labels", may=Need.LABEL)
WEIGHTS, BIAS = np.array([2.0, -0.5, 0.0, 7.0]), 0.3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4))
TRUTH = Holdout(x=X[100:], y=np.zeros(100, int))


def decide(x):
    return (np.asarray(x) @ WEIGHTS + BIAS > 0).astype(int)


TOY = cm.wrap(decide, classes=2, version="1")


def test_the_ratios_of_a_known_model_are_found_to_twelve_digits():
    evidence = cm.run(LowdMeek(), TOY, Copy(pool=X[:100], queries=2000, truth=TRUTH), adversary=LABELS)
    found = evidence.claims.parameters
    length = np.linalg.norm(WEIGHTS)
    assert found["direction"] == pytest.approx(WEIGHTS / length, abs=1e-11)
    assert found["offset"] == pytest.approx(BIAS / length, abs=1e-11)
    assert evidence.rate == 1.0
    # d + 1 lines of about 40 halvings, their ends, the search for both decisions, and the checks.
    assert evidence.spent["queries"] < 5 * 40 + 4 * 8 + 32


def test_a_domain_without_a_pool_is_enough():

    case = Copy(low=np.full(4, -3.0), high=np.full(4, 3.0), queries=2000, truth=TRUTH)
    found = cm.run(LowdMeek(), TOY, case, adversary=LABELS).claims.parameters
    assert found["direction"] == pytest.approx(WEIGHTS / np.linalg.norm(WEIGHTS), abs=1e-10)


def test_breast_cancer_through_a_scaler():
    x, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    case = Copy(pool=x[:300], queries=3000, truth=Holdout(x=x[300:], y=y[300:]))
    evidence = cm.run(LowdMeek(), model, case, adversary=LABELS)
    true = linear_parameters(cm.wrap(model))[0][:, 0]
    assert np.abs(evidence.claims.parameters["direction"] - true / np.linalg.norm(true)).max() < 1e-10
    assert evidence.rate == 1.0
    assert evidence.spent["queries"] < 1500


def test_a_budget_that_ends_leaves_every_ratio_equally_well_known():
    evidence = cm.run(LowdMeek(), TOY, Copy(pool=X[:100], truth=TRUTH), adversary=LABELS, budget=Budget(queries=90))
    assert evidence.spent["queries"] <= 90
    assert evidence.rate > 0.9
    assert 0 < evidence.extra["copy"]["width"] < 0.1


def test_one_decision_alone_is_given_up_in_words():
    always = cm.wrap(lambda x: np.ones(len(x), int), classes=2, version="1")
    evidence = cm.run(LowdMeek(), always, Copy(pool=X[:100], truth=TRUTH), adversary=LABELS)
    assert "decided alike" in evidence.extra["copy"]["gave_up"]


def test_a_model_that_is_not_linear_is_said_to_be_so():
    y = ((X**2).sum(1) > 4).astype(int)
    model = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5).fit(X, y)
    evidence = cm.run(LowdMeek(), model, Copy(pool=X[:100], truth=TRUTH), adversary=LABELS)
    assert evidence.extra["copy"]["linear"] is False


def test_three_decisions_and_whole_numbers_are_refused_by_name():
    three = cm.wrap(lambda x: np.digitize(x[:, 0], [-0.5, 0.5]), classes=3, version="1")
    case = Copy(pool=X[:100], truth=TRUTH)
    with pytest.raises(BadInput, match="two decisions"):
        cm.run(LowdMeek(), three, case, adversary=LABELS)
    with pytest.raises(BadInput, match="int64"):
        cm.run(LowdMeek(), TOY, replace(case, pool=np.arange(40).reshape(10, 4)), adversary=LABELS)


class Tires:
    """Answers so often, then refuses."""

    def __init__(self, most):
        self.most, self.asked, self.left = most, 0, 10_000

    def ask(self, x):
        if not self.most:
            raise Refused("enough")
        self.most, self.asked = self.most - 1, self.asked + len(x)
        return Response((x[:, 0] + 0.1 * x[:, 1] > 0.3).astype(int))


def test_a_refusal_between_two_claims_loses_no_answer():
    pair = _Pair(np.zeros(2), np.array([1.0, 0.0]), np.array([0.1, 0.1]), (0, 1), (2,), float)
    walk = _halved(Tires(2 + 11), pair, 1e-12, 10_000)  # two rounds to find that crossings lie between, eleven halvings
    shown = [next(walk) for _ in range(3)]
    with pytest.raises(Refused):
        next(walk)
    assert [float((lines.high - lines.low).max()) for lines in shown] == [1.0, 2.0**-8, 2.0**-11]
