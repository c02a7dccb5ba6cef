"""A random walk along the boundary: the reference that every attack on decisions is compared with."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ._decisions import Talk, Walk, enter

ROUND, SIDE, NEARER = 10, 0.35, 0.2  # steps between looks at the sphere; shares of successes that the lengths are led to


@attack(
    "evasion.boundary",
    needs=Need.LABEL,
    scope="dialogue",
    norms=("l2",),
    papers=("arXiv:1712.04248",),
    aka=("Boundary attack",),
    spends="1 query a step, and 1 more every tenth",
    static_cost=lambda a: a.starts + round(1.1 * a.steps) + 20,
)
class Boundary:
    """Step sideways on the sphere around the input, then towards it, and stay only where the goal is met.

    A dialogue of one row. It is a reference rather than an adversary's choice: it was the first of its kind and needs many
    times the queries of the later ones. Both lengths are led by their successes, as published, but a little after every
    question instead of by much after a count of them, and the walk begins on the boundary instead of at the noise.

    Args:
        steps: Steps.
        side: The first step sideways, as a share of the distance.
        nearer: The first step towards the input, as a share of the distance.
        adapt: How far a success changes a length: by this share of itself.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
    """

    steps: int = 25_000
    side: float = 0.1
    nearer: float = 0.01
    adapt: float = 0.1
    starts: int = 100
    info: ClassVar[AttackInfo]

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        walk = enter(oracle, case, rng, self.info)
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x = yield from walk.fall(x)
        side, nearer, size = self.side, self.nearer, walk.distance(x)
        for step in range(self.steps):
            look = step % ROUND == 0
            if walk.left < 1 + look or size <= walk.least or nearer < 1e-9:
                return
            change = _step(walk, x, size, side)
            ahead = walk.boxed(walk.origin + (1 - nearer) * change)
            asked = np.stack([ahead, walk.boxed(walk.origin + change)]) if look else ahead
            met = yield from walk.ask(asked, walk.nearest)
            nearer = min(0.5, nearer * math.exp(self.adapt * (met[0] - NEARER)))
            if look:
                side = min(1.0, side * math.exp(ROUND / 2 * self.adapt * (met[1] - SIDE)))
            if met[0] and (shorter := walk.distance(ahead)) < size:
                x, size = ahead, shorter


def _step(walk: Walk, x: NDArray[Any], size: float, side: float) -> NDArray[Any]:
    """The way from the input to a random point of the sphere through `x`, which is `size` away."""
    way, change = walk.beside(x, walk.directions(1)[0]), x - walk.origin
    return change if way is None else np.asarray((change + (side * size) * way) / math.sqrt(1 + side * side))
