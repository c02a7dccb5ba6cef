"""The table on top: what to decide next. At most ten lines; the rest is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.evidence import Status
from ..core.finding import Assessment, Finding
from .weighed import brief, is_assumed
from .words import clean, count_of

if TYPE_CHECKING:
    from .view import Shown

DECISIONS = 10
_KEPT = 3  # lines that what should be tested next has in any case
_FIX = ("critical", "high")
_URGENT = ("fix", "decide again", "fix or accept", "look closer")
_SICK = (Status.INCONCLUSIVE, Status.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A line of the decision table. `assumed`: severity and cost are the catalogue's assumption."""

    verb: str  # fix, decide again, fix or accept, look closer, test next, answer, decide, accept candidate
    tone: str
    anchor: str
    what: str
    severity: str
    assumed: bool
    cost: str
    next: str
    id: str
    threats: tuple[str, ...]


def decisions(
    shown: Sequence[Shown], assessment: Assessment, most: int = DECISIONS
) -> tuple[tuple[Decision, ...], int]:
    """Urgent first, then what to test, the question most threats wait for, and what could be accepted; and how many more."""
    by_verb: dict[str, list[Decision]] = {}
    for group in _groups(shown):
        line = _line(group, assessment)
        by_verb.setdefault(line.verb, []).append(line)
    urgent = [line for verb in _URGENT for line in by_verb.get(verb, [])]
    tests, asks = by_verb.get("test next", []), _asks(assessment)
    late = [*by_verb.get("decide", []), *by_verb.get("accept candidate", [])]
    rows = urgent[: most - len(asks) - min(_KEPT, len(tests))]
    rows += tests[: most - len(asks) - len(rows)]
    rows = [*rows, *asks, *late][:most]
    return tuple(rows), len(urgent) + len(tests) + len(asks) + len(late) - len(rows)


def _groups(shown: Iterable[Shown]) -> list[list[Shown]]:
    """What is still to be decided. One untested threat by several attackers is one line: one test answers it."""
    groups: dict[tuple[str, ...], list[Shown]] = {}
    for one in shown:
        f = one.finding
        if f.status in (Status.NOT_APPLICABLE, Status.QUESTION) or (f.disposed and f.disposed.state == "active"):
            continue
        alike = f.status in (Status.UNTESTED, Status.CLAIMED) and not f.disposed
        key = (f.rule, f.element, f.severity, str(f.status)) if alike else (one.anchor,)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _line(group: Sequence[Shown], assessment: Assessment) -> Decision:
    one, f = group[0], group[0].finding
    verb, advice = _advice(f, assessment)
    who = ", ".join(dict.fromkeys(clean(s.finding.principal.split("@")[0]) for s in group if s.finding.principal))
    return Decision(
        verb=verb, tone=one.tone, anchor=one.anchor, severity=f.severity, assumed=is_assumed(f), cost=brief(f), next=advice,
        what=f"{clean(f.title)} at {clean(f.element)}" + (f" by {who}" if who else ""),
        id=one.measured[0].id if one.measured else "", threats=tuple(clean(s.finding.threat) for s in group),
    )  # fmt: skip


def _advice(finding: Finding, assessment: Assessment) -> tuple[str, str]:
    status, tried = finding.status, ", ".join(map(clean, finding.mitigations[:3]))
    if finding.disposed:
        held = finding.disposed
        made = f"{clean(held.disposition.decision).replace('_', ' ')} by {clean(held.disposition.owner)}"
        return "decide again", f"{made} is {held.state}: {clean(held.why) or held.disposition.expires.isoformat()}"
    if status is Status.BROKEN:
        advice = f"harden with {tried}, then attack again" if tried else "no control in the catalogue: change the facts"
        return ("fix", advice) if finding.severity in _FIX else ("fix or accept", f"{advice}; or name an owner and a date")
    if status in (Status.UNTESTED, Status.CLAIMED, Status.STALE):
        return _untested(finding, assessment)
    if status in _SICK:
        return "look closer", "mend the attack or the target and run again; this is no evidence of resistance"
    return "accept candidate", "name an owner and a date for the next look"


def _untested(finding: Finding, assessment: Assessment) -> tuple[str, str]:
    """Which attack would answer it, and what that is waiting for."""
    runs = [*finding.tests, *finding.checks]
    if not runs and not finding.evidence:
        return "decide", "nothing here attacks it: change the facts, or name an owner and a date"
    named = ", ".join(map(clean, (runs or [finding.evidence[0].attack])[:3]))
    return "test next", f"{named}; {_missing(finding, assessment)}"


def _missing(finding: Finding, assessment: Assessment) -> str:
    if finding.tests and not _bound(assessment.system, finding.element):
        return f"missing: a target for {clean(finding.element)} in system.target"
    if not any(f.evidence for f in assessment.findings):
        return "casemate assess runs it" if finding.tests else "casemate threats --check runs it"
    return f"missing: {clean(finding.reason) or 'a run of it'}"


def _bound(system: Any, element: str) -> bool:
    return any(binding.component == element for binding in getattr(system, "target", ()))


def _asks(assessment: Assessment) -> list[Decision]:
    """The question most threats wait for; of several the most consequential, which comes first."""
    asked = max(assessment.questions, key=lambda q: len(q.get("threats") or ()), default=None)
    waiting = len(asked.get("threats") or ()) if asked else 0
    if not asked or not waiting:
        return []
    text = clean(asked.get("text") or asked.get("field", ""))
    return [
        Decision(
            threats=tuple(map(clean, asked.get("threats") or ())), verb="answer", tone="question", anchor="",
            what=text, severity="none", assumed=False, cost="", id="",
            next=f"{count_of(waiting, 'threat')} {'waits' if waiting == 1 else 'wait'} for {clean(asked.get('field', ''))}",
        )
    ]  # fmt: skip
