"""The shortest ray to the boundary, by the signs of how its length changes: one decision each."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ._decisions import Talk, Walk, enter


@attack(
    "evasion.sign_opt",
    needs=Need.LABEL,
    scope="dialogue",
    papers=("arXiv:1909.10773",),
    aka=("Sign-OPT", "SignOPT", "OPT"),
    spends="steps x (directions + about 40) queries per row, or what the budget leaves",
    static_cost=lambda a: a.steps * (a.directions + 60) + a.starts,
)
class SignOPT:
    """Descend on the length of the ray that meets the goal: each random turn of it costs one decision at the same length.

    A dialogue of one row. Turned rays that still meet the goal at the present length are shorter ones; the mean of turns,
    weighted by that, is the way to turn. The turn is doubled as long as that helps, and halved until it does. For linf rays
    live in a cube, so turns go along signs and end at its faces.

    Differs from the paper: the size of a turn is a share of the ray's length, later estimates remember earlier ones, and
    the mean of all turns is taken out of the estimate.

    Args:
        steps: Estimates.
        directions: Queries of each estimate. Published: 200.
        stride: The first turn, as a share of the ray.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
        memory: Weight of earlier estimates in the next one, in [0, 1). Published: 0.
        share: Share of the frequencies, along each axis of an image, that turns are drawn from at first. Published: 1.
    """

    steps: int = 100
    directions: int = 100
    stride: float = 0.2
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
        past, stride = np.zeros_like(x), self.stride
        for _ in range(self.steps):
            size = walk.distance(x)
            k = int(min(self.directions, walk.left - 2))
            if size <= walk.least or k < 1:
                return
            # What is asked lies at the ray's own length: a turn that meets the goal there makes the ray shorter.
            place = None if walk.linf else partial(walk.turned, x, size=size)
            past = (yield from walk.slope(x, size * walk.probe, k, place)) + self.memory * past
            way = np.sign(past) if walk.linf else walk.beside(x, past)
            if way is None:
                continue
            x, stride = yield from self._descend(walk, x, way, stride)
            walk.widen(size, x)

    def _descend(self, walk: Walk, x: NDArray[Any], way: NDArray[Any], stride: float) -> Talk:
        """The nearest point found along turns of growing (else shrinking) size, and the size to begin with next time."""
        best, grown = x, False
        for _ in range(12):
            if walk.left < 1:
                break
            ahead = walk.turned(x, stride * walk.distance(x) * way, walk.distance(best) * (1 - walk.theta))
            met = yield from walk.ask(ahead[None])
            if met[0]:
                best = yield from walk.fall(ahead)
                grown, stride = True, 2 * stride
            elif grown:
                return best, stride / 2
            else:
                stride /= 2
        return best, stride if grown else self.stride
