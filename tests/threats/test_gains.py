"""What an attacker holds after a threat, and the places that are told by what a component states."""

from __future__ import annotations

from pathlib import Path

import pytest

from casemate.core.system import Component, System
from casemate.threats.expressions import BadRule
from casemate.threats.load import loads
from casemate.threats.rules import CATALOGUE, catalogue, instances, read_rules

RULES = {rule.id: rule for rule in catalogue()}
STORE = "casemate: 1\nsystem: {name: x}\ncomponents: [{id: store, kind: registry, storage: {outsiders_read: %s, outsiders_write: %s}}]\n"


@pytest.mark.parametrize(
    ("read", "write", "gained"),
    [
        ("yes", "no", {"read_weights", "read_data"}),
        ("no", "yes", {"write_weights", "modify_data"}),
        ("yes", "yes", {"read_weights", "read_data", "write_weights", "modify_data"}),
        ("yes", "unknown", {"read_weights", "read_data"}),
    ],
)
def test_an_open_store_gives_what_it_is_open_for(read: str, write: str, gained: set[str]) -> None:
    gives = RULES["SY-06"].gains(loads(STORE % (read, write)), "store")
    assert {can for give in gives for can in give.can} == gained
    assert {give.on for give in gives} == {"here"}


def test_a_gain_without_a_condition_is_always_held() -> None:
    rule = RULES["SY-03"]
    assert rule.gains(System(components=(Component(id="c"),)), "c") == rule.gives != ()


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("{path: $p.kind, is: customer}", "starts at nothing known"),
        ("{path: $c.storage.outsiders_reed, is: yes}", "did you mean 'outsiders_read'"),
        ("soon", "exactly one of"),
    ],
)
def test_a_condition_of_a_gain_is_checked_when_it_is_read(tmp_path: Path, when: str, told: str) -> None:
    text = (CATALOGUE / "EX-02.yaml").read_text()
    bad = tmp_path / "EX-02.yaml"
    bad.write_text(text.replace("{can: [read_weights], on: here}", f"{{can: [read_weights], on: here, when: {when}}}"))
    with pytest.raises(BadRule, match=told):
        read_rules([bad, CATALOGUE / "EX-01.yaml"])


def test_records_are_places() -> None:
    text = """
casemate: 1
system: {name: x}
principals: [{id: eve}]
components:
  - {id: plain, kind: server}
  - {id: job, kind: trainer, workspace: {path: job.yaml}, dependencies: {pinned: yes}, storage: {outsiders_read: no}}
  - {id: study, kind: notebook}
"""
    system = loads(text)
    asked = {id: [component for component, _ in instances(RULES[id], system)] for id in ("SY-03", "SY-04", "SY-06")}
    assert asked == {"SY-03": ["job"], "SY-04": ["job", "study"], "SY-06": ["job"]}
