"""The lines of health: every number has a line, and each of the newer ones fires on what it is for."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks._rows import Rows
from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.attack import AttackInfo
from casemate.runs.health.lines import NAMES
from casemate.testing import toys

torch.set_num_threads(1)
LINEAR = toys.linear(3, (1, 6, 6))
X, Y = LINEAR.inputs(24, dtype="float64")
BALL = cm.Ball("linf", 0.01)


def line(evidence, number):
    return next(check for check in evidence.health if check.number == number)


def run(attack, target=None, case=None, **more):
    return cm.run(attack, LINEAR.module("float64") if target is None else target, case or cm.Evade(X, Y, BALL), **more)


def test_every_number_has_a_line_and_those_that_do_not_apply_say_why():
    evidence = run("suite.standard")
    assert [c.number for c in evidence.health] == sorted(NAMES)
    assert all(c.detail.startswith("does not apply: ") and not c.fatal for c in evidence.health if not c.applies)
    assert not [c for c in evidence.health if c.applies and c.ok is False and c.fatal]


def test_3_claims_that_rounding_to_bytes_undoes_are_said():
    x = np.round(X * 255) / 255
    lucky = LINEAR.distance(x, LINEAR(x).argmax(1), "linf") < 0.002
    assert lucky.any()
    case = cm.Evade(x, LINEAR(x).argmax(1), cm.Ball("linf", 0.0015)).only(lucky)
    assert line(run(cm.attacks.PGD(), case=case), 3).ok is False
    assert not line(run(cm.attacks.PGD()), 3).applies  # these inputs are on no grid


class Lies(torch.nn.Module):
    """Answers linearly and passes back a slope that points elsewhere."""

    def __init__(self):
        super().__init__()
        self.line = LINEAR.module("float64")

    def forward(self, x):
        wrong = x.roll(3, -1)
        return self.line(wrong) + (self.line(x) - self.line(wrong)).detach()


def test_8_a_slope_that_says_something_else_than_the_loss_is_seen():
    check = line(run(cm.attacks.PGD(), Lies().eval()), 8)
    assert check.ok is False and check.fatal
    assert line(run(cm.attacks.PGD()), 8).ok is True


class Rough(torch.nn.Module):
    """A linear model under a ripple far shorter than the radius."""

    def __init__(self):
        super().__init__()
        self.line = LINEAR.module("float64")

    def forward(self, x):
        return self.line(x) + 3 * torch.sin(3e5 * x.flatten(1).sum(1, keepdim=True)) * torch.tensor([1.0, -1.0, 0.0])


def test_9_a_loss_that_jumps_about_is_said():
    target = cm.wrap(Rough().eval())
    case = cm.Evade(X, np.asarray(target.respond(X).label), BALL)
    assert line(run(cm.attacks.PGD(), target, case), 9).ok is False and line(run(cm.attacks.PGD()), 9).ok is True


def test_12_an_attack_cut_short_is_seen():
    case = cm.Evade(X, Y, cm.Ball("linf", 0.05))
    near = LINEAR.distance(X, Y, "linf") < 0.045
    short = run(cm.attacks.PGD(steps=2, stride=0.3), case=case.only(near))
    assert short.rate < 1 and line(short, 12).ok is False
    assert line(run(cm.attacks.PGD(), case=cm.Evade(X, Y, cm.Ball("linf", 0.002)).only(~near)), 12).ok is True


class Purifies(torch.nn.Module):
    """Takes a gradient step on its own input before it answers."""

    def __init__(self):
        super().__init__()
        self.line = LINEAR.module("float64")

    def forward(self, x):
        with torch.enable_grad():
            inner = x.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.line(inner).logsumexp(1).sum(), inner)
        return self.line(x + 1e-6 * slope)


def test_19_a_target_that_differentiates_to_answer_is_seen():
    assert line(run(cm.attacks.PGD(), Purifies().eval()), 19).ok is False and line(run(cm.attacks.PGD()), 19).ok is True


def test_20_what_is_climbed_with_two_classes_is_said():
    two = toys.linear(2, (1, 6, 6))
    x, y = two.inputs(12)
    evidence = cm.run("evasion.autoattack", two.module(), cm.Evade(x, y, cm.Ball("linf", 0.05)))
    assert "margin" in line(evidence, 20).detail and "2 classes" in line(evidence, 20).detail


def test_22_the_target_without_its_defence_is_attacked_too():
    stage = cm.Stage(name="floor", kind="quantise", forward=lambda x: (x * 4).floor() / 4, backward="straight_through")
    target = cm.wrap(LINEAR.module("float64"), stages=[stage])
    y = np.asarray(target.respond(X).label)
    kept = y == Y
    evidence = run(cm.attacks.PGD(), target, cm.Evade(X, Y, cm.Ball("linf", 0.002)).only(kept))
    assert "without floor" in line(evidence, 22).detail


def test_26_an_attack_that_cares_about_its_company_is_seen():
    class Crowd:
        info = AttackInfo(id="evasion.crowd", needs=Need.LABEL, scope="rows", case="evade", summary="")
        __dataclass_fields__: dict = {}

        def __call__(self, oracle, case, *, rng):
            at = Rows.begin(case)
            far = case.within.project(at.origin + (1.0 if len(at) > 3 else 0.0) * torch.ones_like(at.x), at.origin)
            at = at.at(far)
            return (yield at.see(case, oracle.look(at.x, rows=at.row)))

    toward = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 2, dtype=torch.float64))
    with torch.no_grad():
        toward[1].weight.copy_(torch.tensor([[-1.0] * 36, [1.0] * 36]))
        toward[1].bias.copy_(torch.tensor([36.0, -36.0]) * 0.5 * 1.001)
    x = np.full((10, 1, 6, 6), 0.5)
    evidence = cm.run(Crowd(), toward.eval(), cm.Evade(x, np.zeros(10, int), cm.Ball("linf", 0.3)))
    assert evidence.rate == 1 and line(evidence, 26).ok is False
    assert line(run(cm.attacks.PGD()), 26).ok is True


def test_27_rows_that_are_there_twice_or_were_trained_on_are_counted():
    twice = cm.Evade(np.concatenate([X, X[:3]]), np.concatenate([Y, Y[:3]]), BALL)
    assert "3 there twice" in line(run(cm.attacks.PGD(), case=twice), 27).detail
    recipe = cm.Recipe(lambda x, y, seed: cm.wrap(LINEAR.module("float64")), X[:5], Y[:5])
    evidence = run(cm.attacks.PGD(), known=cm.Known(recipe=recipe))
    assert "5 in the training data" in line(evidence, 27).detail and line(evidence, 27).ok is False


def test_29_a_weak_attack_fails_on_a_weak_target():
    assert line(run(cm.attacks.PGD(steps=1, stride=0.01)), 29).ok is False and line(run(cm.attacks.PGD()), 29).ok is True


def test_40_a_suite_that_ran_out_of_time_may_not_say_resisted():
    evidence = run("suite.standard", case=cm.Evade(X, Y, cm.Ball("linf", 1e-4)), budget=Budget(seconds=0.0))
    assert evidence.verdict == "inconclusive" and line(evidence, 40).ok is False
    assert "rows not tried" in line(evidence, 40).detail


def test_a_random_target_falls_only_where_most_answers_say_so():
    class Coin(torch.nn.Module):
        def forward(self, x):
            return torch.rand(len(x), 2, dtype=x.dtype) - torch.tensor([0.0, 0.2]) + 0 * x.flatten(1).sum(1, keepdim=True)

    case = cm.Evade(X, np.zeros(len(X), int), BALL)
    evidence = cm.run(cm.attacks.PGD(), Coin().eval(), case)
    assert line(evidence, 5).ok is False and evidence.rate < 0.5


def test_17_inside_a_suite_rows_that_only_a_blind_search_takes_are_said():
    class Killed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.line = LINEAR.module("float64")

        def forward(self, x):
            return self.line(x.detach()) + 0 * x.flatten(1).sum(1, keepdim=True)

    near = LINEAR.distance(X, Y, "linf")
    case = cm.Evade(X, Y, cm.Ball("linf", float(np.quantile(near, 0.5))))
    evidence = run("suite.standard", Killed().eval(), case)
    assert evidence.rate > 0.1 and line(evidence, 17).ok is False


def test_a_cap_in_seconds_ends_any_attack():
    for attack in (cm.attacks.PGD(steps=100_000), cm.attacks.HopSkipJump(steps=10_000)):
        evidence = run(attack, case=cm.Evade(X, Y, cm.Ball("linf", 1e-4)), budget=Budget(seconds=0.3))
        assert "time was up" in evidence.extra["stopped"] and evidence.verdict == "inconclusive"


def test_a_label_adversary_gets_a_label_suite():
    shy = Adversary(name="shy", may=Need.LABEL, budget=Budget(queries_per_row=200))
    evidence = run("suite.standard", adversary=shy, case=cm.Evade(X, Y, cm.Ball("linf", 0.05)))
    ran = [stage["attack"] for stage in evidence.extra["stages"] if stage["tried"]]
    assert ran[:2] == ["evasion.noise", "evasion.rays"] and not evidence.spent["gradients"]
    assert max(evidence.rows["queries"]) <= 200


@pytest.mark.parametrize("share", [True, False])
def test_stages_may_begin_where_the_ones_before_arrived(share):
    evidence = run(cm.attacks.Standard(share=share), case=cm.Evade(X, Y, cm.Ball("linf", 0.02)))
    assert (evidence.rows["broken"] <= (LINEAR.distance(X, Y, "linf") <= 0.02)).all()
    assert replace(evidence).digest() == run(cm.attacks.Standard(share=share), case=cm.Evade(X, Y, cm.Ball("linf", 0.02))).digest()
