"""Two sides of a system, without controls and with them, beside each other: what changed, and whether that is a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.adversary import Need
from ..core.attack import attacks
from ..core.evidence import Evidence, Status
from ..core.finding import Finding

LEVEL = 0.05  # below it a difference is called one


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one control (or all of them together) did to one threat.

    Args:
        before, after: The status.
        cost_before, cost_after: What the attacker paid.
        measure_before, measure_after: What was measured: the decisive attacks need not measure the same.
        rate_before, rate_after: The decisive evidence: its measure, with the interval.
        difference: Whether the two differ, and how that was told; empty where there is nothing to compare.
    """

    threat: str
    before: str
    after: str
    cost_before: str
    cost_after: str
    attack_before: str = ""
    attack_after: str = ""
    measure_before: str = ""
    measure_after: str = ""
    rate_before: float | None = None
    rate_after: float | None = None
    interval_before: tuple[float, float] | None = None
    interval_after: tuple[float, float] | None = None
    difference: str = ""


def vars_of(change: Change) -> dict[str, Any]:
    """A change as a JSON-ready row."""
    found = {name: getattr(change, name) for name in Change.__slots__}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def changes(old: dict[str, Finding], new: dict[str, Finding], tried: Sequence[Any]) -> list[Change]:
    """Threat by threat, before and after. One that no longer derives was removed by the facts: by a rule, not by
    a measurement. Where labels alone would do for the attack that broke it, that is said.

    What was measured on either side is listed, changed or not: that nothing changed is a result.
    """
    found = []
    for id in sorted(old.keys() | new.keys()):
        was, now = old.get(id), new.get(id)
        leads = [f.evidence[0] if f is not None and f.evidence else None for f in (was, now)]
        if was is not None and now is not None and was.status == now.status and leads == [None, None]:
            continue
        change = change_of(id, *leads)
        found.append(replace(
            change, before="absent" if was is None else str(was.status), after=_status(was, now, tried),
            cost_before=_said(was), cost_after=_said(now), difference=change.difference or _alike(was, now),
        ))  # fmt: skip
    return found


def change_of(threat: str, was: Evidence | None, now: Evidence | None) -> Change:
    """Two measurements beside each other."""
    def limits(evidence: Evidence | None) -> tuple[float, float] | None:
        return None if evidence is None or evidence.interval is None else (evidence.interval.low, evidence.interval.high)

    measured = [None if e is None or e.n == 0 else e for e in (was, now)]
    first, second = measured
    return Change(
        threat=threat, before="" if was is None else str(was.verdict), after="" if now is None else str(now.verdict),
        cost_before=paid(was), cost_after=paid(now),
        measure_before="" if first is None else first.measure, measure_after="" if second is None else second.measure,
        attack_before="" if was is None else was.attack, attack_after="" if now is None else now.attack,
        rate_before=None if first is None else first.rate, rate_after=None if second is None else second.rate,
        interval_before=limits(first), interval_after=limits(second),
        difference="" if first is None or second is None else compared(first, second),
    )  # fmt: skip


def _alike(was: Finding | None, now: Finding | None) -> str:
    """Where the decisive attacks measured different things: what both sides measured, and what only the first did."""
    if was is None or now is None:
        return ""
    first, second = _by_measure(was), _by_measure(now)
    if not first or not second or next(iter(first)) == next(iter(second)):
        return ""
    words = []
    for measure, old in first.items():
        new = second.get(measure)
        if new is None:
            words.append(f"{measure}: not measured any more")
        else:
            sides = f"{old.rate:.3g} by {old.attack} → {new.rate:.3g} by {new.attack}"
            words.append(f"{measure}: {sides}" + (f", {told}" if (told := compared(old, new)) else ""))
    return "; ".join(words)


def _by_measure(finding: Finding) -> dict[str, Evidence]:
    """The most decisive evidence of each measure; the finding's own first."""
    found: dict[str, Evidence] = {}
    for evidence in finding.evidence:
        if evidence.n:
            found.setdefault(evidence.measure, evidence)
    return found


def compared(was: Evidence, now: Evidence) -> str:
    """Whether two measurements differ: on the same rows where both have rows, else by their intervals."""
    if was.measure != now.measure:
        return ""
    same = _same_rows(was, now)
    if same is not None:
        fell, rose, n = same
        if not fell and not rose:
            return f"no difference on any of the same {n} rows"
        p = exact_binomial(fell, rose)
        told = f"{fell} rows fell before only, {rose} after only, of the same {n}: p = {p:.2g}"
        if p >= LEVEL:
            return f"no difference beyond the interval ({told})"
        return f"{'fewer' if fell > rose else 'more'} rows fall ({told})"
    if was.interval is None or now.interval is None:
        return ""
    if now.interval.low <= was.interval.high and was.interval.low <= now.interval.high:
        return "no difference beyond the interval"
    return f"{'lower' if now.rate < was.rate else 'higher'}, and the intervals do not meet"


def _same_rows(was: Evidence, now: Evidence) -> tuple[int, int, int] | None:
    """Rows that were right on both sides: broken only before, broken only after, how many."""
    if any(not {"row", "right", "broken"} <= e.rows.keys() for e in (was, now)):
        return None
    both, i, j = np.intersect1d(_right(was, "row"), _right(now, "row"), return_indices=True)
    if not len(both):
        return None
    first, second = _right(was, "broken")[i].astype(bool), _right(now, "broken")[j].astype(bool)
    return int((first & ~second).sum()), int((second & ~first).sum()), len(both)


def _right(evidence: Evidence, column: str) -> Any:
    return np.asarray(evidence.rows[column])[np.asarray(evidence.rows["right"], bool)]


def exact_binomial(one: int, other: int) -> float:
    """The exact two-sided p-value that `one` and `other` discordant pairs are equally likely (McNemar 1947)."""
    n = one + other
    tail = sum(math.comb(n, k) for k in range(min(one, other) + 1))
    return min(1.0, float(2 * tail / 2**n)) if n else 1.0


def _status(was: Finding | None, now: Finding | None, tried: Sequence[Any]) -> str:
    if now is None:
        return "removed by the facts" + _left(was, tried)
    # That an attack is named is not enough: it must have been run, and on this very threat.
    tested = {e.attack for e in now.evidence}
    adaptive = all(tested & set(control.info.knows) for control in tried)
    if was is not None and was.status is Status.BROKEN and now.status is Status.RESISTED:
        return str(Status.MITIGATED if adaptive else Status.CLAIMED)
    return str(now.status)


def _left(was: Finding | None, tried: Sequence[Any]) -> str:
    """Which breaks the change of facts cannot have ended: labels are still shown, and these attacks ask for no more."""
    if was is None or not any(control.info.id == "service.labels_only" for control in tried):
        return ""
    names = sorted({e.attack for e in was.evidence if e.broken and attacks.get(e.attack).info.needs == Need.LABEL})
    return f", but {', '.join(names)} needs labels only: attack again" if names else ""


def _said(finding: Finding | None) -> str:
    """What the cheapest attack of a finding cost; nothing where it has no price in queries or records."""
    if finding is None or finding.cost is None or not finding.evidence:
        return ""
    return paid(replace(finding.evidence[0], cost=finding.cost))


def paid(evidence: Evidence | None) -> str:
    """What one measurement cost its attacker, in words; nothing where that has no price in queries or records."""
    if evidence is None or evidence.cost is None:
        return ""
    cost = evidence.cost
    if evidence.case == "evade":
        own = "" if cost.gradients is None else f", {cost.gradients:,.0f} calls of an own copy"
        return cost.said + (own if cost.queries is not None else "")
    return cost.said if cost.queries or cost.records or cost.censored_at else ""


def worst(findings: dict[str, Finding]) -> Evidence | None:
    """The cheapest break of the decision's integrity, which the attacker would choose; without one, what was tried longest."""
    evidence = [e for f in findings.values() for e in f.evidence if e.case == "evade" and e.cost is not None and e.n]
    return min(evidence, key=_choice, default=None)


def _choice(evidence: Evidence) -> tuple[Any, ...]:
    cost, inf = evidence.cost, float("inf")
    assert cost is not None
    queries = inf if cost.queries is None else cost.queries
    return (not evidence.broken, queries, cost.gradients or 0.0, -evidence.rate, -(cost.censored_at or 0.0), evidence.attack)
