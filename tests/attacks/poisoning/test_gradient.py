"""Poison that climbs: slopes are those of the model trained again, and the climb does more than turned labels do."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import casemate as cm
from casemate.attacks.poisoning._linear import fitted, ones, targets
from casemate.attacks.poisoning._machine import _trained, machine
from casemate.attacks.poisoning.gradient import Gradient
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.attacks.poisoning.svm import SVM
from casemate.core.case import Holdout, Poison
from casemate.core.constraint import Ball
from casemate.core.errors import BadInput
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.judges.poison import paired


def logistic(x, y, seed):
    return cm.wrap(make_pipeline(StandardScaler(), LogisticRegression(max_iter=400)).fit(x, y))


def ridge(x, y, seed):
    return cm.wrap(make_pipeline(StandardScaler(), Ridge()).fit(x, y))


def vectors(x, y, seed):
    return cm.wrap(make_pipeline(StandardScaler(), SVC(kernel="linear")).fit(x, y))


def poison(load, fit, n, seed=0, **more):
    x, y = load(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = x[order], y[order]
    return Poison(recipe=Recipe(fit, x[:n], y[:n]), seeds=(0,), truth=Holdout(x=x[n:], y=y[n:]), fractions=(0.1,), **more)


def run(attack, case):
    return cm.run(attack, None, case, known=Known(data=(case.recipe.x, case.recipe.y)))


def problem(family, k, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(60, 5))
    z = a @ rng.normal(size=(5, max(k, 1))) + rng.normal(size=(60, max(k, 1)))
    t = z if not k else targets(family, z.argmax(1) if k > 2 else (z[:, 0] > 0).astype(int), k)
    return a[:40], t[:40], (a[40:], t[40:])


@pytest.mark.parametrize(
    ("family", "k", "strength"),
    [("logistic", 2, 1.0), ("logistic", 4, 0.5), ("ridge", 0, 1.0), ("ridge", 3, 1.0), ("lasso", 0, 0.2), ("lasso", 2, 0.05)],
)
def test_slopes_are_those_of_the_model_trained_again(family, k, strength):
    a, t, val = problem(family, k)
    moved, retold = fitted(family, strength, a, t).slopes(a[:6], t[:6], val)
    for into, slope in ((a, moved), (t, retold)):
        far = 0.0
        for i in range(6):
            for j in range(into.shape[1]):
                ends = []
                for step in (1e-5, -1e-5):
                    new = into.copy()
                    new[i, j] += step
                    ends.append(fitted(family, strength, *((new, t) if into is a else (a, new))).loss(*val))
                far = max(far, abs((ends[0] - ends[1]) / 2e-5 - slope[i, j]))
        assert np.abs(slope).max() > 0
        assert far < 1e-4 * np.abs(slope).max()


def test_the_fits_are_those_of_scikit_learn():
    a, t, _ = problem("logistic", 4)
    ours = fitted("logistic", 2.0, a, t).theta
    theirs = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000).fit(a, t.argmax(1))
    # All intercepts may rise together; what is decided may not differ.
    shift = (ours[:, -1] - theirs.intercept_).mean()
    assert ours[:, :-1] == pytest.approx(theirs.coef_, abs=1e-6)
    assert ours[:, -1] - shift == pytest.approx(theirs.intercept_, abs=1e-6)
    a, t, _ = problem("lasso", 0)
    theirs = Lasso(alpha=0.1, tol=1e-12).fit(a, t[:, 0])
    assert fitted("lasso", 0.1, a, t).theta[0] == pytest.approx([*theirs.coef_, theirs.intercept_], abs=1e-8)


def hinge(seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(60, 12))
    t = np.where(a[:, 0] + 0.7 * rng.normal(size=60) > 0, 1.0, -1.0)
    t[-6:] *= -1
    val = rng.normal(size=(200, 12))
    return a, t, (val, np.where(val[:, :1] > 0, 1.0, -1.0))


def test_slopes_through_a_support_vector_machine_are_those_of_the_machine_trained_again():
    tried = 0
    for seed in range(4):
        a, t, val = hinge(seed)
        slope, _ = machine(1.0, a, t).slopes(a[-6:], t[-6:, None], val)
        if np.abs(slope).max() < 1e-6:  # as many on the margin as numbers: nothing else moves it
            continue
        for i in range(6):
            for j in range(12):
                ends = []
                for step in (1e-6, -1e-6):
                    new = a.copy()
                    new[54 + i, j] += step
                    ends.append(_trained(1.0, new, t).loss(*val))
                assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope[i, j], abs=1e-4 * np.abs(slope).max())
                tried += 1
    assert tried >= 72


def test_a_machine_that_is_followed_is_the_machine_trained_anew():
    a, t, _ = hinge(1)
    model = machine(1.0, a, t)
    for step in range(5):
        a = a.copy()
        a[-6:] += 0.2 * np.random.default_rng(step).normal(size=(6, 12))
        model = machine(1.0, a, t, model)
        anew = SVC(kernel="linear", tol=1e-9).fit(a, t)
        assert model.theta[0] == pytest.approx([*anew.coef_[0], anew.intercept_[0]], abs=1e-6)


def test_a_climb_does_more_harm_than_turned_labels():
    for case, attack in (
        (poison(load_breast_cancer, logistic, 300), Gradient()),
        (poison(load_breast_cancer, vectors, 300), SVM()),
    ):
        flips, climbed = run(LabelFlip(), case), run(attack, case)
        assert climbed.rate > flips.rate + 0.03
        assert climbed.interval.low > 0


def test_numbers_are_poisoned_too_and_judged_by_squared_errors():
    x, y = load_diabetes(return_X_y=True)
    case = Poison(recipe=Recipe(ridge, x[:250], y[:250] / 346), seeds=(0,), truth=Holdout(x=x[250:], y=y[250:] / 346), fractions=(0.1,))
    evidence = run(Gradient(), case)
    assert "squared" in evidence.measure
    assert evidence.rate > 0.2
    assert evidence.rate > evidence.baseline.rate + 0.1
    assert "kearns_li" not in evidence.extra
    assert case.recipe.y.min() <= evidence.claims.y.min() <= evidence.claims.y.max() <= case.recipe.y.max()


def test_records_stay_in_the_range_of_the_data_and_within_the_case():
    case = poison(load_digits, logistic, 300, within=Ball("linf", 2.0, 0.0, 16.0), labels=False)
    attack = Gradient(family="ridge")
    claim = run(attack, case).claims
    assert np.abs(claim.x - case.recipe.x[claim.index]).max() <= 2.0 + 1e-9
    assert (claim.y == case.recipe.y[claim.index]).all()
    assert (claim.x != case.recipe.x[claim.index]).any()
    free = run(attack, poison(load_digits, logistic, 300)).claims
    assert free.x.min() >= 0
    assert free.x.max() <= 16


def test_labels_that_are_not_counted_from_zero_are_judged_as_they_are():
    plain = poison(load_breast_cancer, logistic, 300)
    odd = replace(plain, recipe=replace(plain.recipe, y=plain.recipe.y * 6 + 1), truth=replace(plain.truth, y=plain.truth.y * 6 + 1))
    named = replace(
        plain,
        recipe=replace(plain.recipe, y=np.array(["no", "yes"])[plain.recipe.y]),
        truth=replace(plain.truth, y=np.array(["no", "yes"])[plain.truth.y]),
    )
    rates = [run(Gradient(steps=3), case).rate for case in (plain, odd, named)]
    assert rates[0] == rates[1] == rates[2]


def test_frames_keep_their_categories_and_whole_numbers():
    import pandas as pd

    rng = np.random.default_rng(0)
    x = pd.DataFrame({"age": rng.integers(18, 80, 80), "pay": rng.normal(size=80), "town": rng.choice(["a", "b"], 80)})
    y = (x["pay"] + 0.3 * rng.normal(size=80) > 0).astype(int).to_numpy()

    def fit(x, y, seed):
        from sklearn.compose import make_column_transformer
        from sklearn.preprocessing import OneHotEncoder

        heads = make_column_transformer((StandardScaler(), ["age", "pay"]), (OneHotEncoder(), ["town"]))
        return cm.wrap(make_pipeline(heads, LogisticRegression()).fit(x, y))

    case = Poison(recipe=Recipe(fit, x[:60], y[:60]), seeds=(0,), truth=Holdout(x=x[60:], y=y[60:]), fractions=(0.1,))
    claim = run(Gradient(), case).claims
    assert list(claim.x.dtypes) == list(x.dtypes)
    assert (claim.x["town"].to_numpy() == x["town"].to_numpy()[claim.index]).all()
    assert not np.allclose(claim.x["pay"], x["pay"].to_numpy()[claim.index])
    with pytest.raises(BadInput, match="every column here is a category"):
        run(Gradient(), replace(case, recipe=replace(case.recipe, x=x[:60][["town"]])))


def test_what_cannot_be_climbed_is_refused():
    case = poison(load_digits, logistic, 200)
    with pytest.raises(BadInput, match="two classes"):
        run(SVM(), case)
    holes = case.recipe.x.copy()
    holes[0, 0] = np.nan
    with pytest.raises(BadInput, match="missing"):
        run(Gradient(), replace(case, recipe=replace(case.recipe, x=holes)))
    with pytest.raises(BadInput, match="family='tree'"):
        run(Gradient(family="tree"), case)
    x, y = load_diabetes(return_X_y=True)
    with pytest.raises(BadInput, match="labels are numbers"):
        run(Gradient(family="logistic"), replace(case, recipe=Recipe(ridge, x, y / 346)))


@pytest.mark.parametrize(("load", "n"), [(load_breast_cancer, 250), (load_digits, 400)])
def test_flips_by_margin_hurt_at_least_as_much_as_random_ones_over_ten_seeds(load, n):
    gaps = []
    for seed in range(10):
        evidence = run(LabelFlip(), poison(load, logistic, n, seed))
        gaps.append(evidence.rate - evidence.baseline.rate)
    interval = paired(np.array(gaps)[:, None], 0)
    assert np.mean(gaps) >= 0
    assert interval.high > 0
    # The interval of the mean gap over ten splits excludes that random flips are better by a point.
    assert interval.low > -0.01


def test_quiet_records_have_no_loud_losses():
    case = poison(load_breast_cancer, logistic, 300)
    quiet = run(Gradient(quiet=0.9), case).claims
    scaler = StandardScaler().fit(case.recipe.x)
    honest = fitted("logistic", 1.0, scaler.transform(case.recipe.x), case.recipe.y[:, None].astype(float))
    bound = np.quantile(honest.losses(scaler.transform(case.recipe.x), case.recipe.y[:, None]), 0.9)
    assert honest.losses(scaler.transform(quiet.x), quiet.y[:, None]).max() <= bound * (1 + 1e-6)
    assert ones(quiet.x).shape[1] == case.recipe.x.shape[1] + 1
