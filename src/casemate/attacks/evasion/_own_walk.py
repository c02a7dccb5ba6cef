"""Walking along a boundary into a constraint of the user's own, with decisions alone to go by.

Every point in the domain may be asked; only points inside the region are claimed. Where the boundary runs straight, the point
of the region furthest along its direction meets the goal if any does, and one good direction is enough.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...core.attack import AttackInfo
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ._decisions import Talk, Walk, begun, start_of
from ._own import Own, moved_in, room


def approach(oracle: Oracle, case: Evade, rng: np.random.Generator, info: AttackInfo) -> OwnWalk:
    """The walk of the case's one row towards its region.

    Raises:
        BadInput: The constraint is no region, or does not tell the domain.
    """
    within = room(moved_in(case, info.id, info.norms))
    assert isinstance(within, Own)
    if not math.isfinite(within.high - within.low) or not within.low < within.high:
        raise BadInput(
            f"{info.id} walks in the whole domain towards the constraint; got low={within.low}, high={within.high} of "
            f"{within!r}; give it low and high, the least and the largest value of an input"
        )
    walk = OwnWalk(within, start_of(case, info.id), rng, min(float(oracle.left(case.row)[0]), oracle.affordable))
    begun(walk, oracle, case)
    return walk


class OwnWalk(Walk):
    """Questions about one row on its way into a region; only points inside are claimed, the smallest change so far.

    `gap` is how far the last point on the boundary was from the point of the region it was asked on the way to.
    """

    def __init__(self, own: Own, origin: NDArray[Any], rng: np.random.Generator, left: float) -> None:
        super().__init__(Ball("l2", math.inf, own.low, own.high), origin, rng, left)
        self.own, self.plain, self._smallest, self.gap = own, True, math.inf, math.inf

    @property
    def arrived(self) -> bool:
        """Whether a point inside the region met the goal, or all that is left of the way is rounding."""
        return math.isfinite(self._smallest) or self.gap <= self.least

    def into(self, x: NDArray[Any]) -> NDArray[Any]:
        """The region's point for `x` ``(d,)``, in the precision of the input."""
        return self.own.project(self._row(x), self._row(self.origin)).numpy().reshape(-1)

    def furthest(self, slope: NDArray[Any]) -> NDArray[Any]:
        """The region's furthest point along `slope` ``(d,)``."""
        return self.own.furthest(self._row(slope), self._row(self.origin)).numpy().reshape(-1)

    def towards_point(self, x: NDArray[Any], goal: NDArray[Any]) -> Talk:
        """From `x`, which meets the goal, straight to a point of the region, or to the boundary on the way."""
        whole = math.dist(x, goal)
        if self.left < 1:
            return x
        met = yield from self.ask(goal, min(self.gap, whole))
        if met[0]:
            return goal
        low, high, best = 0.0, 1.0, x
        while high - low > self.theta * high and high * whole > self.least and self.left >= 1:
            share = (low + high) / 2
            point = self.boxed(goal + share * (x - goal))
            met = yield from self.ask(point)
            if met[0]:
                high, best = share, point
            else:
                low = share
        self.gap = high * whole
        return best

    def distance(self, x: NDArray[Any]) -> float:
        """How far `x` ``(d,)`` is from the region."""
        return math.dist(x, self.into(x))

    def _nearest(self, won: NDArray[Any]) -> NDArray[Any] | None:
        """Of `won` ``(k, d)`` the smallest change inside the region, where it is smaller than all before."""
        won = won[self._inside(won)]
        if not len(won):
            return None
        self.gap = 0.0
        size = np.asarray(self.own.measure(won.reshape(-1, *self.shape), self._origins(len(won))))
        best = int(size.argmin())
        if not size[best] < self._smallest:
            return None
        self._smallest = float(size[best])
        return np.asarray(won[best])

    def _inside(self, x: NDArray[Any]) -> NDArray[np.bool_]:
        return self.own.check(x, self._origins(len(x)))

    def _origins(self, k: int) -> NDArray[Any]:
        return np.broadcast_to(self.origin.reshape(self.shape), (k, *self.shape))

    def _row(self, x: NDArray[Any]) -> torch.Tensor:
        return torch.tensor(x).reshape(1, *self.shape)
