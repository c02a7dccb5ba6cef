"""ATLAS data of format 5 and 6, with the defects that releases have had, and what a new release changes for the rules."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from casemate.core.errors import BadSystem
from casemate.threats import atlas_changes
from casemate.threats.atlas import read_atlas
from casemate.threats.rules import catalogue

FIVE = """---
id: ATLAS
name: ATLAS
version: 5.9.0
matrices:
- id: ATLAS
  tactics:
  - {id: AML.TA0003, name: Resource Development, object-type: tactic, description: "left: out"}
  - {id: AML.TA0006, name: Persistence}
  techniques:
  - {id: AML.T0020, name: Poison Training Data, tactics: [AML.TA0003, AML.TA0006], maturity: realized, description: secret words}
  - {id: AML.T0010, name: AI Supply Chain Compromise, tactics: [AML.TA0003], maturity: realized}
  - {id: AML.T0010.002, name: Data, subtechnique-of: AML.T0010, maturity: realized}
  - {id: AML.T0010.003, name: Model, specializes: AML.T0010}
  - {id: AML.T0010, name: AI Supply Chain Compromise, tactics: [AML.TA0003]}
  - {id: AML.T0043.001, name: Black-Box Optimization, tactics: [AML.TA0003]}
  - {id: T9, name: Not one}
  mitigations:
  - id: AML.M0002
    name: Obfuscation
    category: [Technical - ML]
    ml-lifecycle: [Deployment]
    techniques: [{id: AML.T0043.001, use: why}, {id: AML.T0043.001, use: again}, {id: AML.T7777, use: gone}]
  - id: AML.M0018
    name: User Training
    category: [Policy]
    ml-lifecycle:
    - Deployment
    - {id: AML.T0020, use: a technique that slipped in here}
    techniques: [{id: AML.T0010, use: why}]
case-studies:
- id: AML.CS0000
  name: A study
  case-study-type: exercise
  procedure:
  - {tactic: AML.TA0003, technique: AML.T0010.002, description: first}
  - {tactic: AML.TA0006, technique: AML.T0020, description: then}
  - {tactic: AML.TA0006, technique: AML.T0020, description: and again}
"""
SIX = """format-version: 6.0.0
collection: {id: ATLAS-collection, object-type: collection, version: 2026.10, name: ATLAS}
matrix: {id: ATLAS-matrix, name: ATLAS}
tactics:
  AML.TA0003: {id: AML.TA0003, name: Resource Development, uuid: x}
  AML.TA0006: {id: AML.TA0006, name: Persistence}
techniques:
  AML.T0020: {id: AML.T0020, name: Training Data Poisoning, maturity: Realized, platforms: [Predictive AI], description: secret words}
  AML.T0115: {name: Publish Poisoned AI Artifacts, maturity: Realized}
  AML.T0115.000: {id: AML.T0115.000, name: Datasets, maturity: Demonstrated}
  AML.T0115.001: {id: AML.T0115.001, name: Models}
mitigations:
  AML.M0002: {id: AML.M0002, name: Obfuscation, categories: [Technical - AI], lifecycle-phases: [Deployment]}
case-studies:
  AML.CS0000: {id: AML.CS0000, name: A study, type: Exercise}
relationships:
  ATLAS-matrix:
    sequences: [{source: ATLAS-matrix, target: AML.TA0003, relationship-type: sequences, position: 1}]
  AML.T0020:
    achieves:
    - {source: AML.T0020, target: AML.TA0003, relationship-type: achieves}
    - {source: AML.T0020, target: AML.TA0003, relationship-type: achieves}
    - {source: AML.T0020, target: AML.TA0666, relationship-type: achieves}
  AML.T0115:
    achieves: [{source: AML.T0115, target: AML.TA0006, relationship-type: achieves}]
  AML.T0115.000:
    specializes: [{source: AML.T0115.000, target: AML.T0115, relationship-type: specializes}]
    achieves: [{source: AML.T0115.000, target: AML.TA0003, relationship-type: achieves}]
  AML.M0002:
    mitigates: [{source: AML.M0002, target: AML.T0020, relationship-type: mitigates, description: how}]
  AML.CS0000:
    employs:
    - {source: AML.CS0000, target: AML.T0115.000, relationship-type: employs, tactic: AML.TA0003, step-id: S00, leads-to: [S01]}
    - {source: AML.CS0000, target: AML.T0020, relationship-type: employs, tactic: AML.TA0003, step-id: S01, leads-to: []}
"""


@pytest.fixture
def write(tmp_path):  # type: ignore[no-untyped-def]
    def to(text: str | bytes, name: str = "ATLAS.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return to


def told(path: Path) -> str:
    with pytest.raises(BadSystem) as error:
        read_atlas(path)
    return str(error.value)


def technique(table, id):  # type: ignore[no-untyped-def]
    return next(t for t in table["techniques"] if t["id"] == id)


# Formats ------------------------------------------------------------------------------------------------------------------


def test_format_five(write) -> None:  # type: ignore[no-untyped-def]
    found = read_atlas(write(FIVE))
    assert (found.release, found.format) == ("5.9.0", "5")
    assert found.sha256 == found.table["sha256"] == hashlib.sha256(FIVE.encode()).hexdigest()
    assert [t["id"] for t in found.table["tactics"]] == ["AML.TA0003", "AML.TA0006"]
    assert technique(found.table, "AML.T0020") == {
        "id": "AML.T0020", "name": "Poison Training Data", "parent": None, "tactics": ["AML.TA0003", "AML.TA0006"],
        "maturity": "realized", "mitigations": ["AML.M0018"],
    }  # fmt: skip
    for id in ("AML.T0010.002", "AML.T0010.003"):  # a part inherits the tactics of the whole
        assert technique(found.table, id)["parent"] == "AML.T0010" and technique(found.table, id)["tactics"] == ["AML.TA0003"]
    assert found.table["mitigations"][1] == {"id": "AML.M0018", "name": "User Training", "category": ["Policy"], "lifecycle": ["Deployment"]}
    assert found.table["case_studies"] == [
        {"id": "AML.CS0000", "name": "A study", "type": "exercise", "techniques": ["AML.T0010.002", "AML.T0020"]}
    ]


def test_format_six(write) -> None:  # type: ignore[no-untyped-def]
    found = read_atlas(write(SIX))
    assert (found.release, found.format) == ("2026.10", "6.0.0")  # not the number 2026.1
    assert technique(found.table, "AML.T0020") == {
        "id": "AML.T0020", "name": "Training Data Poisoning", "parent": None, "tactics": ["AML.TA0003"], "maturity": "realized",
        "mitigations": ["AML.M0002"],
    }  # fmt: skip
    assert technique(found.table, "AML.T0115")["name"] == "Publish Poisoned AI Artifacts"  # its id is its key
    assert technique(found.table, "AML.T0115.000")["tactics"] == ["AML.TA0003"]  # its own, not those of the whole
    assert technique(found.table, "AML.T0115.001")["tactics"] == ["AML.TA0006"]  # none of its own
    assert technique(found.table, "AML.T0115.001")["parent"] == "AML.T0115"
    assert found.table["case_studies"][0]["techniques"] == ["AML.T0115.000", "AML.T0020"]


@pytest.mark.parametrize("text", [FIVE, SIX])
def test_the_table_has_the_shape_of_the_shipped_one_and_no_descriptions(write, text) -> None:  # type: ignore[no-untyped-def]
    table = read_atlas(write(text)).table
    shipped = atlas_changes.shipped()
    for key in ("tactics", "techniques", "mitigations", "case_studies"):
        assert {frozenset(one) for one in table[key]} == {frozenset(one) for one in shipped[key]}
    assert table["license"] == "Apache-2.0" and "MITRE" in table["notice"]
    for word in ("secret words", "left: out", "how", "uuid"):
        assert f'"{word}' not in json.dumps(table)


def test_defects_are_tolerated_and_said_with_their_lines(write) -> None:  # type: ignore[no-untyped-def]
    path = write(FIVE)
    said = [str(d).removeprefix(f"{path}:") for d in read_atlas(path).defects]
    assert said == [
        "15: AML.T0010: is there twice; the first one counts",
        "17: techniques: passed over: expected an id of techniques and a name; got 'T9', 'Not one'",
        "23: AML.M0002: names AML.T0043.001 twice",
        "23: AML.M0002: names 'AML.T7777', which is none of the techniques",
        "29: AML.M0018: has a technique inside 'ml-lifecycle'; taken as one of its techniques",
        "16: AML.T0043.001: is part of 'AML.T0043', which is not there",
    ]
    said = [str(d) for d in read_atlas(write(SIX)).defects]
    assert len(said) == 2 and "names AML.TA0003 twice" in said[0] and "names 'AML.TA0666', which is none of the tactics" in said[1]


def test_an_older_release_with_its_lists_at_the_top(write) -> None:  # type: ignore[no-untyped-def]
    found = read_atlas(write("id: ATLAS\nversion: 3.1.0\ntactics: []\ntechniques: [{id: AML.T0020, name: Poison Training Data}]\n"))
    assert (found.release, found.format, len(found.table["techniques"])) == ("3.1.0", "3", 1)


# Pointers and hostile files -----------------------------------------------------------------------------------------------


def test_pointers_are_followed(write, tmp_path) -> None:  # type: ignore[no-untyped-def]
    start = write("v6/ATLAS-latest.yaml", "dist/ATLAS-latest.yaml")
    write("ATLAS-2026.10.yaml\n", "dist/v6/ATLAS-latest.yaml")
    write(SIX, "dist/v6/ATLAS-2026.10.yaml")
    found = read_atlas(start)
    assert found.release == "2026.10" and found.sha256 == hashlib.sha256(SIX.encode()).hexdigest()
    assert found.table["file"] == "ATLAS-2026.10.yaml"
    assert found.table["via"] == ["ATLAS-latest.yaml", "v6/ATLAS-latest.yaml", "ATLAS-2026.10.yaml"]


@pytest.mark.parametrize("target", ["../secret.yaml", "a/../../secret.yaml", "{root}/secret.yaml", "..\\secret.yaml", "out.yaml"])
def test_a_pointer_stays_in_its_folder(write, tmp_path, target) -> None:  # type: ignore[no-untyped-def]
    write(SIX, "secret.yaml")
    path = write(target.format(root=tmp_path), "dist/ATLAS.yaml")
    os.symlink(tmp_path / "secret.yaml", tmp_path / "dist/out.yaml")
    assert "is not inside the folder" in told(path)


def test_pointers_in_a_circle(write) -> None:  # type: ignore[no-untyped-def]
    assert "leads back to itself" in told(write("me.yaml", "me.yaml"))
    write("b.yaml", "a.yaml")
    assert "leads back to itself" in told(write("a.yaml", "b.yaml"))


def test_too_many_pointers_and_none(write) -> None:  # type: ignore[no-untyped-def]
    for number in range(12):
        write(f"{number + 1}.yaml", f"{number}.yaml")
    assert "more than 8 pointers" in told(write("1.yaml", "0.yaml"))
    write(SIX, "12.yaml")
    assert "more than 8 pointers" in told(write("4.yaml", "3.yaml"))  # nine
    assert read_atlas(write("5.yaml", "4.yaml")).release == "2026.10"  # eight
    assert "'gone.yaml', which is not there" in told(write("gone.yaml"))


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "expands to more than 2,000,000 values"),
        ("x" * 20_000_001, "is larger than 20,000,000 bytes"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        ("", "is empty"),
        ("a: [", "yaml:"),
        ("techniques: !!python/object/apply:os.system [id]\n", "tags are not read"),
        ("name: something else\n", "is no ATLAS data: expected 'matrices' (format 5) or 'techniques' by id (format 6)"),
        ("- 1\n", "is no ATLAS data"),
        ("matrices: 7\n", "is no ATLAS data"),
        (SIX.replace("version: 2026.10", "x: 1"), "says no release"),
        (SIX.replace("  AML.T0115: {", "  AML.T0020: {"), "is stated twice"),
    ],
)
def test_what_is_no_release(write, text, said) -> None:  # type: ignore[no-untyped-def]
    assert said in told(write(text))


def test_a_file_that_is_not_there(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert "cannot be read" in told(tmp_path / "none.yaml")


@pytest.mark.parametrize("odd", ["techniques: {AML.T0020: [1]}", "techniques: {AML.T0020: x}", "tactics: 3", "relationships: [[[]]]", "mitigations:\n"])
def test_odd_shapes_are_passed_over(write, odd) -> None:  # type: ignore[no-untyped-def]
    kept = "" if odd.startswith("techniques") else "techniques: {AML.T0020: {name: N}}\n"
    found = read_atlas(write(f"version: '1'\n{kept}{odd}\n"))
    assert len(found.table["techniques"]) == (0 if odd.startswith("techniques") else 1)


def test_a_whole_release_is_read_quickly(write) -> None:  # type: ignore[no-untyped-def]
    items = "".join(f"- id: AML.T{n:04d}\n  name: N{n}\n  tactics: [AML.TA0003]\n  description: '{'word ' * 900}'\n" for n in range(180))
    path = write("version: 5.9.0\ntactics: [{id: AML.TA0003, name: R}]\ntechniques:\n" + items)
    assert path.stat().st_size > 800_000
    start = time.perf_counter()
    assert len(read_atlas(path).table["techniques"]) == 180
    assert time.perf_counter() - start < 5


# Against the shipped release ----------------------------------------------------------------------------------------------


def table(**changes):  # type: ignore[no-untyped-def]
    """The shipped table with other names; a name of None takes the object out."""
    shipped = atlas_changes.shipped()
    wanted = {id.replace("_", "."): name for id, name in changes.items()}
    for key in ("tactics", "techniques", "mitigations", "case_studies"):
        shipped[key] = [{**one, "name": wanted.get(one["id"], one["name"])} for one in shipped[key] if wanted.get(one["id"], "") is not None]
    return shipped


def test_the_shipped_release_is_not_different_from_itself() -> None:
    same = atlas_changes.shipped()
    assert atlas_changes.differences(same, same) == () and atlas_changes.touched(catalogue(), same, same) == ()


def test_added_removed_renamed_and_moved() -> None:
    new = table(AML_T0019=None, AML_T0020="Training Data Poisoning", AML_T0029="Something else")
    new["techniques"].append({"id": "AML.T0115.000", "name": "Datasets", "tactics": []})
    moved = next(t for t in new["techniques"] if t["id"] == "AML.T0015")
    old_tactics, moved["tactics"] = sorted(moved["tactics"]), ["AML.TA0011"]
    found = [(d.kind, str(d)) for d in atlas_changes.differences(atlas_changes.shipped(), new)]
    assert found == [
        ("added", "AML.T0115.000 Datasets"),
        ("removed", "AML.T0019 Publish Poisoned Datasets (successor AML.T0115.000)"),
        ("renamed", "AML.T0020 Poison Training Data -> Training Data Poisoning (a known rename)"),
        ("renamed", "AML.T0029 Denial of AI Service -> Something else"),
        ("moved", f"AML.T0015 {', '.join(old_tactics)} -> AML.TA0011 (Evade AI Model)"),
    ]


def test_which_rules_are_touched_by_id_and_by_name() -> None:
    rule = next(r for r in catalogue() if any(m.id == "AML.T0020" for m in r.mappings))
    rule = replace(rule, mappings=tuple(m for m in rule.mappings if m.id == "AML.T0020"), advice=())
    old = atlas_changes.shipped()
    (gone,) = atlas_changes.touched([rule], old, table(AML_T0020=None))
    assert gone.why == "AML.T0020 Poison Training Data is not in it" and gone.do == "choose another technique"
    (known,) = atlas_changes.touched([rule], old, table(AML_T0020="Training Data Poisoning"))
    assert known.do == 'write name: "Training Data Poisoning"; the same under a known new name'
    (other,) = atlas_changes.touched([rule], old, table(AML_T0020="Something else"))
    assert "look whether it still means the same" in other.do
    elsewhere = table(AML_T0020=None)
    elsewhere["techniques"].append({"id": "AML.T0999", "name": "Training Data Poisoning", "tactics": []})
    (moved,) = atlas_changes.touched([rule], old, elsewhere)
    assert moved.do == "this name is at AML.T0999 now"
    tactics = table()
    next(t for t in tactics["techniques"] if t["id"] == "AML.T0020")["tactics"] = ["AML.TA0011"]
    (still,) = atlas_changes.touched([rule], old, tactics)
    assert "has other tactics" in still.why and still.do == ""


def test_a_table_reads_back_and_nothing_else_does(write, tmp_path) -> None:  # type: ignore[no-untyped-def]
    held = read_atlas(write(SIX)).table
    assert atlas_changes.read_table(write(json.dumps(held), "t.json")) == held
    for text in ("", "[]", "{}", json.dumps({**held, "tactics": 3}), json.dumps({**held, "techniques": [{"id": 1, "name": "x"}]})):
        with pytest.raises(BadSystem, match=r"t\.json"):
            atlas_changes.read_table(write(text, "t.json"))
