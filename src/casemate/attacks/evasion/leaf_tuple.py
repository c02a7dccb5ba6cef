"""Trees from inside, fast: a greedy search over tuples of leaves, one leaf of each tree."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Evade
from ...core.constraint import NORMS
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .._rows import Rows
from ._aims import Aim
from ._boxes import Ints, View
from ._descent import nearest
from ._tree_rows import hunted


@attack(
    "evasion.leaf_tuple",
    needs=Need.STRUCTURE | Need.LABEL,
    papers=("arXiv:2010.11598",),
    aka=("LT-Attack", "leaf tuple attack"),
    spends="1 query per row, 2 where rounding in front of the trees is in the way",
    static_cost=lambda a: 2,
    norms=NORMS,
)
class LeafTuple:
    """Walk from tuple of leaves to tuple of leaves towards the input, as near as the goal allows. A single tree is exact.

    As published, an adversarial tuple is left for one that differs in one tree. Boosted trees share their cuts, so that no
    single tree holds a value back and that walk ends early. Here a step is a change of one value to any cell of its axis,
    whichever trees it moves, or of two values for one leaf that breaks two constraints; all single steps are weighed at once,
    exactly. A value that is needed may be brought back if others make up for it. Starts are made forward from the input (by
    gain for its cost, and under caps on single changes) instead of at other rows: no data is needed, and they lie nearer.

    Args:
        starts: Random ways forward beside the planned ones, at least 0.
        tries: Values moved to make up for one that is brought back, at least 1.
    """

    starts: int = 0
    tries: int = 4

    def __call__(self, oracle: Oracle, case: Evade, *, rng: RowRandom) -> Generator[Rows, Rows, Rows]:
        if self.starts < 0 or self.tries < 1:
            raise BadInput(f"evasion.leaf_tuple: starts={self.starts}, tries={self.tries}; give at least 0 and 1")

        def search(view: View, aims: list[Aim], most: float, row: int) -> Ints | None:
            return shortest(view, aims, most, self.starts, self.tries, rng, row)[0]

        return (yield from hunted("evasion.leaf_tuple", oracle, case, search))


def shortest(
    view: View, aims: list[Aim], most: float, starts: int, tries: int, rng: RowRandom, row: int
) -> tuple[Ints | None, float]:
    """The shortest change found that reaches one of the aims: the cell of each axis and its length, or None and infinity."""
    best, size = None, np.inf
    for aim in aims:
        cell, found = nearest(view, aim, min(most, size), starts, tries, rng, row)
        if cell is not None and found < size:
            best, size = cell, found
    return best, size
