"""What the pages about decisions, gates and taxonomies show is read as it stands there, and their tables are the code's."""

import datetime
import re
from pathlib import Path

from casemate.runs.changes import CATEGORIES
from casemate.runs.derived import derived
from casemate.runs.disposed import apply
from casemate.runs.gate import Question, gate
from casemate.runs.gate_policy import RULES, policy_of
from casemate.threats.dispositions import dispositions_of
from casemate.threats.taxonomy import outlook

PAGES = Path(__file__).resolve().parents[2] / "docs" / "reference"
GATE = (PAGES / "gate.md").read_text(encoding="utf-8")


def rows(head):
    """The cells of the table under this head."""
    table = GATE.partition(f"{head}\n")[2].partition("\n\n")[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def test_the_files_on_the_page_are_read():
    decided, policy = re.findall(r"```yaml\n(.*?)```", GATE, re.S)
    assert len(dispositions_of(decided, datetime.date(2026, 6, 1))) == 2
    assert policy_of(policy)["cost_drop_percent"].at == 10


def test_the_decisions_on_the_page_fit_the_example_that_it_names():
    decided = re.findall(r"```yaml\n(.*?)```", GATE, re.S)[0]
    (example,) = re.findall(r"This one fits\n`(.*?)`:\n\n```yaml\n" + re.escape(decided), GATE)
    today = datetime.date(2026, 6, 1)
    one = derived(PAGES.parents[1] / example)[1]
    dispositions = dispositions_of(decided, today)
    by = {f.disposed.disposition.threat for f in apply(one, dispositions, today).findings if f.disposed}
    assert by == {d.threat for d in dispositions}
    ruling = gate(Question(pairs=[(one, None)], dispositions=dispositions, today=today))
    assert not {o.rule for o in ruling.objections} & {"orphaned", "expired", "violated", "max_days"}


def test_the_table_of_rules_is_current():
    assert rows("| rule | default | an objection to |") == [
        [name, setting.then + ("" if setting.at is None else f" at {setting.at}"), text] for name, (setting, text) in RULES.items()
    ]


def test_every_category_has_its_row():
    head = "## casemate diff BEFORE AFTER"
    names = re.findall(r"^\| (\w+) \|", GATE.partition(head)[2].partition("## casemate gate")[0], re.M)
    assert names == ["category", *CATEGORIES]


def test_the_successors_are_the_known_ones():
    page = (PAGES / "taxonomies.md").read_text(encoding="utf-8")
    for old, new in outlook()["retired"].items():
        assert f"{old} -> {new}" in page
