"""What a stolen copy is worth: how often it decides alike, against queries and, where calls have a price, against money."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from ..core.entities import Prices
from ..core.evidence import Evidence
from ..core.risk import Spent, priced
from ._aside import Aside, Grid, rows_of
from ._held import listed, number, of, plain_number, rated, record, share
from ._plot import Axis, Plot, decades, even, line_swatch, ordered
from ._svg import tag
from .charts import MAX_SERIES, Drawn, swatch
from .weighed import amount
from .words import clean, count_of

Held = tuple[str, Evidence]
_BAND = "Band: pointwise 95%, Clopper-Pearson."
_LEVELS = (("enough", "stated", "enough to serve as a copy"), ("two_trainings_agree", "floor", "two trainings agree"))
_OTHER = (
    ("fidelity_uniform", "Decides alike, on inputs from all over the domain"),
    ("fidelity_boundary", "Decides alike, half-way between two decisions"),
)


def chart(held: Sequence[Held], prices: Prices | None = None) -> Drawn | None:
    """Agreement against queries, with the price of them above and what two trainings agree on as the ceiling."""
    found = [(id, e, ordered(e.curves.get("agreement", ()))) for id, e in held][:MAX_SERIES]
    found = [(id, e, pts) for id, e, pts in found if pts]
    if not found:
        return None
    asked = [x for _, _, pts in found for x, *_ in pts]
    x = _queries(asked)
    costs = [bill(tick, prices) for tick in x.ticks]
    money = any(costs)
    plot = Plot(x, even(0.0, 1.0), _count, share, top=34 if money else 18, height=266 if money else 250)
    parts = [plot.frame(f"queries to the deployed endpoint{', log scale' if x.log else ''}", "decides alike")]
    parts += [_money(plot, costs, prices)] if money else []
    legend: list[tuple[Markup, str]] = []
    for name, kind, said in _LEVELS:
        level = next((v for _, e, _ in found if (v := number(e.extra.get(name))) is not None), None)
        if level is not None:
            parts.append(plot.across(level, kind))
            legend.append((line_swatch(kind), f"{said}: {share(level)}"))
    parts += [plot.curve(pts, i) for i, (_, _, pts) in enumerate(found)]
    legend = [*((swatch(i), f"{e.attack} [{id}]") for i, (id, e, _) in enumerate(found)), *legend]
    label = "Decides alike against queries: " + "; ".join(e.attack for _, e, _ in found)
    return Drawn(plot.drawn(label, *parts), tuple(legend), f"{_BAND} {_priced(prices)}" if money else _BAND)


def _queries(asked: Sequence[float]) -> Axis:
    most, least = max(asked), min([x for x in asked if x > 0], default=1.0)
    return decades(max(1.0, least), max(10.0, most)) if most / least > 30 else even(0.0, most or 1.0)


def bill(queries: float, prices: Prices | None) -> float | None:
    """What so many queries cost by the prices of the description; None where a query has no price."""
    if prices is None or prices.per_1000_queries is None or queries <= 0:
        return None
    return priced(Spent(queries=queries), Prices(per_1000_queries=prices.per_1000_queries), None).total


def _priced(prices: Prices | None) -> str:
    if prices is None or prices.per_1000_queries is None:
        return ""
    unit = f" {clean(prices.currency)}" if prices.currency else ""
    return f"Money: queries alone, at {amount(prices.per_1000_queries)}{unit} per 1,000; accounts and hours come on top."


def _money(plot: Plot, costs: Sequence[float | None], prices: Prices | None) -> Markup:
    """The second axis: at each count of queries, what they cost."""
    parts = []
    for tick, cost in zip(plot.x.ticks, costs, strict=True):
        x, y = plot.at(tick, plot.y.high)
        if cost is not None:
            parts.append(tag("line", x1=x, x2=x, y1=y - 4, y2=y, class_="axis"))
            parts.append(plot.above(tick, _cash(cost), y - 7))
    unit = clean(prices.currency) if prices is not None and prices.currency else "money"
    parts.append(tag("text", unit, x=438, y=9, text_anchor="end", class_="axis-label"))
    return tag("g", *parts)


def _cash(value: float) -> str:
    return f"{value:.2g}" if value < 0.01 else amount(value) if value < 1e5 else f"{value / 1e3:,.0f} k"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:g} M"


def aside(evidence: Evidence, id: str, prices: Prices | None = None) -> Aside | None:
    """How the copy does elsewhere, how near it comes, and what it opens."""
    extra = evidence.extra
    if evidence.case != "copy" or not evidence.n:
        return None
    queries = number(extra.get("queries"))
    cost = None if queries is None else bill(queries, prices)
    grids = [Grid(head=("On which inputs", "Decides alike"), rows=_fidelity(evidence)), _nearness(evidence)]
    return Aside(
        title="What the copy is worth", brief=_brief(evidence, queries, _spent(cost, prices), id),
        grids=tuple(g for g in grids if g.rows),
    )  # fmt: skip


def _spent(cost: float | None, prices: Prices | None) -> str:
    if cost is None:
        return ""
    unit = f" {clean(prices.currency)}" if prices is not None and prices.currency else ""
    return f" ({_cash(cost)}{unit})"


def _brief(evidence: Evidence, queries: float | None, spent: str, id: str) -> str:
    asked = f" after {count_of(queries, 'query', 'queries')}{spent}" if queries is not None else ""
    said = [f"decides alike on {rated(evidence.rate, evidence.interval)}{asked}"]
    boundary = listed(evidence.extra.get("fidelity_boundary"))
    if boundary[0] is not None:
        said.append(f"near the boundary on {share(boundary[0])}")
    top = number(evidence.extra.get("two_trainings_agree"))
    if top is not None:
        said.append(f"two trainings of the same recipe on {share(top)}")
    return f"{'; '.join(said)} [{id}]."


def _fidelity(evidence: Evidence) -> tuple[tuple[str, ...], ...]:
    extra = evidence.extra
    own, theirs, top = (number(extra.get(name)) for name in ("copy_accuracy", "target_accuracy", "two_trainings_agree"))
    return rows_of(
        ("Unseen inputs of the task", rated(evidence.rate, evidence.interval)),
        *((said, rated(*listed(extra.get(key)))) for key, said in _OTHER),
        ("Two trainings of the same recipe: the ceiling", "" if top is None else share(top)),
        ("Right, copy and original", "" if own is None or theirs is None else f"{share(own)}, {share(theirs)}"),
    )  # fmt: skip


def _nearness(evidence: Evidence) -> Grid:
    extra = evidence.extra
    rows = [(said, _small(extra.get(key))) for key, said in (
        ("parameter_error", "Largest error of a parameter"), ("total_variation", "Total variation of the scores, mean"),
        ("kl_divergence", "Divergence of the scores, nats, mean"), ("log_ratio_error", "Largest error of a log-ratio"),
    )]  # fmt: skip
    led = record(extra.get("transfer"))
    turned, hits, rate = (number(led.get(name)) for name in ("turned_copy", "turned_target", "share"))
    if rate is not None and turned is not None and hits is not None:
        rows.append(("Changes that fool the copy and the original too", f"{hits:.0f} of {turned:.0f} ({share(rate)})"))
    rows.append(("Model of the copy", _model(extra)))
    return Grid(head=("How near it comes", "Value"), rows=rows_of(*rows))


def _small(value: Any) -> str:
    held = number(value)
    return "" if held is None else f"{held:.2g}" if 0 < abs(held) < 1e-3 else plain_number(held)


def _model(extra: Any) -> str:
    held = record(extra.get("copy"))
    named = [clean(held[key]) for key in ("model", "strategy") if isinstance(held.get(key), str)]
    return ", ".join([*named, *([of(held.get("answers"), "answer")] if number(held.get("answers")) is not None else [])])
