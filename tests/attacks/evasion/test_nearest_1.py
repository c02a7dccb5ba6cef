"""Attacks that look for the smallest change: exact distances of linear models, and what went wrong in other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks.evasion.carlini_wagner import CarliniWagner
from casemate.attacks.evasion.ddn import DDN
from casemate.attacks.evasion.deepfool import DeepFool
from casemate.attacks.evasion.fmn import FMN, _threshold
from casemate.core.endpoint import Endpoint
from casemate.core.errors import BadInput
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_rows
from casemate.testing.toys import linear

torch.set_num_threads(1)

CW = CarliniWagner(searches=5, steps=60, stride=0.05)
EVERY = {
    "deepfool l2": (DeepFool(), "l2"), "deepfool linf": (DeepFool(), "linf"), "cw l2": (CW, "l2"), "ddn l2": (DDN(), "l2"),
    "fmn l2": (FMN(), "l2"), "fmn linf": (FMN(), "linf"), "fmn l1": (FMN(), "l1"), "fmn l0": (FMN(), "l0"),
}  # fmt: skip
every = pytest.mark.parametrize("name", EVERY)
lengths = pytest.mark.parametrize("name", [name for name in EVERY if "l0" not in name])


class Net(nn.Module):
    """A small undefended network with sharp, curved boundaries; `shift` is added to every logit."""

    def __init__(self, shift=0.0, classes=4):
        super().__init__()
        random = torch.Generator().manual_seed(0)
        first = torch.randn(32, 16, generator=random, dtype=torch.float64) / 2
        second = torch.randn(classes, 32, generator=random, dtype=torch.float64)
        self.first, self.second = (nn.Parameter(w, requires_grad=False) for w in (first, second))
        self.shift = shift

    def forward(self, x):
        return torch.relu((x.double().flatten(1) - 0.5) @ self.first.T) @ self.second.T + self.shift


def points(model, n=12, size=16, saturated=False, dtype="float64"):
    x = np.random.default_rng(1).uniform(0, 1, (n, size))
    x = (np.round(x) if saturated else x).astype(dtype)
    return x, model(torch.as_tensor(x)).argmax(1).numpy()


def search(attack, model, x, y, norm, radius=np.inf, **case):
    """The trace, the meter, and each row's distance by what is handed in: infinite where no success is claimed."""
    ball = cm.Ball(norm, radius)
    task = cm.Evade(x, y, ball, seek="nearest", **case)
    meter = Meter(task.row)
    trace = drive_rows(attack, Oracle(Endpoint(cm.wrap(model)), cm.researcher(), meter), task, cm.RowRandom(0))
    claims = np.asarray(trace.x)
    return trace, meter, np.where(trace.believed, ball.measure(claims, x), np.inf)


def fewest(toy, x, y):
    """How many values must change at least: the largest gains first, each value moved to an end of the box."""
    found = np.full(len(x), np.inf)
    for i, (row, own) in enumerate(zip(x, y, strict=True)):
        logits = toy(row[None])[0]
        for other in set(range(len(logits))) - {own}:
            pull = toy.weight[other] - toy.weight[own]
            gained = np.sort(np.where(pull > 0, pull * (1 - row), -pull * row))[::-1].cumsum()
            enough = np.flatnonzero(gained > logits[own] - logits[other])
            found[i] = min(found[i], enough[0] + 1 if len(enough) else np.inf)
    return found


@lengths
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("saturated", [False, True])
def test_median_distance_on_a_linear_model_is_exact_box_included(name, classes, saturated):
    attack, norm = EVERY[name]
    attack = CarliniWagner(searches=5) if attack is CW else attack  # the others show their point with fewer steps
    toy = linear(classes, (16,), seed=2)
    x, _ = toy.inputs(12, dtype="float64")
    x = np.where((np.arange(16) % 3 == 0) & saturated, np.round(x), x)
    y = toy(x).argmax(1)
    ratio = search(attack, toy.module("float64"), x, y, norm)[2] / toy.distance(x, y, norm)
    assert ratio.min() >= 0.999, ratio
    assert np.median(ratio) <= 1.02, ratio


@pytest.mark.parametrize("classes", [2, 4])
def test_fewest_values_on_a_linear_model(classes):
    toy = linear(classes, (16,), seed=3)
    x, y = toy.inputs(12, dtype="float64")
    more = search(FMN(), toy.module("float64"), x, y, "l0")[2] - fewest(toy, x, y)
    assert more.min() >= 0
    assert more.max() <= 1
    assert np.median(more) == 0


def test_g3_fmn_projects_so_more_steps_never_end_farther_than_exact():
    toy = linear(2, (16,), seed=2)
    x, y = toy.inputs(12, dtype="float64")
    for norm in ("l2", "linf", "l1"):
        exact = toy.distance(x, y, norm)
        few, many = (search(FMN(steps=steps), toy.module("float64"), x, y, norm)[2] for steps in (30, 200))
        assert (many <= 1.001 * exact).all(), many / exact
        assert np.median(many) <= np.median(few) * (1 + 1e-9)


def test_g3_the_l1_projection_fills_the_box():
    size = torch.tensor([[3.0, 2.0, 1.0, 0.5]], dtype=torch.float64)
    room = torch.tensor([[0.4, 1.0, 1.0, 1.0]], dtype=torch.float64)
    cut = _threshold(size, room, torch.tensor([[1.2]], dtype=torch.float64))
    kept = (size - cut).clamp_min(0).minimum(room)
    torch.testing.assert_close(kept, torch.tensor([[0.4, 0.8, 0.0, 0.0]], dtype=torch.float64))


@every
def test_g4_a_row_that_fails_gives_its_input_back(name):
    attack, norm = EVERY[name]
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3, dtype=torch.float64)).requires_grad_(False).eval()
    model[1].weight.mul_(1e-3)
    model[1].bias.copy_(torch.tensor([5.0, 0.0, 0.0]))  # decided 0 wherever in the box one goes
    x, y = points(model, n=4)
    for radius in (np.inf, 0.2, 0.0):
        trace, _, distance = search(attack, model, x, y, norm, radius)
        assert not trace.believed.any()
        assert np.isinf(distance).all()
        assert (np.asarray(trace.x) == x).all()


@every
def test_g5_every_row_of_an_undefended_network_is_reached(name):
    attack, norm = EVERY[name]
    model = Net()
    x, y = points(model)
    trace, _, distance = search(attack, model, x, y, norm)
    assert np.isfinite(distance).all(), distance
    assert (model(torch.as_tensor(np.asarray(trace.x))).argmax(1).numpy() != y).all()


@every
def test_g6_a_number_added_to_all_logits_changes_nothing(name):
    attack, norm = EVERY[name]
    x, y = points(Net(), n=6)
    plain = search(attack, Net(), x, y, norm)[2]
    for shift in (-50.0, 50.0):
        np.testing.assert_allclose(search(attack, Net(shift), x, y, norm)[2], plain, rtol=1e-4)


@every
def test_g7_values_at_the_ends_of_the_domain_move(name):
    attack, norm = EVERY[name]
    model = Net()
    x, y = points(model, saturated=True)
    trace, _, distance = search(attack, model, x, y, norm)
    assert np.isfinite(distance).all(), distance
    assert (np.asarray(trace.x) != x).any(1).all()


@every
def test_a_wished_class_is_reached(name):
    attack, norm = EVERY[name]
    model = Net()
    x, y = points(model, n=40)
    x, y = x[y != 2][:10], y[y != 2][:10]
    trace, _, distance = search(attack, model, x, y, norm, goal=cm.Becomes(2))
    reached = model(torch.as_tensor(np.asarray(trace.x))).argmax(1).numpy() == 2
    assert (reached == trace.believed).all()
    assert trace.believed.mean() >= 0.9, distance


@every
def test_claims_of_single_precision_stand_in_other_batches(name):
    attack, norm = EVERY[name]
    toy = linear(4, (16,), seed=5)
    x, y = toy.inputs(30)
    model = toy.module()
    trace, _, _ = search(attack, model, x, y, norm)
    claims = torch.as_tensor(np.asarray(trace.x))
    alone = torch.cat([model(claims[i : i + 1]) for i in range(len(claims))]).argmax(1).numpy()
    assert trace.believed.all()
    assert (alone != y).all()


@every
def test_a_row_whose_search_is_over_costs_nothing_more(name):
    attack, norm = EVERY[name]
    model = Net()
    x, y = points(model)
    y[0] = (y[0] + 1) % 4  # decided otherwise already: at distance 0 from the first call on
    _, meter, distance = search(attack, model, x, y, norm)
    assert distance[0] == 0
    assert meter.of("gradients", np.array([0]))[0] + meter.of("local", np.array([0]))[0] <= 1


def test_deepfool_and_cw_stop_row_by_row():
    model = Net()
    x, y = points(model, n=20)
    for attack, most in ((DeepFool(), DeepFool().steps), (CW, CW.searches * CW.steps)):
        spent = search(attack, model, x, y, "l2")[1].of("gradients", np.arange(20))
        assert len(set(spent.tolist())) > 1
        assert spent.max() <= most


def test_confidence_leaves_a_margin():
    model = Net()
    x, y = points(model)
    trace, _, distance = search(CarliniWagner(searches=5, steps=60, stride=0.05, confidence=0.5), model, x, y, "l2")
    logits = model(torch.as_tensor(np.asarray(trace.x)))
    lead = cm.Wrong().loss(logits, torch.as_tensor(y))
    assert trace.believed.all()
    assert float(lead.min()) >= 0.5 - 1e-9
    assert (distance > search(CW, model, x, y, "l2")[2]).mean() > 0.9


def test_overshoot_is_what_deepfool_leaves_without_its_last_looks():
    toy = linear(2, (16,), seed=2)
    x, y = toy.inputs(8, dtype="float64")
    exact = toy.distance(x, y, "l2")
    np.testing.assert_allclose(search(DeepFool(polish=0), toy.module("float64"), x, y, "l2")[2], 1.02 * exact, rtol=1e-6)


def test_what_does_not_fit_is_refused_by_name():
    toy = linear(2, (16,), seed=2)
    x, y = toy.inputs(4)
    for attack, norm in ((DDN(), "linf"), (DeepFool(), "l1"), (CW, "l0")):
        with pytest.raises(BadInput, match=attack.info.id):
            search(attack, toy.module(), x, y, norm)
    with pytest.raises(BadInput, match="candidates=1"):
        search(DeepFool(candidates=1), toy.module(), x, y, "l2")
    one = nn.Sequential(nn.Flatten(), nn.Linear(16, 1)).eval()
    for attack in (DDN(), FMN(), CW):
        with pytest.raises(BadInput, match="two classes or more"):
            search(attack, one, x, y, "l2")
