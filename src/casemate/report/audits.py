"""A claim of privacy against what an audit could show: three marks on one axis, and what a low bound does not say."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from ..core.evidence import Evidence
from ._aside import Aside, Grid, rows_of
from ._held import between, entries, number, plain_number, record, span
from ._plot import even
from ._svg import tag
from .words import qualified

NOTHING_SAID = "A low bound says nothing where its cap is low: even a perfect attack could not have shown more."
_LEFT, _WIDE = 16.0, 408.0


def aside(evidence: Evidence, id: str) -> Aside | None:
    """The claimed epsilon, the audited lower bound and the most this audit could have shown."""
    extra = evidence.extra
    bound, cap, claimed = (number(extra.get(name)) for name in ("audited", "detectable", "claimed"))
    if bound is None or cap is None:
        return None
    delta = number(extra.get("delta"))
    at = "" if delta is None else f" at delta {delta:g}"
    said = f"claims epsilon {plain_number(claimed)}{at}" if claimed is not None else "claims no epsilon"
    brief = f"training {said}; it is at least {bound:.2f}; this audit could have shown {cap:.2f} at most"
    brief = "; ".join((brief, *qualified(evidence))) + f" [{id}]."
    return Aside(
        title="Claimed privacy and audited privacy", brief=brief, chart=_marks(claimed, bound, cap),
        grids=tuple(g for g in (_facts(extra, claimed, bound, cap), _bounds(extra)) if g.rows), notes=(NOTHING_SAID,),
    )  # fmt: skip


def _marks(claimed: float | None, bound: float, cap: float) -> Markup:
    """Three marks, each with its name on a line of its own, so that close ones stay apart."""
    held = [("audited, at least", bound, "mark-bound"), ("could be shown, at most", cap, "mark-cap")]
    held = [*held[:1], ("claimed, at most", claimed, "mark-claim"), *held[1:]] if claimed is not None else held
    axis = even(0.0, max(value for _, value, _ in held) * 1.05 or 1.0)
    foot = 22 + 26 * len(held)

    def x_of(value: float) -> float:
        return _LEFT + _WIDE * axis.at(value)

    parts = [tag("line", x1=x_of(t), x2=x_of(t), y1=4, y2=foot - 12, class_="grid") for t in axis.ticks]
    parts += [tag("text", plain_number(t), x=x_of(t), y=foot + 2, text_anchor="middle", class_="tick") for t in axis.ticks]
    for i, (name, value, kind) in enumerate(held):
        x, y = x_of(value), 16 + 26 * i
        if kind != "mark-bound":  # what is claimed, or could be shown, reaches up to its mark; the truth lies above the bound
            parts.append(tag("path", d=f"M{_LEFT:.1f} {y}H{x:.1f}", class_=f"reach {kind}"))
        else:
            parts.append(tag("path", d=f"M{x:.1f} {y}H{_LEFT + _WIDE:.1f}", class_=f"reach {kind}"))
        parts.append(tag("path", d=_shape(kind, x, y), class_=f"three {kind}"))
        side, anchor = (x - 10, "end") if axis.at(value) > 0.5 else (x + 10, "start")
        parts.append(tag("text", f"{name}: {plain_number(value)}", x=side, y=y - 5, text_anchor=anchor, class_="tick"))
    label = "epsilon: " + "; ".join(f"{name} {plain_number(value)}" for name, value, _ in held)
    named = tag("text", "epsilon", x=_LEFT + _WIDE, y=foot + 16, text_anchor="end", class_="axis-label")
    box = f"0 0 440 {foot + 20}"
    return tag("svg", tag("title", label), *parts, named, viewBox=box, class_="chart epsilon", role="img", aria_label=label)


def _shape(kind: str, x: float, y: float) -> str:
    if kind == "mark-bound":
        return f"M{x:.1f} {y - 6}l8 6-8 6z"
    if kind == "mark-cap":
        return f"M{x:.1f} {y - 6}v12l-8-6z"
    return f"M{x:.1f} {y - 6}l6 6-6 6-6-6z"


def _facts(extra: Any, claimed: float | None, bound: float, cap: float) -> Grid:
    area, mean, most, chance = (number(extra.get(key)) for key in ("auc", "exposure_mean", "exposure_most", "exposure_by_chance"))
    rows = rows_of(
        ("Epsilon that training claims", "none" if claimed is None else plain_number(claimed)),
        ("Epsilon is at least", f"{bound:.3f}"), ("A perfect attack would have shown", f"{cap:.3f}"),
        ("Area under the curve", "" if area is None else f"{area:.3f} ({between(span(extra.get('auc_interval')), False)})"),
        ("Exposure of the canaries, mean", "" if mean is None else _exposure(mean, chance)),
        ("Exposure of the worst canary", "" if most is None else f"{most:.2f} bits"),
    )  # fmt: skip
    return Grid(head=("Audit", "Value"), rows=rows)


def _exposure(mean: float, chance: float | None) -> str:
    return f"{mean:.2f} bits" + (f" (by chance {chance:.2f})" if chance is not None else "")


def _bounds(extra: Any) -> Grid:
    rows = []
    for one in entries(extra.get("bounds")):
        guesses, bound, cap = (number(record(one).get(name)) for name in ("guesses", "epsilon", "cap"))
        if guesses is not None and bound is not None and cap is not None:
            rows.append((f"{guesses:,.0f}", f"{bound:.3f}", f"{cap:.3f}"))
    return Grid(head=("Guesses made", "Bound", "Cap"), rows=tuple(rows), caption="All of them hold together; the largest counts.")
