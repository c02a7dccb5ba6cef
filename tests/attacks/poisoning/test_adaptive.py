"""Poison that knows the filter: it gets past filters that stop flips and the climb, and keeps to what the case allows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import casemate as cm
from casemate.attacks.poisoning.adaptive import AdaptivePoisoning
from casemate.attacks.poisoning.gradient import Gradient
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.controls.training.roni import Roni
from casemate.controls.training.trim import Trim
from casemate.core.case import Holdout, Poison
from casemate.core.constraint import Ball
from casemate.core.control import controls
from casemate.core.errors import BadInput
from casemate.core.oracle import Known
from casemate.core.target import Recipe


def logistic(x, y, seed):
    return cm.wrap(make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x, y))


def ridge(x, y, seed):
    return cm.wrap(make_pipeline(StandardScaler(), Ridge()).fit(x, y))


def mixed(x, y, seed):
    heads = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["pay"]), (OneHotEncoder(handle_unknown="ignore"), ["town"])
    )
    return cm.wrap(make_pipeline(heads, LogisticRegression()).fit(x, y))


def poison(load=load_breast_cancer, fit=logistic, n=300, unit=1, control=None, **more):
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order] / unit if unit != 1 else y[order]
    recipe = Recipe(fit, x[:n], y[:n])
    recipe = recipe if control is None else control.harden_recipe(recipe)
    return Poison(**{"recipe": recipe, "seeds": (0,), "truth": Holdout(x=x[n:], y=y[n:]), "fractions": (0.1,)} | more)


def run(attack, case):
    return cm.run(attack, None, case, known=Known(data=(case.recipe.x, case.recipe.y), recipe=case.recipe))


def test_a_filter_that_stops_flips_and_the_climb_falls_to_what_knows_it():
    case = poison(control=Roni())
    blind = max(run(attack, case).rate for attack in (LabelFlip(order="random"), LabelFlip(), Gradient()))
    knowing = run(AdaptivePoisoning(), case)
    assert knowing.rate > blind + 0.02
    assert knowing.interval.low > 0


def test_numbers_are_poisoned_past_trim():
    case = poison(load_diabetes, ridge, unit=346, control=Trim(share=0.12))
    assert run(AdaptivePoisoning(trainings=30), case).rate > run(Gradient(), case).rate + 0.1


def test_it_trains_as_often_as_it_says_and_of_its_drafts_writes_the_worst():
    fitted = []

    def counted(x, y, seed):
        fitted.append(len(y))
        return logistic(x, y, seed)

    case = poison(n=100)
    known = Known(data=(case.recipe.x, case.recipe.y), recipe=Recipe(counted, case.recipe.x, case.recipe.y))
    few, more = (
        cm.run(AdaptivePoisoning(trainings=often, held=0.0), None, case, known=known).claims for often in (1, 20)
    )
    assert len(fitted) == 1 + 20 + 2 * 2  # and for the flips an honest model twice

    def error(claim):
        y = case.recipe.y
        rest = np.setdiff1d(np.arange(100), claim.index)
        model = logistic(np.concatenate([case.recipe.x[rest], claim.x]), np.concatenate([y[rest], claim.y]), 0)
        return (model.respond(case.recipe.x[rest]).label != y[rest]).mean()

    assert error(more) > error(few)


def test_limits_of_the_case_are_kept():
    case = poison(n=120, within=Ball("linf", 1.0, 0.0, 5000.0), labels=False)
    claim = run(AdaptivePoisoning(trainings=20), case).claims
    assert np.abs(claim.x - case.recipe.x[claim.index]).max() <= 1.0 + 1e-9
    assert (claim.y == case.recipe.y[claim.index]).all()
    assert (claim.x != case.recipe.x[claim.index]).any()


@pytest.mark.parametrize("gaps", [False, True])
def test_frames_keep_their_kinds_and_gaps_leave_copies_and_flips(gaps):
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"pay": rng.normal(size=120), "town": rng.choice(["a", "b"], 120)})
    y = np.where(x["pay"] + 0.3 * rng.normal(size=120) > 0, "good", "bad")
    if gaps:
        x.loc[::9, "pay"] = np.nan
    recipe = Recipe(mixed, x[:80], y[:80])
    case = Poison(recipe=recipe, seeds=(0,), truth=Holdout(x=x[80:], y=y[80:]), fractions=(0.2,))
    evidence = run(AdaptivePoisoning(trainings=20), case)
    claim = evidence.claims
    assert evidence.rate > 0
    assert list(claim.x.dtypes) == list(x.dtypes)
    assert set(claim.x["town"]) <= {"a", "b"}
    assert set(claim.y) <= {"good", "bad"}
    if gaps:
        known = {repr(row) for row in x[:80].itertuples(index=False, name=None)}
        assert {repr(row) for row in claim.x.itertuples(index=False, name=None)} <= known


def test_what_it_cannot_do_is_refused():
    with pytest.raises(BadInput, match="at least one"):
        run(AdaptivePoisoning(trainings=0), poison(n=60))
    case = poison(n=60, labels=False)
    holes = case.recipe.x.copy()
    holes[0, 0] = np.nan
    with pytest.raises(BadInput, match="missing"):
        run(AdaptivePoisoning(), replace(case, recipe=replace(case.recipe, x=holes)))


@pytest.mark.parametrize("id", ["training.trim", "training.sever", "training.roni", "training.partition"])
def test_only_an_attack_that_holds_the_filter_counts_as_knowing_it(id):
    assert controls.get(id).info.knows == ("poisoning.adaptive",)
