"""Decisions laid beside findings: which apply today, which ended, and which the measurement has overtaken.

The status of a finding never changes. A decision says what is done about a threat, not whether there is one.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..core.disposition import Disposed, Disposition
from ..core.evidence import Evidence, Status, Verdict
from ..core.finding import Assessment, Finding
from ..threats.dispositions import chosen, orphans

# Decisions that say of a threat that it is none, or that the facts that make it are taken out.
_DENIED = ("avoid", "false_positive")


def apply(
    assessment: Assessment, dispositions: Iterable[Disposition], today: datetime.date, *, elsewhere: Iterable[str] = ()
) -> Assessment:
    """The assessment with `disposed` on every finding that a decision is about, and a warning for each that fits none.

    What a threat that is decided away had hidden is a warning too: it does not come back by itself.

    Args:
        today: The day it is judged on.
        elsewhere: Threat ids of other systems that share the file; what fits one of them is no orphan.

    Raises:
        BadSystem: Two patterns fit one threat, and neither is the more specific.
    """
    dispositions = tuple(dispositions)
    by = chosen(dispositions, (f.threat for f in assessment.findings))
    findings = tuple(replace(f, disposed=judged(f, by[f.threat], today) if f.threat in by else None) for f in assessment.findings)
    lost = orphans(dispositions, [*threat_ids(assessment), *elsewhere])
    found = replace(assessment, findings=findings, judged_on=today)
    warnings = (*(orphaned(one, near) for one, near in lost.items()), *uncovered(found, dispositions, today))
    return replace(found, warnings=(*assessment.warnings, *warnings))


def uncovered(assessment: Assessment, dispositions: Sequence[Disposition], today: datetime.date) -> tuple[str, ...]:
    """One sentence for each hidden threat whose reason to be hidden is decided away, and that nobody decided about.

    "The weights are not readable" makes the threat that needs them no threat; those that it made pointless are then what
    remains. Only a derivation from the corrected description can list them again.

    Args:
        assessment: With dispositions applied.
    """
    standing = {f.threat: f.disposed for f in assessment.findings}
    said = []
    for hidden in assessment.hidden:
        held = standing.get(hidden.by)
        # What hides may be hidden itself: then no finding holds its decision.
        one = held.disposition if held else None if hidden.by in standing else _running(dispositions, hidden.by, today)
        if one is None or one.decision not in _DENIED or (held is not None and held.state != "active"):
            continue
        if _running(dispositions, hidden.threat, today) is None:
            because = f"was hidden by {hidden.by}, which is decided {one.decision}"
            said.append(f"{hidden.threat}: {because}: correct the fact in the description and derive again")
    return tuple(said)


def _running(dispositions: Sequence[Disposition], id: str, today: datetime.date) -> Disposition | None:
    """The decision about a threat, where there is one that has not ended."""
    one = chosen(dispositions, [id]).get(id)
    return one if one is not None and today <= one.expires else None


def threat_ids(assessment: Assessment) -> tuple[str, ...]:
    """Every threat id there is, those that others make pointless included."""
    return (*(f.threat for f in assessment.findings), *(h.threat for h in assessment.hidden))


def orphaned(one: Disposition, near: tuple[str, ...]) -> str:
    """One sentence: where the entry stands, and what it may have meant."""
    hint = f"; nearest: {', '.join(near)}" if near else "; take it out"
    return f"{one.place[0]}:{one.place[1]}: the disposition of {one.threat} fits no threat{hint}"


def judged(finding: Finding, one: Disposition, today: datetime.date) -> Disposed:
    """Whether a decision stands today, for this finding."""
    broken: list[str] = []
    unknown: list[str] = []
    for word, why in (_cost(finding, one), _queries(finding, one), _rate(finding, one)):
        if why:
            (broken if word == "violated" else unknown).append(why)
    if one.decision == "false_positive" and finding.status is Status.BROKEN:
        broken.insert(0, _shown(finding))
    if today > one.expires:
        late = f"it was to be fixed by {one.expires}" if one.decision == "fix" else f"it ended on {one.expires}"
        return Disposed(disposition=one, state="expired", why="; ".join([late, *broken]))
    if broken:
        return Disposed(disposition=one, state="violated", why="; ".join(broken))
    return Disposed(disposition=one, state="active", why="; ".join(unknown))


def _shown(finding: Finding) -> str:
    """By what a threat was shown to be one."""
    lead = next((e for e in finding.evidence if e.verdict is Verdict.BROKEN), None)
    return f"it was broken: {_measured(lead)}" if lead is not None else "it was broken"


def money(finding: Finding) -> tuple[float | None, str]:
    """What a break was measured to cost at the least, in money, and in what; None where no attack was run or priced."""
    risk = finding.risk
    if risk is not None and risk.basis == "measured" and risk.low is not None:
        return risk.low, risk.currency
    if finding.status is Status.BROKEN and finding.cost is not None and finding.cost.money is not None:
        return finding.cost.money, risk.currency if risk else ""
    return None, ""


def _cost(finding: Finding, one: Disposition) -> tuple[str, str]:
    if one.cost_floor is None:
        return "", ""
    found, currency = money(finding)
    said = f"cost_floor {one.cost_floor:,.10g}"
    if found is None:
        return "unknown", f"{said} could not be judged: no cost in money was measured"
    if not found >= one.cost_floor:  # what is no number keeps no floor
        return "violated", f"a break costs {found:,.10g} {currency}".rstrip() + f", less than the {said}"
    return "", ""


def _queries(finding: Finding, one: Disposition) -> tuple[str, str]:
    if one.queries_floor is None:
        return "", ""
    cost, said = finding.cost, f"queries_floor {one.queries_floor:,.10g}"
    if cost is not None and cost.queries is not None:
        under = finding.status is Status.BROKEN and not cost.queries >= one.queries_floor
        return ("violated", f"a break costs {cost.queries:,.10g} queries, less than the {said}") if under else ("", "")
    if cost is not None and (cost.blocked or (cost.censored_at or 0) >= one.queries_floor):
        return "", ""
    if cost is not None and cost.censored_at:
        return "unknown", f"{said} could not be judged: no more than {cost.censored_at:,.10g} queries were tried"
    return "unknown", f"{said} could not be judged: no queries were measured"


def _rate(finding: Finding, one: Disposition) -> tuple[str, str]:
    if one.rate_ceiling is None:
        return "", ""
    said = f"rate_ceiling {one.rate_ceiling:g}"
    run = [e for e in finding.evidence if e.verdict is not Verdict.ERROR and e.n]
    worst = max(run, key=lambda e: math.inf if math.isnan(e.rate) else e.rate, default=None)
    if worst is None:
        return "unknown", f"{said} could not be judged: no attack was run"
    if not worst.rate <= one.rate_ceiling:
        return "violated", f"{_measured(worst)}, over the {said}"
    if all(e.verdict is Verdict.INCONCLUSIVE for e in run):
        return "unknown", f"{said} could not be judged: no attack was healthy"
    return "", ""


def _measured(evidence: Evidence) -> str:
    interval = f" {evidence.interval}" if evidence.interval else ""
    return f"{evidence.measure} {evidence.rate:.3g}{interval} by {evidence.attack}"
