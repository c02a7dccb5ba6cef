"""Telling members from others without the model: where that works, the two kinds differ, and an attack may show no more.

Members collected at another time or place than the others are told by their records alone (arXiv:2406.16201 finds published
attacks that do worse than that). Two guesses that need nothing but numpy learn who is a member from some of the records and
tell it of the rest: a linear one, for what is shifted as a whole, and random ferns, for tails, ranges and combinations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from ..core.evidence import Check, Interval
from ..core.random import RowRandom
from ..core.target import take, to_numpy
from .records import numbers
from .roc import FEWEST, advantage, delong, tpr_at
from .statistics import clopper_pearson

NUMBER, NAME = 50, "no telling apart without the model"
MOST = 2000  # records of each kind that are looked at; of more, some by a fixed seed
LEVEL = 0.99  # of the intervals of both guesses together: one fair split in two hundred is taken for a shifted one
MARGIN = 0.05  # how far an attack must get beyond a guess that is quick, and not the best there is
ADVICE = "take both at random from the same pool"
FOLDS = 5
TAUGHT = 2.0  # by how much the variance of the area grows because every record also teaches: measured at chance, 1.4 to 2.2
TAIL = 0.01  # of the values of a column, on each side, that the linear guess takes for outliers
RIDGE = 0.1  # of the mean variance, added to each: few records, many columns
WIDEST = 200  # columns of the linear guess, those furthest apart in the records it learns from
FERNS, DEPTH, KEPT = 1000, 3, 100  # drawn, splits of each, and how many of them vote
PRIOR = 5.0  # records that a leaf of a fern is taken to hold already, in the proportion of all

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Blind:
    """The better of the two guesses, each record judged by a guess that did not learn from it.

    Args:
        rows: Places of the records looked at ``(m,)``.
        truth, score: Who of them is a member, and how much it looks like one ``(m,)``.
        by: Which guess it is.
        auc, interval: Its area under the curve; the interval holds for both guesses together.
    """

    rows: NDArray[np.int64]
    truth: Flags
    score: Floats
    by: str
    auc: float
    interval: Interval

    @property
    def clear(self) -> bool:
        """Whether members and others differ for sure."""
        return self.interval.low > 0.5

    def naming(self, member: Flags) -> Flags:
        """Who this guess would name, if it named as many of ``rows`` as `member` ``(n,)`` does; equal scores stay together."""
        many = int(member[self.rows].sum())
        if not 0 < many < len(self.rows):
            return np.full(len(self.rows), many > 0)
        bar = np.sort(self.score)[::-1][many - 1]
        few, more = np.asarray(self.score > bar), np.asarray(self.score >= bar)
        if int(more.sum()) == many:
            return more
        return few if advantage(few, self.truth)[0] > advantage(more, self.truth)[0] else more

    def beyond(self, member: Flags, seed: int = 0, draws: int = 2000) -> tuple[float, Interval]:
        """The advantage of `member` ``(n,)`` less that of this guess on the same records, with its paired bootstrap interval."""
        apart = member[self.rows].astype(int) - self.naming(member).astype(int)
        kinds = [np.bincount(apart[side] + 1, minlength=3) for side in (self.truth, ~self.truth)]
        rng = RowRandom(seed).fork(0xB11D).generator(0)
        # To draw records again is to draw again how many are won, alike and lost.
        means = [rng.multinomial(sum(kind), kind / sum(kind), draws) @ [-1, 0, 1] / sum(kind) for kind in kinds]
        low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
        rate = float(apart[self.truth].mean() - apart[~self.truth].mean())
        return rate, Interval(float(low), float(high), "paired bootstrap", 0.95)

    def check(self) -> Check:
        """A shifted split tells nothing of the model, whichever way the attack went."""
        said = f"without the model the area under the curve is {self.auc:.3f} {self.interval} ({self.by}, n = {len(self.rows)})"
        said += f"; members and others differ: {ADVICE}" if self.clear else ""
        return Check(NUMBER, NAME, not self.clear, said)

    def facts(self) -> dict[str, Any]:
        """What a report says of it."""
        return {
            "auc": self.auc, "auc_interval": self.interval, "by": self.by, "records": len(self.rows), "clear": self.clear,
            **{f"tpr_at_{rate:g}_fpr": tpr_at(self.score, self.truth, rate) for rate in (0.1, 0.01)},
        }  # fmt: skip

    def against(self, member: Flags) -> dict[str, Any]:
        """The advantage of naming as many as `member` ``(n,)`` does, and how far that one goes beyond it."""
        rate, interval = advantage(self.naming(member), self.truth)
        more, span = self.beyond(member)
        return {"advantage": rate, "interval": interval, "beyond": more, "beyond_interval": span}


def blind(x: Any, y: Any, truth: Flags, rows: NDArray[np.int64]) -> Blind | None:
    """Guess who of ``rows`` is a member from inputs and labels alone; None where that says nothing (see `unseen`).

    Args:
        x, y: Inputs of any kind ``(n, ...)`` and their labels ``(n,)``.
        truth: ``(n,)`` who is a member.
        rows: Places that count, none of them twice.
    """
    sides = [rows[truth[rows]], rows[~truth[rows]]]
    if min(map(len, sides)) < FEWEST:
        return None
    rng = RowRandom(0)
    kept = np.sort(np.concatenate([side[np.argsort(rng.uniform(side, 0), kind="stable")][:MOST] for side in sides]))
    member, labels = truth[kept], np.asarray(to_numpy(y))[kept]
    known = numbers(take(x, kept), labels)
    known = known[:, (known != known[:1]).any(0)]  # a column that never differs tells nothing
    fold = _folds(member, rng.uniform(kept, 1))
    found = {"linear": linear(_scaled(known), member, fold), "ferns": ferns(known, member, fold, rng)}
    judged = {name: _area(score, member, 1 - (1 - LEVEL) / len(found)) for name, score in found.items()}
    # An area that is no number is no fair split.
    told = [name for name, (value, span) in judged.items() if np.isfinite([value, span.low, span.high]).all()]
    if not told:
        return None
    best = max(told, key=lambda name: judged[name][0])
    return Blind(kept, member, found[best], best, *judged[best])


def unseen(truth: Flags) -> Check:
    """What stands in place of `Blind.check` where there is no guess: nothing can be concluded, whichever way the attack went.

    Args:
        truth: Who is a member, of those that count.
    """
    inside, others = int(truth.sum()), int((~truth).sum())
    said = f"it takes {FEWEST} of each; {inside} members and {others} others cannot exclude that they differ in themselves"
    said = said if min(inside, others) < FEWEST else "neither guess came to an area that is a number"
    return Check(NUMBER, NAME, None, said)


def linear(x: Floats, member: Flags, fold: NDArray[np.int64]) -> Floats:
    """Fisher's discriminant with a ridge: how far each record lies towards the members' mean, learned from the other folds."""
    score = np.zeros(len(member))
    if not x.shape[1]:
        return score
    for i in range(FOLDS):
        own = fold == i
        inside, others = x[~own & member], x[~own & ~member]
        means = inside.mean(0), others.mean(0)
        spread = np.sqrt(inside.var(0) / len(inside) + others.var(0) / len(others)) + 1e-12
        keep = np.argsort(-np.abs(means[0] - means[1]) / spread, kind="stable")[:WIDEST]
        centred = np.concatenate([(part - mean)[:, keep] for part, mean in zip((inside, others), means, strict=True)])
        cov = centred.T @ centred / len(centred)
        cov += (RIDGE * np.trace(cov) / len(cov) + 1e-9) * np.eye(len(cov))
        slope = np.linalg.solve(cov, (means[0] - means[1])[keep])
        score[own] = (x[own][:, keep] - ((means[0] + means[1]) / 2)[keep]) @ slope
    return score


def ferns(x: Floats, member: Flags, fold: NDArray[np.int64], rng: RowRandom) -> Floats:
    """Random ferns: `DEPTH` random splits put each record into a leaf, whose members and others in the other folds vote.

    Those ferns vote that tell the most in the folds they learn from.
    """
    n, d = x.shape
    if not d:
        return np.zeros(n)
    each, leaves = np.arange(FERNS), 2**DEPTH
    leaf = np.zeros((n, FERNS), np.int32)
    for j in range(DEPTH):
        of, at = rng.integers(each, (2, j), d), rng.integers(each, (3, j), n)
        leaf = 2 * leaf + (x[:, of] > x[at, of])
    flat, size = leaf + leaves * each.astype(np.int32), FERNS * leaves
    counts = np.array([
        [np.bincount(flat[(fold == i) & side].ravel(), minlength=size) for side in (member, ~member)] for i in range(FOLDS)
    ], float)  # fmt: skip
    score = np.zeros(n)
    for i in range(FOLDS):
        a, b = (counts.sum(0) - counts[i]).reshape(2, FERNS, leaves)
        inside, others = float(a[0].sum()), float(b[0].sum())
        part = inside / (inside + others)
        vote = np.log((a + PRIOR * part) / (b + PRIOR * (1 - part))) - np.log(inside / others)
        best = np.argsort(-((a / inside - b / others) * vote).sum(1), kind="stable")[:KEPT]
        own = fold == i
        score[own] = np.take_along_axis(vote[best].T, leaf[own][:, best], 0).sum(1)
    return score


def _folds(member: Flags, draw: Floats) -> NDArray[np.int64]:
    """Which fold each record is in, members and others spread evenly."""
    fold = np.zeros(len(member), np.int64)
    for side in (member, ~member):
        places = np.flatnonzero(side)
        fold[places[np.argsort(draw[places], kind="stable")]] = np.arange(len(places)) % FOLDS
    return fold


def _scaled(x: Floats) -> Floats:
    """Each column centred, in units of its spread, its outermost hundredth on each side set back to where the rest ends."""
    if not x.shape[1]:
        return x
    cut = np.clip(x, *np.quantile(x, [TAIL, 1 - TAIL], axis=0, method="nearest"))
    most = np.abs(cut).max(0)
    cut = cut / np.where(most > 0, most, 1.0)  # so that no sum and no square is too large for a number
    spread = cut.std(0)
    return np.asarray((cut - cut.mean(0)) / np.where(spread > 0, spread, 1.0))


def _area(score: Floats, member: Flags, level: float) -> tuple[float, Interval]:
    """The area under the curve with an interval: DeLong's on the logit scale, with `TAUGHT` times its variance.

    Where nothing overlaps it is that of independent pairs.
    """
    value, variance = delong(score, member)
    tail = (1 - level) / 2
    if value in (0.0, 1.0):
        pairs = int(min(member.sum(), (~member).sum()))
        exact = clopper_pearson(round(value) * pairs, pairs, level)
        return value, Interval(exact.low, exact.high, "Clopper-Pearson on pairs, Bonferroni", LEVEL)
    reach = float(ndtri(1 - tail)) * np.sqrt(TAUGHT * variance) / (value * (1 - value))
    low, high = expit(logit(value) - reach), expit(logit(value) + reach)
    return value, Interval(float(low), float(high), "DeLong, logit, Bonferroni", LEVEL)
