"""What each training row is worth: its share of what all of them achieve together (Ghorbani and Zou, arXiv:1904.02868)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ...core.errors import BadInput
from ...core.random import RowRandom

Floats = NDArray[np.float64]
Worth = Callable[[NDArray[np.int64]], float]  # indices of rows, sorted -> how good a model of them is
MOST = 16  # rows up to which every subset is looked at


@dataclass(frozen=True, slots=True)
class DataValues:
    """Values ``(n,)``, with their interval ``(n,)`` each, and how often `worth` was asked."""

    value: Floats
    low: Floats
    high: Floats
    method: str
    asked: int


def exact_shapley(worth: Worth, n: int) -> DataValues:
    """Over every subset: 2^n trainings.

    The values sum to the worth of all less that of none; rows that may be swapped have equal values; a row that never changes
    anything has none.
    """
    if not 1 <= n <= MOST:
        raise BadInput(f"{n} rows have 2^{n} subsets; up to {MOST} are counted out, for more take sampled_shapley")
    table = np.array([_asked(worth, np.flatnonzero(_bits(subset, n))) for subset in range(1 << n)])
    subsets = np.arange(1 << n)
    size = np.array([bin(subset).count("1") for subset in range(1 << n)])
    value = np.zeros(n)
    for i in range(n):
        without = subsets[(subsets >> i) & 1 == 0]
        weight = np.array([1 / (n * comb(n - 1, int(s))) for s in size[without]])
        value[i] = (weight * (table[without | (1 << i)] - table[without])).sum()
    return DataValues(value, value.copy(), value.copy(), "exact", 1 << n)


def sampled_shapley(worth: Worth, n: int, *, orders: int = 100, level: float = 0.95, seed: int = 0) -> DataValues:
    """What each row adds when it joins, over random orders: n trainings an order.

    The interval is Student's, over orders, each row's own: of many rows some lie outside theirs.
    """
    if n < 1 or orders < 2 or not 0 < level < 1:
        raise BadInput(f"n={n}, orders={orders}, level={level}: give rows from 1 up, at least 2 orders, a level between 0 and 1")
    none = _asked(worth, np.zeros(0, np.int64))
    added = np.zeros((orders, n))
    keys = RowRandom(seed).uniform(np.arange(orders), 0, (n,))
    for j, order in enumerate(np.argsort(keys, axis=1)):
        before = none
        for place, row in enumerate(order):
            after = _asked(worth, np.sort(order[: place + 1]))
            added[j, row], before = after - before, after
    value, error = added.mean(0), added.std(0, ddof=1) / np.sqrt(orders)
    reach = float(student.ppf(0.5 + level / 2, orders - 1)) * error
    return DataValues(value, value - reach, value + reach, f"{orders} orders, Student {level:g}", 1 + orders * n)


def left_out_values(worth: Worth, n: int) -> DataValues:
    """What is lost where one row is left out: n + 1 trainings. Of two rows that say the same, neither is worth anything."""
    if n < 1:
        raise BadInput(f"n={n} is not allowed; give rows from 1 up")
    every = np.arange(n)
    whole = _asked(worth, every)
    value = np.array([whole - _asked(worth, np.delete(every, i)) for i in range(n)])
    return DataValues(value, value.copy(), value.copy(), "leave one out", n + 1)


def _bits(subset: int, n: int) -> NDArray[np.bool_]:
    return np.asarray((subset >> np.arange(n)) & 1, bool)


def _asked(worth: Worth, rows: NDArray[np.int64]) -> float:
    found = float(worth(rows))
    if not np.isfinite(found):
        raise BadInput(f"the worth of rows {rows.tolist()} is {found}; give a finite number for every subset, the empty one too")
    return found
