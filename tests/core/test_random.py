"""Row randomness: keyed by seed, row and draw, and by nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from casemate.core.random import RowRandom

RNG = RowRandom(3)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True), st.integers(0, 2**63), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_row_draws_the_same_in_any_company(rows, seed, draw):
    rng = RowRandom(seed)
    together = rng.uniform(np.array(rows), (draw, 1), (3,))
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(together[i], rng.uniform(np.array([row]), (draw, 1), (3,))[0])


def test_uniform_and_normal_have_their_distributions():
    u = RNG.uniform(np.arange(400), 5, (50,)).ravel()
    z = RNG.normal(np.arange(400), 5, (50,)).ravel()
    assert u.min() > 0 and u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.005
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03


def test_neighbouring_rows_draws_and_seeds_are_not_correlated():
    n = 20_000
    base = RNG.uniform(np.arange(n), 0)
    for other in (RNG.uniform(np.arange(n) + 1, 0), RNG.uniform(np.arange(n), 1), RowRandom(4).uniform(np.arange(n), 0),
                  RNG.fork(1).uniform(np.arange(n), 0)):  # fmt: skip
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.03


def test_no_two_draws_forks_or_rows_collide_regression():
    rows = np.arange(50)
    streams = [RNG, RNG.fork(0), RNG.fork(1), RNG.fork(0, 1), RNG.fork(1, 0), RNG.fork(0).fork(1), RowRandom(0), RowRandom(2**64 - 1)]
    draws = [0, 1, 2, (0, 0), (0, 1), (1, 0), (1, 0, 0)]
    bits = np.concatenate([s.bits(rows, d, 4).ravel() for s in streams for d in draws])
    assert len(np.unique(bits)) == len(bits)


def test_a_draw_by_number_and_by_tuple_is_one_draw_and_repeats():
    rows = np.arange(4)
    np.testing.assert_array_equal(RNG.bits(rows, 7, 2), RNG.bits(rows, (7,), 2))
    np.testing.assert_array_equal(RNG.bits(rows, 7, 2), RowRandom(3).bits(rows, 7, 2))


@pytest.mark.parametrize("high", [1, 2, 7, 2**40])
def test_integers_reach_every_value_and_no_other(high):
    found = RNG.integers(np.arange(3000), 0, high)
    assert found.min() >= 0 and found.max() < high
    if 1 < high <= 7:
        assert stats.chisquare(np.bincount(found, minlength=high)).pvalue > 1e-3


def test_shapes_hold_for_no_rows_and_for_scalars():
    assert RNG.uniform(np.array([], int), 0, (2, 3)).shape == (0, 2, 3)
    assert RNG.uniform(np.arange(2), 0).shape == (2,)


def test_the_generator_of_a_row_is_its_own():
    a, again, b = RNG.generator(5).random(4), RNG.generator(5).random(4), RNG.generator(6).random(4)
    np.testing.assert_array_equal(a, again)
    assert not np.allclose(a, b)
