"""Which training rows made this decision: by the method that fits the model, by training without them, or why none does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import BadInput, CasemateError
from ...core.target import Recipe, count, to_numpy
from .forest import leaf_weights
from .gradients import answers, tracin, why_not
from .linear import logistic_effects, ridge_effects, ridge_off
from .without import hear, positions

Floats = NDArray[np.float64]
EXACT = 1e-6  # how far, in the spread of the labels, a fit may be from the closed form that speaks for it
ITERATED = 1e-3  # the same of a solver that stops early, or of float32: then the closed form is an estimate


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
    state. Of a scikit-learn pipeline the last step is explained, on what the steps before make of the rows: a refit would fit
    those again, so that nothing is exact then.

    Args:
        model: The estimator or network itself, or a target around one.
        x_train, y_train: All that it was trained on.
        x: One input, as a row ``(d,)``, ``(1, d)`` or a frame of one row.

    Raises:
        BadInput: Nothing fits the model, and why; or the rows are not what it was trained on.
    """
    n = count(x_train)
    if not _is_whole(k) or not 1 <= k <= n:
        raise BadInput(f"k={k} of {n} training rows is not allowed; give 1 to {n}")
    y = np.asarray(to_numpy(y_train))
    if y.shape != (n,):
        raise BadInput(f"{n} training rows and labels of shape {y.shape}; give one for each")
    target, model, x = model, _bare(model), _one(x, x_train)
    if _is_pipeline(model):
        return _decided_so(target, x, _last_step(model, x_train, y, x, k))
    kinds = {base.__name__ for base in type(model).__mro__}
    for names, method in _METHODS:
        if kinds & names:
            rows, asked = (np.asarray(to_numpy(_dense(each))) for each in (x_train, x))
            _fitted(model)
            _wide(model, rows, asked)
            return _decided_so(target, x, _told(method, model, rows, y, asked, k))
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
        BadInput: More than one input, rows that are not there, `k` of fewer, a recipe that returns no target, or one that cannot
            be trained on the one class that is left without some row.
        TargetFailed: A training failed, or a model of it; says without which row.
    """
    n = count(recipe.x)
    chosen = positions(rows, n)
    if not _is_whole(k) or not 1 <= k <= len(chosen):
        raise BadInput(f"k={k} of {len(chosen)} candidates among {n} training rows is not allowed; give 1 to {len(chosen)}")
    x = _one(x, recipe.x)
    whole = hear(recipe, x, seed)
    before, effect = whole.by(whole, ""), np.zeros(len(chosen))
    for i, row in enumerate(chosen.tolist()):
        effect[i] = before - whole.by(hear(recipe, x, seed, row), f"without training row {row}")
        show(i + 1, len(chosen))
    order = np.argsort(-np.abs(effect), kind="stable")[:k]
    return Responsible(chosen[order], effect[order], whole.label, whole.how, True)


def _is_whole(k: Any) -> bool:
    return isinstance(k, int | np.integer) and not isinstance(k, bool)


def _one(x: Any, like: Any) -> Any:
    """The one input, with its axis of rows; a text among texts in a list."""
    if isinstance(like, list | tuple) and len(like) and isinstance(like[0], str | bytes | dict):
        x = x if isinstance(x, list | tuple) else [x]
    elif not hasattr(x, "iloc") and np.ndim(_dense(to_numpy(x))) < 2:
        x = np.asarray(to_numpy(x))[None]
    if count(x) != 1:
        raise BadInput(f"one decision is explained at a time; got {count(x)} inputs")
    return x


def _fitted(model: Any) -> None:
    """Refuse an estimator that was not trained: by its custom, training leaves attributes that end in an underscore."""
    if hasattr(model, "get_params") and not any(n.endswith("_") and not n.startswith("__") for n in vars(model)):
        raise BadInput(f"the {type(model).__name__} is not fitted; train it on the rows given first")


def _wide(model: Any, rows: Any, asked: Any) -> None:
    """Refuse rows that are not as wide as those an estimator was trained on."""
    due = getattr(model, "n_features_in_", None)
    for what, each in (("training rows", rows), ("the input", asked)):
        if due is not None and (each.ndim != 2 or each.shape[1] != due):
            raise BadInput(f"{type(model).__name__} was trained on rows of {due} numbers; got {what} of shape {each.shape}")


def _told(method: Callable[..., Responsible], model: Any, rows: Any, y: Any, asked: Any, k: int) -> Responsible:
    try:
        return method(model, rows, y, asked, int(k))
    except CasemateError:
        raise
    except (ValueError, TypeError) as error:  # what an estimator says to rows or labels it cannot read
        raise BadInput(f"{type(model).__name__} cannot be explained on these rows and labels: {error}") from error


def _decided_so(target: Any, x: Any, found: Responsible) -> Responsible:
    """Refuse where a target decides by a threshold of its own, and so decides otherwise than the model that was explained."""
    by = getattr(target, "decision", None)
    if by is None or type(by).__name__ == "Argmax":
        return found
    label = np.asarray(to_numpy(target.respond(x).label))[:1]
    if label.dtype.kind == "f":  # a number, not a class
        return found
    said = target.model.decided(label)[0] if hasattr(target.model, "decided") else int(label[0])
    if said != found.decision:
        raise BadInput(
            f"the target decides {'a reject' if label[0] < 0 else repr(said)} by {by!r}, and its model alone {found.decision!r}: "
            "the rows behind that are not those behind this decision; take `refitted` (`casemate account --refit`)"
        )
    return found


def _is_pipeline(model: Any) -> bool:
    return hasattr(model, "steps") and "Pipeline" in {base.__name__ for base in type(model).__mro__}


def _last_step(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    """The last step explained on what those before it make of the rows; they stay as they are, which no refit would do."""
    before = model[:-1]
    if not len(before):
        return responsible(model[-1], x_train, y, x, k)
    try:
        x_train, x = (_dense(before.transform(each)) for each in (x_train, x))
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"the steps before {type(model[-1]).__name__} cannot read these rows: {error}") from error
    found = responsible(model[-1], x_train, y, x, k)
    return replace(found, how=f"{found.how}; the steps before it stay as they are", exact=False)


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
    if getattr(model, "positive", False):
        raise BadInput("positive=True has no closed form: a row may change which coefficients are held at 0; take `refitted`")
    ridge, intercept = float(ridge), bool(model.fit_intercept)
    effect = ridge_effects(x_train, y, x, ridge, intercept)[0]
    off = ridge_off(x_train, y, model.coef_, model.intercept_, ridge, intercept)
    direct = getattr(model, "solver_", "svd") in ("svd", "cholesky") and np.asarray(model.coef_).dtype == np.float64
    if not off <= (EXACT if direct else ITERATED):
        raise BadInput(
            f"the closed form on these rows and the model are {off:.2g} of the labels' spread apart: other rows or labels, "
            "weights of rows, or a solver that stopped early; give all that it was trained on, or take `refitted`"
        )
    how = "leaving one out of ridge: what the prediction loses without the row, in its own unit"
    return _top(-effect, np.abs(effect), k, float(np.ravel(model.predict(x))[0]), how, exact=direct)


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
        l2=0.0 if penalty is None else 1 / _strength(model), free=bool(model.fit_intercept),
    )[0]  # fmt: skip
    z = np.asarray(model.decision_function(x), float).reshape(-1)
    before, after = (_log_chances(each) for each in (z[None], z[None] + moved))
    decided = int(before[0].argmax())
    effect = before[0, decided] - after[:, decided]
    how = "one Newton step of logistic regression: what the log-chance of the decided class loses without the row"
    return _top(effect, effect, k, classes[decided], how)


def _strength(model: Any) -> float:
    """The C of a fit; of one that chose it, the chosen one."""
    found = set(np.ravel(getattr(model, "C_", getattr(model, "C", np.nan))).tolist())
    mixed = [each for each in np.ravel(np.asarray(getattr(model, "l1_ratio_", 0.0))).tolist() if each]
    if len(found) != 1 or mixed:
        raise BadInput(f"C={sorted(found)}, l1_ratio={mixed}: one C for all classes, and no l1, is understood; take `refitted`")
    return float(found.pop())


def _log_chances(z: Floats) -> Floats:
    full = np.concatenate([np.zeros((len(z), 1)), z], 1) if z.shape[1] == 1 else z
    top = full - full.max(1, keepdims=True)
    return np.asarray(top - np.log(np.exp(top).sum(1, keepdims=True)))


def _neighbours(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    far, rows = (each[0] for each in model.kneighbors(x))
    if getattr(model, "n_samples_fit_", len(y)) != len(y):
        raise BadInput(f"the model holds {model.n_samples_fit_} rows, and {len(y)} were given; give all that it was trained on")
    held = getattr(model, "_y", None)
    if held is not None and np.shape(held) == y.shape:
        held = np.asarray(model.classes_)[held] if hasattr(model, "classes_") else np.asarray(held)
        if (wrong := np.flatnonzero(held != y)).size:
            raise BadInput(
                f"the model holds another label of {wrong.size} rows, row {wrong[0]} the first; give all that it was trained on, "
                "in the same order"
            )
    decided = np.ravel(model.predict(x))[0]
    weight = _votes(model.weights, far)
    effect = np.where(y[rows] == decided, weight, -weight) if hasattr(model, "classes_") else weight
    order = np.argsort(-np.abs(effect), kind="stable")[:k]
    # No refit: without a neighbour the next one would vote.
    return Responsible(rows[order], effect[order], decided, "the neighbours that voted, each with its share of the vote", False)


def _votes(weights: Any, far: Floats) -> Floats:
    """The share of the vote ``(k,)`` of neighbours that far away."""
    if callable(weights):
        found = np.asarray(weights(far[None]), float).reshape(-1)
        if found.shape != far.shape or not np.isfinite(found).all() or not found.sum() > 0:
            raise BadInput(f"the weights of {len(far)} neighbours are {found.tolist()}; one finite number each, above 0 in all")
    elif weights == "distance":
        found = (far == 0).astype(float) if (far == 0).any() else far.min() / far
    else:
        found = np.ones(len(far))
    return np.asarray(found / found.sum())


def _leaves(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    weight = leaf_weights(model, x_train, y, x)
    decided = np.ravel(model.predict(x))[0]
    effect = np.where(y == decided, weight, -weight) if hasattr(model, "classes_") else weight
    return _top(effect, weight, k, decided, "the rows in the leaves that answered, each with its share of the answer")


def _network(model: Any, x_train: Any, y: NDArray[Any], x: Any, k: int) -> Responsible:
    if reason := why_not(model):
        raise BadInput(f"a network is traced by products of its dense layers: {reason}")
    decided = int(answers(model, x)[0].argmax())
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
