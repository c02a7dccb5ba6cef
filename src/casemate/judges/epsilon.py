"""How private a mechanism is not: lower bounds on epsilon from what an auditor saw, and how high they could have gone.

Three ways to look: many runs with a record and many without (`multi_run`), the same under the assumption that the trade-off
is Gaussian (`gaussian`), and one run with many records put in by coin flips (`one_run`, `one_run_gaussian`). Each bound
exceeds the truth in at most a share `alpha` of audits, provided that the threshold was not chosen on the data it is judged
by: `audit` takes care of that. Beside each bound stands its cap, the bound a perfect attack would have got from the same
numbers: a low bound under a low cap says little about privacy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri
from scipy.stats import binom

from ..core.errors import BadInput
from ..core.random import RowRandom
from .statistics import proportion_bounds

Floats = NDArray[np.float64]
Method = Literal["clopper-pearson", "gaussian"]
Choice = Literal["split", "bonferroni", "explicit", "naive best, invalid"]

HIGHEST = 60.0  # no sample of a size that fits a machine shows a larger epsilon
ALPHA = 0.05
MANY = 200  # from as many thresholds on, the bounds of all counts are worked out at once and kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A lower bound on epsilon.

    Args:
        epsilon: The bound, never below 0.
        cap: What a perfect attack would have got from the same number of trials.
        method: How it was derived, with what it assumes.
        alpha: The share of audits in which it may exceed the truth.
        n: Trials it rests on: runs of both worlds, or records put in or left out.
        delta: The delta of (epsilon, delta).
        choice: How the threshold was chosen; `thresholds` were looked at, `threshold` is the one used.
        mu: The lower bound on mu, where the Gaussian trade-off is assumed.
    """

    epsilon: float
    cap: float
    method: str
    alpha: float
    n: int
    delta: float = 0.0
    choice: str = "explicit"
    threshold: float | None = None
    thresholds: int = 1
    mu: float | None = None

    def __str__(self) -> str:
        return f"epsilon >= {self.epsilon:.3f} (at most {self.cap:.3f} could be shown; {self.method}, n={self.n:,})"


def multi_run(hits: int, runs: int, false: int, others: int, *, alpha: float = ALPHA, delta: float = 0.0) -> Bound:
    """The bound from runs with the record and runs without it, one yes or no each (Jagielski et al. 2020, Nasr et al. 2021).

    Both rates get their exact bound at ``alpha / 2``, so that both hold together at ``1 - alpha``.

    Args:
        hits, runs: Runs with the record that were called so, and how many there were.
        false, others: Runs without it that were called so all the same, and how many there were.
    """
    _check(alpha, delta, (hits, runs), (false, others))
    return Bound(
        epsilon=float(from_counts(hits, runs, false, others, alpha, delta)), n=runs + others, delta=delta, alpha=alpha,
        cap=float(from_counts(runs, runs, 0, others, alpha, delta)), method="multi-run, Clopper-Pearson",
    )  # fmt: skip


def gaussian(hits: int, runs: int, false: int, others: int, *, alpha: float = ALPHA, delta: float = 1e-5) -> Bound:
    """The same counts, if the mechanism's trade-off is that of two unit Gaussians mu apart: mu first, then epsilon at `delta`.

    Much tighter than `multi_run` where that holds (noise added by DP-SGD, many steps composed) and wrong where it does not.
    With delta = 0 no Gaussian mechanism has an epsilon.
    """
    _check(alpha, delta, (hits, runs), (false, others))
    if delta == 0:
        raise BadInput("delta=0 is not allowed with a Gaussian trade-off, whose epsilon is then infinite; give one like 1e-5")
    mu = float(mu_from_counts(hits, runs, false, others, alpha))
    cap = float(mu_from_counts(runs, runs, 0, others, alpha))
    return Bound(
        epsilon=epsilon_of_mu(mu, delta), cap=epsilon_of_mu(cap, delta), mu=mu, n=runs + others, delta=delta, alpha=alpha,
        method="multi-run, if the trade-off is Gaussian",
    )  # fmt: skip


def from_counts(hits: Any, runs: int, false: Any, others: int, alpha: float, delta: float) -> Floats:
    """`multi_run` for arrays of counts. Both kinds of error bound epsilon, by the same two rates."""
    tpr, fpr = _lows(hits, runs, alpha / 2), _highs(false, others, alpha / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.log(np.maximum(tpr - delta, 0)) - np.log(fpr)
        two = np.log(np.maximum(1 - fpr - delta, 0)) - np.log(1 - tpr)
    return np.asarray(np.maximum(np.maximum(one, np.where(fpr < 1, two, -np.inf)), 0.0))


def mu_from_counts(hits: Any, runs: int, false: Any, others: int, alpha: float) -> Floats:
    """The lower bound on mu for arrays of counts: how far apart the two Gaussians must be at least."""
    tpr, fpr = _lows(hits, runs, alpha / 2), _highs(false, others, alpha / 2)
    # At either end there is no bound: minus infinity, and epsilon 0.
    return np.asarray(np.maximum(np.where((tpr > 0) & (fpr < 1), ndtri(tpr) - ndtri(fpr), 0.0), 0.0))


def _lows(hits: Any, n: int, tail: float) -> Floats:
    return _table(n, tail)[0][hits] if np.size(hits) > MANY else proportion_bounds(hits, n, tail)[0]


def _highs(hits: Any, n: int, tail: float) -> Floats:
    return _table(n, tail)[1][hits] if np.size(hits) > MANY else proportion_bounds(hits, n, tail)[1]


@lru_cache(maxsize=16)
def _table(n: int, tail: float) -> tuple[Floats, Floats]:
    """The bounds of every count there is, once for all thresholds of all audits of this size."""
    return proportion_bounds(np.arange(n + 1), n, tail)


def delta_of_mu(mu: float, epsilon: float) -> float:
    """The delta at which a mu-Gaussian mechanism is (epsilon, delta)-private (Dong, Roth, Su 2022, corollary 2.13)."""
    if mu <= 0:
        return 0.0
    return float(ndtr(-epsilon / mu + mu / 2) - math.exp(epsilon + float(log_ndtr(-epsilon / mu - mu / 2))))


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The epsilon of a mu-Gaussian mechanism at `delta`; 0 where delta alone is enough."""
    if delta_of_mu(mu, 0.0) <= delta:
        return 0.0
    high = 1.0
    while delta_of_mu(mu, high) > delta:
        high *= 2
    return float(brentq(lambda e: delta_of_mu(mu, e) - delta, 0.0, high, xtol=1e-12))


def one_run(records: int, guesses: int, right: int, *, alpha: float = ALPHA, delta: float = 0.0) -> Bound:
    """The bound from one training run (Steinke, Nasr, Jagielski 2023, arXiv:2305.08846).

    Args:
        records: Canaries, each put in or left out by its own fair coin.
        guesses: How many the auditor guessed, a number fixed before the scores were seen; the others are abstained from.
        right: How many of the guesses were right.
    """
    _check(alpha, delta, (right, guesses), (guesses, records))
    return Bound(
        epsilon=_largest(lambda e: one_run_p(records, guesses, right, e, delta), alpha),
        cap=_largest(lambda e: one_run_p(records, guesses, guesses, e, delta), alpha),
        method="one run, binomial tail", alpha=alpha, n=records, delta=delta,
    )  # fmt: skip


def one_run_p(records: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """How likely an (epsilon, delta)-private mechanism lets an auditor guess at least `right` of `guesses` right, at most.

    Under pure privacy each guess is right with probability at most that of randomised response, whatever the others are.
    Delta lets through at most ``2 * records * delta`` failures, each of which can turn guesses right; the worst way to spend
    them on i guesses costs the tail mass of those that were short by up to i.
    """
    p = 1 / (1 + math.exp(-epsilon))
    tail = float(binom.sf(right - 1, guesses, p))
    if delta == 0 or right == 0:
        return tail
    short = np.arange(1, right + 1)
    mass = np.cumsum(binom.pmf(right - short, guesses, p))
    return min(1.0, tail + 2 * records * delta * float((mass / short).max()))


def one_run_gaussian(records: int, guesses: int, right: int, *, alpha: float = ALPHA, delta: float = 1e-5) -> Bound:
    """The bound from one run if the trade-off is Gaussian (Mahloujifar, Melis, Chaudhuri 2024, arXiv:2410.22235).

    Args as in `one_run`. Tighter than it, as it uses the whole trade-off curve; wrong where the curve is no Gaussian's.
    """
    _check(alpha, delta, (right, guesses), (guesses, records))
    if delta == 0:
        raise BadInput("delta=0 is not allowed with a Gaussian trade-off, whose epsilon is then infinite; give one like 1e-5")
    mu = _largest_mu(records, guesses, right, alpha)
    cap = _largest_mu(records, guesses, guesses, alpha)
    return Bound(
        epsilon=epsilon_of_mu(mu, delta), cap=epsilon_of_mu(cap, delta), mu=mu, n=records, delta=delta, alpha=alpha,
        method="one run, if the trade-off is Gaussian",
    )  # fmt: skip


def _largest_mu(records: int, guesses: int, right: int, alpha: float) -> float:
    """The largest mu that is rejected, found by halving: more mu never makes many right guesses less likely."""
    if not guesses or not _rejected(0.0, records, guesses, right, alpha):
        return 0.0
    low, high = 0.0, 1.0
    while high < HIGHEST and _rejected(high, records, guesses, right, alpha):
        low, high = high, 2 * high
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if _rejected(middle, records, guesses, right, alpha) else (low, middle)
    return low


def _rejected(mu: float, records: int, guesses: int, right: int, alpha: float) -> bool:
    """Whether a mu-Gaussian mechanism lets `right` of `guesses` be right with probability below alpha.

    Suppose it were as likely as alpha. Going down from `right` correct guesses, the trade-off curve forces mass on smaller
    counts: `hit` is the share of a record being guessed rightly in runs with more than i right, `miss` of being guessed
    wrongly. Where the two together need more than the guesses there are, the supposition was wrong.
    """
    hit, miss = alpha * right / records, alpha * (guesses - right) / records
    for i in range(right - 1, -1, -1):
        forced = float(ndtr(ndtri(min(hit, 1.0)) - mu))
        if forced <= miss:
            break  # nothing is forced any more, and nothing below changes that
        hit, miss = hit + i / (guesses - i) * (forced - miss), forced
        if hit + miss > guesses / records:
            return True
    return hit + miss > guesses / records


def _largest(p_value: Callable[[float], float], alpha: float) -> float:
    """The largest epsilon that is rejected: its p-value stays below alpha up to there."""
    if p_value(0.0) >= alpha:
        return 0.0
    if p_value(HIGHEST) < alpha:
        return HIGHEST
    return float(brentq(lambda e: p_value(e) - alpha, 0.0, HIGHEST, xtol=1e-10))


def audit(
    inside: Any, outside: Any, *, choice: Choice = "split", thresholds: Any = None, method: Method = "clopper-pearson",
    alpha: float = ALPHA, delta: float = 0.0, seed: int = 0,
) -> Bound:  # fmt: skip
    """A bound from scores of runs with the record and without it, with a threshold that was fairly chosen.

    Args:
        inside, outside: Scores ``(n,)`` of the two worlds, larger where the record seems to be in.
        choice: ``split`` chooses the threshold on a random half of each world and judges it on the other. ``bonferroni``
            judges several thresholds, fixed before any score was seen, each at its share of alpha. ``explicit`` judges one,
            so fixed. ``naive best, invalid`` takes the best threshold of these very scores and exceeds the truth too often:
            it is here to be compared with, never to be reported as a bound.
        thresholds: For ``bonferroni`` and ``explicit``: those fixed beforehand. For the others: those to choose from, by
            default every score seen.
    """
    a, b = _scores(inside, "inside"), _scores(outside, "outside")
    _check(alpha, delta)
    bound = gaussian if method == "gaussian" else multi_run
    if choice == "split":
        (learn_a, a), (learn_b, b) = _halves(a, seed, 0), _halves(b, seed, 1)
        cuts = _candidates(thresholds, learn_a, learn_b)
        cut, level = best_threshold(learn_a, learn_b, cuts, method, alpha, delta), alpha
    elif choice == "naive best, invalid":
        cuts = _candidates(thresholds, a, b)
        cut, level = best_threshold(a, b, cuts, method, alpha, delta), alpha
    else:
        cuts = _fixed(thresholds, choice)
        level = alpha / len(cuts)
        cut = best_threshold(a, b, cuts, method, level, delta)
    found = bound(int((a >= cut).sum()), len(a), int((b >= cut).sum()), len(b), alpha=level, delta=delta)
    return Bound(
        epsilon=found.epsilon, cap=found.cap, method=found.method, alpha=alpha, n=found.n, delta=delta, choice=choice,
        threshold=cut, thresholds=len(cuts), mu=found.mu,
    )  # fmt: skip


def best_threshold(inside: Floats, outside: Floats, cuts: Floats, method: Method, alpha: float, delta: float) -> float:
    """The threshold whose bound is largest on these scores. Judge it on others."""
    hits, false = above(inside, cuts), above(outside, cuts)
    if method == "gaussian":
        value = mu_from_counts(hits, len(inside), false, len(outside), alpha)
    else:
        value = from_counts(hits, len(inside), false, len(outside), alpha, delta)
    return float(cuts[int(np.argmax(value))])


def above(scores: Floats, cuts: Floats) -> NDArray[np.int64]:
    """How many scores reach each threshold."""
    return np.asarray(len(scores) - np.searchsorted(np.sort(scores), cuts), np.int64)


def _halves(scores: Floats, seed: int, world: int) -> tuple[Floats, Floats]:
    order = np.argsort(RowRandom(seed).fork(0x5417, world).uniform(np.arange(len(scores)), 0), kind="stable")
    middle = len(scores) // 2
    return scores[order[:middle]], scores[order[middle:]]


def _candidates(thresholds: Any, a: Floats, b: Floats) -> Floats:
    return np.unique(np.r_[a, b]) if thresholds is None else _fixed(thresholds, "split")


def _fixed(thresholds: Any, choice: str) -> Floats:
    cuts = np.unique(np.asarray([] if thresholds is None else thresholds, float))
    if not len(cuts) or np.isnan(cuts).any() or (choice == "explicit" and len(cuts) != 1):
        some = "one threshold" if choice == "explicit" else "thresholds"
        raise BadInput(f"choice={choice!r} judges {some} fixed before the scores were seen; got {thresholds!r}")
    return cuts


def _scores(values: Any, name: str) -> Floats:
    found = np.asarray(values, float)
    if found.ndim != 1 or len(found) < 2 or not np.isfinite(found).all():
        raise BadInput(f"{name} has shape {found.shape}; give at least 2 finite scores, one for each run")
    return found


def _check(alpha: float, delta: float, *shares: tuple[int, int]) -> None:
    if not 0 < alpha < 1 or not 0 <= delta < 1:
        raise BadInput(f"alpha={alpha:g}, delta={delta:g}: alpha lies between 0 and 1, delta from 0 up to below 1")
    for part, whole in shares:
        if not 0 <= part <= whole:
            raise BadInput(f"{part} of {whole} is no count; nothing can be seen more often than it was tried")
