"""The data-flow picture as a file of its own, that any viewer of SVG opens: no Graphviz, no style sheet, no script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

from markupsafe import Markup

from ..core.finding import Assessment
from ._svg import tag
from .picture import Stream, draw, plan, streams
from .words import TONES, clean, short

_MARGIN, _TITLE, _LINE = 24.0, 46.0, 17.0
_COLUMN = 380.0


def render(assessments: Sequence[Assessment], *, show_personal: bool = False) -> str:
    """One picture below another. Colours are those of the report in daylight, written out."""
    parts, y, width = [], _MARGIN, 0.0
    for index, assessment in enumerate(assessments):
        piece, w, h = _one(assessment, index)
        parts.append(tag("g", piece, transform=f"translate({_MARGIN:g} {y:.0f})"))
        y, width = y + h + 2 * _MARGIN, max(width, w)
    style = tag("style", Markup(_style()))  # noqa: S704 - our own style sheet
    paper = tag("rect", width="100%", height="100%", fill="#ffffff")
    size = {"viewBox": f"0 0 {width + 2 * _MARGIN:.0f} {y:.0f}", "width": round(width + 2 * _MARGIN), "height": round(y)}
    body = tag("svg", style, paper, *parts, xmlns="http://www.w3.org/2000/svg", **size)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _one(assessment: Assessment, index: int) -> tuple[Markup, float, float]:
    """A picture with its title, what the colours mean, and what each arrow carries; its width and height."""
    system = assessment.system
    rows = streams(system, assessment.findings)
    layout = plan(system, rows)
    drawing = draw(system, assessment.findings, key=str(index), natural=True)
    title = tag("text", short(assessment.name, 80), x=0, y=16, class_="title")
    key = tag("text", _key(rows), x=0, y=34, class_="lane-trust")
    listed, height = _listed(rows, layout.width, _TITLE + layout.height + _MARGIN)
    return Markup("").join([title, key, tag("g", drawing, transform=f"translate(0 {_TITLE:g})"), *listed]), layout.width, height


def _listed(rows: Sequence[Stream], width: float, top: float) -> tuple[list[Markup], float]:
    """What each arrow carries, in as many columns as fit, and where they end."""
    columns = max(1, int(width // _COLUMN))
    deep = -(-len(rows) // columns)
    found = []
    for i, row in enumerate(rows):
        words = f"{row.number}. {short(row.start, 18)} → {short(row.end, 18)}: {short(row.carries or 'nothing stated', 24)}"
        column, line = divmod(i, max(1, deep))
        found.append(tag("text", words, x=column * width / columns, y=top + _LINE * line, class_="box-kind"))
    return found, top + _LINE * deep


def _key(rows: Sequence[object]) -> str:
    seen = [tone for tone in TONES if any(getattr(row, "tone", "") == tone for row in rows)]
    return "Arrows: " + ", ".join(clean(TONES[tone]) for tone in seen) if seen else ""


def _style() -> str:
    """The picture's part of the report's style sheet, its colours put in: not every viewer knows variables."""
    sheet = (resources.files("casemate.report") / "templates" / "report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"(--[\w-]+):([^;}]+)", sheet.split("@media", 1)[0]))
    part = sheet.split("/* picture */", 1)[1].split("/* end of picture */", 1)[0]
    part = re.sub(r"var\((--[\w-]+)\)", lambda m: colours[m[1]], part)
    font = "text{font-family:system-ui,'Segoe UI','Liberation Sans',Arial,sans-serif}"
    title = ".title{font-size:17px;font-weight:650;fill:#1a1d21}"
    return font + title + part.replace("\n", "")
