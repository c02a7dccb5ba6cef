"""What a threat is worth and what was decided about it, in words. An assumption never reads like a measurement."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.evidence import Status
from ..core.finding import Chain, Finding
from ..core.risk import PROFITABLE, UNECONOMIC
from .words import clean, cost_brief, count_of

# What the catalogue's assumptions are in, where the description states no currency.
CURRENCY = "EUR"
NO_COST = "no cost stated"  # a rule of one's own can leave it out
_CONFIDENCE = {
    "measured adaptively": "measured, by an attack that knows the controls",
    "measured": "measured; no attack that knows the controls was among them",
    "asserted": "asserted: the description claims a control against it, and nobody tested that",
    "prior": "an assumption of the catalogue, nothing was measured",
}
_MARGIN = {
    "profitable": f"profitable: the attacker expects over {PROFITABLE:g} times the cost",
    "marginal": f"marginal: the attacker expects {UNECONOMIC:g} to {PROFITABLE:g} times the cost",
    "uneconomic": "uneconomic: the attacker expects less than the cost",
}
_DECISIONS = {
    "fix": "to be fixed", "accept": "accepted", "transfer": "transferred", "avoid": "avoided",
    "false_positive": "false positive",
}  # fmt: skip
_STATES = ("violated", "expired", "active")


def amount(value: float) -> str:
    """Money: cents only where there are some, and below a thousand."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if value >= 1000 or value == round(value) else f"{value:,.2f}"


def money(low: float | None, high: float | None, currency: str, assumed: bool = True) -> str:
    """An interval of money, `not known` where there is none.

    Without a stated currency, what is `assumed` is in the catalogue's euro; what was measured has no unit but its own prices'.
    """
    if low is None or high is None:
        return "not known in money"
    unit = clean(currency) or (CURRENCY if assumed else "")
    return (amount(low) if low == high else f"{amount(low)} to {amount(high)}") + (f" {unit}" if unit else "")


def is_assumed(finding: Finding) -> bool:
    """Whether its severity was not measured: it rests on the catalogue's cost, or on the impact alone."""
    risk = finding.risk
    return risk is not None and (risk.basis == "prior" or (risk.basis == "none" and risk.severity != "none"))


def _unstated(finding: Finding) -> bool:
    """Whether it has a severity by its impact alone, because its rule states no cost."""
    return is_assumed(finding) and finding.risk is not None and finding.risk.basis == "none"


def price(finding: Finding) -> str:
    """What an attacker pays, with where that number is from."""
    risk, cost = finding.risk, finding.cost
    if _unstated(finding):
        return NO_COST
    if risk is not None and risk.basis == "prior":
        return f"assumed, {money(risk.low, risk.high, risk.currency)}, by the catalogue"
    if finding.status is Status.BROKEN and cost is not None:
        paid = risk.low if risk is not None and risk.basis == "measured" else cost.money
        if paid is None:
            return f"measured, {cost_brief(cost)}"
        return f"measured, {money(paid, paid, risk.currency if risk else '', False)} ({cost_brief(cost)})"
    return f"not reached: {cost_brief(cost)}" if finding.evidence and cost is not None else "not known"


def brief(finding: Finding) -> str:
    """The same for a table cell: `` where nothing is known."""
    if _unstated(finding):
        return NO_COST
    if is_assumed(finding) and finding.risk is not None:
        return f"assumed {money(finding.risk.low, finding.risk.high, finding.risk.currency)}"
    return cost_brief(finding.cost) if finding.evidence else ""


def weight(finding: Finding) -> tuple[tuple[str, str], ...]:
    """Label and text: the cost and what it is made of, the margin, how sure it is, and what would change it."""
    risk = finding.risk
    rows = [("Attacker cost", price(finding))]
    if risk is None:
        return (*rows, ("Impact", f"{finding.impact} of 4"))
    terms = "; ".join(map(clean, risk.terms))
    if risk.basis == "measured" and terms and terms not in rows[0][1]:
        rows.append(("Made of", terms))
    because = f": {clean(risk.impact_because)}" if risk.impact_because else ""
    rows.append(("Impact", f"{finding.impact} of 4{because}"))
    if risk.margin:
        rows.append(("Margin", _MARGIN[risk.margin]))
    if risk.basis != "none" or finding.evidence:
        rows.append(("Confidence", _CONFIDENCE[risk.confidence]))
    if risk.changes:
        rows.append(("Would change this", clean(risk.changes)))
    return tuple(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A decision about a finding, ready to be laid out."""

    anchor: str
    threat: str
    title: str
    state: str
    label: str
    mark: str  # how it is drawn: the state, or `promised` where a fix is not done yet
    owner: str
    until: str
    reason: str
    why: str
    conditions: tuple[str, ...]
    ticket: str
    place: str


def ruling(finding: Finding, anchor: str, today: datetime.date) -> Ruling | None:
    """What was decided about a finding; None where nothing was."""
    if finding.disposed is None:
        return None
    made, state = finding.disposed.disposition, finding.disposed.state
    word = _DECISIONS.get(made.decision, clean(made.decision))
    approved = f", approved by {clean(made.approved_by)}" if made.approved_by else ""
    return Ruling(
        anchor=anchor, threat=clean(finding.threat), title=clean(finding.title), state=state,
        label=word if state == "active" else f"{state.upper()}: {word}",
        mark="promised" if state == "active" and made.decision == "fix" else state, owner=clean(made.owner) + approved,
        until=_until(made.expires, state, today), reason=clean(made.reason), why=clean(finding.disposed.why),
        conditions=_conditions(made), ticket=clean(made.ticket),
        place=f"{clean(made.place[0])}:{made.place[1]}" if made.place[0] else "",
    )  # fmt: skip


def _until(expires: datetime.date, state: str, today: datetime.date) -> str:
    """The last day and how far off it is. What ended by another calendar than today's is not counted in days."""
    left = (expires - today).days
    if state == "expired":
        return f"{expires.isoformat()}, {count_of(-left, 'day')} ago" if left < 0 else f"{expires.isoformat()}, over"
    return f"{expires.isoformat()}, {count_of(left, 'day')} left" if left >= 0 else expires.isoformat()


def _conditions(made: Any) -> tuple[str, ...]:
    held = []
    if made.cost_floor is not None:
        held.append(f"while a break costs at least {amount(made.cost_floor)}")
    if made.queries_floor is not None:
        held.append(f"while a break takes at least {count_of(made.queries_floor, 'query', 'queries')}")
    if made.rate_ceiling is not None:
        held.append(f"while the measured rate is at most {made.rate_ceiling:g}")
    return tuple(held)


def rulings(found: Iterable[Ruling | None]) -> tuple[Ruling, ...]:
    """Violated first, then expired, then those that stand, the first to end before the others."""
    return tuple(sorted((r for r in found if r is not None), key=lambda r: (_STATES.index(r.state), r.until, r.threat)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One threat of a chain. `anchor` leads to its finding; empty where there is none of its own."""

    anchor: str
    threat: str
    title: str
    gives: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A chain, ready to be laid out."""

    attacker: str
    title: str
    impact: int
    price: str
    chain: Chain
    steps: tuple[Step, ...]


def chain_price(chain: Chain) -> str:
    """The summed cost of a chain: assumed as soon as one step is."""
    if chain.low is None or chain.high is None:
        return "cost not known in money"
    assumed = chain.basis != "measured"
    return f"{'assumed' if assumed else 'measured'}, {money(chain.low, chain.high, chain.currency, assumed)}"


def path(chain: Chain, anchors: dict[str, str], titles: dict[str, str]) -> Path:
    """A chain with the names of its steps.

    Args:
        anchors: By threat id.
        titles: By rule id: a step can be open only to whoever took the one before, and then has no finding of its own.
    """
    gains = (*chain.gains, *("",) * len(chain.steps))
    steps = tuple(
        Step(anchor=anchors.get(s, ""), threat=clean(s), title=clean(titles.get(s.partition("@")[0], "")), gives=clean(gain))
        for s, gain in zip(chain.steps, gains, strict=False)
    )
    who, title = clean(chain.attacker), clean(chain.title)
    return Path(attacker=who, title=title, impact=chain.impact, price=chain_price(chain), chain=chain, steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A control of the description against what was seen of it."""

    id: str
    what: str
    state: str
    against: tuple[str, ...]
    seen: str


def claims(system: Any, findings: Sequence[Finding]) -> tuple[Claim, ...]:
    """Every described control: what it is meant against, and whether anything attacked that."""
    rows = []
    for control in getattr(system, "controls", ()):
        own = [f for f in findings if control.id in f.claimed]
        tested = [f for f in own if f.evidence]
        fell = sum(f.status is Status.BROKEN for f in tested)
        seen = f"{len(tested)} of {len(own)} attacked, {fell} of them broken" if tested else "claimed, not tested"
        rows.append(
            Claim(
                id=clean(control.id), what=f"{clean(control.type)} on {clean(control.on)}", state=clean(control.state),
                against=tuple(clean(f.threat) for f in own), seen=seen if own else "against no threat listed here",
            )
        )  # fmt: skip
    return tuple(rows)
