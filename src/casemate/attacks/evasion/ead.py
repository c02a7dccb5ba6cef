"""EAD: elastic-net attack, a sparse and small change by shrinkage and thresholding."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Slope
from .._rows import Rows
from ._nearest import ball_of, begin, distance, met, nearer
from ._polish import clean, lead, polish, wide

STEEPER, CEILING = 10.0, 1e10  # growth of the constant while a row fails, and where it ends


@attack(
    "evasion.ead",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:1709.04114",),
    aka=("EAD", "elastic-net attack", "EADL1", "EADEN"),
    spends="searches x steps gradients per row",
    norms=("l1",),
    static_cost=lambda a: 3 * a.searches * a.steps,
)
class EAD:
    """Minimise ``c hinge(margin) + |change|_2^2 + beta |change|_1`` by a fast iterated shrinkage, and search for c.

    Each row has its own c: ten times more while the row fails, then between the largest that failed and the smallest that
    succeeded. Changes are shares of the domain.

    Differs from the paper in four places. The slope is taken at the point that is also judged, so that an iteration costs one
    pass and not two; momentum acts on the step alone. The margin is measured in units of the margin at the input, and the
    search halves on a logarithmic scale from a larger start: c then means the same on any model. With ``rule="l1"`` the last
    steps follow the boundary to its nearest point; with ``polish=0`` they do not.

    Args:
        steps: Gradients of each search step.
        searches: Steps of the search for c.
        beta: Shrinkage of every value at each iteration, and the weight of the sum of changes in the elastic net.
        stride: Step length at the start; it falls like a square root.
        constant: c at the start.
        rule: What the best is judged by: ``l1`` or ``en`` (the elastic net).
        polish: Share of all steps that follow the boundary.
    """

    steps: int = 1000
    searches: int = 9
    beta: float = 1e-2
    stride: float = 1e-2
    constant: float = 10.0
    rule: Literal["l1", "en"] = "l1"
    polish: float = 0.15

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = ball_of(case, "evasion.ead", ("l1",))
        last = round(self.polish * self.searches * self.steps) if self.rule == "l1" else 0
        steps = (self.searches * self.steps - last) // max(1, self.searches)
        at = begin(case)
        one = torch.ones_like(at.loss)
        at = at.keep(c=one * self.constant, low=one * 0, high=one * torch.inf, scale=one, score=one.double() * torch.inf)
        for search in range(self.searches):
            at = at.at(at.origin).keep(before=at.origin, won=torch.zeros_like(at.broken))
            for step in range(steps):
                here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=lead(case))
                if search == step == 0:
                    at = at.keep(scale=clean(here, at)[1].abs().clamp_min(1e-12))
                won = met(at, case, here.response)
                at = nearer(at, case, here.response) if self.rule == "l1" else self._by_net(at, ball, won)
                at = yield self._shrink(at.keep(won=at.state["won"] | won), here, ball, step, steps)
            at = _searched(at)
        at = yield from polish(oracle, case, at, last)
        return at

    def _shrink(self, at: Rows, here: Slope, ball: Ball, step: int, steps: int) -> Rows:
        """An iteration: momentum, slope, and every value drawn to its origin, which the small ones reach."""
        slope, value = clean(here, at)
        span = ball.high - ball.low
        push = torch.where(value < 0, at.state["c"] / at.state["scale"], torch.zeros_like(value)) * span
        ahead = (at.x - at.origin + step / (step + 3) * (at.x - at.state["before"])) / span
        stride = self.stride * math.sqrt(1 - step / steps)
        ahead = ahead - stride * (2 * ahead - slope * wide(push, slope))
        change = ahead.sign() * (ahead.abs() - self.beta).clamp_min(0)
        x = torch.where(change == 0, at.origin, ball.box(at.origin + span * change))
        return at.at(x).keep(before=at.x)

    def _by_net(self, at: Rows, ball: Ball, won: Tensor) -> Rows:
        """Keep the success with the smallest elastic net; it is a claim where it lies inside the ball."""
        size, span = distance(at.x, at.origin, "l1"), ball.high - ball.low
        score = self.beta * size / span + (distance(at.x, at.origin, "l2") / span).square()
        better = won & (score < at.state["score"])
        claim = better & (size <= ball.radius * (1 + 1e-9) + 1e-12)
        near = torch.where(wide(better, at.x), at.x, at.state["near"])
        size = torch.where(better, size, at.state["size"])
        score = torch.where(better, score, at.state["score"])
        best = torch.where(wide(claim, at.x), at.x, at.best)
        at = replace(at, best=best, broken=at.broken | claim, loss=(-score).to(at.loss.dtype))
        return at.keep(near=near, size=size, score=score)


def _searched(at: Rows) -> Rows:
    """The constants after a search step: lower where the row succeeded, higher where it did not."""
    c, won = at.state["c"], at.state["won"]
    high = torch.where(won, torch.minimum(at.state["high"], c), at.state["high"])
    low = torch.where(won, at.state["low"], torch.maximum(at.state["low"], c))
    between = torch.where(low > 0, (low * high).sqrt(), high / STEEPER)
    c = torch.where(torch.isinf(high), c * STEEPER, between).clamp_max(CEILING)
    return at.keep(c=c, low=low, high=high)
