"""Names: found by id or by what the literature calls them, never taken by two, never absent in silence."""

import sys
import types
from importlib.metadata import EntryPoint

import pytest

from casemate.core import registry as room
from casemate.core.adversary import Need
from casemate.core.attack import attack, attacks
from casemate.core.errors import UnknownName, UsageError
from casemate.core.registry import Registry
from casemate.runs.kinds import KINDS


@pytest.fixture
def names(monkeypatch):
    monkeypatch.setitem(sys.modules, "empty_room", types.ModuleType("empty_room"))
    return Registry("attack", "empty_room")


class One: ...


class Two: ...


def test_an_id_and_its_aliases_find_one_definition(names):
    names.add("evasion.one", One, ("FGSM", "fast sign"))
    assert names.get("evasion.one") is names.get("fgsm") is names.get("Fast Sign") is One
    assert list(names) == ["evasion.one"] and "evasion.one" in names and "fgsm" not in names


def test_an_unknown_name_is_answered_with_the_near_ones(names):
    names.add("evasion.one", One)
    with pytest.raises(UnknownName, match=r"did you mean 'evasion.one'\?"):
        names.get("evasion.on")


def test_two_definitions_of_one_id_are_an_error_and_the_same_twice_is_none(names):
    names.add("a.b", One)
    names.add("a.b", One)
    with pytest.raises(UsageError, match="twice"):
        names.add("a.b", Two)


def test_a_class_of_the_same_name_from_elsewhere_is_another_definition_regression(names):
    names.add("a.b", One)
    other = type("One", (), {"__module__": "plugin", "__qualname__": One.__qualname__})
    with pytest.raises(UsageError, match="twice"):
        names.add("a.b", other)


def test_an_alias_cannot_be_taken_over_regression(names):
    names.add("a.one", One, ("PGD",))
    for aka in ("pgd", "a.one"):
        with pytest.raises(UsageError, match="cannot also be called"):
            names.add("a.two", Two, (aka,))
    assert names.get("pgd") is One


def test_a_plugin_that_fails_fails_every_time_regression(monkeypatch):
    point = EntryPoint(name="bad", value="no_such_module_of_a_plugin", group="casemate")
    monkeypatch.setattr(room, "entry_points", lambda group: [point])
    monkeypatch.setattr(room, "_plugins_loaded", False)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"plugin 'bad'.*failed to import"):
            room.load_plugins()


def test_an_attack_of_no_known_family_must_name_its_case():
    with pytest.raises(UsageError, match="give case="):
        attack("strange.one", needs=Need.NONE)(types.new_class("Strange"))


def test_every_built_in_attack_has_a_summary_and_a_case():
    for id in attacks:
        info = attacks.get(id).info
        assert info.id == id and info.summary and info.case in ("evade", *KINDS)
