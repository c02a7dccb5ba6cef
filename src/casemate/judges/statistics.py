"""Intervals and estimates that judges share. A statistic that the sample cannot carry is refused, not printed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from ..core.errors import BadInput
from ..core.evidence import Interval
from ..core.random import RowRandom


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> Interval:
    """The exact two-sided interval of a proportion (Clopper and Pearson 1934). ``n = 0`` gives [0, 1]."""
    if not 0 <= hits <= n:
        raise BadInput(f"{hits} hits out of {n} is no proportion")
    low, high = proportion_bounds(hits, n, (1 - level) / 2)
    return Interval(float(low), float(high), "Clopper-Pearson", level)


def proportion_bounds(hits: Any, n: int, tail: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The exact lower and upper bound of proportions, each wrong with probability at most `tail`.

    Args:
        hits: Whole numbers in 0..n, of any shape; the bounds have the same shape. Equal counts are worked out once.
    """
    counts = np.asarray(hits)
    some, back = np.unique(counts, return_inverse=True)
    low, high = np.zeros(len(some)), np.ones(len(some))
    above, below = some > 0, some < n
    low[above] = betaincinv(some[above], n - some[above] + 1, tail)
    high[below] = betaincinv(some[below] + 1, n - some[below], 1 - tail)
    return low[back].reshape(counts.shape), high[back].reshape(counts.shape)


def bootstrap(values: Any, statistic: Any = np.mean, *, draws: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """The percentile bootstrap interval of `statistic` over the first axis of `values`, the same on every machine."""
    values = np.asarray(values)
    picks = RowRandom(seed).integers(np.arange(draws), 0, len(values), (len(values),))
    found = np.sort([float(statistic(values[pick])) for pick in picks])
    tail = (1 - level) / 2
    return Interval(float(np.quantile(found, tail)), float(np.quantile(found, 1 - tail)), "bootstrap", level)


def kaplan_meier(times: Any, events: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The share broken by each time, with censoring: ``times, broken, standard error`` at the event times.

    Args:
        times: ``(n,)`` when each row broke, or when it was last seen unbroken.
        events: ``(n,)`` booleans: whether it broke.
    """
    times, events = np.asarray(times, float), np.asarray(events, bool)
    at = np.unique(times[events])
    risk = np.array([(times >= t).sum() for t in at], float)
    fell = np.array([((times == t) & events).sum() for t in at], float)
    alive = np.cumprod(1 - fell / risk)
    # Greenwood's variance; the last step to zero has none.
    term = np.divide(fell, risk * (risk - fell), out=np.zeros_like(fell), where=risk > fell)
    return at, 1 - alive, alive * np.sqrt(np.cumsum(term))


def median_time(times: Any, events: Any) -> float | None:
    """When half the rows had broken, by Kaplan-Meier; None where fewer than half did (the median is censored)."""
    at, broken, _ = kaplan_meier(times, events)
    half = np.flatnonzero(broken >= 0.5 - 1e-12)
    return float(at[half[0]]) if len(half) else None


def curve(times: Any, events: Any, points: int = 60) -> list[tuple[float, float, float, float]]:
    """The share broken against what was spent, with a pointwise 95 % band: ``(spent, share, low, high)``."""
    at, broken, error = kaplan_meier(times, events)
    if len(at) > points:
        keep = np.unique(np.linspace(0, len(at) - 1, points).astype(int))
        at, broken, error = at[keep], broken[keep], error[keep]
    low, high = np.clip(broken - 1.96 * error, 0, 1), np.clip(broken + 1.96 * error, 0, 1)
    return [tuple(map(float, point)) for point in zip(at, broken, low, high, strict=True)]  # type: ignore[misc]


def least_fpr(non_members: int, level: float = 0.95) -> float:
    """The smallest false-positive rate that `non_members` samples can vouch for: the upper bound with none seen."""
    return clopper_pearson(0, non_members, level).high
