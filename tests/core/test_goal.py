"""Goals: the same on numpy and torch, rejects included; a loss that is positive where an argmax would meet the goal."""

import numpy as np
import pytest
import torch

from casemate.core.errors import BadInput
from casemate.core.goal import Becomes, Routed, Shift, Vanish, Wrong
from casemate.core.target import REJECT

GOALS = [Wrong(), Wrong(reject_counts=True), Becomes(2), Routed(), Routed(to=(0, 2)), Routed(to=(REJECT,)), Vanish(), Vanish(nothing=1)]
DECISION = np.array([0, 1, 2, REJECT, 2, 1, 0, REJECT])
Y = np.array([0, 0, 2, 1, 1, 1, 2, 2])


@pytest.mark.parametrize("goal", GOALS, ids=repr)
def test_met_is_the_same_on_numpy_and_torch(goal):
    on_torch = goal.met(torch.as_tensor(DECISION), torch.as_tensor(Y))
    np.testing.assert_array_equal(np.asarray(goal.met(DECISION, Y)), on_torch.numpy())


@pytest.mark.parametrize(("goal", "met"), [
    (Wrong(), [1, 3, 5]), (Wrong(reject_counts=True), [1, 2, 3, 5]), (Becomes(2), [5]), (Routed(), [1, 3, 5]),
    (Routed(to=(2,)), [3]), (Routed(to=(REJECT,)), [2]), (Vanish(), [0]),
], ids=repr)  # fmt: skip
def test_what_counts_as_success(goal, met):
    decision, y = np.array([0, 1, REJECT, 2, 1, 2]), np.array([0, 0, 1, 1, 1, 1])
    if isinstance(goal, Becomes):
        decision[3] = 1
    if goal == Routed(to=(2,)):
        decision[5] = 1
    assert np.flatnonzero(goal.met(decision, y)).tolist() == met


def test_a_reject_is_no_route_regression():
    assert not Routed().met(np.array([REJECT]), np.array([1])).any()


@pytest.mark.parametrize("goal", [Wrong(), Becomes(1), Vanish(2)], ids=repr)
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_margin_is_positive_where_an_argmax_meets_the_goal(goal, kind):
    logits = np.random.default_rng(1).normal(size=(200, 4)) * 1e3
    y = np.random.default_rng(2).integers(0, 4, 200)
    make = torch.as_tensor if kind == "torch" else np.asarray
    loss = np.asarray(goal.loss(make(logits), make(y)))
    np.testing.assert_array_equal(loss > 0, np.asarray(goal.met(logits.argmax(1), y)))


@pytest.mark.parametrize("goal", [Wrong(), Becomes(1), Routed(), Vanish(3)], ids=repr)
def test_the_margin_does_not_move_with_the_logits(goal):
    # Masking by multiplying (or by a large number) would: every logit far below zero makes the masked one the best.
    logits, y = np.random.default_rng(1).normal(size=(50, 4)), np.random.default_rng(2).integers(0, 4, 50)
    want = goal.loss(logits, y)
    for shift in (-1e6, 1e6):
        np.testing.assert_allclose(goal.loss(logits + shift, y), want, atol=1e-8)
        np.testing.assert_allclose(goal.loss(torch.as_tensor(logits + shift), torch.as_tensor(y)), want, atol=1e-8)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.float64])
def test_labels_of_any_number_type_index_the_logits_regression(dtype):
    logits, y = np.eye(3), np.array([0, 1, 2]).astype(dtype)
    np.testing.assert_allclose(Wrong().loss(logits, y), -1)
    np.testing.assert_allclose(Wrong().loss(torch.as_tensor(logits), torch.as_tensor(y)), -1)


def test_a_target_class_may_be_a_numpy_number_regression():
    np.testing.assert_allclose(Becomes(np.int64(1)).loss(np.eye(3), np.zeros(3, int)), [-1, 1, -1])


@pytest.mark.parametrize("delta", [0.5, -0.5])
def test_a_shift_has_a_direction(delta):
    goal, y = Shift(delta), np.array([1.0, 1.0, 1.0])
    decision = np.array([1.0, 1.5, 0.5])
    met = [False, delta > 0, delta < 0]
    assert goal.met(decision, y).tolist() == met
    np.testing.assert_array_equal(goal.loss(decision[:, None], y) >= 0, met)
    np.testing.assert_array_equal(np.asarray(goal.met(torch.as_tensor(decision), torch.as_tensor(y))), met)
    np.testing.assert_allclose(goal.loss(torch.as_tensor(decision)[:, None], torch.as_tensor(y)), goal.loss(decision[:, None], y))


@pytest.mark.parametrize("make", [
    lambda: Becomes("pay"), lambda: Becomes(None), lambda: Becomes(1.5), lambda: Becomes(True), lambda: Routed(("pay",)), lambda: Routed(2),
    lambda: Vanish("nothing"),
])  # fmt: skip
def test_a_goal_that_no_decision_can_equal_is_refused_regression(make):
    """`Becomes("pay")` was never met: a system that lets everybody in resisted."""
    with pytest.raises(BadInput, match=r"is no (decision|tuple)"):
        make()
