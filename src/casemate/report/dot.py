"""The data-flow picture in the DOT language, for those who have Graphviz and a layout of their own in mind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.finding import Assessment
from .picture import streams, tones
from .words import clean, short

_COLOURS = {
    "broken": "#b3360b", "unclear": "#8a6100", "question": "#7a3f8f", "untested": "#67707a", "resisted": "#0b6285",
    "none": "#9aa3ab",
}  # fmt: skip


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """One digraph for each system."""
    return "\n".join(_graph(a) for a in assessments)


def _graph(assessment: Assessment) -> str:
    system = assessment.system
    tone = tones(system, assessment.findings)
    named = (*system.principals, *system.components)
    known = {e.id for e in named}
    lines = [f"digraph {quote(assessment.name)} {{", "  rankdir=LR;", '  node [fontname="sans-serif", shape=box];',
             '  edge [fontname="sans-serif", fontsize=10];']  # fmt: skip
    for index, zone in enumerate([z.id for z in system.zones] + [""]):
        inside = [_node(e, e in system.principals, tone.get(e.id, "none")) for e in named if (e.zone or "") == zone]
        if zone and inside:
            trust = next((z.trust for z in system.zones if z.id == zone), None)
            label = quote(f"{short(zone, 40)} (trust {trust or 'not stated'})")
            lines += [f"  subgraph cluster_{index} {{", f"    label={label}; style=rounded;", *inside, "  }"]
        else:
            lines += inside
    for row in streams(system, assessment.findings):
        if row.start in known and row.end in known:
            style = "solid" if row.asserted else "dotted"
            label = quote(short(f"{row.number} {row.carries}".strip(), 40))
            ends = f"{quote(row.start)} -> {quote(row.end)}"
            lines.append(f'  {ends} [label={label}, color="{_COLOURS[row.tone]}", style={style}];')
    return "\n".join([*lines, "}", ""])


def _node(element: Any, principal: bool, tone: str) -> str:
    kind = (element.kind or "kind not stated").replace("_", " ")
    label = quote(f"{short(element.id, 40)}\n{kind}")
    style = "rounded" if principal else "dashed" if tone == "untested" else "solid"
    width = 3 if tone == "broken" else 1
    return f'    {quote(element.id)} [label={label}, color="{_COLOURS[tone]}", style="{style}", penwidth={width}];'


def quote(text: Any) -> str:
    """A quoted string of DOT. Backslashes are doubled first: DOT reads escapes such as `\\N` in labels."""
    plain = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + plain.replace("\n", "\\n").replace("\t", " ") + '"'
