"""How an attack's success differs between groups: a dot and a whisker for each, and one sentence that claims no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ..core.evidence import Evidence, Interval
from ._aside import ROOM, Aside, Grid
from ._held import between, number, plain_number, points, record, room, share, span
from ._plot import Axis, even
from ._svg import tag
from .words import clean, count_of, short

MOST = 24  # groups drawn; the others are counted
_LEFT, _WIDE, _HIGH = 18.0, 262.0, 22
_APART = "Each interval holds for its own row alone: that two of them differ was not tested."
_TESTED = "Each interval holds for its own row alone; whether two rows differ was tested for all pairs at once, at 95%."


@dataclass(frozen=True, slots=True)
class Dot:
    """One group: what was measured in it, or why nothing was."""

    name: str
    n: str
    value: float | None
    interval: Interval | None
    refused: str = ""


def asides(evidence: Evidence, id: str) -> tuple[Aside, ...]:
    """By group and by class, where the judge counted apart."""
    found = [_aside(evidence, id, key, word) for key, word in (("by_group", "group"), ("by_class", "class"))]
    return tuple(one for one in found if one is not None)


def _aside(evidence: Evidence, id: str, key: str, word: str) -> Aside | None:
    held = record(evidence.extra.get(key))
    rates = record(held.get("groups")) if "gap" in held else {}
    dots = _sorted(_dot(name, record(one)) for name, one in (rates or held).items() if isinstance(one, Mapping))
    dots = [dot for dot in dots if dot.value is not None or dot.refused]
    if not dots:
        return None
    shares = bool(rates)  # successes of a group over its rows
    gap = held.get("gap") if rates else evidence.extra.get(f"{key}_gap")
    said = _said(gap, evidence, dots, id, word) if rates or gap else f"[{id}]."
    said = said if rates else f"{_spoken(dots, evidence, word, shares)}{'; ' if gap else ' '}{said}"
    notes = [] if rates or len(dots) < 2 else [_TESTED if gap else _APART]
    if len(dots) > MOST:
        more = count_of(len(dots) - MOST, f"more {word}", f"more {_many(word)}")
        notes.append(f"{more} left out here; the JSON report has all of them.")
    return Aside(title=f"By {word}", brief=said, grids=(_grid(dots[:MOST], evidence.measure, word, shares),), notes=tuple(notes))


def _many(word: str) -> str:
    return "classes" if word == "class" else f"{word}s"


def _dot(name: Any, held: Mapping[str, Any]) -> Dot:
    n, size, others = (number(held.get(key)) for key in ("n", "members", "others"))
    many = "" if n is None else f"{n:,.0f}"
    if size is not None and others is not None:
        many = f"{size:,.0f} and {others:,.0f} others"
    value = number(held.get("rate")) if "rate" in held else number(held.get("advantage"))
    refused = clean(held["refused"]) if held.get("refused") else ""
    return Dot(clean(name), many, value, span(held.get("interval")), refused)


def _sorted(dots: Any) -> list[Dot]:
    """The most hit first; what cannot be said of last."""
    return sorted(dots, key=lambda dot: (dot.value is None, -(dot.value or 0.0), dot.name))


def _said(gap: Any, evidence: Evidence, dots: Sequence[Dot], id: str, word: str) -> str:
    """The largest difference in one sentence: shown, not shown, or not to be compared. What is not shown is not denied."""
    held = record(gap)
    difference, interval = number(held.get("difference")), span(held.get("interval"))
    if difference is None or interval is None:
        return f"{_many(word).capitalize()} cannot be compared: fewer than two have rows enough [{id}]."
    most, least = short(held.get("most", ""), 40), short(held.get("least", ""), 40)
    apart = f"{points(difference)} ({100 * interval.level:.3g}% interval {100 * interval.low:+.3g} to {points(interval.high)})"
    if held.get("differs") is True:
        return f"{most} is hit more often than {least}: {clean(evidence.measure)} differs by {apart} [{id}]."
    return (
        f"no difference between {_many(word)} was shown: the largest seen, {most} over {least}, is {apart}; "
        f"this does not say that they are alike [{id}]."
    )


def _spoken(dots: Sequence[Dot], evidence: Evidence, word: str, shares: bool) -> str:
    told = [dot for dot in dots if dot.value is not None]
    if not told:
        return f"no {word} has rows enough for a number of its own"
    first, last = told[0], told[-1]
    most, least = (
        f"{_number(dot.value, shares)} ({between(dot.interval, shares)}) in {word} {short(dot.name, 40)}" for dot in (first, last)
    )
    if len(told) == 1:
        return f"{clean(evidence.measure)} {most}"
    return f"{clean(evidence.measure)}: highest {most}, lowest {least}"


def _number(value: float | None, shares: bool) -> str:
    return "" if value is None else share(value) if shares else plain_number(value)


def _grid(dots: Sequence[Dot], measure: str, word: str, shares: bool) -> Grid:
    axis = _axis(dots, shares)
    rows = tuple(
        (short(dot.name, 60), dot.n, _number(dot.value, shares) or dot.refused, room(dot.interval, shares)) for dot in dots
    )
    level = next((dot.interval.level for dot in dots if dot.interval), 0.95)
    return Grid(
        head=(word.capitalize(), "n", clean(measure), ROOM if level == 0.95 else f"{ROOM}, all at once"), rows=rows, short=True,
        strips=tuple(_strip(dot, axis, shares) for dot in dots), axis=_scale(axis, shares),
    )  # fmt: skip


def _axis(dots: Sequence[Dot], shares: bool) -> Axis:
    if shares:
        return Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
    ends = [v for dot in dots if dot.interval for v in (dot.interval.low, dot.interval.high)]
    ends += [dot.value for dot in dots if dot.value is not None]
    return even(max(-1e6, min([0.0, *ends])), min(1e6, max([0.0, *ends])))


def _at(value: float, axis: Axis) -> float:
    return _LEFT + _WIDE * axis.at(value)


def _scale(axis: Axis, shares: bool) -> Markup:
    texts = [
        tag("text", _number(tick, shares), x=_at(tick, axis), y=12, text_anchor="middle", class_="tick") for tick in axis.ticks
    ]
    return tag("svg", *texts, viewBox="0 0 300 16", class_="strip", aria_hidden="true")


def _strip(dot: Dot, axis: Axis, shares: bool) -> Markup:
    parts = [
        tag("line", x1=_at(t, axis), x2=_at(t, axis), y1=0, y2=_HIGH, class_="half" if t == 0 and axis.low < 0 else "grid")
        for t in axis.ticks
    ]
    label = f"{short(dot.name, 60)}: {_number(dot.value, shares) or dot.refused}"
    if dot.value is not None:
        if dot.interval:
            low, high = _at(dot.interval.low, axis), _at(dot.interval.high, axis)
            parts.append(tag("path", d=f"M{low:.1f} 11H{high:.1f}M{low:.1f} 7v8M{high:.1f} 7v8", class_="whisker"))
            label += f", {between(dot.interval, shares)}"
        parts.append(tag("circle", cx=_at(dot.value, axis), cy=11, r=4.5, class_="dot"))
    return tag("svg", tag("title", label), *parts, viewBox=f"0 0 300 {_HIGH}", class_="strip", role="img", aria_label=label)
