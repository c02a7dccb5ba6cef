"""How near no change of a tree ensemble's decision can be: bounds that certify rows, whatever the attack."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.constraint import Ball, Norm
from ...core.errors import BadInput
from ...core.goal import Goal, Wrong
from ...core.random import RowRandom
from ...core.trees import Ensemble, Floats
from ._aims import Aim, aims_of
from ._boxes import View, cells_of, leaf_alone, view
from ._cliques import closer, within
from .leaf_tuple import shortest


def certify(
    ensemble: Ensemble, x: Any, y: Any, radius: float = np.inf, *, low: float = 0.0, high: float = 1.0, norm: Norm = "linf",
    goal: Goal | None = None, levels: int = 10, boxes: int = 1 << 14, steps: int = 8,
) -> NDArray[np.float64]:  # fmt: skip
    """A distance of each row below which no input meets the goal, ``(n,)``: a row whose bound reaches `radius` is certified.

    Args:
        ensemble: What ``cm.wrap(forest).structure()`` gives.
        x, y: Inputs ``(n, width)``, and what is true of each ``(n,)``: by default the goal is any other class.
        radius: Larger bounds are not looked for; infinite looks as far as the domain goes.
        low, high: The domain.
        levels: How many times boxes of trees are merged; more is tighter and slower.
        boxes: Pairs of boxes weighed in one merge, at most.
        steps: Halvings of what is left between the bound and the nearest success that is known.

    Returns:
        Bounds, 0 for a row that meets the goal as it is, and `radius` where that much is certified. An attack's distance is
        never less than its row's bound.
    """
    if not isinstance(ensemble, Ensemble):
        raise BadInput(f"certify takes trees; got {type(ensemble).__name__}; of a forest: wrap(forest).structure()")
    rows: Floats = np.asarray(x, np.float64)
    truth = np.asarray(y)
    if rows.ndim != 2 or truth.shape != (len(rows),):
        raise BadInput(f"x of shape {rows.shape} and y of shape {truth.shape}; give rows (n, width) and one truth for each")
    if levels < 0 or steps < 1 or boxes < 1:
        raise BadInput(f"levels={levels}, steps={steps}, boxes={boxes}; give at least 0, 1 and 1")
    ball, goal = Ball(norm, radius, low, high), goal or Wrong()
    each = zip(rows, truth, strict=True)
    return np.array([lower_bound(ensemble, row, own, ball, goal, levels, boxes, steps) for row, own in each])


def lower_bound(
    ensemble: Ensemble, x: Floats, y: Any, ball: Ball, goal: Goal, levels: int = 10, boxes: int = 1 << 14, steps: int = 8
) -> float:
    """The bound of one row ``(width,)``, at most the ball's radius."""
    if not np.isfinite(x).all():
        return 0.0  # what goes where NaN goes is not told by boxes
    raw = ensemble.raw(x[None])
    if bool(goal.met(ensemble.decided(raw), np.array([y]))[0]):
        return 0.0
    cells = cells_of(ensemble)
    if not len(cells.column):
        return ball.radius
    here = view(cells, x, ball)
    if len(ensemble) == 1:
        leaves = ensemble.decided(ensemble.total(cells.node[:, None]))
        return min(ball.radius, leaf_alone(here, np.asarray(goal.met(leaves, np.full(len(leaves), y))))[1])
    found = [_bound(here, aim, ball.radius, levels, boxes, steps) for aim in aims_of(goal, y, ensemble)]
    return min([ball.radius, *found])


def _bound(here: View, aim: Aim, radius: float, levels: int, boxes: int, steps: int) -> float:
    """The distance of the nearest success where it is proven to be that; else the largest length tried that is out of reach."""
    _, known = shortest(here, [aim], radius, 0, 4, RowRandom(0), 0)
    high = min(known, radius if np.isfinite(radius) else _size(here))
    proven, cell = closer(here, aim, high if np.isfinite(known) else high * (1 + 1e-9), levels, boxes)
    if cell is not None:
        high = known = float(here.size(here.cost[cell]))
    if proven:
        return high if np.isfinite(known) else radius
    low = 0.0
    for _ in range(steps):
        middle = (low + high) / 2
        if within(here, aim, middle**2 if here.norm == "l2" else middle, levels, boxes).empty:
            low = middle
        else:
            high = middle
    return float(np.floor(low) + 1) if here.norm == "l0" else low  # a count above `low`


def _size(here: View) -> float:
    """No change in the domain is longer."""
    parts = np.split(here.cost, here.cells.start[1:-1])
    return float(here.size(np.array([np.max(part[np.isfinite(part)], initial=0.0) for part in parts])))
