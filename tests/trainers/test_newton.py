"""Many logistic regressions against scikit-learn's, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.linear_model import LogisticRegression

from casemate.trainers import Softmax, newton, train_many
from casemate.trainers.cache import memory


@pytest.fixture(autouse=True)
def _forget():
    memory.clear()


def _scaled(load):
    data = load()
    return (data.data - data.data.mean(0)) / (data.data.std(0) + 1e-9), data.target


def _sure(logits):
    return logits - logits.mean(-1, keepdims=True)


def _theirs(x, y, weight, l2):
    """scikit-learn at the end of its precision."""
    mine = weight > 0
    model = LogisticRegression(C=1 / l2, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    model.fit(x[mine], y[mine], sample_weight=weight[mine])
    made = model.decision_function(x)
    return np.stack([-made / 2, made / 2], 1) if made.ndim == 1 else _sure(made)


@pytest.mark.parametrize(("load", "l2"), [(load_breast_cancer, 1.0), (load_breast_cancer, 0.01), (load_iris, 1.0), (load_iris, 30.0)])
def test_as_scikit_learn(load, l2):
    (x, y), rng = _scaled(load), np.random.default_rng(0)
    weights = rng.integers(0, 3, (5, len(x))) * 1.0  # counts
    weights[4] = rng.random(len(x))  # and shares
    out = train_many(Softmax(l2=l2), x, y, weights, seeds=range(5), ask=x)
    for i in range(5):
        np.testing.assert_allclose(_sure(out.logits[0][i]), _theirs(x, y, weights[i], l2), atol=1e-6, rtol=1e-6)
    assert not out.failed.any() and out.logits[0].dtype == np.float64


def test_with_many_coefficients():
    """The way by conjugate gradients; some columns of the digits never change."""
    (x, y), rng = _scaled(load_digits), np.random.default_rng(0)
    weights = (rng.random((2, len(x))) < 0.3).astype(int)
    out = train_many(Softmax(), x, y, weights, seeds=[0, 1], ask=x)
    np.testing.assert_allclose(_sure(out.logits[0][0]), _theirs(x, y, weights[0].astype(float), 1.0), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("large", [0, 10_000])
def test_both_ways_lead_to_one_optimum(monkeypatch, large):
    x, y = _scaled(load_iris)
    expected = train_many(Softmax(), x, y, np.ones((1, len(x))), seeds=[0], ask=x).logits[0]
    memory.clear()
    monkeypatch.setattr(newton, "LARGE", large)
    found = train_many(Softmax(), x, y, np.ones((1, len(x))), seeds=[0], ask=x).logits[0]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_alone_as_among_others(monkeypatch):
    (x, y), rng = _scaled(load_iris), np.random.default_rng(3)
    weights = (rng.random((7, len(x))) < 0.5).astype(int)
    together = train_many(Softmax(), x, y, weights, seeds=range(7), ask=x).logits[0]
    memory.clear()
    alone = train_many(Softmax(), x, y, weights[[3]], seeds=[0], ask=x, classes=3).logits[0]
    np.testing.assert_allclose(alone[0], together[3], atol=1e-9)
    memory.clear()
    monkeypatch.setattr(newton, "WORK_BYTES", 1)  # one in a group
    monkeypatch.setattr(newton, "PAIR_BYTES", 8 * 15 * 20)  # and products of twenty rows at once
    apart = train_many(Softmax(), x, y, weights, seeds=range(7), ask=x).logits[0]
    np.testing.assert_allclose(apart, together, atol=1e-9)


def test_separable_and_constant():
    x = np.array([[-2.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [2.0, 1.0]])  # the second column never changes
    y = np.array([0, 0, 1, 1])
    out = train_many(Softmax(l2=1e-6), x, y, np.ones((1, 4)), seeds=[0], ask=x)
    assert not out.failed.any() and out.accuracy[0] == 1.0
    slope = 2 * out.logits[0][0, 3, 1] / 2
    # By symmetry there is no intercept, and the slope solves l2 * w = sum of |x| * sigmoid(-w |x|).
    assert 1e-6 * slope == pytest.approx(2 * (1 / (1 + np.exp(slope)) + 2 / (1 + np.exp(2 * slope))), rel=1e-3)
    nothing = train_many(Softmax(), np.ones((4, 2)), y, np.ones((1, 4)), seeds=[0], ask=x)
    assert nothing.failed[0] and "commonest class" in nothing.why[0]


def test_a_class_its_rows_lack():
    (x, y), weights = _scaled(load_iris), np.ones((2, 150))
    weights[0, y == 2] = 0
    out = train_many(Softmax(), x, y, weights, seeds=[0, 1], ask=x)
    logits = out.logits[0][0]
    # Two vectors w and -w pay |w|^2, a quarter of what their difference 2w would pay on its own: half the penalty.
    expected = LogisticRegression(C=2.0, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(x[y != 2], y[y != 2])
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected.decision_function(x), atol=1e-6)
    share = np.exp(logits[:, 2]) / np.exp(logits[:, :2]).sum(1)
    np.testing.assert_allclose(share, 0.5 / 100.5)
    assert not out.failed.any() and np.isfinite(out.logits[0]).all()


def test_few_steps_are_told():
    x, y = _scaled(load_iris)
    out = train_many(Softmax(l2=1e-3, steps=2), x, y, np.ones((1, len(x))), seeds=[0], ask=x)
    assert out.failed[0] and "2 Newton steps" in out.why[0]


def test_one_row_of_each_class():
    out = train_many(Softmax(), np.array([[0.0], [1.0]]), np.array([0, 1]), np.ones((1, 2)), seeds=[0], ask=np.array([[1.0]]))
    assert not out.failed.any() and out.logits[0][0, 0, 1] > 0


def test_nobody_has_two_classes():
    x, weights = np.eye(4, 3), np.array([[1, 1, 0, 0], [0, 0, 1, 1]])
    out = train_many(Softmax(), x, np.array([0, 0, 1, 1]), weights, seeds=[0, 1], ask=x)
    assert out.failed.all() and "single class" in out.reasons
