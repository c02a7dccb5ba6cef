"""From counts and health to a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.evidence import Baseline, Check, Interval, Verdict

WIDE = 0.10  # health check 24: an interval wider than this cannot carry a fine comparison


def width_check(interval: Interval) -> Check:
    """Health check 24."""
    width = interval.high - interval.low
    return Check(24, "sample large enough", width <= WIDE, f"interval {interval}, {100 * width:.0f} points wide", fatal=False)


def rate_verdict(hits: int, n: int, health: Sequence[Check], baseline: Baseline | None) -> tuple[Verdict, tuple[str, ...]]:
    """`broken` where any row was; otherwise `resisted` by a healthy attack and `inconclusive` by an unhealthy one."""
    sick = [f"check {c.number}, {c.name}: {c.detail}" for c in health if c.fatal and c.ok is False]
    if n == 0:
        return Verdict.INCONCLUSIVE, ("no row was right at the start, so there was nothing to attack",)
    if hits:
        reasons = list(sick)
        if baseline and baseline.rate >= hits / n:
            reasons.append(f"{baseline.name} does as well ({baseline.rate:.2f}): the system fails without an attacker's skill")
        return Verdict.BROKEN, tuple(reasons)
    return (Verdict.INCONCLUSIVE, tuple(sick)) if sick else (Verdict.RESISTED, ())
