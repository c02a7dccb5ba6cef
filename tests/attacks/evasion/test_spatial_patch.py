"""Turned pictures and stickers: exact where all can be enumerated, and never outside what a constraint allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

import casemate as cm
from casemate.attacks import AdversarialPatch, SpatialGrid
from casemate.core.patch import places
from casemate.testing.toys import linear

torch.set_num_threads(1)


def pictures(n=6, shape=(1, 8, 8), seed=0):
    return np.random.default_rng(seed).random((n, *shape))


# turns and moves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("padding", "mode"), [("low", "grid-constant"), ("edge", "nearest"), ("reflect", "reflect")])
def test_a_transform_is_what_scipy_makes_of_it(padding, mode):
    x, grid = pictures(3, (2, 7, 10)), cm.Spatial(padding=padding)
    for how in grid.grid(7, 10)[::41]:
        cos, sin = np.cos(np.radians(how[0])), np.sin(np.radians(how[0]))
        turn, middle = np.array([[cos, sin], [-sin, cos]]), np.array([3.0, 4.5])
        offset = middle - turn @ (middle + how[1:])
        wanted = [[ndimage.affine_transform(p, turn, offset, order=1, mode=mode) for p in picture] for picture in x]
        np.testing.assert_allclose(grid.transform(x, how), wanted, atol=1e-12)


def test_the_grid_is_the_published_one_and_begins_with_standing_still():
    grid = cm.Spatial().grid(28, 28)
    assert len(grid) == 31 * 5 * 5
    assert not grid[0].any()
    assert np.abs(grid[:, 0]).max() == 30
    assert np.abs(grid[:, 1:]).max() == 3
    assert (np.diff(cm.Spatial().size(grid, 28, 28)) > -1e-8).all()


def test_the_size_of_a_transform_is_how_far_it_moves_a_pixel():
    how, spot = np.array([20.0, 1.5, -2.0]), np.stack(np.meshgrid(np.arange(5) - 2, np.arange(9) - 4, indexing="ij"), -1)
    angle = np.radians(20.0)
    there = spot @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + how[1:]
    wanted = np.sqrt(((there - spot) ** 2).sum(-1).mean())
    assert cm.Spatial().size(how[None], 5, 9)[0] == pytest.approx(wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_check_allows_the_transforms_of_the_origin_and_nothing_else(dtype):
    grid, x = cm.Spatial(angles=7, shifts=3), pictures().astype(dtype)
    every = grid.grid(8, 8)
    for place in (0, 1, 17, len(every) - 1):
        claim = grid.transform(x, every[place]).astype(dtype)
        assert grid.check(claim, x).all()
        np.testing.assert_allclose(grid.measure(claim, x), grid.size(every[place][None], 8, 8)[0], rtol=1e-6)
    between = grid.transform(x, [3.3, 0.4, 0.0])  # inside the bounds, and yet not of the grid
    assert not grid.check(between, x).any()
    for wrong in (grid.transform(x, every[5]) + 1e-3, grid.transform(x, [35.0, 0, 0]), x[::-1], x * np.nan):
        assert not grid.check(wrong, x).any()
        assert np.isinf(grid.measure(wrong, x)).all()


def test_enumeration_is_exact():
    grid, x = cm.Spatial(degrees=4, pixels=0.3, angles=5, shifts=3), pictures(30, (1, 6, 6))
    toy = linear(3, (1, 6, 6), seed=3)
    y = toy(x).argmax(1)
    every = grid.grid(6, 6)
    broken = np.stack([toy(grid.transform(x, how)).argmax(1) != y for how in every])
    wanted = np.where(broken.any(0), grid.size(every, 6, 6)[broken.argmax(0)], np.inf)
    assert 0 < broken.any(0).mean() < 1
    for seek in ("any", "nearest"):
        evidence = cm.run(SpatialGrid(), cm.wrap(toy.module("float64")), cm.Evade(x, y, grid, seek=seek))
        np.testing.assert_array_equal(evidence.rows["broken"], broken.any(0))
        np.testing.assert_allclose(evidence.rows["distance"], wanted, rtol=1e-6)
        # A row costs the transforms up to the one that broke it, and all but standing still where none did.
        np.testing.assert_array_equal(evidence.rows["queries"], np.where(broken.any(0), broken.argmax(0), len(every) - 1))


@pytest.mark.parametrize("bad", [{"angles": 4}, {"shifts": 0}, {"degrees": -1}, {"padding": "wrap"}, {"low": 1.0}, {"pixels": np.inf}])
def test_a_grid_that_makes_no_sense_is_refused(bad):
    with pytest.raises(cm.BadInput):
        cm.Spatial(**bad)


# stickers -----------------------------------------------------------------------------------------------------------


def test_a_patch_is_one_rectangle_of_a_share_of_the_area():
    x, within = np.full((1, 3, 8, 8), 0.5), cm.Patch(0.125)
    one, far, tall = x.copy(), x.copy(), x.copy()
    one[0, :, 2:4, 1:5] = 1.0
    far[0, 0, 0, 0] = far[0, 1, 7, 0] = 1.0  # two values, eight apart: a rectangle of eight
    tall[0, 0, 0, 0] = tall[0, 0, 7, 1] = 1.0
    assert within.check(one, x).all()
    assert within.check(far, x).all()
    assert not within.check(tall, x).any()
    assert within.measure(tall, x)[0] == 16 / 64
    assert within.measure(x, x)[0] == 0
    assert not within.check(np.where(one == 1.0, 1.0001, one), x).any()
    assert not within.check(np.where(one == 1.0, np.nan, one), x).any()
    assert not cm.Patch(0.0).check(one, x).any()


def test_random_patches_and_projections_are_allowed():
    x = pictures(20, (3, 9, 12))
    for share in (0.0, 0.01, 0.1, 1.0):
        within = cm.Patch(share)
        assert within.check(within.sample(x, cm.RowRandom(1), np.arange(20), (2,)), x).all()
        anywhere = x + np.random.default_rng(0).normal(size=x.shape)
        assert within.check(within.project(anywhere, x), x).all()
        single = torch.as_tensor(anywhere, dtype=torch.float32), torch.as_tensor(x, dtype=torch.float32)
        assert within.check(within.project(*single), single[1]).all()
    height, width = cm.Patch(0.1).sides(9, 12)
    assert height * width <= 0.1 * 108 < (height + 1) * (width + 1)


def test_places_are_those_with_the_most_weight():
    weight = np.random.default_rng(0).random((4, 7, 9))
    found = places(weight, 2, 3, 4)
    for row, corners in zip(weight, found, strict=True):
        sums = {(i, j): row[i : i + 2, j : j + 3].sum() for i in range(6) for j in range(7)}
        assert tuple(corners[0]) == max(sums, key=sums.get)
        assert len({tuple(c) for c in corners}) >= 3


def best_patch(toy, x, y, within):
    """How much the best patch of all places closes the gap between two classes: brute force."""
    height, width = within.sides(*x.shape[-2:])
    found = []
    for picture, own in zip(x, y, strict=True):
        pull = (toy.weight[1 - own] - toy.weight[own]).reshape(picture.shape)
        gain = np.maximum(pull * (1 - picture), pull * -picture).sum(0)
        spots = [(i, j) for i in range(gain.shape[0] - height + 1) for j in range(gain.shape[1] - width + 1)]
        found.append(max(gain[i : i + height, j : j + width].sum() for i, j in spots))
    return np.array(found)


def test_on_a_linear_model_the_patch_is_the_best_there_is():
    toy, within = linear(2, (2, 6, 6), seed=6), cm.Patch(0.06)
    x, y = toy.inputs(40, dtype="float64")
    lead = np.abs(toy(x) @ [-1, 1])
    gain = best_patch(toy, x, y, within)
    assert 0 < (gain > lead).mean() < 1
    evidence = cm.run(AdversarialPatch(steps=12, spots=1), cm.wrap(toy.module("float64")), cm.Evade(x, y, within))
    np.testing.assert_array_equal(evidence.rows["broken"], gain > lead)


def test_a_random_place_is_no_better_than_a_chosen_one():
    toy, within = linear(4, (1, 8, 8), seed=1), cm.Patch(0.1)
    x, y = toy.inputs(60, dtype="float64")
    rates = [cm.run(AdversarialPatch(steps=10, spots=1, where=w), cm.wrap(toy.module("float64")), cm.Evade(x, y, within)).rate
             for w in ("random", "slope")]
    assert rates[0] < rates[1]


def test_batch_normalisation_is_left_as_it_was():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = pictures(8).astype("float32")
    y = cm.wrap(net).respond(torch.as_tensor(x)).label.numpy()
    cm.run(AdversarialPatch(steps=5), cm.wrap(net), cm.Evade(x, y, cm.Patch(0.2)))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("attack", [SpatialGrid(), AdversarialPatch()])
def test_another_constraint_is_refused(attack):
    toy = linear(2, (1, 6, 6))
    x, y = toy.inputs(3)
    with pytest.raises(cm.BadInput, match=r"constraint.*got Ball"):
        cm.run(attack, cm.wrap(toy.module()), cm.Evade(x, y, cm.Ball("linf", 0.1)))


@pytest.mark.parametrize(("attack", "within"), [(SpatialGrid(), cm.Spatial()), (AdversarialPatch(), cm.Patch(0.1))])
def test_what_is_no_picture_is_refused(attack, within):
    toy = linear(2, (16,))
    x, y = toy.inputs(3)
    with pytest.raises(cm.BadInput, match="pictures"):
        cm.run(attack, cm.wrap(toy.module()), cm.Evade(x, y, within))
