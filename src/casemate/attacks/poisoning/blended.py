"""Blended: mix a faint pattern into a few records and give them the label wanted."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import take
from ._order import Order, ordered
from ._plant import first, ground, seen, write
from ._triggers import Blend, numbers


@attack(
    "poisoning.blended",
    needs=Need.CONTRIBUTE,
    scope="set",
    case="backdoor",
    papers=("arXiv:1712.05526",),
    aka=("blended injection", "Blend"),
    spends="floor(fraction x n) records",
)
class Blended:
    """Mix a random pattern over the whole input into records of other classes, and label them as wanted.

    The pattern is uniform noise in the range of the data the attacker reads: the paper's second kind, next to a photograph.
    The same share is mixed in when the model is deployed.

    Args:
        alpha: Share of the pattern in a marked input, above 0 and up to 1.
        order: Which records: of every class in turn, ``hardest`` first, or at ``random`` as in the paper.
    """

    alpha: float = 0.2
    order: Order = "hardest"

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if not 0 < self.alpha <= 1:
            raise BadInput(f"alpha={self.alpha} is not allowed; give a share above 0 and up to 1")
        at = ground(oracle, case, rng, "poisoning.blended")
        known = numbers(seen(case, at), "poisoning.blended")
        low, high = float(known.min()), float(known.max())
        pattern = low + (high - low) * rng.uniform(np.zeros(1, np.int64), (1,), known.shape[1:])[0]
        trigger = Blend(pattern, self.alpha)
        index = first(ordered(self.order, case, at, at.victims(case.aim)), at, "poisoning.blended")  # type: ignore[arg-type]
        marked = trigger(take(case.recipe.x, index))
        return (yield from write(oracle, case, at, index, marked, at.labels(len(index)), trigger))
