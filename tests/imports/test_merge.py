"""What was asserted stays, what was missing is filled in with its source, and every other byte is as it was."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import BadSystem, UnknownName
from casemate.core.fact import UNKNOWN
from casemate.core.system import System
from casemate.imports.found import Found, Import
from casemate.imports.merge import Merged, merge
from casemate.imports.read import read
from casemate.threats.load import load, loads
from casemate.threats.schema import schema

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = sorted(p for p in ROOT.glob("examples/*/*.yaml") if re.search(r"^(casemate|extends):", p.read_text(), re.M))


def one(path: str, value: Any, file: str = "a.json", because: str = "line 1: x") -> Import:
    return Import(format="test", file=file, facts=(Found(path=path, value=value, because=because, line=1),))


def some(*facts: tuple[str, Any], file: str = "a.json", **elements: tuple[dict[str, Any], ...]) -> Import:
    found = tuple(Found(path=path, value=value, because="line 1: x", line=1) for path, value in facts)
    return Import(format="test", file=file, facts=found, elements=elements)


def changed(before: str, after: str) -> list[str]:
    """The lines that went and came, and nothing around them."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


TEXT = """\
# The fraud API.   Two spaces and a comment stay.
casemate: 1
system:
  name:   fraud   # its name
  task: binary
components:
  - id: api   # the only model
    kind: server
    model: {family: trees,   output: unknown}   # asked in March
    endpoint:
      auth: key

      # nobody has measured it
      verbose_errors: no
  - {id: store, kind: log_store}
# the end
"""


def test_missing_facts_are_filled_in_and_nothing_else_moves() -> None:
    merged = merge(
        TEXT,
        [some(
            ("$model.model.output", "score"), ("$model.model.differentiable", "no"), ("$model.endpoint.admin_exposed", "yes"),
            ("$model.provenance.parent.ref", "acme/x"), ("$model.provenance.datasets", ["a b", "c"]),
            ("store.storage.retention_days", 30), ("system.modality", "tabular"),
        )],
        name="system.yaml",
    )  # fmt: skip
    assert merged.text == """\
# The fraud API.   Two spaces and a comment stay.
casemate: 1
system:
  name:   fraud   # its name
  task: binary
  modality: {value: tabular, source: imported}
components:
  - id: api   # the only model
    kind: server
    model: {family: trees,   output: {value: score, source: imported}, differentiable: {value: no, source: imported}}   # asked in March
    endpoint:
      auth: key

      # nobody has measured it
      verbose_errors: no
      admin_exposed: {value: yes, source: imported}
    provenance:
      parent:
        ref: {value: acme/x, source: imported}
      datasets: {value: ["a b", c], source: imported}
  - {id: store, kind: log_store, storage: {retention_days: {value: 30, source: imported}}}
# the end
"""
    system = loads(merged.text)
    assert {claim.path for claim in merged.added} == set(system.sources)
    assert set(system.sources.values()) == {"imported"}
    assert system.fact("api.provenance.datasets").value == ("a b", "c")
    assert not merged.differences
    assert merged.elements == ()


def test_an_asserted_fact_is_kept_and_the_difference_shown() -> None:
    merged = merge(TEXT, [one("$model.endpoint.auth", "none", "openapi.yaml", "line 6: security")], name="system.yaml")
    assert merged.text == TEXT
    [difference] = merged.differences
    assert (difference.path, difference.stated, difference.imported) == ("api.endpoint.auth", "key", "none")
    assert difference.stated_source == "asserted"
    assert difference.stated_place == ("system.yaml", 11)
    assert (difference.imported_from, difference.because) == ("openapi.yaml", "line 6: security")
    assert "system.yaml:11" in str(difference)


@pytest.mark.parametrize("path", ["api.endpoint.auth", "$model.endpoint.auth"])
def test_an_accepted_difference_is_written(path: str) -> None:
    merged = merge(TEXT, [one("$model.endpoint.auth", "none")], name="s", accept=[path])
    assert changed(TEXT, merged.text) == ["-      auth: key", "+      auth: {value: none, source: imported}"]
    assert loads(merged.text).sources == {"api.endpoint.auth": "imported"}
    assert [d.path for d in merged.accepted] == ["api.endpoint.auth"]
    assert not merged.differences


def test_accept_names_a_difference_or_is_refused() -> None:
    for path in ("api.endpoint.aut", "api.model.family", "api.model.output"):
        with pytest.raises(UnknownName, match="no difference is called"):
            merge(TEXT, [one("$model.endpoint.auth", "none"), one("$model.model.output", "score")], name="s", accept=[path])


def test_what_agrees_is_kept() -> None:
    merged = merge(TEXT, [some(("$model.endpoint.verbose_errors", "no"), ("system.task", "binary"))], name="s")
    assert merged.text == TEXT
    assert [claim.path for claim in merged.kept] == ["api.endpoint.verbose_errors", "system.task"]


def test_importing_twice_changes_nothing() -> None:
    found = [read(HERE / "documents" / name) for name in ("README.md", "compose.yaml", "husky-ai.json", "kserve.yaml")]
    first = merge(None, found, name="s", component="triton")
    again = merge(first.text, found, name="s", component="triton")
    assert again.text == first.text
    assert not again.added
    assert not again.differences
    assert not again.elements
    assert len(again.kept) == len(first.added)


def test_two_files_that_disagree_are_both_shown_and_neither_written() -> None:
    files = [one("$model.artifact.format", "onnx", "m.onnx"), one("$model.artifact.format", "pickle", "MLmodel")]
    for imports in (files, files[::-1]):
        merged = merge(TEXT, imports, name="s")
        assert merged.text == TEXT
        [conflict] = merged.conflicts
        assert conflict.path == "api.artifact.format"
        assert {(claim.file, claim.value) for claim in conflict.claims} == {("m.onnx", "onnx"), ("MLmodel", "pickle")}
        assert "m.onnx says 'onnx'" in str(conflict)
        with pytest.raises(UnknownName):
            merge(TEXT, imports, name="s", accept=["api.artifact.format"])


OTHER = TEXT.replace("  - {id: store", "    artifact: {format: torch, path: model.pt}\n  - {id: store")
ONNX = [("$model.artifact.format", "onnx"), ("$model.artifact.path", "model.onnx"), ("$model.artifact.digest", "sha256:1"),
        ("$model.model.differentiable", "yes"), ("$model.model.family", "trees"), ("$model.endpoint.admin_exposed", "no")]  # fmt: skip


def test_facts_of_another_model_file_are_held_back() -> None:
    merged = merge(OTHER, [some(*ONNX, file="model.onnx")], name="s")
    assert [d.path for d in merged.differences] == ["api.artifact.format", "api.artifact.path"]
    assert [c.path for c in merged.added] == ["api.endpoint.admin_exposed"]  # of the service, not of the file
    held = {u.claim.path: u.why for u in merged.unplaced}
    assert held.keys() == {"api.artifact.digest", "api.model.differentiable"}
    assert all("another file" in why and "api.artifact." in why for why in held.values())
    assert loads(merged.text).component("api").artifact.digest is None


def test_a_file_that_is_accepted_is_taken_whole() -> None:
    both = ["$model.artifact.format", "api.artifact.path"]
    merged = merge(OTHER, [some(*ONNX, file="model.onnx")], name="s", accept=both)
    assert not merged.unplaced and not merged.differences
    artifact = loads(merged.text).component("api").artifact
    assert (artifact.format, artifact.path, artifact.digest) == ("onnx", "model.onnx", "sha256:1")
    half = merge(OTHER, [some(*ONNX, file="model.onnx")], name="s", accept=both[:1])
    assert "api.artifact.digest" in [u.claim.path for u in half.unplaced]
    one_fact = merge(OTHER, [some(*ONNX, file="model.onnx")], name="s", accept=["api.model.differentiable"])
    assert "api.model.differentiable" in [c.path for c in one_fact.added]


def test_the_same_digest_is_the_same_file_wherever_it_lies() -> None:
    text = TEXT.replace("  - {id: store", "    artifact: {digest: 'sha256:1', path: old/m.onnx}\n  - {id: store")
    merged = merge(text, [some(*ONNX, file="model.onnx")], name="s")
    assert [d.path for d in merged.differences] == ["api.artifact.path"]
    assert not merged.unplaced and "api.model.differentiable" in [c.path for c in merged.added]


def test_two_new_model_files_are_not_mixed_and_one_can_be_chosen() -> None:
    torch = some(("$model.artifact.format", "torch"), ("$model.model.mutators", "no"), file="dir/model.pt")
    onnx = some(("$model.artifact.format", "onnx"), ("$model.model.differentiable", "yes"), file="dir/model.onnx")
    merged = merge(TEXT, [torch, onnx], name="s")
    assert merged.text == TEXT and len(merged.conflicts) == 1 and len(merged.unplaced) == 2
    for name in ("dir/model.onnx", "model.onnx"):
        chosen = merge(TEXT, [torch, onnx], name="s", accept=[f"api.artifact.format={name}"])
        assert {c.path for c in chosen.added} == {"api.artifact.format", "api.model.differentiable"}
        assert [u.claim.path for u in chosen.unplaced] == ["api.model.mutators"] and not chosen.conflicts


def test_naming_the_file_once_settles_which_file_it_is() -> None:
    torch = some(*[(path, f"{value}2" if path != "$model.artifact.format" else "torch") for path, value in ONNX[:3]], file="model.pt")
    merged = merge(TEXT, [torch, some(*ONNX, file="model.onnx")], name="s", accept=["api.artifact.path=model.onnx"])
    artifact = loads(merged.text).component("api").artifact
    assert (artifact.format, artifact.path, artifact.digest) == ("onnx", "model.onnx", "sha256:1") and not merged.conflicts
    more = some(*ONNX, ("$model.model.output", "score"), file="d/model.onnx")
    merged = merge(OTHER, [more], name="s", accept=["api.artifact.path=model.onnx"])
    assert not merged.unplaced and not merged.differences and loads(merged.text).component("api").model.output == "score"
    stated = OTHER.replace("output: unknown", "output: label")  # what a person says of the model stays even then
    merged = merge(stated, [some(*ONNX, ("$model.model.output", "score"), file="m")], name="s", accept=["api.artifact.path=m"])
    assert [d.path for d in merged.differences] == ["api.model.output"]


def test_a_conflict_is_settled_by_naming_the_file() -> None:
    files = [one("$model.model.output", "score", "a/card.md"), one("$model.model.output", "label", "b/card.md")]
    merged = merge(TEXT, files, name="s", accept=["$model.model.output=b/card.md"])
    assert loads(merged.text).component("api").model.output == "label" and not merged.conflicts
    for wrong in ("api.model.output", "api.model.output=card.md", "api.model.output=c.md"):
        with pytest.raises(UnknownName, match=r"b/card\.md"):  # the message says how it is done
            merge(TEXT, files, name="s", accept=[wrong])


def test_a_conflict_over_a_stated_fact_replaces_it_when_settled() -> None:
    files = [one("$model.endpoint.auth", "none", "x"), one("$model.endpoint.auth", "oauth", "y")]
    merged = merge(TEXT, files, name="s", accept=["api.endpoint.auth=y"])
    assert loads(merged.text).component("api").endpoint.auth == "oauth"
    assert [d.imported for d in merged.accepted] == ["oauth"]


def test_two_files_that_agree_are_one_fact() -> None:
    files = [one("$model.provenance.datasets", ["a", "b"], "x"), one("$model.provenance.datasets", ["b", "a"], "y")]
    merged = merge(TEXT, files, name="s")
    assert len(merged.added) == 1
    assert not merged.conflicts


def test_real_files_that_disagree() -> None:
    card, model = read(HERE / "documents" / "README.md"), read(HERE / "documents" / "MLmodel")
    merged = merge(None, [card, model], name="s")
    assert [c.path for c in merged.conflicts] == ["system.modality"]
    assert loads(merged.text).modality is None


# `$model` ------------------------------------------------------------------------------------------------------------

TWO = """\
casemate: 1
system: {name: x}
components:
  - {id: a, kind: server}
  - {id: b, model: {family: nn}}
"""


def test_an_ambiguous_model_asks() -> None:
    merged = merge(TWO, [one("$model.artifact.format", "onnx")], name="s")
    assert merged.text == TWO
    [unplaced] = merged.unplaced
    assert "a, b" in unplaced.why
    assert "--component" in unplaced.why


def test_the_model_can_be_chosen() -> None:
    merged = merge(TWO, [one("$model.artifact.format", "onnx")], name="s", component="b")
    assert loads(merged.text).fact("b.artifact.format").value == "onnx"
    with pytest.raises(UnknownName, match="no component is called 'c'"):
        merge(TWO, [one("$model.artifact.format", "onnx")], name="s", component="c")


def test_the_bound_component_is_the_model() -> None:
    text = TWO.replace("{name: x}", "{name: x, target: {component: b, factory: 'm:f'}}")
    merged = merge(text, [one("$model.artifact.format", "onnx")], name="s")
    assert loads(merged.text).fact("b.artifact.format").value == "onnx"


def test_a_model_that_nobody_has_is_made() -> None:
    merged = merge(None, [one("$model.artifact.format", "onnx")], name="new.yaml")
    assert merged.text == """\
casemate: 1
system:
  name: new
components:
  # the model; edge_runtime where it runs on somebody's device
  - id: api
    kind: server
    artifact:
      format: {value: onnx, source: imported}
"""
    assert merged.elements == ("components api",)


def test_the_only_server_of_an_import_is_the_model() -> None:
    found = some(("web.kind", "server"), components=({"id": "web"}, {"id": "cache"}))
    merged = merge(None, [found, one("$model.artifact.format", "onnx", "m.onnx")], name="s")
    assert loads(merged.text).fact("web.artifact.format").value == "onnx"
    assert "components api" not in merged.elements


# Elements ------------------------------------------------------------------------------------------------------------


def test_new_elements_are_appended_each_with_its_file() -> None:
    found = some(
        ("box.kind", "server"),
        file="compose.yaml",
        principals=({"id": "caller"},),
        components=({"id": "api", "kind": "server"}, {"id": "box", "zone": "lan", "holds": ["gone"]}),
        flows=({"from": "caller", "to": "box"}, {"from": "caller", "to": "nowhere"}),
        access=({"principal": "caller", "on": "box", "unsure": ["query"]},),
        zones=({"id": "lan"},),
    )
    merged = merge(TEXT, [found], name="s")
    assert changed(TEXT, merged.text) == [
        "+  # imported from compose.yaml",
        "+  - {id: box, kind: {value: server, source: imported}, zone: {value: lan, source: imported}}",
        "+zones:",
        "+  # imported from compose.yaml",
        "+  - {id: lan}",
        "+principals:",
        "+  # imported from compose.yaml",
        "+  - {id: caller}",
        "+flows:",
        "+  # imported from compose.yaml",
        "+  - {from: caller, to: box}",
        "+access:",
        "+  # imported from compose.yaml",
        "+  - {principal: caller, on: box, unsure: {value: [query], source: imported}}",
    ]
    system = loads(merged.text)
    assert system.sources["access(caller, box).unsure"] == "imported"
    assert [claim.path for claim in merged.kept] == ["api.kind"]
    assert {str(u.claim.path): u.why for u in merged.unplaced} == {
        "flows caller->nowhere": "there is no nowhere",
        "box.holds": "there is no gone",
    }


def test_an_id_that_names_something_else_gets_another_name() -> None:
    text = TEXT.replace("components:", "principals: [{id: box}]\ncomponents:")
    found = some(("box.kind", "server"), components=({"id": "box"},), flows=({"from": "box", "to": "api"},))
    merged = merge(text, [found], name="s")
    system = loads(merged.text)
    assert system.component("box_2").kind == "server"
    assert system.flows[0].from_ == "box_2"
    assert any("this one is box_2" in note for note in merged.notes)


def test_a_flow_with_an_id_of_its_own_is_found_by_its_ends() -> None:
    text = TEXT.replace("# the end", "flows:\n  - {id: wire, from: api, to: store}\n# the end")
    merged = merge(text, [some(("api->store.channel", "https"), flows=({"from": "api", "to": "store"},))], name="s")
    assert changed(text, merged.text) == [
        "-  - {id: wire, from: api, to: store}",
        "+  - {id: wire, from: api, to: store, channel: {value: https, source: imported}}",
    ]
    assert loads(merged.text).fact("wire.channel").source == "imported"


def test_facts_without_a_place_are_told() -> None:
    facts = {
        "api.nonsense": "no field of component", "api.model.output": "is no value", "ghost.kind": "there is no ghost",
        "api.zone": "there is no moon", "system.components": "no fact is called", "api.model": "is no value",
    }  # fmt: skip
    values = {"api.model.output": "loud", "api.zone": "moon", "api.model": {"output": "score"}}
    merged = merge(TEXT, [some(*((path, values.get(path, "x")) for path in facts))], name="s")
    assert merged.text == TEXT
    told = {u.claim.path: u.why for u in merged.unplaced}
    assert told.keys() == facts.keys()
    for path, why in facts.items():
        assert why in told[path], path


# The text ------------------------------------------------------------------------------------------------------------


def filled(text: str, path: str = "$model.artifact.format", value: Any = "onnx", **more: Any) -> str:
    merged = merge(text, [one(path, value)], name="s", **more)
    assert loads(merged.text).fact(path.replace("$model", "a")).source == "imported"
    return "|".join(changed(text, merged.text))


HEAD = "casemate: 1\nsystem: {name: x}\n"


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("components:\n- id: a\n  kind: server\n", "+  artifact:|+    format: {value: onnx, source: imported}"),
        ("components:\n  - id: a\n    kind: server", "+    artifact:|+      format: {value: onnx, source: imported}"),
        ("components: [{id: a, kind: server}]\n",
         "-components: [{id: a, kind: server}]|"
         "+components: [{id: a, kind: server, artifact: {format: {value: onnx, source: imported}}}]"),
        ("components:\n- {id: a, kind: server,}\n",
         "-- {id: a, kind: server,}|+- {id: a, kind: server, artifact: {format: {value: onnx, source: imported}},}"),
        ("components:\n- id: a\n  kind: server\n  artifact:   # later\n",
         "-  artifact:   # later|+  artifact: {format: {value: onnx, source: imported}}   # later"),
        ("components:\n- id: a\n  kind: server\n  artifact: {}\n",
         "-  artifact: {}|+  artifact: {format: {value: onnx, source: imported}}"),
        ("components:\n- id: a\n  kind: server\n  artifact: {format: ~}\n",
         "-  artifact: {format: ~}|+  artifact: {format: {value: onnx, source: imported}}"),
        ("components:\n- id: a\n  kind: server\n  artifact:\n    format:\n",
         "-    format:|+    format: {value: onnx, source: imported}"),
        ("components:\n- id: a\n  kind: server\n  owner: |\n    me\n\n# tail\n",
         "+  artifact:|+    format: {value: onnx, source: imported}"),
        ("components:\n- kind: server\n  id: a\n  artifact: {value: onnx, source: asserted}\n", None),
    ],
)  # fmt: skip
def test_layouts(text: str, change: str | None) -> None:
    if change is None:  # no record: the reader refuses it, and so does the merge
        with pytest.raises(BadSystem):
            merge(HEAD + text, [one("$model.artifact.format", "onnx")], name="s")
        return
    assert filled(HEAD + text) == change


def test_line_ends_and_byte_order_mark_stay() -> None:
    text = "\ufeff" + (HEAD + "components:\n- id: a\n  kind: server\n").replace("\n", "\r\n")
    merged = merge(text, [one("$model.artifact.format", "onnx")], name="s")
    assert merged.text == text + "  artifact:\r\n    format: {value: onnx, source: imported}\r\n"


def test_json_stays_json() -> None:
    text = json.dumps({"casemate": 1, "system": {"name": "x"}, "components": [{"id": "a", "kind": "server"}]}, indent=2)
    found = [some(("$model.artifact.format", "onnx"), ("a.provenance.datasets", ['q"\u2028']), zones=({"id": "lan"},))]
    merged = merge(text, found, name="s")
    data = json.loads(merged.text)
    assert data["components"][0]["artifact"] == {"format": {"value": "onnx", "source": "imported"}}
    assert data["zones"] == [{"id": "lan"}]
    assert loads(merged.text).component("a").provenance.datasets == ('q" ',)  # type: ignore[union-attr]


def test_a_part_that_aliases_share_is_not_written_into() -> None:
    text = HEAD + "components:\n- {id: a, kind: server, artifact: &f {signed: no}}\n- {id: b, artifact: *f}\n"
    merged = merge(text, [some(("a.artifact.format", "onnx"), ("b.model.output", "score"), ("b.owner", "me"))], name="s")
    [unplaced] = merged.unplaced
    assert unplaced.claim.path == "a.artifact.format"
    assert "alias" in unplaced.why
    # An alias is marked where its anchor is; what is added behind it must not land there.
    assert changed(text, merged.text) == [
        "-- {id: b, artifact: *f}",
        "+- {id: b, artifact: *f, owner: {value: me, source: imported}, model: {output: {value: score, source: imported}}}",
    ]


def test_behind_an_alias_in_a_block() -> None:
    text = HEAD + "components:\n- id: b\n  artifact: &f\n    signed: no\n- id: a\n  kind: server\n  artifact: *f\n# z\n"
    assert filled(text, "a.owner", "me") == "+  owner: {value: me, source: imported}"


def test_an_overlay_gets_what_its_base_lacks() -> None:
    folder = ROOT / "examples" / "cheques"
    text = (folder / "server.yaml").read_text()
    found = [some(("$model.model.precision_digits", 3), ("booking.decision.appeals", "yes"), ("$model.model.family", "trees"))]
    merged = merge(text, found, name="server.yaml", folder=str(folder))
    assert changed(text, merged.text) == [
        "-    model: {output: label}",
        "+    model: {output: label, precision_digits: {value: 3, source: imported}}",
        "+  - id: booking",
        "+    decision:",
        "+      appeals: {value: yes, source: imported}",
    ]
    [difference] = merged.differences
    assert difference.stated_place[0].endswith("base.yaml")
    taken = merge(text, found, name="server.yaml", folder=str(folder), accept=["reader.model.family"])
    assert loads(taken.text, folder=str(folder)).fact("reader.model.family").value == "trees"


def test_what_an_overlay_takes_out_is_not_put_back(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(HEAD + "components: [{id: a, kind: server}, {id: b}]\n")
    text = "extends: base.yaml\ncomponents: [{id: b, remove: yes}]\n"
    merged = merge(text, [some(("b.kind", "ci"), components=({"id": "b"},))], name="s", folder=str(tmp_path))
    assert merged.text == text
    assert any("takes it out" in u.why for u in merged.unplaced)


def test_no_parent_and_an_imported_parent_differ() -> None:
    text = HEAD + "components:\n- id: a\n  kind: server\n  provenance: {parent: none}   # from scratch\n"
    found = [some(("$model.provenance.parent.ref", "acme/x"), ("$model.provenance.parent.public", "yes"))]
    merged = merge(text, found, name="s")
    assert [(d.path, d.stated) for d in merged.differences] == [
        ("a.provenance.parent.ref", "none"), ("a.provenance.parent.public", "no"),
    ]  # fmt: skip
    assert merged.text == text
    taken = merge(text, found, name="s", accept=[d.path for d in merged.differences])
    assert changed(text, taken.text)[1].endswith("source: imported}}}   # from scratch")
    assert loads(taken.text).fact("a.provenance.parent.public").source == "imported"


def test_a_whole_list_is_replaced_when_accepted() -> None:
    text = HEAD + "components:\n- id: a\n  kind: server\n  provenance:\n    datasets:\n    - x\n    - y\n    trained_by: us\n"
    merged = merge(text, [one("a.provenance.datasets", ["z"])], name="s", accept=["a.provenance.datasets"])
    assert changed(text, merged.text) == [
        "-    datasets:", "-    - x", "-    - y", "+    datasets: {value: [z], source: imported}",
    ]  # fmt: skip


def test_hostile_values_come_back_as_they_were_but_on_one_line() -> None:
    for value in ('"}]', "a: b # c", "\x1b[31m\x00", "no", "null", "1e3", "- x", "é😀", "\u2028\ufeff", "*a", "{{x}}", " ", "\\"):
        for text in (TEXT, json.dumps({"casemate": 1, "system": {"name": "x"}, "components": [{"id": "api", "kind": "server"}]})):
            merged = merge(text, [one("$model.provenance.trained_by", value)], name="s")
            kept = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in value)
            assert loads(merged.text).fact("api.provenance.trained_by").value == kept


def test_a_hostile_file_name_stays_in_its_comment() -> None:
    found = some(file="x\ncomponents: []\n# \x1b[31m\u2028y: 1", components=({"id": "b"},))
    merged = merge(TEXT, [found], name="s")
    assert [c.id for c in loads(merged.text).components] == ["api", "store", "b"]


def test_hostile_names_of_a_new_description() -> None:
    for name in ("a b.yaml", "", "x: y", "no", '"', "/tmp/deep/fraud.yaml", "1"):
        assert loads(merge(None, [], name=name).text).name


def test_a_broken_description_is_told_as_ever() -> None:
    with pytest.raises(BadSystem, match=r"s\.yaml:2"):
        merge("casemate: 1\nsystem: {nam: x}\n", [], name="s.yaml")


# Properties ----------------------------------------------------------------------------------------------------------


def stated(system: System) -> dict[str, Any]:
    out = {}
    for path in system.places:
        if path and "[" not in path and "(" not in path and path != "system":
            try:
                value = system.fact(path).value
            except UnknownName:
                continue
            if value is not UNKNOWN and "->" not in path:
                out[path] = value
    return out


def nothing_is_lost(before: str, merged: Merged, folder: str = "") -> None:
    old, new = loads(before, folder=folder), loads(merged.text, folder=folder)
    now = stated(new)
    for path, value in stated(old).items():
        if not hasattr(value, "__dataclass_fields__"):
            assert now[path] == value, path
            assert new.sources.get(path, "asserted") == old.sources.get(path, "asserted")
    for claim in merged.added:
        assert new.sources[claim.path] == "imported"
    # Each line of the text is still there, in its order, at most with something put in.
    lines = iter(merged.text.splitlines())
    for line in before.splitlines():
        assert any(is_within(line, other) for other in lines), line


def is_within(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_the_shipped_examples_keep_every_byte(path: Path) -> None:
    text = path.read_text()
    system = load(path)  # a public system binds no target
    model = system.target[0].component if system.target else next(c.id for c in system.components if c.model)
    names = ("README.md", "openapi.yaml", "compose.yaml", "husky-ai.json", "kserve.yaml")
    merged = merge(text, [read(HERE / "documents" / name) for name in names], name=path.name, folder=str(path.parent))
    assert merged.added
    unknown = [line for line in text.splitlines() if "unknown" in line]
    if not unknown:
        nothing_is_lost(text, merged, str(path.parent))
    assert any(claim.path.startswith(f"{model}.") for claim in (*merged.added, *merged.kept))


words = st.sampled_from(["a", "b c", "no", "é", "x: y", "#", "'", '"', "1", "[", "- "])
comments = st.sampled_from(["", "  # note: {x}", " #", "   "])


@st.composite
def descriptions(draw: st.DrawFn) -> str:
    """Descriptions in every mixture of block and flow style, with comments, blank lines and odd indents."""
    dash = " " * draw(st.integers(0, 3))
    lines = ["casemate: 1" + draw(comments), draw(st.sampled_from(["", "# head", "---"]))]
    if lines[1] == "---":
        lines = lines[::-1]
    lines += ["system: {name: x}" + draw(comments)] if draw(st.booleans()) else ["system:", "   name: x" + draw(comments)]
    lines += [draw(st.sampled_from(["", "# between"])), "components:" + draw(comments)]
    for id in ("a", "b"):
        kind = "server" if id == "a" else "ci"
        if draw(st.booleans()):
            extra = draw(st.sampled_from(["", ", model: {}", ", artifact: {signed: yes}", ', owner: "o, }"', ", endpoint: ", ","]))
            lines.append(f"{dash}- {{id: {id}, kind: {kind}{extra}}}" + draw(comments))
        else:
            pad = dash + " " * draw(st.integers(2, 4))
            lines.append(dash + "-" + pad[len(dash) + 1 :] + f"id: {id}" + draw(comments))
            lines += [draw(st.sampled_from(["", pad + "# inside", "# left"])), f"{pad}kind: {kind}" + draw(comments)]
            lines += draw(st.sampled_from([
                [], [f"{pad}artifact:", f"{pad} signed: yes"], [f"{pad}owner: >", f"{pad}  me", ""],
                [f"{pad}artifact:", f"{pad}  {{signed: no,", f"{pad}   digest: x}}"], [f"{pad}model:"],
                [f"{pad}provenance:", f"{pad}  datasets:", f"{pad}  - 'q'", f"{pad}  -  r # s"],
            ]))  # fmt: skip
    lines += [draw(st.sampled_from(["", "# tail", "zones: []", "zones:", "zones: [{id: z}] # zz", "zones:\n- id: z"]))]
    end = draw(st.sampled_from(["", "\n", "\n\n# end\n"]))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + end


@st.composite
def imports(draw: st.DrawFn) -> list[Import]:
    fact = st.sampled_from([
        ("$model.artifact.format", "onnx"), ("$model.model.output", "score"), ("a.owner", draw(words)), ("b.owner", draw(words)),
        ("b.workspace.secrets_in_plain", "yes"), ("b.provenance.datasets", [draw(words), "k"]), ("new.kind", "ci"),
        ("$model.endpoint.rate_limit.n", 5), ("a.artifact.signed", "no"), ("system.task", "binary"), ("new->a.channel", "file"),
        ("lan.trust", "public"), ("b.zone", "lan"),
    ])  # fmt: skip
    facts = draw(st.lists(fact, max_size=8, unique_by=lambda f: f[0].replace("$model", "a")))
    elements = {"components": ({"id": "new"},), "flows": ({"from": "new", "to": "a"},), "zones": ({"id": "lan"},)}
    return [some(*facts, **(elements if draw(st.booleans()) else {}))]


@settings(max_examples=250, deadline=None)
@given(descriptions(), imports())
def test_nothing_is_lost_in_any_layout(text: str, found: list[Import]) -> None:
    nothing_is_lost(text, merge(text, found, name="s"))


# The language --------------------------------------------------------------------------------------------------------


def test_lists_and_words_for_records_carry_a_source() -> None:
    text = HEAD + (
        "components:\n- id: a\n  provenance: {parent: {value: none, source: imported}, datasets: {value: [p, q], source: measured}}\n"
    )
    system = loads(text)
    assert system.component("a").provenance.parent == "none"  # type: ignore[union-attr]
    assert system.component("a").provenance.datasets == ("p", "q")  # type: ignore[union-attr]
    assert system.sources == {"a.provenance.parent": "imported", "a.provenance.datasets": "measured"}
    with pytest.raises(BadSystem, match="expected asserted, imported, measured"):
        loads(text.replace("measured", "guessed"))


def test_a_parent_with_a_source_field_is_still_a_record() -> None:
    system = loads(HEAD + "components: [{id: a, provenance: {parent: {source: the hub}}}]\n")
    assert system.fact("a.provenance.parent.source").value == "the hub"


def test_the_schema_accepts_what_a_merge_writes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    text = json.dumps({"casemate": 1, "system": {"name": "x"}, "components": [{"id": "a", "kind": "server"}]})
    found = [read(HERE / "documents" / name) for name in ("README.md", "compose.yaml")]
    merged = merge(text, [*found, one("a.provenance.trained_by", "us")], name="s")
    jsonschema.validate(json.loads(merged.text), schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(merged.text.replace('"source": "imported"', '"source": "guessed"')), schema())
