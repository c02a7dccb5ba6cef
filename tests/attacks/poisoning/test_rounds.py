"""Poison in rounds, and claims made for several trials."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.attacks.poisoning.feedback import Feedback
from casemate.core.adversary import Budget
from casemate.core.case import Holdout, Misread, Poison, Records
from casemate.core.target import Recipe
from casemate.judges.poisoned import invalid


def fit(x, y, seed):
    return cm.wrap(LogisticRegression(max_iter=200).fit(x, y))


@pytest.fixture(scope="module")
def case():
    x, y = load_digits(return_X_y=True)
    x = x / 16
    return Poison(recipe=Recipe(fit, x[:400], y[:400]), seeds=(0,), truth=Holdout(x=x[400:], y=y[400:]), fractions=(0.1, 0.2))


def test_a_loop_does_more_than_random_flips_within_its_budget(case):
    evidence = cm.run(Feedback(), fit(case.recipe.x, case.recipe.y, 0), case, budget=Budget(records=80))
    assert evidence.spent["records"] == 80
    assert evidence.rate > evidence.baseline.rate
    assert evidence.interval.low > 0


def test_each_trial_is_a_campaign_of_its_own(case):
    own = replace(case, aim=Misread(x=case.truth.x[:2], y=case.truth.y[:2], to=np.array([0, 1])))
    index = np.array([3, 4, 3, 4])
    claim = Records(index=index, x=case.recipe.x[index], y=case.recipe.y[index], trial=np.array([0, 0, 1, 1]))
    assert invalid(claim, own, 2) == ""
    assert "2 records are claimed and 1" in invalid(claim, own, 1)
    assert "different rows" in invalid(replace(claim, trial=np.zeros(4, int)), own, 4)


def test_missing_values_are_allowed_only_where_honest_records_have_some(case):
    x = case.recipe.x[:1].copy()
    x[0, 0] = np.nan
    claim = Records(index=np.array([0]), x=x, y=case.recipe.y[:1])
    assert "NaN" in invalid(claim, case, 1)
    holes = case.recipe.x.copy()
    holes[5, 0] = np.nan
    assert invalid(claim, replace(case, recipe=replace(case.recipe, x=holes)), 1) == ""
