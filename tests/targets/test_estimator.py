"""scikit-learn estimators: the same decisions, frames and float64 kept, identity without pickling."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn import (
    calibration,
    cluster,
    compose,
    discriminant_analysis,
    dummy,
    ensemble,
    linear_model,
    model_selection,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.datasets import make_classification
from sklearn.feature_extraction.text import TfidfVectorizer

from casemate.core.adversary import Need
from casemate.core.errors import BadInput, NotGranted, TargetFailed, UnknownName
from casemate.targets.estimator import Estimator
from casemate.targets.wrap import wrap

CLASSIFIERS = {
    "logistic": linear_model.LogisticRegression(),
    "liblinear": linear_model.LogisticRegression(solver="liblinear"),
    "ridge": linear_model.RidgeClassifier(),
    "perceptron": linear_model.Perceptron(),
    "sgd log": linear_model.SGDClassifier(loss="log_loss", random_state=0),
    "sgd huber": linear_model.SGDClassifier(loss="modified_huber", random_state=0),
    "linear svc": svm.LinearSVC(),
    "svc": svm.SVC(),
    "svc ovo": svm.SVC(decision_function_shape="ovo"),
    "svc ties": svm.SVC(break_ties=True),
    "nu svc": svm.NuSVC(nu=0.1),
    "forest": ensemble.RandomForestClassifier(20, random_state=0, n_jobs=4),
    "extra": ensemble.ExtraTreesClassifier(20, random_state=0),
    "tree": tree.DecisionTreeClassifier(max_depth=4),
    "boosting": ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0),
    "exponential": ensemble.GradientBoostingClassifier(n_estimators=10, loss="exponential", random_state=0),
    "hist": ensemble.HistGradientBoostingClassifier(max_iter=10, random_state=0),
    "ada": ensemble.AdaBoostClassifier(n_estimators=10, random_state=0),
    "bagging": ensemble.BaggingClassifier(random_state=0),
    "hard vote": ensemble.VotingClassifier([("a", naive_bayes.GaussianNB()), ("b", tree.DecisionTreeClassifier())]),
    "soft vote": ensemble.VotingClassifier([("a", naive_bayes.GaussianNB()), ("b", svm.SVC())], voting="hard"),
    "stacking": ensemble.StackingClassifier([("a", naive_bayes.GaussianNB()), ("b", svm.LinearSVC())], cv=2),
    "calibrated": calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2),
    "knn": neighbors.KNeighborsClassifier(4),
    "knn weighted": neighbors.KNeighborsClassifier(4, weights="distance"),
    "centroid": neighbors.NearestCentroid(),
    "naive": naive_bayes.GaussianNB(),
    "lda": discriminant_analysis.LinearDiscriminantAnalysis(),
    "qda": discriminant_analysis.QuadraticDiscriminantAnalysis(),
    "mlp": neural_network.MLPClassifier((8,), max_iter=30, random_state=0),
    "dummy": dummy.DummyClassifier(strategy="prior"),
    "pipeline": pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
    "search": model_selection.GridSearchCV(linear_model.LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
    "threshold": model_selection.FixedThresholdClassifier(linear_model.LogisticRegression(), threshold=0.3),
}
BINARY_ONLY = {"exponential", "threshold", "liblinear"}


def data(classes: int = 3, words: bool = False, n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    x, y = make_classification(
        n, 6, n_informative=4, n_redundant=0, n_classes=classes, flip_y=0.1, class_sep=0.7, random_state=1
    )
    return x, np.array(["cat", "dog", "eel"])[y] if words else y * 10 - 5


def fitted(name: str, classes: int = 3, words: bool = False):
    x, y = data(classes, words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CLASSIFIERS[name].fit(x[:300], y[:300])


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_labels_equal_predict_on_a_thousand_rows(name: str, classes: int, words: bool) -> None:
    if classes > 2 and name in BINARY_ONLY:
        pytest.skip("two classes only")
    model, x = fitted(name, classes, words), data(classes, words)[0]
    target = wrap(model)
    response = target.respond(x)
    assert response.label.dtype == np.int64
    np.testing.assert_array_equal(model.classes_[response.label], model.predict(x))
    if response.scores is not None:
        assert Need.SCORE in target.offers
        np.testing.assert_allclose(response.scores, model.predict_proba(x), rtol=1e-12, atol=1e-15)
    if response.logits is not None:
        assert Need.LOGIT in target.offers
        assert response.logits.shape == (1000, classes)
        decision = model.decision_function(x)
        shown = response.logits[:, 1] - response.logits[:, 0] if decision.ndim == 1 else response.logits
        np.testing.assert_array_equal(shown, decision)
    assert target.fingerprint() is not None


@pytest.mark.parametrize("name", ["logistic", "forest", "hist", "knn", "svc", "mlp"])
def test_a_row_gets_the_same_answer_in_any_batch(name: str) -> None:
    target, x = wrap(fitted(name)), data()[0][:60]
    whole = target.respond(x)
    order = np.random.default_rng(0).permutation(60)
    shuffled = target.respond(x[order])
    single = np.concatenate([target.respond(x[i : i + 1]).label for i in range(60)])
    np.testing.assert_array_equal(whole.label, single)
    np.testing.assert_array_equal(whole.label[order], shuffled.label)
    if whole.scores is not None:
        np.testing.assert_allclose(whole.scores[order], shuffled.scores, atol=1e-12)


class Counting(ensemble.RandomForestClassifier):
    calls = 0

    def predict_proba(self, X):
        type(self).calls += 1
        return super().predict_proba(X)


def test_one_call_a_forward() -> None:
    x, y = data()
    model = Counting(5, random_state=0).fit(x, y)
    Counting.calls = 0
    wrap(model).respond(x)
    assert Counting.calls == 1


def test_a_subclass_that_decides_otherwise_is_asked() -> None:
    class Contrary(ensemble.RandomForestClassifier):
        def predict(self, X):
            return self.classes_[np.argmin(self.predict_proba(X), axis=1)]

    x, y = data()
    model = Contrary(5, random_state=0).fit(x, y)
    np.testing.assert_array_equal(model.classes_[wrap(model).respond(x).label], model.predict(x))


def test_no_gradient_and_says_so() -> None:
    target = wrap(fitted("logistic"), name="loans")
    assert Need.GRADIENT not in target.offers
    with pytest.raises(NotGranted, match="adapter of loans has no gradient"):
        target.gradient(data()[0], data()[1], lambda logits, y: logits)


def test_output_limits_what_is_offered_and_what_is_shown() -> None:
    model = fitted("logistic")
    target = wrap(model, output="labels")
    response = target.respond(data()[0])
    assert response.scores is None and response.logits is None
    assert Need.SCORE not in target.offers
    with pytest.raises(BadInput, match="cannot show 'scores'; it has: labels, logits"):
        wrap(fitted("linear svc"), output="scores")


def test_positive_makes_a_value_class_one() -> None:
    x, y = data(2, words=True)
    model = linear_model.LogisticRegression().fit(x, y)
    plain, turned = wrap(model), wrap(model, positive="cat")
    assert turned.model.values == ("dog", "cat")
    a, b = plain.respond(x), turned.respond(x)
    np.testing.assert_array_equal(a.scores[:, ::-1], b.scores)
    np.testing.assert_array_equal(a.logits[:, ::-1], b.logits)
    np.testing.assert_array_equal(turned.model.decided(b.label), model.predict(x))
    np.testing.assert_array_equal(turned.model.label(y) == 1, y == "cat")
    assert plain.fingerprint() != turned.fingerprint()


def frame() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.integers(18, 80, 400), "job": rng.choice(["a", "b", "c"], 400), "sum": rng.random(400)})
    return table, np.where(table["sum"] + (table["job"] == "a") > 0.8, "bad", "good")


def mixed() -> pipeline.Pipeline:
    columns = compose.ColumnTransformer(
        [("words", preprocessing.OneHotEncoder(), ["job"]), ("numbers", "passthrough", ["age", "sum"])]
    )
    table, y = frame()
    return pipeline.make_pipeline(columns, ensemble.HistGradientBoostingClassifier(max_iter=5)).fit(table, y)


def test_frames_go_in_as_frames() -> None:
    model, (table, _) = mixed(), frame()
    target = wrap(model)
    before = table.copy()
    np.testing.assert_array_equal(model.classes_[target.respond(table).label], model.predict(table))
    np.testing.assert_array_equal(target.respond(table[["sum", "job", "age"]]).label, target.respond(table).label)
    pd.testing.assert_frame_equal(table, before)
    with pytest.raises(BadInput, match="lacks 1 of its columns: job"):
        target.respond(table.drop(columns="job"))


def test_numbers_get_the_names_the_estimator_was_fitted_with() -> None:
    x, y = data()
    model = linear_model.LogisticRegression().fit(pd.DataFrame(x, columns=list("abcdef")), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_array = wrap(model).respond(x)
        by_tensor = wrap(model).respond(torch.as_tensor(x))
        by_frame = wrap(linear_model.LogisticRegression().fit(x, y)).respond(pd.DataFrame(x, columns=list("abcdef")))
    np.testing.assert_array_equal(by_array.label, by_tensor.label)
    np.testing.assert_array_equal(by_array.logits, by_frame.logits)


class Spy:
    """Remembers what it was given."""

    def predict(self, x):
        self.seen = x
        return np.zeros(len(x), int)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_numbers_arrive_uncopied_and_in_their_own_precision(dtype: type) -> None:
    x, spy = np.zeros((4, 2), dtype), Spy()
    wrap(spy, classes=2).respond(x)
    assert spy.seen is x
    tensor = torch.zeros(4, 2, dtype=torch.float64)
    wrap(spy, classes=2).respond(tensor)
    assert spy.seen.dtype == np.float64 and np.shares_memory(spy.seen, tensor.numpy())


def test_float64_is_decided_in_float64() -> None:
    x = np.array([[1.0], [1.0 + 1e-12]])
    model = linear_model.LogisticRegression().fit(np.array([[0.0], [2.0]]), [0, 1])
    model.coef_[:], model.intercept_[:] = 1.0, -(1.0 + 5e-13)
    assert wrap(model).respond(torch.as_tensor(x)).label.tolist() == [0, 1]


def test_regressors_decide_numbers() -> None:
    x, y = data()
    model = ensemble.HistGradientBoostingRegressor(max_iter=5).fit(x, y)
    response = wrap(model).respond(x)
    assert response.label.dtype == np.float64 and response.scores is None
    np.testing.assert_array_equal(response.label, model.predict(x))
    np.testing.assert_array_equal(response.logits, model.predict(x)[:, None])
    counts = dummy.DummyRegressor(strategy="constant", constant=-7).fit(x, y)
    assert (wrap(counts).respond(x).label == -7).all()


@pytest.mark.parametrize(
    "model", [ensemble.IsolationForest(n_estimators=10), svm.OneClassSVM(nu=0.1), neighbors.LocalOutlierFactor(novelty=True)]
)
def test_anomalies_are_class_one(model) -> None:
    x, _ = data()
    model.fit(x[:300])
    response = wrap(model).respond(x)
    np.testing.assert_array_equal(response.label == 1, model.predict(x) == -1)
    assert set(np.unique(response.label)) == {0, 1}
    np.testing.assert_allclose(response.logits[:, 1], -model.decision_function(x))


def test_clusters_and_strangers() -> None:
    x, _ = data()
    model = cluster.KMeans(3, n_init=1, random_state=0).fit(x)
    np.testing.assert_array_equal(wrap(model).respond(x).label, model.predict(x))

    class Words:
        def predict(self, x):
            return ["no"] * len(x)

    assert wrap(Words(), classes=["yes", "no"]).respond(x).label.tolist() == [1] * 1000
    with pytest.raises(BadInput, match="name them: classes="):
        wrap(Words()).respond(x)


def test_texts() -> None:
    texts = ["a good day", "a bad day", "good good", "bad bad"]
    model = pipeline.make_pipeline(TfidfVectorizer(), linear_model.LogisticRegression()).fit(texts, [1, 0, 1, 0])
    assert wrap(model).respond(texts).label.tolist() == [1, 0, 1, 0]


def test_bad_inputs_have_one_clear_message() -> None:
    x, y = data()
    model = fitted("logistic")
    with pytest.raises(BadInput, match=r"fitted on 6 columns; expected shape \(n, 6\), got \(10, 5\)"):
        wrap(model).respond(x[:10, :5])
    with pytest.raises(BadInput, match=r"got \(10, 1, 6\)"):
        wrap(model).respond(x[:10, None])
    with pytest.raises(BadInput, match="toarray"):
        wrap(model).respond(sparse.csr_matrix(x))
    with pytest.raises(TargetFailed, match="raised on 1000 rows: ValueError: Input X contains NaN"):
        wrap(model).respond(x * np.nan)
    with pytest.raises(BadInput, match="not fitted; call its fit method"):
        wrap(linear_model.LogisticRegression())
    with pytest.raises(BadInput, match="one class only"):
        wrap(tree.DecisionTreeClassifier().fit(x, np.zeros(1000)))
    with pytest.raises(BadInput, match="2 things at once"):
        wrap(tree.DecisionTreeClassifier().fit(x, np.stack([y, y], 1)))
    with pytest.raises(BadInput, match="an instance of it first"):
        wrap(linear_model.LogisticRegression)
    with pytest.raises(BadInput, match="classes=7"):
        wrap(model, classes=7)
    with pytest.raises(UnknownName, match="did you mean 'version'"):
        wrap(model, versoin="1")


# -- identity --------------------------------------------------------------------------------------------------------
def test_refitting_keeps_the_fingerprint_and_a_changed_weight_does_not() -> None:
    x, y = data()
    for make in (linear_model.LogisticRegression, lambda: ensemble.RandomForestClassifier(5, random_state=0)):
        one, two = wrap(make().fit(x, y)), wrap(make().fit(x, y))
        assert one.fingerprint() == two.fingerprint()
        assert one.fingerprint() != wrap(make().fit(x + 0.1, y)).fingerprint()
        assert one.fingerprint() != wrap(make().fit(x, y), version="2").fingerprint()
    model = linear_model.LogisticRegression().fit(x, y)
    state = wrap(model).state()
    wrap(model).respond(x)
    assert wrap(model).state() == state
    model.coef_[0, 0] += 1e-12
    assert wrap(model).state() != state


def test_hist_boosting_leaves_count() -> None:
    x, y = data(2)
    model = ensemble.HistGradientBoostingClassifier(max_iter=5).fit(x, y)
    before = wrap(model).fingerprint()
    model._predictors[2][0].nodes["value"][0] += 1
    assert wrap(model).fingerprint() != before


def test_what_hides_its_state_is_unverifiable() -> None:
    import threading

    model = fitted("logistic")
    model.guard = threading.Lock()
    target = wrap(model)
    assert target.fingerprint() is None
    assert target.state() == target.state() != ""
    del model.guard


SCRIPT = """
import numpy as np
from sklearn import ensemble, linear_model, neighbors, pipeline
from sklearn.feature_extraction.text import TfidfVectorizer
from casemate.targets.wrap import wrap
rng = np.random.default_rng(0)
x, y = rng.random((50, 3)), rng.integers(0, 2, 50)
model = ensemble.HistGradientBoostingClassifier(max_iter=3, random_state=0)
print(wrap(model.fit(x, y)).fingerprint())
print(wrap(ensemble.RandomForestClassifier(3, random_state=0).fit(x, y)).fingerprint())
print(wrap(neighbors.KNeighborsClassifier(algorithm="kd_tree").fit(x, y)).fingerprint())
texts = ["aa bb", "bb cc", "cc dd", "dd ee"]
model = pipeline.make_pipeline(TfidfVectorizer(stop_words=["aa"]), linear_model.LogisticRegression())
print(wrap(model.fit(texts, [0, 1, 0, 1])).fingerprint())
"""


def test_another_process_finds_the_same_fingerprints() -> None:
    runs = [subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    assert "None" not in runs[0].stdout and len(set(runs[0].stdout.split())) == 4


def test_adapter_is_a_value() -> None:
    model = fitted("logistic")
    assert Estimator(estimator=model).values == (-5, 5, 15)
    with pytest.raises(AttributeError):
        Estimator(estimator=model).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree"])
def test_asking_a_neighbour_search_does_not_change_it(algorithm) -> None:
    """Its trees count what they are asked, and the count stood in their state: every attack 'touched the target'."""
    from sklearn.neighbors import KNeighborsClassifier

    rows = np.random.default_rng(0).random((200, 3))
    model = KNeighborsClassifier(algorithm=algorithm).fit(rows, rows[:, 0] > 0.5)
    target = wrap(model)
    before = target.state(), target.fingerprint()
    target.respond(rows[:50])
    assert (target.state(), target.fingerprint()) == before and before[1] is not None
    other = KNeighborsClassifier(algorithm=algorithm).fit(rows[::-1], rows[::-1, 0] > 0.5)
    assert wrap(other).state() != before[0]
