"""From an Assessment to what is shown: plain records that HTML, Markdown and the terminal share."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.evidence import Evidence, Status
from ..core.finding import Assessment, Finding
from ..threats.rules import Rule
from .asides import Aside, asides
from .cards import Advised, advised, card, facts, references, unmapped
from .coverage import Coverage, coverage
from .decisions import DECISIONS, Decision, decisions
from .distances import Distances, distances
from .hardening import hardening
from .health import Health, health
from .machine import rules_of
from .personal import hidden
from .samples import Sample, samples
from .stages import Stage, stages
from .weighed import Claim, Path, Ruling, claims, is_assumed, path, ruling, rulings, weight
from .words import BUCKETS, clean, cost_brief, count_of, evidence_id, in_bucket, look, sentence, tally, unfitted, urgency
from .worst import Worst, worst_case

# A threat that waits for a fact, or does not apply, is a line of a table; the others are cards.
_LINES = (Status.QUESTION, Status.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is shown. What is left out is counted, never dropped in silence."""

    findings: int = 40
    compact: int = 80
    samples: int = 4
    sampled: int = 12  # findings with samples
    charts: int = 16
    lines: int = 60  # of any other table
    chains: int = 12
    decisions: int = DECISIONS
    further: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One piece of evidence and its id."""

    id: str
    evidence: Evidence
    health: Health
    stages: tuple[Stage, ...]
    distances: Distances | None
    unfitted: str
    asides: tuple[Aside, ...]


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
    worst: Worst | None  # over all attacks, where there are two or more on the same rows
    card: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str, str], ...]  # path, value, source
    references: tuple[tuple[str, tuple[str, ...]], ...]
    samples: tuple[Sample, ...]
    redacted: bool
    weight: tuple[tuple[str, str], ...]  # cost, impact, margin, confidence, what would change it
    assumed: bool  # severity and cost are the catalogue's
    advice: tuple[Advised, ...]
    ruling: Ruling | None
    unmapped: str  # that no ATLAS technique fits, or that none is stated
    same_as: tuple[str, str] = ("", "")  # anchor and threat of an earlier finding that rests on the same evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One system, ready to be laid out."""

    key: str
    assessment: Assessment
    counts: dict[str, int]
    decisions: tuple[Decision, ...]
    further: tuple[Decision, ...]  # decisions that the table on top has no room for
    shown: tuple[Shown, ...]  # with evidence
    compact: tuple[Shown, ...]  # without
    waiting: tuple[Shown, ...]  # waits for a fact, or does not apply
    paths: tuple[Path, ...]
    rulings: tuple[Ruling, ...]
    claims: tuple[Claim, ...]
    measured: bool  # whether anything was
    anchors: frozenset[str]  # of what is laid out: what was left out cannot be linked to
    questions: tuple[dict[str, Any], ...]
    untested: tuple[dict[str, str], ...]
    hardening: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
    coverage: Coverage
    hidden: bool
    left_out: dict[str, int] = field(default_factory=dict)


def view(
    assessment: Assessment, key: str, show_personal: bool = False, limits: Limits | None = None,
    today: datetime.date | None = None,
) -> View:
    """Everything the formats need of one assessment. `today` counts the days that decisions still have."""
    limits, today = limits or Limits(), today or assessment.judged_on or datetime.date.today()
    hide = hidden(assessment, show_personal)
    sampled = [f.threat for f in assessment.findings if f.evidence and assessment.samples.get(f.threat)][: limits.sampled]
    rules = rules_of(assessment)
    shown = [
        _shown(f, assessment, f"{key}-f{i}", hide, limits.samples if f.threat in sampled else 0, today, rules, show_personal)
        for i, f in enumerate(assessment.findings, 1)
    ]
    with_evidence = _shared([s for s in shown if s.measured])
    bare = [s for s in shown if not s.measured and s.finding.status not in _LINES]
    waiting = [s for s in shown if not s.measured and s.finding.status in _LINES]
    decided, further = decisions(shown, assessment, limits.decisions)
    held = rulings(s.ruling for s in shown)
    lists: dict[str, tuple[Sequence[Any], int]] = {
        "findings": (with_evidence, limits.findings), "compact": (bare, limits.compact), "waiting": (waiting, limits.lines),
        "questions": (assessment.questions, limits.lines), "untested": (assessment.untested, limits.lines),
        "chains": (assessment.chains, limits.chains), "rulings": (held, limits.lines),
        "hidden": (assessment.hidden, limits.lines), "warnings": (assessment.warnings, limits.lines),
    }  # fmt: skip
    cut = {name: tuple(items[:most]) for name, (items, most) in lists.items()}
    return View(
        key=key, assessment=assessment, counts=tally(assessment.findings), decisions=decided, further=further,
        shown=cut["findings"], compact=cut["compact"], waiting=cut["waiting"],
        paths=_paths(assessment, shown, limits.chains, rules), rulings=cut["rulings"],
        claims=claims(assessment.system, assessment.findings), measured=bool(with_evidence),
        anchors=frozenset(s.anchor for name in ("findings", "compact", "waiting") for s in cut[name]),
        questions=cut["questions"], untested=cut["untested"], hardening=hardening(assessment.hardening),
        coverage=coverage([assessment]), hidden=hide,
        left_out={name: max(0, len(items) - most) for name, (items, most) in lists.items()},
    )  # fmt: skip


def _paths(
    assessment: Assessment, shown: Sequence[Shown], most: int, rules: Mapping[str, Rule]
) -> tuple[Path, ...]:
    anchors = {s.finding.threat: s.anchor for s in shown}
    titles = {id: rule.title for id, rule in rules.items()}
    return tuple(path(chain, anchors, titles) for chain in assessment.chains[:most])


def title(views: Sequence[View]) -> str:
    names = [clean(v.assessment.name) for v in views]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") if names else "Nothing was assessed"


def opening(views: Sequence[View]) -> str:
    """What was done and how it came out, in counts."""
    total = {name: sum(v.counts[name] for v in views) for name in ("derived", *BUCKETS.values())}
    systems = count_of(len(views), "system")
    waiting = total.pop(BUCKETS["question"])  # not among the derived: whether they are there is not known
    parts = ", ".join(in_bucket(n, name) for name, n in total.items() if name != "derived" and n)
    found = f"{count_of(total['derived'], 'threat')} derived" + (f": {parts}" if parts else "")
    return f"{systems} described as deployed. {found}{f'; {waiting:,} more undecided' if waiting else ''}."


def leading(views: Sequence[View], most: int = 3) -> tuple[tuple[View, Shown], ...]:
    """The broken findings to read first, over all systems: by severity, then by the order of their own system."""
    found = [(v, s) for v in views for s in v.shown if s.finding.status is Status.BROKEN and not s.same_as[0]]
    found.sort(key=lambda pair: urgency(pair[1].finding))
    return tuple(found[:most])


def _shown(
    finding: Finding, assessment: Assessment, anchor: str, hide: bool, few: int, today: datetime.date,
    rules: Mapping[str, Rule], named: bool,
) -> Shown:
    measured = tuple(_measured(e, assessment.system, named) for e in finding.evidence)
    held = assessment.samples.get(finding.threat, {})
    found = look(finding.status)
    return Shown(
        anchor=anchor, finding=finding, tone=found.tone, label=found.label,
        sentence=sentence(finding, assessment.system, measured[0].id if measured else ""),
        cost=cost_brief(finding.cost) if finding.evidence else "", measured=measured,
        worst=worst_case(finding.evidence), card=card(finding, assessment.system),
        facts=facts(assessment.system, finding), references=references(finding.mappings),
        samples=() if hide else samples(held, few), redacted=bool(hide and held), weight=weight(finding),
        assumed=is_assumed(finding), advice=advised(finding), ruling=ruling(finding, anchor, today),
        unmapped=unmapped(finding, rules) if finding.status not in _LINES else "",
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


def _measured(evidence: Evidence, system: Any, named: bool) -> Measured:
    """`named`: whether single people may be."""
    id = evidence_id(evidence)
    return Measured(
        id=id, evidence=evidence, health=health(evidence.health), stages=stages(evidence),
        distances=distances(evidence), unfitted=unfitted(evidence), asides=asides(evidence, id, system, named),
    )  # fmt: skip


__all__ = ["DECISIONS", "Decision", "Limits", "Measured", "Shown", "View", "leading", "opening", "title", "view"]
