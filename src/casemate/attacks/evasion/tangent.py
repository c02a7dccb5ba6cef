"""HopSkipJump with another jump: along the tangent instead of the normal."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import numpy as np

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ._decisions import Talk, enter


@attack(
    "evasion.tangent",
    needs=Need.LABEL,
    scope="dialogue",
    norms=("l2",),
    papers=("arXiv:2111.07492",),
    aka=("Tangent Attack", "TA"),
    spends="sum over t of evals sqrt(t) + 2 log2(size) queries per row, or what the budget leaves",
    static_cost=lambda a: sum(round(min(a.evals * math.sqrt(t), a.most)) + 16 for t in range(1, a.steps + 1)),
)
class Tangent:
    """Estimate the boundary's direction from decisions, go where a line from the input touches a ball around the boundary point.

    A dialogue of one row. The ball's radius is a share ``1 / sqrt(t)`` of the way to the input, halved until the point of
    contact meets the goal; from there straight back to the boundary. That point lies on the half circle over the way from
    the boundary point to the input, so it is nearer than where the jump began, whatever the direction was.

    Only for l2, because a tangent is one of Euclid's spheres; the published code carries the l2 step over to linf. As in
    HopSkipJump here, later directions remember earlier ones, and falls end 8 times earlier than published.

    Args:
        steps: Jumps.
        evals: Queries of the first direction; the t-th takes sqrt(t) times as many. Published: 100.
        most: Most queries of one direction.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
        memory: Weight of the directions of earlier jumps in the next one, in [0, 1). Published: 0.
        share: Share of the frequencies, along each axis of an image, that directions are drawn from at first; steps that gain
            little widen it. Published: 1.
    """

    steps: int = 64
    evals: int = 30
    most: int = 10_000
    starts: int = 100
    memory: float = 0.5
    share: float = 0.25
    info: ClassVar[AttackInfo]

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        walk = enter(oracle, case, rng, self.info)
        walk.narrow(self.share)
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x = yield from walk.fall(x)
        past = np.zeros_like(x)
        for t in range(1, self.steps + 1):
            size = walk.distance(x)
            evals = int(min(self.evals * math.sqrt(t), self.most, walk.left - 2))
            if size <= walk.least or evals < 1:
                return
            slope = yield from walk.slope(x, size * walk.probe, evals, partial(walk.turned, x, size=size))
            slope = past = slope + self.memory * past
            side = walk.beside(x, slope)
            # A ball as large as the way touches at the input itself: the first jump begins at half of it.
            ahead = None if side is None else (yield from walk.swing(x, side, math.asin(1 / math.sqrt(max(t, 4)))))
            if ahead is not None:
                x = yield from walk.fall(ahead)
            walk.widen(size, x)
