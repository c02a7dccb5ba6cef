"""Short searches along circles in random low-frequency planes: no slope is ever estimated."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ._decisions import Talk, Walk, enter


@attack(
    "evasion.surfree",
    needs=Need.LABEL,
    scope="dialogue",
    norms=("l2",),
    papers=("arXiv:2011.12807",),
    aka=("SurFree",),
    spends="at most 2 trials queries for each plane that helps nothing, and about 8 more for each that helps",
    static_cost=lambda a: a.queries,
)
class SurFree:
    """Turn on the half circle over the way to the input, in a random plane, as far as the goal is met; then the next plane.

    A dialogue of one row. In a plane through the input and the nearest point so far, at right angles to the planes before,
    a few angles on either side are asked, the widest first; from the first that meets the goal the search is refined by
    bisection. Every success is nearer by the cosine of its angle. The widest angle grows with success and shrinks without.

    Differs from the paper: directions are drawn from normal coefficients of the lowest frequencies, without the weights of
    the image's own, and more frequencies come in once thirty planes gained little.

    Args:
        queries: Most queries for one row.
        trials: Angles asked on either side of a plane.
        widest: The widest angle of the first plane, in degrees.
        adapt: What the widest angle is multiplied with after a plane that did not help; it is divided after one that did.
        memory: Planes that the next one is at right angles to. Published: 100, which leaves nothing of few frequencies.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
        share: Share of the frequencies, along each axis of an image, that directions are drawn from at first. Published: 0.5
            throughout.
    """

    queries: int = 10_000
    trials: int = 3
    widest: float = 30.0
    adapt: float = 0.95
    memory: int = 12
    starts: int = 100
    share: float = 0.25
    info: ClassVar[AttackInfo]

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        walk = enter(oracle, case, rng, self.info)
        walk.limit(self.queries)
        walk.narrow(self.share)
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x = yield from walk.fall(x)
        planes = _Planes(min(self.memory, x.size - 2))
        widest, before = math.radians(self.widest), walk.distance(x)
        for turn in range(1, self.queries + 1):
            side = planes.next(walk, x)
            if walk.left < 1 or side is None or widest < walk.theta or walk.distance(x) <= walk.least:
                return
            found = yield from self._turn(walk, x, side, widest)
            widest = widest * self.adapt if found is None else min(widest / self.adapt, math.pi / 2)
            x = x if found is None else found
            if turn % 30 == 0:
                walk.widen(before, x)
                before = walk.distance(x)

    def _turn(self, walk: Walk, x: NDArray[Any], side: NDArray[Any], widest: float) -> Talk:
        """The furthest point of the circle to either side, or None where no angle asked meets the goal."""
        arc = walk.arc(x, side)
        for trial in range(self.trials, 0, -1):
            angle = widest * trial / self.trials
            for way in (1.0, -1.0):
                if walk.left < 1:
                    return None
                ahead = arc(way * angle)
                met = yield from walk.ask(ahead, walk.nearest)
                if met[0]:
                    return (yield from self._refine(walk, arc, way, angle, widest / self.trials, ahead))
        return None

    def _refine(
        self, walk: Walk, arc: Callable[[float], NDArray[Any]], way: float, low: float, step: float, best: NDArray[Any]
    ) -> Talk:
        """How far beyond the angle `low`, which meets the goal, the circle goes on meeting it: within one `step`."""
        high = min(low + step, math.pi / 2)
        while high - low > max(walk.theta, 0.1 * low) and walk.left >= 1:
            at = (low + high) / 2
            ahead = arc(way * at)
            met = yield from walk.ask(ahead)
            if met[0]:
                low, best = at, ahead
            else:
                high = at
        return best


class _Planes:
    """Random directions at right angles to the way to the input and to those of the last planes."""

    def __init__(self, memory: int) -> None:
        self._memory = max(0, memory)
        self._past: NDArray[Any] | None = None  # (at most memory, d)

    def next(self, walk: Walk, x: NDArray[Any]) -> NDArray[Any] | None:
        """A unit vector ``(d,)`` at right angles to ``x - origin``; None where five draws in a row had nothing left."""
        for _ in range(5):
            way = walk.directions(1)[0]
            past = self._past
            if past is not None:
                way = way - (past @ way) @ past
            side = walk.beside(x, way)
            if side is not None:
                if self._memory:
                    self._past = side[None] if past is None else np.concatenate((past, side[None]))[-self._memory :]
                return side
            self._past = None
        return None
