"""Signs flipped block by block along rays to the corners of the box: linf from decisions, with no slope at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ._decisions import ODD, Talk, Walk, enter


@attack(
    "evasion.rays",
    needs=Need.LABEL,
    scope="dialogue",
    norms=("linf",),
    papers=("arXiv:2006.12792",),
    aka=("RayS", "Ray searching"),
    spends="1 query for each block of signs, and about 2 log2(gain / tolerance) for each that helps",
    static_cost=lambda a: a.queries,
)
class RayS:
    """Flip the signs of ever smaller blocks of values, keep the flips with which a shorter ray meets the goal.

    A dialogue of one row. A ray leaves the input for a corner of the box; its length is the linf distance. A block is
    flipped, the new ray asked a little short of the best length, and only if it meets the goal there is its length looked
    for. Blocks are halved when all of one size were tried; at single values the search ends once a whole pass helps nothing.

    Differs from the paper: every question is checked against the budget before it is asked; lengths are looked for from
    the best one downwards in growing steps (small blocks gain little, so a bisection of the whole ray is wasted on them);
    the tolerance is a share of the length; blocks of images are rectangles, not runs of rows; and where no corner meets
    the goal (one wanted class, say) the first ray is the one to a point that does, whose values become signs as their
    blocks are flipped.

    Args:
        queries: Most queries for one row.
        tolerance: How exactly a length is found, as a share of it. Published: 0.001 of a unit box.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
    """

    queries: int = 10_000
    tolerance: float = 2e-3
    starts: int = 100
    info: ClassVar[AttackInfo]

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        walk = enter(oracle, case, rng, self.info)
        walk.limit(self.queries)
        x = yield from walk.start(self.starts)
        if x is None:
            return
        ray, length = yield from _first(walk, x)
        length = yield from self._shorten(walk, ray, length, 0.5)
        gain, order = 0.25, _places(walk.shape)
        for blocks in _levels(order.size):
            helped = True
            while helped:
                helped = False
                for block in np.array_split(order, blocks):
                    if walk.left < 1 or length <= walk.least:
                        return
                    ray, shorter = yield from self._flipped(walk, ray, block, length, gain)
                    if shorter < length:
                        gain, helped = max(self.tolerance, 1 - shorter / length), blocks == order.size
                        length = shorter

    def _flipped(self, walk: Walk, ray: NDArray[Any], block: NDArray[np.int64], length: float, gain: float) -> Talk:
        """The ray with a block changed, and its length; as it was where no change makes it shorter."""
        aim = length * (1 - self.tolerance)
        for other in _changed(ray, block):
            if walk.left < 1:
                break
            met = yield from walk.ask(_at(walk, other, aim)[None], walk.nearest)
            if met[0]:
                return other, (yield from self._shorten(walk, other, aim, gain))
        return ray, length

    def _shorten(self, walk: Walk, ray: NDArray[Any], length: float, step: float) -> Talk:
        """The shortest length of a ray, known to meet the goal at `length`: in growing steps, the first a share of it."""
        low, high = 0.0, length
        while high - low > max(ODD * self.tolerance * high, walk.least) and walk.left >= 1:
            at = (low + high) / 2 if low else high * (1 - min(step, 0.5))
            at = walk.inside if low < walk.inside < high else at  # a success at the radius ends the attack
            met = yield from walk.ask(_at(walk, ray, at)[None])
            if met[0]:
                high, step = at, 2 * step
            else:
                low = at
        return high


def _first(walk: Walk, x: NDArray[Any]) -> Talk:
    """The first ray and a length at which it meets the goal: to the corner on the way of `x`, or else to `x`."""
    corner, whole = _sign(x - walk.origin), walk.distance(x)
    for length in (whole, walk.ball.high - walk.ball.low):
        if walk.left < 1:
            break
        met = yield from walk.ask(_at(walk, corner, length)[None])
        if met[0]:
            return corner, length
    return (x - walk.origin) / whole, whole


def _changed(ray: NDArray[Any], block: NDArray[np.int64]) -> list[NDArray[Any]]:
    """The rays to try for a block: its signs flipped; before that, where it has values short of the cube's faces, brought
    there."""
    part, found = ray[block], []
    short = np.minimum.reduce(np.abs(part)) < 1
    for change in (_sign(part), -_sign(part)) if short else (-part,):
        other = ray.copy()
        other[block] = change
        found.append(other)
    return found


def _sign(x: NDArray[Any]) -> NDArray[Any]:
    return np.where(x < 0, -1.0, 1.0).astype(x.dtype)


def _at(walk: Walk, ray: NDArray[Any], length: float) -> NDArray[Any]:
    return walk.boxed(walk.origin + length * ray)


def _levels(size: int) -> Iterator[int]:
    """How many blocks: 1, 2, 4, ... and at last one for each value."""
    blocks = 1
    while blocks < size:
        yield blocks
        blocks *= 2
    yield size


def _places(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The values of an input in an order in which runs are rectangles: the bits of row and column interleaved."""
    d = int(np.prod(shape))
    if len(shape) < 2:
        return np.arange(d)
    rows, columns = (np.arange(d) // shape[-1]) % shape[-2], np.arange(d) % shape[-1]
    key = np.zeros(d, np.int64)
    for bit in range(max(shape[-2:]).bit_length()):
        key |= ((rows >> bit) & 1) << (2 * bit + 1) | ((columns >> bit) & 1) << (2 * bit)
    return np.lexsort((np.arange(d) // (shape[-1] * shape[-2]), key))
