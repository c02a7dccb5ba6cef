"""Random search with squares of corner values: needs scores and no gradient."""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import Ball
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import Draw, RowRandom
from .._rows import Rows
from ._scores import climb

Frame = tuple[int, int, int]  # channels, height, width
# After this many of 10,000 queries the share of pixels changed at once halves.
SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@attack(
    "evasion.square",
    needs=Need.SCORE | Need.LABEL,
    papers=("arXiv:1912.00049",),
    aka=("Square", "Square Attack"),
    spends="1 + steps queries per row",
    static_cost=lambda a: 1 + a.steps,
)
class Square:
    """Change one random square at a time to corner values of the ball; keep what raises the loss.

    Every row has squares of its own. A proposal that would change nothing is turned over, so no query is wasted. Works
    on images ``(n, c, h, w)`` and ``(n, h, w)``; of vectors ``(n, d)`` it changes blocks of neighbouring coordinates.

    Args:
        steps: Proposals, one query each.
        share: Share of the values changed at once in the beginning, in (0, 1].
        rescale: Stretch the schedule of shrinking squares over `steps`; by default it counts queries as published.
    """

    steps: int = 5000
    share: float = 0.8
    rescale: bool = False

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        ball = case.within
        if not isinstance(ball, Ball) or ball.norm == "l1":
            raise BadInput(f"evasion.square moves inside a Ball of linf or l2; got {ball!r}")
        at = Rows.begin(case)
        c, h, w = _frame(tuple(at.x.shape[1:]))
        start, propose = (_stripes, _window) if ball.norm == "linf" else (_tiles, _shift)
        at = at.at(start(ball, at, (c, h, w), rng))
        for step in range(self.steps + 1):
            response = oracle.look(at.x, rows=at.row)
            loss = climb(case, response, at.y)
            at = at.see(case, response, None if loss is None else torch.as_tensor(loss))
            at = yield at
            if step < self.steps:
                share = self.share / 2 ** self._halvings(step)
                at = at.at(propose(ball, at, (c, h, w), share, rng, step + 1))
        return at

    def _halvings(self, step: int) -> int:
        place = step * 10_000 / self.steps if self.rescale else step
        return sum(place > bound for bound in SCHEDULE)


def _frame(shape: tuple[int, ...]) -> Frame:
    """Channels, height and width: a vector is one line of one channel."""
    if len(shape) > 3 or not shape:
        raise BadInput(f"evasion.square takes rows of shape (c, h, w), (h, w) or (d,); got {shape}")
    return (1,) * (3 - len(shape)) + shape  # type: ignore[return-value]


def _side(share: float, h: int, w: int, least: int = 1) -> tuple[int, int]:
    """Height and width of the window that covers `share` of the image."""
    if h == 1:
        return 1, min(w, max(1, round(share * w)))
    side = max(least, round(math.sqrt(share * h * w)))
    return min(side, h), min(side, w)


def _place(at: Rows, frame: Frame, side: tuple[int, int], rng: RowRandom, draw: Draw) -> tuple[Tensor, Tensor]:
    """The first line ``(n,)`` and column ``(n,)`` of each row's window; the last line and column can be reached."""
    u = rng.uniform(at.row, draw, (2,))
    top = (u[:, 0] * (frame[1] - side[0] + 1)).astype("int64")
    left = (u[:, 1] * (frame[2] - side[1] + 1)).astype("int64")
    return torch.as_tensor(top, device=at.x.device), torch.as_tensor(left, device=at.x.device)


def _mask(top: Tensor, left: Tensor, frame: Frame, side: tuple[int, int]) -> Tensor:
    """Each row's window, ``(n, 1, h, w)`` booleans."""
    line = torch.arange(frame[1], device=top.device) - top[:, None]
    column = torch.arange(frame[2], device=top.device) - left[:, None]
    lines, columns = (line >= 0) & (line < side[0]), (column >= 0) & (column < side[1])
    mask: Tensor = (lines[:, :, None] & columns[:, None, :])[:, None]
    return mask


def _signs(at: Rows, shape: tuple[int, ...], rng: RowRandom, draw: Draw) -> Tensor:
    bits = torch.as_tensor(rng.uniform(at.row, draw, shape) < 0.5, device=at.x.device)
    return torch.where(bits, 1.0, -1.0).to(at.x.dtype)


# linf: every value at one end of its range --------------------------------------------------------------------------


def _stripes(ball: Ball, at: Rows, frame: Frame, rng: RowRandom) -> Tensor:
    """One sign for each column and channel: networks are most sensitive to stripes."""
    sign = _signs(at, (frame[0], 1, frame[2]), rng, (0, 0))
    change = sign * min(ball.radius, ball.high - ball.low)
    start: Tensor = ball.project((_image(at.origin, frame) + change).reshape(at.x.shape), at.origin)
    return start


def _window(ball: Ball, at: Rows, frame: Frame, share: float, rng: RowRandom, step: int) -> Tensor:
    """Inside a window, every channel to one end of its range."""
    side = _side(share, *frame[1:])
    mask = _mask(*_place(at, frame, side, rng, (step, 0)), frame, side)
    sign = _signs(at, (frame[0], 1, 1), rng, (step, 1))
    reach = min(ball.radius, ball.high - ball.low)
    origin, best = _image(at.origin, frame), _image(at.best, frame)
    new: Tensor = ball.project(torch.where(mask, origin + sign * reach, best), origin)
    idle = (new == best).flatten(1).all(1)
    if bool(idle.any()):
        turned = ball.project(torch.where(mask, origin - sign * reach, best), origin)
        new = torch.where(idle[:, None, None, None], turned, new)
    return new.reshape(at.x.shape)


# l2: a window takes over the length of another ----------------------------------------------------------------------


def _bump(side: tuple[int, int], like: Tensor) -> Tensor:
    """Two opposite hills side by side, of unit length, ``side``: what a filter answers to."""
    height, width = side
    hill = torch.zeros(height, width, dtype=like.dtype, device=like.device)
    halves = ((0, width // 2, 1.0), (width // 2, width, -1.0)) if width > 1 else ((0, 1, 1.0),)
    for first, last, sign in halves:
        n = max(height, last - first) // 2 + 1
        for r in range(height):
            for s in range(first, last):
                edge = min(r, height - 1 - r) if height > 1 else n
                rings = min(edge, s - first, last - 1 - s, n - 1)
                hill[r, s] = sign * sum(1.0 / (n - k) ** 2 for k in range(rings + 1))
    return torch.as_tensor(hill / hill.norm())


def _tiles(ball: Ball, at: Rows, frame: Frame, rng: RowRandom) -> Tensor:
    """Hills of random signs, five tiles along each side."""
    c, h, w = frame
    side = (max(1, h // 5), max(1, w // 5))
    bump = _bump(side, at.x)
    down, across = h // side[0], w // side[1]
    sign = _signs(at, (c, down, across), rng, (0, 0))
    tiles = sign[:, :, :, None, :, None] * bump[None, None, None, :, None, :]
    change = torch.zeros_like(_image(at.origin, frame))
    change[:, :, : down * side[0], : across * side[1]] = tiles.reshape(len(at), c, down * side[0], across * side[1])
    return _stretched(ball, at, change, frame)


def _shift(ball: Ball, at: Rows, frame: Frame, share: float, rng: RowRandom, step: int) -> Tensor:
    """One window gives up length, another takes it in and turns towards a hill.

    As published, all of the length. Once the squares are as small as they get, a random part of it instead: by whole
    steps alone the search would stop some way off the best direction.
    """
    side = _side(share, *frame[1:], least=3)
    mask = _mask(*_place(at, frame, side, rng, (step, 0)), frame, side)
    giver = _mask(*_place(at, frame, side, rng, (step, 1)), frame, side) & ~mask
    u = torch.as_tensor(rng.uniform(at.row, (step, 2), (2,)), dtype=at.x.dtype, device=at.x.device)
    smallest = side == _side(0.0, *frame[1:], least=3)
    part = (10.0 ** (-3 * u[:, 0]) if smallest else torch.ones_like(u[:, 0]))[:, None, None, None]
    bump = _bump(side, at.x)
    if side[0] == side[1]:  # along either axis
        bump = torch.where((u[:, 1] < 0.5)[:, None, None, None], bump, bump.T)
    change = _image(at.best - at.origin, frame)
    held = (change * (mask | giver)).square().sum((2, 3), keepdim=True)
    spare = (_length(ball, frame) ** 2 - change.square().sum((1, 2, 3), keepdim=True)).clamp_min(0) / frame[0]
    change = torch.where(giver, change * (1 - part), change)
    kept = (change * giver).square().sum((2, 3), keepdim=True)
    own = change * mask
    hill = torch.zeros_like(change)
    hill.masked_scatter_(mask.expand_as(hill), bump.expand(len(at), frame[0], *side).contiguous())
    turned = own / own.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    turned = turned + part * _signs(at, (frame[0], 1, 1), rng, (step, 3)) * hill
    turned = turned / turned.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-12)
    return _stretched(ball, at, torch.where(mask, turned * (held + spare - kept).clamp_min(0).sqrt(), change), frame)


def _length(ball: Ball, frame: Frame) -> float:
    return min(ball.radius, math.sqrt(math.prod(frame)) * (ball.high - ball.low))


def _stretched(ball: Ball, at: Rows, change: Tensor, frame: Frame) -> Tensor:
    """The change at full length, inside the ball and its box."""
    size = change.square().sum((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-30)
    moved = _image(at.origin, frame) + change * (_length(ball, frame) / size)
    x: Tensor = ball.project(moved.reshape(at.x.shape), at.origin)
    return x


def _image(x: Tensor, frame: Frame) -> Tensor:
    return x.reshape(len(x), *frame)
