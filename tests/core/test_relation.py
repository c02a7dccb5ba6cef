"""The language of relations: what holds, by how much it does not, what can be mended, and what is no relation at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import BadInput
from casemate.core.relation import Relation

TABLE = {
    "a": np.array([1.0, 2.0, 3.0]), "b": np.array([2.0, 2.0, 2.0]), "home": np.array(["own", "rent", "own"], object),
    "loan amount": np.array([1, 5, 9]),
}  # fmt: skip
TRUE = {
    "a <= b": [1, 1, 0], "a < b": [1, 0, 0], "a == b": [0, 1, 0], "a != b": [1, 0, 1], "a + 1 <= b * 2 and a > 0": [1, 1, 1],
    "implies(home == 'own', a <= 2)": [1, 1, 0], "home in ('own', 'x')": [1, 0, 1], "home not in ('own',)": [0, 1, 0],
    "not a <= b": [0, 0, 1], "1 <= a <= 2": [1, 1, 0], "not 1 <= a <= 2": [0, 0, 1], "col('loan amount') >= a * 2": [0, 1, 1],
    "max(a, b) == b": [1, 1, 0], "a > b or home == 'rent'": [0, 1, 1], "log(a - 1) <= 0": [0, 1, 1 * (np.log(2) <= 0)],
    "-a / b <= -1": [0, 1, 1], "round(a / 2) == 1": [0, 1, 0], "not (a > b or home == 'rent')": [1, 0, 0],
}  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_what_holds(text):
    relation = Relation(text)
    assert relation(TABLE).tolist() == [bool(v) for v in TRUE[text]]
    assert ((relation.violation(TABLE) <= 0) == relation(TABLE)).all()


def test_a_violation_is_in_the_units_of_its_sides():
    assert Relation("a <= b").violation(TABLE).tolist() == [0, 0, 1]
    assert Relation("a == b and a <= 1").violation(TABLE).tolist() == [1, 1, 3]
    assert Relation("a == b or a == 3").violation(TABLE).tolist() == [1, 0, 0]


def test_what_cannot_be_told_does_not_hold():
    assert Relation("a / b >= 0")({"a": np.array([0.0, np.nan]), "b": np.array([0.0, 1.0])}).tolist() == [False, False]


@pytest.mark.parametrize(
    "text",
    ["", "a", "__import__('os').system('x') == 1", "a.real <= 1", "a <= b[0]", "[x for x in a] == 1", "a <= (lambda: 1)", "a ==",
     "log(a, b) < 1", "a in b", "open('x') == 1", "a <= b if a else b", "a @ b <= 1", "a ** 9 <= 1", "f'{a}' == 'x'", "a <= b; a", "a := 1",
     "implies(a <= b)", "x" * 3000, "col(a) <= 1", "None == a", "a <= 1j"],
)  # fmt: skip
def test_what_is_no_relation_is_refused_in_words(text):
    with pytest.raises(BadInput, match="relation"):
        Relation(text)


def test_texts_are_only_compared_as_equal_or_not():
    with pytest.raises(BadInput, match="texts"):
        Relation("home <= 'own'")(TABLE)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), st.sampled_from(["<=", ">=", "=="]))
def test_a_lone_column_is_mended(values, op):
    table = {"a": np.array([values[0]]), "b": np.array([values[1]])}
    relation = Relation(f"a {op} b / 2 + 1")
    relation.repair(table, frozenset({"a"}))
    assert relation(table).all()
    fixed = {"a": np.array([values[0]]), "b": np.array([values[1]])}
    relation.repair(fixed, frozenset())
    assert fixed["a"][0] == values[0]


def test_a_column_on_both_sides_is_left_alone():
    table = {"a": np.array([3.0])}
    Relation("a <= a - 1").repair(table, frozenset({"a"}))
    assert table["a"][0] == 3.0
