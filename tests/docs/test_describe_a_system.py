"""The page on describing a system: its dialogue is what the program says, and its lines give the threats it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from casemate.app.init import init
from casemate.threats.derive import derive
from casemate.threats.load import load

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
TEXT = (HOWTO / "describe-a-system.md").read_text(encoding="utf-8")


@pytest.fixture
def told(tmp_path, monkeypatch):
    """The dialogue as the page prints it, as the program does, and the file it leaves."""
    (shown,) = re.findall(r"```\n\$ casemate init shop\.yaml --ask\n(.*?)```", TEXT, re.S)
    answers = re.findall(r"^> (.*)$", shown, re.M)
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(init, ["shop.yaml", "--ask"], input="".join(f"{a}\n" for a in answers), standalone_mode=False)
    assert found.exception is None
    return shown.splitlines(), [line for line in found.output.splitlines() if line][1:], tmp_path / "shop.yaml"


def test_the_dialogue_is_what_the_program_says(told):
    shown, said, _ = told
    assert said == shown


def test_the_second_principal_poisons_as_the_page_says(told):
    path = told[2]
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    before, text = {t.rule for t in derive(load(path)).threats}, path.read_text()
    for section, lines in re.findall(r"^(\w+):\n((?:  .*\n)+)", block, re.M):
        assert f"\n{section}:\n" in text
        text = text.replace(f"\n{section}:\n", f"\n{section}:\n{lines}", 1)
    path.write_text(text)
    found = derive(load(path)).threats
    named = set(re.search(r"then lists (.*?) for", TEXT)[1].replace(" and", ",").split(", "))
    assert {t.rule for t in found if t.principal == "bureau"} - before == named
    assert {t.adversary.budget.records for t in found if t.rule in named} == {200}


def test_links_lead_somewhere_and_lines_are_short():
    assert all((HOWTO / link).resolve().is_file() for link in re.findall(r"\]\(([^)#]+)", TEXT))
    assert max(map(len, TEXT.splitlines())) <= 130
