"""Defences against backdoors: what each finds where it should, what it takes for poison where there is none, and bugs of peers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import casemate as cm
from casemate.attacks.poisoning.badnets import BadNets
from casemate.controls.training._activations import representation
from casemate.controls.training.abl import AntiBackdoor
from casemate.controls.training.activation_clustering import ActivationClustering
from casemate.controls.training.fine_pruning import FinePruning
from casemate.controls.training.neural_cleanse import NeuralCleanse, anomaly
from casemate.controls.training.spectral_signatures import SpectralSignatures, outlying
from casemate.controls.training.strip import Strip
from casemate.core.case import Backdoor, Poison
from casemate.core.errors import BadInput, UsageError
from casemate.core.target import REJECT, Recipe
from casemate.testing import check_control
from casemate.testing.digits import SmallNet, digits

CONTROLS = [SpectralSignatures(), ActivationClustering(), Strip(), NeuralCleanse(steps=20), FinePruning(), AntiBackdoor(passes=2)]


def planted(fraction=0.01, **other):
    """Digits with a mark in them: the clean recipe, the poisoned one, which rows are poisoned, the trigger and held-out data."""
    recipe, truth = digits()
    poison = Poison(recipe=recipe, fractions=(fraction,), seeds=(0,), truth=truth, aim=Backdoor(to=0))
    claim = cm.run(BadNets(**other), None, poison).claims
    x, y = recipe.x.copy(), recipe.y.copy()
    x[claim.index], y[claim.index] = claim.x, claim.y
    return recipe, replace(recipe, x=x, y=y), np.isin(np.arange(len(y)), claim.index), claim.trigger, truth


@pytest.fixture(scope="module")
def few():
    return planted()


@pytest.fixture(scope="module")
def some():
    return planted(0.03, order="random")


@pytest.fixture(scope="module")
def many():
    return planted(0.1, order="random")


def success(recipe, trigger, truth):
    """How many marked inputs of other classes become class 0, and clean accuracy."""
    model = recipe.fit(recipe.x, recipe.y, 0)
    others = truth.x[truth.y != 0]
    hits = np.asarray(model.respond(trigger(others)).label) == 0
    return hits.mean(), (np.asarray(model.respond(truth.x).label) == truth.y).mean()


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.info.id)
def test_contract(control):
    check_control(control)


# spectral signatures ----------------------------------------------------------------------------------------------------


def test_spectral_signatures_are_centred():
    """Peers took the singular vector of rows that were not centred: with an offset it is the mean, and no poison is found."""
    rng = np.random.default_rng(0)
    rows = 100.0 + rng.normal(size=(500, 20))
    poison = np.arange(500) < 50
    rows[poison, :2] -= 8.0  # along the mean they are the shortest
    most = int(1.5 * 0.1 * 500)

    def recall(score):
        return np.isin(np.flatnonzero(poison), np.argsort(-score)[:most]).mean()

    uncentred = (rows @ np.linalg.svd(rows, full_matrices=False)[2][0]) ** 2
    assert recall(outlying(rows)) == 1.0
    assert recall(uncentred) == 0.0


def test_outlying_is_the_singular_vector_whichever_side_is_smaller():
    for shape in ((30, 5), (5, 30)):
        rows = np.random.default_rng(1).normal(size=shape) + 3
        centred = rows - rows.mean(0)
        expected = (centred @ np.linalg.svd(centred, full_matrices=False)[2][0]) ** 2
        assert np.allclose(outlying(rows), expected)


def test_spectral_signatures_find_poison_and_take_as_much_of_clean_data(some):
    clean, bad, poisoned, _, _ = some
    control = SpectralSignatures(epsilon=0.33)  # a quarter of class 0 is poison
    flags = control.flagged(bad)
    assert flags.flagged[poisoned].mean() > 0.9
    assert flags.source == "what goes into 3"
    assert control.false_positives(clean) == pytest.approx(1.5 * 0.33, abs=0.02)


# activation clustering --------------------------------------------------------------------------------------------------


def test_activation_clustering_finds_the_small_part_of_a_class(some):
    clean, bad, poisoned, _, _ = some
    control = ActivationClustering()
    flags = control.flagged(bad)
    assert flags.flagged[poisoned].mean() > 0.9
    assert flags.flagged[~poisoned].mean() < 0.1 and control.false_positives(clean) < 0.1


def test_independent_components_are_there_for_who_wants_the_paper(few):
    _, bad, poisoned, _, _ = few
    assert ActivationClustering(principal=False).flagged(bad).flagged[poisoned].mean() > 0.6


def test_activation_clustering_leaves_small_and_constant_classes_alone():
    x, y = np.zeros((20, 4)), np.repeat([0, 1, 2], [10, 6, 4])
    x[:10] += np.arange(10)[:, None]
    model = cm.wrap(LogisticRegression().fit(x, y))
    assert not ActivationClustering(principal=True).flag(model, x, y).flagged[10:].any()


# where defences look ----------------------------------------------------------------------------------------------------


def test_layers_are_named_and_must_be_flat():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3))
    model, x = cm.wrap(net.eval(), name="net"), np.random.default_rng(0).random((5, 1, 8, 8))
    assert representation(model, x).values.shape == (5, 72)
    assert representation(model, x, "3").values.shape == (5, 3)
    with pytest.raises(BadInput, match="flat"):
        representation(model, x, "0")
    with pytest.raises(BadInput, match="it has 0, 1, 2, 3"):
        representation(model, x, "last")


def test_models_without_activations_are_looked_at_by_their_inputs_and_it_is_said():
    x = pd.DataFrame({"a": np.arange(20.0), "b": ["x", "y"] * 10})
    model = cm.wrap(lambda frame: (frame["a"] > 9).to_numpy().astype(int), output="labels", classes=2, version="1")
    seen = representation(model, x)
    assert seen.values.shape == (20, 3) and "no activations" in seen.source
    with pytest.raises(BadInput, match="no torch module"):
        representation(model, x, "last")


@pytest.mark.parametrize("control", [NeuralCleanse(), FinePruning(), AntiBackdoor()], ids=lambda control: control.info.id)
def test_what_works_on_weights_says_so_of_an_estimator(control):
    x, y = np.random.default_rng(0).random((20, 3)), np.arange(20) % 2
    recipe = Recipe(lambda x, y, seed: cm.wrap(LogisticRegression().fit(x, y)), x, y, "1")
    with pytest.raises(UsageError, match="torch module"):
        control.harden_recipe(recipe).fit(x, y, 0)


# STRIP ------------------------------------------------------------------------------------------------------------------


def test_strip_rejects_marked_inputs_and_the_stated_share_of_honest_ones(few):
    _, bad, _, trigger, truth = few
    model = bad.fit(bad.x, bad.y, 0)
    guarded = Strip().screen(model, bad.x)
    others = truth.x[truth.y != 0]
    marked, honest = (np.asarray(guarded.respond(x).label) for x in (trigger(others), truth.x))
    assert (marked == REJECT).mean() > 0.8
    assert (honest == REJECT).mean() < 0.03
    kept = honest != REJECT
    assert (honest[kept] == np.asarray(model.respond(truth.x).label)[kept]).all()


def test_strip_answers_a_row_alone_as_in_a_batch(few):
    _, bad, _, _, truth = few
    guarded = Strip(overlays=20).screen(bad.fit(bad.x, bad.y, 0), bad.x)
    together = guarded.model.entropy(truth.x[:50])
    alone = np.concatenate([guarded.model.entropy(truth.x[i : i + 1]) for i in range(50)])
    assert np.allclose(together, alone, atol=1e-6)


def test_strip_needs_numbers():
    with pytest.raises(BadInput, match="arrays of numbers"):
        Strip().screen(
            cm.wrap(lambda x: np.zeros(len(x), int), output="labels", classes=2, version="1"), pd.DataFrame({"a": [1, 2]})
        )


# Neural Cleanse ---------------------------------------------------------------------------------------------------------


def test_neural_cleanse_finds_the_label_of_the_mark(few):
    _, bad, _, _, _ = few
    found = NeuralCleanse().suspects(bad.fit(bad.x, bad.y, 0), bad.x, bad.y)
    assert 0 in found.flagged and found.index.argmax() == 0
    assert found.triggers.size[0] < 0.8 * np.median(found.triggers.size)


def test_all_labels_at_once_are_what_they_are_one_by_one(few):
    _, bad, _, _, _ = few
    model, control = bad.fit(bad.x, bad.y, 0), NeuralCleanse(steps=30, rows=40)
    together, alone = (control.suspects(model, bad.x, bad.y, together=way) for way in (True, False))
    assert np.allclose(together.triggers.size, alone.triggers.size, rtol=1e-3)
    assert np.allclose(together.index, alone.index, atol=0.05)


def test_the_anomaly_index_is_in_median_absolute_deviations():
    size = np.array([10.0, 11.0, 9.0, 10.5, 9.5, 2.0])
    middle = np.median(size)
    spread = 1.4826 * np.median(np.abs(size - middle))
    assert anomaly(size)[5] == pytest.approx((middle - 2.0) / spread) and anomaly(size)[5] > 2
    assert np.isfinite(anomaly(np.full(5, 3.0))).all()


def test_the_repair_takes_most_of_the_mark_away(few):
    _, bad, _, trigger, truth = few
    before, after = success(bad, trigger, truth), success(NeuralCleanse().harden_recipe(bad), trigger, truth)
    assert before[0] > 0.95 and after[0] < before[0] - 0.3
    assert after[1] > before[1] - 0.2  # a tenth at most for each label repaired; here a second one is flagged


# fine-pruning and anti-backdoor learning --------------------------------------------------------------------------------


def test_fine_pruning_keeps_to_the_accuracy_it_may_lose(few):
    _, bad, _, _, _ = few
    before = np.asarray(bad.fit(bad.x, bad.y, 0).respond(bad.x).label) == bad.y
    after = np.asarray(FinePruning(loss=0.05).harden_recipe(bad).fit(bad.x, bad.y, 0).respond(bad.x).label) == bad.y
    assert 0 < before.mean() - after.mean() <= 0.05 + 1e-9


def test_pruned_neurons_stay_cut_off_while_it_is_tuned(few):
    _, bad, _, _, truth = few
    control = FinePruning(loss=0.1, clean=lambda: (truth.x[:200], truth.y[:200]), epochs=3)
    pruned = control.harden_recipe(bad).fit(bad.x, bad.y, 0).model.module[3].weight
    silent = (pruned == 0).all(0)
    assert silent.any() and not silent.all()


def test_abl_isolates_poison_that_is_learned_first_and_unlearns_it(many):
    _, bad, poisoned, trigger, truth = many
    control = AntiBackdoor(passes=3)
    flags = control.flag(SmallNet()(bad.x[:50], bad.y[:50], 0), bad.x, bad.y)
    assert flags.flagged.sum() == 12
    assert flags.flagged[poisoned].sum() >= 9  # chance would be one
    before, after = success(bad, trigger, truth), success(control.harden_recipe(bad), trigger, truth)
    assert before[0] > 0.95 and after[0] <= before[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpectralSignatures(epsilon=0.5), lambda: ActivationClustering(share=0.6), lambda: Strip(rejects=0.0),
        lambda: NeuralCleanse(steps=0), lambda: FinePruning(loss=0.0), lambda: AntiBackdoor(isolated=0.5),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(make):
    with pytest.raises(UsageError, match="not allowed"):
        make()
