"""Judging an audit with canaries: the epsilon that training claims against the least it can be, from one training run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from ..core.case import Audit, Guesses
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check
from ..core.target import count, to_numpy
from .blind import Blind, blind, unseen
from .epsilon import Bound, one_run
from .opinion import Opinion, column, failed
from .roc import area, area_interval, roc

MEASURE = "audited epsilon, lower bound"
ALPHA = 0.05
SHARES = (1.0, 0.5, 0.2, 0.1, 0.05)  # of the canaries guessed about, fixed before any score is seen; the rest are abstained from
LINE = 1.0  # where nothing is claimed: up to here nobody is right about a record more often than 73 times in a hundred
UNFAIR = 1e-4  # a fair coin is called unfair once in ten thousand audits

Scores = NDArray[np.float64]


def judge(case: Audit, claim: Guesses | None, queries: int) -> Opinion:
    """The largest of several one-run bounds, each at its share of alpha, against the claim.

    For each share of the canaries, fixed beforehand, the highest scores are guessed to be in and as many of the lowest out.
    `broken` where the bound exceeds the epsilon that training claims, or where it claims none, where it exceeds 1. Where even
    a perfect attack could not have shown so much, nothing is decided; nor where the canaries that went in are told from the
    rest without the model (check 50), as no fair coin then chose them, and no bound holds; nor where that was not looked at.
    """
    truth = np.asarray(to_numpy(case.truth), bool) if case.truth is not None else np.zeros(0, bool)
    if len(truth) != count(case.x) or truth.all() or not truth.any():
        raise BadInput("an audit is judged on canaries that went in and others that did not; give truth=, one for each row of x")
    m = len(truth)
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack claimed nothing",))
    score = np.asarray(to_numpy(claim.score), float)
    if score.shape != (m,) or not np.isfinite(score).all():
        return failed(MEASURE, m, f"guesses must be {m} finite scores")
    bounds = audited(score, truth, case.delta)
    best = max(bounds, key=lambda found: found.epsilon)
    allowed = LINE if case.epsilon is None else case.epsilon
    seen = blind(case.x, case.y, truth, np.arange(m))
    broken = best.epsilon > allowed and seen is not None and not seen.clear
    most = max(found.cap for found in bounds)
    return Opinion(
        measure=MEASURE, rate=best.epsilon, n=m, broken=broken, why=(_said(best.epsilon, most, case),),
        undecided="" if most > allowed else f"even a perfect attack on {m} canaries shows no more than {most:.2f}",
        baseline=Baseline("coin", 0.0), checks=(_coin(truth), _blind(seen, truth)), queries=float(queries) if broken else None,
        curves={"roc": roc(score, truth)},
        extra=_facts(case, score, truth, bounds, most) | ({} if seen is None else {"blind": seen.facts()}) | claim.detail,
        rows={"row": np.arange(m), "member": truth, "score": score, "label": column(case.y)},
    )  # fmt: skip


def audited(score: Scores, truth: NDArray[np.bool_], delta: float) -> list[Bound]:
    """One bound for each share of guesses; together they hold at 95 %."""
    m, order = len(score), np.argsort(score, kind="stable")
    found = []
    for share in SHARES:
        each = max(1, int(share * m) // 2)
        right = int(truth[order[-each:]].sum()) + int((~truth[order[:each]]).sum())
        found.append(one_run(m, 2 * each, right, alpha=ALPHA / len(SHARES), delta=delta))
    return found


def exposure(inside: Scores, outside: Scores) -> Scores:
    """``log2`` of how many times likelier than by chance a search in order of score meets each canary that went in.

    Args:
        inside: Scores of the canaries that went in ``(m,)``, larger for more likely.
        outside: Scores of those that did not: the references ``(r,)``. One with the same score is met first, so that a model
            that scores all alike exposes nobody.

    Returns:
        ``log2(r + 1) - log2(rank)``, ``(m,)``. Of a model that never saw them the mean tends to log2 e = 1.44.
    """
    ordered = np.sort(np.asarray(outside, float))
    rank = 1 + len(ordered) - np.searchsorted(ordered, np.asarray(inside, float), side="left")
    return np.asarray(np.log2(len(ordered) + 1) - np.log2(rank))


def _facts(case: Audit, score: Scores, truth: NDArray[np.bool_], bounds: list[Bound], most: float) -> dict[str, Any]:
    shown = exposure(score[truth], score[~truth])
    return {
        "claimed": case.epsilon, "delta": case.delta, "audited": max(found.epsilon for found in bounds), "detectable": most,
        "bounds": [{"guesses": int(2 * max(1, int(share * len(score)) // 2)), "epsilon": found.epsilon, "cap": found.cap,
                    "alpha": found.alpha} for share, found in zip(SHARES, bounds, strict=True)],
        "auc": area(score, truth), "auc_interval": area_interval(score, truth),
        "exposure_mean": float(shown.mean()), "exposure_most": float(shown.max()), "exposure_by_chance": float(np.log2(np.e)),
    }  # fmt: skip


def _said(epsilon: float, most: float, case: Audit) -> str:
    claimed = f"no epsilon is claimed, and the line is {LINE:g}" if case.epsilon is None else f"{case.epsilon:g} is claimed"
    return f"epsilon is at least {epsilon:.2f} at delta {case.delta:g}; {claimed}; a perfect attack would have shown {most:.2f}"


def _blind(seen: Blind | None, truth: NDArray[np.bool_]) -> Check:
    """What went in must not show in the canaries themselves."""
    found = unseen(truth) if seen is None else seen.check()
    return replace(found, detail=f"{found.detail}, by fair coins; as it is no bound holds") if found.ok is False else found


def _coin(truth: NDArray[np.bool_]) -> Check:
    """The bound rests on fair coins; so many heads must not be a wonder."""
    p = float(binomtest(int(truth.sum()), len(truth)).pvalue)
    return Check(47, "canaries by a fair coin", p >= UNFAIR, f"{int(truth.sum())} of {len(truth)} went in")
