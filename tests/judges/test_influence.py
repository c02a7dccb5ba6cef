"""Influence against brute force: refits, materialised gradients, every subset."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from torch import nn

from casemate.core.errors import BadInput
from casemate.core.target import Recipe
from casemate.judges.influence.gradients import tracin
from casemate.judges.influence.linear import logistic_effects, ridge_effects
from casemate.judges.influence.responsible import refitted, responsible
from casemate.judges.influence.shapley import exact_shapley, left_out_values, sampled_shapley
from casemate.targets.wrap import wrap

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = X @ [1.0, -2.0, 0.5, 0.0] + RNG.normal(size=60)
C = (Y > 0).astype(int)
ASKED = RNG.normal(size=(3, 4))


@pytest.mark.parametrize("ridge", [0.0, 3.0])
@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_without_a_row_is_the_refit(ridge, intercept):
    effects = ridge_effects(X, Y, ASKED, ridge, intercept)
    whole = Ridge(alpha=ridge, fit_intercept=intercept).fit(X, Y).predict(ASKED)
    for i in range(len(X)):
        again = Ridge(alpha=ridge, fit_intercept=intercept).fit(np.delete(X, i, 0), np.delete(Y, i)).predict(ASKED)
        assert np.abs(effects[:, i] - (again - whole)).max() < 1e-9


def logistic(x, y):
    return LogisticRegression(C=0.5, tol=1e-10, max_iter=2000).fit(x, y)


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_without_a_row_is_nearly_the_refit(classes):
    y = C if classes == 2 else np.digitize(Y, (-1.0, 1.0))
    model = logistic(X, y)
    moved = logistic_effects(X, y, ASKED, coefficients=model.coef_, intercept=model.intercept_, l2=2.0)
    due = np.zeros_like(moved)
    for i in range(len(X)):
        again = logistic(np.delete(X, i, 0), np.delete(y, i))
        due[:, i] = (again.decision_function(ASKED) - model.decision_function(ASKED)).reshape(3, -1)
    if classes > 2:  # a number added to all logits is nothing
        moved, due = (each - each.mean(2, keepdims=True) for each in (moved, due))
    worst = np.abs(moved - due).max()
    assert worst < 0.1 * np.abs(due).max()
    if classes == 2:  # the influence function, which leaves the leverage out, is further off
        rows, chance = np.column_stack([X, np.ones(60)]), model.predict_proba(X)[:, 1]
        curved = (rows * (chance * (1 - chance))[:, None]).T @ rows + np.diag([2.0, 2.0, 2.0, 2.0, 0.0])
        first = np.column_stack([ASKED, np.ones(3)]) @ np.linalg.solve(curved, rows.T) * (chance - C)
        assert worst < 0.7 * np.abs(first - due[:, :, 0]).max()


def test_a_logistic_model_of_other_rows_is_refused():
    model = logistic(X, C)
    with pytest.raises(BadInput, match="not the optimum on these rows"):
        logistic_effects(X[:30], C[:30], ASKED, coefficients=model.coef_, intercept=model.intercept_, l2=2.0)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6, bias=False), nn.Tanh(), nn.Linear(6, 3)).double()


def materialised(net, x, y):
    rows = []
    for one, label in zip(torch.as_tensor(x), torch.as_tensor(y), strict=True):
        loss = nn.functional.cross_entropy(net(one[None]), label[None])
        rows.append(torch.cat([g.ravel() for g in torch.autograd.grad(loss, list(net.parameters()))]).numpy())
    return np.stack(rows)


def test_tracin_by_products_is_tracin_by_gradients():
    states, y, asked = [network(0), network(1)], RNG.integers(0, 3, 60), np.array([0, 1, 2])
    due = sum(
        rate * materialised(net, ASKED, asked) @ materialised(net, X, y).T for net, rate in zip(states, (0.1, 0.03), strict=True)
    )
    assert np.abs(tracin(states, X, y, ASKED, asked, rates=(0.1, 0.03)) - due).max() < 1e-12


def test_tracin_says_what_it_cannot_trace():
    odd = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    with pytest.raises(BadInput, match="BatchNorm1d"):
        tracin(odd, X, C, ASKED, C[:3])
    with pytest.raises(BadInput, match="one rate for each"):
        tracin(network(), X, C, ASKED, C[:3], rates=(0.1, 0.1))
    twice = nn.Linear(4, 4)
    with pytest.raises(BadInput, match="used once"):
        tracin(nn.Sequential(twice, twice), X, C, ASKED, C[:3])


def majority(rows):
    """The game of three: two of them win together; row 0 counts twice."""
    return float(sum((2, 1, 1, 0)[i] for i in rows) >= 3)


def test_values_over_every_subset_by_hand():
    found = exact_shapley(majority, 4)
    assert found.value == pytest.approx([2 / 3, 1 / 6, 1 / 6, 0.0])
    assert found.asked == 16 and found.value.sum() == pytest.approx(1.0)


def test_sampled_values_hold_the_exact_ones_in_their_interval():
    def worth(rows):
        return 0.0 if len(rows) < 3 else -float(np.linalg.norm(np.mean(Y[rows]) - np.mean(Y)))

    due, seen = exact_shapley(worth, 8).value, sampled_shapley(worth, 8, orders=300, level=0.999, seed=4)
    assert ((seen.low <= due) & (due <= seen.high)).all()
    assert seen.value.sum() == pytest.approx(worth(np.arange(8)) - worth(np.arange(0)))
    assert seen.asked == 1 + 300 * 8


def test_twins_are_worth_nothing_left_out_and_share_their_value():
    def worth(rows):
        return float(bool({0, 1} & set(rows.tolist())))

    assert left_out_values(worth, 3).value.tolist() == [0, 0, 0]
    assert exact_shapley(worth, 3).value == pytest.approx([0.5, 0.5, 0.0])


def test_values_that_cannot_be_had_are_refused():
    with pytest.raises(BadInput, match="sampled_shapley"):
        exact_shapley(majority, 40)
    with pytest.raises(BadInput, match="at least 2 orders"):
        sampled_shapley(majority, 4, orders=1)
    with pytest.raises(BadInput, match="the empty one too"):
        exact_shapley(lambda rows: 1.0 if len(rows) else float("nan"), 3)


@pytest.mark.parametrize("model", [Ridge(alpha=1.0), LinearRegression(), make_pipeline(StandardScaler(), Ridge())], ids=str)
def test_the_rows_behind_a_prediction_are_those_a_refit_misses_most(model):
    x, whole = ASKED[:1], model.fit(X, Y).predict(ASKED[:1])[0]
    found = responsible(model, X, Y, x, 3)
    if hasattr(model, "steps"):  # the scaler stays as it was fitted
        scaled = model[:-1].transform(X), model[:-1].transform(x)
        lost = [whole - Ridge().fit(np.delete(scaled[0], i, 0), np.delete(Y, i)).predict(scaled[1])[0] for i in range(60)]
    else:
        lost = [
            whole - type(model)(**model.get_params()).fit(np.delete(X, i, 0), np.delete(Y, i)).predict(x)[0] for i in range(60)
        ]
    order = np.argsort(-np.abs(lost))[:3]
    assert found.rows.tolist() == order.tolist() and found.exact
    assert found.effect == pytest.approx(np.array(lost)[order], abs=1e-9)


def test_the_rows_behind_a_class_speak_for_it():
    model = logistic(X, C)
    found = responsible(model, X, C, ASKED[0], 4)
    assert found.decision == model.predict(ASKED[:1])[0] and not found.exact
    chance = model.predict_log_proba(ASKED[:1])[0, found.decision]
    for row, effect in zip(found.rows, found.effect, strict=True):
        again = logistic(np.delete(X, row, 0), np.delete(C, row)).predict_log_proba(ASKED[:1])[0, found.decision]
        assert chance - again == pytest.approx(effect, rel=0.1) and effect > 0


def test_neighbours_and_networks_name_their_rows():
    near = responsible(KNeighborsClassifier(3).fit(X, C), X, C, X[7], 3)
    assert near.rows[0] == 7 and np.abs(near.effect).sum() == pytest.approx(1)
    net, y = network(), RNG.integers(0, 3, 60)
    traced = responsible(net, X, y, ASKED[0], 60)
    due = materialised(net, ASKED[:1], np.array([traced.decision])) @ materialised(net, X, y).T
    assert traced.rows.tolist() == np.argsort(-due[0], kind="stable").tolist()
    assert net.training  # as it was


def test_what_cannot_be_explained_is_said():
    boosted = GradientBoostingClassifier(n_estimators=3).fit(X, C)
    for words, call in {
        "no method here": lambda: responsible(boosted, X, C, ASKED[0]),
        "k=0": lambda: responsible(Ridge().fit(X, Y), X, Y, ASKED[0], 0),
        "one decision": lambda: responsible(Ridge().fit(X, Y), X, Y, ASKED),
        "one for each": lambda: responsible(Ridge().fit(X, Y), X, Y[:5], ASKED[0]),
        "NaN": lambda: ridge_effects(X * np.nan, Y, ASKED),
        "not unique": lambda: ridge_effects(np.column_stack([X, X[:, 0]]), Y, np.column_stack([ASKED, ASKED[:, 0]])),
        "alone decides": lambda: ridge_effects(np.eye(4), np.ones(4), np.eye(4), intercept=False),
        "only l2": lambda: responsible(LogisticRegression(class_weight="balanced").fit(X, C), X, C, ASKED[0]),
    }.items():
        with pytest.raises(BadInput, match=words):
            call()


@pytest.mark.parametrize("bootstrap", [True, False])
@pytest.mark.parametrize("kind", [RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier])
def test_the_rows_in_the_leaves_make_the_answer(kind, bootstrap):
    """The weights add up to what the model says; the labels of the rows do too."""
    y = Y if kind is RandomForestRegressor else C
    model = kind(7, max_depth=3, bootstrap=bootstrap, random_state=0).fit(X, y)
    for x in ASKED:
        found = responsible(model, X, y, x, 60)
        if kind is RandomForestRegressor:
            assert found.effect @ y[found.rows] == pytest.approx(model.predict(x[None])[0]) and found.effect.min() >= 0
        else:
            share = model.predict_proba(x[None])[0]
            assert found.effect[found.effect > 0].sum() == pytest.approx(share[found.decision])
            assert -found.effect[found.effect < 0].sum() == pytest.approx(1 - share[found.decision])
            assert (C[found.rows[found.effect > 0]] == found.decision).all()


def test_a_forest_of_other_rows_is_told():
    model = RandomForestClassifier(5, random_state=0).fit(X, C)
    for rows, labels in ((X, 1 - C), (X[:40], C[:40])):
        with pytest.raises(BadInput, match="all that it was trained on"):
            responsible(model, rows, labels, ASKED[0])


def ridge_recipe(x, y, seed):
    return wrap(Ridge(alpha=1.0).fit(x, y))


def test_training_without_each_row_agrees_with_the_closed_form():
    recipe = Recipe(ridge_recipe, X, Y)
    done = []
    found = refitted(recipe, ASKED[0], 4, show=lambda i, n: done.append((i, n)))
    due = responsible(wrap(Ridge(alpha=1.0).fit(X, Y)), X, Y, ASKED[0], 4)
    assert found.rows.tolist() == due.rows.tolist() and found.effect == pytest.approx(due.effect, abs=1e-9)
    assert done[0] == (1, 60) and done[-1] == (60, 60)
    assert refitted(recipe, ASKED[0], 1, rows=[int(due.rows[2])]).rows.tolist() == [due.rows[2]]
    with pytest.raises(BadInput, match="k=5 of 2 candidates"):
        refitted(recipe, ASKED[0], rows=[3, 4])


def test_a_boosted_model_with_frames_and_strings_is_told_by_refitting():
    frame = pd.DataFrame({"a": X[:30, 0], "b": np.where(X[:30, 1] > 0, "yes", "no")})
    y = np.where(C[:30] == 1, "good", "bad")

    def fit(x, y, seed):
        columns = make_column_transformer((OrdinalEncoder(), ["b"]), remainder="passthrough")
        return wrap(make_pipeline(columns, GradientBoostingClassifier(n_estimators=5, random_state=seed)).fit(x, y))

    with pytest.raises(BadInput, match="--refit"):
        responsible(fit(frame, y, 0), frame, y, frame.iloc[[2]])
    found = refitted(Recipe(fit, frame, y), frame.iloc[[2]], 3)
    without = np.delete(np.arange(30), found.rows[0])
    before, after = (
        fit(frame.iloc[k], y[k], 0).respond(frame.iloc[[2]]).scores[0, int(found.decision)] for k in (np.arange(30), without)
    )
    assert found.effect[0] == pytest.approx(before - after) and found.exact
