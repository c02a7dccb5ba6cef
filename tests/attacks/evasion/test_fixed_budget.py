"""The white-box attacks of a fixed budget: exact on linear models, honest with few classes, calls counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks.evasion import _l1, _losses, _plane
from casemate.attacks.evasion.apgd_ce import APGD
from casemate.attacks.evasion.apgd_dlr import APGDDLR
from casemate.attacks.evasion.apgd_t import APGDT
from casemate.attacks.evasion.fab_t import FABT
from casemate.attacks.evasion.fgsm import FGSM
from casemate.attacks.evasion.pgd import PGD
from casemate.core.endpoint import Endpoint
from casemate.core.goal import Becomes
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_rows
from casemate.testing.toys import linear

torch.set_num_threads(1)

NORMS = ("linf", "l2", "l1")
FIXED = {
    "fgsm": FGSM(), "pgd": PGD(steps=60), "apgd_ce": APGD(), "apgd_dlr": APGDDLR(), "apgd_t": APGDT(), "wide": APGD(wide=True),
    "fab_t": FABT(steps=10),
}  # fmt: skip
DISTANCE = {"linf": 0.05, "l2": 0.15, "l1": 0.2}
every = pytest.mark.parametrize("norm", NORMS)


def drive(attack, model, case, seed=0):
    meter = Meter(case.row)
    trace = drive_rows(attack, Oracle(Endpoint(cm.wrap(model)), cm.researcher(), meter), case, cm.RowRandom(seed))
    return trace, meter


def alike(toy, n, norm, distance):
    """Inputs that all lie at the same exact distance of the boundary, and their decisions."""
    x, y = toy.inputs(n, dtype="float64")
    pull = toy.weight[1] - toy.weight[0]
    lead = toy(x) @ [-1, 1]
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    wanted = distance * np.linalg.norm(pull, dual) * np.sign(lead)
    x = x + ((wanted - lead) / (pull @ pull))[:, None] * pull
    np.testing.assert_allclose(toy.distance(x, y, norm), distance, rtol=1e-9)
    return x, y


@pytest.mark.parametrize("name", FIXED)
@every
def test_breaks_just_beyond_the_exact_distance_and_never_before(name, norm):
    toy = linear(2, (8,), seed=2)
    x, y = alike(toy, 6, norm, DISTANCE[norm])
    for share, expected in ((1.02, True), (0.99, False)):
        trace, _ = drive(FIXED[name], toy.module("float64"), cm.Evade(x, y, cm.Ball(norm, share * DISTANCE[norm])))
        assert (trace.believed == expected).all(), (share, trace.believed)


@every
@pytest.mark.parametrize("classes", [2, 4])
def test_fab_finds_the_exact_distance_where_the_box_is_in_the_way(norm, classes):
    toy = linear(classes, (12,), seed=5)
    x, _ = toy.inputs(8, dtype="float64")
    x = np.where(np.arange(12) % 3 == 0, np.round(x), x)
    y = toy(x).argmax(1)
    case = cm.Evade(x, y, cm.Ball(norm, np.inf), seek="nearest")
    trace, _ = drive(FABT(steps=15), toy.module("float64"), case)
    ratio = case.within.measure(trace.x, x) / toy.distance(x, y, norm)
    assert trace.believed.all()
    assert (ratio >= 1 - 1e-9).all()
    assert (ratio <= 1.001).all(), ratio


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_fgsm_is_exact_in_the_box(norm):
    toy = linear(2, (12,), seed=5)
    x, _ = toy.inputs(8, dtype="float64")
    x = np.where(np.arange(12) % 3 == 0, np.round(x), x)
    y = toy(x).argmax(1)
    exact = toy.distance(x, y, norm)
    for i in range(8):
        for share, expected in ((1.001, True), (0.999, False)):
            case = cm.Evade(x[i : i + 1], y[i : i + 1], cm.Ball(norm, share * exact[i]))
            assert drive(FGSM(), toy.module("float64"), case)[0].believed[0] == expected, (i, share)


@every
def test_the_move_onto_a_plane_is_as_long_as_the_distance(norm):
    toy = linear(2, (12,), seed=5)
    x, _ = toy.inputs(10, dtype="float64")
    x = np.where(np.arange(12) % 3 == 0, np.round(x), x)
    y = toy(x).argmax(1)
    slope = torch.as_tensor((toy.weight[1] - toy.weight[0]) * np.where(y == 0, 1, -1)[:, None])
    lead = torch.as_tensor((toy(x)[:, 1] - toy(x)[:, 0]) * np.where(y == 0, 1, -1))
    move = _plane.onto(torch.as_tensor(x), slope, lead, cm.Ball(norm, 1.0))
    np.testing.assert_allclose(_plane.size(move, norm), toy.distance(x, y, norm), rtol=1e-5)
    assert ((x + move.numpy() >= -1e-12) & (x + move.numpy() <= 1 + 1e-12)).all()
    hopeless = _plane.onto(torch.as_tensor(x), slope, torch.full((10,), -1e6, dtype=torch.float64), cm.Ball(norm, 1.0))
    corner = x + hopeless.numpy()
    assert (np.isclose(corner, 0) | np.isclose(corner, 1)).all()
    assert not _plane.onto(torch.as_tensor(x), 0 * slope, lead, cm.Ball(norm, 1.0)).any()


def test_the_projection_onto_l1_ball_and_box_is_what_a_solver_finds():
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    for radius in (0.3, 0.9, 1.6):
        origin = rng.uniform(size=(3, 5))
        x = origin + 0.7 * rng.normal(size=(3, 5))
        ball = cm.Ball("l1", radius)
        found = _l1.project(torch.as_tensor(x), torch.as_tensor(origin), ball).numpy()
        assert ball.check(found, origin).all()
        for i in range(3):
            bounds = [(0, 1 - v) for v in origin[i]] + [(0, v) for v in origin[i]]
            limit = {"type": "ineq", "fun": lambda d, r=radius: r - d.sum()}
            far = lambda d, v=(x - origin)[i]: ((d[:5] - d[5:] - v) ** 2).sum()  # noqa: E731
            best = minimize(far, np.full(10, 0.01), bounds=bounds, constraints=limit, options={"ftol": 1e-13}).fun
            assert ((found[i] - x[i]) ** 2).sum() <= best + 1e-6


def test_dlr_heeds_neither_shift_nor_scale_of_the_logits():
    logits = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, aims = torch.arange(20) % 6, (torch.arange(20) + 1) % 6
    case = cm.Evade(np.zeros((20, 2)), y.numpy(), cm.Ball("linf", 0.1))
    for loss in (_losses.dlr(case), _losses.toward(case, aims, ratio=True)):
        plain = loss(logits, y)
        torch.testing.assert_close(loss(logits - 50, y), plain)
        torch.testing.assert_close(loss(logits * 1000, y), plain)
    wrong = logits.argmax(1) != y
    assert ((_losses.dlr(case)(logits, y) > 0) == wrong).all()


def test_with_too_few_classes_the_margin_is_climbed():
    y = torch.zeros(8, dtype=torch.long)
    case = cm.Evade(np.zeros((8, 2)), y.numpy(), cm.Ball("linf", 0.1))
    two, three = torch.randn(8, 2), torch.randn(8, 3)
    torch.testing.assert_close(_losses.dlr(case)(two, y), two[:, 1] - two[:, 0])
    torch.testing.assert_close(_losses.toward(case, y + 2, ratio=True)(three, y), three[:, 2] - three[:, 0])


def test_the_confident_loss_is_the_log_probability_of_the_surest_wrong_class():
    logits, y = torch.randn(9, 4), torch.arange(9) % 4
    case = cm.Evade(np.zeros((9, 2)), y.numpy(), cm.Ball("linf", 0.1))
    p = logits.softmax(1)
    p[torch.arange(9), y] = 0
    torch.testing.assert_close(_losses.confident(case)(logits, y).exp(), p.amax(1))


@every
def test_on_two_classes_wrong_and_the_other_class_are_one_goal(norm):
    toy = linear(2, (8,), seed=3)
    x, y = toy.inputs(12, dtype="float64")
    x, y = x[y == 0], y[y == 0]
    ball = cm.Ball(norm, float(np.median(toy.distance(x, y, norm))))
    for attack in (APGDDLR(steps=30), APGDT(steps=30), PGD(steps=30), FABT(steps=5)):
        untargeted, _ = drive(attack, toy.module("float64"), cm.Evade(x, y, ball, seek="nearest"))
        targeted, _ = drive(attack, toy.module("float64"), cm.Evade(x, y, ball, goal=Becomes(1), seek="nearest"))
        np.testing.assert_array_equal(untargeted.believed, targeted.believed)
        np.testing.assert_allclose(untargeted.x, targeted.x, atol=1e-9)


def test_apgd_hands_in_the_best_point_and_not_the_last():
    """A loss that is largest in a thin shell: the last iterate is not where the row broke."""
    seen = []

    class Shell(nn.Module):
        def forward(self, x):
            near = -((x - 0.56) ** 2).sum(1) * 400 + 1.0
            seen.extend(near.detach().tolist())
            return torch.stack([torch.zeros_like(near), near], 1)

    x = np.full((1, 2), 0.5)
    trace, _ = drive(APGD(steps=12), Shell().eval(), cm.Evade(x, np.zeros(1, int), cm.Ball("linf", 0.1), seek="nearest"))
    got = float(Shell()(torch.as_tensor(trace.x))[0, 1])
    seen.pop()
    assert trace.believed.all()
    assert got == pytest.approx(max(seen))
    assert seen[-1] != max(seen)


def test_random_l2_starts_are_uniform_in_the_ball():
    from scipy.stats import kstest

    asked = []

    class Flat(nn.Module):
        def forward(self, x):
            asked.append(x.detach().clone())
            return x[:, :2] * 0.0

    x = np.full((400, 6), 0.5)
    drive(PGD(steps=1, random_start=True), Flat().eval(), cm.Evade(x, np.zeros(400, int), cm.Ball("l2", 0.2)))
    radius = (asked[0].double() - 0.5).norm(dim=1).numpy() / 0.2
    assert kstest(radius**6, "uniform").pvalue > 0.01
    asked.clear()
    drive(APGD(steps=1), Flat().eval(), cm.Evade(x, np.zeros(400, int), cm.Ball("l2", 0.2)))
    surface = (asked[0].double() - 0.5).norm(dim=1).numpy()
    np.testing.assert_allclose(surface, 0.2, rtol=1e-5)


@every
def test_a_given_start_is_where_the_first_run_begins(norm):
    toy = linear(3, (8,), seed=1)
    x, y = toy.inputs(5, dtype="float64")
    asked = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = toy.module("float64")

        def forward(self, x):
            asked.append(x.detach().clone())
            return self.net(x)

    ball = cm.Ball(norm, 1e-3)
    start = ball.project(x + 1e-4, x)
    for attack in (PGD(steps=2), APGD(steps=2)):
        asked.clear()
        drive(attack, Watched().eval(), cm.Evade(x, y, ball, start=start))
        np.testing.assert_allclose(asked[0], start, atol=1e-12)


def test_fab_asks_one_gradient_a_step_where_nothing_crosses():
    class Far(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum(1) + 100, x[:, 0], x[:, 1]], 1)

    case = cm.Evade(np.full((4, 6), 0.5), np.zeros(4, int), cm.Ball("l2", 0.1))
    _, meter = drive(FABT(steps=7), Far().eval(), case)
    assert meter.of("gradients", case.row).tolist() == [14] * 4
    asked = meter.of("queries", case.row) + meter.of("local", case.row)
    assert asked.tolist() == [1 + 2] * 4  # the ranks of the classes, and the end of each run


@every
def test_every_claim_is_inside_whatever_the_radii_on_the_way(norm):
    toy = linear(4, (30,), seed=1)
    for dtype in ("float32", "float64"):
        x, y = toy.inputs(10, dtype=dtype)
        x[:, ::5] = np.round(x[:, ::5])
        case = cm.Evade(x, y, cm.Ball(norm, float(np.median(toy.distance(x, y, norm)))), seek="nearest")
        for attack in (APGDT(steps=20, targets=2, wide=True), FABT(steps=5), FGSM(), PGD(steps=10)):
            trace, _ = drive(attack, toy.module(dtype), case)
            assert case.within.check(trace.x, x).all(), (attack, dtype)


def test_aims_are_the_highest_other_logits_and_no_more_than_there_are():
    toy = linear(3, (8,), seed=1)
    x, y = toy.inputs(6, dtype="float64")
    case = cm.Evade(x, y, cm.Ball("linf", 1e-6))
    _, meter = drive(APGDT(steps=4, targets=9), toy.module("float64"), case)
    assert meter.of("gradients", case.row).tolist() == [8] * 6


def test_slopes_that_are_no_numbers_move_nothing_and_end():
    class Broken(nn.Module):
        def forward(self, x):
            bad = (x.sum(1) - x.sum(1).detach()).sqrt() * 0  # its slope is not a number
            return torch.stack([1 + bad, bad, -1 + bad, -2 + bad], 1)

    x = np.full((3, 4), 0.5)
    for norm in NORMS:
        for attack in (FGSM(), PGD(steps=3), APGD(steps=3), APGDT(steps=3), FABT(steps=3)):
            trace, _ = drive(attack, Broken().eval(), cm.Evade(x, np.zeros(3, int), cm.Ball(norm, 0.1)))
            assert not trace.believed.any()
            assert np.isfinite(trace.x).all()
