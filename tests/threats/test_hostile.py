"""Files that are made to hang, to leak or to forge: each is refused, in one message that repeats little of what it holds."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from casemate.core.errors import BadSystem, Problem
from casemate.threats import rules
from casemate.threats.expressions import BadRule
from casemate.threats.load import load, loads
from casemate.threats.nodes import read, told
from casemate.threats.reader import MAX_DEPTH, MAX_EXISTS
from casemate.threats.rules import catalogue, read_packs, read_rules

HEAD = "casemate: 1\nsystem: {name: x}\n"
RULE = "id: ZZ-01\ntitle: T\neach: model\nadversary: anyone\nexplain: x {c}\napplies_when: %s\n"
SECRET = "root:x:0:0:top-secret"


def refused(text: str, **more: str) -> str:
    with pytest.raises(BadSystem) as caught:
        loads(text, name="d.yaml", **more)
    return str(caught.value)


def refused_rule(folder: Path, text: str) -> str:
    file = folder / "rule.yaml"
    file.write_text(text)
    with pytest.raises(BadRule) as caught:
        read_rules([file])
    return str(caught.value)


# What never ends


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_regular_file_and_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(BadSystem, match="is no regular file"):
        load(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", tmp_path):
        with pytest.raises(BadRule, match="is no regular file"):
            read_packs([path])


def test_a_device_is_no_regular_file() -> None:
    with pytest.raises(BadSystem, match="is no regular file"):
        read(Path(os.devnull), "null")


def exists(depth: int) -> str:
    inner = f"{{path: $v{depth}.kind, is: server}}"
    for n in range(depth, 0, -1):
        inner = f"{{exists: v{n}, among: components, of: ${f'v{n - 1}' if n > 1 else 'c'}, where: {inner}}}"
    return inner


def test_exists_within_exists_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "fine.yaml"
    file.write_text(RULE % exists(MAX_EXISTS))
    assert read_rules([file])[0].id == "ZZ-01"
    assert f"no more than {MAX_EXISTS} can be nested" in refused_rule(tmp_path, RULE % exists(MAX_EXISTS + 1))


def test_expressions_are_nested_only_so_deep(tmp_path: Path) -> None:
    def nots(depth: int) -> str:
        return "{not: " * depth + "{path: $c.kind, is: server}" + "}" * depth

    file = tmp_path / "fine.yaml"
    file.write_text(RULE % nots(MAX_DEPTH - 1))
    assert read_rules([file])
    assert "nested deeper than" in refused_rule(tmp_path, RULE % nots(MAX_DEPTH))


# What is not ours to repeat


def test_a_file_that_is_no_rule_is_not_repeated(tmp_path: Path) -> None:
    for text in (SECRET, f"- {SECRET}", f'password: "{SECRET}"', f'{{"{SECRET}": 1}}'):
        said = refused_rule(tmp_path, text)
        assert "is no rule file" in said and "secret" not in said and "password" not in said


def test_a_file_that_is_no_description_is_not_repeated(tmp_path: Path) -> None:
    for text in (SECRET, f"- {SECRET}", f'password: "{SECRET}"'):
        (tmp_path / "other.yaml").write_text(text)
        for key in ("extends", "includes"):
            said = refused(f"{key}: other.yaml\n{HEAD}", folder=str(tmp_path))
            assert "is no description" in said and "secret" not in said and "password" not in said


@pytest.mark.parametrize("path", ["/etc/passwd", "C:/secrets.yaml", "C:secrets.yaml", "\\\\host\\share"])
def test_a_description_names_no_absolute_path(path: str) -> None:
    for key in ("extends", "includes"):
        assert "expected a path relative" in refused(f"{key}: '{path}'\n{HEAD}")
    said = refused(f"casemate: 1\nsystem:\n  name: x\n  rules: ['{path}']\n")
    assert said.startswith("d.yaml:4: rules: expected a path relative")


def test_a_shared_folder_above_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "shared.yaml").write_text("zones: [{id: web, trust: public}]\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "system.yaml").write_text(f"includes: [../shared.yaml]\n{HEAD}")
    assert load(tmp_path / "own").zones[0].id == "web"


def test_messages_hold_only_the_start_of_a_value(tmp_path: Path) -> None:
    long = "x" * 5_000
    texts = [f"casemate: {long}\nsystem: {{name: x}}\n", f"{HEAD}components: [{long}]\n", f"extends: [{long}]\n{HEAD}"]
    for text in texts:
        assert len(refused(text)) < 400
    for text in (RULE % long, RULE % f"{{path: {long}, is: 1}}", RULE % f"{{{long}: 1}}"):
        assert len(refused_rule(tmp_path, text)) < 600
    assert told("a" * 80) == repr("a" * 80)[:80] + "..." or len(told("a" * 80)) <= 83


def test_a_login_in_an_address_is_not_kept() -> None:
    parent = "{parent: {ref: 'https://u:hunter2@host/m', public: yes}}"
    system = loads(f"{HEAD}components: [{{id: api, kind: server, provenance: {parent}}}]\n")
    found = system.component("api").provenance
    assert found is not None and "hunter2" not in repr(system) and "https://***@host/m" in repr(found)


# What no one can calculate with


@pytest.mark.parametrize("number", ["9" * 5_000, "1e400", "-1e400", "9" * 31])
def test_numbers_are_bounded_where_they_are_read(tmp_path: Path, number: str) -> None:
    assert refused(f"{HEAD}principals: [{{id: p, kind: anonymous, count: {number}}}]\n").startswith("d.yaml:3: number: ")
    assert "rule.yaml:6: number: " in refused_rule(tmp_path, RULE % f"{{affords: {number}}}")


def test_what_only_looks_like_a_number_is_a_word() -> None:
    assert loads("casemate: 1\nsystem: {name: 1__0, version: '9999999999999999999999999999999999'}\n").name == "1__0"


# What could pass for a line of ours


@pytest.mark.parametrize("char", ["\\n", "\\r", "\\t", "\\e", "\\0", "\\L"])
def test_a_name_is_one_line(char: str) -> None:
    name = f'"a{char}::error::x"'
    for text in (
        f"casemate: 1\nsystem: {{name: {name}}}\n", f"{HEAD}components: [{{id: a, kind: server, owner: {name}}}]\n",
        f"{HEAD}zones: [{{id: {name}, trust: public}}]\n",
    ):  # fmt: skip
        said = refused(text)
        assert "control character" in said and not any(line.startswith("::") for line in said.split("\n"))


def test_a_key_that_nobody_knows_begins_no_line_of_its_own() -> None:
    assert not any(line.startswith("::") for line in refused(f'{HEAD}"a\\n::error::x": 1\n').splitlines())
    assert "\n" not in str(Problem("f", 1, "a\n::error::", "b\r\n", "c\n"))


def test_prose_may_have_lines() -> None:
    system = loads('casemate: 1\nsystem: {name: x, description: "one\\ntwo"}\nassumptions: [{text: "a\\nb"}]\n')
    assert system.description == "one\ntwo" and system.assumptions[0].text == "a\nb"


# Packs


@pytest.fixture
def pack(monkeypatch: pytest.MonkeyPatch):
    """Installs an entry point for the time of a test."""

    def install(value: str) -> None:
        entry = metadata.EntryPoint(name="acme", value=value, group=rules.GROUP)
        monkeypatch.setattr(rules.metadata, "entry_points", lambda group: [entry])
        catalogue.cache_clear()

    yield install
    monkeypatch.undo()
    catalogue.cache_clear()


@pytest.mark.parametrize("body", [
    "raise RuntimeError('boom')", "import sys; sys.exit(0)", "pack = 3", "import nothing_of_this_name",
    "def pack(): raise SystemExit(0)", "pack = '/no/such/folder'", "",
])  # fmt: skip
def test_a_pack_that_fails_is_a_bad_rule_that_names_it(tmp_path: Path, monkeypatch, pack, body: str) -> None:
    (tmp_path / "acme_pack.py").write_text(body + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_pack", raising=False)
    pack("acme_pack:pack")
    with pytest.raises(BadRule, match="acme"):
        catalogue()
    sys.modules.pop("acme_pack", None)


def test_a_missing_pack_is_a_bad_rule_and_an_interrupt_is_none(tmp_path: Path, monkeypatch, pack) -> None:
    pack("there_is_no_such_module:pack")
    with pytest.raises(BadRule, match="there_is_no_such_module"):
        catalogue()
    (tmp_path / "acme_stop.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    pack("acme_stop:pack")
    with pytest.raises(KeyboardInterrupt):
        catalogue()


def test_an_empty_folder_of_rules_is_told_and_yml_is_read(tmp_path: Path) -> None:
    with pytest.raises(BadRule, match="holds no rules"):
        read_packs([tmp_path])
    (tmp_path / "a.yml").write_text(RULE % "{path: $c.kind, is: server}")
    assert [rule.id for rule in read_packs([tmp_path])] == ["ZZ-01"]
