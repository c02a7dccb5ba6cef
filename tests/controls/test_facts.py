"""Every control's facts are facts of the description language, and every control is documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from casemate.controls import facts_of
from casemate.controls.pipeline.digest_pin import DigestPin
from casemate.core.control import controls
from casemate.core.entities import Component
from casemate.core.system import System

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"


@pytest.mark.parametrize("id", list(controls))
def test_facts_can_be_put_into_a_description(id):
    control = DigestPin(sha256="0" * 64) if id == "pipeline.digest_pin" else controls.get(id)()
    system = System(components=(Component(id="api"),))
    for path, value in facts_of(control):
        system = system.replace_fact(f"api.{path}", value)
        held = system.fact(f"api.{path}").value
        assert held == value or (value is True and held.value == "yes")


@pytest.mark.parametrize("id", list(controls))
def test_every_control_says_what_knows_it_and_what_it_costs(id):
    info = controls.get(id).info
    assert info.knows, "without an attack that knows it, it can only be claimed"
    assert info.threats
    assert info.side_effects
    assert info.id == id == f"{info.kind}.{id.split('.')[1]}"


def test_the_table_in_the_docs_is_current():
    from casemate.controls import as_table

    text = (DOCS / "controls.md").read_text(encoding="utf-8")
    assert as_table() in text, "docs/reference/controls.md is stale: paste casemate.controls.as_table() between the marks"
