"""Who was in the training data: the curve on logarithmic axes, and the rates that the sample can carry."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ..core.evidence import Evidence
from ..judges.roc import FLOOR, resolution
from ._aside import ROOM, Aside, Grid, rows_of
from ._held import between, entries, number, rated, record, room, share, span
from ._plot import Plot, decades, line_swatch, ordered
from ._svg import tag
from .charts import MAX_SERIES, Drawn, Point, Series, outline, swatch
from .words import count_of, qualified

_AT = re.compile(r"tpr_at_(?P<rate>[\d.e-]+)_fpr")
_NARROW = 118.0  # a shaded region below this width has no room for its words
_ALSO_BELOW = "Both axes logarithmic. Band: pointwise 95%, Clopper-Pearson."
Held = tuple[str, Evidence]


def chart(held: Sequence[Held]) -> Drawn | None:
    """The curves of a finding from 1e-4 to 1 on both axes; None where none has a point."""
    found = [(id, e, ordered(e.curves.get("roc", ()))) for id, e in held][:MAX_SERIES]
    found = [(id, e, points) for id, e, points in found if points]
    if not found:
        return None
    plot = Plot(decades(FLOOR, 1.0), decades(FLOOR, 1.0), share, share, height=320)
    others = [_others(e) for _, e, _ in found]
    most = max((n for n in others if n is not None), default=None)
    parts = [_hushed(plot, most, max(_reached(points, most) for _, _, points in found))] if most else []
    parts += [plot.frame("others taken for members, log scale", "members found"), plot.line([(FLOOR, FLOOR), (1, 1)], "guess")]
    for i, ((_, e, points), own) in enumerate(zip(found, others, strict=True)):
        parts += _vouched(plot, outline(Series(e.attack, points), 1.0), i, own if own != most else None)
    legend = [(swatch(i), f"{e.attack} [{id}]") for i, (id, e, _) in enumerate(found)]
    legend.append((line_swatch("guess"), "guessing"))
    label = "Members found against others taken for members: " + "; ".join(e.attack for _, e, _ in found)
    said = [_ALSO_BELOW, *([_silent(most)] if most else [])]
    pale = dict.fromkeys((e.attack, n) for (_, e, _), n in zip(found, others, strict=True) if n is not None and n != most)
    said += [f"{attack} has {count_of(n, 'non-member')} and is pale left of {share(resolution(n))}." for attack, n in pale]
    return Drawn(plot.drawn(label, *parts), tuple(legend), " ".join(said))


def _vouched(plot: Plot, points: Sequence[Point], index: int, others: int | None) -> list[Markup]:
    """One curve, pale where its own non-members, fewer than those of another, vouch for nothing."""
    edge = resolution(others) if others else 0.0
    left, right = [p for p in points if p[0] < edge], [p for p in points if p[0] >= edge]
    if not left:
        return [plot.curve(points, index)]
    met = (edge, *left[-1][1:])
    return [tag("g", plot.curve([*left, met], index), opacity="0.3"), plot.curve([met, *right], index)]


def _silent(others: int) -> str:
    return f"Left of {share(resolution(others))} nothing is vouched for: {count_of(others, 'non-member')} cannot speak there."


def _reached(points: Sequence[Point], others: int) -> float:
    """The highest share of members found where nothing is vouched for."""
    return max((y for x, y, _, _ in points if x <= resolution(others)), default=0.0)


def _hushed(plot: Plot, others: int, reached: float) -> Markup:
    """The false-positive rates that so few non-members say nothing about. Its words stand where no curve is."""
    left, head = plot.at(FLOOR, 1.0)
    right, foot = plot.at(resolution(others), FLOOR)
    if right - left < 1:
        return Markup("")
    parts = [tag("rect", x=left, y=head, width=right - left, height=foot - head, class_="hush")]
    if right - left >= _NARROW:
        said = (count_of(others, "non-member"), "cannot speak here")
        first = head + 16 if plot.y.at(reached) < 0.85 else foot - 92
        parts += [tag("text", text, x=left + 8, y=first + 15 * i, class_="tick") for i, text in enumerate(said)]
    return tag("g", *parts)


def _others(evidence: Evidence) -> int | None:
    """How many non-members: as the judge says, else as the rows do."""
    held = number(evidence.extra.get("others"))
    if held is None and "member" in evidence.rows:
        member = np.asarray(evidence.rows["member"])
        held = float((~member.astype(bool)).sum()) if member.ndim == 1 and len(member) else None
    return int(held) if held is not None and held >= 1 else None


def aside(evidence: Evidence, id: str, personal: bool) -> Aside | None:
    """The rates with their intervals; `personal` adds the members that stand out most."""
    extra = evidence.extra
    if evidence.case != "infer" or number(extra.get("auc")) is None:
        return None
    grids = [_at_rates(extra), _summary(extra), _precision(extra)]
    grids += [_exposed(extra, _others(evidence))] if personal else []
    left_out = "The members that stand out most are left out; they are shown only where that is asked for."
    return Aside(
        title="What it says about members", brief=_brief(evidence, id),
        grids=tuple(g for g in grids if g is not None and g.rows),
        notes=(left_out,) if entries(extra.get("most_exposed")) and not personal else (),
    )  # fmt: skip


def _rates(extra: Any) -> list[tuple[float, Any]]:
    """The false-positive rates that were asked for, the largest first."""
    found = [(float(m["rate"]), record(value)) for key, value in extra.items() if (m := _AT.fullmatch(str(key)))]
    return sorted(((rate, held) for rate, held in found if held and 0 < rate < 1), key=lambda pair: -pair[0])


def _at_rates(extra: Any) -> Grid | None:
    rows = []
    for rate, held in _rates(extra):
        found = number(held.get("tpr"))
        if found is None:
            rows.append((share(rate), _refused(held), ""))
        else:
            rows.append((share(rate), share(found), room(span(held.get("interval")))))
    head = ("Others taken for members, at most", "Members found", ROOM)
    return Grid(head=head, rows=tuple(rows), short=True, caption="A few found at a tiny rate are real people, found for sure.")


def _refused(held: Any) -> str:
    need, why = number(held.get("needed")), str(held.get("refused") or "not measured")
    if need is not None and "non-members" in why:
        return f"refused: needs {need:,.0f} non-members"
    return f"refused: {why}"


def _summary(extra: Any) -> Grid:
    found, false = number(extra.get("tpr")), number(extra.get("fpr"))
    named = "" if found is None or false is None else f"{share(found)} of members, {share(false)} of others"
    area, balanced = number(extra.get("auc")), number(extra.get("balanced_accuracy"))
    rows = rows_of(
        ("Area under the curve, 0.5 is guessing", "" if area is None else f"{area:.3f}",
         room(span(extra.get("auc_interval")), False)),
        ("Right if half of all were members", "" if balanced is None else share(balanced),
         room(span(extra.get("balanced_accuracy_interval")))),
        ("Named as members", named, ""), *_without(record(extra.get("blind"))),
    )  # fmt: skip
    return Grid(head=("Over all thresholds", "Value", ROOM), rows=rows)


def _without(held: Any) -> list[tuple[str, str, str]]:
    """The same without the model, and what the attack adds to it where that alone tells members from others."""
    area, more = number(held.get("auc")), number(held.get("beyond"))
    if area is None:
        return []
    near = span(held.get("auc_interval"))
    at = f"{room(near, False)} (at {share(near.level)})" if near else ""
    found = [("Area without the model, from the records alone", f"{area:.3f}", at)]
    if held.get("clear") is True and more is not None:
        reach = room(span(held.get("beyond_interval")), False)
        found.append(("Advantage beyond that of the records alone", f"{more:+.3f}", reach))
    return found


def _precision(extra: Any) -> Grid | None:
    rows = []
    priors = record(extra.get("ppv"))
    for prior in sorted(filter(_is_share, priors), key=float, reverse=True):
        held = record(priors[prior])
        value = number(held.get("value"))
        said = "nobody was named" if value is None else share(value)
        rows.append((share(float(prior)), said, room(span(held.get("interval"))) if value is not None else ""))
    return Grid(head=("If this share are members", "Named ones are, in", ROOM), rows=tuple(rows)) if rows else None


def _is_share(text: Any) -> bool:
    try:
        return 0 < float(text) < 1
    except (TypeError, ValueError):
        return False


def _exposed(extra: Any, others: int | None) -> Grid | None:
    """The members that an attacker would find first, by their row."""
    rows = []
    for one in entries(extra.get("most_exposed")):
        row, score, above = (number(record(one).get(name)) for name in ("row", "score", "others_as_high"))
        if row is not None and score is not None:
            none = f"none of {others:,}" if above == 0 and others else ""
            rows.append((f"{row:.0f}", f"{score:.4g}", "" if above is None else none or share(above)))
    return Grid(head=("Most exposed: row", "Score", "Others that score as high"), rows=tuple(rows)) if rows else None


def _brief(evidence: Evidence, id: str) -> str:
    extra, others = evidence.extra, _others(evidence)
    area = number(extra.get("auc")) or 0.0
    said = [f"area under the curve {area:.3f}" + (f" ({between(i, False)})" if (i := span(extra.get("auc_interval"))) else "")]
    kept = [(rate, held) for rate, held in _rates(extra) if number(held.get("tpr")) is not None]
    if kept:
        rate, held = kept[-1]
        found = rated(number(held.get("tpr")), span(held.get("interval")))
        said.append(f"{found} of members found at {share(rate)} false positives")
    if record(extra.get("blind")).get("clear") is True:
        said.append("members and others differ without the model: what is found may be that difference")
    said += qualified(evidence)
    if others and len(kept) < len(_rates(extra)):
        said.append(f"smaller rates refused, {count_of(others, 'non-member')} speak down to {share(resolution(others))}")
    return f"{'; '.join(said)} [{id}]."
