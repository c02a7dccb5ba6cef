"""Universal patch: one sticker that is printed once and put anywhere on any picture."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade, Inputs
from ...core.errors import BadInput
from ...core.goal import reached
from ...core.oracle import Oracle
from ...core.patch import Patch
from ...core.random import RowRandom
from .._rows import tensor
from ._losses import cross_entropy
from .universal import fitted_rows


@attack(
    "evasion.universal_patch",
    needs=Need.GRADIENT | Need.LABEL,
    scope="set",
    papers=("arXiv:1712.09665",),
    aka=("printed patch", "adversarial sticker", "expectation over placements"),
    spends="steps x spots gradients per fitted row, and 1 look per row",
    norms=(),
    within=("Patch",),
    static_cost=lambda a: 3 * a.steps * a.spots + 1,
)
class UniversalPatch:
    """Climb the loss of many pictures in the content of one patch, at places drawn afresh in every step.

    The content is fitted on a share of the rows, over places at random (expectation over placement), and then set down once
    on every row, at a place the attacker does not choose: that one is judged. Rows it was not fitted on are those that cost
    no gradient: ``evidence.rows["broken"][evidence.rows["gradients"] == 0]``. The paper turns and scales the patch too; say
    so as a random stage of the target where the camera does.

    Args:
        steps: Steps of the content.
        stride: Length of the first step as a share of the domain; later ones are shorter, in proportion to what is left.
        spots: Places at which each fitted row is seen in a step.
        fit_share: Share of the rows, in (0, 1], the content is fitted on; drawn at random, at least one.
    """

    steps: int = 60
    stride: float = 0.1
    spots: int = 1
    fit_share: float = 0.5

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Inputs, None, Inputs]:
        within, x = case.within, tensor(case.x)
        if not isinstance(within, Patch):
            raise BadInput(f"evasion.universal_patch changes what a Patch constraint allows; got {type(within).__name__}")
        if x.ndim != 4:
            raise BadInput(f"evasion.universal_patch changes pictures (n, c, h, w); got shape {tuple(x.shape)}")
        if not 0 < self.fit_share <= 1:
            raise BadInput(f"fit_share={self.fit_share!r} is not allowed; give a share of the rows in (0, 1]")
        height, width = within.sides(*x.shape[-2:])
        if not height or not width:
            return Inputs(x=x, broken=np.zeros(len(case), bool))  # no room for a single pixel
        content = torch.full((1, x.shape[1], height, width), (within.low + within.high) / 2, dtype=x.dtype, device=x.device)
        fitted = fitted_rows(case, self.fit_share, rng)
        part, nothing = case.only(fitted), np.zeros(len(case), bool)
        last = _corners(case, x, content, rng, (0,))
        for step in range(self.steps):
            slope = torch.zeros_like(content)
            for spot in range(self.spots):
                corner = _corners(part, x, content, rng, (1, step, spot))
                here = oracle.gradient(
                    _put(x[fitted], content, corner), y=torch.as_tensor(part.y), rows=part.row, loss=cross_entropy(case)
                )
                clean = torch.nan_to_num(here.slope.to(x.dtype), nan=0.0, posinf=0.0, neginf=0.0)
                slope += _window(clean, content, corner).sum(0, keepdim=True)
            length = self.stride * (within.high - within.low) * (1 - step / self.steps)
            content = within.box(content + length * slope.sign())
            yield Inputs(x=_put(x, content, last), broken=nothing)
        claim = _put(x, content, last)
        return Inputs(x=claim, broken=reached(case.goal, oracle.look(claim, rows=case.row).label, case.y))


def _corners(case: Evade, x: Tensor, content: Tensor, rng: RowRandom, draw: tuple[int, ...]) -> Tensor:
    """A place for the patch on each row, ``(n, 2)`` as top and left, drawn at random."""
    free = [x.shape[2] - content.shape[2] + 1, x.shape[3] - content.shape[3] + 1]
    return torch.as_tensor((rng.uniform(case.row, draw, (2,)) * free).astype(np.int64), device=x.device)


def _places(x: Tensor, content: Tensor, corner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the patch's pixels in each row: rows, lines and columns, spread over ``(n, height, width)``."""
    lines = corner[:, 0, None, None] + torch.arange(content.shape[2], device=x.device)[None, :, None]
    columns = corner[:, 1, None, None] + torch.arange(content.shape[3], device=x.device)[None, None, :]
    return torch.arange(len(corner), device=x.device)[:, None, None], lines, columns


def _put(x: Tensor, content: Tensor, corner: Tensor) -> Tensor:
    """The pictures with the patch on them."""
    row, line, column = _places(x, content, corner)
    out = x.clone()
    out[row, :, line, column] = content[0].permute(1, 2, 0).expand(len(x), -1, -1, -1)
    return out


def _window(x: Tensor, content: Tensor, corner: Tensor) -> Tensor:
    """What lies under the patch on each row: ``(n, c, height, width)``."""
    row, line, column = _places(x, content, corner)
    return x[row, :, line, column].permute(0, 3, 1, 2)
