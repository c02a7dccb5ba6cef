"""JSMA: change the most salient values, a pair at a time, all the way."""

from __future__ import annotations

from collections.abc import Generator

import torch

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Slope
from .._rows import Rows
from ._nearest import ball_of, begin, nearer
from ._polish import clean, lead, wide
from ._prune import merged, prune


@attack(
    "evasion.jsma",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:1511.07528",),
    aka=("JSMA", "Jacobian-based saliency map attack"),
    spends="at most steps gradients per row",
    norms=("l0",),
    static_cost=lambda a: 3 * a.steps,
)
class JSMA:
    """Move the pair of values with the largest saliency to an end of the domain, and again, until the goal is met.

    Saliency here is the margin to be gained by going all the way: slope times room. The best pair is then the best two, and
    nothing has to be searched, where the paper's product of slopes compares all pairs (and changes when a number that
    depends on the input is added to all logits, which changes no decision). Further differences: a value may rise or fall,
    whichever helps, where the paper has one attack for each; without a class to reach the target is the best other class of
    the moment; where fewer values are enough to cross, by the slope, fewer are moved; and the last steps take back values
    that turned out not to be needed (with ``prune=0`` they do not).

    Args:
        steps: Gradients in all, at most.
        pair: Values moved at a time, 2 in the paper.
        prune: Share of the steps kept for taking values back.
    """

    steps: int = 200
    pair: int = 2
    prune: float = 0.3

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = ball_of(case, "evasion.jsma", ("l0",))
        last = round(self.prune * self.steps)
        at = begin(case)
        at = at.keep(scale=torch.ones_like(at.loss), going=torch.ones_like(at.broken))
        for step in range(self.steps - last):
            index = at.state["going"].nonzero()[:, 0]
            if not len(index):
                break
            part = at if len(index) == len(at) else at.only(index.cpu().numpy())
            here = oracle.gradient(part.x, y=part.y, rows=part.row, loss=lead(case))
            if step == 0:
                part = part.keep(scale=clean(here, part)[1].abs().clamp_min(1e-12))
            part = self._raise(nearer(part, case, here.response), here, ball)
            at = yield part if len(index) == len(at) else merged(at, part, index)
        at = yield from prune(oracle, case, at, last)
        return at

    def _raise(self, at: Rows, here: Slope, ball: Ball) -> Rows:
        """The next question: the most salient values at their ends. Rows that succeeded, or have nothing to gain, rest."""
        slope, value = clean(here, at)
        end = ball.box(torch.where(slope > 0, torch.full_like(at.x, ball.high), torch.full_like(at.x, ball.low)))
        gain = (slope * (end - at.x)).flatten(1)
        top, place = gain.topk(min(self.pair, gain.shape[1]), dim=1)
        short = -value[:, None] - (top.cumsum(1) - top)  # what is left to gain before each of them
        move = (top > 0) & ((short > 0) | (torch.arange(top.shape[1], device=top.device) == 0))
        moved = torch.zeros_like(gain, dtype=torch.bool).scatter_(1, place, move)
        going = ~torch.isfinite(at.state["size"]) & moved.any(1)
        x = torch.where(moved.reshape(at.x.shape) & wide(going, at.x), end, at.x)
        return at.at(x).keep(going=going)
