"""Transfer from the public parent: craft on the model the deployed one was fine-tuned from, then try it."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor
from torch.nn import functional

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._losses import cross_entropy, steepest
from ._scores import climb


@attack(
    "evasion.transfer",
    needs=Need.PARENT | Need.LABEL,
    papers=("arXiv:1710.06081", "arXiv:1803.06978"),
    aka=("transfer", "MI-FGSM", "MIM", "momentum iterative", "DI2-FGSM"),
    spends="at most tries queries per row; steps gradients on the attacker's own parent",
    static_cost=lambda a: 3 * a.steps + a.tries,
)
class Transfer:
    """Climb the parent's loss with momentum; ask the deployed endpoint now and then whether it fell too.

    The parent is the attacker's own: only the tries are queries. Momentum, and inputs resized and moved at random, keep
    the climb from settling where only the parent is wrong.

    Args:
        steps: Gradient steps on the parent.
        decay: Weight of the directions of earlier steps; 0 is plain iterative ascent, 1 keeps their sum.
        stride: Step length as a share of the radius.
        diversity: Share of (row, step) pairs, in [0, 1], whose gradient is taken at a shrunken, moved image; images only.
        shrink: Smallest side of such an image as a share of the full side.
        check_every: Steps between tries; the last point is tried too.
        tries: Most queries of each row.
    """

    steps: int = 50
    decay: float = 1.0
    stride: float = 0.1
    diversity: float = 0.0
    shrink: float = 0.85
    check_every: int = 10
    tries: int = 5

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball, loss = case.within, cross_entropy(case)
        if not isinstance(ball, Ball):
            raise BadInput(f"evasion.transfer moves inside a Ball; got {type(ball).__name__}")
        parent, at = oracle.parent(), Rows.begin(case)
        at = at.keep(pull=torch.zeros_like(at.x))
        length = self.stride * min(ball.radius, (ball.high - ball.low) / 2)
        tried = 0
        for step in range(1, self.steps + 1):
            x = at.x if not self.diversity else self._varied(at, rng, step)
            slope = parent.gradient(x, y=at.y, rows=at.row, loss=loss).slope.to(at.x.dtype)
            slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
            mean = slope.abs().flatten(1).mean(1).clamp_min(1e-30).reshape(-1, *([1] * (slope.ndim - 1)))
            at = at.keep(pull=self.decay * at.state["pull"] + slope / mean)
            at = at.at(ball.project(at.x + length * steepest(at.state["pull"], ball.norm), at.origin))
            # One try is kept for the last point, the furthest climbed.
            if step == self.steps or (step % self.check_every == 0 and tried < self.tries - 1):
                response = oracle.look(at.x, rows=at.row)
                seen = climb(case, response, at.y)
                at, tried = at.see(case, response, None if seen is None else torch.as_tensor(seen)), tried + 1
            at = yield at
        return at

    def _varied(self, at: Rows, rng: RowRandom, step: int) -> Tensor:
        """Some rows shrunken and set down elsewhere, each with its own size and place; the others as they are.

        The slope is taken at the changed image and used as the slope of the original.
        """
        if at.x.ndim != 4:
            return at.x
        n, _, h, w = at.x.shape
        u = torch.as_tensor(rng.uniform(at.row, (step, 0), (4,)), dtype=at.x.dtype, device=at.x.device)
        smaller = self.shrink + (1 - self.shrink) * u[:, 1]
        size = torch.where(u[:, 0] < self.diversity, smaller, torch.ones_like(smaller))
        turn = torch.zeros(n, 2, 3, dtype=at.x.dtype, device=at.x.device)
        turn[:, 0, 0] = turn[:, 1, 1] = 1 / size
        turn[:, :, 2] = (2 * u[:, 2:] - 1) * ((1 - size) / size)[:, None]
        grid = functional.affine_grid(turn, [n, 1, h, w], align_corners=False)
        return functional.grid_sample(at.x, grid, align_corners=False)
