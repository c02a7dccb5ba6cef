"""The deployed interface decides the adversary: three deployments of one model, three adversaries."""

from __future__ import annotations

import time

import pytest

from casemate.core.adversary import Budget, Need
from casemate.core.system import Access, Asset, Component, Flow, Model, Principal, System, Worth
from casemate.threats.derive import adversary_for, derive, rate_limit
from casemate.threats.load import loads
from casemate.threats.rules import catalogue

SERVER = """\
casemate: 1
system:
  name: cheques
  decision: {automated: yes, reversible: no}
  target: {component: api, factory: "cheques:target"}
principals: [{id: customer, kind: customer}]
assets:
  - {id: verdict, kind: decision, value: {I: 2}}
  - {id: weights, kind: model, value: {C: 3}}
  - {id: cheques, kind: training_data, personal: no}
components:
  - id: api
    kind: server
    holds: [verdict, weights, cheques]
    model: {output: label, mutators: no}
    provenance: {parent: none}
    artifact: {format: torch_weights_only, digest_verified_at_load: yes}
    endpoint: {auth: key, rate_limit: {per: day, n: 500, key: account}, admin_exposed: no}
access:
  - {principal: customer, on: api, can: [query, see_label, see_score], budget: {queries_per_day: 500, days: 10}}
"""
SCORES = SERVER.replace("output: label", "output: score")
DEVICE = SCORES.replace("kind: server", "kind: edge_runtime").replace("can: [query", "can: [read_binary, query")
DEVICE = DEVICE.replace("parent: none", "parent: {ref: backbone, public: yes}")


# What these systems are about; they leave out the facts that the rest of the catalogue asks for.
ABOUT = tuple(rule for rule in catalogue() if rule.id in ("EV-01", "EV-02", "EV-03", "EV-04", "EX-01", "EX-02", "PR-01", "SY-01"))


def ids(text: str) -> list[str]:
    return [t.id for t in derive(loads(text), ABOUT).threats]


def test_three_deployments_three_adversaries() -> None:
    may = [adversary_for(loads(text), "customer", "api").may for text in (SERVER, SCORES, DEVICE)]
    seen = Need.SUBMIT | Need.LABEL
    copy = Need.ARTIFACT | Need.STRUCTURE | Need.GRADIENT | Need.LOGIT
    assert may == [seen, seen | Need.SCORE, seen | Need.SCORE | copy | Need.PARENT]


def test_their_threats() -> None:
    assert ids(SERVER) == ["EV-03@api#customer", "EX-01@api#customer"]
    assert ids(SCORES) == ["EV-02@api#customer", "EX-01@api#customer"]
    assert set(ids(DEVICE)) == {f"{rule}@api#customer" for rule in ("EV-01", "EV-04", "EX-02")}


def test_what_a_cheaper_way_makes_pointless_is_hidden_with_the_reason_and_its_attacks_go_on() -> None:
    derivation = derive(loads(DEVICE), ABOUT)
    assert {(h.threat, h.by) for h in derivation.hidden} == {
        ("EV-02@api#customer", "EV-01@api#customer"),
        ("EX-01@api#customer", "EX-02@api#customer"),
    }
    assert derivation.why_not("EX-01@api#customer").startswith("hidden by EX-02@api#customer: who holds the model")
    white = next(t for t in derivation.threats if t.rule == "EV-01")
    assert set(white.tests) >= {"evasion.pgd", "suite.standard"}


def test_no_question_is_open_where_everything_is_stated() -> None:
    assert derive(loads(SERVER), ABOUT).questions == ()


def test_hiding_the_scores_is_a_change_of_facts() -> None:
    hidden = loads(SCORES).replace_fact("api.model.output", "label")
    assert [t.id for t in derive(hidden, ABOUT).threats] == ids(SERVER)


def test_the_shown_output_beats_the_access_row_and_says_so() -> None:
    adversary = adversary_for(loads(SERVER), "customer", "api")
    assert any("shows label only" in reason for reason in adversary.derived_from)


def test_the_budget_is_the_principals_and_the_rate_limit_is_not_in_it() -> None:
    system = loads(SERVER)
    assert adversary_for(system, "customer", "api").budget == Budget(queries=5000, days=10)
    limit = rate_limit(system, "api")
    assert limit is not None
    assert limit != "none"
    assert limit.n == 500
    unlimited = loads(SERVER.replace(", budget: {queries_per_day: 500, days: 10}", ""))
    assert adversary_for(unlimited, "customer", "api").budget == Budget()


def test_an_assumed_length_is_said() -> None:
    adversary = adversary_for(loads(SERVER.replace(", days: 10", "")), "customer", "api")
    assert adversary.budget.queries == 15_000
    assert any("30 days assumed" in reason for reason in adversary.derived_from)


@pytest.mark.parametrize(
    ("can", "need"),
    [
        ("control_sensor", Need.SENSOR | Need.SUBMIT),
        ("read_data", Need.DATA),
        ("read_weights", Need.ARTIFACT | Need.STRUCTURE | Need.GRADIENT | Need.LABEL | Need.SCORE | Need.LOGIT),
        ("query, see_logits", Need.SUBMIT | Need.LABEL | Need.SCORE | Need.LOGIT),
        ("see_logits", Need.NONE),
        ("query", Need.SUBMIT),
    ],
)
def test_each_capability_grants_what_the_design_says(can: str, need: Need) -> None:
    text = SERVER.replace("output: label, ", "").replace("query, see_label, see_score", can)
    assert adversary_for(loads(text), "customer", "api").may == need


@pytest.mark.parametrize("can", ["inject_data", "modify_data", "write_labels", "write_feedback"])
def test_writers_of_training_data_contribute(can: str) -> None:
    text = SERVER.replace("query, see_label, see_score", can).replace(
        "queries_per_day: 500", "samples: 50, accounts: 3"
    )
    text = text.replace("endpoint: {auth", "training: {documented: yes}\n    endpoint: {auth")
    adversary = adversary_for(loads(text), "customer", "api")
    assert adversary.may == Need.CONTRIBUTE | Need.RECIPE
    assert (adversary.budget.records, adversary.budget.accounts) == (50, 3)
    assert adversary.knowledge == ("recipe",)


def test_impact_is_worth_and_consequence() -> None:
    threat = derive(loads(SERVER)).threats[0]
    assert (threat.impact, threat.target) == (3, "api")
    assert threat.impact_because == "verdict.value.I = 2 (asserted), cannot be undone"
    weights = next(t for t in derive(loads(SERVER)).threats if t.rule == "EX-01")
    assert weights.impact == 3


def test_the_owner_of_a_device_is_not_limited_by_it() -> None:
    text = DEVICE.replace(", rate_limit: {per: day, n: 500, key: account}", "")
    assert "EX-01@api#customer" in [h.threat for h in derive(loads(text)).hidden]
    assert not [q for q in derive(loads(text)).questions if "rate_limit" in q.path]


def test_why_not() -> None:
    derivation = derive(loads(SERVER))
    assert "capped to label" in derivation.why_not("EV-02@api#customer")
    assert derivation.why_not("EV-03@api#customer") == ""


def test_questions_are_ranked_by_what_hangs_on_them() -> None:
    text = SERVER.replace("personal: no", "personal: unknown").replace("can: [query", "unsure: [query], can: [replay")
    text = text.replace("can: [replay, ", "can: [")
    derivation = derive(loads(text), ABOUT)
    assert [q.path for q in derivation.questions] == ["access(customer, api): query", "cheques.personal"]
    first = derivation.questions[0]
    assert first.text.startswith("Can customer send inputs of its own choice to api?")
    assert first.weight == sum(u.impact for u in derivation.undecided if u.id in first.threats)
    assert first.place == ("<text>", 20)


def test_an_unbound_artifact_is_tested_where_it_runs() -> None:
    text = SERVER.replace(
        "components:", "components:\n  - {id: file, kind: model_artifact, artifact: {format: pickle}}"
    )
    text = text.replace("digest_verified_at_load: yes", "digest_verified_at_load: no")
    text += "flows: [{from: file, to: api}]\n"
    text = text.replace(
        "artifact: {format: pickle}",
        "artifact: {format: pickle, digest_verified_at_load: no, signature_verified_at_load: no}",
    )
    threat = next(t for t in derive(loads(text)).threats if t.id == "SY-01@file")
    assert (threat.target, threat.adversary.may) == ("api", Need.ARTIFACT)


WORKED = """\
casemate: 1
system: {name: page-guard, task: binary, modality: image, decision: {automated: yes, reversible: yes}}
zones: [{id: user_device, trust: user_device}, {id: prod, trust: prod}]
principals:
  - {id: web, kind: anonymous}
  - {id: user, kind: customer, zone: user_device}
  - {id: hub, kind: data_provider}
components:
  - {id: cam, kind: preprocess, zone: user_device}
  - {id: m, kind: edge_runtime, zone: user_device, model: {family: nn, differentiable: yes, output: score},
     provenance: {parent: {ref: public-backbone, public: yes, digest: null}},
     artifact: {format: tflite, signed: unknown, signature_verified_at_load: unknown}}
  - {id: fb, kind: feedback, zone: prod}
  - {id: tr, kind: trainer, zone: prod, training: {sources: [fb], review: sample}}
flows:
  - {from: web, to: cam, transforms: [resize]}
  - {from: cam, to: m}
  - {from: user, to: fb}
  - {from: fb, to: tr}
  - {from: tr, to: m}
access:
  - {principal: web, on: cam, can: [inject_data]}
  - {principal: user, on: m, can: [read_binary, query, see_score]}
  - {principal: user, on: fb, can: [write_feedback], budget: {accounts: 50}}
"""


def test_the_worked_example() -> None:
    derivation = derive(loads(WORKED))
    fired = {t.id for t in derivation.threats}
    assert {"EV-04@m#web", "EV-04@m#user", "EV-02@m#user", "PO-01@m#user"} <= fired
    open_ = {u.id for u in derivation.undecided}
    assert {"SY-02@m", "PR-01@m#user", "EX-02@m#user", "EV-01@m#user"} <= open_  # unknown is not no
    assert not any(id.startswith("AV-01") for id in fired | open_)  # there is no endpoint
    assert not any("#hub" in id for id in fired | open_)


def test_pure_and_stable() -> None:
    first, second = derive(loads(WORKED)), derive(loads(WORKED))
    assert first == second
    shuffled = loads(WORKED)
    turned = System(
        name=shuffled.name,
        decision=shuffled.decision,
        zones=shuffled.zones,
        principals=shuffled.principals[::-1],
        components=shuffled.components[::-1],
        flows=shuffled.flows[::-1],
        access=shuffled.access[::-1],
    )
    assert [t.id for t in derive(turned).threats] == [t.id for t in first.threats]


def test_forty_components_do_not_take_forever() -> None:
    """A guard against hanging; how quick it is stands in the benchmarks."""
    serves = [f"c{i}" for i in range(0, 40, 4)]
    system = System(
        principals=tuple(Principal(id=f"p{i}", kind="customer") for i in range(4)),
        assets=(Asset(id="d", kind="decision", value=Worth(integrity=3)),),
        components=tuple(
            Component(id=f"c{i}", kind="server", model=Model(output="score"))
            if f"c{i}" in serves
            else Component(id=f"c{i}", kind="preprocess")
            for i in range(40)
        ),
        flows=tuple(Flow(from_=f"c{i}", to=f"c{i + 1}") for i in range(39)),
        access=tuple(Access(principal=f"p{i}", on=on, can=("query", "see_score")) for i in range(4) for on in serves),
    )
    begin = time.perf_counter()
    assert derive(system).threats
    assert time.perf_counter() - begin < 60


def test_rules_about_outsiders_fire_where_nobody_is_described_regression() -> None:
    text = """\
casemate: 1
system: {name: s}
components:
  - id: srv
    kind: server
    endpoint: {auth: none}
    artifact: {format: pickle, digest_verified_at_load: no, signed: no, signature_verified_at_load: no}
"""
    assert {"SY-01@srv", "SY-02@srv", "SY-05@srv"} <= {t.id for t in derive(loads(text)).threats}


def test_a_component_of_unknown_kind_is_asked_about_regression() -> None:
    derivation = derive(loads("casemate: 1\nsystem: {name: s}\ncomponents: [{id: mystery}]"))
    assert [(q.path, q.threats) for q in derivation.questions] == [("mystery.kind", ())]


def test_a_stated_worth_beats_the_floor_of_the_catalogue_regression() -> None:
    text = SERVER.replace("kind: decision, value: {I: 2}", "kind: decision, value: {I: 0}")
    impacts = {t.rule: t.impact for t in derive(loads(text), ABOUT).threats}
    assert impacts["EV-03"] == 0


def test_what_caps_an_output_is_no_model_of_its_own_regression() -> None:
    text = SERVER.replace("access:", "  - {id: gw, kind: postprocess, model: {output: label}}\nflows: [{from: api, to: gw}]\naccess:")
    assert not [t.id for t in derive(loads(text)).threats if t.element == "gw"]
