"""Health checks: each fires on the sickness it is named after, and only a healthy attack may say `resisted`."""

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks._rows import Rows
from casemate.core.attack import AttackInfo
from casemate.core.random import RowRandom

torch.set_num_threads(1)
X = np.random.default_rng(1).random((20, 6))


class Net(torch.nn.Module):
    def __init__(self, scale=1.0, zero=False, change=False):
        super().__init__()
        self.line, self.scale, self.zero, self.change = torch.nn.Linear(6, 3).double(), scale, zero, change
        self.register_buffer("calls", torch.zeros(1))
        with torch.no_grad():
            self.line.weight.copy_(torch.as_tensor(np.random.default_rng(0).normal(size=(3, 6))))
            self.line.bias.copy_(-self.line.weight.sum(1) / 2)

    def forward(self, x):
        if self.change:
            self.calls += 1
        out = self.line(x) * self.scale
        return out.detach() + 0 * x.sum(1, keepdim=True) if self.zero else out


def attack(model, attack="evasion.pgd", radius=0.01, **options):
    target = cm.wrap(model, **options)
    case = cm.Evade(X, target.respond(X, rows=np.arange(20)).label.numpy(), cm.Ball("linf", radius))
    return cm.run(attack, target, case)


def failed(evidence):
    return {check.number for check in evidence.health if check.ok is False and check.fatal}


def test_a_healthy_attack_may_say_resisted():
    evidence = attack(Net().eval(), radius=0.0)
    assert failed(evidence) == set() and evidence.verdict == "resisted"
    assert {c.number for c in evidence.health} >= {2, 4, 5, 6, 7, 10, 11, 14, 23, 24, 25}


@pytest.mark.parametrize(("model", "number"), [(Net(zero=True), 7), (Net(scale=1e4), 6), (Net(change=True), 2)], ids=["zero", "saturated", "changed"])
def test_a_sickness_is_found(model, number):
    evidence = attack(model.eval(), radius=0.0)
    assert number in failed(evidence) and evidence.verdict == "inconclusive" and any(f"check {number}," in r for r in evidence.reasons)


def test_an_attack_that_cannot_even_break_without_a_radius_is_sick():
    class Idle:
        info = AttackInfo(id="evasion.idle", needs=cm.Need.LABEL, scope="rows", case="evade", summary="")
        __dataclass_fields__: dict = {}

        def __call__(self, oracle, case, *, rng):
            yield Rows.begin(case).see(case, oracle.look(case.x, rows=case.row))

    evidence = attack(Net().eval(), Idle())
    assert failed(evidence) == {14} and evidence.verdict == "inconclusive"


def test_success_that_is_only_believed_is_told():
    class Boaster:
        info = AttackInfo(id="evasion.boast", needs=cm.Need.LABEL, scope="rows", case="evade", summary="")
        __dataclass_fields__: dict = {}

        def __call__(self, oracle, case, *, rng):
            at = Rows.begin(case)
            yield Rows(row=at.row, x=at.x, origin=at.origin, y=at.y, best=at.best, loss=at.loss, broken=torch.ones(len(at), dtype=bool))

    evidence = attack(Net().eval(), Boaster())
    assert 10 in failed(evidence) and evidence.rate == 0 and evidence.rows["believed"].all() and evidence.cost.queries is None


def test_claims_outside_are_counted_as_failed():
    class Wide:
        info = AttackInfo(id="evasion.wide", needs=cm.Need.LABEL, scope="rows", case="evade", summary="")
        __dataclass_fields__: dict = {}

        def __call__(self, oracle, case, *, rng):
            at = Rows.begin(case)
            yield Rows(row=at.row, x=at.x, origin=at.origin, y=at.y, best=1 - at.x.round(), loss=at.loss, broken=at.broken)

    evidence = attack(Net().eval(), Wide())
    assert 4 in failed(evidence) and evidence.rate == 0 and np.isinf(evidence.rows["distance"]).all()


def test_randomness_that_was_not_declared_is_found():
    class Noisy(Net):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), 3, dtype=x.dtype)

    torch.manual_seed(0)
    assert 5 in failed(attack(Noisy().eval(), "evasion.noise"))


def test_declared_randomness_is_healthy_and_voted_on():
    def jitter(x, rows, draw):
        return x + 0.01 * torch.as_tensor(RowRandom(1).normal(rows, draw, tuple(x.shape[1:])))

    evidence = attack(Net().eval(), "evasion.pgd", 0.3, stages=(cm.Stage(name="jitter", forward=jitter, random=True),))
    assert 5 not in failed(evidence) and evidence.extra["votes"] == 20 and evidence.rate > 0.5
    again = attack(Net().eval(), "evasion.pgd", 0.3, stages=(cm.Stage(name="jitter", forward=jitter, random=True),))
    np.testing.assert_array_equal(evidence.rows["broken"], again.rows["broken"])


def test_health_calls_of_an_attack_that_fails_are_in_the_ledger_regression():
    class Fragile:
        info = AttackInfo(id="evasion.fragile", needs=cm.Need.LABEL, scope="rows", case="evade", summary="")
        __dataclass_fields__: dict = {}

        def __call__(self, oracle, case, *, rng):
            response = oracle.look(case.x, rows=case.row)
            if np.isinf(case.within.radius):
                raise cm.BadInput("needs a radius")
            yield Rows.begin(case).see(case, response)

    seen = []

    class Counting(Net):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    target = cm.wrap(Counting().eval())
    case = cm.Evade(X, target.respond(X).label.numpy(), cm.Ball("linf", 0.01))
    seen.clear()
    evidence = cm.run(Fragile(), target, case)
    assert next(c for c in evidence.health if c.number == 14).ok is None
    assert sum(evidence.spent[k] for k in ("queries", "judge", "health")) == sum(seen)
