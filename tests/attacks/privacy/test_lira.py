"""The likelihood ratio attack against exact curves, and what a peer's code gets wrong."""

import numpy as np
import pytest
from scipy.stats import norm

import casemate as cm
from casemate.attacks.privacy._answers import confidence
from casemate.attacks.privacy.lira import LiRA, ratio
from casemate.attacks.privacy.loss_threshold import LossThreshold
from casemate.core.adversary import Adversary, Budget, Need, researcher
from casemate.core.case import Holdout, Infer
from casemate.core.errors import BadInput, NotGranted
from casemate.core.oracle import Known
from casemate.judges.roc import area


def gaussian_mean(records, shadows, n=100, d=50, seed=0):
    """Scalar products of a record with the mean of n that it is among or not: what a model shows, and what shadows show."""
    rng = np.random.default_rng(seed)
    square = rng.chisquare(d, records)  # |z|^2
    truth = np.arange(records) < records // 2
    inside = np.tile(np.arange(shadows)[:, None] % 2 == 0, (1, records))

    def shown(member, draws):
        others = np.where(member, n - 1, n)
        return rng.normal(size=draws) * np.sqrt(square * others) / n + member * square / n

    return shown(truth, records), shown(inside, (shadows, records)), inside, truth, square


def test_on_the_gaussian_mean_it_reaches_the_exact_curve():
    # Study E1 (7): n = 100, d = 50 gives an area of .6914 and a true-positive rate of .0554 at 1 %.
    seen, shadow, inside, truth, square = gaussian_mean(8000, 256)
    score = ratio(seen, shadow, inside)
    n = 100
    exact = norm.logpdf(seen, square / n, np.sqrt(square * (n - 1)) / n) - norm.logpdf(seen, 0, np.sqrt(square / n))
    found, best = area(score, truth), area(exact, truth)
    assert abs(best - 0.6914) < 3 * 0.0058  # the standard error of an area on 4000 and 4000
    assert best - 0.01 < found <= best + 0.002
    bar = np.quantile(score[~truth], 0.99)
    assert 0.035 < (score[truth] > bar).mean() < 0.07


def test_offline_reaches_the_same_curve_where_only_the_mean_moves():
    seen, shadow, inside, truth, _ = gaussian_mean(8000, 256)
    assert abs(area(ratio(seen, shadow, inside, online=False), truth) - 0.6914) < 0.025


@pytest.mark.parametrize("pooled", [False, True])
def test_each_side_has_the_spread_of_its_own_models(pooled):
    # A peer takes the spread of models without the record from those with it.
    rng = np.random.default_rng(0)
    inside = np.tile(np.arange(400)[:, None] % 2 == 0, (1, 30))
    shadow = np.where(inside, rng.normal(2, 0.5, (400, 30)), rng.normal(0, 3, (400, 30)))
    score = ratio(np.full(30, 4.0), shadow, inside, pooled=pooled)
    truth = norm.logpdf(4, 2, 0.5) - norm.logpdf(4, 0, 3)
    wrong = norm.logpdf(4, 2, 0.5) - norm.logpdf(4, 0, 0.5)
    assert abs(np.median(score) - truth) < 1
    assert truth + 10 < wrong


def test_the_ratio_is_that_of_two_normal_densities():
    inside = np.array([[True], [True], [False], [False]])
    shadow = np.array([[1.0], [3.0], [-1.0], [0.0]])
    expected = norm.logpdf(1.5, 2, np.sqrt(2)) - norm.logpdf(1.5, -0.5, np.sqrt(0.5))
    assert ratio(np.array([1.5]), shadow, inside)[0] == pytest.approx(expected, abs=1e-12)


def test_a_confidence_is_exact_where_the_probability_rounds_to_one():
    found = confidence(np.array([[800.0, 0.0, 0.0], [-800.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), np.zeros(3, int))
    assert found == pytest.approx([800 - np.log(2), -800 - np.log(2), -np.log(2)])


def test_it_finds_more_than_the_loss_and_spends_one_query_each(baskets):
    known = Known(recipe=baskets.recipe)
    lira = cm.run(LiRA(shadows=32), baskets.target, baskets.case, known=known)
    loss = cm.run(LossThreshold(), baskets.target, baskets.case)
    assert lira.extra["auc"] > loss.extra["auc"] + 0.03
    assert lira.extra["auc"] > 0.8
    assert lira.spent["queries"] == 300
    assert lira.verdict == "broken"
    assert lira.extra["variance"] == "pooled"
    assert lira.extra["shadows_trained_by"] == "the recipe's stack"


def test_without_the_recipe_its_own_networks_still_find_the_leak(baskets):
    may = Adversary(name="outsider", may=Need.LABEL | Need.SCORE)
    found = cm.run(LiRA(shadows=16), baskets.target, baskets.case, adversary=may, known=Known(recipe=baskets.recipe))
    assert found.extra["shadows_trained_by"] == "a small network of the attacker's own"
    assert found.extra["auc"] > 0.7


def test_a_model_that_never_saw_the_candidates_leaks_nothing(baskets):
    rng = np.random.default_rng(0)
    case = Infer(x=baskets.case.x, y=baskets.case.y, truth=rng.permutation(300) < 150)
    stranger = baskets.recipe.fit(rng.integers(0, 2, (100, 40)).astype(float), rng.integers(0, 6, 100), 0)
    found = cm.run(LiRA(shadows=16), stranger, case, known=Known(recipe=baskets.recipe))
    assert found.interval.low <= 0 <= found.interval.high
    assert found.verdict != "broken"


class Rounded:
    """The world's model behind scores of two digits, or none."""

    def __init__(self, inner, digits):
        self.inner, self.digits = inner, digits
        self.name, self.random, self.classes = "rounded", False, inner.classes
        self.offers = Need.LABEL | Need.SCORE

    def respond(self, x, *, rows=None, draw=0):
        shown = self.inner.respond(x)
        scores = None if self.digits is None else np.round(np.asarray(shown.scores, float), self.digits)
        return type(shown)(shown.label, scores, None)

    def gradient(self, *args, **kwargs):
        raise NotImplementedError

    def fingerprint(self):
        return f"rounded {self.digits}"

    def state(self):
        return ""


def test_saturated_scores_leave_finite_guesses_that_still_tell(baskets):
    found = cm.run(LiRA(shadows=16), Rounded(baskets.target, 2), baskets.case, known=Known(recipe=baskets.recipe))
    assert found.extra["saturated"] > 50
    assert np.isfinite(found.rows["score"]).all()
    assert found.extra["auc"] > 0.65


def test_labels_only_are_refused_with_what_would_work(baskets):
    with pytest.raises(NotGranted, match=r"privacy.lira needs scores.*privacy.label_only"):
        cm.run(LiRA(), Rounded(baskets.target, None), baskets.case)


def test_a_budget_that_ends_on_the_way_leaves_guesses_about_those_asked(baskets):
    may = researcher()
    budget = Budget(queries=120)
    found = cm.run(LiRA(shadows=16), baskets.target, baskets.case, adversary=may, budget=budget, known=Known(recipe=baskets.recipe))
    assert found.spent["queries"] == found.extra["asked"] == 120
    assert "budget" in found.extra["stopped"]
    assert found.rows["guess"].sum() <= 120
    # As many members as others were asked about, give or take chance.
    assert found.extra["tpr"] > 0.15


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": 12}, "12 candidates are too few"),
        ({"y": 0}, "every candidate has the label 0"),
        ({"y": 0.5}, "the labels are float64"),
        ({"y": 9}, "scores of shape"),
    ],
    ids=["few", "one class", "no classes", "more classes than scores"],
)
def test_what_cannot_be_attacked_is_refused_in_words(baskets, change, words):
    case, n = baskets.case, change.get("rows", 300)
    y = case.y[:n].copy() if "y" not in change else np.full(n, change["y"])
    if change.get("y") == 9:
        y[0] = 0
    with pytest.raises(BadInput, match=words):
        cm.run(LiRA(), baskets.target, Infer(x=case.x[:n], y=y, truth=np.arange(n) % 2 == 0))


def test_a_population_with_words_for_labels_is_refused(baskets):
    case = Infer(x=baskets.case.x, y=baskets.case.y, truth=baskets.case.truth, population=Holdout(x=np.zeros((2, 40)), y=["a", "b"]))
    with pytest.raises(BadInput, match="the population's records need classes"):
        cm.run(LiRA(shadows=4), baskets.target, case)


def test_bad_parameters_are_refused(baskets):
    for attack, words in ((LiRA(shadows=7), "even number"), (LiRA(variance="own"), "variance"), (LiRA(centre="mode"), "centre")):
        with pytest.raises(BadInput, match=words):
            cm.run(attack, baskets.target, baskets.case)


def test_a_population_makes_shadows_larger_and_costs_no_query(baskets):
    from casemate.testing import worlds

    x, y = worlds.purchases(300, classes=6, bits=40, seed=3)
    case = Infer(x=x[:200], y=y[:200], truth=baskets.case.truth[:200], population=Holdout(x=x[200:], y=y[200:]))
    found = cm.run(LiRA(shadows=16), baskets.target, case, known=Known(recipe=baskets.recipe))
    assert found.spent["queries"] == 200
    assert found.extra["auc"] > 0.75


def test_people_on_both_sides_and_people_twice_are_noticed(baskets):
    case = baskets.case
    members, others = np.flatnonzero(case.truth), np.flatnonzero(~case.truth)
    rows = np.concatenate([members[:40], members[:5], others[:30], members[:10]])  # five twice, ten on both sides
    mixed = Infer(x=case.x[rows], y=case.y[rows], truth=np.arange(85) < 45)
    found = cm.run(LiRA(shadows=16), baskets.target, mixed, known=Known(recipe=baskets.recipe))
    said = {check.name: check for check in found.health}
    assert said["members and others apart"].ok is False
    assert "10 of 40 others are members too" in said["members and others apart"].detail
    assert said["no candidate twice"].ok is False
