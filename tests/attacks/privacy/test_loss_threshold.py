"""Membership by loss has closed forms: the gap, and the erf of two Gaussian residuals (Yeom et al. 2018)."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

import casemate as cm
from casemate.attacks.privacy.loss_threshold import LossThreshold
from casemate.core.adversary import Adversary, Budget, Need, researcher
from casemate.core.case import Infer
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.oracle import Known
from casemate.core.target import Response

LABELS = Adversary(name="labels", may=Need.LABEL)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(x))[:1000]
    x, y = x[order], y[order]
    model = DecisionTreeClassifier(max_depth=12, min_samples_leaf=2, random_state=0).fit(x[:500], y[:500])
    return model, Infer(x=x, y=y, truth=np.arange(1000) < 500)


def test_the_gap_attack_gains_exactly_the_gap_of_accuracies(digits):
    model, case = digits
    evidence = cm.run(LossThreshold(), model, case, adversary=LABELS)
    gap = model.score(case.x[:500], case.y[:500]) - model.score(case.x[500:], case.y[500:])
    assert evidence.rate == pytest.approx(gap, abs=1e-12)
    assert evidence.extra["loss"] == "gap"
    assert evidence.verdict is Verdict.BROKEN
    assert evidence.spent["queries"] == 1000
    assert evidence.rows["member"].sum() == 500


class Constant:
    """A regression that answers 0 for everything, so that residuals are the labels themselves."""

    name, offers, random, classes = "constant", Need.LABEL, False, None

    def respond(self, x, *, rows=None, draw=0):
        return Response(np.zeros(len(x)))

    def gradient(self, *args, **kwargs):
        raise NotImplementedError

    def fingerprint(self):
        return "constant"

    def state(self):
        return "constant"


@pytest.mark.parametrize("r", [1.5, 2.0, 5.0])
def test_the_threshold_on_gaussian_residuals_gains_what_the_formula_says(r):
    n, rng = 4000, np.random.default_rng(int(10 * r))
    y = np.r_[rng.normal(0, 1, n), rng.normal(0, r, n)]
    case = Infer(x=np.zeros((2 * n, 1)), y=y, truth=np.arange(2 * n) < n)
    cut = 2 * r**2 * np.log(r) / (r**2 - 1)  # where the two densities cross, as a squared error
    evidence = cm.run(LossThreshold(threshold=cut), Constant(), case)
    root = np.sqrt(np.log(r) / (r**2 - 1))
    expected = erf(r * root) - erf(root)
    tpr, fpr = evidence.extra["tpr"], evidence.extra["fpr"]
    error = np.sqrt(tpr * (1 - tpr) / n + fpr * (1 - fpr) / n)
    assert abs(evidence.rate - expected) < 3 * error
    assert evidence.interval.low < expected < evidence.interval.high


def test_known_members_set_the_threshold_at_their_mean_loss_and_are_paid_for(digits):
    model, case = digits
    known = Known(data=(case.x[:500], case.y[:500]))
    evidence = cm.run(LossThreshold(reference=100), model, case, known=known)
    assert evidence.spent["queries"] == 1100
    scores = model.predict_proba(case.x[:100])[np.arange(100), case.y[:100]]
    assert evidence.extra["threshold"] == pytest.approx(np.mean(-np.log(np.maximum(scores, 1e-300))))


def test_without_known_members_half_of_the_candidates_are_called_members():
    x = np.linspace(0, 1, 100)[:, None]
    soft = cm.wrap(lambda x: np.concatenate([1 - x, x], axis=1), output="scores")
    case = Infer(x=x, y=np.ones(100, int), truth=np.arange(100) < 50)
    evidence = cm.run(LossThreshold(), soft, case, adversary=replace(researcher(), may=Need.LABEL | Need.SCORE))
    assert evidence.rows["guess"].sum() == 50
    assert evidence.extra["loss"] == "log"


def test_a_low_false_positive_rate_is_refused_where_too_few_could_show_it(digits):
    model, case = digits
    extra = cm.run(LossThreshold(), model, case).extra
    assert extra["tpr_at_0.001_fpr"] == {"refused": "500 non-members cannot carry it; 2995 can", "needed": 2995}
    assert 0 <= extra["tpr_at_0.01_fpr"]["tpr"] <= 1


def test_the_budget_is_a_hard_cap_and_leaves_a_claim(digits):
    model, case = digits
    evidence = cm.run(LossThreshold(), model, case, adversary=LABELS, budget=Budget(queries=700))
    assert evidence.spent["queries"] == 700
    assert evidence.extra["asked"] == 700
    assert "budget" in evidence.extra["stopped"]
    assert evidence.rate > 0


def test_a_model_that_learned_nothing_leaks_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4000, 2)), rng.integers(0, 2, 4000)
    case = Infer(x=x, y=y, truth=np.arange(4000) % 2 == 0)
    evidence = cm.run(LossThreshold(), cm.wrap(lambda x: np.tile([0.6, 0.4], (len(x), 1)), output="scores"), case)
    assert evidence.verdict is Verdict.RESISTED
    assert evidence.interval.low <= 0 <= evidence.interval.high


NAMED = Infer(x=np.eye(40), y=np.array(["no", "yes"] * 20), truth=np.arange(40) % 2 == 0)


def always(label, output="labels"):
    return cm.wrap(lambda x: np.full(len(x), label), output=output)


@pytest.mark.parametrize("y", [NAMED.y, np.arange(40) % 2 + 0.5])
def test_labels_that_no_answer_can_equal_are_refused_and_no_proof_of_resistance(y):
    with pytest.raises(BadInput, match="as the target names its decisions"):
        cm.run(LossThreshold(), always(1), replace(NAMED, y=y))


def test_classes_written_as_whole_floats_are_read_by_their_scores():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), np.arange(60) // 2 % 2
    target = cm.wrap(lambda x: np.stack([1 / (1 + np.exp(x[:, 0])), 1 / (1 + np.exp(-x[:, 0]))], 1), output="scores")
    case = Infer(x=x, y=y, truth=np.arange(60) % 2 == 0)
    whole, floats = cm.run(LossThreshold(), target, case), cm.run(LossThreshold(), target, replace(case, y=y.astype(float)))
    assert floats.extra["loss"] == "log"
    assert floats.rate == whole.rate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": NAMED.y[:-1]}, "40 with labels of shape"),
        ({"y": NAMED.y[:, None]}, "40 with labels of shape"),
        ({"y": np.where(np.arange(40) == 3, np.nan, 1.0)}, "1 labels that are not finite"),
        ({"population": cm.Holdout(x=np.eye(39), y=np.zeros(39, int))}, "give records of one kind"),
        ({"population": cm.Holdout(x=np.eye(40), y=np.zeros(39, int))}, "population's records are 40"),
    ],
)
def test_candidates_and_population_that_do_not_fit_are_refused_before_anything_is_asked(change, message):
    with pytest.raises(BadInput, match=message):
        cm.run(LossThreshold(), always(1), replace(NAMED, **change))
