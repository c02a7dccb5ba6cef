"""Tables: frames and arrays alike, groups, relations, and what mending can do."""

import numpy as np
import pandas as pd
import pytest

import casemate as cm
from casemate.core.errors import BadInput

COLUMNS = {
    "paid": cm.Column(kind="real", low=0, high=100), "owed": cm.Column(kind="real", low=0, high=100, direction=1),
    "cards": cm.Column(kind="int", low=0, high=9), "age": cm.Column(kind="int", low=0, high=120, immutable=True),
    **{name: cm.Column(kind="int", low=0, high=1) for name in ("a", "b", "c")},
}  # fmt: skip
NAMES = tuple(COLUMNS)
TABLE = cm.Table(COLUMNS, 1.0, {"r": "paid <= owed"}, NAMES, (("a", "b", "c"),))
X = np.array([[10.0, 20, 3, 40, 1, 0, 0], [50, 60, 1, 30, 0, 1, 0]])


def changed(**values):
    x = X.copy()
    for name, value in values.items():
        x[0, NAMES.index(name)] = value
    return x


@pytest.mark.parametrize(
    ("values", "ok"),
    [({}, True), ({"paid": 20.0}, True), ({"paid": 21.0}, False), ({"owed": 19.0}, False), ({"owed": 30.0}, True),
     ({"cards": 3.5}, False), ({"cards": 4}, True), ({"age": 41}, False), ({"b": 1}, False), ({"a": 0, "b": 1}, False),
     ({"paid": np.nan}, False), ({"cards": 10}, False)],
)  # fmt: skip
def test_an_array_is_checked_as_a_frame_is(values, ok):
    x = changed(**values)
    assert TABLE.check(x, X).tolist() == [ok, True]
    frames = [pd.DataFrame(v, columns=NAMES) for v in (x, X)]
    assert TABLE.check(*frames).tolist() == [ok, True]
    assert np.allclose(TABLE.measure(x, X), TABLE.measure(*frames), equal_nan=True)


def test_a_group_may_change_where_the_budget_allows():
    rich = cm.Table(COLUMNS, 2.0, {}, NAMES, (("a", "b", "c"),))
    x = changed(a=0, b=1)
    assert rich.check(x, X)[0] and rich.measure(x, X)[0] == 2.0


def test_mending_brings_back_what_can_be():
    rng = np.random.default_rng(0)
    wild = X[np.repeat([0, 1], 200)] + rng.normal(scale=40, size=(400, 7))
    origin = X[np.repeat([0, 1], 200)]
    wide = cm.Table(COLUMNS, np.inf, {"r": "paid <= owed"}, NAMES, (("a", "b", "c"),))
    assert wide.check(wide.repair(wild, origin), origin).all()
    assert TABLE.check(TABLE.repair(X, X), X).all() and (TABLE.repair(X, X) == X).all()


def test_the_budget_is_met_by_numbers_giving_way_together():
    table = cm.Table({n: COLUMNS[n] for n in ("paid", "owed")}, 0.2, {}, ("paid", "owed"))
    origin = np.array([[10.0, 20.0], [10.0, 20.0]])
    mended = table.repair(np.array([[60.0, 70.0], [11.0, 20.0]]), origin)
    assert np.allclose(mended, [[20.0, 30.0], [11.0, 20.0]]) and table.check(mended, origin).all()


def test_proposals_on_arrays_are_mended_rows():
    rng, seen = np.random.default_rng(1), set()
    wide = cm.Table(COLUMNS, np.inf, {"r": "paid <= owed"}, NAMES, (("a", "b", "c"),))
    for _ in range(200):
        row = wide.propose(X[0], X[0], rng)
        ok = wide.check(row[None], X[:1])[0]
        seen |= {NAMES[i] for i in np.flatnonzero(row != X[0])} if ok else set()
    assert seen == {"paid", "owed", "cards", "a", "b", "c"}


def test_missing_values_that_stay_missing_were_left_alone():
    frame = pd.DataFrame({"n": pd.array([1, None], dtype="Int64"), "s": pd.array(["x", None], dtype="string"), "f": [1.0, np.nan]})
    table = cm.Table({"f": cm.Column(kind="real", low=0, high=9), "n": cm.Column(kind="int", low=0, high=9)})
    assert table.check(frame, frame).all() and (table.measure(frame, frame) == 0).all()
    assert table.close(table.open(frame), frame).equals(frame)


def test_names_that_are_not_there_are_told():
    with pytest.raises(BadInput, match="'x'"):
        cm.Table({"a": COLUMNS["a"]}, names=("a",), one_of=(("a", "x"),))
    with pytest.raises(BadInput, match="shape"):
        TABLE.check(X[:, :3], X[:, :3])
    with pytest.raises(BadInput, match="no column 'z'"):
        cm.Table({"a": COLUMNS["a"]}, relations={"r": "a <= z"}, names=("a",)).check(np.ones((1, 1)), np.ones((1, 1)))
