"""Simple black-box attack: one direction of an orthonormal basis at a time, kept where the loss rises."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows, started
from ._own import Room, moved_in, room
from ._scores import look
from ._subspace import dct_basis, lowest_first

LEAST = 1e-4  # shortest step, as a share of the first


@attack(
    "evasion.simba",
    needs=Need.SCORE | Need.LABEL,
    papers=("arXiv:1905.07121",),
    aka=("SimBA", "SimBA-DCT", "simple black-box attack"),
    spends="1 + steps queries per row, or what the budget leaves",
    norms=("l2", "linf"),
    within=("Ball", "Region"),
    static_cost=lambda a: 1 + a.steps,
)
class SimBA:
    """Step to one side along a direction of a basis; where the loss does not rise, to the other; then the next direction.

    Each row takes directions in an order of its own, each once, and asks one question a step: the second side only after
    the first failed. As published but for this: what is climbed is the margin (of the logarithm of probabilities); where
    the ball is full, a step is pulled back onto it and so takes length from the others; and when all directions are used
    up, another round begins, with shorter steps where the last one gained nothing. Where the box leaves no room on the
    first side, the second comes at once.

    In ``linf`` waves that are pulled back onto the ball hardly ever add up to one of its corners, where a linear model is
    nearest to breaking: `dct` then needs a larger radius than `pixel`, whose steps go to the corner one value at a time.

    Args:
        steps: Questions after the first.
        basis: ``dct`` moves along frequencies, low ones first; ``pixel`` along single values.
        stride: Length of a step, as a share of the radius; in ``linf`` of its largest value.
        block: Frequencies are taken in squares that grow by this share of each axis, in random order inside; in (0, 1].
        shrink: Factor on the step after a round that gained nothing, in (0, 1].
    """

    steps: int = 2000
    basis: Literal["dct", "pixel"] = "dct"
    stride: float = 0.2
    block: float = 0.25
    shrink: float = 0.5

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        self._check()
        case = moved_in(case, "evasion.simba", ("l2", "linf"))
        ball = room(case)
        at, start = Rows.begin(case), started(case)
        at = at if start is None else at.at(start)
        at = at.keep(
            base=at.x, peak=torch.full_like(at.loss, -torch.inf), side=-torch.ones_like(at.loss),
            turn=torch.full_like(at.loss, -1, dtype=torch.int64), order=self._order(at, rng),
            pace=torch.ones_like(at.loss), gains=torch.ones_like(at.loss),
        )  # fmt: skip
        for step in range(self.steps + 1):
            seen = look(oracle, case, at)
            if seen is None:
                return at
            at = yield self._judged(seen)
            if step < self.steps:
                at = self._propose(at, ball)
        return at

    def _check(self) -> None:
        if self.basis not in ("dct", "pixel"):
            raise BadInput(f"basis={self.basis!r} is not known; give 'dct' or 'pixel'")
        if not self.stride > 0 or not 0 < self.block <= 1 or not 0 < self.shrink <= 1:
            raise BadInput(f"{self!r}: stride is above 0, block and shrink are above 0 and at most 1")

    def _order(self, at: Rows, rng: RowRandom) -> Tensor:
        """In which order each row takes the directions, ``(n, d)``: random, of frequencies inside growing squares."""
        shape = tuple(at.x.shape[1:])
        lot = rng.uniform(at.row, (0,), (math.prod(shape),))
        if self.basis == "dct":
            lot += lowest_first(shape) // max(1, round(1000 * self.block))
        return torch.as_tensor(np.argsort(lot, axis=1), device=at.x.device)

    def _judged(self, at: Rows) -> Rows:
        """Stand where the loss is highest; on to the other side, or to the next direction."""
        s, d = at.state, at.state["order"].shape[1]
        rose = s["said"] > s["peak"]
        done = rose | (s["side"] < 0)
        turn, gains = s["turn"] + done.long(), s["gains"] + rose.to(at.loss.dtype)
        lap = done & (turn % d == 0)  # a round is over: without a single gain, the next one takes shorter steps
        pace = torch.where(lap & (gains == 0), (self.shrink * s["pace"]).clamp_min(LEAST), s["pace"])
        return at.keep(
            base=torch.where(rose.reshape(-1, *([1] * (at.x.ndim - 1))), at.x, s["base"]), peak=s["peak"].maximum(s["said"]),
            turn=turn, side=done.to(at.loss.dtype) * 2 - 1, gains=torch.where(lap, 0.0, gains), pace=pace,
        )  # fmt: skip

    def _propose(self, at: Rows, ball: Room) -> Rows:
        """The next question of each row; the other side where this one has no room."""
        turn, d = at.state["turn"], at.state["order"].shape[1]
        index = at.state["order"].gather(1, (turn % d)[:, None])[:, 0]
        way = _wave(at, index, ball.norm) if self.basis == "dct" else _value(at, index)
        size = self.stride * min(ball.radius, (ball.high - ball.low) / 2)
        wide = (-1, *([1] * (at.x.ndim - 1)))
        way = way * (size * at.state["pace"]).reshape(wide)
        base, side = at.state["base"], at.state["side"]
        x = ball.project(base + side.reshape(wide) * way, at.origin)
        stuck = (x == base).flatten(1).all(1) & (side > 0)
        if bool(stuck.any()):
            side = torch.where(stuck, -1.0, side)
            x = torch.where(stuck.reshape(wide), ball.project(base - way, at.origin), x)
        return at.at(x).keep(side=side)


def _value(at: Rows, index: Tensor) -> Tensor:
    """The unit vector of each row's value at the flat place `index` ``(n,)``."""
    return torch.zeros_like(at.x).flatten(1).scatter_(1, index[:, None], 1.0).reshape(at.x.shape)


def _wave(at: Rows, index: Tensor, norm: str) -> Tensor:
    """Each row's frequency at the flat place `index` ``(n,)``, of unit length, or (``linf``) with one for its largest value."""
    shape = tuple(at.x.shape[1:])
    high, wide = (1, *shape)[-2:]
    across = _basis(wide, at.x)[index % wide]
    line = _basis(high, at.x)[index // wide % high]
    wave = line[:, :, None] * across[:, None, :]
    if norm == "linf":
        wave = wave / wave.abs().amax((1, 2), keepdim=True)
    found = at.x.new_zeros((len(at), math.prod(shape[:-2]), high, wide))
    found[torch.arange(len(at), device=at.x.device), index // (high * wide)] = wave
    return found.reshape(at.x.shape)


def _basis(size: int, like: Tensor) -> Tensor:
    return torch.tensor(dct_basis(size), dtype=like.dtype, device=like.device)
