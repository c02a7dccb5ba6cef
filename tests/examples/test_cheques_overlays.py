"""Acceptance: one system, three deployments; the facts alone make three adversaries and three costs."""

from dataclasses import replace
from pathlib import Path

import pytest

from casemate.core.adversary import Need
from casemate.runs.assess import assess, prepare
from casemate.runs.plan import plan
from casemate.runs.profiles import QUICK

EXAMPLES = Path(__file__).parents[2] / "examples" / "cheques"
PROFILE = replace(
    QUICK, rows=40, queries_per_row=400, params={**QUICK.params, "evasion.square": {"steps": 400}}
)


def _evasion(name):
    """The overlay assessed by its threats of evasion only, with budget enough for scores to matter."""
    path = EXAMPLES / f"{name}.yaml"
    ready = prepare(path, budget="quick")
    threats = [t for t in ready.derivation.threats if t.rule in ("EV-01", "EV-02", "EV-03")]
    plans = {"reader": plan(ready.benches["reader"], threats, PROFILE, 0)}
    return ready, assess(path, prepared=replace(ready, plans=plans))


@pytest.fixture(scope="module")
def overlays():
    return {name: _evasion(name) for name in ("server", "scores", "device")}


def _cheapest(result):
    """Deployed queries until half the rows break; above the budget where fewer did."""
    costs = [f.cost for f in result.findings if f.cost is not None]
    return min(c.queries if c.queries is not None else float("inf") for c in costs)


def test_the_three_overlays_derive_three_adversaries(overlays):
    may = {name: ready.derivation.threats[0].adversary.may for name, (ready, _) in overlays.items()}
    assert Need.LABEL in may["server"]
    assert not may["server"] & (Need.SCORE | Need.GRADIENT | Need.ARTIFACT | Need.PARENT)
    assert Need.SCORE in may["scores"]
    assert not may["scores"] & (Need.GRADIENT | Need.ARTIFACT | Need.PARENT)
    assert Need.ARTIFACT | Need.GRADIENT | Need.PARENT in may["device"]


def test_the_overlays_run_the_attacks_their_adversaries_can(overlays):
    ran = {name: {e.attack for f in result.findings for e in f.evidence} for name, (_, result) in overlays.items()}
    assert ran["server"] == ran["scores"] == {"suite.standard"}
    assert {"evasion.pgd", "suite.standard"} <= ran["device"]
    stages = {name: _stages(result) for name, (_, result) in overlays.items()}
    assert stages["server"] == ["evasion.noise", "evasion.rays", "evasion.hopskipjump"]
    assert stages["scores"] == ["evasion.noise", "evasion.square", "evasion.rays", "evasion.hopskipjump"]
    assert stages["device"][:6] == [f"evasion.{name}" for name in ("noise", "fgsm", "pgd", "apgd_ce", "apgd_t", "fab_t")]


def _stages(result):
    suite = next(e for f in result.findings for e in f.evidence if e.attack == "suite.standard")
    return [stage["attack"] for stage in suite.extra["stages"]]


def test_shipping_the_model_removes_the_cost_and_hiding_the_scores_hardly_adds_any(overlays):
    cost = {name: _cheapest(result) for name, (_, result) in overlays.items()}
    assert cost["device"] == 0
    # Against the best attack on labels that is known here, hiding the scores of this model buys next to nothing.
    assert 0 < cost["scores"] < float("inf") and cost["server"] < 1.5 * cost["scores"]
