"""A first dense layer gives its inputs away exactly; without one they are searched for, and what is found is said."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks.privacy._shared_gradients import Sent, labels
from casemate.attacks.privacy.gradient_inversion import GradientInversion
from casemate.core.adversary import researcher
from casemate.core.case import Holdout, Leak
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.random import RowRandom
from casemate.judges.leak import psnr
from casemate.runs.kinds.leak import client, gradients


def dense(inputs=20, units=64, classes=5, seed=0, **options):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, units, **options), nn.ReLU(), nn.Linear(units, classes)).double()


def conv(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Sigmoid(), nn.Flatten(), nn.Linear(512, 10)).double()


def leak(net, rows, updates, shape=(20,), classes=5, noise=0.0, seed=3):
    rng = np.random.default_rng(seed)
    n = rows * updates
    x, y = rng.random((n, *shape)), rng.integers(0, classes, n)
    sent = [
        gradients(net, torch.as_tensor(x[i : i + rows]), torch.as_tensor(y[i : i + rows])) for i in range(0, n, rows)
    ]
    if noise:
        sent = [tuple(g + noise * np.abs(g).max() * rng.normal(size=g.shape) for g in update) for update in sent]
    others = Holdout(x=rng.random((50, *shape)), y=np.zeros(50, int))
    return Leak(model=net, gradients=tuple(sent), rows=rows, shape=shape, truth=Holdout(x=x, y=y), others=others)


def attacked(case, **settings):
    return cm.run(GradientInversion(**settings), None, case)


def test_one_row_is_read_off_to_a_millionth_with_its_label():
    case = leak(dense(), 1, 30)
    found = attacked(case, steps=0)
    assert found.verdict is Verdict.BROKEN and found.rate == 1
    assert np.abs(found.claims.x - case.truth.x).max() < 1e-6
    assert (found.claims.y == case.truth.y).all()
    assert found.extra["gradients_apart"] < 1e-9 and found.extra["exact"][0] == 1
    assert sum(found.spent.values()) == 0


def test_several_rows_are_read_off_where_they_move_units_of_their_own():
    found = attacked(leak(dense(units=512), 4, 6), steps=0)
    assert found.extra["exact"][0] == 1 and found.extra["labels_right"] == 1
    assert found.extra["labels"] == "found" and found.extra["read_off_the_first_layer"] == 24


def test_rows_that_were_read_off_are_not_lost_in_the_search():
    case = leak(dense(), 4, 4)
    read, searched = (attacked(case, steps=steps, restarts=1) for steps in (0, 60))
    assert 0 < read.extra["exact"][0] < 1
    assert searched.extra["exact"][0] >= read.extra["exact"][0]
    assert searched.extra["gradients_apart"] < read.extra["gradients_apart"]
    assert searched.extra["labels_of_updates_right"] > 0.8


def test_single_precision_still_gives_the_row():
    net = dense().float()
    case = leak(dense(), 1, 10)
    sent = tuple(
        gradients(net, torch.as_tensor(case.truth.x[i : i + 1]).float(), torch.as_tensor(case.truth.y[i : i + 1]))
        for i in range(10)
    )
    found = attacked(replace(case, model=net, gradients=sent), steps=0)
    assert np.abs(found.claims.x - case.truth.x).max() < 1e-4


@pytest.mark.parametrize("rows", [1, 3])
def test_labels_are_found_through_any_network(rows):
    case = leak(conv(), rows, 20, (1, 8, 8), 10)
    found = labels(Sent.of(case), RowRandom(0))
    due = np.sort(case.truth.y.reshape(20, rows), 1)
    assert (found == due).mean() >= (1.0 if rows == 1 else 0.8)


def test_a_convolution_is_searched_and_comes_nearer_than_other_records():
    case = leak(conv(), 1, 4, (1, 8, 8), 10)
    early, late = (attacked(case, steps=steps, restarts=1, variation=0.0) for steps in (1, 300))
    assert late.extra["gradients_apart"] < 0.05 * early.extra["gradients_apart"]
    assert late.extra["psnr_median"] > early.extra["psnr_median"] + 5
    assert late.extra["nearer_to_it_than_to_any_other_record"][0] == 1
    assert "Conv2d" in late.extra["not_exact_because"]
    assert (late.claims.x >= 0).all() and (late.claims.x <= 1).all()


def test_a_search_repeats_and_more_restarts_never_explain_less():
    case = leak(conv(), 1, 2, (1, 8, 8), 10)
    first, again = (attacked(case, steps=20) for _ in range(2))
    assert first.digest() == again.digest() and np.array_equal(first.claims.x, again.claims.x)
    assert first.extra["gradients_apart"] <= attacked(case, steps=20, restarts=1).extra["gradients_apart"] + 1e-12


def test_the_first_layer_must_read_the_inputs_and_have_a_bias():
    why = {}
    for name, net in {"bias": dense(bias=False), "narrow": nn.Sequential(nn.AvgPool1d(2), dense(10))}.items():
        why[name] = attacked(leak(net, 1, 1), steps=0).extra["not_exact_because"]
    assert why == {"bias": "the first layer has no bias", "narrow": "the first layer reads 10 numbers, and an input has 20"}


def test_noise_on_gradients_hides_the_rows():
    clean, noisy = (attacked(leak(dense(), 1, 20, noise=noise), steps=0) for noise in (0.0, 1.0))
    assert clean.rate == 1 and noisy.rate < 0.2
    assert noisy.verdict is not Verdict.BROKEN


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_batch_norm_is_stated_and_the_clients_model_stays_as_it_is(training):
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(16)
    net = nn.Sequential(nn.Linear(20, 16), norm, nn.ReLU(), nn.Linear(16, 5)).double().train(training)
    case = leak(net, 3, 1)
    before = norm.running_mean.clone()
    found = attacked(case, steps=3, restarts=1)
    assert found.extra["batch_norm"] == ("training" if training else "evaluation")
    assert torch.equal(norm.running_mean, before) and norm.training is training


def test_looking_like_everybody_is_no_leak():
    """All records are nearly one record: handing in somebody else's does as well."""
    case = leak(conv(), 1, 12, (1, 8, 8), 10)
    same = 0.5 + 0.001 * np.random.default_rng(0).normal(size=(12, 1, 8, 8))
    sent = tuple(
        gradients(case.model, torch.as_tensor(same[i : i + 1]), torch.as_tensor(case.truth.y[i : i + 1])) for i in range(12)
    )
    case = replace(case, gradients=sent, truth=Holdout(x=same, y=case.truth.y), others=Holdout(x=same[::-1].copy(), y=case.truth.y))
    found = attacked(case, steps=0)
    assert found.rate == 1 and found.baseline.rate == 1 and not found.broken


def test_psnr_by_hand():
    assert psnr(np.full((1, 4), 0.6), np.full((1, 4), 0.5), 1.0)[0] == pytest.approx(20.0)


def test_what_cannot_be_attacked_is_said():
    case = leak(dense(), 2, 2)
    bent = tuple((np.full_like(update[0], np.nan), *update[1:]) for update in case.gradients)
    wrong = {
        "parameters are": replace(case, gradients=(case.gradients[0][:2],)),
        "NaN or infinite": replace(case, gradients=bent),
        "torch module": replace(case, model=lambda x: x),
        "low below high": replace(case, low=1.0, high=1.0),
        "one update or more": replace(case, gradients=()),
        "have 4 rows": replace(case, labels=np.zeros(3, int)),
        "with 4 rows, not 0": replace(case, truth=None),
    }
    for words, bad in wrong.items():
        with pytest.raises(BadInput, match=words):
            attacked(bad, steps=0)
    with pytest.raises(BadInput, match="steps"):
        GradientInversion(steps=-1)


def test_zero_gradients_end_quietly():
    case = leak(dense(), 1, 2)
    still = tuple(tuple(np.zeros_like(g) for g in update) for update in case.gradients)
    found = attacked(replace(case, gradients=still), steps=5, restarts=1)
    assert not found.broken and np.isfinite(found.claims.x).all()


def test_a_client_trains_with_batch_norm_in_training_and_no_dropout():
    net = client(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).eval())
    assert net[1].training and not net[2].training


def test_it_needs_no_target_and_no_query():
    assert researcher().may and GradientInversion.info.needs.value == 0
