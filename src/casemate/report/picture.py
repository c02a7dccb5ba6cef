"""The system's data-flow picture: zones as lanes, components as boxes, flows as arrows, coloured by their worst status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..core.evidence import Status
from ..core.finding import Finding
from ._layout import BOX_W, Arrow, Box, Layout, Link, arrange
from ._svg import rounded, tag
from .attacker import way_of
from .words import LOOKS, TONES, clean, short, worst

SHAPES = {
    "broken": "M4.4 0.8h5.2L13.2 4.4v5.2L9.6 13.2H4.4L0.8 9.6V4.4z",
    "unclear": "M7 1 13.4 12.6H0.6z",
    "question": "M1.5 1.5h11v11h-11z",
    "untested": "M7 1.2a5.8 5.8 0 1 0 .01 0z",
    "resisted": "M7 1.2a5.8 5.8 0 1 0 .01 0z",
    "none": "M2 6h10v2H2z",
}
_MARKS = {"broken": "M5.1 5.1 8.9 8.9M8.9 5.1 5.1 8.9", "unclear": "M7 5.2V9M7 10.4V11.2", "resisted": "M4 7.2 6.2 9.4 10 5"}
PAGE = 1034  # pixels inside the frame of the picture on a wide screen
TEXT_FLOWS = 12  # with more flows, arrows carry numbers instead of words


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One arrow of the picture, as the table beside it says it."""

    number: int
    id: str
    start: str
    end: str
    carries: str
    protected: str
    tone: str
    asserted: bool  # False: an access row without a flow of its own


def glyph(tone: str) -> Markup:
    """The shape of a tone. Colour is never the only difference."""
    shape = tag("path", d=SHAPES[tone], class_=f"shape tone-{tone}")
    mark = tag("text", "?", x=7, y=10.6, text_anchor="middle", class_="mark") if tone == "question" else Markup("")
    if tone in _MARKS:
        mark = tag("path", d=_MARKS[tone], class_="mark")
    return tag("svg", shape, mark, viewBox="0 0 14 14", width=14, height=14, class_="glyph", aria_hidden="true")


def tones(system: Any, findings: Sequence[Finding]) -> dict[str, str]:
    """The worst status of every component and flow, by id. A flow has that of the threats whose way leads through it."""
    found: dict[str, list[Status]] = defaultdict(list)
    ways: dict[tuple[str, str, str], tuple[tuple[str, str], ...]] = {}  # many threats of one attacker go the same way
    for finding in findings:
        if finding.status is Status.NOT_APPLICABLE:
            continue
        found[finding.element].append(finding.status)
        key = (finding.principal, finding.element, finding.cell.get("phase", ""))
        if key not in ways:
            ways[key] = way_of(finding, system)
        for start, end in ways[key]:
            found[f"{start} {end}"].append(finding.status)
    return {id: worst(statuses) for id, statuses in found.items()}


def streams(system: Any, findings: Sequence[Finding]) -> tuple[Stream, ...]:
    """Flows as the description has them, then access that no flow shows."""
    tone = tones(system, findings)
    rows, joined = [], set()
    for flow in system.flows:
        joined.add((flow.from_, flow.to))
        seen = [tone[key] for key in (flow.id, f"{flow.from_} {flow.to}") if key in tone]
        parts = [", ".join(flow.data or ()), flow.channel or ""]
        facts = (f"auth {flow.auth or 'unknown'}", f"integrity {flow.integrity.value}", f"encrypted {flow.confidentiality.value}")
        rows.append((flow.id, flow.from_, flow.to, " · ".join(p for p in parts if p), "; ".join(facts), _worse(seen), True))
    components = {c.id for c in system.components}
    for row in system.access:
        if row.on in components and (row.principal, row.on) not in joined:
            joined.add((row.principal, row.on))
            key = f"{row.principal} {row.on}"
            rows.append(
                (
                    row.id,
                    row.principal,
                    row.on,
                    ", ".join((*row.can, *(f"{c}?" for c in row.unsure))),
                    "",
                    tone.get(key, "none"),
                    False,
                )
            )
    names = ("number", "id", "start", "end", "carries", "protected", "tone", "asserted")
    return tuple(Stream(**dict(zip(names, (i, *row), strict=True))) for i, row in enumerate(rows, 1))


def _worse(seen: Sequence[str]) -> str:
    order = {known.tone: known.rank for known in reversed(LOOKS.values())}
    return min(seen, key=lambda t: order[t], default="none")


def plan(system: Any, rows: Iterable[Stream]) -> Layout:
    """Where everything goes."""
    rows = tuple(rows)
    nodes = {e.id: e.zone or "" for e in (*system.principals, *system.components)}
    lanes = [zone.id for zone in system.zones] + ([""] if "" in nodes.values() else [])
    # Training is where circles open: feedback is drawn as the way back, not the model.
    first = [c.id for c in system.components if c.trains]
    links = [Link(str(row.number), row.start, row.end) for row in rows]
    return arrange(nodes, links, lanes, first=first, gap=118.0 if len(rows) <= TEXT_FLOWS else 88.0)


def draw(system: Any, findings: Sequence[Finding], key: str = "", natural: bool = False) -> Markup:
    """The picture as inline SVG. `key` keeps ids apart where a page holds several pictures; `natural`: at its own size."""
    rows = streams(system, findings)
    layout = plan(system, rows)
    tone = tones(system, findings)
    by_number = {str(row.number): row for row in rows}
    trust = {zone.id: zone.trust for zone in system.zones}
    named = {e.id: e for e in (*system.principals, *system.components)}
    parts = [_heads(key)]
    parts += [_lane(lane.id, trust.get(lane.id), lane.y, lane.h, layout.width) for lane in layout.lanes]
    # Arrows with the worst status last, so that they lie on top.
    order = sorted(layout.arrows, key=lambda a: (by_number[a.id].tone != "none", by_number[a.id].tone == "broken"))
    words = len(rows) <= TEXT_FLOWS
    parts += [_arrow(arrow, by_number[arrow.id], words, key) for arrow in order]
    principals = {p.id for p in system.principals}
    parts += [_box(box, named[box.id], tone.get(box.id, "none"), box.id in principals) for box in layout.boxes]
    title = f"Data flow of {clean(system.name)}: {len(system.components)} components, {len(system.flows)} flows"
    return tag(
        "svg", tag("title", title), *parts,
        viewBox=f"0 0 {layout.width:.0f} {layout.height:.0f}", width=round(layout.width) if natural else _width(layout.width),
        height=round(layout.height) if natural else None, role="img", class_="dfd", aria_label=title,
    )  # fmt: skip


def _width(natural: float) -> int:
    """As it is, shrunk to the page where that stays readable, or shrunk a little and scrolled."""
    return round(natural if natural <= PAGE else PAGE if natural * 0.68 <= PAGE else natural * 0.76)


def _heads(key: str) -> Markup:
    heads = [
        tag(
            "marker", tag("path", d="M0 0 8 4 0 8z", class_=f"fill-{tone}"), id=f"head{key}-{tone}",
            viewBox="0 0 8 8", refX=7.5, refY=4, markerWidth=8, markerHeight=8, markerUnits="userSpaceOnUse", orient="auto",
        )
        for tone in TONES
    ]  # fmt: skip
    return tag("defs", *heads)


def _lane(id: str, trust: str | None, y: float, h: float, width: float) -> Markup:
    name = clean(id) or "no zone stated"
    label = tag("tspan", short(name, 40), class_="lane-name")
    extra = tag("tspan", f"  trust: {trust}" if trust else "  trust not stated", class_="lane-trust") if id else Markup("")
    return tag(
        "g",
        tag("rect", x=2, y=y + 3, width=width - 4, height=h - 6, rx=8, class_="lane"),
        tag("text", label, extra, x=14, y=y + 21),
    )


def _arrow(arrow: Arrow, row: Stream, words: bool, key: str) -> Markup:
    kind = f"flow line-{row.tone}" + ("" if row.asserted else " access")
    line = tag("path", d=rounded(list(arrow.points)), class_=kind, marker_end=f"url(#head{key}-{row.tone})")
    hint = tag("title", f"{row.number}. {row.start} → {row.end}: {row.carries or 'nothing stated'} ({TONES[row.tone]})")
    x, y = arrow.label
    if words:
        brief = row.carries if len(row.carries) <= 15 else row.carries.split(" · ")[-1].split(", ")[0]
        label = tag("text", short(f"{row.number} {brief}".strip(), 18), x=x, y=y - 4, text_anchor="middle", class_="flow-label")
        return tag("g", hint, line, label)
    chip = tag("rect", x=x - 12, y=y - 7, width=20, height=14, rx=7, class_=f"chip stroke-{row.tone}")
    return tag("g", hint, line, chip, tag("text", str(row.number), x=x - 2, y=y + 3.6, text_anchor="middle", class_="chip-text"))


def _box(box: Box, element: Any, tone: str, principal: bool) -> Markup:
    middle = box.x + box.w / 2
    kind = (element.kind or "kind not stated").replace("_", " ")
    shape = tag(
        "rect", x=box.x, y=box.y, width=box.w, height=box.h, rx=min(28.0, box.h / 2) if principal else 6,
        class_=f"{'principal' if principal else 'component'} stroke-{tone}",
    )  # fmt: skip
    hint = tag("title", f"{box.id}: {kind}" + ("" if principal else f" ({TONES[tone]})"))
    tight = "box-name tight" if len(box.id) > 14 else "box-name"
    name = tag("text", short(box.id, 18), x=middle, y=box.y + box.h / 2 - 2, text_anchor="middle", class_=tight)
    under = tag("text", short(kind, 20), x=middle, y=box.y + box.h / 2 + 13, text_anchor="middle", class_="box-kind")
    parts = [hint, shape, name, under]
    if tone != "none" and not principal:
        mark = glyph(tone)
        parts.append(tag("g", mark, transform=f"translate({box.x + BOX_W - 20:.0f} {box.y + 6:.0f})"))
    return tag("g", *parts)
