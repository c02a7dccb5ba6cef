"""What an attacker pays as a bar on a logarithmic axis: measured solid, assumed hatched and dashed."""

from __future__ import annotations

import math

from markupsafe import Markup

from ..core.evidence import Status
from ..core.finding import Chain, Finding
from ..core.risk import MONEY_EDGES
from ._svg import tag
from .weighed import CURRENCY, price
from .words import clean, short

HATCH = "assumed-hatch"
_LEFT, _WIDE, _HIGH = 6.0, 240.0, 34
_MONEY = (1.0, 1e7)
_QUERIES = (1.0, 1e6)
_TICKS = {"money": (1.0, *MONEY_EDGES), "queries": (1.0, 100.0, 1e4, 1e6)}


def hatch() -> Markup:
    """The pattern of what is assumed. Once on a page, before the bars."""
    stripe = tag("path", d="M-1 5L5-1M-1 11L11-1M5 11L11 5", class_="stripe")
    pattern = tag("pattern", stripe, id=HATCH, width=10, height=10, patternUnits="userSpaceOnUse")
    return tag("svg", tag("defs", pattern), width=0, height=0, class_="hidden", aria_hidden="true")


def bar(finding: Finding) -> Markup:
    """The cost of one finding; nothing where none is known. In money where there is a price, else in queries."""
    risk, cost = finding.risk, finding.cost
    label = price(finding)
    if risk is not None and risk.basis == "prior" and risk.low is not None and risk.high is not None:
        return _drawn(risk.low, risk.high, "money", risk.currency, label, finding.severity, True)
    if finding.status is not Status.BROKEN or cost is None:
        return Markup("")
    paid = risk.low if risk is not None and risk.basis == "measured" else cost.money
    if paid is not None:
        return _drawn(paid, paid, "money", risk.currency if risk else "", label, finding.severity, False)
    if cost.queries is not None:
        return _drawn(cost.queries, cost.queries, "queries", "", label, finding.severity, False)
    return Markup("")


def chain_bar(chain: Chain, label: str) -> Markup:
    """The summed cost of a chain; hatched as soon as one step is assumed."""
    if chain.low is None or chain.high is None:
        return Markup("")
    return _drawn(chain.low, chain.high, "money", chain.currency, label, "none", chain.basis != "measured")


def _drawn(low: float, high: float, unit: str, currency: str, label: str, severity: str, assumed: bool) -> Markup:
    start, end = _at(low, unit), _at(high, unit)
    parts = [tag("line", x1=_LEFT, x2=_LEFT + _WIDE, y1=15, y2=15, class_="rail")]
    for tick in _TICKS[unit]:
        x = _at(tick, unit)
        anchor = "start" if tick == _TICKS[unit][0] else "middle"
        parts.append(tag("line", x1=x, x2=x, y1=12, y2=18, class_="rail"))
        parts.append(tag("text", _named(tick), x=x, y=30, text_anchor=anchor, class_="tick"))
    if assumed:
        kind = f"assumed weigh-{severity}"
        # Without the pattern the dashed outline still tells an assumption from a measurement.
        parts.append(tag("rect", x=start, y=4, width=max(4.0, end - start), height=12, rx=2, class_=kind, fill=f"url(#{HATCH})"))
    else:
        kind = f"paid weigh-{severity}"
        parts.append(tag("rect", x=_LEFT, y=4, width=max(3.0, end - _LEFT), height=12, rx=2, class_=kind))
    said = clean(currency) or (CURRENCY if assumed else "money") if unit == "money" else "queries"
    parts.append(tag("text", short(said, 10), x=_LEFT + _WIDE + 12, y=19, class_="tick"))
    return tag("svg", tag("title", label), *parts, viewBox=f"0 0 300 {_HIGH}", class_="cost", role="img", aria_label=label)


def _at(value: float, unit: str) -> float:
    """The place on the axis; what lies beyond an end is drawn at the end, and so is what is no number."""
    first, last = _MONEY if unit == "money" else _QUERIES
    if math.isnan(value):
        value = last
    share = math.log10(min(max(value, first), last) / first) / math.log10(last / first)
    return _LEFT + _WIDE * share


def _named(tick: float) -> str:
    return f"{tick / 1e6:.0f} M" if tick >= 1e6 else f"{tick / 1e3:.0f} k" if tick >= 1e4 else f"{tick:.0f}"
