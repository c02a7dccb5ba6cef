"""What moves inside an L1 ball need: the exact projection onto ball and box, and steps along few coordinates."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...core.constraint import Ball


def project(x: Tensor, origin: Tensor, ball: Ball, scale: float = 1.0) -> Tensor:
    """The point nearest to `x` (in L2) inside the L1 ball around `origin` and inside the box, ``(n, *shape)``.

    Every coordinate gives up the same length: the change becomes ``sign(v) * clip(|v| - t, 0, room)``, where `room` is the
    way to the end of the domain and t the number that makes the lengths add up to the radius. The sum is piecewise linear
    in t, so t is found exactly, from its sorted corners. It lands inside by the rounding of the input's precision.

    Args:
        scale: Factor on the radius.
    """
    change = (x - origin).flatten(1)
    length, flat = change.abs(), origin.flatten(1)
    room = torch.where(change > 0, ball.high - flat, flat - ball.low).clamp_min(0)
    # Infinite minus infinite is no number: with no radius only the box is in the way.
    radius = ball.radius if math.isinf(ball.radius) else max(0.0, ball.radius * scale - (ball.radius - ball.inside(origin)))
    moved = torch.minimum(length, room)
    over = moved.sum(1) > radius
    if bool(over.any()):
        moved[over] = _shortened(length[over], room[over], radius)
    return torch.as_tensor(ball.box(origin + (moved * change.sign()).reshape(x.shape)))


def _shortened(length: Tensor, room: Tensor, radius: float) -> Tensor:
    """``clip(length - t, 0, room)`` with the t at which a row adds up to the radius, ``(n, d)``."""
    # From large t down: a coordinate begins to move at t = length and has gone all its way at t = length - room.
    corner = torch.cat([length, (length - room).clamp_min(0)], 1)
    begins = torch.ones_like(corner)
    begins[:, length.shape[1] :] = -1
    corner, order = corner.sort(dim=1, descending=True)
    moving = begins.gather(1, order).cumsum(1)  # coordinates in motion below each corner
    gained = torch.cumsum(moving[:, :-1] * (corner[:, :-1] - corner[:, 1:]), 1)
    place = (gained < radius).sum(1, keepdim=True).clamp_max(gained.shape[1] - 1)  # the stretch in which the sum is reached
    before = torch.where(place > 0, gained.gather(1, (place - 1).clamp_min(0)), torch.zeros_like(gained[:, :1]))
    level = corner.gather(1, place) - (radius - before) / moving.gather(1, place).clamp_min(1)
    return torch.minimum((length - level.clamp_min(0)).clamp_min(0), room)


def sparse(slope: Tensor, share: Tensor, stuck: Tensor | None = None) -> Tensor:
    """A step of L1 length one, spread evenly over the coordinates of largest slope, with its signs, ``(n, *shape)``.

    Args:
        share: The share of each row's coordinates that take part ``(n,)``, rounded down; at least one does.
        stuck: Coordinates that may not take part ``(n, *shape)``, because they are at the end of the domain already.
    """
    flat = slope.flatten(1)
    if not bool(torch.isfinite(flat.sum())):
        flat = torch.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0)
    if stuck is not None:
        flat = flat.masked_fill(stuck.flatten(1), 0.0)
    size = flat.abs()
    count = (share.double() * flat.shape[1] + 1e-6).long().clamp(1, flat.shape[1])
    bar = size.topk(int(count.max()), dim=1).values.gather(1, count[:, None] - 1)
    sign = torch.where(size >= bar, flat.sign(), torch.zeros_like(flat))
    return (sign / sign.abs().sum(1, keepdim=True).clamp_min(1)).reshape(slope.shape)


def knapsack(slope: Tensor, origin: Tensor, ball: Ball) -> Tensor:
    """The point of ball and box at which a loss of this slope would be largest if it were linear, ``(n, *shape)``.

    All of the radius goes to the coordinate of largest slope; what does not fit into the domain there, to the next.
    """
    flat, start = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0).flatten(1), origin.flatten(1)
    room = torch.where(flat > 0, ball.high - start, start - ball.low).clamp_min(0)
    order = flat.abs().argsort(dim=1, descending=True, stable=True)
    want = room.gather(1, order)
    left = (ball.inside(origin) - (want.cumsum(1) - want)).clamp_min(0)
    move = torch.zeros_like(flat).scatter(1, order, torch.minimum(want, left))
    return torch.as_tensor(ball.project(origin + (move * flat.sign()).reshape(origin.shape), origin))
