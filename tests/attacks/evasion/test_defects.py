"""What went wrong in other libraries, as tests of every array attack here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks import APGD, PGD, HopSkipJump, Noise, Square, Transfer
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_dialogue, drive_rows
from casemate.testing.toys import Tiring, constant, forest, linear

torch.set_num_threads(1)

ATTACKS = {
    "noise": Noise(trials=20),
    "pgd": PGD(steps=10, restarts=2),
    "apgd_ce": APGD(steps=20, restarts=2),
    "square": Square(steps=60),
    "hopskipjump": HopSkipJump(steps=3),
    "transfer": Transfer(steps=10, check_every=3),
}
NORMS = ("linf", "l2")
every = pytest.mark.parametrize("name", ATTACKS)
both = pytest.mark.parametrize("norm", NORMS)


class Curved(nn.Module):
    """A small network in float64 with smooth boundaries, in any units, with any shift of its logits."""

    def __init__(self, shape=(8,), low=0.0, high=1.0, shift=0.0, classes=4):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        d = int(np.prod(shape))
        first = torch.randn(24, d, generator=generator, dtype=torch.float64) / d**0.5
        second = torch.randn(classes, 24, generator=generator, dtype=torch.float64)
        self.first, self.second = (nn.Parameter(w, requires_grad=False) for w in (first, second))
        self.low, self.high, self.shift = low, high, shift

    def forward(self, x):
        unit = (x.to(torch.float64) - self.low) / (self.high - self.low) - 0.5
        return torch.tanh(4 * unit.flatten(1) @ self.first.T) @ self.second.T + self.shift


def points(n=12, shape=(8,), low=0.0, high=1.0):
    x = np.random.default_rng(0).uniform(0.2, 0.8, (n, *shape))
    return low + (high - low) * x, Curved(shape)(torch.as_tensor(x)).argmax(1).numpy()


def setup(norm, model=None, seek="nearest", radius=None, shape=(8,), low=0.0, high=1.0):
    x, y = points(shape=shape, low=low, high=high)
    radius = {"linf": 0.08, "l2": 0.2}[norm] if radius is None else radius
    target = cm.wrap(model or Curved(shape, low, high))
    return target, cm.Evade(x, y, cm.Ball(norm, radius * (high - low), low, high), seek=seek)


def drive(attack, target, case, budget=None, seed=0, services=()):
    """The claims of an attack as the driver hands them on, and what it cost."""
    meter = Meter(np.arange(100))
    oracle = Oracle(Endpoint(target, services), cm.researcher(budget), meter, cm.Known(parent=target))
    dialogue = attack.info.scope == "dialogue"
    trace = (drive_dialogue if dialogue else drive_rows)(attack, oracle, case, cm.RowRandom(seed))
    return np.asarray(trace.x), trace, meter


@every
@both
def test_a_row_does_not_depend_on_its_batch_nor_on_its_place_in_it(name, norm):
    target, case = setup(norm)
    whole, trace, _ = drive(ATTACKS[name], target, case)
    order = np.random.default_rng(1).permutation(len(case))
    shuffled, _, _ = drive(ATTACKS[name], target, case.only(order))
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-9)
    for i in (0, 5):
        alone, single, _ = drive(ATTACKS[name], target, case.only(np.array([i])))
        np.testing.assert_allclose(alone[0], whole[i], atol=1e-9)
        assert single.believed[0] == trace.believed[i]


@every
@both
def test_other_units_give_the_same_answer(name, norm):
    target, case = setup(norm)
    unit, trace, _ = drive(ATTACKS[name], target, case)
    target, case = setup(norm, low=-1.0, high=3.0)
    other, same, _ = drive(ATTACKS[name], target, case)
    np.testing.assert_array_equal(same.believed, trace.believed)
    # A search accepts or not on the last bit of a loss, so its claims agree only roughly.
    np.testing.assert_allclose((other + 1) / 4, unit, atol=1e-4 if name == "square" else 1e-6)


@every
@both
def test_adding_to_all_logits_changes_nothing(name, norm):
    plain, trace, _ = drive(ATTACKS[name], *setup(norm))
    for shift in (-50.0, 50.0):
        moved, same, _ = drive(ATTACKS[name], *setup(norm, Curved(shift=shift)))
        np.testing.assert_array_equal(same.believed, trace.believed)
        np.testing.assert_allclose(moved, plain, atol=1e-6)


@every
@both
def test_values_at_the_ends_of_the_domain_move(name, norm):
    x, _ = points(6)
    x[:, ::2] = np.round(x[:, ::2])
    target = cm.wrap(Curved())
    y = np.asarray(target.respond(x).label)
    claims, trace, _ = drive(ATTACKS[name], target, cm.Evade(x, y, cm.Ball(norm, 0.5), seek="nearest"))
    ends = (x == 0) | (x == 1)
    moved = (np.abs(claims - x) > 0)[trace.believed]
    assert moved[:, ends.any(0)].any()
    assert cm.Ball(norm, 0.5).check(claims, x).all()


@every
@both
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_claim_is_inside_and_a_failed_row_returns_its_input(name, norm, dtype):
    x, _ = points()
    x = x.astype(dtype)
    ball = cm.Ball(norm, 0.1)
    target = cm.wrap(constant(0), output="logits", classes=2) if name in ("noise", "square", "hopskipjump") else None
    if target is not None:
        evidence = cm.run(ATTACKS[name], target, cm.Evade(x, np.zeros(12, int), ball))
        assert evidence.rate == 0
        assert not evidence.rows["believed"].any()
        assert evidence.rows["inside"].all()
        if name == "hopskipjump":
            np.testing.assert_array_equal(evidence.claims.x, x)
    target, case = setup(norm, radius=0.1)
    claims, _, _ = drive(ATTACKS[name], target, cm.Evade(x, case.y, ball))  # the model speaks float64 in either case
    assert claims.dtype == dtype
    assert ball.check(claims, x).all()


@every
@both
@pytest.mark.parametrize("cap", [1, 7, 33])
def test_no_budget_is_ever_exceeded(name, norm, cap):
    target, case = setup(norm, radius=0.01)
    limit = cm.Budget(queries_per_row=cap, gradients_per_row=cap)
    _, _, meter = drive(ATTACKS[name], target, case, limit)
    assert meter.of("queries", case.row).max() <= cap
    assert meter.of("gradients", case.row).max() <= cap
    _, _, meter = drive(ATTACKS[name], target, case, cm.Budget(queries=cap * 5))
    assert meter.total["queries"] <= cap * 5


@both
def test_hopskipjump_uses_its_budget_to_the_end(norm):
    for cap in (60, 200, 1000):
        target, case = setup(norm, radius=np.inf)
        claims, trace, meter = drive(HopSkipJump(), target, case, cm.Budget(queries_per_row=cap))
        assert (meter.of("queries", case.row) >= 0.9 * cap).all()
        assert trace.believed.all()
        assert not np.isnan(claims).any()


@both
def test_hopskipjump_gets_nearer_with_more_queries(norm):
    target, case = setup(norm, radius=np.inf)
    sizes = []
    for cap in (50, 500, 5000):
        claims, _, _ = drive(HopSkipJump(), target, case, cm.Budget(queries_per_row=cap))
        sizes.append(case.within.measure(claims, case.x))
    assert (sizes[1] <= sizes[0] + 1e-9).all()
    assert (sizes[2] <= sizes[1] * 1.05).all()
    assert np.median(sizes[2]) < 0.9 * np.median(sizes[0])


@both
def test_one_row_without_a_start_does_not_stop_the_others(norm):
    def half(x):
        scores = np.zeros((len(x), 2))
        stubborn = x[:, 0] == 0.25  # the first value of a stubborn row is never changed by blending alone
        scores[:, 1] = np.where(stubborn, -1, x.mean(1) - 0.5)
        return scores

    x = np.full((4, 6), 0.4)
    target = cm.wrap(half, output="logits", classes=2)
    evidence = cm.run(HopSkipJump(steps=2), target, cm.Evade(x, np.zeros(4, int), cm.Ball(norm, np.inf)))
    assert evidence.rate == 1
    none = cm.run(
        HopSkipJump(starts=5), cm.wrap(constant(0), output="logits", classes=2), cm.Evade(x, np.zeros(4, int), cm.Ball(norm, 1.0))
    )
    assert none.rate == 0
    assert none.rows["queries"].tolist() == [5] * 4


@both
@pytest.mark.parametrize("shape", [(9,), (6, 5), (2, 5, 7)])
def test_square_asks_once_for_each_step_and_reaches_every_value(norm, shape):
    target, case = setup(norm, radius=1e-4, shape=shape, seek="nearest")
    claims, _, meter = drive(Square(steps=40), target, case)
    assert (meter.of("queries", case.row) == 41).all()
    assert claims.shape == case.x.shape
    from casemate.attacks.evasion.square import _place

    uniform = torch.as_tensor(cm.RowRandom(0).uniform(np.arange(2000), 0, (2,)))
    first = _place(uniform, (1, 4, 6), (2, 2))[:, 0, 0]
    assert set((first // 6).tolist()) == set(range(3))
    assert set((first % 6).tolist()) == set(range(5))


def test_square_changes_something_with_every_query():
    seen = []

    def watch(x):
        seen.append(np.array(x))
        return np.tile([1.0, 0.0], (len(x), 1))

    x = np.full((1, 1, 6, 6), 0.5)
    cm.run(Square(steps=30), cm.wrap(watch, output="logits", classes=2), cm.Evade(x, np.zeros(1, int), cm.Ball("linf", 0.1)))
    asked = [s for s in seen if s.shape == x.shape and not np.array_equal(s, x)]
    start = asked[0]
    assert all(not np.array_equal(s, start) for s in asked[1:31])


def test_square_climbs_probabilities_that_are_all_but_certain():
    toy = linear(2, (16,), seed=1)
    x, y = toy.inputs(8, dtype="float64")
    sure = lambda x: np.exp(100 * (z := toy(x) - toy(x).max(1, keepdims=True))) / np.exp(100 * z).sum(1, keepdims=True)  # noqa: E731
    radius = 1.3 * float(toy.distance(x, y, "linf").max())
    case = cm.Evade(x, y, cm.Ball("linf", radius))
    assert cm.run(Square(steps=300), cm.wrap(sure, output="scores", classes=2), case).rate == 1


def test_a_forest_falls_to_labels_alone():
    model, x, y = forest(trees=10)
    target = cm.wrap(model)
    right = model.predict(x) == y
    case = cm.Evade(x[right][:20], y[right][:20], cm.Ball("l2", 1.2))
    evidence = cm.run(HopSkipJump(steps=5), target, case, budget=cm.Budget(queries_per_row=300))
    assert evidence.rate > 0.9
    assert cm.run(Square(steps=60), target, cm.Evade(case.x, case.y, cm.Ball("linf", 0.5))).rate > 0.9


def test_refused_rows_keep_what_they_had():
    target, case = setup("l2", radius=np.inf)
    claims, trace, meter = drive(HopSkipJump(), target, case, services=(Tiring(rows=600),))
    assert trace.believed.all()
    assert not np.isnan(claims).any()
    assert meter.total["queries"] - meter.total["refused"] == 600


def test_transfer_asks_only_its_tries():
    target, case = setup("linf", radius=1e-4, seek="any")
    _, _, meter = drive(Transfer(steps=20, check_every=4, tries=3), target, case)
    assert (meter.of("queries", case.row) == 3).all()
    assert meter.total["parent"] == 20 * len(case)
    target, case = setup("linf", radius=0.3, seek="any")
    _, trace, _ = drive(Transfer(), target, case)
    assert trace.believed.all()


def test_transfer_varies_each_row_on_its_own():
    x, y = points(6, (1, 8, 8))
    target = cm.wrap(Curved((1, 8, 8)))
    case = cm.Evade(x, y, cm.Ball("linf", 0.1), seek="nearest")
    whole, _, _ = drive(Transfer(steps=8, diversity=0.7), target, case)
    alone, _, _ = drive(Transfer(steps=8, diversity=0.7), target, case.only(np.array([3])))
    np.testing.assert_allclose(alone[0], whole[3], atol=1e-9)
    plain, _, _ = drive(Transfer(steps=8), target, case)
    assert np.abs(plain - whole).max() > 0


def test_apgd_checkpoints_are_the_published_ones():
    from casemate.attacks.evasion.apgd_ce import checkpoints

    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_named_attacks_keep_their_published_parameters():
    assert (APGD().steps, APGD().restarts) == (100, 1)
    assert (Square().share, Square().rescale) == (0.8, False)
    assert (PGD().steps, PGD().stride) == (40, 0.1)
