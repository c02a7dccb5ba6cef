"""The reference page of the catalogue. `python -m casemate.threats.reference` prints it."""

from __future__ import annotations

import sys

from casemate.threats.rules import Rule, catalogue
from casemate.threats.taxonomy import full_name

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
    lines += [f"- {r.taxonomy} {r.release}: {r.id} {full_name(r)}" for r in rule.mappings]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
