"""From counts and health to a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.evidence import Baseline, Check, Interval, Verdict
from .statistics import clopper_pearson

MOST = 0.20  # with no row broken, the upper end of the interval that `resisted` still stands for: from 17 rows on
WIDE = 0.10  # health check 24: an interval wider than this cannot carry a fine comparison


def width_check(interval: Interval) -> Check:
    """Health check 24."""
    width = interval.high - interval.low
    return Check(24, "sample large enough", width <= WIDE, f"interval {interval}, {100 * width:.0f} points wide", fatal=False)


def failures(health: Sequence[Check]) -> tuple[str, ...]:
    """The fatal checks that failed, in words."""
    return tuple(f"check {c.number}, {c.name}: {c.detail}" for c in health if c.fatal and c.ok is False)


def unknowns(health: Sequence[Check]) -> tuple[str, ...]:
    """The fatal checks that could not be measured, in words: what is not known to be healthy may not say `resisted`."""
    open_ = (c for c in health if c.fatal and c.applies and c.ok is None)
    return tuple(f"check {c.number}, {c.name}, was not measured: {c.detail}" for c in open_)


def rate_verdict(hits: int, n: int, health: Sequence[Check], baseline: Baseline | None) -> tuple[Verdict, tuple[str, ...]]:
    """`broken` where any row was; `resisted` where none was, by a healthy attack that chance does not beat, on enough rows."""
    sick = failures(health)
    if n == 0:
        apart = "".join(f": {c.detail}" for c in health if c.number == 25)
        return Verdict.INCONCLUSIVE, (f"no row was right at the start, so there was nothing to attack{apart}",)
    if hits:
        reasons = list(sick)
        if baseline and baseline.rate >= hits / n:
            reasons.append(f"{baseline.name} does as well ({baseline.rate:.2f}): the system fails without an attacker's skill")
        return Verdict.BROKEN, tuple(reasons)
    doubts = [*sick, *unknowns(health)]
    if baseline and baseline.rate > 0:
        doubts.append(f"random changes break {100 * baseline.rate:.3g} %: the attack is weaker than chance")
    if clopper_pearson(0, n).high > MOST:
        doubts.append(f"{n} {'row' if n == 1 else 'rows'} cannot exclude that {100 * MOST:g} % break")
    return (Verdict.INCONCLUSIVE, tuple(doubts)) if doubts else (Verdict.RESISTED, ())
