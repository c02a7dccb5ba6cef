"""A domain that is none gives an attack nothing to ask about, and must not end as resistance."""

import numpy as np
import pytest

import casemate as cm
from casemate.core.case import Copy, Holdout
from casemate.core.errors import BadInput

POOL = np.zeros((5, 3))
TRUTH = Holdout(x=POOL, y=np.zeros(5, int))


@pytest.mark.parametrize(
    ("low", "high", "more", "words"),
    [
        ([1, 1, 1], [0, 0, 0], {}, "low below high"),
        ([0, 2, 0], [1, 1, 1], {}, "first in column 1"),
        ([1, 1, 1], [1, 1, 1], {}, "low below high"),
        ([0, 0], [1, 1, 1], {}, "low has 2 numbers and high has 3; give 3"),
        ([0, 0], [1, 1], {"pool": POOL}, "give 3 of each"),
        ([0, 0], [1, 1], {"truth": TRUTH}, "give 3 of each"),
        (0, 1, {"truth": TRUTH}, "give 3 of each"),
        ([0, 0, 0], None, {}, "both ends"),
        (None, [0, 0, 0], {"pool": POOL}, "both ends"),
        ([0, np.nan, 0], [1, 1, 1], {}, "one finite number"),
        ([0, 0, 0], [1, np.inf, 1], {}, "one finite number"),
        ([], [], {}, "one finite number"),
        ("low", [1, 1, 1], {}, "one number for each column"),
    ],
)
def test_a_copy_with_no_domain_is_refused(low, high, more, words):
    with pytest.raises(BadInput, match=words):
        cm.Copy(low=low, high=high, **more)


@pytest.mark.parametrize(
    ("low", "high", "more"),
    [
        ([0, 0, 0], [1, 0, 1], {}),  # a column that never moves
        (0, 1, {"pool": POOL}),
        (np.zeros((2, 2)), np.ones((2, 2)), {"pool": np.zeros((5, 2, 2))}),
        ([0, 0, 0], [1, 1, 1], {"pool": [[0, 0, 0]]}),
        (None, None, {}),
    ],
)
def test_a_domain_is_kept_as_it_was_given(low, high, more):
    case = Copy(low=low, high=high, **more)
    assert case.low is low and case.blind().high is high


def test_a_frame_has_a_domain_for_each_column():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(BadInput, match="give 2 of each"):
        Copy(pool=pandas.DataFrame({"a": [1.0], "b": [2.0]}), low=[0, 0, 0], high=[1, 1, 1])
