"""Every allowed turn and move of the picture, one after the other: exact, because there are finitely many."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.spatial import Spatial
from ...core.target import to_numpy
from .._rows import Rows, tensor


@attack(
    "evasion.spatial",
    needs=Need.LABEL,
    papers=("arXiv:1712.02779",),
    aka=("spatial", "rotation and translation", "grid search"),
    spends="at most one query per row for each transform of the constraint's grid but standing still",
    norms=(),
    within=("Spatial",),
    static_cost=lambda a: a.most or 774,
)
class SpatialGrid:
    """Ask about every transform that the constraint `Spatial` allows, the smallest first.

    Enumeration: with all of them asked, a row that stands is unbroken by every transform of the grid, and the first that
    breaks is the smallest that does. What lies between the grid's points nobody looked at. How far, how fine, and what fills
    the border is the constraint's to say: ``cm.Spatial(degrees=30, pixels=3, angles=31, shifts=5, padding="low")``.

    Args:
        most: Transforms tried for each row, the smallest first; 0 tries them all.
    """

    most: int = 0

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        within = case.within
        if not isinstance(within, Spatial):
            raise BadInput(f"evasion.spatial tries the transforms of a Spatial constraint; got {type(within).__name__}")
        if tensor(case.x).ndim not in (3, 4):
            raise BadInput(f"evasion.spatial turns pictures (n, c, h, w) or (n, h, w); got shape {tuple(tensor(case.x).shape)}")
        at = Rows.begin(case)
        height, width = at.x.shape[-2:]
        grid = within.grid(height, width)[1:]
        for how in grid[: self.most or len(grid)]:
            open_ = np.flatnonzero(~to_numpy(at.broken))  # a broken row has its smallest transform already
            if not len(open_):
                break
            asked = at.only(open_)
            turned = within.transform(asked.origin.cpu().numpy(), how)
            asked = asked.at(torch.as_tensor(turned, dtype=at.x.dtype, device=at.x.device))
            at = yield _with(at, open_, asked.see(case, oracle.look(asked.x, rows=asked.row)))
        return at


def _with(at: Rows, places: np.ndarray[tuple[int], np.dtype[np.int64]], part: Rows) -> Rows:
    """The rows with what was seen of some of them."""
    if len(part) == len(at):
        return part
    index = torch.as_tensor(places, device=at.x.device)
    return replace(
        at, x=at.x.index_copy(0, index, part.x), best=at.best.index_copy(0, index, part.best),
        loss=at.loss.index_copy(0, index, part.loss), broken=at.broken.index_copy(0, index, part.broken),
    )  # fmt: skip
