"""What was not measured: assumed costs, decisions, chains, hidden threats, coverage. An assumption never looks like a result."""

from __future__ import annotations

import datetime
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from casemate.core.entities import DeclaredControl
from casemate.core.evidence import Cost, Status
from casemate.core.finding import Hidden
from casemate.core.risk import Risk
from casemate.report import as_json, costs, html, markdown, terminal, threat_list
from casemate.report.coverage import Coverage, Framework, Row, coverage, uncovered
from casemate.report.view import Limits, view
from casemate.report.weighed import amount, chain_price, claims, price, weight
from casemate.report.words import check_words
from casemate.runs.derived import derived

from . import cases
from .test_html import Page
from .test_text import CONTROL, printed

TODAY = datetime.date(2026, 6, 1)
LOANS = Path(__file__).resolve().parents[2] / "examples" / "loans" / "system.yaml"


def shown(page: str) -> str:
    return Page(page).text.partition("Skip to the report")[2]


# Prices and their bars


def test_an_assumed_price_says_so_and_a_measured_one_too() -> None:
    assumed = cases.finding("EV-02@r#c", "T", risk=cases.prior(100, 10_000))
    assert price(assumed) == "assumed, 100 to 10,000 EUR, by the catalogue"
    paid = cases.finding("EV-02@r#c", "T", cases.made(), cost=Cost(80.0), risk=cases.priced(12.5))
    assert price(paid) == "measured, 12.50 CHF (80 queries)"
    bare = cases.finding("EV-02@r#c", "T", cases.made(), cost=Cost(80.0))
    assert price(bare) == "measured, 80 queries"
    held = cases.finding("EV-02@r#c", "T", cases.made(share=0), cost=Cost(None, 1000.0))
    assert price(held) == "not reached: > 1,000 queries"
    assert price(cases.finding("EV-02@r#c", "T")) == "not known"


def test_a_measured_price_gets_no_currency_that_nobody_stated() -> None:
    paid = cases.finding("EV-02@r#c", "T", cases.made(), cost=Cost(80.0), risk=cases.priced(12.5, currency=""))
    assert "EUR" not in price(paid) + costs.bar(paid)


@pytest.mark.parametrize(("value", "text"), [(0.04, "0.04"), (12.5, "12.50"), (12.0, "12"), (1234.5, "1,234"), (0, "0")])
def test_money_has_cents_only_where_there_are_some(value: float, text: str) -> None:
    assert amount(value) == text


def test_the_weight_names_terms_margin_confidence_and_what_would_change_it() -> None:
    rows = dict(weight(cases.finding("EV-02@r#c", "T", cases.made(), risk=cases.priced())))
    assert rows["Made of"] == "30 accounts at 2.00; 1,200 queries at 0.50 per 1,000"
    assert rows["Margin"].startswith("profitable: ")
    assert rows["Confidence"] == "measured, by an attack that knows the controls"
    assert rows["Would change this"] == "A control against it."
    assumed = dict(weight(cases.finding("EV-02@r#c", "T", risk=cases.prior())))
    assert assumed["Confidence"] == "an assumption of the catalogue, nothing was measured"
    assert "Made of" not in assumed and "Margin" not in assumed


def bar_of(svg: str) -> tuple[float, float]:
    found = re.search(r'<rect x="([\d.]+)" y="4" width="([\d.]+)"', svg)
    assert found
    return float(found.group(1)), float(found.group(1)) + float(found.group(2))


def test_an_assumed_bar_is_hatched_from_low_to_high_and_a_measured_one_is_solid() -> None:
    assumed = costs.bar(cases.finding("EV-02@r#c", "T", risk=cases.prior(100, 10_000)))
    assert f"url(#{costs.HATCH})" in assumed and "assumed" in assumed and "paid" not in assumed
    # 100 and 10,000 on an axis of seven decades that is 240 wide and starts at 6.
    assert bar_of(assumed) == pytest.approx((6 + 240 * 2 / 7, 6 + 240 * 4 / 7), abs=0.15)
    paid = costs.bar(cases.finding("EV-02@r#c", "T", cases.made(), cost=Cost(80.0), risk=cases.priced(1000.0)))
    assert "url(" not in paid and 'class="paid' in paid
    assert bar_of(paid) == pytest.approx((6, 6 + 240 * 3 / 7), abs=0.15)
    asked = costs.bar(cases.finding("EV-02@r#c", "T", cases.made(), cost=Cost(1000.0)))
    assert bar_of(asked) == pytest.approx((6, 6 + 240 * 3 / 6), abs=0.15) and "queries" in asked


def test_a_chain_is_assumed_as_soon_as_one_step_is() -> None:
    assert chain_price(cases.CHAIN) == "assumed, 70 to 40,000 EUR"
    assert costs.HATCH in costs.chain_bar(cases.CHAIN, "x")
    known = replace(cases.CHAIN, basis="measured", low=12.0, high=12.0, currency="CHF")
    assert chain_price(known) == "measured, 12 CHF"
    assert costs.HATCH not in costs.chain_bar(known, "x")
    assert chain_price(replace(cases.CHAIN, low=None)) == "cost not known in money"


def test_no_bar_where_no_cost_is_known() -> None:
    for one in (
        cases.finding("EV-02@r#c", "T"), cases.finding("EV-02@r#c", "T", cases.made(share=0)),
        cases.finding("EV-02@r#c", "T", risk=Risk(impact=3, impact_because="")),
    ):  # fmt: skip
        assert costs.bar(one) == ""


@pytest.mark.parametrize("value", [0.0, -1.0, 1e300, math.inf, math.nan])
def test_a_bar_stays_on_its_axis(value: float) -> None:
    start, end = bar_of(costs.bar(cases.finding("EV-02@r#c", "T", risk=cases.prior(value, value))))
    assert 6 <= start <= end <= 6 + 240 + 4


def test_the_pattern_is_there_once_and_each_use_finds_it() -> None:
    page = html.render([cases.derived_only("a"), cases.derived_only("b")])
    assert len([a for a in Page(page).named("pattern") if a["id"] == costs.HATCH]) == 1
    uses = set(re.findall(r"url\(#([\w-]+)\)", page))
    assert costs.HATCH in uses
    assert uses <= {attrs["id"] for _, attrs in Page(page).tags if "id" in attrs}


# What to decide


def lines(one: object) -> list[tuple[str, str, str]]:
    return [(d.verb, d.what, d.next) for d in view(one, "s", today=TODAY).decisions]  # type: ignore[arg-type]


def test_the_table_names_the_test_what_it_lacks_and_the_question() -> None:
    assert lines(cases.derived_only()) == [
        ("test next", "Score-based black-box evasion at reader by customer", "evasion.square; missing: a target for reader in system.target"),
        ("decide", "Inversion at reader by customer", "nothing here attacks it: change the facts, or name an owner and a date"),
        ("answer", "Is the model file of reader signed?", "1 threat waits for reader.artifact.signed"),
    ]


def test_a_decision_that_stands_leaves_the_table_and_one_that_does_not_comes_back() -> None:
    def verb(state: str) -> list[str]:
        one = cases.assessment()
        first = replace(one.findings[0], disposed=cases.disposed(state))
        found = lines(replace(one, findings=(first,), questions=()))
        return [v for v, _, _ in found]

    assert verb("active") == []
    assert verb("expired") == verb("violated") == ["decide again"]


def test_a_break_of_low_severity_may_be_accepted() -> None:
    low = cases.finding("EV-02@reader#customer", "T", cases.made(), impact=0)
    assert lines(cases.assessment(findings=(low,), questions=()))[0][0] == "fix or accept"


def test_one_untested_threat_by_several_attackers_is_one_line() -> None:
    two = [
        cases.finding(f"EX-01@reader#{who}", "Copying", tests=("extraction.learning",), severity="high", risk=cases.prior())
        for who in ("customer", "labeller")
    ]
    assert [what for _, what, _ in lines(cases.assessment(findings=tuple(two), questions=()))] == ["Copying at reader by customer, labeller"]


def test_what_is_read_from_a_file_needs_no_target() -> None:
    def next_(**changes: object) -> str:
        one = cases.finding("SY-01@reader", "Code execution", severity="high", risk=cases.prior(), **changes)
        return lines(cases.assessment(findings=(one,), questions=()))[0][2]

    both = next_(tests=("supply.scan",), checks=("digest.artifact",))
    assert both == "supply.scan, digest.artifact; casemate scan or casemate threats --check runs without a target"
    swap = next_(tests=("supply.swap",), checks=("digest.artifact",))
    assert swap.endswith("casemate threats --check runs without a target; supply.swap needs one in system.target")
    assert next_(tests=("supply.probe",)) == "supply.probe; missing: a target for reader in system.target"


def test_the_gravest_comes_first_whether_or_not_something_tests_it() -> None:
    grave = cases.finding("PO-02@reader#customer", "Grave", severity="critical", impact=4, risk=cases.prior(severity="critical"))
    mild = cases.finding("EV-02@reader#customer", "Mild", tests=("a.b",), severity="medium", risk=cases.prior(severity="medium"))
    broken = cases.finding("EV-03@reader#customer", "Broken", cases.made(), severity="medium")
    sick = cases.assessment().findings[1]  # inconclusive, impact 3: as grave as it could turn out
    found = lines(cases.assessment(findings=(mild, broken, sick, grave), questions=()))
    assert [verb for verb, _, _ in found] == ["decide", "look closer", "fix or accept", "test next"]


def test_the_question_is_never_crowded_out() -> None:
    broken = [cases.finding(f"EV-{i:02}@reader#customer", "T", cases.made()) for i in range(20)]
    bare = [
        cases.finding(f"PO-{i:02}@reader#customer", "P", tests=("a.b",), severity="low", risk=cases.prior()) for i in range(9)
    ]
    one = view(cases.assessment(findings=(*broken, *bare)), "s")
    assert [d.verb for d in one.decisions] == ["fix"] * 9 + ["answer"]
    assert [d.verb for d in one.further] == ["fix"] * 11 + ["test next"] * 9
    page, text = html.render([one.assessment]), markdown.render([one.assessment])
    assert "20 more decisions" in Page(page).text and "Further decisions" in text
    assert page.count('class="verb verb-fix"') == 20 == text.count("| fix |")


def test_json_has_every_decision() -> None:
    broken = tuple(cases.finding(f"EV-{i:02}@reader#customer", "T", cases.made()) for i in range(20))
    data = json.loads(as_json.render([cases.assessment(findings=broken)]))["assessments"][0]
    assert len(data["decisions"]) == 21 and re.fullmatch(r"E[0-9a-f]{10}", data["decisions"][0]["evidence"])


# The page


def test_a_description_alone_reads_as_one() -> None:
    text = shown(html.render([cases.derived_only()]))
    assert "Nothing was measured." in text and "nothing was attacked" in text
    assert "high, assumed" in text and "assumed, 100 to 10,000 EUR, by the catalogue" in text
    for gone in ("Read first", "Findings, by impact", "Not tested, and why", "Everything that was derived was tested", "Hardening,",
                 "Accepted risks", "Chains:", "Hidden threats", "Warnings", "Controls: claimed", "One system,"):  # fmt: skip
        assert gone not in text, gone
    assert "Nothing was measured." not in shown(html.render([cases.assessment()]))


def full() -> object:
    one = cases.derived_only()
    first = replace(one.findings[0], disposed=cases.disposed())
    second = replace(one.findings[1], rule="SY-07", disposed=cases.disposed("violated"))  # whose rule says that no technique fits
    return replace(
        one, findings=(first, second, one.findings[2]), chains=(cases.CHAIN,), warnings=("rule X-01 has no technique",),
        hidden=(Hidden(threat="EV-03@reader#customer", title="Label-only", by="EV-02@reader#customer", because="scores are cheaper"),),
    )  # fmt: skip


def test_everything_that_is_there_is_on_the_page_and_in_markdown() -> None:
    page = shown(html.render([full()]))  # type: ignore[list-item]
    text = markdown.render([full()]).replace("\\", "")  # type: ignore[list-item]
    for part in (
        "Sign model files where they are made.", "AML.M0013 Code Signing (5.6.0)", "A cheque is read wrongly.", "evasion.square",
        "VIOLATED: accepted", "a break costs 80 queries", "risk team, approved by the board", "the loss is insured", "R-7",
        "while a break costs at least 500", "while a break takes at least 1,000 queries", "while the measured rate is at most 0.25",
        "Chains: one threat opens the next", "read_weights on reader", "assumed, 70 to 40,000 EUR", "rule X-01 has no technique",
        "scores are cheaper", "no ATLAS technique fits", "Coverage", "inference",
        "What no rule of the catalogue speaks of", "A target bound in system.target, so that this can be tested.",
    ):  # fmt: skip
        assert part in page, part
        assert part in text, part


def test_days_left_are_counted_from_today() -> None:
    one = cases.derived_only()
    def until(state: str, today: datetime.date) -> str:
        held = replace(one, findings=(replace(one.findings[0], disposed=cases.disposed(state)),))
        return view(held, "s", today=today).rulings[0].until

    assert until("active", TODAY) == "2026-06-30, 29 days left"
    assert until("active", datetime.date(2026, 6, 29)) == "2026-06-30, 1 day left"
    assert until("expired", datetime.date(2026, 7, 2)) == "2026-06-30, 2 days ago"
    assert until("expired", TODAY) == "2026-06-30, over"  # judged on another day than this
    assert until("active", datetime.date(2026, 7, 2)) == "2026-06-30"


def test_violated_comes_before_expired_and_expired_before_what_stands() -> None:
    one = cases.derived_only()
    states = ("active", "violated", "expired")
    found = tuple(replace(one.findings[0], threat=f"EV-02@{s}", disposed=cases.disposed(s)) for s in states)
    assert [r.state for r in view(replace(one, findings=found), "s", today=TODAY).rulings] == ["violated", "expired", "active"]


def test_a_state_has_a_sign_as_well_as_a_colour() -> None:
    sheet = (Path(html.__file__).parent / "templates" / "report.css").read_text()
    signs = {state: re.search(rf'\.ruled-{state}::before\{{content:"(\S) ', sheet) for state in ("active", "promised", "expired", "violated")}
    assert all(signs.values()) and len({found.group(1) for found in signs.values() if found}) == 4


def test_a_promised_fix_is_not_ticked_off() -> None:
    one = cases.derived_only()
    held = replace(one, findings=(replace(one.findings[0], disposed=cases.disposed(decision="fix")),))
    page = html.render([held])
    assert "ruled ruled-promised" in page and "ruled ruled-active" not in page
    assert "ruled ruled-active" in html.render([replace(one, findings=(replace(one.findings[0], disposed=cases.disposed()),))])


def test_no_technique_is_said_only_where_there_is_none() -> None:
    one = cases.derived_only()

    def said(rule: str, **changes: object) -> str:
        held = replace(one, findings=(replace(one.findings[0], rule=rule, **changes),))  # type: ignore[arg-type]
        return " ".join((shown(html.render([held])), markdown.render([held]), threat_list.render(held, everything=True)))

    assert said("SY-07", mappings={}).count("no ATLAS technique fits this threat") >= 3
    own = said("ACME-01", mappings={})  # a rule that just states nothing
    assert own.count("no mapping to ATLAS is stated") >= 3 and "no ATLAS technique" not in own
    assert "no ATLAS technique" not in said("EV-02") and "no mapping" not in said("EV-02")


def test_what_is_left_out_is_not_linked_to() -> None:
    found = tuple(
        cases.finding(f"EV-{i:02}@reader#customer", "T", tests=("a.b",), severity="high", risk=cases.prior(), disposed=cases.disposed())
        for i in range(200)
    )
    page = Page(html.render([cases.assessment(findings=found)]))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {a["href"][1:] for a in page.named("a") if a["href"]} <= ids
    assert "120 more are left out here" in page.text


def test_a_control_is_claimed_until_it_was_attacked() -> None:
    system = replace(
        cases.system(),
        controls=(
            DeclaredControl(id="limit", type="service.query_budget", on="reader", state="active"),
            DeclaredControl(id="idle", type="service.labels_only", on="reader", state="planned"),
        ),
    )
    bare = cases.finding("EV-03@reader#customer", "T", claimed=("limit",))
    tested = cases.finding("EV-02@reader#customer", "T", cases.made(), claimed=("limit",))
    assert claims(cases.system(), ()) == ()
    assert [c.seen for c in claims(system, (bare,))] == ["claimed, not tested", "against no threat listed here"]
    assert claims(system, (bare, tested))[0].seen == "1 of 2 attacked, 1 of them broken"
    assert "Controls: claimed and seen" in shown(html.render([cases.derived_only(system=system)]))


@pytest.mark.parametrize("render", [html.render, markdown.render, as_json.render])
def test_hostile_text_stays_text_in_every_new_place(render: object) -> None:
    for one in (cases.hostile(), *(cases.hostile_alone(text) for text in cases.HOSTILE)):
        text = render([one], show_personal=True)  # type: ignore[operator]
        assert not CONTROL.search(text)
        if render is html.render:
            page = Page(text)
            assert not page.named("script")
            assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
            assert all((a.get("href") or "#").startswith("#") for a in page.named("a"))
        if render is markdown.render:
            assert "<script" not in text and "<img" not in text and "](javascript" not in text


def test_a_terminal_is_never_steered_by_the_list() -> None:
    for one in (cases.hostile(), *(cases.hostile_alone(text) for text in cases.HOSTILE)):
        for everything in (False, True):
            assert not CONTROL.search(threat_list.render(one, everything=everything))  # type: ignore[arg-type]
        assert not CONTROL.search(printed(terminal.details(one)))  # type: ignore[arg-type]
        assert not CONTROL.search(printed(terminal.summary([one])))  # type: ignore[list-item]


# Coverage


def test_the_matrix_of_a_hand_made_assessment() -> None:
    found = (
        cases.finding("EV-02@reader#customer", "A", cases.made()),
        cases.finding("EV-02@api#customer", "B", cases.made(share=0)),
        cases.finding("EV-03@reader#customer", "C"),
        cases.finding("SY-02@reader#hub", "D", status=Status.QUESTION),
        cases.finding("PO-01@reader#hub", "E", status=Status.NOT_APPLICABLE),
    )
    held = coverage([cases.assessment(findings=found)])
    by_name = {row.name: row for row in held.cells}
    cell = by_name["inference, integrity, black box"]
    assert (cell.derived, cell.tested, cell.broken) == (3, 2, 1)
    assert sum(row.derived for row in held.cells) == 3
    atlas = next(f for f in held.frameworks if f.id == "atlas")
    row = next(r for r in atlas.rows if r.name.startswith("AML.T0043.001"))
    assert (row.rules, row.derived, row.tested, row.broken) == (2, 3, 2, 1)  # EV-02 and EV-03 cite it
    assert row.name not in atlas.untested
    assert atlas.uncovered


def test_only_what_no_rule_of_any_system_speaks_of_is_a_gap() -> None:
    def held(*missing: str) -> Coverage:
        row = Row(name="a, b, c", rules=1, derived=0, tested=0, broken=0)
        one = Framework(id="atlas", name="ATLAS", release="5", rows=(row,), uncovered=missing, untested=())
        cwe = Framework(id="cwe", name="CWE", release="4", rows=(), uncovered=None, untested=())
        return Coverage(cells=(row,), frameworks=(one, cwe), unmapped=())

    assert uncovered([held("T1", "T2"), held("T2", "T3")]) == (("ATLAS (5)", ("T2",)),)
    assert uncovered([held("T1"), held("T2")]) == ()
    assert uncovered([]) == ()


def test_zero_is_faint_and_a_gap_is_named_on_the_page() -> None:
    page = html.render([cases.derived_only()])
    assert re.search(r'<td class="num zero">0</td>', page)
    assert "inference" in shown(page) and re.search(r"MITRE ATLAS \(5\.\d\.\d\) \(\d+\): AML\.T0", shown(page))


# JSON, terminal, words


def test_json_holds_all_of_it_as_data() -> None:
    data = json.loads(as_json.render([full()]))["assessments"][0]  # type: ignore[list-item]
    first, second = data["findings"][:2]
    assert first["risk"]["basis"] == "prior" and first["assumed"] is True and first["price"].startswith("assumed, ")
    assert first["disposed"]["disposition"]["expires"] == "2026-06-30" and first["disposed"]["state"] == "active"
    assert second["disposed"]["why"] == "a break costs 80 queries"
    assert first["advice"][0]["reference"].startswith("AML.M0013")
    assert data["chains"][0]["steps"] == list(cases.CHAIN.steps) and data["hidden"][0]["because"] == "scores are cheaper"
    assert [d["verb"] for d in data["decisions"]] == ["decide again", "answer"]
    assert data["decisions"][0]["threats"] == ["PR-02@reader#customer"]
    assert data["warnings"] == ["rule X-01 has no technique"]
    cell = next(row for row in data["coverage"]["cells"] if row["name"] == "inference, integrity, black box")
    assert (cell["derived"], cell["tested"]) == (1, 0)
    assert {f["id"] for f in data["coverage"]["frameworks"]} >= {"atlas", "nist"}


def test_the_list_is_compact_and_tells_assumed_from_measured() -> None:
    text = threat_list.render(derived(LOANS)[1])
    assert "Nothing was attacked" in text and "(high)" in text and "HIGH" not in text
    assert max(map(len, text.splitlines())) <= threat_list.WIDTH
    assert len(text.splitlines()) < 60 and "17 threats, 15 of 17 can be tested here, 4 undecided, 2 open questions" in text
    assert "PR-01@scoring#applicant,partner: Membership inference, assumed 20 to 20,000 EUR" in text
    assert "SY-01@scoring > PR-01@scoring#supplier" in text and "budget" not in text
    broken = threat_list.render(cases.assessment())
    assert "HIGH" in broken and "(high)" not in broken and "Nothing was attacked" not in broken
    assert len(threat_list.render(derived(LOANS)[1], everything=True)) > 2 * len(text)


def test_the_list_in_full_has_a_block_for_each_threat() -> None:
    text = threat_list.render(derived(LOANS)[1], everything=True)
    assert "who      partner, sees scores, writes training records, sends inputs" in text
    flat = " ".join(text.split())
    assert "35 training records, 7 days; own number of queries not stated; the endpoint lets through 5,000 a day per account" in flat
    assert "Code execution in the model artifact (read_weights on scoring), then Membership inference" in flat
    for label in ("because  ", "try      ", "do       "):
        assert text.count(f"\n{'':<13}{label}") >= 17, label


def test_decisions_that_no_longer_stand_are_loud_in_a_terminal() -> None:
    assert "Decisions to make again: 1 violated" in threat_list.render(full())  # type: ignore[arg-type]
    summary = " ".join(printed(terminal.summary([full()])).split())  # type: ignore[list-item]
    assert "VIOLATED" in summary and "warning: rule X-01 has no technique" in summary
    assert "VIOLATED" not in printed(terminal.summary([cases.derived_only()]))
    details = " ".join(printed(terminal.details(full()), 200).split())  # type: ignore[arg-type]
    assert "cost: assumed, 100 to 10,000 EUR, by the catalogue" in details and "Chains, each the cheapest" in details


def test_our_sentences_pass_the_linter() -> None:
    one = view(full(), "s", today=TODAY)  # type: ignore[arg-type]
    said = [d.next for d in one.decisions] + [text for s in one.compact for _, text in s.weight]
    said += [c for r in one.rulings for c in r.conditions] + [html._TERMS["untested"], markdown.BARE]
    for text in said:
        assert check_words(text) == (), text


def test_limits_count_what_they_leave_out() -> None:
    many = cases.derived_only(chains=(cases.CHAIN,) * 5, warnings=("w",) * 7)
    held = view(many, "s", limits=Limits(chains=2, lines=3))
    assert held.left_out["chains"] == 3 and held.left_out["warnings"] == 4 and len(held.paths) == 2
