"""From the input straight along the boundary's normal, estimated at ever nearer points of the boundary."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ._decisions import Talk, Walk, enter


@attack(
    "evasion.geoda",
    needs=Need.LABEL,
    scope="dialogue",
    papers=("arXiv:2003.06468",),
    aka=("GeoDA", "Geometric decision-based attack"),
    spends="sum over t of evals ratio^(-2t/3) + 15 queries per row, or what the budget leaves",
    static_cost=lambda a: sum(a.planned(t) + 16 for t in range(a.steps)),
)
class GeoDA:
    """Take the boundary for flat near a point of it, and go from the input along its normal (linf: along the signs).

    A dialogue of one row. Each step spends more queries than the one before on the normal, by the published optimum. Where
    the normal leads to a nearer point, the next one is estimated there; else the same point is asked about once more.

    Differs from the paper: the best point is kept, estimates of the points on the way are added up with weights that fade,
    the ray is only asked up to the best distance so far, and steps that gain little widen the subspace.

    Args:
        steps: Normals.
        evals: Queries of the first normal.
        ratio: In (0, 1): what a step is expected to leave of the excess distance; queries grow by ``ratio ** (-2/3)``.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
        memory: Weight of the normals of earlier steps in the next one, in [0, 1]. Published: 0.
        share: Share of the frequencies, along each axis of an image, that directions are drawn from at first.
    """

    steps: int = 16
    evals: int = 40
    ratio: float = 0.6
    starts: int = 100
    memory: float = 0.5
    share: float = 0.25
    info: ClassVar[AttackInfo]

    def planned(self, step: int) -> int:
        """Queries of the normal of a step, counted from 0."""
        return round(self.evals * math.pow(self.ratio, -2 * step / 3))

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        if not 0 < self.ratio < 1:
            raise BadInput(f"evasion.geoda: ratio={self.ratio!r} is not allowed; give a number between 0 and 1")
        walk = enter(oracle, case, rng, self.info)
        walk.narrow(self.share)
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x = yield from walk.fall(x)
        past = np.zeros_like(x)
        for step in range(self.steps):
            size = walk.distance(x)
            evals = int(min(self.planned(step), walk.left - 2))
            if size <= walk.least or evals < 1:
                return
            slope = yield from walk.slope(x, size * walk.probe, evals)
            past = slope + self.memory * past
            x = yield from _along(walk, x, past)
            walk.widen(size, x)


def _along(walk: Walk, x: NDArray[Any], normal: NDArray[Any]) -> Talk:
    """The boundary on the ray from the input along `normal`, where it is nearer than `x`; else `x`."""
    way = np.sign(normal) if walk.linf else normal
    length = 1.0 if walk.linf else float(np.linalg.norm(way))
    if not length > 0 or walk.left < 1:
        return x
    ahead = walk.boxed(walk.origin + (walk.distance(x) * (1 - walk.theta) / length) * way)
    met = yield from walk.ask(ahead[None])
    return (yield from walk.fall(ahead)) if met[0] else x
