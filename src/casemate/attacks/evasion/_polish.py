"""The last steps of an attack on the smallest change: walk along the boundary towards the input.

A method that weighs distance against loss ends near the boundary, and seldom at its nearest point. Here each answer gives a
straight cut of the boundary; the nearest point of the cut, box included, is exact by arithmetic (`nearest_cut`); and the row
goes from its nearest success towards that point, all the way where this works and half as far where it does not. Distance
is convex in ``l1``, ``l2`` and ``linf``, so every step that succeeds is nearer. On a linear model the first one is the end.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from ...core.case import Evade
from ...core.constraint import Ball
from ...core.goal import Loss
from ...core.oracle import Oracle
from ...core.target import Slope
from .._rows import Rows
from ._nearest import met, nearer

AIM = 1e-4  # how far past the cut to go, as a share of the margin at the input: more than rounding, less than it matters
LEAST = 2.0**-10  # shortest step towards the cut, as a share of the way
KINKS = 30  # rounds of Newton's method on a line with kinks; it gains at least one kink in each


def lead(case: Evade) -> Loss:
    """What has to be raised above zero, ``(logits, y) -> (n,)``: the case's own loss, or the goal's margin."""
    return case.loss or case.goal.loss


def polish(oracle: Oracle, case: Evade, at: Rows, steps: int) -> Generator[Rows, Rows, Rows]:
    """Spend `steps` gradients on moving each row's nearest success nearer. Not for ``l0``.

    Args:
        at: Rows with the state of `_nearest.begin` and `scale` ``(n,)``, the margin at the input. A row that has no success
            yet goes past the cut instead, from where it stands.

    Yields after each step, for `yield from`.
    """
    ball = case.within
    assert isinstance(ball, Ball)
    if steps <= 0 or not len(at):
        return at
    found = torch.isfinite(at.state["size"])
    # The nearest success was asked already. A little nearer is new, and tells as much about the boundary.
    x = torch.where(wide(found, at.x), at.state["near"] + 0.01 * (at.origin - at.state["near"]), at.x)
    at = at.at(ball.box(x)).keep(share=torch.ones_like(at.state["scale"]))
    for _ in range(steps):
        here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=lead(case))
        at = _step(nearer(at, case, here.response), met(at, case, here.response), here, ball)
        at = yield at
    return at


def _step(at: Rows, won: Tensor, here: Slope, ball: Ball) -> Rows:
    """The next question of each row: on the way from its nearest success to the nearest point of the latest cut."""
    slope, value = clean(here, at)
    need = AIM * at.state["scale"] - value + (slope * (at.x - at.origin)).flatten(1).sum(1)
    share = torch.where(won, at.state["share"] * 2, at.state["share"] / 4).clamp(LEAST, 1.0)
    near, found = at.state["near"], torch.isfinite(at.state["size"])
    reach = torch.where(found, share, torch.ones_like(share)) if ball.norm == "l1" else None
    cut, ok = nearest_cut(at.origin, slope, need, ball, near, reach)
    inside = cut if reach is not None else near + wide(share, near) * (cut - near)
    beyond = at.x + 1.2 * (cut - at.x)
    x = torch.where(wide(found, near), inside, beyond)
    x = ball.box(torch.where(wide(ok, x), x, at.x))
    return at.at(x).keep(share=share)


def clean(here: Slope, at: Rows) -> tuple[Tensor, Tensor]:
    """Slope and loss in the precision of the rows; what is not a number becomes zero."""
    slope: Any = here.slope.to(at.x.dtype)
    if not bool(torch.isfinite(slope.sum())):  # one sum is cheaper than a cleaned copy at every step
        slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
    return slope, torch.nan_to_num(here.loss.to(at.x.dtype), nan=0.0)


def nearest_cut(
    origin: Tensor, slope: Tensor, need: Tensor, ball: Ball, near: Tensor | None = None, reach: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The nearest point to each origin, in the ball's norm and inside its box, that gains `need` along `slope`.

    Args:
        origin, slope: ``(n, *shape)``.
        need: ``(n,)``; where it is not positive the origin itself is the answer.
        near, reach: With them (``l1``) no value is moved further from `near` than `reach` ``(n,)`` of the domain.

    Returns:
        The points, and which rows have one: nowhere in the box is there enough to gain for the others.
    """
    pull, up = slope.flatten(1).abs(), slope.flatten(1) > 0
    flat = origin.flatten(1)
    low, high, start = flat - ball.low, ball.high - flat, torch.zeros_like(flat)
    if near is not None and reach is not None:
        there, far = near.flatten(1) - flat, reach[:, None] * (ball.high - ball.low)
        low, high = torch.minimum(low, far - there), torch.minimum(high, far + there)
        start = torch.minimum(torch.maximum(start, -low), high)
        need = need - (start * slope.flatten(1)).sum(1)
    room = torch.where(up, high - start, low + start).clamp_min(0)
    need = need.clamp_min(0)
    gain = pull * room
    ok = torch.isfinite(need) & (gain.sum(1) > need)
    if ball.norm == "l1":
        move = _heaviest_first(pull, room, gain, need)
    elif ball.norm == "l2":
        level = _level(pull.square(), gain, need)
        move = torch.minimum(level[:, None] * pull, room)
    else:
        level = _level(pull, gain, need)
        move = torch.minimum(level[:, None].expand_as(room), room)
    return (flat + start + move * slope.flatten(1).sign()).reshape(origin.shape), ok


def _level(rate: Tensor, most: Tensor, need: Tensor) -> Tensor:
    """The t at which ``sum(min(t * rate, most))`` is `need`, by row: Newton from below on a concave line with kinks."""
    t = torch.zeros_like(need)
    for _ in range(KINKS):
        gained = rate * t[:, None]
        moving = gained < most
        short = need - torch.where(moving, gained, most).sum(1)
        step = short / (rate * moving).sum(1).clamp_min(1e-30)
        if not bool((short > 1e-6 * need).any()):
            break
        t = t + step.clamp_min(0)
    return t


def _heaviest_first(pull: Tensor, room: Tensor, gain: Tensor, need: Tensor) -> Tensor:
    """Coordinates moved all the way in the order of their pull, the last one as far as it takes: ``(n, d)``."""
    order = pull.argsort(dim=1, descending=True, stable=True)
    gains = gain.gather(1, order)
    before = gains.cumsum(1) - gains
    part = ((need[:, None] - before) / pull.gather(1, order).clamp_min(1e-30)).clamp_min(0)
    moves = torch.minimum(part, room.gather(1, order))
    return torch.zeros_like(room).scatter_(1, order, moves)


def wide(value: Tensor, like: Tensor) -> Tensor:
    """A number for each row in the shape that multiplies `like`."""
    return value.reshape(-1, *([1] * (like.ndim - 1)))
