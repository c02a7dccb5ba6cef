"""What a gate cannot tell about findings: attacks that failed or did not decide, and what nobody knows any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..core.disposition import Disposition
from ..core.evidence import Status, Verdict
from ..core.finding import SEVERITIES, Assessment, Finding
from ..threats.dispositions import is_pattern
from .changes import Change, compare

RULE = "undecided"
_HELD = (Status.RESISTED, Status.MITIGATED, Status.CERTIFIED)
_SOUND = (Verdict.RESISTED, Verdict.CERTIFIED)


def undecided(now: Assessment, baseline: Assessment | None, described: Assessment | None) -> Iterator[tuple[str, str]]:
    """The rule and a sentence for each finding that cannot be told, and that no active decision answers.

    Args:
        described: What the description says now, where it is known: a break that a report no longer has is gone where
            the description does not make it either.
    """
    told: set[str] = set()
    for id, times in Counter(f.threat for f in now.findings).items():
        if times > 1:
            yield RULE, f"{id}: stands there {times} times: which of them counts is not known"
    for finding in now.findings:
        why = _unjudged(finding) if _answered(finding) else _inconclusive(finding)
        if why:
            told.add(finding.threat)
            yield RULE, f"{finding.threat}: {why}"
    if baseline is None:
        return
    made = None if described is None else _made(described)
    for change in compare(baseline, now).threats:
        if change.threat in told or (change.after is not None and _settled(change)):
            continue
        if change.after is None and made is not None and change.threat not in made:
            continue
        if change.category == "asked" or (change.category == "lost" and _was_grave(change)):
            hint = " (give it with --description)" if change.after is None and made is None else ""
            yield RULE, f"{change.threat}: {change.because}{hint}"


def _made(described: Assessment) -> set[str]:
    """The threats that a description makes, those that others hide included."""
    listed = (f.threat for f in described.findings if f.status is not Status.NOT_APPLICABLE)
    return {*listed, *(h.threat for h in described.hidden)}


def _answered(finding: Finding) -> bool:
    return finding.disposed is not None and finding.disposed.state == "active"


def _settled(change: Change) -> bool:
    """Whether somebody decided. What the baseline does not have, only a decision about just that can answer."""
    now = change.after
    return now is not None and _answered(now) and (change.before is not None or _named(now))


def _named(finding: Finding) -> bool:
    return finding.disposed is not None and by_id(finding.disposed.disposition)


def by_id(one: Disposition | None) -> bool:
    """Whether a decision names one threat: a pattern was written before the threats that come later."""
    return one is not None and not is_pattern(one.threat)


def _unjudged(finding: Finding) -> str:
    """A break that somebody lives with, on a condition that was not measured."""
    held = finding.disposed
    if held is None or not held.why or finding.status is not Status.BROKEN:
        return ""
    return f"is broken, and the decision about it rests on what was not measured: {held.why}"


def _was_grave(change: Change) -> bool:
    """A break of the baseline that nobody looked at again; severity low is left to the rule of stale evidence."""
    old = change.before
    return old is not None and old.status is Status.BROKEN and old.severity not in SEVERITIES[3:4]


def _inconclusive(finding: Finding) -> str:
    if finding.status in (Status.ERROR, Status.INCONCLUSIVE):
        return f"{finding.status}{f' ({finding.reason})' if finding.reason else ''}: run casemate assess again"
    verdicts = [e.verdict for e in finding.evidence]
    if finding.status in _HELD and not verdicts:
        return f"is said to be {finding.status}, without evidence: run casemate assess again"
    wrong = next((v for v in verdicts if v not in _SOUND), None)
    if finding.status in _HELD and wrong is not None:
        return f"is said to be {finding.status}, and evidence of it is {wrong}: run casemate assess again"
    if finding.status is not Status.BROKEN and Verdict.BROKEN in verdicts:
        return f"is said to be {finding.status}, and evidence of it is broken: run casemate assess again"
    return ""
