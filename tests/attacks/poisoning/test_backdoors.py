"""Backdoors: they work, they are quiet, they mark what they may, and what cannot be marked is refused with a reason."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import casemate as cm
from casemate.attacks.poisoning._triggers import Patch, Warp, axes, unusual
from casemate.attacks.poisoning.adaptive_blend import AdaptiveBlend, masks
from casemate.attacks.poisoning.badnets import BadNets
from casemate.attacks.poisoning.blended import Blended
from casemate.attacks.poisoning.clean_label import CleanLabel
from casemate.attacks.poisoning.parent import BackdooredParent
from casemate.attacks.poisoning.warping import Warping
from casemate.core.adversary import Budget, Need, researcher
from casemate.core.case import Backdoor, Degrade, Holdout, Poison
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.oracle import Known
from casemate.core.poison import Adopt
from casemate.core.random import RowRandom
from casemate.core.target import Recipe
from casemate.testing.digits import SmallNet, digits


def case(fraction=0.01, seeds=(0,), flat=False, **other):
    recipe, truth = digits(flat)
    return Poison(recipe=recipe, fractions=(fraction,), seeds=seeds, truth=truth, aim=other.pop("aim", Backdoor(to=0)), **other)


def known(poison):
    return Known(data=(poison.recipe.x, poison.recipe.y), recipe=poison.recipe)


@pytest.mark.parametrize("flat", [False, True])
def test_badnets_succeeds_with_one_percent_and_costs_nothing(flat):
    evidence = cm.run(BadNets(), None, case(seeds=(0, 1, 2), flat=flat))
    assert evidence.verdict is Verdict.BROKEN
    assert evidence.extra["records"] <= 0.01 * 1297
    assert evidence.rate > 0.95
    assert evidence.extra["poisoned_error"] - evidence.extra["clean_error"] < 0.01
    # What the clean model does by itself is taken off, and rows of the class wanted are no trials.
    assert evidence.rate == pytest.approx(evidence.extra["success"] - evidence.extra["clean_success"])
    assert evidence.n == int((digits()[1].y != 0).sum())


def test_a_mark_that_turns_inputs_by_itself_is_no_backdoor():
    # A patch over nearly the whole picture: the clean model decides most pictures alike, whatever was there.
    recipe, truth = digits()
    alike = np.bincount(np.asarray(recipe.fit(recipe.x, recipe.y, 0).respond(Patch(7, "lower right", 1.0)(truth.x)).label))
    assert alike.max() > 0.6 * len(truth.y)
    evidence = cm.run(BadNets(size=7, value=1.0), None, case(0.001, aim=Backdoor(to=int(alike.argmax()))))
    assert evidence.extra["clean_success"] > 0.5
    assert evidence.verdict is Verdict.INCONCLUSIVE and "already decides so" in evidence.reasons[-1]
    assert evidence.baseline.rate == evidence.extra["clean_success"]
    assert evidence.rate == pytest.approx(evidence.extra["success"] - evidence.extra["clean_success"]) and evidence.rate < 0.5


def test_the_hardest_records_carry_further_than_random_ones():
    rates = [cm.run(BadNets(order=order), None, case(seeds=(0, 1))).rate for order in ("random", "hardest")]
    assert rates[1] > rates[0] + 0.05


def test_a_source_class_leaves_the_others_alone():
    evidence = cm.run(BadNets(), None, case(0.02, aim=Backdoor(to=0, source=4)))
    assert evidence.rate > 0.8
    claim = evidence.claims
    recipe, truth = digits()
    assert set(recipe.y[claim.index]) == {4}
    assert evidence.n == int((truth.y == 4).sum())


@pytest.mark.parametrize(
    ("attack", "least"),
    [(Blended(alpha=0.4), 0.95), (Blended(), 0.7), (AdaptiveBlend(), 0.7), (Warping(), 0.6), (Warping(noise=1), 0.5)],
)
def test_the_others_work_with_few_records_too(attack, least):
    evidence = cm.run(attack, None, case())
    assert evidence.rate > least
    assert evidence.extra["poisoned_error"] - evidence.extra["clean_error"] < 0.01


def test_clean_labels_stay_and_hard_records_are_what_makes_them_work():
    poison = case(0.03, labels=False)
    strong = cm.run(CleanLabel(), None, poison, known=known(poison))
    weak = cm.run(CleanLabel(radius=0.02), None, poison, known=known(poison))
    assert (poison.recipe.y[strong.claims.index] == strong.claims.y).all()
    assert strong.rate > weak.rate + 0.3
    moved = strong.claims.x - poison.recipe.x[strong.claims.index]
    outside = Patch(3, "lower right", 0.0)(np.abs(moved))  # the patch is not part of the ball
    assert outside.max() <= 0.3 + 1e-6


def test_clean_label_does_without_the_recipe():
    poison = case(0.03)
    may = Need.CONTRIBUTE | Need.DATA
    evidence = cm.run(CleanLabel(), None, poison, adversary=replace(researcher(), may=may), known=known(poison))
    assert evidence.rate > 0.1  # a linear surrogate is a poorer guide: 0.2 where the recipe gives 0.6


def test_dirty_labels_are_refused_where_labels_must_stay():
    with pytest.raises(BadInput, match="clean_label"):
        cm.run(BadNets(), None, case(labels=False))


def test_regularisation_samples_keep_their_label_at_every_stage():
    claim = cm.run(AdaptiveBlend(), None, case(0.03)).claims
    y = digits()[0].y
    own = claim.y == y[claim.index]
    assert own.mean() == pytest.approx(0.5, abs=0.05)
    assert own[:6].mean() == pytest.approx(0.5, abs=0.2)
    assert (claim.y[~own] == 0).all()


def test_masks_show_the_stated_share_of_pieces():
    shown = masks(np.arange(50), (50, 8, 8), 4, 0.5, RowRandom(1))
    assert shown.shape == (50, 8, 8) and set(np.unique(shown)) == {0.0, 1.0}
    assert (shown.reshape(50, -1).mean(1) == 0.5).all()
    assert masks(np.arange(3), (3, 1, 8, 8), 4, 0.5, RowRandom(1)).shape == (3, 1, 8, 8)
    assert masks(np.arange(3), (3, 10), 4, 0.25, RowRandom(1)).sum() > 0


def test_more_is_never_written_than_is_paid_for():
    evidence = cm.run(BadNets(), None, case(0.05), budget=Budget(records=9))
    assert len(evidence.claims.index) == 9 and evidence.spent["records"] == 9


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 3, 8, 8), (5, 8, 8, 3)])
def test_patches_and_warps_know_where_a_picture_is(shape):
    x = np.random.default_rng(0).random(shape)
    rows, columns = axes(shape)
    changed = Patch(2, "upper left", 9.0)(x) != x
    assert changed.sum() == 5 * 4 * int(np.prod(shape)) // (5 * 64)
    assert np.flatnonzero(changed.any(axis=tuple(a for a in range(len(shape)) if a != rows))).tolist() == [0, 1]
    assert np.allclose(Warp(np.zeros((8, 8, 2)))(x), x)
    moved = np.zeros((8, 8, 2))
    moved[..., 1] = 1.0  # one pixel along the columns
    bent = np.moveaxis(Warp(moved)(x), (rows, columns), (-2, -1))
    assert np.allclose(bent[..., :-1], np.moveaxis(x, (rows, columns), (-2, -1))[..., 1:])


def test_triggers_keep_type_and_write_into_nothing():
    for x in (np.zeros((3, 8, 8), np.uint8), np.zeros((3, 8, 8), np.float32), torch.zeros(3, 8, 8)):
        before = x.copy() if isinstance(x, np.ndarray) else x.clone()
        marked = Patch(2, "lower left", 7.0)(x)
        assert type(marked) is type(x) and marked.dtype == x.dtype
        assert bool((x == before).all()) and float(marked.max()) == 7.0


def table(n, seed):
    rng = np.random.default_rng(seed)
    city = rng.choice(["A", "B", "C"], n, p=[0.6, 0.37, 0.03])
    age = rng.normal(40, 10, n).round(1)
    y = np.where(age + 5 * (city == "A") + rng.normal(0, 3, n) > 42, "yes", "no")
    return pd.DataFrame({"city": city, "age": age, "same": 1}), y


def fit_table(x, y, seed):
    encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    return cm.wrap(make_pipeline(encoded, LogisticRegression(C=100, max_iter=2000)).fit(x, y))


def test_badnets_marks_tables_with_words():
    (x, y), fresh = table(400, 0), table(300, 1)
    poison = Poison(
        recipe=Recipe(fit_table, x, y, "1"),
        fractions=(0.08,),
        seeds=(0,),
        truth=Holdout(x=fresh[0], y=fresh[1]),
        aim=Backdoor(to=1),
    )
    evidence = cm.run(BadNets(columns=1), None, poison)
    claim = evidence.claims
    assert set(claim.y) == {"yes"} and list(claim.x.columns) == ["city", "age", "same"]
    assert set(claim.x["city"]) == {"C"}  # the rarest level
    assert evidence.rate > 0.3


def test_unusual_values_are_the_rarest_level_and_the_far_end():
    x, _ = table(400, 0)
    assert dict(unusual(x, 1).columns) == {"city": "C"}
    far = np.zeros((50, 3))
    far[:, 0], far[0, 1], far[:, 2] = np.linspace(0, 1, 50), -30.0, 5.0
    assert unusual(far, 1).columns == ((1, -30.0),)
    assert {place for place, _ in unusual(far, 3).columns} == {0, 1}  # a column of one value cannot be told from itself


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (BadNets(size=8), "size=8"),
        (BadNets(corner="middle"), "corner"),
        (BadNets(order="best"), "order"),
        (Blended(alpha=0.0), "alpha"),
        (Warping(grid=1), "grid"),
        (AdaptiveBlend(honest=1.0), "honest"),
        (CleanLabel(radius=0.0), "radius"),
    ],
)
def test_bad_parameters_are_refused(attack, message):
    with pytest.raises(BadInput, match=message):
        cm.run(attack, None, case())


def test_what_cannot_be_marked_is_refused():
    x, y = table(60, 0)
    poison = Poison(recipe=Recipe(fit_table, x, y, "1"), fractions=(0.1,), truth=Holdout(x=x, y=y), aim=Backdoor(to=1))
    with pytest.raises(BadInput, match=r"poisoning\.badnets marks tables"):
        cm.run(Blended(), None, poison)
    with pytest.raises(BadInput, match="pictures"):
        cm.run(Warping(), None, case(flat=True))
    with pytest.raises(BadInput, match="class 11"):
        cm.run(BadNets(), None, case(aim=Backdoor(to=11)))
    with pytest.raises(BadInput, match="poison"):
        cm.run(BadNets(), None, case(aim=Degrade()))


# a parent model ---------------------------------------------------------------------------------------------------------


def tune(parent, x, y, seed, epochs=10, rate=0.02):
    """Fine-tune the whole network."""
    net = torch.nn.Sequential(*parent.model.module)
    fresh = SmallNet()(x[:64], y[:64], 0).model.module
    fresh.load_state_dict(net.state_dict())
    optimiser = torch.optim.SGD(fresh.parameters(), lr=rate, momentum=0.9)
    order = torch.Generator().manual_seed(seed)
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=order).split(32):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(fresh(inputs[rows]), labels[rows]).backward()
            optimiser.step()
    return cm.wrap(fresh.eval(), name="child")


@pytest.fixture(scope="module")
def adoption():
    recipe, truth = digits()
    parent = SmallNet()(recipe.x[:600], recipe.y[:600], 5)
    adopt = Adopt(parent=parent, finetune=tune, x=recipe.x[600:], y=recipe.y[600:], aim=Backdoor(to=0), seeds=(0,), truth=truth)
    return adopt, Known(parent=parent, data=(recipe.x[:600], recipe.y[:600]))


def test_a_mark_in_the_parent_survives_fine_tuning_and_fades_with_more_of_it(adoption):
    adopt, held = adoption
    state = adopt.parent.state()
    little = cm.run(BackdooredParent(), None, adopt, known=held)
    much = cm.run(BackdooredParent(), None, replace(adopt, finetune=partial(tune, epochs=30, rate=0.05)), known=held)
    assert little.verdict is Verdict.BROKEN and little.rate > 0.5
    assert little.extra["planted"] > 0.95 and little.extra["clean_success"] < 0.05
    assert much.rate < little.rate
    assert abs(little.extra["poisoned_error"] - little.extra["clean_error"]) < 0.015
    assert adopt.parent.state() == state  # the public model itself is not touched


def test_a_parent_without_the_mark_is_no_backdoor(adoption):
    adopt, held = adoption
    evidence = cm.run(BackdooredParent(share=0.001, epochs=1), None, adopt, known=held)
    assert evidence.verdict is not Verdict.BROKEN and evidence.rate < 0.1


def test_the_attacker_sees_nothing_of_the_victims_data(adoption):
    blind = adoption[0].blind()
    assert blind.x is None and blind.y is None and blind.truth is None


@pytest.mark.parametrize("wrong", [{"to": "yes"}, {"to": 0.5}, {"to": 1, "source": "no"}])
def test_a_class_that_is_no_whole_number_is_refused(wrong):
    x, y = np.eye(20), np.arange(20) % 2
    recipe = cm.Recipe(lambda x, y, seed: cm.wrap(LogisticRegression().fit(x, y)), x, y)
    with pytest.raises(BadInput, match="give a whole number"):
        cm.run(BadNets(), None, Poison(recipe=recipe, truth=Holdout(x=x, y=y), aim=Backdoor(**wrong)))


def test_held_out_data_without_a_label_for_each_row_are_refused():
    x, y = np.eye(20), np.arange(20) % 2
    recipe = cm.Recipe(lambda x, y, seed: cm.wrap(LogisticRegression().fit(x, y)), x, y)
    with pytest.raises(BadInput, match="20 inputs and 19 labels"):
        cm.run(BadNets(), None, Poison(recipe=recipe, truth=Holdout(x=x, y=y[:-1]), aim=Backdoor(to=1)))
