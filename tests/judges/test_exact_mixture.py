"""Closed forms of robust error, by the numbers of the study (E1): each against its figures and against a second route."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm as normal

from casemate.core.errors import BadInput
from casemate.judges.exact.mixture import (
    learned_error,
    linear_error,
    robust_cap,
    robust_error,
    robust_weights,
    smoothed_radius,
    unavoidable_errors,
    weak_mean_error,
    worst_change,
)

ORDER = {"linf": np.inf, "l2": 2, "l1": 1}


def mixture(theta, sigma, n, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice([-1, 1], n)
    return y[:, None] * theta + sigma * rng.normal(size=(n, len(theta))), y


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_e1_1_error_of_a_linear_classifier_is_that_of_its_worst_change(norm):
    rng = np.random.default_rng(1)
    theta, w, sigma, radius = rng.normal(0.3, 0.3, 6), rng.normal(0.5, 0.5, 6), 1.3, 0.4
    x, y = mixture(theta, sigma, 200_000)
    change = worst_change(w, y, radius, norm)
    assert np.linalg.norm(change, ORDER[norm], axis=1) == pytest.approx(radius)
    measured = (y * ((x + change) @ w) <= 0).mean()
    assert measured == pytest.approx(linear_error(w, theta, sigma, radius, norm), abs=4 * 0.5 / np.sqrt(200_000))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_e1_1_no_direction_beats_the_best_classifier(norm):
    theta, sigma = np.array([1.0, 0.5, 0.1]), 1.0
    best = robust_weights(theta, 0.3, norm)
    assert linear_error(best, theta, sigma, 0.3, norm) == pytest.approx(robust_error(theta, sigma, 0.3, norm), abs=1e-12)
    grid = np.stack(np.meshgrid(*3 * [np.linspace(-1, 1, 31)]), -1).reshape(-1, 3)
    others = [linear_error(w, theta, sigma, 0.3, norm) for w in grid if np.abs(w).sum() > 0]
    assert min(others) >= robust_error(theta, sigma, 0.3, norm) - 1e-12
    assert min(others) < robust_error(theta, sigma, 0.3, norm) + 0.002


def test_e1_1_soft_threshold_beats_theta_by_measurement():
    # The study's own theta is not printed; the same gap is shown here, and both errors are drawn anew.
    theta, sigma, radius = np.linspace(0.0, 1.2, 20), 2.0, 0.3
    soft = robust_weights(theta, radius)
    assert soft == pytest.approx(np.sign(theta) * np.maximum(np.abs(theta) - radius, 0))
    x, y = mixture(theta, sigma, 200_000, seed=2)
    for w in (theta, soft):
        measured = (y * ((x + worst_change(w, y, radius)) @ w) <= 0).mean()
        assert measured == pytest.approx(linear_error(w, theta, sigma, radius), abs=0.0045)
    assert linear_error(soft, theta, sigma, radius) < linear_error(theta, theta, sigma, radius) - 0.005


def test_e1_1_nothing_can_be_learned_where_the_ball_holds_theta():
    for norm in ("linf", "l2", "l1"):
        assert robust_error([0.1, -0.2], 1.0, 0.5, norm) == 0.5
    with pytest.raises(BadInput, match="decides nothing"):
        linear_error([0, 0], [1, 1], 1.0)


FIGURES = [(1, 0.172, 0.561, 0.565), (5, 0.023, 0.188, 0.191), (20, 0.0006, 0.0186, 0.019), (100, 0.0, 0.0014, 0.0014)]


@pytest.mark.parametrize(("n", "clean", "approximate", "robust"), FIGURES)
def test_e1_2_clean_error_is_learned_long_before_robust_error(n, clean, approximate, robust):
    d, radius = 500, 0.3
    found = learned_error(d, n, radius)
    assert found[1] == pytest.approx(approximate, abs=0.0006)
    assert found[0] == pytest.approx(clean, abs=0.009)  # the study drew its clean errors
    rng, sigma = np.random.default_rng(n), d**0.25
    drawn = [np.ones(d) + sigma / np.sqrt(n) * rng.normal(size=d) for _ in range(300)]  # the mean of n rows y x
    risks = [linear_error(w, np.ones(d), sigma, radius) for w in drawn]
    assert np.mean(risks) == pytest.approx(robust, abs=0.012)
    assert np.mean([linear_error(w, np.ones(d), sigma) for w in drawn]) == pytest.approx(clean, abs=0.012)


def test_e1_3_accuracy_of_weak_features_is_paid_for_in_robustness():
    d, eta = 900, 3 / np.sqrt(900)
    clean, robust = weak_mean_error(d, eta), weak_mean_error(d, eta, 2 * eta)
    assert 1 - clean == pytest.approx(0.99865, abs=1e-5)
    assert 1 - robust == pytest.approx(0.00135, abs=1e-5)
    assert 1 - robust <= robust_cap(clean, 0.95)
    rng = np.random.default_rng(0)
    x = eta + rng.normal(size=(6000, d))  # rows of label 1, each feature pushed to the other side
    assert (x.mean(1) > 0).mean() == pytest.approx(0.99865, abs=0.002)
    assert ((x - 2 * eta).mean(1) > 0).mean() == pytest.approx(0.00135, abs=0.002)
    # The one robust feature alone stands at p, and the cap allows it: delta = 1 - p gives p.
    assert robust_cap(0.05, 0.95) == pytest.approx(0.95)
    with pytest.raises(BadInput, match="robust feature"):
        robust_cap(0.1, 1.0)


def test_e1_11_the_certified_radius_of_a_linear_model_knows_no_sigma():
    rng = np.random.default_rng(0)
    w, b, x = rng.normal(size=5), 0.3, rng.normal(size=(4, 5))
    radius = smoothed_radius(w, b, x)
    for sigma in (0.25, 1.0, 3.0):
        noisy = x[:, None] + sigma * rng.normal(size=(4, 200_000, 5))
        vote = np.maximum((noisy @ w + b > 0).mean(1), (noisy @ w + b < 0).mean(1))
        inner = vote < 0.999  # the quantile of a vote near 1 cannot be measured
        assert sigma * normal.ppf(vote[inner]) == pytest.approx(radius[inner], abs=0.05 * sigma)
    away = x - ((x @ w + b) / (w @ w))[:, None] * w * 1.001  # just beyond the radius the class changes
    assert ((away @ w + b > 0) != (x @ w + b > 0)).all()


def test_e1_15_no_labelling_makes_fewer_errors_than_the_matching():
    rng = np.random.default_rng(3)
    for norm, radius in itertools.product(("linf", "l2", "l1"), (0.05, 0.15, 0.4)):
        x, y = rng.uniform(size=(11, 2)), rng.integers(0, 2, 11)
        y[:2] = 0, 1
        apart = np.linalg.norm(x[:, None] - x[None], ORDER[norm], axis=2)
        conflict = (apart <= 2 * radius) & (y[:, None] != y[None])
        # Brute force: the fewest rows whose removal leaves no conflict.
        fewest = min(
            int(wrong.sum()) for wrong in map(np.array, itertools.product([0, 1], repeat=11))
            if not conflict[np.ix_(wrong == 0, wrong == 0)].any()
        )  # fmt: skip
        assert unavoidable_errors(x, y, radius, norm) == fewest


def test_e1_15_at_radius_zero_only_equal_rows_conflict():
    x = np.array([[0.0], [0.0], [1.0], [2.0]])
    assert unavoidable_errors(x, np.array([0, 1, 1, 0]), 0.0) == 1
    assert unavoidable_errors(x, np.array(["a", "b", "b", "a"]), 0.5) == 2
    with pytest.raises(BadInput, match="two classes"):
        unavoidable_errors(x, np.array([0, 1, 2, 0]), 0.1)
