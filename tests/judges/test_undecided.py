"""`resisted` needs a sample that could have shown the break, and an attack that did something."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import casemate as cm
from casemate.core.adversary import researcher
from casemate.core.attack import AttackInfo
from casemate.core.case import Copy, Guesses, Holdout, Infer, Poison, Records, Replica
from casemate.core.target import Recipe

X = np.linspace(0, 1, 100)[:, None]


def step(x):
    return (np.asarray(x)[:, 0] > 0.5).astype(int)


def constant(x):
    return np.zeros(len(x), int)


def claiming(kind, *claims, asks=True, write=0):
    class Made:
        info = AttackInfo(id="made.attack", needs=cm.Need.LABEL, scope="set", case=kind, summary="")
        __dataclass_fields__: dict = {}

        def __call__(self, oracle, case, *, rng):
            if asks:
                oracle.labels(X[:1], rows=np.zeros(1, int))
            if write:
                oracle.contribute(write)
            yield from claims

    return Made()


def line(evidence, number):
    return next((check for check in evidence.health if check.number == number), None)


def target():
    return cm.wrap(step, classes=2)


# -- membership -----------------------------------------------------------------------------------------------------------
def guesses(truth, n):
    return Infer(x=X[:n], y=np.zeros(n, int), truth=truth), Guesses(score=truth.astype(float), member=truth)


def test_three_and_three_rows_show_nothing_whatever_they_say():
    case, right = guesses(np.arange(6) < 3, 6)
    for claim in (right, replace(right, member=~right.member), replace(right, member=np.ones(6, bool))):
        evidence = cm.run(claiming("infer", claim), target(), case)
        assert evidence.verdict == "inconclusive" and "3 members and 3 others cannot exclude" in str(evidence)


def test_an_attack_that_claims_nothing_or_asks_nothing_shows_nothing():
    case, right = guesses(np.arange(100) < 50, 100)
    assert cm.run(claiming("infer"), target(), case).verdict == "inconclusive"
    silent = cm.run(claiming("infer", replace(right, member=np.zeros(100, bool)), asks=False), target(), case)
    assert line(silent, 39).ok is False and silent.verdict == "inconclusive"


# -- copies ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("claims", "verdict", "reason"),
    [
        ((), "inconclusive", "the attack handed in no copy"),
        ((Replica(labels=constant),), "inconclusive", "no better than the majority class"),
        ((Replica(labels=lambda x: (np.asarray(x)[:, 0] > 0.62).astype(int)),), "inconclusive", "cannot exclude 0.9"),
        ((Replica(labels=lambda x: (np.asarray(x)[:, 0] > 0.75).astype(int)),), "resisted", "agreement 0.75"),
        ((Replica(labels=step),), "broken", "agreement 1"),
        ((Replica(labels=lambda x: (np.asarray(x)[:, 0] > 0.75).astype(int), detail={"linear": False, "largest_error": 0.3}),),
         "inconclusive", "does not apply: the model is not linear"),
    ],
    ids=["none", "constant", "straddling", "poor", "exact", "not linear"],
)  # fmt: skip
def test_a_copy_resists_only_where_it_learned_something_and_the_line_is_out_of_reach(claims, verdict, reason):
    evidence = cm.run(claiming("copy", *claims), target(), Copy(pool=X, queries=10, truth=Holdout(x=X, y=step(X))))
    assert evidence.verdict == verdict and reason in str(evidence)
    assert evidence.n == (100 if claims else 0)


# -- poison ---------------------------------------------------------------------------------------------------------------
def nearest(x, y, seed):
    """One nearest neighbour: as sensitive to labels as can be."""
    x, y = np.asarray(x), np.asarray(y)
    return cm.wrap(lambda new: y[np.abs(np.asarray(new) - x[:, 0][None]).argmin(1)], classes=2, version="1")


def poisoned(fit, claim, n=100):
    held = np.random.default_rng(0).random((n, 1))
    case = Poison(recipe=Recipe(fit=fit, x=X, y=step(X)), fractions=(0.02,), seeds=(0,), truth=Holdout(x=held, y=step(held)))
    return cm.run(claiming("poison", claim, asks=False, write=2), None, case, adversary=researcher())


def test_a_recipe_that_ignores_its_data_cannot_resist_poison():
    far = Records(index=np.array([0, 99]), x=X[[0, 99]], y=np.array([1, 0]))
    evidence = poisoned(lambda x, y, seed: target(), far)
    assert line(evidence, 37).ok is False and evidence.verdict == "inconclusive"
    assert "with every label moved to another class the error goes from 0.000 to 0.000" in str(evidence)
    assert line(poisoned(nearest, far), 37).ok is True


def test_records_that_change_nothing_poison_nothing():
    same = Records(index=np.array([0, 99]), x=X[[0, 99]], y=step(X[[0, 99]]))
    evidence = poisoned(nearest, same)
    assert line(evidence, 38).ok is False and evidence.verdict == "inconclusive"
    assert line(poisoned(nearest, replace(same, x=X[[0, 98]])), 38).ok is True


def test_poison_resists_where_the_interval_stays_below_the_tolerance():
    edge = Records(index=np.array([49, 50]), x=X[[49, 50]], y=np.array([1, 0]))
    def robust(x, y, seed):
        low, high = (np.median(np.asarray(x)[np.asarray(y) == k, 0]) for k in (0, 1))
        sign = 1 if high > low else -1
        return cm.wrap(lambda new: (sign * (np.asarray(new)[:, 0] - 0.5) > 0).astype(int), classes=2, version="1")

    assert poisoned(robust, edge, n=400).verdict == "resisted"
    few = poisoned(robust, edge, n=60)
    assert few.rate == 0 and few.verdict == "inconclusive" and "60 samples cannot exclude 0.01" in str(few)


def test_meter_is_not_charged_for_training():
    far = Records(index=np.array([0, 99]), x=X[[0, 99]], y=np.array([1, 0]))
    assert SimpleNamespace(**poisoned(nearest, far).spent).health == 0
