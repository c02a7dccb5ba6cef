"""Readers: the trees that are read decide and sum up as the library does, bit for bit, on the thresholds too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import casemate as cm
from casemate.core.adversary import Need
from casemate.core.errors import NotGranted
from casemate.core.trees import Ensemble

sklearn = pytest.importorskip("sklearn")

from sklearn.datasets import make_classification  # noqa: E402
from sklearn.ensemble import (  # noqa: E402
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler  # noqa: E402
from sklearn.svm import SVC  # noqa: E402
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor  # noqa: E402


def data(classes: int) -> tuple[Any, Any]:
    x, y = make_classification(400, 6, n_informative=4, n_redundant=0, n_classes=max(2, classes), random_state=3)
    return x, (x[:, 0] * 3 + np.abs(x[:, 1]) + 4 if not classes else y)


def probes(ensemble: Ensemble, x: Any) -> Any:
    """A thousand points: some of the data, and rows whose every value is a cut or one ulp past it."""
    rng = np.random.default_rng(0)
    inner = ensemble.feature >= 0
    found = x[rng.integers(0, len(x), 1000)].copy()
    for j in range(x.shape[1]):
        cuts = ensemble.cut[inner & (ensemble.feature == j)]
        cuts = cuts[np.isfinite(cuts)]
        if len(cuts):
            here = rng.choice(cuts, 700)
            found[300:, j] = np.where(rng.random(700) < 0.5, here, np.nextafter(here, np.inf))
    return found


CLASSIFIERS = [
    DecisionTreeClassifier(max_depth=4, random_state=0), RandomForestClassifier(12, random_state=0),
    ExtraTreesClassifier(12, max_depth=5, random_state=0), GradientBoostingClassifier(n_estimators=12, random_state=0),
    HistGradientBoostingClassifier(max_iter=12, min_samples_leaf=3),
    make_pipeline(StandardScaler(), RandomForestClassifier(12, random_state=0)),
    make_pipeline("passthrough", MinMaxScaler((-1, 3)), StandardScaler(), GradientBoostingClassifier(n_estimators=8)),
    make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=3)),
]  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda m: "-".join([type(getattr(m, "steps", [[0, m]])[-1][1]).__name__]))
def test_classifiers_agree_on_a_thousand_points(model: Any, classes: int) -> None:
    x, y = data(classes)
    target = cm.wrap(sklearn.base.clone(model).fit(x, y))
    assert Need.STRUCTURE in target.offers
    ensemble = target.structure()  # type: ignore[attr-defined]
    assert ensemble is target.structure()  # type: ignore[attr-defined]  # read once
    points = probes(ensemble, x)
    told = target.respond(points)
    assert (ensemble.decide(points) == told.label).all()
    raw = ensemble.raw(points)
    want = told.logits if told.logits is not None else told.scores
    np.testing.assert_array_equal(raw, want)


REGRESSORS = [
    DecisionTreeRegressor(max_depth=4), RandomForestRegressor(12, random_state=0), ExtraTreesRegressor(12, random_state=0),
    GradientBoostingRegressor(n_estimators=12), GradientBoostingRegressor(n_estimators=5, loss="huber", init="zero"),
    HistGradientBoostingRegressor(max_iter=12), HistGradientBoostingRegressor(max_iter=12, loss="poisson"),
    make_pipeline(MinMaxScaler(), RandomForestRegressor(12, random_state=0)),
]  # fmt: skip


@pytest.mark.parametrize("model", REGRESSORS, ids=lambda m: type(getattr(m, "steps", [[0, m]])[-1][1]).__name__)
def test_regressors_agree_on_a_thousand_points(model: Any) -> None:
    x, y = data(0)
    target = cm.wrap(model.fit(x, np.abs(y)))
    ensemble = target.structure()  # type: ignore[attr-defined]
    points = probes(ensemble, x)
    np.testing.assert_array_equal(ensemble.decide(points), target.respond(points).label)


def test_missing_values_go_where_the_library_sends_them() -> None:
    x, y = data(2)
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    for model in (HistGradientBoostingClassifier(max_iter=10), RandomForestClassifier(8, random_state=0)):
        target = cm.wrap(model.fit(x, y))
        told = target.respond(x)
        want = told.logits if told.logits is not None else told.scores
        np.testing.assert_array_equal(target.structure().raw(x), want)  # type: ignore[attr-defined]


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_xgboost_agrees_bit_for_bit(classes: int) -> None:
    xgboost = pytest.importorskip("xgboost")
    x, y = data(classes)
    x[::17, 2] = np.nan
    kind = xgboost.XGBClassifier if classes else xgboost.XGBRegressor
    model = kind(n_estimators=15, max_depth=4, n_jobs=1, gamma=0.05).fit(x, y)
    target = cm.wrap(model)
    ensemble = target.structure()  # type: ignore[attr-defined]
    points = probes(ensemble, x)
    raw = ensemble.raw(points)
    want = model.predict(points, output_margin=True)
    np.testing.assert_array_equal(raw[:, 1] if classes == 2 else raw[:, 0] if not classes else raw, want)
    np.testing.assert_array_equal(ensemble.decide(points), target.respond(points).label)


def test_xgboost_that_stopped_early_is_read_as_far_as_it_is_asked() -> None:
    xgboost = pytest.importorskip("xgboost")
    x, y = data(2)
    model = xgboost.XGBClassifier(n_estimators=80, early_stopping_rounds=2, n_jobs=1, learning_rate=0.9)
    model.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])], verbose=False)
    ensemble = cm.wrap(model).structure()  # type: ignore[attr-defined]
    assert len(ensemble) == model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    np.testing.assert_array_equal(ensemble.raw(x)[:, 1], model.predict(x, output_margin=True))


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("boosting", ["gbdt", "rf", "dart"])
def test_lightgbm_agrees_bit_for_bit(classes: int, boosting: str) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x, y = data(classes)
    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    more = {"subsample": 0.6, "subsample_freq": 1} if boosting == "rf" else {}
    model = kind(n_estimators=15, num_leaves=9, verbose=-1, n_jobs=1, boosting_type=boosting, **more).fit(x, y)
    target = cm.wrap(model)
    ensemble = target.structure()  # type: ignore[attr-defined]
    points = probes(ensemble, x)
    points[::19, 1] = np.nan
    raw = ensemble.raw(points)
    want = model.predict(points, raw_score=True) / (15 if boosting == "rf" else 1)  # its raw scores are sums, its answers means
    np.testing.assert_array_equal(raw[:, 1] if classes == 2 else raw[:, 0] if not classes else raw, want)
    np.testing.assert_array_equal(ensemble.decide(points), target.respond(points).label)


def test_what_cannot_be_told_is_refused_by_name() -> None:
    x, y = data(2)
    for other in (SVC().fit(x, y), make_pipeline(PolynomialFeatures(), RandomForestClassifier(2)).fit(x, y)):
        target = cm.wrap(other)
        assert Need.STRUCTURE not in target.offers
        with pytest.raises(NotGranted, match="no structure"):
            target.structure()  # type: ignore[attr-defined]
    x[:, 0] = np.round(np.abs(x[:, 0]))
    sets = HistGradientBoostingClassifier(max_iter=3, categorical_features=[0]).fit(x, y)
    with pytest.raises(NotGranted, match="sets are not supported"):
        cm.wrap(sets).structure()  # type: ignore[attr-defined]


def test_other_libraries_splits_that_cannot_be_told_are_refused_by_name() -> None:
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    x, y = data(2)
    quiet = {"n_estimators": 3, "n_jobs": 1}
    refused = [
        (xgboost.XGBClassifier(booster="dart", **quiet), "gbtree"), (xgboost.XGBClassifier(missing=0.0, **quiet), "missing"),
        (xgboost.XGBRegressor(objective="reg:logistic", **quiet), "reg:logistic"),
        (lightgbm.LGBMClassifier(zero_as_missing=True, verbose=-1, **quiet), "zero for a missing"),
        (lightgbm.LGBMRegressor(linear_tree=True, verbose=-1, **quiet), "linear models"),
    ]  # fmt: skip
    for model, said in refused:
        with pytest.raises(NotGranted, match=said):
            cm.wrap(model.fit(x, y)).structure()  # type: ignore[attr-defined]


def test_a_positive_class_of_the_user_s_own_turns_the_trees_round() -> None:
    x, y = data(2)
    model = RandomForestClassifier(6, random_state=0).fit(x, y)
    target = cm.wrap(model, positive=0)
    assert (target.structure().decide(x) == target.respond(x).label).all()  # type: ignore[attr-defined]
    assert (target.structure().decide(x) == 1 - model.predict(x)).all()  # type: ignore[attr-defined]
