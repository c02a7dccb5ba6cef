"""The gate: each rule fails where it should and only there, says what to do, and does not pass what it could not judge."""

import datetime
from dataclasses import replace

import jsonschema
import pytest

from casemate.core.disposition import Disposition
from casemate.core.errors import BadSystem, Problem
from casemate.core.evidence import Cost, Evidence, Status, Verdict
from casemate.core.finding import Assessment, Finding, Hidden
from casemate.core.risk import Risk
from casemate.runs import gate_policy
from casemate.runs.gate import Question, first_seen, gate, stub
from casemate.runs.gate_policy import RULES, UNTOLD, Policy, Setting, policy_of
from casemate.threats.dispositions import dispositions_of
from casemate.threats.nodes import compose

TODAY = datetime.date(2026, 6, 1)
DAY = datetime.timedelta(1)
ID = "EV-02@api#customer"


def finding(threat=ID, status=Status.BROKEN, **more):
    given = {"title": "t", "element": "api", "principal": "customer", "explanation": "", "impact": 3, "severity": "high", **more}
    return Finding(threat=threat, rule=threat[:5], status=status, file="toy.yaml", line=9, **given)


def evidence(verdict=Verdict.RESISTED, **more):
    return Evidence(
        attack="a", params={}, adversary="", may=(), budget="", target="", fingerprint=None, case="evade", seed=0, measure="m", rate=0.0,
        interval=None, n=9, verdict=verdict, **more,
    )  # fmt: skip


def held(one):
    """The finding, resisted with the evidence for it."""
    return replace(one, status=Status.RESISTED, evidence=(evidence(),), severity="none")


def assessment(*findings, **more):
    return Assessment(**{"name": "toy", "path": "toy.yaml", "system": None, "findings": findings, **more})


def decided(threat=ID, decision="accept", expires=TODAY + 30 * DAY, **more):
    return Disposition(threat=threat, decision=decision, reason="r", owner="sam", expires=expires, place=("d.yaml", 3), **more)


def only(name, at=None, then="fail"):
    """A policy with one rule."""
    rules = {rule: replace(setting, then="ignore") for rule, (setting, _) in RULES.items()}
    default = RULES[name][0].at
    return Policy(rules={**rules, name: Setting(then=then, at=default if at is None else at, stated=True)})


def judge(policy, now, baseline=None, dispositions=(), **more):
    return gate(Question(pairs=[(now, baseline)], dispositions=dispositions, today=TODAY, policy=policy, **more))


def objects(ruling):
    return [(o.rule, o.what) for o in ruling.objections]


# Rules --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "at", "code"),
    [("critical", "high", 1), ("high", "high", 1), ("medium", "high", 0), ("low", "low", 1), ("low", "medium", 0), ("none", "high", 1), ("SEVERE", "high", 1)],
)
def test_measured_severity(severity, at, code):
    """A break with a severity that there is not is worked out again: impact 3 at an unknown cost is high."""
    ruling = judge(only("severity_at_least", at), assessment(finding(severity=severity)))
    assert ruling.code == code and len(ruling.objections) == code


def test_the_risk_decides_the_severity_where_it_is_known():
    risk = Risk(impact=3, impact_because="", severity="low", basis="measured")
    assert judge(only("severity_at_least"), assessment(finding(severity="critical", risk=risk))).code == 0


@pytest.mark.parametrize("decision", ["fix", "accept", "transfer", "avoid"])
def test_a_decision_that_stands_answers_a_break(decision):
    assert judge(only("severity_at_least"), assessment(finding()), dispositions=[decided(decision=decision)]).code == 0
    late = decided(decision=decision, expires=TODAY - DAY)
    assert judge(only("severity_at_least"), assessment(finding()), dispositions=[late]).code == 1


@pytest.mark.parametrize("status", [Status.UNTESTED, Status.CLAIMED, Status.ERROR, Status.INCONCLUSIVE, Status.STALE])
def test_severity_by_prior_is_a_rule_of_its_own(status):
    now = assessment(finding(status=status, impact=4, severity="none"))
    ruling = judge(only("prior_severity_at_least"), now)
    assert ruling.code == 1 and "by the catalogue's prior" in ruling.objections[0].why
    assert judge(only("severity_at_least"), now).code == 0
    assert judge(only("prior_severity_at_least"), assessment(finding(status=status, impact=2))).code == 0
    costly = Risk(impact=4, impact_because="", severity="medium", basis="prior")
    assert judge(only("prior_severity_at_least"), assessment(finding(status=status, impact=4, risk=costly))).code == 0


@pytest.mark.parametrize("status", [Status.RESISTED, Status.MITIGATED, Status.CERTIFIED, Status.QUESTION])
def test_what_is_shown_to_hold_has_no_prior(status):
    assert judge(only("prior_severity_at_least"), assessment(finding(status=status, impact=4))).code == 0


def test_new_without_a_decision():
    policy, old = only("new_without_disposition"), assessment(finding("EV-01@api#customer"))
    now = assessment(finding("EV-01@api#customer"), finding())
    assert objects(judge(policy, now, old)) == [("new_without_disposition", ID)]
    assert judge(policy, now, old, [decided()]).code == 0
    assert judge(policy, old, now).code == 0


def test_regressed():
    held, broken = assessment(finding(status=Status.RESISTED)), assessment(finding())
    assert objects(judge(only("regressed"), broken, held)) == [("regressed", ID)]
    assert judge(only("regressed"), held, broken).code == 0
    assert judge(only("regressed"), broken, held, [decided()]).code == 0


@pytest.mark.parametrize(
    ("before", "now", "percent", "code"),
    [(1000, 800, 20, 1), (1000, 801, 20, 0), (1000, 1200, 20, 0), (1000, 0, 100, 1), (0, 0, 20, 0)],
)
def test_a_cost_that_dropped(before, now, percent, code):
    sides = [assessment(finding(cost=Cost(queries=q))) for q in (before, now)]
    assert judge(only("cost_drop_percent", percent), sides[1], sides[0]).code == code


def test_a_cost_that_dropped_within_its_interval_has_not():
    def side(queries):
        wide = {"queries": [(10.0, 0.4, 0.1, 0.6), (5000.0, 0.6, 0.55, 0.9)]}
        run = Evidence(
            attack="a", params={}, adversary="", may=(), budget="", target="", fingerprint=None, case="evade", seed=0, measure="m", rate=0.5,
            interval=None, n=9, verdict=Verdict.BROKEN, curves=wide,
        )  # fmt: skip
        return assessment(finding(cost=Cost(queries=queries), evidence=(run,)))

    assert judge(only("cost_drop_percent", 20), side(100), side(1000)).code == 0


def test_a_cost_in_money_that_dropped():
    sides = [assessment(finding(risk=Risk(impact=3, impact_because="", low=low, basis="measured", currency="EUR"))) for low in (100.0, 40.0)]
    ruling = judge(only("cost_drop_percent"), sides[1], sides[0])
    assert ruling.code == 1 and "60 % less: 100 -> 40 EUR" in ruling.objections[0].why


@pytest.mark.parametrize("decision", ["accept", "fix"])
def test_a_decision_that_ended(decision):
    ruling = judge(only("expired"), assessment(finding()), dispositions=[decided(decision=decision, expires=TODAY - DAY)])
    (one,) = ruling.objections
    assert ruling.code == 1 and one.place == ("d.yaml", 3) and "sam" in one.why
    assert one.do == ("do the fix, or decide again (d.yaml:3)" if decision == "fix" else "decide again, with a new day (d.yaml:3)")
    assert judge(only("expired"), assessment(finding()), dispositions=[decided(decision=decision, expires=TODAY)]).code == 0


def test_a_decision_that_the_measurement_overtook():
    now = assessment(finding(cost=Cost(queries=10)))
    ruling = judge(only("violated"), now, dispositions=[decided(queries_floor=11)])
    assert ruling.code == 1 and "than was accepted" in ruling.objections[0].do
    assert judge(only("violated"), now, dispositions=[decided(queries_floor=10)]).code == 0


def test_what_was_broken_is_no_false_positive():
    wrong = [decided(decision="false_positive")]
    (one,) = judge(only("violated"), assessment(finding()), dispositions=wrong).objections
    assert "false_positive by sam: it was broken" in one.why and "no false positive" in one.do
    assert judge(only("severity_at_least"), assessment(finding()), dispositions=wrong).code == 1
    untested = assessment(finding(status=Status.UNTESTED, impact=4))
    assert judge(only("prior_severity_at_least"), untested, dispositions=wrong).code == 0


def test_how_long_a_decision_may_run_is_the_gates_to_say():
    now = assessment(finding())
    for days, made, code in ((180, TODAY, 0), (181, TODAY, 1), (180, None, 0), (181, None, 1), (170, TODAY - 11 * DAY, 1)):
        one = decided(expires=TODAY + days * DAY, made=made)
        assert judge(only("max_days"), now, dispositions=[one]).code == code
    file = "casemate: 1\nmax_days: 3650\ndispositions: [{threat: '*', decision: accept, reason: r, owner: o, expires: 2036-01-01}]\n"
    ruling = judge(Policy(), now, dispositions=dispositions_of(file, TODAY))
    assert objects(ruling) == [("max_days", "*")] and ruling.code == 1
    assert "3501 days, more than 180" in ruling.objections[0].why
    assert judge(policy_of("casemate: 1\ngate: {max_days: 3600}"), now, dispositions=dispositions_of(file, TODAY)).code == 0


def test_a_pattern_does_not_answer_for_what_is_new():
    now, before = assessment(finding()), assessment(finding("EV-01@api#customer"))
    (one,) = judge(only("new_without_disposition"), now, before, [decided("*")]).objections
    assert one.what == ID and "the pattern * does not answer for what is new" in one.why and ID in one.stub
    assert judge(only("new_without_disposition"), now, before, [decided("*"), decided()]).code == 0
    assert judge(only("severity_at_least"), now, before, [decided("*")]).code == 0  # what else it answers it still does
    assert judge(only("regressed"), now, assessment(held(finding())), [decided("*")]).code == 0
    asks = assessment(finding(status=Status.QUESTION, **LOW), held(finding("EV-01@api#customer")))
    other = assessment(held(finding("EV-01@api#customer")))
    assert untold(asks, other, dispositions=[decided("EV-02*")])[0] == 2
    assert untold(asks, other, dispositions=[decided()]) == (0, [])


def test_an_orphan_is_one_where_no_system_has_its_threat():
    pairs = [(assessment(finding()), None), (assessment(finding("SY-01@web"), name="web"), None)]
    both = [decided(), decided("SY-01@web"), decided("SY-01@wep")]
    ruling = gate(Question(pairs=pairs, dispositions=both, today=TODAY, policy=only("orphaned")))
    assert objects(ruling) == [("orphaned", "SY-01@wep")] and "nearest: SY-01@web" in ruling.objections[0].why


def test_stale_evidence():
    policy = only("stale_evidence")
    assert judge(policy, assessment(finding(status=Status.STALE, reason="the model's digest changed"))).objections[0].why.startswith("the model's")
    made = assessment(finding(adversary={"facts": ["api.model.output = label (asserted)", "api.endpoint.auth = key (asserted)"]}))
    same = assessment(finding(status=Status.UNTESTED, adversary=made.findings[0].adversary))
    assert judge(policy, made, described={"toy": same}).code == 0
    other = assessment(finding(adversary={"facts": ["api.model.output = score (asserted)", "api.endpoint.auth = key (asserted)"]}))
    (one,) = judge(policy, made, described={"toy": other}).objections
    assert one.why == "the description has changed since: api.model.output: label -> score"
    measured = assessment(finding(adversary={"facts": ["api.model.output = label (measured)", "api.endpoint.auth = key (asserted)"]}))
    assert judge(policy, measured, described={"toy": other}).code == 0  # what was measured outdoes what is said
    assert objects(judge(policy, made, described={"toy": assessment(finding("EV-03@api#customer"))})) == [
        ("stale_evidence", ID), ("stale_evidence", "EV-03@api#customer"),
    ]  # fmt: skip


def test_evidence_that_only_the_baseline_has():
    ruling = judge(only("stale_evidence"), assessment(finding(status=Status.UNTESTED)), assessment(finding()))
    assert ruling.code == 1 and "nobody has shown since" in ruling.objections[0].why


def test_an_open_question_that_a_grave_threat_waits_for():
    asked = {"field": "api.endpoint.auth", "text": "Who may call it?", "threats": [ID], "impact": 4}
    ruling = judge(only("unknown_in_critical"), assessment(questions=(asked, {**asked, "field": "x", "impact": 3})))
    assert objects(ruling) == [("unknown_in_critical", "api.endpoint.auth")]


def test_wrong_citations():
    wrong = Problem("EV-01.yaml", 7, "EV-01.mappings.atlas", "AML.T9999 is not in release 5.6.0")
    ruling = judge(only("taxonomy"), assessment(), citations=[wrong])
    assert ruling.code == 1 and ruling.objections[0].place == ("EV-01.yaml", 7)


def test_how_long_a_break_is_open():
    policy = only("max_open_days", 90)
    for days, code in ((90, 0), (91, 1)):
        assert judge(policy, assessment(finding()), open_since={("toy", ID): TODAY - days * DAY}).code == code
    old = {("toy", ID): TODAY - 200 * DAY}
    assert judge(policy, assessment(finding()), dispositions=[decided()], open_since=old).code == 0
    assert judge(policy, assessment(finding()), dispositions=[decided(decision="fix")], open_since=old).code == 1
    promised = decided(decision="fix", made=TODAY - 91 * DAY)
    assert judge(policy, assessment(finding()), dispositions=[promised], open_since={}).code == 1
    assert judge(policy, assessment(finding(status=Status.RESISTED)), open_since=old).code == 0


def test_since_when_it_is_broken_without_a_gap():
    broken, held = assessment(finding()), assessment(finding(status=Status.RESISTED))
    days = [TODAY + n * DAY for n in range(4)]
    assert first_seen(zip([broken, broken, broken], days, strict=False)) == {("toy", ID): days[0]}
    assert first_seen(zip([broken, held, broken, broken], days, strict=True)) == {("toy", ID): days[2]}
    assert first_seen(zip([broken, held], days, strict=False)) == {}
    other = assessment(name="other")
    assert first_seen(zip([broken, other, broken], days, strict=False)) == {("toy", ID): days[0]}


# The whole ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("then", "code", "count"), [("fail", 1, 1), ("warn", 0, 1), ("ignore", 0, 0)])
def test_fail_warn_and_ignore(then, code, count):
    ruling = judge(only("severity_at_least", then=then), assessment(finding()))
    assert (ruling.code, len(ruling.objections)) == (code, count)


def test_what_could_not_be_judged_is_said_and_stops_only_where_it_was_asked_for():
    ruling = judge(Policy(), assessment(finding(status=Status.UNTESTED, impact=1)))
    assert ruling.code == 0 and {rule for rule, _ in ruling.unjudged} == {
        "new_without_disposition", "replaced", "regressed", "cost_drop_percent", "max_open_days",
    }  # fmt: skip
    assert judge(only("regressed"), assessment()).code == 2
    assert judge(only("regressed", then="warn"), assessment()).code == 0
    assert judge(only("regressed"), assessment(), assessment()).code == 0


def test_a_gate_that_passes_says_on_what():
    ruling = judge(Policy(), assessment(finding(status=Status.UNTESTED, impact=1), held(finding("A-01@x"))))
    assert ruling.code == 0 and ruling.statuses == {"untested": 1, "resisted": 1}


def test_failures_come_first():
    now = assessment(finding(status=Status.UNTESTED, impact=4), finding("EV-03@api#customer"))
    assert [o.then for o in judge(Policy(), now).objections] == ["fail", "warn"]


def test_two_patterns_that_clash_are_bad_input():
    with pytest.raises(BadSystem, match="neither is the more specific"):
        judge(Policy(), assessment(finding()), dispositions=[decided("EV-*"), decided("*#customer")])


def test_a_stub_is_refused_until_it_is_filled_in_and_then_answers_the_gate():
    now = assessment(finding("EV-02@api#o: 'x'".replace(" ", ""), cost=Cost(queries=2000 / 3)), finding())
    text = "casemate: 1\ndispositions:\n" + "\n".join(judge(Policy(), now).stubs) + "\n"
    with pytest.raises(BadSystem) as error:
        dispositions_of(text, TODAY)
    assert [p.message for p in error.value.problems] == ["must be filled in"] * 4
    filled = text.replace("reason:", "reason: known").replace("owner:", "owner: sam")
    found = dispositions_of(filled, TODAY)
    assert [one.queries_floor for one in found] == [None, 666.0] and judge(Policy(), now, dispositions=found).code == 0


def test_the_stub_of_what_is_not_broken_has_no_floor():
    assert "conditions" not in stub(finding(status=Status.UNTESTED, cost=Cost(queries=5)), TODAY)


# What cannot be told does not pass ------------------------------------------------------------------------------------------


def untold(now, baseline=None, **more):
    """The code of the default policy, and what it could not tell."""
    ruling = judge(Policy(), now, baseline, **more)
    return ruling.code, [reason for rule, reason in ruling.unjudged if rule in UNTOLD]


LOW = {"impact": 1, "severity": "low"}


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (finding(status=Status.ERROR, reason="the target raised", **LOW), "error (the target raised): run casemate assess again"),
        (finding(status=Status.INCONCLUSIVE, **LOW), "inconclusive: run casemate assess again"),
        (finding(status=Status.RESISTED, **LOW), "is said to be resisted, without evidence"),
        (finding(status=Status.RESISTED, evidence=(evidence(), evidence(Verdict.ERROR)), **LOW), "said to be resisted, and evidence of it is error"),
        (finding(status=Status.CERTIFIED, evidence=(evidence(Verdict.INCONCLUSIVE),), **LOW), "certified, and evidence of it is inconclusive"),
        (finding(status=Status.UNTESTED, evidence=(evidence(Verdict.BROKEN),), **LOW), "said to be untested, and evidence of it is broken"),
    ],
)
def test_evidence_that_does_not_decide_is_no_pass(one, told):
    code, why = untold(assessment(one))
    assert code == 2 and len(why) == 1 and told in why[0]
    assert untold(assessment(one), dispositions=[decided()]) == (0, [])
    assert judge(policy_of("casemate: 1\ngate: {undecided: warn}"), assessment(one)).code == 0


@pytest.mark.parametrize("one", [held(finding()), finding(status=Status.UNTESTED, **LOW), finding(status=Status.CLAIMED, **LOW), finding(**LOW)])
def test_what_was_shown_or_never_tested_is_told(one):
    assert untold(assessment(one)) == (0, [])


@pytest.mark.parametrize("status", [Status.UNTESTED, Status.CLAIMED, Status.STALE])
def test_a_break_that_nobody_looked_at_again_is_no_pass(status):
    now = assessment(finding(status=status, **LOW))
    code, why = untold(now, assessment(finding(severity="high")))
    assert code == 2 and "nobody has shown since" in why[0]
    assert untold(now, assessment(finding(severity="low")))[0] == 0
    assert untold(now, assessment(finding(severity="high")), dispositions=[decided()])[0] == 0


def test_a_fact_that_was_taken_out_is_no_pass():
    asks = finding(status=Status.QUESTION, reason="Who may call it?", **LOW)
    other = held(finding("EV-03@api#customer"))
    for before in (assessment(finding(status=Status.UNTESTED, **LOW), other), assessment(other)):
        code, why = untold(assessment(asks, other), before)
        assert code == 2 and "Who may call it?" in why[0]
    assert untold(assessment(asks, other), assessment(asks, other)) == (0, [])


def test_nothing_is_no_pass():
    assert gate(Question(pairs=[], dispositions=(), today=TODAY)).code == 2
    assert untold(assessment())[0] == 2 and "has no threat" in untold(assessment())[1][0]
    assert untold(assessment(finding(status=Status.NOT_APPLICABLE)))[0] == 2
    code, why = untold(assessment(finding(status=Status.QUESTION, **LOW)))
    assert code == 2 and "every threat of toy is undecided" in why[0]
    assert judge(policy_of("casemate: 1\ngate: {nothing_judged: ignore}"), assessment()).code == 0


def test_what_a_threat_that_is_decided_away_had_hidden_is_no_pass():
    top = finding("EV-01@api#customer", Status.UNTESTED, **LOW)
    now = assessment(top, hidden=(Hidden(threat=ID, title="", by=top.threat, because="cheaper"),))
    away = decided(top.threat, "false_positive")
    code, why = untold(now, dispositions=[away])
    assert code == 2 and why == [f"{ID}: was hidden by {top.threat}, which is decided false_positive: correct the fact in the description and derive again"]
    assert untold(now, dispositions=[away, decided()]) == (0, [])
    assert untold(now, dispositions=[decided(top.threat)]) == (0, [])


def test_a_break_that_a_report_leaves_out_is_no_pass():
    other = held(finding("EV-03@api#customer"))
    before, now = assessment(finding(), other), assessment(other)
    code, why = untold(now, before)
    assert code == 2 and "the report does not have it" in why[0] and "--description" in why[0]
    assert untold(now, before, described={"toy": assessment(other)}) == (0, [])
    assert untold(now, before, described={"toy": before})[0] == 2
    gone = assessment(finding(status=Status.NOT_APPLICABLE), other)
    assert untold(now, before, described={"toy": gone}) == (0, [])


def test_another_system_is_no_pass():
    now, other = assessment(finding(**LOW)), assessment(finding(**LOW), name="other")
    assert untold(now, other) == (2, ["the baseline is of other, not of toy"])
    assert untold(now, now, described={"other": other})[0] == 2
    assert untold(now, now, described={})[0] == 2
    assert untold(now, now, missing=["web"]) == (2, ["the baseline has web; what is judged does not"])
    assert untold(now, now, described={"toy": now}) == (0, [])
    assert judge(policy_of("casemate: 1\ngate: {same_system: warn}"), now, other).code == 0


def test_a_failure_is_a_failure_whatever_else_cannot_be_told():
    assert judge(Policy(), assessment(finding(), finding("A-01@x", Status.ERROR))).code == 1


def test_a_threat_that_stands_there_twice_is_no_pass():
    code, why = untold(assessment(finding(**LOW), held(finding())))
    assert code == 2 and "stands there 2 times" in why[0]


def test_a_break_under_a_condition_that_nobody_measured_is_no_pass():
    broken = assessment(finding(cost=Cost(queries=50)))
    assert untold(broken, dispositions=[decided(queries_floor=10)]) == (0, [])
    code, why = untold(broken, dispositions=[decided(cost_floor=10)])
    assert code == 2 and "no cost in money was measured" in why[0]


def test_a_cost_that_was_without_end_and_a_cost_that_is_no_number():
    sides = [assessment(finding(cost=Cost(queries=q))) for q in (float("inf"), 40.0)]
    assert judge(only("cost_drop_percent"), sides[1], sides[0]).code == 1
    now = assessment(finding(cost=Cost(queries=float("nan"))))
    assert judge(only("violated"), now, dispositions=[decided(queries_floor=11)]).code == 1


@pytest.mark.parametrize("impact", [4, None, "high"])
def test_a_question_of_unknown_weight_may_be_a_grave_one(impact):
    asked = {"field": "x", "text": "?", "threats": "odd", "impact": impact}
    assert objects(judge(only("unknown_in_critical"), assessment(finding(), questions=(asked,)))) == [("unknown_in_critical", "x")]


# Replaced, and what to do ---------------------------------------------------------------------------------------------------

CELL = {"phase": "inference", "goal": "wrong", "surface": "api", "capability": "query"}


def assumed(low, high=None):
    return Risk(impact=3, impact_because="", low=float(low), high=float(high or 10 * low), basis="prior", severity="medium")


def test_a_harder_way_in_place_of_an_easier_one_is_a_warning():
    old = assessment(finding(status=Status.UNTESTED, risk=assumed(100), cell=CELL))
    harder, easier = (assessment(finding("EV-03@api#customer", Status.UNTESTED, risk=assumed(n), cell=CELL)) for n in (1000, 10))
    ruling = judge(Policy(), harder, old)
    assert (ruling.code, [(o.rule, o.then) for o in ruling.objections]) == (0, [("replaced", "warn")])
    assert judge(only("replaced"), harder, old).code == 1
    assert objects(judge(Policy(), easier, old)) == [("new_without_disposition", "EV-03@api#customer")]
    assert judge(Policy(), easier, old).code == 1
    assert judge(only("replaced"), harder, old, [decided("EV-03@api#customer")]).code == 0


ADVICE = ({"do": "Log and sign what retraining reads.", "effect": "", "reference": ""},)


@pytest.mark.parametrize(
    ("more", "do"),
    [
        ({"advice": ADVICE}, "Log and sign what retraining reads; or decide"),
        ({"mitigations": ("service.labels_only",), "advice": ADVICE}, "mitigate it (service.labels_only), or decide"),
        ({"mitigations": ("a", "b"), "tests": ("evasion.square",)}, "mitigate it (a, b; casemate harden tries them), or decide"),
        ({}, "change the facts that make it (casemate threats --why), or decide"),
    ],
)
def test_what_to_do_names_what_there_is(more, do):
    now = assessment(finding(**more))
    for policy in (only("new_without_disposition"), only("severity_at_least")):
        (one,) = judge(policy, now, assessment(finding("EV-01@api#customer"))).objections
        assert one.do == do
    untested = assessment(finding(status=Status.UNTESTED, impact=4, severity="none", **more))
    (one,) = judge(only("prior_severity_at_least"), untested).objections
    assert one.do == ("measure it (casemate assess), or decide" if "tests" in more else do)


# The policy file ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rule", "setting"),
    [
        ("expired: warn", "expired", Setting(then="warn", stated=True)),
        ("expired: {then: ignore}", "expired", Setting(then="ignore", stated=True)),
        ("severity_at_least: medium", "severity_at_least", Setting(then="fail", at="medium", stated=True)),
        ("severity_at_least: warn", "severity_at_least", Setting(then="warn", at="high", stated=True)),
        ("prior_severity_at_least: low", "prior_severity_at_least", Setting(then="fail", at="low", stated=True)),
        ("cost_drop_percent: {at: 5, then: warn}", "cost_drop_percent", Setting(then="warn", at=5.0, stated=True)),
        ("cost_drop_percent: {at: 5}", "cost_drop_percent", Setting(then="fail", at=5.0, stated=True)),
        ("max_days: 365", "max_days", Setting(then="fail", at=365.0, stated=True)),
        ("max_open_days: 30", "max_open_days", Setting(then="fail", at=30.0, stated=True)),
    ],
)
def test_a_line_of_a_policy(line, rule, setting):
    policy = policy_of(f"casemate: 1\ngate:\n  {line}\n")
    assert policy[rule] == setting
    assert {name for name in RULES if policy[name].stated} == {rule}
    jsonschema.Draft202012Validator(gate_policy.schema()).validate(compose(f"casemate: 1\ngate:\n  {line}\n".encode(), "x").plain())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("expird: fail", "gate.yaml:3: gate.expird: unknown key (did you mean 'expired'?)"),
        ("expired: fial", "gate.expired: expected fail, warn, ignore; got 'fial' (did you mean 'fail'?)"),
        ("expired: {at: 3}", "gate.expired.at: unknown key"),
        ("severity_at_least: hihg", "expected critical, high, medium, low, fail, warn, ignore; got 'hihg' (did you mean 'high'?)"),
        ("severity_at_least: none", "got 'none'"),
        ("severity_at_least: {at: 3}", "gate.severity_at_least.at: expected critical, high, medium, low; got '3'"),
        ("cost_drop_percent: 200", "expected a number, 0 to 100; got 200"),
        ("cost_drop_percent: {at: 5, then: explode}", "expected fail, warn, ignore; got 'explode'"),
        ("max_days: 0", "expected a number, 1 to 3650; got 0"),
        ("max_open_days: [1]", "expected a number, 0 to 3650; got [1]"),
    ],
)
def test_a_wrong_line_of_a_policy(line, told):
    with pytest.raises(BadSystem) as error:
        policy_of(f"casemate: 1\ngate:\n  {line}\n", name="gate.yaml")
    assert told in str(error.value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(gate_policy.schema()).validate(compose(f"casemate: 1\ngate:\n  {line}\n".encode(), "x").plain())


def test_an_empty_policy_is_the_default_one():
    assert policy_of("casemate: 1\ngate: {}\n").rules == Policy().rules
    for text in ("casemate: 1\ngate:\n", "casemate: 1\ngate: []\n", ""):
        with pytest.raises(BadSystem):
            policy_of(text)


def test_a_policy_of_unknown_rules_is_refused_rule_by_rule():
    with pytest.raises(BadSystem) as error:
        policy_of("casemate: 1\ngate: {expird: fail, foo: warn}\n")
    assert [p.key for p in error.value.problems] == ["gate.expird", "gate.foo"]


def test_a_policy_without_its_head():
    with pytest.raises(BadSystem, match=r"(?s)casemate: is missing.*gate: is missing"):
        policy_of("rules: {}\n")


def test_the_shipped_schema_is_current():
    assert gate_policy.SHIPPED.read_text() == gate_policy.schema_text(), "run: python -m casemate.runs.gate_policy"
    jsonschema.Draft202012Validator.check_schema(gate_policy.schema())
