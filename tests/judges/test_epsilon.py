"""Lower bounds on epsilon: figures of the study to four digits, and mechanisms whose epsilon is known."""

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from casemate.core.errors import BadInput
from casemate.judges import epsilon
from casemate.judges.epsilon import audit, gaussian, multi_run, one_run, one_run_gaussian

SPEC = importlib.util.spec_from_file_location("auditor", Path(__file__).parents[2] / "benchmarks" / "auditor.py")
auditor = importlib.util.module_from_spec(SPEC)
sys.modules["auditor"] = auditor
SPEC.loader.exec_module(auditor)

ONE_RUN = [
    (1000, 1000, 731, 0.8806, 0.8803), (1000, 100, 98, 2.7232, 2.7110), (1000, 100, 100, 3.4930, 3.4654),
    (5000, 500, 490, 3.3563, 3.3357), (100, 100, 50, 0.0, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("records", "guesses", "right", "pure", "approximate"), ONE_RUN)
def test_one_run_has_the_figures_of_the_study(records, guesses, right, pure, approximate):
    assert one_run(records, guesses, right).epsilon == pytest.approx(pure, abs=5e-5)
    found = one_run(records, guesses, right, delta=1e-5)
    assert found.epsilon == pytest.approx(approximate, abs=5e-5)
    assert found.epsilon <= found.cap == one_run(records, guesses, guesses, delta=1e-5).epsilon


def test_the_delta_of_one_run_is_spent_in_the_worst_way():
    # Slow and plain: the largest average of the tail mass just short of v, term by term.
    m, r, v, eps, delta = 200, 60, 50, 1.0, 1e-4
    p, worst = 1 / (1 + np.exp(-eps)), 0.0
    for i in range(1, v + 1):
        worst = max(worst, sum(binom.pmf(v - j, r, p) for j in range(1, i + 1)) / i)
    assert epsilon.one_run_p(m, r, v, eps, delta) == pytest.approx(binom.sf(v - 1, r, p) + 2 * m * delta * worst)


@pytest.mark.parametrize(("hits", "false", "value"), [(500, 0, 4.846), (1000, 0, 5.6006), (100, 1, 2.693)])
def test_multi_run_has_the_figures_of_the_study(hits, false, value):
    found = multi_run(hits, 1000, false, 1000)
    assert found.epsilon == pytest.approx(value, abs=6e-4)
    assert found.cap == pytest.approx(5.60, abs=1e-3)


def test_an_attack_that_is_nearly_always_yes_shows_nothing_by_exact_bounds():
    assert multi_run(487, 487, 512, 513, alpha=0.1, delta=1e-5).epsilon == 0.0


def test_a_gaussian_trade_off_shows_more_from_the_same_counts():
    plain, assumed = multi_run(400, 1000, 5, 1000, delta=1e-5), gaussian(400, 1000, 5, 1000, delta=1e-5)
    assert assumed.epsilon > plain.epsilon
    assert assumed.cap > assumed.epsilon
    assert "Gaussian" in assumed.method
    assert epsilon.delta_of_mu(assumed.mu, assumed.epsilon) == pytest.approx(1e-5, rel=1e-6)
    for call in (gaussian, lambda *a, delta: one_run_gaussian(*a[:2], a[2], delta=delta)):
        with pytest.raises(BadInput, match="delta=0"):
            call(1000, 1000, 500, 1000, delta=0)


def test_mu_stays_below_the_truth_in_95_of_100_audits():
    rng, n, mu = np.random.default_rng(0), 500, 1.2
    hits, false = ((rng.normal(shift, 1, (400, n)) >= 0.8).sum(1) for shift in (mu, 0))
    found = epsilon.mu_from_counts(hits, n, false, n, 0.05)
    assert (found > mu).mean() <= 0.05
    assert np.median(found) > 0.75 * mu


def test_many_thresholds_get_the_same_bounds_as_one():
    hits, false = np.arange(301), np.arange(301)[::-1]
    together = epsilon.from_counts(hits, 300, false, 300, 0.05, 1e-3)
    for i in (0, 1, 150, 299, 300):
        assert together[i] == multi_run(int(hits[i]), 300, int(false[i]), 300, delta=1e-3).epsilon


RESPONSE, LAPLACE = (1.0, 2000), (2.0, 2000)


@pytest.mark.parametrize(("name", "setting"), [("response", RESPONSE), ("laplace", LAPLACE)])
def test_the_bound_exceeds_the_truth_in_at_most_one_audit_of_twenty(name, setting):
    lines = {line.choice: line for line in auditor.calibrate(name, getattr(auditor, name), *setting, runs=400)}
    for choice in ("split", "bonferroni", "explicit"):
        assert lines[choice].exceeded <= 0.05
        assert 0.7 * setting[0] < lines[choice].median < setting[0] < lines[choice].cap
    if name == "laplace":  # many thresholds, all of them tight: the best of them is a lie
        assert lines["naive best, invalid"].exceeded > 0.1


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_one_run_on_randomised_response_is_wrong_at_most_as_often_as_it_says(truth):
    line = auditor.calibrate_one_run(truth, 1000)
    assert 0.02 < line.exceeded <= 0.05  # not far below either: it is tight
    assert line.median > 0.7 * truth


def test_one_run_with_a_gaussian_is_tighter_and_still_holds():
    plain, assumed = auditor.calibrate_gaussian(1.0, 1000, 100, runs=200)
    assert assumed.exceeded <= 0.05
    assert plain.median < assumed.median < assumed.epsilon


def test_an_audit_says_how_its_threshold_was_chosen():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    split = audit(inside, outside)
    assert (split.choice, split.n) == ("split", 300)  # half of each world was spent on the choice
    assert split == audit(inside, outside)
    several = audit(inside, outside, choice="bonferroni", thresholds=[0.0, 1.0, 2.0])
    assert (several.thresholds, several.alpha) == (3, 0.05)
    one = audit(inside, outside, choice="explicit", thresholds=several.threshold)
    assert one.epsilon > several.epsilon
    naive = audit(inside, outside, choice="naive best, invalid")
    assert "invalid" in naive.choice
    assert naive.epsilon >= one.epsilon
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.epsilon = 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(choice="bonferroni"), "fixed before the scores were seen"),
        (dict(choice="explicit", thresholds=[0, 1]), "one threshold"),
        (dict(alpha=0.0), "alpha lies between"),
        (dict(delta=1.0), "delta from 0"),
    ],
)
def test_what_cannot_be_audited_is_refused(arguments, message):
    with pytest.raises(BadInput, match=message):
        audit(np.arange(5.0), np.arange(5.0), **arguments)


def test_impossible_counts_are_refused():
    with pytest.raises(BadInput, match="11 of 10"):
        multi_run(11, 10, 0, 10)
    with pytest.raises(BadInput, match="20 of 10"):
        one_run(10, 20, 5)
    with pytest.raises(BadInput, match="finite scores"):
        audit([1.0, np.nan], [0.0, 1.0])
