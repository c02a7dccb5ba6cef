"""The risk of each threat: what its evidence cost in the prices of the description, or what the catalogue assumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..core.control import controls
from ..core.entities import Principal
from ..core.evidence import Cost, Evidence, Status
from ..core.finding import BANDS, Finding, band, severity
from ..core.risk import MONEY_BANDS, Confidence, Paid, Risk, Spent, by_matrix, margin, middle, money_band, priced
from ..core.surface import rows_of
from ..core.system import System
from ..threats.rules import Prior

# What nobody has an answer to yet is weighed by the catalogue's assumption.
ASSUMED = (Status.UNTESTED, Status.CLAIMED, Status.STALE)
_PER_HOUR = 3600.0
CATALOGUE_CURRENCY = "EUR"  # what the catalogue assumes is in euro, whatever the prices of the description are in
_SCAN = "supply.scan"  # runs on a file, without a target


def priced_cost(system: System, threat: Any, own: Sequence[Evidence], cost: Cost | None) -> tuple[Cost | None, Paid | None]:
    """The cheapest measured cost with its money, and what that is made of; no money without stated prices."""
    if cost is None or (cost.queries is None and not cost.records):
        return cost, None
    paid = priced(_spent(system, threat, own, cost), system.prices, _principal(system, threat))
    return (replace(cost, money=paid.total) if paid.total is not None else cost), paid


def _principal(system: System, threat: Any) -> Principal | None:
    return next((p for p in system.principals if p.id == threat.principal), None)


def _spent(system: System, threat: Any, own: Sequence[Evidence], cost: Cost) -> Spent:
    lead = next((e for e in own if e.broken and e.cost is not None and e.cost.queries == cost.queries), None)
    each = lead is not None and lead.case == "evade"
    seconds = 0.0 if lead is None else lead.seconds / max(1, lead.n) if each else lead.seconds
    rests_on = {row.partition(": ")[0] for row in threat.adversary.derived_from}
    rows = [row for row in rows_of(system, threat.principal) if row.id in rests_on and row.budget]
    hours = sum(row.budget.hours or 0.0 for row in rows if row.budget)
    return Spent(cost.queries, cost.records, cost.accounts, seconds / _PER_HOUR, hours, each)


def risk_of(
    system: System, threat: Any, status: Status, own: Sequence[Evidence], cost: Cost | None, paid: Paid | None, reason: str
) -> Risk:
    """Impact, cost with its basis, severity, confidence, margin and what would change it, for one threat that fired."""
    currency = (system.prices.currency or "") if system.prices else ""
    known = Risk(impact=threat.impact, impact_because=threat.impact_because, currency=currency)
    changes = _changes(threat, status, own, cost, paid, reason)
    if status is Status.BROKEN:
        money = cost.money if cost else None
        found = band(cost) if money is None else money_band(money)
        grave = severity(threat.impact, status, cost) if money is None else by_matrix(threat.impact, found)
        return replace(
            known, low=money, high=money, basis="measured", band=found, severity=grave, confidence=_measured(system, own),
            margin=_margin(system, threat, own, paid), terms=_terms(cost, paid), changes=changes,
        )  # fmt: skip
    if status in ASSUMED:
        asserted: Confidence = "asserted" if status is Status.CLAIMED else "prior"
        return replace(_assumed(known, threat.prior), confidence=asserted, changes=changes)
    tried = status in (Status.RESISTED, Status.CERTIFIED, Status.MITIGATED)
    return replace(known, confidence=_measured(system, own) if tried else "prior", terms=_terms(cost, None), changes=changes)


def _assumed(known: Risk, prior: Prior) -> Risk:
    """By the cost that the rule states. Where it states none, by the impact alone: nobody said that it is dear."""
    if not prior.stated:
        return replace(known, currency="", severity=by_matrix(known.impact, MONEY_BANDS[0]), terms=("no cost stated",))
    found = money_band(middle(prior.low, prior.high))
    return replace(
        known, low=prior.low, high=prior.high, currency=CATALOGUE_CURRENCY, basis="prior", band=found,
        severity=by_matrix(known.impact, found), terms=(f"assumed by the catalogue: {prior.low:,.0f} to {prior.high:,.0f}",),
    )  # fmt: skip


NOT_RUN = "not run yet"  # why a threat is untested whose description was only derived


def _terms(cost: Cost | None, paid: Paid | None) -> tuple[str, ...]:
    if paid is not None and paid.terms:
        return paid.terms
    return (cost.said,) if cost is not None and cost.said else ()


def _measured(system: System, own: Sequence[Evidence]) -> Confidence:
    """Adaptively, where controls are deployed and an attack that knows about one of them was run."""
    kinds = {control.type for control in system.controls if control.state == "active"}
    known = {attack for kind in kinds if kind in controls for attack in controls.get(kind).info.knows}
    return "measured adaptively" if any(e.attack in known for e in own) else "measured"


def _margin(system: System, threat: Any, own: Sequence[Evidence], paid: Paid | None) -> Any:
    who = _principal(system, threat)
    if who is None or paid is None:
        return ""
    return margin(who.gain_per_success, min(1.0, max(0.0, own[0].rate)), who.successes_wanted, paid)


def _changes(
    threat: Any, status: Status, own: Sequence[Evidence], cost: Cost | None, paid: Paid | None, reason: str
) -> str:
    """The one thing that would change this most, as a sentence."""
    if status is Status.CLAIMED:
        return f"A test of {', '.join(threat.claimed)}: declared against this, never attacked."
    if status is Status.UNTESTED and not threat.target and (_SCAN in threat.tests or threat.checks):
        commands = ["casemate scan"] * (_SCAN in threat.tests) + ["casemate threats --check"] * bool(threat.checks)
        return f"A look at the files, without a target: {' or '.join(commands)}."
    if status is Status.UNTESTED and not threat.target:
        return "A target bound in system.target, so that this can be tested." if threat.tests else _by_check(threat)
    if status is Status.UNTESTED and not threat.tests:
        return _by_check(threat)
    if status is Status.UNTESTED and NOT_RUN in reason:
        return f"A run of {', '.join(threat.tests)}."
    if status is Status.UNTESTED:
        return f"A test that can run: {reason}."
    if status in (Status.ERROR, Status.INCONCLUSIVE, Status.STALE):
        return f"A sound run of {own[0].attack if own else 'its tests'}: {reason}."
    if status is not Status.BROKEN:
        return "A larger budget, or an attack that is not among those that were run."
    if paid is not None and paid.unstated:
        return f"The prices that nobody stated: {', '.join(f'system.prices.{name}' for name in paid.unstated)}."
    if band(cost) == BANDS[3] and not (cost and cost.money is not None):
        return "A larger budget: fewer than half of the rows were broken within this one."
    return "A control against it, and the same attack again." if threat.mitigations else "A cheaper attack, or other facts."


def _by_check(threat: Any) -> str:
    if threat.checks:
        return f"A check of its facts: {', '.join(threat.checks)}."
    return "Another fact, or a decision: no test is known for this."


def asking(undecided: Any, asks: str) -> Risk:
    """The risk of what waits for a fact: none yet, and the question that would change that."""
    because = "if it applies"
    return Risk(impact=undecided.impact, impact_because=because, changes=f"An answer: {asks}")


def gap(finding: Finding) -> tuple[float, float]:
    """How little is known of the cost, for sorting what should be tested next: the least known first."""
    risk = finding.risk
    if risk is not None and risk.basis == "none" and risk.severity != "none":
        return (-1.0, 0.0)  # no cost stated at all
    if risk is None or risk.low is None or risk.high is None or risk.basis != "prior":
        return (0.0, 0.0)
    return (0.0 if risk.confidence == "prior" else 1.0, -(max(risk.high, 1.0) / max(risk.low, 1.0)))


def known_costs(findings: Sequence[Finding]) -> dict[str, tuple[float, float]]:
    """By threat id, the measured costs in money: what a search for chains counts instead of assumptions."""
    return {
        f.threat: (f.risk.low, f.risk.high)
        for f in findings
        if f.risk and f.risk.basis == "measured" and f.risk.low is not None and f.risk.high is not None
    }
