"""Exact projections onto a hyperplane inside the box, each row its own: the geometry of FAB."""

from __future__ import annotations

import torch
from torch import Tensor

from ...core.constraint import Ball

EXACT = 1e-6  # share of the way that may be missing
ROUNDS = 25  # Newton steps at most; on a concave, piecewise linear sum they end exactly, mostly within five


def onto(x: Tensor, slope: Tensor, lead: Tensor, ball: Ball) -> Tensor:
    """The shortest move of each point that takes a linear function of this slope from `lead` to zero, inside the box.

    Every value goes its way by the same length (``linf``), in proportion to its slope (``l2``), or steepest first
    (``l1``), each as far as the domain lets it. Where even the corner of the domain is not enough, to the corner.

    Args:
        x: Points in the box ``(n, d)``.
        slope: ``(n, d)``, finite.
        lead: ``(n,)``.

    Returns:
        The moves ``(n, d)``; none where the slope is zero.
    """
    # Arithmetic all the way: choosing by a mask takes torch longer on a CPU than all of this together.
    sign = slope.sign().mul_(-lead.sign()[:, None])
    middle, half = (ball.high + ball.low) / 2, (ball.high - ball.low) / 2
    room = (middle - x).mul_(sign).add_(half).clamp_min_(0)  # from x to the end of the domain it moves to
    pull, need = slope.abs(), lead.abs()
    if ball.norm == "l1":
        length = _steepest_first(pull, room, need)
    elif ball.norm == "linf":
        length = torch.minimum(_level(pull, room, need)[:, None], room)
    else:
        cap = room / pull.clamp_min(torch.finfo(x.dtype).tiny)
        length = torch.minimum(pull * _level(pull * pull, cap, need)[:, None], room)
    return length.mul_(sign)


def _level(rate: Tensor, cap: Tensor, need: Tensor) -> Tensor:
    """The t at which ``sum(rate * min(t, cap))`` is `need`, ``(n,)``; the largest cap where it never is."""
    total = rate.sum(1)
    tiny = torch.finfo(rate.dtype).tiny
    level, most = torch.where(total > 0, need / total.clamp_min(tiny), 0.0), cap.amax(1)
    for _ in range(ROUNDS):
        short = need - torch.minimum(cap, level[:, None]).mul_(rate).sum(1)
        going = (short > EXACT * need) & (level < most)
        if not bool(going.any()):
            break
        still = (cap - level[:, None]).sign_().clamp_min_(0).mul_(rate).sum(1)  # of the values that can go further
        # From below, the tangent of a concave function never leads past the root.
        further = torch.where(still > 1e-12 * total, level + short / still.clamp_min(tiny), most)
        level = torch.where(going, further, level)  # a row that is done stays: others may not decide how exact it is
    return torch.minimum(level, most)


def _steepest_first(pull: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """Each value all its way in the order of its slope, the last as far as is needed, ``(n, d)``."""
    order = pull.argsort(dim=1, descending=True, stable=True)
    rate, most = pull.gather(1, order), room.gather(1, order)
    gain = rate * most
    left = (need[:, None] - (gain.cumsum(1) - gain)).clamp_min(0)
    move = torch.minimum(most, left / rate.clamp_min(torch.finfo(rate.dtype).tiny))
    return torch.zeros_like(pull).scatter_(1, order, move)


def size(move: Tensor, norm: str) -> Tensor:
    """How long each move is, ``(n,)``."""
    if norm == "l2":
        return torch.as_tensor(torch.linalg.vector_norm(move, 2, dim=1))
    length = move.abs()
    return length.amax(1) if norm == "linf" else length.sum(1)
