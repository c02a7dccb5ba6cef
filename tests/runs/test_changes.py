"""What differs between two assessments: each transition has one name, and nothing is fixed because nobody looked."""

import json
from dataclasses import replace

import pytest

from casemate.core.evidence import Cost, Evidence, Interval, Status, Verdict
from casemate.core.finding import Assessment, Finding, Hidden
from casemate.core.risk import Risk
from casemate.report.as_json import render
from casemate.runs.changed_facts import changed_facts
from casemate.runs.changes import compare, pairs, states
from casemate.runs.derived import derived
from casemate.runs.read_back import Misfit, assessment_of, read_report
from casemate.threats.load import loads

SHOP = """
casemate: 1
system: {name: shop, task: binary, modality: tabular}
zones: [{id: outside, trust: public}, {id: inside, trust: prod}]
principals: [{id: customer, kind: customer, zone: outside}]
assets: [{id: verdict, kind: decision, value: {I: 3}}]
components:
  - {id: api, kind: server, zone: inside, holds: [verdict], model: {output: label}, endpoint: {auth: key, rate_limit: none}}
flows: [{from: customer, to: api, data: [verdict], channel: https}]
access: [{principal: customer, on: api, can: [query, see_label]}]
"""


def evidence(rate=0.4, interval=(0.3, 0.5), attack="evasion.square", verdict=Verdict.BROKEN, curves=None):
    return Evidence(
        attack=attack, params={}, adversary="customer@api", may=("submit",), budget="1,000 queries", target="toy", fingerprint=None,
        case="evade", seed=0, measure="rows broken", rate=rate, interval=interval and Interval(*interval), n=50, verdict=verdict,
        curves=curves or {},
    )  # fmt: skip


def finding(status=Status.BROKEN, threat="EV-02@api#customer", **more):
    given = {"title": "Score-based evasion", "element": "api", "principal": "customer", "explanation": "", "impact": 3, **more}
    return Finding(threat=threat, rule=threat[:5], status=status, **given)


def assessment(*findings, **more):
    return Assessment(**{"name": "toy", "path": "toy.yaml", "system": None, "findings": findings, **more})


def change(before, after, **hidden):
    """The one difference of two assessments of at most one finding each."""
    sides = [assessment(*(f for f in (side,) if f), hidden=hidden.get(name, ())) for name, side in (("was", before), ("now", after))]
    found = compare(sides[0], replace(sides[1], system=loads(SHOP)))
    (only,) = found.threats
    return only, found.code


S = Status
TURNS = [
    (None, S.UNTESTED, "new", 1), (None, S.BROKEN, "new", 1), (None, S.QUESTION, "asked", 2),
    (S.RESISTED, S.BROKEN, "regressed", 1), (S.MITIGATED, S.BROKEN, "regressed", 1), (S.UNTESTED, S.BROKEN, "regressed", 1),
    (S.QUESTION, S.BROKEN, "regressed", 1), (S.QUESTION, S.UNTESTED, "new", 1), (S.QUESTION, S.RESISTED, "improved", 0),
    (S.BROKEN, S.RESISTED, "fixed", 0), (S.BROKEN, S.MITIGATED, "fixed", 0), (S.BROKEN, None, "fixed", 0), (S.UNTESTED, None, "fixed", 0),
    (S.QUESTION, None, "improved", 0),
    (S.BROKEN, S.UNTESTED, "lost", 2), (S.BROKEN, S.ERROR, "lost", 2), (S.BROKEN, S.INCONCLUSIVE, "lost", 2), (S.RESISTED, S.UNTESTED, "lost", 2),
    (S.RESISTED, S.STALE, "lost", 2), (S.BROKEN, S.QUESTION, "asked", 2), (S.UNTESTED, S.QUESTION, "asked", 2),
    (S.UNTESTED, S.RESISTED, "improved", 0), (S.ERROR, S.CERTIFIED, "improved", 0), (S.UNTESTED, S.CLAIMED, "changed", 0),
    (S.UNTESTED, S.INCONCLUSIVE, "changed", 2), (S.RESISTED, S.CERTIFIED, "improved", 0),
    (S.BROKEN, S.BROKEN, "unchanged", 0), (S.QUESTION, S.QUESTION, "unchanged", 0), (S.BROKEN, S.NOT_APPLICABLE, "fixed", 0),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "category", "code"), TURNS)
def test_every_turn_has_its_name(before, after, category, code):
    found, exit_code = change(before and finding(before), after and finding(after))
    assert (found.category, exit_code) == (category, code)
    assert bool(found.because) is (category != "unchanged")


OTHER = "EV-03@api#customer"


def left_out(status, *after):
    """A threat that an assessment without a description does not list."""
    found = compare(assessment(finding(status), finding(threat=OTHER)), assessment(*after))
    return next((c.category, c.worse) for c in found.threats if c.threat != OTHER), found.code


def test_a_break_that_a_report_leaves_out_was_not_shown_to_be_gone():
    rest = finding(threat=OTHER)
    assert left_out(S.BROKEN, rest) == (("lost", None), 2)
    assert left_out(S.UNTESTED, rest) == (("fixed", False), 0)
    assert left_out(S.BROKEN, rest, finding(S.NOT_APPLICABLE)) == (("fixed", False), 0)


@pytest.mark.parametrize("status", [S.BROKEN, S.UNTESTED, S.RESISTED, S.QUESTION])
def test_of_a_system_that_is_not_there_any_more_nothing_is_known(status):
    assert left_out(status) == (("lost", None), 2)
    assert compare(assessment(), assessment()).code == 2
    assert compare(assessment(), replace(assessment(), system=loads(SHOP))).code == 0


def test_it_is_said_precisely():
    broken = finding(evidence=(evidence(),), cost=Cost(queries=42))
    said = change(finding(Status.UNTESTED), broken)[0].because
    assert said == "was never tested; broken (rows broken 0.4 by evasion.square, 42 queries; budget: 1,000 queries)"
    held = finding(Status.RESISTED, evidence=(evidence(0.0, (0.0, 0.07), verdict=Verdict.RESISTED),))
    assert change(held, broken)[0].because.startswith("was resisted (rows broken 0 by evasion.square; budget: 1,000 queries); broken (")
    assert change(broken, finding(Status.UNTESTED))[0].because.endswith("nobody has shown since that it is not")


def test_hidden_is_neither_new_nor_fixed():
    by = (Hidden(threat="EV-02@api#customer", title="", by="EV-01@api#customer", because="cheaper"),)
    gone, code = change(finding(), None, now=by)
    assert (gone.category, code) == ("changed", 0) and "now hidden by EV-01@api#customer: cheaper" in gone.because
    back, code = change(None, finding(Status.UNTESTED), was=by)
    assert (back.category, code) == ("changed", 0) and "was hidden by EV-01" in back.because
    assert change(None, finding(), was=by)[0].category == "new"


def curve(*points):
    return {"queries": [tuple(map(float, p)) for p in points]}


def cost(queries, curves=None, **more):
    return finding(cost=Cost(queries=queries), evidence=(evidence(curves=curves),), **more)


NEAR = curve((10, 0.3, 0.2, 0.4), (80, 0.4, 0.3, 0.55), (100, 0.5, 0.4, 0.6), (130, 0.7, 0.55, 0.8))  # 80 to 130
FAR = curve((5, 0.4, 0.2, 0.51), (20, 0.6, 0.52, 0.7))  # 5 to 20


def test_a_cost_moved_only_outside_its_interval():
    fell, code = change(cost(100, NEAR), cost(15, FAR))
    assert (fell.category, fell.worse, code) == ("moved", True, 1)
    assert fell.because == "a break costs 100 -> 15 queries (intervals [80, 130] and [5, 20])"
    rose, code = change(cost(15, FAR), cost(100, NEAR))
    assert (rose.category, rose.worse, code) == ("moved", False, 0)
    assert change(cost(100, NEAR), cost(81, NEAR))[0].category == "unchanged"


def test_without_an_interval_a_cost_moves_between_bands():
    assert change(cost(900), cost(20))[0].category == "unchanged"
    moved, code = change(cost(5000), cost(20))
    assert moved.category == "moved" and code == 1 and "another band; no interval known" in moved.because
    half_known = change(cost(5000), cost(15, FAR))[0]
    assert half_known.category == "moved" and "no interval known" in half_known.because


def test_half_of_the_rows_and_fewer():
    more, code = change(finding(cost=Cost(queries=None, censored_at=500)), cost(200))
    assert (more.category, code) == ("moved", 1) and "fewer than half of the rows broke before, half do now" in more.because
    less, code = change(cost(200), finding(cost=Cost(queries=None, censored_at=500)))
    assert (less.category, code) == ("moved", 0)


def test_a_rate_moved_only_where_the_intervals_are_apart():
    low, near, high = (
        finding(Status.RESISTED, evidence=(evidence(rate, span, verdict=Verdict.RESISTED),))
        for rate, span in ((0.02, (0.0, 0.08)), (0.06, (0.02, 0.14)), (0.3, (0.2, 0.4)))
    )
    assert change(low, near)[0].category == "unchanged"
    assert change(low, high)[0].category == "moved" and change(low, high)[1] == 1
    assert change(high, low)[1] == 0
    other = replace(high, evidence=(evidence(0.3, (0.2, 0.4), attack="evasion.edits", verdict=Verdict.RESISTED),))
    assert change(low, other)[0].category == "unchanged"  # two attacks are not compared with each other


def test_a_break_that_matters_more_is_worse():
    graver, code = change(finding(severity="low", impact=1), finding(severity="critical", impact=4))
    assert (graver.category, code) == ("regressed", 1) and graver.because == "severity low -> critical (impact 1 -> 4)"
    assert change(finding(severity="critical"), finding(severity="low"))[0].category == "improved"


def test_worse_wins_over_could_not_tell():
    found = compare(assessment(finding(), finding(S.RESISTED, "EV-03@api#customer")), assessment(finding(S.UNTESTED), finding(S.BROKEN, "EV-03@api#customer")))
    assert [c.category for c in found.threats] == ["regressed", "lost"] and found.code == 1


def test_baseline_states():
    before = assessment(finding(threat="A-01@x"), finding(threat="A-02@x"), finding(threat="A-03@x"))
    after = assessment(finding(threat="A-01@x"), finding(S.RESISTED, "A-02@x"), finding(threat="A-04@x"))
    assert states(before, after) == {"A-01@x": "unchanged", "A-02@x": "updated", "A-03@x": "absent", "A-04@x": "new"}


def test_questions_opened_answered_and_no_longer_asked():
    asked = [{"field": f, "text": f"{f}?", "threats": [], "impact": 1} for f in
             ("api.endpoint.auth", "api.endpoint.rate_limit", "access(customer, api): see_score", "gone.model.output", "api.nothing")]  # fmt: skip
    before = assessment(questions=tuple(asked), system=loads(SHOP))
    opened = {"field": "c.d", "text": "c.d?", "threats": [], "impact": 1}
    found = compare(before, assessment(questions=(opened,), system=loads(SHOP.replace(", rate_limit: none", ""))))
    assert [q["field"] for q in found.opened] == ["c.d"]
    assert [q["field"] for q in found.answered] == ["api.endpoint.auth", "access(customer, api): see_score"]
    assert [q["field"] for q in found.dropped] == ["api.endpoint.rate_limit", "gone.model.output", "api.nothing"]
    unsure = SHOP.replace("can: [query, see_label]", "can: [query, see_label], unsure: [see_score]")
    assert asked[2] in compare(before, assessment(system=loads(unsure))).dropped
    worth = assessment(questions=({**opened, "field": "assets(decision): I"}, {**opened, "field": "assets(decision): C"}), system=loads(SHOP))
    found = compare(worth, assessment(system=loads(SHOP)))
    assert [[q["field"] for q in side] for side in (found.answered, found.dropped)] == [["assets(decision): I"], ["assets(decision): C"]]
    data = compare(before, assessment()).to_dict()  # a report: nobody can look
    assert data["questions_answered"] == [] and len(data["questions_no_longer_asked"]) == 5


# A harder way in place of an easier one -------------------------------------------------------------------------------------

CELL = {"phase": "inference", "goal": "wrong", "surface": "api", "capability": "query"}


def way(threat, low, high=None, status=Status.UNTESTED, **more):
    """A threat whose cost the catalogue assumes."""
    basis = "measured" if status is Status.BROKEN else "prior"
    risk = None if low is None else Risk(impact=3, impact_because="", low=low, high=high or 10 * low, basis=basis, currency=more.pop("currency", ""))
    return finding(status, f"{threat}@api#customer", **{"risk": risk, "cell": CELL, **more})


def kind(old, new):
    found = compare(assessment(*old), replace(assessment(*new), system=loads(SHOP)))
    return {c.threat[:5]: c.category for c in found.threats}, found.code


def test_a_harder_way_replaces_an_easier_one_and_an_easier_one_is_new():
    assert kind([way("EV-02", 100)], [way("EV-03", 1000)]) == ({"EV-02": "fixed", "EV-03": "replaced"}, 0)
    assert kind([way("EV-02", 100)], [way("EV-03", 100)]) == ({"EV-02": "fixed", "EV-03": "replaced"}, 0)
    assert kind([way("EV-02", 100)], [way("EV-03", 99)]) == ({"EV-02": "fixed", "EV-03": "new"}, 1)
    one = compare(assessment(way("EV-02", 100)), assessment(way("EV-03", 1000))).threats[0]
    assert one.because.startswith("in place of EV-02@api#customer, which is gone; its cost 100 to 1,000 (assumed) -> 1,000 to 10,000 (assumed)")


@pytest.mark.parametrize(
    "more",
    [
        {"impact": 4}, {"element": "web"}, {"principal": "eve"}, {"cell": {**CELL, "goal": "copy"}}, {"cell": {**CELL, "phase": "training"}},
        {"cell": {}}, {"high": 500}, {"currency": "EUR"}, {"low": None}, {"status": Status.BROKEN},
    ],
)  # fmt: skip
def test_what_is_another_aim_or_not_surely_harder_is_new(more):
    given = {"threat": "EV-03", "low": 1000, **more}
    assert kind([way("EV-02", 100)], [way(**given)])[0]["EV-03"] == "new"


def test_a_lower_impact_replaces_too():
    assert kind([way("EV-02", 100)], [way("EV-03", 1000, impact=2)])[1] == 0


@pytest.mark.parametrize("status", [Status.RESISTED, Status.MITIGATED, Status.CERTIFIED])
def test_what_was_shown_to_hold_leaves_nothing_to_replace(status):
    assert kind([way("EV-02", 100, status=status)], [way("EV-03", 1000)])[0]["EV-03"] == "new"


def test_an_open_question_leaves_nothing_to_replace():
    assert kind([way("EV-02", 100, status=Status.QUESTION)], [way("EV-03", 1000)])[0]["EV-03"] == "new"


def test_what_stays_was_not_replaced():
    both = [way("EV-02", 100), way("EV-03", 1000)]
    assert kind([way("EV-02", 100)], both) == ({"EV-02": "unchanged", "EV-03": "new"}, 1)
    hidden = (Hidden(threat="EV-02@api#customer", title="", by="EV-01@api#customer", because="cheaper"),)
    found = compare(assessment(way("EV-02", 100)), assessment(way("EV-03", 1000), hidden=hidden))
    assert {c.threat[:5]: c.category for c in found.threats} == {"EV-02": "changed", "EV-03": "new"}


def test_measured_costs_are_compared_as_measured():
    def broken(threat, queries):
        return way(threat, None, status=Status.BROKEN, cost=Cost(queries=queries))

    assert kind([broken("EV-02", 40)], [broken("EV-03", 900)])[0]["EV-03"] == "replaced"
    assert kind([broken("EV-02", 900)], [broken("EV-03", 40)])[0]["EV-03"] == "new"
    assert kind([way("EV-02", 100, status=Status.BROKEN)], [way("EV-03", 1000)])[0]["EV-03"] == "replaced"
    assert kind([broken("EV-02", 40)], [way("EV-03", 1000)])[0]["EV-03"] == "new"  # queries and money are not compared


def test_a_break_that_a_report_leaves_out_can_be_replaced():
    sides = way("EV-02", 100, status=Status.BROKEN), way("EV-03", 1000)
    found = compare(*(assessment(one) for one in sides))
    assert ({c.threat[:5]: c.category for c in found.threats}, found.code) == ({"EV-02": "lost", "EV-03": "replaced"}, 2)


def test_scores_taken_away_is_no_worse():
    scores = SHOP.replace("output: label", "output: score").replace("see_label]", "see_label, see_score]")
    sides = [derived(loads(text))[1] for text in (scores, SHOP)]
    found = compare(*sides)
    assert found.code == 0, [(c.threat, c.category, c.because) for c in found.threats if c.worse]
    assert compare(sides[1], sides[0]).code == 1


def test_pairs_by_name():
    a, b, c = (assessment(finding(), name=name) for name in "abc")
    assert pairs([a], [b]) == [(a, b)]
    found = pairs([a, b], [c, b])
    assert [(x.name, x.findings != (), y.name, y.findings != ()) for x, y in found] == [
        ("a", True, "a", False), ("b", True, "b", True), ("c", False, "c", True),
    ]  # fmt: skip
    assert len(pairs([a, a], [a, a])) == 2


# Facts --------------------------------------------------------------------------------------------------------------------


def facts(*changes):
    text = SHOP
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return {f.path: f for f in changed_facts(loads(SHOP, name="a"), loads(text, name="b"))}


def test_facts_are_compared_where_both_sides_have_a_description():
    both = [assessment(finding(), system=loads(text)) for text in (SHOP, SHOP.replace("auth: key", "auth: none"))]
    found = compare(*both)
    assert [f.path for f in found.facts] == ["api.endpoint.auth"]
    data = found.to_dict()
    assert data["facts"][0]["after"] == "none" and data["unchanged"] == [finding().threat] and data["changes"] == []
    assert compare(both[0], assessment()).to_dict()["changes"][0]["after"] is None


def test_the_same_description_has_no_changed_fact():
    assert facts() == {}


def test_a_changed_fact_has_both_values_sources_and_a_place():
    found = facts(("output: label", "output: {value: score, source: measured}"), ("see_label]", "see_label, see_score]"))
    assert set(found) == {"api.model.output", "access(customer, api).can"}
    one = found["api.model.output"]
    assert str(one) == "api.model.output: label -> score (measured)" and one.place == ("b", 8)
    assert str(found["access(customer, api).can"]).endswith(": query, see_label -> query, see_label, see_score")


def test_a_change_of_source_alone_is_a_change():
    (one,) = facts(("output: label", "output: {value: label, source: measured}")).values()
    assert str(one) == "api.model.output: label -> label (measured)"


def test_stated_and_no_longer_stated():
    assert str(facts(("auth: key, ", ""))["api.endpoint.auth"]) == "api.endpoint.auth: key -> not stated"
    assert str(facts(("task: binary, ", ""))["system.task"]) == "system.task: binary -> not stated"


def test_an_element_is_one_change():
    more = "principals: [{id: customer, kind: customer, zone: outside}, {id: eve, kind: anonymous, zone: outside}]"
    found = facts(("principals: [{id: customer, kind: customer, zone: outside}]", more))
    assert [str(f) for f in found.values()] == ["eve: principal added"]


def test_long_values_that_differ_at_their_end_differ():
    long = "x" * 300
    before = loads(SHOP.replace("name: shop", f"name: shop, description: {long}1"))
    after = loads(SHOP.replace("name: shop", f"name: shop, description: {long}2"))
    (one,) = changed_facts(before, after)
    assert one.path == "system.description" and len(one.after) == 120


# Read back ----------------------------------------------------------------------------------------------------------------


def test_a_report_reads_back_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # paths from elsewhere are made short in what is written
    (tmp_path / "system.yaml").write_text(SHOP)
    alone = derived("system.yaml")[1]
    measured = replace(
        alone, findings=(cost(15, FAR, mappings={"atlas": ["x"]}), finding(S.ERROR, "A-01@x", cost=Cost(queries=float("inf")))), name="two"
    )
    back = read_report(render([alone, measured]).encode(), "report.json")
    assert back == (replace(alone, system=None), replace(measured, system=None))
    assert assessment_of(json.loads(json.dumps(measured.to_dict()))) == replace(measured, system=None)
    assert compare(alone, back[0]).code == 0 and compare(alone, back[0]).facts is None


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda d: d.update(format="casemate.report/9"), "expected a report of the format"),
        (lambda d: d.update(assessments={}), "assessments: expected a list; got {}"),
        (lambda d: d["assessments"].append(3), r"assessments\[1\]: expected a mapping; got 3"),
        (lambda d: d["assessments"][0].pop("name"), r"assessments\[0\]: name is missing"),
        (lambda d: d["assessments"][0]["findings"][0].update(status="brokn"), "status: expected broken, resisted, .*; got 'brokn'"),
        (lambda d: d["assessments"][0]["findings"][0].update(impact=True), "impact: expected int; got True"),
        (lambda d: d["assessments"][0]["findings"][0].update(cost={"queries": "many"}), "queries: expected a number; got 'many'"),
        (lambda d: d["assessments"][0].update(questions="x" * 200), "questions: expected a list; got 'xxx"),
    ],
)
def test_what_is_no_report_is_refused_by_name(edit, told):
    data = json.loads(render([assessment(finding())]))
    edit(data)
    with pytest.raises(Misfit, match=told):
        read_report(json.dumps(data).encode(), "report.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"format": NaN}'])
def test_what_is_no_json_is_refused(data):
    with pytest.raises(Misfit, match=r"report\.json"):
        read_report(data, "report.json")
