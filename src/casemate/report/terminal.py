"""The report in a terminal, as rich renderables. Nothing is parsed as markup, and control characters are made visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.evidence import Evidence, Status
from ..core.finding import Assessment, Chain, Finding
from .asides import asides
from .health import health
from .stages import ran, stages
from .threat_list import decided
from .weighed import chain_price, is_assumed, price
from .words import (
    BUCKETS,
    LOOKS,
    and_more,
    cost_brief,
    evidence_id,
    in_bucket,
    line,
    measured,
    sentence,
    spread,
    tally,
    unfitted,
    urgency,
)  # fmt: skip
from .worst import worst_case

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# One character and one colour for each tone: without colour the character still tells them apart.
_SIGNS = {
    "broken": ("✕", "bold red"), "resisted": ("✓", "cyan"), "unclear": ("!", "yellow"), "untested": ("○", "dim"),
    "question": ("?", "magenta"), "none": ("-", "dim"),
}  # fmt: skip


def summary(assessments: Sequence[Assessment]) -> RenderableType:
    """Per system its counts, then the three findings to read first over all of them, a sentence each."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = []
    for one in assessments:
        parts.append(Text.assemble((f"{line(one.name)}  ", "bold"), _counts(one)))
        parts += [Padding(_line("unclear", f"conflict: {line(conflict)}"), (0, 0, 0, 2)) for conflict in one.conflicts]
        parts += [Padding(_line(tone, text), (0, 0, 0, 2)) for tone, text in _loud(one)]
    lead = leading(assessments)
    if lead:
        parts += [Text(), Text("Read first" if len(lead) > 1 else "The finding", style="bold")]
        parts += [_said(finding, one.system, f"{one.name}: " if len(assessments) > 1 else "") for one, finding in lead]
        broken = sum(tally(one.findings)["broken"] for one in assessments)
        more = and_more(broken, sum(finding.status is Status.BROKEN for _, finding in lead))
        parts += [Text(more, style="dim")] if more else []
    return Group(*parts) if parts else Text("Nothing was assessed.")


def _loud(assessment: Assessment) -> list[tuple[str, str]]:
    """Decisions that no longer stand, and what the reading of the files warns of."""
    lines = [
        ("broken" if f.disposed.state == "violated" else "unclear", f"{line(f.threat)}: {decided(f)}")
        for f in assessment.findings
        if f.disposed and f.disposed.state != "active"
    ]
    return [*lines, *(("unclear", f"warning: {line(warning)}") for warning in assessment.warnings)]


def leading(assessments: Sequence[Assessment], most: int = 3) -> list[tuple[Assessment, Finding]]:
    """The findings to read first over all systems, in the order of the other reports: by severity, then by impact."""
    every = [(one, finding) for one in assessments for finding in one.findings]
    every.sort(key=lambda item: urgency(item[1]))
    chosen: list[tuple[Assessment, Finding]] = []
    told = set()
    for one, finding in every:
        # Two threats that one attack shows are one thing to read.
        shown = evidence_id(finding.evidence[0]) if finding.evidence else finding.threat
        if (one.name, shown) not in told and len(chosen) < most:
            told.add((one.name, shown))
            chosen.append((one, finding))
    return chosen


def details(assessment: Assessment) -> RenderableType:
    """Every finding with its attacks and failed checks, the open questions, and what was not tested."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = [Text(line(assessment.name), style="bold"), _counts(assessment), Text()]
    for finding in assessment.findings:
        parts.append(_said(finding, assessment.system))
        if finding.evidence:
            parts.append(Padding(_attacks(finding), (0, 0, 0, 2)))
        parts += [Padding(Text(line(one), style="dim"), (0, 0, 0, 2)) for one in _weighed(finding)]
        parts += [Padding(Text(line(one), style="dim"), (0, 0, 0, 2)) for one in _beside(finding, assessment.system)]
        for evidence in finding.evidence:
            parts += [Padding(_line("unclear", said), (0, 0, 0, 2)) for said in _unwell(evidence)]
    parts += _list("Chains, each the cheapest way to its end", [_chained(chain) for chain in assessment.chains])
    parts += _list("Warnings", assessment.warnings)
    parts += _list("Open questions", [f"{q.get('text', '')} ({q.get('field', '')})" for q in assessment.questions])
    parts += _list("Not tested, and why", [f"{u.get('what', '')}: {u.get('reason', '')}" for u in assessment.untested])
    if assessment.reproduce:
        parts += _list("How to reproduce", [assessment.reproduce])
    return Group(*parts)


def _beside(finding: Finding, system: Any) -> list[str]:
    """The worst case over all attacks; of each, what its stages took, and the rows it was not fitted on."""
    worst = worst_case(finding.evidence)
    lines = [worst.said] if worst else []
    for evidence in finding.evidence:
        lines += [
            f"stage {g.attack}: {g.rows} rows fell, {g.worth or 'none'} per 1,000 calls ({g.bill})" for g in ran(stages(evidence))
        ]
        if rate := unfitted(evidence):
            lines.append(f"{evidence.attack}, rows that it was not fitted on: {rate}")
        lines += [one.brief for one in asides(evidence, evidence_id(evidence), system)]
    return lines


def _unwell(evidence: Evidence) -> list[str]:
    """The checks that failed, then those of which nobody knows."""
    h = health(evidence.health)
    failed = [f"check {c.number}, {line(c.name)}: {line(c.detail)}" for c in h.failed]
    failed += [f"check {c.number}, {line(c.name)}, is unknown: {line(c.detail)}" for c in h.unknown]
    return failed + [f"note, {line(c.name)}: {line(c.detail)}" for c in h.notes]


def _weighed(finding: Finding) -> list[str]:
    """Price, what would change it, and what was decided; an assumption says that it is one."""
    if finding.risk is None and finding.disposed is None:
        return []
    lines = [f"cost: {price(finding)}"] if finding.risk and finding.risk.basis != "none" else []
    lines += [f"would change this: {line(finding.risk.changes)}"] if finding.risk and finding.risk.changes else []
    return [*lines, decided(finding)] if finding.disposed else lines


def _chained(chain: Chain) -> str:
    return f"{chain.id} by {chain.attacker}: {chain_price(chain)}, impact {chain.impact} of 4"


def _counts(assessment: Assessment) -> Text:
    from rich.text import Text

    counts = tally(assessment.findings)
    text = Text(f"{counts['derived']} threats derived")
    for tone, name in BUCKETS.items():
        sign, style = _SIGNS[tone]
        if counts[name]:
            text.append("  ")
            text.append(f"{sign} {in_bucket(counts[name], name)}", style=style)
    return text


def _said(finding: Finding, system: Any, lead: str = "") -> Text:
    text = sentence(finding, system, evidence_id(finding.evidence[0]) if finding.evidence else "")
    severity = f"{finding.severity}: " if finding.status is Status.BROKEN else ""
    if is_assumed(finding):
        severity = f"assumed {finding.severity}: "
    return _line(LOOKS[finding.status].tone, severity + line(lead) + text)


def _line(tone: str, text: str) -> Text:
    from rich.text import Text

    sign, style = _SIGNS[tone]
    found = Text(f"{sign} ", style=style)
    found.append(line(text), style="not bold default")
    return found


def _attacks(finding: Finding) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("attack", "verdict", "measured", "interval", "n", "cost", "health", "evidence"):
        table.add_column(name, justify="right" if name == "n" else "left", header_style="dim")
    for evidence in finding.evidence:
        cells = (
            evidence.attack, str(evidence.verdict), f"{evidence.measure} {measured(evidence)}", spread(evidence),
            f"{evidence.n:,}", cost_brief(evidence.cost), health(evidence.health).said, evidence_id(evidence),
        )  # fmt: skip
        table.add_row(*(Text(line(cell)) for cell in cells))
    return table


def _list(head: str, lines: Sequence[str]) -> list[RenderableType]:
    from rich.text import Text

    return [Text(), Text(head, style="bold"), *(Text(f"  {line(one)}") for one in lines)] if lines else []
