"""Climbing a loss nobody differentiates: slopes estimated from pairs of nearby questions.

A step asks, of every row, where it stands and `pairs` points on either side of it, all in one model call or a few full ones.
Every answer counts as a chance: a neighbour that meets the goal inside the ball is claimed like any other point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.case import Evade
from ...core.errors import BadInput, Refused
from ...core.oracle import Oracle
from .._rows import Rows, started
from ._losses import steepest
from ._own import Own, Room, room
from ._scores import allowance, losses, take_in
from ._subspace import frequencies, low_frequency

PACK = 1 << 20  # most numbers in one question: beyond that a larger one is no faster, and memory grows
STALE, LEAST = 4, 1 / 64  # looks without a gain before a row halves its step, and the shortest step left to it
SMALL = 8  # images of a shorter side are moved in all their frequencies: there are few
Noise = Callable[[NDArray[np.int64], int, int, int], Tensor]  # (rows, step, k, d) -> (n, k, d), each row's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to climb.

    Args:
        steps: Moves.
        pairs: Neighbours asked on either side, for each move.
        sigma: Distance of a neighbour along each value, as a share of the radius (``l2``: times the root of their number).
        stride: Length of a move as a share of the radius.
        memory: Weight of earlier slopes in the next one, in [0, 1).
        low: Share of the frequencies of an image, along each axis, that neighbours differ in; in (0, 1]. Vectors have all.
    """

    steps: int
    pairs: int
    sigma: float
    stride: float
    memory: float
    low: float

    def __post_init__(self) -> None:
        lengths = min(self.sigma, self.stride) > 0 and 0 <= self.memory < 1 and 0 < self.low <= 1
        if min(self.steps, self.pairs) < 1 or not lengths:
            raise BadInput(
                f"{self} is not allowed; steps, pairs >= 1; sigma, stride > 0; memory in [0, 1); low in (0, 1]"
            )

    def directions(self, noise: Noise, step: int, at: Rows, k: int) -> Tensor:
        """Where the neighbours of the rows lie, ``(n, k, d)``, one a value on average."""
        row, shape = at.row, tuple(at.x.shape[1:])
        if len(shape) < 2 or min(shape[-2:]) < SMALL or self.low == 1:
            return noise(row, step, k, math.prod(shape))
        kept = frequencies(shape, self.low)
        found = noise(row, step, k, math.prod(kept)).numpy().reshape(len(row) * k, *kept)
        wide = low_frequency(found, shape) * np.float32(math.sqrt(math.prod(shape) / math.prod(kept)))
        return torch.as_tensor(wide).reshape(len(row), k, -1)


def ascend(oracle: Oracle, case: Evade, plan: Plan, noise: Noise) -> Generator[Rows, Rows, Rows]:
    """Climb by slopes estimated along `noise`, inside a ball of ``linf`` or ``l2`` or a constraint of the user's own, as long as
    the budget lasts.

    A row whose neighbours all answer alike (scores that are rounded, or a plateau) looks twice as far the next time; one
    that stopped rising goes back to its best point and halves its step.
    """
    ball = room(case)
    at = begin(case, ball, plan)
    for step in range(plan.steps + 1):
        # One query is kept for where the move leads: nobody would have seen it.
        most = allowance(oracle, at.row, 2 + 2 * plan.pairs)
        if not most.any():
            return at
        pairs = np.maximum((most - 2) // 2, 0) if step < plan.steps else np.zeros_like(most)
        at, slope, refusal = estimate(oracle, case, at, np.where(most > 0, pairs, -1), partial(plan.directions, noise, step))
        at = yield at.keep(push=plan.memory * at.state["push"] + slope.reshape(at.x.shape))
        if refusal is not None:
            raise refusal
        at = _move(judged(at), ball)
    return at


def begin(case: Evade, ball: Room, plan: Plan) -> Rows:
    at, start = Rows.begin(case), started(case)
    size = min(ball.radius, (ball.high - ball.low) / 2)
    share = 1.0 if ball.norm == "linf" else at.x[0].numel() ** -0.5 if len(at) else 1.0
    one = torch.ones_like(at.loss)
    return at.at(at.x if start is None else start).keep(
        push=torch.zeros_like(at.x), reach=one * (plan.sigma * size * share), far=one * (size * share),
        pace=one * (plan.stride * size), least=one * (plan.stride * size * LEAST), stale=torch.zeros_like(one),
        here=torch.full_like(one, -torch.inf), top=torch.full_like(one, -torch.inf), peak=at.x,
    )  # fmt: skip


def judged(at: Rows) -> Rows:
    """Rows that did not rise for a while go back to their highest point, with half the step."""
    s = at.state
    rose = s["here"] > s["top"]
    stale = torch.where(rose, 0.0, s["stale"] + 1)
    back = stale >= STALE
    wide = (-1, *([1] * (at.x.ndim - 1)))
    peak = torch.where(rose.reshape(wide), at.x, s["peak"])
    pace = torch.where(back, (s["pace"] / 2).maximum(s["least"]), s["pace"])
    at = at.at(torch.where(back.reshape(wide), peak, at.x))
    return at.keep(top=s["top"].maximum(s["here"]), stale=stale * ~back, pace=pace, peak=peak)


def _move(at: Rows, ball: Room) -> Rows:
    pace = at.state["pace"].reshape(-1, *([1] * (at.x.ndim - 1)))
    return at.at(torch.as_tensor(ball.project(at.x + pace * steepest(at.state["push"], ball.norm), at.origin)))


def estimate(
    oracle: Oracle, case: Evade, at: Rows, pairs: NDArray[np.int64], noise: Callable[[Rows, int], Tensor]
) -> tuple[Rows, Tensor, Refused | None]:
    """Ask where the rows stand, and their neighbours; rows of minus one pair are not asked at all.

    Returns:
        The rows with what was seen, the slopes ``(n, d)``, and the refusal that ended it.
    """
    best, loss, broken = at.best, at.loss, at.broken
    here, reach = at.state["here"].clone(), at.state["reach"].clone()
    slopes = torch.zeros_like(at.x).flatten(1)
    refusal = None
    for part in _parts(pairs, slopes.shape[1]):
        try:
            seen, slope, flat = _asked(oracle, case, at, part, pairs[part], noise)
        except Refused as error:  # what was learned before stays learned
            refusal = error
            break
        places = torch.as_tensor(part, device=at.x.device)
        best, loss = best.index_copy(0, places, seen.best), loss.index_copy(0, places, seen.loss)
        broken = broken.index_copy(0, places, seen.broken)
        here[places], slopes[places] = seen.state["here"], slope
        reach[places] = torch.where(flat, 2 * reach[places], reach[places]).minimum(at.state["far"][places])
    return replace(at, best=best, loss=loss, broken=broken).keep(here=here, reach=reach), slopes, refusal


def _parts(pairs: NDArray[np.int64], d: int) -> list[NDArray[np.int64]]:
    """The places of the rows that ask, in parts that fill a model call."""
    asking = np.flatnonzero(pairs >= 0)
    if not len(asking):
        return []
    rows = max(1, PACK // (d * (1 + 2 * int(pairs.max()))))
    return [asking[i : i + rows] for i in range(0, len(asking), rows)]


def _asked(
    oracle: Oracle, case: Evade, at: Rows, part: NDArray[np.int64], pairs: NDArray[np.int64], noise: Callable[[Rows, int], Tensor]
) -> tuple[Rows, Tensor, Tensor]:
    """One model call: the rows of `part` with what was seen, their slopes ``(m, d)``, and which saw no difference ``(m,)``."""
    mine, k = at.only(part), int(pairs.max())
    x = mine.x.flatten(1)
    u = noise(mine, k).to(x) if k else x.new_zeros((len(x), 0, x.shape[1]))
    ball = room(case)
    asked = _neighbours(mine, ball, x, u)
    if isinstance(ball, Own):  # the slope is known along the ways that were open, and no others
        u = (asked[:, 1 : k + 1] - asked[:, k + 1 :]) / (2 * mine.state["reach"][:, None, None])
    side = np.arange(k) < pairs[:, None]
    mask = np.concatenate([np.ones((len(x), 1), bool), side, side], 1)
    chosen = torch.as_tensor(mask, device=x.device)
    questions = asked.flatten(0, 1) if mask.all() else asked[chosen]
    who = np.repeat(part, mask.sum(1))
    found, hit = losses(oracle, case, at, questions.reshape(-1, *at.x.shape[1:]), who)
    loss = torch.full(mask.shape, torch.nan, dtype=x.dtype, device=x.device).masked_scatter_(chosen, found)
    met = torch.zeros(mask.shape, dtype=torch.bool, device=x.device).masked_scatter_(chosen, hit)
    gap = (loss[:, 1 : k + 1] - loss[:, k + 1 :]).nan_to_num_(0.0, 0.0, 0.0)
    slope = torch.bmm(gap[:, None], u)[:, 0] / mine.state["reach"][:, None].clamp_min(1e-30)
    flat = torch.as_tensor(pairs > 0, device=x.device) & (gap == 0).all(1)
    return _seen(mine.keep(here=loss[:, 0]), case, asked, loss, met), slope, flat


def _neighbours(at: Rows, ball: Room, x: Tensor, u: Tensor) -> Tensor:
    """Where the rows stand and both sides of it along `u`, ``(n, 1 + 2 k, d)``: in the box, of ``linf`` in the ball too.

    Of a constraint of the user's own nobody knows the domain: neighbours lie inside it.
    """
    k = u.shape[1]
    asked = torch.empty((len(x), 1 + 2 * k, x.shape[1]), dtype=x.dtype, device=x.device)
    asked[:, 0] = x
    step = u * at.state["reach"][:, None, None]
    torch.add(x[:, None], step, out=asked[:, 1 : k + 1])
    torch.sub(x[:, None], step, out=asked[:, k + 1 :])
    if isinstance(ball, Own):
        begins = at.origin[:, None].expand(-1, 2 * k, *at.x.shape[1:]).flatten(0, 1)
        if k:
            asked[:, 1:] = ball.project(asked[:, 1:].reshape(begins.shape), begins).reshape(len(x), 2 * k, -1)
        return asked
    if ball.norm != "linf" or np.isinf(ball.radius):
        asked[:, 1:] = ball.box(asked[:, 1:])
        return asked
    origin = at.origin.flatten(1)
    low, high = (ball.project(origin + s * (ball.high - ball.low), origin)[:, None] for s in (-1, 1))
    return asked.clamp_(low, high)


def _seen(at: Rows, case: Evade, asked: Tensor, loss: Tensor, met: Tensor) -> Rows:
    """The rows with the best of the answers taken in: a neighbour only where it meets the goal, inside the ball."""
    if bool(met[:, 1:].any()):
        row, column = met.nonzero(as_tuple=True)
        inside = case.within.check(asked[row, column].cpu().numpy(), at.origin.flatten(1)[row].cpu().numpy())
        met = met.index_put((row, column), torch.as_tensor(inside, device=met.device))
    rank = loss.nan_to_num(-torch.inf).clamp_min(torch.finfo(loss.dtype).min).masked_fill(~met, -torch.inf)
    pick = rank.argmax(1)  # none of them: the first, which is where the row stands
    index = torch.arange(len(pick), device=pick.device)
    return take_in(at, asked[index, pick].reshape(at.x.shape), loss[index, pick], met[index, pick])
