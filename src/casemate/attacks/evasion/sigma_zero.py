"""Sigma-zero: few changed values, by descent on a smooth count of them."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Slope
from .._rows import Rows
from ._nearest import ball_of, begin, met, nearer
from ._polish import clean, lead, wide
from ._prune import prune

MEAN, SQUARE = 0.9, 0.999  # memory of Adam


@attack(
    "evasion.sigma_zero",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:2402.01879",),
    aka=("sigma-zero",),
    spends="at most steps gradients per row",
    norms=("l0",),
    static_cost=lambda a: 3 * a.steps,
)
class SigmaZero:
    """Change as few values as possible: Adam on the margin plus a smooth count, and small changes are taken back.

    The count of changed values is ``d^2 / (d^2 + sigma)`` summed, with d a share of the domain. After each step changes below
    a threshold become zero; the threshold is each row's own, rises while the row succeeds and falls while it does not.

    Differs from the paper in its last steps, which take back values one after the other, the least useful first, and move
    the others to make up for it; with ``prune=0`` they do not. Goals with a class to reach are met by the same descent.

    Args:
        steps: Gradients in all, at most.
        stride: Step length at the start; it falls to a tenth along a cosine.
        sigma: Sharpness of the count.
        threshold: Changes below it are taken back, at the start.
        adapt: How fast the threshold moves, as a share of the step length.
        prune: Share of the steps that take values back.
    """

    steps: int = 1000
    stride: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3
    adapt: float = 0.02
    prune: float = 0.1

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = ball_of(case, "evasion.sigma_zero", ("l0",))
        last = round(self.prune * self.steps)
        at = begin(case)
        zero = torch.zeros_like(at.x)
        at = at.keep(mean=zero, square=zero, scale=torch.ones_like(at.loss), least=self.threshold + torch.zeros_like(at.loss))
        for step in range(self.steps - last):
            here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=lead(case))
            if step == 0:
                at = at.keep(scale=clean(here, at)[1].abs().clamp_min(1e-12))
            won = met(at, case, here.response)
            at = nearer(at, case, here.response)
            stride = self._stride(step - 1, self.steps - last)
            at = self._descend(at, here, ball, step, stride)
            stride = self._stride(step, self.steps - last)
            least = (at.state["least"] + self.adapt * stride * (2 * won.to(at.loss.dtype) - 1)).clamp(0, 1)
            small = (at.x - at.origin).abs() < wide(least * (ball.high - ball.low), at.x)
            at = yield at.at(torch.where(small, at.origin, at.x)).keep(least=least)
        at = yield from prune(oracle, case, at, last)
        return at

    def _stride(self, step: int, steps: int) -> float:
        """Step length after so many steps."""
        return self.stride if step < 0 else self.stride * (0.1 + 0.45 * (1 + math.cos(math.pi * step / steps)))

    def _descend(self, at: Rows, here: Slope, ball: Ball, step: int, stride: float) -> Rows:
        """A step of Adam on what is left of the margin plus the count, the slope scaled to a largest entry of one."""
        slope, value = clean(here, at)
        span = ball.high - ball.low
        change = (at.x - at.origin) / span
        below = change.square() + self.sigma
        pull = 2 * self.sigma * change / below.square() / math.prod(at.x.shape[1:])
        pull = pull - slope * wide((value < 0).to(slope.dtype) * span, slope)
        pull = pull / wide(pull.flatten(1).abs().amax(1).clamp_min(1e-12), pull)
        mean = MEAN * at.state["mean"] + (1 - MEAN) * pull
        square = SQUARE * at.state["square"] + (1 - SQUARE) * pull.square()
        size = (square / (1 - SQUARE ** (step + 1))).sqrt() + 1e-8
        x = at.x - (stride * span / (1 - MEAN ** (step + 1))) * mean / size
        return at.at(ball.box(x)).keep(mean=mean, square=square)
