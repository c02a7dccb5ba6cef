"""Fast minimum norm: step along the margin's slope inside a ball of the row's own, which shrinks and grows to the boundary."""

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
from ._nearest import (
    ball_of,
    begin,
    cosine,
    distance,
    last_look,
    margin,
    merged,
    met,
    nearer,
    pull_back,
    soft_margin,
    unfinished,
    wide,
)

LAST_STRIDE, LAST_GAMMA = 0.01, 0.02  # at the last step, as shares of the first
LEAPS = 0.75  # share of the steps in which values of an l0 change go all the way to an end of the domain
DUAL = {"linf": 1.0, "l2": 2.0, "l1": float("inf")}
GROWTH = 1.2  # of the radius of a row with no success yet, at least
NEWTON = 10  # steps to the threshold of an l1 projection


@attack(
    "evasion.fmn",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("l2", "linf", "l1", "l0"),
    papers=("arXiv:2102.12827",),
    aka=("FMN", "fast minimum norm"),
    spends="steps calls per row: looks the last 1 + polish of them, gradients the others",
    static_cost=lambda a: 3 * a.steps,
)
class FMN:
    """Step along the slope of the margin, and project on a ball whose radius follows the boundary of each row.

    Until a row succeeds its radius is the linear estimate of its distance from the boundary; then it shrinks by `gamma`
    after a success and grows after a failure.

    It differs from the paper in these things, each because it came nearer at the same calls. For the first half, the slope
    is that of a smooth margin over all classes, which does not jump between them. Without a success the radius
    grows at least by a fifth, so no row is left behind. An ``l1`` projection knows the box, so that no length is lost at
    its sides. ``l0`` keeps the values with the largest gain (slope times change), not the largest change; at first they
    go to an end of the domain, later they move as the slope says. The last steps search the way back.

    Args:
        steps: Calls for each row.
        gamma: Share by which the ball shrinks or grows at each step, at first; it falls to a fiftieth.
        stride: Length of the first step along the slope, as a share of the domain; it falls to a hundredth.
        sharpen: Share of the steps after which the slope is the margin's own.
        polish: Of the steps, how many are kept for a search from the nearest success back to the input.
    """

    steps: int = 100
    gamma: float = 0.05
    stride: float = 1.0
    sharpen: float = 0.5
    polish: int = 4

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = ball_of(case, "evasion.fmn", ("l2", "linf", "l1", "l0"))
        soft, hard = soft_margin(case, "evasion.fmn"), margin(case, "evasion.fmn")
        at = begin(case)
        ends = torch.where(at.origin - ball.low > ball.high - at.origin, ball.low, ball.high)
        at = at.keep(
            bound=torch.full_like(at.state["size"], 1.0 if ball.norm == "l0" else torch.inf),
            farthest=distance(ends, at.origin, ball.norm),
        )
        moves = max(1, self.steps - 1 - self.polish)
        for step in range(moves):
            part, index = unfinished(at)
            if not len(part):
                return at
            here = oracle.gradient(part.x, y=part.y, rows=part.row, loss=soft if step < self.sharpen * moves else hard)
            at = yield merged(at, self._move(case, part, here, step, moves), index)
        at = yield last_look(oracle, case, at)
        return (yield from pull_back(oracle, case, at, self.polish, self.gamma / 2))

    def _move(self, case: Evade, at: Rows, here: Slope, step: int, moves: int) -> Rows:
        """See what was answered, set the radius, step and project."""
        ball = case.within
        assert isinstance(ball, Ball)
        won = met(at, case, here.response)
        at = nearer(at, case, here.response, won=won)
        slope = torch.nan_to_num(here.slope.to(at.x.dtype), 0.0, 0.0, 0.0)
        gamma = cosine(step, moves, self.gamma, LAST_GAMMA * self.gamma)
        stride = cosine(step, moves, self.stride, LAST_STRIDE * self.stride) * (ball.high - ball.low)
        if ball.norm == "l0":
            bound = _count(at, won, gamma)
            ahead = _fewest(at, slope, stride, bound, ball, leap=step < LEAPS * moves)
        else:
            bound = _radius(at, won, here.loss, slope, ball.norm, gamma)
            change = at.x - at.origin + slope * wide(stride / slope.flatten(1).norm(dim=1).clamp_min(1e-30), slope)
            ahead = at.origin + _projected(change, at.origin, bound.to(change.dtype), ball)
        return at.at(ball.box(ahead)).keep(bound=bound)


def _radius(at: Rows, won: Tensor, loss: Tensor, slope: Tensor, norm: str, gamma: float) -> Tensor:
    bound, nearest = at.state["bound"], at.state["size"]
    gap = loss.double().abs() / slope.flatten(1).norm(p=DUAL[norm], dim=1).double()
    # A little beyond the estimate: on a linear model it is exact, and rounding would decide who is on which side.
    estimate = distance(at.x, at.origin, norm) + torch.nan_to_num(gap, nan=torch.inf) * (1 + gamma)
    estimate = torch.where(torch.isfinite(bound), torch.maximum(estimate, bound * GROWTH), estimate)
    lost = torch.where(torch.isfinite(nearest), bound * (1 + gamma), estimate)
    return torch.where(won, torch.minimum(bound * (1 - gamma), nearest), lost).minimum(at.state["farthest"])


def _count(at: Rows, won: Tensor, gamma: float) -> Tensor:
    """How many values an l0 change may have next: at least one fewer after a success, one more after a failure."""
    bound = at.state["bound"]
    less = torch.minimum(torch.minimum(bound - 1, (bound * (1 - gamma)).floor()), at.state["size"]).clamp_min(1)
    more = torch.maximum(bound + 1, (bound * (1 + gamma)).floor())
    return torch.where(won, less, more).minimum(at.state["farthest"])


def _projected(change: Tensor, origin: Tensor, bound: Tensor, ball: Ball) -> Tensor:
    """The change in a ball of the row's own radius `bound` ``(n,)``. Only for ``l1`` the box is taken into account."""
    if ball.norm == "linf":
        cap = wide(bound, change)
        return change.clamp(-cap, cap)
    if ball.norm == "l2":
        return change * wide((bound / change.flatten(1).norm(dim=1).clamp_min(1e-30)).clamp_max(1.0), change)
    room = torch.where(change > 0, ball.high - origin, origin - ball.low).flatten(1)
    size = change.flatten(1).abs()
    kept = (size - _threshold(size, room, bound[:, None])).clamp_min(0).minimum(room)
    return kept.reshape(change.shape).copysign(change)


def _threshold(size: Tensor, room: Tensor, bound: Tensor) -> Tensor:
    """The t at which ``sum(clip(size - t, 0, room))`` is `bound`, 0 where it is less anyway: Newton's steps in a bracket.

    The sum is piecewise linear in t and falls, so the steps end at the very point; were there too few of them, the change
    would be a little too long or too short, and its size is measured anyway.
    """
    cut = low = torch.zeros_like(bound)
    high = size.amax(1, keepdim=True)
    for _ in range(NEWTON):
        left = size - cut
        over = left.clamp_min(0).minimum(room).sum(1, keepdim=True) - bound
        low, high = torch.where(over > 0, cut, low), torch.where(over > 0, high, cut)
        moving = ((left > 0) & (left < room)).sum(1, keepdim=True)
        cut = cut + over / moving.clamp_min(1)
        cut = torch.where((cut < low) | (cut > high), (low + high) / 2, cut)
    return cut


def _fewest(at: Rows, slope: Tensor, stride: float, bound: Tensor, ball: Ball, *, leap: bool) -> Tensor:
    """The `bound` values whose change gains most by the slope are changed, all others are as they were at the origin."""
    if leap:
        change = torch.where(slope > 0, ball.high, ball.low) - at.origin
    else:
        ahead = at.x + slope * wide(stride / slope.flatten(1).abs().amax(1).clamp_min(1e-30), slope)
        change = ahead.clamp(ball.low, ball.high) - at.origin
    gain = (change * slope).flatten(1)
    rank = bound.long()[:, None]
    least = gain.topk(max(1, int(rank.max())), dim=1).values.gather(1, rank - 1)  # no smaller than is needed by any row
    keep = (gain >= least) & (gain > 0)
    return torch.where(keep.reshape(change.shape), at.origin + change, at.origin)
