"""Who attacks, in words: capabilities, access rows, budgets, and the way of a threat through the system."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from casemate.core.adversary import Budget, Need
from casemate.core.entities import Access, AccessBudget, Component, Endpoint, Flow, Principal, RateLimit, Training
from casemate.core.system import System
from casemate.report import html, markdown, picture, threat_list
from casemate.report.attacker import abilities, budget, powers, routes
from casemate.runs.derived import derived
from casemate.threats.adversaries import adversary_for

from .test_html import Page

LIMIT = Endpoint(rate_limit=RateLimit(per="day", n=2000, key="account"))
ALL = ("label", "submit", "contribute")


def shop(endpoint: Endpoint | None = LIMIT, spends: AccessBudget | None = None) -> System:
    """A customer asks an endpoint, and writes corrections that it is trained on every night."""
    return System(
        name="shop", principals=(Principal(id="customer"), Principal(id="clerk")),
        components=(
            Component(id="api", kind="server", endpoint=endpoint), Component(id="corrections", kind="feedback"),
            Component(id="nightly", kind="trainer", training=Training(sources=("corrections",), review="none")),
        ),
        flows=(Flow(from_="corrections", to="nightly"), Flow(from_="nightly", to="api"), Flow(from_="customer", to="api")),
        access=(
            Access(principal="customer", on="api", can=("query", "see_label"), budget=spends),
            Access(principal="customer", on="corrections", can=("write_feedback",), unsure=("read_data",)),
        ),
    )  # fmt: skip


def test_capabilities_are_phrases() -> None:
    assert powers(("label", "parent", "recipe", "contribute", "submit")) == (
        "sees labels, knows the public parent and the recipe, writes training records, sends inputs"
    )
    assert powers(("label", "score", "logit", "gradient", "artifact")) == "holds the model (white box)"
    assert powers(("parent", "data", "recipe")) == "knows the public parent, training data and the recipe"
    assert powers(()) == ""


@pytest.mark.parametrize("need", [need for need in Need if need.name])
def test_every_capability_has_a_phrase(need: Need) -> None:
    assert powers(need.names) and powers(need.names) != need.names[0]


def test_where_there_is_no_capability_the_access_rows_speak() -> None:
    system = shop()
    assert abilities(system, "customer", "corrections", ()) == "may write feedback, perhaps read data on corrections"
    assert abilities(system, "clerk", "corrections", ()) == "no access to corrections is stated"
    assert abilities(system, "customer", "api", ("submit",)) == "sends inputs"
    assert abilities(None, "nobody", "api", ()) == "no access to api is stated"


@pytest.mark.parametrize(("stated", "text"), [
    (Budget(), "own budget not stated; the endpoint lets through 2,000 a day per account"),
    (Budget(records=35, days=7.0), "35 training records, 7 days; own number of queries not stated; the endpoint lets through 2,000 a day per account"),
    (Budget(queries=30_000, accounts=5, days=30.0), "30,000 queries in all, 5 accounts, 30 days"),
    (Budget(queries=1, days=1.0), "1 query, 1 day"),
    (Budget(queries_per_row=1000), "1,000 queries for each attacked row"),
])  # fmt: skip
def test_a_budget_says_whose_it_is(stated: Budget, text: str) -> None:
    assert budget(shop(), "customer", "api", stated, ALL) == text
    assert budget(shop(), "customer", "api", str(stated), ALL) == text


def test_only_who_sends_inputs_meets_the_limit() -> None:
    assert budget(shop(), "customer", "api", Budget(), ("contribute",)) == "not stated"
    assert budget(shop(), "customer", "api", Budget(records=3), ("contribute",)) == "3 training records"


@pytest.mark.parametrize(("endpoint", "text"), [
    (None, "own budget not stated"),
    (Endpoint(), "own budget not stated; what the endpoint lets through is not stated"),
    (Endpoint(rate_limit="none"), "own budget not stated; the endpoint has no limit"),
    (Endpoint(rate_limit=RateLimit(per="minute", n=5, key="ip")), "own budget not stated; the endpoint lets through 5 a minute per address"),
])  # fmt: skip
def test_what_the_endpoint_says_of_its_limit(endpoint: Endpoint | None, text: str) -> None:
    assert budget(shop(endpoint), "customer", "api", Budget(), ALL) == text


@pytest.mark.parametrize("text", ["queries_per_row=1000, more", "\x1b[31mred", "queries=1e9", "evil=3"])
def test_a_budget_that_is_not_ours_is_shown_as_it_is(text: str) -> None:
    assert budget(shop(), "customer", "api", text, ALL) == text.replace("\x1b", "\\x1b")


def test_a_cap_of_queries_is_for_all_accounts_together() -> None:
    system = shop(spends=AccessBudget(queries_per_day=1000, days=30, accounts=5))
    assert adversary_for(system, "customer", "api").budget.queries == 30_000


# The way


def test_poison_goes_the_way_of_the_records() -> None:
    system = shop()
    rows = ("access(customer, api): query", "access(customer, corrections): write_feedback")
    assert routes(system, "customer", "api", "training", rows) == (("customer", "corrections", "nightly", "api"),)
    assert routes(system, "customer", "api", "inference", rows) == (("customer", "api"),)
    assert routes(system, "customer", "api", "training", rows[:1]) == (("customer", "api"),)  # no row lets it write
    assert routes(system, "clerk", "api", "training", rows) == ()


def test_a_short_cut_past_the_trainer_is_not_taken() -> None:
    system = shop()
    system = replace(system, flows=(*system.flows, Flow(from_="corrections", to="api")))
    rows = ("access(customer, corrections): write_feedback",)
    assert routes(system, "customer", "api", "training", rows) == (("customer", "corrections", "nightly", "api"),)


def test_a_component_that_trains_itself_is_the_end_of_the_way() -> None:
    system = System(
        principals=(Principal(id="eve"),), components=(Component(id="api", kind="server", training=Training()),),
        access=(Access(principal="eve", on="api", can=("query", "inject_data")),),
    )  # fmt: skip
    assert routes(system, "eve", "api", "training", ("access(eve, api): inject_data",)) == (("eve", "api"),)


def test_the_picture_colours_the_training_path_of_a_derived_threat() -> None:
    _, assessment = derived(shop())
    poison = [f for f in assessment.findings if f.threat == "PO-05@api#customer" and f.cell]
    assert poison and poison[0].cell["phase"] == "training"
    tones = {(s.start, s.end): s.tone for s in picture.streams(assessment.system, poison)}
    for pair in (("customer", "corrections"), ("corrections", "nightly"), ("nightly", "api")):
        assert tones[pair] == "untested", pair
    assert tones["customer", "api"] == "none"
    # Many threats here are undecided; what is derived outranks them on the component.
    assert any(str(f.status) == "question" for f in assessment.findings if f.element == "api")
    assert picture.tones(assessment.system, assessment.findings)["api"] == "untested"


RULE = """
id: ACME-01
title: Flooded corrections
each: feedback
applies_when: {can: [write_feedback], who: $p, on: $c}
explain: "{p} floods {c}"
harm: {text: t, asset: decision, property: I, floor: 4}
"""


def test_a_rule_on_a_component_that_is_no_model_names_the_verbs_and_no_cost(tmp_path: Any) -> None:
    (tmp_path / "own.yaml").write_text(RULE)
    _, assessment = derived(shop(), rules=[tmp_path])
    found = next(f for f in assessment.findings if f.rule == "ACME-01")
    assert found.adversary["may"] == []
    assert found.risk is not None and (found.risk.basis, found.risk.low, found.severity) == ("none", None, "critical")
    alone = replace(assessment, findings=(found,), chains=(), questions=(), hidden=())
    whole = threat_list.render(alone, everything=True)
    for text in (Page(html.render([alone])).text, markdown.render([alone]).replace("\\", ""), " ".join(whole.split())):
        assert "may write feedback, perhaps read data on corrections" in text
        assert "no cost stated" in text and "1,000,000" not in text and "has no access" not in text
    short = threat_list.render(alone)
    assert "(critical)" in short and "CRITICAL" not in short and "no cost stated" in short
