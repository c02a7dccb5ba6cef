"""Shadow models: who is in, that failures are seen, and that attacks share them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

import casemate as cm
from casemate.attacks import _shadows
from casemate.attacks._shadows import groups, halves
from casemate.attacks.privacy.entropy import ModifiedEntropy
from casemate.attacks.privacy.lira import LiRA
from casemate.attacks.privacy.rmia import RMIA
from casemate.attacks.privacy.shadow import ShadowModel
from casemate.core.case import Holdout, Infer
from casemate.core.errors import BadInput
from casemate.core.oracle import Known
from casemate.core.target import Recipe


def test_every_record_is_in_exactly_half_of_the_shadows_and_every_class_is_halved():
    y = np.random.default_rng(0).integers(0, 3, 101)
    inside = halves(np.arange(101), y, 16, 0)
    assert (inside.sum(0) == 8).all()
    for c in range(3):
        own = inside[:, y == c].sum(1)
        assert own.max() - own.min() <= 1


def test_the_last_record_is_drawn_as_often_as_the_first():
    # A peer draws from one record fewer than there are, so that its last one is in no shadow.
    inside = halves(np.arange(50), np.arange(50) % 2, 8, 0)
    assert inside[:, -1].sum() == inside[:, 0].sum() == 4


def test_splits_differ_between_pairs_and_between_seeds():
    y = np.arange(200) % 2
    one, other = halves(np.arange(200), y, 8, 0), halves(np.arange(200), y, 8, 1)
    assert len({row.tobytes() for row in np.concatenate([one, other])}) == 16


def test_twins_share_their_coin():
    x = np.random.default_rng(0).normal(size=(40, 3))
    x[7], x[31] = x[2], x[2]
    y = np.arange(40) % 2
    y[7], y[31] = y[2], 1 - y[2]
    group = groups(x, y)
    assert group[7] == 2
    assert group[31] == 31  # the same record with another label is another record
    inside = halves(group, y, 8, 0)
    assert (inside[:, 7] == inside[:, 2]).all()


def test_twins_are_found_in_frames_and_lists_too():
    frame = pd.DataFrame({"a": [1, 2, 1], "b": ["u", "v", "u"]})
    assert groups(frame, np.zeros(3, int)).tolist() == [0, 1, 0]
    assert groups(["p", "q", "p"], np.zeros(3, int)).tolist() == [0, 1, 0]


def fit_tree(x, y, seed):
    return cm.wrap(DecisionTreeClassifier(random_state=seed).fit(x, y))


def fit_seldom(x, y, seed):
    if seed % 4 == 0:
        raise RuntimeError("the cluster is full")
    return fit_tree(x, y, seed)


def fit_never(x, y, seed):
    raise RuntimeError("the cluster is full")


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = (x[:, 0] + rng.normal(0, 1, 80) > 0).astype(int)
    return Infer(x=x, y=y, truth=np.arange(80) < 40)


def test_a_shadow_that_fails_is_left_out_and_said(blobs):
    recipe = Recipe(fit_seldom, blobs.x[:40], blobs.y[:40])
    target = fit_tree(recipe.x, recipe.y, 0)
    extra = cm.run(LiRA(shadows=24), target, blobs, known=Known(recipe=recipe)).extra
    assert extra["shadows_failed"] > 0
    assert extra["shadows"] + extra["shadows_failed"] == 24
    assert "the cluster is full" in extra["shadows_failed_because"][0]
    assert extra["tpr"] > extra["fpr"]


def test_shadows_that_all_fail_are_an_error_that_says_why(blobs):
    recipe = Recipe(fit_never, blobs.x[:40], blobs.y[:40])
    with pytest.raises(BadInput, match=r"8 of 8 shadow models failed.*the cluster is full"):
        cm.run(LiRA(shadows=8), fit_tree(blobs.x[:40], blobs.y[:40], 0), blobs, known=Known(recipe=recipe))


def test_attacks_share_the_same_shadows(baskets, monkeypatch):
    calls = []
    real = _shadows.train_many

    def counted(*args, **kwargs):
        calls.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(_shadows, "train_many", counted)
    _shadows.forget()
    for attack in (LiRA(shadows=8), RMIA(shadows=8), ModifiedEntropy(shadows=8), ShadowModel(shadows=8, trees=5)):
        cm.run(attack, baskets.target, baskets.case, known=Known(recipe=baskets.recipe), seed=len(calls))
    assert len(calls) == 1
    cm.run(LiRA(shadows=8, seed=1), baskets.target, baskets.case, known=Known(recipe=baskets.recipe))
    assert len(calls) == 2


def test_shadows_never_look_at_the_recipes_own_data(baskets):
    # Its rows are the members: whoever reads them needs no attack.
    _shadows.forget()
    blank = replace(baskets.recipe, x=np.zeros_like(baskets.recipe.x), y=np.zeros_like(baskets.recipe.y))
    found = cm.run(LiRA(shadows=8), baskets.target, baskets.case, known=Known(recipe=blank))
    again = cm.run(LiRA(shadows=8), baskets.target, baskets.case, known=Known(recipe=baskets.recipe))
    assert (found.rows["score"] == again.rows["score"]).all()


def fit_table(x, y, seed):
    read = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["job"]), remainder="passthrough")
    return cm.wrap(make_pipeline(read, DecisionTreeClassifier(max_depth=6, random_state=seed)).fit(x, y))


@pytest.mark.parametrize("known", [True, False], ids=["recipe", "network of one's own"])
def test_tables_with_words_work(known):
    rng = np.random.default_rng(1)
    n = 120
    job = rng.choice(["cook", "clerk", "driver"], n)
    frame = pd.DataFrame({"age": rng.integers(18, 80, n), "pay": rng.normal(size=n), "job": job})
    y = ((frame["age"] > 45).to_numpy() ^ (rng.random(n) < 0.3)).astype(int)
    case = Infer(x=frame, y=y, truth=np.arange(n) < 60, population=Holdout(x=frame[:20], y=y[:20]))
    target = fit_table(frame[:60], y[:60], 0)
    bind = Known(recipe=Recipe(fit_table, frame[:60], y[:60])) if known else None
    extra = cm.run(LiRA(shadows=16), target, case, known=bind).extra
    assert extra["shadows_trained_by"] == ("the recipe" if known else "a small network of the attacker's own")
    assert extra["auc"] > 0.55
