"""Boosted models of other libraries are asked once a query: their label is that of the largest score they show."""

import numpy as np
import pytest

from casemate.targets.wrap import wrap

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).round(1)  # rounded, so that scores tie
TWO = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
THREE = np.digitize(X[:, 0], [-0.5, 0.5])


def lightgbm(y, **options):
    made = pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=4, num_leaves=4, n_jobs=1, verbose=-1, **options)
    return made.fit(X, y)


def xgboost(y, **options):
    made = pytest.importorskip("xgboost").XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1, **options)
    return made.fit(X, np.unique(y, return_inverse=True)[1])


@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("make", [lightgbm, xgboost])
def test_one_call_gives_label_and_scores_and_the_label_is_its_own(make, y, monkeypatch):
    model = make(y)
    due = np.searchsorted(model.classes_, model.predict(X))
    target, calls = wrap(model), []
    for name in ("predict", "predict_proba"):
        asked = getattr(type(model), name)
        monkeypatch.setattr(type(model), name, lambda self, *a, _n=name, _f=asked, **k: (calls.append(_n), _f(self, *a, **k))[1])
    # A patched class is no longer the library's own word for word, yet its methods still belong to it.
    answer = target.respond(X)
    assert (answer.label == due).all() and calls == ["predict_proba"]
    assert (answer.scores.argmax(1) == answer.label).all()


@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_an_objective_whose_label_may_be_another_is_asked_itself(objective):
    model = xgboost(THREE, objective=objective)
    if objective == "multi:softmax":
        from casemate.targets._sklearn import decides

        assert decides(model) in ("scores", "predict")  # the library may turn it into softprob
    assert (wrap(model).respond(X).label == model.predict(X)).all()


def test_an_objective_of_ones_own_is_asked_itself():
    from casemate.targets._sklearn import decides

    def own(true, raw):
        chance = 1 / (1 + np.exp(-raw))
        return chance - true, chance * (1 - chance)

    assert decides(lightgbm((THREE > 0).astype(int), objective=own)) == "predict"
