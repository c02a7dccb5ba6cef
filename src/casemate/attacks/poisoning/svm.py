"""Poison that climbs the error of a linear support vector machine."""

from __future__ import annotations

from collections.abc import Generator

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ._climb import hand_in, problem

NAME = "poisoning.svm"


@attack(
    "poisoning.svm",
    needs=Need.CONTRIBUTE | Need.DATA,
    scope="set",
    papers=("arXiv:1206.6389",),
    aka=("SVM poisoning", "Biggio"),
    spends="floor(fraction x n) records",
    modality=("array", "table"),
)
class SVM:
    """Move records so that a linear support vector machine trained on them is as wrong as it can be.

    As `poisoning.gradient`, with a machine as the surrogate: two classes, records under turned labels, the exact slope of the
    hinge loss on all that can be read through the records on the margin. The paper moves one record at a time with a line
    search and trains again at every step; here all move together, and the machine is followed from step to step by solving
    for the few records that change sides. A record outside the margin has no slope and stays where it is.

    Args:
        cost: The machine's C, on scaled features.
        steps: Most steps of the climb.
        stride: Length of the first step, as a share of the range of each number.
        quiet: Keep the loss of every record under the honest machine below this quantile of the honest records' own losses;
            None: as loud as it comes.
    """

    cost: float = 1.0
    steps: int = 30
    stride: float = 0.3
    quiet: float | None = None

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if not self.cost > 0 or not self.stride > 0:
            raise BadInput(f"{NAME}: cost={self.cost!r}, stride={self.stride!r}: give numbers above 0")
        found = problem(NAME, oracle, case, rng, "svm", 1 / self.cost, self.quiet)
        return (yield from hand_in(found, oracle, self.steps, self.stride, rng))
