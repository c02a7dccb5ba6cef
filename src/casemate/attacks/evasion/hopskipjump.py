"""A walk along the decision boundary towards the input: needs the decision and nothing else."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ...core.adversary import Need
from ...core.attack import AttackInfo, attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.oracle import Oracle
from ._decisions import Talk, enter
from ._own_walk import OwnWalk, approach


@attack(
    "evasion.hopskipjump",
    needs=Need.LABEL,
    scope="dialogue",
    within=("Ball", "Region"),
    papers=("arXiv:1904.02144",),
    aka=("HopSkipJump", "HSJ", "HSJA", "BoundaryAttack++"),
    spends="sum over t of evals sqrt(t) + 2 log2(size) queries per row, or what the budget leaves",
    static_cost=lambda a: sum(round(min(a.evals * math.sqrt(t), a.most)) + 16 for t in range(1, a.steps + 1)),
)
class HopSkipJump:
    """Estimate the boundary's direction from decisions, jump along it, fall back onto the boundary towards the input.

    A dialogue of one row. Every point on the way is in the ball's box; the radius only decides when a claim counts: a
    row whose nearest point lies within it is broken, and finished unless the case seeks the nearest.

    In a constraint of your own (with `low` and `high`, the domain to walk in) there is nothing to jump for: the direction
    says which point of the constraint is furthest along it. That is asked; where it does not meet the goal either, the
    boundary on the way there is where the next direction is estimated. The first point inside that meets the goal ends it.

    Args:
        steps: Jumps.
        evals: Queries of the first direction; the t-th takes sqrt(t) times as many.
        most: Most queries of one direction.
        starts: Random points tried for a first success; a row that finds none has failed, alone.
        memory: Weight of the directions of earlier jumps in the next one, in [0, 1). As published it is 0, and `evals` 100.
            The defaults were tuned on the cheque digits; docs/reference/benchmarks.md compares them on others of them.
    """

    steps: int = 64
    evals: int = 50
    most: int = 10_000
    starts: int = 100
    memory: float = 0.5
    info: ClassVar[AttackInfo]

    def __call__(self, oracle: Oracle, case: Evade, *, rng: np.random.Generator) -> Talk:
        if not isinstance(case.within, Ball):
            yield from self._into(approach(oracle, case, rng, self.info))
            return
        walk = enter(oracle, case, rng, self.info, plain=True)
        ball = walk.ball
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x = yield from walk.fall(x)
        past = np.zeros_like(x)
        for t in range(1, self.steps + 1):
            size = walk.distance(x)
            # The direction, and at least one jump: a direction nobody can follow is wasted.
            evals = int(min(self.evals * math.sqrt(t), self.most, walk.left - 2))
            if size <= 0 or evals < 1:
                return
            delta = 0.1 * (ball.high - ball.low) if t == 1 else size * walk.probe
            slope = yield from walk.slope(x, delta, evals)
            slope = past = slope + self.memory * past
            slope = slope / max(float(np.linalg.norm(slope)), 1e-30)
            ahead = yield from walk.jump(x, np.sign(slope) if ball.norm == "linf" else slope, size / math.sqrt(t))
            if ahead is None:
                continue
            x = yield from walk.fall(ahead)

    def _into(self, walk: OwnWalk) -> Talk:
        """Into a constraint of the user's own."""
        x = yield from walk.start(self.starts)
        if x is None:
            return
        x, past = (yield from walk.towards_point(x, walk.into(x))), np.zeros_like(x)
        for t in range(1, self.steps + 1):
            evals = int(min(self.evals * math.sqrt(t), self.most, walk.left - 1))
            if walk.arrived or evals < 1:
                return
            slope = past = (yield from walk.slope(x, walk.gap * walk.probe, evals)) + self.memory * past
            x = yield from walk.towards_point(x, walk.furthest(slope))
