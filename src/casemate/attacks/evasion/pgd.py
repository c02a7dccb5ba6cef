"""Projected gradient descent: climb the loss without leaving the ball."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball, Region
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows, started
from . import _l1
from ._apgd import ball_of
from ._losses import cross_entropy, steepest


@attack(
    "evasion.pgd",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("linf", "l2", "l1"),
    papers=("arXiv:1706.06083", "arXiv:1904.13000"),
    aka=("PGD", "BIM", "projected gradient descent", "sparse l1 descent"),
    spends="restarts x (steps gradients + 1 look) per row",
    static_cost=lambda a: a.restarts * (3 * a.draws * a.steps + 1),
)
class PGD:
    """Step along the steepest direction of the loss, project, repeat.

    Yields after every step, so stopping early or running out of budget always leaves a usable claim. The last move is
    looked at too. Through random stages, raise `draws` (expectation over transformation).

    In l1 the steepest direction is a single coordinate, which would take as many steps as values must change. A step
    goes evenly to the `top` share of coordinates with the largest slopes that are not at the end of the domain already,
    and is projected exactly onto ball and box.

    A constraint that is no `Ball` will do if it has `project` and `radius`, as `core.constraint.Region` says.

    Args:
        steps: Gradient steps of each restart.
        stride: Step length as a share of the radius.
        restarts: Starts; the first from the case's own start, else from the input itself unless `random_start`, the others
            from uniform points.
        random_start: Whether the first start is random too.
        draws: Gradients averaged at each step, for targets with randomness.
        top: In l1, the share of coordinates that move in a step. No other norm heeds it.
    """

    steps: int = 40
    stride: float = 0.1
    restarts: int = 1
    random_start: bool = False
    draws: int = 1
    top: float = 0.01

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        within, loss = _region(case), cross_entropy(case)
        at = Rows.begin(case)
        step = self.stride * _reach(at.x, within)
        for restart in range(self.restarts):
            at = at.at(self._start(case, at, rng, restart))
            for _ in range(self.steps):
                here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss, draws=self.draws)
                at = at.see(case, here.response, here.loss)
                at = yield at.at(self._moved(at, here.slope.to(at.x.dtype), within, step))
            if len(at):
                at = yield _last(oracle, case, at, loss)
        return at

    def _start(self, case: Evade, at: Rows, rng: RowRandom, restart: int) -> Tensor:
        within, given = _region(case), started(case) if restart == 0 else None
        if given is not None:
            return given
        if not restart and not self.random_start:
            return at.origin
        if isinstance(within, Ball):
            start = torch.as_tensor(within.sample(at.origin.cpu().numpy(), rng, at.row, (restart,)))
        else:
            way = 2 * at.uniform(rng, (restart,)) - 1
            start = at.origin + within.radius * way / (1.0 if _norm(within) == "linf" else _length(way))
        return _inside(start.to(at.x), at, within)

    def _moved(self, at: Rows, slope: Tensor, within: Ball | Region, step: float) -> Tensor:
        if not isinstance(within, Ball) or within.norm != "l1":
            return _inside(at.x + step * steepest(slope, _norm(within)), at, within)
        stuck = torch.where(slope > 0, at.x >= within.high, at.x <= within.low)
        share = torch.full((len(at),), self.top, device=at.x.device)
        return _l1.project(at.x + step * _l1.sparse(slope, share, stuck), at.origin, within)


def _region(case: Evade) -> Ball | Region:
    """The case's ball, or a constraint of the user's own that can be moved in."""
    within: Any = case.within
    if isinstance(within, Ball) or not hasattr(within, "project") or not hasattr(within, "radius"):
        return ball_of(case, "evasion.pgd")
    radius, along = within.radius, getattr(within, "along", "slope")
    if not isinstance(radius, int | float | np.number) or not 0 < radius < math.inf or along not in ("slope", "signs"):
        raise BadInput(
            f"evasion.pgd steps by shares of a constraint's radius, along the slope or its signs; got radius={radius!r}, "
            f"along={along!r}; give a finite number above 0, and 'slope' or 'signs'"
        )
    found: Region = within
    return found


def _norm(within: Ball | Region) -> str:
    """In which norm a step is the steepest."""
    if isinstance(within, Ball):
        return within.norm
    return "linf" if getattr(within, "along", "slope") == "signs" else "l2"


def _inside(x: Tensor, at: Rows, within: Ball | Region) -> Tensor:
    """`x` projected. A projection of the user's own is held to what it must keep: else every claim would be for nothing."""
    moved = torch.as_tensor(within.project(x, at.origin))
    if isinstance(within, Ball):
        return moved
    if moved.shape != x.shape:
        raise BadInput(f"{within!r}.project gave shape {tuple(moved.shape)} for {tuple(x.shape)}; give one point for each row")
    moved = moved.to(x)
    claim, origin = moved.cpu().numpy(), at.origin.cpu().numpy()
    outside = np.flatnonzero(~np.asarray(within.check(claim, origin), bool))
    if len(outside):
        raise BadInput(
            f"{within!r}.project led row {at.row[outside[0]]} to where its own check says no; "
            f"project must land inside, with room for rounding in {moved.dtype}, and each input must be allowed itself"
        )
    return moved


def _reach(x: Tensor, within: Ball | Region) -> float:
    """What steps are shares of. With no radius (health check 14), half of the domain serves: in l1, of all values."""
    if not isinstance(within, Ball):
        return float(within.radius)
    size = float(math.prod(x.shape[1:])) if within.norm == "l1" else 1.0
    return min(within.radius, (within.high - within.low) / 2 * size)


def _length(way: Tensor) -> Tensor:
    """The length of each row, to divide by."""
    length: Tensor = way.flatten(1).norm(dim=1).clamp_min(1e-30)
    return length.reshape(-1, *([1] * (way.ndim - 1)))


def _last(oracle: Oracle, case: Evade, at: Rows, loss: Any) -> Rows:
    """Look at where the last move led: the climb would otherwise have been for nothing."""
    response = oracle.look(at.x, rows=at.row)
    seen = None if response.logits is None else loss(torch.as_tensor(response.logits), at.y)
    return at.see(case, response, seen)
