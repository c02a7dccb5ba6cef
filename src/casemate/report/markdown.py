"""The report as Markdown, for a pull request or a wiki. Every value is escaped: a name can neither format nor link."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..core.finding import Assessment
from .view import Limits, Measured, Shown, View, leading, opening, title, view
from .words import BUCKETS, and_more, clean, cost_brief, in_bucket, measured, said, short, spread

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~$@:-])")
LIMITS = Limits(samples=0)


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """The report. It holds no rows, so there is nothing to redact; `show_personal` is there for symmetry."""
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
    lines += ["### Decisions", ""]
    lines += table(
        ("Decide", "About", "Severity", "Attacker cost", "Evidence", "Next"),
        ((d.verb, escape(d.what), d.severity, escape(d.cost), d.id or "none", escape(d.next)) for d in one.decisions),
    )
    lines += _more(one.undecided, "decisions")
    lines += ["### Findings", ""]
    for s in one.shown:
        lines += _finding(s)
    lines += _more(one.left_out["findings"], "findings")
    lines += table(
        ("Status", "Threat", "At", "By", "Why"),
        (
            (
                s.label,
                f"{escape(s.finding.title)} ({escape(s.finding.threat)})",
                escape(s.finding.element),
                escape(s.finding.principal),
                escape(s.finding.reason),
            )
            for s in one.compact
        ),
    )
    lines += _more(one.left_out["compact"], "threats")
    return lines + _rest(one)


def _finding(s: Shown) -> list[str]:
    f = s.finding
    lines = [f"#### {s.label}: {escape(f.title)} ({escape(f.threat)})", "", escape(s.sentence), "", escape(f.explanation), ""]
    lines += [f"- {escape(label)}: {escape(text)}" for label, text in s.card]
    lines += [f"- {escape(name)}: {escape('; '.join(entries))}" for name, entries in s.references]
    lines.append("")
    head = ("Evidence", "Attack", "Verdict", "Measured", "n", "Baseline", "Cost", "Health")
    lines += table(head, map(_attack, s.measured))
    failed = [c for m in s.measured for c in m.evidence.health if c.ok is False]
    lines += [f"- failed check {c.number}, {escape(c.name)}: {escape(c.detail)}" for c in failed]
    return [*lines, ""] if failed else lines


def _attack(m: Measured) -> tuple[str, ...]:
    e = m.evidence
    base = f"{escape(e.baseline.name)} {measured(e, e.baseline.rate)}" if e.baseline else "none"
    what = f"{escape(e.measure)} {measured(e)}, {spread(e)}"
    health = f"{m.passed} pass, {m.failed} fail, {m.unknown} unknown"
    return m.id, escape(e.attack), str(e.verdict), what, f"{e.n:,}", base, escape(cost_brief(e.cost)), health


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
    lines += ["", *_more(one.left_out["questions"], "questions"), "### Not tested, and why", ""]
    lines += [f"- {escape(u.get('what', ''))}: {escape(u.get('reason', ''))}" for u in one.untested] or [
        "Everything that was derived was tested."
    ]
    lines += ["", *_more(one.left_out["untested"], "lines"), "### How to reproduce", ""]
    lines += [code(a.reproduce), "", f"- description: {code(a.path)}", f"- seed: {a.seed}, budget: {escape(a.budget)}"]
    lines += [
        f"- versions: {escape(short(said(dict(sorted(a.versions.items()))), 400))}",
        f"- evidence digest: {code(a.digest())}",
        "",
    ]
    return lines


def _more(count: int, what: str) -> list[str]:
    return [f"{count:,} more {what} left out here; the JSON report has all of them.", ""] if count else []
