"""Telling two kinds apart, as an auditor accepts it: every number with its interval, and none the sample cannot carry.

Scores are ``(n,)`` floats, larger for members; `truth` is ``(n,)`` booleans, True for members. A threshold t says "member"
where ``score >= t``, so equal scores always fall on the same side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri
from scipy.stats import rankdata

from ..core.errors import BadInput
from ..core.evidence import Interval
from ..core.random import RowRandom
from .opinion import Points
from .statistics import clopper_pearson, proportion_bounds

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]

RATES = (0.1, 0.01, 0.001, 0.0001)  # false-positive rates at which a leak is asked for; the last ones show single people
PRIORS = (0.5, 0.1, 0.01)  # shares of members among those the attacker looks at
FLOOR = 1e-4  # where the logarithmic axis of the curve begins
FEWEST = 17  # of each kind: with none of 17 seen, 20 % can be excluded, and with fewer it cannot


def resolution(non_members: int, level: float = 0.95) -> float:
    """The smallest false-positive rate that `non_members` can vouch for: the upper bound with no false positive seen.

    0 of 1000 gives 0.0030. The bound is one-sided, as nothing lies below none.
    """
    return 1.0 if non_members < 1 else float(-math.expm1(math.log(1 - level) / non_members))


def needed(rate: float, level: float = 0.95) -> int:
    """How many non-members vouch for a false-positive rate: the smallest n with ``resolution(n) <= rate``."""
    if not 0 < rate < 1:
        raise BadInput(f"a false-positive rate of {rate:g} cannot be vouched for; give one between 0 and 1")
    return math.ceil(math.log(1 - level) / math.log1p(-rate) - 1e-9)


def tpr_at(score: Scores, truth: Truth, fpr: float) -> dict[str, Any]:
    """The true-positive rate at the loosest threshold whose false-positive rate is at most `fpr`, or why it is refused.

    Ties at the threshold are never let through in part. `fpr` in the answer is the rate really met; with ties it may lie well
    below the one asked for. The threshold is read off the same non-members, so `interval` is that of the true-positive rate
    at this threshold, and `fpr_interval` says how far off the other rate may be.
    """
    members, others = score[truth], np.sort(score[~truth])[::-1]
    need = needed(fpr)
    if len(others) < need:
        return {"refused": f"{len(others)} non-members cannot carry it; {need} can", "needed": need}
    if len(members) < FEWEST:
        return {"refused": f"{len(members)} members are too few for a rate; {FEWEST} are enough", "needed": FEWEST}
    allowed = int(fpr * len(others) + 1e-9)
    bar = others[allowed] if allowed < len(others) else -np.inf  # the first score that must not pass
    hits, false = int((members > bar).sum()), int((others > bar).sum())
    passed = score[score > bar]
    return {
        "tpr": hits / len(members), "interval": clopper_pearson(hits, len(members)),
        "fpr": false / len(others), "fpr_interval": clopper_pearson(false, len(others)),
        "threshold": float(passed.min()) if len(passed) else None,
    }  # fmt: skip


def advantage(member: NDArray[np.bool_], truth: Truth) -> tuple[float, Interval]:
    """``TPR - FPR`` of a yes or no for each, and its interval.

    Both rates are bounded at 97.5 %, so that the difference is bounded at 95 % whatever the two have in common.
    """
    hits, size, false, others = counts(member, truth)
    a, b = clopper_pearson(hits, size, 0.975), clopper_pearson(false, others, 0.975)
    rate = hits / size - false / others
    return rate, Interval(a.low - b.high, a.high - b.low, "Clopper-Pearson, Bonferroni", 0.95)


def balanced_accuracy(member: NDArray[np.bool_], truth: Truth) -> tuple[float, Interval]:
    """Accuracy if half of all were members: ``(1 + advantage) / 2``."""
    rate, interval = advantage(member, truth)
    return (1 + rate) / 2, Interval((1 + interval.low) / 2, (1 + interval.high) / 2, interval.method, interval.level)


def ppv(member: NDArray[np.bool_], truth: Truth, prior: float) -> tuple[float | None, Interval]:
    """How often a "member" is right, where a share `prior` of those looked at are members. None where nobody was named."""
    if not 0 < prior < 1:
        raise BadInput(f"prior={prior:g} is not allowed; give the share of members, between 0 and 1")
    hits, size, false, others = counts(member, truth)
    a, b = clopper_pearson(hits, size, 0.975), clopper_pearson(false, others, 0.975)
    low, high = _right(a.low, b.high, prior), _right(a.high, b.low, prior)
    value = _right(hits / size, false / others, prior) if hits + false else None
    return value, Interval(low, high, "Clopper-Pearson, Bonferroni", 0.95)


def _right(tpr: float, fpr: float, prior: float) -> float:
    return prior * tpr / (prior * tpr + (1 - prior) * fpr) if tpr or fpr else 0.0


def counts(member: NDArray[np.bool_], truth: Truth) -> tuple[int, int, int, int]:
    """``hits, members, false positives, non-members``."""
    return int(member[truth].sum()), int(truth.sum()), int(member[~truth].sum()), int((~truth).sum())


def area(score: Scores, truth: Truth) -> float:
    """Area under the curve: how often a member scores above another, ties half."""
    ranks = rankdata(score)
    size, others = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - size * (size + 1) / 2) / (size * others))


def delong(score: Scores, truth: Truth) -> tuple[float, float]:
    """The area and the variance of its estimate (DeLong et al. 1988), by mid-ranks in O(n log n); ties count half."""
    members, others = score[truth], score[~truth]
    size, rest = len(members), len(others)
    if min(size, rest) < 2:
        raise BadInput(f"{size} members and {rest} others: the variance of an area takes at least 2 of each")
    every = rankdata(score)
    # For each member the share of others below it, for each other the share of members above it.
    beaten = (every[truth] - rankdata(members)) / rest
    beating = 1 - (every[~truth] - rankdata(others)) / size
    return float(beaten.mean()), float(beaten.var(ddof=1) / size + beating.var(ddof=1) / rest)


def area_interval(score: Scores, truth: Truth, method: Literal["delong", "bootstrap"] = "delong", seed: int = 0) -> Interval:
    """A 95 % interval of the area.

    DeLong's variance on the logit scale, which keeps the interval inside [0, 1] and lop-sided near its ends. Where the kinds
    are wholly apart that variance is 0 and says nothing; then the smaller kind, each paired with one of the other kind, gives
    that many independent comparisons, and theirs is the interval.
    """
    if method == "bootstrap":
        return _bootstrap(score, truth, seed)
    size, rest = int(truth.sum()), int((~truth).sum())
    if min(size, rest) < 2:
        return Interval(0.0, 1.0, "too few for an interval", 0.95)
    value, variance = delong(score, truth)
    if value in (0.0, 1.0):
        pairs = min(size, rest)
        exact = clopper_pearson(round(value) * pairs, pairs)
        return Interval(exact.low, exact.high, "Clopper-Pearson on pairs", 0.95)
    reach = float(ndtri(0.975)) * math.sqrt(variance) / (value * (1 - value))
    return Interval(float(expit(logit(value) - reach)), float(expit(logit(value) + reach)), "DeLong, logit", 0.95)


def _bootstrap(score: Scores, truth: Truth, seed: int, draws: int = 500) -> Interval:
    """Percentile bootstrap of the area, members and others drawn apart."""
    members, others = score[truth], score[~truth]
    rng, ids = RowRandom(seed), np.arange(draws)
    a = rng.integers(ids, 0, len(members), (len(members),))
    b = rng.integers(ids, 1, len(others), (len(others),))
    flags = np.r_[np.ones(len(members), bool), np.zeros(len(others), bool)]
    found = [area(np.r_[members[i], others[j]], flags) for i, j in zip(a, b, strict=True)]
    return Interval(float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975)), "bootstrap", 0.95)


def steps(score: Scores, truth: Truth) -> tuple[Scores, NDArray[np.int64], NDArray[np.int64]]:
    """Every threshold that differs, strictest first, with the members and the others it lets through."""
    cuts = np.unique(score)[::-1]
    members, others = np.sort(score[truth]), np.sort(score[~truth])
    return cuts, len(members) - np.searchsorted(members, cuts), len(others) - np.searchsorted(others, cuts)


def roc(score: Scores, truth: Truth, points: int = 60) -> Points:
    """The curve ``(fpr, tpr, low, high)`` at false-positive rates spread evenly over the decades from 1e-4 to 1.

    Each point is a threshold of the sample: the loosest whose rate is at most the one asked for, nothing in between. The band
    is the Clopper-Pearson interval of the true-positive rate at that threshold. Left of ``resolution(non-members)`` the first
    coordinate is not vouched for.
    """
    _, hits, false = steps(score, truth)
    size, others = int(truth.sum()), int((~truth).sum())
    wanted = np.logspace(math.log10(FLOOR), 0, points)
    wanted[-1] = 1.0
    # The strictest threshold may let others through already: then nothing lies at a smaller rate.
    last = np.searchsorted(false / others, wanted + 1e-12, side="right") - 1
    kept = np.unique(last[last >= 0])
    low, high = proportion_bounds(np.r_[0, hits[kept]], size, 0.025)
    x, y = np.r_[0.0, false[kept] / others], np.r_[0.0, hits[kept] / size]
    return [(float(a), float(b), float(c), float(d)) for a, b, c, d in zip(x, y, low, high, strict=True)]


def summary(score: Scores, truth: Truth, member: NDArray[np.bool_], priors: Sequence[float] = PRIORS) -> dict[str, Any]:
    """All of the above as facts, each value beside its interval."""
    hits, size, false, others = counts(member, truth)
    balanced, span = balanced_accuracy(member, truth)
    named = {f"{prior:g}": ppv(member, truth, prior) for prior in priors}
    return {
        "auc": area(score, truth), "auc_interval": area_interval(score, truth),
        "balanced_accuracy": balanced, "balanced_accuracy_interval": span,
        "tpr": hits / size, "fpr": false / others, "members": size, "others": others,
        "resolution": resolution(others),
        "ppv": {prior: {"value": value, "interval": interval} for prior, (value, interval) in named.items()},
        **{f"tpr_at_{rate:g}_fpr": tpr_at(score, truth, rate) for rate in RATES},
    }  # fmt: skip


def slices(score: Scores, truth: Truth, member: NDArray[np.bool_], groups: NDArray[Any]) -> dict[str, Any]:
    """Advantage and area in each group by name, with intervals; a group with too few of a kind is refused with what it needs."""
    found: dict[str, Any] = {}
    for name in np.unique(groups):
        inside = groups == name
        size, others = int(truth[inside].sum()), int((~truth[inside]).sum())
        if min(size, others) < FEWEST:
            why = f"{size} members and {others} others; {FEWEST} of each are enough"
            found[str(name)] = {"members": size, "others": others, "refused": why, "needed": FEWEST}
            continue
        rate, interval = advantage(member[inside], truth[inside])
        found[str(name)] = {
            "members": size, "others": others, "advantage": rate, "interval": interval,
            "auc": area(score[inside], truth[inside]), "auc_interval": area_interval(score[inside], truth[inside]),
        }  # fmt: skip
    return found


def most_exposed(score: Scores, truth: Truth, most: int = 10) -> list[dict[str, Any]]:
    """The members that stand out most: ``row, score`` and the share of others that score as high, smallest first."""
    others = np.sort(score[~truth])
    rows = np.flatnonzero(truth)
    rows = rows[np.argsort(-score[rows], kind="stable")][:most]
    above = (len(others) - np.searchsorted(others, score[rows])) / len(others)
    return [{"row": int(r), "score": float(score[r]), "others_as_high": float(a)} for r, a in zip(rows, above, strict=True)]
