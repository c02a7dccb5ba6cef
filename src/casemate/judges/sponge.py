"""Judging costly inputs: their work against that of honest ones, counted again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.availability import Heavy, Sponge
from ..core.evidence import Baseline, Check
from ..core.target import count
from .opinion import Opinion, failed
from .statistics import bootstrap

MEASURE = "work ratio to the costliest honest input"
FEWEST = 20  # honest inputs below which the costliest of them says little
ALPHA = 0.05
SEARCHED = 50  # inputs bred below which finding nothing says nothing


def judge(case: Sponge, claim: Heavy | None, *, seconds: Mapping[str, float] | None = None, queries: int = 0) -> Opinion:
    """`broken` when an input causes more than `case.factor` times the work of the costliest honest one, by count.

    More than any honest input but no more than that line is `inconclusive`, unless it is proven that nothing costs more. Time
    is told beside the count and decides nothing.

    Args:
        seconds: Medians of measured answer times by name, each name ending in ``_seconds``.
        queries: Deployed queries the search took.
    """
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("no input was tried",))
    if problem := claim.malformed(case):
        return failed(MEASURE, count(claim.x), problem)
    honest, costly = case.work(case.x), case.work(claim.x)
    n, most, top = len(honest), float(honest.max()), float(costly.max())
    if most <= 0:
        return failed(MEASURE, n, f"no honest input causes any work by this count ({case.work.name})")
    false = claim.bound is not None and claim.bound < top * (1 - 1e-9)
    enough, ratio = n >= FEWEST, top / most
    broken = enough and ratio > case.factor
    return Opinion(
        measure=MEASURE, rate=ratio, n=n, broken=broken, baseline=Baseline("the costliest honest input", 1.0),
        why=(_said(case, honest, top),), undecided=_undecided(case, claim, ratio, most, enough),
        checks=(
            Check(4, "claim is valid", not false, "a bound below what was found" if false else "counted again"),
            Check(61, "enough honest inputs", enough, f"{n} honest inputs; {FEWEST} are the fewest"),
        ),
        queries=float(queries) if broken else None,
        extra=_facts(case, claim, honest, top) | dict(seconds or {}), rows={"work": costly},
    )  # fmt: skip


def _said(case: Sponge, honest: Any, top: float) -> str:
    unit = f" {case.work.unit}" if case.work.unit else ""
    mean, most = float(honest.mean()), float(honest.max())
    times = f"{top / mean:.3g} times the mean of honest inputs" if mean else "honest inputs cause none on average"
    return f"{case.work.name}: {top:.4g}{unit}, {times} and {top / most:.3g} times the most ({most:.4g})"


def _undecided(case: Sponge, claim: Heavy, ratio: float, most: float, enough: bool) -> str:
    """Why what is not broken did not resist; empty where nothing speaks against it."""
    if claim.bound is None and claim.detail.get("bred", SEARCHED) < SEARCHED:
        return f"only {claim.detail['bred']} inputs were bred, too few for a search; give it more queries"
    if not enough or not 1 < ratio <= case.factor or (claim.bound is not None and claim.bound <= case.factor * most):
        return ""
    return f"more work than any honest input, and no more than {case.factor:g} times as much"


def _facts(case: Sponge, claim: Heavy, honest: Any, top: float) -> dict[str, Any]:
    n, mean = len(honest), float(honest.mean())
    spread = bootstrap(honest)
    facts: dict[str, Any] = {
        "work": case.work.name, "unit": case.work.unit, "found": top, "honest_mean": mean, "honest_most": float(honest.max()),
        "to_mean": top / mean, "to_mean_interval": [top / max(spread.high, 1e-300), top / max(spread.low, 1e-300)],
        # Of n honest inputs the next one is costlier than all with chance 1 / (n + 1); this is the bound at 95 %.
        "honest_beyond_at_most": 1 - ALPHA ** (1 / n), "factor": case.factor, "most_there_can_be": case.work.most,
        "proven_bound": claim.bound, **claim.detail,
    }  # fmt: skip
    if case.work.most:
        facts["share_of_most"] = top / case.work.most
    for name, measure in case.work.beside.items():
        facts[name] = {"found": float(np.max(measure(claim.x))), "honest_mean": float(np.mean(measure(case.x)))}
        facts[name]["honest_most"] = float(np.max(measure(case.x)))
    return facts
