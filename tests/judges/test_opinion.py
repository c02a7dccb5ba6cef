"""Opinions survive the store, and verdicts follow from them."""

import json

import numpy as np
import pytest

from casemate.core.case import Copy, Guesses, Holdout, Infer, Replica
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput
from casemate.core.evidence import Baseline, Check, Interval
from casemate.core.oracle import Meter
from casemate.judges import copy, infer
from casemate.judges.opinion import Opinion, column, failed


def test_an_opinion_survives_json():
    opinion = Opinion(
        measure="m", rate=0.1, n=3, broken=True, interval=Interval(0.0, 0.3), why=("because",),
        baseline=Baseline("b", 0.2, Interval(0.1, 0.4)), checks=(Check(4, "c", None, "d", False),), queries=2.0,
        curves={"c": [(0.0, 1.0, 0.5, 1.0)]}, extra={"e": np.float64(0.1 + 0.2)},
    )  # fmt: skip
    again = Opinion.from_facts(json.loads(json.dumps(opinion.to_facts())), {})
    assert again.to_facts() == opinion.to_facts()
    assert again.interval == opinion.interval
    assert again.baseline == opinion.baseline
    assert again.checks == opinion.checks


def test_columns_never_need_a_pickle():
    assert column(np.array(["a", None], object)).dtype.kind == "U"
    assert column([1, 2]).dtype.kind == "i"


def test_a_failed_claim_is_worth_nothing():
    assert failed("m", 5, "why").checks[0].ok is False


@pytest.mark.parametrize(
    "claim",
    [
        Guesses(score=np.zeros(3), member=np.zeros(4, bool)),
        Guesses(score=np.full(4, np.nan), member=np.zeros(4, bool)),
        Guesses(score=np.zeros(4), member=np.zeros(4)),
    ],
    ids=["shape", "not finite", "not booleans"],
)
def test_guesses_that_break_the_rules_count_for_nothing(claim):
    case = Infer(x=np.zeros((4, 1)), y=np.zeros(4, int), truth=np.array([True, True, False, False]))
    assert infer.judge(case, claim, 4).checks[0].ok is False


def test_membership_needs_both_kinds():
    case = Infer(x=np.zeros((4, 1)), y=np.zeros(4, int), truth=np.ones(4, bool))
    with pytest.raises(BadInput, match="at least one of each"):
        infer.judge(case, None, 0)


def endpoint():
    import casemate as cm

    return Endpoint(cm.wrap(lambda x: np.stack([x[:, 0], 1 - x[:, 0]], axis=1), version="1", output="scores"))


def test_a_copy_that_raises_or_answers_in_another_shape_agrees_with_nothing():
    case = Copy(truth=Holdout(x=np.linspace(0, 1, 20)[:, None], y=np.zeros(20, int)))

    def raises(x):
        raise RuntimeError("no")

    for labels in (raises, lambda x: np.zeros(3)):
        opinion = copy.judge(case, [(5, Replica(labels=labels))], endpoint(), Meter(np.arange(20)))
        assert (opinion.rate, opinion.broken) == (0.0, False)
        assert any(check.ok is False for check in opinion.checks)


def test_the_majority_class_is_no_copy():
    x = np.r_[np.zeros(95), np.ones(5)][:, None]
    case = Copy(truth=Holdout(x=x, y=np.ones(100, int)))
    opinion = copy.judge(case, [(1, Replica(labels=lambda x: np.ones(len(x), int)))], endpoint(), Meter(np.arange(100)))
    assert opinion.rate == 0.95
    assert not opinion.broken


def test_parameters_are_compared_relative_to_the_first_class():
    rng = np.random.default_rng(0)
    weights, intercept = rng.normal(size=(4, 3)), rng.normal(size=3)
    own = (weights[:, 1:] - weights[:, :1], intercept[1:] - intercept[:1])
    assert copy.parameter_error(own, (weights, intercept)) == pytest.approx(0, abs=1e-15)
    assert copy.parameter_error((np.zeros((3, 2)), np.zeros(2)), (weights, intercept)) is None
