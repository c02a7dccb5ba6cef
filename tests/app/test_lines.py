"""No name, title or reason begins a line of its own: a newline in it could forge a verdict or a command of the CI."""

from __future__ import annotations

import datetime
import io
from dataclasses import replace

from rich.console import Console

from casemate.app.diff import text as compared
from casemate.app.gate import text as ruled
from casemate.core.evidence import Status
from casemate.core.finding import Assessment, Finding
from casemate.core.system import System
from casemate.report import terminal, threat_list
from casemate.runs.changes import compare
from casemate.runs.gate import Objection, Ruling

EVIL = "x\n::error::forged\ngate: pass"


def assessment() -> Assessment:
    finding = Finding(
        threat=f"EV-01@{EVIL}", rule="EV-01", title=EVIL, element=EVIL, principal=EVIL, explanation=EVIL, impact=2,
        status=Status.UNTESTED, reason=EVIL, file=EVIL, line=3,
    )  # fmt: skip
    return Assessment(
        name=EVIL, path=EVIL, system=System(name=EVIL), findings=(finding,), warnings=(EVIL,), conflicts=(EVIL,),
        questions=({"field": EVIL, "text": EVIL, "threats": [EVIL]},),
    )  # fmt: skip


def forged(text: str) -> list[str]:
    return [one for one in text.split("\n") if one.lstrip().startswith(("::error", "gate: pass"))]


def test_lists_of_threats_hold_no_forged_line() -> None:
    for everything in (False, True):
        told = threat_list.render(assessment(), everything=everything, width=2_000)
        assert "forged" in told and not forged(told)


def test_the_terminal_holds_no_forged_line() -> None:
    console = Console(width=2_000, record=True, file=io.StringIO())
    console.print(terminal.summary([assessment()]))
    console.print(terminal.details(assessment()))
    told = console.export_text()
    assert "forged" in told and not forged(told)


def test_a_comparison_holds_no_forged_line() -> None:
    now = assessment()
    told = compared(compare(replace(now, name="y", findings=()), now), everything=True)
    assert "forged" in told and not forged(told)


def test_a_ruling_holds_no_forged_line() -> None:
    one = Objection(then="fail", rule="severity", what=EVIL, why=EVIL, do=EVIL, system=EVIL, place=(EVIL, 3))
    told = ruled(Ruling(objections=(one,), statuses={}, unjudged=((EVIL, EVIL),), code=1), None, datetime.date(2026, 1, 1))
    assert "forged" in told and not forged(told)
    assert told.startswith("gate: fail")
