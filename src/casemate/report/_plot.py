"""Axes and marks of the charts that need more than a share from 0 to 1: logarithmic on both sides, a second axis, whiskers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..core.evidence import Interval
from ._svg import path, tag
from .charts import Point, marker
from .words import clean, short

WIDE, LEFT, RIGHT, BOTTOM = 440, 48, 20, 38
Name = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, with its ticks. What lies beyond an end is drawn at the end, and so is what is no number."""

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """Where the value lies, from 0 to 1."""
        if math.isnan(value) or value <= self.low:
            return 0.0
        if value >= self.high:
            return 1.0
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def decades(low: float, high: float) -> Axis:
    """A logarithmic axis over whole decades, at least one."""
    a = math.floor(math.log10(low) + 1e-9)
    b = max(a + 1, math.ceil(math.log10(high) - 1e-9))
    return Axis(10.0**a, 10.0**b, tuple(10.0**k for k in range(a, b + 1)), log=True)


def even(low: float, high: float) -> Axis:
    """A linear axis between round numbers, with four to six ticks."""
    high = high if high > low else low + 1.0
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if (high - low) / s <= 5)
    a, b = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(a * step, b * step, tuple(k * step for k in range(a, b + 1)))


@dataclass(frozen=True, slots=True)
class Plot:
    """An empty chart: two axes, how values are named on them, and room above for a second axis."""

    x: Axis
    y: Axis
    x_name: Name
    y_name: Name
    height: int = 250
    top: int = 18

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the drawing."""
        return LEFT + (WIDE - LEFT - RIGHT) * self.x.at(x), self.height - BOTTOM - self._tall * self.y.at(y)

    @property
    def _tall(self) -> float:
        return self.height - BOTTOM - self.top

    def frame(self, x_label: str, y_label: str) -> Markup:
        """Grid, ticks and the names of both axes."""
        parts, foot = [], self.height - BOTTOM
        for value in self.y.ticks:
            y = self.at(self.x.low, value)[1]
            parts.append(tag("line", x1=LEFT, x2=WIDE - RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(tag("text", self.y_name(value), x=LEFT - 6, y=y + 3.5, text_anchor="end", class_="tick"))
        for value in self.x.ticks:
            x = self.at(value, self.y.low)[0]
            parts.append(tag("line", x1=x, x2=x, y1=foot, y2=foot + 4, class_="axis"))
            parts.append(self.above(value, self.x_name(value), foot + 16))
        middle = (WIDE + LEFT) / 2
        parts.append(tag("text", clean(x_label), x=middle, y=self.height - 4, text_anchor="middle", class_="axis-label"))
        parts.append(tag("text", clean(y_label), x=2, y=9, class_="axis-label"))
        return tag("g", *parts)

    def above(self, value: float, text: str, y: float) -> Markup:
        """Words at a place of the x axis; at its end they are set back, so that none is cut off."""
        last = self.x.at(value) > 0.97
        x = WIDE - 2.0 if last else self.at(value, self.y.low)[0]
        return tag("text", text, x=x, y=y, text_anchor="end" if last else "middle", class_="tick")

    def curve(self, points: Sequence[Point], index: int) -> Markup:
        """A line with its band and a few markers. Points ``(x, y, low, high)``, in order."""
        line = [self.at(x, y) for x, y, _, _ in points]
        band = [self.at(x, high) for x, _, _, high in points] + [self.at(x, low) for x, _, low, _ in reversed(points)]
        marks = [marker(index, *spot) for spot in line[:: max(1, len(line) // 6)]]
        drawn = tag("path", d=path(band, close=True), class_=f"band band-{index}")
        return tag("g", drawn, tag("path", d=path(line), class_=f"curve curve-{index}"), *marks)

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> Markup:
        """A plain line of a class of its own."""
        return tag("path", d=path([self.at(x, y) for x, y in points]), class_=kind)

    def across(self, y: float, kind: str) -> Markup:
        """A level line from one end to the other."""
        return self.line([(self.x.low, y), (self.x.high, y)], kind)

    def whisker(self, x: float, value: float, interval: Interval | None) -> Markup:
        """One measured point with its interval upright."""
        px, py = self.at(x, value)
        parts = []
        if interval is not None:
            low, high = self.at(x, interval.low)[1], self.at(x, interval.high)[1]
            left = px - 4
            upright = f"M{px:.1f} {low:.1f}V{high:.1f}M{left:.1f} {low:.1f}h8M{left:.1f} {high:.1f}h8"
            parts.append(tag("path", d=upright, class_="whisker"))
        parts.append(tag("path", d=f"M{px - 4:.1f} {py - 4:.1f}l8 8m0-8l-8 8", class_="cross"))
        return tag("g", *parts)

    def drawn(self, label: str, *parts: Markup) -> Markup:
        """The whole chart, named for those who cannot see it."""
        said = short(label, 300)
        box = f"0 0 {WIDE} {self.height}"
        return tag("svg", tag("title", said), *parts, viewBox=box, role="img", class_="chart", aria_label=said)


def line_swatch(kind: str) -> Markup:
    """A line of a class of its own, for a legend."""
    line = tag("path", d="M1 7H27", class_=kind)
    return tag("svg", line, viewBox="0 0 28 14", width=28, height=14, class_="swatch", aria_hidden="true")


def cross_swatch() -> Markup:
    """The mark of a single measured point, for a legend."""
    drawn = tag("path", d="M14 1V13M10 3l8 8m0-8l-8 8", class_="cross")
    return tag("svg", drawn, viewBox="0 0 28 14", width=28, height=14, class_="swatch", aria_hidden="true")


def ordered(points: Sequence[Point]) -> list[Point]:
    """The finite points in order, each with its band around it."""
    found = sorted(tuple(p) for p in points if len(p) == 4 and all(map(math.isfinite, p)))
    return [(x, y, min(y, low), max(y, high)) for x, y, low, high in found]
