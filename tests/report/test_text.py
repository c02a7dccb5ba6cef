"""Terminal, Markdown, JSON and rows: hostile text, redaction, the same output every time."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from casemate.core.errors import MissingExtra, UnknownName
from casemate.core.evidence import Cost, Status
from casemate.report import as_json, charts, html, markdown, rows, terminal
from casemate.report.hardening import hardening
from casemate.report.personal import REDACTED

from . import cases

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printed(renderable: object, width: int = 100) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(renderable)
    return out.getvalue()


def test_the_summary_counts_and_names_three_findings() -> None:
    text = " ".join(printed(terminal.summary(cases.overlays())).split())
    assert "4 threats derived ✕ 1 broken ✓ 1 resisted ! 1 inconclusive ○ 1 untested ? 1 undecided" in text
    assert "high: cheques-device: customer, from internet, changes decisions of reader" in text
    assert "conflict: reader: the description says label" in text
    assert text.count("EV-04") == 0  # only the first three


def test_the_details_name_attacks_failed_checks_and_questions() -> None:
    text = printed(terminal.details(cases.assessment()), 160)
    for part in (
        "evasion.hopskipjump",
        "check 11, finished optimising",
        "Is the model file of reader signed?",
        "no recipe",
        "casemate assess",
    ):
        assert part in text, part


def test_a_terminal_is_never_steered() -> None:
    for renderable in (terminal.summary([cases.hostile()]), terminal.details(cases.hostile())):
        text = printed(renderable)
        assert not CONTROL.search(text)
        assert "[bold red]markup" in " ".join(text.split())  # shown, not obeyed


def test_markdown_escapes_every_name() -> None:
    text = markdown.render([cases.hostile()])
    assert not CONTROL.search(text)
    assert "<script" not in text
    assert "<img" not in text
    assert "](javascript" not in text
    assert "\\*\\*b\\*\\*" in text


def test_markdown_has_the_parts_and_valid_tables() -> None:
    text = markdown.render(cases.overlays())
    for part in (
        "## Read first",
        "### Decisions",
        "### Findings",
        "### Open questions",
        "### Not tested, and why",
        "### Hardening",
    ):
        assert part in text, part
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def test_the_hardening_table_pairs_before_and_after() -> None:
    change = {"threat": "EV-02@r#c", "before": "broken", "after": "resisted", "cost_before": "90 queries", "cost_after": ""}
    row = {"control": "service.labels_only", "note": "", "changes": [change], "cost_before": "", "cost_after": "> 150 queries"}
    numbers = {"accuracy_before": 0.97, "accuracy_after": None, "latency_ms_before": 0.3312, "latency_ms_after": 0.4}
    head, rows_ = hardening([row | numbers])
    assert head == ("control", "cost", "accuracy", "latency ms", "changes")
    assert rows_[0][1:] == (
        "none → > 150 queries", "97.0% → not shown", "0.331 → 0.4", "EV-02@r#c: broken (90 queries) → resisted",
    )  # fmt: skip
    same = {**numbers, "latency_same": True, "control": "b"}
    assert hardening([row | numbers, same])[0].count("latency ms") == 1
    assert hardening([]) == ((), ())


def test_json_is_strict_ascii_and_backed_by_ids() -> None:
    text = as_json.render([*cases.overlays(), cases.hostile()])
    assert text.isascii()
    data = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert data["format"] == as_json.FORMAT
    found = data["assessments"][1]["findings"][0]
    assert found["evidence"][0]["id"] in found["sentence"]
    assert data["assessments"][1]["digest"] == cases.overlays()[1].digest()


@pytest.mark.parametrize("render", [markdown.render, as_json.render, rows.to_csv])
def test_the_same_assessments_give_the_same_text(render: object) -> None:
    assert render(cases.overlays()) == render(cases.overlays())


def test_json_redacts_columns_about_people() -> None:
    one = replace(cases.assessment(), personal=True)
    hidden = json.loads(as_json.render([one]))["assessments"][0]
    held = hidden["findings"][0]["evidence"][0]["rows"]
    assert hidden["redacted"] is True
    assert held["truth"] == held["label_before"] == held["label_after"] == REDACTED
    assert len(held["broken"]) == 100
    shown = json.loads(as_json.render([one], show_personal=True))["assessments"][0]
    assert len(shown["findings"][0]["evidence"][0]["rows"]["truth"]) == 100


def test_rows_carry_their_origin() -> None:
    found = list(csv.DictReader(io.StringIO(rows.to_csv(cases.overlays()))))
    assert {r["system"] for r in found} == {"cheques-labels", "cheques-scores", "cheques-device"}
    white = [r for r in found if r["attack"] == "evasion.pgd"]
    assert len(white) == 48
    assert sum(r["broken"] == "True" for r in white) == int(cases.real().rows["broken"].sum())


def test_unknown_columns_are_redacted_too() -> None:
    evidence = cases.made(rows={"row": np.arange(3), "broken": np.ones(3, bool), "income": np.arange(3.0)})
    one = replace(cases.assessment("loans", evidence), personal=True)
    found = [r for r in csv.DictReader(io.StringIO(rows.to_csv([one]))) if r["attack"] == "evasion.square"]
    assert {r["income"] for r in found} == {REDACTED}
    assert [r["row"] for r in found] == ["0", "1", "2"]


def test_a_spreadsheet_runs_nothing() -> None:
    one = cases.assessment('=HYPERLINK("http://evil.example")')
    assert {r["system"][0] for r in csv.DictReader(io.StringIO(rows.to_csv([one])))} == {"'"}


def test_parquet_holds_the_same_rows() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = cases.made("evasion.odd", rows={"row": np.arange(2), "broken": np.ones(2, bool), "truth": np.array(["a", "b"])})
    both = (*cases.overlays(), cases.assessment("text", odd))
    table = parquet.read_table(io.BytesIO(rows.to_parquet(both)))
    assert table.num_rows == len(list(csv.DictReader(io.StringIO(rows.to_csv(both)))))
    assert table.column_names == next(csv.reader(io.StringIO(rows.to_csv(both))))


def test_parquet_without_pyarrow_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"casemate\[parquet\]"):
        rows.to_parquet(cases.overlays())


def test_rows_are_written_where_asked(tmp_path) -> None:
    assert rows.write_rows(cases.overlays(), tmp_path / "deep" / "rows").name == "rows.csv"
    with pytest.raises(UnknownName, match="csv"):
        rows.write_rows(cases.overlays(), tmp_path / "rows", "xls")


def test_what_is_left_out_of_read_first_is_counted_regression() -> None:
    one = cases.assessment()
    broken = next(f for f in one.findings if f.status is Status.BROKEN)
    five = tuple(replace(broken, threat=f"EV-{i:02}@reader", evidence=(cases.made(seed=i),)) for i in range(5))
    many = replace(one, findings=five)
    assert "and 2 more broken" in printed(terminal.summary([many])) and "more broken" not in printed(terminal.summary([one]))
    page, text = html.render([many]), markdown.render([many])
    assert re.search(r"and \d more broken", page) and re.search(r"and \d more broken", text)


def test_an_undecided_threat_is_not_counted_as_a_question_regression() -> None:
    one = cases.assessment()
    both = html.render([one]) + markdown.render([one]) + printed(terminal.summary([one]))
    assert " ".join(both.split()).count("1 undecided") >= 2 and "1 more undecided" in both
    assert not re.search(r"\b\d+(</b>)? questions?\b", both)


def test_an_axis_of_prices_is_in_plain_numbers_regression() -> None:
    axis = str(charts.price_axis([charts.Price("a", "b", Cost(20_000.0, None, 1, 1.0), "broken")]))
    assert "10,000" in axis and "100,000" in axis and "^" not in axis
