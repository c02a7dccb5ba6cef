"""What lies beside a description and decides what its functions do."""

import pytest

from casemate.core.identity import SMALL, hash_code


@pytest.mark.parametrize("name", ["config.json", "deep/params.yaml", "a.toml", "words.txt", "rows.CSV", "bind.py"])
def test_an_edited_data_file_is_other_code_regression(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("threshold: 1")
    before = hash_code(tmp_path)
    path.write_text("threshold: 2")
    assert hash_code(tmp_path) != before


def test_what_is_no_code_does_not_count(tmp_path):
    (tmp_path / "bind.py").write_text("x = 1")
    before = hash_code(tmp_path)
    for name in (".casemate/a.json", ".cache/a.csv", "assessment/report.json", "assessment/rows.csv", "out/report.html", "out/x.json", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "big.csv").write_bytes(b"1" * (SMALL + 1))
    (tmp_path / "system.yaml").write_text("# ours\ncasemate: 1\n")
    (tmp_path / "device.yaml").write_text("extends: system.yaml\n")
    (tmp_path / "rows.csv").write_text("1")  # a report's own, where the folder itself is the place for reports
    assert hash_code(tmp_path) == before
