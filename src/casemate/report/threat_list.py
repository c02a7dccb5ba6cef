"""The threats of one description as text for a terminal: what, who, why, at what price, and what is not known yet."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from ..core.evidence import Status
from ..core.finding import Assessment, Chain, Finding
from .cards import advised
from .weighed import brief, chain_price, is_assumed, price
from .words import LOOKS, access_words, clean, count_of

CHAINS, QUESTIONS, WAITING = 5, 12, 3
FRAMEWORK = "atlas"
WIDTH = 100
_LABEL, _WEIGHT = 9, 10


def render(assessment: Assessment, *, everything: bool = False, width: int = WIDTH) -> str:
    """The list. `everything`: the facts, the advice and what was hidden too. No line is wider than `width`, but for names."""
    fired = [f for f in assessment.findings if f.status is not Status.QUESTION]
    counts = f"{count_of(len(fired), 'threat')}, {count_of(len(assessment.questions), 'open question')}"
    lines = [f"{clean(assessment.name)}: {counts}"]
    lines += [_overdue(fired)] if _overdue(fired) else []
    if fired and not any(f.evidence for f in fired):
        lines.append("Nothing was attacked: severities and costs are assumptions of the catalogue.")
    for warning in assessment.warnings:
        lines += _wrapped("warning: ", warning, width)
    for finding in fired:
        lines += ["", *_finding(finding, everything, width)]
    lines += _chains(assessment.chains, everything, width)
    lines += _questions(assessment, everything, width)
    lines += _hidden(assessment, everything, width)
    return "\n".join(lines)


def _wrapped(lead: str, text: str, width: int) -> list[str]:
    """The text behind its lead, further lines below its own start; a long name stays whole."""
    flat = " ".join(clean(text).split())
    return textwrap.wrap(
        flat, max(width, len(lead) + 20), initial_indent=lead, subsequent_indent=" " * len(lead), break_long_words=False,
        break_on_hyphens=False,
    ) or [lead.rstrip()]  # fmt: skip


def _finding(finding: Finding, everything: bool, width: int) -> list[str]:
    """A block: severity and title, then a line each for what happens, who, the price, the test and what was decided."""
    head = f"  {_severity(finding):<{_WEIGHT}} {clean(finding.title)}  {clean(finding.threat)}"
    status = "" if finding.status is Status.UNTESTED else f"  [{LOOKS[finding.status].label.lower()}]"
    lines = [" ".join(head.split("\n")) + status]
    for label, text in _rows(finding, everything):
        lead = f"{'':<{_WEIGHT + 3}}{label:<{_LABEL}}" if label else " " * (_WEIGHT + 3)
        lines += _wrapped(lead, text, width)
    return lines


def _rows(finding: Finding, everything: bool) -> list[tuple[str, str]]:
    who = clean(finding.principal.split("@")[0]) or "anyone"
    may = finding.adversary.get("may", [])
    budget = clean(finding.adversary.get("budget", "not stated"))
    rows = [("", finding.explanation), ("who", f"{who}, {access_words(may)}; budget: {budget}")]
    rows.append(("cost", f"{brief(finding) or 'not known'}; impact {finding.impact} of 4"))
    rows.append(("test", _tries(finding)))
    if finding.claimed:
        rows.append(("claimed", ", ".join(map(clean, finding.claimed))))
    if finding.disposed:
        rows.append(("", decided(finding)))
    if not finding.mappings.get(FRAMEWORK):
        rows.append(("", "no ATLAS technique fits this threat"))
    return rows + (_more(finding) if everything else [])


def _more(finding: Finding) -> list[tuple[str, str]]:
    rows = [("fact", clean(fact)) for fact in finding.adversary.get("facts", ())]
    rows += [("harm", finding.harm)] if finding.harm else []
    rows += [("price", price(finding))] if not is_assumed(finding) and finding.evidence else []
    rows += [("open", finding.risk.changes)] if finding.risk and finding.risk.changes else []
    for one in advised(finding):
        rows.append(("do", f"{one.do} ({one.effect}{'; ' + one.reference if one.reference else ''})"))
    for framework, names in finding.mappings.items():
        listed = names if isinstance(names, list | tuple) else [names]
        rows += [("as", f"{clean(framework)}: {clean(name)}") for name in listed]
    return [*rows, ("field", f"{clean(finding.maturity) or 'not known'}; stated at {clean(finding.file)}:{finding.line}")]


def _severity(finding: Finding) -> str:
    """In capitals where it was measured, in brackets where it is assumed: the two never look alike."""
    if finding.severity == "none":
        return "-"
    return f"({clean(finding.severity)})" if is_assumed(finding) else clean(finding.severity).upper()


def _tries(finding: Finding) -> str:
    attacks = [*finding.tests, *finding.checks]
    return ", ".join(map(clean, attacks)) if attacks else "nothing here runs this yet"


def decided(finding: Finding) -> str:
    """What was decided about a finding, in a line."""
    assert finding.disposed is not None
    made, state = finding.disposed.disposition, finding.disposed.state
    now = "" if state == "active" else f" {state.upper()}: {clean(finding.disposed.why)};"
    until = f"by {clean(made.owner)} until {made.expires.isoformat()}"
    return f"decided: {made.decision.replace('_', ' ')} {until};{now} {clean(made.reason)}"


def _overdue(found: Sequence[Finding]) -> str:
    """How many decisions no longer stand; empty where all do."""
    states = [f.disposed.state for f in found if f.disposed]
    parts = [f"{states.count(state)} {state}" for state in ("violated", "expired") if states.count(state)]
    return f"Decisions to make again: {', '.join(parts)}" if parts else ""


def _chains(chains: Sequence[Chain], everything: bool, width: int) -> list[str]:
    if not chains:
        return []
    shown = chains if everything else chains[:CHAINS]
    lines = ["", "Chains, each the cheapest way to its end:"]
    for chain in shown:
        lines += _wrapped("  ", f"{chain.id}  (impact {chain.impact} of 4; {chain_price(chain)})", width)
        gains = [clean(gain) for gain in chain.gains if gain]
        told = f"{clean(chain.attacker)} gains {'; then '.join(gains)}: " if gains else ""
        lines += _wrapped("      ", told + clean(chain.title), width)
    more = len(chains) - len(shown)
    return [*lines, f"  and {more:,} more: --all"] if more else lines


def _questions(assessment: Assessment, everything: bool, width: int) -> list[str]:
    if not assessment.questions:
        return []
    shown = assessment.questions if everything else assessment.questions[:QUESTIONS]
    lines = ["", "Open questions, the most consequential first:"]
    for question in shown:
        threats = question.get("threats") or []
        waiting = ", ".join(threats[:WAITING]) + (f" and {len(threats) - WAITING} more" if len(threats) > WAITING else "")
        lines += _wrapped("  ? ", question.get("text") or question.get("field", ""), width)
        lines += _wrapped("    ", f"{question.get('field', '')}" + (f"  decides {waiting}" if waiting else ""), width)
    more = len(assessment.questions) - len(shown)
    return [*lines, f"  and {more:,} more: --all"] if more else lines


def _hidden(assessment: Assessment, everything: bool, width: int) -> list[str]:
    if not assessment.hidden:
        return []
    if not everything:
        names = ", ".join(h.threat for h in assessment.hidden)
        return ["", *_wrapped("Hidden, another way to the same end is cheaper (--all): ", names, width)]
    lines = ["", "Hidden:"]
    for one in assessment.hidden:
        lines += _wrapped("  ", f"{one.threat} by {one.by}: {one.because}", width)
    return lines
