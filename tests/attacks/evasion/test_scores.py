"""Attacks that see scores: exact answers on linear models, every question counted, no budget overrun, no plateau fatal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks.evasion._scores import allowance
from casemate.attacks.evasion._subspace import dct_basis, frequencies, low_frequency, lowest_first
from casemate.attacks.evasion.nes import NES
from casemate.attacks.evasion.simba import SimBA
from casemate.attacks.evasion.spsa import SPSA
from casemate.attacks.evasion.square import Square
from casemate.attacks.evasion.zoo import ZOO
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput, NotGranted
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_rows
from casemate.testing.toys import Tiring, constant, forest, linear

torch.set_num_threads(1)

SEES = Need.SCORE | Need.LABEL
ATTACKS = {"square": Square(), "nes": NES(), "spsa": SPSA(), "simba": SimBA(), "pixel": SimBA(basis="pixel"), "zoo": ZOO()}
every = pytest.mark.parametrize("name", ATTACKS)
both = pytest.mark.parametrize("norm", ["linf", "l2"])


class Counting:
    """A model as a numpy callable that notes every input it is asked about."""

    def __init__(self, model):
        self.model, self.seen = model, []

    def __call__(self, x):
        self.seen.append(np.array(x))
        return self.model(x)

    @property
    def rows(self):
        return sum(map(len, self.seen))


def drive(attack, target, case, budget=None, may=SEES, services=()):
    """The trace and the meter of an attack by somebody who sees scores."""
    meter = Meter(case.row)
    oracle = Oracle(Endpoint(target, services), Adversary(name="somebody", may=may, budget=budget or Budget()), meter)
    return drive_rows(attack, oracle, case, cm.RowRandom(0)), meter


def shown(model, classes=2):
    return cm.wrap(model, output="logits", classes=classes)


@every
@both
@pytest.mark.parametrize("classes", [2, 4])
def test_breaks_just_beyond_the_exact_distance_and_never_before(name, norm, classes):
    if (name, norm) == ("simba", "linf"):
        pytest.skip("one step of fixed length along a coordinate or a wave: corners of a box are out of its reach, as its page says")
    toy = linear(classes, (6,), seed=2)
    x, y = toy.inputs(3, seed=1, dtype="float64")
    exact = toy.distance(x, y, norm)
    for share, expected in ((1.02, True), (0.99, False)):
        for i in range(len(x)):
            # Rows that cannot fall spend every step: fewer show the same.
            cap = Budget(queries_per_row=3000 if expected else 100)
            attack = ATTACKS[name] if not hasattr(ATTACKS[name], "pairs") else replace(ATTACKS[name], pairs=5)
            attack = replace(attack, steps=3000) if expected else attack
            case = cm.Evade(x[i : i + 1], y[i : i + 1], cm.Ball(norm, share * exact[i]), row=[i])
            trace, _ = drive(attack, shown(toy, classes), case, cap)
            assert bool(trace.believed[0]) is expected, (share, i)


@every
@both
def test_every_query_is_counted_and_a_budget_is_used_to_its_end(name, norm):
    toy = linear(3, (5, 7), seed=3)
    x, y = toy.inputs(3, dtype="float64")
    for cap in (1, 2, 3, 41):
        model = Counting(toy)
        trace, meter = drive(ATTACKS[name], shown(model, 3), cm.Evade(x, y, cm.Ball(norm, 1e-6)), Budget(queries_per_row=cap))
        assert (meter.of("queries", np.arange(3)) == cap).all()
        assert model.rows == 3 * cap
        assert not trace.stopped
    model = Counting(toy)
    _, meter = drive(ATTACKS[name], shown(model, 3), cm.Evade(x, y, cm.Ball(norm, 1e-6)), Budget(queries=40))
    assert model.rows == meter.total["queries"] == 40


@every
def test_a_row_that_has_spent_its_budget_does_not_stop_the_others(name):
    toy = linear(2, (8,), seed=3)
    x, y = toy.inputs(3, dtype="float64")
    case, meter = cm.Evade(x, y, cm.Ball("linf", 1e-6)), Meter(np.arange(3))
    meter.add("queries", np.repeat([0, 1], [50, 49]))
    somebody = Adversary(name="somebody", may=SEES, budget=Budget(queries_per_row=50))
    drive_rows(ATTACKS[name], Oracle(Endpoint(shown(toy)), somebody, meter), case, cm.RowRandom(0))
    assert meter.of("queries", np.arange(3)).tolist() == [50, 50, 50]


def test_what_is_left_of_a_campaign_goes_to_the_lowest_ids():
    somebody = Adversary(name="somebody", may=SEES, budget=Budget(queries=7, queries_per_row=4))
    oracle = Oracle(Endpoint(shown(linear())), somebody, Meter(np.arange(10)))
    assert allowance(oracle, np.array([9, 2, 5]), 3).tolist() == [1, 3, 3]
    assert allowance(oracle, np.array([9, 2, 5]), 9).tolist() == [0, 4, 3]


@every
@both
def test_rounded_and_constant_scores_end_quietly(name, norm):
    toy = linear(2, (9,), seed=4)
    x, y = toy.inputs(4, dtype="float64")
    radius = 3 * float(toy.distance(x, y, norm).max())
    blunt = lambda x: np.round(1 / (1 + np.exp(-toy(x) @ [[0.5, -0.5], [-0.5, 0.5]])), 2)  # noqa: E731
    target = cm.wrap(blunt, output="scores", classes=2)
    trace, _ = drive(ATTACKS[name], target, cm.Evade(x, y, cm.Ball(norm, radius)), Budget(queries_per_row=600))
    assert trace.believed.mean() >= 0.75
    flat = cm.Evade(x, np.zeros(4, int), cm.Ball(norm, 0.2))
    trace, _ = drive(ATTACKS[name], shown(constant(0)), flat, Budget(queries_per_row=90))
    assert not trace.believed.any()
    assert np.isfinite(trace.x).all()
    assert cm.Ball(norm, 0.2).check(trace.x, x).all()


@every
def test_labels_alone_are_refused(name):
    toy = linear()
    x, y = toy.inputs(2)
    case = cm.Evade(x, y, cm.Ball("l2", 1.0))
    with pytest.raises(NotGranted):
        cm.run(ATTACKS[name], shown(toy), case, adversary=Adversary(name="blind", may=Need.LABEL))
    labels = cm.wrap(lambda x: toy(x).argmax(1), output="labels", classes=2)
    with pytest.raises(NotGranted, match="score"):
        drive(ATTACKS[name], labels, case)


@every
@both
def test_the_first_question_is_the_start(name, norm):
    toy = linear(3, (4, 6), seed=5)
    x, y = toy.inputs(4, dtype="float64")
    ball = cm.Ball(norm, 0.3)
    far = np.random.default_rng(0).uniform(0, 1, x.shape)
    model = Counting(toy)
    drive(ATTACKS[name], shown(model, 3), cm.Evade(x, y, ball, start=far), Budget(queries_per_row=1))
    np.testing.assert_allclose(model.seen[0], ball.project(far, x), atol=1e-12)


@every
def test_a_named_decision_is_reached(name):
    toy = linear(3, (8,), seed=6)
    x, y = toy.inputs(12, dtype="float64")
    x, y = x[y != 2], y[y != 2]
    case = cm.Evade(x, y, cm.Ball("linf", 0.5), goal=cm.Becomes(2))
    trace, _ = drive(ATTACKS[name], shown(toy, 3), case, Budget(queries_per_row=1500))
    assert trace.believed.all()
    assert (toy(trace.x).argmax(1) == 2).all()


@every
@pytest.mark.parametrize("shape", [(1, 1, 1), (3,), (1, 5, 9), (3, 2, 2)])
def test_any_shape_of_input(name, shape):
    toy = linear(2, shape, seed=7)
    x, y = toy.inputs(3)
    for norm in ("linf", "l2"):
        radius = 2.5 * float(toy.distance(x, y, norm).max())
        trace, _ = drive(ATTACKS[name], shown(toy), cm.Evade(x, y, cm.Ball(norm, radius)), Budget(queries_per_row=600))
        assert trace.believed.all(), norm
        assert trace.x.shape == x.shape


def test_square_falls_at_once_where_the_radius_is_large():
    toy = linear(4, (1, 8, 8), seed=8)
    x, y = toy.inputs(50)
    trace, _ = drive(Square(), shown(toy, 4), cm.Evade(x, y, cm.Ball("linf", 0.6)))
    assert trace.believed.all()
    assert trace.broke_at.mean() < 5


def test_square_asks_once_for_each_row_that_stands():
    toy = linear(2, (1, 4, 4), seed=1)
    x, y = toy.inputs(20)
    radius = float(np.median(toy.distance(x, y, "linf")))
    model = Counting(toy)
    trace, meter = drive(Square(steps=30), shown(model), cm.Evade(x, y, cm.Ball("linf", radius)))
    spent = meter.of("queries", np.arange(20))
    assert (spent == np.where(trace.believed, trace.broke_at, 31)).all()
    assert model.rows == spent.sum() < 20 * 31
    assert len(model.seen) == 31


def test_simba_asks_the_other_side_only_after_the_first_failed():
    weight = np.array([1.0, -1.0, 1.0, -1.0])
    model = Counting(lambda x: np.stack([np.full(len(x), 10.0), x @ weight], 1))
    x = np.full((1, 4), 0.5)
    drive(SimBA(basis="pixel", stride=0.1, steps=6), shown(model), cm.Evade(x, [0], cm.Ball("l2", 1.0)))
    seen = np.concatenate(model.seen)
    assert len(seen) == 7  # the input; two values that rise at once, two that need both sides
    np.testing.assert_array_equal(seen[0], x[0])
    best = seen[(seen @ weight).argmax()]
    np.testing.assert_allclose(best - x[0], 0.05 * weight, atol=1e-9)  # a share of half of the domain


def test_simba_and_zoo_move_columns_of_very_different_weight():
    x = np.full((2, 3), 0.5)
    model = lambda x: np.stack([np.zeros(len(x)), 1e-3 * (x[:, 0] - 0.6) + 1e3 * (x[:, 2] - 0.5) * (x[:, 1] > 2)], 1)  # noqa: E731
    for attack in (SimBA(basis="pixel"), ZOO()):
        trace, _ = drive(attack, shown(model), cm.Evade(x, [0, 0], cm.Ball("linf", 0.15)), Budget(queries_per_row=300))
        assert trace.believed.all()


@pytest.mark.parametrize("name", ["square", "nes", "spsa", "simba", "zoo"])
def test_a_forest_falls_to_scores(name):
    model, x, y = forest(trees=10)
    right = model.predict(x) == y
    case = cm.Evade(x[right][:12], y[right][:12], cm.Ball("linf", 0.4))
    trace, _ = drive(ATTACKS[name], cm.wrap(model), case, Budget(queries_per_row=400))
    assert trace.believed.mean() > 0.7


@every
def test_a_refusal_keeps_what_was_found(name):
    toy = linear(2, (8,), seed=9)
    x, y = toy.inputs(10, dtype="float64")
    case = cm.Evade(x, y, cm.Ball("linf", 1.2 * float(np.median(toy.distance(x, y, "linf")))))
    trace, meter = drive(ATTACKS[name], shown(toy), case, services=(Tiring(rows=700),))
    assert trace.believed.any()
    assert (toy(trace.x[trace.believed]).argmax(1) != y[trace.believed]).all()
    assert meter.total["queries"] - meter.total["refused"] <= 700


@pytest.mark.parametrize(
    "attack", [NES(memory=1.0), SPSA(pairs=0), NES(low=0.0), SimBA(basis="wavelet"), SimBA(shrink=0), ZOO(values=0), ZOO(sigma=-1.0)]
)
def test_parameters_that_make_no_sense_are_refused(attack):
    toy = linear(2, (4, 4))
    x, y = toy.inputs(2)
    with pytest.raises(BadInput):
        drive(attack, shown(toy), cm.Evade(x, y, cm.Ball("l2", 1.0)))
    with pytest.raises(BadInput, match="l1"):
        drive(type(attack)(), shown(toy), cm.Evade(x, y, cm.Ball("l1", 1.0)))


def test_the_cosine_basis_is_orthonormal_and_low_frequencies_are_smooth():
    for size in (1, 2, 7, 32):
        np.testing.assert_allclose(dct_basis(size) @ dct_basis(size).T, np.eye(size), atol=1e-12)
    shape = (3, 8, 6)
    kept = frequencies(shape, 0.5)
    assert kept == (3, 4, 3)
    noise = np.random.default_rng(0).normal(size=(5, *kept))
    x = low_frequency(noise, shape)
    assert x.shape == (5, *shape)
    np.testing.assert_allclose(np.linalg.norm(x.reshape(5, -1), axis=1), np.linalg.norm(noise.reshape(5, -1), axis=1))
    back = dct_basis(8) @ x @ dct_basis(6).T
    np.testing.assert_allclose(back[:, :, :4, :3], noise, atol=1e-12)
    assert np.abs(back[:, :, 4:]).max() < 1e-12
    order = lowest_first((1, 4, 4)).reshape(4, 4)
    assert order[0, 0] == 0
    assert (order[:2, :2] < order[2:, :].min()).all()
    for bad in (lambda: frequencies((), 0.5), lambda: frequencies((4,), 0.0), lambda: low_frequency(noise, (3, 8)), lambda: dct_basis(0)):
        with pytest.raises(BadInput):
            bad()
