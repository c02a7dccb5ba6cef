"""Judging membership guesses: how much better than a prior guess, and what the sample cannot say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..core.case import Guesses, Infer
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check, Interval
from ..core.random import RowRandom
from ..core.target import count, to_numpy
from .opinion import Opinion, Points, column, failed
from .statistics import clopper_pearson, least_fpr

MEASURE = "membership advantage"
LINE = 0.1  # an advantage that matters: one guess in ten better than chance
LOW_RATES = (0.01, 0.001)  # false-positive rates at which a leak of single people shows


def judge(case: Infer, claim: Guesses | None, queries: int) -> Opinion:
    """Compare guesses with the truth.

    The measure is ``TPR - FPR`` of the attacker's commitment. Its interval takes the Clopper-Pearson bounds of both rates at
    a level of 97.5 % each, so that it holds at 95 % whatever the two have in common (Bonferroni). `broken` when it lies
    above 0. A true-positive rate at a false-positive rate that the non-members cannot vouch for is refused.
    """
    truth = np.asarray(to_numpy(case.truth), bool) if case.truth is not None else np.zeros(0, bool)
    if len(truth) != count(case.x) or truth.all() or not truth.any():
        raise BadInput("membership is judged on members and others; give truth= with at least one of each, one per row of x")
    n = len(truth)
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack claimed nothing",))
    score, member = np.asarray(to_numpy(claim.score), float), np.asarray(to_numpy(claim.member))
    if score.shape != (n,) or member.shape != (n,) or member.dtype.kind != "b" or not np.isfinite(score).all():
        return failed(MEASURE, n, f"guesses must be {n} finite scores and {n} booleans")
    rate, interval = advantage(member, truth)
    auc = area(score, truth)
    extra: dict[str, Any] = {
        "auc": auc, "auc_interval": _auc_interval(score, truth),
        "tpr": float(member[truth].mean()), "fpr": float(member[~truth].mean()),
        "members": int(truth.sum()), "others": int((~truth).sum()), **claim.detail,
    }  # fmt: skip
    extra |= {f"tpr_at_{fpr:g}_fpr": tpr_at(score, truth, fpr) for fpr in LOW_RATES}
    return Opinion(
        measure=MEASURE, rate=rate, interval=interval, n=n, broken=interval.low > 0, line=LINE,
        why=(f"the interval {interval} of the advantage lies {'above' if interval.low > 0 else 'not above'} 0",),
        baseline=Baseline("prior guess", 0.0), checks=(_alike(case, truth),),
        queries=float(queries) if interval.low > 0 else None,
        curves={"roc": roc(score, truth)}, extra=extra,
        rows={"row": np.arange(n), "member": truth, "guess": member.astype(bool), "score": score, "label": column(case.y)},
    )  # fmt: skip


def advantage(member: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, Interval]:
    """``TPR - FPR`` and its interval."""
    hits, size = int(member[truth].sum()), int(truth.sum())
    false, others = int(member[~truth].sum()), int((~truth).sum())
    a, b = clopper_pearson(hits, size, 0.975), clopper_pearson(false, others, 0.975)
    rate = hits / size - false / others
    return rate, Interval(a.low - b.high, a.high - b.low, "Clopper-Pearson, Bonferroni", 0.95)


def area(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a member scores above another, ties half."""
    ranks = rankdata(score)
    size, others = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - size * (size + 1) / 2) / (size * others))


def _auc_interval(score: NDArray[np.float64], truth: NDArray[np.bool_], draws: int = 500) -> Interval:
    """Percentile bootstrap of the area, members and others drawn apart."""
    members, others = score[truth], score[~truth]
    rng, ids = RowRandom(0), np.arange(draws)
    a = rng.integers(ids, 0, len(members), (len(members),))
    b = rng.integers(ids, 1, len(others), (len(others),))
    flags = np.r_[np.ones(len(members), bool), np.zeros(len(others), bool)]
    found = [area(np.r_[members[i], others[j]], flags) for i, j in zip(a, b, strict=True)]
    return Interval(float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975)), "bootstrap", 0.95)


def tpr_at(score: NDArray[np.float64], truth: NDArray[np.bool_], fpr: float) -> dict[str, Any]:
    """True-positive rate at the loosest threshold whose false-positive rate is at most `fpr`, or why it is refused."""
    others = np.sort(score[~truth])[::-1]
    if least_fpr(len(others)) > fpr:
        return {"refused": f"{len(others)} non-members cannot carry it"}
    allowed = int(fpr * len(others) + 1e-9)
    hits = int((score[truth] > others[allowed]).sum())  # strictly above the first score that must not pass
    size = int(truth.sum())
    return {"tpr": hits / size, "interval": clopper_pearson(hits, size)}


def roc(score: NDArray[np.float64], truth: NDArray[np.bool_], points: int = 60) -> Points:
    """The ROC curve ``(fpr, tpr, low, high)`` with a Clopper-Pearson band of the true-positive rate at each threshold."""
    cuts = np.unique(score)[::-1]
    if len(cuts) > points:
        cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, points).astype(int))]
    size, found = int(truth.sum()), [(0.0, 0.0, 0.0, clopper_pearson(0, int(truth.sum())).high)]
    for cut in cuts:
        hits = int((score[truth] >= cut).sum())
        band = clopper_pearson(hits, size)
        found.append((float((score[~truth] >= cut).mean()), hits / size, band.low, band.high))
    return found


def _alike(case: Infer, truth: NDArray[np.bool_]) -> Check:
    """Members and others must come from one source, or their classes alone tell them apart."""
    label = column(case.y)
    if label.dtype.kind == "f":
        why = "does not apply: labels are numbers, and their shares cannot be compared"
        return Check(33, "members and others alike", None, why, fatal=False, applies=False)
    shares = [np.array([(label[side] == name).mean() for name in np.unique(label)]) for side in (truth, ~truth)]
    apart = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return Check(33, "members and others alike", apart <= 0.15, f"class shares differ by {100 * apart:.0f} points", fatal=False)
