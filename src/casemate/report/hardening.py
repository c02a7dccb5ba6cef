"""Controls before and after, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .words import clean, said


def hardening(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Head and lines of the before/after table.

    Takes `x_before`/`x_after` pairs as well as records under `before` and `after`; each becomes one cell "a → b".
    """
    flat = [_pairs(row) for row in rows]
    head = tuple(dict.fromkeys(key for row in flat for key, text in row.items() if text))
    return tuple(clean(key).replace("_", " ") for key in head), tuple(tuple(row.get(key, "") for key in head) for row in flat)


def _pairs(row: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key == "changes":
            value = ";\n".join(_change(change) for change in value)
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


def _change(change: Mapping[str, Any]) -> str:
    """What a control did to one threat: status and cost, before and after."""
    sides = []
    for when in ("before", "after"):
        cost = change.get(f"cost_{when}")
        sides.append(f"{said(change.get(when, ''))}{f' ({said(cost)})' if cost else ''}")
    return f"{clean(change.get('threat', ''))}: {' → '.join(sides)}"


def _number(key: str, value: Any) -> str:
    if value is None:
        return "not shown"
    if isinstance(value, float) and 0 <= value <= 1 and any(word in key for word in ("rate", "accuracy", "rejected", "share")):
        return f"{100 * value:.1f}%"
    return f"{value:.3g}" if isinstance(value, float) else said(value)
