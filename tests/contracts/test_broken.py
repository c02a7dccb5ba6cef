"""A contract that nothing can break is no contract: each of these is caught, by the rule that says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.core.attack import attacks
from casemate.core.control import controls
from casemate.testing import (
    ContractBroken,
    attack_checks,
    check_attack,
    check_control,
    check_target,
    control_checks,
    target_checks,
)
from casemate.testing._nets import linear
from casemate.testing.rigs import rigs_for

from . import broken_attacks
from .broken_attacks import EXPECTED


@pytest.fixture(autouse=True, scope="module")
def forget():
    """What is registered here is known here only."""
    yield
    for registry in (attacks, controls):
        for id in [id for id, kind in registry._items.items() if kind.__module__ in (broken_attacks.__name__, __name__)]:
            del registry._items[id]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def broken(checks):
    """The rules that are broken, by name."""
    found = set()
    for _, check in checks:
        try:
            check()
        except ContractBroken as error:
            found.add(error.rule)
    return found


def vectors(attack):
    return [rig for rig in rigs_for(attack.info) if rig.name == "linear linf"]


def test_an_honest_attack_passes():
    assert broken(attack_checks(broken_attacks.Honest, rigs=vectors(broken_attacks.Honest))) == set()


@pytest.mark.parametrize("attack", EXPECTED, ids=lambda attack: attack.__name__)
def test_a_broken_attack_is_caught_by_the_rule_that_says_what_is_wrong(attack):
    assert broken(attack_checks(attack, rigs=vectors(attack))) == EXPECTED[attack]


def test_the_message_names_the_attack_the_rule_the_value_and_what_to_do():
    with pytest.raises(ContractBroken, match=r"evasion\.leaver breaks the rule 'constraint': rows .* are outside.*project"):
        check_attack(broken_attacks.Leaver, rigs=vectors(broken_attacks.Leaver))


def test_a_contract_error_is_an_assertion():
    assert issubclass(ContractBroken, AssertionError)


# controls -----------------------------------------------------------------------------------------------------------


class Plain:
    """What a service control has when it does nothing."""

    start = 0

    def admit(self, state, account, rows, now):
        return state, np.ones(len(rows), bool)

    def answer(self, state, response):
        return response

    def wait(self, state, account, now):
        return 0.0


def service(id, **methods):
    kind = type(id.title(), (Plain,), {"__doc__": "A control that is wrong.", "__module__": __name__, **methods})
    return cm.control(f"service.{id}", threats=("EV-02",), side_effects="none", knows=("evasion.square",))(kind)


def remembers(self, state, account, rows, now):
    MEMORY.append(account)
    state.append(account)
    return state, np.ones(len(rows), bool)


MEMORY: list[str] = []


def counts_calls(self, state, account, rows, now):
    return state + 1, np.full(len(rows), state < 10)


def flips(self, state, response):
    return replace(response, label=response.label * 0)


def scribbles(self, state, response):
    if response.scores is not None:
        response.scores[:] = response.scores.round(1)
    return response


BROKEN_CONTROLS = {
    "mutable": ({"start": property(lambda self: MEMORY), "admit": remembers}, {"state"}),
    "generous": ({"admit": lambda self, state, account, rows, now: (state, np.ones(len(rows) + 1, bool))}, {"admits"}),
    "calls": ({"admit": counts_calls}, {"rows"}),
    "flips": ({"answer": flips}, {"labels"}),
    "scribbles": ({"answer": scribbles}, {"answers"}),
    "never": ({"wait": lambda self, state, account, now: float("nan")}, {"waits"}),
}


@pytest.mark.parametrize("id", BROKEN_CONTROLS)
def test_a_broken_control_is_caught(id):
    methods, rules = BROKEN_CONTROLS[id]
    assert broken(control_checks(service(id, **methods))) == rules


def test_a_control_that_does_nothing_passes():
    assert broken(control_checks(service("nothing"))) == set()


def test_facts_and_attacks_that_do_not_exist_are_caught():
    @cm.control("service.wishes", changes=(("model.colour", "blue"),), knows=("evasion.magic",), side_effects="none")
    class Wishes(Plain):
        """Changes what no description has."""

    assert broken(control_checks(Wishes)) == {"facts", "knows"}
    with pytest.raises(ContractBroken, match="colour"):
        check_control(Wishes)


def test_a_stage_without_a_backward_pass_is_caught():
    @cm.control("inference.blind", side_effects="none")
    class Blind:
        """Rounds, and lets no gradient through."""

        def harden_target(self, target):
            if not hasattr(target, "stages"):
                raise cm.UsageError("no stages")
            return target.replace(stages=(cm.Stage(name="round", forward=lambda x: x.round(decimals=1)),))

    assert broken(control_checks(Blind)) == {"hardens"}


# targets ------------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).random((6, 12))


@dataclass(frozen=True)
class Wrapped:
    """A target with one thing replaced."""

    inner: object
    changes: SimpleNamespace

    def __getattr__(self, name):
        return getattr(self.changes, name) if hasattr(self.changes, name) else getattr(self.inner, name)


def wrong(**changes):
    return Wrapped(cm.wrap(linear(12, 3, 5), name="toy"), SimpleNamespace(**changes))


def inner(x, **keys):
    return cm.wrap(linear(12, 3, 5), name="toy").respond(x, **keys)


def bent(x, y, loss, *, rows=None, draw=0):
    found = cm.wrap(linear(12, 3, 5)).gradient(x, y, loss)
    return replace(found, slope=found.slope * 1.01)


def crowd(x, *, rows=None, draw=0):
    logits = inner(x).logits
    logits = logits - logits.mean(0, keepdim=True) * 0.1
    return cm.Response(logits.argmax(1), logits.softmax(1), logits)


def loaded(x, *, rows=None, draw=0):
    logits = inner(x).logits + 0.1 * np.random.default_rng().normal()
    return cm.Response(inner(x).label, (logits * 0 + 1 / 3), logits)


BROKEN_TARGETS = {
    "wrong gradient": (wrong(gradient=bent), {"gradient"}),
    "depends on its batch": (wrong(respond=crowd), {"batch"}),
    "random in secret": (wrong(respond=loaded), {"repeats", "batch"}),
    "labels out of range": (wrong(classes=2), {"labels"}),
    "scores that do not add up": (wrong(respond=lambda x, **k: replace(inner(x), scores=inner(x).scores * 1.1)), {"shows"}),
    "offers what it does not show": (wrong(respond=lambda x, **k: replace(inner(x), scores=None)), {"shows"}),
    "a fingerprint of nothing": (wrong(fingerprint=lambda: "same"), {"fingerprint"}),
}


@pytest.mark.parametrize("name", BROKEN_TARGETS)
def test_a_broken_target_is_caught(name):
    target, rules = BROKEN_TARGETS[name]
    changed = wrong(fingerprint=lambda: "same") if name == "a fingerprint of nothing" else None
    assert broken(target_checks(target, X, changed=changed)) == rules


def test_the_first_broken_rule_is_raised():
    with pytest.raises(ContractBroken, match="finite differences"):
        check_target(wrong(gradient=bent), X)
