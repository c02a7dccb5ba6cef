"""Files: whole or not at all, and one failure stops no other."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from casemate.core.errors import UnknownName
from casemate.report import _files
from casemate.report.write import FORMATS, NotWritten, expanded, write

from . import cases


def test_every_format_is_written(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    found = write(cases.overlays(), tmp_path / "new" / "folder", tuple(FORMATS))
    assert {name: path.name for name, path in found.items()} == {name: file for name, (file, _) in FORMATS.items()}
    assert all(path.stat().st_size > 500 for path in found.values())
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(path.name for path in found.values())
    assert stat.S_IMODE(found["html"].stat().st_mode) & 0o400


def test_one_failure_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("no ink")

    monkeypatch.setitem(FORMATS, "html", ("report.html", broken))
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(NotWritten, match="no ink") as caught:
        write(cases.overlays(), tmp_path)
    assert set(caught.value.written) == {"json", "md"}
    assert set(caught.value.failures) == {"html"}
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_full_disk_is_one_clear_error_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os, "fsync", full)
    (tmp_path / "report.md").write_text("old")
    with pytest.raises(NotWritten, match="the disk is full; html, json, md not written") as caught:
        write(cases.overlays(), tmp_path)
    assert str(caught.value).count("full") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["report.md"]
    assert (tmp_path / "report.md").read_text() == "old"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(NotWritten, match="taken"):
        write(cases.overlays(), tmp_path / "taken")


def test_an_unknown_format_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'html'"):
        write(cases.overlays(), tmp_path, ("htm",))
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_name_never_becomes_a_path(tmp_path: Path) -> None:
    write([cases.assessment("../../evil")], tmp_path / "here")
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


def test_csv_is_a_row_for_each_finding_and_rows_are_those_that_were_attacked(tmp_path: Path) -> None:
    one = cases.derived_only()
    found = write([one], tmp_path, ("csv", "rows"))
    assert (found["csv"].name, found["rows"].name) == ("threats.csv", "rows.csv")
    assert len(found["csv"].read_text().splitlines()) == 1 + len(one.findings)
    assert len(found["rows"].read_text().splitlines()) == 1  # nothing was attacked


def test_all_is_every_format_but_parquet() -> None:
    assert set(expanded("all").split(",")) == set(FORMATS) - {"parquet"}
    assert expanded(" all , parquet").split(",")[-1].strip() == "parquet"
    assert expanded("html,csv") == "html,csv"


def test_the_table_of_formats_is_complete() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "outputs.md").read_text(encoding="utf-8")
    for name, (file, _) in FORMATS.items():
        assert f"| `{name}` | `{file}` |" in text, name
