"""What an auditor reads of a membership attack: every number against a second route, and refusals where there are too few."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta

from casemate.core.case import Guesses, Infer
from casemate.core.errors import BadInput
from casemate.judges import infer, roc


def sides(members, others, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.r_[rng.normal(shift, 1, members), rng.normal(0, 1, others)], np.arange(members + others) < members


def test_none_of_a_thousand_vouches_for_three_in_a_thousand():
    assert roc.resolution(1000) == pytest.approx(0.0030, abs=5e-5)
    assert roc.resolution(3000) == pytest.approx(0.0010, abs=5e-5)
    assert roc.resolution(1000) == pytest.approx(beta.ppf(0.95, 1, 1000))
    assert roc.resolution(0) == 1.0


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001, 0.0001])
def test_the_number_needed_is_the_smallest_that_is_enough(rate):
    n = roc.needed(rate)
    assert roc.resolution(n) <= rate * (1 + 1e-9)
    assert roc.resolution(n - 1) > rate
    score, truth = sides(50, n - 1)
    assert roc.tpr_at(score, truth, rate)["needed"] == n
    score, truth = sides(50, n)
    assert "refused" not in roc.tpr_at(score, truth, rate)


def test_too_few_members_are_refused_too():
    score, truth = sides(16, 1000)
    assert roc.tpr_at(score, truth, 0.1)["needed"] == 17
    with pytest.raises(BadInput, match="between 0 and 1"):
        roc.needed(0.0)


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_the_rate_at_a_rate_is_the_loosest_threshold_of_all(digits):
    score, truth = sides(300, 400)
    score = score.round(digits)  # with 0 digits nearly everything is tied
    for fpr in (0.01, 0.1, 0.5):
        allowed = [(score[truth] >= t).mean() for t in np.r_[np.unique(score), np.inf] if (score[~truth] >= t).mean() <= fpr]
        found = roc.tpr_at(score, truth, fpr)
        assert found["tpr"] == max(allowed)
        assert found["fpr"] <= fpr
        if found["threshold"] is not None:
            assert (score[truth] >= found["threshold"]).mean() == found["tpr"]


def test_delong_is_its_definition_with_ties():
    score, truth = sides(40, 30)
    score = score.round(1)
    a, b = score[truth][:, None], score[~truth][None]
    wins = (a > b) + 0.5 * (a == b)
    variance = wins.mean(1).var(ddof=1) / 40 + wins.mean(0).var(ddof=1) / 30
    assert roc.delong(score, truth) == pytest.approx((wins.mean(), variance), abs=1e-12)


def test_intervals_of_the_area_hold_the_truth_as_often_as_they_say():
    truth_area, inside = 0.5 * math.erfc(-0.5), 0  # Phi(1 / sqrt 2)
    for seed in range(400):
        interval = roc.area_interval(*sides(60, 60, seed=seed))
        inside += interval.low <= truth_area <= interval.high
    assert inside / 400 == pytest.approx(0.95, abs=0.025)


def test_both_intervals_of_the_area_agree_on_many():
    score, truth = sides(800, 800)
    a, b = roc.area_interval(score, truth), roc.area_interval(score, truth, "bootstrap")
    assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=0.006)


def test_perfect_separation_is_no_certainty():
    truth = np.arange(40) < 20
    interval = roc.area_interval(truth.astype(float), truth)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(0.025 ** (1 / 20))
    assert roc.area_interval(-truth.astype(float), truth).low == 0.0
    assert roc.area_interval(np.arange(3.0), np.array([True, False, False])).low == 0.0


def test_the_curve_resolves_the_low_rates():
    score, truth = sides(20_000, 20_000)
    points = roc.roc(score, truth)
    low = [x for x, *_ in points if 0 < x < 0.01]
    assert len(low) > 20
    assert min(low) <= 2e-4
    for x, y, lower, upper in points[1:]:
        assert y == pytest.approx(roc.tpr_at(score, truth, x)["tpr"] if 2e-4 < x < 1 else y, abs=1e-12)
        assert lower <= y <= upper
    assert [p[0] for p in points] == sorted(p[0] for p in points)


def test_a_curve_of_ties_is_one_step():
    truth = np.arange(10) < 5
    assert [p[:2] for p in roc.roc(np.ones(10), truth)] == [(0.0, 0.0), (1.0, 1.0)]


def test_how_often_member_is_right_depends_on_the_prior():
    truth = np.arange(2000) < 1000
    member = np.r_[np.arange(1000) < 500, np.arange(1000) < 50]
    for prior in (0.5, 0.01):
        value, interval = roc.ppv(member, truth, prior)
        assert value == pytest.approx(prior * 0.5 / (prior * 0.5 + (1 - prior) * 0.05))
        assert interval.low < value < interval.high
    assert roc.ppv(member, truth, 0.5)[0] == pytest.approx(500 / 550)
    assert roc.ppv(np.zeros(2000, bool), truth, 0.5)[0] is None
    balanced, interval = roc.balanced_accuracy(member, truth)
    assert balanced == pytest.approx((0.5 + 0.95) / 2)
    assert interval.low < balanced < interval.high
    with pytest.raises(BadInput, match="prior=1"):
        roc.ppv(member, truth, 1.0)


def test_a_slice_with_too_few_says_how_many_it_takes():
    score, truth = sides(100, 100)
    groups = np.where(np.arange(200) % 20 == 0, "rare", "common")
    found = roc.slices(score, truth, score > 0.5, groups)
    assert found["rare"]["needed"] == 17
    assert found["common"]["interval"].low < found["common"]["advantage"] < found["common"]["interval"].high


def test_the_most_exposed_are_the_members_that_stand_out():
    score, truth = np.array([1.0, 9, 5, 8, 2]), np.array([True, True, True, False, False])
    assert roc.most_exposed(score, truth, 2) == [
        {"row": 1, "score": 9.0, "others_as_high": 0.0}, {"row": 2, "score": 5.0, "others_as_high": 0.5},
    ]  # fmt: skip


def judged(x, y=None, truth=None, score=None):
    n = len(x)
    truth = np.arange(n) < n // 2 if truth is None else truth
    score = np.random.default_rng(0).normal(size=n) if score is None else score
    y = np.zeros(n, int) if y is None else y
    return infer.judge(Infer(x=x, y=y, truth=truth), Guesses(score=score, member=score > 0), n)


def check(opinion, number):
    return next(c for c in opinion.checks if c.number == number)


def test_records_on_both_sides_are_found_and_said():
    x = np.random.default_rng(0).normal(size=(200, 3))
    assert check(judged(x), 45).ok
    x[100] = x[3]
    few = check(judged(x), 45)
    assert (few.ok, few.fatal) == (False, False)
    assert "1 of 100" in few.detail
    x[100:110] = x[:10]
    assert check(judged(x), 45).fatal
    y = np.r_[np.zeros(100, int), np.ones(100, int)]  # other labels: other records
    assert check(judged(x, y), 45).ok


def test_repeated_records_are_found_in_every_kind_of_input():
    pandas = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    base = np.arange(60.0).reshape(30, 2)
    base[7] = base[2]
    base[9] = [-0.0, 1.0]  # the first row, with the other zero
    words = [f"{a} {abs(b)}" for a, b in (base + 0.0).tolist()]
    frame = pandas.DataFrame({"a": base[:, 0] + 0.0, "b": words})
    for x in (base, torch.tensor(base), frame, words):
        found = check(judged(x), 46)
        assert (found.ok, found.fatal) == (False, False)
        assert found.detail.startswith("2 of 30")


def test_the_opinion_holds_all_an_auditor_asks_for():
    score, truth = sides(500, 500)
    x = np.arange(1000.0)[:, None]
    extra = judged(x, np.arange(1000) % 3, truth, score).extra
    assert extra["resolution"] == pytest.approx(0.00598, abs=1e-4)
    assert extra["tpr_at_0.001_fpr"]["needed"] == 2995
    assert extra["tpr_at_0.1_fpr"]["interval"].low < extra["tpr_at_0.1_fpr"]["tpr"]
    assert set(extra["by_class"]) == {"0", "1", "2"}
    assert len(extra["most_exposed"]) == 10
    assert extra["auc_interval"].low < extra["auc"] < extra["auc_interval"].high
    assert set(extra["ppv"]) == {"0.5", "0.1", "0.01"}
    assert "by_group" not in extra


def test_groups_that_the_case_names_are_judged_apart():
    score, truth = sides(200, 200)
    first = np.arange(400) % 2 == 0
    score[first & truth] += 3  # one group leaks far more

    names = np.where(first, "a", "b")
    case = Infer(x=np.arange(400.0)[:, None], y=np.zeros(400, int), truth=truth, group=names)
    found = infer.judge(case, Guesses(score=score, member=score > 1), 400).extra["by_group"]
    assert found["a"]["interval"].low > found["b"]["interval"].high
    with pytest.raises(BadInput, match="one name for each"):
        infer.judge(replace(case, group=np.zeros(3)), Guesses(score=score, member=score > 1), 400)


def guesses_on(x, y, truth, member, score=None):
    claim = Guesses(score=member.astype(float) if score is None else score, member=member)
    return infer.judge(Infer(x=x, y=y, truth=truth), claim, len(x))


def test_records_handed_in_several_times_do_not_narrow_the_interval():
    rng = np.random.default_rng(3)
    x, truth = rng.normal(size=(60, 3)), np.arange(60) % 2 == 0
    y, member = np.arange(60) // 2 % 2, truth ^ (rng.random(60) < 0.42)
    once = guesses_on(x, y, truth, member)
    often = guesses_on(*(np.concatenate([part] * 20) for part in (x, y, truth, member)))
    assert (often.rate, often.interval, often.n, often.broken) == (once.rate, once.interval, once.n, once.broken)
    assert once.rate > 0
    assert not often.broken


def test_guesses_that_could_not_have_reached_the_line_decide_nothing():
    rng = np.random.default_rng(4)
    x, y, truth = rng.normal(size=(1000, 2)), np.arange(1000) // 2 % 2, np.arange(1000) % 2 == 0
    few = np.arange(1000) < 20
    for member in (few, ~few, np.zeros(1000, bool), np.ones(1000, bool)):
        found = guesses_on(x, y, truth, member, rng.normal(size=1000))
        assert not found.broken
        assert "the advantage would be" in found.undecided
    assert guesses_on(x, y, truth, rng.random(1000) < 0.5).undecided == ""


def test_members_told_by_their_class_alone_are_no_leak():
    rng = np.random.default_rng(5)
    x, truth = rng.normal(size=(600, 2)), np.arange(600) < 300
    y = np.where(rng.random(600) < np.where(truth, 0.8, 0.3), 1, 0)
    found = guesses_on(x, y, truth, y == 1)
    assert found.interval.low > 0.3
    assert not found.broken
    assert found.baseline.name == "guess by class"
    assert "differ in their classes" in found.undecided
    assert guesses_on(x, y, truth, truth).broken  # more than classes give away
