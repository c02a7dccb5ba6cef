"""The threats of one description as text for a terminal: short by default, and everything that is known where asked for."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..core.evidence import Status
from ..core.finding import SEVERITIES, Assessment, Finding
from .attacker import budget, who
from .cards import advised, unmapped
from .decisions import Decision
from .machine import rules_of
from .view import Limits, View, view
from .weighed import Path, brief, is_assumed, price
from .words import LOOKS, clean, count_of, in_bucket, line, short

CHAINS, QUESTIONS, WAITING = 5, 10, 3
WIDTH = 100
_LABEL, _WEIGHT = 9, 10


def render(assessment: Assessment, *, everything: bool = False, width: int = WIDTH) -> str:
    """The list. `everything`: a block for each threat, with its facts and advice, every chain, question and hidden threat.

    No line is wider than `width`, but for names.
    """
    fired = [f for f in assessment.findings if f.status is not Status.QUESTION]
    limits = Limits(samples=0, sampled=0, chains=CHAINS)
    whole = replace(limits, chains=len(assessment.chains), decisions=len(assessment.findings) + 1)
    told = view(assessment, "s", limits=whole if everything else limits)
    lines = _headline(assessment, fired, told)
    for warning in assessment.warnings:
        lines += _wrapped("warning: ", warning, width)
    lines += _decisions(told, width)
    if everything:
        for finding in fired:
            lines += ["", *_finding(finding, assessment, width)]
    else:
        lines += _compact(fired, width)
    lines += _chains(told, everything, width)
    lines += _questions(assessment, everything, width)
    lines += _hidden(assessment, everything, width)
    # What a name holds begins no line of its own.
    return "\n".join(map(line, [*lines, *_last(assessment, fired, everything)]))


def _headline(assessment: Assessment, fired: Sequence[Finding], told: View) -> list[str]:
    """How many threats there are, how many can be tested here, and how grave they are."""
    tested = sum(bool(f.tests or f.checks) for f in fired)
    parts = [count_of(len(fired), "threat")]
    parts += [f"{tested} of {len(fired)} can be tested here"] if fired else []
    parts += [in_bucket(told.counts["undecided"], "undecided")] if told.counts["undecided"] else []
    parts += [count_of(len(assessment.questions), "open question")]
    lines = [f"{clean(assessment.name)}: {', '.join(parts)}"]
    graves = Counter(_severity(f) for f in fired)
    order = [said for name in SEVERITIES[:-1] for said in (name.upper(), f"({name})") if said in graves]
    bare = bool(fired) and not any(f.evidence for f in fired)
    meant = ". Nothing was attacked: severities and costs are assumed." if bare else ""
    lines += [", ".join(f"{graves[said]} {said}" for said in order) + meant] if order else []
    return [*lines, *([_overdue(fired)] if _overdue(fired) else [])]


def _decisions(told: View, width: int) -> list[str]:
    if not told.decisions:
        return []
    lines = ["", "Decide first:"]
    wide = max(len(one.verb) for one in told.decisions)
    for one in told.decisions:
        what = short(one.what, 160)
        ends = "" if what.endswith((".", "?")) else ":"
        lines += _wrapped(f"  {one.verb:<{wide}}  ", f"{_weighed(one)}{what}{ends} {short(one.next, 160)}", width)
    return [*lines, f"  and {len(told.further):,} more: --all"] if told.further else lines


def _weighed(one: Decision) -> str:
    if one.severity == "none":
        return ""
    return f"({clean(one.severity)}) " if one.assumed else f"{clean(one.severity).upper()} "


def _compact(fired: Sequence[Finding], width: int) -> list[str]:
    """A line for each threat at each element, with all who could: severity, ids, title, cost."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in fired:
        state = f"{finding.disposed.disposition.decision}, {finding.disposed.state}" if finding.disposed else ""
        key = (finding.rule, finding.element, _severity(finding), str(finding.status), brief(finding), state)
        groups.setdefault(key, []).append(finding)
    lines = ["", "Threats:"] if groups else []
    for (_, _, severity, _, cost, state), group in groups.items():
        status = "" if group[0].status is Status.UNTESTED else f" [{LOOKS[group[0].status].label.lower()}]"
        status += f" [decided: {state.replace('_', ' ')}]" if state else ""
        text = f"{_ids(group)}: {clean(group[0].title)}, {cost or 'cost not known'}{status}"
        lines += _wrapped(f"  {severity:<{_WEIGHT}} ", text, width)
    return lines


def _ids(group: Sequence[Finding]) -> str:
    """The ids of one threat by several principals, the common start once: `EX-01@api#customer,partner`."""
    start = group[0].threat.partition("#")[0]
    who = [f.threat.partition("#")[2] for f in group]
    return clean(start) + (f"#{','.join(map(clean, who))}" if any(who) else "")


def _wrapped(lead: str, text: str, width: int) -> list[str]:
    """The text behind its lead, further lines below its own start; a long name stays whole."""
    flat = " ".join(clean(text).split())
    return textwrap.wrap(
        flat, max(width, len(lead) + 20), initial_indent=lead, subsequent_indent=" " * len(lead), break_long_words=False,
        break_on_hyphens=False,
    ) or [lead.rstrip()]  # fmt: skip


def _finding(finding: Finding, assessment: Assessment, width: int) -> list[str]:
    """A block: severity and title, then a line each for what happens, who, the price, the test and what was decided."""
    head = f"  {_severity(finding):<{_WEIGHT}} {clean(finding.title)}  {clean(finding.threat)}"
    status = "" if finding.status is Status.UNTESTED else f"  [{LOOKS[finding.status].label.lower()}]"
    lines = [" ".join(head.split("\n")) + status]
    for label, text in [*_rows(finding, assessment), *_more(finding)]:
        lead = f"{'':<{_WEIGHT + 3}}{label:<{_LABEL}}" if label else " " * (_WEIGHT + 3)
        lines += _wrapped(lead, text, width)
    return lines


def _rows(finding: Finding, assessment: Assessment) -> list[tuple[str, str]]:
    system, held = assessment.system, finding.adversary
    id, stated = str(held.get("principal") or finding.principal), str(held.get("budget", ""))
    rows = [("", finding.explanation), ("who", who(finding, system))]
    rows.append(("budget", budget(system, id, finding.element, stated, held.get("may") or ())))
    rows.append(("cost", f"{brief(finding) or 'not known'}; impact {finding.impact} of 4"))
    rows.append(("try", _tries(finding)))
    if finding.claimed:
        rows.append(("claimed", ", ".join(map(clean, finding.claimed))))
    if finding.disposed:
        rows.append(("", decided(finding)))
    missing = unmapped(finding, rules_of(assessment))
    return [*rows, ("", missing)] if missing else rows


def _more(finding: Finding) -> list[tuple[str, str]]:
    rows = [("because", clean(fact)) for fact in finding.adversary.get("facts", ())]
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


def _chains(told: View, everything: bool, width: int) -> list[str]:
    if not told.paths:
        return []
    lines = ["", "Chains, each the cheapest way to its end:"]
    for path in told.paths:
        lines += _wrapped("  ", f"{clean(path.chain.id)}  (impact {path.impact} of 4; {path.price})", width)
        lines += _wrapped("      ", f"{path.attacker}: {_steps(path, everything)}", width)
    more = told.left_out["chains"]
    return [*lines, f"  and {more:,} more: --all"] if more else lines


def _steps(path: Path, everything: bool) -> str:
    """What is done one after another, and what each step gives: "Code execution (write_weights on store), then Backdoor"."""
    return ", then ".join((s.title or s.threat) + (f" ({s.gives})" if s.gives and everything else "") for s in path.steps)


def _questions(assessment: Assessment, everything: bool, width: int) -> list[str]:
    if not assessment.questions:
        return []
    shown = assessment.questions if everything else assessment.questions[:QUESTIONS]
    lines = ["", "Open questions, the most consequential first:"]
    for question in shown:
        threats = question.get("threats") or []
        waiting = ", ".join(threats[:WAITING]) + (f" and {len(threats) - WAITING} more" if len(threats) > WAITING else "")
        field = clean(question.get("field", ""))
        text = question.get("text") or field
        if not everything:
            lines += _wrapped("  ? ", text if field in text else f"{text} ({field})", width)
        else:
            lines += _wrapped("  ? ", text, width)
            lines += _wrapped("    ", f"{question.get('field', '')}" + (f"  decides {waiting}" if waiting else ""), width)
    more = len(assessment.questions) - len(shown)
    return [*lines, f"  and {more:,} more: --all"] if more else lines


def _hidden(assessment: Assessment, everything: bool, width: int) -> list[str]:
    if not assessment.hidden or not everything:
        return []
    lines = ["", "Hidden:"]
    for one in assessment.hidden:
        lines += _wrapped("  ", f"{one.threat} by {one.by}: {one.because}", width)
    return lines


def _last(assessment: Assessment, fired: Sequence[Finding], everything: bool) -> list[str]:
    """How many are hidden, and where the rest is."""
    if everything or not (fired or assessment.hidden):
        return []
    hidden = len(assessment.hidden)
    left = f"{hidden:,} hidden, because another way to the same end is no dearer. " if hidden else ""
    return ["", f"{left}Who, why, what to do: --all, or --why ID"]
