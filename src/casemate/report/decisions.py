"""The table on top: what to decide next, the gravest first. At most ten lines; the rest is folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ..core.control import controls
from ..core.errors import CasemateError
from ..core.evidence import Status
from ..core.fact import NO, UNKNOWN
from ..core.finding import SEVERITIES, Assessment, Finding
from ..judges.aims import ALREADY
from ..judges.smuggle import ANOTHER
from .weighed import brief, is_assumed
from .words import clean, count_of

if TYPE_CHECKING:
    from .view import Shown

DECISIONS = 10
_FIX = ("critical", "high")
# Of one severity, in this order: what was measured before what is assumed.
_VERBS = ("fix", "decide again", "fix or accept", "look closer", "test next", "decide", "answer", "accept candidate")
SCAN = "supply.scan"  # the attack that `casemate scan` runs on a file, without a target
# What would settle it, by words of the reason why nothing was.
_CLOSER = (
    (ANOTHER, "check a digest or a signature at load"), (ALREADY, "aim at another class"),
    ("cannot exclude", "give it more data"),
)  # fmt: skip
_HELD = r": needs [^;]+, which [^;]+ does not hold"
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
    grave: int  # its place by severity; of what has none yet, by impact


def decisions(
    shown: Sequence[Shown], assessment: Assessment, most: int = DECISIONS
) -> tuple[tuple[Decision, ...], tuple[Decision, ...]]:
    """The lines of the table and those that it has no room for, by severity; the question most threats wait for is kept."""
    asks = _asks(assessment)
    rows = [*(_line(group, assessment) for group in _groups(shown)), *asks]
    rows.sort(key=_place)
    room = max(0, most - sum(line not in rows[:most] for line in asks))
    first = tuple([*rows[:room], *(line for line in asks if line not in rows[:room])][:most])
    return first, tuple(line for line in rows if line not in first)


def _place(line: Decision) -> tuple[int, int]:
    return line.grave, _VERBS.index(line.verb)


def _grave(finding: Finding, verb: str) -> int:
    """By severity. What nobody could measure counts as if it were broken cheaply, for that may turn out; what resisted last."""
    if finding.severity != "none" or verb == "accept candidate":
        return SEVERITIES.index(finding.severity)
    return min(3, max(0, 4 - finding.impact))


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
        grave=_grave(f, verb),
    )  # fmt: skip


def _advice(finding: Finding, assessment: Assessment) -> tuple[str, str]:
    status = finding.status
    if finding.disposed:
        held = finding.disposed
        made = f"{clean(held.disposition.decision).replace('_', ' ')} by {clean(held.disposition.owner)}"
        return "decide again", f"{made} is {held.state}: {clean(held.why) or held.disposition.expires.isoformat()}"
    if status is Status.BROKEN:
        advice = _harden(finding, assessment.system)
        return ("fix", advice) if finding.severity in _FIX else ("fix or accept", f"{advice}; or name an owner and a date")
    if status in (Status.UNTESTED, Status.CLAIMED, Status.STALE):
        return _untested(finding, assessment)
    if status in _SICK:
        return "look closer", _closer(finding)
    return "accept candidate", "name an owner and a date for the next look"


def _closer(finding: Finding) -> str:
    """What would settle it, as far as the evidence says: more people to judge, a larger budget, or a mended run."""
    ends = [c for e in finding.evidence for c in e.health if c.number == 40 and c.ok is False and c.fatal]
    reasons = [reason for e in finding.evidence for reason in e.reasons]
    do = "give the attack a larger budget" if ends else next(
        (do for words, do in _CLOSER if any(words in reason for reason in reasons)), "mend the attack or the target"
    )  # fmt: skip
    return f"{do} and run again; this is no evidence of resistance"


def _harden(finding: Finding, system: Any) -> str:
    """Which controls to try next. What is in place already is named apart: it was there when the system broke."""
    held = [id for id in finding.mitigations if in_place(id, finding.element, system)]
    tried = _controls([id for id in finding.mitigations if id not in held])
    beside = f" ({', '.join(map(clean, held))} {'is' if len(held) == 1 else 'are'} in place already)" if held else ""
    if tried:
        return f"harden with {tried}, then attack again{beside}"
    return f"no {'further ' if held else ''}control in the catalogue: change the facts{beside}"


def in_place(id: str, element: str, system: Any) -> bool:
    """Whether a description says that a control protects an element: it lists it as active, or states all facts it changes."""
    listed = any(c.type == id and c.state == "active" and c.on == element for c in getattr(system, "controls", ()))
    if listed or id not in controls:
        return listed
    facts, free = _facts(controls.get(id))
    return bool(facts) and all(_stated(system, f"{element}.{path}", value, free) for path, value in facts)


def _facts(kind: Any) -> tuple[Sequence[tuple[str, Any]], Sequence[Any]]:
    """The facts of a control with its defaults, and which of their values are its settings: those may be others."""
    if not hasattr(kind, "facts"):
        return kind.info.changes, ()
    try:
        one = kind()
    except (TypeError, CasemateError):  # a control of somebody's own that has no defaults
        return (), ()
    return one.facts(), [getattr(one, field.name) for field in fields(one)]


def _stated(system: Any, path: str, value: Any, free: Sequence[Any]) -> bool:
    """Whether the description has the fact as the control would make it; of a setting, whatever it is set to."""
    try:
        found = system.fact(path).value
    except (CasemateError, LookupError, AttributeError, ValueError):
        return False
    if found in (None, UNKNOWN, NO, "none", "unknown"):
        return False
    return value in free or str(found) == str(value)


def _controls(ids: Sequence[str], most: int = 3) -> str:
    """Controls to try. Where some change the training, one of those is named: they are the ones that a list cut short hides."""
    trained = [id for id in ids if id.startswith("training.")]
    first = list(ids[:most])
    if trained and len(ids) > most and not set(first) & set(trained):
        first[-1] = trained[0]
    more = len(ids) - len(first)
    return ", ".join(map(clean, first)) + (f" or {more} more" if more else "")


def _untested(finding: Finding, assessment: Assessment) -> tuple[str, str]:
    """Which attack would answer it, and what that is waiting for."""
    runs = [*finding.tests, *finding.checks]
    if not runs and not finding.evidence:
        return "decide", "nothing here attacks it: change the facts, or name an owner and a date"
    if _unfit(finding):
        return "decide", "no attack here fits this access: change the facts, or name an owner and a date"
    named = ", ".join(map(clean, (runs or [finding.evidence[0].attack])[:3]))
    return "test next", f"{named}; {_missing(finding, assessment)}"


def _unfit(finding: Finding) -> bool:
    """Whether each of its attacks needs what this adversary does not hold: to bind or spend more would change nothing."""
    named = [test for test in finding.tests if f"{test}: " in finding.reason]
    short = [test for test in named if re.search(re.escape(test) + _HELD, finding.reason)]
    return bool(short) and short == named and not finding.checks and not finding.evidence


def _missing(finding: Finding, assessment: Assessment) -> str:
    """What runs the tests, or what that waits for. A check reads a file and needs no target."""
    if not _bound(assessment.system, finding.element):
        static = by_hand(finding)
        attacks = ", ".join(clean(test) for test in finding.tests if test != SCAN)
        if static:
            return f"{static} runs without a target" + (f"; {attacks} needs one in system.target" if attacks else "")
        if finding.tests:
            return f"missing: a target for {clean(finding.element)} in system.target"
    if not any(f.evidence for f in assessment.findings):
        return "casemate assess runs it" if finding.tests else "casemate threats --check runs it"
    return f"missing: {clean(finding.reason) or 'a run of it'}"


def by_hand(finding: Finding) -> str:
    """The commands that settle it by reading files, where there are any."""
    commands = [["casemate scan"] if SCAN in finding.tests else [], ["casemate threats --check"] if finding.checks else []]
    return " or ".join(command for one in commands for command in one)


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
            what=text, severity="none", assumed=False, cost="", id="", grave=SEVERITIES.index("low"),
            next=f"{count_of(waiting, 'threat')} {'waits' if waiting == 1 else 'wait'} for {clean(asked.get('field', ''))}",
        )
    ]  # fmt: skip
