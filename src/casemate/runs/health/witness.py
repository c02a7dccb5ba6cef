"""What the attacker saw, and whether the target still answers as it did."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.case import Evade
from ...core.constraint import admits
from ...core.goal import reached
from ...core.oracle import Meter
from ...core.target import Response, Target, take, to_numpy

FEW = 16  # rows of a health check; its own finding is binary, and more rows would not change it
UNBOUNDED_QUERIES = 400
SAME = 1e-4  # relative difference of scores that rounding cannot explain (AutoAttack's own)
ASKING = ("queries", "local", "gradients", "parent")


class Witness:
    """Sees every answer the attacker gets, and how the target answered before the first.

    Args:
        case: The rows attacked. `hit` tells which of them an answer met the goal of, at an input inside the constraint.
            `moved` tells whether any allowed change of them was asked about; None where the constraint is no one's own.
    """

    def __init__(self, case: Evade, target: Target, meter: Meter) -> None:
        self._case, self._target, self._meter = case, target, meter
        self._order = np.argsort(case.row)
        self.hit = np.zeros(len(case), bool)
        self.moved: bool | None = False if admits(("Region",), case.within) and hasattr(case.x, "dtype") else None
        self.few = case.only(np.arange(min(FEW, len(case))))
        self._before = self._answers()

    def __call__(self, x: Any, rows: NDArray[Any], label: Any) -> None:
        case = self._case
        if _shape(x) != _shape(case.x):
            return
        near = np.searchsorted(case.row, rows, sorter=self._order).clip(0, len(case) - 1)
        places = self._order[near]
        own = case.row[places] == rows
        if self.moved is False:
            self.moved = moves(case, take(x, np.flatnonzero(own)), places[own])
        if self._target.random:  # one answer is not the answer: there is nothing to forget
            return
        open_ = own & ~self.hit[places]
        found = np.flatnonzero(open_ & reached(case.goal, label, to_numpy(case.y)[places]))
        if len(found):
            places = places[found]
            inside = case.within.check(to_numpy(take(x, found)), to_numpy(take(case.x, places)))
            self.hit[places[np.asarray(inside, bool)]] = True

    def changed(self) -> int:
        """How many of the first rows are answered otherwise than before the attack."""
        return int(differ(self._before, self._answers()).sum())

    def _answers(self) -> Response:
        self._meter.count("health", len(self.few))
        return self._target.respond(self.few.x, rows=self.few.row)


def moves(case: Evade, x: Any, places: NDArray[Any]) -> bool:
    """Whether any of the inputs `x`, of the rows at `places`, is an allowed change, and one at all."""
    claim, origin = to_numpy(x), to_numpy(take(case.x, places))
    other = np.flatnonzero((claim != origin).reshape(len(claim), -1).any(1)) if len(claim) else np.zeros(0, int)
    return bool(len(other)) and bool(np.asarray(case.within.check(claim[other], origin[other]), bool).any())


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape[1:]) if hasattr(x, "shape") else ()


def differ(a: Response, b: Response) -> NDArray[np.bool_]:
    """Which rows two answers to the same questions differ in, by more than rounding."""
    found = np.asarray(to_numpy(a.label) != to_numpy(b.label))
    for one, other in ((a.scores, b.scores), (a.logits, b.logits)):
        if one is None or other is None:
            found = found | (one is not other)
            continue
        left, right = (np.asarray(to_numpy(side), np.float64).reshape(len(found), -1) for side in (one, other))
        with np.errstate(invalid="ignore"):
            gap, size = np.linalg.norm(left - right, axis=1), np.linalg.norm(left, axis=1)
        found = found | (gap > SAME * size + 1e-12)
    return np.asarray(found)
