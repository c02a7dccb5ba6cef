"""The quota, on a virtual clock."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.controls.service._ledger import Table, Window
from casemate.controls.service.query_budget import PERIODS, QueryBudget
from casemate.core.errors import UsageError


def let_in(control, state, account, rows, now):
    state, mask = control.admit(state, account, range(rows), now)
    assert len(mask) == rows
    assert mask[: mask.sum()].all(), "the first rows are let in, not any others"
    return state, int(mask.sum())


def test_known_answers_on_a_virtual_clock():
    control = QueryBudget(rows=10, per="minute", parts=6)  # parts of ten seconds
    state = control.start
    state, inside = let_in(control, state, "a", 7, 0.0)
    assert inside == 7
    state, inside = let_in(control, state, "a", 7, 5.0)
    assert inside == 3, "a partial mask: what fits is let in"
    assert control.wait(state, "a", 5.0) == 65.0, "the rows of part 0 count until part 7 begins"
    state, inside = let_in(control, state, "a", 1, 69.9)
    assert inside == 0
    assert control.wait(state, "b", 5.0) == 0.0
    state, inside = let_in(control, state, "a", 12, 70.0)
    assert inside == 10


def test_packing_rows_into_one_request_gains_nothing():
    control = QueryBudget(rows=100)
    one, packed = control.start, control.start
    for _ in range(300):
        one, _ = let_in(control, one, "a", 1, 0.0)
    packed, inside = let_in(control, packed, "a", 300, 0.0)
    assert inside == 100
    assert one == packed


def test_the_same_state_twice_gives_the_same_and_is_not_touched():
    control = QueryBudget(rows=5)
    state, _ = control.admit(control.start, "a", range(2), 1.0)
    before = repr(state)
    first, mask = control.admit(state, "a", range(9), 2.0)
    second, again = control.admit(state, "a", range(9), 2.0)
    assert first == second
    assert (mask == again).all()
    assert repr(state) == before


def test_refused_rows_are_not_counted():
    control = QueryBudget(rows=2)
    state, _ = control.admit(control.start, "a", range(2), 0.0)
    after, mask = control.admit(state, "a", range(5), 0.0)
    assert not mask.any()
    assert after is state


def test_a_cap_over_all_accounts():
    control = QueryBudget(rows=10, total=15, per="minute", parts=6)
    state, a = let_in(control, control.start, "a", 10, 0.0)
    state, b = let_in(control, state, "b", 10, 0.0)
    assert (a, b) == (10, 5)
    assert control.wait(state, "c", 0.0) == 70.0


def test_a_clock_that_steps_back_opens_nothing():
    control = QueryBudget(rows=3, per="second")
    state, _ = control.admit(control.start, "a", range(3), 1000.0)
    state, inside = let_in(control, state, "a", 3, 0.0)
    assert inside == 0


batches = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.floats(0, 40, allow_nan=False)), min_size=1, max_size=60
)


@settings(max_examples=150, deadline=None)
@given(batches=batches, rows=st.integers(1, 12), parts=st.integers(1, 9), total=st.none() | st.integers(1, 15))
def test_never_more_than_the_cap_in_any_window(batches, rows, parts, total):
    """Whatever the partition into requests: in every stretch of a period, at most `rows` of an account get in."""
    control = QueryBudget(rows=rows, per="minute", parts=parts, total=total)
    state, now, log = control.start, 0.0, []
    for account, size, gap in batches:
        now += gap
        state, inside = let_in(control, state, account, size, now)
        log += [(now, account)] * inside
    for begin, _ in log:
        inside = [account for at, account in log if begin <= at < begin + PERIODS["minute"]]
        assert max(inside.count("a"), inside.count("b")) <= rows
        assert total is None or len(inside) <= total


@settings(max_examples=150, deadline=None)
@given(batches=batches, rows=st.integers(1, 6), parts=st.integers(1, 9), offset=st.floats(0, 1e6))
def test_wait_is_exact(batches, rows, parts, offset):
    """After the wait one row gets in; a moment before (more than the clock's own rounding), none."""
    control = QueryBudget(rows=rows, per="minute", parts=parts)
    state, now = control.start, offset
    for account, size, gap in batches:
        now += gap
        state, _ = control.admit(state, account, range(size), now)
        pause = control.wait(state, "a", now)
        assert let_in(control, state, "a", 1, now + pause)[1] == 1
        before = now + pause - 4 * math.ulp(now + pause)
        if pause and before >= now:
            assert let_in(control, state, "a", 1, before)[1] == 0


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4), st.floats(0, 30)), min_size=1, max_size=80),
    capacity=st.integers(1, 4),
)
def test_too_many_accounts_never_win_a_budget_back(steps, capacity):
    control = QueryBudget(rows=5, per="minute", accounts=capacity, parts=3)
    state, now, log = control.start, 0.0, []
    for account, size, gap in steps:
        now += gap
        state, inside = let_in(control, state, str(account), size, now)
        log += [(now, account)] * inside
        assert sum(len(shard.windows) for shard in state.table.shards) <= capacity
    for begin, account in log:
        assert sum(1 for at, who in log if who == account and begin <= at < begin + 60.0) <= 5


def test_newcomers_share_one_budget_when_the_table_is_full_and_those_inside_keep_theirs():
    control = QueryBudget(rows=4, per="minute", accounts=2)
    state = control.start
    for name in ("a", "b"):
        state, _ = control.admit(state, name, range(1), 0.0)
    state, first = let_in(control, state, "x", 3, 0.0)
    state, second = let_in(control, state, "y", 3, 0.0)
    assert (first, second) == (3, 1)
    assert let_in(control, state, "a", 3, 0.0)[1] == 3
    assert let_in(control, state, "z", 4, 200.0)[1] == 4, "once windows are over there is room again"


def test_a_table_forgets_only_what_is_over():
    fresh = Window(0, (0, 0, 0))
    table = Table.empty(1, 3).put("a", fresh.plus(2))
    assert table.put("b", Window(1, (1, 0, 0))).find("a", 1).used == 2
    assert table.put("b", Window(3, (1, 0, 0))).find("a", 3).used == 0


def test_no_rows_and_odd_names_are_fine():
    control = QueryBudget()
    state, mask = control.admit(control.start, "\ud800\r\n\x00", range(0), 0.0)
    assert mask.shape == (0,)
    assert mask.dtype == np.bool_
    assert state == control.start


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"rows": 1.5}, {"rows": True}, {"per": "year"}, {"parts": 0}, {"total": 0}])
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        QueryBudget(**wrong)
