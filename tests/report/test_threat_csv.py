"""The table of findings: one row each, and no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.evidence import Status
from casemate.core.finding import Assessment
from casemate.report import threat_csv

from . import machine_cases as cases

COLUMNS = [
    "system", "threat", "title", "element", "principal", "status", "severity", "basis", "impact", "cost_low", "cost_high", "currency",
    "confidence", "disposition", "owner", "expires", "file", "line", "atlas", "nist", "owasp_ml", "cwe", "aiexchange", "tests",
    "mitigations", "advice", "question",
]  # fmt: skip


def table(*assessments: Assessment) -> list[dict[str, str]]:
    text = threat_csv.render(assessments)
    lines = list(csv.reader(io.StringIO(text), strict=True))
    assert lines[0] == COLUMNS
    assert len(lines) == text.count("\n"), "a cell breaks its row"
    assert all(len(line) == len(COLUMNS) for line in lines)
    return [dict(zip(COLUMNS, line, strict=True)) for line in lines[1:]]


def _runs(cell: str) -> bool:
    return cell.lstrip(" \t\r\n'\"")[:1] in tuple("=+-@|%") and not cell.startswith("'")


@pytest.mark.parametrize("path", cases.EXAMPLES)
def test_every_example_has_a_row_for_each_finding(path: str) -> None:
    a = cases.example(path)
    rows = table(a)
    assert [row["threat"] for row in rows] == [f.threat for f in a.findings]
    assert all(row["file"] and not row["file"].startswith("/") and int(row["line"]) >= 1 for row in rows)
    assert all(bool(row["question"]) for row in rows if row["status"] == "question")


def test_known_answers() -> None:
    rows = {row["threat"]: row for row in table(cases.full())}
    prior = rows["SY-01@gate#supplier@gate"]
    got = {key: prior[key] for key in ("severity", "basis", "impact", "cost_low", "cost_high", "currency", "confidence")}
    assert got == {
        "severity": "critical", "basis": "prior", "impact": "3", "cost_low": "100.0", "cost_high": "5000.0", "currency": "EUR",
        "confidence": "prior",
    }  # fmt: skip
    held = table(cases.assessment(cases.finding(Status.BROKEN, disposed=cases.disposed("accept", "expired"))))[0]
    assert (held["disposition"], held["owner"], held["expires"]) == ("accept (expired)", "risk team", "2026-05-30")
    assert "AML.T0043.001 Craft Adversarial Data: Black-Box Optimization (5.6.0)" in held["atlas"].split("; ")
    assert held["cwe"].startswith("CWE-1039 ")
    assert (held["file"], held["line"], held["basis"]) == ("shop/system.yaml", "7", "measured")


def test_a_file_is_named_as_it_is() -> None:
    (row,) = table(cases.assessment(cases.finding(Status.UNTESTED, file="my shop/sys%.yaml")))
    assert row["file"] == "my shop/sys%.yaml"


@pytest.mark.parametrize("text", cases.HOSTILE, ids=range(len(cases.HOSTILE)))
def test_hostile_names(text: str) -> None:
    for row in table(cases.hostile(text)):
        assert not [cell for cell in row.values() if _runs(cell)]
        assert not set("\x1b\x00\u202e\r\n") & set("".join(row.values()))


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        " =1",
        "\r\n=1",
        '"=1',
        "'=1",
        "|cmd",
        "＝1",
        "＠a",
        "\u00a0=1",
        "%0A=1",
        "\ufeff=1",
    ],
)
def test_a_formula_is_text(text: str) -> None:
    (row,) = table(cases.assessment(cases.finding(Status.UNTESTED, title=text)))
    # The byte-order mark is made visible, so that it starts with a backslash.
    assert row["title"].startswith(("'", "\\"))


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40))
def test_no_text_runs_or_breaks_a_row(text: str) -> None:
    for row in table(cases.hostile(text)):
        assert not [cell for cell in row.values() if _runs(cell)]


def test_nothing_at_all() -> None:
    assert table() == []
    bare: Any = Assessment(name="", path="", system=None, findings=(cases.finding(Status.UNTESTED, "X-01", file=""),))
    assert table(bare)[0]["file"] == ""
