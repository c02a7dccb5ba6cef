"""What is different between two assessments of one system, threat by threat: worse, better, or no longer known.

Nothing counts as fixed because nobody looked: a break that is not measured again is unknown, not gone. A cost or rate has
moved only where it left the interval it was measured with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..core.evidence import Evidence, Status, plain
from ..core.finding import SEVERITIES, Assessment, Finding, band
from .changed_facts import ChangedFact, changed_facts
from .settled import stated

Category = Literal["new", "regressed", "moved", "lost", "asked", "replaced", "changed", "improved", "fixed", "unchanged"]
State = Literal["new", "unchanged", "updated", "absent"]
CATEGORIES: tuple[Category, ...] = (
    "new", "regressed", "moved", "lost", "asked", "replaced", "changed", "improved", "fixed", "unchanged",
)  # fmt: skip
WORDS: Mapping[Category, str] = {
    "new": "New threats",
    "regressed": "Regressed: broken now, or worse than before",
    "moved": "Moved outside the interval",
    "lost": "No longer known: evidence is missing that was there",
    "asked": "Undecided: a fact is unknown",
    "replaced": "Replaced: a harder way in place of an easier one",
    "changed": "Other changes of status",
    "improved": "Improved",
    "fixed": "Fixed: gone, or no longer broken",
    "unchanged": "Unchanged",
}
_GOOD = (Status.RESISTED, Status.MITIGATED, Status.CERTIFIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One threat before and after.

    Args:
        because: What changed, in a sentence without its subject.
        worse: True for worse, False for not, None where it can no longer be told.
        before, after: The findings; None where there was none.
    """

    threat: str
    title: str
    category: Category
    because: str
    worse: bool | None
    before: Finding | None
    after: Finding | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with what matters of the findings."""
        data = {name: getattr(self, name) for name in ("threat", "title", "category", "because", "worse")}
        return {**data, "before": _summary(self.before), "after": _summary(self.after)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """All differences of two assessments.

    Args:
        threats: One for each threat of either, by category and id.
        facts: Differences of the descriptions; None where one side holds none (a report, a stored run).
        opened: Questions that only the later one asks.
        answered: Questions that only the earlier one asks, and whose fact the later description states.
        dropped: Those that nobody answered: the fact is still unknown (or there is no description to look into), and
            nothing asks for it any more.
        missing: There is nothing to compare with: the later side does not have the system.
    """

    before: str
    after: str
    threats: tuple[Change, ...]
    facts: tuple[ChangedFact, ...] | None
    opened: tuple[dict[str, Any], ...]
    answered: tuple[dict[str, Any], ...]
    dropped: tuple[dict[str, Any], ...]
    missing: bool = False

    def of(self, category: Category) -> tuple[Change, ...]:
        return tuple(c for c in self.threats if c.category == category)

    @property
    def code(self) -> int:
        """1 where something is worse, 2 where that can no longer be told, else 0."""
        verdicts = {c.worse for c in self.threats}
        return 1 if True in verdicts else 2 if None in verdicts or self.missing else 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready. Unchanged threats by id only."""
        return {
            "before": self.before,
            "after": self.after,
            "code": self.code,
            "changes": [c.to_dict() for c in self.threats if c.category != "unchanged"],
            "unchanged": [c.threat for c in self.of("unchanged")],
            "facts": None if self.facts is None else [plain(fact) for fact in self.facts],
            "questions_opened": plain(self.opened),
            "questions_answered": plain(self.answered),
            "questions_no_longer_asked": plain(self.dropped),
        }


def compare(before: Assessment, after: Assessment) -> Changes:
    """What is different. Both are taken as they are: dispositions play no part, and neither is derived again."""
    old, new = _present(before), _present(after)
    hidden = [{h.threat: f"{h.by}: {h.because}" for h in a.hidden} for a in (before, after)]
    changes = [_change(id, old.get(id), new.get(id), hidden[0].get(id), hidden[1].get(id)) for id in {**old, **new}]
    missing = after.system is None and not after.findings and not after.hidden
    if after.system is None:
        shown = {f.threat for f in after.findings}  # what a report says does not apply is there
        changes = [c if c.threat in shown else _unseen(c, missing, after.name) for c in changes]
    changes = replaced(changes)
    asked = [{q["field"]: q for q in a.questions if "field" in q} for a in (before, after)]
    closed = [q for field, q in asked[0].items() if field not in asked[1]]
    known = {q["field"] for q in closed if after.system is not None and stated(after.system, str(q["field"]))}
    both = before.system is not None and after.system is not None
    return Changes(
        before=before.name,
        after=after.name,
        threats=tuple(sorted(changes, key=lambda c: (CATEGORIES.index(c.category), c.threat))),
        facts=changed_facts(before.system, after.system) if both else None,
        opened=tuple(q for field, q in asked[1].items() if field not in asked[0]),
        answered=tuple(q for q in closed if both and q["field"] in known),
        dropped=tuple(q for q in closed if not both or q["field"] not in known),
        missing=missing,
    )


def states(before: Assessment, after: Assessment) -> dict[str, State]:
    """For each threat id of either: whether it is new, unchanged, updated or absent, as baselines of SARIF have it."""
    found: dict[str, State] = {}
    for change in compare(before, after).threats:
        if change.after is None:
            found[change.threat] = "absent"
        elif change.before is None:
            found[change.threat] = "new"
        else:
            found[change.threat] = "unchanged" if change.category == "unchanged" else "updated"
    return found


def _present(assessment: Assessment) -> dict[str, Finding]:
    return {f.threat: f for f in assessment.findings if f.status is not Status.NOT_APPLICABLE}


_Verdict = tuple[Category, str, bool | None]


def _change(id: str, old: Finding | None, new: Finding | None, was_hidden: str | None, is_hidden: str | None) -> Change:
    known = new or old
    assert known is not None
    if old is None:
        category, because, worse = _appeared(known, was_hidden)
    elif new is None:
        category, because, worse = _went(old, is_hidden)
    elif old.status is not new.status:
        category, because, worse = _turned(old, new)
    else:
        category, because, worse = _same(old, new)
    return Change(threat=id, title=known.title, category=category, because=because, worse=worse, before=old, after=new)


def _appeared(new: Finding, hidden: str | None) -> _Verdict:
    if new.status is Status.QUESTION:
        return "asked", f"an open question now: {new.reason}", None
    if hidden and new.status is not Status.BROKEN:
        return "changed", f"was hidden by {hidden}; it is listed now ({new.status})", False
    before = f"was hidden by {hidden}" if hidden else "was not there"
    return "new", f"{before}; {_stands(new)}", True


def _went(old: Finding, hidden: str | None) -> _Verdict:
    if hidden:
        return "changed", f"was {old.status}; now hidden by {hidden}", False
    if old.status is Status.QUESTION:
        return "improved", "was an open question; it does not apply", False
    return "fixed", f"was {old.status}; no longer derived", False


def _unseen(change: Change, missing: bool, name: str) -> Change:
    """What is not in a report was not thereby shown to be gone: a break may have been left out with its description."""
    old = change.before
    if old is None or not (missing or (old.status is Status.BROKEN and change.category == "fixed")):
        return change
    why = f"{name} is not there any more" if missing else "the report does not have it; only a description shows that it is gone"
    return replace(change, category="lost", because=f"was {_stands(old)}; {why}", worse=None)


def _turned(old: Finding, new: Finding) -> _Verdict:
    was = "was never tested" if old.status is Status.UNTESTED else f"was {_stands(old)}"
    if new.status is Status.BROKEN:
        return "regressed", f"{was}; {_stands(new)}", True
    if old.status is Status.QUESTION and new.status not in _GOOD:
        return "new", f"was an open question; it applies, {_stands(new)}", True
    if new.status in _GOOD:
        return ("fixed" if old.status is Status.BROKEN else "improved"), f"{was}; {_stands(new)}", False
    if new.status is Status.QUESTION:
        return "asked", f"{was}; a fact is unknown now: {new.reason}", None
    if old.status is Status.BROKEN or old.status in _GOOD:
        again = "nobody has shown since that it is not" if old.status is Status.BROKEN else "that is not shown any more"
        return "lost", f"{was}; {_stands(new)}: {again}", None
    worse = None if new.status in (Status.ERROR, Status.INCONCLUSIVE, Status.STALE) else False
    return "changed", f"{was}; {_stands(new)}", worse


def _same(old: Finding, new: Finding) -> _Verdict:
    if new.status is Status.BROKEN:
        moved = _moved_cost(old, new) or _moved_rate(old, new)
        grades = [SEVERITIES.index(f.severity) if f.severity in SEVERITIES else len(SEVERITIES) for f in (old, new)]
        if moved:
            return "moved", moved[0], moved[1]
        if grades[0] != grades[1]:
            words = f"severity {old.severity} -> {new.severity} (impact {old.impact} -> {new.impact})"
            return ("regressed", words, True) if grades[1] < grades[0] else ("improved", words, False)
    elif new.status in _GOOD:
        moved = _moved_rate(old, new)
        if moved:
            return "moved", moved[0], moved[1]
    if old.impact != new.impact:
        return "changed", f"impact {old.impact} -> {new.impact}", False
    return "unchanged", "", False


# A harder way in place of an easier one -----------------------------------------------------------------------------------


def replaced(changes: Sequence[Change]) -> list[Change]:
    """The changes, in which a new threat that stands where an easier one was is `replaced`, and no worse.

    The same attacker is left with the same goal at the same element, at no lower cost and with no greater harm. A threat
    that was shown to hold, or that was never more than a question, left nothing to replace.
    """
    gone: dict[tuple[str, ...], list[Finding]] = {}
    for change in changes:
        if change.category in ("fixed", "lost") and change.after is None and change.before is not None:
            gone.setdefault(_aim(change.before), []).append(change.before)
    return [_as_replaced(change, gone) for change in changes]


def _aim(finding: Finding) -> tuple[str, ...]:
    """Who wants what where."""
    return finding.principal, finding.element, finding.cell.get("phase", ""), finding.cell.get("goal", "")


def _as_replaced(change: Change, gone: Mapping[tuple[str, ...], Sequence[Finding]]) -> Change:
    new = change.after
    if change.category != "new" or new is None or change.before is not None or not all(_aim(new)):
        return change
    for old in gone.get(_aim(new), ()):
        harder = _harder(old, new)
        if harder:
            because = f"in place of {old.threat}, which is gone; {harder}; {_stands(new)}"
            return replace(change, category="replaced", because=because, worse=False)
    return change


def _harder(old: Finding, new: Finding) -> str:
    """Both costs in words, where the new threat is no cheaper than the old one with the same aim; else ""."""
    if new.impact > old.impact or old.status in _GOOD:
        return ""
    if new.status is Status.BROKEN and old.status is not Status.BROKEN:
        return ""  # what is shown to work now was only assumed to work before
    was, now = _spans(old), _spans(new)
    for unit in now:
        if unit in was:
            no_lower = all(b >= a for a, b in zip(was[unit][0], now[unit][0], strict=True))
            return f"its cost {_said(was[unit], unit)} -> {_said(now[unit], unit)}" if no_lower else ""
    return ""


_Price = tuple[tuple[float, float], str]


def _spans(finding: Finding) -> dict[str, _Price]:
    """What a threat costs, by unit, with the basis: in money (measured, else the catalogue's prior), and in queries."""
    risk, found = finding.risk, dict[str, _Price]()
    if risk is not None and risk.low is not None and risk.basis in ("measured", "prior"):
        high = risk.low if risk.high is None else risk.high
        found[risk.currency or "money"] = (risk.low, high), "measured" if risk.basis == "measured" else "assumed"
    if finding.status is Status.BROKEN and finding.cost is not None and finding.cost.queries is not None:
        found["queries"] = (finding.cost.queries, finding.cost.queries), "measured"
    return found


def _said(price: _Price, unit: str) -> str:
    (low, high), basis = price
    amount = f"{low:,.10g}" if low == high else f"{low:,.10g} to {high:,.10g}"
    return f"{amount}{f' {unit}' if unit != 'money' else ''} ({basis})"


# What was measured -------------------------------------------------------------------------------------------------------


def queries_interval(finding: Finding) -> tuple[float, float] | None:
    """Between which query counts half of the rows break, by the band of the decisive evidence's curve; None without one."""
    lead = finding.evidence[0] if finding.evidence else None
    points = lead.curves.get("queries", []) if lead is not None else []
    if not points:
        return None
    soon = next((x for x, _, _, high in points if high >= 0.5), None)
    late = next((x for x, _, low, _ in points if low >= 0.5), float("inf"))
    return None if soon is None else (soon, late)


def _moved_cost(old: Finding, new: Finding) -> tuple[str, bool] | None:
    """A break's price in queries that left its interval, or its band where there is none; whether it fell."""
    was, now = (f.cost.queries if f.cost else None for f in (old, new))
    if was is None and now is None:
        return None
    spans = [queries_interval(f) for f in (old, new)]
    beside = _apart(spans[0], spans[1]) if spans[0] and spans[1] else band(old.cost) != band(new.cost)
    if was == now or (not beside and was is not None and now is not None):
        return None
    if was is None or now is None:
        said = f"{'fewer than half' if was is None else 'half'} of the rows broke before, "
        return said + f"{'half' if now is not None else 'fewer than half'} do now ({old.cost} -> {new.cost})", now is not None
    how = f"intervals {_span(spans[0])} and {_span(spans[1])}" if spans[0] and spans[1] else "another band; no interval known"
    return f"a break costs {was:,.10g} -> {now:,.10g} queries ({how})", now < was


def _moved_rate(old: Finding, new: Finding) -> tuple[str, bool] | None:
    """The worst rate of one attack that both ran, where the intervals have nothing in common; whether it rose."""
    held = {e.attack: e for e in old.evidence}
    pairs = [(held[e.attack], e) for e in new.evidence if e.attack in held and held[e.attack].measure == e.measure]
    apart = [(a, b) for a, b in pairs if _apart(_rate_span(a), _rate_span(b))]
    if not apart:
        return None
    # Of several attacks that moved, a rise says more than a fall.
    a, b = max(apart, key=lambda pair: pair[1].rate - pair[0].rate)
    spans = f"intervals {a.interval} and {b.interval}"
    return f"{b.measure} by {b.attack} {a.rate:.3g} -> {b.rate:.3g} ({spans})", b.rate > a.rate


def _rate_span(evidence: Evidence) -> tuple[float, float] | None:
    return (evidence.interval.low, evidence.interval.high) if evidence.interval else None


def _apart(a: tuple[float, float] | None, b: tuple[float, float] | None) -> bool:
    return a is not None and b is not None and (a[1] < b[0] or b[1] < a[0])


def _span(span: tuple[float, float] | None) -> str:
    return f"[{span[0]:,.10g}, {span[1]:,.10g}]" if span else "unknown"


def _stands(finding: Finding) -> str:
    """A finding's status with what was measured."""
    lead = finding.evidence[0] if finding.evidence else None
    if lead is None:
        return str(finding.status) + (f" ({finding.reason})" if finding.reason else "")
    cost = f", {finding.cost.said}" if finding.cost and finding.cost.said else ""
    return f"{finding.status} ({lead.measure} {lead.rate:.3g} by {lead.attack}{cost}; budget: {lead.budget})"


def _summary(finding: Finding | None) -> dict[str, Any] | None:
    if finding is None:
        return None
    names: Sequence[str] = ("status", "reason", "severity", "impact", "cost", "file", "line")
    evidence = [
        {"attack": e.attack, "verdict": str(e.verdict), "measure": e.measure, "rate": plain(e.rate), "n": e.n,
         "interval": plain(e.interval), "budget": e.budget}
        for e in finding.evidence
    ]  # fmt: skip
    return {**{name: plain(getattr(finding, name)) for name in names}, "evidence": evidence}


def pairs(before: Sequence[Assessment], after: Sequence[Assessment]) -> list[tuple[Assessment, Assessment]]:
    """What is compared with what: one with one whatever they are called, several by name; the rest with nothing."""
    if len(before) == len(after) == 1:
        return [(before[0], after[0])]
    old, new = _by_name(before), _by_name(after)
    return [(old.get(key) or _nothing(new[key]), new.get(key) or _nothing(old[key])) for key in {**old, **new}]


def _by_name(assessments: Sequence[Assessment]) -> dict[tuple[str, int], Assessment]:
    found: dict[tuple[str, int], Assessment] = {}
    for one in assessments:
        found[one.name, sum(name == one.name for name, _ in found)] = one
    return found


def _nothing(like: Assessment) -> Assessment:
    return Assessment(name=like.name, path="", system=None, findings=())
