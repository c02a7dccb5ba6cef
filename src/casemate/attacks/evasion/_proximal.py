"""Proximal steps: the point that balances closeness to another against its own size, ``argmin_z H(z - r)^2 / 2 + |z|``.

`r` ``(n, d)`` is a change and `metric` ``(n, d)`` weighs each value's closeness, so that steps of an adaptive method stay
exact. Norms are those of a constraint; for ``l0`` the power 2/3 of each value stands in, whose minimum is sparse and, unlike
a count's, moves with the slope.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDS = 30  # of Newton's method, at most; a few are enough
QUARTIC = 6  # rounds on the quartic of the power 2/3, from above


def shrink(r: Tensor, metric: Tensor, norm: str) -> Tensor:
    """The proximal step of `norm` at `r`, ``(n, d)``; `metric` is positive."""
    if norm == "l1":
        return r.sign() * (r.abs() - 1 / metric).clamp_min(0)
    if norm == "l2":
        return _ring(r, metric)
    if norm == "linf":
        level = _ceiling(r.abs(), metric)[:, None]
        return torch.minimum(torch.maximum(r, -level), level)
    return _sparse(r, metric)


def _ring(r: Tensor, metric: Tensor) -> Tensor:
    """``l2``: the result is ``H r s / (H s + 1)`` where its length s solves ``|H r / (H s + 1)|^2 = 1``.

    The left side is convex and falls in s, so Newton from zero comes to the root from the left and never passes it.
    """
    pull = metric * r
    stays = pull.norm(dim=1) > 1  # otherwise zero is nearest
    s = torch.zeros(len(r), 1, dtype=r.dtype, device=r.device)
    for _ in range(ROUNDS):
        below = metric * s + 1
        square = (pull / below).square()
        step = (square.sum(1, keepdim=True) - 1) / (2 * square * metric / below).sum(1, keepdim=True).clamp_min(1e-30)
        s = s + step.clamp_min(0)
        if not bool((step[stays] > 1e-4 * s[stays]).any()):
            break
    return torch.where(stays[:, None], pull * s / (metric * s + 1), torch.zeros_like(r))


def _ceiling(size: Tensor, metric: Tensor) -> Tensor:
    """``linf``: the level t with ``sum(H * (|r| - t)+) = 1``, zero where all is not enough. Newton from the left: convex."""
    t = torch.zeros(len(size), dtype=size.dtype, device=size.device)
    for _ in range(ROUNDS):
        over = size - t[:, None]
        above = (over > 0) * metric
        left = (above * over).sum(1) - 1
        if not bool((left > 1e-6).any()):
            break
        t = t + (left / above.sum(1).clamp_min(1e-30)).clamp_min(0)
    full = (metric * size).sum(1) > 1
    return torch.where(full, t, torch.zeros_like(t))


def _sparse(r: Tensor, metric: Tensor) -> Tensor:
    """The power 2/3 of each value: with w the cube root of the result, ``w^4 - |r| w + 2 / (3 H) = 0``, or zero."""
    size, weight = r.abs(), 1 / metric
    w = size.pow(1 / 3)
    for _ in range(QUARTIC):
        w = w - (w.pow(4) - size * w + weight * 2 / 3) / (4 * w.pow(3) - size).clamp_min(1e-12)
        w = torch.minimum(torch.maximum(w, (size / 4).pow(1 / 3)), size.pow(1 / 3))
    z = w.pow(3)
    better = (z - size).square() / 2 + weight * w.square() < size.square() / 2
    return r.sign() * torch.where(better, z, torch.zeros_like(z))
