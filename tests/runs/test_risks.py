"""The risk of a threat, from its evidence and the description's prices, or from what the catalogue assumes."""

from dataclasses import replace

import numpy as np
import pytest

from casemate.core.entities import Access, AccessBudget, Component, DeclaredControl, Prices, Principal
from casemate.core.evidence import Cost, Evidence, Status, Verdict
from casemate.core.system import System
from casemate.runs.derived import derived
from casemate.runs.findings import _rank, collect
from casemate.runs.risks import known_costs
from casemate.threats.chains import chains
from casemate.threats.derive import derive
from casemate.threats.rules import read_rules

RULE = """
id: ZZ-{n:02}
title: Title
each: {each}
applies_when: {{can: [query], who: $p, on: $c}}
explain: "{{p}} at {{c}}"
harm: {{text: t, asset: decision, property: I, floor: {floor}}}
prior: {prior}
tests: [evasion.square]
mitigations: [service.query_budget]
"""


@pytest.fixture
def world(tmp_path):
    """A derivation of one server with rules of one's own, given as (floor, prior), and what the system states."""

    def made(*rules, prices=None, principal=None, controls=(), budget=None):
        paths = []
        for n, (floor, prior) in enumerate(rules):
            path = tmp_path / f"{n}.yaml"
            path.write_text(RULE.format(n=n, each="server", floor=floor, prior=prior))
            paths.append(path)
        system = System(
            principals=(principal or Principal(id="eve"),), components=(Component(id="api", kind="server"),), prices=prices, controls=controls,
            access=(Access(principal="eve", on="api", can=("query",), budget=budget),),
        )  # fmt: skip
        return derive(system, read_rules(paths)), system

    return made


def evidence(verdict=Verdict.BROKEN, cost=None, rate=0.5, seconds=0.0):
    return Evidence(
        attack="evasion.square", params={}, adversary="eve@api", may=(), budget="", target="t", fingerprint=None, case="evade", seed=0,
        measure="rows broken", rate=rate, interval=None, n=4, verdict=verdict, cost=cost, reasons=("why",), seconds=seconds,
        rows={"row": np.arange(4), "broken": np.ones(4, bool)},
    )  # fmt: skip


def only(world, *own, **more):
    derivation, system = world((4, "[100, 1000000]"), **more)
    return collect(derivation, system, {"": {f"ZZ-00@api#eve|{e.attack}": e for e in own}}, [])[0]


def test_untested_is_weighed_by_the_prior_and_says_so(world):
    finding = only(world)
    risk = finding.risk
    assert (finding.status, finding.severity, risk.severity) == (Status.UNTESTED, "high", "high")  # the middle is 10,000
    assert (risk.low, risk.high, risk.basis, risk.band, risk.confidence) == (100, 1e6, "prior", "costly", "prior")
    assert risk.terms == ("assumed by the catalogue: 100 to 1,000,000",) and "target" in risk.changes
    assert risk.impact == 4 and risk.impact_because == "at least 4, by the catalogue" and risk.margin == ""


def test_what_the_catalogue_assumes_is_in_euro_whatever_the_prices_are_in(world):
    francs = Prices(currency="CHF", per_1000_queries=1)
    assert only(world).risk.currency == "EUR" == only(world, prices=francs).risk.currency
    assert only(world, evidence(cost=Cost(5.0)), prices=francs).risk.currency == "CHF"


@pytest.mark.parametrize(("impact", "severity"), [(4, "critical"), (3, "high"), (2, "medium"), (1, "low")])
def test_a_rule_without_a_prior_is_weighed_by_its_impact_alone(world, impact, severity):
    derivation, system = world((impact, "[5, 6]"))
    bare = replace(derivation, threats=tuple(replace(t, prior=replace(t.prior, stated=False)) for t in derivation.threats))
    (finding,) = collect(bare, system, {}, [])
    risk = finding.risk
    assert (risk.basis, risk.low, risk.high, risk.band, risk.currency) == ("none", None, None, "not shown", "")
    assert finding.severity == severity == risk.severity and risk.terms == ("no cost stated",)


def test_what_is_settled_by_reading_files_asks_for_no_target(world):
    derivation, system = world((4, "[5, 6]"))

    def changes(**more):
        threats = tuple(replace(t, **more) for t in derivation.threats)
        return collect(replace(derivation, threats=threats), system, {}, [])[0].risk.changes

    assert changes(tests=("supply.scan",), checks=("digest.artifact",)).endswith("casemate scan or casemate threats --check.")
    assert changes(checks=("digest.artifact",)).endswith(": casemate threats --check.")
    assert "system.target" in changes()


def test_broken_without_prices_keeps_the_bands_of_queries(world):
    finding = only(world, evidence(cost=Cost(5_000.0)))
    assert (finding.severity, finding.risk.band, finding.risk.basis, finding.risk.low) == ("high", "costly", "measured", None)
    assert finding.risk.terms == ("5,000 queries",) and "per_1000_queries" in finding.risk.changes


def test_broken_with_prices_is_weighed_in_money(world):
    finding = only(world, evidence(cost=Cost(5_000.0)), prices=Prices(currency="EUR", per_1000_queries=1))
    assert (finding.severity, finding.risk.band, finding.risk.low, finding.cost.money) == ("critical", "trivial", 5.0, 5.0)
    assert finding.risk.currency == "EUR" and finding.risk.confidence == "measured" and "control" in finding.risk.changes
    dear = only(world, evidence(cost=Cost(5_000.0)), prices=Prices(per_1000_queries=1e6))
    assert (dear.severity, dear.risk.band) == ("medium", "prohibitive")


def test_time_is_paid_by_its_price(world):
    prices = Prices(per_cpu_hour=8, per_human_hour=60, per_1000_queries=0)
    finding = only(world, evidence(cost=Cost(10.0), seconds=7200), prices=prices, budget=AccessBudget(hours=2))
    assert finding.risk.low == pytest.approx(4.0 + 120.0)  # half an hour of the machine for each of four rows


def test_the_margin_needs_a_gain_and_a_measurement(world):
    rich = Principal(id="eve", gain_per_success=100, successes_wanted=10)
    prices = Prices(per_1000_queries=100)
    assert only(world, evidence(cost=Cost(100.0)), prices=prices, principal=rich).risk.margin == "marginal"  # 500 for 100
    assert only(world, evidence(cost=Cost(10.0)), prices=prices, principal=rich).risk.margin == "profitable"
    assert only(world, evidence(cost=Cost(10.0)), prices=prices).risk.margin == ""
    assert only(world, principal=rich, prices=prices).risk.margin == ""


@pytest.mark.parametrize("verdict", [Verdict.RESISTED, Verdict.INCONCLUSIVE, Verdict.ERROR])
def test_what_did_not_break_has_no_severity(world, verdict):
    finding = only(world, evidence(verdict, Cost(None, 50.0)))
    assert finding.severity == "none" == finding.risk.severity and finding.risk.basis == "none" and finding.risk.changes


def test_a_declared_control_makes_it_claimed_and_says_which(world):
    control = DeclaredControl(id="limit", type="service.query_budget", on="api", state="active")
    finding = only(world, controls=(control,))
    assert finding.status is Status.CLAIMED and finding.claimed == ("limit",) and finding.reason.startswith("declared against it, not tested: limit")
    assert finding.risk.confidence == "asserted" and finding.severity == "high" and "limit" in finding.risk.changes
    assert only(world, controls=(replace(control, state="planned"),)).status is Status.UNTESTED
    assert only(world, evidence(cost=Cost(5.0)), controls=(control,)).status is Status.BROKEN


def test_an_attack_that_knows_the_deployed_control_is_measured_adaptively(world):
    from casemate.core.control import controls

    type_ = next(id for id in controls if "evasion.square" in controls.get(id).info.knows)
    control = DeclaredControl(id="limit", type=type_, on="api", state="active")
    assert only(world, evidence(cost=Cost(5.0)), controls=(control,)).risk.confidence == "measured adaptively"
    assert only(world, evidence(cost=Cost(5.0)), controls=(replace(control, state="planned"),)).risk.confidence == "measured"


def test_untested_is_sorted_by_severity_then_by_how_little_is_known(world):
    derivation, system = world((2, "[1, 2]"), (3, "[90, 100]"), (3, "[1, 9000]"), (3, "[1000000, 9000000]"))
    found = collect(derivation, system, {}, [])
    assert [f.rule for f in found] == ["ZZ-02", "ZZ-01", "ZZ-00", "ZZ-03"]
    assert [f.severity for f in found] == ["high", "high", "medium", "low"] and list(found) == sorted(found, key=_rank)


def test_every_finding_of_a_description_has_a_risk_that_agrees_with_it(toy):
    derivation, assessment = derived(toy())
    assert assessment.findings and all(f.risk and f.risk.severity == f.severity and f.risk.changes for f in assessment.findings)
    assert {f.severity for f in assessment.findings if f.status is Status.QUESTION} <= {"none"}
    assert assessment.hidden == derivation.hidden and assessment.to_dict()["findings"][0]["risk"]["basis"] == "prior"


def test_an_assessment_holds_the_chains_and_counts_what_was_measured(tmp_path):
    text = RULE.format(n=0, each="server", floor=1, prior="[100, 10000]") + "gives: [{can: [write_weights]}]\n"
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text(RULE.format(n=1, each="server", floor=4, prior="[1, 9]").replace("query]", "write_weights]"))
    system = System(
        principals=(Principal(id="eve"),), components=(Component(id="api", kind="server"),), access=(Access(principal="eve", on="api", can=("query",)),),
        prices=Prices(currency="EUR", per_1000_queries=1),
    )  # fmt: skip
    _, assessment = derived(system, rules=[tmp_path])
    ours = [c for c in assessment.chains if c.steps == ("ZZ-00@api#eve", "ZZ-01@api#eve")]
    assert [(c.low, c.high, c.impact, c.gains, c.currency) for c in ours] == [(101, 10_009, 4, ("write_weights on api", ""), "EUR")]
    derivation = derive(system, read_rules([tmp_path / "a.yaml", tmp_path / "b.yaml"]))
    found = collect(derivation, system, {"": {"ZZ-00@api#eve|evasion.square": evidence(cost=Cost(5_000.0))}}, [])
    assert known_costs(found) == {"ZZ-00@api#eve": (5.0, 5.0)}
    assert [(c.low, c.high, c.basis) for c in chains(derivation, known_costs(found))] == [(6.0, 14.0, "prior")]
