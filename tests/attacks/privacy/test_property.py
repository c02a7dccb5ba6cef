"""Two worlds of a synthetic census: told apart where the model learns of the group, a coin where it does not."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.attacks.privacy.property import PropertyInference, drawn
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Holdout, Property
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.random import RowRandom
from casemate.core.target import Recipe
from casemate.testing.worlds import NetFit
from casemate.testing.worlds_tables import adults, adults_frame
from casemate.trainers import MLP

NET = MLP(hidden=(16,), epochs=15, optimiser="adam", rate=0.01)
MAY = Need.LABEL | Need.SCORE | Need.RECIPE
SCORES = Adversary(name="scores", may=MAY)
LABELS = Adversary(name="labels", may=Need.LABEL | Need.RECIPE)


def fit(x, y, seed):
    return cm.wrap(LogisticRegression(max_iter=500).fit(x, y), name="logistic")


def case_of(recipe_fit, stack=None, gap=1.5, victims=20, flag=None):
    (x, y, woman), (own, label, female) = adults(2000, gap=gap, seed=1), adults(2000, gap=gap, seed=2)
    if flag is not None:
        woman, female = (np.random.default_rng(seed).random(2000) < 0.5 for seed in (3, 4))
    recipe = Recipe(recipe_fit, own, label, "1", stack=stack)
    return Property(
        recipe=recipe, pool=Holdout(x=x, y=y), flag=woman, size=500, victims=victims, truth=Holdout(x=own, y=label),
        truth_flag=female,
    )


@pytest.fixture(scope="module")
def told():
    case = case_of(NetFit(NET, 2), NET)
    target = case.recipe.fit(case.truth.x[:500], case.truth.y[:500], 0)
    return case, target


@pytest.mark.parametrize("how", ["meta", "threshold"])
def test_networks_of_two_worlds_are_told_apart_with_64_shadows(told, how):
    case, target = told
    found = cm.run(PropertyInference(how=how), target, case, adversary=SCORES)
    assert found.verdict is Verdict.BROKEN
    assert found.n == 40 and found.rate > 0.9
    assert found.interval.low > 0.7
    assert found.spent["queries"] == 200 and found.extra["shadows"] == 64


def test_labels_alone_tell_less_and_still_tell(told):
    case, target = told
    found = cm.run(PropertyInference(), target, case, adversary=LABELS)
    assert not found.extra["scores"] and found.rate > 0.6


@pytest.mark.parametrize("how", ["meta", "threshold"])
def test_a_group_that_the_model_cannot_see_is_a_coin(how):
    found = cm.run(PropertyInference(how=how), fit(*adults(500, seed=9)[:2], 0), case_of(fit, flag="coin"), adversary=SCORES)
    assert not found.broken
    assert 0.25 <= found.rate <= 0.75


def test_frames_with_words_through_a_pipeline():
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    def fit_frame(x, y, seed):
        coded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["work", "sex"]), remainder="passthrough")
        return cm.wrap(make_pipeline(coded, LogisticRegression(max_iter=500)).fit(x, y), name="pipeline")

    (x, y), (own, label) = adults_frame(600, seed=1), adults_frame(600, seed=2)
    case = Property(
        recipe=Recipe(fit_frame, own, label, "1"), pool=Holdout(x=x, y=y), flag=(x["work"] == "office").to_numpy(), size=150,
        shares=(0.1, 0.9), victims=4, truth=Holdout(x=own, y=label), truth_flag=(own["work"] == "office").to_numpy(),
    )
    found = cm.run(PropertyInference(shadows=16, probes=60), fit_frame(own, label, 0), case, adversary=SCORES)
    assert found.n == 8 and np.isin(found.rows["share"], (0.1, 0.9)).all()
    assert found.extra["deployed_share"] in (0.1, 0.9)


def test_worlds_have_exactly_their_shares():
    flag = np.arange(1000) < 500
    for share in (0.3, 0.7):
        rows = drawn(flag, share, 200, RowRandom(3))
        assert len(np.unique(rows)) == 200 and flag[rows].mean() == share


def broken_fit(x, y, seed):
    raise ValueError("out of memory")


def test_what_cannot_be_attacked_is_said():
    case = case_of(fit, victims=2)
    target = fit(*adults(300, seed=9)[:2], 0)
    wrong = {
        "take 2100 and 2100": replace(case, size=3000),
        "two unlike shares": replace(case, shares=(0.5, 0.5)),
        "one of each": replace(case, flag=case.flag[:10]),
        "two classes": replace(case, pool=Holdout(x=case.pool.x, y=np.zeros(2000, int))),
        "4 shadows of each world": replace(case, recipe=replace(case.recipe, fit=broken_fit)),
        "give truth=": replace(case, truth=None, truth_flag=None),
    }
    for words, bad in wrong.items():
        with pytest.raises(BadInput, match=words):
            cm.run(PropertyInference(shadows=8), target, bad, adversary=SCORES)
    for settings in ({"shadows": 7}, {"shadows": 4}, {"probes": 1}, {"how": "luck"}):
        with pytest.raises(BadInput, match=r"privacy\.property"):
            PropertyInference(**settings)


def test_a_budget_too_small_for_the_probes_decides_nothing():
    case = case_of(fit, victims=2)
    found = cm.run(PropertyInference(), fit(*adults(300, seed=9)[:2], 0), case, adversary=SCORES, budget=Budget(queries=50))
    assert found.verdict is Verdict.INCONCLUSIVE and found.n == 0 and found.spent["queries"] <= 50
