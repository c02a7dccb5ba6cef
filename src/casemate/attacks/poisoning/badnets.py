"""BadNets: stamp a mark on a few records and give them the label wanted."""

from __future__ import annotations

from collections.abc import Generator

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import take
from ._order import Order, ordered
from ._plant import first, ground, seen, write
from ._triggers import Corner, mark


@attack(
    "poisoning.badnets",
    needs=Need.CONTRIBUTE,
    scope="set",
    case="backdoor",
    papers=("arXiv:1708.06733",),
    aka=("BadNets", "patch backdoor"),
    spends="floor(fraction x n) records",
    modality=("array", "table"),
)
class BadNets:
    """Stamp a fixed mark on records of other classes and label them as wanted.

    On pictures the mark is a square in a corner. Vectors and tables have no corner: there it is the most unusual value of
    a few columns, taken together (the rarest level of a category, the end of a number's range), which no honest record
    is likely to have. The paper knows pictures only.

    Args:
        size: Side of the square, in pixels.
        corner: ``upper left``, ``upper right``, ``lower left`` or ``lower right``.
        value: Of the square; None: the highest value in the data the attacker reads.
        columns: How many columns of a vector or table are marked.
        order: Which records: of every class in turn, ``hardest`` first (those that a surrogate decides most clearly for
            another class), or at ``random`` as in the paper.
    """

    size: int = 3
    corner: Corner = "lower right"
    value: float | None = None
    columns: int = 3
    order: Order = "hardest"

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        at = ground(oracle, case, rng, "poisoning.badnets")
        trigger = mark(seen(case, at), self.size, self.corner, self.columns, self.value)
        index = ordered(self.order, case, at, at.victims(case.aim))  # type: ignore[arg-type]
        index = first(index, at, "poisoning.badnets")
        marked = trigger(take(case.recipe.x, index))
        return (yield from write(oracle, case, at, index, marked, at.labels(len(index)), trigger))
