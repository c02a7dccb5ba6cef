"""Poisoned rounds of federated training: exact where the formula is, bounded where the rule promises it."""

from dataclasses import replace

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.poisoning.model_replacement import ModelReplacement, unremarkable
from casemate.controls.training.robust_aggregation import RobustAggregation, clipped_mean, krum, median
from casemate.core.errors import BadInput, UsageError
from casemate.core.evidence import Verdict
from casemate.core.federated import Federated, Update
from casemate.judges.exact.training import replacing_update, trimmed_mean
from casemate.judges.federated import judge
from casemate.testing._set_rigs import _Off

RNG = np.random.default_rng(0)
START, STEP, WANTED = RNG.normal(size=(3, 8))


def rounds(n=20, attackers=1, noise=0.3, **more):
    sent = STEP + noise * np.random.default_rng(1).normal(size=(n, 8))
    known = {"start": START, "updates": sent, "attackers": attackers, "wanted": WANTED} | more
    return Federated(**known)


def last(attack, case):
    made = attack(None, case.blind(), rng=cm.RowRandom(0))
    return list(made)[-1]


@pytest.mark.parametrize(("attackers", "rate"), [(1, 1.0), (1, 0.25), (3, 0.5)])
def test_where_the_others_send_nothing_the_joint_model_is_the_wanted_one(attackers, rate):
    case = rounds(attackers=attackers, rate=rate)
    claim = last(ModelReplacement(expect=0.0), case)
    sent = np.concatenate([claim.updates, np.zeros((20 - attackers, 8))])
    assert case.joined(sent) == pytest.approx(WANTED, abs=1e-9)
    if attackers == 1 and rate == 1.0:  # the closed form says the same
        assert START + claim.updates[0] == pytest.approx(replacing_update(WANTED, START, np.tile(START, (19, 1))))


def test_where_all_clients_learn_the_same_the_joint_model_is_the_wanted_one():
    case = rounds(attackers=3, noise=0.0, rate=0.5)
    claim = last(ModelReplacement(), case)
    assert case.joined(np.concatenate([claim.updates, case.updates[3:]])) == pytest.approx(WANTED, abs=1e-9)


def test_the_judge_counts_clients_and_way_exactly():
    case = rounds(updates=np.zeros((20, 8)), attackers=2)
    found = cm.run(ModelReplacement(), None, case)
    assert found.verdict is Verdict.BROKEN
    assert found.rate == pytest.approx(1.0, abs=1e-9)
    assert found.extra["needed"] == 1
    assert found.extra["clients"] == 20
    half = cm.run(ModelReplacement(boost=5.0), None, case)  # a quarter of the way: below the line
    assert half.rate == pytest.approx(0.25, abs=1e-9)
    assert half.verdict is Verdict.RESISTED


def test_the_rise_is_what_the_formula_says():
    case = rounds(evaluate=_Off(START + STEP))
    found = cm.run(ModelReplacement(expect=0.0), None, case)
    mean = case.updates[1:].sum(0) / 20
    assert found.extra["poisoned_error"] == pytest.approx(np.linalg.norm(WANTED + mean - START - STEP))
    assert found.extra["clean_error"] == pytest.approx(np.linalg.norm(case.updates.mean(0) - STEP))
    assert found.rate == pytest.approx(found.extra["poisoned_error"] - found.extra["clean_error"])


def test_errors_of_rows_give_an_interval_and_honest_rounds_wear_it_off():
    x = np.random.default_rng(3).normal(size=(200, 8))
    truth = x @ (START + STEP) > 0

    def wrong(params):
        return (x @ params > 0) != truth

    def towards(params, round):
        return np.tile((START + STEP - params) / 2, (20, 1))

    case = rounds(updates=towards, evaluate=wrong, wanted=-10 * (START + STEP), rounds=8)
    found = cm.run(ModelReplacement(), None, case)
    assert found.verdict is Verdict.BROKEN and found.n == 200
    assert found.interval.low > 0.5
    by_round = [y for _, y, *_ in found.curves["by round"]]
    assert len(by_round) == 8 and by_round[0] == found.rate
    assert found.extra["rise_in_the_end"] < found.rate


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "krum", "clip"])
def test_a_robust_rule_stops_the_boosted_update(rule):
    case = rounds(attackers=2)
    plain = cm.run(ModelReplacement(), None, case)
    hard = cm.run(ModelReplacement(), None, RobustAggregation(rule=rule).harden_rounds(case))
    assert plain.rate > 0.85
    assert hard.rate < 0.25
    assert hard.verdict is Verdict.RESISTED


@pytest.mark.parametrize("far", [1e3, 1e12])
def test_median_and_trimmed_mean_stay_between_honest_values_up_to_their_breakdown(far):
    honest = np.random.default_rng(2).normal(size=(11, 5))
    for bad in range(1, 11):
        sent = np.concatenate([honest, np.full((bad, 5), far)])
        found = median(sent)  # 10 of 21 is the most: fewer than half
        assert (found >= honest.min(0)).all() and (found <= honest.max(0)).all()
    broken = median(np.concatenate([honest, np.full((12, 5), far)]))
    assert (broken > honest.max(0)).all()
    for bad in (1, 3):  # 3 of 14 are cut at each end: below the trim nothing of them is in the mean
        sent = np.concatenate([honest, np.full((bad, 5), far), -np.full((3 - bad, 5), far)])
        found = trimmed_mean(sent, 3 / 14)
        assert (found >= honest.min(0)).all() and (found <= honest.max(0)).all()
    over = trimmed_mean(np.concatenate([honest, np.full((4, 5), far)]), 3 / 15)
    assert (over > honest.max(0)).all()


@pytest.mark.parametrize("far", [50.0, 1e12])
def test_trimming_is_unmoved_by_how_far_the_cut_ones_lie(far):
    honest = np.random.default_rng(2).normal(size=(10, 5))
    near = trimmed_mean(np.concatenate([honest, np.full((2, 5), 49.0)]), 0.2)
    assert trimmed_mean(np.concatenate([honest, np.full((2, 5), far)]), 0.2) == pytest.approx(near, abs=0)


def test_krum_takes_an_honest_update_and_says_what_it_needs():
    honest = np.random.default_rng(2).normal(size=(12, 5))
    for far in (5.0, 1e9):
        sent = np.concatenate([np.full((4, 5), far), honest])
        assert any((krum(sent, 4) == row).all() for row in honest)
    with pytest.raises(BadInput, match="11 clients"):
        krum(honest[:10], 4)


def test_a_clipped_client_moves_the_mean_by_no_more_than_its_length():
    honest = np.random.default_rng(2).normal(size=(10, 5))
    for far in (10.0, 1e200):
        sent = np.concatenate([honest, np.full((1, 5), far)])
        rest = clipped_mean(np.concatenate([honest, np.zeros((1, 5))]), 2.0)
        assert np.linalg.norm(clipped_mean(sent, 2.0) - rest) == pytest.approx(2 / 11)
    assert clipped_mean(honest, 1e9) == pytest.approx(honest.mean(0))


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "krum", "clip"])
def test_what_stays_inside_moves_the_model_under_every_rule(rule):
    """Five of twenty clients. Krum takes no boosted update, and takes the quiet one; under the others quiet costs little."""
    rng = np.random.default_rng(1)
    start, step = rng.normal(size=(2, 100))
    case = Federated(start=start, updates=step + rng.normal(size=(20, 100)), attackers=5, wanted=start - step)
    hard = RobustAggregation(rule=rule, share=0.25).harden_rounds(case)
    loud, quiet = (cm.run(ModelReplacement(inside=inside), None, hard).rate for inside in (False, True))
    assert quiet > 0.1
    assert quiet > (loud + 0.2 if rule == "krum" else loud - 0.06)
    assert loud < cm.run(ModelReplacement(), None, case).rate


def test_where_sending_nothing_does_more_nothing_is_decided():
    rng = np.random.default_rng(1)
    start, step = rng.normal(size=(2, 100))
    case = Federated(start=start, updates=step + rng.normal(size=(20, 100)), attackers=5, wanted=start - step)
    found = cm.run(ModelReplacement(), None, RobustAggregation(rule="krum").harden_rounds(case))
    assert found.baseline.rate > 0.5 > found.rate
    assert found.verdict is Verdict.INCONCLUSIVE
    assert any("send nothing" in reason for reason in found.reasons)


def test_an_inside_update_lies_where_honest_ones_do():
    case = rounds(attackers=5, noise=1.0, wanted=START - 20 * STEP, rule=RobustAggregation())
    own = case.updates[:5]
    sent = last(ModelReplacement(inside=True), case).updates
    near = np.abs(sent - own.mean(0)) <= 2 * own.std(0, ddof=1) + 1e-9
    short = np.linalg.norm(sent, axis=1) <= np.linalg.norm(own, axis=1).max() + 1e-9
    assert near.all() or short.all()
    assert unremarkable(50, 24) == pytest.approx(1.4261, abs=1e-4)  # Phi(z) = 24 / 26: the two of 26 that lie furthest make a majority
    assert unremarkable(10, 1) == 0


def test_what_only_the_judge_may_know_is_hidden():
    case = rounds(attackers=2, evaluate=_Off(START))
    blind = case.blind()
    assert blind.evaluate is None
    assert blind.updates == pytest.approx(case.updates[:2]) and blind.clients == 20


def test_bad_cases_and_claims_are_refused():
    for wrong, words in (
        ({"attackers": 0}, "leave one honest"), ({"attackers": 20}, "leave one honest"), ({"rate": 0.0}, "above 0"),
        ({"wanted": None}, "neither evaluate nor wanted"), ({"wanted": np.zeros(3)}, "same shape"),
        ({"updates": np.full((20, 8), np.nan)}, "finite"), ({"updates": np.zeros((20, 7))}, "finite numbers"),
        ({"rounds": 3}, "updates of each round"), ({"start": np.zeros((2, 4))}, "one vector"),
        ({"rule": lambda sent: 0.0 * sent[0, :2]}, "does not make|could not be broadcast"),
    ):  # fmt: skip
        with pytest.raises((BadInput, ValueError), match=words):
            cm.run(ModelReplacement(), None, rounds(**wrong))
    case = rounds(attackers=2)
    for claim in (Update(updates=np.zeros((3, 8)), wanted=WANTED), Update(updates=np.full((1, 8), np.inf), wanted=WANTED)):
        assert not judge(case, claim).broken and not judge(case, claim).checks[0].ok
    with pytest.raises(BadInput, match="one finite number"):
        cm.run(ModelReplacement(), None, replace(case, evaluate=lambda params: np.nan))
    for params in ({"rule": "mode"}, {"share": 0.5}, {"norm": 0.0}):
        with pytest.raises(UsageError):
            RobustAggregation(**params)


def test_without_a_wanted_model_the_own_updates_are_undone():
    case = rounds(wanted=None, evaluate=_Off(START + STEP))
    claim = last(ModelReplacement(reverse=2.0), case)
    assert claim.wanted == pytest.approx(START - 2 * case.updates[0])
    assert cm.run(ModelReplacement(reverse=2.0), None, case).verdict is Verdict.BROKEN
