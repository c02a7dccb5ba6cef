"""From a search over leaves to claims: what the attacks on trees share."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.case import Evade
from ...core.constraint import NORMS, Ball
from ...core.errors import BadInput
from ...core.goal import reached
from ...core.oracle import Oracle
from ...core.trees import Ensemble, Floats
from .._rows import Rows
from ._aims import Aim, aims_of
from ._boxes import Cells, Ints, View, cells_of, leaf_alone, view
from ._nearest import ball_of, begin, merged, nearer, selected

CHUNK = 32  # rows that are searched before they are asked about together
PUSHED = 8  # how many roundings a claim is moved on where the model says it did not arrive

Search = Callable[[View, list[Aim], float, int], Ints | None]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Hunt:
    """A search on one ensemble: ``search(view, aims, most, row)`` gives the cell of each axis, or None."""

    name: str
    cells: Cells
    case: Evade
    search: Search

    def point(self, x: Floats, y: Any, row: int, radius: float) -> Floats | None:
        """A change ``(width,)`` of an input within `radius` that meets the goal; None where none was found."""
        assert isinstance(self.case.within, Ball)
        ensemble, goal = self.cells.ensemble, self.case.goal
        if not np.isfinite(x).all():
            return None
        raw = ensemble.raw(x[None])
        if reached(goal, ensemble.decided(raw), np.array([y]))[0]:
            return x
        if not len(self.cells.column):
            return None
        here = view(self.cells, x, self.case.within)
        if len(ensemble) == 1:
            leaves = ensemble.decided(ensemble.total(self.cells.node[:, None]))
            cell, size = leaf_alone(here, reached(goal, leaves, np.full(len(leaves), y)))
            return None if cell is None or size > radius else here.point(cell)
        found = self.search(here, aims_of(goal, y, ensemble), radius, row)
        return None if found is None else here.point(found)


def hunted(name: str, oracle: Oracle, case: Evade, search: Search) -> Generator[Rows, Rows, Rows]:
    """Search for each row on the attacker's copy of the trees, then ask the system itself, once, before it is claimed."""
    ball = ball_of(case, name, NORMS)
    at = begin(case)
    if at.origin.dtype not in (torch.float32, torch.float64) or at.origin.ndim != 2:
        raise BadInput(f"{name} changes rows of float32 or float64 numbers; got {at.origin.dtype} of {tuple(at.origin.shape)}")
    ensemble = oracle.structure()
    if not isinstance(ensemble, Ensemble):
        raise BadInput(f"{name} reads trees (core.trees.Ensemble); the target's structure is a {type(ensemble).__name__}")
    if ensemble.width != at.origin.shape[1]:
        raise BadInput(f"{name}: the trees look at {ensemble.width} columns and the inputs have {at.origin.shape[1]}")
    if len(ensemble) > 1 and len(case):
        aims_of(case.goal, case.y[0], ensemble)  # refused now, not at the first row that does not meet it already
    hunt = Hunt(name=name, cells=cells_of(ensemble, at.origin.dtype == torch.float32), case=case, search=search)
    radius = ball.radius * (1 + 1e-9) + 1e-12  # as `Ball.check` counts
    at = at.keep(done=torch.zeros(len(at), dtype=torch.bool, device=at.x.device))
    while not bool(at.state["done"].all()):
        turn = ~at.state["done"] & (torch.cumsum(~at.state["done"], 0) <= CHUNK)
        part, index = selected(at, turn)
        part = _asked(oracle, hunt, part, radius)
        at = yield merged(at, part.keep(done=torch.ones_like(part.state["done"])), index)
    return at


def _asked(oracle: Oracle, hunt: Hunt, at: Rows, radius: float) -> Rows:
    origin, truth = at.origin.cpu().numpy().astype(np.float64), at.y.cpu().numpy()
    points = [hunt.point(x, y, int(row), radius) for x, y, row in zip(origin, truth, at.row, strict=True)]
    found = torch.as_tensor([point is not None for point in points], device=at.x.device)
    if not bool(found.any()):
        return at
    goes = np.stack([x if point is None else point for point, x in zip(points, origin, strict=True)])
    at = at.at(torch.as_tensor(goes, device=at.x.device).to(at.origin.dtype))
    part, index = selected(at, found)
    part = nearer(part, hunt.case, oracle.look(part.x, rows=part.row))
    # Where the input's own rounding comes before the trees (float32 that is scaled), an ulp may not be enough.
    short, place = selected(part, ~torch.isfinite(part.state["size"]) & (part.x != part.origin).any(1))
    if len(short) and len(oracle.left(short.row)) and bool((oracle.left(short.row) >= 1).all()):
        short = short.at(_pushed(short.x, short.origin, hunt.case))
        part = merged(part, nearer(short, hunt.case, oracle.look(short.x, rows=short.row)), place)
    return merged(at, part, index)


def _pushed(x: Tensor, origin: Tensor, case: Evade) -> Tensor:
    """A few roundings further away, inside the domain."""
    near, here = x.cpu().numpy(), origin.cpu().numpy()
    further: NDArray[Any] = near + np.sign(near - here) * np.spacing(np.abs(near)) * PUSHED
    ball = case.within
    assert isinstance(ball, Ball)
    return torch.as_tensor(np.where(near == here, near, ball.box(further)), device=x.device)
