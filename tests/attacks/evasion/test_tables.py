"""Attacks on rows of tables, against enumeration: what can be broken at all, and whether it is found."""

import itertools

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks import ConstrainedPGD, Genetic

torch.set_num_threads(1)
NAMES = ("i", "j", "k", "a", "b", "c")
COLUMNS = {
    "i": cm.Column(kind="int", low=0, high=4), "j": cm.Column(kind="int", low=0, high=4, direction=1),
    "k": cm.Column(kind="int", low=0, high=4), **{name: cm.Column(kind="int", low=0, high=1, cost=0.25) for name in "abc"},
}  # fmt: skip
TABLE = cm.Table(COLUMNS, 1.0, {"order": "i <= j", "sum": "implies(a == 1, k >= 1)"}, NAMES, (("a", "b", "c"),))
ALL = np.array([[*ijk, *abc] for ijk in itertools.product(range(5), repeat=3) for abc in np.eye(3)])


def model(seed):
    rng = np.random.default_rng(seed)
    layer = torch.nn.Linear(6, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(rng.normal(size=(3, 6)) * [1, 1, 1, 2, 2, 2]))
        layer.bias.copy_(-layer.weight @ torch.tensor([2.0, 2, 2, 0.3, 0.3, 0.3], dtype=torch.float64))
    return cm.wrap(layer.requires_grad_(False).eval())


def world(seed, n=40):
    """Inputs, their labels, and the cheapest valid change of each that is decided otherwise, by trying all of them."""
    target, rng = model(seed), np.random.default_rng(seed)
    valid = ALL[(ALL[:, 0] <= ALL[:, 1]) & ((ALL[:, 3] == 0) | (ALL[:, 2] >= 1))]
    x = valid[rng.choice(len(valid), n, replace=False)]
    y, labels = np.asarray(target.respond(x).label), np.asarray(target.respond(ALL).label)
    cheapest = np.full(n, np.inf)
    for row in range(n):
        origin = np.repeat(x[row : row + 1], len(ALL), 0)
        ok = TABLE.check(ALL, origin) & (labels != y[row])
        if ok.any():
            cheapest[row] = TABLE.measure(ALL, origin)[ok].min()
    return target, x, y, cheapest


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_constrained_pgd_finds_what_enumeration_finds(seed):
    target, x, y, cheapest = world(seed)
    evidence = cm.run(ConstrainedPGD(), target, cm.Evade(x, y, TABLE))
    broken = evidence.rows["broken"]
    assert not broken[np.isinf(cheapest)].any() and np.isfinite(cheapest).sum() > 5
    assert broken[np.isfinite(cheapest)].mean() > 0.85
    assert TABLE.check(evidence.claims.x, x).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_genetic_search_finds_nearly_the_cheapest(seed):
    target, x, y, cheapest = world(seed)
    evidence = cm.run(Genetic(generations=15), target, cm.Evade(x, y, TABLE, seek="nearest"))
    broken, found = evidence.rows["broken"], evidence.rows["distance"]
    assert (broken == np.isfinite(cheapest)).mean() > 0.97
    assert (found[broken] >= cheapest[broken] - 1e-12).all() and np.median(found[broken] - cheapest[broken]) == 0


def test_the_genetic_search_works_on_labels_alone():
    target, x, y, cheapest = world(0)
    shy = cm.wrap(lambda rows: np.asarray(target.respond(rows).label), classes=3)
    evidence = cm.run(Genetic(), shy, cm.Evade(x, y, TABLE))
    assert evidence.rows["broken"][np.isfinite(cheapest)].mean() > 0.8


def test_a_ball_is_no_table():
    target, x, y, _ = world(0)
    with pytest.raises(cm.BadInput, match="Table"):
        cm.run(ConstrainedPGD(), target, cm.Evade(x, y, cm.Ball("linf", 1.0, 0.0, 4.0)))
