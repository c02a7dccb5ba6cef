"""What classes of scikit-learn, XGBoost and LightGBM are known to do, so that no query is paid twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..core.errors import BadInput, need
from .answers import class_values

Kind = Literal["classifier", "regressor", "outlier", "other"]
_WHY = "a scikit-learn target"

# How the class that owns `predict` decides. Asking `predict` beside the scores would double the price of every query,
# so where the source of `predict` is "the best score", this table says so. Anything not listed is asked.
_DECIDES = {
    "sklearn.linear_model._base.LinearClassifierMixin": "decision",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier": "decision",
    "sklearn.ensemble._gb.GradientBoostingClassifier": "decision or zero",
    "sklearn.ensemble._forest.ForestClassifier": "scores",
    "sklearn.tree._classes.BaseDecisionTree": "scores",
    "sklearn.ensemble._bagging.BaggingClassifier": "scores",
    "sklearn.calibration.CalibratedClassifierCV": "scores",
    "sklearn.neural_network._multilayer_perceptron.MLPClassifier": "scores",
}
# Whose `predict_proba` is the sigmoid or softmax of its own `decision_function`, so one call gives both.
_SQUASHES = (
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
    "sklearn.ensemble._gb.GradientBoostingClassifier",
)

# Of other libraries: whose label is that of the largest score, by the objective it was trained for.
_BOOSTED: dict[str, Callable[[Any], bool]] = {
    "lightgbm.sklearn.LGBMClassifier": lambda model: not callable(getattr(model, "objective_", None)),
    "xgboost.sklearn.XGBClassifier": lambda model: (
        getattr(model, "objective", None) == ("binary:logistic" if len(model.classes_) == 2 else "multi:softprob")
    ),
}
_FORESTS = ("sklearn.ensemble._forest.RandomForestClassifier", "sklearn.ensemble._forest.ExtraTreesClassifier")


def check_fitted(estimator: Any, name: str) -> None:
    """Refuse a class, a thing without ``predict``, and what was never fitted."""
    if isinstance(estimator, type):
        raise BadInput(f"{name}: this is the class {estimator.__name__}, not an estimator; give a fitted instance")
    if not callable(getattr(estimator, "predict", None)):
        raise BadInput(f"{name}: a {type(estimator).__name__} has no predict method; give a fitted estimator")
    if not hasattr(estimator, "get_params"):
        return
    validation, faults = need("sklearn.utils.validation", "sklearn", _WHY), need("sklearn.exceptions", "sklearn", _WHY)
    try:
        validation.check_is_fitted(estimator)
    except faults.NotFittedError:
        raise BadInput(f"{name} is not fitted; call its fit method first") from None
    except TypeError:  # it has no fit method: nothing to wait for
        return


def kind_of(estimator: Any) -> Kind:
    """What sort of decision it takes."""
    if hasattr(estimator, "classes_"):
        return "classifier"
    parts = need("sklearn.base", "sklearn", _WHY)
    try:
        if parts.is_outlier_detector(estimator):
            return "outlier"
        return "regressor" if parts.is_regressor(estimator) else "other"
    except Exception:  # noqa: BLE001 - a stranger with a predict method only: what it answers tells
        return "other"


def values_of(estimator: Any, name: str, kind: Kind, positive: Any) -> tuple[tuple[Any, ...], Any]:
    """Class values in index order, and the order of columns where that is not the estimator's own."""
    if kind != "classifier":
        if positive is not None:
            raise BadInput(f"{name}: positive={positive!r} needs a classifier of two classes; this is a {kind}")
        return ((0, 1) if kind == "outlier" else ()), None
    if isinstance(estimator.classes_, list):
        raise BadInput(f"{name} decides {len(estimator.classes_)} things at once; wrap one output at a time")
    if len(estimator.classes_) < 2:
        raise BadInput(f"{name} was fitted on one class only ({list(estimator.classes_)}); there is nothing to attack")
    _, values = class_values(estimator.classes_)
    if positive is None or (len(values) == 2 and positive == values[1]):
        return values, None
    if len(values) != 2 or positive not in values:
        raise BadInput(f"{name}: positive={positive!r} must be one of two classes; it has {values[:10]}")
    return values[::-1], np.array([1, 0])


def shown_by(estimator: Any, kind: Kind, classes: int) -> tuple[str, ...]:
    """What it can show beside the label."""
    if kind == "regressor":
        return ("logits",)
    shown = ("scores",) if hasattr(estimator, "predict_proba") and kind == "classifier" else ()
    pairs = getattr(final(estimator), "decision_function_shape", None) == "ovo" and classes > 2
    return (*shown, "logits") if hasattr(estimator, "decision_function") and not pairs else shown


def decides(estimator: Any) -> str:
    """From what its label follows: ``decision``, ``decision or zero``, ``scores``, or only ``predict`` itself."""
    last = final(estimator)
    owner = _owner(last, "predict")
    if owner in _BOOSTED and _owner(last, "predict_proba") == owner:
        return "scores" if _BOOSTED[owner](last) else "predict"
    return _DECIDES.get(owner, "predict")


def squashes(estimator: Any) -> bool:
    """Whether its scores are the sigmoid or softmax of its decision values."""
    last = final(estimator)
    if getattr(last, "solver", "") == "liblinear" or getattr(last, "multi_class", "") in ("ovr", "multinomial"):
        return False  # older releases: one sigmoid a class, or a softmax over both signs of one number
    return _owner(last, "predict_proba") in _SQUASHES and getattr(last, "loss", "log_loss") == "log_loss"


def forest_scores(estimator: Any, x: Any) -> Any:
    """What ``predict_proba`` of one of the library's own forests says, ``(n, k)``, to the last bit; None where it has to be
    asked itself.

    Its trees are asked one after the other and added up, as it does. It also sets up jobs, settings and checks for each of
    them, which costs ten times the trees on a hundred rows.
    """
    if f"{type(estimator).__module__}.{type(estimator).__qualname__}" not in _FORESTS or "predict_proba" in vars(estimator):
        return None
    trees, single = estimator.estimators_, _as_trees_read(estimator, x)
    if single is None or any(type(tree).__module__ != "sklearn.tree._classes" for tree in trees):
        return None
    found = np.zeros((len(single), len(estimator.classes_)))
    for tree in trees:
        found += tree.tree_.predict(single)
    found /= len(trees)
    return found


def _as_trees_read(estimator: Any, x: Any) -> Any:
    """Numbers ``(n, columns)`` as the trees take them, float32; None where the library has more to say to them: missing or
    huge values, columns of several types, or in another order."""
    if hasattr(x, "iloc"):
        if list(x.columns) != list(getattr(estimator, "feature_names_in_", ())) or len(set(x.dtypes)) != 1:
            return None
        x = x.to_numpy()
    if not isinstance(x, np.ndarray) or x.ndim != 2 or not len(x) or x.dtype.kind not in "fiu":
        return None
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(x, np.float32)
    return single if np.isfinite(single).all() else None


def final(estimator: Any) -> Any:
    """The part of a pipeline or a search that decides."""
    while True:
        owner = _owner(estimator, "predict")
        if owner == "sklearn.pipeline.Pipeline":
            estimator = estimator.steps[-1][1]
        elif owner == "sklearn.model_selection._search.BaseSearchCV":
            estimator = estimator.best_estimator_
        else:
            return estimator


def _owner(estimator: Any, method: str) -> str:
    """The class that defines a method: a subclass that overrides it is not the library's own any more."""
    kind = next((part for part in type(estimator).__mro__ if method in vars(part)), type(estimator))
    return f"{kind.__module__}.{kind.__qualname__}"
