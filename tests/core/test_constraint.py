"""Constraints: what `project` makes, `check` takes, strictly and in float64."""

import math

import numpy as np
import pandas
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from casemate.core.constraint import Ball
from casemate.core.errors import BadInput
from casemate.core.random import RowRandom
from casemate.core.sequences import Bytes
from casemate.core.table import Column, Table


@given(
    norm=st.sampled_from(["linf", "l2", "l1"]), radius=st.floats(0, 3) | st.floats(0, 1e-6) | st.just(math.inf),
    low=st.floats(-300, 0), width=st.floats(0.01, 600), single=st.booleans(), on_torch=st.booleans(),
    mixed=st.booleans(), size=st.integers(1, 40), seed=st.integers(0, 10**6),
)  # fmt: skip
@example(  # the origin is rounded to just above `high`, and the radius is less than two float32 steps there
    norm="linf", radius=8.06e-07, low=-6.5943580007744345, width=0.5, single=True, on_torch=False, mixed=False, size=1, seed=0
)
@example(
    norm="linf", radius=8.06e-07, low=-6.5943580007744345, width=0.5, single=True, on_torch=True, mixed=True, size=1, seed=0
)
@settings(max_examples=300, deadline=None)
def test_what_is_projected_is_inside_in_float64(norm, radius, low, width, single, on_torch, mixed, size, seed):
    ball, rng = Ball(norm, radius, low, low + width), np.random.default_rng(seed)
    dtype = np.float32 if single else np.float64
    origin = (low + width * rng.integers(0, 5, (4, size)) / 4).astype(dtype)  # often on the edge of the domain
    x = (origin + rng.normal(size=origin.shape) * rng.choice([1e-7, 0.1, 1, 1e3]) * max(min(radius, width), 1e-9)).astype(
        np.float64 if mixed else dtype
    )
    if on_torch:
        found = ball.project(torch.as_tensor(x), torch.as_tensor(origin)).numpy()
    else:
        found = ball.project(x, origin)
    assert found.dtype == x.dtype
    assert ball.check(found, origin).all()
    assert ball.check(found.astype(dtype), origin).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_point_inside_is_left_alone_and_one_outside_goes_as_far_as_it_may(norm):
    ball, origin = Ball(norm, 0.25), np.full((1, 4), 0.5)
    near = origin + 0.01
    np.testing.assert_array_equal(ball.project(near, origin), near)
    far = ball.project(origin + np.array([[0.3, 0.4, -0.3, 0.5]]), origin)
    assert ball.measure(far, origin)[0] == pytest.approx(0.25, rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 0.1, -0.1, 1 / 3, -6.0943580007744345, 2.1179039478302, 255.0, -1e-9, 1e9 + 0.1])
def test_bounds_are_the_outermost_numbers_of_the_precision(value):
    low, high = (float(end) for end in Ball("linf", 1.0, value, value + 7)._bounds(23))
    for bound, end, outwards in ((low, value, -np.inf), (high, value + 7, np.inf)):
        assert float(np.float32(bound)) == bound
        assert (bound >= end) if outwards < 0 else (bound <= end)
        beyond = float(np.nextafter(np.float32(bound), np.float32(outwards)))
        assert (beyond < end) if outwards < 0 else (beyond > end)


def test_a_bound_that_the_precision_rounds_outwards_is_kept_regression():
    ball = Ball("linf", 1.0, 0.0, 2.64)  # float32(2.64) > 2.64
    origin = np.full((1, 3), 2.0, np.float32)
    assert ball.check(ball.project(origin + np.float32(1), origin), origin).all()


def test_an_input_on_a_rounded_bound_is_no_change_regression():
    ball, origin = Ball("linf", 0.1, 0.0, 2.64), np.full((1, 3), 2.64, np.float32)
    assert ball.check(origin, origin).all()
    assert not ball.check(np.nextafter(origin, np.float32(9)), origin).any()


def test_without_a_radius_only_the_input_itself_is_inside():
    ball, origin = Ball("l2", 0.0), np.random.default_rng(0).random((3, 5)).astype(np.float32)
    np.testing.assert_array_equal(ball.project(origin + 1, origin), origin)
    assert ball.check(origin, origin).all() and not ball.check(origin + np.float32(1e-3), origin).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_outside(bad):
    claim = np.full((1, 2), 0.5)
    claim[0, 1] = bad
    assert not Ball("l2", math.inf).check(claim, np.full((1, 2), 0.5)).any()


@pytest.mark.parametrize(("norm", "values"), [("linf", 0.4), ("l2", 0.5), ("l1", 0.7)])
def test_measure(norm, values):
    assert Ball(norm, 1).measure(np.array([[0.3, 0.4]]), np.zeros((1, 2)))[0] == pytest.approx(values)


@pytest.mark.parametrize(("norm", "size"), [("linf", 3), ("l2", 6), ("l1", 6)])
def test_a_sample_is_uniform_in_the_ball(norm, size):
    ball, n = Ball(norm, 0.4, -1, 1), 4000
    points = ball.sample(np.zeros((n, size)), RowRandom(2), np.arange(n), 0)
    assert ball.check(points, np.zeros((n, size))).all()
    share = (ball.measure(points, np.zeros((n, size))) / 0.4) ** size  # the volume within a distance grows as its power
    assert stats.kstest(share, "uniform").pvalue > 1e-3
    assert abs(points.mean()) < 0.02
    if norm == "l1":  # by hand: |x_1| / r of a uniform point is Beta(1, d)
        assert stats.kstest(np.abs(points[:, 0]) / 0.4, stats.beta(1, size).cdf).pvalue > 1e-3


def test_a_sample_without_a_radius_fills_the_box():
    points = Ball("linf", math.inf, -2, 2).sample(np.zeros((2000, 2)), RowRandom(0), np.arange(2000), (1,))
    assert stats.kstest(points.ravel(), stats.uniform(-2, 4).cdf).pvalue > 1e-3


@pytest.mark.parametrize("settings_", [
    {"norm": "l3", "radius": 1}, {"norm": "l2", "radius": -1}, {"norm": "l2", "radius": math.nan},
    {"norm": "l2", "radius": 1, "low": 1, "high": 1}, {"norm": "l2", "radius": 1, "low": math.nan},
], ids=str)  # fmt: skip
def test_a_ball_that_cannot_be_is_refused(settings_):
    with pytest.raises(BadInput, match=r"allowed|empty|not a norm"):
        Ball(**settings_)


def test_an_endless_domain_is_refused_regression():
    # The rounding margin is a share of the domain: without bounds the radius came out as 0, and nothing was attacked.
    with pytest.raises(BadInput, match="finite"):
        Ball("linf", 0.1, -math.inf, math.inf)


FRAME = pandas.DataFrame({
    "age": [30, 40], "income": [10.0, np.nan], "job": ["clerk", None], "loans": [1, 2], "other": [5.0, np.nan],
})  # fmt: skip
TABLE = Table(columns={
    "age": Column(kind="int", immutable=True), "income": Column(kind="real", low=0, high=100, cost=2.0),
    "job": Column(kind="category", values=("clerk", "smith")), "loans": Column(kind="int", low=0, high=9, direction=1),
})  # fmt: skip


def changed(**values):
    frame = FRAME.copy()
    for name, value in values.items():
        frame[name] = [value, *frame[name].iloc[1:]]
    return frame


def test_an_unchanged_row_is_allowed_missing_values_and_all_regression():
    assert TABLE.check(FRAME.copy(), FRAME).tolist() == [True, True]
    np.testing.assert_array_equal(TABLE.measure(FRAME.copy(), FRAME), [0, 0])


@pytest.mark.parametrize(("values", "ok"), [
    ({"income": 60.0}, True), ({"income": 101.0}, False), ({"income": np.nan}, False), ({"age": 31}, False),
    ({"job": "smith"}, True), ({"job": "king"}, False), ({"loans": 3}, True), ({"loans": 0}, False),
    ({"loans": 1.5}, False), ({"other": 6.0}, False),
], ids=str)  # fmt: skip
def test_a_table_allows_what_the_world_allows(values, ok):
    assert TABLE.check(changed(**values), FRAME).tolist() == [ok, True]


def test_a_table_prices_and_relates():
    dear = Table(columns=TABLE.columns, budget=0.5, relations={"low": lambda frame: frame["income"].fillna(0) < 50})
    assert TABLE.measure(changed(income=60.0, job="smith"), FRAME)[0] == pytest.approx(2 * 0.5 + 1)
    assert dear.check(changed(income=30.0), FRAME).tolist() == [True, True]
    assert dear.check(changed(income=36.0), FRAME).tolist() == [False, True]


def test_a_column_that_was_not_there_is_no_change_of_the_row_regression():
    assert not TABLE.check(FRAME.assign(extra=1), FRAME).any()


def test_what_a_table_proposes_it_allows_regression_for_columns_without_bounds():
    free = Table(columns={**TABLE.columns, "other": Column(kind="real"), "income": Column(kind="int", direction=-1)})
    origin, rng = FRAME.iloc[[0]].assign(income=10), np.random.default_rng(0)
    for _ in range(200):
        assert free.check(free.propose(origin, origin, rng), origin).all()


@pytest.mark.parametrize(("claim", "origin", "size"), [
    (b"abc", b"abc", 0), (b"abXc", b"abc", 1), (b"xabc", b"abc", 1), (b"abc", b"", 3), (b"", b"", 0), (b"aaa", b"aa", 1),
    (b"aXbYc", b"aPbQc", 3), (b"ab", b"abab", 2),
], ids=str)  # fmt: skip
def test_bytes_are_measured_between_what_they_share(claim, origin, size):
    assert Bytes(valid=lambda c, o: True, edit=lambda c, o, g: c).measure([claim], [origin])[0] == size


def test_bytes_must_still_work_and_not_grow_too_much():
    within = Bytes(valid=lambda c, o: c.startswith(b"P"), edit=lambda c, o, g: c + b"!", grow=2)
    assert within.check([b"P!!", b"P!!!", b"Q"], [b"P", b"P", b"P"]).tolist() == [True, False, False]
    assert within.propose(b"P", b"P", np.random.default_rng(0)) == b"P!"
