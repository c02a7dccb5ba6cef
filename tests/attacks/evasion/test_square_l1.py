"""Square in l1: what is published where it can be pinned, exact distances, and as strong as the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks.evasion.autoattack import AutoAttack
from casemate.attacks.evasion.square import Square, _holding, _odd_side, _peaks
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput
from casemate.core.oracle import Meter, Oracle
from casemate.runs.cascade import drive_cascade
from casemate.runs.driver import drive_rows
from casemate.testing.toys import constant, linear

torch.set_num_threads(1)
SEES = Adversary(name="somebody", may=Need.SCORE | Need.LABEL, budget=Budget())


def drive(attack, target, case, seed=0):
    meter = Meter(case.row)
    return drive_rows(attack, Oracle(Endpoint(target), SEES, meter), case, cm.RowRandom(seed)), meter


def shown(model, classes=2):
    return cm.wrap(model, output="logits", classes=classes)


def watched(classes=2):
    """A numpy callable that no input moves, and the list of what it was asked."""
    asked, model = [], constant(0, classes)

    def ask(x):
        asked.append(np.array(x))
        return model(x)

    return ask, asked


@pytest.mark.parametrize("shape", [(6,), (12,), (1, 4, 4), (1, 1, 1)])
@pytest.mark.parametrize("classes", [2, 4])
def test_breaks_just_beyond_the_exact_distance_and_never_before(shape, classes):
    toy = linear(classes, shape, seed=2)
    x, y = toy.inputs(2, seed=1, dtype="float64")
    exact = toy.distance(x, y, "l1")
    for i in np.flatnonzero(np.isfinite(exact)):
        for share, steps in ((1.02, 2500), (0.99, 100)):
            ball = cm.Ball("l1", share * exact[i])
            trace, _ = drive(Square(steps=steps), shown(toy, classes), cm.Evade(x[i : i + 1], y[i : i + 1], ball, row=[i]))
            assert bool(trace.believed[0]) is (share > 1), (share, i)


@pytest.mark.parametrize("shape", [(9,), (1, 8, 8), (3, 7, 6), (2, 5, 9)])
@pytest.mark.parametrize("radius", [0.05, 3.0, 1e6])
def test_every_point_asked_is_inside_and_each_row_asks_once_a_step(shape, radius):
    model, asked = watched()
    x = np.random.default_rng(0).random((4, *shape)).astype(np.float32)
    x.reshape(4, -1)[:, :3] = 0.0, 1.0, 0.3
    ball = cm.Ball("l1", radius)
    _, meter = drive(Square(steps=60), shown(model), cm.Evade(x, np.zeros(4, int), ball))
    assert (meter.of("queries", np.arange(4)) == 61).all()
    assert len(asked) == 61
    for point in asked:
        assert ball.check(point, x).all()
        assert ball.measure(point, x).min() > 0
    if radius == 0.05:  # all of the radius is used that the inputs' precision leaves
        assert ball.measure(asked[-1], x).min() > 0.9999 * ball.inside(x)


def test_rows_have_squares_of_their_own():
    model, asked = watched()
    x = np.full((3, 1, 16, 16), 0.5)
    drive(Square(steps=200, share=0.05), shown(model), cm.Evade(x, np.zeros(3, int), cm.Ball("l1", 2.0)))
    touched = [(point != asked[0]).reshape(3, -1) for point in asked[1:]]  # what is climbed never rises: the best stays
    assert np.mean([(t[0] == t[1]).all() for t in touched]) < 0.2
    assert all(t.any(1).all() for t in touched)  # and no query is wasted


def test_the_start_is_tiles_in_the_middle_brought_into_the_ball():
    model, asked = watched()
    x = np.full((6, 3, 28, 28), 0.5)
    drive(Square(steps=0), shown(model), cm.Evade(x, np.zeros(6, int), cm.Ball("l1", 12.0)))
    change = asked[0] - x
    np.testing.assert_allclose(np.abs(change).sum((1, 2, 3)), 12, rtol=1e-6)
    assert not change[:, :, :1].any() and not change[:, :, 26:].any()
    assert not change[:, :, :, :1].any() and not change[:, :, :, 26:].any()
    tiles = np.abs(change[:, :, 1:26, 1:26]).reshape(6, 3, 5, 5, 5, 5)
    np.testing.assert_allclose(tiles.sum((3, 5)), 12 / 75, rtol=1e-6)  # each of the 5 x 5 the same length
    signs = np.sign(change[:, :, 3, 2])
    assert 0 < (signs > 0).sum() < signs.size


def test_peaks_and_sides_are_those_of_the_reference():
    theirs = pytest.importorskip("pyautoattack.square").SquareAttack(nn.Identity(), norm="L1", eps=1.0)
    theirs.device = "cpu"
    for side in (1, 2, 3, 4, 5, 8, 11):
        torch.manual_seed(0)
        hill = theirs.eta(side)
        mine = _peaks((side, side), torch.float32, torch.device("cpu"))
        assert any(torch.allclose(mine, way, atol=1e-6) for way in (hill, hill.T)), side
        assert mine.abs().sum() == pytest.approx(1)
    assert [_odd_side(0.8 / 2**k, (3, 32, 32))[0] for k in range(9)] == [29, 21, 15, 11, 7, 5, 5, 3, 3]
    assert [_odd_side(0.8 / 2**k, (1, 8, 8))[0] for k in range(4)] == [7, 5, 5, 3]
    assert _odd_side(0.8, (1, 6, 6)) == (5, 5)


def test_a_moved_giver_holds_a_changed_place():
    generator = torch.Generator().manual_seed(0)
    change = torch.zeros(300, 2, 35)
    place = torch.randint(35, (300,), generator=generator)
    change[torch.arange(300), torch.randint(2, (300,), generator=generator), place] = -0.5
    window = _holding(change, 0.1, (2, 5, 7), (3, 3), torch.rand(300, 3, generator=generator))
    assert window.shape == (300, 1, 9)
    assert (window == place[:, None, None]).any(2).all()
    assert window.min() >= 0 and window.max() < 35
    assert len(window[place == place[0], 0, 0].unique()) > 1


def test_no_room_no_radius_and_other_norms():
    toy = linear(2, (1, 6, 6), seed=1)
    x, y = toy.inputs(3)
    trace, _ = drive(Square(steps=20), shown(toy), cm.Evade(x, y, cm.Ball("l1", 0.0)))
    assert not trace.believed.any()
    np.testing.assert_array_equal(trace.x, x)
    trace, _ = drive(Square(steps=1500), shown(toy), cm.Evade(x, y, cm.Ball("l1", np.inf)))
    assert trace.believed.all()
    with pytest.raises(BadInput, match="l1"):
        drive(Square(), shown(toy), cm.Evade(x, y, cm.Ball("l0", 3)))


@pytest.fixture(scope="module")
def digits():
    """A small network on digits of 8 x 8, and 60 rows it gets right."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x[:1200]), y[:1200]).backward()
        optimiser.step()
    net.eval().requires_grad_(False)
    right = 1200 + (net(x[1200:]).argmax(1) == y[1200:]).nonzero()[:60, 0]
    return net, x[right], y[right]


def test_as_many_rows_fall_as_with_the_reference(digits):
    reference = pytest.importorskip("pyautoattack.square").SquareAttack
    net, x, y = digits
    theirs = reference(net, norm="L1", n_queries=500, eps=2.0, p_init=0.8, seed=0, resc_schedule=False)
    fell = int((net(theirs.perturb(x, y)).argmax(1) != y).sum())
    trace, _ = drive(Square(steps=500), cm.wrap(net), cm.Evade(x, y, cm.Ball("l1", 2.0)))
    assert 0 < fell <= trace.believed.sum() < 60
    assert (net(torch.as_tensor(trace.x)).argmax(1) != y).numpy()[trace.believed].all()


def test_the_cascade_in_l1_goes_through_all_its_stages(digits):
    net, x, y = digits
    case = cm.Evade(x[:6], y[:6], cm.Ball("l1", 0.3))

    class Short(AutoAttack):
        def stages(self, oracle, case):
            from dataclasses import replace

            return tuple(replace(stage, steps=5) for stage in super().stages(oracle, case))

    trace = drive_cascade(Short(), Oracle(Endpoint(cm.wrap(net)), cm.researcher(), Meter(case.row)), case, cm.RowRandom(0))
    assert len(trace.stages) == 4
    assert trace.stages[-1].tried > 0


def test_the_stages_in_l1_are_those_of_the_reference(digits):
    reference = pytest.importorskip("pyautoattack").AutoAttack
    net, x, y = digits
    theirs = reference(nn.Identity(), norm="L1", eps=2.0, seed=0, version="standard")
    case = cm.Evade(x[:2], y[:2], cm.Ball("l1", 2.0))
    apgd, targeted, fab, square = AutoAttack().stages(Oracle(Endpoint(cm.wrap(net)), cm.researcher(), Meter(case.row)), case)
    ids = [one.info.id.split(".")[1].replace("_", "-") for one in (apgd, targeted, fab, square)]
    assert ids == theirs.attacks_to_run
    assert all("l1" in one.info.norms for one in (apgd, targeted, fab, square))
    assert (apgd.steps, apgd.restarts, apgd.wide) == (theirs.apgd.n_iter, theirs.apgd.n_restarts, theirs.apgd.use_largereps)
    assert (targeted.steps, targeted.restarts) == (theirs.apgd_targeted.n_iter, theirs.apgd_targeted.n_restarts)
    assert (targeted.targets, targeted.wide) == (theirs.apgd_targeted.n_target_classes, theirs.apgd_targeted.use_largereps)
    assert (fab.steps, fab.targets) == (theirs.fab.n_iter, theirs.fab.n_target_classes)
    assert theirs.square.norm == "L1" and theirs.square.n_restarts == 1 and theirs.square.loss == "margin"
    assert (square.steps, square.share, square.rescale) == (
        theirs.square.n_queries, theirs.square.p_init, theirs.square.rescale_schedule,
    )  # fmt: skip
    for step in (0, 10, 11, 50, 51, 200, 201, 500, 501, 1001, 2001, 4000, 4001, 4999):
        assert 0.8 / 2 ** square._halvings(step) == theirs.square.p_selection(step)
