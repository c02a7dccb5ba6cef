"""Intervals and estimates against values worked out by hand or printed in tables."""

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.judges.infer import advantage, area, roc, tpr_at
from casemate.judges.statistics import bootstrap, clopper_pearson, curve, kaplan_meier, least_fpr, median_time


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, 0.0, 0.30850), (10, 10, 0.69150, 1.0), (1, 10, 0.00253, 0.44502), (5, 10, 0.18709, 0.81291), (0, 0, 0.0, 1.0)],
)
def test_clopper_pearson_has_the_tabled_values(hits, n, low, high):
    interval = clopper_pearson(hits, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-5)


def test_no_proportion_is_refused():
    with pytest.raises(BadInput, match="no proportion"):
        clopper_pearson(11, 10)


def test_the_smallest_rate_a_sample_can_vouch_for_is_the_bound_with_none_seen():
    assert least_fpr(500) == pytest.approx(1 - 0.025 ** (1 / 500))
    assert least_fpr(500) > 0.001
    assert least_fpr(4000) < 0.001


def test_kaplan_meier_by_hand():
    # Six rows: one breaks at 1, one is lost at 2, two break at 3, one at 5, one is lost at 6.
    times, events = [1, 2, 3, 3, 5, 6], [True, False, True, True, True, False]
    at, broken, error = kaplan_meier(times, events)
    alive = [5 / 6, 5 / 6 * 2 / 4, 5 / 6 * 2 / 4 * 1 / 2]
    assert at.tolist() == [1, 3, 5]
    assert broken == pytest.approx([1 - s for s in alive])
    greenwood = np.cumsum([1 / (6 * 5), 2 / (4 * 2), 1 / (2 * 1)])
    assert error == pytest.approx(np.array(alive) * np.sqrt(greenwood))
    assert median_time(times, events) == 3
    assert [point[0] for point in curve(times, events)] == [1, 3, 5]


def test_the_median_is_censored_when_fewer_than_half_broke():
    assert median_time([5, 9, 9], [True, False, False]) is None
    assert median_time([5, 9], [True, False]) == 5


def test_the_bootstrap_covers_the_mean_and_repeats():
    values = np.random.default_rng(0).normal(3, 1, 400)
    interval = bootstrap(values)
    assert interval == bootstrap(values)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / np.sqrt(400), rel=0.15)
    assert interval.low < values.mean() < interval.high


def test_the_area_counts_ties_as_half():
    truth = np.array([True, True, False, False])
    assert area(np.array([4.0, 3, 2, 1]), truth) == 1
    assert area(np.ones(4), truth) == 0.5
    assert area(np.array([2.0, 1, 2, 1]), truth) == 0.5


def test_the_area_of_two_gaussians_is_the_closed_form():
    rng, n = np.random.default_rng(0), 4000  # mu = 1: area Phi(1 / sqrt 2) = .7602, advantage 2 Phi(1 / 2) - 1 = .3829
    score = np.r_[rng.normal(1, 1, n), rng.normal(0, 1, n)]
    truth = np.arange(2 * n) < n
    assert area(score, truth) == pytest.approx(0.7602, abs=0.016)
    rate, interval = advantage(score > 0.5, truth)
    assert rate == pytest.approx(0.3829, abs=0.032)
    assert interval.low < 0.3829 < interval.high
    assert tpr_at(score, truth, 0.001)["tpr"] == pytest.approx(0.0183, abs=0.02)


def test_a_rate_the_others_cannot_vouch_for_is_refused():
    truth = np.arange(1000) < 500
    assert "refused" in tpr_at(np.arange(1000.0), truth, 0.001)
    found = tpr_at(-np.arange(1000.0), truth, 0.01)
    assert found["tpr"] == 1.0


def test_ties_at_the_threshold_are_never_let_through():
    truth = np.arange(1000) < 500
    assert tpr_at(np.ones(1000), truth, 0.01)["tpr"] == 0.0


def test_the_roc_starts_at_nothing_and_ends_at_everything():
    truth = np.arange(200) < 100
    points = roc(np.random.default_rng(0).normal(truth.astype(float), 1), truth)
    assert points[0][:2] == (0.0, 0.0)
    assert points[-1][:2] == (1.0, 1.0)
    assert all(low <= tpr <= high for _, tpr, low, high in points)
    assert len(points) <= 61
