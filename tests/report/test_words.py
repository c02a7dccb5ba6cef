"""Sentences: who, from where, what, at what cost, on what evidence; and the linter that holds us to it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from casemate.core.evidence import Cost, Status
from casemate.report.view import view
from casemate.report.words import (
    EVIDENCE_ID,
    LOOKS,
    TONES,
    check_words,
    clean,
    cost_brief,
    cost_words,
    evidence_id,
    sentence,
    tally,
    worst,
)

from . import cases


@pytest.mark.parametrize("text", [
    "The model is secure.", "It is robust against customer.", "A robust model within a budget of 100 queries.",
    "90 % of the rows were broken.", "reader resisted.", "Fine.\nThe reader was mitigated",
])  # fmt: skip
def test_the_linter_finds_what_nobody_may_say(text: str) -> None:
    assert check_words(text)


@pytest.mark.parametrize("text", [
    "It is robust against customer with a budget of 100 queries [E0123456789].",
    "90 % of the rows were broken [E0123456789].",
    "Membership inference by customer at reader: untested (no recipe).",
    "The security of the reader was assessed.",
])  # fmt: skip
def test_the_linter_lets_backed_sentences_pass(text: str) -> None:
    assert check_words(text) == ()


def test_every_sentence_we_write_passes_the_linter() -> None:
    found = [s for a in cases.overlays() for s in view(a, "s").shown + view(a, "s").compact + view(a, "s").waiting]
    assert len(found) == 15
    for one in found:
        assert check_words(one.sentence) == (), one.sentence
        assert bool(EVIDENCE_ID.search(one.sentence)) == bool(one.measured)


def test_a_sentence_says_who_from_where_at_what_cost() -> None:
    one = cases.assessment()
    id = evidence_id(one.findings[0].evidence[0])
    text = sentence(one.findings[0], one.system, id)
    assert text.startswith("customer, from internet, changes decisions of reader: rows broken 90%")
    assert "random change 3%" in text
    assert f"half of the rows within 90 queries each [{id}]." in text


def test_the_cost_of_a_suite_is_per_row_too_regression() -> None:
    suite = cases.assessment("one", cases.made("suite.standard"))
    assert "half of the rows within 90 queries each" in sentence(suite.findings[0], suite.system, "E0123456789")


def test_a_censored_cost_never_reads_like_a_measured_one() -> None:
    assert cost_words(Cost(None, 1000.0)) == "fewer than half of the rows within 1,000 queries each"
    assert cost_brief(Cost(None, 1000.0)) == "> 1,000 queries"
    assert cost_brief(Cost(0.0, 0.0, gradients=9.0)) == "0 queries, 9 own calls"
    assert cost_words(Cost(1.0)) == "half of the rows within 1 query each"
    assert cost_brief(None) == "not measured"
    assert cost_brief(Cost(None, 0.0)) == "not shown"
    assert cost_words(Cost(200.0, 200.0), by_row=False) == "with 200 queries"
    assert cost_words(Cost(0.0, 0.0)) == "without a query to the deployed endpoint"


def test_a_claim_without_evidence_says_so() -> None:
    bare = cases.finding("EV-02@reader#customer", "Evasion", status=Status.BROKEN)
    assert "no evidence is attached" in sentence(bare, None, "")


def test_counts_add_up_and_leave_out_what_does_not_apply() -> None:
    one = cases.assessment()
    extra = cases.finding("AV-01@api#customer", "Flood", status=Status.NOT_APPLICABLE)
    counts = tally((*one.findings, extra))
    assert counts == {"derived": 4, "broken": 1, "resisted": 1, "inconclusive": 1, "untested": 1, "undecided": 1}


def test_every_status_has_a_look() -> None:
    assert set(LOOKS) == set(Status)
    assert {found.tone for found in LOOKS.values()} == set(TONES)


def test_control_characters_become_visible() -> None:
    assert clean("\x1b[31m\x00\u202ea\u2028") == "\\x1b[31m\\x00\\u{202e}a\\u{2028}"
    assert clean("plain – é\n") == "plain – é\n"


def test_decisions_are_at_most_ten_and_fix_comes_first() -> None:
    found = tuple(cases.finding(f"EV-{i:02d}@reader#customer", f"T{i}", cases.made(share=0)) for i in range(12))
    shown = view(replace(cases.assessment(), findings=(*found, cases.assessment().findings[0])), "s")
    assert len(shown.decisions) == 10
    assert len(shown.further) == 4 and not set(shown.further) & set(shown.decisions)
    assert shown.decisions[0].verb == "fix"
    assert [d.verb for d in shown.decisions[1:]] == ["answer"] + ["accept candidate"] * 8


def test_a_threat_that_is_there_is_worse_than_one_that_may_be() -> None:
    order = [Status.BROKEN, Status.ERROR, Status.STALE, Status.UNTESTED, Status.CLAIMED, Status.QUESTION, Status.RESISTED]
    for status, other in pairwise(order):
        assert LOOKS[status].rank < LOOKS[other].rank
    assert worst([Status.QUESTION, Status.CLAIMED]) == "untested" and worst([Status.QUESTION, Status.RESISTED]) == "question"
