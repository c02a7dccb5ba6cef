"""A scikit-learn estimator or pipeline as a model: classifiers, regressors, anomaly detectors. No gradient.

Frames go in as frames and keep their columns, float64 stays float64, nothing is copied. The decision is always the one
that `estimator.predict` makes; where the library itself takes it from the scores, they are computed once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.errors import BadInput, CasemateError, TargetFailed, need
from ..core.target import Response, count, to_numpy
from ..core.trees import Ensemble
from ._sklearn import Kind, check_fitted, decides, forest_scores, kind_of, shown_by, squashes, values_of
from ._trees import read, readable
from .answers import brief, class_values, indices, numbers, same_length, softmax, words
from .identity import digest


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
    _squashes: bool = field(init=False, repr=False, default=False)
    _order: Any = field(init=False, repr=False, default=None)
    _trees: list[Any] = field(init=False, repr=False, compare=False, default_factory=list)  # read once, when first asked for

    def __post_init__(self) -> None:
        check_fitted(self.estimator, self.name)
        kind = kind_of(self.estimator)
        values, order = values_of(self.estimator, self.name, kind, self.positive)
        size, named = class_values(self.classes)
        if size is not None and values and size != len(values):
            raise BadInput(f"{self.name}: classes={self.classes!r}, but it was fitted on {len(values)}: {values[:10]}")
        values = values or named
        shown = shown_by(self.estimator, kind, len(values))
        if self.output not in ("auto", "labels") and self.output not in shown:
            raise BadInput(f"{self.name} cannot show {self.output!r}; it has: {', '.join(('labels', *shown))}")
        kept = shown if self.output == "auto" else tuple(s for s in shown if s == self.output)
        offers = self.offers | (Need.SCORE if "scores" in kept else Need.NONE)
        offers |= Need.LOGIT if "logits" in kept else Need.NONE
        offers |= Need.STRUCTURE if readable(self.estimator) else Need.NONE
        for name, value in (
            ("classes", len(values) or size), ("offers", offers), ("values", values), ("_kind", kind),
            ("_order", order), ("_decides", decides(self.estimator)),
            ("_squashes", "scores" in kept and squashes(self.estimator)),
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
        x = _table(self.name, self.estimator, self.prepare(x))
        quick = forest_scores(self.estimator, x) if self._decides == "scores" else None
        if quick is not None:  # in one thread as it is, and with nothing to warn of
            return self._ordered(quick.argmax(1), quick if Need.SCORE in self.offers else None, None)
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

    def structure(self) -> Ensemble:
        """The trees it decides by, as a value; read when first asked for.

        Raises:
            NotGranted: It has none, or splits in a way that cannot be told (by categories, say).
        """
        if not self._trees:
            self._trees.append(read(self.estimator, self.name, self._order))
        return self._trees[0]  # type: ignore[no-any-return]

    def decided(self, labels: Any) -> NDArray[Any]:
        """Class values ``(n,)`` of labels ``(n,)``: what the estimator itself would have said; None for a reject."""
        return words(self.values, labels)

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
        logits = self._logits(x) if logit else None
        scores = None
        if score and logits is not None and self._squashes:
            scores = _squashed(logits)
        elif score:
            scores = numbers(self.name, self._call("predict_proba", x), self.classes)
        if logits is not None and self._decides.startswith("decision"):
            label = logits.argmax(1)
            if self._decides == "decision or zero" and logits.shape[1] == 2:
                label = (logits[:, 1] >= 0).astype(np.int64)
        elif scores is not None and self._decides == "scores":
            label = scores.argmax(1)
        else:
            known = tuple(np.asarray(self.estimator.classes_).tolist())
            label = indices(self.name, self._call("predict", x), self.classes, known)
        return self._ordered(label, scores, logits)

    def _ordered(self, label: NDArray[Any], scores: NDArray[Any] | None, logits: NDArray[Any] | None) -> Response:
        """The answer with its classes in the order of `values`."""
        if self._order is None:
            return Response(label, scores, logits)
        order = self._order
        return Response(
            order[label], None if scores is None else scores[:, order], None if logits is None else logits[:, order]
        )

    def _logits(self, x: Any) -> NDArray[Any]:
        """One logit for each class. Of two, the estimator gives one number, and class 0 stands at zero."""
        found = numbers(self.name, self._call("decision_function", x), None)
        if found.shape[1] == 1:
            found = np.hstack([np.zeros_like(found), found])
        if found.shape[1] != self.classes:
            raise TargetFailed(
                f"{self.name}: {found.shape[1]} decision values for {self.classes} classes; use output='labels'"
            )
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


def _table(name: str, estimator: Any, x: Any) -> Any:
    """The input as the estimator was fitted on it: with its column names if it has any."""
    width = getattr(estimator, "n_features_in_", None)
    names = getattr(estimator, "feature_names_in_", None)
    if hasattr(x, "iloc"):
        missing = [str(column) for column in ([] if names is None else names) if column not in x.columns]
        if missing:
            raise BadInput(f"{name}: the frame lacks {len(missing)} of its columns: {', '.join(missing[:5])}")
        numeric = all(getattr(kind, "kind", "O") in "fiub" for kind in x.dtypes)
        return x.to_numpy() if names is None and width is not None and numeric else x
    shape = getattr(x, "shape", None)
    if width is None or shape is None:
        return x
    if len(shape) != 2 or shape[1] != width:
        raise BadInput(f"{name} was fitted on {width} columns; expected shape (n, {width}), got {tuple(shape)}")
    if names is None:
        return x
    pandas = need("pandas", "sklearn", f"{name}, which was fitted on a frame,")
    return pandas.DataFrame(x, columns=list(names), copy=False)


def _squashed(logits: NDArray[Any]) -> NDArray[Any]:
    """Scores of logits ``(n, k)``; of two classes by the sigmoid, as the library does it."""
    if logits.shape[1] > 2:
        return softmax(logits)
    one = need("scipy.special", "sklearn", "a scikit-learn target").expit(logits[:, 1] - logits[:, 0])
    return np.stack([1 - one, one], 1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of each kind. Forests that add up their trees in threads add them in any order: the same input, another
    last digit. And a handful of rows is too little to share: threads that wait for each other cost more than they save.
    """
    joblib = need("joblib", "sklearn", "a scikit-learn target")
    with joblib.parallel_config(backend="sequential"), _pools().limit(limits=1), warnings.catch_warnings():
        # scikit-learn sets up every warning filter again for each tree of a forest, which costs as much as the trees. What
        # it warns of when predicting is the names of columns, and those the adapter sets itself.
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        yield


@functools.cache
def _pools() -> Any:
    """The thread pools of the libraries that are loaded, found once: looking for them takes milliseconds."""
    return need("threadpoolctl", "sklearn", "a scikit-learn target").ThreadpoolController()
