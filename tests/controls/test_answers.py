"""What is shown of an answer, of arrays and of tensors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from casemate.controls import facts_of
from casemate.controls.service.labels_only import LabelsOnly
from casemate.controls.service.round_scores import RoundScores
from casemate.core.errors import UsageError
from casemate.core.target import Response


@pytest.fixture(params=["numpy", "torch"])
def response(request):
    scores = np.array([[0.444, 0.4461, 0.1099], [0.1, 0.2, 0.7]])
    found = Response(scores.argmax(1), scores, np.log(scores))
    if request.param == "torch":
        torch = pytest.importorskip("torch")
        found = Response(*(torch.from_numpy(a) for a in (found.label, found.scores, found.logits)))
    return found


def test_labels_only_leaves_nothing_but_the_label(response):
    control = LabelsOnly()
    shown = control.answer(control.start, response)
    assert shown.scores is None
    assert shown.logits is None
    assert (shown.label == response.label).all()


def test_rounding_keeps_the_label_also_where_classes_now_tie(response):
    control = RoundScores(digits=1)
    shown = control.answer(control.start, response)
    assert np.asarray(shown.scores)[0].tolist() == [0.4, 0.4, 0.1]
    assert np.asarray(shown.label).tolist() == [1, 2]
    assert np.asarray(shown.logits) == pytest.approx(np.round(np.asarray(response.logits), 1))
    assert np.asarray(response.scores)[0, 0] == 0.444, "the response itself is not touched"


def test_rounding_shows_at_most_so_many_values(response):
    grid = np.asarray(RoundScores(digits=2).answer(None, response).scores) * 100
    assert grid == pytest.approx(np.round(grid), abs=1e-9)


def test_an_answer_without_scores_stays_without():
    assert RoundScores().answer(None, Response(np.array([1]))).scores is None


@pytest.mark.parametrize("control", [LabelsOnly(), RoundScores()])
def test_they_refuse_nobody(control):
    state, mask = control.admit(control.start, "a", range(3), 0.0)
    assert mask.all()
    assert control.wait(state, "a", 0.0) == 0.0


@pytest.mark.parametrize("digits", [-1, 16, 1.0, True])
def test_digits_are_checked(digits):
    with pytest.raises(UsageError, match="digits"):
        RoundScores(digits=digits)


def test_facts_carry_the_parameters():
    assert facts_of(RoundScores(digits=3)) == (("model.precision_digits", 3),)
    assert facts_of(LabelsOnly()) == (("model.output", "label"),)


def test_service_controls_do_not_load_torch():
    code = (
        "import sys; from casemate.core.control import controls; controls.load(); import casemate.guard;"
        "sys.exit(bool({'torch', 'sklearn', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
