"""Fake defences in front of the model are gone through by stage: straight through, by a stand-in, in expectation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from torch import nn
from torch.nn import functional

import casemate as cm
from casemate.attacks import APGD, PGD
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.testing.toys import linear

torch.set_num_threads(1)
RADIUS, ROWS = 0.13, 80  # two steps of four bits a pixel: a quantiser whose step is wider than the radius does save rows


@pytest.fixture(scope="module")
def digits():
    """A small network on digits of 8 x 8, and rows it gets right."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = (data.images / 16).astype(np.float32)[:, None], data.target.astype(np.int64)
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(384, 10),
    )  # fmt: skip
    seen, truth, optimiser = torch.as_tensor(x[:1300]), torch.as_tensor(y[:1300]), torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(12):
        for rows in torch.randperm(1300).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(seen[rows]), truth[rows]).backward()
            optimiser.step()
    net.eval().requires_grad_(False)
    right = 1300 + np.flatnonzero(net(torch.as_tensor(x[1300:])).argmax(1).numpy() == y[1300:])[:ROWS]
    return net, x[right], y[right]


def quantised(x):
    return (x * 7).round() / 7


def depth(x):
    """Four bits a pixel, by way of whole numbers: nothing that autograd could follow."""
    return (x.clamp(0, 1) * 15.999).to(torch.uint8).to(x.dtype) / 15


def jpeg(x):
    """What a coder does to a block of 8 x 8: rounded cosine coefficients, coarser for finer waves; outside autograd."""
    step = 0.04 + 0.005 * np.add.outer(np.arange(8), np.arange(8))
    waves = dctn(x.detach().numpy(), axes=(2, 3), norm="ortho")
    return torch.as_tensor(idctn(np.round(waves / step) * step, axes=(2, 3), norm="ortho"), dtype=x.dtype).clamp(0, 1)


def smooth(x):
    """A differentiable stand-in of the coder: the identity, a little blurred."""
    kernel = torch.tensor([[0.02, 0.06, 0.02], [0.06, 0.68, 0.06], [0.02, 0.06, 0.02]], dtype=x.dtype)
    return functional.conv2d(x, kernel[None, None], padding=1)


def resized(x, rows, draw):
    """Every picture shrunken to six or seven pixels and set down at random on eight."""
    lot = torch.as_tensor(cm.RowRandom(7).uniform(np.asarray(rows), (draw,), (3,)))
    out = []
    for picture, (size, down, right) in zip(x, lot.tolist(), strict=True):
        side = 6 + int(size * 2)
        small = functional.interpolate(picture[None], size=(side, side), mode="bilinear", align_corners=False)
        top, left = int(down * (9 - side)), int(right * (9 - side))
        out.append(functional.pad(small, (left, 8 - side - left, top, 8 - side - top)))
    return torch.cat(out)


FAKE = {
    "quantiser": (quantised, "straight_through"),
    "bit depth": (depth, "straight_through"),
    "coder": (jpeg, "straight_through"),
    "coder, by a stand-in": (jpeg, smooth),
}


def broken(attack, target, x, y, radius=RADIUS):
    """The share of all rows, right at the start or not, that end up decided wrongly."""
    rows = cm.run(attack, target, cm.Evade(x, y, cm.Ball("linf", radius))).rows
    return float((rows["broken"] | ~rows["right"]).mean())


@pytest.mark.parametrize("name", FAKE)
@pytest.mark.parametrize("attack", [PGD(steps=15), APGD(steps=20)], ids=["pgd", "apgd"])
def test_a_stage_that_only_hides_the_gradient_saves_no_row(digits, name, attack):
    net, x, y = digits
    forward, backward = FAKE[name]
    stage = cm.Stage(name=name, kind="quantise", forward=forward, backward=backward)
    bare, defended = broken(attack, cm.wrap(net), x, y), broken(attack, cm.wrap(net, stages=[stage]), x, y)
    assert bare > 0.3
    assert defended >= bare - 0.02, (bare, defended)


def test_without_its_backward_pass_the_same_stage_looks_like_a_defence_and_is_flagged(digits):
    net, x, y = digits
    naive = cm.Stage(name="quantiser", kind="quantise", forward=quantised)
    evidence = cm.run(PGD(steps=15), cm.wrap(net, stages=[naive]), cm.Evade(x, y, cm.Ball("linf", RADIUS)))
    adapted = broken(PGD(steps=15), cm.wrap(net, stages=[cm.Stage(name="q", forward=quantised, backward="straight_through")]), x, y)
    assert evidence.rate < adapted - 0.2
    assert evidence.verdict.value != "resisted"
    assert any(check.number == 7 and check.ok is False for check in evidence.health)


def test_every_stage_gets_its_own_input_and_the_forward_pass_is_the_deployed_one():
    """Two straight-through stages in a row: the second must see what the first made, on the way that is differentiated."""
    toy = linear(2, (4,), seed=1)
    first = cm.Stage(name="halve", forward=lambda x: (x * 4).round() / 8, backward=lambda x: x / 2)
    second = cm.Stage(name="step", forward=lambda x: x.round(decimals=1) + 0.1, backward="straight_through")
    target = cm.wrap(toy.module("float64"), stages=[first, second])
    x = torch.as_tensor(np.random.default_rng(0).random((5, 4)))
    slope = target.gradient(x, torch.zeros(5, dtype=torch.long), lambda logits, y: logits[:, 1])
    wanted = toy(((x * 4).round() / 8).round(decimals=1).numpy() + 0.1)
    np.testing.assert_allclose(slope.response.logits, wanted, atol=1e-12)
    np.testing.assert_allclose(slope.slope, np.tile(toy.weight[1] / 2, (5, 1)), atol=1e-12)


def test_a_random_resize_is_climbed_in_expectation(digits):
    net, x, y = digits
    x, y = x[:40], y[:40]
    target = cm.wrap(net, stages=[cm.Stage(name="resize", kind="resize", forward=resized, random=True)])
    assert target.random
    oracle, rows = Oracle(Endpoint(target), cm.researcher(), Meter(np.arange(40))), np.arange(40)
    truth, likeness = torch.as_tensor(y), {}
    slopes = {
        draws: oracle.gradient(torch.as_tensor(x), y=truth, rows=rows, loss=cm.Wrong().loss, draws=draws).slope.flatten(1)
        for draws in (1, 16, 200)
    }
    likeness = {draws: float(functional.cosine_similarity(slopes[draws], slopes[200]).mean()) for draws in (1, 16)}
    assert likeness[16] > 0.9 > likeness[1] + 0.1, likeness
    assert broken(PGD(steps=8, draws=8), target, x, y) >= broken(PGD(steps=8), cm.wrap(net), x, y) - 0.02


def test_the_mean_over_draws_is_the_slope_of_the_mean():
    """A linear model whose weights are redrawn at every call: the expectation has the slope of the mean weight."""
    toy = linear(2, (6,), seed=2)

    def shaken(x, rows, draw):
        keys = np.asarray(rows)
        return x * torch.as_tensor(1 + 0.5 * cm.RowRandom(3).normal(keys, (draw,), (6,)))

    target = cm.wrap(toy.module("float64"), stages=[cm.Stage(name="shaken", forward=shaken, random=True)])
    x = torch.full((3, 6), 0.5, dtype=torch.float64)
    meter = Meter(np.arange(3))
    oracle = Oracle(Endpoint(target), cm.researcher(), meter)
    found = oracle.gradient(x, y=torch.zeros(3), rows=np.arange(3), loss=lambda logits, y: logits[:, 1] - logits[:, 0], draws=1000)
    pull = toy.weight[1] - toy.weight[0]
    # Four standard errors of a mean of 1000.
    np.testing.assert_allclose(found.slope, np.tile(pull, (3, 1)), atol=4 * 0.5 * np.abs(pull).max() / 1000**0.5)
    assert meter.total["gradients"] == 3 * 1000
    single = oracle.gradient(x, y=torch.zeros(3), rows=np.arange(3), loss=lambda logits, y: logits[:, 1] - logits[:, 0])
    assert np.abs(single.slope - np.tile(pull, (3, 1))).max() > 0.1
    assert not np.allclose(single.slope[0], single.slope[1])  # each row has a draw of its own


def test_a_row_that_falls_by_luck_is_not_counted():
    """A coin decides: a third of all single looks see a wrong decision, and no majority of twenty does."""

    def coin(x, rows, draw):
        heads = cm.RowRandom(5).uniform(np.asarray(rows), (draw,)) < 0.3
        return x + torch.as_tensor(heads)[:, None] * 10.0

    net = nn.Linear(4, 2).double().requires_grad_(False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
        net.bias.copy_(torch.tensor([10.0, -10.0]))
    target = cm.wrap(net, stages=[cm.Stage(name="coin", forward=coin, random=True)])
    x = np.random.default_rng(0).random((30, 4))
    evidence = cm.run(PGD(steps=10), target, cm.Evade(x, np.zeros(30, int), cm.Ball("linf", 0.01)))
    looks = np.stack([target.respond(torch.as_tensor(x), rows=np.arange(30), draw=draw).label.numpy() for draw in range(20)])
    assert (looks != 0).any(0).mean() > 0.9  # in some look nearly every row falls
    assert evidence.rows["broken"].sum() == 0
