"""A scikit-learn estimator or pipeline as a model: classifiers, regressors, anomaly detectors. No gradient.

Frames go in as frames and keep their columns, float64 stays float64, nothing is copied. The decision is always the one that
`estimator.predict` makes; where the library itself takes it from the scores, they are computed once.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.errors import BadInput, CasemateError, TargetFailed, need
from ..core.target import Response, count, to_numpy
from .answers import brief, class_values, indices, numbers, same_length, softmax
from .identity import digest

Kind = Literal["classifier", "regressor", "outlier", "other"]

# How the class that owns `predict` decides. Asking `predict` beside the scores would double the price of every query, so
# where the source of `predict` is "the best score", this table says so. Anything not listed is asked.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """Anything with ``predict``, fitted. Inputs are a frame, an array or tensor ``(n, columns)``, or a list of texts.

    Args:
        estimator: The fitted estimator or pipeline. It is neither copied nor changed.
        name: Shown in reports and messages.
        classes: How many, set by the estimator. For one without ``classes_``: the number, or the values in index order.
        output: ``auto`` shows all the estimator has; ``labels``, ``scores`` or ``logits`` no more than that.
        positive: Of two classes, the value that shall be class 1. Left out, the order of ``classes_`` stands.
        version: The user's own version, part of its identity.

    Attributes:
        values: The class values in index order: ``Response.label`` is an index into it. Of an anomaly detector, 0 is
            normal and 1 an anomaly; of a regression it is empty and the label is the number itself, float64.

    Raises:
        BadInput: Not fitted, one class only, several outputs, or an `output` it cannot show.
    """

    estimator: Any
    name: str = "estimator"
    classes: Any = None
    output: Literal["auto", "labels", "scores", "logits"] = "auto"
    positive: Any = None
    version: str = ""
    offers: Need = field(init=False, default=Need.LABEL | Need.ARTIFACT)
    values: tuple[Any, ...] = field(init=False, default=())
    _kind: Kind = field(init=False, repr=False, default="other")
    _decides: str = field(init=False, repr=False, default="predict")
    _order: Any = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        _check_fitted(self.estimator, self.name)
        kind = _kind(self.estimator)
        values, order = _values(self.estimator, self.name, kind, self.positive)
        size, named = class_values(self.classes)
        if size is not None and values and size != len(values):
            raise BadInput(f"{self.name}: classes={self.classes!r}, but it was fitted on {len(values)}: {values[:10]}")
        values = values or named
        final = _final(self.estimator)
        shown = _shown(self.estimator, final, kind, len(values))
        if self.output not in ("auto", "labels") and self.output not in shown:
            raise BadInput(f"{self.name} cannot show {self.output!r}; it has: {', '.join(('labels', *shown))}")
        kept = shown if self.output == "auto" else tuple(s for s in shown if s == self.output)
        offers = Need.LABEL | Need.ARTIFACT
        offers |= Need.SCORE if "scores" in kept else Need.NONE
        offers |= Need.LOGIT if "logits" in kept else Need.NONE
        decides = _DECIDES.get(_owner(final, "predict"), "predict")
        for name, value in (
            ("classes", len(values) or size), ("offers", offers), ("values", values), ("_kind", kind),
            ("_order", order), ("_decides", decides),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def prepare(self, x: Any) -> Any:
        """Tensors as arrays that share their memory; frames and lists as they are. Sparse input is refused."""
        if hasattr(x, "tocsr"):
            raise BadInput(f"{self.name}: sparse input cannot be attacked row by row; give x.toarray()")
        x = to_numpy(x)
        if isinstance(x, list | tuple) and x and not isinstance(x[0], str | bytes | dict):
            x = np.asarray(x)
        return x

    def forward(self, x: Any) -> Response:
        """Decide. At most one call of each of ``predict``, ``predict_proba`` and ``decision_function``."""
        x = self._table(self.prepare(x))
        with _one_thread():
            if self._kind in ("classifier", "outlier"):
                response = self._classify(x) if self._kind == "classifier" else self._detect(x)
            elif self._kind == "regressor":
                value = numbers(self.name, self._call("predict", x), 1)
                response = Response(value[:, 0], None, value if Need.LOGIT in self.offers else None)
            else:
                response = Response(indices(self.name, self._call("predict", x), self.classes, self.values))
        same_length(self.name, count(x), response.label, response.scores, response.logits)
        return response

    def decided(self, labels: Any) -> NDArray[Any]:
        """Class values ``(n,)`` of labels ``(n,)``: what the estimator itself would have said; None for a reject."""
        return np.array([None if i < 0 else self.values[i] for i in np.asarray(labels).tolist()], dtype=object)

    def label(self, y: Any) -> NDArray[np.int64]:
        """Labels ``(n,)``, int64, of class values ``(n,)``: for turning a data set's truth into indices."""
        return np.asarray(indices(self.name, y, self.classes, self.values))

    def fingerprint(self) -> str | None:
        """Class, parameters and every fitted attribute, by content; None where some part hides its state."""
        found = digest(self.estimator)
        if found is None:
            return None
        parts = [found, self.output, repr(self.positive), self.version]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def state(self) -> str:
        return digest(self.estimator, strict=False) or ""

    # -- how each kind answers ----------------------------------------------------------------------------------------
    def _classify(self, x: Any) -> Response:
        score, logit = Need.SCORE in self.offers, Need.LOGIT in self.offers
        squash = logit and score and _squashes(_final(self.estimator))
        logits = self._logits(x) if logit else None
        scores = None
        if score:
            scores = softmax_of(logits) if squash else numbers(self.name, self._call("predict_proba", x), self.classes)
        if logits is not None and self._decides.startswith("decision"):
            label = logits.argmax(1)
            if self._decides == "decision or zero" and logits.shape[1] == 2:
                label = (logits[:, 1] >= 0).astype(np.int64)
        elif scores is not None and self._decides == "scores":
            label = scores.argmax(1)
        else:
            known = tuple(np.asarray(self.estimator.classes_).tolist())
            label = indices(self.name, self._call("predict", x), self.classes, known)
        if self._order is None:
            return Response(label, scores, logits)
        order = self._order
        return Response(
            order[label], None if scores is None else scores[:, order], None if logits is None else logits[:, order]
        )

    def _logits(self, x: Any) -> NDArray[Any]:
        """One logit for each class. Of two classes the estimator gives one number, and the other class stands at zero."""
        found = numbers(self.name, self._call("decision_function", x), None)
        if found.shape[1] == 1:
            found = np.hstack([np.zeros_like(found), found])
        if found.shape[1] != self.classes:
            raise TargetFailed(f"{self.name}: {found.shape[1]} decision values for {self.classes} classes; use output='labels'")
        return found

    def _detect(self, x: Any) -> Response:
        logits = None
        if Need.LOGIT in self.offers:
            inside = numbers(self.name, self._call("decision_function", x), None)
            logits = np.hstack([np.zeros_like(inside), -inside])
        # Not -1 for an anomaly, as the library has it: -1 is a reject here.
        return Response((np.asarray(self._call("predict", x)) < 0).astype(np.int64), None, logits)

    def _call(self, method: str, x: Any) -> Any:
        try:
            return getattr(self.estimator, method)(x)
        except CasemateError:
            raise
        except Exception as error:
            raise TargetFailed(f"{self.name}.{method} raised on {count(x)} rows: {brief(error)}") from error

    def _table(self, x: Any) -> Any:
        """The input as the estimator was fitted on it: with its column names if it has any."""
        width = getattr(self.estimator, "n_features_in_", None)
        names = getattr(self.estimator, "feature_names_in_", None)
        if hasattr(x, "iloc"):
            missing = [str(name) for name in ([] if names is None else names) if name not in x.columns]
            if missing:
                raise BadInput(f"{self.name}: the frame lacks {len(missing)} of its columns: {', '.join(missing[:5])}")
            numeric = all(getattr(kind, "kind", "O") in "fiub" for kind in x.dtypes)
            return x.to_numpy() if names is None and width is not None and numeric else x
        shape = getattr(x, "shape", None)
        if width is None or shape is None:
            return x
        if len(shape) != 2 or shape[1] != width:
            raise BadInput(f"{self.name} was fitted on {width} columns; expected shape (n, {width}), got {tuple(shape)}")
        if names is None:
            return x
        pandas = need("pandas", "sklearn", f"{self.name}, which was fitted on a frame,")
        return pandas.DataFrame(x, columns=list(names), copy=False)


def softmax_of(logits: NDArray[Any] | None) -> NDArray[Any]:
    """Scores of logits ``(n, k)``; of two classes by the sigmoid, as the library does it."""
    assert logits is not None
    if logits.shape[1] > 2:
        return softmax(logits)
    from scipy.special import expit

    one = expit(logits[:, 1] - logits[:, 0])
    return np.stack([1 - one, one], 1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Forests that add up their trees in threads add them in any order: the same input, a different last digit."""
    joblib = need("joblib", "sklearn", "a scikit-learn target")
    with joblib.parallel_config(backend="sequential"):
        yield


def _check_fitted(estimator: Any, name: str) -> None:
    if isinstance(estimator, type):
        raise BadInput(f"{name}: this is the class {estimator.__name__}, not an estimator; give a fitted instance")
    if not callable(getattr(estimator, "predict", None)):
        raise BadInput(f"{name}: a {type(estimator).__name__} has no predict method; give a fitted estimator")
    if not hasattr(estimator, "get_params"):
        return
    validation = need("sklearn.utils.validation", "sklearn", "a scikit-learn target")
    exceptions = need("sklearn.exceptions", "sklearn", "a scikit-learn target")
    try:
        validation.check_is_fitted(estimator)
    except exceptions.NotFittedError:
        raise BadInput(f"{name} is not fitted; call its fit method first") from None
    except TypeError:  # it has no fit method: nothing to wait for
        return


def _kind(estimator: Any) -> Kind:
    if hasattr(estimator, "classes_"):
        return "classifier"
    parts = need("sklearn.base", "sklearn", "a scikit-learn target")
    try:
        if parts.is_outlier_detector(estimator):
            return "outlier"
        return "regressor" if parts.is_regressor(estimator) else "other"
    except Exception:  # a stranger with a predict method only: what it answers tells
        return "other"


def _values(estimator: Any, name: str, kind: Kind, positive: Any) -> tuple[tuple[Any, ...], Any]:
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
    if positive is None or positive == values[-1]:
        return values, None
    if len(values) != 2 or positive not in values:
        raise BadInput(f"{name}: positive={positive!r} must be one of two classes; it has {values[:10]}")
    return values[::-1], np.array([1, 0])


def _shown(estimator: Any, final: Any, kind: Kind, classes: int) -> tuple[str, ...]:
    if kind == "regressor":
        return ("logits",)
    shown = ("scores",) if hasattr(estimator, "predict_proba") and kind == "classifier" else ()
    one_to_one = getattr(final, "decision_function_shape", None) == "ovo" and classes > 2  # pairs, not classes
    return (*shown, "logits") if hasattr(estimator, "decision_function") and not one_to_one else shown


def _final(estimator: Any) -> Any:
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


def _squashes(final: Any) -> bool:
    if getattr(final, "solver", "") == "liblinear" or getattr(final, "multi_class", "") in ("ovr", "multinomial"):
        return False  # older releases: one sigmoid a class, or a softmax over both signs of one number
    return _owner(final, "predict_proba") in _SQUASHES and getattr(final, "loss", "log_loss") == "log_loss"
