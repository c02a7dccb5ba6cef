"""Whether a leak is larger in one group than in another, or only seems so: every pair of groups, at 95 % for all of them."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.evidence import Interval
from .roc import FEWEST, counts
from .statistics import clopper_pearson

Flags = NDArray[np.bool_]


def largest(member: Flags, truth: Flags, groups: NDArray[Any]) -> dict[str, Any] | None:
    """The two groups whose advantages differ most surely, or where none differ for sure, those furthest apart.

    A difference of advantages is made of four proportions: members found and others named in each of two groups. Its interval
    joins their Clopper-Pearson intervals by the square root of squares (Zou and Donner 2008), at a level that holds for all
    pairs at once (Bonferroni).

    Args:
        member, truth: ``(n,)`` who is named a member, and who is one.
        groups: ``(n,)`` a name for each.

    Returns:
        ``most, least, difference, interval, differs, pairs``; None where fewer than two groups have enough of each kind.
    """
    held = {str(name): counts(member[groups == name], truth[groups == name]) for name in np.unique(groups)}
    enough = {name: found for name, found in held.items() if min(found[1], found[3]) >= FEWEST}
    pairs = list(combinations(enough, 2))
    if not pairs:
        return None
    level = 1 - 0.05 / len(pairs)
    sides = {name: _sides(found, level) for name, found in enough.items()}
    apart = [(a, b, *_apart(sides[a], sides[b])) for a, b in pairs]
    apart += [(b, a, -rate, -high, -low) for a, b, rate, low, high in apart]
    most, least, rate, low, high = max(apart, key=lambda one: (max(0.0, one[3]), one[2]))
    interval = Interval(low, high, "Clopper-Pearson, squares joined, Bonferroni", 0.95)
    return {"most": most, "least": least, "difference": rate, "interval": interval, "differs": low > 0, "pairs": len(pairs)}


def _sides(found: tuple[int, int, int, int], level: float) -> tuple[float, float, float]:
    """The advantage, and how far it reaches down and up, squared."""
    hits, size, false, others = found
    tpr, fpr = hits / size, false / others
    a, b = clopper_pearson(hits, size, level), clopper_pearson(false, others, level)
    return tpr - fpr, (tpr - a.low) ** 2 + (b.high - fpr) ** 2, (a.high - tpr) ** 2 + (fpr - b.low) ** 2


def _apart(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float, float]:
    rate = one[0] - other[0]
    return rate, rate - math.sqrt(one[1] + other[2]), rate + math.sqrt(one[2] + other[1])
