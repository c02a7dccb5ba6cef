"""Transfer: the parts do what their papers say, each for one row alone, and stand-ins carry over to what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import casemate as cm
from casemate.attacks import Transfer, TransferSimilar, TransferSurrogate, Universal, UniversalPatch
from casemate.attacks.evasion._surrogate import Surrogate, fresh, train
from casemate.attacks.evasion._transforms import around, blurred, dimmed, moved
from casemate.attacks.evasion.transfer import PRESETS
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_rows
from casemate.testing import check_attack
from casemate.testing.toys import linear

torch.set_num_threads(1)


@pytest.mark.parametrize(
    "attack", [Transfer.named("VMI", steps=3), Transfer.named("SI", steps=3, diversity=0.7, translation=1)], ids=repr
)
def test_the_contract_holds_with_every_part_at_work(attack):
    check_attack(attack)


# the parts ----------------------------------------------------------------------------------------------------------


def pictures(n=6, channels=1, side=8, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).random((n, channels, side, side)))


def test_every_row_is_shrunken_and_moved_by_its_own_lot():
    x = pictures(1).expand(40, -1, -1, -1)
    lot = torch.as_tensor(cm.RowRandom(0).uniform(np.arange(40), 0, (4,)))
    seen = moved(x, lot, 0.5, 0.5)
    changed = (seen - x).abs().amax((1, 2, 3)) > 1e-9
    torch.testing.assert_close(changed, lot[:, 0] < 0.5)
    assert len(torch.unique(seen[changed].flatten(1), dim=0)) == int(changed.sum())


def test_what_a_shrunken_picture_leaves_free_is_dark_in_any_units():
    x, lot = pictures(3), torch.tensor([[0.0, 0.0, 0.5, 0.5]]).expand(3, -1).double()
    unit, other = moved(x, lot, 1.0, 0.5), moved(2 * x - 1, lot, 1.0, 0.5, low=-1.0)
    torch.testing.assert_close(other, 2 * unit - 1)
    assert (unit[:, :, 0] == 0).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_smoothing_is_a_gaussian_for_any_number_of_channels(channels):
    slope = torch.zeros(1, channels, 11, 11, dtype=torch.float64)
    slope[:, :, 5, 5] = 1.0
    found = blurred(slope, 3)
    at = torch.arange(-5, 6, dtype=torch.float64)
    line = torch.where(at.abs() <= 3, torch.exp(-at.square() / 6), torch.zeros(())).double()
    line /= line.sum()
    torch.testing.assert_close(found, (line[:, None] * line[None]).expand(1, channels, -1, -1))


def test_dimmed_copies_halve_the_contrast_from_the_dark_end():
    x = pictures(2)
    copies = dimmed(2 * x - 1, -1.0, 3)
    for i in range(3):
        torch.testing.assert_close(copies[2 * i : 2 * i + 2], 2 * x / 2**i - 1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_neighbours_lie_as_far_away_as_they_are_told_to(norm):
    x = torch.zeros(3, 400, dtype=torch.float64)
    lot = torch.as_tensor(cm.RowRandom(0).uniform(np.arange(3), 0, (50, 400)))
    near = around(x, lot, 0.3, norm)
    assert near.shape == (150, 400)
    size = near.abs().amax() if norm == "linf" else near.norm(dim=1).mean()
    assert float(size) == pytest.approx(0.3, rel=0.01)


def test_a_slope_comes_back_through_the_change_of_the_picture():
    """Of a linear parent the slope at a shrunken, dimmed picture is known: the chain rule through both."""
    toy, x = linear(2, (1, 8, 8), seed=1), pictures(3)
    parent = cm.wrap(toy.module("float64"))
    case = cm.Evade(x.numpy(), np.zeros(3, int), cm.Ball("linf", 0.1), loss=lambda logits, y: logits[:, 1] - logits[:, 0])
    attack, rng = Transfer(diversity=1.0, shrink=0.5, scales=2), cm.RowRandom(4)
    at = attack.begin(case)
    oracle = Oracle(Endpoint(parent), cm.researcher(), Meter(case.row), cm.Known(parent=parent))
    found = attack._slopes(oracle.parent(), case, at, at.x, rng, 1)[0]
    pull = torch.as_tensor(toy.weight[1] - toy.weight[0]).reshape(1, 1, 8, 8)
    lot = torch.as_tensor(rng.uniform(at.row, (1, 0), (2, 4))).transpose(0, 1).flatten(0, 1)
    step = 1e-3 * torch.randn(at.x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def value(x):
        return (moved(dimmed(x, 0.0, 2), lot, 1.0, 0.5) * pull).flatten(1).sum(1).reshape(2, 3).sum(0)

    torch.testing.assert_close((found * step).flatten(1).sum(1), value(at.x + step) - value(at.x), rtol=1e-8, atol=1e-12)


def test_a_flat_parent_leaves_every_row_where_it_is():
    flat = cm.wrap(nn.Sequential(nn.Flatten(), _Zero()))
    toy = linear(2, (1, 6, 6))
    x, y = toy.inputs(4)
    evidence = cm.run(Transfer.named("VMI"), cm.wrap(toy.module()), cm.Evade(x, y, cm.Ball("linf", 0.3)), known=cm.Known(parent=flat))
    assert evidence.rate == 0


class _Zero(nn.Module):
    def forward(self, x):
        return torch.zeros(len(x), 2) * x.sum()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"TI"}))
def test_from_the_model_itself_a_linear_boundary_falls_just_beyond_its_distance(name, norm):
    toy = linear(2, (12,), seed=3)
    x, y = toy.inputs(40, dtype="float64")
    target, exact = cm.wrap(toy.module("float64")), toy.distance(x, y, norm)
    radius = float(np.median(exact))
    found = cm.run(Transfer.named(name), target, cm.Evade(x, y, cm.Ball(norm, radius)), known=cm.Known(parent=target)).rows["broken"]
    assert found[exact * 1.02 < radius].all()
    assert not found[exact > radius].any()


def test_presets_are_the_published_ones_and_others_are_named():
    assert Transfer.named("MI") == Transfer(steps=10, decay=1.0, stride=0.1)
    assert Transfer.named("VMI").neighbours == 20
    assert Transfer.named("VMI").spread == 1.5
    assert Transfer.named("SI").scales == 5
    assert Transfer.named("DI", steps=3) == Transfer(steps=3, diversity=0.5)
    with pytest.raises(cm.UnknownName, match="MI"):
        Transfer.named("MIX")
    with pytest.raises(cm.BadInput, match="scales"):
        Transfer(scales=0)


def test_several_parents_are_climbed_by_the_mean_of_their_logits():
    one, other = linear(3, (10,), seed=1), linear(3, (10,), seed=2)
    both = cm.Pipeline(model=cm.Ensemble(members=tuple(cm.wrap(toy.module("float64")) for toy in (one, other))))
    x, y = one.inputs(30, dtype="float64")
    mixed = lambda x: one(x) + other(x)  # noqa: E731
    y = mixed(x).argmax(1)
    target = cm.wrap(lambda x: mixed(np.asarray(x)), output="logits", classes=3, version="1")
    rates = [cm.run(Transfer.named("MI"), target, cm.Evade(x, y, cm.Ball("linf", 0.06)), known=cm.Known(parent=parent)).rate
             for parent in (both, cm.wrap(one.module("float64")), cm.wrap(other.module("float64")))]
    assert rates[0] > max(rates[1:])


# the order of the literature ----------------------------------------------------------------------------------------


def digits():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    return (data.images / 16).astype(np.float32)[:, None], data.target.astype(np.int64)


def deep(x, y, seed, width, epochs=12):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(32 * width, 10),
    )  # fmt: skip
    x, y, optimiser = torch.as_tensor(x), torch.as_tensor(y), torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
    return cm.wrap(net.eval().requires_grad_(False))


def shallow(x, y, seed):
    made = train(fresh((1, 8, 8), 10, 12, 1, cm.RowRandom(seed)), torch.as_tensor(x), functional.one_hot(torch.as_tensor(y)).float(), 12, cm.RowRandom(seed))
    return cm.wrap(made)


@pytest.fixture(scope="module")
def worlds():
    x, y = digits()
    return [(deep(x[:600], y[:600], s, 8), shallow(x[700:1300], y[700:1300], s), cm.Evade(x[1400:1500], y[1400:1500], cm.Ball("linf", 0.2)))
            for s in range(3)]


def fooled(attack, parent, target, case):
    """The share of rows the attack says it broke, with nothing else measured."""
    oracle = Oracle(Endpoint(target), cm.researcher(), Meter(case.row), cm.Known(parent=parent))
    return drive_rows(attack, oracle, case, cm.RowRandom(0)).believed.mean()


def test_momentum_beats_one_step_and_tuned_variance_beats_momentum(worlds):
    rates = {name: np.mean([fooled(Transfer.named(name), *world) for world in worlds]) for name in ("FGSM", "MI", "VMI")}
    assert rates["FGSM"] <= rates["MI"] <= rates["VMI"], rates
    assert rates["VMI"] > rates["FGSM"] + 0.01, rates


# stand-ins ----------------------------------------------------------------------------------------------------------


def test_a_stand_in_from_similar_data_fools_the_endpoint_and_asks_nothing_but_its_tries(worlds):
    x, y = digits()
    _, target, case = worlds[0]
    attack = TransferSimilar(tries=1)
    data = (x[:600], y[:600])  # not one row that the target was trained on
    evidence = cm.run(attack, target, case, known=cm.Known(data=data))
    noise = cm.run("evasion.noise", target, case)
    assert evidence.rate > noise.rate
    assert (evidence.rows["queries"][evidence.rows["right"]] == 1).all()
    scrambled = cm.run(attack, target, case, known=cm.Known(data=(x[:600], np.roll(y[:600], 1))))
    assert scrambled.rate < evidence.rate


def test_more_answers_make_a_better_stand_in(worlds):
    _, target, case = worlds[0]
    rates = [cm.run(TransferSurrogate(queries=queries, share=1.0), target, case).rate for queries in (1, 20)]
    assert rates[1] > rates[0] + 0.05, rates


def test_labels_alone_are_enough_and_scores_are_no_worse(worlds):
    _, target, case = worlds[0]
    noise = cm.run("evasion.noise", target, case).rate
    may = {"labels": cm.Need.LABEL, "scores": cm.Need.LABEL | cm.Need.SCORE}
    rates = {who: cm.run(TransferSurrogate(queries=20), target, case, adversary=cm.Adversary(name=who, may=grant)).rate
             for who, grant in may.items()}
    assert rates["labels"] > noise
    assert rates["scores"] >= rates["labels"] - 0.05, rates


def test_questions_are_charged_evenly_and_tries_come_out_of_the_same_budget(worlds):
    _, target, case = worlds[0]
    evidence = cm.run(TransferSurrogate(queries=10, share=0.8, epochs=1), target, case)
    asked = evidence.rows["queries"][evidence.rows["right"]]
    assert asked.min() >= 8
    assert asked.max() <= 10
    capped = cm.run(TransferSurrogate(epochs=1), target, case, budget=cm.Budget(queries=330, queries_per_row=50))
    assert capped.spent["queries"] <= 330
    assert np.ptp(capped.rows["queries"][capped.rows["right"]]) <= 1


def test_a_regression_and_words_are_refused():
    net = cm.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), offers=cm.Need.LABEL | cm.Need.LOGIT)
    x = np.random.default_rng(0).random((5, 4)).astype(np.float32)
    case = cm.Evade(x, net.respond(torch.as_tensor(x)).label.detach().numpy(), cm.Ball("linf", 0.1), cm.Shift(1.0))
    with pytest.raises(cm.BadInput, match="classes"):
        cm.run(TransferSurrogate(), net, case)
    toy = linear(2, (4,))
    x, y = toy.inputs(5)
    with pytest.raises(cm.BadInput, match="classes"):
        cm.run(TransferSimilar(), cm.wrap(toy.module()), cm.Evade(x, y, cm.Ball("linf", 0.1)), known=cm.Known(data=(x, y.astype(str))))
    with pytest.raises(cm.BadInput, match="attacked shape"):
        cm.run(TransferSimilar(), cm.wrap(toy.module()), cm.Evade(x, y, cm.Ball("linf", 0.1)), known=cm.Known(data=(x[:, :3], y)))


def test_a_stand_in_has_the_slope_of_its_own_loss():
    made = Surrogate(fresh((1, 8, 8), 3, 4, 2, cm.RowRandom(1)).requires_grad_(False), -1.0, 1.0)
    x, step = 2 * pictures(4) - 1, 1e-3 * torch.sign(pictures(4, seed=1) - 0.5)
    loss = lambda logits, y: logits[:, 0] - logits[:, 2]  # noqa: E731
    here = made.gradient(x, y=torch.zeros(4), rows=None, loss=loss)
    gain = made.gradient(x + step, y=torch.zeros(4), rows=None, loss=loss).loss - here.loss
    torch.testing.assert_close((here.slope * step).flatten(1).sum(1).float() / 2, gain, rtol=0.05, atol=1e-5)


# one change for all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_model_one_change_does_what_each_row_needs(norm):
    toy = linear(2, (20,), seed=4)
    x, y = toy.inputs(60, dtype="float64")
    x, y = x[y == 1], y[y == 1]
    exact = toy.distance(x, y, norm)
    radius = float(np.median(exact)) * 1.001
    evidence = cm.run(Universal(), cm.wrap(toy.module("float64")), cm.Evade(x, y, cm.Ball(norm, radius)))
    # All rows need the same direction, so the shared change breaks all within reach, those it never saw included.
    np.testing.assert_array_equal(evidence.rows["broken"], exact < radius)


def test_which_rows_a_universal_change_was_not_fitted_on_can_be_read_off(worlds):
    parent, _, case = worlds[0]
    evidence = cm.run(Universal(fit_share=0.3), parent, cm.Evade(case.x, case.y, cm.Ball("linf", 0.3)))
    right, fitted = evidence.rows["right"], evidence.rows["gradients"] > 0
    assert fitted.sum() == np.ceil(0.3 * right.sum())
    assert evidence.rows["broken"][right & ~fitted].mean() > 0.2


def test_a_printed_patch_works_where_it_happens_to_land(worlds):
    parent, _, case = worlds[0]
    rates = [cm.run(UniversalPatch(steps=steps), parent, cm.Evade(case.x, case.y, cm.Patch(0.15))).rate for steps in (1, 40)]
    assert rates[1] > rates[0] + 0.1, rates
