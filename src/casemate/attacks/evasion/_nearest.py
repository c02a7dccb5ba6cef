"""Keeping the nearest success: what attacks that look for the smallest change share.

Their rows carry `near`, the nearest input so far that meets the goal, wherever it lies, and `size`, its distance in
float64. A claim it is only inside the constraint; `loss` is minus the distance, so that progress can be seen.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...core.case import Evade
from ...core.constraint import Ball
from ...core.goal import reached
from ...core.target import Response
from .._rows import Rows


def begin(case: Evade) -> Rows:
    """All rows of a case at their origins, with no success seen yet. State: `near` ``(n, *shape)``, `size` ``(n,)``."""
    at = Rows.begin(case)
    return at.keep(near=at.origin, size=torch.full((len(at),), torch.inf, dtype=torch.float64, device=at.x.device))


def met(at: Rows, case: Evade, response: Response) -> Tensor:
    """Which rows' answer meets the goal, ``(n,)`` booleans."""
    return torch.as_tensor(reached(case.goal, response.label, at.y), device=at.x.device)


def nearer(at: Rows, case: Evade, response: Response, x: Tensor | None = None) -> Rows:
    """Take in what was answered at `x` (by default where the rows stand): the nearest success of each row is kept.

    `x` is what was asked, in the precision it was asked in and inside the box (`Ball.box`); nothing is moved here.
    """
    here = at.x if x is None else x
    ball = case.within
    assert isinstance(ball, Ball)
    won = met(at, case, response)
    if not bool(won.any()):
        return at
    size = distance(here, at.origin, ball.norm)
    better = won & (size < at.state["size"])
    wide = better.reshape(-1, *([1] * (here.ndim - 1)))
    near = torch.where(wide, here, at.state["near"])
    size = torch.where(better, size, at.state["size"])
    claim = size <= ball.radius * (1 + 1e-9) + 1e-12  # as `Ball.check` counts
    best = torch.where((better & claim).reshape(wide.shape), here, at.best)
    return replace(at, best=best, broken=at.broken | claim, loss=(-size).to(at.loss.dtype)).keep(near=near, size=size)


def distance(x: Tensor, origin: Tensor, norm: str) -> Tensor:
    """The size of each row's change in float64, ``(n,)``."""
    change = (x.double() - origin.double()).flatten(1)
    if norm == "linf":
        return change.abs().amax(1)
    if norm == "l2":
        return change.square().sum(1).sqrt()
    return change.abs().sum(1) if norm == "l1" else (change != 0).sum(1).double()
