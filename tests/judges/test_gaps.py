"""A difference between groups is said only where chance is excluded for all pairs of groups at once."""

from __future__ import annotations

import numpy as np
import pytest

from casemate.judges.gaps import largest


def drawn(hits, false, each, seed=0):
    """Groups of `each` members and as many others, named with these chances."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(hits)), 2 * each)
    truth = np.tile(np.arange(2 * each) < each, len(hits))
    chance = np.where(truth, np.repeat(hits, 2 * each), np.repeat(false, 2 * each))
    return rng.random(len(truth)) < chance, truth, groups


@pytest.mark.parametrize(
    ("hits", "false", "each"),
    [
        ([0.6] * 3, [0.5] * 3, 50),
        ([0.6] * 10, [0.5] * 10, 30),
        ([0.3, 0.9], [0.2, 0.8], 100),  # other rates, the same advantage: no difference
        ([1.0] * 4, [0.0] * 4, 20),
    ],
)
def test_groups_that_leak_alike_are_seldom_said_to_differ(hits, false, each):
    found = [largest(*drawn(hits, false, each, seed))["differs"] for seed in range(150)]
    assert np.mean(found) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 150)


def test_a_group_that_leaks_more_is_found_and_named():
    found = largest(*drawn([0.55, 0.55, 0.9], [0.5, 0.5, 0.5], 150))
    assert found["differs"] and found["most"] == "2" and found["least"] in "01" and found["pairs"] == 3
    assert found["interval"].low > 0 and found["interval"].low < found["difference"] < found["interval"].high


def test_the_interval_is_the_one_worked_out_by_hand():
    # 20 of 20 and 0 of 20 in one group, 10 of 20 and 10 of 20 in the other; two-sided 95 % ends by Clopper-Pearson.
    truth = np.tile(np.arange(40) < 20, 2)
    member = np.r_[truth[:40], np.tile([True, False], 20)]
    found = largest(member, truth, np.repeat(["a", "b"], 40))
    none, half = 1 - 0.025 ** (1 / 20), 0.7280424  # 0 of 20 allows the first; the upper end of 10 of 20
    assert found["difference"] == 1.0
    assert found["interval"].low == pytest.approx(1 - np.sqrt(2 * none**2 + 2 * (half - 0.5) ** 2), abs=1e-4)


def test_small_groups_are_not_compared():
    member, truth, groups = drawn([0.9, 0.1], [0.0, 0.0], 16)
    assert largest(member, truth, groups) is None
