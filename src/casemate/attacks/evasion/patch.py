"""Adversarial patch: whatever it takes, inside one small rectangle of the picture."""

from __future__ import annotations

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
from ...core.patch import Patch, places
from ...core.random import RowRandom
from .._rows import Rows
from ._losses import cross_entropy


@attack(
    "evasion.patch",
    needs=Need.GRADIENT | Need.LABEL,
    papers=("arXiv:1712.09665", "arXiv:1801.02608"),
    aka=("adversarial patch", "LaVAN", "localised noise"),
    spends="1 + spots x steps gradients per row",
    norms=(),
    within=("Patch",),
    static_cost=lambda a: 3 * (1 + a.spots * a.steps),
)
class AdversarialPatch:
    """Climb the loss inside a rectangle of each picture's own, at the places where the slope promises most.

    A place promises what its values would gain to first order if each went to the end of the domain that helps: on a linear
    model the first place is the best there is for a patch of that shape, and what stands there as strong as any. Each row
    has its own patch; one for all pictures, set down anywhere, is `evasion.universal_patch`. Where cameras shake, say so as
    a random stage of the target and raise `draws`.

    Unlike the papers' it climbs away from the truth rather than towards one wrong class (give the goal `Becomes` for that),
    and chooses its place by the slope.

    Args:
        steps: Gradient steps at each place.
        stride: Length of the first step as a share of the domain; later ones are shorter, in proportion to what is left.
        spots: Places tried, one after the other.
        where: ``slope`` chooses places, ``random`` draws them: for a sticker whose place is not the attacker's choice.
        draws: Gradients averaged at each step, for targets with randomness.
    """

    steps: int = 40
    stride: float = 0.2
    spots: int = 3
    where: Literal["slope", "random"] = "slope"
    draws: int = 1

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        within, loss, at = case.within, cross_entropy(case), Rows.begin(case)
        if not isinstance(within, Patch):
            raise BadInput(f"evasion.patch changes what a Patch constraint allows; got {type(within).__name__}")
        if at.x.ndim not in (3, 4):
            raise BadInput(f"evasion.patch changes pictures (n, c, h, w) or (n, h, w); got shape {tuple(at.x.shape)}")
        here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss, draws=self.draws)
        first = torch.nan_to_num(here.slope.to(at.x.dtype), nan=0.0, posinf=0.0, neginf=0.0)
        at = at.see(case, here.response, here.loss).keep(first=first, slope=first, spots=self._spots(within, at, first, rng))
        at = yield at
        if not all(within.sides(*at.x.shape[-2:])):
            return at  # no room for a single pixel
        for spot in range(self.spots):
            at = at.at(at.origin).keep(slope=at.state["first"])
            for step in range(self.steps):
                length = self.stride * (1 - step / self.steps) * (within.high - within.low)
                free = _mask(within, at.x, at.state["spots"][:, spot])
                moved = within.box(at.x + length * at.state["slope"].sign())
                at = at.at(torch.where(free, moved, at.origin))
                here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss, draws=self.draws)
                slope = torch.nan_to_num(here.slope.to(at.x.dtype), nan=0.0, posinf=0.0, neginf=0.0)
                at = yield at.see(case, here.response, here.loss).keep(slope=slope)
        return at

    def _spots(self, within: Patch, at: Rows, slope: Tensor, rng: RowRandom) -> Tensor:
        """Corners to try, the most promising first: ``(n, spots, 2)``."""
        height, width = within.sides(*at.x.shape[-2:])
        if self.where == "random":
            free = np.array(at.x.shape[-2:]) - (height, width) + 1
            return torch.as_tensor((rng.uniform(at.row, 0, (self.spots, 2)) * free).astype(np.int64))
        # In shares of the domain, so that units do not matter.
        span = within.high - within.low
        room = torch.where(slope > 0, within.high - at.x, at.x - within.low) / span
        gain = (slope.abs() * span * room.clamp_min(0)).double()
        gain = gain.sum(1) if gain.ndim == 4 else gain
        return torch.as_tensor(places(gain.cpu().numpy(), height, width, self.spots))


def _mask(within: Patch, x: Tensor, corner: Tensor) -> Tensor:
    """Where the patch at each row's corner ``(n, 2)`` lies, of a shape that spreads over `x`."""
    sides = within.sides(*x.shape[-2:])
    lines = []
    for axis in (0, 1):
        place = torch.arange(x.shape[axis - 2], device=x.device)[None]
        start = corner[:, axis : axis + 1].to(x.device)
        lines.append((place >= start) & (place < start + sides[axis]))
    found = lines[0][:, :, None] & lines[1][:, None, :]
    return found if x.ndim == 3 else found[:, None]


