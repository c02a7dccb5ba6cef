"""On linear models the nearest break is known exactly: nearer than that nothing breaks, a little further all does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks import APGD, PGD, HopSkipJump, Noise, Square
from casemate.testing.toys import linear, linear_distance

torch.set_num_threads(1)

FIXED = {"pgd": PGD(steps=60), "apgd_ce": APGD(), "square": Square()}
NORMS = ("linf", "l2")


def alike(toy, n, norm, distance):
    """Inputs ``(n, d)``, all at the same exact distance of the boundary, and their decisions."""
    x, y = toy.inputs(n, dtype="float64")
    pull = toy.weight[1] - toy.weight[0]
    lead = toy(x) @ [-1, 1]  # of class 1
    wanted = distance * np.linalg.norm(pull, 1 if norm == "linf" else 2) * np.sign(lead)
    x = x + ((wanted - lead) / (pull @ pull))[:, None] * pull
    np.testing.assert_allclose(toy.distance(x, y, norm), distance, rtol=1e-9)
    return x, y


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("norm", NORMS)
def test_breaks_just_beyond_the_exact_distance_and_never_before(name, norm):
    toy, distance = linear(2, (8,), seed=2), {"linf": 0.05, "l2": 0.15}[norm]
    x, y = alike(toy, 8, norm, distance)
    target = cm.wrap(toy.module("float64"))
    for share, expected in ((1.02, True), (0.99, False)):
        # Resisting rows spend every step of the search: a shorter one shows the same.
        attack = Square(steps=300) if name == "square" and not expected else FIXED[name]
        evidence = cm.run(attack, target, cm.Evade(x, y, cm.Ball(norm, share * distance)))
        assert (evidence.rows["broken"] == expected).all(), (share, evidence.rows["broken"])


@pytest.mark.parametrize("norm", NORMS)
def test_a_larger_radius_never_breaks_less(norm):
    toy = linear(4, (8,), seed=4)
    x, y = toy.inputs(20)
    middle = float(np.median(toy.distance(x, y, norm)))
    for attack in (PGD(steps=20), APGD(steps=20), Square(steps=100), HopSkipJump(steps=4)):
        rates = [
            cm.run(attack, cm.wrap(toy.module()), cm.Evade(x, y, cm.Ball(norm, share * middle))).rate for share in (0.5, 1.5, 6.0)
        ]
        assert rates == sorted(rates), (attack, rates)


@pytest.mark.parametrize("norm", NORMS)
def test_hopskipjump_reaches_the_exact_distance(norm):
    toy = linear(2, (12,), seed=2)
    x, y = toy.inputs(8, dtype="float64")
    case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
    evidence = cm.run(HopSkipJump(), cm.wrap(toy.module("float64")), case, budget=cm.Budget(queries_per_row=12_000))
    ratio = evidence.rows["distance"] / toy.distance(x, y, norm)
    assert (ratio >= 1 - 1e-9).all()
    assert (ratio <= 1.02).all(), ratio


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_exact_where_the_box_is_in_the_way(norm):
    toy = linear(2, (12,), seed=5)
    x, y = toy.inputs(8, dtype="float64")
    x = np.where(np.arange(12) % 3 == 0, np.round(x), x)  # a third of the values at an end of the domain
    y = toy(x).argmax(1)
    exact = toy.distance(x, y, norm)
    free = linear_distance(toy.weight, toy.bias, x, y, norm)
    assert (exact > free * 1.001).any()
    target = cm.wrap(toy.module("float64"))
    for i in range(8):
        for share, expected in ((1.02, True), (0.99, False)):
            case = cm.Evade(x[i : i + 1], y[i : i + 1], cm.Ball(norm, share * exact[i]))
            found = cm.run(APGD(), target, case).rows["broken"]
            assert bool(found[0]) is expected, (i, share)


def test_the_distance_without_a_box_is_the_margin_over_the_dual_norm():
    toy = linear(2, (9,), seed=1)
    x, y = toy.inputs(5, dtype="float64")
    change = toy.weight[1] - toy.weight[0]
    margin = np.abs(toy(x) @ [-1, 1])
    for norm, dual in (("linf", 1), ("l2", 2), ("l1", np.inf)):
        free = linear_distance(toy.weight, toy.bias, x, y, norm)
        np.testing.assert_allclose(free, margin / np.linalg.norm(change, dual), rtol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_boxed_distance_is_what_a_solver_finds(norm):
    from scipy.optimize import linprog, minimize

    toy = linear(2, (4,), seed=3)
    x, y = toy.inputs(4, seed=2, dtype="float64")
    x[:, 0] = np.round(x[:, 0])
    y = toy(x).argmax(1)
    for row, own, found in zip(x, y, toy.distance(x, y, norm), strict=True):
        w = toy.weight[1 - own] - toy.weight[own]
        lead = -(w @ row) - (toy.bias[1 - own] - toy.bias[own])
        room = np.where(w > 0, 1 - row, row)
        pull = np.abs(w)
        if norm == "l2":
            start = np.minimum(room, lead / (pull @ pull) * pull)
            limits = {"type": "ineq", "fun": lambda d, p=pull, m=lead: p @ d - m}
            best = minimize(lambda d: d @ d, start, bounds=[(0, r) for r in room], constraints=limits).fun ** 0.5
        elif norm == "l1":
            best = linprog(np.ones(4), A_ub=-pull[None], b_ub=[-lead], bounds=[(0, r) for r in room]).fun
        else:  # the last variable is the largest change
            rows = np.vstack([np.append(-pull, 0), np.hstack([np.eye(4), -np.ones((4, 1))])])
            bounds = [(0, r) for r in room] + [(0, None)]
            best = linprog([0, 0, 0, 0, 1], A_ub=rows, b_ub=[-lead, 0, 0, 0, 0], bounds=bounds).fun
        assert found == pytest.approx(best, rel=1e-4)


def test_noise_is_no_attack_on_a_linear_model():
    toy = linear(2, (64,), seed=0)
    x, y = toy.inputs(20)
    radius = float(np.median(toy.distance(x, y, "l2"))) * 1.02
    evidence = cm.run(Noise(trials=50), cm.wrap(toy.module()), cm.Evade(x, y, cm.Ball("l2", radius)))
    stronger = cm.run("evasion.pgd", cm.wrap(toy.module()), cm.Evade(x, y, cm.Ball("l2", radius)))
    assert evidence.rate < stronger.rate
