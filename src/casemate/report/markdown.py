"""The report as Markdown, for a pull request or a wiki. Every value is escaped: a name can neither format nor link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..core.finding import Assessment
from .coverage import Row, uncovered
from .decisions import Decision
from .health import numbers
from .machine import local
from .stages import ran, skipped
from .view import Limits, Measured, Shown, View, leading, opening, title, view
from .weighed import Ruling
from .words import BUCKETS, and_more, clean, cost_brief, in_bucket, measured, said, short, spread

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$@:-])")
LIMITS = Limits(samples=0)
COUNTED = ("Rules", "Derived", "Tested", "Broken")
_WHO = ("Principal", "May", "Budget")  # of the card, what a threat without evidence is listed with
BARE = "These threats follow from the description alone: every severity and every cost is an assumption of the catalogue."


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """The report. It holds no rows, so there is nothing to redact; `show_personal` is there for symmetry."""
    assessments = [local(a) for a in assessments]
    views = [view(a, f"s{i}", show_personal, LIMITS) for i, a in enumerate(assessments, 1)]
    lines = [f"# {escape(title(views))}", "", opening(views), ""]
    lead = leading(views)
    if lead:
        lines += ["## Read first", ""]
        lines += [
            f"{i}. **{escape(v.assessment.name)}**, {s.finding.severity}: {escape(s.sentence)}"
            for i, (v, s) in enumerate(lead, 1)
        ]
        lines += ["", more] if (more := and_more(sum(v.counts["broken"] for v in views), len(lead))) else []
        lines.append("")
    for one in views:
        lines += _system(one)
    lines += _uncovered(views)
    return "\n".join(lines).rstrip() + "\n"


def escape(text: Any) -> str:
    """Text that Markdown shows as it is. On one line, because a line break could start a block."""
    flat = " ".join(clean(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = _SPECIAL.sub(r"\\\1", flat)
    return re.sub(r"^(\d+)\.", r"\1\\.", flat)


def code(text: Any) -> str:
    """An inline code span; plain text where a character could end the span, the cell or the document."""
    flat = " ".join(clean(text).split())
    return escape(flat) if set("`|<&") & set(flat) else f"`{flat}`" if flat else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table whose cells are already escaped."""
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *body, ""] if body else []


def _system(one: View) -> list[str]:
    a = one.assessment
    counts = " · ".join(in_bucket(one.counts[name], name) for name in ("derived", *BUCKETS.values()))
    lines = [f"## {escape(a.name)}", "", counts, ""]
    if a.conflicts:
        lines += [
            "**The target shows something else than the description says:**",
            "",
            *(f"- {escape(c)}" for c in a.conflicts),
            "",
        ]
    if not one.measured and one.counts["derived"]:
        lines += [f"**Nothing was measured.** {BARE}", ""]
    lines += _listed("Warnings", a.warnings, one.left_out["warnings"], LIMITS.lines)
    lines += ["### Decisions", ""]
    lines += _decided(one.decisions)
    if one.further:
        lines += ["#### Further decisions", "", *_decided(one.further[: LIMITS.further])]
        lines += _more(max(0, len(one.further) - LIMITS.further), "decisions")
    if one.shown:
        lines += ["### Findings", ""]
    for s in one.shown:
        lines += _finding(s)
    lines += _more(one.left_out["findings"], "findings")
    return [*lines, *_derived(one), *_chains(one), *_claims(one), *_rulings(one), *_rest(one), *_coverage(one), *_again(one)]


def _decided(rows: Iterable[Decision]) -> list[str]:
    return table(
        ("Decide", "About", "Severity", "Attacker cost", "Evidence", "Next"),
        (
            (d.verb, escape(d.what), _severity(d), escape(d.cost), d.id or "none", escape(d.next))
            for d in rows
        ),
    )


def _severity(d: Decision) -> str:
    """As on the page: of what was not broken there is none to show, and of a question none at all."""
    return severity(d.severity, d.assumed) if d.severity != "none" else "-" if d.verb == "answer" else "none shown"


def _derived(one: View) -> list[str]:
    if not one.compact:
        return []
    lines = ["### Derived, not measured", ""]
    for s in one.compact:
        f = s.finding
        weight = f", {severity(f.severity, s.assumed)}" if f.severity != "none" else ""
        lines += [f"#### {s.label}{weight}: {escape(f.title)} ({escape(f.threat)})", ""]
        lines += [escape(f.explanation or s.sentence), ""]
        lines += [f"- {label}: {escape(text)}" for label, text in s.card if label in _WHO]
        lines += _weight(s)
        runs = ", ".join([*f.tests, *f.checks])
        lines += [f"- Would test it: {escape(runs) if runs else 'nothing here runs this'}", *_advice(s), ""]
    return [*lines, *_more(one.left_out["compact"], "threats")]


def _weight(s: Shown) -> list[str]:
    lines = [f"- Decided: **{escape(s.ruling.label)}**, {escape(_ruled(s.ruling))}"] if s.ruling else []
    lines += [f"- The harm: {escape(s.finding.harm)}"] if s.finding.harm else []
    return lines + [f"- {escape(label)}: {escape(text)}" for label, text in s.weight]


def _advice(s: Shown) -> list[str]:
    lines = [f"- Claimed against it: {escape(', '.join(s.finding.claimed))}"] if s.finding.claimed else []
    for one in s.advice:
        known = f"; {one.reference}" if one.reference else ""
        lines.append(f"- Do: {escape(one.do)} ({escape(one.effect + known)})")
    return [*lines, f"- {escape(s.unmapped)}"] if s.unmapped else lines


def _ruled(one: Ruling) -> str:
    return f"by {one.owner}, until {one.until}" + (f": {one.why}" if one.why else "")


def _chains(one: View) -> list[str]:
    if not one.paths:
        return []
    lines = ["### Chains: one threat opens the next", ""]
    for i, path in enumerate(one.paths, 1):
        steps = " → ".join(f"{escape(s.title or s.threat)} ({escape(s.threat)})" for s in path.steps)
        gains = "; ".join(f"{s.threat} gives {s.gives}" for s in path.steps if s.gives)
        lines.append(f"{i}. **{escape(path.attacker)}**, impact {path.impact} of 4, {escape(path.price)}: {steps}")
        lines += [f"   {escape(gains)}"] if gains else []
    return [*lines, "", *_more(one.left_out["chains"], "chains")]


def _claims(one: View) -> list[str]:
    rows = [[escape(c.what), escape(c.state), escape(", ".join(c.against)) or "none", escape(c.seen)] for c in one.claims]
    head = ("Control", "State", "Meant against", "Seen")
    return ["### Controls: claimed and seen", "", *table(head, rows[: LIMITS.lines])] if rows else []


def _rulings(one: View) -> list[str]:
    rows = [
        [f"**{escape(r.label)}**", f"{escape(r.title)} ({escape(r.threat)})", escape(r.owner), escape(r.until),
         escape("; ".join(part for part in (r.why, r.reason, *r.conditions, r.ticket) if part))]
        for r in one.rulings
    ]  # fmt: skip
    head = ("Decision", "About", "Owner", "Until", "Reason and conditions")
    return ["### Accepted risks and other decisions", "", *table(head, rows)] if rows else []


def _listed(head: str, items: Iterable[str], more: int, most: int) -> list[str]:
    lines = [f"- {escape(item)}" for item in list(items)[:most]]
    return [f"### {head}", "", *lines, "", *_more(more, head.lower())] if lines else []


def _coverage(one: View) -> list[str]:
    held = one.coverage
    lines = ["### Coverage", "", *table(("Phase, goal, capability", *COUNTED), map(_counted, held.cells))]
    for framework in held.frameworks:
        here = [row for row in framework.rows if row.derived]
        counts = f"{len(here)} of {len(framework.rows)} cited entries have a threat here"
        lines.append(f"- {escape(framework.name)} ({escape(framework.release)}): {counts}")
        if framework.untested and one.measured:
            lines.append(f"  - derived here, tested by nothing: {escape('; '.join(framework.untested))}")
    lines += [f"- no ATLAS technique fits: {escape(', '.join(held.unmapped))}"] if held.unmapped else []
    return [*lines, ""]


def _counted(row: Row) -> tuple[str, ...]:
    return escape(row.name), *(str(n) if n else "·" for n in (row.rules, row.derived, row.tested, row.broken))


def _uncovered(views: Sequence[View]) -> list[str]:
    missing = uncovered([v.coverage for v in views])
    lines = [f"- {escape(name)} ({len(entries)}): {escape('; '.join(entries))}" for name, entries in missing]
    return ["## What no rule of the catalogue speaks of", "", *lines, ""] if lines else []


def _finding(s: Shown) -> list[str]:
    f = s.finding
    lines = [f"#### {s.label}: {escape(f.title)} ({escape(f.threat)})", "", escape(s.sentence), "", escape(f.explanation), ""]
    lines += [f"- {escape(label)}: {escape(text)}" for label, text in s.card]
    lines += [*_weight(s), *_advice(s)]
    lines += [f"- {escape(name)}: {escape('; '.join(entries))}" for name, entries in s.references]
    lines.append("")
    head = ("Evidence", "Attack", "Verdict", "Measured", "n", "Baseline", "Cost", "Health")
    lines += table(head, map(_attack, s.measured))
    lines += [escape(s.worst.said), ""] if s.worst else []
    for m in s.measured:
        lines += [*_stages(m), *_asides(m)]
    notes = [note for m in s.measured for note in _notes(m)]
    return [*lines, *notes, ""] if notes else lines


def _stages(m: Measured) -> list[str]:
    """Of a cascade, which attack took how many rows at what cost."""
    rows = [(escape(g.attack), g.rows, f"{g.calls:,} ({g.bill})", g.worth or "no call", escape(g.stopped)) for g in ran(m.stages)]
    head = (f"Stage of {escape(m.evidence.attack)} ({m.id})", "Rows fell", "Calls", "Fell per 1,000 calls", "Stopped")
    left = [f"- not run: {escape(names)} ({escape(why)})" for why, names in skipped(m.stages)]
    return [*table(head, rows), *([*left, ""] if left else [])]


def _asides(m: Measured) -> list[str]:
    """What stands beside the rate: a line each, and the tables that are short."""
    lines = []
    for one in m.asides:
        lines += [f"- {escape(one.title)}: {escape(one.brief)}", ""]
        for grid in one.grids:
            lines += table([escape(h) for h in grid.head], ([escape(c) for c in row] for row in grid.rows)) if grid.short else []
    return lines


def _notes(m: Measured) -> list[str]:
    """What stands beside the rate, then the checks that need reading and those that do not apply."""
    who, h = escape(m.evidence.attack), m.health
    lines = [f"- {who}, rows that it was not fitted on: {m.unfitted}"] if m.unfitted else []
    lines += [f"- {escape(m.distances.said)}: {m.distances.listed}"] if m.distances else []
    for word, found in (("failed", h.failed), ("unknown", h.unknown)):
        lines += [f"- {word} check {c.number} of {who}, {escape(c.name)}: {escape(c.detail)}" for c in found]
    lines += [f"- note of {who}, {escape(c.name)}: {escape(c.detail)}" for c in h.notes]
    return [*lines, f"- checks that do not apply to {who}: {numbers(h.absent)}"] if h.absent else lines


def _attack(m: Measured) -> tuple[str, ...]:
    e = m.evidence
    base = f"{escape(e.baseline.name)} {measured(e, e.baseline.rate)}" if e.baseline else "none"
    what = f"{escape(e.measure)} {measured(e)}, {spread(e)}"
    return m.id, escape(e.attack), str(e.verdict), what, f"{e.n:,}", base, escape(cost_brief(e.cost)), m.health.said


def _rest(one: View) -> list[str]:
    a, lines = one.assessment, []
    head, rows = one.hardening
    if rows:
        lines += [
            "### Hardening, before and after",
            "",
            *table([escape(h) for h in head], ([escape(c) for c in row] for row in rows)),
        ]
    lines += ["### Open questions", ""]
    lines += [f"{i}. {escape(q.get('text', ''))} ({code(q.get('field', ''))})" for i, q in enumerate(one.questions, 1)] or [
        "None."
    ]
    lines += ["", *_more(one.left_out["questions"], "questions"), *_waiting(one)]
    if one.measured or one.untested:
        lines += ["### Not tested, and why", ""]
        lines += [f"- {escape(u.get('what', ''))}: {escape(u.get('reason', ''))}" for u in one.untested] or [_rest_of(one)]
        lines += ["", *_more(one.left_out["untested"], "lines")]
    hidden = [f"{h.title} ({h.threat}), by {h.by}: {h.because}" for h in a.hidden]
    return lines + _listed("Hidden: another way to the same end is no dearer", hidden, one.left_out["hidden"], LIMITS.lines)


def _rest_of(one: View) -> str:
    count = one.counts["untested"]
    return f"{count} threats have no evidence." if count else "Everything that was derived was tested."


def _waiting(one: View) -> list[str]:
    rows = [
        (s.label, f"{escape(s.finding.title)} ({escape(s.finding.threat)})", escape(s.finding.reason) or "not stated")
        for s in one.waiting
    ]
    head = ("Status", "Threat", "Why")
    return ["#### Threats that wait for an answer, or do not apply", "", *table(head, rows)] if rows else []


def _again(one: View) -> list[str]:
    a = one.assessment
    return [
        "### How to reproduce", "", code(a.reproduce), "", f"- description: {code(a.path)}",
        *([f"- seed: {a.seed}, budget: {escape(a.budget)}"] if one.measured else []),
        f"- versions: {escape(short(said(dict(sorted(a.versions.items()))), 400)) or 'not recorded'}",
        f"- evidence digest: {code(a.digest())}", "",
    ]  # fmt: skip


def severity(name: str, assumed: bool) -> str:
    """Said with its basis: an assumption is never printed like a result."""
    return f"{name}, assumed" if assumed else name


def _more(count: int, what: str) -> list[str]:
    return [f"{count:,} more {what} left out here; the JSON report has all of them.", ""] if count else []
