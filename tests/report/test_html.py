"""The HTML file: complete, self-contained, small, the same every time, and deaf to what names say."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from casemate.core.evidence import Cost
from casemate.core.fact import Truth
from casemate.report import html

from . import cases


class Page(HTMLParser):
    """Tags, attributes and text, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def report() -> str:
    return html.render(cases.overlays())


def test_it_holds_every_part(report: str) -> None:
    text = Page(report).text
    for part in (
        "Read first", "Decisions", "Where it breaks", "Findings, by impact", "Open questions", "Not tested, and why",
        "How to reproduce", "Hardening, before and after", "Coverage", "What no rule of the catalogue speaks of", "One system, 3 deployments: cheques",
    ):  # fmt: skip
        assert part in text, part
    for fact in (
        "fix", "look closer", "decide", "answer", "accept candidate", "> 1,000 queries", "0 queries", "access(customer, reader): query", "random change",
        "arXiv:1706.06083", "NISTAML.025 Black-box Evasion (AI 100-2e2025)", "CWE-1039", "reader.endpoint.auth", "measured",
        "the description says label, the target shows 10 scores", "casemate assess examples/cheques-labels.yaml", "target untouched",
    ):  # fmt: skip
        assert fact in text, fact


def test_original_and_changed_input_stand_side_by_side(report: str) -> None:
    images = Page(report).named("img")
    assert len(images) == 4 * 3
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in images)


def test_the_same_assessments_give_the_same_bytes() -> None:
    assert html.render(cases.overlays()) == html.render(cases.overlays())


def test_nothing_is_fetched(report: str) -> None:
    page = Page(report)
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "audio", "video")
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/png")), (tag, attrs)
    assert "url(" not in report.replace("url(#", "")
    assert "@import" not in report


def test_the_policy_allows_this_style_and_no_script(report: str) -> None:
    policy = next(m["content"] for m in Page(report).named("meta") if m.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", report, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_sheet_cannot_end_its_element() -> None:
    assert "<" not in resources.files("casemate.report").joinpath("templates", "report.css").read_text()


def test_hostile_names_stay_text() -> None:
    page = Page(html.render([cases.hostile()], show_personal=True))
    assert not page.named("script")
    assert not any(image["src"] == "x" for image in page.named("img"))
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page.text)
    assert "javascript:" not in {(a.get("href") or "")[:11] for _, a in page.tags}


def test_every_internal_link_leads_somewhere(report: str) -> None:
    page = Page(report)
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.named("a")} <= set(ids)


def test_a_large_report_stays_below_the_bound_and_counts_what_it_left_out() -> None:
    rng = np.random.default_rng(0)
    noise = {"before": rng.uniform(size=(8, 3, 112, 112)), "after": rng.uniform(size=(8, 3, 112, 112)), "row": np.arange(8)}
    found = tuple(cases.finding(f"EV-{i:03d}@reader#customer", f"Threat {i}", cases.made()) for i in range(60))
    asked = tuple({"field": f"a.b{i}", "text": f"Question {i}?", "threats": []} for i in range(300))
    one = cases.assessment("large", findings=found, questions=asked, samples={f.threat: noise for f in found})
    report = html.render([one, one])
    assert len(report.encode()) <= html.MOST
    text = Page(report).text
    assert re.search(r"\d+ more findings are left out here", text)
    assert re.search(r"\d+ more questions are left out here", text)
    assert "50 more decisions" in text  # ten on top, the others folded below
    assert report.count('class="verb verb-fix"') == 2 * 60


@pytest.mark.parametrize("how", ["assessment", "asset"])
def test_rows_about_people_are_left_out_unless_asked_for(how: str) -> None:
    held = {
        "before": [b"Ada Lovelace"],
        "after": [b"Ada Lovelady"],
        "row": [7],
        "truth": ["granted"],
        "label_after": ["declined"],
    }
    one = cases.assessment("loans", samples={"EV-02@reader#customer": held})
    one = replace(one, personal=True) if how == "assessment" else replace(one, system=cases.system("loans", personal=Truth.YES))
    hidden, shown = Page(html.render([one])).text, Page(html.render([one], show_personal=True)).text
    assert "Ada Love" not in hidden
    assert "declined" not in hidden
    assert "Inputs are redacted" in hidden
    assert "Ada Love" in shown
    assert "granted → declined" in shown


def test_evidence_that_answers_two_threats_is_shown_once() -> None:
    evidence = cases.real()
    two = tuple(cases.finding(f"EV-0{i}@reader#customer", f"Threat {i}", evidence) for i in (1, 7))
    held = {f.threat: cases.pictures(evidence) for f in two}
    page = Page(html.render([cases.assessment("shared", findings=two, samples=held)]))
    assert len(page.named("img")) == 12
    assert "Rests on the same evidence as EV-01@reader#customer" in page.text
    assert page.text.count("shared · Threat") == 1  # read first names it once


def test_a_report_of_nothing_says_so() -> None:
    text = Page(html.render([])).text
    assert "Nothing was assessed" in text
    empty = cases.assessment("empty", findings=(), questions=(), untested=(), hardening=(), versions={}, clean={})
    assert "No threat was derived" in Page(html.render([empty])).text


def test_systems_that_only_share_a_word_are_not_compared() -> None:
    two = (cases.assessment("mail-filter"), cases.assessment("mail-archive", system=cases.large(5)))
    assert "deployments" not in Page(html.render(two)).text


def test_a_censored_cost_is_an_arrow_and_a_measured_one_is_not(report: str) -> None:
    strips = re.findall(r'<svg viewBox="0 0 384 26".*?</svg>', report, re.DOTALL)
    assert ['class="arrow' in strip for strip in strips] == [True, False, False]


def test_money_only_where_prices_are_stated() -> None:
    priced = cases.finding("EV-02@reader#customer", "Evasion", cases.made(), cost=Cost(80.0, 1000.0, 5, 3.0, money=12.5))
    text = Page(html.render([cases.assessment("shop", findings=(priced,))])).text
    assert "12.50" in text
    assert "80 queries over 3 days, 5 accounts" in text
