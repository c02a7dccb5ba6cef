"""The fast gradient sign method: one step of the whole radius."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from . import _l1
from ._apgd import NORMS
from ._losses import cross_entropy, steepest
from ._own import Own, moved_in, room

ROUNDS = 20  # passes of the l2 step; each finds all that the last one held back too little


@attack(
    "evasion.fgsm",
    needs=Need.GRADIENT | Need.LABEL,
    norms=("linf", "l2", "l1"),
    within=("Ball", "Region"),
    papers=("arXiv:1412.6572",),
    aka=("FGSM", "FGM", "fast gradient sign method"),
    spends="draws gradients + 1 look per row",
    static_cost=lambda a: 3 * a.draws + 1,
)
class FGSM:
    """One step of the whole radius, to where the loss would be largest if it were linear.

    In linf every value moves by the radius along the sign of its slope; in l2 the row moves along its slope, and the
    length of values that the end of the domain holds back goes to the others. In l1 the
    steepest step is all of the radius on the coordinate of largest slope: here what does not fit into the domain there
    goes to the next largest, and so on. (Other libraries spread an l1 step over all coordinates in proportion to the slope:
    that is a different and weaker attack.) In a constraint of your own the row goes along its slope as far as
    projections lead: in a convex one to the same place, found step by step without asking again.

    Args:
        draws: Gradients averaged, for targets with randomness.
    """

    draws: int = 1

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        case, loss = moved_in(case, "evasion.fgsm", NORMS), cross_entropy(case)
        ball, at = room(case), Rows.begin(case)
        here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss, draws=self.draws)
        at = at.see(case, here.response, here.loss)
        slope = here.slope.to(at.x.dtype)
        if isinstance(ball, Own):
            at = at.at(ball.furthest(slope, at.origin))
        elif ball.norm == "l1":
            at = at.at(_l1.knapsack(slope, at.origin, ball))
        elif ball.norm == "l2":
            at = at.at(_filled(steepest(slope, "l2"), at.origin, ball))
        else:
            reach = min(ball.radius, ball.high - ball.low)  # with no radius, right across the domain
            at = at.at(ball.project(at.origin + reach * steepest(slope, "linf"), at.origin))
        at = yield at
        if len(at):
            response = oracle.look(at.x, rows=at.row)
            seen = None if response.logits is None else loss(torch.as_tensor(response.logits), at.y)
            at = yield at.see(case, response, seen)
        return at


def _filled(way: Tensor, origin: Tensor, ball: Ball) -> Tensor:
    """The l2 step that uses up the radius: ``min(t |way|, room)`` at the t whose length it is, found exactly."""
    flat, start = way.flatten(1), origin.flatten(1)
    pull = flat.abs()
    room = torch.where(flat > 0, ball.high - start, start - ball.low).clamp_min(0)
    radius = min(ball.radius, (ball.high - ball.low) * flat.shape[1] ** 0.5)  # with no radius, right across the domain
    level = torch.zeros_like(pull[:, :1])
    for _ in range(ROUNDS):  # values that are held back only ever become more
        held = level * pull >= room
        rest = (radius**2 - torch.where(held, room, 0.0).square().sum(1, keepdim=True)).clamp_min(0)
        level = (rest / torch.where(held, 0.0, pull).square().sum(1, keepdim=True).clamp_min(1e-30)).sqrt()
    move = torch.minimum(level * pull, room) * flat.sign()
    return torch.as_tensor(ball.project(origin + move.reshape(origin.shape), origin))
