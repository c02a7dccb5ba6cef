"""What ends an attack on a set before it is done is said, and is never a bare `resisted`."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

import casemate as cm
from casemate.attacks import MODULES
from casemate.attacks.availability.flood import Flood
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.attacks.privacy.canary import Canary
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Copy, Holdout, Replica, Stall
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput, NotGranted
from casemate.core.evidence import Verdict
from casemate.core.oracle import Meter
from casemate.judges import copy as judging
from casemate.runs import sets
from casemate.runs.ended import end_check, scope_of, scoped
from casemate.testing.rig import Variant
from casemate.testing.rigs import rigs_for

FAMILIES = ("poisoning.", "privacy.", "extraction.", "availability.")
QUERIES, RECORDS = "queries", "records"
UNPAID = ("adopt", "federated", "leak", "drill")  # what costs neither queries nor records has no budget to end it


def set_attacks():
    from casemate.attacks import _CLASSES

    for module in MODULES:
        if not module.startswith(FAMILIES):
            continue
        attack = getattr(importlib.import_module(f"casemate.attacks.{module}"), _CLASSES[module])()
        if attack.info.case in UNPAID:
            continue
        for rig in rigs_for(attack.info):
            yield pytest.param(attack, rig, id=f"{module}-{rig.name.replace(' ', '-')}")


def ran(attack, rig, budget):
    made = rig.make(Variant())
    adversary = Adversary(name="somebody", may=attack.info.needs, budget=budget)
    return sets.run_set(attack, made.case, made.target, adversary, (), made.known, 0)


def end_of(evidence):
    return next(check for check in evidence.health if check.number == 40)


@pytest.mark.parametrize(("attack", "rig"), set_attacks())
def test_half_a_budget_is_never_a_bare_resisted(attack, rig):
    try:
        whole = ran(attack, rig, Budget())
    except (BadInput, NotGranted):
        pytest.skip("the attack refuses this kind of input")
    for name in (QUERIES, RECORDS):
        half = whole.spent[name] // 2
        if not half:
            continue
        cut = ran(attack, rig, Budget(**{name: half}))
        if cut.verdict is Verdict.RESISTED:
            assert any(f"within {half}" in reason for reason in cut.reasons), cut.reasons
        if cut.extra.get("stopped") and cut.verdict is not Verdict.BROKEN:
            assert cut.verdict is Verdict.INCONCLUSIVE
            assert not end_of(cut).ok and end_of(cut).fatal


def canary(queries):
    return ran(Canary(), rigs_for(Canary.info)[0], Budget(queries=queries))


def test_an_audit_cut_off_in_the_middle_does_not_resist():
    whole, cut = canary(None), canary(20)
    assert whole.verdict is Verdict.RESISTED and end_of(whole).ok
    assert cut.verdict is Verdict.INCONCLUSIVE
    assert "after 20 queries: 20 of 40 questions" in " ".join(cut.reasons)


def test_an_audit_whose_budget_just_does_resists_within_it():
    assert canary(40).verdict is Verdict.RESISTED
    assert canary(40).reasons[-1] == "within 40 queries (all spent)"


def test_a_clock_that_ends_an_attack_leaves_nothing_resisted(monkeypatch):
    monkeypatch.setattr("casemate.runs.driver.over", lambda until: True)
    late = canary(None)
    assert late.verdict is Verdict.INCONCLUSIVE
    assert "the time was up after 40 queries" in end_of(late).detail


def test_the_end_is_told_again_from_a_stored_part():
    rig = rigs_for(Canary.info)[0]
    made, adversary = rig.make(Variant()), Adversary(name="somebody", may=Canary.info.needs, budget=Budget(queries=20))
    part = sets.set_part(Canary(), made.case, made.target, adversary, (), made.known, 0)
    mark = made.target.fingerprint()
    again = sets.set_evidence(Canary(), "audit", adversary, made.target.name, mark, 0, part)
    assert again.verdict is Verdict.INCONCLUSIVE and "20 of 40" in end_of(again).detail
    part.facts.pop("scope")  # as parts were stored before the plan was noted
    assert sets.set_evidence(Canary(), "audit", adversary, made.target.name, mark, 0, part).verdict is Verdict.INCONCLUSIVE


def test_a_smaller_flood_that_was_held_names_the_budget_it_was_held_within():
    case = Stall(x=np.zeros((4, 2)), rows=300)
    adversary, meter = Adversary(name="somebody", may=Need.SUBMIT, budget=Budget(queries=150)), Meter(np.arange(400))
    meter.count("queries", 150)
    scope = scope_of(Flood(), case, adversary, meter)
    assert scoped(scope) == "within 150 queries (all spent); the case plans for up to 300"
    assert end_check("", scope, meter.total).ok is False and not end_check("", scope, meter.total).fatal


def test_queries_left_over_held_nobody_back():
    case = Copy(low=np.zeros(2), high=np.ones(2), queries=1000)
    adversary, meter = Adversary(name="somebody", may=Need.SCORE, budget=Budget(queries=100)), Meter(np.arange(400))
    meter.count("queries", 13)
    assert scoped(scope_of(Flood(), case, adversary, meter)) == ""


@pytest.mark.parametrize(
    ("records", "fraction", "said"),
    [(None, 0.01, "0.01 of 60 records, is less than one record"), (0, 0.1, "records=0"), (3, 0.01, "less than one record")],
)
def test_too_few_records_are_named_and_never_none(records, fraction, said):
    rig = rigs_for(LabelFlip.info)[0]
    made = rig.make(Variant())
    case = replace(made.case, fractions=(fraction,))
    adversary = Adversary(name="somebody", may=LabelFlip.info.needs, budget=Budget(records=records))
    found = sets.run_set(LabelFlip(), case, made.target, adversary, (), made.known, 0)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert said in found.extra["stopped"] and "None" not in found.extra["stopped"]
    assert end_of(found).ok is False


def test_what_a_control_refused_is_the_controls_merit():
    check = end_check("refused: the endpoint refused 3 of 5 rows", None, {"queries": 5})
    assert check.ok is False and not check.fatal and "endpoint ended it" in check.detail


@pytest.mark.parametrize(
    ("detail", "said"),
    [({"gave_up": "the scores bend everywhere"}, "bend everywhere"), ({"width": 0.25, "answers": 40}, "after 40 answers"),
     ({"width": 1e-6, "answers": 40}, ""), ({}, "")],
)  # fmt: skip
def test_a_copy_that_was_never_finished_shows_nothing_of_the_target(detail, said):
    copy, scores = _Near(detail), np.arange(200.0)[:, None]
    truth = Holdout(x=scores, y=np.arange(200) % 2)
    endpoint, meter = Endpoint(cm.wrap(lambda x: (np.asarray(x)[:, 0] % 2).astype(int))), Meter(np.arange(1))
    opinion = judging.judge(Copy(pool=scores, truth=truth), [(40, copy.replica())], endpoint, meter)
    assert not opinion.broken and opinion.interval.high < 0.9
    assert said in opinion.undecided and bool(opinion.undecided) is bool(said)


class _Near:
    """A copy that is right on three inputs of four."""

    def __init__(self, detail):
        self._detail = detail

    def replica(self):
        return Replica(labels=lambda x: np.where(x[:, 0] % 4 == 3, 0, x[:, 0] % 2).astype(int), detail=self._detail)
