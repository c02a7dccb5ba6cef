"""RMIA, quantile regression, modified entropy, the shadow attack and poison-amplified membership."""

import numpy as np
import pandas as pd
import pytest

import casemate as cm
from casemate.attacks import _shadows
from casemate.attacks.privacy.entropy import ModifiedEntropy, best_cut, log_entropy
from casemate.attacks.privacy.lira import LiRA
from casemate.attacks.privacy.loss_threshold import LossThreshold
from casemate.attacks.privacy.quantile import QuantileRegression
from casemate.attacks.privacy.rmia import RMIA, dominance, gain
from casemate.attacks.privacy.shadow import ShadowModel
from casemate.attacks.privacy.truth_serum import TruthSerum, other_labels
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.case import Holdout, Infer
from casemate.core.errors import BadInput, NotGranted
from casemate.core.oracle import Known
from casemate.core.random import RowRandom
from casemate.judges.roc import area


def test_a_gain_is_the_ratio_to_the_mean_of_in_and_out():
    seen, out = np.array([0.9]), np.array([0.2])
    assert gain(seen, out, 0.0)[0] == pytest.approx(np.log(0.9 / 0.6))  # in is taken to be sure
    assert gain(seen, out, 1.0)[0] == pytest.approx(np.log(0.9 / 0.2))  # in is taken to be like out
    assert gain(np.zeros(1), np.zeros(1), 1.0)[0] == 0  # neither is a division by zero


def test_ties_of_the_count_are_broken_by_the_gain():
    own = np.array([0.1, 0.15, 0.9, -3.0])
    score = dominance(own, np.array([0.0, 0.5, 1.0]), 1.0)
    assert len(set(score)) == 4
    assert (np.argsort(score) == np.argsort(own)).all()
    assert score.max() < 1
    assert (np.floor(score * 4) == [1, 1, 2, 0]).all()  # and no tie-break overtakes a count


def test_gamma_asks_for_a_larger_gain():
    own = np.log([4.0])
    others = np.log([1.0, 1.5, 3.0])
    assert np.floor(dominance(own, others, 1.0)[0] * 4) == 3
    assert np.floor(dominance(own, others, 2.0)[0] * 4) == 2


@pytest.mark.parametrize("attack", [RMIA(shadows=16), ShadowModel(shadows=16)], ids=["rmia", "shadow"])
def test_it_finds_more_than_the_loss(baskets, attack):
    found = cm.run(attack, baskets.target, baskets.case, known=Known(recipe=baskets.recipe))
    loss = cm.run(LossThreshold(), baskets.target, baskets.case)
    assert found.extra["auc"] > loss.extra["auc"] + 0.03
    assert found.spent["queries"] == 300


def test_entropy_finds_a_leak_with_thresholds_of_the_shadows(baskets):
    found = cm.run(ModifiedEntropy(shadows=16), baskets.target, baskets.case, known=Known(recipe=baskets.recipe))
    assert found.verdict == "broken"
    assert len(found.extra["thresholds"]) == 6


def population(baskets):
    x, y, truth = baskets.case.x, baskets.case.y, baskets.case.truth
    others = np.flatnonzero(~truth)[:100]  # never trained on, and no candidates
    keep = np.setdiff1d(np.arange(300), others)
    return Infer(x=x[keep], y=y[keep], truth=truth[keep], population=Holdout(x=x[others], y=y[others]))


def test_rmia_compares_with_the_population_and_pays_for_it(baskets):
    case = population(baskets)
    found = cm.run(RMIA(shadows=16), baskets.target, case, known=Known(recipe=baskets.recipe))
    assert found.extra["compared_with"] == "the population"
    assert found.spent["queries"] == 300
    assert found.extra["auc"] > 0.65


def test_quantile_regression_makes_as_many_false_positives_as_it_was_asked_to():
    rng = np.random.default_rng(0)
    alpha, rates = 0.1, []
    for seed in range(20):
        rows = rng.normal(size=(600, 3))
        value = 2 * rows[:, 0] + rng.normal(size=600) * (1 + np.abs(rows[:, 1]))
        quantile = QuantileRegression(alpha=alpha, trees=30).fit(rows[:300], value[:300], RowRandom(seed))
        rates.append(float((value[300:] > quantile(rows[300:])).mean()))
    assert abs(np.mean(rates) - alpha) < 0.015  # three standard errors of twenty runs


def test_quantile_regression_runs_and_needs_a_population(baskets):
    found = cm.run(QuantileRegression(), baskets.target, population(baskets))
    assert found.extra["population"] == 100
    assert found.spent["queries"] == 300
    assert found.extra["fpr"] < 0.3
    with pytest.raises(BadInput, match="there are 0; give Infer"):
        cm.run(QuantileRegression(), baskets.target, baskets.case)
    with pytest.raises(BadInput, match="with at least 200"):
        cm.run(QuantileRegression(alpha=0.01), baskets.target, population(baskets))


def test_quantile_regression_reads_tables():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(size=160), "job": rng.choice(["cook", "clerk"], 160)})
    y = (frame["age"] > 0).to_numpy().astype(int)
    target = cm.wrap(lambda x: np.tile([0.4, 0.6], (len(x), 1)), output="scores", classes=2, version="1")
    case = Infer(x=frame[:60], y=y[:60], truth=np.arange(60) < 30, population=Holdout(x=frame[60:], y=y[60:]))
    found = cm.run(QuantileRegression(), target, case)
    assert found.spent["queries"] == 160


def plain_entropy(p, y):
    others = np.delete(p, y)
    return -(1 - p[y]) * np.log(p[y]) - (others * np.log(1 - others)).sum()


def test_modified_entropy_is_its_formula_and_stays_exact_where_scores_saturate():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(50, 4)) * 3, rng.integers(0, 4, 50)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = [np.log(plain_entropy(a, b)) for a, b in zip(p, y, strict=True)]
    assert log_entropy(z, y) == pytest.approx(np.array(expected), rel=1e-9)
    sure = log_entropy(np.array([[60.0, 0.0], [90.0, 0.0], [-90.0, 0.0]]), np.zeros(3, int))
    assert np.isfinite(sure).all()
    assert sure[1] < sure[0] - 50 < sure[2] - 50  # both probabilities round to 1, and they are told apart


def test_the_best_cut_lets_equal_values_fall_on_one_side():
    value = np.array([0.0, 1.0, 1.0, 2.0])
    assert best_cut(value, np.array([True, True, False, False])) in (0.0, 1.0)
    assert best_cut(value, np.array([True, True, True, False])) == 1.0


def test_wrong_labels_are_wrong_and_known():
    y = np.array([3, 5, 9, 9, 5, 3])
    wrong = other_labels(y, np.arange(6), RowRandom(0))
    assert (wrong != y).all()
    assert set(wrong) <= {3, 5, 9}


def test_poison_makes_the_poisoned_leak_more_than_they_do_alone(baskets):
    from casemate.testing import worlds
    from casemate.trainers import MLP

    x, y = worlds.digits()
    world = worlds.leaky(x[:400], y[:400], learner=MLP(hidden=(32,), epochs=40, optimiser="adam", rate=0.01), seed=2)
    known = Known(recipe=world.recipe)
    alone = cm.run(LiRA(shadows=16), world.target, world.case, known=known)
    serum = cm.run(TruthSerum(shadows=16, copies=2, share=0.4), world.target, world.case, known=known)
    chosen, truth = np.array(serum.extra["targets"]), world.case.truth
    assert serum.spent["records"] == serum.extra["records"] == 160
    gained = area(serum.rows["score"][chosen], truth[chosen]) - area(alone.rows["score"][chosen], truth[chosen])
    assert gained > 0.05


def test_poison_takes_both_powers_and_no_more_records_than_there_are(baskets):
    known = Known(recipe=baskets.recipe)
    for may in (Need.LABEL | Need.SCORE, Need.LABEL | Need.CONTRIBUTE):
        with pytest.raises(NotGranted):
            cm.run(TruthSerum(), baskets.target, baskets.case, adversary=Adversary(name="one", may=may), known=known)
    found = cm.run(TruthSerum(shadows=8), baskets.target, baskets.case, known=known, budget=Budget(records=10))
    assert found.spent["records"] == 8
    assert len(found.extra["targets"]) == 2
    none = cm.run(TruthSerum(shadows=8), baskets.target, baskets.case, known=known, budget=Budget(records=3))
    assert "3 records are fewer than the 4 copies" in none.extra["stopped"]


@pytest.mark.parametrize("name", ["digits", "purchases"])
def test_the_likelihood_ratio_reaches_what_the_study_measured(name):
    from casemate.testing import worlds

    # 64 shadows of a 64-64-10 network; the study's own figures carry the same sampling error as ours.
    data, auc, tpr = {"digits": (worlds.digits(), 0.627, 0.066), "purchases": (worlds.purchases(1500), 0.860, 0.263)}[name]
    _shadows.forget()
    world = worlds.leaky(*data)
    found = cm.run(LiRA(), world.target, world.case, known=Known(recipe=world.recipe)).extra
    wide = 2**0.5
    assert abs(found["auc"] - auc) < wide * (found["auc_interval"]["high"] - found["auc_interval"]["low"]) / 2
    shown = found["tpr_at_0.01_fpr"]
    # The threshold is read off the others too: its own error counts beside that of the rate.
    assert abs(shown["tpr"] - tpr) < 2 * wide * (shown["interval"]["high"] - shown["interval"]["low"]) / 2
