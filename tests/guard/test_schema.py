"""Counting quickly and counting by reading everything must agree."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.core.errors import UsageError
from casemate.guard.schema import _MARK, Flat, Malformed, Schema, read_counts, read_json

numbers = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)


@given(
    rows=st.integers(1, 6),
    width=st.integers(1, 30),
    nested=st.booleans(),
    indent=st.none() | st.integers(0, 3),
    data=st.data(),
)
def test_rows_of_any_tensor(rows, width, nested, indent, data):
    values = data.draw(st.lists(numbers, min_size=rows * width, max_size=rows * width))
    if nested:
        values = [values[i * width : (i + 1) * width] for i in range(rows)]
    body = {"inputs": [{"name": "x", "shape": [rows, width], "datatype": "FP64", "data": values}]}
    assert Schema().count(json.dumps(body, indent=indent).encode()) == rows


json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text("[]{},1 \\\"':a", max_size=90) | st.lists(numbers, max_size=60),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]1,\\"a', max_size=80), inner, max_size=4),
    max_leaves=12,
)


@given(value=st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_counting_changes_nothing_but_the_lists_it_counts(value):
    def same(full, counted):
        if isinstance(counted, Flat):
            return isinstance(full, list) and len(full) == counted
        if isinstance(full, dict):
            return full.keys() == counted.keys() and all(same(full[k], counted[k]) for k in full)
        if isinstance(full, list):
            return len(full) == len(counted) and all(map(same, full, counted))
        return full == counted

    body = json.dumps(value).encode()
    assert same(read_json(body), read_counts(body))


def test_a_placeholder_cannot_be_forged():
    guess = "0" * len(_MARK)
    with pytest.raises(Malformed):
        Schema().count(json.dumps({"inputs": [{"shape": [784], "data": {guess: 784}}]}).encode())


@pytest.mark.parametrize("text", ["1,2,", ",".join("1" * 40) + ",", "1,,2" + ",3" * 40])
def test_sloppy_lists_never_count_less(text):
    body = b'{"instances":[' + text.encode() + b"]}"
    with contextlib.suppress(Malformed):
        assert Schema(kind="json").count(body) >= text.count(",")


def test_a_hostile_body_is_read_in_linear_time():
    for body in (b"[" * 500_000, b"[1" * 300_000, b"[" + b"1," * 300_000, b'{"a":[' + b"1 " * 300_000 + b"x]}"):
        with pytest.raises(Malformed):
            read_counts(body)


def test_rounding_reaches_the_wire():
    from casemate.controls.service.round_scores import RoundScores

    scores = np.random.default_rng(0).random((4, 3)).round(9)
    body = json.dumps({"label": [0] * 4, "scores": scores.tolist()}).encode()
    control = RoundScores(digits=3)
    shown = json.loads(Schema(kind="json").edit(body, lambda r: control.answer(None, r)))
    assert shown["scores"] == scores.round(3).tolist()
    assert all(len(repr(v)) <= 5 for row in shown["scores"] for v in row)


@pytest.mark.parametrize("wrong", [{"kind": "xml"}, {"rows": ""}, {"keep": ("label",)}, {"label": "scores"}, {"also": "id"}])
def test_wrong_parameters_are_named(wrong):
    with pytest.raises(UsageError):
        Schema(**wrong)
