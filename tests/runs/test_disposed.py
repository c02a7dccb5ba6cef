"""Decisions beside findings: active, expired, violated or unjudged; and the finding itself stays what it is."""

import datetime
from dataclasses import replace

import pytest

from casemate.core.disposition import Disposition
from casemate.core.evidence import Cost, Evidence, Interval, Status, Verdict
from casemate.core.finding import Assessment, Finding, Hidden
from casemate.core.risk import Risk
from casemate.runs.disposed import apply

TODAY = datetime.date(2026, 6, 1)
DAY = datetime.timedelta(1)
WIDE = Interval(0.3, 0.5)


def evidence(rate=0.4, n=50, verdict=Verdict.BROKEN, attack="evasion.square", interval=WIDE, **more):
    return Evidence(
        attack=attack, params={}, adversary="customer@api", may=("submit",), budget="1,000 queries", target="toy", fingerprint=None,
        case="evade", seed=0, measure="rows broken", rate=rate, interval=interval, n=n, verdict=verdict, **more,
    )  # fmt: skip


def finding(threat="EV-02@api#customer", status=Status.BROKEN, **more):
    given = {"title": "Score-based evasion", "element": "api", "principal": "customer", "explanation": "", "impact": 3, **more}
    return Finding(threat=threat, rule=threat[:5], status=status, **given)


def assessment(*findings, **more):
    return Assessment(name="toy", path="toy.yaml", system=None, findings=findings, **more)


def decided(threat="EV-02@api#customer", decision="accept", expires=TODAY + 30 * DAY, **more):
    return Disposition(threat=threat, decision=decision, reason="r", owner="o", expires=expires, place=("d.yaml", 3), **more)


def judged(one, today=TODAY, **of):
    (found,) = apply(assessment(finding(**of)), [one], today).findings
    assert found.status is of.get("status", Status.BROKEN)
    return found.disposed.state, found.disposed.why


def test_it_counts_up_to_and_including_its_last_day():
    one = decided(expires=TODAY)
    assert judged(one) == ("active", "")
    assert judged(one, TODAY + DAY) == ("expired", "it ended on 2026-06-01")
    assert judged(replace(one, decision="fix"), TODAY + DAY) == ("expired", "it was to be fixed by 2026-06-01")


def test_a_finding_that_nobody_decided_about_has_none():
    found = apply(assessment(finding(), finding("EV-03@api#customer")), [decided()], TODAY)
    assert [f.disposed is None for f in found.findings] == [False, True]


@pytest.mark.parametrize("status", list(Status))
def test_a_decision_changes_nothing_but_itself(status):
    before = assessment(finding(status=status, evidence=(evidence(),), severity="high"))
    after = apply(before, [decided(decision="false_positive")], TODAY)
    assert replace(after.findings[0], disposed=None) == before.findings[0]
    assert after.digest() == before.digest()


@pytest.mark.parametrize(
    ("floor", "cost", "risk", "state", "why"),
    [
        (100, Cost(queries=5, money=99.0), None, "violated", "a break costs 99, less than the cost_floor 100"),
        (100, Cost(queries=5, money=100.0), None, "active", ""),
        (100, Cost(queries=5, money=float("nan")), None, "violated", "less than the cost_floor"),
        (100, Cost(queries=5), None, "active", "cost_floor 100 could not be judged: no cost in money was measured"),
        (100, None, None, "active", "cost_floor 100 could not be judged: no cost in money was measured"),
        (100, None, Risk(impact=3, impact_because="", low=9, high=20, currency="EUR", basis="measured"), "violated", "a break costs 9 EUR, less"),
        (100, Cost(queries=5, money=9.0), Risk(impact=3, impact_because="", low=200, high=300, basis="measured"), "active", ""),
        (100, None, Risk(impact=3, impact_because="", low=9, high=20, basis="prior"), "active", "could not be judged"),
    ],
)  # fmt: skip
def test_a_floor_in_money(floor, cost, risk, state, why):
    got = judged(decided(cost_floor=floor), cost=cost, risk=risk)
    assert got[0] == state and (why in got[1] if why else got[1] == "")


@pytest.mark.parametrize(
    ("cost", "status", "state", "why"),
    [
        (Cost(queries=499), Status.BROKEN, "violated", "a break costs 499 queries, less than the queries_floor 500"),
        (Cost(queries=0), Status.BROKEN, "violated", "a break costs 0 queries"),
        (Cost(queries=500), Status.BROKEN, "active", ""),
        (Cost(queries=499), Status.RESISTED, "active", ""),
        (Cost(queries=None, censored_at=500), Status.BROKEN, "active", ""),
        (Cost(queries=None, censored_at=499), Status.RESISTED, "active", "could not be judged: no more than 499 queries were tried"),
        (Cost(queries=None, censored_at=20, blocked=True), Status.RESISTED, "active", ""),
        (None, Status.UNTESTED, "active", "queries_floor 500 could not be judged: no queries were measured"),
    ],
)
def test_a_floor_in_queries(cost, status, state, why):
    got = judged(decided(queries_floor=500), cost=cost, status=status)
    assert got[0] == state and (why in got[1] if why else got[1] == "")


@pytest.mark.parametrize(
    ("run", "state", "why"),
    [
        ((evidence(0.4),), "violated", "rows broken 0.4 [0.3, 0.5] by evasion.square, over the rate_ceiling 0.2"),
        ((evidence(0.2),), "active", ""),
        ((evidence(float("nan")), evidence(0.1)), "violated", "over the rate_ceiling"),
        ((evidence(0.1), evidence(0.3, attack="evasion.edits", verdict=Verdict.RESISTED)), "violated", "by evasion.edits"),
        ((evidence(0.9, verdict=Verdict.ERROR),), "active", "could not be judged: no attack was run"),
        ((evidence(0.1, verdict=Verdict.INCONCLUSIVE),), "active", "could not be judged: no attack was healthy"),
        ((evidence(0.3, verdict=Verdict.INCONCLUSIVE),), "violated", "over the rate_ceiling"),
        ((), "active", "rate_ceiling 0.2 could not be judged: no attack was run"),
    ],
)
def test_a_ceiling_of_the_rate(run, state, why):
    got = judged(decided(rate_ceiling=0.2), evidence=run)
    assert got[0] == state and (why in got[1] if why else got[1] == "")


def test_what_was_broken_is_no_false_positive():
    state, why = judged(decided(decision="false_positive"), evidence=(evidence(verdict=Verdict.RESISTED, attack="a"), evidence()))
    assert state == "violated" and why == f"it was broken: rows broken 0.4 {WIDE} by evasion.square"
    assert judged(decided(decision="false_positive")) == ("violated", "it was broken")
    for status in set(Status) - {Status.BROKEN}:
        assert judged(decided(decision="false_positive"), status=status) == ("active", "")
    late = decided(decision="false_positive", expires=TODAY - DAY)
    assert judged(late) == ("expired", "it ended on 2026-05-31; it was broken")


TOP, UNDER = "EV-01@api#customer", "EV-02@api#customer"


def bared(*dispositions, status=Status.UNTESTED, by=TOP):
    """The warnings where TOP hides UNDER."""
    hidden = [Hidden(threat=UNDER, title="", by=by, because="cheaper")]
    if by != TOP:
        hidden.append(Hidden(threat=by, title="", by=TOP, because="cheaper"))
    return apply(assessment(finding(TOP, status), hidden=tuple(hidden)), dispositions, TODAY).warnings


@pytest.mark.parametrize("decision", ["false_positive", "avoid"])
def test_what_a_threat_that_is_decided_away_had_hidden_is_said(decision):
    (said,) = bared(decided(TOP, decision))
    assert said == f"{UNDER}: was hidden by {TOP}, which is decided {decision}: correct the fact in the description and derive again"
    assert bared(decided("EV-01@*", decision)) == (said,)
    middle = "EV-09@api#customer"  # hidden itself
    assert [w.partition(":")[0] for w in bared(decided(middle, decision), by=middle)] == [UNDER]


def test_what_stays_hidden_or_is_decided_about_is_not_said():
    assert bared() == ()
    for decision in ("fix", "accept", "transfer"):
        assert bared(decided(TOP, decision)) == ()
    away = decided(TOP, "false_positive")
    assert bared(away, decided(UNDER)) == bared(away, decided("EV-02*")) == ()
    assert len(bared(away, decided(UNDER, expires=TODAY - DAY))) == 1
    assert bared(replace(away, expires=TODAY - DAY)) == ()  # it is a threat again
    assert bared(away, status=Status.BROKEN) == ()  # it was one all along


def test_one_that_ended_says_what_else_is_wrong():
    state, why = judged(decided(queries_floor=500, expires=TODAY - DAY), cost=Cost(queries=3))
    assert state == "expired" and why == "it ended on 2026-05-31; a break costs 3 queries, less than the queries_floor 500"


def test_orphans_are_warnings_with_the_nearest_ids():
    hidden = (Hidden(threat="EV-03@api#customer", title="", by="EV-02@api#customer", because="cheaper"),)
    both = [decided("EV-02@api#custumer"), decided("EV-03@api#customer"), decided("SY-01@web")]
    found = apply(assessment(finding(), hidden=hidden, warnings=("before",)), both, TODAY, elsewhere=["SY-01@web"])
    assert found.warnings == (
        "before",
        "d.yaml:3: the disposition of EV-02@api#custumer fits no threat; nearest: EV-02@api#customer, EV-03@api#customer",
    )
