"""A walk along half circles over the way to the input, each in the plane of the boundary's normal."""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar, Literal

import numpy as np

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.goal import Becomes
from ...core.oracle import Oracle
from ._decisions import Talk, enter


@attack(
    "evasion.cgba",
    needs=Need.LABEL,
    scope="dialogue",
    norms=("l2",),
    papers=("arXiv:2308.03163",),
    aka=("CGBA", "CGBA-H", "Curvature-aware geometric black-box attack"),
    spends="sum over t of evals sqrt(t) + 15 queries per row, or what the budget leaves",
    static_cost=lambda a: sum(round(a.evals * math.sqrt(t)) + 16 for t in range(1, a.steps + 1)),
)
class CGBA:
    """Estimate the boundary's normal from decisions, follow a half circle in its plane to where it leaves the region.

    A dialogue of one row. The half circle over the way from the boundary point to the input meets a flat boundary exactly
    at the nearest point in that plane, and every point of it is nearer than where it began: no step can lose. Where the
    region is narrow (one wanted class, say) the circle leaves it soon; CGBA-H then begins at half the angle of the normal,
    halves until the goal is met, and goes straight back to the boundary.

    Differs from the paper in lengths, which here are shares of the distance, and in the memory.

    Args:
        steps: Half circles.
        evals: Queries of the first normal; the t-th takes sqrt(t) times as many. Published: 30.
        path: ``circle`` is CGBA, ``halving`` is CGBA-H; ``auto`` takes CGBA-H where the goal names the class to reach.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
        memory: Weight of the normals of earlier steps in the next one, in [0, 1). Published: 0.
        share: Share of the frequencies, along each axis of an image, that directions are drawn from at first; steps that gain
            little widen it. Published: 0.25 throughout, in which the nearest points are not.
    """

    steps: int = 200
    evals: int = 30
    path: Literal["auto", "circle", "halving"] = "auto"
    starts: int = 100
    memory: float = 0.5
    share: float = 0.25
    info: ClassVar[AttackInfo]

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        if self.path not in ("auto", "circle", "halving"):
            raise BadInput(f"evasion.cgba: path={self.path!r} is not allowed; give 'auto', 'circle' or 'halving'")
        halving = self.path == "halving" or (self.path == "auto" and isinstance(case.goal, Becomes))
        walk = enter(oracle, case, rng, self.info)
        walk.narrow(self.share)
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x = yield from walk.fall(x)
        past = np.zeros_like(x)
        for t in range(1, self.steps + 1):
            size = walk.distance(x)
            evals = int(min(self.evals * math.sqrt(t), walk.left - 2))
            if size <= walk.least or evals < 1:
                return
            slope = yield from walk.slope(x, size * walk.probe, evals, partial(walk.turned, x, size=size))
            slope = past = slope + self.memory * past
            side = walk.beside(x, slope)
            if side is None:
                continue
            if halving:
                ahead = yield from walk.swing(x, side, walk.angle(x, slope) / 2)
                x = x if ahead is None else (yield from walk.fall(ahead))
            else:
                x = yield from walk.circle(x, side)
            walk.widen(size, x)
