"""Controls before and after, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .words import clean, is_share_of, number, said

_LAST = ("note", "changes")


def hardening(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Head and lines of the before/after table.

    Takes `x_before`/`x_after` pairs as well as records under `before` and `after`; each becomes one cell "a → b".
    """
    flat = [_pairs(row) for row in rows]
    found = dict.fromkeys(key for row in flat for key, text in row.items() if text)
    head = tuple(sorted(found, key=_LAST.__contains__))  # the long cells stand last: they take the room that is left
    return tuple(clean(key).replace("_", " ") for key in head), tuple(tuple(row.get(key, "") for key in head) for row in flat)


def _pairs(row: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, Any] = {}
    row = _folded(row)
    for key, value in row.items():
        if key == "changes":
            value = ";\n".join(change_words(change) for change in value)
        nested = isinstance(value, Mapping) and key in ("before", "after")
        flat |= {f"{inner}_{key}": v for inner, v in value.items()} if nested else {key: value}
    found: dict[str, str] = {}
    for key, value in flat.items():
        name = key.removesuffix("_before").removesuffix("_after")
        if f"{name}_before" in flat and f"{name}_after" in flat:
            found[name] = " → ".join(_number(name, flat[f"{name}_{when}"]) or "none" for when in ("before", "after"))
        else:
            found[key] = _number(key, value)
    return found


def _folded(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with what belongs together in one cell: the cheapest break, and a latency that did not change."""
    found = dict(row)
    cheapest, same = found.pop("cheapest", None), found.pop("latency_same", False)
    found.pop("latency_ms_difference", None)
    if cheapest:
        del found["cost_before"], found["cost_after"]
        if decided(cheapest):
            found["cheapest break"] = change_words(cheapest)
    if same:
        found.pop("latency_ms_before", None)
        found["latency_ms"] = f"no difference ({_number('', found.pop('latency_ms_after', None))})"
    return found


def decided(cheapest: Mapping[str, Any]) -> bool:
    """Whether there is a cheapest break to speak of: an attack on decisions was run, on one side at least."""
    return bool(cheapest.get("attack_before") or cheapest.get("attack_after"))


def change_words(change: Mapping[str, Any]) -> str:
    """What a control did to one threat: status, measure and cost, before and after, and whether they differ."""
    sides = []
    for when in ("before", "after"):
        cost = change.get(f"cost_{when}")
        words = [said(change.get(when) or "none"), _rate(change, when), f"({said(cost)})" if cost else ""]
        sides.append(" ".join(word for word in words if word))
    lead = f"{clean(change['threat'])}: " if change.get("threat") else ""
    difference = change.get("difference")
    return f"{lead}{' → '.join(sides)}{f'; {clean(difference)}' if difference else ''}"


def _rate(change: Mapping[str, Any], when: str) -> str:
    """A measure with its interval, and by which attack."""
    rate, interval = change.get(f"rate_{when}"), change.get(f"interval_{when}")
    if rate is None:
        return ""
    measure = str(change.get(f"measure_{when}") or change.get("measure", ""))
    share = is_share_of(measure, rate)
    between = ""
    if interval:
        low, high = (number(value, share).removesuffix("%") for value in interval)
        between = f" [{low}, {high}]"
    name = "" if share else f"{clean(measure)} "
    return f"{name}{number(rate, share)}{between} by {clean(change.get(f'attack_{when}', ''))}"


def _number(key: str, value: Any) -> str:
    if value is None:
        return "not shown"
    if isinstance(value, float) and 0 <= value <= 1 and any(word in key for word in ("rate", "accuracy", "rejected", "share")):
        return f"{100 * value:.1f}%"
    return f"{value:.3g}" if isinstance(value, float) else said(value)
