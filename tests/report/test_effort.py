"""What each attack took, how small a change suffices, the worst case over attacks, and health with what does not apply."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from casemate.core.evidence import Check, Evidence, Verdict
from casemate.judges.statistics import clopper_pearson
from casemate.report import as_json, charts, html, markdown, terminal
from casemate.report.compare import cheapest
from casemate.report.distances import distances, stated_radius
from casemate.report.health import INFORMATION, PAGE, health
from casemate.report.stages import ran, skipped, stages
from casemate.report.view import view
from casemate.report.words import check_words, evidence_id, unfitted
from casemate.report.worst import worst_case

from . import cases
from .test_html import Page


def stage(attack: str, tried: int, fell: int, stopped: str = "", **spent: int) -> dict[str, Any]:
    every = dict.fromkeys(("queries", "local", "gradients", "backwards", "parent"), 0) | spent
    return {"attack": attack, "params": {}, "tried": tried, "fell": fell, "spent": every, "took_seconds": 0.2, "stopped": stopped}


GONE = "no row was left standing"
CASCADE = [
    stage("evasion.noise", 30, 0, local=300), stage("evasion.pgd", 30, 6, local=2, gradients=22),
    stage("evasion.square", 24, 0, "budget: 100 queries"), stage("evasion.fab_t", 0, 0, GONE), stage("evasion.transfer", 0, 0, GONE),
]  # fmt: skip
NEAREST = {"attack": "evasion.fmn", "n": 20, "found": 18, "0.1": 0.0585, "0.25": 0.082, "0.5": 0.105, "0.75": 0.115, "0.9": 0.133}
UNFITTED = {"rate": 0.4, "n": 20, "interval": {"low": 0.19, "high": 0.64, "method": "Clopper-Pearson", "level": 0.95}}
CHECKS = (
    Check(30, "no claim below a certified bound", None, "does not apply: nothing certifies this target", False, applies=False),
    Check(24, "sample large enough", False, "17 points wide", False), Check(2, "target untouched", True, "hash before and after"),
    Check(14, "breaks without a radius", None, "the endpoint refused"), Check(25, "wrong at the start listed apart", None, "0 of 3", False),
    Check(3, "holds in transport precision", None, "does not apply: not stored as images", False, applies=False),
)  # fmt: skip


def fell(attack: str, broken: list[int], rows: range = range(10), **changes: Any) -> Evidence:
    """Evidence on the given rows, of which those of `broken` fell."""
    ids = np.arange(rows.start, rows.stop)
    held = {"row": ids, "right": np.ones(len(ids), bool), "broken": np.isin(ids, broken)}
    return cases.made(attack, rows=held, **changes)


def full() -> Evidence:
    points = [(0.1, 0.2, 0.1, 0.4), (0.2, 0.6, 0.4, 0.8), (0.4, 1.0, 0.8, 1.0)]
    extra = {"within": "linf <= 0.2 in [0, 1]", "stages": CASCADE, "distances": NEAREST, "unfitted": UNFITTED}
    made = cases.made("suite.standard", extra=extra, health=CHECKS)
    return replace(made, curves={**made.curves, "radius": points})


def printed(evidence: Evidence) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(terminal.details(cases.assessment("one", evidence)))
    return out.getvalue()


# ---------------------------------------------------------------- stages


def test_a_stage_says_what_it_took_and_what_that_cost() -> None:
    found = stages(full())
    assert [g.attack for g in ran(found)] == ["evasion.noise", "evasion.pgd", "evasion.square"]
    pgd = found[1]
    assert (pgd.rows, pgd.calls, pgd.bill, pgd.worth) == ("6 of 30", 24, "2 own calls, 22 gradients", "250")
    assert found[0].worth == "0" and found[2].worth == "" and found[2].bill == "nothing"
    assert skipped(found) == ((GONE, "evasion.fab_t, evasion.transfer"),)
    assert stages(cases.made()) == () and stages(cases.made(extra={"stages": "none"})) == ()


def test_every_format_shows_the_stages_and_why_others_were_not_run() -> None:
    one = cases.assessment("one", full())
    page, text = Page(html.render([one])).text, markdown.render([one]).replace("\\", "")
    assert "Which attack is worth its cost" in page and "stopped: budget: 100 queries" in page
    assert f"Not run: evasion.fab_t, evasion.transfer ({GONE})." in page
    assert "| evasion.pgd | 6 of 30 | 24 (2 own calls, 22 gradients) | 250 |" in text
    assert f"- not run: evasion.fab_t, evasion.transfer ({GONE})" in text
    assert "stage evasion.pgd: 6 of 30 rows fell, 250 per 1,000 calls" in printed(full())
    assert "Which attack is worth" not in html.render([cases.assessment("one", cases.made())])


# ---------------------------------------------------------------- curves


def test_quantiles_stand_beside_the_security_curve_and_captions_say_how_to_read_it() -> None:
    one = cases.assessment("one", full())
    page, text = Page(html.render([one])).text, markdown.render([one]).replace("\\", "")
    assert "Smallest change by evasion.fmn, found for 18 of 20 rows; none for the other 2" in page
    assert "50% within 0.105" in page and "50% within 0.105" in text
    assert "Kaplan-Meier" in page and "censored" in page and "Clopper-Pearson" in page
    assert "stated: 0.2" in page
    assert distances(cases.made()) is None and distances(cases.made(extra={"distances": {"n": 0}})) is None
    nothing = distances(cases.made(extra={"distances": {"attack": "evasion.fmn", "n": 20, "found": 0}}))
    assert nothing is not None and nothing.quantiles == ()


def test_the_stated_radius_is_read_from_a_ball_only() -> None:
    assert stated_radius(full()) == 0.2
    assert stated_radius(cases.made(extra={"within": "l2 <= 1e-05 in [0, 1]"})) == 1e-5
    assert stated_radius(cases.made(extra={"within": "text"})) is None and stated_radius(cases.made(extra={})) is None
    bare = charts.curves([charts.Series("a", [(0.1, 0.5, 0.4, 0.6)])], "radius", mark=9.0)
    assert "stated" not in bare  # beyond what was measured


def test_rows_that_a_universal_change_was_not_fitted_on_are_told_apart() -> None:
    one = cases.assessment("one", full())
    assert unfitted(full()) == "40% (95% interval 19–64%), n = 20"
    assert "40% (95% interval 19–64%), n = 20" in Page(html.render([one])).text
    assert "rows that it was not fitted on: 40%" in markdown.render([one]) and "not fitted on: 40%" in printed(full())
    assert unfitted(cases.made()) == ""


# ---------------------------------------------------------------- the worst case


def test_the_worst_case_is_the_union_over_all_attacks() -> None:
    a, b = fell("evasion.pgd", [0, 1, 2, 3]), fell("evasion.square", [3, 4])
    worst = worst_case([a, b])
    assert worst is not None and (worst.fell, worst.n, worst.interval) == (5, 10, clopper_pearson(5, 10))
    assert worst.only == (("evasion.pgd", 3), ("evasion.square", 1))
    assert worst.said.startswith("Over both attacks 5 of 10 rows fell (95% interval 19–81%); only by evasion.pgd: 3; only by")
    assert check_words(worst.said) == () and evidence_id(b) in worst.said


def test_the_worst_case_counts_rows_that_all_attacks_met() -> None:
    a, b = fell("evasion.pgd", [0, 9]), fell("evasion.square", [9, 12], range(5, 15))
    worst = worst_case([a, b])
    assert worst is not None and (worst.fell, worst.n, worst.only, worst.elsewhere) == (1, 5, (), 10)
    assert "none to one attack alone; 10 rows that not all of them met left aside" in worst.said


def test_there_is_no_worst_case_of_one_attack_or_of_other_rows() -> None:
    a = fell("evasion.pgd", [0])
    assert worst_case([a]) is None
    assert worst_case([a, fell("evasion.square", [12], range(10, 20))]) is None
    assert worst_case([a, fell("poisoning.flip", [0], case="poison")]) is None
    assert worst_case([a, fell("evasion.square", [0], verdict=Verdict.ERROR)]) is None
    assert worst_case([a, cases.made("evasion.square", rows={})]) is None


def test_one_attack_run_twice_is_told_apart_by_its_evidence() -> None:
    a, b = fell("evasion.pgd", [0]), fell("evasion.pgd", [1], seed=1)
    worst = worst_case([a, b])
    assert worst is not None and [name for name, _ in worst.only] == [f"evasion.pgd [{evidence_id(e)}]" for e in (a, b)]


def test_every_format_shows_the_worst_case() -> None:
    one = cases.assessment("one", fell("evasion.pgd", [0, 1]), fell("evasion.square", [1, 2]))
    said = "Over both attacks 3 of 10 rows fell"
    assert said in Page(html.render([one])).text and said in markdown.render([one])
    data = json.loads(as_json.render([one]))["assessments"][0]["findings"]
    assert data[0]["worst_case"]["fell"] == 3 and data[1]["worst_case"] is None


def test_a_suite_is_compared_like_any_evasion_regression() -> None:
    suite, dear = cases.made("suite.standard", median=20), cases.made("evasion.square", median=400)
    shown = view(cases.assessment("one", dear, suite), "s1")
    found = cheapest(shown)
    assert found is not None and found[1].evidence.attack == "suite.standard"


# ---------------------------------------------------------------- health


def test_what_does_not_apply_is_counted_nowhere() -> None:
    found = health(CHECKS)
    assert found.said == "1 pass, 1 fail, 1 unknown"
    assert [c.number for c in found.absent] == [3, 30] and [c.number for c in found.calm] == [2, 25]
    assert [c.number for c in found.failed] == [24] and [c.number for c in found.unknown] == [14]
    one = cases.assessment("one", full())
    for text in (Page(html.render([one])).text, markdown.render([one]), printed(full())):
        assert "1 pass, 1 fail, 1 unknown" in text


def test_failed_and_unknown_checks_stand_open_and_the_others_are_folded() -> None:
    page = html.render([cases.assessment("one", full())])
    block = re.search(r'<div class="health">(.*?)</div>', page, re.DOTALL)
    assert block is not None
    opened = Page(re.sub(r"<details.*?</details>", "", block[1], flags=re.DOTALL)).text
    assert opened.index("24. sample large enough") < opened.index("14. breaks without a radius")
    assert "target untouched" not in opened and "certified" not in opened
    assert "(does not decide the verdict)" in opened and opened.count("does not decide") == 1  # check 14 decides
    folds = [Page(fold).text for fold in re.findall(r"<details.*?</details>", block[1], re.DOTALL)]
    assert folds[0].startswith("passed: 2; for information: 25") and "hash before and after" in folds[0]
    assert folds[1].startswith("does not apply: 3, 30") and "30. no claim below a certified bound nothing certifies" in folds[1]
    assert PAGE in page


def test_text_formats_name_what_is_unknown_and_what_does_not_apply() -> None:
    text = markdown.render([cases.assessment("one", full())]).replace("\\", "")
    assert "- unknown check 14 of suite.standard, breaks without a radius: the endpoint refused" in text
    assert "- checks that do not apply to suite.standard: 3, 30" in text
    assert "check 14, breaks without a radius, is unknown: the endpoint refused" in printed(full())


def test_the_lines_that_only_inform_are_those_of_the_reference() -> None:
    page = Path(__file__).parents[2] / PAGE
    if not page.exists():
        pytest.skip("the documentation is not here")
    cells = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines() if re.match(r"\| \d+ \|", line)]
    assert {int(c[1]) for c in cells if "information" in c[4]} == INFORMATION
