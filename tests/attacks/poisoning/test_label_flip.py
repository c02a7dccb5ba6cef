"""Label flips: they hurt more the more there are, a rule hurts more than chance, and nobody writes more than is paid for."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import casemate as cm
from casemate.attacks.poisoning.label_flip import LabelFlip
from casemate.core.adversary import Budget, Need, researcher
from casemate.core.case import Holdout, Poison, Records
from casemate.core.errors import BadInput, TargetFailed
from casemate.core.evidence import Verdict
from casemate.core.oracle import Known
from casemate.core.target import Recipe
from casemate.judges import poison
from casemate.runs.sets import set_part


def fit(x, y, seed):
    return cm.wrap(make_pipeline(StandardScaler(), LogisticRegression(random_state=seed)).fit(x, y))


@pytest.fixture(scope="module")
def case():
    x, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    recipe = Recipe(fit=fit, x=x[:300], y=y[:300])
    return Poison(recipe=recipe, fractions=(0.05, 0.1, 0.2), seeds=(0, 1), truth=Holdout(x=x[300:], y=y[300:]))


@pytest.fixture(scope="module")
def target(case):
    return fit(case.recipe.x, case.recipe.y, 0)


def test_flips_chosen_by_margin_hurt_more_the_more_there_are_and_more_than_random_ones(case, target):
    evidence = cm.run(LabelFlip(), target, case, known=Known(recipe=case.recipe))
    errors = [point[1] for point in evidence.curves["test error"]]
    assert errors == sorted(errors)
    assert evidence.verdict is Verdict.BROKEN
    assert evidence.interval.low > 0
    assert evidence.baseline.name == "random flips"
    assert evidence.rate > evidence.baseline.rate
    assert evidence.spent["records"] == 60
    assert evidence.cost.records in (15, 30, 60)
    assert [f for f, _ in evidence.extra["kearns_li"]] == [0, 0.05, 0.1, 0.2]
    assert evidence.extra["kearns_li"][-1][1] == pytest.approx(0.25)


def test_random_flips_hurt_more_the_more_there_are_on_average(case):
    recipe = replace(case.recipe, fit=case.recipe.fit)
    means = []
    for records in (0, 30, 120):
        rises = []
        for seed in range(5):
            claim = poison.random_flips(case, records, seed) if records else None
            data = poison.poisoned_data(case, claim, records)
            labels = recipe.fit(data.x, data.y, 0).respond(case.truth.x).label
            rises.append(np.mean(labels != case.truth.y))
        means.append(np.mean(rises))
    assert means == sorted(means)
    assert means[-1] > means[0]


@pytest.mark.parametrize("records", [1, 20, 33])
def test_the_budget_of_records_is_a_hard_cap_and_the_rest_of_it_is_used(case, target, records):
    evidence = cm.run(LabelFlip(order="random"), target, case, budget=Budget(records=records))
    assert evidence.spent["records"] == records
    assert len(evidence.claims.index) == records
    assert evidence.extra["records"] == records
    assert evidence.baseline.name == "seed-to-seed variation"


def test_without_records_nothing_is_concluded(case, target):
    evidence = cm.run(LabelFlip(), target, case, budget=Budget(records=0))
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert evidence.spent["records"] == 0
    assert "budget" in evidence.extra["stopped"]


def test_who_cannot_read_the_data_flips_only_what_they_contribute(case, target):
    blind = replace(researcher(), may=Need.CONTRIBUTE)
    seen = cm.run(LabelFlip(), target, case, adversary=blind).claims.index
    other = cm.run(LabelFlip(order="random"), target, case, adversary=blind).claims.index
    assert set(seen) == set(other)  # the same random records, whatever the order
    assert len(set(seen)) == 60


def test_every_flip_is_a_real_one_and_leaves_the_input_as_it_is(case, target):
    claim = cm.run(LabelFlip(), target, case).claims
    assert (claim.y != case.recipe.y[claim.index]).all()
    assert (claim.x == case.recipe.x[claim.index]).all()
    assert len(np.unique(claim.index)) == len(claim.index)


@pytest.mark.parametrize(("index", "paid"), [([0, 0], 2), ([0, 999], 2), ([-1, 2], 2), ([1, 2], 1), ([0.5, 1.5], 2)], ids=str)
def test_a_claim_that_breaks_the_rules_counts_for_nothing(case, index, paid):
    claim = Records(index=np.array(index), x=case.recipe.x[:2], y=1 - case.recipe.y[:2])
    opinion = poison.judge(case, claim, paid)
    assert (opinion.rate, opinion.broken) == (0, False)
    assert opinion.checks[0].ok is False


def test_frames_keep_their_types_when_poisoned():
    import pandas as pd

    x = pd.DataFrame({"n": [1, 2, 3, 4], "c": ["a", "b", "a", "b"]}, index=[7, 8, 9, 10])
    y = pd.Series([0, 1, 0, 1], index=x.index)
    case = Poison(recipe=Recipe(fit=fit, x=x, y=y))
    data = poison.poisoned_data(case, Records(index=np.array([2]), x=x.iloc[[1]], y=np.array([1])), 1)
    assert list(data.x.dtypes) == list(x.dtypes)
    assert data.x.iloc[2].tolist() == [2, "b"]
    assert data.y.tolist() == [0, 1, 1, 1]
    assert list(data.x.index) == [7, 8, 9, 10]
    assert x.iloc[2].tolist() == [3, "a"]


def test_a_recipe_that_raises_is_the_targets_failure(case):
    def broken(x, y, seed):
        raise RuntimeError("no memory for you")

    bad = replace(case, recipe=replace(case.recipe, fit=broken))
    with pytest.raises(TargetFailed, match="no memory for you"):
        cm.run(LabelFlip(), None, bad)


def test_one_class_is_refused_before_anything_is_trained(case):
    bad = replace(case, recipe=replace(case.recipe, y=np.zeros(300, int)))
    with pytest.raises(BadInput, match="one class"):
        cm.run(LabelFlip(), None, bad)


def test_the_interval_pairs_rows_and_seeds():
    rise = np.zeros((2, 400))
    assert poison.paired(rise, 0).high == pytest.approx(1 - 0.025 ** (1 / 400))  # the exact bound: none of 400
    rise[:, :40] = 1  # one row in ten, in both seeds: the standard error is that of 400 rows, not 800
    interval = poison.paired(rise, 0)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.sqrt(0.1 * 0.9 / 400), rel=0.15)


def test_a_stored_part_gives_the_same_evidence(case, target):
    from casemate.core.oracle import Known
    from casemate.runs.part import Part
    from casemate.runs.sets import set_evidence

    attack, adversary = LabelFlip(), researcher()
    part = set_part(attack, case, target, adversary, (), Known(), 0)
    stored = Part.from_bytes(part.to_bytes())
    fresh, again = (set_evidence(attack, case, adversary, "t", "f", 0, p) for p in (part, stored))
    assert fresh.digest() == again.digest()
    assert stored.digest() == part.digest()
