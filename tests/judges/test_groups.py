"""Success by group: exact counts, intervals that hold together, and refusals."""

import numpy as np
import pytest

from casemate.core.errors import BadInput
from casemate.judges.groups import rates
from casemate.judges.statistics import clopper_pearson


def test_two_groups_have_their_own_exact_rates_and_the_gap_between_them():
    success = np.r_[np.ones(80), np.zeros(20), np.ones(20), np.zeros(80)].astype(bool)
    found = rates(success, np.repeat(["a", "b"], 100))
    assert found["groups"]["a"]["rate"] == 0.8 and found["groups"]["b"]["n"] == 100
    own = clopper_pearson(80, 100, 0.975)
    assert found["groups"]["a"]["interval"] == own
    gap = found["gap"]
    assert (gap["most"], gap["least"], gap["differs"]) == ("a", "b", True)
    assert gap["difference"] == pytest.approx(0.6)
    assert gap["interval"].low == pytest.approx(own.low - clopper_pearson(20, 100, 0.975).high)


def test_a_group_too_small_is_refused_with_what_it_needs_and_takes_no_part():
    found = rates([True] * 12 + [False] * 3, ["a"] * 12 + ["b"] * 3)
    assert found["groups"]["b"] == {"n": 3, "refused": "3 rows; 10 are enough", "needed": 10}
    assert found["gap"] is None


def test_alike_groups_seldom_differ():
    rng = np.random.default_rng(0)
    names = np.repeat(["a", "b", "c", "d"], 60)
    said = sum(rates(rng.random(240) < 0.5, names)["gap"]["differs"] for _ in range(400))
    assert said <= 20  # one in twenty, over all pairs at once


def test_one_group_for_each_outcome():
    with pytest.raises(BadInput, match="one group for each outcome"):
        rates([True, False], ["a"])
