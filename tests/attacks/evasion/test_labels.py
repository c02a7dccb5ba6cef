"""Attacks that see decisions alone: as near as is possible, within every budget, from any start there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks import CGBA, Boundary, GeoDA, HopSkipJump, RayS, SignOPT, SurFree, Tangent
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput
from casemate.core.oracle import Known, Meter, Oracle
from casemate.runs.driver import drive_dialogue
from casemate.testing.toys import Tiring, constant, forest, linear

torch.set_num_threads(1)

CASES = {
    "tangent": (Tangent(), "l2"),
    "sign_opt": (SignOPT(), "l2"),
    "sign_opt linf": (SignOPT(), "linf"),
    "geoda": (GeoDA(), "l2"),
    "geoda linf": (GeoDA(), "linf"),
    "surfree": (SurFree(), "l2"),
    "cgba": (CGBA(), "l2"),
    "cgba-h": (CGBA(path="halving"), "l2"),
    "boundary": (Boundary(), "l2"),
    "rays": (RayS(), "linf"),
}
every = pytest.mark.parametrize(("attack", "norm"), CASES.values(), ids=CASES)


def drive(attack, target, case, budget=None, known=None, services=(), watch=None):
    """The attack alone: claims, trace and meter."""
    meter = Meter(case.row)
    oracle = Oracle(Endpoint(target, services), cm.researcher(budget), meter, known=known or Known(), watch=watch)
    trace = drive_dialogue(attack, oracle, case, cm.RowRandom(0))
    return np.asarray(trace.x), trace, meter


def endless(x, y, norm, **more):
    return cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest", **more)


def ratio(attack, toy, x, y, norm, queries, dtype="float64", **more):
    """Distances found as shares of the exact ones, infinite where none was."""
    case = endless(x, y, norm, **more)
    claims, trace, _ = drive(attack, cm.wrap(toy.module(dtype)), case, cm.Budget(queries_per_row=queries))
    found = np.where(trace.believed, case.within.measure(claims, x), np.inf)
    return found / toy.distance(x, y, norm)


@every
def test_reaches_the_exact_distance_of_a_linear_model_and_nothing_nearer(attack, norm):
    toy = linear(2, (10,), seed=2)
    x, y = toy.inputs(5, dtype="float64")
    found = ratio(attack, toy, x, y, norm, 1500)
    assert found.min() >= 1 - 1e-9
    assert np.median(found) <= 1.02, found
    assert found.max() <= (1.1 if isinstance(attack, GeoDA) else 1.05), found


@every
def test_images_in_single_precision(attack, norm):
    toy = linear(2, (1, 16, 16), seed=1)
    x, y = toy.inputs(3, dtype="float32")
    found = ratio(attack, toy, x, y, norm, 3000, dtype="float32")
    assert found.min() >= 0.999  # single precision decides with an error of its own
    # Its weights are white noise: the nearest point is in no subspace of low frequencies, and all of them must come in.
    assert np.median(found) <= (2.6 if isinstance(attack, GeoDA | SurFree) else 1.6), found


@every
def test_more_queries_get_nearer(attack, norm):
    toy = linear(2, (1, 16, 16), seed=3)
    x, y = toy.inputs(3, dtype="float64")
    few, some, many = (np.median(ratio(attack, toy, x, y, norm, cap)) for cap in (50, 250, 1000))
    assert many < some < few


@every
def test_a_wanted_class_is_reached(attack, norm):
    toy = linear(3, (10,), seed=4)
    x, y = toy.inputs(12, dtype="float64")
    wanted = 2
    x, y = x[y != wanted][:4], y[y != wanted][:4]
    case = endless(x, y, norm, goal=cm.Becomes(wanted))
    claims, trace, _ = drive(attack, cm.wrap(toy.module("float64")), case, cm.Budget(queries_per_row=1500))
    assert trace.believed.all()
    assert (toy(claims).argmax(1) == wanted).all()
    least = np.empty(len(x))  # to where the two classes meet; a third in between makes it further
    for i, own in enumerate(y):
        pair = type(toy)(weight=toy.weight[[own, wanted]], bias=toy.bias[[own, wanted]], shape=toy.shape)
        least[i : i + 1] = pair.distance(x[i : i + 1], np.zeros(1, int), norm)
    sizes = case.within.measure(claims, x) / least
    assert (sizes >= 1 - 1e-9).all()
    assert np.median(sizes) < 1.1, sizes


@every
@pytest.mark.parametrize("cap", [0, 1, 2, 3, 5, 17, 111])
def test_no_row_asks_beyond_its_budget(attack, norm, cap):
    toy = linear(2, (10,), seed=2)
    x, y = toy.inputs(3, dtype="float64")
    asked = []

    def counted(x):
        asked.append(len(x))
        return toy(x)

    target = cm.wrap(counted, output="logits", classes=2)
    _, trace, meter = drive(attack, target, endless(x, y, norm), cm.Budget(queries_per_row=cap))
    assert (meter.of("queries", np.arange(3)) <= cap).all()
    assert meter.total["queries"] == sum(asked)
    assert not trace.stopped  # it ended by itself: nothing it asked had to be refused
    assert trace.believed.all() == (cap > 10) or cap in (1, 2, 3, 5)


@every
def test_a_campaign_is_capped_too(attack, norm):
    toy = linear(2, (10,), seed=2)
    x, y = toy.inputs(3, dtype="float64")
    _, trace, meter = drive(attack, cm.wrap(toy.module("float64")), endless(x, y, norm), cm.Budget(queries=200))
    assert meter.total["queries"] <= 200
    assert trace.believed.all()


@every
def test_a_start_that_meets_the_goal_is_the_first_question(attack, norm):
    toy = linear(2, (10,), seed=2)
    x, y = toy.inputs(4, dtype="float64")
    start = np.clip(x + 2 * (toy.weight[1] - toy.weight[0]) * (1 - 2 * y[:, None]), 0, 1)
    assert (toy(start).argmax(1) != y).all()
    claims, trace, meter = drive(
        attack, cm.wrap(toy.module("float64")), endless(x, y, norm, start=start), cm.Budget(queries_per_row=1)
    )
    np.testing.assert_array_equal(claims, start)
    assert trace.believed.all()
    assert meter.total["queries"] == 4
    # A start that is the input itself costs nothing.
    asked = []
    drive(
        attack, cm.wrap(toy.module("float64")), endless(x, y, norm, start=x.copy()), cm.Budget(queries_per_row=1),
        watch=lambda x, rows, labels: asked.append(np.asarray(x)),
    )  # fmt: skip
    assert not (np.concatenate(asked) == x).all(1).any()


@every
def test_known_inputs_are_a_start_where_noise_finds_none(attack, norm):
    def island(x):  # class 1 is a small ball that no noise hits
        near = np.sqrt(((x - 0.9) ** 2).mean(1)) < 0.05
        return np.stack([~near, near], 1).astype(float)

    x, target = np.full((3, 40), 0.2), cm.wrap(island, output="logits", classes=2)
    x[:, 0] = [0.1, 0.2, 0.3]
    held = np.stack([np.full(40, 0.2), np.full(40, 0.9)])
    for goal in (cm.Becomes(1), cm.Wrong()):
        case, budget = endless(x, np.zeros(3, int), norm, goal=goal), cm.Budget(queries_per_row=130)
        _, without, _ = drive(attack, target, case, budget)
        assert not without.believed.any()
        claims, trace, _ = drive(attack, target, case, budget, known=Known(data=(held, np.array([0, 1]))))
        assert trace.believed.all()
        assert (island(claims).argmax(1) == 1).all()


@every
def test_one_row_without_a_start_fails_alone(attack, norm):
    def half(x):
        scores = np.zeros((len(x), 2))
        scores[:, 1] = np.where(np.abs(x[:, 0] - 0.4) < 1, x.mean(1) - 0.5, 0)
        return scores

    x = np.full((4, 6), 0.4)
    evidence = cm.run(attack, cm.wrap(half, output="logits", classes=2), cm.Evade(x, np.zeros(4, int), cm.Ball(norm, np.inf)))
    assert evidence.rate == 1
    few = type(attack)(starts=5)
    none = cm.run(few, cm.wrap(constant(0), output="logits", classes=2), cm.Evade(x, np.zeros(4, int), cm.Ball(norm, 1.0)))
    assert none.rate == 0
    assert none.rows["queries"].tolist() == [5] * 4

    def stubborn(x):  # nothing moves a row whose truth is class 1 out of it
        return np.stack([np.full(len(x), -1.0), np.zeros(len(x))], 1)

    y = np.array([0, 1, 0, 0])
    case, budget = endless(x, y, norm), cm.Budget(queries_per_row=50)
    claims, trace, meter = drive(few, cm.wrap(stubborn, output="logits", classes=2), case, budget)
    assert trace.believed.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(claims[1], x[1])
    assert meter.of("queries", case.row)[1] == 5


@every
def test_a_forest_has_no_slope_and_falls(attack, norm):
    model, x, _ = forest(size=6)
    sizes = []
    for cap in (60, 300):
        case = endless(x[:5], model.predict(x[:5]), norm)
        claims, trace, _ = drive(attack, cm.wrap(model), case, cm.Budget(queries_per_row=cap))
        assert trace.believed.all()
        assert (model.predict(claims) != case.y).all()
        sizes.append(np.median(case.within.measure(claims, case.x)))
    assert sizes[1] <= 1.01 * sizes[0]
    assert sizes[1] < 0.6


@every
def test_rows_decided_wrongly_before_any_attack_end(attack, norm):
    toy = linear(2, (10,), seed=2)
    x, y = toy.inputs(3, dtype="float64")
    claims, trace, meter = drive(attack, cm.wrap(toy.module("float64")), endless(x, 1 - y, norm), cm.Budget(queries_per_row=5000))
    assert trace.believed.all()
    assert np.isfinite(claims).all()
    assert np.abs(claims - x).max() < 1e-3
    assert meter.total["queries"] < 3 * 500  # it is there at once: what is left of the budget is not asked


@every
def test_refused_rows_keep_what_they_had(attack, norm):
    toy = linear(2, (10,), seed=2)
    x, y = toy.inputs(4, dtype="float64")
    _, trace, meter = drive(attack, cm.wrap(toy.module("float64")), endless(x, y, norm), services=(Tiring(rows=100),))
    assert trace.believed.all()
    assert meter.total["queries"] - meter.total["refused"] == 100


@every
def test_a_success_inside_the_radius_ends_a_row(attack, norm):
    toy = linear(2, (10,), seed=2)
    x, y = toy.inputs(6, dtype="float64")
    radius = 1.2 * float(toy.distance(x, y, norm).max())
    case = cm.Evade(x, y, cm.Ball(norm, radius))
    claims, trace, meter = drive(attack, cm.wrap(toy.module("float64")), case, cm.Budget(queries_per_row=3000))
    assert trace.believed.all()
    assert case.within.check(claims, x).all()
    assert meter.total["queries"] < 6 * 1500
    tight = cm.Evade(x, y, cm.Ball(norm, 0.99 * float(toy.distance(x, y, norm).min())))
    assert not drive(attack, cm.wrap(toy.module("float64")), tight, cm.Budget(queries_per_row=300))[1].believed.any()


def test_images_begin_from_blots_where_all_noise_is_one_class():
    def calm(x):  # class 0 is what jumps from value to value
        rough = np.abs(np.diff(x[:, 0], axis=2)).mean((1, 2)) > 0.2
        return np.stack([rough, ~rough], 1).astype(float)

    x = np.indices((1, 16, 16)).sum(0)[None] % 2 * 1.0
    _, trace, _ = drive(CGBA(starts=20), cm.wrap(calm, output="logits", classes=2), endless(x, np.zeros(1, int), "l2"))
    assert trace.believed.all()


def test_every_attack_takes_only_the_norms_it_knows():
    toy = linear(2, (10,))
    x, y = toy.inputs(2, dtype="float64")
    for attack, wrong in ((Tangent(), "linf"), (RayS(), "l2"), (CGBA(), "linf"), (HopSkipJump(), "l1")):
        with pytest.raises(BadInput, match=attack.info.id):
            drive(attack, cm.wrap(toy.module("float64")), endless(x, y, wrong))


@pytest.mark.parametrize("attack", [CGBA(path="spiral"), GeoDA(ratio=1.0), CGBA(share=0.0), SurFree(share=1.5)], ids=repr)
def test_unfitting_parameters_are_refused(attack):
    toy = linear(2, (1, 8, 8))
    x, y = toy.inputs(2, dtype="float64")
    with pytest.raises(BadInput):
        drive(attack, cm.wrap(toy.module("float64")), endless(x, y, "l2"))


def test_rays_flips_rectangles_of_an_image():
    from casemate.attacks.evasion.rays import _places

    order = _places((2, 8, 8))
    assert sorted(order) == list(range(128))
    rows, columns = order % 64 // 8, order % 8
    for block in np.array_split(np.arange(128), 8):
        assert np.ptp(rows[block]) <= 3
        assert np.ptp(columns[block]) <= 3
