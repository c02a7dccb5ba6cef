"""What stands beside a rate: charts that parse and stay in their frame, tables that refuse, sentences that claim no more."""

from __future__ import annotations

import math
import os
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import pytest
from markupsafe import Markup

from casemate.core.entities import Prices
from casemate.core.evidence import Evidence, Verdict
from casemate.core.fact import Truth
from casemate.judges.roc import needed, resolution
from casemate.report import as_json, audits, copied, groups, html, markdown, membership, poisoned, terminal
from casemate.report.asides import Aside, asides
from casemate.report.meanings import meaning, verdict_words
from casemate.report.words import check_words, evidence_id, is_share_of, sentence, spread

from . import cases, set_cases
from .test_html import Page

EVERY = {
    "members": set_cases.members, "audit": set_cases.audited, "hidden": set_cases.hidden_values, "poison": set_cases.poisoned,
    "backdoor": set_cases.backdoor, "copy": set_cases.copied, "worlds": set_cases.worlds, "drill": set_cases.drilled,
    "inverted": set_cases.inverted, "leaked": set_cases.leaked, "sponge": set_cases.sponged, "bill": set_cases.billed, "parent": set_cases.adopted,
    "group": lambda: set_cases.by_group({"own": (18, 60), "rent": (52, 60), "for free": (4, 5)}),
}  # fmt: skip


def tree(drawn: Any) -> ElementTree.Element:
    return ElementTree.fromstring(str(drawn))


def marks(drawn: Any, kind: str) -> list[ElementTree.Element]:
    return [one for one in tree(drawn).iter() if kind in (one.get("class") or "").split()]


def spots(d: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", d)]


def within_its_frame(drawn: Any) -> None:
    """Every point of every element lies in the drawing."""
    root = tree(drawn)
    _, _, wide, high = map(float, root.get("viewBox", "").split())
    for one in root.iter():
        for name, most in (("x", wide), ("x1", wide), ("x2", wide), ("cx", wide), ("y", high), ("y1", high), ("y2", high), ("cy", high)):
            if one.get(name) is not None:
                assert -1 <= float(one.get(name, "")) <= most + 1, (one.tag, name, one.get(name))
        if one.tag == "path" and "transform" not in one.attrib:
            assert all(-1 <= x <= wide + 1 and -1 <= y <= high + 1 for x, y in spots(re.sub(r"[a-z][^A-Z]*", "", one.get("d", ""))))


def cells(aside: Aside) -> dict[str, tuple[str, ...]]:
    """By the first cell of each line; of two with the same one, that of the first table."""
    return {row[0]: row[1:] for grid in reversed(aside.grids) for row in grid.rows}


def beside(evidence: Evidence, title: str = "", **more: Any) -> Aside:
    found = asides(evidence, "E0123456789", **more)
    return next(one for one in found if one.title == title) if title else found[0]


# Membership


def test_what_non_members_cannot_vouch_for_is_shaded() -> None:
    drawn = membership.chart([("E1", set_cases.members())])
    within_its_frame(drawn.chart)
    (shade,) = marks(drawn.chart, "hush")
    ticks = {t.text: float(t.get("x", "")) for t in marks(drawn.chart, "tick")}
    # The axis is logarithmic: the edge lies as far between 1 % and 10 % as its logarithm says.
    edge = float(shade.get("x", "")) + float(shade.get("width", ""))
    one, ten = ticks["1%"], ticks["10%"]
    assert one < edge < ten
    step = ten - one
    assert edge == pytest.approx(one + step * math.log10(resolution(200) / 0.01), abs=0.3)
    assert "200 non-members" in ticks and "cannot speak here" in ticks
    assert "200 non-members cannot speak there" in drawn.caption


def test_canaries_of_an_audit_do_not_shade_the_curve_of_more_non_members() -> None:
    """They once did: the fewest non-members of a finding silenced every curve in it."""
    many, few = set_cases.members(1000), set_cases.audited(m=100)
    drawn = membership.chart([("E1", many), ("E2", few)])
    alone = membership.chart([("E1", many)])
    widths = [float(marks(one.chart, "hush")[0].get("width", "")) for one in (drawn, alone)]
    assert widths[0] == widths[1]
    assert alone.chart.count('opacity="0.3"') == 0 and drawn.chart.count('opacity="0.3"') == 1
    assert "500 non-members cannot speak there" in drawn.caption
    assert "privacy.canary has 50 non-members and is pale left of 5.82%." in drawn.caption
    within_its_frame(drawn.chart)


def test_a_shifted_split_is_said_beside_the_area() -> None:
    evidence = set_cases.members()
    seen = {"auc": 0.9, "auc_interval": [0.85, 0.94], "clear": True, "beyond": 0.012, "beyond_interval": [-0.05, 0.06]}
    shifted = beside(replace(evidence, extra=evidence.extra | {"blind": seen}))
    assert "members and others differ without the model" in shifted.brief
    assert cells(shifted)["Advantage beyond that of the records alone"] == ("+0.012", "-0.05 to 0.06")
    fair = beside(evidence)
    assert "differ without the model" not in fair.brief and "Area without the model, from the records alone" in cells(fair)


def test_a_curve_of_many_non_members_is_not_shaded() -> None:
    many = replace(set_cases.members(), extra={**set_cases.members().extra, "others": 10**7})
    drawn = membership.chart([("E1", many)])
    assert not marks(drawn.chart, "hush")
    assert drawn.chart.count("curve-0") == 1


def test_words_in_the_shade_keep_clear_of_a_strong_curve() -> None:
    def heights(evidence: Evidence) -> list[float]:
        drawn = membership.chart([("E1", evidence)]).chart
        return [float(t.get("y", "")) for t in marks(drawn, "tick") if t.text == "cannot speak here"]

    assert heights(set_cases.members())[0] < 100 < heights(set_cases.members(lead=6.0))[0]


def test_rates_that_the_sample_cannot_carry_are_refused_with_the_number_it_takes() -> None:
    held = cells(beside(set_cases.members()))
    assert held["10%"][0].endswith("%") and " to " in held["10%"][1]
    for rate, text in ((0.01, "1%"), (0.001, "0.1%"), (0.0001, "0.01%")):
        assert held[text][0] == f"refused: needs {needed(rate):,} non-members"
    assert held["Area under the curve, 0.5 is guessing"][0] == f"{set_cases.members().extra['auc']:.3f}"
    stored = replace(set_cases.members(), extra=dict(sorted(set_cases.members().extra.items())))
    stored.extra["ppv"] = dict(sorted(stored.extra["ppv"].items()))  # as JSON keeps it
    priors = next(grid for grid in beside(stored).grids if grid.head[0].startswith("If this share"))
    assert [row[0] for row in priors.rows] == ["50%", "10%", "1%"]


def test_single_people_are_named_only_where_that_is_asked_for() -> None:
    one = set_cases.assessment()
    row = one.findings[0].evidence[0].extra["most_exposed"][0]
    assert "Most exposed" not in html.render([one])
    assert "are left out; they are shown only where that is asked for" in html.render([one])
    shown = Page(html.render([one], show_personal=True)).text
    assert "Most exposed: row" in shown and f"{row['score']:.4g}" in shown
    assert "Most exposed" not in markdown.render([one], show_personal=True)  # it holds no rows


def test_json_leaves_single_people_out_of_personal_systems() -> None:
    one = set_cases.assessment()
    assert '"most_exposed": [' in as_json.render([one])
    hidden = as_json.render([replace(one, system=cases.system("loans", personal=Truth.YES))])
    assert '"most_exposed": "redacted"' in hidden and '"most_exposed": [' not in hidden


# Groups


def test_a_difference_that_was_shown_is_said_with_its_interval() -> None:
    one = beside(set_cases.by_group({"own": (18, 60), "rent": (52, 60), "for free": (4, 5)}), "By group")
    assert one.brief.startswith("rent is hit more often than own: rows broken differs by +56.7 points (95% interval +")
    assert [row[0] for row in one.grids[0].rows] == ["rent", "own", "for free"]
    assert one.grids[0].rows[2][2] == "5 rows; 10 are enough"


def test_no_difference_shown_is_not_called_equality() -> None:
    one = beside(set_cases.by_group({"own": (30, 60), "rent": (33, 60)}), "By group")
    assert "no difference between groups was shown" in one.brief
    assert "this does not say that they are alike" in one.brief
    assert not re.search(r"\b(equal|same|fair)\b", one.brief)


def test_too_few_rows_are_not_compared() -> None:
    one = beside(set_cases.by_group({"own": (30, 60), "rent": (2, 4)}), "By group")
    assert "cannot be compared" in one.brief


def test_dots_and_whiskers_lie_where_the_axis_says() -> None:
    grid = beside(set_cases.by_group({"own": (30, 60), "rent": (60, 60)}), "By group").grids[0]
    axis = {t.text: float(t.get("x", "")) for t in marks(grid.axis, "tick")}
    for strip in (*grid.strips, grid.axis):
        within_its_frame(strip)
    dots = [float(marks(strip, "dot")[0].get("cx", "")) for strip in grid.strips]
    assert dots == pytest.approx([axis["100%"], axis["50%"]], abs=0.1)
    assert len(marks(grid.strips[0], "whisker")) == 1


def test_many_groups_are_counted_not_dropped() -> None:
    one = beside(set_cases.by_group({f"g{i:02d}": (5, 12) for i in range(40)}), "By group")
    assert len(one.grids[0].rows) == len(one.grids[0].strips) == groups.MOST
    assert one.notes == ("16 more groups left out here; the JSON report has all of them.",)


def test_leaks_by_class_may_be_below_none() -> None:
    one = beside(set_cases.members(lead=0.3), "By class")
    for strip in one.grids[0].strips:
        within_its_frame(strip)
    assert any(float(t.text or 0) < 0 for t in marks(one.grids[0].axis, "tick"))
    assert "no difference between classes was shown" in one.brief
    assert "tested for all pairs at once" in one.notes[0]
    old = replace(set_cases.members(), extra={k: v for k, v in set_cases.members().extra.items() if k != "by_class_gap"})
    assert "was not tested" in beside(old, "By class").notes[0]


# Poisoning


def test_the_kearns_li_line_and_random_flips_stand_beside_the_error() -> None:
    evidence = set_cases.poisoned()
    drawn = poisoned.error_chart([("E1", evidence), ("E2", set_cases.poisoned("poisoning.gradient", 2.2))])
    within_its_frame(drawn.chart)
    (floor,) = marks(drawn.chart, "floor")
    (curve,) = marks(drawn.chart, "curve-0")
    assert spots(floor.get("d", ""))[-1][1] > spots(curve.get("d", ""))[-1][1]  # lower on the page: a smaller error
    assert len(marks(drawn.chart, "cross")) == 2 == len(marks(drawn.chart, "whisker"))
    assert [name for _, name in drawn.legend][2:] == ["Kearns-Li line", "as many random flips"]
    held = cells(beside(evidence))
    assert held["Random flips, rise"] == ("2% (95% interval 0.5 to 4%)",)
    assert held["Kearns-Li line at this share"] == ("11.1%",)
    assert "nothing is said beyond it" in beside(evidence).notes[0]


def test_a_backdoor_is_shown_with_what_it_costs_in_clean_accuracy() -> None:
    drawn = poisoned.success_chart([("E1", set_cases.backdoor())])
    within_its_frame(drawn.chart)
    assert not marks(drawn.chart, "floor")
    assert "the clean error moves by +0.5 points" in beside(set_cases.backdoor()).brief
    assert cells(beside(set_cases.backdoor()))["Works on"] == ("98%",)


def test_errors_of_numbers_are_no_percentages() -> None:
    squared = "rise of the squared error, as a share of the variance of the truth"
    one = set_cases.poisoned(measure=squared, curves={"test error": [(0.0, 0.4, 0.3, 0.5), (0.1, 2.5, 2.0, 3.1)]})
    drawn = poisoned.error_chart([("E1", replace(one, baseline=None))])
    within_its_frame(drawn.chart)
    assert "%" not in "".join(t.text or "" for t in marks(drawn.chart, "tick") if t.get("text-anchor") == "end" and float(t.get("x", "")) < 50)


# Extraction


def test_queries_have_a_second_axis_in_money_where_they_have_a_price() -> None:
    held = [("E1", set_cases.copied())]
    priced = copied.chart(held, Prices(currency="CHF", per_1000_queries=0.5))
    within_its_frame(priced.chart)
    places: dict[str, float] = {str(t.text): float(t.get("x", "")) for t in marks(priced.chart, "tick")}
    assert places["0.50"] == places["1,000"] and places["5"] == places["10,000"]
    assert "CHF" in priced.chart and "0.50 CHF per 1,000" in priced.caption
    for prices in (None, Prices(currency="CHF"), Prices(per_account=3.0)):
        bare = copied.chart(held, prices)
        assert "CHF" not in bare.chart and "Money" not in bare.caption


def test_what_two_trainings_agree_on_is_the_ceiling() -> None:
    drawn = copied.chart([("E1", set_cases.copied())])
    assert "two trainings agree: 97%" in [name for _, name in drawn.legend]
    (top,), (enough,) = marks(drawn.chart, "floor"), marks(drawn.chart, "stated")
    assert spots(top.get("d", ""))[0][1] < spots(enough.get("d", ""))[0][1]
    one = beside(set_cases.copied(), system=replace(cases.system(), prices=Prices(currency="CHF", per_1000_queries=0.5)))
    assert "after 30,000 queries (15 CHF)" in one.brief
    assert cells(one)["Changes that fool the copy and the original too"] == ("21 of 30 (70%)",)
    assert cells(one)["Largest error of a parameter"] == ("3e-10",)


# Audits


def test_three_marks_stand_in_order_on_one_axis() -> None:
    one = beside(set_cases.audited())
    within_its_frame(one.chart)
    at = {kind: spots(next(m for m in marks(one.chart, "three") if kind in m.get("class", "")).get("d", ""))[0][0] for kind in ("mark-bound", "mark-cap", "mark-claim")}
    assert at["mark-claim"] < at["mark-bound"] < at["mark-cap"]
    assert one.notes == (audits.NOTHING_SAID,)
    assert cells(one)["Epsilon that training claims"] == ("2",)


def test_training_that_claims_nothing_has_two_marks() -> None:
    one = beside(set_cases.audited(None, 1.0))
    assert len(marks(one.chart, "three")) == 2
    assert "claims no epsilon" in one.brief


# Hidden values, worlds, what was recovered, drills


def test_hidden_values_stand_beside_what_anybody_could_guess() -> None:
    evidence = set_cases.hidden_values()
    held = cells(beside(evidence))
    assert held["By the attack"][0] == f"{100 * evidence.extra['accuracy']['rate']:.3g}%"
    assert held["Gain on members"][0].startswith("+") and held["Gain on members"][0].endswith("points")
    recall = next(grid for grid in beside(evidence).grids if grid.head[0] == "Of those with the value")
    assert [row[0] for row in recall.rows] == ["0", "1"] and recall.head[3] == "Guessed"


def test_worlds_and_faults_have_a_line_each() -> None:
    held = cells(beside(set_cases.worlds()))
    assert held["Both"] == ("87.5% (95% interval 73.2 to 95.8%)", "40") and held["Models of a share of 0.3"][0] == "60 to 95%"
    assert beside(set_cases.drilled()).brief == "fails open under nan; 2 faults tried [E0123456789]."


def test_what_was_made_again_is_held_against_the_nearest_stranger() -> None:
    evidence = set_cases.inverted()
    grid = beside(evidence).grids[0]
    assert [row[0] for row in grid.rows] == [str(c) for c in range(8)]
    assert grid.rows[0][1] == f"{evidence.extra['psnr_member'][0]:.1f}" and grid.rows[0][2] == f"{evidence.extra['psnr_other'][0]:.1f}"
    assert "shows the class, not a person" in grid.caption


def test_recovered_inputs_stand_beside_what_looks_alike_anyway() -> None:
    held = cells(beside(set_cases.leaked()))
    assert held["Recovered exactly"] == ("75%", "34.9 to 96.8%")
    assert "Baseline: other people's records" in held


def test_costs_of_inputs_and_of_a_day_are_said_with_their_units() -> None:
    assert beside(set_cases.sponged()).brief == (
        "tokens: 4,096 tokens against 512 for the costliest honest input, 8 times as much [E0123456789]."
    )
    held = cells(beside(set_cases.billed()))
    assert held["Owner pays a day"] == ("432 CHF",) and held["Bounded by a control"] == ("yes",)
    assert "the line is 100 CHF" in beside(set_cases.billed()).brief


def test_a_parent_is_shown_before_and_after_fine_tuning() -> None:
    held = cells(beside(set_cases.adopted()))
    assert held["Worked in the parent, before fine-tuning, on"] == ("99%",) and held["Works on"] == ("80%",)
    assert "with the published parent" in beside(set_cases.adopted()).brief


# All of them


@pytest.mark.parametrize("name", EVERY)
def test_what_a_judge_did_not_leave_is_not_there(name: str) -> None:
    bare = replace(EVERY[name](), extra={}, curves={}, rows={}, interval=None, baseline=None)
    found = asides(bare, "E0123456789")
    assert all(grid.rows for one in found for grid in one.grids)
    assert not any(one.title.startswith("By ") for one in found)
    html.render([cases.assessment("bare", bare)])


@pytest.mark.parametrize("junk", [None, "text", [], {}, [1, "x"], {"low": "a"}, float("nan"), True, {"x": {"y": None}}, [[0.1], [None, 2]]])
@pytest.mark.parametrize("name", EVERY)
def test_what_holds_something_else_never_fails(name: str, junk: Any) -> None:
    one = EVERY[name]()
    for key in one.extra:
        asides(replace(one, extra={**one.extra, key: junk}), "E0123456789", personal=True)
    spoiled = replace(one, extra=dict.fromkeys(one.extra, junk), curves={kind: [(0.1, float("nan"), 0, 1)] for kind in one.curves})
    html.render([cases.assessment("junk", spoiled)], show_personal=True)


@pytest.mark.parametrize("name", EVERY)
def test_every_line_rests_on_its_evidence_and_passes_the_linter(name: str) -> None:
    evidence = EVERY[name]()
    found = asides(evidence, evidence_id(evidence))
    assert found
    for one in found:
        assert one.brief.endswith(f"[{evidence_id(evidence)}].")
        assert check_words(one.brief) == (), one.brief


@pytest.mark.parametrize("text", cases.HOSTILE)
def test_hostile_names_stay_text(text: str) -> None:
    by_group = set_cases.by_group({text: (30, 60), f"{text}2": (2, 60), "few": (1, 2)})
    hidden = set_cases.hidden_values()
    named = {text: {"rate": 0.5, "low": 0.1, "high": 0.9, "n": 9, "imputation": 0.5}}
    evil = replace(hidden, extra={**hidden.extra, "imputation_accuracy": named, "recall": named})
    drill = replace(set_cases.drilled(), extra={"open": [text], "faults": {text: text}})
    copy = set_cases.copied(extra={"queries": 30_000, "copy": {"model": text, "strategy": text}})
    found = tuple(cases.finding(f"PR-0{i}@reader#customer", "T", one) for i, one in enumerate((by_group, evil, drill, copy), 1))
    system = replace(cases.system(), prices=Prices(currency=text, per_1000_queries=1.0))
    one = cases.assessment("evil", findings=found, system=system)
    page = Page(html.render([one], show_personal=True))
    assert not page.named("script") and not any(image.get("src") == "x" for image in page.named("img"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page.text)
    plain = markdown.render([one])
    assert "<script" not in plain and "\x1b" not in plain
    for drawn in [g for e in (by_group, evil, drill, copy) for a in asides(e, "E1", system) for g in a.grids]:
        for strip in drawn.strips:
            tree(strip)


def test_the_short_formats_have_a_line_each() -> None:
    from rich.console import Console

    one = set_cases.assessment()
    console = Console(width=4000, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(terminal.details(one))
    lines, plain = console.export_text().splitlines(), markdown.render([one]).replace("\\", "")
    for finding in one.findings:
        for evidence in finding.evidence:
            for aside in asides(evidence, evidence_id(evidence), one.system):
                assert aside.brief in (line.strip() for line in lines)
                assert f"- {aside.title}: {aside.brief}" in plain
    assert "| refused: needs 2,995 non-members |" in plain


def test_the_page_holds_the_charts_and_only_one_of_each() -> None:
    text = html.render([set_cases.assessment()])
    assert text.count('class="hush"') == 2  # membership, and the canaries of the audit
    page = Page(text)
    assert not page.named("script")
    labels = [svg.get("aria-label") or "" for svg in page.named("svg")]
    for start in ("Members found against", "error on unchanged inputs", "works, above the clean model", "Decides alike against", "epsilon: audited"):
        assert any(label.startswith(start) for label in labels), start
    assert all("style" not in attrs for _, attrs in page.tags)


# Words


def test_measures_that_are_no_shares_are_not_written_as_percentages() -> None:
    for measure in ("audited epsilon, lower bound", "gain over imputation", "membership advantage", "rise of the clean test error"):
        assert not is_share_of(measure, 0.5)
    assert is_share_of("worlds told apart", 0.5) and is_share_of("agreement with the target", 0.9)
    below = replace(set_cases.backdoor(), interval=replace(set_cases.backdoor().interval, low=-0.03))
    assert spread(below) == "95% interval -3% to 99%"


def test_each_kind_of_case_has_its_own_verb_and_meaning() -> None:
    system = cases.system()
    for name, make in EVERY.items():
        evidence = make()
        assert meaning(evidence), name
        said = sentence(cases.finding("PR-01@reader#customer", "T", evidence), system, evidence_id(evidence))
        assert check_words(said) == (), said
    assert "plants a backdoor in" in sentence(cases.finding("PO-02@reader#customer", "T", set_cases.backdoor()), system, "E0123456789")


def test_what_was_not_decided_is_never_called_safe() -> None:
    for name, make in EVERY.items():
        broken = verdict_words(replace(make(), verdict=Verdict.BROKEN))
        unclear = verdict_words(replace(make(), verdict=Verdict.INCONCLUSIVE))
        held = verdict_words(replace(make(), verdict=Verdict.RESISTED))
        if name != "group":
            assert broken and broken != held
            assert unclear == "Nothing was decided: this is no sign that the attack fails."
        assert not re.search(r"\b(safe|secure|private|cannot be)\b", held)


def test_strips_are_markup_of_our_own() -> None:
    grid = beside(set_cases.members(), "By group").grids[0]
    assert all(isinstance(strip, Markup) for strip in grid.strips)
