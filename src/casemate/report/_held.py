"""What a judge left beside its rate, read with care: a key that is absent, or holds something else, is None, never an error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.evidence import Interval
from .words import count_of


def record(value: Any) -> Mapping[str, Any]:
    """The value where it is a mapping with names as keys, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def entries(value: Any) -> Sequence[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def number(value: Any) -> float | None:
    """A finite number; None for anything else, a yes or no included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def span(value: Any) -> Interval | None:
    """An interval, whether kept as one, as a mapping, or as ``[low, high]`` at 95 %."""
    if isinstance(value, Interval):
        value = {"low": value.low, "high": value.high, "method": value.method, "level": value.level}
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        value = {"low": value[0], "high": value[1]}
    held = record(value)
    low, high, level = number(held.get("low")), number(held.get("high")), number(held.get("level", 0.95))
    if low is None or high is None or level is None:
        return None
    return Interval(low, high, str(held.get("method", "")), level)


def share(value: float) -> str:
    """A share in three digits: ``25.7%``, ``0.12%``. Small ones are what an auditor looks for."""
    return f"{100 * value:.3g}%"


def plain_number(value: float) -> str:
    """Any other number in three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def points(value: float) -> str:
    """A difference of two shares: ``+1.2 points``."""
    return f"{100 * value:+.3g} points"


def room(interval: Interval | None, shares: bool = True) -> str:
    """``12.1 to 18%``, for a column whose head says what it is; empty where there is none."""
    if interval is None:
        return ""
    low, high = (share(v) if shares else plain_number(v) for v in (interval.low, interval.high))
    return f"{low.removesuffix('%')} to {high}"


def between(interval: Interval | None, shares: bool = True) -> str:
    """``95% interval 12.1 to 18%``; empty where there is none."""
    return "" if interval is None else f"{100 * interval.level:.3g}% interval {room(interval, shares)}"


def rated(value: float | None, interval: Interval | None, shares: bool = True) -> str:
    """A value with its interval behind it; empty where there is no value."""
    if value is None:
        return ""
    text = share(value) if shares else plain_number(value)
    return f"{text} ({between(interval, shares)})" if interval else text


def listed(value: Any) -> tuple[float | None, Interval | None]:
    """A rate with its interval kept as ``[rate, low, high]`` or as ``rate, low, high`` by name."""
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3:
        return number(value[0]), span(list(value[1:]))
    held = record(value)
    return number(held.get("rate")), span(held.get("interval") or held)


def of(count: Any, one: str, many: str = "") -> str:
    """A count in words; empty where there is none."""
    held = number(count)
    return "" if held is None else count_of(held, one, many)
