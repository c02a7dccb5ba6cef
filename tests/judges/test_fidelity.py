"""What stands beside the agreement of a copy."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from casemate.core.case import Copy, Holdout, Replica
from casemate.core.endpoint import Endpoint
from casemate.core.entities import Prices
from casemate.core.oracle import Meter
from casemate.core.target import Recipe
from casemate.judges.copy import judge
from casemate.judges.fidelity import against_money
from casemate.targets.wrap import wrap

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))


def linear(weights, cut=0.0):
    def scores(x):
        p = 1 / (1 + np.exp(-(np.asarray(x, float) @ np.asarray(weights, float) - cut)))
        return np.stack([1 - p, p], axis=1)

    return scores


def copied(scores):
    return Replica(labels=lambda x: scores(x).argmax(1), scores=scores)


def opinion_of(copy, case=None, **options):
    target = wrap(linear([1, -2, 0.5]), output="scores", version="1")
    meter = Meter(np.arange(300))
    case = case or Copy(low=np.full(3, -9.0), high=np.full(3, 9.0), truth=Holdout(x=X, y=(X[:, 0] > 0).astype(int)))
    return judge(case, [(1000, copy)], Endpoint(target), meter, **options), meter


def test_the_same_function_agrees_everywhere_and_lends_all_its_evasions():
    opinion, meter = opinion_of(copied(linear([1, -2, 0.5])))
    assert opinion.extra["fidelity_uniform"][0] == opinion.extra["fidelity_boundary"][0] == 1.0
    assert opinion.extra["kl_divergence"] == pytest.approx(0)
    led = opinion.extra["transfer"]
    assert led["turned_copy"] > 5
    assert led["turned_target"] == led["turned_copy"]
    assert meter.total["judge"] == 300 + 128 + 64 + 64


def test_a_copy_that_is_right_on_the_task_can_be_wrong_elsewhere_and_at_the_boundary():
    def scores(x):
        near = np.abs(np.asarray(x)).max(1, keepdims=True) < 3.5
        return np.where(near, linear([1, -2, 0.5])(x), linear([-1, 2, -0.5])(x))

    opinion, _ = opinion_of(copied(scores))
    assert opinion.rate > 0.98
    assert opinion.extra["fidelity_uniform"][0] < 0.5
    shifted, _ = opinion_of(copied(linear([1, -2, 0.5], 0.4)))
    assert shifted.extra["fidelity_boundary"][0] < shifted.rate


def test_divergence_is_that_of_the_textbook():
    constant = copied(lambda x: np.tile([0.5, 0.5], (len(x), 1)))
    p = linear([1, -2, 0.5])(X)
    assert opinion_of(constant)[0].extra["kl_divergence"] == pytest.approx((p * np.log(2 * p)).sum(1).mean())


def test_two_trainings_of_a_recipe_are_a_ceiling():
    def fit(x, y, seed):
        return wrap(linear([1, -2, 0.5], 0.3 * seed), output="scores", version=str(seed))

    opinion, _ = opinion_of(copied(linear([1, -2, 0.5])), recipe=Recipe(fit=fit, x=X, y=X[:, 0] > 0))
    between = ((X @ [1, -2, 0.5] > 0) & (X @ [1, -2, 0.5] < 0.3)).mean()
    assert opinion.extra["two_trainings_agree"] == pytest.approx(1 - between)


def test_a_table_is_judged_elsewhere_column_by_column_and_a_failing_copy_agrees_with_nothing():
    frame = pd.DataFrame({"n": RNG.normal(size=80), "c": RNG.choice(["a", "b"], 80)})
    target = wrap(lambda f: ((f["n"] > 0) & (f["c"] == "a")).to_numpy().astype(int), classes=2, version="1")
    case = Copy(truth=Holdout(x=frame, y=np.zeros(80, int)))
    same = Replica(labels=lambda f: ((f["n"] > 0) & (f["c"] == "a")).to_numpy().astype(int))
    opinion = judge(case, [(5, same)], Endpoint(target), Meter(np.arange(80)))
    assert opinion.extra["fidelity_uniform"][0] == 1.0
    assert "fidelity_boundary" not in opinion.extra
    broken = replace(same, labels=lambda f: 1 / 0)
    assert judge(case, [(5, broken)], Endpoint(target), Meter(np.arange(80))).rate == 0


def test_a_curve_against_money():
    points = [(100.0, 0.5, 0.4, 0.6), (4000.0, 0.9, 0.8, 1.0)]
    assert against_money(points, Prices(per_1000_queries=2.5)) == [(0.25, 0.5, 0.4, 0.6), (10.0, 0.9, 0.8, 1.0)]
    assert against_money(points, Prices(per_account=3.0)) == []
