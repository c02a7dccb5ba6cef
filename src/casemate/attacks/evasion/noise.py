"""Random points of the constraint: what happens without any skill."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import NORMS, Ball
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._own import Room, moved_in, room


@attack(
    "evasion.noise",
    needs=Need.LABEL,
    papers=("arXiv:1902.06705",),
    aka=("noise", "random search", "additive noise"),
    spends="trials queries per row",
    within=("Ball", "Region"),
    baseline=True,
    static_cost=lambda a: a.trials,
)
class Noise:
    """Ask at random points of the ball, half of them inside it and half on its corners.

    The baseline of every other attack: one that does no better found nothing. Corners are there because most of a
    ball's volume in many dimensions lies where a uniform draw never goes far along any one direction. In a constraint of
    your own, points about a radius away in random directions, projected.

    Args:
        trials: Points tried for each row, at least 1; each costs one query.
    """

    trials: int = 100

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        case = moved_in(case, "evasion.noise", NORMS)
        ball, at = room(case), Rows.begin(case)
        for trial in range(self.trials):
            origin = at.origin.cpu().numpy().astype(np.float64)
            if trial % 2 and isinstance(ball, Ball):
                point = corner(ball, origin, rng, at.row, trial)
            else:
                point = ball.sample(origin, rng, at.row, (trial,))
            at = at.at(inside(ball, point, at.origin))
            at = yield at.see(case, oracle.look(at.x, rows=at.row))
        return at


def corner(ball: Ball, origin: NDArray[np.float64], rng: RowRandom, rows: Any, draw: int) -> NDArray[np.float64]:
    """A point of the ball as far out as it goes: a vertex (``linf``, ``l1``) or a point of the sphere (``l2``).

    Without a radius, a vertex of the box. ``(n, *shape)``, not yet boxed.
    """
    shape = origin.shape[1:]
    if math.isinf(ball.radius) or ball.norm == "linf":
        sign = np.where(rng.bits(rows, (draw, 1), math.prod(shape)) >> np.uint64(63), 1.0, -1.0).reshape(origin.shape)
        return np.asarray(origin + sign * min(ball.radius, ball.high - ball.low))
    if ball.norm == "l2":
        normal = rng.normal(rows, (draw, 1), shape).reshape(len(origin), -1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        return np.asarray(origin + ball.radius * normal.reshape(origin.shape))
    step = np.zeros((len(origin), math.prod(shape)))
    where = rng.integers(rows, (draw, 1), step.shape[1])
    step[np.arange(len(origin)), where] = np.where(rng.uniform(rows, (draw, 2)) < 0.5, -1.0, 1.0) * ball.radius
    return origin + step.reshape(origin.shape)


def inside(ball: Room, point: NDArray[np.float64], origin: Tensor) -> Tensor:
    """`point` in the precision of the input, and still inside after that rounding."""
    return torch.as_tensor(ball.project(torch.as_tensor(point, dtype=origin.dtype, device=origin.device), origin))
