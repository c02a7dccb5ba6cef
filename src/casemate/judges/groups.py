"""How an attack's success differs between groups of people, with intervals that hold for all groups at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BadInput
from ..core.evidence import Interval
from .statistics import clopper_pearson

FEWEST = 10  # rows of a group below which nothing is said of it


def rates(success: Any, group: Any) -> dict[str, Any]:
    """Success in each group, and the largest difference between two.

    Args:
        success: ``(n,)`` booleans: whether the attack succeeded on each row.
        group: ``(n,)`` a name for each row.

    Returns:
        ``groups`` by name: ``n, rate, interval`` (Clopper-Pearson, 95 % for all groups together by Bonferroni), or ``refused``
        with the rows ``needed``; ``gap``: the two groups furthest apart, their difference, its interval, and whether it
        excludes none. No gap where fewer than two groups have rows enough.

    Raises:
        BadInput: Not one name for each row.
    """
    success, names = np.asarray(success, bool), np.asarray(group).astype(str)
    if success.shape != names.shape or success.ndim != 1:
        raise BadInput(f"{success.shape} outcomes and {names.shape} groups; give one group for each outcome")
    sizes = {name: int((names == name).sum()) for name in np.unique(names)}
    enough = [name for name, n in sizes.items() if n >= FEWEST]
    level = 1 - 0.05 / max(1, len(enough))
    found: dict[str, Any] = {}
    for name, n in sizes.items():
        if n < FEWEST:
            found[name] = {"n": n, "refused": f"{n} rows; {FEWEST} are enough", "needed": FEWEST}
            continue
        hits = int(success[names == name].sum())
        found[name] = {"n": n, "rate": hits / n, "interval": clopper_pearson(hits, n, level)}
    return {"groups": found, "gap": _gap(found, enough) if len(enough) > 1 else None}


def _gap(found: dict[str, Any], enough: list[str]) -> dict[str, Any]:
    """The largest difference. Each interval holds with all the others, so their ends bound every difference at once."""
    ordered: NDArray[np.int64] = np.argsort([found[name]["rate"] for name in enough], kind="stable")
    low, high = found[enough[ordered[0]]], found[enough[ordered[-1]]]
    bounds = high["interval"].low - low["interval"].high, high["interval"].high - low["interval"].low
    return {
        "most": enough[ordered[-1]], "least": enough[ordered[0]], "difference": high["rate"] - low["rate"],
        "interval": Interval(bounds[0], bounds[1], "Clopper-Pearson, Bonferroni", 0.95), "differs": bounds[0] > 0,
    }  # fmt: skip
