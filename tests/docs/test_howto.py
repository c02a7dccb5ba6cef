"""The code of the how-to pages runs as it is printed, and the pages stay one screen long."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
PAGES = ("write-an-attack.md", "write-a-control.md", "write-a-goal.md", "account-for-a-decision.md")


@pytest.fixture
def clean():
    """What a page registers is known to its own test only."""
    from casemate.core.attack import attacks
    from casemate.core.control import controls

    yield
    for registry in (attacks, controls):
        for id in [id for id, kind in registry._items.items() if kind.__module__ == "page"]:
            del registry._items[id]
    sys.modules.pop("page", None)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("clean")
def test_every_block_of_code_runs(page):
    text = (HOWTO / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert blocks
    module = ModuleType("page")
    sys.modules["page"] = module
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"{page}, block {number}", "exec"), module.__dict__)


def test_the_rule_of_the_page_is_ten_lines_and_its_fixtures_pass(tmp_path):
    """Fewer than ten lines, in fact; and `casemate threats test` says so."""
    from casemate.threats.fixtures import cases, run
    from casemate.threats.rules import catalogue, read_packs

    blocks = re.findall(r"```yaml\n(.*?)```", (HOWTO / "write-a-rule.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 2 and blocks[0].count("\n") <= 10
    (tmp_path / "acme.yaml").write_text("".join(blocks))
    (rule,) = read_packs([tmp_path], taken=catalogue())
    outcomes = list(run(rule, cases(rule, tmp_path)))
    assert [o.case.kind for o in outcomes] == ["fires", "silent", "asks"] and not any(o.problem for o in outcomes)


@pytest.mark.parametrize("page", [*PAGES, "write-a-rule.md"])
def test_one_screen(page):
    lines = (HOWTO / page).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 130
