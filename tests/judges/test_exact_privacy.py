"""Closed forms of privacy, by the numbers of the study (E1): each against its figures and against a second route."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm as normal

from casemate.core.errors import BadInput
from casemate.judges import roc
from casemate.judges.exact import privacy


def test_e1_5_the_gap_attack_has_the_gap_as_advantage():
    rng = np.random.default_rng(0)
    truth = np.arange(4000) < 2000
    right = np.where(truth, rng.random(4000) < 0.93, rng.random(4000) < 0.71)
    gap = privacy.gap_advantage(right[truth].mean(), right[~truth].mean())
    assert roc.advantage(right, truth)[0] == pytest.approx(gap, abs=1e-15)


def test_e1_5_bounded_losses_leak_their_gap():
    rng = np.random.default_rng(0)
    train, test, most = rng.beta(1, 8, 100_000) * 3, rng.beta(2, 5, 100_000) * 3, 3.0
    called = [(rng.random(100_000) > loss / most).mean() for loss in (train, test)]
    assert privacy.loss_advantage(train.mean(), test.mean(), most) == pytest.approx(called[0] - called[1], abs=0.007)
    with pytest.raises(BadInput, match="do not lie"):
        privacy.loss_advantage(4.0, 1.0, 3.0)


@pytest.mark.parametrize(("ratio", "value"), [(1.5, 0.1936), (2, 0.3227), (5, 0.6471)])
def test_e1_5_gaussian_residuals(ratio, value):
    assert privacy.residual_advantage(ratio) == pytest.approx(value, abs=5e-5)
    # Second route: the best cut on the size of the residual, searched for.
    best = minimize_scalar(lambda c: 2 * normal.cdf(c / ratio) - 2 * normal.cdf(c), bounds=(0, 10), method="bounded")
    assert privacy.residual_advantage(ratio) == pytest.approx(-best.fun, abs=1e-6)
    assert privacy.residual_advantage(1) == 0


@pytest.mark.parametrize(("epsilon", "delta"), [(0.1, 0.0), (1.0, 0.0), (2.0, 0.01), (800.0, 0.0)])
def test_e1_5_and_6_the_advantage_is_the_most_the_trade_off_allows(epsilon, delta):
    fpr = np.linspace(0, 1, 200_001)
    most = (privacy.dp_tpr(fpr, epsilon, delta) - fpr).max()
    assert privacy.dp_advantage(epsilon, delta) == pytest.approx(most, abs=1e-4)
    if delta == 0:
        assert privacy.dp_advantage(epsilon) == pytest.approx(np.tanh(epsilon / 2))
        assert privacy.dp_balanced_accuracy(epsilon) == pytest.approx(1 / (1 + np.exp(-epsilon)))
        assert privacy.dp_advantage(epsilon) <= np.expm1(min(epsilon, 700))


def test_e1_6_the_trade_off_curve_is_its_two_lines():
    assert privacy.dp_tradeoff([0, 1], 1.0, 0.1) == pytest.approx([0.9, 0])
    turn = 1 / (1 + np.e)  # at delta = 0 both lines meet where both errors are equal
    assert privacy.dp_tradeoff(turn, 1.0) == pytest.approx(turn)
    assert privacy.dp_tpr(0.001, 1.0) == pytest.approx(0.001 * np.e)


def test_e1_6_gaussian_privacy_has_the_figures_of_the_study():
    assert privacy.gdp_auc(1) == pytest.approx(0.7602, abs=5e-5)
    assert privacy.gdp_advantage(1) == pytest.approx(0.3829, abs=5e-5)
    assert privacy.gdp_tpr(0.001, 1) == pytest.approx(0.0183, abs=5e-5)
    assert privacy.delta_of_mu(1, 1) == pytest.approx(0.12694, abs=5e-6)
    assert privacy.composed_mu(3, 4) == 5


def test_e1_6_gaussian_privacy_by_integration():
    assert quad(lambda a: float(privacy.gdp_tpr(a, 1.7)), 0, 1)[0] == pytest.approx(privacy.gdp_auc(1.7), abs=1e-6)
    # delta(eps) is the mass by which one density exceeds e^eps times the other.
    excess = quad(lambda t: max(normal.pdf(t - 1.7) - np.exp(0.8) * normal.pdf(t), 0), -12, 14, limit=400)[0]
    assert privacy.delta_of_mu(1.7, 0.8) == pytest.approx(excess, abs=1e-7)
    assert privacy.epsilon_of_mu(1.7, excess) == pytest.approx(0.8, abs=1e-6)


def membership(n, d, runs, noise=0.0, seed=0):
    """Means of n standard normal rows with a fixed z among them, and without it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=d)
    rest = rng.normal(size=(2 * runs, d)) * np.sqrt(n - 1)  # the sum of n - 1 rows has this law exactly
    last = np.r_[np.tile(z, (runs, 1)), rng.normal(size=(runs, d))]
    means = (rest + last) / n + noise * rng.normal(size=(2 * runs, d))
    return z, means, np.arange(2 * runs) < runs


@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_e1_7_membership_of_a_gaussian_mean(noise):
    n, d, runs = 100, 50, 40_000
    z, means, truth = membership(n, d, runs, noise)
    mu = privacy.mean_mu(z, np.zeros(d), 1.0, n, noise)
    score = privacy.mean_scores(z, np.zeros(d), means)
    assert roc.area(score, truth) == pytest.approx(privacy.gdp_auc(mu), abs=0.006)
    found = roc.tpr_at(score, truth, 0.01)
    assert found["tpr"] == pytest.approx(float(privacy.gdp_tpr(0.01, mu)), abs=0.008)


def test_e1_7_a_typical_record_has_the_figure_of_the_study():
    z = np.full(50, 1.0)  # |z| = sqrt(d): mu = sqrt(d / n)
    mu = privacy.mean_mu(z, np.zeros(50), 1.0, 100)
    assert mu == pytest.approx(np.sqrt(0.5))
    assert privacy.gdp_auc(mu) == pytest.approx(0.6915, abs=5e-5)
    assert privacy.gdp_tpr(0.01, mu) == pytest.approx(0.0527, abs=5e-4)


def test_e1_8_randomised_response_spends_exactly_epsilon():
    for values in (2, 5, 100):
        p = privacy.response_rate(1.3, values)
        assert np.log(p / ((1 - p) / (values - 1))) == pytest.approx(1.3)
    rng = np.random.default_rng(0)
    truth = np.arange(100_000) < 50_000
    said = rng.random(100_000) < np.where(truth, privacy.response_rate(1.3), 1 - privacy.response_rate(1.3))
    assert roc.advantage(said, truth)[0] == pytest.approx(privacy.dp_advantage(1.3), abs=0.012)
    with pytest.raises(BadInput, match="at least 2"):
        privacy.response_rate(1.0, 1)


def test_e1_8_the_laplace_ratio_is_bounded_by_epsilon():
    rng, epsilon = np.random.default_rng(0), 1.5
    out = np.r_[1 + rng.laplace(0, 1 / epsilon, 100_000), rng.laplace(0, 1 / epsilon, 100_000)]
    truth = np.arange(200_000) < 100_000
    ratio = privacy.laplace_log_ratio(out, 1.0, 0.0, 1 / epsilon)
    assert np.abs(ratio).max() == pytest.approx(epsilon)
    outside = (out > 1) | (out < 0)
    assert np.abs(ratio[outside]) == pytest.approx(epsilon)
    for fpr in (0.01, 0.3, 0.7):
        assert roc.tpr_at(out, truth, fpr)["tpr"] == pytest.approx(float(privacy.laplace_tpr(fpr, epsilon)), abs=0.008)
    assert (privacy.laplace_tpr(np.linspace(0.001, 1, 500), epsilon) <= privacy.dp_tpr(np.linspace(0.001, 1, 500), epsilon) + 1e-12).all()


def test_e1_14_exposure_of_an_untrained_model_is_log2_e():
    assert privacy.untrained_exposure(100_000) == pytest.approx(np.log2(np.e), abs=2e-4)
    assert privacy.untrained_exposure(1000) == pytest.approx(1.4427, abs=0.01)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4000, 1000))  # the canary is column 0, and nothing sets it apart
    rank = 1 + (scores[:, 1:] < scores[:, :1]).sum(1)
    assert privacy.exposure(rank, 1000).mean() == pytest.approx(privacy.untrained_exposure(1000), abs=0.09)
    assert privacy.exposure(1, 1024) == 10
    with pytest.raises(BadInput, match="rank"):
        privacy.exposure(0, 10)
