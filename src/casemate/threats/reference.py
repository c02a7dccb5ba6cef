"""The reference page of the catalogue. `python -m casemate.threats.reference` prints it."""

from __future__ import annotations

import sys

from casemate.threats.rules import Rule, catalogue
from casemate.threats.taxonomy import cited, entries

_HEAD = """# Threats

Generated from the catalogue in `src/casemate/threats/catalogue`; do not edit.

A rule is asked of every model, endpoint or artifact of a system, and mostly of every principal too. It fires, stays
silent, or asks a question, because a fact it needs is unknown. Maturity is that of the technique in the field:
feasible (shown in research), demonstrated (on a real system), realized (seen in an incident).
"""


def page() -> str:
    """The page as Markdown."""
    rows = ["| id | threat | asked of | maturity | tests | mitigations |", "|---|---|---|---|---|---|"]
    for rule in catalogue():
        asked = f"{', '.join(rule.each)}; {rule.adversary}"
        cells = (f"[{rule.id}](#{rule.id.lower()})", rule.title, asked, rule.maturity)
        rows.append(f"| {' | '.join(cells)} | {', '.join(rule.tests)} | {', '.join(rule.mitigations) or 'none yet'} |")
    return "\n".join([_HEAD, *rows, "", *(_section(rule) for rule in catalogue())])


def _section(rule: Rule) -> str:
    lines = [f"## {rule.id}", "", f"**{rule.title}** ({rule.stride}; {', '.join(rule.cell.values())})", ""]
    lines += [rule.explain, "", f"Harm: {rule.harm.text} Impact is read from `{rule.harm.asset}`,"]
    lines[-1] += f" property {rule.harm.property}, and is at least {rule.harm.floor}."
    lines += [f"- asks: {text}" for text in rule.questions.values()]
    lines += [f"- {r.taxonomy}: {cited(r)}" for r in rule.mappings]
    if not any(r.taxonomy == "atlas" for r in rule.mappings):
        lines.append(f"- atlas: no technique of release {entries('atlas')[0]} fits")
    lines.append(f"- an attacker pays, where nobody has measured it: {rule.prior.low:,.0f} to {rule.prior.high:,.0f}")
    lines += [f"- gives: {', '.join(g.can)} ({g.on})" for g in rule.gives]
    lines += [f"- pointless where {id} fires: {because}" for id, because in rule.dominated_by.items()]
    lines += [f"- checked by: {', '.join(rule.checks)}"] if rule.checks else []
    lines += [f"- {_effect(a.effect)}: {a.do}{f' ({cited(a.reference)})' if a.reference else ''}" for a in rule.advice]
    return "\n".join(lines) + "\n"


def _effect(word: str) -> str:
    return word.replace("_", " ")


if __name__ == "__main__":
    sys.stdout.write(page())
