"""From an Assessment to what is shown: plain records that HTML, Markdown and the terminal share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from ..core.entities import Truth
from ..core.evidence import Evidence, Status
from ..core.finding import SEVERITIES, Assessment, Finding
from ..core.shape import field_key
from .personal import hidden
from .samples import Sample, samples
from .words import BUCKETS, clean, cost_brief, count_of, evidence_id, look, said, sentence, tally

DECISIONS = 10
_FIX = ("critical", "high")
_NAMES = {"atlas": "MITRE ATLAS", "nist": "NIST AI 100-2", "owasp_ml": "OWASP ML Top 10", "cwe": "CWE", "aiexchange": "OWASP AI Exchange"}


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
    shown = [_shown(f, assessment, f"{key}-f{i}", hide, limits) for i, f in enumerate(assessment.findings, 1)]
    with_evidence = [s for s in shown if s.measured]
    without = [s for s in shown if not s.measured]
    kept = _few_samples(with_evidence[: limits.findings], limits.sampled)
    decisions, undecided = _decisions(shown)
    lists: dict[str, tuple[Sequence[Any], int]] = {
        "findings": (with_evidence, limits.findings), "compact": (without, limits.compact),
        "questions": (assessment.questions, limits.lines), "untested": (assessment.untested, limits.lines),
    }  # fmt: skip
    return View(
        key=key, assessment=assessment, counts=tally(assessment.findings), decisions=decisions, undecided=undecided,
        shown=kept, compact=tuple(without[: limits.compact]), questions=assessment.questions[: limits.lines],
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
    parts = ", ".join(f"{n} {name}" for name, n in total.items() if name != "derived" and n)
    return f"{systems} described as deployed. {count_of(total['derived'], 'threat')} derived" + (f": {parts}." if parts else ".")


def leading(views: Sequence[View], most: int = 3) -> tuple[tuple[View, Shown], ...]:
    """The broken findings to read first, over all systems: by severity, then by the order of their own system."""
    found = [(v, s) for v in views for s in v.shown if s.finding.status is Status.BROKEN]
    found.sort(key=lambda pair: (SEVERITIES.index(pair[1].finding.severity), -pair[1].finding.impact))
    return tuple(found[:most])


def _shown(finding: Finding, assessment: Assessment, anchor: str, hide: bool, limits: Limits) -> Shown:
    measured = tuple(_measured(e) for e in finding.evidence)
    held = assessment.samples.get(finding.threat, {})
    found = look(finding.status)
    return Shown(
        anchor=anchor, finding=finding, tone=found.tone, label=found.label,
        sentence=sentence(finding, assessment.system, measured[0].id if measured else ""),
        cost=cost_brief(finding.cost) if finding.evidence else "", measured=measured, card=card(finding),
        facts=_fired_on(finding) or facts(assessment.system, finding.element), references=references(finding.mappings),
        samples=() if hide else samples(held, limits.samples), redacted=bool(hide and held),
    )  # fmt: skip


def _few_samples(shown: Sequence[Shown], most: int) -> tuple[Shown, ...]:
    from dataclasses import replace

    kept, left = [], most
    for one in shown:
        left -= bool(one.samples)
        kept.append(one if left >= 0 else replace(one, samples=()))
    return tuple(kept)


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
        title = f"{clean(one.finding.title)} at {clean(one.finding.element)} by {clean(one.finding.principal)}"
        found.append(
            Decision(
                verb=verb, tone=one.tone, anchor=one.anchor, what=title, severity=one.finding.severity, cost=one.cost,
                next=advice, id=id,
            )  # fmt: skip
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


def card(finding: Finding) -> tuple[tuple[str, str], ...]:
    """Who attacks, as label and text."""
    held = dict(finding.adversary)
    rows = [("Principal", clean(held.pop("principal", "") or finding.principal))]
    known = {"may": "May use", "capabilities": "May use", "budget": "Budget", "knowledge": "Knows", "goal": "Goal"}
    known |= {"derived_from": "Derived from", "access": "Derived from"}
    for elsewhere in ("name", "facts"):
        held.pop(elsewhere, None)
    for key, label in known.items():
        if held.get(key):
            value = held.pop(key)
            rows.append((label, "; ".join(map(said, value)) if isinstance(value, list | tuple) and key != "may" else said(value)))
    rows += [(clean(k).replace("_", " ").capitalize(), said(v)) for k, v in held.items() if v not in (None, "", [], ())]
    lead = finding.evidence[0] if finding.evidence else None
    if lead and not any(label == "May use" for label, _ in rows):
        rows.append(("May use", ", ".join(lead.may)))
    if lead and not any(label == "Budget" for label, _ in rows):
        rows.append(("Budget", clean(lead.budget)))
    return tuple(rows)


def _fired_on(finding: Finding) -> tuple[tuple[str, str, str], ...]:
    """The facts the rule fired on, as it recorded them: "path = value (source)"."""
    rows = []
    for fact in finding.adversary.get("facts", ()):
        path, _, rest = clean(fact).partition(" = ")
        value, _, source = rest.rpartition(" (")
        rows.append((path, value, source.rstrip(")")) if value else (path, rest, ""))
    return tuple(rows)


def facts(system: Any, element: str, most: int = 14) -> tuple[tuple[str, str, str], ...]:
    """What the description states about an element, with the source of each fact. What nobody stated is not listed."""
    found = next((c for c in getattr(system, "components", ()) if c.id == element), None)
    if found is None:
        found = next((f for f in getattr(system, "flows", ()) if f.id == element), None)
    if found is None:
        return ()
    stated = [(path, value) for path, value in _stated(found, element) if path.split(".", 1)[1] not in ("id", "zone", "kind")]
    rows = [(clean(path), value, system.sources.get(path, "asserted")) for path, value in stated]
    # Measured facts first: they decided what was attacked.
    rows.sort(key=lambda row: ("measured", "imported", "asserted").index(row[2]))
    return tuple(rows[:most])


def _stated(record: Any, path: str) -> Iterator[tuple[str, str]]:
    for f in fields(record):
        value = getattr(record, f.name)
        if value is None or value is Truth.UNKNOWN or value in ("", ()):
            continue
        if is_dataclass(value):
            yield from _stated(value, f"{path}.{field_key(f)}")
        else:
            yield f"{path}.{field_key(f)}", said(value)


def references(mappings: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Ids with names by framework, however they were handed over."""
    rows = []
    for framework, entries in mappings.items():
        listed = entries if isinstance(entries, list | tuple) else [entries]
        texts = tuple(_entry(entry) for entry in listed if entry)
        if texts:
            rows.append((_NAMES.get(framework, clean(framework)), texts))
    return tuple(rows)


def _entry(entry: Any) -> str:
    if isinstance(entry, Mapping):
        id, name, release = (clean(entry.get(key, "")) for key in ("id", "name", "release"))
    else:
        id, name, release = (clean(getattr(entry, key, "")) for key in ("id", "name", "release"))
        if not id:
            return said(entry)
    return " ".join(part for part in (id, name) if part) + (f" ({release})" if release else "")


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


def hardening(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Head and lines of the before/after table.

    Takes `x_before`/`x_after` pairs as well as records under `before` and `after`; each becomes one cell "a → b".
    """
    flat = [_pairs(row) for row in rows]
    head = tuple(dict.fromkeys(key for row in flat for key, text in row.items() if text))
    return tuple(clean(key).replace("_", " ") for key in head), tuple(tuple(row.get(key, "") for key in head) for row in flat)


def _pairs(row: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key == "changes":
            value = ";\n".join(_change(change) for change in value)
        nested = isinstance(value, Mapping) and key in ("before", "after")
        flat |= {f"{inner}_{key}": v for inner, v in value.items()} if nested else {key: value}
    found: dict[str, str] = {}
    for key, value in flat.items():
        name = key.removesuffix("_before").removesuffix("_after")
        if f"{name}_before" in flat and f"{name}_after" in flat:
            found[name] = " → ".join(_number(name, flat[f"{name}_{when}"]) for when in ("before", "after"))
        else:
            found[key] = _number(key, value)
    return found


def _change(change: Mapping[str, Any]) -> str:
    """What a control did to one threat: status and cost, before and after."""
    sides = []
    for when in ("before", "after"):
        cost = change.get(f"cost_{when}")
        sides.append(f"{said(change.get(when, ''))}{f' ({said(cost)})' if cost else ''}")
    return f"{clean(change.get('threat', ''))}: {' → '.join(sides)}"


def _number(key: str, value: Any) -> str:
    if value is None:
        return "not shown"
    if isinstance(value, float) and 0 <= value <= 1 and any(word in key for word in ("rate", "accuracy", "rejected", "share")):
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if isinstance(value, float) else said(value)
