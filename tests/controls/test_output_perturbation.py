"""Output perturbation: how far an optimum moves, and the law of the noise that hides it."""

from __future__ import annotations

import numpy as np
import pytest

import casemate as cm
from casemate.controls import facts_of
from casemate.controls.training.output_perturbation import OutputPerturbation, move, noise, optimum, short
from casemate.core.errors import UsageError
from casemate.testing.worlds import purchases
from casemate.trainers import MLP, Softmax

N = 600


@pytest.fixture(scope="module")
def data():
    x, y = purchases(N + 400, classes=2, bits=12, flip=0.2, seed=5)
    return 2 * x - 1, y


@pytest.fixture
def recipe(data):
    return cm.Recipe(len, data[0][:N], data[1][:N], "1", stack=Softmax(l2=5.0))


def test_rows_are_no_longer_than_one():
    x = np.random.default_rng(0).normal(size=(50, 4)) * 10
    made = short(x, 3.0)
    assert np.linalg.norm(made, axis=1).max() <= 1 + 1e-12
    inside = short(np.array([[0.3, 0.0]]), 3.0)
    assert inside == pytest.approx(np.array([[0.1, 0.0, 1.0]]) / np.sqrt(2))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("l2", [0.5, 5.0])
def test_no_other_record_moves_the_optimum_further_than_is_hidden(classes, l2):
    """The worst there is: few records, and one of them turned into its opposite, in input and in label."""
    rng, far = np.random.default_rng(1), 0.0
    for n in (2, 4, 12):
        x, y = short(rng.normal(size=(n, 3)) * 5, 1.0), rng.integers(0, classes, n)
        best = optimum(x, y, classes, l2)
        for label in range(classes):
            for row in (-x[0], x[0], x[1]):
                other, labels = x.copy(), y.copy()
                other[0], labels[0] = row, label
                far = max(far, float(np.linalg.norm(optimum(other, labels, classes, l2) - best)))
    assert 0.05 * move(l2, classes) < far <= move(l2, classes)


def test_the_optimum_is_scikit_learn_s(data):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = short(data[0][:N], np.sqrt(12))
    model = linear_model.LogisticRegression(C=1 / 5.0, fit_intercept=False, tol=1e-10, max_iter=5000).fit(x, data[1][:N])
    assert optimum(x, data[1][:N], 2, 5.0)[:, 0] == pytest.approx(model.coef_[0], abs=1e-4)


def test_the_noise_has_its_law():
    """Its length is Gamma with as many degrees as there are coefficients; its direction is any."""
    rng, size, scale = np.random.default_rng(0), 6, 0.5
    drawn = np.array([noise((size,), scale, rng) for _ in range(20_000)])
    length = np.linalg.norm(drawn, axis=1)
    assert length.mean() == pytest.approx(size * scale, rel=0.02)
    assert length.var() == pytest.approx(size * scale**2, rel=0.05)
    assert np.abs((drawn / length[:, None]).mean(0)).max() < 0.02


def test_accuracy_against_epsilon(recipe, data):
    rates = []
    for epsilon in (1000.0, 8.0, 0.1):
        fit = OutputPerturbation(epsilon=epsilon).harden_recipe(recipe).fit
        labels = [np.asarray(fit(recipe.x, recipe.y, seed).respond(data[0][N:]).label) for seed in range(8)]
        rates.append(np.mean([(label == data[1][N:]).mean() for label in labels]))
    assert rates[0] > 0.9 and rates[1] > rates[0] - 0.1 and rates[2] < rates[1] - 0.1


def test_the_facts_are_exact():
    assert facts_of(OutputPerturbation(epsilon=2.0)) == (("training.dp.eps", 2.0), ("training.dp.delta", 0.0))


def test_one_seed_one_model(recipe):
    hard = OutputPerturbation().harden_recipe(recipe)
    marks = [hard.fit(hard.x, hard.y, seed).fingerprint() for seed in (1, 1, 2)]
    assert marks[0] == marks[1] != marks[2]


def test_another_learner_is_refused(recipe):
    wrong = cm.Recipe(recipe.fit, recipe.x, recipe.y, stack=MLP())
    assert OutputPerturbation().fits(wrong) == "the recipe has no stack of kind Softmax"
    with pytest.raises(UsageError, match=r"training.output_perturbation"):
        OutputPerturbation().harden_recipe(wrong)


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"l2": 0.0}, {"radius": -1.0}])
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        OutputPerturbation(**wrong)
