"""Curves, interval bars and attacker costs as inline SVG. Series differ by dash and marker as well as by colour."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..core.evidence import Cost, Evidence
from ._svg import path, tag
from .distances import Distances
from .words import clean, cost_brief, is_share, measured, short

MAX_SERIES = 5
_W, _H, _LEFT, _TOP, _BOTTOM, _RIGHT = 440, 236, 44, 14, 38, 20
Point = tuple[float, float, float, float]
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Series:
    """A named curve: points ``(x, y, low, high)``."""

    label: str
    points: Sequence[Point]
    steps: bool = True  # a share broken by then jumps; a security curve between measured radii does not


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart with what stands below it: a legend of swatches and names, how to read it, the smallest changes found."""

    chart: Markup
    legend: tuple[tuple[Markup, str], ...]
    caption: str = ""
    distances: tuple[Distances, ...] = ()


def curves(series: Sequence[Series], x_label: str, y_label: str = "rows broken", mark: float | None = None) -> Markup:
    """One chart, with a line at x = `mark`. Bands are clipped to [0, 1]; x is logarithmic over more than a decade and a half."""
    shown = [s for s in series if s.points][:MAX_SERIES]
    if not shown:
        return Markup("")
    xs = [p[0] for s in shown for p in s.points if math.isfinite(p[0])]
    scale, ticks, log = _axis(min(xs, default=0), max(xs, default=1))
    body = [_grid(ticks, scale, f"{x_label}{', log scale' if log else ''}", y_label)]
    end = max(xs, default=1)
    if mark is not None and math.isfinite(mark) and 0 < mark <= end:
        body.append(tag("line", x1=scale(mark), x2=scale(mark), y1=_y(1), y2=_y(0), class_="stated"))
        body.append(tag("text", f"stated: {_tick(mark)}", x=scale(mark) + 4, y=_y(0) - 5, class_="tick"))
    for i, one in enumerate(shown):
        body.append(_series(one, i, scale, end))
    label = f"{y_label} against {x_label}: " + "; ".join(s.label for s in shown)
    return tag("svg", tag("title", label), *body, viewBox=f"0 0 {_W} {_H}", role="img", class_="chart", aria_label=label)


def _axis(low: float, high: float) -> tuple[Scale, list[float], bool]:
    wide = _W - _LEFT - _RIGHT
    if low > 0 and high / low > 30:
        a, b = math.floor(math.log10(low)), max(math.ceil(math.log10(high)), math.floor(math.log10(low)) + 1)
        ticks = [10.0**k for k in range(a, b + 1)]
        return (lambda x: _LEFT + wide * (math.log10(max(x, 10.0**a)) - a) / (b - a)), ticks, True
    high = high if high > 0 else 1.0
    step = 10.0 ** math.floor(math.log10(high))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if high / s <= 6)
    top = step * math.ceil(high / step - 1e-9)
    return (lambda x: _LEFT + wide * x / top), [step * k for k in range(round(top / step) + 1)], False


def _y(share: float) -> float:
    """Anything that is not a number counts as zero: a chart must never fail on what it was given."""
    share = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    return _TOP + (_H - _TOP - _BOTTOM) * (1 - share)


def _grid(ticks: Sequence[float], scale: Scale, x_label: str, y_label: str) -> Markup:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        kind = "half" if share == 0.5 else "grid"
        parts.append(tag("line", x1=_LEFT, x2=_W - _RIGHT, y1=_y(share), y2=_y(share), class_=kind))
        parts.append(tag("text", f"{100 * share:.0f}%", x=_LEFT - 6, y=_y(share) + 3.5, text_anchor="end", class_="tick"))
    bottom = _y(0)
    for x in ticks:
        parts.append(tag("line", x1=scale(x), x2=scale(x), y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(tag("text", _tick(x), x=scale(x), y=bottom + 16, text_anchor="middle", class_="tick"))
    parts.append(tag("text", clean(x_label), x=(_W + _LEFT) / 2, y=_H - 4, text_anchor="middle", class_="axis-label"))
    parts.append(tag("text", clean(y_label), x=_LEFT, y=9, class_="axis-label"))
    return tag("g", *parts)


def _tick(x: float) -> str:
    return f"{x:,.0f}" if x >= 1 and x == round(x) else f"{x:g}"


def outline(one: Series, end: float) -> list[Point]:
    """The points as drawn: finite ones in order, as steps where the curve jumps, carried on to `end`."""
    points = sorted(p for p in one.points if all(map(math.isfinite, p)))
    clipped = [(x, *(min(1.0, max(0.0, v)) for v in rest)) for x, *rest in points]
    if not one.steps or not clipped:
        return [(x, y, min(y, low), max(y, high)) for x, y, low, high in clipped]
    found: list[Point] = []
    last = (0.0, 0.0, 0.0)
    for x, *rest in clipped:
        found += [(x, *last), (x, rest[0], rest[1], rest[2])]
        last = (rest[0], rest[1], rest[2])
    return [*found, (max(end, clipped[-1][0]), *last)]


def _series(one: Series, index: int, scale: Scale, end: float) -> Markup:
    points = outline(one, end)
    band = [(scale(x), _y(high)) for x, _, _, high in points] + [(scale(x), _y(low)) for x, _, low, _ in reversed(points)]
    line = [(scale(x), _y(y)) for x, y, _, _ in points]
    marks = []
    for x, y in line[:: max(1, len(line) // 5)]:
        marks.append(marker(index, x, y))
    return tag(
        "g", tag("path", d=path(band, close=True), class_=f"band band-{index}"),
        tag("path", d=path(line), class_=f"curve curve-{index}"), *marks,
    )  # fmt: skip


def marker(index: int, x: float, y: float) -> Markup:
    """The marker of the n-th series."""
    shapes = (
        "M-3.2 0a3.2 3.2 0 1 0 6.4 0 3.2 3.2 0 1 0-6.4 0", "M-3-3H3V3H-3z", "M0-4 4 3H-4z", "M0-4 4 0 0 4-4 0z",
        "M-3-3 3 3M3-3-3 3",
    )  # fmt: skip
    return tag("path", d=shapes[index % len(shapes)], transform=f"translate({x:.1f} {y:.1f})", class_=f"marker marker-{index}")


def swatch(index: int) -> Markup:
    """A line and marker for a legend."""
    line = tag("path", d="M1 7H27", class_=f"curve curve-{index}")
    return tag("svg", line, marker(index, 14, 7), viewBox="0 0 28 14", width=28, height=14, class_="swatch", aria_hidden="true")


def interval_bar(evidence: Evidence, tone: str) -> Markup:
    """The share, its interval and its baseline on a line from 0 to 100 %. Nothing where the measure is not a share."""
    if not is_share(evidence):
        return Markup("")
    wide = 200.0

    def at(share: float) -> float:
        return 6 + wide * min(1.0, max(0.0, share))

    parts = [tag("line", x1=at(0), x2=at(1), y1=11, y2=11, class_="rail")]
    parts += [tag("line", x1=at(s), x2=at(s), y1=8, y2=14, class_="rail") for s in (0.0, 0.5, 1.0)]
    label = f"{measured(evidence)}"
    if evidence.interval:
        low, high = at(evidence.interval.low), at(evidence.interval.high)
        parts.append(tag("rect", x=low, y=6, width=max(1.0, high - low), height=10, rx=3, class_=f"span fill-{tone}"))
        label += f", interval {evidence.interval}"
    if evidence.baseline:
        x = at(evidence.baseline.rate)
        parts.append(tag("path", d=f"M{x - 4:.1f} 1.5H{x + 4:.1f}L{x:.1f} 7z", class_="base"))
        label += f", {evidence.baseline.name} {measured(evidence, evidence.baseline.rate)}"
    parts.append(tag("line", x1=at(evidence.rate), x2=at(evidence.rate), y1=3, y2=19, class_=f"point line-{tone}"))
    return tag("svg", tag("title", label), *parts, viewBox="0 0 212 22", class_="interval", role="img", aria_label=label)


@dataclass(frozen=True, slots=True)
class Price:
    """One line of a cost comparison."""

    label: str
    note: str
    cost: Cost | None
    tone: str
    index: int = 0


def prices(rows: Sequence[Price]) -> list[tuple[Price, Markup, str]]:
    """Each line with its strip on one shared logarithmic axis. A censored cost is an arrow that starts where it was cut."""
    top = max([1.0, *(v for row in rows if row.cost for v in (row.cost.queries, row.cost.censored_at) if v)])
    decades = max(1, math.ceil(math.log10(top) + 0.05))

    def at(queries: float) -> float:
        return 24.0 if queries < 1 else 60 + 300 * math.log10(queries) / decades

    return [(row, _strip(row, at, decades), cost_brief(row.cost)) for row in rows]


def price_axis(rows: Sequence[Price]) -> Markup:
    """The axis that the strips of `prices` share."""
    top = max([1.0, *(v for row in rows if row.cost for v in (row.cost.queries, row.cost.censored_at) if v)])
    decades = max(1, math.ceil(math.log10(top) + 0.05))
    names = [f"{10**k:,}" if k < 7 else f"{10 ** (k - 6):,} M" for k in range(decades + 1)]
    marks = [(24.0, "0")] + [(60 + 300 * k / decades, name) for k, name in enumerate(names)]
    parts = [tag("text", text, x=x, y=12, text_anchor="middle", class_="tick") for x, text in marks]
    return tag("svg", *parts, viewBox="0 0 384 16", class_="strip", aria_hidden="true")


def _strip(row: Price, at: Scale, decades: int) -> Markup:
    lines = [24.0, *(60 + 300 * k / decades for k in range(decades + 1))]
    parts = [tag("line", x1=x, x2=x, y1=0, y2=26, class_="grid") for x in lines]
    label = short(f"{row.label}: {cost_brief(row.cost)}", 120)
    cost = row.cost
    if cost and cost.queries is not None:
        x = at(cost.queries)
        parts.append(tag("line", x1=at(0), x2=x, y1=13, y2=13, class_=f"stem line-{row.tone}"))
        parts.append(tag("path", d="M0-7 7 0 0 7-7 0z", transform=f"translate({x:.1f} 13)", class_=f"fill-{row.tone}"))
    elif cost and cost.censored_at:
        x = at(cost.censored_at)
        parts.append(tag("line", x1=at(0), x2=x, y1=13, y2=13, class_=f"stem dashed line-{row.tone}"))
        parts.append(tag("line", x1=x, x2=x, y1=6, y2=20, class_=f"stem line-{row.tone}"))
        parts.append(tag("path", d=f"M{x:.1f} 13H{x + 18:.1f}m-6-5 6 5-6 5", class_=f"arrow line-{row.tone}"))
    return tag("svg", tag("title", label), *parts, viewBox="0 0 384 26", class_="strip", role="img", aria_label=label)
