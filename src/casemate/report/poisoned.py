"""What poisoned training data do: the error, or how often it works, against the share of records, beside what needs no skill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from ..core.evidence import Evidence, Interval
from ._aside import Aside, Grid, rows_of
from ._held import entries, number, of, plain_number, points, rated, share
from ._plot import Plot, cross_swatch, even, line_swatch, ordered
from .charts import MAX_SERIES, Drawn, swatch
from .words import clean

Held = tuple[str, Evidence]
_CASES = ("poison", "backdoor", "misread", "adopt")
_BAND = "Band: 95%, paired bootstrap over seeds and rows."
_LINE = "No learner is sure to stay below the Kearns-Li line, whatever it learns, when so many records are malicious."


def error_chart(held: Sequence[Held]) -> Drawn | None:
    """The error on unchanged inputs against the poisoned share, with random flips and the Kearns-Li line."""
    return _chart(held, "test error", "error on unchanged inputs")


def success_chart(held: Sequence[Held]) -> Drawn | None:
    """How often the poison works, above what a clean model does by itself."""
    return _chart(held, "success", "works, above the clean model")


def _chart(held: Sequence[Held], kind: str, y_label: str) -> Drawn | None:
    found = [(id, e, ordered(e.curves.get(kind, ()))) for id, e in held][:MAX_SERIES]
    found = [(id, e, pts) for id, e, pts in found if pts]
    if not found:
        return None
    floor = _floor(found[0][1]) if kind == "test error" else []
    flips = [_flips(e) for _, e, _ in found] if kind == "test error" else []
    most = max(x for _, _, pts in found for x, *_ in pts)
    tops = [high for _, _, pts in found for *_, high in pts] + [y for x, y in floor if x <= most]
    tops += [flip[1] for flip in flips if flip]
    shares = not any("squared" in e.measure for _, e, _ in found)
    top = 1.0 if kind == "success" else max(0.05, max(tops) * 1.05)
    plot = Plot(even(0.0, most or 0.1), even(0.0, min(top, 1.0) if shares else top), share, share if shares else plain_number)
    parts = [plot.frame("share of the training data that is poisoned", y_label)]
    legend: list[tuple[Markup, str]] = []
    parts += [plot.curve(pts, i) for i, (_, _, pts) in enumerate(found)]
    legend += [(swatch(i), f"{e.attack} [{id}]") for i, (id, e, _) in enumerate(found)]
    if len(floor) > 1:
        parts.append(plot.line([(x, y) for x, y in floor if x <= most], "floor"))
        legend.append((line_swatch("floor"), "Kearns-Li line"))
    if any(flips):
        parts += [plot.whisker(*flip) for flip in flips if flip]
        legend.append((cross_swatch(), "as many random flips"))
    label = f"{y_label} against the poisoned share: " + "; ".join(e.attack for _, e, _ in found)
    return Drawn(plot.drawn(label, *parts), tuple(legend), f"{_BAND} {_LINE}" if len(floor) > 1 else _BAND)


def _floor(evidence: Evidence) -> list[tuple[float, float]]:
    pairs = [one for one in entries(evidence.extra.get("kearns_li")) if len(entries(one)) == 2]
    found = [(number(x), number(y)) for x, y in pairs]
    return sorted((x, y) for x, y in found if x is not None and y is not None)


def _flips(evidence: Evidence) -> tuple[float, float, Interval | None] | None:
    """Where as many random flips bring the error: at the share poisoned, on top of the clean error."""
    base, at = evidence.baseline, number(evidence.extra.get("fraction"))
    clean_error = number(evidence.extra.get("clean_error"))
    if base is None or base.name != "random flips" or at is None or clean_error is None:
        return None
    held = base.interval
    up = Interval(clean_error + held.low, clean_error + held.high, held.method, held.level) if held else None
    return at, clean_error + base.rate, up


def aside(evidence: Evidence, id: str) -> Aside | None:
    """What it took and what it did to the clean error, which somebody may notice."""
    extra = evidence.extra
    if evidence.case == "federated":
        return _joint(evidence, id)
    before, after, at = (number(extra.get(name)) for name in ("clean_error", "poisoned_error", "fraction"))
    if evidence.case not in _CASES or before is None or after is None or (at is None and evidence.case != "adopt"):
        return None
    shares = "squared" not in evidence.measure
    amount = share if shares else plain_number
    took = "the published parent"
    if at is not None:
        took = f"{of(extra.get('records'), 'record') or 'the records'} ({share(at)} of the training data)"
    success = number(extra.get("success"))
    if success is None:
        brief = f"error {amount(before)} without poison, {amount(after)} with {took}{_besides(evidence, shares)} [{id}]."
        rows = _error_rows(evidence, before, after, shares)
    else:
        lost = after - before
        does = clean(extra.get("aim") or "backdoor")
        brief = f"{does} works on {share(success)} with {took}; the clean error moves by {points(lost)} [{id}]."
        rows = _success_rows(evidence, success, before, after)
    paid = rows_of(
        ("Records", of(extra.get("records"), "record")), ("Share of the training data", "" if at is None else share(at)),
        ("Seeds", _seeds(extra)),
        ("Labels", "none is changed" if extra.get("clean_labels") is True else ""),
    )  # fmt: skip
    grid = Grid(head=("What it did", "Value"), rows=rows + paid)
    return Aside(title="What the poison does", brief=brief, grids=(grid,), notes=_notes(evidence, at))


def _joint(evidence: Evidence, id: str) -> Aside | None:
    """How many clients it takes to move a joint model, and how far."""
    extra = evidence.extra
    clients, most, needed, way = (number(extra.get(name)) for name in ("clients", "attackers", "needed", "reached"))
    if clients is None or most is None or way is None:
        return None
    few = f"; {needed:.0f} would do" if needed is not None and needed < most else ""
    used = f"{most:.0f} of {clients:.0f} clients"
    brief = f"{used} take the joint model {share(way)} of the way to the one the attacker wants{few} [{id}]."
    errors = [("Error after an honest round", "clean_error"), ("Error with the attacker's clients", "poisoned_error"),
              ("Rise that is left in the end", "rise_in_the_end")]  # fmt: skip
    told = [(label, plain_number(value)) for label, name in errors if (value := number(extra.get(name))) is not None]
    base = evidence.baseline
    rows = rows_of(
        ("Clients", f"{clients:.0f}"), ("Of the attacker", f"{most:.0f}"), ("Needed", "" if needed is None else f"{needed:.0f}"),
        ("Way to the wanted model", share(way)), *told,
        (f"{clean(base.name).capitalize()}" if base else "", "" if base is None else plain_number(base.rate)),
    )  # fmt: skip
    return Aside(title="What the round does", brief=brief, grids=(Grid(head=("What it did", "Value"), rows=rows),))


def _besides(evidence: Evidence, shares: bool) -> str:
    said = ""
    if evidence.baseline is not None and evidence.baseline.name == "random flips" and shares:
        said += f"; as many random flips move it by {points(evidence.baseline.rate)}"
    floor = _floor(evidence)
    return said + (f"; Kearns-Li line at {share(floor[-1][1])}" if floor else "")


def _error_rows(evidence: Evidence, before: float, after: float, shares: bool) -> tuple[tuple[str, ...], ...]:
    base, amount = evidence.baseline, share if shares else plain_number
    spread, floor = number(evidence.extra.get("seed_spread")), _floor(evidence)
    chance = rated(base.rate, base.interval, shares) if base is not None else ""
    return rows_of(
        ("Error without poison", amount(before)), ("Error with it", amount(after)),
        ("Rise", rated(evidence.rate, evidence.interval, shares)),
        (f"{clean(base.name).capitalize()}, rise" if base else "", chance),
        ("Clean models of different seeds differ by", "" if spread is None else amount(spread)),
        ("Kearns-Li line at this share", share(floor[-1][1]) if floor else ""),
    )  # fmt: skip


def _success_rows(evidence: Evidence, success: float, before: float, after: float) -> tuple[tuple[str, ...], ...]:
    by_itself, planted = number(evidence.extra.get("clean_success")), number(evidence.extra.get("planted"))
    return rows_of(
        ("Worked in the parent, before fine-tuning, on", "" if planted is None else share(planted)),
        ("Works on", share(success)), ("A clean model does it by itself on", "" if by_itself is None else share(by_itself)),
        ("Above the clean model", rated(evidence.rate, evidence.interval)),
        ("Error on unchanged inputs, before and after", f"{share(before)}, {share(after)} ({points(after - before)})"),
    )  # fmt: skip


def _seeds(extra: Any) -> str:
    held = entries(extra.get("seeds"))
    return f"{len(held)}" if held else ""


def _notes(evidence: Evidence, at: float | None) -> tuple[str, ...]:
    asked = number(evidence.extra.get("largest_fraction_asked"))
    if asked is None or at is None or asked <= at + 1e-9:
        return ()
    return (f"Up to {share(asked)} was asked for; this budget pays for {share(at)}, and nothing is said beyond it.",)
