"""Decoupled direction and norm: step along the loss, then set the length by whether the step before was enough."""

from __future__ import annotations

from collections.abc import Generator

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
from ._nearest import ball_of, begin, cosine, last_look, margin, merged, met, nearer, pull_back, soft_margin, unfinished, wide

LAST_STRIDE, LAST_GAMMA = 0.01, 0.2  # at the last step, as shares of the first


@attack(
    "evasion.ddn",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("l2",),
    papers=("arXiv:1811.09600",),
    aka=("DDN", "decoupled direction and norm"),
    spends="steps calls per row: looks the last 1 + polish of them, gradients the others",
    static_cost=lambda a: 3 * a.steps,
)
class DDN:
    """Step along the slope of the loss, then shorten the change of a row that succeeded and lengthen that of one that did not.

    It differs from the paper in five things, each because it came nearer at the same calls, or is needed off images. The
    first length is the linear estimate of the distance where that is below `start` (boundaries may be much nearer than
    the domain is wide). Cross-entropy's direction is taken in a form that does not vanish where the model is certain, and
    gives way to the margin's late on: where several classes are near, it points between them. `gamma` falls to a fifth.
    The last steps search the way back. Nothing is rounded to levels of grey. A row without any slope steps at random.

    Args:
        steps: Calls for each row.
        gamma: Share by which the change is shortened or lengthened at each step, at first.
        start: The longest first change, as a share of the domain.
        stride: Length of the first step along the slope, as a share of the domain; it falls to a hundredth.
        sharpen: Share of the steps after which the slope is the margin's.
        polish: Of the steps, how many are kept for a search from the nearest success back to the input.
    """

    steps: int = 100
    gamma: float = 0.05
    start: float = 1.0
    stride: float = 1.0
    sharpen: float = 0.75
    polish: int = 4

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = ball_of(case, "evasion.ddn", ("l2",))
        soft, hard = soft_margin(case, "evasion.ddn"), margin(case, "evasion.ddn")
        at = begin(case)
        farthest = torch.maximum(at.origin - ball.low, ball.high - at.origin).flatten(1).norm(dim=1)
        at = at.keep(length=torch.full_like(at.loss, self.start * (ball.high - ball.low)), farthest=farthest)
        moves = max(1, self.steps - 1 - self.polish)
        for step in range(moves):
            part, index = unfinished(at)
            if not len(part):
                return at
            loss = soft if 0 < step < self.sharpen * moves else hard  # the first tells how far the boundary is
            here = oracle.gradient(part.x, y=part.y, rows=part.row, loss=loss)
            part = self._move(case, part, here, rng, step, moves)
            at = yield merged(at, part, index)
        at = yield last_look(oracle, case, at)
        return (yield from pull_back(oracle, case, at, self.polish, self.gamma / 2))

    def _move(self, case: Evade, at: Rows, here: Slope, rng: RowRandom, step: int, moves: int) -> Rows:
        ball = case.within
        assert isinstance(ball, Ball)
        won = met(at, case, here.response)
        at = nearer(at, case, here.response, won=won)
        slope, length = torch.nan_to_num(here.slope.to(at.x.dtype), 0.0, 0.0, 0.0), at.state["length"]
        size = slope.flatten(1).norm(dim=1)
        if step == 0:
            estimate = here.loss.to(at.x.dtype).abs() / size
            length = torch.where(torch.isfinite(estimate) & (estimate > 0), torch.minimum(estimate, length), length)
        gamma = cosine(step, moves, self.gamma, LAST_GAMMA * self.gamma)
        longer = torch.where(torch.isfinite(at.state["size"]), 1 + gamma, 1 + self.gamma).to(length.dtype)
        length = torch.minimum(length * torch.where(won, 1 - gamma, longer), at.state["farthest"])
        stride = cosine(step, moves, self.stride, LAST_STRIDE * self.stride) * (ball.high - ball.low)
        change = at.x - at.origin + stride * _unit(slope, size, at, rng, step)
        change *= wide(length / change.flatten(1).norm(dim=1).clamp_min(1e-30), change)
        return at.at(ball.box(at.origin + change)).keep(length=length)


def _unit(slope: Tensor, size: Tensor, at: Rows, rng: RowRandom, step: int) -> Tensor:
    """The slope at length 1; a random direction of the row's own where there is none."""
    unit = slope / wide(size.clamp_min(1e-30), slope)
    flat = size < 1e-30
    if bool(flat.any()):
        noise = torch.as_tensor(rng.normal(at.row, (step,), tuple(at.x.shape[1:])), dtype=unit.dtype, device=unit.device)
        unit = torch.where(wide(flat, unit), noise / wide(noise.flatten(1).norm(dim=1), noise), unit)
    return unit
