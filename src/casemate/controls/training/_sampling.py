"""Which rows went into each step of a private training, and whether that is what was accounted.

The accounting of DP-SGD supposes that each row takes part in each step with one chance of its own (Poisson sampling). Shuffled
passes, fixed batch sizes and weighted draws look much the same in code and spend otherwise, without a word of warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from ...core.errors import UsageError

RARE = 1e-6  # how seldom sampling as accounted is called another; both tails of both tests


@dataclass(slots=True)
class Batches:
    """Index batches by Poisson sampling: a batch sampler for a torch loader that keeps count of what it gave.

    Args:
        rows: How many there are.
        size: Expected rows in a batch.
        most: Batches that were accounted; one more is refused.
        rng: Draws them.
    """

    rows: int
    size: int
    most: int
    rng: np.random.Generator
    counts: NDArray[np.int64] = field(init=False)
    sizes: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.rows, np.int64)

    def __len__(self) -> int:
        return math.ceil(self.rows / self.size)  # batches in a pass

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(len(self)):
            if len(self.sizes) >= self.most:
                raise UsageError(f"only {self.most} steps were accounted, and training asks for more; run private.epochs passes")
            chosen = np.flatnonzero(self.rng.random(self.rows) * self.rows < self.size)
            if not len(chosen):
                raise UsageError(f"a batch of {self.size} expected rows came out empty; give batch=20 or more")
            self.counts[chosen] += 1
            self.sizes.append(len(chosen))
            yield chosen.tolist()


def why_not_poisson(counts: NDArray[Any], sizes: Iterable[int], rate: float) -> str:
    """What was drawn instead of Poisson batches of that rate; empty where nothing speaks against it.

    Two sums of squares are held against their law: of batch sizes (constant ones vary too little) and of how often each row
    was drawn (in passes too evenly, by weights too unevenly).

    Args:
        counts: How often each row was drawn ``(n,)``.
        sizes: Rows in each batch.
        rate: The accounted chance of a row to be in a batch.
    """
    each, n = np.asarray(list(sizes), float), len(counts)
    steps = len(each)
    if rate >= 1:
        return "" if (each == n).all() else f"batches of {each.mean():.1f} rows where every one of {n} was accounted"
    spread = rate * (1 - rate)
    wide = chi2_of(each, n * rate, n * spread)
    if wide.high:
        return f"batches have {each.mean():.1f} rows (from {each.min():.0f} to {each.max():.0f}), {n * rate:.1f} were accounted"
    if wide.low:
        return f"batches are all of nearly one size ({each.min():.0f} to {each.max():.0f} rows), as of shuffled passes"
    often = chi2_of(np.asarray(counts, float), steps * rate, steps * spread)
    if often.high:
        most = counts.max() / max(1e-9, steps * rate)
        return f"rows were drawn unevenly, one {most:.1f} times as often as accounted, as by weights"
    return "rows were drawn too evenly, as of shuffled passes" if often.low else ""


@dataclass(frozen=True, slots=True)
class Tails:
    """Whether values vary too much, or too little."""

    low: bool
    high: bool


def chi2_of(values: NDArray[np.float64], mean: float, variance: float) -> Tails:
    """Squares of `values` around `mean`, in units of `variance`, against chi-squared."""
    stat = float((np.square(values - mean) / variance).sum())
    return Tails(bool(chi2.cdf(stat, len(values)) < RARE), bool(chi2.sf(stat, len(values)) < RARE))


def look_at(sampler: Iterable[Any], rows: int, rate: float, batches: int = 300) -> str:
    """Draw batches of row indices from a batch sampler, pass after pass, and say what is wrong with them; empty if nothing.

    Args:
        sampler: Such as the ``batch_sampler`` of a torch loader, or of one that a library made private.
        rows, rate: What was accounted.
        batches: How many to draw.
    """
    counts = np.zeros(rows, np.int64)
    sizes: list[int] = []
    while len(sizes) < batches:
        before = len(sizes)
        for batch in sampler:
            np.add.at(counts, np.asarray(batch, np.int64), 1)
            sizes.append(len(batch))
            if len(sizes) == batches:
                break
        if len(sizes) == before:
            return "it draws no batches at all"
    return why_not_poisson(counts, sizes, rate)


def replaceable(loader: Any) -> str:
    """Why Poisson batches cannot take the place of a torch loader's own; empty where they can.

    A loader that goes through all rows, in order or shuffled, wants every row alike. Any other sampler wants something that
    the accounting does not know of: it may neither be kept nor dropped without a word.
    """
    sampler = getattr(loader, "sampler", None)
    name = type(sampler).__name__
    if not hasattr(loader, "dataset") or not hasattr(loader.dataset, "__len__"):
        return f"a torch DataLoader over a dataset with a length is needed; it is a {type(loader).__name__}"
    if name == "SequentialSampler" or (name == "RandomSampler" and not sampler.replacement):  # type: ignore[union-attr]
        return ""
    return f"the loader draws by {name}, and Poisson sampling with one chance for every row is what is accounted"
