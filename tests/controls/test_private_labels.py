"""Randomised response and PATE: exact chances, exact votes, and what they cost."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import casemate as cm
from casemate.controls.training.pate import PATE, noisy_max
from casemate.controls.training.randomised_response import RandomisedResponse
from casemate.core.errors import BadInput, UsageError
from casemate.judges.accountant import noisy_votes
from casemate.testing.worlds import NetFit, purchases
from casemate.trainers import MLP

pytest.importorskip("torch")
STACK = MLP(hidden=(16,), epochs=20)
N = 1200


@pytest.fixture(scope="module")
def data():
    return purchases(N + 500, classes=3, bits=30, flip=0.2, seed=3)


@pytest.fixture
def recipe(data):
    return cm.Recipe(NetFit(STACK, 3), data[0][:N], data[1][:N], "1", stack=STACK)


def accuracy(target, data):
    return float((np.asarray(target.respond(data[0][N:]).label) == data[1][N:]).mean())


@pytest.mark.parametrize(("epsilon", "k"), [(0.1, 2), (1.0, 2), (3.0, 20), (2.0, 5)])
def test_each_label_is_kept_as_often_as_epsilon_says(epsilon, k):
    control, n = RandomisedResponse(epsilon=epsilon), 200_000
    assert control.kept(k) == pytest.approx(math.exp(epsilon) / (math.exp(epsilon) + k - 1), rel=1e-12)
    # The ratio of the two likelihoods is e^epsilon exactly: that is what epsilon means.
    assert control.kept(k) / ((1 - control.kept(k)) / (k - 1)) == pytest.approx(math.exp(epsilon))
    shown = control.answer(np.full(n, 1), k, np.random.default_rng(0))
    share = np.bincount(shown, minlength=k) / n
    expected = np.full(k, (1 - control.kept(k)) / (k - 1))
    expected[1] = control.kept(k)
    assert (np.abs(share - expected) < 5 * np.sqrt(expected * (1 - expected) / n)).all()


def test_training_sees_other_labels_by_each_seed_and_the_same_by_one(recipe):
    seen = []

    def fit(x, y, seed):
        seen.append(np.array(y))
        return "trained"

    hard = RandomisedResponse(epsilon=1.0).harden_recipe(cm.Recipe(fit, recipe.x, recipe.y, "1", stack=STACK))
    for seed in (3, 3, 4):
        assert hard.fit(hard.x, hard.y, seed) == "trained"
    assert (seen[0] == seen[1]).all() and (seen[0] != seen[2]).any()
    assert hard.stack is None, "shadows trained by the stack would see the true labels"
    assert 0.4 < (seen[0] == recipe.y).mean() < 0.75 and seen[0].dtype == recipe.y.dtype


def test_a_large_epsilon_costs_little_and_a_small_one_much(recipe, data):
    fits = [RandomisedResponse(epsilon=e).harden_recipe(recipe).fit for e in (6.0, 0.1)]
    rates = [accuracy(fit(recipe.x, recipe.y, 0), data) for fit in fits]
    assert rates[0] > 0.9 > 0.7 > rates[1]


@pytest.mark.parametrize("control", [RandomisedResponse(), PATE()], ids=lambda control: control.info.id)
def test_numbers_are_no_classes(recipe, control):
    wrong = cm.Recipe(recipe.fit, recipe.x, np.linspace(0, 1, N))
    assert "no classes" in control.fits(wrong)
    with pytest.raises(UsageError, match=control.info.id):
        control.harden_recipe(wrong)


def test_the_student_learns_from_votes_within_epsilon(recipe, data):
    control = PATE(teachers=40, answers=100)
    assert noisy_votes("gaussian", control.noise, 100, 1e-5).epsilon <= 8.0
    hard = control.harden_recipe(recipe)
    student = hard.fit(hard.x, hard.y, 0)
    assert accuracy(student, data) > 0.85
    assert student.fingerprint() == hard.fit(hard.x, hard.y, 0).fingerprint()


def test_less_epsilon_worse_answers(recipe, data):
    rates = [accuracy(PATE(epsilon=e, teachers=40).harden_recipe(recipe).fit(recipe.x, recipe.y, 0), data) for e in (8.0, 0.1)]
    assert rates[0] > rates[1] + 0.2


def test_one_record_moves_one_vote(recipe):
    """The heart of it: another label on any one private record changes at most one teacher's vote on every question."""
    from casemate.controls.training.pate import Taught

    taught = Taught(recipe.fit, PATE(teachers=20), 3, STACK)
    private, ask = np.arange(300, N), recipe.x[:50]
    before = taught._votes(recipe.x, recipe.y, private, ask, 0)
    assert (before.sum(1) == 20).all()
    for row in (300, 700, N - 1):
        y = recipe.y.copy()
        y[row] = (y[row] + 1) % 3
        moved = np.abs(taught._votes(recipe.x, y, private, ask, 0) - before).sum(1)
        assert moved.max() <= 2


def test_public_labels_are_never_looked_at(recipe):
    control = PATE(teachers=20)
    order = np.random.default_rng([0, 0x7EAC]).permutation(N)
    y = recipe.y.copy()
    y[order[: int(N * control.public)]] = 0
    fit = control.harden_recipe(recipe).fit
    assert fit(recipe.x, y, 0).fingerprint() == fit(recipe.x, recipe.y, 0).fingerprint()


def test_without_a_stack_the_fit_trains_teachers_too(recipe, data):
    few = cm.Recipe(NetFit(MLP(hidden=(8,), epochs=5), 3), recipe.x, recipe.y, "1")
    hard = PATE(teachers=8, answers=40).harden_recipe(few)
    assert hard.fit(hard.x, hard.y, 0).classes == 3
    assert pickle.loads(pickle.dumps(hard.fit)).control == PATE(teachers=8, answers=40)


def test_noise_free_votes_are_the_majority():
    votes = np.array([[5, 1, 0], [0, 2, 9]])
    for kind in ("gaussian", "laplace"):
        assert noisy_max(votes, kind, 1e-9, np.random.default_rng(0)).tolist() == [0, 2]


def test_too_few_rows_say_how_many():
    control = PATE(teachers=20, answers=100)
    assert control.too_few(100) == "25 of 100 rows are set aside, and 100 answers need as many"
    assert control.too_few(400) == ""
    assert PATE(teachers=50, answers=10).too_few(400) == "300 rows are left for 50 teachers, and each needs 10"


def test_a_shadow_with_too_few_rows_fails_with_a_reason(recipe):
    hard = PATE().harden_recipe(recipe)
    with pytest.raises(BadInput, match="set aside"):
        hard.fit(recipe.x[:50], recipe.y[:50], 0)


@pytest.mark.parametrize("wrong", [{"epsilon": 0}, {"teachers": 1}, {"answers": 0}, {"public": 1.0}, {"kind": "cauchy"}, {"delta": 0}])
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PATE(**wrong)
