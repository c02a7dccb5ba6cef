"""AutoAttack is what its name says: the definition of the publication, pinned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import casemate as cm
from casemate.attacks.evasion.autoattack import AutoAttack
from casemate.core.attack import parameters
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.cascade import drive_cascade
from casemate.testing.toys import linear

torch.set_num_threads(1)


def stages(norm, classes=10, version="standard"):
    toy = linear(classes, (8,), seed=0)
    x, y = toy.inputs(3)
    case = cm.Evade(x, y, cm.Ball(norm, 0.1))
    oracle = Oracle(Endpoint(cm.wrap(toy.module())), cm.researcher(), Meter(case.row))
    return {s.info.id.split(".")[1]: parameters(s) for s in AutoAttack(version=version).stages(oracle, case)}


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_standard_definition(norm):
    found = stages(norm)
    assert list(found) == ["apgd_ce", "apgd_t", "fab_t", "square"]
    assert found["apgd_ce"] == {"steps": 100, "restarts": 1, "draws": 1, "wide": False}
    assert found["apgd_t"] == {"steps": 100, "targets": 9, "restarts": 1, "draws": 1, "loss": "dlr", "wide": False}
    fab = found["fab_t"]
    assert (fab["steps"], fab["targets"], fab["alpha"], fab["eta"], fab["beta"]) == (100, 9, 0.1, 1.05, 0.9)
    assert found["square"] == {"steps": 5000, "share": 0.8, "rescale": False}


def test_the_definition_in_l1():
    found = stages("l1")
    assert found["apgd_ce"] == {"steps": 100, "restarts": 5, "draws": 1, "wide": True}
    assert found["apgd_t"] == {"steps": 100, "targets": 5, "restarts": 1, "draws": 1, "loss": "dlr", "wide": True}
    assert found["fab_t"]["targets"] == 9


def test_the_definition_for_random_targets():
    found = stages("linf", version="rand")
    assert list(found) == ["apgd_ce", "apgd_dlr"]
    for one in found.values():
        assert (one["steps"], one["restarts"], one["draws"]) == (100, 1, 20)


def test_our_definition_is_that_of_the_reference():
    reference = pytest.importorskip("pyautoattack").AutoAttack
    for norm in ("linf", "l2", "l1"):
        theirs = reference(nn.Identity(), norm=norm.capitalize(), eps=0.1, seed=0, version="standard")
        found = stages(norm)
        assert [name.replace("-", "_") for name in theirs.attacks_to_run] == list(found)
        assert (theirs.apgd.n_restarts, theirs.apgd.n_iter) == (found["apgd_ce"]["restarts"], found["apgd_ce"]["steps"])
        assert theirs.apgd.use_largereps == found["apgd_ce"]["wide"] == found["apgd_t"]["wide"]
        assert theirs.apgd_targeted.n_target_classes == found["apgd_t"]["targets"]
        assert theirs.apgd_targeted.n_restarts == found["apgd_t"]["restarts"]
        assert (theirs.fab.n_target_classes, theirs.fab.n_iter) == (found["fab_t"]["targets"], found["fab_t"]["steps"])
        assert (theirs.fab.alpha_max, theirs.fab.eta, theirs.fab.beta) == (0.1, 1.05, 0.9)
        assert (theirs.square.n_queries, theirs.square.p_init) == (found["square"]["steps"], found["square"]["share"])
        assert theirs.square.rescale_schedule == found["square"]["rescale"]


def test_few_classes_mean_the_margin_and_fewer_targets():
    two, three = stages("linf", 2), stages("linf", 3)
    assert (two["apgd_t"]["loss"], two["apgd_t"]["targets"], two["fab_t"]["targets"]) == ("margin", 1, 1)
    assert (three["apgd_t"]["loss"], three["apgd_t"]["targets"]) == ("margin", 2)
    assert stages("linf", 4)["apgd_t"]["loss"] == "dlr"
    assert stages("linf", 2, "rand")["apgd_dlr"]["loss"] == "margin"
    assert stages("linf", 3, "rand")["apgd_dlr"]["loss"] == "dlr"


class Curved(nn.Module):
    """A small network that is hard enough for the stages to differ."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(32, 16, generator=generator) / 4, requires_grad=False)
        self.second = nn.Parameter(torch.randn(5, 32, generator=generator), requires_grad=False)

    def forward(self, x):
        return torch.tanh(4 * (x.flatten(1) - 0.5) @ self.first.T) @ self.second.T


def test_it_breaks_what_the_reference_breaks():
    reference = pytest.importorskip("pyautoattack").AutoAttack
    model = Curved().eval()
    x = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    theirs = reference(model, norm="Linf", eps=0.06, seed=0, version="custom", attacks=["apgd-ce", "apgd-t"])
    theirs.apgd_targeted.n_target_classes = 4
    claims, _ = theirs.run_standard_evaluation(x, y, batch_size=40)
    broken = int((model(claims).argmax(1) != y).sum())
    case = cm.Evade(x, y, cm.Ball("linf", 0.06))
    oracle = Oracle(Endpoint(cm.wrap(model)), cm.researcher(), Meter(case.row))

    class Gradients(AutoAttack):
        def stages(self, oracle, case):
            return super().stages(oracle, case)[:2]

    trace = drive_cascade(Gradients(), oracle, case, cm.RowRandom(0))
    assert 0 < broken < 40
    assert trace.believed.sum() >= broken - 1
    assert (model(torch.as_tensor(trace.x)).argmax(1) != y).numpy()[trace.believed].all()


def test_a_stage_works_only_on_what_is_left_and_the_cost_is_an_upper_bound():
    toy = linear(4, (6,), seed=2)
    x, y = toy.inputs(12, dtype="float64")
    ball = cm.Ball("linf", float(np.median(toy.distance(x, y, "linf"))))
    case = cm.Evade(x, y, ball)
    meter = Meter(case.row)
    trace = drive_cascade(_Short(), Oracle(Endpoint(cm.wrap(toy.module("float64"))), cm.researcher(), meter), case, cm.RowRandom(0))
    np.testing.assert_array_equal(trace.believed, toy.distance(x, y, "linf") < ball.radius)
    left = [stage.tried for stage in trace.stages]
    assert left[0] == 12
    assert left == sorted(left, reverse=True)
    assert left[-1] == (~trace.believed).sum()
    assert [stage.fell for stage in trace.stages] == [a - b for a, b in zip(left, [*left[1:], left[-1]], strict=True)]
    assert AutoAttack().cost >= 1 + 301 + 9 * 301 + 5001


class _Short(AutoAttack):
    def stages(self, oracle, case):
        from dataclasses import replace

        return tuple(replace(stage, steps=min(stage.steps, 20)) for stage in super().stages(oracle, case))
