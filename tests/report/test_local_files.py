"""What is written to files: nothing of this machine's folders, nothing over a file that is protected, links stay links."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from casemate.report import as_json, html, markdown
from casemate.report._files import replace_file
from casemate.report.machine import local, seen
from casemate.report.words import clean, line
from casemate.runs.derived import derived

YAML = """\
casemate: 1
system: {name: x}
zones: [{id: web, trust: public}]
principals: [{id: eve, kind: anonymous, zone: web}]
components: [{id: api, kind: server, model: {output: label}, endpoint: {auth: none, rate_limit: none}}]
access: [{principal: eve, on: api, can: [query, see_label]}]
"""


def test_files_are_told_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside = str(tmp_path / "a" / "b.yaml")
    assert [seen(f) for f in (inside, "a/b.yaml", "../b.yaml", "/else/where/b.yaml")] == ["a/b.yaml", "a/b.yaml", "b.yaml", "b.yaml"]
    assert [seen(f) for f in ("the system", "<python>", "")] == ["the system", "<python>", ""]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_no_absolute_path_is_in_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool) -> None:
    home, other = tmp_path / "home-of-mine", tmp_path / "other"
    home.mkdir(), other.mkdir()
    (home / "system.yaml").write_text(YAML)
    monkeypatch.chdir(other if elsewhere else home)
    found = derived(home / "system.yaml")[1]
    assert found.findings
    found = replace(found, warnings=(*found.warnings, f"{home}/dispositions.yaml:3: an orphan"))
    for module in (html, markdown, as_json):
        page = module.render([found])
        assert "home-of-mine" not in page and "system.yaml" in page, module
    assert local(found).reproduce == "casemate threats system.yaml"
    assert {f.file for f in local(found).findings if f.file} == {"system.yaml"}


def test_a_file_that_is_read_only_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "kept.md"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="read-only"):
        replace_file(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["kept.md"]


def test_a_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "real.md", tmp_path / "link.md"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to("real.md")
    replace_file(link, "new")
    assert link.is_symlink() and path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o640
    (tmp_path / "gone.md").symlink_to("made.md")
    replace_file(tmp_path / "gone.md", "new")
    assert (tmp_path / "gone.md").is_symlink() and (tmp_path / "made.md").read_text() == "new"


def test_a_device_stays_one() -> None:
    replace_file(Path(os.devnull), "gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_line_is_one_line() -> None:
    assert line("a\n::error::\tb\rc") == "a\\n::error::\\tb\\x0dc" and line("a b é") == "a b é"
    assert clean("a\nb\tc") == "a\nb\tc"  # text of several lines stays as it is where it may be
