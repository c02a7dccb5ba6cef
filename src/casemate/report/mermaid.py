"""The data-flow picture in Mermaid, as Markdown that code hosts and wikis draw by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.finding import Assessment
from .picture import streams, tones
from .words import TONES, clean, short

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _.,-")
_FILL = {
    "broken": "fill:#fbeae4,stroke:#b3360b,stroke-width:3px", "unclear": "fill:#faf1d9,stroke:#8a6100",
    "question": "fill:#f4eaf7,stroke:#7a3f8f", "untested": "fill:#eef0f1,stroke:#67707a,stroke-dasharray:5 3",
    "resisted": "fill:#e4f1f6,stroke:#0b6285", "none": "fill:#ffffff,stroke:#9aa3ab",
}  # fmt: skip
_STORES = ("data_source", "feature_store", "label_source", "registry", "model_artifact", "log_store")


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """One flow chart for each system, with a line above that names it."""
    return "\n".join(f"**{_text(a.name, 80)}**\n\n```mermaid\n{chart(a)}\n```\n" for a in assessments)


def chart(assessment: Assessment) -> str:
    """The flow chart itself: zones are subgraphs, and a box has the colour of its worst status."""
    system = assessment.system
    tone = tones(system, assessment.findings)
    ids = {e.id: f"n{i}" for i, e in enumerate((*system.principals, *system.components))}
    lines = ["flowchart LR"]
    for index, zone in enumerate([z.id for z in system.zones] + [""]):
        inside = [e for e in (*system.principals, *system.components) if (e.zone or "") == zone]
        boxes = [f"  {ids[e.id]}{_box(e, e in system.principals)}" for e in inside]
        if zone and inside:
            trust = next((z.trust for z in system.zones if z.id == zone), None)
            name = f"{short(zone, 40)} - trust {trust or 'not stated'}"
            lines += [f'subgraph z{index}["{escape(name)}"]', *boxes, "end"]
        else:
            lines += boxes
    for row in streams(system, assessment.findings):
        if row.start in ids and row.end in ids:
            arrow = "-->" if row.asserted else "-.->"
            lines.append(f'{ids[row.start]} {arrow}|"{escape(short(f"{row.number} {row.carries}".strip(), 40))}"| {ids[row.end]}')
    used = {id: tone.get(id, "none") for id in ids}
    lines += [f"classDef {name} {_FILL[name]};" for name in TONES if name in used.values()]
    lines += [f"class {ids[id]} {name};" for id, name in used.items()]
    return "\n".join(lines)


def _box(element: Any, principal: bool) -> str:
    kind = (element.kind or "kind not stated").replace("_", " ")
    label = f'"{escape(short(element.id, 40))}<br/>{escape(kind)}"'
    if principal:
        return f"([{label}])"
    return f"[({label})]" if element.kind in _STORES else f"[{label}]"


def escape(text: Any) -> str:
    """Text inside a quoted label: whatever is not plain becomes an entity by its number, so nothing can end the label."""
    return "".join(c if c in _PLAIN else f"#{ord(c)};" for c in clean(text).replace("\n", " ").replace("\t", " "))


def _text(text: Any, size: int) -> str:
    """A name in a line of Markdown."""
    return "".join(c if c in _PLAIN else f"&#{ord(c)};" for c in short(text, size).replace("\n", " "))
