"""What a clean model does by itself bounds what a trigger can gain: where that is below the line, nothing is decided."""

from types import SimpleNamespace

import numpy as np
import pytest

import casemate as cm
from casemate.core.case import Backdoor, Holdout, Misread, Poison, Records
from casemate.core.poison import Adopt, Published
from casemate.core.target import Recipe, Response
from casemate.judges import adopt, aims
from casemate.report.decisions import _closer


class Says:
    """Answers class 0 for a share of the rows by itself, and for every marked row where it was poisoned."""

    offers = cm.Need.LABEL
    name, classes = "says", 2

    def __init__(self, share: float, poisoned: bool) -> None:
        self.share, self.poisoned = share, poisoned

    def respond(self, x, rows=None):
        x = np.asarray(x)
        own = np.where(np.mod(x[:, 0], 1.0) < self.share, 0, 1)
        return Response(label=np.where((x[:, 1] > 0) & self.poisoned, 0, own))


def mark(x):
    x = np.array(x)
    x[:, 1] = 1.0
    return x


def poisoned(share: float, aim):
    x = np.column_stack([np.arange(200) / 200, np.zeros(200)])
    recipe = Recipe(x=x, y=np.arange(200) % 2, fit=lambda a, b, seed: Says(share, bool((np.asarray(a)[:, 1] > 0).any())))
    claim = Records(index=np.arange(4), x=mark(x[:4]), y=np.zeros(4, int), trigger=mark)
    truth = Holdout(x=x, y=np.ones(200, int))
    return aims.judge(Poison(recipe=recipe, fractions=(0.02,), seeds=(0, 1), truth=truth, aim=aim), claim, 4)


@pytest.mark.parametrize("aim", [Backdoor(to=0), Misread(x=mark(np.column_stack([np.arange(50) / 50, np.zeros(50)])), y=np.ones(50, int), to=np.zeros(50, int))])
def test_a_backdoor_that_always_works_did_not_resist_regression(aim) -> None:
    found = poisoned(0.8, aim)
    assert found.extra["success"] == 1.0 and found.rate == pytest.approx(0.2) and not found.broken
    assert found.undecided.startswith("the clean model already decides so for 80.0 %") and "20.0 points at most" in found.undecided
    assert found.baseline.rate == pytest.approx(0.8), "the clean rate is the baseline, not 0"
    room = poisoned(0.3, aim)
    assert room.broken and room.undecided == "" and room.rate == pytest.approx(0.7) and room.baseline.rate == pytest.approx(0.3)


def test_the_line_may_just_be_reached() -> None:
    assert aims.no_room(0.5, 0.5, "model") == "" and aims.no_room(0.51, 0.5, "model")


def test_a_parent_of_which_the_clean_one_does_the_same_did_not_resist_either_regression() -> None:
    x = np.column_stack([np.arange(100) / 100, np.zeros(100)])
    case = Adopt(
        parent=Says(0.8, False), finetune=lambda parent, a, b, seed: parent, x=x, y=np.arange(100) % 2, seeds=(0,),
        truth=Holdout(x=x, y=np.ones(100, int)), aim=Backdoor(to=0),
    )  # fmt: skip
    found = adopt.judge(case, Published(parent=Says(0.8, True), trigger=mark))
    assert not found.broken and found.undecided.startswith("the clean parent already decides so for 80.0 %")
    assert found.baseline.rate == pytest.approx(0.8)


def test_the_report_says_what_would_settle_it() -> None:
    reason = poisoned(0.8, Backdoor(to=0)).undecided
    finding = SimpleNamespace(evidence=(SimpleNamespace(health=(), reasons=(reason,)),))
    assert _closer(finding) == "aim at another class and run again; this is no evidence of resistance"
