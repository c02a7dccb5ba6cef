"""Small ReLU networks, taken apart at their bends."""

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.extraction._kinks import kinks
from casemate.attacks.extraction.cryptanalytic import Cryptanalytic
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Copy, Holdout
from casemate.core.errors import BadInput

LOGITS = Adversary(name="logits", may=Need.LABEL | Need.LOGIT)


def network(d, m, k, seed=0):
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(d, m)) / np.sqrt(d), 0.5 * rng.normal(size=m)
    out, shift = rng.normal(size=(m, k)) / np.sqrt(m), rng.normal(size=k)

    def ask(x):
        return np.maximum(np.asarray(x) @ weights + bias, 0) @ out + shift

    planes = np.concatenate([weights.T, bias[:, None]], axis=1)
    return ask, planes / np.linalg.norm(weights.T, axis=1, keepdims=True), out


def case_of(d, queries=20_000):
    x = np.random.default_rng(9).normal(size=(700, d))
    return Copy(pool=x[:200], queries=queries, truth=Holdout(x=x[200:], y=np.zeros(500, int)))


def wrapped(ask, k):
    return cm.wrap(ask, output="logits", classes=k, version="1")


@pytest.mark.parametrize(("d", "m", "k"), [(8, 16, 3), (20, 20, 10), (5, 3, 2)])
def test_one_hidden_layer_is_found_to_1e_6_signs_included(d, m, k):
    ask, planes, _ = network(d, m, k)
    evidence = cm.run(Cryptanalytic(), wrapped(ask, k), case_of(d), adversary=LOGITS)
    found = evidence.claims.parameters
    assert evidence.extra["copy"]["gave_up"] is None
    assert evidence.extra["copy"]["units"] == m
    assert evidence.extra["copy"]["turned"] is True
    assert max(np.abs(found["planes"] - plane).max(1).min() for plane in planes) < 1e-6
    assert evidence.extra["log_ratio_error"] < 1e-6
    assert evidence.rate == 1.0


def test_more_units_than_can_be_turned_are_the_same_function_all_the_same():
    ask, planes, _ = network(6, 24, 2)
    evidence = cm.run(Cryptanalytic(), wrapped(ask, 2), case_of(6), adversary=LOGITS)
    found = evidence.claims.parameters["planes"]
    assert len(found) == 24
    off = [min(np.abs(found - p).max(1).min(), np.abs(found + p).max(1).min()) for p in planes]
    assert max(off) < 1e-6
    assert evidence.extra["log_ratio_error"] < 1e-6


def test_the_search_that_never_ended_in_functional_extraction_ends_with_its_budget():
    """ART #420 and #867: with steps that shrink to nothing the search for bends went on for ever."""
    curved = wrapped(lambda x: np.tanh(np.asarray(x) @ np.ones((4, 2)) * [1.0, -0.7]), 2)
    evidence = cm.run(Cryptanalytic(), curved, case_of(4), adversary=LOGITS)
    assert "bend everywhere" in evidence.extra["copy"]["gave_up"]
    assert evidence.spent["queries"] < 20_000
    ask, _, _ = network(8, 16, 3)
    for queries in (50, 300, 900):
        evidence = cm.run(Cryptanalytic(), wrapped(ask, 3), case_of(8), adversary=LOGITS, budget=Budget(queries=queries))
        assert evidence.spent["queries"] <= queries
        assert evidence.extra["copy"]["gave_up"]
        assert evidence.claims is not None
    assert "budget" in evidence.extra["stopped"]
    assert evidence.extra["copy"]["units"] > 0


def test_two_hidden_layers_are_given_up_in_words():
    ask, _, _ = network(4, 8, 8)
    again, _, _ = network(8, 6, 3, seed=1)
    deep = wrapped(lambda x: again(np.maximum(ask(x), 0)), 3)
    evidence = cm.run(Cryptanalytic(lines=20), deep, case_of(4, 8000), adversary=LOGITS)
    assert evidence.extra["copy"]["gave_up"]


def test_scores_in_single_precision_are_refused_by_name():
    ask, _, _ = network(4, 6, 2)
    with pytest.raises(BadInput, match="float32"):
        cm.run(Cryptanalytic(), wrapped(lambda x: ask(x).astype(np.float32), 2), case_of(4), adversary=LOGITS)


def test_bends_of_a_zigzag_are_all_found_and_none_beside():
    """Two pieces can meet where the function is straight; a search that trusts the meeting point finds bends there."""
    at = np.array([0.61, 0.63, 0.7, 0.86])

    def zigzag(x):
        return (np.abs(x[:, :1] - at) * [1.0, -2.0, 1.5, -0.25]).sum(1, keepdims=True)

    found = kinks(lambda a, keep: zigzag(a), np.array([[0.0], [0.65]]), np.array([[1.0], [0.1]]), 100)
    assert found[0] == pytest.approx(at.tolist(), abs=1e-9)
    assert found[1] == pytest.approx([0.5], abs=1e-7)


def test_a_line_that_bends_everywhere_is_told_from_those_walked_with_it():
    def half(a, keep):
        return np.where(a < 0, np.maximum(a + 0.5, 0), np.sin(9 * a))

    found = kinks(half, np.array([[-1.0], [0.1]]), np.array([[0.9], [0.9]]), 100)
    assert found[0] == pytest.approx([0.5 / 0.9], abs=1e-9)
    assert found[1] is None


def test_lines_walked_together_bend_where_they_do_alone_and_take_the_same_questions():
    ask, _, _ = network(6, 10, 3)
    rng = np.random.default_rng(4)
    start, along = rng.normal(size=(2, 5, 6))
    asked = []

    def counted(a, keep):
        assert (np.diff(keep) > 0).all()
        assert keep[-1] < len(a)
        asked.append(len(a))
        return ask(a)

    together, spent = kinks(counted, start, 4 * along, 100), sum(asked)
    asked.clear()
    alone = [kinks(counted, start[i : i + 1], 4 * along[i : i + 1], 100)[0] for i in range(5)]
    assert sum(map(len, alone)) > 5
    assert spent == sum(asked)
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-12)
