"""Reading the trees out of a fitted model: scikit-learn, XGBoost, LightGBM. Nothing is loaded, nothing is unpickled.

The model is in memory already. Each library is asked in the way it tells its thresholds to the last bit: scikit-learn by its
arrays, XGBoost by its own JSON (float32, written so that it reads back the same), LightGBM by its dump (17 digits).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import NotGranted
from ..core.trees import Ensemble, Floats, largest_left, pulled_back
from ._sklearn import final

_SCALERS = {"StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"}  # each column by itself, never falling
_SINGLE_TREES = {"DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"}
_FORESTS = {"RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"}
_BOOSTED = {"GradientBoostingClassifier", "GradientBoostingRegressor"}
_HISTOGRAM = {"HistGradientBoostingClassifier", "HistGradientBoostingRegressor"}
_XGBOOST = {"XGBClassifier", "XGBRegressor"}
_LIGHTGBM = {"LGBMClassifier", "LGBMRegressor"}
_OWN = {"sklearn": _SINGLE_TREES | _FORESTS | _BOOSTED | _HISTOGRAM, "xgboost": _XGBOOST, "lightgbm": _LIGHTGBM}


def readable(estimator: Any) -> bool:
    """Whether it is an ensemble of trees of a known library, behind scalers at most. Looks at types only."""
    last = final(estimator)
    # By the class itself: a subclass may decide otherwise.
    if type(last).__name__ not in _OWN.get(type(last).__module__.split(".")[0], ()):
        return False
    return all(_is_scaler(step) for step in _before(estimator))


def read(estimator: Any, name: str, order: Sequence[int] | None = None) -> Ensemble:
    """The trees of a fitted estimator as a value.

    Args:
        order: The order of classes the target shows, where it is not the estimator's own.

    Raises:
        NotGranted: It splits or adds up in a way that cannot be told here; the message says which.
    """
    last = final(estimator)
    kind = type(last).__name__
    readers: list[tuple[set[str], Callable[[Any, str], Ensemble]]] = [
        (_SINGLE_TREES, _tree), (_FORESTS, _forest), (_BOOSTED, _boosted), (_HISTOGRAM, _histogram), (_XGBOOST, _xgboost),
        (_LIGHTGBM, _lightgbm),
    ]  # fmt: skip
    found = next((reader(last, name) for kinds, reader in readers if kind in kinds), None)
    if found is None or not readable(estimator):
        raise _refusal(name, f"a {kind} is no ensemble of trees that can be read here")
    scalers = [step for step in _before(estimator) if step not in (None, "passthrough")]
    if scalers:
        found = _behind(found, scalers)
    return found if order is None else found.reordered(order)


def _refusal(name: str, why: str) -> NotGranted:
    return NotGranted(f"{name} shows no structure: {why}; attack it by its scores or labels")


# in front of the trees ----------------------------------------------------------------------------------------------


def _before(estimator: Any) -> list[Any]:
    """The steps of pipelines before what decides, in order."""
    if hasattr(estimator, "best_estimator_"):
        return _before(estimator.best_estimator_)
    if not hasattr(estimator, "steps"):
        return []
    *first, last = [step for _, step in estimator.steps]
    return first + _before(last)


def _is_scaler(step: Any) -> bool:
    if step is None or step == "passthrough":
        return True
    return type(step).__name__ in _SCALERS and type(step).__module__.startswith("sklearn.")


def _behind(ensemble: Ensemble, scalers: list[Any]) -> Ensemble:
    """The same trees, as they cut what goes into the scalers."""

    def forward(x: Floats) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of column names: they are set where the system is asked
            for scaler in scalers:
                x = np.asarray(scaler.transform(x), np.float64)
        return x

    inner = np.flatnonzero(ensemble.feature >= 0)
    cut = ensemble.cut.copy()
    cut[inner] = pulled_back(cut[inner], ensemble.feature[inner], ensemble.width, forward)
    return replace(ensemble, cut=cut)


# scikit-learn -------------------------------------------------------------------------------------------------------


def _joined(trees: list[dict[str, NDArray[Any]]], **rest: Any) -> Ensemble:
    """Trees one after the other; what they say of children counts from their own first node."""
    root = np.cumsum([0] + [len(tree["feature"]) for tree in trees])
    shifted = [
        {**tree, "left": tree["left"] + start, "right": tree["right"] + start}
        for tree, start in zip(trees, root[:-1], strict=True)
    ]
    whole: dict[str, Any] = {part: np.concatenate([tree[part] for tree in shifted]) for part in trees[0]}
    return Ensemble(root=root[:-1], **whole, **rest)


def _nodes(feature: Any, cut: Any, left: Any, right: Any, missing_left: Any, value: Any) -> dict[str, NDArray[Any]]:
    feature = np.asarray(feature, np.int64)
    return {
        "feature": feature, "cut": np.where(feature >= 0, np.asarray(cut, np.float64), np.inf),
        "left": np.asarray(left, np.int64), "right": np.asarray(right, np.int64),
        "missing_left": np.asarray(missing_left, bool), "value": np.asarray(value, np.float64),
    }  # fmt: skip


def _sklearn_nodes(tree: Any, value: Any) -> dict[str, NDArray[Any]]:
    leaf = tree.children_left < 0
    return _nodes(
        np.where(leaf, -1, tree.feature), largest_left(tree.threshold, single=True), tree.children_left, tree.children_right,
        tree.missing_go_to_left, value,
    )  # fmt: skip


def _tree(model: Any, name: str) -> Ensemble:
    return _mean([model], model, name)


def _forest(model: Any, name: str) -> Ensemble:
    return _mean(list(model.estimators_), model, name)


def _mean(trees: list[Any], model: Any, name: str) -> Ensemble:
    if model.n_outputs_ != 1:
        raise _refusal(name, f"it decides {model.n_outputs_} things at once")
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    parts = [_sklearn_nodes(tree.tree_, tree.tree_.value[:, 0, :]) for tree in trees]
    return _joined(
        parts, width=int(model.n_features_in_), base=np.zeros(classes or 1), divisor=float(len(trees)), classes=classes
    )


def _boosted(model: Any, name: str) -> Ensemble:
    width, outputs = int(model.n_features_in_), model.estimators_.shape[1]
    if not isinstance(model.init_, str) and not type(model.init_).__name__.startswith("Dummy"):
        raise _refusal(name, f"it begins with the answer of a {type(model.init_).__name__}")
    base = np.asarray(model._raw_predict_init(np.zeros((1, width), np.float32)), np.float64).reshape(-1)
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    parts = [
        _sklearn_nodes(tree.tree_, _at(model.learning_rate * tree.tree_.value[:, 0, 0], i, outputs, classes))
        for stage in model.estimators_ for i, tree in enumerate(stage)
    ]  # fmt: skip
    return _joined(parts, width=width, base=_outputs(base, classes), classes=classes, ties_up=classes == 2)


def _histogram(model: Any, name: str) -> Ensemble:
    if getattr(model, "_preprocessor", None) is not None:
        raise _refusal(name, "it has categories of its own, and splits of sets are not supported")
    classes = len(model.classes_) if hasattr(model, "classes_") else 0
    outputs, parts = len(model._predictors[0]), []
    for stage in model._predictors:
        for i, predictor in enumerate(stage):
            node = predictor.nodes
            if node["is_categorical"].any():
                raise _refusal(name, "it splits by categories, and splits of sets are not supported")
            feature = np.where(node["is_leaf"] > 0, -1, node["feature_idx"])
            value = _at(node["value"], i, outputs, classes)
            parts.append(_nodes(feature, node["num_threshold"], node["left"], node["right"], node["missing_go_to_left"], value))
    base = _outputs(np.asarray(model._baseline_prediction, np.float64).reshape(-1), classes)
    log = not classes and model.loss in ("poisson", "gamma")
    return _joined(parts, width=int(model.n_features_in_), base=base, classes=classes, link="exp" if log else "identity")


def _at(value: Any, output: int, outputs: int, classes: int) -> Floats:
    """Leaf values ``(m,)`` of a tree that speaks of one output, as ``(m, k)``. One number for two classes speaks of class 1,
    and class 0 stands at zero."""
    found = np.zeros((len(value), classes or 1))
    found[:, 1 if outputs == 1 and classes == 2 else output] = value
    return found


def _outputs(base: Floats, classes: int) -> Floats:
    return np.array([0.0, base[0]]) if classes == 2 and len(base) == 1 else base


# XGBoost ------------------------------------------------------------------------------------------------------------

_LOG_LINK = {"count:poisson", "reg:gamma", "reg:tweedie"}
_IDENTITY = {"reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"}


def _xgboost(model: Any, name: str) -> Ensemble:
    if not np.isnan(model.missing):
        raise _refusal(name, f"it takes {model.missing!r} for a missing value, which is not supported")
    learner = json.loads(bytes(model.get_booster().save_raw("json")))["learner"]
    booster, objective = learner["gradient_booster"], learner["objective"]["name"]
    if booster["name"] != "gbtree":
        raise _refusal(name, f"booster={booster['name']!r}; only 'gbtree' is supported")
    classes = int(model.n_classes_) if hasattr(model, "n_classes_") else 0
    known = {"binary:logistic", "multi:softprob", "multi:softmax"} if classes else _IDENTITY | _LOG_LINK
    if objective not in known:
        raise _refusal(name, f"objective {objective!r} is not known; known: {', '.join(sorted(known))}")
    trees, info = booster["model"]["trees"], booster["model"]["tree_info"]
    rounds = booster["model"]["iteration_indptr"]
    last = rounds[_kept(model)] if _kept(model) else len(trees)
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    parts = [_xgboost_nodes(tree, name, i, outputs, classes) for tree, i in zip(trees[:last], info[:last], strict=True)]
    base = _xgboost_base(learner["learner_model_param"]["base_score"], objective, outputs)
    return _joined(
        parts, width=int(learner["learner_model_param"]["num_feature"]), base=_outputs(base, classes), classes=classes,
        single=True, link="exp" if objective in _LOG_LINK else "identity",
    )  # fmt: skip


def _kept(model: Any) -> int | None:
    """Rounds that are asked after early stopping; None for all."""
    try:
        return int(model.best_iteration) + 1
    except AttributeError:
        return None


def _xgboost_nodes(tree: dict[str, Any], name: str, output: int, outputs: int, classes: int) -> dict[str, NDArray[Any]]:
    if any(tree["split_type"]):
        raise _refusal(name, "it splits by categories, and splits of sets are not supported")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise _refusal(name, "its leaves hold several numbers, which is not supported")
    left = np.asarray(tree["left_children"])
    number = np.asarray(tree["split_conditions"], np.float64).astype(np.float32).astype(np.float64)
    leaf = left < 0
    # In pruned trees a child can stand before its parent; walking down gives an order in which none does.
    order = _downwards(left, np.asarray(tree["right_children"]))
    place = np.full(len(left), -1)
    place[order] = np.arange(len(order))
    return _nodes(
        np.where(leaf, -1, tree["split_indices"])[order], largest_left(number, strict=True, single=True)[order],
        place[left][order], place[np.asarray(tree["right_children"])][order], np.asarray(tree["default_left"])[order],
        _at(np.where(leaf, number, 0.0)[order], output, outputs, classes),
    )  # fmt: skip


def _downwards(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.int64]:
    """Nodes that can be reached from the first, each after its parent."""
    level, found = np.zeros(1, np.int64), []
    while len(level):
        found.append(level)
        inner = level[left[level] >= 0]
        level = np.concatenate([left[inner], right[inner]])
    return np.concatenate(found)


def _xgboost_base(text: str, objective: str, outputs: int) -> Floats:
    """Where the sums begin. Kept on the scale of the answer, so it goes back through the link, in float32."""
    given = np.asarray(json.loads(text), np.float64).reshape(-1).astype(np.float32)
    if objective == "binary:logistic":
        given = -np.log(np.float32(1) / given - np.float32(1))
    elif objective in _LOG_LINK:
        given = np.log(given)
    return np.asarray(np.broadcast_to(given, (outputs,)), np.float64)


# LightGBM -----------------------------------------------------------------------------------------------------------

_LIGHTGBM_LINKS = {"poisson": "exp", "gamma": "exp", "tweedie": "exp"}
_LIGHTGBM_PLAIN = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}


def _lightgbm(model: Any, name: str) -> Ensemble:
    told = model.booster_.dump_model()  # of the best iteration, after early stopping, as predict asks
    objective = str(told.get("objective", "custom")).split()
    classes = int(model.n_classes_) if hasattr(model, "classes_") else 0
    known = {"binary", "multiclass", "multiclassova"} if classes else _LIGHTGBM_PLAIN | set(_LIGHTGBM_LINKS)
    if objective[0] not in known or "sqrt" in objective:
        raise _refusal(name, f"objective {' '.join(objective)!r} is not known; known: {', '.join(sorted(known))}")
    outputs = int(told["num_tree_per_iteration"])
    parts = [_lightgbm_nodes(tree, name, i % outputs, outputs, classes) for i, tree in enumerate(told["tree_info"])]
    rounds = len(parts) // outputs
    return _joined(
        parts, width=int(told["max_feature_idx"]) + 1, base=np.zeros(classes or 1), classes=classes,
        divisor=float(rounds) if told["average_output"] else 1.0,
        link="exp" if objective[0] in _LIGHTGBM_LINKS else "identity",
    )  # fmt: skip


def _lightgbm_nodes(tree: dict[str, Any], name: str, output: int, outputs: int, classes: int) -> dict[str, NDArray[Any]]:
    rows: list[tuple[Any, ...]] = []
    waiting: list[tuple[dict[str, Any], int, int]] = [(tree["tree_structure"], -1, 0)]
    children: dict[tuple[int, int], int] = {}
    while waiting:
        node, parent, side = waiting.pop()
        children[parent, side] = len(rows)
        if "leaf_value" in node:
            if "leaf_coeff" in node:
                raise _refusal(name, "its leaves are linear models, which is not supported")
            rows.append((-1, np.inf, False, node["leaf_value"]))
            continue
        if node["decision_type"] != "<=":
            raise _refusal(name, "it splits by categories, and splits of sets are not supported")
        if node["missing_type"] == "Zero":
            raise _refusal(name, "it takes zero for a missing value, which is not supported")
        # Where nothing was missing in training, NaN is taken for zero.
        gone = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
        waiting += [(node["right_child"], len(rows), 1), (node["left_child"], len(rows), 0)]
        rows.append((node["split_feature"], node["threshold"], gone, 0.0))
    feature, cut, gone, value = (np.array(column) for column in zip(*rows, strict=True))
    left = [children.get((i, 0), -1) for i in range(len(rows))]
    right = [children.get((i, 1), -1) for i in range(len(rows))]
    return _nodes(feature, _beside_zero(cut), left, right, gone, _at(value, output, outputs, classes))


_TINY = float(np.float32(1e-35))


def _beside_zero(cut: Floats) -> Floats:
    """Cuts of a library that takes every number no larger than `_TINY` for zero."""
    found = np.where((cut >= 0) & (cut < _TINY), _TINY, cut)
    return np.asarray(np.where((cut < 0) & (cut >= -_TINY), np.nextafter(-_TINY, -np.inf), found))
