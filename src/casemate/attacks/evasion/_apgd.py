"""Auto-PGD, whatever it climbs: steps that shorten row by row when progress stalls, in linf, l2 and l1.

In linf and l2 (arXiv:2003.01690) the step begins at twice the radius and carries momentum. In l1 (arXiv:2103.01208) it
begins at the radius, goes along few coordinates, and their share follows the sparsity of the best point so far. In a
constraint of the user's own it is as in l2 or linf, by what its steps follow, with projections in place of clipping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.case import Evade
from ...core.constraint import Ball
from ...core.goal import Loss
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows, started
from . import _l1
from ._losses import steepest
from ._own import Room, room

FIRST, SHRINK, LEAST = 0.22, 0.03, 0.06  # distances between checkpoints, as shares of the steps
RISES = 0.75  # share of steps that must raise the loss
MOMENTUM = 0.75
WIDE = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))  # l1: factors on the radius, and the share of the steps spent there
OFTEN = 0.04  # l1: a checkpoint after this share of the steps
DENSE = 0.2  # l1: share of coordinates that move at first
SPARSER, FEWER, SHORTER, SHORTEST = 0.95, 1.5, 1.5, 0.1  # l1: see `_check_sparse`
ROUNDING = 1e-7  # of the domain: what is nearer than that is the same place
NORMS = ("linf", "l2", "l1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all runs of one attack share.

    Args:
        loss: What a row climbs; made anew for the rows of every call, so that it may depend on their state.
        steps: Gradient steps of a run.
        draws: Gradients averaged at each step.
        wide: l1 only: begin in balls of three and two times the radius.
        common: The losses of different runs can be compared, so the best point is the one of largest loss; otherwise the
            goal's own margin tells.
    """

    loss: Callable[[Rows], Loss]
    steps: int
    draws: int = 1
    wide: bool = False
    common: bool = True


def checkpoints(steps: int) -> frozenset[int]:
    """The steps before which progress is judged: ``ceil(p_j * steps)`` with p_1 = 0.22 and shrinking distances."""
    marks, before, here = [], 0.0, FIRST
    while here <= 1:
        marks.append(math.ceil(round(here * steps, 9)))
        before, here = here, here + max(here - before - SHRINK, LEAST)
    return frozenset(marks)


def begin(oracle: Oracle, case: Evade) -> Rows:
    """All rows of a case. State, for a Ball of linf: `floor` and `ceiling` ``(n, *shape)``, the ends of each value's range."""
    at, ball = Rows.begin(case), case.within
    if not isinstance(ball, Ball) or ball.norm != "linf":
        return at
    reach = min(ball.radius, 2 * (ball.high - ball.low))
    return at.keep(floor=ball.project(at.origin - reach, at.origin), ceiling=ball.project(at.origin + reach, at.origin))


def scattered(at: Rows, case: Evade, rng: RowRandom, restart: int) -> Rows:
    """All rows where a run begins: at the case's own start in the first, else at random points of the ball's surface.

    In l1 the random point is a normal one (of the domain's size) projected onto the ball, as published.
    """
    ball, start = room(case), started(case) if restart == 0 else None
    if start is not None:
        return at.at(start)
    shape = tuple(at.x.shape[1:])
    noise = 2 * rng.uniform(at.row, (restart,), shape) - 1 if ball.norm == "linf" else rng.normal(at.row, (restart,), shape)
    way = torch.as_tensor(noise, dtype=at.x.dtype, device=at.x.device)
    if ball.norm == "l1":
        return at.at(_l1.project(at.origin + (ball.high - ball.low) * way, at.origin, ball))
    flat = way.flatten(1)
    size = flat.norm(dim=1) if ball.norm == "l2" else flat.abs().amax(1)
    return at.at(ball.project(at.origin + way * _wide(_reach(at, ball) / size.clamp_min(1e-30), way), at.origin))


def climb(oracle: Oracle, case: Evade, at: Rows, plan: Plan) -> Generator[Rows, Rows, Rows]:
    """One run from where the rows stand; only points inside the ball are taken for claims. Yields after every step."""
    if not (plan.wide and isinstance(case.within, Ball) and case.within.norm == "l1"):
        return (yield from _run(oracle, case, at, plan, plan.steps, 1.0, False))
    spent = 0
    for place, (scale, share) in enumerate(WIDE):
        steps = math.ceil(round(share * plan.steps, 9)) if scale > 1 else plan.steps - spent
        at = yield from _run(oracle, case, at, plan, max(0, steps), scale, True)
        spent += steps
        if place < len(WIDE) - 1 and len(at):
            at = at.at(_l1.project(at.state["top"], at.origin, case.within, WIDE[place + 1][0]))
    return at


def _run(oracle: Oracle, case: Evade, at: Rows, plan: Plan, steps: int, scale: float, given: bool) -> Generator[Rows, Rows, Rows]:
    ball = room(case)
    sparse, since = ball.norm == "l1", 0
    every = max(int(OFTEN * steps), 1)
    marks = frozenset(range(every, steps, every)) if sparse else checkpoints(steps)
    at = _afresh(at, ball, given)
    for step in range(steps):
        here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=plan.loss(at), draws=plan.draws)
        slope = here.slope.to(at.x.dtype)
        if scale == 1.0:
            at = at.see(case, here.response, here.loss if plan.common else None)
        at = _note(at, here.loss, slope, count=step > 0)
        if step in marks:
            at, slope = _check_sparse(at, slope, ball) if sparse else _check(at, slope, step - since)
            since = step
        at = yield _move_sparse(at, slope, ball, scale) if sparse else _move(at, slope, ball, MOMENTUM if step else 1.0)
    if len(at) and scale == 1.0:
        response = oracle.look(at.x, rows=at.row)
        shown = response.logits if plan.common else None
        at = yield at.see(case, response, None if shown is None else plan.loss(at)(torch.as_tensor(shown), at.y))
    return at


def _afresh(at: Rows, ball: Room, given: bool) -> Rows:
    """Nothing seen yet and the longest step. `given`: the rows come from another run, whose sparsity goes on."""
    none = torch.full_like(at.loss, -torch.inf)
    zero, x = torch.zeros_like(at.loss), at.x
    at = at.keep(top=x, top_slope=torch.zeros_like(x), top_loss=none, last=none, rises=zero)
    if ball.norm != "l1":
        return at.keep(before=x, top_marked=none, step=zero + 2 * _reach(at, ball), halved=torch.ones_like(at.broken))
    size = x.flatten(1).shape[1]
    changed = _changed(x, at.origin, ball).to(at.loss.dtype)
    share, sparsity = (changed / size / FEWER, changed) if given else (zero + DENSE, zero + size)
    return at.keep(share=share, sparsity=sparsity, step=zero + _longest(ball, size))


def _note(at: Rows, loss: Tensor, slope: Tensor, *, count: bool) -> Rows:
    """Whether the loss rose since the last iterate, and the best point so far with its slope."""
    state, loss = at.state, loss.to(at.loss.dtype)
    better = loss > state["top_loss"]
    rises = state["rises"] + (loss > state["last"]) if count else state["rises"]
    if bool(better.all()):
        return at.keep(rises=rises, last=loss, top=at.x, top_slope=slope, top_loss=loss)
    if not bool(better.any()):
        return at.keep(rises=rises, last=loss)
    return at.keep(
        rises=rises, last=loss, top=_put(state["top"], better, at.x), top_slope=_put(state["top_slope"], better, slope),
        top_loss=torch.where(better, loss, state["top_loss"]),
    )  # fmt: skip


def _check(at: Rows, slope: Tensor, length: int) -> tuple[Rows, Tensor]:
    """At a checkpoint: rows that stall halve their step and go on from their best point."""
    state = at.state
    stuck = ~state["halved"].bool() & (state["top_marked"] >= state["top_loss"])
    stall = (state["rises"] < RISES * length) | stuck
    at, slope = _back(at, slope, stall)
    at = at.keep(
        step=torch.where(stall, state["step"] / 2, state["step"]),
        last=torch.where(stall, state["top_loss"], state["last"]),
        halved=stall, rises=torch.zeros_like(state["rises"]), top_marked=state["top_loss"],
    )  # fmt: skip
    return at, slope


def _check_sparse(at: Rows, slope: Tensor, ball: Room) -> tuple[Rows, Tensor]:
    """At a checkpoint in l1: the share of moving coordinates follows the best point.

    Rows whose best point became sparser by more than 5 % take the longest step again, from their best point; the others
    shorten theirs by a factor of 1.5, down to a tenth.
    """
    state = at.state
    changed = _changed(state["top"], at.origin, ball).to(at.loss.dtype)
    size = at.x.flatten(1).shape[1]
    sparser = changed < SPARSER * state["sparsity"]
    longest = _longest(ball, size)
    step = torch.where(sparser, torch.full_like(state["step"], longest), state["step"] / SHORTER)
    at, slope = _back(at, slope, sparser)
    return at.keep(share=changed / size / FEWER, sparsity=changed, step=step.clamp(SHORTEST * longest, longest)), slope


def _back(at: Rows, slope: Tensor, which: Tensor) -> tuple[Rows, Tensor]:
    """Some rows back at their best points, with the slopes there."""
    if not bool(which.any()):
        return at, slope
    return at.at(_put(at.x, which, at.state["top"])), _put(slope, which, at.state["top_slope"])


def _move(at: Rows, slope: Tensor, ball: Room, share: float) -> Rows:
    """A projected step, mixed with the move before it. Works in place on what it made itself."""
    state, x = at.state, at.x
    ends = "floor" in state  # a Ball of linf: each value has a range of its own, and clipping to it is cheap
    ahead = steepest(slope, ball.norm).mul_(_wide(state["step"], x)).add_(x)
    if ends:
        ahead.clamp_(state["floor"], state["ceiling"])
    else:
        ahead = ball.project(ahead, at.origin)
    # x + share (ahead - x) + (1 - share) (x - before), in three passes
    mixed = ahead.mul_(share).add_(x, alpha=2 - 2 * share).sub_(state["before"], alpha=1 - share)
    to = mixed.clamp_(state["floor"], state["ceiling"]) if ends else ball.project(mixed, at.origin)
    return at.keep(before=x).at(to)


def _move_sparse(at: Rows, slope: Tensor, ball: Room, scale: float) -> Rows:
    """A step along the coordinates of largest slope, projected exactly; no momentum.

    Unlike as published, coordinates that are at the end of the domain already leave their place to others.
    """
    assert isinstance(ball, Ball)
    edge = ROUNDING * (ball.high - ball.low)
    stuck = torch.where(slope > 0, at.x >= ball.high - edge, at.x <= ball.low + edge)
    step = _wide(at.state["step"], at.x) * _l1.sparse(slope, at.state["share"], stuck)
    return at.at(_l1.project(at.x + step, at.origin, ball, scale))


def _reach(at: Rows, ball: Room) -> float:
    """The radius, or with none (health check 14) half of the domain."""
    size = math.sqrt(math.prod(at.x.shape[1:])) if ball.norm == "l2" else 1.0
    return min(ball.radius, (ball.high - ball.low) / 2 * size)


def _longest(ball: Room, size: int) -> float:
    return min(ball.radius, (ball.high - ball.low) / 2 * size)


def _changed(x: Tensor, origin: Tensor, ball: Room) -> Tensor:
    """How many values of each row were moved, by more than rounding."""
    return ((x - origin).abs() > ROUNDING * (ball.high - ball.low)).flatten(1).sum(1)


def _put(whole: Tensor, which: Tensor, some: Tensor) -> Tensor:
    """`whole` with the rows under `which` from `some`. By index: choosing by a mask takes torch ten times as long."""
    index = which.nonzero()[:, 0]
    return whole.index_copy(0, index, some[index])


def _wide(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(-1, *([1] * (like.ndim - 1)))
