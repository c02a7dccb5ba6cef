"""Overlays of one system in one picture: what each deployment costs its cheapest attacker."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..core.evidence import Evidence
from . import charts
from .distances import CAPTIONS
from .view import Measured, Shown, View
from .words import access_words, clean, look

_SPLIT = re.compile(r"[\s\-_/.:@()\[\],]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One overlay: its name, who is cheapest in it and at what cost."""

    anchor: str
    name: str
    who: str
    may: str
    attack: str
    tone: str
    label: str
    strip: Markup
    cost: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Assessments that describe one system in different deployments."""

    name: str
    lines: tuple[Line, ...]
    axis: Markup
    curves: tuple[charts.Drawn, ...]


def comparisons(views: Sequence[View]) -> tuple[Comparison, ...]:
    """Groups of two or more overlays. Overlays share the first word of their name and most of their components."""
    groups: list[list[View]] = []
    for one in views:
        home = next((g for g in groups if _together(g[0], one)), None)
        if home is None:
            groups.append([one])
        else:
            home.append(one)
    return tuple(found for g in groups if len(g) > 1 and (found := _compare(g)) is not None)


def _together(a: View, b: View) -> bool:
    first, second = (_SPLIT.split(clean(v.assessment.name).strip().lower())[0] for v in (a, b))
    if not first or first != second:
        return False
    ours, theirs = ({c.id for c in getattr(v.assessment.system, "components", ())} for v in (a, b))
    return not (ours | theirs) or len(ours & theirs) >= 0.5 * len(ours | theirs)


def cheapest(one: View) -> tuple[Shown, Measured] | None:
    """The evasion (else any) finding that costs its attacker least: fewest deployed queries, then fewest own calls."""
    pairs = [(s, m) for s in one.shown for m in s.measured if m.evidence.cost]
    evasion = [p for p in pairs if p[1].evidence.case == "evade"] or pairs
    return min(evasion, key=lambda p: _price(p[1].evidence), default=None)


def _price(evidence: Evidence) -> tuple[float, float, float, float]:
    cost, inf = evidence.cost, float("inf")
    if cost is None:
        return (3, inf, inf, 0)
    queries = inf if cost.queries is None else cost.queries
    own = inf if cost.gradients is None else cost.gradients
    # Of several censored costs the one that was tried longest is the one to show.
    return (0 if cost.queries is not None else 1, queries, own, -(cost.censored_at or 0))


def _compare(group: Sequence[View]) -> Comparison | None:
    held = [(v, found) for v in group if (found := cheapest(v)) is not None]
    if len(held) < 2:
        return None
    rows = [
        charts.Price(v.assessment.name, m.evidence.attack, m.evidence.cost, look(s.finding.status).tone, i)
        for i, (v, (s, m)) in enumerate(held)
    ]
    lines = []
    for (v, (s, m)), (_, strip, cost) in zip(held, charts.prices(rows), strict=True):
        lines.append(
            Line(
                anchor=s.anchor,
                name=v.assessment.name,
                who=s.finding.principal,
                may=access_words(m.evidence.may),
                attack=m.evidence.attack,
                tone=s.tone,
                label=s.label,
                strip=strip,
                cost=cost,
                id=m.id,
            )
        )
    name = _SPLIT.split(clean(group[0].assessment.name).strip())[0]
    return Comparison(name=name, lines=tuple(lines), axis=charts.price_axis(rows), curves=_overlaid(held))


def _overlaid(held: Sequence[tuple[View, tuple[Shown, Measured]]]) -> tuple[charts.Drawn, ...]:
    """Query-success curves of all overlays. Queries and calls on an own copy never share an axis."""
    axes = {"queries": "queries to the deployed endpoint, per row", "own calls": "calls on an own copy, per row"}
    found = []
    for kind, label in axes.items():
        have = [(v, m) for v, (_, m) in held if m.evidence.curves.get(kind)][: charts.MAX_SERIES]
        series = [charts.Series(f"{v.assessment.name}: {m.evidence.attack}", m.evidence.curves[kind]) for v, m in have]
        if series:
            legend = tuple(
                (charts.swatch(i), f"{s.label} [{m.id}]") for i, (s, (_, m)) in enumerate(zip(series, have, strict=True))
            )
            found.append(charts.Drawn(charts.curves(series, label, "rows broken"), legend, CAPTIONS[kind]))
    return tuple(found)
