"""Auto-PGD on cross-entropy: momentum, and a step that halves when progress stalls."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._losses import cross_entropy, steepest

FIRST, SHRINK, LEAST = 0.22, 0.03, 0.06  # distances between checkpoints, as shares of the steps
RISES = 0.75  # share of steps that must raise the loss
MOMENTUM = 0.75


@attack(
    "evasion.apgd_ce",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:2003.01690",),
    aka=("APGD", "APGD-CE", "Auto-PGD"),
    spends="restarts x (steps gradients + 1 look) per row",
    static_cost=lambda a: a.restarts * (3 * a.steps + 1),
)
class APGD:
    """PGD with momentum whose step starts at twice the radius and halves, row by row, when the loss stops rising.

    At each checkpoint a row that rose in too few steps, or whose best loss did not move although its step did not
    either, halves its step and starts again from its best point. The best adversarial point is handed in, not the last
    one.

    Args:
        steps: Gradient steps of each restart; the checkpoints are shares of it.
        restarts: Starts, each from a random point of the ball's surface.
        draws: Gradients averaged at each step, for targets with randomness.
    """

    steps: int = 100
    restarts: int = 1
    draws: int = 1

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball, loss = case.within, cross_entropy(case)
        if not isinstance(ball, Ball) or ball.norm == "l1":
            raise BadInput(f"evasion.apgd_ce moves inside a Ball of linf or l2; got {ball!r}")
        at, marks = Rows.begin(case), checkpoints(self.steps)
        for restart in range(self.restarts):
            at = _afresh(at, ball, rng, restart)
            since = 0
            for step in range(self.steps):
                here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss, draws=self.draws)
                slope = here.slope.to(at.x.dtype)
                at = _note(at.see(case, here.response, here.loss), here.loss, slope, count=step > 0)
                if step in marks:
                    at, slope = _check(at, slope, step - since)
                    since = step
                at = yield _move(at, slope, ball, MOMENTUM if step else 1.0)
            if len(at):
                response = oracle.look(at.x, rows=at.row)
                seen = None if response.logits is None else loss(torch.as_tensor(response.logits), at.y)
                at = yield at.see(case, response, seen)
        return at


def checkpoints(steps: int) -> frozenset[int]:
    """The steps before which progress is judged: ``ceil(p_j * steps)`` with p_1 = 0.22 and shrinking distances."""
    marks, before, here = [], 0.0, FIRST
    while here <= 1:
        marks.append(math.ceil(round(here * steps, 9)))
        before, here = here, here + max(here - before - SHRINK, LEAST)
    return frozenset(marks)


def _afresh(at: Rows, ball: Ball, rng: RowRandom, restart: int) -> Rows:
    """All rows at random points, with nothing seen and the longest step."""
    u = rng.uniform(at.row, (restart,), tuple(at.x.shape[1:])) if ball.norm == "linf" else None
    noise = rng.normal(at.row, (restart,), tuple(at.x.shape[1:])) if u is None else 2 * u - 1
    start = torch.as_tensor(noise, dtype=at.x.dtype, device=at.x.device)
    flat = start.flatten(1)
    size = flat.norm(dim=1) if ball.norm == "l2" else flat.abs().amax(1)
    reach = min(ball.radius, (ball.high - ball.low) / 2 * (math.sqrt(flat.shape[1]) if ball.norm == "l2" else 1.0))
    x = ball.project(at.origin + start * _wide(reach / size.clamp_min(1e-30), start), at.origin)
    n = torch.zeros_like(at.loss)
    return at.at(x).keep(
        before=x, top=x, top_slope=torch.zeros_like(x), top_loss=n - torch.inf, top_marked=n - torch.inf,
        last=n - torch.inf, rises=n, step=n + 2 * reach, halved=torch.ones_like(at.broken),
    )  # fmt: skip


def _note(at: Rows, loss: Tensor, slope: Tensor, *, count: bool) -> Rows:
    """Whether the loss rose since the last iterate, and the best point so far with its slope."""
    state, loss = at.state, loss.to(at.loss.dtype)
    better = loss > state["top_loss"]
    wide = _wide(better, at.x)
    return at.keep(
        rises=state["rises"] + (loss > state["last"]) if count else state["rises"],
        last=loss,
        top=torch.where(wide, at.x, state["top"]),
        top_slope=torch.where(wide, slope, state["top_slope"]),
        top_loss=torch.where(better, loss, state["top_loss"]),
    )


def _check(at: Rows, slope: Tensor, length: int) -> tuple[Rows, Tensor]:
    """At a checkpoint: rows that stall halve their step and go on from their best point."""
    state = at.state
    stuck = ~state["halved"].bool() & (state["top_marked"] >= state["top_loss"])
    stall = (state["rises"] < RISES * length) | stuck
    wide = _wide(stall, at.x)
    at = replace(at, x=torch.where(wide, state["top"], at.x))
    at = at.keep(
        step=torch.where(stall, state["step"] / 2, state["step"]),
        last=torch.where(stall, state["top_loss"], state["last"]),
        halved=stall, rises=torch.zeros_like(state["rises"]), top_marked=state["top_loss"],
    )  # fmt: skip
    return at, torch.where(wide, state["top_slope"], slope)


def _move(at: Rows, slope: Tensor, ball: Ball, share: float) -> Rows:
    """A projected step, mixed with the move before it."""
    state = at.state
    ahead = ball.project(at.x + _wide(state["step"], at.x) * steepest(slope, ball.norm), at.origin)
    mixed: Any = at.x + share * (ahead - at.x) + (1 - share) * (at.x - state["before"])
    return at.keep(before=at.x).at(ball.project(mixed, at.origin))


def _wide(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *([1] * (like.ndim - 1)))
