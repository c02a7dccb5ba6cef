"""Which training rows made this decision: by the method that fits the model, by training without them, or why none does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput
from ...core.target import Recipe, Target, count, take, to_numpy
from .forest import leaf_weights
from .gradients import tracin, why_not
from .linear import logistic_effects, ridge_effects

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Responsible:
    """The training rows behind one decision.

    Args:
        rows: ``(k,)`` positions in the training data, the weightiest first.
        effect: ``(k,)`` how much each spoke for the decision; below 0 against it. Its unit is in `how`.
        decision: What was decided.
        how: The method, and what an effect is.
        exact: Whether a refit without the row would give exactly that effect.
    """

    rows: NDArray[np.int64]
    effect: Floats
    decision: Any
    how: str
    exact: bool


def responsible(model: Any, x_train: Any, y_train: Any, x: Any, k: int = 5) -> Responsible:
    """The `k` training rows that weigh most in the decision of `model` on one input.

    Ridge and least squares are exact; logistic regression takes one Newton step; the neighbours of a nearest-neighbour rule
    are its reasons, and so are the rows in the leaves of trees and forests; dense torch networks are traced at their last
    state. Of a scikit-learn pipeline the last step is explained, on what the steps before make of the rows.

    Args:
        model: The estimator or network itself, or a target around one.
        x_train, y_train: All that it was trained on.
        x: One input, as a row ``(d,)``, ``(1, d)`` or a frame of one row.

    Raises:
        BadInput: Nothing fits the model, and why; or the rows are not what it was trained on.
    """
    n = count(x_train)
    if k < 1 or k > n:
        raise BadInput(f"k={k} of {n} training rows is not allowed; give 1 to {n}")
    y = np.asarray(to_numpy(y_train))
    if y.shape != (n,):
        raise BadInput(f"{n} training rows and labels of shape {y.shape}; give one for each")
    model = _bare(model)
    kinds = {base.__name__ for base in type(model).__mro__}
    x = x if hasattr(x, "iloc") or np.ndim(to_numpy(x)) > 1 else np.asarray(to_numpy(x))[None]
    if count(x) != 1:
        raise BadInput(f"one decision is explained at a time; got {count(x)} inputs")
    if "Pipeline" in kinds and hasattr(model, "steps"):
        before = model[:-1]
        if len(before):
            x_train, x = (_dense(before.transform(each)) for each in (x_train, x))
        return responsible(model[-1], x_train, y, x, k)
    for names, method in _METHODS:
        if kinds & names:
            found: Responsible = method(model, np.asarray(to_numpy(x_train)), y, np.asarray(to_numpy(x)), k)
            return found
    raise BadInput(
        f"no method here tells which rows made a decision of a {type(model).__name__}; it is told of Ridge, LinearRegression, "
        "LogisticRegression, nearest neighbours, decision trees, random forests and dense torch networks. For others take "
        "`refitted` (`casemate account --refit`), which trains without each row"
    )


def refitted(
    recipe: Recipe, x: Any, k: int = 5, *, rows: Any = None, seed: int = 0, show: Callable[[int, int], None] = lambda *_: None
) -> Responsible:
    """The `k` training rows without which a recipe would decide one input most differently: it is trained without each.

    For every kind of model, at one training a row and one more. Trainings repeat by their seed, so a difference is the row's;
    of models that draw while they train it is also that of the draw.

    Args:
        x: One input, as the recipe's own rows are: a frame of one row, ``(d,)`` or ``(1, d)``.
        rows: Positions of the candidates; left out, all.
        show: Called with what is done and what there is to do, after each training.

    Raises:
        BadInput: More than one input, rows that are not there, or `k` of fewer.
    """
    n = count(recipe.x)
    chosen = np.arange(n) if rows is None else np.unique(np.asarray(rows, int))
    if not len(chosen) or chosen[0] < 0 or chosen[-1] >= n or not 1 <= k <= len(chosen):
        raise BadInput(
            f"k={k} of {len(chosen)} candidates among {n} training rows; give positions from 0 to {n - 1}, k up to their number"
        )
    x = x if hasattr(x, "iloc") or np.ndim(to_numpy(x)) > 1 else np.asarray(to_numpy(x))[None]
    if count(x) != 1:
        raise BadInput(f"one decision is explained at a time; got {count(x)} inputs")
    whole = recipe.fit(recipe.x, recipe.y, seed)
    decided = np.asarray(to_numpy(whole.respond(x).label))[0]
    before, effect = _said(whole, x, decided), np.zeros(len(chosen))
    for i, row in enumerate(chosen):
        kept = np.delete(np.arange(n), row)
        effect[i] = before - _said(recipe.fit(take(recipe.x, kept), take(recipe.y, kept), seed), x, decided)
        show(i + 1, len(chosen))
    order = np.argsort(-np.abs(effect), kind="stable")[:k]
    how = "trained without the row: what the score of the decided class loses, or the number predicted"
    return Responsible(chosen[order], effect[order], decided, how, True)


def _said(model: Target, x: Any, decided: Any) -> float:
    """What a model says for the decision: its score, 1 or 0 where it shows labels only, the number itself of a regression."""
    answer = model.respond(x)
    if answer.scores is not None:
        return float(np.asarray(to_numpy(answer.scores))[0, int(decided)])
    label = np.asarray(to_numpy(answer.label))[0]
    return float(label) if model.classes is None else float(label == decided)


def _bare(model: Any) -> Any:
    """What a target wraps. Stages before it would have to be run on the training rows: those are the caller's to apply."""
    if getattr(model, "stages", ()):
        raise BadInput(f"the model has stages before it, {len(model.stages)}; give the model itself and rows as it sees them")
    inner = getattr(model, "model", model) if hasattr(model, "stages") else model
    for name in ("estimator", "module"):
        if hasattr(inner, "offers") and hasattr(inner, name):
            return getattr(inner, name)
    return inner


def _ridge(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    ridge = getattr(model, "alpha", 0.0)
    if np.ndim(ridge):
        raise BadInput(f"alpha={ridge!r} differs by output; one number is understood")
    effect = ridge_effects(x_train, y, x, float(ridge), bool(model.fit_intercept))[0]
    how = "leaving one out of ridge: what the prediction loses without the row, in its own unit"
    return _top(-effect, np.abs(effect), k, float(np.ravel(model.predict(x))[0]), how, exact=True)


def _logistic(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    penalty, weights = getattr(model, "penalty", "l2"), getattr(model, "class_weight", None)
    if penalty not in ("l2", "deprecated", None) or weights is not None or getattr(model, "l1_ratio", None):
        raise BadInput(f"penalty={penalty!r}, class_weight={weights!r}: only l2, unweighted, is understood")
    classes = np.asarray(model.classes_)
    place = np.searchsorted(classes, y)
    if (place >= len(classes)).any() or (classes[np.minimum(place, len(classes) - 1)] != y).any():
        raise BadInput(f"a training label is none of the model's classes {classes.tolist()}")
    moved = logistic_effects(
        x_train, place, x, coefficients=model.coef_, intercept=np.broadcast_to(model.intercept_, len(model.coef_)),
        l2=0.0 if penalty is None else 1 / model.C, free=bool(model.fit_intercept),
    )[0]  # fmt: skip
    z = np.asarray(model.decision_function(x), float).reshape(-1)
    before, after = (_log_chances(each) for each in (z[None], z[None] + moved))
    decided = int(before[0].argmax())
    effect = before[0, decided] - after[:, decided]
    how = "one Newton step of logistic regression: what the log-chance of the decided class loses without the row"
    return _top(effect, effect, k, classes[decided], how)


def _log_chances(z: Floats) -> Floats:
    full = np.concatenate([np.zeros((len(z), 1)), z], 1) if z.shape[1] == 1 else z
    top = full - full.max(1, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(1, keepdims=True)))


def _neighbours(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    far, rows = (each[0] for each in model.kneighbors(x))
    if getattr(model, "n_samples_fit_", len(y)) != len(y):
        raise BadInput(f"the model holds {model.n_samples_fit_} rows, and {len(y)} were given; give all that it was trained on")
    decided = np.ravel(model.predict(x))[0]
    weight = np.ones(len(rows)) if model.weights == "uniform" else 1 / np.maximum(far, 1e-300)
    weight = weight / weight.sum()
    effect = np.where(y[rows] == decided, weight, -weight) if hasattr(model, "classes_") else weight
    order = np.argsort(-np.abs(effect), kind="stable")[:k]
    return Responsible(rows[order], effect[order], decided, "the neighbours that voted, each with its share of the vote", True)


def _leaves(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    weight = leaf_weights(model, x_train, y, x)
    decided = np.ravel(model.predict(x))[0]
    effect = np.where(y == decided, weight, -weight) if hasattr(model, "classes_") else weight
    return _top(effect, weight, k, decided, "the rows in the leaves that answered, each with its share of the answer")


def _network(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    import torch

    if reason := why_not(model):
        raise BadInput(f"a network is traced by products of its dense layers: {reason}")
    weight = next(model.parameters())
    with torch.no_grad():
        import copy

        decided = int(copy.deepcopy(model).eval()(torch.as_tensor(np.asarray(x), dtype=weight.dtype)).argmax())
    effect = tracin(model, x_train, y, x, np.array([decided]))[0]
    return _top(effect, effect, k, decided, "TracIn at the last state: what a step on the row lowers of the decision's loss")


def _top(effect: Floats, weight: Floats, k: int, decision: Any, how: str, exact: bool = False) -> Responsible:
    order = np.argsort(-weight, kind="stable")[:k]
    return Responsible(order, effect[order], decision, how, exact)


def _dense(x: Any) -> Any:
    return x.toarray() if hasattr(x, "toarray") else x


_METHODS: tuple[tuple[frozenset[str], Any], ...] = (
    (frozenset({"Ridge", "LinearRegression"}), _ridge),
    (frozenset({"LogisticRegression"}), _logistic),
    (frozenset({"KNeighborsClassifier", "KNeighborsRegressor"}), _neighbours),
    (frozenset({"BaseDecisionTree", "ForestClassifier", "ForestRegressor"}), _leaves),
    (frozenset({"Module"}), _network),
)
