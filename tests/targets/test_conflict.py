"""What a target really shows, and where that differs from what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from casemate.controls.service.labels_only import LabelsOnly
from casemate.controls.service.round_scores import RoundScores
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput
from casemate.targets.conflict import FULL, Shown, conflicts, decimals, shown
from casemate.targets.wrap import wrap

LOGITS = np.random.default_rng(0).normal(size=(8, 5))
SCORES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def target(kind: str):
    """A target that shows this much; the row's own number picks the answer."""
    top = np.where(np.sort(SCORES, 1)[:, -2:-1] <= SCORES, SCORES, 0)
    answers = {"label": LOGITS.argmax(1), "topk": top, "score": SCORES, "logits": LOGITS}[kind]
    output = {"label": "labels", "topk": "scores", "score": "scores", "logits": "logits"}[kind]
    return wrap(lambda x: answers[np.asarray(x)[:, 0].astype(int)], output=output)


def rows(n: int = 8) -> np.ndarray:
    return np.arange(n, dtype=float)[:, None]


@pytest.mark.parametrize("kind", ["label", "topk", "score", "logits"])
def test_levels(kind: str) -> None:
    measured = shown(target(kind), rows())
    assert measured.level == kind and measured.repeats and not measured.rejects and measured.latency_s > 0
    assert measured.classes == (None if kind == "label" else 5)
    assert measured.digits == (None if kind == "label" else FULL)
    assert conflicts(kind, None, measured) == []
    assert conflicts("unknown", None, measured) == []
    assert dict(measured.facts())["model.output"] == kind


def test_labels_stated_and_scores_shown_is_loud() -> None:
    (message,) = conflicts("label", None, shown(target("score"), rows()))
    assert message == (
        "CONFLICT: the description says labels only, but the target shows scores for 5 classes; "
        "the measured fact wins: adversaries are given what it shows"
    )
    assert "no more than it shows" in conflicts("score", None, shown(target("label"), rows()))[0]
    assert "says nothing" in conflicts("none", None, shown(target("label"), rows()))[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("digits", [1, 2, 3, 4, 5])
def test_digits_of_rounded_scores(digits: int, dtype: type) -> None:
    assert decimals(SCORES.astype(dtype).round(digits)) == digits
    assert decimals(SCORES.astype(dtype)) == FULL


def test_nothing_can_be_told_of_whole_numbers() -> None:
    assert decimals(np.eye(4)) is None


def test_stated_digits() -> None:
    rounded = shown(Endpoint(target("score"), (RoundScores(digits=2),)), rows())
    assert rounded.digits == 2 and conflicts("score", 2, rounded) == []
    assert "says 3 digits, but the target shows 2 digits" in conflicts("score", 3, rounded)[0]
    assert "shows unrounded scores" in conflicts("score", 2, shown(target("score"), rows()))[0]
    assert conflicts("score", 12, shown(target("score"), rows())) == []
    assert dict(rounded.facts()) == {"model.output": "score", "model.precision_digits": 2}


def test_the_endpoint_counts_not_the_model_behind_it() -> None:
    assert shown(Endpoint(target("logits"), (LabelsOnly(),)), rows()).level == "label"


def test_what_it_sends() -> None:
    seen = []
    measured = shown(wrap(lambda x: seen.append(len(x)) or [0] * len(x)), rows(5), singles=2)
    assert seen == [5, 5, 1, 1] and measured.rows == 12
    with pytest.raises(BadInput, match="at least one row"):
        shown(target("label"), rows(0))


def test_rejects_and_randomness_are_seen() -> None:
    rng = np.random.default_rng(0)
    measured = shown(wrap(lambda x: rng.random((len(x), 2)), output="scores", random=True), rows())
    assert not measured.repeats
    assert shown(wrap(lambda x: [None] * len(x), classes=["a", "b"]), rows()).rejects


def test_a_regression_shows_its_decision_only() -> None:
    assert shown(wrap(lambda x: x[:, 0] / 3), rows()).level == "label"


def test_measured_is_a_value() -> None:
    fact = Shown(level="label", digits=None, classes=None, rejects=False, repeats=True, latency_s=0.1, rows=3)
    assert fact.facts() == (("model.output", "label"),)
