"""The judge of changed inputs: trusts nothing, repairs nothing, and asks what it must and no more."""

import numpy as np
import pandas
import pytest
import torch

import casemate as cm
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter
from casemate.core.random import RowRandom
from casemate.judges.evade import VOTES, judge, right_at_start

BALL = cm.Ball("linf", 0.2)


def endpoint(function=lambda x: (np.asarray(x)[:, 0] > 0.5).astype(int), **options):
    return Endpoint(cm.wrap(function, **{"classes": 2, **options}))


def case(x, y, **options):
    return cm.Evade(np.asarray(x, float).reshape(-1, 1), np.asarray(y), BALL, **options)


def test_rows_wrong_or_rejected_at_the_start_are_told_apart():
    door, one = endpoint(lambda x: [None if v > 0.9 else int(v > 0.5) for v in np.asarray(x)[:, 0]]), case([0.1, 0.6, 0.7, 0.95], [0, 1, 0, 1])
    meter = Meter(one.row)
    right, label = right_at_start(one, door, meter)
    assert right.tolist() == [True, True, False, False] and label.tolist() == [0, 1, 1, -1] and meter.total["judge"] == 4


@pytest.mark.parametrize("make", [np.asarray, list, torch.as_tensor, pandas.Series], ids=["array", "list", "tensor", "series"])
def test_labels_of_any_kind_are_compared_regression(make):
    one = cm.Evade(np.array([[0.1], [0.7]]), make([0, 0]), BALL)
    assert right_at_start(one, endpoint(), Meter(one.row))[0].tolist() == [True, False]


def test_a_claim_outside_fails_with_infinite_distance_and_is_never_sent_regression():
    sent = []

    def model(x):
        sent.append(np.asarray(x)[:, 0].tolist())
        assert np.isfinite(x).all()
        return (np.asarray(x)[:, 0] > 0.5).astype(int)

    one, meter = case([0.4, 0.4, 0.4], [0, 0, 0]), Meter(np.arange(3))
    found = judge(one, np.array([[np.nan], [0.55], [0.9]]), endpoint(model), meter)
    assert found.met.tolist() == [False, True, False] and found.inside.tolist() == [False, True, False]
    assert found.distance.tolist() == [np.inf, pytest.approx(0.15), np.inf] and found.label.tolist() == [0, 1, 0]
    assert meter.total["judge"] == 3 == sum(map(len, sent))


def test_a_random_target_is_voted_on_with_fresh_draws():
    def flip(x, rows, draw):
        return x + torch.as_tensor(RowRandom(0).uniform(rows, draw, (1,)) - 0.5).to(x.dtype)

    net = torch.nn.Linear(1, 2).double().eval()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.0], [1.0]])), net.bias.copy_(torch.tensor([0.5, 0.0]))
    door = Endpoint(cm.wrap(net, stages=(cm.Stage(name="flip", forward=flip, random=True),)))
    one, meter = case(np.full(40, 0.4), np.zeros(40, int)), Meter(np.arange(40))
    low, high = judge(one, np.full((40, 1), 0.3), door, meter), judge(one, np.full((40, 1), 0.6), door, meter)
    assert low.met.sum() <= 4 < 25 < high.met.sum() and meter.total["judge"] == 2 * 40 * VOTES


def test_a_regression_has_no_reject_regression():
    door = Endpoint(cm.wrap(lambda x: np.asarray(x, float)[:, 0] - 1.0))
    one = cm.Evade(np.array([[0.0], [0.5]]), np.array([-1.0, -0.5]), BALL, goal=cm.Shift(0.1))
    assert right_at_start(one, door, Meter(one.row))[0].tolist() == [True, True]


def test_a_named_decision_is_attacked_from_any_other():
    one = case([0.1, 0.6, 0.7], [0, 0, 1], goal=cm.Becomes(1))
    assert right_at_start(one, endpoint(), Meter(one.row))[0].tolist() == [True, False, False]
