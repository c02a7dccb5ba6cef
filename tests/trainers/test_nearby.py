"""Many regressions of many coefficients by what they share, against scikit-learn and against Newton's method."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression

from casemate.trainers import Softmax, nearby, newton, train_many
from casemate.trainers.cache import memory


@pytest.fixture(autouse=True)
def _forget():
    memory.clear()


def _digits(classes=10):
    data = load_digits(n_class=classes)
    return (data.data - data.data.mean(0)) / (data.data.std(0) + 1e-9), data.target


def _theirs(x, y, weight, l2):
    mine = weight > 0
    model = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000, solver="newton-cholesky")
    model.fit(x[mine], y[mine], sample_weight=weight[mine])
    return np.concatenate([model.coef_, model.intercept_[:, None]], 1).T


@pytest.mark.parametrize("widest", [1500, 0])
def test_as_scikit_learn(monkeypatch, widest):
    """By the whole curvature and by each class's own; counts, shares, few rows and many."""
    monkeypatch.setattr(nearby, "WIDEST", widest)
    (x, y), rng = _digits(4), np.random.default_rng(0)
    weights = np.stack([rng.random(len(x)) < 0.5, rng.random(len(x)) < 0.1, rng.integers(0, 4, len(x)), rng.random(len(x))]) * 1.0
    found, done = nearby.solve(Softmax(tol=1e-10), x, y, weights, 4)
    assert done.all()
    for i, weight in enumerate(weights):
        theirs = _theirs(x, y, weight, 1.0)
        theirs[-1] -= theirs[-1].mean()
        mine = found[i].copy()
        mine[-1] -= mine[-1].mean()
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize("l2", [100.0, 1e-3])
def test_strong_and_weak_penalties(l2):
    (x, y), rng = _digits(3), np.random.default_rng(1)
    weights = (rng.random((4, len(x))) < 0.5).astype(int)
    found, done = nearby.solve(Softmax(l2=l2, tol=1e-11), x, y, weights, 3)
    assert done.all()
    apart = found[0] - _theirs(x, y, weights[0] * 1.0, l2)
    apart[-1] -= apart[-1].mean()
    assert np.abs(apart).max() < 1e-5


def test_two_classes_share_one_column():
    data, rng = load_breast_cancer(), np.random.default_rng(2)
    x = (data.data - data.data.mean(0)) / data.data.std(0)
    x = np.concatenate([x, np.tanh(x), x**2 / 10, np.sin(x)], 1)  # 120 columns: too many for the matrix of each model
    weights = (rng.random((6, len(x))) < 0.5).astype(int)
    out = train_many(Softmax(), x, data.target, weights, seeds=range(6), ask=x)
    expected = x @ (theirs := _theirs(x, data.target, weights[5] * 1.0, 1.0))[:-1, 0] + theirs[-1, 0]
    np.testing.assert_allclose(out.logits[0][5, :, 1] - out.logits[0][5, :, 0], expected, atol=1e-5)
    assert not out.failed.any()


def test_the_loss_is_no_worse_than_scikit_learns_at_its_default():
    """At half the slope of theirs, in float32."""
    (x, y), weights = _digits(), (np.random.default_rng(3).random((4, 1797)) < 0.5).astype(int)
    found, done = nearby.solve(Softmax(tol=5e-5), x, y, weights, 10)
    assert done.all()
    for i, weight in enumerate(weights):
        own = weight > 0
        theirs = LogisticRegression(tol=1e-4, max_iter=1000).fit(x[own], y[own])
        rows = nearby._Rows(np.concatenate([x[own].T, np.ones((1, own.sum()))]), y[own], weight[own], 10, 1.0)
        mine, slope = rows.look(found[i].T.ravel())
        assert mine <= rows.look(np.concatenate([theirs.coef_, theirs.intercept_[:, None]], 1).ravel())[0]
        assert np.abs(slope).max() <= 5.05e-5 * own.sum()


def test_the_slope_is_that_of_the_loss():
    (x, y), rng = _digits(3), np.random.default_rng(4)
    for columns in (1, 3):
        rows = nearby._Rows(x[:50, :5].T.copy(), np.minimum(y[:50], max(1, columns - 1)), rng.random(50), columns, 0.7)
        at, way = rng.normal(size=(2, columns * 5))
        higher, lower = rows.look(at + 1e-6 * way)[0], rows.look(at - 1e-6 * way)[0]
        assert (higher - lower) / 2e-6 == pytest.approx(rows.look(at)[1] @ way, rel=1e-6)


def test_alone_as_among_others(monkeypatch):
    (x, y), weights = _digits(5), (np.random.default_rng(5).random((8, 901)) < 0.5).astype(int)
    together, _ = nearby.solve(Softmax(), x, y, weights, 5)
    alone, done = nearby.solve(Softmax(), x, y, weights[[6]], 5)
    assert done.all()
    np.testing.assert_allclose(alone[0], together[6], atol=1e-8)
    monkeypatch.setattr(nearby, "ROWS_BYTES", 1)  # one in a group
    np.testing.assert_allclose(nearby.solve(Softmax(), x, y, weights, 5)[0], together, atol=1e-8)


def test_whom_it_leaves_newton_solves():
    (x, y), weights = _digits(4), (np.random.default_rng(6).random((6, 720)) < 0.5).astype(int)
    weights[2, y == 3] = 0
    weights[4] = 0
    weights[4, y == 1] = 1  # a single class
    assert nearby.solve(Softmax(), x, y, weights, 4)[1].tolist() == [True, True, False, True, False, True]
    found, why = newton.fit(Softmax(), x, y, weights, 4)
    assert "single class" in why[4] and not any(why[:4])
    expected, _ = newton._one_by_one(Softmax(), x, y, weights, 4)
    np.testing.assert_allclose(found[:4], expected[:4], atol=1e-6)
    assert found[2, -1, 3] < 0  # the class it lacks


def test_too_few_steps_are_left_to_newton(monkeypatch):
    (x, y), weights = _digits(4), (np.random.default_rng(7).random((5, 720)) < 0.5).astype(int)
    monkeypatch.setattr(nearby, "STEPS", 2)
    assert not nearby.solve(Softmax(), x, y, weights, 4)[1].any()
    out = train_many(Softmax(), x, y, weights, seeds=range(5), ask=x)
    assert not out.failed.any()


@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e60])
def test_columns_of_unlike_scale_are_solved_or_left(scale):
    (x, y), weights = _digits(4), (np.random.default_rng(8).random((5, 720)) < 0.5).astype(int)
    x = x * np.where(np.arange(64) % 2, scale, 1.0)
    found, done = nearby.solve(Softmax(), x, y, weights, 4)
    for i in np.flatnonzero(done):
        own = weights[i] > 0
        rows = nearby._Rows(np.concatenate([x[own].T, np.ones((1, own.sum()))]), y[own], weights[i, own], 4, 1.0)
        assert np.abs(rows.look(found[i].T.ravel())[1]).max() <= 1e-9 * own.sum() * 1.01
    assert np.isfinite(found).all() and done.any() == (scale < 1)
