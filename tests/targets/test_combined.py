"""Several models behind one decision: what they decide, and that attacks that hold a copy go through the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.core.errors import BadInput
from casemate.core.target import REJECT
from casemate.testing import toys

torch.set_num_threads(1)
FIRST, SECOND, THIRD = (toys.linear(3, (8,), seed) for seed in (0, 1, 2))


def target(linear, **options):
    return cm.wrap(linear.module("float64"), **options)


def inputs(n=40):
    return np.random.default_rng(5).uniform(0.1, 0.9, (n, 8))


def test_the_mean_of_an_ensemble_is_the_mean_of_its_logits():
    one, other = toys.linear(2, (8,), 0), toys.linear(2, (8,), 1)
    whole = cm.wrap(cm.Ensemble(members=(target(one), target(other))))
    x = inputs()
    assert np.allclose(whole.respond(x).logits.numpy(), (one(x) + other(x)) / 2)
    mean = toys.Linear(weight=(one.weight + other.weight) / 2, bias=(one.bias + other.bias) / 2, shape=(8,))
    y = mean(x).argmax(1)
    exact = mean.distance(x, y, "linf")
    ball = cm.Ball("linf", float(np.quantile(exact, 0.5)))
    broken = cm.run(cm.attacks.APGD(), whole, cm.Evade(x, y, ball)).rows["broken"]
    assert broken[exact < 0.95 * ball.radius].all() and not broken[exact > ball.radius].any()


def test_a_vote_needs_a_majority_and_is_attacked_through_the_mean():
    members = (target(FIRST), target(SECOND), target(THIRD))
    whole = cm.wrap(cm.Ensemble(members=members, rule="vote"))
    x = inputs()
    votes = np.stack([m(x).argmax(1) for m in (FIRST, SECOND, THIRD)])
    most = np.array([np.bincount(v, minlength=3).argmax() for v in votes.T])
    assert (whole.respond(x).label == most).all()
    evidence = cm.run(cm.attacks.APGD(), whole, cm.Evade(x, most, cm.Ball("linf", 0.5)))
    assert evidence.rate > 0.9


def test_a_cascade_asks_the_second_model_only_where_the_first_is_unsure():
    asked = []

    class Slow:
        def __call__(self, x):
            asked.append(len(x))
            return SECOND(x)

    slow = cm.wrap(Slow(), output="logits", classes=3, version="1")
    whole = cm.wrap(cm.Cascade(first=target(FIRST), then=slow, sure=0.5))
    x = inputs(200)
    scores = np.exp(FIRST(x) - FIRST(x).max(1, keepdims=True))
    unsure = (scores / scores.sum(1, keepdims=True)).max(1) < 0.5
    label = whole.respond(x).label
    assert asked == [unsure.sum()] and 0 < unsure.sum() < 200
    assert (label == np.where(unsure, SECOND(x).argmax(1), FIRST(x).argmax(1))).all()


def test_a_cascade_of_networks_is_attacked_along_its_route():
    whole = cm.wrap(cm.Cascade(first=target(FIRST), then=target(SECOND), sure=0.5))
    x = inputs()
    y = whole.respond(x).label
    assert cm.run(cm.attacks.PGD(), whole, cm.Evade(x, y, cm.Ball("linf", 0.5))).rate > 0.9


class Far(nn.Module):
    """Flags what is far from the middle of the box, and passes all else."""

    def forward(self, x):
        far = (x - 0.5).abs().mean(1)
        alarm = 60 * (far - 0.22)
        return torch.stack([-alarm, alarm], 1)


def test_every_gradient_attack_is_adaptive_to_a_detector():
    model, detector = target(FIRST), cm.wrap(Far().double().eval())
    whole = cm.wrap(cm.Screened(model=model, detector=detector))
    x = np.random.default_rng(1).uniform(0.35, 0.65, (60, 8))
    y = model.respond(x).label
    case = cm.Evade(x, y, cm.Ball("linf", 0.3))
    blind = cm.run(cm.attacks.PGD(), model, replace(case, seek="nearest"))  # climbs on to the end of its radius
    flagged = (whole.respond(blind.claims.x).label == REJECT).numpy()
    # A perturbation at the end of its radius is what the detector looks for: knowing it, most rows still fall.
    knowing = cm.run(cm.attacks.PGD(steps=100), whole, case)
    assert flagged.mean() > 0.5
    assert knowing.rate > 0.8 > 1 - flagged.mean()


def test_a_reject_by_confidence_is_climbed_past():
    sharp = toys.Linear(weight=6 * FIRST.weight, bias=6 * FIRST.bias, shape=(8,))
    whole = cm.wrap(sharp.module("float64"), decision=cm.Threshold(0.9))
    x, y = sharp.inputs(60, dtype="float64")
    x = x[np.asarray(whole.respond(x).label) != REJECT]
    y = sharp(x).argmax(1)
    evidence = cm.run(cm.attacks.PGD(steps=60), whole, cm.Evade(x, y, cm.Ball("linf", 0.4)))
    assert evidence.rate > 0.85
    sure = torch.softmax(torch.as_tensor(sharp(evidence.claims.x)), 1).max(1).values
    assert (sure[torch.as_tensor(evidence.rows["broken"])] >= 0.9).all()


def test_what_cannot_decide_together_is_refused():
    with pytest.raises(BadInput, match="at least two"):
        cm.Ensemble(members=(target(FIRST),))
    with pytest.raises(BadInput, match="classes"):
        cm.Ensemble(members=(cm.wrap(FIRST, output="logits", classes=3), cm.wrap(FIRST, output="logits", classes=4)))
    noisy = target(FIRST, stages=[cm.Stage(name="noise", forward=lambda x, rows, draw: x, random=True)])
    with pytest.raises(BadInput, match="random"):
        cm.Screened(model=noisy, detector=target(SECOND))
    with pytest.raises(BadInput, match="rule"):
        cm.Ensemble(members=(target(FIRST), target(SECOND)), rule="median")


def test_a_member_without_a_slope_takes_it_from_the_whole():
    whole = cm.Ensemble(members=(target(FIRST), cm.wrap(SECOND, output="logits", classes=3)))
    assert cm.Need.GRADIENT not in whole.offers
    cut = cm.Ensemble(members=(target(FIRST), target(SECOND, decision=cm.Threshold(0.4))))
    assert cm.Need.GRADIENT not in cut.offers
