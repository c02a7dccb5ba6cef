"""Audits with canaries: bounds that hold, claims that do not, and exposure."""

from types import SimpleNamespace

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.privacy.canary import Canary
from casemate.core.adversary import Budget
from casemate.core.case import Audit, Holdout
from casemate.core.entities import Privacy
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.judges.audit import audited, exposure
from casemate.runs.kinds.audit import build, why_not, wrong_labels
from casemate.testing import worlds
from casemate.trainers import MLP

OVERFIT = MLP(hidden=(64,), epochs=60, optimiser="adam", rate=0.01)


def responses(m, epsilon, seed):
    """Randomised response: each bit is told truly with probability e^epsilon / (1 + e^epsilon)."""
    rng = np.random.default_rng(seed)
    truth = rng.random(m) < 0.5
    told = truth ^ (rng.random(m) < 1 / (1 + np.exp(epsilon)))
    return truth, told + 0.01 * rng.random(m)  # ties in random order


def test_the_bound_exceeds_the_truth_in_at_most_a_twentieth_of_audits():
    epsilon = 1.0
    bounds = []
    for seed in range(200):
        truth, score = responses(500, epsilon, seed)
        bounds.append(max(found.epsilon for found in audited(score, truth, 0.0)))
    assert np.mean(np.array(bounds) > epsilon) <= 0.05
    assert np.median(bounds) > 0.6  # and it is no empty promise


@pytest.mark.parametrize(("claim", "verdict"), [(1.0, Verdict.RESISTED), (0.3, Verdict.BROKEN)])
def test_a_claim_below_what_a_mechanism_gives_away_is_broken(claim, verdict):
    truth, score = responses(1000, 1.0, 0)
    y = np.ones(1000, int)
    y[0], score[0] = 0, 1 - score[0]

    def answer(x):  # by heart: the records themselves tell nothing
        told = score[np.asarray(x)[:, 0].astype(int), None]
        return np.concatenate([-told, told], axis=1)

    target = cm.wrap(answer, output="logits", classes=2, version="1")
    case = Audit(x=np.arange(1000.0)[:, None], y=y, truth=truth, epsilon=claim, delta=0.0)
    found = cm.run(Canary(), target, case)
    assert found.verdict is verdict
    assert found.rate == found.extra["audited"] < 1.0 < found.extra["detectable"]
    assert found.extra["claimed"] == claim
    assert found.spent["queries"] == 1000


def test_too_few_canaries_decide_nothing():
    truth, score = responses(30, 0.1, 1)
    target = cm.wrap(lambda x: np.concatenate([-x, x], axis=1), output="logits", classes=2, version="1")
    case = Audit(x=score[:, None], y=np.arange(30) % 2, truth=truth, epsilon=8.0)
    found = cm.run(Canary(), target, case)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert any("even a perfect attack on 30 canaries" in reason for reason in found.reasons)


def test_coins_that_were_not_fair_are_noticed():
    target = cm.wrap(lambda x: np.concatenate([-x, x], axis=1), output="logits", classes=2, version="1")
    case = Audit(x=np.random.default_rng(0).normal(size=(60, 1)), y=np.arange(60) % 2, truth=np.arange(60) < 58)
    health = {check.number: check for check in cm.run(Canary(), target, case).health}
    assert health[47].ok is False


def test_exposure_of_a_model_that_never_saw_them_is_log2_e():
    rng = np.random.default_rng(0)
    found = exposure(rng.random(20000), rng.random(20000))
    assert abs(found.mean() - np.log2(np.e)) < 0.03  # three standard errors
    assert exposure(np.array([2.0]), rng.random(1023))[0] == 10  # the first of 1024


def test_a_reference_with_the_same_score_is_met_before_the_secret():
    assert (exposure(np.zeros(5), np.zeros(63)) == 0).all()
    assert exposure(np.array([1.0]), np.array([1.0, 0.0, 0.0]))[0] == pytest.approx(np.log2(4) - np.log2(2))


def bench_of(learner, claimed, canaries=0):
    x, y = worlds.digits()
    recipe = Recipe(worlds.NetFit(learner, 10), x[:400], y[:400], "1")
    part = SimpleNamespace(training=SimpleNamespace(dp=claimed))
    bound = SimpleNamespace(canaries=canaries)
    system = SimpleNamespace(component=lambda id: part, binding=lambda id: bound)
    return SimpleNamespace(recipe=recipe, data=Holdout(x=x[400:900], y=y[400:900]), system=system, component="reader")


CELL = SimpleNamespace(seed=0, params={"members": 200})


def test_as_many_canaries_as_the_description_says_and_never_more_than_half_the_training():
    quick = MLP(hidden=(8,), epochs=1)
    for stated, made in ((60, 60), (0, 200), (5000, 200)):
        assert len(build(bench_of(quick, None, stated), CELL).case.y) == made


def test_a_network_that_learns_by_heart_breaks_its_claim():
    bench = bench_of(OVERFIT, Privacy(eps=1.0, delta=1e-5))
    made = build(bench, CELL)
    case = made.case
    assert (case.epsilon, case.delta, len(case.y)) == (1.0, 1e-5, 200)
    assert 0.3 < case.truth.mean() < 0.7
    assert len(case.population.y) == 300
    assert not set(map(bytes, case.x)) & set(map(bytes, case.population.x))
    found = cm.run(Canary(), made.target, case)
    assert found.verdict is Verdict.BROKEN
    assert found.extra["exposure_mean"] > 3
    assert "1 is claimed" in found.reasons[0]


def test_private_training_keeps_its_claim():
    private = MLP(hidden=(64,), epochs=5, clip=1.0, noise=4.0, batch=64)
    made = build(bench_of(private, Privacy(eps=2.0, delta=1e-5)), CELL)
    found = cm.run(Canary(), made.target, made.case)
    assert found.verdict is Verdict.RESISTED
    assert found.rate < 2.0
    assert found.extra["exposure_mean"] < 2.5


def test_without_a_claim_the_line_is_one():
    made = build(bench_of(OVERFIT, "none"), CELL)
    found = cm.run(Canary(), made.target, made.case)
    assert found.extra["claimed"] is None
    assert found.verdict is Verdict.BROKEN
    assert "no epsilon is claimed" in found.reasons[0]


def test_shadows_sharpen_the_scores():
    made = build(bench_of(MLP(hidden=(16,), epochs=8, optimiser="adam", rate=0.01), None), CELL)
    plain = cm.run(Canary(), made.target, made.case).extra["auc"]
    known = Known(recipe=Recipe(made.target, None, None, stack=MLP(hidden=(16,), epochs=8, optimiser="adam", rate=0.01)))
    sharp = cm.run(Canary(shadows=32), made.target, made.case, known=known).extra
    assert sharp["shadows"] == 32
    assert sharp["auc"] > plain - 0.05


def test_a_budget_that_ends_leaves_an_honest_bound():
    made = build(bench_of(OVERFIT, None), CELL)
    found = cm.run(Canary(), made.target, made.case, budget=Budget(queries=50))
    assert found.extra["asked"] == 50
    assert found.rate <= found.extra["detectable"]


def test_wrong_labels_are_wrong():
    from casemate.core.random import RowRandom

    y = np.array(["a", "b", "c", "a"])
    wrong = wrong_labels(y, np.array(["a", "b", "c"]), RowRandom(0), np.arange(4))
    assert (wrong != y).all()
    assert set(wrong) <= {"a", "b", "c"}


def test_what_cannot_be_audited_says_why():
    bench = bench_of(OVERFIT, None)
    assert why_not(bench, None) is None
    bench.data = Holdout(x=bench.data.x[:5], y=bench.data.y[:5])
    assert "20 canaries are the fewest" in why_not(bench, None)
    bench.recipe = None
    assert why_not(bench, None) == "no recipe"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"epsilon": 0.0}, "epsilon is above 0"), ({"truth": None}, "give truth="), ({"y": np.zeros(3, int)}, "one label for each")],
    ids=["epsilon", "truth", "labels"],
)
def test_bad_cases_are_refused_in_words(change, words):
    target = cm.wrap(lambda x: np.concatenate([-x, x], axis=1), output="logits", classes=2, version="1")
    given = {"x": np.random.default_rng(0).normal(size=(40, 1)), "y": np.arange(40) % 2, "truth": np.arange(40) < 20} | change
    with pytest.raises(BadInput, match=words):
        cm.run(Canary(), target, Audit(**given))
