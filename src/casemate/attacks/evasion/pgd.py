"""Projected gradient descent: climb the loss without leaving the ball."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows, started
from . import _l1
from ._apgd import NORMS
from ._losses import cross_entropy, steepest
from ._own import Own, Room, moved_in, room


@attack(
    "evasion.pgd",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("linf", "l2", "l1"),
    within=("Ball", "Region"),
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

    A constraint of your own will do if it has `project` and `radius`, as `core.constraint.Region` says.

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
        case, loss = moved_in(case, "evasion.pgd", NORMS), cross_entropy(case)
        within, at = room(case), Rows.begin(case)
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
        within, given = room(case), started(case) if restart == 0 else None
        if given is not None:
            return given
        if not restart and not self.random_start:
            return at.origin
        start = torch.as_tensor(within.sample(at.origin.cpu().numpy(), rng, at.row, (restart,)))
        return torch.as_tensor(within.project(start.to(at.x), at.origin))

    def _moved(self, at: Rows, slope: Tensor, within: Room, step: float) -> Tensor:
        if isinstance(within, Own) or within.norm != "l1":
            return torch.as_tensor(within.project(at.x + step * steepest(slope, within.norm), at.origin))
        stuck = torch.where(slope > 0, at.x >= within.high, at.x <= within.low)
        share = torch.full((len(at),), self.top, device=at.x.device)
        return _l1.project(at.x + step * _l1.sparse(slope, share, stuck), at.origin, within)


def _reach(x: Tensor, within: Room) -> float:
    """What steps are shares of. With no radius (health check 14), half of the domain serves: in l1, of all values."""
    size = float(math.prod(x.shape[1:])) if within.norm == "l1" else 1.0
    return min(within.radius, (within.high - within.low) / 2 * size)


def _last(oracle: Oracle, case: Evade, at: Rows, loss: Any) -> Rows:
    """Look at where the last move led: the climb would otherwise have been for nothing."""
    response = oracle.look(at.x, rows=at.row)
    seen = None if response.logits is None else loss(torch.as_tensor(response.logits), at.y)
    return at.see(case, response, seen)
