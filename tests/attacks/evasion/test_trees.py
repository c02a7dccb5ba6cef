"""Attacks on trees against brute force: every cell of every column, asked of the library's own predict."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.evasion.leaf_tuple import LeafTuple
from casemate.attacks.evasion.tree_bound import certify
from casemate.attacks.evasion.tree_milp import TreeMILP, solve
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_rows

pytest.importorskip("sklearn")

from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

NORMS = ("linf", "l2", "l1", "l0")
every_norm = pytest.mark.parametrize("norm", NORMS)


def data(classes: int = 2, width: int = 3, n: int = 150) -> tuple[Any, Any]:
    x = np.random.default_rng(5).random((n, width))
    value = x[:, 0] + np.sin(6 * x[:, 1]) * 0.4 + x[:, 2] ** 2
    return x, value if not classes else np.digitize(value, np.quantile(value, np.linspace(0, 1, classes + 1)[1:-1]))


MODELS = {
    "tree": DecisionTreeClassifier(max_depth=5, random_state=0),
    "forest": RandomForestClassifier(7, max_depth=4, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=8, max_depth=2, random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=7, max_leaf_nodes=4, min_samples_leaf=5),
    "scaled": make_pipeline(StandardScaler(), RandomForestClassifier(5, max_depth=4, random_state=1)),
}


def fitted(name: str, classes: int = 2) -> Any:
    from sklearn.base import clone

    x, y = data(classes)
    return clone(MODELS[name]).fit(x, y)


def thresholds(model: Any) -> list[Any]:
    """Cuts of each column, from the library's own arrays: nothing of casemate is in them."""
    last, scaler = (model[-1], model[0]) if hasattr(model, "steps") else (model, None)
    found: list[set[float]] = [set(), set(), set()]
    if hasattr(last, "_predictors"):
        for node in (node for stage in last._predictors for part in stage for node in part.nodes):
            if not node["is_leaf"]:
                found[node["feature_idx"]].add(float(node["num_threshold"]))
    else:
        for tree in np.ravel(getattr(last, "estimators_", [last])):
            for feature, cut in zip(tree.tree_.feature, tree.tree_.threshold, strict=True):
                if feature >= 0:
                    found[feature].add(float(cut))
    if scaler is None:
        return [np.array(sorted(part)) for part in found]
    return [np.array(sorted(part)) * s + m for part, s, m in zip(found, scaler.scale_, scaler.mean_, strict=True)]


def brute(model: Any, x: Any, y: Any, ball: cm.Ball, goal: Any = None, decide: Any = None) -> float:
    """The smallest change that meets the goal, by asking about a point of every cell. Right up to 1e-6."""
    goal, decide = goal or cm.Wrong(), decide or model.predict
    axes = [np.concatenate([[x[j]], cut - 2e-7, cut + 2e-7]) for j, cut in enumerate(thresholds(model))]
    axes = [axis[(axis >= ball.low) & (axis <= ball.high)] for axis in axes]
    points = np.array(list(itertools.product(*axes)))
    met = goal.met(decide(points), np.full(len(points), y))
    return float(ball.measure(points, np.tile(x, (len(points), 1)))[met].min(initial=np.inf))


def drive(attack: Any, model: Any, case: cm.Evade, seed: int = 0) -> tuple[Any, Any]:
    """Claims and their distances; infinite for a row that failed."""
    oracle = Oracle(Endpoint(cm.wrap(model)), cm.researcher(), Meter(case.row))
    trace = drive_rows(attack, oracle, case, cm.RowRandom(seed))
    assert case.within.check(trace.x, case.x)[trace.believed].all()
    met = case.goal.met(cm.wrap(model).respond(np.asarray(trace.x)).label, case.y)
    assert (met[trace.believed]).all()
    return np.asarray(trace.x), np.where(trace.believed, case.within.measure(np.asarray(trace.x), case.x), np.inf)


def case_of(model: Any, norm: Any, n: int = 6, goal: Any = None, radius: float = np.inf, y: Any = None) -> cm.Evade:
    x = np.random.default_rng(8).random((n, 3))
    y = model.predict(x) if y is None else y
    return cm.Evade(x, y, cm.Ball(norm, radius), goal=goal or cm.Wrong(), seek="nearest")


@every_norm
def test_a_single_tree_equals_brute_force_over_its_leaves(norm: Any) -> None:
    """Section G, row 16: the first leaf that is found is not the nearest one."""
    model = fitted("tree", classes=3)
    case = case_of(model, norm, n=20)
    want = [brute(model, x, y, case.within) for x, y in zip(case.x, case.y, strict=True)]
    for attack in (LeafTuple(), TreeMILP()):
        np.testing.assert_allclose(drive(attack, model, case)[1], want, atol=1e-6)
    np.testing.assert_allclose(certify(cm.wrap(model).structure(), case.x, case.y, norm=norm), want, atol=1e-6)  # type: ignore[attr-defined]


@every_norm
@pytest.mark.parametrize("name", ["forest", "boosted", "histogram", "scaled"])
def test_small_ensembles_equal_brute_force_in_every_norm(name: str, norm: Any) -> None:
    model = fitted(name)
    case = case_of(model, norm, n=5)
    want = np.array([brute(model, x, y, case.within) for x, y in zip(case.x, case.y, strict=True)])
    exact, fast = drive(TreeMILP(), model, case)[1], drive(LeafTuple(), model, case)[1]
    bound = certify(cm.wrap(model).structure(), case.x, case.y, norm=norm)  # type: ignore[attr-defined]
    np.testing.assert_allclose(exact, want, atol=1e-6)
    assert (fast >= exact - 1e-12).all()
    assert (fast / exact).mean() <= 1.05
    assert (bound <= exact + 1e-12).all()
    assert (bound >= 0.5 * exact).all()


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_the_program_alone_equals_brute_force_too(norm: Any) -> None:
    """Without the merging that settles most rows first, and with no known change to begin with."""
    from casemate.attacks.evasion._aims import aims_of
    from casemate.attacks.evasion._boxes import cells_of, view
    from casemate.attacks.evasion._milp import smallest

    model = fitted("forest", classes=3)
    ensemble = cm.wrap(model).structure()  # type: ignore[attr-defined]
    case = case_of(model, norm, n=2)
    for x, y in zip(case.x, case.y, strict=True):
        here = view(cells_of(ensemble), x, case.within)
        found = smallest(here, aims_of(cm.Wrong(), y, ensemble), np.inf, 20.0)
        assert found.optimal
        assert found.size == pytest.approx(brute(model, x, y, case.within), abs=1e-6)
        assert found.bound <= found.size


@pytest.mark.parametrize("goal", [cm.Becomes(0), cm.Becomes(2), cm.Routed((1, 2)), cm.Vanish(1)], ids=repr)
def test_goals_about_one_class_equal_brute_force(goal: Any) -> None:
    model = fitted("forest", classes=3)
    case = case_of(model, "linf", n=3, goal=goal)
    want = [brute(model, x, y, case.within, goal) for x, y in zip(case.x, case.y, strict=True)]
    np.testing.assert_allclose(drive(TreeMILP(), model, case)[1], want, atol=1e-6)
    assert (drive(LeafTuple(), model, case)[1] >= np.array(want) - 1e-6).all()


@pytest.mark.parametrize("delta", [0.4, -0.4])
@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_regression_is_shifted_by_the_smallest_change(norm: Any, delta: float) -> None:
    x, y = data(0)
    boosted = GradientBoostingRegressor(n_estimators=6, max_depth=2, random_state=0).fit(x, y)
    for model in (RandomForestRegressor(5, max_depth=3, random_state=0).fit(x, y), boosted):
        case = case_of(model, norm, n=3, goal=cm.Shift(delta))
        want = [brute(model, x, y, case.within, case.goal) for x, y in zip(case.x, case.y, strict=True)]
        exact = drive(TreeMILP(), model, case)[1]
        np.testing.assert_allclose(exact, want, atol=1e-6)
        near = drive(LeafTuple(), model, case)[1]
        assert (near >= exact - 1e-9).all() and np.isfinite(near).sum() == np.isfinite(exact).sum()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("classes", [2, 3])
def test_other_libraries_ensembles_equal_brute_force(library: str, classes: int) -> None:
    module = pytest.importorskip(library)
    x, y = data(classes)
    if library == "xgboost":
        model = module.XGBClassifier(n_estimators=6, max_depth=3, n_jobs=1).fit(x, y)
    else:
        model = module.LGBMClassifier(n_estimators=6, num_leaves=5, min_child_samples=5, verbose=-1, n_jobs=1).fit(x, y)
    ensemble = cm.wrap(model).structure()  # type: ignore[attr-defined]
    case = case_of(model, "linf")
    cuts = [np.unique(ensemble.cut[ensemble.feature == j]) for j in range(3)]
    for i, exact in enumerate(drive(TreeMILP(), model, case)[1]):
        axes = [np.concatenate([[case.x[i, j]], cut, np.nextafter(cut, 9)]) for j, cut in enumerate(cuts)]
        points = np.array(list(itertools.product(*axes)))
        points = points[((points >= 0) & (points <= 1)).all(1)]
        wrong = model.predict(points) != case.y[i]
        assert exact == pytest.approx(np.abs(points[wrong] - case.x[i]).max(1).min(), rel=1e-9)


@pytest.mark.parametrize("name", ["forest", "scaled", "histogram"])
def test_inputs_in_float32_are_claimed_in_float32(name: str) -> None:
    model = fitted(name)
    case = case_of(model, "linf")
    single = cm.Evade(case.x.astype(np.float32), case.y, case.within, seek="nearest")
    x, found = drive(LeafTuple(), model, single)
    assert x.dtype == np.float32
    np.testing.assert_allclose(found, drive(LeafTuple(), model, case)[1], atol=1e-6)


def test_a_domain_that_holds_no_other_decision_is_proven_to() -> None:
    model = fitted("forest")
    ensemble = cm.wrap(model).structure()  # type: ignore[attr-defined]
    x = np.random.default_rng(0).random(3)
    own = int(ensemble.decide(x[None])[0])
    near = solve(ensemble, x, own, cm.Ball("linf", np.inf)).distance
    told = solve(ensemble, x, own, cm.Ball("linf", near * 0.999))
    assert told.x is None and told.optimal and told.bound == pytest.approx(near * 0.999)
    assert certify(ensemble, x[None], [own], near * 0.999)[0] == near * 0.999
    assert certify(ensemble, x[None], [own], near * 1.5)[0] <= near
    far = certify(ensemble, x[None], [own], low=x.min() - 1e-9, high=x.min() + 1e-9)
    assert far[0] == np.inf or far[0] > 0


def test_a_row_costs_one_query_and_none_where_nothing_was_found() -> None:
    model = fitted("forest")
    for radius, asked in ((1.0, 6), (1e-9, 0)):
        case = case_of(model, "linf", radius=radius)
        meter = Meter(case.row)
        adversary = cm.Adversary(name="insider", may=cm.Need.STRUCTURE | cm.Need.LABEL)
        drive_rows(LeafTuple(), Oracle(Endpoint(cm.wrap(model)), adversary, meter), case, cm.RowRandom(0))
        assert meter.total["queries"] == asked


def test_an_ensemble_whose_cuts_are_shared_is_walked_to_the_end() -> None:
    """Trees with the same cuts hold a value together: a walk that changes one tree at a time ends at once."""
    x, y = data(2)
    x = np.round(x, 1)  # ten values a column
    model = GradientBoostingClassifier(n_estimators=30, max_depth=2, random_state=0).fit(x, y)
    case = case_of(model, "linf", n=8)
    want = np.array([brute(model, x, y, case.within) for x, y in zip(case.x, case.y, strict=True)])
    found = drive(LeafTuple(), model, case)[1]
    assert (found / want).mean() <= 1.01


def test_what_trees_cannot_do_is_refused_by_name() -> None:
    x, y = data(0)
    number = RandomForestRegressor(3, max_depth=2).fit(x, y)
    with pytest.raises(BadInput, match="Shift"):
        drive(LeafTuple(), number, case_of(number, "linf", y=np.zeros(6)))
    model = fitted("forest")
    with pytest.raises(BadInput, match="class 7"):
        drive(LeafTuple(), model, case_of(model, "linf", goal=cm.Becomes(7)))
    with pytest.raises(BadInput, match="seconds"):
        drive(TreeMILP(seconds=0), model, case_of(model, "linf"))
    with pytest.raises(BadInput, match="one truth for each"):
        certify(cm.wrap(model).structure(), np.zeros((2, 3)), [0])  # type: ignore[attr-defined]
    wide = cm.Evade(np.zeros((2, 3, 1)), [0, 0], cm.Ball("linf", 1.0))
    with pytest.raises(BadInput, match="rows of float32 or float64"):
        drive(LeafTuple(), model, wide)
