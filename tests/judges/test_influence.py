"""Influence against brute force: refits, materialised gradients, every subset."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from casemate.core.errors import BadInput, TargetFailed
from casemate.core.target import Recipe
from casemate.judges.influence.gradients import tracin
from casemate.judges.influence.linear import logistic_effects, ridge_effects, ridge_off
from casemate.judges.influence.responsible import refitted, responsible
from casemate.judges.influence.shapley import exact_shapley, left_out_values, sampled_shapley
from casemate.targets.pipeline import Cut, Threshold
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
    assert found.rows.tolist() == order.tolist()
    assert found.exact is not hasattr(model, "steps")  # a refit would fit the scaler again
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


# -- defects mended: each test is named after what was wrong ---------------------------------------------------------------
LAST = np.where(np.arange(60) == 5, "a", np.where(C == 1, "z", "m"))  # the first class in order has one row, number 5


def fit_logistic(x, y, seed):
    return wrap(LogisticRegression(C=0.5).fit(x, y))


def test_a_row_that_takes_its_class_along_does_not_move_the_others_scores():
    found = refitted(Recipe(fit_logistic, X, LAST), ASKED[0], 1, rows=[5])
    whole, again = LogisticRegression(C=0.5).fit(X, LAST), LogisticRegression(C=0.5).fit(np.delete(X, 5, 0), np.delete(LAST, 5))
    value = whole.classes_[found.decision]
    due = whole.predict_proba(ASKED[:1])[0, found.decision] - again.predict_proba(ASKED[:1])[0, list(again.classes_).index(value)]
    assert found.effect[0] == pytest.approx(due)
    gone = refitted(Recipe(lambda x, y, seed: wrap(DecisionTreeClassifier(random_state=0).fit(x, y)), X, LAST), X[5], 1, rows=[5])
    assert gone.decision == 0 and gone.effect.tolist() == [1.0]  # decided for the class that is gone: its score is 0 then


@pytest.mark.parametrize("output", ["labels", "scores"])
def test_classes_that_cannot_be_told_apart_are_refused(output):
    def fit(x, y, seed):
        model = LogisticRegression(C=0.5).fit(x, y)
        ask = model.predict_proba if output == "scores" else lambda x: np.searchsorted(model.classes_, model.predict(x))
        return wrap(ask, output=output, classes=len(model.classes_), batched=True)

    with pytest.raises(BadInput, match="without training row 5 the recipe's model has other classes"):
        refitted(Recipe(fit, X, LAST), ASKED[0], 1, rows=[5])


@pytest.mark.parametrize("model", [LogisticRegression(), DecisionTreeClassifier()], ids=str)
def test_one_class_left_names_the_row(model):
    y = (np.arange(60) == 7).astype(int)
    with pytest.raises(BadInput, match="without training row 7 only the class 0 is left"):
        refitted(Recipe(lambda x, y, seed: wrap(type(model)().fit(x, y)), X, y), ASKED[0], 1)


def test_neighbours_are_no_refit_and_their_labels_are_compared():
    model = KNeighborsClassifier(3).fit(X, LAST)
    assert not responsible(model, X, LAST, ASKED[0], 3).exact
    with pytest.raises(BadInput, match="another label of 1 rows, row 4 the first"):
        responsible(model, X, np.where(np.arange(60) == 4, "a", LAST), ASKED[0], 3)
    with pytest.raises(BadInput, match="another label of 60 rows"):
        responsible(KNeighborsRegressor(3).fit(X, Y), X, Y + 1, ASKED[0], 3)


def test_weights_that_are_a_function_are_called():
    def fall(far):
        return np.exp(-3 * far)

    for weights, of in ((fall, fall), ("distance", lambda far: 1 / far), ("uniform", np.ones_like)):
        model = KNeighborsRegressor(4, weights=weights).fit(X, Y)
        found = responsible(model, X, Y, ASKED[0], 4)
        far, rows = (each[0] for each in model.kneighbors(ASKED[:1]))
        share = dict(zip(rows.tolist(), of(far) / of(far).sum(), strict=True))
        assert found.effect == pytest.approx([share[row] for row in found.rows.tolist()])
        assert found.effect @ Y[found.rows] == pytest.approx(model.predict(ASKED[:1])[0])
    with pytest.raises(BadInput, match="one finite number each"):
        _ = responsible(KNeighborsRegressor(3, weights=lambda far: -far).fit(X, Y), X, Y, ASKED[0], 3)


def test_a_ridge_that_is_not_the_closed_form_is_not_told_as_one():
    weighted = Ridge().fit(X, Y, sample_weight=np.linspace(0.1, 3, 60))
    for model, x, y in (
        (weighted, X, Y), (Ridge().fit(X, Y), X[:59], Y[:59]), (LinearRegression().fit(X, Y), X, -Y),
        (LinearRegression(fit_intercept=False).fit(X, Y), np.roll(X, 1, 0), Y),
    ):  # fmt: skip
        with pytest.raises(BadInput, match="give all that it was trained on"):
            responsible(model, x, y, ASKED[0])
    for model in (LinearRegression(positive=True), Ridge(positive=True)):
        with pytest.raises(BadInput, match="positive=True has no closed form"):
            responsible(model.fit(X, Y), X, Y, ASKED[0])
    early = Ridge(solver="lsqr", tol=1e-4).fit(X, Y)
    assert not responsible(early, X, Y, ASKED[0]).exact and responsible(Ridge(solver="svd").fit(X, Y), X, Y, ASKED[0]).exact


def test_columns_far_from_zero_stay_exact():
    far = X + [1e6, -1e5, 0.0, 3e4]
    model = LinearRegression().fit(far, Y)
    assert ridge_off(far, Y, model.coef_, model.intercept_) < 1e-8
    again = LinearRegression().fit(np.delete(far, 3, 0), np.delete(Y, 3)).predict(far[:1])[0] - model.predict(far[:1])[0]
    assert ridge_effects(far, Y, far[0])[0, 3] == pytest.approx(again, abs=1e-7)


def test_a_training_that_changes_its_rows_in_place_changes_nobody_elses():
    def fit(x, y, seed):
        seen.append((x.copy(), y.copy()))
        x *= 2
        y[:] = y[::-1].copy()
        return wrap(Ridge(alpha=1.0).fit(x, y))

    seen, x, y = [], X.copy(), Y.copy()
    refitted(Recipe(fit, x, y), ASKED[0], 1, rows=[0, 1])
    assert (x == X).all() and (y == Y).all()
    assert (seen[0][0] == X).all() and (seen[2][0] == np.delete(X, 1, 0)).all() and (seen[2][1] == np.delete(Y, 1)).all()
    frame = pd.DataFrame(X)

    def scaled(x, y, seed):
        x.loc[:, 0] = 0.0
        return wrap(Ridge(alpha=1.0).fit(x.to_numpy(), y))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refitted(Recipe(scaled, frame, pd.Series(Y)), X[0], 1, rows=[0])
    assert (frame.to_numpy() == X).all()
    lists = [list(row) for row in X]
    refitted(Recipe(lambda x, y, seed: [row.clear() for row in x] and ridge_recipe(X, Y, seed), lists, Y), X[0], 1, rows=[0])
    assert lists == X.tolist()


def test_a_recipe_that_returns_no_target_or_fails_names_the_row():
    with pytest.raises(BadInput, match="returned a Ridge, which is no target"):
        refitted(Recipe(lambda x, y, seed: Ridge().fit(x, y), X, Y), ASKED[0])

    def breaks(x, y, seed):
        if len(x) < 60 and x[0, 0] != X[0, 0]:
            raise RuntimeError("out of luck")
        return wrap(Ridge().fit(x, y))

    with pytest.raises(TargetFailed, match="without training row 0: the recipe failed: RuntimeError: out of luck"):
        refitted(Recipe(breaks, X, Y), ASKED[0])
    with pytest.raises(BadInput, match="fitted on 4 columns"):
        refitted(Recipe(ridge_recipe, X, Y), ASKED[0, :3])


def test_a_mask_of_rows_is_no_list_of_positions():
    recipe, mask = Recipe(ridge_recipe, X, Y), np.zeros(60, bool)
    mask[[7, 11]] = True
    assert sorted(refitted(recipe, ASKED[0], 2, rows=mask).rows.tolist()) == [7, 11]
    for rows in ([0.0, 1.0], mask[:59], [[1, 2]], [60], [-1], [], ["a"], np.zeros(60, bool)):
        with pytest.raises(BadInput, match=r"rows|k=1 of 0"):
            refitted(recipe, ASKED[0], 1, rows=rows)


def test_a_reject_is_decided_alike_or_not():
    """A label below 0 is no place among the scores: the last class was taken for it."""
    model = LogisticRegression(C=0.5).fit(X, C)
    doubtful = X[np.abs(model.decision_function(X)).argmin()]

    def fit(x, y, seed):
        made = LogisticRegression(C=0.5).fit(x, y)
        return wrap(made, decision=Threshold(sure))

    sure = 0.9
    found = refitted(Recipe(fit, X, C), doubtful, 60)
    assert found.decision == -1 and not found.effect.any() and "alike" in found.how
    best = [
        LogisticRegression(C=0.5).fit(np.delete(X, i, 0), np.delete(C, i)).predict_proba(doubtful[None]).max() for i in range(60)
    ]
    sure = float(np.quantile([b for b in best if b > model.predict_proba(doubtful[None]).max()], 0.5))
    found = refitted(Recipe(fit, X, C), doubtful, 60)
    assert found.effect[np.argsort(found.rows)].tolist() == [float(b >= sure) for b in best] and found.effect.any()


def test_labels_only_are_alike_or_not_and_whole_numbers_of_a_regression_are_numbers():
    def named(x, y, seed):
        model = DecisionTreeClassifier(random_state=0).fit(x, y)
        return wrap(lambda x: model.predict(x), output="labels", classes=["a", "m", "z"], batched=True)

    assert refitted(Recipe(named, X, LAST), X[5], 1, rows=[5, 6]).effect.tolist() == [1.0]

    def rounded(x, y, seed):
        return wrap(lambda x: np.full(len(x), float(len(y))), output="labels", batched=True)

    found = refitted(Recipe(rounded, X, Y), ASKED[0], 1)
    assert found.effect.tolist() == [1.0] and "number" in found.how


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_logistic_regression_that_chose_its_c_is_read():
    chose = LogisticRegressionCV(Cs=[0.5], cv=3, tol=1e-10, max_iter=2000)
    for y in (C, LAST):
        found = responsible(chose.fit(X, np.where(y == "a", "m", y)), X, np.where(y == "a", "m", y), ASKED[0])
        due = responsible(logistic(X, np.where(y == "a", "m", y)), X, np.where(y == "a", "m", y), ASKED[0])
        assert found.rows.tolist() == due.rows.tolist() and found.effect == pytest.approx(due.effect, rel=1e-3)
    chose.C_ = np.array([0.5, 1.0])
    with pytest.raises(BadInput, match="one C for all classes"):
        responsible(chose, X, np.where(LAST == "a", "m", LAST), ASKED[0])


def test_a_network_that_is_not_asked_for_logits_of_classes_is_refused():
    y, one = RNG.integers(0, 3, 60), nn.Sequential(nn.Linear(4, 1)).double()
    hole = X.copy()
    hole[3, 1] = np.nan

    class Chances(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network()

        def forward(self, x):
            return self.inner(x).softmax(1)

    for words, net, x, labels in (
        ("logits of two classes or more", one, X, C), ("from 0 to 2", network(), X, y + 1), ("from 0 to 2", network(), X, y - 1),
        ("float64", network(), X, y + 0.5), ("<U", network(), X, LAST), ("NaN", network(), hole, y),
        ("ends in Softmax", nn.Sequential(network(), nn.Softmax(1)), X, y), ("ends in probabilities", Chances(), X, y),
        ("ends in Sigmoid", nn.Sequential(network(), nn.Sigmoid(), nn.Identity()), X, y), ("cannot read", network(), X[:, :3], y),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=words):
            responsible(net, x, labels, x[0])
    inner = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 3)).double()
    assert np.isfinite(tracin(inner, X, y, ASKED, y[:3])).all()  # inside, and registered before the end, it is no matter


def test_an_activation_in_place_does_not_change_what_is_traced():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    y, due = RNG.integers(0, 3, 60), None
    due = materialised(net, ASKED, y[:3]) @ materialised(net, X, y).T
    net[1].inplace = True
    assert np.abs(tracin(net, X, y, ASKED, y[:3]) - due).max() < 1e-12
    assert np.abs(tracin(net.requires_grad_(False), X, y, ASKED, y[:3]) - due).max() < 1e-12


def test_models_that_are_not_trained_or_rows_too_narrow_are_refused():
    for words, call in {
        "Ridge is not fitted": lambda: responsible(Ridge(), X, Y, ASKED[0]),
        "RandomForestClassifier is not fitted": lambda: responsible(RandomForestClassifier(), X, C, ASKED[0]),
        "cannot read these rows": lambda: responsible(make_pipeline(StandardScaler(), Ridge()), X, Y, ASKED[0]),
        "the input of shape": lambda: responsible(KNeighborsClassifier(3).fit(X, C), X, C, ASKED[0, :3]),
        "training rows of shape": lambda: responsible(DecisionTreeClassifier().fit(X, C), X[:, :3], C, ASKED[0]),
        "k=2.5 of 60 training": lambda: responsible(Ridge().fit(X, Y), X, Y, ASKED[0], 2.5),
        "k=2.5 of 60 candidates": lambda: refitted(Recipe(ridge_recipe, X, Y), ASKED[0], 2.5),
        "cannot be explained": lambda: responsible(KNeighborsClassifier(3).fit(X, C), X, C, ASKED[0] * np.nan),
        "must be numbers": lambda: responsible(Ridge().fit(X, Y), X, LAST, ASKED[0]),
    }.items():
        with pytest.raises(BadInput, match=words):
            call()


def test_a_text_among_texts_stays_a_text():
    texts, y = ["good day", "bad day", "good night", "bad night"], np.array([1, 0, 1, 0])

    def fit(x, y, seed):
        return wrap(make_pipeline(CountVectorizer(), LogisticRegression()).fit(x, y))

    found = refitted(Recipe(fit, texts, y), ["good morning"], 1)
    assert found.decision == 1 and found.rows.tolist() == refitted(Recipe(fit, texts, y), "good morning", 1).rows.tolist()
    assert responsible(fit(texts, y, 0), texts, y, "good morning", 2).decision == 1


def test_a_threshold_that_decides_otherwise_is_not_explained_by_the_model_alone():
    for y in (C, np.where(C == 1, "yes", "no")):
        model = LogisticRegression(C=0.5).fit(X, y)
        for by in (Cut(1.1), Threshold(1.1)):
            with pytest.raises(BadInput, match=r"by (Cut|Threshold).* and its model alone"):
                responsible(wrap(model, decision=by), X, y, X[C == 1][0])
        same = responsible(wrap(model, decision=Cut(0.5)), X, y, ASKED[0])
        assert same.decision == model.predict(ASKED[:1])[0] and len(same.rows) == 5
    with pytest.raises(BadInput, match="decides a reject by Threshold"):
        responsible(wrap(network(), decision=Threshold(1.1)), X, C, ASKED[0])
