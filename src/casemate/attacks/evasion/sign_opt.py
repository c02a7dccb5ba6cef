"""The shortest ray to the boundary, by the signs of how its length changes: one decision each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ._decisions import Talk, Walk, enter

Turn = Callable[[float, float], NDArray[Any]]  # (how much, the distance to end at) -> the point (d,)


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
    live in a cube, so a turn brings a share of the values to its faces, those first that the estimate is surest of.

    Differs from the paper: the size of a turn is a share of the ray's length (linf: of its values), later estimates remember
    earlier ones, and the mean of all turns is taken out of the estimate. The paper's is for l2; in linf `RayS` finds much
    nearer points with as many queries.

    Args:
        steps: Estimates.
        directions: Queries of each estimate. Published: 200.
        stride: The first turn, as a share of the ray (linf: of the values that it would change).
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
            turn = _flips(walk, x, past) if walk.linf else _turns(walk, x, past)
            if turn is None:
                continue
            x, stride = yield from self._descend(walk, x, turn, stride)
            walk.widen(size, x)

    def _descend(self, walk: Walk, x: NDArray[Any], turn: Turn, stride: float) -> Talk:
        """The nearest point found along turns of growing (else shrinking) size, and the size to begin with next time."""
        best, grown = x, False
        for _ in range(12):
            if walk.left < 1:
                break
            ahead = turn(stride, walk.distance(best) * (1 - walk.theta))
            met = yield from walk.ask(ahead[None])
            if met[0]:
                best = yield from walk.fall(ahead)
                grown, stride = True, 2 * stride
            elif grown:
                return best, stride / 2
            else:
                stride /= 2
        return best, stride if grown else self.stride


def _turns(walk: Walk, x: NDArray[Any], slope: NDArray[Any]) -> Turn | None:
    """In l2: the ray to `x` turned towards `slope`, by a share of its length."""
    way, whole = walk.beside(x, slope), walk.distance(x)
    return None if way is None else lambda much, size: walk.turned(x, (much * whole) * way, size)


def _flips(walk: Walk, x: NDArray[Any], slope: NDArray[Any]) -> Turn | None:
    """In linf: a share of the ray's values brought to the faces of its cube, those with most to gain by `slope` first.

    A ray in a corner of the cube cannot be turned a little: short of two lengths a value that is to change sign only
    leaves its face. And the signs of an estimate are mostly noise where it is small.
    """
    ray, whole = x - walk.origin, walk.distance(x)
    aim = np.where(slope < 0, -whole, whole).astype(ray.dtype)
    change = np.abs(aim - ray)
    gain = np.abs(slope) * (change > 1e-5 * whole) * change  # what is at its face but for rounding has nothing to gain
    order = np.argsort(-gain, kind="stable")[: np.count_nonzero(gain)]
    if not len(order):
        return None

    def turn(much: float, size: float) -> NDArray[Any]:
        chosen, other = order[: max(1, round(much * len(order)))], ray.copy()
        other[chosen] = aim[chosen]
        return walk.boxed(walk.origin + (size / whole) * other)

    return turn
