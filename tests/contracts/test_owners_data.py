"""An attack without the grant to read the training data reads none: by the case, by the oracle, or on the quiet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.attack import attack, attacks
from casemate.core.case import Backdoor, Holdout, Poison, Property, Records
from casemate.core.endpoint import Endpoint
from casemate.core.errors import NotGranted
from casemate.core.oracle import Known, Meter, Oracle
from casemate.core.random import RowRandom
from casemate.core.target import Recipe, count, take
from casemate.core.withheld import Withheld, given, sealed
from casemate.runs.watched import watched_recipe
from casemate.testing import ContractBroken, attack_checks
from casemate.testing import _data_rules as rules
from casemate.testing._data_rules import data, keys, reached
from casemate.testing._set_rigs import fit_centroids
from casemate.testing.rig import Rig, Variant
from casemate.testing.rigs import rigs_for

X, Y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
RECIPE = Recipe(fit_centroids, X, Y, "1")
WRITES = Adversary(name="eve", may=Need.CONTRIBUTE | Need.LABEL | Need.RECIPE, budget=Budget(records=3))
READS = Adversary(name="bob", may=WRITES.may | Need.DATA)
SAID = "eve does not hold 'data'; this adversary may use: label, recipe, contribute"


@pytest.fixture(autouse=True, scope="module")
def forget():
    yield
    for id in [id for id, kind in attacks._items.items() if kind.__module__ == __name__]:
        del attacks._items[id]


def door(adversary):
    return Oracle(Endpoint(fit_centroids(X, Y, 0)), adversary, Meter(np.arange(9)), Known(data=(X, Y), recipe=RECIPE))


# what is granted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [
    lambda r: np.asarray(r.x), lambda r: np.asarray(r.y), lambda r: r.x[0], lambda r: r.x[:5], lambda r: list(r.y),
    lambda r: take(r.x, np.arange(3)), lambda r: r.x.mean(), lambda r: r.y.tolist(), lambda r: 1 in r.y, lambda r: r.x.values,
])  # fmt: skip
def test_the_recipe_hands_no_data_to_who_may_not_read_them_regression(read):
    case = given(Property(recipe=RECIPE, pool=Holdout(x=X, y=Y), flag=Y > 0), WRITES, RowRandom(0))
    for recipe in (door(WRITES).recipe, case.recipe):
        with pytest.raises(NotGranted) as told:
            read(recipe)
        assert str(told.value) == SAID
    with pytest.raises(NotGranted, match="eve does not hold 'data'"):
        _ = door(WRITES).data


def test_the_recipe_still_trains_data_of_ones_own():
    made = door(WRITES).recipe.fit(X[:10] + 1, Y[:10], 0)
    assert made.respond(X).label.shape == (60,) and count(door(WRITES).recipe.x) == 60


def test_who_reads_the_data_reads_all_of_them():
    assert door(READS).recipe.x is X and door(READS).data == (X, Y)
    case = Poison(recipe=RECIPE)
    assert given(case, READS, RowRandom(0)) is case


@pytest.mark.parametrize("make", [lambda x: x, lambda x: pd.DataFrame(x, columns=list("abcd")), lambda x: x.tolist()])
def test_a_contributor_reads_its_own_records_and_no_others(make):
    x = make(X)
    case = given(Poison(recipe=replace(RECIPE, x=x), beside=2), WRITES, RowRandom(0))
    own = case.own
    assert len(own) == 3 + 2 and len(set(own.tolist())) == 5 and case.classes.tolist() == [0, 1]
    np.testing.assert_array_equal(np.asarray(take(case.recipe.x, own)), X[own])
    np.testing.assert_array_equal(take(case.recipe.y, own[::-1]), Y[own[::-1]])
    for place in np.setdiff1d(np.arange(60), own):
        with pytest.raises(NotGranted, match="'data'"):
            take(case.recipe.x, np.array([own[0], place]))
    assert not any(np.shares_memory(X, part) for part in vars_of(case.recipe.x))


def vars_of(value):
    return [part for name in Withheld.__slots__ if isinstance(part := getattr(value, name), np.ndarray)]


def test_of_numbers_to_be_met_only_those_of_ones_own_are_told():
    case = given(Poison(recipe=replace(RECIPE, y=X[:, 0]), beside=0), WRITES, RowRandom(0))
    assert sorted(case.classes) == sorted(X[case.own, 0])


def test_nothing_is_withheld_twice_and_an_empty_recipe_has_nothing_to_withhold():
    once = sealed(RECIPE, WRITES)
    assert sealed(once, WRITES) is once and sealed(replace(RECIPE, x=None, y=None), WRITES).x is None


def test_a_watched_recipe_does_not_hold_on_to_the_data_regression():
    fit = sealed(watched_recipe(RECIPE), WRITES).fit
    assert not any(keys(value) & keys(X) for _, value in reached(fit, "fit"))


# the rule --------------------------------------------------------------------------------------------------------------


def rule(kind):
    for name, check in attack_checks(kind):
        if name.startswith("data on"):
            check()


SETS = sorted(id for id in attacks if attacks.get(id).info.scope == "set")


@pytest.mark.parametrize("id", SETS)
def test_no_registered_attack_reads_what_its_adversary_may_not(id):
    rule(id)


def test_the_rule_is_applied_wherever_there_are_data_of_the_owner():
    kinds = {attacks.get(id).info.case for id in SETS}
    assert {"poison", "backdoor", "misread", "infer", "audit", "attribute", "property", "adopt"} <= kinds


def leak(name, of):
    """An attack that writes one record of its own choice: `of` reads it."""

    def call(self, oracle, case, *, rng):
        x, y = of(oracle, case)
        oracle.contribute(1)
        yield Records(index=np.array([int(case.own[0])]), x=x, y=y)

    call.__doc__ = "One record."
    body = {"__call__": call, "__doc__": "Writes what it may not read.", "__module__": __name__}
    return attack(f"poisoning.{name}", needs=Need.CONTRIBUTE, scope="set", spends="1 record")(type(name.title(), (), body))


def stranger(case):
    return np.setdiff1d(np.arange(60), case.own)[:1]


def by_the_case(oracle, case):
    return case.recipe.x[stranger(case)], np.array([0])


def by_the_oracle(oracle, case):
    return oracle._known.recipe.x[stranger(case)], np.array([0])


def by_its_labels(oracle, case):
    own = case.own[:1]
    return case.recipe.x[own], np.asarray([np.asarray(case.recipe.y).sum() % 2])


def by_the_back_door(oracle, case):
    inside = dict(zip(oracle._endpoint.retrain.__code__.co_freevars, oracle._endpoint.retrain.__closure__, strict=True))
    return inside["recipe"].cell_contents.x[stranger(case)], np.array([0])


@pytest.mark.parametrize("of", [by_the_case, by_the_oracle, by_its_labels, by_the_back_door])
def test_a_planted_leak_breaks_the_rule(of):
    with pytest.raises(ContractBroken, match="'data'") as told:
        rule(leak(of.__name__, of))
    assert told.value.rule == "data"


def test_an_attack_that_keeps_to_its_own_records_keeps_the_rule():
    rule(leak("honest_records", lambda oracle, case: (case.recipe.x[case.own[:1]], case.recipe.y[case.own[:1]])))


def test_a_claim_that_depends_on_rows_of_others_breaks_the_rule(monkeypatch):
    seen = {}  # what it overhears of the owner's data, past case and oracle
    real = rules.trial

    def trial(attack, rig, *, setup=None, **more):
        setup = setup or rig.make(Variant())
        seen["x"] = setup.case.recipe.x
        return real(attack, rig, setup=setup, **more)

    monkeypatch.setattr(rules, "trial", trial)
    kind = leak("overhears", lambda oracle, case: (case.recipe.x[case.own[:1]] + seen["x"].mean(), np.array([0])))
    with pytest.raises(ContractBroken, match="its claim changes by inf with training rows that are not its own"):
        rule(kind)


def test_a_case_that_shows_the_owners_rows_breaks_the_rule():
    chosen = attacks.get("privacy.property")()
    rig = rigs_for(chosen.info)[0]

    def make(variant):
        setup = rig.make(variant)
        return replace(setup, case=replace(setup.case, pool=Holdout(x=setup.case.recipe.x, y=setup.case.recipe.y)))

    with pytest.raises(ContractBroken, match=r"case\.pool\.x shows 60 rows of the owner's"):
        data(chosen, Rig(name="property", make=make))


@pytest.mark.parametrize("name", ["badnets", "blended", "adaptive_blend", "clean_label"])
def test_a_backdoor_is_planted_with_the_attackers_own_records(name):
    import casemate as cm

    case = Poison(recipe=RECIPE, aim=Backdoor(to=0), truth=Holdout(x=X + 0.1, y=Y), seeds=(0,), fractions=(0.2,))
    may = Adversary(name="eve", may=Need.CONTRIBUTE)
    rows = set(given(case.blind(), may, RowRandom(0)).own.tolist())
    found = cm.run(f"poisoning.{name}", None, case, adversary=may)
    assert found.cost.records is None or found.extra["records"] <= 12
    assert len(rows) == 12 + 12  # the share, and as many beside
