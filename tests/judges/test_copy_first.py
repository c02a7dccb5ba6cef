"""A constant answer that happens to agree often is no copy, so it is not what the copy cost."""

import numpy as np

from casemate.core.case import Copy, Holdout, Replica
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter
from casemate.judges.copy import judge
from casemate.targets.wrap import wrap


def test_the_cost_of_a_copy_is_that_of_the_first_one_better_than_the_majority():
    x = np.arange(200.0).reshape(-1, 1)
    target = wrap(lambda rows: (np.asarray(rows)[:, 0] < 10).astype(int), classes=2, version="1")
    constant = Replica(labels=lambda rows: np.zeros(len(rows), int))
    exact = Replica(labels=lambda rows: (np.asarray(rows)[:, 0] < 10).astype(int))
    case = Copy(truth=Holdout(x=x, y=np.zeros(200, int)))
    opinion = judge(case, [(1, constant), (40, exact)], Endpoint(target), Meter(np.arange(200)))
    assert opinion.broken
    assert opinion.queries == 40
