"""Forests are asked tree by tree: what comes out is what the library says, to the last bit, or the library is asked itself."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import casemate as cm
from casemate.core.errors import TargetFailed
from casemate.targets._sklearn import forest_scores

RNG = np.random.default_rng(3)
X = RNG.normal(size=(240, 5))
NAMES = np.array(["no", "perhaps", "yes"])
THREE = (X[:, 0] > 0).astype(int) + (X[:, 1] + RNG.normal(0, 0.5, 240) > 0.4)
TWO = (THREE > 0).astype(int)
BOTH = pytest.mark.parametrize("kind", [RandomForestClassifier, ExtraTreesClassifier])


def same(model, x, **options):
    """What a wrapped forest answers, after a look at whether its scores are the library's own."""
    response = cm.wrap(model, **options).respond(x)
    assert response.scores.tobytes() == np.ascontiguousarray(model.predict_proba(x)).tobytes()
    return response


@BOTH
@pytest.mark.parametrize("y", [TWO, THREE, NAMES[THREE]], ids=["two", "three", "words"])
def test_scores_are_those_of_the_library_to_the_last_bit(kind, y):
    model = kind(30, random_state=0).fit(X[:160], y[:160])
    for x in (X[160:], X[160:].astype(np.float32), np.asfortranarray(X[160:]), np.round(X[160:] * 9).astype(int)):
        assert forest_scores(model, x) is not None
        response = same(model, x)
        assert (model.classes_[response.label] == model.predict(x)).all()


@pytest.mark.parametrize("options", [
    {"class_weight": "balanced"}, {"max_depth": 3, "min_samples_leaf": 9}, {"criterion": "entropy", "max_leaf_nodes": 7},
    {"n_jobs": 2, "bootstrap": False}, {"n_estimators": 1},
])  # fmt: skip
def test_however_it_was_trained(options):
    model = RandomForestClassifier(**{"n_estimators": 12, "random_state": 1, **options}).fit(X[:160], THREE[:160])
    assert forest_scores(model, X[160:]) is not None
    same(model, X[160:])


@BOTH
def test_one_row_is_scored_as_it_is_in_company(kind):
    target = cm.wrap(kind(20, random_state=0).fit(X[:160], THREE[:160]))
    together = target.respond(X[160:]).scores
    alone = np.concatenate([target.respond(X[i : i + 1]).scores for i in range(160, 240)])
    assert (together == alone).all()


def frame(x):
    return pd.DataFrame(x, columns=list("abcde"))


@BOTH
def test_frames_and_arrays_for_a_forest_that_was_fitted_on_a_frame(kind):
    model = kind(15, random_state=0).fit(frame(X[:160]), TWO[:160])
    table = frame(X[160:])
    assert forest_scores(model, table) is not None
    same(model, table)
    assert (cm.wrap(model).respond(X[160:]).scores == model.predict_proba(table)).all()


def test_columns_of_several_types_or_in_another_order_are_left_to_the_library():
    model = RandomForestClassifier(15, random_state=0).fit(frame(X[:160]), TWO[:160])
    mixed = frame(X[160:]).assign(b=np.arange(80))
    assert forest_scores(model, mixed) is None
    same(model, mixed)
    turned = frame(X[160:])[list("edcba")]
    assert forest_scores(model, turned) is None
    with pytest.raises(TargetFailed, match="in the same order"):
        cm.wrap(model).respond(turned)


@BOTH
def test_the_other_class_as_the_positive_one_turns_the_columns(kind):
    model = kind(15, random_state=0).fit(X[:160], NAMES[TWO[:160] * 2])
    response = cm.wrap(model, positive="no").respond(X[160:])
    assert (response.scores == model.predict_proba(X[160:])[:, ::-1]).all()
    assert (np.array(["yes", "no"])[response.label] == model.predict(X[160:])).all()


@BOTH
def test_labels_alone_are_those_of_the_library_and_no_scores_show(kind):
    model = kind(15, random_state=0).fit(X[:160], THREE[:160])
    response = cm.wrap(model, output="labels").respond(X[160:])
    assert response.scores is None
    assert response.logits is None
    assert (response.label == model.predict(X[160:])).all()


def test_equal_scores_are_decided_as_the_library_does():
    x = np.zeros((40, 2))
    model = RandomForestClassifier(2, bootstrap=False, random_state=0).fit(x, np.arange(40) % 2)
    response = same(model, x)
    assert (response.scores == 0.5).all()
    assert (response.label == model.predict(x)).all()


def test_missing_values_are_left_to_the_library():
    holes = X.copy()
    holes[::3, 2] = np.nan
    model = RandomForestClassifier(15, random_state=0).fit(holes[:160], TWO[:160])
    assert forest_scores(model, holes[160:]) is None
    same(model, holes[160:])
    same(RandomForestClassifier(15, random_state=0).fit(X[:160], TWO[:160]), holes[160:])


def test_what_is_too_large_for_single_precision_is_refused_in_the_words_of_the_library():
    model = RandomForestClassifier(5, random_state=0).fit(X[:160], TWO[:160])
    huge = X[160:].copy()
    huge[4, 1] = 1e39
    assert forest_scores(model, huge) is None
    with pytest.raises(TargetFailed, match="too large"):
        cm.wrap(model).respond(huge)
    largest = X[160:].copy()
    largest[4, 1] = float(np.finfo(np.float32).max)
    assert forest_scores(model, largest) is not None
    same(model, largest)


def test_a_patched_or_derived_forest_is_asked_itself():
    class Shy(RandomForestClassifier):
        def predict_proba(self, x):
            return 0.5 * super().predict_proba(x) + 0.25

    derived = Shy(9, random_state=0).fit(X[:160], TWO[:160])
    patched = RandomForestClassifier(9, random_state=0).fit(X[:160], TWO[:160])
    own = patched.predict_proba
    patched.predict_proba = lambda x: np.round(own(x), 1)
    for model in (derived, patched):
        assert forest_scores(model, X[160:]) is None
        same(model, X[160:])


def test_only_forests_of_the_library_take_the_short_way():
    tree = DecisionTreeClassifier(max_depth=4).fit(X[:160], TWO[:160])
    scaled = make_pipeline(StandardScaler(), RandomForestClassifier(9, random_state=0)).fit(X[:160], TWO[:160])
    for model in (tree, scaled, ExtraTreesRegressor(3).fit(X[:160], TWO[:160])):
        assert forest_scores(model, X[160:]) is None
    same(tree, X[160:])
    same(scaled, X[160:])


def test_no_rows_are_answered_as_the_library_does():
    model = RandomForestClassifier(3, random_state=0).fit(X[:160], TWO[:160])
    assert forest_scores(model, X[:0]) is None
    with pytest.raises(TargetFailed, match="0 sample"):
        cm.wrap(model).respond(X[:0])
