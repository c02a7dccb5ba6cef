"""Linear models are solved, exactly, in as many questions as they have unknowns."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import casemate as cm
from casemate.attacks.extraction import equation
from casemate.attacks.extraction.equation import EquationSolving
from casemate.controls.service.labels_only import LabelsOnly
from casemate.controls.service.round_scores import RoundScores
from casemate.core.adversary import Budget, Need, researcher
from casemate.core.case import Copy, Holdout
from casemate.core.errors import NotGranted
from casemate.core.evidence import Verdict
from casemate.core.target import REJECT

SCORES = replace(researcher(), may=Need.LABEL | Need.SCORE)


@pytest.fixture(scope="module")
def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    return model, Copy(pool=x[:300], truth=Holdout(x=x[300:], y=y[300:]))


@pytest.mark.parametrize("adversary", [SCORES, researcher()], ids=["scores", "logits"])
def test_a_logistic_regression_is_recovered_to_1e_9_in_one_question_for_each_unknown(cancer, adversary):
    model, case = cancer
    evidence = cm.run(EquationSolving(), model, case, adversary=adversary, budget=Budget(queries=31))
    assert evidence.extra["parameter_error"] < 1e-9
    assert evidence.extra["log_ratio_error"] < 1e-9
    assert (evidence.rate, evidence.spent["queries"]) == (1.0, 31)
    assert evidence.cost.queries == 31
    assert evidence.verdict is Verdict.BROKEN


def test_the_self_check_confirms_a_linear_model(cancer):
    model, case = cancer
    detail = cm.run(EquationSolving(), model, case, adversary=SCORES).extra["copy"]
    assert detail["linear"] is True
    assert detail["mode"] == "scores"
    assert detail["largest_error"] < 1e-12


def test_softmax_regression_on_digits_takes_65_questions():
    x, y = load_digits(return_X_y=True)
    x = x / 16
    model = LogisticRegression(max_iter=300).fit(x[:900], y[:900])
    case = Copy(pool=x[:900], truth=Holdout(x=x[900:], y=y[900:]))
    evidence = cm.run(EquationSolving(), model, case, adversary=SCORES, budget=Budget(queries=65))
    assert evidence.rate == 1.0
    assert evidence.extra["total_variation"] < 1e-12
    assert evidence.extra["parameter_error"] < 1e-9


@pytest.mark.parametrize(("digits", "least"), [(2, 0.99), (3, 0.995), (6, 1.0)])
def test_rounded_scores_cost_more_questions_and_little_agreement(cancer, digits, least):
    model, case = cancer
    evidence = cm.run(EquationSolving(), model, case, adversary=SCORES, controls=[RoundScores(digits=digits)])
    assert evidence.rate >= least
    assert evidence.extra["copy"]["digits"] == digits
    assert 31 < evidence.spent["queries"] <= 4 * 31 + 8
    assert evidence.extra["copy"]["linear"] is True


def test_a_domain_without_a_pool_is_enough(cancer):
    model, case = cancer
    low, high = case.truth.x.min(0), case.truth.x.max(0)
    evidence = cm.run(EquationSolving(), model, replace(case, pool=None, low=low, high=high), adversary=SCORES)
    # Points from all over the box are nearly saturated: 1 - p has lost digits by then, which no solver brings back.
    assert evidence.extra["parameter_error"] < 1e-7


def test_a_linear_regression_is_recovered():
    x, y = load_diabetes(return_X_y=True)
    case = Copy(pool=x[:200], truth=Holdout(x=x[200:], y=y[200:]))
    evidence = cm.run(EquationSolving(), LinearRegression().fit(x, y), case)
    assert evidence.extra["parameter_error"] < 1e-9
    assert evidence.extra["copy"]["mode"] == "values"
    assert evidence.rate == 1.0


def test_a_table_is_solved_level_by_level():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 400),
            "income": rng.normal(30, 8, 400),
            "job": rng.choice(["none", "skilled", "manager"], 400),
            "house": rng.choice(["own", "rent"], 400),
        }
    )
    y = ((frame["income"] + 5 * (frame["job"] == "manager") + rng.normal(0, 5, 400)) > 31).astype(int)
    columns = ColumnTransformer([("c", OneHotEncoder(), ["job", "house"]), ("n", StandardScaler(), ["age", "income"])])
    model = make_pipeline(columns, LogisticRegression()).fit(frame, y)
    case = Copy(pool=frame[:200], truth=Holdout(x=frame[200:], y=y[200:]))
    evidence = cm.run(EquationSolving(checks=4), model, case, adversary=SCORES)
    assert evidence.extra["copy"]["answers"] == 1 + 2 + 2 + 1  # anchor, numbers, other jobs, other house
    assert evidence.extra["log_ratio_error"] < 1e-9
    assert evidence.rate == 1.0
    assert len(evidence.claims.parameters["axes"]) == 5


def test_the_loan_decision_is_recovered_in_49_questions():
    folder = Path(__file__).parents[3] / "examples" / "loans"
    spec = importlib.util.spec_from_file_location("loans_of_test_equation", folder / "loans.py")
    loans = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loans)
    x, held, y, truth = loans.split()
    case = Copy(pool=x, truth=Holdout(x=held, y=truth))
    evidence = cm.run(EquationSolving(), loans.fit_logistic(x, y), case, adversary=SCORES, budget=Budget(queries=49))
    assert evidence.extra["log_ratio_error"] < 1e-9
    assert (evidence.rate, evidence.spent["queries"]) == (1.0, 49)


def test_saturated_answers_are_dropped_and_asked_again_closer_by():
    weights, bias = np.array([900.0, -500.0, 30.0]), 1.0

    def scores(x):
        with np.errstate(over="ignore"):
            p = 1 / (1 + np.exp(-(x @ weights + bias)))
        return np.stack([1 - p, p], axis=1)

    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.2, (400, 3))
    case = Copy(pool=x[:200] - x[:200].mean(0), truth=Holdout(x=x[200:], y=np.zeros(200, int)))
    evidence = cm.run(EquationSolving(), cm.wrap(scores, version="1", output="scores"), case, adversary=SCORES)
    assert evidence.extra["copy"]["saturated"] > 0
    assert evidence.claims.parameters["weights"][:, 0] == pytest.approx(weights, rel=1e-6)
    assert evidence.rate > 0.99


def test_a_model_that_is_not_linear_is_said_to_be_so_and_the_copy_is_handed_in(cancer):
    _, case = cancer
    x, y = load_breast_cancer(return_X_y=True)
    evidence = cm.run(EquationSolving(), HistGradientBoostingClassifier(max_iter=20).fit(x, y), case, adversary=SCORES)
    assert evidence.extra["copy"]["linear"] is False
    assert any(check.number == 34 and check.ok is False for check in evidence.health)
    assert evidence.claims is not None
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert "does not apply: the model is not linear" in str(evidence)


def test_labels_alone_are_refused_by_name(cancer):
    model, case = cancer
    with pytest.raises(NotGranted, match="labels only"):
        cm.run(EquationSolving(), model, case, adversary=SCORES, controls=[LabelsOnly()])


def test_a_rejecting_endpoint_is_copied_with_its_threshold(cancer):
    from casemate.targets.pipeline import Threshold

    model, case = cancer
    case = replace(case, queries=3000)
    target = cm.wrap(model, decision=Threshold(0.9))
    evidence = cm.run(EquationSolving(checks=300), target, case, adversary=SCORES)
    assert (evidence.rows["label"] == REJECT).any()
    assert evidence.rate > 0.9


def test_too_few_planned_questions_still_leave_a_copy(cancer):
    model, case = cancer
    evidence = cm.run(EquationSolving(), model, replace(case, queries=10), adversary=SCORES)
    assert evidence.spent["queries"] == 10
    assert evidence.claims is not None


def test_nothing_is_solved_twice(cancer, monkeypatch):
    model, case = cancer
    solved = []
    real = equation.solve

    def counted(features, answers):
        solved.append(len(features))
        return real(features, answers)

    monkeypatch.setattr(equation, "solve", counted)
    cm.run(EquationSolving(), model, case, adversary=SCORES)
    assert solved == [1, 31]  # the anchor alone, so that there is a claim; then all
