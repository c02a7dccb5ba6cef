"""Citations: each that is wrong is found at its own line, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from casemate.threats.rules import BadRule
from casemate.threats.taxonomy import check, outlook, same_name

RULE = """id: ACME-01
title: A threat of ours
each: model
applies_when: {submits: $p, who: p}
explain: "{p} can."
mappings:
  atlas:
    - {id: "AML.T0015", name: "Evade AI Model", release: "5.6.0"}
    - %s
  nist:
    - {id: "NISTAML.022", name: "Evasion", release: "AI 100-2e2025"}
"""
RIGHT = '{id: "AML.T0040", name: "AI Model Inference API Access", release: "5.6.0"}'


@pytest.fixture
def pack(tmp_path: Path):  # type: ignore[no-untyped-def]
    def write(citation: str) -> Path:
        text = RULE.replace("applies_when: {submits: $p, who: p}", "applies_when: {path: $c.model.output, is: label}")
        (tmp_path / "ACME-01.yaml").write_text(text % citation)
        return tmp_path

    return write


def test_the_catalogue_is_right() -> None:
    assert check().problems == ()


def test_a_right_citation_of_ones_own(pack) -> None:  # type: ignore[no-untyped-def]
    assert check([pack(RIGHT)]).problems == ()
    assert check([pack(RIGHT) / "ACME-01.yaml"]).problems == ()


@pytest.mark.parametrize(
    ("citation", "message", "do"),
    [
        ('{id: "AML.T9999", name: "X", release: "5.6.0"}', "AML.T9999 is not in release 5.6.0", ""),
        ('{id: "AML.T9999", name: "Poison Training Data", release: "5.6.0"}', "AML.T9999 is not in", "this name is at AML.T0020"),
        ('{id: "AML.T0020", name: "Poisoning", release: "5.6.0"}', "is called 'Poison Training Data', not 'Poisoning'", 'write name: "Poison'),
        ('{id: "AML.T0015", name: "Evade ML Model", release: "5.6.0"}', "(an earlier name of it)", 'write name: "Evade AI Model"'),
        ('{id: "AML.T0115.000", name: "Datasets", release: "5.6.0"}', "is not in release 5.6.0", "of a later release; before that: AML.T0019"),
        ('{id: "AML.T0040", name: "AI Model Inference API Access", release: "4.9.0"}', "cites release '4.9.0'; shipped is '5.6.0'", ""),
    ],
)
def test_a_wrong_citation_has_its_line_and_what_to_write(pack, citation, message, do) -> None:  # type: ignore[no-untyped-def]
    folder = pack(citation)
    (problem,) = check([folder]).problems
    assert (problem.file, problem.line) == (str(folder / "ACME-01.yaml"), 9)
    assert message in problem.message and do in problem.suggestion


@pytest.mark.parametrize(
    ("id", "successor"),
    [("AML.T0019", "AML.T0115.000"), ("AML.T0058", "AML.T0115.001"), ("AML.T0104", "AML.T0115.002")],
)
def test_a_retired_id_has_its_successor(pack, id, successor) -> None:  # type: ignore[no-untyped-def]
    from casemate.threats.taxonomy import entries

    release, names = entries("atlas")
    folder = pack(f'{{id: "{id}", name: "{names[id]}", release: "5.6.0"}}')
    # Right for the release it cites: a notice. Against one that has retired it: a problem.
    assert check([folder]).problems == ()
    assert [n.suggestion for n in check([folder]).notices if n.file.endswith("ACME-01.yaml")] == [f"successor {successor}"]
    later = {"atlas": (release, {other: name for other, name in names.items() if other not in outlook()["retired"]})}
    found = [p for p in check([folder], later).problems if p.file.endswith("ACME-01.yaml")]
    assert [(p.line, p.suggestion) for p in found] == [(9, f"retired; its successor is {successor}")]


def test_a_pack_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRule, match="there is no such file or folder"):
        check([tmp_path / "none"])


def test_names_that_are_of_one_thing() -> None:
    assert same_name("Poison Training Data", "Training Data Poisoning")
    assert same_name("ML Model Access", "AI Model Access") and same_name("Machine Learning Attack Staging", "AI attack staging")
    assert not same_name("HTML Smuggling", "HTAI Smuggling") and not same_name("Evade AI Model", "Model")
