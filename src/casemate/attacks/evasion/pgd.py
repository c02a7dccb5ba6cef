"""Projected gradient descent: climb the loss without leaving the ball."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._losses import cross_entropy, steepest


@attack(
    "evasion.pgd",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:1706.06083",),
    aka=("PGD", "BIM", "projected gradient descent"),
    spends="restarts x (steps gradients + 1 look) per row",
    static_cost=lambda a: a.restarts * (3 * a.steps + 1),
)
class PGD:
    """Step along the steepest direction of the loss, project, repeat.

    Yields after every step, so stopping early or running out of budget always leaves a usable claim. The last move is
    looked at too. Through random stages, raise `draws` (expectation over transformation).

    Args:
        steps: Gradient steps of each restart.
        stride: Step length as a share of the radius.
        restarts: Starts; the first from the input itself unless `random_start`, the others from uniform points.
        random_start: Whether the first start is random too.
        draws: Gradients averaged at each step, for targets with randomness.
    """

    steps: int = 40
    stride: float = 0.1
    restarts: int = 1
    random_start: bool = False
    draws: int = 1

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball, loss = case.within, cross_entropy(case)
        if not isinstance(ball, Ball):
            raise BadInput(f"evasion.pgd moves inside a Ball; got {type(ball).__name__}")
        at = Rows.begin(case)
        # With no radius to take a share of (health check 14), half of the domain serves.
        step = self.stride * min(ball.radius, (ball.high - ball.low) / 2)
        for restart in range(self.restarts):
            if restart or self.random_start:
                start = ball.sample(at.origin.cpu().numpy(), rng, at.row, (restart,))
                at = at.at(ball.project(torch.as_tensor(start, dtype=at.x.dtype, device=at.x.device), at.origin))
            else:
                at = at.at(at.origin)
            for _ in range(self.steps):
                here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss, draws=self.draws)
                at = at.see(case, here.response, here.loss)
                at = at.at(ball.project(at.x + step * steepest(here.slope.to(at.x.dtype), ball.norm), at.origin))
                at = yield at
            if len(at):
                at = yield _last(oracle, case, at, loss)
        return at


def _last(oracle: Oracle, case: Evade, at: Rows, loss: Any) -> Rows:
    """Look at where the last move led: the climb would otherwise have been for nothing."""
    response = oracle.look(at.x, rows=at.row)
    seen = None if response.logits is None else loss(torch.as_tensor(response.logits), at.y)
    return at.see(case, response, seen)
