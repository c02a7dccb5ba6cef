"""Words that misled readers: each test is a sentence that said another thing than it meant."""

from dataclasses import replace
from pathlib import Path

import pytest

from casemate.core.case import Artifact, Smuggle
from casemate.core.evidence import Check, Cost, Status, Verdict
from casemate.judges import smuggle
from casemate.report import html, markdown, terminal
from casemate.report.health import health
from casemate.report.view import view
from casemate.report.words import OWN_SHADOWS, PLANTED, STAND_IN, sentence
from casemate.runs.findings import _decisive, cheapest

from . import cases, set_cases
from .test_text import printed

OPEN = {"artifact.digest_verified_at_load": "no", "artifact.signature_verified_at_load": "no"}


def scanned(facts: dict[str, str], checks: dict[str, bool] | None = None):
    claim = Artifact(checks=checks or {"artifact scans clean": True})
    return smuggle.judge(Smuggle(facts=facts), claim, digest=lambda path: "", scan=lambda path: "safe")


def finding(*evidence, status=Status.BROKEN, **more):
    return replace(cases.finding("PR-01@reader#customer", "Membership inference", status=status), evidence=evidence, **more)


def decided(one):
    return view(replace(cases.assessment(), findings=(one,), questions=()), "s").decisions[0]


def test_the_owners_audit_does_not_head_what_the_adversary_did_itself_regression() -> None:
    audit, own = set_cases.audited(None), set_cases.members()
    audit, own = replace(audit, verdict=Verdict.BROKEN, cost=Cost(10.0)), replace(own, verdict=Verdict.BROKEN, cost=Cost(400.0))
    assert sorted([audit, own], key=_decisive)[0] is own and cheapest([audit, own]).queries == 400
    # Where the adversary broke nothing by itself the audit is all there is, and says whose records they are.
    resisted = replace(own, verdict=Verdict.RESISTED)
    assert sorted([resisted, audit], key=_decisive)[0] is audit and cheapest([resisted, audit]).queries == 10
    assert f"({PLANTED})" in sentence(finding(audit), None, "E0123456789")
    assert PLANTED not in sentence(finding(own), None, "E0123456789")


def test_shadows_by_a_stand_in_are_said_beside_the_rate_regression() -> None:
    own = set_cases.members()
    guessed = replace(own, extra={**own.extra, "shadows_trained_by": OWN_SHADOWS})
    known = replace(own, extra={**own.extra, "shadows_trained_by": "the recipe"})
    assert STAND_IN in sentence(finding(guessed), None, "E0123456789") and STAND_IN not in sentence(finding(known), None, "E0")
    held = [replace(cases.assessment(), findings=(finding(guessed),))]
    assert STAND_IN in html.render(held) and markdown.escape(STAND_IN) in markdown.render(held)


def test_own_shadows_are_named_as_the_attacks_name_them() -> None:
    from casemate.attacks import _shadows

    assert f'"{OWN_SHADOWS}"' in Path(_shadows.__file__).read_text(encoding="utf-8")


def test_a_clean_scan_of_a_file_that_anybody_may_replace_is_no_resistance_regression() -> None:
    found = scanned(OPEN)
    assert (found.why, found.undecided) == (("the file as it is now carries no code",), "nothing keeps another one out")
    assert scanned({**OPEN, "artifact.digest_verified_at_load": "unknown"}).undecided == "nothing that is stated keeps another one out"
    assert not scanned({**OPEN, "artifact.signature_verified_at_load": "yes"}).undecided and not scanned({}).undecided
    reason = "; ".join((*found.why, found.undecided))
    held = cases.made("supply.scan", verdict=Verdict.INCONCLUSIVE, reasons=(*found.why, found.undecided), case="smuggle", health=())
    one = decided(finding(held, status=Status.INCONCLUSIVE, reason=reason))
    assert one.verb == "look closer" and one.next.startswith("check a digest or a signature at load and run again")


def test_a_broken_check_does_not_read_as_refused_regression() -> None:
    found = scanned({}, {"appended byte refused": False, "turned bit refused": True})
    assert found.broken and found.why == ("not so: appended byte refused",) and not found.undecided


def test_markdown_and_the_page_use_the_same_words_for_no_severity_regression() -> None:
    one = finding(cases.made(verdict=Verdict.INCONCLUSIVE), status=Status.INCONCLUSIVE, severity="none")
    held = [replace(cases.assessment(), findings=(one,))]
    row = next(line for line in markdown.render(held).splitlines() if line.startswith("| look closer"))
    assert "| none shown |" in row and "none shown" in html.render(held)


@pytest.mark.parametrize(("reason", "verb"), [
    ("evasion.square: needs score, which eve@api does not hold", "decide"),
    ("evasion.square: needs score, which eve@api does not hold; evasion.pgd: no recipe", "test next"),
    ("evasion.square: no data is bound to the description", "test next"),
])  # fmt: skip
def test_no_test_is_offered_where_none_fits_the_access_regression(reason: str, verb: str) -> None:
    held = cases.assessment()
    bare = replace(
        finding(status=Status.UNTESTED, reason=reason), tests=("evasion.square", "evasion.pgd"), checks=(), element="reader",
    )  # fmt: skip
    shown = view(replace(held, findings=(bare, held.findings[0])), "s")
    line = next(d for d in shown.decisions if d.threats == (bare.threat,))
    assert line.verb == verb and ("no attack here fits this access" in line.next) == (verb == "decide")


def test_a_budget_the_description_states_is_a_note_and_no_failure_regression() -> None:
    end = Check(40, "ran to its end", False, "within 100 records (all spent)", fatal=False)
    h = health([end])
    assert not h.failed and h.notes == (end,) and h.said == "0 pass, 0 fail, 0 unknown"
    assert health([replace(end, fatal=True)]).failed, "what was cut off in the middle stays a failure"
    held = [replace(cases.assessment(), findings=(finding(cases.made(health=(end,), verdict=Verdict.RESISTED), status=Status.RESISTED),))]
    text = markdown.render(held)
    assert "- note of" in text and "failed check 40" not in text
    assert "note, ran to its end: within 100 records" in printed(terminal.details(held[0]), 200)


def test_the_terminal_and_the_page_name_the_same_findings_first():
    """By severity alone the terminal put one system before the other, and the page went by impact."""
    from types import SimpleNamespace

    from casemate.core.evidence import Status
    from casemate.report import terminal, view

    def broken(threat, impact):
        return SimpleNamespace(status=Status.BROKEN, severity="high", impact=impact, evidence=(), threat=threat)

    mild = SimpleNamespace(name="a", findings=[broken("EV-01", 2), broken("EV-02", 2)])
    grave = SimpleNamespace(name="b", findings=[broken("PR-01", 4), broken("PR-02", 2)])
    views = [SimpleNamespace(shown=[SimpleNamespace(finding=f, same_as=("",)) for f in one.findings]) for one in (mild, grave)]
    page = [shown.finding.threat for _, shown in view.leading(views)]
    assert [finding.threat for _, finding in terminal.leading([mild, grave])] == page == ["PR-01", "EV-01", "EV-02"]
