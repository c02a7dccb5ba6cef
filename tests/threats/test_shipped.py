"""What is generated is current, and what is cited is right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from casemate.core.errors import BadSystem
from casemate.threats import reference, schema
from casemate.threats.load import load, loads
from casemate.threats.nodes import compose, read
from casemate.threats.rules import CATALOGUE, catalogue, common_questions
from casemate.threats.taxonomy import FILES, check_mappings, entries

ROOT = Path(__file__).parents[2]


def test_the_schema_is_current() -> None:
    assert schema.SHIPPED.read_text() == schema.text(), "run: python -m casemate.threats.schema"


def test_the_page_of_all_keys_is_current() -> None:
    assert (ROOT / "docs/reference/fields.md").read_text() == schema.page(), "run: python -m casemate.threats.schema > docs/reference/fields.md"


def test_every_key_is_explained() -> None:
    rows = [line for line in schema.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row for row in rows if not row.rsplit("|", 2)[1].strip()] == []
    known = schema.schema()
    records = [known["properties"]["system"], *known["$defs"].values()]
    assert all(part.get("description") for record in records for part in record["properties"].values())


def test_an_explanation_agrees_with_its_question() -> None:
    explained = schema.schema()["$defs"]["Operations"]["properties"]["rollback"]["description"]
    assert "within a day" in explained and "within a day" in common_questions()["operations.rollback"]


def test_unknown_is_a_value_wherever_it_is_read() -> None:
    """A number, a text and a record of facts may be said to be unknown; a list may not, here as in the reader."""
    checker = jsonschema.Draft202012Validator(schema.schema())
    head = "casemate: 1\nsystem: {name: x}\n"
    for line in (
        "principals: [{id: a, successes_wanted: unknown, kind: unknown, access_cost: {value: unknown, source: imported}}]",
        "components: [{id: a, endpoint: {rate_limit: unknown, cost_per_call: unknown}, decision: {threshold: unknown}}]",
        "components: [{id: a, provenance: unknown, training: {dp: unknown}, model: unknown}]",
        "assets: [{id: a, value: {I: unknown}}]",
    ):
        checker.validate(compose((head + line).encode(), "t").plain())
        loads(head + line)
    wrong = head + "components: [{id: a, holds: unknown}]"
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(compose(wrong.encode(), "t").plain())
    with pytest.raises(BadSystem):
        loads(wrong)


def test_the_reference_page_is_current() -> None:
    page = (ROOT / "docs/reference/threats.md").read_text()
    assert page == reference.page(), "run: python -m casemate.threats.reference > docs/reference/threats.md"


def test_the_schema_accepts_what_the_reader_accepts() -> None:
    checker = jsonschema.Draft202012Validator(schema.schema())
    checker.check_schema(schema.schema())
    shop = CATALOGUE / "fixtures" / "shop.yaml"
    checker.validate(read(shop, "shop").plain())
    page = (ROOT / "docs/reference/description.md").read_text()
    for block in page.split("```yaml\n")[1:]:
        text = block.split("```")[0]
        if text.startswith(("casemate:", "extends:")):
            checker.validate(compose(text.encode(), "doc").plain())
    wrong = {"casemate": 1, "system": {"name": "x"}, "assets": [{"id": "a", "kind": "gold"}]}
    with pytest.raises(jsonschema.ValidationError):
        checker.validate(wrong)
    with pytest.raises(jsonschema.ValidationError):
        checker.validate({**wrong, "assets": [{"id": "a", "colour": "red"}]})


def test_the_documented_descriptions_load(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/description.md").read_text()
    blocks = [b.split("```")[0] for b in page.split("```yaml\n")[1:]]
    (tmp_path / "system.yaml").write_text(next(b for b in blocks if b.startswith("casemate:")))
    (tmp_path / "device.yaml").write_text(next(b for b in blocks if b.startswith("extends:")))
    assert load(tmp_path).components
    assert load(tmp_path / "device.yaml").components


def test_every_citation_is_right() -> None:
    assert check_mappings() == ()
    assert {m.taxonomy for rule in catalogue() for m in rule.mappings} == set(FILES)
    none_fits = {rule.id for rule in catalogue() if not any(m.taxonomy == "atlas" for m in rule.mappings)}
    assert none_fits == {"SY-07", "SY-08"} == {rule.id for rule in catalogue() if "atlas" in rule.unmapped}  # and it is said


def test_a_wrong_citation_is_found() -> None:
    rule = catalogue()[0]
    first = rule.mappings[0]
    for wrong, told in (
        (replace(first, id="AML.T9999"), "is not in release"),
        (replace(first, name="Something"), "is called"),
        (replace(first, release="5.5.0"), "cites release"),
    ):
        (problem,) = check_mappings([replace(rule, mappings=(wrong,))])
        assert told in problem.message


def test_the_notice_credits_atlas() -> None:
    assert entries("atlas")[0] == "5.6.0"
    assert (
        json.loads((ROOT / "src/casemate/threats/taxonomies/atlas-5.6.0.json").read_text())["notice"].split(".")[0]
        in (ROOT / "NOTICE").read_text()
    )
