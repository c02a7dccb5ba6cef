"""The threats of one description as text for a terminal: what, who, why, at what price, and what is not known yet."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.evidence import Status
from ..core.finding import Assessment, Chain, Finding
from .words import LOOKS, access_words, clean, count_of

CHAINS, QUESTIONS = 5, 12
FRAMEWORK = "atlas"


def render(assessment: Assessment, *, everything: bool = False) -> str:
    """The list. `everything`: the facts, the advice and what was hidden too."""
    fired = [f for f in assessment.findings if f.status is not Status.QUESTION]
    counts = f"{count_of(len(fired), 'threat')}, {count_of(len(assessment.questions), 'open question')}"
    lines = [f"{clean(assessment.name)}: {counts}"]
    for finding in fired:
        lines += ["", *_finding(finding, everything)]
    lines += _chains(assessment.chains, everything)
    lines += _questions(assessment, everything)
    lines += _hidden(assessment, everything)
    lines += [f"  warning: {clean(warning)}" for warning in assessment.warnings]
    return "\n".join(lines)


def _finding(finding: Finding, everything: bool) -> list[str]:
    status = "" if finding.status is Status.UNTESTED else f"; {LOOKS[finding.status].label.lower()}"
    lines = [f"  {clean(finding.threat)}  {clean(finding.title)}  ({_weight(finding)}{status})"]
    lines.append(f"    {clean(finding.explanation)}")
    may = finding.adversary.get("may", [])
    who = clean(finding.principal.split("@")[0])
    lines.append(f"    who: {who}, {access_words(may)}; budget: {clean(finding.adversary.get('budget', 'not stated'))}")
    lines.append(f"    try: {_tries(finding)}")
    if not finding.mappings.get(FRAMEWORK):
        lines.append("    no ATLAS technique fits this threat")
    if finding.disposed:
        lines.append(f"    {decided(finding)}")
    if everything:
        lines += [f"    because {clean(fact)}" for fact in finding.adversary.get("facts", ())]
        lines += [f"    do: {clean(a['do'])} ({a['effect'].replace('_', ' ')})" for a in finding.advice]
        lines += [f"    {framework}: {clean(name)}" for framework, names in finding.mappings.items() for name in names]
        lines.append(f"    in the field: {clean(finding.maturity)}; at {clean(finding.file)}:{finding.line}")
    return lines


def _weight(finding: Finding) -> str:
    """Severity with its basis, impact, and the cost as far as it is known: an assumed one never reads like a measured one."""
    risk = finding.risk
    impact = f"impact {finding.impact} of 4"
    if risk is None or risk.basis == "none":
        return impact
    assumed = "assumed" if risk.basis == "prior" else risk.confidence
    return f"{risk.severity} by {assumed} cost {money(risk.low, risk.high, risk.currency)}; {impact}"


def money(low: float | None, high: float | None, currency: str) -> str:
    """An interval of money, `not known` where there is none; without a stated currency the catalogue's euro."""
    if low is None or high is None:
        return "not known in money"
    unit = clean(currency) or "EUR"
    return f"{low:,.0f} {unit}" if low == high else f"{low:,.0f} to {high:,.0f} {unit}"


def _tries(finding: Finding) -> str:
    attacks = [*finding.tests, *finding.checks]
    return ", ".join(map(clean, attacks)) if attacks else "nothing runs this yet"


def decided(finding: Finding) -> str:
    """What was decided about a finding, in a line."""
    assert finding.disposed is not None
    made, state = finding.disposed.disposition, finding.disposed.state
    now = "" if state == "active" else f" {state.upper()}: {clean(finding.disposed.why)};"
    until = f"by {clean(made.owner)} until {made.expires.isoformat()}"
    return f"decided: {made.decision.replace('_', ' ')} {until};{now} {clean(made.reason)}"


def _chains(chains: Sequence[Chain], everything: bool) -> list[str]:
    if not chains:
        return []
    shown = chains if everything else chains[:CHAINS]
    lines = ["", "  Chains, each the cheapest way to its end:"]
    for chain in shown:
        assumed = "assumed " if chain.basis == "prior" else ""
        cost = money(chain.low, chain.high, chain.currency)
        lines.append(f"    {clean(chain.id)}  (impact {chain.impact}; {assumed}{cost})")
        gains = [clean(g) for g in chain.gains if g]
        lines.append(f"      {clean(chain.attacker)} gains {'; then '.join(gains)}; then {clean(chain.title)}")
    more = len(chains) - len(shown)
    return [*lines, f"    and {more:,} more: --all"] if more else lines


def _questions(assessment: Assessment, everything: bool) -> list[str]:
    if not assessment.questions:
        return []
    shown = assessment.questions if everything else assessment.questions[:QUESTIONS]
    lines = ["", "  Open questions, the most consequential first:"]
    for question in shown:
        waiting = ", ".join(question["threats"][:3]) + (", ..." if len(question["threats"]) > 3 else "")
        lines.append(f"    {clean(question['field'])}: {clean(question['text'])} ({clean(waiting)})")
    more = len(assessment.questions) - len(shown)
    return [*lines, f"    and {more:,} more: --all"] if more else lines


def _hidden(assessment: Assessment, everything: bool) -> list[str]:
    if not assessment.hidden:
        return []
    if not everything:
        names = clean(", ".join(h.threat for h in assessment.hidden))
        return ["", f"  Hidden, because a cheaper way has the same end: {names} (--all)"]
    listed = [f"    {clean(h.threat)} by {clean(h.by)}: {clean(h.because)}" for h in assessment.hidden]
    return ["", "  Hidden:", *listed]
