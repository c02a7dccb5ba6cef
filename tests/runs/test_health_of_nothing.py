"""An attack that did nothing, or that cannot be told from one, never says `resisted`. Each test is a way it once did."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks import PGD, Edits, HopSkipJump
from casemate.attacks._rows import Rows
from casemate.attacks.evasion.noise import Noise
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.attack import AttackInfo
from casemate.core.evidence import Baseline, Check, Verdict
from casemate.core.oracle import Meter
from casemate.judges.verdict import rate_verdict
from casemate.runs import evade, sets
from casemate.runs.part import Part

torch.set_num_threads(1)
X = np.random.default_rng(1).uniform(0.1, 0.4, (40, 4))
FILES = [b"HEAD" + bytes([i]) * 8 for i in range(20)]


def step(x):
    return (np.asarray(x)[:, 0] > 0.5).astype(int)


def case(radius=0.05, x=X, **options):
    return cm.Evade(x, np.zeros(len(x), int), cm.Ball("linf", radius), **options)


def attack_of(function, scope="rows", **more):
    class Made:
        info = AttackInfo(**{"id": "evasion.made", "needs": Need.LABEL, "scope": scope, "case": "evade", "summary": "", **more})
        __dataclass_fields__: dict = {}

        def __call__(self, oracle, case, *, rng):
            return function(oracle, case)

    return Made()


def line(evidence, number):
    return next((check for check in evidence.health if check.number == number), None)


def still(oracle, case):
    """Asks about the inputs, as often as would do."""
    at = Rows.begin(case)
    for _ in range(12):
        at = yield at.see(case, oracle.look(case.x[np.searchsorted(case.row, at.row)], rows=at.row))
    return at


# -- chance and size ------------------------------------------------------------------------------------------------------
def test_no_hit_where_random_changes_break_some_is_weaker_than_chance():
    verdict, reasons = rate_verdict(0, 100, (), Baseline("random change", 0.17))
    assert verdict == Verdict.INCONCLUSIVE
    assert reasons == ("random changes break 17 %: the attack is weaker than chance",)
    evidence = cm.run(attack_of(still), cm.wrap(step, classes=2), case(0.3))
    assert evidence.verdict == "inconclusive" and any("weaker than chance" in r for r in evidence.reasons)


@pytest.mark.parametrize(("n", "verdict"), [(3, "inconclusive"), (16, "inconclusive"), (17, "resisted"), (200, "resisted")])
def test_few_rows_exclude_nothing(n, verdict):
    found, reasons = rate_verdict(0, n, (), None)
    assert found == verdict
    assert not reasons or f"{n} rows cannot exclude that 20 % break" in reasons[0]


def test_what_was_not_measured_is_not_healthy():
    unknown = Check(11, "finished optimising", None, "three steps")
    assert rate_verdict(0, 100, (unknown,), None) == (
        Verdict.INCONCLUSIVE, ("check 11, finished optimising, was not measured: three steps",),
    )  # fmt: skip
    assert rate_verdict(0, 100, (replace(unknown, fatal=False),), None)[0] == Verdict.RESISTED
    assert rate_verdict(3, 100, (unknown,), None) == (Verdict.BROKEN, ())


# -- finished optimising --------------------------------------------------------------------------------------------------
def test_few_yields_measure_nothing():
    net = torch.nn.Linear(4, 2).double().eval()
    target = cm.wrap(net)
    one = cm.Evade(X, target.respond(X).label.numpy(), cm.Ball("linf", 1e-6))
    short = cm.run(PGD(steps=5), target, one)
    assert line(short, 11).ok is None and short.verdict == "inconclusive"
    assert any("check 11" in reason for reason in short.reasons)
    assert line(cm.run("evasion.pgd", target, one), 11).ok is True


def test_a_walk_that_still_comes_nearer_is_not_done():
    rng = np.random.default_rng(0)
    x, weights = rng.random((20, 30)), rng.normal(size=30)
    target = cm.wrap(lambda x: ((np.asarray(x) - 0.5) @ weights > 0).astype(int), classes=2)
    one = cm.Evade(x, target.respond(x).label, cm.Ball("l2", 0.0005))
    for queries, ok in ((60, None), (120, False), (400, False), (3000, True)):
        evidence = cm.run(HopSkipJump(), target, one, budget=Budget(queries_per_row=queries))
        assert line(evidence, 11).ok is ok, queries
        assert evidence.verdict == ("resisted" if ok else "inconclusive")


def test_a_dialogue_that_notes_nothing_is_not_measured():
    def ask(oracle, case):
        for _ in range(20):
            yield cm.Ask(case.x)

    evidence = cm.run(attack_of(ask, "dialogue"), cm.wrap(step, classes=2), case())
    assert line(evidence, 11).ok is None and evidence.verdict == "inconclusive"


# -- asking ---------------------------------------------------------------------------------------------------------------
def test_edits_that_change_nothing_ask_nothing():
    target = cm.wrap(lambda rows: np.zeros(len(rows), int), classes=2)
    within = cm.Bytes(lambda a, b: True, lambda row, origin, rng: row)
    evidence = cm.run(Edits(), target, cm.Evade(FILES, np.zeros(20, int), within))
    assert evidence.spent["queries"] == 0 and line(evidence, 39).ok is False
    assert evidence.verdict == "inconclusive" and "20 of 20 rows attacked without one call" in str(evidence)
    assert not line(evidence, 11).applies and not line(evidence, 14).applies
    busy = cm.Bytes(lambda a, b: True, lambda row, origin, rng: row + bytes(rng.integers(0, 256, 4, dtype=np.uint8)))
    assert cm.run(Edits(), target, cm.Evade(FILES, np.zeros(20, int), busy)).verdict == "resisted"


# -- the target, and what it answers --------------------------------------------------------------------------------------
def test_undeclared_noise_in_the_scores_is_found_and_rounding_is_not():
    rng = np.random.default_rng(0)

    def noisy(x, size):
        p = 0.3 + 0.1 * np.asarray(x)[:, 0] + size * rng.normal(size=len(x))
        return np.stack([1 - p, p], 1)

    for size, ok in ((0.01, False), (1e-9, True)):
        evidence = cm.run(Noise(trials=20), cm.wrap(lambda x, size=size: noisy(x, size), output="scores"), case())
        assert line(evidence, 5).ok is ok


def test_a_target_that_learns_from_questions_is_not_untouched():
    asked = []

    def hardening(x):
        asked.extend(x)
        return step(x) if len(asked) < 500 else np.ones(len(x), int)

    evidence = cm.run(Noise(trials=20), cm.wrap(hardening, classes=2), case())
    assert line(evidence, 2).ok is False and "the target changed during the run: 16 rows" in line(evidence, 2).detail


def test_a_target_that_changes_under_a_copy_is_seen_too():
    from casemate.core.case import Copy, Holdout, Replica

    asked = []

    def drifting(x):
        asked.extend(x)
        return step(x) if len(asked) < 60 else 1 - step(x)

    def ask(oracle, case):
        oracle.labels(case.pool, rows=np.arange(len(case.pool)))
        yield Replica(labels=step)

    x = np.random.default_rng(0).random((80, 2))
    attack = attack_of(ask, "set", case="copy")
    evidence = cm.run(attack, cm.wrap(drifting, classes=2), Copy(pool=x[:40], truth=Holdout(x=x[40:], y=step(x[40:]))))
    assert line(evidence, 2).ok is False and line(evidence, 39).ok is True


def test_a_success_that_was_seen_and_forgotten_is_told():
    def forgetful(oracle, case):
        at = Rows.begin(case)
        for _ in range(12):
            oracle.look(np.clip(case.x + case.within.radius, 0, 1), rows=case.row)
            at = yield at

    evidence = cm.run(attack_of(forgetful), cm.wrap(step, classes=2), case(0.45))
    assert evidence.rate == 0 and line(evidence, 10).ok is False
    assert "40 an answer met the goal and was not claimed" in line(evidence, 10).detail


def test_a_success_outside_the_constraint_is_nothing_to_claim():
    def far(oracle, case):
        at = Rows.begin(case)
        for _ in range(12):
            oracle.look(np.ones_like(case.x), rows=case.row)
            at = yield at

    assert line(cm.run(attack_of(far), cm.wrap(step, classes=2), case(0.05)), 10).ok is True


# -- what is shown --------------------------------------------------------------------------------------------------------
def test_labels_in_another_numbering_are_hinted_at():
    one = cm.Evade(X, np.arange(40) % 10 + 5, cm.Ball("linf", 0.1))
    evidence = cm.run(Noise(trials=2), cm.wrap(lambda x: np.arange(len(x)) % 4, classes=4), one)
    assert evidence.n == 0 and evidence.verdict == "inconclusive"
    assert "labels y in 5..14, decisions in 0..3: do they share one numbering?" in str(evidence)


def test_rows_wrong_at_the_start_are_information_and_pass_nothing():
    evidence = cm.run(Noise(trials=2), cm.wrap(step, classes=2), case())
    assert line(evidence, 25).ok is None and not line(evidence, 25).fatal and line(evidence, 25).detail == "0 of 40 rows"


def test_reasons_of_a_break_by_an_unhealthy_attack_are_printed():
    net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Softmax(1)).double().eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0, 0, 0], [-1, 0, 0, 0]])), net[0].bias.copy_(torch.tensor([-0.25, 0.25]))
    target = cm.wrap(net)
    one = cm.Evade(X, target.respond(X).label.numpy(), cm.Ball("linf", 0.9))
    evidence = cm.run("evasion.pgd", target, one)
    assert evidence.verdict == "broken" and "probabilities, not logits" in str(evidence)


@pytest.mark.parametrize("budget", [Budget(queries=9), Budget(queries_per_row=2)], ids=["whole", "row"])
def test_a_ledger_above_the_budget_is_caught(budget):
    meter, adversary = Meter(np.arange(4)), Adversary(name="a", may=Need.LABEL, budget=budget)
    meter.add("queries", np.repeat(np.arange(4), 2))
    assert evade._kept(meter, adversary, np.arange(4)) and sets._kept(meter, adversary, 4)
    meter.add("queries", [1, 1])
    assert not evade._kept(meter, adversary, np.arange(4)) and not sets._kept(meter, adversary, 4)


def test_a_budget_that_was_not_kept_makes_an_attack_unhealthy():
    from casemate.runs.health import checks

    rows = {"row": np.arange(2), "right": np.ones(2, bool), "improving": np.zeros(2, bool), "truth": np.zeros(2), "label_before": np.zeros(2)}
    found = checks(Noise(), [Part(rows=rows, facts={"budget_kept": False})])
    assert [c.number for c in found if c.ok is False] == [23]
    assert rate_verdict(0, 100, found, None)[0] == Verdict.INCONCLUSIVE
