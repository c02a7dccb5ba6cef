"""Trees from inside, exactly: the smallest change as a mixed-integer program."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import NORMS, Ball
from ...core.errors import BadInput
from ...core.goal import Goal, Wrong
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.trees import Ensemble, Floats
from .._rows import Rows
from ._aims import Aim, aims_of
from ._boxes import Ints, View, cells_of, leaf_alone, view
from ._cliques import closer
from ._milp import Found, smallest
from ._tree_rows import hunted
from .leaf_tuple import shortest

LEVELS, BOXES = 10, 1 << 14  # of the merging before the program


@attack(
    "evasion.tree_milp",
    needs=Need.STRUCTURE | Need.LABEL,
    papers=("arXiv:1509.07892",),
    aka=("Kantchelian", "MILP on trees"),
    spends="1 query per row, 2 where rounding in front of the trees is in the way; seconds of an own processor",
    static_cost=lambda a: 2,
    norms=NORMS,
)
class TreeMILP:
    """The smallest change there is, of at most the radius, that reaches the goal; proven, if the solver ends in time.

    The program is Kantchelian's over cuts and leaves, with each leaf on one side of a cut tied to it as a sum over its tree,
    which is tighter, and restricted to what is nearer than the change `evasion.leaf_tuple` finds first. Distances of ``l2``
    are linear in the cuts too (a sum of steps of squares), so that all four norms are exact. A single tree needs no program:
    all its leaves are weighed. What a row is proven is told by `solve`.

    Args:
        seconds: Most time of the solver for each row; then the best change so far is handed in, which need not be smallest.
            Where the case seeks any change within the radius, a row that falls at once needs no solver.
    """

    seconds: float = 10.0

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        if not self.seconds > 0:
            raise BadInput(f"evasion.tree_milp: seconds={self.seconds!r} is not allowed; give more than 0")

        def search(view: View, aims: list[Aim], most: float, row: int) -> Ints | None:
            return _smallest(view, aims, most, self.seconds, row, enough=case.seek == "any").cell

        return (yield from hunted("evasion.tree_milp", oracle, case, search))


def _smallest(view: View, aims: list[Aim], most: float, seconds: float, row: int, enough: bool = False) -> Found:
    """The smallest change; with `enough`, any that is found at once."""
    cell, size = shortest(view, aims, most, 0, 4, RowRandom(0), row)
    if enough and cell is not None:
        return Found(cell=cell, size=size, bound=0.0)
    # Boxes of leaves that are merged tree by tree often settle it in milliseconds: there is nothing nearer, or here it is.
    open_aims = []
    for aim in aims:
        proven, nearer = closer(view, aim, min(size, most), LEVELS, BOXES)
        if nearer is not None:
            cell, size = nearer, float(view.size(view.cost[nearer]))
        if not proven:
            open_aims.append(aim)
    return smallest(view, open_aims, most, seconds, Found(cell=cell, size=size, bound=0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Smallest:
    """The smallest change of one row.

    Args:
        x: The changed input ``(width,)``; None where none was found.
        distance: Its distance; infinite where none was found.
        bound: No change nearer than this meets the goal.
        optimal: Whether it is proven that none is nearer; with no change found, that there is none within the radius.
    """

    x: Any
    distance: float
    bound: float
    optimal: bool


def solve(ensemble: Ensemble, x: Any, y: Any, within: Ball, goal: Goal | None = None, seconds: float = 30.0) -> Smallest:
    """The smallest change of one row ``(width,)`` that meets the goal (by default another class than `y`), and a proof.

    Args:
        within: Norm, domain and the most it may be; its radius may be infinite.
        seconds: Most time of the solver.
    """
    row: Floats = np.asarray(x, np.float64)
    if row.shape != (ensemble.width,) or not np.isfinite(row).all():
        raise BadInput(f"give one row of {ensemble.width} finite numbers; got {row.shape}")
    goal = goal or Wrong()
    cells = cells_of(ensemble, np.asarray(x).dtype == np.float32)
    met = np.asarray(goal.met(ensemble.decided(ensemble.total(cells.node[:, None])), np.full(len(cells.node), y)))
    if goal.met(ensemble.decide(row[None]), np.array([y]))[0]:
        return Smallest(x=row, distance=0.0, bound=0.0, optimal=True)
    here = view(cells, row, within)
    if len(ensemble) == 1:
        cell, size = leaf_alone(here, met)
        kept = size <= within.radius
        found = Found(cell=cell if kept else None, size=size if kept else np.inf, bound=size if kept else within.radius)
    else:
        found = _smallest(here, aims_of(goal, y, ensemble), within.radius, seconds, 0)
    done = found.optimal or (found.cell is None and found.bound >= within.radius)
    return Smallest(
        x=None if found.cell is None else here.point(found.cell), distance=found.size, bound=found.bound, optimal=done
    )
