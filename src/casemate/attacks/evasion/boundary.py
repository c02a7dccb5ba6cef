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
        side, nearer = self.side, self.nearer
        for step in range(self.steps):
            look = step % ROUND == 0
            if walk.left < 1 + look or walk.distance(x) <= walk.least or nearer < 1e-9:
                return
            around, ahead = _step(walk, x, side, nearer)
            met = yield from walk.ask(np.stack([ahead, around] if look else [ahead]), walk.nearest)
            nearer = min(0.5, nearer * math.exp(self.adapt * (met[0] - NEARER)))
            if look:
                side = min(1.0, side * math.exp(ROUND / 2 * self.adapt * (met[1] - SIDE)))
            if met[0] and walk.distance(ahead) < walk.distance(x):
                x = ahead


def _step(walk: Walk, x: NDArray[Any], side: float, nearer: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """A random point of the sphere through `x`, and the same brought nearer; the first is where only the side step counts."""
    way = walk.beside(x, walk.directions(1)[0])
    if way is None:
        return x, walk.towards(x, 1 - nearer, 1.0)
    change = x - walk.origin + (side * walk.distance(x)) * way
    change = change / math.sqrt(1 + side * side)
    return walk.boxed(walk.origin + change), walk.boxed(walk.origin + (1 - nearer) * change)
