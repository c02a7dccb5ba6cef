"""What an attacker holds after a threat, and the places that are told by what a component states."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from casemate.core.entities import ComponentKind
from casemate.core.risk import middle
from casemate.core.system import Component, System
from casemate.threats.as_if import places
from casemate.threats.chains import chains
from casemate.threats.derive import derive
from casemate.threats.expressions import BadRule
from casemate.threats.load import loads
from casemate.threats.rules import CATALOGUE, Gives, catalogue, instances, read_rules

RULES = {rule.id: rule for rule in catalogue()}
STORE = "casemate: 1\nsystem: {name: x}\ncomponents: [{id: store, kind: registry, storage: {outsiders_read: %s, outsiders_write: %s}}]\n"


@pytest.mark.parametrize(
    ("read", "write", "gained"),
    [
        ("yes", "no", {"read_weights", "read_data"}),
        ("no", "yes", {"write_weights", "modify_data"}),
        ("yes", "yes", {"read_weights", "read_data", "write_weights", "modify_data"}),
        ("yes", "unknown", {"read_weights", "read_data"}),
    ],
)
def test_an_open_store_gives_what_it_is_open_for(read: str, write: str, gained: set[str]) -> None:
    gives = RULES["SY-06"].gains(loads(STORE % (read, write)), "store")
    assert {can for give in gives for can in give.can} == gained
    assert {give.on for give in gives} == {"here"}


def test_a_gain_without_a_condition_is_always_held() -> None:
    rule = RULES["SY-03"]
    assert rule.gains(System(components=(Component(id="c"),)), "c") == rule.gives != ()


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("{path: $p.kind, is: customer}", "starts at nothing known"),
        ("{path: $c.storage.outsiders_reed, is: yes}", "did you mean 'outsiders_read'"),
        ("soon", "exactly one of"),
    ],
)
def test_a_condition_of_a_gain_is_checked_when_it_is_read(tmp_path: Path, when: str, told: str) -> None:
    text = (CATALOGUE / "EX-02.yaml").read_text()
    bad = tmp_path / "EX-02.yaml"
    bad.write_text(text.replace("{can: [read_weights], on: here}", f"{{can: [read_weights], on: here, when: {when}}}"))
    with pytest.raises(BadRule, match=told):
        read_rules([bad, CATALOGUE / "EX-01.yaml"])


def test_records_are_places() -> None:
    text = """
casemate: 1
system: {name: x}
principals: [{id: eve}]
components:
  - {id: plain, kind: server}
  - {id: job, kind: trainer, workspace: {path: job.yaml}, dependencies: {pinned: yes}, storage: {outsiders_read: no}}
  - {id: study, kind: notebook}
"""
    system = loads(text)
    asked = {id: [component for component, _ in instances(RULES[id], system)] for id in ("SY-03", "SY-04", "SY-06")}
    assert asked == {"SY-03": ["job"], "SY-04": ["job", "study"], "SY-06": ["job"]}


SECRET = """
casemate: 1
system: {name: x}
zones: [{id: web, trust: public}, {id: in, trust: prod}]
principals: [{id: cust, kind: customer, zone: web}]
assets:
  - {id: dec, kind: decision, value: {I: 3, A: 2}}
  - {id: td, kind: training_data, aggregates_secret: yes, personal: yes, public: no, value: {C: 3}}
components:
  - {id: nb, kind: notebook, zone: in, holds: [td], workspace: {secrets_in_plain: yes, outputs_kept: no}, storage: {outsiders_read: no}}
  - {id: job, kind: data_source, zone: in, workspace: {secrets_in_plain: yes}, storage: {outsiders_read: no}}
  - {id: tr, kind: trainer, zone: in, training: {review: all}}
  - {id: file, kind: registry, zone: in, artifact: {digest_verified_at_load: no, signature_verified_at_load: no}}
  - {id: api, kind: server, zone: in, holds: [dec], model: {family: svm, stores_training_examples: %s, output: score}}
flows: [{from: nb, to: tr}, {from: job, to: tr}, {from: tr, to: file}, {from: file, to: api}]
access: [{principal: cust, on: api, can: [query, %s]}]
"""


def test_what_is_known_of_the_whole_of_the_records_makes_a_stand_in() -> None:
    found = {chain.steps for chain in chains(derive(loads(SECRET % ("no", "see_score")), catalogue()))}
    assert ("PR-03@api#cust", "EV-06@api#cust") in found


@pytest.mark.parametrize(("stored", "seen", "first"), [("no", "see_score", "PR-03"), ("yes", "read_weights", "PR-04")])
def test_records_that_are_read_off_a_model_open_no_file(stored: str, seen: str, first: str) -> None:
    derivation = derive(loads(SECRET % (stored, seen)), catalogue())
    assert f"{first}@api#cust" in {threat.id for threat in derivation.threats}
    assert [c.steps for c in chains(derivation) if any(step.startswith("SY-04") for step in c.steps)] == []
    # The same words elsewhere would: what keeps them apart is where the gain lies.
    opened = loads((SECRET % (stored, seen)).replace("access: [", "access: [{principal: cust, on: nb, can: [read_data]}, "))
    assert "SY-04@nb#cust" in {threat.id for threat in derive(opened, catalogue()).threats}


def test_records_lie_where_training_gets_them_but_in_no_workspace() -> None:
    system = loads(SECRET % ("no", "see_score"))
    assert set(places(system, Gives(can=("read_data",), on="training"), "api")) == {"nb", "job", "tr"}
    assert set(places(system, Gives(can=("read_data",), on="records"), "api")) == {"tr"}


def test_a_package_opens_the_secrets_of_its_neighbours_and_they_the_model_file() -> None:
    text = (SECRET % ("no", "see_label")).replace(
        "components:", "components:\n  - {id: libs, kind: dependency_set, zone: in, dependencies: {pinned: no, hashed: no}}"
    )
    found = {chain.steps for chain in chains(derive(loads(text), catalogue()))}
    assert ("SY-03@libs", "SY-04@nb#supplier") in found
    assert any(steps[0] == "SY-03@libs" and steps[-1] == "PO-07@file#supplier" and len(steps) == 3 for steps in found)


def test_secrets_that_nobody_is_said_to_read_are_asked_about() -> None:
    text = (SECRET % ("no", "see_label")).replace("outsiders_read: no", "outsiders_read: %s")
    unknown = derive(loads(text % ("unknown", "no")), catalogue())
    assert {"SY-04@nb#cust"} <= {u.id for u in unknown.undecided}
    asked = {q.path: q for q in unknown.questions}
    assert "in plain text" in asked["nb.storage.outsiders_read"].text and "job.storage.outsiders_read" not in asked
    assert "SY-04@nb#cust" in {t.id for t in derive(loads(text % ("yes", "no")), catalogue()).threats}


PAIRS = [(rule.id, over) for rule in catalogue() for over in rule.dominated_by]


@pytest.mark.parametrize(("id", "over"), PAIRS)
def test_what_hides_another_threat_costs_no_more(id: str, over: str) -> None:
    """Or "cheaper" would be said of what is dearer."""
    hidden, by = RULES[id].prior, RULES[over].prior
    assert middle(by.low, by.high) <= middle(hidden.low, hidden.high)
    assert by.low <= hidden.low and by.high <= hidden.high


def test_some_threats_hide_others() -> None:
    assert ("PO-01", "PO-07") in PAIRS and len(PAIRS) > 5


NAMED = """
casemate: 1
system: {name: x}
components:
  - {id: tr, kind: trainer, training: {review: none}, provenance: {datasets: ["https://example.com/a.csv"]}, dataset: {external: yes, digest_verified: no}}
  - {id: api, kind: server, provenance: {datasets: ["https://example.com/a.csv"], parent: none}}
flows: [{from: tr, to: api}]
"""


def test_data_sets_that_are_only_named_are_asked_about_once_and_lead_on() -> None:
    derivation = derive(loads(NAMED), catalogue())
    assert [t.id for t in derivation.threats if t.rule == "PO-04"] == ["PO-04@tr"]
    assert "https://example.com/a.csv" in {fact.shown for t in derivation.threats if t.rule == "PO-04" for fact in t.facts}
    assert ("PO-04@tr", "PO-01@api#supplier") in {chain.steps for chain in chains(derivation)}
    asked = derive(loads(NAMED.replace(", dataset: {external: yes, digest_verified: no}", "")), [RULES["PO-04"]])
    assert [q.path for q in asked.questions] == ["tr.dataset.external"]


@pytest.mark.parametrize("kind", typing.get_args(ComponentKind))
def test_whatever_stands_at_a_partner_is_a_third_party(kind: str) -> None:
    text = f"""
casemate: 1
system: {{name: x}}
zones: [{{id: ours, trust: prod}}, {{id: theirs, trust: partner}}]
assets: [{{id: people, kind: training_data, personal: yes}}]
components: [{{id: from, kind: preprocess, zone: ours}}, {{id: to, kind: {kind}, zone: theirs}}]
flows: [{{from: from, to: to, data: [people]}}]
"""
    assert [t.id for t in derive(loads(text), [RULES["PR-05"]]).threats] == ["PR-05@to"]
