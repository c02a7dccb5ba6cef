"""Poison that climbs the error of a linear model by the exact slope of its optimum in the training records."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Poison, Records
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.poison import numeric
from ...core.random import RowRandom
from ...core.target import to_numpy
from ._climb import hand_in, problem
from ._linear import Family

NAME = "poisoning.gradient"


@attack(
    "poisoning.gradient",
    needs=Need.CONTRIBUTE | Need.DATA,
    scope="set",
    papers=("arXiv:1804.00308", "arXiv:1804.07933", "doi:10.1609/aaai.v29i1.9569"),
    aka=("gradient poisoning", "OptP", "logistic regression poisoning", "ridge poisoning", "lasso poisoning", "back-gradient"),
    spends="floor(fraction x n) records",
    modality=("array", "table"),
)
class Gradient:
    """Move records so that a linear model trained on them is as wrong as it can be.

    It begins with the records a surrogate decides most clearly, under the labels it likes least (random ones, where the case
    asks for clean labels), and climbs the surrogate's loss on all the records it can read, as they were. All records move
    together: each step trains the surrogate to its optimum and takes the exact slope there (implicit differentiation with one
    Cholesky factor), inside the range of the data that was read and inside `within` of the case. The papers step one record
    at a time and search lines for each; here a step that does not climb is halved, and of all the steps the one with the most
    errors is handed in. In a frame only numeric columns move. Where the recipe is known as well, what it makes of the
    poison decides between where the climb began and where it ended, because a recipe need not be the surrogate.

    Args:
        family: The surrogate: ``logistic`` (softmax for more than two classes), ``ridge`` or ``lasso``; ``auto`` takes logistic
            for classes and ridge for numbers.
        strength: Of its penalty on scaled features: the ``1 / C`` of logistic regression, the ``alpha`` of ridge and lasso;
            None takes 1, and for lasso 0.01.
        steps: Most steps of the climb.
        stride: Length of the first step, as a share of the range of each number.
        quiet: Keep the loss of every record under the honest model below this quantile of the honest records' own losses, so
            that defences that look for large losses (TRIM, Sever) see nothing: no label is turned, records begin where they
            are, and a move that would be loud is not made. None: as loud as it comes.
    """

    family: Literal["auto", "logistic", "ridge", "lasso"] = "auto"
    strength: float | None = None
    steps: int = 30
    stride: float = 0.3
    quiet: float | None = None

    def __call__(self, oracle: Oracle, case: Poison, *, rng: RowRandom) -> Generator[Records, None, Records]:
        if not self.stride > 0 or (self.strength is not None and not self.strength > 0):
            raise BadInput(f"{NAME}: stride={self.stride!r}, strength={self.strength!r}: give numbers above 0")
        family = _family(self.family, np.asarray(to_numpy(oracle.data[1])))
        strength = self.strength if self.strength is not None else 0.01 if family == "lasso" else 1.0
        found = problem(NAME, oracle, case, rng, family, strength, self.quiet)
        return (yield from hand_in(found, oracle, self.steps, self.stride, rng))


def _family(asked: str, y: NDArray[Any]) -> Family:
    if asked not in ("auto", "logistic", "ridge", "lasso"):
        raise BadInput(f"{NAME}: family={asked!r} is not known; allowed: 'auto', 'logistic', 'ridge', 'lasso'")
    if asked == "logistic" and numeric(y):
        raise BadInput(f"{NAME}: family='logistic' is for classes, and the labels are numbers; give 'ridge' or 'lasso'")
    return ("ridge" if numeric(y) else "logistic") if asked == "auto" else asked  # type: ignore[return-value]
