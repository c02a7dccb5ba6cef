"""Random search with squares of corner values: needs scores and no gradient."""

from __future__ import annotations

import math
from collections.abc import Generator
from functools import lru_cache
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
from .._rows import Rows, started
from ._l1 import project
from ._own import Own, Room, moved_in, refused, room
from ._scores import look

Frame = tuple[int, int, int]  # channels, height, width
# After this many of 10,000 queries the share of pixels changed at once halves.
SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
BLOCK = 32  # steps whose random numbers are drawn at once


@attack(
    "evasion.square",
    needs=Need.SCORE | Need.LABEL,
    norms=("linf", "l2", "l1"),
    within=("Ball", "Region"),
    papers=("arXiv:1912.00049", "arXiv:2103.01208"),
    aka=("Square", "Square Attack"),
    spends="1 + steps queries per row",
    static_cost=lambda a: 1 + a.steps,
)
class Square:
    """Change one random square at a time to corner values of the ball; keep what raises the loss.

    In l2 and l1 two squares are drawn: one gives up its length to the other. In l1 the point is then projected exactly onto
    ball and box. Works on images ``(n, c, h, w)`` and ``(n, h, w)``; of vectors ``(n, d)`` it changes blocks of neighbouring
    coordinates.

    Unlike as published, every row has squares of its own, and they reach the last line and column. In linf a proposal that
    would change nothing is turned over; in l1 a giving square that holds nothing is moved to where something was changed.
    Once the squares are as small as they get, a random part of the length moves: always in l2, every other time in l1.
    A constraint of your own will do if it limits each value alone (``along = "signs"``): the ends are where it projects to.

    Args:
        steps: Proposals, one query each.
        share: Share of the values changed at once in the beginning, in (0, 1].
        rescale: Stretch the schedule of shrinking squares over `steps`; by default it counts queries as published.
    """

    steps: int = 5000
    share: float = 0.8
    rescale: bool = False

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        case = moved_in(case, "evasion.square", tuple(MOVES))
        ball: Any = room(case)  # the moves of linf look at the ends alone, whosever they are; the others need a Ball
        if isinstance(ball, Own) and ball.norm != "linf":
            raise refused(
                "evasion.square", "moves values to the ends of their own ranges", ball.within,
                "only one that limits each value alone has such ends; say so with along = 'signs' if yours does"
            )
        at, start = Rows.begin(case), started(case)
        frame = _frame(tuple(at.x.shape[1:]))
        first, propose, choices = MOVES[ball.norm]
        reach = min(ball.radius, ball.high - ball.low)
        if ball.norm == "linf":
            at = at.keep(top=ball.project(at.origin + reach, at.origin), bottom=ball.project(at.origin - reach, at.origin))
        at = at.at(_kept(ball, first(ball, at, frame, rng), at) if start is None else start)
        for step in range(self.steps + 1):
            seen = look(oracle, case, at)
            if seen is None:
                return at
            at = yield seen
            if step < self.steps:
                if step % BLOCK == 0:  # drawn ahead: one call for many steps costs what one for a single step does
                    at = at.keep(draws=_drawn(at, rng, step // BLOCK + 1, choices + frame[0]))
                share = self.share / 2 ** self._halvings(step)
                at = at.at(_kept(ball, propose(ball, at, frame, share, at.state["draws"][:, step % BLOCK]), at))
        return at

    def _halvings(self, step: int) -> int:
        place = step * 10_000 / self.steps if self.rescale else step
        return sum(place > bound for bound in SCHEDULE)


def _kept(ball: Room, x: Tensor, at: Rows) -> Tensor:
    """A proposal: of a constraint of the user's own projected, for its ends may not all be had at once."""
    return ball.project(x, at.origin) if isinstance(ball, Own) else x


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


def _drawn(at: Rows, rng: RowRandom, block: int, numbers: int) -> Tensor:
    """The uniform numbers of `BLOCK` steps, ``(n, BLOCK, numbers)``: two windows, choices, a sign for each channel."""
    return torch.as_tensor(rng.uniform(at.row, (block,), (BLOCK, numbers)), device=at.x.device)


def _place(u: Tensor, frame: Frame, side: tuple[int, int]) -> Tensor:
    """Where each row's window lies, ``(n, 1, side * side)`` flat places; the last line and column can be reached.

    Args:
        u: Uniform numbers ``(n, 2)``.
    """
    top = (u[:, 0] * (frame[1] - side[0] + 1)).long()
    left = (u[:, 1] * (frame[2] - side[1] + 1)).long()
    return _from_corner(top, left, frame, side)


def _from_corner(top: Tensor, left: Tensor, frame: Frame, side: tuple[int, int]) -> Tensor:
    lines, columns = torch.arange(side[0], device=top.device), torch.arange(side[1], device=top.device)
    window = (lines[:, None] * frame[2] + columns).reshape(-1)
    return (top * frame[2] + left)[:, None, None] + window


def _signs(at: Rows, shape: tuple[int, ...], rng: RowRandom) -> Tensor:
    bits = torch.as_tensor(rng.uniform(at.row, (0,), shape) < 0.5, device=at.x.device)
    return torch.where(bits, 1.0, -1.0).to(at.x.dtype)


# linf: every value at one end of its range --------------------------------------------------------------------------


def _stripes(ball: Ball, at: Rows, frame: Frame, rng: RowRandom) -> Tensor:
    """One sign for each column and channel: networks are most sensitive to stripes."""
    up = _signs(at, (frame[0], 1, frame[2]), rng) > 0
    top, bottom = _image(at.state["top"], frame), _image(at.state["bottom"], frame)
    return torch.where(up, top, bottom).reshape(at.x.shape)


def _window(ball: Ball, at: Rows, frame: Frame, share: float, u: Tensor) -> Tensor:
    """Inside a window, every channel to one end of its range. Only the window is worked on: the rest is copied."""
    where = _place(u, frame, _side(share, *frame[1:])).expand(-1, frame[0], -1)
    best, top, bottom = (x.reshape(len(at), frame[0], -1) for x in (at.best, at.state["top"], at.state["bottom"]))
    now, high, low = best.gather(2, where), top.gather(2, where), bottom.gather(2, where)
    up = u[:, 6:, None] < 0.5
    new = torch.where(up, high, low)
    idle = (new == now).flatten(1).all(1)
    if bool(idle.any()):
        new = torch.where(up ^ idle[:, None, None], high, low)
    return best.scatter(2, where, new).reshape(at.x.shape)


# l2: a window takes over the length of another ----------------------------------------------------------------------


@lru_cache(maxsize=64)
def _bump(side: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Two opposite hills side by side, of unit length, ``side``: what a filter answers to. Kept: not to be written to."""
    height, width = side
    hill = torch.zeros(height, width, dtype=dtype, device=device)
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
    bump = _bump(side, at.x.dtype, at.x.device)
    down, across = h // side[0], w // side[1]
    sign = _signs(at, (c, down, across), rng)
    tiles = sign[:, :, :, None, :, None] * bump[None, None, None, :, None, :]
    change = torch.zeros_like(_image(at.origin, frame))
    change[:, :, : down * side[0], : across * side[1]] = tiles.reshape(len(at), c, down * side[0], across * side[1])
    return _stretched(ball, at, change, frame)


def _shift(ball: Ball, at: Rows, frame: Frame, share: float, u: Tensor) -> Tensor:
    """One window gives up length, another takes it in and turns towards a hill.

    As published, all of the length. Once the squares are as small as they get, a random part of it instead: by whole
    steps alone the search would stop some way off the best direction.
    """
    least = 3 if min(frame[1:]) > 5 else 1  # of a small image three is all of it, and only one change could be tried
    side = _side(share, *frame[1:], least=least)
    where, giver = (_place(u[:, i : i + 2], frame, side).expand(-1, frame[0], -1) for i in (0, 2))
    change = (at.best - at.origin).reshape(len(at), frame[0], -1)
    spare = (_length(ball, frame) ** 2 - change.flatten(1).square().sum(1)).clamp_min_(0)[:, None, None] / frame[0]
    own = change.gather(2, where)
    change.scatter_(2, where, 0.0)  # what both windows hold is the taker's
    given = change.gather(2, giver)
    part = (10.0 ** (-3 * u[:, 4:5, None])).to(own.dtype) if side == _side(0.0, *frame[1:], least=least) else 1.0
    left = given * (1 - part)
    gained = own.square().sum(2, keepdim=True) + (given.square() - left.square()).sum(2, keepdim=True) + spare
    bump = _bump(side, own.dtype, own.device)
    hill = bump.reshape(1, 1, -1)
    if side[0] == side[1]:  # along either axis
        hill = torch.where(u[:, 5:6, None] < 0.5, hill, bump.T.reshape(1, 1, -1))
    sign = torch.where(u[:, 6:, None] < 0.5, 1.0, -1.0).to(own.dtype)
    # Below a millionth of the length it is what rounding left, and has no direction.
    turn = part if where.shape[2] > 1 else 1.0  # a single value has nothing between its two directions
    turned = _unit(own, 1e-6 * _length(ball, frame)) + turn * sign * hill
    against = turned.square().sum(2, keepdim=True) < 1e-12  # the hill turned over: it takes the place of its own
    turned = _unit(torch.where(against, sign * hill, turned), 1e-6) * gained.clamp_min(0).sqrt()
    change.scatter_(2, giver, left).scatter_(2, where, turned)
    return _stretched(ball, at, change.reshape(len(at), *frame), frame)


def _unit(window: Tensor, least: float) -> Tensor:
    """Each window ``(n, c, m)`` at unit length; zero where it is no longer than `least`."""
    size = window.square().sum(2, keepdim=True).sqrt()
    return window / size.masked_fill(size <= least, torch.inf)


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


# l1: a window takes over the length of another, most of it on two peaks -----------------------------------------------


@lru_cache(maxsize=64)
def _peaks(side: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Two opposite peaks side by side, of L1 length one, ``side``. Kept: not to be written to.

    From each peak outwards, ring by ring, what is left is the sum of the remaining ``k**-4``: nearly all lies on the peak.
    """
    height, width = side
    parts = []
    for span, sign in ((width // 2, 1.0), (width - width // 2, -1.0)):
        if span:
            rings = max(height // 2, span // 2) + 1
            rest = torch.arange(1, rings + 1, dtype=torch.float64).pow(-4).flip(0).cumsum(0).flip(0)
            down = (torch.arange(height) - height // 2).abs()[:, None]
            along = (torch.arange(span) - span // 2).abs()[None, :]
            half = rest[torch.maximum(down, along)]
            parts.append(sign * half / half.sum())
    peaks = torch.cat(parts, 1)
    return (peaks / peaks.abs().sum()).to(dtype=dtype, device=device)


def _peak_tiles(ball: Ball, at: Rows, frame: Frame, rng: RowRandom) -> Tensor:
    """Peaks of random signs, five tiles along each side in the middle of the image, brought into the ball.

    The length of one tile and channel is that of the domain.
    """
    c, h, w = frame
    side = (max(1, h // 5), max(1, w // 5))
    peaks = _peaks(side, at.x.dtype, at.x.device) * (ball.high - ball.low)
    down, across = h // side[0], w // side[1]
    tiles = _signs(at, (c, down, across), rng)[:, :, :, None, :, None] * peaks[None, None, None, :, None, :]
    tall, wide = down * side[0], across * side[1]
    top, left = (h - tall) // 2, (w - wide) // 2
    change = torch.zeros_like(_image(at.origin, frame))
    change[:, :, top : top + tall, left : left + wide] = tiles.reshape(len(at), c, tall, wide)
    return project(at.origin + change.reshape(at.x.shape), at.origin, ball)


def _odd_side(share: float, frame: Frame) -> tuple[int, int]:
    """The window's height and width as published for l1: odd where the image is large enough for it."""
    _, h, w = frame
    if h == 1:
        return _side(share, h, w)
    least = 3 if min(h, w) > 5 else 1
    side = max(least, round(math.sqrt(share * h * w))) | 1
    return min(side, h), min(side, w)


def _pour(ball: Ball, at: Rows, frame: Frame, share: float, u: Tensor) -> Tensor:
    """One window gives up length, another takes it in and turns towards two peaks; then all is brought into the ball.

    As published, all of the length, and as many times what the window takes as there are channels: the projection takes
    the surplus from every value alike. Once the squares are as small as they get, a random part of it every other time: by
    whole steps alone the search would stop some way off the best point.
    """
    c, side = frame[0], _odd_side(share, frame)
    where, giver = (_place(u[:, i : i + 2], frame, side).expand(-1, c, -1) for i in (0, 2))
    change = (at.best - at.origin).reshape(len(at), c, -1)
    reach = _l1_reach(ball, at, frame)
    spare = (reach - change.abs().sum((1, 2))).clamp_min_(0)
    own = change.gather(2, where)
    change.scatter_(2, where, 0.0)  # what both windows hold is the taker's
    given = change.gather(2, giver)
    idle = spare + given.abs().sum((1, 2)) <= 1e-4 * reach
    if bool(idle.any()):
        giver = torch.where(idle[:, None, None], _holding(change, 1e-4 * reach, frame, side, u[:, 6:9]).expand(-1, c, -1), giver)
        given = change.gather(2, giver)
    part = torch.ones_like(own[:, :1, :1])
    if side == _odd_side(0.0, frame):  # half of them whole as before
        part = (10.0 ** (3 - 6 * u[:, 4:5, None])).clamp_max(1.0).to(own.dtype)
    gained = own.abs().sum(2, keepdim=True) + part * given.abs().sum(2, keepdim=True) + spare[:, None, None] / c
    peaks = _peaks(side, own.dtype, own.device)
    hill = peaks.reshape(1, 1, -1)
    if side[0] == side[1]:  # along either axis
        hill = torch.where(u[:, 5:6, None] < 0.5, hill, peaks.T.reshape(1, 1, -1))
    hill = hill * torch.where(u[:, 9:, None] < 0.5, 1.0, -1.0).to(own.dtype)
    turn = part if where.shape[2] > 1 else 1.0  # a single value has nothing between its two directions
    turned = _unit_l1(own, 1e-6 * reach) + turn * hill
    against = turned.abs().sum(2, keepdim=True) < 1e-6  # the hill turned over: it takes the place of its own
    turned = _unit_l1(torch.where(against, hill, turned), 0.0) * gained * (1 + (c - 1) * part)
    change.scatter_(2, giver, given * (1 - part)).scatter_(2, where, turned)
    return project(at.origin + change.reshape(at.x.shape), at.origin, ball)


def _holding(change: Tensor, least: float, frame: Frame, side: tuple[int, int], u: Tensor) -> Tensor:
    """A window that holds one of the changed places of each row, ``(n, 1, side * side)``; any where nothing is changed.

    Args:
        change: ``(n, c, h * w)``.
        least: A place counts as changed from this length on.
        u: Uniform numbers ``(n, 3)``: which place, and where in the window it lies.
    """
    counted = (change.abs().sum(1) > least).cumsum(1)  # (n, h * w)
    wish = (u[:, :1] * counted[:, -1:]).long() + 1
    place = (counted < wish).sum(1).clamp_max(counted.shape[1] - 1)
    line, column = place // frame[2], place % frame[2]
    top = (line - (u[:, 1] * side[0]).long()).clamp(0, frame[1] - side[0])
    left = (column - (u[:, 2] * side[1]).long()).clamp(0, frame[2] - side[1])
    return _from_corner(top, left, frame, side)


def _unit_l1(window: Tensor, least: float) -> Tensor:
    """Each window ``(n, c, m)`` at L1 length one; zero where it is no longer than `least`."""
    size = window.abs().sum(2, keepdim=True)
    return window / size.masked_fill(size <= least, torch.inf)


def _l1_reach(ball: Ball, at: Rows, frame: Frame) -> float:
    """The length a change may have, short of the radius by some roundings: so that a move that adds no length passes
    through the projection unsorted."""
    return min(ball.inside(at.x), math.prod(frame) * (ball.high - ball.low)) * (1 - 64 * torch.finfo(at.x.dtype).eps)


# First point, proposals and how many random numbers a proposal takes beside its signs.
MOVES = {"linf": (_stripes, _window, 6), "l2": (_tiles, _shift, 6), "l1": (_peak_tiles, _pour, 9)}
