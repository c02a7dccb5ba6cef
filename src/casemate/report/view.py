"""From an Assessment to what is shown: plain records that HTML, Markdown and the terminal share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.evidence import Evidence, Status
from ..core.finding import SEVERITIES, Assessment, Finding
from .cards import card, facts, references
from .hardening import hardening
from .personal import hidden
from .samples import Sample, samples
from .words import BUCKETS, clean, cost_brief, count_of, evidence_id, in_bucket, look, sentence, tally

DECISIONS = 10
_FIX = ("critical", "high")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is shown. What is left out is counted, never dropped in silence."""

    findings: int = 40
    compact: int = 80
    samples: int = 4
    sampled: int = 12  # findings with samples
    charts: int = 16
    lines: int = 60  # of any other table


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One piece of evidence and its id."""

    id: str
    evidence: Evidence
    passed: int
    failed: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A finding, ready to be laid out."""

    anchor: str
    finding: Finding
    tone: str
    label: str
    sentence: str
    cost: str
    measured: tuple[Measured, ...]
    card: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str, str], ...]  # path, value, source
    references: tuple[tuple[str, tuple[str, ...]], ...]
    samples: tuple[Sample, ...]
    redacted: bool
    same_as: tuple[str, str] = ("", "")  # anchor and threat of an earlier finding that rests on the same evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A line of the decision table."""

    verb: str  # fix, look closer, accept candidate
    tone: str
    anchor: str
    what: str
    severity: str
    cost: str
    next: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One system, ready to be laid out."""

    key: str
    assessment: Assessment
    counts: dict[str, int]
    decisions: tuple[Decision, ...]
    undecided: int
    shown: tuple[Shown, ...]  # with evidence
    compact: tuple[Shown, ...]  # without
    questions: tuple[dict[str, Any], ...]
    untested: tuple[dict[str, str], ...]
    hardening: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
    coverage: tuple[tuple[str, str, str, int], ...]  # framework, entry, tone of the worst, findings
    hidden: bool
    left_out: dict[str, int] = field(default_factory=dict)


def view(assessment: Assessment, key: str, show_personal: bool = False, limits: Limits | None = None) -> View:
    """Everything the formats need of one assessment."""
    limits = limits or Limits()
    hide = hidden(assessment, show_personal)
    sampled = [f.threat for f in assessment.findings if f.evidence and assessment.samples.get(f.threat)][: limits.sampled]
    shown = [
        _shown(f, assessment, f"{key}-f{i}", hide, limits.samples if f.threat in sampled else 0)
        for i, f in enumerate(assessment.findings, 1)
    ]
    with_evidence = _shared([s for s in shown if s.measured])
    without = [s for s in shown if not s.measured]
    decisions, undecided = _decisions(shown)
    lists: dict[str, tuple[Sequence[Any], int]] = {
        "findings": (with_evidence, limits.findings), "compact": (without, limits.compact),
        "questions": (assessment.questions, limits.lines), "untested": (assessment.untested, limits.lines),
    }  # fmt: skip
    return View(
        key=key, assessment=assessment, counts=tally(assessment.findings), decisions=decisions, undecided=undecided,
        shown=tuple(with_evidence[: limits.findings]), compact=tuple(without[: limits.compact]),
        questions=assessment.questions[: limits.lines],
        untested=assessment.untested[: limits.lines], hardening=hardening(assessment.hardening),
        coverage=_coverage(shown), hidden=hide,
        left_out={name: max(0, len(items) - most) for name, (items, most) in lists.items()},
    )  # fmt: skip


def title(views: Sequence[View]) -> str:
    names = [clean(v.assessment.name) for v in views]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "Nothing was assessed"


def opening(views: Sequence[View]) -> str:
    """What was done and how it came out, in counts."""
    total = {name: sum(v.counts[name] for v in views) for name in ("derived", *BUCKETS.values())}
    systems = count_of(len(views), "system")
    parts = ", ".join(in_bucket(n, name) for name, n in total.items() if name != "derived" and n)
    return f"{systems} described as deployed. {count_of(total['derived'], 'threat')} derived" + (f": {parts}." if parts else ".")


def leading(views: Sequence[View], most: int = 3) -> tuple[tuple[View, Shown], ...]:
    """The broken findings to read first, over all systems: by severity, then by the order of their own system."""
    found = [(v, s) for v in views for s in v.shown if s.finding.status is Status.BROKEN and not s.same_as[0]]
    found.sort(key=lambda pair: (SEVERITIES.index(pair[1].finding.severity), -pair[1].finding.impact))
    return tuple(found[:most])


def _shown(finding: Finding, assessment: Assessment, anchor: str, hide: bool, few: int) -> Shown:
    measured = tuple(_measured(e) for e in finding.evidence)
    held = assessment.samples.get(finding.threat, {})
    found = look(finding.status)
    return Shown(
        anchor=anchor, finding=finding, tone=found.tone, label=found.label,
        sentence=sentence(finding, assessment.system, measured[0].id if measured else ""),
        cost=cost_brief(finding.cost) if finding.evidence else "", measured=measured, card=card(finding),
        facts=facts(assessment.system, finding), references=references(finding.mappings),
        samples=() if hide else samples(held, few), redacted=bool(hide and held),
    )  # fmt: skip


def _shared(shown: Sequence[Shown]) -> list[Shown]:
    """One attack can answer two threats. Its inputs and curves are shown with the first of them."""
    first: dict[str, Shown] = {}
    kept = []
    for one in shown:
        before = first.setdefault(one.measured[0].id, one)
        same = before is not one
        kept.append(replace(one, same_as=(before.anchor, before.finding.threat), samples=()) if same else one)
    return kept


def _measured(evidence: Evidence) -> Measured:
    oks = [check.ok for check in evidence.health]
    return Measured(
        id=evidence_id(evidence), evidence=evidence, passed=oks.count(True), failed=oks.count(False), unknown=oks.count(None)
    )


def _decisions(shown: Iterable[Shown]) -> tuple[tuple[Decision, ...], int]:
    """Fix first, then what needs a closer look, then what could be accepted. At most ten; the rest is counted."""
    found = []
    for one in shown:
        if one.finding.status is Status.NOT_APPLICABLE:
            continue
        verb, advice = _advice(one.finding)
        id = one.measured[0].id if one.measured else ""
        title = f"{clean(one.finding.title)} at {clean(one.finding.element)}"
        title += f" by {clean(one.finding.principal.split('@')[0])}" if one.finding.principal else ""
        found.append(
            Decision(
                verb=verb,
                tone=one.tone,
                anchor=one.anchor,
                what=title,
                severity=one.finding.severity,
                cost=one.cost,
                next=advice,
                id=id,
            )
        )
    order = ("fix", "look closer", "accept candidate")
    found.sort(key=lambda d: order.index(d.verb))
    return tuple(found[:DECISIONS]), max(0, len(found) - DECISIONS)


def _advice(finding: Finding) -> tuple[str, str]:
    status, try_ = finding.status, ", ".join(map(clean, finding.mitigations[:3]))
    if status is Status.BROKEN:
        verb = "fix" if finding.severity in _FIX else "look closer"
        return verb, f"harden with {try_}, then attack again" if try_ else "no control in the catalogue: change the facts"
    if status is Status.QUESTION:
        return "look closer", clean(finding.reason) or "answer the open question"
    if status in (Status.UNTESTED, Status.CLAIMED):
        return "look closer", f"make it testable: {clean(finding.reason) or 'no reason was given'}"
    if status in (Status.INCONCLUSIVE, Status.ERROR, Status.STALE):
        return "look closer", "mend the attack or the target and run again; this is no evidence of resistance"
    return "accept candidate", "name an owner and a date for the next look"


def _coverage(shown: Iterable[Shown]) -> tuple[tuple[str, str, str, int], ...]:
    """By framework entry: the worst status of its findings, and how many there are."""
    held: dict[tuple[str, str], list[Shown]] = {}
    for one in shown:
        for framework, entries in one.references:
            for entry in entries:
                held.setdefault((framework, entry), []).append(one)
    rows = []
    for (framework, entry), found in sorted(held.items()):
        tone = min(found, key=lambda s: look(s.finding.status).rank).tone
        rows.append((framework, entry, tone, len(found)))
    return tuple(rows)
